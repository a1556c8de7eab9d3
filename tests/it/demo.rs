//! `radhold demo`, the real binary: what it shows, what it exits with, what it leaves behind.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn demo(temporary: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_radhold"))
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

/// What one login looks like from the NAS, shortly: code and Filter-Id, or what happened. Repeats are left out: a slow
/// machine has more of them.
fn story(lines: &[Value], user: &str) -> Vec<String> {
    let short = |line: &Value| match line["event"].as_str()? {
        "packet" if line["repeat"] == true => None,
        "packet" => Some(format!("{} {}", line["code"].as_str()?, line["filter_id"].as_str().unwrap_or("-"))),
        "filter" => Some(format!("now {}", line["filter_id"].as_str()?)),
        "ended" => Some(format!("ended {}", line["terminate_cause"])),
        _ => None,
    };
    lines.iter().filter(|line| line["user"] == user).filter_map(short).collect()
}

fn at(lines: &[Value], user: &str, code: &str) -> f64 {
    lines.iter().find(|line| line["user"] == user && line["code"] == code).unwrap()["at"].as_f64().unwrap()
}

#[test]
fn auto_exits_0_after_every_step_was_on_the_wire() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &["--auto", "--json"]);
    assert!(output.status.success(), "{}\n{}", text(&output.stderr), text(&output.stdout));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, lines) = lines.split_last().unwrap();

    let login = [
        "Access-Request -",
        "Access-Accept sandbox",
        "now sandbox",
        "Accounting-Request sandbox",
        "Accounting-Response -",
    ];
    let lifted = ["CoA-Request permit", "now permit", "CoA-ACK -"];
    let reported = ["Accounting-Request permit", "Accounting-Response -"];
    let hung_up = ["ended 1", "Accounting-Request permit", "Accounting-Response -"];
    let ended =
        ["Disconnect-Request -", "ended 6", "Disconnect-ACK -", "Accounting-Request sandbox", "Accounting-Response -"];
    assert_eq!(story(lines, "alice"), [&login[..], &lifted, &reported, &reported, &hung_up].concat());
    assert_eq!(story(lines, "bob"), [&login[..], &ended].concat());
    assert_eq!(story(lines, "carol"), [&login[..], &ended].concat());

    let held = at(lines, "carol", "Disconnect-Request") - at(lines, "carol", "Access-Request");
    assert!((6.0..11.0).contains(&held), "carol was held for {held} s");
    let methods: Vec<_> = last["logins"].as_array().unwrap().iter().map(|login| login["method"].clone()).collect();
    assert_eq!(methods, ["MS-CHAPv2", "PAP", "CHAP"]);
    assert_eq!(last["all_seen"], true);
    assert_eq!(text(&output.stderr), "", "the log is quiet unless asked for");
    assert_eq!(temporary.path().read_dir().unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn the_timeline_for_people_has_no_colours_in_a_pipe_and_ends_with_a_table() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &["--auto"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}\n{shown}", text(&output.stderr));
    assert!(!shown.contains('\u{1b}'));
    let mut rest = shown;
    for words in [
        "NAS ──▶ radhold  Access-Request",
        "NAS ◀── radhold  Access-Accept",
        "alice is approved",
        "NAS ◀── radhold  CoA-Request",
        "alice's filter changes from sandbox to permit",
        "NAS ──▶ radhold  CoA-ACK",
        "bob is denied",
        "NAS ◀── radhold  Disconnect-Request",
        "carol did not answer",
        "NAS ◀── radhold  Disconnect-Request",
        "alice hangs up",
        "HOW IT ENDED",
        "Every step was seen on the wire.",
    ] {
        let found = rest.find(words).unwrap_or_else(|| panic!("{words:?} does not come where it should:\n{shown}"));
        rest = &rest[found + words.len()..];
    }
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("radhold demo --auto"));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn settings_of_the_real_server_are_refused_rather_than_ignored() {
    let temporary = tempfile::tempdir().unwrap();
    for flags in [["--store", "sqlite:///nowhere"], ["--config", "/nowhere.toml"]] {
        let output = demo(temporary.path(), &["--auto", flags[0], flags[1]]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(flags[0]));
    }
}
