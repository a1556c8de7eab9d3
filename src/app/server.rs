//! The server's life: start, reload, stop.

use std::collections::BTreeMap;
use std::io::{self, PipeWriter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::access::{Access, Guards, Quick, Recorder};
use super::alarms::{self, Alarms};
use super::bans::Bans;
use super::desk::{self, Desk, Rules};
use super::door::{Behind, Door, Lane as Way, Port};
use super::kernel_drops::DropWatch;
use super::keys::{self, KeyError};
use super::ledger::{self, Ledger};
use super::lockouts::Lockouts;
use super::look_back::LookBack;
use super::nas_queue::NasQueues;
use super::news::{self, Hearers, Share};
use super::orders::hands::Hands;
use super::orders::{self, Done, NewOrders, Worker};
use super::portal::PortalSessions;
use super::prompts::KnownPrompts;
use super::radsec::{self, TlsGate, TlsWays};
use super::readers::StoreReaders;
use super::settings::{Settings, SettingsHandle};
use super::totp::{Codes, HeldCodes};
use super::trusts::Trusts;
use super::users::Users;
use super::words::{self, WordsError};
use super::{answers, ban_notices, chance, clock, deadlines, quarantine, restarts, upkeep};
use crate::approver::operator::Operator;
use crate::approver::telegram::{self, Pace, Telegram, TelegramError, TelegramOptions};
use crate::approver::totp::Authenticator;
use crate::approver::webhook::{Webhook, WebhookError, WebhookOptions};
use crate::approver::{Approver, AskError, Incoming, Menu, Voice};
use crate::auth::challenge::ChallengeKey;
use crate::auth::{CredentialError, SealingKey};
use crate::config::{self, Config, ConfigError, Loaded};
use crate::dynauth::Timers;
use crate::http::{Portal, PortalOptions};
use crate::model::{ApproverKind, DynauthPath, Nas, NodeName, Secret};
use crate::net;
use crate::net::dynamic_authorization::{self, DynamicAuthorizationClient, SendError};
use crate::net::radsec::{Credentials, Entrance, Limits, Links, Listener, TlsError};
use crate::places::PlacesError;
use crate::session::{ButtonKey, ClassKey, Lane};
use crate::spool::{Spool, SpoolError};
use crate::store::{self, Presence, Spooled, Store, StoreError, Turn};
use crate::telemetry;

/// How long somebody who polls with our token, and should not, is left alone.
const ELSEWHERE: Duration = Duration::from_secs(3);
/// How long requests in work may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the last exchange of counts of wrong passwords may take.
const LAST_COUNT: Duration = Duration::from_secs(2);
/// How long the ledger may take to keep what it has when the server stops.
const LAST_KEEPING: Duration = Duration::from_secs(10);
/// How soon a NAS that was added or removed by another process counts when no news of it came.
const NAS_PERIOD: Duration = Duration::from_secs(5);
/// Between tries to make a store ready that was away at the start.
const LATE: Duration = Duration::from_millis(500);
/// What approvers hear and nobody has taken up yet.
const INCOMING: usize = 64;

/// Why a server does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory cannot be made.
    #[error("state_dir {path}: {problem}")]
    StateDir {
        /// Which.
        path: String,
        /// What the system says.
        problem: io::Error,
    },
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A dictionary or dialect is wrong.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// A NAS's secret in the store cannot be opened.
    #[error("the secret of NAS {nas} in the store: {problem}")]
    NasSecret {
        /// Which.
        nas: String,
        /// Why.
        problem: CredentialError,
    },
    /// A NAS speaks a dialect that does not exist.
    #[error("NAS {nas} speaks the dialect {dialect:?}, which does not exist; there are {known}")]
    NoDialect {
        /// Which NAS.
        nas: String,
        /// What it says.
        dialect: String,
        /// What it could say.
        known: String,
    },
    /// The Telegram bot cannot be set up.
    #[error("telegram: {0}")]
    Telegram(#[from] TelegramError),
    /// The webhook cannot be set up.
    #[error("approver.webhook: {0}")]
    Webhook(#[from] WebhookError),
    /// A file of places cannot be used.
    #[error("places: {0}")]
    Places(#[from] PlacesError),
    /// A port cannot be listened on.
    #[error("cannot listen on UDP {address}: {problem}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// A TCP port for RADIUS over TLS cannot be listened on.
    #[error("cannot listen on TCP {address}: {problem}")]
    BindTls {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// The portal cannot be listened for.
    #[error("portal.listen: cannot listen on TCP {address}: {problem}")]
    BindPortal {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// Certificate, key or roots cannot be used.
    #[error("radsec: {0}")]
    Tls(#[from] TlsError),
    /// A configuration is not for this process: what it needs is set up at the start.
    #[error("{key} names {what}, which this process was started without; restart radhold, or take it out")]
    NotSetUp {
        /// Where it says so.
        key: String,
        /// What it names.
        what: String,
    },
    /// CoA-Requests cannot leave from where they should.
    #[error("CoA-Requests and Disconnect-Requests: {0}")]
    DynauthSource(#[from] SendError),
    /// A part of the server ended, which none should.
    #[error("a part of the server has ended by itself; see the log")]
    PartEnded,
    /// The system refuses something else.
    #[error(transparent)]
    System(#[from] io::Error),
}

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
    /// Each waits for the end of a thread that takes requests by UDP.
    lanes: JoinSet<()>,
    /// Closing these ends the threads.
    stop_lanes: Vec<PipeWriter>,
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
        make_state_dir(config)?;
        // The ports first: whoever has them is the one that works, and a second server started by mistake ends here.
        let auth_sockets = bind_all(&config.server.auth, &config.server)?;
        let accounting_sockets = bind_all(&config.server.accounting, &config.server)?;
        let tls_listeners = bind_tls(config)?;
        let portal_listeners = bind_portal(config).await?;
        let sealing_key = keys::sealing_key(&config.keys.sealing_file)?;
        let store = open_store(config).await?;
        let away = match open_schema(&*store, &config.node).await {
            Err(StoreError::Away(reason)) if can_wait_for_store(config) && store.hold_back(true) => Some(reason),
            opened => opened.map(|()| None)?,
        };
        let cluster_key = cluster_key(config, &*store).await?;
        let class_key = ClassKey::new(&cluster_key);
        let welcome = welcome_nas(config, &*store, &sealing_key).await?;
        // Those of the store are taken in when it is back.
        let stored = if away.is_some() { Vec::new() } else { stored_nases(&*store, &sealing_key).await? };
        let settings = SettingsHandle::new(Settings::of(config, stored, &class_key)?);
        let credentials = match &config.radsec {
            Some(tls) => Some(Arc::new(Credentials::load(&tls.files, radsec::pinned(&settings))?)),
            None => None,
        };
        let voice = voice(config, &store)?;
        let approvers = approvers(config, &ButtonKey::new(&cluster_key), &voice)?;

        // Known before the first login is answered.
        let bans = Arc::new(Bans::new(Arc::clone(&store), settings.clone()));
        if away.is_none() {
            bans.refresh().await?;
        }
        let lockouts = Arc::new(Lockouts::new(Arc::clone(&store), settings.clone()));
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
            spool: open_spool(config, &alarms).await?,
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
            background.spawn(open_schema_late(Arc::clone(&store), config.node.clone()));
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
            let (approver, incoming) = (Arc::clone(approver), incoming.clone());
            match approver.kind() {
                ApproverKind::Telegram => {
                    background.spawn(offer(Arc::clone(&approver), menus.subscribe()));
                    background.spawn(share_limits(Arc::clone(&approver), shared.clone()));
                    match polls {
                        true => background.spawn(listen_in_turn(approver, incoming, our_turn.clone())),
                        // To whichever node it is brought: none has a turn.
                        false => background.spawn(async move { approver.listen(incoming).await }),
                    }
                }
                _ => background.spawn(async move { approver.listen(incoming).await }),
            };
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
            tls: TlsWays::new(Arc::clone(&links), credentials.clone(), tls_limits(config)),
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
        background.spawn(watch_nases(Arc::clone(&store), sealing_key.clone(), settings.clone(), Arc::clone(&nases)));

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
        // Each port has places of its own: a flood of logins keeps no accounting out.
        let places = [(); 2].map(|()| Arc::new(Semaphore::new(max_pending)));
        let mut quick =
            recorder.cores().iter().map(|notes| Quick::new(Arc::clone(&access), Arc::clone(notes), lanes_of_logins));
        let behind = Behind::new(settings.clone(), Arc::clone(&access), ledger, places.clone());
        let udp = auth_sockets.iter().chain(&accounting_sockets).flat_map(|(_, sockets)| sockets);
        let drops = Arc::new(DropWatch::new(net::KernelDrops::of(udp)?));
        let watch = Arc::clone(&drops);
        background.spawn(async move { watch.run().await });
        let mut stop_lanes = Vec::new();
        let mut lanes = JoinSet::new();
        let mut open = |port: Port, name: &str, sockets: Vec<(SocketAddr, Vec<net::UdpPort>)>| {
            let mut bound = Vec::new();
            for (address, sockets) in sockets {
                let count = sockets.len();
                for (number, socket) in sockets.into_iter().enumerate() {
                    let quick = if port == Port::Access { quick.next() } else { None };
                    let lane = Way::new(Arc::new(Door::new(port, count, behind.clone())), quick);
                    let (stop, keep) = io::pipe()?;
                    let ended = lane.serve(format!("{name}-{number}"), socket, stop)?;
                    stop_lanes.push(keep);
                    // It says nothing, and is gone with its thread.
                    lanes.spawn(async move { drop(ended.await) });
                }
                bound.push(address);
            }
            Ok::<_, ServeError>(bound)
        };
        let auth = open(Port::Access, "auth", auth_sockets)?;
        let accounting = open(Port::Accounting, "accounting", accounting_sockets)?;
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
            stop_lanes,
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

    /// Puts another configuration in force, as far as [`config::Said::waiting_for_restart`] does not name it.
    ///
    /// # Errors
    /// [`ServeError`] when anything in it is wrong; nothing has changed then.
    pub async fn reload(&self, config: &Config) -> Result<(), ServeError> {
        self.is_set_up_for(config)?;
        let _turn = self.settings.turn().await;
        let stored = stored_nases(&*self.store, &self.sealing_key).await?;
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
        self.stop_lanes.clear();
        let ended = async { while self.lanes.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
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
            _ = self.lanes.join_next() => (),
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
            print_next_steps(nas, &self.auth, users.is_empty());
        }
        Ok(())
    }
}

/// What to do with a server that nobody has configured yet.
fn print_next_steps(nas: &Nas, auth: &[SocketAddr], no_users: bool) {
    let secret = String::from_utf8_lossy(nas.secret.expose());
    let port = auth.first().map_or(1812, SocketAddr::port);
    println!("radhold runs with its defaults. It serves one NAS, this host:\n");
    println!("  NAS {}   {}   secret {secret}\n", nas.name, nas.network);
    println!("Next steps, in another terminal:\n");
    if no_users {
        println!("  radhold user add alice                      add a user (asks for the password)");
    }
    println!("  radtest alice PASSWORD 127.0.0.1:{port} 0 {secret}");
    println!("                                              log in: Access-Accept with Filter-Id \"sandbox\"");
    println!("  radhold session list                        see the session, held");
    println!("  radhold nas add NAME --address ADDRESS      add your own NAS");
    println!("  radhold user enrol alice                    let Telegram ask (see README, \"Telegram\")\n");
}

/// Opens the store of a configuration.
///
/// # Errors
/// As [`store::open_with`].
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let options = store::Options {
        direct_url: config.store.direct_url.as_ref().map(|url| url.expose().to_owned()),
        connections: config.store.connections,
        patience: config.store.patience,
    };
    store::open_with(config.store.url.expose(), options).await
}

fn make_state_dir(config: &Config) -> Result<(), ServeError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)
        .map_err(|problem| ServeError::StateDir { path: config.state_dir.display().to_string(), problem })
}

/// This node's spool. One that is damaged must not keep the server from serving.
async fn open_spool(config: &Config, alarms: &Alarms) -> Result<Spool, ServeError> {
    let limit = config.spool.max_mebibytes.saturating_mul(1 << 20);
    let (spool, moved) = Spool::open(&config.spool.file, limit, clock::now()).await?;
    if let Some(moved) = moved {
        ledger::report_damage(&moved, alarms);
    }
    Ok(spool)
}

/// The key of the cluster: from its file when there is one, else the one the store keeps for all nodes.
async fn cluster_key(config: &Config, store: &dyn Store) -> Result<Secret, ServeError> {
    if config.keys.cluster_file.exists() {
        return Ok(keys::cluster_key(&config.keys.cluster_file)?);
    }
    let candidate = Secret::new(chance::octets::<32>());
    Ok(store.cluster_secret("cluster-key", &candidate).await?)
}

/// Makes the store ready for this node.
async fn open_schema(store: &dyn Store, node: &NodeName) -> Result<(), StoreError> {
    store.migrate().await?;
    store.release(node).await
}

/// Whether the server can start without its store: what it must know to take accounting in is in files.
fn can_wait_for_store(config: &Config) -> bool {
    config.keys.cluster_file.exists() && !config.nas.is_empty()
}

/// Makes the store ready when it is back, and lets calls through then.
async fn open_schema_late(store: Arc<dyn Store>, node: NodeName) {
    let mut complaint = String::new();
    while let Err(error) = store.migrate().await {
        let error = error.to_string();
        if error != complaint {
            tracing::warn!(error, "the store cannot be made ready; trying again");
            complaint = error;
        }
        tokio::time::sleep(LATE).await;
    }
    store.hold_back(false);
    // What is claimed already may be done twice, which is harmless.
    if let Err(error) = store.release(&node).await {
        tracing::warn!(%error, "orders of this node's last life stay claimed until their lease is over");
    }
    tracing::info!("the store that was away at the start is ready");
    // A part of the server does not end by itself.
    std::future::pending::<()>().await;
}

/// With no NAS anywhere, this host becomes one, with a secret of its own.
async fn welcome_nas(config: &Config, store: &dyn Store, key: &SealingKey) -> Result<Option<Nas>, ServeError> {
    const NAME: &str = "localhost";
    if !config.nas.is_empty() {
        return Ok(None);
    }
    let stored = stored_nases(store, key).await?;
    if !stored.is_empty() {
        // The first steps are shown until there is more than the NAS made here.
        let [only] = stored.as_slice() else { return Ok(None) };
        return Ok(Some(only.clone()).filter(|nas| nas.name.as_str() == NAME));
    }
    let secret = Secret::new(hex::encode(chance::octets::<12>()));
    let nas = Nas::new(NAME, IpAddr::V4(Ipv4Addr::LOCALHOST), secret);
    let secret_error = |problem| ServeError::NasSecret { nas: NAME.to_owned(), problem };
    match store.add_nas(&keys::seal_nas(nas.clone(), key).map_err(secret_error)?).await {
        // Another node was faster; it shows the steps.
        Err(StoreError::Exists(_)) => Ok(None),
        added => Ok(added.map(|()| Some(nas))?),
    }
}

async fn stored_nases(store: &dyn Store, key: &SealingKey) -> Result<Vec<Nas>, ServeError> {
    let nases = store.nases().await?;
    let open = |nas: Nas| {
        let name = nas.name.to_string();
        keys::open_nas(nas, key).map_err(|problem| ServeError::NasSecret { nas: name, problem })
    };
    nases.into_iter().map(open).collect()
}

/// Takes over NASes that other processes add to the store or remove from it.
async fn watch_nases(store: Arc<dyn Store>, key: SealingKey, settings: SettingsHandle, changed: Arc<Notify>) {
    let mut complaint = String::new();
    loop {
        // News or none, it is time to look.
        let _ = tokio::time::timeout(NAS_PERIOD, changed.notified()).await;
        match settings.take_nases(stored_nases(&*store, &key)).await {
            Ok(true) => {
                let settings = settings.current();
                for warning in radsec::shared_ids(&settings) {
                    tracing::warn!("{warning}");
                }
                // Once it counts: whoever reads this may send at once.
                tracing::info!(nases = settings.stored.len(), "the store's list of NASes has changed");
            }
            Ok(false) => (),
            Err(error) => {
                let error = error.to_string();
                if error != complaint {
                    tracing::warn!(error, "cannot see whether NASes were added or removed; the known ones stay");
                    complaint = error;
                }
                continue;
            }
        }
    }
}

/// All words, and how chats want them, as the store knows.
fn voice(config: &Config, store: &Arc<dyn Store>) -> Result<Voice, ServeError> {
    Ok(Voice {
        messages: Arc::new(words::messages(&config.messages)?),
        language: config.messages.language.clone(),
        zone: config.messages.zone,
        readers: Arc::new(StoreReaders(Arc::clone(store))),
    })
}

fn approvers(
    config: &Config,
    buttons: &ButtonKey,
    voice: &Voice,
) -> Result<BTreeMap<ApproverKind, Arc<dyn Approver>>, ServeError> {
    let mut approvers: BTreeMap<ApproverKind, Arc<dyn Approver>> = BTreeMap::new();
    approvers.insert(ApproverKind::Operator, Arc::new(Operator));
    approvers.insert(ApproverKind::Totp, Arc::new(Authenticator));
    if let Some(telegram) = &config.telegram {
        let options = TelegramOptions {
            api_url: Some(telegram.api_url.clone()),
            operator_chat: telegram.operator_chat,
            voice: voice.clone(),
            pace: Pace { messages: telegram.messages_per_second, ..Pace::default() },
            proxy: telegram.proxy.clone(),
            webhook: telegram.webhook.as_ref().map(|webhook| telegram::Webhook {
                url: webhook.url.clone(),
                listen: webhook.listen,
                secret: webhook.secret.clone(),
            }),
            ..TelegramOptions::new(telegram.token.clone())
        };
        approvers.insert(ApproverKind::Telegram, Arc::new(Telegram::new(options, buttons.clone())?));
    }
    if let Some(webhook) = &config.webhook {
        let options = WebhookOptions {
            url: webhook.url.clone(),
            secret: webhook.secret.clone(),
            timeout: webhook.timeout,
            allow: webhook.allow.clone(),
            listen: webhook.listen,
            callback_url: webhook.callback_url.clone(),
            clock: clock::now,
        };
        let webhook = Webhook::new(options, buttons.clone())?;
        if let Some(callback) = webhook.callback_url() {
            tracing::info!(%callback, "answers to the webhook are taken in");
        }
        approvers.insert(ApproverKind::Webhook, Arc::new(webhook));
    }
    Ok(approvers)
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

/// Has the commands offered, and again when there are others, for ever; tried until it is done.
async fn offer(approver: Arc<dyn Approver>, mut menus: watch::Receiver<Vec<Menu>>) {
    loop {
        let offered = menus.borrow_and_update().clone();
        tokio::select! {
            () = offer_once(&*approver, &offered) => {}
            changed = menus.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        }
        if menus.changed().await.is_err() {
            break;
        }
    }
    // A part of the server does not end by itself.
    std::future::pending::<()>().await;
}

async fn offer_once(approver: &dyn Approver, menus: &[Menu]) {
    let mut pause = Duration::from_secs(1);
    loop {
        let wait = match approver.publish(menus).await {
            Ok(()) => return,
            Err(AskError::Later { after, reason }) => {
                tracing::info!(approver = %approver.kind(), reason, "its commands are not offered yet");
                after.unwrap_or(pause)
            }
            Err(AskError::Undeliverable(reason)) => {
                tracing::warn!(approver = %approver.kind(), reason, "its commands cannot be offered");
                return;
            }
        };
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// Tells an approver among how many nodes its limits are shared, for ever.
async fn share_limits(approver: Arc<dyn Approver>, mut shared: watch::Receiver<Share>) {
    loop {
        approver.share_among(usize::try_from(shared.borrow_and_update().of).unwrap_or(usize::MAX));
        if shared.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens while it is this node's turn. A press that was in hand when the turn ends is not confirmed to Telegram, and comes to
/// whoever has the turn next.
async fn listen_in_turn(
    approver: Arc<dyn Approver>,
    incoming: mpsc::Sender<Incoming>,
    mut turn: watch::Receiver<Turn>,
) {
    let kind = approver.kind();
    while turn.wait_for(|turn| *turn != Turn::Others).await.is_ok() {
        tracing::info!(approver = %kind, "this node polls");
        let polled_elsewhere = tokio::select! {
            () = approver.listen(incoming.clone()) => true,
            _ = turn.wait_for(|turn| *turn == Turn::Others) => false,
        };
        if incoming.is_closed() {
            return;
        }
        if polled_elsewhere {
            telemetry::count("approver.polled-elsewhere");
            if *turn.borrow_and_update() == Turn::Unsure {
                tracing::warn!(approver = %kind, "another polls, while this node cannot reach the store; it polls no more");
                drop(turn.changed().await);
                continue;
            }
            // Whoever was frozen sees the other before it hears that it has lost its turn.
            drop(tokio::time::timeout(ELSEWHERE, turn.changed()).await);
            if *turn.borrow() == Turn::Ours {
                tracing::error!(approver = %kind, "somebody else polls with the same token; two must not");
                continue;
            }
        }
        tracing::warn!(approver = %kind, "this node polls no more: another has the turn");
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

fn tls_limits(config: &Config) -> Limits {
    let tls = config.radsec.as_ref();
    let (idle, write_patience) =
        tls.map_or((Duration::from_secs(3600), Duration::from_secs(10)), |tls| (tls.idle, tls.write_patience));
    Limits::new(idle, write_patience)
}

/// Opens the ports of RADIUS over TLS.
fn bind_tls(config: &Config) -> Result<Vec<Listener>, ServeError> {
    let addresses = config.radsec.iter().flat_map(|tls| &tls.listen);
    addresses
        .map(|&address| Listener::bind(address).map_err(|problem| ServeError::BindTls { address, problem }))
        .collect()
}

/// Opens the ports of the portal.
async fn bind_portal(config: &Config) -> Result<Vec<(SocketAddr, TcpListener)>, ServeError> {
    let mut listeners = Vec::new();
    for &address in config.portal.iter().flat_map(|portal| &portal.listen) {
        let refused = |problem| ServeError::BindPortal { address, problem };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        listeners.push((listener.local_addr().map_err(refused)?, listener));
    }
    Ok(listeners)
}

/// Opens ports; port 0 is any, so the address that was bound comes with each.
fn bind_all(
    addresses: &[SocketAddr],
    options: &config::Server,
) -> Result<Vec<(SocketAddr, Vec<net::UdpPort>)>, ServeError> {
    let open = |&address: &SocketAddr| {
        let refused = |problem| ServeError::Bind { address, problem };
        let sockets = net::bind_shared(address, options.sockets, options.receive_buffer).map_err(refused)?;
        let first = &sockets[0];
        let (address, granted) = (first.local_addr().map_err(refused)?, first.receive_buffer().map_err(refused)?);
        if granted < options.receive_buffer {
            tracing::warn!(
                %address,
                granted,
                "the system grants less than server.receive_buffer; raise it with sysctl net.core.rmem_max={}",
                options.receive_buffer
            );
        }
        Ok((address, sockets))
    };
    addresses.iter().map(open).collect()
}
