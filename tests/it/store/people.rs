//! Users, NASes, and where users can be asked.

use std::time::Duration;

use radhold::model::{
    ApproverKind, ApproverStep, Binding, CodeEntry, DynauthPath, Group, GroupSettings, Language, Nas, OctetDirection,
    Preferences, PreviousSecret, SecondPerson, Secret, User, UserName, WhenUnreachable,
};
use radhold::store::StoreError;

use super::Stage;
use super::fixtures::*;

battery! {
    migrated {
        users_are_kept_as_given,
        users_have_one_name_each,
        nases_are_kept_as_given,
        bindings_belong_to_users,
        groups_are_kept_as_given,
        users_are_in_groups_in_their_order,
        chats_are_spoken_to_as_they_want,
    }
}

async fn chats_are_spoken_to_as_they_want(stage: &Stage) {
    let store = &stage.store;
    let language = |tag: &str| tag.parse::<Language>().unwrap();
    let at = async |address: &str| store.preferences(ApproverKind::Telegram, address).await.unwrap();
    assert_eq!(at("42").await, Preferences::default());
    store.hear_language(ApproverKind::Telegram, "42", &language("ru")).await.unwrap();
    let heard = Preferences { heard: Some(language("ru")), ..Preferences::default() };
    assert_eq!(at("42").await, heard);
    let all = Preferences {
        language: Some(language("en")),
        zone: Some("Europe/Moscow".parse().unwrap()),
        quiet: true,
        ..heard.clone()
    };
    store.set_preferences(ApproverKind::Telegram, "42", &all).await.unwrap();
    assert_eq!(at("42").await, all);
    // What was chosen stays, whatever is heard.
    store.hear_language(ApproverKind::Telegram, "42", &language("de")).await.unwrap();
    assert_eq!(at("42").await, Preferences { heard: Some(language("de")), ..all });
    assert_eq!(at("43").await, Preferences::default(), "another chat");
    assert_eq!(store.preferences(ApproverKind::Operator, "42").await.unwrap(), Preferences::default());
    store.set_preferences(ApproverKind::Telegram, "42", &Preferences::default()).await.unwrap();
    assert_eq!(at("42").await, Preferences::default());
}

async fn users_are_kept_as_given(stage: &Stage) {
    let store = &stage.store;
    // Byte order, whatever the collation of the database.
    for name in ["bob", "Zoë", "alice", "DOM\\carol", "x' OR '1'='1"] {
        store.add_user(&rich_user(name)).await.unwrap();
    }
    assert_eq!(store.user(&"Zoë".into()).await.unwrap(), Some(rich_user("Zoë")));
    assert_eq!(store.user(&"zoë".into()).await.unwrap(), None);
    assert_eq!(store.user(&UserName::new("bob\0")).await.unwrap(), None);
    let names: Vec<String> = store.users().await.unwrap().into_iter().map(|user| user.name.to_string()).collect();
    assert_eq!(names, ["DOM\\carol", "Zoë", "alice", "bob", "x' OR '1'='1"]);

    store.replace_user(&user("bob")).await.unwrap();
    assert_eq!(store.user(&"bob".into()).await.unwrap(), Some(user("bob")));
    store.remove_user(&"bob".into()).await.unwrap();
    assert_eq!(store.user(&"bob".into()).await.unwrap(), None);
}

async fn users_have_one_name_each(stage: &Stage) {
    let store = &stage.store;
    store.add_user(&user("alice")).await.unwrap();
    assert!(matches!(store.add_user(&rich_user("alice")).await, Err(StoreError::Exists(what)) if what == "user alice"));
    assert_eq!(store.user(&"alice".into()).await.unwrap(), Some(user("alice")));
    assert!(matches!(store.replace_user(&user("bob")).await, Err(StoreError::Missing(what)) if what == "user bob"));
    assert!(matches!(store.remove_user(&"bob".into()).await, Err(StoreError::Missing(_))));
    assert!(matches!(
        store.add_user(&User { credential: Secret::new([0xff]), ..user("carol") }).await,
        Err(StoreError::Refused(_))
    ));
}

