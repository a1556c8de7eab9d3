//! Restarts of NASes: the last of each, and what it ended.

use sqlx::SqlitePool;

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

pub(super) async fn note(pool: &SqlitePool, restart: &Restart) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO nas_restarts (nas, device, nas_address, nas_ip_address, nas_identifier, restarted_at, by_nas_clock, noted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (nas, device) DO UPDATE
         SET (nas_address, nas_ip_address, nas_identifier, restarted_at, by_nas_clock, noted_at, seen_to) =
             (excluded.nas_address, excluded.nas_ip_address, excluded.nas_identifier, excluded.restarted_at,
              excluded.by_nas_clock, excluded.noted_at, false)
         WHERE nas_restarts.restarted_at < excluded.restarted_at",
    )
    .bind(row::text(restart.nas.as_str()))
    .bind(row::text(&restart.device()))
    .bind(restart.nas_address.to_string())
    .bind(restart.nas_ip_address.map(|address| address.to_string()))
    .bind(row::text_or_none(&restart.nas_identifier))
    .bind(row::micros(restart.at))
    .bind(restart.by_nas_clock)
    .bind(row::micros(restart.noted_at))
    .execute(pool)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn since(pool: &SqlitePool, nases: &[NasName], since: Timestamp) -> Result<Vec<Restart>, StoreError> {
    let names: Vec<_> = nases.iter().map(|nas| row::text(nas.as_str())).collect();
    let rows = sqlx::query(select!("WHERE nas IN (SELECT value FROM json_each(?1)) AND restarted_at >= ?2"))
        .bind(row::json(&names))
        .bind(row::micros(since))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::restart(&Cells { table: "nas_restarts", row })).collect()
}

pub(super) async fn to_see_to(pool: &SqlitePool, limit: u32) -> Result<Vec<Restart>, StoreError> {
    let rows = sqlx::query(select!("WHERE NOT seen_to ORDER BY noted_at LIMIT ?1"))
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::restart(&Cells { table: "nas_restarts", row })).collect()
}

pub(super) async fn seen_to(pool: &SqlitePool, restart: &Restart) -> Result<(), StoreError> {
    // Not when it has restarted again meanwhile.
    sqlx::query("UPDATE nas_restarts SET seen_to = true WHERE nas = ?1 AND device = ?2 AND restarted_at = ?3")
        .bind(row::text(restart.nas.as_str()))
        .bind(row::text(&restart.device()))
        .bind(row::micros(restart.at))
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}

pub(super) async fn forget(pool: &SqlitePool, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nas_restarts WHERE seen_to AND restarted_at < ?1 AND noted_at < ?1")
        .bind(row::micros(before))
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}
