//! Bans as this node knows them: read from the store again and again, asked at each login, and set when strikes come to one.
//!
//! A login never waits for the store here. What strikes come to is `policy`'s; that two nodes do not both set a ban is the
//! store's.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::clock;
use super::current::{Current, Reader};
use super::look_back::LookBack;
use super::settings::{Settings, SettingsHandle};
use crate::model::{SessionId, Timestamp, UserName};
use crate::policy::{self, BY_ITSELF, Ban, BanList, BanTarget, Caller, Standing, Strike};
use crate::store::{AuditEntry, Store, StoreError};
use crate::telemetry;

/// How late a ban of another process counts here when no news of it came.
const PERIOD: Duration = Duration::from_secs(1);
/// What is read again each time: others' clocks may go wrong by this, and their transactions take this long.
const SLACK: Duration = Duration::from_secs(60);
/// How often what is old is forgotten.
const PRUNING: Duration = Duration::from_secs(3600);
/// Bans that are over, and strikes, are kept this long for whoever asks what happened.
const HISTORY: Duration = Duration::from_secs(30 * 86_400);

/// The bans a node goes by.
#[derive(Debug)]
pub(super) struct Bans {
    store: Arc<dyn Store>,
    settings: SettingsHandle,
    list: Current<BanList>,
    known: Mutex<Known>,
    heard: Notify,
    /// They have been read.
    read: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    bans: BTreeMap<BanTarget, Ban>,
    bans_read_at: Option<Timestamp>,
    strikes: BTreeMap<SessionId, Strike>,
    strikes_read: LookBack,
    /// By which settings all strikes were judged last.
    judged_by: Option<Arc<Settings>>,
}

impl Bans {
    /// Knows none yet; see [`Bans::refresh`].
    pub(super) fn new(store: Arc<dyn Store>, settings: SettingsHandle) -> Self {
        Self {
            store,
            settings,
            list: Current::new(BanList::default()),
            known: Mutex::default(),
            heard: Notify::new(),
            read: AtomicBool::new(false),
        }
    }

    /// Those known, for somebody who asks at each packet. Only to be relied on when they [`Bans::are_known`].
    pub(super) fn reader(&self) -> Reader<BanList> {
        self.list.reader()
    }

    /// Puts these in force.
    #[cfg(test)]
    pub(super) fn set_for_test(&self, bans: Vec<Ban>) {
        self.list.update(|_| BanList::new(bans));
    }

    /// Whether they have ever been read. Until then nobody is to be let in: who is banned cannot be said.
    pub(super) fn are_known(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// The ban that stands against a caller, whoever they are.
    pub(super) fn against_caller(&self, caller: &Caller, standing: Standing, now: Timestamp) -> Option<Ban> {
        self.list.get().against_caller(caller, standing == Standing::Allowed, now).cloned()
    }

    /// The ban that stands against an account.
    pub(super) fn against_account(&self, user: &UserName, standing: Standing, now: Timestamp) -> Option<Ban> {
        self.list.get().against_account(user, standing == Standing::Allowed, now).cloned()
    }

    /// The latest ban of a target, in force or over.
    pub(super) async fn latest(&self, target: &BanTarget) -> Option<Ban> {
        self.known.lock().await.bans.get(target).cloned()
    }

    /// Somebody has changed bans: they are read at once.
    pub(super) fn hear(&self) {
        self.heard.notify_one();
    }

    /// Reads what has changed in the store.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        let mut known = self.known.lock().await;
        let now = clock::now();
        let since = known.bans_read_at.map_or(Timestamp::default(), |read_at| read_at.before(SLACK));
        let bans = self.store.bans(since).await?;
        known.bans_read_at = Some(now);
        let window = self.settings.current().strikes.window;
        known.bans.extend(bans.into_iter().map(|ban| (ban.target.clone(), ban)));
        known.bans.retain(|_, ban| {
            let over = ban.lifted_at.or(ban.until);
            over.is_none_or(|over| now.since(over) < window.max(HISTORY))
        });
        let list = BanList::new(known.bans.values().filter(|ban| ban.in_force(now)).cloned());
        // Read each second, and seldom changed.
        if list != *self.list.get() {
            self.list.update(|_| list);
        }
        self.read.store(true, Ordering::Release);
        Ok(())
    }

