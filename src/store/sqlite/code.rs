//! Codes as a second factor: TOTP, recovery codes, emergency codes, answered challenges. Each that works once is struck off by
//! compare-and-set, so that of two nodes one wins.

use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::failure;
use crate::model::{Timestamp, UserName};
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, CodeTry, EmergencyCode, KeptTotp, StoreError, code};

macro_rules! columns {
    () => {
        "user_name, secret, enrolled_at, confirmed_at, (SELECT count(*) FROM recovery_codes AS spare \
         WHERE spare.user_name = totp.user_name AND spare.used_at IS NULL) AS recovery_left"
    };
}

pub(super) async fn totp(pool: &SqlitePool, user: &UserName) -> Result<Option<KeptTotp>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM totp WHERE user_name = ?1"))
        .bind(row::text(user.as_str()))
        .fetch_optional(pool)
        .await
        .map_err(failure)?;
    row.map(|row| code::totp(&Cells { table: "totp", row: &row })).transpose()
}

pub(super) async fn enrol(
    mut tx: Transaction<'_, Sqlite>,
    totp: &KeptTotp,
    recovery: &[String],
    act: &AuditEntry,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO totp (user_name, secret, enrolled_at, confirmed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user_name) DO UPDATE SET
             secret = excluded.secret, enrolled_at = excluded.enrolled_at, confirmed_at = excluded.confirmed_at, last_step = 0",
    )
    .bind(row::text(totp.user.as_str()))
    .bind(&totp.secret)
    .bind(row::micros(totp.enrolled_at))
    .bind(totp.confirmed_at.map(row::micros))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    replace_recovery(&mut tx, &totp.user, recovery).await?;
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)
}

pub(super) async fn remove(
    mut tx: Transaction<'_, Sqlite>,
    user: &UserName,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let removed = sqlx::query("DELETE FROM totp WHERE user_name = ?1")
        .bind(row::text(user.as_str()))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    if removed.rows_affected() == 0 {
        return Ok(false);
    }
    replace_recovery(&mut tx, user, &[]).await?;
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn renew_recovery(
    mut tx: Transaction<'_, Sqlite>,
    user: &UserName,
    recovery: &[String],
    act: &AuditEntry,
) -> Result<(), StoreError> {
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM totp WHERE user_name = ?1")
        .bind(row::text(user.as_str()))
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    if there == 0 {
        return Err(code::no_totp(user));
    }
    replace_recovery(&mut tx, user, recovery).await?;
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)
}

