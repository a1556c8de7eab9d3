//! Logins of users who are not remembered: asked for together, as many as came meanwhile, and then answered as everybody is who is remembered,
//! without a task for each. Whoever cannot be answered so goes on alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::{Door, Work, settled};
use crate::app::access::{Access, Quick};
use crate::app::clock;
use crate::app::gathering::{Gathering, Turns};
use crate::model::{Nas, UserName};
use crate::net::{PATIENCE, Replier};
use crate::radius::{Packet, PreparedSecret, Signing};

/// Users in one statement, at most.
const TOGETHER: usize = 64;
/// Statements under way: one is read while PostgreSQL looks for another's. More would be smaller ones.
const AT_ONCE: usize = 2;
/// So long they are waited for together; then each is asked for again, and waits alone. With that, less than a NAS waits for its answer.
const MOMENT: Duration = Duration::from_millis(500);

/// Logins that wait for their users.
#[derive(Debug)]
pub(super) struct Newcomers {
    access: Arc<Access>,
    waiting: Arc<Gathering<Newcomer>>,
    /// Of workers that have nothing to do.
    tools: Mutex<Vec<Tools>>,
}

/// A login of a user who is not remembered.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub door: Arc<Door>,
    pub name: UserName,
    pub work: Work,
}

impl Newcomer {
    fn goes_alone(self, is_nobody: bool) {
        self.door.work_alone(self.work, is_nobody);
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
        Self { access, waiting: Gathering::new(TOGETHER, AT_ONCE), tools: Mutex::default() }
    }

    /// Takes one in.
    pub(super) fn add(self: &Arc<Self>, newcomer: Newcomer) {
        let runtime = newcomer.door.runtime.clone();
        if let Some(turns) = self.waiting.add(newcomer) {
            runtime.spawn(Arc::clone(self).work(turns));
        }
    }

    async fn work(self: Arc<Self>, mut turns: Turns<Newcomer>) {
        let tools = self.tools().pop();
        let mut tools = tools.unwrap_or_else(|| {
            let quick = Quick::for_those_met(Arc::clone(&self.access));
            Tools { quick, signing: Signing::default() }
        });
        loop {
            let newcomers = turns.next();
            if newcomers.is_empty() {
                break;
            }
            let names = newcomers.iter().map(|newcomer| newcomer.name.clone());
            let replies = match timeout(MOMENT, self.access.meet(names, clock::now())).await {
                Ok(Ok(nobody)) => tools.answer(newcomers, &nobody),
                // Who came after them would wait for as long before they are asked for.
                Ok(Err(_)) | Err(_) => {
                    let all = newcomers.into_iter().chain(self.waiting.disperse());
                    all.for_each(|newcomer| newcomer.goes_alone(false));
                    continue;
                }
            };
            Replier::send_all(replies.ready, Instant::now() + PATIENCE, settled).await;
        }
        self.tools().push(tools);
    }

    fn tools(&self) -> MutexGuard<'_, Vec<Tools>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replies about to leave.
#[derive(Default)]
struct Replies {
    ready: Vec<(Replier, Vec<u8>)>,
    /// Until they have left.
    _places: Vec<OwnedSemaphorePermit>,
}

impl Tools {
    /// Answers those whom nobody is asked about and who do nothing wrong; the others go on alone.
    fn answer(&mut self, newcomers: Vec<Newcomer>, nobody: &HashSet<UserName>) -> Replies {
        let mut replies = Replies::default();
        let mut prepared: Option<(Arc<Nas>, PreparedSecret)> = None;
        let mut asked = Vec::new();
        for newcomer in newcomers {
            let Newcomer { name, work, .. } = &newcomer;
            if nobody.contains(name) {
                newcomer.goes_alone(true);
                continue;
            }
            let of_this_nas = prepared.take().filter(|(nas, _)| Arc::ptr_eq(nas, &work.nas));
            let (nas, secret) = prepared.insert(
                of_this_nas.unwrap_or_else(|| (Arc::clone(&work.nas), PreparedSecret::new(work.nas.secret.expose()))),
            );
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
        for (Newcomer { door, work, .. }, reply) in asked.drain(..).zip(self.signing.sign()) {
            door.duplicates().answered(&work.key, reply);
            replies.ready.push((work.replier, reply.to_vec()));
            replies._places.push(work.place);
        }
    }
}
