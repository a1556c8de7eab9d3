//! Accounting-Requests that fit nowhere.

use sqlx::PgPool;

use super::columns::time;
use super::failure;
use crate::store::row::{self, Cells};
use crate::store::{QuarantineId, Quarantined, StoreError, records};

pub(super) async fn add(pool: &PgPool, misfit: &Quarantined) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO quarantine (received_at, nas, nas_address, packet, reason, quarantined_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(time(misfit.received_at))
    .bind(row::text(misfit.nas.as_str()))
    .bind(misfit.nas_address)
    .bind(&misfit.packet)
    .bind(row::text(&misfit.reason))
    .bind(time(misfit.at))
    .execute(pool)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn list(
    pool: &PgPool,
    to_retry: bool,
    limit: u32,
) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
    // The few that shall be tried again have an index of their own.
    let statement = if to_retry {
        "SELECT id, received_at, nas, nas_address, packet, reason, quarantined_at FROM quarantine
         WHERE retry ORDER BY id LIMIT $1"
    } else {
        "SELECT id, received_at, nas, nas_address, packet, reason, quarantined_at FROM quarantine
         ORDER BY id LIMIT $1"
    };
    let rows = sqlx::query(statement).bind(i64::from(limit)).fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(|row| records::quarantined(&Cells { table: "quarantine", row })).collect()
}

pub(super) async fn retry(pool: &PgPool, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let changed =
        sqlx::query("UPDATE quarantine SET retry = $2 WHERE id = ANY($1)").bind(ids).bind(retry).execute(pool).await;
    Ok(changed.map_err(failure)?.rows_affected())
}

pub(super) async fn remove(pool: &PgPool, ids: &[QuarantineId]) -> Result<u64, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let changed = sqlx::query("DELETE FROM quarantine WHERE id = ANY($1)").bind(ids).execute(pool).await;
    Ok(changed.map_err(failure)?.rows_affected())
}
