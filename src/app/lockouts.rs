//! Wrong passwords, counted in memory at each login and shared with the other nodes through the store, in batches.
//!
//! A login never asks the store here; it may wait a moment for others of its account. A node that dies takes with it what it counted in the last second.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::clock;
use super::look_back::LookBack;
use super::settings::SettingsHandle;
use crate::model::Timestamp;
use crate::policy::{FailureKey, KeptOut, Lockout};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// How often what was counted is told, and what others counted is heard.
const PERIOD: Duration = Duration::from_secs(1);
/// Read again each time: others' clocks may go wrong by this.
const SLACK: Duration = Duration::from_secs(10);
/// How often it is asked where logins were confirmed.
const PLACES_PERIOD: Duration = Duration::from_secs(5);
/// An approval and its permit may be kept this late.
const PLACES_SLACK: Duration = Duration::from_secs(300);
/// Keys and places remembered, at most.
const MOST: u32 = 100_000;
/// So long a login waits for others that are being looked at,
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);
/// and so many do: each holds a place that another could have.
const WAITING: usize = 256;

/// What a node knows of wrong passwords.
#[derive(Debug)]
pub(super) struct Lockouts {
    store: Arc<dyn Store>,
    settings: SettingsHandle,
    lockout: Mutex<Lockout>,
    read_at: Mutex<ReadAt>,
    suspects: Suspects,
    /// A password has been looked at: those that wait for it may be next.
    settled: Notify,
    /// Places to wait for that,
    waiting: Semaphore,
    /// and how long.
    patience: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct ReadAt {
    failures: Option<Timestamp>,
    places: LookBack,
}

impl Lockouts {
    /// Knows nothing yet, and has a login wait so long for others; see [`Lockouts::exchange`] and [`Lockouts::run`].
    pub(super) fn new(store: Arc<dyn Store>, settings: SettingsHandle, patience: Duration) -> Self {
        let lockout = Mutex::new(Lockout::new(MOST as usize));
        Self {
            store,
            settings,
            lockout,
            read_at: Mutex::default(),
            suspects: Suspects::all(),
            settled: Notify::new(),
            waiting: Semaphore::new(WAITING),
            patience,
        }
    }

    /// Whether what the store has was ever read: until then, who is locked out cannot be said.
    pub(super) fn are_known(&self) -> bool {
        self.read_at().failures.is_some()
    }

    /// Whether nobody has failed as this account, or from this caller, for as long as failures count: then a right password is let
    /// in without a look at anything that nodes or cores share. A caller that is not known is empty.
    pub(super) fn none_failed(&self, account: &str, caller: &str) -> bool {
        self.suspects.known.load(Ordering::Acquire) && (caller.is_empty() || !self.suspects.contain(account, caller))
    }

    /// A password that is about to be looked at closely looked wrong: from now on, and for a second at least, nobody is let in there
    /// without that look. So of a volley of passwords each core looks at one before the first of them is counted.
    pub(super) fn suspect(&self, account: &str, caller: &str) {
        self.suspects.add(account, caller);
    }

    /// Lets a login be looked at, for as long as what comes back is kept. Many may come at once with the right password, after an outage: while
    /// as many are being looked at as may be wrong, it waits a while for these, in no order. Should they be wrong, it is locked out.
    pub(super) async fn admit(
        self: &Arc<Self>,
        account: &str,
        caller: &str,
        now: Timestamp,
    ) -> Result<Checking, KeptOut> {
        let admit = || self.admit_at_once(account, caller, now);
        match admit() {
            Err(KeptOut::Full) => (),
            decided => return decided,
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(KeptOut::Full) };
        let wait = async {
            loop {
                // Before it is tried: of what is settled from here on, it hears.
                let mut settled = pin!(self.settled.notified());
                settled.as_mut().enable();
                match admit() {
                    Err(KeptOut::Full) => settled.await,
                    decided => return decided,
                }
            }
        };
        timeout(self.patience, wait).await.unwrap_or(Err(KeptOut::Full))
    }

