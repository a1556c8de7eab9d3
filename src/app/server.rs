//! The server's life: start, reload, stop.

mod channels;
mod error;
mod lanes;
mod nases;
mod opening;
mod ports;

use std::iter;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::access::{Access, Guards, Quick, Recorder};
use super::alarms::{self, Alarms};
use super::bans::Bans;
use super::desk::{self, Desk, Rules};
use super::door::{Behind, Door, Port};
use super::kernel_drops::DropWatch;
use super::keys;
use super::ledger::{self, Ledger};
use super::lockouts::{self, Lockouts};
use super::look_back::LookBack;
use super::nas_queue::NasQueues;
use super::news::{self, Hearers, Share};
use super::orders::hands::Hands;
use super::orders::{self, Done, NewOrders, Worker};
use super::portal::PortalSessions;
use super::prompts::KnownPrompts;
use super::radsec::{self, TlsGate, TlsWays};
use super::settings::{Settings, SettingsHandle};
use super::totp::{Codes, HeldCodes};
use super::trusts::Trusts;
use super::users::Users;
use super::words;
use super::{answers, ban_notices, chance, clock, deadlines, quarantine, restarts, upkeep};
use crate::approver::{Incoming, Menu};
use crate::auth::SealingKey;
use crate::auth::challenge::ChallengeKey;
use crate::config::{Config, ConfigError, Loaded};
use crate::dynauth::Timers;
use crate::http::{Portal, PortalOptions};
use crate::model::{DynauthPath, Nas, Secret};
use crate::net;
use crate::net::dynamic_authorization::{self, DynamicAuthorizationClient};
use crate::net::radsec::{Credentials, Entrance, Links};
use crate::session::{ButtonKey, ClassKey, Lane};
use crate::store::{Presence, Spooled, Store, StoreError, Turn};
use crate::telemetry;

use channels::Ear;
use lanes::Lanes;

pub use error::ServeError;
pub use opening::open_store;

/// How long requests in work may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the last exchange of counts of wrong passwords may take.
const LAST_COUNT: Duration = Duration::from_secs(2);
/// How long the ledger may take to keep what it has when the server stops.
const LAST_KEEPING: Duration = Duration::from_secs(10);
/// What approvers hear and nobody has taken up yet.
const INCOMING: usize = 64;

/// A running server.
pub struct Server {
    auth: Vec<SocketAddr>,
    accounting: Vec<SocketAddr>,
    radsec: Vec<SocketAddr>,
    portal: Vec<SocketAddr>,
    links: Arc<Links>,
    credentials: Option<Arc<Credentials>>,
    welcome: Option<Nas>,
    store: Arc<dyn Store>,
    sealing_key: SealingKey,
    class_key: ClassKey,
    settings: SettingsHandle,
    /// Those of TLS, and of the portal.
    listeners: JoinSet<()>,
    lanes: Lanes,
    drops: Arc<DropWatch>,
    background: JoinSet<()>,
    workers: JoinSet<()>,
    stop_workers: watch::Sender<bool>,
    worker: Arc<Worker>,
    desk: Arc<Desk>,
    /// The commands that are to be offered.
    menus: watch::Sender<Vec<Menu>>,
    keeper: JoinHandle<()>,
    stop_keeper: oneshot::Sender<()>,
    places: [Arc<Semaphore>; 2],
    max_pending: usize,
    lockouts: Arc<Lockouts>,
    recorder: Arc<Recorder>,
}

