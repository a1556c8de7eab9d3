//! Strikes, bans, lockout and the audit record, end to end: Debian's radclient as the NAS, several servers, real stores.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::das::{Das, SECRET};
use crate::postgres;
use crate::radhold::{PATIENCE, Radhold, Ran, radclient, received};

const PASSWORD: &str = "s3cret-pass";
const HOME: &str = "198.51.100.10";
/// Locked out is locked out for as long as a test takes.
const LONG_DELAYS: &str = "[lockout]\ndelay_first = \"10m\"\n";
const EVIL: &str = "203.0.113.66";

fn lab(das: SocketAddr, dialect: &str, more: &str) -> String {
    format!(
        r#"
        [server]
        reject_delay = "0s"
        [dynauth]
        initial_timeout = "200ms"
        retries = 1
        max_timeout = "200ms"
        total = "500ms"
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        dialect = "{dialect}"
        coa_port = {}
        {more}
        "#,
        das.port()
    )
}

async fn scene(more: &str) -> (Radhold, Das) {
    let das = Das::start(&["ack"]).await;
    let radhold = Radhold::start(&lab(das.address, "standard", more));
    radhold.add_user("alice", PASSWORD, &[]);
    radhold.add_user("bob", PASSWORD, &[]);
    (radhold, das)
}

fn attributes(user: &str, password: &str, caller: &str) -> String {
    format!(
        "User-Name = {user}, User-Password = {password}, NAS-Port = 7, Calling-Station-Id = \"{caller}\", \
         Message-Authenticator = 0x00"
    )
}

fn login(radhold: &Radhold, user: &str, password: &str, caller: &str) -> Ran {
    radclient(radhold.auth, "auth", SECRET, &attributes(user, password, caller))
}

/// What a refused login is told.
fn refusal(radhold: &Radhold, user: &str, password: &str, caller: &str) -> String {
    let ran = login(radhold, user, password, caller);
    assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
    received(&ran, "Reply-Message").unwrap().to_owned()
}

fn accepted(radhold: &Radhold, user: &str, caller: &str) -> String {
    let ran = login(radhold, user, PASSWORD, caller);
    assert_eq!(ran.code, 0, "{ran:?}");
    received(&ran, "Class").unwrap().to_owned()
}

