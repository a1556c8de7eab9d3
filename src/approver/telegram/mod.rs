//! Telegram as approver: two buttons in a chat, and a long poll for presses (Bot API over HTTPS, through teloxide).
//!
//! | file | what it is |
//! |---|---|
//! | `texts.rs` | every word a person reads, and the keyboard; pure |
//! | `api.rs` | the calls we make, each with its time limit |
//! | `failure.rs` | what a failed call means for the caller; pure |
//! | `reference.rs` | where the prompts of one question are; pure |
//! | `listen.rs` | the long poll, presses and greetings |
//!
//! Never knows a session's state, a store, or who is bound where: it is told. Telegram gives a token's updates to one
//! poll at a time, so only one process may listen with it; any number may ask and tell.

mod api;
mod failure;
mod listen;
mod reference;
mod texts;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use teloxide::types::{ChatId, UserId};
use tokio::sync::mpsc;
use url::Url;

use self::api::Api;
use self::reference::Reference;
use super::{Answer, Approver, AskError, Question};
use crate::model::{ApproverKind, Binding, Secret};
use crate::session::{ButtonKey, Outcome, Place, Verdict};

/// How Telegram is reached, and how patiently.
#[derive(Debug, Clone)]
pub struct TelegramOptions {
    /// The bot's token, as BotFather gave it: `123456:ABC…`.
    pub token: Secret,
    /// Where the Bot API is; `None` is Telegram's own.
    pub api_url: Option<Url>,
    /// The chat that hears of alerts; `None` sends them nowhere.
    pub operator_chat: Option<i64>,
    /// How long one `getUpdates` waits at Telegram for something to happen.
    pub poll_timeout: Duration,
    /// The longest any other call may take, and what a poll may take beyond its own wait.
    pub request_timeout: Duration,
    /// How long a press waits for its session's word before the presser is told that it is not settled yet.
    pub told_timeout: Duration,
    /// The wait after a first failed poll; doubles with each further one.
    pub backoff_first: Duration,
    /// The longest such wait.
    pub backoff_most: Duration,
    /// How often one chat is told its id.
    pub greeting_every: Duration,
}

impl TelegramOptions {
    /// The defaults, with this token.
    pub fn new(token: Secret) -> Self {
        Self {
            token,
            api_url: None,
            operator_chat: None,
            poll_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(8),
            told_timeout: Duration::from_secs(8),
            backoff_first: Duration::from_millis(500),
            backoff_most: Duration::from_secs(30),
            greeting_every: Duration::from_secs(30),
        }
    }
}

/// Why Telegram cannot be used as it is set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelegramError {
    /// The token is not of the form BotFather gives. It is not shown.
    #[error("the Telegram token is not of the form 123456:ABC-def_…")]
    BadToken,
    /// The address of the Bot API is not an http or https address.
    #[error("{0} is not an http or https address of a Bot API")]
    BadUrl(String),
    /// No HTTP client could be set up on this host.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Telegram.
pub struct Telegram {
    api: Api,
    key: ButtonKey,
    options: TelegramOptions,
}

impl Telegram {
    /// Sets Telegram up. Contacts nobody yet.
    ///
    /// # Errors
    /// [`TelegramError`] when the token or the address cannot be right.
    pub fn new(options: TelegramOptions, key: ButtonKey) -> Result<Self, TelegramError> {
        let api = Api::new(&options)?;
        Ok(Self { api, key, options })
    }

    async fn ask_at(&self, question: &Question, binding: &Binding) -> Result<Reference, AskError> {
        let (chat, presser) = parse_binding(binding)?;
        let (at, by) = (chat.to_string(), presser.to_string());
        let place = Place { approver: ApproverKind::Telegram, chat: &at, presser: &by };
        let answer = |verdict| self.key.seal(question.session, verdict, place);
        let keyboard = match question.numbers {
            Some(choice) => {
                let number = |number| self.key.seal_number(question.session, number, place);
                texts::number_keyboard(choice, number, answer(Verdict::Denied))
            }
            None => texts::keyboard(answer),
        };
        let message = self.api.send(chat, texts::prompt(question), Some(keyboard)).await?;
        Ok(Reference { chat, message })
    }
}

