//! State of an Access-Challenge (RFC 2865 §4.4, §5.24): the right password was given, and a code is awaited.
//!
//! Sealed by a MAC over everything in it and over the NAS and User-Name it was made for, so that any node can take the second
//! Access-Request and nobody else's State passes. Knows no store: that a State works once is for the store to see to, by its id.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{MethodKind, Proof};
use crate::model::{NasName, Secret, Timestamp};

const MAGIC: [u8; 4] = *b"rhc1";
const ID: usize = 16;
const BODY: usize = MAGIC.len() + 1 + ID + 8;
const MAC: usize = 20;

/// What a State of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Random, and never the same twice: what it is struck off by.
    pub id: [u8; ID],
    /// From then on it is worth nothing; whole microseconds.
    pub expires_at: Timestamp,
    /// Codes that were wrong already.
    pub wrong: u8,
}

/// The cluster's key for State.
#[derive(Debug, Clone)]
pub struct ChallengeKey(Secret);

/// Why a State is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Another server's, or none we know: not ours to judge.
    #[error("State is not one of ours")]
    Foreign,
    /// It looks like ours, but its MAC is wrong: forged, or made for another NAS, User-Name or cluster.
    #[error("State has a wrong MAC: forged, or made for another NAS, User-Name or cluster")]
    Forged,
    /// Its time is over.
    #[error("State has expired")]
    Expired,
}

impl ChallengeError {
    /// The label in logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "state-foreign",
            Self::Forged => "state-forged",
            Self::Expired => "state-expired",
        }
    }
}

impl ChallengeKey {
    /// Derives the key for State from the cluster key.
    pub fn new(cluster_key: &Secret) -> Self {
        let mut mac = hmac(cluster_key);
        mac.update(b"radhold challenge v1");
        Self(Secret::new(mac.finalize().into_bytes().to_vec()))
    }

    /// The octets of State. To be made only for somebody whose password was right: `proof` says so.
    pub fn seal(&self, challenge: &Challenge, nas: &NasName, user_name: &[u8], _proof: &Proof) -> Vec<u8> {
        let mut octets = Vec::with_capacity(BODY + MAC);
        octets.extend_from_slice(&MAGIC);
        octets.push(challenge.wrong);
        octets.extend_from_slice(&challenge.id);
        octets.extend_from_slice(&challenge.expires_at.as_micros().to_be_bytes());
        let mac = self.mac(&octets, nas, user_name);
        octets.extend_from_slice(&mac);
        octets
    }

    /// Reads the State of an Access-Request from this NAS with this User-Name: what it says, and the proof that the password was
    /// right when it was made.
    ///
    /// # Errors
    /// [`ChallengeError`]
    pub fn open(
        &self,
        octets: &[u8],
        nas: &NasName,
        user_name: &[u8],
        now: Timestamp,
    ) -> Result<(Challenge, Proof), ChallengeError> {
        if octets.len() != BODY + MAC || octets[..MAGIC.len()] != MAGIC {
            return Err(ChallengeError::Foreign);
        }
        let (body, mac) = octets.split_at(BODY);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&self.mac(body, nas, user_name)[..], mac)) {
            return Err(ChallengeError::Forged);
        }
        let mut id = [0; ID];
        id.copy_from_slice(&body[5..5 + ID]);
        let mut at = [0; 8];
        at.copy_from_slice(&body[5 + ID..]);
        let challenge = Challenge { id, expires_at: Timestamp::from_micros(i64::from_be_bytes(at)), wrong: body[4] };
        if now >= challenge.expires_at {
            return Err(ChallengeError::Expired);
        }
        Ok((challenge, Proof::plain(MethodKind::Pap)))
    }

    fn mac(&self, body: &[u8], nas: &NasName, user_name: &[u8]) -> [u8; MAC] {
        let mut mac = hmac(&self.0);
        for part in [body, nas.as_str().as_bytes(), user_name] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut out = [0; MAC];
        out.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        out
    }
}

fn hmac(key: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn key() -> ChallengeKey {
        ChallengeKey::new(&Secret::new("cluster"))
    }

    fn challenge() -> Challenge {
        Challenge { id: [7; ID], expires_at: Timestamp::from_secs(1_795_000_060), wrong: 1 }
    }

    fn sealed() -> Vec<u8> {
        key().seal(&challenge(), &"edge".into(), b"alice", &Proof::plain(MethodKind::Pap))
    }

    fn open(octets: &[u8], nas: &str, user: &[u8], now: Timestamp) -> Result<Challenge, ChallengeError> {
        key().open(octets, &nas.into(), user, now).map(|(challenge, _)| challenge)
    }

    #[test]
    fn comes_back_to_its_nas_and_user_in_time_alone() {
        let state = sealed();
        assert!(state.len() <= 253, "RFC 2865 §5.24");
        assert_eq!(open(&state, "edge", b"alice", NOW), Ok(challenge()));
        assert_eq!(open(&state, "core", b"alice", NOW), Err(ChallengeError::Forged));
        assert_eq!(open(&state, "edge", b"bob", NOW), Err(ChallengeError::Forged));
        assert_eq!(open(&state, "edgea", b"lice", NOW), Err(ChallengeError::Forged));
        assert_eq!(open(&state, "edge", b"alice", challenge().expires_at), Err(ChallengeError::Expired));
        assert_eq!(open(b"somebody else's", "edge", b"alice", NOW), Err(ChallengeError::Foreign));
        let other = ChallengeKey::new(&Secret::new("another"));
        assert_eq!(other.open(&state, &"edge".into(), b"alice", NOW).unwrap_err(), ChallengeError::Forged);
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let state = sealed();
        for bit in 0..state.len() * 8 {
            let mut changed = state.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&changed, "edge", b"alice", NOW).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn no_other_nas_user_or_time_opens_it(nas in ".{0,20}", user in any::<Vec<u8>>(), later in 0_i64..120) {
            let opens = nas == "edge" && user == b"alice" && later < 60;
            let now = Timestamp::from_secs(1_795_000_000 + later);
            prop_assert_eq!(open(&sealed(), &nas, &user, now).is_ok(), opens);
            prop_assert_eq!(open(&sealed(), "edge", b"alice", now).is_ok(), later < 60);
        }
    }
}
