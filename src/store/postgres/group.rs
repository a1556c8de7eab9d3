//! Groups, and who is in them.

use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::columns::time;
use super::failure;
use super::user::{self, of_groups, read_columns};
use crate::model::{Group, GroupName, Member, User, UserName};
use crate::store::row::{self, Cells, Columns};
use crate::store::{StoreError, records};

macro_rules! member {
    ($whose:literal) => {
        concat!(
            "SELECT ",
            read_columns!(),
            ", ",
            of_groups!(
                "jsonb_agg(jsonb_build_object('name', g.name, 'settings', g.settings, \
                 'created_at', floor(extract(epoch FROM g.created_at) * 1000000)::bigint) ORDER BY place, group_name)",
                "group_members JOIN user_groups g ON g.name = group_name"
            ),
            " AS member_of FROM users WHERE ",
            $whose
        )
    };
}

/// A user with all their groups, in one look.
pub(super) async fn member(connection: &mut PgConnection, name: &UserName) -> Result<Option<Member>, StoreError> {
    let row = sqlx::query(member!("name = $1"))
        .bind(row::text(name.as_str()))
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?;
    row.as_ref().map(read_member).transpose()
}

/// The same of several.
pub(super) async fn members_named(
    connection: &mut PgConnection,
    names: &[UserName],
) -> Result<Vec<Member>, StoreError> {
    let names: Vec<String> = names.iter().map(|name| row::text(name.as_str()).into_owned()).collect();
    let rows = sqlx::query(member!("name = ANY($1)")).bind(names).fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(read_member).collect()
}

fn read_member(row: &PgRow) -> Result<Member, StoreError> {
    let groups = records::member_of(&Cells { table: "user_groups", row })?;
    Ok(Member { user: user::user(row)?, groups })
}

/// The members, by name.
pub(super) async fn members(connection: &mut PgConnection, group: &GroupName) -> Result<Vec<UserName>, StoreError> {
    let rows =
        sqlx::query("SELECT user_name FROM group_members WHERE group_name = $1 ORDER BY user_name COLLATE \"C\"")
            .bind(row::text(group.as_str()))
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
    let name = |row: &PgRow| (Cells { table: "group_members", row }).need("user_name", Columns::text);
    rows.iter().map(|row| name(row).map(UserName::new)).collect()
}

pub(super) async fn all(connection: &mut PgConnection) -> Result<Vec<Group>, StoreError> {
    let rows = sqlx::query("SELECT name, settings, created_at FROM user_groups ORDER BY name COLLATE \"C\"")
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| records::group(&Cells { table: "user_groups", row })).collect()
}

pub(super) async fn add(connection: &mut PgConnection, group: &Group) -> Result<(), StoreError> {
    const ADD: &str =
        "INSERT INTO user_groups (name, settings, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    let done = sqlx::query(ADD)
        .bind(row::text(group.name.as_str()))
        .bind(row::json(&group.settings))
        .bind(time(group.created_at))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(StoreError::Exists(format!("group {}", group.name))) } else { Ok(()) }
}

pub(super) async fn replace(connection: &mut PgConnection, group: &Group) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE user_groups SET settings = $2, created_at = $3 WHERE name = $1")
        .bind(row::text(group.name.as_str()))
        .bind(row::json(&group.settings))
        .bind(time(group.created_at))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(missing(&group.name)) } else { Ok(()) }
}

/// A group that still has members stays: what it demands of them must not be lost by the way.
pub(super) async fn remove(connection: &mut PgConnection, name: &GroupName) -> Result<(), StoreError> {
    let members: i64 = sqlx::query_scalar("SELECT count(*) FROM group_members WHERE group_name = $1")
        .bind(row::text(name.as_str()))
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
    if members > 0 {
        return Err(StoreError::Refused(format!("group {name} has members still: {members}")));
    }
    let done = sqlx::query("DELETE FROM user_groups WHERE name = $1")
        .bind(row::text(name.as_str()))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(missing(name)) } else { Ok(()) }
}

/// Puts a user into their groups, in order.
pub(super) async fn join(connection: &mut PgConnection, user: &User) -> Result<(), StoreError> {
    const JOIN: &str = "INSERT INTO group_members (user_name, group_name, place) \
                        SELECT $1, name, $3 FROM user_groups WHERE name = $2";
    for (place, group) in (0_i64..).zip(&user.groups) {
        let done = sqlx::query(JOIN)
            .bind(row::text(user.name.as_str()))
            .bind(row::text(group.as_str()))
            .bind(place)
            .execute(&mut *connection)
            .await
            .map_err(failure)?;
        if done.rows_affected() == 0 {
            return Err(missing(group));
        }
    }
    Ok(())
}

/// Takes a user out of all groups.
pub(super) async fn leave_all(connection: &mut PgConnection, user: &UserName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM group_members WHERE user_name = $1")
        .bind(row::text(user.as_str()))
        .execute(connection)
        .await
        .map(drop)
        .map_err(failure)
}

fn missing(name: &GroupName) -> StoreError {
    StoreError::Missing(format!("group {name}"))
}
