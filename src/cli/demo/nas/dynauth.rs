//! The Dynamic Authorization Server's mind (RFC 5176): is a request genuine, which session does it mean, and what follows.
//!
//! Changes nothing itself, opens no socket and reads no clock.

use super::table::{IDENTIFICATION, Table};
use crate::radius::{Code, MessageAuthenticatorError, Packet, attribute};

/// How far an Event-Timestamp may be from our clock, seconds (RFC 5176 §6.3).
const EVENT_WINDOW: u64 = 300;

/// Error-Cause (RFC 5176 §3.5).
pub mod error_cause {
    /// Unsupported Attribute.
    pub const UNSUPPORTED_ATTRIBUTE: u32 = 401;
    /// Missing Attribute.
    pub const MISSING_ATTRIBUTE: u32 = 402;
    /// NAS Identification Mismatch.
    pub const NAS_IDENTIFICATION_MISMATCH: u32 = 403;
    /// Invalid Attribute Value.
    pub const INVALID_ATTRIBUTE_VALUE: u32 = 407;
    /// Session Context Not Found.
    pub const SESSION_CONTEXT_NOT_FOUND: u32 = 503;
    /// Multiple Session Selection Unsupported.
    pub const MULTIPLE_SESSION_SELECTION_UNSUPPORTED: u32 = 508;
}

/// What is to be done with a genuine request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Change the session, and say so.
    Change {
        /// Which.
        port: u32,
        /// Its new filter.
        filter: Option<String>,
        /// Its new Session-Timeout, seconds from now.
        session_timeout: Option<u32>,
    },
    /// End the session, and say so.
    End {
        /// Which.
        port: u32,
    },
    /// Refuse, for this Error-Cause.
    Refuse(u32),
}

