//! Usage over months: where it is put, what retention leaves of it, and what a store of before brings along.

use std::borrow::Cow;
use std::time::Duration;

use radhold::model::{Counters, Day, Timestamp};
use radhold::session::{End, EndCause, Record, Session, State};
use radhold::store::reports::{Asked, Cell, REPORTS};
use radhold::store::{Change, SessionQuery, Store, StoreError, Usage};
use sqlx::migrate::Migrator;

use super::Stage;
use super::fixtures::*;
use crate::postgres::Database;

battery! {
    migrated {
        usage_of_any_time_is_kept,
        retention_keeps_the_days,
        what_has_no_month_of_its_own_is_given_up_by_the_month_too,
        months_are_made_and_given_up_by_many_at_once,
        ports_are_found,
        sums_that_no_column_holds_end_at_its_limit,
        retention_sums_what_no_column_holds,
        sessions_that_are_long_over_go_and_their_usage_stays,
    }
}

/// 2026-11-20, the day of [`NOON`].
const TODAY: i32 = 20_777;

/// So many octets on a day that many days from today, at noon.
fn on_day(session: &Session, days: i64, octets: u64) -> Usage {
    let to = Timestamp::from_secs(NOON.as_secs() + days * 86_400);
    Usage {
        from: to.before(Duration::from_secs(60)),
        to,
        day: Day::since_1970(TODAY + i32::try_from(days).unwrap()),
        added: Counters { input_octets: octets, session_time: 60, ..Counters::default() },
        ..usage(session, 0, 60, 0)
    }
}

/// A session for each of these.
async fn carried(store: &dyn Store, first: u128, days: &[(i64, u64)]) {
    for (number, (day, octets)) in (first..).zip(days) {
        let carried = on_day(&offer(number, NOON), *day, *octets);
        let session = Session::restore(Record {
            started_at: Some(carried.from),
            heard_at: carried.to,
            ..offer(number, NOON).into_record()
        });
        keep(store, Change { usage: vec![carried], ..added(&session) }).await;
    }
}

const DAILY: &str = "SELECT CAST(day AS text), user_name, CAST(input_octets AS text), CAST(session_time AS text)
                     FROM usage_daily ORDER BY day";

async fn daily(stage: &Stage) -> Vec<(String, u64, u64)> {
    let rows = stage.sql(DAILY).await;
    rows.into_iter()
        .map(|row| {
            let [day, user, octets, time] = <[Option<String>; 4]>::try_from(row).unwrap().map(Option::unwrap);
            assert_eq!(user, "alice");
            (day, octets.parse().unwrap(), time.parse().unwrap())
        })
        .collect()
}

async fn intervals(stage: &Stage) -> String {
    stage.sql("SELECT CAST(count(*) AS text) FROM usage").await[0][0].clone().unwrap()
}

fn days(expected: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    expected.iter().map(|(day, octets, time)| ((*day).to_owned(), *octets, *time)).collect()
}

async fn usage_of_any_time_is_kept(stage: &Stage) {
    let store = stage.store.as_ref();
    // Long ago, this month, next year: there need not be a month for it.
    carried(store, 1, &[(-20_000, 1), (0, 2), (0, 3), (400, 4)]).await;
    let expected = days(&[("1972-02-17", 1, 60), ("2026-11-20", 5, 120), ("2027-12-25", 4, 60)]);
    assert_eq!(daily(stage).await, expected);
    // When its month is made later, it moves there, and nothing changes.
    for ahead in [0, 400, 400] {
        store.prepare_usage(NOON + Duration::from_secs(ahead * 86_400)).await.unwrap();
    }
    assert_eq!(daily(stage).await, expected);
    assert_eq!(store.usage(id(4)).await.unwrap(), [on_day(&offer(4, NOON), 400, 4)]);
    // One report that was cut at midnight is several rows of one version.
    let before = read(store, id(1)).await.unwrap().into_record();
    let cut = vec![on_day(&offer(1, NOON), 0, 10), on_day(&offer(1, NOON), 1, 20)];
    let session = Session::restore(Record { version: 1, heard_at: cut[1].to, ..before });
    keep(store, Change { usage: cut.clone(), ..change(&session, Some(0)) }).await;
    assert_eq!(store.usage(id(1)).await.unwrap()[1..], cut);
    // Another session of the same user and time has its own.
    carried(store, 5, &[(0, 7)]).await;
    assert_eq!(store.usage(id(5)).await.unwrap(), [on_day(&offer(5, NOON), 0, 7)]);
    assert_eq!(store.usage(id(1)).await.unwrap().len(), 3);
}

