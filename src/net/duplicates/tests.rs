//! Each rule by itself, and all of them together beside a naive model.

use proptest::prelude::*;

use super::*;

fn key(identifier: u8, authenticator: u8) -> RequestKey {
    let source = "192.0.2.1:40000".parse().unwrap();
    RequestKey { source, connection: 0, identifier, authenticator: [authenticator; 16] }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn duplicates(most_octets: usize) -> Duplicates {
    Duplicates::new(Duration::from_secs(10), most_octets)
}

const PLENTY: usize = 1 << 20;

#[test]
fn rfc_5080_section_2_2_2_a_repeat_gets_the_stored_reply() {
    let mut seen = duplicates(PLENTY);
    assert_eq!(seen.admit(&key(1, 1), at(0)), Admission::New);
    assert_eq!(seen.admit(&key(1, 1), at(1)), Admission::InWork);
    for octets in [20, 63, 64, 65, 250, 4096] {
        let reply: Vec<u8> = (0..octets).map(|octet| (octet % 251) as u8).collect();
        seen.answered(&key(1, 1), &reply);
        assert_eq!(seen.admit(&key(1, 1), at(2)), Admission::Answered(&reply));
    }
}

#[test]
fn a_reused_identifier_is_a_new_request() {
    let mut seen = duplicates(PLENTY);
    seen.admit(&key(1, 1), at(0));
    assert_eq!(seen.admit(&key(1, 2), at(1)), Admission::New);
    seen.answered(&key(1, 1), b"late");
    assert_eq!(seen.admit(&key(1, 2), at(2)), Admission::InWork, "the old request's reply is not the new one's");
    assert_eq!(seen.admit(&key(1, 2), at(10)), Admission::InWork, "the old one's expiry is not the new one's");
    assert_eq!(seen.len(), 1);
}

#[test]
fn another_connection_or_port_asks_anew() {
    let mut seen = duplicates(PLENTY);
    seen.admit(&key(1, 1), at(0));
    let others = [
        RequestKey { connection: 2, ..key(1, 1) },
        RequestKey { source: "192.0.2.1:40001".parse().unwrap(), ..key(1, 1) },
        RequestKey { source: "192.0.2.2:40000".parse().unwrap(), ..key(1, 1) },
        RequestKey { source: "[2001:db8::1]:40000".parse().unwrap(), ..key(1, 1) },
    ];
    for other in others {
        assert_eq!(seen.admit(&other, at(1)), Admission::New);
        assert_eq!(seen.admit(&other, at(2)), Admission::InWork);
    }
}

#[test]
fn what_is_forgotten_or_expired_is_new_again() {
    let mut seen = duplicates(PLENTY);
    seen.admit(&key(1, 1), at(0));
    seen.forget(&key(1, 1));
    assert_eq!(seen.admit(&key(1, 1), at(1)), Admission::New);
    assert_eq!(seen.admit(&key(1, 1), at(10)), Admission::InWork);
    assert_eq!(seen.admit(&key(1, 1), at(11)), Admission::New, "its window is over, to the microsecond");
    assert_eq!(seen.admit(&key(2, 1), at(1_000_000_000)), Admission::New);
    assert_eq!((seen.len(), seen.octets()), (1, Duplicates::OCTETS_OF_REQUEST), "the other is gone");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let most = 10 * Duplicates::OCTETS_OF_REQUEST;
    let mut seen = duplicates(most);
    for round in 0..100 {
        for identifier in 0..=255 {
            seen.admit(&key(identifier, round), at(0));
            assert!(seen.octets() <= most);
            seen.answered(&key(identifier, round), &[0; 200]);
            assert!(seen.octets() <= most);
        }
    }
    assert!(seen.len() >= 2);
    assert!(seen.entries.len() <= 10 && seen.heads.len() <= 64);
    assert_eq!(seen.admit(&key(255, 99), at(0)), Admission::Answered(&[0; 200]), "the newest is there");
    seen.answered(&key(255, 99), &[0; 4096]);
    assert_eq!(seen.admit(&key(255, 99), at(0)), Admission::New, "what has no room at all is not remembered");
}

/// Once as many requests were remembered as ever are, the places of old ones are enough.
#[test]
fn nothing_grows_once_warm() {
    let mut seen = duplicates(PLENTY);
    let mut places = Vec::new();
    for round in 0..40_i64 {
        for number in 0..1000_u16 {
            let source = SocketAddr::new([192, 0, 2, 1].into(), number);
            let key = RequestKey { source, authenticator: [round as u8; 16], ..key(1, 1) };
            let now = Timestamp::from_micros(round * 1_000_000 + i64::from(number));
            assert_eq!(seen.admit(&key, now), Admission::New);
            seen.answered(&key, &[7; 150][..100 + usize::from(number % 50)]);
        }
        places.push((seen.entries.capacity(), seen.heads.capacity(), seen.octets()));
    }
    assert_eq!(places[20], places[39]);
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_for_long() {
    let mut seen = duplicates(PLENTY);
    seen.admit(&key(1, 1), at(10_000));
    seen.answered(&key(1, 1), b"reply");
    assert_eq!(seen.admit(&key(1, 1), at(5_000)), Admission::Answered(b"reply"));
    assert_eq!(seen.admit(&key(2, 1), at(5_005)), Admission::New);
    assert_eq!(seen.admit(&key(1, 1), at(5_009)), Admission::Answered(b"reply"));
    assert_eq!(seen.admit(&key(1, 1), at(5_010)), Admission::New);
    assert_eq!(seen.admit(&key(2, 1), at(5_002)), Admission::InWork, "a small step back is none");
    assert_eq!(seen.admit(&key(2, 1), at(5_015)), Admission::New);
}

/// What the rules say, written down without any thought of cost.
#[derive(Debug, Default)]
struct Model {
    /// The oldest first.
    requests: Vec<(RequestKey, Timestamp, Option<Vec<u8>>)>,
    most_octets: usize,
}

#[derive(Debug, PartialEq)]
enum Said {
    New,
    InWork,
    Answered(Vec<u8>),
}

impl Model {
    fn octets(&self) -> usize {
        let reply = |reply: &Option<Vec<u8>>| reply.as_ref().map_or(0, |reply| Octets::cost(reply.len()));
        self.requests.iter().map(|(.., octets)| Duplicates::OCTETS_OF_REQUEST + reply(octets)).sum()
    }

    fn admit(&mut self, key: &RequestKey, now: Timestamp) -> Said {
        self.requests.retain(|(_, since, _)| now.since(*since) < Duration::from_secs(10));
        if let Some((.., reply)) = self.requests.iter().find(|(other, ..)| other == key) {
            return reply.clone().map_or(Said::InWork, Said::Answered);
        }
        self.requests.retain(|(other, ..)| !other.same_place(key));
        while self.octets() + Duplicates::OCTETS_OF_REQUEST > self.most_octets && !self.requests.is_empty() {
            self.requests.remove(0);
        }
        self.requests.push((*key, now, None));
        Said::New
    }

    fn answered(&mut self, key: &RequestKey, reply: &[u8]) {
        let Some((.., kept)) = self.requests.iter_mut().find(|(other, ..)| other == key) else { return };
        *kept = Some(reply.to_vec());
        while self.octets() > self.most_octets {
            self.requests.remove(0);
        }
    }

    fn forget(&mut self, key: &RequestKey) {
        self.requests.retain(|(other, ..)| other != key);
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Comes(RequestKey, u32),
    IsAnswered(RequestKey, usize),
    IsForgotten(RequestKey),
}

fn happens() -> impl Strategy<Value = Happens> {
    let key = (0..4_u16, 0..2_u64, 0..3_u8, 0..3_u8).prop_map(|(port, connection, identifier, authenticator)| {
        let source = SocketAddr::new([192, 0, 2, 1].into(), port);
        RequestKey { source, connection, identifier, authenticator: [authenticator; 16] }
    });
    // From nothing between two requests to longer than the window.
    let pause = prop_oneof![Just(0), 0..50_000_u32, 0..3_000_000_u32, 0..12_000_000_u32];
    prop_oneof![
        6 => (key.clone(), pause).prop_map(|(key, pause)| Happens::Comes(key, pause)),
        4 => (key.clone(), 0..300_usize).prop_map(|(key, octets)| Happens::IsAnswered(key, octets)),
        1 => key.prop_map(Happens::IsForgotten),
    ]
}

proptest! {
    #[test]
    fn a_naive_model_says_the_same(most_octets in 0..4000_usize, story in prop::collection::vec(happens(), 1..200)) {
        let mut seen = duplicates(most_octets);
        let mut model = Model { most_octets, ..Model::default() };
        let mut now = at(1_000_000);
        for (number, event) in story.iter().enumerate() {
            match event {
                Happens::Comes(key, pause) => {
                    now = now + Duration::from_micros(u64::from(*pause));
                    let said = match seen.admit(key, now) {
                        Admission::New => Said::New,
                        Admission::InWork => Said::InWork,
                        Admission::Answered(reply) => Said::Answered(reply.to_vec()),
                    };
                    prop_assert_eq!(said, model.admit(key, now));
                }
                Happens::IsAnswered(key, octets) => {
                    let reply = vec![number as u8; *octets];
                    seen.answered(key, &reply);
                    model.answered(key, &reply);
                }
                Happens::IsForgotten(key) => {
                    seen.forget(key);
                    model.forget(key);
                }
            }
            prop_assert_eq!((seen.len(), seen.octets()), (model.requests.len(), model.octets()));
        }
    }
}
