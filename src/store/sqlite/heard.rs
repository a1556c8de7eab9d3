//! What a channel brought that is not to be done twice.

use sqlx::SqlitePool;

use super::failure;
use crate::model::Timestamp;
use crate::store::{Heard, StoreError, row};

pub(super) async fn begin(pool: &SqlitePool, channel: &str, number: i64, now: Timestamp) -> Result<Heard, StoreError> {
    let begun = sqlx::query(
        "INSERT INTO heard_updates (channel, number, at, done) VALUES (?1, ?2, ?3, 0) ON CONFLICT (channel, number) DO NOTHING",
    )
    .bind(channel)
    .bind(number)
    .bind(row::micros(now))
    .execute(pool)
    .await
    .map_err(failure)?;
    if begun.rows_affected() > 0 {
        return Ok(Heard::Never);
    }
    let done: Option<bool> = sqlx::query_scalar("SELECT done FROM heard_updates WHERE channel = ?1 AND number = ?2")
        .bind(channel)
        .bind(number)
        .fetch_optional(pool)
        .await
        .map_err(failure)?;
    Ok(if done == Some(true) { Heard::Done } else { Heard::Begun })
}

pub(super) async fn finish(pool: &SqlitePool, channel: &str, number: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE heard_updates SET done = 1 WHERE channel = ?1 AND number = ?2")
        .bind(channel)
        .bind(number)
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}

pub(super) async fn forget(pool: &SqlitePool, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM heard_updates WHERE at < ?1")
        .bind(row::micros(before))
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}