    /// The same without waiting.
    pub(super) fn admit_at_once(
        self: &Arc<Self>,
        account: &str,
        caller: &str,
        now: Timestamp,
    ) -> Result<Checking, KeptOut> {
        let limits = self.settings.current().lockout;
        self.lockout().admit(account, caller, &limits, now)?;
        Ok(Checking { lockouts: Arc::clone(self), account: account.to_owned(), caller: caller.to_owned() })
    }

    /// Whether a login of the account was confirmed from there not long ago.
    pub(super) fn knows(&self, account: &str, caller: &str, now: Timestamp) -> bool {
        let limits = self.settings.current().lockout;
        self.lockout().knows(account, caller, &limits, now)
    }

    /// Whether so many passwords were wrong that the next answer is to be as slow as that of a lock.
    pub(super) fn slows(&self, account: &str, caller: &str, now: Timestamp) -> bool {
        let limits = self.settings.current().lockout;
        self.lockout().slows(account, caller, &limits, now)
    }

    /// A wrong password was given.
    pub(super) fn failed(&self, account: &str, caller: &str, now: Timestamp) {
        let limits = self.settings.current().lockout;
        let mut lockout = self.lockout();
        lockout.failed(account, caller, &limits, now);
        self.suspects.add(account, caller);
    }

    /// The right one was.
    pub(super) fn succeeded(&self, account: &str, caller: &str) {
        self.lockout().succeeded(account, caller);
    }

    /// Goes on exchanging, for ever. Drop the future to stop.
    pub(super) async fn run(self: Arc<Self>) {
        // The first look at the places goes over a month of sessions, and nothing waits for it.
        tokio::join!(self.share(), self.look());
    }

    async fn share(&self) {
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            complain(self.exchange().await, &mut complaint, "wrong passwords are counted by this node alone for now");
        }
    }

    async fn look(&self) {
        let mut complaint = String::new();
        loop {
            complain(self.hear_places().await, &mut complaint, "cannot see where logins were confirmed lately");
            tokio::time::sleep(PLACES_PERIOD).await;
        }
    }

    /// Tells the store what was counted here, and hears what was counted anywhere.
    pub(super) async fn exchange(&self) -> Result<(), StoreError> {
        let limits = self.settings.current().lockout;
        let now = clock::now();
        let (counts, forgiven) = self.lockout().take_untold();
        if !counts.is_empty() || !forgiven.is_empty() {
            let told = self.store.add_failures(&counts, &forgiven, limits.forget, now).await;
            match told {
                // Would be refused again for ever; the next failure is told anew.
                Err(error @ StoreError::Refused(_)) => return Err(error),
                Err(error) => {
                    self.lockout().give_back(counts, forgiven);
                    return Err(error);
                }
                Ok(()) => (),
            }
        }
        let read_at = self.read_at().failures;
        let since = read_at.map_or(now.before(limits.forget), |read_at| read_at.before(SLACK));
        let failures = self.store.failures(since).await?;
        let mut lockout = self.lockout();
        lockout.heard(failures);
        self.suspects.replace(lockout.failed_keys());
        drop(lockout);
        self.read_at().failures = Some(now);
        Ok(())
    }

