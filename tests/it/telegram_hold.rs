//! The hold with Telegram, end to end: the real server, radclient as the NAS, pyrad as its Dynamic Authorization Server, and the
//! Bot API over real HTTP.
//!
//! The helpers here block, so each test has threads beside its own for the Bot API to run on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bot_api::{BotApi, Failure, Message, TOKEN};
use crate::das::{Das, SECRET};
use crate::radhold::{PATIENCE, Radhold, Ran, radclient, received};

const ALICE: i64 = 1001;
const MALLORY: i64 = 1066;
const YES: &str = "It's me";
const NO: &str = "Not me";
const PASSWORD: &str = "s3cret-pass";

/// Alice, bound to her chat, and all she deals with.
struct Scene {
    api: BotApi,
    das: Das,
    radhold: Radhold,
}

impl Scene {
    async fn new(window: &str) -> Self {
        let (api, das) = (BotApi::start().await, Das::start(&["ack"]).await);
        api.add_user(ALICE, "Alice");
        api.add_user(MALLORY, "Mallory");
        let radhold = Radhold::start(&format!(
            r#"
            [server]
            reject_delay = "0s"
            [hold]
            window = "{window}"
            [telegram]
            token = "{TOKEN}"
            api_url = "{}"
            [nas.office]
            address = "127.0.0.1"
            secret = "{SECRET}"
            coa_port = {}
            "#,
            api.url(),
            das.address.port()
        ));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        let bound = radhold.cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], "");
        assert_eq!(bound.code, 0, "{bound:?}");
        Self { api, das, radhold }
    }

    /// Logs alice in: the Class of her session.
    fn log_in(&self) -> String {
        let attributes = format!(
            "User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 7, Calling-Station-Id = \"203.0.113.7\", \
             Message-Authenticator = 0x00"
        );
        let ran = radclient(self.radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(received(&ran, "Filter-Id"), Some("sandbox"));
        received(&ran, "Class").unwrap().to_owned()
    }

    fn account(&self, status: &str, class: &str) -> Ran {
        let attributes = format!(
            "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a1, NAS-Port = 7, \
             Calling-Station-Id = \"203.0.113.7\", Class = {class}"
        );
        radclient(self.radhold.accounting, "acct", SECRET, &attributes)
    }

    /// Logs alice in and starts her session: its Class and its id.
    fn held(&self) -> (String, String) {
        let class = self.log_in();
        let start = self.account("Start", &class);
        assert_eq!(start.code, 0, "{start:?}");
        (class, self.radhold.until_state("held")["id"].as_str().unwrap().to_owned())
    }

    /// The same, and she is asked, and the server knows it: the message, and the Class of her session.
    async fn asked(&self) -> (Message, String) {
        let (class, _) = self.held();
        self.until_asked(0, "sent");
        (self.api.until_sent(ALICE, 0).await, class)
    }

    /// Waits until the question to the approver at this place is in that state; gives them all.
    fn until_asked(&self, place: usize, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let asked = self.radhold.until_state("held")["asked"].clone();
            if asked[place]["state"] == state {
                return asked;
            }
            assert!(begun.elapsed() < PATIENCE, "never {state}: {asked:#}");
        }
    }

    /// Waits until a message has become its outcome: its text, and no buttons.
    async fn until_outcome(&self, message: i64, text: &str) -> Message {
        let outcome = |message: &Message| message.edits > 0 && message.text.contains(text);
        let what = format!("{text:?} in message {message}");
        let message = self
            .api
            .until(&what, |world| world.messages.get(&(ALICE, message)).filter(|message| outcome(message)).cloned())
            .await;
        assert!(message.buttons().is_empty(), "{message:?}");
        message
    }
}

