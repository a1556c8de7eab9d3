//! Accounting-Requests that fit nowhere.

use sqlx::SqlitePool;

use super::failure;
use crate::store::row::{self, Cells};
use crate::store::{QuarantineId, Quarantined, StoreError, records};

pub(super) async fn add(pool: &SqlitePool, misfit: &Quarantined) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO quarantine (received_at, nas, nas_address, packet, reason, quarantined_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(row::micros(misfit.received_at))
    .bind(row::text(misfit.nas.as_str()))
    .bind(misfit.nas_address.to_string())
    .bind(&misfit.packet)
    .bind(row::text(&misfit.reason))
    .bind(row::micros(misfit.at))
    .execute(pool)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn list(pool: &SqlitePool, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, received_at, nas, nas_address, packet, reason, quarantined_at FROM quarantine
         ORDER BY id LIMIT ?1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::quarantined(&Cells { table: "quarantine", row })).collect()
}

pub(super) async fn claim(pool: &SqlitePool, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
    let rows = sqlx::query(
        "UPDATE quarantine SET retry = false
         WHERE id IN (SELECT id FROM quarantine WHERE retry ORDER BY id LIMIT ?1)
         RETURNING id, received_at, nas, nas_address, packet, reason, quarantined_at",
    )
    .bind(limit)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    let mut misfits = rows
        .iter()
        .map(|row| records::quarantined(&Cells { table: "quarantine", row }))
        .collect::<Result<Vec<_>, _>>()?;
    misfits.sort_by_key(|(id, _)| *id);
    Ok(misfits)
}

pub(super) async fn retry(pool: &SqlitePool, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
    let changed = sqlx::query("UPDATE quarantine SET retry = ?2 WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(listed(ids))
        .bind(retry)
        .execute(pool)
        .await;
    Ok(changed.map_err(failure)?.rows_affected())
}

pub(super) async fn remove(pool: &SqlitePool, ids: &[QuarantineId]) -> Result<u64, StoreError> {
    let changed = sqlx::query("DELETE FROM quarantine WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(listed(ids))
        .execute(pool)
        .await;
    Ok(changed.map_err(failure)?.rows_affected())
}

fn listed(ids: &[QuarantineId]) -> String {
    row::json(&ids.iter().map(|id| id.0).collect::<Vec<_>>()).to_string()
}
