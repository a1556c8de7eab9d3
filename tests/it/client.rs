//! The RADIUS client, and `radhold client` as a process, against a small server of our codec that can also misbehave.
//! [`freeradius`] has the same against a server that is not ours.

mod freeradius;
mod process;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use radhold::auth::wire::{self, Offer};
use radhold::auth::{ClearPassword, Credential, MsChapErrorCode, Verdict, verify};
use radhold::dynauth::Timers;
use radhold::model::Secret;
use radhold::net::client::{Client, ClientError, Demand, Ignored};
use radhold::radius::hiding::{Salt, reveal_tunnel_password};
use radhold::radius::tag::Tag;
use radhold::radius::{Code, Packet, PacketBuilder, attribute};

use process::Process;

const SECRET: &[u8] = b"testing123";

// -- the server

/// Datagrams, with the addresses they came from.
type Received = Vec<(SocketAddr, Vec<u8>)>;

/// A server on loopback that answers each datagram as its test says.
struct Responder {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// `answer` gets a request and its number, from 0, and gives the datagrams to send back.
    fn start(answer: impl Fn(&Packet<'_>, usize) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (received, stop) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&received), Arc::clone(&stop));
        let serve = move || {
            let mut buffer = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((octets, from)) = socket.recv_from(&mut buffer) else { continue };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push((from, buffer[..octets].to_vec()));
                    log.len() - 1
                };
                for datagram in answer(&Packet::parse(&buffer[..octets]).unwrap(), number) {
                    socket.send_to(&datagram, from).unwrap();
                }
            }
        };
        Self { address, received, stop, thread: Some(std::thread::spawn(serve)) }
    }

    /// Answers each request with this code.
    fn says(code: Code) -> Self {
        Self::start(move |request, _| vec![reply(request, code, SECRET)])
    }

    /// What came, with the address it came from.
    fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    fn server(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let served = self.thread.take().unwrap().join();
        assert!(served.is_ok() || std::thread::panicking(), "the server's thread failed");
    }
}

fn reply(request: &Packet<'_>, code: Code, secret: &[u8]) -> Vec<u8> {
    PacketBuilder::reply(request, code).sign_reply(secret).unwrap().to_vec()
}

/// A reply with a right Response Authenticator and no Message-Authenticator, as servers were before CVE-2024-3596. Our
/// builder makes none such, so the request is taken for one that leaves a choice.
fn unsigned(request: &Packet<'_>, code: Code) -> Vec<u8> {
    let mut octets = request.as_bytes()[..20].to_vec();
    octets[0] = Code::AccountingRequest.as_u8();
    octets[2..4].copy_from_slice(&20u16.to_be_bytes());
    reply(&Packet::parse(&octets).unwrap(), code, SECRET)
}

/// Answers a login as a server that knows only alice, and her by this password.
fn login(request: &Packet<'_>, password: &str) -> Vec<u8> {
    let _signed = request.verify_message_authenticator(SECRET).unwrap();
    let Offer::Password(offer) = Offer::read(request, SECRET) else { panic!("no password in {request:?}") };
    let method = offer.method().unwrap();
    let user_name = request.text(attribute::USER_NAME).unwrap();
    let credential = Credential::Password(ClearPassword::new(password).unwrap());
    let verdict = verify(&credential, user_name.as_bytes(), &method);
    let mut reply = PacketBuilder::reply(request, Code::AccessReject);
    match verdict {
        Verdict::Accepted(proof) if user_name.ends_with("alice") => {
            reply = PacketBuilder::reply(request, Code::AccessAccept);
            let salts = [Salt::new([1, 1]), Salt::new([1, 2])];
            wire::write_proof(&mut reply, &proof, request, SECRET, salts).unwrap();
            reply.text(attribute::FILTER_ID, "sandbox").unwrap();
        }
        _ => {
            let code = MsChapErrorCode::AuthenticationFailure;
            wire::write_refusal(&mut reply, &method, code, &[7; 16], "no").unwrap();
        }
    }
    reply.sign_reply(SECRET).unwrap().to_vec()
}

// -- the client

