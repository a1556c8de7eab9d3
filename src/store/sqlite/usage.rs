//! Usage: what sessions carried within intervals.

use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};

use super::failure;
use crate::model::{SessionId, Timestamp};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, Usage, records};

macro_rules! sums {
    () => {
        "(day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time) \
         SELECT day, user_name, nas, sum(input_octets), \
                sum(output_octets), \
                sum(input_packets), \
                sum(output_packets), \
                sum(session_time)"
    };
}

macro_rules! add_up {
    () => {
        "WHERE to_at < ?1 GROUP BY day, user_name, nas ON CONFLICT (day, user_name, nas) DO UPDATE SET \
         input_octets = usage_days.input_octets + excluded.input_octets, \
         output_octets = usage_days.output_octets + excluded.output_octets, \
         input_packets = usage_days.input_packets + excluded.input_packets, \
         output_packets = usage_days.output_packets + excluded.output_packets, \
         session_time = usage_days.session_time + excluded.session_time"
    };
}

/// Adds what came with one version of a session.
pub(super) async fn add(executor: impl SqliteExecutor<'_>, version: u64, usage: &Usage) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets,
                            output_packets, session_time, version, day)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (session_id, version, to_at) DO NOTHING",
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
    .bind(usage.day.to_string())
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn of(pool: &SqlitePool, session: SessionId) -> Result<Vec<Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                session_time, day
         FROM usage WHERE session_id = ?1 ORDER BY to_at, from_at",
    )
    .bind(session.to_string())
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::usage(&Cells { table: "usage", row })).collect()
}

/// Sums the oldest month (UTC) up by day and deletes it, in the caller's transaction: a month of rows at a time, so that no
/// transaction is longer than it must be.
pub(super) async fn retire(connection: &mut SqliteConnection, before: Timestamp) -> Result<bool, StoreError> {
    const NEXT_MONTH: &str =
        "SELECT CAST(strftime('%s', min(to_at) / 1000000, 'unixepoch', 'start of month', '+1 month')
                                          AS INTEGER) * 1000000 FROM usage";
    const SUM: &str = concat!("INSERT INTO usage_days ", sums!(), " FROM usage ", add_up!());
    let end: Option<i64> = sqlx::query_scalar(NEXT_MONTH).fetch_one(&mut *connection).await.map_err(failure)?;
    let Some(end) = end.filter(|end| *end <= row::micros(before)) else { return Ok(false) };
    for statement in [SUM, "DELETE FROM usage WHERE to_at < ?1"] {
        sqlx::query(statement).bind(end).execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(true)
}
