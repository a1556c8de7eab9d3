//! The desk: answers what people write, and does what their buttons ask for, as far as they may.
//!
//! Who somebody is, is what their chat is bound to at that moment; nothing is believed because a button says so. A person learns
//! of nobody else, and a stranger of nothing at all. Sends nothing by itself: whoever carried the message carries the answer.

mod strangers;

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use self::strangers::Strangers;
use super::totp::HeldCodes;
use crate::approver::{ActPressed, ActReply, Message, Post, Speaker};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// What a desk works with.
pub(super) struct Parts {
    pub store: Arc<dyn Store>,
    /// Codes of people whose sessions wait for one.
    pub held_codes: HeldCodes,
}

/// The desk.
pub(super) struct Desk {
    parts: Parts,
    strangers: Mutex<Strangers>,
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
        Self { parts, strangers: Mutex::default() }
    }

    /// Answers something written. Drops the reply when the store does not let it.
    pub(super) async fn message(&self, message: Message) {
        match self.answer(&message.by, &Said::read(&message.text)).await {
            Ok(post) => drop(message.reply.send(post)),
            Err(error) => {
                telemetry::count("message.not-answered");
                tracing::warn!(%error, "a message cannot be answered");
            }
        }
    }

    /// Does what a button asks for. Drops the reply when the store does not let it.
    pub(super) async fn act(&self, pressed: ActPressed) {
        drop(pressed.reply.send(ActReply::default()));
    }

    async fn answer(&self, by: &Speaker, said: &Said<'_>) -> Result<Option<Post>, StoreError> {
        if said.command.is_empty()
            && let Some(outcome) = self.parts.held_codes.code_from_chat(by, said.rest).await?
        {
            return Ok(Some(Post::text(outcome.text())));
        }
        if !by.private && said.command != "start" {
            return Ok(None);
        }
        let may = self.strangers.lock().await.may_be_greeted(&by.chat, Instant::now());
        Ok(may.then(|| greeting(by)))
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

fn greeting(by: &Speaker) -> Post {
    if !by.private {
        return Post::text(
            "Please write to me in a private chat: who can confirm your logins is nobody else's business.",
        );
    }
    let chat = &by.chat;
    Post::text(format!(
        "This bot asks you to confirm your logins.\n\nYour chat id is <code>{chat}</code>. To connect it, the operator runs\n\
         <code>radhold user bind NAME --telegram {chat}</code>\nwith your user name for NAME."
    ))
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
