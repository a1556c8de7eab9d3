//! A station of a captive network: known by its MAC address and nothing else, which Calling-Station-Id carries.
//!
//! A request that names a port or an address means a session that is told by it, and no station of ours is. What else it says of
//! the session decides nothing here, for nobody told us. Knows no interface and no set.

use std::fmt;
use std::time::Duration;

use super::judge::{
    INVALID_ATTRIBUTE_VALUE, SESSION_CONTEXT_NOT_FOUND, Screened, UNSUPPORTED_ATTRIBUTE, Verdict, change, screened,
};
use super::{Genuine, NasNames};
use crate::dynauth::ErrorCause;
use crate::radius::attribute;

/// The MAC address (EUI-48) of a station: never a group's, never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads Calling-Station-Id in any usual spelling: `00-11-22-33-44-55` (RFC 3580 §3.21), `00:11:22:33:44:55`,
    /// `0011.2233.4455`, `001122-334455`, `001122334455`, upper or lower case; `:SSID` may follow, as in Called-Station-Id
    /// (RFC 3580 §3.20).
    pub fn parse(text: &str) -> Option<Self> {
        // (length, separator, digits between two separators)
        let forms = [(17, '-', 2), (17, ':', 2), (14, '.', 4), (13, '-', 6), (12, '-', 12)];
        forms.iter().find_map(|&(length, separator, group)| {
            let (address, rest) = text.split_at_checked(length)?;
            let whole = rest.is_empty() || rest.starts_with(':');
            let groups = address.split(separator).collect::<Vec<_>>();
            if !whole || groups.iter().any(|digits| digits.len() != group) {
                return None;
            }
            let octets: [u8; 6] = hex::decode(groups.concat()).ok()?.try_into().ok()?;
            (octets[0] & 1 == 0 && octets != [0; 6]).then_some(Self(octets))
        })
    }
}

/// `00:11:22:33:44:55`, as nftables has it.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What only a session with an interface of its own is known by.
const OF_A_LINK: &[u8] = &[
    attribute::NAS_PORT,
    attribute::NAS_PORT_ID,
    attribute::FRAMED_IP_ADDRESS,
    attribute::FRAMED_IPV6_ADDRESS,
    attribute::FRAMED_IPV6_PREFIX,
    attribute::DELEGATED_IPV6_PREFIX,
    attribute::FRAMED_INTERFACE_ID,
];

/// Decides about a request whose Calling-Station-Id is a MAC address; 503 when it has none, or when it names a port or an address
/// besides. Whether that station is permitted
/// now is the caller's to find out.
///
/// A set of MAC addresses keeps no rates and no idleness, so those are refused (401); a Session-Timeout of zero too (407).
pub fn judge_station(request: &Genuine<'_>, nas: &NasNames, known: impl Fn(&str) -> bool) -> Verdict<Mac> {
    judged(request, nas, known).unwrap_or_else(Verdict::Refuse)
}

fn judged(request: &Genuine<'_>, nas: &NasNames, known: impl Fn(&str) -> bool) -> Result<Verdict<Mac>, ErrorCause> {
    let packet = request.packet();
    let Screened { disconnect, rates, .. } = screened(packet, nas)?;
    let station = packet.text(attribute::CALLING_STATION_ID).and_then(Mac::parse).ok_or(SESSION_CONTEXT_NOT_FOUND)?;
    if OF_A_LINK.iter().any(|&kind| packet.has(kind)) {
        return Err(SESSION_CONTEXT_NOT_FOUND);
    }
    if disconnect {
        return Ok(Verdict::End(station));
    }
    let change = change(packet, rates, known)?;
    if change.rates.is_some() || change.idle_timeout.is_some() {
        return Err(UNSUPPORTED_ATTRIBUTE);
    }
    if change.session_timeout == Some(Duration::ZERO) {
        return Err(INVALID_ATTRIBUTE_VALUE);
    }
    Ok(Verdict::Change(station, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3580_section_3_21_and_other_spellings_are_one_address() {
        for text in [
            "00-1A-2b-33-44-55",
            "00:1a:2B:33:44:55",
            "001A.2B33.4455",
            "001a2b-334455",
            "001A2B334455",
            "00-1A-2B-33-44-55:guests",
            "00:1a:2b:33:44:55:guests",
            "001a.2b33.4455:g",
            "001a2b334455:",
        ] {
            let read = Mac::parse(text).map(|mac| mac.to_string());
            assert_eq!(read.as_deref(), Some("00:1a:2b:33:44:55"), "{text}");
        }
    }

    #[test]
    fn what_is_no_stations_address_is_none() {
        for text in [
            "",
            "192.0.2.7",
            "00-1A-2B-33-44",
            "00-1A-2B-33-44-5",
            "00-1A-2B-33-44-5g",
            "00-1A-2B:33-44-55",
            "001A-2B33-4455",
            "001A2B334455guests",
            "001a2b3344556677",
            "+01a2b334455",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "ff-ff-ff-ff-ff-ff",
            "0ä1a2b33445",
        ] {
            assert_eq!(Mac::parse(text), None, "{text}");
        }
    }
}
