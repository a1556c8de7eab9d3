//! A simulated NAS that speaks real RADIUS over UDP, as pppd with a Dynamic Authorization Server beside it would.
//!
//! Logs people in (PAP, CHAP, MS-CHAPv2), keeps accounting and repeats it until it is answered, obeys CoA-Request and
//! Disconnect-Request, and ends a session by itself when its Session-Timeout is over. Every authenticator is checked;
//! what fails is dropped. It tells what it sees as it happens ([`Seen`]), and faults can be switched on.
//!
//! Knows nothing of holds, users or stores: it has its own table, and whatever it knows came over the wire.

mod dynauth;
mod exchange;
mod peer;
mod seen;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::app::{chance, clock};
use crate::radius::{Code, EncodeError, MAX_PACKET, Packet, PacketBuilder, attribute};

pub use dynauth::error_cause;
pub use peer::Credentials;
pub use seen::{Seen, What};
pub use table::Session;

use dynauth::Judgement;
use exchange::{Patience, exchange};
use peer::Chance;
use table::{Table, after};

/// Acct-Terminate-Cause (RFC 2866 §5.10).
pub mod terminate_cause {
    /// The person hung up.
    pub const USER_REQUEST: u32 = 1;
    /// Session-Timeout is over.
    pub const SESSION_TIMEOUT: u32 = 5;
    /// Disconnect-Request.
    pub const ADMIN_RESET: u32 = 6;
}

/// Answers to CoA-Requests and Disconnect-Requests kept for repeats.
const KEPT_ANSWERS: usize = 256;

/// What a NAS is told before it starts.
#[derive(Debug)]
pub struct Settings {
    /// Where Access-Requests go.
    pub auth: SocketAddr,
    /// Where Accounting-Requests go.
    pub accounting: SocketAddr,
    /// Where CoA-Requests and Disconnect-Requests come in, bound already.
    pub dynauth: std::net::UdpSocket,
    /// The secret shared with the server.
    pub secret: Vec<u8>,
    /// NAS-Identifier.
    pub identifier: String,
    /// How long to wait for an answer before a request goes out again.
    pub retry_after: Duration,
    /// How often an Access-Request goes out before the login fails.
    pub access_tries: u32,
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// In, as the session on this NAS-Port.
    Accepted {
        /// NAS-Port.
        port: u32,
    },
    /// Refused.
    Rejected {
        /// Reply-Message.
        message: String,
    },
}

/// Why the NAS could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum NasError {
    /// Nobody answered.
    #[error("no answer from the RADIUS server")]
    NoAnswer,
    /// MS-CHAP2-Success is missing or wrong: the server does not know the password.
    #[error("the Access-Accept does not prove that the server knows the password (RFC 2759 §5)")]
    NotTheServer,
    /// There is no such session.
    #[error("no session on NAS-Port {0}")]
    NoSession(u32),
    /// A packet is not well formed.
    #[error("malformed packet: {0}")]
    Malformed(String),
    /// A packet cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A way for the NAS to be broken, for one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next so many datagrams are not heard.
    Ignore(u32),
    /// Every request is refused for this Error-Cause.
    Nak(u32),
    /// Every request is acknowledged, and nothing is done.
    AckWithoutDoing,
}

/// The NAS. Dropping it is pulling its plug: nothing more is sent.
#[derive(Debug)]
pub struct SimulatedNas {
    shared: Arc<Shared>,
    dynauth: SocketAddr,
    engine: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    auth: SocketAddr,
    accounting: SocketAddr,
    secret: Vec<u8>,
    identifier: String,
    retry_after: Duration,
    access_tries: u32,
    table: Mutex<Table>,
    faults: Mutex<BTreeMap<u8, Fault>>,
    /// One at a time per session, so that a Stop does not overtake its Start.
    accounting_turns: Mutex<BTreeMap<u32, Arc<tokio::sync::Mutex<()>>>>,
    seen: mpsc::UnboundedSender<Seen>,
    changed: watch::Sender<()>,
    next_port: AtomicU32,
    next_identifier: AtomicU8,
}

/// An answer given, and to what.
type Answered = ((SocketAddr, u8, [u8; 16]), Vec<u8>);

