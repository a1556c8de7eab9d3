//! Where a login comes from, as Calling-Station-Id says, and the networks it may come from.
//!
//! Knows no ban and no packet; the text arrives as the NAS wrote it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

use crate::model::CallerLists;

/// Who calls: Calling-Station-Id (RFC 2865 §5.31), which is an address on most VPN servers and a name elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// An address. IPv4 in IPv6 is IPv4.
    Address(IpAddr),
    /// Anything else: a MAC address, a telephone number. Compared without regard to ASCII case.
    Station(String),
}

impl Caller {
    /// Reads Calling-Station-Id. `None` when it says nothing. Ports some NASes add (`192.0.2.7[4500]`, `192.0.2.7:4500`) are cut:
    /// the next try comes from another one.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        match Self::address(text) {
            Some(address) => Some(Self::Address(address)),
            None if text.is_empty() => None,
            None => Some(Self::Station(text.to_ascii_lowercase())),
        }
    }

    /// The address in Calling-Station-Id, if it is one.
    fn address(text: &str) -> Option<IpAddr> {
        let before_port = text.strip_suffix(']').and_then(|text| text.split_once('[')).map(|(before, _)| before);
        let address = text
            .parse::<IpAddr>()
            .or_else(|_| before_port.unwrap_or(text).parse::<IpAddr>())
            .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
        address.ok().map(|address| address.to_canonical())
    }

    /// As [`Caller::read`] and then [`Caller::key`], which is written into `key`; gives the address alone, and needs no memory that `key`
    /// does not have.
    pub fn read_key(text: &str, key: &mut String) -> Option<IpAddr> {
        key.clear();
        let text = text.trim();
        let address = Self::address(text);
        match address {
            Some(address) => {
                write_network(&household(address), key).expect("writing to a String cannot fail");
            }
            None => {
                key.push_str(text);
                key.make_ascii_lowercase();
            }
        }
        address
    }

    /// The network whose hosts one person has: an IPv4 address, or the /64 of an IPv6 address, within which a new address costs
    /// nothing. `None` when the caller is no address.
    pub fn household(&self) -> Option<IpNet> {
        match self {
            Self::Address(address) => Some(household(*address)),
            Self::Station(_) => None,
        }
    }

    /// What failures and strikes are counted under: [`Caller::household`], or the station.
    pub fn key(&self) -> String {
        match (self.household(), self) {
            (Some(network), _) => network_text(&network),
            (None, other) => other.to_string(),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Station(station) => f.write_str(station),
        }
    }
}

/// A network as people write it: without length when it is one host.
pub fn network_text(network: &IpNet) -> String {
    let mut text = String::new();
    write_network(network, &mut text).expect("writing to a String cannot fail");
    text
}

fn write_network(network: &IpNet, out: &mut impl fmt::Write) -> fmt::Result {
    if network.prefix_len() == network.max_prefix_len() {
        write!(out, "{}", network.addr())
    } else {
        write!(out, "{network}")
    }
}

fn household(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V6(address) => Ipv6Net::new(address, 64).expect("64 is a length within 128").trunc().into(),
        address => IpNet::from(address),
    }
}

/// What lists say of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Listed as allowed.
    Allowed,
    /// Listed as denied.
    Denied,
    /// Not listed.
    Unlisted,
}

impl CallerLists {
    /// What the lists say: the longest match counts, and between equals the allowing one.
    pub fn standing(&self, caller: Option<&Caller>) -> Standing {
        let Some(Caller::Address(address)) = caller else {
            let all = self.deny.iter().any(|network| network.prefix_len() == 0);
            return if all { Standing::Denied } else { Standing::Unlisted };
        };
        let longest = |networks: &[IpNet]| {
            networks.iter().filter(|network| network.contains(address)).map(|network| network.prefix_len()).max()
        };
        match (longest(&self.allow), longest(&self.deny)) {
            (None, None) => Standing::Unlisted,
            (allow, deny) if allow >= deny => Standing::Allowed,
            _ => Standing::Denied,
        }
    }

    /// Whether any allowed address is in the network.
    pub fn allows_within(&self, network: &IpNet) -> bool {
        self.allow.iter().any(|allowed| allowed.contains(network) || network.contains(allowed))
    }
}

/// What a NAS's own lists say, or where they say nothing the general ones.
pub fn standing(of_nas: &CallerLists, general: &CallerLists, caller: Option<&Caller>) -> Standing {
    match of_nas.standing(caller) {
        Standing::Unlisted => general.standing(caller),
        standing => standing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(allow: &[&str], deny: &[&str]) -> CallerLists {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        CallerLists { allow: networks(allow), deny: networks(deny) }
    }

    #[test]
    fn addresses_are_known_by_whatever_spelling() {
        let address = |text: &str| Some(Caller::Address(text.parse().unwrap()));
        assert_eq!(Caller::read("192.0.2.7"), address("192.0.2.7"));
        assert_eq!(Caller::read(" ::ffff:192.0.2.7 "), address("192.0.2.7"));
        assert_eq!(Caller::read("192.0.2.7[4500]"), address("192.0.2.7"));
        assert_eq!(Caller::read("192.0.2.7:4500"), address("192.0.2.7"));
        assert_eq!(Caller::read("[2001:db8::7]:4500"), address("2001:db8::7"));
        assert_eq!(Caller::read("2001:DB8::7[500]"), address("2001:db8::7"));
        assert_eq!(Caller::read("00-1B-63-84-45-E6"), Some(Caller::Station("00-1b-63-84-45-e6".into())));
        assert_eq!(Caller::read("  "), None);
    }

    #[test]
    fn a_new_address_within_a_64_is_no_new_caller() {
        let key = |text: &str| Caller::read(text).unwrap().key();
        assert_eq!(key("2001:db8::7"), "2001:db8::/64");
        assert_eq!(key("2001:db8::7"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::7"), key("2001:db8:0:1::7"));
        assert_eq!(key("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn the_longest_match_counts_and_allow_wins_between_equals() {
        let lists = lists(&["10.0.0.0/8", "192.0.2.7/32"], &["10.9.0.0/16", "192.0.2.0/24", "192.0.2.7/32"]);
        let of = |text: &str| lists.standing(Caller::read(text).as_ref());
        assert_eq!(of("10.1.2.3"), Standing::Allowed);
        assert_eq!(of("10.9.2.3"), Standing::Denied);
        assert_eq!(of("192.0.2.8"), Standing::Denied);
        assert_eq!(of("192.0.2.7"), Standing::Allowed);
        assert_eq!(of("203.0.113.1"), Standing::Unlisted);
        assert_eq!(of("00-1b-63-84-45-e6"), Standing::Unlisted);
    }

    #[test]
    fn a_list_that_denies_all_denies_callers_without_an_address_too() {
        let only_office = lists(&["10.0.0.0/8"], &["0.0.0.0/0", "::/0"]);
        assert_eq!(only_office.standing(None), Standing::Denied);
        assert_eq!(only_office.standing(Caller::read("00-1b-63").as_ref()), Standing::Denied);
        assert_eq!(only_office.standing(Caller::read("10.0.0.1").as_ref()), Standing::Allowed);
    }

    #[test]
    fn the_nas_is_nearer_than_the_server() {
        let (nas, general) = (lists(&["198.51.100.0/24"], &[]), lists(&[], &["198.51.0.0/16"]));
        let of = |text: &str| standing(&nas, &general, Caller::read(text).as_ref());
        assert_eq!(of("198.51.100.1"), Standing::Allowed);
        assert_eq!(of("198.51.7.1"), Standing::Denied);
    }
}
