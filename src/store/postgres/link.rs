//! The way to PostgreSQL: which of its hosts can be written, the pool of connections there, and a circuit breaker.
//!
//! While it stands open, calls fail at once. One probe at a time looks for a host that can be written, at first when
//! somebody first calls, and then after each call that failed because PostgreSQL was not there: it finds that nothing is the matter
//! (and idle connections older than the failure are not used again), or another host (and a new pool takes the old one's
//! place), or none (and the breaker opens, until one is found). Knows no statement of ours.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::{self, Address};
use super::failure;
use crate::store::{Options, StoreError};
use crate::telemetry;

/// How long a host may take to say whether it can be written.
const PROBE: Duration = Duration::from_secs(2);
/// Between probes while no host will do: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A connection that lay idle for longer is asked for a sign of life before it is used.
const FRESH: Duration = Duration::from_secs(1);

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
    pool: PgPool,
    /// Idle connections from before this are not used again.
    suspect: Arc<RwLock<Option<Instant>>>,
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
            pool: RwLock::new(current),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The pool to make a call on.
    ///
    /// # Errors
    /// [`StoreError::Away`], at once, while the breaker is open.
    pub(super) async fn pool(&self) -> Result<PgPool, StoreError> {
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
        let result = timeout(patience, call).await.unwrap_or_else(|_| {
            telemetry::count("store.timed-out");
            Err(StoreError::Away(format!("no answer within {patience:?}")))
        });
        if matches!(result, Err(StoreError::Away(_))) {
            self.suspect();
        }
        result
    }

    /// Looks after PostgreSQL, unless somebody is at it.
    pub(super) fn suspect(&self) {
        if !self.inner.probing.swap(true, Ordering::AcqRel) {
            tokio::spawn(probe(Arc::downgrade(&self.inner)));
        }
    }

    /// A connection of its own to a host that can be written, past any pooler, and how it was made.
    pub(super) async fn direct(&self) -> Result<(PgConnection, PgConnectOptions), StoreError> {
        let (host, connection) = find(&self.inner.direct).await?;
        Ok((connection, self.inner.direct.hosts()[host].clone()))
    }

    /// How long a call may take.
    pub(super) fn patience(&self) -> Duration {
        self.inner.options.patience
    }
}

impl Inner {
    fn current(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn at(address: &Address, host: usize, options: &Options) -> Self {
        let suspect = Arc::new(RwLock::new(None::<Instant>));
        let since = Arc::clone(&suspect);
        let pool = PgPoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.patience)
            // Not for each call a round trip: only where it may be needed.
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let suspect = *since.read().unwrap_or_else(PoisonError::into_inner);
                let too_old = suspect.is_some_and(|suspect| suspect.elapsed() < meta.age);
                Box::pin(async move {
                    Ok(!too_old
                        && (meta.idle_for < FRESH || matches!(timeout(FRESH, connection.ping()).await, Ok(Ok(())))))
                })
            })
            .connect_lazy_with(address.hosts()[host].clone());
        Self { host, pool, suspect }
    }
}

/// Looks for a host that can be written until there is one, or nobody wants one any more.
async fn probe(link: Weak<Inner>) {
    let (mut pause, longest) = PAUSES;
    loop {
        let Some(address) = link.upgrade().map(|link| link.address.clone()) else { return };
        let found = find(&address).await;
        let Some(link) = link.upgrade() else { return };
        let before = link.standing.borrow().clone();
        match found {
            Ok((host, connection)) => {
                // Unclosed, it would end all the same; its goodbye is a courtesy.
                drop(connection.close().await);
                settle(&link, host, &before);
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

/// A host was found.
fn settle(link: &Inner, host: usize, before: &Standing) {
    let mut current = link.pool.write().unwrap_or_else(PoisonError::into_inner);
    let moved = current.host != host;
    if moved || matches!(before, Standing::Open { .. }) {
        let old = std::mem::replace(&mut *current, Current::at(&link.address, host, &link.options));
        // Who waits for one of its connections learns that there is none; calls under way end by themselves.
        tokio::spawn(async move { old.pool.close().await });
    } else {
        *current.suspect.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
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

/// The first host that can be written, and a connection to it. Refused when all of them refuse.
async fn find(address: &Address) -> Result<(usize, PgConnection), StoreError> {
    let mut reasons = Vec::new();
    let mut refused = true;
    for (place, host) in address.hosts().iter().enumerate() {
        let looked = timeout(PROBE, look(host, address.any())).await;
        let reason = match looked.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {PROBE:?}")))) {
            Ok(connection) => return Ok((place, connection)),
            Err(StoreError::Refused(reason)) => reason,
            Err(StoreError::Away(reason)) => {
                refused = false;
                reason
            }
            Err(other) => other.to_string(),
        };
        reasons.push(format!("{}: {reason}", address::name(host)));
    }
    let error = if refused { StoreError::Refused } else { StoreError::Away };
    Err(error(reasons.join("; ")))
}

async fn look(host: &PgConnectOptions, any: bool) -> Result<PgConnection, StoreError> {
    let mut connection = host.connect().await.map_err(failure)?;
    let read_only: bool =
        sqlx::query_scalar("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
            .persistent(false)
            .fetch_one(&mut connection)
            .await
            .map_err(failure)?;
    if read_only && !any {
        return Err(StoreError::Away("it is read-only: a standby?".to_owned()));
    }
    Ok(connection)
}
