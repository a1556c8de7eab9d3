//! One UDP port: datagrams in, several to a call where several wait; replies out from the address and port they came to, also on a
//! host with many addresses. Knows nothing of their content.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt::Ipv6DontFrag};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::radsec;

/// Room for a burst of requests while the process is busy.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Calls' worth of datagrams taken at once.
const AT_ONCE: usize = 8;
/// The system may put datagrams of one sender together, up to what a datagram can be.
const BUFFER: usize = 1 << 16;

/// A UDP port.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Several addresses of this host lead here, so that each reply must say which it leaves from.
    any_address: bool,
}

/// Opens a UDP port.
///
/// # Errors
/// What the system says; the caller knows which port it was.
pub fn bind(address: SocketAddr) -> io::Result<UdpPort> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can both be listened on.
        socket.set_only_v6(true)?;
    }
    // A smaller buffer than asked for is no reason not to serve.
    drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    allow_fragments(&socket, address)?;
    let socket = UdpSocket::from_std(socket.into())?;
    Ok(UdpPort { socket, state, any_address: address.ip().is_unspecified() })
}

/// A reply of up to 4096 octets (RFC 2865 §3) may be more than a link takes at once; QUIC, which the state is made for, wants none
/// that is.
fn allow_fragments(socket: &impl AsFd, address: SocketAddr) -> io::Result<()> {
    set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT)?;
    if address.is_ipv6() {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?;
        setsockopt(socket, Ipv6DontFrag, &false)?;
    }
    Ok(())
}

impl UdpPort {
    /// Its address; port 0 has become one.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn transmit(&self, reply: &[u8], to: SocketAddr, from: Option<IpAddr>) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents: reply, segment_size: None, src_ip: from };
        self.socket.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.socket), &transmit))
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

    /// Sends a reply. A reply that cannot be sent is lost like any datagram; the NAS asks again.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&self, reply: &[u8]) -> io::Result<()> {
        match &self.0 {
            Way::Datagram { port, to, from } => loop {
                match port.transmit(reply, *to, *from) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => port.socket.writable().await?,
                    sent => return sent,
                }
            },
            Way::Link(way) => way.link.send(reply).map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error)),
        }
    }

    /// Sends a reply if that can be done without waiting. For repeats: the NAS repeats again.
    pub fn send_now(&self, reply: &[u8]) {
        // Lost like any datagram.
        match &self.0 {
            Way::Datagram { port, to, from } => drop(port.transmit(reply, *to, *from)),
            Way::Link(way) => drop(way.link.send(reply)),
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

/// Hands every datagram to `take`, for ever. Drop the future to stop.
pub async fn receive(port: Arc<UdpPort>, mut take: impl FnMut(&[u8], Replier)) {
    let mut memory = vec![0; BUFFER * AT_ONCE];
    let mut metas = [RecvMeta::default(); AT_ONCE];
    loop {
        let received = {
            let mut rest = memory.chunks_mut(BUFFER);
            let mut buffers: [IoSliceMut<'_>; AT_ONCE] =
                std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
            let read = || port.state.recv(UdpSockRef::from(&port.socket), &mut buffers, &mut metas);
            port.socket.async_io(Interest::READABLE, read).await
        };
        // An ICMP error of an earlier reply shows up here; it says nothing about the next datagram.
        let Ok(received) = received else {
            tokio::task::yield_now().await;
            continue;
        };
        for (meta, octets) in metas[..received].iter().zip(memory.chunks(BUFFER)) {
            let from = meta.dst_ip.filter(|_| port.any_address);
            let replier = || Replier(Way::Datagram { port: Arc::clone(&port), to: meta.addr, from });
            match meta.stride {
                0 => take(&[], replier()),
                stride => octets[..meta.len].chunks(stride).for_each(|datagram| take(datagram, replier())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is sent to each address is answered from there, in the order it came, large or small or empty.
    #[tokio::test]
    async fn replies_leave_from_the_address_that_was_asked() {
        for (any, asked) in [("0.0.0.0:0", ["127.0.0.1", "127.9.8.7"]), ("[::]:0", ["::1", "::1"])] {
            let port = Arc::new(bind(any.parse().unwrap()).unwrap());
            let number = port.local_addr().unwrap().port();
            let serving = tokio::spawn(receive(Arc::clone(&port), |datagram, replier| replier.send_now(datagram)));
            for asked in asked {
                let to = SocketAddr::new(asked.parse().unwrap(), number);
                let client = UdpSocket::bind(any).await.unwrap();
                let sent = [vec![1; 20], vec![2; 4096], vec![], vec![3; 20], vec![4; 20]];
                for datagram in &sent {
                    client.send_to(datagram, to).await.unwrap();
                }
                for datagram in &sent {
                    let mut buffer = [0; 5000];
                    let answer = tokio::time::timeout(Duration::from_secs(30), client.recv_from(&mut buffer)).await;
                    let (octets, from) = answer.unwrap().unwrap();
                    assert_eq!((&buffer[..octets], from), (&datagram[..], to));
                }
            }
            serving.abort();
        }
    }

    #[tokio::test]
    async fn datagrams_may_be_fragmented() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let port = bind(any.parse().unwrap()).unwrap();
            let want = rustix::net::sockopt::ip_mtu_discover(&port.socket).unwrap();
            assert_eq!(want, Ipv4PathMtuDiscovery::WANT);
            if any.starts_with('[') {
                let forbidden = nix::sys::socket::getsockopt(&port.socket, Ipv6DontFrag).unwrap();
                let want = rustix::net::sockopt::ipv6_mtu_discover(&port.socket).unwrap();
                assert!(!forbidden && want == Ipv6PathMtuDiscovery::WANT);
            }
        }
    }
}
