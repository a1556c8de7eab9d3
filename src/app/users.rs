//! Users, remembered for a moment so that a login needs no store, and for longer when the store is away.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use crate::model::{Timestamp, User, UserName};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// A change by another process shows here after this long.
const FRESH: Duration = Duration::from_secs(2);
/// While the store is away a user is remembered for so long, and no longer.
const STALE: Duration = Duration::from_secs(600);
/// Users remembered, at most.
const MOST: usize = 100_000;

/// The users a server has met.
#[derive(Debug)]
pub(super) struct Users {
    store: Arc<dyn Store>,
    met: DashMap<UserName, (Arc<User>, Timestamp)>,
}

impl Users {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, met: DashMap::new() }
    }

    /// The user of that name. Somebody unknown is asked for each time: they may have just been added.
    pub(super) async fn get(&self, name: &UserName, now: Timestamp) -> Result<Option<Arc<User>>, StoreError> {
        let met = self.met.get(name).map(|entry| entry.clone());
        if let Some((user, since)) = &met
            && now.since(*since) < FRESH
        {
            return Ok(Some(Arc::clone(user)));
        }
        match self.store.user(name).await {
            Ok(Some(user)) => {
                let user = Arc::new(user);
                if self.met.len() >= MOST {
                    self.met.retain(|_, (_, since)| now.since(*since) < FRESH);
                }
                self.met.insert(name.clone(), (Arc::clone(&user), now));
                Ok(Some(user))
            }
            Ok(None) => {
                self.met.remove(name);
                Ok(None)
            }
            Err(error) => match met {
                Some((user, since)) if now.since(since) < STALE => {
                    telemetry::count("user.stale");
                    Ok(Some(user))
                }
                _ => Err(error),
            },
        }
    }
}
