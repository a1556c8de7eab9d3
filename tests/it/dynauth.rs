//! The Dynamic Authorization Client against a Dynamic Authorization Server that is not ours: Python's pyrad, which also
//! checks our authenticators.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use radhold::dialect::Dialects;
use radhold::dynauth::{Answer, Request, RequestKind, Timers};
use radhold::model::{ApproverKind, Identity, Secret, SessionId, Timestamp};
use radhold::net::dynamic_authorization::{Counts, DynamicAuthorizationClient, SendError, Settings, Target};
use radhold::policy::{Grant, HoldTerms, Terms};
use radhold::radius::dictionary::Dictionary;
use radhold::radius::{Code, Packet, PacketBuilder};
use radhold::session::Session;
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::das::{Das, PATIENCE, SECRET};

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// Retransmits after about 200 ms, three transmissions in all.
fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        timers: Timers { irt: ms(200), mrc: 3, mrt: ms(800), mrd: ms(1500) },
        rest_answered: ms(100),
        rest_unanswered: ms(100),
        patience: PATIENCE,
        ..Settings::default()
    }
}

/// For tests in which nothing is lost: a slow machine must not make it retransmit.
fn patient() -> Settings {
    let timers = Timers { irt: PATIENCE, mrc: 1, mrt: Duration::ZERO, mrd: Duration::ZERO };
    Settings { timers, ..settings() }
}

fn client(settings: Settings) -> DynamicAuthorizationClient {
    DynamicAuthorizationClient::new(settings, || NOW, chance)
}

/// Uniform enough, and the same in each run.
fn chance() -> u32 {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    DRAWN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9)
}

/// CoA-Request with the given User-Name.
fn coa(user: &str) -> Request {
    let length = u8::try_from(user.len() + 2).unwrap();
    Request {
        kind: RequestKind::Coa,
        attributes: vec![[&[1, length], user.as_bytes()].concat()],
        message_authenticator: true,
        event_timestamp: true,
        fresh_port: false,
    }
}

fn target_of(das: &Das) -> Target {
    Target { address: das.address, source: None, secret: Secret::new(SECRET) }
}

async fn send(client: &DynamicAuthorizationClient, das: &Das, request: &Request) -> Answer {
    client.send(&target_of(das), request).await.unwrap()
}

