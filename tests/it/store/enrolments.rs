//! Links and chats on their way to being bound; what was heard already; notices; where a decision came from.

use std::time::Duration;

use radhold::model::{ApproverKind, Binding, Enrolment, EnrolmentId, EnrolmentState, Taker, Timestamp};
use radhold::session::{Approval, Event, Proof, Voices};
use radhold::store::{AuditEntry, AuditQuery, Heard, StoreError};
use uuid::Uuid;

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        an_enrolment_is_taken_once_and_binds_then,
        what_is_replaced_goes_with_the_binding,
        an_expired_or_settled_enrolment_is_not_moved,
        of_many_who_take_one_wins,
        what_may_bind_a_chat_yet_is_listed_and_taken_back,
        administrators_are_told_once,
        what_was_heard_is_known_again,
        a_decision_says_where_it_came_from,
    }
}

const LATER: Duration = Duration::from_secs(60);

fn open(number: u128, user: &str) -> Enrolment {
    Enrolment {
        id: EnrolmentId(Uuid::from_u128(number)),
        user: user.into(),
        approver: ApproverKind::Telegram,
        token_hash: Some(vec![u8::try_from(number).unwrap(), 0, 255]),
        replace: false,
        made_by: "root".into(),
        made_at: NOON,
        expires_at: NOON + LATER,
        state: EnrolmentState::Open,
        taker: None,
    }
}

fn taken(enrolment: &Enrolment, chat: &str, state: EnrolmentState) -> Enrolment {
    let taker = Taker {
        address: chat.into(),
        presser: chat.into(),
        person: "Zoë <b>\0".replace('\0', ""),
        language: Some("ru".into()),
        at: NOON + Duration::from_secs(1),
    };
    Enrolment { state, taker: Some(taker), ..enrolment.clone() }
}

fn act(what: &str) -> AuditEntry {
    AuditEntry {
        at: NOON,
        who: "telegram:7".into(),
        through: "telegram".into(),
        origin: "chat 7".into(),
        act: what.into(),
        subject: "alice".into(),
        detail: String::new(),
    }
}

fn binding(chat: &str, at: Timestamp) -> Binding {
    Binding {
        user: "alice".into(),
        approver: ApproverKind::Telegram,
        address: chat.into(),
        presser: chat.into(),
        bound_at: at,
    }
}

async fn acts(stage: &Stage) -> Vec<String> {
    let mut acts = stage.store.audited(&AuditQuery::default()).await.unwrap();
    acts.reverse();
    acts.into_iter().map(|act| act.act).collect()
}

async fn an_enrolment_is_taken_once_and_binds_then(stage: &Stage) {
    let store = &stage.store;
    let link = open(1, "alice");
    assert!(matches!(store.add_enrolment(&link, &act("user.enrol")).await, Err(StoreError::Missing(_))));
    store.add_user(&user("alice")).await.unwrap();
    store.add_enrolment(&link, &act("user.enrol")).await.unwrap();
    assert_eq!(store.enrolment(link.id).await.unwrap(), Some(link.clone()));
    assert_eq!(store.enrolment_by_token(&[1, 0, 255]).await.unwrap(), Some(link.clone()));
    assert_eq!(store.enrolment_by_token(&[1, 0]).await.unwrap(), None);

    let waiting = taken(&link, "7", EnrolmentState::Waiting);
    assert!(store.move_enrolment(&waiting, EnrolmentState::Open, NOON, &act("enrolment.take")).await.unwrap());
    assert!(!store.move_enrolment(&waiting, EnrolmentState::Open, NOON, &act("enrolment.take")).await.unwrap());
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), []);
    assert_eq!(store.enrolments_waiting(NOON).await.unwrap(), std::slice::from_ref(&waiting));
    assert_eq!(store.enrolments_waiting(NOON + LATER).await.unwrap(), []);

    let bound = Enrolment { state: EnrolmentState::Bound, ..waiting.clone() };
    assert!(store.move_enrolment(&bound, EnrolmentState::Waiting, NOON, &act("enrolment.confirm")).await.unwrap());
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [binding("7", NOON)]);
    assert_eq!(store.bindings_at(ApproverKind::Telegram, "7").await.unwrap(), [binding("7", NOON)]);
    assert_eq!(store.bindings_at(ApproverKind::Operator, "7").await.unwrap(), []);
    assert_eq!(store.enrolment(link.id).await.unwrap(), Some(bound));
    assert_eq!(acts(stage).await, ["user.enrol", "enrolment.take", "enrolment.confirm"], "no act that was not done");

    // It goes with its user.
    store.remove_user(&"alice".into()).await.unwrap();
    assert_eq!(store.enrolment(link.id).await.unwrap(), None);
}

