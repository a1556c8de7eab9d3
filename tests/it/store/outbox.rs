//! Orders: claimed once, for a while, and settled.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use radhold::model::{ApproverKind, NasName, NodeName};
use radhold::session::{Alert, Effect, Event, Lane, Outcome};
use radhold::store::{Change, Claim, Committed, OrderId, Presence};
use tokio::sync::mpsc;

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        orders_come_oldest_first,
        an_order_is_claimed_once,
        orders_may_be_claimed_as_they_are_added,
        a_lease_runs_out,
        a_node_that_starts_again_gets_its_own_orders_back,
        an_order_can_be_put_off_and_struck_off,
        an_outcome_settles_its_order,
        who_comes_late_does_not_put_off_what_another_holds,
        an_order_can_be_meant_for_one_node,
        links_are_those_of_nodes_that_live,
    }
}

async fn an_order_can_be_meant_for_one_node(stage: &Stage) {
    let (store, lease) = (stage.store.as_ref(), Duration::from_secs(60));
    order(store, 1, 0).await;
    let (a, b) = ("a".into(), "b".into());
    let order = store.claim(&a, None, NOON, lease, 1).await.unwrap().remove(0);
    store.hand_over(&order, &b, NOON + Duration::from_secs(5)).await.unwrap();
    assert_eq!(store.claim(&a, None, NOON + Duration::from_secs(4), lease, 1).await.unwrap(), []);
    let again = store.claim(&b, None, NOON + Duration::from_secs(4), lease, 1).await.unwrap().remove(0);
    assert_eq!((again.id, again.attempts), (order.id, order.attempts + 1));
    // Whose claim is over hands nothing over.
    store.hand_over(&order, &a, NOON + Duration::from_secs(9)).await.unwrap();
    assert_eq!(store.claim(&a, None, NOON + Duration::from_secs(8), lease, 1).await.unwrap(), []);
    // One that is not fetched in time is anybody's.
    store.hand_over(&again, &b, NOON + Duration::from_secs(9)).await.unwrap();
    assert_eq!(store.claim(&a, None, NOON + Duration::from_secs(9), lease, 1).await.unwrap().len(), 1);
}

