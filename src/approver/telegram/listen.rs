//! The long poll: presses become answers, strangers are greeted, outages are waited out.
//!
//! An update is confirmed (by the next poll's offset) only after it was handled, so a crash in between brings it
//! again; that is harmless, since a press that took effect is told "already confirmed" the second time. Updates of one
//! poll are handled side by side: one slow session does not keep the others waiting. Knows no session: it carries
//! verified presses there, and the session's word back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use teloxide::types::{CallbackQuery, CallbackQueryId, ChatId, Message, Update, UpdateKind};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TelegramOptions;
use super::api::{Api, NoUpdates};
use super::reference::Reference;
use super::texts::{self, Reply};
use crate::approver::{Answer, AskError};
use crate::model::ApproverKind;
use crate::session::{ButtonError, ButtonKey, Place, Press};

/// How long presses in hand may take to be answered when listening ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// A poll that brings nothing sooner than this was not a long one (a proxy's invention, say) and is followed by a rest.
const TOO_QUICK: Duration = Duration::from_millis(200);
/// How often the answer to one press is tried. Telegram forgets a press within about a minute.
const ANSWER_TRIES: u32 = 3;
/// The longest wait between two such tries.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// How many chats are remembered as greeted.
const GREETED: usize = 1024;

/// Polls until `answers` is closed, or another poll with this token ends ours.
pub(super) async fn run(api: &Api, key: &ButtonKey, options: &TelegramOptions, answers: mpsc::Sender<Answer>) {
    let desk =
        Arc::new(Desk { api: api.clone(), key: key.clone(), answers: answers.clone(), patience: options.told_timeout });
    let mut backoff = Backoff::new(options.backoff_first, options.backoff_most);
    let mut greeted = Greeted::new(options.greeting_every);
    let mut offset = None;
    loop {
        let asked_at = Instant::now();
        let polled = tokio::select! {
            biased;
            () = answers.closed() => return,
            polled = api.updates(offset) => polled,
        };
        match polled {
            Ok(updates) => {
                if backoff.reset() {
                    tracing::info!("Telegram can be polled again");
                }
                // An empty answer confirms all before the offset. Leaving it out from then on matters after a quiet
                // week, when Telegram draws a new, possibly smaller, first update id.
                let idle = updates.is_empty() && asked_at.elapsed() < TOO_QUICK;
                offset = updates.last().map(|last| last.id.as_offset());
                if !desk.handle_all(updates, &mut greeted).await {
                    return;
                }
                if idle {
                    pause(&answers, options.backoff_first.max(TOO_QUICK)).await;
                }
            }
            // Which of the two goes on is not for us to say.
            Err(NoUpdates::Elsewhere) => return,
            Err(NoUpdates::Failed(error)) => {
                let wait = backoff.after(&error);
                tracing::warn!(%error, wait_s = wait.as_secs_f32(), "Telegram cannot be polled");
                pause(&answers, wait).await;
            }
        }
    }
}

/// Sleeps, but not past the end of listening.
async fn pause(answers: &mpsc::Sender<Answer>, wait: Duration) {
    let _ = tokio::time::timeout(wait, answers.closed()).await;
}

/// Where updates are handled.
struct Desk {
    api: Api,
    key: ButtonKey,
    answers: mpsc::Sender<Answer>,
    patience: Duration,
}

impl Desk {
    /// Handles the updates of one poll; `false` when listening ends and not all may be confirmed.
    async fn handle_all(self: &Arc<Self>, updates: Vec<Update>, greeted: &mut Greeted) -> bool {
        let mut work = JoinSet::new();
        for update in updates {
            let desk = Arc::clone(self);
            match update.kind {
                UpdateKind::CallbackQuery(query) => {
                    work.spawn(async move { desk.press(query).await });
                }
                UpdateKind::Message(message) => {
                    if let Some(greeting) = greeting(&message)
                        && greeted.may_greet(message.chat.id, Instant::now())
                    {
                        work.spawn(async move { desk.greet(message.chat.id, greeting).await });
                    }
                }
                _ => tracing::debug!(update = update.id.0, "an update of a kind that was not asked for"),
            }
        }
        tokio::select! {
            () = finish(&mut work) => !self.answers.is_closed(),
            () = self.answers.closed() => {
                let _ = tokio::time::timeout(FAREWELL, finish(&mut work)).await;
                false
            }
        }
    }

    /// One press: verified, carried to its session, answered once. Left unanswered only when nobody takes answers any
    /// more: then it is not confirmed either, and whoever listens next answers it.
    async fn press(&self, query: CallbackQuery) {
        let at = query.message.as_ref().map(|message| Reference { chat: message.chat().id, message: message.id() });
        let reply = match self.verify(&query, at) {
            Ok(press) => match self.carry(press).await {
                Some(reply) => reply,
                None => return,
            },
            Err(error) => {
                tracing::warn!(from = %query.from.id, chat = ?at.map(|at| at.chat.0), %error, "press refused");
                texts::refused(error)
            }
        };
        self.answer(query.id, reply).await;
        if reply.spent
            && let Some(at) = at
            && let Err(error) = self.api.drop_buttons(at).await
        {
            tracing::warn!(chat = %at.chat, %error, "spent buttons stay");
        }
    }

