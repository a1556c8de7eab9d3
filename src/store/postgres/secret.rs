//! Secrets that all nodes share.

use sqlx::PgPool;

use super::failure;
use crate::model::Secret;
use crate::store::StoreError;

pub(super) async fn keep(pool: &PgPool, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
    sqlx::query("INSERT INTO cluster_secrets (name, secret) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(candidate.expose())
        .execute(pool)
        .await
        .map_err(failure)?;
    sqlx::query_scalar::<_, Vec<u8>>("SELECT secret FROM cluster_secrets WHERE name = $1")
        .bind(name)
        .fetch_one(pool)
        .await
        .map(Secret::new)
        .map_err(failure)
}
