//! Decisions: who said what about a session, by which channel, when. Written once, never changed.

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::time;
use crate::session::Session;
use crate::store::row;

/// Records the decisions of sessions that have one, unless they are on record.
pub(super) async fn add<'s>(
    connection: &mut PgConnection,
    sessions: impl Iterator<Item = &'s Session>,
) -> Result<(), sqlx::Error> {
    let (mut ids, mut times, mut verdicts, mut approvers, mut people) = (vec![], vec![], vec![], vec![], vec![]);
    for session in sessions {
        if let Some(decision) = &session.decision {
            ids.push(session.id.0);
            times.push(time(decision.at));
            verdicts.push(decision.verdict.as_str());
            approvers.push(decision.by.approver.as_str());
            people.push(row::text(&decision.by.who).into_owned());
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO decisions (session_id, decided_at, verdict, approver, who)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[])
         ON CONFLICT (session_id, decided_at) DO NOTHING",
    )
    .bind::<Vec<Uuid>>(ids)
    .bind(times)
    .bind(verdicts)
    .bind(approvers)
    .bind(people)
    .execute(connection)
    .await?;
    Ok(())
}
