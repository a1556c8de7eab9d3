//! Brings a batch to the store: finds the sessions, takes each a step further, and commits as many as possible together.
//!
//! A batch that the store refuses is split until what it refuses stands alone: that goes to quarantine, and costs its
//! neighbours nothing. May be cut off at any point: the tickets say what is kept. Knows no spool.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::lookup::{Found, Lookup};
use super::super::orders::NewOrders;
use super::super::orders::hands::{Hands, Reach, is_ours};
use super::super::recall::{self, Meant, Origin};
use super::super::settings::{Settings, SettingsHandle};
use super::super::turn::Turn;
use super::super::users::Users;
use super::super::{clock, voices};
use super::flight::Next;
use super::recent::Recent;
use super::ticket::Ticket;
use crate::accounting::{Report, Request, Status};
use crate::model::{Member, Nas, NasName, SessionId, Timestamp, UserName};
use crate::session::{Class, ClassKey, Event, Press, Session, Told};
use crate::store::{Change, Committed, Extent, Kept, OrderId, Quarantined, Restart, Store, StoreError};
use crate::telemetry;

/// Users asked for at a time.
const ASKED_AT_ONCE: usize = 8;
/// Copies of one session that may come second before its job is given up. Each time somebody else made progress.
const CONFLICTS: u32 = 16;

/// A report that is older has come late: its NAS may have restarted since, as we may have heard already.
const LATE: Duration = Duration::from_secs(2);

/// A job, and its ticket.
pub(super) enum Item {
    Offer(Arc<Session>, Arc<Ticket>),
    Fact {
        session: SessionId,
        event: Box<Event>,
        settles: Option<OrderId>,
        ticket: Arc<Ticket>,
    },
    /// A press whose presser has not been looked up yet.
    Press(Press, Arc<Ticket>),
    Accounting {
        nas: Arc<Nas>,
        source: IpAddr,
        request: Box<Request>,
        /// Ours, when its NAS echoes it.
        class: Option<Class>,
        ticket: Arc<Ticket>,
    },
    /// An Accounting-Request that cannot be read (any more), and why.
    Misfit(Arc<Ticket>, String),
}

impl Item {
    pub(super) fn accounting(
        key: &ClassKey,
        nas: Arc<Nas>,
        source: IpAddr,
        request: Box<Request>,
        ticket: Arc<Ticket>,
    ) -> Self {
        let class = recall::class_of(key, &nas, &request);
        Self::Accounting { nas, source, request, class, ticket }
    }
}

/// What is known of an Accounting-Request without Class before anything is asked.
#[derive(Clone, Copy)]
struct Called {
    /// The id of a session that nobody knows yet and that its NAS calls so.
    so: SessionId,
    /// The session that was called so when it was last written here.
    remembered: Option<SessionId>,
}

pub(super) struct Committer {
    pub(super) store: Arc<dyn Store>,
    /// Whose terms a session is rebuilt with.
    pub(super) users: Arc<Users>,
    pub(super) settings: SettingsHandle,
    pub(super) new_orders: Arc<NewOrders>,
    /// Where orders go that are claimed with their change.
    pub(super) hands: Hands,
    /// Changes in one transaction, at most.
    pub(super) batch: usize,
    pub(super) recent: Recent,
}

/// One job, narrowed to one session.
struct Work {
    session: SessionId,
    kind: Kind,
    ticket: Arc<Ticket>,
    conflicts: u32,
    /// What its NAS calls the session, where that is all there is to know it by.
    called: Option<SessionId>,
    whence: Whence,
    /// Its session was found by what was remembered of it, and may be over since.
    guessed: bool,
}

/// Where the session is looked for.
#[derive(Clone, Copy, PartialEq)]
enum Whence {
    /// Among those remembered, and then in the store.
    Any,
    /// The store has just said that there is none, or most likely has none.
    New,
    /// What was remembered will not do, or nothing was.
    Stored,
    /// It was among those remembered.
    Remembered,
}

