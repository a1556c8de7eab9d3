//! Strikes off orders that are done and change no session: all that come while a transaction is under way go with the next one. An order
//! that is not struck off is carried out again, which is harmless. Knows no order but its number.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::store::{OrderId, Store, StoreError};

/// Orders in one transaction, at most.
const BATCH: usize = 512;

type Waiting = (OrderId, oneshot::Sender<Result<(), String>>);

/// The way there.
#[derive(Debug)]
pub(in crate::app) struct Done(mpsc::Sender<Waiting>);

/// The other end.
#[derive(Debug)]
pub(in crate::app) struct DoneOrders(mpsc::Receiver<Waiting>);

impl Done {
    /// A way, and its end.
    pub(in crate::app) fn new() -> (Self, DoneOrders) {
        let (done, orders) = mpsc::channel(BATCH);
        (Self(done), DoneOrders(orders))
    }

    /// Returns when the order is struck off.
    pub(super) async fn strike_off(&self, order: OrderId) -> Result<(), StoreError> {
        let stopped = || StoreError::Away("the server stops".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.send((order, answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?.map_err(StoreError::Away)
    }
}

impl DoneOrders {
    /// Works until nobody is left who might bring one.
    pub(in crate::app) async fn run(mut self, store: Arc<dyn Store>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        while self.0.recv_many(&mut waiting, BATCH).await > 0 {
            let orders: Vec<OrderId> = waiting.iter().map(|(order, _)| *order).collect();
            let done = store.finish(&orders).await.map_err(|error| error.to_string());
            for (_, answer) in waiting.drain(..) {
                let _ = answer.send(done.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Identity, SessionId, Timestamp};
    use crate::session::{Effect, Session};
    use crate::store::{self, Change, Extent};

    #[tokio::test]
    async fn many_are_struck_off_and_each_hears_of_it() {
        let store = store::open("sqlite::memory:").await.unwrap();
        store.migrate().await.unwrap();
        let (id, at) = (SessionId(uuid::Uuid::from_u128(1)), Timestamp::from_secs(1000));
        let here = std::net::IpAddr::from([192, 0, 2, 1]);
        let change = Change {
            session: Session::observe(id, "alice".into(), "edge".into(), here, Identity::default(), at),
            from_version: None,
            extent: Extent::Whole,
            wake_at: None,
            orders: (1..=BATCH as u32 + 9).map(|attempt| Effect::SendCoa { attempt }).collect(),
            usage: Vec::new(),
            settles: None,
            at,
        };
        store.commit(&[change]).await.unwrap();
        let claim = async || store.claim(&"n1".into(), None, at, Duration::ZERO, 2000).await.unwrap();
        let orders = claim().await;
        assert_eq!(orders.len(), BATCH + 9);
        let (done, end) = Done::new();
        let done = Arc::new(done);
        let mut tasks = tokio::task::JoinSet::new();
        for order in orders.into_iter().skip(1) {
            let done = Arc::clone(&done);
            tasks.spawn(async move { done.strike_off(order.id).await.unwrap() });
        }
        let running = tokio::spawn(end.run(Arc::clone(&store)));
        tasks.join_all().await;
        assert_eq!(claim().await.len(), 1);
        running.abort();
        drop(running.await);
        assert!(done.strike_off(OrderId(1)).await.is_err(), "nobody is there to strike it off");
    }
}
