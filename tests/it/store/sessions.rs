//! Sessions come back as they were kept, and are found.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use radhold::model::{Identity, Timestamp, UserName};
use radhold::session::{Alert, AskState, Effect, Record, Session, State};
use radhold::store::{Change, Committed, Named, Port, SessionQuery, Wake};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        a_rich_session_comes_back_whole,
        any_session_comes_back_whole,
        what_no_column_holds_is_kept_at_its_limit,
        queries_narrow,
        sessions_are_found_by_what_their_nas_calls_them,
        of_very_many_sessions_of_a_name_the_latest_are_found,
        sessions_are_found_by_their_ports,
        sessions_are_found_by_their_addresses,
        open_is_what_the_machine_calls_open,
        due_sessions_come_most_overdue_first,
    }
}

async fn a_rich_session_comes_back_whole(stage: &Stage) {
    let store = stage.store.as_ref();
    let rich = Session::restore(rich_record(1));
    keep(store, added(&rich)).await;
    assert_eq!(read(store, id(1)).await.unwrap(), rich);
    // Every field that can be absent is absent after the next change: an update writes absence too.
    let bare = Session::observe(id(1), "bob".into(), "edge".into(), [10, 0, 0, 1].into(), Identity::default(), NOON);
    keep(store, change(&bare, Some(41))).await;
    assert_eq!(read(store, id(1)).await.unwrap(), bare);
    assert_eq!(store.sessions_by_id(&[id(1), id(9), id(1)]).await.unwrap(), [bare]);
    assert_eq!(store.sessions_by_id(&[]).await.unwrap(), []);
}

async fn any_session_comes_back_whole(stage: &Stage) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sessions: Vec<Session> =
        (0..64).map(|_| Session::restore(any_record().new_tree(&mut runner).unwrap().current())).collect();
    let changes: Vec<Change> = sessions.iter().map(added).collect();
    assert!(stage.store.commit(&changes).await.unwrap().iter().all(|kept| *kept == Committed::Done));
    for session in sessions {
        assert_eq!(read(stage.store.as_ref(), session.id).await.unwrap(), session);
    }
}

async fn what_no_column_holds_is_kept_at_its_limit(stage: &Stage) {
    let store = stage.store.as_ref();
    let mut record = rich_record(1);
    record.user = UserName::new("al\0ice");
    record.asks[0].state = AskState::Sent("a\0b".into());
    record.counters.input_octets = u64::MAX;
    record.deadline = Some(Timestamp::from_micros(i64::MAX));
    let strange = Session::restore(record);
    let plain = Session::restore(rich_record(2));
    let mut with_usage = added(&strange);
    with_usage.orders = vec![Effect::AlertOperator { alert: Alert::Undeliverable { reason: "\0".into(), held: true } }];
    let kept = store.commit(&[with_usage, added(&plain)]).await.unwrap();
    assert_eq!(kept, [Committed::Done; 2]);

    let kept = read(store, id(1)).await.unwrap();
    assert_eq!(kept.user.as_str(), "al\u{FFFD}ice");
    assert_eq!(kept.asks[0].state, AskState::Sent("a\u{FFFD}b".into()));
    assert_eq!(kept.counters.input_octets, i64::MAX as u64);
    assert_eq!(kept.deadline.unwrap().to_string(), "9999-12-31T23:59:59Z");
    let query = SessionQuery { user: Some(UserName::new("al\0ice")), ..SessionQuery::default() };
    assert_eq!(store.sessions(&query).await.unwrap(), [kept]);
}

