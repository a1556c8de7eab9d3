//! The client's side: one connection to a peer, opened when it is needed, and again when it has ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;
use super::link::{End, Limits, Link};
use super::listen::{advice, tune};
use super::tls::{Credentials, server_name};
use crate::model::{CertificateId, Timestamp};
use crate::net::Replier;
use crate::radius::Packet;
use crate::telemetry::OncePerWindow;

/// How long a connection may take, handshake included.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(500);

/// That it was connected, and each way that ended, at most so often.
const COMINGS: Duration = Duration::from_secs(60);
/// And so many ways at most: more than there are.
const MOST_COMINGS: usize = 16;

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What its certificate must show, one of these.
    pub ids: Vec<CertificateId>,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to {host} port {port} over TLS: {problem}")]
pub struct DialError {
    /// To whom.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Takes requests that the peer sends down our connection.
pub type TakeRequest = Arc<dyn Fn(&Packet<'_>, Replier) + Send + Sync>;

/// The connection to one peer.
pub struct Dialer {
    peer: Peer,
    credentials: Arc<Credentials>,
    limits: Limits,
    take: TakeRequest,
    now: fn() -> Timestamp,
    /// A peer that hangs up again and again cannot fill the log.
    comings: Arc<OncePerWindow<&'static str>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// What came of the last try that failed, and when.
    failed: Option<(Instant, DialError)>,
}

impl Dialer {
    /// A connection that is not open yet.
    pub fn new(
        peer: Peer,
        credentials: Arc<Credentials>,
        limits: Limits,
        take: TakeRequest,
        now: fn() -> Timestamp,
    ) -> Self {
        let comings = Arc::new(OncePerWindow::new(COMINGS, MOST_COMINGS));
        Self { peer, credentials, limits, take, now, comings, state: Mutex::default() }
    }

    /// The connection, opened if there is none. Of many who ask at once one opens it, and the others wait for that.
    ///
    /// # Errors
    /// [`DialError`], for a moment after a failure without another try.
    pub async fn link(&self) -> Result<Arc<Link>, DialError> {
        let mut state = self.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| !link.has_ended()) {
            return Ok(Arc::clone(link));
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE) {
            return Err(error.clone());
        }
        let opened = timeout(PATIENCE, self.open()).await;
        let opened = opened.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match opened {
            Ok(link) => {
                *state = State { link: Some(Arc::clone(&link)), failed: None };
                Ok(link)
            }
            Err(problem) => {
                let error = DialError { host: self.peer.host.clone(), port: self.peer.port, problem };
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Whether it has no connection, and nobody is opening one.
    pub fn is_idle(&self) -> bool {
        self.state.try_lock().is_ok_and(|state| state.link.as_ref().is_none_or(|link| link.has_ended()))
    }

    async fn open(&self) -> Result<Arc<Link>, String> {
        let config = self.credentials.client(&self.peer.ids).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect((self.peer.host.as_str(), self.peer.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        tune(&stream);
        let address = stream.peer_addr().map_err(|error| error.to_string())?;
        let name = self.peer.ids.iter().find_map(server_name);
        let name = name.unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let stream = connected.map_err(|error: io::Error| advice(&error))?;
        // The handshake has settled that it is the one we want; what else it may call itself is of no use to anybody.
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| Certificate::read(chain.first()?));
        let certificate = shown.ok_or("its certificate cannot be read")?;
        let now = (self.now)();
        // Which Identifier comes first matters little: the connection is new, and its replies are its own.
        let (link, waiting) = Link::new(address, certificate, now.as_micros().to_be_bytes()[7]);
        let (running, limits, take) = (Arc::clone(&link), self.limits, Arc::clone(&self.take));
        let host = self.peer.host.clone();
        if let Some(kept_back) = self.comings.first("connected", now) {
            tracing::info!(host, peer = %address, kept_back, "connected over TLS");
        }
        let (comings, clock) = (Arc::clone(&self.comings), self.now);
        tokio::spawn(async move {
            let take = |packet: &Packet<'_>, _: &Arc<Link>, replier| {
                take(packet, replier);
                Ok(())
            };
            let end = running.run(stream, waiting, limits, now, take).await;
            let Some(kept_back) = comings.first(end.kind(), clock()) else { return };
            match end {
                End::Peer | End::Stopping | End::Idle => {
                    tracing::info!(host, peer = %address, why = %end, kept_back, "a TLS connection has ended");
                }
                end => tracing::warn!(host, peer = %address, why = %end, kept_back, "a TLS connection was ended"),
            }
        });
        Ok(link)
    }
}

impl Drop for Dialer {
    fn drop(&mut self) {
        if let Some(link) = &self.state.get_mut().link {
            link.end(End::Stopping);
        }
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("peer", &self.peer).finish_non_exhaustive()
    }
}
