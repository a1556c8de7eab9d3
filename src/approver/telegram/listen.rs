//! The long poll: updates are fetched and handled, outages are waited out.
//!
//! An update is confirmed (by the next poll's offset) only after it was handled, so a crash in between brings it
//! again; that is harmless, since a press that took effect is told "already confirmed" the second time, and who answers messages
//! knows them again by their number. Updates of one poll are handled side by side: one slow session does not keep the others
//! waiting.

use std::sync::Arc;
use std::time::Duration;

use teloxide::types::Update;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::TelegramOptions;
use super::api::{Api, NoUpdates};
use super::reception::Reception;
use crate::approver::{AskError, Incoming};

/// How long presses in hand may take to be answered when listening ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// A poll that brings nothing sooner than this was not a long one (a proxy's invention, say) and is followed by a rest.
const TOO_QUICK: Duration = Duration::from_millis(200);

/// Polls until `incoming` is closed, or another poll with this token ends ours.
pub(super) async fn run(api: &Api, reception: &Arc<Reception>, options: &TelegramOptions) {
    let incoming = &reception.incoming;
    let mut backoff = Backoff::new(options.backoff_first, options.backoff_most);
    let mut offset = None;
    loop {
        let asked_at = Instant::now();
        let polled = tokio::select! {
            biased;
            () = incoming.closed() => return,
            polled = api.updates(offset) => polled,
        };
        match polled {
            Ok(updates) => {
                if backoff.reset() {
                    tracing::info!("Telegram can be polled again");
                }
                // An empty answer confirms all before the offset. Leaving it out from then on matters after a quiet
                // week, when Telegram draws a new, possibly smaller, first update id.
                let idle = updates.is_empty() && asked_at.elapsed() < TOO_QUICK;
                offset = updates.last().map(|last| last.id.as_offset());
                if !handle_all(reception, updates).await {
                    return;
                }
                if idle {
                    pause(incoming, options.backoff_first.max(TOO_QUICK)).await;
                }
            }
            // Which of the two goes on is not for us to say.
            Err(NoUpdates::Elsewhere) => return,
            Err(NoUpdates::Webhook) => {
                tracing::warn!("updates of this bot go to a webhook, which is not configured here; it is taken back");
                if let Err(error) = api.delete_webhook().await {
                    let wait = backoff.after(&error);
                    tracing::warn!(%error, wait_s = wait.as_secs_f32(), "the webhook stays");
                    pause(incoming, wait).await;
                }
            }
            Err(NoUpdates::Failed(error)) => {
                let wait = backoff.after(&error);
                tracing::warn!(%error, wait_s = wait.as_secs_f32(), "Telegram cannot be polled");
                pause(incoming, wait).await;
            }
        }
    }
}

/// Sleeps, but not past the end of listening.
async fn pause(incoming: &mpsc::Sender<Incoming>, wait: Duration) {
    let _ = tokio::time::timeout(wait, incoming.closed()).await;
}

/// Handles the updates of one poll; `false` when listening ends and not all may be confirmed.
async fn handle_all(reception: &Arc<Reception>, updates: Vec<Update>) -> bool {
    let mut work = JoinSet::new();
    for update in updates {
        let reception = Arc::clone(reception);
        work.spawn(async move { reception.handle(update).await });
    }
    let incoming = &reception.incoming;
    tokio::select! {
        all = finish(&mut work) => all && !incoming.is_closed(),
        () = incoming.closed() => {
            let _ = tokio::time::timeout(FAREWELL, finish(&mut work)).await;
            false
        }
    }
}

/// Waits for all, and says whether all may be confirmed. One that panicked is not tried again, or it would stop us for good.
async fn finish(work: &mut JoinSet<bool>) -> bool {
    let mut all = true;
    while let Some(done) = work.join_next().await {
        match done {
            Ok(handled) => all &= handled,
            Err(error) => tracing::error!(%error, "handling an update failed"),
        }
    }
    all
}

/// Waits that double from failure to failure.
struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    fn new(first: Duration, most: Duration) -> Self {
        // Never a busy loop, whatever the configuration says.
        let first = first.max(Duration::from_millis(10));
        Self { first, most: most.max(first), next: first }
    }

    /// The wait after a failure: at least as long as Telegram asks, and the longest where a repeat hardly helps.
    fn after(&mut self, error: &AskError) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        match error {
            AskError::Later { after, .. } => wait.max(after.unwrap_or_default()),
            AskError::Undeliverable(_) => self.most,
        }
    }

    /// After a success; says whether there was a failure before it.
    fn reset(&mut self) -> bool {
        let failed = self.next != self.first;
        self.next = self.first;
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(after: Option<u64>) -> AskError {
        AskError::Later { after: after.map(Duration::from_secs), reason: "test".into() }
    }

    #[test]
    fn waits_double_up_to_the_limit_and_start_over() {
        let secs = Duration::from_secs;
        let mut backoff = Backoff::new(secs(1), secs(5));
        let waits: Vec<_> = (0..4).map(|_| backoff.after(&later(None))).collect();
        assert_eq!(waits, [secs(1), secs(2), secs(4), secs(5)]);
        assert!(backoff.reset() && !backoff.reset());
        assert_eq!(backoff.after(&later(Some(60))), secs(60));
        assert_eq!(backoff.after(&AskError::Undeliverable("bad token".into())), secs(5));
    }

    #[test]
    fn no_configuration_makes_it_spin() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert!(backoff.after(&later(None)) > Duration::ZERO);
    }
}