async fn retention_keeps_the_days(stage: &Stage) {
    let store = stage.store.as_ref();
    for back in 0..3 {
        store.prepare_usage(NOON.before(Duration::from_secs(back * 30 * 86_400))).await.unwrap();
    }
    // September, September, October, October, November; and one of no month.
    carried(store, 1, &[(-70, 1), (-70, 2), (-40, 4), (-30, 8), (0, 16), (-9000, 32)]).await;
    let expected = days(&[
        ("2002-03-31", 32, 60),
        ("2026-09-11", 3, 120),
        ("2026-10-11", 4, 60),
        ("2026-10-21", 8, 60),
        ("2026-11-20", 16, 60),
    ]);
    assert_eq!(daily(stage).await, expected);

    // Whole months alone: the 25th of October ends September.
    let before = NOON.before(Duration::from_secs(26 * 86_400));
    let mut rounds = 0;
    while store.retire_usage(before).await.unwrap() {
        rounds += 1;
        assert!(rounds < 10, "it never ends");
    }
    assert_eq!(daily(stage).await, expected, "the days are as they were");
    assert_eq!(intervals(stage).await, "3");
    assert!(!store.retire_usage(before).await.unwrap());
    assert_eq!(store.usage(id(1)).await.unwrap(), []);

    // What comes late for a month that is gone counts, and is summed up in its turn.
    carried(store, 10, &[(-70, 64)]).await;
    let late = expected.iter().cloned().map(|(day, octets, time)| match day.as_str() {
        "2026-09-11" => (day, octets + 64, time + 60),
        _ => (day, octets, time),
    });
    let late: Vec<_> = late.collect();
    assert_eq!(daily(stage).await, late);
    while store.retire_usage(before).await.unwrap() {}
    assert_eq!(daily(stage).await, late);
    assert_eq!(intervals(stage).await, "3");
}

async fn what_has_no_month_of_its_own_is_given_up_by_the_month_too(stage: &Stage) {
    let store = stage.store.as_ref();
    // The 30th and the 31st of March 2002, and the 1st of April: for none of them was a month made.
    carried(store, 1, &[(-9001, 1), (-9000, 2), (-8999, 4)]).await;
    let kept = daily(stage).await;
    assert_eq!(kept.iter().map(|day| day.0.as_str()).collect::<Vec<_>>(), ["2002-03-30", "2002-03-31", "2002-04-01"]);
    let evening = |days: i64| Timestamp::from_secs(NOON.as_secs() + days * 86_400 + 6 * 3600);
    assert!(!store.retire_usage(evening(-9000)).await.unwrap(), "the month is not over yet");
    assert_eq!(intervals(stage).await, "3");
    assert!(store.retire_usage(evening(-8999)).await.unwrap());
    assert!(!store.retire_usage(evening(-8999)).await.unwrap());
    assert_eq!((intervals(stage).await.as_str(), daily(stage).await), ("1", kept));
}

async fn retention_sums_what_no_column_holds(stage: &Stage) {
    let store = stage.store.as_ref();
    let most = i64::MAX.unsigned_abs();
    carried(store, 1, &[(-70, most), (-70, most), (-70, 7)]).await;
    // Twice: added up at once, and added to what is there.
    for first in [10, 20] {
        while store.retire_usage(NOON).await.unwrap() {}
        assert_eq!(daily(stage).await[0].1, most);
        carried(store, first, &[(-70, most)]).await;
    }
    // Beyond one half of the column the sum is exact.
    carried(store, 30, &[(-75, (1 << 40) + 5), (-75, (1 << 33) - 1), (-75, u64::from(u32::MAX))]).await;
    while store.retire_usage(NOON).await.unwrap() {}
    assert_eq!(
        daily(stage).await[0],
        ("2026-09-06".to_owned(), (1 << 40) + 5 + (1 << 33) - 1 + u64::from(u32::MAX), 180)
    );
}

