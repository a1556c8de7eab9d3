//! Bans, and the NASes that are to be told of them.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};

use super::columns::time;
use super::{audit, failure};
use crate::model::{NodeName, Timestamp};
use crate::policy::{Ban, BanTarget};
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, BanNotice, StoreError, ban};

pub(super) async fn changed(connection: &mut PgConnection, since: Timestamp) -> Result<Vec<Ban>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, value, since, until, lifted_at, reason, set_by, automatic, forced FROM bans
         WHERE since >= $1 OR lifted_at >= $1 ORDER BY kind COLLATE \"C\", value COLLATE \"C\"",
    )
    .bind(time(since))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::ban(&Cells { table: "bans", row })).collect()
}

pub(super) async fn set(mut tx: Transaction<'_, Postgres>, ban: &Ban, act: &AuditEntry) -> Result<bool, StoreError> {
    let set = sqlx::query(
        "INSERT INTO bans (kind, value, since, until, lifted_at, reason, set_by, automatic, forced)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (kind, value) DO UPDATE
         SET (since, until, lifted_at, reason, set_by, automatic, forced) =
             (excluded.since, excluded.until, excluded.lifted_at, excluded.reason, excluded.set_by, excluded.automatic,
              excluded.forced)
         WHERE NOT (excluded.automatic AND bans.lifted_at IS NULL
                    AND (bans.until IS NULL OR bans.until > excluded.since))",
    )
    .bind(ban.target.kind())
    .bind(row::text(&ban.target.value()).into_owned())
    .bind(time(ban.since))
    .bind(ban.until.map(time))
    .bind(ban.lifted_at.map(time))
    .bind(row::text(&ban.reason))
    .bind(row::text(&ban.by))
    .bind(ban.automatic)
    .bind(ban.forced)
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    conclude(tx, set.rows_affected(), &ban.target, act).await
}

pub(super) async fn lift(
    mut tx: Transaction<'_, Postgres>,
    target: &BanTarget,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let lifted = sqlx::query(
        "UPDATE bans SET lifted_at = $3
         WHERE kind = $1 AND value = $2 AND lifted_at IS NULL AND (until IS NULL OR until > $3)",
    )
    .bind(target.kind())
    .bind(row::text(&target.value()).into_owned())
    .bind(time(act.at))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    conclude(tx, lifted.rows_affected(), target, act).await
}

/// The act and the notice go with the change, or there is none.
async fn conclude(
    mut tx: Transaction<'_, Postgres>,
    changed: u64,
    target: &BanTarget,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    if changed == 0 {
        return Ok(false);
    }
    if ban::told_of(target).is_some() {
        sqlx::query(
            "INSERT INTO ban_notices (address, generation, told, due_at, attempts) VALUES ($1, 1, '[]', $2, 0)
             ON CONFLICT (address) DO UPDATE
             SET generation = ban_notices.generation + 1, told = '[]', due_at = excluded.due_at, attempts = 0",
        )
        .bind(target.value())
        .bind(time(act.at))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    }
    audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn claim_notices(
    connection: &mut PgConnection,
    node: &NodeName,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<BanNotice>, StoreError> {
    let rows = sqlx::query(
        "UPDATE ban_notices SET claimed_by = $1, claimed_until = $3, attempts = attempts + 1
         WHERE address IN (
             SELECT address FROM ban_notices
             WHERE due_at <= $2 AND (claimed_until IS NULL OR claimed_until <= $2)
             ORDER BY due_at, address LIMIT $4 FOR UPDATE SKIP LOCKED
         )
         RETURNING address, generation, told, attempts - 1 AS attempts",
    )
    .bind(row::text(node.as_str()))
    .bind(time(now))
    .bind(time(now + lease))
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::notice(&Cells { table: "ban_notices", row })).collect()
}

pub(super) async fn settle_notice(
    connection: &mut PgConnection,
    notice: &BanNotice,
    again: Option<Timestamp>,
) -> Result<(), StoreError> {
    let (address, generation) = (ban::key(notice), row::counter(notice.generation));
    let settled = match again {
        None => sqlx::query("DELETE FROM ban_notices WHERE address = $1 AND generation = $2")
            .bind(&address)
            .bind(generation),
        Some(again) => sqlx::query(
            "UPDATE ban_notices SET told = $3, due_at = $4, claimed_by = NULL, claimed_until = NULL
             WHERE address = $1 AND generation = $2",
        )
        .bind(&address)
        .bind(generation)
        .bind(row::json(&notice.told))
        .bind(time(again)),
    };
    if settled.execute(&mut *connection).await.map_err(failure)?.rows_affected() == 0 {
        // Another change came meanwhile: nobody is at it now.
        sqlx::query("UPDATE ban_notices SET claimed_by = NULL, claimed_until = NULL WHERE address = $1")
            .bind(&address)
            .execute(&mut *connection)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

pub(super) async fn forget(mut tx: Transaction<'_, Postgres>, before: Timestamp) -> Result<(), StoreError> {
    let before = time(before);
    for statement in ["DELETE FROM bans WHERE lifted_at < $1 OR until < $1", "DELETE FROM strikes WHERE at < $1"] {
        sqlx::query(statement).bind(before).execute(&mut *tx).await.map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}