async fn replace_recovery(
    tx: &mut Transaction<'_, Sqlite>,
    user: &UserName,
    recovery: &[String],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM recovery_codes WHERE user_name = ?1")
        .bind(row::text(user.as_str()))
        .execute(&mut **tx)
        .await
        .map_err(failure)?;
    for hash in recovery {
        sqlx::query("INSERT INTO recovery_codes (user_name, hash) VALUES (?1, ?2)")
            .bind(row::text(user.as_str()))
            .bind(hash)
            .execute(&mut **tx)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

pub(super) async fn begin_try(
    pool: &SqlitePool,
    user: &UserName,
    now: Timestamp,
) -> Result<Option<CodeTry>, StoreError> {
    let row = sqlx::query(concat!(
        "UPDATE totp SET
             tries = CASE WHEN minute_at > ?3 THEN tries + 1 ELSE 1 END,
             minute_at = CASE WHEN minute_at > ?3 THEN minute_at ELSE ?2 END
         WHERE user_name = ?1 RETURNING tries, ",
        columns!()
    ))
    .bind(row::text(user.as_str()))
    .bind(row::micros(now))
    .bind(row::micros(now.before(code::MINUTE)))
    // To its end: a row is told of before it is committed, and whoever stops there does not hear that it was not.
    .fetch_all(pool)
    .await
    .map_err(failure)?
    .pop();
    row.map(|row| code::code_try(&Cells { table: "totp", row: &row })).transpose()
}

pub(super) async fn accept_step(
    connection: &mut SqliteConnection,
    totp: &KeptTotp,
    step: u64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let set = sqlx::query(
        "UPDATE totp SET last_step = ?3, confirmed_at = coalesce(confirmed_at, ?4)
         WHERE user_name = ?1 AND secret = ?2 AND last_step < ?3",
    )
    .bind(row::text(totp.user.as_str()))
    .bind(&totp.secret)
    .bind(code::step(step))
    .bind(row::micros(now))
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(set.rows_affected() == 1)
}

/// The same by an administrator, with the act.
pub(super) async fn confirm(
    mut tx: Transaction<'_, Sqlite>,
    totp: &KeptTotp,
    step: u64,
    now: Timestamp,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    if !accept_step(&mut tx, totp, step, now).await? {
        return Ok(false);
    }
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn spend_recovery(
    mut tx: Transaction<'_, Sqlite>,
    user: &UserName,
    hash: &str,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let spent =
        sqlx::query("UPDATE recovery_codes SET used_at = ?3 WHERE user_name = ?1 AND hash = ?2 AND used_at IS NULL")
            .bind(row::text(user.as_str()))
            .bind(hash)
            .bind(row::micros(act.at))
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
    if spent.rows_affected() == 0 {
        return Ok(false);
    }
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn add_emergency(
    mut tx: Transaction<'_, Sqlite>,
    code: &EmergencyCode,
    act: &AuditEntry,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO emergency_codes (name, hash, made_at, made_by, valid_until, uses_left) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(&code.name)
    .bind(&code.hash)
    .bind(row::micros(code.made_at))
    .bind(row::text(&code.made_by))
    .bind(row::micros(code.valid_until))
    .bind(i64::from(code.uses_left))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)
}

pub(super) async fn emergencies(pool: &SqlitePool) -> Result<Vec<EmergencyCode>, StoreError> {
    let rows = sqlx::query(
        "SELECT name, hash, made_at, made_by, valid_until, uses_left FROM emergency_codes ORDER BY made_at, name",
    )
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().map(emergency).collect()
}

pub(super) async fn spend_emergency(
    mut tx: Transaction<'_, Sqlite>,
    hash: &str,
    act: &AuditEntry,
) -> Result<Option<EmergencyCode>, StoreError> {
    let spent = sqlx::query(
        "UPDATE emergency_codes SET uses_left = uses_left - 1 WHERE hash = ?1 AND valid_until > ?2 AND uses_left > 0
         RETURNING name, hash, made_at, made_by, valid_until, uses_left",
    )
    .bind(hash)
    .bind(row::micros(act.at))
    .fetch_optional(&mut *tx)
    .await
    .map_err(failure)?;
    let Some(spent) = spent.as_ref().map(emergency).transpose()? else { return Ok(None) };
    let detail = format!("{}emergency code {}, {} more uses", act.detail, spent.name, spent.uses_left);
    super::audit::add(&mut tx, &[AuditEntry { detail, ..act.clone() }]).await?;
    tx.commit().await.map_err(failure)?;
    Ok(Some(spent))
}

pub(super) async fn revoke_emergency(
    mut tx: Transaction<'_, Sqlite>,
    name: &str,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let revoked = sqlx::query("DELETE FROM emergency_codes WHERE name = ?1")
        .bind(row::text(name))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    if revoked.rows_affected() == 0 {
        return Ok(false);
    }
    super::audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn spend_challenge(pool: &SqlitePool, id: &str, expires_at: Timestamp) -> Result<bool, StoreError> {
    let spent =
        sqlx::query("INSERT INTO answered_challenges (id, expires_at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING")
            .bind(id)
            .bind(row::micros(expires_at))
            .execute(pool)
            .await
            .map_err(failure)?;
    Ok(spent.rows_affected() == 1)
}

pub(super) async fn forget(pool: &SqlitePool, before: Timestamp) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM answered_challenges WHERE expires_at < ?1",
        // What is over is shown for a while.
        "DELETE FROM emergency_codes WHERE valid_until < ?1",
    ] {
        sqlx::query(statement).bind(row::micros(before)).execute(pool).await.map_err(failure)?;
    }
    Ok(())
}

fn emergency(row: &SqliteRow) -> Result<EmergencyCode, StoreError> {
    code::emergency(&Cells { table: "emergency_codes", row })
}
