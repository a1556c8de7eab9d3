//! Authenticators: who a packet is from, as far as the shared secret can tell.
//!
//! A check that holds returns a token only this file and `together` can mint; the next step asks for the token, so a skipped check
//! does not compile. Comparisons are constant in time. Knows no NAS and no policy: whether an absent
//! Message-Authenticator is acceptable is for others to say.

mod side_by_side;
mod together;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

pub use self::together::{CheckedRequest, Checking, RequestChecking, Signing, TOGETHER};
use super::attribute::{Attribute, MESSAGE_AUTHENTICATOR};
use super::code::RequestKind;
use super::error::{AuthenticatorError, MessageAuthenticatorError};
use super::packet::{MIN_PACKET, Packet};

/// Octets of an authenticator.
pub const LENGTH: usize = 16;

const ZERO: [u8; LENGTH] = [0; LENGTH];

/// Proof: this request had one Message-Authenticator, made with the secret (RFC 3579 §3.2).
#[derive(Debug)]
#[must_use = "a proof is for the step that asks for it"]
pub struct MessageAuthenticatorVerified(());

/// Proof: this Accounting-, CoA- or Disconnect-Request's authenticator was made with the secret (RFC 2866 §3,
/// RFC 5176 §2.3).
#[derive(Debug)]
#[must_use = "a proof is for the step that asks for it"]
pub struct RequestAuthenticatorVerified(());

/// Proof: this reply answers that request and was made with the secret (RFC 2865 §3).
#[derive(Debug)]
#[must_use = "a proof is for the step that asks for it"]
pub struct ReplyVerified {
    message_authenticator: bool,
}

impl ReplyVerified {
    /// Whether the reply also had a (valid) Message-Authenticator. Without one, a reply over UDP to an Access-Request
    /// may be forged by collision (CVE-2024-3596).
    pub fn message_authenticator(&self) -> bool {
        self.message_authenticator
    }
}

/// A shared secret, made ready for many Message-Authenticators: what of HMAC depends on the key alone is done once, which is a third
/// of it. Prints nothing.
#[derive(Clone)]
pub struct PreparedSecret {
    secret: Zeroizing<Vec<u8>>,
    mac: Hmac<Md5>,
    /// The same for several side by side: what becomes of the key in the inner hash and in the outer one (RFC 2104 §4).
    hmac: Zeroizing<[side_by_side::State; 2]>,
}

impl PreparedSecret {
    /// The secret as both sides have it.
    pub fn new(secret: &[u8]) -> Self {
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
        Self { secret: Zeroizing::new(secret.to_vec()), mac, hmac: Zeroizing::new(hmac_states(secret)) }
    }

    /// The secret.
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

/// What the inner and the outer hash of HMAC-MD5 begin with (RFC 2104 §2, §4).
fn hmac_states(key: &[u8]) -> [side_by_side::State; 2] {
    let mut block = [0; side_by_side::BLOCK];
    match block.get_mut(..key.len()) {
        Some(place) => place.copy_from_slice(key),
        None => {
            let mut digest = Md5::digest(key);
            block[..LENGTH].copy_from_slice(&digest);
            digest.zeroize();
        }
    }
    let states = [0x36, 0x5c].map(|pad| {
        let mut padded = block.map(|octet| octet ^ pad);
        let state = side_by_side::after_block(&padded);
        padded.zeroize();
        state
    });
    block.zeroize();
    states
}

impl fmt::Debug for PreparedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedSecret(…)")
    }
}

