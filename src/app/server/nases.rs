//! The NASes of the store: opened with the sealing key, followed as others change them, and the first of all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::ServeError;
use crate::app::settings::SettingsHandle;
use crate::app::{chance, keys, radsec};
use crate::auth::SealingKey;
use crate::config::Config;
use crate::model::{Nas, Secret};
use crate::store::{Store, StoreError};

/// How soon a NAS that was added or removed by another process counts when no news of it came.
const NAS_PERIOD: Duration = Duration::from_secs(5);

/// With no NAS anywhere, this host becomes one, with a secret of its own.
pub(super) async fn welcome_nas(
    config: &Config,
    store: &dyn Store,
    key: &SealingKey,
) -> Result<Option<Nas>, ServeError> {
    const NAME: &str = "localhost";
    if !config.nas.is_empty() {
        return Ok(None);
    }
    let stored = stored_nases(store, key).await?;
    if !stored.is_empty() {
        // The first steps are shown until there is more than the NAS made here.
        let [only] = stored.as_slice() else { return Ok(None) };
        return Ok(Some(only.clone()).filter(|nas| nas.name.as_str() == NAME));
    }
    let secret = Secret::new(hex::encode(chance::octets::<12>()));
    let nas = Nas::new(NAME, IpAddr::V4(Ipv4Addr::LOCALHOST), secret);
    let secret_error = |problem| ServeError::NasSecret { nas: NAME.to_owned(), problem };
    match store.add_nas(&keys::seal_nas(nas.clone(), key).map_err(secret_error)?).await {
        // Another node was faster; it shows the steps.
        Err(StoreError::Exists(_)) => Ok(None),
        added => Ok(added.map(|()| Some(nas))?),
    }
}

pub(super) async fn stored_nases(store: &dyn Store, key: &SealingKey) -> Result<Vec<Nas>, ServeError> {
    let nases = store.nases().await?;
    let open = |nas: Nas| {
        let name = nas.name.to_string();
        keys::open_nas(nas, key).map_err(|problem| ServeError::NasSecret { nas: name, problem })
    };
    nases.into_iter().map(open).collect()
}

/// Takes over NASes that other processes add to the store or remove from it.
pub(super) async fn watch_nases(
    store: Arc<dyn Store>,
    key: SealingKey,
    settings: SettingsHandle,
    changed: Arc<Notify>,
) {
    let mut complaint = String::new();
    loop {
        // News or none, it is time to look.
        let _ = tokio::time::timeout(NAS_PERIOD, changed.notified()).await;
        match settings.take_nases(stored_nases(&*store, &key)).await {
            Ok(true) => {
                let settings = settings.current();
                for warning in radsec::shared_ids(&settings) {
                    tracing::warn!("{warning}");
                }
                // Once it counts: whoever reads this may send at once.
                tracing::info!(nases = settings.stored.len(), "the store's list of NASes has changed");
            }
            Ok(false) => (),
            Err(error) => {
                let error = error.to_string();
                if error != complaint {
                    tracing::warn!(error, "cannot see whether NASes were added or removed; the known ones stay");
                    complaint = error;
                }
                continue;
            }
        }
    }
}

/// What to do with a server that nobody has configured yet.
pub(super) fn print_next_steps(nas: &Nas, auth: &[SocketAddr], no_users: bool) {
    let secret = String::from_utf8_lossy(nas.secret.expose());
    let port = auth.first().map_or(1812, SocketAddr::port);
    println!("radhold runs with its defaults. It serves one NAS, this host:\n");
    println!("  NAS {}   {}   secret {secret}\n", nas.name, nas.network);
    println!("Next steps, in another terminal:\n");
    if no_users {
        println!("  radhold user add alice                      add a user (asks for the password)");
    }
    println!("  radtest alice PASSWORD 127.0.0.1:{port} 0 {secret}");
    println!("                                              log in: Access-Accept with Filter-Id \"sandbox\"");
    println!("  radhold session list                        see the session, held");
    println!("  radhold nas add NAME --address ADDRESS      add your own NAS");
    println!("  radhold user enrol alice                    let Telegram ask (see README, \"Telegram\")\n");
}
