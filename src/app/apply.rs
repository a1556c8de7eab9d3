//! Applies one event to one session in the store, whoever else does the same meanwhile.
//!
//! For those who stand outside the server, as the command line does, and for acts whose record must be kept with what they change; the
//! server itself goes through its ledger. Holds no rule: the machine says what changes, the store says who came first.

use super::turn::Turn;
use crate::model::{SessionId, Timestamp};
use crate::session::{Event, Session, Timing, Told};
use crate::store::{AuditEntry, Change, Committed, Store, StoreError};

/// How often somebody else may come first. Each time they did, the session moved on; a session does not have so many lives.
const ROUNDS: u32 = 100;

/// Applies `event` to the session as it is kept, and keeps what comes of it; again from the start when somebody else
/// changed it meanwhile. The act, where there is one, is kept with the change. Gives the session as it is now, and what to tell whoever brought the event.
///
/// `None` when there is no such session.
///
/// # Errors
/// [`StoreError`] when the store does not do it; nothing was kept then.
pub async fn apply(
    store: &dyn Store,
    id: SessionId,
    event: &Event,
    act: Option<&AuditEntry>,
    clock: impl Fn() -> Timestamp,
    timing: &Timing,
) -> Result<Option<(Session, Told)>, StoreError> {
    for _ in 0..ROUNDS {
        let Some(before) = store.sessions_by_id(&[id]).await?.pop() else { return Ok(None) };
        let turn = Turn::of_kept(before, clock(), *timing).take(event);
        let (told, idle) = (turn.told(), turn.is_idle());
        let change = turn.into_change(None);
        if idle || commit(store, &change, act).await? == Committed::Done {
            if !change.orders.is_empty() && !idle {
                // Unannounced they are found a little later.
                drop(store.announce_orders().await);
            }
            return Ok(Some((change.session, told)));
        }
        tokio::task::yield_now().await;
    }
    Err(StoreError::Away(format!("session {id} was changed by others {ROUNDS} times in a row")))
}

async fn commit(store: &dyn Store, change: &Change, act: Option<&AuditEntry>) -> Result<Committed, StoreError> {
    match act {
        Some(act) => store.commit_act(change, act).await,
        None => Ok(store.commit(std::slice::from_ref(change)).await?.first().copied().unwrap_or(Committed::Conflict)),
    }
}
