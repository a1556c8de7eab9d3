//! Joins accounting to sessions: by Class, else by what the NAS says of it; and rebuilds what only a Class remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::settings::Settings;
use crate::accounting::{Report, Request, Status, same_nas, same_session};
use crate::model::{Identity, Nas, SessionId, Timestamp, User, UserName};
use crate::policy;
use crate::session::{Class, ClassError, ClassKey, Session, State};
use crate::spool::AccountingPacket;
use crate::store::{SessionQuery, Store, StoreError};
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
    let reported = &request.report.identity;
    let query = SessionQuery {
        nas: Some(nas.name.clone()),
        user: Some(user_of(request)),
        limit: 64,
        ..SessionQuery::default()
    };
    let same_id = SessionQuery { acct_session_id: reported.acct_session_id.clone(), ..query.clone() };
    let sessions = store.sessions(&same_id).await?;
    let matches = |session: &&Session| {
        same_session(&session.identity, reported)
            && same_nas((&session.identity, session.nas_address), (reported, nas_address))
    };
    let current = |session: &&Session| {
        let reused =
            request.status == Status::Start && session.end.is_some_and(|end| request.report.at > end.at + REUSED_AFTER);
        matches(session) && !reused
    };
    if let Some(session) = sessions.iter().find(current) {
        return Ok(Some(session.id));
    }
    // An offer that was dropped is taken up late by a NAS that was cut off.
    for state in [State::Offered, State::Dropped] {
        let offers = store.sessions(&SessionQuery { state: Some(state), ..query.clone() }).await?;
        if let Some(session) = offers.iter().find(matches) {
            return Ok(Some(session.id));
        }
    }
    Ok(None)
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

fn user_of(request: &Request) -> UserName {
    UserName::new(request.user.clone().unwrap_or_default())
}
