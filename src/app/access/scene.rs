//! A server's part that answers logins, for tests, with NASes and users of theirs. Serves no port.

use std::path::PathBuf;

use tokio::sync::OwnedSemaphorePermit;

use super::super::ledger::Jobs;
use super::*;
use crate::app::alarms::Alarms;
use crate::app::lockouts;
use crate::auth::peer;
use crate::auth::{ClearPassword, NtHash, hash_password};
use crate::config::{Config, Flags};
use crate::model::Secret;
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{PreparedSecret, Signing, hiding};
use crate::session::ClassKey;
use crate::store::{self, Store};

pub(in crate::app) const SECRET: &[u8] = b"a secret of the tests";
pub(in crate::app) const PASSWORD: &[u8] = b"s3cret-pass";
pub(in crate::app) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Checks of slow passwords at once.
const CHECKS: usize = 2;

/// A server's part that answers, its short cut, and what they leave behind.
pub(in crate::app) struct Scene {
    pub(in crate::app) store: Arc<dyn Store>,
    pub(in crate::app) access: Arc<Access>,
    pub(in crate::app) quick: Quick,
    pub(in crate::app) recorder: Arc<Recorder>,
    pub(in crate::app) ledger: Ledger,
    pub(in crate::app) jobs: Jobs,
    pub(in crate::app) nas: Arc<Nas>,
    key: SealingKey,
    /// Requests made so far.
    made: u64,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub(in crate::app) async fn new(more: &str) -> Self {
        Self::with_patience(more, lockouts::PATIENCE).await
    }

    /// Of many logins of one account, those that must wait do so for so long.
    pub(super) async fn with_patience(more: &str, patience: Duration) -> Self {
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
        let lockouts = Arc::new(Lockouts::new(Arc::clone(&store), settings.clone(), patience));
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
        let recorder = Arc::new(Recorder::new(1, ledger.clone(), settings.clone()));
        let leave = (ledger.clone(), Arc::clone(recorder.others()));
        let access = Arc::new(Access::new(settings, users, leave, key.clone(), CHECKS, guards));
        let quick = Quick::new(Arc::clone(&access), Arc::clone(&recorder.cores()[0]), 1);
        Self { store, access, quick, recorder, ledger, jobs, nas, key, made: 0, _dir: dir }
    }

    pub(in crate::app) async fn add(&self, name: &str, credential: Credential, change: impl FnOnce(&mut User)) {
        let mut user = User::new(name, self.sealed(name, &credential), clock::now());
        user.second_factor = SecondFactor::None;
        change(&mut user);
        self.store.add_user(&user).await.unwrap();
    }

    /// What the store has of a password.
    pub(super) fn sealed(&self, name: &str, credential: &Credential) -> Secret {
        Secret::new(StoredCredential::seal(credential, &self.key, name, &[3; 24]).to_text())
    }

    /// Alice, who needs no second factor.
    pub(in crate::app) async fn with_alice(more: &str) -> Self {
        let scene = Self::new(more).await;
        scene.add("alice", clear(), |_| ()).await;
        scene
    }

    pub(in crate::app) fn request(&mut self, fill: impl FnOnce(&mut PacketBuilder, &[u8; 16])) -> Vec<u8> {
        self.made += 1;
        let authenticator = ((u128::from(self.made) << 64) | 7).to_be_bytes();
        let mut request = PacketBuilder::request(Code::AccessRequest, self.made as u8, authenticator);
        fill(&mut request, &authenticator);
        request.sign_request(SECRET).unwrap().to_vec()
    }

    pub(in crate::app) fn pap(&mut self, user: &str, password: &[u8]) -> Vec<u8> {
        self.pap_from(user, password, "192.0.2.7")
    }

    pub(in crate::app) fn pap_from(&mut self, user: &str, password: &[u8], caller: &str) -> Vec<u8> {
        self.request(|request, authenticator| {
            let hidden = hiding::hide_user_password(password, SECRET, authenticator).unwrap();
            request.text(attribute::USER_NAME, user).unwrap().attribute(attribute::USER_PASSWORD, &hidden).unwrap();
            request.text(attribute::CALLING_STATION_ID, caller).unwrap().integer(attribute::NAS_PORT, 7).unwrap();
            request.attribute(attribute::PROXY_STATE, b"on the way").unwrap();
        })
    }

    pub(in crate::app) fn quickly(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        self.try_quickly(request).ok()
    }

    /// The same, or why it is left to the long way.
    pub(super) fn try_quickly(&mut self, request: &[u8]) -> Result<Vec<u8>, LongWay> {
        let packet = Packet::parse(request).unwrap();
        let (secret, mut signing) = (PreparedSecret::new(SECRET), Signing::default());
        self.quick.answer(&packet, (&self.nas, &secret), (HERE, clock::now()), &mut signing)?;
        Ok(signing.sign().next().unwrap().to_vec())
    }

    /// The code of the answer that takes its time.
    pub(in crate::app) async fn slowly(&self, request: &[u8]) -> Option<Vec<u8>> {
        match self.access.answer(request, &self.nas, (HERE, clock::now()), false).await {
            Fate::Reply(reply) | Fate::ReplyLater(reply, _) => Some(reply),
            Fate::Drop(_) => None,
        }
    }

    /// Logs in so that the user is remembered.
    pub(in crate::app) async fn meet(&mut self, user: &str) {
        let request = self.pap(user, PASSWORD);
        let reply = self.slowly(&request).await.unwrap();
        assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccessAccept);
    }

    /// Whether a user is remembered, and as in the store.
    pub(in crate::app) fn is_at_hand(&self, user: &str) -> bool {
        self.access.users.at_hand(user, clock::now()).is_some()
    }

    /// Requests made so far.
    pub(in crate::app) fn made(&self) -> u64 {
        self.made
    }

    /// The settings in force.
    pub(in crate::app) fn settings(&self) -> SettingsHandle {
        self.access.settings.clone()
    }

    /// Has all checks of slow passwords wait.
    pub(in crate::app) async fn hold_checks(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.access.checks).acquire_many_owned(CHECKS as u32).await.unwrap()
    }

    /// Slow logins that may wait for a check.
    pub(in crate::app) fn most_waiting() -> usize {
        CHECKS * QUEUE_PER_CHECK
    }

    /// MS-CHAPv2, or version 1 where that is said.
    pub(in crate::app) fn ms_chap(&mut self, v2: bool) -> Vec<u8> {
        self.request(|request, _| {
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

    /// CHAP.
    pub(in crate::app) fn chap(&mut self) -> Vec<u8> {
        self.request(|request, authenticator| {
            let response = peer::chap(9, PASSWORD, authenticator);
            request.text(attribute::USER_NAME, "alice").unwrap();
            request.attribute(attribute::CHAP_PASSWORD, &[&[9], &response[..]].concat()).unwrap();
            request.text(attribute::CALLING_STATION_ID, "00-1B-63-84-45-E6").unwrap();
        })
    }
}

/// The password in clear.
pub(in crate::app) fn clear() -> Credential {
    Credential::Password(ClearPassword::new(PASSWORD).unwrap())
}

/// The password as one that is checked slowly, if cheaply here.
pub(in crate::app) fn slow() -> Credential {
    slow_of(PASSWORD)
}

/// The same of another password.
pub(super) fn slow_of(password: &[u8]) -> Credential {
    let cost = PasswordCost::new(8, 1, 1).unwrap();
    Credential::Argon2id(hash_password(password, &[4; 16], cost).unwrap())
}