    /// Hears where logins were confirmed.
    async fn hear_places(&self) -> Result<(), StoreError> {
        let now = clock::now();
        let oldest = now.before(self.settings.current().lockout.known_for);
        let since = self.read_at().places.since(PLACES_SLACK, now).map_or(oldest, |since| since.max(oldest));
        let places = self.store.known_places(since, MOST).await?;
        self.lockout().confirmed(places);
        self.read_at().places.done(now);
        Ok(())
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_at(&self) -> MutexGuard<'_, ReadAt> {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which accounts and callers anybody may have failed under. Says yes a little too often and never no too often; asked without a lock.
#[derive(Debug)]
struct Suspects {
    bits: Box<[AtomicU64]>,
    hash: RandomState,
    /// Marks of the time since the last replacement, and of the time before it: what they were left for may not be counted yet.
    recent: Mutex<[Vec<(usize, u64)>; 2]>,
    known: AtomicBool,
}

impl Suspects {
    /// Words of 64 bits: with a thousand keys, one in a thousand others is suspected with them.
    const WORDS: usize = 1 << 14;

    /// Everybody, until it is known better.
    fn all() -> Self {
        let bits = (0..Self::WORDS).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self { bits, hash: RandomState::new(), recent: Mutex::default(), known: AtomicBool::new(false) }
    }

    fn contain(&self, account: &str, caller: &str) -> bool {
        self.places(account, caller).iter().any(|(word, bit)| self.bits[*word].load(Ordering::Relaxed) & bit != 0)
    }

    fn add(&self, account: &str, caller: &str) {
        let mut recent = self.recent();
        for (word, bit) in self.places(account, caller) {
            if self.bits[word].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                recent[0].push((word, bit));
            }
        }
    }

    /// These, whoever was added lately, and nobody else.
    fn replace<'k>(&self, keys: impl Iterator<Item = &'k FailureKey>) {
        let mut recent = self.recent();
        let mut words = vec![0; Self::WORDS];
        let places = keys.map(|key| self.place(self.of_account(&key.account), self.of_caller(&key.caller)));
        for (word, bit) in places.chain(recent.iter().flatten().copied()) {
            words[word] |= bit;
        }
        recent[1] = std::mem::take(&mut recent[0]);
        self.known.store(true, Ordering::Release);
        // Each word at once: who is suspected stays so meanwhile.
        self.bits.iter().zip(words).for_each(|(bits, word)| bits.store(word, Ordering::Relaxed));
    }

    fn recent(&self) -> MutexGuard<'_, [Vec<(usize, u64)>; 2]> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the account at that caller, of the caller, of the account: each is hashed once.
    fn places(&self, account: &str, caller: &str) -> [(usize, u64); 3] {
        let (account, caller) = (self.of_account(account), self.of_caller(caller));
        [self.place(account, caller), self.place(0, caller), self.place(account, 0)]
    }

    fn of_account(&self, name: &str) -> u64 {
        if name.is_empty() { 0 } else { self.hash.hash_one(name) }
    }

    fn of_caller(&self, name: &str) -> u64 {
        // Not what an account of that name has.
        if name.is_empty() { 0 } else { self.hash.hash_one(name).rotate_left(21) }
    }

    fn place(&self, account: u64, caller: u64) -> (usize, u64) {
        let hash = account ^ caller;
        ((hash >> 6) as usize % Self::WORDS, 1 << (hash & 63))
    }
}

/// A password being checked: until this is dropped, it counts as a wrong one.
#[derive(Debug)]
pub(super) struct Checking {
    lockouts: Arc<Lockouts>,
    account: String,
    caller: String,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.lockouts.lockout().settled(&self.account, &self.caller);
        self.lockouts.settled.notify_waiters();
    }
}

fn complain(done: Result<(), StoreError>, complaint: &mut String, what: &str) {
    let Err(error) = done else { return complaint.clear() };
    telemetry::count("store.failed");
    let error = error.to_string();
    if error != *complaint {
        tracing::warn!(error, "{what}");
        *complaint = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_are_everybody_then_those_who_failed_then_those_who_are_left() {
        let suspects = Suspects::all();
        assert!(suspects.contain("alice", "192.0.2.1"));
        suspects.replace([].iter());
        assert!(!suspects.contain("alice", "192.0.2.1"));
        suspects.add("alice", "192.0.2.1");
        assert!(suspects.contain("alice", "192.0.2.1"));
        assert!(suspects.contain("alice", "192.0.2.2"), "the account is tried");
        assert!(suspects.contain("bob", "192.0.2.1"), "the caller tries");
        assert!(!suspects.contain("bob", "192.0.2.2"));
        suspects.replace([].iter());
        assert!(suspects.contain("alice", "192.0.2.1"), "what is looked at may not be counted yet");
        suspects.replace([FailureKey { account: "alice".into(), caller: String::new() }].iter());
        suspects.replace([FailureKey { account: "alice".into(), caller: String::new() }].iter());
        assert!(suspects.contain("alice", "192.0.2.9") && !suspects.contain("bob", "192.0.2.1"));
    }
}
