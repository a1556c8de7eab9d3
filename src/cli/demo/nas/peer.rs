//! The person's end of a login: what a client answers to PAP, CHAP and MS-CHAPv2, and how it knows its server again.
//!
//! Computed here anew rather than borrowed from `auth`, so that a mistake there does not agree with itself. Knows no
//! socket and no session.

use std::fmt;

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md4::Md4;
use md5::Md5;
use sha1::{Digest as _, Sha1};

use crate::radius::hiding;
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{EncodeError, Packet, PacketBuilder, attribute};

/// How somebody logs in, and with which password.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User-Password (RFC 2865 §5.2).
    Pap(String),
    /// CHAP-Password (RFC 2865 §5.3).
    Chap(String),
    /// MS-CHAP2-Response (RFC 2548 §2.3.2).
    MsChapV2(String),
}

/// What the server must prove to have known; see [`Expected::is_met`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// The method lets the server prove nothing.
    Nothing,
    /// MS-CHAP2-Success of exactly these octets (RFC 2548 §2.3.3), the only ones pppd takes.
    Success(Vec<u8>),
}

/// Chance for one login.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    /// CHAP ID, or Ident of MS-CHAP.
    pub(super) ident: u8,
    /// What the NAS challenges with.
    pub(super) challenge: [u8; 16],
    /// What an MS-CHAPv2 peer challenges the server with.
    pub(super) peer_challenge: [u8; 16],
}

impl Credentials {
    /// The method's name.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Pap(_) => "PAP",
            Self::Chap(_) => "CHAP",
            Self::MsChapV2(_) => "MS-CHAPv2",
        }
    }

    /// Adds the answer to an Access-Request with this Request Authenticator.
    pub(super) fn write(
        &self,
        request: &mut PacketBuilder,
        user: &str,
        secret: &[u8],
        authenticator: &[u8; 16],
        chance: &Chance,
    ) -> Result<Expected, EncodeError> {
        let Chance { ident, challenge, peer_challenge } = chance;
        match self {
            Self::Pap(password) => {
                // Longer than any password RFC 2865 §5.2 can carry: send what fits, and be refused.
                let password = &password.as_bytes()[..password.len().min(hiding::MAX_USER_PASSWORD)];
                let hidden = hiding::hide_user_password(password, secret, authenticator).expect("short enough to hide");
                request.attribute(attribute::USER_PASSWORD, &hidden)?;
                Ok(Expected::Nothing)
            }
            Self::Chap(password) => {
                let response = chap_response(*ident, password.as_bytes(), challenge);
                request.attribute(attribute::CHAP_CHALLENGE, challenge)?;
                request.attribute(attribute::CHAP_PASSWORD, &[&[*ident], &response[..]].concat())?;
                Ok(Expected::Nothing)
            }
            Self::MsChapV2(password) => {
                let hashed = challenge_hash(peer_challenge, challenge, user);
                let response = nt_response(&hashed, password);
                let value = [&[*ident, 0], &peer_challenge[..], &[0; 8], &response[..]].concat();
                request.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, challenge)?;
                request.vendor(MICROSOFT, microsoft::MS_CHAP2_RESPONSE, &value)?;
                let proof = authenticator_response(password, &response, &hashed);
                Ok(Expected::Success([&[*ident], proof.as_bytes()].concat()))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(…)", self.method())
    }
}

impl Expected {
    /// Whether an Access-Accept proves that its server knew the password, as far as the method goes.
    pub(super) fn is_met(&self, accept: &Packet<'_>) -> bool {
        match self {
            Self::Nothing => true,
            Self::Success(wanted) => {
                accept.vendor_first(MICROSOFT, microsoft::MS_CHAP2_SUCCESS) == Some(wanted.as_slice())
            }
        }
    }
}

/// RFC 1994 §4.1.
fn chap_response(ident: u8, password: &[u8], challenge: &[u8; 16]) -> [u8; 16] {
    Md5::new().chain_update([ident]).chain_update(password).chain_update(challenge).finalize().into()
}

