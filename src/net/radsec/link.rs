//! One connection, from its handshake to its end: packets in, packets out, and our own requests on it.
//!
//! A peer that does not read is cut when what waits for it is too much or too old; nobody else waits for it meanwhile. What a request
//! means is whoever's who takes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::SECRET;
use super::certificate::Certificate;
use super::framing::{FrameError, Frames};
use crate::dynauth::{Identifiers, NoneFree};
use crate::model::Timestamp;
use crate::net::Replier;
use crate::radius::Packet;
use crate::telemetry;

/// Requests of the peer in work at once: as many as it has Identifiers. Beyond that it is not read from (RFC 6613 §2.6.5).
const IN_WORK: usize = 256;
/// Packets that wait to be written, at most: all replies and as many requests of ours.
const WAITING: usize = 1024;
/// Octets read at once, at most.
const CHUNK: usize = 16 * 1024;
/// Octets written at once, about.
const BATCH: usize = 32 * 1024;
/// How long a packet may take: far longer than any does that is on its way.
const PACKET_TIME: Duration = Duration::from_secs(10);
/// How long an orderly goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long an Identifier rests when its request was not answered: a late answer may be on its way.
const REST: Duration = Duration::from_secs(60);

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The bounds of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may be silent.
    pub idle: Duration,
    /// How long the peer may take to read.
    pub write_patience: Duration,
    /// How long a packet may take from its first octet to its last.
    pub packet_time: Duration,
}

impl Limits {
    /// With the time for a packet that everybody has.
    pub const fn new(idle: Duration, write_patience: Duration) -> Self {
        Self { idle, write_patience, packet_time: PACKET_TIME }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// No two in the life of a process have the same; none has zero.
    pub number: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// What it has shown, and was proven to be.
    pub certificate: Certificate,
    outgoing: mpsc::Sender<Vec<u8>>,
    ended: watch::Sender<Option<End>>,
    ours: Mutex<Ours>,
    settled: Notify,
    opened: Instant,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// The network broke it.
    #[error("broken: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("idle for too long")]
    Idle,
    /// A packet began and did not end.
    #[error("a packet took too long to come")]
    Unfinished,
    /// The peer does not read what is for it.
    #[error("the peer does not read")]
    NotRead,
    /// The stream cannot be followed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer sent what cannot be believed (RFC 6613 §2.6.4).
    #[error("{0}")]
    Unbelievable(String),
    /// Its certificate's time is over, or it is no NAS's any more.
    #[error("{0}")]
    Unbound(&'static str),
    /// We are stopping.
    #[error("this server is stopping")]
    Stopping,
}

impl End {
    /// What kind of end it is, without what it came of.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Broken(_) => "broken",
            Self::Idle => "idle",
            Self::Unfinished => "unfinished",
            Self::NotRead => "not-read",
            Self::Frame(_) => "frame",
            Self::Unbelievable(_) => "unbelievable",
            Self::Unbound(_) => "unbound",
            Self::Stopping => "stopping",
        }
    }
}

/// Why a request of ours was not sent, or cannot be answered any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no packet for that Identifier; whoever should have written it knows why.
    #[error("the request cannot be written")]
    Unwritten,
    /// All Identifiers are in flight.
    #[error("too many requests in flight on this connection")]
    Busy,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// Our own requests.
#[derive(Debug)]
struct Ours {
    identifiers: Identifiers,
    expected: BTreeMap<u8, Expected>,
}

#[derive(Debug)]
struct Expected {
    authenticator: [u8; 16],
    reply: oneshot::Sender<Vec<u8>>,
}

/// What [`Link::run`] needs besides the stream.
pub(super) struct Waiting(mpsc::Receiver<Vec<u8>>);

