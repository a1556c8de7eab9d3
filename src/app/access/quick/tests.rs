//! The short cut beside the long way: the same where it answers, and nothing where it must not.

use std::path::PathBuf;

use super::super::super::ledger::Jobs;
use super::super::record::Recorder;
use super::*;
use crate::app::alarms::Alarms;
use crate::app::settings::SettingsHandle;
use crate::app::totp::Codes;
use crate::auth::peer;
use crate::auth::{ClearPassword, NtHash, hash_password};
use crate::config::{Config, Flags};
use crate::model::{ReplyItem, SecondFactor, Secret};
use crate::policy::BanTarget;
use crate::radius::hiding;
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::session::ClassKey;
use crate::store::{self, Store};

const SECRET: &[u8] = b"a secret of the tests";
const PASSWORD: &[u8] = b"s3cret-pass";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A server's part that answers, its short cut, and what they leave behind.
struct Scene {
    store: Arc<dyn Store>,
    access: Arc<Access>,
    quick: Quick,
    recorder: Recorder,
    jobs: Jobs,
    nas: Arc<Nas>,
    key: SealingKey,
    identifier: u8,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file: PathBuf = dir.path().join("radhold.toml");
        let nas = format!("[nas.edge]\naddress = \"127.0.0.1\"\nsecret = \"{}\"\n", String::from_utf8_lossy(SECRET));
        std::fs::write(&file, format!("state_dir = {:?}\n{more}\n{nas}", dir.path())).unwrap();
        let config = Config::load(&Flags { config: Some(file), settings: vec![] }).unwrap().config;
        let store = store::open("sqlite::memory:").await.unwrap();
        store.migrate().await.unwrap();
        let cluster = Secret::new([1; 32]);
        let settings = SettingsHandle::new(Settings::of(&config, vec![], &ClassKey::new(&cluster)).unwrap());
        let nas = Arc::clone(settings.current().nases.named("edge").unwrap());
        let key = SealingKey::from_bytes([2; 32]);
        let (ledger, jobs) = Ledger::without_keeper();
        let bans = Arc::new(Bans::new(Arc::clone(&store), settings.clone()));
        bans.refresh().await.unwrap();
        let lockouts = Arc::new(Lockouts::new(Arc::clone(&store), settings.clone()));
        lockouts.exchange().await.unwrap();
        let (alarms, _) = Alarms::new(config.node.clone());
        let guards = Guards {
            bans,
            lockouts: Arc::clone(&lockouts),
            prompts: Arc::new(KnownPrompts::new(Arc::clone(&store), settings.clone(), alarms)),
            trusts: Arc::new(Trusts::new(Arc::clone(&store))),
            buttons: ButtonKey::new(&cluster),
            messages: Arc::new(crate::app::words::messages(&config.messages).unwrap()),
            language: config.messages.language.clone(),
            codes: Arc::new(Codes::new(Arc::clone(&store), settings.clone(), key.clone(), lockouts)),
            challenges: ChallengeKey::new(&cluster),
        };
        let users = Arc::new(Users::new(Arc::clone(&store), Duration::from_secs(600)));
        users.hear(clock::now());
        let recorder = Recorder::new(1, ledger.clone(), settings.clone());
        let access =
            Arc::new(Access::new(settings, users, (ledger, Arc::clone(recorder.others())), key.clone(), 2, guards));
        let quick = Quick::new(Arc::clone(&access), Arc::clone(&recorder.cores()[0]), 1);
        Self { store, access, quick, recorder, jobs, nas, key, identifier: 0, _dir: dir }
    }

    async fn add(&self, name: &str, credential: Credential, change: impl FnOnce(&mut User)) {
        let stored = StoredCredential::seal(&credential, &self.key, name, &[3; 24]).to_text();
        let mut user = User::new(name, Secret::new(stored), clock::now());
        user.second_factor = SecondFactor::None;
        change(&mut user);
        self.store.add_user(&user).await.unwrap();
    }

    /// Alice, who needs no second factor.
    async fn with_alice(more: &str) -> Self {
        let scene = Self::new(more).await;
        scene.add("alice", clear(), |_| ()).await;
        scene
    }

    fn request(&mut self, fill: impl FnOnce(&mut PacketBuilder, &[u8; 16])) -> Vec<u8> {
        self.identifier = self.identifier.wrapping_add(1);
        let authenticator = [self.identifier; 16];
        let mut request = PacketBuilder::request(Code::AccessRequest, self.identifier, authenticator);
        fill(&mut request, &authenticator);
        request.sign_request(SECRET).unwrap().to_vec()
    }

    fn pap(&mut self, user: &str, password: &[u8]) -> Vec<u8> {
        self.pap_from(user, password, "192.0.2.7")
    }

    fn pap_from(&mut self, user: &str, password: &[u8], caller: &str) -> Vec<u8> {
        self.request(|request, authenticator| {
            let hidden = hiding::hide_user_password(password, SECRET, authenticator).unwrap();
            request.text(attribute::USER_NAME, user).unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
            request.text(attribute::CALLING_STATION_ID, caller).unwrap().integer(attribute::NAS_PORT, 7).unwrap();
            request.attribute(attribute::PROXY_STATE, b"on the way").unwrap();
        })
    }

    fn quickly(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::parse(request).unwrap();
        self.quick.answer(&packet, &self.nas, HERE, clock::now()).map(<[u8]>::to_vec)
    }

    /// The code of the answer that takes its time.
    async fn slowly(&self, request: &[u8]) -> Option<Vec<u8>> {
        match self.access.answer(request, &self.nas, HERE, clock::now()).await {
            Fate::Reply(reply) | Fate::ReplyLater(reply, _) => Some(reply),
            Fate::Drop(_) => None,
        }
    }

    /// Logs in so that the user is remembered.
    async fn meet(&mut self, user: &str) {
        let request = self.pap(user, PASSWORD);
        let reply = self.slowly(&request).await.unwrap();
        assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccessAccept);
    }
}

