//! By what and from where a caller comes, in words that can be shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Language;

/// What a caller comes by, as far as the NAS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// PPTP.
    Pptp,
    /// L2TP, with IPsec or without.
    L2tp,
    /// IPsec: IKEv1 or IKEv2.
    Ipsec,
    /// SSTP.
    Sstp,
    /// OpenVPN.
    Openvpn,
    /// A VPN over TLS of some vendor.
    SslVpn,
    /// Some tunnel, or a port that is none of hardware.
    Virtual,
    /// PPP over Ethernet.
    Pppoe,
    /// PPP on a line, or what a daemon takes for one.
    Ppp,
    /// ISDN.
    Isdn,
    /// A DSL line.
    Dsl,
    /// A cable modem.
    Cable,
    /// Fibre.
    Fibre,
    /// An Ethernet port.
    Ethernet,
    /// Wi-Fi.
    Wifi,
    /// A radio network of another kind.
    Wireless,
    /// A login to a device or host itself.
    Console,
}

impl Medium {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Pptp,
        Self::L2tp,
        Self::Ipsec,
        Self::Sstp,
        Self::Openvpn,
        Self::SslVpn,
        Self::Virtual,
        Self::Pppoe,
        Self::Ppp,
        Self::Isdn,
        Self::Dsl,
        Self::Cable,
        Self::Fibre,
        Self::Ethernet,
        Self::Wifi,
        Self::Wireless,
        Self::Console,
    ];

    /// The word in tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pptp => "pptp",
            Self::L2tp => "l2tp",
            Self::Ipsec => "ipsec",
            Self::Sstp => "sstp",
            Self::Openvpn => "openvpn",
            Self::SslVpn => "ssl-vpn",
            Self::Virtual => "virtual",
            Self::Pppoe => "pppoe",
            Self::Ppp => "ppp",
            Self::Isdn => "isdn",
            Self::Dsl => "dsl",
            Self::Cable => "cable",
            Self::Fibre => "fibre",
            Self::Ethernet => "ethernet",
            Self::Wifi => "wifi",
            Self::Wireless => "wireless",
            Self::Console => "console",
        }
    }
}

/// Where an address is, as far as this host knows by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whereabouts {
    /// The country.
    pub country: Names,
    /// The city.
    pub city: Names,
    /// The number of the network's autonomous system.
    pub system: Option<u32>,
    /// Who runs that network.
    pub network: Option<String>,
    /// The address's name in the DNS.
    pub host: Option<String>,
}

/// The names of a place, by language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(pub BTreeMap<Language, String>);

impl Names {
    /// In that language, else in English, else in any.
    pub fn in_language(&self, language: &Language) -> Option<&str> {
        let name = self.0.get(language).or_else(|| self.0.get(&Language::english()));
        name.or_else(|| self.0.values().next()).map(String::as_str)
    }
}

/// The hardware address a Calling-Station-Id is, written one way: `AA:BB:CC:DD:EE:FF`. Reads what is written in pairs, in threes
/// of four, or without any sign between (RFC 3580 §3.21 asks for pairs with `-`).
pub fn hardware_address(station: &str) -> Option<String> {
    let station = station.trim();
    let digits: Vec<char> = station.chars().filter(char::is_ascii_hexdigit).collect();
    let between = station.chars().filter(|sign| !sign.is_ascii_hexdigit()).collect::<Vec<_>>();
    let even = between.windows(2).all(|pair| pair[0] == pair[1]) && between.iter().all(|sign| "-:.".contains(*sign));
    // Twelve digits and nothing else may be a telephone number, too.
    let is_number = between.is_empty() && digits.iter().all(char::is_ascii_digit);
    if digits.len() != 12 || !matches!(between.len(), 0 | 2 | 5) || !even || is_number {
        return None;
    }
    let pairs: Vec<String> = digits.chunks(2).map(|pair| pair.iter().collect::<String>().to_uppercase()).collect();
    Some(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_written_one_way() {
        for station in ["aa-bb-cc-dd-ee-0f", "AA:BB:CC:DD:EE:0F", "aabb.ccdd.ee0f", " aabbccddee0f "] {
            assert_eq!(hardware_address(station).as_deref(), Some("AA:BB:CC:DD:EE:0F"), "{station}");
        }
        for station in ["203.0.113.7", "2001:db8::1", "491512345678", "aa-bb:cc-dd-ee-0f", "aabbccddee", ""] {
            assert_eq!(hardware_address(station), None, "{station}");
        }
    }

    #[test]
    fn a_place_is_named_in_the_language_or_else_in_english() {
        let names: Names = Names(
            [("en", "Germany"), ("ru", "Германия")].map(|(tag, name)| (tag.parse().unwrap(), name.to_owned())).into(),
        );
        assert_eq!(names.in_language(&"ru".parse().unwrap()), Some("Германия"));
        assert_eq!(names.in_language(&"fr".parse().unwrap()), Some("Germany"));
        assert_eq!(Names::default().in_language(&Language::english()), None);
    }

    #[test]
    fn media_have_words_of_their_own() {
        for medium in Medium::ALL {
            assert_eq!(serde_json::to_value(medium).unwrap(), medium.as_str());
        }
    }
}
