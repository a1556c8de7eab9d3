//! What this node tells the operator about itself, by the approvers that have an address for that. Not by way of the outbox: that
//! is in the store, and the store is what may be away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::approver::{Approver, AskError};
use crate::model::{ApproverKind, NodeName};
use crate::telemetry;

/// Alarms that may wait to be told; more are in the log alone.
const WAITING: usize = 16;
/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before another try, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An alarm is tried so many times.
const MOST_TRIES: u32 = 20;

/// Raises them.
#[derive(Debug, Clone)]
pub(super) struct Alarms {
    node: NodeName,
    out: mpsc::Sender<String>,
}

impl Alarms {
    /// A way to raise them, and what [`run`] works on.
    pub(super) fn new(node: NodeName) -> (Self, mpsc::Receiver<String>) {
        let (out, raised) = mpsc::channel(WAITING);
        (Self { node, out }, raised)
    }

    /// Raises one, and waits for nobody. The log has it already.
    pub(super) fn raise(&self, what: &str) {
        telemetry::count("alert");
        // No room: those before it have not been told yet either.
        let _ = self.out.try_send(format!("Node {}: {what}.", self.node));
    }
}

/// Tells them, one after the other, for ever. Drop the future to stop.
pub(super) async fn run(mut raised: mpsc::Receiver<String>, approvers: BTreeMap<ApproverKind, Arc<dyn Approver>>) {
    while let Some(text) = raised.recv().await {
        for approver in approvers.values() {
            tell(&**approver, &text).await;
        }
    }
    // Nobody can raise any more, but a part of the server does not end by itself.
    std::future::pending::<()>().await;
}

async fn tell(approver: &dyn Approver, text: &str) {
    let mut pause = PAUSES.0;
    for _ in 0..MOST_TRIES {
        let told = tokio::time::timeout(PATIENCE, approver.alert(text)).await;
        match told {
            Ok(Ok(())) => return,
            Ok(Err(AskError::Undeliverable(reason))) => {
                tracing::warn!(approver = %approver.kind(), reason, "the operator cannot be told of an alarm");
                return;
            }
            Ok(Err(AskError::Later { after, .. })) => tokio::time::sleep(after.unwrap_or(pause)).await,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSES.1);
    }
    tracing::warn!(approver = %approver.kind(), "the operator could not be told of an alarm");
}
