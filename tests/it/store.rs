//! The battery every store passes: nothing in it tells the engines apart.
//!
//! Each test gets a [`Stage`]: a fresh, migrated store of its own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use radhold::model::{
    ApproverKind, Binding, Counters, Identity, Nas, NasName, NodeName, OctetDirection, ReplyItem, SecondFactor, Secret,
    SessionId, Timestamp, User, UserName,
};
use radhold::policy::{Grant, HoldTerms, Terms};
use radhold::session::{
    Alert, Approval, Ask, AskState, DecidedBy, Decision, Denial, Effect, End, EndCause, Event, Outcome, Record,
    Session, State, Step, Timing, Verdict, step,
};
use radhold::store::{self, AuthAttempt, Change, Committed, OrderId, SessionQuery, Store, StoreError, Usage};
use uuid::Uuid;

use crate::postgres;

const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);

// -- the stage

/// A store of a test's own, and the way to open it again as another node would.
struct Stage {
    store: Arc<dyn Store>,
    url: String,
    home: Home,
}

/// What is removed with the stage.
#[expect(dead_code, reason = "held for its Drop")]
enum Home {
    Directory(tempfile::TempDir),
    Database(postgres::Database),
    AnotherProcess,
}

/// Set for a further process of a test: the store of the process that started it.
const SHARED_URL: &str = "RADHOLD_TEST_SHARED_STORE";

impl Stage {
    async fn sqlite() -> Self {
        if let Ok(url) = std::env::var(SHARED_URL) {
            return Self::at(url, Home::AnotherProcess).await;
        }
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/new/radhold.db", directory.path().display());
        Self::at(url, Home::Directory(directory)).await
    }

    async fn postgres() -> Self {
        if let Ok(url) = std::env::var(SHARED_URL) {
            return Self::at(url, Home::AnotherProcess).await;
        }
        let database = postgres::Database::create().await;
        Self::at(database.url().to_owned(), Home::Database(database)).await
    }

    async fn at(url: String, home: Home) -> Self {
        let store = store::open(&url).await.unwrap();
        Self { store, url, home }
    }

    /// The same store, opened once more.
    async fn another(&self) -> Arc<dyn Store> {
        store::open(&self.url).await.unwrap()
    }

    /// What no `Store` does: damage.
    async fn sql(&self, statement: &'static str) {
        if self.url.starts_with("sqlite") {
            let path = self.url.trim_start_matches("sqlite://");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            sqlx::query(statement).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

/// Runs each test against each engine, migrated; those after `unmigrated` find the store as it was created.
macro_rules! battery {
    (migrated { $($name:ident,)* } unmigrated { $($early:ident,)* }) => {
        mod sqlite {
            battery!(@engine sqlite, { $($name,)* } { $($early,)* });
        }
        mod postgres_ {
            battery!(@engine postgres, { $($name,)* } { $($early,)* });
        }
    };
    (@engine $engine:ident, { $($name:ident,)* } { $($early:ident,)* }) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let stage = super::Stage::$engine().await;
                stage.store.migrate().await.unwrap();
                super::$name(&stage).await;
            }
        )*
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $early() {
                let stage = super::Stage::$engine().await;
                super::$early(&stage, concat!(module_path!(), "::", stringify!($early))).await;
            }
        )*
    };
}

battery! {
    migrated {
    users_are_kept_as_given,
    users_have_one_name_each,
    nases_are_kept_as_given,
    bindings_belong_to_users,
    a_rich_session_comes_back_whole,
    any_session_comes_back_whole,
    what_no_column_holds_is_kept_at_its_limit,
    queries_narrow,
    open_is_what_the_machine_calls_open,
    due_sessions_come_most_overdue_first,
    a_change_needs_the_version_it_was_made_from,
    a_session_is_added_once,
    a_conflict_leaves_nothing,
    one_batch_may_change_a_session_twice,
    a_long_batch_is_kept_whole,
    of_two_racing_nodes_one_wins,
    racing_batches_do_not_lock_each_other_out,
    a_hold_lives_through_the_store,
    orders_come_oldest_first,
    an_order_is_claimed_once,
    a_lease_runs_out,
    a_node_that_starts_again_gets_its_own_orders_back,
    an_order_can_be_put_off_and_struck_off,
    an_outcome_settles_its_order,
    usage_repeats_add_nothing,
    a_decision_is_recorded,
    attempts_come_newest_first,
    a_cluster_secret_is_chosen_once,
    a_bad_row_names_its_column,
    a_bad_row_keeps_no_other_waiting,
    what_is_kept_outlives_the_process,
    ping_answers,
    }
    unmigrated {
    nodes_that_start_together_do_not_collide,
    processes_that_start_together_do_not_collide,
    }
}

// -- users, NASes, bindings

fn user(name: &str) -> User {
    User {
        name: name.into(),
        credential: Secret::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"),
        disabled: false,
        second_factor: SecondFactor::Required,
        approvers: vec![],
        permit_filter: None,
        session_timeout: None,
        reject_delay: None,
        reply: vec![],
        created_at: NOON,
    }
}

fn rich_user(name: &str) -> User {
    User {
        disabled: true,
        second_factor: SecondFactor::None,
        approvers: vec![ApproverKind::Operator, ApproverKind::Telegram],
        permit_filter: Some("gold".into()),
        session_timeout: Some(Duration::from_secs(3 * 86_400)),
        reject_delay: Some(Duration::from_micros(1_500_001)),
        reply: vec![ReplyItem { name: "Framed-IP-Address".into(), value: "10.0.0.7".into() }],
        created_at: NOON + Duration::from_micros(1),
        ..user(name)
    }
}

