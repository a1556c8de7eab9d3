//! Password checks: a stored [`Credential`] and what a peer offered ([`Method`]) in, a [`Verdict`] out.
//!
//! PAP, CHAP, MS-CHAPv1 and MS-CHAPv2, with what an Access-Accept must then carry (MS-CHAP2-Success and MPPE keys)
//! or an Access-Reject may say (MS-CHAP-Error). The credentials' stored forms live in [`sealed`].
//!
//! Knows no user lookup, no socket, no clock and no randomness: attribute values arrive as slices that are already
//! unhidden; salts, nonces and challenges are arguments. Only [`wire`] knows packets. Nothing here decides whether a method is *allowed*
//! (MS-CHAPv1 per NAS, for one): that is policy.
//!
//! The order of work for a caller: build a [`Method`] from the attributes; ask [`needs_slow_hash`] whether the check
//! must leave the network threads; [`verify`]; for a user that does not exist, [`Decoy::refuse`] instead, so that the
//! refusal costs the same. An Access-Accept needs the [`Proof`], which only [`verify`] and [`verify_ms_chap_v2`] can mint, or [`RememberKey::recognise`] for what it has proven before.

mod argon;
pub mod challenge;
mod chap;
mod credential;
mod decoy;
mod method;
mod mppe;
mod mschap;
pub mod peer;
mod remembered;
pub mod sealed;
pub mod totp;
mod verdict;
pub mod wire;

#[cfg(test)]
mod tests;

pub use argon::{Argon2idHash, PasswordCost, hash_password};
pub use credential::{ClearPassword, Credential, CredentialError, CredentialForm, NtHash};
pub use decoy::Decoy;
pub use method::{Method, MethodError, MethodKind, MsChap2Response, MsChapResponse};
pub use mppe::MppeKeys;
pub use mschap::{MsChapErrorCode, PreparedNtHash, ms_chap_error, ms_chap_v1_error};
pub use remembered::{RememberKey, Remembered};
pub use sealed::{SealingKey, StoredCredential};
pub use verdict::{Proof, Verdict, Why};

use subtle::ConstantTimeEq;

/// Checks what a peer offered against the stored credential of the user it claims to be.
///
/// `user_name` is the User-Name attribute, whole: MS-CHAPv2 hashes it without its `DOM\` prefix, the other methods do
/// not look at it. Runs argon2id in this very call when [`needs_slow_hash`] says so.
///
/// ```
/// use radhold::auth::{ClearPassword, Credential, Method, Verdict, verify};
///
/// let stored = Credential::Password(ClearPassword::new("arctangent")?);
/// assert!(matches!(verify(&stored, b"nemo", &Method::Pap { password: b"arctangent" }), Verdict::Accepted(_)));
/// assert!(matches!(verify(&stored, b"nemo", &Method::Pap { password: b"Arctangent" }), Verdict::Refused(_)));
/// # Ok::<(), radhold::auth::CredentialError>(())
/// ```
pub fn verify(credential: &Credential, user_name: &[u8], method: &Method<'_>) -> Verdict {
    check(credential, user_name, method).into()
}

/// The same where the peer offered MS-CHAPv2 ([`Method::MsChapV2`]), and what is made of the stored hash at each login has been made already.
pub fn verify_ms_chap_v2(
    prepared: &PreparedNtHash,
    user_name: &[u8],
    challenge: &[u8; 16],
    response: &MsChap2Response,
) -> Verdict {
    ms_chap_v2(prepared, user_name, challenge, response).into()
}

/// Whether [`verify`] with these two would run argon2id: tens of milliseconds and tens of MiB, to be spent on a
/// bounded pool away from the network threads. Every other combination takes microseconds.
pub fn needs_slow_hash(credential: &Credential, method: &Method<'_>) -> bool {
    matches!((credential, method), (Credential::Argon2id(_), Method::Pap { .. }))
}

fn check(credential: &Credential, user_name: &[u8], method: &Method<'_>) -> Result<Proof, Why> {
    let cannot = Why::CredentialCannot { method: method.kind(), credential: credential.form() };
    match method {
        Method::Pap { password } => {
            pap(credential, password)?;
            Ok(Proof::plain(MethodKind::Pap))
        }
        Method::Chap { id, challenge, response } => {
            // RFC 1994 §2.1: the secret must be available in clear.
            let Credential::Password(secret) = credential else { return Err(cannot) };
            matched(chap::response(*id, secret.expose(), challenge).ct_eq(response))?;
            Ok(Proof::plain(MethodKind::Chap))
        }
        Method::MsChapV1 { challenge, response } => {
            let nt = nt_hash(credential, cannot)?;
            // RFC 2548 §2.1.3: with Flags zero only the LM-Response counts. It is worth nothing as a proof (a
            // seven-letter DES search), so it is never tried, not even as the permitted second attempt.
            if response.flags != 1 {
                return Err(Why::LmResponse);
            }
            matched(PreparedNtHash::new(&nt).challenge_response(challenge).ct_eq(&response.nt_response))?;
            Ok(Proof::ms_chap_v1(MppeKeys::for_v1(credential, &nt)))
        }
        Method::MsChapV2 { challenge, response } => {
            ms_chap_v2(&PreparedNtHash::new(&nt_hash(credential, cannot)?), user_name, challenge, response)
        }
    }
}

fn ms_chap_v2(
    nt: &PreparedNtHash,
    user_name: &[u8],
    challenge: &[u8; 16],
    response: &MsChap2Response,
) -> Result<Proof, Why> {
    let hashed = mschap::challenge_hash(&response.peer_challenge, challenge, user_name);
    matched(nt.challenge_response(&hashed).ct_eq(&response.nt_response))?;
    let success = mschap::authenticator_response(nt, &response.nt_response, &hashed);
    Ok(Proof::ms_chap_v2(response.ident, &success, MppeKeys::for_v2(nt, &response.nt_response)))
}

fn pap(credential: &Credential, password: &[u8]) -> Result<(), Why> {
    match credential {
        Credential::Argon2id(hash) => hash.verify(password),
        Credential::NtHash(stored) => {
            let offered = NtHash::of_password(password).ok_or(Why::NotUtf8)?;
            matched(stored.expose().ct_eq(offered.expose()))
        }
        Credential::Password(stored) => matched(stored.ct_eq(password)),
    }
}

/// The NT hash both MS-CHAP versions start from, or the refusal when this credential cannot give one.
fn nt_hash(credential: &Credential, cannot: Why) -> Result<NtHash, Why> {
    let no = if credential.form() == CredentialForm::Password { Why::NotUtf8 } else { cannot };
    credential.nt_hash().ok_or(no)
}

fn matched(equal: subtle::Choice) -> Result<(), Why> {
    if bool::from(equal) { Ok(()) } else { Err(Why::WrongPassword) }
}
