//! What a peer offered, read from attribute values. Knows neither packet nor dictionary: values arrive as slices.

use std::fmt;

/// One offer of a password, as the attributes of an Access-Request state it.
#[derive(Clone, Copy)]
pub enum Method<'a> {
    /// User-Password (RFC 2865 §5.2), unhidden and without its padding.
    Pap {
        /// The password in clear.
        password: &'a [u8],
    },
    /// CHAP-Password (RFC 2865 §5.3).
    Chap {
        /// CHAP Ident.
        id: u8,
        /// CHAP-Challenge, or the Request Authenticator when there is none (RFC 2865 §2.2).
        challenge: &'a [u8],
        /// The MD5 response.
        response: [u8; 16],
    },
    /// MS-CHAP-Challenge with MS-CHAP-Response (RFC 2548 §2.1).
    MsChapV1 {
        /// The 8-octet challenge (RFC 2433 §4).
        challenge: [u8; 8],
        /// The response.
        response: MsChapResponse,
    },
    /// MS-CHAP-Challenge with MS-CHAP2-Response (RFC 2548 §2.3).
    MsChapV2 {
        /// The authenticator's 16-octet challenge (RFC 2759 §3).
        challenge: [u8; 16],
        /// The response.
        response: MsChap2Response,
    },
}

impl<'a> Method<'a> {
    /// CHAP from the values of CHAP-Password (17 octets) and CHAP-Challenge, or the Request Authenticator in its place.
    ///
    /// # Errors
    /// [`MethodError::Length`]; [`MethodError::NoChallenge`] when the challenge is empty.
    pub fn chap(chap_password: &[u8], challenge: &'a [u8]) -> Result<Self, MethodError> {
        let value: &[u8; 17] = exactly("CHAP-Password", chap_password)?;
        if challenge.is_empty() {
            return Err(MethodError::NoChallenge);
        }
        let [id, response @ ..] = *value;
        Ok(Self::Chap { id, challenge, response })
    }

    /// MS-CHAPv1 from the values of MS-CHAP-Challenge (8 octets) and MS-CHAP-Response (50).
    ///
    /// # Errors
    /// [`MethodError::Length`].
    pub fn ms_chap_v1(ms_chap_challenge: &[u8], ms_chap_response: &[u8]) -> Result<Self, MethodError> {
        let response = MsChapResponse::parse(ms_chap_response)?;
        Ok(Self::MsChapV1 { challenge: *exactly("MS-CHAP-Challenge", ms_chap_challenge)?, response })
    }

    /// MS-CHAPv2 from the values of MS-CHAP-Challenge (16 octets) and MS-CHAP2-Response (50).
    ///
    /// # Errors
    /// [`MethodError::Length`].
    pub fn ms_chap_v2(ms_chap_challenge: &[u8], ms_chap2_response: &[u8]) -> Result<Self, MethodError> {
        let response = MsChap2Response::parse(ms_chap2_response)?;
        Ok(Self::MsChapV2 { challenge: *exactly("MS-CHAP-Challenge", ms_chap_challenge)?, response })
    }

    /// Which method this is.
    pub fn kind(&self) -> MethodKind {
        match self {
            Self::Pap { .. } => MethodKind::Pap,
            Self::Chap { .. } => MethodKind::Chap,
            Self::MsChapV1 { .. } => MethodKind::MsChapV1,
            Self::MsChapV2 { .. } => MethodKind::MsChapV2,
        }
    }

    /// The Ident that an MS-CHAP-Error or MS-CHAP2-Success must repeat; MS-CHAP only.
    pub fn ms_chap_ident(&self) -> Option<u8> {
        match self {
            Self::MsChapV1 { response, .. } => Some(response.ident),
            Self::MsChapV2 { response, .. } => Some(response.ident),
            Self::Pap { .. } | Self::Chap { .. } => None,
        }
    }
}

impl fmt::Debug for Method<'_> {
    /// The name alone: a PAP password is clear, and a response can be searched offline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({}, …)", self.kind())
    }
}

/// The names of the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodKind {
    /// RFC 1334 §2.
    Pap,
    /// RFC 1994.
    Chap,
    /// RFC 2433.
    MsChapV1,
    /// RFC 2759.
    MsChapV2,
}

impl fmt::Display for MethodKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pap => "PAP",
            Self::Chap => "CHAP",
            Self::MsChapV1 => "MS-CHAPv1",
            Self::MsChapV2 => "MS-CHAPv2",
        })
    }
}