const DEMAND: Demand = Demand {
    timers: Timers { irt: Duration::from_millis(100), mrc: 8, mrt: Duration::from_secs(2), mrd: Duration::ZERO },
    message_authenticator: true,
};

async fn client(responder: &Responder) -> Client {
    Client::connect(responder.address, None, Secret::new(SECRET)).await.unwrap()
}

fn access_request() -> Vec<u8> {
    let mut builder = PacketBuilder::request(Code::AccessRequest, 7, [9; 16]);
    builder.text(attribute::USER_NAME, "alice").unwrap().sign_request(SECRET).unwrap().to_vec()
}

fn chance() -> u32 {
    u32::MAX / 2
}

#[tokio::test]
async fn rfc5080_section_2_2_1_a_retransmission_is_the_same_packet_from_the_same_port() {
    let responder = Responder::start(|request, number| match number {
        0 | 1 => vec![],
        _ => vec![reply(request, Code::AccessAccept, SECRET)],
    });
    let exchange = client(&responder).await.exchange(&access_request(), &DEMAND, chance).await.unwrap();
    assert_eq!(exchange.reply.unwrap().packet().code(), Code::AccessAccept);
    assert!(exchange.transmissions >= 3, "{}", exchange.transmissions);
    assert!(exchange.elapsed >= Duration::from_millis(250), "{:?}", exchange.elapsed);
    let different: BTreeSet<_> = responder.received().into_iter().collect();
    assert_eq!(different.len(), 1);
}

#[tokio::test]
async fn what_is_not_the_answer_is_counted_and_waited_past() {
    let responder = Responder::start(|request, _| {
        let mut late = reply(request, Code::AccessReject, SECRET);
        late[1] ^= 1;
        let mut changed = reply(request, Code::AccessReject, SECRET);
        changed[0] = Code::AccessAccept.as_u8();
        vec![
            b"no packet".to_vec(),
            late,
            reply(request, Code::AccessAccept, b"another secret"),
            changed,
            unsigned(request, Code::AccessAccept),
            reply(request, Code::AccountingResponse, SECRET),
            reply(request, Code::AccessReject, SECRET),
        ]
    });
    let long = Duration::from_secs(30);
    let demand = Demand { timers: Timers { irt: long, mrt: long, ..DEMAND.timers }, ..DEMAND };
    let exchange = client(&responder).await.exchange(&access_request(), &demand, chance).await.unwrap();
    let reply = exchange.reply.unwrap();
    assert_eq!((reply.packet().code(), reply.message_authenticator()), (Code::AccessReject, true));
    let ignored = Ignored { malformed: 1, unasked: 1, forged: 2, unsigned: 1, misplaced: 1 };
    assert_eq!((exchange.ignored, ignored.unverified()), (ignored, 3));
}

#[tokio::test]
async fn an_answer_without_message_authenticator_is_for_the_caller_to_allow() {
    let responder = Responder::start(|request, _| vec![unsigned(request, Code::AccessAccept)]);
    let mut client = client(&responder).await;
    let timers = Timers { irt: Duration::from_secs(1), mrc: 1, ..DEMAND.timers };
    let strict = client.exchange(&access_request(), &Demand { timers, ..DEMAND }, chance).await.unwrap();
    assert!(strict.reply.is_none());
    assert_eq!((strict.transmissions, strict.ignored.unsigned), (1, 1));
    let demand = Demand { message_authenticator: false, ..DEMAND };
    let reply = client.exchange(&access_request(), &demand, chance).await.unwrap().reply.unwrap();
    assert_eq!((reply.packet().code(), reply.message_authenticator()), (Code::AccessAccept, false));
}

#[tokio::test]
async fn a_closed_port_is_no_answer_and_no_error() {
    // An address nobody else in the tests binds, so the port stays closed.
    let closed = UdpSocket::bind("127.81.12.99:0").unwrap().local_addr().unwrap();
    let mut client = Client::connect(closed, None, Secret::new(SECRET)).await.unwrap();
    let demand = Demand { timers: Timers { mrc: 3, ..DEMAND.timers }, ..DEMAND };
    let exchange = client.exchange(&access_request(), &demand, chance).await.unwrap();
    assert!(exchange.reply.is_none() && exchange.port_closed);
    assert_eq!(exchange.transmissions, 3);
}

