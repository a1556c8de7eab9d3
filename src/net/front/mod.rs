//! The local RADIUS front: pppd asks it on loopback, it asks the servers.
//!
//! pppd's plugin signs no Access-Request, knows no second server worth the name, and gives sessions that begin in one second
//! the same Acct-Session-Id. The front makes that safe to carry across a network: each request leaves with a
//! Message-Authenticator, the NAS's name and an Acct-Session-Id of its own, under the server's secret; each reply is
//! verified and made anew under pppd's. A server that is silent is left for the next one, and asked by Status-Server
//! (RFC 5997) until it is back.
//!
//! Time and chance arrive as functions. Knows no session, no rule and no password: what it does not know passes unchanged.

mod ask;
mod health;
mod rewrite;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::radsec::{Credentials, Dialer, Limits, Peer, TakeRequest, TlsError};
use super::{Admission, Duplicates, Replier, RequestKey, bind, receive};
use crate::config;
use crate::model::{Secret, Timestamp};
use crate::radius::attribute::ACCT_SESSION_ID;
use crate::radius::{Code, Packet};
use crate::telemetry::{self, OncePerWindow};

use ask::Pool;
pub use health::Health;
pub use rewrite::{Homeward, Outward, RewriteError, admit, reply, request, session_id};

/// How long pppd's requests are remembered: longer than it repeats them.
const REPEATS: Duration = Duration::from_secs(30);

/// What they may take of memory for each port, in octets: some 16,000 replies.
const MOST_REPEATS: usize = 4 << 20;

/// How many requests may be in work for each port; each takes a socket or two. Beyond that new ones are dropped, and pppd asks
/// again.
const MOST_IN_WORK: usize = 4096;

/// The same complaint about the same peer at most so often.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Connections to servers: each is asked for a sign of life more often than that.
const TLS_LIMITS: Limits = Limits::new(Duration::from_secs(600), Duration::from_secs(10));

/// What the front may ask of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// The time.
    pub now: fn() -> Timestamp,
    /// Unpredictable octets.
    pub chance: fn() -> [u8; 16],
}

