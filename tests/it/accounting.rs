//! Accounting end to end: what radclient reports, and what an analyst then reads by SQL, on both engines.

use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};

use crate::postgres::Database;
use crate::radhold::{PATIENCE, Radhold, message, radclient, received};

const SECRET: &str = "0123456789abcdef";

/// Runs each test against each engine, with these settings of the NAS and these others.
macro_rules! on_both_engines {
    ($($name:ident: $nas:literal, $more:literal;)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&super::Scene::start(None, $nas, $more)).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let database = crate::postgres::Database::create().await;
                super::$name(&super::Scene::start(Some(database), $nas, $more)).await;
            })+
        }
    };
}

on_both_engines! {
    the_next_start_on_a_port_ends_the_session_before_it: "unique_ports = true", "";
    ports_that_are_shared_end_nothing: "", "";
    twins_stay_apart_by_class: "unique_ports = true", "";
    a_class_that_is_used_again_is_a_session_of_its_own: "", "";
    a_number_that_is_used_again_is_another_session_though_its_start_was_lost: "", "";
    what_does_not_say_how_long_it_has_been_is_told_by_its_own_time: "", "[hold]\nstale_after = \"1s\"";
    usage_is_cut_at_midnight_and_counts_once: "", "";
    midnight_is_where_the_operator_says: "", "[accounting]\nutc_offset = \"+12:00\"";
    octets_wrap_and_are_swapped: "octet_wrap = true\noctet_direction = \"swapped\"", "";
    a_restart_ends_sessions_at_the_time_of_the_boot: "", "";
    a_nas_that_goes_down_ends_its_own_sessions_and_no_others: "", "[nas.other]\naddress = \"127.0.0.2\"\nsecret = \"0123456789abcdef\"";
    what_is_heard_of_late_ended_with_a_restart_too: "", "";
    a_restart_ends_more_sessions_than_go_at_once: "", "batch = 4";
    silence_closes_by_timer_and_a_late_report_reopens: "", "[hold]\nstale_after = \"1s\"";
    a_clock_that_is_wrong_is_not_believed: "", "";
}

struct Scene {
    radhold: Radhold,
    database: Option<Database>,
}

impl Scene {
    fn start(database: Option<Database>, nas: &str, more: &str) -> Self {
        let url = database.as_ref().map(|it| format!("url = \"{}\"\n", it.url())).unwrap_or_default();
        let toml = format!(
            "[store]\n{url}{more}\n[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\ndialect = \"standard\"\n{nas}\n"
        );
        Self { radhold: Radhold::start(&toml), database }
    }