/// A session that is open by a report that came late, and whether the time of that is by the clock of its NAS.
struct Late {
    session: Session,
    by_nas_clock: bool,
}

/// Users as they were found; those there are not are `None`.
type Members = HashMap<UserName, Option<Arc<Member>>>;

enum Kind {
    Offer(Arc<Session>),
    Fact {
        event: Box<Event>,
        settles: Option<OrderId>,
    },
    /// A report, and where its session comes from when none is kept.
    Report {
        event: Box<Event>,
        origin: Box<Origin>,
    },
}

impl Committer {
    /// Takes the items one after the other and commits as many as possible together. On an error, what their tickets do not call
    /// kept may or may not be. `next` is called when it is time for others.
    pub(super) async fn keep(&self, items: Vec<Item>, next: &Next) -> Result<(), StoreError> {
        let called: Vec<_> = items.iter().map(|item| self.called(item)).collect();
        let unknown = items.iter().zip(&called).filter_map(|(item, called)| match (item, called) {
            (Item::Accounting { nas, request, .. }, Some(Called { remembered: None, .. })) => {
                Some((&**nas, &**request))
            }
            _ => None,
        });
        let mut lookup = Lookup::ask(&*self.store, unknown).await?;
        let mut work = VecDeque::with_capacity(items.len());
        for (item, called) in items.into_iter().zip(called) {
            match item {
                Item::Offer(session, ticket) => {
                    lookup.offered(&session);
                    // As a rule it is new, and nothing need be read for it; where it is not, the store says so.
                    let offer = Work::new(session.id, Kind::Offer(session), ticket);
                    work.push_back(Work { whence: Whence::New, ..offer });
                }
                Item::Fact { session, event, settles, ticket } => {
                    work.push_back(Work::new(session, Kind::Fact { event, settles }, ticket));
                }
                Item::Press(press, ticket) => {
                    // Whose session it is must be known before it is asked who may speak for it.
                    self.rounds(&mut work, next).await?;
                    let session = press.session();
                    match voices::fact(&*self.store, press).await {
                        Ok(Ok(event)) => {
                            work.push_back(Work::new(
                                session,
                                Kind::Fact { event: Box::new(event), settles: None },
                                ticket,
                            ));
                        }
                        Ok(Err(told)) => {
                            telemetry::count("answer.not-entitled");
                            ticket.kept(told);
                        }
                        Err(error @ StoreError::Away(_)) => return Err(error),
                        Err(error) => self.quarantine(&ticket, error.to_string()).await?,
                    }
                }
                Item::Accounting { nas, source, request, class, ticket } => {
                    let origin = (nas, source, class, called);
                    match self.resolve(origin, request, Arc::clone(&ticket), &mut lookup, (&mut work, next)).await {
                        Err(error) if !matches!(error, StoreError::Away(_)) => {
                            self.quarantine(&ticket, error.to_string()).await?;
                        }
                        resolved => resolved?,
                    }
                }
                Item::Misfit(ticket, reason) => self.quarantine(&ticket, reason).await?,
            }
        }
        self.rounds(&mut work, next).await
    }

    fn called(&self, item: &Item) -> Option<Called> {
        let Item::Accounting { nas, source, request, class: None, .. } = item else { return None };
        matches!(request.status, Status::Start | Status::InterimUpdate | Status::Stop).then(|| {
            let so = recall::id_of(nas, *source, request, None);
            Called { so, remembered: self.recent.called(so) }
        })
    }

    fn most_at_once(&self) -> u32 {
        u32::try_from(self.batch).unwrap_or(u32::MAX)
    }

