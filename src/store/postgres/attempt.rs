//! Authentication attempts.

use std::net::IpAddr;

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::store::row::{self, Cells};
use crate::store::{AuthAttempt, StoreError, records};

/// One whose first INSERT is still on its way waits for that: what it comes to decides whether this one adds anything.
pub(super) async fn add(connection: &mut PgConnection, attempts: &[AuthAttempt]) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let texts = |of: fn(&AuthAttempt) -> &str| -> Vec<String> {
        attempts.iter().map(|attempt| row::text(of(attempt)).into_owned()).collect()
    };
    let stations: Vec<Option<String>> = attempts
        .iter()
        .map(|attempt| row::text_or_none(&attempt.calling_station_id).map(|station| station.into_owned()))
        .collect();
    sqlx::query(
        "INSERT INTO auth_attempts (at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id, nonce)
         SELECT at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id, nonce
         FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::inet[], $5::text[], $6::text[], $7::text[], $8::uuid[],
                     $9::bigint[])
             WITH ORDINALITY
             AS new (at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id, nonce, place)
         ORDER BY place
         ON CONFLICT (at, nonce) DO NOTHING",
    )
    .bind(attempts.iter().map(|attempt| time(attempt.at)).collect::<Vec<_>>())
    .bind(texts(|attempt| &attempt.user))
    .bind(texts(|attempt| attempt.nas.as_str()))
    .bind(attempts.iter().map(|attempt| attempt.nas_address).collect::<Vec<IpAddr>>())
    .bind(stations)
    .bind(texts(|attempt| &attempt.method))
    .bind(texts(|attempt| &attempt.outcome))
    .bind(attempts.iter().map(|attempt| attempt.session.map(|session| session.0)).collect::<Vec<Option<Uuid>>>())
    .bind(attempts.iter().map(|attempt| attempt.nonce).collect::<Vec<Option<i64>>>())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn latest(connection: &mut PgConnection, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
    let rows = sqlx::query(
        "SELECT at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id, nonce
         FROM auth_attempts ORDER BY at DESC, id DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::attempt(&Cells { table: "auth_attempts", row })).collect()
}
