//! The port of RADIUS/TLS: handshakes, bounded in time and number, and whose certificate it was.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

use super::certificate::Certificate;
use super::link::{End, Limits, Link};
use super::links::Links;
use super::tls::Credentials;
use crate::config;
use crate::model::{NasName, Timestamp};
use crate::net::Replier;
use crate::radius::Packet;
use crate::telemetry::{self, OncePerWindow};

/// Connections the system keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// Handshakes of one origin at once and at one port, at most; and this part of the places that are left there, so that the fewer there are,
/// the fewer of them any one gets, and a handful of origins cannot have them all.
const HANDSHAKES_OF_ONE: u32 = 8;
const PART_FOR_ONE: usize = 8;
/// The same complaint about the same peer at most so often.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// Peers and complaints told apart, at most.
const MOST_COMPLAINTS: usize = 1024;
/// NASes, and ways to come and go, told apart at most.
const MOST_COMINGS: usize = 4096;
/// A peer that is gone without a word is noticed within some three minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(20), 6);

/// What decides about connections, and takes what comes on them.
pub trait Gate: Send + Sync + 'static {
    /// Whose certificate this is; `None` when no NAS's.
    fn bind(&self, certificate: &Certificate) -> Option<NasName>;
    /// Takes a request in, whose answer goes by the replier. Must not block.
    ///
    /// # Errors
    /// Why the connection is to be ended.
    fn take(&self, nas: &NasName, packet: &Packet<'_>, link: &Arc<Link>, replier: Replier) -> Result<(), End>;
    /// The time.
    fn now(&self) -> Timestamp;
    /// A number nobody can guess.
    fn chance(&self) -> u8;
}

/// A port that is open and not served yet.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    /// Its address; port 0 has become one.
    pub address: SocketAddr,
}

impl Listener {
    /// Opens a TCP port.
    ///
    /// # Errors
    /// What the system says; the caller knows which port it was.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            // So that [::] and 0.0.0.0 can both be listened on.
            socket.set_only_v6(true)?;
        }
        // Connections of a server that has just ended keep no new one from its port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// Where peers come in: one port or several. Connections are bounded for all of them together; of the handshakes each port has a share of