    /// Adds the work of an Accounting-Request: for the session it is about, or for all of its NAS's.
    async fn resolve(
        &self,
        (nas, nas_address, class, called): (Arc<Nas>, IpAddr, Option<Class>, Option<Called>),
        request: Box<Request>,
        ticket: Arc<Ticket>,
        lookup: &mut Lookup,
        (work, next): (&mut VecDeque<Work>, &Next),
    ) -> Result<(), StoreError> {
        let event = match request.status {
            Status::Start => Event::Started(request.report.clone()),
            Status::InterimUpdate => Event::Interim(request.report.clone()),
            Status::Stop => Event::Stopped(request.report.clone()),
            Status::AccountingOn | Status::AccountingOff => {
                // What came before it must be among the sessions it ends.
                self.rounds(work, next).await?;
                // Several devices may share an entry; only this one has restarted.
                let Report { identity, at, by_nas_clock, .. } = request.report;
                let restart = Restart {
                    nas: nas.name.clone(),
                    nas_address,
                    nas_ip_address: identity.nas_ip_address,
                    nas_identifier: identity.nas_identifier,
                    at,
                    by_nas_clock,
                    noted_at: clock::now(),
                };
                // Kept before it is looked for what is open: whoever opens one meanwhile by a report that came late looks for it afterwards.
                self.store.note_restart(&restart).await?;
                // Where there are more of them than that, the rest is ended bit by bit (see `restarts`): its NAS need not wait for it.
                let sessions = self.store.sessions_before(&restart, None, self.most_at_once()).await?;
                ticket.expect(sessions.len());
                let restarted = Event::NasRestarted { at };
                work.extend(sessions.into_iter().map(|session| {
                    let kind = Kind::Fact { event: Box::new(restarted.clone()), settles: None };
                    Work::new(session, kind, Arc::clone(&ticket))
                }));
                return Ok(());
            }
            // Of tunnels and failures (RFC 2867): nothing of ours to keep, so it is kept already.
            Status::Other(_) => {
                ticket.kept(Told::Nothing);
                return Ok(());
            }
        };
        let mut guessed = false;
        let meant = match (class, called.and_then(|called| called.remembered)) {
            (Some(class), _) => Meant::Kept(class.session),
            (None, Some(remembered)) if !lookup.is_overtaken(&nas, &request) => {
                guessed = true;
                Meant::Kept(remembered)
            }
            (None, _) => match lookup.find(&nas, nas_address, &request) {
                Found::Known(meant) => meant,
                Found::AskAgain => {
                    // What came before it may be what it looks for.
                    if work.iter().any(|item| item.may_be_meant(&nas, &request)) {
                        self.rounds(work, next).await?;
                    }
                    recall::by_identity(&*self.store, &nas, nas_address, &request).await?
                }
            },
        };
        let called = called.map(|called| called.so);
        let (session, whence) = match (meant, called) {
            (Meant::Kept(session), _) => (session, Whence::Any),
            (Meant::New { after: None }, Some(called)) => (called, Whence::New),
            (Meant::New { after }, _) => (recall::id_of(&nas, nas_address, &request, after), Whence::New),
        };
        lookup.reported(&nas, &request);
        let origin = Box::new(Origin::new(class, nas, nas_address, *request));
        let report = Work::new(session, Kind::Report { event: Box::new(event), origin }, ticket);
        work.push_back(Work { called, whence, guessed, ..report });
        Ok(())
    }

    /// Commits all work in order, one job per session at a time.
    async fn rounds(&self, work: &mut VecDeque<Work>, next: &Next) -> Result<(), StoreError> {
        while !work.is_empty() {
            let mut taken = HashSet::new();
            let (mut round, later): (VecDeque<_>, VecDeque<_>) = std::mem::take(work)
                .into_iter()
                .partition(|item| taken.len() < self.batch && taken.insert(item.session));
            match self.round(&mut round, next).await {
                Err(error) if !matches!(error, StoreError::Away(_)) => self.split(&mut round, error, next).await?,
                done => done?,
            }
            // What came second goes before what waited behind it.
            round.extend(later);
            *work = round;
        }
        Ok(())
    }

