//! Which sources have gone over to a new secret, of a NAS entry that has two for a while: a table of fixed size, which lanes read and
//! write without a lock. Whoever is not in it is taken to use the secret before, since a secret is changed on the server first.
//!
//! Knows no secret and no packet: whoever checks says what came of it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;

/// Places of an entry, at most, of eight octets each.
const MOST: usize = 4096;
/// For each address of a network, so that none is crowded out while they are fewer than that.
const EACH: usize = 4;
/// Places a source may have.
const WAYS: usize = 32;

/// The sources of one entry that were last heard with its new secret.
#[derive(Debug)]
pub(super) struct Moved {
    hasher: RandomState,
    /// Of a source, sixty-four bits by a key nobody else knows: that two are alike does not happen. Zero is nobody.
    places: Box<[AtomicU64]>,
}

impl Moved {
    /// Nobody yet, of a network.
    pub(super) fn of(network: IpNet) -> Self {
        Self { hasher: RandomState::new(), places: (0..places(network)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether it has the size a network needs.
    pub(super) fn suits(&self, network: IpNet) -> bool {
        self.places.len() == places(network)
    }

    /// Whether a source uses the new secret.
    pub(super) fn has(&self, source: IpAddr) -> bool {
        let known = self.known_as(source);
        self.ways(known).any(|place| place.load(Ordering::Relaxed) == known)
    }

    /// A source uses the new secret. Writes nothing that is there already, so that lanes do not wait for each other. Where there is no
    /// place somebody loses theirs, and is taken to use the old secret until it is heard again.
    pub(super) fn insert(&self, source: IpAddr) {
        let known = self.known_as(source);
        if self.ways(known).any(|place| place.load(Ordering::Relaxed) == known) {
            return;
        }
        let take = |place: &AtomicU64| match place.compare_exchange(0, known, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            // Another lane was first, perhaps with the same.
            Err(there) => there == known,
        };
        if !self.ways(known).any(take)
            && let Some(place) = self.ways(known).next()
        {
            place.store(known, Ordering::Relaxed);
        }
    }

    /// A source uses the old secret.
    pub(super) fn remove(&self, source: IpAddr) {
        let known = self.known_as(source);
        for place in self.ways(known).filter(|place| place.load(Ordering::Relaxed) == known) {
            // Whoever has it meanwhile keeps it.
            let _ = place.compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn known_as(&self, source: IpAddr) -> u64 {
        self.hasher.hash_one(source) | 1
    }

    fn ways(&self, known: u64) -> impl Iterator<Item = &AtomicU64> {
        // The last bit is always one.
        let (first, last) = ((known >> 1) as usize, self.places.len() - 1);
        (0..self.places.len().min(WAYS)).map(move |step| &self.places[first.wrapping_add(step) & last])
    }
}

/// A power of two.
fn places(network: IpNet) -> usize {
    let addresses = u32::from(network.max_prefix_len() - network.prefix_len());
    // So much of a network is more than there is room for.
    MOST.min(EACH << addresses.min(16))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn moved(network: &str) -> Moved {
        Moved::of(network.parse().unwrap())
    }

    fn host(at: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + at).into()
    }

    #[test]
    fn memory_is_bounded_and_who_was_heard_last_is_known() {
        let moved = moved("10.0.0.0/8");
        for at in 0..100_000 {
            moved.insert(host(at));
            assert!(moved.has(host(at)));
        }
        assert_eq!(moved.places.len(), MOST);
        let known = (0..100_000).filter(|at| moved.has(host(*at))).count();
        assert!((MOST / 2..=MOST).contains(&known), "{known}");
    }

    #[test]
    fn a_network_has_room_for_its_addresses_and_no_more() {
        for (network, places) in [("10.0.0.1/32", 4), ("10.0.0.0/24", 1024), ("10.0.0.0/8", MOST), ("::/0", MOST)] {
            assert_eq!(moved(network).places.len(), places, "{network}");
        }
        let one = moved("10.0.0.1/32");
        assert!(one.suits("10.0.0.2/32".parse().unwrap()) && !one.suits("10.0.0.0/24".parse().unwrap()));
    }

    #[test]
    fn lanes_that_say_the_same_at_once_leave_one() {
        let moved = moved("10.0.0.0/24");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..256).for_each(|at| moved.insert(host(at))));
            }
        });
        assert!((0..256).all(|at| moved.has(host(at))));
        assert_eq!(moved.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0).count(), 256);
        (0..256).for_each(|at| moved.remove(host(at)));
        assert!((0..256).all(|at| !moved.has(host(at))));
    }

    proptest! {
        /// Where there is room, as a set.
        #[test]
        fn as_a_set(told in prop::collection::vec((0..256_u32, any::<bool>()), 0..600)) {
            let (moved, mut model) = (moved("10.0.0.0/24"), HashSet::new());
            for (at, has_moved) in told {
                if has_moved {
                    moved.insert(host(at));
                    model.insert(at);
                } else {
                    moved.remove(host(at));
                    model.remove(&at);
                }
                prop_assert_eq!(moved.has(host(at)), model.contains(&at));
            }
            prop_assert!((0..256).all(|at| moved.has(host(at)) == model.contains(&at)));
        }
    }
}
