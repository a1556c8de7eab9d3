//! The agent beside pppd: Dynamic Authorization Server (RFC 5176), sandbox in nftables, and the end of a pppd.
//!
//! Obeys servers and hooks, and enforces limits by itself when the server is gone. Knows no store, no user database, and
//! nothing of why a session is let through.

mod apply;
mod ban;
mod hook;
mod ipv4;
mod keeper;
mod moment;
mod notes;
mod radattr;
mod route;
mod session;
mod state;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

pub use apply::{NftError, PrivilegeError, RuleSettings, drop_privileges, ruleset};
pub use hook::{HookCall, HookEvent, Request, ask, call_hook};
pub use moment::Uptime;
pub use radattr::Radattr;

use crate::config::{self, Agent, AgentPeer};
use crate::dynauth::server::{Discard, Rules, reply, verify};
use crate::model::{Secret, Timestamp};
use crate::net::front::{Front, FrontError, Machine, Observer};
use crate::net::{Admission, Duplicates, Replier, RequestKey, bind, radsec, receive};
use crate::radius::{Packet, attribute};
use crate::telemetry::{OncePerWindow, count, tell_ready};
use keeper::{AccountingHeard, Keeper, Outcome};
use moment::Moment;

/// RFC 5176 §6.3.
const EVENT_WINDOW: Duration = Duration::from_secs(300);
/// How long replies are kept for repeats: longer than any client retransmits (RFC 5080 §2.2.1: MRD 30 s).
const DUPLICATES_WINDOW: Duration = Duration::from_secs(60);
/// What they may take of memory, in octets: some 16,000 replies.
const DUPLICATES_MOST: usize = 4 << 20;
/// How long requests with an Event-Timestamp are known by what they say, wherever they come from: longer than a recording may
/// be played, which is the window before and after.
const REPLAY_WINDOW: Duration = Duration::from_secs(601);
/// How exactly limits are kept.
const TICK: Duration = Duration::from_millis(250);
/// How often the host is compared with what we believe.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How long a socket that is in use is tried again at start.
const HANDOVER: Duration = Duration::from_secs(1);
/// Requests that may wait; a client that gets no answer asks again.
const QUEUE: usize = 1024;
/// Acct-Status-Type, RFC 2866 §5.1.
const START: u32 = 1;
const INTERIM_UPDATE: u32 = 3;
/// A line from a hook is small.
const LINE_MOST: u64 = 64 << 10;
const LINE_PATIENCE: Duration = Duration::from_secs(2);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A UDP port is not to be had.
    #[error("UDP {address} cannot be listened on: {problem}; see agent.listen")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        problem: io::Error,
    },
    /// The socket is not to be had.
    #[error("{path} cannot be listened on: {problem}; see agent.socket")]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// Rules.
    #[error("the sandbox cannot be put in force: {0}")]
    Nft(#[from] NftError),
    /// The front.
    #[error("the RADIUS front: {0}; see agent.front")]
    Front(#[from] FrontError),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
}

type Question = (Request, oneshot::Sender<serde_json::Value>);

/// Runs the agent until SIGTERM or SIGINT. The rules stay in force when it ends: who is permitted stays so, everybody else
/// stays in the sandbox. The front, when there is one, runs beside it. `since_boot` is how long the host runs, by a clock that
/// nobody sets: limits are kept by it.
///
/// # Errors
/// [`AgentError`] when it cannot start.
pub async fn run(
    config: Agent,
    front: Option<config::Front>,
    machine: Machine,
    since_boot: fn() -> Duration,
) -> Result<(), AgentError> {
    let now = || Moment { wall: (machine.now)(), up: Uptime::after_boot(since_boot()) };
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    let hooks = once_free(async || listen(&config.socket).await)
        .await
        .map_err(|problem| AgentError::Socket { path: config.socket.clone(), problem })?;
    let (datagrams, mut requests) = mpsc::channel(QUEUE);
    let mut bound = Vec::new();
    for &address in &config.listen {
        let socket =
            once_free(async || bind(address)).await.map_err(|problem| AgentError::Bind { address, problem })?;
        bound.push(socket.local_addr().map_err(|problem| AgentError::Bind { address, problem })?);
        let datagrams = datagrams.clone();
        tokio::spawn(receive(Arc::new(socket), move |octets, arrival| {
            // Full: the client asks again.
            let _ = datagrams.try_send((octets.to_vec(), arrival.replier()));
        }));
    }
    let over_tls = front.as_ref().is_some_and(|front| front.servers.iter().any(|server| server.radsec.is_some()));
    if config.peers.is_empty() && !over_tls {
        warn!("no [agent.peer.NAME] is configured: nobody can lift or end a session by RADIUS");
    }
    let mut door = Door::new(config.peers.clone());
    let mut keeper = Keeper::start(config, front.is_some(), now()).await?;
    // After the rules: who logs in through it is in the sandbox.
    let (started, mut heard) = mpsc::channel(QUEUE);
    let observer: Observer = Arc::new(move |packet, id| {
        if let Some(port) = port_that_lives(packet) {
            let class = packet.all(attribute::CLASS).last().map(<[u8]>::to_vec);
            let text = |kind| packet.text(kind).map(str::to_owned);
            let (user, calling) = (text(attribute::USER_NAME), text(attribute::CALLING_STATION_ID));
            // Full: an Interim-Update will say it again.
            let _ = started.try_send(AccountingHeard { port, id: id.to_owned(), class, user, calling });
        }
    });
    let shown_front = front.as_ref().map_or(serde_json::Value::Null, shown);
    // What a server demands down the connection of the front is as good as a datagram of a peer.
    let obey = Arc::new(move |packet: &Packet<'_>, replier: Replier| {
        // Full: the server orders again.
        let _ = datagrams.try_send((packet.as_bytes().to_vec(), replier));
    });
    let _front = front.map(|front| Front::start_with(&front, machine, Some(observer), obey)).transpose()?;
    let (questions, mut asked) = mpsc::channel(QUEUE);
    tokio::spawn(answer_socket(hooks, questions));
    let (lost, mut table_lost) = mpsc::channel(1);
    tokio::spawn(apply::watch(lost));
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look_around = interval(LOOK_AROUND);
    look_around.set_missed_tick_behavior(MissedTickBehavior::Delay);
    info!(listen = ?bound, "the agent is ready");
    tell_ready();
    loop {
        tokio::select! {
            // Without a table everything passes; limits are kept however many ask; and pppd waits for hooks.
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(()) = table_lost.recv() => keeper.mend_rules(now()).await,
            _ = tick.tick() => keeper.tick(now()).await,
            _ = look_around.tick() => keeper.look_around(now()).await,
            Some((request, reply)) = asked.recv() => {
                let is_status = matches!(request, Request::Status);
                let mut answer = keeper.ask(request, now()).await;
                if is_status {
                    answer["peers"] = door.peers();
                    answer["front"].clone_from(&shown_front);
                }
                // A client that has gone away wants no answer.
                let _ = reply.send(answer);
            }
            Some(heard) = heard.recv() => keeper.hear_of_accounting(heard),
            Some((octets, replier)) = requests.recv() => door.datagram(&octets, &replier, &mut keeper, now()).await,
        }
    }
    keeper.save_all();
    info!("the agent ends; the rules stay in force");
    Ok(())
}

