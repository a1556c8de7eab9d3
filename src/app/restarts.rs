//! Ends what a NAS that restarted had accepted before, where those are more than one Accounting-Request should wait for: some at a time,
//! beside all other work, and again after a crash. The store knows which restarts are left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use crate::session::Event;
use crate::store::{Restart, Store, StoreError};
use crate::telemetry;

/// How often it is looked whether there is one.
const PERIOD: Duration = Duration::from_secs(1);
/// Restarts looked at, at a time.
const PAGE: u32 = 256;
/// Sessions ended at a time.
const AT_ONCE: u32 = 256;
/// How long a restart is left to the node whose it is.
const GRACE: Duration = Duration::from_secs(10);

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, ledger: Ledger, share: watch::Receiver<Share>) {
    loop {
        sleep(PERIOD).await;
        let share = *share.borrow();
        if let Err(error) = see_to_all(&*store, &ledger, share).await {
            telemetry::count("store.failed");
            tracing::debug!(%error, "cannot see which NASes have restarted; trying again");
        }
    }
}

async fn see_to_all(store: &dyn Store, ledger: &Ledger, share: Share) -> Result<(), StoreError> {
    for restart in store.restarts_to_see_to(PAGE).await? {
        if share.has_named(&restart.device()) || clock::now().since(restart.noted_at) > GRACE {
            see_to(store, ledger, &restart).await?;
        }
    }
    Ok(())
}

/// Ends its sessions, as long as any can be.
async fn see_to(store: &dyn Store, ledger: &Ledger, restart: &Restart) -> Result<(), StoreError> {
    let mut ended = 0_usize;
    loop {
        let sessions = store.sessions_before(restart, AT_ONCE).await?;
        if sessions.is_empty() {
            if ended > 0 {
                tracing::info!(nas = %restart.nas, device = restart.device(), ended, "sessions of before the NAS's restart are ended");
            }
            return store.restart_seen_to(restart).await;
        }
        let mut ending = JoinSet::new();
        for session in sessions {
            let (ledger, restarted) = (ledger.clone(), Event::NasRestarted { at: restart.at });
            ending.spawn(async move { ledger.in_line(session.id, restarted).await.is_some() });
        }
        let kept = ending.join_all().await.into_iter().filter(|kept| *kept).count();
        ended += kept;
        if kept == 0 {
            // The store is away, or will not have these; later, and others first.
            return Ok(());
        }
    }
}
