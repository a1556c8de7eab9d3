//! Approvals that count again, as this node knows them: read from the store again and again, asked at each login.
//!
//! A login never waits for the store here. Whoever has not heard from it for some seconds trusts nobody: what was taken back
//! must not count. What counts is `policy`'s.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::clock;
use crate::model::{NasName, Timestamp, UserName};
use crate::policy::{Caller, Grant, Terms, TrustBook, TrustPlace, with_trust};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// How late an approval of another process counts here.
const PERIOD: Duration = Duration::from_secs(1);
/// What is read again each time: others' clocks may go wrong by this, and their transactions take this long.
const SLACK: Duration = Duration::from_secs(60);
/// Without a look at the store for so long, nobody is trusted.
const FRESH: Duration = Duration::from_secs(5);
/// How often what is over is forgotten.
const FORGETTING: Duration = Duration::from_secs(3600);
/// No approval is older than this; voids must outlive what they are about. More hours than this cannot be configured.
const OLDEST: Duration = Duration::from_secs(366 * 86_400);

/// What a node knows of trust.
#[derive(Debug)]
pub(super) struct Trusts {
    store: Arc<dyn Store>,
    book: RwLock<TrustBook>,
    /// Up to when the book is as the store was.
    read_at: Mutex<Option<Timestamp>>,
    fresh_until: RwLock<Option<Timestamp>>,
    heard: Notify,
}

impl Trusts {
    /// Knows none yet; see [`Trusts::run`].
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            book: RwLock::default(),
            read_at: Mutex::default(),
            fresh_until: RwLock::default(),
            heard: Notify::new(),
        }
    }

    /// The grant of a login, without hold where an approval counts again.
    pub(super) fn consider(
        &self,
        grant: Grant,
        user: &UserName,
        nas: &NasName,
        caller: Option<&Caller>,
        now: Timestamp,
    ) -> Grant {
        let trust_for = match &grant.terms {
            Terms::Hold(terms) if terms.may_be_trusted() => terms.guards.trust_for,
            _ => return grant,
        };
        let Some(place) = caller.and_then(|caller| TrustPlace::of(caller, nas)) else { return grant };
        let fresh_until = *self.fresh_until.read().unwrap_or_else(PoisonError::into_inner);
        if fresh_until.is_none_or(|until| now >= until) {
            telemetry::count("access.trust-unknown");
            return grant;
        }
        let trusted = self.book.read().unwrap_or_else(PoisonError::into_inner).find(user, &place, trust_for, now);
        if trusted.is_some() {
            telemetry::count("access.trusted");
        }
        with_trust(grant, trusted)
    }

    /// Somebody has taken approvals back: they are read at once.
    pub(super) fn hear(&self) {
        self.heard.notify_one();
    }

    /// Reads what has changed in the store.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let mut read_at = self.read_at.lock().await;
        let now = clock::now();
        let since = read_at.map_or(now.before(OLDEST), |read_at| read_at.before(SLACK));
        let (trusts, voids) = self.store.trust_changes(since).await?;
        self.book.write().unwrap_or_else(PoisonError::into_inner).heard(trusts, voids);
        *read_at = Some(now);
        *self.fresh_until.write().unwrap_or_else(PoisonError::into_inner) = Some(now + FRESH);
        Ok(())
    }

    /// Goes on refreshing, for ever. Drop the future to stop.
    pub(super) async fn run(self: Arc<Self>) {
        let mut complaint = String::new();
        let mut forgot_at = None;
        loop {
            match self.turn(&mut forgot_at).await {
                Ok(()) => complaint.clear(),
                Err(error) => {
                    telemetry::count("store.failed");
                    let error = error.to_string();
                    if error != complaint {
                        tracing::warn!(error, "cannot see whether trust was taken back; everybody is asked");
                        complaint = error;
                    }
                }
            }
            // News or none, it is time to look.
            let _ = tokio::time::timeout(PERIOD, self.heard.notified()).await;
        }
    }

    async fn turn(&self, forgot_at: &mut Option<Timestamp>) -> Result<(), StoreError> {
        self.refresh().await?;
        let now = clock::now();
        if forgot_at.is_none_or(|at: Timestamp| now.since(at) >= FORGETTING) {
            *forgot_at = Some(now);
            self.book.write().unwrap_or_else(PoisonError::into_inner).forget(now, OLDEST);
            self.store.forget_trust(now.before(OLDEST)).await?;
        }
        Ok(())
    }
}
