//! Orders that are taken with the change that demands them: claimed in the transaction that keeps it, and handed over when that is
//! durable. So neither a second transaction nor a look at the store stands between a decision and the NAS. Where there is no place for
//! them, or nobody to carry them out, they are left in the outbox, and are claimed from there as all others are.
//!
//! Carries nothing out itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::super::clock;
use crate::model::{NodeName, SessionId, Timestamp};
use crate::session::{Effect, Lane, Session};
use crate::store::{Change, Claim, Committed, Order, Store};
use crate::telemetry;

/// The lane whose orders are taken so: those to people wait for a service that takes its time anyway.
pub(in crate::app) const LANE: Lane = Lane::Nas;
/// Between tries to give free what nobody has: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// An order, what it is about, and its place among those in hand.
pub(in crate::app) struct Taken {
    pub order: Order,
    pub session: Session,
    pub place: OwnedSemaphorePermit,
}

/// The way orders take to whoever carries them out.
#[derive(Clone)]
pub(in crate::app) struct Hands {
    node: NodeName,
    /// How long an order is ours.
    lease: Duration,
    places: Arc<Semaphore>,
    taken: mpsc::UnboundedSender<Taken>,
}

impl Hands {
    /// A way with so many places, and its end.
    pub(in crate::app) fn new(
        node: NodeName,
        lease: Duration,
        places: usize,
    ) -> (Self, mpsc::UnboundedReceiver<Taken>) {
        let (taken, received) = mpsc::unbounded_channel();
        (Self { node, lease, places: Arc::new(Semaphore::new(places)), taken }, received)
    }

    /// A way that nobody stands at the end of.
    #[cfg(test)]
    pub(in crate::app) fn none() -> Self {
        Self::new("nobody".into(), Duration::ZERO, 0).0
    }

    /// Places among all orders in hand, for those who claim from the outbox too.
    pub(in crate::app) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// Makes ready to take the orders of these changes. `None` when there are none, or they cannot be taken now.
    pub(in crate::app) fn reach(&self, store: &Arc<dyn Store>, changes: &[Change], now: Timestamp) -> Option<Reach> {
        let with_orders = changes.iter().filter(|change| change.orders.iter().any(is_ours));
        let sessions: Vec<SessionId> = with_orders.map(|change| change.session.id).collect();
        let orders = changes.iter().flat_map(|change| &change.orders).filter(|order| is_ours(order)).count();
        if orders == 0 || self.taken.is_closed() {
            return None;
        }
        let places = Arc::clone(&self.places).try_acquire_many_owned(u32::try_from(orders).ok()?).ok()?;
        let claim = Claim { node: self.node.clone(), lane: LANE, until: now + self.lease };
        Some(Reach { hands: self.clone(), store: Arc::clone(store), claim, sessions, places, in_doubt: true })
    }
}

/// Whether an order is one that is taken so.
pub(in crate::app) fn is_ours(order: &Effect) -> bool {
    order.lane() == LANE
}

/// Orders that are about to be taken. When it is not known what became of their transaction, they are given free: whoever is to carry
/// them out has not got them.
pub(in crate::app) struct Reach {
    hands: Hands,
    store: Arc<dyn Store>,
    claim: Claim,
    sessions: Vec<SessionId>,
    places: OwnedSemaphorePermit,
    in_doubt: bool,
}

impl Reach {
    /// For whom they are claimed.
    pub(in crate::app) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Hands over what was claimed: that is durable now.
    pub(in crate::app) fn take(mut self, claimed: Vec<Order>, changes: &[Change], committed: &[Committed]) {
        self.in_doubt = false;
        let done = changes.iter().zip(committed).filter(|(_, committed)| **committed == Committed::Done);
        let sessions: HashMap<SessionId, &Session> =
            done.map(|(change, _)| (change.session.id, &change.session)).collect();
        let mut left = Vec::new();
        for order in claimed {
            let taken = match (sessions.get(&order.session), self.places.split(1)) {
                (Some(session), Some(place)) => Taken { order, session: (*session).clone(), place },
                _ => {
                    left.push(order.session);
                    continue;
                }
            };
            if let Err(mpsc::error::SendError(Taken { order, .. })) = self.hands.taken.send(taken) {
                left.push(order.session);
            }
        }
        self.sessions = left;
        self.in_doubt = !self.sessions.is_empty();
    }

    /// The store has said that nothing was kept: there is nothing to give free.
    pub(in crate::app) fn refused(mut self) {
        self.in_doubt = false;
    }
}

