//! The machine: carries out what [`super::table`] names.

mod nas;
mod person;
mod report;
mod timer;

use std::time::Duration;

use super::decision::Verdict;
use super::event::{Alert, Effect, Event, Outcome, Told};
use super::record::{Ask, AskState, End, EndCause, Record, Session, State};
use super::table::{self, Action, Kind};
use crate::model::{ApproverKind, Counters, Timestamp};
use crate::policy::{HoldTerms, Terms};

pub(super) use report::interval_asked;

/// After a silence, what was kept meanwhile needs so long to get here.
const CATCHING_UP: Duration = Duration::from_secs(10);

/// All the times a session waits, but for its window and grace, which are part of its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From Access-Accept to Start; after that the offer is dropped.
    pub start_within: Duration,
    /// Before the second try of a CoA-Request or Disconnect-Request that was not answered; doubles each time.
    pub retry_first: Duration,
    /// The longest such wait.
    pub retry_most: Duration,
    /// From Disconnect-ACK to Stop; after that the Disconnect-Request is sent again.
    pub stop_patience: Duration,
    /// How long silence in accounting stands for a lost Stop, at the least.
    pub stale_after: Duration,
    /// How many Interim-Updates in a row must be missing for the same.
    pub stale_intervals: u32,
    /// When to give up on a NAS that never acknowledged a Disconnect-Request.
    pub abandon_after: Duration,
    /// Since when accounting has been heard without a break. Silence before that says nothing about a session.
    pub listening_since: Option<Timestamp>,
    /// How far days are ahead of UTC, seconds: what a session carries is shared out over days.
    pub utc_offset: i32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            start_within: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(60),
            stop_patience: Duration::from_secs(10),
            stale_after: Duration::from_secs(600),
            stale_intervals: 3,
            abandon_after: Duration::from_secs(86_400),
            listening_since: None,
            utc_offset: 0,
        }
    }
}

/// What an event made of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The session afterwards; its version is one more when anything changed.
    pub session: Session,
    /// Orders, to be kept together with the session.
    pub effects: Vec<Effect>,
    /// What the counters grew by.
    pub usage: Counters,
    /// The answer to whoever brought the event.
    pub told: Told,
}

impl Step {
    /// Whether there is anything to keep.
    pub fn changes(&self, before: &Session) -> bool {
        self.session.version != before.version
    }
}

/// Applies one event at one time.
pub fn step(session: &Session, event: &Event, now: Timestamp, timing: &Timing) -> Step {
    let mut turn =
        Turn { record: session.record.clone(), effects: Vec::new(), usage: Counters::default(), now, timing };
    let told = turn.take(event);
    if turn.record != session.record || !turn.effects.is_empty() {
        turn.record.version += 1;
    }
    let excused = unheard(&turn.record, timing);
    Step { session: Session { record: turn.record, excused }, effects: turn.effects, usage: turn.usage, told }
}

impl Session {
    /// When the session next wants [`Event::TimerPassed`].
    pub fn wake_at(&self, timing: &Timing) -> Option<Timestamp> {
        match self.state {
            State::Offered => earliest(Some(self.accepted_at + timing.start_within), self.next_ask_at()),
            State::Held => earliest(earliest(self.deadline, self.retry_at), self.next_ask_at()),
            State::Permitting => self.deadline,
            State::Evicting => earliest(Some(self.eviction_limit(timing)), self.retry_at),
            // Silence means something only on a NAS that sends Interim-Updates.
            State::Permitted | State::Observed => {
                let interims = self.started_at.is_some_and(|started| self.heard_at > started);
                let expected = interims || self.interim_interval.is_some();
                expected.then(|| self.silent_since(timing) + self.stale_limit(timing))
            }
            State::Dropped | State::Closed => None,
        }
    }

    /// Whether an order is still worth carrying out; one that was overtaken by events is not.
    pub fn wants(&self, effect: &Effect) -> bool {
        match effect {
            Effect::AskApprover { approver } => {
                matches!(self.state, State::Offered | State::Held)
                    && self.decision.is_none()
                    && self.outcome != Some(Outcome::Superseded)
                    && self.asks.iter().any(|ask| ask.approver == *approver && ask.state == AskState::Sending)
            }
            Effect::TellApprover { outcome, .. } => self.outcome == Some(*outcome),
            Effect::TellEnd { .. } => self.state == State::Closed && self.permitted_at.is_some(),
            Effect::SendCoa { attempt } => self.state == State::Permitting && self.attempt == *attempt,
            Effect::SendDisconnect { attempt } => self.state == State::Evicting && self.attempt == *attempt,
            Effect::AlertOperator { .. } => true,
        }
    }

