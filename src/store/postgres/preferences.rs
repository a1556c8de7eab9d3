//! How chats want to be spoken to.

use sqlx::PgConnection;

use super::failure;
use crate::model::{ApproverKind, Language, Preferences};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, records};

pub(super) async fn of(
    connection: &mut PgConnection,
    approver: ApproverKind,
    address: &str,
) -> Result<Preferences, StoreError> {
    let row =
        sqlx::query("SELECT language, heard, zone, quiet FROM chat_preferences WHERE approver = $1 AND address = $2")
            .bind(approver.as_str())
            .bind(row::text(address))
            .fetch_optional(&mut *connection)
            .await
            .map_err(failure)?;
    match row {
        Some(row) => records::preferences(&Cells { table: "chat_preferences", row: &row }),
        None => Ok(Preferences::default()),
    }
}

pub(super) async fn put(
    connection: &mut PgConnection,
    approver: ApproverKind,
    address: &str,
    preferences: &Preferences,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO chat_preferences (approver, address, language, heard, zone, quiet) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (approver, address) DO UPDATE
         SET language = excluded.language, heard = excluded.heard, zone = excluded.zone, quiet = excluded.quiet",
    )
    .bind(approver.as_str())
    .bind(row::text(address))
    .bind(preferences.language.as_ref().map(Language::as_str))
    .bind(preferences.heard.as_ref().map(Language::as_str))
    .bind(preferences.zone.map(|zone| zone.as_str()))
    .bind(preferences.quiet)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub(super) async fn hear(
    connection: &mut PgConnection,
    approver: ApproverKind,
    address: &str,
    heard: &Language,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO chat_preferences (approver, address, heard) VALUES ($1, $2, $3)
         ON CONFLICT (approver, address) DO UPDATE SET heard = excluded.heard",
    )
    .bind(approver.as_str())
    .bind(row::text(address))
    .bind(heard.as_str())
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(())
}
