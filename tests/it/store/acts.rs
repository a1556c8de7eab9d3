//! What administrators do is on record with what it changed: both, or neither, wherever it is cut off.

use std::time::Duration;

use radhold::model::{ApproverKind, Binding, Group, GroupSettings, Timestamp, User, UserName};
use radhold::session::{Denial, Event};
use radhold::store::{AuditEntry, AuditQuery, Committed, Edit, KeptTotp, Store, StoreError};

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        an_edit_is_kept_whole_with_its_acts_or_not_at_all,
        an_act_about_a_session_is_kept_when_its_change_is,
        what_cannot_be_put_on_record_does_not_happen,
    }
}

fn act(act: &str, subject: &str) -> AuditEntry {
    AuditEntry {
        at: NOON,
        who: "night-shift".into(),
        through: "command-line".into(),
        origin: "host".into(),
        act: act.into(),
        subject: subject.into(),
        detail: String::new(),
    }
}

async fn acts(store: &dyn Store) -> Vec<String> {
    store.audited(&AuditQuery::default()).await.unwrap().into_iter().map(|act| act.act).collect()
}

fn group(name: &str) -> Group {
    Group { name: name.into(), settings: GroupSettings::default(), created_at: NOON }
}

fn chat(user: &str) -> Binding {
    Binding {
        user: user.into(),
        approver: ApproverKind::Telegram,
        address: "42".into(),
        presser: "42".into(),
        bound_at: NOON,
    }
}

async fn an_edit_is_kept_whole_with_its_acts_or_not_at_all(stage: &Stage) {
    let store = stage.store.as_ref();
    let (staff, edge, at_42) = (group("staff"), nas("edge", "192.0.2.1/32"), chat("alice"));
    let alice = User { groups: vec!["staff".into()], ..user("alice") };
    let edits = [Edit::AddGroup(&staff), Edit::AddUser(&alice), Edit::Bind(&at_42), Edit::AddNas(&edge)];
    // Each sees what those before it did.
    store.edit(&edits, &[act("group.add", "staff"), act("user.add", "alice")]).await.unwrap();
    assert_eq!(store.user(&"alice".into()).await.unwrap(), Some(alice.clone()));
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), std::slice::from_ref(&at_42));
    assert_eq!(acts(store).await, ["user.add", "group.add"]);

    // The last one does not suit, and takes all others with it.
    let (bob, of_bob, carol) = (user("bob"), chat("bob"), UserName::new("carol"));
    type Refused<'e> = (&'e [Edit<'e>], fn(&StoreError) -> bool);
    let refused: [Refused<'_>; 6] = [
        (&[Edit::AddUser(&bob), Edit::AddUser(&alice)], |error| matches!(error, StoreError::Exists(_))),
        (&[Edit::AddUser(&bob), Edit::AddNas(&edge)], |error| matches!(error, StoreError::Exists(_))),
        (&[Edit::AddUser(&bob), Edit::RemoveUser(&carol)], |error| matches!(error, StoreError::Missing(_))),
        (&[Edit::AddUser(&bob), Edit::Unbind(&of_bob)], |error| matches!(error, StoreError::Missing(_))),
        (&[Edit::RemoveNas(&edge.name), Edit::RekeyNas(&edge)], |error| matches!(error, StoreError::Missing(_))),
        (&[Edit::Unbind(&at_42), Edit::RemoveGroup(&staff.name)], |error| matches!(error, StoreError::Refused(_))),
    ];
    for (edits, so) in refused {
        let error = store.edit(edits, &[act("user.remove", "bob")]).await.unwrap_err();
        assert!(so(&error), "{edits:?}: {error}");
    }
    assert_eq!(store.users().await.unwrap(), std::slice::from_ref(&alice));
    assert_eq!(
        (store.nases().await.unwrap(), store.bindings(&"alice".into()).await.unwrap().len()),
        (vec![edge.clone()], 1)
    );
    assert_eq!(acts(store).await.len(), 2);

    let changed = User { groups: vec![], disabled: true, ..alice };
    let last = [Edit::ReplaceUser(&changed), Edit::RemoveGroup(&staff.name), Edit::Unbind(&at_42)];
    store.edit(&last, &[act("user.set", "alice")]).await.unwrap();
    assert_eq!(store.users().await.unwrap(), std::slice::from_ref(&changed));
    assert_eq!(store.groups().await.unwrap(), []);
    store.edit(&[Edit::RemoveUser(&changed.name), Edit::RemoveNas(&edge.name)], &[]).await.unwrap();
    assert_eq!((store.users().await.unwrap(), store.nases().await.unwrap()), (vec![], vec![]));
    assert_eq!(acts(store).await, ["user.set", "user.add", "group.add"]);
}

