//! What this node tells the operator about itself, by the approvers that have an address for that. Not by way of the outbox: that
//! is in the store, and the store is what may be away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::approver::{Approver, AskError, Notice};
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
    out: mpsc::Sender<Notice>,
}

impl Alarms {
    /// A way to raise them, and what [`run`] works on.
    pub(super) fn new(node: NodeName) -> (Self, mpsc::Receiver<Notice>) {
        let (out, raised) = mpsc::channel(WAITING);
        (Self { node, out }, raised)
    }

    /// Raises one, and waits for nobody. The log has it already.
    pub(super) fn raise(&self, what: Notice) {
        telemetry::count("alert");
        // No room: those before it have not been told yet either.
        let _ = self.out.try_send(what.with("node", self.node.as_str()));
    }
}

/// Tells them, one after the other, for ever. Drop the future to stop.
pub(super) async fn run(mut raised: mpsc::Receiver<Notice>, approvers: BTreeMap<ApproverKind, Arc<dyn Approver>>) {
    while let Some(notice) = raised.recv().await {
        for approver in approvers.values() {
            tell(&**approver, &notice).await;
        }
    }
    // Nobody can raise any more, but a part of the server does not end by itself.
    std::future::pending::<()>().await;
}

async fn tell(approver: &dyn Approver, notice: &Notice) {
    let mut pause = PAUSES.0;
    for _ in 0..MOST_TRIES {
        let told = tokio::time::timeout(PATIENCE, approver.alert(notice)).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;
    use crate::model::{Language, Zone};

    #[test]
    fn an_alarm_says_whose_it_is_and_who_raises_it_waits_for_nobody() {
        let (alarms, mut raised) = Alarms::new("one".into());
        for _ in 0..2 * WAITING {
            alarms.raise(Notice::new("alert-prompts-exceeded").with("user", "alice"));
        }
        let notice = raised.try_recv().unwrap();
        let text = notice.say(&Messages::load(None).unwrap(), &Language::english(), Zone::UTC);
        assert!(text.starts_with("Node one: too many logins of alice"), "{text}");
        assert_eq!(std::iter::from_fn(|| raised.try_recv().ok()).count(), WAITING - 1);
    }
}
