//! Which session is meant: the identification attributes of RFC 5176 §3, from what its NAS told about it.

use std::net::IpAddr;

use crate::radius::attribute;
use crate::session::Session;

/// An identification attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    UserName,
    NasPort,
    NasPortId,
    NasIpAddress,
    NasIdentifier,
    CallingStationId,
    CalledStationId,
    AcctSessionId,
    FramedIpAddress,
    FramedIpv6Prefix,
}

/// Their names in dialect files, in the order of [`KEYS`].
pub(super) const NAMES: &[&str] = &[
    "User-Name",
    "NAS-Port",
    "NAS-Port-Id",
    "NAS-IP-Address",
    "NAS-Identifier",
    "Calling-Station-Id",
    "Called-Station-Id",
    "Acct-Session-Id",
    "Framed-IP-Address",
    "Framed-IPv6-Prefix",
];

const KEYS: [Key; 10] = [
    Key::UserName,
    Key::NasPort,
    Key::NasPortId,
    Key::NasIpAddress,
    Key::NasIdentifier,
    Key::CallingStationId,
    Key::CalledStationId,
    Key::AcctSessionId,
    Key::FramedIpAddress,
    Key::FramedIpv6Prefix,
];

impl Key {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        KEYS.get(at).copied()
    }

    /// Whether it tells sessions apart, and not only NASes.
    fn is_of_session(self) -> bool {
        !matches!(self, Self::NasIpAddress | Self::NasIdentifier)
    }

    fn render(self, session: &Session) -> Option<Vec<u8>> {
        let identity = &session.identity;
        let text = |kind, text: &Option<String>| octets(kind, text.as_ref()?.as_bytes());
        match self {
            Self::UserName => octets(attribute::USER_NAME, session.user.as_str().as_bytes()),
            Self::NasPort => octets(attribute::NAS_PORT, &identity.nas_port?.to_be_bytes()),
            Self::NasPortId => text(attribute::NAS_PORT_ID, &identity.nas_port_id),
            Self::NasIpAddress => {
                address(identity.nas_ip_address?, attribute::NAS_IP_ADDRESS, attribute::NAS_IPV6_ADDRESS)
            }
            Self::NasIdentifier => text(attribute::NAS_IDENTIFIER, &identity.nas_identifier),
            Self::CallingStationId => text(attribute::CALLING_STATION_ID, &identity.calling_station_id),
            Self::CalledStationId => text(attribute::CALLED_STATION_ID, &identity.called_station_id),
            Self::AcctSessionId => text(attribute::ACCT_SESSION_ID, &identity.acct_session_id),
            Self::FramedIpAddress => {
                address(identity.framed_ip?, attribute::FRAMED_IP_ADDRESS, attribute::FRAMED_IPV6_ADDRESS)
            }
            Self::FramedIpv6Prefix => {
                // RFC 3162 §2.3: a reserved octet, the prefix length, the prefix.
                let prefix = identity.framed_ipv6_prefix?;
                let value = [&[0, prefix.prefix_len()], &prefix.network().octets()[..]].concat();
                octets(attribute::FRAMED_IPV6_PREFIX, &value)
            }
        }
    }
}

/// The attributes of `usual` that are known of the session, or those of `full` when asked for, and when the usual ones
/// would name no session at all: a NAS may take that for any session.
pub(super) fn identify(session: &Session, usual: &[Key], full: &[Key]) -> Vec<Vec<u8>> {
    let known = |keys: &[Key]| -> Vec<(Key, Vec<u8>)> {
        keys.iter().filter_map(|key| Some((*key, key.render(session)?))).collect()
    };
    let mut chosen = known(if session.identify_fully { full } else { usual });
    if !chosen.iter().any(|(key, _)| key.is_of_session()) {
        chosen = known(full);
    }
    chosen.into_iter().map(|(_, octets)| octets).collect()
}

fn address(address: IpAddr, v4: u8, v6: u8) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) => octets(v4, &address.octets()),
        IpAddr::V6(address) => octets(v6, &address.octets()),
    }
}

/// `None` for what no packet could have told us: nothing at all, or more than an attribute holds (RFC 2865 §5).
fn octets(kind: u8, value: &[u8]) -> Option<Vec<u8>> {
    if value.is_empty() || value.len() > attribute::MAX_VALUE {
        return None;
    }
    let length = u8::try_from(value.len() + 2).ok()?;
    Some([&[kind, length], value].concat())
}
