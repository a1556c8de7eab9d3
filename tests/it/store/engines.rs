//! What one engine alone promises: native types and reports in PostgreSQL, a private file in SQLite, and addresses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use ipnet::IpNet;
use radhold::model::{Counters, Timestamp};
use radhold::session::{Effect, Record, Session};
use radhold::store::{self, Change, Committed, StoreError, Usage};
use sqlx::{Connection as _, SqliteConnection};

use super::Stage;
use super::fixtures::{NOON, added, change, id, keep, offer, read, rich_record, usage, waived};
use crate::port::own_address;
use crate::postgres;

#[tokio::test]
async fn postgres_keeps_native_types() {
    let database = postgres::Database::create().await;
    store::open(database.url()).await.unwrap().migrate().await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name || '.' || column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    let columns: BTreeMap<String, String> = columns.into_iter().collect();
    for (column, native) in [
        ("sessions.id", "uuid"),
        ("sessions.framed_ip", "inet"),
        ("sessions.nas_address", "inet"),
        ("sessions.accepted_at", "timestamp with time zone"),
        ("sessions.wake_at", "timestamp with time zone"),
        ("sessions.input_octets", "bigint"),
        ("sessions.granted", "jsonb"),
        ("sessions.asks", "jsonb"),
        ("users.reply", "jsonb"),
        ("users.session_timeout", "interval"),
        ("nases.network", "cidr"),
        ("nases.secret", "bytea"),
        ("outbox.effect", "jsonb"),
        ("usage.session_id", "uuid"),
        ("usage.to_at", "timestamp with time zone"),
        ("usage.output_octets", "bigint"),
        ("auth_attempts.nas_address", "inet"),
        ("report_sessions.framed_ip", "inet"),
        ("report_sessions.started_at", "timestamp with time zone"),
        ("report_sessions.output_octets", "bigint"),
        ("report_usage.output_octets", "bigint"),
    ] {
        assert_eq!(columns.get(column).map(String::as_str), Some(native), "{column}");
    }
}

