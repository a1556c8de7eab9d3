//! RADIUS over TLS as this server does it: whose a certificate is, which door requests go to, and telling the other nodes which NASes
//! are connected here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::door::Door;
use super::orders::Worker;
use super::settings::{NasTable, Settings, SettingsHandle};
use super::{chance, clock};
use crate::model::{CertificateId, DynauthPath, Nas, NasName, NodeName, Timestamp};
use crate::net::Replier;
use crate::net::radsec::{
    Certificate, Credentials, DialError, Dialer, End, Gate, IsPinned, Limits, Link, Links, PORT, Peer,
};
use crate::radius::Packet;
use crate::session::Session;
use crate::store::Store;
use crate::telemetry;

/// Before the store is told again of what it could not keep.
const AGAIN: Duration = Duration::from_secs(1);
/// Connections that come and go at once are told of once.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is looked which connections of ours are of no more use.
const TIDYING: Duration = Duration::from_secs(60);

/// Decides about connections by the settings in force.
#[derive(Debug, Clone)]
pub(super) struct TlsGate {
    pub settings: SettingsHandle,
    pub door: Arc<Door>,
}

impl Gate for TlsGate {
    fn bind(&self, certificate: &Certificate) -> Option<NasName> {
        let settings = self.settings.current();
        // Of two that go by the same, the one of the configuration: it is the one an operator can read.
        let configured = settings.configured.iter().find(|nas| settings.nases.is_its_own(nas, certificate));
        let configured = configured.and_then(|nas| settings.nases.named(nas.name.as_str()));
        configured.or_else(|| settings.nases.whose(certificate)).map(|nas| nas.name.clone())
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
pub(super) fn pinned(settings: &SettingsHandle) -> Arc<IsPinned> {
    let settings = settings.clone();
    Arc::new(move |fingerprint| settings.current().nases.is_pinned(fingerprint))
}

/// A warning for each certificate by which two NASes go: what comes with it is taken for one of them alone.
pub(super) fn shared_ids(settings: &Settings) -> Vec<String> {
    shared_among(&settings.configured, &settings.stored)
}

fn shared_among(configured: &[Nas], stored: &[Nas]) -> Vec<String> {
    let mut seen: BTreeMap<&CertificateId, &NasName> = BTreeMap::new();
    let mut warnings = Vec::new();
    // Those of the configuration first: they count.
    let stored = stored.iter().filter(|nas| !configured.iter().any(|other| other.name == nas.name));
    for nas in configured.iter().chain(stored) {
        for id in &nas.radsec {
            match seen.get(id) {
                Some(other) if **other != nas.name => warnings.push(format!(
                    "the NASes {other} and {} both go by the certificate {id}; whoever shows it is taken for {other}",
                    nas.name
                )),
                Some(_) => {}
                None => drop(seen.insert(id, &nas.name)),
            }
        }
    }
    warnings
}

/// Gives up connections of ours that are of no more use, now and then, for ever.
pub(super) async fn tidy(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(TIDYING).await;
        worker.tls.tidy(&worker.settings.current());
    }
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
    pub(super) fn path(&self, nases: &NasTable, nas: &Nas, session: &Session) -> Path {
        let wanted = match nas.dynauth {
            DynauthPath::Udp => return Path::Udp,
            DynauthPath::Tls => return self.dialer(nas, session).map_or(Path::NotConnected, Path::Dial),
            DynauthPath::Radsec => true,
            // An address that somebody wrote down is meant.
            DynauthPath::Auto if nas.coa_address.is_some() || nas.radsec.is_empty() => return Path::Udp,
            DynauthPath::Auto => nas.radsec_only,
        };
        let link = self.links.of(&nas.name, session.nas_address, |certificate| nases.is_its_own(nas, certificate));
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

    /// Gives up what nobody uses: connections that have ended, and those to NASes that are not to be reached so any more. One in use
    /// ends with its use.
    pub(super) fn tidy(&self, settings: &Settings) {
        let mut dialers = self.dialers.lock().unwrap_or_else(PoisonError::into_inner);
        dialers.retain(|peer, dialer| {
            let in_use = Arc::strong_count(dialer) > 1;
            let is_wanted = || settings.nases.iter().any(|nas| is_peer_of(peer, nas));
            in_use || (!dialer.is_idle() && is_wanted())
        });
    }

    fn dialer(&self, nas: &Nas, session: &Session) -> Option<Arc<Dialer>> {
        let credentials = self.credentials.as_ref()?;
        let peer = peer_of(nas, session.nas_address);
        let mut dialers = self.dialers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            // It takes nobody's requests: whoever listens for CoA sends none of its own there.
            let take = Arc::new(|_: &Packet<'_>, _: Replier| telemetry::count("radsec.code-out-of-place"));
            Arc::new(Dialer::new(peer.clone(), Arc::clone(credentials), self.limits, take, clock::now))
        };
        Some(Arc::clone(dialers.entry(peer.clone()).or_insert_with(open)))
    }
}

/// Whom we connect to for a NAS whose packets come from that address.
fn peer_of(nas: &Nas, nas_address: IpAddr) -> Peer {
    let host = nas.coa_address.unwrap_or(nas_address).to_canonical();
    // What its certificate must show; a NAS that goes by nothing goes by its address.
    let ids = if nas.radsec.is_empty() { vec![CertificateId::Ip(host)] } else { nas.radsec.clone() };
    Peer { host: host.to_string(), port: nas.coa_port.unwrap_or(PORT), ids }
}

/// Whether this peer may be that of a session on that NAS.
fn is_peer_of(peer: &Peer, nas: &Nas) -> bool {
    let address = peer.host.parse::<IpAddr>().ok();
    nas.dynauth == DynauthPath::Tls
        && address.is_some_and(|address| {
            (nas.radsec_only || nas.coa_address.is_some() || nas.network.contains(&address))
                && peer_of(nas, address) == *peer
        })
}

/// Why nothing could be sent down a connection of ours.
pub(super) fn not_dialled(nas: &Nas, error: &DialError) {
    telemetry::count("radsec.not-dialled");
    tracing::warn!(nas = %nas.name, %error, "the NAS cannot be told");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn nas(name: &str, network: &str) -> Nas {
        let network: ipnet::IpNet = network.parse().unwrap();
        Nas { dynauth: DynauthPath::Tls, ..Nas::new(name, network, Secret::new("x")) }
    }

    #[test]
    fn two_that_go_by_one_certificate_are_both_named() {
        let by = |name: &str, ids: &[&str]| Nas {
            radsec: ids.iter().map(|id| id.parse().unwrap()).collect(),
            ..nas(name, "192.0.2.1/32")
        };
        let configured = [by("z", &["dns:x", "dns:x"])];
        assert_eq!(shared_among(&configured, &[by("z", &["dns:x"]), by("b", &["dns:y"])]), [""; 0], "one and the same");
        let warnings = shared_among(&configured, &[by("a", &["dns:y", "dns:x"])]);
        assert!(
            matches!(&warnings[..], [one] if one.contains("z and a") && one.ends_with("taken for z")),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_peer_is_known_as_that_of_a_nas_that_is_still_there() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let by_name = Nas { radsec: vec!["dns:branch".parse().unwrap()], ..nas("branch", "192.0.2.0/24") };
        let by_address = nas("edge", "198.51.100.7/32");
        for (nas, at) in [(&by_name, "192.0.2.9"), (&by_address, "198.51.100.7"), (&by_address, "::ffff:198.51.100.7")]
        {
            assert!(is_peer_of(&peer_of(nas, address(at)), nas), "{at}");
        }
        let peer = peer_of(&by_name, address("192.0.2.9"));
        for other in [
            by_address.clone(),
            Nas { radsec: vec!["dns:other".parse().unwrap()], ..by_name.clone() },
            Nas { coa_port: Some(3799), ..by_name.clone() },
            Nas { coa_address: Some(address("192.0.2.1")), ..by_name.clone() },
            Nas { network: "203.0.113.0/24".parse().unwrap(), ..by_name.clone() },
            Nas { dynauth: DynauthPath::Auto, ..by_name.clone() },
        ] {
            assert!(!is_peer_of(&peer, &other), "{other:?}");
        }
    }
}
