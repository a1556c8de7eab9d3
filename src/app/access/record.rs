//! What a login leaves behind: an attempt, the offer of a session, a line in the log. Where nobody is asked about it, it is written down
//! afterwards, and so many a second at most: what is more than that waits, and what finds no place to wait is counted and not recorded.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use dashmap::DashMap;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::super::ledger::{Job, Ledger};
use super::super::settings::SettingsHandle;
use super::plan::Plan;
use super::*;
use crate::net::{Bucket, Measure};

/// Logins of one core, or of all that were answered beside the cores, that may wait to be written down.
const MOST_WAITING: usize = 16_384;
/// How often it is said that some were not recorded.
const SAID: Duration = Duration::from_secs(60);
/// Access-Requests that were not accepted, of those of each NAS that are written down: so many a second, and as many at once. Not to be
/// reached by people.
const REFUSALS: u32 = 200;
/// Written at a time: one transaction costs less than many, but a large one keeps a core busy, and logins at that moment waiting. At 2,000
/// logins a second 96 take a quarter less CPU time than 32, of both radhold and PostgreSQL.
const AT_ONCE: u32 = 96;

/// A login that waits to be written down.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the larger one is the usual one, and must take nothing of the heap")]
enum Left {
    /// As it came, by one who had no time to read more of it.
    Unread(Note),
    Read(Box<(Session, AuthAttempt)>),
}

impl Left {
    fn read(self) -> Option<(Session, AuthAttempt)> {
        match self {
            Self::Unread(note) => note.read(),
            Self::Read(read) => Some(*read),
        }
    }
}

/// What is needed to write a login down.
pub(super) struct Note {
    plan: Arc<Plan>,
    session: SessionId,
    method: MethodKind,
    source: IpAddr,
    received_at: Timestamp,
    accepted_at: Timestamp,
    length: u16,
    request: [u8; Note::MOST],
}

impl Note {
    /// The longest request that is noted. Few have half of it.
    pub(super) const MOST: usize = 384;

    /// A login that was accepted, by a request of no more than [`Note::MOST`] octets.
    pub(super) fn new(
        plan: Arc<Plan>,
        session: SessionId,
        method: MethodKind,
        octets: &[u8],
        source: IpAddr,
        received_at: Timestamp,
        accepted_at: Timestamp,
    ) -> Self {
        let mut request = [0; Self::MOST];
        request[..octets.len()].copy_from_slice(octets);
        let length = octets.len() as u16;
        Self { plan, session, method, source, received_at, accepted_at, length, request }
    }

    /// The offer and the attempt; `None` cannot be, since the packet was read before.
    fn read(&self) -> Option<(Session, AuthAttempt)> {
        let packet = Packet::parse(&self.request[..usize::from(self.length)]).ok()?;
        let Plan { member, nas, grant, .. } = &*self.plan;
        let (user, identity) = (member.name.clone(), identity_of(&packet));
        let (name, grant) = (nas.name.clone(), grant.clone());
        let offer = Session::offer(self.session, user, name, self.source, identity, grant, self.accepted_at);
        let attempt = attempt(&packet, nas, self.source, self.received_at, method_label(self.method), "accepted");
        Some((offer, AuthAttempt { session: Some(self.session), ..attempt }))
    }
}

impl fmt::Debug for Note {
    /// Without the request, which holds what proves the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("session", &self.session).finish_non_exhaustive()
    }
}

/// The logins of one core, or of all that were answered beside the cores, that wait to be written down.
#[derive(Debug)]
pub(in crate::app) struct Notes {
    queue: ArrayQueue<Left>,
    /// Whether any number of tasks leave theirs here; else one core does.
    of_many: bool,
    /// Not written down, since they found no place.
    lost: AtomicU64,
    left: Arc<Notify>,
}

impl Notes {
    /// Leaves what is to be written, if there is room.
    pub(super) fn leave_read(&self, offer: Session, attempt: AuthAttempt) -> bool {
        self.push(Left::Read(Box::new((offer, attempt))))
    }

    /// Leaves a note if there is room.
    pub(super) fn leave(&self, note: Note) -> bool {
        self.push(Left::Unread(note))
    }

    fn push(&self, left: Left) -> bool {
        let left = self.queue.push(left).is_ok();
        // Of several that one leaves in a row, the first wakes whoever takes them all. Which of several that many leave is the first cannot be told.
        if left && (self.of_many || self.queue.len() == 1) {
            self.left.notify_one();
        }
        left
    }

