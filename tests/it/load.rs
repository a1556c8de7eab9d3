//! `radhold client load` against the real server: what it says was acknowledged is what the store has.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;

use crate::radhold::Radhold;

const SECRET: &str = "sixteen octets or more";

fn server() -> Radhold {
    let radhold = Radhold::start(&format!("[nas.load]\naddress = \"127.0.0.0/8\"\nsecret = \"{SECRET}\"\n"));
    std::fs::write(radhold.path("secret"), SECRET).unwrap();
    std::fs::write(radhold.path("password"), "correct horse").unwrap();
    radhold
}

fn load(radhold: &Radhold, more: &[&str]) -> (i32, Value) {
    let (server, port) = (radhold.auth.to_string(), radhold.accounting.port().to_string());
    let mut arguments = vec!["client", "load", &server, "--accounting-port", &port, "--json"];
    arguments.extend(["--duration", "2", "--warm-up", "0.5", "--ports", "2", "--sessions", "100", "--interims", "3"]);
    arguments.extend(more);
    let secret = radhold.path("secret").display().to_string();
    if !more.contains(&"--secret-file") {
        arguments.extend(["--secret-file", &secret]);
    }
    let ran = radhold.cli(&arguments, "");
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}")))
}

/// Sessions started, and stopped, octets in and out; then octets in and out by usage.
async fn on_record(radhold: &Radhold) -> [u64; 6] {
    let database = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let pool = SqlitePool::connect(&database).await.unwrap();
    let query =
        "SELECT count(started_at), count(*) FILTER (WHERE end_cause = 'stop'), sum(input_octets), sum(output_octets),
                        (SELECT sum(input_octets) FROM usage), (SELECT sum(output_octets) FROM usage) FROM sessions";
    let row = sqlx::query(query).fetch_one(&pool).await.unwrap();
    std::array::from_fn(|column| row.get::<i64, _>(column).cast_unsigned())
}

fn acknowledged(report: &Value) -> [u64; 6] {
    let count = |name: &str| report["acknowledged"][name].as_u64().unwrap();
    let [input, output] = ["input_octets", "output_octets"].map(count);
    [count("starts"), count("stops"), input, output, input, output]
}

#[tokio::test]
async fn what_is_acknowledged_is_on_record_with_class_and_without() {
    let radhold = server();
    // Everybody is the same user, on as many sessions as there are at once: only the NAS's words tell them apart.
    let (code, report) = load(&radhold, &["--in-flight", "64"]);
    assert_eq!(code, 0, "{report}");
    assert!(report["acknowledged"]["stops"].as_u64().unwrap() > 0, "{report}");
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() <= report["latency_ms"]["p99"].as_f64().unwrap());
    let observed = acknowledged(&report);
    assert_eq!(on_record(&radhold).await, observed);

    radhold.add_user("bench", "correct horse", &["--no-second-factor"]);
    let password = radhold.path("password").display().to_string();
    let more = ["--what", "sessions", "--user", "bench", "--password-file", &password, "--rate", "200"];
    let (code, report) = load(&radhold, &more);
    assert_eq!(code, 0, "{report}");
    assert!(report["acknowledged"]["logins"].as_u64().unwrap() >= report["acknowledged"]["starts"].as_u64().unwrap());
    let both: Vec<u64> = observed.iter().zip(acknowledged(&report)).map(|(one, other)| one + other).collect();
    assert_eq!(on_record(&radhold).await, *both);
}

#[tokio::test]
async fn what_nobody_answers_is_lost_and_refusals_are_counted() {
    let radhold = server();
    std::fs::write(radhold.path("wrong"), "another secret of octets").unwrap();
    let wrong = radhold.path("wrong").display().to_string();
    let (code, report) = load(&radhold, &["--secret-file", &wrong, "--timeout", "0.2", "--retries", "1"]);
    assert_eq!(code, 3, "{report}");
    assert_eq!(report["counts"]["answered"], 0);
    assert_eq!(report["counts"]["requests"], report["counts"]["lost"]);
    let password = radhold.path("password").display().to_string();
    let (code, report) = load(&radhold, &["--what", "pap", "--user", "nobody", "--password-file", &password]);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["counts"]["rejected"], report["counts"]["answered"]);
}

