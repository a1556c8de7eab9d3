//! The machine: carries out what [`super::table`] names.

use std::time::Duration;

use super::decision::{Approval, DecidedBy, Decision, Denial, Verdict, Vote};
use super::event::{Alert, Effect, Event, Outcome, Told};
use super::record::{Ask, AskState, End, EndCause, Record, Session, State};
use super::table::{self, Action, Kind};
use super::voices::Speaks;
use crate::accounting::{self, Report};
use crate::dynauth::{ErrorCause, Remedy};
use crate::model::{ApproverKind, ApproverStep, Counters, SecondPerson, Timestamp, WhenUnreachable};
use crate::policy::{Grant, HoldTerms, Terms};

/// After so many orders to one session its accounting is not compared with the filter any more.
const MOST_VERIFIED: u32 = 5;
/// Interim-Updates are no more frequent than this (RFC 2869 §5.16), but for those a NAS sends out of turn.
const LEAST_INTERVAL: Duration = Duration::from_secs(60);
/// Nor does anybody mean to send them more seldom than this.
const MOST_INTERVAL: Duration = Duration::from_secs(86_400);

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

/// Proof that a session may leave the sandbox: somebody approved it, or its policy demanded no hold.
struct MayPermit(());

impl MayPermit {
    fn proven_by(record: &Record) -> Option<Self> {
        let verdict = record.decision.as_ref().map(|decision| decision.verdict);
        let proven = match &record.grant.as_ref()?.terms {
            Terms::Waived(_) => verdict != Some(Verdict::Denied),
            Terms::Hold(_) => verdict == Some(Verdict::Approved),
        };
        proven.then_some(Self(()))
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

    // -- accounting

    fn begin(&mut self, report: &Report) {
        let was_over = !self.record.state.is_open();
        self.refresh(report);
        self.record.end = None;
        let decision = self.record.decision.as_ref().map(|decision| decision.verdict);
        if decision == Some(Verdict::Denied) {
            // Said before, and in the prompt's own words.
            let wrong_number = self.record.outcome.filter(|outcome| *outcome == Outcome::WrongNumber);
            self.evict(wrong_number.unwrap_or(Outcome::Denied));
        } else if self.hold_terms().is_none() {
            self.lift();
        } else if self.past_deadline() {
            self.evict(if decision.is_some() { Outcome::NotLifted } else { Outcome::Expired });
        } else if decision == Some(Verdict::Approved) {
            self.order_coa();
        } else {
            self.record.state = State::Held;
            if was_over && !self.is_superseded() {
                // Whoever was asked has been told that it was over.
                self.record.outcome = None;
                self.record.asks.clear();
                self.record.votes.clear();
                self.ask_first();
            }
        }
    }

    /// Takes over what the NAS says, so that any order and repetition of a session's reports comes to the same.
    fn refresh(&mut self, report: &Report) {
        let record = &mut self.record;
        let (known, later) = (&record.counters, report.at >= record.heard_at);
        let reported = if report.wraps {
            accounting::unwrapped(known, &report.counters, later && report.counters.session_time >= known.session_time)
        } else {
            report.counters
        };
        self.usage = accounting::grow(&mut record.counters, &reported);
        if later {
            record.identity.absorb(&report.identity);
        } else {
            let newer = std::mem::replace(&mut record.identity, report.identity.clone());
            record.identity.absorb(&newer);
        }
        record.heard_at = record.heard_at.max(report.at);
        // Any report may be the first we hear: it says itself since when the session has been up.
        let start = report.began_at();
        record.started_at = Some(record.started_at.map_or(start, |known| known.min(start)));
    }

    /// Intervals are as they come, but not shorter than what was asked for. A single short one (a NAS may report out of turn)
    /// halves the expectation at most, and one that was long for want of a network is soon forgotten.
    fn learn_interval(&mut self, report: &Report) {
        if report.at > self.record.heard_at {
            let gap = report.at.since(self.record.heard_at).clamp(LEAST_INTERVAL, MOST_INTERVAL);
            let asked = self.record.grant.as_ref().and_then(interval_asked).unwrap_or_default();
            let known = self.record.interim_interval.unwrap_or_default() / 2;
            self.record.interim_interval = Some(Duration::from_secs(gap.max(known).max(asked).as_secs()));
        }
    }

    /// An ACK is not proof: a NAS that shows the sandbox filter after it ACKed the other has not done it.
    fn verify(&mut self, report: &Report) {
        self.refresh(report);
        let (Some(grant), Some(shown), Some(terms)) = (&self.record.grant, &report.filter_id, self.hold_terms()) else {
            return;
        };
        let after_lift = self.record.permitted_at.is_some_and(|lifted| report.at > lifted);
        // A NAS that goes on showing it after several orders does not show the filter in force at all.
        let worth_it = self.record.attempt < MOST_VERIFIED;
        if worth_it && after_lift && *shown == grant.sandbox_filter && grant.sandbox_filter != grant.permit_filter {
            self.record.deadline = Some(self.now + terms.window);
            self.record.permitted_at = None;
            self.record.tries = 0;
            self.alert(Alert::AckWithoutEffect);
            self.order_coa();
        }
    }

    fn insist(&mut self, report: &Report) {
        self.refresh(report);
        if self.record.disconnect_acked_at.is_some_and(|acked| report.at > acked) {
            self.record.disconnect_acked_at = None;
            self.order_disconnect();
        }
    }

    fn revive(&mut self, report: &Report) {
        let presumed = self.record.end.is_some_and(|end| end.cause.is_presumed() && report.at > end.at);
        let begun = self.record.started_at.is_some();
        if presumed && !begun {
            return self.begin(report);
        }
        self.refresh(report);
        if !presumed {
            return;
        }
        self.record.end = None;
        if self.record.grant.is_none() {
            self.record.state = State::Observed;
        } else if self.record.permitted_at.is_some() && self.record.evicting_since.is_none() {
            self.lift();
        } else {
            self.record.state = State::Evicting;
            self.record.evicting_since = Some(self.now);
            self.record.disconnect_acked_at = None;
            self.order_disconnect();
        }
    }

    fn stop(&mut self, report: &Report) {
        self.refresh(report);
        // The first we hear may be the last: its Start was lost, or still lies in a spool.
        self.record.started_at.get_or_insert(report.began_at());
        self.close(EndCause::Stop, report.at, report.terminate_cause);
    }

    /// What the NAS says of the end counts for more than what was presumed; of two Stops, the earlier.
    fn correct(&mut self, report: &Report) {
        self.refresh(report);
        let end = End { at: report.at, cause: EndCause::Stop, terminate_cause: report.terminate_cause };
        let order = |end: &End| (end.cause.is_presumed(), end.at, end.terminate_cause.is_none(), end.terminate_cause);
        if self.record.end.is_none_or(|known| order(&end) < order(&known)) {
            self.record.end = Some(end);
        }
    }

    fn close_if_older(&mut self, restarted_at: Timestamp) {
        if self.record.accepted_at <= restarted_at {
            self.close(EndCause::NasRestart, restarted_at, None);
        }
    }

    fn close_if_before(&mut self, reused_at: Timestamp) {
        let started_at = self.record.started_at.unwrap_or(self.record.accepted_at);
        // Heard of since, it is alive: ports of this NAS are not what they were said to be.
        if started_at < reused_at && self.record.heard_at <= reused_at {
            self.close(EndCause::PortReused, reused_at, None);
        }
    }

    // -- the person

    /// The operator hears of each use of an emergency code, by an order that is kept with the session it let in.
    fn report_emergency(&mut self) {
        let decided_by = self.record.decision.as_ref().map(|decision| decision.by.clone());
        if let Some(by) = decided_by.filter(|by| by.approver == ApproverKind::Emergency) {
            self.alert(Alert::EmergencyCode { who: by.who });
        }
    }

    fn ask_first(&mut self) {
        let Some(terms) = self.hold_terms() else { return };
        if self.is_superseded() {
            return;
        }
        self.ask_next();
        if terms.second_person.is_some_and(|second| second.own) {
            // Both must confirm, and neither waits for the other.
            let asked = |kind| self.record.asks.iter().any(|ask| ask.approver == kind);
            let missing = |step: &&ApproverStep| match asked(ApproverKind::Person) {
                true => speaks_for_own(step.kind),
                false => step.kind == ApproverKind::Person,
            };
            if let Some(step) = terms.approvers.iter().find(missing).copied() {
                self.ask(step);
            }
        }
        self.ask_until_somebody_can_answer("nobody is named who could be asked");
    }

    /// Asks the next one; `false` when none is left.
    fn ask_next(&mut self) -> bool {
        let Some(terms) = self.hold_terms() else { return false };
        if self.record.decision.is_some() || self.is_superseded() {
            return false;
        }
        let (own, _) = self.tally();
        let left = |step: &&ApproverStep| {
            let asked = self.record.asks.iter().any(|ask| ask.approver == step.kind);
            let answered = own && speaks_for_own(step.kind);
            !asked && !answered
        };
        match terms.approvers.iter().find(left).copied() {
            Some(step) => {
                self.ask(step);
                true
            }
            None => false,
        }
    }

    fn ask(&mut self, step: ApproverStep) {
        let next_at = step.patience.map(|patience| self.now + patience);
        self.record.asks.push(Ask { approver: step.kind, state: AskState::Sending, next_at, strays: None });
        self.effects.push(Effect::AskApprover { approver: step.kind });
    }

    /// Whoever was patiently waited for may still answer; but the next is asked too.
    fn ask_when_due(&mut self) {
        let now = self.now;
        let due = |ask: &&mut Ask| ask.next_at.is_some_and(|at| now >= at);
        let is_due = self.record.asks.iter_mut().filter(due).map(|ask| ask.next_at = None).count() > 0;
        if is_due {
            self.ask_next();
        }
    }

    /// Goes on asking while those who were asked could not bring about a decision; gives up when nobody is left.
    fn ask_until_somebody_can_answer(&mut self, reason: &str) {
        while !self.can_be_answered() {
            if !self.ask_next() {
                return self.unreachable(reason);
            }
        }
    }

    /// Whether a yes may come yet from those who were asked.
    fn can_be_answered(&self) -> bool {
        let Some(terms) = self.hold_terms() else { return true };
        let can = |asked: &dyn Fn(ApproverKind) -> bool| {
            let there = |ask: &Ask| asked(ask.approver) && !matches!(ask.state, AskState::Undeliverable(_));
            self.record.asks.iter().any(there)
        };
        if self.record.decision.is_some() || self.is_superseded() || can(&|kind| kind == ApproverKind::Operator) {
            return true;
        }
        let Some(second) = terms.second_person else { return can(&|_| true) };
        let (own, others) = self.tally();
        (others >= second.needed || can(&|kind| kind == ApproverKind::Person))
            && (!second.own || own || can(&speaks_for_own))
    }

    fn unreachable(&mut self, reason: &str) {
        let policy = self.hold_terms().map_or(WhenUnreachable::End, |terms| terms.when_unreachable);
        self.alert(Alert::Undeliverable { reason: reason.to_owned(), held: policy == WhenUnreachable::Hold });
        match (policy, self.record.state) {
            (WhenUnreachable::Hold, _) => (),
            (WhenUnreachable::End, State::Held) => self.evict(Outcome::Expired),
            // Not started yet: there is nothing to end, so let its deadline be over when it does start.
            (WhenUnreachable::End, _) => self.record.deadline = Some(self.now),
        }
    }

    fn note_prompt(&mut self, approver: ApproverKind, reference: &str) {
        let sent = AskState::Sent(reference.to_owned());
        match self.record.asks.iter_mut().find(|ask| ask.approver == approver) {
            Some(ask) => ask.state = sent,
            None => self.record.asks.push(Ask { approver, state: sent, next_at: None, strays: None }),
        }
        self.catch_up(approver, reference);
    }

    /// Prompts that went out although too few could be reached have buttons like others, and must be told how it ended like others.
    fn note_strays(&mut self, approver: ApproverKind, strays: Option<&str>) {
        let Some(strays) = strays else { return };
        let ask = self.record.asks.iter_mut().find(|ask| ask.approver == approver);
        let Some(ask) = ask.filter(|ask| ask.strays.is_none()) else { return };
        ask.strays = Some(strays.to_owned());
        self.catch_up(approver, strays);
    }

    /// Tells a prompt that is heard of now what the others were told.
    fn catch_up(&mut self, approver: ApproverKind, reference: &str) {
        if !has_prompt(approver) {
            return;
        }
        if let Some(outcome) = self.record.outcome {
            self.effects.push(Effect::TellApprover { approver, reference: reference.to_owned(), outcome });
        }
        if self.record.state == State::Closed && self.record.permitted_at.is_some() {
            self.effects.push(Effect::TellEnd { approver, reference: reference.to_owned() });
        }
    }

    fn undeliverable(&mut self, approver: ApproverKind, reason: &str) {
        let sending = |ask: &&mut Ask| ask.approver == approver && ask.state == AskState::Sending;
        let Some(ask) = self.record.asks.iter_mut().find(sending) else { return };
        (ask.state, ask.next_at) = (AskState::Undeliverable(reason.to_owned()), None);
        if self.record.decision.is_some() || self.is_superseded() {
            return;
        }
        self.ask_next();
        self.ask_until_somebody_can_answer(reason);
    }

    fn approve(&mut self, approval: &Approval) -> Told {
        if let Err(told) = self.may_decide() {
            return told;
        }
        // A prompt of an older node that knows no numbers shows a plain yes.
        if self.wants_number(approval) {
            return Told::Nothing;
        }
        let by = match self.count(approval) {
            Ok(by) => by,
            Err(told) => return told,
        };
        self.decide(Verdict::Approved, &by);
        self.report_emergency();
        if self.record.state == State::Held {
            self.order_coa();
        }
        Told::Done
    }

    /// Counts a yes. `Ok` when there are enough, with all who said it.
    fn count(&mut self, approval: &Approval) -> Result<DecidedBy, Told> {
        let second = self.hold_terms().and_then(|terms| terms.second_person);
        let other = match (approval.speaks(), &second) {
            (Speaks::ForAll, _) | (Speaks::AsOwn, None) => return Ok(approval.by().clone()),
            (Speaks::AsOwn, Some(second)) if second.own => None,
            (Speaks::AsOther(user), Some(_)) if *user != self.record.user => Some(user.clone()),
            (Speaks::AsOwn | Speaks::AsOther(_), _) => return Err(Told::NotEntitled),
        };
        let Some(second) = second else { return Err(Told::NotEntitled) };
        let votes = &mut self.record.votes;
        // Bindings may have been taken back since.
        votes.retain(|vote| approval.voices().still(vote));
        // Different people: neither one account with two phones nor one phone with two accounts.
        let said_so =
            |vote: &Vote| vote.other.is_some() == other.is_some() && (vote.other == other || vote.by == *approval.by());
        if !votes.iter().any(said_so) {
            let chat = approval.chat().map(str::to_owned);
            votes.push(Vote { by: approval.by().clone(), other, chat, at: self.now });
        }
        match self.missing(&second) {
            0 => Ok(self.voters()),
            more => Err(Told::Counted { more }),
        }
    }

    /// Whether the person has said yes, and how many others have.
    fn tally(&self) -> (bool, u32) {
        let others = self.record.votes.iter().filter(|vote| vote.other.is_some()).count();
        (others < self.record.votes.len(), u32::try_from(others).unwrap_or(u32::MAX))
    }

    fn missing(&self, second: &SecondPerson) -> u32 {
        let (own, others) = self.tally();
        second.needed.max(1).saturating_sub(others) + u32::from(second.own && !own)
    }

    /// All who have said yes, as one.
    fn voters(&self) -> DecidedBy {
        let name = |vote: &Vote| match &vote.other {
            Some(user) => format!("{user} ({})", vote.by.who),
            None => format!("{} {}", vote.by.approver, vote.by.who),
        };
        let who: Vec<_> = self.record.votes.iter().map(name).collect();
        DecidedBy { approver: ApproverKind::Person, who: who.join(", ") }
    }

    fn deny(&mut self, denial: &Denial) -> Told {
        match self.may_decide() {
            Ok(()) => {
                self.decide(Verdict::Denied, denial.by());
                let outcome = if denial.is_wrong_number() { Outcome::WrongNumber } else { Outcome::Denied };
                if self.record.state == State::Held {
                    self.evict(outcome);
                } else {
                    self.tell(outcome);
                }
                Told::Done
            }
            Err(told) => told,
        }
    }

    /// Nobody is asked about it any more, or heard. What is left of it on its NAS ends at its deadline: a Disconnect-Request now might
    /// hit the newer login, on a NAS that tells sessions apart by User-Name.
    fn supersede(&mut self) {
        if self.record.decision.is_none() {
            self.tell(Outcome::Superseded);
        }
    }

    fn kick(&mut self, denial: &Denial) {
        if self.record.decision.is_none() && self.hold_terms().is_some() {
            self.decide(Verdict::Denied, denial.by());
        }
        self.evict(Outcome::Kicked);
    }

    /// The first answer counts, before the deadline, for a session that is held.
    fn may_decide(&mut self) -> Result<(), Told> {
        if self.hold_terms().is_none() {
            return Err(Told::NotHeld);
        }
        if let Some(decision) = &self.record.decision {
            return Err(Told::AlreadyDecided(decision.verdict));
        }
        if self.past_deadline() {
            self.wake();
            return Err(Told::AlreadyExpired);
        }
        if self.is_superseded() {
            return Err(Told::AlreadySuperseded);
        }
        Ok(())
    }

    fn decide(&mut self, verdict: Verdict, by: &DecidedBy) {
        self.record.decision = Some(Decision { verdict, by: by.clone(), at: self.now });
    }

    fn too_late(&self) -> Told {
        match (&self.record.decision, self.record.state) {
            (Some(decision), _) => Told::AlreadyDecided(decision.verdict),
            (None, _) if self.is_superseded() => Told::AlreadySuperseded,
            (None, State::Evicting) => Told::AlreadyExpired,
            (None, State::Dropped | State::Closed) if self.record.outcome == Some(Outcome::Expired) => {
                Told::AlreadyExpired
            }
            (None, State::Dropped | State::Closed) => Told::SessionOver,
            (None, _) => Told::NotHeld,
        }
    }

    // -- time

    fn drop_offer(&mut self) {
        if self.now >= self.record.accepted_at + self.timing.start_within {
            self.record.state = State::Dropped;
            self.record.end = Some(End { at: self.now, cause: EndCause::NeverStarted, terminate_cause: None });
            self.tell(Outcome::Disconnected);
        } else {
            self.ask_when_due();
        }
    }

    fn wake(&mut self) {
        if self.past_deadline() {
            if matches!(self.record.state, State::Held | State::Permitting) {
                let late = if self.record.decision.is_some() { Outcome::NotLifted } else { Outcome::Expired };
                self.evict(late);
            }
        } else if self.record.state == State::Held && self.retry_is_due() {
            self.order_coa();
        } else if self.record.state == State::Held {
            self.ask_when_due();
        }
    }

    /// A Stop can be lost, and with it would the session stay open for ever.
    fn close_if_stale(&mut self) {
        let limit = Session::restore((*self.record).clone()).wake_at(self.timing);
        if limit.is_some_and(|limit| self.now >= limit) {
            self.close(EndCause::Stale, self.record.heard_at, None);
        }
    }

    fn wake_evicting(&mut self) {
        let limit = Session::restore((*self.record).clone()).eviction_limit(self.timing);
        if self.now >= limit {
            if self.record.disconnect_acked_at.is_none() {
                self.alert(Alert::EvictionUnconfirmed);
            }
            self.close(EndCause::Stale, self.now, None);
        } else if self.retry_is_due() {
            self.order_disconnect();
        }
    }

    // -- the NAS

    fn lift(&mut self) {
        match MayPermit::proven_by(&self.record) {
            Some(proof) => {
                self.permit(proof);
                self.tell(Outcome::Permitted);
            }
            None => self.evict(Outcome::Expired),
        }
    }

    /// The only way to [`State::Permitted`].
    fn permit(&mut self, _: MayPermit) {
        self.record.state = State::Permitted;
        self.record.permitted_at = Some(self.now);
        self.record.retry_at = None;
        self.record.tries = 0;
    }

    fn coa_refused(&mut self, attempt: u32, error_cause: Option<u32>) {
        if attempt != self.record.attempt {
            return;
        }
        match ErrorCause::remedy(error_cause) {
            Remedy::SessionGone => self.close(EndCause::SessionGone, self.now, None),
            Remedy::AddIdentifiers if !self.record.identify_fully => {
                self.record.identify_fully = true;
                self.order_coa();
            }
            Remedy::Retry => self.back_to_held(Some(self.backoff())),
            Remedy::AddIdentifiers | Remedy::FixDialect | Remedy::NotRetriable => {
                self.alert(Alert::CoaRefused { error_cause });
                self.back_to_held(None);
            }
        }
    }

    fn coa_lost(&mut self, attempt: u32) {
        if attempt == self.record.attempt {
            self.back_to_held(Some(self.backoff()));
        }
    }

    fn back_to_held(&mut self, retry_after: Option<Duration>) {
        self.record.state = State::Held;
        self.record.retry_at = retry_after.map(|after| self.now + after);
        self.tell(Outcome::NasUnreachable);
    }

    fn await_stop(&mut self) {
        self.record.disconnect_acked_at = Some(self.now);
        self.record.retry_at = Some(self.now + self.timing.stop_patience);
    }

    fn disconnect_refused(&mut self, attempt: u32, error_cause: Option<u32>) {
        if attempt != self.record.attempt {
            return;
        }
        match ErrorCause::remedy(error_cause) {
            Remedy::SessionGone => self.close(EndCause::SessionGone, self.now, None),
            Remedy::AddIdentifiers if !self.record.identify_fully => {
                self.record.identify_fully = true;
                self.order_disconnect();
            }
            Remedy::Retry => self.record.retry_at = Some(self.now + self.backoff()),
            Remedy::AddIdentifiers | Remedy::FixDialect | Remedy::NotRetriable => {
                self.alert(Alert::DisconnectRefused { error_cause });
                self.record.retry_at = None;
            }
        }
    }

    fn disconnect_lost(&mut self, attempt: u32) {
        if attempt == self.record.attempt {
            self.record.retry_at = Some(self.now + self.backoff());
        }
    }

    // -- pieces

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

    /// Whether a yes from the person's own device lacks the number that this hold demands.
    fn wants_number(&self, approval: &Approval) -> bool {
        let demanded = self.hold_terms().is_some_and(|terms| terms.guards.number_matching);
        demanded && approval.by().approver == ApproverKind::Telegram && !approval.is_by_number()
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

/// Whether its answer is the person's own.
fn speaks_for_own(kind: ApproverKind) -> bool {
    !matches!(kind, ApproverKind::Person | ApproverKind::Operator)
}

/// The Acct-Interim-Interval of the Access-Accept (RFC 2869 §5.16), when the user's reply items name one.
pub(super) fn interval_asked(grant: &Grant) -> Option<Duration> {
    let item = grant.reply.iter().find(|item| item.name.eq_ignore_ascii_case("Acct-Interim-Interval"))?;
    let seconds = item.value.trim().parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(u64::from(seconds)).clamp(LEAST_INTERVAL, MOST_INTERVAL))
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
