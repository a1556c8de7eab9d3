//! The desk: answers what people write, and does what their buttons ask for, as far as they may.
//!
//! | file | what it is |
//! |---|---|
//! | `people.rs` | a person's own connections, logins and preferences |
//! | `trust.rs` | where a person is not asked for a while |
//! | `administrators.rs` | what administrators see and do |
//! | `enrol.rs` | links followed, requests, and an administrator's word about them |
//! | `notices.rs` | what administrators are told unasked |
//! | `menus.rs` | the commands that are offered |
//! | `lines.rs` | pieces of text: guests, sizes, callers; pure |
//! | `patience.rs` | how often strangers are answered, and how often they may guess |
//!
//! Who somebody is, is what their chat is bound to at that moment; nothing is believed because a button says so. A person learns
//! of nobody else, and a stranger of nothing at all. Anything that changes something is begun and done under its number, so that
//! what comes twice is done once, and what was cut off is done again.

mod administrators;
mod enrol;
mod lines;
mod menus;
mod notices;
mod patience;
mod people;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, Notify, OnceCell};
use tokio::time::Instant;

pub(super) use self::notices::run as notices;
use self::patience::Patience;
use super::clock;
use super::ledger::Ledger;
use super::orders::NewOrders;
use super::settings::SettingsHandle;
use super::totp::HeldCodes;
use crate::approver::{ActPressed, ActReply, Approver, Message, Post, Speaker, Then, Tone, Voice};
use crate::auth::totp::Code;
use crate::config;
use crate::messages::Value;
use crate::model::{ApproverKind, Language, Preferences, Timestamp, UserName, Zone};
use crate::session::{Act, Verb};
use crate::store::{AuditEntry, Heard, Store, StoreError};
use crate::telemetry;

/// What a desk works with.
pub(super) struct Parts {
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
    /// For orders that do not come by way of the ledger.
    pub new_orders: Arc<NewOrders>,
    pub settings: SettingsHandle,
    pub approvers: BTreeMap<ApproverKind, Arc<dyn Approver>>,
    pub voice: Voice,
    pub rules: Rules,
    /// The bot's name, where the configuration says it.
    pub bot_name: Option<String>,
    /// Codes of people whose sessions wait for one.
    pub held_codes: HeldCodes,
}

/// What the operator says about it, and may say anew while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub enrolment: config::Enrolment,
    /// Ids of the Telegram chats in which administrators speak.
    pub administrators: BTreeSet<String>,
    /// Whether they are told of denied logins.
    pub strike_notices: bool,
}

/// The desk.
pub(super) struct Desk {
    parts: Parts,
    rules: RwLock<Arc<Rules>>,
    /// Chats that were an administrator's since the start, and are none's now.
    dismissed: RwLock<BTreeSet<String>>,
    patience: Mutex<Patience>,
    name: OnceCell<String>,
    /// There may be something administrators are to be told.
    notices: Notify,
}

/// Somebody, as far as we know them.
#[derive(Debug)]
struct Person<'a> {
    by: &'a Speaker,
    /// Whose logins they confirm in this chat.
    users: Vec<UserName>,
    administrator: bool,
    language: Language,
    zone: Zone,
}

