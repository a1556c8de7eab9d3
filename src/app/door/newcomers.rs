//! Logins of users who are not remembered: asked for together, as many as came meanwhile, and then answered by the short cut of those who are,
//! without a task for each. Whoever cannot be answered so goes on alone.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::{Door, Work, count_sent};
use crate::app::access::{Access, Quick};
use crate::app::clock;
use crate::app::gathering::{Gathering, Turns};
use crate::model::{Nas, Timestamp, UserName};
use crate::net::Replier;
use crate::radius::{Packet, PreparedSecret, Signing};
use crate::store::StoreError;
use crate::telemetry;

/// Users in one statement, at most.
const BATCH: usize = 64;
/// Statements under way, besides those of logins that go alone: one is read while PostgreSQL looks for another's.
const AT_ONCE: usize = 2;
/// A statement that takes longer hangs: nobody waits for it any more.
const HANGS_AFTER: Duration = Duration::from_millis(500);
/// Who has waited longer for a turn is given up: no NAS still waits.
const MOST_IN_LINE: Duration = Duration::from_secs(3);

/// Logins that wait for their users.
#[derive(Debug)]
pub(super) struct Newcomers {
    access: Arc<Access>,
    waiting: Arc<Gathering<Newcomer>>,
    /// Statements that hang. While one does, all who would wait for its end go alone.
    hanging: AtomicUsize,
    /// Of workers that have nothing to do.
    tools: Mutex<Vec<Tools>>,
}

/// A login of a user who is not remembered. Dropped before somebody sees to it, it is handled as new when it comes again.
#[derive(Debug)]
pub(super) struct Newcomer {
    door: Arc<Door>,
    name: UserName,
    /// Until somebody else sees to it.
    work: Option<Work>,
}

impl Newcomer {
    pub(super) fn new(door: Arc<Door>, name: UserName, work: Work) -> Self {
        Self { door, name, work: Some(work) }
    }

    /// When it came.
    fn since(&self) -> Option<Timestamp> {
        self.work.as_ref().map(|work| work.received_at)
    }

    fn goes_alone(mut self, is_nobody: bool) {
        if let Some(work) = self.work.take() {
            self.door.work_alone(work, is_nobody);
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.door.duplicates().forget(&work.key);
            self.door.say_unanswered(work.key.source.ip(), "access.given-up", clock::now());
            telemetry::count("access.given-up");
        }
    }
}

/// What a worker answers with.
#[derive(Debug)]
struct Tools {
    quick: Quick,
    signing: Signing,
}

impl Newcomers {
    pub(super) fn new(access: Arc<Access>) -> Self {
        let waiting = Gathering::new(BATCH, AT_ONCE);
        Self { access, waiting, hanging: AtomicUsize::new(0), tools: Mutex::default() }
    }

    /// Takes one in.
    pub(super) fn add(self: &Arc<Self>, newcomer: Newcomer) {
        let runtime = newcomer.door.runtime.clone();
        match self.waiting.add(newcomer) {
            Some(turns) => drop(runtime.spawn(Arc::clone(self).work(turns))),
            // Looked at when it waits already: either this sees that one hangs, or whoever says so sees it wait.
            None if self.hanging.load(Ordering::SeqCst) > 0 => self.disperse(Vec::new()),
            None => (),
        }
    }

    async fn work(self: Arc<Self>, mut turns: Turns<Newcomer>) {
        let tools = self.tools().pop();
        let mut tools = tools.unwrap_or_else(|| {
            let quick = Quick::for_those_met(Arc::clone(&self.access));
            Tools { quick, signing: Signing::default() }
        });
        loop {
            let mut newcomers = turns.next();
            if newcomers.is_empty() {
                break;
            }
            let now = clock::now();
            newcomers.retain(|newcomer| newcomer.since().is_none_or(|since| now.since(since) < MOST_IN_LINE));
            let names: Vec<UserName> = newcomers.iter().map(|newcomer| newcomer.name.clone()).collect();
            let mut meeting = pin!(self.access.meet(names, now));
            match timeout(HANGS_AFTER, &mut meeting).await {
                Ok(Ok(nobody)) => {
                    let Replies { ready, places } = tools.answer(newcomers, &nobody);
                    // As from a lane: where the system has no room, the NAS asks again.
                    Replier::send_all(ready, Instant::now(), |_, reply, sent| count_sent(reply, &sent)).await;
                    drop(places);
                }
                Ok(Err(StoreError::Away(_))) => self.disperse(newcomers),
                // One of them it cannot read.
                Ok(Err(_)) => newcomers.into_iter().for_each(|newcomer| newcomer.goes_alone(false)),
                Err(_) => {
                    self.hanging.fetch_add(1, Ordering::SeqCst);
                    let _hanging = Hanging(&self.hanging);
                    telemetry::add("access.slow-look", newcomers.len() as u64);
                    self.disperse(newcomers);
                    // Given up, it would go on at PostgreSQL, and the next would be begun beside it. What it says is remembered.
                    let _ = meeting.await;
                }
            }
        }
        self.tools().push(tools);
    }

    /// These, and all who wait, go on alone.
    fn disperse(&self, newcomers: Vec<Newcomer>) {
        let all = newcomers.into_iter().chain(self.waiting.disperse());
        all.for_each(|newcomer| newcomer.goes_alone(false));
    }

    fn tools(&self) -> MutexGuard<'_, Vec<Tools>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While a statement hangs.
struct Hanging<'a>(&'a AtomicUsize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Replies about to leave.
#[derive(Default)]
struct Replies {
    ready: Vec<(Replier, Vec<u8>)>,
    /// Kept until they have left.
    places: Vec<OwnedSemaphorePermit>,
}

impl Tools {
    /// Answers those whom nobody is asked about and who do nothing wrong; the others go on alone.
    fn answer(&mut self, newcomers: Vec<Newcomer>, nobody: &HashSet<UserName>) -> Replies {
        let mut replies = Replies::default();
        let mut asked = Vec::new();
        let mut prepared: Option<(Arc<Nas>, PreparedSecret)> = None;
        for newcomer in newcomers {
            let Some(work) = newcomer.work.as_ref().filter(|_| !nobody.contains(&newcomer.name)) else {
                newcomer.goes_alone(true);
                continue;
            };
            let of_this_nas = prepared.take().filter(|(nas, _)| Arc::ptr_eq(nas, &work.nas));
            let prepare = || (Arc::clone(&work.nas), PreparedSecret::new(work.nas.secret.expose()));
            let (nas, secret) = prepared.insert(of_this_nas.unwrap_or_else(prepare));
            let from = (work.replier.peer().ip().to_canonical(), work.received_at);
            let answered = Packet::parse(&work.datagram)
                .is_ok_and(|packet| self.quick.answer(&packet, (nas, secret), from, &mut self.signing).is_ok());
            if !answered {
                newcomer.goes_alone(false);
                continue;
            }
            asked.push(newcomer);
            if self.signing.is_full() {
                self.sign(&mut asked, &mut replies);
            }
        }
        self.sign(&mut asked, &mut replies);
        replies
    }

    /// Signs what waits for it. Repeats get it from now on.
    fn sign(&mut self, asked: &mut Vec<Newcomer>, replies: &mut Replies) {
        for (mut newcomer, reply) in asked.drain(..).zip(self.signing.sign()) {
            let Some(work) = newcomer.work.take() else { continue };
            newcomer.door.duplicates().answered(&work.key, reply);
            replies.ready.push((work.replier, reply.to_vec()));
            replies.places.push(work.place);
        }
    }
}
