//! What the running server goes by: configuration and NASes made ready for use, exchanged as one piece at a reload.

mod moved;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Mutex, MutexGuard};

use self::moved::Moved;
use super::clock;
use super::current::{Current, Reader};
use super::server::ServeError;
use super::words;
use crate::accounting::ClockBounds;
use crate::config::{self, Config, WhileAway};
use crate::dialect::Dialects;
use crate::model::{CallerLists, CertificateId, Nas, NasName, NodeName, Secret, Timestamp};
use crate::net::radsec::Certificate;
use crate::net::{Bucket, Measure, radsec};
use crate::policy::{Defaults, LockoutLimits, StrikeLimits};
use crate::radius::PreparedSecret;
use crate::radius::dictionary::Dictionary;
use crate::session::{ClassKey, Timing};

/// Everything a request or an order is handled by.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Who may send us packets.
    pub nases: NasTable,
    /// The NASes of the configuration.
    pub configured: Vec<Nas>,
    /// The NASes of the store.
    pub stored: Vec<Nas>,
    /// How they are spoken to.
    pub dialects: Arc<Dialects>,
    /// The words attributes have.
    pub dictionary: Arc<Dictionary>,
    /// The terms where neither user nor NAS says otherwise.
    pub defaults: Defaults,
    /// How long sessions wait.
    pub timing: Timing,
    /// How long an approver's service may be away before it counts as unreachable.
    pub unreachable_after: Duration,
    /// Which times of NASes are believed.
    pub clock: ClockBounds,
    /// How long usage is kept by interval; `None` is for ever.
    pub keep_intervals: Option<Duration>,
    /// How long sessions that are over are kept; `None` is for ever.
    pub keep_sessions: Option<Duration>,
    /// How long an Access-Reject is kept back where neither user nor NAS says otherwise.
    pub reject_delay: Duration,
    /// How long a password that is slow to check is remembered; zero is not at all.
    pub remember_passwords: Duration,
    /// How many logins that nobody is asked about are recorded in a second, at most.
    pub login_records_per_second: u32,
    /// New Access-Requests a second of a NAS, at most, where it says nothing else.
    pub max_requests_per_second: Option<u32>,
    /// What becomes of a login that would need a store that is away.
    pub while_away: WhileAway,
    /// Makes and reads Class.
    pub class_key: ClassKey,
    /// Where logins may come from, and may not, where the NAS says nothing.
    pub callers: CallerLists,
    /// When strikes come to a ban.
    pub strikes: StrikeLimits,
    /// What wrong passwords come to.
    pub lockout: LockoutLimits,
    /// How codes are taken.
    pub codes: config::Totp,
    /// How long the audit record is kept; zero is for ever.
    pub audit_keep: Duration,
    /// This process's name.
    pub node: NodeName,
}

impl Settings {
    /// Those of a configuration, with the NASes of the store.
    ///
    /// # Errors
    /// [`ServeError`] when a dictionary or dialect is wrong, or a NAS speaks one that does not exist.
    pub(super) fn of(config: &Config, stored: Vec<Nas>, class_key: &ClassKey) -> Result<Self, ServeError> {
        let dictionary = words::dictionary(config.dictionary.as_deref())?;
        let dialects = words::dialects(config.dialects.as_deref(), &dictionary)?;
        for nas in config.nas.iter().chain(&stored) {
            if dialects.get(&nas.dialect).is_none() {
                let known = dialects.iter().map(|dialect| dialect.name().to_owned()).collect::<Vec<_>>().join(", ");
                return Err(ServeError::NoDialect { nas: nas.name.to_string(), dialect: nas.dialect.clone(), known });
            }
        }
        Ok(Self {
            dialects: Arc::new(dialects),
            dictionary: Arc::new(dictionary),
            defaults: config.hold.defaults.clone(),
            timing: Timing { listening_since: Some(clock::now()), ..config.hold.timing },
            unreachable_after: config.hold.unreachable_after,
            keep_intervals: config.accounting.keep_intervals,
            keep_sessions: config.accounting.keep_sessions,
            clock: ClockBounds { skew: config.accounting.clock_skew, delay: config.accounting.max_delay },
            reject_delay: config.server.reject_delay,
            max_requests_per_second: config.server.max_requests_per_second,
            remember_passwords: config.server.remember_passwords,
            login_records_per_second: config.server.login_records_per_second,
            while_away: config.store.while_away,
            class_key: class_key.clone(),
            nases: NasTable::default(),
            configured: config.nas.clone(),
            stored: Vec::new(),
            callers: config.callers.clone(),
            strikes: config.strikes,
            lockout: config.lockout,
            codes: config.totp.clone(),
            audit_keep: config.audit.keep,
            node: config.node.clone(),
        }
        .with_stored_nases(stored))
    }

