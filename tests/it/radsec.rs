//! RADIUS over TLS against the server as a process: right and wrong certificates, many requests at once, peers that misbehave, and
//! CoA down the NAS's own connection. [`real`] has it with peers that are not ours.

mod peer;
mod pki;
mod real;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use md5::Md5;
use radhold::app::{chance, clock};
use radhold::config::{FrontRadsec, FrontServer, TlsFiles};
use radhold::model::Secret;
use radhold::net::Replier;
use radhold::net::front::{Front, Machine};
use radhold::radius::{Code, Packet, PacketBuilder, attribute};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::version;

use crate::postgres::Database;
use crate::radhold::{PATIENCE, Radhold, message, radclient, received};
use peer::{PASSWORD, Wire, accounting, ack, assert_genuine, login, status_server};
use pki::{Identity, Pki};

const NAS: &str = "[nas.branch]\nradsec = [\"dns:branch.example.org\", \"ip:192.0.2.7\"]\nradsec_only = true\n";

/// A server with certificates of its own, and a NAS of it.
struct Scene {
    pki: Pki,
    server: Identity,
    nas: Identity,
    radhold: Radhold,
    address: SocketAddr,
}

impl Scene {
    fn new(more_radsec: &str, more: &str) -> Self {
        let pki = Pki::new();
        let server = pki.sign("server", &["127.0.0.1", "radius.example.org"]);
        let nas = pki.sign("nas", &["branch.example.org"]);
        let hold = "[server]\nreject_delay = \"0s\"\n[hold]\nretry_first = \"300ms\"\nretry_most = \"1s\"\n";
        let radhold = Radhold::start(&format!("{hold}{}{NAS}{more}", pki.section(&server, more_radsec)));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        let address = radsec_of(&radhold);
        Self { pki, server, nas, radhold, address }
    }

    fn connect(&self) -> Wire {
        Wire::connect(&self.pki, self.address, Some(&self.nas))
    }

    /// Fails unless a connection with that certificate is ended, and the log says so.
    fn assert_refused(&self, identity: Option<&Identity>, words: &str) {
        let from = self.radhold.log().len();
        let mut wire = Wire::connect(&self.pki, self.address, identity);
        // The handshake may already have failed at the first write.
        let _ = wire.send(&status_server(1));
        assert!(wire.has_ended());
        let line = self.radhold.wait_for_log(from, |line| message(line).starts_with("connection refused"));
        assert!(message(&line).contains(words), "{line:#}");
    }
}

/// Where a server listens for TLS.
pub(super) fn radsec_of(radhold: &Radhold) -> SocketAddr {
    all_radsec_of(radhold)[0]
}

fn all_radsec_of(radhold: &Radhold) -> Vec<SocketAddr> {
    let log = radhold.log();
    let ready = log.iter().rev().find(|line| message(line) == "radhold is ready").unwrap();
    let addresses = ready["radsec"].as_str().unwrap().trim_matches(['[', ']']);
    addresses.split(", ").map(|address| address.parse().unwrap()).collect()
}

