//! A job's claim to be kept: it stays with whoever took the job in, however far the work on it comes. Knows no store.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::session::Told;
use crate::spool::{AccountingPacket, Entry};

/// Who asks for an Accounting-Request to be kept. Dropped untold: it will not be, or not by this server.
pub(in crate::app) trait Asker: fmt::Debug + Send {
    /// It is kept. Called by whoever keeps a batch, for each of it: what takes long is to be done elsewhere.
    fn kept(self: Box<Self>);
}

impl Asker for oneshot::Sender<()> {
    fn kept(self: Box<Self>) {
        // Whoever asked may have gone; what is kept is kept.
        let _ = self.send(());
    }
}

/// Whom to tell when it is kept.
#[derive(Debug)]
pub(super) enum Done {
    Nobody,
    Told(oneshot::Sender<Told>),
    Kept(Box<dyn Asker>),
}

/// A job's claim. Work that is cut off loses none: the ticket says whether its job is kept.
#[derive(Debug)]
pub(super) struct Ticket {
    entry: Option<Entry>,
    /// One Accounting-Request may touch several sessions, and is answered when all of them are kept.
    missing: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Waiting(Done),
    Kept,
    /// The store will have it neither in its place nor in quarantine.
    Refused(String),
}

impl Ticket {
    /// A claim; `entry` is what the spool would keep of the job.
    pub(super) fn new(entry: Option<Entry>, done: Done) -> Arc<Self> {
        Arc::new(Self { entry, missing: AtomicUsize::new(1), state: Mutex::new(State::Waiting(done)) })
    }

    /// What the spool would keep.
    pub(super) fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// The Accounting-Request, when it is one.
    pub(super) fn packet(&self) -> Option<&AccountingPacket> {
        match &self.entry {
            Some(Entry::Accounting(packet)) => Some(packet),
            _ => None,
        }
    }

    /// The job turns out to have so many parts.
    pub(super) fn expect(&self, parts: usize) {
        self.missing.store(parts, Ordering::Release);
        if parts == 0 {
            self.kept(Told::Nothing);
        }
    }

    /// One part more has turned up, before the last one was kept.
    pub(super) fn expect_one_more(&self) {
        self.missing.fetch_add(1, Ordering::AcqRel);
    }

    /// One part is kept.
    pub(super) fn part_kept(&self, told: Told) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.kept(told);
        }
    }

    /// All of it is kept.
    pub(super) fn kept(&self, told: Told) {
        // Whoever asked may have gone; what is kept is kept.
        let was = std::mem::replace(&mut *self.state(), State::Kept);
        match was {
            State::Waiting(Done::Told(asker)) => drop(asker.send(told)),
            State::Waiting(Done::Kept(asker)) => asker.kept(),
            _ => (),
        }
    }

    /// It will not be kept; whoever waits sees the channel close, or is dropped.
    pub(super) fn refuse(&self, reason: String) {
        let was = std::mem::replace(&mut *self.state(), State::Refused(reason));
        drop(was);
    }

    pub(super) fn is_kept(&self) -> bool {
        matches!(*self.state(), State::Kept)
    }

    /// Why it will not be kept, when it will not.
    pub(super) fn refusal(&self) -> Option<String> {
        match &*self.state() {
            State::Refused(reason) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Whether it still waits.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(*self.state(), State::Waiting(_))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
