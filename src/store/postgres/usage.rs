//! Usage: what sessions carried within intervals.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::model::{Counters, SessionId};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, Usage, records};

/// Adds what came with these versions of sessions.
pub(super) async fn add<'u>(
    connection: &mut PgConnection,
    usage: impl Iterator<Item = (u64, &'u Usage)>,
) -> Result<(), sqlx::Error> {
    let (versions, usage): (Vec<u64>, Vec<&Usage>) = usage.unzip();
    if usage.is_empty() {
        return Ok(());
    }
    let each = |count: fn(&Counters) -> u64| -> Vec<i64> {
        usage.iter().map(|usage| row::counter(count(&usage.added))).collect()
    };
    sqlx::query(
        "INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets,
                            output_packets, session_time, version)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[],
                              $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
         ON CONFLICT (session_id, version) DO NOTHING",
    )
    .bind(usage.iter().map(|usage| usage.session.0).collect::<Vec<Uuid>>())
    .bind(usage.iter().map(|usage| row::text(usage.user.as_str()).into_owned()).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| row::text(usage.nas.as_str()).into_owned()).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| time(usage.from)).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| time(usage.to)).collect::<Vec<_>>())
    .bind(each(|added| added.input_octets))
    .bind(each(|added| added.output_octets))
    .bind(each(|added| added.input_packets))
    .bind(each(|added| added.output_packets))
    .bind(each(|added| added.session_time))
    .bind(versions.into_iter().map(row::counter).collect::<Vec<i64>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn of(pool: &PgPool, session: SessionId) -> Result<Vec<Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets, output_packets,
                session_time
         FROM usage WHERE session_id = $1 ORDER BY to_at, from_at",
    )
    .bind(session.0)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::usage(&Cells { table: "usage", row })).collect()
}
