//! Batches on their way to the store, more than one at a time. What may be about the same session goes in one batch or waits for the
//! one before it, so that the reports of a session are worked on in the order they came. That spares work; the versions of sessions
//! are what keeps the rest right. Knows no store.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::Id;
use tokio::time::Instant;

use super::committer::Item;
use super::ticket::Ticket;
use crate::accounting::Status;
use crate::model::SessionId;
use crate::session::Session;
use crate::store::AuthAttempt;

/// Reading that takes so long takes longer than a commit.
const LONG_READING: Duration = Duration::from_millis(8);

/// An offer and its ticket, as the keeper holds on to them.
pub(super) type Offer = (Arc<Session>, Arc<Ticket>);

/// What was handed to a task of its own.
pub(super) struct Flight {
    pub(super) task: Id,
    pub(super) begun: Instant,
    pub(super) next: Next,
    pub(super) cargo: Cargo,
}

/// What must be seen to when the task is over.
pub(super) enum Cargo {
    Batch { count: usize, tickets: Vec<Arc<Ticket>>, offers: Vec<Offer>, marks: Marks, urgent: bool },
    Attempts(Vec<AuthAttempt>),
}

/// Whether it is time for the batch after one that is on its way.
#[derive(Debug, Clone)]
pub(super) struct Next {
    is_time: Arc<AtomicBool>,
    told: Arc<Notify>,
    /// When its batch was sent off.
    since: Instant,
}

impl Next {
    /// Not yet; `told` is, when it is.
    pub(super) fn new(told: &Arc<Notify>) -> Self {
        Self { is_time: Arc::default(), told: Arc::clone(told), since: Instant::now() }
    }

    /// It is time from the beginning, and nobody is told.
    pub(super) fn unasked() -> Self {
        Self { is_time: Arc::new(AtomicBool::new(true)), told: Arc::default(), since: Instant::now() }
    }

    /// What there was to read is read. Where that took long, the next one reads while this one is written.
    pub(super) fn reading_done(&self) {
        if self.since.elapsed() >= LONG_READING {
            self.call();
        }
    }

    pub(super) fn is_time(&self) -> bool {
        self.is_time.load(Ordering::Acquire)
    }

    pub(super) fn call(&self) {
        if !self.is_time.swap(true, Ordering::AcqRel) {
            self.told.notify_one();
        }
    }
}

/// What the items of a batch are about, hashed: that two hashes are the same by chance costs a moment's wait.
#[derive(Default)]
pub(super) struct Marks {
    marks: HashSet<u64>,
    /// Something in it may be about any session.
    all: bool,
}

impl Marks {
    /// Adds what an item is about.
    pub(super) fn add(&mut self, item: &Item, hasher: &RandomState) {
        self.all |= is_of_all(item);
        each_mark(item, hasher, |mark, keeps| {
            if keeps {
                self.marks.insert(mark);
            }
        });
    }

    /// Whether an item must wait for these.
    pub(super) fn hold(&self, item: &Item, hasher: &RandomState) -> bool {
        let mut hold = self.all;
        each_mark(item, hasher, |mark, _| hold |= self.marks.contains(&mark));
        hold
    }
}

/// What an item is about, and whether it keeps others that are about it waiting.
fn each_mark(item: &Item, hasher: &RandomState, mut mark: impl FnMut(u64, bool)) {
    #[derive(Hash)]
    enum Mark<'i> {
        Session(SessionId),
        /// By NAS and Acct-Session-Id.
        Report(&'i str, Option<&'i str>),
        /// By NAS and User-Name.
        Offer(&'i str, &'i str),
    }
    let mut mark = |of: Mark<'_>, keeps| mark(hasher.hash_one(of), keeps);
    match item {
        Item::Offer(session, _) => {
            mark(Mark::Session(session.id), true);
            mark(Mark::Offer(session.nas.as_str(), session.user.as_str()), true);
        }
        Item::Fact { session, .. } => mark(Mark::Session(*session), true),
        Item::Press(press, _) => mark(Mark::Session(press.session()), true),
        Item::Accounting { nas, request, class, .. } => {
            mark(Mark::Report(nas.name.as_str(), request.report.identity.acct_session_id.as_deref()), true);
            match class {
                Some(class) => mark(Mark::Session(class.session), true),
                // It may be the Start of any offer of its user, but keeps no other report of that user waiting.
                None => mark(Mark::Offer(nas.name.as_str(), request.user.as_deref().unwrap_or_default()), false),
            }
        }
        Item::Misfit(..) => (),
    }
}

