//! When the end of a hold is a strike against its account and caller.
//!
//! Never counts strikes: that is `policy`'s.

use std::time::Duration;

use super::event::Outcome;
use super::record::{Ask, AskState, EndCause, Session};
use crate::model::{ApproverKind, Timestamp};
use crate::policy::{Caller, Strike, StrikeReason};

/// A deadline noticed later was not watched: the store was away, or the server down.
const LATE: Duration = Duration::from_secs(10);

impl Session {
    /// The strike this session is, kept at that time, which is that of the change. Who keeps it does so once.
    ///
    /// A hold nobody could be asked about is none: a messenger that is away must not ban everybody. Nor is one that an operator
    /// ended, or that went down with its NAS. A caller who left before the answer has disturbed somebody only when a person's own
    /// device was asked: an operator's list, read when there is time, is not rung. Nor is it one when the time ran out while
    /// this server could not hear the answer, or the Start. A silence is judged by the change that ended it alone.
    pub fn strike(&self, at: Timestamp) -> Option<Strike> {
        let delivered = |ask: &&Ask| matches!(ask.state, AskState::Sent(_));
        let asked = self.asks.iter().any(|ask| delivered(&ask));
        let rung = self.asks.iter().filter(delivered).any(|ask| ask.approver != ApproverKind::Operator);
        let caller_left = self.end.is_some_and(|end| match end.cause {
            EndCause::Stop => true,
            EndCause::NeverStarted => end.at == at,
            _ => false,
        });
        let watched =
            self.evicting_since == Some(at) && self.deadline.is_some_and(|deadline| at.since(deadline) <= LATE);
        let why = match self.outcome? {
            Outcome::Denied => StrikeReason::Denied,
            Outcome::WrongNumber => StrikeReason::WrongNumber,
            _ if self.excused => return None,
            Outcome::Expired if asked && watched => StrikeReason::Unanswered,
            Outcome::Disconnected if rung && caller_left && self.decision.is_none() => StrikeReason::GaveUp,
            // Dialling again before the answer is no way around either.
            Outcome::Superseded if rung => StrikeReason::GaveUp,
            _ => return None,
        };
        Some(Strike {
            session: self.id,
            at,
            user: self.user.clone(),
            nas: self.nas.clone(),
            caller: self.identity.calling_station_id.as_deref().and_then(Caller::read),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use uuid::Uuid;

    use super::super::{Denial, Event, Timing, step};
    use super::*;
    use crate::accounting::Report;
    use crate::model::{Counters, Identity, SessionId};
    use crate::policy::{Grant, HoldTerms, Terms};

    const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);

    fn offered() -> Session {
        let hold = HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), [ApproverKind::Telegram]);
        let grant = Grant {
            sandbox_filter: "sandbox".into(),
            permit_filter: "permit".into(),
            terms: Terms::Hold(hold),
            session_timeout: None,
            reply: vec![],
        };
        let identity = Identity { calling_station_id: Some("192.0.2.7".into()), ..Identity::default() };
        let address = IpAddr::from([192, 0, 2, 1]);
        Session::offer(SessionId(Uuid::from_u128(1)), "alice".into(), "edge".into(), address, identity, grant, NOON)
    }

    fn report(secs: u64) -> Report {
        Report {
            at: NOON + Duration::from_secs(secs),
            dated: true,
            by_nas_clock: true,
            identity: Identity::default(),
            counters: Counters::default(),
            wraps: false,
            terminate_cause: None,
            filter_id: None,
        }
    }

    fn secs(secs: u64) -> Timestamp {
        NOON + Duration::from_secs(secs)
    }

    fn lived(events: impl IntoIterator<Item = (u64, Event)>) -> Lived {
        heard_since(None, events)
    }

    /// After these events, by a server that has been listening since then.
    fn heard_since(listening_since: Option<u64>, events: impl IntoIterator<Item = (u64, Event)>) -> Lived {
        let timing = Timing { listening_since: listening_since.map(secs), ..Timing::default() };
        events.into_iter().fold(Lived { session: offered(), at: NOON }, |lived, (at, event)| Lived {
            session: step(&lived.session, &event, secs(at), &timing).session,
            at: secs(at),
        })
    }

    /// A session as its last change left it.
    struct Lived {
        session: Session,
        at: Timestamp,
    }

