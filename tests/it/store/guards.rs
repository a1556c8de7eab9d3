//! Prompts, notices of too many, and approvals that are remembered.

use std::time::Duration;

use radhold::model::{ApproverKind, Binding, GuardSettings, Nas, Secret, Timestamp, User};
use radhold::policy::{Guards, HOUR, Prompt, PromptFate, Terms, Trust};
use radhold::session::{ButtonKey, Denial, Event, Place, Proof, Session, State, Timing, Verdict, Voices, step};
use radhold::store::{AuditEntry, AuditQuery, Committed, Store};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        a_prompt_is_kept_with_its_session_and_ends_once,
        too_many_prompts_are_noticed_once_in_a_window,
        trust_is_kept_with_the_lifting_and_renewed_by_a_later_one,
        a_denial_makes_earlier_trust_void_and_not_later_trust,
        a_password_a_phone_and_a_person_take_their_trust_with_them,
        trust_is_taken_back_one_by_one_and_all_at_once,
        users_and_nases_keep_their_guards,
    }
}

fn secs(secs: u64) -> Timestamp {
    NOON + Duration::from_secs(secs)
}

fn act(at: Timestamp, subject: &str) -> AuditEntry {
    AuditEntry {
        at,
        who: "night-shift".into(),
        through: "command-line".into(),
        origin: "host".into(),
        act: "trust.revoke".into(),
        subject: subject.into(),
        detail: String::new(),
    }
}

/// An offer with trust on, from a caller.
fn offered(number: u128, at: Timestamp, caller: &str) -> Session {
    let mut record = offer(number, at).into_record();
    record.identity.calling_station_id = Some(caller.into());
    if let Some(Terms::Hold(terms)) = record.grant.as_mut().map(|grant| &mut grant.terms) {
        terms.guards = Guards { trust_for: HOUR, ..Guards::default() };
    }
    Session::restore(record)
}

fn pressed(session: &Session, verdict: Verdict) -> Event {
    let key = ButtonKey::new(&Secret::new("cluster"));
    let place = Place { approver: ApproverKind::Telegram, chat: "7", presser: "7" };
    let press = key.redeem(&key.seal(session.id, verdict, place), place).unwrap();
    match press.into_proof(Voices::of_own(&[binding()], [])).unwrap() {
        Proof::Yes(approval) => Event::Approved(approval),
        Proof::No(denial) => Event::Denied(denial),
    }
}

fn binding() -> Binding {
    Binding {
        user: "alice".into(),
        approver: ApproverKind::Telegram,
        address: "7".into(),
        presser: "7".into(),
        bound_at: NOON,
    }
}

async fn added(store: &dyn Store, session: &Session) -> Session {
    let (after, change) = stepped(session, &Event::Accepted, session.accepted_at);
    let change = radhold::store::Change { from_version: None, ..change };
    assert_eq!(store.commit(&[change]).await.unwrap(), [Committed::Done]);
    after
}

async fn keep(store: &dyn Store, session: &Session, event: &Event, at: Timestamp) -> Session {
    let (after, change) = stepped(session, event, at);
    assert_eq!(store.commit(&[change]).await.unwrap(), [Committed::Done]);
    after
}

fn report(at: Timestamp) -> radhold::accounting::Report {
    radhold::accounting::Report { at, ..Default::default() }
}

/// A session that was approved then and is lifted a second later.
async fn lifted(store: &dyn Store, number: u128, at: Timestamp, caller: &str) -> Session {
    let session = added(store, &offered(number, at, caller)).await;
    let session = keep(store, &session, &Event::Started(report(at)), at).await;
    let session = keep(store, &session, &pressed(&session, Verdict::Approved), at).await;
    let later = at + Duration::from_secs(1);
    let session = keep(store, &session, &Event::CoaAcked { attempt: session.attempt }, later).await;
    assert_eq!(session.state, State::Permitted);
    session
}

async fn places(store: &dyn Store, at: Timestamp) -> Vec<String> {
    let trusted = store.trusted(Some(&"alice".into()), at).await.unwrap();
    assert_eq!(trusted, store.trusted(None, at).await.unwrap());
    trusted.iter().map(|trust| trust.place.to_string()).collect()
}

async fn acts(store: &dyn Store) -> Vec<(String, String)> {
    let acts = store.audited(&AuditQuery { limit: 100, ..AuditQuery::default() }).await.unwrap();
    let trust = acts.into_iter().rev().filter(|act| act.act.starts_with("trust."));
    trust.map(|act| (act.act, act.detail)).collect()
}

