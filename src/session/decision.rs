//! Proof that somebody entitled to has decided.
//!
//! [`Approval`] and [`Denial`] have no public constructor but these: a verified [`Press`] of a button, an operator with
//! access to the store, or a code that `auth::totp` found right and the store had not seen before. Leaving the sandbox takes an [`Approval`] or a policy's waiver, so a skipped check does not
//! compile.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::button::Press;
use crate::auth::totp;
use crate::model::{ApproverKind, Timestamp};

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// "It's me."
    Approved,
    /// "Not me."
    Denied,
}

impl Verdict {
    /// The word in tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decided, and by which channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// The channel.
    pub approver: ApproverKind,
    /// Who, in the channel's own terms: a Telegram user id, an operator's login.
    pub who: String,
}

/// What was decided about a session, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// By whom.
    pub by: DecidedBy,
    /// When.
    pub at: Timestamp,
}

/// Proof of a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval(DecidedBy);

/// Proof of a no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial(DecidedBy);

impl Approval {
    /// An operator's word, given with access to the store.
    pub fn by_operator(login: impl Into<String>) -> Self {
        Self(DecidedBy { approver: ApproverKind::Operator, who: login.into() })
    }

    /// The right code (TOTP, recovery or emergency), given for the first time. It is spent with this.
    pub fn by_totp(code: &totp::Accepted) -> Self {
        Self(DecidedBy { approver: code.approver(), who: code.who() })
    }

    /// By whom.
    pub fn by(&self) -> &DecidedBy {
        &self.0
    }
}

impl Denial {
    /// An operator's word, given with access to the store.
    pub fn by_operator(login: impl Into<String>) -> Self {
        Self(DecidedBy { approver: ApproverKind::Operator, who: login.into() })
    }

    /// By whom.
    pub fn by(&self) -> &DecidedBy {
        &self.0
    }
}

impl Press {
    /// The proof this press is: of a yes, or of a no.
    pub fn into_proof(self) -> Result<Approval, Denial> {
        let by = DecidedBy { approver: self.approver(), who: self.presser().to_owned() };
        match self.verdict() {
            Verdict::Approved => Ok(Approval(by)),
            Verdict::Denied => Err(Denial(by)),
        }
    }
}
