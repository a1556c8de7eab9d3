//! The Bot API calls we make, each with its time limit and its failures in our terms.
//!
//! Knows no question and no session: chats, messages and texts only.

use std::future::IntoFuture;
use std::time::Duration;

use teloxide::payloads::{
    AnswerCallbackQuerySetters as _, EditMessageTextSetters as _, GetMyCommandsSetters as _, GetUpdatesSetters as _,
    SendMessageSetters as _, SetMyCommandsSetters as _, SetWebhookSetters as _,
};
use teloxide::prelude::Requester as _;
use teloxide::types::{
    AllowedUpdate, BotCommand, BotCommandScope, CallbackQueryId, ChatId, InlineKeyboardMarkup, LinkPreviewOptions,
    MessageId, ParseMode, Recipient, ReplyParameters, Update,
};
use teloxide::{Bot, RequestError};
use url::Url;

use super::failure;
use super::pace::{Gate, Urgency};
use super::reference::Reference;
use super::{TelegramError, TelegramOptions};
use crate::approver::AskError;
use crate::model::Secret;

/// The Bot API, for one token.
#[derive(Clone)]
pub(super) struct Api {
    bot: Bot,
    poll: Duration,
    longest_poll: Duration,
    limit: Duration,
    gate: Gate,
}

/// Why a poll brought nothing.
pub(super) enum NoUpdates {
    /// Another poll with the same token has ended it.
    Elsewhere,
    /// Updates go to a webhook, as long as one is set.
    Webhook,
    /// It failed.
    Failed(AskError),
}

