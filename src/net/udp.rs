//! One UDP port: datagrams in, replies out from the port they came to. Knows nothing of their content.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::radius::MAX_PACKET;

/// Room for a burst of requests while the process is busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Opens a UDP port.
///
/// # Errors
/// What the system says; the caller knows which port it was.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can both be listened on.
        socket.set_only_v6(true)?;
    }
    // A smaller buffer than asked for is no reason not to serve.
    drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Where the reply to a datagram goes.
#[derive(Debug, Clone)]
pub struct Replier {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
}

impl Replier {
    /// Sends a reply. A reply that cannot be sent is lost like any datagram; the NAS asks again.
    pub async fn send(&self, reply: &[u8]) -> io::Result<()> {
        self.socket.send_to(reply, self.to).await.map(drop)
    }

    /// Sends a reply if that can be done without waiting. For repeats: the NAS repeats again.
    pub fn send_now(&self, reply: &[u8]) {
        // Lost like any datagram.
        drop(self.socket.try_send_to(reply, self.to));
    }

    /// The peer.
    pub fn peer(&self) -> SocketAddr {
        self.to
    }
}

/// Hands every datagram to `take`, for ever. Drop the future to stop.
pub async fn receive(socket: Arc<UdpSocket>, mut take: impl FnMut(&[u8], Replier)) {
    // One octet more than a packet may have, so that one too long is seen to be so.
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((octets, from)) => take(&buffer[..octets], Replier { socket: Arc::clone(&socket), to: from }),
            // An ICMP error of an earlier reply shows up here; it says nothing about the next datagram.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
