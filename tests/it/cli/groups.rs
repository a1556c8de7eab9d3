//! `radhold group …`

use serde_json::json;

use super::House;

fn house() -> House {
    let house = House::new();
    let password = house.file("password", "s3cret-pass\n");
    for name in ["alice", "bob", "boss"] {
        house.done(&["user", "add", name, "--password-file", &password]);
    }
    house
}

#[test]
fn a_group_is_added_changed_and_removed() {
    let house = house();
    house.done(&[
        "group",
        "add",
        "contractors",
        "--approvers",
        "person:90s,operator",
        "--when-unreachable",
        "hold",
        "--second-person",
        "boss,alice",
        "--second-person-needed",
        "2",
        "--second-person-own",
        "--number-matching",
        "true",
        "--trust-hours",
        "0",
        "--prompts-per-hour",
        "6",
        "--permit-filter",
        "narrow",
        "--session-timeout",
        "8h",
    ]);
    house.done(&["group", "member", "add", "contractors", "bob"]);
    let shown = house.json(&["group", "show", "contractors"]);
    assert_eq!(
        shown["settings"],
        json!({
            "approvers": ["person:1m30s", "operator"], "when_unreachable": "hold",
            "second_person": {"approvers": ["alice", "boss"], "needed": 2, "own": true},
            "number_matching": true, "trust_hours": 0, "prompts_per_hour": 6, "permit_filter": "narrow",
            "session_timeout": 28800,
        })
    );
    assert_eq!(shown["members"], json!(["bob"]));
    let text = house.done(&["group", "show", "contractors"]);
    assert!(text.contains("2 of alice, boss, and the person") && text.contains("person:1m30s, operator"), "{text}");
    assert!(house.done(&["group", "list"]).contains("contractors"));

    house.done(&["group", "set", "contractors", "--approvers", "none", "--no-second-person", "--trust-hours", "none"]);
    let settings = house.json(&["group", "show", "contractors"])["settings"].clone();
    for gone in ["approvers", "second_person", "trust_hours"] {
        assert_eq!(settings.get(gone), None, "{settings:#}");
    }
    assert_eq!(settings["when_unreachable"], "hold", "what is not named stays");

    let refused = house.run(&["group", "remove", "contractors"]);
    assert!(refused.code == 1 && refused.stderr.contains("1 members"), "{}", refused.stderr);
    house.done(&["group", "member", "remove", "contractors", "--all"]);
    house.done(&["group", "remove", "contractors"]);
    assert_eq!(house.json(&["group", "list"]), json!([]));
    let acts = house.json(&["audit"]).to_string();
    for act in ["group.add", "group.set", "group.member.add", "group.member.remove", "group.remove"] {
        assert!(acts.contains(act), "{act} is not in {acts}");
    }
}

#[test]
fn a_users_groups_have_an_order() {
    let house = house();
    for name in ["a", "b", "c"] {
        house.done(&["group", "add", name]);
        house.done(&["group", "member", "add", name, "alice"]);
    }
    assert_eq!(house.json(&["user", "show", "alice"])["groups"], json!(["a", "b", "c"]));
    house.done(&["group", "member", "add", "c", "alice", "bob", "--nearest"]);
    assert_eq!(house.json(&["user", "show", "alice"])["groups"], json!(["c", "a", "b"]));
    assert_eq!(house.json(&["group", "show", "c"])["members"], json!(["alice", "bob"]));
    house.done(&["user", "set", "alice", "--disable"]);
    assert_eq!(
        house.json(&["user", "show", "alice"])["groups"],
        json!(["c", "a", "b"]),
        "other changes leave them alone"
    );
    house.done(&["user", "remove", "alice"]);
    assert_eq!(house.json(&["group", "show", "c"])["members"], json!(["bob"]));
}

#[test]
fn what_would_lock_people_out_or_do_nothing_is_refused() {
    let house = house();
    house.done(&["group", "add", "bosses"]);
    for (arguments, code, message) in [
        (&["group", "add", "x", "--approvers", "telegrm"][..], 2, "did you mean telegram?"),
        (&["group", "add", "x", "--approvers", "operator,operator"], 2, "operator stands there twice"),
        (&["group", "add", "x", "--approvers", "telegram"], 2, "no [telegram] section"),
        (&["group", "add", "x", "--approvers", "person,operator"], 2, "see --second-person"),
        (&["group", "add", "x", "--second-person", "nobody"], 4, "there is no user nobody"),
        (&["group", "add", "x", "--second-person-group", "nobody"], 4, "there is no group"),
        (&["group", "add", "x", "--second-person", "boss", "--second-person-needed", "2"], 2, "but only 1 may"),
        (&["group", "add", "x", "--second-person-needed", "2"], 2, "who may confirm?"),
        (&["group", "add", "bosses"], 1, "group bosses"),
        (&["group", "add", "a/b"], 2, "cannot name a group"),
        (&["group", "set", "nobody", "--trust-hours", "1"], 4, "there is no group"),
        (&["group", "member", "add", "bosses", "boss", "nobody"], 4, "there is no user"),
        (&["group", "member", "remove", "bosses", "boss"], 4, "is not in group bosses"),
        (&["user", "add", "carol", "--password-file", "nowhere", "--group", "nobody"], 1, ""),
    ] {
        let ran = house.run(arguments);
        assert!(ran.code == code && ran.stderr.contains(message), "{arguments:?}: {} {}", ran.code, ran.stderr);
    }
    assert_eq!(house.json(&["group", "show", "bosses"])["members"], json!([]), "nobody was put in by half");
    house.done(&["group", "add", "guests", "--second-person-group", "bosses"]);
    let refused = house.run(&["group", "remove", "bosses"]);
    assert!(refused.stderr.contains("logins of group guests are confirmed by members of bosses"), "{}", refused.stderr);
}
