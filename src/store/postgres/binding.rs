//! Bindings: where users can be asked.

use sqlx::PgConnection;

use super::columns::time;
use super::{failure, user};
use crate::model::{ApproverKind, Binding, UserName};
use crate::store::row::{self, Cells};
use crate::store::{StoreError, records};

pub(super) async fn of(connection: &mut PgConnection, user: &UserName) -> Result<Vec<Binding>, StoreError> {
    let rows = sqlx::query(
        r#"SELECT user_name, approver, address, presser, bound_at FROM bindings
         WHERE user_name = $1 ORDER BY bound_at, approver COLLATE "C", address COLLATE "C""#,
    )
    .bind(row::text(user.as_str()))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::binding(&Cells { table: "bindings", row })).collect()
}

pub(super) async fn at(
    connection: &mut PgConnection,
    approver: ApproverKind,
    address: &str,
) -> Result<Vec<Binding>, StoreError> {
    let rows = sqlx::query(
        r#"SELECT user_name, approver, address, presser, bound_at FROM bindings
         WHERE approver = $1 AND address = $2 ORDER BY user_name COLLATE "C""#,
    )
    .bind(row::word(&approver))
    .bind(row::text(address))
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    rows.iter().map(|row| records::binding(&Cells { table: "bindings", row })).collect()
}

pub(super) async fn put(connection: &mut PgConnection, binding: &Binding) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO bindings (user_name, approver, address, presser, bound_at)
         SELECT name, $2, $3, $4, $5 FROM users WHERE name = $1
         ON CONFLICT (user_name, approver, address) DO UPDATE SET presser = excluded.presser, bound_at = excluded.bound_at",
    )
    .bind(row::text(binding.user.as_str()))
    .bind(row::word(&binding.approver))
    .bind(row::text(&binding.address))
    .bind(row::text(&binding.presser))
    .bind(time(binding.bound_at))
    .execute(connection)
    .await
    .map_err(failure)?;
    if done.rows_affected() == 0 { Err(user::missing(&binding.user)) } else { Ok(()) }
}

pub(super) async fn remove(connection: &mut PgConnection, binding: &Binding) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM bindings WHERE user_name = $1 AND approver = $2 AND address = $3")
        .bind(row::text(binding.user.as_str()))
        .bind(row::word(&binding.approver))
        .bind(row::text(&binding.address))
        .execute(connection)
        .await
        .map_err(failure)?;
    if done.rows_affected() == 0 { Err(records::no_such_binding(binding)) } else { Ok(()) }
}