async fn what_is_replaced_goes_with_the_binding(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    store.add_user(&user("bob")).await.unwrap();
    let bobs = Binding { user: "bob".into(), ..binding("5", NOON) };
    for old in [binding("5", NOON), binding("6", NOON), bobs.clone()] {
        store.bind(&old).await.unwrap();
    }
    let link = Enrolment { replace: true, ..open(1, "alice") };
    store.add_enrolment(&link, &act("user.enrol")).await.unwrap();
    let now = NOON + Duration::from_secs(1);
    let bound = taken(&link, "7", EnrolmentState::Bound);
    assert!(store.move_enrolment(&bound, EnrolmentState::Open, now, &act("enrolment.bind")).await.unwrap());
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [binding("7", now)]);
    assert_eq!(store.bindings(&"bob".into()).await.unwrap(), [bobs]);
}

async fn an_expired_or_settled_enrolment_is_not_moved(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    let link = open(1, "alice");
    store.add_enrolment(&link, &act("user.enrol")).await.unwrap();
    let bound = taken(&link, "7", EnrolmentState::Bound);
    assert!(!store.move_enrolment(&bound, EnrolmentState::Open, NOON + LATER, &act("enrolment.bind")).await.unwrap());
    let refused = taken(&link, "7", EnrolmentState::Refused);
    assert!(store.move_enrolment(&refused, EnrolmentState::Open, NOON, &act("enrolment.refuse")).await.unwrap());
    for from in [EnrolmentState::Open, EnrolmentState::Waiting] {
        assert!(!store.move_enrolment(&bound, from, NOON, &act("enrolment.bind")).await.unwrap());
    }
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), []);
    store.forget_heard(NOON + LATER).await.unwrap();
    assert_eq!(store.enrolment(link.id).await.unwrap(), Some(refused), "not over for long enough");
    store.forget_heard(NOON + LATER * 2).await.unwrap();
    assert_eq!(store.enrolment(link.id).await.unwrap(), None);
}

