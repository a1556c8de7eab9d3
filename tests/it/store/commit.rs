//! Who wins, and what a loser leaves: nothing.

use std::time::Duration;

use radhold::model::{ApproverKind, Counters, NodeName};
use radhold::session::{Approval, Denial, Effect, End, EndCause, Event, Record, Session, State};
use radhold::store::{Change, Committed, Extent, SessionQuery};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        a_change_needs_the_version_it_was_made_from,
        a_session_is_added_once,
        a_conflict_leaves_nothing,
        one_batch_may_change_a_session_twice,
        a_long_batch_is_kept_whole,
        changes_of_all_kinds_are_kept_however_many_they_are,
        who_loses_in_a_large_batch_leaves_nothing,
        what_only_counts_is_kept_where_the_version_is_right,
        what_only_ends_is_kept_where_the_version_is_right,
        a_session_that_only_counts_is_woken_no_later,
        of_two_racing_nodes_one_wins,
        new_sessions_are_added_once_each_by_racing_nodes,
        racing_batches_do_not_lock_each_other_out,
        a_hold_lives_through_the_store,
    }
}

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

async fn a_conflict_leaves_nothing(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let decided = |number| Session::restore(Record { version: 1, ..rich_record(number) });
    let order = Effect::SendCoa { attempt: 1 };
    keep(store, Change { orders: vec![order.clone()], ..added(&offer(1, NOON)) }).await;
    keep(store, added(&offer(2, NOON))).await;
    let held = store.claim(&node, None, NOON, Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(held.len(), 1);

    let loser = |session: &Session, from_version| Change {
        orders: vec![Effect::SendDisconnect { attempt: 5 }],
        usage: vec![usage(session, 0, 60, 100)],
        settles: Some(held[0].id),
        ..change(session, from_version)
    };
    let winner = Change { orders: vec![Effect::SendCoa { attempt: 2 }], ..change(&decided(2), Some(0)) };
    let kept = store.commit(&[loser(&decided(1), Some(7)), winner, loser(&decided(1), None)]).await.unwrap();
    assert_eq!(kept, [Committed::Conflict, Committed::Done, Committed::Conflict]);

    assert_eq!(read(store, id(1)).await.unwrap(), offer(1, NOON));
    assert_eq!(store.usage(id(1)).await.unwrap(), []);
    let decisions = stage.sql("SELECT CAST(session_id AS text) FROM decisions").await;
    assert_eq!(decisions, [[Some(id(2).to_string())]]);
    // The losers' order was not added, and the one they would have settled is still there.
    let later = NOON + Duration::from_secs(61);
    let orders: Vec<Effect> = store
        .claim(&node, None, later, Duration::from_secs(60), 10)
        .await
        .unwrap()
        .into_iter()
        .map(|o| o.effect)
        .collect();
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
    assert_eq!(store.claim(&"n1".into(), None, NOON, Duration::from_secs(1), 10).await.unwrap().len(), 1);
}

async fn a_long_batch_is_kept_whole(stage: &Stage) {
    let store = stage.store.as_ref();
    assert_eq!(store.commit(&[]).await.unwrap(), []);
    let mut changes = Vec::new();
    for number in (0..500).rev() {
        let session = offer(number, NOON);
        let usage = vec![usage(&session, 0, 60, 1)];
        changes.push(Change { orders: vec![Effect::SendCoa { attempt: 1 }], usage, ..added(&session) });
    }
    let kept = store.commit(&changes).await.unwrap();
    assert_eq!(kept, vec![Committed::Done; 500]);
    assert_eq!(store.sessions(&SessionQuery::default()).await.unwrap().len(), 500);
    assert_eq!(store.usage(id(499)).await.unwrap().len(), 1);
    assert_eq!(store.claim(&"n1".into(), None, NOON, Duration::from_secs(1), 1000).await.unwrap().len(), 500);
}

/// A session that carried so much by its next version, and the change that says no more than that.
fn counted(before: &Session, octets: u64) -> (Session, Change) {
    let mut record = Session::clone(before).into_record();
    let from = record.version;
    record.version += 1;
    record.heard_at = NOON + Duration::from_secs(60);
    record.counters = Counters { input_octets: octets, output_octets: octets * 2, session_time: 60, ..record.counters };
    record.interim_interval = Some(Duration::from_secs(60 + octets % 7));
    let after = Session::restore(record);
    let usage = vec![usage(&after, 0, 60, octets)];
    let change = Change { extent: Extent::Counters, usage, ..change(&after, Some(from)) };
    (after, change)
}

/// The same by a Stop: nothing else than its end differs.
fn ended(before: &Session, octets: u64) -> (Session, Change) {
    let (after, Change { usage, .. }) = counted(before, octets);
    let at = NOON + Duration::from_secs(61);
    let end = Some(End { at, cause: EndCause::Stop, terminate_cause: octets.is_multiple_of(2).then_some(1) });
    let after = Session::restore(Record { state: State::Closed, retry_at: None, end, ..after.into_record() });
    let change = Change { extent: Extent::End, usage, ..change(&after, Some(before.version)) };
    (after, change)
}

async fn what_only_ends_is_kept_where_the_version_is_right(stage: &Stage) {
    let store = stage.store.as_ref();
    let running = |number| Session::restore(Record { version: 3, ..rich_record(number) });
    let sessions: Vec<Session> = (1..=75).map(running).collect();
    let adding: Vec<Change> = sessions.iter().map(added).collect();
    assert!(store.commit(&adding).await.unwrap().iter().all(|kept| *kept == Committed::Done));
    let (after, mut changes): (Vec<_>, Vec<_>) = sessions.iter().zip(1000..).map(|(it, n)| ended(it, n)).unzip();
    changes[40].from_version = Some(7);
    // Ended twice in one batch: the second builds upon the first.
    let (twice, second) = ended(&after[70], 5000);
    changes.push(second);
    for (place, kept) in store.commit(&changes).await.unwrap().into_iter().enumerate() {
        assert_eq!(kept, if place == 40 { Committed::Conflict } else { Committed::Done }, "{place}");
    }
    for (place, (before, after)) in sessions.iter().zip(&after).enumerate() {
        let wanted = match place {
            40 => before,
            70 => &twice,
            _ => after,
        };
        assert_eq!(read(store, before.id).await.as_ref(), Some(wanted), "{place}");
    }
    // What is over wakes nobody.
    let due = store.due(NOON + Duration::from_secs(1_000_000), None, 100).await.unwrap().wakes;
    assert!(due.iter().all(|wake| wake.session == sessions[40].id), "{due:?}");
}

async fn changes_of_all_kinds_are_kept_however_many_they_are(stage: &Stage) {
    let store = stage.store.as_ref();
    let (mut next, mut intervals) = (0.., 0);
    // Few and many, and one of each kind made from a version that is not there.
    let whole = [1, 4, 31, 90].map(|count| (count, None));
    let not_quite = [(4, 0), (90, 0), (31, 1), (90, 2), (31, 3)].map(|(count, kind)| (count, Some(kind)));
    for (count, wrong) in whole.into_iter().chain(not_quite) {
        let sessions: Vec<Session> = next.by_ref().take(count * 4).map(|number| offer(number, NOON)).collect();
        let there: Vec<Change> = sessions[count..].iter().map(added).collect();
        assert!(store.commit(&there).await.unwrap().iter().all(|kept| *kept == Committed::Done));
        let (mut changes, mut after) = (Vec::new(), Vec::new());
        for (place, before) in sessions.iter().enumerate() {
            let (later, change) = match place / count {
                0 => {
                    let usage = vec![usage(before, 0, 60, 7)];
                    (before.clone(), Change { usage, ..added(before) })
                }
                1 => counted(before, 1),
                2 => ended(before, 2),
                _ => {
                    let (later, counted) = counted(before, 3);
                    (later, Change { extent: Extent::Whole, ..counted })
                }
            };
            after.push(later);
            changes.push(change);
        }
        let losing = wrong.map(|kind| kind * count + count / 2);
        if let Some(place) = losing {
            changes[place].from_version = Some(99);
        }
        let kept = store.commit(&changes).await.unwrap();
        for (place, kept) in kept.into_iter().enumerate() {
            let (loses, id) = (losing == Some(place), sessions[place].id);
            assert_eq!(kept, if loses { Committed::Conflict } else { Committed::Done }, "{place} of {count} by 4");
            let wanted = match loses {
                false => Some(&after[place]),
                true if place < count => None,
                true => Some(&sessions[place]),
            };
            assert_eq!(read(store, id).await.as_ref(), wanted, "{place} of {count} by 4");
        }
        intervals += count * 4 - losing.iter().count();
        let kept = stage.sql("SELECT CAST(count(*) AS text) FROM usage").await;
        assert_eq!(kept, [[Some(intervals.to_string())]], "{count} by 4");
    }
}

async fn who_loses_in_a_large_batch_leaves_nothing(stage: &Stage) {
    let store = stage.store.as_ref();
    let sessions: Vec<Session> = (0..150).map(|number| offer(number, NOON)).collect();
    let there: Vec<Change> = sessions.iter().map(added).collect();
    assert!(store.commit(&there).await.unwrap().iter().all(|kept| *kept == Committed::Done));
    let mut before = sessions[..149].to_vec();
    for round in 0..4 {
        let (after, mut changes): (Vec<_>, Vec<_>) = before.iter().map(|it| counted(it, round)).unzip();
        let last = &sessions[149];
        changes.push(match round {
            0 => Change { usage: vec![usage(last, 0, 60, 9)], ..added(last) },
            1 => Change { from_version: Some(99), ..ended(last, 9).1 },
            2 => Change { from_version: Some(99), extent: Extent::Whole, ..counted(last, 9).1 },
            _ => Change { from_version: Some(99), ..counted(last, 9).1 },
        });
        let kept = store.commit(&changes).await.unwrap();
        for (place, kept) in kept.into_iter().enumerate() {
            assert_eq!(kept, if place == 149 { Committed::Conflict } else { Committed::Done }, "{place} in {round}");
        }
        before = after;
        let kept = stage.sql("SELECT CAST(count(*) AS text) FROM usage").await;
        assert_eq!(kept, [[Some((149 * (round + 1)).to_string())]], "each once, and nothing of who lost, in {round}");
    }
}

async fn what_only_counts_is_kept_where_the_version_is_right(stage: &Stage) {
    let store = stage.store.as_ref();
    let sessions: Vec<Session> = (1..=75).map(|number| offer(number, NOON)).collect();
    let adding: Vec<Change> = sessions.iter().map(added).collect();
    assert!(store.commit(&adding).await.unwrap().iter().all(|kept| *kept == Committed::Done));
    let (after, mut changes): (Vec<_>, Vec<_>) = sessions.iter().zip(1000..).map(|(it, n)| counted(it, n)).unzip();
    changes[40].from_version = Some(7);
    // Counted twice in one batch: the second builds upon the first.
    let (twice, second) = counted(&after[70], 5000);
    changes.push(second);
    let (fresh, _) = counted(&offer(80, NOON), 1);
    changes.push(added(&fresh));
    let kept = store.commit(&changes).await.unwrap();
    for (place, kept) in kept.into_iter().enumerate() {
        assert_eq!(kept, if place == 40 { Committed::Conflict } else { Committed::Done }, "{place}");
    }
    for (place, (before, after)) in sessions.iter().zip(&after).enumerate() {
        let wanted = match place {
            40 => before,
            70 => &twice,
            _ => after,
        };
        assert_eq!(read(store, before.id).await.as_ref(), Some(wanted), "{place}");
        let intervals = store.usage(before.id).await.unwrap().len();
        assert_eq!(
            intervals,
            match place {
                40 => 0,
                70 => 2,
                _ => 1,
            },
            "{place}"
        );
    }
    assert_eq!(store.commit(&changes).await.unwrap(), vec![Committed::Conflict; changes.len()]);
}

async fn a_session_that_only_counts_is_woken_no_later(stage: &Stage) {
    let store = stage.store.as_ref();
    let at = |secs| NOON + Duration::from_secs(secs);
    let due = async |secs| store.due(at(secs), None, 10).await.unwrap().wakes.len();
    let mut session = offer(1, NOON);
    keep(store, Change { wake_at: None, ..added(&session) }).await;
    for (wake_at, first_due) in [(Some(600), 600), (Some(900), 600), (Some(300), 300)] {
        let (after, change) = counted(&session, 1);
        keep(store, Change { wake_at: wake_at.map(at), ..change }).await;
        assert_eq!((due(first_due - 1).await, due(first_due).await), (0, 1));
        session = after;
    }
    let (after, change) = counted(&session, 1);
    // The next change that is more than counting moves it, either way.
    keep(store, Change { wake_at: Some(at(2000)), extent: Extent::Whole, ..change }).await;
    assert_eq!((due(1999).await, due(2000).await), (0, 1));
    keep(store, Change { wake_at: None, ..counted(&after, 1).1 }).await;
    assert_eq!(due(1_000_000).await, 0);
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

async fn new_sessions_are_added_once_each_by_racing_nodes(stage: &Stage) {
    const SESSIONS: u128 = 40;
    let mut nodes = tokio::task::JoinSet::new();
    for turn in 0..4_usize {
        let store = stage.another().await;
        nodes.spawn(async move {
            let mut won = 0;
            for round in 0..10 {
                let mut batch: Vec<Change> =
                    (0..SESSIONS).map(|number| added(&waived(round * SESSIONS + number, NOON))).collect();
                batch.rotate_left(turn * 11);
                if turn % 2 == 1 {
                    batch.reverse();
                }
                let kept = store.commit(&batch).await.unwrap();
                assert_eq!(kept.len(), batch.len());
                won += kept.iter().filter(|kept| **kept == Committed::Done).count();
            }
            won
        });
    }
    let won: usize = nodes.join_all().await.into_iter().sum();
    let all = stage.store.sessions(&SessionQuery::default()).await.unwrap();
    assert_eq!((won, all.len()), (400, 400));
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
                        // One node counts what another changes.
                        let counts = (u128::from(version) + number + turn as u128).is_multiple_of(2);
                        let extent = if counts { Extent::Counters } else { Extent::Whole };
                        Change { extent, ..change(&Session::restore(next), Some(version)) }
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
        (71, Event::Stopped(report(71, 1500)), State::Closed, "tell-end"),
    ] {
        let now = NOON + Duration::from_secs(secs);
        let before = read(store, id(1)).await.unwrap();
        let (after, change) = stepped(&before, &event, now);
        keep(store, change).await;
        assert_eq!(read(store, id(1)).await.unwrap(), after);
        assert_eq!(after.state, state, "{event:?}");
        let mut orders = Vec::new();
        for order in store.claim(&node, None, now, Duration::from_secs(60), 10).await.unwrap() {
            assert_eq!((order.session, order.ordered_at, order.attempts), (id(1), now, 0));
            store.finish(&[order.id]).await.unwrap();
            orders.push(order.effect.as_str());
        }
        assert_eq!(orders.join(" "), ordered, "{event:?}");
    }
}
