//! Carries what people say to where it is answered: presses to their sessions, the rest to the desk; and the truth back.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::ledger::Ledger;
use super::voices;
use crate::approver::{Answer, Incoming};
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
    let told = match voices::fact(store, press.clone()).await {
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
}
