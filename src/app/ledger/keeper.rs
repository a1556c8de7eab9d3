//! The task behind the ledger: gathers jobs into batches, and sees to it that each is kept somewhere before it is answered.
//!
//! Two modes. While the store is there, a batch goes to it, and what waits in the spool follows between batches, at a bounded
//! rate. When the store is away, or a batch has not come back in time, what must not be lost goes to the spool, and somebody
//! knocks at the store until it answers. What a batch that was cut off had kept already is applied again later and changes
//! nothing: counters only grow, and versions are compared.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::super::alarms::Alarms;
use super::super::clock;
use super::super::orders::NewOrders;
use super::super::settings::SettingsHandle;
use super::committer::{Committer, Item};
use super::drain::Drain;
use super::ticket::{Done, Ticket};
use super::{Job, QUEUE};
use crate::model::{ApproverKind, Timestamp};
use crate::session::{ButtonKey, Event, Place, Press, Session, Told};
use crate::spool::{Entry, MovedAside, Spool, SpoolError};
use crate::store::{AuthAttempt, Store, StoreError};
use crate::telemetry;

/// Between two looks whether the store is back.
const KNOCK: Duration = Duration::from_millis(500);
/// Between two tries to replace a damaged spool.
const ANEW: Duration = Duration::from_secs(5);
/// How often it is looked how full the spool is.
const LOOK: Duration = Duration::from_secs(1);
/// It is looked sooner when this part of the whole has come since.
const LEAP: u64 = 20;
/// A press in the spool is sealed for a chat that nobody has: no button can be mistaken for it.
const NO_CHAT: &str = "";

/// What a keeper works with.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) spool: Spool,
    pub(crate) settings: SettingsHandle,
    pub(crate) new_orders: Arc<NewOrders>,
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
}

/// The task behind the ledger.
pub(crate) struct Keeper {
    pub(super) committer: Arc<Committer>,
    pub(super) spool: Spool,
    pub(super) buttons: ButtonKey,
    pub(super) after: Duration,
    pub(super) drain: Drain,
    queue: mpsc::Receiver<Job>,
    gather: Duration,
    /// Since when the store is away, and who knocks there.
    away: Option<(Timestamp, JoinHandle<()>)>,
    /// Offers whose Access-Accept went out while the store was away. Were we to die now, the session's Start would bring
    /// its Class, and with it the same session.
    offers: VecDeque<(Arc<Session>, Arc<Ticket>)>,
    /// Attempts that wait for the store.
    attempts: VecDeque<AuthAttempt>,
    /// When a spool that is damaged could not be replaced.
    anew_failed_at: Option<Instant>,
    /// When it was last seen how full the spool is, and how many octets it has taken since.
    looked_at: Instant,
    taken_since: u64,
    alarms: Alarms,
    /// It was said that the spool is nearly full, and that it is full; each once until there is room again.
    alarmed: bool,
    full: bool,
}

impl Keeper {
    pub(super) fn new(parts: Parts, queue: mpsc::Receiver<Job>) -> Self {
        let Parts { store, spool, settings, new_orders, buttons, gather, batch, after, drain_rate, alarms } = parts;
        Self {
            committer: Arc::new(Committer { store, settings, new_orders, batch: batch as usize }),
            spool,
            buttons,
            after,
            drain: Drain::new(batch, drain_rate),
            queue,
            gather,
            away: None,
            offers: VecDeque::new(),
            attempts: VecDeque::new(),
            anew_failed_at: None,
            looked_at: Instant::now(),
            taken_since: 0,
            alarms,
            alarmed: false,
            full: false,
        }
    }

