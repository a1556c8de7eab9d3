//! The local RADIUS front between Debian's radclient, which plays pppd, and real servers: ours as processes, and sockets that
//! misbehave.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use radhold::app::{chance, clock};
use radhold::config::{self, FrontServer};
use radhold::model::Secret;
use radhold::net::front::{Front, FrontError, Machine};
use radhold::radius::attribute::{ACCT_SESSION_ID, CLASS, NAS_IDENTIFIER, PROXY_STATE, REPLY_MESSAGE, USER_NAME};
use radhold::radius::{Code, Packet, PacketBuilder};

use crate::radhold::{Radhold, Ran, radclient, received};

const INNER: &str = "known-to-pppd-alone";
const OUTER: &str = "known-to-front-and-server";
const PASSWORD: &str = "s3cret-pass";

/// A server that knows alice, and wants every Access-Request signed.
fn server() -> Radhold {
    let radhold = Radhold::start(&format!(
        "[server]\nreject_delay = \"0s\"\n[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{OUTER}\"\n\
         dialect = \"pppd-agent\"\nallow_ms_chap_v1 = true\ncoa_port = 9\n"
    ));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

fn behind(name: &str, auth: SocketAddr, accounting: SocketAddr, secret: &str) -> FrontServer {
    let secret = Secret::new(secret);
    FrontServer { name: name.to_owned(), auth, accounting, secret, require_message_authenticator: true, radsec: None }
}

fn server_of(name: &str, radhold: &Radhold) -> FrontServer {
    behind(name, radhold.auth, radhold.accounting, OUTER)
}

fn settings(servers: Vec<FrontServer>) -> config::Front {
    config::Front {
        auth: vec!["127.0.0.1:0".parse().unwrap()],
        accounting: vec!["127.0.0.1:0".parse().unwrap()],
        secret: Secret::new(INNER),
        nas_identifier: "nas-1".to_owned(),
        fail_over_after: Duration::from_millis(400),
        patience: Duration::from_secs(4),
        probe_every: Duration::from_millis(200),
        servers,
        tls: None,
    }
}

const MACHINE: Machine = Machine { now: clock::now, chance: chance::octets };

fn front(servers: Vec<FrontServer>) -> Front {
    Front::start(&settings(servers), MACHINE, None).unwrap()
}

/// As pppd asks: no Message-Authenticator, no NAS-Port-Type, no Acct-Session-Id.
fn login(front: &Front, password: &str) -> Ran {
    let attributes =
        format!("User-Name = alice, {password}, NAS-Port = 2, Calling-Station-Id = \"10.90.0.2\", NAS-Identifier = x");
    radclient(front.auth()[0], "auth", INNER, &attributes)
}

fn login_pap(front: &Front) -> Ran {
    login(front, &format!("User-Password = {PASSWORD}"))
}

/// A server of our own making: what it was asked, and what it says.
struct Puppet {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Puppet {
    /// `answer` makes the reply, or keeps silent. The thread ends with the process.
    fn new(answer: impl Fn(&Packet<'_>) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((octets, from)) = socket.recv_from(&mut buffer) {
                let packet = Packet::parse(&buffer[..octets]).unwrap();
                log.lock().unwrap().push(packet.as_bytes().to_vec());
                if let Some(reply) = answer(&packet) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        Self { address, asked }
    }

    fn silent() -> Self {
        Self::new(|_| None)
    }

    fn behind(&self, name: &str) -> FrontServer {
        behind(name, self.address, self.address, OUTER)
    }

    fn times(&self, code: Code) -> usize {
        self.asked.lock().unwrap().iter().filter(|octets| octets[0] == code.as_u8()).count()
    }
}

fn accept(asked: &Packet<'_>) -> Vec<u8> {
    let code = if asked.code() == Code::AccountingRequest { Code::AccountingResponse } else { Code::AccessAccept };
    let mut builder = PacketBuilder::reply(asked, code);
    builder.proxy_states_of(asked).unwrap();
    builder.sign_reply(OUTER.as_bytes()).unwrap().to_vec()
}

/// One that signs as servers did before 2024.
fn accept_unsigned(asked: &Packet<'_>) -> Vec<u8> {
    use md5::{Digest as _, Md5};
    let mut reply = vec![2, asked.identifier(), 0, 20];
    let digest = Md5::new().chain_update(&reply).chain_update(asked.authenticator()).chain_update(OUTER).finalize();
    reply.extend(digest);
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_comes_through_to_a_server_that_wants_it_signed() {
    let radhold = server();
    let front = front(vec![server_of("1", &radhold)]);
    for proof in ["User-Password", "CHAP-Password", "MS-CHAP-Password"] {
        let ran = login(&front, &format!("{proof} = {PASSWORD}"));
        assert_eq!(ran.code, 0, "{proof}: {ran:?}");
        assert_eq!(received(&ran, "Filter-Id"), Some("sandbox"), "{ran:?}");
        assert_eq!(received(&ran, "Proxy-State"), None, "{ran:?}");
        let ran = login(&front, &format!("{proof} = wrong"));
        assert!(ran.stdout.contains("Received Access-Reject"), "{proof}: {ran:?}");
    }
    // radclient reveals the keys with its own secret: through the front they are those of a straight login.
    let attributes =
        format!("User-Name = alice, MS-CHAP-Password = {PASSWORD}, MS-CHAP-Challenge = 0x0102030405060708");
    let straight = radclient(radhold.auth, "auth", OUTER, &format!("{attributes}, Message-Authenticator = 0x00"));
    let through = radclient(front.auth()[0], "auth", INNER, &attributes);
    let keys = received(&through, "MS-CHAP-MPPE-Keys");
    assert!(keys.is_some_and(|keys| keys.len() > 32), "{through:?}");
    assert_eq!(keys, received(&straight, "MS-CHAP-MPPE-Keys"));
}

/// `radhold client` verifies MS-CHAP2-Success, and that the answer is signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ms_chap_v2_comes_through() {
    let radhold = server();
    let front = front(vec![server_of("1", &radhold)]);
    std::fs::write(radhold.path("inner"), INNER).unwrap();
    let (address, secret) = (front.auth()[0].to_string(), radhold.path("inner").display().to_string());
    let arguments = [
        "client",
        "auth",
        &address,
        "--secret-file",
        &secret,
        "--user",
        "alice",
        "--password-stdin",
        "--method",
        "mschapv2",
        "--no-message-authenticator",
    ];
    let ran = radhold.cli(&arguments, PASSWORD);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(radhold.cli(&arguments, "wrong").code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_one_second_are_two_for_the_server_and_stay_so_when_the_front_restarts() {
    let radhold = server();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&seen);
    let observer = move |packet: &Packet<'_>, id: &str| {
        assert!(packet.has(CLASS), "it is pppd's own packet that is shown");
        record.lock().unwrap().push(id.to_owned());
    };
    let mut front = Front::start(&settings(vec![server_of("1", &radhold)]), MACHINE, Some(Arc::new(observer))).unwrap();
    let mut classes = Vec::new();
    for _ in 0..2 {
        let ran = login_pap(&front);
        classes.push(received(&ran, "Class").unwrap().to_owned());
    }
    let account = |front: &Front, class: &str, port, status| {
        let attributes = format!(
            "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = \"%lX6b000862%hX\", NAS-Port = {port}, \
             Calling-Station-Id = \"10.90.0.2\", Framed-IP-Address = 10.93.0.{port}, Class = {class}"
        );
        let ran = radclient(front.accounting()[0], "acct", INNER, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    account(&front, &classes[0], 2, "Start");
    account(&front, &classes[1], 3, "Start");
    let ids = || -> Vec<String> {
        let all = radhold.sessions();
        all.iter()
            .map(|session| session["identity"]["acct_session_id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let before = ids();
    assert_eq!(before.len(), 2);
    assert_ne!(before[0], before[1]);
    assert!(before.iter().all(|id| id.starts_with("6b000862-")), "{before:?}");
    let told = seen.lock().unwrap().clone();
    assert_eq!(told, [before[1].clone(), before[0].clone()], "the newest session is listed first");

    drop(front);
    front = self::front(vec![server_of("1", &radhold)]);
    account(&front, &classes[0], 2, "Stop");
    let sessions = radhold.sessions();
    let state = |class_of: usize| sessions[1 - class_of]["state"].clone();
    assert_eq!((state(0), state(1)), ("closed".into(), "held".into()), "{sessions:#?}");
    assert_eq!(ids(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_server_is_killed_the_next_one_answers_and_it_comes_back() {
    let (mut first, second) = (server(), server());
    let front = front(vec![server_of("1", &first), server_of("2", &second)]);
    assert_eq!(login_pap(&front).code, 0);
    until_offered([&first, &second], [1, 0]).await;

    first.kill();
    // A closed port is noticed at once: a front that waited for its time would not be done before pppd has given up.
    drop(front);
    let hasty = config::Front {
        fail_over_after: Duration::from_secs(3600),
        patience: Duration::from_secs(7200),
        ..settings(vec![server_of("1", &first), server_of("2", &second)])
    };
    let front = Front::start(&hasty, MACHINE, None).unwrap();
    let ran = login_pap(&front);
    assert_eq!(ran.code, 0, "{ran:?}");
    until_offered([&second], [1]).await;
    assert_eq!(front.servers().into_values().collect::<Vec<_>>(), [false, true]);

    first.restart();
    let begun = Instant::now();
    while front.servers().into_values().any(|there| !there) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the first was never found again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(login_pap(&front).code, 0);
    until_offered([&first, &second], [2, 1]).await;
}

/// Waits until servers have kept so many sessions: an offer is kept a moment after its Access-Accept.
async fn until_offered<const N: usize>(servers: [&Radhold; N], wanted: [usize; N]) {
    let begun = Instant::now();
    loop {
        let kept = servers.map(|server| server.sessions().len());
        if kept == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{kept:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_costs_its_time_once() {
    let (silent, good) = (Puppet::silent(), Puppet::new(|asked| Some(accept(asked))));
    let front = front(vec![silent.behind("1"), good.behind("2")]);
    let begun = Instant::now();
    let ran = login_pap(&front);
    let took = begun.elapsed();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(took >= Duration::from_millis(400), "{took:?}");
    let asked = silent.times(Code::AccessRequest);
    assert!(asked >= 1);

    assert_eq!(login_pap(&front).code, 0);
    assert_eq!(silent.times(Code::AccessRequest), asked, "the silent one is not asked while the other answers");
    let begun = Instant::now();
    while silent.times(Code::StatusServer) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "never probed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = good.asked.lock().unwrap()[0].clone();
    let asked = Packet::parse(&asked).unwrap();
    let _ = asked.verify_message_authenticator(OUTER.as_bytes()).expect("signed for the server");
    assert_eq!(asked.text(NAS_IDENTIFIER), Some("nas-1"));
    assert_eq!(asked.all(PROXY_STATE).count(), 1);
    assert_eq!(asked.text(USER_NAME), Some("alice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_asked_last_and_had_no_time_is_not_called_silent() {
    let (first, last) = (Puppet::silent(), Puppet::silent());
    // The second is asked when pppd's patience is nearly over.
    let settings = config::Front {
        fail_over_after: Duration::from_millis(2800),
        patience: Duration::from_millis(3200),
        probe_every: Duration::from_secs(3600),
        ..settings(vec![first.behind("1"), last.behind("2")])
    };
    let front = Front::start(&settings, MACHINE, None).unwrap();
    assert_ne!(login_pap(&front).code, 0);
    assert!(last.times(Code::AccessRequest) >= 1, "it was asked");
    assert_eq!(front.servers().into_values().collect::<Vec<_>>(), [false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_heard_after_the_next_one_was_asked() {
    let slow = Puppet::new(|asked| {
        std::thread::sleep(Duration::from_millis(900));
        Some(accept(asked))
    });
    let silent = Puppet::silent();
    let front = front(vec![slow.behind("1"), silent.behind("2")]);
    assert_eq!(login_pap(&front).code, 0);
    assert!(silent.times(Code::AccessRequest) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_without_message_authenticator_is_no_reply() {
    let old = Puppet::new(|asked| (asked.code() == Code::AccessRequest).then(|| accept_unsigned(asked)));
    let front_ = front(vec![old.behind("1")]);
    let ran = login_pap(&front_);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains("Received Access"), "{ran:?}");
    // Whoever must, may say that this server cannot.
    let trusting = FrontServer { require_message_authenticator: false, ..old.behind("1") };
    assert_eq!(login_pap(&front(vec![trusting])).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_get_nothing_through() {
    let good = Puppet::new(|asked| Some(accept(asked)));
    let with_wrong_secret = behind("1", good.address, good.address, "another secret altogether");
    let ran = login_pap(&front(vec![with_wrong_secret]));
    assert!(!ran.stdout.contains("Received Access"), "{ran:?}");

    let front = front(vec![good.behind("1")]);
    let attributes = "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7";
    let ran = radclient(front.accounting()[0], "acct", "not the secret", attributes);
    assert!(!ran.stdout.contains("Received Accounting"), "{ran:?}");
    assert_eq!(good.times(Code::AccountingRequest), 0);
    let ran = radclient(front.accounting()[0], "acct", INNER, attributes);
    assert_eq!(ran.code, 0, "{ran:?}");
    // An Access-Request at the accounting port is nothing to pass on.
    let ran = radclient(front.accounting()[0], "auth", INNER, "User-Name = alice, User-Password = x");
    assert!(!ran.stdout.contains("Received Access"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pppd_sends_twice_is_asked_once_and_answered_twice() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let server = Puppet::new(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(150));
        let mut builder = PacketBuilder::reply(asked, Code::AccessReject);
        builder.text(REPLY_MESSAGE, "no").unwrap();
        Some(builder.sign_reply(OUTER.as_bytes()).unwrap().to_vec())
    });
    let front = front(vec![server.behind("1")]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(front.auth()[0]).unwrap();
    let mut request = PacketBuilder::request(Code::AccessRequest, 7, [9; 16]);
    request.with_message_authenticator(false).text(USER_NAME, "alice").unwrap();
    let request = request.sign_request(INNER.as_bytes()).unwrap().to_vec();
    let mut replies = Vec::new();
    let mut buffer = [0; 4096];
    // Twice while it is in work: one answer. Once more afterwards: the same one.
    socket.send(&request).unwrap();
    socket.send(&request).unwrap();
    for again in [true, false] {
        let octets = socket.recv(&mut buffer).unwrap();
        let packet = Packet::parse(&buffer[..octets]).unwrap();
        let proof = packet.verify_reply(INNER.as_bytes(), &[9; 16]).unwrap();
        assert!(proof.message_authenticator());
        assert_eq!((packet.identifier(), packet.text(REPLY_MESSAGE)), (7, Some("no")));
        replies.push(packet.as_bytes().to_vec());
        if again {
            socket.send(&request).unwrap();
        }
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(!Packet::parse(&server.asked.lock().unwrap()[0]).unwrap().has(ACCT_SESSION_ID));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_said() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let silent = Puppet::silent();
    let settings = config::Front { auth: vec![address], ..settings(vec![silent.behind("1")]) };
    let error = Front::start(&settings, MACHINE, None).unwrap_err();
    assert!(matches!(error, FrontError::Port { address: said, .. } if said == address), "{error}");
}
