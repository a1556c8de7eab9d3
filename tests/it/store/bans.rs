//! Strikes, bans, wrong passwords, and the audit record.

use std::time::Duration;

use radhold::model::{CallerLists, Nas, Timestamp};
use radhold::policy::{Ban, BanTarget, FailureCount, FailureKey, StrikeReason};
use radhold::session::{Denial, Event, Session};
use radhold::store::{AuditEntry, AuditQuery, Committed, Store};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        a_strike_is_kept_with_the_end_of_its_hold_and_once,
        a_ban_is_set_lifted_and_found_by_its_change,
        an_automatic_ban_does_not_replace_one_in_force,
        a_ban_of_a_network_is_told_until_it_is_settled,
        failures_of_all_nodes_add_up,
        names_that_are_kept_alike_are_counted_together,
        places_are_known_by_what_was_let_through,
        the_audit_record_is_only_added_to,
        a_nas_keeps_its_lists_of_callers,
        old_bans_and_strikes_are_forgotten,
    }
}

fn secs(secs: u64) -> Timestamp {
    NOON + Duration::from_secs(secs)
}

fn act(at: Timestamp, act: &str, subject: &str) -> AuditEntry {
    let text = str::to_owned;
    AuditEntry {
        at,
        who: text("night-shift"),
        through: text("command-line"),
        origin: text("host"),
        act: text(act),
        subject: text(subject),
        detail: text("a \"detail\""),
    }
}

fn ban(value: &str, since: Timestamp, until: Option<Timestamp>) -> Ban {
    Ban {
        target: BanTarget::read("address", value).unwrap(),
        since,
        until,
        lifted_at: None,
        reason: "guessing".into(),
        by: "root".into(),
        automatic: false,
        forced: true,
    }
}

async fn keep(store: &dyn Store, session: &Session, event: &Event, at: Timestamp) -> Session {
    let (after, change) = stepped(session, event, at);
    assert_eq!(store.commit(&[change]).await.unwrap(), [Committed::Done]);
    after
}

async fn a_strike_is_kept_with_the_end_of_its_hold_and_once(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    store.commit(&[added(&offered)]).await.unwrap();
    assert_eq!(store.strikes(NOON).await.unwrap(), []);
    let denial = Event::Denied(Denial::by_operator("night-shift"));
    let (_, losing) = stepped(&offered, &denial, secs(2));
    let denied = keep(store, &offered, &denial, secs(1)).await;
    assert_eq!(store.commit(&[losing]).await.unwrap(), [Committed::Conflict], "who came second keeps nothing");
    let dropped = keep(store, &denied, &Event::TimerPassed, secs(600)).await;
    let strikes = stage.another().await.strikes(NOON).await.unwrap();
    assert_eq!(strikes.len(), 1, "a later change of the same session is no second strike");
    let strike = &strikes[0];
    assert_eq!((strike.session, strike.at, strike.why), (dropped.id, secs(1), StrikeReason::Denied));
    assert_eq!((strike.user.as_str(), strike.nas.as_str(), &strike.caller), ("alice", "edge", &None));
    assert_eq!(store.strikes(secs(2)).await.unwrap(), []);
}

async fn a_ban_is_set_lifted_and_found_by_its_change(stage: &Stage) {
    let store = stage.store.as_ref();
    let first = ban("192.0.2.0/24", NOON, Some(secs(60)));
    assert!(store.set_ban(&first, &act(NOON, "ban.add", "one")).await.unwrap());
    assert_eq!(store.bans(NOON).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.bans(secs(1)).await.unwrap(), []);
    let account = Ban { target: BanTarget::Account("Zoë".into()), automatic: true, ..ban("192.0.2.9", secs(5), None) };
    assert!(store.set_ban(&account, &act(secs(5), "ban.add", "two")).await.unwrap());
    let longer = Ban { until: None, forced: false, ..ban("192.0.2.0/24", secs(10), None) };
    assert!(store.set_ban(&longer, &act(secs(10), "ban.add", "three")).await.unwrap(), "by hand it takes the place");
    assert_eq!(stage.another().await.bans(NOON).await.unwrap(), [account.clone(), longer.clone()]);
    let target = &longer.target;
    assert!(store.lift_ban(target, &act(secs(20), "ban.lift", "four")).await.unwrap());
    assert!(!store.lift_ban(target, &act(secs(21), "ban.lift", "five")).await.unwrap(), "it is lifted already");
    assert_eq!(store.bans(secs(20)).await.unwrap(), [Ban { lifted_at: Some(secs(20)), ..longer }]);
    let acts = store.audited(&AuditQuery::default()).await.unwrap();
    let subjects: Vec<_> = acts.iter().map(|act| act.subject.as_str()).collect();
    assert_eq!(subjects, ["four", "three", "two", "one"], "what was not done is not on record");
}