/// its own, so that strangers at one keep nobody out at another.
pub struct Entrance<G> {
    gate: G,
    credentials: Arc<Credentials>,
    links: Arc<Links>,
    config: config::Radsec,
    connections: Arc<Semaphore>,
    complaints: OncePerWindow<(IpAddr, &'static str)>,
    /// That a NAS has come, and each way it went: one that does so in a loop cannot fill the log either.
    comings: OncePerWindow<(NasName, IpAddr, &'static str)>,
}

impl<G: Gate> Entrance<G> {
    /// One that has no port yet.
    pub fn new(config: config::Radsec, credentials: Arc<Credentials>, links: Arc<Links>, gate: G) -> Arc<Self> {
        Arc::new(Self {
            gate,
            credentials,
            links,
            connections: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            complaints: OncePerWindow::new(COMPLAINTS, MOST_COMPLAINTS),
            comings: OncePerWindow::new(COMPLAINTS, MOST_COMINGS),
            config,
        })
    }

    /// Serves a port, one of those of `config.listen`, for ever. Drop the future to take no more connections; those there are go on until
    /// [`Links::end_all`].
    pub async fn listen(self: Arc<Self>, listener: Listener) {
        let handshakes = Arc::new(Handshakes::new(share(self.config.max_handshakes, self.config.listen.len())));
        loop {
            match listener.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(label) = self.admit(stream, peer, &handshakes) {
                        telemetry::count(label);
                        self.complain(peer, label, "too many at once (radsec.max_connections, max_handshakes)");
                    }
                }
                // Out of descriptors: some will be given back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Begins a handshake, or gives the label of its end.
    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        handshakes: &Arc<Handshakes>,
    ) -> Result<(), &'static str> {
        let place = Arc::clone(&self.connections).try_acquire_owned().map_err(|_| "radsec.too-many-connections")?;
        let turn = handshakes.turn(origin(peer.ip())).ok_or("radsec.too-many-handshakes")?;
        let entrance = Arc::clone(self);
        tokio::spawn(async move {
            tune(&stream);
            let acceptor = TlsAcceptor::from(entrance.credentials.server());
            let shaken = timeout(entrance.config.handshake_time, acceptor.accept(stream)).await;
            drop(turn);
            match shaken {
                Ok(Ok(stream)) => entrance.serve(stream, peer).await,
                Ok(Err(error)) => {
                    telemetry::count("radsec.handshake-failed");
                    entrance.complain(peer, "radsec.handshake-failed", &advice(&error));
                }
                Err(_) => {
                    telemetry::count("radsec.handshake-slow");
                    entrance.complain(
                        peer,
                        "radsec.handshake-slow",
                        "the handshake took too long (radsec.handshake_time)",
                    );
                }
            }
            drop(place);
        });
        Ok(())
    }

    async fn serve(self: &Arc<Self>, stream: tokio_rustls::server::TlsStream<TcpStream>, peer: SocketAddr) {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(certificate) = self.credentials.client_certificate(chain, self.gate.now()) else {
            telemetry::count("radsec.handshake-failed");
            return self.complain(peer, "radsec.handshake-failed", "its certificate cannot be read");
        };
        let Some(nas) = self.gate.bind(&certificate) else {
            telemetry::count("radsec.unbound");
            let shown = certificate.shown();
            let first = certificate.ids().first().map(ToString::to_string).unwrap_or_default();
            let option = if first.starts_with("sha256:") { "--radsec-fingerprint" } else { "--radsec-name" };
            return self.complain(
                peer,
                "radsec.unbound",
                &format!(
                    "its certificate ({}) shows {shown}, and no NAS of ours goes by any of these; is it one? \
                     (radhold nas add NAME --radsec-only {option} {first})",
                    certificate.subject
                ),
            );
        };
        let (link, waiting) = Link::new(peer, certificate, self.gate.chance());
        let Some(_place) = self.links.enter(&nas, &link, self.config.max_connections_per_nas) else {
            telemetry::count("radsec.too-many-of-nas");
            return self.complain(
                peer,
                "radsec.too-many-of-nas",
                &format!("NAS {nas} has as many connections as it may (radsec.max_connections_per_nas)"),
            );
        };
        telemetry::count("radsec.connected");
        if let Some(kept_back) = self.comings.first((nas.clone(), peer.ip(), "connected"), self.gate.now()) {
            tracing::info!(%nas, %peer, subject = link.certificate.subject, kept_back, "a NAS has connected over TLS");
        }
        let limits = Limits::new(self.config.idle, self.config.write_patience);
        let take = |packet: &Packet<'_>, link: &Arc<Link>, replier| self.gate.take(&nas, packet, link, replier);
        let end = link.run(stream, waiting, limits, self.gate.now(), take).await;
        telemetry::count("radsec.ended");
        let Some(kept_back) = self.comings.first((nas.clone(), peer.ip(), end.kind()), self.gate.now()) else { return };
        match end {
            End::Peer | End::Stopping | End::Idle => {
                tracing::info!(%nas, %peer, why = %end, kept_back, "a TLS connection has ended")
            }
            end => tracing::warn!(%nas, %peer, why = %end, kept_back, "a TLS connection was ended"),
        }
    }

    fn complain(&self, peer: SocketAddr, label: &'static str, what: &str) {
        if let Some(kept_back) = self.complaints.first((peer.ip(), label), self.gate.now()) {
            tracing::warn!(%peer, reason = label, kept_back, "connection refused: {what}");
        }
    }
}

impl<G> fmt::Debug for Entrance<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What one of so many ports has of the places there are; one at least.
fn share(places: usize, ports: usize) -> usize {
    (places / ports.max(1)).max(1)
}

/// The handshakes at one port.
struct Handshakes {
    places: usize,
    /// By origin.
    shaking: Mutex<HashMap<IpAddr, u32>>,
}

impl Handshakes {
    fn new(places: usize) -> Self {
        Self { places, shaking: Mutex::default() }
    }

