//! Wakes sessions when their time has come. The times are kept with the sessions, so a restart forgets none.
//!
//! The store is asked ahead of time, and what it names waits here for its moment: a deadline is not as late as the store is asked seldom.
//! Only the next moments are in memory, whatever the number of sessions.
//!
//! Nodes share the work by the ids of sessions, so that they do not all write the same one; whatever its own node leaves for
//! [`GRACE`], dead or not, any other takes. The store settles who was first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use super::settings::SettingsHandle;
use crate::model::{SessionId, Timestamp};
use crate::store::{Store, StoreError, Wake};
use crate::telemetry;

/// How often the store is asked.
const PERIOD: Duration = Duration::from_millis(200);
/// How far ahead: longer than from one look to the next, however slow the store is at it.
const AHEAD: Duration = Duration::from_millis(600);
/// Sessions asked for at a time.
const PAGE: u32 = 1024;
/// Sessions that wait for their moment or for the ledger, at most. Of more that are overdue at once, the most overdue go first.
const MOST: usize = 16_384;
/// Deadlines are kept together so that a transaction has more than one: each may be late by this.
const GRAIN: Duration = Duration::from_millis(10);
/// How long a session is left to the node whose it is.
const GRACE: Duration = Duration::from_millis(800);

/// Wakes sessions, for ever. Drop the future to stop.
pub(super) async fn run(
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
) {
    let mut alarms = Alarms { store, ledger, settings, share, set: HashSet::new(), ringing: JoinSet::new() };
    let mut away = false;
    loop {
        let next_look = Instant::now() + PERIOD;
        match alarms.look().await {
            Ok(()) => {
                if std::mem::take(&mut away) {
                    alarms.settings.listen_anew(clock::now());
                }
            }
            Err(error) => {
                away = true;
                telemetry::count("store.failed");
                tracing::warn!(%error, "cannot see which deadlines have passed; trying again");
            }
        }
        while tokio::time::timeout_at(next_look, alarms.rung()).await.is_ok() {}
    }
}

/// The sessions whose moment is near.
struct Alarms {
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
    /// Those that wait, so that none waits twice.
    set: HashSet<SessionId>,
    ringing: JoinSet<SessionId>,
}

impl Alarms {
    /// Asks the store whose moment is near.
    async fn look(&mut self) -> Result<(), StoreError> {
        let mut after: Option<Wake> = None;
        loop {
            let (now, share) = (clock::now(), *self.share.borrow());
            let page = self.store.due(now + AHEAD, after, PAGE).await?;
            let timing = self.settings.current().timing;
            for session in page.sessions {
                // One that wants waking later than is kept is woken at once, to be given its time anew.
                let wants = session.wake_at(&timing);
                let at = wants.filter(|at| *at <= now + AHEAD).unwrap_or(now);
                if share.has(session.id) || overdue(wants, now) {
                    self.set_for(session.id, at, now).await;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn set_for(&mut self, session: SessionId, at: Timestamp, now: Timestamp) {
        while self.set.len() >= MOST {
            self.rung().await;
        }
        if !self.set.insert(session) {
            return;
        }
        let (ledger, moment) = (self.ledger.clone(), Instant::now() + wait(at, now));
        self.ringing.spawn(async move {
            sleep_until(moment).await;
            // The clock may go otherwise than the timer does; what is woken too early is not woken.
            while clock::now() < at {
                sleep(Duration::from_millis(1)).await;
            }
            // What the ledger does not keep is due still, and is found again.
            ledger.wake(session).await;
            session
        });
    }

    /// Returns when one has been woken.
    async fn rung(&mut self) {
        match self.ringing.join_next().await {
            Some(Ok(session)) => drop(self.set.remove(&session)),
            // It panicked, and nobody knows which.
            Some(Err(_)) => self.set.clear(),
            None => std::future::pending().await,
        }
    }
}

/// How long until then, to the next grain.
fn wait(at: Timestamp, now: Timestamp) -> Duration {
    let (grain, at_micros) = (GRAIN.as_micros() as i64, at.as_micros());
    let on_grain = Timestamp::from_micros(at_micros.saturating_add((-at_micros).rem_euclid(grain)));
    if at <= now { Duration::ZERO } else { on_grain.since(now) }
}

fn overdue(wake_at: Option<Timestamp>, now: Timestamp) -> bool {
    wake_at.is_some_and(|wake_at| now.since(wake_at) >= GRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_wait_together_and_none_is_early() {
        let at = |micros: i64| Timestamp::from_micros(micros);
        let micros = Duration::from_micros;
        assert_eq!(wait(at(10_000), at(0)), micros(10_000));
        assert_eq!((wait(at(10_001), at(0)), wait(at(20_000), at(9))), (micros(20_000), micros(19_991)));
        assert_eq!((wait(at(5), at(5)), wait(at(4), at(5))), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn another_node_s_session_is_left_alone_for_a_while() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        assert!(!overdue(Some(at(1000)), at(1799)) && overdue(Some(at(1000)), at(1800)));
        assert!(!overdue(Some(at(1000)), at(0)) && !overdue(None, at(9000)));
    }
}