async fn an_automatic_ban_does_not_replace_one_in_force(stage: &Stage) {
    let (one, two) = (&stage.store, stage.another().await);
    let by_itself = |at| Ban { automatic: true, ..ban("192.0.2.7", at, Some(at + Duration::from_secs(60))) };
    let (first, second) = (by_itself(NOON), by_itself(secs(1)));
    let (set_one, set_two) = (act(NOON, "ban.add", "x"), act(secs(1), "ban.add", "x"));
    let (one, two) = tokio::join!(one.set_ban(&first, &set_one), two.set_ban(&second, &set_two));
    let set = [one.unwrap(), two.unwrap()];
    assert_eq!(set.iter().filter(|set| **set).count(), 1, "of two nodes that come to it, one sets it");
    assert_eq!(stage.store.audited(&AuditQuery::default()).await.unwrap().len(), 1);
    assert!(stage.store.set_ban(&by_itself(secs(100)), &act(secs(100), "ban.add", "x")).await.unwrap(), "it was over");
}

async fn a_ban_of_a_network_is_told_until_it_is_settled(stage: &Stage) {
    let store = stage.store.as_ref();
    let lease = Duration::from_secs(30);
    let (a, b) = ("a".into(), "b".into());
    for network in ["192.0.2.0/24", "2001:db8:0:1::/64"] {
        store.set_ban(&ban(network, NOON, None), &act(NOON, "ban.add", "net")).await.unwrap();
        let notice = store.claim_ban_notices(&a, NOON, lease, 9).await.unwrap().pop().unwrap();
        assert_eq!(notice.network.to_string(), network);
        store.settle_ban_notice(&notice, None).await.unwrap();
    }
    assert_eq!(store.claim_ban_notices(&a, NOON, lease, 9).await.unwrap(), []);
    let one = ban("192.0.2.7", NOON, None);
    store.set_ban(&one, &act(NOON, "ban.add", "one")).await.unwrap();
    let mut notice = store.claim_ban_notices(&a, NOON, lease, 9).await.unwrap().pop().unwrap();
    assert_eq!((notice.network.to_string().as_str(), notice.attempts), ("192.0.2.7/32", 0));
    assert_eq!(store.claim_ban_notices(&b, secs(29), lease, 9).await.unwrap(), [], "a is at it");
    notice.told.push("edge".into());
    store.settle_ban_notice(&notice, Some(secs(40))).await.unwrap();
    assert_eq!(store.claim_ban_notices(&b, secs(39), lease, 9).await.unwrap(), [], "not due");
    let again = store.claim_ban_notices(&b, secs(40), lease, 9).await.unwrap().pop().unwrap();
    assert_eq!((again.told.len(), again.attempts), (1, 1));
    // Lifted while b is telling: what b settles is not that.
    store.lift_ban(&one.target, &act(secs(41), "ban.lift", "one")).await.unwrap();
    assert_eq!(store.claim_ban_notices(&a, secs(41), lease, 9).await.unwrap(), [], "never two at once");
    store.settle_ban_notice(&again, None).await.unwrap();
    let lifted = store.claim_ban_notices(&a, secs(42), lease, 9).await.unwrap().pop().unwrap();
    assert_eq!(lifted.told, [], "all are to be told anew");
    store.settle_ban_notice(&lifted, None).await.unwrap();
    assert_eq!(store.claim_ban_notices(&a, secs(999), lease, 9).await.unwrap(), []);
}

