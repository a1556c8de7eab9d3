//! Carries the answers of approvers to their sessions, and the truth back.

use tokio::sync::mpsc;

use super::ledger::Ledger;
use crate::approver::Answer;
use crate::session::Event;
use crate::telemetry;

/// Works until every approver is gone.
pub(super) async fn run(mut answers: mpsc::Receiver<Answer>, ledger: Ledger) {
    while let Some(Answer { press, reply }) = answers.recv().await {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let session = press.session();
            let event = match press.into_proof() {
                Ok(approval) => Event::Approved(approval),
                Err(denial) => Event::Denied(denial),
            };
            match ledger.fact(session, event, None).await {
                Some(told) => drop(reply.send(told)),
                // Dropping the reply tells the approver that nothing was kept; the person presses again.
                None => telemetry::count("answer.not-kept"),
            }
        });
    }
}
