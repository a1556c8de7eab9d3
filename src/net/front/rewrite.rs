//! One packet on its way through the front: from pppd's secret to the server's, and back.
//!
//! Pure: secrets, identifiers, authenticators and salts arrive as arguments. Knows no server and no socket, and judges no
//! password: what it does not know passes unchanged.

use sha2::{Digest as _, Sha256};

use crate::model::Secret;
use crate::radius::attribute::{
    ACCT_SESSION_ID, CALLING_STATION_ID, CHAP_CHALLENGE, CHAP_PASSWORD, CLASS, MESSAGE_AUTHENTICATOR, NAS_IDENTIFIER,
    NAS_PORT, PROXY_STATE, REPLY_MESSAGE, TUNNEL_PASSWORD, USER_NAME, USER_PASSWORD, VENDOR_SPECIFIC,
};
use crate::radius::hiding::{self, Salt};
use crate::radius::vendor::{self, MICROSOFT, VendorAttribute, microsoft};
use crate::radius::{
    AuthenticatorError, Code, EncodeError, HidingError, MessageAuthenticatorError, Packet, PacketBuilder, Short,
};

/// pppd 2.4.9 gathers all Reply-Messages, a newline after each, in a buffer it does not watch. This many octets fit.
const REPLY_MESSAGES_MOST: usize = 900;

/// Octets of MS-CHAP-MPPE-Keys (RFC 2548 §2.4.1): 24 of keys, 8 of padding, all of them hidden.
const MS_CHAP_MPPE_KEYS: usize = 32;

/// The longest part of pppd's Acct-Session-Id that is kept in ours.
const KEPT_ID_MOST: usize = 32;

/// What a request to a server is made with.
#[derive(Debug, Clone, Copy)]
pub struct Outward<'a> {
    /// The secret shared with pppd.
    pub inner: &'a Secret,
    /// The secret shared with the server.
    pub outer: &'a Secret,
    /// The Identifier towards the server.
    pub identifier: u8,
    /// The Request Authenticator towards the server, unpredictable; of no use for an Accounting-Request.
    pub authenticator: [u8; 16],
    /// The NAS-Identifier the server sees.
    pub nas_identifier: &'a str,
    /// Our own Proxy-State (RFC 2865 §5.33).
    pub proxy_state: &'a [u8],
}

/// What a reply to pppd is made with.
#[derive(Debug, Clone, Copy)]
pub struct Homeward<'a> {
    /// The secret shared with pppd.
    pub inner: &'a Secret,
    /// The secret shared with the server.
    pub outer: &'a Secret,
    /// The Request Authenticator the server got, which its hiding starts from.
    pub authenticator: &'a [u8; 16],
    /// Our own Proxy-State, which goes no further.
    pub proxy_state: &'a [u8],
}

