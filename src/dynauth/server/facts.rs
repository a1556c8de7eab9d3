//! What a session and this NAS are known by, and whether an attribute of a request speaks of them (RFC 5176 §3).
//!
//! Knows attributes and values, never where they were learnt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::radius::{Attribute, attribute};

/// How far Acct-Session-Id's second may be from when we heard of the session.
const SECONDS_APART: i64 = 30;

/// What this NAS goes by. An empty list lets any name pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NasNames {
    /// For NAS-Identifier.
    pub identifiers: Vec<String>,
    /// For NAS-IP-Address and NAS-IPv6-Address.
    pub addresses: Vec<IpAddr>,
    /// Whether servers know its sessions through the front, which makes their Acct-Session-Id.
    pub through_front: bool,
}

/// What a session is known by. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// User-Name.
    pub user_name: Option<String>,
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// NAS-Port-Id: any of these names.
    pub nas_port_ids: Vec<String>,
    /// Framed-IP-Address.
    pub framed_ip_address: Option<Ipv4Addr>,
    /// Framed-IPv6-Address.
    pub framed_ipv6_addresses: Vec<Ipv6Addr>,
    /// Framed-IPv6-Prefix and Delegated-IPv6-Prefix.
    pub ipv6_prefixes: Vec<Ipv6Net>,
    /// Framed-Interface-Id.
    pub framed_interface_id: Option<[u8; 8]>,
    /// Calling-Station-Id.
    pub calling_station_id: Option<String>,
    /// Acct-Session-Id, when somebody told us.
    pub acct_session_id: Option<String>,
    /// Class, as pppd's radattr writes it: see [`Facts::written`].
    pub class: Option<String>,
    /// When the session was first heard of.
    pub since: Timestamp,
    /// The process that serves it.
    pub pid: Option<u32>,
    /// Whether we can end it.
    pub removable: bool,
}

/// Whether a session is the one an attribute speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// This is something we never learn of some sessions: it decides nothing by itself.
    Unknown,
}

/// Attributes that say which session is meant, of those we know (RFC 5176 §3).
pub(super) const IDENTIFICATION: &[u8] = &[
    attribute::USER_NAME,
    attribute::NAS_PORT,
    attribute::NAS_PORT_ID,
    attribute::FRAMED_IP_ADDRESS,
    attribute::FRAMED_IPV6_ADDRESS,
    attribute::FRAMED_IPV6_PREFIX,
    attribute::DELEGATED_IPV6_PREFIX,
    attribute::FRAMED_INTERFACE_ID,
    attribute::CALLING_STATION_ID,
    attribute::ACCT_SESSION_ID,
    attribute::CLASS,
];

/// Attributes that say which NAS is meant (RFC 5176 §3).
pub(super) const NAS_IDENTIFICATION: &[u8] =
    &[attribute::NAS_IP_ADDRESS, attribute::NAS_IDENTIFIER, attribute::NAS_IPV6_ADDRESS];

impl NasNames {
    /// Whether an attribute of [`NAS_IDENTIFICATION`] names this NAS.
    pub(super) fn include(&self, attribute: &Attribute<'_>) -> bool {
        let address = |address: Option<IpAddr>| {
            self.addresses.is_empty() || address.is_some_and(|address| self.addresses.contains(&address))
        };
        match attribute.kind {
            attribute::NAS_IDENTIFIER => {
                self.identifiers.is_empty() || self.identifiers.iter().any(|name| name.as_bytes() == attribute.value)
            }
            attribute::NAS_IP_ADDRESS => address(<[u8; 4]>::try_from(attribute.value).ok().map(IpAddr::from)),
            _ => address(<[u8; 16]>::try_from(attribute.value).ok().map(IpAddr::from)),
        }
    }
}

impl Facts {
    /// Octets as pppd's radattr plugin writes them: what is not printable as a backslash and three octal digits.
    pub fn written(octets: &[u8]) -> String {
        let mut text = String::new();
        for octet in octets {
            if (b' '..=b'~').contains(octet) {
                text.push(char::from(*octet));
            } else {
                text.push_str(&format!("\\{octet:03o}"));
            }
        }
        text
    }