impl Api {
    /// Sets the client up; connects to nothing.
    pub(super) fn new(options: &TelegramOptions) -> Result<Self, TelegramError> {
        let token = std::str::from_utf8(options.token.expose()).map_err(|_| TelegramError::BadToken)?.trim();
        if !is_token(token) {
            return Err(TelegramError::BadToken);
        }
        let mut client = teloxide::net::default_reqwest_settings()
            .timeout(longest(options))
            // The token is part of the address, and a Referer would carry it to wherever an answer redirects.
            .referer(false);
        if let Some(proxy) = &options.proxy {
            client = client.proxy(proxy_of(proxy)?);
        } else if options.api_url.as_ref().is_some_and(is_on_this_host) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| TelegramError::Client(error.to_string()))?;
        let mut bot = Bot::with_client(token, client);
        if let Some(url) = &options.api_url {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(TelegramError::BadUrl(url.to_string()));
            }
            let mut url = url.clone();
            // teloxide appends path segments, and would keep the empty one that a trailing slash stands for.
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty();
            }
            bot = bot.set_api_url(url);
        }
        Ok(Self {
            bot,
            poll: options.poll_timeout,
            longest_poll: longest(options),
            limit: options.request_timeout,
            gate: Gate::new(options.pace),
        })
    }

    /// So many nodes send with this token.
    pub(super) fn share_among(&self, nodes: usize) {
        self.gate.share_among(nodes);
    }

    /// The bot's number, which its token begins with.
    pub(super) fn line(&self) -> &str {
        self.bot.token().split(':').next().unwrap_or_default()
    }

    /// The bot's user name, without the @.
    pub(super) async fn name(&self) -> Result<String, AskError> {
        let me = self.bounded(self.bot.get_me()).await?.map_err(|error| failure::classify(&error))?;
        Ok(me.username().to_owned())
    }

    /// Makes the bot offer these commands there, unless it does already.
    pub(super) async fn offer(
        &self,
        chat: Option<ChatId>,
        language: Option<&str>,
        commands: Vec<BotCommand>,
    ) -> Result<(), AskError> {
        let scope = match chat {
            Some(chat) => BotCommandScope::Chat { chat_id: Recipient::Id(chat) },
            None => BotCommandScope::AllPrivateChats,
        };
        let language = language.unwrap_or_default();
        let offered = self.bot.get_my_commands().scope(scope.clone()).language_code(language);
        let offered = self.bounded(offered).await?.map_err(|error| failure::classify(&error))?;
        if offered == commands {
            return Ok(());
        }
        let call = self.bot.set_my_commands(commands).scope(scope).language_code(language);
        self.bounded(call).await?.map(drop).map_err(|error| failure::classify(&error))
    }

    /// Has updates brought there; what waits already comes too.
    pub(super) async fn set_webhook(&self, url: Url, secret: &str) -> Result<(), AskError> {
        let call = self.bot.set_webhook(url).secret_token(secret.to_owned()).allowed_updates(wanted());
        self.bounded(call).await?.map(drop).map_err(|error| failure::classify(&error))
    }

    /// Has updates kept for a poll.
    pub(super) async fn delete_webhook(&self) -> Result<(), AskError> {
        self.bounded(self.bot.delete_webhook()).await?.map(drop).map_err(|error| failure::classify(&error))
    }

    /// Sends a message of HTML, when its turn has come.
    pub(super) async fn send(
        &self,
        chat: ChatId,
        html: String,
        keyboard: Option<InlineKeyboardMarkup>,
        urgency: Urgency,
    ) -> Result<MessageId, AskError> {
        self.message(chat, html, keyboard, urgency, false).await
    }

    /// The same of something that is no question, where only questions may sound.
    pub(super) async fn send_silently(
        &self,
        chat: ChatId,
        html: String,
        keyboard: Option<InlineKeyboardMarkup>,
    ) -> Result<MessageId, AskError> {
        self.message(chat, html, keyboard, Urgency::Notice, true).await
    }

    async fn message(
        &self,
        chat: ChatId,
        html: String,
        keyboard: Option<InlineKeyboardMarkup>,
        urgency: Urgency,
        silent: bool,
    ) -> Result<MessageId, AskError> {
        let mut call = self.bot.send_message(chat, html).parse_mode(ParseMode::Html).link_preview_options(no_preview());
        if silent {
            call = call.disable_notification(true);
        }
        if let Some(keyboard) = keyboard {
            call = call.reply_markup(keyboard);
        }
        let sent = self.paced(chat, urgency, call).await?;
        sent.map(|message| message.id).map_err(|error| failure::classify(&error))
    }

    /// Sends a message of HTML in reply to another one, or by itself when that is gone.
    pub(super) async fn answer_to(&self, at: Reference, html: String) -> Result<(), AskError> {
        let call = self
            .bot
            .send_message(at.chat, html)
            .parse_mode(ParseMode::Html)
            .link_preview_options(no_preview())
            .reply_parameters(ReplyParameters::new(at.message).allow_sending_without_reply());
        let sent = self.paced(at.chat, Urgency::Notice, call).await?;
        sent.map(drop).map_err(|error| failure::classify(&error))
    }

    /// Replaces a message's text and buttons; without any, its buttons go. A message that is gone, or says so already, is done.
    pub(super) async fn edit(
        &self,
        at: Reference,
        html: String,
        keyboard: Option<InlineKeyboardMarkup>,
    ) -> Result<(), AskError> {
        // Without reply_markup the keyboard goes (Bot API, editMessageText).
        let mut call = self
            .bot
            .edit_message_text(at.chat, at.message, html)
            .parse_mode(ParseMode::Html)
            .link_preview_options(no_preview());
        if let Some(keyboard) = keyboard {
            call = call.reply_markup(keyboard);
        }
        edited(self.paced(at.chat, Urgency::Notice, call).await?)
    }

    /// Takes a message's buttons away and leaves its text: whoever knows how it ended writes that.
    pub(super) async fn drop_buttons(&self, at: Reference) -> Result<(), AskError> {
        let call = self.bot.edit_message_reply_markup(at.chat, at.message);
        edited(self.paced(at.chat, Urgency::Notice, call).await?)
    }

    /// Answers a press.
    pub(super) async fn answer(&self, query: CallbackQueryId, text: &str, alert: bool) -> Result<(), AskError> {
        let answered = self.bounded(self.bot.answer_callback_query(query).text(text).show_alert(alert)).await?;
        answered.map(drop).map_err(|error| failure::classify(&error))
    }

    /// Waits for updates. Those before `offset` are confirmed by this and never come again.
    pub(super) async fn updates(&self, offset: Option<i32>) -> Result<Vec<Update>, NoUpdates> {
        // Zero would be a short poll, and a loop of those never rests.
        let seconds = u32::try_from(self.poll.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut call = self.bot.get_updates().timeout(seconds).allowed_updates(wanted());
        if let Some(offset) = offset {
            call = call.offset(offset);
        }
        let limit = self.longest_poll;
        match tokio::time::timeout(limit, call.into_future()).await {
            Ok(Ok(updates)) => Ok(updates),
            Ok(Err(error)) if failure::is_polled_elsewhere(&error) => Err(NoUpdates::Elsewhere),
            Ok(Err(error)) if failure::is_webhook_set(&error) => Err(NoUpdates::Webhook),
            Ok(Err(error)) => Err(NoUpdates::Failed(failure::classify(&error))),
            Err(_) => Err(NoUpdates::Failed(failure::timed_out(limit))),
        }
    }

    /// Makes a call that counts against Telegram's limits.
    async fn paced<T>(
        &self,
        chat: ChatId,
        urgency: Urgency,
        call: impl IntoFuture<Output = Result<T, RequestError>>,
    ) -> Result<Result<T, RequestError>, AskError> {
        let turn = self.gate.turn(chat.0, urgency).await?;
        let answer = self.bounded(call).await;
        drop(turn);
        if let Ok(Err(RequestError::RetryAfter(wait))) = &answer {
            self.gate.refused(chat.0, wait.duration());
        }
        answer
    }

    async fn bounded<T>(
        &self,
        call: impl IntoFuture<Output = Result<T, RequestError>>,
    ) -> Result<Result<T, RequestError>, AskError> {
        let answer = tokio::time::timeout(self.limit, call.into_future()).await;
        answer.map_err(|_| failure::timed_out(self.limit))
    }
}

