//! The Class cookie: how a NAS brings a session back to us, whichever node it speaks to.
//!
//! 46 octets: `rh`, version, flags, session id (16), seconds of the Access-Accept (8, big endian), the low 18 octets being
//! an HMAC-SHA-256 over all before and the name of the NAS. A cookie that was made for one NAS does not pass on another.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::model::{NasName, Secret, SessionId, Timestamp};

const MAGIC: [u8; 2] = *b"rh";
const VERSION: u8 = 1;
const WAIVED: u8 = 1;
const BODY: usize = 28;
const MAC: usize = 18;
const OCTETS: usize = BODY + MAC;

/// What a Class of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The session.
    pub session: SessionId,
    /// When its Access-Accept was offered, to the second.
    pub accepted_at: Timestamp,
    /// Whether its policy demanded no hold.
    pub waived: bool,
}

/// The cluster's key for Class.
#[derive(Clone)]
pub struct ClassKey(Hmac<Sha256>);

/// Why a Class is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// Another server's, or none we know.
    #[error("Class is not one of ours")]
    Foreign,
    /// It looks like ours, but its MAC is wrong: forged, from another NAS, or made with another cluster key.
    #[error("Class has a wrong MAC: forged, made for another NAS, or with another cluster key")]
    Forged,
}

impl ClassKey {
    /// Derives the key for Class from the cluster key.
    pub fn new(cluster_key: &Secret) -> Self {
        let mut mac = hmac(cluster_key);
        mac.update(b"radhold class v1");
        let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        // What depends on the key alone is done once, which is half of it.
        Self(Hmac::new_from_slice(&*key).expect("HMAC takes a key of any length"))
    }

    /// The octets for the Access-Accept.
    pub fn seal(&self, class: &Class, nas: &NasName) -> [u8; OCTETS] {
        let mut octets = [0; OCTETS];
        octets[..2].copy_from_slice(&MAGIC);
        octets[2..4].copy_from_slice(&[VERSION, if class.waived { WAIVED } else { 0 }]);
        octets[4..20].copy_from_slice(class.session.0.as_bytes());
        octets[20..BODY].copy_from_slice(&class.accepted_at.as_secs().to_be_bytes());
        let mac = self.mac(&octets[..BODY], nas);
        octets[BODY..].copy_from_slice(&mac);
        octets
    }

    /// Reads the octets of an Accounting-Request's Class.
    ///
    /// # Errors
    /// [`ClassError`] when we did not make it for this NAS.
    pub fn open(&self, octets: &[u8], nas: &NasName) -> Result<Class, ClassError> {
        if octets.len() != BODY + MAC || octets[..2] != MAGIC || octets[2] != VERSION {
            return Err(ClassError::Foreign);
        }
        let (body, mac) = octets.split_at(BODY);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&self.mac(body, nas)[..], mac)) {
            return Err(ClassError::Forged);
        }
        let (id, secs) = body[4..].split_at(16);
        let id = Uuid::from_slice(id).map_err(|_| ClassError::Foreign)?;
        let secs = secs.try_into().map(i64::from_be_bytes).map_err(|_| ClassError::Foreign)?;
        Ok(Class { session: SessionId(id), accepted_at: Timestamp::from_secs(secs), waived: body[3] & WAIVED != 0 })
    }

    fn mac(&self, body: &[u8], nas: &NasName) -> [u8; MAC] {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.update(nas.as_str().as_bytes());
        let mut out = [0; MAC];
        out.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        out
    }
}

impl fmt::Debug for ClassKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClassKey(…)")
    }
}

fn hmac(key: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class() -> Class {
        Class {
            session: SessionId(Uuid::from_u128(7)),
            accepted_at: Timestamp::from_secs(1_795_000_000),
            waived: false,
        }
    }

    #[test]
    fn comes_back_as_it_went() {
        let key = ClassKey::new(&Secret::new("cluster"));
        let nas = NasName::new("edge");
        for class in [class(), Class { waived: true, ..class() }] {
            assert_eq!(key.open(&key.seal(&class, &nas), &nas), Ok(class));
        }
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let key = ClassKey::new(&Secret::new("cluster"));
        let nas = NasName::new("edge");
        let octets = key.seal(&class(), &nas);
        for bit in 0..octets.len() * 8 {
            let mut changed = octets;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&changed, &nas).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_nas_or_cluster_is_refused() {
        let key = ClassKey::new(&Secret::new("cluster"));
        let octets = key.seal(&class(), &NasName::new("edge"));
        assert_eq!(key.open(&octets, &NasName::new("core")), Err(ClassError::Forged));
        let other = ClassKey::new(&Secret::new("another"));
        assert_eq!(other.open(&octets, &NasName::new("edge")), Err(ClassError::Forged));
        assert_eq!(key.open(b"lab-class", &NasName::new("edge")), Err(ClassError::Foreign));
    }
}
