//! One request and its answer: sent again, octet for octet and from the same port, until a genuine reply comes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::NasError;
use super::seen::What;
use crate::radius::{Code, MAX_PACKET, Packet};

/// How a request is repeated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long to wait for an answer before the request goes out again.
    pub(super) retry_after: Duration,
    /// How often it goes out; `None` is for ever.
    pub(super) tries: Option<u32>,
}

/// Sends a request from a port of its own, as pppd does, and gives the reply.
///
/// # Errors
/// [`NasError::NoAnswer`] when all tries were in vain; [`NasError::System`] when there is no socket to be had.
pub(super) async fn exchange(
    server: SocketAddr,
    request: &[u8],
    secret: &[u8],
    patience: Patience,
    tell: impl Fn(What),
) -> Result<Vec<u8>, NasError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let asked = Packet::parse(request).map_err(|error| NasError::Malformed(error.to_string()))?;
    let mut buffer = vec![0; MAX_PACKET + 1];
    let mut repeat = 0;
    loop {
        // A server that is down refuses; it may be back by the next try.
        let _ = socket.send(request).await;
        tell(What::Sent { octets: request.to_vec(), repeat });
        repeat += 1;
        let until = Instant::now() + patience.retry_after;
        loop {
            match timeout_at(until, socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => match genuine(&buffer[..length], &asked, secret) {
                    Ok(()) => {
                        let octets = buffer[..length].to_vec();
                        tell(What::Received { octets: octets.clone(), repeat: false });
                        return Ok(octets);
                    }
                    Err(why) => tell(What::Dropped { octets: buffer[..length].to_vec(), why }),
                },
                Ok(Err(_)) => {
                    sleep_until(until).await;
                    break;
                }
                Err(_) => break,
            }
        }
        if patience.tries.is_some_and(|tries| repeat >= tries) {
            tell(What::Unanswered);
            return Err(NasError::NoAnswer);
        }
    }
}

/// Whether a datagram is the answer to a request.
///
/// # Errors
/// Which rule it breaks; it is then to be silently discarded.
fn genuine(datagram: &[u8], request: &Packet<'_>, secret: &[u8]) -> Result<(), String> {
    let reply = Packet::parse(datagram).map_err(|error| error.to_string())?;
    if reply.identifier() != request.identifier() {
        return Err("the Identifier is another request's".to_owned());
    }
    let verified = reply.verify_reply(secret, request.authenticator()).map_err(|error| error.to_string())?;
    let fits = match request.code() {
        Code::AccessRequest => {
            if !verified.message_authenticator() {
                // CVE-2024-3596
                return Err("Message-Authenticator is missing".to_owned());
            }
            matches!(reply.code(), Code::AccessAccept | Code::AccessReject | Code::AccessChallenge)
        }
        _ => reply.code() == Code::AccountingResponse,
    };
    if fits { Ok(()) } else { Err(format!("{} is no answer to {}", reply.code(), request.code())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{PacketBuilder, attribute};

    const SECRET: &[u8] = b"a secret of twenty-odd octets";

    fn request(code: Code) -> Vec<u8> {
        let mut request = PacketBuilder::request(code, 5, [7; 16]);
        request.text(attribute::USER_NAME, "alice").unwrap();
        request.sign_request(SECRET).unwrap().to_vec()
    }

    fn reply(request: &[u8], code: Code, secret: &[u8]) -> Vec<u8> {
        let mut reply = PacketBuilder::reply(&Packet::parse(request).unwrap(), code);
        reply.text(attribute::FILTER_ID, "sandbox").unwrap();
        reply.sign_reply(secret).unwrap().to_vec()
    }

    #[test]
    fn rfc2865_section_3_only_the_servers_own_reply_counts() {
        for (asks, answers) in
            [(Code::AccessRequest, Code::AccessAccept), (Code::AccountingRequest, Code::AccountingResponse)]
        {
            let asked = request(asks);
            let asked = Packet::parse(&asked).unwrap();
            let octets = reply(asked.as_bytes(), answers, SECRET);
            assert_eq!(genuine(&octets, &asked, SECRET), Ok(()));
            assert!(genuine(&octets, &asked, b"another secret").is_err());
            assert!(genuine(&reply(asked.as_bytes(), answers, b"another secret"), &asked, SECRET).is_err());
            for at in 0..octets.len() {
                let mut changed = octets.clone();
                changed[at] ^= 1;
                assert!(genuine(&changed, &asked, SECRET).is_err(), "octet {at} can be changed");
            }
        }
    }

    #[test]
    fn cve_2024_3596_an_accept_without_message_authenticator_does_not_count() {
        let asked = request(Code::AccessRequest);
        let asked = Packet::parse(&asked).unwrap();
        // Signed as for an Accounting-Request, where Message-Authenticator is a choice.
        let mut plain = asked.as_bytes().to_vec();
        plain[0] = Code::AccountingRequest.as_u8();
        let plain = Packet::parse(&plain).unwrap();
        let mut reply = PacketBuilder::reply(&plain, Code::AccessAccept);
        let octets = reply.with_message_authenticator(false).sign_reply(SECRET).unwrap().to_vec();
        assert!(Packet::parse(&octets).unwrap().verify_reply(SECRET, asked.authenticator()).is_ok());
        assert_eq!(genuine(&octets, &asked, SECRET), Err("Message-Authenticator is missing".to_owned()));
    }

    #[test]
    fn an_answer_to_something_else_does_not_count() {
        let asked = request(Code::AccessRequest);
        let octets = reply(&asked, Code::AccountingResponse, SECRET);
        assert!(genuine(&octets, &Packet::parse(&asked).unwrap(), SECRET).is_err());
    }
}
