//! Proof that somebody entitled to has decided.
//!
//! [`Approval`] and [`Denial`] have no public constructor but these: a verified [`Press`] of somebody who has a voice about the
//! session ([`Voices`]), an operator with access to the store, or a code that `auth::totp` found right and the store had not seen before.
//! Leaving the sandbox takes [`Approval`]s, as many as the terms of the hold demand, or a policy's waiver, so a skipped check does not
//! compile.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::button::Press;
use super::voices::{Speaks, Voices};
use crate::auth::totp;
use crate::model::{ApproverKind, Timestamp, UserName};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// A yes that is not enough by itself, as it is kept until there are enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// By whom.
    pub by: DecidedBy,
    /// Who that is, when it is somebody else than the session's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<UserName>,
    /// In which chat, where it was said in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Proof of a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    by: DecidedBy,
    speaks: Speaks,
    voices: Voices,
    /// By the number on the screen of whoever logs in.
    by_number: bool,
    /// In which chat, for the record.
    chat: Option<String>,
}

/// Proof of a no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    by: DecidedBy,
    /// By choosing another number than that.
    wrong_number: bool,
}

/// Proof of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Of a yes.
    Yes(Approval),
    /// Of a no.
    No(Denial),
}

/// Whoever answered has no voice about this session, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("whoever answered does not speak for this session")]
pub struct NotEntitled;

impl Approval {
    /// An operator's word, given with access to the store. It is enough by itself.
    pub fn by_operator(login: impl Into<String>) -> Self {
        Self {
            by: DecidedBy { approver: ApproverKind::Operator, who: login.into() },
            speaks: Speaks::ForAll,
            voices: Voices::default(),
            by_number: false,
            chat: None,
        }
    }

    /// The right code (TOTP, recovery or emergency), given for the first time. It is spent with this. A person's code speaks for the
    /// person, an emergency code for the operator; `voices` is who else has one at this moment.
    pub fn by_totp(code: &totp::Accepted, voices: Voices) -> Self {
        let speaks = match code.means() {
            totp::Means::Emergency(_) => Speaks::ForAll,
            totp::Means::Totp | totp::Means::Recovery => Speaks::AsOwn,
        };
        let by = DecidedBy { approver: code.approver(), who: code.who() };
        Self { by, speaks, voices, by_number: false, chat: None }
    }

    /// By whom.
    pub fn by(&self) -> &DecidedBy {
        &self.by
    }

    /// Whether it was given by choosing the right number.
    pub fn is_by_number(&self) -> bool {
        self.by_number
    }

    /// In which chat.
    pub(super) fn chat(&self) -> Option<&str> {
        self.chat.as_deref()
    }

    /// For whom they speak.
    pub(super) fn speaks(&self) -> &Speaks {
        &self.speaks
    }

    /// Who else has a voice at this moment.
    pub(super) fn voices(&self) -> &Voices {
        &self.voices
    }
}

impl Denial {
    /// An operator's word, given with access to the store.
    pub fn by_operator(login: impl Into<String>) -> Self {
        Self { by: DecidedBy { approver: ApproverKind::Operator, who: login.into() }, wrong_number: false }
    }

    /// By whom.
    pub fn by(&self) -> &DecidedBy {
        &self.by
    }

    /// Whether it was given by choosing a wrong number.
    pub fn is_wrong_number(&self) -> bool {
        self.wrong_number
    }
}

impl Press {
    /// The proof this press is, among those who have a voice about its session now.
    ///
    /// # Errors
    /// [`NotEntitled`] when the presser has none.
    pub fn into_proof(self, voices: Voices) -> Result<Proof, NotEntitled> {
        let by_number = self.is_by_number();
        let hand = DecidedBy { approver: self.approver(), who: self.presser().to_owned() };
        let speaks = voices.of(&hand).ok_or(NotEntitled)?;
        // What other channels call a place is none.
        let in_chat = self.approver() == ApproverKind::Telegram && !self.chat().is_empty();
        let chat = in_chat.then(|| self.chat().to_owned());
        let by = match speaks {
            Speaks::AsOther(_) => DecidedBy { approver: ApproverKind::Person, ..hand },
            _ => hand,
        };
        Ok(match self.verdict() {
            Verdict::Approved => Proof::Yes(Approval { by, speaks, voices, by_number, chat }),
            Verdict::Denied => Proof::No(Denial { by, wrong_number: by_number }),
        })
    }
}