impl Packet<'_> {
    /// Whether the packet carries a Message-Authenticator, valid or not.
    pub fn has_message_authenticator(&self) -> bool {
        self.has(MESSAGE_AUTHENTICATOR)
    }

    /// Checks the Message-Authenticator of a request.
    ///
    /// It covers the Request Authenticator as sent for Access-Request and Status-Server (RFC 3579 §3.2, RFC 5997 §3),
    /// and sixteen zero octets in its place for Accounting-, CoA- and Disconnect-Request (RFC 5176 §3.4).
    ///
    /// # Errors
    /// See [`MessageAuthenticatorError`]; only `Absent` is a matter of policy.
    pub fn verify_message_authenticator(
        &self,
        secret: &[u8],
    ) -> Result<MessageAuthenticatorVerified, MessageAuthenticatorError> {
        self.verify_message_authenticator_by(&PreparedSecret::new(secret))
    }

    /// The same by a secret that serves more than once.
    ///
    /// # Errors
    /// As [`Packet::verify_message_authenticator`].
    pub fn verify_message_authenticator_by(
        &self,
        secret: &PreparedSecret,
    ) -> Result<MessageAuthenticatorVerified, MessageAuthenticatorError> {
        check_message_authenticator(self, secret, authenticator_covered(self)).map(MessageAuthenticatorVerified)
    }

    /// Checks the Request Authenticator of an Accounting-Request (RFC 2866 §3), CoA-Request or Disconnect-Request
    /// (RFC 5176 §2.3). A Message-Authenticator is not looked at.
    ///
    /// # Errors
    /// `RequestMismatch` when the secret differs or the packet changed; `NotChecked` for other codes.
    pub fn verify_request_authenticator(
        &self,
        secret: &[u8],
    ) -> Result<RequestAuthenticatorVerified, AuthenticatorError> {
        if self.code().request_kind() != Some(RequestKind::Checksum) {
            return Err(AuthenticatorError::NotChecked { code: self.code().as_u8() });
        }
        let wanted = checksum(self.as_bytes(), &ZERO, secret);
        if bool::from(wanted.ct_eq(self.authenticator())) {
            Ok(RequestAuthenticatorVerified(()))
        } else {
            Err(AuthenticatorError::RequestMismatch)
        }
    }

    /// Checks a reply against the authenticator of the request it answers: the Response Authenticator (RFC 2865 §3)
    /// and, when present, the Message-Authenticator (RFC 3579 §3.2). That the Identifier pairs them is for the caller.
    ///
    /// # Errors
    /// See [`AuthenticatorError`]; the reply is then to be silently discarded.
    pub fn verify_reply(
        &self,
        secret: &[u8],
        request_authenticator: &[u8; LENGTH],
    ) -> Result<ReplyVerified, AuthenticatorError> {
        self.verify_reply_by(&PreparedSecret::new(secret), request_authenticator)
    }

    /// The same by a secret that serves more than once.
    ///
    /// # Errors
    /// As [`Packet::verify_reply`].
    pub fn verify_reply_by(
        &self,
        secret: &PreparedSecret,
        request_authenticator: &[u8; LENGTH],
    ) -> Result<ReplyVerified, AuthenticatorError> {
        let wanted = checksum(self.as_bytes(), request_authenticator, secret.expose());
        if !bool::from(wanted.ct_eq(self.authenticator())) {
            return Err(AuthenticatorError::ResponseMismatch);
        }
        let message_authenticator = match check_message_authenticator(self, secret, request_authenticator) {
            Ok(()) => true,
            Err(MessageAuthenticatorError::Absent) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(ReplyVerified { message_authenticator })
    }
}

/// MD5 over the packet with `authenticator` in its Authenticator field, then the secret: the Response Authenticator
/// (RFC 2865 §3) and, with zeroes, the Request Authenticator (RFC 2866 §3).
pub(super) fn checksum(packet: &[u8], authenticator: &[u8; LENGTH], secret: &[u8]) -> [u8; LENGTH] {
    Md5::new()
        .chain_update(&packet[..4])
        .chain_update(authenticator)
        .chain_update(&packet[MIN_PACKET..])
        .chain_update(secret)
        .finalize()
        .into()
}

