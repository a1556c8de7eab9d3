//! How a credential rests in the store. Knows no store and no file: text in, text out, and the key as octets.
//!
//! | text | content |
//! |---|---|
//! | `$argon2id$v=19$…` | a PHC string, as it is |
//! | `$radhold$v1$nt$KEYID$BASE64` | an NT hash, sealed |
//! | `$radhold$v1$clear$KEYID$BASE64` | a password, sealed |
//! | `$radhold$v1$totp-sha1$KEYID$BASE64` | a TOTP secret, sealed ([`super::totp`]; or `totp-sha256`, `totp-sha512`) |
//!
//! Sealed means XChaCha20-Poly1305: BASE64 is the nonce (24 octets), the ciphertext and the tag (16). The associated data
//! are the form and the user name, so a row copied to another user's does not open. KEYID is the first 8 octets of the
//! key's SHA-256 in hexadecimal: a wrong key is told from a damaged row. A password is padded to a multiple of 32 octets
//! before sealing, so that a copy of the table does not point out the short ones.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Argon2idHash, ClearPassword, Credential, CredentialError, CredentialForm, NtHash};

/// The key credentials are sealed with: 32 octets out of a file only we can read. Prints nothing, is wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// A key from 32 octets, which must be random.
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A key from the text of its file: 64 hexadecimal digits or base64, white space around it ignored.
    ///
    /// # Errors
    /// [`CredentialError::MalformedKey`].
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let text = text.trim();
        let octets = if text.len() == 64 { hex::decode(text).ok() } else { BASE64.decode(text).ok() };
        let octets = Zeroizing::new(octets.ok_or(CredentialError::MalformedKey)?);
        <[u8; 32]>::try_from(octets.as_slice()).map(Self).map_err(|_| CredentialError::MalformedKey)
    }

    /// The text [`SealingKey::parse`] reads, for writing the file of a new key. Wiped on drop.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }

    /// The public name of this key.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        id.copy_from_slice(&Sha256::digest(self.0)[..8]);
        KeyId(id)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

/// Which [`SealingKey`]: 16 hexadecimal digits that say nothing of the key itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A credential as the store holds it.
#[derive(Debug, Clone)]
pub enum StoredCredential {
    /// One-way already, stored as it is.
    Argon2id(Argon2idHash),
    /// Sealed with a key.
    Sealed(Sealed),
}

impl StoredCredential {
    /// Makes the stored form of a credential of user `user`.
    ///
    /// `nonce` is 24 random octets, new each time; an argon2id hash needs neither it nor the key.
    pub fn seal(credential: &Credential, key: &SealingKey, user: &str, nonce: &[u8; 24]) -> Self {
        match credential {
            Credential::Argon2id(hash) => Self::Argon2id(hash.clone()),
            Credential::NtHash(hash) => Self::Sealed(Sealed::new(SealedForm::Nt, hash.expose(), key, user, nonce)),
            Credential::Password(password) => {
                let padded = pad(password.expose());
                Self::Sealed(Sealed::new(SealedForm::Clear, &padded, key, user, nonce))
            }
        }
    }