impl SimulatedNas {
    /// Starts the NAS, inside a tokio runtime, and gives what it sees from now on.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn start(settings: Settings) -> io::Result<(Self, mpsc::UnboundedReceiver<Seen>)> {
        settings.dynauth.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(settings.dynauth)?;
        let dynauth = socket.local_addr()?;
        let (seen, receiver) = mpsc::unbounded_channel();
        let [identifier] = chance::octets();
        let shared = Arc::new(Shared {
            auth: settings.auth,
            accounting: settings.accounting,
            secret: settings.secret,
            identifier: settings.identifier,
            retry_after: settings.retry_after,
            access_tries: settings.access_tries,
            table: Mutex::default(),
            faults: Mutex::default(),
            accounting_turns: Mutex::default(),
            seen,
            changed: watch::Sender::new(()),
            next_port: AtomicU32::new(1),
            next_identifier: AtomicU8::new(identifier),
        });
        let engine = tokio::spawn(run(Arc::clone(&shared), socket));
        Ok((Self { shared, dynauth, engine }, receiver))
    }

    /// Where CoA-Requests and Disconnect-Requests come in.
    pub fn dynauth(&self) -> SocketAddr {
        self.dynauth
    }

    /// Logs somebody in. The session is on the NAS from the Access-Accept on, with the Filter-Id it names.
    ///
    /// # Errors
    /// [`NasError`] when there is no answer, or not from a server that knows the password.
    pub async fn login(
        &self,
        user: &str,
        calling_station_id: &str,
        credentials: &Credentials,
    ) -> Result<Login, NasError> {
        let shared = &self.shared;
        let port = shared.next_port.fetch_add(1, Ordering::Relaxed);
        let authenticator = chance::octets();
        let mut request = PacketBuilder::request(Code::AccessRequest, shared.identifier(), authenticator);
        request.integer(attribute::SERVICE_TYPE, 2)?.integer(attribute::FRAMED_PROTOCOL, 1)?;
        request.text(attribute::USER_NAME, user)?;
        let [ident] = chance::octets();
        let chance = Chance { ident, challenge: chance::octets(), peer_challenge: chance::octets() };
        let expected = credentials.write(&mut request, user, &shared.secret, &authenticator, &chance)?;
        request
            .text(attribute::CALLING_STATION_ID, calling_station_id)?
            .text(attribute::NAS_IDENTIFIER, &shared.identifier)?
            .integer(attribute::NAS_PORT, port)?;
        let octets = request.sign_request(&shared.secret)?.to_vec();
        let patience = Patience { retry_after: shared.retry_after, tries: Some(shared.access_tries) };
        let tell = |what| shared.tell(Some((port, user)), what);
        let reply = exchange(shared.auth, &octets, &shared.secret, patience, tell).await?;
        let reply = Packet::parse(&reply).map_err(|error| NasError::Malformed(error.to_string()))?;
        if reply.code() != Code::AccessAccept {
            // Like pppd, which takes an Access-Challenge for a failure.
            let message = reply.text(attribute::REPLY_MESSAGE).unwrap_or_default().to_owned();
            return Ok(Login::Rejected { message });
        }
        if !expected.is_met(&reply) {
            return Err(NasError::NotTheServer);
        }
        shared.admit(port, user, calling_station_id, &reply);
        Ok(Login::Accepted { port })
    }

    /// Sends Accounting-Request Start, until it is answered.
    ///
    /// # Errors
    /// [`NasError::NoSession`], or when a packet cannot be sent at all.
    pub async fn start_accounting(&self, port: u32) -> Result<(), NasError> {
        self.shared.account(port, Status::Start).await
    }

    /// Sends Accounting-Request Interim-Update, until it is answered.
    ///
    /// # Errors
    /// As [`SimulatedNas::start_accounting`].
    pub async fn interim(&self, port: u32) -> Result<(), NasError> {
        self.shared.account(port, Status::InterimUpdate).await
    }

    /// Ends a session for this Acct-Terminate-Cause and sends Accounting-Request Stop, until it is answered. The Stop of
    /// a session that has ended by itself is under way already; then this does nothing.
    ///
    /// # Errors
    /// As [`SimulatedNas::start_accounting`].
    pub async fn stop(&self, port: u32, cause: u32) -> Result<(), NasError> {
        self.session(port).ok_or(NasError::NoSession(port))?;
        if self.shared.end(port, cause) { self.shared.account(port, Status::Stop).await } else { Ok(()) }
    }

    /// Lets a session carry octets from the user and to the user.
    pub fn carry(&self, port: u32, input: u64, output: u64) {
        if let Some(session) = self.shared.table().0.get_mut(&port) {
            session.octets = (session.octets.0 + input, session.octets.1 + output);
        }
    }

    /// A session, on the NAS or ended.
    pub fn session(&self, port: u32) -> Option<Session> {
        self.shared.table().0.get(&port).cloned()
    }

    /// The filter in force on a session; the last one, when it has ended.
    pub fn filter_of(&self, port: u32) -> Option<String> {
        self.session(port)?.filter
    }

    /// Waits, for ever if need be, until a session is as wanted.
    pub async fn until(&self, port: u32, wanted: impl Fn(&Session) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !self.session(port).as_ref().is_some_and(&wanted) {
            // The sender is ours, so it is there.
            let _ = changed.changed().await;
        }
    }

    /// Breaks the NAS for requests of this code ([`Code::CoaRequest`] or [`Code::DisconnectRequest`]), or mends it.
    pub fn set_fault(&self, code: Code, fault: Option<Fault>) {
        let mut faults = lock(&self.shared.faults);
        match fault {
            Some(fault) => faults.insert(code.as_u8(), fault),
            None => faults.remove(&code.as_u8()),
        };
    }
}