    /// Halves what the store refuses until that stands alone. Leaves in `round` the jobs that came second.
    async fn split(&self, round: &mut VecDeque<Work>, error: StoreError, next: &Next) -> Result<(), StoreError> {
        let mut second = VecDeque::new();
        let mut refused = vec![(std::mem::take(round), error)];
        while let Some((mut group, error)) = refused.pop() {
            if let [alone] = group.make_contiguous() {
                self.quarantine(&alone.ticket, error.to_string()).await?;
                continue;
            }
            let later = group.split_off(group.len() / 2);
            for mut half in [group, later] {
                match self.round(&mut half, next).await {
                    Err(error) if !matches!(error, StoreError::Away(_)) => refused.push((half, error)),
                    done => {
                        done?;
                        second.extend(half);
                    }
                }
            }
        }
        *round = second;
        Ok(())
    }

    /// Keeps what fits nowhere, with the reason, so that it can be answered: the NAS would send the same again.
    async fn quarantine(&self, ticket: &Ticket, reason: String) -> Result<(), StoreError> {
        if !ticket.is_waiting() {
            return Ok(());
        }
        let Some(packet) = ticket.packet() else {
            telemetry::count("ledger.refused");
            tracing::error!(reason, "the store refuses this; its neighbours are kept");
            ticket.refuse(reason);
            return Ok(());
        };
        let misfit = Quarantined {
            nas: packet.nas.clone(),
            nas_address: packet.source,
            received_at: packet.received_at,
            packet: packet.packet.clone(),
            reason: reason.clone(),
            at: clock::now(),
        };
        match self.store.quarantine(&misfit).await {
            Ok(()) => {
                telemetry::count("quarantine.added");
                tracing::error!(nas = %packet.nas, reason, "an Accounting-Request went to quarantine (radhold quarantine)");
                ticket.kept(Told::Nothing);
            }
            Err(error @ StoreError::Away(_)) => return Err(error),
            Err(error) => {
                telemetry::count("ledger.refused");
                tracing::error!(nas = %packet.nas, reason, %error, "an Accounting-Request could not even be quarantined");
                ticket.refuse(reason);
            }
        }
        Ok(())
    }

    /// One transaction. Leaves in `round` the jobs that came second and those that come of it, or on an error all of them.
    async fn round(&self, round: &mut VecDeque<Work>, next: &Next) -> Result<(), StoreError> {
        let mut known = HashMap::with_capacity(round.len());
        let mut wanted = Vec::new();
        for item in round.iter_mut() {
            let remembered = self.recent.take(item.session).filter(|_| item.whence != Whence::Stored);
            match remembered {
                Some(session) => {
                    item.whence = Whence::Remembered;
                    known.insert(item.session, session);
                }
                None if item.whence == Whence::New => (),
                None => {
                    item.whence = Whence::Stored;
                    wanted.push(item.session);
                }
            }
        }
        if !wanted.is_empty() {
            let stored = self.store.sessions_by_id(&wanted).await?;
            known.extend(stored.into_iter().map(|session| (session.id, session)));
        }
        let mut moved = self.guess_again(round, &known).await?;
        moved.extend(move_to_others(round, &known));
        let done = self.apply(round, known, next).await;
        round.extend(moved);
        done
    }

    /// Asks the store which sessions those reports are about that were taken for one that is over, or gone, by now, or that began only
    /// after them. Takes out those that are another's: that one may be somebody else's in this round.
    async fn guess_again(
        &self,
        round: &mut VecDeque<Work>,
        known: &HashMap<SessionId, Session>,
    ) -> Result<Vec<Work>, StoreError> {
        let wrong = |item: &Work| {
            let known = known.get(&item.session);
            let is_gone = item.whence == Whence::Stored && known.is_none_or(|it| it.end.is_some());
            item.guessed && (is_gone || known.is_some_and(|it| item.may_be_of_an_earlier(it)))
        };
        if !round.iter().any(wrong) {
            return Ok(Vec::new());
        }
        let mut guessed = Vec::new();
        let mut items = std::mem::take(round).into_iter();
        while let Some(mut item) = items.next() {
            if wrong(&item)
                && let Kind::Report { event, origin } = &item.kind
            {
                match origin.ask(&*self.store, event).await {
                    Ok(Some(session)) => {
                        item.session = session;
                        (item.guessed, item.whence) = (false, Whence::Any);
                        guessed.push(item);
                        continue;
                    }
                    Ok(None) => (),
                    Err(error) => {
                        // Nobody is left behind: what is refused is found by halves.
                        round.push_back(item);
                        round.extend(items);
                        round.extend(guessed);
                        return Err(error);
                    }
                }
            }
            round.push_back(item);
        }
        Ok(guessed)
    }

