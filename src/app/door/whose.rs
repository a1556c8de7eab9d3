//! Whose a packet is: of the NASes at its address, the one by whose secret it was made. Says why it believes none; what becomes of
//! the packet then is for others.

use std::sync::Arc;

use super::Port;
use crate::app::settings::Known;
use crate::model::{Nas, Timestamp};
use crate::radius::{AuthenticatorError, Code, MessageAuthenticatorError, Packet, PreparedSecret, attribute};

/// What makes a packet its NAS's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its source address, which anybody may write.
    None,
    /// It was made with the secret.
    Secret,
}

/// Why a packet is not believed. Costs nothing until somebody reads it: strangers may send many.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("{0}; is the secret the same on both sides?")]
    MessageAuthenticator(MessageAuthenticatorError),
    #[error("{0}; is the secret the same on both sides?")]
    RequestAuthenticator(AuthenticatorError),
    #[error(
        "Access-Request without Message-Authenticator (CVE-2024-3596); a NAS that cannot send it needs \
         require_message_authenticator = false"
    )]
    UnsignedLogin,
    #[error("Status-Server without Message-Authenticator")]
    UnsignedStatus,
    #[error("several NASes have this address, so each must send a Message-Authenticator")]
    UnsignedAmongSeveral,
    #[error("{code} does not belong on the {port:?} port")]
    OutOfPlace { code: Code, port: Port },
    #[error("NAS-Identifier is {0:?}, and no NAS at this address goes by that")]
    UnknownNasIdentifier(String),
}

impl Distrust {
    /// The label it is counted by.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::MessageAuthenticator(error) => error.reason(),
            Self::RequestAuthenticator(error) => error.reason(),
            Self::UnsignedLogin | Self::UnsignedStatus | Self::UnsignedAmongSeveral => {
                "packet.message-authenticator-absent"
            }
            Self::OutOfPlace { .. } => "packet.code-out-of-place",
            Self::UnknownNasIdentifier(_) => "packet.unknown-nas-identifier",
        }
    }
}

/// Of the NASes at an address, the one whose packet this is, by the secret it was made with. At most two are asked, with two
/// secrets each: the one that goes by the packet's NAS-Identifier, and the one that goes by none. And what makes it that NAS's.
pub(super) fn whose<'a>(
    port: Port,
    packet: &Packet<'_>,
    there: &'a [Arc<Known>],
    now: Timestamp,
) -> Result<(&'a Arc<Nas>, &'a PreparedSecret, Proof), Distrust> {
    let identifier = packet.first(attribute::NAS_IDENTIFIER);
    let meant =
        |known: &&Arc<Known>| known.nas.nas_identifier.as_ref().is_none_or(|name| identifier == Some(name.as_bytes()));
    let mut wrong = None;
    for known in there.iter().filter(meant) {
        for (nas, secret, previous) in known.by_secret(now) {
            match prove(port, packet, nas, secret) {
                // Anybody can write a NAS-Identifier.
                Ok(Proof::None) if there.len() > 1 => return Err(Distrust::UnsignedAmongSeveral),
                Ok(Proof::None) => return Ok((nas, secret, Proof::None)),
                Ok(Proof::Secret) => {
                    known.proved_by(previous);
                    return Ok((nas, secret, Proof::Secret));
                }
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
    }
    Err(wrong.unwrap_or_else(|| {
        let identifier = identifier.map_or("none".into(), String::from_utf8_lossy);
        Distrust::UnknownNasIdentifier(identifier.into_owned())
    }))
}

/// Whether the packet belongs on this port and is the NAS's own.
pub(super) fn prove(port: Port, packet: &Packet<'_>, nas: &Nas, secret: &PreparedSecret) -> Result<Proof, Distrust> {
    let message_authenticator = || match packet.verify_message_authenticator_by(secret) {
        Ok(_) => Ok(true),
        Err(MessageAuthenticatorError::Absent) => Ok(false),
        Err(error) => Err(Distrust::MessageAuthenticator(error)),
    };
    match (port, packet.code()) {
        (Port::Access | Port::Tls, Code::AccessRequest) => {
            let present = message_authenticator()?;
            // RFC 3579 §3.2: EAP must come with it.
            let eap = packet.has(attribute::EAP_MESSAGE);
            let proxied = nas.limit_proxy_state && packet.has(attribute::PROXY_STATE);
            if !present && (nas.require_message_authenticator || eap || proxied) {
                return Err(Distrust::UnsignedLogin);
            }
            Ok(if present { Proof::Secret } else { Proof::None })
        }
        (Port::Accounting | Port::Tls, Code::AccountingRequest) => {
            message_authenticator()?;
            packet
                .verify_request_authenticator(secret.expose())
                .map(|_| Proof::Secret)
                .map_err(Distrust::RequestAuthenticator)
        }
        // RFC 5997 §3: Status-Server must carry Message-Authenticator.
        (_, Code::StatusServer) if message_authenticator()? => Ok(Proof::Secret),
        (_, Code::StatusServer) => Err(Distrust::UnsignedStatus),
        (port, code) => Err(Distrust::OutOfPlace { code, port }),
    }
}
