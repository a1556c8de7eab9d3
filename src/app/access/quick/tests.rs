//! The short cut beside the long way: the same where it answers, and nothing where it must not.

use super::super::scene::{HERE, PASSWORD, SECRET, Scene, clear, slow};
use super::*;
use crate::model::{ReplyItem, SecondFactor};
use crate::policy::BanTarget;
use crate::radius::{TOGETHER, hiding};

/// What an answer says, without what differs each time.
fn content(reply: &[u8]) -> (Code, u8, Vec<(u8, Vec<u8>)>) {
    let packet = Packet::parse(reply).unwrap();
    let differs = [attribute::CLASS, attribute::MESSAGE_AUTHENTICATOR];
    let attributes = packet.attributes().map(|attribute| (attribute.kind, attribute.value.to_vec()));
    let attributes = attributes.map(|(kind, value)| (kind, if differs.contains(&kind) { vec![] } else { value }));
    (packet.code(), packet.identifier(), attributes.collect())
}

#[tokio::test]
async fn it_says_what_the_long_way_says() {
    let mut scene = Scene::new("").await;
    let item = |name: &str, value: &str| ReplyItem { name: name.into(), value: value.into() };
    scene
        .add("alice", clear(), |user| {
            user.reply = vec![item("Framed-IP-Address", "10.90.0.2"), item("Reply-Message", "welcome")];
            user.permit_filter = Some("gold".into());
        })
        .await;
    let request = scene.pap("alice", PASSWORD);
    assert_eq!(scene.quickly(&request), None, "she is not known yet");
    let long = scene.slowly(&request).await.unwrap();
    let quick = scene.quickly(&request).unwrap();
    assert_eq!(content(&quick), content(&long));
    let packet = Packet::parse(&quick).unwrap();
    let sent = Packet::parse(&request).unwrap();
    assert!(packet.verify_reply(SECRET, sent.authenticator()).unwrap().message_authenticator());
    let class = packet.first(attribute::CLASS).unwrap();
    let class = scene.access.settings.current().class_key.open(class, &scene.nas.name).unwrap();
    assert!(class.waived);
    assert_ne!(quick, scene.quickly(&request).unwrap(), "each is a session of its own");
}

/// To ask for users costs the store: nobody makes it do so here who may not come, or has no password.
#[tokio::test]
async fn only_for_want_of_the_user_it_says_so() {
    let mut scene = Scene::with_alice("[callers]\ndeny = [\"198.51.100.0/24\"]\n").await;
    scene.add("bob", clear(), |user| user.second_factor = SecondFactor::Required).await;
    let [alice, denied, guess] = [("192.0.2.7", PASSWORD), ("198.51.100.9", PASSWORD), ("192.0.2.7", b"a guess")]
        .map(|(caller, password)| scene.pap_from("alice", password, caller));
    let nobody = scene.pap("nobody", PASSWORD);
    let without_password = scene.request(|request, _| {
        request.text(attribute::USER_NAME, "nobody").unwrap();
    });
    let suspect = scene.pap_from("suspect", PASSWORD, "192.0.2.8");
    scene.access.guards.lockouts.suspect("suspect", "192.0.2.8");
    let answered = |scene: &mut Scene, request: &[u8]| scene.try_quickly(request).map(drop);
    for request in [&alice, &guess, &nobody] {
        assert_eq!(answered(&mut scene, request), Err(LongWay::NotRemembered));
    }
    for request in [&denied, &suspect, &without_password] {
        assert_eq!(answered(&mut scene, request), Err(LongWay::Other));
    }
    let names = ["alice", "bob", "nobody", "alice"].map(UserName::from);
    let nobodies = scene.access.meet(names, clock::now()).await.unwrap();
    assert_eq!(nobodies, HashSet::from(["nobody".into()]));
    assert_eq!(answered(&mut scene, &alice), Ok(()));
    let bob = scene.pap("bob", PASSWORD);
    assert_eq!(answered(&mut scene, &bob), Err(LongWay::Other));
    scene.access.users.forget_all();
    assert_eq!(answered(&mut scene, &alice), Err(LongWay::NotRemembered));
    scene.access.meet(["alice".into()], clock::now()).await.unwrap();
    // Who was remembered before a silence is so still, and is not kept waiting for others.
    scene.access.users.deafen();
    scene.access.users.hear(clock::now());
    assert_eq!(answered(&mut scene, &alice), Err(LongWay::Other));
    scene.access.meet(["alice".into()], clock::now()).await.unwrap();
    assert_eq!(answered(&mut scene, &alice), Ok(()));
    // While nothing is heard of changes nobody is remembered for long.
    assert_eq!(answered(&mut scene, &nobody), Err(LongWay::NotRemembered));
    scene.access.users.deafen();
    assert_eq!(answered(&mut scene, &nobody), Err(LongWay::Other));
    scene.access.users.hear(clock::now());
    assert_eq!(answered(&mut scene, &nobody), Err(LongWay::NotRemembered));
    scene.access.meet(["alice".into()], clock::now()).await.unwrap();
    assert_eq!(answered(&mut scene, &guess), Err(LongWay::Other));
}

