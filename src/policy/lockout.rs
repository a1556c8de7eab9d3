//! Lockout: the delay that grows with wrong passwords, and who is spared it.
//!
//! Counts failures under three keys: an account at a caller, a caller, and an account wherever it is tried. A place where the
//! account's owner is known to be is spared all of them: strangers must not be able to lock the owner out. Never sees a password,
//! and keeps nothing: what other nodes counted is merged in from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::model::Timestamp;

/// The longest delay of an account as such, at a caller it is not known from: anybody can bring it about, and its owner pays.
const ACCOUNT_DELAY_MOST: Duration = Duration::from_secs(30);

/// What failures are counted under. One of the two may be empty, which is "any".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureKey {
    /// User-Name, as given, whether there is such a user or not.
    pub account: String,
    /// The caller's [`super::Caller::key`].
    pub caller: String,
}

impl FailureKey {
    /// So many times as many failures are free where many people may be behind one key.
    const fn patience(&self) -> u32 {
        if self.account.is_empty() || self.caller.is_empty() { 4 } else { 1 }
    }
}

/// How many failures are free, and what each further one costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutLimits {
    /// So many are free for an account at one caller, four times as many for a caller and for an account. Zero turns lockout off.
    pub free: u32,
    /// The delay after the first that is not; it doubles with each further one.
    pub delay_first: Duration,
    /// The longest delay; of an account as such, wherever it is tried, it is half a minute at most.
    pub delay_most: Duration,
    /// Without a failure for so long, all are forgotten.
    pub forget: Duration,
    /// A place where a login was confirmed is known for so long.
    pub known_for: Duration,
}

impl Default for LockoutLimits {
    fn default() -> Self {
        Self {
            free: 5,
            delay_first: Duration::from_secs(1),
            delay_most: Duration::from_secs(900),
            forget: Duration::from_secs(3600),
            known_for: Duration::from_secs(30 * 86_400),
        }
    }
}

impl LockoutLimits {
    /// Until when a key is locked after so many failures, the last one then.
    fn locked_until(&self, key: &FailureKey, failures: u32, last: Timestamp) -> Option<Timestamp> {
        let free = self.free.saturating_mul(key.patience());
        let over = failures.checked_sub(free).filter(|_| free > 0)?;
        let delay = self.delay_first.saturating_mul(1_u32.checked_shl(over).unwrap_or(u32::MAX)).min(self.delay_most);
        let delay = if key.caller.is_empty() { delay.min(ACCOUNT_DELAY_MOST) } else { delay };
        Some(last + delay)
    }
}

/// Failures under one key, as all nodes together counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCount {
    /// Where.
    pub key: FailureKey,
    /// How many; of a count that travels to the store, how many more.
    pub failures: u32,
    /// When the last one was.
    pub last: Timestamp,
}

/// Why a password is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptOut {
    /// Too many were wrong: the login is to be refused, whatever its password.
    LockedOut,
    /// As many are being looked at as may be wrong. When one of these is settled, it may come in, or be locked out.
    Full,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// What the store said.
    shared: u32,
    /// What it has not been told.
    untold: u32,
    last: Timestamp,
}

/// What one node knows of failures, and of places people are known at. Bounded: when full, the longest quiet are forgotten.
#[derive(Debug)]
pub struct Lockout {
    most: usize,
    failures: BTreeMap<FailureKey, Entry>,
    /// Passwords being looked at. Each login is put in and taken out, and nobody asks in which order they are.
    in_flight: HashMap<FailureKey, u32>,
    /// Forgiven here, and not yet in the store.
    forgiven: BTreeSet<FailureKey>,
    known: BTreeMap<FailureKey, Timestamp>,
}

