//! What the running server goes by: configuration and NASes made ready for use, exchanged as one piece at a reload.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Mutex, MutexGuard};

use super::clock;
use super::current::{Current, Reader};
use super::server::ServeError;
use super::words;
use crate::accounting::ClockBounds;
use crate::config::{self, Config, WhileAway};
use crate::dialect::Dialects;
use crate::model::{CallerLists, CertificateId, Nas, NasName, NodeName, Secret, Timestamp};
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
    /// configuration counts: it is the one an operator can read.
    pub(super) fn with_stored_nases(self, stored: Vec<Nas>) -> Self {
        let configured = |nas: &&Nas| self.configured.iter().any(|other| other.name == nas.name);
        let nases = stored.iter().filter(|nas| !configured(nas)).chain(&self.configured).cloned();
        let nases = NasTable::new(nases.map(|nas| Nas {
            max_requests_per_second: nas.max_requests_per_second.or(self.max_requests_per_second),
            ..nas
        }));
        Self { nases, stored, ..self }
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
}

/// A NAS as requests of it are handled, by the secret that proves them.
#[derive(Debug)]
pub(super) struct Known {
    /// By its secret.
    pub nas: Arc<Nas>,
    secret: PreparedSecret,
    /// By the secret before, while that counts.
    previous: Option<(Arc<Nas>, PreparedSecret)>,
    /// Over TLS, where the secret is a constant and what CVE-2024-3596 demands is not needed.
    over_tls: (Arc<Nas>, PreparedSecret),
    /// Whether it used the secret before when it last proved anything.
    lags: AtomicBool,
    /// New Access-Requests it may send, where there is a bound; a reload fills it up.
    requests: Option<Bucket>,
}

impl Known {
    fn new(nas: Nas) -> Self {
        let previous = nas.previous_secret.as_ref().map(|previous| previous.secret.clone());
        let prepared = |nas: Nas| {
            let secret = PreparedSecret::new(nas.secret.expose());
            (Arc::new(nas), secret)
        };
        let previous = previous.map(|secret| prepared(Nas { secret, ..nas.clone() }));
        let over_tls = Nas {
            secret: Secret::new(radsec::SECRET),
            require_message_authenticator: false,
            limit_proxy_state: false,
            previous_secret: None,
            ..nas.clone()
        };
        let requests = nas.max_requests_per_second.map(|rate| Bucket::new(Measure::per_second(rate)));
        // A secret is changed on the server first.
        let (over_tls, (nas, secret)) = (prepared(over_tls), prepared(nas));
        Self { nas, secret, previous, over_tls, lags: AtomicBool::new(true), requests }
    }

    /// It by each secret that counts now, the one it used last first, and whether that is the one before.
    pub(super) fn by_secret(&self, now: Timestamp) -> impl Iterator<Item = (&Arc<Nas>, &PreparedSecret, bool)> {
        let counts = self.nas.previous_secret.as_ref().is_some_and(|previous| previous.counts(now));
        let previous = self.previous.as_ref().filter(|_| counts).map(|(nas, secret)| (nas, secret, true));
        let current = (&self.nas, &self.secret, false);
        let (first, second) = match (previous, self.lags.load(Ordering::Relaxed)) {
            (Some(previous), true) => (previous, Some(current)),
            (previous, _) => (current, previous),
        };
        iter::once(first).chain(second)
    }

    /// Notes which secret proved something.
    pub(super) fn proved_by(&self, previous: bool) {
        if self.lags.load(Ordering::Relaxed) != previous {
            self.lags.store(previous, Ordering::Relaxed);
        }
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
    /// A table; of two NASes with the same name, or the same network and NAS-Identifier, the later one counts.
    pub(super) fn new(nases: impl IntoIterator<Item = Nas>) -> Self {
        let mut table = Self::default();
        for nas in nases {
            let known = Arc::new(Known::new(nas));
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

    /// The NAS that goes by any of these over TLS.
    pub(super) fn bound(&self, ids: &[CertificateId]) -> Option<&Arc<Nas>> {
        self.iter().find(|nas| nas.radsec.iter().any(|id| ids.contains(id)))
    }

    /// Whether a NAS with two secrets was last heard with the old one.
    pub(super) fn lags(&self, name: &NasName) -> bool {
        self.names.get(name).is_some_and(|known| known.lags.load(Ordering::Relaxed))
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
    fn one_that_comes_by_tls_alone_is_at_no_address() {
        let id: CertificateId = "dns:branch".parse().unwrap();
        let only = Nas { radsec: vec![id.clone()], radsec_only: true, ..nas("branch", "::/128") };
        let table = NasTable::new([only, nas("edge", "10.0.0.1/32")]);
        assert_eq!(names(table.at("::".parse().unwrap())), [""; 0]);
        assert_eq!(table.bound(&[id]).map(|nas| nas.name.as_str()), Some("branch"));
        assert_eq!(table.bound(&["dns:other".parse().unwrap()]), None);
        let known = table.known(&"branch".into()).unwrap();
        assert_eq!(known.over_tls().0.secret.expose(), b"radsec");
    }

    /// A look at the store that began first and took long does not undo what a reload found after it.
    #[tokio::test]
    async fn what_the_store_said_last_is_in_force_last() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("radhold.toml");
        std::fs::write(&file, format!("state_dir = {:?}\n", dir.path())).unwrap();
        let config = Config::load(&config::Flags { config: Some(file), settings: vec![] }).unwrap().config;
        let settings = Settings::of(&config, vec![], &ClassKey::new(&Secret::new([1; 32]))).unwrap();
        let settings = SettingsHandle::new(settings);
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
        let bounded = Known::new(Nas { max_requests_per_second: Some(3), ..nas("edge", "10.0.0.1/32") });
        assert_eq!((0..10).filter(|_| bounded.may_request(at)).count(), 3);
        assert!(bounded.may_request(Timestamp::from_secs(2)));
        let free = Known::new(nas("edge", "10.0.0.1/32"));
        assert!((0..10_000).all(|_| free.may_request(at)));
    }

    #[test]
    fn the_secret_that_was_used_last_is_tried_first_while_both_count() {
        let previous = PreviousSecret { secret: Secret::new("old"), until: Some(Timestamp::from_secs(10)) };
        let known = Known::new(Nas { previous_secret: Some(previous), ..nas("edge", "10.0.0.1/32") });
        let tried = |at: i64| {
            let secrets = known.by_secret(Timestamp::from_secs(at));
            secrets.map(|(nas, ..)| String::from_utf8_lossy(nas.secret.expose()).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(tried(0), ["old", "x"]);
        known.proved_by(false);
        assert_eq!(tried(9), ["x", "old"]);
        known.proved_by(true);
        assert_eq!(tried(10), ["x"], "its time is over");
    }
}