    /// Goes on refreshing and judging, for ever. Drop the future to stop.
    pub(super) async fn run(self: Arc<Self>) {
        let mut complaint = String::new();
        let mut pruned_at = None;
        loop {
            match self.turn(&mut pruned_at).await {
                Ok(()) => complaint.clear(),
                Err(error) => {
                    telemetry::count("store.failed");
                    let error = error.to_string();
                    if error != complaint {
                        tracing::warn!(error, "cannot see bans and strikes; the bans known stay in force");
                        complaint = error;
                    }
                }
            }
            // News or none, it is time to look.
            let _ = tokio::time::timeout(PERIOD, self.heard.notified()).await;
        }
    }

    async fn turn(&self, pruned_at: &mut Option<Timestamp>) -> Result<(), StoreError> {
        self.refresh().await?;
        if self.judge().await? {
            self.refresh().await?;
        }
        let now = clock::now();
        if pruned_at.is_none_or(|at| now.since(at) >= PRUNING) {
            *pruned_at = Some(now);
            self.prune(now).await?;
        }
        Ok(())
    }

    /// Sets the bans that strikes have come to; says whether there were any.
    async fn judge(&self) -> Result<bool, StoreError> {
        let settings = self.settings.current();
        let mut known = self.known.lock().await;
        let now = clock::now();
        let oldest = now.before(settings.strikes.window);
        let since = known.strikes_read.since(SLACK, now).map_or(oldest, |since| since.max(oldest));
        let strikes = self.store.strikes(since).await?;
        // Only whom a new strike counts against can have come to a ban, but for what changes with settings, with the time, or was left
        // undone.
        let judged_by = known.judged_by.take();
        let judges_so = |by: &Arc<Settings>| Arc::ptr_eq(by, &settings) || judge_alike(by, &settings);
        let before = known.strikes_read.at().unwrap_or(now);
        let ended = |ban: &Ban| ban.until.is_some_and(|until| until > before && until <= now);
        let all = known.strikes_read.is_far(now)
            || !judged_by.as_ref().is_some_and(judges_so)
            || known.bans.values().any(ended);
        known.strikes_read.done(now);
        let mut struck = BTreeSet::new();
        for strike in strikes {
            if let Entry::Vacant(place) = known.strikes.entry(strike.session) {
                struck.extend(targets(&strike));
                place.insert(strike);
            }
        }
        if all {
            known.strikes.retain(|_, strike| strike.at >= oldest);
        } else if struck.is_empty() {
            known.judged_by = judged_by;
            return Ok(false);
        }
        let allowed = |strike: &Strike| {
            let of_nas = settings.nases.named(strike.nas.as_str()).map(|nas| nas.callers.clone()).unwrap_or_default();
            policy::standing(&of_nas, &settings.callers, strike.caller.as_ref()) == Standing::Allowed
        };
        let judged =
            known.strikes.values().filter(|strike| all || targets(strike).any(|target| struck.contains(&target)));
        let bans: Vec<Ban> = known.bans.values().cloned().collect();
        let due = policy::due(judged, &bans, &settings.strikes, allowed, now);
        drop(known);
        for ban in &due {
            let act = AuditEntry {
                at: now,
                who: BY_ITSELF.to_owned(),
                through: "server".to_owned(),
                origin: settings.node.to_string(),
                act: "ban.add".to_owned(),
                subject: ban.target.to_string(),
                detail: format!("{}, until {}", ban.reason, ban.until.map_or_else(String::new, |at| at.to_string())),
            };
            if self.store.set_ban(ban, &act).await? {
                telemetry::count("ban.set");
                tracing::warn!(whom = %ban.target, until = ban.until.map(tracing::field::display), reason = ban.reason, "banned");
            }
        }
        self.known.lock().await.judged_by = Some(settings);
        Ok(!due.is_empty())
    }

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let settings = self.settings.current();
        self.store.forget_bans(now.before(HISTORY.max(settings.strikes.window))).await?;
        // What is forgiven must be heard of before it goes.
        let quiet = now.before(settings.lockout.forget.max(SLACK));
        while self.store.forget_failures(quiet).await? {}
        if !settings.audit_keep.is_zero() {
            let pruned = self.store.prune_audit(now.before(settings.audit_keep)).await?;
            if pruned > 0 {
                tracing::info!(pruned, "old acts were removed from the audit record (audit.keep)");
            }
        }
        Ok(())
    }
}

/// Whether both say the same of strikes. Settings are replaced for other reasons every second while a spool empties.
fn judge_alike(one: &Settings, other: &Settings) -> bool {
    let callers = |settings: &Settings| {
        settings.nases.iter().map(|nas| (nas.name.clone(), nas.callers.clone())).collect::<Vec<_>>()
    };
    (one.strikes, &one.callers) == (other.strikes, &other.callers) && callers(one) == callers(other)
}

