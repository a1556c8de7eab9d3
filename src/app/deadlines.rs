//! Wakes sessions when their time has come. The times are kept with the sessions, so a restart forgets none.
//!
//! The store is asked ahead of time, and what it names waits here for its moment: a deadline is not as late as the store is asked seldom.
//! Only the next moments are in memory, whatever the number of sessions.
//!
//! Nodes share the work by the ids of sessions, so that they do not all write the same one; whatever its own node leaves for
//! [`GRACE`], dead or not, any other takes. The store settles who was first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::clock;
use super::ledger::Ledger;
use super::news::Share;
use super::settings::SettingsHandle;
use crate::model::{SessionId, Timestamp};
use crate::store::{Store, StoreError, Wake};
use crate::telemetry;

/// How often the store is asked.
const PERIOD: Duration = Duration::from_millis(200);
/// How far ahead: longer than from one look to the next, however slow the store is at it. Whatever the machine sets anew is further away,
/// so that each look may go on where the one before ended.
const AHEAD: Duration = Duration::from_millis(600);
/// How often a look begins at the beginning, for what was set nearer than that, and what others left.
const ANEW: Duration = Duration::from_secs(1);
/// Times asked for at a time.
const PAGE: u32 = 4096;
/// Sessions that wait for their moment or for the ledger, at most. Of more that are overdue at once, the most overdue go first.
const MOST: usize = 16_384;
/// Deadlines are kept together so that a transaction has more than one: each may be late by this.
const GRAIN: Duration = Duration::from_millis(20);
/// What is later than this is past hurrying: it waits among all other work, so that what it leads to is not overtaken by more of it.
const LATE: Duration = Duration::from_millis(500);
/// How long a session is left to the node whose it is.
const GRACE: Duration = Duration::from_millis(800);
/// Before a session is woken again that the ledger would not have; and at most, where it has others meanwhile: so that a row nobody can
/// read costs its neighbours little, and an outage, or a spool that is heard first, makes no deadline later than itself.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// What was kept within this says that the ledger keeps what it can.
const LATELY: Duration = Duration::from_millis(500);

/// Wakes sessions, for ever. Drop the future to stop.
pub(super) async fn run(
    store: Arc<dyn Store>,
    ledger: Ledger,
    settings: SettingsHandle,
    share: watch::Receiver<Share>,
) {
    let (set, refused, ringing) = (HashSet::new(), HashMap::new(), JoinSet::new());
    let mut alarms = Alarms { store, ledger, share, set, refused, ringing, looked_to: None, kept_at: None };
    let (mut away, mut anew_at) = (false, Instant::now());
    loop {
        let begun = Instant::now();
        if begun >= anew_at {
            (alarms.looked_to, anew_at) = (None, begun + ANEW);
        }
        match alarms.look().await {
            Ok(()) => {
                if std::mem::take(&mut away) {
                    alarms.refused.clear();
                    settings.listen_anew(clock::now());
                }
            }
            Err(error) => {
                (away, anew_at) = (true, begun);
                telemetry::count("store.failed");
                tracing::warn!(%error, "cannot see which deadlines have passed; trying again");
            }
        }
        while timeout_at(begun + PERIOD, alarms.rung()).await.is_ok() {}
    }
}

/// The sessions whose moment is near.
struct Alarms {
    store: Arc<dyn Store>,
    ledger: Ledger,
    share: watch::Receiver<Share>,
    /// Those that wait, so that none waits twice.
    set: HashSet<SessionId>,
    /// Those the ledger would not have, for how long they are left alone, and until when.
    refused: HashMap<SessionId, (Duration, Instant)>,
    ringing: JoinSet<(SessionId, bool)>,
    /// Where the last look ended.
    looked_to: Option<Wake>,
    /// When one was kept last.
    kept_at: Option<Instant>,
}

impl Alarms {
    /// Asks the store whose moment is near.
    async fn look(&mut self) -> Result<(), StoreError> {
        loop {
            let (now, share) = (clock::now(), *self.share.borrow());
            let page = self.store.due(now + AHEAD, self.looked_to, PAGE).await?;
            for wake in &page.wakes {
                if share.has(wake.session) || overdue(wake.at, now) {
                    self.set_for(wake).await;
                }
                self.looked_to = Some(*wake);
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn set_for(&mut self, Wake { at, session }: &Wake) {
        while self.set.len() >= MOST {
            self.rung().await;
        }
        if self.refused.get(session).is_some_and(|(_, until)| Instant::now() < *until) || !self.set.insert(*session) {
            return;
        }
        let (at, session, ledger, moment) =
            (*at, *session, self.ledger.clone(), Instant::now() + wait(*at, clock::now()));
        self.ringing.spawn(async move {
            sleep_until(moment).await;
            // The clock may go otherwise than the timer does; what is woken too early is not woken.
            while clock::now() < at {
                sleep(Duration::from_millis(1)).await;
            }
            let urgent = clock::now().since(at) < LATE;
            (session, ledger.wake(session, urgent).await.is_some())
        });
    }

    /// Returns when one has been woken.
    async fn rung(&mut self) {
        match self.ringing.join_next().await {
            Some(Ok((session, kept))) => {
                self.set.remove(&session);
                let (now, before) = (Instant::now(), self.refused.remove(&session));
                if kept {
                    self.kept_at = Some(now);
                } else {
                    let before = before.filter(|_| self.kept_at.is_some_and(|at| now < at + LATELY));
                    let pause = before.map_or(PAUSES.0, |(pause, _)| (pause * 2).min(PAUSES.1));
                    self.refused.insert(session, (pause, now + pause));
                }
            }
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

fn overdue(wake_at: Timestamp, now: Timestamp) -> bool {
    now.since(wake_at) >= GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_wait_together_and_none_is_early() {
        let at = |micros: i64| Timestamp::from_micros(micros);
        let micros = Duration::from_micros;
        assert_eq!(wait(at(20_000), at(0)), micros(20_000));
        assert_eq!((wait(at(10_001), at(0)), wait(at(20_000), at(9))), (micros(20_000), micros(19_991)));
        assert_eq!((wait(at(5), at(5)), wait(at(4), at(5))), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn another_node_s_session_is_left_alone_for_a_while() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        assert!(!overdue(at(1000), at(1799)) && overdue(at(1000), at(1800)) && !overdue(at(1000), at(0)));
    }
}
