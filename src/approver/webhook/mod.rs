//! The webhook as approver: a signed request to a system of the operator's, which asks the person in its own way and answers in the
//! response or by a signed request to us ([docs/webhook.md](../../../docs/webhook.md)).
//!
//! | file | what it is |
//! |---|---|
//! | `sign.rs` | the signature, both ways; pure |
//! | `words.rs` | the bodies, both ways; pure |
//! | `guard.rs` | which addresses are never reached |
//! | `call.rs` | one request out: no redirect, a bounded answer, a time limit |
//! | `callback.rs` | requests in |
//!
//! Never knows a session's state, a store, or who the person is elsewhere. Where it calls is the operator's word, and where that
//! leads is not trusted: addresses of our own networks are refused unless they are listed, checked when the connection is made.

mod call;
mod callback;
mod guard;
mod sign;
mod words;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use self::call::Caller;
use self::sign::Signer;
use self::words::Said;
use super::{Answer, Approver, AskError, Incoming, Notice, Question};
use crate::model::{ApproverKind, Binding, Secret, SessionId, Timestamp};
use crate::session::{ButtonKey, Outcome, Place, Press, Verdict};

/// How the operator's system is reached, and reaches us.
#[derive(Debug, Clone)]
pub struct WebhookOptions {
    /// Where questions and outcomes go.
    pub url: Url,
    /// What both sides sign with.
    pub secret: Secret,
    /// How long one request may take.
    pub timeout: Duration,
    /// Addresses that may be reached though they are private, loopback or link-local.
    pub allow: Vec<IpNet>,
    /// Where answers are taken in that come later; `None` takes those in the response alone.
    pub listen: Option<SocketAddr>,
    /// The address of that for the other side; `None` is `http://` and the address listened on.
    pub callback_url: Option<Url>,
    /// Tells what time it is.
    pub clock: fn() -> Timestamp,
}

/// Why the webhook cannot be used as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No HTTP client could be set up on this host.
    #[error("no HTTP client: {0}")]
    Client(String),
    /// The port for answers cannot be opened.
    #[error("cannot listen on {address}: {problem}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: std::io::Error,
    },
}

/// The webhook.
pub struct Webhook {
    caller: Caller,
    signer: Signer,
    buttons: ButtonKey,
    listener: Option<std::net::TcpListener>,
    callback_url: Option<Url>,
    /// Where answers go, once somebody takes them.
    answers: Arc<OnceLock<mpsc::Sender<Incoming>>>,
}

/// The chat of the button that stands for a question: no chat of anybody's.
const NONCE: &str = "webhook question";

impl Webhook {
    /// Sets the webhook up and opens its port. Calls nobody yet.
    ///
    /// # Errors
    /// [`WebhookError`] when that cannot work.
    pub fn new(options: WebhookOptions, buttons: ButtonKey) -> Result<Self, WebhookError> {
        let signer = Signer::new(options.secret.clone(), options.clock);
        let caller = Caller::new(&options, signer.clone())?;
        let bind = |address: SocketAddr| {
            let bound = std::net::TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok((listener.local_addr()?, listener))
            });
            bound.map_err(|problem| WebhookError::Bind { address, problem })
        };
        let (address, listener) = options.listen.map(bind).transpose()?.unzip();
        let usual = || address.and_then(|address| Url::parse(&format!("http://{address}/answer")).ok());
        let callback_url = if listener.is_some() { options.callback_url.or_else(usual) } else { None };
        Ok(Self { caller, signer, buttons, listener, callback_url, answers: Arc::default() })
    }

    /// Where the other side sends answers that come later.
    pub fn callback_url(&self) -> Option<&Url> {
        self.callback_url.as_ref()
    }

    fn desk(&self) -> Desk {
        Desk { buttons: self.buttons.clone(), answers: Arc::clone(&self.answers) }
    }
}

// Written out because a derived one would print what both sides sign with.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("callback_url", &self.callback_url).finish_non_exhaustive()
    }
}

/// Turns answers whose signature has been verified into presses, and carries them.
#[derive(Clone)]
struct Desk {
    buttons: ButtonKey,
    answers: Arc<OnceLock<mpsc::Sender<Incoming>>>,
}

