//! Prompts: kept with the session they are about, when it begins and when somebody answers.

use std::time::Duration;

use sqlx::{QueryBuilder, Sqlite, SqlitePool, Transaction};

use super::{audit, failure, rows};
use crate::model::{Timestamp, UserName};
use crate::policy::Prompt;
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, StoreError, guards, records};

/// Prompts read at once, at most: of more, the latest say enough.
const MOST: u32 = 100_000;

const COLUMNS: usize = 10;

macro_rules! columns {
    () => {
        "session_id, user_name, nas, caller, port, asked_at, deadline, ended_at, fate, changed_at"
    };
}

/// Adds those that are new, and ends those that are open.
pub(super) fn keep(sql: &mut QueryBuilder<Sqlite>, prompts: &[(Prompt, Timestamp)]) {
    sql.push(concat!("WITH new (", columns!(), ") AS ("));
    rows::push(sql, COLUMNS, prompts, |values, (prompt, at)| {
        values.push_bind(prompt.session.to_string()).push_bind(row::text(prompt.user.as_str()));
        values.push_bind(row::text(prompt.nas.as_str())).push_bind(row::text(&prompt.caller));
        values.push_bind(row::text_or_none(&prompt.port)).push_bind(row::micros(prompt.at));
        values.push_bind(row::micros(prompt.deadline)).push_bind(prompt.end.map(|end| row::micros(end.at)));
        values.push_bind(prompt.end.map(|end| end.fate.as_str())).push_bind(row::micros(*at));
    });
    // A select without WHERE would leave it open what ON belongs to.
    sql.push(concat!(
        ") INSERT INTO prompts (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM new WHERE session_id IS NOT NULL
         ON CONFLICT (session_id) DO UPDATE SET ended_at = excluded.ended_at, fate = excluded.fate, changed_at = excluded.changed_at
         WHERE prompts.ended_at IS NULL AND excluded.ended_at IS NOT NULL"
    ));
}

pub(super) async fn changed(pool: &SqlitePool, since: Timestamp) -> Result<Vec<Prompt>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, user_name, nas, caller, port, asked_at, deadline, ended_at, fate FROM prompts
         WHERE changed_at >= ?1 ORDER BY changed_at DESC LIMIT ?2",
    )
    .bind(row::micros(since))
    .bind(MOST)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    Ok(rows.iter().filter_map(|row| records::or_skip(guards::prompt(&Cells { table: "prompts", row }))).collect())
}

pub(super) async fn notice(
    mut tx: Transaction<'_, Sqlite>,
    user: &UserName,
    window: Duration,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let noticed = sqlx::query(
        "INSERT INTO prompt_notices (user_name, at) VALUES (?1, ?2)
         ON CONFLICT (user_name) DO UPDATE SET at = excluded.at WHERE prompt_notices.at <= excluded.at - ?3",
    )
    .bind(row::text(user.as_str()))
    .bind(row::micros(act.at))
    .bind(row::span(window))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    if noticed.rows_affected() == 0 {
        return Ok(false);
    }
    audit::add(&mut tx, std::slice::from_ref(act)).await?;
    tx.commit().await.map_err(failure)?;
    Ok(true)
}

pub(super) async fn forget(mut tx: Transaction<'_, Sqlite>, before: Timestamp) -> Result<(), StoreError> {
    for statement in ["DELETE FROM prompts WHERE changed_at < ?1", "DELETE FROM prompt_notices WHERE at < ?1"] {
        sqlx::query(statement).bind(row::micros(before)).execute(&mut *tx).await.map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}
