//! Bans: who is refused, until when, and why.
//!
//! Finds the ban that stands against a login. Never sets one by itself (`strikes` says when), and never knows a store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use super::callers::{Caller, network_text};
use crate::model::{Timestamp, UserName};

/// Whom a ban is against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanTarget {
    /// Callers of these addresses.
    Network(IpNet),
    /// Callers whose Calling-Station-Id is no address, but this.
    Station(String),
    /// A User-Name, from wherever.
    Account(UserName),
}

impl BanTarget {
    /// The target of a caller.
    pub fn of_caller(caller: &Caller) -> Self {
        match caller.household() {
            Some(network) => Self::Network(network),
            None => Self::Station(caller.to_string()),
        }
    }

    /// Reads what [`BanTarget::kind`] and [`BanTarget::value`] wrote.
    ///
    /// # Errors
    /// With what is wrong, for people.
    pub fn read(kind: &str, value: &str) -> Result<Self, String> {
        match kind {
            "address" => match Caller::read(value) {
                Some(Caller::Address(address)) => Ok(Self::Network(address.into())),
                _ => match value.parse::<IpNet>() {
                    Ok(network) => Ok(Self::Network(network.trunc())),
                    Err(_) => Err(format!("{value:?} is neither an address nor a network such as 192.0.2.0/24")),
                },
            },
            "station" if !value.trim().is_empty() => Ok(Self::Station(value.trim().to_ascii_lowercase())),
            "account" if !value.is_empty() => Ok(Self::Account(value.into())),
            "station" | "account" => Err(format!("an {kind} that is banned has a name")),
            other => Err(format!("{other:?} cannot be banned")),
        }
    }

    /// The kind, in tables: `address`, `station` or `account`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "address",
            Self::Station(_) => "station",
            Self::Account(_) => "account",
        }
    }

    /// Which one of its kind.
    pub fn value(&self) -> String {
        match self {
            Self::Network(network) => network_text(network),
            Self::Station(station) => station.clone(),
            Self::Account(user) => user.to_string(),
        }
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.value())
    }
}

