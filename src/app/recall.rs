//! Joins accounting to sessions: by Class, else by what the NAS says of it; and rebuilds what only a Class remembers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::settings::Settings;
use crate::accounting::{Report, Request, Status, same_nas, same_session};
use crate::model::{Identity, Nas, SessionId, Timestamp, User, UserName};
use crate::policy;
use crate::session::{Class, ClassError, ClassKey, Session, State};
use crate::store::{Named, Store, StoreError};
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

pub(super) fn user_of(request: &Request) -> UserName {
    UserName::new(request.user.clone().unwrap_or_default())
}
