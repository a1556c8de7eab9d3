//! Codes as a second factor: TOTP (RFC 6238), recovery codes, and the operator's emergency code. Key, code and time in, proof out.
//!
//! The algorithm is the crate's; here are the window, the comparison, and what a code is taken for. Knows no store: that a code was
//! used before is for the store to say ([`Matched::unless_used`]), by compare-and-set, so that it is refused at every node.
//!
//! | code | looks like | works |
//! |---|---|---|
//! | TOTP | 6 digits | once, for some 90 seconds, for its user |
//! | recovery | `xxxxx-xxxxx` | once, for its user |
//! | emergency | `xxxx-xxxx-xxxx` | as often as the operator said, for every user |

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use totp_rs::Totp;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::sealed::{keyed_hash, open_octets, seal_octets};
use super::{CredentialError, SealingKey};
use crate::model::{ApproverKind, Timestamp, UserName};

/// Octets of a new secret: what HMAC-SHA-1 makes full use of (RFC 4226 §4).
pub const SECRET: usize = 20;
/// Recovery codes of one set.
pub const RECOVERY_CODES: usize = 10;

/// X of RFC 6238 §4, in seconds; what every authenticator uses.
const PERIOD: u64 = 30;
const DIGITS: u8 = 6;

/// Crockford's: without I, L, O and U, so that a code can be read aloud and typed in.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const RECOVERY_LETTERS: usize = 10;
const EMERGENCY_LETTERS: usize = 12;

/// The hash within the HMAC (RFC 6238 §1.2). Many authenticators know SHA-1 alone, and some take another for it without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// What a secret is sealed as.
    const fn form(self) -> &'static str {
        match self {
            Self::Sha1 => "totp-sha1",
            Self::Sha256 => "totp-sha256",
            Self::Sha512 => "totp-sha512",
        }
    }

    const fn theirs(self) -> totp_rs::Algorithm {
        match self {
            Self::Sha1 => totp_rs::Algorithm::SHA1,
            Self::Sha256 => totp_rs::Algorithm::SHA256,
            Self::Sha512 => totp_rs::Algorithm::SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or_else(|| format!("no algorithm is called {text:?}; there are sha1, sha256 and sha512"))
    }
}

/// A user's TOTP secret, opened. Prints nothing, is wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TotpKey {
    #[zeroize(skip)]
    algorithm: Algorithm,
    secret: Vec<u8>,
}

impl TotpKey {
    /// A key of so many random octets ([`SECRET`] is a good number).
    pub fn new(algorithm: Algorithm, secret: impl Into<Vec<u8>>) -> Self {
        Self { algorithm, secret: secret.into() }
    }

    /// The text for the store, sealed for this user. `nonce` is 24 random octets, new each time.
    pub fn seal(&self, key: &SealingKey, user: &UserName, nonce: &[u8; 24]) -> String {
        seal_octets(self.algorithm.form(), &self.secret, key, user.as_str(), nonce)
    }

    /// Opens what [`TotpKey::seal`] made for this user.
    ///
    /// # Errors
    /// [`CredentialError`] when the text was changed, or made for another user or with another key.
    pub fn open(text: &str, key: &SealingKey, user: &UserName) -> Result<Self, CredentialError> {
        let (form, secret) = open_octets(text, key, user.as_str())?;
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.form() == form);
        let algorithm = algorithm.ok_or_else(|| CredentialError::UnknownForm(form.to_owned()))?;
        Ok(Self::new(algorithm, secret.to_vec()))
    }

    /// The address an authenticator reads out of the QR code (Google's key URI format), and people out of a terminal.
    pub fn uri(&self, issuer: &str, user: &UserName) -> String {
        // Neither may have a colon: it is what separates them.
        let clean = |text: &str| text.replace(':', "-");
        let account = Some(clean(user.as_str())).filter(|name| !name.is_empty()).unwrap_or_else(|| "user".to_owned());
        let builder = self.builder(DIGITS).with_account_name(account).with_issuer(Some(clean(issuer)));
        builder.build_noncompliant().to_url().expect("a name that is not empty, and without a colon, is a label")
    }

    /// The code of a step, for those who play the person.
    pub fn code(&self, step: u64) -> String {
        self.code_of(step, DIGITS)
    }

    /// The step within so many of now whose code this is; of several, the latest. Takes the same time whichever it is.
    pub fn matching(&self, code: &TotpCode, now: Timestamp, window: u8) -> Option<Matched> {
        let current = step_at(now);
        let (mut found, mut step) = (Choice::from(0), 0);
        for candidate in current.saturating_sub(window.into())..=current.saturating_add(window.into()) {
            let equal = self.code(candidate).as_bytes().ct_eq(code.0.as_bytes());
            step.conditional_assign(&candidate, equal);
            found |= equal;
        }
        bool::from(found).then_some(Matched { step })
    }

    fn code_of(&self, step: u64, digits: u8) -> String {
        self.totp(digits).generate(step.saturating_mul(PERIOD)).to_string()
    }

    fn totp(&self, digits: u8) -> Totp {
        self.builder(digits).build_noncompliant()
    }

    fn builder(&self, digits: u8) -> totp_rs::Builder {
        let builder = totp_rs::Builder::new().with_algorithm(self.algorithm.theirs()).with_digits(digits);
        builder.with_skew(0).with_step_duration(PERIOD).with_secret(self.secret.clone())
    }
}

