//! The signature: HMAC-SHA256 (RFC 2104) over the time and the body, with the secret both sides have.
//!
//! `X-Radhold-Timestamp` is seconds since 1970, `X-Radhold-Signature` is `v1=` and the MAC of `TIMESTAMP.BODY` in hexadecimal.
//! Knows neither HTTP nor what the body says.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{Secret, Timestamp};

/// The header with the time.
pub(super) const TIMESTAMP: &str = "x-radhold-timestamp";
/// The header with the signature.
pub(super) const SIGNATURE: &str = "x-radhold-signature";
/// How far the other side's clock may be from ours, in seconds; and how long a request counts as fresh.
pub(super) const WINDOW: i64 = 300;

/// Why something that was sent to us does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsigned {
    /// A header is missing or is not as it should be.
    #[error("it lacks X-Radhold-Timestamp or X-Radhold-Signature")]
    Missing,
    /// It is too old, or from the future.
    #[error("its time is not within {WINDOW} s of ours")]
    Stale,
    /// Somebody else has signed it, or something else.
    #[error("its signature is not right")]
    Forged,
}

/// Signs and verifies.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    secret: Secret,
    clock: fn() -> Timestamp,
}

impl Signer {
    pub(super) fn new(secret: Secret, clock: fn() -> Timestamp) -> Self {
        Self { secret, clock }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The two headers' values for a body that is sent now.
    pub(super) fn sign(&self, body: &[u8]) -> (String, String) {
        let timestamp = self.now().as_secs().to_string();
        let signature = format!("v1={}", hex::encode(self.mac(&timestamp, body).finalize().into_bytes()));
        (timestamp, signature)
    }

    /// Whether whoever knows the secret has signed this, lately.
    pub(super) fn verify(&self, timestamp: Option<&str>, signature: Option<&str>, body: &[u8]) -> Result<(), Unsigned> {
        let (Some(timestamp), Some(signature)) = (timestamp, signature) else { return Err(Unsigned::Missing) };
        let seconds: i64 = timestamp.parse().map_err(|_| Unsigned::Missing)?;
        let mac = signature.strip_prefix("v1=").and_then(|mac| hex::decode(mac).ok()).ok_or(Unsigned::Missing)?;
        // In constant time. Before the time is looked at, so that nobody learns our clock.
        self.mac(timestamp, body).verify_slice(&mac).map_err(|_| Unsigned::Forged)?;
        if self.now().as_secs().abs_diff(seconds) > WINDOW.unsigned_abs() { Err(Unsigned::Stale) } else { Ok(()) }
    }

    fn mac(&self, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose()).expect("HMAC takes a key of any length");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_176_000);

    fn signer(secret: &str) -> Signer {
        Signer::new(Secret::new(secret), || NOW)
    }

    /// Made by `printf '1795176000.{"a":1}' | openssl dgst -sha256 -hmac sesame`, so that others come to the same.
    #[test]
    fn the_signature_is_as_the_manual_says() {
        let (timestamp, signature) = signer("sesame").sign(b"{\"a\":1}");
        assert_eq!(timestamp, "1795176000");
        assert_eq!(signature, "v1=b16efa154dc544cc39f2d582f6e5f7222216fd93e2bf7236a39a53564d3ad9a9");
    }

    fn foreign_signer() -> Signer {
        signer("simsim")
    }

    #[test]
    fn what_is_not_signed_now_with_the_secret_does_not_count() {
        let signer = signer("sesame");
        let (timestamp, signature) = signer.sign(b"body");
        let verify =
            |timestamp: Option<&str>, signature: Option<&str>, body: &[u8]| signer.verify(timestamp, signature, body);
        assert_eq!(verify(Some(&timestamp), Some(&signature), b"body"), Ok(()));
        assert_eq!(verify(Some(&timestamp), Some(&signature), b"bodx"), Err(Unsigned::Forged));
        assert_eq!(verify(Some("1795176001"), Some(&signature), b"body"), Err(Unsigned::Forged));
        assert_eq!(verify(Some(&timestamp), Some(&signature[..21]), b"body"), Err(Unsigned::Forged));
        for (timestamp, signature) in
            [(None, Some("v1=00")), (Some("1"), None), (Some("x"), Some("v1=00")), (Some("1"), Some("00"))]
        {
            assert_eq!(verify(timestamp, signature, b"body"), Err(Unsigned::Missing));
        }
        for (offset, counts) in [(WINDOW, true), (WINDOW + 1, false), (-WINDOW, true), (-WINDOW - 1, false)] {
            let timestamp = (NOW.as_secs() + offset).to_string();
            let mac = hex::encode(signer.mac(&timestamp, b"body").finalize().into_bytes());
            let verified = verify(Some(&timestamp), Some(&format!("v1={mac}")), b"body");
            assert_eq!(verified, if counts { Ok(()) } else { Err(Unsigned::Stale) }, "{offset}");
        }
        let (timestamp, foreign) = foreign_signer().sign(b"body");
        assert_eq!(verify(Some(&timestamp), Some(&foreign), b"body"), Err(Unsigned::Forged));
    }
}
