//! The arithmetic both MS-CHAP versions share (RFC 2433, RFC 2759) and the text of a refusal. Knows no credential's
//! stored form and no keys: those are MPPE's.

use std::fmt::{self, Write as _};

use des::Des;
use des::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::{Credential, NtHash};

/// An NT hash with what MS-CHAP makes of it at each login: its hash, and the schedules of the three DES keys cut from it. Prints nothing, is
/// wiped on drop.
pub struct PreparedNtHash {
    hash: Zeroizing<[u8; 16]>,
    keys: [Des; 3],
}

impl PreparedNtHash {
    /// Of a password's hash.
    pub fn new(hash: &NtHash) -> Self {
        let mut keys = Zeroizing::new([0_u8; 21]);
        keys[..16].copy_from_slice(hash.expose());
        Self { hash: Zeroizing::new(hash.hash()), keys: std::array::from_fn(|nth| des_key(&keys[7 * nth..][..7])) }
    }

    /// Of what is stored of a password; `None` for a form of which there is no NT hash.
    pub fn of(credential: &Credential) -> Option<Self> {
        credential.nt_hash().map(|hash| Self::new(&hash))
    }

    /// ChallengeResponse (RFC 2759 §8.5, RFC 2433 §A.5): the challenge under the three keys.
    pub(super) fn challenge_response(&self, challenge: &[u8; 8]) -> [u8; 24] {
        let mut response = [0; 24];
        for (key, out) in self.keys.iter().zip(response.chunks_exact_mut(8)) {
            out.copy_from_slice(&encrypt(challenge, key));
        }
        response
    }

    /// NtPasswordHashHash (RFC 2759 §8.4): what the mutual proof and the MPPE keys are made from.
    pub(super) fn hash(&self) -> &[u8; 16] {
        &self.hash
    }
}

impl fmt::Debug for PreparedNtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedNtHash(…)")
    }
}

/// ChallengeHash (RFC 2759 §8.2): what the peer really answers in version 2.
pub(super) fn challenge_hash(peer: &[u8; 16], authenticator: &[u8; 16], user_name: &[u8]) -> [u8; 8] {
    let digest =
        Sha1::new().chain_update(peer).chain_update(authenticator).chain_update(without_domain(user_name)).finalize();
    let mut challenge = [0; 8];
    challenge.copy_from_slice(&digest[..8]);
    challenge
}

/// RFC 2759 §4: "only the user name is used, without any associated Windows NT domain name". The last backslash
/// decides, as in pppd on both ends of the link; `user@realm` is not a domain in this sense and stays whole.
fn without_domain(user_name: &[u8]) -> &[u8] {
    user_name.rsplit(|&octet| octet == b'\\').next().unwrap_or(user_name)
}

/// DesEncrypt (RFC 2759 §8.6).
pub(super) fn des_encrypt(clear: &[u8; 8], key: &[u8]) -> [u8; 8] {
    encrypt(clear, &des_key(key))
}

/// The key's first 7 octets spread over 8; the cipher ignores the parity bits.
fn des_key(key: &[u8]) -> Des {
    let mut raw = Zeroizing::new([0_u8; 8]);
    raw[1..].copy_from_slice(&key[..7]);
    let bits = Zeroizing::new(u64::from_be_bytes(*raw));
    let spread: Zeroizing<[u8; 8]> = Zeroizing::new(std::array::from_fn(|i| ((*bits >> (49 - 7 * i)) as u8) << 1));
    Des::new((&*spread).into())
}

fn encrypt(clear: &[u8; 8], key: &Des) -> [u8; 8] {
    let mut block = (*clear).into();
    key.encrypt_block(&mut block);
    block.into()
}

