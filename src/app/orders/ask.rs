//! Asking: an approver, somebody else, the operator. What comes of it is handed to the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{clock, voices};
use super::{APPROVER_PATIENCE, Worker, pause, timed_out, words};
use crate::approver::{Approver, AskError, Question};
use crate::model::{ApproverKind, Binding, UserName};
use crate::policy::Terms;
use crate::session::{Event, NumberChoice, Session};
use crate::store::{Order, StoreError};

/// What came of a question, and where it is to be found that went out although it could not be put to enough people.
struct Asked {
    reference: Result<String, AskError>,
    strays: Option<String>,
}

impl From<Result<String, AskError>> for Asked {
    fn from(reference: Result<String, AskError>) -> Self {
        Self { reference, strays: None }
    }
}

impl From<AskError> for Asked {
    fn from(error: AskError) -> Self {
        Err(error).into()
    }
}

impl Worker {
    /// Asks by one channel.
    pub(super) async fn ask(&self, order: &Order, session: &Session, approver: ApproverKind) -> Result<(), StoreError> {
        let asked = match self.channel(approver) {
            Some(_) if approver == ApproverKind::Totp && !self.has_totp(session).await? => {
                AskError::Undeliverable(format!("{} has no TOTP", session.user)).into()
            }
            Some(channel) => {
                let question = self.question(session, approver).await;
                let question = Question { numbers: self.numbers(session, approver), ..question };
                let asked = async {
                    match approver {
                        ApproverKind::Person => self.ask_others(channel, session, &question).await,
                        _ => {
                            let mut bindings = self.store.bindings(&session.user).await?;
                            bindings.retain(|binding| binding.approver == approver);
                            Ok(channel.ask(&question, &bindings).await.into())
                        }
                    }
                };
                tokio::time::timeout(APPROVER_PATIENCE, asked).await.unwrap_or_else(|_| Ok(timed_out().into()))?
            }
            None => AskError::Undeliverable(format!("{approver} is not configured on this server")).into(),
        };
        // A service that is down for long is as good as none: somebody else may be reached.
        let waited = clock::now().since(order.ordered_at);
        let Asked { reference, strays } = asked;
        let reference = match reference {
            Err(AskError::Later { reason, .. }) if waited >= self.settings.current().unreachable_after => {
                Err(AskError::Undeliverable(format!("{reason}; given up after {} s", waited.as_secs())))
            }
            reference => reference,
        };
        let event = match reference {
            Ok(reference) => {
                if approver == ApproverKind::Operator {
                    self.call_operator(session).await;
                }
                Event::PromptSent { approver, reference }
            }
            Err(AskError::Later { after, reason }) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "not asked yet");
                let left = self.settings.current().unreachable_after.saturating_sub(waited);
                let pause = after.unwrap_or_else(|| pause(order)).min(left.max(Duration::from_millis(100)));
                return self.put_off(order, Some(pause), &reason).await;
            }
            Err(AskError::Undeliverable(reason)) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "cannot ask");
                Event::PromptUndeliverable { approver, reason, strays }
            }
        };
        self.conclude(order, event).await
    }

    /// The numbers to choose from, where the session's hold is lifted by one. Somebody else does not see the screen.
    fn numbers(&self, session: &Session, approver: ApproverKind) -> Option<NumberChoice> {
        match &session.grant.as_ref()?.terms {
            Terms::Hold(terms) if terms.guards.number_matching && approver == ApproverKind::Telegram => {
                Some(self.buttons.choice(session.id))
            }
            _ => None,
        }
    }

    /// Asks those who may confirm somebody else's login, each in their own chats. As many people as must agree have to be reached.
    async fn ask_others(
        &self,
        channel: &Arc<dyn Approver>,
        session: &Session,
        question: &Question,
    ) -> Result<Asked, StoreError> {
        let (bindings, needed) = voices::confirmers(&*self.store, session).await?;
        let mut by_user: BTreeMap<UserName, Vec<Binding>> = BTreeMap::new();
        for binding in bindings {
            by_user.entry(binding.user.clone()).or_default().push(binding);
        }
        let needed = (needed as usize).max(1);
        let too_few = |reachable: usize, reason: &str| {
            AskError::Undeliverable(format!("{needed} other people must confirm, and {reachable} can be asked{reason}"))
        };
        if by_user.len() < needed {
            return Ok(too_few(by_user.len(), "").into());
        }
        // Nobody's chat takes the time of the others.
        let patience = APPROVER_PATIENCE / u32::try_from(by_user.len() + 1).unwrap_or(u32::MAX);
        let (mut references, mut failures) = (Vec::new(), Vec::new());
        for bindings in by_user.values() {
            let asked = tokio::time::timeout(patience, channel.ask(question, bindings)).await;
            match asked.unwrap_or_else(|_| Err(timed_out())) {
                Ok(reference) => references.push(reference),
                Err(error) => failures.push(error),
            }
        }
        let never = |error: &&AskError| matches!(error, AskError::Undeliverable(_));
        let reachable = by_user.len() - failures.iter().filter(never).count();
        if reachable < needed {
            let reason = failures.iter().find(never).map_or_else(String::new, |error| format!(" ({error})"));
            // Those whom it did reach have buttons now; they hear how it ended, like everybody.
            let strays = (!references.is_empty()).then(|| references.join(","));
            return Ok(Asked { reference: Err(too_few(reachable, &reason)), strays });
        }
        if references.is_empty() {
            let later = failures.into_iter().find(|error| !never(&error));
            return Ok(later.unwrap_or_else(timed_out).into());
        }
        // Who has been asked is not asked again for the sake of who could not be: they would be rung at each try, and their first
        // question never told how it ended. Where they alone cannot agree, the next approver is asked instead of nobody.
        if references.len() < needed {
            let reason = failures.first().map_or_else(String::new, |error| format!(" ({error})"));
            let strays = Some(references.join(","));
            return Ok(Asked { reference: Err(too_few(references.len(), &reason)), strays });
        }
        for error in failures {
            tracing::warn!(session = %session.id, %error, "one of those who may confirm was not asked");
        }
        Ok(Ok(references.join(",")).into())
    }

    /// Tells the operator that a session waits for them. The question stands in `radhold session list` whether this arrives or not.
    async fn call_operator(&self, session: &Session) {
        let notice = words::operator_is_asked(session, clock::now());
        for channel in self.approvers.values() {
            let sent = tokio::time::timeout(APPROVER_PATIENCE, channel.alert(&notice)).await;
            if let Err(error) = sent.unwrap_or_else(|_| Err(timed_out())) {
                tracing::warn!(session = %session.id, approver = %channel.kind(), %error, "the operator was not told");
            }
        }
    }

    async fn has_totp(&self, session: &Session) -> Result<bool, StoreError> {
        Ok(self.store.totp(&session.user).await?.is_some())
    }
}
