//! Accounting without Class: which sessions the requests of a batch may be about, asked of the store once for all of them.
//!
//! What is found counts as it was before the batch. A request that comes behind another that may be about the same session must
//! ask again, when that one is kept: [`Lookup::find`] says so.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::recall;
use crate::accounting::Request;
use crate::model::{Nas, NasName, SessionId, UserName};
use crate::session::Session;
use crate::store::{Named, Store, StoreError};

/// What a batch asks the store, and its answer.
#[derive(Default)]
pub(super) struct Lookup {
    by_user: HashMap<(NasName, UserName), Vec<Session>>,
    asked: HashSet<Named>,
    /// NAS and Acct-Session-Id, and NAS and User-Name, of what stands earlier in the batch.
    reported: HashSet<(NasName, Option<String>)>,
    offered: HashSet<(NasName, UserName)>,
}

/// What is known of a request before its batch is worked on.
pub(super) enum Found {
    /// It is about this session, or about none there is.
    Known(Option<SessionId>),
    /// What stands before it in its batch must be kept first; then the store knows.
    AskAgain,
}

impl Lookup {
    /// Asks for all requests without Class at once. What the store refuses here is asked for one by one later.
    pub(super) async fn ask<'r>(
        store: &dyn Store,
        requests: impl Iterator<Item = (&'r Nas, &'r Request)>,
    ) -> Result<Self, StoreError> {
        let asked: HashSet<Named> = requests.filter_map(|(nas, request)| recall::named(nas, request)).collect();
        if asked.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<_> = asked.iter().cloned().collect();
        let sessions = match store.sessions_named(&names).await {
            Err(error) if !matches!(error, StoreError::Away(_)) => return Ok(Self::default()),
            sessions => sessions?,
        };
        let mut lookup = Self { asked, ..Self::default() };
        for session in sessions {
            lookup.by_user.entry((session.nas.clone(), session.user.clone())).or_default().push(session);
        }
        Ok(lookup)
    }

    /// The session an Accounting-Request without Class is about.
    pub(super) fn find(&self, nas: &Nas, nas_address: IpAddr, request: &Request) -> Found {
        let known = recall::named(nas, request).is_some_and(|name| self.asked.contains(&name));
        let of_user = (nas.name.clone(), recall::user_of(request));
        if !known
            || self.offered.contains(&of_user)
            || self.reported.contains(&(nas.name.clone(), request.report.identity.acct_session_id.clone()))
        {
            return Found::AskAgain;
        }
        let sessions = self.by_user.get(&of_user).map_or(&[][..], Vec::as_slice);
        Found::Known(recall::choose(sessions, nas_address, request))
    }

    /// An Accounting-Request of the batch will be worked on before those behind it.
    pub(super) fn reported(&mut self, nas: &Nas, request: &Request) {
        self.reported.insert((nas.name.clone(), request.report.identity.acct_session_id.clone()));
    }

    /// The same of an offer.
    pub(super) fn offered(&mut self, session: &Session) {
        self.offered.insert((session.nas.clone(), session.user.clone()));
    }
}
