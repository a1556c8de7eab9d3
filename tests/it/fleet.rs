//! Many NASes of our own in one: logs people in by the hundred, and keeps the book of who was ended when.
//!
//! Speaks UDP from an address of its own, and turns to the next server when one is silent, as a NAS does.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use radhold::radius::{Code, Packet, PacketBuilder, attribute, hiding};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The secret of the fleet.
pub(crate) const SECRET: &str = "a secret of twenty-odd octets";
/// How long a server may be silent before it, or the next one, is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// Session gone (RFC 5176 §3.5, "Session Context Not Found").
const SESSION_GONE: u32 = 503;

/// The fleet.
#[derive(Clone)]
pub(crate) struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    address: Ipv4Addr,
    auth: Vec<SocketAddr>,
    accounting: Vec<SocketAddr>,
    book: Mutex<BTreeMap<u32, Life>>,
    chance: AtomicU64,
}

/// What the fleet knows of a session.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) class: Vec<u8>,
    /// When it was first asked for.
    pub(crate) asked: Instant,
    /// When the Access-Accept was here.
    pub(crate) accepted: Instant,
    /// When it was ended by Disconnect-Request.
    pub(crate) ended: Option<Instant>,
    /// Further Disconnect-Requests for it, each another packet.
    pub(crate) again: u32,
    pub(crate) stopped: bool,
}

