//! Accounting without Class: which sessions the requests of a batch may be about, asked of the store once for all of them.
//!
//! What is found counts as it was before the batch. A request that comes behind another that may be about the same session must
//! ask again, when that one is kept: [`Lookup::find`] says so.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::recall::{self, Meant};
use crate::accounting::Request;
use crate::model::{Nas, NasName, UserName};
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
    /// What it is about.
    Known(Meant),
    /// What stands before it in its batch must be kept first; then the store knows.
    AskAgain,
}

impl Lookup {
    /// Asks for all requests without Class at once. What the store refuses here is asked for one by one later.
    pub(super) async fn ask<'r>(
        store: &dyn Store,
        requests: impl Iterator<Item = (&'r Nas, &'r Request)>,
    ) -> Result<Self, StoreError> {
        // Stores keep NUL as something else, so these would not be known again.
        let plain = |name: &Named| !name.user.as_str().contains('\0');
        let asked: HashSet<Named> =
            requests.filter_map(|(nas, request)| recall::named(nas, request)).filter(plain).collect();
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

    /// Whether something before it in its batch may be about the same session.
    pub(super) fn is_overtaken(&self, nas: &Nas, request: &Request) -> bool {
        self.offered.contains(&(nas.name.clone(), recall::user_of(request)))
            || self.reported.contains(&(nas.name.clone(), request.report.identity.acct_session_id.clone()))
    }

    /// The session an Accounting-Request without Class is about.
    pub(super) fn find(&self, nas: &Nas, nas_address: IpAddr, request: &Request) -> Found {
        let known = recall::named(nas, request).is_some_and(|name| self.asked.contains(&name));
        if !known || self.is_overtaken(nas, request) {
            return Found::AskAgain;
        }
        let of_user = (nas.name.clone(), recall::user_of(request));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Report, Status};
    use crate::model::{Identity, Secret, SessionId, Timestamp};
    use crate::store::sqlite::SqliteStore;

    fn start(user: &str, acct_session_id: &str) -> Request {
        let identity = Identity { acct_session_id: Some(acct_session_id.to_owned()), ..Identity::default() };
        let report = Report { identity, ..Report::default() };
        Request { status: Status::Start, user: Some(user.to_owned()), classes: vec![], report, disbelieved: None }
    }

    #[tokio::test]
    async fn what_stands_earlier_in_the_batch_must_be_kept_first() {
        let store = SqliteStore::in_memory().await.unwrap();
        store.migrate().await.unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        let nas = Nas::new("edge", here, Secret::new("x"));
        let (first, other, odd) = (start("alice", "a1"), start("bob", "b1"), start("al\0ice", "c1"));
        let batch = [&first, &other, &odd].map(|request| (&nas, request));
        let mut lookup = Lookup::ask(&store, batch.into_iter()).await.unwrap();
        let known = |lookup: &Lookup, request: &Request| {
            matches!(lookup.find(&nas, here, request), Found::Known(Meant::New { after: None }))
        };
        assert!(known(&lookup, &first) && known(&lookup, &other));
        assert!(!known(&lookup, &odd), "the store cannot have been asked for this name");
        assert!(!known(&lookup, &start("alice", "a2")), "nobody asked for this one");

        lookup.reported(&nas, &first);
        assert!(!known(&lookup, &first) && known(&lookup, &other));
        let session = SessionId(uuid::Uuid::nil());
        let now = Timestamp::default();
        lookup.offered(&Session::observe(session, "bob".into(), "edge".into(), here, Identity::default(), now));
        assert!(!known(&lookup, &other));
    }
}
