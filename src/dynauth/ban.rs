//! The CoA-Request that tells a NAS's host to drop an address or a network, or no longer: a form of ours, which our agent understands.
//!
//! RFC 5176 has no word for it. Filter-Id says what it is, Calling-Station-Id whom it is about, Session-Timeout for how long.
//! It names no session, so a NAS that does not know the form finds none, and changes nothing. Knows no firewall.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::ErrorCause;
use super::server::{INVALID_ATTRIBUTE_VALUE, INVALID_REQUEST, MISSING_ATTRIBUTE, UNSUPPORTED_ATTRIBUTE};
use crate::radius::{Code, Packet, attribute};

/// Filter-Id of a ban.
const BAN: &str = "radhold:ban";
/// Filter-Id of the end of one.
const LIFT: &str = "radhold:lift-ban";

/// A network is to be dropped, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanOrder {
    /// Whose outer protocols (PPTP, L2TP, ...) are to be dropped; without host bits.
    pub network: IpNet,
    /// For how long, whole seconds on the wire; zero is no longer, `None` is until told otherwise.
    pub time: Option<Duration>,
}

impl BanOrder {
    /// The attributes of its CoA-Request, each with its header.
    pub fn attributes(&self) -> Vec<Vec<u8>> {
        let lift = self.time == Some(Duration::ZERO);
        let mut attributes = vec![
            written(attribute::FILTER_ID, if lift { LIFT } else { BAN }.as_bytes()),
            written(attribute::CALLING_STATION_ID, text(&self.network).as_bytes()),
        ];
        if let Some(time) = self.time.filter(|_| !lift) {
            let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            attributes.push(written(attribute::SESSION_TIMEOUT, &seconds.to_be_bytes()));
        }
        attributes
    }

    /// Reads a genuine request. `None` when it is about a session, as all others are.
    ///
    /// # Errors
    /// The Error-Cause it is to be refused with. What names the NAS is for the caller to check.
    pub fn read(packet: &Packet<'_>) -> Option<Result<Self, ErrorCause>> {
        let filter = packet.text(attribute::FILTER_ID)?;
        let lift = filter == LIFT;
        (packet.code() == Code::CoaRequest && (lift || filter == BAN)).then(|| Self::judged(packet, lift))
    }

    fn judged(packet: &Packet<'_>, lift: bool) -> Result<Self, ErrorCause> {
        for attribute in packet.attributes() {
            match attribute.kind {
                attribute::FILTER_ID | attribute::CALLING_STATION_ID | attribute::SESSION_TIMEOUT => {
                    if packet.all(attribute.kind).count() > 1 {
                        return Err(INVALID_REQUEST);
                    }
                }
                attribute::NAS_IP_ADDRESS
                | attribute::NAS_IDENTIFIER
                | attribute::NAS_IPV6_ADDRESS
                | attribute::EVENT_TIMESTAMP
                | attribute::MESSAGE_AUTHENTICATOR
                | attribute::PROXY_STATE => (),
                _ => return Err(UNSUPPORTED_ATTRIBUTE),
            }
        }
        let station = packet.first(attribute::CALLING_STATION_ID).ok_or(MISSING_ATTRIBUTE)?;
        let network = std::str::from_utf8(station).ok().and_then(network).ok_or(INVALID_ATTRIBUTE_VALUE)?;
        let time = match (packet.first(attribute::SESSION_TIMEOUT), lift) {
            (None, true) => Some(Duration::ZERO),
            (Some(_), true) => return Err(INVALID_REQUEST),
            (None, false) => None,
            (Some(octets), false) => {
                let seconds = u32::from_be_bytes(octets.try_into().map_err(|_| INVALID_REQUEST)?);
                if seconds == 0 {
                    return Err(INVALID_ATTRIBUTE_VALUE);
                }
                Some(Duration::from_secs(seconds.into()))
            }
        };
        Ok(Self { network, time })
    }
}

/// An address alone is written without a length, as it is to servers and agents that know no networks.
fn text(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse::<IpNet>().ok().filter(|network| *network == network.trunc()),
    }
}

/// An attribute as it travels. Ours are short.
fn written(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len() + 2).expect("an address, a number or a word of ours fits");
    [&[kind, length], value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynauth::{Request, RequestKind};
    use crate::model::Timestamp;

    fn packet(attributes: Vec<Vec<u8>>) -> Vec<u8> {
        let request = Request {
            kind: RequestKind::Coa,
            attributes,
            message_authenticator: true,
            event_timestamp: true,
            fresh_port: false,
        };
        request.encode(1, Timestamp::from_secs(1), b"secret").unwrap()
    }

    fn read(attributes: Vec<Vec<u8>>) -> Option<Result<BanOrder, ErrorCause>> {
        BanOrder::read(&Packet::parse(&packet(attributes)).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for (network, time, text) in [
            ("192.0.2.7/32", Some(Duration::from_secs(1800)), "192.0.2.7"),
            ("2001:db8::7/128", None, "2001:db8::7"),
            ("2001:db8:0:1::/64", Some(Duration::from_secs(1800)), "2001:db8:0:1::/64"),
            ("192.0.2.0/24", Some(Duration::ZERO), "192.0.2.0/24"),
        ] {
            let order = BanOrder { network: network.parse().unwrap(), time };
            assert_eq!(read(order.attributes()), Some(Ok(order)));
            assert!(order.attributes().contains(&written(attribute::CALLING_STATION_ID, text.as_bytes())), "{text}");
        }
        let host = "192.0.2.7/32".parse().unwrap();
        let order = BanOrder { network: host, time: Some(Duration::from_millis(1)) };
        assert_eq!(read(order.attributes()).unwrap().unwrap().time, Some(Duration::from_secs(1)), "never too short");
    }

    #[test]
    fn what_is_about_a_session_is_not_for_here() {
        assert_eq!(read(vec![written(attribute::FILTER_ID, b"permit"), written(attribute::USER_NAME, b"alice")]), None);
        assert_eq!(read(vec![written(attribute::CALLING_STATION_ID, b"192.0.2.7")]), None);
    }

    #[test]
    fn what_is_not_in_form_is_refused_with_its_cause() {
        let ban = || written(attribute::FILTER_ID, BAN.as_bytes());
        let station = |text: &str| written(attribute::CALLING_STATION_ID, text.as_bytes());
        let refused = |attributes| read(attributes).unwrap().unwrap_err();
        assert_eq!(refused(vec![ban()]), MISSING_ATTRIBUTE);
        assert_eq!(refused(vec![ban(), station("00-1b-63")]), INVALID_ATTRIBUTE_VALUE);
        assert_eq!(refused(vec![ban(), station("192.0.2.7/24")]), INVALID_ATTRIBUTE_VALUE);
        assert_eq!(refused(vec![ban(), station("192.0.2.7"), station("192.0.2.8")]), INVALID_REQUEST);
        let alice = written(attribute::USER_NAME, b"alice");
        assert_eq!(refused(vec![ban(), station("192.0.2.7"), alice]), UNSUPPORTED_ATTRIBUTE);
        let forever = written(attribute::SESSION_TIMEOUT, &[0; 4]);
        assert_eq!(refused(vec![ban(), station("192.0.2.7"), forever]), INVALID_ATTRIBUTE_VALUE);
        let odd = written(attribute::SESSION_TIMEOUT, &[0; 3]);
        assert_eq!(refused(vec![ban(), station("192.0.2.7"), odd]), INVALID_REQUEST);
    }
}