async fn users_are_kept_as_given(stage: &Stage) {
    let store = &stage.store;
    // Byte order, whatever the collation of the database.
    for name in ["bob", "Zoë", "alice", "DOM\\carol", "x' OR '1'='1"] {
        store.add_user(&rich_user(name)).await.unwrap();
    }
    assert_eq!(store.user(&"Zoë".into()).await.unwrap(), Some(rich_user("Zoë")));
    assert_eq!(store.user(&"zoë".into()).await.unwrap(), None);
    assert_eq!(store.user(&UserName::new("bob\0")).await.unwrap(), None);
    let names: Vec<String> = store.users().await.unwrap().into_iter().map(|user| user.name.to_string()).collect();
    assert_eq!(names, ["DOM\\carol", "Zoë", "alice", "bob", "x' OR '1'='1"]);

    store.replace_user(&user("bob")).await.unwrap();
    assert_eq!(store.user(&"bob".into()).await.unwrap(), Some(user("bob")));
    store.remove_user(&"bob".into()).await.unwrap();
    assert_eq!(store.user(&"bob".into()).await.unwrap(), None);
}

async fn users_have_one_name_each(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    assert!(matches!(store.add_user(&rich_user("alice")).await, Err(StoreError::Exists(what)) if what == "user alice"));
    assert_eq!(store.user(&"alice".into()).await.unwrap(), Some(user("alice")));
    assert!(matches!(store.replace_user(&user("bob")).await, Err(StoreError::Missing(what)) if what == "user bob"));
    assert!(matches!(store.remove_user(&"bob".into()).await, Err(StoreError::Missing(_))));
    assert!(matches!(
        store.add_user(&User { credential: Secret::new([0xff]), ..user("carol") }).await,
        Err(StoreError::Refused(_))
    ));
}

fn nas(name: &str, network: &str) -> Nas {
    Nas {
        name: name.into(),
        network: network.parse().unwrap(),
        secret: Secret::new([0, 159, 146, 150, 255]),
        dialect: "standard".into(),
        require_message_authenticator: true,
        limit_proxy_state: false,
        allow_ms_chap_v1: false,
        coa_address: None,
        coa_port: 3799,
        coa_source: None,
        reject_delay: None,
        octet_direction: OctetDirection::Standard,
        sandbox_filter: None,
        permit_filter: None,
    }
}

async fn nases_are_kept_as_given(stage: &Stage) {
    let store = &stage.store;
    let plain = nas("edge", "192.0.2.0/24");
    let rich = Nas {
        require_message_authenticator: false,
        limit_proxy_state: true,
        allow_ms_chap_v1: true,
        coa_address: Some("2001:db8::9".parse().unwrap()),
        coa_port: 65_535,
        coa_source: Some("[2001:db8::1]:40000".parse().unwrap()),
        reject_delay: Some(Duration::ZERO),
        octet_direction: OctetDirection::Swapped,
        sandbox_filter: Some("jail".into()),
        permit_filter: Some("open".into()),
        ..nas("core", "2001:db8::/64")
    };
    store.add_nas(&plain).await.unwrap();
    store.add_nas(&rich).await.unwrap();
    // Octets beside the network are dropped, as PostgreSQL's cidr demands.
    store.add_nas(&nas("lab", "198.51.100.77/24")).await.unwrap();
    assert_eq!(store.nases().await.unwrap(), [rich, plain.clone(), nas("lab", "198.51.100.0/24")]);
    assert!(matches!(store.add_nas(&plain).await, Err(StoreError::Exists(what)) if what == "NAS edge"));
    store.remove_nas(&"core".into()).await.unwrap();
    assert!(matches!(store.remove_nas(&"core".into()).await, Err(StoreError::Missing(_))));
    assert_eq!(store.nases().await.unwrap().len(), 2);
}

async fn bindings_belong_to_users(stage: &Stage) {
    let store = &stage.store;
    let binding = |address: &str, bound_at| Binding {
        user: "alice".into(),
        approver: ApproverKind::Telegram,
        address: address.into(),
        presser: "77".into(),
        bound_at,
    };
    let (old, new) = (binding("-100", NOON), binding("200", NOON + Duration::from_secs(1)));
    assert!(matches!(store.bind(&old).await, Err(StoreError::Missing(what)) if what == "user alice"));

    store.add_user(&user("alice")).await.unwrap();
    store.add_user(&user("bob")).await.unwrap();
    store.bind(&new).await.unwrap();
    store.bind(&old).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [old.clone(), new.clone()]);
    assert_eq!(store.bindings(&"bob".into()).await.unwrap(), []);

    let rebound = Binding { presser: "78".into(), bound_at: NOON + Duration::from_secs(2), ..old.clone() };
    store.bind(&rebound).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [new.clone(), rebound]);
    // The old and the rebound one are the same place.
    store.unbind(&old).await.unwrap();
    assert!(matches!(store.unbind(&old).await, Err(StoreError::Missing(_))));
    store.replace_user(&rich_user("alice")).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [new]);

    store.remove_user(&"alice".into()).await.unwrap();
    store.add_user(&user("alice")).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), []);
}

// -- sessions

