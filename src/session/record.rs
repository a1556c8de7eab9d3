//! A session as it is kept: readable by all, changed by [`super::step`] alone.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::{Approval, Decision, Verdict, Vote};
use super::event::Outcome;
use super::machine::interval_asked;
use crate::model::{ApproverKind, Counters, Identity, NasName, SessionId, Timestamp, UserName};
use crate::policy::{Grant, Terms};

/// A session. Reads like its [`Record`]; only the machine writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// In a box: a session goes through many hands for each report.
    pub(super) record: Box<Record>,
    /// Its time ran out while this server could not hear of it: no strike. Not kept: it counts for the change that ended the wait.
    pub(super) excused: bool,
}

/// Everything that is kept about a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Ours, and what Class carries.
    pub id: SessionId,
    /// Raised by one at each change; the store writes a change only over the version it was made from.
    pub version: u64,
    /// User-Name.
    pub user: UserName,
    /// The NAS it is on.
    pub nas: NasName,
    /// Where that NAS's packets come from.
    pub nas_address: IpAddr,
    /// What the NAS calls it.
    pub identity: Identity,
    /// What the password was worth; `None` for a session we only observe.
    pub grant: Option<Grant>,
    /// Where it is in its life.
    pub state: State,
    /// When the Access-Accept was offered (for an observed session: when it was first heard of).
    pub accepted_at: Timestamp,
    /// When it started on the NAS.
    pub started_at: Option<Timestamp>,
    /// When the NAS last spoke of it.
    pub heard_at: Timestamp,
    /// By when somebody must have said yes.
    pub deadline: Option<Timestamp>,
    /// When it was lifted.
    pub permitted_at: Option<Timestamp>,
    /// Since when it is being ended.
    pub evicting_since: Option<Timestamp>,
    /// When the NAS last said it had ended it. Not proof.
    pub disconnect_acked_at: Option<Timestamp>,
    /// Who has been asked, in the order of asking.
    pub asks: Vec<Ask>,
    /// Who has said yes so far, where one is not enough.
    pub votes: Vec<Vote>,
    /// The answer, once there is one.
    pub decision: Option<Decision>,
    /// What the prompts have been told to say.
    pub outcome: Option<Outcome>,
    /// Number of the latest CoA-Request or Disconnect-Request ordered.
    pub attempt: u32,
    /// How many of them have been ordered to the same end, for the backoff.
    pub tries: u32,
    /// When the next one is due.
    pub retry_at: Option<Timestamp>,
    /// Identify it to the NAS with all we know, since the usual set was not enough (Error-Cause 508).
    pub identify_fully: bool,
    /// What it has carried.
    pub counters: Counters,
    /// How far apart its Interim-Updates are, in whole seconds: as the Access-Accept asked, else as they came.
    pub interim_interval: Option<Duration>,
    /// How it ended.
    pub end: Option<End>,
}

/// What an ordinary report did to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneOn {
    /// It counted.
    Counted,
    /// It counted, and its state, its end and the time of its next retry may differ.
    Ended,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Access-Accept sent, no Accounting-Request Start yet.
    Offered,
    /// On the NAS, in the sandbox, waiting for a decision (or for the next try to lift it).
    Held,
    /// Approved; a CoA-Request is out.
    Permitting,
    /// Lifted: the NAS acknowledged the CoA-Request, or no hold was demanded.
    Permitted,
    /// A Disconnect-Request is out, or its effect is awaited.
    Evicting,
    /// Offered and never started.
    Dropped,
    /// Over.
    Closed,
    /// Heard of in accounting only, never accepted by us: recorded, never lifted.
    Observed,
}

impl State {
    /// All of them, in the order of a session's life.
    pub const ALL: [Self; 8] = [
        Self::Offered,
        Self::Held,
        Self::Permitting,
        Self::Permitted,
        Self::Evicting,
        Self::Dropped,
        Self::Closed,
        Self::Observed,
    ];

    /// The word in tables, logs and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Held => "held",
            Self::Permitting => "permitting",
            Self::Permitted => "permitted",
            Self::Evicting => "evicting",
            Self::Dropped => "dropped",
            Self::Closed => "closed",
            Self::Observed => "observed",
        }
    }

    /// Whether the session may still be on the NAS.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Dropped | Self::Closed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("no state is called {text:?}"))
    }
}

/// One approver asked about one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// By which channel.
    pub approver: ApproverKind,
    /// How far that went.
    pub state: AskState,
    /// When the next is asked too, if nobody has decided by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Prompts that went out although the ask as a whole could not be put, as to one of two who must both agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strays: Option<String>,
}

impl Ask {
    /// The prompts that are with people, each by its channel and where that finds it again.
    pub fn prompts(&self) -> impl Iterator<Item = (ApproverKind, &str)> {
        let sent = match &self.state {
            AskState::Sent(reference) => Some(reference.as_str()),
            AskState::Sending | AskState::Undeliverable(_) => None,
        };
        sent.into_iter().chain(self.strays.as_deref()).map(|reference| (self.approver, reference))
    }
}