    async fn apply(
        &self,
        round: &mut VecDeque<Work>,
        mut known: HashMap<SessionId, Session>,
        next: &Next,
    ) -> Result<(), StoreError> {
        let (settings, now) = (self.settings.current(), clock::now());
        let members = self.members(round, &known, now).await?;
        let (mut tolds, mut changes) = (Vec::with_capacity(round.len()), Vec::with_capacity(round.len()));
        let mut late = HashMap::new();
        for item in &*round {
            let turn = self.turn(item, known.remove(&item.session), &members, (&settings, now));
            let open = turn.as_ref().and_then(Turn::open_session).zip(item.reported());
            if let Some((session, report)) = open.filter(|(session, _)| now.since(session.heard_at) > LATE) {
                late.insert(item.session, Late { session: session.clone(), by_nas_clock: report.by_nas_clock });
            }
            tolds.push(turn.as_ref().map(|turn| (turn.told(), turn.is_idle())));
            changes.extend(turn.filter(|turn| !turn.is_idle()).map(|turn| turn.into_change(item.settles())));
        }
        next.reading_done();
        let reach = self.hands.reach(&self.store, &changes, now);
        let kept = self.store.commit_claiming(&changes, reach.as_ref().map(Reach::claim), &|| next.call()).await;
        let Kept { committed, claimed } = match kept {
            Ok(kept) => kept,
            Err(error) => {
                if let Some(reach) = reach.filter(|_| !matches!(error, StoreError::Away(_))) {
                    reach.refused();
                }
                return Err(error);
            }
        };
        let were_taken = reach.is_some();
        if let Some(reach) = reach {
            reach.take(claimed, &changes, &committed);
        }
        let (mut struck, mut kept) = (Vec::new(), Vec::new());
        let mut outcomes = committed.into_iter().zip(changes);
        for (mut item, told) in std::mem::take(round).into_iter().zip(tolds) {
            match told {
                // What writes nothing is compared with nothing: not to be said of a copy that may be out of date.
                None | Some((_, true)) if item.whence == Whence::Remembered && !item.is_offer() => {
                    item.whence = Whence::Stored;
                    round.push_back(item);
                }
                // Nothing to apply it to.
                None => {
                    struck.extend(item.settles());
                    item.ticket.part_kept(Told::SessionOver);
                }
                Some((told, true)) => {
                    struck.extend(item.settles());
                    kept.push((item, told));
                }
                Some((told, false)) => match outcomes.next() {
                    Some((Committed::Done, change)) => {
                        log(&change);
                        self.new_orders.call(change.orders.iter().filter(|order| !(were_taken && is_ours(order))));
                        self.recent.put(change.session, item.called);
                        kept.push((item, told));
                    }
                    _ if item.conflicts < CONFLICTS => {
                        item.conflicts += 1;
                        item.whence = Whence::Stored;
                        round.push_back(item);
                    }
                    _ => telemetry::count("ledger.conflict-given-up"),
                },
            }
        }
        // What is kept is told all the same; an order that stays is carried out again, and harmless.
        if !struck.is_empty()
            && let Err(error) = self.store.finish(&struck).await
        {
            tracing::warn!(%error, "orders that are settled could not be struck off");
        }
        self.end_before_restarts(&kept, &late, round).await?;
        self.close_ghosts(kept, round).await
    }

