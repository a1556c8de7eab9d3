//! A chat on its way to being bound to a user.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ApproverKind, Timestamp, UserName};

/// The number of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnrolmentId(pub Uuid);

/// A link by which whoever has it may bind their chat, once; or a chat that asked to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its number.
    pub id: EnrolmentId,
    /// To whom a chat is to be bound.
    pub user: UserName,
    /// By which channel.
    pub approver: ApproverKind,
    /// SHA-256 of the link's token; `None` when somebody asked without a link.
    pub token_hash: Option<Vec<u8>>,
    /// The user's other chats of that channel are unbound when this one is bound.
    pub replace: bool,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
    /// Until when it may be taken; once it waits, until when it may be confirmed.
    pub expires_at: Timestamp,
    /// How far it is.
    pub state: EnrolmentState,
    /// Who took it.
    pub taker: Option<Taker>,
}

/// How far an enrolment is. Expiry is by time, and no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnrolmentState {
    /// Nobody has taken it.
    Open,
    /// A chat has, and an administrator is to say whether it may.
    Waiting,
    /// The chat is bound.
    Bound,
    /// An administrator has said no.
    Refused,
}

/// Who took an enrolment, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// The chat.
    pub address: String,
    /// The person.
    pub presser: String,
    /// What they call themselves there; from the network.
    pub person: String,
    /// The language of their client, as the channel tells.
    pub language: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl EnrolmentState {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Bound => "bound",
            Self::Refused => "refused",
        }
    }
}
