//! How much goes to the store in one batch, by how long the store took for those before. A store that is slow is given less at a time, so
//! that it keeps what it can in time, and the rest goes to the spool. Knows no clock, and not what a batch is made of.

use std::time::Duration;

/// A batch should take no longer than this part of what it may take.
const AIM: u32 = 4;
/// A batch that failed is followed by one of this part of it.
const PARTS: usize = 8;
/// A batch may shrink to this part of the one before, at most.
const SHRINK: usize = 4;
/// Batches are this much smaller than the most when more than one at a time would only keep each other waiting.
const ALONE: usize = 8;

/// The size of batches.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    most: usize,
    size: usize,
    patience: Duration,
    /// The batch that was found too slow at first, and how long it took, while those after it are.
    slow: Option<(usize, Duration)>,
    /// Batches may be smaller than need be; with the last and smaller one that was tried since then.
    probing: Option<Option<(usize, Duration)>>,
    /// What the store takes in a second, as long as there is more for it than that.
    rate: Option<f64>,
}

impl Pace {
    /// Batches begin at `first` and have never more than `most`; the store may take `patience` for one.
    pub(super) fn new(first: usize, most: usize, patience: Duration) -> Self {
        Self { most: most.max(1), size: first.clamp(1, most.max(1)), patience, slow: None, probing: None, rate: None }
    }

    /// How many go in one batch.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Batches at a time, of so many that there may be.
    pub(super) fn depth(&self, most: usize) -> usize {
        // That a small one takes long is the work on each record, and the store has its hands full with one.
        if self.size <= self.most / ALONE { 1 } else { most }
    }

    /// How many the store takes within its patience; `None` while it has not been seen to take less than there is.
    pub(super) fn bearable(&self) -> Option<usize> {
        self.rate.map(|rate| (rate * self.patience.as_secs_f64()) as usize)
    }

    /// So many were kept, within so long. They may be more than what is asked for: offers are not counted.
    pub(super) fn kept(&mut self, items: usize, took: Duration) {
        if items == 0 {
            return;
        }
        let (aim, full) = (self.patience / AIM, items >= self.size);
        self.rate = (full || took > aim).then(|| items as f64 / took.as_secs_f64().max(1e-6));
        if full && self.probes(items, took) {
            self.slow = None;
            self.size = self.size.saturating_mul(2).min(self.most);
            return;
        }
        if took <= aim {
            self.slow = None;
            if full && took <= aim / 2 {
                self.size = self.size.saturating_mul(2).min(self.most);
            }
            return;
        }
        let (first, first_took) = *self.slow.get_or_insert((items, took));
        if items * 3 <= first * 2 && took * 5 > first_took * 4 {
            // Fewer are hardly faster: what takes long is the commit, whatever is in it. Then more to a commit is better.
            self.slow = None;
            self.size = first.clamp(1, self.most);
            self.probing = Some(None);
        } else {
            let share = (items as f64 * aim.as_secs_f64() / took.as_secs_f64()) as usize;
            self.size = share.max(items / SHRINK).clamp(1, self.size);
        }
    }

    /// Whether twice as many are to be tried: what was made small after a failure, or while each commit took long, is made larger as long
    /// as twice as many take hardly longer.
    fn probes(&mut self, items: usize, took: Duration) -> bool {
        let Some(before) = self.probing else { return false };
        let in_time = took * 5 <= self.patience * 2;
        let is_free = before.is_none_or(|(fewer, less)| items > fewer && took * 3 <= less * 4);
        let goes_on = in_time && is_free && self.size < self.most;
        self.probing = goes_on.then_some(Some((items, took)));
        goes_on
    }

