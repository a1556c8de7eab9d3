//! Prompts: kept with the session they are about, when it begins and when somebody answers.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::columns::{interval, time};
use super::{audit, failure};
use crate::model::{Timestamp, UserName};
use crate::policy::Prompt;
use crate::store::row::{self, Cells};
use crate::store::{AuditEntry, StoreError, guards, records};

/// Prompts read at once, at most: of more, the latest say enough.
const MOST: i64 = 100_000;

/// Adds those that are new, and ends those that are open. Whoever changes a prompt holds its session.
pub(super) async fn keep(
    connection: &mut PgConnection,
    prompts: impl Iterator<Item = (Prompt, Timestamp)>,
) -> Result<(), sqlx::Error> {
    // A session may be changed twice in a batch; the later says more.
    let mut last = std::collections::BTreeMap::new();
    last.extend(prompts.map(|(prompt, at)| (prompt.session, (prompt, at))));
    if last.is_empty() {
        return Ok(());
    }
    let prompts: Vec<(Prompt, Timestamp)> = last.into_values().collect();
    let texts = |of: fn(&Prompt) -> &str| -> Vec<String> {
        prompts.iter().map(|(prompt, _)| row::text(of(prompt)).into_owned()).collect()
    };
    let ports = prompts.iter().map(|(prompt, _)| row::text_or_none(&prompt.port).map(|port| port.into_owned()));
    sqlx::query(
        "INSERT INTO prompts (session_id, user_name, nas, caller, port, asked_at, deadline, ended_at, fate, changed_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
             $7::timestamptz[], $8::timestamptz[], $9::text[], $10::timestamptz[])
         ON CONFLICT (session_id) DO UPDATE
         SET ended_at = excluded.ended_at, fate = excluded.fate, changed_at = excluded.changed_at
         WHERE prompts.ended_at IS NULL AND excluded.ended_at IS NOT NULL",
    )
    .bind(prompts.iter().map(|(prompt, _)| prompt.session.0).collect::<Vec<Uuid>>())
    .bind(texts(|prompt| prompt.user.as_str()))
    .bind(texts(|prompt| prompt.nas.as_str()))
    .bind(texts(|prompt| &prompt.caller))
    .bind(ports.collect::<Vec<Option<String>>>())
    .bind(prompts.iter().map(|(prompt, _)| time(prompt.at)).collect::<Vec<_>>())
    .bind(prompts.iter().map(|(prompt, _)| time(prompt.deadline)).collect::<Vec<_>>())
    .bind(prompts.iter().map(|(prompt, _)| prompt.end.map(|end| time(end.at))).collect::<Vec<_>>())
    .bind(prompts.iter().map(|(prompt, _)| prompt.end.map(|end| end.fate.as_str())).collect::<Vec<Option<&str>>>())
    .bind(prompts.iter().map(|(_, at)| time(*at)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn changed(connection: &mut PgConnection, since: Timestamp) -> Result<Vec<Prompt>, StoreError> {
    let rows = sqlx::query(
        "SELECT session_id, user_name, nas, caller, port, asked_at, deadline, ended_at, fate FROM prompts
         WHERE changed_at >= $1 ORDER BY changed_at DESC LIMIT $2",
    )
    .bind(time(since))
    .bind(MOST)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(rows.iter().filter_map(|row| records::or_skip(guards::prompt(&Cells { table: "prompts", row }))).collect())
}

pub(super) async fn notice(
    mut tx: Transaction<'_, Postgres>,
    user: &UserName,
    window: Duration,
    act: &AuditEntry,
) -> Result<bool, StoreError> {
    let noticed = sqlx::query(
        "INSERT INTO prompt_notices (user_name, at) VALUES ($1, $2)
         ON CONFLICT (user_name) DO UPDATE SET at = excluded.at WHERE prompt_notices.at <= excluded.at - $3",
    )
    .bind(row::text(user.as_str()))
    .bind(time(act.at))
    .bind(interval(window))
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

pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    for statement in [
        // Nobody waits for a row that somebody else is at: it goes the next time.
        "DELETE FROM prompts WHERE session_id = ANY (ARRAY(
             SELECT session_id FROM prompts WHERE changed_at < $1 FOR UPDATE SKIP LOCKED))",
        "DELETE FROM prompt_notices WHERE at < $1",
    ] {
        sqlx::query(statement).bind(time(before)).execute(&mut *connection).await.map_err(failure)?;
    }
    Ok(())
}