    /// Whether an attribute of [`IDENTIFICATION`], well formed, speaks of this session of that NAS.
    pub(super) fn matches(&self, nas: &NasNames, attribute: &Attribute<'_>) -> Match {
        let value = attribute.value;
        match attribute.kind {
            attribute::USER_NAME => known(self.user_name.as_ref(), |name| name.as_bytes() == value),
            attribute::NAS_PORT => sure(self.nas_port.is_some_and(|port| port.to_be_bytes() == value)),
            attribute::NAS_PORT_ID => sure(self.nas_port_ids.iter().any(|name| name.as_bytes() == value)),
            attribute::FRAMED_IP_ADDRESS => known(self.framed_ip_address.as_ref(), |ip| ip.octets() == value),
            attribute::FRAMED_IPV6_ADDRESS => match <[u8; 16]>::try_from(value).map(Ipv6Addr::from) {
                Ok(address) if self.framed_ipv6_addresses.contains(&address) => Match::Yes,
                Ok(address) => sure(self.ipv6_prefixes.iter().any(|prefix| prefix.contains(&address))),
                Err(_) => Match::No,
            },
            attribute::FRAMED_IPV6_PREFIX | attribute::DELEGATED_IPV6_PREFIX => {
                sure(prefix(value).is_some_and(|prefix| self.ipv6_prefixes.contains(&prefix)))
            }
            attribute::FRAMED_INTERFACE_ID => sure(self.framed_interface_id.is_some_and(|id| id == value)),
            attribute::CALLING_STATION_ID => known(self.calling_station_id.as_ref(), |id| id.as_bytes() == value),
            attribute::CLASS => self.has_class(value),
            attribute::ACCT_SESSION_ID => match &self.acct_session_id {
                Some(id) => sure(id.as_bytes() == value),
                // RFC 5176 §3: all that is given must match. Who else made it nobody knows; the front's we would know.
                None => match self.made_by_pppd(value) {
                    None if nas.through_front => Match::No,
                    None => Match::Unknown,
                    Some(same) => sure(same),
                },
            },
            _ => Match::No,
        }
    }

    /// radattr takes a zero octet for the end: then equal beginnings prove nothing, and different ones do.
    fn has_class(&self, class: &[u8]) -> Match {
        let Some(known) = &self.class else { return Match::Unknown };
        let begins = class.iter().position(|octet| *octet == 0).map(|zero| &class[..zero]);
        if *known == Self::written(class) {
            Match::Yes
        } else if begins.is_some_and(|begins| *known == Self::written(begins)) {
            Match::Unknown
        } else {
            Match::No
        }
    }

    /// pppd tells nobody its Acct-Session-Id, but makes it of the second, its process id and a counter; 2.4.9 by mistake writes
    /// `%lX`, the second in lower case, `%hX`. The front keeps what of this is letters and digits, and puts a hash of 16 hex
    /// digits behind it. `None` when it has no such form.
    fn made_by_pppd(&self, id: &[u8]) -> Option<bool> {
        let id = std::str::from_utf8(id).ok()?;
        let near =
            |hex: &str| i64::from_str_radix(hex, 16).is_ok_and(|at| (at - self.since.as_secs()).abs() <= SECONDS_APART);
        let is_hex = |text: &str| text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        if let Some(second) = id.strip_prefix("%lX").and_then(|rest| rest.strip_suffix("%hX")) {
            return Some(near(second));
        }
        let fronts = id.rsplit_once('-').filter(|(_, hash)| hash.len() == 16 && is_hex(hash)).map(|(kept, _)| kept);
        if let Some(second) = fronts.filter(|kept| kept.len() == 8 && is_hex(kept)) {
            return Some(near(second));
        }
        let whole = fronts.unwrap_or(id);
        let (second, rest, pid) = (whole.get(..8)?, whole.get(8..)?, self.pid?);
        let shaped = whole.bytes().all(|octet| octet.is_ascii_digit() || (b'A'..=b'F').contains(&octet));
        (shaped && rest.len() >= 6).then(|| rest.starts_with(&format!("{pid:04X}")) && near(second))
    }
}

/// `ipv6prefix` (RFC 8044 §3.10): a reserved octet, the length in bits, and as many octets as are needed or more.
pub(super) fn prefix(value: &[u8]) -> Option<Ipv6Net> {
    let (&[0, length], octets) = value.split_first_chunk()? else { return None };
    let mut address = [0; 16];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Ipv6Net::new(Ipv6Addr::from(address), length).ok().map(|net| net.trunc())
}

fn sure(same: bool) -> Match {
    if same { Match::Yes } else { Match::No }
}