impl Drop for Reach {
    fn drop(&mut self) {
        if !self.in_doubt {
            return;
        }
        telemetry::count("orders.given-free");
        let (store, claim, sessions) =
            (Arc::clone(&self.store), self.claim.clone(), std::mem::take(&mut self.sessions));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // Again and again, since a transaction that nobody waits for any more may end late: at the store it goes on. After its
            // lease anybody may have the order anyway.
            let mut pause = PAUSES.0;
            while clock::now() < claim.until {
                drop(store.disclaim(&claim, &sessions).await);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;
    use crate::store::{self, Extent, Kept};

    const LEASE: Duration = Duration::from_secs(600);

    fn change(number: u128, orders: &[Effect]) -> Change {
        let (id, at) = (SessionId(uuid::Uuid::from_u128(number)), clock::now());
        let here = std::net::IpAddr::from([192, 0, 2, 1]);
        Change {
            session: Session::observe(id, "alice".into(), "edge".into(), here, Identity::default(), at),
            from_version: None,
            extent: Extent::Whole,
            wake_at: None,
            orders: orders.to_vec(),
            usage: Vec::new(),
            settles: None,
            at,
        }
    }

    async fn store() -> Arc<dyn Store> {
        let store = store::open("sqlite::memory:").await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    /// How many orders anybody may claim, once there are so many.
    async fn are_free(store: &Arc<dyn Store>, orders: usize) {
        let mut free = 0;
        while free < orders {
            free += store.claim(&"other".into(), None, clock::now(), LEASE, 99).await.unwrap().len();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(free, orders);
    }

    #[tokio::test]
    async fn what_is_claimed_with_its_change_is_handed_over() {
        let store = store().await;
        let (hands, mut taken) = Hands::new("me".into(), LEASE, 2);
        let coa = Effect::SendCoa { attempt: 1 };
        let ask = Effect::AskApprover { approver: crate::model::ApproverKind::Operator };
        let changes = [change(1, &[ask, coa.clone()]), change(1, std::slice::from_ref(&coa))];
        let reach = hands.reach(&store, &changes, clock::now()).unwrap();
        let Kept { committed, claimed } = store.commit_claiming(&changes, Some(reach.claim()), &|| ()).await.unwrap();
        assert!(hands.reach(&store, &changes, clock::now()).is_none(), "there are places for two");
        reach.take(claimed, &changes, &committed);
        let Taken { order, session, place } = taken.recv().await.unwrap();
        assert_eq!((order.effect, order.attempts, session), (coa, 0, changes[0].session.clone()));
        assert!(taken.try_recv().is_err(), "the second came too late for its session");
        assert_eq!(hands.places().available_permits(), 1);
        drop(place);
        assert_eq!(hands.places().available_permits(), 2);
        are_free(&store, 1).await;
        assert!(hands.reach(&store, &[change(2, &[])], clock::now()).is_none());
    }

    #[tokio::test]
    async fn what_nobody_was_handed_is_free_again() {
        let store = store().await;
        let (hands, taken) = Hands::new("me".into(), LEASE, 9);
        let coa = [Effect::SendCoa { attempt: 1 }];
        // Cut off behind the commit, as by a time limit.
        let changes = [change(1, &coa)];
        let reach = hands.reach(&store, &changes, clock::now()).unwrap();
        store.commit_claiming(&changes, Some(reach.claim()), &|| ()).await.unwrap();
        drop(reach);
        are_free(&store, 1).await;
        // The same where the transaction ends only after that.
        let changes = [change(4, &coa)];
        let reach = hands.reach(&store, &changes, clock::now()).unwrap();
        let claim = reach.claim().clone();
        drop(reach);
        tokio::time::sleep(PAUSES.0 / 2).await;
        store.commit_claiming(&changes, Some(&claim), &|| ()).await.unwrap();
        are_free(&store, 1).await;
        // Whoever should have carried it out has stopped meanwhile.
        let changes = [change(2, &coa)];
        let reach = hands.reach(&store, &changes, clock::now()).unwrap();
        let Kept { committed, claimed } = store.commit_claiming(&changes, Some(reach.claim()), &|| ()).await.unwrap();
        drop(taken);
        reach.take(claimed, &changes, &committed);
        are_free(&store, 1).await;
        assert!(hands.reach(&store, &[change(3, &coa)], clock::now()).is_none());
        assert_eq!(hands.places().available_permits(), 9);
    }

    #[tokio::test]
    async fn what_the_store_refused_is_not_given_free() {
        let store = store().await;
        let (hands, _taken) = Hands::new("me".into(), LEASE, 2);
        let changes = [change(1, &[Effect::SendCoa { attempt: 1 }])];
        let reach = hands.reach(&store, &changes, clock::now()).unwrap();
        let claim = reach.claim().clone();
        reach.refused();
        assert_eq!(hands.places().available_permits(), 2, "its places are others' again");
        // Were it given free all the same, this would be too.
        store.commit_claiming(&changes, Some(&claim), &|| ()).await.unwrap();
        tokio::time::sleep(PAUSES.0 * 2).await;
        assert!(store.claim(&"other".into(), None, clock::now(), LEASE, 99).await.unwrap().is_empty());
    }
}
