//! The ledger: every fact about a session passes here, in order, in batches, and is kept before anybody is answered.
//!
//! One task per process ([`Keeper`]) takes jobs from a bounded queue and sends them off in batches, the next while one is being
//! committed ([`flight`]); a batch is applied to its sessions ([`crate::session::step`]) and committed in one transaction ([`committer`]). Other processes that share the store do the same; who came second
//! to a session learns it from the store and applies his fact to the newer copy. While the store is away, or slower than it may
//! be, what must not be lost goes to the spool, and from there to the store when it is back. Decides nothing itself.

mod committer;
mod drain;
mod flight;
mod keeper;
mod pace;
mod recent;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

pub(super) use keeper::{Keeper, Parts, report_damage};
pub(super) use ticket::Asker;

use crate::accounting::Request;
use crate::model::{Nas, SessionId};
use crate::session::{Event, Press, Session, Told};
use crate::spool::AccountingPacket;
use crate::store::{AuthAttempt, OrderId};

/// Jobs waiting, at most: beyond that requests are dropped, and their NASes ask again.
const QUEUE: usize = 8192;
/// A NAS that is not answered asks again after some three seconds; a burst that is over sooner should not cost it those.
const MOST_WAIT_FOR_ROOM: Duration = Duration::from_secs(1);
/// How often those that wait for room look for it.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(5);

/// Something to be kept.
#[derive(Debug)]
pub(super) enum Job {
    /// An Access-Accept went out for this session.
    Offer(Session),
    /// A fact about a session; the outcome of an order, when it settles one.
    Fact { session: SessionId, event: Box<Event>, settles: Option<OrderId>, told: oneshot::Sender<Told> },
    /// A button was pressed, and that is the fact it is; `None` when the store could not say whether the presser may still speak.
    Press { press: Press, fact: Option<Box<Event>>, told: oneshot::Sender<Told> },
    /// An Accounting-Request: as it was received, and what it says.
    Accounting { nas: Arc<Nas>, packet: Box<AccountingPacket>, request: Box<Request>, asker: Box<dyn Asker> },
    /// An Access-Request was answered.
    Attempt(Box<AuthAttempt>),
}

/// The way in.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    jobs: mpsc::Sender<Job>,
    /// For what nobody should wait behind accounting for: presses and deadlines.
    urgent: mpsc::Sender<Job>,
}

/// What was handed over, for a test to look at.
#[cfg(test)]
pub(super) struct Jobs(mpsc::Receiver<Job>);

#[cfg(test)]
impl Jobs {
    /// The next one, if there is one.
    pub(super) fn next(&mut self) -> Option<Job> {
        self.0.try_recv().ok()
    }

    /// The next one, waited for.
    pub(super) async fn wait(&mut self) -> Job {
        self.0.recv().await.expect("a way in is open")
    }
}

/// The queue is full, or closed.
#[derive(Debug)]
pub(super) struct Full;

impl Ledger {
    /// The way in, and the task behind it.
    pub(super) fn new(parts: Parts) -> (Self, Keeper) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (urgent, urgent_queue) = mpsc::channel(QUEUE);
        (Self { jobs, urgent }, Keeper::new(parts, queue, urgent_queue))
    }

    /// A way in with nobody behind it but the test.
    #[cfg(test)]
    pub(super) fn without_keeper() -> (Self, Jobs) {
        let (jobs, queue) = mpsc::channel(QUEUE);
        (Self { urgent: jobs.clone(), jobs }, Jobs(queue))
    }

    /// Hands a job over, or says that there is no room.
    pub(super) fn try_send(&self, job: Job) -> Result<(), Full> {
        self.jobs.try_send(job).map_err(|_| Full)
    }

    /// Room for a job, or word that there is none.
    pub(super) fn room_for_one(&self) -> Result<mpsc::Permit<'_, Job>, Full> {
        self.jobs.try_reserve().map_err(|_| Full)
    }

    /// Returns when an Access-Request may be taken, since there is room for what it will leave behind.
    ///
    /// # Errors
    /// [`Full`] when there is none for as long as a NAS may be kept waiting.
    pub(super) async fn room(&self) -> Result<(), Full> {
        let room = async {
            while self.jobs.capacity() <= QUEUE / 4 {
                sleep(LOOK_FOR_ROOM).await;
            }
        };
        timeout(MOST_WAIT_FOR_ROOM, room).await.map_err(|_| Full)
    }

    /// Hands a fact over and waits until it is kept: in the store, or, when it is the outcome of an order, in the spool. `None`
    /// when it was not: no such session, or the store is away.
    pub(super) async fn fact(&self, session: SessionId, event: Event, settles: Option<OrderId>) -> Option<Told> {
        let (told, answer) = oneshot::channel();
        // No deadline may pass what came before it.
        self.urgent.send(Job::Fact { session, event: Box::new(event), settles, told }).await.ok()?;
        answer.await.ok()
    }

    /// The same for a fact that is in no hurry, and nobody's outcome.
    pub(super) async fn in_line(&self, session: SessionId, event: Event) -> Option<Told> {
        let (told, answer) = oneshot::channel();
        self.jobs.send(Job::Fact { session, event: Box::new(event), settles: None, told }).await.ok()?;
        answer.await.ok()
    }

    /// Wakes a session, past accounting when it is urgent. `None` when that was not kept: it is due still.
    pub(super) async fn wake(&self, session: SessionId, urgent: bool) -> Option<Told> {
        let (told, answer) = oneshot::channel();
        let job = Job::Fact { session, event: Box::new(Event::TimerPassed), settles: None, told };
        let way = if urgent { &self.urgent } else { &self.jobs };
        way.send(job).await.ok()?;
        answer.await.ok()
    }

    /// Hands a press over and waits until it is kept; [`Told::Noted`] when that is in the spool. One without the `fact`
    /// it is goes there at once, and is judged when the store is back.
    pub(super) async fn press(&self, press: Press, fact: Option<Event>) -> Option<Told> {
        let (told, answer) = oneshot::channel();
        self.urgent.send(Job::Press { press, fact: fact.map(Box::new), told }).await.ok()?;
        answer.await.ok()
    }
}