/// Runs a server until SIGTERM or SIGINT. SIGHUP reloads: the configuration is read anew and takes the old one's place as a
/// whole, or, when anything in it is wrong, not at all. SIGUSR1 logs all counters.
///
/// # Errors
/// [`ServeError`] when it cannot start.
pub async fn serve(loaded: Loaded, reload: impl Fn() -> Result<Loaded, ConfigError>) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tell = signal(SignalKind::user_defined1())?;
    let mut server = Server::start(&loaded.config).await?;
    server.announce(&loaded).await?;
    let said_at_start = loaded.said;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = tell.recv() => server.log_counters(),
            () = server.part_ended() => {
                tracing::error!("a part of the server has ended by itself; stopping");
                server.stop().await;
                return Err(ServeError::PartEnded);
            }
            _ = hangup.recv() => match reload() {
                Ok(loaded) => match server.reload(&loaded.config).await {
                    Ok(()) => {
                        server.warn(&loaded);
                        let waiting = loaded.said.waiting_for_restart(&said_at_start);
                        if !waiting.is_empty() {
                            tracing::warn!("changed, but in force only after a restart: {}", waiting.join(", "));
                        }
                        tracing::info!("configuration reloaded");
                    }
                    Err(error) => tracing::error!(%error, "not reloaded; the old configuration stays in force"),
                },
                Err(error) => tracing::error!(%error, "not reloaded; the old configuration stays in force"),
            },
        }
    }
    tracing::info!("stopping: requests in work are answered, then what is not kept yet is kept");
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