/// Accounting-On and -Off end whatever sessions there are by then; and without Acct-Session-Id there is no telling.
pub(super) fn is_of_all(item: &Item) -> bool {
    match item {
        Item::Accounting { request, class, .. } => match request.status {
            Status::AccountingOn | Status::AccountingOff => true,
            Status::Start | Status::InterimUpdate | Status::Stop => {
                class.is_none() && request.report.identity.acct_session_id.is_none()
            }
            Status::Other(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::ticket::Done;
    use super::*;
    use crate::accounting::{Report, Request};
    use crate::model::{Identity, Nas, Secret, Timestamp};
    use crate::session::{Class, Event};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn ticket() -> Arc<Ticket> {
        Ticket::new(None, Done::Nobody)
    }

    fn id(number: u128) -> SessionId {
        SessionId(uuid::Uuid::from_u128(number))
    }

    fn report(status: Status, user: &str, acct_session_id: Option<&str>, class: Option<u128>) -> Item {
        let identity = Identity { acct_session_id: acct_session_id.map(str::to_owned), ..Identity::default() };
        let report = Report { identity, ..Report::default() };
        let request = Request { status, user: Some(user.to_owned()), classes: vec![], report, disbelieved: None };
        let class =
            class.map(|session| Class { session: id(session), accepted_at: Timestamp::default(), waived: false });
        let nas = Arc::new(Nas::new("edge", HERE, Secret::new("x")));
        Item::Accounting { nas, source: HERE, request: Box::new(request), class, ticket: ticket() }
    }

    #[test]
    fn what_may_be_about_one_session_waits_and_nothing_else_does() {
        let hasher = RandomState::new();
        let holds = |flying: &Item, next: &Item| {
            let mut marks = Marks::default();
            marks.add(flying, &hasher);
            marks.hold(next, &hasher)
        };
        let classless = |user, acct| report(Status::InterimUpdate, user, Some(acct), None);
        let of = |session| report(Status::InterimUpdate, "alice", Some("c"), Some(session));
        let fact = |session| Item::Fact {
            session: id(session),
            event: Box::new(Event::TimerPassed),
            settles: None,
            ticket: ticket(),
        };
        let offered =
            Session::observe(id(1), "alice".into(), "edge".into(), HERE, Identity::default(), Timestamp::default());
        let offer = Item::Offer(Arc::new(offered), ticket());

        assert!(holds(&classless("alice", "a"), &classless("alice", "a")));
        assert!(!holds(&classless("alice", "a"), &classless("alice", "b")));
        assert!(holds(&of(1), &fact(1)) && holds(&fact(1), &of(1)) && !holds(&fact(1), &of(2)));
        assert!(holds(&of(1), &classless("alice", "c")), "it may be what the other made");
        assert!(holds(&offer, &classless("alice", "a")) && !holds(&offer, &classless("bob", "a")));
        assert!(!holds(&classless("alice", "a"), &offer) && holds(&offer, &of(1)));

        let restart = report(Status::AccountingOn, "", None, None);
        assert!(is_of_all(&restart) && holds(&restart, &fact(7)));
        let nameless = report(Status::Start, "alice", None, None);
        assert!(is_of_all(&nameless) && !is_of_all(&report(Status::Start, "alice", None, Some(1))));
    }
}