fn wanted() -> [AllowedUpdate; 2] {
    [AllowedUpdate::Message, AllowedUpdate::CallbackQuery]
}

/// A proxy that carries every call. Names are resolved by it, not here: a host that needs one may not know them.
fn proxy_of(proxy: &Secret) -> Result<reqwest::Proxy, TelegramError> {
    let text = std::str::from_utf8(proxy.expose()).map_err(|_| TelegramError::BadProxy)?.trim();
    let url = Url::parse(text).map_err(|_| TelegramError::BadProxy)?;
    let scheme = match url.scheme() {
        "socks5" | "socks5h" => "socks5h",
        "http" => "http",
        "https" => "https",
        _ => return Err(TelegramError::BadProxy),
    };
    let rest = text.split_once("://").ok_or(TelegramError::BadProxy)?.1;
    if url.host().is_none() {
        return Err(TelegramError::BadProxy);
    }
    reqwest::Proxy::all(format!("{scheme}://{rest}")).map_err(|_| TelegramError::BadProxy)
}

fn edited<T>(answer: Result<T, RequestError>) -> Result<(), AskError> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if failure::nothing_to_edit(&error) => Ok(()),
        Err(error) => Err(failure::classify(&error)),
    }
}

/// What a poll may take: its own wait and the way there and back.
fn longest(options: &TelegramOptions) -> Duration {
    options.poll_timeout.max(Duration::from_secs(1)).saturating_add(options.request_timeout)
}

/// Digits, a colon, and what base64url is made of: anything else would change the address it becomes part of.
fn is_token(token: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    token.split_once(':').is_some_and(|(id, word)| {
        !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()) && !word.is_empty() && word.chars().all(is_word)
    })
}

/// A Bot API server on this host is never behind a proxy, whatever the environment says.
fn is_on_this_host(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}
