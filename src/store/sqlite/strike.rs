//! Strikes: kept with the end of their hold, once.

use sqlx::{SqliteExecutor, SqlitePool};

use super::failure;
use crate::model::Timestamp;
use crate::policy::Strike;
use crate::store::row::{self, Cells};
use crate::store::{StoreError, ban};

/// Strikes looked at, at most: of more, the latest say enough.
const MOST: u32 = 20_000;

pub(super) async fn add(executor: impl SqliteExecutor<'_>, strike: &Strike) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO strikes (session_id, at, user_name, nas, caller, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (session_id) DO NOTHING",
    )
    .bind(strike.session.to_string())
    .bind(row::micros(strike.at))
    .bind(row::text(strike.user.as_str()))
    .bind(row::text(strike.nas.as_str()))
    .bind(strike.caller.as_ref().map(|caller| row::text(&caller.to_string()).into_owned()))
    .bind(strike.why.as_str())
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn since(pool: &SqlitePool, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, at, user_name, nas, caller, why FROM strikes WHERE at >= ?1
         ORDER BY at DESC, session_id DESC LIMIT ?2",
    )
    .bind(row::micros(since))
    .bind(MOST)
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    rows.iter().rev().map(|row| ban::strike(&Cells { table: "strikes", row })).collect()
}
