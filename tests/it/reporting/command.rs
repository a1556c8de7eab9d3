//! `radhold report …`: the real binary on both engines.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Executor as _, PgPool};
use tokio::task::block_in_place;

use super::{Stage, on_both, take_age};
use crate::radhold::PATIENCE;

/// What a command came to.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(stage: &Stage, arguments: &[&str]) -> Ran {
    let state = stage.dir.path().join("state").display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_radhold"))
        .arg("report")
        .args(arguments)
        .args(["--store", &stage.url, "--state-dir", &state])
        .env_clear()
        .current_dir(stage.dir.path())
        .output()
        .unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn done(stage: &Stage, arguments: &[&str]) -> String {
    let ran = run(stage, arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}\n{}", ran.stdout);
    ran.stdout
}

/// A report over March, as JSON.
fn march(stage: &Stage, arguments: &[&str]) -> Value {
    let span = ["--from", "2026-03-01", "--to", "2026-04-01", "--json"];
    serde_json::from_str(&done(stage, &[arguments, &span].concat())).unwrap()
}

async fn reports_give_the_known_answers(stage: &Stage) {
    assert_eq!(
        march(stage, &["months"]),
        json!([
            { "month": "2026-03-01", "user_name": "alice", "days": 3, "input_octets": 1016, "output_octets": 3014, "session_time": 10800 },
            { "month": "2026-03-01", "user_name": "bob", "days": 1, "input_octets": 7, "output_octets": 100, "session_time": 1800 },
            { "month": "2026-03-01", "user_name": "dave", "days": 1, "input_octets": 50, "output_octets": 0, "session_time": 60 }
        ])
    );
    assert_eq!(
        march(stage, &["top", "--limit", "0", "--nas", "edge"]),
        json!([
            { "user_name": "alice", "sessions": 1, "input_octets": 1000, "output_octets": 3000, "octets": 4000, "percent": 97.395 },
            { "user_name": "bob", "sessions": 1, "input_octets": 7, "output_octets": 100, "octets": 107, "percent": 2.605 }
        ])
    );
    assert_eq!(
        march(stage, &["usage", "--user", "alice"]),
        json!([
            { "day": "2026-03-01", "users": 1, "input_octets": 1000, "output_octets": 3000, "octets": 4000 },
            { "day": "2026-03-02", "users": 1, "input_octets": 11, "output_octets": 10, "octets": 21 },
            { "day": "2026-03-03", "users": 1, "input_octets": 5, "output_octets": 4, "octets": 9 }
        ])
    );
    let hours = march(stage, &["hours"]);
    assert_eq!(
        hours[0],
        json!({ "hour": "2026-03-01T11:00:00Z", "sessions": 2, "input_octets": 507, "output_octets": 1600, "octets": 2107 })
    );
    assert_eq!(hours.as_array().unwrap().len(), 6);
    assert_eq!(
        march(stage, &["holds"]),
        json!([
            { "outcome": "permitted", "holds": 3, "answered": 3, "median_seconds": 20.0, "longest_seconds": 60.0 },
            { "outcome": "denied", "holds": 1, "answered": 1, "median_seconds": 5.0, "longest_seconds": 5.0 },
            { "outcome": "expired", "holds": 1, "answered": 0, "median_seconds": null, "longest_seconds": null }
        ])
    );
    let rejects = march(stage, &["rejects"]);
    let reasons: Vec<_> = rejects.as_array().unwrap().iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["wrong-password", "challenged-again", "unknown-user", "unknown-user"]);
    assert_eq!(
        rejects[0],
        json!({ "reason": "wrong-password", "source": "203.0.113.9", "nas": "edge", "users": 2, "logins": 3,
                "last_at": "2026-03-06T08:02:00Z" })
    );
    let ghosts = march(stage, &["ghosts"]);
    assert_eq!((&ghosts[0]["end_cause"], &ghosts[1]["end_cause"]), (&json!("nas-restart"), &json!("stale")));
    assert_eq!(ghosts[1]["silent_seconds"], 1800);
    assert_eq!(
        march(stage, &["quota"]),
        json!([
            { "month": "2026-03-01", "user_name": "alice", "monthly_quota": 10000, "used_octets": 4030, "remaining_octets": 5970,
              "used_percent": 40.3 },
            { "month": "2026-03-01", "user_name": "frank", "monthly_quota": 500, "used_octets": 0, "remaining_octets": 500,
              "used_percent": 0.0 }
        ])
    );
}