/// The value of MS-CHAP-Response (RFC 2548 §2.1.3). Its LM-Response is not kept: it is never used.
#[derive(Clone, Copy)]
pub struct MsChapResponse {
    /// PPP CHAP Identifier.
    pub ident: u8,
    /// One: the NT-Response counts. Zero: the LM-Response alone does.
    pub flags: u8,
    /// NtChallengeResponse (RFC 2433 §A.1).
    pub nt_response: [u8; 24],
}

impl MsChapResponse {
    /// Reads Ident, Flags, LM-Response (24) and NT-Response (24).
    ///
    /// # Errors
    /// [`MethodError::Length`] unless it is 50 octets.
    pub fn parse(value: &[u8]) -> Result<Self, MethodError> {
        let value: &[u8; 50] = exactly("MS-CHAP-Response", value)?;
        Ok(Self { ident: value[0], flags: value[1], nt_response: field(value, 26) })
    }
}

/// The value of MS-CHAP2-Response (RFC 2548 §2.3.2).
///
/// Flags and the reserved octets must be zero when sent; a receiver gains nothing by refusing them, so they are read
/// past.
#[derive(Clone, Copy)]
pub struct MsChap2Response {
    /// PPP MS-CHAP v2 Identifier.
    pub ident: u8,
    /// Reserved by RFC 2759 §4.
    pub flags: u8,
    /// The peer's own challenge.
    pub peer_challenge: [u8; 16],
    /// The NT-Response (RFC 2759 §8.1).
    pub nt_response: [u8; 24],
}

impl MsChap2Response {
    /// Reads Ident, Flags, Peer-Challenge (16), Reserved (8) and Response (24).
    ///
    /// # Errors
    /// [`MethodError::Length`] unless it is 50 octets.
    pub fn parse(value: &[u8]) -> Result<Self, MethodError> {
        let value: &[u8; 50] = exactly("MS-CHAP2-Response", value)?;
        Ok(Self { ident: value[0], flags: value[1], peer_challenge: field(value, 2), nt_response: field(value, 26) })
    }
}

/// An attribute that does not have the shape its RFC gives it. The peer's or the NAS's fault, never the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// A value of fixed length is longer or shorter.
    #[error("{attribute} is {got} octets long instead of {want}")]
    Length {
        /// The attribute's name.
        attribute: &'static str,
        /// Octets it should have.
        want: usize,
        /// Octets it has.
        got: usize,
    },
    /// CHAP-Challenge is there and empty.
    #[error("CHAP-Challenge is empty")]
    NoChallenge,
}

fn exactly<'a, const N: usize>(attribute: &'static str, value: &'a [u8]) -> Result<&'a [u8; N], MethodError> {
    value.try_into().map_err(|_| MethodError::Length { attribute, want: N, got: value.len() })
}

fn field<const N: usize>(value: &[u8; 50], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&value[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_length_names_the_attribute() {
        let of = |result: Result<Method<'_>, MethodError>| result.unwrap_err();
        assert_eq!(
            of(Method::chap(&[0; 16], b"challenge")),
            MethodError::Length { attribute: "CHAP-Password", want: 17, got: 16 }
        );
        assert_eq!(of(Method::chap(&[0; 17], b"")), MethodError::NoChallenge);
        assert_eq!(
            of(Method::ms_chap_v1(&[0; 16], &[0; 50])),
            MethodError::Length { attribute: "MS-CHAP-Challenge", want: 8, got: 16 }
        );
        assert_eq!(
            of(Method::ms_chap_v2(&[0; 16], &[0; 49])),
            MethodError::Length { attribute: "MS-CHAP2-Response", want: 50, got: 49 }
        );
    }

    #[test]
    fn rfc2548_section_2_3_2_fields_sit_where_the_diagram_has_them() {
        let mut value = [0_u8; 50];
        value[0] = 7;
        value[2..18].fill(1);
        value[18..26].fill(2);
        value[26..].fill(3);
        let response = MsChap2Response::parse(&value).unwrap();
        assert_eq!((response.ident, response.flags), (7, 0));
        assert_eq!((response.peer_challenge, response.nt_response), ([1; 16], [3; 24]));
    }

    #[test]
    fn debug_never_shows_the_password() {
        assert_eq!(format!("{:?}", Method::Pap { password: b"hush" }), "Method(PAP, …)");
    }
}
