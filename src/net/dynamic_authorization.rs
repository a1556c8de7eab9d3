//! The socket side of the Dynamic Authorization Client: sends CoA-Requests and Disconnect-Requests and waits for
//! their answers.
//!
//! When to send again, which Identifier to use and what an answer means is `dynauth`'s. Knows no session, and has no
//! opinion on what becomes of an unanswered request.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::dynauth::{Answer, Identifiers, Next, NoneFree, Request, RequestKind, Schedule, Timers, Unfit, read_answer};
use crate::model::{Secret, Timestamp};
use crate::radius::{EncodeError, MAX_PACKET, Packet};

/// Octets asked of the system for answers not yet read; a burst must not cost a retransmission.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A Dynamic Authorization Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it listens. Its answers must come from there.
    pub address: SocketAddr,
    /// What our packets must come from; port 0 is any. `None` leaves it to the system.
    pub source: Option<SocketAddr>,
    /// The secret shared with it.
    pub secret: Secret,
}

/// The times of the Dynamic Authorization Client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Retransmission, RFC 5080 §2.2.1.
    pub timers: Timers,
    /// How long an Identifier rests after an answer: a retransmission may yet be answered, too.
    pub rest_answered: Duration,
    /// How long an Identifier rests after none came: a slow answer may be on its way.
    pub rest_unanswered: Duration,
    /// How long a request waits for an Identifier while 256 others to the same server are in flight or resting.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            rest_answered: Duration::from_secs(1),
            rest_unanswered: Duration::from_secs(30),
            patience: Duration::from_secs(10),
        }
    }
}

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The source address cannot be used.
    #[error("cannot send from {from}: {error}")]
    Bind {
        /// The address.
        from: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Source and server are not of the same family.
    #[error("cannot send from {from} to {to}: one is IPv4, the other IPv6")]
    Family {
        /// The source.
        from: SocketAddr,
        /// The server.
        to: SocketAddr,
    },
    /// The attributes make no packet.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// 256 requests to this server are in flight or have just been: try again later.
    #[error("too many requests to {0} in flight")]
    Busy(SocketAddr),
}

/// What has been sent and what has come, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests, without their retransmissions.
    pub requests: u64,
    /// Retransmissions.
    pub retransmissions: u64,
    /// Transmissions that the system refused.
    pub not_transmitted: u64,
    /// Requests acknowledged.
    pub acked: u64,
    /// Requests refused by the NAS.
    pub naked: u64,
    /// Requests without a valid answer.
    pub unanswered: u64,
    /// Datagrams that are no RADIUS packet.
    pub malformed: u64,
    /// Packets that answer no request in flight: late, repeated, or a stranger's.
    pub unasked: u64,
    /// Answers with a wrong Response Authenticator or Message-Authenticator.
    pub forged: u64,
    /// Genuine answers with a code that does not answer the request.
    pub misplaced: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    retransmissions: AtomicU64,
    not_transmitted: AtomicU64,
    acked: AtomicU64,
    naked: AtomicU64,
    unanswered: AtomicU64,
    malformed: AtomicU64,
    unasked: AtomicU64,
    forged: AtomicU64,
    misplaced: AtomicU64,
}

/// Sends CoA-Requests and Disconnect-Requests, any number at once.
///
/// Lives inside a tokio runtime. One socket per source address serves all servers; dropping the client closes them all
/// once the requests in flight have ended.
#[derive(Debug)]
pub struct DynamicAuthorizationClient {
    settings: Settings,
    now: fn() -> Timestamp,
    chance: fn() -> u32,
    counters: Arc<Counters>,
    /// By source address. Without one, by the unspecified address of the server's family.
    sockets: Mutex<BTreeMap<SocketAddr, Arc<Socket>>>,
}

impl DynamicAuthorizationClient {
    /// A client without sockets; they are opened when first needed. `chance` gives numbers uniform over all values.
    pub fn new(settings: Settings, now: fn() -> Timestamp, chance: fn() -> u32) -> Self {
        Self { settings, now, chance, counters: Arc::default(), sockets: Mutex::default() }
    }

    /// Opens the socket for a source address now, so that a wrong one shows at start rather than at the first button.
    ///
    /// # Errors
    /// [`SendError::Bind`].
    pub fn bind(&self, source: SocketAddr) -> Result<(), SendError> {
        self.shared_socket(source).map(drop)
    }