impl Lockout {
    /// Nothing known; at most so many keys of each kind will be.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(4),
            failures: BTreeMap::new(),
            in_flight: HashMap::new(),
            forgiven: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    fn judge(&self, account: &str, caller: &str, limits: &LockoutLimits, now: Timestamp) -> Result<(), KeptOut> {
        if self.knows(account, caller, limits, now) {
            return Ok(());
        }
        let mut admission = Ok(());
        for key in keys(account, caller) {
            let failed = self.failures.get(&key).filter(|entry| now.since(entry.last) < limits.forget).copied();
            // Many people may be behind one caller, and all come at once after an outage: while none of them has failed, what
            // is being looked at says nothing.
            let counts = failed.is_some() || !key.account.is_empty();
            let in_flight = self.in_flight.get(&key).copied().filter(|_| counts).unwrap_or(0);
            let Entry { shared, untold, last } = failed.unwrap_or_default();
            let failures = shared.saturating_add(untold);
            let locks = |failures, last| limits.locked_until(&key, failures, last).is_some_and(|until| now < until);
            if locks(failures, last) {
                return Err(KeptOut::LockedOut);
            }
            if in_flight > 0 && locks(failures.saturating_add(in_flight), last.max(now)) {
                admission = Err(KeptOut::Full);
            }
        }
        admission
    }

    /// Whether the free failures are used up, so that a password that was looked at must be answered as slowly as one that was not:
    /// the clock would tell which of a thousand guesses were worth something.
    pub fn slows(&self, account: &str, caller: &str, limits: &LockoutLimits, now: Timestamp) -> bool {
        !self.knows(account, caller, limits, now)
            && keys(account, caller).iter().any(|key| {
                let failed = self.failures.get(key).filter(|entry| now.since(entry.last) < limits.forget);
                let free = limits.free.saturating_mul(key.patience());
                free > 0 && failed.is_some_and(|entry| entry.shared.saturating_add(entry.untold) >= free)
            })
    }

    /// Lets a login be looked at, until it is [`Lockout::settled`]. Until then it counts as a failure, so that neither the free ones nor a
    /// delay that is over let a volley of passwords through.
    pub fn admit(
        &mut self,
        account: &str,
        caller: &str,
        limits: &LockoutLimits,
        now: Timestamp,
    ) -> Result<(), KeptOut> {
        self.judge(account, caller, limits, now)?;
        for key in keys(account, caller) {
            *self.in_flight.entry(key).or_default() += 1;
        }
        Ok(())
    }

    /// A login that was admitted has been looked at, and [`Lockout::failed`] or [`Lockout::succeeded`] or neither been told.
    pub fn settled(&mut self, account: &str, caller: &str) {
        for key in keys(account, caller) {
            if let Some(in_flight) = self.in_flight.get_mut(&key) {
                *in_flight = in_flight.saturating_sub(1);
                if *in_flight == 0 {
                    self.in_flight.remove(&key);
                }
            }
        }
    }

    /// Whether a login of the account was confirmed from there not long ago.
    pub fn knows(&self, account: &str, caller: &str, limits: &LockoutLimits, now: Timestamp) -> bool {
        let key = FailureKey { account: account.to_owned(), caller: caller.to_owned() };
        self.known.get(&key).is_some_and(|at| now.since(*at) < limits.known_for)
    }

    /// A wrong password was given. Not to be called for a login that was refused unchecked.
    pub fn failed(&mut self, account: &str, caller: &str, limits: &LockoutLimits, now: Timestamp) {
        if limits.free == 0 {
            return;
        }
        for key in keys(account, caller) {
            let entry = self.failures.entry(key).or_default();
            if now.since(entry.last) >= limits.forget {
                (entry.shared, entry.untold) = (0, 0);
            }
            entry.untold = entry.untold.saturating_add(1);
            entry.last = entry.last.max(now);
        }
        self.stay_bounded();
    }

    /// The right password was given: the account's failures at this caller are forgiven. Those of the caller are not, or whoever
    /// has one password could try others for ever.
    pub fn succeeded(&mut self, account: &str, caller: &str) {
        let key = FailureKey { account: account.to_owned(), caller: caller.to_owned() };
        if self.failures.remove(&key).is_some() {
            self.forgiven.insert(key);
        }
    }

    /// Where anybody has failed, or is being looked at.
    pub fn failed_keys(&self) -> impl Iterator<Item = &FailureKey> {
        self.failures.keys().chain(self.in_flight.keys())
    }

    /// What the store has not been told: failures, and keys that are forgiven. They count as told from now on.
    pub fn take_untold(&mut self) -> (Vec<FailureCount>, Vec<FailureKey>) {
        let mut counts = Vec::new();
        for (key, entry) in &mut self.failures {
            if entry.untold > 0 {
                counts.push(FailureCount { key: key.clone(), failures: entry.untold, last: entry.last });
                entry.shared = entry.shared.saturating_add(entry.untold);
                entry.untold = 0;
            }
        }
        (counts, std::mem::take(&mut self.forgiven).into_iter().collect())
    }

