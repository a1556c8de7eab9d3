//! Asks servers, one after the other, until one answers or pppd's patience is at its end.
//!
//! A server that was silent for a while is not given up: it goes on being asked beside the next one, and whoever answers first
//! is heard. Knows no port of pppd's.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::rewrite::{self, Homeward, Outward, RewriteError};
use super::{COMPLAINTS, Health, Machine};
use crate::config;
use crate::dynauth::Timers;
use crate::model::{Secret, Timestamp};
use crate::net::client::{Client, ClientError, Demand, answers};
use crate::net::radsec::{self, AskError, Dialer, End};
use crate::radius::hiding::Salt;
use crate::radius::{Code, Packet, PacketBuilder};
use crate::telemetry::{self, OncePerWindow};

/// Before a server whose port was closed is tried again: it may be starting.
const CLOSED_PAUSE: Duration = Duration::from_millis(300);

/// How long a server may take to answer a Status-Server.
const PROBE_TIMERS: Timers =
    Timers { irt: Duration::from_secs(1), mrc: 2, mrt: Duration::from_secs(2), mrd: Duration::from_secs(3) };

/// All servers, for one kind of request.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) code: Code,
    pub(super) machine: Machine,
    inner: Secret,
    nas_identifier: String,
    fail_over_after: Duration,
    patience: Duration,
    targets: Vec<Target>,
    health: Mutex<Health>,
    complaints: OncePerWindow<String>,
}

/// A request as it was sent, and its verified reply.
type Exchanged = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
struct Target {
    name: String,
    address: SocketAddr,
    secret: Secret,
    require_message_authenticator: bool,
    /// Its connection, when it is asked over TLS.
    dialer: Option<Arc<Dialer>>,
}

/// A server that was asked: when, by the wall's clock and by one that nobody sets.
struct Begun {
    server: usize,
    at: Timestamp,
    since: Instant,
}

/// What is heard of a server that was asked.
enum News {
    /// The reply, as pppd gets it.
    Reply(usize, Vec<u8>),
    /// Nobody listens there.
    Closed(usize),
}

impl Pool {
    pub(super) fn new(config: &config::Front, code: Code, machine: Machine, dialers: &[Option<Arc<Dialer>>]) -> Self {
        let targets: Vec<_> = config
            .servers
            .iter()
            .zip(dialers)
            .map(|(server, dialer)| Target {
                name: server.name.clone(),
                address: if code == Code::AccessRequest { server.auth } else { server.accounting },
                secret: server.secret.clone(),
                require_message_authenticator: server.require_message_authenticator,
                dialer: dialer.clone(),
            })
            .collect();
        Self {
            code,
            machine,
            inner: config.secret.clone(),
            nas_identifier: config.nas_identifier.clone(),
            fail_over_after: config.fail_over_after,
            patience: config.patience,
            health: Mutex::new(Health::new(targets.len())),
            complaints: OncePerWindow::new(COMPLAINTS, 64),
            targets,
        }
    }

    /// Each server, and whether it is believed to be there.
    pub(super) fn servers(&self) -> Vec<(String, bool)> {
        let health = self.health();
        self.targets.iter().enumerate().map(|(index, target)| (target.name.clone(), !health.is_silent(index))).collect()
    }