fn data_of(message: &Message, button: &str) -> String {
    let buttons = message.keyboard.iter().flatten();
    buttons.filter(|at| at.text == button).find_map(|at| at.data.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_me_lifts_the_session_and_the_message_says_so() {
    let mut scene = Scene::new("120s").await;
    let (prompt, _) = scene.asked().await;
    for part in ["alice", "office", "203.0.113.7"] {
        assert!(prompt.text.contains(part), "{part:?} is missing in {:?}", prompt.text);
    }
    assert_eq!(prompt.buttons(), [YES, NO]);

    let press = scene.api.press(ALICE, prompt.id, ALICE, YES);
    let request = scene.das.next().await;
    assert_eq!((&request["code"], &request["attributes"]["Filter-Id"][0]), (&43.into(), &"permit".into()));
    let answer = scene.api.until_answered(&press).await;
    assert_eq!((answer.text.as_str(), answer.alert), ("Confirmed. Your connection is being opened.", false));
    let permitted = scene.radhold.until_state("permitted");
    assert_eq!(permitted["decision"]["verdict"], "approved");
    assert_eq!(permitted["decision"]["approver"], "telegram");
    let outcome = scene.until_outcome(prompt.id, "Confirmed. The connection is open.").await;
    assert!(outcome.text.contains("203.0.113.7"), "{outcome:?}");
    scene.api.until_confirmed().await;
    assert_eq!(scene.api.sent(ALICE).len(), 1, "asked once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_me_ends_the_session_and_the_message_says_so() {
    let mut scene = Scene::new("120s").await;
    let (prompt, class) = scene.asked().await;
    let press = scene.api.press(ALICE, prompt.id, ALICE, NO);
    assert_eq!(scene.das.next().await["code"], 40);
    assert!(scene.api.until_answered(&press).await.text.starts_with("Denied."));
    scene.until_outcome(prompt.id, "Denied. The connection is ended.").await;
    let evicting = scene.radhold.until_state("evicting");
    assert_eq!(evicting["decision"]["verdict"], "denied");
    assert_eq!(scene.account("Stop", &class).code, 0);
    assert_eq!(scene.radhold.until_state("closed")["permitted_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_button_works_once_for_its_session_and_its_owner() {
    let mut scene = Scene::new("120s").await;
    let (prompt, class) = scene.asked().await;
    let (yes, no) = (data_of(&prompt, YES), data_of(&prompt, NO));

    // Somebody else in her chat; her button carried to another chat; a button nobody made.
    for (chat, presser, data, reason) in [
        (ALICE, MALLORY, yes.as_str(), "not yours"),
        (MALLORY, MALLORY, yes.as_str(), "not yours"),
        (ALICE, ALICE, "nonsense", "not one of ours"),
    ] {
        let answer = scene.api.until_answered(&scene.api.press_data(chat, prompt.id, presser, data)).await;
        assert!(answer.alert && answer.text.contains(reason), "{presser} in {chat}: {answer:?}");
    }
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);
    assert_eq!(scene.api.message(ALICE, prompt.id).buttons(), [YES, NO], "still hers to press");

    let press = scene.api.press(ALICE, prompt.id, ALICE, YES);
    assert!(!scene.api.until_answered(&press).await.alert);
    assert_eq!(scene.das.next().await["code"], 43);
    scene.until_outcome(prompt.id, "Confirmed. The connection is open.").await;
    for (data, reason) in [(&yes, "Already confirmed."), (&no, "Already confirmed: this \"no\" came too late.")] {
        let answer = scene.api.until_answered(&scene.api.press_data(ALICE, prompt.id, ALICE, data)).await;
        assert!(answer.alert && answer.text.starts_with(reason), "{answer:?}");
    }
    let session = scene.radhold.until_state("permitted");
    assert_eq!(session["decision"]["verdict"], "approved", "the late no changes nothing: {session:#}");

    // Nor does it open her next session.
    assert_eq!(scene.account("Stop", &class).code, 0);
    scene.radhold.until_state("closed");
    scene.held();
    let answer = scene.api.until_answered(&scene.api.press_data(ALICE, prompt.id, ALICE, &yes)).await;
    assert!(answer.text.starts_with("Already confirmed."), "{answer:?}");
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_press_after_the_deadline_is_told_so() {
    let mut scene = Scene::new("2s").await;
    let class = scene.log_in();
    let prompt = scene.api.until_sent(ALICE, 0).await;
    assert_eq!(scene.account("Start", &class).code, 0);
    let yes = data_of(&prompt, YES);
    assert_eq!(scene.das.next().await["code"], 40);
    scene.until_outcome(prompt.id, "Nobody answered in time.").await;
    let answer = scene.api.until_answered(&scene.api.press_data(ALICE, prompt.id, ALICE, &yes)).await;
    assert!(answer.alert && answer.text.starts_with("Already expired"), "{answer:?}");
    assert_eq!(scene.account("Stop", &class).code, 0);
    let closed = scene.radhold.until_state("closed");
    assert_eq!((&closed["decision"], &closed["permitted_at"]), (&Value::Null, &Value::Null));
}

// -- trouble at Telegram

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_answered_while_telegram_hangs_and_the_prompt_comes_later() {
    let mut scene = Scene::new("120s").await;
    scene.api.fail("sendMessage", Failure::Delay(Duration::from_secs(3600)), 1);
    let class = scene.log_in();
    // The Accept is here, and the call hangs.
    scene.api.until("a call that hangs", |world| world.calls_of("sendMessage").next().map(drop)).await;
    assert_eq!(scene.account("Start", &class).code, 0);
    let unanswered = |call: &crate::bot_api::Call| call.status.is_none();
    assert!(scene.api.look(|world| world.calls_of("sendMessage").all(unanswered)), "it hangs all this while");
    assert!(scene.api.sent(ALICE).is_empty());

    let prompt = scene.api.until_sent(ALICE, 0).await;
    let press = scene.api.press(ALICE, prompt.id, ALICE, YES);
    assert_eq!(scene.das.next().await["code"], 43);
    assert!(scene.api.until_answered(&press).await.text.starts_with("Confirmed."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_are_answered_while_telegram_is_away_or_says_429() {
    for failure in [Failure::Drop, Failure::Status(502), Failure::TooMany(1)] {
        let mut scene = Scene::new("120s").await;
        scene.api.fail("*", failure.clone(), usize::MAX);
        let class = scene.log_in();
        scene.api.until("a failed call", |world| world.calls_of("sendMessage").next().map(drop)).await;
        assert_eq!(scene.account("Start", &class).code, 0);
        scene.radhold.until_state("held");
        assert!(scene.api.sent(ALICE).is_empty(), "{failure:?}");

        scene.api.heal();
        let prompt = scene.api.until_sent(ALICE, 0).await;
        scene.api.press(ALICE, prompt.id, ALICE, YES);
        assert_eq!(scene.das.next().await["code"], 43, "{failure:?}");
        scene.until_outcome(prompt.id, "Confirmed. The connection is open.").await;
        assert_eq!(scene.api.sent(ALICE).len(), 1, "{failure:?}: asked once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_bot_leaves_the_session_held_for_the_operator() {
    let mut scene = Scene::new("120s").await;
    scene.api.set_blocked(ALICE, true);
    let (_, session) = scene.held();
    scene.radhold.wait_for_log(0, |line| line["reason"].as_str().is_some_and(|why| why.contains("blocked the bot")));
    let asked = scene.until_asked(1, "sent");
    assert_eq!((&asked[0]["approver"], &asked[0]["state"]), (&"telegram".into(), &"undeliverable".into()));
    assert!(asked[0]["reason"].as_str().unwrap().contains("blocked the bot"), "{asked:#}");
    assert_eq!(asked[1]["approver"], "operator");

    let approved = scene.radhold.cli(&["session", "approve", &session, "--as", "night-shift"], "");
    assert_eq!(approved.code, 0, "{approved:?}");
    assert_eq!(scene.das.next().await["code"], 43);
    assert_eq!(scene.radhold.until_state("permitted")["decision"]["approver"], "operator");
}

// -- a crash

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_button_works_after_kill_9() {
    for pressed_while_down in [false, true] {
        let mut scene = Scene::new("120s").await;
        let (prompt, _) = scene.asked().await;
        scene.radhold.kill();
        let early = pressed_while_down.then(|| scene.api.press(ALICE, prompt.id, ALICE, YES));
        scene.radhold.restart();
        let press = early.unwrap_or_else(|| scene.api.press(ALICE, prompt.id, ALICE, YES));
        assert_eq!(scene.das.next().await["code"], 43);
        assert_eq!(scene.api.until_answered(&press).await.text, "Confirmed. Your connection is being opened.");
        scene.radhold.until_state("permitted");
        scene.until_outcome(prompt.id, "Confirmed. The connection is open.").await;
        assert_eq!(scene.api.sent(ALICE).len(), 1, "not asked again");
    }
}