    /// Reads one of the texts in this module's head.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`], [`CredentialError::UnknownForm`], [`CredentialError::Cost`].
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        if text.starts_with("$argon2") {
            return Argon2idHash::parse(text).map(Self::Argon2id);
        }
        let Some(rest) = text.strip_prefix("$radhold$") else {
            return Err(CredentialError::Malformed("it starts with neither $argon2id$ nor $radhold$"));
        };
        let parts: Vec<&str> = rest.split('$').collect();
        let [version, form, key_id, sealed] = parts[..] else {
            return Err(CredentialError::Malformed("a sealed credential has five parts"));
        };
        let form = match (version, form) {
            ("v1", "nt") => SealedForm::Nt,
            ("v1", "clear") => SealedForm::Clear,
            _ => return Err(CredentialError::UnknownForm(format!("{version}${form}"))),
        };
        let mut id = [0; 8];
        hex::decode_to_slice(key_id, &mut id)
            .map_err(|_| CredentialError::Malformed("the key id is not 16 hexadecimal digits"))?;
        let octets = BASE64.decode(sealed).map_err(|_| CredentialError::Malformed("the sealed part is not base64"))?;
        let (nonce, ciphertext) =
            octets.split_first_chunk().ok_or(CredentialError::Malformed("the sealed part is too short"))?;
        Ok(Self::Sealed(Sealed { form, key_id: KeyId(id), nonce: *nonce, ciphertext: ciphertext.to_vec() }))
    }

    /// The text to store.
    pub fn to_text(&self) -> String {
        match self {
            Self::Argon2id(hash) => hash.to_text(),
            Self::Sealed(sealed) => {
                let octets = [sealed.nonce.as_slice(), &sealed.ciphertext].concat();
                format!("$radhold$v1${}${}${}", sealed.form.name(), sealed.key_id, BASE64.encode(octets))
            }
        }
    }

    /// What [`open`](Self::open) will yield, known without the key.
    pub fn form(&self) -> CredentialForm {
        match self {
            Self::Argon2id(_) => CredentialForm::Argon2id,
            Self::Sealed(Sealed { form: SealedForm::Nt, .. }) => CredentialForm::NtHash,
            Self::Sealed(Sealed { form: SealedForm::Clear, .. }) => CredentialForm::Password,
        }
    }

    /// The key this needs to be opened; `None` for argon2id.
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Argon2id(_) => None,
            Self::Sealed(sealed) => Some(sealed.key_id),
        }
    }

    /// Opens the credential of user `user`, which is the name it was sealed for, to the letter.
    ///
    /// `key` may be a `&SealingKey` or, where none is configured, `None`: argon2id opens without.
    ///
    /// # Errors
    /// [`CredentialError::NoSealingKey`], [`CredentialError::WrongKey`], and [`CredentialError::DoesNotOpen`] when the
    /// row was changed or moved.
    pub fn open<'k>(&self, key: impl Into<Option<&'k SealingKey>>, user: &str) -> Result<Credential, CredentialError> {
        match self {
            Self::Argon2id(hash) => Ok(Credential::Argon2id(hash.clone())),
            Self::Sealed(sealed) => sealed.open(key.into(), user),
        }
    }
}

/// The sealed half of [`StoredCredential`]. Opened only through it.
#[derive(Clone)]
pub struct Sealed {
    form: SealedForm,
    key_id: KeyId,
    nonce: [u8; 24],
    ciphertext: Vec<u8>,
}

#[derive(Clone, Copy)]
enum SealedForm {
    Nt,
    Clear,
}

impl SealedForm {
    fn name(self) -> &'static str {
        match self {
            Self::Nt => "nt",
            Self::Clear => "clear",
        }
    }
}

/// Seals further secrets of a user, beside the password: the text has the shape of this module's head, and its form names what it
/// is. `nonce` is 24 random octets, new each time.
pub(super) fn seal_octets(form: &str, plain: &[u8], key: &SealingKey, user: &str, nonce: &[u8; 24]) -> String {
    let ciphertext = encrypt(key, &associated_data(form, user), plain, nonce);
    format!("$radhold$v1${form}${}${}", key.id(), BASE64.encode([nonce.as_slice(), &ciphertext].concat()))
}

/// Opens what [`seal_octets`] made: the form it names, and the octets.
pub(super) fn open_octets<'t>(
    text: &'t str,
    key: &SealingKey,
    user: &str,
) -> Result<(&'t str, Zeroizing<Vec<u8>>), CredentialError> {
    let malformed = CredentialError::Malformed;
    let rest = text.strip_prefix("$radhold$v1$").ok_or(malformed("it does not start with $radhold$v1$"))?;
    let parts: Vec<&str> = rest.split('$').collect();
    let [form, key_id, sealed] = parts[..] else { return Err(malformed("a sealed secret has five parts")) };
    if key_id != key.id().to_string() {
        return Err(CredentialError::WrongKey { sealed_with: key_id.to_owned(), configured: key.id().to_string() });
    }
    let octets = BASE64.decode(sealed).map_err(|_| malformed("the sealed part is not base64"))?;
    let (nonce, ciphertext) = octets.split_first_chunk().ok_or(malformed("the sealed part is too short"))?;
    Ok((form, decrypt(key, &associated_data(form, user), ciphertext, nonce)?))
}

