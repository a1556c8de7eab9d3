//! RADIUS over TLS as this server does it: whose a certificate is, which door requests go to, and telling the other nodes which NASes
//! are connected here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::door::Door;
use super::settings::SettingsHandle;
use super::{chance, clock};
use crate::model::{CertificateId, DynauthPath, Nas, NasName, NodeName, Timestamp};
use crate::net::Replier;
use crate::net::radsec::{Certificate, Credentials, DialError, Dialer, End, Gate, Limits, Link, Links, PORT, Peer};
use crate::radius::Packet;
use crate::session::Session;
use crate::store::Store;
use crate::telemetry;

/// Before the store is told again of what it could not keep.
const AGAIN: Duration = Duration::from_secs(1);
/// Connections that come and go at once are told of once.
const GATHER: Duration = Duration::from_millis(20);

/// Decides about connections by the settings in force.
#[derive(Debug, Clone)]
pub(super) struct TlsGate {
    pub settings: SettingsHandle,
    pub door: Arc<Door>,
}

impl Gate for TlsGate {
    fn bind(&self, certificate: &Certificate) -> Option<NasName> {
        self.settings.current().nases.bound(&certificate.ids).map(|nas| nas.name.clone())
    }

    fn take(&self, nas: &NasName, packet: &Packet<'_>, link: &Arc<Link>, replier: Replier) -> Result<(), End> {
        self.door.take_over_tls(nas, packet, link, &replier)
    }

    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn chance(&self) -> u8 {
        let [number] = chance::octets();
        number
    }
}

/// Whether a NAS goes by this fingerprint, now.
pub(super) fn pinned(settings: &SettingsHandle) -> Arc<dyn Fn(&CertificateId) -> bool + Send + Sync> {
    let settings = settings.clone();
    Arc::new(move |id| settings.current().nases.bound(std::slice::from_ref(id)).is_some())
}

/// Tells the store which NASes are connected, whenever that changes, for ever.
pub(super) async fn publish(links: Arc<Links>, store: Arc<dyn Store>, node: NodeName) {
    let mut told: Option<Vec<NasName>> = None;
    loop {
        let here = links.nases();
        if told.as_ref() != Some(&here) {
            if let Err(error) = store.keep_links(&node, &here).await {
                telemetry::count("store.failed");
                tracing::debug!(%error, "the store was not told which NASes are connected; trying again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            told = Some(here);
        }
        links.changed().await;
        tokio::time::sleep(GATHER).await;
    }
}

/// The ways to NASes over TLS.
#[derive(Debug)]
pub(super) struct TlsWays {
    /// Theirs to us.
    pub links: Arc<Links>,
    /// What ours are made with; `None` when there is no `[radsec]`.
    credentials: Option<Arc<Credentials>>,
    limits: Limits,
    /// Ours to them.
    dialers: Mutex<BTreeMap<Peer, Arc<Dialer>>>,
}

/// Which way a request goes.
#[derive(Debug)]
pub(super) enum Path {
    /// By UDP.
    Udp,
    /// Down this connection.
    Link(Arc<Link>),
    /// Down a connection we open.
    Dial(Arc<Dialer>),
    /// Down a connection that the NAS does not have to us.
    NotConnected,
}

impl TlsWays {
    pub(super) fn new(links: Arc<Links>, credentials: Option<Arc<Credentials>>, limits: Limits) -> Self {
        Self { links, credentials, limits, dialers: Mutex::default() }
    }

    /// The way to the NAS of a session.
    pub(super) fn path(&self, nas: &Nas, session: &Session) -> Path {
        let wanted = match nas.dynauth {
            DynauthPath::Udp => return Path::Udp,
            DynauthPath::Tls => return self.dialer(nas, session).map_or(Path::NotConnected, Path::Dial),
            DynauthPath::Radsec => true,
            // An address that somebody wrote down is meant.
            DynauthPath::Auto if nas.coa_address.is_some() || nas.radsec.is_empty() => return Path::Udp,
            DynauthPath::Auto => nas.radsec_only,
        };
        let link = self.links.of(&nas.name, session.nas_address, &nas.radsec);
        match link {
            Some(link) => Path::Link(link),
            None if wanted => Path::NotConnected,
            None => Path::Udp,
        }
    }

    /// Whether a NAS is reached down its own connection, should it have one.
    pub(super) fn may_be_linked(nas: &Nas) -> bool {
        match nas.dynauth {
            DynauthPath::Radsec => true,
            DynauthPath::Auto => nas.coa_address.is_none() && !nas.radsec.is_empty(),
            DynauthPath::Udp | DynauthPath::Tls => false,
        }
    }

    fn dialer(&self, nas: &Nas, session: &Session) -> Option<Arc<Dialer>> {
        let credentials = self.credentials.as_ref()?;
        let host = nas.coa_address.unwrap_or(session.nas_address).to_canonical();
        // What its certificate must show; a NAS that goes by nothing goes by its address.
        let ids = if nas.radsec.is_empty() { vec![CertificateId::Ip(host)] } else { nas.radsec.clone() };
        let peer = Peer { host: host.to_string(), port: nas.coa_port.unwrap_or(PORT), ids };
        let mut dialers = self.dialers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            // It takes nobody's requests: whoever listens for CoA sends none of its own there.
            let take = Arc::new(|_: &Packet<'_>, _: Replier| telemetry::count("radsec.code-out-of-place"));
            Arc::new(Dialer::new(peer.clone(), Arc::clone(credentials), self.limits, take, clock::now))
        };
        Some(Arc::clone(dialers.entry(peer.clone()).or_insert_with(open)))
    }
}

/// Why nothing could be sent down a connection of ours.
pub(super) fn not_dialled(nas: &Nas, error: &DialError) {
    telemetry::count("radsec.not-dialled");
    tracing::warn!(nas = %nas.name, %error, "the NAS cannot be told");
}
