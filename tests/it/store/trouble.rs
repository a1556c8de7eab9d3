//! Rows that make no sense, nodes that start together, and sudden death.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;

use radhold::model::{Secret, SessionId};
use radhold::session::Effect;
use radhold::store::{self, Change, Committed, SessionQuery, StoreError};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        a_bad_row_names_its_column,
        a_bad_row_keeps_no_other_waiting,
        what_is_kept_outlives_the_process,
        what_is_reported_done_survives_a_kill,
        a_newer_schema_is_left_alone,
        ping_answers,
    }
    created {
        without_a_schema_it_refuses,
        nodes_that_start_together_do_not_collide,
        processes_that_start_together_do_not_collide,
    }
}

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
    let due: Vec<SessionId> = store.due(NOON, None, 10).await.unwrap().wakes.iter().map(|wake| wake.session).collect();
    assert_eq!(due, [id(1), id(2), id(3)], "who is woken reads the row, and leaves it alone");
    assert!(store.sessions_by_id(&[id(1)]).await.is_err());
    let claimed = store.claim(&"n1".into(), None, NOON, Duration::from_secs(1), 10).await.unwrap();
    assert_eq!(claimed.iter().map(|order| order.session).collect::<Vec<_>>(), [id(1), id(3)]);
}

async fn what_is_kept_outlives_the_process(stage: &Stage) {
    keep(stage.store.as_ref(), added(&offer(1, NOON))).await;
    let reopened = stage.another().await;
    reopened.migrate().await.unwrap();
    assert_eq!(read(reopened.as_ref(), id(1)).await, Some(offer(1, NOON)));
}

async fn a_newer_schema_is_left_alone(stage: &Stage) {
    stage
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of a later release', true, 'checksum', 0)",
        )
        .await;
    stage.store.migrate().await.unwrap();
    keep(stage.store.as_ref(), added(&offer(1, NOON))).await;
}

async fn ping_answers(stage: &Stage) {
    stage.store.ping().await.unwrap();
}

async fn nodes_that_start_together_do_not_collide(stage: &Stage) {
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

async fn processes_that_start_together_do_not_collide(stage: &Stage) {
    if stage.is_further_process() {
        stage.store.migrate().await.unwrap();
        keep(stage.store.as_ref(), added(&offer(u128::from(std::process::id()), NOON))).await;
        return;
    }
    let processes: Vec<Child> = (0..4).map(|_| stage.further_process()).collect();
    for process in processes {
        assert!(process.wait_with_output().unwrap().status.success());
    }
    assert_eq!(stage.store.sessions(&SessionQuery::default()).await.unwrap().len(), 4);
}

async fn what_is_reported_done_survives_a_kill(stage: &Stage) {
    const BATCH: u128 = 3;
    if stage.is_further_process() {
        for batch in 0u128.. {
            let changes: Vec<Change> = (0..BATCH)
                .map(|place| {
                    let orders = vec![Effect::SendCoa { attempt: 1 }];
                    Change { orders, ..added(&offer(batch * BATCH + place, NOON)) }
                })
                .collect();
            assert_eq!(stage.store.commit(&changes).await.unwrap(), [Committed::Done; BATCH as usize]);
            println!("done {batch}");
        }
    }
    let mut process = stage.further_process();
    let output = BufReader::new(process.stdout.take().unwrap()).lines();
    let done: Vec<String> = output.map(Result::unwrap).filter(|line| line.starts_with("done ")).take(60).collect();
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(done.last().unwrap(), "done 59");

    let reopened = stage.another().await;
    reopened.migrate().await.unwrap();
    let ids: Vec<SessionId> = (0..60 * BATCH).map(id).collect();
    assert_eq!(reopened.sessions_by_id(&ids).await.unwrap().len(), ids.len());
    // Whatever it was at when it died is there with all its orders, or not at all. Asked in one statement: the server of a
    // dead client may be about to finish its last COMMIT.
    let torn = stage
        .sql(
            "SELECT CAST(count(*) % 3 AS text), CAST(count(outbox.id) - count(*) AS text)
             FROM sessions LEFT JOIN outbox ON session_id = sessions.id",
        )
        .await;
    assert_eq!(torn, [["0", "0"].map(|none| Some(none.to_owned()))]);
}

async fn without_a_schema_it_refuses(stage: &Stage) {
    assert!(matches!(stage.store.users().await, Err(StoreError::Refused(_))));
    stage.store.migrate().await.unwrap();
    assert_eq!(stage.store.users().await.unwrap(), []);
}