    /// The same with these NASes from the store. Of two with the same name, or for the same network, the one of the
    /// configuration counts: it is the one an operator can read. What was learnt of those that stay is kept.
    pub(super) fn with_stored_nases(self, stored: Vec<Nas>) -> Self {
        let configured = |nas: &&Nas| self.configured.iter().any(|other| other.name == nas.name);
        let nases = stored.iter().filter(|nas| !configured(nas)).chain(&self.configured).cloned();
        let nases = nases.map(|nas| Nas {
            max_requests_per_second: nas.max_requests_per_second.or(self.max_requests_per_second),
            ..nas
        });
        let nases = NasTable::after(&self.nases, nases);
        Self { nases, stored, ..self }
    }

    /// The same, with what was learnt of its NASes under those before.
    pub(super) fn after(mut self, before: &Self) -> Self {
        let stored = std::mem::take(&mut self.stored);
        Self { nases: before.nases.clone(), ..self }.with_stored_nases(stored)
    }

    /// A warning for each NAS on which a held session is not kept from the network.
    pub(super) fn unconfined(&self) -> Vec<String> {
        self.nases.iter().filter_map(|nas| unconfined(nas, &self.dialects)).collect()
    }
}

/// A warning for a NAS on which a held session is not kept from the network.
pub fn unconfined(nas: &Nas, dialects: &Dialects) -> Option<String> {
    let confines = dialects.get(&nas.dialect).is_none_or(|dialect| dialect.confines());
    (!confines).then(|| {
        format!(
            "nas.{}: the dialect {} has no filter to confine a held session; until its deadline it has the network",
            nas.name, nas.dialect
        )
    })
}

/// The settings in force, shared.
#[derive(Debug, Clone)]
pub(super) struct SettingsHandle {
    current: Current<Settings>,
    turn: Arc<Mutex<()>>,
}

impl SettingsHandle {
    pub(super) fn new(settings: Settings) -> Self {
        Self { current: Current::new(settings), turn: Arc::default() }
    }

    /// Those in force now. Whoever holds them keeps them whole through a reload.
    pub(super) fn current(&self) -> Arc<Settings> {
        self.current.get()
    }

    /// For somebody who asks at each packet.
    pub(super) fn reader(&self) -> Reader<Settings> {
        self.current.reader()
    }

    /// Puts others in force, made from those there are.
    pub(super) fn update(&self, make: impl FnOnce(&Settings) -> Settings) {
        self.current.update(make);
    }

    /// The turn of whoever puts the store's NASes in force, to be had from before they are read: else a list that was read first could
    /// be put in force last.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Puts the store's NASes in force as `read` finds them, in turn, and says whether they are others than before.
    pub(super) async fn take_nases<E>(&self, read: impl Future<Output = Result<Vec<Nas>, E>>) -> Result<bool, E> {
        let _turn = self.turn().await;
        let stored = read.await?;
        let changed = stored != self.current().stored;
        if changed {
            self.update(|current| current.clone().with_stored_nases(stored));
        }
        Ok(changed)
    }