    fn verify(&self, query: &CallbackQuery, at: Option<Reference>) -> Result<Press, ButtonError> {
        // We send no inline messages, so a press without a chat is not on a button of ours.
        let (Some(at), Some(data)) = (at, &query.data) else { return Err(ButtonError::Foreign) };
        let (chat, presser) = (at.chat.to_string(), query.from.id.to_string());
        self.key.redeem(data, Place { approver: ApproverKind::Telegram, chat: &chat, presser: &presser })
    }

    /// Carries a press to its session; `None` when nobody takes answers any more.
    async fn carry(&self, press: Press) -> Option<Reply> {
        let (verdict, by_number) = (press.verdict(), press.is_by_number());
        let deadline = Instant::now() + self.patience;
        let (reply, word) = oneshot::channel();
        match self.answers.send_timeout(Answer { press, reply }, self.patience).await {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => return Some(texts::NOT_TAKEN),
            Err(SendTimeoutError::Closed(_)) => return None,
        }
        match tokio::time::timeout_at(deadline, word).await {
            Ok(Ok(told)) => Some(texts::told(verdict, by_number, told)),
            Ok(Err(_)) if self.answers.is_closed() => None,
            Ok(Err(_)) => Some(texts::NOT_TAKEN),
            Err(_) => Some(texts::UNSETTLED),
        }
    }

    /// Answers a press. Trying again after a lost answer is harmless: Telegram takes the first only.
    async fn answer(&self, query: CallbackQueryId, reply: Reply) {
        let mut wait = Duration::from_millis(300);
        for tries_left in (0..ANSWER_TRIES).rev() {
            match self.api.answer(query.clone(), reply.text, reply.alert).await {
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

    async fn greet(&self, chat: ChatId, greeting: String) {
        if let Err(error) = self.api.send(chat, greeting, None).await {
            tracing::warn!(%chat, %error, "a greeting was not delivered");
        }
    }
}

/// Waits for all; one that panicked is not tried again, or it would stop us for good.
async fn finish(work: &mut JoinSet<()>) {
    while let Some(done) = work.join_next().await {
        if let Err(error) = done {
            tracing::error!(%error, "handling an update failed");
        }
    }
}

/// What to say to a message: to any in private, in groups to `/start` only.
fn greeting(message: &Message) -> Option<String> {
    if message.from.as_ref().is_none_or(|from| from.is_bot) {
        return None;
    }
    if message.chat.is_private() {
        return Some(texts::greeting(message.chat.id.0));
    }
    let command = message.text()?.split(['@', ' ']).next()?;
    (command == "/start").then(|| texts::GREETING_IN_A_GROUP.to_owned())
}

/// Which chats were greeted lately, so that nobody can make the bot talk all day.
struct Greeted {
    every: Duration,
    last: BTreeMap<ChatId, Instant>,
}

impl Greeted {
    fn new(every: Duration) -> Self {
        Self { every, last: BTreeMap::new() }
    }

    fn may_greet(&mut self, chat: ChatId, now: Instant) -> bool {
        self.last.retain(|_, at| now.saturating_duration_since(*at) < self.every);
        if self.last.contains_key(&chat) || self.last.len() >= GREETED {
            return false;
        }
        self.last.insert(chat, now);
        true
    }
}

/// Waits that double from failure to failure.
struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    fn new(first: Duration, most: Duration) -> Self {
        // Never a busy loop, whatever the configuration says.
        let first = first.max(Duration::from_millis(10));
        Self { first, most: most.max(first), next: first }
    }

    /// The wait after a failure: at least as long as Telegram asks, and the longest where a repeat hardly helps.
    fn after(&mut self, error: &AskError) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        match error {
            AskError::Later { after, .. } => wait.max(after.unwrap_or_default()),
            AskError::Undeliverable(_) => self.most,
        }
    }

    /// After a success; says whether there was a failure before it.
    fn reset(&mut self) -> bool {
        let failed = self.next != self.first;
        self.next = self.first;
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(after: Option<u64>) -> AskError {
        AskError::Later { after: after.map(Duration::from_secs), reason: "test".into() }
    }

    #[test]
    fn waits_double_up_to_the_limit_and_start_over() {
        let secs = Duration::from_secs;
        let mut backoff = Backoff::new(secs(1), secs(5));
        let waits: Vec<_> = (0..4).map(|_| backoff.after(&later(None))).collect();
        assert_eq!(waits, [secs(1), secs(2), secs(4), secs(5)]);
        assert!(backoff.reset() && !backoff.reset());
        assert_eq!(backoff.after(&later(Some(60))), secs(60));
        assert_eq!(backoff.after(&AskError::Undeliverable("bad token".into())), secs(5));
    }

    #[test]
    fn no_configuration_makes_it_spin() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert!(backoff.after(&later(None)) > Duration::ZERO);
    }

    #[test]
    fn a_chat_is_greeted_once_in_a_while() {
        let mut greeted = Greeted::new(Duration::from_secs(30));
        let start = Instant::now();
        assert!(greeted.may_greet(ChatId(1), start));
        assert!(!greeted.may_greet(ChatId(1), start + Duration::from_secs(29)));
        assert!(greeted.may_greet(ChatId(2), start + Duration::from_secs(29)));
        assert!(greeted.may_greet(ChatId(1), start + Duration::from_secs(30)));
    }

    #[test]
    fn a_crowd_of_strangers_is_not_remembered_without_end() {
        let mut greeted = Greeted::new(Duration::from_secs(30));
        let start = Instant::now();
        let strangers = (0..5000).filter(|id| greeted.may_greet(ChatId(*id), start)).count();
        assert_eq!(strangers, GREETED);
    }
}
