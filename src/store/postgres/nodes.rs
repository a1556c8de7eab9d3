//! Nodes: signs of life, names and turns held as advisory locks, and taking over from the dead.
//!
//! Only the clock of PostgreSQL counts: those of the nodes may differ. A node is dead when it has not been seen for
//! [`SILENCE`], or for [`CUT_OFF`] when its lock is gone too, which is so at once when its process ends.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgConnection, Row as _};

use super::columns::{interval, time};
use super::failure;
use crate::model::NodeName;
use crate::store::row::{self, Cells, Columns as _};
use crate::store::{Cluster, NodeStatus, Presence, StoreError};

/// The first half of the numbers of advisory locks on names of nodes; the other half is a hash of the name.
const NAMES: i32 = 0x7264_686e;
/// A node that is silent for longer is dead.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// A node whose connection has ended, and that is silent for longer, is dead.
const CUT_OFF: Duration = Duration::from_secs(1);
/// A node that is silent for longer, and whose connection still stands, is frozen: its connection is ended, so that another
/// can have its turn.
const FROZEN: Duration = Duration::from_secs(10);
/// A node that was dead for longer is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// What a sign of life brings back.
pub(super) struct Beat {
    /// Who is alive, this node among them, by name.
    pub(super) alive: Vec<NodeName>,
    /// Orders of dead nodes that were given free.
    pub(super) freed: i64,
    /// Connections of nodes that are frozen: see [`cut_frozen`].
    pub(super) frozen: i64,
    /// Whether another node that is alive brings records from its spool.
    pub(super) draining: bool,
}

/// Takes this node's name for as long as the connection lasts; `false` when another process has it.
pub(super) async fn take_name(connection: &mut PgListener, node: &NodeName) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext($2))")
        .bind(NAMES)
        .bind(row::text(node.as_str()))
        .fetch_one(connection)
        .await
}

/// Takes a turn for as long as the connection lasts; `false` when another node has it.
pub(super) async fn take_turn(connection: &mut PgListener, number: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(number).fetch_one(connection).await
}

/// Gives a sign of life, sees who else does, and gives free what the dead hold.
pub(super) async fn beat(
    connection: &mut PgListener,
    me: &Presence,
    lag: Duration,
    turn: bool,
) -> Result<Beat, sqlx::Error> {
    let spooled = *me.spooled.borrow();
    let seen = sqlx::query(
        "WITH me AS (
             INSERT INTO nodes AS n
                 (name, version, started_at, seen_at, lag, polls_telegram, spooled, spooled_since, drains)
             VALUES ($1, $2, $3, clock_timestamp(), $4, $5, $11, $12, $13)
             ON CONFLICT (name) DO UPDATE SET
                 (version, started_at, seen_at, lag, polls_telegram, spooled, spooled_since, drains) =
                 (EXCLUDED.version, EXCLUDED.started_at, EXCLUDED.seen_at, EXCLUDED.lag, EXCLUDED.polls_telegram,
                  EXCLUDED.spooled, EXCLUDED.spooled_since, EXCLUDED.drains)
         ), quiet AS MATERIALIZED (
             SELECT name, seen_at FROM nodes WHERE name <> $1 AND seen_at < clock_timestamp() - $6::interval
         ), dead AS MATERIALIZED (
             SELECT name FROM quiet
             WHERE seen_at < clock_timestamp() - $7::interval OR NOT EXISTS (
                 SELECT FROM pg_locks
                 WHERE locktype = 'advisory' AND classid = $8::oid AND objsubid = 2
                   AND objid = (hashtext(name)::bigint & 4294967295)::oid
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             )
         ), frozen AS (
             SELECT FROM pg_locks JOIN quiet ON objid = (hashtext(name)::bigint & 4294967295)::oid
             WHERE seen_at < clock_timestamp() - $10::interval
               AND locktype = 'advisory' AND classid = $8::oid AND objsubid = 2
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         ), freed AS (
             UPDATE outbox SET claimed_by = NULL, claimed_until = NULL
             WHERE claimed_by = ANY (ARRAY(SELECT name FROM dead))
             RETURNING id
         ), forgotten AS (
             DELETE FROM nodes WHERE name <> $1 AND seen_at < clock_timestamp() - $9::interval
         )
         SELECT (SELECT count(*) FROM freed) AS freed, (SELECT count(*) FROM frozen) AS frozen,
                EXISTS (SELECT FROM nodes WHERE name <> $1 AND drains AND name NOT IN (SELECT name FROM dead)) AS draining,
                ARRAY(SELECT name FROM nodes WHERE name <> $1 AND name NOT IN (SELECT name FROM dead)
                      UNION SELECT $1 ORDER BY 1) AS alive",
    )
    .bind(row::text(me.node.as_str()))
    .bind(row::text(&me.version))
    .bind(time(me.started_at))
    .bind(interval(lag))
    .bind(turn)
    .bind(interval(CUT_OFF))
    .bind(interval(SILENCE))
    .bind(i64::from(NAMES))
    .bind(interval(FORGOTTEN))
    .bind(interval(FROZEN))
    .bind(row::counter(spooled.waiting))
    .bind(spooled.since.map(time))
    .bind(spooled.draining)
    .fetch_one(connection)
    .await?;
    let alive: Vec<String> = seen.try_get("alive")?;
    let alive = alive.into_iter().map(NodeName::new).collect();
    let [freed, frozen] = [seen.try_get("freed")?, seen.try_get("frozen")?];
    Ok(Beat { alive, freed, frozen, draining: seen.try_get("draining")? })
}

