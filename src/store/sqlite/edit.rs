//! What administrators change, and who did it: all of it, or none.

use sqlx::{Sqlite, Transaction};

use super::{audit, binding, failure, group, nas, user};
use crate::store::{AuditEntry, Edit, StoreError};

pub(super) async fn make(
    mut tx: Transaction<'_, Sqlite>,
    edits: &[Edit<'_>],
    acts: &[AuditEntry],
) -> Result<(), StoreError> {
    for edit in edits {
        match *edit {
            Edit::AddUser(user) => user::add(&mut tx, user).await?,
            Edit::ReplaceUser(user) => user::replace(&mut tx, user).await?,
            Edit::RemoveUser(name) => user::remove(&mut tx, name).await?,
            Edit::AddGroup(group) => group::add(&mut tx, group).await?,
            Edit::ReplaceGroup(group) => group::replace(&mut tx, group).await?,
            Edit::RemoveGroup(name) => group::remove(&mut tx, name).await?,
            Edit::AddNas(nas) => nas::add(&mut tx, nas).await?,
            Edit::RemoveNas(name) => nas::remove(&mut tx, name).await?,
            Edit::RekeyNas(nas) => nas::rekey(&mut tx, nas).await?,
            Edit::Bind(binding) => binding::put(&mut tx, binding).await?,
            Edit::Unbind(binding) => binding::remove(&mut tx, binding).await?,
        }
    }
    audit::add(&mut tx, acts).await?;
    tx.commit().await.map_err(failure)
}
