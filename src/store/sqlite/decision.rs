//! Decisions: who said what about a session, by which channel, when. Written once, never changed.

use sqlx::SqliteExecutor;

use super::failure;
use crate::model::SessionId;
use crate::session::Decision;
use crate::store::StoreError;
use crate::store::row;

pub(super) async fn add(
    executor: impl SqliteExecutor<'_>,
    session: SessionId,
    decision: &Decision,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO decisions (session_id, decided_at, verdict, approver, who) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (session_id, decided_at) DO NOTHING",
    )
    .bind(session.to_string())
    .bind(row::micros(decision.at))
    .bind(decision.verdict.as_str())
    .bind(decision.by.approver.as_str())
    .bind(row::text(&decision.by.who))
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}
