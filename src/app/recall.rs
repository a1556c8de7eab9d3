//! Joins accounting to sessions: by Class, else by what the NAS says of it; and rebuilds what only a Class remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::settings::Settings;
use crate::accounting::{Report, Request, Status, same_nas, same_port, same_session};
use crate::model::{Counters, Identity, Member, Nas, SessionId, Timestamp, UserName};
use crate::policy;
use crate::session::{Class, ClassError, ClassKey, Event, Session, State};
use crate::store::{Named, Port, Restart, Store, StoreError};
use crate::telemetry;

/// What begins this long after the end of a session with its Acct-Session-Id is another: NASes count anew at boot.
const REUSED_AFTER: Duration = Duration::from_secs(60);

/// What a session is made from when the store has none.
pub(super) struct Origin {
    class: Option<Class>,
    nas: Arc<Nas>,
    nas_address: IpAddr,
    user: UserName,
    identity: Identity,
    heard_at: Timestamp,
}

impl Origin {
    pub(super) fn new(class: Option<Class>, nas: Arc<Nas>, nas_address: IpAddr, request: Request) -> Self {
        let user = user_of(&request);
        let Report { identity, at: heard_at, .. } = request.report;
        Self { class, nas, nas_address, user, identity, heard_at }
    }

    /// Whether a report without Class can be of this session.
    pub(super) fn may_be_meant(&self, nas: &Nas, request: &Request) -> bool {
        self.nas.name == nas.name
            && self.user == user_of(request)
            && same_session(&self.identity, &request.report.identity)
    }
}

/// Whether a report without Class can be of this session.
pub(super) fn may_be_meant(session: &Session, nas: &Nas, request: &Request) -> bool {
    session.nas == nas.name
        && session.user == user_of(request)
        && same_session(&session.identity, &request.report.identity)
}

impl Origin {
    /// Whose terms it is rebuilt with: `None` when nobody accepted it.
    pub(super) fn accepted_user(&self) -> Option<&UserName> {
        self.class.map(|_| &self.user)
    }

    /// Takes the report away from a session that is over, when it brings that session's Class but another Acct-Session-Id: the
    /// NAS has begun another with what it kept of the first. Nobody accepted that one, so it is observed, under an id of its
    /// own that is the same on every node.
    pub(super) fn of_another(&mut self, known: &Session) -> Option<SessionId> {
        let class = self.class?;
        let theirs = known.identity.acct_session_id.as_ref()?;
        let own = self.identity.acct_session_id.as_ref().filter(|own| *own != theirs)?;
        if known.end.is_none() || known.started_at.is_none() {
            return None;
        }
        self.class = None;
        telemetry::count("accounting.class-used-again");
        Some(id_from(Sha256::new().chain_update(class.session.0.as_bytes()).chain_update(own.as_bytes())))
    }

    /// The session it is about instead, when it begins long after the one of its id ended: what the NAS calls sessions by has
    /// changed since, so that the one before it was not found.
    pub(super) fn of_a_later(&self, known: &Session, event: &Event) -> Option<SessionId> {
        let (status, report) = reported(event)?;
        let later = self.class.is_none() && known.started_at.is_some() && is_of_a_later(known, status, report);
        later.then(|| id_from(Sha256::new().chain_update(known.id.0.as_bytes())))
    }

    /// Asks the store anew which session a report without Class is about; `None` when that is no report.
    pub(super) async fn ask(&self, store: &dyn Store, event: &Event) -> Result<Option<SessionId>, StoreError> {
        let Some((status, report)) = reported(event) else { return Ok(None) };
        let user = Some(self.user.as_str().to_owned());
        let request = Request { status, user, classes: Vec::new(), report: report.clone(), disbelieved: None };
        Ok(Some(match by_identity(store, &self.nas, self.nas_address, &request).await? {
            Meant::Kept(session) => session,
            Meant::New { after } => id_of(&self.nas, self.nas_address, &request, after),
        }))
    }
}