async fn sessions_that_are_long_over_go_and_their_usage_stays(stage: &Stage) {
    let store = stage.store.as_ref();
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let session = |number: u128, accepted: u64, ended: Option<u64>| {
        let mut record = offer(number, NOON.before(days(accepted))).into_record();
        let end = |ended| End { at: NOON.before(days(ended)), cause: EndCause::Stop, terminate_cause: None };
        (record.state, record.end) = (if ended.is_some() { State::Closed } else { State::Permitted }, ended.map(end));
        Session::restore(record)
    };
    // Long over; over lately though begun long ago; never ended; over, but not for so long.
    for (number, accepted, ended) in [(1, 100, Some(99)), (2, 100, Some(10)), (3, 100, None), (4, 50, Some(49))] {
        let session = session(number, accepted, ended);
        keep(store, Change { usage: vec![on_day(&session, -1, 5)], ..added(&session) }).await;
    }
    while store.forget_sessions(NOON.before(days(60))).await.unwrap() {}
    let mut left: Vec<_> =
        store.sessions(&SessionQuery::default()).await.unwrap().into_iter().map(|session| session.id).collect();
    left.sort();
    assert_eq!(left, [id(2), id(3), id(4)]);
    assert_eq!(daily(stage).await[0].1, 20);
    // More than one step.
    let many: Vec<Change> = (1000..1600).map(|number| added(&session(number, 100, Some(99)))).collect();
    store.commit(&many).await.unwrap();
    assert!(store.forget_sessions(NOON.before(days(60))).await.unwrap());
    assert!(!store.forget_sessions(NOON.before(days(60))).await.unwrap());
    assert_eq!(store.sessions(&SessionQuery::default()).await.unwrap().len(), 3);
}

