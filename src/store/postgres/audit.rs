//! The audit record.

use sqlx::{PgConnection, Postgres, QueryBuilder, Transaction};

use super::columns::time;
use super::failure;
use crate::model::Timestamp;
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, AuditQuery, StoreError, audit};

pub(super) async fn add(connection: &mut PgConnection, acts: &[AuditEntry]) -> Result<(), StoreError> {
    keep(connection, acts).await.map_err(failure)
}

pub(super) async fn keep(connection: &mut PgConnection, acts: &[AuditEntry]) -> Result<(), sqlx::Error> {
    for act in acts {
        insert(&mut *connection, act).await?;
    }
    Ok(())
}

pub(super) async fn insert(connection: &mut PgConnection, act: &AuditEntry) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (at, who, through, origin, act, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(time(act.at))
    .bind(row::text(&act.who))
    .bind(row::text(&act.through))
    .bind(row::text(&act.origin))
    .bind(row::text(&act.act))
    .bind(row::text(&act.subject))
    .bind(row::text(&act.detail))
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn matching(connection: &mut PgConnection, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
    let mut sql =
        QueryBuilder::<Postgres>::new("SELECT at, who, through, origin, act, subject, detail FROM audit WHERE true");
    if let Some(since) = query.since {
        sql.push(" AND at >= ").push_bind(time(since));
    }
    if let Some(until) = query.until {
        sql.push(" AND at < ").push_bind(time(until));
    }
    if let Some(who) = &query.who {
        sql.push(" AND who = ").push_bind(row::text(who));
    }
    if let Some(subject) = &query.subject {
        sql.push(" AND subject = ").push_bind(row::text(subject));
    }
    if let Some(act) = &query.act {
        sql.push(" AND starts_with(act, ").push_bind(row::text(act)).push(")");
    }
    sql.push(" ORDER BY at DESC, id DESC");
    if query.limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::from(query.limit));
    }
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(|row| audit::entry(&Cells { table: "audit", row })).collect()
}

pub(super) async fn prune(mut tx: Transaction<'_, Postgres>, before: Timestamp) -> Result<u64, StoreError> {
    let before = time(before);
    sqlx::query("INSERT INTO audit_pruning (before) VALUES ($1)")
        .bind(before)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    let pruned =
        sqlx::query("DELETE FROM audit WHERE at < $1").bind(before).execute(&mut *tx).await.map_err(failure)?;
    sqlx::query("DELETE FROM audit_pruning").execute(&mut *tx).await.map_err(failure)?;
    tx.commit().await.map_err(failure)?;
    Ok(pruned.rows_affected())
}