    /// Adds the end of sessions that are open by a report that came late, and whose NAS has restarted since. Each is answered when
    /// that is kept too.
    async fn end_before_restarts(
        &self,
        kept: &[(Work, Told)],
        late: &HashMap<SessionId, Late>,
        round: &mut VecDeque<Work>,
    ) -> Result<(), StoreError> {
        // Of a session there is one item in a round.
        let late_of = |item: &Work| late.get(&item.session);
        let late = || kept.iter().filter_map(|(item, _)| late_of(item));
        let Some(since) = late().map(|late| late.session.heard_at).min() else { return Ok(()) };
        let nases: HashSet<&NasName> = late().map(|late| &late.session.nas).collect();
        let nases: Vec<NasName> = nases.into_iter().cloned().collect();
        let restarts = match self.store.restarts_since(&nases, since).await {
            Err(error @ StoreError::Away(_)) => return Err(error),
            Err(error) => {
                telemetry::count("ledger.refused");
                tracing::error!(%error, "cannot see whether a NAS has restarted since its session was reported");
                return Ok(());
            }
            Ok(restarts) => recall::Restarts::new(restarts, self.settings.current().clock.skew),
        };
        for (item, _) in kept {
            let Some(Late { session, by_nas_clock }) = late_of(item) else { continue };
            if let Some(at) = restarts.ended(session, *by_nas_clock) {
                item.ticket.expect_one_more();
                let kind = Kind::Fact { event: Box::new(Event::NasRestarted { at }), settles: None };
                round.push_back(Work::new(item.session, kind, Arc::clone(&item.ticket)));
            }
        }
        Ok(())
    }

    /// Adds what Starts that are kept end besides: each is answered when that is kept too, and finds what is left when it comes
    /// again. Answers all others.
    async fn close_ghosts(&self, kept: Vec<(Work, Told)>, round: &mut VecDeque<Work>) -> Result<(), StoreError> {
        let settings = self.settings.current();
        let port_of = |item: &Work| match &item.kind {
            Kind::Report { event, origin } => recall::port(&settings, event, origin),
            _ => None,
        };
        let (mut starts, mut ports) = (Vec::new(), Vec::new());
        for (item, told) in kept {
            match port_of(&item) {
                Some(port) => {
                    ports.push(port);
                    starts.push((item, told));
                }
                None => item.ticket.part_kept(told),
            }
        }
        if starts.is_empty() {
            return Ok(());
        }
        let of_all = match self.store.sessions_on_ports(&ports).await {
            Err(error @ StoreError::Away(_)) => return Err(error),
            // One of them it refuses; the others are read alone.
            sessions => sessions.ok(),
        };
        for ((item, told), port) in starts.into_iter().zip(&ports) {
            let alone;
            let sessions = match &of_all {
                Some(sessions) => sessions,
                None => match self.store.sessions_on_ports(std::slice::from_ref(port)).await {
                    Ok(sessions) => {
                        alone = sessions;
                        &alone
                    }
                    Err(error @ StoreError::Away(_)) => return Err(error),
                    // Not answered, it comes again.
                    Err(error) => {
                        telemetry::count("ledger.refused");
                        tracing::error!(%error, session = %item.session, "cannot see which session its port had before");
                        continue;
                    }
                },
            };
            if let Kind::Report { event, origin } = &item.kind {
                for (session, event) in recall::ghosts(sessions, item.session, event, origin) {
                    item.ticket.expect_one_more();
                    let kind = Kind::Fact { event: Box::new(event), settles: None };
                    round.push_back(Work::new(session, kind, Arc::clone(&item.ticket)));
                }
            }
            item.ticket.part_kept(told);
        }
        Ok(())
    }

