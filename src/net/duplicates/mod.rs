//! Duplicate detection (RFC 5080 §2.2.2): a repeat of an answered request gets the stored reply, a repeat of one in work is
//! dropped. Pure: it is given `now`, and knows nothing of what requests mean.
//!
//! Bounded by memory, not by number: entries and replies lie in places that are used again, so that once there are enough of them
//! nothing is allocated any more.

mod octets;
#[cfg(test)]
mod tests;
mod wheel;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::octets::{Octets, Stored};
use self::wheel::{Link, SLOTS, Wheel};
use crate::model::Timestamp;

const NONE: u32 = u32::MAX;
/// Those that came last are found without looking through the rest: as many as are answered together (`radius::TOGETHER`).
const NEWEST: usize = 8;

/// What makes a request the same one (RFC 5080 §2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey {
    /// Source address and port.
    pub source: SocketAddr,
    /// Which TLS connection it came by; zero for a datagram. A request is the same only on the same connection.
    pub connection: u64,
    /// Identifier.
    pub identifier: u8,
    /// Request Authenticator.
    pub authenticator: [u8; 16],
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<'a> {
    /// It is new: work on it, then [`Duplicates::answered`] or [`Duplicates::forget`].
    New,
    /// It is being worked on: drop this copy.
    InWork,
    /// It was answered: send this again.
    Answered(&'a [u8]),
}

/// The requests of one port, within a window of time and a bound of memory.
#[derive(Debug)]
pub struct Duplicates {
    /// Microseconds.
    window: u64,
    /// Microseconds of one tick of the wheel.
    grain: u64,
    most_octets: usize,
    clock: Clock,
    /// Keyed, so that nobody can choose source ports that meet in one place.
    hasher: RandomState,
    /// By hash, the first entry there; as many as a power of two.
    heads: Vec<u32>,
    entries: Vec<Entry>,
    /// The first of the entries that are free.
    free: u32,
    /// Those that came last, in turn, as long as they are there: most are answered before many others come,
    newest: [u32; NEWEST],
    /// and whose turn it is, which is the oldest of them.
    turn: usize,
    len: usize,
    wheel: Wheel,
    replies: Octets,
    /// The reply that was asked for last, in one piece.
    reply: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    key: RequestKey,
    hash: u32,
    /// The next one of this hash, or of those that are free.
    next: u32,
    /// When it is forgotten, as the [`Clock`] goes.
    until: u64,
    reply: Option<Stored>,
}

/// Microseconds that passed since the start, by a clock that people may set.
#[derive(Debug)]
struct Clock {
    last: Timestamp,
    elapsed: u64,
}

impl RequestKey {
    /// Whether the other takes this one's place: a client has one request for each Identifier (RFC 2865 §3).
    fn same_place(&self, other: &Self) -> bool {
        self.identifier == other.identifier && self.source == other.source && self.connection == other.connection
    }

    /// Place in one piece: address, port, connection, Identifier.
    fn place(&self) -> [u8; 27] {
        let address = match self.source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut place = [0; 27];
        place[..16].copy_from_slice(&address.octets());
        place[16..18].copy_from_slice(&self.source.port().to_be_bytes());
        place[18..26].copy_from_slice(&self.connection.to_be_bytes());
        place[26] = self.identifier;
        place
    }
}

impl Duplicates {
    /// What a request takes beside the octets of its reply: itself, its links and its share of the heads.
    pub const OCTETS_OF_REQUEST: usize = size_of::<Entry>() + size_of::<Link>() + 2 * size_of::<u32>();