    /// When the patience of somebody who was asked is over.
    fn next_ask_at(&self) -> Option<Timestamp> {
        if self.decision.is_some() { None } else { self.asks.iter().filter_map(|ask| ask.next_at).min() }
    }

    fn eviction_limit(&self, timing: &Timing) -> Timestamp {
        let since = self.evicting_since.unwrap_or(self.accepted_at);
        match self.disconnect_acked_at {
            Some(_) => since.max(self.silent_since(timing)) + self.stale_limit(timing),
            None => since + timing.abandon_after,
        }
    }

    fn silent_since(&self, timing: &Timing) -> Timestamp {
        timing.listening_since.map_or(self.heard_at, |since| since.max(self.heard_at))
    }

    /// How long silence is no news: some of its Interim-Updates may be lost.
    fn stale_limit(&self, timing: &Timing) -> Duration {
        let intervals = self.interim_interval.unwrap_or_default().saturating_mul(timing.stale_intervals);
        intervals.max(timing.stale_after)
    }
}

/// One event being applied.
struct Turn<'a> {
    record: Box<Record>,
    effects: Vec<Effect>,
    usage: Counters,
    now: Timestamp,
    timing: &'a Timing,
}

impl Turn<'_> {
    fn take(&mut self, event: &Event) -> Told {
        let action = table::action(self.record.state, Kind::of(event));
        if let Event::Interim(report) = event {
            self.learn_interval(report);
        }
        match (action, event) {
            (Action::Ask, _) if self.record.asks.is_empty() => {
                self.report_emergency();
                self.ask_first();
            }
            (Action::Begin, Event::Started(report) | Event::Interim(report)) => self.begin(report),
            (Action::Refresh, Event::Started(report) | Event::Interim(report)) => self.refresh(report),
            (Action::Verify, Event::Interim(report)) => self.verify(report),
            (Action::Insist, Event::Interim(report)) => self.insist(report),
            (Action::Revive, Event::Started(report) | Event::Interim(report)) => self.revive(report),
            (Action::Close, Event::Stopped(report)) => self.stop(report),
            (Action::Correct, Event::Stopped(report)) => self.correct(report),
            (Action::CloseIfOlder, Event::NasRestarted { at }) => self.close_if_older(*at),
            (Action::CloseIfBefore, Event::PortReused { at }) => self.close_if_before(*at),
            (Action::NotePrompt, Event::PromptSent { approver, reference }) => self.note_prompt(*approver, reference),
            (Action::AskNext, Event::PromptUndeliverable { approver, reason, strays }) => {
                self.note_strays(*approver, strays.as_deref());
                self.undeliverable(*approver, reason);
            }
            (Action::NoteStrays, Event::PromptUndeliverable { approver, strays: Some(strays), .. }) => {
                self.note_strays(*approver, Some(strays));
            }
            (Action::Remember | Action::Decide, Event::Approved(approval)) => return self.approve(approval),
            (Action::Remember | Action::Decide, Event::Denied(denial)) => return self.deny(denial),
            (Action::Supersede, _) => self.supersede(),
            (Action::Evict, Event::Kicked(denial)) => self.kick(denial),
            (Action::EvictAtStart, Event::Kicked(denial)) => self.decide(Verdict::Denied, denial.by()),
            (Action::TooLate, _) => return self.too_late(),
            (Action::NothingToDecide, _) => return Told::NotHeld,
            (Action::Drop, _) => self.drop_offer(),
            (Action::Wake, _) => self.wake(),
            (Action::WakeEvicting, _) => self.wake_evicting(),
            (Action::CloseIfStale, _) => self.close_if_stale(),
            (Action::Lift, _) => self.lift(),
            (Action::CoaRefused, Event::CoaNaked { attempt, error_cause }) => self.coa_refused(*attempt, *error_cause),
            (Action::CoaLost, Event::CoaUnanswered { attempt }) => self.coa_lost(*attempt),
            (Action::AwaitStop, _) => self.await_stop(),
            (Action::DisconnectRefused, Event::DisconnectNaked { attempt, error_cause }) => {
                self.disconnect_refused(*attempt, *error_cause);
            }
            (Action::DisconnectLost, Event::DisconnectUnanswered { attempt }) => self.disconnect_lost(*attempt),
            // The table pairs each action with the events above; whatever else it names does nothing.
            _ => return Told::Nothing,
        }
        Told::Done
    }

    fn evict(&mut self, outcome: Outcome) {
        self.record.state = State::Evicting;
        self.record.evicting_since = Some(self.now);
        self.record.disconnect_acked_at = None;
        self.record.tries = 0;
        self.order_disconnect();
        self.tell(outcome);
    }

    fn close(&mut self, cause: EndCause, at: Timestamp, terminate_cause: Option<u32>) {
        let waiting = matches!(self.record.state, State::Offered | State::Held | State::Permitting);
        self.record.state = State::Closed;
        self.record.retry_at = None;
        self.record.end = Some(End { at, cause, terminate_cause });
        if waiting {
            self.tell(Outcome::Disconnected);
        } else if self.record.permitted_at.is_some() {
            self.tell_end();
        }
    }

    fn order_coa(&mut self) {
        self.record.state = State::Permitting;
        let attempt = self.next_attempt();
        self.effects.push(Effect::SendCoa { attempt });
    }

    fn order_disconnect(&mut self) {
        let attempt = self.next_attempt();
        self.effects.push(Effect::SendDisconnect { attempt });
    }

    fn next_attempt(&mut self) -> u32 {
        self.record.attempt += 1;
        self.record.tries += 1;
        self.record.retry_at = None;
        self.record.attempt
    }

    fn alert(&mut self, alert: Alert) {
        self.effects.push(Effect::AlertOperator { alert });
    }

    fn tell(&mut self, outcome: Outcome) {
        // Whoever was asked must not read of the older login again.
        if self.record.outcome == Some(outcome) || self.is_superseded() || self.hold_terms().is_none() {
            return;
        }
        self.record.outcome = Some(outcome);
        for (approver, reference) in self.record.asks.iter().flat_map(Ask::prompts).filter(|(it, _)| has_prompt(*it)) {
            let reference = reference.to_owned();
            self.effects.push(Effect::TellApprover { approver, reference, outcome });
        }
    }

    fn is_superseded(&self) -> bool {
        self.record.outcome == Some(Outcome::Superseded)
    }

    /// Whoever was told that it is open hears of its end, too.
    fn tell_end(&mut self) {
        for (approver, reference) in self.record.asks.iter().flat_map(Ask::prompts).filter(|(it, _)| has_prompt(*it)) {
            self.effects.push(Effect::TellEnd { approver, reference: reference.to_owned() });
        }
    }

    fn backoff(&self) -> Duration {
        let doublings = self.record.tries.saturating_sub(1).min(16);
        self.timing.retry_first.saturating_mul(1 << doublings).min(self.timing.retry_most)
    }

    fn past_deadline(&self) -> bool {
        self.record.deadline.is_some_and(|deadline| self.now >= deadline)
    }

    fn retry_is_due(&self) -> bool {
        self.record.retry_at.is_some_and(|at| self.now >= at)
    }

    fn hold_terms(&self) -> Option<HoldTerms> {
        match &self.record.grant.as_ref()?.terms {
            Terms::Hold(terms) => Some(terms.clone()),
            Terms::Waived(_) => None,
        }
    }
}

/// Whether the wait of a session was over before this server heard again of what had happened meanwhile: the answer, or the Start,
/// may lie in a spool.
fn unheard(record: &Record, timing: &Timing) -> bool {
    let Some(since) = timing.listening_since.filter(|since| record.accepted_at < *since) else { return false };
    let over = match (record.outcome, record.end) {
        (Some(Outcome::Disconnected), Some(End { cause: EndCause::NeverStarted, .. })) => {
            Some(record.accepted_at + timing.start_within)
        }
        (Some(Outcome::Disconnected), end) => end.map(|end| end.at),
        _ => record.deadline,
    };
    over.is_some_and(|over| over < since + CATCHING_UP)
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether there is something to be told how it ended: what the operator is asked stands in a list, and leaves it by itself.
const fn has_prompt(approver: ApproverKind) -> bool {
    !matches!(approver, ApproverKind::Operator)
}
