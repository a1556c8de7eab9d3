//! The production store, and the only thing nodes share: any number of them against one PostgreSQL (14 or newer), or a
//! cluster that speaks its protocol and keeps its promises.
//!
//! Nodes are kept apart by row locks alone, taken in one order (see `commit.rs`); a deadlock or a failed serialization is
//! tried again here. Nothing is cached.

mod attempt;
mod binding;
mod columns;
mod commit;
mod decision;
mod nas;
mod outbox;
mod secret;
mod session;
mod usage;
mod user;

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use super::{AuthAttempt, Change, Committed, Named, Order, OrderId, SessionQuery, Store, StoreError, Usage};
use crate::model::{Binding, Nas, NasName, NodeName, Secret, SessionId, Timestamp, User, UserName};
use crate::session::{Lane, Session};

const CONNECTIONS: u32 = 10;
/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a statement may take, locks included. A node that is frozen amid a transaction is cut off after twice that,
/// so that it does not hold up the others for longer.
const STATEMENT: [(&str, &str); 2] = [("statement_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s")];

/// A store in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// The store at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Connects when first used, so that a node can start, and
    /// answer from what it has, while PostgreSQL is away. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::BadAddress`] when the address is not understood.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StoreError::BadAddress(format!("the address of PostgreSQL: {error}")))?
            .application_name("radhold");
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.options(STATEMENT));
        Ok(Self { pool })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        // A connection of its own: SQLx takes an advisory lock for the session, and waiting for it may outlast any limit.
        // If something fails, the lock goes with the connection.
        let options = (*self.pool.connect_options()).clone().options([("statement_timeout", "0")]);
        let mut connection = tokio::time::timeout(PATIENCE, options.connect())
            .await
            .map_err(|_| StoreError::Away("no connection in time".to_owned()))?
            .map_err(failure)?;
        migrations().run_direct(None, &mut connection, false).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => failure(error),
            other => StoreError::Migration(other.to_string()),
        })?;
        connection.close().await.map_err(failure)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let read_only: String = sqlx::query_scalar("SELECT current_setting('transaction_read_only')")
            .fetch_one(&self.pool)
            .await
            .map_err(failure)?;
        match read_only.as_str() {
            "off" => Ok(()),
            _ => Err(StoreError::Away("PostgreSQL is read-only: a standby?".to_owned())),
        }
    }

    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        user::find(&self.pool, name).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        user::all(&self.pool).await
    }

    async fn add_user(&self, user: &User) -> Result<(), StoreError> {
        user::add(&self.pool, user).await
    }

    async fn replace_user(&self, user: &User) -> Result<(), StoreError> {
        user::replace(&self.pool, user).await
    }

    async fn remove_user(&self, name: &UserName) -> Result<(), StoreError> {
        user::remove(&self.pool, name).await
    }

    async fn nases(&self) -> Result<Vec<Nas>, StoreError> {
        nas::all(&self.pool).await
    }

    async fn add_nas(&self, nas: &Nas) -> Result<(), StoreError> {
        nas::add(&self.pool, nas).await
    }

    async fn remove_nas(&self, name: &NasName) -> Result<(), StoreError> {
        nas::remove(&self.pool, name).await
    }

    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError> {
        binding::of(&self.pool, user).await
    }

    async fn bind(&self, binding: &Binding) -> Result<(), StoreError> {
        binding::put(&self.pool, binding).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), StoreError> {
        binding::remove(&self.pool, binding).await
    }

    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
        session::by_id(&self.pool, ids).await
    }

    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError> {
        session::named(&self.pool, names).await
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
        session::matching(&self.pool, query).await
    }

    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, StoreError> {
        session::due(&self.pool, now, limit).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        commit::commit(&self.pool, changes).await
    }

    async fn claim(
        &self,
        node: &NodeName,
        lane: Option<Lane>,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError> {
        outbox::claim(&self.pool, node, lane, now, lease, limit).await
    }

    async fn release(&self, node: &NodeName) -> Result<(), StoreError> {
        outbox::release(&self.pool, node).await
    }

    async fn finish(&self, order: OrderId) -> Result<(), StoreError> {
        outbox::strike_off(&self.pool, &[order]).await.map_err(failure)
    }

    async fn postpone(&self, order: OrderId, until: Timestamp, reason: &str) -> Result<(), StoreError> {
        outbox::postpone(&self.pool, order, until, reason).await
    }

    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError> {
        attempt::add(&self.pool, attempts).await
    }

    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
        attempt::latest(&self.pool, limit).await
    }

    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError> {
        usage::of(&self.pool, session).await
    }

    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
        secret::keep(&self.pool, name, candidate).await
    }
}

fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    // A newer node has been here: that its schema suits this one is the rule for writing migrations.
    migrations.set_ignore_missing(true);
    migrations
}

fn failure(error: sqlx::Error) -> StoreError {
    StoreError::of(&error, is_away)
}

/// SQLSTATEs that say: not here, or not now (PostgreSQL, appendix A).
fn is_away(error: &dyn DatabaseError) -> bool {
    let code = error.code();
    match code.as_deref().unwrap_or_default() {
        // query_canceled is what statement_timeout says; read_only_sql_transaction comes from a standby;
        // too_many_connections; idle_in_transaction_session_timeout; lock_not_available.
        "57014" | "25006" | "53300" | "25P03" | "55P03" => true,
        // connection_exception, transaction_rollback, and the server starting or stopping (57P01, 57P02, 57P03).
        other => other.starts_with("08") || other.starts_with("40") || other.starts_with("57P"),
    }
}
