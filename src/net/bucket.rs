//! Token buckets, kept as one time each: when the bucket is full again. Reads no clock and knows nothing of what a token stands for.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::Timestamp;

/// How many tokens a bucket holds, and how long one takes to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Microseconds until a token is back.
    each: i64,
    /// Microseconds until an empty bucket is full.
    whole: i64,
}

impl Measure {
    /// A bucket of `burst` tokens, at least one, of which one comes back in each `each`, at least a microsecond.
    pub fn new(burst: u32, each: Duration) -> Self {
        let each = i64::try_from(each.as_micros()).unwrap_or(i64::MAX).max(1);
        Self { each, whole: each.saturating_mul(i64::from(burst.max(1))) }
    }

    /// So many a second, and as many at once as come back in a second.
    pub fn per_second(rate: u32) -> Self {
        let each = (1_000_000 / i64::from(rate.max(1))).max(1);
        Self { each, whole: each.saturating_mul(i64::from(rate.max(1))) }
    }

    /// Whether a bucket that is full at `full_at` has a token now.
    pub(super) fn has(self, full_at: i64, now: Timestamp) -> bool {
        self.settled(full_at, now).saturating_add(self.each) <= now.as_micros().saturating_add(self.whole)
    }

    /// When a bucket is full after a token was taken. One that is empty stays so: there are no debts.
    pub(super) fn after(self, full_at: i64, now: Timestamp) -> i64 {
        let now_micros = now.as_micros();
        let taken = self.settled(full_at, now).max(now_micros).saturating_add(self.each);
        taken.min(now_micros.saturating_add(self.whole))
    }

    /// An empty bucket takes no longer than that to fill: more is left only by a clock that was set back.
    pub(super) fn settled(self, full_at: i64, now: Timestamp) -> i64 {
        full_at.min(now.as_micros().saturating_add(self.whole))
    }
}

/// A bucket several threads take from, without a lock.
#[derive(Debug)]
pub struct Bucket {
    measure: Measure,
    full_at: AtomicI64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(measure: Measure) -> Self {
        Self { measure, full_at: AtomicI64::new(i64::MIN) }
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Timestamp) -> bool {
        let mut taken = false;
        let drawn = |full_at| {
            taken = self.measure.has(full_at, now);
            let next = if taken { self.measure.after(full_at, now) } else { self.measure.settled(full_at, now) };
            (next != full_at).then_some(next)
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, drawn).is_ok() && taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_burst_then_the_rate() {
        let bucket = Bucket::new(Measure::per_second(10));
        let taken = |now| (0..100).filter(|_| bucket.take(at(now))).count();
        assert_eq!(taken(0), 10);
        assert_eq!((taken(99_999), taken(100_000), taken(350_000)), (0, 1, 2));
        assert_eq!(taken(60_000_000), 10, "no more than it holds, however long it was left alone");
    }

    #[test]
    fn a_clock_set_back_empties_no_bucket_for_longer_than_it_takes_to_fill() {
        let bucket = Bucket::new(Measure::new(5, Duration::from_secs(1)));
        assert!(bucket.take(at(3_600_000_000)));
        assert!(!bucket.take(at(0)), "what it held cannot be known, so nothing");
        assert_eq!((1..=5).filter(|second| bucket.take(at(second * 1_000_000))).count(), 5);
    }

    #[test]
    fn threads_share_what_there_is() {
        let bucket = Bucket::new(Measure::new(1000, Duration::from_secs(3600)));
        let taken = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).filter(|_| bucket.take(at(0))).count())).collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        /// Beside tokens that are counted.
        #[test]
        fn as_tokens_counted(burst in 1..50_u32, each in 1..1000_i64, steps in prop::collection::vec(0..2000_i64, 1..300)) {
            let bucket = Bucket::new(Measure::new(burst, Duration::from_micros(each as u64)));
            // In parts of a token, so that the model is exact.
            let (mut parts, mut now) = (i64::from(burst) * each, 0);
            for step in steps {
                now += step;
                parts = (parts + step).min(i64::from(burst) * each);
                let there_is = parts >= each;
                parts -= if there_is { each } else { 0 };
                prop_assert_eq!(bucket.take(at(now)), there_is);
            }
        }
    }
}