async fn hours_without_a_change_have_their_sessions_too(stage: &Stage) {
    let span = ["concurrent", "--from", "2026-03-01T09:00Z", "--to", "2026-03-01T14:00Z", "--json"];
    let rows: Value = serde_json::from_str(&done(stage, &span)).unwrap();
    let most: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["most_at_once"].as_i64().unwrap()).collect();
    assert_eq!(most, [0, 1, 2, 1, 0], "{rows}");
    assert_eq!(rows[4]["hour"], "2026-03-01T13:00:00Z");
    // What began before the span is counted in it.
    let span = ["concurrent", "--from", "2026-03-03T00:00Z", "--to", "2026-03-03T02:00Z", "--nas", "core", "--json"];
    let rows: Value = serde_json::from_str(&done(stage, &span)).unwrap();
    assert_eq!((&rows[0]["most_at_once"], &rows[1]["most_at_once"]), (&json!(1), &json!(0)), "{rows}");
}

async fn reports_of_this_moment_know_no_span(stage: &Stage) {
    let mut online: Value = serde_json::from_str(&done(stage, &["online", "--json"])).unwrap();
    take_age(&mut online[0], "online_seconds", 100);
    take_age(&mut online[0], "silent_seconds", 40);
    assert_eq!((&online[0]["user_name"], &online[0]["framed_ip"]), (&json!("erin"), &json!("10.0.0.7")));
    assert_eq!(done(stage, &["online", "--nas", "core", "--json"]), "[]\n");
    let mut nas: Value = serde_json::from_str(&done(stage, &["nas", "--nas", "edge", "--json"])).unwrap();
    take_age(&mut nas[0], "oldest_order_seconds", 30);
    assert_eq!((&nas[0]["orders_waiting"], &nas[0]["rejected_24h"]), (&json!(1), &json!(2)));
    let ran = run(stage, &["online", "--from", "7d"]);
    assert!(ran.code == 2 && ran.stderr.contains("cannot be narrowed by --from"), "{}", ran.stderr);
}

async fn people_get_tables_and_charts_and_spreadsheets_get_csv(stage: &Stage) {
    let span = ["--from", "2026-03-01", "--to", "2026-03-04"];
    let table = done(stage, &[&["top"], &span[..]].concat());
    assert_eq!(
        table,
        "top: who carried the most\n\
         from 2026-03-01T00:00:00Z to 2026-03-04T00:00:00Z\n\n \
         USER   SESSIONS    INPUT   OUTPUT   OCTETS  PERCENT\n \
         alice         2  1.02 kB  3.01 kB  4.03 kB    97.4%\n \
         bob           1      7 B    100 B    107 B     2.6%\n"
    );
    let csv = done(stage, &[&["usage", "--csv"], &span[..]].concat());
    assert_eq!(
        csv,
        "day,users,input_octets,output_octets,octets\n2026-03-01,2,1007,3100,4107\n2026-03-02,1,11,10,21\n2026-03-03,1,5,4,9\n"
    );
    let chart = done(stage, &[&["usage", "--chart"], &span[..]].concat());
    let bars: Vec<_> = chart.lines().skip(3).collect();
    assert_eq!(bars.len(), 3, "{chart}");
    assert!(bars[0].starts_with("2026-03-01  4.11 kB  ████████"), "{chart}");
    assert_eq!(bars[2], "2026-03-03      9 B  ▏", "{chart}");

    let ran = run(stage, &[&["top", "--limit", "1"], &span[..]].concat());
    assert_eq!(ran.stdout.lines().count(), 5, "{}", ran.stdout);
    assert!(ran.stderr.contains("the first 1; --limit 0 gives all"), "{}", ran.stderr);
    assert!(done(stage, &["list"]).contains("quota"));
    let ran = run(stage, &["top", "--chart"]);
    assert!(ran.code == 2 && ran.stderr.contains("has no chart"), "{}", ran.stderr);
    let none = done(stage, &["rejects", "--from", "2020-01-01", "--to", "2020-01-02"]);
    assert!(none.ends_with("nothing\n"), "{none}");
}

