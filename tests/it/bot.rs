//! The bot as people and administrators use it: the real server, and the Bot API over real HTTP with its published limits
//! enforced. Enrolment, commands, notices, and what a crash or a repetition does to them.
//!
//! The helpers here block, so each test has threads beside its own for the Bot API to run on.

mod commands;
mod enrolment;
mod proxy;
mod restart;
mod webhook;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bot_api::{BotApi, Message, TOKEN};
use crate::das::{Das, SECRET};
use crate::radhold::{PATIENCE, Radhold, radclient, received};

const ALICE: i64 = 1001;
const BOB: i64 = 1002;
const MALLORY: i64 = 1066;
const ADMIN: i64 = 1900;
const GROUP: i64 = -100_200_300;
const PASSWORD: &str = "s3cret-pass";

/// A server, its bot, and some people.
struct Scene {
    api: BotApi,
    das: Das,
    radhold: Radhold,
}

impl Scene {
    /// With one administrator, and these keys beside.
    async fn new(telegram: &str, sections: &str) -> Self {
        Self::with_das(&["ack"], telegram, sections).await
    }

    async fn with_das(behaviour: &[&str], telegram: &str, sections: &str) -> Self {
        let (api, das) = (BotApi::start().await, Das::start(behaviour).await);
        api.enforce_limits();
        for (id, name) in [(ALICE, "Alice"), (BOB, "Bob"), (MALLORY, "<b>Mallory</b>"), (ADMIN, "Root")] {
            api.add_user(id, name);
        }
        api.add_group(GROUP, "Family");
        let radhold = Radhold::start(&config(&api, &das, telegram, sections));
        for name in ["alice", "bob"] {
            radhold.add_user(name, PASSWORD, &["--store-as", "clear"]);
        }
        Self { api, das, radhold }
    }

    fn bind(&self, user: &str, chat: i64) {
        let bound = self.radhold.cli(&["user", "bind", user, "--telegram", &chat.to_string()], "");
        assert_eq!(bound.code, 0, "{bound:?}");
    }

    /// A link for a user: what follows `/start`.
    fn link(&self, user: &str, options: &[&str]) -> String {
        let ran = self.radhold.cli(&[&["user", "enrol", user, "--json"], options].concat(), "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
        let link = shown["link"].as_str().unwrap();
        link.strip_prefix("https://t.me/radhold_test_bot?start=").expect(link).to_owned()
    }

    /// Writes, and waits for the answer.
    async fn ask(&self, chat: i64, user: i64, text: &str) -> Message {
        let before = self.api.sent(chat).len();
        self.api.write(chat, user, text);
        self.api.until_sent(chat, before).await
    }

    /// Writes, and waits until it was heard; the last that was said there, if anything was.
    async fn tell(&self, chat: i64, user: i64, text: &str) {
        self.api.write(chat, user, text);
        self.api.until_confirmed().await;
    }

    /// Logs somebody in and starts the session: its Class.
    fn held(&self, user: &str, port: u32, caller: &str) -> String {
        let attributes = format!(
            "User-Name = {user}, User-Password = {PASSWORD}, NAS-Port = {port}, Calling-Station-Id = \"{caller}\", \
             Message-Authenticator = 0x00"
        );
        let ran = radclient(self.radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        let class = received(&ran, "Class").unwrap().to_owned();
        let attributes = format!(
            "User-Name = {user}, Acct-Status-Type = Start, Acct-Session-Id = a{port}, NAS-Port = {port}, \
             Calling-Station-Id = \"{caller}\", Class = {class}"
        );
        let ran = radclient(self.radhold.accounting, "acct", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        class
    }

    /// The chats of a user, as `user show --json` tells them.
    fn chats(&self, user: &str) -> Vec<String> {
        let ran = self.radhold.cli(&["user", "show", user, "--json"], "");
        let shown: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let bindings = shown["bindings"].as_array().unwrap_or_else(|| panic!("{shown:#}"));
        bindings.iter().map(|binding| binding["address"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until these are the chats of a user.
    fn until_chats(&self, user: &str, chats: &[i64]) {
        let wanted: Vec<_> = chats.iter().map(ToString::to_string).collect();
        let begun = Instant::now();
        while self.chats(user) != wanted {
            assert!(begun.elapsed() < PATIENCE, "{:?} and not {wanted:?}", self.chats(user));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Who did that, and where, the oldest first.
    fn audit(&self, act: &str) -> Vec<(String, String, String)> {
        let ran = self.radhold.cli(&["audit", "--act", act, "--json"], "");
        let acts: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        let text = |act: &Value, key: &str| act[key].as_str().unwrap().to_owned();
        acts.iter().map(|act| (text(act, "who"), text(act, "through"), text(act, "origin"))).collect()
    }

    /// Waits until that was done so often.
    fn until_audit(&self, act: &str, times: usize) -> Vec<(String, String, String)> {
        let begun = Instant::now();
        loop {
            let acts = self.audit(act);
            if acts.len() == times {
                return acts;
            }
            assert!(begun.elapsed() < PATIENCE, "{act}: {acts:?}, and not {times}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn config(api: &BotApi, das: &Das, telegram: &str, sections: &str) -> String {
    format!(
        r#"
        [server]
        reject_delay = "0s"
        [hold]
        window = "120s"
        [telegram]
        token = "{TOKEN}"
        api_url = "{}"
        administrators = [{ADMIN}]
        {telegram}
        [nas.office]
        address = "127.0.0.1"
        secret = "{SECRET}"
        coa_port = {}
        {sections}
        "#,
        api.url(),
        das.address.port()
    )
}

fn by(id: i64) -> (String, String, String) {
    (format!("telegram:{id}"), "telegram".to_owned(), format!("chat {id}"))
}

fn data_of(message: &Message, button: &str) -> String {
    let buttons = message.keyboard.iter().flatten();
    let found = buttons.filter(|at| at.text == button).find_map(|at| at.data.clone());
    found.unwrap_or_else(|| panic!("no {button:?} under {message:?}"))
}
