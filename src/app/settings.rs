//! What the running server goes by: configuration and NASes made ready for use, exchanged as one piece at a reload.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::accounting::ClockBounds;
use crate::config::{self, WhileAway};
use crate::dialect::Dialects;
use crate::model::{CallerLists, Nas, NodeName, Timestamp};
use crate::policy::{Defaults, LockoutLimits, StrikeLimits};
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
    /// Which times of NASes are believed.
    pub clock: ClockBounds,
    /// How long usage is kept by interval; `None` is for ever.
    pub keep_intervals: Option<Duration>,
    /// How long an Access-Reject is kept back where neither user nor NAS says otherwise.
    pub reject_delay: Duration,
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
    /// The same with these NASes from the store. Of two with the same name, or for the same network, the one of the
    /// configuration counts: it is the one an operator can read.
    pub(super) fn with_stored_nases(self, stored: Vec<Nas>) -> Self {
        let configured = |nas: &&Nas| self.configured.iter().any(|other| other.name == nas.name);
        let nases = NasTable::new(stored.iter().filter(|nas| !configured(nas)).chain(&self.configured).cloned());
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
pub(super) struct SettingsHandle(Arc<RwLock<Arc<Settings>>>);

impl SettingsHandle {
    pub(super) fn new(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(settings))))
    }

    /// Those in force now. Whoever holds them keeps them whole through a reload.
    pub(super) fn current(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force, made from those there are.
    pub(super) fn update(&self, make: impl FnOnce(&Settings) -> Settings) {
        let mut settings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *settings = Arc::new(make(&settings));
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
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct NasTable {
    hosts: HashMap<IpAddr, Arc<Nas>>,
    /// The longest prefix first.
    networks: Vec<Arc<Nas>>,
}

impl NasTable {
    /// A table; of two NASes with the same network the later one counts.
    pub(super) fn new(nases: impl IntoIterator<Item = Nas>) -> Self {
        let mut table = Self::default();
        for nas in nases {
            let nas = Arc::new(nas);
            if nas.network.prefix_len() == nas.network.max_prefix_len() {
                table.hosts.insert(nas.network.addr(), nas);
            } else {
                table.networks.retain(|other| other.network.trunc() != nas.network.trunc());
                table.networks.push(nas);
            }
        }
        table.networks.sort_by_key(|nas| std::cmp::Reverse(nas.network.prefix_len()));
        table
    }

    /// The NAS at that address.
    pub(super) fn at(&self, address: IpAddr) -> Option<&Arc<Nas>> {
        let address = address.to_canonical();
        self.hosts.get(&address).or_else(|| self.networks.iter().find(|nas| nas.network.contains(&address)))
    }

    /// The NAS of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Nas>> {
        self.iter().find(|nas| nas.name.as_str() == name)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Nas>> {
        self.hosts.values().chain(&self.networks)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hosts.len() + self.networks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn nas(name: &str, network: &str) -> Nas {
        Nas::new(name, network.parse::<ipnet::IpNet>().unwrap(), Secret::new("x"))
    }

    #[test]
    fn the_longest_network_wins() {
        let table = NasTable::new([
            nas("all", "10.0.0.0/8"),
            nas("site", "10.1.0.0/16"),
            nas("edge", "10.1.2.3/32"),
            nas("six", "2001:db8::/32"),
        ]);
        let at = |address: &str| table.at(address.parse().unwrap()).map(|nas| nas.name.to_string());
        assert_eq!(at("10.1.2.3").as_deref(), Some("edge"));
        assert_eq!(at("::ffff:10.1.2.3").as_deref(), Some("edge"), "an IPv4 peer on an IPv6 socket");
        assert_eq!(at("10.1.9.9").as_deref(), Some("site"));
        assert_eq!(at("10.9.9.9").as_deref(), Some("all"));
        assert_eq!(at("2001:db8::1").as_deref(), Some("six"));
        assert_eq!(at("192.0.2.1"), None);
        assert_eq!(table.named("site").map(|nas| nas.network.prefix_len()), Some(16));
        assert_eq!(table.len(), 4);
    }
}
