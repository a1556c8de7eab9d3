//! One session taken through one or more events, up to the change the store is asked to keep.

use crate::accounting::{Share, by_day};
use crate::model::{Counters, Timestamp};
use crate::session::{Effect, Event, GoneOn, Session, Timing, Told, step};
use crate::store::{Change, Extent, OrderId, Usage};

/// A session in the hand: what it was, what it is now, and what that demands.
pub(super) struct Turn {
    now: Timestamp,
    timing: Timing,
    session: Session,
    from_version: Option<u64>,
    /// As it was kept, once it has taken an event.
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
            before: None,
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
        let turn = Self { from_version: None, ..Self::of_kept(session, now, timing) };
        if accepted { turn.take(&Event::Accepted) } else { turn }
    }

    /// Applies an event.
    pub(super) fn take(mut self, event: &Event) -> Self {
        let step = step(&self.session, event, self.now, &self.timing);
        // A timer that came early was set by other timing: it wants setting anew, or it would come for ever.
        self.timer_stale |= matches!(event, Event::TimerPassed) && !step.changes(&self.session);
        let before = std::mem::replace(&mut self.session, step.session);
        if self.from_version.is_some() {
            self.before.get_or_insert(before);
        }
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

    /// When it is known whether a session's NAS sends Interim-Updates, which nobody waits for until one came: so that the first of them
    /// need not give the session a time to be woken at, and change an index. Woken then, it is given its time, or none.
    fn first_look(&self, session: &Session) -> Option<Timestamp> {
        let at = session.heard_at + self.timing.stale_after;
        (session.state.is_open() && session.started_at.is_some() && at > self.now && !self.timer_stale).then_some(at)
    }

    /// The session as it is now, if it is open.
    pub(super) fn open_session(&self) -> Option<&Session> {
        Some(&self.session).filter(|session| session.state.is_open())
    }

    /// The answer to whoever brought the last event.
    pub(super) fn told(&self) -> Told {
        self.told
    }

    /// The change to be kept, with the order it settles.
    pub(super) fn into_change(mut self, settles: Option<OrderId>) -> Change {
        let before = self.before.take();
        let session = &self.session;
        let shares = by_day(self.heard_before(session), session.heard_at, &self.usage, self.timing.utc_offset);
        let usage = shares.into_iter().map(|Share { day, from, to, added }| Usage {
            session: session.id,
            user: session.user.clone(),
            nas: session.nas.clone(),
            from,
            to,
            day,
            added,
        });
        let usage = usage.collect();
        let extent = match before.and_then(|before| session.has_only_gone_on_since(before)) {
            Some(GoneOn::Counted) if !self.timer_stale => Extent::Counters,
            Some(GoneOn::Ended) if !self.timer_stale => Extent::End,
            _ => Extent::Whole,
        };
        Change {
            extent,
            wake_at: session.wake_at(&self.timing).or_else(|| self.first_look(session)),
            from_version: self.from_version,
            orders: self.orders,
            usage,
            settles,
            at: self.now,
            session: self.session,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Report;
    use crate::model::{Identity, SessionId};

    fn octets(change: &Change) -> u64 {
        change.usage.iter().map(|usage| usage.added.input_octets).sum()
    }

    #[test]
    fn a_change_says_no_more_than_what_it_is_about() {
        let now = Timestamp::from_secs(1_795_176_000);
        let report = |secs: u64, octets: u64| Report {
            at: now + std::time::Duration::from_secs(secs),
            counters: Counters { input_octets: octets, session_time: secs, ..Counters::default() },
            ..Report::default()
        };
        let moved = Report {
            identity: Identity { framed_ip: Some("10.0.0.9".parse().unwrap()), ..Identity::default() },
            ..report(90, 3)
        };
        let id = SessionId(uuid::Uuid::from_u128(1));
        let address = "192.0.2.1".parse().unwrap();
        let new = Session::observe(id, "alice".into(), "edge".into(), address, Identity::default(), now);
        let timing = Timing::default();
        let mut change = Turn::of_new(new, now, timing).take(&Event::Started(report(0, 0))).into_change(None);
        for (event, extent) in [
            (Event::Interim(report(60, 1)), Extent::Counters),
            (Event::Interim(moved), Extent::Whole),
            (Event::Stopped(report(120, 4)), Extent::End),
            // The earlier of two Stops.
            (Event::Stopped(report(110, 4)), Extent::End),
            // Late, and of a session that stays over.
            (Event::Interim(report(180, 5)), Extent::Counters),
        ] {
            change = Turn::of_kept(change.session, now, timing).take(&event).into_change(None);
            assert_eq!(change.extent, extent, "{event:?}");
        }
    }

    /// So that the first Interim-Update changes no index, and a NAS that sends none has its sessions looked at once.
    #[test]
    fn a_session_is_looked_at_once_for_interim_updates() {
        let start = Timestamp::from_secs(1_795_176_000);
        let at = |secs| start + std::time::Duration::from_secs(secs);
        let timing = Timing::default();
        let address = "192.0.2.1".parse().unwrap();
        let new = Session::observe(
            SessionId(uuid::Uuid::from_u128(1)),
            "a".into(),
            "edge".into(),
            address,
            Identity::default(),
            start,
        );
        let report = |secs| Report { at: at(secs), ..Report::default() };
        let started = Turn::of_new(new, start, timing).take(&Event::Started(report(0))).into_change(None);
        assert_eq!(started.wake_at, Some(at(600)));

        let woken = |session: Session| Turn::of_kept(session, at(600), timing).take(&Event::TimerPassed);
        let silent = woken(started.session.clone());
        assert!(!silent.is_idle(), "its time is taken off");
        assert_eq!(silent.into_change(None).wake_at, None, "silent by nature");

        let counted =
            Turn::of_kept(started.session, at(60), timing).take(&Event::Interim(report(60))).into_change(None);
        assert_eq!(
            (counted.extent, counted.wake_at),
            (Extent::Counters, Some(at(660))),
            "not sooner than it would be woken"
        );
        assert_eq!(woken(counted.session).into_change(None).wake_at, Some(at(660)));
    }

    /// What the spool depends on: a batch whose fate was unknown is brought again.
    #[test]
    fn what_is_applied_again_changes_nothing() {
        let now = Timestamp::from_secs(1_795_176_000);
        let report = |secs: u64, octets: u64| Report {
            at: now + std::time::Duration::from_secs(secs),
            counters: Counters { input_octets: octets, session_time: secs, ..Counters::default() },
            ..Report::default()
        };
        let events = [
            Event::Started(report(0, 0)),
            Event::Interim(report(60, 5_000_000_000)),
            Event::Interim(report(120, 5_000_000_007)),
            Event::Stopped(report(180, 6_000_000_000)),
        ];
        let address = "192.0.2.1".parse().unwrap();
        let id = SessionId(uuid::Uuid::from_u128(1));
        let new = Session::observe(id, "alice".into(), "edge".into(), address, Identity::default(), now);
        let timing = Timing::default();
        let mut turn = Turn::of_new(new, now, timing);
        let mut carried = 0;
        for event in &events {
            turn = turn.take(event);
        }
        let change = turn.into_change(None);
        carried += octets(&change);
        let mut session = change.session;
        // All of it once more, and from behind.
        for event in events.iter().chain(events.iter().rev()) {
            let again = Turn::of_kept(session.clone(), now, timing).take(event);
            assert!(again.is_idle(), "{event:?}");
            let change = again.into_change(None);
            carried += octets(&change);
            session = change.session;
        }
        assert_eq!((session.counters.input_octets, carried), (6_000_000_000, 6_000_000_000));
    }
}
