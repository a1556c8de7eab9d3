//! Tests of the committer: sessions that are made of their Class, and offers that come behind them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::clock;
use super::super::orders::hands::Hands;
use super::super::settings::{Settings, SettingsHandle};
use super::super::users::Users;
use super::committer::{Committer, Item};
use super::flight::Next;
use super::recent::Recent;
use super::ticket::{Done, Ticket};
use crate::accounting::{Report, Request, Status};
use crate::config::{Config, Flags, Surroundings};
use crate::model::{Identity, Nas, Secret, SessionId, Timestamp, User};
use crate::policy;
use crate::session::{Class, ClassKey, Session, State};
use crate::spool::{AccountingPacket, Entry};
use crate::store::{self, Store};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(super) struct Scene {
    pub(super) store: Arc<dyn Store>,
    pub(super) users: Arc<Users>,
    pub(super) committer: Committer,
    pub(super) nas: Arc<Nas>,
}

impl Scene {
    /// An embedded store in memory with alice in it.
    pub(super) async fn new() -> Self {
        Self::at("sqlite::memory:").await
    }

    async fn at(url: &str) -> Self {
        let store = store::open(url).await.unwrap();
        store.migrate().await.unwrap();
        store.add_user(&alice("old")).await.unwrap();
        let users = Arc::new(Users::new(Arc::clone(&store), Duration::from_secs(600)));
        users.hear(clock::now());
        let surroundings = Surroundings { state_dir: PathBuf::from("/nowhere"), ..Surroundings::default() };
        let config: Config = Config::load_in(&Flags::default(), &surroundings).unwrap().config;
        let key = ClassKey::new(&Secret::new("a cluster key"));
        let settings = SettingsHandle::new(Settings::of(&config, Vec::new(), &key).unwrap());
        let committer = Committer {
            store: Arc::clone(&store),
            users: Arc::clone(&users),
            settings,
            new_orders: Arc::default(),
            hands: Hands::none(),
            batch: 64,
            recent: Recent::default(),
        };
        Self { store, users, committer, nas: Arc::new(Nas::new("edge", HERE, Secret::new("x"))) }
    }

    /// Brings these, and sees that all of them are kept.
    async fn keep(&self, items: impl IntoIterator<Item = (Item, Arc<Ticket>)>) {
        let (items, tickets): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        self.committer.keep(items, &Next::unasked()).await.unwrap();
        assert!(tickets.iter().all(|ticket| ticket.is_kept()));
        assert_eq!(self.store.quarantined(9).await.unwrap(), []);
    }

    /// A Start that brings the Class of this session.
    fn start(&self, number: u128, user: &str) -> (Item, Arc<Ticket>) {
        let at = clock::now();
        let identity =
            Identity { acct_session_id: Some(format!("a{number}")), nas_port: Some(7), ..Identity::default() };
        let report = Report { identity, at, ..Report::default() };
        let request =
            Request { status: Status::Start, user: Some(user.to_owned()), classes: vec![], report, disbelieved: None };
        let class = Class { session: id(number), accepted_at: at.before(Duration::from_secs(1)), waived: false };
        // What the packet's octets are is nobody's business here.
        let packet = AccountingPacket { nas: "edge".into(), source: HERE, received_at: at, packet: vec![4; 20] };
        let ticket = Ticket::new(Some(Entry::Accounting(packet)), Done::Nobody);
        let (nas, request, given) = (Arc::clone(&self.nas), Box::new(request), Arc::clone(&ticket));
        (Item::Accounting { nas, source: HERE, request, class: Some(class), ticket: given }, ticket)
    }

    /// The offer that the login of this session left behind.
    fn offer(&self, number: u128, user: &str) -> (Item, Arc<Ticket>) {
        let defaults = &self.committer.settings.current().defaults;
        let grant = policy::recall(None, &self.nas, defaults, false);
        let session =
            Session::offer(id(number), user.into(), "edge".into(), HERE, Identity::default(), grant, clock::now());
        let ticket = Ticket::new(None, Done::Nobody);
        (Item::Offer(Arc::new(session), Arc::clone(&ticket)), ticket)
    }