#[tokio::test]
async fn what_it_leaves_behind_is_what_the_long_way_leaves_behind() {
    let mut scene = Scene::with_alice("").await;
    let request = scene.pap("alice", PASSWORD);
    scene.slowly(&request).await.unwrap();
    assert!(scene.jobs.next().is_none(), "neither keeps anybody waiting for the store");
    scene.recorder.finish(Duration::from_secs(30)).await;
    let long = (offer(scene.jobs.next().unwrap()), attempt_of(scene.jobs.next().unwrap()));
    let reply = scene.quickly(&request).unwrap();
    scene.recorder.finish(Duration::from_secs(30)).await;
    let quick = (offer(scene.jobs.next().unwrap()), attempt_of(scene.jobs.next().unwrap()));
    assert!(scene.jobs.next().is_none());

    let class = Packet::parse(&reply).unwrap().first(attribute::CLASS).unwrap().to_vec();
    let class = scene.access.settings.current().class_key.open(&class, &scene.nas.name).unwrap();
    assert_eq!((quick.0.id, quick.1.session), (class.session, Some(class.session)));
    let same = |offer: &Session| {
        (
            offer.user.clone(),
            offer.nas.clone(),
            offer.nas_address,
            offer.identity.clone(),
            offer.grant.clone(),
            offer.state,
        )
    };
    assert_eq!(same(&quick.0), same(&long.0));
    let same = |attempt: &AuthAttempt| {
        let AuthAttempt { user, nas, nas_address, calling_station_id, method, outcome, .. } = attempt.clone();
        (user, nas, nas_address, calling_station_id, method, outcome)
    };
    assert_eq!(same(&quick.1), same(&long.1));

    // Of a NAS that brings no Class the Start looks for the offer: that is on its way before the answer is.
    scene.access.heard_without_class(&scene.nas.name);
    scene.slowly(&request).await.unwrap();
    offer(scene.jobs.next().unwrap());
}

fn offer(job: Job) -> Session {
    let Job::Offer(offer) = job else { panic!("{job:?}") };
    offer
}

fn attempt_of(job: Job) -> Box<AuthAttempt> {
    let Job::Attempt(attempt) = job else { panic!("{job:?}") };
    attempt
}

