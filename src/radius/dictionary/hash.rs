//! A small deterministic hasher for the lookup tables. It knows nothing of what it hashes.
//!
//! The keys come from dictionary files an operator chose, never from a packet, so nobody can make them collide on
//! purpose; in exchange a lookup per attribute of every packet costs a few nanoseconds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map for lookups only: nothing may iterate it where order can be seen.
pub(super) type Table<K> = HashMap<K, u32, BuildHasherDefault<Mix>>;

/// Multiply and rotate, word by word.
#[derive(Default, Clone, Copy)]
pub(super) struct Mix(u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Mix {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.add(u64::from_le_bytes(chunk.try_into().expect("chunks of eight")));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.add(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.add(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.add(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.add(n as u64);
    }

    /// The tables take their top bits from the hash and their bucket from the low ones; a multiplication leaves the
    /// low bits poor.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
