//! The Code of a packet (RFC 2865 §3): what it asks or answers. Knows nothing of what the packet carries.

use std::fmt;

/// The Code field of a packet (RFC 2865 §3).
///
/// Codes we have no name for survive as [`Code::Other`]; build codes from octets with `Code::from`, which never makes
/// an `Other` of a named one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Access-Request, 1 (RFC 2865 §4.1).
    AccessRequest,
    /// Access-Accept, 2 (RFC 2865 §4.2).
    AccessAccept,
    /// Access-Reject, 3 (RFC 2865 §4.3).
    AccessReject,
    /// Accounting-Request, 4 (RFC 2866 §4.1).
    AccountingRequest,
    /// Accounting-Response, 5 (RFC 2866 §4.2).
    AccountingResponse,
    /// Access-Challenge, 11 (RFC 2865 §4.4).
    AccessChallenge,
    /// Status-Server, 12 (RFC 5997).
    StatusServer,
    /// Status-Client, 13 (RFC 2865 §3, experimental).
    StatusClient,
    /// Disconnect-Request, 40 (RFC 5176 §2.1).
    DisconnectRequest,
    /// Disconnect-ACK, 41 (RFC 5176 §2.1).
    DisconnectAck,
    /// Disconnect-NAK, 42 (RFC 5176 §2.1).
    DisconnectNak,
    /// CoA-Request, 43 (RFC 5176 §2.2).
    CoaRequest,
    /// CoA-ACK, 44 (RFC 5176 §2.2).
    CoaAck,
    /// CoA-NAK, 45 (RFC 5176 §2.2).
    CoaNak,
    /// Protocol-Error, 52 (RFC 7930 §4).
    ProtocolError,
    /// Any other code, kept as it came.
    Other(u8),
}

/// How the Authenticator of a request is made, which follows from its Code alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// The authenticator is a nonce (Access-Request, Status-Server).
    Nonce,
    /// The authenticator is a checksum with the secret (Accounting-Request, CoA-Request, Disconnect-Request).
    Checksum,
}

impl Code {
    /// The octet on the wire.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::AccessRequest => 1,
            Self::AccessAccept => 2,
            Self::AccessReject => 3,
            Self::AccountingRequest => 4,
            Self::AccountingResponse => 5,
            Self::AccessChallenge => 11,
            Self::StatusServer => 12,
            Self::StatusClient => 13,
            Self::DisconnectRequest => 40,
            Self::DisconnectAck => 41,
            Self::DisconnectNak => 42,
            Self::CoaRequest => 43,
            Self::CoaAck => 44,
            Self::CoaNak => 45,
            Self::ProtocolError => 52,
            Self::Other(octet) => octet,
        }
    }

    /// Whether a packet of this code asks and expects an answer.
    pub const fn is_request(self) -> bool {
        self.request_kind().is_some()
    }

    /// `None` for a code that is not a request we know.
    pub(super) const fn request_kind(self) -> Option<RequestKind> {
        match self {
            Self::AccessRequest | Self::StatusServer => Some(RequestKind::Nonce),
            Self::AccountingRequest | Self::CoaRequest | Self::DisconnectRequest => Some(RequestKind::Checksum),
            _ => None,
        }
    }
}

impl From<u8> for Code {
    fn from(octet: u8) -> Self {
        match octet {
            1 => Self::AccessRequest,
            2 => Self::AccessAccept,
            3 => Self::AccessReject,
            4 => Self::AccountingRequest,
            5 => Self::AccountingResponse,
            11 => Self::AccessChallenge,
            12 => Self::StatusServer,
            13 => Self::StatusClient,
            40 => Self::DisconnectRequest,
            41 => Self::DisconnectAck,
            42 => Self::DisconnectNak,
            43 => Self::CoaRequest,
            44 => Self::CoaAck,
            45 => Self::CoaNak,
            52 => Self::ProtocolError,
            other => Self::Other(other),
        }
    }
}

impl From<Code> for u8 {
    fn from(code: Code) -> Self {
        code.as_u8()
    }
}

impl fmt::Display for Code {
    /// The RFC's name; `Code-200` for one without.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AccessRequest => "Access-Request",
            Self::AccessAccept => "Access-Accept",
            Self::AccessReject => "Access-Reject",
            Self::AccountingRequest => "Accounting-Request",
            Self::AccountingResponse => "Accounting-Response",
            Self::AccessChallenge => "Access-Challenge",
            Self::StatusServer => "Status-Server",
            Self::StatusClient => "Status-Client",
            Self::DisconnectRequest => "Disconnect-Request",
            Self::DisconnectAck => "Disconnect-ACK",
            Self::DisconnectNak => "Disconnect-NAK",
            Self::CoaRequest => "CoA-Request",
            Self::CoaAck => "CoA-ACK",
            Self::CoaNak => "CoA-NAK",
            Self::ProtocolError => "Protocol-Error",
            Self::Other(octet) => return f.pad(&format!("Code-{octet}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_survives() {
        for octet in 0..=u8::MAX {
            assert_eq!(Code::from(octet).as_u8(), octet);
        }
    }

    #[test]
    fn names_are_the_rfcs() {
        let named: Vec<String> = (0..=u8::MAX)
            .map(Code::from)
            .filter(|code| !matches!(code, Code::Other(_)))
            .map(|code| format!("{}={code}", code.as_u8()))
            .collect();
        assert_eq!(
            named.join(" "),
            "1=Access-Request 2=Access-Accept 3=Access-Reject 4=Accounting-Request 5=Accounting-Response \
             11=Access-Challenge 12=Status-Server 13=Status-Client 40=Disconnect-Request 41=Disconnect-ACK \
             42=Disconnect-NAK 43=CoA-Request 44=CoA-ACK 45=CoA-NAK 52=Protocol-Error"
        );
        assert_eq!(Code::Other(200).to_string(), "Code-200");
    }
}