#[tokio::test]
async fn only_requests_are_sent() {
    let responder = Responder::says(Code::AccessAccept);
    let mut client = client(&responder).await;
    let accept = reply(&Packet::parse(&access_request()).unwrap(), Code::AccessAccept, SECRET);
    for octets in [&accept[..], b"no packet"] {
        let error = client.exchange(octets, &DEMAND, chance).await.unwrap_err();
        assert!(matches!(error, ClientError::NotARequest), "{error}");
    }
    assert_eq!(responder.received(), []);
}

// -- the command

#[test]
fn every_method_proves_its_password() {
    let responder = Responder::start(|request, _| vec![login(request, "wonder, \"land\"")]);
    let server = responder.server();
    let process = Process::new();
    let (right, wrong) = (process.file("right", "wonder, \"land\"\n"), process.file("wrong", "wonderland"));
    for method in ["pap", "chap", "mschapv1", "mschapv2"] {
        for user in ["alice", "OFFICE\\alice"] {
            let run = |password| {
                let login = ["--user", user, "--password-file", password, "--method", method];
                process.client(&[&["auth", &server][..], &login].concat(), "")
            };
            let (accepted, refused) = (run(&right), run(&wrong));
            assert_eq!((accepted.code, refused.code), (0, 1), "{method}: {}{}", accepted.all(), refused.all());
            assert!(accepted.stdout.contains("Filter-Id = \"sandbox\""), "{}", accepted.stdout);
            let proven = accepted.stdout.contains("Message-Authenticator, MS-CHAP2-Success");
            assert_eq!(proven, method == "mschapv2", "{}", accepted.stdout);
            assert!(!accepted.all().contains("wonder") && !refused.all().contains("wonder"));
        }
    }
    for name in ["User-Password", "CHAP-Password", "MS-CHAP-Password", "MS-CHAP2-Password"] {
        let packet = format!("User-Name = alice, {name} = \"wonder, \\\"land\\\"\"");
        let ran = process.client(&["auth", &server], &packet);
        assert_eq!(ran.code, 0, "{name}: {}", ran.all());
        assert!(!ran.all().contains("wonder"), "{}", ran.all());
    }
    let wire: Vec<u8> = responder.received().into_iter().flat_map(|(_, octets)| octets).collect();
    assert!(!wire.windows(6).any(|octets| octets == b"wonder"), "a password went in clear");
}

#[test]
fn rfc2759_section_8_8_a_server_that_does_not_prove_itself_is_not_believed() {
    let process = Process::new();
    let password = process.file("password", "wonderland");
    // One claims Accept without knowing the password, one leaves the proof out.
    let impostor = Responder::start(|request, _| {
        let mut honest = login(request, "wonderland");
        let at = honest.windows(2).position(|octets| octets == b"S=").unwrap() + 2;
        honest[at] = if honest[at] == b'0' { b'1' } else { b'0' };
        let packet = Packet::parse(&honest).unwrap();
        let mut builder = PacketBuilder::reply(request, Code::AccessAccept);
        for attribute in packet.attributes().filter(|attribute| attribute.kind != attribute::MESSAGE_AUTHENTICATOR) {
            builder.attribute(attribute.kind, attribute.value).unwrap();
        }
        vec![builder.sign_reply(SECRET).unwrap().to_vec()]
    });
    let silent = Responder::says(Code::AccessAccept);
    for (responder, why) in [(&impostor, "the MS-CHAP2-Success is wrong"), (&silent, "there is no MS-CHAP2-Success")] {
        let server = responder.server();
        let login = ["auth", &server, "--user", "alice", "--password-file", &password, "--method", "mschapv2"];
        let ran = process.client(&login, "");
        assert_eq!(ran.code, 4, "{}", ran.all());
        assert!(ran.stdout.contains(why), "{}", ran.stdout);
    }
}