async fn an_act_about_a_session_is_kept_when_its_change_is(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    keep(store, added(&offered)).await;
    let (kicked, kick) = stepped(&offered, &Event::Kicked(Denial::by_operator("night-shift")), NOON);
    assert_eq!(store.commit_act(&kick, &act("session.kick", "alice")).await.unwrap(), Committed::Done);
    // Of two who end it, the second learns that it is being ended; nobody is on record for what he did not do.
    assert_eq!(store.commit_act(&kick, &act("session.kick", "alice")).await.unwrap(), Committed::Conflict);
    assert_eq!(read(store, id(1)).await.unwrap(), kicked);
    assert_eq!(acts(store).await.iter().filter(|act| *act == "session.kick").count(), 1);
}

/// As far as a crash between the two would go.
async fn what_cannot_be_put_on_record_does_not_happen(stage: &Stage) {
    let store = stage.store.as_ref();
    let offered = offer(1, NOON);
    keep(store, added(&offered)).await;
    store.add_user(&user("alice")).await.unwrap();
    let totp = KeptTotp {
        user: "alice".into(),
        secret: "sealed".into(),
        enrolled_at: NOON,
        confirmed_at: None,
        recovery_left: 0,
    };
    store.enrol_totp(&totp, &[], &act("totp.enrol", "alice")).await.unwrap();
    stage.sql("ALTER TABLE audit RENAME TO audit_of_before").await;
    let (_, kick) = stepped(&offered, &Event::Kicked(Denial::by_operator("night-shift")), NOON);
    assert!(store.edit(&[Edit::AddUser(&user("bob"))], &[act("user.add", "bob")]).await.is_err());
    assert!(store.edit(&[Edit::RemoveUser(&"alice".into())], &[act("user.remove", "alice")]).await.is_err());
    assert!(store.commit_act(&kick, &act("session.kick", "alice")).await.is_err());
    assert!(store.accept_step_with(&totp, 7, NOON, &act("totp.confirm", "alice")).await.is_err());
    let bob = [User { groups: vec!["ops".into()], ..user("bob") }];
    let (edge, import) = ([nas("edge", "192.0.2.1/32")], act("import", "freeradius"));
    assert!(store.import(&bob, &edge, &import, &|_| ()).await.is_err());
    stage.sql("ALTER TABLE audit_of_before RENAME TO audit").await;

    assert_eq!(store.users().await.unwrap(), [user("alice")]);
    assert_eq!(store.nases().await.unwrap(), []);
    assert_eq!(store.groups().await.unwrap(), [], "the group came with the import");
    assert_eq!(read(store, id(1)).await.unwrap(), offered);
    let kept = store.totp(&"alice".into()).await.unwrap().unwrap();
    assert_eq!(kept.confirmed_at, None);
    assert_eq!(acts(store).await, ["totp.enrol"]);
    // With its record it does.
    let later = NOON + Duration::from_secs(1);
    assert!(
        store.accept_step_with(&totp, 7, later, &act("totp.confirm", "alice")).await.unwrap(),
        "the step was not spent"
    );
    assert!(!store.accept_step_with(&totp, 7, later, &act("totp.confirm", "alice")).await.unwrap());
    let confirmed: Option<Timestamp> = store.totp(&"alice".into()).await.unwrap().unwrap().confirmed_at;
    assert_eq!(confirmed, Some(later));
    let nothing = store.import(&[user("alice")], &[], &import, &|_| ()).await.unwrap();
    assert_eq!((nothing.users, nothing.nases), (0, 0));
    store.import(&bob, &[], &import, &|_| ()).await.unwrap();
    let groups = store.groups().await.unwrap();
    assert_eq!(groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["ops"]);
    assert_eq!(store.users().await.unwrap()[1], bob[0]);
    assert_eq!(acts(store).await, ["import", "totp.confirm", "totp.enrol"], "what changed nothing is no act");
}
