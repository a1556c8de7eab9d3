//! The source ports of one address, and which Identifier of which port a request gets.
//!
//! An Identifier tells requests apart only together with the port it leaves from (RFC 5176 §2.3), so a burst to one server is as
//! wide as there are ports. The first stays open; those beyond it are opened when its Identifiers are used up, and closed when
//! they have not been needed for a while. Knows neither what is sent nor when it is sent again.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{Counters, Settings, count, lock};
use crate::dynauth::{Answer, Identifiers, NoneFree, RequestKind, Unfit, read_answer};
use crate::model::Secret;
use crate::radius::{MAX_PACKET, Packet};

/// Octets asked of the system for answers not yet read; a burst must not cost a retransmission.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The ports of one source address.
#[derive(Debug)]
pub(super) struct Ports {
    source: SocketAddr,
    settings: Settings,
    counters: Arc<Counters>,
    /// In the order they were opened, and are tried: those at the end become idle first.
    open: Mutex<Vec<Arc<Socket>>>,
    /// One per server: as many as there are NASes.
    queues: Mutex<BTreeMap<SocketAddr, Arc<Queue>>>,
}

/// Requests to one server that have no Identifier yet.
#[derive(Debug, Default)]
struct Queue {
    /// Whoever holds it is next; tokio's gives it in the order it was asked for.
    head: tokio::sync::Mutex<()>,
    /// An Identifier has come back.
    settled: Notify,
}

impl Ports {
    /// Opens the first one.
    pub(super) fn open(source: SocketAddr, settings: Settings, counters: Arc<Counters>) -> io::Result<Self> {
        let first = Socket::open(source, Arc::clone(&counters))?;
        let open = Mutex::new(vec![Arc::new(first)]);
        Ok(Self { source, settings, counters, open, queues: Mutex::default() })
    }

    /// An Identifier to this server, after those who asked before; waits for as long as there is none.
    pub(super) async fn flight(self: &Arc<Self>, server: SocketAddr, chance: fn() -> u32) -> Flight {
        let queue = Arc::clone(lock(&self.queues).entry(server).or_default());
        let _head = queue.head.lock().await;
        let (socket, identifier) = loop {
            match self.take(server, chance) {
                Ok(taken) => break taken,
                Err(Some(until)) => tokio::select! {
                    () = sleep_until(until) => (),
                    // It may rest for less time than the others.
                    () = queue.settled.notified() => (),
                },
                Err(None) => queue.settled.notified().await,
            }
        };
        Flight {
            socket,
            server,
            identifier,
            rest: self.settings.rest_unanswered,
            rest_answered: self.settings.rest_answered,
            queue: Arc::clone(&queue),
        }
    }

    /// From the first port that has one; else when the next one is free, if none must come back first.
    fn take(self: &Arc<Self>, server: SocketAddr, chance: fn() -> u32) -> Result<(Arc<Socket>, u8), Option<Instant>> {
        let mut open = lock(&self.open);
        let mut soonest = None;
        for socket in open.iter() {
            match socket.inner.take(server, chance) {
                Ok(identifier) => return Ok((Arc::clone(socket), identifier)),
                Err(NoneFree::InFlight) => (),
                Err(NoneFree::RestingUntil(until)) => {
                    let until = socket.inner.opened + until;
                    soonest = Some(soonest.map_or(until, |soonest: Instant| soonest.min(until)));
                }
            }
        }
        // A configured port is what a firewall lets through. When the system has no more, those there are must do.
        if self.source.port() == 0
            && open.len() < self.settings.ports
            && let Ok(socket) = Socket::open(self.source, Arc::clone(&self.counters))
        {
            let socket = Arc::new(socket);
            open.push(Arc::clone(&socket));
            tokio::spawn(close_when_idle(Arc::downgrade(self), Arc::downgrade(&socket), self.settings.port_idle));
            return match socket.inner.take(server, chance) {
                Ok(identifier) => Ok((socket, identifier)),
                Err(_) => Err(soonest),
            };
        }
        Err(soonest)
    }
}

