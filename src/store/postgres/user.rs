//! Users.

use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::{interval, time};
use super::{failure, group};
use crate::model::{User, UserName};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, records};

macro_rules! columns {
    () => {
        "name, credential, disabled, second_factor, approvers, permit_filter, session_timeout, reject_delay, reply, \
         created_at, monthly_quota, when_unreachable, guards, totp_in_password"
    };
}

/// All groups of a user as one document. Whoever is in none, as most are, costs a look into an index: to put nothing in order is dearer than
/// all else that is read of a user. Not EXISTS, of which a plan may come that reads all memberships.
macro_rules! of_groups {
    ($document:literal, $from:literal) => {
        concat!(
            "CASE WHEN (SELECT true FROM group_members WHERE user_name = users.name LIMIT 1) THEN (SELECT ",
            $document,
            " FROM ",
            $from,
            " WHERE user_name = users.name) ELSE '[]' END"
        )
    };
}

/// The same with what stands in other tables.
macro_rules! read_columns {
    () => {
        concat!(
            "name, credential, disabled, second_factor, approvers, permit_filter, session_timeout, reject_delay, reply, \
             created_at, monthly_quota, when_unreachable, guards, totp_in_password, ",
            of_groups!("jsonb_agg(group_name ORDER BY place, group_name)", "group_members"),
            " AS groups"
        )
    };
}

pub(super) use {of_groups, read_columns};

pub(super) async fn find(connection: &mut PgConnection, name: &UserName) -> Result<Option<User>, StoreError> {
    let row = sqlx::query(concat!("SELECT ", read_columns!(), " FROM users WHERE name = $1"))
        .bind(row::text(name.as_str()))
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?;
    row.as_ref().map(user).transpose()
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<User>, StoreError> {
    let rows = sqlx::query(concat!("SELECT ", read_columns!(), " FROM users ORDER BY name COLLATE \"C\""))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    rows.iter().map(user).collect()
}

pub(super) async fn add(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    match insert(connection, user).await? {
        0 => Err(StoreError::Exists(format!("user {}", user.name))),
        _ => Ok(()),
    }
}

/// Adds a user, with their memberships, unless there is one of that name: how many that made.
pub(super) async fn insert(connection: &mut PgConnection, user: &User) -> Result<u64, StoreError> {
    const ADD: &str = concat!(
        "INSERT INTO users (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (name) DO NOTHING"
    );
    let made = write(ADD, connection, user).await?;
    if made > 0 {
        group::join(connection, user).await?;
    }
    Ok(made)
}

pub(super) async fn replace(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    const REPLACE: &str = concat!(
        "UPDATE users SET (",
        columns!(),
        ") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) WHERE name = $1"
    );
    if write(REPLACE, connection, user).await? == 0 {
        return Err(missing(&user.name));
    }
    group::leave_all(connection, &user.name).await?;
    group::join(connection, user).await
}

pub(super) async fn remove(connection: &mut PgConnection, name: &UserName) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM users WHERE name = $1")
        .bind(row::text(name.as_str()))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(missing(name)) } else { Ok(()) }
}

pub(super) fn missing(name: &UserName) -> StoreError {
    StoreError::Missing(format!("user {name}"))
}

async fn write(statement: &'static str, connection: &mut PgConnection, user: &User) -> Result<u64, StoreError> {
    let done = sqlx::query(statement)
        .bind(row::text(user.name.as_str()))
        .bind(row::credential(user)?)
        .bind(user.disabled)
        .bind(row::word(&user.second_factor))
        .bind(row::json(&user.approvers))
        .bind(row::text_or_none(&user.permit_filter))
        .bind(user.session_timeout.map(interval))
        .bind(user.reject_delay.map(interval))
        .bind(row::json(&user.reply))
        .bind(time(user.created_at))
        .bind(user.monthly_quota.map(row::counter))
        .bind(user.when_unreachable.map(|policy| policy.as_str()))
        .bind(row::json(&user.guards))
        .bind(user.totp_in_password)
        .execute(connection)
        .await
        .map_err(failure)?;
    Ok(done.rows_affected())
}

pub(super) fn user(row: &PgRow) -> Result<User, StoreError> {
    records::user(&Cells { table: "users", row })
}