/// GenerateAuthenticatorResponse (RFC 2759 §8.7): `S=` and 40 upper-case digits, our proof to the peer that we know the
/// password too. `challenge` is the output of [`challenge_hash`].
pub(super) fn authenticator_response(hash: &PreparedNtHash, nt_response: &[u8; 24], challenge: &[u8; 8]) -> [u8; 42] {
    const MAGIC_1: &[u8] = b"Magic server to client signing constant";
    const MAGIC_2: &[u8] = b"Pad to make it do more than one iteration";
    let inner = Sha1::new().chain_update(hash.hash()).chain_update(nt_response).chain_update(MAGIC_1).finalize();
    let digest = Sha1::new().chain_update(inner).chain_update(challenge).chain_update(MAGIC_2).finalize();
    let mut out = *b"S=0000000000000000000000000000000000000000";
    hex::encode_to_slice(digest, &mut out[2..]).expect("20 octets make 40 digits");
    out.make_ascii_uppercase();
    out
}

/// The failure codes of RFC 2759 §6, which version 1 shares (RFC 2433 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsChapErrorCode {
    /// 646.
    RestrictedLogonHours,
    /// 647.
    AccountDisabled,
    /// 648.
    PasswordExpired,
    /// 649.
    NoDialinPermission,
    /// 691: the only one that tells a stranger nothing, so the one to use unless the password was right.
    AuthenticationFailure,
    /// 709.
    ChangingPassword,
}

impl MsChapErrorCode {
    /// The decimal after `E=`.
    pub fn number(self) -> u16 {
        match self {
            Self::RestrictedLogonHours => 646,
            Self::AccountDisabled => 647,
            Self::PasswordExpired => 648,
            Self::NoDialinPermission => 649,
            Self::AuthenticationFailure => 691,
            Self::ChangingPassword => 709,
        }
    }
}

/// The value of MS-CHAP-Error (RFC 2548 §2.1.5) for an MS-CHAPv2 peer: Ident, then
/// `E=691 R=0 C=<32 digits> V=3 M=<message>` (RFC 2759 §6).
///
/// `challenge` must be fresh when `retry` allows another attempt; the field must be there in any case. The message is
/// cut, between characters, where the Vendor-Specific attribute would overflow (246 octets of text in all).
pub fn ms_chap_error(ident: u8, code: MsChapErrorCode, retry: bool, challenge: &[u8; 16], message: &str) -> Vec<u8> {
    let mut text = format!("E={} R={} C=", code.number(), u8::from(retry));
    for octet in challenge {
        write!(text, "{octet:02X}").expect("writing to a String cannot fail");
    }
    text.push_str(" V=3 M=");
    let room = MAX_TEXT - text.len();
    text.push_str(&message[..message.floor_char_boundary(room)]);
    with_ident(ident, &text)
}

/// The value of MS-CHAP-Error for an MS-CHAPv1 peer: Ident, then `E=691 R=0 V=2` (RFC 2433 §8). There is no message, and
/// no `C=`: a fresh challenge serves a retry only, which is not offered to version 1.
pub fn ms_chap_v1_error(ident: u8, code: MsChapErrorCode) -> Vec<u8> {
    with_ident(ident, &format!("E={} R=0 V=2", code.number()))
}

/// A Vendor-Specific attribute has room for 249 octets of one sub-attribute: Vendor-Type, Vendor-Length, Ident, text.
const MAX_TEXT: usize = 249 - 3;

