//! NASes.

use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::{interval, time};
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

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Nas>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM nases ORDER BY name COLLATE \"C\""))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    rows.iter().map(nas).collect()
}

pub(super) async fn add(connection: &mut PgConnection, nas: &Nas) -> Result<(), StoreError> {
    match insert(connection, nas).await? {
        0 => Err(StoreError::Exists(format!("NAS {}", nas.name))),
        _ => Ok(()),
    }
}

/// Adds a NAS unless there is one of that name: how many that made.
pub(super) async fn insert(connection: &mut PgConnection, nas: &Nas) -> Result<u64, StoreError> {
    const ADD: &str = concat!(
        "INSERT INTO nases (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
         $21, $22, $23, $24, $25, $26, $27, $28, $29) ON CONFLICT (name) DO NOTHING"
    );
    let done = sqlx::query(ADD)
        .bind(row::text(nas.name.as_str()))
        .bind(nas.network.trunc())
        .bind(nas.secret.expose())
        .bind(row::text(&nas.dialect))
        .bind(nas.require_message_authenticator)
        .bind(nas.limit_proxy_state)
        .bind(nas.allow_ms_chap_v1)
        .bind(nas.coa_address)
        .bind(nas.coa_port.map(i64::from))
        .bind(nas.coa_source.map(|source| source.ip()))
        .bind(nas.coa_source.map(|source| i64::from(source.port())))
        .bind(nas.reject_delay.map(interval))
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
        .bind(nas.previous_secret.as_ref().and_then(|previous| previous.until).map(time))
        .bind(row::json(&nas.guards))
        .bind(row::json(&nas.codes))
        .execute(connection)
        .await
        .map_err(failure)?;
    Ok(done.rows_affected())
}

/// Keeps other secrets for a NAS.
pub(super) async fn rekey(connection: &mut PgConnection, nas: &Nas) -> Result<(), StoreError> {
    let done =
        sqlx::query("UPDATE nases SET secret = $2, previous_secret = $3, previous_secret_until = $4 WHERE name = $1")
            .bind(row::text(nas.name.as_str()))
            .bind(nas.secret.expose())
            .bind(nas.previous_secret.as_ref().map(|previous| previous.secret.expose()))
            .bind(nas.previous_secret.as_ref().and_then(|previous| previous.until).map(time))
            .execute(connection)
            .await
            .map_err(failure)?;
    if done.rows_affected() == 0 { Err(StoreError::Missing(format!("NAS {}", nas.name))) } else { Ok(()) }
}

pub(super) async fn remove(connection: &mut PgConnection, name: &NasName) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM nases WHERE name = $1")
        .bind(row::text(name.as_str()))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(StoreError::Missing(format!("NAS {name}"))) } else { Ok(()) }
}

fn nas(row: &PgRow) -> Result<Nas, StoreError> {
    records::nas(&Cells { table: "nases", row })
}