/// The report an event is, and its Acct-Status-Type.
pub(super) fn reported(event: &Event) -> Option<(Status, &Report)> {
    Some(match event {
        Event::Started(report) => (Status::Start, report),
        Event::Interim(report) => (Status::InterimUpdate, report),
        Event::Stopped(report) => (Status::Stop, report),
        _ => return None,
    })
}

/// The port whose sessions a Start may end: on a NAS where a port has one session at a time.
pub(super) fn port(settings: &Settings, event: &Event, origin: &Origin) -> Option<Port> {
    let (Event::Started(report), nas) = (event, &origin.nas) else { return None };
    let usual = || settings.dialects.get(&nas.dialect).is_some_and(|dialect| dialect.unique_ports());
    if !nas.unique_ports.unwrap_or_else(usual) {
        return None;
    }
    let Identity { nas_port, nas_port_id, .. } = &report.identity;
    Some(match (nas_port, nas_port_id) {
        (Some(number), _) => Port::Number(nas.name.clone(), *number),
        (None, Some(id)) => Port::Id(nas.name.clone(), id.clone()),
        (None, None) => return None,
    })
}

/// Which sessions end because of a Start, and how: the one that began before it on its port. A Start that came late may find that
/// it is itself the one before. `sessions` has all that are open on its port, and may have more.
pub(super) fn ghosts(
    sessions: &[Session],
    session: SessionId,
    event: &Event,
    origin: &Origin,
) -> Vec<(SessionId, Event)> {
    let Event::Started(report) = event else { return Vec::new() };
    let reporter = (&report.identity, origin.nas_address);
    let on_its_port = |other: &&Session| {
        other.id != session
            && other.nas == origin.nas.name
            && same_port(&other.identity, &report.identity)
            && same_nas((&other.identity, other.nas_address), reporter)
    };
    // An offer is on no port yet.
    let starts = || sessions.iter().filter(on_its_port).filter_map(|other| Some((other.id, other.started_at?)));
    let reused = |(other, _): (SessionId, Timestamp)| (other, Event::PortReused { at: report.at });
    let mut ghosts: Vec<_> = starts().filter(|(_, start)| *start < report.at).map(reused).collect();
    if let Some(at) = starts().map(|(_, start)| start).filter(|start| *start > report.at).min() {
        ghosts.push((session, Event::PortReused { at }));
    }
    ghosts
}

/// The last restarts of some NASes.
pub(super) struct Restarts {
    restarts: Vec<(Restart, Identity)>,
    skew: Duration,
}

impl Restarts {
    /// These; clocks of NASes may differ from ours by `skew`.
    pub(super) fn new(restarts: Vec<Restart>, skew: Duration) -> Self {
        let with_identity = |restart: Restart| {
            let identity = Identity {
                nas_ip_address: restart.nas_ip_address,
                nas_identifier: restart.nas_identifier.clone(),
                ..Identity::default()
            };
            (restart, identity)
        };
        Self { restarts: restarts.into_iter().map(with_identity).collect(), skew }
    }

    /// When a restart ended this session, which has not been heard of since. `by_nas_clock` says by which clock its last report was: two times
    /// by two clocks say only so much.
    pub(super) fn ended(&self, session: &Session, by_nas_clock: bool) -> Option<Timestamp> {
        let last = session.accepted_at.max(session.heard_at);
        let ended = |(restart, identity): &&(Restart, Identity)| {
            let margin = if restart.by_nas_clock == by_nas_clock { Duration::ZERO } else { self.skew };
            last <= restart.at.before(margin)
                && session.nas == restart.nas
                && same_nas((&session.identity, session.nas_address), (identity, restart.nas_address))
        };
        self.restarts.iter().filter(ended).map(|(restart, _)| restart.at).min()
    }
}

