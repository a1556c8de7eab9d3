//! A RADIUS client over UDP: one server, one socket, one request at a time.
//!
//! The request arrives signed and is sent octet for octet, again and again until its answer comes or the time is up.
//! What makes a request, its Identifier and its authenticator is the caller's, as is what an answer means. Chance
//! arrives as an argument.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::dynauth::{Next, Schedule, Timers};
use crate::model::Secret;
use crate::radius::{Code, MAX_PACKET, Packet};

/// A client of one server. Its socket is connected, so datagrams from elsewhere never reach it. Whoever wants many
/// requests in flight opens many.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    secret: Secret,
    /// One octet more than a packet may have, so that one too long is seen to be so.
    buffer: Box<[u8]>,
    closed_port_ends: bool,
}

/// What a client asks of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// When the request is sent again, and when nobody waits any longer (RFC 5080 §2.2.1).
    pub timers: Timers,
    /// Whether the answer to an Access-Request must have a Message-Authenticator. One without may be forged by whoever
    /// sees the request (CVE-2024-3596), and is ignored.
    pub message_authenticator: bool,
}

/// How a request ended.
#[derive(Debug)]
pub struct Exchange {
    /// The answer, verified; `None` when none came.
    pub reply: Option<Reply>,
    /// How often the request was sent.
    pub transmissions: u32,
    /// From the first transmission to the answer, or to giving up. With one transmission, the round-trip time.
    pub elapsed: Duration,
    /// Whether the host said (ICMP) that nobody listens on that port. Anybody can say so, so it ends nothing.
    pub port_closed: bool,
    /// What came and was not the answer.
    pub ignored: Ignored,
}

/// An answer with the right Response Authenticator (RFC 2865 §3) and a code that answers the request.
#[derive(Debug)]
pub struct Reply {
    octets: Vec<u8>,
    message_authenticator: bool,
}

/// Datagrams that came in answer to one request and were ignored, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ignored {
    /// No RADIUS packet.
    pub malformed: u32,
    /// Another Identifier: late answers to earlier requests.
    pub unasked: u32,
    /// A wrong Response Authenticator or Message-Authenticator: another secret, or a forger.
    pub forged: u32,
    /// Genuine so far as MD5 can tell, but without the Message-Authenticator that was demanded.
    pub unsigned: u32,
    /// Genuine, with a code that does not answer the request.
    pub misplaced: u32,
}

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The octets are no packet, or no request.
    #[error("these octets are not a RADIUS request")]
    NotARequest,
    /// The system refuses to send it.
    #[error("cannot send: {0}")]
    Send(#[from] io::Error),
}

