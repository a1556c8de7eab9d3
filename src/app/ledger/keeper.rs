//! The task behind the ledger: gathers jobs into batches, and sees to it that each is kept somewhere before it is answered.
//!
//! Two modes. While the store is there, batches go to it, each in a task of its own and [`DEPTH`] at a time, and what waits in the
//! spool follows between batches, at a bounded rate. When the store is away, or a batch has not come back in time, what must not be lost goes to the spool, and somebody
//! knocks at the store until it answers. What a batch that was cut off had kept already is applied again later and changes
//! nothing: counters only grow, and versions are compared.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::alarms::Alarms;
use super::super::clock;
use super::super::orders::NewOrders;
use super::super::orders::hands::Hands;
use super::super::settings::SettingsHandle;
use super::super::users::Users;
use super::committer::{Committer, Item};
use super::drain::Drain;
use super::flight::{Cargo, Flight, Marks, Next, Offer, is_of_all};
use super::pace::Pace;
use super::recent::Recent;
use super::ticket::{Done, Ticket};
use super::{Job, QUEUE};
use crate::approver::Notice;
use crate::model::{ApproverKind, Timestamp};
use crate::session::{ButtonKey, Event, Place, Press, Told};
use crate::spool::{Entry, MovedAside, Spool, SpoolError};
use crate::store::{AuthAttempt, Spooled, Store, StoreError};
use crate::telemetry;

/// Batches on their way to the store at a time: one is read and worked on while another is committed. What joins it only when the one
/// before is nearly kept has waited for less, and is more in one transaction.
const DEPTH: usize = 2;
/// Where there is traffic, a batch that is not full is gathered until so long after the one before, or attempts, were sent off: each costs CPU
/// time of its own, and the less there is to do, the more of them there would be.
const APART: Duration = Duration::from_millis(4);
/// Attempts are written so long after those before, or when they are so many. Beside a batch they are written after twice that time, or when
/// they are too many: two statements at work leave a machine of two cores none for a login.
const ATTEMPTS_APART: Duration = Duration::from_millis(100);
const MANY_ATTEMPTS: usize = 256;
const TOO_MANY_ATTEMPTS: usize = 1024;
/// A batch of so many is traffic.
const TRAFFIC: usize = 16;
/// Batches of presses and deadlines beside them. They are small, and each waits for the disk; what comes meanwhile goes with the next.
const URGENT: usize = 4;
/// How often it is looked how many jobs have gathered.
const LOOK_FOR_MORE: Duration = Duration::from_millis(1);
/// Between two looks whether the store is back.
const KNOCK: Duration = Duration::from_millis(500);
/// Between two tries to replace a damaged spool.
const ANEW: Duration = Duration::from_secs(5);
/// How often it is looked how full the spool is.
const LOOK: Duration = Duration::from_secs(1);
/// It is looked sooner when this part of the whole has come since.
const LEAP: u64 = 20;
/// A press in the spool is sealed for a chat that nobody has, so that no button can be mistaken for it: what its own is called, behind
/// this.
const IN_SPOOL: &str = "spool ";

/// What became of a task, and how long it took.
type Landing = (Result<(), String>, Duration);

/// What a keeper works with.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) users: Arc<Users>,
    pub(crate) spool: Spool,
    pub(crate) settings: SettingsHandle,
    pub(crate) new_orders: Arc<NewOrders>,
    pub(crate) hands: Hands,
    pub(crate) buttons: ButtonKey,
    /// How long the first job of a batch waits for others.
    pub(crate) gather: Duration,
    /// Jobs in one batch, at most.
    pub(crate) batch: u32,
    /// How long the store may take for a batch.
    pub(crate) after: Duration,
    /// Entries a second that leave the spool, at most.
    pub(crate) drain_rate: u32,
    pub(crate) alarms: Alarms,
    /// Where it is shown what lies in the spool.
    pub(crate) spools: watch::Sender<Spooled>,
}

type InLine = (Item, Option<Arc<Ticket>>);
type Waiting = VecDeque<InLine>;

/// The task behind the ledger.
pub(crate) struct Keeper {
    pub(super) committer: Arc<Committer>,
    pub(super) spool: Spool,
    pub(super) buttons: ButtonKey,
    pub(super) after: Duration,
    pub(super) drain: Drain,
    queue: mpsc::Receiver<Job>,
    urgent: mpsc::Receiver<Job>,
    gather: Duration,
    /// The next batch is gathered until then.
    not_before: Instant,
    /// What was taken in and is on no way yet.
    waiting: Waiting,
    /// Of that, what waits behind nothing else.
    urgent_waiting: Waiting,
    /// Deadlines that wait until presses and outcomes in the spool are heard, and whether they are urgent then.
    early: Vec<(bool, InLine)>,
    flights: Vec<Flight>,
    /// Told when it is time for the next batch.
    next: Arc<Notify>,
    tasks: JoinSet<Landing>,
    pace: Pace,
    hasher: RandomState,
    /// Since when the store is away, and who knocks there.
    away: Option<(Timestamp, JoinHandle<()>)>,
    back_at: Instant,
    /// Offers whose Access-Accept went out while the store was away. Were we to die now, the session's Start would bring
    /// its Class, and with it the same session.
    offers: VecDeque<Offer>,
    /// Attempts that wait for the store,
    attempts: VecDeque<AuthAttempt>,
    /// and until when, unless they are many.
    attempts_not_before: Instant,
    /// When a spool that is damaged could not be replaced.
    anew_failed_at: Option<Instant>,
    /// When it was last seen how full the spool is, and how many octets it has taken since.
    looked_at: Instant,
    taken_since: u64,
    alarms: Alarms,
    spools: watch::Sender<Spooled>,
    /// It was said that the spool is nearly full, and that it is full; each once until there is room again.
    alarmed: bool,
    full: bool,
}