async fn failures_of_all_nodes_add_up(stage: &Stage) {
    let (one, two) = (stage.store.as_ref(), stage.another().await);
    let forget = Duration::from_secs(3600);
    let key = |account: &str| FailureKey { account: account.into(), caller: "192.0.2.7".into() };
    let count = |account: &str, failures, at| FailureCount { key: key(account), failures, last: secs(at) };
    let batch = [count("b", 1, 1), count("a", 2, 1)];
    let other = [count("a", 3, 2), count("b", 4, 0)];
    let (first, second) =
        tokio::join!(one.add_failures(&batch, &[], forget, secs(1)), two.add_failures(&other, &[], forget, secs(2)));
    first.unwrap();
    second.unwrap();
    let sorted = async |since| {
        let mut counts = one.failures(secs(since)).await.unwrap();
        counts.sort_by(|a, b| a.key.cmp(&b.key));
        counts
    };
    assert_eq!(sorted(1).await, [count("a", 5, 2), count("b", 5, 1)]);
    one.add_failures(&[count("a", 1, 3)], &[key("a"), key("nobody")], forget, secs(5)).await.unwrap();
    assert_eq!(sorted(5).await, [count("a", 1, 3)], "forgiven, and one since");
    one.add_failures(&[count("b", 1, 3601)], &[], forget, secs(3601)).await.unwrap();
    assert_eq!(sorted(3601).await, [count("b", 1, 3601)], "after so long a silence it begins anew");
    assert!(!one.forget_failures(secs(3601)).await.unwrap(), "there is no more");
    assert_eq!(sorted(0).await, [count("b", 1, 3601)], "what was quiet for long is forgotten");
}

/// NUL is kept as U+FFFD, so that two names may be one there; whoever sends both must not keep the counts of others from being kept.
async fn names_that_are_kept_alike_are_counted_together(stage: &Stage) {
    let store = stage.store.as_ref();
    let forget = Duration::from_secs(3600);
    let count = |account: &str, failures, at| FailureCount {
        key: FailureKey { account: account.into(), caller: "192.0.2.7".into() },
        failures,
        last: secs(at),
    };
    let alike = [count("a\0", 1, 1), count("a\u{FFFD}", 2, 3), count("b", 4, 2)];
    let forgiven = [alike[0].key.clone(), alike[1].key.clone()];
    for _ in 0..2 {
        store.add_failures(&alike, &forgiven, forget, secs(3)).await.unwrap();
        let mut counts = store.failures(secs(0)).await.unwrap();
        counts.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!((counts.len(), &counts[0]), (2, &count("a\u{FFFD}", 3, 3)));
    }
}

async fn places_are_known_by_what_was_let_through(stage: &Stage) {
    let store = stage.store.as_ref();
    let session = |number, user: &str, caller: Option<&str>, permitted_at| {
        let mut record = offer(number, NOON).into_record();
        record.user = user.into();
        record.identity.calling_station_id = caller.map(str::to_owned);
        record.permitted_at = permitted_at;
        added(&Session::restore(record))
    };
    let changes = [
        session(1, "alice", Some("198.51.100.10[4500]"), Some(secs(1))),
        session(2, "alice", Some("198.51.100.10[4500]"), Some(secs(9))),
        session(3, "mallory", Some("203.0.113.66"), None),
        session(4, "bob", None, Some(secs(3))),
        session(5, "carol", Some("2001:db8::7"), Some(secs(4))),
    ];
    store.commit(&changes).await.unwrap();
    let known = async |since, limit| {
        let places = store.known_places(secs(since), limit).await.unwrap();
        places.into_iter().map(|(key, at)| (key.account, key.caller, at)).collect::<Vec<_>>()
    };
    let alice = ("alice".to_owned(), "198.51.100.10".to_owned(), secs(9));
    let carol = ("carol".to_owned(), "2001:db8::/64".to_owned(), secs(4));
    assert_eq!(known(0, 10).await, [alice.clone(), carol]);
    assert_eq!(known(5, 10).await, std::slice::from_ref(&alice));
    assert_eq!(known(0, 1).await, [alice]);
}