    /// Until now accounting may not have reached the sessions in the store (it was away, or records waited in the spool): their
    /// silence until then was not the NAS's.
    pub(super) fn listen_anew(&self, now: Timestamp) {
        self.update(|current| {
            let timing = Timing { listening_since: Some(now), ..current.timing };
            Settings { timing, ..current.clone() }
        });
    }
}

/// NASes by the address they send from; the longest matching network wins.
#[derive(Debug, Default, Clone)]
pub(super) struct NasTable {
    networks: HashMap<IpNet, Vec<Arc<Known>>>,
    /// The prefix lengths there are, the longest first, of IPv4 and of IPv6: a stranger costs a lookup for each, however many networks.
    prefixes: [Vec<u8>; 2],
    names: BTreeMap<NasName, Arc<Known>>,
    /// Who goes by a certificate with this fingerprint.
    pins: HashMap<[u8; 32], Vec<NasName>>,
}

/// A NAS as requests of it are handled, by the secret that proves them.
#[derive(Debug)]
pub(super) struct Known {
    /// By its secret.
    pub nas: Arc<Nas>,
    secret: PreparedSecret,
    /// While there are two secrets.
    previous: Option<Previous>,
    /// Over TLS, where the secret is a constant and what CVE-2024-3596 demands is not needed.
    over_tls: (Arc<Nas>, PreparedSecret),
    /// New Access-Requests it may send, where there is a bound.
    requests: Option<Arc<Bucket>>,
}

/// A NAS by the secret before, and which of its hosts have left that: an entry may stand for a network of them.
#[derive(Debug)]
struct Previous {
    nas: Arc<Nas>,
    secret: PreparedSecret,
    moved: Arc<Moved>,
}

/// A NAS by one of its secrets, and whether that is the one before.
pub(super) type BySecret<'a> = (&'a Arc<Nas>, &'a PreparedSecret, bool);

impl Known {
    /// One that was called by this name before, if any, hands on what it had learnt: with the same secrets, who uses which; with the
    /// same bound, what is left of it. Both are shared, so that nothing is lost that a lane still learns there.
    fn new(nas: Nas, before: Option<&Self>) -> Self {
        let previous = nas.previous_secret.as_ref().map(|previous| {
            let known = before.filter(|known| known.nas.secret == nas.secret);
            let known = known.and_then(|known| known.previous.as_ref());
            let known = known.filter(|known| known.nas.secret == previous.secret && known.moved.suits(nas.network));
            let moved = known.map_or_else(|| Arc::new(Moved::of(nas.network)), |known| Arc::clone(&known.moved));
            (previous.secret.clone(), moved)
        });
        let requests = nas.max_requests_per_second.map(|rate| {
            let known = before.filter(|known| known.nas.max_requests_per_second == Some(rate));
            let known = known.and_then(|known| known.requests.clone());
            known.unwrap_or_else(|| Arc::new(Bucket::new(Measure::per_second(rate))))
        });
        let prepared = |nas: Nas| {
            let secret = PreparedSecret::new(nas.secret.expose());
            (Arc::new(nas), secret)
        };
        let previous = previous.map(|(secret, moved)| {
            let (nas, secret) = prepared(Nas { secret, ..nas.clone() });
            Previous { nas, secret, moved }
        });
        let over_tls = Nas {
            secret: Secret::new(radsec::SECRET),
            require_message_authenticator: false,
            limit_proxy_state: false,
            previous_secret: None,
            ..nas.clone()
        };
        let (over_tls, (nas, secret)) = (prepared(over_tls), prepared(nas));
        Self { nas, secret, previous, over_tls, requests }
    }