    /// The reply for pppd; `None` when no server gave one in time.
    pub(super) async fn ask(self: Arc<Self>, asked: Vec<u8>) -> Option<Vec<u8>> {
        let asked: Arc<[u8]> = asked.into();
        let deadline = Instant::now() + self.patience;
        // Dropped at the end, and with it whoever is still asking.
        let mut asking = JoinSet::new();
        let (tell, mut news) = mpsc::channel(self.targets.len().max(1));
        let mut rest = self.health().order().into_iter();
        let mut begun: Vec<Begun> = Vec::new();
        let mut begin_next = |begun: &mut Vec<Begun>| {
            let server = rest.next()?;
            begun.push(Begun { server, at: (self.machine.now)(), since: Instant::now() });
            asking.spawn(Arc::clone(&self).ask_one(server, Arc::clone(&asked), deadline, tell.clone()));
            Some(Instant::now() + self.fail_over_after)
        };
        let mut until = begin_next(&mut begun)?.min(deadline);
        loop {
            match timeout(until.saturating_duration_since(Instant::now()), news.recv()).await {
                Ok(Some(News::Reply(server, reply))) => {
                    self.heard(server);
                    return Some(reply);
                }
                Ok(Some(News::Closed(server))) => self.unanswered(begun.iter().filter(|begun| begun.server == server)),
                // The channel outlives this loop.
                Ok(None) | Err(_) => {
                    // Pppd's patience may end before that of the server asked last: nothing is known of it then.
                    self.unanswered(begun.iter().filter(|begun| begun.since.elapsed() >= self.fail_over_after));
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
            }
            until = begin_next(&mut begun).map_or(deadline, |next| next.min(deadline));
        }
    }

    /// Asks one server until it answers or time is up, and tells what comes of it.
    async fn ask_one(self: Arc<Self>, server: usize, asked: Arc<[u8]>, deadline: Instant, tell: mpsc::Sender<News>) {
        let mut closed = false;
        loop {
            match self.exchange(server, &asked, deadline).await {
                Ok(Some(reply)) => {
                    // Nobody listens any more when another was faster.
                    let _ = tell.send(News::Reply(server, reply)).await;
                    return;
                }
                Ok(None) if Instant::now() >= deadline => return,
                Ok(None) => {}
                Err(error) => tracing::debug!(server = self.targets[server].name, %error, "cannot ask"),
            }
            if !std::mem::replace(&mut closed, true) {
                let _ = tell.send(News::Closed(server)).await;
            }
            sleep(CLOSED_PAUSE).await;
        }
    }

    /// One request to one server. `None` when it cannot be reached, or time is up.
    async fn exchange(&self, server: usize, asked: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, ClientError> {
        let target = &self.targets[server];
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(asked) = Packet::parse(asked) else { return Ok(None) };
        if left.is_zero() {
            return Ok(None);
        }
        let chance = (self.machine.chance)();
        let proxy_state = &(self.machine.chance)()[..8];
        let outward = |identifier| Outward {
            inner: &self.inner,
            outer: &target.secret,
            identifier,
            authenticator: chance,
            nas_identifier: &self.nas_identifier,
            proxy_state,
        };
        let asking = match &target.dialer {
            Some(dialer) => self.ask_over_tls(dialer, &asked, left, outward).await,
            None => self.ask_by_udp(target, &asked, left, outward).await?,
        };
        let (request, reply) = match asking {
            Ok(Some(answered)) => answered,
            Ok(None) => return Ok(None),
            Err(error) => {
                telemetry::count(error.label());
                // Nothing will make it better before pppd gives up.
                sleep(left).await;
                return Ok(None);
            }
        };
        let Ok(reply) = Packet::parse(&reply) else { return Ok(None) };
        // RFC 2868 §3.5: every salt of a packet differs; a counter from a random place sees to it.
        let mut salt = u16::from_be_bytes([chance[0], chance[1]]);
        let salts = || {
            salt = salt.wrapping_add(1);
            Salt::new(salt.to_be_bytes())
        };
        // For an Accounting-Request it was computed, so it is read from the packet.
        let authenticator: &[u8; 16] = request[4..].first_chunk().expect("a packet has a header");
        let with = Homeward { inner: &self.inner, outer: &target.secret, authenticator, proxy_state };
        match rewrite::reply(&reply, &asked, &with, salts) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => {
                telemetry::count(error.label());
                tracing::warn!(server = target.name, %error, "a reply cannot be passed on");
                sleep(deadline.saturating_duration_since(Instant::now())).await;
                Ok(None)
            }
        }
    }

    /// The request as it was sent, and its reply: down the connection there is, or a new one.
    async fn ask_over_tls<'a>(
        &self,
        dialer: &Dialer,
        asked: &Packet<'_>,
        left: Duration,
        outward: impl Fn(u8) -> Outward<'a>,
    ) -> Result<Option<Exchanged>, RewriteError> {
        let link = match dialer.link().await {
            Ok(link) => link,
            Err(error) => {
                if let Some(kept_back) = self.complaints.first(error.to_string(), (self.machine.now)()) {
                    tracing::warn!(%error, kept_back, "a server cannot be asked");
                }
                return Ok(None);
            }
        };
        let (mut sent, mut unwritten) = (Vec::new(), None);
        let write = |identifier| match rewrite::request(asked, &outward(identifier)) {
            Ok(request) => {
                sent.clone_from(&request);
                Some(request)
            }
            Err(error) => {
                unwritten = Some(error);
                None
            }
        };
        let reply = link.ask(left, write).await;
        match (reply, unwritten) {
            (_, Some(error)) => Err(error),
            (Ok(Some(reply)), None) => {
                let answers = Packet::parse(&reply).is_ok_and(|reply| answers(asked.code(), reply.code()));
                Ok(answers.then_some((sent, reply)))
            }
            (Ok(None) | Err(AskError::Busy | AskError::Ended | AskError::Unwritten), None) => Ok(None),
        }
    }