/// Why a packet does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Not a kind of request pppd sends.
    #[error("{0} is nothing the front passes on")]
    Code(Code),
    /// Not made with pppd's secret.
    #[error("not made with the secret shared with pppd: {0}")]
    Authenticator(#[from] AuthenticatorError),
    /// Signed, and wrongly.
    #[error("not made with the secret shared with pppd: {0}")]
    MessageAuthenticator(#[from] MessageAuthenticatorError),
    /// Something hidden cannot be revealed: most times another secret.
    #[error("cannot be revealed: {0}")]
    Hiding(#[from] HidingError),
    /// It does not fit any more.
    #[error("cannot be built: {0}")]
    Encode(#[from] EncodeError),
}

impl RewriteError {
    /// A word for counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Code(_) => "front.code",
            Self::Authenticator(_) | Self::MessageAuthenticator(_) => "front.wrong-secret",
            Self::Hiding(_) => "front.hiding",
            Self::Encode(_) => "front.encode",
        }
    }
}

/// Whether a datagram is a request of pppd's, as far as its secret can tell. pppd signs no Access-Request.
///
/// # Errors
/// [`RewriteError`]; the datagram is then to be silently discarded.
pub fn admit(request: &Packet<'_>, inner: &Secret) -> Result<(), RewriteError> {
    match request.code() {
        Code::AccessRequest => match request.verify_message_authenticator(inner.expose()) {
            Ok(_) | Err(MessageAuthenticatorError::Absent) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Code::AccountingRequest => {
            let _ = request.verify_request_authenticator(inner.expose())?;
            Ok(())
        }
        other => Err(RewriteError::Code(other)),
    }
}

/// The request as the server gets it, signed. Call [`admit`] before.
///
/// # Errors
/// [`RewriteError`]; the request is then to be silently discarded.
pub fn request(request: &Packet<'_>, with: &Outward<'_>) -> Result<Vec<u8>, RewriteError> {
    let mut builder = PacketBuilder::request(request.code(), with.identifier, with.authenticator);
    for attribute in request.attributes() {
        match attribute.kind {
            MESSAGE_AUTHENTICATOR | NAS_IDENTIFIER => {}
            USER_PASSWORD => {
                let password =
                    hiding::reveal_user_password(attribute.value, with.inner.expose(), request.authenticator())?;
                let hidden = hiding::hide_user_password(&password, with.outer.expose(), &with.authenticator)?;
                builder.attribute(USER_PASSWORD, &hidden)?;
            }
            ACCT_SESSION_ID => {
                builder.text(ACCT_SESSION_ID, &session_id(request, attribute.value))?;
            }
            kind => {
                builder.attribute(kind, attribute.value)?;
            }
        }
    }
    if request.has(CHAP_PASSWORD) && !request.has(CHAP_CHALLENGE) {
        // RFC 2865 §5.3: then the challenge is the Request Authenticator, which the server will not see.
        builder.attribute(CHAP_CHALLENGE, request.authenticator())?;
    }
    builder.text(NAS_IDENTIFIER, with.nas_identifier)?;
    // RFC 2865 §5.33: behind those of others.
    builder.attribute(PROXY_STATE, with.proxy_state)?;
    Ok(builder.sign_request(with.outer.expose())?.to_vec())
}

/// The reply as pppd gets it, signed. The server's reply must have been verified before.
///
/// `salt` gives octets no other salt of this reply has.
///
/// # Errors
/// [`RewriteError`]; the reply is then to be silently discarded.
pub fn reply(
    reply: &Packet<'_>,
    asked: &Packet<'_>,
    with: &Homeward<'_>,
    mut salt: impl FnMut() -> Salt,
) -> Result<Vec<u8>, RewriteError> {
    let mut builder = PacketBuilder::reply(asked, reply.code());
    // RFC 2865 §5.33: only ours is taken out, and it is the last.
    let own_proxy_state = reply.all(PROXY_STATE).filter(|state| *state == with.proxy_state).count();
    let (mut seen, mut room) = (0, REPLY_MESSAGES_MOST);
    for attribute in reply.attributes() {
        match attribute.kind {
            MESSAGE_AUTHENTICATOR => {}
            PROXY_STATE if attribute.value == with.proxy_state => {
                seen += 1;
                if seen < own_proxy_state {
                    builder.attribute(PROXY_STATE, attribute.value)?;
                }
            }
            REPLY_MESSAGE => {
                let shown = beginning(attribute.value, room.saturating_sub(1));
                room = room.saturating_sub(shown.len() + 1);
                if !shown.is_empty() {
                    builder.attribute(REPLY_MESSAGE, shown)?;
                }
            }
            TUNNEL_PASSWORD => {
                let (tag, password) =
                    hiding::reveal_tunnel_password(attribute.value, with.outer.expose(), with.authenticator)?;
                let hidden =
                    hiding::hide_tunnel_password(tag, &password, with.inner.expose(), asked.authenticator(), salt())?;
                builder.attribute(TUNNEL_PASSWORD, &hidden)?;
            }
            VENDOR_SPECIFIC if vendor::sub_attributes(attribute.value).any(|inner| is_hidden(&inner)) => {
                for inner in vendor::sub_attributes(attribute.value) {
                    let value = if is_hidden(&inner) {
                        key(&inner, asked, with, &mut salt)?.to_vec()
                    } else {
                        inner.value.to_vec()
                    };
                    builder.vendor(inner.vendor, inner.kind, &value)?;
                }
            }
            kind => {
                builder.attribute(kind, attribute.value)?;
            }
        }
    }
    Ok(builder.sign_reply(with.inner.expose())?.to_vec())
}

/// The Acct-Session-Id the server sees, from what is the same in all records of a session: so it survives a restart of
/// the front.
///
/// pppd 2.4.9 sends the literal `%lX<start second>%hX`: sessions that begin in one second share it. What is left of it
/// comes first, for people; a hash over it, Class (which the server made for this session), NAS-Port, Calling-Station-Id
/// and User-Name makes the difference.
pub fn session_id(request: &Packet<'_>, original: &[u8]) -> String {
    let mut hash = Sha256::new();
    let mut add = |value: Option<&[u8]>| {
        // Lengths in front, so that no value can pose as the end of another.
        let value = value.unwrap_or_default();
        hash.update(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(value);
    };
    add(Some(original));
    for kind in [NAS_PORT, CALLING_STATION_ID, USER_NAME] {
        add(request.first(kind));
    }
    for class in request.all(CLASS) {
        add(Some(class));
    }
    let digest = hash.finalize();
    let readable = String::from_utf8_lossy(original).replace("%lX", "").replace("%hX", "");
    let kept: String = readable.chars().filter(char::is_ascii_alphanumeric).take(KEPT_ID_MOST).collect();
    format!("{kept}-{}", hex::encode(&digest[..8]))
}

fn is_hidden(inner: &VendorAttribute<'_>) -> bool {
    inner.vendor == MICROSOFT
        && matches!(
            inner.kind,
            microsoft::MS_MPPE_SEND_KEY | microsoft::MS_MPPE_RECV_KEY | microsoft::MS_CHAP_MPPE_KEYS
        )
}

/// A Microsoft key, hidden anew.
fn key(
    inner: &VendorAttribute<'_>,
    asked: &Packet<'_>,
    with: &Homeward<'_>,
    salt: &mut impl FnMut() -> Salt,
) -> Result<Short, HidingError> {
    let (inner_secret, outer_secret) = (with.inner.expose(), with.outer.expose());
    if inner.kind == microsoft::MS_CHAP_MPPE_KEYS {
        let mut keys = hiding::reveal_user_password(inner.value, outer_secret, with.authenticator)?;
        // Revealing cut what looks like padding; zeroes at the end may be of the key.
        let octets = keys.len().max(MS_CHAP_MPPE_KEYS);
        keys.resize(octets);
        return hiding::hide_user_password(&keys, inner_secret, asked.authenticator());
    }
    let key = hiding::reveal_mppe_key(inner.value, outer_secret, with.authenticator)?;
    hiding::hide_mppe_key(&key, inner_secret, asked.authenticator(), salt())
}

/// As many octets from the front as there is room for, without cutting a character of UTF-8 in two.
fn beginning(text: &[u8], room: usize) -> &[u8] {
    let mut end = text.len().min(room);
    while end > 0 && end < text.len() && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