/// Where the front listens, and whom it asks, for whoever asks the agent.
fn shown(front: &config::Front) -> serde_json::Value {
    let ports: Vec<_> = front.auth.iter().chain(&front.accounting).map(SocketAddr::to_string).collect();
    let servers = front.servers.iter().filter(|server| server.radsec.is_none());
    let servers = servers.flat_map(|server| [server.auth, server.accounting]);
    json!({"ports": ports, "servers": servers.map(|address| address.to_string()).collect::<Vec<_>>()})
}

/// The NAS-Port of a session that an Accounting-Request says is there; a Stop may come late, when the port is another's.
fn port_that_lives(packet: &Packet<'_>) -> Option<u32> {
    let number = |kind| Some(u32::from_be_bytes(packet.first(kind)?.try_into().ok()?));
    matches!(number(attribute::ACCT_STATUS_TYPE)?, START | INTERIM_UPDATE).then_some(())?;
    number(attribute::NAS_PORT)
}

/// Who may speak to us, and what they said before.
struct Door {
    peers: Vec<AgentPeer>,
    duplicates: Duplicates,
    replays: Replays,
    /// By peer, the clock of the last request that was made with its secret, less ours, in seconds.
    skews: BTreeMap<String, i64>,
    strangers: OncePerWindow<(IpAddr, String)>,
}

