//! What a run came to: counts, latencies, and what must be on record because it was acknowledged.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::life::Step;

/// The longest latency told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(120);

/// Counts of one lane, or of all.
#[derive(Debug)]
pub(super) struct Tally {
    /// Microseconds, of answers within the measured time.
    latencies: Histogram<u64>,
    /// The same from when the request was really sent first, which in an open loop is not when it was due.
    from_sending: Histogram<u64>,
    /// Requests that were encoded before the start.
    pub(super) encoded_ahead: u64,
    pub(super) counts: Counts,
    pub(super) acknowledged: Acknowledged,
}

/// Requests and answers, those of the warm-up included.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    /// Requests, their repeats not counted.
    pub(super) requests: u64,
    /// Answers with the right authenticators.
    pub(super) answered: u64,
    /// Requests sent again.
    pub(super) repeats: u64,
    /// Requests given up after all repeats.
    pub(super) lost: u64,
    /// Datagrams that were no answer, or whose authenticators were wrong.
    pub(super) unverified: u64,
    /// Access-Rejects.
    pub(super) rejected: u64,
}

/// What the server has acknowledged, so must have.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Acknowledged {
    /// Access-Accepts.
    pub(super) logins: u64,
    /// Accounting-Responses to Start.
    pub(super) starts: u64,
    /// Accounting-Responses to Interim-Update.
    pub(super) interims: u64,
    /// Accounting-Responses to Stop.
    pub(super) stops: u64,
    /// Sum over sessions of the octets from the user, as last acknowledged.
    pub(super) input_octets: u64,
    /// The same to the user.
    pub(super) output_octets: u64,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Tally {
    pub(super) fn new() -> Self {
        let most = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        let histogram =
            || Histogram::new_with_bounds(1, most, 3).expect("1 µs to two minutes at three digits is sound");
        Self {
            latencies: histogram(),
            from_sending: histogram(),
            encoded_ahead: 0,
            counts: Counts::default(),
            acknowledged: Acknowledged::default(),
        }
    }

    /// A request was answered; `latency` when that was within the measured time, and the same from when it was really sent.
    pub(super) fn answered(&mut self, step: Step, latency: Option<Duration>, from_sending: Option<Duration>) {
        self.counts.answered += 1;
        for (latency, histogram) in [(latency, &mut self.latencies), (from_sending, &mut self.from_sending)] {
            if let Some(latency) = latency {
                histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
        }
        match step {
            Step::Login => self.acknowledged.logins += 1,
            Step::Start => self.acknowledged.starts += 1,
            Step::Interim => self.acknowledged.interims += 1,
            Step::Stop => self.acknowledged.stops += 1,
            Step::Status => (),
        }
    }

    /// Adds the octets a session had acknowledged when it was left.
    pub(super) fn left(&mut self, (input, output): (u64, u64)) {
        self.acknowledged.input_octets += input;
        self.acknowledged.output_octets += output;
    }

    /// Adds another lane's.
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        self.from_sending.add(&other.from_sending).expect("all have the same bounds");
        self.encoded_ahead += other.encoded_ahead;
        let (counts, more) = (&mut self.counts, &other.counts);
        counts.requests += more.requests;
        counts.answered += more.answered;
        counts.repeats += more.repeats;
        counts.lost += more.lost;
        counts.unverified += more.unverified;
        counts.rejected += more.rejected;
        let (known, more) = (&mut self.acknowledged, &other.acknowledged);
        known.logins += more.logins;
        known.starts += more.starts;
        known.interims += more.interims;
        known.stops += more.stops;
        known.input_octets += more.input_octets;
        known.output_octets += more.output_octets;
    }

    /// Answers within the measured time.
    pub(super) fn measured(&self) -> u64 {
        self.latencies.len()
    }

    /// From when requests were due (open loop) or sent.
    pub(super) fn latency(&self) -> Latency {
        Latency::of(&self.latencies)
    }

    /// From when they were really sent first.
    pub(super) fn latency_from_sending(&self) -> Latency {
        Latency::of(&self.from_sending)
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile: f64| millis(latencies.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: millis(latencies.max()) }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Self { p50, p90, p99, p999, max } = self;
        format!("p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, longest {max:.2} ms")
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_lanes_and_of_the_measured_time_alone() {
        let (mut all, mut lane) = (Tally::new(), Tally::new());
        for millis in 1..=100 {
            let latency = Duration::from_millis(millis);
            lane.answered(Step::Start, Some(latency), Some(latency / 2));
        }
        lane.answered(Step::Stop, None, None);
        all.add(&lane);
        all.add(&lane);
        assert_eq!((all.measured(), all.counts.answered, all.acknowledged.stops), (200, 202, 2));
        let latency = all.latency();
        assert!((latency.p50 - 50.0).abs() < 0.1 && (latency.p99 - 99.0).abs() < 0.1, "{latency:?}");
        assert!((all.latency_from_sending().max - 50.0).abs() < 0.1);
    }
}
