//! The peer's half: from a password and a challenge to the response a client would give. For those who log in, as
//! `radhold client` does; the server never calls it.

use super::mschap::challenge_hash;
use super::{NtHash, PreparedNtHash, chap as server_chap};

/// The response of CHAP (RFC 1994 §4.1).
pub fn chap(ident: u8, password: &[u8], challenge: &[u8]) -> [u8; 16] {
    server_chap::response(ident, password, challenge)
}

/// NtChallengeResponse of MS-CHAPv1 (RFC 2433 §A.1).
pub fn ms_chap_v1(hash: &NtHash, challenge: &[u8; 8]) -> [u8; 24] {
    PreparedNtHash::new(hash).challenge_response(challenge)
}

/// GenerateNTResponse of MS-CHAPv2 (RFC 2759 §8.1). The name's domain is not hashed (§4).
pub fn ms_chap_v2(hash: &NtHash, authenticator: &[u8; 16], peer: &[u8; 16], user_name: &[u8]) -> [u8; 24] {
    PreparedNtHash::new(hash).challenge_response(&challenge_hash(peer, authenticator, user_name))
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