/// Whether a datagram is a request of ours to answer.
///
/// # Errors
/// Which rule it breaks; it is then to be silently discarded.
pub(super) fn verify(packet: &Packet<'_>, secret: &[u8], now: i64) -> Result<(), String> {
    if !matches!(packet.code(), Code::CoaRequest | Code::DisconnectRequest) {
        return Err(format!("{} does not belong on this port", packet.code()));
    }
    packet.verify_request_authenticator(secret).map(drop).map_err(|error| error.to_string())?;
    match packet.verify_message_authenticator(secret) {
        Ok(_) => (),
        // Some NASes demand one; this one is one of them, so that a dialect that forgets it shows.
        Err(MessageAuthenticatorError::Absent) => return Err("Message-Authenticator is missing".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    match packet.integer(attribute::EVENT_TIMESTAMP) {
        Some(at) if now.abs_diff(i64::from(at)) > EVENT_WINDOW => {
            Err("Event-Timestamp is more than five minutes from now".to_owned())
        }
        Some(_) => Ok(()),
        None => Err("Event-Timestamp is missing".to_owned()),
    }
}

/// What a genuine request comes to.
pub(super) fn judge(packet: &Packet<'_>, table: &Table, nas_identifier: &str) -> Judgement {
    let disconnect = packet.code() == Code::DisconnectRequest;
    if packet.first(attribute::NAS_IDENTIFIER).is_some_and(|name| name != nas_identifier.as_bytes()) {
        return Judgement::Refuse(error_cause::NAS_IDENTIFICATION_MISMATCH);
    }
    let changes = [attribute::FILTER_ID, attribute::SESSION_TIMEOUT];
    let passing = [
        attribute::NAS_IDENTIFIER,
        attribute::NAS_IP_ADDRESS,
        attribute::EVENT_TIMESTAMP,
        attribute::MESSAGE_AUTHENTICATOR,
        attribute::PROXY_STATE,
        attribute::CLASS,
    ];
    for attribute in packet.attributes() {
        let kind = attribute.kind;
        // RFC 5176 §3: a Disconnect-Request carries nothing that changes a session.
        let known = IDENTIFICATION.contains(&kind) || passing.contains(&kind) || changes.contains(&kind) && !disconnect;
        if !known {
            return Judgement::Refuse(error_cause::UNSUPPORTED_ATTRIBUTE);
        }
    }
    if !IDENTIFICATION.iter().any(|&kind| packet.has(kind)) {
        return Judgement::Refuse(error_cause::MISSING_ATTRIBUTE);
    }
    let port = match table.select(packet)[..] {
        [] => return Judgement::Refuse(error_cause::SESSION_CONTEXT_NOT_FOUND),
        [session] => session.port,
        _ => return Judgement::Refuse(error_cause::MULTIPLE_SESSION_SELECTION_UNSUPPORTED),
    };
    if disconnect {
        return Judgement::End { port };
    }
    if !changes.iter().any(|&kind| packet.has(kind)) {
        return Judgement::Refuse(error_cause::MISSING_ATTRIBUTE);
    }
    let filter = packet.text(attribute::FILTER_ID).map(str::to_owned);
    let session_timeout = packet.integer(attribute::SESSION_TIMEOUT);
    if filter.is_some() != packet.has(attribute::FILTER_ID)
        || session_timeout.is_some() != packet.has(attribute::SESSION_TIMEOUT)
    {
        return Judgement::Refuse(error_cause::INVALID_ATTRIBUTE_VALUE);
    }
    Judgement::Change { port, filter, session_timeout }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::Instant;

    use super::super::table::Session;
    use super::*;
    use crate::radius::PacketBuilder;

    const SECRET: &[u8] = b"a secret of twenty-odd octets";
    const NOW: i64 = 1_795_000_000;

    fn session(port: u32, user: &str) -> (u32, Session) {
        let session = Session {
            port,
            user: user.to_owned(),
            calling_station_id: format!("192.0.2.{port}"),
            acct_session_id: format!("A{port}"),
            framed_ip: Ipv4Addr::new(10, 77, 0, 1),
            classes: Vec::new(),
            filter: Some("sandbox".to_owned()),
            acknowledged: false,
            since: Instant::now(),
            ends_at: None,
            octets: (0, 0),
            ended: None,
            ended_at: None,
            stop_answered: false,
        };
        (port, session)
    }

    fn request(code: Code, attributes: &[(u8, &[u8])]) -> PacketBuilder {
        let mut request = PacketBuilder::request(code, 9, [0; 16]);
        for (kind, value) in attributes {
            request.attribute(*kind, value).unwrap();
        }
        request
    }

    fn stamp(at: i64) -> [u8; 4] {
        u32::try_from(at).unwrap().to_be_bytes()
    }

    fn judged(code: Code, attributes: &[(u8, &[u8])]) -> Judgement {
        let table = Table([session(1, "alice"), session(2, "alice"), session(3, "bob")].into());
        let octets = request(code, attributes).sign_request(SECRET).unwrap().to_vec();
        judge(&Packet::parse(&octets).unwrap(), &table, "lab")
    }

    #[test]
    fn rfc5176_section_2_3_only_a_proven_request_counts() {
        let good = [(attribute::EVENT_TIMESTAMP, &stamp(NOW)[..])];
        for code in [Code::CoaRequest, Code::DisconnectRequest] {
            let octets = request(code, &good).sign_request(SECRET).unwrap().to_vec();
            let packet = Packet::parse(&octets).unwrap();
            assert_eq!(verify(&packet, SECRET, NOW), Ok(()));
            assert!(verify(&packet, b"another secret", NOW).is_err());
            // Any octet of header, authenticators and attributes.
            for at in 0..octets.len() {
                let mut changed = octets.clone();
                changed[at] ^= 1;
                let accepted = Packet::parse(&changed).is_ok_and(|packet| verify(&packet, SECRET, NOW).is_ok());
                assert!(!accepted, "octet {at} can be changed");
            }
        }
    }

    #[test]
    fn rfc5176_section_6_3_a_replay_does_not_count() {
        for (at, fine) in [(NOW - 300, true), (NOW + 300, true), (NOW - 301, false), (NOW + 301, false)] {
            let octets = request(Code::CoaRequest, &[(attribute::EVENT_TIMESTAMP, &stamp(at))])
                .sign_request(SECRET)
                .unwrap()
                .to_vec();
            assert_eq!(verify(&Packet::parse(&octets).unwrap(), SECRET, NOW).is_ok(), fine, "{}", at - NOW);
        }
        let bare = request(Code::CoaRequest, &[]).sign_request(SECRET).unwrap().to_vec();
        assert!(verify(&Packet::parse(&bare).unwrap(), SECRET, NOW).is_err());
    }

    #[test]
    fn a_request_without_message_authenticator_does_not_count() {
        let mut request = request(Code::CoaRequest, &[(attribute::EVENT_TIMESTAMP, &stamp(NOW))]);
        let octets = request.with_message_authenticator(false).sign_request(SECRET).unwrap().to_vec();
        assert!(verify(&Packet::parse(&octets).unwrap(), SECRET, NOW).is_err());
    }

    #[test]
    fn another_code_does_not_count() {
        let octets = request(Code::AccountingRequest, &[]).sign_request(SECRET).unwrap().to_vec();
        assert!(verify(&Packet::parse(&octets).unwrap(), SECRET, NOW).is_err());
    }

    #[test]
    fn a_session_is_found_by_all_that_is_said_of_it() {
        let permit: (u8, &[u8]) = (attribute::FILTER_ID, b"permit");
        let alice: (u8, &[u8]) = (attribute::USER_NAME, b"alice");
        let change = |port| Judgement::Change { port, filter: Some("permit".to_owned()), session_timeout: None };
        assert_eq!(judged(Code::CoaRequest, &[alice, (attribute::NAS_PORT, &[0, 0, 0, 2]), permit]), change(2));
        assert_eq!(judged(Code::CoaRequest, &[(attribute::ACCT_SESSION_ID, b"A1"), permit]), change(1));
        assert_eq!(judged(Code::DisconnectRequest, &[(attribute::USER_NAME, b"bob")]), Judgement::End { port: 3 });
    }

    #[test]
    fn rfc5176_section_3_5_refusals_say_why() {
        let permit: (u8, &[u8]) = (attribute::FILTER_ID, b"permit");
        let alice: (u8, &[u8]) = (attribute::USER_NAME, b"alice");
        let bob: (u8, &[u8]) = (attribute::USER_NAME, b"bob");
        type Attributes<'a> = &'a [(u8, &'a [u8])];
        let cases: [(Code, Attributes<'_>, u32); 8] = [
            (Code::CoaRequest, &[alice, permit], 508),
            (Code::CoaRequest, &[(attribute::USER_NAME, b"carol"), permit], 503),
            (Code::CoaRequest, &[bob, (attribute::NAS_PORT, &[0, 0, 0, 1]), permit], 503),
            (Code::CoaRequest, &[permit], 402),
            (Code::CoaRequest, &[bob], 402),
            (Code::CoaRequest, &[bob, permit, (attribute::FRAMED_POOL, b"x")], 401),
            (Code::CoaRequest, &[bob, (attribute::SESSION_TIMEOUT, &[1])], 407),
            (Code::DisconnectRequest, &[bob, (attribute::NAS_IDENTIFIER, b"other")], 403),
        ];
        for (code, attributes, cause) in cases {
            assert_eq!(judged(code, attributes), Judgement::Refuse(cause), "{attributes:?}");
        }
        assert_eq!(judged(Code::DisconnectRequest, &[bob, permit]), Judgement::Refuse(401));
    }
}