/// Our Class, when the NAS echoes one.
pub(super) fn class_of(key: &ClassKey, nas: &Nas, request: &Request) -> Option<Class> {
    // Some NASes keep only the last Class; ours is the last we send.
    let mut ours = None;
    for octets in request.classes.iter().rev() {
        match key.open(octets, &nas.name) {
            Ok(class) => ours = ours.or(Some(class)),
            Err(ClassError::Forged) => telemetry::count("accounting.class-forged"),
            Err(ClassError::Foreign) => (),
        }
    }
    ours
}

/// Makes a session the store does not have; `member` knows the user whose terms it gets.
pub(super) fn rebuild<'m>(
    settings: &Settings,
    id: SessionId,
    origin: &Origin,
    member: impl FnOnce(&UserName) -> Option<&'m Member>,
) -> Session {
    let Origin { class, nas, nas_address, user, identity, heard_at } = origin;
    let name = nas.name.clone();
    let Some(class) = class else {
        return Session::observe(id, user.clone(), name, *nas_address, identity.clone(), *heard_at);
    };
    telemetry::count("accounting.rebuilt-from-class");
    let grant = policy::recall(member(user), nas, &settings.defaults, class.waived);
    Session::offer(id, user.clone(), name, *nas_address, identity.clone(), grant, class.accepted_at)
}

/// What a request without Class is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// A session that is kept.
    Kept(SessionId),
    /// One that nobody knows yet. The latest before it that was called the same is over.
    New { after: Option<SessionId> },
}

/// Without Class: NAS, User-Name and what else both state (design: never by Acct-Session-Id alone).
pub(super) async fn by_identity(
    store: &dyn Store,
    nas: &Nas,
    nas_address: IpAddr,
    request: &Request,
) -> Result<Meant, StoreError> {
    let names: Vec<_> = named(nas, request).into_iter().collect();
    Ok(choose(&store.sessions_named(&names).await?, nas_address, request))
}

/// By what the store is asked for the sessions a request may be about.
pub(super) fn named(nas: &Nas, request: &Request) -> Option<Named> {
    let acct_session_id = request.report.identity.acct_session_id.clone()?;
    Some(Named { nas: nas.name.clone(), user: user_of(request), acct_session_id })
}

/// Which of the sessions of its NAS and User-Name, newest first, a request is about.
pub(super) fn choose(sessions: &[Session], nas_address: IpAddr, request: &Request) -> Meant {
    let reported = &request.report.identity;
    let matches = |session: &&Session| {
        same_session(&session.identity, reported)
            && same_nas((&session.identity, session.nas_address), (reported, nas_address))
    };
    let same_id = |session: &&Session| session.identity.acct_session_id == reported.acct_session_id;
    let mut called_so = sessions.iter().filter(|session| same_id(session) && matches(session));
    let mut possible = called_so.clone().filter(|session| !is_of_a_later(session, request.status, &request.report));
    // Of those called the same, the one that was there at the time: a report that comes late is of the one before. Where none was, the
    // time of its beginning is not known well: a Start comes behind the Interim-Update that stood for it.
    let current =
        possible.clone().find(|session| !is_before(session, &request.report)).or_else(|| possible.next_back());
    // An offer that was dropped is taken up late by a NAS that was cut off.
    let offer = |state| sessions.iter().find(|session| session.state == state && matches(session));
    match current.or_else(|| offer(State::Offered)).or_else(|| offer(State::Dropped)) {
        Some(session) => Meant::Kept(session.id),
        None => Meant::New { after: called_so.next().map(|session| session.id) },
    }
}

/// Whether a report is of another session than this one, which is over, though it is called the same: of one that began clearly after
/// the end.
fn is_of_a_later(session: &Session, status: Status, report: &Report) -> bool {
    let Some(end) = session.end else { return false };
    let begins = status == Status::Start;
    // Without Acct-Session-Time there is only the time of the report. After a Stop that says as much; of a session whose end we presumed
    // it may say that it lives.
    let is_telling = begins || report.counters.session_time > 0 || !end.cause.is_presumed();
    // Some ends are by our clock, and the clock of the NAS may be ahead.
    let over_at = session.started_at.map_or(end.at, |start| start.max(end.at));
    is_telling && report.began_at() > over_at + REUSED_AFTER && (begins || !is_repetition(session, report))
}

