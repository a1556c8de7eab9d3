//! Enrolments: links and chats on their way to being bound. Who takes one is settled by the state it was in.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};

use super::columns::time;
use super::{audit, failure, user};
use crate::model::{Enrolment, EnrolmentId, EnrolmentState, Timestamp};
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, StoreError, records};

const COLUMNS: &str = "id, user_name, approver, token_hash, replace, made_by, made_at, expires_at, state, address, presser, person, language, taken_at";

pub(super) async fn add(
    mut tx: Transaction<'_, Postgres>,
    enrolment: &Enrolment,
    act: &AuditEntry,
) -> Result<(), StoreError> {
    let taker = enrolment.taker.as_ref();
    let added = sqlx::query(
        "INSERT INTO enrolments (id, user_name, approver, token_hash, replace, made_by, made_at, expires_at, state, address,
             presser, person, language, taken_at)
         SELECT $1, name, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM users WHERE name = $2",
    )
    .bind(enrolment.id.0)
    .bind(row::text(enrolment.user.as_str()))
    .bind(row::word(&enrolment.approver))
    .bind(enrolment.token_hash.as_deref())
    .bind(enrolment.replace)
    .bind(row::text(&enrolment.made_by))
    .bind(time(enrolment.made_at))
    .bind(time(enrolment.expires_at))
    .bind(enrolment.state.as_str())
    .bind(taker.map(|taker| row::text(&taker.address)))
    .bind(taker.map(|taker| row::text(&taker.presser)))
    .bind(taker.map(|taker| row::text(&taker.person)))
    .bind(taker.and_then(|taker| taker.language.as_deref().map(row::text)))
    .bind(taker.map(|taker| time(taker.at)))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    if added.rows_affected() == 0 {
        return Err(user::missing(&enrolment.user));
    }
    audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)
}

pub(super) async fn find(connection: &mut PgConnection, id: EnrolmentId) -> Result<Option<Enrolment>, StoreError> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM enrolments WHERE id = $1")))
        .bind(id.0)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?;
    found.map(|row| records::enrolment(&Cells { table: "enrolments", row: &row })).transpose()
}

pub(super) async fn by_token(connection: &mut PgConnection, hash: &[u8]) -> Result<Option<Enrolment>, StoreError> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM enrolments WHERE token_hash = $1")))
        .bind(hash)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?;
    found.map(|row| records::enrolment(&Cells { table: "enrolments", row: &row })).transpose()
}

pub(super) async fn waiting(connection: &mut PgConnection, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM enrolments WHERE state = 'waiting' AND expires_at > $1 ORDER BY taken_at, id"
    )))
    .bind(time(now))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::enrolment(&Cells { table: "enrolments", row })).collect()
}

pub(super) async fn open(connection: &mut PgConnection, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM enrolments WHERE state IN ('open', 'waiting') AND expires_at > $1 ORDER BY made_at, id"
    )))
    .bind(time(now))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::enrolment(&Cells { table: "enrolments", row })).collect()
}

pub(super) async fn revoke(
    mut tx: Transaction<'_, Postgres>,
    id: EnrolmentId,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let revoked = sqlx::query(
        "UPDATE enrolments SET state = 'refused' WHERE id = $1 AND state IN ('open', 'waiting') AND expires_at > $2",
    )
    .bind(id.0)
    .bind(time(act.at))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    if revoked.rows_affected() == 0 {
        return Ok(false);
    }
    audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn advance(
    mut tx: Transaction<'_, Postgres>,
    enrolment: &Enrolment,
    from: EnrolmentState,
    now: Timestamp,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let Some(taker) = &enrolment.taker else { return Ok(false) };
    let moved = sqlx::query(
        "UPDATE enrolments
         SET state = $2, expires_at = $3, address = $4, presser = $5, person = $6, language = $7, taken_at = $8
         WHERE id = $1 AND state = $9 AND expires_at > $10",
    )
    .bind(enrolment.id.0)
    .bind(enrolment.state.as_str())
    .bind(time(enrolment.expires_at))
    .bind(row::text(&taker.address))
    .bind(row::text(&taker.presser))
    .bind(row::text(&taker.person))
    .bind(taker.language.as_deref().map(row::text))
    .bind(time(taker.at))
    .bind(from.as_str())
    .bind(time(now))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    if moved.rows_affected() == 0 {
        return Ok(false);
    }
    if enrolment.state == EnrolmentState::Bound
        && !bind(&mut tx, enrolment, &taker.address, &taker.presser, now).await?
    {
        return Ok(false);
    }
    audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

async fn bind(
    tx: &mut Transaction<'_, Postgres>,
    enrolment: &Enrolment,
    address: &str,
    presser: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if enrolment.replace {
        sqlx::query("DELETE FROM bindings WHERE user_name = $1 AND approver = $2 AND address <> $3")
            .bind(row::text(enrolment.user.as_str()))
            .bind(row::word(&enrolment.approver))
            .bind(row::text(address))
            .execute(&mut **tx)
            .await
            .map_err(failure)?;
    }
    let bound = sqlx::query(
        "INSERT INTO bindings (user_name, approver, address, presser, bound_at)
         SELECT name, $2, $3, $4, $5 FROM users WHERE name = $1
         ON CONFLICT (user_name, approver, address) DO UPDATE SET presser = excluded.presser, bound_at = excluded.bound_at",
    )
    .bind(row::text(enrolment.user.as_str()))
    .bind(row::word(&enrolment.approver))
    .bind(row::text(address))
    .bind(row::text(presser))
    .bind(time(now))
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    Ok(bound.rows_affected() > 0)
}

pub(super) async fn claim_notices(
    connection: &mut PgConnection,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Enrolment>, StoreError> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE enrolments SET claimed_until = $2
         WHERE id IN (
             SELECT id FROM enrolments
             WHERE state = 'waiting' AND told = false AND expires_at > $1 AND (claimed_until IS NULL OR claimed_until <= $1)
             ORDER BY taken_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
         )
         RETURNING {COLUMNS}"
    )))
    .bind(time(now))
    .bind(time(now + lease))
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::enrolment(&Cells { table: "enrolments", row })).collect()
}

pub(super) async fn told(connection: &mut PgConnection, id: EnrolmentId) -> Result<(), StoreError> {
    sqlx::query("UPDATE enrolments SET told = true, claimed_until = NULL WHERE id = $1")
        .bind(id.0)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM enrolments WHERE expires_at < $1")
        .bind(time(before))
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}
