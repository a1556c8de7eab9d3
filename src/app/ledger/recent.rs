//! Sessions as they were last written here, so that their next report need not read them. A copy may be out of date at any time, and
//! nobody is told: whoever changes one writes it over its version, and the store refuses what was made from an older one. So what
//! would write nothing must look at the store itself. Knows no store.
//!
//! Two generations: what nobody asked for while the younger one filled up goes with the older one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::SessionId;
use crate::session::Session;

/// Sessions of one generation, some kilobyte each.
const MOST: usize = 32_768;

/// The sessions remembered.
#[derive(Debug, Default)]
pub(super) struct Recent {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    sessions: HashMap<SessionId, Session>,
    /// By what their NAS calls them in every packet.
    called: HashMap<SessionId, SessionId>,
}

impl Recent {
    /// Takes a session out: what somebody works on is nobody else's to work on.
    pub(super) fn take(&self, id: SessionId) -> Option<Session> {
        let mut generations = self.lock();
        generations.young.sessions.remove(&id).or_else(|| generations.old.sessions.remove(&id))
    }

    /// The session that was called so, while it was not over.
    pub(super) fn called(&self, so: SessionId) -> Option<SessionId> {
        let generations = self.lock();
        let id = generations.young.called.get(&so).or_else(|| generations.old.called.get(&so))?;
        generations.holds(*id).then_some(*id)
    }

    /// Remembers a session as it is kept, unless it is over; and by what its NAS calls it, where it goes by that.
    pub(super) fn put(&self, session: Session, called: Option<SessionId>) {
        if session.end.is_some() {
            return;
        }
        let mut generations = self.lock();
        // Sessions that end leave their names behind.
        if generations.young.sessions.len().max(generations.young.called.len()) >= MOST {
            generations.old = std::mem::take(&mut generations.young);
        }
        if let Some(called) = called {
            generations.young.called.insert(called, session.id);
        }
        // What is not kept with a session is not remembered either.
        generations.young.sessions.insert(session.id, session.as_kept());
    }

    /// Forgets everything: the store was away, and may not be what it was.
    pub(super) fn clear(&self) {
        *self.lock() = Generations::default();
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn holds(&self, id: SessionId) -> bool {
        self.young.sessions.contains_key(&id) || self.old.sessions.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Identity, Timestamp};
    use crate::session::{End, EndCause};

    fn id(number: u128) -> SessionId {
        SessionId(uuid::Uuid::from_u128(number))
    }

    fn session(number: u128) -> Session {
        let here = std::net::IpAddr::from([192, 0, 2, 1]);
        Session::observe(id(number), "alice".into(), "edge".into(), here, Identity::default(), Timestamp::default())
    }

    #[test]
    fn what_is_in_hand_or_over_is_not_found() {
        let recent = Recent::default();
        recent.put(session(1), Some(id(100)));
        assert_eq!(recent.called(id(100)), Some(id(1)));
        let taken = recent.take(id(1)).unwrap();
        assert!(recent.called(id(100)).is_none() && recent.take(id(1)).is_none());
        let mut record = taken.into_record();
        record.end = Some(End { at: Timestamp::default(), cause: EndCause::Stop, terminate_cause: None });
        recent.put(Session::restore(record), Some(id(100)));
        assert!(recent.called(id(100)).is_none() && recent.take(id(1)).is_none());
        recent.put(session(2), None);
        recent.clear();
        assert!(recent.take(id(2)).is_none());
    }

    #[test]
    fn what_nobody_asks_for_goes_first() {
        let recent = Recent::default();
        let most = MOST as u128;
        recent.put(session(0), Some(id(u128::MAX)));
        for number in 1..=most * 2 {
            recent.put(session(number), None);
            // Asked for all the time.
            let asked_for = recent.take(id(0)).unwrap();
            recent.put(asked_for, Some(id(u128::MAX)));
        }
        assert!(recent.called(id(u128::MAX)).is_some() && recent.take(id(most * 2)).is_some());
        assert!(recent.take(id(1)).is_none());
        let generations = recent.lock();
        assert!(generations.young.sessions.len() + generations.old.sessions.len() <= 2 * MOST);
    }
}