/// Whether a report says again what its session said last, and not when: it may have been on its way for any time.
fn is_repetition(session: &Session, report: &Report) -> bool {
    // As a NAS counts that has 32 bits for octets.
    let narrow = |counters: Counters| Counters {
        input_octets: counters.input_octets & u64::from(u32::MAX),
        output_octets: counters.output_octets & u64::from(u32::MAX),
        ..counters
    };
    let known = if report.wraps { narrow(session.counters) } else { session.counters };
    !report.dated && known == report.counters
}

/// Whether a report is of a time clearly before this session: then it may be of the one that was called the same before.
pub(super) fn is_before(session: &Session, report: &Report) -> bool {
    session.started_at.is_some_and(|start| start > report.at + REUSED_AFTER)
}

/// The id of a session that nobody knows yet, made of what its NAS calls it in every packet: copies of a packet that come to two
/// nodes at once, and a packet that comes again from the spool, must not make two sessions of one. Neither times nor counters
/// are part of it. NASes call sessions the same again after a boot; then it comes `after` the one before.
///
/// A UUID of version 8 (RFC 9562 §5.8): first its place among others, see [`place_of`], then 74 bits of a digest of all.
pub(super) fn id_of(nas: &Nas, nas_address: IpAddr, request: &Request, after: Option<SessionId>) -> SessionId {
    let Identity { nas_port, nas_port_id, nas_ip_address, nas_identifier, calling_station_id, acct_session_id, .. } =
        &request.report.identity;
    // As `same_nas` tells devices apart that share an entry.
    let by_address = || nas_ip_address.unwrap_or(nas_address).to_string();
    let parts = [
        Some(nas.name.as_str().to_owned()),
        Some(nas_identifier.clone().unwrap_or_else(by_address)),
        Some(user_of(request).as_str().to_owned()),
        acct_session_id.clone(),
        nas_port.map(|port| port.to_string()),
        nas_port_id.clone(),
        calling_station_id.clone(),
        after.map(|session| session.to_string()),
    ];
    let mut sum = Sha256::new();
    for part in &parts {
        sum.update([u8::from(part.is_some())]);
        sum.update((part.as_ref().map_or(0, String::len) as u64).to_be_bytes());
        sum.update(part.as_deref().unwrap_or_default());
    }
    let mut octets = *id_from(sum).0.as_bytes();
    octets[..6].copy_from_slice(&place_of(acct_session_id.as_deref().unwrap_or_default()));
    SessionId(Builder::from_custom_bytes(octets).into_uuid())
}

/// No time of ours is part of it: what two nodes would not read alike cannot be.
fn id_from(sum: Sha256) -> SessionId {
    let mut octets = [0; 16];
    octets.copy_from_slice(&sum.finalize()[..16]);
    SessionId(Builder::from_random_bytes(octets).into_uuid())
}

/// The last twelve hexadecimal digits. Where a NAS counts there, or tells the time as pppd does, sessions that begin one after the other
/// stand next to each other in the store's index of ids: a batch of them writes a page of it, and not one each.
fn place_of(acct_session_id: &str) -> [u8; 6] {
    let digits = acct_session_id.chars().rev().filter_map(|character| character.to_digit(16)).take(12);
    let number = digits.zip(0..).fold(0, |number, (digit, nth)| number | u64::from(digit) << (4 * nth));
    *number.to_be_bytes().last_chunk().expect("six of eight octets")
}