/// Where a reply goes, with the place its request has among those in work.
#[derive(Debug, Clone)]
pub(crate) struct WayBack {
    pub(crate) link: Arc<Link>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Link {
    /// A connection that has shown that certificate; `chance` is any number.
    pub(super) fn new(peer: SocketAddr, certificate: Certificate, chance: u8) -> (Arc<Self>, Waiting) {
        let (outgoing, waiting) = mpsc::channel(WAITING);
        let link = Arc::new(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            peer,
            certificate,
            outgoing,
            ended: watch::Sender::new(None),
            ours: Mutex::new(Ours { identifiers: Identifiers::new(chance), expected: BTreeMap::new() }),
            settled: Notify::new(),
            opened: Instant::now(),
        });
        (link, Waiting(waiting))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Requests of ours in flight.
    pub fn in_flight(&self) -> usize {
        self.ours().identifiers.in_flight()
    }

    /// Ends it.
    pub fn end(&self, why: End) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(why);
            first
        });
    }

    /// Sends a packet without waiting. A peer for which too much waits is cut: it does not read.
    pub(crate) fn send(&self, packet: &[u8]) -> Result<(), AskError> {
        match self.outgoing.try_send(packet.to_vec()) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.end(End::NotRead);
                Err(AskError::Ended)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AskError::Ended),
        }
    }

    /// Sends a request of ours, made by `write` for its Identifier, and waits so long for its answer; `None` when none came. A stream
    /// loses nothing, so nothing is sent twice (RFC 6613 §2.6.1). The answer is verified, and its code is not judged.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(
        &self,
        wait: Duration,
        write: impl FnOnce(u8) -> Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, AskError> {
        let until = Instant::now() + wait;
        let identifier = self.identifier(until).await?;
        let mut flight = Flight { link: self, identifier, answered: false };
        let packet = write(identifier).ok_or(AskError::Unwritten)?;
        let (reply, answer) = oneshot::channel();
        let authenticator = *packet[4..].first_chunk().expect("a packet has a header");
        self.ours().expected.insert(identifier, Expected { authenticator, reply });
        self.send(&packet)?;
        let mut ended = self.ended.subscribe();
        tokio::select! {
            answer = answer => {
                flight.answered = true;
                answer.map(Some).map_err(|_| AskError::Ended)
            }
            _ = ended.wait_for(Option::is_some) => Err(AskError::Ended),
            () = sleep_until(until) => Ok(None),
        }
    }

    async fn identifier(&self, until: Instant) -> Result<u8, AskError> {
        loop {
            let settled = self.settled.notified();
            let free = self.ours().identifiers.take(self.opened.elapsed());
            let wake = match free {
                Ok(identifier) => return Ok(identifier),
                Err(NoneFree::InFlight) => until,
                Err(NoneFree::RestingUntil(rest)) => until.min(self.opened + rest),
            };
            if self.has_ended() {
                return Err(AskError::Ended);
            }
            tokio::select! {
                () = settled => (),
                () = sleep_until(wake) => (),
            }
            if Instant::now() >= until {
                return Err(AskError::Busy);
            }
        }
    }

    /// Works until the end, and says why it came. `take` gets each request, and may end the connection.
    pub(super) async fn run<S: AsyncRead + AsyncWrite>(
        self: &Arc<Self>,
        stream: S,
        waiting: Waiting,
        limits: Limits,
        now: Timestamp,
        take: impl Fn(&Packet<'_>, &Arc<Self>, Replier) -> Result<(), End>,
    ) -> End {
        let (mut read, mut write) = split(stream);
        let mut stop = self.ended.subscribe();
        let ended = async {
            let why = stop.wait_for(Option::is_some).await;
            why.ok().and_then(|why| why.clone()).unwrap_or(End::Stopping)
        };
        let mut outgoing = waiting.0;
        let end = tokio::select! {
            biased;
            end = ended => end,
            end = write_all(&mut write, &mut outgoing, limits.write_patience) => end,
            end = self.read_all(&mut read, limits, take) => end,
            () = sleep(self.certificate.until.since(now)) => End::Unbound("its certificate's time is over"),
        };
        self.end(end.clone());
        // Whoever waits for an answer learns that none comes.
        self.ours().expected.clear();
        let goodbye = async {
            // What was answered before the end is still said.
            if matches!(end, End::Stopping) {
                while let Ok(packet) = outgoing.try_recv() {
                    if write.write_all(&packet).await.is_err() {
                        return;
                    }
                }
            }
            // It is over either way.
            let _ = write.shutdown().await;
        };
        let _ = timeout(GOODBYE, goodbye).await;
        end
    }

    async fn read_all<S: AsyncRead>(
        self: &Arc<Self>,
        stream: &mut ReadHalf<S>,
        limits: Limits,
        take: impl Fn(&Packet<'_>, &Arc<Self>, Replier) -> Result<(), End>,
    ) -> End {
        let places = Arc::new(Semaphore::new(IN_WORK));
        let mut chunk = vec![0; CHUNK];
        let mut frames = Frames::default();
        let mut begun = Instant::now();
        loop {
            let (until, late) = match frames.is_amid() {
                true => (begun + limits.packet_time, End::Unfinished),
                false => (Instant::now() + limits.idle, End::Idle),
            };
            let octets = tokio::select! {
                read = stream.read(&mut chunk) => match read {
                    Ok(0) => return End::Peer,
                    Ok(octets) => octets,
                    // Many peers hang up without TLS's goodbye.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return End::Peer,
                    Err(error) => return End::Broken(error.to_string()),
                },
                () = sleep_until(until) => return late,
            };
            if !frames.is_amid() {
                begun = Instant::now();
            }
            frames.add(&chunk[..octets]);
            loop {
                let octets = match frames.take() {
                    Ok(Some(octets)) => octets,
                    Ok(None) => break,
                    Err(error) => return error.into(),
                };
                begun = Instant::now();
                let packet = match Packet::parse(octets) {
                    Ok(packet) => packet,
                    Err(error) => return End::Unbelievable(format!("malformed packet: {error}")),
                };
                if !packet.code().is_request() {
                    match self.answered(&packet) {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return End::Stopping };
                // It waited for us, and not we for it.
                begun = Instant::now();
                let replier = Replier::link(WayBack { link: Arc::clone(self), _place: Arc::new(place) });
                if let Err(end) = take(&packet, self, replier) {
                    return end;
                }
            }
        }
    }

    /// An answer came to one of our requests, or to none.
    fn answered(&self, packet: &Packet<'_>) -> Result<(), End> {
        let mut ours = self.ours();
        let identifier = packet.identifier();
        let Some(expected) = ours.expected.get(&identifier) else {
            // RFC 6613 §2.6.4: silently discarded, and the connection may stay.
            telemetry::count("radsec.unasked");
            return Ok(());
        };
        if let Err(error) = packet.verify_reply(SECRET.as_bytes(), &expected.authenticator) {
            return Err(End::Unbelievable(format!("an answer to request {identifier} is not: {error}")));
        }
        if let Some(expected) = ours.expected.remove(&identifier) {
            // Nobody waits any more: it was given up this very moment.
            let _ = expected.reply.send(packet.as_bytes().to_vec());
        }
        Ok(())
    }

    fn ours(&self) -> MutexGuard<'_, Ours> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits, several packets at once where there are.
async fn write_all<S: AsyncWrite>(
    stream: &mut WriteHalf<S>,
    waiting: &mut mpsc::Receiver<Vec<u8>>,
    patience: Duration,
) -> End {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = waiting.recv().await {
        batch.clear();
        batch.extend_from_slice(&first);
        while batch.len() < BATCH
            && let Ok(next) = waiting.try_recv()
        {
            batch.extend_from_slice(&next);
        }
        let written = async {
            stream.write_all(&batch).await?;
            stream.flush().await
        };
        match timeout(patience, written).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => return End::Broken(error.to_string()),
            Err(_) => return End::NotRead,
        }
    }
    End::Stopping
}

/// An Identifier in use; given back when dropped.
struct Flight<'a> {
    link: &'a Link,
    identifier: u8,
    answered: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let now = self.link.opened.elapsed();
        let mut ours = self.link.ours();
        ours.expected.remove(&self.identifier);
        ours.identifiers.settle(self.identifier, if self.answered { now } else { now + REST });
        drop(ours);
        self.link.settled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const NEVER: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(50);

    /// How a connection ends on which the peer does that.
    async fn end(limits: Limits, peer: impl AsyncFnOnce(&mut DuplexStream)) -> End {
        let certificate = rcgen::generate_simple_self_signed(vec![]).unwrap().cert;
        let certificate = Certificate::read(certificate.der()).unwrap();
        let (link, waiting) = Link::new(([192, 0, 2, 1], 1).into(), certificate, 0);
        let (ours, mut theirs) = duplex(CHUNK);
        let peer = async {
            peer(&mut theirs).await;
            // It hangs up with the test.
            std::future::pending().await
        };
        tokio::select! {
            end = link.run(ours, waiting, limits, Timestamp::from_secs(1_700_000_000), |_, _, _| Ok(())) => end,
            () = peer => unreachable!("it waits for ever"),
        }
    }

    /// The head of an Accounting-Request of 4096 octets.
    const HEAD: [u8; 4] = [4, 1, 0x10, 0];

    #[tokio::test]
    async fn a_packet_that_does_not_end_in_its_time_ends_the_connection() {
        let limits = Limits { packet_time: SHORT, ..Limits::new(NEVER, NEVER) };
        for first_octets in 1..=HEAD.len() {
            let stalls = async |wire: &mut DuplexStream| wire.write_all(&HEAD[..first_octets]).await.unwrap();
            assert_eq!(end(limits, stalls).await, End::Unfinished, "{first_octets}");
        }
        // Octets that drip in win no time: each comes soon, and the last of them is far away.
        let drips = async |wire: &mut DuplexStream| {
            wire.write_all(&HEAD).await.unwrap();
            loop {
                wire.write_all(&[0]).await.unwrap();
                sleep(SHORT / 10).await;
            }
        };
        assert_eq!(end(limits, drips).await, End::Unfinished);
        // Nor does one that has come as a whole before.
        let goes_on = async |wire: &mut DuplexStream| {
            wire.write_all(&[&[4, 1, 0, 20][..], &[0; 16], &HEAD].concat()).await.unwrap();
        };
        assert_eq!(end(limits, goes_on).await, End::Unfinished);
    }

    #[tokio::test]
    async fn silence_amid_a_packet_and_silence_between_two_are_different_ends() {
        let idle = Limits { idle: SHORT, packet_time: NEVER, write_patience: NEVER };
        let between =
            async |wire: &mut DuplexStream| wire.write_all(&[&[4, 1, 0, 20][..], &[0; 16]].concat()).await.unwrap();
        assert_eq!(end(idle, between).await, End::Idle);
        assert_eq!(end(idle, async |_| ()).await, End::Idle);
        let amid = async |wire: &mut DuplexStream| wire.write_all(&HEAD).await.unwrap();
        assert_eq!(end(Limits { packet_time: SHORT * 4, ..idle }, amid).await, End::Unfinished);
    }
}
