//! Users, remembered with their groups so that a login needs no store.
//!
//! While this node hears what others change, whoever is remembered is as in the store. While it does not, they are asked for again
//! after a moment; and when the store is away, who was remembered may go on for a bounded time, counted from when they were last
//! known to be as in the store. A login never waits for a store longer than [`MOMENT`] for somebody remembered.

mod asker;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::time::timeout;

use self::asker::Asker;
use crate::model::{Member, Timestamp, UserName};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// How long a user counts as in the store while nothing is heard of changes.
const FRESH: Duration = Duration::from_secs(2);
/// How long somebody remembered waits for the store to say whether they are still so.
const MOMENT: Duration = Duration::from_millis(250);
/// How long somebody not remembered waits for the store: less than a NAS waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Users remembered, at most.
const MOST: usize = 100_000;

/// The users a server has met.
#[derive(Debug)]
pub(super) struct Users {
    asker: Arc<Asker>,
    met: DashMap<UserName, Met>,
    /// While the store is away a user is remembered for so long, and no longer.
    stale: Duration,
    hearing: AtomicBool,
    /// Until when all changes have been heard, in microseconds since 1970.
    heard_at: AtomicI64,
    /// When the store was away last; likewise.
    away_at: AtomicI64,
    /// Grows with every change heard, so that what was read before one is not remembered after it.
    changes: AtomicU64,
    /// How often it was begun to hear changes.
    begun: AtomicU64,
    /// How often the store was asked.
    asked: AtomicU64,
    /// The latest asking that found nobody, or nobody who can be read, while nothing was heard: what was asked before it is not remembered.
    found_nobody: AtomicU64,
}

/// Somebody met.
#[derive(Debug, Clone)]
struct Met {
    user: Arc<Member>,
    /// When they were asked for.
    since: Timestamp,
    /// The number of that asking. Clocks are set back.
    asking: u64,
    known: Known,
}

impl Met {
    /// Whether they were asked for so lately that this counts although nothing is heard.
    fn is_fresh(&self, now: Timestamp) -> bool {
        is_within(self.since, FRESH, now)
    }
}

/// Whether so long has not passed since then. Nobody knows how long it is where that was in time to come, since the clock was set back; but
/// a request that has waited for others is of a time a little before.
fn is_within(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    since.since(now) < PATIENCE && now.since(since) < time
}

/// How a user's remembrance stands to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// They are as in the store for as long as changes are heard.
    Current,
    /// They were so until nothing was heard any more.
    UntilDeaf,
    /// They may have changed since.
    Old,
}

/// What was known of changes when the store was asked.
#[derive(Debug, Clone, Copy)]
struct Asking {
    at: Timestamp,
    number: u64,
    hearing: bool,
    changes: u64,
    begun: u64,
}

impl Users {
    pub(super) fn new(store: Arc<dyn Store>, stale: Duration) -> Self {
        Self {
            asker: Asker::new(store),
            met: DashMap::new(),
            stale,
            hearing: AtomicBool::new(false),
            heard_at: AtomicI64::new(i64::MIN),
            away_at: AtomicI64::new(i64::MIN),
            changes: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            found_nobody: AtomicU64::new(0),
        }
    }

    /// The user of that name. Somebody unknown is asked for each time: they may have just been added.
    pub(super) async fn get(&self, name: &UserName, now: Timestamp) -> Result<Option<Arc<Member>>, StoreError> {
        let met = self.met.get(name).map(|entry| entry.clone());
        if let Some(met) = &met
            && (met.known == Known::Current && self.hearing.load(Ordering::Acquire) || met.is_fresh(now))
        {
            return Ok(Some(Arc::clone(&met.user)));
        }
        let asking = self.asking(now);
        let patience = if met.is_some() { MOMENT } else { PATIENCE };
        let asked = timeout(patience, self.asker.member(name)).await;
        let found = asked.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {patience:?}"))));
        self.note_absence(&found, now);
        match found {
            Ok(user) => {
                let user = user.map(Arc::new);
                self.found(asking, || self.take_in(name, user.as_ref(), asking));
                Ok(user)
            }
            Err(error) => {
                if let StoreError::BadRow { .. } = error {
                    self.found_nobody.fetch_max(asking.number, Ordering::AcqRel);
                    if self.met.contains_key(name) {
                        // Nor later, when the store does not say so again.
                        self.forget(name);
                    }
                }
                // Not who was met before: a change may have been heard since.
                match self.met.get(name).filter(|met| self.goes_on(met, &error, now)) {
                    Some(met) => {
                        telemetry::count("user.stale");
                        Ok(Some(Arc::clone(&met.user)))
                    }
                    None => Err(error),
                }
            }
        }
    }

