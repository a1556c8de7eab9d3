//! Authentication attempts.

use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use super::{failure, rows};
use crate::store::row::{self, Cells};
use crate::store::{AuthAttempt, StoreError, records};

const COLUMNS: usize = 9;

macro_rules! columns {
    () => {
        "at, user_name, nas, nas_address, calling_station_id, method, outcome, session_id, nonce"
    };
}

/// Adds these.
pub(super) fn add(sql: &mut QueryBuilder<Sqlite>, attempts: &[AuthAttempt]) {
    sql.push(concat!("WITH new (", columns!(), ") AS ("));
    rows::push(sql, COLUMNS, attempts, |values, attempt| {
        values.push_bind(row::micros(attempt.at));
        values.push_bind(row::text(&attempt.user)).push_bind(row::text(attempt.nas.as_str()));
        values.push_bind(attempt.nas_address.to_string()).push_bind(row::text_or_none(&attempt.calling_station_id));
        values.push_bind(row::text(&attempt.method)).push_bind(row::text(&attempt.outcome));
        values.push_bind(attempt.session.map(|session| session.to_string())).push_bind(attempt.nonce);
    });
    sql.push(concat!(
        ") INSERT INTO auth_attempts (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM new WHERE at IS NOT NULL ON CONFLICT (at, nonce) DO NOTHING"
    ));
}

pub(super) async fn latest(pool: &SqlitePool, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM auth_attempts ORDER BY at DESC, id DESC LIMIT ?1"))
        .bind(limit)
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::attempt(&Cells { table: "auth_attempts", row })).collect()
}
