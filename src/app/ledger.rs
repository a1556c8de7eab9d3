//! The ledger: every fact about a session passes here, in order, in batches, and is kept before anybody is answered.
//!
//! One task per process takes jobs from a bounded queue, applies them to their sessions ([`session::step`]) and commits
//! each batch in one transaction. Other processes that share the store do the same; who came second to a session learns
//! it from the store and applies his fact to the newer copy. Decides nothing itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::lookup::{Found, Lookup};
use super::orders::NewOrders;
use super::recall::{self, Origin};
use super::settings::SettingsHandle;
use super::{chance, clock};
use crate::accounting::{Request, Status, same_nas};
use crate::model::{Nas, SessionId};
use crate::session::{Class, Event, Session, Told};
use crate::store::{AuthAttempt, Change, Committed, Extent, OrderId, SessionQuery, Store, StoreError};
use crate::telemetry;

use super::turn::Turn;

/// Jobs taken at once, at most: the size of a transaction.
const BATCH: usize = 1024;
/// Jobs waiting, at most: beyond that requests are dropped, and their NASes ask again.
const QUEUE: usize = 8192;
/// Copies of one session that may come second before its job is given up. Each time somebody else made progress.
const CONFLICTS: u32 = 16;
/// Between tries while the store is away.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Something to be kept.
#[derive(Debug)]
pub(super) enum Job {
    /// An Access-Accept went out for this session.
    Offer(Box<Session>),
    /// A fact about a session; the outcome of an order, when it settles one.
    Fact { session: SessionId, event: Box<Event>, settles: Option<OrderId>, told: oneshot::Sender<Told> },
    /// An Accounting-Request.
    Accounting { nas: Arc<Nas>, nas_address: IpAddr, request: Box<Request>, kept: oneshot::Sender<()> },
    /// An Access-Request was answered.
    Attempt(Box<AuthAttempt>),
}

impl Job {
    fn accounting(&self) -> Option<(&Nas, &Request)> {
        match self {
            Self::Accounting { nas, request, .. } => Some((nas, request)),
            _ => None,
        }
    }
}

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    jobs: mpsc::Sender<Job>,
}

/// The queue is full, or closed.
#[derive(Debug)]
pub(super) struct Full;

impl Ledger {
    /// The way in, and the task behind it.
    pub(super) fn new(store: Arc<dyn Store>, settings: SettingsHandle, new_orders: Arc<NewOrders>) -> (Self, Keeper) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        (
            Self { jobs },
            Keeper { store, settings, new_orders, queue, unkept_offers: VecDeque::new(), unrecorded: Vec::new() },
        )
    }

    /// Hands a job over, or says that there is no room.
    pub(super) fn try_send(&self, job: Job) -> Result<(), Full> {
        self.jobs.try_send(job).map_err(|_| Full)
    }

    /// Whether an Access-Request may be taken: there is room for what it will leave behind.
    pub(super) fn has_room(&self) -> bool {
        self.jobs.capacity() > QUEUE / 4
    }

    /// Hands a fact over and waits until it is kept. `None` when it was not: no such session, or the store is away.
    pub(super) async fn fact(&self, session: SessionId, event: Event, settles: Option<OrderId>) -> Option<Told> {
        let (told, answer) = oneshot::channel();
        self.jobs.send(Job::Fact { session, event: Box::new(event), settles, told }).await.ok()?;
        answer.await.ok()
    }
}

/// The task behind the ledger.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    settings: SettingsHandle,
    new_orders: Arc<NewOrders>,
    queue: mpsc::Receiver<Job>,
    /// Offers whose Access-Accept went out while the store was away. Were we to die now, the session's Start would bring
    /// its Class, and with it the same session.
    unkept_offers: VecDeque<Work>,
    /// Attempts that wait for the store.
    unrecorded: Vec<AuthAttempt>,
}

/// One job, narrowed to one session.
struct Work {
    session: SessionId,
    kind: Kind,
    done: Done,
    conflicts: u32,
}

enum Kind {
    Offer(Box<Session>),
    Fact {
        event: Event,
        settles: Option<OrderId>,
    },
    /// A report, and where its session comes from when none is kept.
    Report {
        event: Event,
        origin: Box<Origin>,
    },
}