impl Drop for SimulatedNas {
    fn drop(&mut self) {
        self.engine.abort();
    }
}

/// Acct-Status-Type (RFC 2866 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Start = 1,
    Stop = 2,
    InterimUpdate = 3,
}

/// Answers requests and watches Session-Timeouts, until aborted.
async fn run(shared: Arc<Shared>, socket: UdpSocket) {
    let mut stops = JoinSet::new();
    let mut answered: VecDeque<Answered> = VecDeque::new();
    let mut changed = shared.changed.subscribe();
    let mut buffer = vec![0; MAX_PACKET + 1];
    loop {
        let timeout = shared.table().next_timeout();
        let mut ended = Vec::new();
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // A refusal concerns an answer of ours that found nobody; there is nothing to do about it.
                let Ok((length, source)) = received else { continue };
                if let Some((answer, end)) = shared.take(&buffer[..length], source, &mut answered) {
                    let _ = socket.send_to(&answer, source).await;
                    ended.extend(end);
                }
            }
            () = sleep_until(timeout.unwrap_or_else(Instant::now)), if timeout.is_some() => {
                let over = shared.table().timed_out(Instant::now());
                ended.extend(over.into_iter().filter(|&port| shared.end(port, terminate_cause::SESSION_TIMEOUT)));
            }
            _ = changed.changed() => (),
            Some(_) = stops.join_next() => (),
        }
        for port in ended {
            let shared = Arc::clone(&shared);
            stops.spawn(async move { shared.account(port, Status::Stop).await });
        }
    }
}

