//! What is stored of a password, opened and ready to compare. Knows no file, key or database: see [`super::sealed`].

use std::fmt;

use md4::{Digest as _, Md4};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::argon::Argon2idHash;

/// What we hold of a user's password. The form decides which methods can be checked at all.
///
/// | | PAP | CHAP | MS-CHAPv1/v2 |
/// |---|---|---|---|
/// | `Argon2id` | yes, slowly | no | no |
/// | `NtHash` | yes | no | yes |
/// | `Password` | yes | yes | yes |
#[derive(Debug, Clone)]
pub enum Credential {
    /// A one-way hash; the only form that is not itself a password to whoever reads it.
    Argon2id(Argon2idHash),
    /// MD4 of the password in UTF-16LE (RFC 2759 §8.3). Equivalent to the password for MS-CHAP.
    NtHash(NtHash),
    /// The password itself.
    Password(ClearPassword),
}

impl Credential {
    /// What both MS-CHAP versions start from; `None` of an argon2id hash, and of a password that is not UTF-8.
    pub(super) fn nt_hash(&self) -> Option<NtHash> {
        match self {
            Self::Argon2id(_) => None,
            Self::NtHash(hash) => Some(hash.clone()),
            Self::Password(password) => NtHash::of_password(password.expose()),
        }
    }

    /// Which of the forms this is, for labels and for choosing a decoy.
    pub fn form(&self) -> CredentialForm {
        match self {
            Self::Argon2id(_) => CredentialForm::Argon2id,
            Self::NtHash(_) => CredentialForm::NtHash,
            Self::Password(_) => CredentialForm::Password,
        }
    }
}

/// The forms of [`Credential`], without their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialForm {
    /// [`Credential::Argon2id`].
    Argon2id,
    /// [`Credential::NtHash`].
    NtHash,
    /// [`Credential::Password`].
    Password,
}

impl fmt::Display for CredentialForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id => "argon2id",
            Self::NtHash => "nt-hash",
            Self::Password => "password",
        })
    }
}

/// The 16 octets of NtPasswordHash (RFC 2759 §8.3). Prints nothing, is wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NtHash([u8; 16]);

impl NtHash {
    /// Wraps a hash that was computed elsewhere (a domain controller's export, an unsealed row).
    pub fn from_bytes(hash: [u8; 16]) -> Self {
        Self(hash)
    }

    /// MD4 over the password in UTF-16LE. `None` when the octets are not UTF-8: no peer could have hashed such a
    /// password the way we would have to guess. No Unicode normalisation is done, as peers do none.
    pub fn of_password(password: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(password).ok()?;
        let mut hash = Md4::new();
        for unit in text.encode_utf16() {
            hash.update(unit.to_le_bytes());
        }
        Some(Self(hash.finalize().into()))
    }

    /// The secret octets. Only for computing with and for sealing.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// NtPasswordHashHash (RFC 2759 §8.4): what the mutual proof and the MPPE keys are made from.
    pub(super) fn hash(&self) -> [u8; 16] {
        Md4::digest(self.0).into()
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(…)")
    }
}

/// A password in clear. Prints nothing, is wiped on drop. Never empty.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClearPassword {
    octets: Vec<u8>,
    /// What is compared.
    digest: [u8; 32],
}

impl ClearPassword {
    /// Takes the password's octets as a peer sends them (UTF-8 from any peer of this century; other octets work for
    /// PAP and CHAP only).
    ///
    /// # Errors
    /// [`CredentialError::EmptyPassword`]: an empty stored password would let everybody in who knows the name.
    pub fn new(password: impl Into<Vec<u8>>) -> Result<Self, CredentialError> {
        let octets = password.into();
        let digest = Sha256::digest(&octets).into();
        let password = Self { octets, digest };
        if password.octets.is_empty() { Err(CredentialError::EmptyPassword) } else { Ok(password) }
    }

    /// The secret octets. Only for computing with and for sealing.
    pub fn expose(&self) -> &[u8] {
        &self.octets
    }

    /// Compares digests rather than the passwords, so that the time taken tells neither where nor whether at all the
    /// lengths differ.
    pub(super) fn ct_eq(&self, offered: &[u8]) -> Choice {
        self.digest.ct_eq(Sha256::digest(offered).as_slice())
    }
}

impl fmt::Debug for ClearPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClearPassword(…)")
    }
}

/// Why a credential could not be made, parsed or opened. None of these says anything secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The password is empty.
    #[error("an empty password is refused: it would let everybody in who knows the user name")]
    EmptyPassword,
    /// Not one of the text forms [`super::sealed`] describes.
    #[error("the stored credential is malformed: {0}")]
    Malformed(&'static str),
    /// A text form of a later radhold.
    #[error("the stored credential has form {0:?}, which this version of radhold does not know")]
    UnknownForm(String),
    /// A cost out of bounds, given or found in a stored hash.
    #[error("argon2id cost out of bounds: memory {memory_kib} KiB, {iterations} iterations, {lanes} lanes")]
    Cost {
        /// m, in KiB.
        memory_kib: u32,
        /// t.
        iterations: u32,
        /// p.
        lanes: u32,
    },
    /// argon2id would not run, practically always for want of memory.
    #[error("argon2id did not run: {0}")]
    Argon2(String),
    /// The credential is sealed and there is no key.
    #[error("the stored credential is sealed (key {key_id}) and no sealing key is configured")]
    NoSealingKey {
        /// Which key sealed it.
        key_id: String,
    },
    /// The credential is sealed with another key.
    #[error("the stored credential is sealed with key {sealed_with}, but the configured key is {configured}")]
    WrongKey {
        /// Key id of the stored credential.
        sealed_with: String,
        /// Key id of the key at hand.
        configured: String,
    },
    /// Right key, and still it does not open.
    #[error("the stored credential does not open: it was changed, or it belongs to another user name")]
    DoesNotOpen,
    /// The sealing key's own text is wrong.
    #[error("a sealing key is 32 octets in hexadecimal (64 digits) or base64")]
    MalformedKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_nothing() {
        let nt = Credential::NtHash(NtHash::of_password(b"s3cret-pass").unwrap());
        let clear = Credential::Password(ClearPassword::new("s3cret-pass").unwrap());
        assert_eq!(format!("{nt:?}"), "NtHash(NtHash(…))");
        assert_eq!(format!("{clear:?}"), "Password(ClearPassword(…))");
    }

    #[test]
    fn rfc2759_section_8_3_non_ascii_password_is_hashed_in_utf16() {
        // MD4 over the UTF-16LE units d800-range included: U+1F511 is the pair d83d dd11.
        let expected: [u8; 16] = Md4::digest([0x3d, 0xd8, 0x11, 0xdd, 0xe9, 0x00]).into();
        assert_eq!(NtHash::of_password("🔑é".as_bytes()).unwrap().expose(), &expected);
        assert!(NtHash::of_password(b"latin1 \xe9").is_none());
    }

    #[test]
    fn an_empty_password_is_not_a_credential() {
        assert_eq!(ClearPassword::new("").unwrap_err(), CredentialError::EmptyPassword);
    }
}
