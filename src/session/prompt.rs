//! What other parts count and remember of a session: the prompt it is, and the trust its approval earns.
//!
//! Never counts prompts, nor says how long trust lasts: that is `policy`'s.

use super::decision::Verdict;
use super::event::Outcome;
use super::record::{Session, State};
use crate::model::{ApproverKind, Timestamp};
use crate::policy::{Caller, Guards, HoldTerms, Prompt, PromptEnd, PromptFate, Terms, Trust, TrustPlace};

impl Session {
    /// The prompt this session is, as of a change at that time. `None` when nobody's own device is asked about it.
    pub fn prompt(&self, at: Timestamp) -> Option<Prompt> {
        let terms = self.terms_of_hold().filter(|terms| terms.ring())?;
        let identity = &self.identity;
        let waits = matches!(self.state, State::Offered | State::Held) && self.outcome != Some(Outcome::Superseded);
        let end = match &self.decision {
            Some(decision) => {
                let fate = match decision.verdict {
                    Verdict::Approved => PromptFate::Confirmed,
                    Verdict::Denied if self.was_kicked() => PromptFate::Over,
                    Verdict::Denied => PromptFate::Denied,
                };
                Some(PromptEnd { at: decision.at, fate })
            }
            None if waits => None,
            None => Some(PromptEnd { at, fate: PromptFate::Over }),
        };
        Some(Prompt {
            session: self.id,
            user: self.user.clone(),
            nas: self.nas.clone(),
            caller: identity
                .calling_station_id
                .as_deref()
                .and_then(Caller::read)
                .map(|it| it.key())
                .unwrap_or_default(),
            port: identity.nas_port.map(|port| port.to_string()).or_else(|| identity.nas_port_id.clone()),
            at: self.accepted_at,
            deadline: self.accepted_at + terms.window,
            end,
        })
    }

    /// The same where a change at that time began or ended it, so that it is kept once.
    pub fn prompt_news(&self, is_new: bool, at: Timestamp) -> Option<Prompt> {
        let prompt = self.prompt(at)?;
        let ends_now = prompt.end.is_some_and(|end| end.at == at);
        (is_new || ends_now).then_some(prompt)
    }

    /// What the approval of this session is worth for later logins. `None` unless it is lifted, its owner's side said yes (an operator who
    /// helps somebody out of a hold says nothing about next time), trust is on, nobody else must agree each time, and its caller is at a
    /// place.
    pub fn trust(&self) -> Option<Trust> {
        let terms = self.terms_of_hold().filter(|terms| terms.may_be_trusted())?;
        let decision = self.decision.as_ref()?;
        // An emergency code is the operator's word.
        let helped = matches!(decision.by.approver, ApproverKind::Operator | ApproverKind::Emergency);
        let said_yes = decision.verdict == Verdict::Approved && !helped;
        if self.state != State::Permitted || !said_yes {
            return None;
        }
        let caller = self.identity.calling_station_id.as_deref().and_then(Caller::read)?;
        Some(Trust {
            session: self.id,
            user: self.user.clone(),
            place: TrustPlace::of(&caller, &self.nas)?,
            since: decision.at,
            until: decision.at + terms.guards.trust_for,
            through: decision.by.approver,
            who: decision.by.who.clone(),
            revoked_at: None,
        })
    }

    /// Since when no earlier approval of this user counts, where this session was denied.
    pub fn denied_at(&self) -> Option<Timestamp> {
        let denied = self.decision.as_ref().filter(|decision| decision.verdict == Verdict::Denied);
        denied.filter(|_| !self.was_kicked()).map(|decision| decision.at)
    }

    /// The guards around its prompt; `None` when nobody is asked.
    pub fn guards(&self) -> Option<Guards> {
        self.terms_of_hold().map(|terms| terms.guards)
    }

    /// Whether its own user is asked to choose the number that the screen they log in at shows.
    pub fn shows_numbers(&self) -> bool {
        self.terms_of_hold().is_some_and(|terms| {
            terms.guards.number_matching
                && terms.second_person.as_ref().is_none_or(|second| second.own)
                && terms.approvers.iter().any(|step| step.kind == ApproverKind::Telegram)
        })
    }

    /// Whether whoever ended the hold did not say that it was somebody else.
    fn was_kicked(&self) -> bool {
        self.outcome == Some(Outcome::Kicked)
    }

    fn terms_of_hold(&self) -> Option<&HoldTerms> {
        match &self.grant.as_ref()?.terms {
            Terms::Hold(terms) => Some(terms),
            Terms::Waived(_) => None,
        }
    }
}