fn id(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

fn grant() -> Grant {
    Grant {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        terms: Terms::Hold(HoldTerms {
            window: Duration::from_secs(120),
            grace: Duration::from_secs(30),
            approvers: vec![ApproverKind::Telegram, ApproverKind::Operator],
        }),
        session_timeout: None,
        reply: vec![],
    }
}

fn offer(number: u128, at: Timestamp) -> Session {
    let address = IpAddr::from([192, 0, 2, 1]);
    Session::offer(id(number), "alice".into(), "edge".into(), address, Identity::default(), grant(), at)
}

/// A session with something other than the default in every field.
fn rich_record(number: u128) -> Record {
    let at = |secs| NOON + Duration::from_secs(secs) + Duration::from_micros(7);
    Record {
        version: 41,
        user: "Zoë".into(),
        nas: "core".into(),
        nas_address: "2001:db8::2".parse().unwrap(),
        identity: Identity {
            nas_port: Some(u32::MAX),
            nas_port_id: Some("ether1".into()),
            nas_ip_address: Some("10.1.2.3".parse().unwrap()),
            nas_identifier: Some("gw".into()),
            calling_station_id: Some("203.0.113.9".into()),
            called_station_id: Some("vpn.example".into()),
            acct_session_id: Some("81d00a3f".into()),
            framed_ip: Some("10.8.0.2".parse().unwrap()),
            framed_ipv6_prefix: Some("2001:db8:1::1/64".parse().unwrap()),
        },
        grant: Some(Grant {
            session_timeout: Some(Duration::new(5, 9)),
            reply: vec![ReplyItem { name: "Filter-Id".into(), value: "\"quoted\" \\u0000".into() }],
            ..grant()
        }),
        state: State::Evicting,
        accepted_at: at(0),
        started_at: Some(at(1)),
        heard_at: at(2),
        deadline: Some(at(3)),
        permitted_at: Some(at(4)),
        evicting_since: Some(at(5)),
        disconnect_acked_at: Some(at(6)),
        asks: vec![
            Ask { approver: ApproverKind::Telegram, state: AskState::Sent("-100/5".into()) },
            Ask { approver: ApproverKind::Operator, state: AskState::Undeliverable("nobody there".into()) },
        ],
        decision: Some(Decision {
            verdict: Verdict::Approved,
            by: DecidedBy { approver: ApproverKind::Telegram, who: "77".into() },
            at: at(4),
        }),
        outcome: Some(Outcome::NotLifted),
        attempt: u32::MAX,
        tries: 3,
        retry_at: Some(at(7)),
        identify_fully: true,
        counters: Counters {
            input_octets: i64::MAX as u64,
            output_octets: 5_000_000_000,
            input_packets: 3,
            output_packets: 4,
            session_time: 86_400,
        },
        end: Some(End { at: at(8), cause: EndCause::NasRestart, terminate_cause: Some(10) }),
        ..offer(number, NOON).into_record()
    }
}

/// The change that makes a session what it is now, with nothing around it.
fn change(session: &Session, from_version: Option<u64>) -> Change {
    Change {
        session: session.clone(),
        from_version,
        wake_at: session.wake_at(&Timing::default()),
        orders: vec![],
        usage: None,
        settles: None,
        at: NOON,
    }
}

fn added(session: &Session) -> Change {
    change(session, None)
}

fn stepped(before: &Session, event: &Event, now: Timestamp) -> (Session, Change) {
    let Step { session, effects, .. } = step(before, event, now, &Timing::default());
    let change = Change { orders: effects, at: now, ..change(&session, Some(before.version)) };
    (session, change)
}

async fn read(store: &dyn Store, id: SessionId) -> Option<Session> {
    store.sessions_by_id(&[id]).await.unwrap().pop()
}

async fn keep(store: &dyn Store, change: Change) {
    assert_eq!(store.commit(&[change]).await.unwrap(), [Committed::Done]);
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

prop_compose! {
    fn any_record()(
        number in 1..u128::MAX,
        version in 0..i64::MAX as u64,
        texts in proptest::collection::vec(proptest::option::of("[^\0]{0,40}"), 6),
        state in proptest::sample::select(&State::ALL[..]),
        cause in proptest::option::of(proptest::sample::select(&EndCause::ALL[..])),
        times in proptest::collection::vec(proptest::option::of(-1_000_000_000_000_000i64..9_000_000_000_000_000), 9),
        numbers in any::<[u32; 4]>(),
        octets in proptest::collection::vec(0..=i64::MAX as u64, 5),
        address in any::<IpAddr>(),
        framed in proptest::option::of(any::<IpAddr>()),
        prefix in (any::<std::net::Ipv6Addr>(), 0u8..=128),
        outcome in proptest::option::of(proptest::sample::select(&[
            Outcome::Permitted, Outcome::NasUnreachable, Outcome::Denied, Outcome::Expired, Outcome::NotLifted,
            Outcome::Disconnected, Outcome::Kicked,
        ][..])),
        decided in proptest::option::of((any::<bool>(), any::<bool>())),
    ) -> Record {
        let time = |index: usize| times[index].map(Timestamp::from_micros);
        let text = |index: usize| texts[index].clone();
        Record {
            id: id(number),
            version,
            user: UserName::new(text(0).unwrap_or_default()),
            nas: NasName::new(text(1).unwrap_or_default()),
            nas_address: address,
            identity: Identity {
                nas_port: text(3).map(|_| numbers[0]),
                nas_port_id: text(2),
                nas_identifier: text(3),
                calling_station_id: text(4),
                acct_session_id: text(5),
                framed_ip: framed,
                framed_ipv6_prefix: framed.map(|_| ipnet::Ipv6Net::new(prefix.0, prefix.1).unwrap()),
                ..Identity::default()
            },
            grant: text(2).map(|filter| Grant { permit_filter: filter, ..grant() }),
            state,
            accepted_at: time(0).unwrap_or_default(),
            started_at: time(1),
            heard_at: time(2).unwrap_or_default(),
            deadline: time(3),
            permitted_at: time(4),
            evicting_since: time(5),
            disconnect_acked_at: time(6),
            asks: texts.iter().flatten().map(|reference| Ask {
                approver: ApproverKind::Telegram, state: AskState::Sent(reference.clone()),
            }).collect(),
            decision: decided.map(|(yes, telegram)| Decision {
                verdict: if yes { Verdict::Approved } else { Verdict::Denied },
                by: DecidedBy {
                    approver: if telegram { ApproverKind::Telegram } else { ApproverKind::Operator },
                    who: text(0).unwrap_or_default(),
                },
                at: time(7).unwrap_or_default(),
            }),
            outcome,
            attempt: numbers[1],
            tries: numbers[2],
            retry_at: time(8),
            identify_fully: numbers[3] % 2 == 0,
            counters: Counters {
                input_octets: octets[0],
                output_octets: octets[1],
                input_packets: octets[2],
                output_packets: octets[3],
                session_time: octets[4],
            },
            end: cause.map(|cause| End {
                at: time(8).unwrap_or_default(), cause, terminate_cause: text(4).map(|_| numbers[3]),
            }),
        }
    }
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
    with_usage.orders = vec![Effect::AlertOperator { alert: Alert::Undeliverable { reason: "\0".into() } }];
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
                limit: 9,
            },
            vec![1],
        ),
        (SessionQuery { user: Some("alice' --".into()), ..all }, vec![]),
    ] {
        let found: Vec<u128> =
            store.sessions(&query).await.unwrap().iter().map(|session| session.id.0.as_u128()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
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
    let due = store.due(NOON, 100).await.unwrap();
    assert_eq!(due.iter().map(|session| session.state).collect::<BTreeSet<_>>(), open);
}

async fn due_sessions_come_most_overdue_first(stage: &Stage) {
    let store = stage.store.as_ref();
    let at = |secs| NOON + Duration::from_secs(secs);
    for (number, wake_at) in [(1, Some(at(30))), (2, Some(at(10))), (3, None), (4, Some(at(20))), (5, Some(at(40)))] {
        keep(store, Change { wake_at, ..added(&offer(number, NOON)) }).await;
    }
    let due = |now, limit| async move {
        store.due(now, limit).await.unwrap().iter().map(|session| session.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(due(at(9), 10).await, [0; 0]);
    assert_eq!(due(at(30), 10).await, [2, 4, 1]);
    assert_eq!(due(at(30), 2).await, [2, 4]);
    // A change moves the wake time, or takes it away.
    let moved = Session::restore(Record { version: 1, ..offer(2, NOON).into_record() });
    keep(store, Change { wake_at: Some(at(35)), ..change(&moved, Some(0)) }).await;
    assert_eq!(due(at(36), 10).await, [4, 1, 2]);
    let settled = Session::restore(Record { version: 2, ..offer(2, NOON).into_record() });
    keep(store, Change { wake_at: None, ..change(&settled, Some(1)) }).await;
    assert_eq!(due(at(36), 10).await, [4, 1]);
}

// -- who wins

async fn a_change_needs_the_version_it_was_made_from(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    // There is nothing to change yet.
    assert_eq!(store.commit(&[change(&offered, Some(0))]).await.unwrap(), [Committed::Conflict]);
    assert_eq!(read(store, id(1)).await, None);

    keep(store, added(&offered)).await;
    let (asked, first) = stepped(&offered, &Event::Accepted, NOON);
    keep(store, first.clone()).await;
    assert_eq!(store.commit(&[first]).await.unwrap(), [Committed::Conflict]);
    let ahead = Session::restore(Record { version: 9, ..asked.clone().into_record() });
    assert_eq!(store.commit(&[change(&ahead, Some(8))]).await.unwrap(), [Committed::Conflict]);
    assert_eq!(read(store, id(1)).await.unwrap(), asked);
}

async fn a_session_is_added_once(stage: &Stage) {
    let store = stage.store.as_ref();
    let first = offer(1, NOON);
    let second = offer(1, NOON + Duration::from_secs(1));
    assert_eq!(store.commit(&[added(&first), added(&second)]).await.unwrap(), [Committed::Done, Committed::Conflict]);
    assert_eq!(store.commit(&[added(&second)]).await.unwrap(), [Committed::Conflict]);
    assert_eq!(read(store, id(1)).await.unwrap(), first);
}

fn usage(session: &Session, from: u64, to: u64, octets: u64) -> Usage {
    Usage {
        session: session.id,
        user: session.user.clone(),
        nas: session.nas.clone(),
        from: NOON + Duration::from_secs(from),
        to: NOON + Duration::from_secs(to),
        added: Counters { input_octets: octets, output_octets: octets * 2, ..Counters::default() },
    }
}

async fn a_conflict_leaves_nothing(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let decided = |number| Session::restore(Record { id: id(number), version: 1, ..rich_record(number) });
    let order = Effect::SendCoa { attempt: 1 };
    keep(store, Change { orders: vec![order.clone()], ..added(&offer(1, NOON)) }).await;
    keep(store, added(&offer(2, NOON))).await;
    let held = store.claim(&node, NOON, Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(held.len(), 1);

    let loser = |session: &Session, from_version| Change {
        orders: vec![Effect::SendDisconnect { attempt: 5 }],
        usage: Some(usage(session, 0, 60, 100)),
        settles: Some(held[0].id),
        ..change(session, from_version)
    };
    let winner = Change { orders: vec![Effect::SendCoa { attempt: 2 }], ..change(&decided(2), Some(0)) };
    let kept = store.commit(&[loser(&decided(1), Some(7)), winner, loser(&decided(1), None)]).await.unwrap();
    assert_eq!(kept, [Committed::Conflict, Committed::Done, Committed::Conflict]);

    assert_eq!(read(store, id(1)).await.unwrap(), offer(1, NOON));
    assert_eq!(store.usage(id(1)).await.unwrap(), []);
    let report = stage.decisions().await;
    assert_eq!(report, [(id(2), "approved".to_owned(), "telegram".to_owned(), "77".to_owned())]);
    // The losers' order was not added, and the one they would have settled is still there.
    let later = NOON + Duration::from_secs(61);
    let orders: Vec<Effect> =
        store.claim(&node, later, Duration::from_secs(60), 10).await.unwrap().into_iter().map(|o| o.effect).collect();
    assert_eq!(orders, [order, Effect::SendCoa { attempt: 2 }]);
}

async fn one_batch_may_change_a_session_twice(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    let (asked, first) = stepped(&offered, &Event::Accepted, NOON);
    let (approved, second) = stepped(&asked, &Event::Approved(Approval::by_operator("root")), NOON);
    let stale = change(&asked, Some(0));
    let kept = store.commit(&[added(&offered), first, stale, second]).await.unwrap();
    assert_eq!(kept, [Committed::Done, Committed::Done, Committed::Conflict, Committed::Done]);
    assert_eq!(read(store, id(1)).await.unwrap(), approved);
    assert_eq!(store.claim(&"n1".into(), NOON, Duration::from_secs(1), 10).await.unwrap().len(), 1);
}

async fn a_long_batch_is_kept_whole(stage: &Stage) {
    let store = stage.store.as_ref();
    assert_eq!(store.commit(&[]).await.unwrap(), []);
    let mut changes = Vec::new();
    for number in (0..500).rev() {
        let session = offer(number, NOON);
        let usage = Some(usage(&session, 0, 60, 1));
        changes.push(Change { orders: vec![Effect::SendCoa { attempt: 1 }], usage, ..added(&session) });
    }
    let kept = store.commit(&changes).await.unwrap();
    assert_eq!(kept, vec![Committed::Done; 500]);
    assert_eq!(store.sessions(&SessionQuery::default()).await.unwrap().len(), 500);
    assert_eq!(store.usage(id(499)).await.unwrap().len(), 1);
    assert_eq!(store.claim(&"n1".into(), NOON, Duration::from_secs(1), 1000).await.unwrap().len(), 500);
}

async fn of_two_racing_nodes_one_wins(stage: &Stage) {
    let (a, b) = (stage.another().await, stage.another().await);
    for number in 0..20 {
        let (held, _) = stepped(&offer(number, NOON), &Event::Accepted, NOON);
        keep(a.as_ref(), added(&held)).await;
        let (yes, yes_change) = stepped(&held, &Event::Approved(Approval::by_operator("yes")), NOON);
        let (no, no_change) = stepped(&held, &Event::Denied(Denial::by_operator("no")), NOON);
        let (yes_change, no_change) = ([yes_change], [no_change]);
        let (of_a, of_b) = tokio::join!(a.commit(&yes_change), b.commit(&no_change));
        let kept = read(b.as_ref(), id(number)).await.unwrap();
        match (of_a.unwrap()[0], of_b.unwrap()[0]) {
            (Committed::Done, Committed::Conflict) => assert_eq!(kept, yes),
            (Committed::Conflict, Committed::Done) => assert_eq!(kept, no),
            both => panic!("{both:?}"),
        }
    }
    // The same for adding.
    for number in 100..120 {
        let change = [added(&offer(number, NOON))];
        let (of_a, of_b) = tokio::join!(a.commit(&change), b.commit(&change));
        let mut both = [of_a.unwrap()[0], of_b.unwrap()[0]];
        both.sort_by_key(|kept| *kept == Committed::Conflict);
        assert_eq!(both, [Committed::Done, Committed::Conflict]);
    }
}

async fn racing_batches_do_not_lock_each_other_out(stage: &Stage) {
    const SESSIONS: u128 = 30;
    let sessions: Vec<Session> = (0..SESSIONS).map(|number| offer(number, NOON)).collect();
    let changes: Vec<Change> = sessions.iter().map(added).collect();
    stage.store.commit(&changes).await.unwrap();

    // Each node goes through the same sessions in another order, and adds new ones the others add as well.
    let mut nodes = tokio::task::JoinSet::new();
    for turn in 0..4usize {
        let store = stage.another().await;
        nodes.spawn(async move {
            let mut won = 0;
            for version in 0..10 {
                let mut batch: Vec<Change> = (0..SESSIONS)
                    .map(|number| {
                        let next = Record { version: version + 1, ..offer(number, NOON).into_record() };
                        change(&Session::restore(next), Some(version))
                    })
                    .chain((0..5).map(|new| added(&offer(1000 + u128::from(version) * 5 + new, NOON))))
                    .collect();
                let length = batch.len();
                batch.rotate_left(turn * 9 % length);
                if turn % 2 == 1 {
                    batch.reverse();
                }
                // Until everybody is at the next version, somebody must win.
                won += store.commit(&batch).await.unwrap().iter().filter(|kept| **kept == Committed::Done).count();
            }
            won
        });
    }
    let won: usize = nodes.join_all().await.into_iter().sum();
    let all = stage.store.sessions(&SessionQuery::default()).await.unwrap();
    let changed: u64 = all.iter().map(|session| session.version).sum();
    assert_eq!(all.len(), 30 + 50);
    assert_eq!(won as u64, changed + 50, "each change was won once");
    assert_eq!(changed, 300);
}

/// The machine and the store together: the life of a hold, read back at each step.
async fn a_hold_lives_through_the_store(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let report = |secs, octets| radhold::accounting::Report {
        at: NOON + Duration::from_secs(secs),
        counters: Counters { input_octets: octets, ..Counters::default() },
        ..Default::default()
    };
    keep(store, added(&offer(1, NOON))).await;
    for (secs, event, state, ordered) in [
        (0, Event::Accepted, State::Offered, "ask-approver"),
        (1, Event::PromptSent { approver: ApproverKind::Telegram, reference: "r".into() }, State::Offered, ""),
        (2, Event::Started(report(2, 0)), State::Held, ""),
        (3, Event::Approved(Approval::by_operator("root")), State::Permitting, "send-coa"),
        (4, Event::CoaAcked { attempt: 1 }, State::Permitted, "tell-approver"),
        (60, Event::Interim(report(60, 1000)), State::Permitted, ""),
        (70, Event::Kicked(Denial::by_operator("root")), State::Evicting, "send-disconnect tell-approver"),
        (71, Event::Stopped(report(71, 1500)), State::Closed, ""),
    ] {
        let now = NOON + Duration::from_secs(secs);
        let before = read(store, id(1)).await.unwrap();
        let (after, change) = stepped(&before, &event, now);
        let settles = None;
        keep(store, Change { settles, ..change }).await;
        assert_eq!(read(store, id(1)).await.unwrap(), after);
        assert_eq!(after.state, state, "{event:?}");
        let mut orders = Vec::new();
        for order in store.claim(&node, now, Duration::from_secs(60), 10).await.unwrap() {
            assert_eq!((order.session, order.ordered_at, order.attempts), (id(1), now, 0));
            store.finish(order.id).await.unwrap();
            orders.push(order.effect.as_str());
        }
        assert_eq!(orders.join(" "), ordered, "{event:?}");
    }
}

// -- the outbox

async fn order(store: &dyn Store, number: u128, secs: u64) {
    let at = NOON + Duration::from_secs(secs);
    let orders = vec![Effect::SendCoa { attempt: u32::try_from(number).unwrap() }];
    keep(store, Change { orders, at, ..added(&offer(number, NOON)) }).await;
}

async fn orders_come_oldest_first(stage: &Stage) {
    let store = stage.store.as_ref();
    for (number, secs) in [(1, 30), (2, 10), (3, 20), (4, 10), (5, 99)] {
        order(store, number, secs).await;
    }
    let effects = [
        Effect::AskApprover { approver: ApproverKind::Operator },
        Effect::TellApprover {
            approver: ApproverKind::Telegram,
            reference: "-100/5".into(),
            outcome: Outcome::NasUnreachable,
        },
        Effect::SendCoa { attempt: 3 },
        Effect::SendDisconnect { attempt: u32::MAX },
        Effect::AlertOperator { alert: Alert::CoaRefused { error_cause: Some(401) } },
        Effect::AlertOperator { alert: Alert::AckWithoutEffect },
    ];
    let at = NOON + Duration::from_secs(5);
    keep(store, Change { orders: effects.to_vec(), at, ..added(&offer(6, NOON)) }).await;

    let now = NOON + Duration::from_secs(30);
    let node = NodeName::new("n1");
    let first = store.claim(&node, now, Duration::from_secs(60), 6).await.unwrap();
    assert_eq!(first.iter().map(|order| &order.effect).collect::<Vec<_>>(), effects.iter().collect::<Vec<_>>());
    let rest = store.claim(&node, now, Duration::from_secs(60), 100).await.unwrap();
    let sessions: Vec<u128> = rest.iter().map(|order| order.session.0.as_u128()).collect();
    assert_eq!(sessions, [2, 4, 3, 1]);
    assert_eq!(rest[2].ordered_at, NOON + Duration::from_secs(20));
}

async fn an_order_is_claimed_once(stage: &Stage) {
    const ORDERS: usize = 120;
    let orders = (0..ORDERS).map(|attempt| Effect::SendCoa { attempt: u32::try_from(attempt).unwrap() }).collect();
    keep(stage.store.as_ref(), Change { orders, ..added(&offer(1, NOON)) }).await;
    let mut claimers = tokio::task::JoinSet::new();
    for claimer in 0..8 {
        let store = stage.another().await;
        claimers.spawn(async move {
            let node = NodeName::new(format!("n{claimer}"));
            let mut mine = Vec::new();
            loop {
                let claimed = store.claim(&node, NOON, Duration::from_secs(60), 7).await.unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                assert!(claimed.iter().all(|order| order.attempts == 0));
                mine.extend(claimed.into_iter().map(|order| order.id));
            }
        });
    }
    let all: Vec<OrderId> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.len(), ORDERS);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), ORDERS);
}

async fn a_lease_runs_out(stage: &Stage) {
    let (a, b) = (stage.another().await, stage.another().await);
    order(a.as_ref(), 1, 0).await;
    let lease = Duration::from_secs(30);
    let claimed = a.claim(&"a".into(), NOON, lease, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 0));
    assert_eq!(b.claim(&"b".into(), NOON + Duration::from_secs(29), lease, 10).await.unwrap(), []);
    // Its own claimer does not get it twice either.
    assert_eq!(a.claim(&"a".into(), NOON + Duration::from_secs(29), lease, 10).await.unwrap(), []);
    let again = b.claim(&"b".into(), NOON + Duration::from_secs(30), lease, 10).await.unwrap();
    assert_eq!((again.len(), again[0].id, again[0].attempts), (1, claimed[0].id, 1));
}

