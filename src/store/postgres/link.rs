//! The way to PostgreSQL: which of its hosts can be written, the pool of connections there, and a circuit breaker.
//!
//! While it stands open, calls fail at once. One probe at a time looks for a host that can be written, at first when
//! somebody first calls, and then after each call that failed because PostgreSQL was not there: it finds that nothing is the matter
//! (and idle connections older than the failure are not used again), or another host (and a new pool takes the old one's
//! place), or none (and the breaker opens, until one is found). Knows no statement of ours.
//!
//! A commit that waits for a standby goes on waiting at PostgreSQL when nobody here waits any more, and keeps its connection there. So
//! while one does, no other is begun: reading goes on, and `max_connections` is not used up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::address::{self, Address};
use super::failure;
use super::pool::Pool;
use crate::store::{Options, StoreError};
use crate::telemetry;

/// How long a host may take to say whether it can be written.
const PROBE: Duration = Duration::from_secs(2);
/// Between probes while no host will do: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Between looks whether commits still wait for a standby.
const STUCK: Duration = Duration::from_millis(500);
/// Before a commit that seems to wait for one is believed to.
const AGAIN: Duration = Duration::from_millis(100);
/// How long whoever gave a call up waits to be told why.
const WHY: Duration = Duration::from_secs(1);

/// The way to PostgreSQL.
#[derive(Debug)]
pub(super) struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: Address,
    direct: Address,
    options: Options,
    standing: watch::Sender<Standing>,
    probing: AtomicBool,
    held_back: AtomicBool,
    /// Commits wait for a standby.
    stuck: AtomicBool,
    /// Somebody who gave a call up asks why.
    asking: AtomicBool,
    pool: RwLock<Current>,
}

/// Whether calls go through.
#[derive(Debug, Clone)]
enum Standing {
    /// Nobody has looked yet.
    Unknown,
    /// They do.
    Closed,
    /// They do not, since then. `refused` when PostgreSQL was there from the start, and said no.
    Open { since: Instant, reason: String, refused: bool },
}

#[derive(Debug)]
struct Current {
    host: usize,
    pool: Pool,
}

impl Link {
    /// A link that has not looked yet. Must be called within a Tokio runtime.
    pub(super) fn new(url: &str, options: Options) -> Result<Self, StoreError> {
        let address = Address::parse(url, options.patience)?;
        let direct = match &options.direct_url {
            Some(url) => Address::parse(url, options.patience)?,
            None => address.clone(),
        };
        let current = Current::at(&address, 0, &options);
        let inner = Inner {
            address,
            direct,
            options,
            standing: watch::Sender::new(Standing::Unknown),
            probing: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            asking: AtomicBool::new(false),
            pool: RwLock::new(current),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Lets no call through, or does again.
    pub(super) fn hold_back(&self, held: bool) {
        self.inner.held_back.store(held, Ordering::Release);
    }

    /// The pool to make a call on.
    ///
    /// # Errors
    /// [`StoreError::Away`], at once, while the breaker is open.
    pub(super) async fn pool(&self) -> Result<Pool, StoreError> {
        if self.inner.held_back.load(Ordering::Acquire) {
            return Err(StoreError::Away("its schema has not been seen since the start".to_owned()));
        }
        let mut standing = self.inner.standing.subscribe();
        if matches!(*standing.borrow(), Standing::Unknown) {
            self.suspect();
            let looked = standing.wait_for(|standing| !matches!(standing, Standing::Unknown));
            if timeout(self.inner.options.patience, looked).await.is_err() {
                return Err(StoreError::Away("no connection in time".to_owned()));
            }
        }
        if let Standing::Open { reason, refused, .. } = &*standing.borrow() {
            telemetry::count("store.breaker-refused");
            let error = if *refused { StoreError::Refused } else { StoreError::Away };
            return Err(error(reason.clone()));
        }
        Ok(self.inner.current().pool.clone())
    }

    /// Carries a call out within the patience of this store, and looks after PostgreSQL when it was not there.
    pub(super) async fn watch<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let patience = self.inner.options.patience;
        let result = match timeout(patience, call).await {
            Ok(result) => result,
            Err(_) => {
                telemetry::count("store.timed-out");
                Err(StoreError::Away(format!("no answer within {patience:?}{}", self.what_it_left().await)))
            }
        };
        if matches!(result, Err(StoreError::Away(_))) {
            self.suspect();
        }
        result
    }

    /// What whoever gave a call up should know: a commit that waits for a standby goes on waiting, and is kept in the end.
    /// One asks at a time, on a connection of its own: those of the pool may all be lost, and who asks there takes them from whoever works.
    async fn what_it_left(&self) -> &'static str {
        if self.inner.asking.swap(true, Ordering::AcqRel) {
            return "";
        }
        let _asking = Asking(&self.inner.asking);
        let look = async {
            let mut connection = self.direct().await?;
            let found = are_stuck(&mut connection).await;
            let _ = connection.close().await;
            found
        };
        match timeout(WHY, look).await {
            Ok(Ok(true)) => {
                "; commits wait for a standby that is not there (synchronous_standby_names), and what was asked for may be one of them: \
                 then it is done already, shown when the standby is back, and a connection waits for that at PostgreSQL"
            }
            _ => "",
        }
    }

