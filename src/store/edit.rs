//! What administrators change, as orders that are kept together with the acts that say who did it. Knows no statement.

use std::collections::BTreeSet;

use super::{AuditEntry, Store, StoreError};
use crate::model::{Binding, Group, GroupName, GroupSettings, Nas, NasName, Timestamp, User, UserName};

/// One change of what administrators keep; for [`Store::edit`]. Each does what the store's method of that name does, with its errors.
#[derive(Debug, Clone, Copy)]
pub enum Edit<'e> {
    /// [`Store::add_user`].
    AddUser(&'e User),
    /// [`Store::replace_user`].
    ReplaceUser(&'e User),
    /// [`Store::remove_user`].
    RemoveUser(&'e UserName),
    /// [`Store::add_group`].
    AddGroup(&'e Group),
    /// [`Store::replace_group`].
    ReplaceGroup(&'e Group),
    /// [`Store::remove_group`].
    RemoveGroup(&'e GroupName),
    /// [`Store::add_nas`].
    AddNas(&'e Nas),
    /// [`Store::remove_nas`].
    RemoveNas(&'e NasName),
    /// [`Store::rekey_nas`].
    RekeyNas(&'e Nas),
    /// [`Store::bind`].
    Bind(&'e Binding),
    /// [`Store::unbind`].
    Unbind(&'e Binding),
}

impl Edit<'_> {
    /// Makes this change alone, with no act: for what is on record elsewhere, or nobody's doing.
    pub(super) async fn alone<S: Store + ?Sized>(self, store: &S) -> Result<(), StoreError> {
        const NONE: &[AuditEntry] = &[];
        store.edit(&[self], NONE).await
    }
}

/// The groups that users are in, with nothing to say yet, as they would be added at that time.
pub(super) fn groups_of(users: &[User], at: Timestamp) -> impl Iterator<Item = Group> {
    let names: BTreeSet<GroupName> = users.iter().flat_map(|user| &user.groups).cloned().collect();
    names.into_iter().map(move |name| Group { name, settings: GroupSettings::default(), created_at: at })
}
