//! Several sockets and threads to a port, as a NAS sees them: no different from one.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use radhold::radius::{Code, Packet, PacketBuilder, attribute, hiding};

use crate::radhold::{PATIENCE, Radhold, message};

const SECRET: &str = "0123456789abcdef";
const PASSWORD: &str = "s3cret-pass";
/// Identifiers.
const LOGIN: u8 = 7;
const STATUS: u8 = 8;
/// Enough ports of a NAS that each of four sockets is met, but for one chance in 30,000 million.
const PORTS: u64 = 96;

fn start() -> Radhold {
    let radhold = Radhold::start(&format!(
        "[server]\nsockets = 4\nreceive_buffer = 131072\n[nas.lab]\naddress = \"127.0.0.0/8\"\nsecret = \"{SECRET}\"\n\
         require_message_authenticator = true\n"
    ));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn ask(client: &UdpSocket, to: SocketAddr, request: &[u8]) -> Vec<u8> {
    client.send_to(request, to).unwrap();
    let mut buffer = [0; 4096];
    let (octets, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(from, to, "it comes from where it was asked");
    buffer[..octets].to_vec()
}

fn login(user: &str, authenticator: [u8; 16]) -> Vec<u8> {
    let mut builder = PacketBuilder::request(Code::AccessRequest, LOGIN, authenticator);
    let hidden = hiding::hide_user_password(PASSWORD.as_bytes(), SECRET.as_bytes(), &authenticator).unwrap();
    builder.text(attribute::USER_NAME, user).unwrap();
    builder.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    builder.sign_request(SECRET.as_bytes()).unwrap().to_vec()
}

fn status(authenticator: [u8; 16]) -> Vec<u8> {
    let mut builder = PacketBuilder::request(Code::StatusServer, STATUS, authenticator);
    builder.sign_request(SECRET.as_bytes()).unwrap().to_vec()
}

/// The same octets from the same port get the same reply, whichever socket they come to, and other octets are another request.
#[test]
fn repeats_are_known_on_each_socket() {
    let radhold = start();
    let mut classes = BTreeSet::new();
    // All at once, so that no port is given out twice: the same octets from there would be a repeat.
    let clients: Vec<UdpSocket> = (0..PORTS).map(|_| client()).collect();
    for client in &clients {
        let (first, second) = (login("alice", [1; 16]), login("alice", [2; 16]));
        let reply = ask(client, radhold.auth, &first);
        assert_eq!(ask(client, radhold.auth, &first), reply);
        let other = ask(client, radhold.auth, &second);
        for (reply, authenticator) in [(&reply, [1; 16]), (&other, [2; 16])] {
            let packet = Packet::parse(reply).unwrap();
            assert_eq!(packet.code(), Code::AccessAccept);
            let _ = packet.verify_reply(SECRET.as_bytes(), &authenticator).unwrap();
            assert!(classes.insert(packet.first(attribute::CLASS).unwrap().to_vec()), "each session is its own");
        }
        let asked = status([3; 16]);
        let up = ask(client, radhold.auth, &asked);
        let _ = Packet::parse(&up).unwrap().verify_reply(SECRET.as_bytes(), &[3; 16]).unwrap();
        assert_eq!(ask(client, radhold.auth, &asked), up);
        let up = ask(client, radhold.accounting, &asked);
        assert_eq!(Packet::parse(&up).unwrap().code(), Code::AccountingResponse);
    }
    // A reply is counted a moment after it is sent.
    let wanted = [
        ("packet.repeat-answered", 2 * PORTS),
        // Two logins and one Status-Server.
        ("sent.access-accept", 3 * PORTS),
        ("sent.accounting-response", PORTS),
    ];
    let begun = Instant::now();
    loop {
        let counters = radhold.counters();
        let counted = wanted.map(|(name, _)| (name, counters.get(name).copied().unwrap_or(0)));
        if counted == wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{counted:?} and not {wanted:?}");
    }
}

/// A second server on the same ports ends at once, though it is the same user's and would share them as readily.
#[test]
fn a_second_server_is_refused() {
    let radhold = start();
    let [auth, accounting] = [("auth", radhold.auth), ("accounting", radhold.accounting)]
        .map(|(key, address)| format!("server.{key}={address}"));
    let second = radhold.cli(&["serve", "--set", &auth, "--set", &accounting], "");
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains(&format!("cannot listen on UDP {}", radhold.auth)), "{second:?}");
    assert_eq!(ask(&client(), radhold.auth, &status([1; 16]))[0], u8::from(Code::AccessAccept), "the first one serves");
}

/// A burst that finds no room in the sockets is told of by a counter and in the log.
#[test]
fn what_the_system_drops_is_counted() {
    let radhold = start();
    let client = client();
    // While it sleeps nobody empties its sockets.
    radhold.signal("STOP");
    (0..2000).for_each(|_| assert_eq!(client.send_to(&[0; 1000], radhold.auth).unwrap(), 1000));
    radhold.signal("CONT");
    let counters = radhold.counters();
    let dropped = counters["packet.kernel-drop"];
    assert!((1..2000).contains(&dropped), "{counters:#?}");
    radhold.wait_for_log(0, |line| message(line).starts_with("the system dropped datagrams"));
}

/// Stopping waits for what was begun, whichever thread took it in.
#[test]
fn stopping_answers_what_was_begun() {
    let mut radhold = start();
    // Slow to check.
    radhold.add_user("bob", PASSWORD, &[]);
    let clients: Vec<_> = (0..8).map(|_| client()).collect();
    let receive = |client: &UdpSocket| {
        let mut buffer = [0; 4096];
        client.recv(&mut buffer).map(|_| (buffer[1], Code::from(buffer[0])))
    };
    let mut seen: Vec<_> = clients
        .iter()
        .map(|client| {
            client.send_to(&login("bob", [1; 16]), radhold.auth).unwrap();
            client.send_to(&status([2; 16]), radhold.auth).unwrap();
            // What came behind it on the same socket is answered, so it was taken in.
            let mut seen = BTreeSet::new();
            while !seen.contains(&STATUS) {
                let (identifier, code) = receive(client).unwrap();
                assert_eq!(code, Code::AccessAccept);
                seen.insert(identifier);
            }
            seen
        })
        .collect();
    radhold.stop();
    for (client, seen) in clients.iter().zip(&mut seen) {
        if seen.len() < 2 {
            assert_eq!(receive(client).unwrap(), (LOGIN, Code::AccessAccept));
        }
    }
}