async fn a_node_that_starts_again_gets_its_own_orders_back(stage: &Stage) {
    let store = stage.store.as_ref();
    order(store, 1, 0).await;
    order(store, 2, 0).await;
    let lease = Duration::from_secs(600);
    let before = store.claim(&"a".into(), NOON, lease, 1).await.unwrap();
    let others = store.claim(&"b".into(), NOON, lease, 1).await.unwrap();
    store.release(&"a".into()).await.unwrap();
    let again = store.claim(&"a".into(), NOON, lease, 10).await.unwrap();
    assert_eq!(again.iter().map(|order| order.id).collect::<Vec<_>>(), [before[0].id], "not {:?}", others[0].id);
}

async fn an_order_can_be_put_off_and_struck_off(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let lease = Duration::from_secs(600);
    order(store, 1, 0).await;
    let claimed = store.claim(&node, NOON, lease, 10).await.unwrap();
    let later = NOON + Duration::from_secs(15);
    store.postpone(claimed[0].id, later, "429 Too Many Requests").await.unwrap();
    assert_eq!(store.claim(&node, NOON + Duration::from_secs(14), lease, 10).await.unwrap(), []);
    let again = store.claim(&node, later, lease, 10).await.unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].ordered_at), (1, 1, NOON));

    store.finish(again[0].id).await.unwrap();
    assert_eq!(store.claim(&node, later + lease + lease, lease, 10).await.unwrap(), []);
    // Done twice is harmless, and nothing comes back.
    store.finish(again[0].id).await.unwrap();
    store.postpone(again[0].id, later, "too late").await.unwrap();
    assert_eq!(store.claim(&node, later + lease + lease, lease, 10).await.unwrap(), []);
    order(store, 2, 0).await;
    let fresh = store.claim(&node, NOON, lease, 10).await.unwrap();
    assert!(fresh[0].id > again[0].id, "the number of an order is not used again");
}