#[test]
fn the_exit_code_says_what_was_answered() {
    let process = Process::new();
    let session = ["--attribute", "Acct-Session-Id = \"4D2\", Acct-Status-Type = Stop"];
    for (command, attributes, answer, code) in [
        ("status", &[][..], Code::AccessAccept, 0),
        ("status", &[], Code::AccountingResponse, 0),
        ("acct", &session, Code::AccountingResponse, 0),
        ("coa", &session, Code::CoaAck, 0),
        ("coa", &session, Code::CoaNak, 1),
        ("coa", &session, Code::ProtocolError, 1),
        ("disconnect", &session, Code::DisconnectAck, 0),
        ("disconnect", &session, Code::DisconnectNak, 1),
        ("auth", &["--attribute", "User-Name = alice"], Code::AccessChallenge, 1),
        // Answers to something else are none.
        ("disconnect", &["--attribute", "Acct-Session-Id = 1", "-t", "0.1", "-r", "0"], Code::CoaAck, 3),
    ] {
        let responder = Responder::says(answer);
        let ran = process.client(&[&[command, &responder.server()], attributes].concat(), "");
        assert_eq!(ran.code, code, "{command} {answer}: {}", ran.all());
        assert_eq!(ran.stdout.contains(&answer.to_string()), code != 3, "{}", ran.stdout);
    }
    let other = Responder::start(|request, _| vec![reply(request, Code::AccessAccept, b"another secret")]);
    let ran = process.client(&["status", &other.server(), "-t", "1", "-r", "0"], "");
    assert_eq!(ran.code, 4, "{}", ran.all());
    assert!(ran.stdout.contains("is the secret right"), "{}", ran.stdout);
}

#[test]
fn requests_are_genuine_and_hide_what_is_to_be_hidden() {
    let responder = Responder::start(|request, number| {
        let code = match number {
            0 => {
                let _proof = request.verify_request_authenticator(SECRET).unwrap();
                let _signed = request.verify_message_authenticator(SECRET).unwrap();
                // RFC 5176: there is no authenticator yet when values are hidden.
                let hidden = request.first(69).unwrap();
                let (tag, plain) = reveal_tunnel_password(hidden, SECRET, &[0; 16]).unwrap();
                assert_eq!((tag, &plain[..]), (Tag::new(2), &b"tunnel"[..]));
                Code::CoaAck
            }
            1 => {
                let _proof = request.verify_request_authenticator(SECRET).unwrap();
                assert!(!request.has_message_authenticator());
                Code::CoaAck
            }
            2 => {
                let _proof = request.verify_request_authenticator(SECRET).unwrap();
                let _signed = request.verify_message_authenticator(SECRET).unwrap();
                assert_eq!(request.text(attribute::ACCT_SESSION_ID), Some("4D2"));
                Code::AccountingResponse
            }
            _ => {
                assert!(!request.has_message_authenticator());
                Code::AccessReject
            }
        };
        vec![reply(request, code, SECRET)]
    });
    let server = responder.server();
    let process = Process::new();
    let ran = process.client(&["coa", &server], "User-Name = alice\nTunnel-Password:2 = tunnel");
    assert!(ran.code == 0 && !ran.all().contains("tunnel"), "{}", ran.all());
    let unsigned = "--no-message-authenticator";
    assert_eq!(process.client(&["coa", &server, unsigned, "-a", "User-Name = alice"], "").code, 0);
    let accounting = "Acct-Session-Id = 4D2\nMessage-Authenticator = 0x00";
    assert_eq!(process.client(&["acct", &server, "--file", "-"], accounting).code, 0);
    let ran = process.client(&["auth", &server, unsigned], "User-Name = alice\nUser-Password = x");
    assert_eq!(ran.code, 1, "{}", ran.all());
}

