//! Floods over real sockets: whose packets go unread, and whose never do. A NAS that may send only so many Access-Requests, and a server that
//! has too many of them to work on.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use radhold::app::clock;
use radhold::model::{SecondFactor, Secret, User};
use radhold::radius::{Code, Packet, PacketBuilder, attribute, hiding};
use radhold::store;

use crate::radhold::{PATIENCE, Radhold, message};

const SECRET: &str = "a secret of twenty-odd octets";
const PASSWORD: &str = "correct horse";

/// A source port that sends requests.
struct Port {
    socket: UdpSocket,
    sent: u8,
}

impl Port {
    fn open(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        Self { socket, sent: 0 }
    }

    /// A new Status-Server made with that secret.
    fn status(&mut self, secret: &str) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let mut builder = PacketBuilder::request(Code::StatusServer, self.sent, [self.sent; 16]);
        builder.sign_request(secret.as_bytes()).unwrap().to_vec()
    }

    /// A new Access-Request.
    fn login(&mut self) -> Vec<u8> {
        self.login_of("alice")
    }

    fn login_of(&mut self, user: &str) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let authenticator = [self.sent; 16];
        let hidden = hiding::hide_user_password(PASSWORD.as_bytes(), SECRET.as_bytes(), &authenticator).unwrap();
        let mut builder = PacketBuilder::request(Code::AccessRequest, self.sent, authenticator);
        builder.text(attribute::USER_NAME, user).unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
        builder.sign_request(SECRET.as_bytes()).unwrap().to_vec()
    }

    /// A new Accounting-Request of the session that was accepted with this Class.
    fn report(&mut self, status: u32, class: &[u8]) -> Vec<u8> {
        self.sent = self.sent.wrapping_add(1);
        let mut builder = PacketBuilder::request(Code::AccountingRequest, self.sent, [0; 16]);
        builder.integer(attribute::ACCT_STATUS_TYPE, status).unwrap().text(attribute::USER_NAME, "alice").unwrap();
        builder.text(attribute::ACCT_SESSION_ID, "s1").unwrap().attribute(attribute::CLASS, class).unwrap();
        builder.sign_request(SECRET.as_bytes()).unwrap().to_vec()
    }

    fn send(&self, packet: &[u8]) {
        self.socket.send(packet).unwrap();
    }

    /// The Identifiers answered from now on, until nothing came for so long.
    fn answered(&self, silence: Duration) -> Vec<u8> {
        self.socket.set_read_timeout(Some(silence)).unwrap();
        let mut octets = [0; 4096];
        let next = || {
            let length = self.socket.recv(&mut octets).ok()?;
            Some(Packet::parse(&octets[..length]).unwrap().identifier())
        };
        std::iter::from_fn(next).collect()
    }

    /// Waits for a packet.
    fn next(&self) -> Vec<u8> {
        self.next_within(PATIENCE).expect("an answer")
    }

    fn next_within(&self, patience: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut octets = [0; 4096];
        let length = self.socket.recv(&mut octets).ok()?;
        Some(octets[..length].to_vec())
    }

    /// Sends a request, and again as a NAS does, until it is answered.
    fn ask(&self, request: &[u8]) -> Vec<u8> {
        let begun = Instant::now();
        loop {
            self.send(request);
            while let Some(answer) = self.next_within(Duration::from_millis(500)) {
                if answer[1] == request[1] {
                    return answer;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "never answered");
        }
    }

    /// Waits for one answer.
    fn is_answered(&self) -> bool {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        self.socket.recv(&mut [0; 4096]).is_ok()
    }
}

fn counted(radhold: &Radhold, name: &str) -> u64 {
    radhold.counters().get(name).copied().unwrap_or(0)
}

/// Repeats `act` until the counter has grown by so much.
fn until_counted(radhold: &Radhold, name: &str, more: u64, mut act: impl FnMut()) {
    let (begun, before) = (Instant::now(), counted(radhold, name));
    while counted(radhold, name) < before + more {
        assert!(begun.elapsed() < PATIENCE, "never counted: {name} {:?}", radhold.counters());
        act();
    }
}

