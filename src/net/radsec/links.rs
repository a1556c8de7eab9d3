//! The connections NASes have to us, by NAS. Bounded; knows nothing of what is said on them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::certificate::Certificate;
use super::link::{End, Link};
use crate::model::NasName;

/// All connections of one server.
#[derive(Debug, Default)]
pub struct Links {
    by_nas: Mutex<BTreeMap<NasName, Vec<Arc<Link>>>>,
    changed: Notify,
}

/// A connection's place; given up when dropped.
pub(super) struct Place {
    links: Arc<Links>,
    nas: NasName,
    number: u64,
}

impl Links {
    /// Takes a connection in, unless its NAS has so many already.
    pub(super) fn enter(self: &Arc<Self>, nas: &NasName, link: &Arc<Link>, most: usize) -> Option<Place> {
        let mut by_nas = self.by_nas();
        let links = by_nas.entry(nas.clone()).or_default();
        if links.len() >= most {
            return None;
        }
        links.push(Arc::clone(link));
        drop(by_nas);
        self.changed.notify_one();
        Some(Place { links: Arc::clone(self), nas: nas.clone(), number: link.number })
    }

    /// The connection to ask a NAS on: one from that address where there is, else any; of several the least busy, the latest of
    /// those. Its certificate may be another's by now: `is_its_own` says.
    pub fn of(&self, nas: &NasName, near: IpAddr, is_its_own: impl Fn(&Certificate) -> bool) -> Option<Arc<Link>> {
        let by_nas = self.by_nas();
        let is_its_own = |link: &&Arc<Link>| is_its_own(&link.certificate);
        let links = by_nas.get(nas)?.iter().rev().filter(|link| !link.has_ended()).filter(is_its_own);
        let rank = |link: &&Arc<Link>| (link.peer.ip().to_canonical() != near.to_canonical(), link.in_flight());
        links.min_by_key(rank).cloned()
    }

    /// The NASes that have any, by name.
    pub fn nases(&self) -> Vec<NasName> {
        self.by_nas().keys().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_nas().values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_nas().is_empty()
    }

    /// Returns when a NAS may have come or gone since it last did.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends all of them, and waits a moment until they have.
    pub async fn end_all(&self) {
        for link in self.by_nas().values().flatten() {
            link.end(End::Stopping);
        }
        let gone = async {
            while !self.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // Peers that do not read are not waited for.
        let _ = timeout(Duration::from_secs(2), gone).await;
    }

    fn by_nas(&self) -> MutexGuard<'_, BTreeMap<NasName, Vec<Arc<Link>>>> {
        self.by_nas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_nas = self.links.by_nas();
        if let Some(links) = by_nas.get_mut(&self.nas) {
            links.retain(|link| link.number != self.number);
            if links.is_empty() {
                by_nas.remove(&self.nas);
            }
        }
        drop(by_nas);
        self.links.changed.notify_one();
    }
}
