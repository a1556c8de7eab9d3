//! Accounting-Requests that fit nowhere.

use sqlx::PgConnection;

use super::columns::time;
use super::failure;
use crate::store::row::{self, Cells};
use crate::store::{QuarantineId, Quarantined, StoreError, records};

pub(super) async fn add(connection: &mut PgConnection, misfit: &Quarantined) -> Result<(), StoreError> {
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
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn list(
    connection: &mut PgConnection,
    limit: u32,
) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, received_at, nas, nas_address, packet, reason, quarantined_at FROM quarantine
         ORDER BY id LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::quarantined(&Cells { table: "quarantine", row })).collect()
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    limit: u32,
) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
    // SKIP LOCKED: what another node is claiming at this moment is not waited for.
    let rows = sqlx::query(
        "UPDATE quarantine SET retry = false
         WHERE id IN (SELECT id FROM quarantine WHERE retry ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING id, received_at, nas, nas_address, packet, reason, quarantined_at",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut misfits = rows
        .iter()
        .map(|row| records::quarantined(&Cells { table: "quarantine", row }))
        .collect::<Result<Vec<_>, _>>()?;
    misfits.sort_by_key(|(id, _)| *id);
    Ok(misfits)
}

pub(super) async fn retry(connection: &mut PgConnection, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let changed = sqlx::query("UPDATE quarantine SET retry = $2 WHERE id = ANY($1)")
        .bind(ids)
        .bind(retry)
        .execute(&mut *connection)
        .await;
    Ok(changed.map_err(failure)?.rows_affected())
}

pub(super) async fn remove(connection: &mut PgConnection, ids: &[QuarantineId]) -> Result<u64, StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let changed = sqlx::query("DELETE FROM quarantine WHERE id = ANY($1)").bind(ids).execute(&mut *connection).await;
    Ok(changed.map_err(failure)?.rows_affected())
}