fn known<T>(fact: Option<&T>, same: impl FnOnce(&T) -> bool) -> Match {
    fact.map_or(Match::Unknown, |fact| sure(same(fact)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(nas: &NasNames, facts: &Facts, id: &str) -> Match {
        facts.matches(nas, &Attribute { kind: attribute::ACCT_SESSION_ID, value: id.as_bytes() })
    }

    fn id(facts: &Facts, id: &str) -> Match {
        id_of(&NasNames::default(), facts, id)
    }

    fn class_of(facts: &Facts, value: &[u8]) -> Match {
        facts.matches(&NasNames::default(), &Attribute { kind: attribute::CLASS, value })
    }

    #[test]
    fn class_is_compared_as_radattr_writes_it() {
        assert_eq!(Facts::written(b"rh\x01\x07~ \x00"), "rh\\001\\007~ \\000");
        assert_eq!(Facts::written(&[0xd5, b'S']), "\\325S");
        let facts = Facts { class: Some("\\325S".to_owned()), ..Facts::default() };
        assert_eq!(class_of(&facts, &[0xd5, b'S']), Match::Yes);
        assert_eq!(class_of(&facts, b"other"), Match::No);
        let none = Facts::default();
        assert_eq!(class_of(&none, b"other"), Match::Unknown);
        let cut = Facts { class: Some("rh\\001".to_owned()), ..Facts::default() };
        assert_eq!(class_of(&cut, b"rh\x01\0one"), Match::Unknown);
        assert_eq!(class_of(&cut, b"rh\x02\0one"), Match::No);
    }

    #[test]
    fn an_acct_session_id_of_pppd_is_known_by_its_second_and_process() {
        let facts = Facts { since: Timestamp::from_secs(0x6b00_0862), pid: Some(0x129), ..Facts::default() };
        assert_eq!(id(&facts, "%lX6b000862%hX"), Match::Yes, "pppd 2.4.9");
        assert_eq!(id(&facts, "%lX6b000962%hX"), Match::No);
        assert_eq!(id(&facts, "6B000863012900"), Match::Yes, "pppd 2.5");
        assert_eq!(id(&facts, "6B010863012900"), Match::No);
        assert_eq!(id(&facts, "6B00086301FF00"), Match::No, "another process");
        assert_eq!(id(&facts, "somebody-elses"), Match::Unknown);
        assert_eq!(id(&facts, "6b000862-0123456789abcdef"), Match::Yes, "the front's, of pppd 2.4.9's");
        assert_eq!(id(&facts, "6b000962-0123456789abcdef"), Match::No);
        assert_eq!(id(&facts, "6B000863012900-0123456789abcdef"), Match::Yes, "the front's, of pppd 2.5's");
        assert_eq!(id(&facts, "6B010863012900-0123456789abcdef"), Match::No);
        let front = NasNames { through_front: true, ..NasNames::default() };
        assert_eq!(id_of(&front, &facts, "6b000862-0123456789abcdef"), Match::Yes);
        for foreign in ["somebody-elses", "6b000862-0123456789ABCDEF", "6b000862-0123456789abcde", "x"] {
            assert_eq!(id_of(&front, &facts, foreign), Match::No, "{foreign}");
            assert_eq!(id(&facts, foreign), Match::Unknown, "{foreign}");
        }
        let told = Facts { acct_session_id: Some("front-7".to_owned()), ..facts };
        assert_eq!(id(&told, "front-7"), Match::Yes);
        assert_eq!(id(&told, "%lX6b000862%hX"), Match::No);
    }

    #[test]
    fn prefixes_are_compared_by_their_bits() {
        let facts = Facts { ipv6_prefixes: vec!["2001:db8:1::/48".parse().unwrap()], ..Facts::default() };
        let of = |kind, value: &[u8]| facts.matches(&NasNames::default(), &Attribute { kind, value });
        let same = [0, 48, 0x20, 0x01, 0x0d, 0xb8, 0, 1];
        assert_eq!(of(attribute::FRAMED_IPV6_PREFIX, &same), Match::Yes);
        assert_eq!(of(attribute::FRAMED_IPV6_PREFIX, &[0, 47, 0x20, 0x01, 0x0d, 0xb8, 0, 1]), Match::No);
        assert_eq!(of(attribute::FRAMED_IPV6_PREFIX, &[0, 129]), Match::No);
        let inside: Ipv6Addr = "2001:db8:1::7".parse().unwrap();
        assert_eq!(of(attribute::FRAMED_IPV6_ADDRESS, &inside.octets()), Match::Yes);
    }
}