/// HMAC-MD5 over the packet with `authenticator` in its Authenticator field and zeroes for the sixteen octets at
/// `offset` (RFC 3579 §3.2).
pub(super) fn message_authenticator(
    packet: &[u8],
    authenticator: &[u8; LENGTH],
    offset: usize,
    secret: &PreparedSecret,
) -> [u8; LENGTH] {
    let mac = secret.mac.clone();
    // Of a login's request it stands there already: the fewer the pieces, the less there is to do beside MD5.
    let mac = match packet[4..MIN_PACKET] == authenticator[..] {
        true => mac.chain_update(&packet[..offset]),
        false => mac.chain_update(&packet[..4]).chain_update(authenticator).chain_update(&packet[MIN_PACKET..offset]),
    };
    mac.chain_update(ZERO).chain_update(&packet[offset + LENGTH..]).finalize().into_bytes().into()
}

/// The same of a packet in which both are so already.
pub(super) fn message_authenticator_in_place(packet: &[u8], secret: &PreparedSecret) -> [u8; LENGTH] {
    secret.mac.clone().chain_update(packet).finalize().into_bytes().into()
}

/// [`checksum`] of a packet that has the authenticator already.
pub(super) fn checksum_in_place(packet: &[u8], secret: &[u8]) -> [u8; LENGTH] {
    Md5::new().chain_update(packet).chain_update(secret).finalize().into()
}

/// What a request's Message-Authenticator covers in place of the Authenticator field.
fn authenticator_covered<'a>(request: &Packet<'a>) -> &'a [u8; LENGTH] {
    match request.code().request_kind() {
        Some(RequestKind::Checksum) => &ZERO,
        Some(RequestKind::Nonce) | None => request.authenticator(),
    }
}

fn check_message_authenticator(
    packet: &Packet<'_>,
    secret: &PreparedSecret,
    authenticator: &[u8; LENGTH],
) -> Result<(), MessageAuthenticatorError> {
    let (offset, value) = find_message_authenticator(packet)?;
    let wanted = message_authenticator(packet.as_bytes(), authenticator, offset, secret);
    if bool::from(wanted.ct_eq(value)) { Ok(()) } else { Err(MessageAuthenticatorError::Mismatch) }
}

/// Where the one Message-Authenticator's value starts in the packet, and its octets.
fn find_message_authenticator<'a>(packet: &Packet<'a>) -> Result<(usize, &'a [u8; LENGTH]), MessageAuthenticatorError> {
    let mut found = None;
    let mut attributes = packet.attributes();
    while let Some(Attribute { kind, value }) = attributes.next() {
        if kind != MESSAGE_AUTHENTICATOR {
            continue;
        }
        if found.is_some() {
            return Err(MessageAuthenticatorError::Repeated);
        }
        found = Some((packet.as_bytes().len() - attributes.rest().len() - value.len(), value));
    }
    let (offset, value) = found.ok_or(MessageAuthenticatorError::Absent)?;
    let value = value.try_into().map_err(|_| MessageAuthenticatorError::WrongLength { octets: value.len() })?;
    Ok((offset, value))
}

#[cfg(test)]
mod tests {
    use super::super::attribute::{ACCT_STATUS_TYPE, USER_NAME};
    use super::super::{Code, Fault, PacketBuilder};
    use super::*;

    const SECRET: &[u8] = b"xyzzy5461";
    const NONCE: [u8; 16] = [7; 16];

