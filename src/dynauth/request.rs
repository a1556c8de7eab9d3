//! A CoA-Request or Disconnect-Request, before it has an Identifier. Never knows whom it is for.

use crate::model::Timestamp;
use crate::radius::{Code, EncodeError, PacketBuilder, attribute};

/// A CoA-Request or Disconnect-Request as its sender wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which of the two.
    pub kind: RequestKind,
    /// Attributes as they travel, header included; each entry is one attribute or several end to end.
    pub attributes: Vec<Vec<u8>>,
    /// Sign it with a Message-Authenticator too (RFC 5176 §3.4).
    pub message_authenticator: bool,
    /// Say when it was sent, against replays (RFC 5176 §6.3).
    pub event_timestamp: bool,
    /// Send it from a source port of its own, for a server that takes a repeated Identifier for a retransmission.
    pub fresh_port: bool,
}

/// What a request asks of the NAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// CoA-Request: change the session (RFC 5176 §2.2).
    Coa,
    /// Disconnect-Request: end the session (RFC 5176 §2.1).
    Disconnect,
}

impl RequestKind {
    /// The request's own code.
    pub const fn code(self) -> Code {
        match self {
            Self::Coa => Code::CoaRequest,
            Self::Disconnect => Code::DisconnectRequest,
        }
    }

    /// The code that says it was done.
    pub const fn ack(self) -> Code {
        match self {
            Self::Coa => Code::CoaAck,
            Self::Disconnect => Code::DisconnectAck,
        }
    }

    /// The code that says it was refused.
    pub const fn nak(self) -> Code {
        match self {
            Self::Coa => Code::CoaNak,
            Self::Disconnect => Code::DisconnectNak,
        }
    }
}

impl Request {
    /// The packet, signed. Octets 4 to 20 are the Request Authenticator its answer is checked against.
    ///
    /// These octets are what every retransmission repeats: RFC 5176 §2.3 wants the Identifier changed whenever an
    /// attribute changes, and Event-Timestamp is one, so it stays at the time of the first transmission. A whole
    /// schedule is far shorter than the 300 seconds a server accepts by default (RFC 5176 §6.3).
    ///
    /// # Errors
    /// When the attributes do not fit into a packet, or are no attributes.
    pub fn encode(&self, identifier: u8, now: Timestamp, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
        // The authenticator of both codes is a checksum: signing makes it (RFC 5176 §2.3).
        let mut builder = PacketBuilder::request(self.kind.code(), identifier, [0; 16]);
        builder.with_message_authenticator(self.message_authenticator);
        for (kind, value) in self.attributes.iter().flat_map(|octets| walk(octets)) {
            builder.attribute(kind, value)?;
        }
        if self.event_timestamp {
            // Seconds since 1970 in 32 bits (RFC 2869 §5.3).
            builder.integer(attribute::EVENT_TIMESTAMP, u32::try_from(now.as_secs()).unwrap_or_default())?;
        }
        builder.sign_request(secret).map(<[u8]>::to_vec)
    }
}

/// The attributes in octets that stand end to end. Stops at what is none; our own dictionary wrote them.
fn walk(mut octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[kind, length], _) = octets.split_first_chunk()?;
        let (attribute, rest) = octets.split_at_checked(usize::from(length))?;
        octets = rest;
        Some((kind, attribute.get(2..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::Packet;

    fn request() -> Request {
        Request {
            kind: RequestKind::Coa,
            attributes: vec![vec![1, 7, b'a', b'l', b'i', b'c', b'e'], vec![11, 3, b'x', 11, 3, b'y']],
            message_authenticator: true,
            event_timestamp: true,
            fresh_port: false,
        }
    }

    #[test]
    fn rfc5176_section_2_3_is_signed_with_what_was_asked_for() {
        let octets = request().encode(9, Timestamp::from_secs(1_795_166_709), b"secret").unwrap();
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!((packet.code(), packet.identifier()), (Code::CoaRequest, 9));
        let _ = packet.verify_request_authenticator(b"secret").unwrap();
        let _ = packet.verify_message_authenticator(b"secret").unwrap();
        assert_eq!(packet.text(attribute::USER_NAME), Some("alice"));
        assert_eq!(packet.all(attribute::FILTER_ID).collect::<Vec<_>>(), [b"x", b"y"]);
        assert_eq!(packet.first(attribute::EVENT_TIMESTAMP), Some(&1_795_166_709_u32.to_be_bytes()[..]));
    }

    #[test]
    fn carries_neither_extra_where_the_server_refuses_them() {
        let plain = Request { message_authenticator: false, event_timestamp: false, ..request() };
        let octets = plain.encode(9, Timestamp::from_secs(1), b"secret").unwrap();
        let packet = Packet::parse(&octets).unwrap();
        let _ = packet.verify_request_authenticator(b"secret").unwrap();
        assert!(!packet.has(attribute::MESSAGE_AUTHENTICATOR) && !packet.has(attribute::EVENT_TIMESTAMP));
    }

    #[test]
    fn the_same_moment_gives_the_same_octets() {
        let at = Timestamp::from_secs(77);
        assert_eq!(request().encode(1, at, b"s").unwrap(), request().encode(1, at, b"s").unwrap());
    }
}
