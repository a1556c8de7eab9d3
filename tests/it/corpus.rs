//! What no NAS should send, sent to a running server: no answer, one counter each, and the server goes on.
//!
//! The packets of `tests/vectors/malformed` and, beside them, good packets with something changed.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Instant;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use radhold::radius::{Code, Packet, PacketBuilder, attribute, hiding};
use serde_json::Value;

use crate::chance::Chance;
use crate::radhold::{PATIENCE, Radhold, message};

/// The secret the corpus is judged with.
const SECRET: &str = "lab-shared-secret";
const PASSWORD: &str = "s3cret-pass";
const MUTANTS: usize = 1000;

#[test]
fn what_is_malformed_gets_no_answer_and_one_counter() {
    let lab = Lab::new(SECRET);
    let mut peer = lab.peer();
    let corpus = corpus();
    let malformed = corpus.iter().filter_map(|it| Some((it, it.dropped.as_deref()?)));
    let mut seen = 0;
    for (vector, reason) in malformed {
        for (port, address) in [(Port::Access, lab.radhold.auth), (Port::Accounting, lab.radhold.accounting)] {
            // On the other port a packet whose form is sound is out of place before anybody looks at its authenticators.
            let expected = match Packet::parse(&vector.octets) {
                Ok(packet) if !port.takes(packet.code()) => "code-out-of-place",
                _ => reason,
            };
            let before = lab.ends();
            // From a port of its own: one that sends much that is bad is not read any more.
            let bad = UdpSocket::bind("127.0.0.1:0").unwrap();
            bad.send_to(&vector.octets, address).unwrap();
            peer.logs_in_and_starts();
            let counted = lab.ends_since(&before);
            assert_eq!(counted, BTreeMap::from([(expected.to_owned(), 1)]), "{} to the {port:?} port", vector.name);
            assert_silent(&bad);
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen}");
    lab.assert_answered(peer.answered);
}

#[test]
fn what_is_odd_and_sound_passes_with_the_right_secret_alone() {
    let (right, wrong) = (Lab::new(SECRET), Lab::new("another-shared-secret"));
    let (mut right_peer, mut wrong_peer) = (right.peer(), wrong.peer());
    let corpus = corpus();
    let sound: Vec<_> = corpus.iter().filter(|it| it.dropped.is_none()).collect();
    assert!(sound.len() >= 10, "{}", sound.len());
    let mut answered = 0;
    for vector in sound {
        // All of them have the same Identifier and authenticator: from one port they would be repeats of the first.
        let odd = UdpSocket::bind("127.0.0.1:0").unwrap();
        odd.set_read_timeout(Some(PATIENCE)).unwrap();
        let before = wrong.ends();
        odd.send_to(&vector.octets, wrong.radhold.auth).unwrap();
        wrong_peer.logs_in_and_starts();
        let counted = wrong.ends_since(&before);
        assert_eq!(counted, BTreeMap::from([("message-authenticator-mismatch".to_owned(), 1)]), "{}", vector.name);

        // Mallory is nobody's name, so all that may come is a refusal.
        odd.send_to(&vector.octets, right.radhold.auth).unwrap();
        let mut buffer = [0; 4096];
        let (length, from) = odd.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(from, right.radhold.auth, "{}: the one with another secret keeps silent", vector.name);
        let (reply, request) = (Packet::parse(&buffer[..length]).unwrap(), Packet::parse(&vector.octets).unwrap());
        assert_eq!(reply.code(), Code::AccessReject, "{}", vector.name);
        assert!(is_answer(reply.as_bytes(), &request), "{}", vector.name);
        answered += 1;
        right_peer.logs_in_and_starts();
        assert_silent(&odd);
    }
    right.assert_answered(right_peer.answered + answered);
    wrong.assert_answered(wrong_peer.answered);
}

#[test]
fn a_thousand_mutants_get_nothing_they_should_not() {
    let mut lab = Lab::new(SECRET);
    let mut chance = Chance::seeded("mutants");
    let mut peer = lab.peer();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut sent, mut answers): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
    for nth in 1..=MUTANTS {
        let [identifier] = chance.octets();
        let (good, address) = match chance.below(3) {
            0 => (access_request(identifier, chance.octets(), "alice"), lab.radhold.auth),
            1 => (status_server(identifier, chance.octets()), chance.pick(&[lab.radhold.auth, lab.radhold.accounting])),
            _ => (start(identifier, &nth.to_string(), None), lab.radhold.accounting),
        };
        let mutant = mutate(good, &mut chance);
        socket.send_to(&mutant, address).unwrap();
        sent.push(mutant);
        if nth % 20 == 0 {
            peer.logs_in_and_starts();
            answers.extend(take_all(&socket));
        }
    }
    // What was let in may still be in work.
    let begun = Instant::now();
    while lab.sent() != peer.answered + u64::try_from(answers.len()).unwrap() {
        assert!(begun.elapsed() < PATIENCE, "{} and {} of {} arrived", peer.answered, answers.len(), lab.sent());
        answers.extend(take_all(&socket));
    }
    let from = lab.radhold.log().len();
    lab.radhold.stop();
    lab.radhold.wait_for_log(from, |line| message(line) == "stopped");
    answers.extend(take_all(&socket));
    let log = lab.radhold.log();
    let said: u64 = log[from..].iter().filter(|line| is_sent(line)).filter_map(|line| line["count"].as_u64()).sum();
    assert_eq!(peer.answered + u64::try_from(answers.len()).unwrap(), said, "all that was sent is here");

    println!("{} of {MUTANTS} answered", answers.len());
    for answer in &answers {
        let answers = |request: &Vec<u8>| Packet::parse(request).is_ok_and(|request| is_answer(answer, &request));
        assert!(sent.iter().any(answers), "{}", hex::encode(answer));
        let reply = Packet::parse(answer).unwrap();
        assert!(reply.text(attribute::FILTER_ID).is_none_or(|filter| filter == "sandbox"), "{}", hex::encode(answer));
    }
    for session in lab.radhold.sessions() {
        assert_eq!(session["permitted_at"], Value::Null, "{session:#}");
    }
}