#[test]
fn a_port_that_floods_goes_unread_its_neighbour_does_not_and_one_that_has_proven_itself_never() {
    let radhold = Radhold::start(&format!("[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n"));
    let (mut flooder, mut neighbour) = (Port::open(radhold.auth), Port::open(radhold.auth));
    let flood = |port: &mut Port| {
        for round in 0..100 {
            let mut bad = port.status("another secret, not the NAS's");
            if round % 2 == 0 {
                bad.truncate(19);
            }
            port.send(&bad);
        }
    };
    until_counted(&radhold, "packet.flood", 100, || flood(&mut flooder));
    let line = |reason: &str| {
        radhold.log().iter().filter(|line| line["reason"] == reason && line["peer"] == "127.0.0.1").count()
    };
    assert_eq!((line("packet.flood"), line("message-authenticator-mismatch")), (1, 1), "{:#?}", radhold.log());

    let good = neighbour.status(SECRET);
    neighbour.send(&good);
    assert!(neighbour.is_answered(), "it shares the address, not the port");

    // Put right, it is heard again as its bucket fills, a packet a second.
    let begun = Instant::now();
    loop {
        let good = flooder.status(SECRET);
        flooder.send(&good);
        if !flooder.answered(Duration::from_millis(200)).is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", radhold.counters());
    }

    // From then on it cannot be silenced by what is forged in its name.
    let unread = counted(&radhold, "packet.flood");
    until_counted(&radhold, "message-authenticator-mismatch", 100, || flood(&mut flooder));
    for _ in 0..10 {
        let good = flooder.status(SECRET);
        flooder.send(&good);
        assert!(flooder.is_answered(), "{:?}", radhold.counters());
    }
    assert_eq!(counted(&radhold, "packet.flood"), unread);
}

#[test]
fn strangers_are_told_of_once_and_answered_never() {
    let radhold = Radhold::start(&format!("[nas.edge]\naddress = \"192.0.2.1\"\nsecret = \"{SECRET}\"\n"));
    let mut stranger = Port::open(radhold.auth);
    until_counted(&radhold, "packet.unknown-nas", 500, || {
        for _ in 0..100 {
            let packet = stranger.status(SECRET);
            stranger.send(&packet);
        }
    });
    assert_eq!(stranger.answered(Duration::from_millis(200)), [0_u8; 0]);
    let lines = radhold.log().iter().filter(|line| line["reason"] == "packet.unknown-nas").count();
    assert_eq!((lines, counted(&radhold, "packet.flood")), (1, 0), "they cost a lookup, not a place");
}

/// Each of more strangers than are told apart sends one packet.
#[test]
fn strangers_keep_nothing_that_is_said_of_a_nas_out_of_the_log() {
    let radhold = Radhold::start(&format!("[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n"));
    let mut nas = Port::open(radhold.auth);
    let mut strangers = (1..=12).flat_map(|net| (1..=250).map(move |host| [127, 1, net, host])).cycle();
    until_counted(&radhold, "packet.unknown-nas", 3000, || {
        for address in strangers.by_ref().take(500) {
            let stranger = UdpSocket::bind(SocketAddr::from((address, 0))).unwrap();
            stranger.send_to(&nas.status(SECRET), radhold.auth).unwrap();
        }
    });
    let lines = |reason: &str| radhold.log().iter().filter(|line| line["reason"] == reason).count();
    until_counted(&radhold, "message-authenticator-mismatch", 1, || {
        let bad = nas.status("another secret, not the NAS's");
        nas.send(&bad);
    });
    assert_eq!(lines("message-authenticator-mismatch"), 1);
    assert!((1..=1024).contains(&lines("packet.unknown-nas")), "{}", lines("packet.unknown-nas"));
}

/// An Access-Request may carry so many Proxy-States that the Access-Reject, with its Reply-Message, has no room for them.
#[test]
fn a_reply_that_fits_into_no_packet_takes_one_line_of_the_log() {
    let radhold = Radhold::start(&format!(
        "[server]\nreject_delay = \"0s\"\n[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n"
    ));
    let port = Port::open(radhold.auth);
    let mut sent = 0;
    until_counted(&radhold, "access.unwritable", 5, || {
        sent = u8::wrapping_add(sent, 1);
        let authenticator = [sent; 16];
        let hidden = hiding::hide_user_password(PASSWORD.as_bytes(), SECRET.as_bytes(), &authenticator).unwrap();
        let mut builder = PacketBuilder::request(Code::AccessRequest, sent, authenticator);
        builder.text(attribute::USER_NAME, "x").unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
        for _ in 0..15 {
            builder.attribute(attribute::PROXY_STATE, &[7; 253]).unwrap();
        }
        builder.attribute(attribute::PROXY_STATE, &[7; 190]).unwrap();
        port.send(builder.sign_request(SECRET.as_bytes()).unwrap());
    });
    let log = radhold.log();
    let is_said = |level: &serde_json::Value| level == "WARN" || level == "ERROR";
    let said: Vec<_> =
        log.iter().filter(|line| is_said(&line["level"]) && line["target"] != "radhold::app::server").collect();
    assert!(matches!(&said[..], [one] if one["reason"] == "access.unwritable"), "{said:#?}");
}

