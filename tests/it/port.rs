//! Where to listen, said in a configuration before anybody does.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of loopback that nobody else has: the host is this process's own, and the port is not among those the system hands out, so
/// that it is still free when a server that was killed comes back to it.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 + high % 64, middle, low), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A port of 127.0.0.1 for TCP, for whoever takes no other host. Free, and nobody else's for the next minute: a connection to it that is over (TIME_WAIT) keeps the kernel from giving it to whoever
/// asks for any port, while a server may bind it by its number (SO_REUSEADDR).
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let caller = TcpStream::connect(address).unwrap();
    let (called, _) = listener.accept().unwrap();
    // Whoever closes first is the one in TIME_WAIT.
    drop(called);
    drop(caller);
    address
}

#[test]
fn a_free_port_is_given_to_nobody_but_who_names_it() {
    let address = free_port();
    let bind = |reuse| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(reuse).unwrap();
        socket.bind(address)
    };
    assert_eq!(bind(false).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    bind(true).unwrap();
}