    /// Takes back what the store did not take.
    pub fn give_back(&mut self, counts: Vec<FailureCount>, forgiven: Vec<FailureKey>) {
        for count in counts {
            if let Some(entry) = self.failures.get_mut(&count.key) {
                entry.shared = entry.shared.saturating_sub(count.failures);
                entry.untold = entry.untold.saturating_add(count.failures);
            }
        }
        self.forgiven.extend(forgiven);
    }

    /// Takes over what the store says: for each key, what all nodes have told it.
    pub fn heard(&mut self, counts: impl IntoIterator<Item = FailureCount>) {
        for FailureCount { key, failures, last } in counts {
            if self.forgiven.contains(&key) {
                continue;
            }
            let entry = self.failures.entry(key).or_default();
            entry.shared = failures;
            entry.last = entry.last.max(last);
        }
        // Forgiven elsewhere.
        self.failures.retain(|_, entry| entry.shared + entry.untold > 0);
        self.stay_bounded();
    }

    /// Takes over where logins were confirmed, and when.
    pub fn confirmed(&mut self, places: impl IntoIterator<Item = (FailureKey, Timestamp)>) {
        for (key, at) in places {
            let known = self.known.entry(key).or_default();
            *known = (*known).max(at);
        }
        shrink(&mut self.known, self.most, |at| *at);
    }

    fn stay_bounded(&mut self) {
        shrink(&mut self.failures, self.most, |entry| entry.last);
        while self.forgiven.len() > self.most {
            self.forgiven.pop_first();
        }
    }
}

/// Drops the oldest quarter of what is too much, so that it is not done at each step.
fn shrink<V>(map: &mut BTreeMap<FailureKey, V>, most: usize, age: impl Fn(&V) -> Timestamp) {
    if map.len() <= most {
        return;
    }
    let mut ages: Vec<Timestamp> = map.values().map(&age).collect();
    ages.sort_unstable();
    let oldest = ages[map.len() - most * 3 / 4 - 1];
    map.retain(|_, value| age(value) > oldest);
}