pub(super) fn user_of(request: &Request) -> UserName {
    UserName::new(request.user.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use crate::session::{End, EndCause};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn start(at: i64) -> Request {
        let identity = Identity { acct_session_id: Some("a1".into()), nas_port: Some(7), ..Identity::default() };
        let report = Report { identity, at: Timestamp::from_secs(at), ..Report::default() };
        Request { status: Status::Start, user: Some("alice".into()), classes: vec![], report, disbelieved: None }
    }

    /// A report of the same session, or of one that is called so.
    fn report(status: Status, at: i64, session_time: u64, input_octets: u64) -> Request {
        let counters = Counters { session_time, input_octets, ..Counters::default() };
        let started = start(at);
        Request { status, report: Report { counters, dated: true, ..started.report }, ..started }
    }

    fn ended(session: &Session, how: impl FnOnce(&mut crate::session::Record)) -> Session {
        let mut record = session.clone().into_record();
        how(&mut record);
        Session::restore(record)
    }

    fn kept(id: SessionId, request: &Request, over_at: i64) -> Session {
        let identity = request.report.identity.clone();
        let session = Session::observe(id, "alice".into(), "edge".into(), HERE, identity, request.report.at);
        let end = End { at: Timestamp::from_secs(over_at), cause: EndCause::Stop, terminate_cause: None };
        let mut record = session.into_record();
        (record.state, record.end, record.started_at) = (State::Closed, Some(end), Some(request.report.at));
        Session::restore(record)
    }

    #[test]
    fn copies_of_a_packet_are_of_one_session_and_a_reuse_is_of_another() {
        let nas = Nas::new("edge", HERE, Secret::new("x"));
        let id = |request: &Request, after| id_of(&nas, HERE, request, after);
        let first = id(&start(1000), None);
        assert_eq!(first, id(&start(1003), None), "when it came does not matter");
        let elsewhere = IpAddr::from([192, 0, 2, 2]);
        assert_ne!(first, id_of(&nas, elsewhere, &start(1000), None));
        let mut other = start(1000);
        other.report.identity.nas_port = Some(8);
        assert_ne!(first, id(&other, None), "pppd gives two logins of one second the same Acct-Session-Id");

        let over = [kept(first, &start(1000), 1100)];
        assert_eq!(choose(&[], HERE, &start(1000)), Meant::New { after: None });
        assert_eq!(choose(&over, HERE, &start(1150)), Meant::Kept(first), "a copy that comes late");
        assert_eq!(choose(&over, HERE, &start(1161)), Meant::New { after: Some(first) });
        assert_ne!(first, id(&start(1161), Some(first)));
        assert_eq!(id(&start(1161), Some(first)), id(&start(1162), Some(first)));
    }

    /// Where these change, nodes of before and after may not run together, and what is joined by its id alone is another session from then on.
    #[test]
    fn every_build_makes_the_same_ids() {
        let nas = Nas::new("edge", HERE, Secret::new("x"));
        let first = id_of(&nas, HERE, &start(1000), None);
        let second = id_of(&nas, HERE, &start(1000), Some(first));
        assert_eq!(first.to_string(), "00000000-00a1-86ad-80aa-ae14f47ca9dd");
        assert_eq!(second.to_string(), "00000000-00a1-852b-84fa-1f9cd0f3e37a");
        assert_eq!(
            id_from(Sha256::new().chain_update(first.0.as_bytes())).to_string(),
            "aa2caca3-9f11-4845-95a0-d46808cf5ee4"
        );
    }

    #[test]
    fn ids_of_sessions_in_a_row_stand_in_a_row() {
        let place = |acct_session_id: &str| {
            let mut request = start(1000);
            request.report.identity.acct_session_id = Some(acct_session_id.into());
            let id = id_of(&Nas::new("edge", HERE, Secret::new("x")), HERE, &request, None);
            assert_eq!(id.0.get_version_num(), 8);
            u64::from_be_bytes(*id.0.as_bytes().first_chunk().unwrap()) >> 16
        };
        // pppd's, of the time, its pid and a count; a counter; one behind words; digits in one script only.
        assert_eq!(place("69C2A1B3045F00"), 0xc2a1_b304_5f00);
        assert_eq!(place("0000A1B3"), 0xa1b3);
        assert_eq!(place("jnpr xy-0/0/0.7:41:9182"), 0x0741_9182);
        assert_eq!(place("٣.12345678901234567890"), 0x9012_3456_7890);
        assert_eq!(place("–"), 0);
        assert_eq!(place(""), 0);
    }

    #[test]
    fn a_restart_ended_what_was_last_heard_of_before_it() {
        let session = |at| {
            let mut record = kept(SessionId(uuid::Uuid::nil()), &start(at), 0).into_record();
            (record.state, record.end) = (State::Observed, None);
            Session::restore(record)
        };
        let at = Timestamp::from_secs;
        let restart = Restart {
            nas: "edge".into(),
            nas_address: HERE,
            nas_ip_address: None,
            nas_identifier: Some("a".into()),
            at: at(2000),
            by_nas_clock: true,
            noted_at: at(2000),
        };
        let restarts = Restarts::new(vec![restart.clone()], Duration::from_secs(300));
        assert_eq!(restarts.ended(&session(2000), true), Some(at(2000)));
        assert_eq!(restarts.ended(&session(2001), true), None);
        // One time is by our clock and one by the NAS's.
        assert_eq!(restarts.ended(&session(1700), false), Some(at(2000)));
        assert_eq!(restarts.ended(&session(1701), false), None);
        let of = |change: fn(&mut Restart)| {
            let mut other = restart.clone();
            change(&mut other);
            Restarts::new(vec![other], Duration::ZERO).ended(&session(1000), true)
        };
        assert_eq!(of(|restart| restart.nas = "other".into()), None);
        assert_eq!(of(|restart| restart.nas_address = [192, 0, 2, 9].into()), None, "another device of the entry");
    }

    #[test]
    fn what_begins_long_after_the_session_of_its_id_is_a_later_one() {
        let nas = Arc::new(Nas::new("edge", HERE, Secret::new("x")));
        let over = kept(id_of(&nas, HERE, &start(1000), None), &start(1000), 1100);
        let origin = Origin::new(None, nas, HERE, start(1161));
        let begins = |at| Event::Started(start(at).report);
        assert_eq!(origin.of_a_later(&over, &begins(1160)), None);
        let later = origin.of_a_later(&over, &begins(1161)).unwrap();
        assert_ne!(later, over.id);
        let interim = |at, secs| Event::Interim(report(Status::InterimUpdate, at, secs, 9).report);
        assert_eq!(origin.of_a_later(&over, &interim(1260, 100)), None);
        assert_eq!(origin.of_a_later(&over, &interim(1261, 100)), Some(later));
        assert_eq!(origin.of_a_later(&over, &Event::TimerPassed), None);
    }

    #[test]
    fn a_report_that_began_long_after_the_session_of_its_id_is_of_another() {
        let id = SessionId(uuid::Uuid::from_u128(1));
        let stopped = kept(id, &start(1000), 1100);
        let presumed = ended(&stopped, |record| record.end.as_mut().unwrap().cause = EndCause::Stale);
        let chosen = |known: &Session, request: &Request| choose(std::slice::from_ref(known), HERE, request);
        for status in [Status::InterimUpdate, Status::Stop] {
            for over in [&stopped, &presumed] {
                let meant = |at, secs| chosen(over, &report(status, at, secs, 9));
                assert_eq!(
                    meant(5000, 3840),
                    Meant::Kept(id),
                    "it began as the other ended, as far as anybody can tell"
                );
                assert_eq!(meant(5000, 3839), Meant::New { after: Some(id) });
                assert_eq!(meant(1090, 90), Meant::Kept(id), "a late one");
            }
            // Without Acct-Session-Time nothing says when it began: it was no earlier than a Stop, but may contradict what we presumed.
            assert_eq!(chosen(&stopped, &report(status, 1161, 0, 9)), Meant::New { after: Some(id) });
            assert_eq!(chosen(&stopped, &report(status, 1160, 0, 9)), Meant::Kept(id));
            assert_eq!(chosen(&presumed, &report(status, 9000, 0, 9)), Meant::Kept(id));
            // What we ended by our clock, before it began by that of its NAS.
            let ahead = ended(&presumed, |record| record.started_at = Some(Timestamp::from_secs(1300)));
            assert_eq!(chosen(&ahead, &report(status, 1400, 100, 9)), Meant::Kept(id));
        }
    }

    #[test]
    fn a_copy_that_comes_at_any_time_and_does_not_say_when_is_no_other_session() {
        let id = SessionId(uuid::Uuid::from_u128(1));
        let counters = report(Status::Stop, 0, 100, (1 << 32) + 9).report.counters;
        let over = ended(&kept(id, &start(1000), 1100), |record| record.counters = counters);
        let meant = |change: fn(&mut Report)| {
            let mut copy = report(Status::Stop, 9000, 100, (1 << 32) + 9);
            copy.report.dated = false;
            change(&mut copy.report);
            choose(std::slice::from_ref(&over), HERE, &copy)
        };
        let another = Meant::New { after: Some(id) };
        assert_eq!(meant(|_| ()), Meant::Kept(id));
        assert_eq!(meant(|report| report.dated = true), another, "a copy has the same time");
        assert_eq!(meant(|report| report.counters.input_octets += 1), another);
        assert_eq!(meant(|report| (report.wraps, report.counters.input_octets) = (true, 9)), Meant::Kept(id));
        assert_eq!(meant(|report| (report.wraps, report.counters.input_octets) = (false, 9)), another);
    }

    /// docs/accounting.md tells of it.
    #[test]
    fn an_older_session_that_comes_in_whole_after_a_later_one_of_its_name_cannot_be_told_from_it() {
        let id = SessionId(uuid::Uuid::from_u128(1));
        let over = kept(id, &start(2000), 2100);
        let open = ended(&over, |record| (record.state, record.end) = (State::Observed, None));
        for later in [over, open] {
            let meant = |request: &Request| choose(std::slice::from_ref(&later), HERE, request);
            assert_eq!(meant(&start(1000)), Meant::Kept(id));
            assert_eq!(meant(&report(Status::InterimUpdate, 1050, 50, 9)), Meant::Kept(id));
            assert_eq!(meant(&report(Status::Stop, 1100, 100, 9)), Meant::Kept(id));
        }
    }

    #[test]
    fn of_sessions_called_the_same_a_report_is_of_the_one_of_its_time() {
        let [first, second] = [1, 2].map(|number| SessionId(uuid::Uuid::from_u128(number)));
        let older = kept(first, &start(1000), 1100);
        let newer = kept(second, &start(2000), 2100);
        let open = ended(&newer, |record| (record.state, record.end) = (State::Observed, None));
        for newer in [newer, open] {
            let known = [newer, older.clone()];
            let meant = |status, at, secs| choose(&known, HERE, &report(status, at, secs, 9));
            for status in [Status::InterimUpdate, Status::Stop] {
                assert_eq!(meant(status, 1100, 100), Meant::Kept(first), "it comes late, or again");
                assert_eq!(meant(status, 1500, 500), Meant::Kept(first), "it lived longer than we thought");
                assert_eq!(meant(status, 2090, 90), Meant::Kept(second));
                assert_eq!(meant(status, 2090, 0), Meant::Kept(second));
            }
            assert_eq!(meant(Status::Start, 1000, 0), Meant::Kept(first));
            assert_eq!(meant(Status::Start, 2000, 0), Meant::Kept(second));
            assert_eq!(meant(Status::Start, 1500, 0), Meant::Kept(second), "an Interim-Update stood for it");
        }
    }
}