#[tokio::test]
async fn a_flood_is_sent_at_its_rate_and_nobody_answers() {
    let radhold = server();
    let bad = |more: &[&str]| {
        let mut arguments = vec!["--rate", "5000", "--bad"];
        arguments.extend(more);
        load(&radhold, &arguments)
    };
    for more in [&["unknown", "--source", "127.0.0.1"][..], &["secret"], &["malformed"]] {
        let (code, report) = bad(more);
        // From where a NAS is, a packet made with its secret is none of a flood.
        let is_answered = more[0] == "unknown";
        assert_eq!(code, i32::from(is_answered), "{report}");
        assert_eq!(report["counts"]["answered"].as_u64().unwrap() > 0, is_answered, "{report}");
        let sent = report["counts"]["sent"].as_u64().unwrap();
        assert!((1000..=10_100).contains(&sent), "two seconds at 5,000 a second: {report}");
    }
}

#[tokio::test]
async fn threads_share_ports_sessions_and_requests() {
    let radhold = server();
    let more = ["--what", "status", "--threads", "2", "--in-flight", "7", "--source", "127.0.0.7"];
    let (code, report) = load(&radhold, &more);
    assert_eq!((code, &report["counts"]["lost"]), (0, &Value::from(0)), "{report}");
    assert_eq!(report["counts"]["requests"], report["counts"]["answered"]);
    let (code, report) = load(&radhold, &["--what", "status", "--rate", "200", "--threads", "2"]);
    assert_eq!(code, 0, "{report}");
    let requests = report["counts"]["requests"].as_u64().unwrap();
    assert!((100..=401).contains(&requests), "two seconds at 200 a second: {report}");
}

/// Requests that were encoded before the start and those that found no room there: no two are alike, each is answered, and one that gets
/// lost is sent again as it was.
#[tokio::test]
async fn no_two_requests_are_alike_encoded_ahead_or_not() {
    let radhold = server();
    let password = radhold.path("password").display().to_string();
    for (room, losing) in [("1", false), ("0", false), ("1", true)] {
        let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
        echo.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let server = echo.local_addr().unwrap().to_string();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let echoing = std::thread::spawn(move || {
            let (mut octets, mut seen) = ([0; 5000], HashMap::new());
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, peer)) = echo.recv_from(&mut octets) else { continue };
                let new = seen.len() + 1;
                let times = seen.entry((peer, octets[..length].to_vec())).or_insert(0);
                *times += 1;
                // One in fifty is lost on its first way.
                if !losing || *times > 1 || new % 50 > 0 {
                    echo.send_to(&octets[..length], peer).unwrap();
                }
            }
            seen
        });
        let arguments = ["client", "load", &server, "--json", "--duration", "2", "--warm-up", "0.5", "--ports", "2"];
        let more = [
            "--what",
            "echo",
            "--in-flight",
            "64",
            "--encode-ahead",
            room,
            "--timeout",
            if losing { "0.2" } else { "30" },
        ];
        let secret = radhold.path("secret").display().to_string();
        let keys = ["--secret-file", &secret, "--password-file", &password];
        let ran = radhold.cli(&[&arguments[..], &more, &keys].concat(), "");
        over.store(true, Ordering::Relaxed);
        let seen: HashMap<(SocketAddr, Vec<u8>), u64> = echoing.join().unwrap();
        assert_eq!(ran.code, 0, "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let [requests, answered, repeats] =
            ["requests", "answered", "repeats"].map(|name| report["counts"][name].as_u64().unwrap());
        assert_eq!((requests, answered), (seen.len() as u64, seen.len() as u64), "{report}");
        assert_eq!(seen.values().sum::<u64>(), requests + repeats, "{report}");
        assert_eq!(repeats > 0, losing, "{report}");
        let ahead = report["generator"]["encoded_ahead"].as_u64().unwrap();
        assert_eq!(ahead > 0, room == "1", "{report}");
        // A MiB is some seven thousand of them.
        assert!(ahead <= requests.min(10_000), "{report}");
        assert!(report["generator"]["cpu_per_10k"].as_f64().unwrap() > 0.0, "{report}");
    }
}