async fn links_are_those_of_nodes_that_live(stage: &Stage) {
    let store = stage.store.as_ref();
    let (node, nas): (NodeName, NasName) = ("n1".into(), "edge".into());
    store.keep_links(&node, &[nas.clone(), "core".into()]).await.unwrap();
    assert_eq!(store.linked_to(&nas).await.unwrap(), [], "nobody has seen that node");
    let me = Presence {
        node: node.clone(),
        version: "1".into(),
        started_at: NOON,
        wants_turn: None,
        spooled: tokio::sync::watch::channel(Default::default()).1,
    };
    let (news, _heard) = mpsc::channel(16);
    let look = async {
        while store.linked_to(&nas).await.unwrap() != [node.clone()] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store.keep_links(&node, &["core".into()]).await.unwrap();
        assert_eq!(store.linked_to(&nas).await.unwrap(), []);
        assert_eq!(store.linked_to(&"core".into()).await.unwrap(), std::slice::from_ref(&node));
    };
    tokio::select! {
        () = store.attend(&me, news) => unreachable!("the news have not been closed"),
        done = tokio::time::timeout(Duration::from_secs(30), look) => done.unwrap(),
    }
    store.release(&node).await.unwrap();
    assert_eq!(store.linked_to(&"core".into()).await.unwrap(), []);
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
    let first = store.claim(&node, None, now, Duration::from_secs(60), 6).await.unwrap();
    assert_eq!(first.iter().map(|order| &order.effect).collect::<Vec<_>>(), effects.iter().collect::<Vec<_>>());
    let rest = store.claim(&node, None, now, Duration::from_secs(60), 100).await.unwrap();
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
                let claimed = store.claim(&node, None, NOON, Duration::from_secs(60), 7).await.unwrap();
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

async fn orders_may_be_claimed_as_they_are_added(stage: &Stage) {
    let (store, lease) = (stage.store.as_ref(), Duration::from_secs(60));
    let (me, other) = (NodeName::new("n1"), NodeName::new("n2"));
    let claim = Claim { node: me.clone(), lane: Lane::Nas, until: NOON + lease };
    let [ask, coa, disconnect] = [
        Effect::AskApprover { approver: ApproverKind::Operator },
        Effect::SendCoa { attempt: 1 },
        Effect::SendDisconnect { attempt: 2 },
    ];
    keep(store, added(&offer(9, NOON))).await;
    let with = |number, orders: &[&Effect]| Change {
        orders: orders.iter().map(|order| (*order).clone()).collect(),
        at: NOON,
        ..added(&offer(number, NOON))
    };
    let changes = [with(1, &[&coa, &ask]), with(2, &[&disconnect]), with(9, &[&coa])];
    let told = AtomicBool::new(false);
    let kept = store.commit_claiming(&changes, Some(&claim), &|| told.store(true, Ordering::Relaxed)).await.unwrap();
    assert!(told.into_inner() || store.keeps_side_by_side(), "nobody would go on");
    assert_eq!(kept.committed, [Committed::Done, Committed::Done, Committed::Conflict]);
    let claimed: Vec<_> = kept.claimed.iter().map(|order| (order.session, &order.effect, order.attempts)).collect();
    assert_eq!(claimed, [(id(1), &coa, 0), (id(2), &disconnect, 0)]);
    assert!(kept.claimed.iter().all(|order| order.ordered_at == NOON));

    // What is of another lane is anybody's; what was claimed is nobody else's until its lease is over.
    let others = store.claim(&other, None, NOON, lease, 9).await.unwrap();
    assert_eq!(others.iter().map(|order| &order.effect).collect::<Vec<_>>(), [&ask]);
    // Its claim is like any other: it can be put off by whoever holds it, and by nobody who came before.
    let again = NOON + Duration::from_secs(1);
    store.postpone(&kept.claimed[1], again, "the NAS is busy").await.unwrap();
    let second = store.claim(&other, None, again, lease, 9).await.unwrap();
    assert_eq!(second.iter().map(|order| (order.id, order.attempts)).collect::<Vec<_>>(), [(kept.claimed[1].id, 1)]);
    store.postpone(&kept.claimed[1], again, "too late").await.unwrap();
    assert_eq!(store.claim(&me, None, again, lease, 9).await.unwrap(), []);

    // Given free, it is claimed at once; what was claimed again since is left alone.
    let of_another = [
        Claim { node: other.clone(), ..claim.clone() },
        Claim { lane: Lane::People, ..claim.clone() },
        Claim { until: NOON, ..claim.clone() },
    ];
    for another in &of_another {
        store.disclaim(another, &[id(1)]).await.unwrap();
    }
    assert_eq!(store.claim(&other, None, NOON, lease, 9).await.unwrap(), []);
    store.disclaim(&claim, &[id(1), id(2), id(7)]).await.unwrap();
    let freed = store.claim(&other, None, again, lease, 9).await.unwrap();
    assert_eq!(freed.iter().map(|order| order.id).collect::<Vec<_>>(), [kept.claimed[0].id]);
    store.disclaim(&Claim { node: other, until: again + lease, ..claim }, &[id(1)]).await.unwrap();
    assert_eq!(store.claim(&me, None, again, lease, 9).await.unwrap(), [], "it was claimed twice");

    let nobody = store.commit_claiming(&[with(3, &[&coa])], None, &|| ()).await.unwrap();
    assert_eq!((nobody.committed, nobody.claimed), (vec![Committed::Done], vec![]));
    assert_eq!(store.claim(&me, None, NOON, lease, 9).await.unwrap().len(), 1);
}

async fn a_lease_runs_out(stage: &Stage) {
    let (a, b) = (stage.another().await, stage.another().await);
    order(a.as_ref(), 1, 0).await;
    let lease = Duration::from_secs(30);
    let claimed = a.claim(&"a".into(), None, NOON, lease, 10).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 0));
    assert_eq!(b.claim(&"b".into(), None, NOON + Duration::from_secs(29), lease, 10).await.unwrap(), []);
    // Its own claimer does not get it twice either.
    assert_eq!(a.claim(&"a".into(), None, NOON + Duration::from_secs(29), lease, 10).await.unwrap(), []);
    let again = b.claim(&"b".into(), None, NOON + Duration::from_secs(30), lease, 10).await.unwrap();
    assert_eq!((again.len(), again[0].id, again[0].attempts), (1, claimed[0].id, 1));
}

