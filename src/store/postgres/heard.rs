//! What a channel brought that is not to be done twice.

use sqlx::PgConnection;

use super::columns::time;
use super::failure;
use crate::model::Timestamp;
use crate::store::{Heard, StoreError};

pub(super) async fn begin(
    connection: &mut PgConnection,
    channel: &str,
    number: i64,
    now: Timestamp,
) -> Result<Heard, StoreError> {
    let begun = sqlx::query(
        "INSERT INTO heard_updates (channel, number, at, done) VALUES ($1, $2, $3, false) ON CONFLICT (channel, number) DO NOTHING",
    )
    .bind(channel)
    .bind(number)
    .bind(time(now))
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    if begun.rows_affected() > 0 {
        return Ok(Heard::Never);
    }
    let done: Option<bool> = sqlx::query_scalar("SELECT done FROM heard_updates WHERE channel = $1 AND number = $2")
        .bind(channel)
        .bind(number)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(if done == Some(true) { Heard::Done } else { Heard::Begun })
}

pub(super) async fn finish(connection: &mut PgConnection, channel: &str, number: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE heard_updates SET done = true WHERE channel = $1 AND number = $2")
        .bind(channel)
        .bind(number)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM heard_updates WHERE at < $1")
        .bind(time(before))
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}
