//! Authentication attempts.

use sqlx::{SqliteExecutor, SqlitePool};

use super::failure;
use crate::store::row::{self, Cells};
use crate::store::{AuthAttempt, StoreError, records};

pub(super) async fn add(executor: impl SqliteExecutor<'_>, attempt: &AuthAttempt) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO auth_attempts (at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(row::micros(attempt.at))
    .bind(row::text(&attempt.user))
    .bind(row::text(attempt.nas.as_str()))
    .bind(attempt.nas_address.to_string())
    .bind(row::text_or_none(&attempt.calling_station_id))
    .bind(row::text(&attempt.method))
    .bind(row::text(&attempt.outcome))
    .bind(attempt.session.map(|session| session.to_string()))
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn latest(pool: &SqlitePool, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
    let rows = sqlx::query(
        "SELECT at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id
         FROM auth_attempts ORDER BY at DESC, id DESC LIMIT ?1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::attempt(&Cells { table: "auth_attempts", row })).collect()
}
