//! Usage, decisions, attempts, and what all nodes share.

use std::time::Duration;

use radhold::model::Secret;
use radhold::session::{Approval, Denial, Event, Record, Session};
use radhold::store::{AuthAttempt, Change, Committed, QuarantineId, Quarantined, Restart, Usage};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        the_reports_say_who_and_how_much,
        usage_repeats_add_nothing,
        a_decision_is_recorded,
        attempts_come_newest_first,
        an_attempt_recorded_again_is_left_out,
        a_cluster_secret_is_chosen_once,
        quarantine_keeps_packets_whole,
        the_last_restart_of_each_device_is_kept,
    }
}

async fn usage_repeats_add_nothing(stage: &Stage) {
    let store = stage.store.as_ref();
    let mut version = 0;
    keep(store, added(&offer(1, NOON))).await;
    let mut report = async |usage: Usage| {
        let session = Session::restore(Record { version: version + 1, ..offer(1, NOON).into_record() });
        keep(store, Change { usage: vec![usage], ..change(&session, Some(version)) }).await;
        version += 1;
    };
    let session = offer(1, NOON);
    let (first, second) = (usage(&session, 0, 60, 100), usage(&session, 60, 120, 5_000_000_000));
    // Two reports in one second (an Interim-Update and the Stop) are two.
    let third = usage(&session, 120, 120, 7);
    report(second.clone()).await;
    report(first.clone()).await;
    report(third.clone()).await;
    // A report that comes again was made from a version that is gone: nothing of it is kept.
    let late = Session::restore(Record { version: 2, ..offer(1, NOON).into_record() });
    let late = Change { usage: vec![first.clone()], ..change(&late, Some(1)) };
    assert_eq!(store.commit(&[late]).await.unwrap(), [Committed::Conflict]);
    assert_eq!(store.usage(id(1)).await.unwrap(), [first, second, third]);
    assert_eq!(store.usage(id(2)).await.unwrap(), []);
}

async fn decisions(stage: &Stage) -> Vec<Vec<Option<String>>> {
    stage
        .sql("SELECT CAST(session_id AS text), verdict, approver, who FROM decisions ORDER BY session_id, decided_at")
        .await
}

fn decided(number: u128, verdict: &str, approver: &str, who: &str) -> Vec<Option<String>> {
    [&id(number).to_string(), verdict, approver, who].map(|text| Some(text.to_owned())).to_vec()
}