/// RFC 2759 §8.2; the user's domain is not part of it.
fn challenge_hash(peer: &[u8; 16], challenge: &[u8; 16], user: &str) -> [u8; 8] {
    let user = user.rsplit_once('\\').map_or(user, |(_, user)| user);
    let digest = Sha1::new().chain_update(peer).chain_update(challenge).chain_update(user).finalize();
    std::array::from_fn(|i| digest[i])
}

/// RFC 2759 §8.3.
fn nt_hash(password: &str) -> [u8; 16] {
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(utf16).into()
}

/// RFC 2759 §8.1, §8.5: the challenge under three DES keys of 56 bits, cut from the hash and zeroes.
fn nt_response(challenge: &[u8; 8], password: &str) -> [u8; 24] {
    let mut keys = [0; 21];
    keys[..16].copy_from_slice(&nt_hash(password));
    let mut response = [0; 24];
    for (key, out) in keys.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        // Seven octets become eight of seven bits each; DES does not look at the eighth.
        let bits = key.iter().fold(0_u64, |bits, &octet| bits << 8 | u64::from(octet));
        let spread: [u8; 8] = std::array::from_fn(|i| ((bits >> (49 - 7 * i) & 0x7f) << 1) as u8);
        let mut block = (*challenge).into();
        Des::new(&spread.into()).encrypt_block(&mut block);
        out.copy_from_slice(&block);
    }
    response
}

/// RFC 2759 §8.7.
fn authenticator_response(password: &str, response: &[u8; 24], challenge: &[u8; 8]) -> String {
    let hash_hash = Md4::digest(nt_hash(password));
    let inner = Sha1::new()
        .chain_update(hash_hash)
        .chain_update(response)
        .chain_update(b"Magic server to client signing constant")
        .finalize();
    let digest = Sha1::new()
        .chain_update(inner)
        .chain_update(challenge)
        .chain_update(b"Pad to make it do more than one iteration")
        .finalize();
    format!("S={}", hex::encode_upper(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::Code;

    fn octets<const N: usize>(digits: &str) -> [u8; N] {
        hex::decode(digits).unwrap().try_into().unwrap()
    }

    #[test]
    fn rfc2759_section_9_2() {
        let challenge = octets("5B5D7C7D7B3F2F3E3C2C602132262628");
        let peer = octets("21402324255E262A28295F2B3A337C7E");
        let hashed = challenge_hash(&peer, &challenge, "User");
        assert_eq!(hashed, octets("D02E4386BCE91226"));
        let response = nt_response(&hashed, "clientPass");
        assert_eq!(response, octets("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF"));
        let proof = authenticator_response("clientPass", &response, &hashed);
        assert_eq!(proof, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let chance = Chance { ident: 7, challenge: [1; 16], peer_challenge: [2; 16] };
        let mut request = PacketBuilder::request(Code::AccessRequest, 0, [3; 16]);
        let expected =
            Credentials::MsChapV2("hunter2".to_owned()).write(&mut request, "alice", b"xyzzy", &[3; 16], &chance);
        let expected = expected.unwrap();
        let accept = |success: Option<&[u8]>| {
            let request = request.clone().sign_request(b"xyzzy").unwrap().to_vec();
            let mut reply = PacketBuilder::reply(&Packet::parse(&request).unwrap(), Code::AccessAccept);
            if let Some(success) = success {
                reply.vendor(MICROSOFT, microsoft::MS_CHAP2_SUCCESS, success).unwrap();
            }
            reply.sign_reply(b"xyzzy").unwrap().to_vec()
        };
        let Expected::Success(proof) = &expected else { panic!("MS-CHAPv2 proves both ends") };
        assert_eq!(proof.len(), 43);
        assert!(expected.is_met(&Packet::parse(&accept(Some(proof))).unwrap()));
        let wrong = [&proof[..42], &[proof[42] ^ 1]].concat();
        assert!(!expected.is_met(&Packet::parse(&accept(Some(&wrong))).unwrap()));
        assert!(!expected.is_met(&Packet::parse(&accept(None)).unwrap()));
    }
}
