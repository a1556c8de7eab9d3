//! What comes of a time that has passed.

use super::Turn;
use crate::session::event::{Alert, Outcome};
use crate::session::record::{End, EndCause, Session, State};

impl Turn<'_> {
    pub(super) fn drop_offer(&mut self) {
        if self.now >= self.record.accepted_at + self.timing.start_within {
            self.record.state = State::Dropped;
            self.record.end = Some(End { at: self.now, cause: EndCause::NeverStarted, terminate_cause: None });
            self.tell(Outcome::Disconnected);
        } else {
            self.ask_when_due();
        }
    }

    pub(super) fn wake(&mut self) {
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
    pub(super) fn close_if_stale(&mut self) {
        let limit = Session::restore((*self.record).clone()).wake_at(self.timing);
        if limit.is_some_and(|limit| self.now >= limit) {
            self.close(EndCause::Stale, self.record.heard_at, None);
        }
    }

    pub(super) fn wake_evicting(&mut self) {
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
}