    /// Sends the request, and again until an answer comes or the schedule ends. Every retransmission is the same packet
    /// from the same port (RFC 5176 §2.3).
    ///
    /// Takes as long as [`Settings::timers`] allows, and up to [`Settings::patience`] before. Dropping the future gives
    /// the request up.
    ///
    /// # Errors
    /// [`SendError`] when nothing was sent at all. A network that refuses packets is like a NAS that does not answer.
    pub async fn send(&self, target: &Target, request: &Request) -> Result<Answer, SendError> {
        let socket = self.socket(target, request.fresh_port)?;
        let patience =
            timeout(self.settings.patience, Flight::begin(socket, target.address, self.settings, self.chance));
        let mut flight = patience.await.map_err(|_| SendError::Busy(target.address))?;
        let packet = request.encode(flight.identifier, (self.now)(), target.secret.expose())?;
        let mut answer = flight.expect(request.kind, &target.secret, &packet);
        count(&self.counters.requests);
        let mut schedule = Schedule::new(self.settings.timers);
        loop {
            // A refusal (no route, full buffer) may pass, like a packet that is lost.
            if flight.socket.inner.udp.send_to(&packet, target.address).await.is_err() {
                count(&self.counters.not_transmitted);
            }
            let next = schedule.transmitted((self.chance)());
            let (Next::Retransmit(wait) | Next::GiveUp(wait)) = next;
            if let Ok(Ok(answer)) = timeout(wait, &mut answer).await {
                flight.answered = true;
                count(if answer == Answer::Acked { &self.counters.acked } else { &self.counters.naked });
                return Ok(answer);
            }
            if matches!(next, Next::GiveUp(_)) {
                count(&self.counters.unanswered);
                return Ok(Answer::Unanswered);
            }
            count(&self.counters.retransmissions);
        }
    }

    /// Sends the requests one after the other, each when the one before was acknowledged, and gives the first answer
    /// that is no acknowledgement, or [`Answer::Acked`] when there is none.
    ///
    /// # Errors
    /// As [`DynamicAuthorizationClient::send`]; requests before may have been acknowledged then.
    pub async fn send_each(&self, target: &Target, requests: &[Request]) -> Result<Answer, SendError> {
        for request in requests {
            match self.send(target, request).await? {
                Answer::Acked => {}
                answer => return Ok(answer),
            }
        }
        Ok(Answer::Acked)
    }

    /// What has been sent and what has come so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            requests: read(&counters.requests),
            retransmissions: read(&counters.retransmissions),
            not_transmitted: read(&counters.not_transmitted),
            acked: read(&counters.acked),
            naked: read(&counters.naked),
            unanswered: read(&counters.unanswered),
            malformed: read(&counters.malformed),
            unasked: read(&counters.unasked),
            forged: read(&counters.forged),
            misplaced: read(&counters.misplaced),
        }
    }

    fn socket(&self, target: &Target, fresh: bool) -> Result<Arc<Socket>, SendError> {
        let unspecified: SocketAddr = match target.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut source = target.source.unwrap_or(unspecified);
        if source.is_ipv4() != target.address.is_ipv4() {
            return Err(SendError::Family { from: source, to: target.address });
        }
        if fresh {
            // Of a configured source, the address stays and the port cannot.
            source.set_port(0);
            return self.open(source);
        }
        self.shared_socket(source)
    }

    fn shared_socket(&self, source: SocketAddr) -> Result<Arc<Socket>, SendError> {
        let mut sockets = lock(&self.sockets);
        if let Some(socket) = sockets.get(&source) {
            return Ok(Arc::clone(socket));
        }
        let socket = self.open(source)?;
        sockets.insert(source, Arc::clone(&socket));
        Ok(socket)
    }

    fn open(&self, source: SocketAddr) -> Result<Arc<Socket>, SendError> {
        let bind = || -> io::Result<UdpSocket> {
            let socket = std::net::UdpSocket::bind(source)?;
            // Room for the answers to a full set of Identifiers at several servers. The system may grant less.
            let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        let udp = bind().map_err(|error| SendError::Bind { from: source, error })?;
        let inner = Arc::new(Inner {
            udp,
            opened: Instant::now(),
            counters: Arc::clone(&self.counters),
            state: Mutex::default(),
        });
        Ok(Arc::new(Socket { receiver: tokio::spawn(receive(Arc::clone(&inner))), inner }))
    }
}

