//! How much may be under way to one NAS at a time, so that one that is silent does not hold up what is for others. Knows no order
//! and sends nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::NasName;

/// At once to a NAS that answers: a burst of deadlines is not to wait for round trips.
const ANSWERING: usize = 2048;
/// At once to one that did not answer last: each takes as long as all retransmissions.
const SILENT: usize = 256;
/// How long one waits for its place.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The queues of all NASes.
#[derive(Debug, Default)]
pub(super) struct NasQueues {
    queues: Mutex<BTreeMap<NasName, Arc<NasQueue>>>,
}

impl NasQueues {
    /// That of one NAS.
    pub(super) fn of(&self, nas: &NasName) -> Arc<NasQueue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        match queues.get(nas) {
            Some(queue) => Arc::clone(queue),
            None => Arc::clone(queues.entry(nas.clone()).or_insert_with(NasQueue::new)),
        }
    }
}

/// What is under way to one NAS.
#[derive(Debug)]
pub(super) struct NasQueue {
    wide: Arc<Semaphore>,
    narrow: Arc<Semaphore>,
    silent: AtomicBool,
}

impl NasQueue {
    fn new() -> Arc<Self> {
        let [wide, narrow] = [ANSWERING, SILENT].map(|places| Arc::new(Semaphore::new(places)));
        Arc::new(Self { wide, narrow, silent: AtomicBool::new(false) })
    }

    /// A place, if there is one and nobody waits.
    pub(super) fn place_now(self: &Arc<Self>) -> Option<NasPlace> {
        let narrow = match self.silent.load(Ordering::Relaxed) {
            true => Some(Arc::clone(&self.narrow).try_acquire_owned().ok()?),
            false => None,
        };
        let wide = Arc::clone(&self.wide).try_acquire_owned().ok()?;
        Some(NasPlace { queue: Arc::clone(self), _permits: (narrow, wide) })
    }

    /// A place, after those who asked before; `None` when there is none within [`PATIENCE`].
    pub(super) async fn place(self: &Arc<Self>) -> Option<NasPlace> {
        self.place_within(PATIENCE).await
    }

    async fn place_within(self: &Arc<Self>, patience: Duration) -> Option<NasPlace> {
        let wait = async {
            let narrow = match self.silent.load(Ordering::Relaxed) {
                true => Some(Arc::clone(&self.narrow).acquire_owned().await.ok()?),
                false => None,
            };
            let wide = Arc::clone(&self.wide).acquire_owned().await.ok()?;
            Some(NasPlace { queue: Arc::clone(self), _permits: (narrow, wide) })
        };
        timeout(patience, wait).await.ok().flatten()
    }
}

/// Something is under way to a NAS; over when dropped.
#[derive(Debug)]
pub(super) struct NasPlace {
    queue: Arc<NasQueue>,
    _permits: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl NasPlace {
    /// Gives it back, and says whether the NAS answered.
    pub(super) fn leave(self, answered: bool) {
        self.queue.silent.store(!answered, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &Arc<NasQueue>) -> Vec<NasPlace> {
        std::iter::from_fn(|| queue.place_now()).collect()
    }

    #[test]
    fn a_silent_nas_has_fewer_places_until_it_answers() {
        let queues = NasQueues::default();
        let (mute, other) = (queues.of(&NasName::new("mute")), queues.of(&NasName::new("other")));
        let mut places = all(&mute);
        assert_eq!(places.len(), ANSWERING);
        places.drain(..).for_each(|place| place.leave(false));
        let mut places = all(&queues.of(&NasName::new("mute")));
        assert_eq!((places.len(), all(&other).len()), (SILENT, ANSWERING));
        places.pop().unwrap().leave(true);
        drop(places);
        assert_eq!(all(&mute).len(), ANSWERING);
    }

    #[tokio::test]
    async fn who_waits_is_next_or_waits_no_more() {
        let queue = NasQueue::new();
        let mut places = all(&queue);
        assert!(queue.place_within(Duration::from_millis(1)).await.is_none());
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.place().await }
        });
        tokio::task::yield_now().await;
        drop(places.pop());
        assert!(queue.place_now().is_none());
        assert!(waiting.await.unwrap().is_some());
    }
}
