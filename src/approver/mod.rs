//! Approvers: ways to ask a person. Question in, answer out.
//!
//! [`Approver`] is one of our three doors. An implementation changes no session and knows no store: it is told whom to
//! ask and where, and hands over presses it has verified. What follows if it is wrong: an approver that hands over an
//! unverified press would lift a stranger's session, which is why a [`Press`] can only come from
//! [`crate::session::ButtonKey::redeem`].

pub mod operator;
pub mod telegram;
pub mod totp;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::model::{ApproverKind, Binding, SessionId, Timestamp};
use crate::session::{Outcome, Press, Told};

/// A way to ask a person.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Which it is.
    fn kind(&self) -> ApproverKind;

    /// Puts the question at each of the bindings, and gives a reference by which [`Approver::tell`] finds the prompt again.
    async fn ask(&self, question: &Question, bindings: &[Binding]) -> Result<String, AskError>;

    /// Makes a prompt say how it ended, and takes its buttons away.
    async fn tell(&self, reference: &str, question: &Question, outcome: Outcome) -> Result<(), AskError>;

    /// Tells the operator something, where this approver has an address for that.
    async fn alert(&self, text: &str) -> Result<(), AskError>;

    /// Listens for answers until `answers` is closed, or until somebody else turns out to listen where only one can. Survives
    /// outages by itself.
    async fn listen(&self, answers: mpsc::Sender<Answer>);
}

/// What a person is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The session.
    pub session: SessionId,
    /// User-Name.
    pub user: String,
    /// Our name for the NAS.
    pub nas: String,
    /// Calling-Station-Id: where the caller is.
    pub calling_station_id: Option<String>,
    /// When the password was accepted.
    pub accepted_at: Timestamp,
    /// By when an answer must be in.
    pub deadline: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// A verified answer on its way to its session.
#[derive(Debug)]
pub struct Answer {
    /// The proof.
    pub press: Press,
    /// Where the truth is told to the presser.
    pub reply: oneshot::Sender<Told>,
}

/// Why a prompt was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Try again, not before that long (a rate limit's word, or `None` for the caller's own backoff).
    #[error("not now: {reason}")]
    Later {
        /// The wait that was asked for.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// It will never be delivered there: no binding, chat gone, bot blocked.
    #[error("undeliverable: {0}")]
    Undeliverable(String),
}
