//! What a server opens before it works: state directory, store, spool and the cluster's key.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::ServeError;
use crate::app::alarms::Alarms;
use crate::app::{chance, clock, keys, ledger};
use crate::config::Config;
use crate::model::{NodeName, Secret};
use crate::spool::Spool;
use crate::store::{self, Store, StoreError};

/// Between tries to make a store ready that was away at the start.
const LATE: Duration = Duration::from_millis(500);

/// Opens the store of a configuration.
///
/// # Errors
/// As [`store::open_with`].
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let options = store::Options {
        direct_url: config.store.direct_url.as_ref().map(|url| url.expose().to_owned()),
        connections: config.store.connections,
        patience: config.store.patience,
    };
    store::open_with(config.store.url.expose(), options).await
}

pub(super) fn make_state_dir(config: &Config) -> Result<(), ServeError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)
        .map_err(|problem| ServeError::StateDir { path: config.state_dir.display().to_string(), problem })
}

/// This node's spool. One that is damaged must not keep the server from serving.
pub(super) async fn open_spool(config: &Config, alarms: &Alarms) -> Result<Spool, ServeError> {
    let limit = config.spool.max_mebibytes.saturating_mul(1 << 20);
    let (spool, moved) = Spool::open(&config.spool.file, limit, clock::now()).await?;
    ledger::report_damage(&spool, &moved, alarms).await;
    Ok(spool)
}

/// The key of the cluster: from its file when there is one, else the one the store keeps for all nodes.
pub(super) async fn cluster_key(config: &Config, store: &dyn Store) -> Result<Secret, ServeError> {
    if config.keys.cluster_file.exists() {
        return Ok(keys::cluster_key(&config.keys.cluster_file)?);
    }
    let candidate = Secret::new(chance::octets::<32>());
    Ok(store.cluster_secret("cluster-key", &candidate).await?)
}

/// Makes the store ready for this node.
pub(super) async fn open_schema(store: &dyn Store, node: &NodeName) -> Result<(), StoreError> {
    store.migrate().await?;
    store.release(node).await
}

/// Whether the server can start without its store: what it must know to take accounting in is in files.
pub(super) fn can_wait_for_store(config: &Config) -> bool {
    config.keys.cluster_file.exists() && !config.nas.is_empty()
}

/// Makes the store ready when it is back, and lets calls through then.
pub(super) async fn open_schema_late(store: Arc<dyn Store>, node: NodeName) {
    let mut complaint = String::new();
    while let Err(error) = store.migrate().await {
        let error = error.to_string();
        if error != complaint {
            tracing::warn!(error, "the store cannot be made ready; trying again");
            complaint = error;
        }
        tokio::time::sleep(LATE).await;
    }
    store.hold_back(false);
    // What is claimed already may be done twice, which is harmless.
    if let Err(error) = store.release(&node).await {
        tracing::warn!(%error, "orders of this node's last life stay claimed until their lease is over");
    }
    tracing::info!("the store that was away at the start is ready");
    // A part of the server does not end by itself.
    std::future::pending::<()>().await;
}
