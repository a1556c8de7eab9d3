//! argon2id: the form for users who only ever log in by PAP. Knows no randomness: the salt is an argument.

use std::fmt;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, Version};

use super::{CredentialError, Why};

/// What one check costs. The default is OWASP's: 19 MiB, two iterations, one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

impl PasswordCost {
    /// A cost of `memory_kib` KiB (m), `iterations` (t) and `lanes` (p).
    ///
    /// # Errors
    /// [`CredentialError::Cost`] below argon2's minima (8 KiB a lane, one iteration, one lane) or above 1 GiB,
    /// 64 iterations, 16 lanes: beyond that one login is an attack on ourselves.
    pub fn new(memory_kib: u32, iterations: u32, lanes: u32) -> Result<Self, CredentialError> {
        let sane = (1..=16).contains(&lanes)
            && (1..=64).contains(&iterations)
            && (8 * lanes..=1024 * 1024).contains(&memory_kib);
        if sane {
            Ok(Self { memory_kib, iterations, lanes })
        } else {
            Err(CredentialError::Cost { memory_kib, iterations, lanes })
        }
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, iterations: 2, lanes: 1 }
    }
}

impl fmt::Display for PasswordCost {
    /// As the PHC string spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.memory_kib, self.iterations, self.lanes)
    }
}

/// Hashes a password for storage. Takes as long as a check does: not for the network threads.
///
/// # Errors
/// [`CredentialError::EmptyPassword`]; [`CredentialError::Argon2`] when the memory cannot be had.
pub fn hash_password(password: &[u8], salt: &[u8; 16], cost: PasswordCost) -> Result<Argon2idHash, CredentialError> {
    if password.is_empty() {
        return Err(CredentialError::EmptyPassword);
    }
    let failed = |error: &dyn fmt::Display| CredentialError::Argon2(error.to_string());
    let params = Params::new(cost.memory_kib, cost.iterations, cost.lanes, None).map_err(|e| failed(&e))?;
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password, salt)
        .map_err(|e| failed(&e))?;
    Ok(Argon2idHash(Box::new(hash)))
}

/// An argon2id hash with its salt and cost, from a PHC string (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`).
#[derive(Clone)]
pub struct Argon2idHash(Box<PasswordHash>);

impl Argon2idHash {
    /// Reads a PHC string, ours or any other program's.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`] when it is not one, has another algorithm or misses a part;
    /// [`CredentialError::Cost`] when its cost is out of the bounds of [`PasswordCost::new`].
    pub fn parse(phc: &str) -> Result<Self, CredentialError> {
        let hash = PasswordHash::new(phc).map_err(|_| CredentialError::Malformed("not a PHC string"))?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(CredentialError::Malformed("the PHC string is not argon2id"));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(CredentialError::Malformed("the PHC string lacks its salt or its hash"));
        }
        let params = Params::try_from(&hash).map_err(|_| CredentialError::Malformed("the PHC string's parameters"))?;
        PasswordCost::new(params.m_cost(), params.t_cost(), params.p_cost())?;
        Ok(Self(Box::new(hash)))
    }

    /// The PHC string again, for storing.
    pub fn to_text(&self) -> String {
        self.0.to_string()
    }

    /// Runs argon2id with the hash's own cost and compares in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> Result<(), Why> {
        match Argon2::default().verify_password(password, &*self.0) {
            Ok(()) => Ok(()),
            Err(password_hash::Error::PasswordInvalid) => Err(Why::WrongPassword),
            Err(_) => Err(Why::HashDidNotRun),
        }
    }
}

impl fmt::Debug for Argon2idHash {
    /// Prints the cost only: with the salt and hash a log could be searched offline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Argon2idHash({})", self.0.params.as_str())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The cheapest cost there is, so that tests and properties may hash by the hundred.
    pub(crate) fn cheapest() -> PasswordCost {
        PasswordCost::new(8, 1, 1).unwrap()
    }

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let hash = hash_password(b"arctangent", &[7; 16], cheapest()).unwrap();
        assert_eq!(hash.verify(b"arctangent"), Ok(()));
        assert_eq!(hash.verify(b"arctangent\0"), Err(Why::WrongPassword));
        assert_eq!(hash.verify(b""), Err(Why::WrongPassword));
    }

    #[test]
    fn the_default_cost_is_owasp_and_is_written_into_the_text() {
        let text = hash_password(b"arctangent", &[7; 16], PasswordCost::default()).unwrap().to_text();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{text}");
        assert_eq!(Argon2idHash::parse(&text).unwrap().verify(b"arctangent"), Ok(()));
    }

    /// Made with the reference implementation: `printf password | argon2 somesalt -id -t 2 -k 256 -p 1 -e`, one of
    /// the test cases of its test.c.
    #[test]
    fn a_hash_of_the_reference_implementation_verifies() {
        let text = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(Argon2idHash::parse(text).unwrap().verify(b"password"), Ok(()));
    }

    #[test]
    fn texts_that_are_not_argon2id_are_refused_by_name() {
        let malformed = |text| matches!(Argon2idHash::parse(text), Err(CredentialError::Malformed(_)));
        assert!(malformed("arctangent"));
        assert!(malformed("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"));
        assert!(malformed("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ"));
    }

    #[test]
    fn a_stored_cost_that_would_sink_the_server_is_refused() {
        let text = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(
            Argon2idHash::parse(text).unwrap_err(),
            CredentialError::Cost { memory_kib: 4_194_304, iterations: 2, lanes: 1 }
        );
    }

    #[test]
    fn debug_shows_the_cost_alone() {
        let hash = hash_password(b"arctangent", &[7; 16], cheapest()).unwrap();
        assert_eq!(format!("{hash:?}"), "Argon2idHash(m=8,t=1,p=1)");
    }
}