#[tokio::test]
async fn whoever_is_held_refused_or_special_goes_the_long_way() {
    let mut scene = Scene::with_alice("[callers]\ndeny = [\"198.51.100.0/24\"]\n").await;
    scene.add("bob", clear(), |user| user.second_factor = SecondFactor::Required).await;
    scene.add("carol", clear(), |user| user.disabled = true).await;
    scene.meet("alice").await;
    scene.meet("bob").await;
    let request = scene.pap("carol", PASSWORD);
    assert_eq!(content(&scene.slowly(&request).await.unwrap()).0, Code::AccessReject);
    let alice = scene.pap("alice", PASSWORD);
    assert!(scene.quickly(&alice).is_some());

    let fill = |request: &mut PacketBuilder, authenticator: &[u8; 16]| {
        let hidden = hiding::hide_user_password(PASSWORD, SECRET, authenticator).unwrap();
        request.text(attribute::USER_NAME, "alice").unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    };
    let special = [
        ("held", scene.pap("bob", PASSWORD)),
        ("disabled", scene.pap("carol", PASSWORD)),
        ("unknown", scene.pap("nobody", PASSWORD)),
        ("a caller who may not", scene.pap_from("alice", PASSWORD, "198.51.100.9")),
        ("a name that is none", scene.pap("alice\n", PASSWORD)),
        (
            "an answer to a challenge",
            scene.request(|request, authenticator| {
                fill(request, authenticator);
                request.attribute(attribute::STATE, b"x").unwrap();
            }),
        ),
        (
            "EAP",
            scene.request(|request, authenticator| {
                fill(request, authenticator);
                request.attribute(attribute::EAP_MESSAGE, &[2, 1, 0, 5, 1]).unwrap();
            }),
        ),
        (
            "too long to be noted",
            scene.request(|request, authenticator| {
                fill(request, authenticator);
                request.concat(attribute::PROXY_STATE, &[7; 400]).unwrap();
            }),
        ),
        (
            "no password",
            scene.request(|request, _| {
                request.text(attribute::USER_NAME, "alice").unwrap();
            }),
        ),
        ("MS-CHAPv1, which is not allowed", scene.ms_chap(false)),
    ];
    for (why, request) in special {
        assert_eq!(scene.quickly(&request), None, "{why}");
    }
    assert!(scene.quickly(&alice).is_some());
}

#[tokio::test]
async fn a_wrong_password_closes_the_short_cut_at_once() {
    let mut scene = Scene::with_alice("").await;
    scene.add("bob", clear(), |_| ()).await;
    scene.meet("alice").await;
    scene.meet("bob").await;
    let (wrong, right) = (scene.pap("alice", b"guess"), scene.pap("alice", PASSWORD));
    assert!(scene.quickly(&right).is_some());
    assert_eq!(scene.quickly(&wrong), None);
    assert_eq!(scene.quickly(&right), None, "a volley finds no gap");
    let elsewhere = scene.pap_from("alice", PASSWORD, "192.0.2.8");
    assert_eq!(scene.quickly(&elsewhere), None, "the account is tried");
    let other = scene.pap("bob", PASSWORD);
    assert_eq!(scene.quickly(&other), None, "the caller tries");
    let other = scene.pap_from("bob", PASSWORD, "192.0.2.8");
    assert!(scene.quickly(&other).is_some());

    // The long way looks, and counts; what it has counted stays.
    assert_eq!(content(&scene.slowly(&wrong).await.unwrap()).0, Code::AccessReject);
    scene.access.guards.lockouts.exchange().await.unwrap();
    assert_eq!(scene.quickly(&right), None);
    assert_eq!(content(&scene.slowly(&right).await.unwrap()).0, Code::AccessAccept);
}

#[tokio::test]
async fn bans_changes_and_silence_count_at_once() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let request = scene.pap("alice", PASSWORD);
    assert!(scene.quickly(&request).is_some());
    for target in [BanTarget::Account("alice".into()), BanTarget::Network("192.0.2.0/24".parse().unwrap())] {
        let ban = Ban {
            target: target.clone(),
            since: clock::now(),
            until: None,
            lifted_at: None,
            reason: "test".into(),
            by: "test".into(),
            automatic: false,
            forced: false,
        };
        scene.access.guards.bans.set_for_test(vec![ban]);
        assert_eq!(scene.quickly(&request), None, "{target}");
        let other = scene.pap_from("alice", PASSWORD, "203.0.113.1");
        assert_eq!(scene.quickly(&other).is_some(), !matches!(target, BanTarget::Account(_)));
    }
    scene.access.guards.bans.set_for_test(vec![]);
    assert!(scene.quickly(&request).is_some());

    let user = scene.store.user(&"alice".into()).await.unwrap().unwrap();
    scene.store.replace_user(&User { permit_filter: Some("silver".into()), ..user }).await.unwrap();
    scene.access.users.forget(&"bob".into());
    assert!(scene.quickly(&request).is_some(), "somebody else has changed");
    scene.access.users.forget(&"alice".into());
    assert_eq!(scene.quickly(&request), None, "it is not known what she is now");
    scene.meet("alice").await;
    let reply = scene.quickly(&request).unwrap();
    assert_eq!(Packet::parse(&reply).unwrap().text(attribute::FILTER_ID), Some("silver"));

    scene.access.settings.update(|settings| Settings {
        defaults: policy::Defaults { permit_filter: "other".into(), ..settings.defaults.clone() },
        ..settings.clone()
    });
    assert!(scene.quickly(&request).is_some());
    scene.access.users.deafen();
    assert_eq!(scene.quickly(&request), None, "changes are not heard");
}

