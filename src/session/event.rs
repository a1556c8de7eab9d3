//! Facts that reach a session, and the orders and answers that come of them.

use serde::{Deserialize, Serialize};

use super::decision::{Approval, Denial, Verdict};
use crate::accounting::Report;
use crate::model::{ApproverKind, Timestamp};

/// A fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The Access-Accept goes out.
    Accepted,
    /// Accounting-Request Start.
    Started(Report),
    /// Accounting-Request Interim-Update.
    Interim(Report),
    /// Accounting-Request Stop.
    Stopped(Report),
    /// Accounting-On or Accounting-Off: the NAS lost its sessions at that time.
    NasRestarted {
        /// When.
        at: Timestamp,
    },
    /// Another session started on the same port of the same NAS, where a port has one session at a time.
    PortReused {
        /// When.
        at: Timestamp,
    },
    /// The prompt is with the person.
    PromptSent {
        /// By which channel.
        approver: ApproverKind,
        /// Where the approver finds it again.
        reference: String,
    },
    /// The prompt cannot reach the person.
    PromptUndeliverable {
        /// By which channel.
        approver: ApproverKind,
        /// Why.
        reason: String,
        /// Where those find it again whom it did reach, when they are too few.
        strays: Option<String>,
    },
    /// Somebody said yes.
    Approved(Approval),
    /// Somebody said no.
    Denied(Denial),
    /// A newer login has taken its place: nobody is to be asked about this one any more.
    Superseded,
    /// An operator ends the session.
    Kicked(Denial),
    /// The time of [`super::Session::wake_at`] has come.
    TimerPassed,
    /// CoA-ACK.
    CoaAcked {
        /// Of which order.
        attempt: u32,
    },
    /// CoA-NAK.
    CoaNaked {
        /// Of which order.
        attempt: u32,
        /// Error-Cause, when the NAS gave one.
        error_cause: Option<u32>,
    },
    /// No answer to the CoA-Request and its retransmissions.
    CoaUnanswered {
        /// Of which order.
        attempt: u32,
    },
    /// Disconnect-ACK.
    DisconnectAcked {
        /// Of which order.
        attempt: u32,
    },
    /// Disconnect-NAK.
    DisconnectNaked {
        /// Of which order.
        attempt: u32,
        /// Error-Cause, when the NAS gave one.
        error_cause: Option<u32>,
    },
    /// No answer to the Disconnect-Request and its retransmissions.
    DisconnectUnanswered {
        /// Of which order.
        attempt: u32,
    },
}

/// An order, kept until carried out, harmless when carried out twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Effect {
    /// Ask the person by this channel.
    AskApprover {
        /// Which.
        approver: ApproverKind,
    },
    /// Make a delivered prompt say how it ended.
    TellApprover {
        /// Which channel.
        approver: ApproverKind,
        /// The prompt.
        reference: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// Say at a delivered prompt that the session it led to has ended.
    TellEnd {
        /// Which channel.
        approver: ApproverKind,
        /// The prompt.
        reference: String,
    },
    /// Send a CoA-Request that lifts the session.
    SendCoa {
        /// Number of the order, given back with its outcome.
        attempt: u32,
    },
    /// Send a Disconnect-Request.
    SendDisconnect {
        /// Number of the order, given back with its outcome.
        attempt: u32,
    },
    /// Tell the operator.
    AlertOperator {
        /// What.
        alert: Alert,
    },
}

impl Effect {
    /// The word in tables and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::AskApprover { .. } => "ask-approver",
            Self::TellApprover { .. } => "tell-approver",
            Self::TellEnd { .. } => "tell-end",
            Self::SendCoa { .. } => "send-coa",
            Self::SendDisconnect { .. } => "send-disconnect",
            Self::AlertOperator { .. } => "alert-operator",
        }
    }

    /// Whom it reaches.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::AskApprover { .. } => Lane::People,
            Self::TellApprover { .. } | Self::TellEnd { .. } | Self::AlertOperator { .. } => Lane::Notices,
            Self::SendCoa { .. } | Self::SendDisconnect { .. } => Lane::Nas,
        }
    }
}

/// Whom an order reaches. Each lane is carried out by itself, so that a slow messenger keeps no NAS waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A NAS.
    Nas,
    /// People who are asked something, by way of an approver.
    People,
    /// People who are told something: what they are asked goes first.
    Notices,
}

impl Lane {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nas => "nas",
            Self::People => "people",
            Self::Notices => "notices",
        }
    }
}

/// What a prompt says in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Lifted: the NAS confirmed.
    Permitted,
    /// Approved; the NAS has not confirmed yet, we keep trying until the deadline.
    NasUnreachable,
    /// Denied by the person.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// Approved in time, but the NAS could not be told before the deadline.
    NotLifted,
    /// The session ended before anybody answered.
    Disconnected,
    /// An operator ended it.
    Kicked,
    /// The person chose a number that is not on the screen of whoever logs in, which denies.
    WrongNumber,
    /// A newer login has taken its place before anybody answered.
    Superseded,
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "alert", rename_all = "kebab-case")]
pub enum Alert {
    /// No approver is left that can be reached.
    Undeliverable {
        /// The last one's reason.
        reason: String,
        /// It stays in the sandbox until its deadline; else it is being ended.
        #[serde(default)]
        held: bool,
    },
    /// The NAS refuses the CoA-Request in a way that repeating cannot mend.
    CoaRefused {
        /// Error-Cause.
        error_cause: Option<u32>,
    },
    /// The NAS refuses the Disconnect-Request in a way that repeating cannot mend.
    DisconnectRefused {
        /// Error-Cause.
        error_cause: Option<u32>,
    },
    /// The NAS acknowledged the CoA-Request, but its accounting still shows the sandbox.
    AckWithoutEffect,
    /// The NAS never confirmed the end; we gave up.
    EvictionUnconfirmed,
    /// Somebody logged in with an emergency code.
    EmergencyCode {
        /// Who, and which code.
        who: String,
    },
}

/// What to tell whoever brought the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// It took effect.
    Done,
    /// It counts, and so many more must say yes.
    Counted {
        /// How many.
        more: u32,
    },
    /// It changed nothing (a repeat, or out of place), and nobody waits for an answer.
    Nothing,
    /// Too late: somebody had decided already, thus.
    AlreadyDecided(Verdict),
    /// Too late: the deadline had passed.
    AlreadyExpired,
    /// Too late: the session is over.
    SessionOver,
    /// Too late: a newer login has taken its place.
    AlreadySuperseded,
    /// This session was never offered by us: there is nothing to approve.
    NotHeld,
    /// Whoever answered does not speak for this user any more.
    NotEntitled,
    /// It is kept, but nobody can say yet what comes of it: the store is away.
    Noted,
}