impl Desk {
    /// What stands for a question about a session: made by us alone, and the same on every node.
    fn nonce(&self, session: SessionId) -> String {
        self.buttons.seal(session, Verdict::Approved, question_place())
    }

    /// The press that an answer is, when it is to a question of ours.
    fn press(&self, said: &Said) -> Option<Press> {
        let session = self.buttons.redeem(&said.nonce, question_place()).ok()?.session();
        if said.session.is_some_and(|named| named != session) {
            return None;
        }
        let place = Place { approver: ApproverKind::Webhook, chat: NONCE, presser: &said.by };
        self.buttons.redeem(&self.buttons.seal(session, said.verdict, place), place).ok()
    }

    /// Carries a press to its session; `None` when nobody takes answers.
    async fn carry(&self, press: Press) -> Option<oneshot::Receiver<crate::session::Told>> {
        let (reply, told) = oneshot::channel();
        self.answers.get()?.send(Incoming::Press(Answer { press, reply })).await.ok()?;
        Some(told)
    }
}

const fn question_place() -> Place<'static> {
    Place { approver: ApproverKind::Webhook, chat: NONCE, presser: NONCE }
}

#[async_trait]
impl Approver for Webhook {
    fn kind(&self) -> ApproverKind {
        ApproverKind::Webhook
    }

    async fn ask(&self, question: &Question, _: &[Binding]) -> Result<String, AskError> {
        let desk = self.desk();
        let nonce = desk.nonce(question.session);
        let body = words::question(question, &nonce, self.callback_url.as_ref());
        if let Some(said) = self.caller.post(body).await? {
            let ours = (said.nonce == nonce).then(|| desk.press(&said)).flatten();
            let press = ours.ok_or_else(|| {
                AskError::Undeliverable("the webhook answered to another question than it was asked".to_owned())
            })?;
            // Its session hears of it when there is time; here the question counts as delivered.
            tokio::spawn(async move {
                if desk.carry(press).await.is_none() {
                    tracing::warn!("an answer of the webhook was not taken");
                }
            });
        }
        Ok(question.session.to_string())
    }

    async fn tell(&self, _: &str, question: &Question, outcome: Outcome) -> Result<(), AskError> {
        self.caller.post(words::outcome(question, outcome)).await.map(drop)
    }

    async fn alert(&self, _: &Notice) -> Result<(), AskError> {
        Ok(())
    }

    async fn listen(&self, answers: mpsc::Sender<Incoming>) {
        let _ = self.answers.set(answers.clone());
        let listener = self.listener.as_ref().map(|listener| listener.try_clone().and_then(TcpListener::from_std));
        match listener {
            None => answers.closed().await,
            Some(Ok(listener)) => callback::run(listener, self.signer.clone(), self.desk(), answers).await,
            Some(Err(error)) => {
                tracing::error!(%error, "answers to the webhook cannot be taken in");
                answers.closed().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn said(nonce: String, session: Option<SessionId>) -> Said {
        Said { session, nonce, verdict: Verdict::Approved, by: "alice@example".to_owned() }
    }

    #[test]
    fn an_answer_is_to_a_question_of_ours_about_that_session() {
        let desk = Desk { buttons: ButtonKey::new(&Secret::new("cluster")), answers: Arc::default() };
        let [this, other] = [1, 2].map(|number| SessionId(Uuid::from_u128(number)));
        let press = desk.press(&said(desk.nonce(this), Some(this))).unwrap();
        assert_eq!((press.session(), press.verdict()), (this, Verdict::Approved));
        assert_eq!((press.approver(), press.presser()), (ApproverKind::Webhook, "alice@example"));
        assert!(desk.press(&said(desk.nonce(this), None)).is_some());
        assert_eq!(desk.press(&said(desk.nonce(this), Some(other))), None);
        assert_eq!(desk.press(&said("y".repeat(45), Some(this))), None);
        let chat = Place { approver: ApproverKind::Telegram, chat: "7", presser: "7" };
        assert_eq!(desk.press(&said(desk.buttons.seal(this, Verdict::Approved, chat), Some(this))), None);
    }
}