impl Door {
    fn new(peers: Vec<AgentPeer>) -> Self {
        Self {
            peers,
            duplicates: Duplicates::new(DUPLICATES_WINDOW, DUPLICATES_MOST),
            replays: Replays::default(),
            skews: BTreeMap::new(),
            strangers: OncePerWindow::new(Duration::from_secs(60), 256),
        }
    }

    /// Answers a datagram, or drops it.
    async fn datagram(&mut self, octets: &[u8], replier: &Replier, keeper: &mut Keeper, moment: Moment) {
        let now = moment.wall;
        let from = replier.peer();
        let network = |peer: &&AgentPeer| peer.network.contains(&from.ip().to_canonical());
        let peer = match replier.connection() {
            0 => self.peers.iter().filter(network).max_by_key(|peer| peer.network.prefix_len()).cloned(),
            // Proven by its certificate; TLS lets nobody play a recording.
            _ => Some(AgentPeer {
                name: "radsec".to_owned(),
                network: IpNet::from(from.ip()),
                secret: Secret::new(radsec::SECRET),
                require_message_authenticator: false,
                require_event_timestamp: false,
            }),
        };
        let Some(peer) = peer else {
            count("agent-request-stranger");
            return self.complain(from, "it is no [agent.peer.NAME]".to_owned(), now);
        };
        let packet = match Packet::parse(octets) {
            Ok(packet) => packet,
            Err(error) => {
                count("agent-request-malformed");
                return self.complain(from, error.to_string(), now);
            }
        };
        let rules = Rules {
            message_authenticator: peer.require_message_authenticator,
            event_timestamp: peer.require_event_timestamp,
            window: EVENT_WINDOW,
        };
        let request = match verify(packet, peer.secret.expose(), &rules, now) {
            Ok(request) => request,
            Err(why) => {
                if let Discard::Stale(skew) = why {
                    self.skews.insert(peer.name.clone(), skew);
                }
                count("agent-request-discarded");
                return self.complain(from, why.to_string(), now);
            }
        };
        if let Some(at) = request.packet().integer(attribute::EVENT_TIMESTAMP) {
            self.skews.insert(peer.name.clone(), i64::from(at) - now.as_secs());
        }
        // Without a time in it, the same octets may be a new request.
        let replay = packet.has(attribute::EVENT_TIMESTAMP).then(|| *packet.authenticator());
        if let Some(octets) = replay.as_ref().and_then(|key| self.replays.answered(key, now)) {
            count("agent-request-repeated");
            if let Err(error) = replier.send(&octets).await {
                warn!(peer = peer.name, %error, "a reply cannot be sent");
            }
            return;
        }
        let (connection, identifier) = (replier.connection(), packet.identifier());
        let key = RequestKey { source: from, connection, identifier, authenticator: *packet.authenticator() };
        let octets = match self.duplicates.admit(&key, now) {
            Admission::Answered(octets) => {
                count("agent-request-repeated");
                octets.into()
            }
            Admission::InWork => return,
            Admission::New => {
                let refused = match keeper.obey(&request, &peer.name, moment).await {
                    Outcome::Done => None,
                    Outcome::Refused(cause) => Some(cause),
                    Outcome::Overtaken => {
                        self.duplicates.forget(&key);
                        let why = "its Event-Timestamp is older than that of a request that was carried out";
                        return self.complain(from, why.to_owned(), now);
                    }
                };
                match reply(&request, refused, peer.secret.expose()) {
                    Ok(octets) => {
                        let octets: Arc<[u8]> = octets.into();
                        self.duplicates.answered(&key, &octets);
                        if let Some(key) = replay {
                            self.replays.keep(key, Arc::clone(&octets), now);
                        }
                        octets
                    }
                    Err(error) => {
                        warn!(peer = peer.name, %error, "the reply does not fit");
                        return self.duplicates.forget(&key);
                    }
                }
            }
        };
        if let Err(error) = replier.send(&octets).await {
            warn!(peer = peer.name, %error, "a reply cannot be sent");
        }
    }

