//! By which attributes a NAS knows a session, and whether two descriptions can be of one.

use std::net::IpAddr;

use ipnet::Ipv6Net;

use super::medium::medium_of;
use crate::model::Identity;
use crate::radius::value::{DataType, Value};
use crate::radius::{Packet, attribute};

/// What a packet of a NAS says about which session it is (RFC 2865 §5, RFC 5176 §3).
pub fn identity_of(packet: &Packet<'_>) -> Identity {
    let text = |kind| packet.first(kind).filter(|it| !it.is_empty()).map(|it| String::from_utf8_lossy(it).into_owned());
    let ip = |v4, v6| packet.ipv4(v4).map(IpAddr::V4).or_else(|| packet.ipv6(v6).map(IpAddr::V6));
    Identity {
        nas_port: packet.integer(attribute::NAS_PORT),
        nas_port_id: text(attribute::NAS_PORT_ID),
        nas_ip_address: ip(attribute::NAS_IP_ADDRESS, attribute::NAS_IPV6_ADDRESS),
        nas_identifier: text(attribute::NAS_IDENTIFIER),
        calling_station_id: text(attribute::CALLING_STATION_ID),
        called_station_id: text(attribute::CALLED_STATION_ID),
        acct_session_id: text(attribute::ACCT_SESSION_ID),
        framed_ip: ip(attribute::FRAMED_IP_ADDRESS, attribute::FRAMED_IPV6_ADDRESS),
        framed_ipv6_prefix: packet.first(attribute::FRAMED_IPV6_PREFIX).and_then(ipv6_prefix),
        medium: medium_of(packet),
    }
}

/// Whether a report can be of the session known as `known`: what both state must be the same. Acct-Session-Id alone
/// never decides, for NASes repeat it.
pub fn same_session(known: &Identity, reported: &Identity) -> bool {
    fn agree<T: PartialEq>(known: &Option<T>, reported: &Option<T>) -> bool {
        match (known, reported) {
            (Some(known), Some(reported)) => known == reported,
            _ => true,
        }
    }
    agree(&known.nas_port, &reported.nas_port)
        && agree(&known.nas_port_id, &reported.nas_port_id)
        && agree(&known.calling_station_id, &reported.calling_station_id)
        && agree(&known.acct_session_id, &reported.acct_session_id)
}

/// Whether two sessions of one NAS are on the same port: by NAS-Port and NAS-Port-Id, of which both must state one at least,
/// and agree in what both state.
pub fn same_port(a: &Identity, b: &Identity) -> bool {
    let numbers = a.nas_port.zip(b.nas_port).map(|(a, b)| a == b);
    let names = a.nas_port_id.as_ref().zip(b.nas_port_id.as_ref()).map(|(a, b)| a == b);
    (numbers.is_some() || names.is_some()) && numbers.unwrap_or(true) && names.unwrap_or(true)
}

/// Whether two packets are of one device, where several share an entry: by NAS-Identifier, else NAS-IP-Address, when both
/// state it, else by where they came from.
pub fn same_nas(known: (&Identity, IpAddr), reported: (&Identity, IpAddr)) -> bool {
    let ((known, known_from), (reported, reported_from)) = (known, reported);
    if let (Some(known), Some(reported)) = (&known.nas_identifier, &reported.nas_identifier) {
        return known == reported;
    }
    if let (Some(known), Some(reported)) = (known.nas_ip_address, reported.nas_ip_address) {
        return known == reported;
    }
    known_from == reported_from
}

fn ipv6_prefix(octets: &[u8]) -> Option<Ipv6Net> {
    match Value::decode(DataType::Ipv6Prefix, octets) {
        Ok(Value::Ipv6Prefix(address, length)) => Ipv6Net::new(address, length).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_share_an_entry_are_told_apart() {
        let (a, b) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
        let nothing = Identity::default();
        assert!(same_nas((&nothing, a), (&nothing, a)));
        assert!(!same_nas((&nothing, a), (&nothing, b)));
        let named = |name: &str| Identity { nas_identifier: Some(name.into()), ..Identity::default() };
        assert!(same_nas((&named("ap1"), a), (&named("ap1"), b)), "one device may send from two addresses");
        assert!(!same_nas((&named("ap1"), a), (&named("ap2"), a)), "two devices may stand behind one address");
        let at = |address| Identity { nas_ip_address: Some(address), ..Identity::default() };
        assert!(!same_nas((&at(a), a), (&at(b), a)));
        assert!(same_nas((&at(a), a), (&named("ap1"), a)));
    }

    #[test]
    fn a_port_is_the_same_when_something_says_so_and_nothing_against_it() {
        let port = |nas_port, nas_port_id: Option<&str>| Identity {
            nas_port,
            nas_port_id: nas_port_id.map(str::to_owned),
            ..Identity::default()
        };
        assert!(same_port(&port(Some(3), None), &port(Some(3), Some("ether1"))));
        assert!(same_port(&port(None, Some("ether1")), &port(Some(3), Some("ether1"))));
        assert!(!same_port(&port(Some(0), Some("ether1")), &port(Some(0), Some("ether2"))));
        assert!(!same_port(&port(Some(3), Some("ether1")), &port(Some(4), Some("ether1"))));
        assert!(!same_port(&port(None, None), &port(None, None)), "nothing says that they are");
        assert!(!same_port(&port(Some(3), None), &port(None, Some("ether1"))));
    }

    #[test]
    fn what_both_state_must_agree() {
        let offer = Identity { nas_port: Some(2), calling_station_id: Some("10.90.0.2".into()), ..Identity::default() };
        let id = Some("%lX6b0011f6%hX".to_owned());
        let start = Identity { acct_session_id: id.clone(), ..offer.clone() };
        assert!(same_session(&offer, &start), "the offer knows no Acct-Session-Id yet");
        let twin = Identity { nas_port: Some(3), ..start.clone() };
        assert!(!same_session(&start, &twin), "pppd 2.4.9 gives two logins of one second the same Acct-Session-Id");
    }
}