    /// # Errors
    /// [`StoreError::Away`], at once, while commits wait for a standby.
    pub(super) fn may_commit(&self) -> Result<(), StoreError> {
        if self.inner.stuck.load(Ordering::Acquire) {
            telemetry::count("store.commit-refused");
            return Err(stuck());
        }
        Ok(())
    }

    /// Looks whether commits wait for a standby.
    ///
    /// # Errors
    /// [`StoreError::Away`] when they do.
    pub(super) async fn look_for_stuck(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let found = are_stuck(connection).await?;
        note_stuck(&self.inner, found);
        if found { Err(stuck()) } else { Ok(()) }
    }

    /// Looks after PostgreSQL, unless somebody is at it.
    pub(super) fn suspect(&self) {
        if !self.inner.probing.swap(true, Ordering::AcqRel) {
            tokio::spawn(probe(Arc::downgrade(&self.inner)));
        }
    }

    /// A connection of its own to a host that can be written, past any pooler.
    pub(super) async fn direct(&self) -> Result<PgConnection, StoreError> {
        let first = if self.inner.options.direct_url.is_none() { self.inner.current().host } else { 0 };
        Ok(find_direct(&self.inner.direct, first).await?.1)
    }

    /// How a connection past any pooler is made: at the host in use, where that is known.
    pub(super) async fn direct_options(&self) -> Result<PgConnectOptions, StoreError> {
        let hosts = self.inner.direct.hosts();
        let host = match &self.inner.options.direct_url {
            // Known once somebody has looked.
            None => {
                self.pool().await?;
                self.inner.current().host
            }
            Some(_) if hosts.len() == 1 => 0,
            Some(_) => find_direct(&self.inner.direct, 0).await?.0,
        };
        Ok(hosts[host].clone())
    }
}