async fn a_node_that_starts_again_gets_its_own_orders_back(stage: &Stage) {
    let store = stage.store.as_ref();
    order(store, 1, 0).await;
    order(store, 2, 0).await;
    let lease = Duration::from_secs(600);
    let before = store.claim(&"a".into(), None, NOON, lease, 1).await.unwrap();
    let others = store.claim(&"b".into(), None, NOON, lease, 1).await.unwrap();
    store.release(&"a".into()).await.unwrap();
    let again = store.claim(&"a".into(), None, NOON, lease, 10).await.unwrap();
    assert_eq!(again.iter().map(|order| order.id).collect::<Vec<_>>(), [before[0].id], "not {:?}", others[0].id);
}

async fn an_order_can_be_put_off_and_struck_off(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let lease = Duration::from_secs(600);
    order(store, 1, 0).await;
    let claimed = store.claim(&node, None, NOON, lease, 10).await.unwrap();
    let later = NOON + Duration::from_secs(15);
    store.postpone(&claimed[0], later, "429 Too Many Requests").await.unwrap();
    assert_eq!(store.claim(&node, None, NOON + Duration::from_secs(14), lease, 10).await.unwrap(), []);
    let again = store.claim(&node, None, later, lease, 10).await.unwrap();
    assert_eq!((again.len(), again[0].attempts, again[0].ordered_at), (1, 1, NOON));

    store.finish(&[again[0].id]).await.unwrap();
    assert_eq!(store.claim(&node, None, later + lease + lease, lease, 10).await.unwrap(), []);
    // Done twice is harmless, and nothing comes back.
    store.finish(&[again[0].id]).await.unwrap();
    store.postpone(&again[0], later, "too late").await.unwrap();
    assert_eq!(store.claim(&node, None, later + lease + lease, lease, 10).await.unwrap(), []);
    order(store, 2, 0).await;
    let fresh = store.claim(&node, None, NOON, lease, 10).await.unwrap();
    assert!(fresh[0].id > again[0].id, "the number of an order is not used again");
}

async fn an_outcome_settles_its_order(stage: &Stage) {
    let store = stage.store.as_ref();
    let node = NodeName::new("n1");
    let lease = Duration::from_secs(10);
    let offered = offer(1, NOON);
    keep(store, Change { orders: vec![Effect::SendCoa { attempt: 1 }], ..added(&offered) }).await;
    let claimed = store.claim(&node, None, NOON, lease, 10).await.unwrap();

    let (asked, first) = stepped(&offered, &Event::Accepted, NOON);
    keep(store, Change { orders: vec![], settles: Some(claimed[0].id), ..first }).await;
    let much_later = NOON + Duration::from_secs(1000);
    assert_eq!(store.claim(&node, None, much_later, lease, 10).await.unwrap(), []);
    // Somebody else settled it already: the change is kept all the same.
    let (sent, second) =
        stepped(&asked, &Event::PromptSent { approver: ApproverKind::Telegram, reference: "r".into() }, NOON);
    keep(store, Change { settles: Some(claimed[0].id), ..second }).await;
    assert_eq!(read(store, id(1)).await.unwrap(), sent);
}

async fn who_comes_late_does_not_put_off_what_another_holds(stage: &Stage) {
    let store = stage.store.as_ref();
    let lease = Duration::from_secs(30);
    order(store, 1, 0).await;
    let first = store.claim(&"a".into(), None, NOON, lease, 1).await.unwrap();
    // Taken from the dead, and not yet held by anybody: a late word of the dead is not heard.
    store.release(&"a".into()).await.unwrap();
    let far = NOON + Duration::from_secs(1000);
    store.postpone(&first[0], far, "late").await.unwrap();
    let second = store.claim(&"b".into(), None, NOON, lease, 1).await.unwrap();
    assert_eq!(second.len(), 1);
    // Nor is it when another is at it.
    store.postpone(&first[0], NOON, "late").await.unwrap();
    assert_eq!(store.claim(&"c".into(), None, NOON, lease, 1).await.unwrap(), []);
    store.postpone(&second[0], NOON, "in time").await.unwrap();
    assert_eq!(store.claim(&"c".into(), None, NOON, lease, 1).await.unwrap().len(), 1);
}