async fn queries_narrow(stage: &Stage) {
    let store = stage.store.as_ref();
    let at = |secs| NOON + Duration::from_secs(secs);
    let record = |number: u128, user: &str, nas: &str, acct: &str, state| {
        let mut record = offer(number, at(u64::try_from(number).unwrap())).into_record();
        (record.user, record.nas, record.state) = (user.into(), nas.into(), state);
        record.identity.acct_session_id = Some(acct.into());
        Session::restore(record)
    };
    let sessions = [
        record(1, "alice", "edge", "a", State::Held),
        record(2, "bob", "edge", "a", State::Closed),
        record(3, "alice", "core", "b", State::Permitted),
        record(4, "alice", "edge", "c", State::Dropped),
    ];
    let changes: Vec<Change> = sessions.iter().map(added).collect();
    store.commit(&changes).await.unwrap();

    let all = SessionQuery::default();
    for (query, expected) in [
        (all.clone(), vec![4, 3, 2, 1]),
        (SessionQuery { limit: 2, ..all.clone() }, vec![4, 3]),
        (SessionQuery { open: true, ..all.clone() }, vec![3, 1]),
        (SessionQuery { open: true, limit: 1, ..all.clone() }, vec![3]),
        (SessionQuery { state: Some(State::Dropped), ..all.clone() }, vec![4]),
        (SessionQuery { state: Some(State::Dropped), open: true, ..all.clone() }, vec![]),
        (SessionQuery { user: Some("alice".into()), ..all.clone() }, vec![4, 3, 1]),
        (SessionQuery { nas: Some("edge".into()), ..all.clone() }, vec![4, 2, 1]),
        (SessionQuery { acct_session_id: Some("a".into()), ..all.clone() }, vec![2, 1]),
        (
            SessionQuery {
                open: true,
                state: Some(State::Held),
                user: Some("alice".into()),
                nas: Some("edge".into()),
                acct_session_id: Some("a".into()),
                nas_port: None,
                nas_port_id: None,
                id_part: Some("0001".into()),
                behind: Some((at(3), id(3))),
                limit: 9,
            },
            vec![1],
        ),
        (SessionQuery { behind: Some((at(3), id(3))), ..all.clone() }, vec![2, 1]),
        (SessionQuery { behind: Some((at(3), id(9))), limit: 2, ..all.clone() }, vec![3, 2]),
        (SessionQuery { id_part: Some("0000-000000000003".into()), ..all.clone() }, vec![3]),
        (SessionQuery { id_part: Some("0000".into()), limit: 3, ..all.clone() }, vec![4, 3, 2]),
        (SessionQuery { id_part: Some("%3".into()), ..all.clone() }, vec![]),
        (SessionQuery { user: Some("alice' --".into()), ..all }, vec![]),
    ] {
        let found: Vec<u128> =
            store.sessions(&query).await.unwrap().iter().map(|session| session.id.0.as_u128()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn sessions_are_found_by_what_their_nas_calls_them(stage: &Stage) {
    let store = stage.store.as_ref();
    let session = |number: u128, nas: &str, user: &str, called: Option<&str>, state| {
        let record = offer(number, NOON + Duration::from_secs(u64::try_from(number).unwrap())).into_record();
        let identity = Identity { acct_session_id: called.map(str::to_owned), ..Identity::default() };
        Session::restore(Record { nas: nas.into(), user: user.into(), identity, state, ..record })
    };
    let all = [
        session(1, "edge", "alice", Some("a1"), State::Closed),
        session(2, "edge", "alice", Some("a1"), State::Held),
        session(3, "edge", "alice", Some("a2"), State::Held),
        session(4, "edge", "bob", Some("a1"), State::Held),
        session(5, "core", "alice", Some("a1"), State::Held),
        session(6, "edge", "alice", None, State::Offered),
        session(7, "edge", "alice", Some("a1"), State::Dropped),
        session(8, "core", "alice", None, State::Offered),
        session(9, "edge", "bob\0", Some("it's \"b\""), State::Observed),
    ];
    let changes: Vec<Change> = all.iter().map(added).collect();
    store.commit(&changes).await.unwrap();
    let name =
        |nas: &str, user: &str, id: &str| Named { nas: nas.into(), user: user.into(), acct_session_id: id.to_owned() };
    let found = async |names: &[Named]| -> Vec<u128> {
        store.sessions_named(names).await.unwrap().iter().map(|it| it.id.0.as_u128()).collect()
    };
    assert_eq!(found(&[]).await, []);
    assert_eq!(found(&[name("edge", "alice", "a1")]).await, [7, 6, 2, 1]);
    assert_eq!(found(&[name("edge", "bob", "a1"), name("edge", "alice", "a2")]).await, [7, 6, 4, 3]);
    assert_eq!(found(&[name("edge", "bob\0", "it's \"b\""), name("edge", "nobody", "a1")]).await, [9]);
}

/// Whoever logs in over and over again, and never starts, must not make every report of theirs read all of that.
async fn of_very_many_sessions_of_a_name_the_latest_are_found(stage: &Stage) {
    let store = stage.store.as_ref();
    let called = Identity { acct_session_id: Some("a1".into()), ..Identity::default() };
    let session = |number: u128, state, identity: &Identity| {
        let record = offer(number, NOON + Duration::from_secs(u64::try_from(number % 1000).unwrap())).into_record();
        added(&Session::restore(Record { identity: identity.clone(), state, ..record }))
    };
    let offers = (1..=100).map(|number| session(number, State::Dropped, &Identity::default()));
    let closed = (1001..=1100).map(|number| session(number, State::Closed, &called));
    store.commit(&offers.chain(closed).collect::<Vec<_>>()).await.unwrap();
    let name = |id: &str| Named { nas: "edge".into(), user: "alice".into(), acct_session_id: id.to_owned() };
    let found = store.sessions_named(&[name("a1"), name("a2")]).await.unwrap();
    let of =
        |state| found.iter().filter(|session| session.state == state).map(|session| session.id).collect::<Vec<_>>();
    let latest = |last: u128| (0..64).map(|back| id(last - back)).collect::<Vec<_>>();
    assert_eq!(of(State::Dropped), latest(100));
    assert_eq!(of(State::Closed), latest(1100));
    assert!(found.is_sorted_by(|a, b| a.accepted_at >= b.accepted_at), "the newest first");
}

async fn sessions_are_found_by_their_addresses(stage: &Stage) {
    let store = stage.store.as_ref();
    let session = |number: u128, address: Option<&str>, prefix: Option<&str>, state| {
        let at = NOON + Duration::from_secs(u64::try_from(number).unwrap());
        let framed_ip = address.map(|address| address.parse().unwrap());
        let framed_ipv6_prefix = prefix.map(|prefix| prefix.parse().unwrap());
        let identity = Identity { framed_ip, framed_ipv6_prefix, ..Identity::default() };
        // The later its offer, the earlier its start.
        let started_at = (state != State::Offered).then(|| NOON + Duration::from_secs(1000 - at.since(NOON).as_secs()));
        Session::restore(Record { identity, state, started_at, ..offer(number, at).into_record() })
    };
    let all = [
        session(1, Some("10.0.0.7"), None, State::Held),
        session(2, Some("10.0.0.7"), Some("2001:db8:1::/64"), State::Permitted),
        session(3, Some("10.0.0.7"), None, State::Closed),
        session(4, Some("10.0.0.7"), None, State::Dropped),
        session(5, Some("10.0.0.7"), None, State::Offered),
        session(6, Some("10.0.0.70"), None, State::Observed),
        session(7, Some("2001:db8:1::7"), Some("2001:db8::/32"), State::Evicting),
        session(8, None, Some("2001:db8:1::/64"), State::Permitting),
        session(9, None, Some("2001:db8:1::7/128"), State::Held),
        session(10, None, Some("2001:db8:1::/64"), State::Closed),
        session(11, None, None, State::Held),
    ];
    store.commit(&all.iter().map(added).collect::<Vec<_>>()).await.unwrap();
    let found = async |address: &str| -> Vec<u128> {
        let found = store.sessions_framed(address.parse().unwrap()).await.unwrap();
        found.iter().map(|session| session.id.0.as_u128()).collect()
    };
    assert_eq!(found("10.0.0.7").await, [1, 2], "the latest start first");
    assert_eq!(found("10.0.0.70").await, [6]);
    assert_eq!(found("10.0.0.8").await, []);
    assert_eq!(found("2001:db8:1::7").await, [2, 7, 8, 9], "each once");
    assert_eq!(found("2001:db8:1:0:ffff::").await, [2, 7, 8]);
    assert_eq!(found("2001:db8:2::").await, [7]);
    assert_eq!(found("2001:db9::1").await, []);
}

async fn sessions_are_found_by_their_ports(stage: &Stage) {
    let store = stage.store.as_ref();
    let session = |number: u128, nas: &str, port: Option<u32>, port_id: Option<&str>, state| {
        let record = offer(number, NOON + Duration::from_secs(u64::try_from(number).unwrap())).into_record();
        let nas_port_id = port_id.map(str::to_owned);
        let identity = Identity { nas_port: port, nas_port_id, ..Identity::default() };
        Session::restore(Record { nas: nas.into(), identity, state, ..record })
    };
    let all = [
        session(1, "edge", Some(1), None, State::Held),
        session(2, "edge", Some(1), Some("pppoe 1"), State::Observed),
        session(3, "edge", Some(1), None, State::Closed),
        session(4, "edge", Some(u32::MAX), Some("it's \"a\"\0"), State::Permitted),
        session(5, "core", Some(1), Some("pppoe 1"), State::Held),
        session(6, "edge", None, Some("1"), State::Held),
        session(7, "edge", None, None, State::Held),
        session(8, "edge", None, Some("pppoe 1"), State::Dropped),
    ];
    let changes: Vec<Change> = all.iter().map(added).collect();
    store.commit(&changes).await.unwrap();
    let number = |nas: &str, number| Port::Number(nas.into(), number);
    let called = |nas: &str, id: &str| Port::Id(nas.into(), id.to_owned());
    let found = async |ports: &[Port]| -> Vec<u128> {
        store.sessions_on_ports(ports).await.unwrap().iter().map(|it| it.id.0.as_u128()).collect()
    };
    assert_eq!(found(&[]).await, []);
    assert_eq!(found(&[number("edge", 1)]).await, [2, 1]);
    assert_eq!(found(&[called("edge", "1"), number("core", 1)]).await, [6, 5]);
    let ports = [number("edge", 1), called("edge", "pppoe 1"), number("edge", u32::MAX), number("edge", 1)];
    assert_eq!(found(&ports).await, [4, 2, 1]);
    assert_eq!(found(&[called("edge", "it's \"a\"\0"), number("nowhere", 1)]).await, [4]);
}

async fn open_is_what_the_machine_calls_open(stage: &Stage) {
    let store = stage.store.as_ref();
    for (number, state) in (1..).zip(State::ALL) {
        let session = Session::restore(Record { state, ..offer(number, NOON).into_record() });
        keep(store, Change { wake_at: Some(NOON), ..added(&session) }).await;
    }
    let open: BTreeSet<State> = State::ALL.into_iter().filter(|state| state.is_open()).collect();
    let listed = store.sessions(&SessionQuery { open: true, ..SessionQuery::default() }).await.unwrap();
    assert_eq!(listed.iter().map(|session| session.state).collect::<BTreeSet<_>>(), open);
    let due = store.due(NOON, None, 100).await.unwrap().wakes;
    let of_listed: BTreeSet<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(due.iter().map(|wake| wake.session).collect::<BTreeSet<_>>(), of_listed);
}

async fn due_sessions_come_most_overdue_first(stage: &Stage) {
    let store = stage.store.as_ref();
    let at = |secs| NOON + Duration::from_secs(secs);
    for (number, wake_at) in [(1, Some(at(30))), (2, Some(at(10))), (3, None), (4, Some(at(20))), (5, Some(at(40)))] {
        keep(store, Change { wake_at, ..added(&offer(number, NOON)) }).await;
    }
    let page = |now, after, limit| async move {
        let due = store.due(now, after, limit).await.unwrap();
        assert_eq!(due.more, due.wakes.len() == limit as usize);
        let due = due.wakes;
        (due.iter().map(|wake| wake.session.0.as_u128()).collect::<Vec<_>>(), due.last().copied())
    };
    let due = |now, limit| async move { page(now, None, limit).await.0 };
    assert_eq!(due(at(9), 10).await, [0; 0]);
    assert_eq!(due(at(30), 10).await, [2, 4, 1]);
    let (first, next) = page(at(30), None, 2).await;
    assert_eq!((first, next.unwrap()), (vec![2, 4], Wake { at: at(20), session: id(4) }));
    assert_eq!(page(at(30), next, 2).await.0, [1]);
    // Several at one time are told apart by their ids.
    for number in [9, 7, 8] {
        keep(store, Change { wake_at: Some(at(50)), ..added(&offer(number, NOON)) }).await;
    }
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (some, next) = page(at(50), after, 1).await;
        if some.is_empty() {
            break;
        }
        all.extend(some);
        after = next;
    }
    assert_eq!(all, [2, 4, 1, 5, 7, 8, 9]);
    // A change moves the wake time, or takes it away.
    let moved = Session::restore(Record { version: 1, ..offer(2, NOON).into_record() });
    keep(store, Change { wake_at: Some(at(35)), ..change(&moved, Some(0)) }).await;
    assert_eq!(due(at(36), 10).await, [4, 1, 2]);
    let settled = Session::restore(Record { version: 2, ..offer(2, NOON).into_record() });
    keep(store, Change { wake_at: None, ..change(&settled, Some(1)) }).await;
    assert_eq!(due(at(36), 10).await, [4, 1]);
}