async fn a_decision_is_recorded(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    keep(store, added(&offered)).await;
    assert!(decisions(stage).await.is_empty());
    let (approved, yes) = stepped(&offered, &Event::Approved(Approval::by_operator("root")), NOON);
    keep(store, yes).await;
    let approval = decided(1, "approved", "operator", "root");
    assert_eq!(decisions(stage).await, std::slice::from_ref(&approval));
    // Changes after it do not write it again.
    let (asked, next) = stepped(&approved, &Event::Accepted, NOON);
    keep(store, next).await;
    assert_eq!(decisions(stage).await, std::slice::from_ref(&approval));
    // A kick before Start overrides it, and both are on record.
    let (_, kicked) = stepped(&asked, &Event::Kicked(Denial::by_operator("eve")), NOON + Duration::from_secs(1));
    keep(store, kicked).await;
    assert_eq!(decisions(stage).await, [approval, decided(1, "denied", "operator", "eve")]);
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
        nonce: None,
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

/// Whoever does not know what became of a call makes it again, with what has come since.
async fn an_attempt_recorded_again_is_left_out(stage: &Stage) {
    let store = stage.store.as_ref();
    let attempt = |nonce| AuthAttempt {
        at: NOON,
        user: format!("{nonce:?}"),
        nas: "edge".into(),
        nas_address: "192.0.2.1".parse().unwrap(),
        calling_station_id: None,
        method: "pap".into(),
        outcome: "wrong-password".into(),
        session: None,
        nonce,
    };
    let [one, two, three] = [Some(i64::MIN), Some(0), Some(7)].map(attempt);
    store.record_attempts(&[one.clone(), two.clone()]).await.unwrap();
    store.record_attempts(&[one.clone(), two.clone(), three.clone(), three.clone()]).await.unwrap();
    assert_eq!(store.attempts(10).await.unwrap(), [three, two, one.clone()]);
    // The same number at another time is another attempt.
    let later = AuthAttempt { at: NOON + Duration::from_micros(1), ..one };
    store.record_attempts(std::slice::from_ref(&later)).await.unwrap();
    assert_eq!(store.attempts(1).await.unwrap(), [later]);
    // Those without one, as of nodes of before, are not told apart.
    store.record_attempts(&[attempt(None)]).await.unwrap();
    store.record_attempts(&[attempt(None)]).await.unwrap();
    assert_eq!(store.attempts(10).await.unwrap().len(), 6);
    // While they are on their way, too.
    let many: Vec<_> = (100..400).map(|nonce| attempt(Some(nonce))).collect();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, many) = (stage.another().await, many.clone());
        calls.spawn(async move { store.record_attempts(&many).await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(store.attempts(1000).await.unwrap().len(), 306);
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

async fn the_reports_say_who_and_how_much(stage: &Stage) {
    let store = stage.store.as_ref();
    let session = Session::restore(rich_record(1));
    keep(store, Change { usage: vec![usage(&session, 0, 60, 1)], ..added(&session) }).await;
    let attempt = AuthAttempt {
        at: NOON,
        user: "alice".into(),
        nas: "edge".into(),
        nas_address: "192.0.2.1".parse().unwrap(),
        calling_station_id: None,
        method: "pap".into(),
        outcome: "accepted".into(),
        session: None,
        nonce: None,
    };
    store.record_attempts(&[attempt]).await.unwrap();

    let columns = stage.columns("SELECT * FROM report_sessions").await;
    assert_eq!(
        columns.join(" "),
        "session_id user_name nas nas_address calling_station_id called_station_id acct_session_id framed_ip \
         framed_ipv6_prefix state accepted_at started_at permitted_at heard_at ended_at end_cause terminate_cause \
         duration_seconds input_octets output_octets decision decided_via decided_by decided_at outcome"
    );
    let columns = stage.columns("SELECT * FROM report_usage").await;
    assert_eq!(
        columns.join(" "),
        "session_id user_name nas from_at to_at input_octets output_octets input_packets output_packets session_time \
         day"
    );
    let columns = stage.columns("SELECT * FROM report_auth_attempts").await;
    assert_eq!(columns.join(" "), "at user_name nas nas_address calling_station_id method outcome session_id");

    let row = stage
        .sql(
            "SELECT CAST(session_id AS text), user_name, state, CAST(duration_seconds AS text),
                    CAST(output_octets AS text), decision, decided_via, decided_by, end_cause, outcome
             FROM report_sessions",
        )
        .await;
    let said: Vec<&str> = row[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(
        said,
        [
            &id(1).to_string(),
            "Zoë",
            "evicting",
            "7",
            "5000000000",
            "approved",
            "telegram",
            "77",
            "nas-restart",
            "not-lifted"
        ]
    );
}

async fn quarantine_keeps_packets_whole(stage: &Stage) {
    let store = stage.store.as_ref();
    let misfit = |number: u8| Quarantined {
        nas: "edge".into(),
        nas_address: "2001:db8::5".parse().unwrap(),
        received_at: NOON + Duration::from_micros(1),
        packet: vec![number, 0, 255],
        reason: "it fits\0nowhere".into(),
        at: NOON + Duration::from_secs(1),
    };
    for number in 1..=3 {
        store.quarantine(&misfit(number)).await.unwrap();
    }
    let all = store.quarantined(10).await.unwrap();
    let ids: Vec<QuarantineId> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(all[0].1, Quarantined { reason: "it fits\u{FFFD}nowhere".into(), ..misfit(1) });
    assert_eq!(all.iter().map(|(_, misfit)| misfit.packet[0]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.quarantined(2).await.unwrap().len(), 2);

    assert_eq!(store.claim_quarantined(10).await.unwrap(), []);
    assert_eq!(store.retry_quarantined(&[ids[1], QuarantineId(999)], true).await.unwrap(), 1);
    assert_eq!(store.claim_quarantined(10).await.unwrap(), [all[1].clone()]);
    assert_eq!(store.claim_quarantined(10).await.unwrap(), [], "each is tried by one node");
    assert_eq!(store.retry_quarantined(&ids, true).await.unwrap(), 3);
    let (first, second) = tokio::join!(store.claim_quarantined(2), store.claim_quarantined(2));
    let mut claimed = [first.unwrap(), second.unwrap(), store.claim_quarantined(2).await.unwrap()].concat();
    claimed.sort_by_key(|(id, _)| *id);
    assert_eq!(claimed, all);
    assert_eq!(store.retry_quarantined(&ids, true).await.unwrap(), 3);
    assert_eq!(store.retry_quarantined(&ids, false).await.unwrap(), 3);
    assert_eq!(store.claim_quarantined(10).await.unwrap(), []);

    assert_eq!(store.drop_quarantined(&[ids[0], ids[2]]).await.unwrap(), 2);
    assert_eq!(store.quarantined(10).await.unwrap(), [all[1].clone()]);
    assert_eq!(store.drop_quarantined(&[ids[0]]).await.unwrap(), 0);
}

async fn the_last_restart_of_each_device_is_kept(stage: &Stage) {
    let store = stage.store.as_ref();
    let after = |secs: u64| NOON + Duration::from_secs(secs);
    let restart = |identifier: &str, at: u64| Restart {
        nas: "edge".into(),
        nas_address: "192.0.2.1".parse().unwrap(),
        nas_ip_address: None,
        nas_identifier: Some(identifier.to_owned()),
        at: after(at),
        by_nas_clock: at.is_multiple_of(20),
        noted_at: after(at + 5),
    };
    let since = async |at: u64| {
        let names = ["edge".into(), "other".into()];
        let mut restarts = store.restarts_since(&names, after(at)).await.unwrap();
        restarts.sort_by_key(|restart| restart.nas_identifier.clone());
        restarts
    };
    for (identifier, at) in [("a", 10), ("b", 20), ("a", 40), ("a", 30), ("a", 40)] {
        store.note_restart(&restart(identifier, at)).await.unwrap();
    }
    assert_eq!(since(0).await, [restart("a", 40), restart("b", 20)]);
    assert_eq!(since(21).await, [restart("a", 40)]);
    assert_eq!(store.restarts_since(&["other".into()], NOON).await.unwrap(), []);
    let to_see_to = async || store.restarts_to_see_to(10).await.unwrap();
    assert_eq!(to_see_to().await, [restart("b", 20), restart("a", 40)], "the longest known first");
    // Of one that was overtaken nothing is said.
    store.restart_seen_to(&restart("a", 30)).await.unwrap();
    store.restart_seen_to(&restart("b", 20)).await.unwrap();
    assert_eq!(to_see_to().await, [restart("a", 40)]);
    store.note_restart(&restart("b", 20)).await.unwrap();
    assert_eq!(to_see_to().await, [restart("a", 40)], "it came again");
    store.note_restart(&restart("b", 50)).await.unwrap();
    assert_eq!(to_see_to().await, [restart("a", 40), restart("b", 50)]);
    store.restart_seen_to(&restart("b", 50)).await.unwrap();
    store.forget_restarts(after(60)).await.unwrap();
    assert_eq!(since(0).await, [restart("a", 40)], "its sessions are not ended yet");

    // What it ended: of the device, where that is known, and of before.
    let of = |number: u128, identifier: Option<&str>, address: [u8; 4], at: u64| {
        let mut record = offer(number, after(at)).into_record();
        record.identity.nas_identifier = identifier.map(str::to_owned);
        record.nas_address = address.into();
        Session::restore(record)
    };
    let here = [192, 0, 2, 1];
    for session in [
        of(1, Some("a"), here, 40),
        of(2, Some("a"), [192, 0, 2, 9], 1),
        of(3, None, here, 1),
        of(4, None, [192, 0, 2, 9], 1),
        of(5, Some("b"), here, 1),
        of(6, Some("a"), here, 41),
    ] {
        keep(store, added(&session)).await;
    }
    let mut ended = store.sessions_before(&restart("a", 40), None, 10).await.unwrap();
    ended.sort();
    assert_eq!(ended, [id(1), id(2), id(3)]);
    assert_eq!(store.sessions_before(&restart("a", 40), None, 2).await.unwrap().len(), 2);
    let mut unheard = store.sessions_before(&restart("a", 40), Some(after(39)), 10).await.unwrap();
    unheard.sort();
    assert_eq!(unheard, [id(2), id(3)]);
}
