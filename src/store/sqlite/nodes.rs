//! The one node of an SQLite file: its signs of life, and news of what other processes (the command line) change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqlitePool};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::failure;
use crate::model::NodeName;
use crate::store::row::{self, Cells, Columns as _};
use crate::store::{Cluster, News, NodeStatus, Presence, StoreError, Turn};

/// Between looks at whether somebody else has changed anything.
const LOOK: Duration = Duration::from_millis(200);
/// Between signs of life: each is a write to the disk.
const BEAT: Duration = Duration::from_secs(30);
/// A node that is silent for longer is dead.
pub(super) const SILENCE: Duration = Duration::from_secs(75);

/// Tells what other processes change, for as long as somebody takes the news.
pub(super) async fn attend(writer: &SqlitePool, opened: &AtomicU64, me: &Presence, news: &mpsc::Sender<News>) {
    let mut version = None;
    let mut said: Option<Instant> = None;
    let mut hearing = false;
    let mut spools = false;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // There is one server to a file, so that its turn always is.
    let turn = if me.wants_turn.is_some() { Turn::Ours } else { Turn::Others };
    let first = [News::Turn(turn), News::Nodes(vec![me.node.clone()])];
    for item in first {
        if news.send(item).await.is_err() {
            return;
        }
    }
    loop {
        tokio::select! {
            _ = looks.tick() => (),
            () = news.closed() => return,
        }
        let mut items = Vec::new();
        match changes_of_others(writer, opened).await {
            Ok(seen) => {
                if !hearing {
                    items.push(News::Hearing);
                    hearing = true;
                } else if version == Some(seen) {
                    items.push(News::Heard);
                } else {
                    items.extend([News::Users, News::Nases, News::Trust, News::Orders, News::Heard]);
                }
                version = Some(seen);
            }
            Err(_) if hearing => {
                items.push(News::Deaf);
                hearing = false;
            }
            Err(_) => (),
        }
        let spools_now = me.spooled.borrow().waiting > 0;
        if hearing && (spools != spools_now || said.is_none_or(|said| said.elapsed() >= BEAT)) {
            spools = spools_now;
            // A sign of life that is not kept is given again at the next look.
            said = beat(writer, me).await.ok().map(|()| Instant::now());
        }
        for item in items {
            if news.send(item).await.is_err() {
                return;
            }
        }
    }
}

/// What changes when another connection than this one commits (all of ours write by this one), and when this one is another: each has a
/// number of its own, and that of a new one says nothing of what came before it.
async fn changes_of_others(writer: &SqlitePool, opened: &AtomicU64) -> Result<(u64, i64), StoreError> {
    // Before the query: should the connection be replaced in between, the next look sees it.
    let opened = opened.load(Ordering::Relaxed);
    let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(writer).await.map_err(failure)?;
    Ok((opened, version))
}

async fn beat(writer: &SqlitePool, me: &Presence) -> Result<(), StoreError> {
    let spooled = *me.spooled.borrow();
    sqlx::query(
        "INSERT INTO nodes (name, version, started_at, seen_at, lag, polls_telegram, spooled, spooled_since)
         VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER), 0, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, started_at = excluded.started_at,
             seen_at = excluded.seen_at, polls_telegram = excluded.polls_telegram, spooled = excluded.spooled,
             spooled_since = excluded.spooled_since",
    )
    .bind(row::text(me.node.as_str()))
    .bind(row::text(&me.version))
    .bind(row::micros(me.started_at))
    .bind(me.wants_turn.is_some())
    .bind(row::counter(spooled.waiting))
    .bind(spooled.since.map(row::micros))
    .execute(writer)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Forgets a node that says goodbye.
pub(super) async fn forget(writer: &SqlitePool, node: &NodeName) -> Result<(), StoreError> {
    super::links::keep(writer, node, &[]).await?;
    sqlx::query("DELETE FROM nodes WHERE name = ?1")
        .bind(row::text(node.as_str()))
        .execute(writer)
        .await
        .map_err(failure)?;
    Ok(())
}

/// All nodes, and what waits for any of them.
pub(super) async fn cluster(readers: &SqlitePool) -> Result<Cluster, StoreError> {
    let nodes = sqlx::query(
        "SELECT name, version, started_at, lag, polls_telegram, spooled, spooled_since, unixepoch('subsec') - seen_at / 1e6 AS seen_s,
                (SELECT count(*) FROM outbox WHERE claimed_by = name) AS leases,
                (SELECT max(claimed_until) FROM outbox WHERE claimed_by = name) AS leased_until
         FROM nodes ORDER BY name",
    )
    .fetch_all(readers)
    .await
    .map_err(failure)?;
    let waiting = sqlx::query(
        "WITH clock AS (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now)
         SELECT (SELECT count(*) FROM outbox
                 WHERE due_at <= now AND (claimed_until IS NULL OR claimed_until <= now)) AS waiting_orders,
                (SELECT coalesce(max(now - due_at), 0) / 1e6 FROM outbox
                 WHERE due_at <= now AND (claimed_until IS NULL OR claimed_until <= now)) AS oldest_waiting_s,
                (SELECT count(*) FROM sessions
                 WHERE state NOT IN ('dropped', 'closed') AND wake_at <= now) AS overdue_sessions,
                (SELECT coalesce(max(now - wake_at), 0) / 1e6 FROM sessions
                 WHERE state NOT IN ('dropped', 'closed') AND wake_at <= now) AS most_overdue_s
         FROM clock",
    )
    .fetch_one(readers)
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

fn status(row: &SqliteRow) -> Result<NodeStatus, StoreError> {
    let cells = Cells { table: "nodes", row };
    let seen_s: f64 = row.try_get("seen_s").map_err(failure)?;
    Ok(NodeStatus {
        name: NodeName::new(cells.need("name", Cells::text)?),
        alive: seen_s < SILENCE.as_secs_f64(),
        version: cells.need("version", Cells::text)?,
        started_at: cells.need("started_at", Cells::time)?,
        seen_s,
        lag_s: cells.need("lag", Cells::span)?.as_secs_f64(),
        leases: cells.need("leases", Cells::number)?,
        leased_until: cells.time("leased_until")?,
        polls_telegram: cells.need("polls_telegram", Cells::flag)?,
        spooled: cells.need("spooled", Cells::number)?,
        spooled_since: cells.time("spooled_since")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use super::*;

    /// The number of each connection begins at the same.
    #[tokio::test]
    async fn what_others_change_while_the_connection_is_replaced_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("file")).await.unwrap();
        let before = changes_of_others(&store.writer, &store.opened).await.unwrap();
        assert_eq!(changes_of_others(&store.writer, &store.opened).await.unwrap(), before);
        drop(store.writer.acquire().await.unwrap().detach());
        drop(store.writer.acquire().await.unwrap());
        let after = changes_of_others(&store.writer, &store.opened).await.unwrap();
        assert_eq!(after.1, before.1, "else that alone would tell");
        assert_ne!(after, before);
    }
}
