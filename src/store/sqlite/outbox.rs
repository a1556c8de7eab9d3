//! The outbox: orders that are due, claimed for a while, struck off or put off.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteExecutor, SqlitePool};

use super::failure;
use crate::model::{NodeName, SessionId, Timestamp};
use crate::session::{Effect, Lane};
use crate::store::row::{self, Cells, Columns as _};
use crate::store::{Claim, Order, OrderId, StoreError, records};

/// Adds an order; gives it back when it is claimed by this.
pub(super) async fn add(
    executor: impl SqliteExecutor<'_>,
    session: SessionId,
    effect: &Effect,
    at: Timestamp,
    claim: Option<&Claim>,
) -> Result<Option<Order>, StoreError> {
    let claim = claim.filter(|claim| claim.lane == effect.lane());
    let added = sqlx::query(
        "INSERT INTO outbox (session_id, kind, lane, effect, ordered_at, due_at, claimed_by, claimed_until, attempts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)",
    )
    .bind(session.to_string())
    .bind(effect.as_str())
    .bind(effect.lane().as_str())
    .bind(row::json(effect))
    .bind(row::micros(at))
    .bind(claim.map(|claim| row::text(claim.node.as_str())))
    .bind(claim.map(|claim| row::micros(claim.until)))
    .bind(i64::from(claim.is_some()))
    .execute(executor)
    .await
    .map_err(failure)?;
    let id = OrderId(added.last_insert_rowid());
    Ok(claim.map(|_| Order { id, session, effect: effect.clone(), attempts: 0, ordered_at: at }))
}

pub(super) async fn claim(
    pool: &SqlitePool,
    node: &NodeName,
    lane: Option<Lane>,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Order>, StoreError> {
    // One statement, so that SQLite's write lock keeps two claimers apart.
    let mut rows = sqlx::query(
        "UPDATE outbox SET claimed_by = ?1, claimed_until = ?3, attempts = attempts + 1
         WHERE id IN (
             SELECT id FROM outbox
             WHERE due_at <= ?2 AND (claimed_until IS NULL OR claimed_until <= ?2)
               AND (meant_for IS NULL OR meant_for = ?1 OR meant_until <= ?2)
               AND (?5 IS NULL OR lane = ?5)
             ORDER BY due_at, id LIMIT ?4
         )
         RETURNING id, session_id, effect, attempts - 1 AS attempts_before, ordered_at, due_at",
    )
    .bind(row::text(node.as_str()))
    .bind(row::micros(now))
    .bind(row::micros(now + lease))
    .bind(limit)
    .bind(lane.map(Lane::as_str))
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.sort_by_cached_key(|row| (cells(row).time("due_at").ok(), cells(row).integer("id").ok()));
    Ok(rows.iter().filter_map(|row| records::or_skip(records::order(&cells(row)))).collect())
}

pub(super) async fn release(pool: &SqlitePool, node: &NodeName) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = ?1")
        .bind(row::text(node.as_str()))
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}

/// Gives free what was claimed as it was added, and never reached whoever was to carry it out.
pub(super) async fn disclaim(
    executor: impl SqliteExecutor<'_>,
    claim: &Claim,
    session: SessionId,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET claimed_by = NULL, claimed_until = NULL
         WHERE session_id = ?4 AND claimed_by = ?1 AND lane = ?2 AND claimed_until = ?3 AND attempts = 1",
    )
    .bind(row::text(claim.node.as_str()))
    .bind(claim.lane.as_str())
    .bind(row::micros(claim.until))
    .bind(session.to_string())
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn strike_off(executor: impl SqliteExecutor<'_>, order: OrderId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE id = ?1").bind(order.0).execute(executor).await.map_err(failure)?;
    Ok(())
}

pub(super) async fn postpone(
    pool: &SqlitePool,
    order: &Order,
    until: Timestamp,
    reason: &str,
) -> Result<(), StoreError> {
    // Each claim counts one attempt more, so that the count tells one claim from the next.
    sqlx::query(
        "UPDATE outbox SET due_at = ?2, postponed_for = ?3, claimed_by = NULL, claimed_until = NULL
         WHERE id = ?1 AND attempts = ?4 AND claimed_until IS NOT NULL",
    )
    .bind(order.id.0)
    .bind(row::micros(until))
    .bind(row::text(reason))
    .bind(i64::from(order.attempts) + 1)
    .execute(pool)
    .await
    .map_err(failure)?;
    Ok(())
}

fn cells(row: &SqliteRow) -> Cells<'_, SqliteRow> {
    Cells { table: "outbox", row }
}