impl Keeper {
    pub(super) fn new(parts: Parts, queue: mpsc::Receiver<Job>, urgent: mpsc::Receiver<Job>) -> Self {
        let Parts {
            store,
            users,
            spool,
            settings,
            new_orders,
            hands,
            buttons,
            gather,
            batch,
            after,
            drain_rate,
            alarms,
            spools,
        } = parts;
        Self {
            committer: Arc::new(Committer {
                store,
                users,
                settings,
                new_orders,
                hands,
                batch: batch as usize,
                recent: Recent::default(),
            }),
            spool,
            buttons,
            after,
            drain: Drain::new(batch, drain_rate, after),
            queue,
            urgent,
            gather,
            not_before: Instant::now(),
            waiting: VecDeque::new(),
            urgent_waiting: VecDeque::new(),
            early: Vec::new(),
            flights: Vec::new(),
            next: Arc::default(),
            tasks: JoinSet::new(),
            pace: Pace::new(batch as usize, batch as usize, after),
            hasher: RandomState::new(),
            away: None,
            back_at: Instant::now(),
            offers: VecDeque::new(),
            attempts: VecDeque::new(),
            attempts_not_before: Instant::now(),
            anew_failed_at: None,
            looked_at: Instant::now(),
            taken_since: 0,
            alarms,
            spools,
            alarmed: false,
            full: false,
        }
    }