    /// Whether somebody remembered goes on as they were, although the store does not say that they are still so. Not when it is there and has of
    /// them what this node cannot read: more may be asked of them by now.
    fn goes_on(&self, met: &Met, error: &StoreError, now: Timestamp) -> bool {
        matches!(error, StoreError::Away(_)) && is_within(self.known_until(met), self.stale, now)
    }

    /// Whether somebody of that name is not remembered at all, but would be at hand once they were asked for.
    pub(super) fn would_be_met(&self, name: &str) -> bool {
        self.hearing.load(Ordering::Acquire) && !self.met.contains_key(name)
    }

    /// Asks for all of these in one statement, and remembers those that there are; gives the names that nobody has.
    pub(super) async fn meet(
        &self,
        names: impl IntoIterator<Item = UserName>,
        now: Timestamp,
    ) -> Result<HashSet<UserName>, StoreError> {
        let names: Vec<UserName> = names.into_iter().collect();
        let asking = self.asking(now);
        let found = self.asker.members(&names).await;
        self.note_absence(&found, now);
        let found: Vec<Arc<Member>> = found?.into_iter().map(Arc::new).collect();
        let mut nobody: HashSet<UserName> = names.into_iter().collect();
        for member in &found {
            nobody.remove(&member.user.name);
        }
        self.found(asking, || {
            found.iter().for_each(|member| self.take_in(&member.user.name, Some(member), asking));
            nobody.iter().for_each(|name| self.take_in(name, None, asking));
        });
        Ok(nobody)
    }

    /// What is known of changes when the store is asked.
    fn asking(&self, at: Timestamp) -> Asking {
        let (number, begun) = (self.asked.fetch_add(1, Ordering::AcqRel), self.begun.load(Ordering::Acquire));
        let changes = self.changes.load(Ordering::Acquire);
        Asking { at, number, hearing: self.hearing.load(Ordering::Acquire), changes, begun }
    }

    /// Has what the store said taken in. While nothing is heard this is how changes are known; else they are heard.
    fn found(&self, asking: Asking, take_in: impl FnOnce()) {
        let is_heard = asking.hearing && self.hearing.load(Ordering::Acquire);
        if is_heard { take_in() } else { self.changed(take_in) }
    }

    /// Those at hand go on while the store is away, which it was a moment ago.
    fn note_absence<T>(&self, answer: &Result<T, StoreError>, now: Timestamp) {
        if let Err(StoreError::Away(_)) = answer {
            let (now, ahead) = (now.as_micros(), (now + PATIENCE).as_micros());
            // Whoever has waited says it of a time before; far ahead it is where the clock was set back.
            let later = |noted| (noted < now || noted > ahead).then_some(now);
            let _ = self.away_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        }
    }

    /// The user of that name, when they are remembered and as in the store, or were when it went away; and until when that is so: see
    /// [`Users::change`].
    pub(super) fn at_hand(&self, name: &str, now: Timestamp) -> Option<(Arc<Member>, u64)> {
        let change = self.change(now)?;
        let known = if self.hearing.load(Ordering::Acquire) { Known::Current } else { Known::UntilDeaf };
        let met = self.met.get(name)?;
        (met.known == known).then(|| (Arc::clone(&met.user), change))
    }

    /// A number that grows with every change heard. Who was [`Users::at_hand`] is as in the store for as long as this says the same. `None`
    /// while nothing is heard, but that those of the last moment go on while the store is away, and for no longer than they may.
    pub(super) fn change(&self, now: Timestamp) -> Option<u64> {
        let change = self.changes.load(Ordering::Acquire);
        let goes_on = || {
            let [away_at, heard_at] =
                [&self.away_at, &self.heard_at].map(|at| Timestamp::from_micros(at.load(Ordering::Acquire)));
            is_within(away_at, MOMENT, now) && is_within(heard_at, self.stale, now)
        };
        (self.hearing.load(Ordering::Acquire) || goes_on()).then_some(change)
    }