async fn the_audit_record_is_only_added_to(stage: &Stage) {
    let store = stage.store.as_ref();
    let acts =
        [act(NOON, "user.add", "alice"), act(secs(10), "nas.add", "edge"), act(secs(20), "user.remove", "alice")];
    store.edit(&[], &acts).await.unwrap();
    let found = async |query: AuditQuery| {
        let acts = store.audited(&query).await.unwrap();
        acts.into_iter().map(|act| act.act).collect::<Vec<_>>()
    };
    let all = AuditQuery::default();
    assert_eq!(store.audited(&AuditQuery { limit: 1, ..all.clone() }).await.unwrap(), [acts[2].clone()]);
    assert_eq!(found(all.clone()).await, ["user.remove", "nas.add", "user.add"]);
    assert_eq!(found(AuditQuery { act: Some("user".into()), ..all.clone() }).await, ["user.remove", "user.add"]);
    assert_eq!(found(AuditQuery { subject: Some("edge".into()), ..all.clone() }).await, ["nas.add"]);
    assert_eq!(found(AuditQuery { since: Some(secs(10)), until: Some(secs(20)), ..all.clone() }).await, ["nas.add"]);
    assert_eq!(found(AuditQuery { who: Some("nobody".into()), ..all.clone() }).await, [""; 0]);
    for statement in
        ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "DELETE FROM audit WHERE subject = 'alice'"]
    {
        assert!(stage.refuses(statement).await, "{statement}");
    }
    assert_eq!(store.prune_audit(secs(10)).await.unwrap(), 1);
    assert!(stage.refuses("DELETE FROM audit").await, "pruning leaves no way open");
    assert_eq!(found(all).await, ["user.remove", "nas.add"]);
    // A decision is on record with the change that made it.
    let offered = offer(7, NOON);
    store.commit(&[added(&offered)]).await.unwrap();
    keep(store, &offered, &Event::Denied(Denial::by_operator("night-shift")), secs(30)).await;
    let decisions = store.audited(&AuditQuery { act: Some("session.".into()), ..AuditQuery::default() }).await.unwrap();
    let [decided] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!((decided.act.as_str(), decided.subject.as_str(), decided.at), ("session.denied", "alice", secs(30)));
    assert_eq!((decided.who.as_str(), decided.through.as_str()), ("night-shift", "operator"));
    assert_eq!(decided.detail, format!("session {} on edge", id(7)));
}

async fn a_nas_keeps_its_lists_of_callers(stage: &Stage) {
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let callers = CallerLists { allow: networks(&["10.0.0.0/8", "2001:db8::/32"]), deny: networks(&["0.0.0.0/0"]) };
    let nas = Nas { callers, ..nas("edge", "192.0.2.1/32") };
    stage.store.add_nas(&nas).await.unwrap();
    assert_eq!(stage.store.nases().await.unwrap(), [nas]);
}

async fn old_bans_and_strikes_are_forgotten(stage: &Stage) {
    let store = stage.store.as_ref();
    store.set_ban(&ban("192.0.2.1", NOON, Some(secs(10))), &act(NOON, "ban.add", "1")).await.unwrap();
    store.set_ban(&ban("192.0.2.2", NOON, None), &act(NOON, "ban.add", "2")).await.unwrap();
    let offered = offer(1, NOON);
    store.commit(&[added(&offered)]).await.unwrap();
    keep(store, &offered, &Event::Denied(Denial::by_operator("root")), secs(1)).await;
    store.forget_bans(secs(1)).await.unwrap();
    assert_eq!((store.bans(NOON).await.unwrap().len(), store.strikes(NOON).await.unwrap().len()), (2, 1));
    store.forget_bans(secs(11)).await.unwrap();
    let left = store.bans(NOON).await.unwrap();
    assert_eq!(left.iter().map(|ban| ban.target.value()).collect::<Vec<_>>(), ["192.0.2.2"], "one without end stays");
    assert_eq!(store.strikes(NOON).await.unwrap(), []);
}