    fn asked_by(approver: ApproverKind) -> (u64, Event) {
        (1, Event::PromptSent { approver, reference: "1".into() })
    }

    fn asked() -> (u64, Event) {
        asked_by(ApproverKind::Telegram)
    }

    fn why(lived: &Lived) -> Option<StrikeReason> {
        lived.session.strike(lived.at).map(|strike| strike.why)
    }

    #[test]
    fn a_no_and_a_silence_are_strikes_and_stay_one() {
        let denied = (10, Event::Denied(Denial::by_operator("root")));
        let started = (2, Event::Started(report(2)));
        let session = lived([(0, Event::Accepted), asked(), started.clone(), denied.clone()]);
        let strike = session.session.strike(session.at).unwrap();
        assert_eq!((strike.why, strike.caller), (StrikeReason::Denied, Caller::read("192.0.2.7")));
        let stopped = lived([(0, Event::Accepted), asked(), started.clone(), denied, (12, Event::Stopped(report(12)))]);
        assert_eq!(why(&stopped), Some(StrikeReason::Denied));
        assert_eq!(why(&lived([(0, Event::Accepted), asked(), started.clone()])), None, "it is still waiting");
        let silent = lived([(0, Event::Accepted), asked(), started, (121, Event::TimerPassed)]);
        assert_eq!(why(&silent), Some(StrikeReason::Unanswered));
    }

    #[test]
    fn hanging_up_before_the_answer_is_no_way_around() {
        let started = (2, Event::Started(report(2)));
        let stop = (60, Event::Stopped(report(60)));
        assert_eq!(
            why(&lived([(0, Event::Accepted), asked(), started.clone(), stop.clone()])),
            Some(StrikeReason::GaveUp)
        );
        assert_eq!(why(&lived([(0, Event::Accepted), asked(), (61, Event::TimerPassed)])), Some(StrikeReason::GaveUp));
        assert_eq!(why(&lived([(0, Event::Accepted), started.clone(), stop.clone()])), None, "nobody had been asked");
        let listed = [(0, Event::Accepted), asked_by(ApproverKind::Operator), started.clone(), stop];
        assert_eq!(why(&lived(listed)), None, "nobody's device had rung");
        let restarted = (60, Event::NasRestarted { at: NOON + Duration::from_secs(60) });
        assert_eq!(why(&lived([(0, Event::Accepted), asked(), started, restarted])), None, "the NAS went down");
    }

    #[test]
    fn what_ran_out_unheard_is_none() {
        let started = (2, Event::Started(report(2)));
        let waiting = [(0, Event::Accepted), asked(), started];
        let expired = |since, at| {
            let events = waiting.clone().into_iter().chain([(at, Event::TimerPassed)]);
            why(&heard_since(since, events))
        };
        assert_eq!(expired(None, 121), Some(StrikeReason::Unanswered));
        assert_eq!(expired(Some(100), 121), Some(StrikeReason::Unanswered), "there was time to hear the answer");
        assert_eq!(expired(Some(115), 121), None, "the store came back, and the answer may be on its way");
        assert_eq!(expired(Some(300), 300), None);
        assert_eq!(expired(None, 131), None, "nobody watched the deadline");
        let offered = [(0, Event::Accepted), asked(), (61, Event::TimerPassed)];
        assert_eq!(why(&heard_since(Some(61), offered)), None, "its Start may lie in a spool");
        // What another node does with it later makes no strike of it either.
        let excused = heard_since(Some(115), waiting.clone().into_iter().chain([(121, Event::TimerPassed)]));
        let stopped = step(&excused.session, &Event::Stopped(report(125)), secs(125), &Timing::default()).session;
        assert_eq!(stopped.strike(secs(125)), None);
    }

    #[test]
    fn what_nobody_could_be_asked_or_an_operator_ended_is_none() {
        let lost = Event::PromptUndeliverable { approver: ApproverKind::Telegram, reason: "away".into(), strays: None };
        let session = lived([(0, Event::Accepted), (1, Event::Started(report(1))), (2, lost)]);
        assert_eq!(session.session.outcome, Some(Outcome::Expired));
        assert_eq!(why(&session), None);
        let kicked = (5, Event::Kicked(Denial::by_operator("root")));
        assert_eq!(why(&lived([(0, Event::Accepted), asked(), (2, Event::Started(report(2))), kicked])), None);
    }
}
