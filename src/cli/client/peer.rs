//! The peer's half of CHAP and MS-CHAP: from a password and a challenge to a response. Knows no packet; `auth` has the
//! server's half, which judges what this makes.

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use crate::auth::NtHash;

/// The response of CHAP (RFC 1994 §4.1).
pub(super) fn chap(ident: u8, password: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([ident]).chain_update(password).chain_update(challenge).finalize().into()
}

/// NtChallengeResponse of MS-CHAPv1 (RFC 2433 §A.1).
pub(super) fn ms_chap_v1(hash: &NtHash, challenge: &[u8; 8]) -> [u8; 24] {
    let mut key = [0; 21];
    key[..16].copy_from_slice(hash.expose());
    let mut response = [0; 24];
    for (key, out) in key.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        let mut block = (*challenge).into();
        Des::new(&des_key(key).into()).encrypt_block(&mut block);
        out.copy_from_slice(&block);
    }
    response
}

/// GenerateNTResponse of MS-CHAPv2 (RFC 2759 §8.1). The name's domain is not hashed (§4).
pub(super) fn ms_chap_v2(hash: &NtHash, authenticator: &[u8; 16], peer: &[u8; 16], user_name: &[u8]) -> [u8; 24] {
    let name = user_name.rsplit(|&octet| octet == b'\\').next().unwrap_or_default();
    let digest = Sha1::new().chain_update(peer).chain_update(authenticator).chain_update(name).finalize();
    let challenge = digest.first_chunk().expect("20 octets have a first 8");
    ms_chap_v1(hash, challenge)
}

/// Seven octets as the eight DES takes, 7 bits in each above an unused parity bit.
fn des_key(octets: &[u8]) -> [u8; 8] {
    let bits = octets.iter().fold(0, |bits: u64, octet| bits << 8 | u64::from(*octet));
    std::array::from_fn(|at| (bits >> (49 - 7 * at) << 1) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(digits: &str) -> [u8; N] {
        hex::decode(digits).unwrap().try_into().unwrap()
    }

    #[test]
    fn rfc2759_section_9_2() {
        let hash = NtHash::of_password(b"clientPass").unwrap();
        let authenticator = octets("5b5d7c7d7b3f2f3e3c2c602132262628");
        let peer = octets("21402324255e262a28295f2b3a337c7e");
        for name in ["User", "BIGCO\\User"] {
            let response = ms_chap_v2(&hash, &authenticator, &peer, name.as_bytes());
            assert_eq!(response, octets("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"));
        }
    }

    #[test]
    fn rfc2433_appendix_b_2() {
        let hash = NtHash::of_password(b"MyPw").unwrap();
        let response = ms_chap_v1(&hash, &octets("102db5df085d3041"));
        assert_eq!(response, octets("4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61"));
    }

    #[test]
    fn rfc2865_section_7_2() {
        let response = chap(0x16, b"arctangent", &octets::<16>("2aee86f08d0d55969ca5978e0d3367a2"));
        assert_eq!(response, octets("e97557c316185895f293ff6344077275"));
    }
}