    /// From now on changes are heard. What was remembered before is asked for again.
    pub(super) fn hear(&self, now: Timestamp) {
        self.away_at.store(i64::MIN, Ordering::Release);
        self.changed(|| self.settle(Known::Old));
        self.heard(now);
        self.hearing.store(true, Ordering::Release);
        // After that: who sees this and that nothing is heard asks in a silence that comes later.
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// All changes until now have been heard.
    pub(super) fn heard(&self, now: Timestamp) {
        self.heard_at.store(now.as_micros(), Ordering::Release);
    }

    /// Nothing is heard any more. Said again, by each try to hear that fails, it is no news: who went on goes on.
    pub(super) fn deafen(&self) {
        if self.hearing.swap(false, Ordering::AcqRel) {
            self.changed(|| self.settle(Known::UntilDeaf));
        }
    }

    /// A user is not what they were.
    pub(super) fn forget(&self, name: &UserName) {
        // What they are now is not known: should the store go away before they are asked for, they do not go on.
        self.changed(|| drop(self.met.remove(name)));
    }

    /// Many users are not what they were, whoever they are.
    pub(super) fn forget_all(&self) {
        self.changed(|| self.met.clear());
    }

    /// Takes a change in. It has a number before, so that what was read before it is not remembered after it; and one afterwards, so
    /// that whoever was at hand until then is looked for again.
    fn changed(&self, take_in: impl FnOnce()) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        take_in();
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Remembers who was found, and forgets whom nobody is. Not what a change has overtaken, or a later answer.
    fn take_in(&self, name: &UserName, user: Option<&Arc<Member>>, asking: Asking) {
        if self.met.len() >= MOST {
            self.evict_oldest_quarter();
        }
        // With the place in hand: a change heard from here on waits for it, and then finds what was put there.
        let place = self.met.entry(name.clone());
        let is_overtaken = match asking.hearing {
            true => self.changes.load(Ordering::Acquire) != asking.changes,
            // What was heard since may have been of them, also where nothing is heard any more.
            false => {
                self.begun.load(Ordering::Acquire) != asking.begun
                    || self.found_nobody.load(Ordering::Acquire) > asking.number
            }
        };
        if is_overtaken {
            return;
        }
        if user.is_none() && !asking.hearing {
            self.found_nobody.fetch_max(asking.number, Ordering::AcqRel);
        }
        match (place, user) {
            (Entry::Occupied(met), _) if met.get().asking > asking.number => (),
            (Entry::Occupied(met), None) => drop(met.remove()),
            (Entry::Vacant(_), None) => (),
            (place, Some(user)) => {
                let known = if asking.hearing { Known::Current } else { Known::Old };
                place.insert(Met { user: Arc::clone(user), since: asking.at, asking: asking.number, known });
            }
        }
    }

    /// Forgets those who were asked for longest ago.
    fn evict_oldest_quarter(&self) {
        let mut ages: Vec<Timestamp> = self.met.iter().map(|met| met.since).collect();
        let mut too_many = ages.len().div_ceil(4);
        if ages.is_empty() {
            return;
        }
        let (_, newest, _) = ages.select_nth_unstable(too_many - 1);
        let newest = *newest;
        // Many may be of one age, after a silence.
        self.met.retain(|_, met| {
            let evicted = too_many > 0 && met.since <= newest;
            too_many -= usize::from(evicted);
            !evicted
        });
    }

    /// Until when this one was known to be as in the store.
    fn known_until(&self, met: &Met) -> Timestamp {
        match met.known {
            Known::Current => Timestamp::from_micros(self.heard_at.load(Ordering::Acquire)),
            Known::UntilDeaf | Known::Old => met.since,
        }
    }

    /// Nobody is current any more; each keeps until when they were. Whoever was not is old.
    fn settle(&self, those_current: Known) {
        for mut met in self.met.iter_mut() {
            met.since = self.known_until(&met);
            met.known = if met.known == Known::Current { those_current } else { Known::Old };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Group, GroupSettings, Secret, User};
    use crate::store;

    const STALE: Duration = Duration::from_secs(600);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + secs * 1_000_000)
    }

