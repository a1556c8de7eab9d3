//! What passes between NAS, server and Dynamic Authorization Server, captured on the way and decoded by tshark: a reader of
//! RADIUS that is not ours finds nothing to complain of.
//!
//! The capture is written here, packet by packet, so no rights are needed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use radhold::cli::demo::nas::{Credentials, Login, Settings, SimulatedNas};
use radhold::radius::{Packet, vendor};
use tokio::net::UdpSocket;

use crate::das::{Das, SECRET};
use crate::radhold::{Radhold, Ran, radclient, received};

const PASSWORD: &str = "s3cret-pass";

/// The codes of RFC 2865, 2866, 5176 and 5997 (the last shares those of the others).
const CODES: [(u8, &str); 10] = [
    (1, "Access-Request"),
    (2, "Access-Accept"),
    (3, "Access-Reject"),
    (4, "Accounting-Request"),
    (5, "Accounting-Response"),
    (12, "Status-Server"),
    (40, "Disconnect-Request"),
    (41, "Disconnect-ACK"),
    (43, "CoA-Request"),
    (44, "CoA-ACK"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tshark_finds_nothing_malformed_in_a_whole_exchange() {
    let tap = Tap::default();
    let mut das = Das::start(&["ack-signed"]).await;
    let dynauth = tap.relay(das.address).await;
    let radhold = Radhold::start(&format!(
        r#"
        [server]
        reject_delay = "0s"
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        allow_ms_chap_v1 = true
        coa_port = {}
        "#,
        dynauth.port()
    ));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    let (auth, accounting) = (tap.relay(radhold.auth).await, tap.relay(radhold.accounting).await);

    for method in ["User-Password", "CHAP-Password", "MS-CHAP-Password"] {
        let (right, wrong) = (login(auth, method, PASSWORD, 1), login(auth, method, "wrong", 1));
        assert_eq!((right.code, wrong.code), (0, 1), "{method}: {right:?} {wrong:?}");
    }
    log_in_with_ms_chap_v2(auth, accounting).await;
    for (server, reply) in [(auth, "Access-Accept"), (accounting, "Accounting-Response")] {
        let status = radclient(server, "status", SECRET, "Message-Authenticator = 0x00");
        assert!(status.stdout.contains(&format!("Received {reply}")), "{status:?}");
    }
    for (port, verb, code) in [(7, "approve", 43), (8, "deny", 40)] {
        let accept = login(auth, "User-Password", PASSWORD, port);
        let class = received(&accept, "Class").unwrap();
        account(accounting, "Start", class, port);
        let session = radhold.until_state("held")["id"].as_str().unwrap().to_owned();
        assert_eq!(radhold.cli(&["session", verb, &session], "").code, 0);
        assert_eq!(das.next().await["code"], code);
        radhold.until_state(if code == 43 { "permitted" } else { "evicting" });
        for status in ["Interim-Update", "Stop"] {
            account(accounting, status, class, port);
        }
        radhold.until_state("closed");
    }

    let captured = tap.captured();
    let decoded = tshark(&radhold.path("exchange.pcap"), &captured, [auth, accounting, dynauth]);
    assert_eq!(decoded.len(), captured.len(), "every packet is RADIUS to tshark");
    let mut seen = BTreeMap::new();
    for (packet, datagram) in decoded.iter().zip(&captured) {
        let code = datagram.octets[0];
        assert_eq!(packet.code, Some(code), "{packet:?}");
        assert!(packet.complaints.is_empty() || packet.complaints == excused(&datagram.octets), "{packet:?}");
        assert!(!packet.invalid, "{packet:?}");
        assert_eq!(packet.valid, packet.answers, "{packet:?}");
        *seen.entry(code).or_insert(0) += 1;
    }
    // It checks every reply whose request it knows; Status-Server it does not take for one.
    let replies = decoded.iter().filter(|packet| matches!(packet.code, Some(2 | 3 | 5 | 41 | 44)));
    assert_eq!(replies.filter(|packet| !packet.answers).count(), 2, "{decoded:#?}");
    let codes: Vec<_> = seen.keys().copied().collect();
    assert_eq!(codes, CODES.map(|(code, _)| code), "{seen:?}");
    let filters = |code: u8| decoded.iter().filter(move |it| it.code == Some(code)).map(|it| it.filter.as_str());
    assert!(filters(2).filter(|filter| !filter.is_empty()).all(|filter| filter == "sandbox"));
    assert!(filters(43).all(|filter| filter == "permit"));
    let passwords: Vec<_> = decoded.iter().map(|it| it.password.as_str()).filter(|it| !it.is_empty()).collect();
    assert!(passwords.contains(&PASSWORD), "{passwords:?}");

    // The same reader does complain when there is something to complain of.
    let mut spoiled = captured.clone();
    for datagram in &mut spoiled {
        let last = datagram.octets.len() - 1;
        datagram.octets[last] ^= 1;
    }
    let decoded = tshark(&radhold.path("spoiled.pcap"), &spoiled, [auth, accounting, dynauth]);
    assert!(decoded.iter().any(|packet| packet.invalid));
    let mut cut = captured;
    for datagram in &mut cut {
        let last = datagram.octets.len() - 1;
        datagram.octets.truncate(last);
    }
    let decoded = tshark(&radhold.path("cut.pcap"), &cut, [auth, accounting, dynauth]);
    assert!(decoded.iter().any(|packet| !packet.complaints.is_empty()), "{decoded:#?}");
}

/// RFC 2548 §2.1.5: MS-CHAP-Error begins with an octet, the Ident of the response; tshark takes all of it for text, and when the
/// peer chose 0, for text behind its end.
fn excused(packet: &[u8]) -> &'static str {
    let packet = Packet::parse(packet).unwrap();
    let error = packet.vendor_first(vendor::MICROSOFT, vendor::microsoft::MS_CHAP_ERROR);
    if error.is_some_and(|error| error[0] == 0) { "Trailing stray characters" } else { "" }
}

fn login(auth: SocketAddr, method: &str, password: &str, port: u32) -> Ran {
    let attributes = format!(
        "User-Name = alice, {method} = {password}, NAS-Port = {port}, Calling-Station-Id = \"10.90.0.2\", \
         Message-Authenticator = 0x00, Proxy-State = 0x0102"
    );
    radclient(auth, "auth", SECRET, &attributes)
}

fn account(accounting: SocketAddr, status: &str, class: &str, port: u32) {
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a{port}, NAS-Port = {port}, \
         Calling-Station-Id = \"10.90.0.2\", Framed-IP-Address = 10.93.0.50, Class = {class}, \
         Acct-Input-Octets = 5, Acct-Input-Gigawords = 1, Acct-Output-Octets = 9"
    );
    let ran = radclient(accounting, "acct", SECRET, &attributes);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// radclient knows no MS-CHAPv2. The NAS checks the server's proof.
async fn log_in_with_ms_chap_v2(auth: SocketAddr, accounting: SocketAddr) {
    let settings = Settings {
        auth,
        accounting,
        dynauth: std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        secret: SECRET.into(),
        identifier: "lab".to_owned(),
        retry_after: Duration::from_secs(10),
        access_tries: 1,
    };
    let (nas, _seen) = SimulatedNas::start(settings).unwrap();
    for (password, accepted) in [(PASSWORD, true), ("wrong", false)] {
        let login = nas.login("alice", "10.90.0.3", &Credentials::MsChapV2(password.to_owned())).await.unwrap();
        assert_eq!(matches!(login, Login::Accepted { .. }), accepted, "{login:?}");
    }
}

// -- the tap

/// Between all of them, and remembers what passed.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<Datagram>>>);

#[derive(Debug, Clone)]
struct Datagram {
    at: Instant,
    from: SocketAddrV4,
    to: SocketAddrV4,
    octets: Vec<u8>,
}

impl Tap {
    /// Passes on what comes to the address it gives, and the answers back. In the capture that address is the server.
    async fn relay(&self, server: SocketAddr) -> SocketAddr {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        let (address, tap) = (front.local_addr().unwrap(), self.clone());
        tokio::spawn(async move {
            let mut backs: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
            let mut buffer = vec![0; 65_536];
            loop {
                // An ICMP error of an answer that found nobody says nothing about the next datagram.
                let Ok((length, client)) = front.recv_from(&mut buffer).await else { continue };
                tap.note(client, address, &buffer[..length]);
                if let Entry::Vacant(place) = backs.entry(client) {
                    let back = Arc::new(UdpSocket::bind((client.ip(), 0)).await.unwrap());
                    back.connect(server).await.unwrap();
                    tokio::spawn(tap.clone().answers(Arc::clone(&back), Arc::clone(&front), client));
                    place.insert(back);
                }
                backs[&client].send(&buffer[..length]).await.unwrap();
            }
        });
        address
    }

    async fn answers(self, back: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr) {
        let (address, mut buffer) = (front.local_addr().unwrap(), vec![0; 65_536]);
        while let Ok(length) = back.recv(&mut buffer).await {
            self.note(address, client, &buffer[..length]);
            front.send_to(&buffer[..length], client).await.unwrap();
        }
    }

    fn note(&self, from: SocketAddr, to: SocketAddr, octets: &[u8]) {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 only") };
        let mut seen = self.0.lock().unwrap();
        seen.push(Datagram { at: Instant::now(), from, to, octets: octets.to_vec() });
    }

    fn captured(&self) -> Vec<Datagram> {
        self.0.lock().unwrap().clone()
    }
}

// -- the capture file

/// The classic pcap format with LINKTYPE_RAW: each packet begins with its IP header. Times count from the first.
fn pcap(datagrams: &[Datagram]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2_u16, 4].map(u16::to_le_bytes).concat());
    file.extend([0_u32, 0, 65_535, 101].map(u32::to_le_bytes).concat());
    for datagram in datagrams {
        let at = datagram.at - datagrams[0].at;
        let packet = ipv4(datagram);
        let length = u32::try_from(packet.len()).unwrap();
        let seconds = u32::try_from(at.as_secs()).unwrap();
        file.extend([seconds, at.subsec_micros(), length, length].map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file
}

/// RFC 791 §3.1 and RFC 768; a UDP checksum of zero says that there is none.
fn ipv4(datagram: &Datagram) -> Vec<u8> {
    let udp = 8 + u16::try_from(datagram.octets.len()).unwrap();
    let mut head = vec![0x45, 0];
    head.extend([20 + udp, 0, 0x4000].map(u16::to_be_bytes).concat());
    head.extend([64, 17, 0, 0]);
    head.extend(datagram.from.ip().octets());
    head.extend(datagram.to.ip().octets());
    let sum: u32 = head.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    head[10..12].copy_from_slice(&(!u16::try_from(folded).unwrap()).to_be_bytes());
    head.extend([datagram.from.port(), datagram.to.port(), udp, 0].map(u16::to_be_bytes).concat());
    head.extend(&datagram.octets);
    head
}

// -- tshark

/// What tshark says of a packet.
#[derive(Debug)]
struct Decoded {
    code: Option<u8>,
    /// It is the reply to a request before it.
    answers: bool,
    /// The authenticator was checked, and it holds.
    valid: bool,
    invalid: bool,
    filter: String,
    /// As revealed with the secret.
    password: String,
    /// Malformed, or an expert's note or worse.
    complaints: String,
}

fn tshark(file: &Path, datagrams: &[Datagram], ports: [SocketAddr; 3]) -> Vec<Decoded> {
    std::fs::write(file, pcap(datagrams)).unwrap();
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(file);
    for port in ports {
        command.arg("-d").arg(format!("udp.port=={},radius", port.port()));
    }
    command.args(["-o", &format!("radius.shared_secret:{SECRET}"), "-o", "radius.validate_authenticator:TRUE"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"]);
    for field in [
        "frame.protocols",
        "radius.code",
        "radius.authenticator.valid",
        "radius.authenticator.invalid",
        "radius.Filter_Id",
        "radius.User_Password",
        "_ws.malformed",
        "_ws.expert.message",
        "radius.reqframe",
    ] {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap_or_else(|error| panic!("tshark: {error}; ./tests/run installs it"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let decode = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        // Ports are the system's choice, and some of these are traceroute's.
        let said = fields[7].split(';').filter(|said| !said.starts_with("Possible traceroute"));
        let mut complaints = [fields[6]].into_iter().chain(said).collect::<String>();
        if !fields[0].split(':').any(|protocol| protocol == "radius") {
            write!(complaints, "not RADIUS: {}", fields[0]).unwrap();
        }
        let is_set = |field: &str| matches!(field, "1" | "True");
        Decoded {
            code: fields[1].parse().ok(),
            answers: !fields[8].is_empty(),
            valid: is_set(fields[2]),
            invalid: is_set(fields[3]),
            filter: fields[4].to_owned(),
            password: fields[5].to_owned(),
            complaints,
        }
    };
    text.lines().map(decode).collect()
}