fn clear() -> Credential {
    Credential::Password(ClearPassword::new(PASSWORD).unwrap())
}

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
        ("MS-CHAPv1, which is not allowed", ms_chap(&mut scene, false)),
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
        let cost = PasswordCost::new(8, 1, 1).unwrap();
        let slow = Credential::Argon2id(hash_password(PASSWORD, &[4; 16], cost).unwrap());
        scene.add("alice", slow, |_| ()).await;
        scene.meet("alice").await;
        let (right, wrong) = (scene.pap("alice", PASSWORD), scene.pap("alice", b"guess"));
        assert_eq!(scene.quickly(&right).is_some(), remembered);
        assert_eq!(scene.quickly(&wrong), None);
    }
}

/// MS-CHAPv2, or version 1 where that is said.
fn ms_chap(scene: &mut Scene, v2: bool) -> Vec<u8> {
    scene.request(|request, _| {
        request.text(attribute::USER_NAME, "alice").unwrap();
        if v2 {
            let (challenge, own) = ([5; 16], [6; 16]);
            let hash = NtHash::of_password(PASSWORD).unwrap();
            let answer = peer::ms_chap_v2(&hash, &challenge, &own, b"alice");
            let response = [&[7, 0], &own[..], &[0; 8], &answer[..]].concat();
            request.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, &challenge).unwrap();
            request.vendor(MICROSOFT, microsoft::MS_CHAP2_RESPONSE, &response).unwrap();
        } else {
            request.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, &[5; 8]).unwrap();
            request.vendor(MICROSOFT, microsoft::MS_CHAP_RESPONSE, &[1; 50]).unwrap();
        }
    })
}

fn chap(scene: &mut Scene) -> Vec<u8> {
    scene.request(|request, authenticator| {
        let response = peer::chap(9, PASSWORD, authenticator);
        request.text(attribute::USER_NAME, "alice").unwrap();
        request.attribute(attribute::CHAP_PASSWORD, &[&[9], &response[..]].concat()).unwrap();
        request.text(attribute::CALLING_STATION_ID, "00-1B-63-84-45-E6").unwrap();
    })
}

#[tokio::test]
async fn an_answer_takes_nothing_of_the_heap() {
    let mut scene = Scene::with_alice("").await;
    scene.meet("alice").await;
    let requests = [
        ("PAP", scene.pap("alice", PASSWORD)),
        ("PAP, IPv6", scene.pap_from("alice", PASSWORD, "2001:db8::7")),
        ("CHAP", chap(&mut scene)),
        ("MS-CHAPv2", ms_chap(&mut scene, true)),
    ];
    // A plan is made once.
    for (method, request) in &requests {
        assert!(scene.quickly(request).is_some(), "{method}");
    }
    for (method, request) in &requests {
        let packet = Packet::parse(request).unwrap();
        let mut answered = 0;
        let taken = allocation_counter::measure(|| {
            for _ in 0..100 {
                let answer = scene.quick.answer(&packet, &scene.nas, HERE, clock::now());
                answered += usize::from(answer.is_some());
            }
        });
        assert_eq!((answered, taken.count_total, taken.bytes_total), (100, 0, 0), "{method}");
    }
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