/// What somebody wrote, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said<'a> {
    /// In small letters, without the slash and without the bot's name; empty when it is no command.
    command: String,
    /// The rest.
    rest: &'a str,
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Self {
        let rules = RwLock::new(Arc::new(parts.rules.clone()));
        Self {
            parts,
            rules,
            dismissed: RwLock::default(),
            patience: Mutex::default(),
            name: OnceCell::new(),
            notices: Notify::new(),
        }
    }

    /// Goes by other rules from now on.
    pub(super) fn go_by(&self, rules: Rules) {
        let mut ours = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut dismissed = self.dismissed.write().unwrap_or_else(PoisonError::into_inner);
        dismissed.extend(ours.administrators.iter().cloned());
        dismissed.retain(|chat| !rules.administrators.contains(chat));
        *ours = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers something written.
    pub(super) async fn message(&self, message: Message) {
        let Message { update, by, text, reply } = message;
        let post = match self.answer(update, &by, &Said::read(&text)).await {
            Ok(post) => post,
            Err(error) => {
                telemetry::count("message.not-answered");
                tracing::warn!(%error, "a message cannot be answered");
                // Whoever they are, which nobody can say now.
                let may = by.private && self.patience.lock().await.may_be_greeted(&by.chat, Instant::now());
                may.then(|| Post::text(self.say(&self.spoken(&by), "bot-later", &[])))
            }
        };
        drop(reply.send(post));
    }

    /// Does what a button asks for.
    pub(super) async fn act(&self, pressed: ActPressed) {
        let ActPressed { update, by, press, reply } = pressed;
        let done = match self.person(&by).await {
            Ok(person) => {
                let done = self.once(update, &by, |again| self.carry_out(&person, press.act(), again)).await;
                done.map(|done| done.unwrap_or_default())
            }
            Err(error) => Err(error),
        };
        let done = done.unwrap_or_else(|error| {
            telemetry::count("act.not-done");
            tracing::warn!(%error, "a button's act could not be done; the person presses again");
            self.note(&self.spoken(&by), "answer-bot-later", &[])
        });
        drop(reply.send(done));
    }

    async fn carry_out(&self, person: &Person<'_>, act: Act, again: bool) -> Result<ActReply, StoreError> {
        match act.verb {
            Verb::End => self.end(person, act.subject, again).await,
            Verb::RevokeTrust => self.revoke_trust(person, act.subject).await,
            Verb::Permit
            | Verb::Kick
            | Verb::BanCaller
            | Verb::BanAccount
            | Verb::LiftBan
            | Verb::ConfirmBinding
            | Verb::RefuseBinding => {
                // An administrator that is none any more still has the messages.
                if !person.administrator {
                    return Ok(self.note(&person.language, "answer-bot-not-yours", &[]));
                }
                self.administer(person, act, again).await
            }
        }
    }

    async fn answer(&self, update: i64, by: &Speaker, said: &Said<'_>) -> Result<Option<Post>, StoreError> {
        let person = self.person(by).await?;
        let command = said.command.as_str();
        if person.administrator
            && let Some(post) = self.administrators_command(update, &person, said).await?
        {
            return Ok(post);
        }
        match command {
            "start" if !said.rest.is_empty() => {
                if !self.patience.lock().await.may_guess(&by.chat, Instant::now()) {
                    return Ok(None);
                }
                let done = self.once(update, by, |_| self.start(&person, said.rest)).await?;
                return Ok(done.flatten());
            }
            "register" if self.rules().enrolment.self_registration => {
                if !self.patience.lock().await.may_guess(&by.chat, Instant::now()) {
                    return Ok(None);
                }
                let done = self.once(update, by, |_| self.register(&person, said.rest)).await?;
                return Ok(done.flatten());
            }
            _ => {}
        }
        if person.is_stranger() {
            // To any word in private; in groups people have other things to talk about.
            let spoken_to = by.private || command == "start";
            let may = spoken_to && self.patience.lock().await.may_be_greeted(&by.chat, Instant::now());
            return Ok(may.then(|| self.greeting(&person)));
        }
        if !by.private {
            let known = ["sessions", "history", "trusted", "lang", "quiet", "zone", "help", "start"];
            return Ok(known.contains(&command).then(|| Post::text(self.say(&person.language, "bot-private", &[]))));
        }
        if command.is_empty()
            && let Some(code) = Code::read(said.rest)
        {
            let from = format!("{}:{}", by.approver, by.presser);
            let given = async |_| self.parts.held_codes.code_from_chat(&person.users, &code, &from).await;
            let outcome = self.once(update, by, given).await?;
            return Ok(outcome.map(|outcome| Post::text(self.say(&person.language, outcome.message(), &[]))));
        }
        let post = match command {
            "start" | "help" => self.help(&person),
            "sessions" => self.sessions(&person).await?,
            "history" => self.history(&person).await?,
            "trusted" => self.trusted(&person).await?,
            "lang" => self.lang(&person, said.rest).await?,
            "quiet" => self.quiet(&person, said.rest).await?,
            "zone" => self.zone(&person, said.rest).await?,
            _ => Post::text(self.say(&person.language, "bot-unknown", &[])),
        };
        Ok(Some(post))
    }

    /// Does something under its number: not when it was done before, and again when it was begun only. `None` when it was done.
    async fn once<T>(
        &self,
        update: i64,
        by: &Speaker,
        what: impl AsyncFnOnce(bool) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let channel = format!("{}:{}", by.approver, by.line);
        let again = match self.parts.store.begin_update(&channel, update, clock::now()).await? {
            Heard::Done => {
                telemetry::count("update.repeated");
                return Ok(None);
            }
            Heard::Begun => true,
            Heard::Never => false,
        };
        let done = what(again).await?;
        self.parts.store.finish_update(&channel, update).await?;
        Ok(Some(done))
    }

    async fn person<'a>(&self, by: &'a Speaker) -> Result<Person<'a>, StoreError> {
        let bindings = self.parts.store.bindings_at(by.approver, &by.chat).await?;
        let users = bindings.into_iter().filter(|binding| binding.presser == by.presser).map(|binding| binding.user);
        let preferences = self.preferences(by.approver, &by.chat).await?;
        let tone = self.parts.voice.tone_of(&preferences, heard(by.language.as_deref()).as_ref());
        Ok(Person {
            by,
            users: users.collect(),
            administrator: self.is_administrator(by),
            language: tone.language().clone(),
            zone: tone.zone(),
        })
    }

    fn is_administrator(&self, by: &Speaker) -> bool {
        let theirs = !by.private || by.presser == by.chat;
        by.approver == ApproverKind::Telegram && theirs && self.rules().administrators.contains(&by.chat)
    }

    async fn preferences(&self, approver: ApproverKind, chat: &str) -> Result<Preferences, StoreError> {
        self.parts.store.preferences(approver, chat).await
    }

    /// How a chat is spoken to that we write to unasked.
    async fn tone_at(&self, chat: &str, tag: Option<&str>) -> Tone {
        let preferences = self.preferences(ApproverKind::Telegram, chat).await.unwrap_or_default();
        self.parts.voice.tone_of(&preferences, heard(tag).as_ref())
    }

    /// The language somebody's client speaks, while nothing else can be asked.
    fn spoken(&self, by: &Speaker) -> Language {
        self.parts.voice.tone_of(&Preferences::default(), heard(by.language.as_deref()).as_ref()).language().clone()
    }

    fn say(&self, language: &Language, id: &str, arguments: &[(&str, Value<'_>)]) -> String {
        self.parts.voice.messages.say(language, id, arguments)
    }

    /// An answer to a press that leaves its message as it is.
    fn note(&self, language: &Language, id: &str, arguments: &[(&str, Value<'_>)]) -> ActReply {
        ActReply { note: self.say(language, id, arguments), alert: true, then: Then::Stay }
    }

    fn greeting(&self, person: &Person<'_>) -> Post {
        if !person.by.private {
            return Post::text(self.say(&person.language, "bot-greeting-group", &[]));
        }
        let id = match self.rules().enrolment.self_registration {
            true => "bot-greeting-register",
            false => "bot-greeting",
        };
        Post::text(self.say(&person.language, id, &[("chat", person.by.chat.as_str().into())]))
    }
}

impl Rules {
    /// Those of a configuration.
    pub(super) fn of(config: &config::Config) -> Self {
        let telegram = config.telegram.as_ref();
        let administrators = telegram.map(|telegram| telegram.administrators.iter().map(ToString::to_string).collect());
        Self {
            enrolment: config.enrolment,
            administrators: administrators.unwrap_or_default(),
            strike_notices: telegram.is_some_and(|telegram| telegram.strike_notices),
        }
    }
}

impl Person<'_> {
    fn is_stranger(&self) -> bool {
        self.users.is_empty() && !self.administrator
    }

    /// Who, for sessions and their decisions. In a private chat the person has the chat's number.
    fn who(&self) -> String {
        match self.by.private {
            true => format!("{}:{}", self.by.approver, self.by.presser),
            false => format!("{}:{}@{}", self.by.approver, self.by.presser, self.by.chat),
        }
    }

    /// For the record: who did what from where.
    fn act(&self, at: Timestamp, act: &str, subject: impl ToString, detail: impl Into<String>) -> AuditEntry {
        AuditEntry {
            at,
            who: format!("{}:{}", self.by.approver, self.by.presser),
            through: self.by.approver.to_string(),
            origin: format!("chat {}", self.by.chat),
            act: act.to_owned(),
            subject: subject.to_string(),
            detail: detail.into(),
        }
    }
}

impl<'a> Said<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.trim();
        let Some(rest) = text.strip_prefix('/') else { return Self { command: String::new(), rest: text } };
        let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let command = word.split('@').next().unwrap_or_default().to_lowercase();
        Self { command, rest: rest.trim() }
    }
}

/// The language a client says it speaks.
fn heard(tag: Option<&str>) -> Option<Language> {
    tag?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_from_what_follows_and_from_talk() {
        for (text, command, rest) in [
            ("/start", "start", ""),
            (" /Start@radhold_bot  abc-DEF ", "start", "abc-DEF"),
            ("/enrol alice smith", "enrol", "alice smith"),
            ("123456", "", "123456"),
            ("/", "", ""),
        ] {
            assert_eq!(Said::read(text), Said { command: command.into(), rest }, "{text:?}");
        }
    }
}
