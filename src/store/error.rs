//! What can go wrong with a store, and whose fault it is.

use sqlx::error::DatabaseError;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or not in time. Trying again later may help.
    #[error("the store is away: {0}")]
    Away(String),
    /// It is there and refuses: a constraint, a lack of rights, a full disk.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// There is one of that name already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no {0}")]
    Missing(String),
    /// A row makes no sense.
    #[error("{table}.{column} holds what makes no sense: {reason}")]
    BadRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(String),
    /// The address of the store is not understood.
    #[error("{0}")]
    BadAddress(String),
}

impl StoreError {
    /// What an engine's failure means; `is_away` tells which of its own errors say that it is not there, or not in time.
    pub(super) fn of(error: &sqlx::Error, is_away: impl FnOnce(&dyn DatabaseError) -> bool) -> Self {
        use sqlx::Error as E;
        let away = match error {
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => true,
            E::Database(error) => is_away(error.as_ref()),
            _ => false,
        };
        if away { Self::Away(error.to_string()) } else { Self::Refused(error.to_string()) }
    }
}
