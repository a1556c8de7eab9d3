//! The socket side of the Dynamic Authorization Client: sends CoA-Requests and Disconnect-Requests and waits for
//! their answers.
//!
//! When to send again, which Identifier to use and what an answer means is `dynauth`'s. Knows no session, and has no
//! opinion on what becomes of an unanswered request.

mod ports;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use self::ports::Ports;
use super::radsec::{self, AskError, Link};
use crate::dynauth::{Answer, Next, Request, Schedule, Timers, read_answer};
use crate::model::{Secret, Timestamp};
use crate::radius::{EncodeError, Packet};

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
    /// How long a request waits for an Identifier while those of all ports to the same server are in flight or resting.
    pub patience: Duration,
    /// Source ports at most, when the system chooses them: each has 256 Identifiers of its own to each server (RFC 5176
    /// §2.3), so many times 256 requests a second can go to one. A port that is configured stays the only one.
    pub ports: usize,
    /// After how long without use a port beyond the first is closed. Longer than an Identifier rests: the system may give the same
    /// port again.
    pub port_idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timers: Timers::default(),
            rest_answered: Duration::from_secs(1),
            rest_unanswered: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            ports: 16,
            port_idle: Duration::from_secs(60),
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
    /// As many requests to this server as there are Identifiers are in flight or have just been: try again later.
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
/// Lives inside a tokio runtime. One socket per source address serves all servers, and more are opened for a while when
/// the Identifiers of that are used up; dropping the client closes them all once the requests in flight have ended.
#[derive(Debug)]
pub struct DynamicAuthorizationClient {
    settings: Settings,
    now: fn() -> Timestamp,
    chance: fn() -> u32,
    counters: Arc<Counters>,
    /// By source address. Without one, by the unspecified address of the server's family.
    sources: Mutex<BTreeMap<SocketAddr, Arc<Ports>>>,
}

impl DynamicAuthorizationClient {
    /// A client without sockets; they are opened when first needed. `chance` gives numbers uniform over all values.
    pub fn new(settings: Settings, now: fn() -> Timestamp, chance: fn() -> u32) -> Self {
        Self { settings, now, chance, counters: Arc::default(), sources: Mutex::default() }
    }

    /// Opens the socket for a source address now, so that a wrong one shows at start rather than at the first button.
    ///
    /// # Errors
    /// [`SendError::Bind`].
    pub fn bind(&self, source: SocketAddr) -> Result<(), SendError> {
        self.shared_ports(source).map(drop)
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
        let ports = self.ports(target, request.fresh_port)?;
        let flight = timeout(self.settings.patience, ports.flight(target.address, self.chance));
        let mut flight = flight.await.map_err(|_| SendError::Busy(target.address))?;
        let packet = request.encode(flight.identifier(), (self.now)(), target.secret.expose())?;
        let mut answer = flight.expect(request.kind, &target.secret, &packet);
        count(&self.counters.requests);
        let mut schedule = Schedule::new(self.settings.timers);
        loop {
            // A refusal (no route, full buffer) may pass, like a packet that is lost.
            if flight.transmit(&packet).await.is_err() {
                count(&self.counters.not_transmitted);
            }
            let next = schedule.transmitted((self.chance)());
            let (Next::Retransmit(wait) | Next::GiveUp(wait)) = next;
            if let Ok(Ok(answer)) = timeout(wait, &mut answer).await {
                flight.answered();
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

    /// Sends the request down a TLS connection, once: a stream loses nothing (RFC 6613 §2.6.1). Waits as long for its answer as
    /// retransmissions would take.
    ///
    /// # Errors
    /// [`SendError`] when nothing was sent at all. A connection that ends is like a NAS that does not answer.
    pub async fn send_over(&self, link: &Link, request: &Request) -> Result<Answer, SendError> {
        let secret = radsec::SECRET.as_bytes();
        let mut authenticator = [0; 16];
        let mut unwritten = None;
        let write = |identifier| match request.encode(identifier, (self.now)(), secret) {
            Ok(packet) => {
                authenticator.copy_from_slice(&packet[4..20]);
                Some(packet)
            }
            Err(error) => {
                unwritten = Some(error);
                None
            }
        };
        count(&self.counters.requests);
        let reply = match link.ask(self.settings.timers.mrd, write).await {
            Ok(reply) => reply,
            Err(AskError::Busy) => return Err(SendError::Busy(link.peer)),
            Err(AskError::Ended | AskError::Unwritten) => None,
        };
        if let Some(error) = unwritten {
            return Err(error.into());
        }
        let Some(reply) = reply else {
            count(&self.counters.unanswered);
            return Ok(Answer::Unanswered);
        };
        let answer =
            Packet::parse(&reply).ok().map(|packet| read_answer(request.kind, &packet, secret, &authenticator));
        match answer {
            Some(Ok(answer)) => {
                count(if answer == Answer::Acked { &self.counters.acked } else { &self.counters.naked });
                Ok(answer)
            }
            // Genuine, or the connection would have been ended; and no answer to this. Protocol-Error says as much.
            Some(Err(_)) | None => {
                count(&self.counters.misplaced);
                Ok(Answer::Naked(None))
            }
        }
    }

    /// As [`DynamicAuthorizationClient::send_each`], down a TLS connection.
    ///
    /// # Errors
    /// As [`DynamicAuthorizationClient::send_over`].
    pub async fn send_each_over(&self, link: &Link, requests: &[Request]) -> Result<Answer, SendError> {
        for request in requests {
            match self.send_over(link, request).await? {
                Answer::Acked => {}
                answer => return Ok(answer),
            }
        }
        Ok(Answer::Acked)
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

    fn ports(&self, target: &Target, fresh: bool) -> Result<Arc<Ports>, SendError> {
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
        self.shared_ports(source)
    }

    fn shared_ports(&self, source: SocketAddr) -> Result<Arc<Ports>, SendError> {
        let mut sources = lock(&self.sources);
        if let Some(ports) = sources.get(&source) {
            return Ok(Arc::clone(ports));
        }
        let ports = self.open(source)?;
        sources.insert(source, Arc::clone(&ports));
        Ok(ports)
    }

    fn open(&self, source: SocketAddr) -> Result<Arc<Ports>, SendError> {
        let opened = Ports::open(source, self.settings, Arc::clone(&self.counters));
        opened.map(Arc::new).map_err(|error| SendError::Bind { from: source, error })
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What is behind these locks is whole at every moment, also when a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
