//! Wakes sessions when their time has come. The times are kept with the sessions, so a restart forgets none.
//!
//! Nodes share the work by the ids of sessions, so that they do not all write the same one; whatever its own node leaves for
//! [`GRACE`], dead or not, any other takes. The store settles who was first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use super::settings::SettingsHandle;
use crate::model::Timestamp;
use crate::session::Event;
use crate::store::Store;
use crate::telemetry;

/// How late a deadline may be noticed.
const PERIOD: Duration = Duration::from_millis(200);
/// Sessions woken at once.
const BATCH: u32 = 512;
/// How long a session is left to the node whose it is.
const GRACE: Duration = Duration::from_millis(800);

/// Wakes sessions, for ever. Drop the future to stop.
pub(super) async fn run(
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
) {
    let mut away = false;
    loop {
        let (now, share) = (clock::now(), *share.borrow());
        // Those of all nodes come together, the most overdue first.
        let limit = BATCH.saturating_mul(u32::try_from(share.of).unwrap_or(u32::MAX)).min(BATCH * 16);
        let mut due = match store.due(now, limit).await {
            Ok(due) => {
                if std::mem::take(&mut away) {
                    settings.listen_anew(clock::now());
                }
                due
            }
            Err(error) => {
                away = true;
                telemetry::count("store.failed");
                tracing::warn!(%error, "cannot see which deadlines have passed; trying again");
                Vec::new()
            }
        };
        let full = due.len() >= limit as usize;
        let timing = settings.current().timing;
        due.retain(|session| share.has(session.id) || overdue(session.wake_at(&timing), now));
        let mut woken = JoinSet::new();
        for session in due {
            let ledger = ledger.clone();
            woken.spawn(async move { ledger.fact(session.id, Event::TimerPassed, None).await });
        }
        woken.join_all().await;
        if !full {
            tokio::time::sleep(PERIOD).await;
        }
    }
}

fn overdue(wake_at: Option<Timestamp>, now: Timestamp) -> bool {
    wake_at.is_some_and(|wake_at| now.since(wake_at) >= GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_node_s_session_is_left_alone_for_a_while() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        assert!(!overdue(Some(at(1000)), at(1799)) && overdue(Some(at(1000)), at(1800)));
        assert!(!overdue(Some(at(1000)), at(0)) && !overdue(None, at(9000)));
    }
}
