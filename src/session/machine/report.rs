//! What accounting says of a session.

use std::time::Duration;

use super::Turn;
use crate::accounting::{self, Report};
use crate::model::Timestamp;
use crate::policy::Grant;
use crate::session::decision::Verdict;
use crate::session::event::{Alert, Outcome};
use crate::session::record::{End, EndCause, State};

/// After so many orders to one session its accounting is not compared with the filter any more.
const MOST_VERIFIED: u32 = 5;
/// Interim-Updates are no more frequent than this (RFC 2869 §5.16), but for those a NAS sends out of turn.
const LEAST_INTERVAL: Duration = Duration::from_secs(60);
/// Nor does anybody mean to send them more seldom than this.
const MOST_INTERVAL: Duration = Duration::from_secs(86_400);

impl Turn<'_> {
    pub(super) fn begin(&mut self, report: &Report) {
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
    pub(super) fn refresh(&mut self, report: &Report) {
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
    pub(super) fn learn_interval(&mut self, report: &Report) {
        if report.at > self.record.heard_at {
            let gap = report.at.since(self.record.heard_at).clamp(LEAST_INTERVAL, MOST_INTERVAL);
            let asked = self.record.grant.as_ref().and_then(interval_asked).unwrap_or_default();
            let known = self.record.interim_interval.unwrap_or_default() / 2;
            self.record.interim_interval = Some(Duration::from_secs(gap.max(known).max(asked).as_secs()));
        }
    }

    /// An ACK is not proof: a NAS that shows the sandbox filter after it ACKed the other has not done it.
    pub(super) fn verify(&mut self, report: &Report) {
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

    pub(super) fn insist(&mut self, report: &Report) {
        self.refresh(report);
        if self.record.disconnect_acked_at.is_some_and(|acked| report.at > acked) {
            self.record.disconnect_acked_at = None;
            self.order_disconnect();
        }
    }

    pub(super) fn revive(&mut self, report: &Report) {
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

    pub(super) fn stop(&mut self, report: &Report) {
        self.refresh(report);
        // The first we hear may be the last: its Start was lost, or still lies in a spool.
        self.record.started_at.get_or_insert(report.began_at());
        self.close(EndCause::Stop, report.at, report.terminate_cause);
    }

    /// What the NAS says of the end counts for more than what was presumed; of two Stops, the earlier.
    pub(super) fn correct(&mut self, report: &Report) {
        self.refresh(report);
        let end = End { at: report.at, cause: EndCause::Stop, terminate_cause: report.terminate_cause };
        let order = |end: &End| (end.cause.is_presumed(), end.at, end.terminate_cause.is_none(), end.terminate_cause);
        if self.record.end.is_none_or(|known| order(&end) < order(&known)) {
            self.record.end = Some(end);
        }
    }

    pub(super) fn close_if_older(&mut self, restarted_at: Timestamp) {
        if self.record.accepted_at <= restarted_at {
            self.close(EndCause::NasRestart, restarted_at, None);
        }
    }

    pub(super) fn close_if_before(&mut self, reused_at: Timestamp) {
        let started_at = self.record.started_at.unwrap_or(self.record.accepted_at);
        // Heard of since, it is alive: ports of this NAS are not what they were said to be.
        if started_at < reused_at && self.record.heard_at <= reused_at {
            self.close(EndCause::PortReused, reused_at, None);
        }
    }
}

/// The Acct-Interim-Interval of the Access-Accept (RFC 2869 §5.16), when the user's reply items name one.
pub(in crate::session) fn interval_asked(grant: &Grant) -> Option<Duration> {
    let item = grant.reply.iter().find(|item| item.name.eq_ignore_ascii_case("Acct-Interim-Interval"))?;
    let seconds = item.value.trim().parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(u64::from(seconds)).clamp(LEAST_INTERVAL, MOST_INTERVAL))
}