/// Ends the connections of frozen nodes. A statement of its own: PostgreSQL may forbid it (nodes under different roles), and the
/// sign of life must go out all the same.
pub(super) async fn cut_frozen(connection: &mut PgListener, me: &Presence) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN nodes ON objid = (hashtext(name)::bigint & 4294967295)::oid
         WHERE name <> $1 AND seen_at < clock_timestamp() - $2::interval
           AND locktype = 'advisory' AND classid = $3::oid AND objsubid = 2
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(row::text(me.node.as_str()))
    .bind(interval(FROZEN))
    .bind(i64::from(NAMES))
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets a node that says goodbye.
pub(super) async fn forget(connection: &mut PgConnection, node: &NodeName) -> Result<(), StoreError> {
    sqlx::query("WITH links AS (DELETE FROM radsec_links WHERE node = $1) DELETE FROM nodes WHERE name = $1")
        .bind(row::text(node.as_str()))
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}

/// All nodes, and what waits for any of them.
pub(super) async fn cluster(connection: &mut PgConnection) -> Result<Cluster, StoreError> {
    let nodes = sqlx::query(
        "SELECT name, version, started_at, lag, polls_telegram, spooled, spooled_since,
                extract(epoch FROM clock_timestamp() - seen_at)::float8 AS seen_s,
                clock_timestamp() - seen_at < $1::interval AS alive,
                (SELECT count(*) FROM outbox WHERE claimed_by = name) AS leases,
                (SELECT max(claimed_until) FROM outbox WHERE claimed_by = name) AS leased_until
         FROM nodes ORDER BY name COLLATE \"C\"",
    )
    .bind(interval(SILENCE))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let waiting = sqlx::query(
        "SELECT orders.count AS waiting_orders, orders.oldest_s AS oldest_waiting_s,
                sessions.count AS overdue_sessions, sessions.most_s AS most_overdue_s
         FROM (SELECT count(*), coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_s FROM outbox
               WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now())) AS orders,
              (SELECT count(*), coalesce(extract(epoch FROM now() - min(wake_at)), 0)::float8 AS most_s FROM sessions
               WHERE state NOT IN ('dropped', 'closed') AND wake_at <= now()) AS sessions",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    let count = |column| waiting.try_get::<i64, _>(column).map(i64::cast_unsigned).map_err(failure);
    let seconds = |column| waiting.try_get::<f64, _>(column).map_err(failure);
    Ok(Cluster {
        nodes: nodes.iter().map(status).collect::<Result<_, _>>()?,
        waiting_orders: count("waiting_orders")?,
        oldest_waiting_s: seconds("oldest_waiting_s")?,
        overdue_sessions: count("overdue_sessions")?,
        most_overdue_s: seconds("most_overdue_s")?,
    })
}

fn status(row: &PgRow) -> Result<NodeStatus, StoreError> {
    let cells = Cells { table: "nodes", row };
    Ok(NodeStatus {
        name: NodeName::new(cells.need("name", Cells::text)?),
        alive: cells.need("alive", Cells::flag)?,
        version: cells.need("version", Cells::text)?,
        started_at: cells.need("started_at", Cells::time)?,
        seen_s: row.try_get("seen_s").map_err(failure)?,
        lag_s: cells.need("lag", Cells::span)?.as_secs_f64(),
        leases: cells.need("leases", Cells::number)?,
        leased_until: cells.time("leased_until")?,
        polls_telegram: cells.need("polls_telegram", Cells::flag)?,
        spooled: cells.need("spooled", Cells::number)?,
        spooled_since: cells.time("spooled_since")?,
    })
}
