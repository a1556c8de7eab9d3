//! Usage: what sessions carried within intervals.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::{failure, rows};
use crate::model::{SessionId, Timestamp};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, Usage, records};

const COLUMNS: usize = 12;

macro_rules! columns {
    () => {
        "session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets, session_time, \
         version, day"
    };
}

/// The sum of a column, in two halves of 32 bits that cannot overflow; it ends at what 63 bits hold.
macro_rules! sum {
    ($column:literal) => {
        concat!(
            "CASE WHEN sum(",
            $column,
            " >> 32) + (sum(",
            $column,
            " & 4294967295) >> 32) > 2147483647 THEN 9223372036854775807 \
             ELSE (sum(",
            $column,
            " >> 32) << 32) + sum(",
            $column,
            " & 4294967295) END"
        )
    };
}

/// What is kept and what is added to it, up to the same limit.
macro_rules! both {
    ($column:literal) => {
        concat!(
            $column,
            " = min(usage_days.",
            $column,
            ", 9223372036854775807 - excluded.",
            $column,
            ") + excluded.",
            $column
        )
    };
}

const SUM: &str = concat!(
    "INSERT INTO usage_days (day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time) \
     SELECT day, user_name, nas, ",
    sum!("input_octets"),
    ", ",
    sum!("output_octets"),
    ", ",
    sum!("input_packets"),
    ", ",
    sum!("output_packets"),
    ", ",
    sum!("session_time"),
    " FROM usage WHERE to_at < ?1 GROUP BY day, user_name, nas ON CONFLICT (day, user_name, nas) DO UPDATE SET ",
    both!("input_octets"),
    ", ",
    both!("output_octets"),
    ", ",
    both!("input_packets"),
    ", ",
    both!("output_packets"),
    ", ",
    both!("session_time")
);

/// Adds what came with these versions of sessions.
pub(super) fn add(sql: &mut QueryBuilder<Sqlite>, usage: &[(u64, &Usage)]) {
    sql.push(concat!("WITH new (", columns!(), ") AS ("));
    rows::push(sql, COLUMNS, usage, |values, (version, usage)| {
        values.push_bind(usage.session.to_string());
        values.push_bind(row::text(usage.user.as_str())).push_bind(row::text(usage.nas.as_str()));
        values.push_bind(row::micros(usage.from)).push_bind(row::micros(usage.to));
        values.push_bind(row::counter(usage.added.input_octets));
        values.push_bind(row::counter(usage.added.output_octets));
        values.push_bind(row::counter(usage.added.input_packets));
        values.push_bind(row::counter(usage.added.output_packets));
        values.push_bind(row::counter(usage.added.session_time));
        values.push_bind(row::counter(*version)).push_bind(usage.day.to_string());
    });
    sql.push(concat!(
        ") INSERT OR FAIL INTO usage (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM new WHERE session_id IS NOT NULL"
    ));
}

/// There is no index by session: an entry more for each report would cost every report more than this saves now and then. (The times are
/// a day wider than they need be, in microseconds.)
pub(super) async fn of(pool: &SqlitePool, session: SessionId) -> Result<Vec<Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT usage.session_id, usage.user_name, usage.nas, from_at, to_at, usage.input_octets, usage.output_octets,
                usage.input_packets, usage.output_packets, usage.session_time, day
         FROM sessions CROSS JOIN usage ON usage.user_name = sessions.user_name AND usage.session_id = sessions.id
              AND to_at BETWEEN min(accepted_at, coalesce(started_at, accepted_at)) - 86400000000 AND heard_at + 86400000000
         WHERE sessions.id = ?1 ORDER BY to_at, from_at",
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
    let end: Option<i64> = sqlx::query_scalar(NEXT_MONTH).fetch_one(&mut *connection).await.map_err(failure)?;
    let Some(end) = end.filter(|end| *end <= row::micros(before)) else { return Ok(false) };
    for statement in [SUM, "DELETE FROM usage WHERE to_at < ?1"] {
        sqlx::query(statement).bind(end).execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use crate::store::Store as _;

    #[tokio::test]
    async fn a_day_of_a_user_is_found_by_the_user_and_a_day_of_all_by_the_day() {
        let store = SqliteStore::in_memory().await.unwrap();
        store.migrate().await.unwrap();
        for (condition, index) in [
            ("day = '2026-11-01' AND user_name = 'alice'", "usage_by_user"),
            ("user_name = 'alice' AND day >= '2026-11-01'", "usage_by_user"),
            ("day = '2026-11-01'", "usage_by_day"),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN SELECT * FROM report_usage WHERE {condition}");
            let rows = sqlx::query_as::<_, (i64, i64, i64, String)>(sqlx::AssertSqlSafe(plan));
            let steps: Vec<String> =
                rows.fetch_all(&store.readers).await.unwrap().into_iter().map(|row| row.3).collect();
            assert!(steps.iter().all(|step| step.contains(index)), "{condition}: {steps:?}");
        }
    }
}