    /// Remembers requests for `window`; when they and their replies would take more than `most_octets`, the oldest are forgotten
    /// sooner.
    pub fn new(window: Duration, most_octets: usize) -> Self {
        let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX / 2);
        Self {
            window,
            // Whatever lies within the window lies within the wheel.
            grain: window / (SLOTS - 2) + 1,
            most_octets,
            clock: Clock { last: Timestamp::default(), elapsed: 0 },
            hasher: RandomState::new(),
            heads: vec![NONE; 64],
            entries: Vec::new(),
            free: NONE,
            newest: [NONE; NEWEST],
            turn: 0,
            len: 0,
            wheel: Wheel::new(),
            replies: Octets::new(),
            reply: Vec::new(),
        }
    }

    /// Notes a request down and says what to do with it. A new one is in work.
    ///
    /// An Identifier that comes again with another authenticator is a new request in the old one's place.
    pub fn admit(&mut self, key: &RequestKey, now: Timestamp) -> Admission<'_> {
        let elapsed = self.clock.advance(now, self.window);
        self.expire(elapsed);
        let hash = self.hash(key);
        if let Some(index) = self.find(key, hash) {
            let entry = &self.entries[index as usize];
            if entry.key.authenticator == key.authenticator {
                let Some(stored) = entry.reply else { return Admission::InWork };
                self.replies.read(stored, &mut self.reply);
                return Admission::Answered(&self.reply);
            }
            self.remove(index);
        }
        while self.octets() + Self::OCTETS_OF_REQUEST > self.most_octets
            && let Some(oldest) = self.wheel.oldest()
        {
            self.remove(oldest);
        }
        self.insert(Entry { key: *key, hash, next: NONE, until: elapsed.saturating_add(self.window), reply: None });
        Admission::New
    }

    /// Keeps the reply for repeats.
    pub fn answered(&mut self, key: &RequestKey, reply: &[u8]) {
        let Some(index) = self.find_same(key) else { return };
        if let Some(before) = self.entries[index as usize].reply.take() {
            self.replies.forget(before);
        }
        while self.octets() + Octets::cost(reply.len()) > self.most_octets {
            let Some(oldest) = self.wheel.oldest() else { return };
            self.remove(oldest);
            // There is no room for it at all: its repeat will be new.
            if oldest == index {
                return;
            }
        }
        self.entries[index as usize].reply = Some(self.replies.keep(reply));
    }

    /// Forgets a request that will not be answered, so that its repeat is tried again.
    pub fn forget(&mut self, key: &RequestKey) {
        if let Some(index) = self.find_same(key) {
            self.remove(index);
        }
    }

    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How much memory they take, with their replies.
    pub fn octets(&self) -> usize {
        self.len * Self::OCTETS_OF_REQUEST + self.replies.used()
    }

    fn expire(&mut self, elapsed: u64) {
        while let Some(oldest) = self.wheel.oldest()
            && self.entries[oldest as usize].until <= elapsed
        {
            self.remove(oldest);
        }
    }

    fn hash(&self, key: &RequestKey) -> u32 {
        (self.hasher.hash_one(key.place()) & u64::from(u32::MAX)) as u32
    }

    fn head_of(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    fn find(&self, key: &RequestKey, hash: u32) -> Option<u32> {
        let mut index = self.heads[self.head_of(hash)];
        while index != NONE {
            let entry = &self.entries[index as usize];
            if entry.hash == hash && entry.key.same_place(key) {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    fn find_same(&self, key: &RequestKey) -> Option<u32> {
        let (newer, older) = self.newest.split_at(self.turn);
        let mut newest = older.iter().chain(newer).copied();
        let is_same = |index: u32| self.entries.get(index as usize).is_some_and(|entry| entry.key == *key);
        if let Some(index) = newest.find(|index| is_same(*index)) {
            return Some(index);
        }
        let index = self.find(key, self.hash(key))?;
        (self.entries[index as usize].key.authenticator == key.authenticator).then_some(index)
    }

    fn insert(&mut self, entry: Entry) {
        if self.len >= self.heads.len() {
            self.spread();
        }
        let (hash, tick) = (entry.hash, entry.until / self.grain);
        let index = match self.free {
            NONE => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("bounded by memory, far below 2³² entries")
            }
            index => {
                let place = &mut self.entries[index as usize];
                self.free = place.next;
                *place = entry;
                index
            }
        };
        let head = self.head_of(hash);
        self.entries[index as usize].next = std::mem::replace(&mut self.heads[head], index);
        self.wheel.enter(index, tick);
        self.newest[self.turn] = index;
        self.turn = (self.turn + 1) % NEWEST;
        self.len += 1;
    }

    fn remove(&mut self, index: u32) {
        let Entry { hash, next, .. } = self.entries[index as usize];
        let head = self.head_of(hash);
        if self.heads[head] == index {
            self.heads[head] = next;
        } else {
            let mut before = self.heads[head] as usize;
            while self.entries[before].next != index {
                before = self.entries[before].next as usize;
            }
            self.entries[before].next = next;
        }
        self.wheel.leave(index);
        if let Some(place) = self.newest.iter_mut().find(|newest| **newest == index) {
            *place = NONE;
        }
        let entry = &mut self.entries[index as usize];
        if let Some(stored) = entry.reply.take() {
            self.replies.forget(stored);
        }
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
    }

    /// Twice as many heads, so that few entries share one.
    fn spread(&mut self) {
        let mut heads = vec![NONE; self.heads.len() * 2];
        let mask = heads.len() - 1;
        for first in std::mem::take(&mut self.heads) {
            let mut index = first;
            while index != NONE {
                let entry = &mut self.entries[index as usize];
                let head = &mut heads[entry.hash as usize & mask];
                let next = std::mem::replace(&mut entry.next, std::mem::replace(head, index));
                index = next;
            }
        }
        self.heads = heads;
    }
}

impl Clock {
    /// How long it has been going. Set back by less than the window it stands still until it is as late again; set back further it
    /// goes on from there, so that nothing is kept for much longer than it should be.
    fn advance(&mut self, now: Timestamp, window: u64) -> u64 {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4);
        if now > self.last {
            self.elapsed = self.elapsed.saturating_add(micros(now.since(self.last)));
            self.last = now;
        } else if micros(self.last.since(now)) > window {
            self.last = now;
        }
        self.elapsed
    }
}
