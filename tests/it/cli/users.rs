//! `radhold user …`

use std::fs;
use std::process::{Command, Stdio};

use radhold::auth::{Credential, Method, StoredCredential, Verdict, verify};
use serde_json::{Value, json};

use super::{House, wait};

#[test]
fn a_user_is_added_shown_changed_and_removed() {
    let house = House::new();
    let added = house.done_with(
        &[
            "user",
            "add",
            "alice",
            "--password-stdin",
            "--session-timeout",
            "8h",
            "--reply",
            "Framed-IP-Address = 10.0.0.7",
        ],
        "arctangent\n",
    );
    assert_eq!(added, "added user alice\n");
    let shown = house.json(&["user", "show", "alice"]);
    assert_eq!(shown["name"], "alice");
    assert_eq!(shown["second_factor"], "required");
    assert_eq!(shown["stored_as"], "nt");
    assert_eq!(shown["session_timeout"], 28800.0);
    assert_eq!(shown["reply"], json!([{ "name": "Framed-IP-Address", "value": "10.0.0.7" }]));
    assert_eq!(shown["bindings"], json!([]));
    assert!(pap(&house, "alice", "arctangent"));
    assert!(!pap(&house, "alice", "arctangent\n"), "the newline is no part of the password");

    house.done(&[
        "user",
        "set",
        "alice",
        "--disable",
        "--session-timeout",
        "none",
        "--no-reply",
        "--approver",
        "operator",
    ]);
    let shown = house.json(&["user", "show", "alice"]);
    assert_eq!(shown["disabled"], true);
    assert_eq!(shown["session_timeout"], Value::Null);
    assert_eq!((&shown["reply"], &shown["approvers"]), (&json!([]), &json!(["operator"])));
    assert!(pap(&house, "alice", "arctangent"), "what is not named stays");

    house.done_with(&["user", "set", "alice", "--enable", "--password-stdin"], "new one");
    assert!(pap(&house, "alice", "new one"));
    assert_eq!(house.json(&["user", "list"])[0]["disabled"], false);

    assert_eq!(house.done(&["user", "remove", "alice"]), "removed user alice\n");
    assert_eq!(house.json(&["user", "list"]), json!([]));
    assert_eq!(house.done(&["user", "list"]), "no users; add one with `radhold user add NAME`\n");
}

#[test]
fn a_password_is_stored_as_asked_and_never_in_clear() {
    let house = House::new();
    let file = house.file("password", "correct horse\n");
    for (form, checks_chap) in [("argon2id", false), ("nt", false), ("clear", true)] {
        house.done(&["user", "add", form, "--password-file", &file, "--store-as", form]);
        assert_eq!(house.json(&["user", "show", form])["stored_as"], form);
        assert!(pap(&house, form, "correct horse"));
        assert_eq!(matches!(credential(&house, form), Credential::Password(_)), checks_chap);
    }
    house.done_with(&["user", "set", "argon2id", "--password-stdin"], "battery staple");
    assert_eq!(house.json(&["user", "show", "argon2id"])["stored_as"], "argon2id", "the form stays");
    for entry in fs::read_dir(house.path("state")).unwrap() {
        let octets = fs::read(entry.unwrap().path()).unwrap();
        for clear in [b"correct horse".as_slice(), b"battery staple"] {
            assert!(!octets.windows(clear.len()).any(|window| window == clear));
        }
    }
}

