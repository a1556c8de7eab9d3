//! Codes as a second factor: what works once works once, whoever comes first.

use std::sync::Arc;
use std::time::Duration;

use radhold::model::{Timestamp, UserName};
use radhold::store::{AuditEntry, AuditQuery, EmergencyCode, KeptTotp, StoreError};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        totp_is_kept_and_goes_with_its_user,
        a_step_is_accepted_once_and_none_before_it,
        of_many_who_bring_a_step_one_wins,
        tries_are_counted_by_the_minute,
        recovery_codes_are_struck_off,
        emergency_codes_have_an_end,
        a_challenge_is_answered_once,
    }
}

fn alice() -> UserName {
    "alice".into()
}

fn kept(secret: &str) -> KeptTotp {
    KeptTotp { user: alice(), secret: secret.into(), enrolled_at: NOON, confirmed_at: None, recovery_left: 0 }
}

fn act(act: &str, at: Timestamp) -> AuditEntry {
    AuditEntry {
        at,
        who: "root".into(),
        through: "command-line".into(),
        origin: String::new(),
        act: act.into(),
        subject: "alice".into(),
        detail: String::new(),
    }
}

async fn enrol(stage: &Stage, secret: &str, recovery: &[&str]) {
    let recovery: Vec<String> = recovery.iter().map(|hash| (*hash).to_owned()).collect();
    stage.store.enrol_totp(&kept(secret), &recovery, &act("totp.enrol", NOON)).await.unwrap();
}

async fn acts(stage: &Stage) -> Vec<String> {
    let acts = stage.store.audited(&AuditQuery::default()).await.unwrap();
    acts.into_iter().rev().map(|act| act.act).collect()
}

async fn totp_is_kept_and_goes_with_its_user(stage: &Stage) {
    let store = &stage.store;
    let nobody = store.enrol_totp(&kept("s"), &[], &act("totp.enrol", NOON)).await;
    assert!(matches!(nobody, Err(StoreError::Refused(_))), "{nobody:?}");
    store.add_user(&user("alice")).await.unwrap();
    assert_eq!(store.totp(&alice()).await.unwrap(), None);
    assert!(matches!(
        store.renew_recovery(&alice(), &[], &act("totp.recovery-renew", NOON)).await,
        Err(StoreError::Missing(_))
    ));
    assert!(!store.remove_totp(&alice(), &act("totp.remove", NOON)).await.unwrap());
    enrol(stage, "s1", &["a", "b", "c"]).await;
    assert_eq!(store.totp(&alice()).await.unwrap(), Some(KeptTotp { recovery_left: 3, ..kept("s1") }));
    enrol(stage, "s2", &["d"]).await;
    assert_eq!(store.totp(&alice()).await.unwrap(), Some(KeptTotp { recovery_left: 1, ..kept("s2") }));
    let renewed = ["e".to_owned(), "f".to_owned()];
    store.renew_recovery(&alice(), &renewed, &act("totp.recovery-renew", NOON)).await.unwrap();
    assert!(!store.spend_recovery(&alice(), "d", &act("totp.recovery-used", NOON)).await.unwrap());
    assert_eq!(store.totp(&alice()).await.unwrap().unwrap().recovery_left, 2);
    assert!(store.remove_totp(&alice(), &act("totp.remove", NOON)).await.unwrap());
    assert_eq!(acts(stage).await, ["totp.enrol", "totp.enrol", "totp.recovery-renew", "totp.remove"]);
    assert!(!store.spend_recovery(&alice(), "e", &act("totp.recovery-used", NOON)).await.unwrap());
    enrol(stage, "s3", &["g"]).await;
    store.remove_user(&alice()).await.unwrap();
    store.add_user(&user("alice")).await.unwrap();
    assert_eq!(store.totp(&alice()).await.unwrap(), None, "another alice does not inherit it");
}

async fn a_step_is_accepted_once_and_none_before_it(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    enrol(stage, "s1", &[]).await;
    let later = NOON + Duration::from_secs(9);
    let accept = async |secret: &str, step: u64, at| store.accept_step(&kept(secret), step, at).await.unwrap();
    assert!(accept("s1", 100, NOON).await);
    assert_eq!(store.totp(&alice()).await.unwrap().unwrap().confirmed_at, Some(NOON));
    assert!(!accept("s1", 100, later).await);
    assert!(!accept("s1", 99, later).await);
    assert!(accept("s1", 101, later).await);
    assert_eq!(store.totp(&alice()).await.unwrap().unwrap().confirmed_at, Some(NOON), "the first one");
    enrol(stage, "s2", &[]).await;
    assert!(!accept("s1", 200, later).await, "a code of the authenticator before");
    assert!(accept("s2", 101, later).await, "another secret has other codes");
}

