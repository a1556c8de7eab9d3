//! Strikes: kept with the end of their hold, once.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::model::{SessionId, Timestamp};
use crate::policy::Strike;
use crate::store::row::{self, Cells};
use crate::store::{StoreError, ban};

/// Strikes looked at, at most: of more, the latest say enough.
const MOST: i64 = 20_000;

pub(super) async fn add(
    connection: &mut PgConnection,
    strikes: impl Iterator<Item = Strike>,
) -> Result<(), sqlx::Error> {
    let strikes: Vec<Strike> = strikes.collect();
    if strikes.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&Strike) -> &str| -> Vec<String> {
        strikes.iter().map(|strike| row::text(of(strike)).into_owned()).collect()
    };
    let caller = |strike: &Strike| strike.caller.as_ref().map(|caller| row::text(&caller.to_string()).into_owned());
    sqlx::query(
        "INSERT INTO strikes (session_id, at, user_name, nas, caller, why)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[])
         ON CONFLICT (session_id) DO NOTHING",
    )
    .bind(strikes.iter().map(|strike| strike.session.0).collect::<Vec<Uuid>>())
    .bind(strikes.iter().map(|strike| time(strike.at)).collect::<Vec<_>>())
    .bind(texts(|strike| strike.user.as_str()))
    .bind(texts(|strike| strike.nas.as_str()))
    .bind(strikes.iter().map(caller).collect::<Vec<Option<String>>>())
    .bind(texts(|strike| strike.why.as_str()))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn since(connection: &mut PgConnection, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, at, user_name, nas, caller, why FROM strikes WHERE at >= $1
         ORDER BY at DESC, session_id DESC LIMIT $2",
    )
    .bind(time(since))
    .bind(MOST)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().rev().map(|row| ban::strike(&Cells { table: "strikes", row })).collect()
}

/// Takes denied logins of which administrators are to be told.
pub(super) async fn claim_notices(
    connection: &mut PgConnection,
    since: Timestamp,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Result<Vec<Strike>, StoreError> {
    let rows = sqlx::query(
        "UPDATE strikes SET claimed_until = $3
         WHERE session_id IN (
             SELECT session_id FROM strikes
             WHERE told = false AND why = 'denied' AND at >= $1 AND (claimed_until IS NULL OR claimed_until <= $2)
             ORDER BY at, session_id LIMIT $4 FOR UPDATE SKIP LOCKED
         )
         RETURNING session_id, at, user_name, nas, caller, why",
    )
    .bind(time(since))
    .bind(time(now))
    .bind(time(now + lease))
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| ban::strike(&Cells { table: "strikes", row })).collect()
}

/// Administrators know of it.
pub(super) async fn told(connection: &mut PgConnection, session: SessionId) -> Result<(), StoreError> {
    sqlx::query("UPDATE strikes SET told = true, claimed_until = NULL WHERE session_id = $1")
        .bind(session.0)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    Ok(())
}