/// How far an ask went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskState {
    /// Ordered, not yet delivered.
    Sending,
    /// Delivered; the approver finds the prompt again by this reference.
    Sent(String),
    /// It cannot be delivered, and this is why.
    Undeliverable(String),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// How we know.
    pub cause: EndCause,
    /// Acct-Terminate-Cause (RFC 2866 §5.10), when the NAS gave one.
    pub terminate_cause: Option<u32>,
}

/// How we know that a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// Accounting-Request Stop.
    Stop,
    /// Accounting-On or Accounting-Off: the NAS restarted, and did not say which sessions that ended.
    NasRestart,
    /// The NAS answered Error-Cause 503, Session Context Not Found.
    SessionGone,
    /// Nothing was heard of it for the stale limit.
    Stale,
    /// It never started.
    NeverStarted,
    /// Another session started on its NAS-Port.
    PortReused,
}

impl EndCause {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Stop, Self::NasRestart, Self::SessionGone, Self::Stale, Self::NeverStarted, Self::PortReused];

    /// The word in tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::NasRestart => "nas-restart",
            Self::SessionGone => "session-gone",
            Self::Stale => "stale",
            Self::NeverStarted => "never-started",
            Self::PortReused => "port-reused",
        }
    }

    /// Whether the NAS never told us of the end, so that it may contradict us yet.
    pub const fn is_presumed(self) -> bool {
        !matches!(self, Self::Stop)
    }
}

impl FromStr for EndCause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .ok_or_else(|| format!("no end cause is called {text:?}"))
    }
}

impl Session {
    /// A session as the store kept it.
    pub fn restore(record: Record) -> Self {
        Self { record: Box::new(record), excused: false }
    }

    /// A session at the moment its Access-Accept goes out.
    pub fn offer(
        id: SessionId,
        user: UserName,
        nas: NasName,
        nas_address: IpAddr,
        identity: Identity,
        grant: Grant,
        now: Timestamp,
    ) -> Self {
        let deadline = match &grant.terms {
            Terms::Hold(terms) => Some(now + terms.window),
            Terms::Waived(_) => None,
        };
        Self::restore(Record {
            deadline,
            interim_interval: interval_asked(&grant),
            ..blank(id, user, nas, nas_address, identity, Some(grant), State::Offered, now)
        })
    }

    /// The same when the second factor came with the password: its decision is on record from the start. Its grant must say so
    /// too ([`Grant::proven`]), or it is held all the same until its Start.
    pub fn approved_at_login(mut self, approval: &Approval) -> Self {
        let decision = Decision { verdict: Verdict::Approved, by: approval.by().clone(), at: self.record.accepted_at };
        self.record.decision = Some(decision);
        self
    }

    /// A session known from accounting alone.
    pub fn observe(
        id: SessionId,
        user: UserName,
        nas: NasName,
        nas_address: IpAddr,
        identity: Identity,
        now: Timestamp,
    ) -> Self {
        Self::restore(blank(id, user, nas, nas_address, identity, None, State::Observed, now))
    }

    /// Whether nothing but version, heard_at, counters and the interval between Interim-Updates differs from `before`, as after an
    /// ordinary Interim-Update; or, with `state`, `retry_at` and `end`, as after an ordinary Stop.
    pub fn has_only_gone_on_since(&self, before: Self) -> Option<GoneOn> {
        let Record { version, heard_at, counters, interim_interval, state, retry_at, end, .. } = *self.record;
        let counted = (before.state, before.retry_at, before.end) == (state, retry_at, end);
        let carried = Record { version, heard_at, counters, interim_interval, state, retry_at, end, ..*before.record };
        (carried == *self.record).then_some(if counted { GoneOn::Counted } else { GoneOn::Ended })
    }

    /// As it is kept: without what counts for one change alone.
    pub fn as_kept(self) -> Self {
        Self { excused: false, ..self }
    }

    /// Takes the record out, to be kept.
    pub fn into_record(self) -> Record {
        *self.record
    }
}

impl Deref for Session {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

#[expect(clippy::too_many_arguments, reason = "one constructor for two public ones; each argument is a different fact")]
fn blank(
    id: SessionId,
    user: UserName,
    nas: NasName,
    nas_address: IpAddr,
    identity: Identity,
    grant: Option<Grant>,
    state: State,
    now: Timestamp,
) -> Record {
    Record {
        id,
        version: 0,
        user,
        nas,
        nas_address,
        identity,
        grant,
        state,
        accepted_at: now,
        started_at: None,
        heard_at: now,
        deadline: None,
        permitted_at: None,
        evicting_since: None,
        disconnect_acked_at: None,
        asks: Vec::new(),
        votes: Vec::new(),
        decision: None,
        outcome: None,
        attempt: 0,
        tries: 0,
        retry_at: None,
        identify_fully: false,
        counters: Counters::default(),
        interim_interval: None,
        end: None,
    }
}