/// A keyed hash for what need not be turned back: whoever has a copy of the table, and not the key, cannot search for it.
pub(super) fn keyed_hash(key: &SealingKey, purpose: &str, parts: &[&str]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    for part in [&[purpose], parts].concat() {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn associated_data(form: &str, user: &str) -> Vec<u8> {
    ["radhold", "v1", form, user].join("$").into_bytes()
}

fn encrypt(key: &SealingKey, aad: &[u8], plain: &[u8], nonce: &[u8; 24]) -> Vec<u8> {
    XChaCha20Poly1305::new(&key.0.into())
        .encrypt(&(*nonce).into(), Payload { msg: plain, aad })
        .expect("a password is far shorter than the cipher's limit of 256 GiB")
}

fn decrypt(
    key: &SealingKey,
    aad: &[u8],
    ciphertext: &[u8],
    nonce: &[u8; 24],
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    XChaCha20Poly1305::new(&key.0.into())
        .decrypt(nonce.into(), Payload { msg: ciphertext, aad })
        .map(Zeroizing::new)
        .map_err(|_| CredentialError::DoesNotOpen)
}

impl Sealed {
    fn new(form: SealedForm, plain: &[u8], key: &SealingKey, user: &str, nonce: &[u8; 24]) -> Self {
        let ciphertext = encrypt(key, &associated_data(form.name(), user), plain, nonce);
        Self { form, key_id: key.id(), nonce: *nonce, ciphertext }
    }

    fn open(&self, key: Option<&SealingKey>, user: &str) -> Result<Credential, CredentialError> {
        let key = key.ok_or_else(|| CredentialError::NoSealingKey { key_id: self.key_id.to_string() })?;
        if key.id() != self.key_id {
            let (sealed_with, configured) = (self.key_id.to_string(), key.id().to_string());
            return Err(CredentialError::WrongKey { sealed_with, configured });
        }
        let plain = decrypt(key, &associated_data(self.form.name(), user), &self.ciphertext, &self.nonce)?;
        match self.form {
            SealedForm::Nt => {
                let hash = <[u8; 16]>::try_from(plain.as_slice()).map_err(|_| CredentialError::DoesNotOpen)?;
                Ok(Credential::NtHash(NtHash::from_bytes(hash)))
            }
            SealedForm::Clear => {
                let password = unpad(&plain).ok_or(CredentialError::DoesNotOpen)?;
                ClearPassword::new(password).map(Credential::Password)
            }
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {})", self.form.name(), self.key_id)
    }
}

/// Appends 0x80 and zeros up to a multiple of 32 (the padding of ISO/IEC 7816-4).
fn pad(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(Vec::with_capacity((password.len() + 1).next_multiple_of(32)));
    padded.extend_from_slice(password);
    padded.push(0x80);
    padded.resize((password.len() + 1).next_multiple_of(32), 0);
    padded
}

fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let end = padded.iter().rposition(|&octet| octet != 0)?;
    (padded[end] == 0x80).then_some(&padded[..end])
}

/// Written without padding, read with or without: people paste keys made with `openssl rand -base64 32`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::argon::tests::cheapest;
    use super::super::hash_password;
    use super::*;

    fn key() -> SealingKey {
        SealingKey::from_bytes([0x42; 32])
    }

    fn sealed(user: &str) -> StoredCredential {
        let credential = Credential::Password(ClearPassword::new("arctangent").unwrap());
        StoredCredential::seal(&credential, &key(), user, &[9; 24])
    }

    #[test]
    fn the_text_names_version_form_and_key() {
        let text = sealed("nemo").to_text();
        let prefix = format!("$radhold$v1$clear${}$", key().id());
        assert!(text.starts_with(&prefix), "{text}");
        assert!(!text.contains('='), "{text}");
        assert_eq!(StoredCredential::parse(&text).unwrap().to_text(), text);
    }

    #[test]
    fn a_short_password_seals_to_the_same_length_as_a_longer_one() {
        let length = |password: &str| {
            let credential = Credential::Password(ClearPassword::new(password).unwrap());
            StoredCredential::seal(&credential, &key(), "nemo", &[9; 24]).to_text().len()
        };
        assert_eq!(length("a"), length("a password of thirty-one octets"));
    }

    #[test]
    fn another_key_is_named_as_such() {
        let other = SealingKey::from_bytes([0x43; 32]);
        let error = sealed("nemo").open(&other, "nemo").unwrap_err();
        let (sealed_with, configured) = (key().id().to_string(), other.id().to_string());
        assert_eq!(error, CredentialError::WrongKey { sealed_with, configured });
        let error = sealed("nemo").open(None, "nemo").unwrap_err();
        assert_eq!(error, CredentialError::NoSealingKey { key_id: key().id().to_string() });
    }

    #[test]
    fn a_changed_octet_or_form_does_not_open() {
        let text = sealed("nemo").to_text();
        let other_form = StoredCredential::parse(&text.replace("$clear$", "$nt$")).unwrap();
        assert_eq!(other_form.open(&key(), "nemo").unwrap_err(), CredentialError::DoesNotOpen);
        let StoredCredential::Sealed(mut changed) = sealed("nemo") else { panic!("sealed") };
        changed.ciphertext[3] ^= 1;
        assert_eq!(changed.open(Some(&key()), "nemo").unwrap_err(), CredentialError::DoesNotOpen);
    }

    #[test]
    fn argon2id_needs_no_key() {
        let hash = hash_password(b"arctangent", &[7; 16], cheapest()).unwrap();
        let stored = StoredCredential::seal(&Credential::Argon2id(hash.clone()), &key(), "nemo", &[9; 24]);
        assert_eq!(stored.to_text(), hash.to_text());
        assert_eq!(stored.key_id(), None);
        let parsed = StoredCredential::parse(&hash.to_text()).unwrap();
        assert!(matches!(parsed.open(None, "anybody").unwrap(), Credential::Argon2id(_)));
    }

    #[test]
    fn malformed_texts_are_refused_with_the_reason() {
        let error = |text: &str| StoredCredential::parse(text).unwrap_err();
        assert!(matches!(error("secret"), CredentialError::Malformed(_)));
        assert!(matches!(error("$radhold$v1$nt$00"), CredentialError::Malformed(_)));
        assert!(matches!(error("$radhold$v1$nt$0011$AAAA"), CredentialError::Malformed(_)));
        assert!(matches!(error("$radhold$v1$nt$0011223344556677$AAAA"), CredentialError::Malformed(_)));
        assert_eq!(error("$radhold$v2$nt$00$AA"), CredentialError::UnknownForm("v2$nt".into()));
    }

    #[test]
    fn a_key_reads_as_hex_or_base64_and_prints_its_id_only() {
        let from_hex = SealingKey::parse(&format!("  {}\n", "42".repeat(32))).unwrap();
        let from_base64 = SealingKey::parse("QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=\n").unwrap();
        assert_eq!((from_hex.id(), from_base64.id()), (key().id(), key().id()));
        assert_eq!(SealingKey::parse(&key().to_text()).unwrap().id(), key().id());
        assert_eq!(format!("{:?}", key()), format!("SealingKey({})", key().id()));
        for wrong in ["", "42", &"42".repeat(31), &"4".repeat(63), "not a key"] {
            assert_eq!(SealingKey::parse(wrong).unwrap_err(), CredentialError::MalformedKey, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn open_undoes_seal(
            password in prop::collection::vec(any::<u8>(), 1..200), user in ".{0,40}", nonce: [u8; 24], key: [u8; 32],
        ) {
            let key = SealingKey::from_bytes(key);
            let credential = Credential::Password(ClearPassword::new(password.clone()).unwrap());
            let text = StoredCredential::seal(&credential, &key, &user, &nonce).to_text();
            let stored = StoredCredential::parse(&text).unwrap();
            prop_assert_eq!(stored.form(), CredentialForm::Password);
            let Credential::Password(opened) = stored.open(&key, &user).unwrap() else { panic!("another form") };
            prop_assert_eq!(opened.expose(), password);
        }

        #[test]
        fn open_undoes_seal_of_an_nt_hash(hash: [u8; 16], user in ".{0,40}", nonce: [u8; 24]) {
            let credential = Credential::NtHash(NtHash::from_bytes(hash));
            let stored = StoredCredential::seal(&credential, &key(), &user, &nonce);
            let Credential::NtHash(opened) = stored.open(&key(), &user).unwrap() else { panic!("another form") };
            prop_assert_eq!(opened.expose(), &hash);
        }

        #[test]
        fn another_users_row_does_not_open(user in ".{0,20}", other in ".{0,20}") {
            prop_assume!(user != other);
            prop_assert_eq!(sealed(&user).open(&key(), &other).unwrap_err(), CredentialError::DoesNotOpen);
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "(\\$radhold\\$v1\\$(nt|clear)\\$)?[$0-9a-zA-Z+/=,]{0,120}") {
            if let Ok(stored) = StoredCredential::parse(&text) {
                prop_assert!(stored.open(&key(), "nemo").is_err() || matches!(stored, StoredCredential::Argon2id(_)));
            }
        }
    }
}
