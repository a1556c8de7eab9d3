//! What bad packets cost: sources that sent some are looked up, and past a bound their packets are dropped before anything in them is
//! checked. One guard for each lane, of a fixed size, without a lock and without an allocation.
//!
//! A source is an address and a port. Each may send so many bad packets at once and so many a second; what it sends beyond that
//! goes unread. Two things keep this from being a weapon. A source that has proven a secret lately is never refused: whoever forges its
//! address costs us a check for each packet, and cannot silence it. And none is refused for what a neighbour at the same address
//! did, while there are places.
//!
//! Memory of an attack is given away only when nothing is left of it to know: a place whose bucket has filled up again. Where an attacker
//! has more ports than there are places, those without one share a bucket, the *crowd's*.
//!
//! Knows no secret and no packet: whoever checks says what came of it. Reads no clock and draws no chance: the time is given, and so
//! is the key that keeps strangers from choosing whose neighbours they are.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Duration;

use super::bucket::Measure;
use crate::model::Timestamp;

/// Places a source may have; the table's size is this times a power of two.
const WAYS: usize = 8;

/// What is allowed, and how much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bad packets of one source.
    pub source: Measure,
    /// Bad packets of all sources for which there is no place.
    pub crowd: Measure,
    /// Sources with bad packets remembered, rounded up to a power of two; 16 octets each.
    pub places: usize,
    /// Sources that have proven a secret remembered, rounded up likewise.
    pub proven: usize,
    /// How long a proof counts.
    pub proof: Duration,
}

impl Default for Bounds {
    /// 20 bad packets at once and one a second; the crowd's 1,000 at once and 1,000 a second: of a flood from as many ports as there are
    /// that is two percent of a core for checks at most.
    fn default() -> Self {
        Self {
            source: Measure::new(20, Duration::from_secs(1)),
            crowd: Measure::per_second(1000),
            places: 16_384,
            proven: 4096,
            proof: Duration::from_secs(3600),
        }
    }
}

/// A source as the guard knows it.
#[derive(Debug, Clone, Copy)]
pub struct Source(u64);

/// A source whose packet is looked at; for one packet. Only the guard makes one.
#[derive(Debug, Clone, Copy)]
#[must_use = "what came of the packet is to be said"]
pub struct Visitor(Source);

/// The guard of one lane.
#[derive(Debug)]
pub struct Flood<S> {
    bounds: Bounds,
    hasher: S,
    bad: Table,
    /// When the crowd's bucket is full again.
    crowd: i64,
    proven: Table,
}

impl<S: BuildHasher> Flood<S> {
    /// A guard that has seen nothing. `hasher` must be keyed by chance (`std::hash::RandomState` is).
    pub fn new(bounds: Bounds, hasher: S) -> Self {
        let (bad, proven) = (Table::new(bounds.places), Table::new(bounds.proven));
        Self { bounds, hasher, bad, crowd: i64::MIN, proven }
    }

    /// Who comes from there.
    pub fn source(&self, address: SocketAddr) -> Source {
        Source(self.hasher.hash_one(address))
    }

    /// Whether a source has proven a secret lately, so that it is heard whatever else came from it.
    pub fn has_proven(&self, source: Source, now: Timestamp) -> bool {
        self.proven.holds(source, now.as_micros())
    }

    /// Whether a packet of this source is to be looked at; then say [`Flood::failed`] or [`Flood::proved`] of it, or nothing when it was
    /// neither (an Access-Request that proves nothing and need not).
    pub fn admit(&mut self, source: Source, now: Timestamp) -> Option<Visitor> {
        let admitted = match self.bad.find(source, now.as_micros()) {
            Place::Taken(place) => {
                place.until = self.bounds.source.settled(place.until, now);
                self.bounds.source.has(place.until, now)
            }
            Place::Free(_) => true,
            Place::None => self.bounds.crowd.has(self.crowd, now),
        };
        (admitted || self.has_proven(source, now)).then_some(Visitor(source))
    }

    /// It was bad: malformed, out of place, or made with another secret.
    pub fn failed(&mut self, Visitor(from): Visitor, now: Timestamp) {
        let Bounds { source, crowd, .. } = self.bounds;
        match self.bad.find(from, now.as_micros()) {
            Place::Taken(place) => place.until = source.after(place.until, now),
            Place::Free(place) => *place = Entry { source: from.0, until: source.after(i64::MIN, now) },
            Place::None => self.crowd = crowd.after(self.crowd, now),
        }
    }