    async fn session(&self, number: u128) -> Session {
        self.store.sessions_by_id(&[id(number)]).await.unwrap().pop().unwrap()
    }
}

fn id(number: u128) -> SessionId {
    SessionId(uuid::Uuid::from_u128(number))
}

fn alice(filter: &str) -> User {
    let mut user = User::new("alice", Secret::new("x"), Timestamp::from_secs(0));
    user.permit_filter = Some(filter.to_owned());
    user
}

#[tokio::test]
async fn sessions_are_made_of_their_class_by_what_is_remembered_of_their_users() {
    let scene = Scene::new().await;
    scene.users.get(&"alice".into(), clock::now()).await.unwrap().unwrap();
    // Nobody says that she changed, so a Start that asks the store would tell.
    scene.store.replace_user(&alice("new")).await.unwrap();
    let others = (2..40).map(|number| scene.start(number, &format!("user{number}")));
    scene.keep(std::iter::once(scene.start(1, "alice")).chain(others)).await;
    let session = scene.session(1).await;
    assert_eq!((session.state, session.grant.clone().unwrap().permit_filter.as_str()), (State::Held, "old"));
    // Of somebody unknown nothing is assumed but that they must be asked about.
    assert_eq!(scene.session(39).await.state, State::Held);
    scene.users.forget(&"alice".into());
    scene.keep([scene.start(40, "alice")]).await;
    assert_eq!(scene.session(40).await.grant.clone().unwrap().permit_filter, "new");
}

#[tokio::test]
async fn an_offer_that_comes_behind_its_start_changes_nothing() {
    for remembered in [true, false] {
        let scene = Scene::new().await;
        scene.keep([scene.start(1, "alice"), scene.start(2, "alice")]).await;
        let before = scene.session(1).await;
        assert_eq!(before.state, State::Held);
        if !remembered {
            // As after an outage, or at another node.
            scene.committer.recent.clear();
        }
        // Beside one that is new, so that they share a transaction; and one that overtook its Start in the same batch.
        let items = [scene.offer(3, "alice"), scene.offer(1, "alice"), scene.offer(4, "bob"), scene.start(4, "bob")];
        scene.keep(items).await;
        assert_eq!(scene.session(1).await, before);
        assert_eq!((scene.session(3).await.state, scene.session(4).await.state), (State::Offered, State::Held));
        assert_eq!(scene.committer.recent.take(id(1)).is_some(), remembered, "what is remembered stays so");
    }
}

#[tokio::test]
async fn one_that_the_store_refuses_costs_its_neighbours_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("radhold.sqlite");
    let scene = Scene::at(&format!("sqlite://{}", path.display())).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let rule = "CREATE TRIGGER rule BEFORE INSERT ON sessions WHEN new.acct_session_id IN ('a13', 'a29')
                BEGIN SELECT raise(ABORT, 'a rule of the house'); END";
    sqlx::query(rule).execute(&pool).await.unwrap();
    let (items, tickets): (Vec<_>, Vec<_>) = (1..=40).map(|number| scene.start(number, "alice")).unzip();
    scene.committer.keep(items, &Next::unasked()).await.unwrap();
    assert!(tickets.iter().all(|ticket| ticket.is_kept()), "all of them may be acknowledged");
    let ids: Vec<_> = (1..=40).map(id).collect();
    let kept = scene.store.sessions_by_id(&ids).await.unwrap();
    assert_eq!(kept.len(), 38);
    assert!(kept.iter().all(|session| session.state == State::Held && ![id(13), id(29)].contains(&session.id)));
    let misfits = scene.store.quarantined(9).await.unwrap();
    assert_eq!(misfits.len(), 2);
    assert!(
        misfits.iter().all(|(_, misfit)| misfit.reason.contains("a rule of the house") && misfit.packet == [4; 20])
    );
}