/// A connection that has been answered, tried until there is room for it.
fn until_served(pki: &Pki, address: SocketAddr, identity: &Identity) -> Wire {
    let begun = Instant::now();
    loop {
        let mut wire = Wire::connect(pki, address, Some(identity));
        if wire.send(&status_server(1)).is_ok() && wire.packet().is_ok() {
            return wire;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
}

fn code(packet: &[u8]) -> Code {
    Packet::parse(packet).unwrap().code()
}

/// Logs alice in and starts her session; gives its Class.
fn start_session(wire: &mut Wire) -> Vec<u8> {
    // No two are repeats of each other.
    static NEXT: AtomicU8 = AtomicU8::new(100);
    let identifier = NEXT.fetch_add(2, Ordering::Relaxed);
    let accept = wire.ask(&login(identifier, "alice", PASSWORD));
    assert_eq!(code(&accept), Code::AccessAccept);
    let class = Packet::parse(&accept).unwrap().first(attribute::CLASS).unwrap().to_vec();
    assert_eq!(code(&wire.ask(&accounting(identifier + 1, 1, &class))), Code::AccountingResponse);
    class
}

/// The next request of the server's, behind answers to ours.
fn demanded(wire: &mut Wire) -> Vec<u8> {
    loop {
        let packet = wire.packet().unwrap();
        if code(&packet).is_request() {
            return packet;
        }
    }
}

fn decide(radhold: &Radhold, verb: &str, session: &Value) {
    let ran = radhold.cli(&["session", verb, session["id"].as_str().unwrap(), "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn one_port_answers_logins_accounting_and_status_by_both_versions_of_tls() {
    let scene = Scene::new("", "");
    for (tls, alpn) in [(&version::TLS12, &[][..]), (&version::TLS13, &[&b"radius/1.1"[..], b"radius/1.0"][..])] {
        let mut wire = Wire::connect_by(&scene.pki, scene.address, Some(&scene.nas), &[tls], alpn);
        let accept = wire.ask(&login(1, "alice", PASSWORD));
        let accept = Packet::parse(&accept).unwrap();
        assert_eq!((accept.code(), accept.text(attribute::FILTER_ID)), (Code::AccessAccept, Some("sandbox")));
        assert_eq!(accept.first(attribute::PROXY_STATE), Some(&b"proxied"[..]));
        assert_eq!(code(&wire.ask(&login(2, "alice", "wrong"))), Code::AccessReject);
        let class = accept.first(attribute::CLASS).unwrap();
        assert_eq!(code(&wire.ask(&accounting(3, 1, class))), Code::AccountingResponse);
        assert_eq!(code(&wire.ask(&status_server(4))), Code::AccessAccept);
        if let Wire::Client(stream) = &wire
            && !alpn.is_empty()
        {
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"radius/1.0"[..]), "RFC 9765 §3.2");
        }
    }
    let from = scene.radhold.until_state("held");
    assert_eq!((from["nas"].as_str(), from["user"].as_str()), (Some("branch"), Some("alice")), "{from:#}");
}

#[test]
fn many_requests_are_in_flight_and_replies_come_in_any_order() {
    let scene = Scene::new("", "[lockout]\nfree = 0\n");
    let mut wire = scene.connect();
    // Wrong passwords are answered later than what comes behind them, if only a little.
    let requests: Vec<_> = (0..=255)
        .map(|identifier| match identifier % 4 {
            0 => login(identifier, "nobody", "wrong"),
            1 => status_server(identifier),
            _ => login(identifier, "alice", PASSWORD),
        })
        .collect();
    wire.send(&requests.concat()).unwrap();
    let mut answered = vec![false; 256];
    for _ in 0..256 {
        let reply = wire.packet().unwrap();
        let identifier = usize::from(reply[1]);
        assert!(!std::mem::replace(&mut answered[identifier], true), "{identifier} twice");
        assert_genuine(&reply, &requests[identifier]);
        let wanted = if identifier % 4 == 0 { Code::AccessReject } else { Code::AccessAccept };
        assert_eq!(code(&reply), wanted, "{identifier}");
    }
}

#[test]
fn a_repeat_is_known_on_its_connection_alone() {
    let scene = Scene::new("", "");
    let request = login(9, "alice", PASSWORD);
    let mut wire = scene.connect();
    let first = wire.ask(&request);
    assert_eq!(wire.ask(&request), first, "the stored reply");
    let other = scene.connect().ask(&request);
    assert_ne!(other, first, "another connection, another login");
}

#[test]
fn certificates_that_are_not_a_nas_s_are_refused_and_the_log_says_what_to_do() {
    let scene = Scene::new("", "");
    let stranger = Pki::new();
    scene.assert_refused(None, "showed no certificate");
    let unknown = stranger.sign("unknown", &["branch.example.org"]);
    // Each from an address of its own would be more like life; the complaints differ, so each is said.
    let lines = scene.radhold.log().len();
    let mut wire = Wire::connect(&scene.pki, scene.address, Some(&unknown));
    let _ = wire.send(&status_server(1));
    assert!(wire.has_ended());
    let counted = Instant::now();
    while scene.radhold.counters().get("radsec.handshake-failed") != Some(&2) {
        assert!(counted.elapsed() < PATIENCE);
    }
    // The second complaint of one kind about one address is kept back for a minute.
    assert!(scene.radhold.log()[lines..].iter().all(|line| !message(line).starts_with("connection refused")));
    scene.assert_refused(
        Some(&scene.pki.sign("other", &["other.example.org"])),
        "radhold nas add NAME --radsec-only --radsec-name dns:other.example.org",
    );
    assert_eq!(code(&scene.connect().ask(&status_server(1))), Code::AccessAccept, "the right one is served");
}

#[test]
fn a_certificate_of_an_unknown_ca_is_named_so() {
    let scene = Scene::new("", "");
    let unknown = Pki::new().sign("unknown", &["branch.example.org"]);
    scene.assert_refused(Some(&unknown), "comes from a CA we do not know");
}

#[test]
fn a_certificate_whose_time_is_over_is_named_so() {
    let scene = Scene::new("", "");
    let expired = scene.pki.sign_expired("expired", &["branch.example.org"]);
    scene.assert_refused(Some(&expired), "has expired");
}

#[test]
fn a_fingerprint_needs_no_ca() {
    let scene = Scene::new("", "");
    let own = scene.pki.self_signed("own", &["whoever"]);
    scene.assert_refused(Some(&own), "pin the certificate by fingerprint");
    let digest = hex::encode(Sha256::digest(&own.der));
    let fingerprint = format!("sha256:{digest}");
    let ran = scene.radhold.cli(&["nas", "add", "own", "--radsec-only", "--radsec-fingerprint", &fingerprint], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    scene.radhold.wait_for_log(0, |line| message(line) == "the store's list of NASes has changed");
    let mut wire = Wire::connect(&scene.pki, scene.address, Some(&own));
    start_session(&mut wire);
    assert_eq!(scene.radhold.until_state("held")["nas"], "own");

    // A NAS that is removed is heard no more, on connections it has as on new ones.
    assert_eq!(scene.radhold.cli(&["nas", "remove", "own"], "").code, 0);
    let begun = Instant::now();
    while wire.send(&status_server(3)).is_ok() && wire.packet().is_ok() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    scene.radhold.wait_for_log(0, |line| line["why"] == "its certificate is no NAS's any more");
}

/// A certificate of one's own making says whatever its maker likes.
#[test]
fn a_pinned_certificate_is_its_own_nas_whatever_names_it_shows() {
    let scene = Scene::new("", "");
    let mut branch = scene.connect();
    start_session(&mut branch);
    assert_eq!(scene.radhold.until_state("held")["nas"], "branch");
    let own = scene.pki.self_signed("own", &["branch.example.org", "192.0.2.7"]);
    let fingerprint = format!("sha256:{}", hex::encode(Sha256::digest(&own.der)));
    let ran = scene.radhold.cli(&["nas", "add", "kiosk", "--radsec-only", "--radsec-fingerprint", &fingerprint], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    scene.radhold.wait_for_log(0, |line| message(line) == "the store's list of NASes has changed");
    let from = scene.radhold.log().len();
    let mut wire = Wire::connect(&scene.pki, scene.address, Some(&own));
    start_session(&mut wire);
    let connected = |line: &Value| message(line) == "a NAS has connected over TLS";
    assert_eq!(scene.radhold.wait_for_log(from, connected)["nas"], "kiosk");
    let nases = || scene.radhold.sessions().into_iter().map(|session| session["nas"].clone()).collect::<Vec<_>>();
    let begun = Instant::now();
    while !nases().iter().any(|nas| nas == "kiosk") {
        assert!(begun.elapsed() < PATIENCE, "{:?}", nases());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(nases().len(), 2, "{:?}", nases());

    // Without its pin it is nobody, on the connection it has as on new ones, and branch least of all.
    assert_eq!(scene.radhold.cli(&["nas", "remove", "kiosk"], "").code, 0);
    let begun = Instant::now();
    while wire.send(&status_server(3)).is_ok() && wire.packet().is_ok() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = |line: &Value| line["why"] == "its certificate is no NAS's any more";
    assert_eq!(scene.radhold.wait_for_log(0, ended)["nas"], "kiosk");
    scene.assert_refused(Some(&own), "comes from a CA we do not know");
    assert_eq!(code(&branch.ask(&status_server(4))), Code::AccessAccept, "the other goes on");
}

#[test]
fn what_cannot_be_followed_or_believed_ends_the_connection() {
    // Each from a NAS of its own: what one does is said once in a while.
    let name = |case: usize| format!("case-{case}.example.org");
    let nas = |case| format!("[nas.case-{case}]\nradsec = [\"dns:{}\"]\nradsec_only = true\n", name(case));
    let scene = Scene::new("", &(0..8).map(nas).collect::<String>());
    let mut forged = status_server(1);
    *forged.last_mut().unwrap() ^= 1;
    let mut malformed = login(1, "alice", PASSWORD);
    malformed[21] = 1;
    let mut foreign = accounting(1, 1, b"class");
    foreign[5] ^= 1;
    let mut order = order(Code::CoaRequest, true);
    order[5] ^= 1;
    let mut ill_signed = order_signed_by(Code::DisconnectRequest, b"another secret");
    // What signs it is looked at too: its Request Authenticator alone is right.
    let checksum = Md5::digest([&ill_signed[..4], &[0; 16], &ill_signed[20..], peer::SECRET].concat());
    ill_signed[4..20].copy_from_slice(&checksum);
    let cases = [
        (vec![1, 1, 0, 19], "a packet says that it has 19 octets"),
        (vec![1, 1, 0x10, 1, 0, 0], "a packet says that it has 4097 octets"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a packet says that it has"),
        (forged, "Message-Authenticator"),
        (malformed, "malformed packet"),
        (foreign, "authenticator"),
        (order, "authenticator"),
        (ill_signed, "Message-Authenticator"),
    ];
    for (case, (octets, why)) in cases.into_iter().enumerate() {
        let from = scene.radhold.log().len();
        let nas = scene.pki.sign(&format!("case-{case}"), &[&name(case)]);
        let mut wire = Wire::connect(&scene.pki, scene.address, Some(&nas));
        wire.send(&octets).unwrap();
        assert!(wire.has_ended(), "{why}");
        let line = scene.radhold.wait_for_log(from, |line| message(line) == "a TLS connection was ended");
        assert!(line["why"].as_str().unwrap().to_lowercase().contains(&why.to_lowercase()), "{line:#}");
    }
    // What is merely not ours to answer is discarded (RFC 6613 §2.6.4).
    let mut wire = scene.connect();
    let unasked = ack(&self::order(Code::CoaRequest, true));
    wire.send(&unasked).unwrap();
    // Code 13, "experimental" (RFC 2865 §3).
    wire.send(&[&[13, 7, 0, 20][..], &[0; 16]].concat()).unwrap();
    assert_eq!(code(&wire.ask(&status_server(6))), Code::AccessAccept);
    let counters = scene.radhold.counters();
    assert_eq!(counters["radsec.unasked"], 2, "{counters:?}");
}

/// An order, which no server obeys.
fn order(code: Code, signed: bool) -> Vec<u8> {
    let mut order = PacketBuilder::request(code, 5, [0; 16]);
    order.with_message_authenticator(signed).attribute(attribute::PROXY_STATE, b"proxied").unwrap();
    order.sign_request(peer::SECRET).unwrap().to_vec()
}

fn order_signed_by(code: Code, secret: &[u8]) -> Vec<u8> {
    PacketBuilder::request(code, 5, [0; 16]).sign_request(secret).unwrap().to_vec()
}

#[test]
fn rfc_6614_section_2_5_an_order_to_the_server_is_refused_and_the_connection_goes_on() {
    let scene = Scene::new("", "");
    let mut wire = scene.connect();
    for (asked, refused) in [(Code::CoaRequest, Code::CoaNak), (Code::DisconnectRequest, Code::DisconnectNak)] {
        for signed in [true, false] {
            let order = order(asked, signed);
            let answer = wire.ask(&order);
            let nak = Packet::parse(&answer).unwrap();
            assert_eq!(
                (nak.code(), nak.integer(attribute::ERROR_CAUSE)),
                (refused, Some(406)),
                "Unsupported-Extension"
            );
            assert_eq!(nak.first(attribute::PROXY_STATE), Some(&b"proxied"[..]), "RFC 5176 §3.1");
            assert_eq!(nak.has_message_authenticator(), signed);
            assert_eq!(wire.ask(&order), answer, "a repeat gets the same octets");
            assert_eq!(code(&wire.ask(&status_server(6))), Code::AccessAccept);
        }
    }
    let counters = scene.radhold.counters();
    // Status-Server was repeated as well, three times.
    let counted = ["sent.coa-nak", "sent.disconnect-nak", "packet.repeat-answered"].map(|label| counters[label]);
    assert_eq!((counted, counters.get("packet.code-out-of-place")), ([2, 2, 4 + 3], None), "{counters:?}");
}

#[test]
fn a_nas_that_comes_and_goes_in_a_loop_does_not_fill_the_log() {
    let scene = Scene::new("", "[nas.other]\nradsec = [\"dns:other.example.org\"]\nradsec_only = true\n");
    let said = |nas: &str, words: &str| {
        let log = scene.radhold.log();
        log.iter().filter(|line| line["nas"] == nas && message(line).contains(words)).count()
    };
    for identifier in 0..20 {
        assert_eq!(code(&scene.connect().ask(&status_server(identifier))), Code::AccessAccept);
        // And one that is ended.
        let mut wire = scene.connect();
        wire.send(&[identifier, 1, 0, 19]).unwrap();
        assert!(wire.has_ended());
    }
    let begun = Instant::now();
    while scene.radhold.counters().get("radsec.ended") != Some(&40) {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(said("branch", "a NAS has connected over TLS"), 1, "of 40");
    assert_eq!(said("branch", "a TLS connection was ended"), 1, "of 20");
    assert_eq!(said("branch", "a TLS connection has ended"), 1, "of 20");
    let other = scene.pki.sign("other", &["other.example.org"]);
    assert_eq!(
        code(&Wire::connect(&scene.pki, scene.address, Some(&other)).ask(&status_server(1))),
        Code::AccessAccept
    );
    let is_others = |line: &Value| line["nas"] == "other" && message(line).contains("a NAS has connected over TLS");
    // Nobody else is kept back. (The log is written behind the answers.)
    scene.radhold.wait_for_log(0, is_others);
}

#[test]
fn peers_that_stall_are_cut_and_slow_nobody() {
    let limits = "handshake_time = \"1s\"\nidle = \"2s\"\nwrite_patience = \"1s\"\nmax_handshakes = 12\n";
    let scene = Scene::new(limits, "");
    // Handshakes that never end: of one address no more than its share.
    let silent: Vec<_> = (0..12).map(|_| TcpStream::connect(scene.address).unwrap()).collect();
    scene.radhold.wait_for_log(0, |line| line["reason"] == "radsec.too-many-handshakes");
    scene.radhold.wait_for_log(0, |line| line["reason"] == "radsec.handshake-slow");
    drop(silent);

    let until_served = || until_served(&scene.pki, scene.address, &scene.nas);
    // One that asks and asks and never reads.
    let mut deaf = until_served();
    let mut good = until_served();
    let asking = std::thread::spawn(move || {
        let begun = Instant::now();
        let burst: Vec<u8> = (0..=255).flat_map(status_server).collect();
        while deaf.send(&burst).is_ok() {
            assert!(begun.elapsed() < PATIENCE * 2, "never cut");
        }
    });
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while !asking.is_finished() {
        let asked = Instant::now();
        assert_eq!(code(&good.ask(&status_server(7))), Code::AccessAccept);
        slowest = slowest.max(asked.elapsed());
        assert!(begun.elapsed() < PATIENCE * 2);
        std::thread::sleep(Duration::from_millis(20));
    }
    asking.join().unwrap();
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    scene.radhold.wait_for_log(0, |line| line["why"] == "the peer does not read");
    // A packet that does not end, and a connection on which nothing is said.
    assert!(good.has_ended(), "idle");
    scene.radhold.wait_for_log(0, |line| line["why"] == "idle for too long");
}

#[test]
fn connections_are_bounded_in_all_and_of_one_nas() {
    let scene = Scene::new("max_connections = 3\nmax_connections_per_nas = 2\n", "");
    let mut wires: Vec<_> = (0..2).map(|_| scene.connect()).collect();
    for wire in &mut wires {
        assert_eq!(code(&wire.ask(&status_server(1))), Code::AccessAccept);
    }
    scene.assert_refused(Some(&scene.nas), "radsec.max_connections_per_nas");
    let from = scene.radhold.log().len();
    let _third = TcpStream::connect(scene.address).unwrap();
    let _fourth = TcpStream::connect(scene.address).unwrap();
    scene.radhold.wait_for_log(from, |line| line["reason"] == "radsec.too-many-connections");
    drop(wires);
}

#[test]
fn addresses_share_connections_and_each_has_handshakes_of_its_own() {
    let pki = Pki::new();
    let server = pki.sign("server", &["127.0.0.1"]);
    let nas = pki.sign("nas", &["branch.example.org"]);
    let limits = "max_connections = 3\nmax_handshakes = 2\nhandshake_time = \"60s\"\n";
    let two = pki.section(&server, limits).replace("\"127.0.0.1:0\"", "\"127.0.0.1:0\", \"127.0.0.1:0\"");
    let radhold = Radhold::start(&format!("{two}{NAS}"));
    let [first, second] = all_radsec_of(&radhold)[..] else { panic!("two addresses") };

    // Of so few handshakes an address has one, which this does not end. At the other address there is another.
    let silent = TcpStream::connect(first).unwrap();
    let _next = TcpStream::connect(first).unwrap();
    radhold.wait_for_log(0, |line| line["reason"] == "radsec.too-many-handshakes");
    let mut wire = Wire::connect(&pki, second, Some(&nas));
    assert_eq!(code(&wire.ask(&status_server(1))), Code::AccessAccept);
    drop(wire);
    let mut wire = Wire::connect(&pki, first, Some(&nas));
    let _ = wire.send(&status_server(1));
    assert!(wire.has_ended());
    assert_eq!(radhold.counters()["radsec.too-many-handshakes"], 2);
    drop(silent);

    let mut wires: Vec<_> =
        [first, second, first].into_iter().map(|address| until_served(&pki, address, &nas)).collect();
    let mut wire = Wire::connect(&pki, second, Some(&nas));
    let _ = wire.send(&status_server(1));
    assert!(wire.has_ended());
    radhold.wait_for_log(0, |line| line["reason"] == "radsec.too-many-connections");
    for wire in &mut wires {
        assert_eq!(code(&wire.ask(&status_server(2))), Code::AccessAccept);
    }
}

#[test]
fn new_files_count_for_new_connections_and_cut_none() {
    let scene = Scene::new("", "");
    let mut old = scene.connect();
    assert_eq!(code(&old.ask(&status_server(1))), Code::AccessAccept);

    // Another CA, and another certificate of the server.
    let next = Pki::new();
    let server = next.sign("server", &["127.0.0.1"]);
    for (from, to) in [
        (&server.certificate, &scene.server.certificate),
        (&server.key, &scene.server.key),
        (&next.ca(), &scene.pki.path("ca.pem")),
    ] {
        std::fs::copy(from, to).unwrap();
    }
    scene.radhold.signal("HUP");
    scene.radhold.wait_for_log(0, |line| message(line) == "configuration reloaded");
    let nas = next.sign("nas", &["branch.example.org"]);
    let mut new = Wire::connect(&next, scene.address, Some(&nas));
    assert_eq!(code(&new.ask(&status_server(1))), Code::AccessAccept);
    assert_eq!(code(&old.ask(&status_server(2))), Code::AccessAccept, "one that stands goes on");
    scene.assert_refused(Some(&scene.nas), "comes from a CA we do not know");

    // A file that is no certificate: said, and what was there stays.
    std::fs::write(&scene.server.certificate, "no certificate").unwrap();
    let line = scene.radhold.wait_for_log(0, |line| message(line).starts_with("TLS files have changed and cannot"));
    assert!(line["error"].as_str().unwrap().contains("server.pem"), "{line:#}");
    assert_eq!(code(&new.ask(&status_server(3))), Code::AccessAccept);
    assert_eq!(code(&Wire::connect(&next, scene.address, Some(&nas)).ask(&status_server(1))), Code::AccessAccept);
}

#[test]
fn files_that_cannot_be_used_keep_a_server_from_starting() {
    let pki = Pki::new();
    let (server, other) = (pki.sign("server", &["127.0.0.1"]), pki.sign("other", &["127.0.0.1"]));
    let mixed = Identity { key: other.key, ..server.clone() };
    let missing = Identity { key: pki.path("nothing.key"), ..server };
    for (identity, words) in [(mixed, "does not go with"), (missing, "nothing.key: No such file")] {
        let dir = tempfile::tempdir().unwrap();
        let toml = format!(
            "state_dir = \"state\"\n[server]\nauth = [\"127.0.0.1:0\"]\naccounting = [\"127.0.0.1:0\"]\n{}",
            pki.section(&identity, "")
        );
        std::fs::write(dir.path().join("radhold.toml"), toml).unwrap();
        let ran = std::process::Command::new(env!("CARGO_BIN_EXE_radhold"))
            .args(["serve", "--config", "radhold.toml"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_press_goes_down_the_nas_s_own_connection() {
    let scene = Scene::new("", "");
    let mut wire = scene.connect();
    let class = start_session(&mut wire);
    let session = scene.radhold.until_state("held");
    decide(&scene.radhold, "approve", &session);
    let coa = wire.packet().unwrap();
    let request = Packet::parse(&coa).unwrap();
    assert_eq!((request.code(), request.text(attribute::FILTER_ID)), (Code::CoaRequest, Some("permit")));
    // The two directions have Identifiers of their own: the same one is in flight both ways.
    let status = status_server(coa[1]);
    wire.send(&[status.clone(), ack(&coa)].concat()).unwrap();
    assert_genuine(&wire.packet().unwrap(), &status);
    scene.radhold.until_state("permitted");

    let ran = scene.radhold.cli(&["session", "kick", session["id"].as_str().unwrap(), "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let disconnect = wire.packet().unwrap();
    assert_eq!(code(&disconnect), Code::DisconnectRequest);
    wire.send(&ack(&disconnect)).unwrap();
    assert_eq!(code(&wire.ask(&accounting(9, 2, &class))), Code::AccountingResponse);
    scene.radhold.until_state("closed");
}

#[test]
fn an_order_waits_for_a_nas_that_is_not_connected_and_comes_again_when_unanswered() {
    let dynauth = "[dynauth]\ninitial_timeout = \"200ms\"\nmax_timeout = \"200ms\"\ntotal = \"500ms\"\n";
    let scene = Scene::new("", dynauth);
    let mut wire = scene.connect();
    start_session(&mut wire);
    let session = scene.radhold.until_state("held");
    drop(wire);
    scene
        .radhold
        .wait_for_log(0, |line| message(line).contains("TLS connection") && line["why"] == "closed by the peer");
    decide(&scene.radhold, "approve", &session);
    scene.radhold.wait_for_log(0, |line| message(line).contains("no TLS connection to any node"));

    let mut wire = scene.connect();
    wire.send(&status_server(1)).unwrap();
    let first = demanded(&mut wire);
    assert_eq!(code(&first), Code::CoaRequest);
    // Never answered: it is not sent again as it is (RFC 6613 §2.6.1), but ordered anew.
    let second = demanded(&mut wire);
    assert_eq!(code(&second), Code::CoaRequest);
    assert_ne!(first[1], second[1], "an Identifier whose answer may yet come rests");
    wire.send(&[ack(&first), ack(&second)].concat()).unwrap();
    scene.radhold.until_state("permitted");
    assert_eq!(code(&wire.ask(&status_server(2))), Code::AccessAccept, "a late answer ends nothing");

    // A forged answer does.
    decide_kick(&scene.radhold, &session);
    let mut forged = ack(&wire.packet().unwrap());
    forged[4] ^= 1;
    wire.send(&forged).unwrap();
    assert!(wire.has_ended());
    scene.radhold.wait_for_log(0, |line| line["why"].as_str().is_some_and(|why| why.contains("an answer to request")));
}

fn decide_kick(radhold: &Radhold, session: &Value) {
    let ran = radhold.cli(&["session", "kick", session["id"].as_str().unwrap(), "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_nas_that_listens_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let nas = format!(
        "[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"a-secret-of-thirty-two-octets-xx\"\nradsec = [\"dns:edge.example.org\"]\ndynauth = \"tls\"\ncoa_port = {port}\n"
    );
    let scene = Scene::new("", &nas);
    let edge = scene.pki.sign("edge", &["edge.example.org"]);
    let mut logins = Wire::connect(&scene.pki, scene.address, Some(&edge));
    start_session(&mut logins);
    let session = scene.radhold.until_state("held");
    assert_eq!(session["nas"], "edge");
    decide(&scene.radhold, "approve", &session);
    // Whoever is there and is not the NAS learns nothing.
    let impostor = scene.pki.sign("impostor", &["impostor.example.org"]);
    let mut wire = Wire::accept(&scene.pki, &listener, &impostor);
    assert!(wire.has_ended());
    drop(wire);
    let line = scene.radhold.wait_for_log(0, |line| message(line) == "the NAS cannot be told");
    assert!(line["error"].as_str().unwrap().contains("does not show the name it is to go by"), "{line:#}");
    let mut wire = Wire::accept(&scene.pki, &listener, &edge);
    let coa = wire.packet().unwrap();
    assert_eq!(code(&coa), Code::CoaRequest);
    wire.send(&ack(&coa)).unwrap();
    scene.radhold.until_state("permitted");
    // The connection stays for the next.
    decide_kick(&scene.radhold, &session);
    let disconnect = wire.packet().unwrap();
    assert_eq!(code(&disconnect), Code::DisconnectRequest);
    wire.send(&ack(&disconnect)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_a_nas_is_connected_to_carries_its_orders_out() {
    let database = Database::create().await;
    let keys = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let server = pki.sign("server", &["127.0.0.1"]);
    let nas = pki.sign("nas", &["branch.example.org"]);
    let node = |name: &str| {
        let sealing = keys.path().join("sealing.key");
        let head = format!(
            "node = \"{name}\"\nstore.url = \"{}\"\nkeys.sealing_file = \"{}\"\n",
            database.url(),
            sealing.display()
        );
        Radhold::start_with(&head, &format!("[hold]\nretry_first = \"300ms\"\n{}{NAS}", pki.section(&server, "")))
    };
    tokio::task::block_in_place(|| {
        let (first, second) = (node("n1"), node("n2"));
        first.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        // Several, so that whichever node claims them, some are claimed by the other.
        let mut wire = Wire::connect(&pki, radsec_of(&second), Some(&nas));
        for _ in 0..6 {
            start_session(&mut wire);
            let session = first.until_state("held");
            decide(&first, "approve", &session);
            let coa = wire.packet().unwrap();
            assert_eq!(code(&coa), Code::CoaRequest);
            wire.send(&ack(&coa)).unwrap();
            first.until_state("permitted");
        }
        let handed = first.counters().get("orders.handed-over").copied().unwrap_or(0);
        println!("{handed} orders were handed over");

        // The NAS moves: the other node has it now.
        drop(wire);
        let mut wire = Wire::connect(&pki, radsec_of(&first), Some(&nas));
        start_session(&mut wire);
        decide(&second, "approve", &second.until_state("held"));
        let coa = demanded(&mut wire);
        assert_eq!(code(&coa), Code::CoaRequest);
        wire.send(&ack(&coa)).unwrap();
        second.until_state("permitted");
    });
}

/// The front beside pppd, over TLS: what pppd asks by UDP on loopback goes down one connection, and what the server demands comes
/// back on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_asks_over_tls_and_hears_what_the_server_demands() {
    let pki = Pki::new();
    let server = pki.sign("server", &["127.0.0.1"]);
    let radhold = tokio::task::block_in_place(|| {
        let hold = "[server]\nreject_delay = \"0s\"\n[hold]\nretry_first = \"300ms\"\n";
        let radhold = Radhold::start(&format!("{hold}{}{NAS}", pki.section(&server, "")));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        radhold
    });
    let client = pki.sign("nas", &["branch.example.org"]);
    let address = radsec_of(&radhold);
    let radsec = FrontRadsec {
        host: address.ip().to_string(),
        port: address.port(),
        ids: vec!["ip:127.0.0.1".parse().unwrap()],
    };
    let inner = "between-pppd-and-the-front-32-oct";
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = radhold::config::Front {
        auth: vec![any],
        accounting: vec![any],
        secret: Secret::new(inner),
        nas_identifier: "nas-1".to_owned(),
        fail_over_after: Duration::from_secs(3),
        patience: Duration::from_secs(20),
        probe_every: Duration::from_millis(200),
        servers: vec![FrontServer {
            name: "1".to_owned(),
            auth: any,
            accounting: any,
            secret: Secret::new("radsec"),
            require_message_authenticator: false,
            radsec: Some(radsec),
        }],
        tls: Some(TlsFiles { certificate: client.certificate.clone(), key: client.key.clone(), ca: pki.ca() }),
    };
    let machine = Machine { now: clock::now, chance: chance::octets };
    let (demanded, demands) = std::sync::mpsc::channel();
    let obey = move |packet: &Packet<'_>, replier: Replier| {
        replier.send_now(&ack(packet.as_bytes())).unwrap();
        demanded.send(packet.code()).unwrap();
    };
    let front = Front::start_with(&config, machine, None, Arc::new(obey)).unwrap();
    let (auth, acct) = (front.auth()[0], front.accounting()[0]);
    tokio::task::block_in_place(|| {
        let ran =
            radclient(auth, "auth", inner, &format!("User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 7"));
        assert_eq!((ran.code, received(&ran, "Filter-Id")), (0, Some("sandbox")), "{ran:?} {:#?}", radhold.log());
        let no = radclient(auth, "auth", inner, "User-Name = alice, User-Password = wrong, NAS-Port = 7");
        assert_eq!(no.code, 1, "{no:?}");
        let class = received(&ran, "Class").unwrap();
        let start =
            format!("User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7, Class = {class}");
        assert_eq!(radclient(acct, "acct", inner, &start).code, 0);
        let session = radhold.until_state("held");
        decide(&radhold, "approve", &session);
        assert_eq!(demands.recv_timeout(PATIENCE), Ok(Code::CoaRequest));
        radhold.until_state("permitted");
    });
    assert_eq!(front.servers().into_iter().collect::<Vec<_>>(), [("1".to_owned(), true)]);
}