/// Whom a strike counts against.
fn targets(strike: &Strike) -> impl Iterator<Item = BanTarget> {
    let caller = strike.caller.as_ref().map(BanTarget::of_caller);
    caller.into_iter().chain([BanTarget::Account(strike.user.clone())])
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, Flags, Surroundings};
    use crate::model::{Identity, Secret};
    use crate::session::{ClassKey, Outcome, Record, Session};
    use crate::store::{self, Change, Extent};

    const LIMIT: u32 = 3;

    async fn scene() -> (Arc<dyn Store>, Bans) {
        let store = store::open("sqlite::memory:").await.unwrap();
        store.migrate().await.unwrap();
        let surroundings = Surroundings { state_dir: PathBuf::from("/nowhere"), ..Surroundings::default() };
        let config: Config = Config::load_in(&Flags::default(), &surroundings).unwrap().config;
        let mut settings = Settings::of(&config, Vec::new(), &ClassKey::new(&Secret::new("a cluster key"))).unwrap();
        settings.strikes.limit = LIMIT;
        let bans = Bans::new(Arc::clone(&store), SettingsHandle::new(settings));
        bans.refresh().await.unwrap();
        (store, bans)
    }

    /// Somebody says "not me" of a login.
    async fn strike(store: &Arc<dyn Store>, number: u128, user: &str) {
        let (id, at) = (SessionId(uuid::Uuid::from_u128(number)), clock::now());
        let here = IpAddr::from([192, 0, 2, 1]);
        let session = Session::observe(id, user.into(), "edge".into(), here, Identity::default(), at);
        let change = Change {
            session: Session::restore(Record { outcome: Some(Outcome::Denied), ..Record::clone(&session) }),
            from_version: None,
            extent: Extent::Whole,
            wake_at: None,
            orders: Vec::new(),
            usage: Vec::new(),
            settles: None,
            at,
        };
        store.commit(&[change]).await.unwrap();
    }

    async fn banned(store: &Arc<dyn Store>) -> Vec<String> {
        let bans = store.bans(Timestamp::default()).await.unwrap();
        bans.into_iter().map(|ban| ban.target.to_string()).collect()
    }

    #[tokio::test]
    async fn the_strike_that_comes_to_a_ban_is_judged_with_those_before_it() {
        let (store, bans) = scene().await;
        for number in 1..u128::from(LIMIT) {
            strike(&store, number, "alice").await;
            strike(&store, 100 + number, "bob").await;
            assert!(!bans.judge().await.unwrap());
        }
        strike(&store, 50, "alice").await;
        assert!(bans.judge().await.unwrap());
        assert_eq!(banned(&store).await, [BanTarget::Account("alice".into()).to_string()]);
        bans.refresh().await.unwrap();
        assert!(!bans.judge().await.unwrap(), "once");
    }

    #[tokio::test]
    async fn all_are_judged_anew_when_that_may_come_to_something_else() {
        let (store, bans) = scene().await;
        strike(&store, 1, "alice").await;
        strike(&store, 2, "alice").await;
        assert!(!bans.judge().await.unwrap());
        // No strike is new, and settings are others that say the same of strikes.
        bans.settings.listen_anew(clock::now());
        assert!(!bans.judge().await.unwrap());
        bans.settings.update(|current| {
            let mut stricter = current.clone();
            stricter.strikes.limit = 2;
            stricter
        });
        assert!(bans.judge().await.unwrap());
        assert_eq!(banned(&store).await.len(), 1);
    }

    #[tokio::test]
    async fn what_was_left_undone_is_judged_again() {
        let (store, bans) = scene().await;
        assert!(!bans.judge().await.unwrap());
        for number in 0..u128::from(LIMIT) {
            strike(&store, number, "alice").await;
        }
        // As a judge leaves it that is stopped before it has set the ban: it knows the strikes, and none of them is new any more.
        let mut known = bans.known.lock().await;
        let strikes = store.strikes(Timestamp::default()).await.unwrap();
        known.strikes.extend(strikes.into_iter().map(|strike| (strike.session, strike)));
        known.strikes_read.done(clock::now());
        known.judged_by = None;
        drop(known);
        assert!(bans.judge().await.unwrap());
        assert_eq!(banned(&store).await.len(), 1);
    }
}