    fn alice(filter: &str) -> User {
        let mut user = User::new("alice", Secret::new("x"), at(0));
        user.permit_filter = Some(filter.to_owned());
        user
    }

    /// A store with alice in it, and a server that remembers her since second 0.
    async fn scene() -> (Arc<dyn Store>, Users) {
        scene_at("sqlite::memory:").await
    }

    async fn scene_at(address: &str) -> (Arc<dyn Store>, Users) {
        let store = store::open(address).await.unwrap();
        store.migrate().await.unwrap();
        store.add_user(&alice("old")).await.unwrap();
        let users = Users::new(Arc::clone(&store), STALE);
        users.hear(at(0));
        filter(&users, 0).await;
        store.replace_user(&alice("new")).await.unwrap();
        (store, users)
    }

    /// The same, with a store that is away.
    fn away(users: Users) -> Users {
        let store = store::postgres::PostgresStore::open("postgres://127.0.0.1:1/x", store::Options::default());
        Users { asker: Asker::new(Arc::new(store.unwrap())), ..users }
    }

    async fn filter(users: &Users, secs: i64) -> String {
        users.get(&"alice".into(), at(secs)).await.unwrap().unwrap().permit_filter.clone().unwrap()
    }

    #[tokio::test]
    async fn while_changes_are_heard_nobody_is_asked_for_twice() {
        let (_store, users) = scene().await;
        assert_eq!(filter(&users, 3600).await, "old", "nobody has said that she changed");
        users.forget(&"bob".into());
        assert_eq!(filter(&users, 3600).await, "old");
        users.forget(&"alice".into());
        assert_eq!(filter(&users, 3600).await, "new");
    }

    #[tokio::test]
    async fn who_is_remembered_is_so_with_their_groups() {
        let (store, users) = scene().await;
        let mut staff = Group { name: "staff".into(), settings: GroupSettings::default(), created_at: at(0) };
        store.add_group(&staff).await.unwrap();
        store.replace_user(&User { groups: vec!["staff".into()], ..alice("new") }).await.unwrap();
        users.forget(&"alice".into());
        let groups = async || users.get(&"alice".into(), at(10)).await.unwrap().unwrap().groups.clone();
        assert_eq!(groups().await, [staff.clone()]);
        let before = staff.clone();
        staff.settings.trust_hours = Some(8);
        store.replace_group(&staff).await.unwrap();
        assert_eq!(groups().await, [before], "nobody has said that it changed");
        users.forget_all();
        let later = users.get(&"alice".into(), at(20)).await.unwrap().unwrap().groups.clone();
        assert_eq!(later, [staff]);
    }

    /// However lately they were as in the store, and whether it is there or not.
    #[tokio::test]
    async fn when_many_have_changed_nobody_is_who_they_were() {
        let (_store, users) = scene().await;
        users.heard(at(10));
        users.forget_all();
        assert_eq!(filter(&users, 10).await, "new");
        users.heard(at(20));
        users.forget_all();
        let away = away(users);
        assert!(matches!(away.get(&"alice".into(), at(20)).await, Err(StoreError::Away(_))));
    }

    /// Nor does anybody go on for longer than they may, or as they were before they were read last.
    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_nobody_current() {
        let (store, users) = scene().await;
        users.deafen();
        assert_eq!(filter(&users, 3600).await, "new");
        store.replace_user(&alice("newest")).await.unwrap();
        assert_eq!(filter(&users, 100).await, "newest");
        let users = away(users);
        assert_eq!(filter(&users, 103).await, "newest");
        assert!(users.get(&"alice".into(), at(50)).await.is_err(), "nobody knows how long she has gone on");
    }

    #[tokio::test]
    async fn what_was_read_in_a_silence_is_not_remembered_when_it_is_over() {
        for again in [false, true] {
            let (_store, users) = scene().await;
            users.deafen();
            let (late, read) = (users.asking(at(5)), Arc::new(Member { user: alice("old"), groups: vec![] }));
            users.hear(at(6));
            users.forget(&"alice".into());
            if again {
                users.deafen();
            }
            users.found(late, || users.take_in(&"alice".into(), Some(&read), late));
            assert_eq!(filter(&users, 6).await, "new");
        }
    }