    /// Works until told to stop, and then until all that was handed over is kept.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        if self.spool.waiting() > 0 {
            tracing::info!(waiting = self.spool.waiting(), "records wait in the spool; they go to the store now");
            let oldest = self.spool.fill().await.ok().and_then(|fill| fill.oldest);
            self.spools.send_modify(|shown| shown.since = oldest);
            self.show_spool();
        }
        let (mut stopping, mut closed, mut urgent_closed, mut in_line) = (false, false, false, false);
        while !(closed && urgent_closed && self.has_nothing_waiting() && self.flights.is_empty()) {
            let (mut jobs, mut urgent) = (Vec::new(), Vec::new());
            let drains = self.away.is_none() && !stopping;
            // The spool takes its turn when nothing is on its way. That it is empty still can be seen at any time.
            let drain_now = drains && Instant::now() >= self.drain.next_at();
            let in_turn = self.flights.is_empty() || self.spool.waiting() == 0;
            let (room, urgent_room) = if drain_now && !in_turn { (0, 0) } else { (self.room(), self.urgent_room()) };
            let attempts_at = self.attempts_at().filter(|_| in_turn || !drain_now);
            tokio::select! {
                biased;
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                    self.urgent.close();
                }
                Some(landed) = self.tasks.join_next_with_id(), if !self.flights.is_empty() => {
                    // What waited for a place has waited as long as `gather` says.
                    in_line |= room == 0 && !self.queue.is_empty();
                    self.landed(landed).await;
                }
                // What waited for its time has too.
                () = self.next.notified() => in_line |= room == 0 && !self.queue.is_empty(),
                () = knocked(&mut self.away) => self.welcome_back(),
                received = self.urgent.recv_many(&mut urgent, urgent_room), if urgent_room > 0 && !urgent_closed => {
                    urgent_closed = received == 0;
                }
                received = self.queue.recv_many(&mut jobs, room), if room > 0 && !closed => closed = received == 0,
                () = sleep_until(self.drain.next_at()), if drains && !drain_now => (),
                () = sleep_until(attempts_at.unwrap_or(self.attempts_not_before)), if attempts_at.is_some() => (),
                () = std::future::ready(()), if drain_now && in_turn => (),
            }
            if !urgent.is_empty() {
                // What is urgent and comes without end keeps nobody else out.
                jobs.extend(std::iter::from_fn(|| self.queue.try_recv().ok()).take(room));
            }
            self.take_all_in(urgent, true).await;
            if !jobs.is_empty() {
                if self.away.is_none() {
                    self.send_urgent();
                }
                let wait = if std::mem::take(&mut in_line) { Duration::ZERO } else { self.gather };
                self.gather(&mut jobs, room, (Instant::now() + wait).max(self.not_before)).await;
            }
            self.take_all_in(jobs, false).await;
            self.keep_surplus_in_spool().await;
            let drain_due = self.away.is_none() && !stopping && Instant::now() >= self.drain.next_at();
            let in_turn = self.flights.is_empty() || self.spool.waiting() == 0;
            if drain_due && in_turn {
                self.drain_some().await;
            }
            self.line_up_early();
            if self.away.is_some() {
                self.keep_waiting_in_spool().await;
            } else if !drain_due || in_turn {
                self.send_off(closed);
            }
            self.show_spool();
        }
        if let Some((_, knocker)) = self.away.take() {
            knocker.abort();
        }
        if self.spool.waiting() > 0 {
            tracing::info!(waiting = self.spool.waiting(), "records stay in the spool until the next start");
        }
    }

    /// How many jobs may be taken in.
    fn room(&self) -> usize {
        // What is not sent, since the store is away, goes to the spool and waits for no batch.
        if self.away.is_some() || self.may_send() { self.pace.size().saturating_sub(self.waiting.len()) } else { 0 }
    }

    /// How many urgent ones may be taken in.
    fn urgent_room(&self) -> usize {
        let room = self.committer.batch.saturating_sub(self.urgent_waiting.len());
        if self.urgent_batches() >= URGENT { 0 } else { room }
    }

    fn has_nothing_waiting(&self) -> bool {
        self.waiting.is_empty() && self.urgent_waiting.is_empty()
    }

    /// Whether it is time for another batch.
    fn may_send(&self) -> bool {
        let is_batch = |flight: &&Flight| matches!(flight.cargo, Cargo::Batch { urgent: false, .. });
        let mut batches = self.flights.iter().filter(is_batch);
        batches.clone().count() < self.pace.depth(DEPTH) && batches.all(|batch| batch.next.is_time())
    }

    fn urgent_batches(&self) -> usize {
        self.flights.iter().filter(|flight| matches!(flight.cargo, Cargo::Batch { urgent: true, .. })).count()
    }

    /// Waits until then for more, so that a transaction is worth its sync. What is urgent goes meanwhile. The queue is looked into now and
    /// then: to be woken by each job would cost more than the job.
    async fn gather(&mut self, jobs: &mut Vec<Job>, most: usize, until: Instant) {
        while jobs.len() < most && Instant::now() < until {
            let now = Instant::now();
            // Few will be few still when this is over soon.
            let are_few = until - now <= APART && (jobs.len() + self.queue.len()) * 4 < most;
            let look = if are_few { until } else { until.min(now + LOOK_FOR_MORE) };
            let (mut urgent, urgent_room) = (Vec::new(), if self.away.is_some() { 0 } else { self.urgent_room() });
            tokio::select! {
                biased;
                received = self.urgent.recv_many(&mut urgent, urgent_room), if urgent_room > 0 && !self.urgent.is_closed() => {
                    if received == 0 {
                        return;
                    }
                    self.take_all_in(urgent, true).await;
                    self.send_urgent();
                }
                () = sleep_until(look) => {
                    jobs.extend(std::iter::from_fn(|| self.queue.try_recv().ok()).take(most - jobs.len()));
                }
            }
        }
    }

    async fn take_all_in(&mut self, jobs: Vec<Job>, are_urgent: bool) {
        let mut unchecked = Vec::new();
        for job in jobs {
            self.take_in(job, are_urgent, &mut unchecked);
        }
        self.keep_in_spool(&unchecked).await;
    }

    /// Sends a batch off, if there is one to send. What may be about a session that is on its way waits, and so does what waits behind
    /// that. Whoever waits for a job that is not kept sees its channel close, or its asker dropped.
    fn send_off(&mut self, last: bool) {
        self.send_urgent();
        self.send_batch();
        self.send_attempts(last);
    }

    fn send_batch(&mut self) {
        if self.waiting.is_empty() && self.offers.is_empty() || !self.may_send() {
            return;
        }
        let (mut items, mut tickets, mut marks, mut held) =
            (Vec::new(), Vec::new(), Marks::default(), Marks::default());
        // Offers that wait go before what may look for them.
        let size = self.pace.size();
        let offers: Vec<Offer> = self.offers.drain(..self.offers.len().min(size)).collect();
        // However many they are, something else goes with them.
        let batch = size.max(offers.len() + size.div_ceil(2));
        for (session, ticket) in &offers {
            let item = Item::Offer(Arc::clone(session), Arc::clone(ticket));
            marks.add(&item, &self.hasher);
            items.push(item);
        }
        for (session, ticket) in &self.offers {
            held.add(&Item::Offer(Arc::clone(session), Arc::clone(ticket)), &self.hasher);
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting = self.pick(waiting, batch, &mut items, &mut tickets, (&mut marks, held));
        let count = items.len();
        if count >= TRAFFIC {
            self.not_before = Instant::now() + APART;
        }
        let side_by_side = self.committer.store.keeps_side_by_side();
        let next = if side_by_side { Next::unasked() } else { Next::new(&self.next) };
        self.launch(items, Cargo::Batch { count, tickets, offers, marks, urgent: false }, next);
    }

    /// Sends off what is urgent, beside what else is on its way. What may be about any session goes before it, or would never find
    /// nothing on its way.
    fn send_urgent(&mut self) {
        // Outcomes alone are waited for by nobody: those that come while others are kept go together.
        let only_outcomes = self.urgent_waiting.iter().all(|(item, _)| is_outcome(item));
        if self.urgent_waiting.is_empty()
            || self.urgent_batches() >= if only_outcomes { 1 } else { URGENT }
            || self.waiting.iter().any(|(item, _)| is_of_all(item))
        {
            return;
        }
        let (mut items, mut tickets, mut marks) = (Vec::new(), Vec::new(), Marks::default());
        let waiting = std::mem::take(&mut self.urgent_waiting);
        let picked = (&mut marks, Marks::default());
        self.urgent_waiting = self.pick(waiting, self.committer.batch, &mut items, &mut tickets, picked);
        let count = items.len();
        let cargo = Cargo::Batch { count, tickets, offers: Vec::new(), marks, urgent: true };
        self.launch(items, cargo, Next::unasked());
    }

    /// Moves those that may go into a batch, and gives back those that must wait: for what is on its way, for what is `held`, or for those
    /// before them.
    fn pick(
        &self,
        waiting: Waiting,
        batch: usize,
        items: &mut Vec<Item>,
        tickets: &mut Vec<Arc<Ticket>>,
        (marks, mut held): (&mut Marks, Marks),
    ) -> Waiting {
        let flying = self.flights.iter().filter_map(|flight| match &flight.cargo {
            Cargo::Batch { marks, .. } => Some(marks),
            Cargo::Attempts(_) => None,
        });
        let flying: Vec<&Marks> = flying.collect();
        let mut rest = VecDeque::new();
        for (item, ticket) in waiting {
            let must_wait = items.len() >= batch
                || (is_of_all(&item) && !(flying.is_empty() && rest.is_empty() && self.offers.is_empty()))
                || flying.iter().any(|marks| marks.hold(&item, &self.hasher))
                || held.hold(&item, &self.hasher);
            if must_wait {
                held.add(&item, &self.hasher);
                rest.push_back((item, ticket));
            } else {
                marks.add(&item, &self.hasher);
                items.push(item);
                tickets.extend(ticket);
            }
        }
        rest
    }

    fn launch(&mut self, items: Vec<Item>, cargo: Cargo, next: Next) {
        if items.is_empty() {
            return;
        }
        let (committer, patience, told) = (Arc::clone(&self.committer), self.after, next.clone());
        let keep = async move { within(patience, committer.keep(items, &told)).await };
        let task = self.tasks.spawn(timed(keep)).id();
        self.flights.push(Flight { task, begun: Instant::now(), next, cargo });
    }

    /// Sees to what became of a task.
    async fn landed(&mut self, landed: Result<(Id, Landing), JoinError>) {
        let (task, (done, took)) = match landed {
            Ok(landed) => landed,
            Err(error) => (error.id(), (Err(error.to_string()), Duration::ZERO)),
        };
        let Some(place) = self.flights.iter().position(|flight| flight.task == task) else { return };
        let Flight { begun, cargo, .. } = self.flights.swap_remove(place);
        // Of several that fail together one says so.
        let news = begun >= self.back_at && self.away.is_none();
        if let Err(trouble) = &done
            && begun >= self.back_at
        {
            self.store_is_away(trouble);
        }
        // What is urgent is few, and says little of how many the store takes.
        if let Cargo::Batch { count, urgent: false, .. } = cargo {
            match &done {
                Ok(()) => self.pace.kept(count, took),
                Err(_) if news => self.pace.failed(count),
                Err(_) => (),
            }
        }
        match (cargo, done) {
            // What still waits was overtaken again and again, and is not waited for.
            (Cargo::Batch { .. } | Cargo::Attempts(_), Ok(())) => (),
            (Cargo::Batch { tickets, offers, .. }, Err(_)) => {
                for offer in offers.into_iter().rev().filter(|(_, ticket)| ticket.is_waiting()) {
                    self.offers.push_front(offer);
                }
                self.keep_in_spool(&tickets).await;
            }
            // Perhaps they are kept all the same; the store leaves out what it has.
            (Cargo::Attempts(attempts), Err(_)) => {
                let room = QUEUE.saturating_sub(self.attempts.len());
                let (lost, kept) = attempts.split_at(attempts.len().saturating_sub(room));
                lost.iter().for_each(|_| telemetry::count("attempt.not-recorded"));
                kept.iter().rev().for_each(|attempt| self.attempts.push_front(attempt.clone()));
            }
        }
    }

    /// Puts what waits into the spool, for the store is away. Deadlines are due still when it is back.
    async fn keep_waiting_in_spool(&mut self) {
        self.early.clear();
        let waiting = self.urgent_waiting.drain(..).chain(self.waiting.drain(..));
        let tickets: Vec<_> = waiting.filter_map(|(_, ticket)| ticket).collect();
        self.keep_in_spool(&tickets).await;
    }

    /// Puts into the spool what the store would not come to in time: what a NAS is kept waiting for longer it sends again.
    async fn keep_surplus_in_spool(&mut self) {
        let Some(bearable) = self.pace.bearable().filter(|_| self.away.is_none() && !self.full) else { return };
        let surplus = self.queue.len().saturating_sub(bearable.max(self.pace.size() * DEPTH));
        if surplus == 0 {
            return;
        }
        let jobs: Vec<Job> = std::iter::from_fn(|| self.queue.try_recv().ok()).take(surplus).collect();
        let (in_line, mut tickets) = (self.waiting.len(), Vec::new());
        for job in jobs {
            self.take_in(job, false, &mut tickets);
        }
        let mut stay = VecDeque::new();
        for (item, ticket) in self.waiting.split_off(in_line) {
            match ticket {
                Some(ticket) if ticket.entry().is_some() => tickets.push(ticket),
                ticket => stay.push_back((item, ticket)),
            }
        }
        self.waiting.append(&mut stay);
        tickets.iter().for_each(|_| telemetry::count("spool.surplus"));
        self.keep_in_spool(&tickets).await;
    }

    /// Makes an item and a ticket of a job.
    fn take_in(&mut self, job: Job, is_urgent: bool, unchecked: &mut Vec<Arc<Ticket>>) {
        match job {
            Job::Attempt(attempt) => {
                if self.attempts.len() >= QUEUE {
                    self.attempts.pop_front();
                    telemetry::count("attempt.not-recorded");
                }
                self.attempts.push_back(*attempt);
            }
            Job::Offer(session) => {
                if self.offers.len() >= QUEUE {
                    self.offers.pop_front();
                    telemetry::count("ledger.offer-forgotten");
                }
                self.offers.push_back((Arc::new(session), Ticket::new(None, Done::Nobody)));
            }
            Job::Fact { session, event, settles, told } => {
                // What was pressed, or done at the NAS, before a deadline is heard before it.
                let is_early = *event == Event::TimerPassed && self.drain.is_urgent();
                let entry = settles.and_then(|order| Entry::outcome(clock::now(), session, order.0, &event));
                let ticket = Ticket::new(entry, Done::Told(told));
                let item = Item::Fact { session, event, settles, ticket: Arc::clone(&ticket) };
                match is_early {
                    true => self.early.push((is_urgent, (item, Some(ticket)))),
                    false => self.line(is_urgent).push_back((item, Some(ticket))),
                }
            }
            Job::Press { press, fact, told } => {
                let ticket = Ticket::new(Some(self.sealed(&press)), Done::Told(told));
                match fact {
                    Some(event) => {
                        let session = press.session();
                        let item = Item::Fact { session, event, settles: None, ticket: Arc::clone(&ticket) };
                        self.urgent_waiting.push_back((item, Some(ticket)));
                    }
                    None => unchecked.push(ticket),
                }
            }
            Job::Accounting { nas, packet, request, asker } => {
                let source = packet.source;
                let ticket = Ticket::new(Some(Entry::Accounting(*packet)), Done::Kept(asker));
                let key = &self.committer.settings.current().class_key;
                let item = Item::accounting(key, nas, source, request, Arc::clone(&ticket));
                self.waiting.push_back((item, Some(ticket)));
            }
        }
    }

    /// Those that wait behind nothing else, or all others.
    fn line(&mut self, is_urgent: bool) -> &mut Waiting {
        if is_urgent { &mut self.urgent_waiting } else { &mut self.waiting }
    }

    /// Lines deadlines up that waited for presses and outcomes in the spool, when these are heard.
    fn line_up_early(&mut self) {
        if self.drain.is_urgent() {
            return;
        }
        for (is_urgent, job) in std::mem::take(&mut self.early) {
            self.line(is_urgent).push_back(job);
        }
    }

    /// When attempts that wait are to be sent off; `None` while there is none, or nobody to send them to, or others are on their way.
    fn attempts_at(&self) -> Option<Instant> {
        let fly = self.flights.iter().any(|flight| matches!(flight.cargo, Cargo::Attempts(_)));
        if self.attempts.is_empty() || fly || self.away.is_some() {
            return None;
        }
        // No others are on their way, so that these are batches.
        let beside = !self.flights.is_empty();
        Some(match self.attempts.len() {
            TOO_MANY_ATTEMPTS.. => Instant::now(),
            _ if beside => self.attempts_not_before + ATTEMPTS_APART,
            MANY_ATTEMPTS.. => Instant::now(),
            _ => self.attempts_not_before,
        })
    }

    /// Sends attempts off. Nobody waits for them, and each statement costs what many attempts do.
    fn send_attempts(&mut self, last: bool) {
        let is_time = self.attempts_at().is_some_and(|at| Instant::now() >= at);
        if self.attempts.is_empty() || !(last || is_time) {
            return;
        }
        if self.attempts.len() >= TRAFFIC {
            self.not_before = Instant::now() + APART;
        }
        self.attempts_not_before = Instant::now() + ATTEMPTS_APART;
        let attempts: Vec<AuthAttempt> = self.attempts.drain(..).collect();
        let (store, patience, cargo) = (Arc::clone(&self.committer.store), self.after, attempts.clone());
        let record = async move {
            match store.record_attempts(&attempts).await {
                Err(error) if !matches!(error, StoreError::Away(_)) => {
                    tracing::error!(%error, "the store refuses to record authentication attempts");
                    attempts.iter().for_each(|_| telemetry::count("attempt.not-recorded"));
                    Ok(())
                }
                done => done,
            }
        };
        let task = self.tasks.spawn(timed(within(patience, record))).id();
        let (begun, next) = (Instant::now(), Next::unasked());
        self.flights.push(Flight { task, begun, next, cargo: Cargo::Attempts(cargo) });
    }

    // -- away and back

    pub(super) fn store_is_away(&mut self, trouble: &str) {
        telemetry::count("store.failed");
        if self.away.is_some() {
            return;
        }
        // It may come back as it was at some time before.
        self.committer.recent.clear();
        tracing::error!(trouble, "the store is away; records go to the spool until it is back");
        let (store, patience) = (Arc::clone(&self.committer.store), self.after);
        let knocker = tokio::spawn(async move {
            loop {
                sleep(KNOCK).await;
                if matches!(timeout(patience, store.ping()).await, Ok(Ok(()))) {
                    return;
                }
            }
        });
        self.away = Some((clock::now(), knocker));
    }

    fn welcome_back(&mut self) {
        if let Some((since, _)) = self.away.take() {
            let now = clock::now();
            self.back_at = Instant::now();
            self.committer.recent.clear();
            let (away, waiting) = (now.since(since), self.spool.waiting());
            self.drain.begin();
            // Accounting did not reach the sessions there: their silence was not the NAS's.
            self.committer.settings.listen_anew(now);
            tracing::info!(?away, waiting, "the store is back; what waits in the spool goes to it");
        }
    }

    // -- the spool

    /// Shows what lies in the spool, where that has changed.
    fn show_spool(&self) {
        let waiting = self.spool.waiting();
        let draining = waiting > 0 && self.away.is_none() && self.drain.has_lately_moved();
        self.spools.send_if_modified(|shown| {
            let since = if waiting > 0 { shown.since.or_else(|| Some(clock::now())) } else { None };
            let now = Spooled { waiting, since, draining };
            std::mem::replace(shown, now) != now
        });
    }

    /// Puts what must not be lost into the spool, and tells whoever waits that it is kept.
    async fn keep_in_spool(&mut self, tickets: &[Arc<Ticket>]) {
        let waiting: Vec<&Arc<Ticket>> =
            tickets.iter().filter(|ticket| ticket.is_waiting() && ticket.entry().is_some()).collect();
        if waiting.is_empty() {
            return;
        }
        let was_empty = self.spool.waiting() == 0;
        let with_urgent = waiting.iter().any(|ticket| ticket.packet().is_none());
        let entries: Vec<&Entry> = waiting.iter().filter_map(|ticket| ticket.entry()).collect();
        let mut put = self.spool.put(entries.iter().copied()).await;
        if let Err(SpoolError::Damaged(damage)) = put {
            self.begin_anew(damage).await;
            put = self.spool.put(entries.iter().copied()).await;
        }
        match put {
            Ok(()) => {
                self.taken_since += entries.iter().map(|entry| entry.octets()).sum::<u64>();
                for ticket in waiting {
                    telemetry::count("spool.kept");
                    ticket.kept(Told::Noted);
                }
                if self.away.is_none() {
                    self.drain.follow(with_urgent, was_empty);
                }
                self.look_at_fill().await;
            }
            Err(error) => {
                waiting.iter().for_each(|_| telemetry::count("spool.not-kept"));
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!(%error, "records are kept nowhere, and not acknowledged: NASes must keep them");
                    self.alarms.raise(Notice::new("alert-spool-full").with("error", error.to_string()));
                }
            }
        }
    }

    /// Raises the alarm before the spool is full.
    async fn look_at_fill(&mut self) {
        if self.looked_at.elapsed() < LOOK && self.taken_since < self.spool.limit() / LEAP {
            return;
        }
        (self.looked_at, self.taken_since) = (Instant::now(), 0);
        match self.spool.fill().await {
            Ok(fill) if fill.is_alarming() => {
                if !std::mem::replace(&mut self.alarmed, true) {
                    telemetry::count("spool.nearly-full");
                    tracing::error!(
                        used = fill.used,
                        limit = fill.limit,
                        waiting = fill.waiting,
                        "the spool is nearly full; when it is, accounting is no longer acknowledged"
                    );
                    self.alarms.raise(
                        Notice::new("alert-spool-nearly-full")
                            .with("used", fill.used >> 20)
                            .with("limit", fill.limit >> 20)
                            .with("waiting", fill.waiting),
                    );
                }
            }
            Ok(fill) if fill.has_room() => (self.alarmed, self.full) = (false, false),
            Ok(_) => (),
            Err(error) => tracing::warn!(%error, "cannot see how full the spool is"),
        }
    }

    /// Looks whether what has left the spool made room. Nothing else may come to look: while it is full, surplus stays away from it.
    pub(super) async fn look_for_room(&mut self) {
        if (self.full || self.alarmed) && self.spool.fill().await.is_ok_and(|fill| fill.has_room()) {
            (self.alarmed, self.full) = (false, false);
        }
    }

    /// Has the spool's file replaced. When that fails it is tried again with what comes next, but not all the time.
    pub(super) async fn begin_anew(&mut self, damage: String) {
        if self.anew_failed_at.is_some_and(|failed_at| failed_at.elapsed() < ANEW) {
            return;
        }
        match self.spool.begin_anew(clock::now(), damage).await {
            Ok(moved) => {
                self.anew_failed_at = None;
                self.drain.begin_anew();
                report_damage(&self.spool, &moved, &self.alarms).await;
            }
            Err(error) => {
                self.anew_failed_at = Some(Instant::now());
                tracing::error!(%error, "the spool's file is damaged, and cannot be replaced; trying again");
            }
        }
    }

    fn sealed(&self, press: &Press) -> Entry {
        let chat = format!("{IN_SPOOL}{}", press.chat());
        let place = Place { approver: press.approver(), chat: &chat, presser: press.presser() };
        Entry::Press {
            at: clock::now(),
            button: self.buttons.seal_again(press, place),
            approver: press.approver(),
            chat: Some(press.chat().to_owned()),
            presser: press.presser().to_owned(),
        }
    }

    /// The press that was sealed by [`Self::sealed`], here or by another node.
    pub(super) fn unsealed(
        &self,
        button: &str,
        approver: ApproverKind,
        chat: Option<&str>,
        presser: &str,
    ) -> Result<Press, String> {
        // Nodes before this one kept no chat.
        let sealed_for = chat.map_or_else(String::new, |chat| format!("{IN_SPOOL}{chat}"));
        let place = Place { approver, chat: &sealed_for, presser };
        let press = self.buttons.redeem(button, place).map_err(|error| error.to_string())?;
        Ok(press.made_in(chat.unwrap_or_default()))
    }
}

