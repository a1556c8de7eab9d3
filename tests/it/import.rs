//! `radhold import freeradius`, from a database of FreeRADIUS's own schema whose users FreeRADIUS itself lets in.

pub(crate) mod freeradius;

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::postgres::Database;
use crate::radhold::{PATIENCE, Radhold, Ran, radclient, received};
use freeradius::{FreeRadius, SECRET};

/// Each kind of user there is; the password is `pw` but for the NT hashes, which are of `test`.
const FILL: &str = r#"
INSERT INTO radcheck (username, attribute, op, value) VALUES
    ('alice', 'Cleartext-Password', ':=', 'pw'),
    ('added', 'Cleartext-Password', '+=', 'pw'),
    ('quoted', 'Cleartext-Password', ':=', '"pw"'),
    ('nt', 'NT-Password', ':=', '0CB6948805F797BF2A82807973B89537'),
    ('nt0x', 'NT-Password', ':=', '0x0cb6948805f797bf2a82807973b89537'),
    ('header', 'Password-With-Header', ':=', '{clear}pw'),
    ('headernt', 'Password-With-Header', ':=', '{nt}0cb6948805f797bf2a82807973b89537'),
    ('own', 'Cleartext-Password', ':=', 'mine'),
    ('crypt', 'Crypt-Password', ':=', 'aaQSqAReePlq6'),
    ('compared', 'Cleartext-Password', '==', 'pw'),
    ('assigned', 'Cleartext-Password', '=', 'pw'),
    ('userpw', 'User-Password', ':=', 'pw'),
    ('rejected', 'Cleartext-Password', ':=', 'pw'),
    ('rejected', 'Auth-Type', ':=', 'Reject'),
    ('bound', 'Cleartext-Password', ':=', 'pw'),
    ('bound', 'Calling-Station-Id', '==', '00-11-22-33-44-55'),
    ('once', 'Cleartext-Password', ':=', 'pw'),
    ('once', 'Simultaneous-Use', ':=', '1'),
    ('rich', 'Cleartext-Password', ':=', 'pw');
INSERT INTO radreply (username, attribute, op, value) VALUES
    ('rich', 'Framed-IP-Address', ':=', '10.9.8.7'),
    ('rich', 'Idle-Timeout', '=', '600'),
    ('rich', 'Reply-Message', '+=', 'one'),
    ('rich', 'Reply-Message', '+=', 'two'),
    ('rich', 'Service-Type', '=', 'Framed-User'),
    ('rich', 'Session-Timeout', '=', '3600'),
    ('rich', 'Filter-Id', '=', 'gold'),
    ('rich', 'Connect-Info', '=', '`%{User-Name}`'),
    ('rich', 'Idle-Timeout', '==', '7');
INSERT INTO radusergroup (username, groupname, priority) VALUES
    ('grouped', 'staff', 1), ('own', 'staff', 1), ('rich', 'second', 2), ('rich', 'first', 1);
INSERT INTO radgroupcheck (groupname, attribute, op, value) VALUES ('staff', 'Cleartext-Password', ':=', 'pw');
INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES
    ('first', 'Idle-Timeout', '=', '1'), ('first', 'Port-Limit', '=', '3'), ('first', 'Fall-Through', '=', 'Yes'),
    ('second', 'Framed-Compression', ':=', 'Van-Jacobson-TCP-IP');
INSERT INTO nas (nasname, shortname, type, secret) VALUES
    ('127.0.0.1', 'loop', 'other', 'from-the-table'),
    ('192.0.2.0/24', 'routers', 'mikrotik', 'another'),
    ('nas.example', 'named', 'cisco', 'third');
"#;

fn password(user: &str) -> &'static str {
    if user.contains("nt") && user != "once" { "test" } else { "pw" }
}

fn login(server: SocketAddr, secret: &str, user: &str) -> Ran {
    let attributes = format!(
        "User-Name = \"{user}\", User-Password = \"{}\", NAS-Port = 1, Message-Authenticator = 0x00",
        password(user)
    );
    let begun = Instant::now();
    loop {
        // A running server learns of new NASes within seconds, and does not answer strangers before.
        let ran = radclient(server, "auth", secret, &attributes);
        if !ran.stdout.contains("No reply from server") || begun.elapsed() > PATIENCE {
            return ran;
        }
    }
}

/// Whether the answer is an Access-Accept, all at one place.
fn accepted(ran: &Ran) -> bool {
    let (accept, reject) =
        (ran.stdout.contains("Received Access-Accept"), ran.stdout.contains("Received Access-Reject"));
    assert!(accept != reject, "{ran:?}");
    accept
}