fn keys(account: &str, caller: &str) -> Vec<FailureKey> {
    let key = |account: &str, caller: &str| FailureKey { account: account.to_owned(), caller: caller.to_owned() };
    match caller.is_empty() {
        // Without a caller the owner cannot be told from strangers, and must not pay for them.
        true => Vec::new(),
        false => vec![key(account, caller), key("", caller), key(account, "")],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::KeptOut::{Full, LockedOut};
    use super::*;

    const LIMITS: LockoutLimits = LockoutLimits {
        free: 3,
        delay_first: Duration::from_secs(1),
        delay_most: Duration::from_secs(60),
        forget: Duration::from_secs(3600),
        known_for: Duration::from_secs(86_400),
    };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(100_000 + secs)
    }

    impl Lockout {
        fn locks(&self, account: &str, caller: &str, limits: &LockoutLimits, now: Timestamp) -> bool {
            self.judge(account, caller, limits, now) == Err(LockedOut)
        }
    }

    fn pair(account: &str, caller: &str) -> FailureKey {
        FailureKey { account: account.into(), caller: caller.into() }
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let key = pair("a", "x");
        let delay = |failures| LIMITS.locked_until(&key, failures, at(0)).map(|until| until.since(at(0)).as_secs());
        assert_eq!(
            [2, 3, 4, 5, 6, 8, 9, 40, 4_000_000].map(delay),
            [None, Some(1), Some(2), Some(4), Some(8), Some(32), Some(60), Some(60), Some(60)]
        );
        assert_eq!(LIMITS.locked_until(&pair("", "x"), 11, at(0)), None);
        assert!(LIMITS.locked_until(&pair("", "x"), 12, at(0)).is_some());
    }

    #[test]
    fn a_stranger_locks_himself_out_and_not_the_owner() {
        let mut lockout = Lockout::new(100);
        lockout.confirmed([(pair("alice", "home"), at(-500))]);
        for _ in 0..1000 {
            lockout.failed("alice", "evil", &LIMITS, at(0));
        }
        assert!(lockout.locks("alice", "evil", &LIMITS, at(59)));
        assert!(lockout.locks("bob", "evil", &LIMITS, at(59)), "the caller as such");
        assert!(lockout.locks("alice", "elsewhere", &LIMITS, at(29)), "the account as such");
        assert!(!lockout.locks("alice", "home", &LIMITS, at(59)), "where she is known");
        assert!(!lockout.locks("bob", "elsewhere", &LIMITS, at(59)));
        assert!(!lockout.locks("alice", "evil", &LIMITS, at(61)));
    }

    #[test]
    fn the_owner_is_not_locked_out_even_by_somebody_at_their_own_address() {
        let mut lockout = Lockout::new(100);
        lockout.confirmed([(pair("alice", "office"), at(-500))]);
        for _ in 0..1000 {
            lockout.failed("alice", "office", &LIMITS, at(0));
        }
        assert!(!lockout.locks("alice", "office", &LIMITS, at(1)));
        assert!(lockout.locks("bob", "office", &LIMITS, at(1)), "bob was never here");
    }

    #[test]
    fn a_delay_that_is_over_lets_one_password_through() {
        let mut lockout = Lockout::new(100);
        for _ in 0..5 {
            lockout.failed("alice", "x", &LIMITS, at(0));
        }
        assert_eq!(lockout.admit("alice", "x", &LIMITS, at(3)), Err(LockedOut));
        assert_eq!(lockout.admit("alice", "x", &LIMITS, at(4)), Ok(()));
        assert_eq!(lockout.admit("alice", "x", &LIMITS, at(4)), Err(Full), "one is being looked at");
        lockout.succeeded("alice", "x");
        lockout.settled("alice", "x");
        assert_eq!(lockout.admit("alice", "x", &LIMITS, at(4)), Ok(()));
        assert_eq!(lockout.admit("alice", "x", &LIMITS, at(4)), Ok(()), "all is forgiven, and the first ones are free");
    }

    #[test]
    fn of_a_volley_the_rest_goes_the_way_of_the_first() {
        let mut lockout = Lockout::new(100);
        let volley = |lockout: &mut Lockout, from: usize| {
            let answers = (from..100).map(|n| lockout.admit("alice", &format!("x{n}"), &LIMITS, at(0)));
            answers.collect::<Vec<_>>()
        };
        let is = |answer| move |answers: &[Result<(), KeptOut>]| answers.iter().all(|one| *one == answer);
        let first = volley(&mut lockout, 0);
        assert!(is(Ok(()))(&first[..12]) && is(Err(Full))(&first[12..]), "{first:?}");
        // Right ones make room for as many; wrong ones lock out all the rest.
        for n in 0..6 {
            lockout.settled("alice", &format!("x{n}"));
        }
        let second = volley(&mut lockout, 12);
        assert!(is(Ok(()))(&second[..6]) && is(Err(Full))(&second[6..]), "{second:?}");
        for n in 6..18 {
            lockout.failed("alice", &format!("x{n}"), &LIMITS, at(0));
            lockout.settled("alice", &format!("x{n}"));
        }
        assert!(is(Err(LockedOut))(&volley(&mut lockout, 18)));
    }

    #[test]
    fn a_volley_counts_before_it_is_checked() {
        let mut lockout = Lockout::new(100);
        let mut admits = |account: &str, caller: &str| lockout.admit(account, caller, &LIMITS, at(0)) == Ok(());
        let admitted = (0..100).filter(|_| admits("alice", "x")).count();
        assert_eq!(admitted, 3, "as many as are free");
        let admitted = (0..100).filter(|n| admits("alice", &format!("y{n}"))).count();
        assert_eq!(admitted, 9, "with those before, as many as are free to the account");
        let users = |lockout: &mut Lockout, caller: &str| {
            (0..100).filter(|n| lockout.admit(&format!("u{n}"), caller, &LIMITS, at(0)) == Ok(())).count()
        };
        assert_eq!(users(&mut lockout, "office"), 100, "people behind one address who all come back at once");
        lockout.failed("u1", "evil", &LIMITS, at(0));
        assert_eq!(users(&mut lockout, "evil"), 11);
        for _ in 0..3 {
            lockout.settled("alice", "x");
        }
        assert!(!lockout.in_flight.contains_key(&pair("alice", "x")));
    }

    #[test]
    fn strangers_delay_an_account_as_such_for_half_a_minute_at_most() {
        let limits = LockoutLimits { delay_most: Duration::from_secs(900), ..LIMITS };
        let mut lockout = Lockout::new(1000);
        for n in 0..100 {
            lockout.failed("alice", &format!("evil{n}"), &limits, at(0));
        }
        assert!(lockout.locks("alice", "hotel", &limits, at(29)));
        assert!(!lockout.locks("alice", "hotel", &limits, at(30)));
    }

    #[test]
    fn a_right_password_forgives_its_account_there_and_nothing_else() {
        let mut lockout = Lockout::new(100);
        for _ in 0..12 {
            lockout.failed("alice", "x", &LIMITS, at(0));
        }
        lockout.succeeded("alice", "x");
        assert!(lockout.locks("bob", "x", &LIMITS, at(0)));
        let (_, forgiven) = lockout.take_untold();
        assert_eq!(forgiven, [pair("alice", "x")]);
    }

    #[test]
    fn two_nodes_come_to_the_same_count() {
        let (mut one, mut two) = (Lockout::new(100), Lockout::new(100));
        let mut store: BTreeMap<FailureKey, FailureCount> = BTreeMap::new();
        let mut exchange = |node: &mut Lockout| {
            for told in node.take_untold().0 {
                let kept = store.entry(told.key.clone()).or_insert(FailureCount { failures: 0, ..told.clone() });
                kept.failures += told.failures;
                kept.last = kept.last.max(told.last);
            }
            node.heard(store.values().cloned());
        };
        one.failed("alice", "x", &LIMITS, at(0));
        two.failed("alice", "x", &LIMITS, at(0));
        exchange(&mut one);
        exchange(&mut two);
        two.failed("alice", "x", &LIMITS, at(0));
        exchange(&mut two);
        assert!(!one.locks("alice", "x", &LIMITS, at(0)));
        exchange(&mut one);
        assert!(one.locks("alice", "x", &LIMITS, at(0)) && two.locks("alice", "x", &LIMITS, at(0)));
    }

    #[test]
    fn what_the_store_did_not_take_is_told_again() {
        let mut lockout = Lockout::new(100);
        lockout.failed("alice", "x", &LIMITS, at(0));
        let (counts, forgiven) = lockout.take_untold();
        assert_eq!(counts.len(), 3);
        assert_eq!(lockout.take_untold().0, []);
        lockout.give_back(counts.clone(), forgiven);
        assert_eq!(lockout.take_untold().0, counts);
    }

    #[test]
    fn failures_are_forgotten_in_time_and_free_zero_turns_it_off() {
        let mut lockout = Lockout::new(100);
        for _ in 0..3 {
            lockout.failed("alice", "x", &LIMITS, at(0));
        }
        lockout.failed("alice", "x", &LIMITS, at(3600));
        assert!(!lockout.locks("alice", "x", &LIMITS, at(3600)), "this is the first again");
        let off = LockoutLimits { free: 0, ..LIMITS };
        for _ in 0..100 {
            lockout.failed("bob", "y", &off, at(0));
        }
        assert!(!lockout.locks("bob", "y", &off, at(0)));
    }

    proptest! {
        /// Whatever strangers do, a known owner is let in, and memory stays bounded.
        #[test]
        fn no_sequence_of_failures_locks_a_known_owner_out(
            tries in prop::collection::vec((0_u8..20, 0_u8..40, 0_i64..5_000), 0..200),
        ) {
            let mut lockout = Lockout::new(16);
            lockout.confirmed([(pair("u0", "c0"), at(0))]);
            for (user, caller, secs) in tries {
                let (user, caller) = (format!("u{user}"), format!("c{caller}"));
                lockout.failed(&user, &caller, &LIMITS, at(secs));
                prop_assert!(lockout.failures.len() <= 16);
                prop_assert!(!lockout.locks("u0", "c0", &LIMITS, at(secs)));
            }
        }

        /// A lock always ends, and no later than the longest delay after the last failure.
        #[test]
        fn every_lock_ends(failures in 0_u32..10_000) {
            let mut lockout = Lockout::new(16);
            lockout.heard([FailureCount { key: pair("a", "x"), failures, last: at(0) }]);
            prop_assert!(!lockout.locks("a", "x", &LIMITS, at(60)));
        }
    }
}
