//! Applies one event to one session in the store, whoever else does the same meanwhile.
//!
//! Holds no rule: the machine says what changes, the store says who came first.

use crate::model::{Counters, SessionId, Timestamp};
use crate::session::{Event, Session, Step, Timing, step};
use crate::store::{Change, Committed, OrderId, Store, StoreError, Usage};

/// How often somebody else may come first. Each time they did, the session moved on; a session does not have so many lives.
const ROUNDS: u32 = 100;

/// Applies `event` to the session as it is kept, and keeps what comes of it; again from the start when somebody else
/// changed it meanwhile. The order that the event settles, if any, is struck off with it.
///
/// `None` when there is no such session; the order is struck off all the same.
///
/// # Errors
/// [`StoreError`] when the store does not do it; nothing was kept then, and the order stands.
pub async fn apply(
    store: &dyn Store,
    id: SessionId,
    event: &Event,
    settles: Option<OrderId>,
    clock: impl Fn() -> Timestamp,
    timing: &Timing,
) -> Result<Option<Step>, StoreError> {
    for _ in 0..ROUNDS {
        let Some(before) = store.sessions_by_id(&[id]).await?.pop() else {
            finish(store, settles).await?;
            return Ok(None);
        };
        let now = clock();
        let done = step(&before, event, now, timing);
        let Some(change) = change(&before, &done, settles, now, timing) else {
            finish(store, settles).await?;
            return Ok(Some(done));
        };
        if store.commit(&[change]).await?.first() == Some(&Committed::Done) {
            return Ok(Some(done));
        }
        tokio::task::yield_now().await;
    }
    Err(StoreError::Away(format!("session {id} was changed by others {ROUNDS} times in a row")))
}

/// What the store must keep of a step; `None` when nothing changed.
pub fn change(
    before: &Session,
    done: &Step,
    settles: Option<OrderId>,
    now: Timestamp,
    timing: &Timing,
) -> Option<Change> {
    let after = &done.session;
    let usage = (done.usage != Counters::default()).then(|| Usage {
        session: after.id,
        user: after.user.clone(),
        nas: after.nas.clone(),
        from: before.heard_at,
        to: after.heard_at,
        added: done.usage,
    });
    done.changes(before).then(|| Change {
        session: after.clone(),
        from_version: Some(before.version),
        wake_at: after.wake_at(timing),
        orders: done.effects.clone(),
        usage,
        settles,
        at: now,
    })
}

async fn finish(store: &dyn Store, settles: Option<OrderId>) -> Result<(), StoreError> {
    match settles {
        Some(order) => store.finish(order).await,
        None => Ok(()),
    }
}