async fn nases_are_kept_as_given(stage: &Stage) {
    let store = &stage.store;
    let plain = nas("edge", "192.0.2.0/24");
    let rich = Nas {
        require_message_authenticator: false,
        limit_proxy_state: true,
        allow_ms_chap_v1: true,
        coa_address: Some("2001:db8::9".parse().unwrap()),
        coa_port: Some(65_535),
        coa_source: Some("[2001:db8::1]:40000".parse().unwrap()),
        reject_delay: Some(Duration::ZERO),
        octet_direction: OctetDirection::Swapped,
        octet_wrap: true,
        unique_ports: Some(false),
        sandbox_filter: Some("jail".into()),
        permit_filter: Some("open".into()),
        approvers: ApproverStep::list("telegram:45s,operator").unwrap(),
        when_unreachable: Some(WhenUnreachable::Hold),
        nas_identifier: Some("core-1".into()),
        radsec: vec!["dns:core.example.org".parse().unwrap(), "ip:2001:db8::9".parse().unwrap()],
        radsec_only: true,
        dynauth: DynauthPath::Radsec,
        previous_secret: Some(PreviousSecret {
            secret: Secret::new("sealed-before"),
            until: Some(NOON + Duration::from_secs(60)),
        }),
        codes: CodeEntry { in_password: Some(false), challenge: true, or_reject: true },
        ..nas("core", "2001:db8::/64")
    };
    store.add_nas(&plain).await.unwrap();
    store.add_nas(&rich).await.unwrap();
    // Octets beside the network are dropped, as PostgreSQL's cidr demands.
    store.add_nas(&nas("lab", "198.51.100.77/24")).await.unwrap();
    assert_eq!(store.nases().await.unwrap(), [rich, plain.clone(), nas("lab", "198.51.100.0/24")]);
    assert!(matches!(store.add_nas(&plain).await, Err(StoreError::Exists(what)) if what == "NAS edge"));
    // Other secrets, and nothing else of it.
    let rekeyed = Nas { secret: Secret::new("next"), previous_secret: None, ..plain.clone() };
    store.rekey_nas(&Nas { dialect: "cisco".into(), ..rekeyed.clone() }).await.unwrap();
    assert!(store.nases().await.unwrap().contains(&rekeyed));
    store.rekey_nas(&plain).await.unwrap();
    assert!(matches!(store.rekey_nas(&nas("nobody", "192.0.2.9/32")).await, Err(StoreError::Missing(_))));
    store.remove_nas(&"core".into()).await.unwrap();
    assert!(matches!(store.remove_nas(&"core".into()).await, Err(StoreError::Missing(_))));
    assert_eq!(store.nases().await.unwrap().len(), 2);
}

async fn bindings_belong_to_users(stage: &Stage) {
    let store = &stage.store;
    let binding = |address: &str, bound_at| Binding {
        user: "alice".into(),
        approver: ApproverKind::Telegram,
        address: address.into(),
        presser: "77".into(),
        bound_at,
    };
    let (old, new) = (binding("-100", NOON), binding("200", NOON + Duration::from_secs(1)));
    assert!(matches!(store.bind(&old).await, Err(StoreError::Missing(what)) if what == "user alice"));

    store.add_user(&user("alice")).await.unwrap();
    store.add_user(&user("bob")).await.unwrap();
    store.bind(&new).await.unwrap();
    store.bind(&old).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [old.clone(), new.clone()]);
    assert_eq!(store.bindings(&"bob".into()).await.unwrap(), []);

    let rebound = Binding { presser: "78".into(), bound_at: NOON + Duration::from_secs(2), ..old.clone() };
    store.bind(&rebound).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [new.clone(), rebound]);
    // The old and the rebound one are the same place.
    store.unbind(&old).await.unwrap();
    assert!(matches!(store.unbind(&old).await, Err(StoreError::Missing(_))));
    store.replace_user(&rich_user("alice")).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), [new]);

    store.remove_user(&"alice".into()).await.unwrap();
    store.add_user(&user("alice")).await.unwrap();
    assert_eq!(store.bindings(&"alice".into()).await.unwrap(), []);
}

