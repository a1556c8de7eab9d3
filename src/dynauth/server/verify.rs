//! Is this datagram a request of ours to answer? If not it is silently discarded (RFC 5176 §2.3, §3.4, §6.3).

use std::time::Duration;

use crate::model::Timestamp;
use crate::radius::{AuthenticatorError, Code, MessageAuthenticatorError, Packet, attribute};

/// What is demanded of a peer's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A Message-Authenticator must be there; one that is there must be right in any case.
    pub message_authenticator: bool,
    /// An Event-Timestamp must be there; one that is there must be current in any case.
    pub event_timestamp: bool,
    /// How far an Event-Timestamp may be from now, either way. RFC 5176 §6.3 suggests 300 seconds.
    pub window: Duration,
}

/// Proof: this packet is a CoA-Request or Disconnect-Request, made with the peer's secret, and current.
#[derive(Debug, Clone, Copy)]
#[must_use = "a proof is for the step that asks for it"]
pub struct Genuine<'a> {
    packet: Packet<'a>,
}

/// Why a request is silently discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It belongs on another port.
    #[error("{0} is neither CoA-Request nor Disconnect-Request")]
    Code(Code),
    /// Another secret, or changed on its way (RFC 5176 §2.3).
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// Missing where it is demanded, or wrong (RFC 5176 §3.4).
    #[error(transparent)]
    MessageAuthenticator(#[from] MessageAuthenticatorError),
    /// Too far from now, by so many seconds after it: a replay, or a clock is wrong (RFC 5176 §6.3). Made with the secret.
    #[error("Event-Timestamp is {0} seconds from now; a replay, or a clock is wrong")]
    Stale(i64),
    /// Missing where it is demanded, or of another length.
    #[error("Event-Timestamp is missing")]
    NoTimestamp,
}

impl<'a> Genuine<'a> {
    /// The request.
    pub fn packet(&self) -> &Packet<'a> {
        &self.packet
    }
}

/// Checks a request of a peer that shares `secret`.
///
/// # Errors
/// [`Discard`]: no answer is due.
pub fn verify<'a>(packet: Packet<'a>, secret: &[u8], rules: &Rules, now: Timestamp) -> Result<Genuine<'a>, Discard> {
    if !matches!(packet.code(), Code::CoaRequest | Code::DisconnectRequest) {
        return Err(Discard::Code(packet.code()));
    }
    let _proof = packet.verify_request_authenticator(secret)?;
    match packet.verify_message_authenticator(secret) {
        Err(MessageAuthenticatorError::Absent) if !rules.message_authenticator => (),
        checked => {
            let _proof = checked?;
        }
    }
    match packet.integer(attribute::EVENT_TIMESTAMP) {
        Some(at) => {
            let away = i64::from(at) - now.as_secs();
            if away.unsigned_abs() > rules.window.as_secs() {
                return Err(Discard::Stale(away));
            }
        }
        // One that cannot be read proves nothing.
        None if rules.event_timestamp || packet.has(attribute::EVENT_TIMESTAMP) => return Err(Discard::NoTimestamp),
        None => (),
    }
    Ok(Genuine { packet })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::PacketBuilder;

    const SECRET: &[u8] = b"a secret of twenty-odd octets";
    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);
    const RULES: Rules =
        Rules { message_authenticator: true, event_timestamp: false, window: Duration::from_secs(300) };

    fn request(code: Code, event_timestamp: Option<i64>, message_authenticator: bool) -> Vec<u8> {
        let mut request = PacketBuilder::request(code, 9, [0; 16]);
        request.text(attribute::USER_NAME, "alice").unwrap();
        if let Some(at) = event_timestamp {
            request.integer(attribute::EVENT_TIMESTAMP, u32::try_from(at).unwrap()).unwrap();
        }
        request.with_message_authenticator(message_authenticator).sign_request(SECRET).unwrap().to_vec()
    }

    fn checked(octets: &[u8], rules: &Rules) -> Result<(), Discard> {
        verify(Packet::parse(octets).unwrap(), SECRET, rules, NOW).map(drop)
    }

    #[test]
    fn rfc5176_section_2_3_any_changed_octet_is_noticed() {
        for code in [Code::CoaRequest, Code::DisconnectRequest] {
            let octets = request(code, Some(NOW.as_secs()), true);
            assert_eq!(checked(&octets, &RULES), Ok(()));
            for at in 0..octets.len() {
                let mut changed = octets.clone();
                changed[at] ^= 1;
                let accepted = Packet::parse(&changed).is_ok_and(|packet| verify(packet, SECRET, &RULES, NOW).is_ok());
                assert!(!accepted, "octet {at} can be changed");
            }
            let packet = Packet::parse(&octets).unwrap();
            let stranger = verify(packet, b"another secret", &RULES, NOW).map(drop);
            assert_eq!(stranger, Err(Discard::Authenticator(AuthenticatorError::RequestMismatch)));
        }
    }

    #[test]
    fn rfc5176_section_3_4_message_authenticator_is_demanded_unless_waived() {
        let bare = request(Code::CoaRequest, None, false);
        let absent = Discard::MessageAuthenticator(MessageAuthenticatorError::Absent);
        assert_eq!(checked(&bare, &RULES), Err(absent));
        assert_eq!(checked(&bare, &Rules { message_authenticator: false, ..RULES }), Ok(()));
    }

    #[test]
    fn rfc5176_section_6_3_what_is_not_current_is_discarded() {
        for (from_now, fine) in [(0, true), (-300, true), (300, true), (-301, false), (301, false)] {
            let octets = request(Code::CoaRequest, Some(NOW.as_secs() + from_now), true);
            assert_eq!(checked(&octets, &RULES).is_ok(), fine, "{from_now}");
        }
        let bare = request(Code::DisconnectRequest, None, true);
        assert_eq!(checked(&bare, &RULES), Ok(()));
        assert_eq!(checked(&bare, &Rules { event_timestamp: true, ..RULES }), Err(Discard::NoTimestamp));
        let mut odd = PacketBuilder::request(Code::CoaRequest, 1, [0; 16]);
        odd.attribute(attribute::EVENT_TIMESTAMP, &[1, 2, 3]).unwrap();
        assert_eq!(checked(odd.sign_request(SECRET).unwrap(), &RULES), Err(Discard::NoTimestamp));
    }

    #[test]
    fn another_code_is_discarded() {
        let octets = request(Code::AccountingRequest, None, true);
        assert_eq!(checked(&octets, &RULES), Err(Discard::Code(Code::AccountingRequest)));
    }
}
