//! The real binary, on an SQLite file of its own: what it prints, what it keeps, how it fails.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use radhold::accounting::Report;
use radhold::app::{apply, chance, keys};
use radhold::auth::{Credential, Method, StoredCredential, Verdict, verify};
use radhold::model::{
    ApproverKind, Counters, Identity, Nas, NasName, OctetDirection, Secret, SessionId, Timestamp, User,
};
use radhold::policy::{self, Defaults, HoldTerms};
use radhold::session::{Effect, Event, Session, State, Timing, step};
use radhold::store::{self, Change, Committed, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A state directory, and ways to use the binary on it.
struct House {
    dir: TempDir,
}

/// What a command came to.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl House {
    fn new() -> Self {
        Self::with("")
    }

    fn with(toml: &str) -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(house.path("radhold.toml"), format!("state_dir = \"state\"\n{toml}")).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_radhold"))
            .args(arguments)
            .env_clear()
            .env("RADHOLD_CONFIG", self.path("radhold.toml"))
            .env("USER", "tester")
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.spawn(arguments);
        // A command that fails early reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let dir = format!("{}/", self.dir.path().display());
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap().replace(&dir, "");
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs what must succeed, silently, and gives what it prints.
    fn done(&self, arguments: &[&str]) -> String {
        self.done_with(arguments, "")
    }

    fn done_with(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.run_with(arguments, input);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}\n{}", ran.stdout);
        ran.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs what must fail with this code, and gives the complaint.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
        ran.stderr
    }

    fn store(&self) -> Arc<dyn Store> {
        let url = format!("sqlite://{}", self.path("state/radhold.sqlite").display());
        wait(async {
            let store = store::open(&url).await.unwrap();
            store.migrate().await.unwrap();
            store
        })
    }

    fn user(&self, name: &str) -> User {
        let store = self.store();
        wait(store.user(&name.into())).unwrap().unwrap()
    }

    fn credential(&self, name: &str) -> Credential {
        let key = keys::sealing_key(&self.path("state/sealing.key")).unwrap();
        let text = String::from_utf8(self.user(name).credential.expose().to_vec()).unwrap();
        StoredCredential::parse(&text).unwrap().open(&key, name).unwrap()
    }

    fn pap(&self, name: &str, password: &str) -> bool {
        let method = Method::Pap { password: password.as_bytes() };
        matches!(verify(&self.credential(name), name.as_bytes(), &method), Verdict::Accepted(_))
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    // SQLx' connections live on a runtime of their own threads, so one runtime serves all tests.
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(future)
}

// -- users

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
    assert!(house.pap("alice", "arctangent"));
    assert!(!house.pap("alice", "arctangent\n"), "the newline is no part of the password");

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
    assert!(house.pap("alice", "arctangent"), "what is not named stays");

    house.done_with(&["user", "set", "alice", "--enable", "--password-stdin"], "new one");
    assert!(house.pap("alice", "new one"));
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
        assert!(house.pap(form, "correct horse"));
        assert_eq!(matches!(house.credential(form), Credential::Password(_)), checks_chap);
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

// -- NASes