/// Whether a reply fits and is signed for this request.
fn is_answer(reply: &[u8], request: &Packet<'_>) -> bool {
    let Ok(reply) = Packet::parse(reply) else { return false };
    let fits = match request.code() {
        Code::AccessRequest => matches!(reply.code(), Code::AccessAccept | Code::AccessReject),
        Code::StatusServer => matches!(reply.code(), Code::AccessAccept | Code::AccountingResponse),
        Code::AccountingRequest => reply.code() == Code::AccountingResponse,
        _ => false,
    };
    fits && reply.identifier() == request.identifier()
        && reply.verify_reply(SECRET.as_bytes(), request.authenticator()).is_ok()
}

// -- the corpus

struct Vector {
    name: String,
    octets: Vec<u8>,
    /// Why it is to be dropped; `None` when it is sound.
    dropped: Option<String>,
}

/// See `tests/vectors/README.md`.
fn corpus() -> Vec<Vector> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/malformed");
    let mut paths: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let (comments, digits): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('#'));
        let verdict = comments.last().unwrap().trim_start_matches('#').trim();
        let dropped = verdict.strip_prefix("drop: ").map(str::to_owned);
        assert!(dropped.is_some() || verdict == "parse: ok", "{}: {verdict}", path.display());
        let octets = hex::decode(digits.concat().replace(char::is_whitespace, "")).unwrap();
        Vector { name: path.file_stem().unwrap().to_string_lossy().into_owned(), octets, dropped }
    };
    paths.iter().map(read).collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Port {
    Access,
    Accounting,
}

impl Port {
    fn takes(self, code: Code) -> bool {
        code == Code::StatusServer || (code == Code::AccessRequest) == (self == Self::Access)
    }
}

// -- mutants