/// A socket, and the task that reads it.
#[derive(Debug)]
struct Socket {
    inner: Arc<Inner>,
    receiver: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

#[derive(Debug)]
struct Inner {
    udp: UdpSocket,
    opened: Instant,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One lane per server: as many as there are NASes.
    lanes: BTreeMap<SocketAddr, Lane>,
    expected: BTreeMap<(SocketAddr, u8), Expected>,
}

/// What is between this socket and one server.
#[derive(Debug)]
struct Lane {
    identifiers: Identifiers,
    /// Hands out the 256 places in the order they were asked for.
    places: Arc<Semaphore>,
}

/// A request in flight, as its answer is checked.
#[derive(Debug)]
struct Expected {
    kind: RequestKind,
    secret: Secret,
    request_authenticator: [u8; 16],
    answer: oneshot::Sender<Answer>,
}

async fn receive(inner: Arc<Inner>) {
    let mut buffer = [0; MAX_PACKET];
    loop {
        match inner.udp.recv_from(&mut buffer).await {
            Ok((octets, from)) => inner.arrived(&buffer[..octets], from),
            // Nothing the socket reports is about one request; it must not become a busy loop.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Inner {
    fn arrived(&self, datagram: &[u8], from: SocketAddr) {
        let Ok(packet) = Packet::parse(datagram) else {
            return count(&self.counters.malformed);
        };
        let key = (from, packet.identifier());
        let mut state = lock(&self.state);
        let Some(expected) = state.expected.get(&key) else {
            return count(&self.counters.unasked);
        };
        match read_answer(expected.kind, &packet, expected.secret.expose(), &expected.request_authenticator) {
            Ok(answer) => {
                if let Some(expected) = state.expected.remove(&key) {
                    // Nobody waits any more: the request was given up this very moment.
                    let _ = expected.answer.send(answer);
                }
            }
            // The genuine answer may still come.
            Err(Unfit::Forged(_)) => count(&self.counters.forged),
            Err(Unfit::Code(_)) => count(&self.counters.misplaced),
        }
    }
}

/// An Identifier in use; given back when dropped.
struct Flight {
    socket: Arc<Socket>,
    server: SocketAddr,
    identifier: u8,
    settings: Settings,
    answered: bool,
    _place: OwnedSemaphorePermit,
}

impl Flight {
    async fn begin(socket: Arc<Socket>, server: SocketAddr, settings: Settings, chance: fn() -> u32) -> Self {
        let places = {
            let mut state = lock(&socket.inner.state);
            let lane = state.lanes.entry(server).or_insert_with(|| Lane {
                identifiers: Identifiers::new(chance().to_be_bytes()[0]),
                places: Arc::new(Semaphore::new(256)),
            });
            Arc::clone(&lane.places)
        };
        let place = places.acquire_owned().await.expect("nobody closes the semaphore");
        let opened = socket.inner.opened;
        let identifier = loop {
            let taken = match lock(&socket.inner.state).lanes.get_mut(&server) {
                Some(lane) => lane.identifiers.take(opened.elapsed()),
                None => Err(NoneFree::InFlight),
            };
            match taken {
                Ok(identifier) => break identifier,
                Err(NoneFree::RestingUntil(until)) => sleep_until(opened + until).await,
                // Cannot be while we hold one of 256 places; if it could, waiting would be right.
                Err(NoneFree::InFlight) => tokio::time::sleep(settings.rest_answered).await,
            }
        };
        Self { socket, server, identifier, settings, answered: false, _place: place }
    }

    /// Makes the answer to this packet known when it comes.
    fn expect(&self, kind: RequestKind, secret: &Secret, packet: &[u8]) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut request_authenticator = [0; 16];
        request_authenticator.copy_from_slice(&packet[4..20]);
        let expected = Expected { kind, secret: secret.clone(), request_authenticator, answer };
        lock(&self.socket.inner.state).expected.insert((self.server, self.identifier), expected);
        answered
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let rest = if self.answered { self.settings.rest_answered } else { self.settings.rest_unanswered };
        let until = self.socket.inner.opened.elapsed() + rest;
        let mut state = lock(&self.socket.inner.state);
        state.expected.remove(&(self.server, self.identifier));
        if let Some(lane) = state.lanes.get_mut(&self.server) {
            lane.identifiers.settle(self.identifier, until);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is behind these locks is whole at every moment, also when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