/// Logs somebody in, starts the session, and decides about it.
fn decided(radhold: &Radhold, user: &str, caller: &str, number: u32, verb: &str, state: &str) {
    let class = accepted(radhold, user, caller);
    let account = |status: &str| {
        let attributes = format!(
            "User-Name = {user}, Acct-Status-Type = {status}, Acct-Session-Id = s{number}, NAS-Port = 7, \
             Calling-Station-Id = \"{caller}\", Class = {class}"
        );
        let ran = radclient(radhold.accounting, "acct", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    account("Start");
    let session = radhold.until_state("held");
    let ran = radhold.cli(&["session", verb, session["id"].as_str().unwrap(), "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    radhold.until_state(state);
    if verb == "deny" {
        account("Stop");
        radhold.until_state("closed");
    }
}

fn bans(radhold: &Radhold) -> Vec<Value> {
    let ran = radhold.cli(&["ban", "list", "--json"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn ban(radhold: &Radhold, arguments: &[&str]) -> Ran {
    radhold.cli(&[&["ban"], arguments].concat(), "")
}

fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn until<T>(mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = so() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came to this");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn until_accepted(radhold: &Radhold, user: &str, caller: &str) {
    until(|| (login(radhold, user, PASSWORD, caller).code == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_denied_holds_ban_the_account_and_the_address_until_the_bans_are_lifted() {
    let (mut radhold, _das) = scene("").await;
    for number in 1..10 {
        decided(&radhold, "alice", EVIL, number, "deny", "evicting");
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bans(&radhold), [] as [Value; 0], "nine are not ten");
    decided(&radhold, "alice", EVIL, 10, "deny", "evicting");
    let set = until(|| Some(bans(&radhold)).filter(|bans| bans.len() == 2));
    let facts: Vec<_> = set.iter().map(|ban| (ban["kind"].as_str().unwrap(), ban["value"].as_str().unwrap())).collect();
    assert_eq!(facts, [("address", EVIL), ("account", "alice")]);
    for ban in &set {
        assert!((1700..=1800).contains(&ban["seconds_left"].as_u64().unwrap()), "{ban:#}");
        assert_eq!((&ban["by"], &ban["automatic"]), (&"radhold".into(), &true.into()));
    }
    let table = ban(&radhold, &["list"]).stdout;
    assert!(table.contains(EVIL) && table.contains("29m"), "the expiry is visible: {table}");
    let banned_here = until(|| {
        let said = refusal(&radhold, "bob", PASSWORD, EVIL);
        said.contains("banned").then_some(said)
    });
    assert_eq!(banned_here, "Logins from your address are banned for 30 more minutes.");
    assert_eq!(refusal(&radhold, "bob", "wrong", EVIL), banned_here, "the password is not looked at");
    assert_eq!(refusal(&radhold, "alice", PASSWORD, HOME), "This account is banned for 30 more minutes.");
    assert_eq!(
        refusal(&radhold, "alice", "wrong", "198.51.100.11"),
        "Login failed. Check the name and the password.",
        "only who has the password is told"
    );
    accepted(&radhold, "bob", HOME);
    let counted = radhold.counters();
    assert_eq!(counted["access.caller-banned"], 2, "{counted:?}");
    assert!(counted["access.account-banned"] >= 1, "{counted:?}");

    radhold.kill();
    radhold.restart();
    assert!(refusal(&radhold, "bob", PASSWORD, EVIL).contains("banned"), "bans survive");
    done(&ban(&radhold, &["lift", EVIL, "--as", "night-shift"]));
    done(&ban(&radhold, &["lift", "--account", "alice"]));
    assert_eq!(ban(&radhold, &["lift", EVIL]).code, 4, "there is none any more");
    until_accepted(&radhold, "bob", EVIL);
    until_accepted(&radhold, "alice", EVIL);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bans(&radhold), [] as [Value; 0], "strikes that are forgiven do not ban again");

    let ran = radhold.cli(&["audit", "--json", "--all"], "");
    let acts: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let named = |name: &str| acts.iter().filter(|act| act["act"] == name).collect::<Vec<_>>();
    assert_eq!(named("session.denied").len(), 10);
    assert_eq!(named("session.denied")[0]["who"], "night-shift");
    assert_eq!(named("ban.add").len(), 2);
    assert_eq!(named("ban.lift").len(), 2);
    assert_eq!(
        (&named("ban.lift")[0]["who"], &named("ban.lift")[0]["subject"]),
        (&"night-shift".into(), &format!("address {EVIL}").into())
    );
    assert_eq!(named("user.add").len(), 2);
    let csv = radhold.cli(&["audit", "--csv", "--act", "user.add"], "").stdout;
    assert_eq!(csv.lines().count(), 3, "a head and two: {csv}");
    assert!(csv.starts_with("at,who,through,origin,act,subject,detail\r\n"), "{csv}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_by_hand_ends_by_itself() {
    let (radhold, _das) = scene("").await;
    done(&ban(&radhold, &["add", "203.0.113.0/24", "--for", "4s", "--reason", "a test"]));
    until(|| (login(&radhold, "alice", PASSWORD, EVIL).code != 0).then_some(()));
    until_accepted(&radhold, "alice", EVIL);
    assert_eq!(bans(&radhold), [] as [Value; 0]);
    let all = radhold.cli(&["ban", "list", "--all", "--json"], "").stdout;
    assert!(all.contains("\"in_force\": false") && all.contains("a test"), "{all}");
    assert_eq!(ban(&radhold, &["add", "nowhere"]).code, 2);
    assert_eq!(ban(&radhold, &["add"]).code, 2);
    done(&ban(&radhold, &["add", "--station", "00-1B-63-84-45-E6"]));
    let banned = || login(&radhold, "alice", PASSWORD, "00-1b-63-84-45-e6");
    let ran = until(|| Some(banned()).filter(|ran| ran.code != 0));
    assert_eq!(received(&ran, "Reply-Message"), Some("Logins from your address are banned. Ask your administrator."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_refuse_callers_and_keep_them_from_being_banned() {
    let lists = r#"
        deny_callers = ["192.0.2.0/24"]
        [callers]
        allow = ["10.90.0.0/16"]
        deny = ["192.0.3.0/24"]
        [strikes]
        limit = 2
    "#;
    let (radhold, _das) = scene(lists).await;
    for denied in ["192.0.2.7", "192.0.3.7"] {
        assert_eq!(refusal(&radhold, "alice", PASSWORD, denied), "Logins from your address are not allowed.");
    }
    for number in 1..=2 {
        decided(&radhold, "alice", "10.90.0.2", number, "deny", "evicting");
    }
    let set = until(|| Some(bans(&radhold)).filter(|bans| !bans.is_empty()));
    assert_eq!(set.len(), 1, "the account, not the allowed address: {set:#?}");
    assert_eq!(set[0]["kind"], "account");
    until(|| (login(&radhold, "alice", PASSWORD, EVIL).code != 0).then_some(()));
    accepted(&radhold, "alice", "10.90.0.2");
    let by_accident = ban(&radhold, &["add", "10.90.0.2"]);
    assert!(by_accident.code == 1 && by_accident.stderr.contains("--force"), "{by_accident:?}");
    done(&ban(&radhold, &["add", "10.90.7.0/24", "--force"]));
    until(|| (login(&radhold, "bob", PASSWORD, "10.90.7.2").code != 0).then_some(()));
    accepted(&radhold, "bob", "10.90.0.2");
}

/// A thousand wrong passwords, radclient's own way.
fn flood(radhold: &Radhold, user: &str, caller: &str, count: usize) {
    let mut requests = String::new();
    for number in 0..count {
        writeln!(requests, "{}\n", attributes(user, &format!("wrong-{number}"), caller).replace(", ", "\n")).unwrap();
    }
    let path = radhold.path("flood.txt");
    std::fs::write(&path, requests).unwrap();
    let output = std::process::Command::new("radclient")
        .args(["-q", "-p", "200", "-r", "3", "-t", "10", "-f", path.to_str().unwrap()])
        .args([&radhold.auth.to_string(), "auth", SECRET])
        .output()
        .unwrap();
    assert!(!output.status.success(), "none of them is right: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wrong_passwords_slow_the_attacker_and_not_the_owner() {
    let (mut radhold, _das) = scene(LONG_DELAYS).await;
    decided(&radhold, "alice", HOME, 1, "approve", "permitted");
    // What was let through is known from the start on.
    radhold.stop();
    radhold.restart();
    flood(&radhold, "alice", EVIL, 1000);
    let timed = |user: &str, password: &str, caller: &str| {
        let begun = Instant::now();
        let ran = login(&radhold, user, password, caller);
        assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
        let (_, answer) = ran.stdout.split_once("Received ").unwrap();
        // But for what differs in any two answers to any two requests.
        let lines = answer.lines().skip(1).filter(|line| !line.contains("Authenticator"));
        (lines.map(str::to_owned).collect::<Vec<_>>(), begun.elapsed())
    };
    let slow = Duration::from_secs(2);
    let (right, wrong) = (timed("alice", PASSWORD, EVIL), timed("alice", "wrong", EVIL));
    // A name nobody has is locked out as any.
    flood(&radhold, "nobody", EVIL, 20);
    let nobody = timed("nobody", "wrong", EVIL);
    for answer in [&wrong, &nobody] {
        assert_eq!(right.0, answer.0, "the answers tell nothing");
        // All are kept back until the same time after the request; what is left is radclient's own start.
        assert!(answer.1 > slow && answer.1.abs_diff(right.1) < slow, "{right:?} {answer:?}");
    }
    assert!(right.1 > slow, "{right:?}");
    // Nor does it where nobody is locked out yet: a name nobody has, and one that somebody has.
    let elsewhere = "203.0.113.70";
    let (unknown, known) = (timed("nobody-else", "wrong", elsewhere), timed("bob", "wrong", elsewhere));
    assert_eq!(unknown.0, known.0);
    assert_eq!(unknown.0, wrong.0, "looked at or not, it reads the same");
    // The owner, from where they are known, waits for nothing.
    let begun = Instant::now();
    accepted(&radhold, "alice", HOME);
    assert!(begun.elapsed() < slow, "{:?}", begun.elapsed());
    accepted(&radhold, "bob", HOME);
    let counted = radhold.counters();
    assert!(counted["access.locked-out"] > 600, "those beside the first volley were not looked at: {counted:?}");
    // Once it is in the store, not even kill -9 forgives it.
    let url = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let store = ::radhold::store::open(&url).await.unwrap();
    let begun = Instant::now();
    loop {
        let counts = store.failures(::radhold::model::Timestamp::default()).await.unwrap();
        if counts
            .iter()
            .any(|count| (&*count.key.account, &*count.key.caller) == ("alice", EVIL) && count.failures >= 5)
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "never told: {counts:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    radhold.kill();
    radhold.restart();
    assert_eq!(login(&radhold, "alice", PASSWORD, EVIL).code, 1);
    accepted(&radhold, "alice", HOME);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_bans_and_failures() {
    let database = postgres::Database::create().await;
    let das = Das::start(&["ack"]).await;
    let keys = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        let shared = format!(
            "[store]\nurl = \"{}\"\n[keys]\nsealing_file = \"{}\"\n",
            database.url(),
            keys.path().join("sealing.key").display()
        );
        Radhold::start_with(
            &format!("node = \"{name}\"\n"),
            &format!("{}{shared}", lab(das.address, "standard", LONG_DELAYS)),
        )
    };
    let (one, two) = (node("one"), node("two"));
    one.add_user("alice", PASSWORD, &[]);
    accepted(&two, "alice", EVIL);
    done(&ban(&one, &["add", EVIL]));
    for node in [&one, &two] {
        until(|| (login(node, "alice", PASSWORD, EVIL).code != 0).then_some(()));
    }
    done(&ban(&two, &["lift", EVIL]));
    for node in [&one, &two] {
        until_accepted(node, "alice", EVIL);
    }
    let elsewhere = "203.0.113.99";
    flood(&one, "alice", elsewhere, 60);
    until(|| {
        assert_ne!(login(&two, "alice", PASSWORD, "203.0.113.100").code, 2);
        (login(&two, "alice", PASSWORD, elsewhere).code != 0).then_some(())
    });
    assert!(two.counters()["access.locked-out"] >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_told_of_a_ban_and_its_end_until_it_says_it_knows() {
    let mut das = Das::start(&["silent", "ack"]).await;
    let radhold = Radhold::start(&lab(das.address, "pppd-agent", ""));
    done(&ban(&radhold, &["add", EVIL, "--for", "1h"]));
    let first = das.next().await;
    assert_eq!(first["code"], 43, "{first:#}");
    assert_eq!(first["attributes"]["Filter-Id"][0], "radhold:ban");
    assert_eq!(first["attributes"]["Calling-Station-Id"][0], EVIL);
    let seconds = first["attributes"]["Session-Timeout"][0].as_u64().unwrap();
    assert!((3500..=3600).contains(&seconds), "{first:#}");
    let second = das.next().await;
    assert_eq!(second["attributes"]["Filter-Id"][0], "radhold:ban", "again, as nobody answered");
    radhold.wait_for_log(0, |line| line["message"] == "the NAS's host has been told of the ban");
    done(&ban(&radhold, &["lift", EVIL]));
    let lifted = loop {
        let next = das.next().await;
        if next["attributes"]["Filter-Id"][0] != "radhold:ban" {
            break next;
        }
    };
    assert_eq!(lifted["attributes"]["Filter-Id"][0], "radhold:lift-ban");
    assert_eq!(lifted["attributes"]["Calling-Station-Id"][0], EVIL);
    assert_eq!(lifted["attributes"]["Session-Timeout"], Value::Null);
    for network in ["203.0.113.0/24", "2001:db8:0:1::/64"] {
        done(&ban(&radhold, &["add", network]));
        let told = loop {
            let next = das.next().await;
            if next["attributes"]["Calling-Station-Id"][0] != EVIL {
                break next;
            }
        };
        assert_eq!(told["attributes"]["Filter-Id"][0], "radhold:ban");
        assert_eq!(told["attributes"]["Calling-Station-Id"][0], network);
        assert_eq!(told["attributes"]["Session-Timeout"], Value::Null, "until it is lifted");
    }
}

/// Between two locks a password is looked at: its answer must not come sooner than that of a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_does_not_tell_which_password_was_looked_at() {
    let (radhold, _das) = scene("[lockout]\nfree = 2\ndelay_first = \"10ms\"\ndelay_most = \"10ms\"\n").await;
    let timed = |user: &str| {
        let begun = Instant::now();
        refusal(&radhold, user, "wrong", EVIL);
        begun.elapsed()
    };
    let slow = Duration::from_secs(2);
    for user in ["alice", "nobody"] {
        let first = timed(user);
        assert!(first < slow, "the first is free: {first:?}");
        for _ in 0..2 {
            let next = timed(user);
            assert!(next > slow, "the free ones are used up: {next:?}");
        }
    }
    assert!(!radhold.counters().contains_key("access.locked-out"), "none was locked out");
}
