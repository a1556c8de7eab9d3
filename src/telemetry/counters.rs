//! Named counters: how often each outcome was seen since the start.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;

/// Threads count apart, so that they do not wait for each other's memory.
const SHARDS: usize = 16;

static PROCESS: LazyLock<[Counters; SHARDS]> = LazyLock::new(Default::default);

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
    /// The counters this thread has met: most threads count few things, and those at every packet.
    static MET: RefCell<Vec<(&'static str, Arc<AtomicU64>)>> = const { RefCell::new(Vec::new()) };
}

/// Counts one more of `name` for this process: `telemetry::count("packet.dropped.unknown-nas")`.
///
/// Names are words of ours, from the general to the particular, dots between them. They are never made of what a packet
/// says, so their number is bounded.
pub fn count(name: &'static str) {
    add(name, 1);
}

/// Counts that many more of `name` for this process, for what is learnt of in heaps. Nothing is no heap.
pub fn add(name: &'static str, number: u64) {
    if number == 0 {
        return;
    }
    let shard = || SHARD.with(|shard| &PROCESS[*shard]);
    let met = MET.try_with(|met| {
        let mut met = met.borrow_mut();
        // A name is looked for by where it stands in the program: one that stands there twice is met twice.
        let counter = match met.iter().find(|(known, _)| std::ptr::eq(*known, name)) {
            Some((_, counter)) => counter,
            None => {
                met.push((name, shard().counter(name)));
                &met[met.len() - 1].1
            }
        };
        counter.fetch_add(number, Ordering::Relaxed);
    });
    if met.is_err() {
        // A thread that is ending has forgotten them.
        shard().add(name, number);
    }
}

/// All counters of this process, by name.
pub fn snapshot() -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for (name, number) in PROCESS.iter().flat_map(Counters::snapshot) {
        *all.entry(name).or_default() += number;
    }
    all
}

/// Counters by name.
#[derive(Debug, Default)]
pub struct Counters(DashMap<&'static str, Arc<AtomicU64>>);

impl Counters {
    /// Counts one more.
    pub fn count(&self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts that many more.
    pub fn add(&self, name: &'static str, number: u64) {
        self.counter(name).fetch_add(number, Ordering::Relaxed);
    }

    fn counter(&self, name: &'static str) -> Arc<AtomicU64> {
        // A shard is locked for writing the first time a name is seen, and only then.
        if let Some(counter) = self.0.get(name) {
            return Arc::clone(&counter);
        }
        Arc::clone(&self.0.entry(name).or_default())
    }

    /// All of them, by name.
    pub fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.iter().map(|entry| (*entry.key(), entry.value().load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_the_same_things() {
        let count = || (0..1000).for_each(|_| super::count("test.threads-count"));
        std::thread::scope(|scope| (0..20).for_each(|_| drop(scope.spawn(count))));
        count();
        add("test.threads-count", 0);
        assert_eq!(snapshot()["test.threads-count"], 21_000);
    }

    #[test]
    fn counts_from_many_threads() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counters.count("a.b");
                    }
                    counters.add("a.c", 2);
                });
            }
        });
        assert_eq!(counters.snapshot(), BTreeMap::from([("a.b", 4000), ("a.c", 8)]));
    }
}