async fn a_prompt_is_kept_with_its_session_and_ends_once(stage: &Stage) {
    let store = &*stage.store;
    let session = added(store, &offered(1, secs(0), "203.0.113.7[4500]")).await;
    let kept = store.prompts(secs(0)).await.unwrap();
    let [prompt] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(*prompt, Prompt { end: None, ..session.prompt(secs(0)).unwrap() });
    assert_eq!((prompt.caller.as_str(), prompt.deadline), ("203.0.113.7", secs(120)));
    let session = keep(store, &session, &Event::Started(report(secs(1))), secs(1)).await;
    assert_eq!(store.prompts(secs(1)).await.unwrap(), [], "nothing has changed");
    let session = keep(store, &session, &pressed(&session, Verdict::Denied), secs(2)).await;
    let kept = store.prompts(secs(1)).await.unwrap();
    let end = kept[0].end.unwrap();
    assert_eq!((kept.len(), end.at, end.fate), (1, secs(2), PromptFate::Denied));
    keep(store, &session, &Event::Stopped(report(secs(9))), secs(9)).await;
    assert_eq!(store.prompts(secs(3)).await.unwrap(), [], "how it ended stays");
    store.forget_prompts(secs(3)).await.unwrap();
    assert_eq!(store.prompts(Timestamp::default()).await.unwrap(), []);
}

async fn too_many_prompts_are_noticed_once_in_a_window(stage: &Stage) {
    let store = &*stage.store;
    let noticed = async |user: &str, at| store.notice_prompts(&user.into(), HOUR, &act(at, user)).await.unwrap();
    assert!(noticed("alice", secs(0)).await);
    assert!(!noticed("alice", secs(3599)).await);
    assert!(noticed("bob", secs(3599)).await);
    assert!(noticed("alice", secs(3600)).await);
    assert_eq!(acts(store).await.len(), 3, "each notice is on record");
}

async fn trust_is_kept_with_the_lifting_and_renewed_by_a_later_one(stage: &Stage) {
    let store = &*stage.store;
    let first = lifted(store, 1, secs(0), "203.0.113.7").await;
    let (trusts, voids) = store.trust_changes(secs(0)).await.unwrap();
    let [trust] = trusts.as_slice() else { panic!("{trusts:?}") };
    assert_eq!((trust, voids), (&first.trust().unwrap(), vec![]));
    assert_eq!((trust.since, trust.until), (secs(0), secs(3600)));
    // What comes of the session later earns nothing more.
    keep(store, &first, &Event::Started(report(secs(2))), secs(2)).await;
    assert_eq!(store.trust_changes(secs(2)).await.unwrap(), (vec![], vec![]));
    lifted(store, 2, secs(600), "203.0.113.7").await;
    lifted(store, 3, secs(700), "00-1B-63-84-45-E6").await;
    lifted(store, 4, secs(800), "no address at all").await;
    assert_eq!(places(store, secs(4199)).await, ["address 203.0.113.7", "device 001b638445e6 at edge"]);
    assert_eq!(places(store, secs(4200)).await, ["device 001b638445e6 at edge"]);
    let acts = acts(store).await;
    assert_eq!(acts.len(), 3, "{acts:?}");
    assert_eq!(acts[0], ("trust.add".into(), "address 203.0.113.7, until 2026-11-20T13:00:00Z".into()));
    store.forget_trust(secs(4201)).await.unwrap();
    let (left, _) = store.trust_changes(Timestamp::default()).await.unwrap();
    assert_eq!(left.iter().map(|trust: &Trust| trust.session).collect::<Vec<_>>(), [id(3)]);
}

async fn a_denial_makes_earlier_trust_void_and_not_later_trust(stage: &Stage) {
    let store = &*stage.store;
    lifted(store, 1, secs(0), "203.0.113.7").await;
    // Approved before the denial, and lifted after it.
    let late = added(store, &offered(2, secs(10), "203.0.113.8")).await;
    let late = keep(store, &late, &Event::Started(report(secs(10))), secs(10)).await;
    let late = keep(store, &late, &pressed(&late, Verdict::Approved), secs(11)).await;
    let denied = added(store, &offered(3, secs(20), "203.0.113.66")).await;
    let denied = keep(store, &denied, &pressed(&denied, Verdict::Denied), secs(21)).await;
    keep(store, &late, &Event::CoaAcked { attempt: late.attempt }, secs(22)).await;
    assert_eq!(places(store, secs(22)).await, [] as [String; 0]);
    let (_, voids) = store.trust_changes(secs(21)).await.unwrap();
    assert_eq!((voids.len(), voids[0].up_to), (1, secs(21)));
    lifted(store, 4, secs(30), "203.0.113.7").await;
    // What comes of the denied session later is no denial of its own.
    keep(store, &denied, &Event::Stopped(report(secs(40))), secs(40)).await;
    assert_eq!(places(store, secs(41)).await, ["address 203.0.113.7"]);
    let told = acts(store).await;
    assert!(told.contains(&("trust.revoke".into(), "address 203.0.113.7: a login was denied".into())), "{told:?}");
}

