//! Usage: what sessions carried within intervals.

use sqlx::{SqliteExecutor, SqlitePool};

use super::failure;
use crate::model::SessionId;
use crate::store::row::{self, Cells};
use crate::store::{StoreError, Usage, records};

/// Adds what came with one version of a session.
pub(super) async fn add(executor: impl SqliteExecutor<'_>, version: u64, usage: &Usage) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets,
                            output_packets, session_time, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (session_id, version) DO NOTHING",
    )
    .bind(usage.session.to_string())
    .bind(row::text(usage.user.as_str()))
    .bind(row::text(usage.nas.as_str()))
    .bind(row::micros(usage.from))
    .bind(row::micros(usage.to))
    .bind(row::counter(usage.added.input_octets))
    .bind(row::counter(usage.added.output_octets))
    .bind(row::counter(usage.added.input_packets))
    .bind(row::counter(usage.added.output_packets))
    .bind(row::counter(usage.added.session_time))
    .bind(row::counter(version))
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn of(pool: &SqlitePool, session: SessionId) -> Result<Vec<Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                session_time
         FROM usage WHERE session_id = ?1 ORDER BY to_at, from_at",
    )
    .bind(session.to_string())
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::usage(&Cells { table: "usage", row })).collect()
}
