//! Carries what people say to where it is answered: presses to their sessions, the rest to the desk; and the truth back.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::ledger::Ledger;
use crate::approver::{Answer, Incoming};
use crate::session::{Press, Told};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Works until every approver is gone.
pub(super) async fn run(mut heard: mpsc::Receiver<Incoming>, store: Arc<dyn Store>, ledger: Ledger, desk: Arc<Desk>) {
    let mut tasks = JoinSet::new();
    while let Some(incoming) = heard.recv().await {
        while tasks.try_join_next().is_some() {}
        match incoming {
            Incoming::Press(answer) => {
                let (store, ledger) = (Arc::clone(&store), ledger.clone());
                tasks.spawn(async move { press(&*store, &ledger, answer).await });
            }
            Incoming::Act(act) => {
                let desk = Arc::clone(&desk);
                tasks.spawn(async move { desk.act(act).await });
            }
            Incoming::Message(message) => {
                let desk = Arc::clone(&desk);
                tasks.spawn(async move { desk.message(message).await });
            }
        }
    }
}

async fn press(store: &dyn Store, ledger: &Ledger, Answer { press, reply }: Answer) {
    let told = match entitled(store, &press).await {
        Ok(true) => ledger.press(press, true).await,
        Ok(false) => Some(Told::NotEntitled),
        // Kept until the store is back, and judged then.
        Err(StoreError::Away(_)) => ledger.press(press, false).await,
        Err(error) => {
            tracing::warn!(%error, "a press cannot be checked; the person presses again");
            None
        }
    };
    match told {
        Some(told) => drop(reply.send(told)),
        // Dropping the reply tells the approver that nothing was kept; the person presses again.
        None => telemetry::count("answer.not-kept"),
    }
}

/// Whether the presser may still speak for the session's user: a binding may have been taken back since the question was put, as
/// when a phone is lost.
pub(super) async fn entitled(store: &dyn Store, press: &Press) -> Result<bool, StoreError> {
    let Some(session) = store.sessions_by_id(&[press.session()]).await?.pop() else { return Ok(true) };
    if store.user(&session.user).await?.is_none_or(|user| user.disabled) {
        return Ok(false);
    }
    let bindings = store.bindings(&session.user).await?;
    Ok(bindings.iter().any(|binding| binding.approver == press.approver() && binding.presser == press.presser()))
}
