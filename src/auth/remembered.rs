//! Passwords that were right a moment ago, so that a slow hash is not paid again at each login. Keeps no password: what is
//! remembered is a keyed hash of it and of the hash it was checked against, and the key is this process's alone.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{MethodKind, Proof};
use crate::model::Timestamp;

/// What remembered passwords are hashed with. Prints nothing, is wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RememberKey([u8; 32]);

/// A PAP password that was proven, and until when it counts.
#[derive(Debug, Clone, Copy)]
pub struct Remembered {
    mac: [u8; 32],
    /// Of what the store had of it, alone.
    stored: [u8; 32],
    until: Timestamp,
}

impl RememberKey {
    /// A key of random octets, drawn at the start and never written down.
    pub fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// Remembers the password of that proof, which was checked against `stored`, what the store has of it.
    pub fn remember(&self, _proof: &Proof, stored: &[u8], password: &[u8], until: Timestamp) -> Remembered {
        Remembered { mac: self.mac(stored, password), stored: self.mac(stored, b""), until }
    }

    /// The proof again, when it is the same password, the store has the same of it, and its time is not over.
    pub fn recognise(&self, remembered: &Remembered, stored: &[u8], password: &[u8], now: Timestamp) -> Option<Proof> {
        let same = bool::from(self.mac(stored, password).ct_eq(&remembered.mac));
        (same && remembered.counts(now)).then(|| Proof::plain(MethodKind::Pap))
    }

    /// Whether another password than this one is a wrong one: the store has the same of it, and its time is not over.
    pub fn rules_out_others(&self, remembered: &Remembered, stored: &[u8], now: Timestamp) -> bool {
        bool::from(self.mac(stored, b"").ct_eq(&remembered.stored)) && remembered.counts(now)
    }

    fn mac(&self, stored: &[u8], password: &[u8]) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        let length = (stored.len() as u64).to_be_bytes();
        mac.chain_update(length).chain_update(stored).chain_update(password).finalize().into_bytes().into()
    }
}

impl Remembered {
    /// Whether its time is not over.
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl fmt::Debug for RememberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_against_the_same_hash_in_time() {
        let (early, late) = (Timestamp::from_secs(10), Timestamp::from_secs(20));
        let key = RememberKey::new([7; 32]);
        let remembered = key.remember(&Proof::plain(MethodKind::Pap), b"$argon2id$x", b"right", late);
        let knows = |stored: &[u8], password: &[u8], now| key.recognise(&remembered, stored, password, now).is_some();
        assert!(knows(b"$argon2id$x", b"right", early));
        assert!(!knows(b"$argon2id$x", b"wrong", early));
        assert!(!knows(b"$argon2id$y", b"right", early), "the password was set anew");
        assert!(!knows(b"$argon2id$", b"xright", early), "the two do not run together");
        assert!(!knows(b"$argon2id$x", b"right", late));
        assert!(key.rules_out_others(&remembered, b"$argon2id$x", early));
        assert!(!key.rules_out_others(&remembered, b"$argon2id$y", early), "another may be right by now");
        assert!(!key.rules_out_others(&remembered, b"$argon2id$x", late));
        assert!(RememberKey::new([8; 32]).recognise(&remembered, b"$argon2id$x", b"right", early).is_none());
    }
}