impl Client {
    /// Opens a socket to a server. Without `source` the system chooses the address and port to send from.
    ///
    /// # Errors
    /// What the system says of the source, or of the way to the server.
    pub async fn connect(server: SocketAddr, source: Option<SocketAddr>, secret: Secret) -> io::Result<Self> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(source.unwrap_or(any)).await?;
        socket.connect(server).await?;
        Ok(Self { socket, secret, buffer: vec![0; MAX_PACKET + 1].into(), closed_port_ends: false })
    }

    /// Makes a closed port end an exchange at once. For whoever has another server to ask: there a forged message costs
    /// nothing but a detour.
    pub fn closed_port_ends(mut self) -> Self {
        self.closed_port_ends = true;
        self
    }

    /// Sends a signed request until its answer comes or the timers end. `chance` gives numbers uniform over all values,
    /// one for each transmission.
    ///
    /// Consecutive requests should differ in their Identifier, else a late answer to the one before counts as forged.
    ///
    /// # Errors
    /// [`ClientError`]; that nobody answers is none.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        demand: &Demand,
        mut chance: impl FnMut() -> u32,
    ) -> Result<Exchange, ClientError> {
        let asked = Packet::parse(request).ok().filter(|packet| packet.code().is_request());
        let asked = asked.ok_or(ClientError::NotARequest)?;
        let mut schedule = Schedule::new(demand.timers);
        let mut exchange = Exchange {
            reply: None,
            transmissions: 0,
            elapsed: Duration::ZERO,
            port_closed: false,
            ignored: Ignored::default(),
        };
        let start = Instant::now();
        loop {
            self.transmit(request, &mut exchange.port_closed).await?;
            exchange.transmissions += 1;
            let next = schedule.transmitted(chance());
            let (Next::Retransmit(wait) | Next::GiveUp(wait)) = next;
            let answer = self.answer(&asked, demand, &mut exchange);
            let answer = timeout_at(Instant::now() + wait, answer).await;
            exchange.elapsed = start.elapsed();
            if let Ok(reply) = answer {
                exchange.reply = reply;
                return Ok(exchange);
            }
            if matches!(next, Next::GiveUp(_)) {
                return Ok(exchange);
            }
        }
    }

    async fn transmit(&self, request: &[u8], port_closed: &mut bool) -> io::Result<()> {
        match self.socket.send(request).await {
            // An ICMP message about the transmission before; this one was not sent, and the message is now taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                *port_closed = true;
                self.socket.send(request).await.map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// Waits for the answer, for ever; `None` when a closed port ends it.
    async fn answer(&mut self, asked: &Packet<'_>, demand: &Demand, exchange: &mut Exchange) -> Option<Reply> {
        loop {
            if exchange.port_closed && self.closed_port_ends {
                return None;
            }
            match self.socket.recv(&mut self.buffer).await {
                Ok(octets) => match read(&self.buffer[..octets], asked, &self.secret, demand) {
                    Ok(reply) => return Some(reply),
                    Err(reason) => *reason(&mut exchange.ignored) += 1,
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => exchange.port_closed = true,
                // Other ICMP messages (no route) say as little about the next transmission.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}

impl Reply {
    /// The packet.
    ///
    /// # Panics
    /// Never: it was parsed before it became a `Reply`.
    pub fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.octets).expect("parsed before")
    }

    /// Whether it also had a (valid) Message-Authenticator (RFC 3579 §3.2).
    pub fn message_authenticator(&self) -> bool {
        self.message_authenticator
    }
}

impl Ignored {
    /// Datagrams that claimed to be the answer and could not be verified.
    pub fn unverified(&self) -> u32 {
        self.forged + self.unsigned
    }
}

/// Which counter a datagram that is not the answer belongs to.
type Reason = fn(&mut Ignored) -> &mut u32;

fn read(datagram: &[u8], asked: &Packet<'_>, secret: &Secret, demand: &Demand) -> Result<Reply, Reason> {
    let packet = Packet::parse(datagram).map_err(|_| -> Reason { |ignored| &mut ignored.malformed })?;
    if packet.identifier() != asked.identifier() {
        return Err(|ignored| &mut ignored.unasked);
    }
    let verified = packet.verify_reply(secret.expose(), asked.authenticator());
    let message_authenticator = match verified {
        Ok(proof) => proof.message_authenticator(),
        Err(_) => return Err(|ignored| &mut ignored.forged),
    };
    if asked.code() == Code::AccessRequest && demand.message_authenticator && !message_authenticator {
        return Err(|ignored| &mut ignored.unsigned);
    }
    if !answers(asked.code(), packet.code()) {
        return Err(|ignored| &mut ignored.misplaced);
    }
    Ok(Reply { octets: packet.as_bytes().to_vec(), message_authenticator })
}

/// Whether one code is an answer to the other. Protocol-Error answers all (RFC 7930 §4).
pub(super) fn answers(asked: Code, reply: Code) -> bool {
    use Code::*;
    match asked {
        _ if reply == ProtocolError => true,
        AccessRequest => matches!(reply, AccessAccept | AccessReject | AccessChallenge),
        AccountingRequest => reply == AccountingResponse,
        // RFC 5997 §3: as the port it was sent to answers. A port of RFC 5176 has nothing fitter than CoA-ACK to say.
        StatusServer => matches!(reply, AccessAccept | AccountingResponse | CoaAck),
        CoaRequest => matches!(reply, CoaAck | CoaNak),
        DisconnectRequest => matches!(reply, DisconnectAck | DisconnectNak),
        _ => false,
    }
}