async fn a_password_a_phone_and_a_person_take_their_trust_with_them(stage: &Stage) {
    let store = &*stage.store;
    store.add_user(&user("alice")).await.unwrap();
    // By the store's own clock, so that the approval is of now.
    let mut number = 0;
    let mut trust = async || {
        number += 1;
        // The store's clock may count in milliseconds.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = radhold::app::clock::now();
        lifted(store, number, now, "203.0.113.7").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(places(store, now).await.len(), 1);
        now
    };
    let now = trust().await;
    store.replace_user(&User { permit_filter: Some("gold".into()), ..user("alice") }).await.unwrap();
    assert_eq!(places(store, now).await.len(), 1, "the password is the same");
    store.replace_user(&User { credential: Secret::new("$nt$other"), ..user("alice") }).await.unwrap();
    assert_eq!(places(store, now).await, [] as [String; 0]);
    let now = trust().await;
    store.bind(&binding()).await.unwrap();
    assert_eq!(places(store, now).await.len(), 1);
    store.unbind(&binding()).await.unwrap();
    assert_eq!(places(store, now).await, [] as [String; 0]);
    let now = trust().await;
    store.remove_user(&"alice".into()).await.unwrap();
    store.add_user(&user("alice")).await.unwrap();
    assert_eq!(places(store, now).await, [] as [String; 0], "somebody else of that name");
    let revoked: Vec<_> = acts(store).await.into_iter().filter(|(act, _)| act == "trust.revoke").collect();
    let why = ["the password was changed", "a chat was unbound", "the user was removed"];
    assert_eq!(revoked.len(), 3, "{revoked:?}");
    assert!(revoked.iter().zip(why).all(|((_, told), why)| told.ends_with(why)), "{revoked:?}");
}

async fn trust_is_taken_back_one_by_one_and_all_at_once(stage: &Stage) {
    let store = &*stage.store;
    let first = lifted(store, 1, secs(0), "203.0.113.7").await;
    lifted(store, 2, secs(10), "203.0.113.8").await;
    lifted(store, 3, secs(20), "203.0.113.9").await;
    let alice = &"alice".into();
    assert_eq!(store.revoke_trust(&"bob".into(), Some(first.id), &act(secs(30), "bob")).await.unwrap(), 0, "not his");
    assert_eq!(store.revoke_trust(alice, Some(first.id), &act(secs(30), "alice")).await.unwrap(), 1);
    assert_eq!(store.revoke_trust(alice, Some(first.id), &act(secs(31), "alice")).await.unwrap(), 0);
    assert_eq!(places(store, secs(31)).await, ["address 203.0.113.8", "address 203.0.113.9"]);
    let (trusts, _) = store.trust_changes(secs(30)).await.unwrap();
    assert_eq!((trusts.len(), trusts[0].revoked_at), (1, Some(secs(30))), "other nodes hear of it");
    // Approved before it, and lifted after it.
    let late = added(store, &offered(4, secs(40), "203.0.113.10")).await;
    let late = keep(store, &late, &Event::Started(report(secs(40))), secs(40)).await;
    let late = keep(store, &late, &pressed(&late, Verdict::Approved), secs(41)).await;
    assert_eq!(store.revoke_trust(alice, None, &act(secs(42), "alice")).await.unwrap(), 2);
    keep(store, &late, &Event::CoaAcked { attempt: late.attempt }, secs(43)).await;
    assert_eq!(places(store, secs(43)).await, [] as [String; 0]);
    lifted(store, 5, secs(50), "203.0.113.7").await;
    assert_eq!(places(store, secs(51)).await, ["address 203.0.113.7"], "a later approval counts again");
    let revoked = acts(store).await.into_iter().filter(|(act, _)| act == "trust.revoke").count();
    assert_eq!(revoked, 2, "each act once");
}

async fn users_and_nases_keep_their_guards(stage: &Stage) {
    let store = &*stage.store;
    let guards = GuardSettings {
        number_matching: Some(true),
        one_prompt: Some(false),
        cool_down: Some(Duration::from_millis(90_500)),
        prompts_per_hour: Some(0),
        trust_hours: Some(8),
    };
    store.add_user(&User { guards, ..user("alice") }).await.unwrap();
    store.add_nas(&Nas { guards, ..nas("edge", "192.0.2.1/32") }).await.unwrap();
    assert_eq!(store.user(&"alice".into()).await.unwrap().unwrap().guards, guards);
    assert_eq!(store.nases().await.unwrap()[0].guards, guards);
    store.replace_user(&user("alice")).await.unwrap();
    assert!(store.user(&"alice".into()).await.unwrap().unwrap().guards.is_silent());
    // An operator's word ends a hold as any, and is a denial.
    let denied = added(store, &offered(9, secs(0), "203.0.113.7")).await;
    let kicked = step(&denied, &Event::Denied(Denial::by_operator("root")), secs(1), &Timing::default()).session;
    assert_eq!(kicked.denied_at(), Some(secs(1)));
}
