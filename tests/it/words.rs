//! What people read, in English and in Russian, over real HTTP: the whole of a login, from the question to the end of the session;
//! the other ways it can go; and what an operator may say differently.
//!
//! The helpers here block, so each test has threads beside its own for the Bot API to run on.

use std::fs;

use serde_json::json;

use crate::bot_api::{BotApi, Message, TOKEN};
use crate::das::{Das, SECRET};
use crate::mmdb;
use crate::radhold::{Radhold, Ran, radclient, received};

const ALICE: i64 = 1001;
const PASSWORD: &str = "s3cret-pass";

/// What one language says, where a test looks.
struct Words {
    tag: &'static str,
    question: &'static str,
    yes: &'static str,
    no: &'static str,
    place: &'static str,
    medium: &'static str,
    answer: &'static str,
    confirmed: &'static str,
    denied: &'static str,
    lifted: &'static str,
    refused: &'static str,
    disconnected: &'static str,
    expired: &'static str,
    kicked: &'static str,
    ended: [&'static str; 4],
    quiet: &'static str,
}

const LANGUAGES: [Words; 2] = [
    Words {
        tag: "en",
        question: "Is this you?",
        yes: "It's me",
        no: "Not me",
        place: "Place: Berlin, Germany",
        medium: "By: PPTP tunnel",
        answer: "Confirmed. Your connection is being opened.",
        confirmed: "Confirmed. The connection is open.",
        denied: "Denied. The connection is ended.",
        lifted: "An operator has confirmed it. The connection is open.",
        refused: "An operator has denied it.",
        disconnected: "The connection ended before anybody answered.",
        expired: "Nobody answered in time.",
        kicked: "The connection was ended by hand.",
        ended: [
            "The connection has ended.",
            "Lasted: 2 h 59 min",
            "Received: 1.4 GB, sent: 86 MB",
            "Why: you disconnected",
        ],
        quiet: "/quiet on",
    },
    Words {
        tag: "ru",
        question: "Это вы?",
        yes: "Это я",
        no: "Не я",
        place: "Место: Берлин, Германия",
        medium: "Способ: туннель PPTP",
        answer: "Подтверждено. Соединение открывается.",
        confirmed: "Подтверждено. Соединение открыто.",
        denied: "Отклонено. Соединение разорвано.",
        lifted: "Вход подтвердил оператор. Соединение открыто.",
        refused: "Вход отклонил оператор.",
        disconnected: "Соединение прервалось раньше, чем кто-либо ответил.",
        expired: "Никто не ответил вовремя.",
        kicked: "Соединение разорвано вручную.",
        ended: [
            "Соединение завершено.",
            "Длилось: 2 ч 59 мин",
            "Получено: 1,4 ГБ, отправлено: 86 МБ",
            "Причина: вы отключились",
        ],
        quiet: "/quiet on",
    },
];

/// Alice, bound to her chat, whose Telegram speaks a language.
struct Scene {
    api: BotApi,
    _das: Das,
    radhold: Radhold,
    port: u32,
}

impl Scene {
    async fn new(language: &str, sections: &str) -> Self {
        Self::with_window(language, "120s", sections).await
    }