#[test]
fn a_nas_has_so_many_new_requests_a_second_and_everything_else_is_answered() {
    let toml = format!(
        "[server]\nmax_requests_per_second = 1\nreject_delay = \"0s\"\n[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n\
         [nas.other]\naddress = \"127.0.0.2\"\nsecret = \"{SECRET}\"\nmax_requests_per_second = 1000\n"
    );
    let radhold = Radhold::start(&toml);
    radhold.add_user("alice", PASSWORD, &["--no-second-factor", "--store-as", "clear"]);
    let mut port = Port::open(radhold.auth);
    let first = port.login();
    port.send(&first);
    assert!(port.is_answered());
    until_counted(&radhold, "packet.nas-overload", 20, || {
        for _ in 0..50 {
            let login = port.login();
            port.send(&login);
        }
    });
    let logged = radhold.log().iter().filter(|line| line["reason"] == "packet.nas-overload").count();
    assert_eq!(logged, 1, "{:#?}", radhold.log());
    let dropped = counted(&radhold, "packet.nas-overload");
    // A repeat, and Status-Server, count for nothing.
    let mut quiet = Port::open(radhold.auth);
    for _ in 0..10 {
        let status = quiet.status(SECRET);
        quiet.send(&status);
        assert!(quiet.is_answered());
    }
    let begun = Instant::now();
    let answered = loop {
        let login = quiet.login();
        quiet.send(&login);
        if !quiet.answered(Duration::from_millis(200)).is_empty() {
            break login;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", radhold.counters());
    };
    for _ in 0..10 {
        quiet.send(&answered);
        assert!(quiet.is_answered(), "a repeat gets the reply again");
    }
    assert!(counted(&radhold, "packet.nas-overload") >= dropped);
    // Another NAS has a bound of its own.
    let other = UdpSocket::bind("127.0.0.2:0").unwrap();
    other.connect(radhold.auth).unwrap();
    let mut other = Port { socket: other, sent: 0 };
    for _ in 0..10 {
        let login = other.login();
        other.send(&login);
        assert!(other.is_answered(), "{:?}", radhold.counters());
    }
}

#[test]
fn refusals_without_end_are_answered_and_some_of_them_written_down() {
    let toml = format!("[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\nreject_delay = \"0s\"\n");
    let radhold = Radhold::start(&toml);
    let mut refused = 0;
    until_counted(&radhold, "attempt.not-recorded", 100, || {
        let mut port = Port::open(radhold.auth);
        for _ in 0..250 {
            // Nobody is called alice here.
            let packet = port.login();
            port.send(&packet);
        }
        refused += port.answered(Duration::from_millis(200)).len();
    });
    let written = radhold.log().iter().filter(|line| message(line) == "Access-Request answered").count();
    assert!((1..refused).contains(&written), "{written} of {refused}: {:?}", radhold.counters());
    let not_written = counted(&radhold, "attempt.not-recorded");
    assert_eq!(written as u64 + not_written, refused as u64, "each is written down or counted");
}

#[test]
fn nobody_waits_for_whoever_does_not_read_the_log() {
    const PIPE: usize = 64 << 10;
    let toml = format!(
        "filter = \"trace\"\n[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\nreject_delay = \"0s\"\n"
    );
    let radhold = Radhold::start(&toml);
    let mut port = Port::open(radhold.auth);
    let before = radhold.log().len();
    radhold.while_its_log_is_not_read(|| {
        for _ in 0..200 {
            let packet = port.login();
            port.send(&packet);
            assert!(port.is_answered());
        }
    });
    radhold.counters();
    let logged: usize = radhold.log()[before..].iter().map(|line| line.to_string().len()).sum();
    assert!(logged > 2 * PIPE, "{logged} octets fit into the pipe");
}

/// An argon2id hash of nobody's password: a check against it keeps a core busy for seconds.
const HEAVY: &str = "$argon2id$v=19$m=196608,t=32,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// One place for logins, which somebody has whose password is slow to check.
#[tokio::test(flavor = "multi_thread")]
async fn with_too_many_logins_new_ones_go_unanswered_and_accounting_and_coa_go_on() {
    let coa = UdpSocket::bind("127.0.0.1:0").unwrap();
    coa.set_read_timeout(Some(PATIENCE)).unwrap();
    let radhold = tokio::task::block_in_place(|| {
        Radhold::start(&format!(
            "[server]\nmax_pending = 1\npassword_checks = 1\nreject_delay = \"0s\"\n\
             [dynauth]\ninitial_timeout = \"55s\"\nmax_timeout = \"55s\"\ntotal = \"60s\"\n\
             [nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\ncoa_port = {}\n",
            coa.local_addr().unwrap().port()
        ))
    });
    let url = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let slow = User { second_factor: SecondFactor::None, ..User::new("slow", Secret::new(HEAVY), clock::now()) };
    store::open(&url).await.unwrap().add_user(&slow).await.unwrap();
    tokio::task::block_in_place(|| while_one_is_checked(&radhold, &coa));
}

fn while_one_is_checked(radhold: &Radhold, coa: &UdpSocket) {
    const DROPPED: u64 = 20;
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    let (mut nas, mut books) = (Port::open(radhold.auth), Port::open(radhold.accounting));
    let mut other = Port::open(radhold.auth);
    let login = other.login();
    let accepted = other.ask(&login);
    let class = Packet::parse(&accepted).unwrap().first(attribute::CLASS).unwrap().to_vec();
    let start = books.report(1, &class);
    books.ask(&start);
    let session = radhold.until_state("held");
    let ran = radhold.cli(&["session", "approve", session["id"].as_str().unwrap(), "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut octets = [0; 4096];
    let (length, server) = coa.recv_from(&mut octets).unwrap();
    let order = Packet::parse(&octets[..length]).unwrap();
    assert_eq!(order.code(), Code::CoaRequest);

    let mut other = Port::open(radhold.auth);
    let slow = other.login_of("slow");
    other.send(&slow);
    // A repeat of what is in work is no new one.
    until_counted(radhold, "packet.repeat-in-work", 3, || other.send(&slow));
    assert_eq!(counted(radhold, "packet.overload"), 0);
    let dropped: Vec<_> = (0..DROPPED).map(|_| nas.login()).collect();
    dropped.iter().for_each(|login| nas.send(login));
    let status = nas.status(SECRET);
    nas.send(&status);
    assert_eq!(nas.next()[1], status[1], "the server is up, and none of those is answered");
    assert_eq!(counted(radhold, "packet.overload"), DROPPED);

    for _ in 0..5 {
        let interim = books.report(3, &class);
        books.ask(&interim);
    }
    let from = radhold.log().len();
    let mut ack = PacketBuilder::reply(&order, Code::CoaAck);
    coa.send_to(ack.sign_reply(SECRET.as_bytes()).unwrap(), server).unwrap();
    radhold.wait_for_log(from, |line| message(line) == "order carried out" && line["answer"] == "dynauth.ack");
    // So it was all the while.
    nas.send(&dropped[0]);
    let status = nas.status(SECRET);
    nas.send(&status);
    assert_eq!(nas.next()[1], status[1]);
    assert_eq!(counted(radhold, "packet.overload"), DROPPED + 1);
    let said = radhold.log().iter().filter(|line| line["reason"] == "packet.overload").count();
    assert_eq!(said, 1, "{:#?}", radhold.log());

    let refused = other.next_within(2 * PATIENCE).expect("it is worked on all the while");
    assert_eq!(refused[0], u8::from(Code::AccessReject));
    for login in dropped {
        assert_eq!(nas.ask(&login)[0], u8::from(Code::AccessAccept));
    }
    radhold.until_state("offered");
    assert_eq!(radhold.sessions().iter().filter(|session| session["state"] == "permitted").count(), 1);
}
