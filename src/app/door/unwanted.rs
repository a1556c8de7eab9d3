//! What a server is asked over TLS and does not do: orders are for NASes. Whoever sends one is told, where a datagram of the kind gets
//! no answer.

use std::time::Duration;

use crate::app::access::Fate;
use crate::dynauth::server::{Rules, UNSUPPORTED_EXTENSION, reply, verify};
use crate::model::{Nas, Timestamp};
use crate::radius::Packet;

/// Nothing is demanded that RFC 5176 leaves open. However old an order says it is: it is not carried out, and TLS lets nobody replay it.
const RULES: Rules = Rules { message_authenticator: false, event_timestamp: false, window: Duration::MAX };

/// The answer to a CoA-Request or Disconnect-Request: one port takes all kinds of packets, so that a NAK says which are not for it
/// (RFC 6614 §2.5).
pub(super) fn refuse_order(request: Packet<'_>, nas: &Nas, received_at: Timestamp) -> Fate {
    let secret = nas.secret.expose();
    let Ok(genuine) = verify(request, secret, &RULES, received_at) else { return Fate::Drop("packet.unwanted-order") };
    reply(&genuine, Some(UNSUPPORTED_EXTENSION), secret).map_or(Fate::Drop("packet.unwritable"), Fate::Reply)
}