/// Gives the turn back however the asking ends.
struct Asking<'l>(&'l AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Inner {
    fn current(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn at(address: &Address, host: usize, options: &Options) -> Self {
        Self { host, pool: Pool::at(&address.hosts()[host], options) }
    }
}

/// Looks for a host that can be written until there is one, or nobody wants one any more.
async fn probe(link: Weak<Inner>) {
    let (mut pause, longest) = PAUSES;
    loop {
        let Some((address, options, before, in_use)) = link.upgrade().map(|link| {
            let in_use = link.current().host;
            (link.address.clone(), link.options.clone(), link.standing.borrow().clone(), in_use)
        }) else {
            return;
        };
        let found = find(&address, &options, in_use).await;
        let Some(link) = link.upgrade() else { return };
        match found {
            Ok((found, stuck)) => {
                note_stuck(&link, stuck);
                settle(&link, found, &before);
                return;
            }
            Err(error) => {
                let (reason, refused) = match error {
                    StoreError::Away(reason) => (reason, false),
                    // Wrong from the start, it is a mistake in the address; later on, it may pass.
                    other => (other.to_string(), matches!(before, Standing::Unknown)),
                };
                if !matches!(before, Standing::Open { .. }) {
                    telemetry::count("store.breaker-opened");
                    tracing::error!(reason, "PostgreSQL is away; calls fail at once until it is back");
                    link.standing.send_replace(Standing::Open { since: Instant::now(), reason, refused });
                }
            }
        }
        drop(link);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// A host was found, and the pool there with the connection that found it.
fn settle(link: &Inner, found: Current, before: &Standing) {
    let mut current = link.pool.write().unwrap_or_else(PoisonError::into_inner);
    let host = found.host;
    let moved = current.host != host;
    let other = if moved || !matches!(before, Standing::Closed) {
        std::mem::replace(&mut *current, found)
    } else {
        // Nothing is the matter. Calls under way go on where they are.
        current.pool.suspect();
        found
    };
    // Who waits for one of its connections learns that there is none; calls under way end by themselves.
    other.pool.close();
    drop(current);
    if moved {
        telemetry::count("store.host-changed");
        tracing::warn!(host = address::name(&link.address.hosts()[host]), "PostgreSQL is written at another host now");
    }
    if let Standing::Open { since, .. } = before {
        telemetry::count("store.breaker-closed");
        tracing::info!(away_s = since.elapsed().as_secs_f32(), "PostgreSQL is back");
    }
    link.probing.store(false, Ordering::Release);
    link.standing.send_replace(Standing::Closed);
}

/// The hosts with this one at the head: the one in use is most likely the one, and another that is dead costs time each time.
fn in_turn(address: &Address, first: usize) -> impl Iterator<Item = (usize, &PgConnectOptions)> {
    let hosts = || address.hosts().iter().enumerate();
    hosts().filter(move |(host, _)| *host == first).chain(hosts().filter(move |(host, _)| *host != first))
}

/// The first host that can be written, with a pool of which one connection stands, and whether commits wait there.
async fn find(address: &Address, options: &Options, first: usize) -> Result<(Current, bool), StoreError> {
    let mut reasons = Reasons::default();
    for (host, at) in in_turn(address, first) {
        let current = Current::at(address, host, options);
        let looked = async {
            let mut lent = current.pool.lend().await?;
            look(&mut lent, address.any()).await?;
            look_for_durability(&mut lent).await?;
            let stuck = are_stuck(&mut lent).await;
            lent.settle(&stuck);
            stuck
        };
        match timeout(PROBE, looked).await {
            Ok(Ok(stuck)) => return Ok((current, stuck)),
            looked => reasons.add(at, looked.map(|looked| looked.map(drop))),
        }
    }
    Err(reasons.error())
}

/// The first host that can be written, past any pool.
async fn find_direct(address: &Address, first: usize) -> Result<(usize, PgConnection), StoreError> {
    let mut reasons = Reasons::default();
    for (host, at) in in_turn(address, first) {
        let looked = async {
            let mut connection = at.connect().await.map_err(failure)?;
            look(&mut connection, address.any()).await?;
            Ok(connection)
        };
        match timeout(PROBE, looked).await {
            Ok(Ok(connection)) => return Ok((host, connection)),
            looked => reasons.add(at, looked.map(|looked| looked.map(drop))),
        }
    }
    Err(reasons.error())
}

/// Why no host will do.
#[derive(Default)]
struct Reasons {
    of_each: Vec<String>,
    away: bool,
}

impl Reasons {
    fn add(&mut self, host: &PgConnectOptions, looked: Result<Result<(), StoreError>, Elapsed>) {
        let reason = match looked {
            Err(_) => {
                self.away = true;
                format!("no answer within {PROBE:?}")
            }
            Ok(Err(StoreError::Away(reason))) => {
                self.away = true;
                reason
            }
            Ok(Err(StoreError::Refused(reason))) => reason,
            Ok(looked) => looked.err().map(|error| error.to_string()).unwrap_or_default(),
        };
        self.of_each.push(format!("{}: {reason}", address::name(host)));
    }

    /// Refused when all of them refuse.
    fn error(self) -> StoreError {
        let error = if self.away { StoreError::Away } else { StoreError::Refused };
        error(self.of_each.join("; "))
    }
}

/// Says so when what is committed here may be lost: we go on answering as if it were not.
async fn look_for_durability(connection: &mut PgConnection) -> Result<(), StoreError> {
    let off: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name",
    )
    .persistent(false)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    for setting in off {
        telemetry::count("store.not-durable");
        tracing::error!(
            setting,
            "PostgreSQL has this setting off: what was acknowledged is lost when its host crashes"
        );
    }
    Ok(())
}

/// Whether a commit of ours, of this node or another, has been waiting for a standby for longer than commits take. One that is given up
/// waits on: it hears neither that its client is gone nor `statement_timeout`, and to cancel it would show what no standby has.
async fn are_stuck(connection: &mut PgConnection) -> Result<bool, StoreError> {
    let waiting = waiting_commits(connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    // A statement without a transaction around it is seen to have begun long ago, and may have waited for something else until now.
    tokio::time::sleep(AGAIN).await;
    Ok(waiting_commits(connection).await?.iter().any(|commit| waiting.contains(commit)))
}

/// Backends that wait for a standby and have begun what they are at a while ago, and since when they are at it, in microseconds.
async fn waiting_commits(connection: &mut PgConnection) -> Result<Vec<(i32, i64)>, StoreError> {
    let found = sqlx::query_as(
        "SELECT pid, (extract(epoch FROM state_change) * 1000000)::bigint FROM pg_stat_activity
         WHERE usename = current_user AND datname = current_database() AND wait_event = 'SyncRep'
             AND state_change < now() - interval '1 second'",
    )
    .persistent(false)
    .fetch_all(connection)
    .await
    .map_err(failure);
    match found {
        Err(error @ StoreError::Away(_)) => Err(error),
        // What speaks PostgreSQL's protocol and does not know this has no such standbys.
        found => Ok(found.unwrap_or_default()),
    }
}

fn stuck() -> StoreError {
    StoreError::Away("commits wait for a standby that is not there (synchronous_standby_names)".to_owned())
}

/// Lets nothing more be committed while commits wait, and looks until they do not.
fn note_stuck(link: &Arc<Inner>, found: bool) {
    if link.stuck.swap(found, Ordering::AcqRel) || !found {
        return;
    }
    telemetry::count("store.stuck");
    tracing::error!("commits wait for a standby that is not there; nothing is written to PostgreSQL until they go on");
    let link = Arc::downgrade(link);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(STUCK).await;
            let Some(link) = link.upgrade() else { return };
            if !link.stuck.load(Ordering::Acquire) {
                return;
            }
            let pool = link.current().pool.clone();
            let looked = async {
                let mut lent = pool.lend().await?;
                let found = are_stuck(&mut lent).await;
                lent.settle(&found);
                found
            };
            if matches!(timeout(PROBE, looked).await, Ok(Ok(false))) {
                link.stuck.store(false, Ordering::Release);
                return;
            }
        }
    });
}

/// Whether what is at the other end can be written.
pub(super) async fn look(connection: &mut PgConnection, any: bool) -> Result<(), StoreError> {
    let read_only: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
            .persistent(false)
            .fetch_one(connection)
            .await
            .map_err(failure)?;
    if read_only && !any {
        return Err(StoreError::Away("it is read-only: a standby?".to_owned()));
    }
    Ok(())
}