    async fn with_window(language: &str, window: &str, sections: &str) -> Self {
        let (api, das) = (BotApi::start().await, Das::start(&["ack"]).await);
        api.add_user(ALICE, "Alice");
        api.set_language(ALICE, language);
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
            {sections}
            "#,
            api.url(),
            das.address.port()
        ));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        let bound = radhold.cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], "");
        assert_eq!(bound.code, 0, "{bound:?}");
        Self { api, _das: das, radhold, port: 0 }
    }

    /// Alice writes, and is answered: from then on it is known which language her Telegram speaks.
    async fn write(&self, text: &str) -> Message {
        let before = self.api.sent(ALICE).len();
        self.api.write(ALICE, ALICE, text);
        self.api.until_sent(ALICE, before).await
    }

    /// Logs alice in and starts her session: the question, and the Class.
    async fn asked(&mut self) -> (Message, String) {
        self.port += 1;
        let port = self.port;
        let before = self.api.sent(ALICE).len();
        let attributes = format!(
            "User-Name = alice, User-Password = {PASSWORD}, NAS-Port = {port}, NAS-Port-Type = Virtual, \
             Tunnel-Type = PPTP, Calling-Station-Id = \"203.0.113.7\", Message-Authenticator = 0x00"
        );
        let ran = radclient(self.radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        let class = received(&ran, "Class").unwrap().to_owned();
        let start = self.account("Start", &class, "");
        assert_eq!(start.code, 0, "{start:?}");
        (self.api.until_sent(ALICE, before).await, class)
    }

    fn account(&self, status: &str, class: &str, more: &str) -> Ran {
        let port = self.port;
        let attributes = format!(
            "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a{port}, NAS-Port = {port}, \
             Calling-Station-Id = \"203.0.113.7\", Class = {class}{more}"
        );
        radclient(self.radhold.accounting, "acct", SECRET, &attributes)
    }

    /// The last Accounting-Request of a session of three hours.
    fn stop(&self, class: &str) {
        let more = ", Acct-Session-Time = 10781, Acct-Input-Octets = 86400000, Acct-Output-Octets = 1400000000, \
                    Acct-Terminate-Cause = User-Request";
        assert_eq!(self.account("Stop", class, more).code, 0);
    }

    /// What an operator does about the newest session.
    fn operate(&self, what: &str) {
        let session = self.radhold.sessions()[0]["id"].as_str().unwrap().to_owned();
        let ran = self.radhold.cli(&["session", what, &session], "");
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    async fn until_says(&self, message: i64, text: &str) -> Message {
        let says = |message: &&Message| message.text.contains(text);
        let what = format!("{text:?} in message {message}");
        self.api.until(&what, |world| world.messages.get(&(ALICE, message)).filter(says).cloned()).await
    }
}

/// Places of the addresses tests come from.
fn places(radhold_toml: &tempfile::TempDir) -> String {
    let path = radhold_toml.path().join("places.mmdb");
    let berlin = json!({
        "city": { "names": { "en": "Berlin", "ru": "Берлин" } },
        "country": { "names": { "en": "Germany", "ru": "Германия" } },
        "autonomous_system_number": 64500,
        "autonomous_system_organization": "Example Net",
    });
    mmdb::write(&path, &[("203.0.113.0/24", berlin)]);
    format!("[places]\nfiles = [\"{}\"]", path.display())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_told_from_the_question_to_the_end_in_either_language() {
    let directory = tempfile::tempdir().unwrap();
    for words in &LANGUAGES {
        let mut scene = Scene::new(words.tag, &places(&directory)).await;
        scene.write("/zone Europe/Moscow").await;

        let (prompt, class) = scene.asked().await;
        for part in
            [words.question, "alice", "office", "203.0.113.7", words.place, "Example Net, AS64500", words.medium, "MSK"]
        {
            assert!(prompt.text.contains(part), "{part:?} is missing in {:?}", prompt.text);
        }
        assert_eq!(prompt.buttons(), [words.yes, words.no]);
        let press = scene.api.press(ALICE, prompt.id, ALICE, words.yes);
        assert_eq!(scene.api.until_answered(&press).await.text, words.answer);
        let outcome = scene.until_says(prompt.id, words.confirmed).await;
        assert!(outcome.text.contains(words.place) && outcome.buttons().is_empty(), "{outcome:?}");

        let before = scene.api.sent(ALICE).len();
        scene.stop(&class);
        let end = scene.api.until_sent(ALICE, before).await;
        for part in words.ended {
            assert!(end.text.contains(part), "{part:?} is missing in {:?}", end.text);
        }
        assert_eq!((end.reply_to, end.silent), (Some(prompt.id), false));

        // In quiet mode nothing comes but the question; its message says the rest.
        scene.write(words.quiet).await;
        let (prompt, class) = scene.asked().await;
        assert!(!prompt.silent, "a question always sounds");
        let press = scene.api.press(ALICE, prompt.id, ALICE, words.yes);
        scene.api.until_answered(&press).await;
        scene.until_says(prompt.id, words.confirmed).await;
        let before = scene.api.sent(ALICE).len();
        scene.stop(&class);
        let end = scene.until_says(prompt.id, words.ended[2]).await;
        assert!(end.text.contains(words.confirmed), "{end:?}");
        assert_eq!(scene.api.sent(ALICE).len(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_way_it_can_go_is_told_in_either_language() {
    for words in &LANGUAGES {
        // Four logins, denied and not, one right after the other.
        let mut scene = Scene::new(words.tag, "[guards]\ncool_down = \"0s\"\nprompts_per_hour = 0\n").await;
        scene.write("/help").await;

        let (prompt, class) = scene.asked().await;
        scene.api.press(ALICE, prompt.id, ALICE, words.no);
        scene.until_says(prompt.id, words.denied).await;
        scene.stop(&class);

        let (prompt, class) = scene.asked().await;
        scene.operate("deny");
        scene.until_says(prompt.id, words.refused).await;
        scene.stop(&class);

        let (prompt, class) = scene.asked().await;
        scene.stop(&class);
        scene.until_says(prompt.id, words.disconnected).await;

        let (prompt, class) = scene.asked().await;
        scene.operate("approve");
        scene.until_says(prompt.id, words.lifted).await;
        scene.operate("kick");
        scene.until_says(prompt.id, words.kicked).await;
        let before = scene.api.sent(ALICE).len();
        scene.stop(&class);
        assert!(scene.api.until_sent(ALICE, before).await.text.contains(words.ended[0]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_installation_speaks_its_own_language_to_whom_it_has_not_heard() {
    for words in &LANGUAGES {
        let sections = format!("[messages]\nlanguage = \"{}\"\nzone = \"Asia/Tashkent\"", words.tag);
        let mut scene = Scene::with_window("xx", "5s", &sections).await;
        let (prompt, _) = scene.asked().await;
        assert!(prompt.text.contains(words.question) && prompt.text.contains(" +05"), "{prompt:?}");
        scene.until_says(prompt.id, words.expired).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_say_it_in_other_words_and_mistakes_are_found_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let russian = directory.path().join("ru");
    fs::create_dir(&russian).unwrap();
    fs::write(russian.join("ours.ftl"), "button-yes = Да, вхожу\n").unwrap();
    let sections = format!("[messages]\nlanguage = \"ru\"\ndirectory = \"{}\"", directory.path().display());
    let mut scene = Scene::with_window("xx", "120s", &sections).await;
    let (prompt, _) = scene.asked().await;
    assert_eq!(prompt.buttons(), ["Да, вхожу", "Не я"]);

    assert_eq!(scene.radhold.cli(&["check"], "").code, 0);
    fs::write(russian.join("ours.ftl"), "button-yes = Да\nbuton-no = Нет\nprompt = { $facst } <b>\n").unwrap();
    let checked = scene.radhold.cli(&["check"], "");
    assert_ne!(checked.code, 0);
    for part in [
        "ru/ours.ftl:2: there is no message buton-no; did you mean button-no?",
        "ru/ours.ftl:3: prompt has no argument $facst; it has $facts, $seconds, $until",
    ] {
        assert!(checked.stdout.contains(part), "{part:?} is missing in {checked:?}");
    }
}