/// Closes a port that has not been used for so long.
async fn close_when_idle(ports: Weak<Ports>, socket: Weak<Socket>, idle: Duration) {
    let mut until = Instant::now() + idle;
    loop {
        sleep_until(until).await;
        let (Some(ports), Some(socket)) = (ports.upgrade(), socket.upgrade()) else { return };
        // Nobody takes an Identifier of it while this is locked.
        let mut open = lock(&ports.open);
        match socket.inner.idle_since() {
            Some(since) if since + idle <= Instant::now() => {
                return open.retain(|other| !Arc::ptr_eq(other, &socket));
            }
            Some(since) => until = since + idle,
            None => until = Instant::now() + idle,
        }
    }
}

/// A socket, and the task that reads it.
#[derive(Debug)]
struct Socket {
    inner: Arc<Inner>,
    receiver: JoinHandle<()>,
}

impl Socket {
    fn open(source: SocketAddr, counters: Arc<Counters>) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(source)?;
        // Room for the answers to a full set of Identifiers at several servers. The system may grant less.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_nonblocking(true)?;
        let (udp, opened) = (UdpSocket::from_std(socket)?, Instant::now());
        let state = Mutex::new(State { lanes: BTreeMap::new(), expected: BTreeMap::new(), settled_at: opened });
        let inner = Arc::new(Inner { udp, opened, counters, state });
        Ok(Self { receiver: tokio::spawn(receive(Arc::clone(&inner))), inner })
    }
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

#[derive(Debug)]
struct State {
    /// What is between this socket and each server.
    lanes: BTreeMap<SocketAddr, Identifiers>,
    expected: BTreeMap<(SocketAddr, u8), Expected>,
    /// When an Identifier last came back.
    settled_at: Instant,
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
    fn take(&self, server: SocketAddr, chance: fn() -> u32) -> Result<u8, NoneFree> {
        let mut state = lock(&self.state);
        let lane = state.lanes.entry(server).or_insert_with(|| Identifiers::new(chance().to_be_bytes()[0]));
        lane.take(self.opened.elapsed())
    }

    /// Since when nothing is in flight; `None` when something is.
    fn idle_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.lanes.values().all(|lane| lane.in_flight() == 0).then_some(state.settled_at)
    }

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
pub(super) struct Flight {
    socket: Arc<Socket>,
    server: SocketAddr,
    identifier: u8,
    /// How long the Identifier rests afterwards.
    rest: Duration,
    rest_answered: Duration,
    queue: Arc<Queue>,
}

impl Flight {
    pub(super) fn identifier(&self) -> u8 {
        self.identifier
    }

    pub(super) async fn transmit(&self, packet: &[u8]) -> io::Result<usize> {
        self.socket.inner.udp.send_to(packet, self.server).await
    }

    /// Makes the answer to this packet known when it comes.
    pub(super) fn expect(&self, kind: RequestKind, secret: &Secret, packet: &[u8]) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut request_authenticator = [0; 16];
        request_authenticator.copy_from_slice(&packet[4..20]);
        let expected = Expected { kind, secret: secret.clone(), request_authenticator, answer };
        lock(&self.socket.inner.state).expected.insert((self.server, self.identifier), expected);
        answered
    }

    /// It was answered: only answers to its retransmissions may be on their way.
    pub(super) fn answered(&mut self) {
        self.rest = self.rest_answered;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let inner = &self.socket.inner;
        let until = inner.opened.elapsed() + self.rest;
        let mut state = lock(&inner.state);
        state.settled_at = Instant::now();
        state.expected.remove(&(self.server, self.identifier));
        if let Some(lane) = state.lanes.get_mut(&self.server) {
            lane.settle(self.identifier, until);
        }
        drop(state);
        self.queue.settled.notify_one();
    }
}