    /// So many were not kept in time, or at all.
    pub(super) fn failed(&mut self, items: usize) {
        if items > 0 {
            (self.slow, self.rate, self.probing) = (None, None, Some(None));
            self.size = (items.min(self.size) / PARTS).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    const MOST: usize = 1024;

    /// A store that takes so long for a commit, and so long for each record in it.
    #[derive(Debug, Clone, Copy)]
    struct Store {
        commit: Duration,
        record: Duration,
    }

    impl Store {
        fn takes(&self, items: usize) -> Duration {
            self.commit + self.record * u32::try_from(items).unwrap()
        }

        /// Brings a batch of all it may; how long that took, and whether it was in time.
        fn bring(&self, pace: &mut Pace) -> bool {
            let items = pace.size();
            let took = self.takes(items);
            if took > PATIENCE {
                pace.failed(items);
            } else {
                pace.kept(items, took);
            }
            took <= PATIENCE
        }
    }

    fn store(commit_ms: u64, record_us: u64) -> Store {
        Store { commit: Duration::from_millis(commit_ms), record: Duration::from_micros(record_us) }
    }

    #[test]
    fn a_store_that_is_slow_with_each_record_is_given_fewer_and_then_more_again() {
        let mut pace = Pace::new(MOST, MOST, PATIENCE);
        let (slow, quick) = (store(5, 2_000), store(2, 30));
        assert!(!slow.bring(&mut pace), "nobody knew");
        for _ in 0..50 {
            assert!(slow.bring(&mut pace));
        }
        assert!((60..=125).contains(&pace.size()), "{pace:?}");
        assert!((300..=500).contains(&pace.bearable().unwrap()), "{pace:?}");
        assert_eq!(pace.depth(2), 1);
        for _ in 0..10 {
            assert!(quick.bring(&mut pace));
        }
        assert_eq!((pace.size(), pace.depth(2)), (MOST, 2));
        // With less to do than it could, nobody knows what it bears.
        pace.kept(3, Duration::from_millis(2));
        assert_eq!((pace.size(), pace.bearable()), (MOST, None));
    }

    #[test]
    fn a_store_whose_commits_are_slow_is_given_as_much_as_before() {
        let mut pace = Pace::new(MOST, MOST, PATIENCE);
        let slow = store(400, 20);
        let mut kept = 0;
        for _ in 0..100 {
            kept += pace.size();
            assert!(slow.bring(&mut pace));
        }
        assert!(kept > 100 * MOST / 2, "{kept}");
    }

    #[test]
    fn after_a_failure_slow_commits_are_given_as_much_as_they_take_again() {
        for slow in [store(150, 20), store(240, 20), store(300, 20)] {
            let mut pace = Pace::new(MOST, MOST, PATIENCE);
            // Down to one.
            for items in [MOST, 100, 3] {
                pace.failed(items);
            }
            assert_eq!(pace.size(), 1);
            for _ in 0..11 {
                assert!(slow.bring(&mut pace));
            }
            assert!(pace.size() > MOST / 2, "{slow:?}: {pace:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_store_batches_are_kept_in_time_and_no_smaller_than_they_must_be(
            commit in 0_u64..400, record in 1_u64..20_000, first in 1_usize..=MOST,
        ) {
            let (store, mut pace) = (store(commit, record), Pace::new(first, MOST, PATIENCE));
            for _ in 0..100 {
                store.bring(&mut pace);
                prop_assert!((1..=MOST).contains(&pace.size()));
            }
            for _ in 0..100 {
                let items = pace.size();
                prop_assert!(store.bring(&mut pace), "{items} take {:?}", store.takes(items));
                // What is far from slow has grown.
                prop_assert!(items == MOST || store.takes(items) * 16 > PATIENCE, "{items} take {:?}", store.takes(items));
            }
        }

        #[test]
        fn sizes_stay_in_their_bounds(events in prop::collection::vec((0_usize..5000, 0_u64..5_000_000), 1..200)) {
            let mut pace = Pace::new(MOST, MOST, PATIENCE);
            for (items, micros) in events {
                if micros > 1_000_000 { pace.failed(items) } else { pace.kept(items, Duration::from_micros(micros)) }
                prop_assert!((1..=MOST).contains(&pace.size()));
                prop_assert!((1..=2).contains(&pace.depth(2)));
            }
        }
    }
}