/// The counts once they are so.
async fn eventually(client: &DynamicAuthorizationClient, so: impl Fn(&Counts) -> bool) -> Counts {
    let counted = async {
        while !so(&client.counts()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.counts()
    };
    timeout(PATIENCE, counted).await.unwrap()
}

#[tokio::test]
async fn rfc5176_section_2_2_ack() {
    let mut das = Das::start(&["ack", "ack-signed"]).await;
    let client = client(patient());
    assert_eq!(send(&client, &das, &coa("alice")).await, Answer::Acked);
    let request = das.next().await;
    assert_eq!(request["code"], 43);
    assert_eq!(request["signature"], "valid");
    assert_eq!(request["attributes"]["User-Name"][0], "alice");
    assert_eq!(request["attributes"]["Event-Timestamp"][0], NOW.as_secs());
    assert_eq!(send(&client, &das, &Request { kind: RequestKind::Disconnect, ..coa("alice") }).await, Answer::Acked);
    assert_eq!(das.next().await["code"], 40);
    assert_eq!(client.counts(), Counts { requests: 2, acked: 2, ..Counts::default() });
}

#[tokio::test]
async fn rfc5176_section_3_5_nak_with_its_error_cause() {
    let das = Das::start(&["nak:503", "nak"]).await;
    let client = client(patient());
    assert_eq!(send(&client, &das, &coa("alice")).await, Answer::Naked(Some(503)));
    let disconnect = Request { kind: RequestKind::Disconnect, ..coa("alice") };
    assert_eq!(send(&client, &das, &disconnect).await, Answer::Naked(None));
    assert_eq!(client.counts().naked, 2);
}

#[tokio::test]
async fn rfc5176_section_2_3_a_retransmission_is_the_same_packet_from_the_same_port() {
    let mut das = Das::start(&["silent-then-ack", "silent"]).await;
    let stubborn = Timers { mrc: 0, mrd: PATIENCE, ..settings().timers };
    let insisting = client(Settings { timers: stubborn, ..settings() });
    assert_eq!(send(&insisting, &das, &coa("alice")).await, Answer::Acked);
    let (first, second) = (das.next().await, das.next().await);
    assert_eq!((&first["raw"], &first["port"]), (&second["raw"], &second["port"]));
    assert_eq!((&first["again"], &second["again"]), (&Value::Bool(false), &Value::Bool(true)));

    let client = client(settings());
    assert_eq!(send(&client, &das, &coa("bob")).await, Answer::Unanswered);
    let mut transmissions = vec![];
    while transmissions.len() < 3 {
        // On a busy machine the first request may have been repeated once more.
        let request = das.next().await;
        if request["attributes"]["User-Name"][0] == "bob" {
            transmissions.push(request["raw"].clone());
        }
    }
    assert!(transmissions.iter().all(|raw| *raw == transmissions[0]));
    assert_ne!(transmissions[0], first["raw"]);
    assert_eq!(client.counts(), Counts { requests: 1, retransmissions: 2, unanswered: 1, ..Counts::default() });
}

#[tokio::test]
async fn an_answer_made_with_another_secret_is_none() {
    let das = Das::start(&["wrong-secret"]).await;
    let client = client(settings());
    assert_eq!(send(&client, &das, &coa("alice")).await, Answer::Unanswered);
    // Read in time or too late, it was read and not believed.
    let counts = eventually(&client, |counts| counts.forged + counts.unasked > 0).await;
    assert_eq!((counts.acked, counts.naked, counts.unanswered), (0, 0, 1));
}

#[tokio::test]
async fn wrong_answers_do_not_stop_the_right_one() {
    let actions = [
        "wrong-secret-then-ack",
        "bad-signature-then-ack",
        "other-port-then-ack",
        "wrong-code-then-ack",
        "noise-then-ack",
    ];
    let das = Das::start(&actions).await;
    let client = client(patient());
    for action in actions {
        assert_eq!(send(&client, &das, &coa(action)).await, Answer::Acked, "{action}");
    }
    // The stranger's answer came from another socket and may be read after the right one.
    let counts = eventually(&client, |counts| counts.unasked > 0).await;
    let wanted =
        Counts { requests: 5, acked: 5, forged: 2, unasked: 1, misplaced: 1, malformed: 1, ..Counts::default() };
    assert_eq!(counts, wanted);
}

#[tokio::test]
async fn three_hundred_at_once_share_256_identifiers() {
    let mut das = Das::start(&["gather:256"]).await;
    let client = Arc::new(client(Settings { ports: 1, ..patient() }));
    let target = target_of(&das);
    let sends: Vec<_> = (0..300)
        .map(|number| {
            let (client, target) = (Arc::clone(&client), target.clone());
            tokio::spawn(async move { client.send(&target, &coa(&format!("user{number}"))).await.unwrap() })
        })
        .collect();
    let mut in_flight = vec![];
    for _ in 0..256 {
        in_flight.push(das.next().await["id"].as_u64().unwrap());
    }
    in_flight.sort_unstable();
    assert_eq!(in_flight, (0..256).collect::<Vec<_>>(), "each Identifier once, before any answer");
    for sent in sends {
        assert_eq!(sent.await.unwrap(), Answer::Acked);
    }
    assert_eq!(client.counts(), Counts { requests: 300, acked: 300, ..Counts::default() });
}

#[tokio::test]
async fn more_than_256_are_pushed_back() {
    let mut das = Das::start(&["silent"]).await;
    let client = Arc::new(client(Settings { patience: Duration::from_millis(50), ports: 1, ..patient() }));
    let target = target_of(&das);
    let sends: Vec<_> = (0..256)
        .map(|number| {
            let (client, target) = (Arc::clone(&client), target.clone());
            tokio::spawn(async move { client.send(&target, &coa(&format!("user{number}"))).await })
        })
        .collect();
    for _ in 0..256 {
        das.next().await;
    }
    assert!(matches!(client.send(&target, &coa("late")).await, Err(SendError::Busy(to)) if to == target.address));
    sends.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A NAS of our own, for bursts that are too wide for pyrad: acknowledges, or is silent, and tells from which port and under which
/// Identifier each request came.
async fn wide(answers: bool) -> (Target, mpsc::UnboundedReceiver<(u16, u8)>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    let target = Target { address: socket.local_addr().unwrap(), source: None, secret: Secret::new(SECRET) };
    let (seen, seeing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let request = Packet::parse(&buffer[..length]).unwrap();
            if seen.send((from.port(), request.identifier())).is_err() {
                return;
            }
            if answers {
                let mut reply = PacketBuilder::reply(&request, Code::CoaAck);
                socket.send_to(reply.sign_reply(SECRET.as_bytes()).unwrap(), from).await.unwrap();
            }
        }
    });
    (target, seeing)
}

