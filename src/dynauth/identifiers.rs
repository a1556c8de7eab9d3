//! Which Identifier a request gets: one per request in flight between a socket and a server, and none again too soon.
//! Knows neither socket nor server: there is one [`Identifiers`] per pair.

use std::collections::VecDeque;
use std::time::Duration;

/// The 256 Identifiers between one local socket and one Dynamic Authorization Server.
///
/// An Identifier is free, in flight, or resting. It rests after its request is settled, because an answer to one of its
/// retransmissions may still be on its way, and because a server that keeps replies (RFC 5080 §2.2.2) may take the next
/// request under it for a retransmission.
///
/// Times are measured from any fixed moment, by a clock that does not jump.
#[derive(Debug, Clone)]
pub struct Identifiers {
    /// Not in flight, the one that has rested longest first, with the time until which it rests.
    idle: VecDeque<(u8, Duration)>,
}

/// No Identifier can be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoneFree {
    /// All are in flight.
    InFlight,
    /// Some rest; the next one is free at that time.
    RestingUntil(Duration),
}

impl Identifiers {
    /// All 256, beginning at `first`. A random one keeps a restarted process from repeating the Identifiers it used
    /// last, when its source port is configured.
    pub fn new(first: u8) -> Self {
        Self { idle: (0..=u8::MAX).map(|step| (first.wrapping_add(step), Duration::ZERO)).collect() }
    }

    /// Takes an Identifier for a request.
    ///
    /// # Errors
    /// [`NoneFree`], which says when to ask again.
    pub fn take(&mut self, now: Duration) -> Result<u8, NoneFree> {
        let free = self.idle.iter().position(|(_, until)| *until <= now);
        match free.and_then(|at| self.idle.remove(at)) {
            Some((identifier, _)) => Ok(identifier),
            None => Err(match self.idle.iter().map(|(_, until)| *until).min() {
                Some(until) => NoneFree::RestingUntil(until),
                None => NoneFree::InFlight,
            }),
        }
    }

    /// Gives an Identifier back, to rest until then. Giving back what is not in flight changes nothing.
    pub fn settle(&mut self, identifier: u8, rests_until: Duration) {
        if self.idle.iter().all(|(idle, _)| *idle != identifier) {
            self.idle.push_back((identifier, rests_until));
        }
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        256 - self.idle.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn all_256_and_then_none() {
        let mut identifiers = Identifiers::new(200);
        let mut taken: Vec<_> = (0..256).map(|_| identifiers.take(Duration::ZERO).unwrap()).collect();
        assert_eq!(taken[0], 200);
        taken.sort_unstable();
        assert_eq!(taken, (0..=255).collect::<Vec<_>>());
        assert_eq!(identifiers.take(Duration::ZERO), Err(NoneFree::InFlight));
        identifiers.settle(7, SECOND);
        assert_eq!(identifiers.take(Duration::ZERO), Err(NoneFree::RestingUntil(SECOND)));
        assert_eq!(identifiers.take(SECOND), Ok(7));
        assert_eq!(identifiers.in_flight(), 256);
    }

    #[test]
    fn the_longest_rested_comes_first() {
        let mut identifiers = Identifiers::new(0);
        let first = identifiers.take(Duration::ZERO).unwrap();
        identifiers.settle(first, Duration::ZERO);
        assert_ne!(identifiers.take(SECOND), Ok(first));
    }

    proptest! {
        /// Beside a model that remembers every Identifier by itself.
        #[test]
        fn none_is_handed_out_twice_or_before_it_has_rested(
            first: u8,
            steps in prop::collection::vec((any::<bool>(), any::<u8>(), 0u64..5), 1..2_000),
        ) {
            let mut identifiers = Identifiers::new(first);
            let mut in_flight = Vec::new();
            let mut resting = BTreeMap::new();
            let mut now = Duration::ZERO;
            for (take, pick, number) in steps {
                if take {
                    match identifiers.take(now) {
                        Ok(identifier) => {
                            prop_assert!(!in_flight.contains(&identifier));
                            prop_assert!(resting.remove(&identifier).is_none_or(|until| until <= now));
                            in_flight.push(identifier);
                        }
                        Err(NoneFree::InFlight) => prop_assert_eq!(in_flight.len(), 256),
                        Err(NoneFree::RestingUntil(until)) => {
                            prop_assert!(until > now);
                            prop_assert_eq!(resting.values().min(), Some(&until));
                        }
                    }
                    now += Duration::from_millis(number);
                } else if !in_flight.is_empty() {
                    let identifier = in_flight.swap_remove(usize::from(pick) % in_flight.len());
                    let until = now + SECOND * u32::try_from(number).unwrap();
                    identifiers.settle(identifier, until);
                    identifiers.settle(identifier, Duration::ZERO);
                    resting.insert(identifier, until);
                }
                prop_assert_eq!(identifiers.in_flight(), in_flight.len());
            }
        }
    }
}