// Written out because a derived one would print the token inside teloxide's `Bot`.
impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Approver for Telegram {
    fn kind(&self) -> ApproverKind {
        ApproverKind::Telegram
    }

    async fn ask(&self, question: &Question, bindings: &[Binding]) -> Result<String, AskError> {
        let mut places = BTreeSet::new();
        let mut sent = Vec::new();
        let mut failures = Vec::new();
        for binding in bindings.iter().filter(|binding| binding.approver == ApproverKind::Telegram) {
            if !places.insert((&binding.address, &binding.presser)) {
                continue;
            }
            match self.ask_at(question, binding).await {
                Ok(reference) => sent.push(reference),
                Err(error) => {
                    tracing::warn!(session = %question.session, chat = %binding.address, %error, "prompt not delivered");
                    failures.push(error);
                }
            }
        }
        // One delivered prompt is enough to answer; asking the others again would ask this one twice.
        if sent.is_empty() { Err(failure::of_all(failures)) } else { Ok(reference::print(&sent)) }
    }

    async fn tell(&self, reference: &str, question: &Question, outcome: Outcome) -> Result<(), AskError> {
        let prompts = reference::parse(reference)
            .ok_or_else(|| AskError::Undeliverable(format!("{reference:?} names no Telegram message")))?;
        let text = texts::outcome(question, outcome);
        let mut failures = Vec::new();
        for prompt in prompts {
            if let Err(error) = self.api.edit(prompt, text.clone()).await {
                failures.push(error);
            }
        }
        // Telling twice is harmless, so one prompt that may still be told makes the whole worth repeating.
        if failures.is_empty() { Ok(()) } else { Err(failure::of_all(failures)) }
    }

    async fn alert(&self, text: &str) -> Result<(), AskError> {
        match self.options.operator_chat {
            Some(chat) => self.api.send(ChatId(chat), texts::alert(text), None).await.map(drop),
            None => Ok(()),
        }
    }

    async fn listen(&self, answers: mpsc::Sender<Answer>) {
        listen::run(&self.api, &self.key, &self.options, answers).await;
    }
}

/// The chat and the person of a binding. A group is no person: there the presser must be a user's own id.
fn parse_binding(binding: &Binding) -> Result<(ChatId, UserId), AskError> {
    let chat = binding.address.trim().parse::<i64>().map_err(|_| {
        AskError::Undeliverable(format!("the binding's chat {:?} is not a Telegram chat id", binding.address))
    })?;
    let presser = binding.presser.trim().parse::<u64>().map_err(|_| {
        AskError::Undeliverable(format!("the binding's presser {:?} is not a Telegram user id", binding.presser))
    })?;
    Ok((ChatId(chat), UserId(presser)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timestamp, UserName};

    fn binding(address: &str, presser: &str) -> Binding {
        Binding {
            user: UserName::new("alice"),
            approver: ApproverKind::Telegram,
            address: address.into(),
            presser: presser.into(),
            bound_at: Timestamp::default(),
        }
    }

    fn options(token: &str) -> TelegramOptions {
        TelegramOptions::new(Secret::new(token))
    }

    #[test]
    fn a_binding_names_a_chat_and_a_person() {
        assert_eq!(parse_binding(&binding("42", "42")), Ok((ChatId(42), UserId(42))));
        assert_eq!(parse_binding(&binding("-100500", "42")), Ok((ChatId(-100_500), UserId(42))));
        for (address, presser) in [("-100500", "-100500"), ("@alice", "42"), ("42", ""), ("", "42")] {
            let refused = parse_binding(&binding(address, presser));
            assert!(matches!(refused, Err(AskError::Undeliverable(_))), "{address} {presser}: {refused:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_at_once_and_the_token_is_not_shown() {
        let key = ButtonKey::new(&Secret::new("cluster"));
        for token in ["", "abc", "12:a/b", ":abc", "12:", "12:a b"] {
            assert_eq!(Telegram::new(options(token), key.clone()).unwrap_err(), TelegramError::BadToken, "{token:?}");
        }
        let ftp = TelegramOptions { api_url: Some(Url::parse("ftp://x/").unwrap()), ..options("12:abc") };
        assert!(matches!(Telegram::new(ftp, key.clone()).unwrap_err(), TelegramError::BadUrl(_)));
        let telegram = Telegram::new(options("12:sesame"), key).unwrap();
        assert!(!format!("{telegram:?}").contains("sesame"));
    }
}