impl Server {
    /// Opens store and ports and starts to work.
    ///
    /// # Errors
    /// [`ServeError`] when anything it needs is missing or wrong.
    pub async fn start(config: &Config) -> Result<Self, ServeError> {
        opening::make_state_dir(config)?;
        // The ports first: whoever has them is the one that works, and a second server started by mistake ends here.
        let auth_sockets = ports::bind_all(&config.server.auth, &config.server)?;
        let accounting_sockets = ports::bind_all(&config.server.accounting, &config.server)?;
        let tls_listeners = ports::bind_tls(config)?;
        let portal_listeners = ports::bind_portal(config).await?;
        let sealing_key = keys::sealing_key(&config.keys.sealing_file)?;
        let store = opening::open_store(config).await?;
        let away = match opening::open_schema(&*store, &config.node).await {
            Err(StoreError::Away(reason)) if opening::can_wait_for_store(config) && store.hold_back(true) => {
                Some(reason)
            }
            opened => opened.map(|()| None)?,
        };
        let cluster_key = opening::cluster_key(config, &*store).await?;
        let class_key = ClassKey::new(&cluster_key);
        let welcome = nases::welcome_nas(config, &*store, &sealing_key).await?;
        // Those of the store are taken in when it is back.
        let stored = if away.is_some() { Vec::new() } else { nases::stored_nases(&*store, &sealing_key).await? };
        let settings = SettingsHandle::new(Settings::of(config, stored, &class_key)?);
        let credentials = match &config.radsec {
            Some(tls) => Some(Arc::new(Credentials::load(&tls.files, radsec::pinned(&settings))?)),
            None => None,
        };
        let voice = channels::voice(config, &store)?;
        let approvers = channels::approvers(config, &ButtonKey::new(&cluster_key), &voice)?;

        // Known before the first login is answered.
        let bans = Arc::new(Bans::new(Arc::clone(&store), settings.clone()));
        if away.is_none() {
            bans.refresh().await?;
        }
        let lockouts = Arc::new(Lockouts::new(Arc::clone(&store), settings.clone(), lockouts::PATIENCE));
        if away.is_none() {
            lockouts.exchange().await?;
        }

        let new_orders = Arc::<NewOrders>::default();
        let (alarms, raised) = Alarms::new(config.node.clone());
        let (spools, spooled) = watch::channel(Spooled::default());
        let prompts = Arc::new(KnownPrompts::new(Arc::clone(&store), settings.clone(), alarms.clone()));
        let trusts = Arc::new(Trusts::new(Arc::clone(&store)));
        if away.is_none() {
            prompts.hear(&mut LookBack::default()).await?;
            trusts.refresh().await?;
        }
        let users = Arc::new(Users::new(Arc::clone(&store), config.store.users_while_away));
        let dynauth = dynauth_settings(config);
        let lease = Worker::lease(&dynauth);
        let (hands, taken) = Hands::new(config.node.clone(), lease, orders::AT_ONCE.0);
        let (ledger, keeper) = Ledger::new(ledger::Parts {
            store: Arc::clone(&store),
            users: Arc::clone(&users),
            spool: opening::open_spool(config, &alarms).await?,
            settings: settings.clone(),
            new_orders: Arc::clone(&new_orders),
            hands: hands.clone(),
            buttons: ButtonKey::new(&cluster_key),
            gather: config.store.gather,
            batch: config.store.batch,
            after: config.spool.after,
            drain_rate: config.spool.drain_rate,
            alarms,
            spools,
        });
        let (stop_keeper, stop) = oneshot::channel();
        let keeper = tokio::spawn(keeper.run(stop));
        let mut background = JoinSet::new();
        let (share, shared) = watch::channel(Share::default());
        let (turn, our_turn) = watch::channel(Turn::Others);
        if let Some(reason) = away {
            tracing::error!(
                reason,
                "the store is away at the start: accounting goes to the spool, and nobody logs in until it is back"
            );
            background.spawn(opening::open_schema_late(Arc::clone(&store), config.node.clone()));
        }
        background.spawn(deadlines::run(Arc::clone(&store), ledger.clone(), settings.clone(), shared.clone()));
        background.spawn(upkeep::run(Arc::clone(&store), settings.clone()));
        let (incoming, heard) = mpsc::channel::<Incoming>(INCOMING);
        let codes =
            Arc::new(Codes::new(Arc::clone(&store), settings.clone(), sealing_key.clone(), Arc::clone(&lockouts)));
        let telegram = config.telegram.as_ref();
        let desk = Arc::new(Desk::new(desk::Parts {
            store: Arc::clone(&store),
            ledger: ledger.clone(),
            new_orders: Arc::clone(&new_orders),
            settings: settings.clone(),
            approvers: approvers.clone(),
            voice: voice.clone(),
            rules: Rules::of(config),
            bot_name: telegram.and_then(|telegram| telegram.bot_name.clone()),
            held_codes: HeldCodes::new(Arc::clone(&codes), Arc::clone(&store), ledger.clone()),
        }));
        let held_codes = HeldCodes::new(Arc::clone(&codes), Arc::clone(&store), ledger.clone());
        let portal_sessions = PortalSessions::new(Arc::clone(&store), held_codes, ButtonKey::new(&cluster_key));
        background.spawn(answers::run(heard, Arc::clone(&store), ledger.clone(), Arc::clone(&desk)));
        background.spawn(desk::notices(Arc::clone(&desk)));
        let menus = watch::Sender::new(desk.menus());
        let polls = telegram.is_some_and(|telegram| telegram.webhook.is_none());
        for approver in approvers.values() {
            let ear = Ear { incoming: incoming.clone(), turn: polls.then(|| our_turn.clone()) };
            channels::keep_going(&mut background, approver, ear, &menus, &shared);
        }
        background.spawn(alarms::run(raised, approvers.clone()));
        let links = Arc::<Links>::default();
        if let Some(credentials) = &credentials {
            background.spawn(Arc::clone(credentials).watch());
            background.spawn(radsec::publish(Arc::clone(&links), Arc::clone(&store), config.node.clone()));
        }
        let (done, done_orders) = Done::new();
        background.spawn(done_orders.run(Arc::clone(&store)));
        let worker = Worker {
            node: config.node.clone(),
            store: Arc::clone(&store),
            ledger: ledger.clone(),
            settings: settings.clone(),
            approvers,
            dynauth: DynamicAuthorizationClient::new(dynauth, clock::now, || u32::from_be_bytes(chance::octets())),
            dynauth_source: config.dynauth.source,
            lease,
            hands,
            done,
            queues: NasQueues::default(),
            tls: TlsWays::new(Arc::clone(&links), credentials.clone(), ports::tls_limits(config)),
            buttons: ButtonKey::new(&cluster_key),
            places: RwLock::new(Arc::new(words::places(&config.places)?)),
            voice: voice.clone(),
        };
        let sources = config.nas.iter().filter_map(|nas| nas.coa_source).chain(config.dynauth.source);
        sources.into_iter().try_for_each(|source| worker.dynauth.bind(source))?;
        let worker = Arc::new(worker);
        let (stop_workers, stopping) = watch::channel(false);
        let mut workers = JoinSet::new();
        for lane in [Lane::Nas, Lane::People, Lane::Notices] {
            workers.spawn(Arc::clone(&worker).run(lane, Arc::clone(&new_orders), stopping.clone()));
        }
        workers.spawn(Arc::clone(&worker).run_taken(taken, stopping));
        background.spawn(telemetry::watch_log());
        background.spawn(restarts::run(Arc::clone(&store), ledger.clone(), settings.clone(), share.subscribe()));
        background.spawn(quarantine::run(Arc::clone(&store), ledger.clone(), settings.clone()));
        background.spawn(Arc::clone(&bans).run());
        background.spawn(Arc::clone(&lockouts).run());
        background.spawn(Arc::clone(&prompts).run());
        background.spawn(Arc::clone(&trusts).run());
        background.spawn(ban_notices::run(Arc::clone(&worker), Arc::clone(&bans)));
        background.spawn(radsec::tidy(Arc::clone(&worker)));
        let nases = Arc::<Notify>::default();
        background.spawn(nases::watch_nases(
            Arc::clone(&store),
            sealing_key.clone(),
            settings.clone(),
            Arc::clone(&nases),
        ));

        let hearers = Hearers {
            users: Arc::clone(&users),
            bans: Arc::clone(&bans),
            trusts: Arc::clone(&trusts),
            nases,
            new_orders,
            share,
            turn,
            settings: settings.clone(),
        };
        background.spawn(news::run(Arc::clone(&store), presence(config, spooled), hearers));
        let lanes_of_logins = auth_sockets.iter().map(|(_, sockets)| sockets.len()).sum();
        let recorder = Arc::new(Recorder::new(lanes_of_logins, ledger.clone(), settings.clone()));
        background.spawn(Arc::clone(&recorder).run());
        let access = Arc::new(Access::new(
            settings.clone(),
            users,
            (ledger.clone(), Arc::clone(recorder.others())),
            sealing_key.clone(),
            config.server.password_checks,
            Guards {
                bans,
                lockouts: Arc::clone(&lockouts),
                prompts,
                trusts,
                buttons: ButtonKey::new(&cluster_key),
                messages: Arc::clone(&voice.messages),
                language: config.messages.language.clone(),
                codes,
                challenges: ChallengeKey::new(&cluster_key),
            },
        ));
        let max_pending = config.server.max_pending.clamp(1, Semaphore::MAX_PERMITS);
        // Logins have places of their own, whatever they came by: a flood of them keeps no accounting out.
        let places = [(); 2].map(|()| Arc::new(Semaphore::new(max_pending)));
        let quick =
            recorder.cores().iter().map(|notes| Quick::new(Arc::clone(&access), Arc::clone(notes), lanes_of_logins));
        let behind = Behind::new(settings.clone(), Arc::clone(&access), ledger, places.clone());
        let udp = auth_sockets.iter().chain(&accounting_sockets).flat_map(|(_, sockets)| sockets);
        let drops = Arc::new(DropWatch::new(net::KernelDrops::of(udp)?));
        let watch = Arc::clone(&drops);
        background.spawn(async move { watch.run().await });
        let mut lanes = Lanes::new(behind.clone());
        let auth = lanes.open(Port::Access, "auth", auth_sockets, quick)?;
        let accounting = lanes.open(Port::Accounting, "accounting", accounting_sockets, iter::empty())?;
        let mut listeners = JoinSet::new();
        let mut tls_addresses = Vec::new();
        if let (Some(tls), Some(credentials)) = (&config.radsec, &credentials) {
            let door = Door::new(Port::Tls, 1, behind.clone());
            let gate = TlsGate { settings: settings.clone(), door: Arc::new(door) };
            let entrance = Entrance::new(tls.clone(), Arc::clone(credentials), Arc::clone(&links), gate);
            for listener in tls_listeners {
                tls_addresses.push(listener.address);
                listeners.spawn(Arc::clone(&entrance).listen(listener));
            }
        }
        let portal = portal_listeners.iter().map(|(address, _)| *address).collect();
        if let Some(settings) = &config.portal {
            let options = PortalOptions {
                url: settings.url.clone(),
                trusted_proxies: settings.trusted_proxies.clone(),
                messages: Arc::clone(&voice.messages),
                language: config.messages.language.clone(),
            };
            let page = Arc::new(Portal::new(options, Arc::new(portal_sessions)));
            for (_, listener) in portal_listeners {
                listeners.spawn(Arc::clone(&page).serve(listener));
            }
        }
        Ok(Self {
            auth,
            accounting,
            radsec: tls_addresses,
            portal,
            links,
            credentials,
            welcome,
            store,
            sealing_key,
            class_key,
            settings,
            listeners,
            lanes,
            drops,
            background,
            workers,
            stop_workers,
            worker,
            desk,
            menus,
            keeper,
            stop_keeper,
            places,
            max_pending,
            lockouts,
            recorder,
        })
    }

