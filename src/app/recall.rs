//! Joins accounting to sessions: by Class, else by what the NAS says of it; and rebuilds what only a Class remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::settings::Settings;
use crate::accounting::{Report, Request, Status, same_nas, same_port, same_session};
use crate::model::{Identity, Nas, SessionId, Timestamp, User, UserName};
use crate::policy;
use crate::session::{Class, ClassError, ClassKey, Event, Session, State};
use crate::spool::AccountingPacket;
use crate::store::{Named, Port, Store, StoreError};
use crate::telemetry;

/// A Start this long after the end of a session with its Acct-Session-Id is of another: NASes count anew at boot.
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
        let digest = Sha256::new().chain_update(class.session.0.as_bytes()).chain_update(own.as_bytes()).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        self.class = None;
        telemetry::count("accounting.class-used-again");
        Some(SessionId(Builder::from_random_bytes(id).into_uuid()))
    }
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

/// Makes a session the store does not have.
pub(super) async fn rebuild(
    store: &dyn Store,
    settings: &Settings,
    id: SessionId,
    origin: &Origin,
) -> Result<Session, StoreError> {
    let Origin { class, nas, nas_address, user, identity, heard_at } = origin;
    let name = nas.name.clone();
    let Some(class) = class else {
        return Ok(Session::observe(id, user.clone(), name, *nas_address, identity.clone(), *heard_at));
    };
    telemetry::count("accounting.rebuilt-from-class");
    let known: Option<User> = store.user(user).await?;
    let grant = policy::recall(known.as_ref(), nas, &settings.defaults, class.waived);
    Ok(Session::offer(id, user.clone(), name, *nas_address, identity.clone(), grant, class.accepted_at))
}

/// Without Class: NAS, User-Name and what else both state (design: never by Acct-Session-Id alone).
pub(super) async fn by_identity(
    store: &dyn Store,
    nas: &Nas,
    nas_address: IpAddr,
    request: &Request,
) -> Result<Option<SessionId>, StoreError> {
    let names: Vec<_> = named(nas, request).into_iter().collect();
    Ok(choose(&store.sessions_named(&names).await?, nas_address, request))
}

/// By what the store is asked for the sessions a request may be about.
pub(super) fn named(nas: &Nas, request: &Request) -> Option<Named> {
    let acct_session_id = request.report.identity.acct_session_id.clone()?;
    Some(Named { nas: nas.name.clone(), user: user_of(request), acct_session_id })
}

/// Which of the sessions of its NAS and User-Name, newest first, a request is about.
pub(super) fn choose(sessions: &[Session], nas_address: IpAddr, request: &Request) -> Option<SessionId> {
    let reported = &request.report.identity;
    let matches = |session: &&Session| {
        same_session(&session.identity, reported)
            && same_nas((&session.identity, session.nas_address), (reported, nas_address))
    };
    let current = |session: &&Session| {
        let same_id = session.identity.acct_session_id == reported.acct_session_id;
        let reused =
            request.status == Status::Start && session.end.is_some_and(|end| request.report.at > end.at + REUSED_AFTER);
        same_id && matches(session) && !reused
    };
    // An offer that was dropped is taken up late by a NAS that was cut off.
    let offer = |state| sessions.iter().find(|session| session.state == state && matches(session));
    let session = sessions.iter().find(current).or_else(|| offer(State::Offered)).or_else(|| offer(State::Dropped));
    session.map(|session| session.id)
}

/// The id of a session that nobody knows yet, made of the packet that speaks of it first: a batch whose fate was unknown is
/// brought again from the spool, and must not make two sessions of one.
pub(super) fn id_of(packet: &AccountingPacket) -> SessionId {
    let mut sum = Sha256::new();
    sum.update((packet.nas.as_str().len() as u64).to_be_bytes());
    sum.update(packet.nas.as_str());
    sum.update(packet.source.to_string());
    sum.update(packet.received_at.as_micros().to_be_bytes());
    sum.update(&packet.packet);
    let mut octets = [0; 10];
    octets.copy_from_slice(&sum.finalize()[..10]);
    let millis = u64::try_from(packet.received_at.as_micros() / 1000).unwrap_or(0);
    SessionId(Builder::from_unix_timestamp_millis(millis, &octets).into_uuid())
}

pub(super) fn user_of(request: &Request) -> UserName {
    UserName::new(request.user.clone().unwrap_or_default())
}