/// A ban. Each target has one at most; a new one takes the old one's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Against whom.
    pub target: BanTarget,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None` is until it is lifted.
    pub until: Option<Timestamp>,
    /// When it was lifted before its time.
    pub lifted_at: Option<Timestamp>,
    /// Why: what an operator said, or a [`BanReason`].
    pub reason: String,
    /// Who set it: an operator's login, or `radhold` for one that came of strikes.
    pub by: String,
    /// It came of strikes. Such a ban refuses nobody who comes from an allowed network.
    pub automatic: bool,
    /// It was set against an allowed network knowingly, and counts there too.
    pub forced: bool,
}

/// Why somebody is banned, as it is kept: in English words that are read back, so that it can be said in others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BanReason {
    /// So many strikes, by themselves.
    Strikes(u32),
    /// A button under the notice of a denied login, of that user.
    DeniedLogin(UserName),
    /// What an operator said.
    Said(String),
}

const STRIKES: &str = " logins denied or not confirmed";
const DENIED_LOGIN: &str = "denied login of ";

impl fmt::Display for BanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strikes(count) => write!(f, "{count}{STRIKES}"),
            Self::DeniedLogin(user) => write!(f, "{DENIED_LOGIN}{user}"),
            Self::Said(reason) => f.write_str(reason),
        }
    }
}

impl Ban {
    /// Why it was set.
    pub fn why(&self) -> BanReason {
        if let Some(Ok(count)) = self.reason.strip_suffix(STRIKES).map(str::parse).filter(|_| self.automatic) {
            return BanReason::Strikes(count);
        }
        match self.reason.strip_prefix(DENIED_LOGIN) {
            Some(user) => BanReason::DeniedLogin(UserName::new(user)),
            None => BanReason::Said(self.reason.clone()),
        }
    }

    /// Whether it refuses anybody at that time.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.lifted_at.is_none() && self.until.is_none_or(|until| now < until)
    }

    /// Whether it counts for somebody from an allowed network. An operator's word against a person does; what came by itself, or
    /// meets the network only because a larger one was banned, does not.
    fn counts_where_allowed(&self) -> bool {
        self.forced || (!self.automatic && matches!(self.target, BanTarget::Account(_)))
    }
}

/// All bans, to be asked at each login.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BanList {
    networks: BTreeMap<IpNet, Ban>,
    /// Prefix lengths there are, so that a lookup costs one search each.
    lengths: BTreeSet<u8>,
    others: BTreeMap<BanTarget, Ban>,
}

impl BanList {
    /// A list of bans.
    pub fn new(bans: impl IntoIterator<Item = Ban>) -> Self {
        let mut list = Self::default();
        for ban in bans {
            match &ban.target {
                BanTarget::Network(network) => {
                    list.lengths.insert(network.prefix_len());
                    list.networks.insert(*network, ban);
                }
                other => drop(list.others.insert(other.clone(), ban)),
            }
        }
        list
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.others.is_empty()
    }

    /// The ban against a caller that lasts longest.
    pub fn against_caller(&self, caller: &Caller, allowed: bool, now: Timestamp) -> Option<&Ban> {
        let counts = |ban: &&Ban| ban.in_force(now) && (!allowed || ban.counts_where_allowed());
        match caller {
            Caller::Address(address) => {
                let of_length = |length: &u8| {
                    let network = IpNet::new(*address, *length).ok()?.trunc();
                    self.networks.get(&network).filter(counts)
                };
                self.lengths.iter().filter_map(of_length).max_by_key(|ban| (ban.until.is_none(), ban.until))
            }
            Caller::Station(station) => self.others.get(&BanTarget::Station(station.clone())).filter(counts),
        }
    }

    /// The ban against an account.
    pub fn against_account(&self, user: &UserName, allowed: bool, now: Timestamp) -> Option<&Ban> {
        let counts = |ban: &&Ban| ban.in_force(now) && (!allowed || ban.counts_where_allowed());
        self.others.get(&BanTarget::Account(user.clone())).filter(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn ban(kind: &str, value: &str, until: Option<i64>) -> Ban {
        Ban {
            target: BanTarget::read(kind, value).unwrap(),
            since: Timestamp::from_secs(900),
            until: until.map(Timestamp::from_secs),
            lifted_at: None,
            reason: "test".into(),
            by: "root".into(),
            automatic: false,
            forced: false,
        }
    }

    fn caller(text: &str) -> Caller {
        Caller::read(text).unwrap()
    }

    #[test]
    fn a_reason_is_read_back_as_it_was_meant() {
        let why = |reason: &str, automatic| {
            Ban { reason: reason.to_owned(), automatic, ..ban("account", "alice", None) }.why()
        };
        for reason in [BanReason::Strikes(10), BanReason::DeniedLogin("bob".into()), BanReason::Said("rude".into())] {
            let automatic = matches!(reason, BanReason::Strikes(_));
            assert_eq!(why(&reason.to_string(), automatic), reason);
        }
        let quoted = "10 logins denied or not confirmed";
        assert_eq!(why(quoted, false), BanReason::Said(quoted.to_owned()), "an operator's own words");
    }

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for (kind, value, written) in [
            ("address", "192.0.2.7", "192.0.2.7"),
            ("address", "192.0.2.7/32", "192.0.2.7"),
            ("address", "192.0.2.9/24", "192.0.2.0/24"),
            ("address", "::ffff:192.0.2.7", "192.0.2.7"),
            ("station", "00-1B-63", "00-1b-63"),
            ("account", "Alice", "Alice"),
        ] {
            let target = BanTarget::read(kind, value).unwrap();
            assert_eq!((target.kind(), target.value().as_str()), (kind, written));
            assert_eq!(BanTarget::read(kind, &target.value()), Ok(target));
        }
        assert!(BanTarget::read("address", "alice").is_err());
        assert!(BanTarget::read("account", "").is_err());
    }

    #[test]
    fn an_address_is_found_in_every_network_that_holds_it() {
        let list = BanList::new([
            ban("address", "192.0.2.0/24", Some(2_000)),
            ban("address", "192.0.2.7", Some(1_500)),
            ban("address", "2001:db8::/64", None),
            ban("station", "00-1B-63", Some(2_000)),
        ]);
        let until = |text: &str| list.against_caller(&caller(text), false, NOW).map(|ban| ban.until);
        assert_eq!(until("192.0.2.7"), Some(Some(Timestamp::from_secs(2_000))), "the longest");
        assert_eq!(until("192.0.3.7"), None);
        assert_eq!(until("2001:db8::9"), Some(None));
        assert_eq!(until("00-1b-63"), Some(Some(Timestamp::from_secs(2_000))));
    }

    #[test]
    fn what_is_over_or_lifted_refuses_nobody() {
        let lifted = Ban { lifted_at: Some(NOW), ..ban("account", "bob", None) };
        let list = BanList::new([ban("account", "alice", Some(1_000)), lifted]);
        assert_eq!(list.against_account(&"alice".into(), false, NOW), None);
        assert!(list.against_account(&"alice".into(), false, Timestamp::from_secs(999)).is_some());
        assert_eq!(list.against_account(&"bob".into(), false, NOW), None);
    }

    #[test]
    fn allowed_networks_are_hit_only_by_what_was_meant_for_them() {
        let list = BanList::new([
            ban("address", "10.0.0.0/8", None),
            Ban { forced: true, ..ban("address", "10.7.0.0/16", None) },
            ban("account", "mallory", None),
            Ban { automatic: true, ..ban("account", "alice", None) },
        ]);
        let caller_hit = |text: &str| list.against_caller(&caller(text), true, NOW).is_some();
        assert!(!caller_hit("10.1.0.1"));
        assert!(caller_hit("10.7.0.1"));
        assert!(list.against_account(&"mallory".into(), true, NOW).is_some(), "an operator's word");
        assert!(list.against_account(&"alice".into(), true, NOW).is_none());
        assert!(list.against_account(&"alice".into(), false, NOW).is_some());
    }
}