    /// It by each secret that counts now, the one that source used last first.
    pub(super) fn by_secret(&self, source: IpAddr, now: Timestamp) -> impl Iterator<Item = BySecret<'_>> {
        let current = (&self.nas, &self.secret, false);
        let (first, second) = match self.previous(now) {
            None => (current, None),
            Some(Previous { nas, secret, moved }) => {
                let previous = (nas, secret, true);
                match moved.has(source.to_canonical()) {
                    true => (current, Some(previous)),
                    false => (previous, Some(current)),
                }
            }
        };
        iter::once(first).chain(second)
    }

    /// Notes which secret proved something that came from there.
    pub(super) fn proved_by(&self, previous: bool, source: IpAddr, now: Timestamp) {
        match self.previous(now) {
            Some(Previous { moved, .. }) if previous => moved.remove(source.to_canonical()),
            Some(Previous { moved, .. }) => moved.insert(source.to_canonical()),
            // There is nothing to choose, so nothing to know.
            None => (),
        }
    }

    /// It by the secret before, while that counts.
    fn previous(&self, now: Timestamp) -> Option<&Previous> {
        let counts = self.nas.previous_secret.as_ref().is_some_and(|previous| previous.counts(now));
        self.previous.as_ref().filter(|_| counts)
    }

    /// Whether it may send one more new Access-Request now, which then is counted.
    pub(super) fn may_request(&self, now: Timestamp) -> bool {
        self.requests.as_ref().is_none_or(|requests| requests.take(now))
    }

    /// It over TLS.
    pub(super) fn over_tls(&self) -> (&Arc<Nas>, &PreparedSecret) {
        (&self.over_tls.0, &self.over_tls.1)
    }
}

impl NasTable {
    #[cfg(test)]
    pub(super) fn new(nases: impl IntoIterator<Item = Nas>) -> Self {
        Self::after(&Self::default(), nases)
    }

    /// A table; of two NASes with the same name, or the same network and NAS-Identifier, the later one counts. Those that were there
    /// before hand on what they had learnt.
    fn after(before: &Self, nases: impl IntoIterator<Item = Nas>) -> Self {
        let mut table = Self::default();
        for nas in nases {
            let known = before.known(&nas.name).map(Arc::as_ref);
            let known = Arc::new(Known::new(nas, known));
            let nas = &known.nas;
            if !nas.radsec_only {
                let there = table.networks.entry(nas.network.trunc()).or_default();
                there.retain(|other| other.nas.nas_identifier != nas.nas_identifier);
                there.push(Arc::clone(&known));
                // Those that are named are asked before the one that is not.
                there.sort_by_key(|known| known.nas.nas_identifier.is_none());
            }
            table.names.insert(nas.name.clone(), known);
        }
        // One whose place another has taken is nobody any more.
        let reached = table.networks.values().flatten();
        let reached: HashSet<NasName> = reached.map(|known| known.nas.name.clone()).collect();
        table.names.retain(|name, known| known.nas.radsec_only || reached.contains(name));
        for known in table.names.values() {
            for id in &known.nas.radsec {
                if let CertificateId::Sha256(fingerprint) = id {
                    table.pins.entry(*fingerprint).or_default().push(known.nas.name.clone());
                }
            }
        }
        for network in table.networks.keys() {
            table.prefixes[family(network.addr())].push(network.prefix_len());
        }
        for prefixes in &mut table.prefixes {
            prefixes.sort_unstable_by_key(|prefix| Reverse(*prefix));
            prefixes.dedup();
        }
        table
    }

    /// The NASes at that address: one, or several that go by NAS-Identifier, those before the one that does not.
    pub(super) fn at(&self, address: IpAddr) -> &[Arc<Known>] {
        let address = address.to_canonical();
        let within = |prefix: &u8| self.networks.get(&IpNet::new(address, *prefix).ok()?.trunc());
        self.prefixes[family(address)].iter().find_map(within).map_or(&[], Vec::as_slice)
    }