/// Whom to tell when it is kept.
enum Done {
    Nobody,
    Told(oneshot::Sender<Told>),
    Kept(Arc<Quorum>),
}

/// One Accounting-Request that touches several sessions is answered when all of them are kept.
struct Quorum {
    missing: AtomicUsize,
    kept: Mutex<Option<oneshot::Sender<()>>>,
}

impl Keeper {
    /// Works until told to stop, and then until all that was handed over is kept.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut stopping = false;
        loop {
            let waiting = !self.unkept_offers.is_empty();
            tokio::select! {
                received = self.queue.recv_many(&mut jobs, BATCH) => if received == 0 && !waiting { return },
                () = tokio::time::sleep(STORE_PAUSE), if waiting => (),
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                }
            }
            if let Err(error) = self.keep(std::mem::take(&mut jobs)).await {
                telemetry::count("store.failed");
                tracing::error!(%error, "the store did not keep a batch; NASes will ask again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }

    /// Keeps what it can. Whoever waits for a job that was not kept sees its channel close.
    async fn keep(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let mut jobs = jobs.into_iter();
        let mut work = std::mem::take(&mut self.unkept_offers);
        let mut attempts = std::mem::take(&mut self.unrecorded);
        let mut kept = self.keep_in_order(&mut jobs, &mut work, &mut attempts).await;
        if kept.is_ok() && !attempts.is_empty() {
            kept = self.store.record_attempts(&attempts).await;
            if !matches!(kept, Err(StoreError::Away(_))) {
                attempts.clear();
            }
        }
        let surplus = attempts.len().saturating_sub(QUEUE);
        attempts.drain(..surplus).for_each(|_| telemetry::count("attempt.not-recorded"));
        self.unrecorded = attempts;
        if kept.is_err() {
            work.extend(jobs.filter_map(|job| match job {
                Job::Offer(session) => Some(Work::offer(session)),
                _ => None,
            }));
            work.retain(|item| matches!(item.kind, Kind::Offer(_)));
            while work.len() > QUEUE {
                work.pop_front();
                telemetry::count("ledger.offer-forgotten");
            }
            self.unkept_offers = work;
        }
        kept
    }

    /// Takes the jobs one after the other and commits as many as possible together. On an error, `jobs` and `work` are left
    /// with what is not kept.
    async fn keep_in_order(
        &self,
        jobs: &mut std::vec::IntoIter<Job>,
        work: &mut VecDeque<Work>,
        attempts: &mut Vec<AuthAttempt>,
    ) -> Result<(), StoreError> {
        let key = &self.settings.current().class_key;
        let accounting = || jobs.as_slice().iter().filter_map(Job::accounting);
        let classes: Vec<_> = accounting().map(|(nas, request)| recall::class_of(key, nas, request)).collect();
        let unknown = accounting().zip(&classes).filter(|(_, class)| class.is_none()).map(|(job, _)| job);
        let mut lookup = Lookup::ask(&*self.store, unknown).await?;
        let mut classes = classes.into_iter();
        for job in jobs {
            match job {
                Job::Attempt(attempt) => attempts.push(*attempt),
                Job::Offer(session) => {
                    lookup.offered(&session);
                    work.push_back(Work::offer(session));
                }
                Job::Fact { session, event, settles, told } => {
                    work.push_back(Work::new(session, Kind::Fact { event: *event, settles }, Done::Told(told)));
                }
                Job::Accounting { nas, nas_address, request, kept } => {
                    let class = classes.next().flatten();
                    match self.resolve(nas, nas_address, *request, kept, class, &mut lookup, work).await {
                        Err(error) if !matches!(error, StoreError::Away(_)) => {
                            telemetry::count("ledger.refused");
                            tracing::error!(%error, "an Accounting-Request finds no session because of this");
                        }
                        resolved => resolved?,
                    }
                }
            }
        }
        self.rounds(work).await
    }

    /// Adds the work of an Accounting-Request: for the session it is about, or for all of its NAS's.
    #[expect(clippy::too_many_arguments, reason = "a job taken apart, and what its batch knows")]
    async fn resolve(
        &self,
        nas: Arc<Nas>,
        nas_address: IpAddr,
        request: Request,
        kept: oneshot::Sender<()>,
        class: Option<Class>,
        lookup: &mut Lookup,
        work: &mut VecDeque<Work>,
    ) -> Result<(), StoreError> {
        let event = match request.status {
            Status::Start => Event::Started(request.report.clone()),
            Status::InterimUpdate => Event::Interim(request.report.clone()),
            Status::Stop => Event::Stopped(request.report.clone()),
            Status::AccountingOn | Status::AccountingOff => {
                // What came before it must be among the sessions it ends.
                self.rounds(work).await?;
                let open = SessionQuery { open: true, nas: Some(nas.name.clone()), ..SessionQuery::default() };
                let mut sessions = self.store.sessions(&open).await?;
                // Several devices may share an entry; only this one has restarted.
                let reporter = (&request.report.identity, nas_address);
                sessions.retain(|session| same_nas((&session.identity, session.nas_address), reporter));
                let quorum = Quorum::of(sessions.len(), kept);
                let restarted = Event::NasRestarted { at: request.report.at };
                work.extend(sessions.into_iter().map(|session| {
                    let kind = Kind::Fact { event: restarted.clone(), settles: None };
                    Work::new(session.id, kind, Done::Kept(Arc::clone(&quorum)))
                }));
                return Ok(());
            }
            // Of tunnels and failures (RFC 2867): nothing of ours to keep, so it is kept already.
            Status::Other(_) => {
                Quorum::of(0, kept);
                return Ok(());
            }
        };
        let session = match (class, lookup.find(&nas, nas_address, &request)) {
            (Some(class), _) => Some(class.session),
            (None, Found::Known(session)) => session,
            (None, Found::AskAgain) => {
                // What came before it may be what it looks for.
                self.rounds(work).await?;
                recall::by_identity(&*self.store, &nas, nas_address, &request).await?
            }
        };
        let session = session.unwrap_or_else(|| chance::session_id(clock::now()));
        lookup.reported(&nas, &request);
        let origin = Box::new(Origin::new(class, nas, nas_address, request));
        work.push_back(Work::new(session, Kind::Report { event, origin }, Done::Kept(Quorum::of(1, kept))));
        Ok(())
    }

    /// Commits all work in order, one job per session at a time. On an error, `work` is left with what is not kept.
    async fn rounds(&self, work: &mut VecDeque<Work>) -> Result<(), StoreError> {
        while !work.is_empty() {
            let mut taken = HashSet::new();
            let (mut round, later): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(work).into_iter().partition(|item| taken.len() < BATCH && taken.insert(item.session));
            let mut done = self.round(&mut round).await;
            if done.as_ref().is_err_and(|error| !matches!(error, StoreError::Away(_))) {
                done = self.one_by_one(&mut round).await;
            }
            // What came second goes before what waited behind it.
            round.extend(later);
            *work = round;
            done?;
        }
        Ok(())
    }

    /// A job that the store refuses must not cost its neighbours: each gets a transaction of its own, and what is refused
    /// alone is given up. Whoever waits for it sees the channel close.
    async fn one_by_one(&self, round: &mut VecDeque<Work>) -> Result<(), StoreError> {
        let mut second = VecDeque::new();
        while let Some(item) = round.pop_front() {
            let session = item.session;
            let mut alone = VecDeque::from([item]);
            match self.round(&mut alone).await {
                Ok(()) => second.extend(alone),
                Err(error @ StoreError::Away(_)) => {
                    round.extend(alone);
                    round.extend(second);
                    return Err(error);
                }
                Err(error) => {
                    telemetry::count("ledger.refused");
                    tracing::error!(%session, %error, "the store refuses this; its neighbours are kept");
                }
            }
        }
        *round = second;
        Ok(())
    }

    /// One transaction. Leaves in `round` the jobs that came second, or on an error all of them.
    async fn round(&self, round: &mut VecDeque<Work>) -> Result<(), StoreError> {
        let ids: Vec<_> = round.iter().map(|item| item.session).collect();
        let sessions = self.store.sessions_by_id(&ids).await?;
        let mut known: HashMap<SessionId, Session> = sessions.into_iter().map(|it| (it.id, it)).collect();
        let mut turns = Vec::with_capacity(round.len());
        for item in &*round {
            turns.push(self.turn(item, known.remove(&item.session)).await?);
        }
        let changes: Vec<Change> = round
            .iter()
            .zip(&turns)
            .filter_map(|(item, turn)| Some(turn.as_ref().filter(|turn| !turn.is_idle())?.change(item.settles())))
            .collect();
        let mut outcomes = self.store.commit(&changes).await?.into_iter().zip(&changes);
        let mut struck = Vec::new();
        for (mut item, turn) in std::mem::take(round).into_iter().zip(turns) {
            match turn {
                // Nothing to apply it to.
                None => {
                    struck.extend(item.settles());
                    item.done.tell(Told::SessionOver);
                }
                Some(turn) if turn.is_idle() => {
                    struck.extend(item.settles());
                    item.done.tell(turn.told());
                }
                Some(turn) => match outcomes.next() {
                    Some((Committed::Done, change)) => {
                        log(change);
                        item.done.tell(turn.told());
                    }
                    _ if item.conflicts < CONFLICTS => {
                        item.conflicts += 1;
                        round.push_back(item);
                    }
                    _ => telemetry::count("ledger.conflict-given-up"),
                },
            }
        }
        self.new_orders.call(changes.iter().flat_map(|change| &change.orders));
        for order in struck {
            self.store.finish(order).await?;
        }
        Ok(())
    }

    /// Applies a job to its session as it is kept. `None` when there is nothing to apply it to, or no need.
    async fn turn(&self, item: &Work, known: Option<Session>) -> Result<Option<Turn>, StoreError> {
        let settings = self.settings.current();
        let now = clock::now();
        let timing = settings.timing;
        Ok(match (&item.kind, known) {
            (Kind::Offer(_), Some(_)) | (Kind::Fact { .. }, None) => None,
            (Kind::Offer(session), None) => Some(Turn::of_new((**session).clone(), now, timing)),
            (Kind::Fact { event, .. } | Kind::Report { event, .. }, Some(session)) => {
                Some(Turn::of_kept(session, now, timing).take(event))
            }
            (Kind::Report { event, origin }, None) => {
                let session = recall::rebuild(&*self.store, &settings, item.session, origin).await?;
                Some(Turn::of_new(session, now, timing).take(event))
            }
        })
    }
}

impl Work {
    fn new(session: SessionId, kind: Kind, done: Done) -> Self {
        Self { session, kind, done, conflicts: 0 }
    }

    fn offer(session: Box<Session>) -> Self {
        Self::new(session.id, Kind::Offer(session), Done::Nobody)
    }

    fn settles(&self) -> Option<OrderId> {
        match self.kind {
            Kind::Fact { settles, .. } => settles,
            Kind::Offer(_) | Kind::Report { .. } => None,
        }
    }
}

impl Done {
    fn tell(self, what: Told) {
        match self {
            Self::Nobody => (),
            // Whoever asked may have gone; what is kept is kept.
            Self::Told(told) => drop(told.send(what)),
            Self::Kept(quorum) => quorum.one_more(),
        }
    }
}

impl Quorum {
    fn of(missing: usize, kept: oneshot::Sender<()>) -> Arc<Self> {
        let quorum = Arc::new(Self { missing: AtomicUsize::new(missing), kept: Mutex::new(Some(kept)) });
        if missing == 0 {
            quorum.announce();
        }
        quorum
    }

    fn one_more(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.announce();
        }
    }

    fn announce(&self) {
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever asked may have gone; what is kept is kept.
            let _ = kept.send(());
        }
    }
}

fn log(change: &Change) {
    if change.extent == Extent::Counters {
        return;
    }
    let session = &change.session;
    tracing::info!(
        session = %session.id,
        user = %session.user,
        nas = %session.nas,
        state = %session.state,
        orders = ?change.orders.iter().map(crate::session::Effect::as_str).collect::<Vec<_>>(),
        "session changed"
    );
}
