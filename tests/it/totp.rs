//! Codes as a second factor, with peers that are not ours: Debian's radclient and its pam_radius, another TOTP (through the address
//! an app would read), and the Bot API over real HTTP.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::block_in_place;
use totp_rs::Totp;

use crate::bot_api::{BotApi, TOKEN};
use crate::cluster::Cluster;
use crate::das::{Das, SECRET};
use crate::postgres::Database;
use crate::radhold::{PATIENCE, Radhold, Ran, radclient, received};

const PASSWORD: &str = "s3cret-pass";
const ALICE: i64 = 1001;
const OPERATOR: i64 = 2002;

/// A wide window: no test is a race with the end of a step.
const CODES: &str = "[totp]\nwindow = 5\n";

fn nas(more: &str) -> String {
    format!(
        r#"
        [server]
        reject_delay = "0s"
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        {more}
        "#
    )
}

/// An authenticator app, which read what was printed; and the recovery codes on paper. Its clock stands still, so that a code stays the
/// same code whatever step ends meanwhile.
pub(crate) struct App {
    totp: Totp,
    now: i64,
    pub(crate) recovery: Vec<String>,
}

impl App {
    /// Enrols a user.
    pub(crate) fn enrol(radhold: &Radhold, user: &str, options: &[&str]) -> Self {
        let ran = radhold.cli(&[&["user", "totp", user, "enrol", "--json"], options].concat(), "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let enrolled: Value = serde_json::from_str(&ran.stdout).unwrap();
        let totp = Totp::from_url(enrolled["uri"].as_str().unwrap()).unwrap();
        let recovery = enrolled["recovery_codes"].as_array().unwrap().iter();
        let now = radhold::app::clock::now().as_secs();
        Self { totp, now, recovery: recovery.map(|code| code.as_str().unwrap().to_owned()).collect() }
    }

    /// The code so many steps from now.
    pub(crate) fn code(&self, steps: i64) -> String {
        self.totp.generate(u64::try_from(self.now + steps * 30).unwrap()).to_string()
    }

    /// A code that is right at no step of the window.
    pub(crate) fn wrong(&self) -> String {
        let near: Vec<String> = (-12..12).map(|steps| self.code(steps)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

fn login_as(server: SocketAddr, user: &str, password: &str, more: &str) -> Ran {
    let attributes = format!(
        "User-Name = {user}, User-Password = \"{password}\", NAS-Port = 7, Calling-Station-Id = \"203.0.113.7\", \
         Message-Authenticator = 0x00{more}"
    );
    radclient(server, "auth", SECRET, &attributes)
}

fn login(radhold: &Radhold, password: &str) -> Ran {
    login_as(radhold.auth, "alice", password, "")
}

fn filter(ran: &Ran) -> Option<&str> {
    assert!(!ran.stdout.contains("Received Access-Reject"), "{ran:?}");
    received(ran, "Filter-Id")
}

fn rejected(ran: &Ran) -> &str {
    assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
    received(ran, "Reply-Message").unwrap()
}

/// The State of an Access-Challenge.
fn challenged(ran: &Ran) -> String {
    assert!(ran.stdout.contains("Received Access-Challenge"), "{ran:?}");
    assert!(received(ran, "Reply-Message").unwrap().len() > 10);
    received(ran, "State").unwrap().to_owned()
}

fn answer(server: SocketAddr, user: &str, code: &str, state: &str) -> Ran {
    login_as(server, user, code, &format!(", State = {state}"))
}

fn start(radhold: &Radhold, class: &str) {
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7, \
         Calling-Station-Id = \"203.0.113.7\", Class = {class}"
    );
    let ran = radclient(radhold.accounting, "acct", SECRET, &attributes);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn with_alice(toml: &str) -> Radhold {
    let radhold = Radhold::start(&format!("{CODES}{toml}"));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

fn audited(radhold: &Radhold, act: &str) -> Vec<Value> {
    let ran = radhold.cli(&["audit", "--act", act, "--json"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_code_behind_the_password_lets_through_at_once_and_only_once() {
    let radhold = with_alice(&format!("in_password = true\n{}", nas("")));
    let app = App::enrol(&radhold, "alice", &[]);
    let wrong_password = login(&radhold, "wrong");
    assert_eq!(filter(&login(&radhold, PASSWORD)), Some("sandbox"), "without a code it is held");

    let code = app.code(0);
    let ran = login(&radhold, &format!("{PASSWORD},{code}"));
    assert_eq!(filter(&ran), Some("permit"));
    start(&radhold, received(&ran, "Class").unwrap());
    let session = radhold.until_state("permitted");
    assert_eq!(session["decision"]["verdict"], "approved", "{session:#}");
    assert_eq!(audited(&radhold, "session.approved")[0]["through"], "totp");

    for (password, why) in [
        (format!("{PASSWORD},{code}"), "used before"),
        (format!("{PASSWORD},{}", app.code(-1)), "older than one that was used"),
        (format!("{PASSWORD},{}", app.wrong()), "wrong"),
    ] {
        let ran = login(&radhold, &password);
        assert_eq!(rejected(&ran), rejected(&wrong_password), "{why}: from outside, like a wrong password");
    }
    assert_eq!(filter(&login(&radhold, &format!("{PASSWORD},{}", app.code(1)))), Some("permit"), "the next is good");

    let recovery = format!("{PASSWORD},{}", app.recovery[3]);
    assert_eq!(filter(&login(&radhold, &recovery)), Some("permit"));
    rejected(&login(&radhold, &recovery));
    assert_eq!(audited(&radhold, "totp.recovery-used").len(), 1);
    let status = radhold.cli(&["user", "totp", "alice", "show-status", "--json"], "");
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["recovery_left"], 9);
    assert!(status["confirmed_at"].is_string(), "by its first use: {status}");
}

#[test]
fn passwords_with_commas_stay_what_they_are() {
    let radhold = with_alice(&format!("in_password = true\n{}", nas("")));
    let (comma, digits) = ("pass,word", "pass,123456");
    radhold.add_user("bob", digits, &["--store-as", "argon2id"]);
    radhold.add_user("carol", comma, &["--totp-in-password", "false"]);
    assert_eq!(filter(&login_as(radhold.auth, "bob", digits, "")), Some("sandbox"), "bob has no TOTP");
    let (bob, carol) = (App::enrol(&radhold, "bob", &[]), App::enrol(&radhold, "carol", &[]));
    assert_eq!(filter(&login_as(radhold.auth, "bob", digits, "")), Some("sandbox"), "the whole matches");
    let both = format!("{digits},{}", bob.code(0));
    assert_eq!(filter(&login_as(radhold.auth, "bob", &both, "")), Some("permit"));
    // The user is nearer than the server.
    rejected(&login_as(radhold.auth, "carol", &format!("{comma},{}", carol.code(0)), ""));
    assert_eq!(filter(&login_as(radhold.auth, "carol", comma, "")), Some("sandbox"));
}

#[test]
fn a_code_is_not_looked_for_unless_somebody_says_so() {
    let radhold = with_alice(&format!("[lockout]\nfree = 0\n{}", nas("")));
    let app = App::enrol(&radhold, "alice", &[]);
    let password = format!("{PASSWORD},{}", app.code(0));
    rejected(&login(&radhold, &password));
    let set = radhold.cli(&["user", "set", "alice", "--totp-in-password", "true"], "");
    assert_eq!(set.code, 0, "{set:?}");
    // The server hears of it within seconds; until then no code is looked at, and none is spent.
    let begun = Instant::now();
    while received(&login(&radhold, &password), "Filter-Id") != Some("permit") {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", radhold.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_approval_by_code_survives_a_crash_before_start() {
    let mut radhold = with_alice(&format!("in_password = true\n{}", nas("")));
    let app = App::enrol(&radhold, "alice", &[]);
    let accepted = login(&radhold, &format!("{PASSWORD},{}", app.code(0)));
    let held = login(&radhold, PASSWORD);
    radhold.kill();
    radhold.restart();
    start(&radhold, received(&accepted, "Class").unwrap());
    until(&radhold, "a1", "permitted");
    // And nobody else is let through by it.
    let class = received(&held, "Class").unwrap();
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a2, NAS-Port = 8, \
         Calling-Station-Id = \"203.0.113.7\", Class = {class}"
    );
    assert_eq!(radclient(radhold.accounting, "acct", SECRET, &attributes).code, 0);
    until(&radhold, "a2", "held");
}

/// Waits until the session of that Acct-Session-Id is in that state.
fn until(radhold: &Radhold, acct_session_id: &str, state: &str) {
    let begun = Instant::now();
    loop {
        let sessions = radhold.sessions();
        let found = sessions.iter().find(|session| session["identity"]["acct_session_id"] == acct_session_id);
        if found.is_some_and(|session| session["state"] == state) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "never {state}: {sessions:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn enrolment_is_printed_once_confirmed_and_taken_back() {
    let radhold = with_alice(&nas(""));
    let ran = radhold.cli(&["user", "totp", "alice", "enrol"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains('█') && ran.stdout.contains("otpauth://totp/radhold:alice?secret="), "{ran:?}");
    let again = radhold.cli(&["user", "totp", "alice", "enrol"], "");
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("--replace"), "{again:?}");
    let app = App::enrol(&radhold, "alice", &["--replace", "--algorithm", "sha256"]);
    assert_eq!(app.recovery.len(), 10);
    let confirm = |code: &str| radhold.cli(&["user", "totp", "alice", "confirm", code], "");
    assert_eq!(confirm(&app.wrong()).code, 1);
    let code = app.code(0);
    let confirmed = confirm(&code);
    assert_eq!(confirmed.code, 0, "{confirmed:?}");
    assert!(confirm(&code).stderr.contains("used before"));
    let renewed = radhold.cli(&["user", "totp", "alice", "recovery", "renew"], "");
    assert!(renewed.code == 0 && !renewed.stdout.contains(&app.recovery[0]), "{renewed:?}");
    assert_eq!(radhold.cli(&["user", "totp", "alice", "remove"], "").code, 0);
    assert_eq!(radhold.cli(&["user", "totp", "alice", "remove"], "").code, 4);
    let acts: Vec<_> = audited(&radhold, "totp").iter().map(|act| act["act"].as_str().unwrap().to_owned()).collect();
    assert_eq!(acts, ["totp.enrol", "totp.enrol", "totp.confirm", "totp.recovery-renew", "totp.remove"]);
}

#[test]
fn codes_cannot_be_guessed_for_long() {
    let radhold = with_alice(&format!("in_password = true\ntries_per_minute = 2\n[lockout]\nfree = 0\n{}", nas("")));
    let app = App::enrol(&radhold, "alice", &[]);
    // The minute may end amid them, once.
    let wrong = format!("{PASSWORD},{}", app.wrong());
    for _ in 0..5 {
        rejected(&login(&radhold, &wrong));
    }
    rejected(&login(&radhold, &format!("{PASSWORD},{}", app.code(0))));
    let often = || {
        let log = radhold.log();
        log.iter().filter(|line| line["outcome"] == "code-tried-too-often").count()
    };
    assert!((2..=4).contains(&often()), "{}", often());
}

#[test]
fn wrong_codes_lock_out_like_wrong_passwords() {
    let radhold = with_alice(&format!("in_password = true\n[lockout]\nfree = 2\ndelay_first = \"10m\"\n{}", nas("")));
    let app = App::enrol(&radhold, "alice", &[]);
    for _ in 0..2 {
        rejected(&login(&radhold, &format!("{PASSWORD},{}", app.wrong())));
    }
    rejected(&login(&radhold, &format!("{PASSWORD},{}", app.code(0))));
    radhold.wait_for_log(0, |line| line["outcome"] == "locked-out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_used_at_one_node_is_refused_at_another() {
    let database = Database::create().await;
    let keys = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        let sealing = keys.path().join("sealing.key");
        let head = format!(
            "node = \"{name}\"\nstore.url = \"{}\"\nkeys.sealing_file = \"{}\"\n",
            database.url(),
            sealing.display()
        );
        let limits = "tries_per_minute = 100\n[lockout]\nfree = 0\n";
        Radhold::start_with(&head, &format!("{CODES}in_password = true\n{limits}{}", nas("challenge = true")))
    };
    block_in_place(|| {
        let (one, two) = (node("one"), node("two"));
        one.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        let app = App::enrol(&one, "alice", &[]);
        let first = format!("{PASSWORD},{}", app.code(-1));
        assert_eq!(filter(&login(&one, &first)), Some("permit"));
        rejected(&login(&two, &first));
        rejected(&login(&one, &first));
        // And when both see it at once.
        for steps in 0..3 {
            let both = format!("{PASSWORD},{}", app.code(steps));
            let accepted = std::thread::scope(|scope| {
                let logins = [&one, &two].map(|node| scope.spawn(|| login(node, &both)));
                logins.into_iter().map(|login| login.join().unwrap()).filter(|ran| ran.code == 0).count()
            });
            assert_eq!(accepted, 1, "one of two");
        }
        // A challenge of one may be answered at the other, once.
        let state = challenged(&login(&one, PASSWORD));
        let code = app.code(4);
        assert_eq!(filter(&answer(two.auth, "alice", &code, &state)), Some("permit"));
        assert!(rejected(&answer(one.auth, "alice", &app.code(5), &state)).contains("before"));
    });
}

#[test]
fn an_access_challenge_is_answered_with_a_code_and_its_state() {
    let other = format!("[nas.other]\naddress = \"127.0.0.9\"\nsecret = \"{SECRET}\"\nchallenge = true\n");
    let radhold = with_alice(&format!("{}{other}", nas("challenge = true")));
    radhold.add_user("bob", PASSWORD, &["--store-as", "clear"]);
    assert_eq!(filter(&login(&radhold, PASSWORD)), Some("sandbox"), "without TOTP nobody is asked for it");
    let (alice, bob) = (App::enrol(&radhold, "alice", &[]), App::enrol(&radhold, "bob", &[]));
    assert_eq!(filter(&login(&radhold, PASSWORD)), Some("sandbox"), "nor before the first code");
    for (name, app) in [("alice", &alice), ("bob", &bob)] {
        let confirmed = radhold.cli(&["user", "totp", name, "confirm", &app.code(-3)], "");
        assert_eq!(confirmed.code, 0, "{confirmed:?}");
    }
    rejected(&login(&radhold, "wrong"));

    let state = challenged(&login(&radhold, PASSWORD));
    let ran = answer(radhold.auth, "alice", &alice.code(-2), &state);
    assert_eq!(filter(&ran), Some("permit"));
    start(&radhold, received(&ran, "Class").unwrap());
    radhold.until_state("permitted");

    // Reused, another's, of another NAS, changed: refused before any code is looked at.
    assert!(rejected(&answer(radhold.auth, "alice", &alice.code(-1), &state)).contains("before"));
    let state = challenged(&login(&radhold, PASSWORD));
    rejected(&answer(radhold.auth, "bob", &bob.code(-1), &state));
    let elsewhere = format!(", State = {state}, Packet-Src-IP-Address = 127.0.0.9");
    rejected(&login_as(radhold.auth, "alice", &alice.code(-1), &elsewhere));
    let mut changed = state.clone();
    let last = if changed.ends_with('0') { '1' } else { '0' };
    changed.pop();
    changed.push(last);
    rejected(&answer(radhold.auth, "alice", &alice.code(-1), &changed));
    assert_eq!(radhold.counters()["access.state-refused"], 4);
    // The State itself is as good as before: it was never let near the store.
    assert_eq!(filter(&answer(radhold.auth, "alice", &alice.code(-1), &state)), Some("permit"));

    // Wrong codes: asked again, with another State each time, and then no more.
    let mut state = challenged(&login(&radhold, PASSWORD));
    for _ in 0..2 {
        let again = challenged(&answer(radhold.auth, "alice", &alice.wrong(), &state));
        assert_ne!(again, state);
        state = again;
    }
    rejected(&answer(radhold.auth, "alice", &alice.wrong(), &state));
}

#[test]
fn a_challenge_has_its_time() {
    let radhold = with_alice(&format!("challenge_for = \"1s\"\n{}", nas("challenge = true\ncode_or_reject = true")));
    assert!(
        rejected(&login(&radhold, PASSWORD)).contains("needs a code"),
        "this NAS has no sandbox to hold anybody in"
    );
    let app = App::enrol(&radhold, "alice", &[]);
    // Here even a code that was never confirmed is asked for: there is no other way in.
    let ran = login(&radhold, PASSWORD);
    assert_eq!(received(&ran, "Session-Timeout"), Some("1"));
    std::thread::sleep(Duration::from_millis(1200));
    assert!(rejected(&answer(radhold.auth, "alice", &app.code(0), &challenged(&ran))).contains("too long"));
}

/// A PAM conversation with Debian's pam_radius: what was asked, and whether it let in.
fn pam(radhold: &Radhold, user: &str, answers: &[&str]) -> (Vec<String>, bool) {
    let directory = radhold.path("pam.d");
    fs::create_dir_all(&directory).unwrap();
    let conf = radhold.path("pam_radius.conf");
    fs::write(&conf, format!("{} {SECRET} 10\n", radhold.auth)).unwrap();
    let rule = format!("auth required pam_radius_auth.so conf={}\naccount required pam_permit.so\n", conf.display());
    fs::write(directory.join("radhold-test"), rule).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/pam_conversation.py");
    let mut child = Command::new("python3")
        .arg(script)
        .arg(&directory)
        .args(["radhold-test", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n", answers.join("\n")).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = said.iter().filter(|line| line["asked"] == true).map(|line| line["text"].as_str().unwrap().to_owned());
    (asked.collect(), said.last().unwrap()["status"] == 0)
}

#[test]
fn pam_radius_prompts_twice() {
    let radhold = with_alice(&nas("challenge = true\ncode_or_reject = true\nrequire_message_authenticator = false"));
    let app = App::enrol(&radhold, "alice", &[]);
    let (asked, let_in) = pam(&radhold, "alice", &[PASSWORD, &app.code(-1)]);
    assert!(let_in, "{asked:?} {:#?}", radhold.log());
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].starts_with("Password") && asked[1].contains("six digits"), "{asked:?}");

    let (asked, let_in) = pam(&radhold, "alice", &[PASSWORD, &app.wrong(), &app.code(0)]);
    assert!(let_in && asked.len() == 3, "asked again after a wrong one: {asked:?}");
    let (asked, let_in) = pam(&radhold, "alice", &[PASSWORD, &app.code(0), &app.wrong(), &app.wrong()]);
    assert!(!let_in && asked.len() == 4, "used, wrong, wrong: {asked:?}");
    let (asked, let_in) = pam(&radhold, "alice", &["wrong", &app.code(1)]);
    assert!(!let_in && asked.len() == 1, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_code_is_for_everybody_for_a_while_and_the_operator_hears_of_it() {
    let api = BotApi::start().await;
    api.add_user(OPERATOR, "Olga");
    let telegram =
        format!("[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\noperator_chat = {OPERATOR}\n", api.url());
    let (radhold, code) = block_in_place(|| {
        let radhold = with_alice(&format!("{}{telegram}", nas("")));
        let ran = radhold.cli(&["emergency", "new", "--valid", "1h", "--uses", "1", "--as", "olga"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let code = ran.stdout.lines().next().unwrap().to_owned();
        rejected(&login(&radhold, &format!("wrong,{code}")));
        assert_eq!(filter(&login(&radhold, &format!("{PASSWORD},{code}"))), Some("permit"));
        (radhold, code)
    });
    let told = api.until_sent(OPERATOR, 0).await;
    assert!(told.text.contains("emergency code e") && told.text.contains("alice"), "{told:?}");
    block_in_place(|| {
        rejected(&login(&radhold, &format!("{PASSWORD},{code}")));
        let used = audited(&radhold, "emergency.used");
        assert_eq!(used.len(), 1);
        assert!(used[0]["detail"].as_str().unwrap().contains("0 more uses"), "{used:?}");
        let listed = radhold.cli(&["emergency", "list", "--json"], "");
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!((&listed[0]["in_force"], &listed[0]["made_by"]), (&Value::Bool(false), &Value::from("olga")));
        let name = listed[0]["name"].as_str().unwrap();
        assert_eq!(radhold.cli(&["emergency", "revoke", name], "").code, 0);
        assert_eq!(radhold.cli(&["emergency", "revoke", name], "").code, 4);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_digits_to_the_bot_lift_a_session_whose_turn_totp_is() {
    let (api, mut das) = (BotApi::start().await, Das::start(&["ack"]).await);
    api.add_user(ALICE, "Alice");
    api.add_user(1066, "Mallory");
    let telegram = format!("[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\n", api.url());
    let (radhold, app) = block_in_place(|| {
        let radhold = with_alice(&format!("{}{telegram}", nas(&format!("coa_port = {}", das.address.port()))));
        let bound = radhold.cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], "");
        assert_eq!(bound.code, 0, "{bound:?}");
        let set = radhold.cli(&["user", "set", "alice", "--approver", "totp"], "");
        assert_eq!(set.code, 0, "{set:?}");
        let app = App::enrol(&radhold, "alice", &[]);
        (radhold, app)
    });
    let said = async |nth: usize| api.until_sent(ALICE, nth).await.text;
    api.write(ALICE, ALICE, &app.code(-2));
    assert!(said(0).await.contains("None of your logins"), "it is not spent by that");
    block_in_place(|| {
        let ran = login(&radhold, PASSWORD);
        assert_eq!(filter(&ran), Some("sandbox"));
        start(&radhold, received(&ran, "Class").unwrap());
        radhold.until_state("held");
    });
    block_in_place(|| until_waiting(&radhold, 1));
    api.write(ALICE, ALICE, &app.wrong());
    assert!(said(1).await.contains("wrong"));
    // Somebody else's chat speaks for nobody: there it is talk like any other.
    api.write(1066, 1066, &app.code(-1));
    assert!(!api.until_sent(1066, 0).await.text.contains("Confirmed"));
    api.write(ALICE, ALICE, &app.code(-1));
    assert!(said(2).await.starts_with("Confirmed"));
    assert_eq!(das.next().await["code"], 43);
    let session = block_in_place(|| radhold.until_state("permitted"));
    assert_eq!(session["decision"]["verdict"], "approved");

    // Two at once: a code must not choose between the owner and somebody else.
    block_in_place(|| {
        for _ in 0..2 {
            assert_eq!(filter(&login(&radhold, PASSWORD)), Some("sandbox"));
        }
        until_waiting(&radhold, 2);
    });
    api.write(ALICE, ALICE, &app.code(0));
    assert!(said(3).await.starts_with("Several"));
}

/// Waits until so many sessions wait for a code.
fn until_waiting(radhold: &Radhold, count: usize) {
    let waits = |session: &&Value| {
        let asked = session["asked"].as_array().unwrap();
        matches!(session["state"].as_str(), Some("offered" | "held"))
            && asked.iter().any(|ask| ask["approver"] == "totp")
    };
    let begun = Instant::now();
    loop {
        let sessions = radhold.sessions();
        if sessions.iter().filter(waits).count() == count {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{sessions:#?} {:#?}", radhold.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_no_code_is_right_and_the_person_is_told() {
    let mut cluster = Cluster::start().await;
    let head = format!("store.url = \"{}\"\nkeys.cluster_file = \"cluster.key\"\n", cluster.url());
    let radhold = block_in_place(|| {
        let radhold = Radhold::start_with(&head, &format!("{CODES}in_password = true\n{}", nas("")));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        radhold
    });
    let app = block_in_place(|| App::enrol(&radhold, "alice", &[]));
    assert_eq!(filter(&block_in_place(|| login(&radhold, PASSWORD))), Some("sandbox"));
    block_in_place(|| cluster.stop_immediately());
    let password = format!("{PASSWORD},{}", app.code(0));
    let ran = block_in_place(|| login(&radhold, &password));
    assert!(rejected(&ran).starts_with("Codes cannot be checked"), "{ran:?}");
    assert_eq!(filter(&block_in_place(|| login(&radhold, PASSWORD))), Some("sandbox"), "without a code she is held");
    cluster.resume().await;
    let begun = Instant::now();
    loop {
        let ran = block_in_place(|| login(&radhold, &password));
        if ran.code == 0 && received(&ran, "Filter-Id") == Some("permit") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the code was not spent in vain: {ran:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
