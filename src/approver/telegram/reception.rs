//! What becomes of one update, however it came: a press is verified and carried to where it is answered, a message too.
//!
//! Knows no session and no user: it carries, and brings the word back. Answers to presses go out at once; other words wait for
//! their turn beside the next updates, so that a chat that is slow to be written to keeps no press waiting.

use std::sync::Arc;
use std::time::Duration;

use teloxide::types::{CallbackQuery, CallbackQueryId, ChatId, Message as Written, Update, UpdateKind, User};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::api::Api;
use super::reference::Reference;
use super::texts::{self, Reply};
use super::{keyboard_of, pace::Urgency};
use crate::approver::{ActPressed, ActReply, Answer, AskError, Incoming, Message, Post, Speaker, Then};
use crate::model::ApproverKind;
use crate::session::{ActPress, ButtonError, ButtonKey, Place, Press, Pressed};
use crate::telemetry;

/// How often the answer to one press is tried. Telegram forgets a press within about a minute.
const ANSWER_TRIES: u32 = 3;
/// The longest wait between two such tries.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// How often words that answer a message are tried.
const POST_TRIES: u32 = 5;
/// The longest wait between two such tries.
const POST_PATIENCE: Duration = Duration::from_secs(60);
/// Words that wait for their turn; more are dropped, and asked for again.
const POSTS: usize = 512;
/// Longest text that is read, in characters; Telegram's own limit.
const LONGEST: usize = 4096;

/// Where updates are handled.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) api: Api,
    pub(super) key: ButtonKey,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) patience: Duration,
    posts: Arc<Semaphore>,
}

impl Reception {
    pub(super) fn new(api: &Api, key: &ButtonKey, incoming: mpsc::Sender<Incoming>, patience: Duration) -> Self {
        Self { api: api.clone(), key: key.clone(), incoming, patience, posts: Arc::new(Semaphore::new(POSTS)) }
    }

    /// Handles one update; `false` when it may not be confirmed, since nobody took it.
    pub(super) async fn handle(&self, update: Update) -> bool {
        let number = i64::from(update.id.0);
        match update.kind {
            UpdateKind::CallbackQuery(query) => self.press(number, query).await,
            UpdateKind::Message(message) => self.message(number, message).await,
            _ => {
                tracing::debug!(update = number, "an update of a kind that was not asked for");
                true
            }
        }
    }

    /// One press: verified, carried, answered once. Left unanswered only when nobody takes answers any more: then it is not
    /// confirmed either, and whoever listens next answers it.
    async fn press(&self, update: i64, query: CallbackQuery) -> bool {
        let at = query.message.as_ref().map(|message| Reference { chat: message.chat().id, message: message.id() });
        let (reply, then) = match self.verify(&query, at) {
            Ok(Pressed::Answer(press)) => match self.carry(press).await {
                Some(reply) => (reply, Then::Stay),
                None => return false,
            },
            Ok(Pressed::Act(press)) => {
                let private = query.message.as_ref().is_some_and(|message| message.chat().is_private());
                match self.carry_act(update, self.speaker(&query.from, press.chat(), private), press).await {
                    Some(ActReply { note, alert, then }) => (Reply::plain(note, alert), then),
                    None => return false,
                }
            }
            Err(error) => {
                tracing::warn!(from = %query.from.id, chat = ?at.map(|at| at.chat.0), %error, "press refused");
                (texts::refused(error), Then::Stay)
            }
        };
        self.answer(query.id, &reply).await;
        let Some(at) = at else { return true };
        match then {
            Then::Become(post) => self.say(Words::Instead(at, query.from.id.0, post)),
            Then::Spent => self.say(Words::Spent(at)),
            Then::Stay if reply.spent => self.say(Words::Spent(at)),
            Then::Stay => {}
        }
        true
    }

    fn verify(&self, query: &CallbackQuery, at: Option<Reference>) -> Result<Pressed, ButtonError> {
        // We send no inline messages, so a press without a chat is not on a button of ours.
        let (Some(at), Some(data)) = (at, &query.data) else { return Err(ButtonError::Foreign) };
        let (chat, presser) = (at.chat.to_string(), query.from.id.to_string());
        self.key.redeem_any(data, Place { approver: ApproverKind::Telegram, chat: &chat, presser: &presser })
    }

    /// Carries an answer to its session; `None` when nobody takes answers any more.
    async fn carry(&self, press: Press) -> Option<Reply> {
        let verdict = press.verdict();
        let (reply, word) = oneshot::channel();
        match self.hand_over(Incoming::Press(Answer { press, reply }), word).await {
            Word::Said(told) => Some(texts::told(verdict, told)),
            Word::NotTaken => Some(texts::NOT_TAKEN),
            Word::NotYet(_) => Some(texts::UNSETTLED),
            Word::Nobody => None,
        }
    }

    async fn carry_act(&self, update: i64, by: Speaker, press: ActPress) -> Option<ActReply> {
        let (reply, word) = oneshot::channel();
        let plain = |reply: Reply| ActReply { note: reply.text.into_owned(), alert: reply.alert, then: Then::Stay };
        match self.hand_over(Incoming::Act(ActPressed { update, by, press, reply }), word).await {
            Word::Said(reply) => Some(reply),
            Word::NotTaken => Some(plain(texts::NOT_TAKEN)),
            Word::NotYet(_) => Some(plain(texts::UNSETTLED)),
            Word::Nobody => None,
        }
    }

