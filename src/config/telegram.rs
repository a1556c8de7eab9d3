//! `[telegram]`: the bot that asks, and how Telegram is reached, or reaches us.

use std::net::SocketAddr;

use url::Url;

use super::reader::Section;
use super::values::address_with_port;
use crate::model::Secret;

/// Where a webhook is listened for, unless its address says otherwise.
const WEBHOOK_PORT: u16 = 8443;

/// The bot that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    /// The bot's token.
    pub token: Secret,
    /// Base URL of the Bot API.
    pub api_url: Url,
    /// The id of the chat that gets alerts.
    pub operator_chat: Option<i64>,
    /// The ids of the chats in which administrators speak.
    pub administrators: Vec<i64>,
    /// Whether they are told of denied logins.
    pub strike_notices: bool,
    /// The bot's user name; `None` asks Telegram.
    pub bot_name: Option<String>,
    /// The proxy to Telegram.
    pub proxy: Option<Secret>,
    /// Messages a second, at most, of all nodes together.
    pub messages_per_second: u32,
    /// `[telegram.webhook]`; `None` polls.
    pub webhook: Option<TelegramWebhook>,
}

/// Where Telegram brings updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelegramWebhook {
    /// The address Telegram is given.
    pub url: Url,
    /// Where we listen.
    pub listen: SocketAddr,
    /// What Telegram proves itself by.
    pub secret: Secret,
}

pub(super) fn telegram(mut section: Section<'_>) -> Option<Telegram> {
    let missing = !section.has("token") && !section.has("token_file");
    let token = section.secret("token");
    if missing {
        section.problem("token", "is missing; take it from @BotFather and put it here or in token_file");
    }
    let shaped = |token: &Secret| {
        let (id, rest) = std::str::from_utf8(token.expose()).ok()?.split_once(':')?;
        (id.bytes().all(|octet| octet.is_ascii_digit()) && !id.is_empty() && !rest.is_empty()).then_some(())
    };
    if token.as_ref().is_some_and(|token| shaped(token).is_none()) {
        section.problem("token", "is no bot token; it looks like 123456789:AbCdEf…");
    }
    let api_url = section.parsed("api_url", "an http or https URL", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("another scheme".to_owned()) }
    });
    let operator_chat = section.number("operator_chat", i64::MIN);
    let administrators =
        section.list("administrators", "a chat id", |text| text.parse::<i64>().map_err(|error| error.to_string()));
    let strike_notices = section.boolean("strike_notices").unwrap_or(true);
    let bot_name = section.parsed("bot_name", "the bot's user name, without the @", |text| {
        let fine = text.len() >= 5 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if fine { Ok(text.to_owned()) } else { Err("letters, digits and _, five or more".to_owned()) }
    });
    let proxy = section.secret("proxy");
    if proxy.as_ref().is_some_and(|proxy| !is_proxy(proxy)) {
        section.problem("proxy", "is no proxy; write socks5://HOST:PORT or http://USER:PASSWORD@HOST:PORT");
    }
    let messages_per_second = section.number("messages_per_second", 1).unwrap_or(30);
    let webhook_section = section.section("webhook");
    let has_webhook = webhook_section.is_present();
    let webhook = if has_webhook { telegram_webhook(webhook_section) } else { None };
    section.finish();
    let api_url = api_url.unwrap_or_else(|| Url::parse("https://api.telegram.org").expect("a constant"));
    Some(Telegram {
        token: token?,
        api_url,
        operator_chat,
        administrators: administrators.unwrap_or_default(),
        strike_notices,
        bot_name,
        proxy,
        messages_per_second,
        webhook,
    })
}

fn is_proxy(proxy: &Secret) -> bool {
    let url = std::str::from_utf8(proxy.expose()).ok().and_then(|text| Url::parse(text.trim()).ok());
    url.is_some_and(|url| matches!(url.scheme(), "socks5" | "socks5h" | "http" | "https") && url.has_host())
}

fn telegram_webhook(mut section: Section<'_>) -> Option<TelegramWebhook> {
    for key in ["url", "listen"] {
        if !section.has(key) {
            section.problem(key, "is missing; a webhook needs it");
        }
    }
    let no_secret = !section.has("secret") && !section.has("secret_file");
    let url = section.parsed("url", "an https URL", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.scheme() == "https" { Ok(url) } else { Err("Telegram brings updates to https alone".to_owned()) }
    });
    let listen = section.parsed("listen", "an address with port", |text| address_with_port(text, WEBHOOK_PORT));
    if no_secret {
        section.problem("secret", "is missing; draw one with `openssl rand -hex 32`");
    }
    let secret = section.secret("secret");
    let fits = |secret: &Secret| {
        let octets = secret.expose();
        (16..=256).contains(&octets.len())
            && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    if secret.as_ref().is_some_and(|secret| !fits(secret)) {
        section.problem("secret", "is none Telegram takes: 16 to 256 of letters, digits, - and _");
    }
    section.finish();
    Some(TelegramWebhook { url: url?, listen: listen?, secret: secret? })
}
