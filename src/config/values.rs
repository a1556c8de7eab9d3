//! Values that several sections read, and the command line: names, addresses, networks, offsets. Knows no key.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::model::OctetDirection;

/// RFC 2865 §3 wants a secret at least as long as a good password, and better 16 octets.
pub(crate) const SECRET_LEAST: usize = 16;

pub(super) const AUTH_PORT: u16 = 1812;
pub(super) const ACCOUNTING_PORT: u16 = 1813;

/// Whether `name` can name a NAS: it stands in tables, logs and environment variables.
pub(crate) fn nas_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(format!("{name:?} cannot name a NAS; use up to 64 of letters, digits, - _ ."));
    }
    Ok(())
}

/// An address, or a network as `address/length`; host bits are cut.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .map_err(|_| "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32".to_owned())
}

/// The network of a NAS that sends no datagrams: no packet comes from there.
pub(crate) fn nowhere() -> IpNet {
    IpNet::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// An address to send from: with port, or any port.
pub(crate) fn source(text: &str) -> Result<SocketAddr, String> {
    address_with_port(text, 0)
}

/// How far days are ahead of UTC, in seconds.
pub(super) fn utc_offset(text: &str) -> Result<i32, String> {
    let offset = || {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let two = |digits: &str| if digits.len() == 2 { digits.parse::<u8>().ok() } else { None };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (hours <= 14 && minutes < 60).then(|| sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
    };
    offset().ok_or_else(|| "write +00:00, +05:30 or -03:00".to_owned())
}

/// Which way octets count.
pub(crate) fn octet_direction(text: &str) -> Result<OctetDirection, String> {
    match text {
        "standard" => Ok(OctetDirection::Standard),
        "swapped" => Ok(OctetDirection::Swapped),
        _ => Err("there are only these two".to_owned()),
    }
}

/// An address to listen on, with port or with the usual one.
pub(super) fn address_with_port(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)))
        .map_err(|_| "write 127.0.0.1:1812 or [::1]:1812".to_owned())
}
