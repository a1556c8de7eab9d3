//! Which node a NAS has a TLS connection to, and orders meant for that node.

use sqlx::SqlitePool;

use super::{failure, nodes};
use crate::model::{NasName, NodeName, Timestamp};
use crate::store::row;
use crate::store::{Order, StoreError};

/// Keeps the NASes connected to a node in the place of those before.
pub(super) async fn keep(writer: &SqlitePool, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError> {
    let mut tx = writer.begin().await.map_err(failure)?;
    sqlx::query("DELETE FROM radsec_links WHERE node = ?1")
        .bind(row::text(node.as_str()))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    for nas in nases {
        sqlx::query("INSERT INTO radsec_links (node, nas) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(row::text(node.as_str()))
            .bind(row::text(nas.as_str()))
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}

/// The nodes alive that a NAS is connected to, by name.
pub(super) async fn nodes_of(readers: &SqlitePool, nas: &NasName) -> Result<Vec<NodeName>, StoreError> {
    let nodes: Vec<String> = sqlx::query_scalar(
        "SELECT node FROM radsec_links JOIN nodes ON nodes.name = node
         WHERE nas = ?1 AND unixepoch('subsec') - seen_at / 1e6 < ?2 ORDER BY node",
    )
    .bind(row::text(nas.as_str()))
    .bind(nodes::SILENCE.as_secs_f64())
    .fetch_all(readers)
    .await
    .map_err(failure)?;
    Ok(nodes.into_iter().map(NodeName::new).collect())
}

/// Gives a claimed order free for one node alone until then.
pub(super) async fn hand_over(
    writer: &SqlitePool,
    order: &Order,
    node: &NodeName,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET meant_for = ?2, meant_until = ?3, claimed_by = NULL, claimed_until = NULL
         WHERE id = ?1 AND attempts = ?4 AND claimed_until IS NOT NULL",
    )
    .bind(order.id.0)
    .bind(row::text(node.as_str()))
    .bind(row::micros(until))
    .bind(i64::from(order.attempts) + 1)
    .execute(writer)
    .await
    .map_err(failure)?;
    Ok(())
}