impl Shared {
    /// Judges a datagram: the answer to send, and the session that ended by it.
    fn take(
        &self,
        datagram: &[u8],
        source: SocketAddr,
        answered: &mut VecDeque<Answered>,
    ) -> Option<(Vec<u8>, Option<u32>)> {
        let dropped = |why: String| What::Dropped { octets: datagram.to_vec(), why };
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                self.tell(None, dropped(error.to_string()));
                return None;
            }
        };
        if let Err(why) = dynauth::verify(&packet, &self.secret, clock::now().as_secs()) {
            self.tell(None, dropped(why));
            return None;
        }
        let about = self.table().select(&packet).first().map(|session| (session.port, session.user.clone()));
        let user = packet.text(attribute::USER_NAME).unwrap_or_default().to_owned();
        let tell = |what| match &about {
            Some((port, user)) => self.tell(Some((*port, user)), what),
            None => self.send(None, Some(user.clone()), what),
        };
        let received = |repeat| What::Received { octets: datagram.to_vec(), repeat };
        let sent = |octets: &[u8], repeat| What::Sent { octets: octets.to_vec(), repeat };
        // RFC 5176 §2.3: a repeat gets the same answer, and nothing is done twice.
        let key = (source, packet.identifier(), *packet.authenticator());
        if let Some((_, answer)) = answered.iter().find(|(known, _)| *known == key) {
            tell(received(true));
            tell(sent(answer, 1));
            return Some((answer.clone(), None));
        }
        let fault = self.fault(packet.code());
        if let Some(Fault::Ignore(_)) = fault {
            tell(dropped("the NAS is broken and does not hear it".to_owned()));
            return None;
        }
        tell(received(false));
        let judgement = match fault {
            Some(Fault::Nak(cause)) => Judgement::Refuse(cause),
            _ => dynauth::judge(&packet, &self.table(), &self.identifier),
        };
        let end = match &judgement {
            _ if fault == Some(Fault::AckWithoutDoing) => None,
            Judgement::Change { port, filter, session_timeout } => {
                self.change(*port, filter.as_deref(), *session_timeout);
                None
            }
            Judgement::End { port } => self.end(*port, terminate_cause::ADMIN_RESET).then_some(*port),
            Judgement::Refuse(_) => None,
        };
        let answer = self.answer(&packet, &judgement)?;
        tell(sent(&answer, 0));
        if let Judgement::Change { port, .. } = &judgement {
            self.acknowledge(*port);
        }
        answered.push_back((key, answer.clone()));
        if answered.len() > KEPT_ANSWERS {
            answered.pop_front();
        }
        Some((answer, end))
    }

    fn answer(&self, request: &Packet<'_>, judgement: &Judgement) -> Option<Vec<u8>> {
        let refused = matches!(judgement, Judgement::Refuse(_));
        let code = match (request.code(), refused) {
            (Code::CoaRequest, false) => Code::CoaAck,
            (Code::CoaRequest, true) => Code::CoaNak,
            (_, false) => Code::DisconnectAck,
            (_, true) => Code::DisconnectNak,
        };
        let mut reply = PacketBuilder::reply(request, code);
        let written = match judgement {
            Judgement::Refuse(cause) => reply.integer(attribute::ERROR_CAUSE, *cause),
            _ => Ok(&mut reply),
        };
        written
            .and_then(|reply| reply.proxy_states_of(request))
            .and_then(|reply| reply.sign_reply(&self.secret))
            .map(<[u8]>::to_vec)
            .ok()
    }

    /// The fault that strikes a request of this code, counted.
    fn fault(&self, code: Code) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        match faults.get_mut(&code.as_u8())? {
            Fault::Ignore(0) => None,
            Fault::Ignore(left) => {
                *left -= 1;
                Some(Fault::Ignore(*left))
            }
            fault => Some(*fault),
        }
    }

    /// Puts a session on the NAS, as its Access-Accept says.
    fn admit(&self, port: u32, user: &str, calling_station_id: &str, accept: &Packet<'_>) {
        let now = Instant::now();
        let filter = accept.text(attribute::FILTER_ID).map(str::to_owned);
        let session = Session {
            port,
            user: user.to_owned(),
            calling_station_id: calling_station_id.to_owned(),
            acct_session_id: hex::encode_upper(chance::octets::<8>()),
            framed_ip: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 0)) + port % 65_536),
            classes: accept.all(attribute::CLASS).map(<[u8]>::to_vec).collect(),
            filter: filter.clone(),
            acknowledged: false,
            since: now,
            ends_at: accept.integer(attribute::SESSION_TIMEOUT).map(|seconds| after(now, seconds)),
            octets: (0, 0),
            ended: None,
            ended_at: None,
            stop_answered: false,
        };
        self.table().0.insert(port, session);
        self.tell(Some((port, user)), What::Filter { from: None, to: filter });
    }

    fn change(&self, port: u32, filter: Option<&str>, session_timeout: Option<u32>) {
        let mut changed = None;
        if let Some(session) = self.table().0.get_mut(&port) {
            if let Some(seconds) = session_timeout {
                session.ends_at = Some(after(Instant::now(), seconds));
            }
            if let Some(filter) = filter
                && session.filter.as_deref() != Some(filter)
            {
                let from = session.filter.replace(filter.to_owned());
                changed = Some((session.user.clone(), What::Filter { from, to: Some(filter.to_owned()) }));
            }
        }
        if let Some((user, what)) = changed {
            self.tell(Some((port, &user)), what);
        }
        self.changed.send_replace(());
    }

    /// A change has been acknowledged, and that told: whoever waits for this tells what comes of it afterwards.
    fn acknowledge(&self, port: u32) {
        if let Some(session) = self.table().0.get_mut(&port) {
            session.acknowledged = true;
        }
        self.changed.send_replace(());
    }

    /// Ends a session, unless it has ended; whether it did.
    fn end(&self, port: u32, cause: u32) -> bool {
        let user = match self.table().0.get_mut(&port).filter(|session| session.is_up()) {
            Some(session) => {
                session.ended = Some(cause);
                session.ended_at = Some(Instant::now());
                session.user.clone()
            }
            None => return false,
        };
        self.tell(Some((port, &user)), What::Ended { cause });
        true
    }

    async fn account(&self, port: u32, status: Status) -> Result<(), NasError> {
        let turn = Arc::clone(lock(&self.accounting_turns).entry(port).or_default());
        let _turn = turn.lock().await;
        let session = self.table().0.get(&port).cloned().ok_or(NasError::NoSession(port))?;
        let octets = self.accounting_request(&session, status)?;
        let patience = Patience { retry_after: self.retry_after, tries: None };
        let tell = |what| self.tell(Some((port, &session.user)), what);
        exchange(self.accounting, &octets, &self.secret, patience, tell).await?;
        if status == Status::Stop
            && let Some(session) = self.table().0.get_mut(&port)
        {
            session.stop_answered = true;
        }
        self.changed.send_replace(());
        Ok(())
    }

    fn accounting_request(&self, session: &Session, status: Status) -> Result<Vec<u8>, EncodeError> {
        let mut request = PacketBuilder::request(Code::AccountingRequest, self.identifier(), [0; 16]);
        request
            .integer(attribute::ACCT_STATUS_TYPE, status as u32)?
            .text(attribute::ACCT_SESSION_ID, &session.acct_session_id)?
            .text(attribute::USER_NAME, &session.user)?
            .text(attribute::CALLING_STATION_ID, &session.calling_station_id)?
            .integer(attribute::SERVICE_TYPE, 2)?
            .integer(attribute::FRAMED_PROTOCOL, 1)?
            .text(attribute::NAS_IDENTIFIER, &self.identifier)?
            .integer(attribute::NAS_PORT, session.port)?
            .ipv4(attribute::FRAMED_IP_ADDRESS, session.framed_ip)?
            .integer(attribute::ACCT_AUTHENTIC, 1)?;
        // RFC 2866 §5.13: the filter that is in force, whatever the Access-Accept said.
        request.text(attribute::FILTER_ID, session.filter.as_deref().unwrap_or_default())?;
        for class in &session.classes {
            request.attribute(attribute::CLASS, class)?;
        }
        if status != Status::Start {
            let until = session.ended_at.unwrap_or_else(Instant::now);
            let seconds = until.duration_since(session.since).as_secs();
            request.integer(attribute::ACCT_SESSION_TIME, u32::try_from(seconds).unwrap_or(u32::MAX))?;
            let (input, output) = session.octets;
            for (octets, low, gigawords) in [
                (input, attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS),
                (output, attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS),
            ] {
                // RFC 2869 §5.1: how often the counter of 32 bits wrapped.
                request.attribute(low, &octets.to_be_bytes()[4..])?.attribute(gigawords, &octets.to_be_bytes()[..4])?;
            }
        }
        if let (Status::Stop, Some(cause)) = (status, session.ended) {
            request.integer(attribute::ACCT_TERMINATE_CAUSE, cause)?;
        }
        request.integer(attribute::ACCT_DELAY_TIME, 0)?;
        request.sign_request(&self.secret).map(<[u8]>::to_vec)
    }

    fn identifier(&self) -> u8 {
        self.next_identifier.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, session: Option<(u32, &str)>, what: What) {
        self.send(session.map(|(port, _)| port), session.map(|(_, user)| user.to_owned()), what);
    }

    fn send(&self, port: Option<u32>, user: Option<String>, what: What) {
        // Whoever started the NAS may not be listening.
        let _ = self.seen.send(Seen { at: Instant::now(), port, user, what });
        self.changed.send_replace(());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
