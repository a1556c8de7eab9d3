//! Datagrams in and out, many to a call. Knows nothing of what they say.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};

use crate::radius::MAX_PACKET;

/// Datagrams of a call.
pub(super) const AT_ONCE: usize = 64;
/// One octet more than a packet may have, so that a longer one is seen to be longer.
const OCTETS: usize = MAX_PACKET + 1;
/// Room for the answers to a burst; the system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Opens a source port for requests to that server, from that address or from any; `only` when it sends nowhere else, so that the
/// system lets nobody else's datagrams in and [`send`] need not be told the address.
pub(super) fn open(server: SocketAddr, source: Option<IpAddr>, only: bool) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0))?;
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    if only {
        socket.connect(server)?;
    }
    Ok(socket)
}

/// Where datagrams are received; one for all ports of a thread.
pub(super) struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    octets: Vec<u8>,
    /// How long each is, and where it came from.
    came: [(usize, Option<SocketAddr>); AT_ONCE],
}

impl Receiver {
    pub(super) fn new() -> Self {
        let headers = MultiHeaders::preallocate(AT_ONCE, None);
        Self { headers, octets: vec![0; OCTETS * AT_ONCE], came: [(0, None); AT_ONCE] }
    }

    /// Receives what waits at a port, as many as a call gives, and says how many these are. An error is no datagram: there is none, or
    /// nobody listens at the server's port, which is looked at again when something is sent again.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> usize {
        let mut rest = self.octets.chunks_mut(OCTETS);
        let mut slices: [[IoSliceMut<'_>; 1]; AT_ONCE] =
            std::array::from_fn(|_| [IoSliceMut::new(rest.next().unwrap_or_default())]);
        let received = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
        let Ok(received) = received else { return 0 };
        let mut count = 0;
        for (message, came) in received.zip(&mut self.came) {
            *came = (message.bytes, message.address.and_then(address));
            count += 1;
        }
        count
    }

    /// One of those just received.
    pub(super) fn datagram(&self, place: usize) -> (&[u8], Option<SocketAddr>) {
        let (octets, from) = self.came[place];
        (&self.octets[place * OCTETS..][..octets], from)
    }
}

fn address(from: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| from.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// Sends datagrams, at most [`AT_ONCE`], and says how many the system took. What it has no room for is lost like any datagram.
/// `None` for the address of a port that sends to one only.
pub(super) fn send<'a>(
    socket: &UdpSocket,
    datagrams: impl Iterator<Item = (&'a [u8], Option<&'a SocketAddrAny>)>,
) -> usize {
    let mut slices = [[IoSlice::new(&[])]; AT_ONCE];
    let mut to = [None; AT_ONCE];
    let mut count = 0;
    for ((octets, address), (slice, to)) in datagrams.zip(slices.iter_mut().zip(&mut to)) {
        (*slice, *to) = ([IoSlice::new(octets)], address);
        count += 1;
    }
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; AT_ONCE] = std::array::from_fn(|_| Default::default());
    let mut parts = slices.iter().zip(to).zip(&mut controls);
    let mut headers: [MMsgHdr<'_>; AT_ONCE] = std::array::from_fn(|_| {
        let ((slice, to), control) = parts.next().expect("as many as there are");
        match to {
            Some(to) => MMsgHdr::new_with_addr(to, slice, control),
            None => MMsgHdr::new(slice, control),
        }
    });
    let headers = &mut headers[..count];
    let sent = sendmmsg(socket, headers, SendFlags::empty());
    // That nobody listened when something was sent before is no reason to send nothing now.
    let sent = if sent == Err(Errno::CONNREFUSED) { sendmmsg(socket, headers, SendFlags::empty()) } else { sent };
    sent.unwrap_or(0)
}
