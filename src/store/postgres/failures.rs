//! Wrong passwords as all nodes counted them, and where people are known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use super::columns::{interval, time};
use super::failure;
use crate::model::Timestamp;
use crate::policy::{FailureCount, FailureKey};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, ban};

/// Counts read at once, at most: of more, the latest say enough.
const MOST: i64 = 100_000;
/// Counts forgotten at once.
const FORGOTTEN: i64 = 20_000;

pub(super) async fn add(
    mut tx: Transaction<'_, Postgres>,
    counts: &[FailureCount],
    forgiven: &[FailureKey],
    forget: Duration,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Both statements lock rows in the order of their keys, so that two nodes wait for each other and lock nobody out. Names may be
    // another's as they are kept, and a statement writes no row twice.
    let forgiven: BTreeSet<_> = forgiven.iter().map(kept_as).collect();
    let mut summed: BTreeMap<_, (u32, Timestamp)> = BTreeMap::new();
    for count in counts {
        let (failures, last) = summed.entry(kept_as(&count.key)).or_insert((0, count.last));
        (*failures, *last) = (failures.saturating_add(count.failures), count.last.max(*last));
    }
    let texts = |keys: &mut dyn Iterator<Item = &Cow<'_, str>>| keys.map(|key| (**key).to_owned()).collect::<Vec<_>>();
    if !forgiven.is_empty() {
        sqlx::query(
            "UPDATE login_failures SET failures = 0, changed_at = $3
             WHERE (account, caller) IN (
                 SELECT account, caller FROM login_failures
                 WHERE (account, caller) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                 ORDER BY account COLLATE \"C\", caller COLLATE \"C\" FOR UPDATE
             )",
        )
        .bind(texts(&mut forgiven.iter().map(|(account, _)| account)))
        .bind(texts(&mut forgiven.iter().map(|(_, caller)| caller)))
        .bind(time(now))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    }
    if !summed.is_empty() {
        sqlx::query(
            "INSERT INTO login_failures (account, caller, failures, last_at, changed_at)
             SELECT account, caller, failures, last_at, $5
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
                 WITH ORDINALITY AS new (account, caller, failures, last_at, place)
             ORDER BY place
             ON CONFLICT (account, caller) DO UPDATE SET
                 failures = excluded.failures
                     + CASE WHEN excluded.last_at - login_failures.last_at >= $6 THEN 0 ELSE login_failures.failures END,
                 last_at = greatest(login_failures.last_at, excluded.last_at),
                 changed_at = excluded.changed_at",
        )
        .bind(texts(&mut summed.keys().map(|(account, _)| account)))
        .bind(texts(&mut summed.keys().map(|(_, caller)| caller)))
        .bind(summed.values().map(|(failures, _)| i64::from(*failures)).collect::<Vec<_>>())
        .bind(summed.values().map(|(_, last)| time(*last)).collect::<Vec<_>>())
        .bind(time(now))
        .bind(interval(forget))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}

/// Account and caller as they go into their columns.
fn kept_as(key: &FailureKey) -> (Cow<'_, str>, Cow<'_, str>) {
    (row::text(&key.account), row::text(&key.caller))
}

pub(super) async fn changed(connection: &mut PgConnection, since: Timestamp) -> Result<Vec<FailureCount>, StoreError> {
    let rows = sqlx::query(
        "SELECT account, caller, failures, last_at FROM login_failures WHERE changed_at >= $1
         ORDER BY changed_at DESC LIMIT $2",
    )
    .bind(time(since))
    .bind(MOST)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::failure_count(&Cells { table: "login_failures", row })).collect()
}

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<bool, StoreError> {
    let forgotten = sqlx::query(
        "DELETE FROM login_failures WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM login_failures WHERE last_at < $1 AND changed_at < $1
             ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
    )
    .bind(time(before))
    .bind(FORGOTTEN)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(forgotten.rows_affected() >= FORGOTTEN.unsigned_abs())
}

pub(super) async fn known_places(
    connection: &mut PgConnection,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<(FailureKey, Timestamp)>, StoreError> {
    let mut tx = connection.begin().await.map_err(failure)?;
    // Nobody waits for it, and after a start it looks at a month of sessions.
    sqlx::query("SET LOCAL statement_timeout = '60s'").execute(&mut *tx).await.map_err(failure)?;
    let rows = sqlx::query(
        "SELECT user_name, calling_station_id, max(permitted_at) AS at FROM sessions
         WHERE permitted_at >= $1 AND calling_station_id IS NOT NULL
         GROUP BY user_name, calling_station_id ORDER BY at DESC LIMIT $2",
    )
    .bind(time(since))
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await
    .map_err(failure)?;
    tx.rollback().await.map_err(failure)?;
    rows.iter().filter_map(|row| ban::place(&Cells { table: "sessions", row }).transpose()).collect()
}
