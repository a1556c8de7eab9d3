//! Usage: what sessions carried within intervals.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::columns::{day, time};
use super::failure;
use crate::model::{Counters, SessionId, Timestamp};
use crate::store::row::{self, Cells};
use crate::store::{Change, StoreError, Usage, records};

macro_rules! sums {
    () => {
        "(day, user_name, nas, input_octets, output_octets, input_packets, output_packets, session_time) \
         SELECT day, user_name, nas, least(sum(input_octets), 9223372036854775807), \
                least(sum(output_octets), 9223372036854775807), \
                least(sum(input_packets), 9223372036854775807), \
                least(sum(output_packets), 9223372036854775807), \
                least(sum(session_time), 9223372036854775807)"
    };
}

macro_rules! add_up {
    () => {
        "GROUP BY day, user_name, nas ON CONFLICT (day, user_name, nas) DO UPDATE SET \
         input_octets = least(days.input_octets::numeric + excluded.input_octets, 9223372036854775807), \
         output_octets = least(days.output_octets::numeric + excluded.output_octets, 9223372036854775807), \
         input_packets = least(days.input_packets::numeric + excluded.input_packets, 9223372036854775807), \
         output_packets = least(days.output_packets::numeric + excluded.output_packets, 9223372036854775807), \
         session_time = least(days.session_time::numeric + excluded.session_time, 9223372036854775807)"
    };
}

const SUMS: &str = sums!();
const ADD_UP: &str = add_up!();

/// Adds what comes with changes.
pub(super) async fn add(connection: &mut PgConnection, changes: &[&Change]) -> Result<(), sqlx::Error> {
    let (mut versions, mut usage) = (Vec::new(), Vec::new());
    for change in changes {
        versions.extend(change.usage.iter().map(|_| row::counter(change.session.version)));
        usage.extend(&change.usage);
    }
    if usage.is_empty() {
        return Ok(());
    }
    let each = |count: fn(&Counters) -> u64| -> Vec<i64> {
        usage.iter().map(|usage| row::counter(count(&usage.added))).collect()
    };
    sqlx::query(
        "INSERT INTO usage (session_id, user_name, nas, from_at, to_at, input_octets, output_octets, input_packets,
                            output_packets, session_time, version, day)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[],
                              $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::date[])",
    )
    .bind(usage.iter().map(|usage| usage.session.0).collect::<Vec<Uuid>>())
    .bind(usage.iter().map(|usage| row::text(usage.user.as_str())).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| row::text(usage.nas.as_str())).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| time(usage.from)).collect::<Vec<_>>())
    .bind(usage.iter().map(|usage| time(usage.to)).collect::<Vec<_>>())
    .bind(each(|added| added.input_octets))
    .bind(each(|added| added.output_octets))
    .bind(each(|added| added.input_packets))
    .bind(each(|added| added.output_packets))
    .bind(each(|added| added.session_time))
    .bind(versions)
    .bind(usage.iter().map(|usage| day(usage.day)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// There is no index by session: an entry more for each report would cost every report more than this saves now and then.
pub(super) async fn of(connection: &mut PgConnection, session: SessionId) -> Result<Vec<Usage>, StoreError> {
    let rows = sqlx::query(
        "SELECT usage.session_id, usage.user_name, usage.nas, from_at, to_at, usage.input_octets, usage.output_octets,
                usage.input_packets, usage.output_packets, usage.session_time, day
         FROM sessions JOIN usage ON usage.user_name = sessions.user_name AND usage.session_id = sessions.id
              AND to_at BETWEEN least(accepted_at, started_at) - interval '1 day' AND heard_at + interval '1 day'
         WHERE sessions.id = $1 ORDER BY to_at, from_at",
    )
    .bind(session.0)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::usage(&Cells { table: "usage", row })).collect()
}

/// Makes the partitions of that month and the two after it.
pub(super) async fn add_months(connection: &mut PgConnection, now: Timestamp) -> Result<(), StoreError> {
    // One statement for each: a month that fails (rows in the way, a lock) must not cost the others.
    for ahead in 0..=2 {
        sqlx::query("SELECT usage_add_month($1 + $2 * interval '1 month')")
            .bind(time(now))
            .bind(ahead)
            .execute(&mut *connection)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

/// Sums the oldest month up by day and drops it. Two steps, so that writers of other months never wait for the summing: they
/// wait for this month's rows alone, and for the moment it takes to drop a table that is empty.
pub(super) async fn retire(connection: &mut PgConnection, before: Timestamp) -> Result<bool, StoreError> {
    let oldest: Option<String> = sqlx::query_scalar(
        "SELECT child.relname::text FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
         WHERE inhparent = 'usage'::regclass AND child.relname ~ '^usage_[0-9]{4}_[0-9]{2}$'
           AND (to_date(right(child.relname, 7), 'YYYY_MM')::timestamp + interval '1 month') AT TIME ZONE 'UTC' <= $1
         ORDER BY child.relname LIMIT 1",
    )
    .bind(time(before))
    .fetch_optional(&mut *connection)
    .await
    .map_err(failure)?;
    let Some(month) = oldest else {
        return retire_strays(connection, before).await;
    };
    match sum_up(connection, &month).await {
        // Another node was faster, and it is gone.
        Err(error) if error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42P01") => Ok(true),
        done => done.map(|()| true).map_err(failure),
    }
}

/// The name is one of ours, by the pattern it was found with: letters, digits and underscores.
async fn sum_up(connection: &mut PgConnection, month: &str) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    for statement in [
        "SET LOCAL statement_timeout = 0".to_owned(),
        "SET LOCAL lock_timeout = '5s'".to_owned(),
        format!("LOCK TABLE {month} IN ACCESS EXCLUSIVE MODE"),
        format!("INSERT INTO usage_days AS days {SUMS} FROM {month} {ADD_UP}"),
        format!("TRUNCATE {month}"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    let mut tx = connection.begin().await?;
    // While this waits behind a long report, every writer waits behind it.
    sqlx::query("SET LOCAL lock_timeout = '200ms'").execute(&mut *tx).await?;
    sqlx::query("LOCK TABLE ONLY usage IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await?;
    let late = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {month})"));
    // What came between the two steps is summed up the next time.
    if !sqlx::query_scalar::<_, bool>(late).fetch_one(&mut *tx).await? {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE {month}"))).execute(&mut *tx).await?;
    }
    tx.commit().await
}

/// The same for rows of no month's partition, of all months that are over.
async fn retire_strays(connection: &mut PgConnection, before: Timestamp) -> Result<bool, StoreError> {
    const MOVE: &str = concat!(
        "WITH gone AS (DELETE FROM usage_other WHERE to_at < date_trunc('month', $1 AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' \
         RETURNING *) INSERT INTO usage_days AS days ",
        sums!(),
        " FROM gone ",
        add_up!()
    );
    let done = sqlx::query(MOVE).bind(time(before)).execute(&mut *connection).await.map_err(failure)?;
    Ok(done.rows_affected() > 0)
}
