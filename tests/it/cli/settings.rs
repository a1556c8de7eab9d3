//! `radhold check`, `radhold migrate`, where settings come from, and help.

use std::fs;

use serde_json::{Value, json};

use super::House;

#[test]
fn check_tells_all_findings_and_starts_nothing() {
    let house = House::new();
    assert_eq!(house.done(&["check", "--set", "hold.window=90s"]), "ok: radhold.toml, --set hold.window\n");
    assert!(!house.path("state").exists(), "check makes nothing");

    let house = House::with("[hold]\nwindov = \"10s\"\n[nas.edge]\naddress = \"10.0.0.1\"\nsecret_file = \"none\"\n");
    let ran = house.run(&["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "radhold: 2 errors; the configuration cannot be used\n"));
    assert_eq!(
        ran.stdout.lines().collect::<Vec<_>>(),
        [
            "error: radhold.toml:3: hold.windov: there is no such key; did you mean hold.window?",
            "error: radhold.toml:6: nas.edge.secret_file: none cannot be read: No such file or directory (os error 2)",
        ]
    );
    let json: Value = serde_json::from_str(&house.run(&["check", "--json"]).stdout).unwrap();
    assert_eq!((&json["ok"], json["errors"].as_array().unwrap().len()), (&json!(false), 2));
    // Every other command says the same and does nothing.
    let said = house.fails(1, &["user", "list"]);
    assert!(said.starts_with("radhold: radhold.toml:3: hold.windov: there is no such key"), "{said}");
}

#[test]
fn check_reads_the_dictionaries() {
    let house = House::with("[dictionary]\ndirectory = \"words\"\n");
    fs::create_dir(house.path("words")).unwrap();
    house.file(
        "words/dictionary.ours",
        "VENDOR Ours 65000\nBEGIN-VENDOR Ours\nATTRIBUTE Ours-Plan 1 string\nEND-VENDOR Ours\n",
    );
    house.done(&["check"]);
    house.done_with(&["user", "add", "alice", "--password-stdin", "--reply", "Ours-Plan=gold"], "a");
    house.file("words/dictionary.theirs", "\nATTRIBUTE Theirs-Plan one string\n");
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("error: words/dictionary.theirs:2: "), "{}", ran.stdout);
}

#[test]
fn check_reads_the_dialects_and_who_speaks_them() {
    let nas = "[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"0123456789abcdef\"\ndialect = \"ours\"\n";
    let house = House::with(nas);
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("error: nas.edge.dialect: there is no dialect \"ours\"; there are "), "{}", ran.stdout);

    let house = House::with(&format!("{nas}[dialects]\ndirectory = \"ways\"\n"));
    fs::create_dir(house.path("ways")).unwrap();
    house.file("ways/ours.toml", include_str!("../../../config/dialects/standard.toml"));
    house.done(&["check"]);
    house.file("ways/theirs.toml", "nonsense = 1\n");
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("error: ways/theirs.toml:1: "), "{}", ran.stdout);
}

#[test]
fn check_reads_the_keys_that_are_there() {
    let house = House::new();
    fs::create_dir(house.path("state")).unwrap();
    house.file("state/sealing.key", "not a key\n");
    let ran = house.run(&["check"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("error: key file state/sealing.key: this is no key"), "{}", ran.stdout);
}

#[test]
fn the_store_is_where_file_environment_and_flag_say_the_later_over_the_earlier() {
    let house = House::with("[store]\nurl = \"sqlite://from-file.sqlite\"\n");
    house.done(&["migrate"]);
    assert!(house.path("from-file.sqlite").exists());
    let flag = house.done(&["--store", "sqlite://from-flag.sqlite", "migrate"]);
    assert_eq!(flag, "the schema of sqlite://from-flag.sqlite is up to date\n");
    assert!(house.path("from-flag.sqlite").exists());
    house.done(&["migrate", "--state-dir", "elsewhere", "--set", "store.url=sqlite://from-set.sqlite"]);
    assert!(house.path("from-set.sqlite").exists());
    assert_eq!(
        house.done(&["migrate"]),
        "the schema of sqlite://from-file.sqlite is up to date\n",
        "again is harmless"
    );
}

#[test]
fn an_address_that_is_no_store_is_told() {
    let house = House::new();
    let said = house.fails(1, &["user", "list", "--store", "mysql://radhold:hunter2@db/radhold"]);
    assert!(said.starts_with("radhold: a store is at sqlite://PATH"), "{said}");
    assert!(!said.contains("hunter2"));
}

#[test]
fn help_is_the_manual_and_wrong_usage_is_two() {
    let house = House::new();
    let help = house.done(&["user", "add", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["never given as an argument", "Examples:", "Exit codes: 0 done", "--store-as", "only CHAP needs it"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
    assert!(house.done(&["--version"]).starts_with("radhold "));
    house.fails(2, &[]);
    house.fails(2, &["usr", "list"]);
}