    /// One of the handshakes an origin may have at once.
    fn turn(self: &Arc<Self>, origin: IpAddr) -> Option<Turn> {
        let mut shaking = self.shaking.lock().unwrap_or_else(PoisonError::into_inner);
        // Few enough to be counted each time.
        let taken: u32 = shaking.values().sum();
        let left = self.places.saturating_sub(usize::try_from(taken).unwrap_or(usize::MAX));
        let has = shaking.get(&origin).copied().unwrap_or_default();
        if left == 0 || has >= most_for_one(left) {
            return None;
        }
        shaking.insert(origin, has + 1);
        Some(Turn { handshakes: Arc::clone(self), origin })
    }
}

/// How many handshakes one origin may have when so many places are left. One at least: it may be the only one that is honest.
fn most_for_one(left: usize) -> u32 {
    u32::try_from(left / PART_FOR_ONE).unwrap_or(u32::MAX).clamp(1, HANDSHAKES_OF_ONE)
}

/// Whose an address is: an IPv6 host has a network of 64 bits to itself, and any number of addresses in it.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// A handshake of an origin; over when dropped.
struct Turn {
    handshakes: Arc<Handshakes>,
    origin: IpAddr,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut shaking = self.handshakes.shaking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shaking.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                shaking.remove(&self.origin);
            }
        }
    }
}

/// Small packets go at once, and a peer that is gone is noticed.
pub(super) fn tune(stream: &TcpStream) {
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    // Without either it works as well, if slower.
    drop(stream.set_nodelay(true));
    drop(SockRef::from(stream).set_tcp_keepalive(&keepalive));
}

/// What is wrong with a handshake, and what to do.
pub(super) fn advice(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let what = match tls {
        Some(rustls::Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::UnknownIssuer => {
                "its certificate comes from a CA we do not know; add that to the file of roots, or pin the certificate by fingerprint"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; give it a new one"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; are both clocks right?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate does not show the name it is to go by"
            }
            CertificateError::BadSignature => {
                "its certificate was not signed by the CA we know by that name; has the CA a new key, and our file of roots the old one?"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not for this side of TLS (extended key usage clientAuth or serverAuth)"
            }
            _ => "its certificate cannot be believed",
        },
        Some(rustls::Error::NoCertificatesPresented) => {
            "it showed no certificate; RADIUS over TLS needs one on both sides"
        }
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA => "it does not know the CA of our certificate; give it that CA's certificate",
            AlertDescription::CertificateExpired => "it says that our certificate has expired",
            AlertDescription::CertificateRequired => "it demands a certificate of ours",
            _ => "the other side refuses us",
        },
        Some(rustls::Error::NoApplicationProtocol) => "it wants RADIUS/1.1 (RFC 9765) alone; allow RADIUS/1.0 there",
        Some(rustls::Error::InvalidMessage(_)) => "this is no TLS",
        _ => "the handshake failed",
    };
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("{what} ({cause})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_one_origin() {
        let origin = |address: &str| origin(address.parse().unwrap()).to_string();
        assert_eq!(origin("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(origin("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_ne!(origin("2001:db8:1:3::1"), "2001:db8:1:2::");
        assert_eq!((origin("192.0.2.7"), origin("::ffff:192.0.2.7")), ("192.0.2.7".into(), "192.0.2.7".into()));
    }

    #[test]
    fn a_handful_of_origins_cannot_have_all_places() {
        let handshakes = Arc::new(Handshakes::new(64));
        let origin = |number: u8| IpAddr::from([192, 0, 2, number]);
        let mut turns = Vec::new();
        for number in 0..16 {
            let before = turns.len();
            turns.extend(std::iter::from_fn(|| handshakes.turn(origin(number))));
            assert!(turns.len() > before, "whoever comes next gets one");
        }
        assert!(turns.len() < 64, "sixteen have {}", turns.len());
        turns.extend((16..=255).map_while(|number| handshakes.turn(origin(number))));
        assert_eq!(turns.len(), 64);
        turns.pop();
        assert!(handshakes.turn(origin(255)).is_some(), "one that is over makes room");
    }

    #[test]
    fn ports_share_the_places_and_none_is_without() {
        assert_eq!(
            [(64, 1), (64, 2), (64, 3), (1, 2), (7, 0)].map(|(places, ports)| share(places, ports)),
            [64, 32, 21, 1, 7]
        );
    }
}
