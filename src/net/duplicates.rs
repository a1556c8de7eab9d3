//! Duplicate detection (RFC 5080 §2.2.2): a repeat of an answered request gets the stored reply, a repeat of one in work is
//! dropped. Pure: it is given `now`, and knows nothing of what requests mean.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Timestamp;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is new: work on it, then [`Duplicates::answered`] or [`Duplicates::forget`].
    New,
    /// It is being worked on: drop this copy.
    InWork,
    /// It was answered: send this again.
    Answered(Arc<[u8]>),
}

/// The requests of one port, within a window of time and a bound of memory.
#[derive(Debug)]
pub struct Duplicates {
    window: Duration,
    most: usize,
    requests: HashMap<Slot, Entry>,
    /// In the order of admission, so of expiry; its length is what `most` bounds. An entry that was replaced since is told
    /// by its serial number.
    order: VecDeque<(Timestamp, u64, Slot)>,
    serial: u64,
}

/// Where an Identifier counts.
type Slot = (SocketAddr, u64, u8);

#[derive(Debug)]
struct Entry {
    serial: u64,
    authenticator: [u8; 16],
    reply: Option<Arc<[u8]>>,
}

impl RequestKey {
    fn slot(&self) -> Slot {
        (self.source, self.connection, self.identifier)
    }
}

impl Duplicates {
    /// Remembers each request for `window`, and at most `most` of them: beyond that the oldest is forgotten, and a repeat
    /// of it handled as new.
    pub fn new(window: Duration, most: usize) -> Self {
        Self { window, most, requests: HashMap::new(), order: VecDeque::new(), serial: 0 }
    }

    /// Says what to do with a request, and remembers a new one as in work.
    ///
    /// An Identifier that comes again with another authenticator is a new request in the old one's place.
    pub fn admit(&mut self, key: &RequestKey, now: Timestamp) -> Admission {
        self.expire(now);
        let slot = key.slot();
        if let Some(entry) = self.requests.get(&slot)
            && entry.authenticator == key.authenticator
        {
            return entry.reply.clone().map_or(Admission::InWork, Admission::Answered);
        }
        while self.order.len() >= self.most && self.evict_oldest() {}
        self.serial += 1;
        let serial = self.serial;
        self.requests.insert(slot, Entry { serial, authenticator: key.authenticator, reply: None });
        self.order.push_back((now + self.window, serial, slot));
        Admission::New
    }

    /// Keeps the reply for repeats.
    pub fn answered(&mut self, key: &RequestKey, reply: Arc<[u8]>) {
        if let Some(entry) = self.requests.get_mut(&key.slot())
            && entry.authenticator == key.authenticator
        {
            entry.reply = Some(reply);
        }
    }

    /// Forgets a request that will not be answered, so that its repeat is tried again.
    pub fn forget(&mut self, key: &RequestKey) {
        let slot = key.slot();
        if self.requests.get(&slot).is_some_and(|entry| entry.authenticator == key.authenticator) {
            self.requests.remove(&slot);
        }
    }

    /// How many requests are remembered.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn expire(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(at, ..)| *at <= now) {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) -> bool {
        let Some((_, serial, slot)) = self.order.pop_front() else { return false };
        if self.requests.get(&slot).is_some_and(|entry| entry.serial == serial) {
            self.requests.remove(&slot);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identifier: u8, authenticator: u8) -> RequestKey {
        let source = "192.0.2.1:40000".parse().unwrap();
        RequestKey { source, connection: 0, identifier, authenticator: [authenticator; 16] }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn duplicates(most: usize) -> Duplicates {
        Duplicates::new(Duration::from_secs(10), most)
    }

    #[test]
    fn rfc_5080_section_2_2_2_a_repeat_gets_the_stored_reply() {
        let mut seen = duplicates(10);
        assert_eq!(seen.admit(&key(1, 1), at(0)), Admission::New);
        assert_eq!(seen.admit(&key(1, 1), at(1)), Admission::InWork);
        let reply: Arc<[u8]> = Arc::from(*b"reply");
        seen.answered(&key(1, 1), reply.clone());
        assert_eq!(seen.admit(&key(1, 1), at(2)), Admission::Answered(reply));
    }

    #[test]
    fn a_reused_identifier_is_a_new_request() {
        let mut seen = duplicates(10);
        seen.admit(&key(1, 1), at(0));
        assert_eq!(seen.admit(&key(1, 2), at(1)), Admission::New);
        seen.answered(&key(1, 1), Arc::from(*b"late"));
        assert_eq!(seen.admit(&key(1, 2), at(2)), Admission::InWork, "the old request's reply is not the new one's");
        assert_eq!(seen.admit(&key(1, 2), at(10)), Admission::InWork, "the old one's expiry is not the new one's");
    }

    #[test]
    fn another_connection_asks_anew() {
        let mut seen = duplicates(10);
        let other = RequestKey { connection: 2, ..key(1, 1) };
        seen.admit(&key(1, 1), at(0));
        assert_eq!(seen.admit(&other, at(1)), Admission::New);
        assert_eq!(seen.admit(&other, at(2)), Admission::InWork);
    }

    #[test]
    fn what_is_forgotten_or_expired_is_new_again() {
        let mut seen = duplicates(10);
        seen.admit(&key(1, 1), at(0));
        seen.forget(&key(1, 1));
        assert_eq!(seen.admit(&key(1, 1), at(1)), Admission::New);
        assert_eq!(seen.admit(&key(1, 1), at(11)), Admission::New);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut seen = duplicates(3);
        for round in 0..100 {
            for identifier in 0..=255 {
                seen.admit(&key(identifier, round), at(0));
                assert!(seen.len() <= 3);
            }
        }
        assert!(seen.order.len() <= 3, "{}", seen.order.len());
    }
}
