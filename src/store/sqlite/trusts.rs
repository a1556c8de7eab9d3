//! Approvals that are remembered: kept with the lifting they are of, made void with the denial they end by.

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::{audit, failure};
use crate::model::{SessionId, Timestamp, UserName};
use crate::policy::{Trust, TrustVoid};
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, StoreError, guards};

macro_rules! columns {
    () => {
        "session_id, trusts.user_name AS user_name, place, since, until, through, who, revoked_at"
    };
}

/// Remembers an approval in the place of an earlier one for the same place.
pub(super) async fn add(connection: &mut SqliteConnection, trust: &Trust, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO trusts (user_name, place, session_id, since, until, through, who, revoked_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, ?8)
         ON CONFLICT (user_name, place) DO UPDATE
         SET (session_id, since, until, through, who, revoked_at, changed_at) =
             (excluded.session_id, excluded.since, excluded.until, excluded.through, excluded.who, NULL, excluded.changed_at)
         WHERE excluded.since > trusts.since AND (trusts.revoked_at IS NULL OR excluded.since > trusts.revoked_at)",
    )
    .bind(row::text(trust.user.as_str()))
    .bind(trust.place.to_string())
    .bind(trust.session.to_string())
    .bind(row::micros(trust.since))
    .bind(row::micros(trust.until))
    .bind(trust.through.as_str())
    .bind(row::text(&trust.who))
    .bind(row::micros(at))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Makes approvals void.
pub(super) async fn void(
    connection: &mut SqliteConnection,
    void: &TrustVoid,
    why: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO trust_voids (user_name, up_to, why, changed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user_name) DO UPDATE
         SET up_to = excluded.up_to, why = excluded.why, changed_at = excluded.changed_at
         WHERE excluded.up_to > trust_voids.up_to",
    )
    .bind(row::text(void.user.as_str()))
    .bind(row::micros(void.up_to))
    .bind(why)
    .bind(row::micros(at))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn changed(pool: &SqlitePool, since: Timestamp) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError> {
    // Approvals first: a void that comes between the two looks is seen.
    let trusts = sqlx::query(concat!("SELECT ", columns!(), " FROM trusts WHERE changed_at >= ?1 ORDER BY changed_at"))
        .bind(row::micros(since))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    let voids = sqlx::query("SELECT user_name, up_to FROM trust_voids WHERE changed_at >= ?1")
        .bind(row::micros(since))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    let trusts = trusts.iter().map(|row| guards::trust(&Cells { table: "trusts", row })).collect::<Result<_, _>>()?;
    let voids = voids.iter().map(|row| guards::void(&Cells { table: "trust_voids", row })).collect::<Result<_, _>>()?;
    Ok((trusts, voids))
}

pub(super) async fn of(pool: &SqlitePool, user: Option<&UserName>, now: Timestamp) -> Result<Vec<Trust>, StoreError> {
    const OF: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM trusts LEFT JOIN trust_voids ON trust_voids.user_name = trusts.user_name
          WHERE (?1 IS NULL OR trusts.user_name = ?1) AND revoked_at IS NULL AND until > ?2 AND coalesce(up_to < since, 1)
          ORDER BY trusts.user_name, since, place"
    );
    let user = user.map(|user| row::text(user.as_str()));
    let rows = sqlx::query(OF).bind(user).bind(row::micros(now)).fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(|row| guards::trust(&Cells { table: "trusts", row })).collect()
}

pub(super) async fn revoke(
    mut tx: Transaction<'_, Sqlite>,
    user: &UserName,
    only: Option<SessionId>,
    act: &AuditEntry,
) -> Result<u64, StoreError> {
    if only.is_none() {
        // What is approved already and not lifted yet is meant too.
        let all = TrustVoid { user: user.clone(), up_to: act.at };
        void(&mut tx, &all, guards::REVOKED, act.at).await?;
    }
    let revoked = sqlx::query(
        "UPDATE trusts SET revoked_at = ?3, changed_at = ?3
         WHERE user_name = ?1 AND (?2 IS NULL OR session_id = ?2) AND revoked_at IS NULL AND until > ?3
             AND NOT EXISTS (
                 SELECT 1 FROM trust_voids AS void
                 WHERE void.user_name = trusts.user_name AND void.up_to >= trusts.since AND void.up_to < ?3
             )",
    )
    .bind(row::text(user.as_str()))
    .bind(only.map(|session| session.to_string()))
    .bind(row::micros(act.at))
    .execute(&mut *tx)
    .await
    .map_err(failure)?
    .rows_affected();
    if revoked > 0 {
        audit::add(&mut tx, std::slice::from_ref(act)).await?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(revoked)
}

pub(super) async fn forget(mut tx: Transaction<'_, Sqlite>, before: Timestamp) -> Result<(), StoreError> {
    for statement in ["DELETE FROM trusts WHERE until < ?1", "DELETE FROM trust_voids WHERE up_to < ?1"] {
        sqlx::query(statement).bind(row::micros(before)).execute(&mut *tx).await.map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}
