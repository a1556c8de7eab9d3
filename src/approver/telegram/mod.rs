//! Telegram as approver: two buttons in a chat, and a long poll for presses (Bot API over HTTPS, through teloxide).
//!
//! | file | what it is |
//! |---|---|
//! | `texts.rs` | every word a person reads, and the keyboard; pure |
//! | `api.rs` | the calls we make, each with its time limit |
//! | `failure.rs` | what a failed call means for the caller; pure |
//! | `reference.rs` | where the prompts of one question are; pure |
//! | `pace.rs` | when the next message may go out |
//! | `listen.rs` | the long poll |
//! | `webhook.rs` | the other way updates come |
//! | `reception.rs` | what becomes of one update |
//!
//! Never knows a session's state, a store, or who is bound where: it is told. Telegram gives a token's updates to one
//! poll at a time, so only one process may listen with it; any number may ask and tell.

mod api;
mod failure;
mod listen;
mod pace;
mod reception;
mod reference;
mod texts;
mod webhook;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use teloxide::types::{BotCommand, ChatId, InlineKeyboardButton, InlineKeyboardMarkup, UserId};
use tokio::sync::mpsc;
use url::Url;

use self::api::Api;
pub use self::pace::Pace;
use self::pace::Urgency;
use self::reception::Reception;
use self::reference::Reference;
use super::{Approver, AskError, Incoming, Menu, Notice, Post, Question, Tone, Voice};
use crate::model::{ApproverKind, Binding, Secret};
use crate::session::{ANYONE, ButtonKey, Outcome, Place, Verdict};

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
    /// How many messages may go out in what time.
    pub pace: Pace,
    /// The proxy all calls go through: `socks5://`, `http://` or `https://`, with user and password where it wants them.
    pub proxy: Option<Secret>,
    /// Have updates brought here, instead of polling for them.
    pub webhook: Option<Webhook>,
    /// In which words.
    pub voice: Voice,
}