async fn of_many_who_take_one_wins(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    let link = open(1, "alice");
    store.add_enrolment(&link, &act("user.enrol")).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for chat in 0..12 {
        let (store, bound) = (store.clone(), taken(&link, &chat.to_string(), EnrolmentState::Bound));
        tasks.spawn(async move {
            store.move_enrolment(&bound, EnrolmentState::Open, NOON, &act("enrolment.bind")).await.unwrap()
        });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!((won, store.bindings(&"alice".into()).await.unwrap().len()), (1, 1));
}

async fn administrators_are_told_once(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    for number in [1, 2] {
        let link = open(number, "alice");
        store.add_enrolment(&link, &act("user.enrol")).await.unwrap();
        let waiting = taken(&link, "7", EnrolmentState::Waiting);
        assert!(store.move_enrolment(&waiting, EnrolmentState::Open, NOON, &act("enrolment.take")).await.unwrap());
    }
    let lease = Duration::from_secs(10);
    let claimed = store.claim_enrolment_notices(NOON, lease, 9).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert_eq!(store.claim_enrolment_notices(NOON, lease, 9).await.unwrap(), []);
    store.enrolment_told(claimed[0].id).await.unwrap();
    let again = store.claim_enrolment_notices(NOON + lease, lease, 9).await.unwrap();
    assert_eq!(again, std::slice::from_ref(&claimed[1]), "what was not told is told by somebody else");

    // A denied login is a strike, and is told too.
    let held = started(stage, 9).await;
    let denial = radhold::session::Denial::by_operator("7");
    let (_, denied) = stepped(&held, &Event::Denied(denial), NOON);
    keep(&**store, denied).await;
    let none = store.claim_strike_notices(NOON + LATER, NOON, lease, 9).await.unwrap();
    assert_eq!(none, [], "older than asked for");
    let told = store.claim_strike_notices(NOON, NOON, lease, 9).await.unwrap();
    assert_eq!((told.len(), told[0].session), (1, id(9)));
    assert_eq!(store.claim_strike_notices(NOON, NOON, lease, 9).await.unwrap(), []);
    store.strike_told(id(9)).await.unwrap();
    assert_eq!(store.claim_strike_notices(NOON, NOON + LATER, lease, 9).await.unwrap(), []);
}

async fn what_was_heard_is_known_again(stage: &Stage) {
    let store = &stage.store;
    assert_eq!(store.begin_update("telegram:1", 5, NOON).await.unwrap(), Heard::Never);
    assert_eq!(store.begin_update("telegram:1", 5, NOON).await.unwrap(), Heard::Begun);
    assert_eq!(store.begin_update("telegram:2", 5, NOON).await.unwrap(), Heard::Never, "another bot's");
    store.finish_update("telegram:1", 5).await.unwrap();
    assert_eq!(store.begin_update("telegram:1", 5, NOON).await.unwrap(), Heard::Done);
    store.forget_heard(NOON).await.unwrap();
    assert_eq!(store.begin_update("telegram:1", 5, NOON).await.unwrap(), Heard::Done);
    store.forget_heard(NOON + LATER).await.unwrap();
    assert_eq!(store.begin_update("telegram:1", 5, NOON + LATER).await.unwrap(), Heard::Never);
}

async fn a_decision_says_where_it_came_from(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    store.bind(&Binding { presser: "77".into(), ..binding("-100", NOON) }).await.unwrap();
    let key = radhold::session::ButtonKey::new(&radhold::model::Secret::new("k"));
    let place = radhold::session::Place { approver: ApproverKind::Telegram, chat: "-100", presser: "77" };
    let sealed = key.seal(id(1), radhold::session::Verdict::Approved, place);
    let voices = Voices::of_own(&[Binding { presser: "77".into(), ..binding("-100", NOON) }], []);
    let Ok(Proof::Yes(press)) = key.redeem(&sealed, place).unwrap().into_proof(voices) else { unreachable!() };
    let hook = radhold::session::Place { approver: ApproverKind::Webhook, chat: "hook", presser: "telegram:42" };
    let sealed = key.seal(id(5), radhold::session::Verdict::Approved, hook);
    let voices = Voices::of_own(&[], [ApproverKind::Webhook]);
    let Ok(Proof::Yes(posing)) = key.redeem(&sealed, hook).unwrap().into_proof(voices) else { unreachable!() };
    let approvals = [
        press,
        Approval::by_operator("root"),
        Approval::by_operator("telegram:42"),
        Approval::by_operator("telegram:42@-200"),
        posing,
        Approval::by_operator("Telegram:42@-200"),
    ];
    for (number, approval) in (1..).zip(approvals) {
        let held = started(stage, number).await;
        let (_, approved) = stepped(&held, &Event::Approved(approval), NOON + Duration::from_secs(number as u64));
        keep(&**store, approved).await;
    }
    let mut acts = store.audited(&AuditQuery::default()).await.unwrap();
    acts.reverse();
    let acts: Vec<_> = acts.iter().map(|act| (act.who.as_str(), act.through.as_str(), act.origin.as_str())).collect();
    assert_eq!(
        acts,
        [
            ("77", "telegram", "chat -100"),
            ("root", "operator", ""),
            ("telegram:42", "telegram", "chat 42"),
            ("telegram:42", "telegram", "chat -200"),
            ("telegram:42", "webhook", ""),
            ("Telegram:42@-200", "operator", ""),
        ]
    );
}

/// A session of alice's that has started and was asked about.
async fn started(stage: &Stage, number: u128) -> radhold::session::Session {
    let offered = offer(number, NOON);
    keep(&*stage.store, added(&offered)).await;
    let report = radhold::accounting::Report { at: NOON, ..Default::default() };
    let (held, change) = stepped(&offered, &Event::Started(report), NOON);
    keep(&*stage.store, change).await;
    held
}

async fn what_may_bind_a_chat_yet_is_listed_and_taken_back(stage: &Stage) {
    let store = &*stage.store;
    store.add_user(&user("alice")).await.unwrap();
    let (link, over, taken_one) = (open(1, "alice"), open(2, "alice"), open(3, "alice"));
    let over = Enrolment { expires_at: NOON, ..over };
    let asked = Enrolment { token_hash: None, made_at: NOON + Duration::from_secs(1), ..open(4, "alice") };
    let asked = taken(&asked, "9", EnrolmentState::Waiting);
    for enrolment in [&link, &over, &taken_one, &asked] {
        store.add_enrolment(enrolment, &act("user.enrol")).await.unwrap();
    }
    let bound = taken(&taken_one, "7", EnrolmentState::Bound);
    assert!(store.move_enrolment(&bound, EnrolmentState::Open, NOON, &act("enrolment.bind")).await.unwrap());
    assert_eq!(store.enrolments_open(NOON).await.unwrap(), [link.clone(), asked.clone()]);
    assert_eq!(store.enrolments_open(NOON + LATER).await.unwrap(), []);

    for enrolment in [&link, &asked] {
        assert!(store.revoke_enrolment(enrolment.id, &act("enrolment.revoke")).await.unwrap());
        assert!(!store.revoke_enrolment(enrolment.id, &act("enrolment.revoke")).await.unwrap(), "twice");
    }
    assert!(!store.revoke_enrolment(over.id, &act("enrolment.revoke")).await.unwrap(), "over");
    assert!(!store.revoke_enrolment(bound.id, &act("enrolment.revoke")).await.unwrap(), "bound: that is unbinding");
    let late = taken(&link, "8", EnrolmentState::Bound);
    assert!(!store.move_enrolment(&late, EnrolmentState::Open, NOON, &act("enrolment.bind")).await.unwrap());
    assert_eq!(store.enrolments_open(NOON).await.unwrap(), []);
    let query = AuditQuery { act: Some("enrolment.revoke".into()), ..AuditQuery::default() };
    assert_eq!(store.audited(&query).await.unwrap().len(), 2);
}
