//! Wakes sessions when their time has come. The times are kept with the sessions, so a restart forgets none.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::clock;
use super::ledger::Ledger;
use super::settings::{Settings, SettingsHandle};
use crate::session::{Event, Timing};
use crate::store::Store;
use crate::telemetry;

/// How late a deadline may be noticed.
const PERIOD: Duration = Duration::from_millis(200);
/// Sessions woken at once.
const BATCH: u32 = 256;

/// Wakes sessions, for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, ledger: Ledger, settings: SettingsHandle) {
    let mut away = false;
    loop {
        let due = match store.due(clock::now(), BATCH).await {
            Ok(due) => {
                if std::mem::take(&mut away) {
                    listen_anew(&settings);
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
        let full = due.len() == BATCH as usize;
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

/// While the store was away, accounting did not reach the sessions there: their silence was not the NAS's.
fn listen_anew(settings: &SettingsHandle) {
    let since = clock::now();
    settings.update(|current| {
        let timing = Timing { listening_since: Some(since), ..current.timing };
        Settings { timing, ..current.clone() }
    });
}
