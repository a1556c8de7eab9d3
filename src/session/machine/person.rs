//! Who is asked, what they answer, and what comes of it.

use super::{Turn, has_prompt};
use crate::model::{ApproverKind, ApproverStep, SecondPerson, WhenUnreachable};
use crate::session::decision::{Approval, DecidedBy, Decision, Denial, Verdict, Vote};
use crate::session::event::{Alert, Effect, Outcome, Told};
use crate::session::record::{Ask, AskState, State};
use crate::session::voices::Speaks;

impl Turn<'_> {
    /// The operator hears of each use of an emergency code, by an order that is kept with the session it let in.
    pub(super) fn report_emergency(&mut self) {
        let decided_by = self.record.decision.as_ref().map(|decision| decision.by.clone());
        if let Some(by) = decided_by.filter(|by| by.approver == ApproverKind::Emergency) {
            self.alert(Alert::EmergencyCode { who: by.who });
        }
    }

    pub(super) fn ask_first(&mut self) {
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
    pub(super) fn ask_when_due(&mut self) {
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

    pub(super) fn note_prompt(&mut self, approver: ApproverKind, reference: &str) {
        let sent = AskState::Sent(reference.to_owned());
        match self.record.asks.iter_mut().find(|ask| ask.approver == approver) {
            Some(ask) => ask.state = sent,
            None => self.record.asks.push(Ask { approver, state: sent, next_at: None, strays: None }),
        }
        self.catch_up(approver, reference);
    }

    /// Prompts that went out although too few could be reached have buttons like others, and must be told how it ended like others.
    pub(super) fn note_strays(&mut self, approver: ApproverKind, strays: Option<&str>) {
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

    pub(super) fn undeliverable(&mut self, approver: ApproverKind, reason: &str) {
        let sending = |ask: &&mut Ask| ask.approver == approver && ask.state == AskState::Sending;
        let Some(ask) = self.record.asks.iter_mut().find(sending) else { return };
        (ask.state, ask.next_at) = (AskState::Undeliverable(reason.to_owned()), None);
        if self.record.decision.is_some() || self.is_superseded() {
            return;
        }
        self.ask_next();
        self.ask_until_somebody_can_answer(reason);
    }

    pub(super) fn approve(&mut self, approval: &Approval) -> Told {
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

    pub(super) fn deny(&mut self, denial: &Denial) -> Told {
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
    pub(super) fn supersede(&mut self) {
        if self.record.decision.is_none() {
            self.tell(Outcome::Superseded);
        }
    }

    pub(super) fn kick(&mut self, denial: &Denial) {
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

    pub(super) fn decide(&mut self, verdict: Verdict, by: &DecidedBy) {
        self.record.decision = Some(Decision { verdict, by: by.clone(), at: self.now });
    }

    pub(super) fn too_late(&self) -> Told {
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

    /// Whether a yes from the person's own device lacks the number that this hold demands.
    fn wants_number(&self, approval: &Approval) -> bool {
        let demanded = self.hold_terms().is_some_and(|terms| terms.guards.number_matching);
        demanded && approval.by().approver == ApproverKind::Telegram && !approval.is_by_number()
    }
}

/// Whether its answer is the person's own.
fn speaks_for_own(kind: ApproverKind) -> bool {
    !matches!(kind, ApproverKind::Person | ApproverKind::Operator)
}