#[test]
fn a_nas_is_added_listed_and_removed() {
    let house = House::with("[nas.core]\naddress = \"10.0.0.1\"\nsecret = \"fedcba9876543210\"\n");
    let file = house.file("secret", "0123456789abcdef\n");
    house.done(&[
        "nas",
        "add",
        "edge",
        "--address",
        "192.0.2.7/24",
        "--secret-file",
        &file,
        "--dialect",
        "mikrotik",
        "--coa-port",
        "1700",
        "--octet-direction",
        "swapped",
        "--no-require-message-authenticator",
        "--reject-delay",
        "2s",
    ]);
    let list = house.json(&["nas", "list"]);
    assert_eq!((&list[0]["name"], &list[0]["kept_in"]), (&json!("core"), &json!("configuration")));
    assert_eq!(
        list[1],
        json!({
            "name": "edge", "address": "192.0.2.0/24", "dialect": "mikrotik", "require_message_authenticator": false,
            "limit_proxy_state": false, "allow_ms_chap_v1": false, "coa_address": null, "coa_port": 1700,
            "coa_source": null, "reject_delay": 2.0, "octet_direction": "swapped", "sandbox_filter": null,
            "permit_filter": null, "kept_in": "store",
        })
    );
    assert!(!house.done(&["nas", "list"]).contains("0123456789abcdef"));

    // The store holds the secret sealed, and it opens.
    let store = house.store();
    let kept = wait(store.nases()).unwrap().remove(0);
    assert!(!String::from_utf8_lossy(kept.secret.expose()).contains("0123456789abcdef"));
    let key = keys::sealing_key(&house.path("state/sealing.key")).unwrap();
    assert_eq!(keys::open_nas(kept, &key).unwrap().secret, Secret::new("0123456789abcdef"));

    house.done(&["nas", "remove", "edge"]);
    assert_eq!(house.json(&["nas", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_generated_secret_is_printed_once_and_kept() {
    let house = House::new();
    let printed = house.done(&["nas", "add", "edge", "--address", "192.0.2.1", "--generate-secret"]);
    let secret = printed.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
    assert_eq!(secret.len(), 32);
    let store = house.store();
    let kept = wait(store.nases()).unwrap().remove(0);
    let key = keys::sealing_key(&house.path("state/sealing.key")).unwrap();
    assert_eq!(keys::open_nas(kept, &key).unwrap().secret.expose(), secret.as_bytes());
}

#[test]
fn mistakes_about_nases_are_told_in_one_line() {
    let house = House::with("[nas.core]\naddress = \"10.0.0.1\"\nsecret = \"fedcba9876543210\"\n");
    house.done(&["nas", "add", "edge", "--address", "192.0.2.1", "--generate-secret"]);
    for (code, arguments, complaint) in [
        (
            1,
            &["nas", "add", "edge", "--address", "192.0.2.2", "--generate-secret"][..],
            "radhold: NAS edge exists already, in the store",
        ),
        (
            1,
            &["nas", "add", "core", "--address", "192.0.2.2", "--generate-secret"],
            "radhold: NAS core exists already, in the configuration",
        ),
        (
            1,
            &["nas", "add", "a", "--address", "10.0.0.1/32", "--generate-secret"],
            "radhold: NAS core has the address 10.0.0.1/32 already",
        ),
        (
            2,
            &["nas", "add", "a", "--address", "192.0.2.3", "--generate-secret", "--permit-filter", "sandbox"],
            "radhold: both filters would be \"sandbox\"",
        ),
        (4, &["nas", "remove", "core"], "radhold: there is no NAS core in the store; it is in the configuration"),
        (4, &["nas", "remove", "nobody"], "radhold: there is no NAS nobody in the store; see `radhold nas list`"),
    ] {
        let said = house.fails(code, arguments);
        assert!(said.starts_with(complaint), "{arguments:?}: {said}");
    }
    let said =
        house.fails(2, &["nas", "add", "a", "--address", "192.0.2.3", "--generate-secret", "--dialect", "klingon"]);
    assert!(said.starts_with("radhold: there is no dialect \"klingon\"; there are accel-ppp, cisco, "), "{said}");
    for arguments in [
        ["nas", "add", "a b", "--address", "192.0.2.3", "--generate-secret"],
        ["nas", "add", "a", "--address", "192.0.2.300", "--generate-secret"],
    ] {
        house.fails(2, &arguments);
    }
}

#[test]
fn a_short_secret_is_warned_of() {
    let house = House::new();
    let ran = house.run_with(&["nas", "add", "edge", "--address", "192.0.2.1", "--secret-stdin"], "testing123\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "added NAS edge\n"));
    assert!(ran.stderr.contains("shorter than 16 octets"), "{}", ran.stderr);
}

// -- sessions

/// A session as `serve` would keep it: offered, or started too.
fn keep_session(house: &House, started: bool, window: Duration) -> SessionId {
    house.done_with(&["user", "add", &format!("u{}", hex::encode(chance::octets::<4>())), "--password-stdin"], "a");
    let user = house.json(&["user", "list"])[0]["name"].as_str().unwrap().to_owned();
    let defaults = Defaults {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        hold: HoldTerms { window, grace: Duration::from_secs(30), approvers: vec![ApproverKind::Operator] },
    };
    let nas = Nas {
        name: NasName::new("edge"),
        network: "192.0.2.1/32".parse().unwrap(),
        secret: Secret::new("x"),
        dialect: "standard".into(),
        require_message_authenticator: true,
        limit_proxy_state: false,
        allow_ms_chap_v1: false,
        coa_address: None,
        coa_port: 3799,
        coa_source: None,
        reject_delay: None,
        octet_direction: OctetDirection::Standard,
        sandbox_filter: None,
        permit_filter: None,
    };
    let grant = policy::decide(&house.user(&user), &nas, &defaults).unwrap();
    let identity = Identity { calling_station_id: Some("198.51.100.9".into()), ..Identity::default() };
    let now = radhold::app::clock::now();
    let id = chance::session_id(now);
    let offered =
        Session::offer(id, user.as_str().into(), nas.name, "192.0.2.1".parse().unwrap(), identity, grant, now);
    let accepted = step(&offered, &Event::Accepted, now, &Timing::default());
    let store = house.store();
    let change = Change {
        wake_at: accepted.session.wake_at(&Timing::default()),
        session: accepted.session,
        from_version: None,
        orders: accepted.effects,
        usage: None,
        settles: None,
        at: now,
    };
    assert_eq!(wait(store.commit(&[change])).unwrap(), [Committed::Done]);
    if started {
        bring(house, id, &Event::Started(Report { at: now, ..Report::default() }));
    }
    id
}

fn bring(house: &House, id: SessionId, event: &Event) -> Session {
    let store = house.store();
    let clock = radhold::app::clock::now;
    wait(apply(&*store, id, event, clock, &Timing::default())).unwrap().unwrap().0
}

fn orders(house: &House) -> Vec<Effect> {
    let store = house.store();
    let far = radhold::app::clock::now() + Duration::from_secs(3600);
    let claimed = wait(store.claim(&"test".into_node(), far, Duration::from_secs(1), 100)).unwrap();
    claimed.into_iter().map(|order| order.effect).collect()
}

trait IntoNode {
    fn into_node(self) -> radhold::model::NodeName;
}

impl IntoNode for &str {
    fn into_node(self) -> radhold::model::NodeName {
        radhold::model::NodeName::new(self)
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn approving_keeps_the_decision_with_its_order_and_a_second_word_is_too_late() {
    let house = House::new();
    let id = keep_session(&house, true, LONG).to_string();
    assert_eq!(house.json(&["session", "show", &id])["state"], "held");

    assert_eq!(house.done(&["session", "approve", &id, "--as", "helpdesk"]), "approved; the NAS is being told\n");
    let shown = house.json(&["session", "show", &id]);
    assert_eq!(shown["state"], "permitting");
    assert_eq!(shown["decision"]["verdict"], "approved");
    assert_eq!((&shown["decision"]["approver"], &shown["decision"]["who"]), (&json!("operator"), &json!("helpdesk")));
    assert!(orders(&house).contains(&Effect::SendCoa { attempt: 1 }));

    let late = house.fails(3, &["session", "deny", &id]);
    assert!(late.starts_with("radhold: too late: the session was approved already by helpdesk at "), "{late}");
    assert_eq!(house.json(&["session", "show", &id])["state"], "permitting", "the second word changes nothing");
}

#[test]
fn denying_ends_and_a_part_of_the_id_is_enough() {
    let house = House::new();
    let id = keep_session(&house, true, LONG).to_string();
    assert_eq!(house.done(&["session", "deny", &id[24..]]), "denied; the NAS is being told to end it\n");
    let shown = house.json(&["session", "show", &id[..18]]);
    assert_eq!((&shown["state"], &shown["decision"]["who"]), (&json!("evicting"), &json!("tester")));
    assert!(orders(&house).contains(&Effect::SendDisconnect { attempt: 1 }));
    assert!(house.fails(3, &["session", "kick", &id]).contains("denied already by tester"));
}

#[test]
fn approving_before_the_start_is_remembered() {
    let house = House::new();
    let id = keep_session(&house, false, LONG);
    let said = house.done(&["session", "approve", &id.to_string()]);
    assert_eq!(said, "approved; it will be let through when it starts\n");
    let now = radhold::app::clock::now();
    assert_eq!(bring(&house, id, &Event::Started(Report { at: now, ..Report::default() })).state, State::Permitting);
}

#[test]
fn after_the_deadline_it_is_too_late() {
    let house = House::new();
    let id = keep_session(&house, true, Duration::ZERO).to_string();
    assert_eq!(house.fails(3, &["session", "approve", &id]), "radhold: too late: the deadline had passed\n");
    assert_eq!(house.json(&["session", "show", &id])["state"], "evicting");
}

#[test]
fn a_permitted_session_can_be_kicked_and_usage_is_kept() {
    let house = House::new();
    let id = keep_session(&house, true, LONG);
    house.done(&["session", "approve", &id.to_string()]);
    bring(&house, id, &Event::CoaAcked { attempt: 1 });
    let at = radhold::app::clock::now() + Duration::from_secs(60);
    let counters = Counters { input_octets: 5_000_000_000, output_octets: 7, session_time: 60, ..Counters::default() };
    bring(&house, id, &Event::Interim(Report { at, counters, ..Report::default() }));
    let shown = house.json(&["session", "show", &id.to_string()]);
    assert_eq!(shown["state"], "permitted");
    assert_eq!(shown["usage"][0]["added"]["input_octets"], 5_000_000_000_u64);
    assert_eq!(shown["usage"][0]["to"], at.to_string());

    assert_eq!(house.done(&["session", "kick", &id.to_string()]), "the NAS is being told to end it\n");
    assert_eq!(house.json(&["session", "list"])[0]["state"], "evicting");
    bring(&house, id, &Event::Stopped(Report { at, counters, ..Report::default() }));
    assert_eq!(house.json(&["session", "list"]), json!([]));
    assert_eq!(house.json(&["session", "list", "--all"])[0]["end"]["cause"], "stop");
    assert!(house.fails(3, &["session", "kick", &id.to_string()]).contains("too late"));
}

#[test]
fn sessions_are_listed_by_what_is_asked() {
    let house = House::new();
    let held = keep_session(&house, true, LONG).to_string();
    let offered = keep_session(&house, false, LONG).to_string();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let list = house.json(&[&["session", "list"], arguments].concat());
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]), [offered.clone(), held.clone()]);
    assert_eq!(ids(&["--state", "held"]), [held.clone()]);
    assert_eq!(ids(&["--limit", "1"]), [offered]);
    assert_eq!(ids(&["--nas", "core"]), [] as [&str; 0]);
    assert!(house.done(&["session", "list"]).contains("198.51.100.9"));
    assert!(house.done(&["session", "show", &held]).contains("Calling-Station-Id"));
    house.fails(2, &["session", "list", "--state", "asleep"]);
}

#[test]
fn sessions_that_are_not_there_are_not_found() {
    let house = House::new();
    let id = chance::session_id(Timestamp::from_secs(1)).to_string();
    for arguments in [["session", "approve", &id], ["session", "show", "01936f2e"]] {
        let said = house.fails(4, &arguments);
        assert!(said.starts_with("radhold: there is no session "), "{said}");
    }
    assert!(house.fails(2, &["session", "deny", "01"]).contains("too short"));
    keep_session(&house, true, LONG);
    let id = house.json(&["session", "list"])[0]["id"].as_str().unwrap().to_owned();
    keep_session(&house, true, LONG);
    let many = house.fails(2, &["session", "approve", &id[..6]]);
    assert!(many.contains("2 sessions are called"), "{many}");
}

// -- settings

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
    house.file("ways/ours.toml", include_str!("../../config/dialects/standard.toml"));
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

// -- serve

/// A server that is ended whatever the test comes to.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Serving {
    fn start(house: &House, arguments: &[&str]) -> Self {
        let ports = ["serve", "--auth", "127.0.0.1:0", "--accounting", "127.0.0.1:0"];
        let mut child = house.spawn(&[&ports, arguments].concat());
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next line of the log that contains this. Waits for it; a server that ends without has failed.
    fn line_with(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "{part:?} was never said:\n{seen}");
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_starts_with_nothing_reloads_and_stops() {
    let house = House::new();
    let mut serving = Serving::start(&house, &[]);
    let ready = serving.line_with("radhold is ready");
    assert!(ready.contains("127.0.0.1:") && !ready.contains('\u{1b}'), "{ready}");
    assert_eq!(house.json(&["nas", "list"])[0]["address"], "127.0.0.1/32", "a NAS on loopback was made");

    fs::write(house.path("radhold.toml"), "state_dir = \"state\"\n[hold]\nwindov = 1\n").unwrap();
    serving.signal("HUP");
    assert!(serving.line_with("not reloaded").contains("did you mean hold.window?"));
    fs::write(house.path("radhold.toml"), "state_dir = \"state\"\n[hold]\nwindow = 1\n").unwrap();
    serving.signal("HUP");
    serving.line_with("configuration reloaded");

    serving.signal("TERM");
    serving.line_with("stopped");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn serve_logs_json_when_asked() {
    let house = House::with("[log]\nformat = \"json\"\n");
    let mut serving = Serving::start(&house, &["--log", "info"]);
    let line: Value = serde_json::from_str(&serving.line_with("radhold is ready")).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&json!("INFO"), &json!("radhold is ready")));
    assert!(line["node"].is_string());
}

#[test]
fn serve_names_the_port_that_is_taken() {
    let house = House::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = house.fails(1, &["serve", "--auth", &address, "--accounting", "127.0.0.1:0"]);
    let complaint = said.lines().last().unwrap();
    assert!(complaint.starts_with(&format!("radhold: cannot listen on UDP {address}: ")), "{said}");
    assert!(complaint.contains("another server is there"), "{said}");
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
