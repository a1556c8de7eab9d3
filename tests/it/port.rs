//! Where to listen, said in a configuration before anybody does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of loopback that nobody else has: the host is this process's own, and the port is not among those the system hands out, so
/// that it is still free when a server that was killed comes back to it.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 + high % 64, middle, low), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}
