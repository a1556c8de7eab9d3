//! One session taken through one or more events, up to the change the store is asked to keep.

use crate::model::{Counters, Timestamp};
use crate::session::{Effect, Event, Session, Timing, Told, step};
use crate::store::{Change, Extent, OrderId, Usage};

/// A session in the hand: what it was, what it is now, and what that demands.
pub(super) struct Turn {
    now: Timestamp,
    timing: Timing,
    session: Session,
    from_version: Option<u64>,
    /// As it was kept.
    before: Option<Session>,
    heard_before: Timestamp,
    orders: Vec<Effect>,
    usage: Counters,
    told: Told,
    timer_stale: bool,
}

impl Turn {
    /// A session as it is kept.
    pub(super) fn of_kept(session: Session, now: Timestamp, timing: Timing) -> Self {
        Self {
            now,
            timing,
            from_version: Some(session.version),
            before: Some(session.clone()),
            heard_before: session.heard_at,
            orders: Vec::new(),
            usage: Counters::default(),
            told: Told::Nothing,
            timer_stale: false,
            session,
        }
    }

    /// A session that is not kept yet: the life of one we accepted begins with its Access-Accept.
    pub(super) fn of_new(session: Session, now: Timestamp, timing: Timing) -> Self {
        let accepted = session.grant.is_some();
        let turn = Self { from_version: None, before: None, ..Self::of_kept(session, now, timing) };
        if accepted { turn.take(&Event::Accepted) } else { turn }
    }

    /// Applies an event.
    pub(super) fn take(mut self, event: &Event) -> Self {
        let step = step(&self.session, event, self.now, &self.timing);
        // A timer that came early was set by other timing: it wants setting anew, or it would come for ever.
        self.timer_stale |= matches!(event, Event::TimerPassed) && !step.changes(&self.session);
        self.session = step.session;
        self.orders.extend(step.effects);
        self.usage = add(&self.usage, &step.usage);
        self.told = step.told;
        self
    }

    /// Whether there is nothing to keep.
    pub(super) fn is_idle(&self) -> bool {
        self.from_version == Some(self.session.version) && !self.timer_stale
    }

    /// The report before this one, or the start.
    fn heard_before(&self, session: &Session) -> Timestamp {
        let start = session.started_at.unwrap_or(session.accepted_at);
        let before = if self.from_version.is_some() { self.heard_before.max(start) } else { start };
        before.min(session.heard_at)
    }

    /// The answer to whoever brought the last event.
    pub(super) fn told(&self) -> Told {
        self.told
    }

    /// The change to be kept, with the order it settles.
    pub(super) fn change(&self, settles: Option<OrderId>) -> Change {
        let session = &self.session;
        let usage = (self.usage != Counters::default()).then(|| Usage {
            session: session.id,
            user: session.user.clone(),
            nas: session.nas.clone(),
            from: self.heard_before(session),
            to: session.heard_at,
            added: self.usage,
        });
        let counted = self.before.as_ref().is_some_and(|before| session.has_only_counted_since(before));
        let extent = if counted && !self.timer_stale { Extent::Counters } else { Extent::Whole };
        Change {
            extent,
            wake_at: session.wake_at(&self.timing),
            from_version: self.from_version,
            orders: self.orders.clone(),
            usage,
            settles,
            at: self.now,
            session: session.clone(),
        }
    }
}

fn add(a: &Counters, b: &Counters) -> Counters {
    Counters {
        input_octets: a.input_octets + b.input_octets,
        output_octets: a.output_octets + b.output_octets,
        input_packets: a.input_packets + b.input_packets,
        output_packets: a.output_packets + b.output_packets,
        session_time: a.session_time + b.session_time,
    }
}