    /// Who may speak to us, and how far their clocks are from ours.
    fn peers(&self) -> serde_json::Value {
        let peers = self.peers.iter();
        peers.map(|peer| json!({"name": peer.name, "clock_skew_seconds": self.skews.get(&peer.name)})).collect()
    }

    fn complain(&self, from: SocketAddr, why: String, now: Timestamp) {
        if let Some(kept_back) = self.strangers.first((from.ip(), why.clone()), now) {
            warn!(%from, why, kept_back, "a datagram was dropped");
        }
    }
}

/// A Request Authenticator, which is a digest of all the request says and of the secret (RFC 5176 §2.3). Whose request it is adds
/// nothing: peers may share a secret, and then a recording of one may be played from another's address.
type Said = [u8; 16];

/// Replies to requests that say when they were made: from another port or address, or after another request with their Identifier,
/// they are not carried out again.
#[derive(Default)]
struct Replays {
    replies: HashMap<Said, Arc<[u8]>>,
    order: VecDeque<(Timestamp, Said)>,
}

impl Replays {
    fn answered(&mut self, said: &Said, now: Timestamp) -> Option<Arc<[u8]>> {
        while self.order.len() >= DUPLICATES_MOST || self.order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, old)) = self.order.pop_front() {
                self.replies.remove(&old);
            }
        }
        self.replies.get(said).cloned()
    }

    fn keep(&mut self, said: Said, reply: Arc<[u8]>, now: Timestamp) {
        if self.replies.insert(said, reply).is_none() {
            self.order.push_back((now + REPLAY_WINDOW, said));
        }
    }
}

/// A process that a killed agent was about to execute has the agent's sockets for a moment after it: tried again, for
/// [`HANDOVER`] at most.
async fn once_free<T>(take: impl AsyncFn() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match take().await {
            Err(problem) if problem.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < HANDOVER => {
                tokio::time::sleep(HANDOVER / 20).await;
            }
            done => return done,
        }
    }
}

/// Root alone may speak to the agent. A socket that a killed agent left behind is taken over; one that is in use is not.
async fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent is there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer_socket(listener: UnixListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer_one(stream, questions).await {
                        warn!(%error, "a client of the socket was not answered");
                    }
                });
            }
            // Out of descriptors: some will be given back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn answer_one(stream: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE_MOST));
    timeout(LINE_PATIENCE, read.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (reply, answer) = oneshot::channel();
            questions.send((request, reply)).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            answer.await.map_err(|_| io::ErrorKind::BrokenPipe)?
        }
        Err(error) => json!({"error": error.to_string()}),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_known_for_as_long_as_its_time_lets_it_pass() {
        let (mut replays, at) = (Replays::default(), Timestamp::from_secs);
        let said = [7; 16];
        assert_eq!(replays.answered(&said, at(0)), None);
        replays.keep(said, Arc::from([1, 2]), at(0));
        assert_eq!(replays.answered(&said, at(600)), Some(Arc::from([1, 2])));
        assert_eq!(replays.answered(&[8; 16], at(600)), None);
        assert_eq!(replays.answered(&said, at(601)), None);
    }
}