impl Fleet {
    /// Where a fleet will be: its socket for Disconnect-Requests, and the address of that.
    pub(crate) async fn place() -> (UdpSocket, SocketAddr) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let [_, _, middle, low] = std::process::id().to_be_bytes();
        let nth = u8::try_from(NEXT.fetch_add(1, Ordering::Relaxed) % 60).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, nth + 2, middle, low.max(1)), 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// Starts it: obeys Disconnect-Requests at the socket, and asks these servers.
    pub(crate) fn start(socket: UdpSocket, auth: Vec<SocketAddr>, accounting: Vec<SocketAddr>) -> Self {
        let SocketAddr::V4(own) = socket.local_addr().unwrap() else { unreachable!("it was bound to IPv4") };
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let shared = Shared { address: *own.ip(), auth, accounting, book: Mutex::default(), chance: AtomicU64::new(1) };
        let fleet = Self { shared: Arc::new(shared) };
        tokio::spawn(fleet.clone().obey(socket));
        fleet
    }

    pub(crate) fn book(&self) -> BTreeMap<u32, Life> {
        self.shared.book.lock().unwrap().clone()
    }

    /// Logs a user in at the server of that number, or the next that answers; the code of the reply.
    pub(crate) async fn login(&self, nth: u32, user: &str, password: &str, server: usize) -> Code {
        let asked = Instant::now();
        let reply = self.ask(&self.shared.auth, server, &self.access_request(nth, user, password)).await;
        let reply = Packet::parse(&reply).unwrap();
        if reply.code() == Code::AccessAccept {
            let class = reply.first(attribute::CLASS).unwrap().to_vec();
            let life = Life { class, asked, accepted: Instant::now(), ended: None, again: 0, stopped: false };
            self.shared.book.lock().unwrap().insert(nth, life);
        }
        reply.code()
    }

    /// One Access-Request to one server, once: the code of the reply that came in time.
    pub(crate) async fn try_login(
        &self,
        nth: u32,
        user: &str,
        password: &str,
        server: usize,
        patience: Duration,
    ) -> Option<Code> {
        let socket = UdpSocket::bind((self.shared.address, 0)).await.unwrap();
        let request = self.access_request(nth, user, password);
        socket.send_to(&request, self.shared.auth[server]).await.unwrap();
        let mut buffer = [0; 4096];
        let length = timeout(patience, socket.recv(&mut buffer)).await.ok()?.unwrap();
        Some(Packet::parse(&buffer[..length]).unwrap().code())
    }

    /// Sends an Accounting-Request of this Acct-Status-Type until it is answered.
    pub(crate) async fn account(&self, nth: u32, status: u32, octets: u32, server: usize) {
        let request = self.accounting_request(nth, status, octets);
        self.ask(&self.shared.accounting, server, &request).await;
        if status == 2 {
            self.shared.book.lock().unwrap().get_mut(&nth).unwrap().stopped = true;
        }
    }

    /// The octets of an Access-Request.
    pub(crate) fn access_request(&self, nth: u32, user: &str, password: &str) -> Vec<u8> {
        let authenticator = self.octets();
        let mut request = PacketBuilder::request(Code::AccessRequest, authenticator[0], authenticator);
        let hidden = hiding::hide_user_password(password.as_bytes(), SECRET.as_bytes(), &authenticator).unwrap();
        request.text(attribute::USER_NAME, user).unwrap();
        request.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
        request.integer(attribute::NAS_PORT, nth).unwrap();
        request.sign_request(SECRET.as_bytes()).unwrap().to_vec()
    }

    /// The octets of an Accounting-Request.
    pub(crate) fn accounting_request(&self, nth: u32, status: u32, octets: u32) -> Vec<u8> {
        let class = self.shared.book.lock().unwrap()[&nth].class.clone();
        let mut request = PacketBuilder::request(Code::AccountingRequest, self.octets()[0], [0; 16]);
        request.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
        request.text(attribute::ACCT_SESSION_ID, &format!("{nth:08}")).unwrap();
        request.integer(attribute::NAS_PORT, nth).unwrap().text(attribute::USER_NAME, "alice").unwrap();
        request.integer(attribute::ACCT_INPUT_OCTETS, octets).unwrap();
        request.integer(attribute::ACCT_SESSION_TIME, octets).unwrap();
        request.attribute(attribute::CLASS, &class).unwrap();
        request.sign_request(SECRET.as_bytes()).unwrap().to_vec()
    }

    /// Asks, from a port of its own, until somebody answers.
    pub(crate) async fn ask(&self, servers: &[SocketAddr], first: usize, request: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind((self.shared.address, 0)).await.unwrap();
        let asked = Packet::parse(request).unwrap();
        let mut buffer = [0; 4096];
        for attempt in 0.. {
            let server = servers[(first + attempt) % servers.len()];
            // A server that is gone refuses; the next one is asked.
            let _ = socket.send_to(request, server).await;
            let deadline = Instant::now() + RETRY;
            while let Ok(received) = tokio::time::timeout_at(deadline, socket.recv(&mut buffer)).await {
                let Ok(length) = received else { continue };
                let reply = Packet::parse(&buffer[..length]).unwrap();
                // A late answer to whoever had this port before is none.
                if reply.identifier() == asked.identifier()
                    && reply.verify_reply(SECRET.as_bytes(), asked.authenticator()).is_ok()
                {
                    return buffer[..length].to_vec();
                }
            }
            assert!(attempt < 90, "nobody answers");
        }
        unreachable!()
    }

    /// Keeps the book of Disconnect-Requests, and sends the Stops.
    async fn obey(self, socket: UdpSocket) {
        let mut answered: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut stops = JoinSet::new();
        let mut buffer = [0; 4096];
        loop {
            while stops.try_join_next().is_some() {}
            let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
            let request = buffer[..length].to_vec();
            let answer = match answered.get(&request) {
                Some(answer) => answer.clone(),
                None => {
                    let (answer, ended) = self.judge(&Packet::parse(&request).unwrap());
                    if let Some(nth) = ended {
                        let fleet = self.clone();
                        stops.spawn(async move { fleet.account(nth, 2, 9, nth as usize).await });
                    }
                    answered.insert(request, answer.clone());
                    answer
                }
            };
            socket.send_to(&answer, source).await.unwrap();
        }
    }

    fn judge(&self, request: &Packet<'_>) -> (Vec<u8>, Option<u32>) {
        assert_eq!(request.code(), Code::DisconnectRequest, "nobody approves anything here");
        let nth: u32 = request.text(attribute::ACCT_SESSION_ID).unwrap().parse().unwrap();
        let mut book = self.shared.book.lock().unwrap();
        let life = book.get_mut(&nth).unwrap();
        let first = life.ended.is_none();
        let mut reply = PacketBuilder::reply(request, if first { Code::DisconnectAck } else { Code::DisconnectNak });
        if first {
            life.ended = Some(Instant::now());
        } else {
            life.again += 1;
            reply.integer(attribute::ERROR_CAUSE, SESSION_GONE).unwrap();
        }
        (reply.sign_reply(SECRET.as_bytes()).unwrap().to_vec(), first.then_some(nth))
    }

    /// The section of the configuration that makes servers know the fleet.
    pub(crate) fn section(address: SocketAddr) -> String {
        let IpAddr::V4(ip) = address.ip() else { unreachable!("it was bound to IPv4") };
        format!("[nas.fleet]\naddress = \"{ip}\"\nsecret = \"{SECRET}\"\ncoa_port = {}\n", address.port())
    }

    /// Sixteen octets that never come again.
    fn octets(&self) -> [u8; 16] {
        let count = self.shared.chance.fetch_add(1, Ordering::Relaxed);
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&count.to_le_bytes());
        octets[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        octets
    }
}
