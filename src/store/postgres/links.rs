//! Which node a NAS has a TLS connection to, and orders meant for that node.

use sqlx::PgConnection;

use super::columns::time;
use super::{failure, nodes};
use crate::model::{NasName, NodeName, Timestamp};
use crate::store::row;
use crate::store::{Order, StoreError};

/// Keeps the NASes connected to a node in the place of those before.
pub(super) async fn keep(connection: &mut PgConnection, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError> {
    let nases: Vec<_> = nases.iter().map(|nas| row::text(nas.as_str()).into_owned()).collect();
    sqlx::query(
        "WITH gone AS (DELETE FROM radsec_links WHERE node = $1 AND nas <> ALL ($2))
         INSERT INTO radsec_links (node, nas) SELECT $1, nas FROM unnest($2) AS nas ON CONFLICT DO NOTHING",
    )
    .bind(row::text(node.as_str()))
    .bind(nases)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// The nodes alive that a NAS is connected to, by name.
pub(super) async fn nodes_of(connection: &mut PgConnection, nas: &NasName) -> Result<Vec<NodeName>, StoreError> {
    let nodes: Vec<String> = sqlx::query_scalar(
        "SELECT node FROM radsec_links JOIN nodes ON nodes.name = node
         WHERE nas = $1 AND seen_at > clock_timestamp() - $2::interval ORDER BY node COLLATE \"C\"",
    )
    .bind(row::text(nas.as_str()))
    .bind(super::columns::interval(nodes::SILENCE))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(nodes.into_iter().map(NodeName::new).collect())
}

/// Gives a claimed order free for one node alone until then, and calls it.
pub(super) async fn hand_over(
    connection: &mut PgConnection,
    order: &Order,
    node: &NodeName,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "WITH handed AS (
             UPDATE outbox SET meant_for = $2, meant_until = $3, claimed_by = NULL, claimed_until = NULL
             WHERE id = $1 AND attempts = $4 AND claimed_until IS NOT NULL RETURNING id
         )
         SELECT pg_notify('radhold', 'orders') FROM handed",
    )
    .bind(order.id.0)
    .bind(row::text(node.as_str()))
    .bind(time(until))
    .bind(i64::from(order.attempts) + 1)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}