    /// It was made with the NAS's secret.
    pub fn proved(&mut self, Visitor(from): Visitor, now: Timestamp) {
        let until = (now + self.bounds.proof).as_micros();
        match self.proven.find(from, now.as_micros()) {
            Place::Taken(place) => place.until = until,
            Place::Free(place) => *place = Entry { source: from.0, until },
            // Only who knows a secret gets here: the oldest makes room.
            Place::None => *self.proven.oldest(from) = Entry { source: from.0, until },
        }
    }
}

/// Sources in sets, the set by a keyed hash of the source.
#[derive(Debug)]
struct Table(Box<[[Entry; WAYS]]>);

/// Of a source, sixty-four bits by a key nobody else knows: that two are alike does not happen.
#[derive(Debug, Clone, Copy)]
struct Entry {
    source: u64,
    /// Until when there is something to know about it.
    until: i64,
}

#[derive(Debug)]
enum Place<'a> {
    Taken(&'a mut Entry),
    Free(&'a mut Entry),
    None,
}

impl Table {
    fn new(places: usize) -> Self {
        let sets = places.div_ceil(WAYS).next_power_of_two();
        Self(vec![[Entry { source: 0, until: i64::MIN }; WAYS]; sets].into_boxed_slice())
    }

    /// Where a source's set is.
    fn at(&self, Source(source): Source) -> usize {
        source as usize & (self.0.len() - 1)
    }

    fn set(&mut self, source: Source) -> &mut [Entry; WAYS] {
        let at = self.at(source);
        &mut self.0[at]
    }

    fn holds(&self, source: Source, now: i64) -> bool {
        self.0[self.at(source)].iter().any(|entry| entry.source == source.0 && entry.until > now)
    }

    /// The place of a source, or one nobody needs any more.
    fn find(&mut self, source: Source, now: i64) -> Place<'_> {
        let set = self.set(source);
        let mut free = None;
        for (at, entry) in set.iter().enumerate() {
            if entry.until <= now {
                free = free.or(Some(at));
            } else if entry.source == source.0 {
                return Place::Taken(&mut set[at]);
            }
        }
        free.map_or(Place::None, |at| Place::Free(&mut set[at]))
    }

    fn oldest(&mut self, source: Source) -> &mut Entry {
        self.set(source).iter_mut().min_by_key(|entry| entry.until).expect("a set has places")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use proptest::prelude::*;

    use super::*;

    type Guard = Flood<BuildHasherDefault<DefaultHasher>>;

    fn guard(places: usize) -> Guard {
        let bounds = Bounds {
            source: Measure::new(3, Duration::from_secs(1)),
            crowd: Measure::new(5, Duration::from_secs(1)),
            places,
            proven: 8,
            proof: Duration::from_secs(60),
        };
        Flood::new(bounds, BuildHasherDefault::new())
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn source(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn admit(guard: &mut Guard, from: SocketAddr, now: Timestamp) -> Option<Visitor> {
        guard.admit(guard.source(from), now)
    }

    /// Sends a bad packet; whether it was looked at.
    fn bad(guard: &mut Guard, from: SocketAddr, now: i64) -> bool {
        let visitor = admit(guard, from, at(now));
        visitor.inspect(|visitor| guard.failed(*visitor, at(now))).is_some()
    }

    #[test]
    fn past_its_burst_a_source_goes_unread_and_its_neighbour_does_not() {
        let mut guard = guard(64);
        let read = |guard: &mut Guard, now| (0..1000).filter(|_| bad(guard, source(1), now)).count();
        assert_eq!(read(&mut guard, 0), 3);
        assert!(admit(&mut guard, source(2), at(0)).is_some());
        assert_eq!(read(&mut guard, 999_999), 0);
        assert_eq!(read(&mut guard, 1_000_000), 1);
        assert_eq!(read(&mut guard, 100_000_000), 3);
    }

    /// Whose secret was wrong and is right now is heard again within a second, and for good.
    #[test]
    fn who_was_bad_gets_in_as_the_bucket_fills() {
        let mut guard = guard(64);
        for _ in 0..1000 {
            bad(&mut guard, source(1), 0);
        }
        assert!(admit(&mut guard, source(1), at(500_000)).is_none());
        let visitor = admit(&mut guard, source(1), at(1_000_000)).unwrap();
        guard.proved(visitor, at(1_000_000));
        for _ in 0..1000 {
            bad(&mut guard, source(1), 1_000_001);
        }
        assert!(admit(&mut guard, source(1), at(1_000_002)).is_some(), "a forger cannot silence it");
        assert!(admit(&mut guard, source(1), at(61_000_000)).is_some(), "its bucket is full by then");
    }

    #[test]
    fn a_forger_silences_none_that_has_proven_itself_before() {
        let mut guard = guard(64);
        let visitor = admit(&mut guard, source(1), at(0)).unwrap();
        guard.proved(visitor, at(0));
        assert!((0..1000).all(|_| bad(&mut guard, source(1), 1)));
        assert!(admit(&mut guard, source(1), at(59_999_999)).is_some());
        for _ in 0..1000 {
            bad(&mut guard, source(1), 60_000_000);
        }
        assert!(admit(&mut guard, source(1), at(60_000_000)).is_none(), "a proof is not for ever");
    }

    /// As many as there are places keep theirs; the others share the crowd's bucket, and come into no place that says something.
    #[test]
    fn many_ports_push_nothing_out() {
        let mut guard = guard(WAYS);
        let sources: Vec<_> = (0..WAYS as u16).map(source).collect();
        for source in &sources {
            (0..3).for_each(|_| assert!(bad(&mut guard, *source, 0)));
        }
        let crowd = (1000..60_000).filter(|port| bad(&mut guard, source(*port), 0)).count();
        assert_eq!(crowd, 5);
        assert!(sources.iter().all(|source| admit(&mut guard, *source, at(0)).is_none()));
        assert!(admit(&mut guard, source(999), at(0)).is_none(), "the bound holds for newcomers, too");
        assert!(admit(&mut guard, source(999), at(1_000_000)).is_some());
    }

    #[test]
    fn a_clock_set_back_refuses_nobody_for_long() {
        let mut guard = guard(64);
        for _ in 0..1000 {
            bad(&mut guard, source(1), 3_600_000_000);
        }
        assert!(!bad(&mut guard, source(1), 0));
        let heard = (1..=4).find(|second| admit(&mut guard, source(1), at(second * 1_000_000)).is_some());
        assert_eq!(heard, Some(1));
    }

    proptest! {
        /// Where there is room for all, each source has a bucket of its own, as if counted in a map.
        #[test]
        fn as_a_bucket_for_each(packets in prop::collection::vec((0..4_u16, 0..600_000_i64), 1..300)) {
            let mut guard = guard(64);
            let (mut model, mut now) = (HashMap::new(), 0);
            for (port, step) in packets {
                now += step;
                let (parts, since) = model.entry(port).or_insert((3_000_000_i64, 0));
                *parts = (*parts + now - *since).min(3_000_000);
                *since = now;
                let there_is = *parts >= 1_000_000;
                *parts -= if there_is { 1_000_000 } else { 0 };
                prop_assert_eq!(bad(&mut guard, source(port), now), there_is);
            }
        }

        /// Whatever comes from wherever, what is read of it is bounded by places and time.
        #[test]
        fn what_is_read_is_bounded(packets in prop::collection::vec((any::<u16>(), 0..2000_i64), 1..3000)) {
            let mut guard = guard(16);
            let (mut now, mut read) = (0, 0);
            for (port, step) in packets {
                now += step;
                read += i64::from(bad(&mut guard, source(port), now));
            }
            let rate = now / 1_000_000;
            // Each place's burst and rate, and the crowd's; a place changes hands only when its bucket is full again.
            prop_assert!(read <= 16 * (3 + rate) + 5 + rate, "{read} in {now} µs");
        }

        /// Who has proven itself and sends on is heard, whatever is forged in its name and whatever else comes.
        #[test]
        fn who_proves_itself_is_heard(packets in prop::collection::vec((0..64_u16, 0..50_000_i64), 1..500)) {
            let mut guard = guard(8);
            let mut now = 0;
            let visitor = admit(&mut guard, source(7), at(now)).unwrap();
            guard.proved(visitor, at(now));
            for (port, step) in packets {
                now += step;
                bad(&mut guard, source(port), now);
                prop_assert!(admit(&mut guard, source(7), at(now)).is_some());
            }
        }
    }
}