/// What progress looks like, wherever it is in its second.
const PROGRESS: &str = "adding up, ";

/// A report that goes on until told otherwise, with what it writes in a file; on a terminal of its own, or in a pipe.
fn begin(stage: &Stage, on_terminal: bool, arguments: &str, to: &str) -> Child {
    let state = stage.dir.path().join("state").display().to_string();
    let radhold = env!("CARGO_BIN_EXE_radhold");
    let line = format!("'{radhold}' report {arguments} --store '{}' --state-dir '{state}'", stage.url);
    let mut command = Command::new(if on_terminal { "script" } else { "sh" });
    match on_terminal {
        true => command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]),
        false => command.args(["-c", &line]),
    };
    let written = File::create(stage.dir.path().join(to)).unwrap();
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .current_dir(stage.dir.path());
    command.stdin(Stdio::null()).stderr(written.try_clone().unwrap()).stdout(written).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_report_shows_on_a_terminal_that_it_goes_on_and_nowhere_else() {
    let stage = Stage::postgres().await;
    let written = |name: &str| fs::read_to_string(stage.dir.path().join(name)).unwrap();
    // Reports wait for whoever has the table to themselves.
    let pool = PgPool::connect(&stage.url).await.unwrap();
    let mut lock = pool.begin().await.unwrap();
    lock.execute("LOCK TABLE usage IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let usage = "usage --from 2026-03-01 --to 2026-03-04";
    let reports = [
        (true, usage.to_owned(), "terminal"),
        (true, format!("{usage} --json > plain"), "json"),
        (false, usage.to_owned(), "piped"),
        (false, format!("{usage} --json"), "piped-json"),
    ];
    let mut children =
        reports.each_ref().map(|(on_terminal, arguments, to)| begin(&stage, *on_terminal, arguments, to));
    let waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND relation = 'usage'::regclass";
    let begun = Instant::now();
    loop {
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap();
        // Two seconds of it: it goes on.
        let shown = ["1s", "2s"].map(|secs| format!("{PROGRESS}{secs}"));
        let shown = |to| shown.iter().all(|shown| written(to).contains(shown));
        if waiting == 4 && shown("terminal") && shown("json") {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{waiting} wait; {:?}",
            ["terminal", "json", "piped", "piped-json"].map(written)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lock.rollback().await.unwrap();
    for child in &mut children {
        assert!(
            block_in_place(|| child.wait()).unwrap().success(),
            "{:?}",
            ["terminal", "json", "piped", "piped-json"].map(written)
        );
    }
    // In the end the line is wiped, and the report stands in its place.
    let terminal = written("terminal");
    let (_, after) = terminal.rsplit_once(PROGRESS).unwrap();
    assert!(after.contains("\u{1b}[2K") && after.contains("usage: ") && after.contains("2026-03-03"), "{after:?}");
    let (piped, plain) = (written("piped"), written("plain"));
    assert!(!piped.contains(PROGRESS) && !piped.contains('\u{1b}') && piped.contains("2026-03-03"), "{piped:?}");
    assert_eq!(written("piped-json"), plain);
    assert_eq!(serde_json::from_str::<Value>(&plain).unwrap().as_array().unwrap().len(), 3);
}

on_both! {
    reports_give_the_known_answers,
    hours_without_a_change_have_their_sessions_too,
    reports_of_this_moment_know_no_span,
    people_get_tables_and_charts_and_spreadsheets_get_csv,
}
