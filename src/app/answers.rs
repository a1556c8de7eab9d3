//! Carries the answers of approvers to their sessions, and the truth back.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::ledger::Ledger;
use super::voices;
use crate::approver::Answer;
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Works until every approver is gone.
pub(super) async fn run(mut answers: mpsc::Receiver<Answer>, store: Arc<dyn Store>, ledger: Ledger) {
    let mut tasks = JoinSet::new();
    while let Some(Answer { press, reply }) = answers.recv().await {
        while tasks.try_join_next().is_some() {}
        let (store, ledger) = (Arc::clone(&store), ledger.clone());
        tasks.spawn(async move {
            let told = match voices::fact(&*store, press.clone()).await {
                Ok(Ok(fact)) => ledger.press(press, Some(fact)).await,
                Ok(Err(told)) => Some(told),
                // Kept until the store is back, and judged then.
                Err(StoreError::Away(_)) => ledger.press(press, None).await,
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
