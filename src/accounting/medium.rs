//! What a caller comes by, as a packet of a NAS tells it. Pure: values of attributes into one word.

use crate::model::Medium;
use crate::radius::{Packet, attribute};

/// Cisco VPN 3000 and ASA.
const CISCO_VPN: u32 = 3076;
/// Its Client-Type.
const CLIENT_TYPE: u8 = 150;

/// Words in NAS-Port-Id and Connect-Info by which NASes name an interface or a way in, the more special first: RouterOS names an
/// interface `<pptp-alice>`, accel-ppp `l2tp0`, FortiOS says `vpn-ssl` in Connect-Info.
const HINTS: [(&str, Medium); 13] = [
    ("pptp", Medium::Pptp),
    ("l2tp", Medium::L2tp),
    ("sstp", Medium::Sstp),
    ("openvpn", Medium::Openvpn),
    ("ovpn", Medium::Openvpn),
    ("pppoe", Medium::Pppoe),
    ("ikev2", Medium::Ipsec),
    ("ikev1", Medium::Ipsec),
    ("ipsec", Medium::Ipsec),
    ("vpn-ssl", Medium::SslVpn),
    ("sslvpn", Medium::SslVpn),
    ("admin-login", Medium::Console),
    ("802.11", Medium::Wifi),
];

/// What the caller of an Access-Request or Accounting-Request comes by: what names one way counts before what names a kind.
pub fn medium_of(packet: &Packet<'_>) -> Option<Medium> {
    tunnel(packet)
        .or_else(|| cisco_client(packet))
        .or_else(|| hint(packet, attribute::CONNECT_INFO))
        .or_else(|| by_port(packet))
        .or_else(|| service(packet))
}

/// Tunnel-Type (RFC 2868 §3.1): a tag, then the value in three octets.
fn tunnel(packet: &Packet<'_>) -> Option<Medium> {
    let [_, value @ ..] = packet.first(attribute::TUNNEL_TYPE)? else { return None };
    match value {
        [0, 0, 1] => Some(Medium::Pptp),
        [0, 0, 2 | 3] => Some(Medium::L2tp),
        [0, 0, 6 | 9] => Some(Medium::Ipsec),
        _ => None,
    }
}

fn cisco_client(packet: &Packet<'_>) -> Option<Medium> {
    match packet.vendor_first(CISCO_VPN, CLIENT_TYPE)? {
        [0, 0, 0, 1 | 6] => Some(Medium::Ipsec),
        [0, 0, 0, 2 | 3] => Some(Medium::SslVpn),
        [0, 0, 0, 5] => Some(Medium::L2tp),
        _ => None,
    }
}

/// NAS-Port-Type (RFC 2865 §5.41 and its registry); the name of a virtual port may say more.
fn by_port(packet: &Packet<'_>) -> Option<Medium> {
    let kind = match packet.integer(attribute::NAS_PORT_TYPE)? {
        0 | 1 => Medium::Ppp,
        2..=4 | 14 => Medium::Isdn,
        5 => {
            return Some(
                hint(packet, attribute::NAS_PORT_ID).unwrap_or_else(|| service(packet).unwrap_or(Medium::Virtual)),
            );
        }
        11..=13 | 16 => Medium::Dsl,
        15 => Medium::Ethernet,
        17 => Medium::Cable,
        19 => Medium::Wifi,
        18 | 22..=25 | 27..=29 => Medium::Wireless,
        26 | 35 => Medium::Fibre,
        30..=34 => Medium::Pppoe,
        _ => return None,
    };
    Some(kind)
}

/// Service-Type (RFC 2865 §5.6): Login, Administrative, NAS Prompt, Authenticate Only.
fn service(packet: &Packet<'_>) -> Option<Medium> {
    matches!(packet.integer(attribute::SERVICE_TYPE)?, 1 | 6 | 7 | 8).then_some(Medium::Console)
}

fn hint(packet: &Packet<'_>, kind: u8) -> Option<Medium> {
    let text = packet.text(kind)?.to_ascii_lowercase();
    HINTS.iter().find(|(word, _)| text.contains(word)).map(|(_, medium)| *medium)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Attributes<'a> = &'a [(u8, &'a [u8])];

    /// An Access-Request with these attributes.
    fn told(attributes: Attributes<'_>) -> Option<Medium> {
        let body: Vec<u8> = attributes
            .iter()
            .flat_map(|(kind, value)| [&[*kind, u8::try_from(value.len() + 2).unwrap()], *value].concat())
            .collect();
        let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let datagram = [&[1, 0, length[0], length[1]], &[0; 16][..], &body].concat();
        medium_of(&Packet::parse(&datagram).unwrap())
    }

    #[test]
    fn the_medium_is_told_by_what_names_it_best() {
        const PORT_TYPE: u8 = attribute::NAS_PORT_TYPE;
        const PORT_ID: u8 = attribute::NAS_PORT_ID;
        const TUNNEL: u8 = attribute::TUNNEL_TYPE;
        const SERVICE: u8 = attribute::SERVICE_TYPE;
        const VIRTUAL: (u8, &[u8]) = (PORT_TYPE, &[0, 0, 0, 5]);
        const ANYCONNECT: &[u8] = &[0, 0, 0x0c, 0x04, 150, 6, 0, 0, 0, 2];
        let cases: [(Attributes<'_>, Option<Medium>); 16] = [
            (&[], None),
            (&[VIRTUAL], Some(Medium::Virtual)),
            (&[VIRTUAL, (TUNNEL, &[0, 0, 0, 1])], Some(Medium::Pptp)),
            (&[VIRTUAL, (TUNNEL, &[1, 0, 0, 3])], Some(Medium::L2tp)),
            (&[VIRTUAL, (TUNNEL, &[0, 0, 0, 13])], Some(Medium::Virtual)),
            (&[VIRTUAL, (TUNNEL, &[])], Some(Medium::Virtual)),
            (&[VIRTUAL, (PORT_ID, b"<SSTP-alice>")], Some(Medium::Sstp)),
            (&[VIRTUAL, (PORT_ID, b"uplink")], Some(Medium::Virtual)),
            (&[VIRTUAL, (attribute::CONNECT_INFO, b"vpn-ssl")], Some(Medium::SslVpn)),
            (&[(attribute::VENDOR_SPECIFIC, ANYCONNECT)], Some(Medium::SslVpn)),
            (&[(PORT_TYPE, &[0, 0, 0, 19])], Some(Medium::Wifi)),
            (&[(PORT_TYPE, &[0, 0, 0, 15]), (PORT_ID, b"pppoe-vlan7")], Some(Medium::Ethernet)),
            (&[(PORT_TYPE, &[0, 0, 0, 0])], Some(Medium::Ppp)),
            (&[(PORT_TYPE, &[0, 0, 0, 200])], None),
            (&[VIRTUAL, (SERVICE, &[0, 0, 0, 8])], Some(Medium::Console)),
            (&[(SERVICE, &[0, 0, 0, 2])], None),
        ];
        for (attributes, medium) in cases {
            assert_eq!(told(attributes), medium, "{attributes:?}");
        }
    }
}