/// Tells the operator of files that were damaged, and notes that it was told.
pub(crate) async fn report_damage(spool: &Spool, moved: &[MovedAside], alarms: &Alarms) {
    if moved.is_empty() {
        return;
    }
    for moved in moved {
        telemetry::count("spool.damaged");
        telemetry::add("spool.set-aside", moved.set_aside);
        tracing::error!(moved_to = %moved.to.display(), damage = moved.damage, saved = moved.saved, set_aside = moved.set_aside,
            no_room = moved.no_room, unreadable_at_most = moved.unreadable,
            "the spool's file was damaged; it was moved aside, what could be read of it was saved or set aside, and a new one begun");
        alarms.raise(
            Notice::new("alert-spool-damaged")
                .with("damage", moved.damage.as_str())
                .with("file", moved.to.display().to_string())
                .with("saved", moved.saved)
                .with("aside", moved.set_aside)
                .with("left", moved.no_room)
                .with("unreadable", moved.unreadable.map_or_else(|| "?".to_owned(), |most| most.to_string())),
        );
    }
    if let Err(error) = spool.told().await {
        tracing::warn!(%error, "what was told of a damaged spool will be told again");
    }
}

/// Whether an item is what became of an order.
fn is_outcome(item: &Item) -> bool {
    matches!(item, Item::Fact { settles: Some(_), .. })
}

