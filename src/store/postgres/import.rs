//! Users, their groups and NASes in numbers: all of them, or none.

use sqlx::{Connection as _, PgConnection};

use super::{audit, failure, group, nas, user};
use crate::model::{Nas, User};
use crate::store::edit::groups_of;
use crate::store::{AuditEntry, Imported, StoreError};

pub(super) async fn all(
    connection: &mut PgConnection,
    users: &[User],
    nases: &[Nas],
    act: &AuditEntry,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<Imported, StoreError> {
    let mut tx = connection.begin().await.map_err(failure)?;
    let mut imported = Imported::default();
    for each in groups_of(users, act.at) {
        match group::add(&mut tx, &each).await {
            Ok(()) | Err(StoreError::Exists(_)) => (),
            Err(error) => return Err(error),
        }
    }
    for each in users {
        imported.users += user::insert(&mut tx, each).await?;
        done(1);
    }
    for each in nases {
        imported.nases += nas::insert(&mut tx, each).await?;
        done(1);
    }
    if imported != Imported::default() {
        audit::add(&mut tx, std::slice::from_ref(act)).await?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(imported)
}
