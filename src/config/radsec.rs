//! `[radsec]`: RADIUS over TLS, as a server. Reads no certificate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::values::address_with_port;

/// The port of RADIUS/TLS (RFC 6614 §2.1).
pub(super) const RADSEC_PORT: u16 = 2083;

/// The server of RADIUS/TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Radsec {
    /// TCP addresses; empty when it only opens connections (`dynauth = "tls"`).
    pub listen: Vec<SocketAddr>,
    /// Our certificate, our key, and whose certificates we believe.
    pub files: TlsFiles,
    /// Connections at most.
    pub max_connections: usize,
    /// Connections of one NAS at most.
    pub max_connections_per_nas: usize,
    /// Handshakes at once at most, shared evenly among the addresses.
    pub max_handshakes: usize,
    /// How long a handshake may take.
    pub handshake_time: Duration,
    /// How long a connection may be silent.
    pub idle: Duration,
    /// How long a peer may take to read what it asked for.
    pub write_patience: Duration,
}

/// Files in PEM, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots peers' certificates must lead to.
    pub ca: PathBuf,
}

/// `None` when there is no such section, or beside a problem.
pub(super) fn radsec(mut section: Section<'_>) -> Option<Radsec> {
    let present = section.is_present();
    let listen = section.list("listen", "an address with port", |text| address_with_port(text, RADSEC_PORT));
    let files = tls_files(&mut section, "client_ca", present);
    let max_connections = section.number("max_connections", 1).unwrap_or(4096);
    let max_connections_per_nas = section.number("max_connections_per_nas", 1).unwrap_or(64);
    let max_handshakes = section.number("max_handshakes", 1).unwrap_or(64);
    let handshake_time = section.duration("handshake_time").unwrap_or(Duration::from_secs(10));
    let idle = section.duration("idle").unwrap_or(Duration::from_secs(3600));
    let write_patience = section.duration("write_patience").unwrap_or(Duration::from_secs(10));
    for (key, duration) in [("handshake_time", handshake_time), ("idle", idle), ("write_patience", write_patience)] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero");
        }
    }
    section.finish();
    Some(Radsec {
        listen: listen.unwrap_or_else(|| vec![([0, 0, 0, 0], RADSEC_PORT).into()]),
        files: files?,
        max_connections,
        max_connections_per_nas,
        max_handshakes,
        handshake_time,
        idle,
        write_patience,
    })
    .filter(|_| present)
}

/// The three files of a TLS peer; `needed` when one that is missing is a mistake.
pub(super) fn tls_files(section: &mut Section<'_>, ca: &str, needed: bool) -> Option<TlsFiles> {
    let mut file = |key: &str| {
        if needed && !section.has(key) {
            section.problem(key, "is missing; RADIUS over TLS needs certificate, key and the roots of the other side");
        }
        section.path(key)
    };
    let (certificate, key, ca) = (file("certificate"), file("key"), file(ca));
    Some(TlsFiles { certificate: certificate?, key: key?, ca: ca? })
}
