//! The outbox: orders that are due, claimed for a while, struck off or put off.

use std::ops::RangeInclusive;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::model::{NodeName, SessionId, Timestamp};
use crate::session::Lane;
use crate::store::row::{self, Cells, Columns as _};
use crate::store::{Change, Claim, Order, OrderId, StoreError, records};

/// Rows of orders that are gone, of which their room is given back here: fewer are not worth it, and more take longer than a statement may.
const UNTIDY: RangeInclusive<i64> = 2_000..=200_000;

/// SKIP LOCKED: what another node is claiming at this moment is not waited for. A lane that may be any could not be looked up.
macro_rules! claiming {
    ($in_lane:literal) => {
        concat!(
            "WITH due AS (SELECT id FROM outbox WHERE ",
            $in_lane,
            "due_at <= $2 AND (claimed_until IS NULL OR claimed_until <= $2) \
             AND (meant_for IS NULL OR meant_for = $1 OR meant_until <= $2) \
             ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED) \
             UPDATE outbox SET claimed_by = $1, claimed_until = $3, attempts = attempts + 1 FROM due WHERE outbox.id = due.id \
             RETURNING outbox.id, session_id, effect, attempts - 1 AS attempts_before, ordered_at, due_at"
        )
    };
}

/// Adds the orders of changes that are kept, numbered in their order; gives those that are claimed by this.
pub(super) async fn add(
    connection: &mut PgConnection,
    changes: &[&Change],
    claim: Option<&Claim>,
) -> Result<Vec<Order>, sqlx::Error> {
    let (mut sessions, mut kinds, mut lanes, mut effects, mut times) = (vec![], vec![], vec![], vec![], vec![]);
    for change in changes {
        for effect in &change.orders {
            sessions.push(change.session.id.0);
            kinds.push(effect.as_str());
            lanes.push(effect.lane().as_str());
            effects.push(Json(row::json(effect)));
            times.push(time(change.at));
        }
    }
    if sessions.is_empty() {
        return Ok(Vec::new());
    }
    let added = sqlx::query(
        "INSERT INTO outbox (session_id, kind, lane, effect, ordered_at, due_at, claimed_by, claimed_until, attempts)
         SELECT session_id, kind, lane, effect, at, at,
             CASE WHEN lane = $6 THEN $7 END, CASE WHEN lane = $6 THEN $8 END, CASE WHEN lane = $6 THEN 1 ELSE 0 END
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::timestamptz[])
             WITH ORDINALITY AS new (session_id, kind, lane, effect, at, place)
         ORDER BY place
         RETURNING id, session_id, effect, attempts - 1 AS attempts_before, ordered_at",
    )
    .bind::<Vec<Uuid>>(sessions)
    .bind(kinds)
    .bind(lanes)
    .bind(effects)
    .bind(times)
    .bind(claim.map(|claim| claim.lane.as_str()))
    .bind(claim.map(|claim| row::text(claim.node.as_str())))
    .bind(claim.map(|claim| time(claim.until)));
    if claim.is_none() {
        added.execute(connection).await?;
        return Ok(Vec::new());
    }
    let rows = added.fetch_all(connection).await?;
    // One that nobody claimed was tried once less than never.
    let claimed = rows.iter().filter(|row| cells(row).integer("attempts_before").ok().flatten() == Some(0));
    let mut claimed: Vec<Order> = claimed.filter_map(|row| records::or_skip(records::order(&cells(row)))).collect();
    claimed.sort_unstable_by_key(|order| order.id);
    Ok(claimed)
}

pub(super) async fn claim(
    connection: &mut PgConnection,
    node: &NodeName,
    lane: Option<Lane>,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Order>, StoreError> {
    let mut rows = sqlx::query(match lane {
        Some(_) => claiming!("lane = $5 AND "),
        None => claiming!("$5::text IS NULL AND "),
    })
    .bind(row::text(node.as_str()))
    .bind(time(now))
    .bind(time(now + lease))
    .bind(i64::from(limit))
    .bind(lane.map(Lane::as_str))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.sort_by_cached_key(|row| (cells(row).time("due_at").ok(), cells(row).integer("id").ok()));
    Ok(rows.iter().filter_map(|row| records::or_skip(records::order(&cells(row)))).collect())
}

pub(super) async fn release(connection: &mut PgConnection, node: &NodeName) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = $1")
        .bind(row::text(node.as_str()))
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}

/// Gives free what was claimed as it was added, and never reached whoever was to carry it out.
pub(super) async fn disclaim(
    connection: &mut PgConnection,
    claim: &Claim,
    sessions: &[SessionId],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL
         WHERE session_id = ANY($4) AND claimed_by = $1 AND lane = $2 AND claimed_until = $3 AND attempts = 1",
    )
    .bind(row::text(claim.node.as_str()))
    .bind(claim.lane.as_str())
    .bind(time(claim.until))
    .bind(sessions.iter().map(|session| session.0).collect::<Vec<Uuid>>())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Strikes orders off; those that are gone already are gone.
pub(super) async fn strike_off(executor: impl PgExecutor<'_>, orders: &[OrderId]) -> Result<(), sqlx::Error> {
    let mut orders: Vec<i64> = orders.iter().map(|order| order.0).collect();
    orders.sort_unstable();
    // By the index of ids. Locking them in a query of its own first is dear: PostgreSQL, which takes the outbox for
    // empty, repeats that for each row.
    sqlx::query("DELETE FROM outbox WHERE id = ANY($1)").bind(orders).execute(executor).await?;
    Ok(())
}

pub(super) async fn postpone(
    connection: &mut PgConnection,
    order: &Order,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    // Each claim counts one attempt more, so that the count tells one claim from the next.
    sqlx::query(
        "UPDATE outbox SET due_at = $2, postponed_for = $3, claimed_by = NULL, claimed_until = NULL
         WHERE id = $1 AND attempts = $4 AND claimed_until IS NOT NULL",
    )
    .bind(order.id.0)
    .bind(time(until))
    .bind(row::text(reason))
    .bind(i64::from(order.attempts) + 1)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Gives back the room of orders that are gone, when it is worth it. Autovacuum comes once in a minute; at a thousand orders a second each
/// claim would go past all those that were struck off meanwhile.
pub(super) async fn tidy(connection: &mut PgConnection) -> Result<(), StoreError> {
    let dead: Option<i64> =
        sqlx::query_scalar("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'outbox'::regclass")
            .fetch_optional(&mut *connection)
            .await
            .map_err(failure)?;
    if dead.is_some_and(|dead| UNTIDY.contains(&dead)) {
        // Not shortened: for that nobody might read or write it meanwhile.
        sqlx::raw_sql("VACUUM (SKIP_LOCKED, TRUNCATE false) outbox")
            .execute(&mut *connection)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

/// Calls the workers of all nodes. A transaction of its own: no commit of accounting waits for it.
pub(super) async fn announce(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify('radhold', 'orders')").execute(&mut *connection).await.map_err(failure)?;
    Ok(())
}

fn cells(row: &PgRow) -> Cells<'_, PgRow> {
    Cells { table: "outbox", row }
}
