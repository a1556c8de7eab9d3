//! Ends what a NAS that restarted had accepted before, where those are more than one Accounting-Request should wait for: some at a time,
//! beside all other work, and again after a crash. The store knows which restarts are left; nodes share the sessions as they do deadlines.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use super::settings::SettingsHandle;
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

/// Sessions on their way into the ledger at a time, of all restarts: what others bring must find room there.
const MOST: usize = 512;

/// One restart.
type Key = (NasName, String, Timestamp);
/// The sessions of one that were ended.
type Ended = HashSet<SessionId>;

/// What the work on each restart goes by.
#[derive(Clone)]
struct Means {
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
    room: Arc<Semaphore>,
}

/// Works for ever. Drop the future to stop.
pub(super) async fn run(
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
) {
    let means = Means { store, ledger, settings, share, room: Arc::new(Semaphore::new(MOST)) };
    // Each at its own pace, so that a large NAS keeps no small one waiting.
    let (mut working, mut works) = (HashMap::<Id, Key>::new(), JoinSet::new());
    let mut begun = HashMap::<Key, Ended>::new();
    loop {
        sleep(PERIOD).await;
        while let Some(done) = works.try_join_next_with_id() {
            let (id, ended) = match done {
                Ok((id, ended)) => (id, ended),
                Err(error) => (error.id(), None),
            };
            if let Some((key, ended)) = working.remove(&id).zip(ended) {
                begun.insert(key, ended);
            }
        }
        let restarts = match means.store.restarts_to_see_to(PAGE).await {
            Ok(restarts) => restarts,
            Err(error) => {
                failed(&error);
                continue;
            }
        };
        for restart in restarts {
            let key = (restart.nas.clone(), restart.device(), restart.at);
            if !working.values().any(|other| *other == key) {
                let (means, mut ended) = (means.clone(), begun.remove(&key).unwrap_or_default());
                let work = works.spawn(async move {
                    match means.see_to(&restart, &mut ended).await {
                        Ok(true) => return None,
                        Ok(false) => (),
                        Err(error) => failed(&error),
                    }
                    sleep(PAUSE).await;
                    Some(ended)
                });
                working.insert(work.id(), key);
            }
        }
    }
}

impl Means {
    /// Ends its sessions, each once: one that is heard of again lives. `false` when some are left.
    async fn see_to(&self, restart: &Restart, ended: &mut Ended) -> Result<bool, StoreError> {
        loop {
            // No clock of a NAS is believed to be further ahead.
            let heard_until = restart.at + self.settings.current().clock.skew;
            let open = self.store.sessions_before(restart, Some(heard_until), MANY).await?;
            let left: Vec<SessionId> = open.into_iter().filter(|session| !ended.contains(session)).collect();
            let is_overdue = clock::now().since(restart.noted_at) > GRACE;
            let share = *self.share.borrow();
            let ours: Vec<SessionId> =
                left.iter().copied().filter(|session| is_overdue || share.has(*session)).collect();
            if ours.is_empty() {
                if !left.is_empty() {
                    return Ok(false);
                }
                if !ended.is_empty() {
                    tracing::info!(nas = %restart.nas, device = restart.device(), ended = ended.len(),
                        "sessions of before the NAS's restart are ended");
                }
                self.store.restart_seen_to(restart).await?;
                return Ok(true);
            }
            for some in ours.chunks(AT_ONCE) {
                let mut ending = JoinSet::new();
                for session in some.iter().copied() {
                    let (means, restarted) = (self.clone(), Event::NasRestarted { at: restart.at });
                    ending.spawn(async move {
                        let _room = means.room.acquire().await.ok()?;
                        means.ledger.in_line(session, restarted).await.map(|_| session)
                    });
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
}

fn failed(error: &StoreError) {
    telemetry::count("store.failed");
    tracing::debug!(%error, "cannot see to the sessions of NASes that have restarted; trying again");
}