fn with_ident(ident: u8, text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + text.len());
    value.push(ident);
    value.extend_from_slice(text.as_bytes());
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{array, bytes};
    use super::*;

    const AUTHENTICATOR_CHALLENGE: &str = "5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28";
    const PEER_CHALLENGE: &str = "21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E";
    const NT_RESPONSE: &str = "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF";

    fn prepared(password: &str) -> PreparedNtHash {
        PreparedNtHash::new(&NtHash::of_password(password.as_bytes()).unwrap())
    }

    #[test]
    fn rfc2759_section_9_2_challenge() {
        let challenge = challenge_hash(&array(PEER_CHALLENGE), &array(AUTHENTICATOR_CHALLENGE), b"User");
        assert_eq!(challenge, array("D0 2E 43 86 BC E9 12 26"));
    }

    #[test]
    fn rfc2759_section_9_2_password_hash_and_hash_hash() {
        let hash = NtHash::of_password(b"clientPass").unwrap();
        assert_eq!(hash.expose(), &array("44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"));
        let hash_hash = array("41 C0 0C 58 4B D2 D9 1C 40 17 A2 A1 2F A5 9F 3F");
        assert_eq!(hash.hash(), hash_hash);
        assert_eq!(prepared("clientPass").hash(), &hash_hash);
        assert_eq!(format!("{:?}", prepared("clientPass")), "PreparedNtHash(…)");
    }

    #[test]
    fn rfc2759_section_9_2_nt_response() {
        assert_eq!(prepared("clientPass").challenge_response(&array("D0 2E 43 86 BC E9 12 26")), array(NT_RESPONSE));
    }

    #[test]
    fn rfc2759_section_9_2_authenticator_response() {
        let response =
            authenticator_response(&prepared("clientPass"), &array(NT_RESPONSE), &array("D0 2E 43 86 BC E9 12 26"));
        assert_eq!(&response, b"S=407A5589115FD0D6209F510FE9C04566932CDA56");
    }

    #[test]
    fn rfc2433_appendix_b_2_hash_example() {
        let hash = NtHash::of_password(b"MyPw").unwrap();
        assert_eq!(hash.expose(), &array("FC 15 6A F7 ED CD 6C 0E DD E3 33 7D 42 7F 4E AC"));
        assert_eq!(
            prepared("MyPw").challenge_response(&array("10 2D B5 DF 08 5D 30 41")),
            array("4E 9D 3C 8F 9C FD 38 5D 5B F4 D3 24 67 91 95 6C A4 C3 51 AB 40 9A 3D 61")
        );
    }

    /// The parity-corrected keys of the example and the raw ones must encrypt alike.
    #[test]
    fn rfc2433_appendix_b_3_des_key_generation() {
        for (raw, corrected) in
            [("FC 15 6A F7 ED CD 6C", "FD 0B 5B 5E 7F 6E 34 D9"), ("0E DD E3 33 7D 42 7F", "0E 6E 79 67 37 EA 08 FE")]
        {
            let mut block = [0x5A; 8].into();
            Des::new(&array::<8>(corrected).into()).encrypt_block(&mut block);
            assert_eq!(des_encrypt(&[0x5A; 8], &bytes(raw)), <[u8; 8]>::from(block));
        }
    }

    #[test]
    fn rfc2759_section_4_the_domain_alone_is_not_hashed() {
        assert_eq!(without_domain(b"BIGCO\\johndoe"), b"johndoe");
        assert_eq!(without_domain(b"johndoe"), b"johndoe");
        assert_eq!(without_domain(b"johndoe@bigco.example"), b"johndoe@bigco.example");
        assert_eq!(without_domain(b"BIGCO\\"), b"");
        assert_eq!(without_domain(b""), b"");
    }

    #[test]
    fn rfc2759_section_6_failure_text() {
        let value = ms_chap_error(0xD5, MsChapErrorCode::AuthenticationFailure, false, &[0xAB; 16], "Access denied");
        assert_eq!(value[0], 0xD5);
        assert_eq!(
            std::str::from_utf8(&value[1..]).unwrap(),
            "E=691 R=0 C=ABABABABABABABABABABABABABABABAB V=3 M=Access denied"
        );
    }

    #[test]
    fn rfc2433_section_8_failure_text() {
        assert_eq!(ms_chap_v1_error(9, MsChapErrorCode::AccountDisabled), b"\x09E=647 R=0 V=2");
    }

    #[test]
    fn a_long_message_is_cut_between_characters_to_fit_one_attribute() {
        let value = ms_chap_error(1, MsChapErrorCode::PasswordExpired, true, &[0; 16], &"é".repeat(200));
        assert!((246..=247).contains(&value.len()), "{}", value.len());
        assert!(std::str::from_utf8(&value[1..]).unwrap().ends_with('é'));
    }
}