    /// The NAS of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Nas>> {
        self.known(&NasName::new(name)).map(|known| &known.nas)
    }

    /// The NAS of that name, and how its requests are handled.
    pub(super) fn known(&self, name: &NasName) -> Option<&Arc<Known>> {
        self.names.get(name)
    }

    /// A password was right that the secret of this NAS had hidden: whoever sent it uses that one.
    pub(super) fn revealed_by(&self, nas: &Nas, source: IpAddr, now: Timestamp) {
        if nas.previous_secret.as_ref().is_some_and(|previous| previous.counts(now))
            && let Some(known) = self.known(&nas.name)
        {
            known.proved_by(nas.secret != known.nas.secret, source, now);
        }
    }

    /// The NAS whose this certificate is.
    pub(super) fn whose(&self, certificate: &Certificate) -> Option<&Arc<Nas>> {
        self.iter().find(|nas| self.is_its_own(nas, certificate))
    }

    /// Whether this certificate is that NAS's, now: whoever is pinned is known by nothing else, also where that was done after it had
    /// connected by its name.
    pub(super) fn is_its_own(&self, nas: &Nas, certificate: &Certificate) -> bool {
        certificate.is_one_of(&nas.radsec)
            && self.pins.get(certificate.fingerprint()).is_none_or(|names| names.contains(&nas.name))
    }

    /// Whether any NAS goes by a certificate with this fingerprint.
    pub(super) fn is_pinned(&self, fingerprint: &[u8; 32]) -> bool {
        self.pins.contains_key(fingerprint)
    }

    /// Whether a host of a NAS with two secrets is taken to use the old one.
    pub(super) fn lags(&self, name: &NasName, host: IpAddr) -> bool {
        let previous = self.known(name).and_then(|known| known.previous.as_ref());
        previous.is_some_and(|previous| !previous.moved.has(host.to_canonical()))
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Nas>> {
        self.names.values().map(|known| &known.nas)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Where prefix lengths of its family are.
fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PreviousSecret;

    fn nas(name: &str, network: &str) -> Nas {
        Nas::new(name, network.parse::<ipnet::IpNet>().unwrap(), Secret::new("x"))
    }

    fn names(known: &[Arc<Known>]) -> Vec<String> {
        known.iter().map(|known| known.nas.name.to_string()).collect()
    }

    #[test]
    fn the_longest_network_wins() {
        let table = NasTable::new([
            nas("all", "10.0.0.0/8"),
            nas("site", "10.1.0.0/16"),
            nas("edge", "10.1.2.3/32"),
            nas("six", "2001:db8::/32"),
            nas("rack", "2001:db8:1::/48"),
            nas("box", "2001:db8:1::5/128"),
        ]);
        let at = |address: &str| names(table.at(address.parse().unwrap()));
        assert_eq!(at("10.1.2.3"), ["edge"]);
        assert_eq!(at("::ffff:10.1.2.3"), ["edge"], "an IPv4 peer on an IPv6 socket");
        assert_eq!(at("10.1.9.9"), ["site"]);
        assert_eq!(at("10.9.9.9"), ["all"]);
        assert_eq!(
            (at("2001:db8::1"), at("2001:db8:1::4"), at("2001:db8:1::5")),
            (vec!["six".into()], vec!["rack".into()], vec!["box".into()])
        );
        assert_eq!(at("192.0.2.1"), [""; 0]);
        assert_eq!(table.named("site").map(|nas| nas.network.prefix_len()), Some(16));
        assert_eq!(table.len(), 6);
    }

    /// Addresses that are near each other, so that networks hold each other.
    fn near() -> impl Strategy<Value = IpAddr> {
        let v4 = (0..2_u8, 0..2_u8, any::<u8>()).prop_map(|(b, c, d)| IpAddr::from([10, b, c, d]));
        let v6 = (0..2_u16, any::<u16>()).prop_map(|(a, h)| IpAddr::from([0x2001, a, 0, 0, 0, 0, 0, h]));
        let mapped = (0..2_u8, any::<u8>())
            .prop_map(|(b, d)| IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00 + u16::from(b), d.into()]));
        prop_oneof![v4, v6, mapped]
    }

    fn any_nas() -> impl Strategy<Value = Nas> {
        let shift = prop::sample::select(vec![0, 0, 1, 8, 9, 24, 32, 64, 128]);
        let identifier = prop::option::of(prop::sample::select(vec!["A", "B"]));
        (near(), shift, 0..1000_u32, identifier, prop::bool::weighted(0.1)).prop_map(
            |(address, shift, name, identifier, radsec_only)| {
                let longest = IpNet::from(address).max_prefix_len();
                let network = IpNet::new(address, longest.saturating_sub(shift)).unwrap();
                let nas_identifier = identifier.map(str::to_owned);
                Nas { nas_identifier, radsec_only, ..Nas::new(name.to_string().as_str(), network, Secret::new("x")) }
            },
        )
    }

    proptest! {
        /// As all networks looked at one by one: the longest that holds the address, and of those that stand there the last for each
        /// NAS-Identifier.
        #[test]
        fn who_is_at_an_address_is_who_a_scan_finds(
            nases in prop::collection::vec(any_nas(), 0..30),
            sources in prop::collection::vec(near(), 1..30),
        ) {
            let table = NasTable::new(nases.iter().cloned());
            for source in sources {
                let address = source.to_canonical();
                let holds = |nas: &&Nas| !nas.radsec_only && nas.network.contains(&address);
                let longest = nases.iter().filter(holds).map(|nas| nas.network.prefix_len()).max();
                let there = nases.iter().filter(holds).filter(|nas| Some(nas.network.prefix_len()) == longest);
                let last: BTreeMap<_, _> = there.map(|nas| (&nas.nas_identifier, nas)).collect();
                let found: BTreeMap<_, _> = table.at(source).iter().map(|known| (&known.nas.nas_identifier, &*known.nas)).collect();
                prop_assert_eq!(table.at(source).len(), found.len());
                prop_assert_eq!(found, last);
                prop_assert!(table.at(source).is_sorted_by_key(|known| known.nas.nas_identifier.is_none()));
            }
        }
    }

    /// A stranger's lookups are as many as there are prefix lengths, not networks.
    #[test]
    fn networks_of_one_prefix_length_are_one_lookup() {
        let many = (0..=255_u8)
            .flat_map(|b| [format!("10.{b}.0.0/16"), format!("172.16.{b}.0/24"), format!("2001:db8:{b:x}::/48")]);
        let table = NasTable::new(many.map(|network| nas(&network, &network)));
        assert_eq!((table.len(), table.prefixes), (768, [vec![24, 16], vec![48]]));
    }

    #[test]
    fn several_at_one_address_are_told_apart_or_replaced() {
        let named =
            |name: &str, identifier: &str| Nas { nas_identifier: Some(identifier.into()), ..nas(name, "10.0.0.1/32") };
        let table =
            NasTable::new([nas("old", "10.0.0.1/32"), nas("rest", "10.0.0.1/32"), named("a", "A"), named("b", "B")]);
        assert_eq!(names(table.at("10.0.0.1".parse().unwrap())), ["a", "b", "rest"]);
        assert_eq!((table.len(), table.named("old")), (3, None));
    }

    #[test]
    fn who_is_pinned_goes_by_no_name_any_more() {
        let made = rcgen::generate_simple_self_signed(["branch".to_owned()]).unwrap();
        let shown = Certificate::read(made.cert.der()).unwrap().vouched_for_in_test();
        let by = |name: &str, id: CertificateId| Nas { radsec: vec![id], ..nas(name, "10.0.0.1/32") };
        let branch = || by("branch", "dns:branch".parse().unwrap());
        let kiosk =
            Nas { network: "10.0.0.2/32".parse().unwrap(), ..by("kiosk", CertificateId::Sha256(*shown.fingerprint())) };
        assert!(NasTable::new([branch()]).is_its_own(&branch(), &shown));
        let table = NasTable::new([branch(), kiosk.clone()]);
        assert!(!table.is_its_own(&branch(), &shown) && table.is_its_own(&kiosk, &shown));
        assert_eq!(table.whose(&shown).map(|nas| nas.name.as_str()), Some("kiosk"));
        assert!(table.is_pinned(shown.fingerprint()) && !table.is_pinned(&[0; 32]));
    }

    #[test]
    fn one_that_comes_by_tls_alone_is_at_no_address() {
        let id: CertificateId = "dns:branch".parse().unwrap();
        let only = Nas { radsec: vec![id.clone()], radsec_only: true, ..nas("branch", "::/128") };
        let table = NasTable::new([only, nas("edge", "10.0.0.1/32")]);
        assert_eq!(names(table.at("::".parse().unwrap())), [""; 0]);
        let shown = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            Certificate::read(made.cert.der()).unwrap().vouched_for_in_test()
        };
        let (branch, other) = (shown("branch"), shown("other"));
        assert_eq!(table.whose(&branch).map(|nas| nas.name.as_str()), Some("branch"));
        assert_eq!(table.whose(&other), None);
        let known = table.known(&"branch".into()).unwrap();
        assert_eq!(known.over_tls().0.secret.expose(), b"radsec");
    }

    /// A look at the store that began first and took long does not undo what a reload found after it.
    #[tokio::test]
    async fn what_the_store_said_last_is_in_force_last() {
        let settings = SettingsHandle::new(some_settings());
        let (read, is_read) = tokio::sync::oneshot::channel();
        let watch = settings.clone();
        let watching = tokio::spawn(async move { watch.take_nases(is_read).await });
        while settings.turn.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let (reload, after) = (settings.clone(), nas("after", "10.0.0.1/32"));
        let found = vec![after.clone()];
        let reloading = tokio::spawn(async move {
            let _turn = reload.turn().await;
            reload.update(|current| current.clone().with_stored_nases(found));
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!reloading.is_finished(), "waits for the look that began before it");
        read.send(vec![nas("before", "10.0.0.1/32")]).unwrap();
        assert!(watching.await.unwrap().unwrap());
        reloading.await.unwrap();
        assert_eq!(settings.current().stored, std::slice::from_ref(&after));
        assert!(!settings.take_nases(async { Ok::<_, ()>(vec![after]) }).await.unwrap(), "nothing new");
    }

    #[test]
    fn a_nas_has_its_bound_of_requests_or_none() {
        let at = Timestamp::from_secs(1);
        let bounded = Known::new(Nas { max_requests_per_second: Some(3), ..nas("edge", "10.0.0.1/32") }, None);
        assert_eq!((0..10).filter(|_| bounded.may_request(at)).count(), 3);
        assert!(bounded.may_request(Timestamp::from_secs(2)));
        let free = Known::new(nas("edge", "10.0.0.1/32"), None);
        assert!((0..10_000).all(|_| free.may_request(at)));
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    /// A network whose hosts change their secret, until second 10.
    fn rotating(name: &str) -> Nas {
        let previous = PreviousSecret { secret: Secret::new("old"), until: Some(Timestamp::from_secs(10)) };
        Nas { previous_secret: Some(previous), ..nas(name, "10.0.0.0/24") }
    }

    /// The secrets by which it is asked whose a packet from there is.
    fn tried(known: &Known, source: IpAddr, at: i64) -> Vec<String> {
        let secrets = known.by_secret(source, Timestamp::from_secs(at));
        secrets.map(|(nas, ..)| String::from_utf8_lossy(nas.secret.expose()).into_owned()).collect()
    }

    #[test]
    fn the_secret_that_was_used_last_is_tried_first_while_both_count() {
        let known = Known::new(rotating("edge"), None);
        let now = Timestamp::from_secs(0);
        assert_eq!(tried(&known, HERE, 0), ["old", "x"], "a secret is changed on the server first");
        known.proved_by(false, HERE, now);
        assert_eq!(tried(&known, HERE, 9), ["x", "old"]);
        assert_eq!(
            tried(&known, "::ffff:10.0.0.1".parse().unwrap(), 9),
            ["x", "old"],
            "an IPv4 peer on an IPv6 socket"
        );
        known.proved_by(true, HERE, now);
        assert_eq!(tried(&known, HERE, 9), ["old", "x"]);
        assert_eq!(tried(&known, HERE, 10), ["x"], "its time is over");
    }

    #[test]
    fn each_host_of_a_network_changes_its_secret_by_itself() {
        let known = Known::new(rotating("edge"), None);
        let now = Timestamp::from_secs(0);
        known.proved_by(false, THERE, now);
        assert_eq!(
            (tried(&known, HERE, 0), tried(&known, THERE, 0)),
            (vec!["old".into(), "x".into()], vec!["x".into(), "old".into()])
        );
        known.proved_by(true, HERE, now);
        assert_eq!(tried(&known, THERE, 0), ["x", "old"], "another's proof says nothing of it");
    }

    fn some_settings() -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("radhold.toml");
        std::fs::write(&file, format!("state_dir = {:?}\n", dir.path())).unwrap();
        let config = Config::load(&config::Flags { config: Some(file), settings: vec![] }).unwrap().config;
        Settings::of(&config, vec![], &ClassKey::new(&Secret::new([1; 32]))).unwrap()
    }

    /// Another NAS of the store, and a reload of the configuration, tell nothing new of this one.
    #[test]
    fn what_was_learnt_of_a_nas_outlives_a_reload() {
        let now = Timestamp::from_secs(0);
        let edge = || Nas { max_requests_per_second: Some(2), ..rotating("edge") };
        let mut settings = Settings { configured: vec![edge()], ..some_settings() }.with_stored_nases(vec![]);
        let known = |settings: &Settings| Arc::clone(settings.nases.known(&"edge".into()).unwrap());
        let first = known(&settings);
        first.proved_by(false, THERE, now);
        assert!(first.may_request(now));
        settings = settings.with_stored_nases(vec![nas("other", "10.0.1.1/32")]);
        assert_eq!(settings.nases.len(), 2);
        // Whoever still holds the settings before learns for those after, too.
        first.proved_by(false, HERE, now);
        let reloaded = Settings { configured: vec![edge()], ..some_settings() };
        let reloaded = reloaded.with_stored_nases(vec![nas("other", "10.0.1.1/32")]).after(&settings);
        for (settings, left) in [(settings, true), (reloaded, false)] {
            assert_eq!(tried(&known(&settings), HERE, 0), ["x", "old"]);
            assert_eq!(tried(&known(&settings), THERE, 0), ["x", "old"]);
            assert!(!settings.nases.lags(&"edge".into(), THERE));
            assert!(settings.nases.named("other").is_some() && settings.stored.len() == 1);
            // Of two there are.
            assert_eq!(known(&settings).may_request(now), left);
        }
    }

    #[test]
    fn with_another_secret_or_bound_it_is_learnt_anew() {
        let now = Timestamp::from_secs(0);
        let edge = || Nas { max_requests_per_second: Some(1), ..rotating("edge") };
        let table = NasTable::new([edge()]);
        let known = |table: &NasTable| Arc::clone(table.known(&"edge".into()).unwrap());
        known(&table).proved_by(false, HERE, now);
        assert!(known(&table).may_request(now));
        let newer = Nas { secret: Secret::new("newer"), ..edge() };
        let older = PreviousSecret { secret: Secret::new("older"), until: None };
        let older = Nas { previous_secret: Some(older), max_requests_per_second: Some(2), ..edge() };
        let [newer, older] = [newer, older].map(|nas| known(&NasTable::after(&table, [nas])));
        assert_eq!(
            (tried(&newer, HERE, 0), tried(&older, HERE, 0)),
            (vec!["old".into(), "newer".into()], vec!["older".into(), "x".into()])
        );
        assert_eq!((newer.may_request(now), older.may_request(now)), (false, true));
        let longer = PreviousSecret { until: None, ..edge().previous_secret.unwrap() };
        let longer = known(&NasTable::after(&table, [Nas { previous_secret: Some(longer), ..edge() }]));
        assert_eq!(tried(&longer, HERE, 0), ["x", "old"]);
    }
}
