//! Carries the answers of approvers to their sessions, and the truth back.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ledger::Ledger;
use crate::approver::Answer;
use crate::session::{Press, Told};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Works until every approver is gone.
pub(super) async fn run(mut answers: mpsc::Receiver<Answer>, store: Arc<dyn Store>, ledger: Ledger) {
    let mut tasks = JoinSet::new();
    while let Some(Answer { press, reply }) = answers.recv().await {
        while tasks.try_join_next().is_some() {}
        let (store, ledger) = (Arc::clone(&store), ledger.clone());
        tasks.spawn(async move {
            let told = match entitled(&*store, &press).await {
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
        });
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
