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

use super::rewrite::{self, Homeward, Outward};
use super::{Health, Machine};
use crate::config;
use crate::dynauth::Timers;
use crate::model::{Secret, Timestamp};
use crate::net::client::{Client, ClientError, Demand};
use crate::radius::hiding::Salt;
use crate::radius::{Code, Packet, PacketBuilder};
use crate::telemetry;

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
}

#[derive(Debug)]
struct Target {
    name: String,
    address: SocketAddr,
    secret: Secret,
    require_message_authenticator: bool,
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
    pub(super) fn new(config: &config::Front, code: Code, machine: Machine) -> Self {
        let targets: Vec<_> = config
            .servers
            .iter()
            .map(|server| Target {
                name: server.name.clone(),
                address: if code == Code::AccessRequest { server.auth } else { server.accounting },
                secret: server.secret.clone(),
                require_message_authenticator: server.require_message_authenticator,
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

    /// One request over one socket of its own, so that Identifiers never run out and a forger must guess the port, too.
    /// `None` when the port is closed, or time is up.
    async fn exchange(&self, server: usize, asked: &[u8], deadline: Instant) -> Result<Option<Vec<u8>>, ClientError> {
        let target = &self.targets[server];
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(asked) = Packet::parse(asked) else { return Ok(None) };
        if left.is_zero() {
            return Ok(None);
        }
        let chance = (self.machine.chance)();
        let proxy_state = &(self.machine.chance)()[..8];
        let with = Outward {
            inner: &self.inner,
            outer: &target.secret,
            identifier: (self.machine.chance)()[0],
            authenticator: chance,
            nas_identifier: &self.nas_identifier,
            proxy_state,
        };
        let request = match rewrite::request(&asked, &with) {
            Ok(request) => request,
            Err(error) => {
                telemetry::count(error.label());
                // Nothing will make it better before pppd gives up.
                sleep(left).await;
                return Ok(None);
            }
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
        let Some(reply) = exchange.reply else { return Ok(None) };
        // RFC 2868 §3.5: every salt of a packet differs; a counter from a random place sees to it.
        let mut salt = u16::from_be_bytes([chance[0], chance[1]]);
        let salts = || {
            salt = salt.wrapping_add(1);
            Salt::new(salt.to_be_bytes())
        };
        // For an Accounting-Request it was computed, so it is read from the packet.
        let authenticator: &[u8; 16] = request[4..].first_chunk().expect("a packet has a header");
        let with = Homeward { inner: &self.inner, outer: &target.secret, authenticator, proxy_state };
        match rewrite::reply(&reply.packet(), &asked, &with, salts) {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => {
                telemetry::count(error.label());
                tracing::warn!(server = target.name, %error, "a reply cannot be passed on");
                sleep(deadline.saturating_duration_since(Instant::now())).await;
                Ok(None)
            }
        }
    }

    /// Asks the silent whether they are back, for ever.
    pub(super) async fn probe_for_ever(self: Arc<Self>, every: Duration) {
        loop {
            sleep(every).await;
            let silent: Vec<_> = (0..self.targets.len()).filter(|&server| self.health().is_silent(server)).collect();
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
        }
    }

    async fn probe(&self, server: usize) -> io::Result<bool> {
        let target = &self.targets[server];
        let mut builder =
            PacketBuilder::request(Code::StatusServer, (self.machine.chance)()[0], (self.machine.chance)());
        let request = builder.sign_request(target.secret.expose()).map_err(io::Error::other)?;
        let demand = Demand { timers: PROBE_TIMERS, message_authenticator: true };
        let mut client = Client::connect(target.address, None, target.secret.clone()).await?.closed_port_ends();
        let exchange = client.exchange(request, &demand, || self.number()).await.map_err(io::Error::other)?;
        Ok(exchange.reply.is_some())
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