/// Is told of every Accounting-Request of pppd's, with the Acct-Session-Id the servers see instead of pppd's own. It must not
/// block.
pub type Observer = Arc<dyn Fn(&Packet<'_>, &str) + Send + Sync>;

/// Why the front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// A port is not to be had.
    #[error("cannot listen on {address}: {problem}")]
    Port {
        /// The port.
        address: SocketAddr,
        /// What the system says.
        #[source]
        problem: io::Error,
    },
    /// Certificate, key or roots cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running front. Dropping it stops it; pppd asks again.
#[derive(Debug)]
pub struct Front {
    auth: Vec<SocketAddr>,
    accounting: Vec<SocketAddr>,
    /// Servers believed silent are in these.
    pools: [Arc<Pool>; 2],
    _tasks: JoinSet<()>,
}

impl Front {
    /// Opens the ports and starts to pass on.
    ///
    /// # Errors
    /// [`FrontError`]
    pub fn start(config: &config::Front, machine: Machine, observer: Option<Observer>) -> Result<Self, FrontError> {
        // Nobody here obeys a server.
        let take = Arc::new(|_: &Packet<'_>, _: Replier| telemetry::count("front.code"));
        Self::start_with(config, machine, observer, take)
    }

    /// As [`Front::start`]; `obey` gets what servers demand down the TLS connections to them (reverse CoA).
    ///
    /// # Errors
    /// [`FrontError`]
    pub fn start_with(
        config: &config::Front,
        machine: Machine,
        observer: Option<Observer>,
        obey: TakeRequest,
    ) -> Result<Self, FrontError> {
        let mut tasks = JoinSet::new();
        let credentials = match &config.tls {
            // Servers have names, or fingerprints that are checked with the connection.
            Some(files) => Some(Arc::new(Credentials::load(files, Arc::new(|_| false))?)),
            None => None,
        };
        if let Some(credentials) = &credentials {
            tasks.spawn(Arc::clone(credentials).watch());
        }
        let dialers: Vec<_> = config
            .servers
            .iter()
            .map(|server| {
                let (radsec, credentials) = (server.radsec.clone()?, credentials.clone()?);
                let peer = Peer { host: radsec.host, port: radsec.port, ids: radsec.ids };
                Some(Arc::new(Dialer::new(peer, credentials, TLS_LIMITS, Arc::clone(&obey), machine.now)))
            })
            .collect();
        let pools = [Code::AccessRequest, Code::AccountingRequest]
            .map(|code| Arc::new(Pool::new(config, code, machine, &dialers)));
        let mut open = |pool: &Arc<Pool>, addresses: &[SocketAddr]| -> Result<Vec<SocketAddr>, FrontError> {
            let mut bound = Vec::new();
            for &address in addresses {
                let refused = |problem| FrontError::Port { address, problem };
                let socket = Arc::new(bind(address).map_err(refused)?);
                bound.push(socket.local_addr().map_err(refused)?);
                let door = Arc::new(Door::new(Arc::clone(pool), config.secret.clone(), observer.clone()));
                tasks.spawn(receive(socket, move |datagram, arrival| door.take(datagram, &arrival.replier())));
            }
            Ok(bound)
        };
        let auth = open(&pools[0], &config.auth)?;
        let accounting = open(&pools[1], &config.accounting)?;
        for pool in &pools {
            tasks.spawn(Arc::clone(pool).probe_for_ever(config.probe_every));
        }
        Ok(Self { auth, accounting, pools, _tasks: tasks })
    }

    /// The addresses that take Access-Requests.
    pub fn auth(&self) -> &[SocketAddr] {
        &self.auth
    }

    /// The addresses that take Accounting-Requests.
    pub fn accounting(&self) -> &[SocketAddr] {
        &self.accounting
    }

    /// Each server's name, and whether it is believed to be there on both of its ports.
    pub fn servers(&self) -> BTreeMap<String, bool> {
        let mut all = BTreeMap::new();
        for (name, there) in self.pools.iter().flat_map(|pool| pool.servers()) {
            *all.entry(name).or_insert(true) &= there;
        }
        all
    }
}

/// One port of pppd's: what comes in, and what was answered.
struct Door {
    pool: Arc<Pool>,
    secret: Secret,
    observer: Option<Observer>,
    duplicates: Mutex<Duplicates>,
    places: Arc<Semaphore>,
    complaints: OncePerWindow<(IpAddr, &'static str)>,
}

impl Door {
    fn new(pool: Arc<Pool>, secret: Secret, observer: Option<Observer>) -> Self {
        Self {
            pool,
            secret,
            observer,
            duplicates: Mutex::new(Duplicates::new(REPEATS, MOST_REPEATS)),
            places: Arc::new(Semaphore::new(MOST_IN_WORK)),
            complaints: OncePerWindow::new(COMPLAINTS, 64),
        }
    }

    fn take(self: &Arc<Self>, datagram: &[u8], replier: &Replier) {
        if let Err(label) = self.let_in(datagram, replier) {
            telemetry::count(label);
        }
    }

    /// Lets a request in to be passed on, or gives the label of its end.
    fn let_in(self: &Arc<Self>, datagram: &[u8], replier: &Replier) -> Result<(), &'static str> {
        let now = (self.pool.machine.now)();
        let packet = Packet::parse(datagram).map_err(|error| error.reason())?;
        let proven = match packet.code() {
            code if code == self.pool.code => admit(&packet, &self.secret),
            other => Err(RewriteError::Code(other)),
        };
        proven.map_err(|error| {
            let label = error.label();
            if let Some(kept_back) = self.complaints.first((replier.peer().ip(), label), now) {
                tracing::warn!(peer = %replier.peer(), %error, kept_back, "the front drops a request");
            }
            label
        })?;
        let key = RequestKey {
            source: replier.peer(),
            connection: replier.connection(),
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        match self.duplicates().admit(&key, now) {
            Admission::New => {}
            Admission::InWork => return Err("front.repeat-in-work"),
            Admission::Answered(reply) => {
                let (replier, reply) = (replier.clone(), reply.to_vec());
                tokio::spawn(async move { replier.send(&reply).await });
                return Err("front.repeat-answered");
            }
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.duplicates().forget(&key);
            return Err("front.overload");
        };
        if let (Some(observer), Some(original)) = (&self.observer, packet.first(ACCT_SESSION_ID)) {
            observer(&packet, &session_id(&packet, original));
        }
        let (door, replier, asked) = (Arc::clone(self), replier.clone(), packet.as_bytes().to_vec());
        tokio::spawn(async move {
            let _place = place;
            match Arc::clone(&door.pool).ask(asked).await {
                Some(reply) => {
                    door.duplicates().answered(&key, &reply);
                    telemetry::count("front.answered");
                    // One that cannot be sent is asked for again.
                    let _ = replier.send(&reply).await;
                }
                None => {
                    door.duplicates().forget(&key);
                    telemetry::count("front.unanswered");
                }
            }
        });
        Ok(())
    }

    fn duplicates(&self) -> MutexGuard<'_, Duplicates> {
        self.duplicates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