#[tokio::test]
async fn a_slow_password_is_remembered_for_as_long_as_the_setting_says() {
    for (more, remembered) in [("", true), ("[server]\nremember_passwords = \"0s\"\n", false)] {
        let mut scene = Scene::new(more).await;
        scene.add("alice", slow(), |_| ()).await;
        scene.meet("alice").await;
        let (right, wrong) = (scene.pap("alice", PASSWORD), scene.pap("alice", b"guess"));
        assert_eq!(scene.quickly(&right).is_some(), remembered);
        assert_eq!(scene.quickly(&wrong), None);
    }
}

#[tokio::test]
async fn an_answer_takes_nothing_of_the_heap() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let requests = [
        ("PAP", scene.pap("alice", PASSWORD)),
        ("PAP, IPv6", scene.pap_from("alice", PASSWORD, "2001:db8::7")),
        ("CHAP", scene.chap()),
        ("MS-CHAPv2", scene.ms_chap(true)),
    ];
    // A plan is made once.
    for (method, request) in &requests {
        assert!(scene.quickly(request).is_some(), "{method}");
    }
    let secret = PreparedSecret::new(SECRET);
    for (method, request) in &requests {
        let packet = Packet::parse(request).unwrap();
        let (mut answered, mut signing) = (0, Signing::default());
        let mut answer_all = |rounds: u32| {
            for _ in 0..rounds {
                let mut answer = || {
                    scene.quick.answer(&packet, (&scene.nas, &secret), (HERE, clock::now()), &mut signing).unwrap();
                };
                (0..TOGETHER).for_each(|_| answer());
                answered += signing.sign().count();
            }
        };
        // Where replies wait to be signed grows once.
        answer_all(1);
        let taken = allocation_counter::measure(|| answer_all(12));
        assert_eq!((answered, taken.count_total, taken.bytes_total), (104, 0, 0), "{method}");
    }
}

/// Behind the answers, by a task: the offer, the attempt, and their texts.
#[test]
fn what_is_written_down_afterwards_takes_some_of_the_heap() {
    const LOGINS: u64 = 100;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut scene = runtime.block_on(async {
        let mut scene = Scene::with_alice("").await;
        scene.meet("alice").await;
        scene
    });
    let mut written = |logins: u64| {
        for _ in 0..logins {
            let request = scene.pap("alice", PASSWORD);
            assert!(scene.quickly(&request).is_some());
        }
        let finished = scene.recorder.finish(Duration::from_secs(30));
        let taken = allocation_counter::measure(|| runtime.block_on(finished));
        let left = std::iter::from_fn(|| scene.jobs.next()).count() as u64;
        (left, taken.count_total)
    };
    written(LOGINS);
    let (none, some) = (written(0), written(LOGINS));
    assert_eq!((none.0, some.0), (0, 2 * LOGINS), "an offer and an attempt of each");
    let each = (some.1 - none.1) / LOGINS;
    assert!(each <= 32, "{each} each");
}

#[tokio::test]
async fn what_finds_no_room_is_answered_and_counted() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let request = scene.pap("alice", PASSWORD);
    while scene.recorder.cores()[0].has_room() {
        assert!(scene.quickly(&request).is_some());
    }
    assert!(scene.quickly(&request).is_some());
    assert_eq!(scene.recorder.cores()[0].lost(), 1);
}

#[tokio::test]
async fn where_a_start_looks_for_the_offer_the_offer_is_kept_first() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let request = scene.pap("alice", PASSWORD);
    assert!(scene.quickly(&request).is_some());
    scene.access.heard_without_class(&"edge".into());
    assert_eq!(scene.quickly(&request), None, "its NAS brings no Class");
}