/// What became of the work, and how long it took.
async fn timed(work: impl Future<Output = Result<(), String>>) -> Landing {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

/// The work's own error, or that it took too long.
pub(super) async fn within(
    patience: Duration,
    work: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), String> {
    match timeout(patience, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(slow(patience)),
    }
}

fn slow(patience: Duration) -> String {
    format!("it did not keep a batch within {patience:?}")
}

/// Ends when the store has answered; never while it is not away.
async fn knocked(away: &mut Option<(Timestamp, JoinHandle<()>)>) {
    match away {
        // That it panicked is as good a reason to try the store again.
        Some((_, knocker)) => drop(knocker.await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scene;
    use super::*;
    use crate::accounting::{Report, Request, Status};
    use crate::model::{Identity, Nas, Secret};
    use crate::spool::AccountingPacket;

    /// The least a spool may have.
    const MEBIBYTE: u64 = 1 << 20;
    /// Longer than anything takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn packet(nas: &Nas) -> AccountingPacket {
        // Of a NAS that the settings do not know: the store keeps it in quarantine.
        AccountingPacket {
            nas: nas.name.clone(),
            source: std::net::IpAddr::from([192, 0, 2, 1]),
            received_at: clock::now(),
            packet: vec![4; 4096],
        }
    }

    /// A keeper, the ways in, and what is with them.
    struct Desk {
        keeper: Keeper,
        jobs: mpsc::Sender<Job>,
        _urgent: mpsc::Sender<Job>,
        raised: mpsc::Receiver<Notice>,
        nas: Arc<Nas>,
        _directory: tempfile::TempDir,
    }

    async fn desk() -> Desk {
        let Scene { store, users, committer, nas } = Scene::new().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spool.sqlite");
        let (spool, _) = Spool::open(&path, MEBIBYTE, clock::now()).await.unwrap();
        let (alarms, raised) = Alarms::new("here".into());
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (urgent_jobs, urgent) = mpsc::channel(QUEUE);
        let parts = Parts {
            store,
            users,
            spool,
            settings: committer.settings.clone(),
            new_orders: Arc::default(),
            hands: Hands::none(),
            buttons: ButtonKey::new(&Secret::new("a cluster key")),
            gather: Duration::ZERO,
            batch: 64,
            after: Duration::from_secs(1),
            drain_rate: 1_000_000,
            alarms,
            spools: watch::Sender::default(),
        };
        let keeper = Keeper::new(parts, queue, urgent);
        Desk { keeper, jobs, _urgent: urgent_jobs, raised, nas, _directory: directory }
    }

    fn interim(nas: &Arc<Nas>, acct_session_id: Option<&str>) -> Job {
        let identity = Identity { acct_session_id: acct_session_id.map(str::to_owned), ..Identity::default() };
        let request = Request {
            status: Status::InterimUpdate,
            user: None,
            classes: vec![],
            report: Report { identity, ..Report::default() },
            disbelieved: None,
        };
        let (kept, _) = oneshot::channel();
        Job::Accounting {
            nas: Arc::clone(nas),
            packet: Box::new(packet(nas)),
            request: Box::new(request),
            asker: Box::new(kept),
        }
    }

    #[tokio::test]
    async fn the_next_batch_is_put_together_when_the_one_before_is_nearly_kept() {
        let Desk { mut keeper, nas, .. } = desk().await;
        // Nothing else runs until this test waits for something.
        for (name, sent) in [("a", 1), ("b", 1), ("c", 1)] {
            keeper.take_in(interim(&nas, Some(name)), false, &mut Vec::new());
            keeper.send_off(false);
            assert_eq!(keeper.flights.len(), sent, "{name}");
        }
        assert_eq!((keeper.room(), keeper.waiting.len()), (0, 2));
        keeper.flights[0].next.call();
        keeper.next.notified().await;
        keeper.send_off(false);
        assert_eq!((keeper.flights.len(), keeper.waiting.len()), (2, 0), "what has gathered goes together");
        keeper.flights[1].next.call();
        assert_eq!(keeper.room(), 0, "that is as many as there may be");
        let landed = keeper.tasks.join_next_with_id().await.unwrap();
        keeper.landed(landed).await;
        assert!(keeper.room() > 0);
        // What goes to the spool waits for none of them.
        keeper.take_in(interim(&nas, Some("d")), false, &mut Vec::new());
        keeper.send_off(false);
        assert_eq!(keeper.room(), 0);
        keeper.store_is_away("gone");
        assert!(keeper.room() > 0);
    }

    #[tokio::test]
    async fn batches_are_apart_where_there_is_traffic() {
        let Desk { mut keeper, nas, .. } = desk().await;
        let at_first = keeper.not_before;
        let mut send = |count: usize| {
            for nth in 0..count {
                keeper.take_in(interim(&nas, Some(&format!("{count}-{nth}"))), false, &mut Vec::new());
            }
            // Otherwise it waits until the one before is nearly kept.
            keeper.flights.clear();
            keeper.send_off(false);
            keeper.not_before
        };
        assert_eq!(send(TRAFFIC - 1), at_first, "who sends one after the other does not wait for it");
        let many = send(TRAFFIC);
        assert!(many > at_first && many <= Instant::now() + APART);
        assert_eq!(send(2), many);
    }

    fn attempt(user: &str) -> Job {
        Job::Attempt(Box::new(AuthAttempt {
            at: clock::now(),
            user: user.into(),
            nas: "edge".into(),
            nas_address: [192, 0, 2, 1].into(),
            calling_station_id: None,
            method: "pap".into(),
            outcome: "accepted".into(),
            session: None,
            nonce: None,
        }))
    }

    #[tokio::test]
    async fn attempts_wait_for_each_other_where_they_are_neither_few_nor_many() {
        let Desk { mut keeper, .. } = desk().await;
        let mut send = |count: usize, last: bool| {
            (0..count).for_each(|_| keeper.take_in(attempt("alice"), false, &mut Vec::new()));
            keeper.send_off(last);
            // Those that are on their way are waited for; and what the clock does meanwhile is no matter.
            keeper.flights.clear();
            keeper.attempts_not_before = Instant::now() + PATIENCE;
            keeper.attempts.len()
        };
        assert_eq!(send(1, false), 0, "the first after a while waits for none");
        assert_eq!((send(1, false), send(1, false)), (1, 2));
        assert_eq!(send(MANY_ATTEMPTS - 2, false), 0, "they are many");
        assert_eq!((send(1, false), send(1, true)), (1, 0), "there will be no more");
    }

    #[tokio::test]
    async fn attempts_and_batches_are_not_sent_beside_each_other_without_need() {
        let Desk { mut keeper, nas, .. } = desk().await;
        let take_in = |keeper: &mut Keeper, count: usize| {
            (0..count).for_each(|_| keeper.take_in(attempt("alice"), false, &mut Vec::new()));
        };
        keeper.take_in(interim(&nas, Some("a")), false, &mut Vec::new());
        take_in(&mut keeper, MANY_ATTEMPTS);
        // Alone they would be sent all the same, since they are many.
        keeper.attempts_not_before = Instant::now() + PATIENCE;
        keeper.send_off(false);
        assert_eq!((keeper.flights.len(), keeper.attempts.len()), (1, MANY_ATTEMPTS), "a batch is on its way");
        let began = keeper.not_before;
        keeper.attempts_not_before = Instant::now() - ATTEMPTS_APART;
        keeper.send_off(false);
        assert_eq!((keeper.flights.len(), keeper.attempts.len()), (2, 0), "they have waited long enough");
        assert!(keeper.not_before > began, "what is gathered now is not sent beside them");

        keeper.flights.retain(|flight| matches!(flight.cargo, Cargo::Batch { .. }));
        take_in(&mut keeper, TOO_MANY_ATTEMPTS);
        keeper.send_off(false);
        assert_eq!(keeper.attempts.len(), 0, "they are too many");

        keeper.flights.clear();
        take_in(&mut keeper, 1);
        keeper.attempts_not_before = Instant::now();
        keeper.send_off(false);
        assert_eq!(keeper.attempts.len(), 0, "nothing else is on its way");
    }

    /// Also where nothing else comes that would wake the keeper.
    #[tokio::test]
    async fn attempts_that_waited_are_written_when_it_is_time() {
        let Desk { keeper, jobs, _urgent, _directory, .. } = desk().await;
        let store = Arc::clone(&keeper.committer.store);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(keeper.run(stopped));
        let written = async |wanted: usize| {
            let begun = Instant::now();
            while store.attempts(10).await.unwrap().len() < wanted {
                assert!(begun.elapsed() < PATIENCE, "{wanted} are not written");
                sleep(Duration::from_millis(5)).await;
            }
        };
        jobs.send(attempt("alice")).await.unwrap();
        written(1).await;
        jobs.send(attempt("bob")).await.unwrap();
        jobs.send(attempt("carol")).await.unwrap();
        written(3).await;
        jobs.send(attempt("dave")).await.unwrap();
        stop.send(()).unwrap();
        drop((jobs, _urgent));
        running.await.unwrap();
        written(4).await;
    }

    #[tokio::test]
    async fn what_comes_until_then_goes_with_the_batch() {
        let Desk { mut keeper, jobs, nas, .. } = desk().await;
        let mut gathered = vec![interim(&nas, Some("a"))];
        jobs.try_send(interim(&nas, Some("b"))).unwrap();
        jobs.try_send(interim(&nas, Some("c"))).unwrap();
        keeper.gather(&mut gathered, 8, Instant::now()).await;
        assert_eq!(gathered.len(), 1, "nothing is waited for");
        keeper.gather(&mut gathered, 2, Instant::now() + Duration::from_secs(60)).await;
        assert_eq!(gathered.len(), 2, "it is full");
        let until = Instant::now() + APART;
        keeper.gather(&mut gathered, 8, until).await;
        assert!(gathered.len() == 3 && Instant::now() >= until);
    }

    #[tokio::test]
    async fn a_spool_that_was_full_takes_what_a_slow_store_cannot_once_it_is_drained() {
        let Desk { mut keeper, jobs, mut raised, nas, .. } = desk().await;
        while !keeper.full {
            let tickets: Vec<_> =
                (0..64).map(|_| Ticket::new(Some(Entry::Accounting(packet(&nas))), Done::Nobody)).collect();
            keeper.keep_in_spool(&tickets).await;
        }
        // As an outage that filled it by a hair.
        keeper.alarmed = true;
        assert!(keeper.spool.waiting() > 0 && raised.try_recv().is_ok());
        while keeper.spool.waiting() > 0 {
            sleep_until(keeper.drain.next_at()).await;
            keeper.drain_some().await;
        }
        assert!(!keeper.full && !keeper.alarmed, "there is room, and the next outage is another one");

        // Two a second: that is two within its patience.
        keeper.pace = Pace::new(4, 4, keeper.after);
        keeper.pace.kept(4, Duration::from_secs(2));
        assert_eq!(keeper.pace.bearable(), Some(2));
        for _ in 0..32 {
            jobs.try_send(interim(&nas, None)).unwrap();
        }
        keeper.keep_surplus_in_spool().await;
        assert!(keeper.spool.waiting() >= 16, "{} of 32", keeper.spool.waiting());
    }
}
