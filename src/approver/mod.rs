//! Approvers: ways to ask a person, and to hear them. Question in, answer out; message in, post out.
//!
//! [`Approver`] is one of our three doors. An implementation changes no session and knows no store: it is told whom to
//! ask and where, and hands over presses it has verified. What follows if it is wrong: an approver that hands over an
//! unverified press would lift a stranger's session, which is why a [`Press`] or an [`ActPress`] can only come from
//! [`crate::session::ButtonKey`]. What a message or an act leads to is decided elsewhere (`app::desk`), by who the speaker is then.

mod notice;
pub mod operator;
pub mod telegram;
pub mod totp;
mod voice;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

pub use self::notice::{Fact, Notice};
pub use self::voice::{Readers, Tone, Voice};
use crate::model::{ApproverKind, Binding, Medium, SessionId, Timestamp, Whereabouts};
use crate::session::{Act, ActPress, EndCause, NumberChoice, Outcome, Press, Told};

/// A way to ask a person.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Which it is.
    fn kind(&self) -> ApproverKind;

    /// Puts the question at each of the bindings, and gives a reference by which [`Approver::tell`] finds the prompt again.
    async fn ask(&self, question: &Question, bindings: &[Binding]) -> Result<String, AskError>;

    /// Makes a prompt say how it ended, and takes its buttons away.
    async fn tell(&self, reference: &str, question: &Question, outcome: Outcome) -> Result<(), AskError>;

    /// Says at a prompt that the session it led to has ended; [`Question::ended`] says how. Nothing where nobody would read it.
    async fn tell_end(&self, _reference: &str, _question: &Question, _outcome: Outcome) -> Result<(), AskError> {
        Ok(())
    }

    /// Tells the operator something, where this approver has an address for that.
    async fn alert(&self, notice: &Notice) -> Result<(), AskError>;

    /// Posts something in a chat, of itself and not as an answer.
    async fn post(&self, chat: &str, _post: &Post) -> Result<(), AskError> {
        Err(AskError::Undeliverable(format!("{} carries no messages to {chat}", self.kind())))
    }

    /// The name people find it by there, where it has one.
    async fn name(&self) -> Result<Option<String>, AskError> {
        Ok(None)
    }

    /// Makes it offer these commands, where it can; what it offers already is left alone.
    async fn publish(&self, _menus: &[Menu]) -> Result<(), AskError> {
        Ok(())
    }

    /// From now on so many nodes ask by it, and share whatever limits it has.
    fn share_among(&self, _nodes: usize) {}

    /// Listens for people until `incoming` is closed, or until somebody else turns out to listen where only one can. Survives
    /// outages by itself.
    async fn listen(&self, incoming: mpsc::Sender<Incoming>);
}

/// Whose login somebody is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whose {
    /// Their own.
    #[default]
    Own,
    /// Somebody else's, which they are to confirm.
    Anothers,
}

/// What a person is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whose login it is.
    pub about: Whose,
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
    /// The numbers to choose from, where numbers are matched: instead of a plain yes.
    pub numbers: Option<NumberChoice>,
    /// What the caller comes by.
    pub medium: Option<Medium>,
    /// Where the caller's address is.
    pub whereabouts: Whereabouts,
    /// By which channel it was decided, once it is.
    pub decided: Option<ApproverKind>,
    /// How the session ended, once it has.
    pub ended: Option<Ending>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// After how long.
    pub lasted: Duration,
    /// What the user sent, octets.
    pub input_octets: u64,
    /// What the user received, octets.
    pub output_octets: u64,
    /// How we know.
    pub cause: EndCause,
    /// Acct-Terminate-Cause (RFC 2866 §5.10), when the NAS gave one.
    pub terminate_cause: Option<u32>,
}

/// Something a person did, on its way to where it is answered. Whoever drops its `reply` unanswered says that nothing was done,
/// and that it may come again.
#[derive(Debug)]
pub enum Incoming {
    /// An answer to a question.
    Press(Answer),
    /// A button of another kind.
    Act(ActPressed),
    /// Something written.
    Message(Message),
}

/// Who speaks, where. All texts are guests: from the network, and not to be shown before they are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// By which channel.
    pub approver: ApproverKind,
    /// By which line of it (a bot's number), so that what it numbers is told from what another numbers.
    pub line: String,
    /// In which chat.
    pub chat: String,
    /// Nobody else reads that chat.
    pub private: bool,
    /// Who, as in [`Binding::presser`].
    pub presser: String,
    /// What they call themselves.
    pub name: String,
    /// The language of their client, as the channel tells (IETF tag).
    pub language: Option<String>,
}

/// Something written to us.
#[derive(Debug)]
pub struct Message {
    /// The channel's number for it, by which a repetition is known.
    pub update: i64,
    /// By whom.
    pub by: Speaker,
    /// What.
    pub text: String,
    /// Where the answer goes: `None` is silence.
    pub reply: oneshot::Sender<Option<Post>>,
}

/// A button other than yes and no, verified.
#[derive(Debug)]
pub struct ActPressed {
    /// The channel's number for it, by which a repetition is known.
    pub update: i64,
    /// By whom.
    pub by: Speaker,
    /// The proof that the button is ours and theirs to press. Whether they may do it is to be seen.
    pub press: ActPress,
    /// Where the answer goes.
    pub reply: oneshot::Sender<ActReply>,
}

/// Something to be read, with buttons under it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// The text: HTML of `b`, `i`, `code` and `pre` alone, guests escaped.
    pub html: String,
    /// Rows of buttons.
    pub buttons: Vec<Vec<Button>>,
    /// Anybody in the chat may press them, and not only the person spoken to.
    pub open: bool,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it says: plain text.
    pub label: String,
    /// What it does.
    pub act: Act,
}

/// The answer to the press of an [`Act`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActReply {
    /// Shown to the presser: plain text of at most 200 characters.
    pub note: String,
    /// It must be acknowledged, instead of passing.
    pub alert: bool,
    /// What becomes of the message with the button.
    pub then: Then,
}

/// What becomes of the message with a button that was pressed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Then {
    /// It stays.
    #[default]
    Stay,
    /// Its buttons go.
    Spent,
    /// It says this instead.
    Become(Post),
}

/// Commands to offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// In this chat; `None` is in all private ones that have no menu of their own.
    pub chat: Option<String>,
    /// To people whose client speaks this (IETF tag); `None` is to those for whom there is no other.
    pub language: Option<String>,
    /// Each with what it does, in plain words; without the slash.
    pub commands: Vec<(String, String)>,
}

impl Post {
    /// A text without buttons.
    pub fn text(html: impl Into<String>) -> Self {
        Self { html: html.into(), ..Self::default() }
    }
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