    /// The UDP addresses that take Access-Requests.
    pub fn auth(&self) -> &[SocketAddr] {
        &self.auth
    }

    /// The UDP addresses that take Accounting-Requests.
    pub fn accounting(&self) -> &[SocketAddr] {
        &self.accounting
    }

    /// The TCP addresses that take connections of RADIUS over TLS.
    pub fn radsec(&self) -> &[SocketAddr] {
        &self.radsec
    }

    /// The TCP addresses of the portal.
    pub fn portal(&self) -> &[SocketAddr] {
        &self.portal
    }

    /// The store it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The key passwords and NAS secrets are sealed with.
    pub fn sealing_key(&self) -> &SealingKey {
        &self.sealing_key
    }

    /// Puts another configuration in force, as far as [`crate::config::Said::waiting_for_restart`] does not name it.
    ///
    /// # Errors
    /// [`ServeError`] when anything in it is wrong; nothing has changed then.
    pub async fn reload(&self, config: &Config) -> Result<(), ServeError> {
        self.is_set_up_for(config)?;
        let _turn = self.settings.turn().await;
        let stored = nases::stored_nases(&*self.store, &self.sealing_key).await?;
        let settings = Settings::of(config, stored, &self.class_key)?.after(&self.settings.current());
        let (messages, places) = (words::messages(&config.messages)?, words::places(&config.places)?);
        if let Some(credentials) = &self.credentials {
            credentials.refresh()?;
        }
        // Nothing of this can fail.
        self.settings.update(|_| settings);
        self.worker.voice.messages.replace(&messages);
        *self.worker.places.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(places);
        self.desk.go_by(Rules::of(config));
        self.menus.send_replace(self.desk.menus());
        Ok(())
    }