    /// A group may ask more of her by now than this node knows of.
    #[tokio::test]
    async fn who_is_there_and_cannot_be_read_does_not_go_on_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("radhold.sqlite");
        let (_store, users) = scene_at(&format!("sqlite://{}", path.display())).await;
        users.deafen();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query("UPDATE users SET second_factor = 'twice'").execute(&pool).await.unwrap();
        let refused = users.get(&"alice".into(), at(10)).await;
        assert!(matches!(refused, Err(StoreError::BadRow { .. })), "{refused:?}");
        let users = away(users);
        assert!(users.get(&"alice".into(), at(10)).await.is_err(), "nor when the store does not say so any more");
    }

    #[tokio::test]
    async fn whose_change_is_heard_while_the_store_is_asked_does_not_go_on() {
        let (_store, users) = scene().await;
        users.deafen();
        let users = away(users);
        let alice = UserName::from("alice");
        let (got, ()) = tokio::join!(users.get(&alice, at(10)), async { users.forget(&alice) });
        assert!(got.is_err(), "{got:?}");
    }

    #[tokio::test]
    async fn while_nothing_is_heard_an_answer_from_before_brings_nobody_back() {
        let (store, users) = scene().await;
        users.deafen();
        let (late, read) = (users.asking(at(5)), Arc::new(Member { user: alice("old"), groups: vec![] }));
        store.remove_user(&"alice".into()).await.unwrap();
        assert!(users.get(&"alice".into(), at(10)).await.unwrap().is_none());
        users.found(late, || users.take_in(&"alice".into(), Some(&read), late));
        assert!(users.met.is_empty());
    }

    #[tokio::test]
    async fn who_goes_on_does_so_only_while_the_store_is_away_and_since_changes_were_heard_last() {
        let (_store, users) = scene().await;
        // The clock was ahead when she was met.
        users.met.get_mut("alice").unwrap().since = at(99_999);
        users.heard(at(10));
        users.deafen();
        let met = users.met.get("alice").unwrap();
        let goes_on = |error: fn(String) -> StoreError, secs| users.goes_on(&met, &error(String::new()), at(secs));
        assert!(goes_on(StoreError::Away, 8), "a request that has waited");
        assert!(goes_on(StoreError::Away, 609) && !goes_on(StoreError::Away, 610));
        assert!(!goes_on(StoreError::Away, 6), "nobody knows how long it has been");
        assert!(!goes_on(StoreError::Refused, 11), "it is there");
    }

    #[tokio::test]
    async fn after_a_silence_everybody_is_asked_for_again() {
        for many in [false, true] {
            let (_store, users) = scene().await;
            if many {
                users.forget_all();
            } else {
                users.deafen();
                users.hear(at(100));
            }
            assert_eq!(filter(&users, 101).await, "new");
        }
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (_store, users) = scene().await;
        let read = Arc::new(Member { user: alice("old"), groups: vec![] });
        let before = users.changes.load(Ordering::Acquire);
        users.forget(&"alice".into());
        users.take_in(&"alice".into(), Some(&read), Asking { changes: before, ..users.asking(at(10)) });
        assert_eq!(filter(&users, 20).await, "new");
    }

    /// An answer that took long says nothing of who is known better by now.
    #[tokio::test]
    async fn what_was_read_before_a_change_or_before_a_later_answer_takes_nothing_away() {
        let (_store, users) = scene().await;
        let (late, read) = (users.asking(at(5)), Arc::new(Member { user: alice("old"), groups: vec![] }));
        users.forget(&"alice".into());
        users.take_in(&"alice".into(), Some(&read), late);
        assert!(users.met.is_empty(), "what she is now is not known: should the store go away, she does not go on");
        assert_eq!(filter(&users, 10).await, "new");
        for said in [Some(&read), None] {
            users.take_in(&"alice".into(), said, late);
            assert_eq!(filter(&users, 3600).await, "new");
        }
        users.deafen();
        let late = users.asking(at(3600));
        assert_eq!(filter(&users, 3610).await, "new");
        for said in [Some(&read), None] {
            users.take_in(&"alice".into(), said, late);
            assert_eq!(filter(&users, 3611).await, "new");
        }
    }

    #[tokio::test]
    async fn who_was_at_hand_while_a_change_was_taken_in_is_looked_for_again() {
        let (_store, users) = scene().await;
        let mut seen = None;
        users.changed(|| seen = users.at_hand("alice", at(1)));
        let (_, change) = seen.unwrap();
        assert_ne!(users.change(at(1)), Some(change));
    }

    /// Nothing is heard, but they are asked for: what comes of that counts for whoever was at hand.
    #[tokio::test]
    async fn what_is_found_while_nothing_is_heard_is_a_change() {
        let (store, users) = scene().await;
        users.heard(at(1000));
        users.deafen();
        users.away_at.store(at(1001).as_micros(), Ordering::Release);
        let (member, before) = users.at_hand("alice", at(1001)).unwrap();
        assert_eq!(member.permit_filter.as_deref(), Some("old"));
        assert_eq!(filter(&users, 1003).await, "new");
        let is_away = |secs| users.away_at.store(at(secs).as_micros(), Ordering::Release);
        is_away(1003);
        assert!(users.change(at(1003)).unwrap() != before && users.at_hand("alice", at(1003)).is_none());
        store.remove_user(&"alice".into()).await.unwrap();
        is_away(1010);
        let before = users.change(at(1010)).unwrap();
        assert!(users.get(&"alice".into(), at(1010)).await.unwrap().is_none());
        assert!(users.change(at(1010)).unwrap() != before && users.at_hand("alice", at(1010)).is_none());
    }

    /// Whoever may have changed is not at hand, however lately that was heard, nor when nothing is heard from then on.
    #[tokio::test]
    async fn who_may_have_changed_is_not_at_hand() {
        for raced in [false, true] {
            let (_store, users) = scene().await;
            users.heard(at(1000));
            assert!(users.at_hand("alice", at(1000)).is_some());
            if raced {
                let (read, before) =
                    (Arc::new(Member { user: alice("old"), groups: vec![] }), users.change(at(1000)).unwrap());
                users.forget(&"alice".into());
                users.take_in(&"alice".into(), Some(&read), Asking { changes: before, ..users.asking(at(1001)) });
            } else {
                users.forget_all();
            }
            assert!(users.at_hand("alice", at(1001)).is_none());
            users.deafen();
            users.away_at.store(at(1001).as_micros(), Ordering::Release);
            assert!(users.at_hand("alice", at(1001)).is_none());
        }
    }

    #[tokio::test]
    async fn when_full_the_oldest_quarter_is_forgotten() {
        let (_store, users) = scene().await;
        users.met.clear();
        for number in 0..8 {
            users.take_in(
                &format!("u{number}").as_str().into(),
                Some(&Arc::new(Member { user: alice("x"), groups: vec![] })),
                users.asking(at(number / 2)),
            );
        }
        users.evict_oldest_quarter();
        let mut left: Vec<_> = users.met.iter().map(|met| met.key().as_str().to_owned()).collect();
        left.sort();
        assert_eq!(left, ["u2", "u3", "u4", "u5", "u6", "u7"]);
        users.heard(at(9));
        users.hear(at(9));
        users.evict_oldest_quarter();
        assert_eq!(users.met.len(), 4, "of one age they are all the same");
    }

    #[tokio::test]
    async fn while_the_store_is_away_who_is_remembered_goes_on_for_a_bounded_time() {
        let (store, users) = scene().await;
        store.remove_user(&"alice".into()).await.unwrap();
        let away = away(users);
        away.heard(at(1000));
        away.deafen();
        // As often as it is tried to hear again, and in vain.
        away.deafen();
        let get = async |secs| away.get(&"alice".into(), at(secs)).await;
        assert_eq!(away.change(at(1003)), None, "the store may be there");
        assert!(get(1003).await.unwrap().is_some());
        let (_, change) = away.at_hand("alice", at(1003)).expect("it has just been away");
        assert_eq!(away.change(at(1003)), Some(change));
        assert_eq!(away.change(at(1004)), None, "it may be back");
        assert!(get(1000 + 599).await.unwrap().is_some(), "counted from when she was last known to be as in the store");
        assert!(away.at_hand("alice", at(1000 + 599)).is_some());
        assert!(matches!(get(1000 + 600).await, Err(StoreError::Away(_))));
        assert!(away.at_hand("alice", at(1000 + 600)).is_none(), "nobody goes on for longer than they may");
        assert!(matches!(away.get(&"bob".into(), at(1001)).await, Err(StoreError::Away(_))));
    }
}