    /// A signed Access-Request with Message-Authenticator, for tests to damage.
    fn access_request() -> Vec<u8> {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 1, NONCE);
        builder.text(USER_NAME, "nemo").unwrap().sign_request(SECRET).unwrap().to_vec()
    }

    /// Appends an attribute by hand, as only a careless or hostile sender would.
    fn append(packet: &mut Vec<u8>, attribute: &[u8]) {
        packet.extend_from_slice(attribute);
        let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
        packet[2..4].copy_from_slice(&[high, low]);
    }

    fn verify(packet: &[u8]) -> Result<(), MessageAuthenticatorError> {
        Packet::parse(packet).unwrap().verify_message_authenticator(SECRET).map(drop)
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let good = access_request();
        assert_eq!(verify(&good), Ok(()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Some bits are lengths and types: then there may be no packet, or no Message-Authenticator.
            if let Ok(packet) = Packet::parse(&bad) {
                assert!(packet.verify_message_authenticator(SECRET).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn rfc3579_section_3_2_what_is_no_message_authenticator() {
        let mut absent = PacketBuilder::request(Code::AccessRequest, 1, NONCE);
        let absent = absent.with_message_authenticator(false).sign_request(SECRET).unwrap();
        assert_eq!(verify(absent), Err(MessageAuthenticatorError::Absent));

        let mut repeated = access_request();
        let again = repeated[20..38].to_vec();
        append(&mut repeated, &again);
        assert_eq!(verify(&repeated), Err(MessageAuthenticatorError::Repeated));

        let mut short = access_request();
        short.truncate(20);
        append(&mut short, &[MESSAGE_AUTHENTICATOR, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let error = verify(&short).unwrap_err();
        assert_eq!((error, error.fault()), (MessageAuthenticatorError::WrongLength { octets: 15 }, Fault::Malformed));

        let good = access_request();
        let error = Packet::parse(&good).unwrap().verify_message_authenticator(b"other").unwrap_err();
        assert_eq!((error, error.fault()), (MessageAuthenticatorError::Mismatch, Fault::Unproven));
    }

    #[test]
    fn its_place_does_not_matter() {
        let mut last = access_request();
        let signed = last.split_off(20);
        last.extend_from_slice(&signed[18..]);
        append(&mut last, &[&[MESSAGE_AUTHENTICATOR, 18][..], &[0; 16]].concat());
        let offset = last.len() - 16;
        let mac = message_authenticator(&last, &NONCE, offset, &PreparedSecret::new(SECRET));
        last[offset..].copy_from_slice(&mac);
        assert_eq!(verify(&last), Ok(()));
    }

    #[test]
    fn only_checksums_are_checked_as_request_authenticators() {
        let packet = access_request();
        let error = Packet::parse(&packet).unwrap().verify_request_authenticator(SECRET).unwrap_err();
        assert_eq!((error, error.fault()), (AuthenticatorError::NotChecked { code: 1 }, Fault::Ours));

        let mut builder = PacketBuilder::request(Code::AccountingRequest, 1, NONCE);
        let mut packet = builder.integer(ACCT_STATUS_TYPE, 1).unwrap().sign_request(SECRET).unwrap().to_vec();
        assert!(Packet::parse(&packet).unwrap().verify_request_authenticator(SECRET).is_ok());
        packet[25] = 2;
        let error = Packet::parse(&packet).unwrap().verify_request_authenticator(SECRET).unwrap_err();
        assert_eq!(error, AuthenticatorError::RequestMismatch);
    }

    #[test]
    fn a_reply_is_for_one_request() {
        let request = access_request();
        let request = Packet::parse(&request).unwrap();
        let mut reply = PacketBuilder::reply(&request, Code::AccessReject);
        let reply = reply.sign_reply(SECRET).unwrap();
        let reply = Packet::parse(reply).unwrap();
        assert!(reply.verify_reply(SECRET, &NONCE).unwrap().message_authenticator());
        let other = reply.verify_reply(SECRET, &[8; 16]).unwrap_err();
        assert_eq!(other.reason(), "response-authenticator-mismatch");
        assert!(reply.verify_reply(b"other", &NONCE).is_err());
    }

    #[test]
    fn a_reply_with_a_false_message_authenticator_is_refused() {
        let request = access_request();
        let mut reply = PacketBuilder::reply(&Packet::parse(&request).unwrap(), Code::AccessAccept);
        let mut forged = reply.sign_reply(SECRET).unwrap().to_vec();
        forged[30] ^= 1;
        let response_authenticator = checksum(&forged, &NONCE, SECRET);
        forged[4..20].copy_from_slice(&response_authenticator);
        let error = Packet::parse(&forged).unwrap().verify_reply(SECRET, &NONCE).unwrap_err();
        assert_eq!(error.reason(), "message-authenticator-mismatch");
    }
}
