//! CHAP with MD5 (RFC 1994 §4.1). Knows nothing of Microsoft's dialects.

use md5::{Digest, Md5};

/// The response a peer that knows `secret` gives: MD5 over Identifier, secret and challenge.
pub(super) fn response(id: u8, secret: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([id]).chain_update(secret).chain_update(challenge).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{array, bytes};
    use super::response;

    /// CHAP-Password of flopsy is `03 13 16 e9…`: CHAP ID 0x16, then the response; no CHAP-Challenge attribute, so
    /// the Request Authenticator is the challenge. The password of the example is "arctangent", as in §7.1.
    #[test]
    fn rfc2865_section_7_2_framed_user_authenticating_with_chap() {
        let authenticator = bytes("2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2");
        let expected = array("e9 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75");
        assert_eq!(response(0x16, b"arctangent", &authenticator), expected);
    }
}