async fn an_outcome_settles_its_order(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let lease = Duration::from_secs(10);
    let offered = offer(1, NOON);
    keep(store, Change { orders: vec![Effect::SendCoa { attempt: 1 }], ..added(&offered) }).await;
    let claimed = store.claim(&node, NOON, lease, 10).await.unwrap();

    let (asked, first) = stepped(&offered, &Event::Accepted, NOON);
    keep(store, Change { orders: vec![], settles: Some(claimed[0].id), ..first }).await;
    let much_later = NOON + Duration::from_secs(1000);
    assert_eq!(store.claim(&node, much_later, lease, 10).await.unwrap(), []);
    // Somebody else settled it already: the change is kept all the same.
    let (sent, second) =
        stepped(&asked, &Event::PromptSent { approver: ApproverKind::Telegram, reference: "r".into() }, NOON);
    keep(store, Change { settles: Some(claimed[0].id), ..second }).await;
    assert_eq!(read(store, id(1)).await.unwrap(), sent);
}

// -- records

async fn usage_repeats_add_nothing(stage: &Stage) {
    let store = stage.store.as_ref();
    let mut version = 0;
    keep(store, added(&offer(1, NOON))).await;
    let mut report = async |usage: Usage| {
        let session = Session::restore(Record { version: version + 1, ..offer(1, NOON).into_record() });
        keep(store, Change { usage: Some(usage), ..change(&session, Some(version)) }).await;
        version += 1;
    };
    let session = offer(1, NOON);
    let (first, second) = (usage(&session, 0, 60, 100), usage(&session, 60, 120, 5_000_000_000));
    // Two reports in one second (an Interim-Update and the Stop) are two.
    let third = usage(&session, 120, 120, 7);
    report(second.clone()).await;
    report(first.clone()).await;
    report(third.clone()).await;
    report(first.clone()).await;
    report(Usage { added: Counters::default(), ..second.clone() }).await;
    assert_eq!(store.usage(id(1)).await.unwrap(), [first, second, third]);
    assert_eq!(store.usage(id(2)).await.unwrap(), []);
}

