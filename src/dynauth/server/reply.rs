//! The reply to a request, as octets (RFC 5176 §2.1, §2.2).

use super::super::ErrorCause;
use super::verify::Genuine;
use crate::radius::{Code, EncodeError, PacketBuilder, attribute};

/// CoA-ACK or Disconnect-ACK; with a cause, the NAK. Proxy-States go back as they came (RFC 5176 §3.1), and a
/// Message-Authenticator answers one.
///
/// # Errors
/// `PacketTooLong`, when the request was full of Proxy-States and there is no room for a cause.
pub fn reply(request: &Genuine<'_>, refused: Option<ErrorCause>, secret: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let packet = request.packet();
    let code = match (packet.code(), refused) {
        (Code::DisconnectRequest, None) => Code::DisconnectAck,
        (Code::DisconnectRequest, Some(_)) => Code::DisconnectNak,
        (_, None) => Code::CoaAck,
        (_, Some(_)) => Code::CoaNak,
    };
    let mut reply = PacketBuilder::reply(packet, code);
    reply.proxy_states_of(packet)?;
    if let Some(ErrorCause(cause)) = refused {
        reply.integer(attribute::ERROR_CAUSE, cause)?;
    }
    Ok(reply.sign_reply(secret)?.to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Rules, verify};
    use super::*;
    use crate::dynauth::{Answer, RequestKind, read_answer};
    use crate::model::Timestamp;
    use crate::radius::Packet;

    #[test]
    fn rfc5176_section_3_1_proxy_states_go_back_in_order_and_the_client_understands() {
        let rules = Rules { message_authenticator: true, event_timestamp: false, window: Duration::from_secs(300) };
        for (kind, refused, answer) in [
            (RequestKind::Coa, None, Answer::Acked),
            (RequestKind::Coa, Some(ErrorCause(503)), Answer::Naked(Some(503))),
            (RequestKind::Disconnect, None, Answer::Acked),
            (RequestKind::Disconnect, Some(ErrorCause(504)), Answer::Naked(Some(504))),
        ] {
            let mut request = PacketBuilder::request(kind.code(), 7, [0; 16]);
            request.attribute(attribute::PROXY_STATE, b"one").unwrap();
            request.attribute(attribute::PROXY_STATE, b"two").unwrap();
            let request = request.sign_request(b"secret").unwrap();
            let genuine =
                verify(Packet::parse(request).unwrap(), b"secret", &rules, Timestamp::default()).expect("is genuine");
            let octets = reply(&genuine, refused, b"secret").unwrap();
            let packet = Packet::parse(&octets).unwrap();
            assert_eq!(packet.all(attribute::PROXY_STATE).collect::<Vec<_>>(), [b"one", b"two"]);
            assert!(packet.has_message_authenticator());
            let authenticator = genuine.packet().authenticator();
            assert_eq!(read_answer(kind, &packet, b"secret", authenticator), Ok(answer));
        }
    }
}
