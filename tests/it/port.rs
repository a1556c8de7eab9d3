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

/// For TCP on 127.0.0.1, where that cannot be another. Free, and nobody else's for the next minute: a connection to it that is over (TIME_WAIT) keeps the kernel from giving it to whoever
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
    let ours = free_port();
    let others: Vec<_> = (0..500).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    assert!(others.iter().all(|other| other.local_addr().unwrap() != ours));
    TcpListener::bind(ours).unwrap();
}