impl Stage {
    async fn decisions(&self) -> Vec<(SessionId, String, String, String)> {
        const ALL: &str =
            "SELECT CAST(session_id AS text), verdict, approver, who FROM decisions ORDER BY 1, decided_at";
        type Row = (String, String, String, String);
        let rows: Vec<Row> = if let Some(path) = self.url.strip_prefix("sqlite://") {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            sqlx::query_as(ALL).fetch_all(&pool).await.unwrap()
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::query_as(ALL).fetch_all(&pool).await.unwrap()
        };
        rows.into_iter().map(|(id, verdict, approver, who)| (id.parse().unwrap(), verdict, approver, who)).collect()
    }
}

async fn a_decision_is_recorded(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    keep(store, added(&offered)).await;
    assert_eq!(stage.decisions().await, []);
    let (approved, yes) = stepped(&offered, &Event::Approved(Approval::by_operator("root")), NOON);
    keep(store, yes).await;
    let decided = (id(1), "approved".to_owned(), "operator".to_owned(), "root".to_owned());
    assert_eq!(stage.decisions().await, [decided.clone()]);
    // Changes after it do not write it again.
    let (asked, next) = stepped(&approved, &Event::Accepted, NOON);
    keep(store, next).await;
    assert_eq!(stage.decisions().await, [decided.clone()]);
    // A kick before Start overrides it, and both are on record.
    let (_, kicked) = stepped(&asked, &Event::Kicked(Denial::by_operator("eve")), NOON + Duration::from_secs(1));
    keep(store, kicked).await;
    let overridden = (id(1), "denied".to_owned(), "operator".to_owned(), "eve".to_owned());
    assert_eq!(stage.decisions().await, [decided, overridden]);
}

