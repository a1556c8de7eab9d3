//! Ends what a NAS that restarted had accepted before, where those are more than one Accounting-Request should wait for: some at a time,
//! beside all other work, and again after a crash. The store knows which restarts are left; nodes share the sessions as they do deadlines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use crate::model::{NasName, SessionId, Timestamp};
use crate::session::Event;
use crate::store::{Restart, Store, StoreError};
use crate::telemetry;

/// How often it is looked whether there is one.
const PERIOD: Duration = Duration::from_secs(1);
/// Restarts looked at, at a time.
const PAGE: u32 = 256;
/// Sessions asked for at a time: no more than their ids.
const MANY: u32 = 65_536;
/// Sessions ended at a time.
const AT_ONCE: usize = 256;
/// How long sessions are left to the node whose they are.
const GRACE: Duration = Duration::from_secs(60);
/// Before a restart is looked at again that is not all seen to: others are at it, or the store will not have it.
const PAUSE: Duration = Duration::from_secs(5);

/// One restart.
type Key = (NasName, String, Timestamp);

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, ledger: Ledger, share: watch::Receiver<Share>) {
    // Each at its own pace, so that a large NAS keeps no small one waiting.
    let (mut working, mut works) = (HashSet::<Key>::new(), JoinSet::new());
    loop {
        sleep(PERIOD).await;
        while let Some(Ok(done)) = works.try_join_next() {
            working.remove(&done);
        }
        if works.is_empty() {
            // Whatever a task that panicked was at.
            working.clear();
        }
        let restarts = match store.restarts_to_see_to(PAGE).await {
            Ok(restarts) => restarts,
            Err(error) => {
                failed(&error);
                continue;
            }
        };
        for restart in restarts {
            let key = (restart.nas.clone(), restart.device(), restart.at);
            if working.insert(key.clone()) {
                let (store, ledger, share) = (Arc::clone(&store), ledger.clone(), *share.borrow());
                works.spawn(async move {
                    match see_to(&*store, &ledger, share, &restart).await {
                        Ok(true) => (),
                        Ok(false) => sleep(PAUSE).await,
                        Err(error) => {
                            failed(&error);
                            sleep(PAUSE).await;
                        }
                    }
                    key
                });
            }
        }
    }
}

/// Ends its sessions, each once: one that is heard of again lives. `false` when some are left.
async fn see_to(store: &dyn Store, ledger: &Ledger, share: Share, restart: &Restart) -> Result<bool, StoreError> {
    let mut ended = HashSet::new();
    loop {
        let open = store.sessions_before(restart, MANY).await?;
        let left: Vec<SessionId> = open.into_iter().filter(|session| !ended.contains(session)).collect();
        let is_overdue = clock::now().since(restart.noted_at) > GRACE;
        let ours: Vec<SessionId> = left.iter().copied().filter(|session| is_overdue || share.has(*session)).collect();
        if ours.is_empty() {
            if !ended.is_empty() {
                tracing::info!(nas = %restart.nas, device = restart.device(), ended = ended.len(),
                    "sessions of before the NAS's restart are ended");
            }
            if !left.is_empty() {
                return Ok(false);
            }
            store.restart_seen_to(restart).await?;
            return Ok(true);
        }
        for some in ours.chunks(AT_ONCE) {
            let mut ending = JoinSet::new();
            for session in some.iter().copied() {
                let (ledger, restarted) = (ledger.clone(), Event::NasRestarted { at: restart.at });
                ending.spawn(async move { ledger.in_line(session, restarted).await.map(|_| session) });
            }
            let kept: Vec<SessionId> = ending.join_all().await.into_iter().flatten().collect();
            let all = kept.len() == some.len();
            ended.extend(kept);
            if !all {
                // The store is away, or will not have some of them.
                return Ok(false);
            }
        }
    }
}

fn failed(error: &StoreError) {
    telemetry::count("store.failed");
    tracing::debug!(%error, "cannot see to the sessions of NASes that have restarted; trying again");
}
