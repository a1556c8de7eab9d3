//! Usage: what sessions carried within intervals.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::failure;
use crate::model::SessionId;
use crate::store::row::{self, Cells};
use crate::store::{StoreError, Usage, records};

/// Adds what came with these versions of sessions.
pub(super) async fn add(connection: &mut SqliteConnection, usage: &[(u64, &Usage)]) -> Result<(), StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets,
                            output_packets, session_time, version) ",
    );
    sql.push_values(usage, |mut values, (version, usage)| {
        values.push_bind(usage.session.to_string());
        values.push_bind(row::text(usage.user.as_str())).push_bind(row::text(usage.nas.as_str()));
        values.push_bind(row::micros(usage.from)).push_bind(row::micros(usage.to));
        values.push_bind(row::counter(usage.added.input_octets));
        values.push_bind(row::counter(usage.added.output_octets));
        values.push_bind(row::counter(usage.added.input_packets));
        values.push_bind(row::counter(usage.added.output_packets));
        values.push_bind(row::counter(usage.added.session_time));
        values.push_bind(row::counter(*version));
    });
    sql.push(" ON CONFLICT (session_id, version) DO NOTHING");
    sql.build().persistent(true).execute(connection).await.map_err(failure)?;
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
