//! Restarts of NASes: the last of each, and what it ended.

use sqlx::PgConnection;

use super::columns::time;
use super::failure;
use crate::model::{NasName, Timestamp};
use crate::store::row::{self, Cells};
use crate::store::{Restart, StoreError, records};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT nas, nas_address, nas_ip_address, nas_identifier, restarted_at, by_nas_clock, noted_at FROM nas_restarts ",
            $rest
        )
    };
}

pub(super) async fn note(connection: &mut PgConnection, restart: &Restart) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nas_restarts (nas, device, nas_address, nas_ip_address, nas_identifier, restarted_at, by_nas_clock, noted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (nas, device) DO UPDATE
         SET (nas_address, nas_ip_address, nas_identifier, restarted_at, by_nas_clock, noted_at, seen_to) =
             (excluded.nas_address, excluded.nas_ip_address, excluded.nas_identifier, excluded.restarted_at,
              excluded.by_nas_clock, excluded.noted_at, false)
         WHERE nas_restarts.restarted_at < excluded.restarted_at",
    )
    .bind(row::text(restart.nas.as_str()))
    .bind(row::text(&restart.device()))
    .bind(restart.nas_address)
    .bind(restart.nas_ip_address)
    .bind(row::text_or_none(&restart.nas_identifier))
    .bind(time(restart.at))
    .bind(restart.by_nas_clock)
    .bind(time(restart.noted_at))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn since(
    connection: &mut PgConnection,
    nases: &[NasName],
    since: Timestamp,
) -> Result<Vec<Restart>, StoreError> {
    let names: Vec<_> = nases.iter().map(|nas| row::text(nas.as_str())).collect();
    let rows = sqlx::query(select!("WHERE nas = ANY ($1) AND restarted_at >= $2"))
        .bind(names)
        .bind(time(since))
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::restart(&Cells { table: "nas_restarts", row })).collect()
}

pub(super) async fn to_see_to(connection: &mut PgConnection, limit: u32) -> Result<Vec<Restart>, StoreError> {
    let rows = sqlx::query(select!("WHERE NOT seen_to ORDER BY noted_at LIMIT $1"))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::restart(&Cells { table: "nas_restarts", row })).collect()
}

pub(super) async fn seen_to(connection: &mut PgConnection, restart: &Restart) -> Result<(), StoreError> {
    // Not when it has restarted again meanwhile.
    sqlx::query("UPDATE nas_restarts SET seen_to = true WHERE nas = $1 AND device = $2 AND restarted_at = $3")
        .bind(row::text(restart.nas.as_str()))
        .bind(row::text(&restart.device()))
        .bind(time(restart.at))
        .execute(connection)
        .await
        .map_err(failure)?;
    Ok(())
}

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nas_restarts WHERE seen_to AND restarted_at < $1 AND noted_at < $1")
        .bind(time(before))
        .execute(connection)
        .await
        .map_err(failure)?;
    Ok(())
}