/// Changes a good packet a little, and signs half of them anew so that they get past the door.
fn mutate(good: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let mut octets = good;
    for _ in 0..=chance.below(3) {
        let (at, length) = (chance.below(octets.len()), octets.len());
        let [value] = chance.octets();
        match chance.below(7) {
            0 => octets[at] ^= 1 << chance.below(8),
            1 => octets[at] = value,
            2 => octets.truncate(at.max(1)),
            3 => octets.extend_from_within(at..),
            4 => drop(octets.drain(at..(at + 1 + chance.below(8)).min(length))),
            5 => octets.insert(at, value),
            // Length.
            _ => octets[2 + at % 2] = value,
        }
        if octets.len() < 4 {
            return octets;
        }
    }
    if chance.below(2) == 0 {
        sign_anew(&mut octets);
    }
    octets
}

/// Makes Length and authenticators right again, where they are still to be found.
fn sign_anew(octets: &mut [u8]) {
    if octets.len() < 20 {
        return;
    }
    let length = u16::try_from(octets.len()).unwrap();
    octets[2..4].copy_from_slice(&length.to_be_bytes());
    let checksum = octets[0] == Code::AccountingRequest.as_u8();
    if checksum {
        octets[4..20].fill(0);
    }
    let mut at = 20;
    while at + 2 <= octets.len() && octets[at + 1] >= 2 {
        if octets[at] == attribute::MESSAGE_AUTHENTICATOR && octets[at + 1] == 18 && at + 18 <= octets.len() {
            octets[at + 2..at + 18].fill(0);
            let mut mac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(octets);
            octets[at + 2..at + 18].copy_from_slice(&mac.finalize().into_bytes());
            break;
        }
        at += usize::from(octets[at + 1]);
    }
    if checksum {
        let digest = Md5::new().chain_update(&*octets).chain_update(SECRET).finalize();
        octets[4..20].copy_from_slice(&digest);
    }
}

// -- the server and its good NAS

struct Lab {
    radhold: Radhold,
    secret: &'static str,
}

impl Lab {
    fn new(secret: &'static str) -> Self {
        let radhold = Radhold::start(&format!(
            "[server]\nreject_delay = \"0s\"\n[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{secret}\"\n"
        ));
        // The peer is somebody else, elsewhere, so that no mutant with a wrong password locks him out.
        for user in ["alice", "peter"] {
            radhold.add_user(user, PASSWORD, &["--store-as", "clear"]);
        }
        Self { radhold, secret }
    }

    fn peer(&self) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (auth, accounting) = (self.radhold.auth, self.radhold.accounting);
        Peer { socket, auth, accounting, secret: self.secret, answered: 0 }
    }

    /// How packets ended that were not answered, by reason.
    fn ends(&self) -> BTreeMap<String, u64> {
        // What the server hears of its own store meanwhile is no end of a packet.
        let other = |name: &str| name.starts_with("sent.") || name.starts_with("news.");
        let counters = self.radhold.counters().into_iter().filter(|(name, _)| !other(name));
        counters.map(|(name, count)| (name.trim_start_matches("packet.").to_owned(), count)).collect()
    }

    /// How packets ended since then, as soon as one has.
    fn ends_since(&self, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let begun = Instant::now();
        loop {
            let ends = difference(before, &self.ends());
            if !ends.is_empty() {
                return ends;
            }
            assert!(begun.elapsed() < PATIENCE, "no packet has ended");
        }
    }

    /// How many replies the server has sent.
    fn sent(&self) -> u64 {
        let counters = self.radhold.counters().into_iter().filter(|(name, _)| name.starts_with("sent."));
        counters.map(|(_, count)| count).sum()
    }

    /// Fails unless the server has sent just so many replies. It counts a moment after it sends.
    fn assert_answered(&self, wanted: u64) {
        let begun = Instant::now();
        loop {
            let sent = self.sent();
            assert!(sent <= wanted && begun.elapsed() < PATIENCE, "{sent} replies instead of {wanted}");
            if sent == wanted {
                return;
            }
        }
    }
}

/// A NAS that does everything right.
struct Peer {
    socket: UdpSocket,
    auth: SocketAddr,
    accounting: SocketAddr,
    secret: &'static str,
    answered: u64,
}

