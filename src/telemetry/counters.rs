//! Named counters: how often each outcome was seen since the start.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

static PROCESS: LazyLock<Counters> = LazyLock::new(Counters::default);

/// Counts one more of `name` for this process: `telemetry::count("packet.dropped.unknown-nas")`.
///
/// Names are words of ours, from the general to the particular, dots between them. They are never made of what a packet
/// says, so their number is bounded.
pub fn count(name: &'static str) {
    PROCESS.count(name);
}

/// Counts that many more of `name` for this process, for what is learnt of in heaps. Nothing is no heap.
pub fn add(name: &'static str, number: u64) {
    if number > 0 {
        PROCESS.add(name, number);
    }
}

/// All counters of this process, by name.
pub fn snapshot() -> BTreeMap<&'static str, u64> {
    PROCESS.snapshot()
}

/// Counters by name.
#[derive(Debug, Default)]
pub struct Counters(DashMap<&'static str, AtomicU64>);

impl Counters {
    /// Counts one more.
    pub fn count(&self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts that many more.
    pub fn add(&self, name: &'static str, number: u64) {
        // A shard is locked for writing the first time a name is seen, and only then.
        if let Some(counter) = self.0.get(name) {
            counter.fetch_add(number, Ordering::Relaxed);
            return;
        }
        self.0.entry(name).or_default().fetch_add(number, Ordering::Relaxed);
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