fn send_many(
    client: &Arc<DynamicAuthorizationClient>,
    target: &Target,
    count: usize,
) -> JoinSet<Result<Answer, SendError>> {
    let one = |_| {
        let (client, target) = (Arc::clone(client), target.clone());
        async move { client.send(&target, &coa("alice")).await }
    };
    (0..count).map(one).collect()
}

/// Whether nobody has this port.
fn is_closed(port: u16) -> bool {
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[tokio::test]
async fn rfc5176_section_2_3_a_burst_leaves_from_more_ports_which_are_closed_after_it() {
    let (target, mut seen) = wide(true).await;
    let rests = Duration::from_secs(600);
    let settings = Settings { rest_answered: rests, ports: 4, port_idle: PATIENCE, ..patient() };
    let rested = Arc::new(client(Settings { patience: Duration::from_secs(2), ..settings }));
    // One after the other, as far as the machine's buffers go: nothing here is lost, and nothing is sent again.
    for _ in 0..16 {
        for sent in send_many(&rested, &target, 64).join_all().await {
            assert_eq!(sent.unwrap(), Answer::Acked);
        }
    }
    let mut used = BTreeSet::new();
    for _ in 0..1024 {
        assert!(used.insert(seen.recv().await.unwrap()), "an Identifier came again from its port");
    }
    let ports: BTreeSet<u16> = used.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports.len(), 4);
    assert!(matches!(rested.send(&target, &coa("alice")).await, Err(SendError::Busy(_))), "all of them rest");

    let brisk = Arc::new(client(Settings { port_idle: Duration::from_millis(100), patience: PATIENCE, ..settings }));
    let mut ports = Vec::new();
    for _ in 0..8 {
        send_many(&brisk, &target, 64)
            .join_all()
            .await
            .into_iter()
            .for_each(|sent| assert_eq!(sent.unwrap(), Answer::Acked));
        for _ in 0..64 {
            let (port, _) = seen.recv().await.unwrap();
            ports.extend((!ports.contains(&port)).then_some(port));
        }
    }
    assert!(ports.len() >= 2, "{ports:?}");
    let closed = async {
        while !ports[1..].iter().all(|port| is_closed(*port)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    assert!(!is_closed(ports[0]), "the first stays");
}

#[tokio::test]
async fn a_configured_port_stays_the_only_one() {
    let (target, mut seen) = wide(true).await;
    let port = std::net::UdpSocket::bind("127.0.0.4:0").unwrap().local_addr().unwrap().port();
    let target = Target { source: Some((Ipv4Addr::new(127, 0, 0, 4), port).into()), ..target };
    let client = Arc::new(client(patient()));
    for _ in 0..5 {
        for sent in send_many(&client, &target, 64).join_all().await {
            assert_eq!(sent.unwrap(), Answer::Acked, "after a rest, when all 256 have been used");
        }
        for _ in 0..64 {
            assert_eq!(seen.recv().await.unwrap().0, port);
        }
    }
}

#[tokio::test]
async fn a_silent_nas_keeps_nothing_from_another() {
    let (mute, mut seen) = wide(false).await;
    let (other, _seen) = wide(true).await;
    let client = Arc::new(client(Settings { ports: 2, ..patient() }));
    let mut silent = send_many(&client, &mute, 700);
    for _ in 0..512 {
        timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
    }
    assert_eq!(client.send(&other, &coa("alice")).await.unwrap(), Answer::Acked);
    silent.abort_all();
}

/// A server that keeps its answers by port and Identifier alone, as strongSwan does, never sees either again.
#[tokio::test]
async fn fresh_port_gives_each_request_its_own() {
    let mut das = Das::start(&["ack"]).await;
    let client = client(patient());
    let fresh = Request { fresh_port: true, ..coa("alice") };
    let (shared, target) = (coa("alice"), target_of(&das));
    let [a, b, c, d] = [&shared, &shared, &fresh, &fresh].map(|request| client.send(&target, request));
    // All in flight together: the system cannot give a port that is in use to another.
    let answers = tokio::join!(a, b, c, d);
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(answer.unwrap(), Answer::Acked);
    }
    let mut ports = vec![];
    for _ in 0..4 {
        ports.push(das.next().await["port"].as_u64().unwrap());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "one for both that share, and one for each of the others");
}

#[tokio::test]
async fn packets_leave_from_the_configured_address() {
    let mut das = Das::start(&["ack"]).await;
    let client = client(patient());
    // A port that is free on an address nobody else here uses.
    let port = std::net::UdpSocket::bind("127.0.0.3:0").unwrap().local_addr().unwrap().port();
    for (source, fresh_port) in
        [("127.0.0.2:0".to_owned(), false), (format!("127.0.0.3:{port}"), false), (format!("127.0.0.3:{port}"), true)]
    {
        let source: SocketAddr = source.parse().unwrap();
        let target = Target { source: Some(source), ..target_of(&das) };
        assert_eq!(client.send(&target, &Request { fresh_port, ..coa("alice") }).await.unwrap(), Answer::Acked);
        let request = das.next().await;
        assert_eq!(request["from"], source.ip().to_string());
        assert_eq!(request["port"] == source.port(), source.port() != 0 && !fresh_port);
    }
    let target = Target { source: Some("192.0.2.200:0".parse().unwrap()), ..target_of(&das) };
    assert!(matches!(client.send(&target, &coa("alice")).await, Err(SendError::Bind { .. })));
    let target = Target { source: Some("[::1]:0".parse().unwrap()), ..target_of(&das) };
    assert!(matches!(client.send(&target, &coa("alice")).await, Err(SendError::Family { .. })));
    assert!(matches!(client.bind("192.0.2.200:0".parse().unwrap()), Err(SendError::Bind { .. })));
}

#[tokio::test]
async fn of_several_requests_the_first_refused_is_the_last() {
    let mut das = Das::start(&["ack", "nak:401", "ack"]).await;
    let client = client(patient());
    let requests = [coa("first"), coa("second"), coa("third")];
    assert_eq!(client.send_each(&target_of(&das), &requests).await.unwrap(), Answer::Naked(Some(401)));
    assert_eq!(client.send_each(&target_of(&das), &requests[..1]).await.unwrap(), Answer::Acked);
    for user in ["first", "second", "first"] {
        assert_eq!(das.next().await["attributes"]["User-Name"][0], user);
    }
}

/// From a held session to what pyrad reads: every dialect's permit and disconnect, whole.
#[tokio::test]
async fn a_dialects_requests_are_understood() {
    let mut das = Das::start(&["ack"]).await;
    let client = client(patient());
    let dictionary = Dictionary::embedded();
    let dialects = Dialects::embedded(dictionary).unwrap();
    let terms = HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), [ApproverKind::Operator]);
    let grant = Grant {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        terms: Terms::Hold(terms),
        session_timeout: None,
        reply: vec![],
    };
    let identity = Identity { nas_port: Some(7), acct_session_id: Some("a1".into()), ..Identity::default() };
    let nas: IpAddr = Ipv4Addr::LOCALHOST.into();
    let id: SessionId = "018f0000-0000-7000-8000-000000000001".parse().unwrap();
    let session = Session::offer(id, "alice".into(), "edge".into(), nas, identity, grant, NOW);
    for dialect in dialects.iter() {
        let mut lifted = false;
        for request in dialect.permit(dictionary, &session, NOW).unwrap() {
            assert_eq!(send(&client, &das, &request).await, Answer::Acked);
            let seen = das.next().await;
            assert_eq!(seen["code"], 43);
            assert_eq!(seen["signature"] == "valid", dialect.name() != "uspot");
            lifted |= seen["attributes"]["Filter-Id"][0] == "permit"
                || seen["raw"].as_str().unwrap().contains(&hex::encode("=permit"));
        }
        assert_eq!(lifted, dialect.confines(), "{}", dialect.name());
        assert_eq!(send(&client, &das, &dialect.disconnect(&session)).await, Answer::Acked);
        let seen = das.next().await;
        let attributes = &seen["attributes"];
        assert_eq!(seen["code"], 40);
        assert!(attributes["User-Name"][0] == "alice" || attributes["Acct-Session-Id"][0] == "a1", "{attributes}");
        assert!(attributes["Filter-Id"].is_null() && attributes["Session-Timeout"].is_null(), "{attributes}");
    }
}