impl fmt::Debug for TotpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TotpKey({})", self.algorithm)
    }
}

/// T of RFC 6238 §4.2.
pub fn step_at(now: Timestamp) -> u64 {
    u64::try_from(now.as_secs()).unwrap_or(0) / PERIOD
}

/// A code of TOTP that is right for a step. Whether it was used before is not known yet.
#[derive(Debug)]
pub struct Matched {
    step: u64,
}

impl Matched {
    /// Which step: the store keeps the last one accepted.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The proof, when the store has just set this step over an older one (RFC 6238 §5.2: a code works once).
    pub fn unless_used(self, was_set: bool, user: &UserName) -> Option<Accepted> {
        was_set.then(|| Accepted { user: user.clone(), means: Means::Totp })
    }
}

/// What somebody gave as a code, read by its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// Of an authenticator.
    Totp(TotpCode),
    /// Of the list on paper.
    Recovery(SpareCode),
    /// Of the operator.
    Emergency(SpareCode),
}

/// Six digits. Prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotpCode(String);

/// Letters and digits of a recovery or emergency code, in capitals and without hyphens. Prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SpareCode(String);

impl Code {
    /// Reads what somebody typed: case, blanks and hyphens do not matter, nor whether O is a zero. `None` when it looks like no
    /// code.
    pub fn read(text: &str) -> Option<Self> {
        // A password that was mistaken for a code may be long.
        if text.len() > 32 {
            return None;
        }
        let plain = || text.chars().filter(|c| !matches!(c, ' ' | '-'));
        if plain().count() == usize::from(DIGITS) && plain().all(|c| c.is_ascii_digit()) {
            return Some(Self::Totp(TotpCode(plain().collect())));
        }
        let spare = SpareCode(plain().map(letter).collect::<Option<String>>()?);
        match spare.0.len() {
            RECOVERY_LETTERS => Some(Self::Recovery(spare)),
            EMERGENCY_LETTERS => Some(Self::Emergency(spare)),
            _ => None,
        }
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(…)")
    }
}

impl fmt::Debug for SpareCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpareCode(…)")
    }
}

impl SpareCode {
    /// A recovery code of fifty random bits.
    pub fn recovery(random: [u8; 8]) -> Self {
        Self::of(random, RECOVERY_LETTERS)
    }

    /// An emergency code of sixty random bits.
    pub fn emergency(random: [u8; 8]) -> Self {
        Self::of(random, EMERGENCY_LETTERS)
    }

    /// As it is printed, once.
    pub fn to_text(&self) -> String {
        let group = if self.0.len() == RECOVERY_LETTERS { 5 } else { 4 };
        let groups: Vec<&str> = (0..self.0.len()).step_by(group).map(|at| &self.0[at..at + group]).collect();
        groups.join("-").to_lowercase()
    }

    /// What is kept of a recovery code. Codes have too many bits to be searched for without the key, so that no slow hash is
    /// wanted.
    pub fn recovery_hash(&self, key: &SealingKey, user: &UserName) -> String {
        hex::encode(keyed_hash(key, "radhold recovery code v1", &[user.as_str(), &self.0]))
    }

    /// What is kept of an emergency code.
    pub fn emergency_hash(&self, key: &SealingKey) -> String {
        hex::encode(keyed_hash(key, "radhold emergency code v1", &[&self.0]))
    }