/// Where Telegram brings updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The address Telegram is given: https, and its path is the one that is answered.
    pub url: Url,
    /// Where we listen: behind whatever speaks TLS for `url`.
    pub listen: SocketAddr,
    /// What Telegram sends with each update to prove that it is Telegram: 1 to 256 of letters, digits, `-` and `_`.
    pub secret: Secret,
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
            pace: Pace::default(),
            proxy: None,
            webhook: None,
            voice: Voice::default(),
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
    /// The proxy's address is none. It is not shown: it may hold a password.
    #[error("the proxy is not of the form socks5://HOST:PORT or http://HOST:PORT")]
    BadProxy,
    /// The webhook cannot work as it is set up.
    #[error("the webhook: {0}")]
    BadWebhook(String),
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
        options.webhook.as_ref().map_or(Ok(()), webhook::check)?;
        Ok(Self { api, key, options })
    }

    async fn ask_at(&self, question: &Question, binding: &Binding) -> Result<Reference, AskError> {
        let (chat, presser) = parse_binding(binding)?;
        let tone = self.tone(chat).await;
        let (at, by) = (chat.to_string(), presser.to_string());
        let place = Place { approver: ApproverKind::Telegram, chat: &at, presser: &by };
        let answer = |verdict| self.key.seal(question.session, verdict, place);
        let keyboard = match question.numbers {
            Some(choice) => {
                let number = |number| self.key.seal_number(question.session, number, place);
                texts::number_keyboard(&tone, choice, number, answer(Verdict::Denied))
            }
            None => texts::keyboard(&tone, question.about, answer),
        };
        let message = self.api.send(chat, texts::prompt(&tone, question), Some(keyboard), Urgency::Prompt).await?;
        Ok(Reference { chat, message })
    }

    /// How that chat is spoken to.
    async fn tone(&self, chat: ChatId) -> Tone {
        self.options.voice.tone(ApproverKind::Telegram, &chat.to_string(), None).await
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
        let mut failures = Vec::new();
        for prompt in prompts(reference)? {
            let tone = self.tone(prompt.chat).await;
            if let Err(error) = self.api.edit(prompt, texts::outcome(&tone, question, outcome), None).await {
                failures.push(error);
            }
        }
        // Telling twice is harmless, so one prompt that may still be told makes the whole worth repeating.
        if failures.is_empty() { Ok(()) } else { Err(failure::of_all(failures)) }
    }

    async fn tell_end(&self, reference: &str, question: &Question, outcome: Outcome) -> Result<(), AskError> {
        let Some(ending) = &question.ended else { return Ok(()) };
        let mut failures = Vec::new();
        let mut told = false;
        for prompt in prompts(reference)? {
            let tone = self.tone(prompt.chat).await;
            let done = match tone.is_quiet() {
                // An edit never sounds.
                true => self.api.edit(prompt, texts::outcome(&tone, question, outcome), None).await,
                false => self.api.answer_to(prompt, texts::ended(&tone, question, ending)).await,
            };
            match done {
                Ok(()) => told = true,
                Err(error) => failures.push(error),
            }
        }
        // Told at one of several chats is enough: telling again would tell that one twice.
        if told || failures.is_empty() { Ok(()) } else { Err(failure::of_all(failures)) }
    }

    async fn alert(&self, notice: &Notice) -> Result<(), AskError> {
        match self.options.operator_chat {
            Some(chat) => self
                .api
                .send(ChatId(chat), texts::alert(&self.tone(ChatId(chat)).await, notice), None, Urgency::Notice)
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    async fn post(&self, chat: &str, post: &Post) -> Result<(), AskError> {
        let chat = chat.trim().parse::<i64>().map(ChatId);
        let chat = chat.map_err(|_| AskError::Undeliverable("that is not a Telegram chat id".to_owned()))?;
        // In a private chat the person has the chat's number; in a group nobody in particular is spoken to.
        let presser = u64::try_from(chat.0).ok();
        let keyboard = keyboard_of(&self.key, post, chat, presser);
        let sent = match self.tone(chat).await.is_quiet() {
            true => self.api.send_silently(chat, post.html.clone(), keyboard).await,
            false => self.api.send(chat, post.html.clone(), keyboard, Urgency::Notice).await,
        };
        sent.map(drop)
    }

    async fn name(&self) -> Result<Option<String>, AskError> {
        self.api.name().await.map(Some)
    }

    async fn publish(&self, menus: &[Menu]) -> Result<(), AskError> {
        let mut failed = None;
        for menu in menus {
            let chat = match &menu.chat {
                Some(chat) => Some(ChatId(chat.parse().map_err(|_| AskError::Undeliverable(format!("chat {chat}")))?)),
                None => None,
            };
            let commands = menu.commands.iter().map(|(name, what)| BotCommand::new(name, what)).collect();
            match self.api.offer(chat, menu.language.as_deref(), commands).await {
                // A chat that never wrote to the bot keeps no other from its menu.
                Err(AskError::Undeliverable(reason)) => failed = Some(AskError::Undeliverable(reason)),
                offered => offered?,
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn share_among(&self, nodes: usize) {
        self.api.share_among(nodes);
    }

    async fn listen(&self, incoming: mpsc::Sender<Incoming>) {
        let reception = Arc::new(Reception::new(&self.api, &self.key, incoming, &self.options));
        match &self.options.webhook {
            Some(webhook) => webhook::run(&self.api, &reception, webhook, &self.options).await,
            None => listen::run(&self.api, &reception, &self.options).await,
        }
    }
}

/// The buttons of a post, for the one who is spoken to, or for anybody in the chat.
fn keyboard_of(key: &ButtonKey, post: &Post, chat: ChatId, presser: Option<u64>) -> Option<InlineKeyboardMarkup> {
    if post.buttons.is_empty() {
        return None;
    }
    // A private chat is its owner's, whose number it has; only a group has anybody else in it.
    let private = chat.0 > 0;
    let chat = chat.to_string();
    let presser = match presser {
        _ if private => chat.clone(),
        Some(presser) if !post.open => presser.to_string(),
        _ => ANYONE.to_owned(),
    };
    let place = Place { approver: ApproverKind::Telegram, chat: &chat, presser: &presser };
    Some(InlineKeyboardMarkup::new(post.buttons.iter().map(|row| {
        row.iter()
            .map(|button| InlineKeyboardButton::callback(button.label.clone(), key.seal_act(button.act, place)))
            .collect::<Vec<_>>()
    })))
}

fn prompts(reference: &str) -> Result<Vec<Reference>, AskError> {
    reference::parse(reference)
        .ok_or_else(|| AskError::Undeliverable(format!("{reference:?} names no Telegram message")))
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