    /// Sends an Accounting-Request and waits for its answer: from then on it counts.
    fn report(&self, status: &str, session: &str, more: &str) {
        let attributes = format!("User-Name = bob, Acct-Status-Type = {status}, Acct-Session-Id = {session}{more}");
        let ran = radclient(self.radhold.accounting, "acct", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?} {:#?}", self.radhold.log());
    }

    /// Logs bob in, whose password is enough, and gives his Class.
    fn login(&self) -> String {
        let attributes = "User-Name = bob, User-Password = hello-bob, Message-Authenticator = 0x00";
        let ran = radclient(self.radhold.auth, "auth", SECRET, attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        received(&ran, "Class").unwrap().to_owned()
    }

    /// Rows, of columns that are text.
    async fn sql(&self, statement: &str) -> Vec<Vec<String>> {
        let statement = AssertSqlSafe(statement.to_owned());
        if let Some(database) = &self.database {
            let rows = sqlx::query(statement).fetch_all(&database.pool().await).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
        } else {
            let path = self.radhold.path("state/radhold.sqlite");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            let rows = sqlx::query(statement).fetch_all(&pool).await.unwrap();
            rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
        }
    }

    /// Acct-Session-Id, state, end cause and octets of all sessions.
    async fn sessions(&self) -> Vec<[String; 5]> {
        let rows = self
            .sql(
                "SELECT acct_session_id, state, coalesce(end_cause, '-'), CAST(input_octets AS text),
                        CAST(output_octets AS text) FROM sessions ORDER BY acct_session_id, accepted_at",
            )
            .await;
        rows.into_iter().map(|row| row.try_into().unwrap()).collect()
    }

    /// Waits until all sessions are so.
    async fn until(&self, expected: &[[&str; 5]]) {
        let begun = Instant::now();
        loop {
            let sessions = self.sessions().await;
            if sessions == expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{sessions:#?} never became {expected:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn are(&self, expected: &[[&str; 5]]) {
        assert_eq!(self.sessions().await, expected);
    }

    /// When this session ended, as reports show it.
    async fn ended(&self, session: &str) -> String {
        let when = format!(
            "SELECT coalesce(CAST(ended_at AS text), '-') FROM report_sessions WHERE acct_session_id = '{session}'"
        );
        self.sql(&when).await.concat().concat()
    }

    /// A time, in seconds since 1970, as reports show it, to the second.
    fn shown(&self, secs: i64) -> String {
        let format = if self.database.is_some() { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S" };
        DateTime::from_timestamp(secs, 0).unwrap().format(format).to_string()
    }

    /// Sums over all usage, as reports and as days, must be the sums over all sessions.
    async fn usage_agrees(&self) {
        let sums = |from: &str| {
            format!(
                "SELECT CAST(sum(input_octets) AS text), CAST(sum(output_octets) AS text), \
                 CAST(sum(session_time) AS text) FROM {from}"
            )
        };
        let of_sessions = self.sql(&sums("sessions")).await;
        assert_eq!(self.sql(&sums("usage")).await, of_sessions);
        assert_eq!(self.sql(&sums("usage_daily")).await, of_sessions);
    }
}

async fn the_next_start_on_a_port_ends_the_session_before_it(scene: &Scene) {
    scene.report("Start", "g1", ", NAS-Port = 3");
    scene.report("Interim-Update", "g1", ", NAS-Port = 3, Acct-Input-Octets = 10");
    scene.report("Start", "g2", ", NAS-Port = 4");
    scene.report("Start", "g3", ", NAS-Port = 3");
    // Answered, so it is so.
    scene
        .are(&[
            ["g1", "closed", "port-reused", "10", "0"],
            ["g2", "observed", "-", "0", "0"],
            ["g3", "observed", "-", "0", "0"],
        ])
        .await;
    // The repetition of a Start ends nothing more, and the Stop that was lost comes after all.
    scene.report("Start", "g3", ", NAS-Port = 3");
    scene.report("Stop", "g1", ", NAS-Port = 3, Acct-Input-Octets = 15, Acct-Delay-Time = 5");
    scene
        .are(&[
            ["g1", "closed", "stop", "15", "0"],
            ["g2", "observed", "-", "0", "0"],
            ["g3", "observed", "-", "0", "0"],
        ])
        .await;
    // A Start that comes late finds itself before another.
    scene.report("Start", "g0", ", NAS-Port = 4, Acct-Delay-Time = 600");
    assert_eq!(scene.sessions().await[0], ["g0", "closed", "port-reused", "0", "0"]);
    assert_eq!(scene.sessions().await[2], ["g2", "observed", "-", "0", "0"]);
    scene.usage_agrees().await;
}

async fn ports_that_are_shared_end_nothing(scene: &Scene) {
    for session in ["a", "b", "c"] {
        scene.report("Start", session, ", NAS-Port = 0");
    }
    scene
        .are(&[["a", "observed", "-", "0", "0"], ["b", "observed", "-", "0", "0"], ["c", "observed", "-", "0", "0"]])
        .await;
}

async fn twins_stay_apart_by_class(scene: &Scene) {
    scene.radhold.add_user("bob", "hello-bob", &["--no-second-factor"]);
    let [first, second] = [(); 2].map(|()| scene.login());
    scene.report("Start", "twin", &format!(", NAS-Port = 1, Class = {first}"));
    scene.report("Start", "twin", &format!(", NAS-Port = 2, Class = {second}"));
    scene.report("Interim-Update", "twin", &format!(", NAS-Port = 2, Class = {second}, Acct-Output-Octets = 7"));
    scene.report("Stop", "twin", &format!(", NAS-Port = 1, Class = {first}, Acct-Output-Octets = 5"));
    let states = [["twin", "closed", "stop", "0", "5"], ["twin", "permitted", "-", "0", "7"]];
    scene.are(&states).await;
    let third = scene.login();
    // Of the same port as well, the second has the first one's place.
    scene.report("Start", "twin", &format!(", NAS-Port = 2, Class = {third}"));
    scene.are(&[states[0], ["twin", "closed", "port-reused", "0", "7"], ["twin", "permitted", "-", "0", "0"]]).await;
}

async fn a_class_that_is_used_again_is_a_session_of_its_own(scene: &Scene) {
    scene.radhold.add_user("bob", "hello-bob", &["--no-second-factor"]);
    let class = format!(", Class = {}", scene.login());
    scene.report("Start", "a1", &class);
    scene.report("Stop", "a1", &format!("{class}, Acct-Input-Octets = 100, Acct-Session-Time = 9"));
    scene.report("Start", "a2", &class);
    scene.report("Interim-Update", "a2", &format!("{class}, Acct-Input-Octets = 30, Acct-Session-Time = 4"));
    // Each record finds its own, and finds it again.
    scene.report("Stop", "a1", &format!("{class}, Acct-Input-Octets = 100, Acct-Session-Time = 9"));
    scene.are(&[["a1", "closed", "stop", "100", "0"], ["a2", "observed", "-", "30", "0"]]).await;
    scene.report("Stop", "a2", &format!("{class}, Acct-Input-Octets = 50, Acct-Session-Time = 8"));
    scene.report("Stop", "a3", &format!("{class}, Acct-Input-Octets = 1"));
    scene
        .are(&[
            ["a1", "closed", "stop", "100", "0"],
            ["a2", "closed", "stop", "50", "0"],
            ["a3", "closed", "stop", "1", "0"],
        ])
        .await;
    scene.usage_agrees().await;
}

async fn a_number_that_is_used_again_is_another_session_though_its_start_was_lost(scene: &Scene) {
    let now = now();
    let said = |ago: i64, secs: i64, octets: u32| {
        let at = now - ago;
        format!(", NAS-Port = 3, Event-Timestamp = {at}, Acct-Session-Time = {secs}, Acct-Input-Octets = {octets}")
    };
    let before = [("Start", said(172_800, 0, 0)), ("Stop", said(169_200, 3600, 1_000_000))];
    let since = [("Interim-Update", said(20, 60, 400_000)), ("Stop", said(0, 80, 500_000))];
    let late = [("Interim-Update", said(171_000, 1800, 700_000)), ("Start", said(80, 0, 0))];
    let (first, second) =
        (["00000001", "closed", "stop", "1000000", "0"], ["00000001", "closed", "stop", "500000", "0"]);
    for (status, more) in before.iter().chain(&since[..1]) {
        scene.report(status, "00000001", more);
    }
    scene.are(&[first, ["00000001", "observed", "-", "400000", "0"]]).await;
    // What comes again, or late, finds its own, also while the younger one is at hand.
    scene.report("Stop", "00000001", &before[1].1);
    scene.are(&[first, ["00000001", "observed", "-", "400000", "0"]]).await;
    scene.report("Stop", "00000001", &since[1].1);
    scene.are(&[first, second]).await;
    for (status, more) in late.iter().chain(since.iter().rev()).chain(&before) {
        scene.report(status, "00000001", more);
        scene.are(&[first, second]).await;
    }
    // Of another session the reports come the wrong way round.
    for (status, more) in before.iter().chain(since.iter().rev()).chain(&late) {
        scene.report(status, "00000002", more);
    }
    let of = |number| move |row: [&'static str; 5]| [number, row[1], row[2], row[3], row[4]];
    let both = ["00000001", "00000002"].map(|number| [first, second].map(of(number)));
    scene.are(both.as_flattened()).await;
    let starts = "SELECT count(*) || ' ' || count(DISTINCT started_at) FROM sessions";
    assert_eq!(scene.sql(starts).await, [["4 2"]], "each pair began at the same two times");
    scene.usage_agrees().await;
}

async fn what_does_not_say_how_long_it_has_been_is_told_by_its_own_time(scene: &Scene) {
    let day_ago = format!(", Event-Timestamp = {}", now() - 86_400);
    // A Stop was the last that could be said of that session; what is presumed over lives when it is heard of.
    scene.report("Stop", "stopped", &format!("{day_ago}, Acct-Input-Octets = 10"));
    scene.report("Interim-Update", "silent", &format!("{day_ago}, Acct-Session-Time = 60, Acct-Input-Octets = 10"));
    let over = [["silent", "closed", "stale", "10", "0"], ["stopped", "closed", "stop", "10", "0"]];
    scene.until(&over).await;
    scene.report("Stop", "stopped", ", Acct-Input-Octets = 10");
    scene.are(&over).await;
    scene.report("Stop", "stopped", ", Acct-Input-Octets = 3");
    scene.report("Stop", "silent", ", Acct-Input-Octets = 12");
    scene.are(&[["silent", "closed", "stop", "12", "0"], over[1], ["stopped", "closed", "stop", "3", "0"]]).await;
    scene.usage_agrees().await;
}

/// Seconds since 1970.
fn now() -> i64 {
    radhold::app::clock::now().as_secs()
}

/// The last midnight but one, in seconds since 1970.
fn midnight() -> i64 {
    (now().div_euclid(86_400) - 1) * 86_400
}

fn date(secs: i64) -> String {
    DateTime::from_timestamp(secs, 0).unwrap().format("%Y-%m-%d").to_string()
}

async fn days(scene: &Scene) -> Vec<Vec<String>> {
    let days = "SELECT CAST(day AS text), user_name, nas, CAST(input_octets AS text), CAST(session_time AS text)
                FROM usage_daily ORDER BY day";
    scene.sql(days).await
}

async fn usage_is_cut_at_midnight_and_counts_once(scene: &Scene) {
    let midnight = midnight();
    let at = |secs: i64| format!(", Event-Timestamp = {}", midnight + secs);
    scene.report("Start", "m", &at(-600));
    for _ in 0..2 {
        let counted = ", Acct-Input-Octets = 1001, Acct-Session-Time = 1200";
        scene.report("Interim-Update", "m", &format!("{counted}{}", at(600)));
    }
    let (before, after) = (date(midnight - 1), date(midnight));
    let expected = [[before.as_str(), "bob", "lab", "500", "600"], [after.as_str(), "bob", "lab", "501", "600"]];
    assert_eq!(days(scene).await, expected);
    for _ in 0..2 {
        let stop = ", Acct-Input-Octets = 1002, Acct-Session-Time = 1260";
        scene.report("Stop", "m", &format!("{stop}{}", at(660)));
    }
    let expected = [expected[0], [after.as_str(), "bob", "lab", "502", "660"]];
    assert_eq!(days(scene).await, expected);
    scene.usage_agrees().await;
}

async fn midnight_is_where_the_operator_says(scene: &Scene) {
    // Midnight at +12:00 is noon.
    let noon = midnight() - 43_200;
    scene.report("Start", "m", &format!(", Event-Timestamp = {}", noon - 60));
    scene.report(
        "Stop",
        "m",
        &format!(", Event-Timestamp = {}, Acct-Session-Time = 120, Acct-Input-Octets = 10", noon + 60),
    );
    let (before, after) = (date(noon), date(noon + 43_200));
    let expected = [[before.as_str(), "bob", "lab", "5", "60"], [after.as_str(), "bob", "lab", "5", "60"]];
    assert_eq!(days(scene).await, expected);
}

async fn octets_wrap_and_are_swapped(scene: &Scene) {
    for (secs, octets) in [(60, 2_000_000_000u32), (120, 4_000_000_000), (180, 100), (60, 2_000_000_000), (180, 100)] {
        scene.report("Interim-Update", "w", &format!(", Acct-Session-Time = {secs}, Acct-Input-Octets = {octets}"));
    }
    // The NAS's input is what the user got.
    scene.are(&[["w", "observed", "-", "0", &((1u64 << 32) + 100).to_string()]]).await;
    scene.report("Stop", "w", ", Acct-Session-Time = 200, Acct-Input-Octets = 200, Acct-Output-Octets = 9");
    scene.are(&[["w", "closed", "stop", "9", &((1u64 << 32) + 200).to_string()]]).await;
    scene.usage_agrees().await;
}

async fn a_restart_ends_sessions_at_the_time_of_the_boot(scene: &Scene) {
    let now = now();
    scene.report("Start", "old", &format!(", Event-Timestamp = {}", now - 3600));
    scene.report("Start", "young", "");
    scene.report("Accounting-On", "boot", &format!(", Event-Timestamp = {}, Acct-Delay-Time = 600", now - 602));
    let ends = scene
        .sql("SELECT acct_session_id, coalesce(end_cause, '-'), coalesce(CAST(ended_at AS text), '-') FROM report_sessions ORDER BY 1")
        .await;
    let shown = scene.shown(now - 602);
    assert_eq!(ends[0][..2], ["old", "nas-restart"]);
    assert!(ends[0][2].starts_with(&shown), "{ends:?} {shown}");
    assert_eq!(ends[1], ["young", "-", "-"]);
}

async fn a_nas_that_goes_down_ends_its_own_sessions_and_no_others(scene: &Scene) {
    scene.radhold.add_user("bob", "hello-bob", &["--no-second-factor"]);
    let now = now();
    let at = |secs: i64| format!(", NAS-Identifier = edge, Event-Timestamp = {}", now - secs);
    scene.report("Start", "a", &at(600));
    scene.report("Interim-Update", "a", &format!("{}, Acct-Session-Time = 300, Acct-Input-Octets = 7", at(300)));
    scene.report("Start", "b", &at(600));
    scene.report("Stop", "b", &format!("{}, Acct-Session-Time = 200, Acct-Input-Octets = 5", at(400)));
    scene.report("Start", "c", &at(30));
    let class = format!(", NAS-Identifier = edge, Class = {}", scene.login());
    scene.report("Start", "d", &class);
    scene.report("Interim-Update", "d", &format!("{class}, Acct-Session-Time = 1, Acct-Output-Octets = 3"));
    // Another device of its entry, and one of another entry that is called as it is.
    scene.report("Start", "e", &format!(", NAS-Identifier = another, Event-Timestamp = {}", now - 600));
    scene.report("Start", "f", &format!("{}, Packet-Src-IP-Address = 127.0.0.2", at(600)));

    let down = format!("Acct-Status-Type = Accounting-Off, Acct-Delay-Time = 60{}", at(60));
    let ran = radclient(scene.radhold.accounting, "acct", SECRET, &down);
    assert_eq!(ran.code, 0, "without User-Name and Acct-Session-Id: {ran:?}");
    let stays = |name| [name, "observed", "-", "0", "0"];
    let [a, b] = [["a", "closed", "nas-restart", "7", "0"], ["b", "closed", "stop", "5", "0"]];
    let others = [stays("e"), stays("f")];
    scene.are(&[&[a, b, stays("c"), ["d", "permitted", "-", "0", "3"]][..], &others].concat()).await;
    assert!(scene.ended("a").await.starts_with(&scene.shown(now - 60)), "at the time of the event");

    // It is up again, and goes down later at a time that it does not say.
    scene.report("Accounting-On", "up", &at(40));
    scene.report("Interim-Update", "a", &format!("{}, Acct-Session-Time = 500, Acct-Input-Octets = 9", at(100)));
    assert!(scene.ended("a").await.starts_with(&scene.shown(now - 60)), "it was over by then");
    scene.report("Accounting-Off", "down", ", NAS-Identifier = edge");
    let over = [
        ["a", "closed", "nas-restart", "9", "0"],
        b,
        ["c", "closed", "nas-restart", "0", "0"],
        ["d", "closed", "nas-restart", "0", "3"],
    ];
    scene.are(&[&over[..], &others].concat()).await;
    scene.usage_agrees().await;
}

async fn what_is_heard_of_late_ended_with_a_restart_too(scene: &Scene) {
    let now = now();
    let at = |secs: i64| format!(", Event-Timestamp = {}", now - secs);
    let boot = |secs| scene.report("Accounting-On", "boot", &format!("{}, NAS-Identifier = edge", at(secs)));
    boot(60);
    // Both of these waited somewhere: with a proxy, or in the spool of another node.
    scene.report("Start", "a", &at(600));
    scene.report("Interim-Update", "b", &format!("{}, Acct-Session-Time = 300, Acct-Input-Octets = 7", at(300)));
    scene.report("Start", "c", &format!("{}, NAS-Identifier = another", at(600)));
    scene.report("Start", "d", &at(30));
    scene.report("Start", "e", "");
    let expected = [
        ["a", "closed", "nas-restart", "0", "0"],
        ["b", "closed", "nas-restart", "7", "0"],
        ["c", "observed", "-", "0", "0"],
        ["d", "observed", "-", "0", "0"],
        ["e", "observed", "-", "0", "0"],
    ];
    scene.are(&expected).await;
    let ended = scene.sql("SELECT DISTINCT CAST(ended_at AS text) FROM sessions WHERE ended_at IS NOT NULL").await;
    assert_eq!(ended.len(), 1, "at the time of the boot: {ended:?}");
    // Again, and an Accounting-On of before the last: nothing changes.
    scene.report("Start", "a", &at(600));
    boot(200);
    scene.report("Start", "a", &at(600));
    scene.are(&expected).await;
    // Its Stop was late too, and says more.
    scene.report("Stop", "a", &format!("{}, Acct-Session-Time = 500, Acct-Input-Octets = 9", at(100)));
    assert_eq!(scene.sessions().await[0], ["a", "closed", "stop", "9", "0"]);
    scene.usage_agrees().await;
}

async fn a_restart_ends_more_sessions_than_go_at_once(scene: &Scene) {
    let (names, at) = ((10..40).map(|number| format!("s{number}")).collect::<Vec<_>>(), now() - 60);
    for name in &names {
        scene.report("Start", name, &format!(", Event-Timestamp = {at}"));
    }
    scene.report("Start", "z", "");
    scene.report("Accounting-On", "boot", &format!(", Event-Timestamp = {}", at + 30));
    let over = names.iter().map(|name| [name.as_str(), "closed", "nas-restart", "0", "0"]);
    let expected: Vec<_> = over.chain([["z", "observed", "-", "0", "0"]]).collect();
    scene.until(&expected).await;
    let begun = Instant::now();
    while scene.sql("SELECT nas FROM nas_restarts WHERE NOT seen_to").await != Vec::<Vec<String>>::new() {
        assert!(begun.elapsed() < PATIENCE, "nobody saw that all are ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn silence_closes_by_timer_and_a_late_report_reopens(scene: &Scene) {
    scene.report("Start", "quiet", "");
    // Its Start was lost, and it sends Interim-Updates: they should go on.
    scene.report("Interim-Update", "s", ", Acct-Session-Time = 60, Acct-Input-Octets = 5");
    scene.until(&[["quiet", "observed", "-", "0", "0"], ["s", "closed", "stale", "5", "0"]]).await;
    let from = scene.radhold.log().len();
    scene.report("Interim-Update", "s", ", Acct-Session-Time = 70, Acct-Input-Octets = 8");
    // Not for long: it is silent again.
    let reopened = |line: &Value| message(line) == "session changed" && line["state"] == "observed";
    scene.radhold.wait_for_log(from, reopened);
    scene.report("Stop", "s", ", Acct-Session-Time = 71, Acct-Input-Octets = 9");
    scene.are(&[["quiet", "observed", "-", "0", "0"], ["s", "closed", "stop", "9", "0"]]).await;
    scene.usage_agrees().await;
}

async fn a_clock_that_is_wrong_is_not_believed(scene: &Scene) {
    scene.report("Start", "c", ", Event-Timestamp = 3600");
    scene.report("Start", "d", ", Acct-Delay-Time = 4000000000");
    let started = scene.sql("SELECT CAST(started_at AS text) FROM report_sessions").await;
    let years = [now() - 60, now()].map(|at| date(at)[..4].to_owned());
    assert!(started.iter().flatten().all(|at| years.iter().any(|year| at.starts_with(year))), "{started:?}");
    // A packet that had to go by way of the spool is read twice.
    let counters = scene.radhold.counters();
    for label in ["accounting.event-timestamp-disbelieved", "accounting.delay-time-disbelieved"] {
        assert!(counters.get(label).is_some_and(|count| *count >= 1), "{label}: {counters:?}");
    }
}