    /// Whether there is room for a note.
    pub(super) fn has_room(&self) -> bool {
        !self.queue.is_full()
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// One more was answered and cannot be written down.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes down what cores leave.
#[derive(Debug)]
pub(in crate::app) struct Recorder {
    ledger: Ledger,
    settings: SettingsHandle,
    cores: Vec<Arc<Notes>>,
    others: Arc<Notes>,
    left: Arc<Notify>,
    /// Whose turn it is.
    next: AtomicUsize,
}

impl Recorder {
    /// One for so many cores.
    pub(in crate::app) fn new(cores: usize, ledger: Ledger, settings: SettingsHandle) -> Self {
        let left = Arc::<Notify>::default();
        let notes = |of_many| {
            let (queue, lost, left) = (ArrayQueue::new(MOST_WAITING), AtomicU64::new(0), Arc::clone(&left));
            Arc::new(Notes { queue, of_many, lost, left })
        };
        Self {
            ledger,
            settings,
            cores: (0..cores).map(|_| notes(false)).collect(),
            others: notes(true),
            left,
            next: AtomicUsize::new(0),
        }
    }

    /// Where each core leaves its notes.
    pub(in crate::app) fn cores(&self) -> &[Arc<Notes>] {
        &self.cores
    }

    /// Where those are left that were answered beside the cores.
    pub(in crate::app) fn others(&self) -> &Arc<Notes> {
        &self.others
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Notes>> + Clone {
        self.cores.iter().chain([&self.others])
    }

    /// Goes on writing, for ever. Drop the future to stop.
    pub(in crate::app) async fn run(self: Arc<Self>) {
        let said = OncePerWindow::new(SAID, 1);
        loop {
            let written = self.write().await;
            let lost = self.count_lost();
            if lost > 0
                && let Some(kept_back) = said.first((), clock::now())
            {
                tracing::warn!(lost, kept_back, "more logins than are recorded (server.login_records_per_second)");
            }
            if written == 0 {
                self.left.notified().await;
            } else {
                let rate = self.settings.current().login_records_per_second;
                sleep(Duration::from_secs(1) * written / rate.max(1)).await;
            }
        }
    }

    /// Writes what waits, as fast as it goes: nothing more will come. What is dropped on the way is counted as lost.
    pub(in crate::app) async fn finish(&self, patience: Duration) {
        let all = async { while self.write().await > 0 {} };
        if timeout(patience, all).await.is_err() {
            let left: usize = self.all().map(|notes| notes.queue.len()).sum();
            tracing::warn!(
                left,
                "logins of the last moments are not recorded; their accounting makes their sessions known"
            );
        }
        self.count_lost();
    }

    /// Writes some of what waits, and says how many.
    async fn write(&self) -> u32 {
        let mut written = 0;
        while written < AT_ONCE {
            // Before anything is taken: whoever drops this loses nothing, and what finds no room now may find it later.
            if self.ledger.room().await.is_err() {
                continue;
            }
            // No core before the others.
            let first = self.next.fetch_add(1, Ordering::Relaxed) % (self.cores.len() + 1);
            let mut in_turn = self.all().cycle().skip(first).take(self.cores.len() + 1);
            let Some(login) = in_turn.find_map(|notes| notes.queue.pop()) else { break };
            written += 1;
            let Some((offer, attempt)) = login.read() else { continue };
            say(&attempt);
            let jobs = [Job::Offer(offer), Job::Attempt(Box::new(attempt))];
            if jobs.into_iter().any(|job| self.ledger.try_send(job).is_err()) {
                telemetry::count("attempt.not-recorded");
            }
        }
        written
    }

    fn count_lost(&self) -> u64 {
        let lost = self.all().map(|notes| notes.lost.swap(0, Ordering::Relaxed)).sum();
        telemetry::add("attempt.not-recorded", lost);
        lost
    }
}

/// How many of each NAS's Access-Requests that were not accepted are written down: whoever can make it send them, or forge its address where
/// it need not sign, must fill neither the log nor the store.
#[derive(Debug)]
pub(super) struct Refusals {
    of: DashMap<NasName, Bucket>,
    said: OncePerWindow<()>,
}

impl Refusals {
    /// Whether one more may be written down now. What may not is counted.
    pub(super) fn have_room(&self, nas: &NasName, now: Timestamp) -> bool {
        let room = match self.of.get(nas) {
            Some(bucket) => bucket.take(now),
            None => {
                let bucket = || Bucket::new(Measure::per_second(REFUSALS));
                self.of.entry(nas.clone()).or_insert_with(bucket).take(now)
            }
        };
        if !room {
            telemetry::count("attempt.not-recorded");
            if let Some(kept_back) = self.said.first((), now) {
                tracing::warn!(%nas, kept_back, "so many Access-Requests are refused that not all are recorded (docs/overload.md)");
            }
        }
        room
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self { of: DashMap::new(), said: OncePerWindow::new(SAID, 1) }
    }
}

/// What is recorded of an answered Access-Request. To be made once for each: the store knows it again.
pub(super) fn attempt(
    packet: &Packet<'_>,
    nas: &Nas,
    source: IpAddr,
    received_at: Timestamp,
    method: &'static str,
    outcome: &'static str,
) -> AuthAttempt {
    let text = |kind| packet.first(kind).map(|octets| String::from_utf8_lossy(octets).replace('\0', "\u{fffd}"));
    AuthAttempt {
        at: received_at,
        user: text(attribute::USER_NAME).unwrap_or_default(),
        nas: nas.name.clone(),
        nas_address: source,
        calling_station_id: text(attribute::CALLING_STATION_ID),
        method: method.to_owned(),
        outcome: outcome.to_owned(),
        session: None,
        nonce: Some(i64::from_be_bytes(chance::few())),
    }
}

/// The line in the log.
pub(super) fn say(attempt: &AuthAttempt) {
    let AuthAttempt { user, nas, calling_station_id, method, outcome, session, .. } = attempt;
    let session = session.map(tracing::field::display);
    tracing::info!(user, %nas, calling_station_id, method, outcome, session, "Access-Request answered");
}