    /// The proof, when the store has just struck this recovery code off the user's list.
    pub fn struck_off(self, was: bool, user: &UserName) -> Option<Accepted> {
        was.then(|| Accepted { user: user.clone(), means: Means::Recovery })
    }

    /// The proof, when the store has just counted one use more of the emergency code of that name.
    pub fn used(self, name: Option<String>, user: &UserName) -> Option<Accepted> {
        name.map(|name| Accepted { user: user.clone(), means: Means::Emergency(name) })
    }

    fn of(random: [u8; 8], letters: usize) -> Self {
        let random = u64::from_be_bytes(random);
        let letter = |at: usize| char::from(ALPHABET[(random >> (5 * at) & 31) as usize]);
        Self((0..letters).map(letter).collect())
    }
}

fn letter(typed: char) -> Option<char> {
    let capital = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().any(|known| char::from(*known) == capital).then_some(capital)
}

/// Proof that a user gave a code that is right and was not used before. Only this module makes one, it cannot be copied, and an
/// approval takes one.
#[derive(Debug)]
pub struct Accepted {
    user: UserName,
    means: Means,
}

/// What the code was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// Of an authenticator.
    Totp,
    /// A recovery code.
    Recovery,
    /// The emergency code of that name.
    Emergency(String),
}

impl Accepted {
    /// Whose code it was.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// What it was.
    pub fn means(&self) -> &Means {
        &self.means
    }

    /// The channel, for the record of decisions.
    pub fn approver(&self) -> ApproverKind {
        match self.means {
            Means::Totp | Means::Recovery => ApproverKind::Totp,
            Means::Emergency(_) => ApproverKind::Emergency,
        }
    }

    /// Who decided, for the same.
    pub fn who(&self) -> String {
        match &self.means {
            Means::Totp => self.user.to_string(),
            Means::Recovery => format!("{}, by recovery code", self.user),
            Means::Emergency(name) => format!("{}, by emergency code {name}", self.user),
        }
    }
}