#[test]
fn tables_are_for_people() {
    let house = House::new();
    house.done_with(&["user", "add", "alice", "--password-stdin"], "a");
    house.done_with(
        &["user", "add", "backup", "--password-stdin", "--no-second-factor", "--permit-filter", "gold"],
        "b",
    );
    let table = house.done(&["user", "list"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..2], ["USER", "STATE"]);
    assert_eq!(lines[1][..6], ["alice", "enabled", "required", "nt", "-", "-"]);
    assert_eq!(lines[2][..6], ["backup", "enabled", "none", "nt", "gold", "-"]);
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn chats_are_bound_and_unbound() {
    let house = House::new();
    house.done_with(&["user", "add", "alice", "--password-stdin"], "a");
    house.done(&["user", "bind", "alice", "--telegram", "123"]);
    house.done(&["user", "bind", "alice", "--telegram", "-1001", "--presser", "123"]);
    let bindings = house.json(&["user", "show", "alice"])["bindings"].clone();
    let places: Vec<_> = bindings.as_array().unwrap().iter().map(|one| (&one["address"], &one["presser"])).collect();
    assert_eq!(places, [(&json!("123"), &json!("123")), (&json!("-1001"), &json!("123"))]);

    let group = house.fails(2, &["user", "bind", "alice", "--telegram", "-1002"]);
    assert!(group.contains("--presser"), "{group}");
    house.fails(4, &["user", "bind", "bob", "--telegram", "123"]);

    house.done(&["user", "unbind", "alice", "--telegram", "123"]);
    house.fails(4, &["user", "unbind", "alice", "--telegram", "123"]);
    assert_eq!(house.json(&["user", "show", "alice"])["bindings"].as_array().unwrap().len(), 1);
}

#[test]
fn mistakes_about_users_are_told_in_one_line() {
    let house = House::new();
    house.done_with(&["user", "add", "alice", "--password-stdin"], "a");
    for (code, arguments, complaint) in [
        (1, &["user", "add", "alice", "--password-stdin"][..], "radhold: user alice exists already"),
        (1, &["user", "add", "bob", "--password-stdin"], "radhold: the password is empty"),
        (1, &["user", "add", "bob", "--password-file", "none"], "radhold: none: No such file"),
        (
            1,
            &["user", "add", "bob", "--password-stdin", "--reply", "Framed-IP-Adress=10.0.0.7"],
            "radhold: --reply: unknown attribute \"Framed-IP-Adress\"; did you mean Framed-IP-Address?",
        ),
        (
            1,
            &["user", "add", "bob", "--password-stdin", "--reply", "Framed-IP-Address=x"],
            "radhold: --reply: Framed-IP-Address: ",
        ),
        (2, &["user", "add", "b\nb", "--password-stdin"], "radhold: \"b\\nb\" cannot be a User-Name"),
        (2, &["user", "set", "alice"], "radhold: nothing to change"),
        (2, &["user", "set", "alice", "--store-as", "clear"], "radhold: --store-as wants the password again"),
        (4, &["user", "show", "bob"], "radhold: there is no user \"bob\"; see `radhold user list`"),
        (4, &["user", "set", "bob", "--disable"], "radhold: there is no user \"bob\""),
        (4, &["user", "remove", "bob"], "radhold: there is no user \"bob\""),
    ] {
        let said = house.fails(code, arguments);
        assert!(said.starts_with(complaint), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    let usage = house.fails(2, &["user", "add", "bob", "--session-timeout", "soon"]);
    assert!(usage.contains("90s"), "{usage}");
    house.fails(2, &["user", "set", "alice", "--session-timeout", "0s"]);
    house.fails(2, &["user", "set", "alice", "--session-timeout", "1500ms"]);
    let secret = house.fails(2, &["user", "add", "bob", "--password", "hunter2"]);
    assert!(secret.contains("--password"), "a password is no argument: {secret}");
}

#[test]
fn without_a_terminal_the_password_must_come_another_way() {
    // In a session of its own the process has no terminal to ask on.
    let house = House::new();
    let output = Command::new("setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_radhold"), "user", "add", "alice"])
        .env("RADHOLD_CONFIG", house.path("radhold.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("use --password-stdin or --password-file"), "{said}");
}

fn credential(house: &House, name: &str) -> Credential {
    let store = house.store();
    let user = wait(store.user(&name.into())).unwrap().unwrap();
    let text = String::from_utf8(user.credential.expose().to_vec()).unwrap();
    StoredCredential::parse(&text).unwrap().open(&house.sealing_key(), name).unwrap()
}

fn pap(house: &House, name: &str, password: &str) -> bool {
    let method = Method::Pap { password: password.as_bytes() };
    matches!(verify(&credential(house, name), name.as_bytes(), &method), Verdict::Accepted(_))
}

#[test]
fn a_monthly_quota_is_kept_and_taken_away() {
    let house = House::new();
    house.done_with(&["user", "add", "alice", "--password-stdin", "--monthly-quota", "1.5GB"], "arctangent");
    assert_eq!(house.json(&["user", "show", "alice"])["monthly_quota"], 1_500_000_000_u64);
    assert!(house.done(&["user", "show", "alice"]).contains("1.50 GB (not enforced)"));
    house.done(&["user", "set", "alice", "--monthly-quota", "20GiB"]);
    assert_eq!(house.json(&["user", "show", "alice"])["monthly_quota"], 21_474_836_480_u64);
    house.done(&["user", "set", "alice", "--disable"]);
    assert_eq!(house.json(&["user", "show", "alice"])["monthly_quota"], 21_474_836_480_u64, "what is not named stays");
    house.done(&["user", "set", "alice", "--monthly-quota", "none"]);
    assert_eq!(house.json(&["user", "show", "alice"])["monthly_quota"], Value::Null);
    assert!(house.fails(2, &["user", "set", "alice", "--monthly-quota", "0"]).contains("more than nothing"));
    assert!(house.fails(2, &["user", "set", "alice", "--monthly-quota", "lots"]).contains("50GB"));
}

#[test]
fn a_link_without_a_bot_says_which_file_lacks_it() {
    let house = House::new();
    house.done_with(&["user", "add", "alice", "--password-stdin"], "s3cret-pass\n");
    let said = house.fails(1, &["user", "enrol", "alice"]);
    assert!(said.contains("no [telegram] section") && said.contains("radhold.toml was read"), "{said}");
    let id = "00000000";
    let said = house.fails(4, &["user", "enrolments", "--revoke", id]);
    assert!(said.contains("radhold user enrolments"), "{said}");
    let token = "q8Zr5vJx2mKd7LwT";
    let said = house.fails(4, &["user", "enrolments", "--revoke", token]);
    assert!(!said.to_lowercase().contains(&token.to_lowercase()), "somebody may give the link's secret: {said}");
    assert!(house.done(&["user", "enrolments", "alice"]).starts_with("no links"));
}
