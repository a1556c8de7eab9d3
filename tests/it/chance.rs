//! Chance that can be played again: a test prints its seed, and `RADHOLD_TEST_SEED` sets it.

use std::hash::{BuildHasher as _, RandomState};

const SEED: &str = "RADHOLD_TEST_SEED";

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    /// Another one each time, unless the environment says which. Shown when the test fails.
    pub(crate) fn seeded(what: &str) -> Self {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED} is a number, not {seed:?}")),
            Err(_) => RandomState::new().hash_one(what),
        };
        println!("{what}: {SEED}={seed}");
        Self(seed)
    }

    /// Another source, which goes on by itself.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below the limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap();
        usize::try_from(self.next() % limit).unwrap()
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many octets.
    pub(crate) fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_le_bytes()[7])
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
