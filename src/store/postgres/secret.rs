//! Secrets that all nodes share.

use sqlx::PgConnection;

use super::failure;
use crate::model::Secret;
use crate::store::StoreError;

pub(super) async fn keep(connection: &mut PgConnection, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
    sqlx::query("INSERT INTO cluster_secrets (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(candidate.expose())
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    sqlx::query_scalar::<_, Vec<u8>>("SELECT secret FROM cluster_secrets WHERE name = $1")
        .bind(name)
        .fetch_one(&mut *connection)
        .await
        .map(Secret::new)
        .map_err(failure)
}