    /// Works until told to stop, and then until all that was handed over is kept.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        if self.spool.waiting() > 0 {
            tracing::info!(waiting = self.spool.waiting(), "records wait in the spool; they go to the store now");
        }
        let mut stopping = false;
        let batch = self.committer.batch;
        loop {
            let mut jobs = Vec::with_capacity(batch);
            let drains = self.away.is_none() && !stopping;
            tokio::select! {
                received = self.queue.recv_many(&mut jobs, batch) => if received == 0 { break },
                () = sleep_until(self.drain.next_at()), if drains => (),
                () = knocked(&mut self.away) => self.welcome_back(),
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    self.queue.close();
                }
            }
            self.gather(&mut jobs).await;
            self.keep(jobs).await;
            if self.away.is_none() && !stopping {
                self.drain_some().await;
            }
        }
        if self.away.is_none() {
            self.keep(Vec::new()).await;
        }
        if let Some((_, knocker)) = self.away.take() {
            knocker.abort();
        }
        if self.spool.waiting() > 0 {
            tracing::info!(waiting = self.spool.waiting(), "records stay in the spool until the next start");
        }
    }

    /// Waits a moment for more, so that a transaction is worth its sync.
    async fn gather(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() || self.gather.is_zero() {
            return;
        }
        let until = Instant::now() + self.gather;
        while let Some(room) = self.committer.batch.checked_sub(jobs.len()).filter(|room| *room > 0) {
            match timeout_at(until, self.queue.recv_many(jobs, room)).await {
                Ok(received) if received > 0 => (),
                _ => return,
            }
        }
    }

    /// Keeps what it can. Whoever waits for a job that was not kept sees its channel close.
    async fn keep(&mut self, jobs: Vec<Job>) {
        let mut items: Vec<Item> = Vec::new();
        let mut tickets = Vec::with_capacity(jobs.len());
        // Offers that wait go before what may look for them.
        items.extend(self.offers.iter().map(|(session, ticket)| Item::Offer(Arc::clone(session), Arc::clone(ticket))));
        let mut unchecked = Vec::new();
        for job in jobs {
            self.take_in(job, &mut items, &mut tickets, &mut unchecked);
        }
        self.keep_in_spool(&unchecked).await;
        if self.away.is_some() {
            self.keep_in_spool(&tickets).await;
            return;
        }
        if !items.is_empty()
            && let Err(trouble) = within(self.after, self.committer.keep(items)).await
        {
            self.offers.retain(|(_, ticket)| ticket.is_waiting());
            self.store_is_away(&trouble);
            self.keep_in_spool(&tickets).await;
            return;
        }
        // What still waits was overtaken again and again, and is not waited for.
        self.offers.clear();
        self.record_attempts().await;
    }

    /// Makes an item and a ticket of a job.
    fn take_in(
        &mut self,
        job: Job,
        items: &mut Vec<Item>,
        tickets: &mut Vec<Arc<Ticket>>,
        unchecked: &mut Vec<Arc<Ticket>>,
    ) {
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
                let (session, ticket) = (Arc::<Session>::from(session), Ticket::new(None, Done::Nobody));
                self.offers.push_back((Arc::clone(&session), Arc::clone(&ticket)));
                items.push(Item::Offer(session, ticket));
            }
            // What was pressed, or done at the NAS, before the deadline is heard first. It is still due then.
            Job::Fact { event, .. } if *event == Event::TimerPassed && self.drain.is_urgent() => (),
            Job::Fact { session, event, settles, told } => {
                let entry = settles.and_then(|order| Entry::outcome(clock::now(), session, order.0, &event));
                let ticket = Ticket::new(entry, Done::Told(told));
                tickets.push(Arc::clone(&ticket));
                items.push(Item::Fact { session, event: *event, settles, ticket });
            }
            Job::Press { press, fact, told } => {
                let ticket = Ticket::new(Some(self.sealed(&press)), Done::Told(told));
                match fact {
                    Some(event) => {
                        tickets.push(Arc::clone(&ticket));
                        items.push(Item::Fact { session: press.session(), event: *event, settles: None, ticket });
                    }
                    None => unchecked.push(ticket),
                }
            }
            Job::Accounting { nas, packet, request, kept } => {
                let source = packet.source;
                let ticket = Ticket::new(Some(Entry::Accounting(*packet)), Done::Kept(kept));
                tickets.push(Arc::clone(&ticket));
                items.push(Item::Accounting { nas, source, request: *request, ticket });
            }
        }
    }

    async fn record_attempts(&mut self) {
        if self.attempts.is_empty() {
            return;
        }
        let attempts = self.attempts.make_contiguous();
        match timeout(self.after, self.committer.store.record_attempts(attempts)).await {
            Ok(Ok(())) => self.attempts.clear(),
            Ok(Err(error)) if !matches!(error, StoreError::Away(_)) => {
                tracing::error!(%error, "the store refuses to record authentication attempts");
                self.attempts.drain(..).for_each(|_| telemetry::count("attempt.not-recorded"));
            }
            Ok(Err(error)) => self.store_is_away(&error.to_string()),
            Err(_) => self.store_is_away(&slow(self.after)),
        }
    }

    // -- away and back

    pub(super) fn store_is_away(&mut self, trouble: &str) {
        telemetry::count("store.failed");
        if self.away.is_some() {
            return;
        }
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
            let (away, waiting) = (now.since(since), self.spool.waiting());
            self.drain.begin();
            // Accounting did not reach the sessions there: their silence was not the NAS's.
            self.committer.settings.listen_anew(now);
            tracing::info!(?away, waiting, "the store is back; what waits in the spool goes to it");
        }
    }

    // -- the spool

    /// Puts what must not be lost into the spool, and tells whoever waits that it is kept.
    async fn keep_in_spool(&mut self, tickets: &[Arc<Ticket>]) {
        let waiting: Vec<&Arc<Ticket>> =
            tickets.iter().filter(|ticket| ticket.is_waiting() && ticket.entry().is_some()).collect();
        if waiting.is_empty() {
            return;
        }
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
                    self.drain.begin();
                }
                self.look_at_fill().await;
            }
            Err(error) => {
                waiting.iter().for_each(|_| telemetry::count("spool.not-kept"));
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!(%error, "records are kept nowhere, and not acknowledged: NASes must keep them");
                    self.alarms.raise(&format!(
                        "the store is away and the spool takes no more ({error}): accounting is not acknowledged, and NASes must keep it"
                    ));
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
                    self.alarms.raise(&format!(
                        "the spool is nearly full ({} of {} MiB, {} records wait); when it is, accounting is no longer acknowledged",
                        fill.used >> 20,
                        fill.limit >> 20,
                        fill.waiting
                    ));
                }
            }
            // What is drained and filled at the same time goes up and down.
            Ok(fill) if fill.used < fill.limit / 2 => (self.alarmed, self.full) = (false, false),
            Ok(_) => (),
            Err(error) => tracing::warn!(%error, "cannot see how full the spool is"),
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
                self.drain.begin();
                report_damage(&moved, &self.alarms);
            }
            Err(error) => {
                self.anew_failed_at = Some(Instant::now());
                tracing::error!(%error, "the spool's file is damaged, and cannot be replaced; trying again");
            }
        }
    }

    fn sealed(&self, press: &Press) -> Entry {
        let place = Place { approver: press.approver(), chat: NO_CHAT, presser: press.presser() };
        Entry::Press {
            at: clock::now(),
            button: self.buttons.seal_again(press, place),
            approver: press.approver(),
            presser: press.presser().to_owned(),
        }
    }

    /// The press that was sealed by [`Self::sealed`], here or by another node.
    pub(super) fn unsealed(&self, button: &str, approver: ApproverKind, presser: &str) -> Result<Press, String> {
        let place = Place { approver, chat: NO_CHAT, presser };
        self.buttons.redeem(button, place).map_err(|error| error.to_string())
    }
}

/// Tells the operator that a spool was damaged.
pub(crate) fn report_damage(moved: &MovedAside, alarms: &Alarms) {
    telemetry::count("spool.damaged");
    tracing::error!(moved_to = %moved.to.display(), damage = moved.damage, saved = moved.saved,
        "the spool's file was damaged; it was moved aside, what could be read of it was saved, and a new one begun");
    alarms.raise(&format!(
        "the spool's file was damaged ({}); it was moved to {}, {} records of it were saved, and a new one begun",
        moved.damage,
        moved.to.display(),
        moved.saved
    ));
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
