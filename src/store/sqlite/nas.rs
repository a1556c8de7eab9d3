//! NASes.

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

use super::failure;
use crate::model::{Nas, NasName};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, records};

macro_rules! columns {
    () => {
        "name, network, secret, dialect, require_message_authenticator, limit_proxy_state, allow_ms_chap_v1, \
         coa_address, coa_port, coa_source_address, coa_source_port, reject_delay, octet_direction, sandbox_filter, \
         permit_filter, octet_wrap, unique_ports, allow_callers, deny_callers, approvers, when_unreachable, \
         nas_identifier, radsec, radsec_only, dynauth, previous_secret, previous_secret_until, guards, codes"
    };
}

pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<Nas>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM nases ORDER BY name"))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    rows.iter().map(nas).collect()
}

pub(super) async fn add(connection: &mut SqliteConnection, nas: &Nas) -> Result<(), StoreError> {
    match insert(connection, nas).await? {
        0 => Err(StoreError::Exists(format!("NAS {}", nas.name))),
        _ => Ok(()),
    }
}

/// Adds a NAS unless there is one of that name: how many that made.
pub(super) async fn insert(connection: &mut SqliteConnection, nas: &Nas) -> Result<u64, StoreError> {
    const ADD: &str = concat!(
        "INSERT INTO nases (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
         ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29) ON CONFLICT (name) DO NOTHING"
    );
    let done = sqlx::query(ADD)
        .bind(row::text(nas.name.as_str()))
        .bind(nas.network.trunc().to_string())
        .bind(nas.secret.expose())
        .bind(row::text(&nas.dialect))
        .bind(nas.require_message_authenticator)
        .bind(nas.limit_proxy_state)
        .bind(nas.allow_ms_chap_v1)
        .bind(nas.coa_address.map(|address| address.to_string()))
        .bind(nas.coa_port)
        .bind(nas.coa_source.map(|source| source.ip().to_string()))
        .bind(nas.coa_source.map(|source| source.port()))
        .bind(nas.reject_delay.map(row::span))
        .bind(row::word(&nas.octet_direction))
        .bind(row::text_or_none(&nas.sandbox_filter))
        .bind(row::text_or_none(&nas.permit_filter))
        .bind(nas.octet_wrap)
        .bind(nas.unique_ports)
        .bind(row::json(&nas.callers.allow))
        .bind(row::json(&nas.callers.deny))
        .bind(row::json(&nas.approvers))
        .bind(nas.when_unreachable.map(|policy| policy.as_str()))
        .bind(row::text_or_none(&nas.nas_identifier))
        .bind(row::json(&nas.radsec))
        .bind(nas.radsec_only)
        .bind(row::word(&nas.dynauth))
        .bind(nas.previous_secret.as_ref().map(|previous| previous.secret.expose()))
        .bind(nas.previous_secret.as_ref().and_then(|previous| previous.until).map(row::micros))
        .bind(row::json(&nas.guards))
        .bind(row::json(&nas.codes))
        .execute(connection)
        .await
        .map_err(failure)?;
    Ok(done.rows_affected())
}

/// Keeps other secrets for a NAS.
pub(super) async fn rekey(connection: &mut SqliteConnection, nas: &Nas) -> Result<(), StoreError> {
    let done =
        sqlx::query("UPDATE nases SET secret = ?2, previous_secret = ?3, previous_secret_until = ?4 WHERE name = ?1")
            .bind(row::text(nas.name.as_str()))
            .bind(nas.secret.expose())
            .bind(nas.previous_secret.as_ref().map(|previous| previous.secret.expose()))
            .bind(nas.previous_secret.as_ref().and_then(|previous| previous.until).map(row::micros))
            .execute(connection)
            .await
            .map_err(failure)?;
    if done.rows_affected() == 0 { Err(StoreError::Missing(format!("NAS {}", nas.name))) } else { Ok(()) }
}

pub(super) async fn remove(connection: &mut SqliteConnection, name: &NasName) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM nases WHERE name = ?1")
        .bind(row::text(name.as_str()))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(StoreError::Missing(format!("NAS {name}"))) } else { Ok(()) }
}

fn nas(row: &SqliteRow) -> Result<Nas, StoreError> {
    records::nas(&Cells { table: "nases", row })
}