#[test]
fn several_packets_are_several_requests_and_the_worst_counts() {
    let responder = Responder::start(|request, _| vec![login(request, "wonderland")]);
    let process = Process::new();
    let packets = "User-Name = alice\nUser-Password = wonderland\n\n\n# no\nUser-Name = bob, User-Password = 'x'\n";
    let ran = process.client(&["auth", &responder.server(), "--json"], packets);
    assert_eq!(ran.code, 1, "{}", ran.all());
    let json = ran.json();
    assert_eq!(
        (&json["packets"][0]["outcome"], &json["packets"][1]["outcome"]),
        (&"accepted".into(), &"refused".into())
    );
    assert_eq!(json["packets"][0]["reply"]["attributes"][1]["value"], "\"sandbox\"");
    assert_eq!(json["packets"][0]["verified"][1], "Message-Authenticator");
    assert_eq!((&json["summary"]["packets"], &json["summary"]["refused"]), (&2.into(), &1.into()));

    let many = ["auth", &responder.server(), "--count", "30", "--parallel", "4"];
    let ran = process.client(&many, "User-Name = alice\nUser-Password = wonderland");
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(
        ran.stdout.starts_with("30 packets in ") && ran.stdout.contains(": 30 accepted, 0 refused"),
        "{}",
        ran.stdout
    );
    let received = responder.received();
    let nonces: BTreeSet<_> = received.iter().map(|(_, octets)| octets[4..20].to_vec()).collect();
    let ports: BTreeSet<_> = received[2..].iter().map(|(from, _)| from.port()).collect();
    assert!(nonces.len() >= 32 && ports.len() == 4, "{} nonces, {} ports", nonces.len(), ports.len());
}

#[test]
fn secrets_come_by_every_way_but_the_arguments() {
    let responder = Responder::says(Code::AccessAccept);
    let server = responder.server();
    let process = Process::new();
    let file = process.file("s", "testing123\n");
    for (arguments, input, variable) in [
        (&["--secret-file", &file][..], "", None),
        (&["--secret-stdin"], "testing123\n", None),
        (&[], "", Some("testing123")),
        // What is said outright counts before the environment.
        (&["--secret-file", &file], "", Some("something else")),
    ] {
        let ran = process.run(&[&["client", "status", &server], arguments].concat(), input, variable);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.all());
        assert!(!ran.all().contains("testing123"));
    }
    for (_, octets) in responder.received() {
        let _signed = Packet::parse(&octets).unwrap().verify_message_authenticator(SECRET).unwrap();
    }
}

#[test]
fn what_cannot_be_sent_is_said_before_anything_is_sent() {
    let responder = Responder::says(Code::AccessAccept);
    let server = responder.server();
    let process = Process::new();
    let (empty, password) = (process.file("empty", "\n"), process.file("password", "x"));
    let long = format!("User-Name = a\n\nUser-Password = {}", "x".repeat(129));
    for (arguments, input, why) in [
        (&["auth", &server, "-a", "User-Password = hunter2"][..], "", "arguments are for everybody to see"),
        (&["auth", &server, "-a", "ms-chap2-password = hunter2"], "", "arguments are for everybody to see"),
        (&["auth", &server, "-a", "User-Nam = hunter2"], "", "did you mean User-Name?"),
        (&["auth", &server], "User-Name = a\n\nhunter2", "standard input:3: write Name = value"),
        (&["auth", &server], "User-Name = a\nCHAP-Password = \"hunter2", "quotation mark"),
        (&["auth", &server], &long, "User-Password: "),
        (&["auth", &server], "MS-CHAP2-Password = hunter2", "there is none"),
        (&["auth", &server], "# nothing\n", "no attributes there"),
        (&["auth", &server, "--secret-stdin", "--user", "a", "--password-stdin"], "x", "cannot be used with"),
        (&["auth", &server, "--user", "a", "--password-file", &empty], "", "the password is empty"),
        (&["auth", &server, "--user", "a", "--password-file", "/nowhere"], "", "/nowhere: "),
        (&["auth", "nowhere.invalid:x", "--user", "a", "--password-file", &password], "", "nowhere.invalid:x"),
        (&["auth", &server, "--source", "192.0.2.1", "--user", "a", "--password-file", &password], "", "192.0.2.1:0"),
        (&["status", &server, "--timeout", "never"], "", "write seconds"),
    ] {
        let ran = process.client(arguments, input);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.all());
        assert!(ran.stderr.contains(why) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.all());
        assert!(!ran.all().contains("hunter2") || arguments.contains(&"User-Nam = hunter2"), "{}", ran.all());
    }
    assert_eq!(responder.received(), []);
}