/// Autovacuum looks once in a minute.
#[tokio::test]
async fn postgres_gives_back_the_room_of_many_orders() {
    let database = postgres::Database::create().await;
    let store = store::open(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    let pool = database.pool().await;
    sqlx::query("ALTER TABLE outbox SET (autovacuum_enabled = false)").execute(&pool).await.unwrap();
    let orders = (1..=2500).map(|attempt| Effect::SendCoa { attempt }).collect();
    keep(store.as_ref(), Change { orders, ..added(&offer(1, NOON)) }).await;
    store.tidy_orders().await.unwrap();
    let claimed = store.claim(&"n1".into(), None, NOON, Duration::from_secs(1), 2500).await.unwrap();
    store.finish(&claimed.iter().map(|order| order.id).collect::<Vec<_>>()).await.unwrap();
    let begun = Instant::now();
    loop {
        store.tidy_orders().await.unwrap();
        // What a backend did is on its record a moment later.
        let of_outbox = "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'outbox'";
        let times: i64 = sqlx::query_scalar(of_outbox).fetch_one(&pool).await.unwrap();
        if times > 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the outbox is never tidied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn postgres_explains_itself_to_analysts() {
    let database = postgres::Database::create().await;
    store::open(database.url()).await.unwrap().migrate().await.unwrap();
    let silent: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname <> '_sqlx_migrations'
             AND obj_description(oid, 'pg_class') IS NULL",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    assert_eq!(silent, [""; 0], "tables and views without a comment");
}

#[tokio::test]
async fn postgres_answers_reports() {
    let database = postgres::Database::create().await;
    let store = store::open(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    const DAY: u64 = 86_400;
    // Two users; alice calls from 10.8/16 on two days, with more octets than 32 bits hold; bob from elsewhere.
    for (number, user, framed_ip, day, octets) in [
        (1, "alice", "10.8.0.2", 0, 5_000_000_000),
        (2, "alice", "10.8.3.4", 0, 1),
        (3, "alice", "10.8.0.2", 1, 7),
        (4, "bob", "10.9.0.2", 1, 11),
    ] {
        let mut record = offer(number, NOON + Duration::from_secs(day * DAY)).into_record();
        record.user = user.into();
        record.identity.framed_ip = Some(framed_ip.parse().unwrap());
        let session = Session::restore(record);
        let usage = vec![usage(&session, day * DAY, day * DAY + 60, octets)];
        keep(store.as_ref(), Change { usage, ..added(&session) }).await;
    }
    let pool = database.pool().await;

    let per_day: Vec<(String, NaiveDate, i64)> = sqlx::query_as(
        "SELECT user_name, day, sum(input_octets + output_octets)::bigint
         FROM report_usage GROUP BY user_name, day ORDER BY user_name, day",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
    assert_eq!(
        per_day,
        [
            ("alice".to_owned(), day(20), 15_000_000_003),
            ("alice".to_owned(), day(21), 21),
            ("bob".to_owned(), day(21), 33)
        ]
    );

    let per_network: Vec<(IpNet, i64)> = sqlx::query_as(
        "SELECT network(set_masklen(framed_ip, 24)) AS net, count(*) FROM report_sessions
         WHERE framed_ip << inet '10.8.0.0/16' GROUP BY net ORDER BY net",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(per_network, [("10.8.0.0/24".parse().unwrap(), 2), ("10.8.3.0/24".parse().unwrap(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_deadlocks_are_tried_again() {
    let stage = Stage::postgres("").await.migrated().await;
    let session = |number, version| Session::restore(Record { version, ..offer(number, NOON).into_record() });
    for number in [1, 2] {
        keep(stage.store.as_ref(), added(&session(number, 0))).await;
    }
    let pool = sqlx::PgPool::connect(&stage.url).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    let lock = |number: u128| sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE").bind(id(number).0);
    sqlx::query("BEGIN").execute(&mut *other).await.unwrap();
    lock(2).execute(&mut *other).await.unwrap();

    let store = stage.another().await;
    let commit = tokio::spawn(async move {
        store.commit(&[change(&session(1, 1), Some(0)), change(&session(2, 1), Some(0))]).await.unwrap()
    });
    // At first it waits for a moment only, and then with locks in order.
    while waiting(&pool, &commit).await.is_some_and(|(_, query)| !query.contains("FOR NO KEY UPDATE")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Now PostgreSQL ends one of the two.
    let _ = lock(1).execute(&mut *other).await;
    sqlx::query("ROLLBACK").execute(&mut *other).await.unwrap();
    assert_eq!(commit.await.unwrap(), [Committed::Done; 2]);
}

/// Sessions that come with nothing else are added by a statement without a transaction around it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_deadlocks_of_new_sessions_are_tried_again() {
    let stage = Stage::postgres("").await.migrated().await;
    let both = [added(&waived(1, NOON)), added(&waived(2, NOON))];
    stage.store.commit(&both).await.unwrap();
    let pool = sqlx::PgPool::connect(&stage.url).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    for prepare in ["CREATE TEMP TABLE gone AS SELECT * FROM sessions", "DELETE FROM sessions", "BEGIN"] {
        sqlx::query(prepare).execute(&mut *other).await.unwrap();
    }
    let add = |number| sqlx::query("INSERT INTO sessions SELECT * FROM gone WHERE id = $1").bind(id(number).0);
    add(2).execute(&mut *other).await.unwrap();

    let store = stage.another().await;
    let commit = tokio::spawn(async move { store.commit(&both).await.unwrap() });
    let since = waiting(&pool, &commit).await.expect("somebody else adds one of them");
    // In a transaction nobody would be waited for as long, and all be begun anew.
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(waiting(&pool, &commit).await, Some(since));
    // Whichever of them PostgreSQL ends: the other has added both, or none.
    let is_added = add(1).execute(&mut *other).await.is_ok();
    sqlx::query(if is_added { "COMMIT" } else { "ROLLBACK" }).execute(&mut *other).await.unwrap();
    let kept = if is_added { Committed::Conflict } else { Committed::Done };
    assert_eq!(commit.await.unwrap(), [kept; 2]);
}

/// Waits until a statement waits for a lock; when it began, and what it is. `None` when `commit` has ended instead.
async fn waiting<T>(pool: &sqlx::PgPool, commit: &tokio::task::JoinHandle<T>) -> Option<(String, String)> {
    let waiting = "SELECT query_start::text, query FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !commit.is_finished() {
        let found = sqlx::query_as(waiting).fetch_optional(pool).await.unwrap();
        if found.is_some() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

#[tokio::test]
async fn sqlite_keeps_its_file_to_itself() {
    let stage = Stage::sqlite("").await.migrated().await;
    keep(stage.store.as_ref(), added(&offer(1, NOON))).await;
    let path = Path::new(stage.url.strip_prefix("sqlite://").unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(stage.sql("PRAGMA journal_mode").await, [[Some("wal".to_owned())]]);
}

#[tokio::test]
async fn sqlite_calls_for_the_next_changes_when_these_have_had_their_turn() {
    let stage = Stage::sqlite("").await.migrated().await;
    let mut other = SqliteConnection::connect(&stage.url).await.unwrap();
    let others = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let (store, called) = (Arc::clone(&stage.store), Arc::new(AtomicBool::new(false)));
    let call = Arc::clone(&called);
    let keeping = tokio::spawn(async move {
        let changes = [added(&offer(1, NOON))];
        store.commit_claiming(&changes, None, &|| call.store(true, Ordering::Relaxed)).await.unwrap().committed
    });
    // Long enough for what could have begun.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!called.load(Ordering::Relaxed), "it is another's turn");
    others.rollback().await.unwrap();
    assert_eq!(keeping.await.unwrap(), [Committed::Done]);
    assert!(called.load(Ordering::Relaxed));
}

#[tokio::test]
async fn sqlite_brings_what_is_in_its_wal_into_its_file() {
    let stage = Stage::sqlite("").await.migrated().await;
    let path = Path::new(stage.url.strip_prefix("sqlite://").unwrap());
    let before = path.metadata().unwrap().len();
    for batch in 0..10u128 {
        let changes: Vec<Change> = (0..200).map(|number| added(&offer(batch * 200 + number, NOON))).collect();
        stage.store.commit(&changes).await.unwrap();
    }
    // Far less than SQLite would do that for by itself.
    let until = Instant::now() + Duration::from_secs(30);
    while path.metadata().unwrap().len() < before + 500_000 {
        assert!(Instant::now() < until, "{} octets, and before {before}", path.metadata().unwrap().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sqlite_shows_times_as_rfc_3339() {
    let stage = Stage::sqlite("").await.migrated().await;
    let record = Record { started_at: Some(NOON + Duration::from_millis(1500)), ..rich_record(1) };
    let session = Session::restore(record);
    let usage = Usage { from: Timestamp::from_secs(0), added: Counters::default(), ..usage(&session, 0, 1, 0) };
    keep(stage.store.as_ref(), Change { usage: vec![usage], ..added(&session) }).await;
    let shown = stage.sql("SELECT started_at FROM report_sessions").await;
    assert_eq!(shown, [[Some("2026-11-20T12:00:01.500Z".to_owned())]]);
    let shown = stage.sql("SELECT from_at, to_at FROM report_usage").await;
    let times = ["1970-01-01T00:00:00.000Z", "2026-11-20T12:00:01.000Z"].map(|time| Some(time.to_owned()));
    assert_eq!(shown, [times]);
}

#[tokio::test]
async fn sqlite_wakes_whom_it_can_read() {
    let stage = Stage::sqlite("").await.migrated().await;
    for number in 1..=3 {
        keep(stage.store.as_ref(), Change { wake_at: Some(NOON), ..added(&offer(number, NOON)) }).await;
    }
    stage.sql("UPDATE sessions SET id = 'nonsense' WHERE id LIKE '%2'").await;
    let due = stage.store.due(NOON, None, 10).await.unwrap();
    assert_eq!((due.wakes.iter().map(|wake| wake.session).collect(), due.more), (vec![id(1), id(3)], false));
    stage.sql("UPDATE sessions SET id = 'nonsense ' || id").await;
    let due = stage.store.due(NOON, None, 3).await.unwrap();
    assert_eq!((due.wakes, due.more), (vec![], false), "nobody would ever come past them");
}

#[tokio::test]
async fn sqlite_lives_in_memory_too() {
    let store = store::open("sqlite::memory:").await.unwrap();
    store.migrate().await.unwrap();
    keep(store.as_ref(), added(&offer(1, NOON))).await;
    assert_eq!(read(store.as_ref(), id(1)).await, Some(offer(1, NOON)));
    let other = store::open("sqlite::memory:").await.unwrap();
    other.migrate().await.unwrap();
    assert_eq!(read(other.as_ref(), id(1)).await, None);
}

#[tokio::test]
async fn addresses_are_understood_or_refused() {
    for address in
        ["", "radhold.db", "sqlite://", "mysql://localhost/radhold", "postgres://radhold:sesame@host:port/db"]
    {
        match store::open(address).await {
            Err(StoreError::BadAddress(why)) => assert!(!why.contains("sesame"), "{why}"),
            other => panic!("{address}: {other:?}"),
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let a_directory = format!("sqlite://{}", directory.path().display());
    assert!(matches!(store::open(&a_directory).await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn a_postgres_that_is_not_there_is_away() {
    let free = own_address();
    let begun = Instant::now();
    let store = store::open(&format!("postgres://radhold@{free}/radhold")).await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Away(_))));
    assert!(matches!(store.migrate().await, Err(StoreError::Away(_))));
    assert!(begun.elapsed() < Duration::from_secs(20), "it does not hang");
}

#[tokio::test]
async fn a_postgres_that_refuses_us_refuses() {
    let database = postgres::Database::create().await;
    let mut url = url::Url::parse(database.url()).unwrap();
    url.set_path("no_such_database");
    let store = store::open(url.as_str()).await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Refused(_))));
}

/// Turning a new file to WAL is the one thing SQLite's own patience does not cover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_files_can_be_created_by_several_at_once() {
    for round in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/{round}.db", directory.path().display());
        let mut nodes = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = url.clone();
            nodes.spawn(async move { store::open(&url).await.unwrap().migrate().await.unwrap() });
        }
        nodes.join_all().await;
    }
}