async fn groups_are_kept_as_given(stage: &Stage) {
    let store = &stage.store;
    let plain = Group { name: "staff".into(), settings: GroupSettings::default(), created_at: NOON };
    let rich = Group {
        name: "Gäste 2".into(),
        settings: GroupSettings {
            approvers: Some(ApproverStep::list("telegram:1m30s,person,operator").unwrap()),
            when_unreachable: Some(WhenUnreachable::Hold),
            second_person: Some(SecondPerson {
                approvers: vec!["boss".into(), "lead".into()],
                group: Some("bosses".into()),
                needed: 2,
                own: true,
            }),
            number_matching: Some(true),
            trust_hours: Some(12),
            prompts_per_hour: Some(6),
            one_prompt: Some(false),
            cool_down: Some(Duration::from_secs(90)),
            permit_filter: Some("guests".into()),
            session_timeout: Some(Duration::from_secs(3600)),
        },
        created_at: NOON + Duration::from_micros(1),
    };
    store.add_group(&plain).await.unwrap();
    store.add_group(&rich).await.unwrap();
    assert_eq!(store.groups().await.unwrap(), [rich.clone(), plain.clone()]);
    assert!(matches!(store.add_group(&rich).await, Err(StoreError::Exists(what)) if what == "group Gäste 2"));
    let changed = Group { settings: rich.settings.clone(), ..plain.clone() };
    store.replace_group(&changed).await.unwrap();
    assert_eq!(store.groups().await.unwrap(), [rich.clone(), changed]);
    store.remove_group(&"staff".into()).await.unwrap();
    assert!(
        matches!(store.remove_group(&"staff".into()).await, Err(StoreError::Missing(what)) if what == "group staff")
    );
    assert!(matches!(store.replace_group(&plain).await, Err(StoreError::Missing(_))));
    assert_eq!(store.groups().await.unwrap(), [rich]);
}

async fn users_are_in_groups_in_their_order(stage: &Stage) {
    let store = &stage.store;
    let group = |name: &str| Group { name: name.into(), settings: GroupSettings::default(), created_at: NOON };
    for name in ["a", "b", "c"] {
        store.add_group(&group(name)).await.unwrap();
    }
    let within = |groups: &[&str]| User { groups: groups.iter().map(|name| (*name).into()).collect(), ..user("alice") };
    store.add_user(&within(&["c", "a"])).await.unwrap();
    store.add_user(&user("bob")).await.unwrap();
    let member = store.member(&"alice".into()).await.unwrap().unwrap();
    assert_eq!((&member.user, &member.groups), (&within(&["c", "a"]), &vec![group("c"), group("a")]));
    assert_eq!(store.member(&"bob".into()).await.unwrap().unwrap().groups, []);
    assert_eq!(store.member(&"carol".into()).await.unwrap(), None);
    let mut both = store.members_named(&["carol".into(), "bob".into(), "alice".into(), "bob".into()]).await.unwrap();
    both.sort_by(|one, other| one.user.name.cmp(&other.user.name));
    let alone = [store.member(&"alice".into()).await.unwrap(), store.member(&"bob".into()).await.unwrap()];
    assert_eq!(both.into_iter().map(Some).collect::<Vec<_>>(), alone);
    assert_eq!(store.users().await.unwrap(), [within(&["c", "a"]), user("bob")]);

    store.replace_user(&within(&["a", "b", "c"])).await.unwrap();
    assert_eq!(store.user(&"alice".into()).await.unwrap(), Some(within(&["a", "b", "c"])));
    assert_eq!(store.members(&"b".into()).await.unwrap(), ["alice".into()]);
    assert!(
        matches!(store.replace_user(&within(&["a", "zebra"])).await, Err(StoreError::Missing(what)) if what == "group zebra")
    );
    assert_eq!(store.user(&"alice".into()).await.unwrap(), Some(within(&["a", "b", "c"])), "all or nothing");
    assert!(matches!(store.remove_group(&"b".into()).await, Err(StoreError::Refused(_))), "it has a member");
    store.remove_user(&"alice".into()).await.unwrap();
    assert_eq!(store.members(&"b".into()).await.unwrap(), []);
    store.remove_group(&"b".into()).await.unwrap();
}
