//! UDP ports: datagrams in, several to a call where several wait; replies out from the address and port they came to, also on a
//! host with many addresses. Knows nothing of their content.

mod departures;
mod drops;
mod open;
mod outbox;
mod receive;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use tokio::time::Instant;

use self::departures::{Departure, Departures, Leaving, in_time};
pub use self::drops::KernelDrops;
pub use self::open::{RECEIVE_BUFFER, bind, bind_shared};
pub use self::outbox::Outbox;
pub use self::receive::{Arrival, Taker, WayBack, receive, receive_on_this_thread};
use super::radsec;

/// A reply for which the system has no room is tried again after this,
const PAUSE: Duration = Duration::from_millis(1);
/// and for so long: whoever asked has then been waiting long enough to ask again.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// A reply that leaves with others is not fragmented on its way, so it must be short enough for any link (RFC 8200 §5).
const LONGEST: usize = 1200;
/// Replies that leave together, at most. The system's own bound is twice that.
const SEGMENTS: usize = 32;

/// A UDP port, or one of the sockets that share it.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Several addresses of this host lead here, so that each reply must say which it leaves from.
    any_address: bool,
    departures: Departures,
}

impl UdpPort {
    /// Its address; port 0 has become one.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Octets of the receive buffer that the system granted.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive_buffer(&self) -> io::Result<usize> {
        // The system tells twice what was asked for, to have room for its own (socket(7), SO_RCVBUF).
        Ok(self.state.recv_buffer_size(UdpSockRef::from(&self.socket))? / 2)
    }

    /// Hands datagrams to one peer, each of so many octets but the last, which may be shorter, to the system in one call (UDP_SEGMENT, udp(7)).
    fn transmit_segments(&self, contents: &[u8], each: usize, to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size: Some(each), src_ip: from };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    fn transmit(&self, reply: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
        match from {
            // Only one address to leave from: the system need not be told, which costs a fifth of a sending.
            None => self.socket.send_to(reply, to).map(drop),
            Some(_) => {
                let transmit =
                    Transmit { destination: to, ecn: None, contents: reply, segment_size: None, src_ip: from };
                self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
            }
        }
    }
}

/// Where the reply to a request goes.
#[derive(Debug, Clone)]
pub struct Replier(Way);

#[derive(Debug, Clone)]
enum Way {
    Datagram { port: Arc<UdpPort>, to: SocketAddr, from: Option<IpAddr> },
    Link(radsec::WayBack),
}

impl Replier {
    /// A reply down a TLS connection.
    pub(super) fn link(way: radsec::WayBack) -> Self {
        Self(Way::Link(way))
    }

    fn datagram(port: &Arc<UdpPort>, to: SocketAddr, from: Option<IpAddr>) -> Self {
        Self(Way::Datagram { port: Arc::clone(port), to, from })
    }

    /// Sends a reply. A reply that cannot be sent is lost like any datagram; the NAS asks again.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&self, reply: &[u8]) -> io::Result<()> {
        in_time(Instant::now() + PATIENCE, || self.send_now(reply)).await
    }

    /// Sends a reply as [`Self::send`] does, with those of other tasks to the same peer that are ready at about the same moment. `settled` hears
    /// what became of it, then or a little later.
    pub async fn send_with_others(&self, reply: Vec<u8>, settled: fn(SocketAddr, &[u8], io::Result<()>)) {
        match &self.0 {
            Way::Datagram { port, to, from } => port.departures.send(port, (*to, *from), reply, settled).await,
            Way::Link(way) => settled(way.link.peer, &reply, self.send(&reply).await),
        }
    }

    /// Sends replies as [`Self::send`] does, those to one peer that are alike long together. What has not left then is tried once. `settled` hears
    /// what became of each.
    pub async fn send_all(
        replies: Vec<(Self, Vec<u8>)>,
        until: Instant,
        settled: fn(SocketAddr, &[u8], io::Result<()>),
    ) {
        let mut by_port: Vec<(Arc<UdpPort>, Vec<Departure>)> = Vec::new();
        for (replier, reply) in replies {
            match replier.0 {
                Way::Datagram { port, to, from } => {
                    let departure = Departure { to, from, reply };
                    match by_port.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &port)) {
                        Some((_, departures)) => departures.push(departure),
                        None => by_port.push((port, vec![departure])),
                    }
                }
                Way::Link(_) => settled(replier.peer(), &reply, replier.send_now(&reply)),
            }
        }
        for (port, departures) in by_port {
            Leaving::new(&port, departures, settled).leave(until).await;
        }
    }

    /// Sends a reply if that can be done without waiting.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when it has no room now.
    pub fn send_now(&self, reply: &[u8]) -> io::Result<()> {
        match &self.0 {
            Way::Datagram { port, to, from } => port.transmit(reply, *to, *from),
            Way::Link(way) => way.link.send(reply).map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error)),
        }
    }

    /// The peer.
    pub fn peer(&self) -> SocketAddr {
        match &self.0 {
            Way::Datagram { to, .. } => *to,
            Way::Link(way) => way.link.peer,
        }
    }

    /// The number of the TLS connection it goes down; zero for a datagram.
    pub fn connection(&self) -> u64 {
        match &self.0 {
            Way::Datagram { .. } => 0,
            Way::Link(way) => way.link.number,
        }
    }
}