async fn months_are_made_and_given_up_by_many_at_once(stage: &Stage) {
    carried(stage.store.as_ref(), 1, &[(-70, 1), (-40, 2), (100, 4)]).await;
    let before = daily(stage).await;
    let mut nodes = tokio::task::JoinSet::new();
    for node in 0..4u128 {
        let store = stage.another().await;
        nodes.spawn(async move {
            for month in 0..6 {
                store.prepare_usage(NOON + Duration::from_secs(month * 30 * 86_400)).await.unwrap();
                // Writers are not kept out, and what they write counts once.
                let session = offer(100 + node * 10 + u128::from(month), NOON);
                let usage = vec![on_day(&session, i64::try_from(month * 30).unwrap(), 100)];
                keep(store.as_ref(), Change { usage, ..added(&session) }).await;
                // A lock that is not to be had in time is tried for again later.
                match store.retire_usage(NOON).await {
                    Ok(_) | Err(StoreError::Away(_)) => (),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    nodes.join_all().await;
    while stage.store.retire_usage(NOON).await.unwrap() {}
    let after = daily(stage).await;
    let total = |days: &[(String, u64, u64)]| days.iter().map(|(_, octets, _)| octets).sum::<u64>();
    assert_eq!(total(&after), total(&before) + 4 * 6 * 100);
}

async fn ports_are_found(stage: &Stage) {
    let store = stage.store.as_ref();
    for (number, port, name) in [(1, Some(0), None), (2, Some(7), Some("ether1")), (3, None, Some("ether1"))] {
        let mut record = offer(number, NOON).into_record();
        record.identity.nas_port = port;
        record.identity.nas_port_id = name.map(str::to_owned);
        keep(store, added(&Session::restore(record))).await;
    }
    let all = SessionQuery { open: true, nas: Some("edge".into()), ..SessionQuery::default() };
    for (query, expected) in [
        (SessionQuery { nas_port: Some(0), ..all.clone() }, vec![1]),
        (SessionQuery { nas_port: Some(u32::MAX), ..all.clone() }, vec![]),
        (SessionQuery { nas_port_id: Some("ether1".into()), ..all.clone() }, vec![3, 2]),
        (SessionQuery { nas_port: Some(7), nas_port_id: Some("ether1".into()), ..all }, vec![2]),
    ] {
        let found: Vec<u128> =
            store.sessions(&query).await.unwrap().iter().map(|session| session.id.0.as_u128()).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

async fn sums_that_no_column_holds_end_at_its_limit(stage: &Stage) {
    let most = i64::MAX.unsigned_abs();
    carried(stage.store.as_ref(), 1, &[(0, most), (0, most), (0, 7)]).await;
    assert_eq!(daily(stage).await, days(&[("2026-11-20", most, 180)]));
    let asked = Asked {
        from: NOON.before(Duration::from_secs(86_400)),
        to: NOON + Duration::from_secs(86_400),
        user: None,
        nas: None,
        limit: 0,
    };
    for report in REPORTS {
        let rows = stage.store.report(report, &asked).await.unwrap();
        if ["months", "top", "usage", "hours"].contains(&report.name) {
            let carried = rows.iter().any(|row| row.contains(&Cell::Integer(i64::MAX)));
            assert!(carried, "{}: {rows:?}", report.name);
        }
    }
    let months = stage.sql("SELECT CAST(max(input_octets) AS text) FROM report_usage_months").await;
    assert_eq!(months, [[Some(most.to_string())]]);
}

fn first_only(mut migrations: Migrator) -> Migrator {
    migrations.migrations = Cow::Owned(migrations.iter().filter(|it| it.version == 1).cloned().collect());
    migrations
}

#[tokio::test]
async fn postgres_brings_usage_of_the_first_schema_along() {
    let database = Database::create().await;
    let pool = database.pool().await;
    first_only(sqlx::migrate!("migrations/postgres")).run(&pool).await.unwrap();
    // Times whose month there is, one whose month there is not, and one of a clock that was never set.
    sqlx::query(
        "INSERT INTO usage SELECT gen_random_uuid(), 'alice', 'edge', at - interval '1 minute', at, 5, 6, 7, 8, 60, 3
         FROM unnest(ARRAY[now() - interval '100 days', now(), now() + interval '5 years', timestamptz '1970-01-01 00:00Z']) AS at",
    )
    .execute(&pool)
    .await
    .unwrap();
    let store = radhold::store::open(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    let (rows, stray, octets): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE tableoid = 'usage_other'::regclass), sum(input_octets)::bigint FROM usage",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((rows, stray, octets), (4, 2, 20));
    let daily: i64 =
        sqlx::query_scalar("SELECT sum(output_octets)::bigint FROM usage_daily").fetch_one(&pool).await.unwrap();
    assert_eq!(daily, 24);
}

#[tokio::test]
async fn postgres_looks_at_the_months_that_are_asked_for_alone() {
    let database = Database::create().await;
    let store = radhold::store::open(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    for month in 0..4 {
        store.prepare_usage(NOON + Duration::from_secs(month * 30 * 86_400)).await.unwrap();
    }
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT sum(input_octets) FROM report_usage
         WHERE to_at >= '2026-12-01T00:00:00Z' AND to_at < '2027-01-01T00:00:00Z'",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("usage_2026_12") && !plan.contains("usage_2027_01"), "{plan}");
}

#[tokio::test]
async fn sqlite_brings_usage_of_the_first_schema_along() {
    let stage = Stage::sqlite("").await;
    let pool = stage.sqlite_pool().await;
    first_only(sqlx::migrate!("migrations/sqlite")).run(&pool).await.unwrap();
    let one = "INSERT INTO usage VALUES (?1, 'alice', 'edge', ?2 - 60000000, ?2, 5, 6, 7, 8, 60, 3)";
    for (session, at) in [("a", NOON.as_micros()), ("b", 0)] {
        sqlx::query(one).bind(session).bind(at).execute(&pool).await.unwrap();
    }
    pool.close().await;
    stage.store.migrate().await.unwrap();
    assert_eq!(daily(&stage).await, days(&[("1970-01-01", 5, 60), ("2026-11-20", 5, 60)]));
}
