//! Strikes: kept with the end of their hold, once.

use std::time::Duration;

use sqlx::{SqliteExecutor, SqlitePool};

use super::failure;
use crate::model::{SessionId, Timestamp};
use crate::policy::Strike;
use crate::store::row::{self, Cells};
use crate::store::{StoreError, ban};

/// Strikes looked at, at most: of more, the latest say enough.
const MOST: u32 = 20_000;

pub(super) async fn add(executor: impl SqliteExecutor<'_>, strike: &Strike) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO strikes (session_id, at, user_name, nas, caller, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (session_id) DO NOTHING",
    )
    .bind(strike.session.to_string())
    .bind(row::micros(strike.at))
    .bind(row::text(strike.user.as_str()))
    .bind(row::text(strike.nas.as_str()))
    .bind(strike.caller.as_ref().map(|caller| row::text(&caller.to_string()).into_owned()))
    .bind(strike.why.as_str())
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn since(pool: &SqlitePool, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, at, user_name, nas, caller, why FROM strikes WHERE at >= ?1
         ORDER BY at DESC, session_id DESC LIMIT ?2",
    )
    .bind(row::micros(since))
    .bind(MOST)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().rev().map(|row| ban::strike(&Cells { table: "strikes", row })).collect()
}

/// Takes denied logins of which administrators are to be told.
pub(super) async fn claim_notices(
    pool: &SqlitePool,
    since: Timestamp,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Strike>, StoreError> {
    let rows = sqlx::query(
        "UPDATE strikes SET claimed_until = ?3
         WHERE session_id IN (
             SELECT session_id FROM strikes
             WHERE told = 0 AND why = 'denied' AND at >= ?1 AND (claimed_until IS NULL OR claimed_until <= ?2)
             ORDER BY at, session_id LIMIT ?4
         )
         RETURNING session_id, at, user_name, nas, caller, why",
    )
    .bind(row::micros(since))
    .bind(row::micros(now))
    .bind(row::micros(now + lease))
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::strike(&Cells { table: "strikes", row })).collect()
}

/// Administrators know of it.
pub(super) async fn told(pool: &SqlitePool, session: SessionId) -> Result<(), StoreError> {
    sqlx::query("UPDATE strikes SET told = 1, claimed_until = NULL WHERE session_id = ?1")
        .bind(session.to_string())
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}