async fn attempts_come_newest_first(stage: &Stage) {
    let store = stage.store.as_ref();
    let attempt = |secs, user: &str| AuthAttempt {
        at: NOON + Duration::from_secs(secs),
        user: user.into(),
        nas: "edge".into(),
        nas_address: "192.0.2.1".parse().unwrap(),
        calling_station_id: None,
        method: "ms-chap-v2".into(),
        outcome: "accepted".into(),
        session: None,
    };
    let rich = AuthAttempt {
        nas_address: "2001:db8::5".parse().unwrap(),
        calling_station_id: Some("203.0.113.9".into()),
        session: Some(id(5)),
        ..attempt(20, "Zoë")
    };
    store.record_attempts(&[]).await.unwrap();
    store.record_attempts(&[rich.clone(), attempt(10, "alice")]).await.unwrap();
    store.record_attempts(&[attempt(10, "bob\0")]).await.unwrap();
    assert_eq!(store.attempts(10).await.unwrap(), [rich.clone(), attempt(10, "bob\u{FFFD}"), attempt(10, "alice")]);
    assert_eq!(store.attempts(1).await.unwrap(), [rich]);
}

async fn a_cluster_secret_is_chosen_once(stage: &Stage) {
    let mut nodes = tokio::task::JoinSet::new();
    for node in 0..8u8 {
        let store = stage.another().await;
        nodes.spawn(async move { store.cluster_secret("class", &Secret::new([node; 32])).await.unwrap() });
    }
    let chosen = nodes.join_all().await;
    assert!(chosen.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(chosen[0].expose().len(), 32);
    let other = Secret::new("another name, another secret");
    assert_eq!(stage.store.cluster_secret("button", &other).await.unwrap(), other);
    assert_eq!(stage.store.cluster_secret("class", &other).await.unwrap(), chosen[0]);
}

// -- trouble

async fn a_bad_row_names_its_column(stage: &Stage) {
    let store = stage.store.as_ref();
    keep(store, added(&offer(1, NOON))).await;
    store.add_user(&user("alice")).await.unwrap();
    let column = |error: StoreError| match error {
        StoreError::BadRow { table, column, .. } => format!("{table}.{column}"),
        other => panic!("{other:?}"),
    };
    stage.sql("UPDATE sessions SET state = 'nonsense'").await;
    assert_eq!(column(store.sessions_by_id(&[id(1)]).await.unwrap_err()), "sessions.state");
    stage.sql("UPDATE sessions SET state = 'held', attempt = -1").await;
    assert_eq!(column(store.sessions(&SessionQuery::default()).await.unwrap_err()), "sessions.attempt");
    stage.sql("UPDATE sessions SET attempt = 0, asks = '[\"x\"]'").await;
    assert_eq!(column(store.sessions_by_id(&[id(1)]).await.unwrap_err()), "sessions.asks");
    // A decision without anybody who made it would be no proof.
    stage.sql("UPDATE sessions SET asks = '[]', decision = 'approved'").await;
    assert_eq!(column(store.sessions_by_id(&[id(1)]).await.unwrap_err()), "sessions.decided_via");
    stage.sql("UPDATE users SET second_factor = 'maybe'").await;
    assert_eq!(column(store.user(&"alice".into()).await.unwrap_err()), "users.second_factor");
}

async fn a_bad_row_keeps_no_other_waiting(stage: &Stage) {
    let store = stage.store.as_ref();
    for number in 1..=3 {
        let orders = vec![Effect::SendCoa { attempt: 1 }];
        keep(store, Change { orders, wake_at: Some(NOON), ..added(&offer(number, NOON)) }).await;
    }
    stage.sql("UPDATE sessions SET state = 'from-the-future' WHERE id = '00000000-0000-0000-0000-000000000001'").await;
    stage
        .sql(
            "UPDATE outbox SET effect = '{\"order\": \"send-flowers\"}'
             WHERE session_id = '00000000-0000-0000-0000-000000000002'",
        )
        .await;
    let due: Vec<SessionId> = store.due(NOON, 10).await.unwrap().iter().map(|session| session.id).collect();
    assert_eq!(due, [id(2), id(3)]);
    let claimed = store.claim(&"n1".into(), NOON, Duration::from_secs(1), 10).await.unwrap();
    assert_eq!(claimed.iter().map(|order| order.session).collect::<Vec<_>>(), [id(1), id(3)]);
}

async fn what_is_kept_outlives_the_process(stage: &Stage) {
    keep(stage.store.as_ref(), added(&offer(1, NOON))).await;
    let reopened = stage.another().await;
    reopened.migrate().await.unwrap();
    assert_eq!(read(reopened.as_ref(), id(1)).await, Some(offer(1, NOON)));
}

async fn ping_answers(stage: &Stage) {
    stage.store.ping().await.unwrap();
}

async fn nodes_that_start_together_do_not_collide(stage: &Stage, _: &str) {
    let mut nodes = tokio::task::JoinSet::new();
    for node in 0..8u8 {
        let url = stage.url.clone();
        nodes.spawn(async move {
            let store = store::open(&url).await.unwrap();
            store.migrate().await.unwrap();
            store.cluster_secret("class", &Secret::new([node])).await.unwrap();
        });
    }
    nodes.join_all().await;
    stage.store.migrate().await.unwrap();
    keep(stage.store.as_ref(), added(&offer(1, NOON))).await;
}

/// Starts this very test in further processes, which find in their environment which store to migrate.
async fn processes_that_start_together_do_not_collide(stage: &Stage, this_test: &str) {
    if matches!(stage.home, Home::AnotherProcess) {
        stage.store.migrate().await.unwrap();
        keep(stage.store.as_ref(), added(&offer(u128::from(std::process::id()), NOON))).await;
        return;
    }
    let (_, name) = this_test.split_once("::").unwrap();
    let processes: Vec<_> = (0..4)
        .map(|_| {
            let mut process = Command::new(std::env::current_exe().unwrap());
            process.args(["--exact", name]).env(SHARED_URL, &stage.url).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(stage.store.sessions(&SessionQuery::default()).await.unwrap().len(), 4);
}