    /// The users of the sessions that are rebuilt from their Class, as this node remembers them, else asked for beside each other.
    async fn members(
        &self,
        round: &VecDeque<Work>,
        known: &HashMap<SessionId, Session>,
        now: Timestamp,
    ) -> Result<Members, StoreError> {
        let mut wanted = HashSet::new();
        for item in round {
            if let (Kind::Report { origin, .. }, None) = (&item.kind, known.get(&item.session)) {
                wanted.extend(origin.accepted_user().cloned());
            }
        }
        let (mut members, mut asked) = (Members::with_capacity(wanted.len()), JoinSet::new());
        let mut wanted = wanted.into_iter();
        loop {
            for user in wanted.by_ref().take(ASKED_AT_ONCE - asked.len()) {
                let users = Arc::clone(&self.users);
                asked.spawn(async move {
                    let member = users.get(&user, now).await;
                    (user, member)
                });
            }
            match asked.join_next().await {
                Some(Ok((user, member))) => drop(members.insert(user, member?)),
                // It panicked; the session's report comes again.
                Some(Err(error)) => return Err(StoreError::Away(error.to_string())),
                None => return Ok(members),
            }
        }
    }

    /// Applies a job to its session as it is kept. `None` when there is nothing to apply it to, or no need.
    fn turn(
        &self,
        item: &Work,
        known: Option<Session>,
        members: &Members,
        (settings, now): (&Settings, Timestamp),
    ) -> Option<Turn> {
        let timing = settings.timing;
        match (&item.kind, known) {
            (Kind::Offer(_), Some(session)) => {
                // Its Start was faster, and has rebuilt it: that is the same session, and further.
                if item.whence == Whence::Remembered {
                    self.recent.put(session, None);
                }
                None
            }
            (Kind::Fact { .. }, None) => None,
            (Kind::Offer(session), None) => Some(Turn::of_new((**session).clone(), now, timing)),
            (Kind::Fact { event, .. } | Kind::Report { event, .. }, Some(session)) => {
                Some(Turn::of_kept(session, now, timing).take(event))
            }
            (Kind::Report { event, origin }, None) => {
                let member = |user: &UserName| members.get(user).and_then(Option::as_deref);
                let session = recall::rebuild(settings, item.session, origin, member);
                Some(Turn::of_new(session, now, timing).take(event))
            }
        }
    }
}

impl Work {
    fn new(session: SessionId, kind: Kind, ticket: Arc<Ticket>) -> Self {
        Self { session, kind, ticket, conflicts: 0, called: None, whence: Whence::Any, guessed: false }
    }

    /// Whether a report without Class can be of this one's session, were it kept.
    fn may_be_meant(&self, nas: &Nas, request: &Request) -> bool {
        match &self.kind {
            Kind::Offer(session) => recall::may_be_meant(session, nas, request),
            Kind::Report { origin, .. } => origin.may_be_meant(nas, request),
            // Its session is in the store, and is found there.
            Kind::Fact { .. } => false,
        }
    }

    fn reported(&self) -> Option<&Report> {
        match &self.kind {
            Kind::Report { event, .. } => recall::reported(event).map(|(_, report)| report),
            Kind::Offer(_) | Kind::Fact { .. } => None,
        }
    }

    /// Whether a report may be of the session that was called like this one before it.
    fn may_be_of_an_earlier(&self, session: &Session) -> bool {
        self.reported().is_some_and(|report| recall::is_before(session, report))
    }

    fn is_offer(&self) -> bool {
        matches!(self.kind, Kind::Offer(_))
    }

    fn settles(&self) -> Option<OrderId> {
        match self.kind {
            Kind::Fact { settles, .. } => settles,
            Kind::Offer(_) | Kind::Report { .. } => None,
        }
    }
}

/// Takes those reports out that are of another session than their Class or their id says, and gives them back as that session's.
fn move_to_others(round: &mut VecDeque<Work>, known: &HashMap<SessionId, Session>) -> Vec<Work> {
    let mut moved = Vec::new();
    for mut item in std::mem::take(round) {
        let other = match (&mut item.kind, known.get(&item.session)) {
            (Kind::Report { event, origin }, Some(session)) => {
                origin.of_another(session).or_else(|| origin.of_a_later(session, event))
            }
            _ => None,
        };
        if let Some(other) = other {
            item.session = other;
            (item.called, item.whence, item.guessed) = (None, Whence::Any, false);
            moved.push(item);
        } else {
            round.push_back(item);
        }
    }
    moved
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
