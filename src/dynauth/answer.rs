//! What came back, read from a verified reply. Never decides what is done about it: see `ErrorCause::remedy`.

use crate::radius::{AuthenticatorError, Code, Packet, attribute};

use super::RequestKind;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// CoA-ACK or Disconnect-ACK. Not proof that anything happened.
    Acked,
    /// CoA-NAK or Disconnect-NAK, with its Error-Cause when there was a readable one.
    Naked(Option<u32>),
    /// No valid answer to any transmission.
    Unanswered,
}

/// Why a packet is not the answer to a request. It is then ignored as if it had not come (RFC 5176 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Made with another secret, for another request, or changed on its way.
    #[error(transparent)]
    Forged(#[from] AuthenticatorError),
    /// Genuine, but not an answer to what was asked.
    #[error("{0} does not answer the request")]
    Code(Code),
}

/// Reads the reply to a request whose Request Authenticator was `request_authenticator`. Identifier and address have
/// been matched before.
///
/// # Errors
/// [`Unfit`] when the packet is to be ignored.
pub fn read_answer(
    kind: RequestKind,
    reply: &Packet<'_>,
    secret: &[u8],
    request_authenticator: &[u8; 16],
) -> Result<Answer, Unfit> {
    // A Message-Authenticator is checked when there is one; servers in use leave it out (RFC 5176 §3.4: MAY).
    let _verified = reply.verify_reply(secret, request_authenticator)?;
    match reply.code() {
        code if code == kind.ack() => Ok(Answer::Acked),
        code if code == kind.nak() => Ok(Answer::Naked(error_cause(reply))),
        code => Err(Unfit::Code(code)),
    }
}

/// RFC 5176 §3.5: four octets. There may be several; the first is the NAS's own.
fn error_cause(reply: &Packet<'_>) -> Option<u32> {
    reply.first(attribute::ERROR_CAUSE)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynauth::Request;
    use crate::model::Timestamp;
    use crate::radius::PacketBuilder;

    const SECRET: &[u8] = b"secret";

    fn answer(kind: RequestKind, reply: Code, cause: Option<&[u8]>, secret: &[u8]) -> Result<Answer, Unfit> {
        let request = Request {
            kind,
            attributes: vec![],
            message_authenticator: true,
            event_timestamp: false,
            fresh_port: false,
        };
        let request = request.encode(3, Timestamp::default(), SECRET).unwrap();
        let request = Packet::parse(&request).unwrap();
        let mut builder = PacketBuilder::reply(&request, reply);
        if let Some(cause) = cause {
            builder.attribute(attribute::ERROR_CAUSE, cause).unwrap();
        }
        let reply = builder.sign_reply(secret).unwrap();
        read_answer(kind, &Packet::parse(reply).unwrap(), SECRET, request.authenticator())
    }

    #[test]
    fn rfc5176_section_3_5_each_reply_has_its_meaning() {
        use RequestKind::{Coa, Disconnect};
        let naked = |cause| Ok(Answer::Naked(cause));
        assert_eq!(answer(Coa, Code::CoaAck, None, SECRET), Ok(Answer::Acked));
        assert_eq!(answer(Disconnect, Code::DisconnectAck, None, SECRET), Ok(Answer::Acked));
        assert_eq!(answer(Coa, Code::CoaNak, Some(&503_u32.to_be_bytes()), SECRET), naked(Some(503)));
        assert_eq!(answer(Disconnect, Code::DisconnectNak, None, SECRET), naked(None));
        assert_eq!(answer(Coa, Code::CoaNak, Some(b"odd"), SECRET), naked(None));
    }

    #[test]
    fn what_is_not_its_answer_is_ignored() {
        let wrong_kind = answer(RequestKind::Coa, Code::DisconnectAck, None, SECRET);
        assert_eq!(wrong_kind, Err(Unfit::Code(Code::DisconnectAck)));
        let stranger = answer(RequestKind::Coa, Code::CoaAck, None, b"another");
        assert_eq!(stranger, Err(Unfit::Forged(AuthenticatorError::ResponseMismatch)));
    }
}
