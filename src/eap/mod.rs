//! EAP packets (RFC 3748) as RADIUS carries them (RFC 3579): the header, and a clean refusal.
//!
//! Knows nothing of ours: no user, no credential, no RADIUS packet. Octets arrive as the concatenation of all EAP-Message
//! attributes of one Access-Request, in order (RFC 3579 §3.1).
//!
//! Methods are to come as conversations: a value that is given each Response and yields the next Request, or success
//! with its keys, or failure. Until then every conversation that a peer opens ends at once, by [`refuse`].

/// The Code of an EAP packet (RFC 3748 §4). Others are not EAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// From the authenticator (us) to the peer.
    Request = 1,
    /// From the peer to the authenticator: the only one a RADIUS server is sent.
    Response = 2,
    /// The end, well.
    Success = 3,
    /// The end, badly.
    Failure = 4,
}

/// One EAP packet, borrowed from the octets it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Code.
    pub code: Code,
    /// Identifier, which the answer repeats or replaces.
    pub identifier: u8,
    /// What follows the header: Type and Type-Data of a Request or Response.
    pub data: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the header. Octets after Length are padding and are ignored (RFC 3748 §4).
    ///
    /// # Errors
    /// [`EapError::Start`], [`EapError::Truncated`], [`EapError::UnknownCode`].
    pub fn parse(octets: &'a [u8]) -> Result<Self, EapError> {
        let Some((&[code, identifier, high, low], _)) = octets.split_first_chunk() else {
            return Err(if octets.is_empty() {
                EapError::Start
            } else {
                EapError::Truncated { length: HEADER, got: octets.len() }
            });
        };
        let code = match code {
            1 => Code::Request,
            2 => Code::Response,
            3 => Code::Success,
            4 => Code::Failure,
            code => return Err(EapError::UnknownCode(code)),
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // A Length below the header's own is as impossible as one beyond the end.
        let data = octets.get(HEADER..length).ok_or(EapError::Truncated { length, got: octets.len() })?;
        Ok(Self { code, identifier, data })
    }
}

/// An EAP-Failure (RFC 3748 §4.2), for the one EAP-Message of an Access-Reject. `identifier` is that of the Response it
/// answers, or the peer ignores it.
pub fn failure(identifier: u8) -> [u8; 4] {
    [Code::Failure as u8, identifier, 0, 4]
}

/// The EAP-Failure that refuses whatever `octets` began.
///
/// An EAP-Start has no Identifier and gets zero: a peer that was never asked anything expects no particular one.
///
/// # Errors
/// Octets to which RFC 3748 §4 allows no answer at all: [`EapError::Truncated`], [`EapError::UnknownCode`],
/// [`EapError::NotResponse`].
pub fn refuse(octets: &[u8]) -> Result<[u8; 4], EapError> {
    match Packet::parse(octets) {
        Ok(Packet { code: Code::Response, identifier, .. }) => Ok(failure(identifier)),
        Ok(Packet { code, .. }) => Err(EapError::NotResponse(code)),
        Err(EapError::Start) => Ok(failure(0)),
        Err(error) => Err(error),
    }
}

/// Why octets are no EAP packet a server can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EapError {
    /// No octets at all: EAP-Start, by which a NAS asks the server to begin (RFC 3579 §2.1). Not a fault.
    #[error("EAP-Start: the EAP-Message is empty")]
    Start,
    /// Length says more than there is, or less than the header.
    #[error("the EAP packet is {got} octets long and its Length is {length}")]
    Truncated {
        /// What the header says, or 4 where not even a header is there.
        length: usize,
        /// Octets received.
        got: usize,
    },
    /// Not one of the four codes.
    #[error("EAP has no code {0}")]
    UnknownCode(u8),
    /// A packet only an authenticator sends.
    #[error("an EAP {0:?} came from a peer")]
    NotResponse(Code),
}

/// Code, Identifier and Length.
const HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Response, Identifier 1, Length 10, Type 1 (Identity), "alice".
    const IDENTITY: &[u8] = b"\x02\x01\x00\x0a\x01alice";

    #[test]
    fn rfc3748_section_4_header() {
        let packet = Packet::parse(IDENTITY).unwrap();
        assert_eq!(packet, Packet { code: Code::Response, identifier: 1, data: b"\x01alice" });
    }

    #[test]
    fn rfc3748_section_4_octets_beyond_length_are_padding() {
        let padded = [IDENTITY, &[0, 0, 0]].concat();
        assert_eq!(Packet::parse(&padded), Packet::parse(IDENTITY));
    }

    #[test]
    fn rfc3748_section_4_length_beyond_the_octets_or_below_the_header() {
        assert_eq!(Packet::parse(&IDENTITY[..9]), Err(EapError::Truncated { length: 10, got: 9 }));
        assert_eq!(Packet::parse(b"\x02\x01\x00\x03"), Err(EapError::Truncated { length: 3, got: 4 }));
        assert_eq!(Packet::parse(b"\x02\x01\x00"), Err(EapError::Truncated { length: 4, got: 3 }));
        assert_eq!(Packet::parse(b"\x05\x01\x00\x04"), Err(EapError::UnknownCode(5)));
    }

    #[test]
    fn rfc3748_section_4_2_failure_repeats_the_identifier() {
        assert_eq!(refuse(b"\x02\xc8\x00\x0a\x01alice"), Ok([4, 0xc8, 0, 4]));
        let failure = failure(0xc8);
        assert_eq!(Packet::parse(&failure), Ok(Packet { code: Code::Failure, identifier: 0xc8, data: b"" }));
    }

    #[test]
    fn rfc3579_section_2_1_an_eap_start_is_refused_too() {
        assert_eq!(Packet::parse(b""), Err(EapError::Start));
        assert_eq!(refuse(b""), Ok([4, 0, 0, 4]));
    }

    #[test]
    fn what_only_an_authenticator_sends_gets_no_answer() {
        for code in [Code::Request, Code::Success, Code::Failure] {
            assert_eq!(refuse(&[code as u8, 7, 0, 4]), Err(EapError::NotResponse(code)));
        }
    }

    proptest! {
        #[test]
        fn any_octets_parse_within_bounds_or_are_refused(octets in prop::collection::vec(any::<u8>(), 0..64)) {
            match Packet::parse(&octets) {
                Ok(packet) => prop_assert_eq!(packet.data.len() + HEADER, usize::from(octets[2]) << 8 | usize::from(octets[3])),
                Err(error) => prop_assert_ne!(error.to_string(), ""),
            }
        }
    }
}