async fn of_many_who_bring_a_step_one_wins(stage: &Stage) {
    stage.store.add_user(&user("alice")).await.unwrap();
    enrol(stage, "s1", &["a"]).await;
    for step in 1..5 {
        let mut all = tokio::task::JoinSet::new();
        for nth in 0..8 {
            let store = if nth % 2 == 0 { Arc::clone(&stage.store) } else { stage.another().await };
            all.spawn(async move { store.accept_step(&kept("s1"), step, NOON).await.unwrap() });
        }
        assert_eq!(all.join_all().await.into_iter().filter(|won| *won).count(), 1);
    }
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = stage.another().await;
        all.spawn(async move { store.spend_recovery(&alice(), "a", &act("totp.recovery-used", NOON)).await.unwrap() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|won| *won).count(), 1);
}

async fn tries_are_counted_by_the_minute(stage: &Stage) {
    let store = &stage.store;
    assert_eq!(store.begin_code_try(&alice(), NOON).await.unwrap(), None);
    store.add_user(&user("alice")).await.unwrap();
    enrol(stage, "s1", &["a"]).await;
    let tries = async |secs| {
        let tried = store.begin_code_try(&alice(), NOON + Duration::from_secs(secs)).await.unwrap().unwrap();
        assert_eq!(tried.totp, KeptTotp { recovery_left: 1, ..kept("s1") });
        tried.tries
    };
    assert_eq!((tries(0).await, tries(30).await, tries(59).await), (1, 2, 3));
    assert_eq!((tries(60).await, tries(61).await), (1, 2));
    // Another secret does not begin a new minute.
    enrol(stage, "s1", &["a"]).await;
    assert_eq!(tries(62).await, 3);
}

async fn recovery_codes_are_struck_off(stage: &Stage) {
    let store = &stage.store;
    for name in ["alice", "bob"] {
        store.add_user(&user(name)).await.unwrap();
    }
    enrol(stage, "s1", &["a", "b"]).await;
    let spend = async |name: &str, hash: &str| {
        store.spend_recovery(&name.into(), hash, &act("totp.recovery-used", NOON)).await.unwrap()
    };
    assert!(!spend("alice", "x").await);
    assert!(!spend("bob", "a").await);
    assert!(spend("alice", "a").await);
    assert!(!spend("alice", "a").await);
    assert_eq!(store.totp(&alice()).await.unwrap().unwrap().recovery_left, 1);
    assert_eq!(acts(stage).await, ["totp.enrol", "totp.recovery-used"], "of what was not done nothing is on record");
}

async fn emergency_codes_have_an_end(stage: &Stage) {
    let store = &stage.store;
    let until = NOON + Duration::from_secs(60);
    let code = EmergencyCode {
        name: "e1".into(),
        hash: "h1".into(),
        made_at: NOON,
        made_by: "root".into(),
        valid_until: until,
        uses_left: 2,
    };
    store.add_emergency(&code, &act("emergency.new", NOON)).await.unwrap();
    assert_eq!(store.emergencies().await.unwrap(), std::slice::from_ref(&code));
    let spend = async |hash: &str, at| store.spend_emergency(hash, &act("emergency.used", at)).await.unwrap();
    assert_eq!(spend("h2", NOON).await, None);
    assert_eq!(spend("h1", until).await, None, "its time is over");
    assert_eq!(spend("h1", NOON).await, Some(EmergencyCode { uses_left: 1, ..code.clone() }));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = stage.another().await;
        all.spawn(async move { store.spend_emergency("h1", &act("emergency.used", NOON)).await.unwrap().is_some() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|used| *used).count(), 1, "one was left");
    let used =
        store.audited(&AuditQuery { act: Some("emergency.used".into()), ..AuditQuery::default() }).await.unwrap();
    assert_eq!(used.len(), 2);
    assert_eq!(used[0].detail, "emergency code e1, 0 more uses");
    assert!(!store.revoke_emergency("e2", &act("emergency.revoke", NOON)).await.unwrap());
    assert!(store.revoke_emergency("e1", &act("emergency.revoke", NOON)).await.unwrap());
    assert_eq!(store.emergencies().await.unwrap(), []);
    store.add_emergency(&code, &act("emergency.new", NOON)).await.unwrap();
    store.forget_codes(until).await.unwrap();
    assert_eq!(store.emergencies().await.unwrap().len(), 1);
    store.forget_codes(until + Duration::from_secs(1)).await.unwrap();
    assert_eq!(store.emergencies().await.unwrap(), []);
}

async fn a_challenge_is_answered_once(stage: &Stage) {
    let store = &stage.store;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = stage.another().await;
        all.spawn(async move { store.spend_challenge("c1", NOON).await.unwrap() });
    }
    assert_eq!(all.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert!(store.spend_challenge("c2", NOON).await.unwrap());
    store.forget_codes(NOON).await.unwrap();
    assert!(!store.spend_challenge("c1", NOON).await.unwrap());
    store.forget_codes(NOON + Duration::from_secs(1)).await.unwrap();
    assert!(store.spend_challenge("c1", NOON).await.unwrap());
}
