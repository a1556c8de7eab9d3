//! Connections to one host, lent to one call at a time.
//!
//! A call that ends gives its connection back as it is. One that was given up, or failed, leaves its connection to somebody who waits
//! until PostgreSQL is through with it: meanwhile its place stays taken, so that what nobody waits for any more does not pile up at
//! PostgreSQL; and as nothing comes where the network has lost it, not for long. Knows no statement of ours.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{
    self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::failure;
use crate::store::{Options, StoreError};

/// A connection that was not used for longer is asked for a sign of life first.
const FRESH: Duration = Duration::from_secs(1);
/// How long it may take to give one.
const SIGN: Duration = Duration::from_millis(500);
/// After that a connection is replaced by another: what a session has gathered at PostgreSQL goes with it.
const LIFE: Duration = Duration::from_secs(1800);
/// One that was not used for so long is closed, and how often it is looked for such.
const IDLE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_secs(60);
/// Ends whatever transaction there is. A call that is given up while its BEGIN is under way leaves one that SQLx knows nothing of; of one that
/// has failed already this fails too. Where there is none it leaves no trace: ROLLBACK alone would be warned of in PostgreSQL's log.
const CLEAR: &str = "BEGIN; ROLLBACK";
/// Between tries to connect to a PostgreSQL that has no room at the moment: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// Connections to one host.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    connections: managed::Pool<Maker>,
    patience: Duration,
    /// When it was last looked for idle ones.
    looked_at: Arc<Mutex<Instant>>,
}

/// A connection while it is lent.
#[derive(Debug)]
pub(super) struct Lent {
    /// Until it is given back.
    connection: Option<Object<Maker>>,
    /// Nothing is to come on it any more.
    is_done: bool,
    patience: Duration,
}

/// How connections are made and looked at.
struct Maker {
    host: PgConnectOptions,
    /// Idle connections from before this are not used again.
    suspect: Arc<RwLock<Option<Instant>>>,
}

impl Pool {
    /// A pool that connects when first asked.
    pub(super) fn at(host: &PgConnectOptions, options: &Options) -> Self {
        let maker = Maker { host: host.clone(), suspect: Arc::default() };
        let patience = options.patience;
        let connections = managed::Pool::builder(maker)
            .max_size(options.connections as usize)
            .timeouts(Timeouts { wait: Some(patience), create: Some(patience), recycle: Some(patience) })
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a runtime is given for what waits");
        Self { connections, patience, looked_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Lends a connection, one that is idle or a new one, or waits for one.
    ///
    /// # Errors
    /// [`StoreError::Away`] when there is none in time; what PostgreSQL said when it was asked for a new one.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        self.close_idle();
        let connection = self.connections.get().await.map_err(|error| match error {
            PoolError::Backend(error) => failure(error),
            PoolError::Timeout(TimeoutType::Wait) => {
                StoreError::Away(format!("no connection of the pool was free within {:?}", self.patience))
            }
            PoolError::Timeout(_) => StoreError::Away(format!("no connection within {:?}", self.patience)),
            other => StoreError::Away(other.to_string()),
        })?;
        Ok(Lent { connection: Some(connection), is_done: false, patience: self.patience })
    }

    /// Has connections that are idle now replaced by others when they are wanted.
    pub(super) fn suspect(&self) {
        self.connections.manager().suspect();
    }

    /// Closes what a busy hour has left: what was used last is lent first, so that the others would stay for ever.
    fn close_idle(&self) {
        let Ok(mut looked_at) = self.looked_at.try_lock() else { return };
        if looked_at.elapsed() >= LOOK {
            *looked_at = Instant::now();
            drop(self.connections.retain(|_, metrics| metrics.last_used() < IDLE && metrics.age() < LIFE));
        }
    }

    /// Lends no more. Those that are lent are closed when they are given back.
    pub(super) fn close(&self) {
        self.connections.close();
    }
}

impl Lent {
    /// The call has ended so.
    pub(super) fn settle<T, E>(&mut self, result: &Result<T, E>) {
        // What a transaction leaves when it is dropped is sent with whatever comes next on the connection.
        self.is_done = result.is_ok()
            && self
                .connection
                .as_ref()
                .is_some_and(|connection| !connection.is_in_transaction() && !connection.should_flush());
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is lent until it is dropped")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is lent until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take().filter(|_| !self.is_done) else { return };
        let longest = self.patience + FRESH;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(Object::take(connection));
            return;
        };
        runtime.spawn(async move {
            if !matches!(timeout(longest, sqlx::raw_sql(CLEAR).execute(&mut *connection)).await, Ok(Ok(_))) {
                // Closed rather than given back.
                drop(Object::take(connection));
            }
        });
    }
}

impl Maker {
    fn suspect(&self) {
        *self.suspect.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl managed::Manager for Maker {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let mut pause = PAUSES.0;
        let mut connection = loop {
            match self.host.connect().await {
                Err(sqlx::Error::Database(error)) if has_no_room(error.as_ref()) => (),
                connected => break connected?,
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        };
        // A role or database may have it off, and then we would answer before anything is durable. What waits for standbys too stays as
        // it is.
        sqlx::query(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
        )
        .persistent(false)
        .execute(&mut connection)
        .await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        let suspect = *self.suspect.read().unwrap_or_else(PoisonError::into_inner);
        if suspect.is_some_and(|suspect| suspect.elapsed() < metrics.age()) || metrics.age() > LIFE {
            return Err(RecycleError::message("it is too old"));
        }
        if metrics.last_used() >= FRESH && !matches!(timeout(SIGN, connection.ping()).await, Ok(Ok(()))) {
            // One that is lost says the same of the others, and nobody should wait for each of them in turn.
            self.suspect();
            return Err(RecycleError::message("it gives no sign of life"));
        }
        Ok(())
    }
}

/// `too_many_connections`: those that were given up a moment ago may be there still.
fn has_no_room(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "53300")
}

// Written out because the options hold the password.
impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::address::name(&self.host))
    }
}
