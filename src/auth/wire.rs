//! Credentials in and out of packets: which attributes offer a password, and which answer it.
//!
//! The rest of `auth` knows no packets; this file knows no users.

use zeroize::Zeroizing;

use super::{Method, MethodError, MppeKeys, MsChapErrorCode, Proof, ms_chap_error, ms_chap_v1_error};
use crate::radius::hiding::{self, Salt};
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{EncodeError, Packet, PacketBuilder, Short, attribute};

/// What an Access-Request offers.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a login takes nothing of the heap, and there is one at a time")]
pub enum Offer<'a> {
    /// A password, by one of the methods we check.
    Password(PasswordOffer<'a>),
    /// EAP: the reassembled EAP-Message (RFC 3579 §3.1).
    Eap(Vec<u8>),
    /// Nothing we know.
    Nothing,
}

/// A password offered by one method; owns what had to be revealed.
#[derive(Debug)]
pub struct PasswordOffer<'a> {
    packet: Packet<'a>,
    revealed: Option<Short>,
}

impl<'a> Offer<'a> {
    /// Reads the offer of an Access-Request. `secret` reveals a User-Password.
    ///
    /// EAP comes first: a NAS that proxies EAP may leave other attributes in.
    pub fn read(packet: &Packet<'a>, secret: &[u8]) -> Self {
        if let Some(eap) = packet.concat(attribute::EAP_MESSAGE) {
            return Self::Eap(eap);
        }
        let revealed = packet
            .first(attribute::USER_PASSWORD)
            .and_then(|hidden| hiding::reveal_user_password(hidden, secret, packet.authenticator()).ok());
        let chap = packet.has(attribute::CHAP_PASSWORD)
            || packet.vendor_first(MICROSOFT, microsoft::MS_CHAP_CHALLENGE).is_some();
        if revealed.is_some() || chap {
            Self::Password(PasswordOffer { packet: *packet, revealed })
        } else {
            Self::Nothing
        }
    }
}

impl PasswordOffer<'_> {
    /// The method, ready to be checked.
    ///
    /// # Errors
    /// [`MethodError`] when an attribute has the wrong length or its partner is missing.
    pub fn method(&self) -> Result<Method<'_>, MethodError> {
        let microsoft = |kind| self.packet.vendor_first(MICROSOFT, kind);
        if let Some(challenge) = microsoft(microsoft::MS_CHAP_CHALLENGE) {
            return match microsoft(microsoft::MS_CHAP2_RESPONSE) {
                Some(response) => Method::ms_chap_v2(challenge, response),
                None => Method::ms_chap_v1(challenge, microsoft(microsoft::MS_CHAP_RESPONSE).unwrap_or_default()),
            };
        }
        if let Some(response) = self.packet.first(attribute::CHAP_PASSWORD) {
            // RFC 2865 §2.2: without CHAP-Challenge the Request Authenticator is the challenge.
            let challenge = self.packet.first(attribute::CHAP_CHALLENGE);
            return Method::chap(response, challenge.unwrap_or(self.packet.authenticator()));
        }
        Ok(Method::Pap { password: self.revealed.as_deref().unwrap_or_default() })
    }
}

/// Adds what a proven password earns: MS-CHAP2-Success and MPPE keys. The salts must differ.
///
/// # Errors
/// [`EncodeError`] when the reply is full.
pub fn write_proof(
    reply: &mut PacketBuilder,
    proof: &Proof,
    request: &Packet<'_>,
    secret: &[u8],
    salts: [Salt; 2],
) -> Result<(), EncodeError> {
    if let Some(success) = proof.ms_chap2_success() {
        reply.vendor(MICROSOFT, microsoft::MS_CHAP2_SUCCESS, success)?;
    }
    let Some(keys) = proof.mppe_keys() else { return Ok(()) };
    let authenticator = request.authenticator();
    match keys {
        MppeKeys::V2 { send_key, recv_key } => {
            let [send_salt, recv_salt] = salts;
            let hide = |key: &[u8; 16], salt| hiding::hide_mppe_key(key, secret, authenticator, salt);
            for (kind, hidden) in [
                (microsoft::MS_MPPE_SEND_KEY, hide(send_key, send_salt)),
                (microsoft::MS_MPPE_RECV_KEY, hide(recv_key, recv_salt)),
            ] {
                reply.vendor(MICROSOFT, kind, &hidden.expect("a key of 16 octets is short enough to hide"))?;
            }
        }
        MppeKeys::V1 { keys } => {
            // RFC 2548 §2.4.1: hidden like a User-Password, padded to 32 octets.
            let mut padded = Zeroizing::new([0; 32]);
            padded[..keys.len()].copy_from_slice(&keys[..]);
            let hidden = hiding::hide_user_password(&padded[..], secret, authenticator);
            reply.vendor(
                MICROSOFT,
                microsoft::MS_CHAP_MPPE_KEYS,
                &hidden.expect("32 octets are short enough to hide"),
            )?;
        }
    }
    // Encryption allowed, any strength (RFC 2548 §2.4.4, §2.4.5). pppd takes no keys at all while the policy is zero.
    reply.vendor(MICROSOFT, microsoft::MS_MPPE_ENCRYPTION_POLICY, &1u32.to_be_bytes())?;
    reply.vendor(MICROSOFT, microsoft::MS_MPPE_ENCRYPTION_TYPES, &6u32.to_be_bytes())?;
    Ok(())
}

/// Adds what a refusal needs beside Reply-Message: MS-CHAP-Error for the MS-CHAPs (RFC 2548 §2.1.5).
///
/// # Errors
/// [`EncodeError`] when the reply is full.
pub fn write_refusal(
    reply: &mut PacketBuilder,
    method: &Method<'_>,
    code: MsChapErrorCode,
    challenge: &[u8; 16],
    message: &str,
) -> Result<(), EncodeError> {
    let error = match method {
        Method::MsChapV2 { response, .. } => ms_chap_error(response.ident, code, false, challenge, message),
        Method::MsChapV1 { response, .. } => ms_chap_v1_error(response.ident, code),
        Method::Pap { .. } | Method::Chap { .. } => return Ok(()),
    };
    reply.vendor(MICROSOFT, microsoft::MS_CHAP_ERROR, &error)?;
    Ok(())
}
