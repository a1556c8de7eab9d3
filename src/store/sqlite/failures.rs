//! Wrong passwords as all nodes counted them, and where people are known.

use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};

use super::failure;
use crate::model::Timestamp;
use crate::policy::{FailureCount, FailureKey};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, ban};

/// Counts read at once, at most: of more, the latest say enough.
const MOST: u32 = 100_000;
/// Counts forgotten at once.
const FORGOTTEN: u32 = 20_000;

pub(super) async fn add(
    mut tx: Transaction<'_, Sqlite>,
    counts: &[FailureCount],
    forgiven: &[FailureKey],
    forget: Duration,
    now: Timestamp,
) -> Result<(), StoreError> {
    for key in forgiven {
        sqlx::query("UPDATE login_failures SET failures = 0, changed_at = ?3 WHERE account = ?1 AND caller = ?2")
            .bind(row::text(&key.account))
            .bind(row::text(&key.caller))
            .bind(row::micros(now))
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
    }
    for count in counts {
        sqlx::query(
            "INSERT INTO login_failures (account, caller, failures, last_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, caller) DO UPDATE SET
                 failures = excluded.failures
                     + CASE WHEN excluded.last_at - login_failures.last_at >= ?6 THEN 0 ELSE login_failures.failures END,
                 last_at = max(login_failures.last_at, excluded.last_at),
                 changed_at = excluded.changed_at",
        )
        .bind(row::text(&count.key.account))
        .bind(row::text(&count.key.caller))
        .bind(count.failures)
        .bind(row::micros(count.last))
        .bind(row::micros(now))
        .bind(row::span(forget))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}

pub(super) async fn changed(pool: &SqlitePool, since: Timestamp) -> Result<Vec<FailureCount>, StoreError> {
    let rows = sqlx::query(
        "SELECT account, caller, failures, last_at FROM login_failures WHERE changed_at >= ?1
         ORDER BY changed_at DESC LIMIT ?2",
    )
    .bind(row::micros(since))
    .bind(MOST)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::failure_count(&Cells { table: "login_failures", row })).collect()
}

pub(super) async fn forget(mut tx: Transaction<'_, Sqlite>, before: Timestamp) -> Result<bool, StoreError> {
    let forgotten = sqlx::query(
        "DELETE FROM login_failures WHERE rowid IN (
             SELECT rowid FROM login_failures WHERE last_at < ?1 AND changed_at < ?1 ORDER BY changed_at LIMIT ?2
         )",
    )
    .bind(row::micros(before))
    .bind(FORGOTTEN)
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    tx.commit().await.map_err(failure)?;
    Ok(forgotten.rows_affected() >= u64::from(FORGOTTEN))
}

pub(super) async fn known_places(
    pool: &SqlitePool,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<(FailureKey, Timestamp)>, StoreError> {
    let rows = sqlx::query(
        "SELECT user_name, calling_station_id, max(permitted_at) AS at FROM sessions
         WHERE permitted_at >= ?1 AND calling_station_id IS NOT NULL
         GROUP BY user_name, calling_station_id ORDER BY at DESC LIMIT ?2",
    )
    .bind(row::micros(since))
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().filter_map(|row| ban::place(&Cells { table: "sessions", row }).transpose()).collect()
}
