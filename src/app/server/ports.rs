//! The ports a server listens on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::ServeError;
use crate::config::{self, Config};
use crate::net;
use crate::net::radsec::{Limits, Listener};

/// Opens the ports of RADIUS over TLS.
pub(super) fn bind_tls(config: &Config) -> Result<Vec<Listener>, ServeError> {
    let addresses = config.radsec.iter().flat_map(|tls| &tls.listen);
    addresses
        .map(|&address| Listener::bind(address).map_err(|problem| ServeError::BindTls { address, problem }))
        .collect()
}

/// Opens the ports of the portal.
pub(super) async fn bind_portal(config: &Config) -> Result<Vec<(SocketAddr, TcpListener)>, ServeError> {
    let mut listeners = Vec::new();
    for &address in config.portal.iter().flat_map(|portal| &portal.listen) {
        let refused = |problem| ServeError::BindPortal { address, problem };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        listeners.push((listener.local_addr().map_err(refused)?, listener));
    }
    Ok(listeners)
}

/// Opens ports; port 0 is any, so the address that was bound comes with each.
pub(super) fn bind_all(
    addresses: &[SocketAddr],
    options: &config::Server,
) -> Result<Vec<(SocketAddr, Vec<net::UdpPort>)>, ServeError> {
    let open = |&address: &SocketAddr| {
        let refused = |problem| ServeError::Bind { address, problem };
        let sockets = net::bind_shared(address, options.sockets, options.receive_buffer).map_err(refused)?;
        let first = &sockets[0];
        let (address, granted) = (first.local_addr().map_err(refused)?, first.receive_buffer().map_err(refused)?);
        if granted < options.receive_buffer {
            tracing::warn!(
                %address,
                granted,
                "the system grants less than server.receive_buffer; raise it with sysctl net.core.rmem_max={}",
                options.receive_buffer
            );
        }
        Ok((address, sockets))
    };
    addresses.iter().map(open).collect()
}

pub(super) fn tls_limits(config: &Config) -> Limits {
    let tls = config.radsec.as_ref();
    let (idle, write_patience) =
        tls.map_or((Duration::from_secs(3600), Duration::from_secs(10)), |tls| (tls.idle, tls.write_patience));
    Limits::new(idle, write_patience)
}