/// A PAP password with a code behind it: what is before the last comma, and the code. `None` when nothing there looks like a
/// code; the password may have commas of its own.
pub fn split(password: &[u8]) -> Option<(&[u8], Code)> {
    let comma = password.iter().rposition(|octet| *octet == b',')?;
    let code = Code::read(std::str::from_utf8(&password[comma + 1..]).ok()?)?;
    (comma > 0).then_some((&password[..comma], code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn key() -> TotpKey {
        TotpKey::new(Algorithm::Sha1, *b"12345678901234567890")
    }

    fn typed(text: &str) -> TotpCode {
        match Code::read(text) {
            Some(Code::Totp(code)) => code,
            other => panic!("{other:?}"),
        }
    }

    /// The table has eight digits; each seed is the ASCII string repeated up to the hash's length (erratum 2866).
    #[test]
    fn rfc6238_appendix_b() {
        let seed = |octets: usize| b"1234567890".iter().copied().cycle().take(octets).collect::<Vec<u8>>();
        for (time, sha1, sha256, sha512) in [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ] {
            let step = step_at(Timestamp::from_secs(time));
            for (algorithm, octets, code) in
                [(Algorithm::Sha1, 20, sha1), (Algorithm::Sha256, 32, sha256), (Algorithm::Sha512, 64, sha512)]
            {
                let key = TotpKey::new(algorithm, seed(octets));
                assert_eq!(key.code_of(step, 8), code, "{algorithm} at {time}");
                assert_eq!(key.code(step), code[2..], "six digits are the last of eight");
            }
        }
    }

    #[test]
    fn rfc4226_appendix_d() {
        let codes =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (count, code) in (0..).zip(codes) {
            assert_eq!(key().code(count), code);
        }
    }

    #[test]
    fn rfc6238_section_5_2_a_window_of_steps_is_accepted_and_the_step_is_told() {
        let step = step_at(NOW);
        for window in 0..3_u64 {
            for away in 0..5_u64 {
                for other in [step - away, step + away] {
                    let matched = key().matching(&typed(&key().code(other)), NOW, u8::try_from(window).unwrap());
                    assert_eq!(matched.map(|matched| matched.step()), (away <= window).then_some(other));
                }
            }
        }
    }

    #[test]
    fn a_used_code_is_no_proof() {
        let matched = || key().matching(&typed(&key().code(step_at(NOW))), NOW, 1).unwrap();
        let user = UserName::from("alice");
        assert!(matched().unless_used(false, &user).is_none());
        let accepted = matched().unless_used(true, &user).unwrap();
        assert_eq!(
            (accepted.user(), accepted.approver(), accepted.who().as_str()),
            (&user, ApproverKind::Totp, "alice")
        );
    }

    #[test]
    fn a_secret_opens_for_its_user_and_key_alone() {
        let (sealing, alice, bob) = (SealingKey::from_bytes([7; 32]), UserName::from("alice"), UserName::from("bob"));
        for algorithm in Algorithm::ALL {
            let key = TotpKey::new(algorithm, [5; SECRET]);
            let text = key.seal(&sealing, &alice, &[9; 24]);
            assert!(text.starts_with(&format!("$radhold$v1$totp-{algorithm}$")), "{text}");
            let opened = TotpKey::open(&text, &sealing, &alice).unwrap();
            assert_eq!(opened.code(77), key.code(77));
            assert!(matches!(TotpKey::open(&text, &sealing, &bob), Err(CredentialError::DoesNotOpen)));
            let other = SealingKey::from_bytes([8; 32]);
            assert!(matches!(TotpKey::open(&text, &other, &alice), Err(CredentialError::WrongKey { .. })));
            let relabelled = text.replace(algorithm.form(), "clear");
            assert!(TotpKey::open(&relabelled, &sealing, &alice).is_err());
            assert_eq!(format!("{key:?}"), format!("TotpKey({algorithm})"), "a secret prints nothing");
        }
    }

    #[test]
    fn the_uri_is_what_authenticators_read() {
        let uri = key().uri("Example VPN", &"DOM:alice".into());
        assert_eq!(
            uri,
            "otpauth://totp/Example%20VPN:DOM-alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example%20VPN"
        );
        let uri = TotpKey::new(Algorithm::Sha256, [0; SECRET]).uri("x", &"".into());
        assert!(uri.contains("algorithm=SHA256") && uri.contains("x:user"), "{uri}");
    }

    #[test]
    fn codes_are_told_apart_by_their_shape_however_they_are_typed() {
        assert!(matches!(Code::read("123 456"), Some(Code::Totp(_))));
        for spare in [SpareCode::recovery([0xa5; 8]), SpareCode::emergency([0x5a; 8])] {
            let text = spare.to_text();
            for typed in [text.clone(), text.to_uppercase(), text.replace('-', ""), text.replace('0', "o")] {
                match Code::read(&typed) {
                    Some(Code::Recovery(read) | Code::Emergency(read)) => assert_eq!(read, spare, "{typed}"),
                    other => panic!("{typed}: {other:?}"),
                }
            }
        }
        for none in ["", "12345", "1234567", "12345a", "１２３４５６", "abcde-fghuj", &"1".repeat(1000)] {
            assert_eq!(Code::read(none), None, "{none:?}");
        }
    }

    #[test]
    fn hashes_of_spare_codes_belong_to_user_and_key() {
        let (key, other) = (SealingKey::from_bytes([1; 32]), SealingKey::from_bytes([2; 32]));
        let code = SpareCode::recovery([3; 8]);
        let hash = code.recovery_hash(&key, &"alice".into());
        assert_ne!(hash, code.recovery_hash(&key, &"bob".into()));
        assert_ne!(hash, code.recovery_hash(&other, &"alice".into()));
        assert_ne!(code.emergency_hash(&key), code.emergency_hash(&other));
    }

    #[test]
    fn a_password_is_split_at_the_last_comma_before_a_code() {
        let halves = |password: &'static str| split(password.as_bytes()).map(|(password, _)| password);
        assert_eq!(halves("s3cret,123456"), Some(&b"s3cret"[..]));
        assert_eq!(halves("a,b,123456"), Some(&b"a,b"[..]));
        assert_eq!(halves("s3cret,abcde-fgh10"), Some(&b"s3cret"[..]));
        for whole in ["s3cret", "s3cret,", "a,b", ",123456", "s3cret,12345", "s3cret,1234567"] {
            assert_eq!(halves(whole), None, "{whole}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_a_code_of_the_window_matches(code in "[0-9]{6}", secs in 0_i64..4_000_000_000, window in 0_u8..3) {
            let now = Timestamp::from_secs(secs);
            let steps = step_at(now).saturating_sub(window.into())..=step_at(now) + u64::from(window);
            let expected = steps.rev().find(|step| key().code(*step) == code);
            prop_assert_eq!(key().matching(&typed(&code), now, window).map(|matched| matched.step()), expected);
        }
    }
}