fn users(radhold: &Radhold) -> Value {
    let ran = radhold.cli(&["user", "list", "--json"], "");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn disabled(users: &Value) -> Vec<&str> {
    let all = users.as_array().unwrap().iter();
    all.filter(|user| user["disabled"] == true).map(|user| user["name"].as_str().unwrap()).collect()
}

async fn who_logs_in_there_logs_in_here(settings: &str) {
    let freeradius = FreeRadius::start(FILL).await;
    // A NAS of its own keeps the server from making one on loopback.
    let head = "[server]\nreject_delay = \"0s\"\n[nas.other]\naddress = \"192.0.2.200\"\nsecret = \"not-this-one\"\n";
    let radhold = Radhold::start(&format!("{head}{settings}"));
    let import = |more: &[&str]| {
        let ran = radhold.cli(&[&["import", "freeradius", "--from", freeradius.url()], more].concat(), "");
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    };

    let dry: Value = serde_json::from_str(&import(&["--dry-run", "--json"]).stdout).unwrap();
    assert_eq!((&dry["users"]["added"], &dry["nases"]["added"]), (&15.into(), &2.into()), "{dry:#}");
    assert_eq!(users(&radhold), Value::Array(vec![]), "a dry run writes nothing");

    let done: Value = serde_json::from_str(&import(&["--json"]).stdout).unwrap();
    for counts in ["users", "nases", "left_out"] {
        assert_eq!(done[counts], dry[counts], "what was announced is what is done");
    }
    let list = users(&radhold);
    assert_eq!(list.as_array().unwrap().len(), 15);
    assert_eq!(disabled(&list), ["assigned", "bound", "compared", "once", "rejected"]);
    let left: Vec<String> = done["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!(
                "{} {} {}: {}",
                it["table"].as_str().unwrap(),
                it["row"],
                it["whose"].as_str().unwrap(),
                it["effect"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        left,
        [
            "radcheck 11 assigned: disabled",
            "radcheck 16 bound: disabled",
            "radcheck 10 compared: disabled",
            "radcheck 9 crypt: not-imported",
            "radcheck 18 once: disabled",
            "radreply 8 rich: without-it",
            "radreply 9 rich: without-it",
            "radcheck 12 userpw: not-imported",
            "nas 3 named: not-imported",
        ]
    );
    assert!(!done.to_string().contains("aaQSqAReePlq6"), "no password is shown");

    // All who are let in there and not disabled here are let in here; nobody is let in here who is not there.
    let mut both = vec![];
    for user in [
        "alice", "added", "quoted", "nt", "nt0x", "header", "headernt", "grouped", "own", "crypt", "compared",
        "assigned", "userpw", "rejected", "bound", "once", "rich", "nobody",
    ] {
        let there = accepted(&login(freeradius.auth, SECRET, user));
        let here = accepted(&login(radhold.auth, "from-the-table", user));
        assert!(there || !here, "{user} is let in here alone");
        if there && !here {
            assert!(["crypt", "once"].contains(&user), "{user} is let in there alone");
        } else if there {
            both.push(user);
        }
    }
    assert_eq!(both, ["alice", "added", "quoted", "nt", "nt0x", "header", "headernt", "grouped", "own", "rich"]);

    // The attributes of the Access-Accept are the same, but for those that the hold decides.
    let there = login(freeradius.auth, SECRET, "rich");
    let here = login(radhold.auth, "from-the-table", "rich");
    for name in
        ["Framed-IP-Address", "Idle-Timeout", "Reply-Message", "Service-Type", "Port-Limit", "Framed-Compression"]
    {
        let value = received(&there, name);
        assert!(value.is_some() && value == received(&here, name), "{name}: {there:?} {here:?}");
    }
    assert_eq!(here.stdout.matches("Reply-Message = ").count(), 2, "{here:?}");
    let shown = radhold.cli(&["user", "show", "rich", "--json"], "");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!((&shown["permit_filter"], &shown["session_timeout"]), (&"gold".into(), &3600.0.into()));

    // Once more: nothing changes, and what was changed here stays.
    radhold.cli(&["user", "set", "alice", "--disable"], "");
    let again = import(&[]);
    assert!(again.stdout.contains("users: 0 added, 15 here already, 2 not imported"), "{again:?}");
    assert!(again.stdout.contains("NASes: 0 added, 2 here already, 1 not imported"), "{again:?}");
    assert!(disabled(&users(&radhold)).contains(&"alice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_at_freeradius_logs_in_here_after_the_import() {
    who_logs_in_there_logs_in_here("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_at_freeradius_logs_in_here_after_the_import_on_postgres() {
    let database = Database::create().await;
    who_logs_in_there_logs_in_here(&format!("[store]\nurl = \"{}\"\n", database.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_can_be_dropped_and_a_database_that_is_none_is_named() {
    let freeradius = FreeRadius::start(FILL).await;
    let radhold = Radhold::start("");
    let from = ["import", "freeradius", "--from", freeradius.url(), "--users"];
    let ran = radhold.cli(
        &[&from[..], &["--drop-check", "simultaneous-use", "--no-second-factor", "--store-as", "nt"]].concat(),
        "",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("users: 15 added, 4 of them disabled, 2 not imported\nNASes: 0 added"), "{ran:?}");
    assert!(ran.stderr.contains("the list of processes shows the password"), "{ran:?}");
    let groups: serde_json::Value =
        serde_json::from_str(&radhold.cli(&["group", "list", "--json"], "").stdout).unwrap();
    let members =
        |name: &str| groups.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()["members"].clone();
    assert_eq!(members("staff"), serde_json::json!(["grouped", "own"]));
    let list = users(&radhold);
    let rich = list.as_array().unwrap().iter().find(|user| user["name"] == "rich").unwrap();
    assert_eq!(rich["groups"], serde_json::json!(["first", "second"]), "by priority");
    assert_eq!(disabled(&list), ["assigned", "bound", "compared", "rejected"]);
    assert!(list.as_array().unwrap().iter().all(|user| user["stored_as"] == "nt" && user["second_factor"] == "none"));

    let empty = Database::create().await;
    let ran = radhold.cli(&["import", "freeradius", "--from", empty.url()], "");
    assert!(ran.code == 1 && ran.stderr.contains("radcheck") && ran.stderr.contains("FreeRADIUS"), "{ran:?}");
    let ran = radhold.cli(&["import", "freeradius", "--from", "mysql://x/y"], "");
    assert!(ran.code == 1 && ran.stderr.contains("FreeRADIUS"), "{ran:?}");
}
