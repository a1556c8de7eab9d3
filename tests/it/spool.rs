//! The store is away: what is answered meanwhile, what is there afterwards, and what damage costs.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use radhold::radius::{Code, attribute};
use serde_json::Value;
use tokio::task::{JoinSet, block_in_place};

use crate::bot_api::{BotApi, TOKEN};
use crate::cluster::Cluster;
use crate::das::{Das, SECRET};
use crate::loss::{Peer, sqlite, until_drained};
use crate::radhold::{PATIENCE, Radhold, Ran, message, radclient, received};

const PASSWORD: &str = "s3cret-pass";
const OPERATOR: i64 = 3003;
/// A NAS sends again after so long.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);

fn serve(store: &str, more: &str) -> Radhold {
    let hold = if more.contains("[hold]") { "" } else { "[hold]\nwindow = \"10m\"" };
    let radhold = Radhold::start(&format!(
        r#"
        {store}
        [server]
        reject_delay = "0s"
        {hold}
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        {more}
        "#
    ));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

fn on(cluster: &Cluster, more: &str) -> Radhold {
    serve(&format!("[store]\nurl = \"{}\"", cluster.url()), more)
}

/// Logs alice in; her session's Class.
fn accepted(radhold: &Radhold, port: u32) -> String {
    let attributes =
        format!("User-Name = alice, User-Password = {PASSWORD}, NAS-Port = {port}, Message-Authenticator = 0x00");
    let ran = radclient(radhold.auth, "auth", SECRET, &attributes);
    assert_eq!(ran.code, 0, "{ran:?}");
    received(&ran, "Class").unwrap().to_owned()
}

fn account(radhold: &Radhold, status: &str, port: u32, class: &str, octets: u32) -> Ran {
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a{port}, NAS-Port = {port}, Class = {class}, \
         Acct-Input-Octets = {octets}"
    );
    radclient(radhold.accounting, "acct", SECRET, &attributes)
}

