//! Opening UDP ports: one socket, or one for each core that share the port. Sends and receives nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6DontFrag, Ipv6RecvPacketInfo};
use quinn_udp::{UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_recvtos, set_ipv6_mtu_discover,
    set_ipv6_recvtclass, set_socket_recv_buffer_size_force, set_socket_reuseport,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Departures, UdpPort};

/// Room for a burst of requests while the process is busy, in octets as the system counts them: some 4000 small datagrams.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// Opens a UDP port.
///
/// # Errors
/// What the system says; the caller knows which port it was.
pub fn bind(address: SocketAddr) -> io::Result<UdpPort> {
    let socket = unbound(address, RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    finish(socket, address)
}

/// Opens a UDP port with several sockets. What comes from one address and port always comes to the same socket.
///
/// `receive_buffer` is octets for each socket. The system may grant less ([`UdpPort::receive_buffer`]).
///
/// # Errors
/// What the system says, also when anybody has the port already, another process of the same user included.
pub fn bind_shared(address: SocketAddr, sockets: usize, receive_buffer: usize) -> io::Result<Vec<UdpPort>> {
    // The first one is bound alone, so that whoever has the port is met, and shares it only then (socket(7), SO_REUSEPORT). There is
    // no moment at which two servers could both succeed.
    let first = unbound(address, receive_buffer)?;
    first.bind(&address.into())?;
    let bound = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut ports = Vec::with_capacity(sockets);
    if sockets > 1 {
        set_socket_reuseport(&first, true)?;
    }
    ports.push(finish(first, address)?);
    while ports.len() < sockets {
        let socket = unbound(bound, receive_buffer)?;
        set_socket_reuseport(&socket, true)?;
        socket.bind(&bound.into())?;
        ports.push(finish(socket, address)?);
    }
    Ok(ports)
}

fn unbound(address: SocketAddr, receive_buffer: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can both be listened on.
        socket.set_only_v6(true)?;
    }
    // Who administers the network (CAP_NET_ADMIN) gets what it asks for, others up to net.core.rmem_max. A smaller buffer than asked
    // for is no reason not to serve.
    if set_socket_recv_buffer_size_force(&socket, receive_buffer).is_err() {
        drop(socket.set_recv_buffer_size(receive_buffer));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn finish(socket: Socket, address: SocketAddr) -> io::Result<UdpPort> {
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    allow_fragments(&socket, address)?;
    let any_address = address.ip().is_unspecified();
    be_told_no_more_than_needed(&socket, address, any_address)?;
    Ok(UdpPort { socket: socket.into(), state, any_address, departures: Departures::default() })
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

/// The state asks for what QUIC wants to know of each datagram. We want the address it was sent to, and that only where it may be any
/// of several: each thing that is told costs as much as a tenth of taking the datagram in.
fn be_told_no_more_than_needed(socket: &impl AsFd, address: SocketAddr, any_address: bool) -> io::Result<()> {
    if address.is_ipv6() {
        set_ipv6_recvtclass(socket, false)?;
        setsockopt(socket, Ipv6RecvPacketInfo, &any_address)?;
    } else {
        set_ip_recvtos(socket, false)?;
        setsockopt(socket, Ipv4PacketInfo, &any_address)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_may_be_fragmented() {
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

    #[test]
    fn several_sockets_have_one_port_and_nobody_else_gets_it() {
        for any in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            for sockets in [1, 3] {
                let ports = bind_shared(any.parse().unwrap(), sockets, RECEIVE_BUFFER).unwrap();
                let address = ports[0].local_addr().unwrap();
                assert_eq!(ports.len(), sockets);
                assert!(ports.iter().all(|port| port.local_addr().unwrap() == address), "port 0 became one port");
                for second in [bind_shared(address, sockets, RECEIVE_BUFFER).map(drop), bind(address).map(drop)] {
                    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
                }
                drop(ports);
                bind_shared(address, sockets, RECEIVE_BUFFER).unwrap();
            }
        }
    }

    #[test]
    fn the_receive_buffer_is_what_was_asked_for_or_what_is_told() {
        let ports = bind_shared("127.0.0.1:0".parse().unwrap(), 2, 100_000).unwrap();
        for port in ports {
            assert_eq!(port.receive_buffer().unwrap(), 100_000, "less than any system's bound");
        }
    }
}