impl Peer {
    /// A login, and its Start: both ports go on, and have seen what was sent before.
    fn logs_in_and_starts(&mut self) {
        let number = self.answered.to_be_bytes();
        let authenticator = std::array::from_fn(|at| number[at % 8] ^ 0x5a);
        let request = access_request_with(self.secret, number[7], authenticator, "peter", "10.90.0.3");
        let reply = self.exchange(&request, self.auth);
        let accept = Packet::parse(&reply).unwrap();
        assert_eq!(accept.code(), Code::AccessAccept, "{:?}", accept.text(attribute::REPLY_MESSAGE));
        assert_eq!(accept.text(attribute::FILTER_ID), Some("sandbox"));
        let class = accept.first(attribute::CLASS).unwrap();
        let request = start_with(self.secret, number[7], "peter", &format!("peer-{}", self.answered), Some(class));
        let reply = self.exchange(&request, self.accounting);
        assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccountingResponse);
    }

    fn exchange(&mut self, request: &[u8], server: SocketAddr) -> Vec<u8> {
        self.socket.send_to(request, server).unwrap();
        let mut buffer = [0; 4096];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("the server goes on");
        assert_eq!(from, server);
        let (reply, request) = (Packet::parse(&buffer[..length]).unwrap(), Packet::parse(request).unwrap());
        assert!(reply.verify_reply(self.secret.as_bytes(), request.authenticator()).is_ok());
        self.answered += 1;
        buffer[..length].to_vec()
    }
}

fn access_request(identifier: u8, authenticator: [u8; 16], user: &str) -> Vec<u8> {
    access_request_with(SECRET, identifier, authenticator, user, "10.90.0.2")
}

fn access_request_with(secret: &str, identifier: u8, authenticator: [u8; 16], user: &str, caller: &str) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::AccessRequest, identifier, authenticator);
    let hidden = hiding::hide_user_password(PASSWORD.as_bytes(), secret.as_bytes(), &authenticator).unwrap();
    request.text(attribute::USER_NAME, user).unwrap();
    request.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    request.integer(attribute::NAS_PORT, 7).unwrap();
    request.text(attribute::CALLING_STATION_ID, caller).unwrap();
    request.sign_request(secret.as_bytes()).unwrap().to_vec()
}

fn status_server(identifier: u8, authenticator: [u8; 16]) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::StatusServer, identifier, authenticator);
    request.text(attribute::NAS_IDENTIFIER, "lab").unwrap();
    request.sign_request(SECRET.as_bytes()).unwrap().to_vec()
}

fn start(identifier: u8, session: &str, class: Option<&[u8]>) -> Vec<u8> {
    start_with(SECRET, identifier, "alice", session, class)
}

fn start_with(secret: &str, identifier: u8, user: &str, session: &str, class: Option<&[u8]>) -> Vec<u8> {
    let mut request = PacketBuilder::request(Code::AccountingRequest, identifier, [0; 16]);
    request.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap();
    request.text(attribute::ACCT_SESSION_ID, session).unwrap();
    request.text(attribute::USER_NAME, user).unwrap();
    request.integer(attribute::NAS_PORT, 7).unwrap();
    if let Some(class) = class {
        request.attribute(attribute::CLASS, class).unwrap();
    }
    request.sign_request(secret.as_bytes()).unwrap().to_vec()
}

// -- looking

fn is_sent(line: &Value) -> bool {
    message(line) == "counted" && line["name"].as_str().is_some_and(|name| name.starts_with("sent."))
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(name, count): (&String, &u64)| Some((name.clone(), count - before.get(name).unwrap_or(&0)));
    after.iter().filter_map(more).filter(|(_, more)| *more > 0).collect()
}

/// All that has arrived.
fn take_all(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).unwrap();
    let mut taken = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => taken.push(buffer[..length].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

fn assert_silent(socket: &UdpSocket) {
    assert_eq!(take_all(socket), Vec::<Vec<u8>>::new());
}