    async fn message(&self, update: i64, message: Written) -> bool {
        // What comes in the name of a chat or a channel is nobody's word.
        let anonymous = message.sender_chat.is_some();
        let Some(from) = message.from.as_ref().filter(|from| !from.is_bot && !anonymous) else { return true };
        let private = message.chat.is_private();
        let text: String = message.text().unwrap_or_default().chars().take(LONGEST).collect();
        // In a group people talk to each other; only what is a command can be meant for us.
        if !private && !text.starts_with('/') {
            return true;
        }
        let chat = message.chat.id;
        let (reply, word) = oneshot::channel();
        let by = self.speaker(from, &chat.to_string(), private);
        let from = from.id.0;
        match self.hand_over(Incoming::Message(Message { update, by, text, reply }), word).await {
            Word::Said(Some(post)) => self.say(Words::Post(chat, from, post)),
            Word::Said(None) => {}
            // What it takes long to find out is said when it is known.
            Word::NotYet(word) => {
                let reception = self.clone();
                tokio::spawn(async move {
                    if let Ok(Ok(Some(post))) = tokio::time::timeout(POST_PATIENCE, word).await {
                        reception.say(Words::Post(chat, from, post));
                    }
                });
            }
            // Nothing was done, and what is not confirmed comes again; but not in a hurry, and not for ever.
            Word::NotTaken => telemetry::count("message.not-taken"),
            Word::Nobody => return false,
        }
        true
    }

    fn speaker(&self, from: &User, chat: &str, private: bool) -> Speaker {
        Speaker {
            approver: ApproverKind::Telegram,
            line: self.api.line().to_owned(),
            chat: chat.to_owned(),
            private,
            presser: from.id.to_string(),
            name: from.full_name(),
            language: from.language_code.clone(),
        }
    }

    async fn hand_over<T>(&self, incoming: Incoming, mut word: oneshot::Receiver<T>) -> Word<T> {
        let deadline = Instant::now() + self.patience;
        match self.incoming.send_timeout(incoming, self.patience).await {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => return Word::NotTaken,
            Err(SendTimeoutError::Closed(_)) => return Word::Nobody,
        }
        match tokio::time::timeout_at(deadline, &mut word).await {
            Ok(Ok(said)) => Word::Said(said),
            Ok(Err(_)) if self.incoming.is_closed() => Word::Nobody,
            Ok(Err(_)) => Word::NotTaken,
            Err(_) => Word::NotYet(word),
        }
    }

    /// Answers a press. Trying again after a lost answer is harmless: Telegram takes the first only.
    async fn answer(&self, query: CallbackQueryId, reply: &Reply) {
        let mut wait = Duration::from_millis(300);
        for tries_left in (0..ANSWER_TRIES).rev() {
            match self.api.answer(query.clone(), &reply.text, reply.alert).await {
                Ok(()) => return,
                Err(AskError::Later { after, .. })
                    if tries_left > 0 && after.is_none_or(|after| after <= ANSWER_PATIENCE) =>
                {
                    tokio::time::sleep(after.unwrap_or(wait)).await;
                    wait = (wait * 2).min(ANSWER_PATIENCE);
                }
                Err(error) => {
                    tracing::warn!(%error, "a press stays unanswered");
                    return;
                }
            }
        }
    }

    /// Says it when its turn comes; waits for nothing here.
    fn say(&self, words: Words) {
        let Ok(place) = Arc::clone(&self.posts).try_acquire_owned() else {
            telemetry::count("message.unanswered");
            return;
        };
        let reception = self.clone();
        tokio::spawn(async move {
            let mut wait = Duration::from_secs(1);
            for tries_left in (0..POST_TRIES).rev() {
                match reception.said(&words).await {
                    Ok(()) => break,
                    Err(AskError::Later { after, .. }) if tries_left > 0 => {
                        tokio::time::sleep(after.unwrap_or(wait).min(POST_PATIENCE)).await;
                        wait = (wait * 2).min(POST_PATIENCE);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "somebody who wrote or pressed stays without words");
                        break;
                    }
                }
            }
            drop(place);
        });
    }

    async fn said(&self, words: &Words) -> Result<(), AskError> {
        match words {
            Words::Post(chat, presser, post) => {
                let keyboard = keyboard_of(&self.key, post, *chat, Some(*presser));
                self.api.send(*chat, post.html.clone(), keyboard, Urgency::Notice).await.map(drop)
            }
            Words::Instead(at, presser, post) => {
                let keyboard = keyboard_of(&self.key, post, at.chat, Some(*presser));
                self.api.edit(*at, post.html.clone(), keyboard).await
            }
            Words::Spent(at) => self.api.drop_buttons(*at).await,
        }
    }
}

enum Words {
    Post(ChatId, u64, Post),
    Instead(Reference, u64, Post),
    Spent(Reference),
}

/// What became of something that was handed over.
enum Word<T> {
    Said(T),
    NotTaken,
    NotYet(oneshot::Receiver<T>),
    Nobody,
}
