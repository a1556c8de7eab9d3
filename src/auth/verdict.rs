//! The outcome of a check. Knows no reply packet: it holds the values, the shell puts them into attributes.

use std::fmt;

use super::{CredentialForm, MethodKind, MppeKeys};

/// What [`verify`](super::verify) found.
#[derive(Debug)]
pub enum Verdict {
    /// The peer knows the password.
    Accepted(Proof),
    /// It does not, or it could not be found out. The reason is for the operator; the client learns only "refused".
    Refused(Why),
}

impl From<Result<Proof, Why>> for Verdict {
    fn from(checked: Result<Proof, Why>) -> Self {
        match checked {
            Ok(proof) => Self::Accepted(proof),
            Err(why) => Self::Refused(why),
        }
    }
}

/// Evidence that a peer proved knowledge of a password. Only a check can make one ([`verify`](super::verify) and its like), and it cannot be
/// copied, so what demands a `Proof` cannot be reached by a skipped check.
#[derive(Debug)]
pub struct Proof {
    method: MethodKind,
    ms_chap2_success: Option<[u8; 43]>,
    mppe: Option<MppeKeys>,
}

impl Proof {
    pub(super) fn plain(method: MethodKind) -> Self {
        Self { method, ms_chap2_success: None, mppe: None }
    }

    pub(super) fn ms_chap_v1(keys: MppeKeys) -> Self {
        Self { method: MethodKind::MsChapV1, ms_chap2_success: None, mppe: Some(keys) }
    }

    pub(super) fn ms_chap_v2(ident: u8, response: &[u8; 42], keys: MppeKeys) -> Self {
        let mut success = [0; 43];
        success[0] = ident;
        success[1..].copy_from_slice(response);
        Self { method: MethodKind::MsChapV2, ms_chap2_success: Some(success), mppe: Some(keys) }
    }

    /// How the peer proved it.
    pub fn method(&self) -> MethodKind {
        self.method
    }

    /// The value of MS-CHAP2-Success (RFC 2548 §2.3.3): Ident, then the 42 octets of the authenticator response. The
    /// peer must get it (RFC 2759 §5), and pppd wants these 43 octets and not one more. MS-CHAPv2 only.
    pub fn ms_chap2_success(&self) -> Option<&[u8; 43]> {
        self.ms_chap2_success.as_ref()
    }

    /// Keys for the NAS's side of MPPE; either MS-CHAP version has them.
    pub fn mppe_keys(&self) -> Option<&MppeKeys> {
        self.mppe.as_ref()
    }
}

/// Why a peer was refused: for logs and counters, never for the client, who could learn from it which users exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The password, or the response made from it, is not the stored one.
    WrongPassword,
    /// Nobody has that name; [`Decoy::refuse`](super::Decoy::refuse) says so.
    UnknownUser,
    /// The stored form cannot answer this method: CHAP needs the password in clear, MS-CHAP at least the NT hash.
    CredentialCannot {
        /// The method asked for.
        method: MethodKind,
        /// The form stored.
        credential: CredentialForm,
    },
    /// An NT hash was to be made of octets that are not UTF-8.
    NotUtf8,
    /// An MS-CHAPv1 peer offered the LAN Manager response alone.
    LmResponse,
    /// argon2id did not run, practically always for want of memory. Our fault, not the peer's.
    HashDidNotRun,
}

impl Why {
    /// A short fixed word for counters and log fields.
    pub fn label(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong-password",
            Self::UnknownUser => "unknown-user",
            Self::CredentialCannot { .. } => "credential-cannot",
            Self::NotUtf8 => "password-not-utf8",
            Self::LmResponse => "lm-response",
            Self::HashDidNotRun => "hash-did-not-run",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPassword => f.write_str("wrong password"),
            Self::UnknownUser => f.write_str("unknown user"),
            Self::CredentialCannot { method, credential } => {
                write!(f, "{method} cannot be checked against a credential stored as {credential}")
            }
            Self::NotUtf8 => f.write_str("the password is not UTF-8, so it has no NT hash"),
            Self::LmResponse => f.write_str("only a LAN Manager response was offered"),
            Self::HashDidNotRun => f.write_str("argon2id did not run (out of memory?)"),
        }
    }
}