    /// Whether this process can do what a configuration demands: channels to approvers, and TLS, come only with a start.
    fn is_set_up_for(&self, config: &Config) -> Result<(), ServeError> {
        let of_nases = config.nas.iter().map(|nas| (format!("nas.{}.approvers", nas.name), &nas.approvers));
        // Unsaid, it follows from the sections there are.
        let defaults = ("hold.approvers (said or not)".to_owned(), &config.hold.defaults.hold.approvers);
        let lists = std::iter::once(defaults).chain(of_nases);
        for (key, steps) in lists {
            if let Some(step) = steps.iter().find(|step| self.worker.channel(step.kind).is_none()) {
                return Err(ServeError::NotSetUp { key, what: step.kind.to_string() });
            }
        }
        let by_tls = |nas: &&Nas| matches!(nas.dynauth, DynauthPath::Tls | DynauthPath::Radsec);
        match config.nas.iter().find(by_tls).filter(|_| self.credentials.is_none()) {
            Some(nas) => {
                let what = "RADIUS over TLS ([radsec])".to_owned();
                Err(ServeError::NotSetUp { key: format!("nas.{}.dynauth", nas.name), what })
            }
            None => Ok(()),
        }
    }

    /// Stops: first asks, then insists. What was acknowledged is kept; orders under way are carried out after the next
    /// start.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        if tokio::time::timeout(DRAIN, self.lanes.end()).await.is_err() {
            tracing::warn!("a thread that takes requests does not end");
        }
        let all = u32::try_from(self.max_pending).unwrap_or(u32::MAX);
        let drained = async {
            for places in &self.places {
                // Closed it never is, so the permits come when all work is done.
                drop(places.acquire_many(all).await);
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("requests in work were cut off; their NASes will ask again");
        }
        self.stop_workers.send_replace(true);
        let done = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, done).await.is_err() {
            tracing::warn!("orders under way were cut off; they are carried out again");
        }
        self.workers.shutdown().await;
        self.links.end_all().await;
        self.background.shutdown().await;
        self.recorder.finish(DRAIN).await;
        // Wrong passwords of the last second, which only this process knows.
        if !matches!(tokio::time::timeout(LAST_COUNT, self.lockouts.exchange()).await, Ok(Ok(()))) {
            tracing::warn!("wrong passwords of the last second are not counted");
        }
        if let Err(error) = self.store.release(&self.worker.node).await {
            tracing::warn!(%error, "orders under way stay claimed until their lease is over");
        }
        // Now that nothing more is sent.
        self.log_counters();
        // Gone already when the keeper was.
        let _ = self.stop_keeper.send(());
        if tokio::time::timeout(LAST_KEEPING, self.keeper).await.is_err() {
            tracing::error!("the store did not keep everything in time; NASes will ask again");
        }
    }

    /// Returns when a task that should run for ever has ended, as one that panicked has.
    async fn part_ended(&mut self) {
        tokio::select! {
            _ = self.listeners.join_next(), if !self.listeners.is_empty() => (),
            () = self.lanes.one_ended() => (),
            _ = self.background.join_next() => (),
            _ = self.workers.join_next() => (),
            _ = &mut self.keeper => (),
        }
    }

    /// One line for each counter that is not zero, and one behind them, so that who reads them knows when all are there.
    fn log_counters(&self) {
        self.drops.look();
        for (name, count) in telemetry::snapshot() {
            tracing::info!(name, count, "counted");
        }
        tracing::info!(counts = ?self.worker.dynauth.counts(), "CoA-Requests and Disconnect-Requests counted");
        tracing::info!("all counters logged");
    }

    fn warn(&self, loaded: &Loaded) {
        let settings = self.settings.current();
        let (unconfined, shared_ids) = (settings.unconfined(), radsec::shared_ids(&settings));
        for warning in loaded.warnings.iter().chain(&unconfined).chain(&shared_ids) {
            tracing::warn!("{warning}");
        }
    }

    async fn announce(&self, loaded: &Loaded) -> Result<(), ServeError> {
        self.warn(loaded);
        tracing::info!(auth = ?self.auth, accounting = ?self.accounting, radsec = ?self.radsec, portal = ?self.portal,
            store = %loaded.config.store.url, nases = self.settings.current().nases.len(), node = %loaded.config.node, "radhold is ready");
        telemetry::tell_ready();
        if let Some(nas) = &self.welcome {
            let users = self.store.users().await?;
            nases::print_next_steps(nas, &self.auth, users.is_empty());
        }
        Ok(())
    }
}

/// What this node shows of itself.
fn presence(config: &Config, spooled: watch::Receiver<Spooled>) -> Presence {
    let number = |token: &Secret| {
        let digest: [u8; 32] = Sha256::digest(token.expose()).into();
        i64::from_be_bytes(digest[..8].try_into().expect("eight octets of thirty-two"))
    };
    Presence {
        node: config.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: clock::now(),
        wants_turn: config
            .telegram
            .as_ref()
            .filter(|telegram| telegram.webhook.is_none())
            .map(|telegram| number(&telegram.token)),
        spooled,
    }
}

fn dynauth_settings(config: &Config) -> dynamic_authorization::Settings {
    let timers = Timers {
        irt: config.dynauth.initial_timeout,
        // MRC counts all transmissions, the key only those after the first.
        mrc: config.dynauth.retries.saturating_add(1),
        mrt: config.dynauth.max_timeout,
        mrd: config.dynauth.total,
    };
    dynamic_authorization::Settings { timers, ..Default::default() }
}