    /// The request as it was sent, and its reply, over a socket of its own, so that Identifiers never run out and a forger must guess
    /// the port, too.
    async fn ask_by_udp<'a>(
        &self,
        target: &Target,
        asked: &Packet<'_>,
        left: Duration,
        outward: impl Fn(u8) -> Outward<'a>,
    ) -> Result<Result<Option<Exchanged>, RewriteError>, ClientError> {
        let request = match rewrite::request(asked, &outward((self.machine.chance)()[0])) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let demand = Demand {
            timers: Timers { irt: Duration::from_secs(1), mrc: 0, mrt: Duration::from_secs(2), mrd: left },
            message_authenticator: target.require_message_authenticator,
        };
        let client = Client::connect(target.address, None, target.secret.clone()).await?;
        let exchange = client.closed_port_ends().exchange(&request, &demand, || self.number()).await?;
        if exchange.ignored.unverified() > 0 {
            telemetry::count("front.reply-unverified");
            let ignored = exchange.ignored;
            tracing::warn!(server = target.name, ?ignored, "replies that cannot be trusted; is the secret right?");
        }
        Ok(Ok(exchange.reply.map(|reply| (request, reply.packet().as_bytes().to_vec()))))
    }

    /// Asks the silent whether they are back, and servers over TLS whether they are there (RFC 3539 §3.4), for ever: so the connection
    /// stands, and a server can demand something down it.
    ///
    pub(super) async fn probe_for_ever(self: Arc<Self>, every: Duration) {
        loop {
            let watched = |&server: &usize| {
                let over_tls = self.code == Code::AccessRequest && self.targets[server].dialer.is_some();
                over_tls || self.health().is_silent(server)
            };
            let silent: Vec<_> = (0..self.targets.len()).filter(watched).collect();
            let mut probes = JoinSet::new();
            for server in silent {
                let pool = Arc::clone(&self);
                probes.spawn(async move {
                    match pool.probe(server).await {
                        Ok(true) => pool.heard(server),
                        Ok(false) => {}
                        Err(error) => tracing::debug!(server = pool.targets[server].name, %error, "cannot probe"),
                    }
                });
            }
            while probes.join_next().await.is_some() {}
            sleep(every).await;
        }
    }

    async fn probe(&self, server: usize) -> io::Result<bool> {
        let target = &self.targets[server];
        if let Some(dialer) = &target.dialer {
            return self.probe_over_tls(dialer).await;
        }
        let mut builder =
            PacketBuilder::request(Code::StatusServer, (self.machine.chance)()[0], (self.machine.chance)());
        let request = builder.sign_request(target.secret.expose()).map_err(io::Error::other)?;
        let demand = Demand { timers: PROBE_TIMERS, message_authenticator: true };
        let mut client = Client::connect(target.address, None, target.secret.clone()).await?.closed_port_ends();
        let exchange = client.exchange(request, &demand, || self.number()).await.map_err(io::Error::other)?;
        Ok(exchange.reply.is_some())
    }

    async fn probe_over_tls(&self, dialer: &Dialer) -> io::Result<bool> {
        let link = dialer.link().await.map_err(io::Error::other)?;
        let authenticator = (self.machine.chance)();
        let write = |identifier| {
            let mut builder = PacketBuilder::request(Code::StatusServer, identifier, authenticator);
            builder.sign_request(radsec::SECRET.as_bytes()).ok().map(<[u8]>::to_vec)
        };
        let answered = link.ask(PROBE_TIMERS.mrd, write).await.map_err(io::Error::other)?.is_some();
        if !answered {
            // Whatever is at the other end, it is no server any more.
            link.end(End::Idle);
        }
        Ok(answered)
    }

    fn heard(&self, server: usize) {
        if self.health().heard(server, (self.machine.now)()) {
            tracing::info!(server = self.targets[server].name, port = %self.code, "the server answers again");
        }
    }

    fn unanswered<'a>(&self, asked: impl Iterator<Item = &'a Begun>) {
        let now = (self.machine.now)();
        for &Begun { server, at, .. } in asked {
            if self.health().unanswered(server, at, now) {
                tracing::warn!(server = self.targets[server].name, port = %self.code, "the server is silent");
            }
        }
    }

    fn number(&self) -> u32 {
        let [a, b, c, d, ..] = (self.machine.chance)();
        u32::from_be_bytes([a, b, c, d])
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