fn spool(radhold: &Radhold) -> Value {
    let ran = radhold.cli(&["spool", "--json"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn quarantine(radhold: &Radhold) -> Vec<Value> {
    let ran = radhold.cli(&["quarantine", "list", "--json"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Waits until all sessions are so, in the order of their ports.
fn until_sessions(radhold: &Radhold, so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let mut sessions = radhold.sessions();
        sessions.sort_by_key(|session| session["identity"]["nas_port"].as_u64());
        if so(&sessions) {
            return sessions;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {sessions:#?} {:#?}", radhold.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until so many logins are kept and have been asked about: nothing is on its way to the store any more.
fn until_offered(radhold: &Radhold, count: usize) {
    let asked = |session: &Value| session["asked"][0]["state"] == "sent";
    until_sessions(radhold, |sessions| sessions.len() == count && sessions.iter().all(asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_store_is_answered_and_held_when_it_is_back() {
    let mut cluster = Cluster::start().await;
    let radhold = block_in_place(|| on(&cluster, ""));
    let early = block_in_place(|| accepted(&radhold, 1));
    block_in_place(|| until_offered(&radhold, 1));
    block_in_place(|| cluster.stop_immediately());
    let late = block_in_place(|| {
        assert_eq!(account(&radhold, "Start", 1, &early, 0).code, 0, "{:#?}", radhold.log());
        assert_eq!(account(&radhold, "Interim-Update", 1, &early, 700).code, 0);
        // Logins go on, and are followed by accounting.
        let late = accepted(&radhold, 2);
        assert_eq!(account(&radhold, "Start", 2, &late, 0).code, 0);
        let spool = spool(&radhold);
        assert_eq!((&spool["waiting"], &spool["nearly_full"]), (&3.into(), &false.into()), "{spool:#}");
        assert!(spool["oldest"].is_string(), "{spool:#}");
        late
    });
    assert!(radhold.log().iter().any(|line| message(line).starts_with("the store is away")));

    cluster.resume().await;
    until_drained(&radhold).await;
    let sessions = block_in_place(|| {
        until_sessions(&radhold, |sessions| {
            sessions.len() == 2 && sessions.iter().all(|session| session["state"] == "held")
        })
    });
    assert_eq!(sessions[0]["counters"]["input_octets"], 700);
    assert!(sessions.iter().all(|session| session["asked"][0]["approver"] == "operator"), "{sessions:#?}");
    block_in_place(|| {
        assert_eq!(account(&radhold, "Stop", 2, &late, 9).code, 0);
        until_sessions(&radhold, |sessions| sessions[1]["state"] == "closed");
    });
    // More, where the machine was too busy for the store to be in time with something.
    assert!(radhold.counters()["spool.drained"] >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_spool_outlives_a_kill_and_a_stop() {
    let mut cluster = Cluster::start().await;
    let mut radhold = block_in_place(|| on(&cluster, ""));
    let [first, second] = [1, 2].map(|port| block_in_place(|| accepted(&radhold, port)));
    block_in_place(|| cluster.stop_immediately());
    assert_eq!(block_in_place(|| account(&radhold, "Start", 1, &first, 0)).code, 0);
    block_in_place(|| radhold.kill());
    cluster.resume().await;
    block_in_place(|| {
        radhold.restart();
        until_sessions(&radhold, |sessions| sessions.first().is_some_and(|session| session["state"] == "held"));
    });

    // SIGTERM while a request waits for a store that does not answer: it goes to the spool, and is answered.
    until_drained(&radhold).await;
    cluster.cut();
    let (server, class) = (radhold.accounting, second.clone());
    let waiting = std::thread::spawn(move || {
        let attributes =
            format!("User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a2, NAS-Port = 2, Class = {class}");
        radclient(server, "acct", SECRET, &attributes)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    block_in_place(|| radhold.stop());
    let ran = waiting.join().unwrap();
    assert_eq!(ran.code, 0, "{ran:?} {:#?}", radhold.log());
    cluster.mend();
    block_in_place(|| {
        radhold.restart();
        until_sessions(&radhold, |sessions| sessions.len() == 2 && sessions[1]["state"] == "held");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_entry_and_a_damaged_file_block_nobody() {
    let mut cluster = Cluster::start().await;
    let mut radhold = block_in_place(|| on(&cluster, ""));
    let classes = [1, 2, 3].map(|port| block_in_place(|| accepted(&radhold, port)));
    block_in_place(|| until_offered(&radhold, 3));
    block_in_place(|| cluster.stop_immediately());
    block_in_place(|| {
        for (class, port) in classes.iter().zip(1..) {
            assert_eq!(account(&radhold, "Start", port, class, 0).code, 0);
        }
        radhold.kill();
    });
    let file = sqlite(&radhold, "state/spool.sqlite").await;
    sqlx::query("UPDATE entries SET packet = zeroblob(length(packet)) WHERE seq = 2").execute(&file).await.unwrap();
    file.close().await;
    cluster.resume().await;
    block_in_place(|| {
        radhold.restart();
        let held = |session: &Value| session["state"] == "held";
        until_sessions(&radhold, |sessions| sessions.iter().filter(|session| held(session)).count() == 2);
        let aside = spool(&radhold);
        assert_eq!((&aside["set_aside"][0]["number"], &aside["set_aside_count"]), (&2.into(), &1.into()), "{aside:#}");
        assert_eq!(aside["damaged"], Value::Array(vec![]));
        assert!(radhold.log().iter().any(|line| message(line).contains("is set aside") && line["level"] == "ERROR"));
        assert_eq!(radhold.counters()["spool.set-aside"], 1);
        // As it is it comes back; dropped, it is gone.
        let unknown = radhold.cli(&["spool", "retry", "4711"], "");
        assert_eq!(unknown.code, 4, "{unknown:?}");
        let said = radhold.log().len();
        let retried = radhold.cli(&["spool", "retry", "2"], "");
        assert_eq!((retried.code, retried.stdout.starts_with("1 put back")), (0, true), "{retried:?}");
        radhold.wait_for_log(said, |line| message(line).contains("is set aside"));
        let dropped = radhold.cli(&["spool", "drop", "--all"], "");
        assert_eq!(dropped.code, 0, "{dropped:?}");
        assert!(dropped.stdout.contains("checksum") && dropped.stdout.ends_with("1 dropped\n"), "{dropped:?}");

        radhold.kill();
        for beside in ["state/spool.sqlite-wal", "state/spool.sqlite-shm"] {
            let _ = std::fs::remove_file(radhold.path(beside));
        }
        std::fs::write(radhold.path("state/spool.sqlite"), "this was the spool").unwrap();
        radhold.restart();
        assert!(radhold.log().iter().any(|line| message(line).contains("was damaged") && line["level"] == "ERROR"));
        let moved = std::fs::read_dir(radhold.path("state")).unwrap().flatten();
        let mut moved = moved.filter(|file| file.file_name().to_string_lossy().contains("damaged"));
        let moved = moved.next().unwrap().path();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "this was the spool");
        let shown = spool(&radhold);
        assert_eq!(
            shown["damaged"],
            serde_json::json!([{ "file": moved, "no_room": 0, "unreadable": null }]),
            "{shown:#}"
        );
        assert_eq!(account(&radhold, "Start", 2, &classes[1], 0).code, 0);
        until_sessions(&radhold, |sessions| sessions.iter().all(held));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_damaged_file_no_entry_goes_uncounted() {
    const ENTRIES: u64 = 3000;
    let mut radhold = block_in_place(|| serve("", ""));
    block_in_place(|| radhold.kill());
    let file = sqlite(&radhold, "state/spool.sqlite").await;
    sqlx::raw_sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO entries (at, about, packet, checksum) SELECT 0, 'of no sense', randomblob(300), x'00' FROM n;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .execute(&file)
    .await
    .unwrap();
    file.close().await;
    let path = radhold.path("state/spool.sqlite");
    let mut octets = std::fs::read(&path).unwrap();
    let middle = octets.len() / 4096 / 2 * 4096;
    octets[middle..middle + 4096].fill(0xAA);
    std::fs::write(&path, octets).unwrap();
    block_in_place(|| {
        radhold.restart();
        let said = radhold.log().into_iter().find(|line| message(line).contains("was damaged")).unwrap();
        let [saved, aside, unreadable] =
            ["saved", "set_aside", "unreadable_at_most"].map(|key| said[key].as_u64().unwrap());
        assert_eq!((saved, aside + unreadable), (0, ENTRIES), "{said:#}");
        assert!(unreadable > 0 && aside > 1000, "{said:#}");
        assert_eq!(radhold.counters()["spool.set-aside"], aside);
        let shown = spool(&radhold);
        assert_eq!((&shown["set_aside_count"], &shown["waiting"]), (&aside.into(), &0.into()));
        assert_eq!(shown["set_aside"].as_array().unwrap().len(), 1000, "the list ends there");
        assert_eq!(shown["damaged"][0]["unreadable"], unreadable);
        let ran = radhold.cli(&["spool"], "");
        assert!(ran.stdout.contains(&format!("set aside  {aside}\n")), "{}", &ran.stdout[..1000]);
        assert!(ran.stdout.contains(&format!("at most {unreadable} of its entries")), "{}", &ran.stdout[..1000]);
        assert!(ran.stderr.contains(&format!("the oldest 1000 of {aside}")), "{}", ran.stderr);
    });
}

/// Somebody's lock on one session, for as long as it pleases them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_the_store_does_not_keep_in_time_blocks_nobody() {
    let mut cluster = Cluster::start().await;
    let mut radhold = block_in_place(|| on(&cluster, ""));
    let classes: Vec<String> = (1..=4)
        .map(|port| {
            block_in_place(|| {
                let class = accepted(&radhold, port);
                assert_eq!(account(&radhold, "Start", port, &class, 0).code, 0);
                class
            })
        })
        .collect();
    block_in_place(|| until_sessions(&radhold, |sessions| sessions.len() == 4));
    block_in_place(|| cluster.stop_immediately());
    block_in_place(|| {
        for (class, port) in classes[..3].iter().zip(1..) {
            assert_eq!(account(&radhold, "Interim-Update", port, class, 700).code, 0);
        }
        radhold.kill();
    });
    cluster.resume().await;
    let mut lock = cluster.pool().await.begin().await.unwrap();
    sqlx::query("SELECT id FROM sessions WHERE nas_port = 1 FOR UPDATE").execute(&mut *lock).await.unwrap();
    block_in_place(|| {
        radhold.restart();
        let counted = |session: &Value| session["counters"]["input_octets"].as_u64();
        until_sessions(&radhold, |sessions| sessions[1..3].iter().all(|session| counted(session) == Some(700)));
        assert_eq!(account(&radhold, "Interim-Update", 4, &classes[3], 90).code, 0);
        until_sessions(&radhold, |sessions| counted(&sessions[3]) == Some(90));
        assert_eq!(spool(&radhold)["waiting"], 1);
    });
    lock.rollback().await.unwrap();
    until_drained(&radhold).await;
    let sessions = block_in_place(|| radhold.sessions());
    assert!(
        sessions
            .iter()
            .any(|session| session["identity"]["nas_port"] == 1 && session["counters"]["input_octets"] == 700)
    );
}

/// The button is judged when the store is back: it lifts the session of whom it was made for, and nobody's whose binding is gone.
/// A millisecond for each session that is added: a thousand at a time would be too late for all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_slow_is_given_what_it_keeps_in_time() {
    let cluster = Cluster::start().await;
    let radhold = block_in_place(|| on(&cluster, ""));
    let pool = cluster.pool().await;
    sqlx::raw_sql(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
         CREATE TRIGGER slowly BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION slowly()",
    )
    .execute(&pool)
    .await
    .unwrap();
    let (server, port) = (radhold.auth.to_string(), radhold.accounting.port().to_string());
    let secret = radhold.path("load-secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.display().to_string();
    let arguments = ["client", "load", &server, "--accounting-port", &port, "--secret-file", &secret, "--json"];
    let more = ["--duration", "4", "--sessions", "4000", "--interims", "0", "--in-flight", "2048", "--retries", "20"];
    let ran = block_in_place(|| radhold.cli(&[&arguments[..], &more[..]].concat(), ""));
    assert_eq!(ran.code, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    until_drained(&radhold).await;
    let counters = block_in_place(|| radhold.counters());
    let count = |name: &str| counters.get(name).copied().unwrap_or(0);
    let acknowledged = report["counts"]["answered"].as_u64().unwrap();
    assert!(acknowledged > count("spool.kept") + 200, "the store had nothing of {acknowledged}: {counters:#?}");
    let (starts, stops): (i64, i64) =
        sqlx::query_as("SELECT count(started_at), count(ended_at) FROM sessions").fetch_one(&pool).await.unwrap();
    let said = |key: &str| report["acknowledged"][key].as_i64().unwrap();
    assert_eq!((starts, stops), (said("starts"), said("stops")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_without_store_is_kept_and_settled_later() {
    const ALICE: i64 = 1001;
    for still_bound in [true, false] {
        let mut cluster = Cluster::start().await;
        let (api, mut das) = (BotApi::start().await, Das::start(&["ack"]).await);
        api.add_user(ALICE, "Alice");
        let more =
            format!("coa_port = {}\n[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"", das.address.port(), api.url());
        let mut radhold = block_in_place(|| on(&cluster, &more));
        block_in_place(|| {
            let bound = radhold.cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], "");
            assert_eq!(bound.code, 0, "{bound:?}");
            let class = accepted(&radhold, 1);
            assert_eq!(account(&radhold, "Start", 1, &class, 0).code, 0);
            until_sessions(&radhold, |sessions| {
                sessions.first().is_some_and(|session| session["asked"][0]["state"] == "sent")
            });
        });
        let prompt = api.until_sent(ALICE, 0).await;
        block_in_place(|| cluster.stop_immediately());
        let press = api.press(ALICE, prompt.id, ALICE, "It's me");
        let answer = api.until_answered(&press).await;
        assert!(answer.text.starts_with("Your answer is kept"), "{answer:?}");
        // It outlives the process, too.
        block_in_place(|| {
            assert_eq!(spool(&radhold)["waiting"], 1);
            radhold.kill();
        });
        cluster.resume().await;
        if !still_bound {
            sqlx::query("DELETE FROM bindings").execute(&cluster.pool().await).await.unwrap();
        }
        block_in_place(|| radhold.restart());
        until_drained(&radhold).await;
        if still_bound {
            let request = das.next().await;
            assert_eq!((&request["code"], &request["attributes"]["Filter-Id"][0]), (&43.into(), &"permit".into()));
            let session = block_in_place(|| until_sessions(&radhold, |sessions| sessions[0]["state"] == "permitted"));
            assert_eq!(session[0]["decision"]["approver"], "telegram");
        } else {
            let session = block_in_place(|| radhold.sessions());
            assert_eq!((&session[0]["state"], &session[0]["decision"]), (&"held".into(), &Value::Null));
            assert_eq!(block_in_place(|| radhold.counters())["answer.not-entitled"], 1);
        }
    }
}

/// Done once at the NAS, the order is not carried out again because the store was away when it was to be kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_an_order_is_kept_without_store() {
    let mut cluster = Cluster::start().await;
    // Answers only when told to, so that the store can go first.
    let mut das = Das::start(&["silent-then-ack"]).await;
    let more = format!(
        "coa_port = {}\n[dynauth]\ninitial_timeout = \"3s\"\nretries = 3\nmax_timeout = \"3s\"\ntotal = \"20s\"",
        das.address.port()
    );
    let radhold = block_in_place(|| on(&cluster, &more));
    block_in_place(|| {
        let class = accepted(&radhold, 1);
        assert_eq!(account(&radhold, "Start", 1, &class, 0).code, 0);
        let session = radhold.until_state("held");
        let approved = radhold.cli(&["session", "approve", session["id"].as_str().unwrap()], "");
        assert_eq!(approved.code, 0, "{approved:?}");
    });
    das.next().await;
    block_in_place(|| cluster.stop_immediately());
    das.next().await;
    let begun = Instant::now();
    while block_in_place(|| spool(&radhold))["waiting"] == 0 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", radhold.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.resume().await;
    until_drained(&radhold).await;
    block_in_place(|| until_sessions(&radhold, |sessions| sessions[0]["state"] == "permitted"));
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE lane = 'nas'")
        .fetch_one(&cluster.pool().await)
        .await
        .unwrap();
    assert_eq!(orders, 0, "it was struck off with its outcome");
}

/// What the NAS did before the deadline counts, however much waits before it in the spool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_waits_for_an_outcome_in_the_spool() {
    const WINDOW: Duration = Duration::from_secs(20);
    let mut cluster = Cluster::start().await;
    let mut das = Das::start(&["silent-then-ack"]).await;
    let more = format!(
        "coa_port = {}\n[dynauth]\ninitial_timeout = \"3s\"\nretries = 3\nmax_timeout = \"3s\"\ntotal = \"20s\"\n\
         [hold]\nwindow = \"{}s\"\n[spool]\ndrain_rate = 1",
        das.address.port(),
        WINDOW.as_secs()
    );
    // One entry at a time, one a second.
    let store = format!("[store]\nurl = \"{}\"\nbatch = 1", cluster.url());
    let radhold = block_in_place(|| serve(&store, &more));
    let (class, accepted_at) = block_in_place(|| {
        let class = accepted(&radhold, 1);
        let accepted_at = Instant::now();
        assert_eq!(account(&radhold, "Start", 1, &class, 0).code, 0);
        let session = radhold.until_state("held");
        let approved = radhold.cli(&["session", "approve", session["id"].as_str().unwrap()], "");
        assert_eq!(approved.code, 0, "{approved:?}");
        (class, accepted_at)
    });
    das.next().await;
    block_in_place(|| {
        cluster.stop_immediately();
        for octets in 1..=5 {
            assert_eq!(account(&radhold, "Interim-Update", 1, &class, octets).code, 0);
        }
    });
    das.next().await;
    let begun = Instant::now();
    while block_in_place(|| spool(&radhold))["waiting"] != 6 {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", radhold.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep((WINDOW + Duration::from_secs(1)).saturating_sub(accepted_at.elapsed())).await;
    cluster.resume().await;
    until_drained(&radhold).await;
    let sessions = block_in_place(|| radhold.sessions());
    assert_eq!((&sessions[0]["state"], &sessions[0]["counters"]["input_octets"]), (&"permitted".into(), &5.into()));
}

/// What came while the store was away follows in the order it came, no faster than it may; what is new waits for none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_spool_empties_in_order_at_its_rate_beside_new_records() {
    const RECORDS: usize = 200;
    const RATE: u32 = 40;
    const BATCH: usize = 16;
    const LINES: u32 = 4;
    let mut cluster = Cluster::start().await;
    let store = format!("[store]\nurl = \"{}\"\nbatch = {BATCH}", cluster.url());
    let radhold = block_in_place(|| serve(&store, &format!("[spool]\ndrain_rate = {RATE}")));
    cluster.stop_immediately();
    let mut peer = Peer::new(radhold.accounting, SECRET).await;
    for nth in 0..RECORDS {
        ask(&mut peer, 1, &format!("old-{nth:03}")).await;
    }
    assert_eq!(block_in_place(|| spool(&radhold))["waiting"], RECORDS);

    let (begun, over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    cluster.resume().await;
    let pool = cluster.pool().await;
    let mut lines = JoinSet::new();
    for line in 0..LINES {
        let (mut peer, over) = (Peer::new(radhold.accounting, SECRET).await, Arc::clone(&over));
        lines.spawn(async move {
            let mut sessions = 0;
            while !over.load(Ordering::Relaxed) {
                for status in [1, 3, 2] {
                    ask(&mut peer, status, &format!("new-{line}-{sessions}")).await;
                }
                sessions += 1;
            }
            sessions
        });
    }
    let mut new_beside_old = 0;
    loop {
        // In one statement, so of one moment.
        let there: Vec<String> =
            sqlx::query_scalar("SELECT acct_session_id FROM sessions ORDER BY 1").fetch_all(&pool).await.unwrap();
        let elapsed = begun.elapsed();
        let (new, old): (Vec<_>, Vec<_>) = there.into_iter().partition(|session| session.starts_with("new-"));
        let first: Vec<String> = (0..old.len()).map(|nth| format!("old-{nth:03}")).collect();
        assert_eq!(old, first, "none before one that came before it");
        // The rate counts from the beginning of one batch to that of the next.
        let may_be = BATCH + (elapsed.as_secs_f64() * f64::from(RATE)).ceil() as usize;
        assert!(old.len() <= may_be, "{} within {elapsed:?}", old.len());
        if old.len() == RECORDS {
            break;
        }
        new_beside_old = new.len();
        assert!(elapsed < PATIENCE * 4, "{} of {RECORDS} after {elapsed:?}: {:#?}", old.len(), radhold.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    over.store(true, Ordering::Relaxed);
    let sessions: usize = lines.join_all().await.into_iter().sum();
    println!("{RECORDS} within {:?}, beside {new_beside_old} new sessions", begun.elapsed());
    assert!(new_beside_old >= LINES as usize, "new sessions do not wait until the old ones are there");
    until_drained(&radhold).await;
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sessions WHERE acct_session_id LIKE 'new-%' AND state = 'closed' AND end_cause = 'stop'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(usize::try_from(ended).unwrap(), sessions);
}

/// Sends a report once, which must be answered before a NAS sends it again.
async fn ask(peer: &mut Peer, status: u32, session: &str) {
    let request = peer.request(Code::AccountingRequest, |builder, _| {
        builder.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
        builder.text(attribute::USER_NAME, "alice").unwrap();
        builder.text(attribute::ACCT_SESSION_ID, session).unwrap();
    });
    let begun = Instant::now();
    let answer = peer.send(&request, FIRST_PATIENCE).await;
    assert!(answer.is_some(), "{session} {status} is not answered within {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_raises_the_alarm_first_and_acknowledges_nothing_then() {
    let (mut cluster, api) = (Cluster::start().await, BotApi::start().await);
    api.add_user(OPERATOR, "Olga");
    let telegram = format!("[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\noperator_chat = {OPERATOR}", api.url());
    let radhold = block_in_place(|| on(&cluster, &format!("[spool]\nmax_mebibytes = 1\n{telegram}")));
    block_in_place(|| cluster.stop_immediately());
    // Each a session of its own, padded with attributes nobody knows.
    let mut nases = JoinSet::new();
    for nth in 0..8u32 {
        let mut peer = Peer::new(radhold.accounting, SECRET).await;
        nases.spawn(async move {
            let mut acknowledged = 0u32;
            loop {
                let request = peer.request(Code::AccountingRequest, |builder, _| {
                    builder.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap();
                    builder.text(attribute::USER_NAME, "alice").unwrap();
                    builder.text(attribute::ACCT_SESSION_ID, &format!("{nth}-{acknowledged}")).unwrap();
                    builder.integer(attribute::NAS_PORT, nth * 10_000 + acknowledged).unwrap();
                    for _ in 0..12 {
                        builder.attribute(attribute::CLASS, &[b'x'; 250]).unwrap();
                    }
                });
                if peer.send(&request, Duration::from_secs(5)).await.is_none() {
                    return acknowledged;
                }
                acknowledged += 1;
                assert!(acknowledged < 400, "a MiB holds no {} of 3 KiB", 8 * acknowledged);
            }
        });
    }
    let acknowledged: u32 = nases.join_all().await.into_iter().sum();
    let counters = block_in_place(|| radhold.counters());
    assert_eq!(counters["spool.kept"], u64::from(acknowledged));
    assert_eq!(counters["spool.nearly-full"], 1, "{counters:#?}");
    assert!(counters["spool.not-kept"] >= 8, "{counters:#?}");
    let place = |what: &str| radhold.log().iter().position(|line| message(line).contains(what)).unwrap();
    assert!(place("nearly full") < place("kept nowhere"));
    assert_eq!(block_in_place(|| spool(&radhold))["nearly_full"], true);
    // The operator is told, of each once.
    assert!(api.until_sent(OPERATOR, 0).await.text.contains("the spool is nearly full"));
    assert!(api.until_sent(OPERATOR, 1).await.text.contains("the spool takes no more"));

    cluster.resume().await;
    until_drained(&radhold).await;
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&cluster.pool().await).await.unwrap();
    assert_eq!(kept, i64::from(acknowledged));
    assert_eq!(api.sent(OPERATOR).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waited_in_the_spool_closes_no_newer_session_on_its_port() {
    let mut cluster = Cluster::start().await;
    let ports = "unique_ports = true";
    let mut late = block_in_place(|| on(&cluster, ports));
    block_in_place(|| {
        let class = accepted(&late, 7);
        cluster.stop_immediately();
        assert_eq!(account(&late, "Start", 7, &class, 0).code, 0);
        late.kill();
    });
    cluster.resume().await;
    // Meanwhile the port is somebody else's, as another node is told.
    block_in_place(|| {
        let head = format!("node = \"other\"\nstore.url = \"{}\"\n", cluster.url());
        let nas = format!("[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n{ports}\n");
        let other = Radhold::start_with(&head, &nas);
        let start = "User-Name = bob, Acct-Status-Type = Start, Acct-Session-Id = newer, NAS-Port = 7";
        assert_eq!(radclient(other.accounting, "acct", SECRET, start).code, 0, "{:#?}", other.log());
        late.restart();
    });
    until_drained(&late).await;
    block_in_place(|| {
        let sessions = until_sessions(&late, |sessions| {
            sessions.iter().any(|session| session["user"] == "alice" && session["state"] == "closed")
        });
        let of = |user: &str| sessions.iter().find(|session| session["user"] == user).unwrap();
        assert_eq!(of("alice")["end"]["cause"], "port-reused", "{sessions:#?}");
        assert!(of("bob")["end"].is_null() && of("bob")["state"] != "closed", "{sessions:#?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_without_store_takes_accounting_and_lets_nobody_in_until_it_is_back() {
    let (mut cluster, keys) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let key = keys.path().join("cluster.key");
    std::fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut radhold = block_in_place(|| on(&cluster, &format!("[keys]\ncluster_file = \"{}\"", key.display())));
    let class = block_in_place(|| {
        let class = accepted(&radhold, 1);
        assert_eq!(account(&radhold, "Start", 1, &class, 0).code, 0);
        radhold.kill();
        class
    });
    block_in_place(|| {
        cluster.stop_immediately();
        radhold.restart();
        assert_eq!(account(&radhold, "Interim-Update", 1, &class, 700).code, 0, "{:#?}", radhold.log());
        let login =
            format!("User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 2, Message-Authenticator = 0x00");
        let ran = radclient(radhold.auth, "auth", SECRET, &login);
        assert!(ran.code != 0 && !ran.stdout.contains("Received"), "{ran:?}");
    });
    cluster.resume().await;
    radhold.wait_for_log(0, |line| message(line) == "the store that was away at the start is ready");
    until_drained(&radhold).await;
    block_in_place(|| {
        until_sessions(&radhold, |sessions| sessions[0]["counters"]["input_octets"] == 700);
        let begun = Instant::now();
        let login =
            format!("User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 3, Message-Authenticator = 0x00");
        while radclient(radhold.auth, "auth", SECRET, &login).code != 0 {
            assert!(begun.elapsed() < PATIENCE, "{:#?}", radhold.log());
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fits_nowhere_is_quarantined_and_tried_again_when_asked() {
    let radhold = block_in_place(|| serve("", ""));
    let [bad, good] = [1, 2].map(|port| {
        block_in_place(|| {
            let class = accepted(&radhold, port);
            assert_eq!(account(&radhold, "Start", port, &class, 0).code, 0);
            class
        })
    });
    let store = sqlite(&radhold, "state/radhold.sqlite").await;
    sqlx::query("UPDATE sessions SET state = 'nonsense', version = version + 1 WHERE nas_port = 1")
        .execute(&store)
        .await
        .unwrap();
    block_in_place(|| {
        assert_eq!(
            account(&radhold, "Interim-Update", 1, &bad, 77).code,
            0,
            "it is kept, so that it is not sent again"
        );
        assert_eq!(account(&radhold, "Interim-Update", 2, &good, 88).code, 0);
        let misfits = quarantine(&radhold);
        assert_eq!(misfits.len(), 1, "{misfits:#?}");
        assert!(misfits[0]["reason"].as_str().unwrap().starts_with("sessions.state"), "{misfits:#?}");
        assert_eq!((&misfits[0]["nas"], &misfits[0]["user"]), (&"lab".into(), &"alice".into()));
        assert_eq!((&misfits[0]["status"], &misfits[0]["acct_session_id"]), (&"InterimUpdate".into(), &"a1".into()));
        let unknown = radhold.cli(&["quarantine", "drop", "4711"], "");
        assert_eq!(unknown.code, 4, "{unknown:?}");
    });
    sqlx::query("UPDATE sessions SET state = 'held' WHERE nas_port = 1").execute(&store).await.unwrap();
    block_in_place(|| {
        let ran = radhold.cli(&["quarantine", "retry", "--all"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let counted = |session: &Value| session["counters"]["input_octets"].as_u64();
        let sessions = until_sessions(&radhold, |sessions| counted(&sessions[0]) == Some(77));
        assert_eq!(counted(&sessions[1]), Some(88));
        let begun = Instant::now();
        while !quarantine(&radhold).is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}
