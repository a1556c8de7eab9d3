//! What the NAS is told to do, and what it answers. The only way to [`State::Permitted`].

use std::time::Duration;

use super::Turn;
use crate::dynauth::{ErrorCause, Remedy};
use crate::policy::Terms;
use crate::session::decision::Verdict;
use crate::session::event::{Alert, Outcome};
use crate::session::record::{EndCause, Record, State};

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

impl Turn<'_> {
    pub(super) fn lift(&mut self) {
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

    pub(super) fn coa_refused(&mut self, attempt: u32, error_cause: Option<u32>) {
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

    pub(super) fn coa_lost(&mut self, attempt: u32) {
        if attempt == self.record.attempt {
            self.back_to_held(Some(self.backoff()));
        }
    }

    fn back_to_held(&mut self, retry_after: Option<Duration>) {
        self.record.state = State::Held;
        self.record.retry_at = retry_after.map(|after| self.now + after);
        self.tell(Outcome::NasUnreachable);
    }

    pub(super) fn await_stop(&mut self) {
        self.record.disconnect_acked_at = Some(self.now);
        self.record.retry_at = Some(self.now + self.timing.stop_patience);
    }

    pub(super) fn disconnect_refused(&mut self, attempt: u32, error_cause: Option<u32>) {
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

    pub(super) fn disconnect_lost(&mut self, attempt: u32) {
        if attempt == self.record.attempt {
            self.record.retry_at = Some(self.now + self.backoff());
        }
    }
}
