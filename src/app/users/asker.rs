//! Asks the store for users, as many at a time as ask at once: a crowd of strangers costs a statement for some dozens of them instead of
//! one each. Nobody waits for others to come: who asks while nothing is under way is asked for alone. Remembers nobody.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::app::gathering::{Gathering, Turns};
use crate::model::{Member, UserName};
use crate::store::{Store, StoreError};

/// Users in one statement, at most.
const BATCH: usize = 64;
/// Statements under way, besides those of whole crowds (`app/door/newcomers.rs`): one is read while PostgreSQL looks for another's.
const AT_ONCE: usize = 2;

type Answer = Result<Option<Member>, StoreError>;
type Asking = (UserName, oneshot::Sender<Answer>);

/// Asks.
#[derive(Debug)]
pub(super) struct Asker {
    store: Arc<dyn Store>,
    asking: Arc<Gathering<Asking>>,
}

impl Asker {
    pub(super) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, asking: Gathering::new(BATCH, AT_ONCE) })
    }

    /// The user of that name with their groups, as they are in the store at some moment after this call.
    pub(super) async fn member(self: &Arc<Self>, name: &UserName) -> Answer {
        let (answer, answered) = oneshot::channel();
        if let Some(turns) = self.asking.add((name.clone(), answer)) {
            // Of its own, since whoever asked first may not wait to the end.
            tokio::spawn(Arc::clone(self).work(turns));
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Away("whoever asked for users ended".to_owned())))
    }

    /// Those of these names that there are, likewise, in one statement of their own.
    pub(super) async fn members(&self, names: &[UserName]) -> Result<Vec<Member>, StoreError> {
        self.store.members_named(names).await
    }

    async fn work(self: Arc<Self>, mut turns: Turns<Asking>) {
        loop {
            let mut some = turns.next();
            if some.is_empty() {
                return;
            }
            // Who waits no more is not asked for.
            some.retain(|(_, answer)| !answer.is_closed());
            self.ask(some).await;
        }
    }

    async fn ask(&self, some: Vec<Asking>) {
        let names: Vec<UserName> = some.iter().map(|(name, _)| name.clone()).collect();
        match &*names {
            [] => return,
            [_] => (),
            _ => match self.members(&names).await {
                Ok(found) => {
                    let found: HashMap<UserName, Member> =
                        found.into_iter().map(|member| (member.user.name.clone(), member)).collect();
                    for (name, answer) in some {
                        let _ = answer.send(Ok(found.get(&name).cloned()));
                    }
                    return;
                }
                Err(StoreError::Away(reason)) => {
                    for (_, answer) in some {
                        let _ = answer.send(Err(StoreError::Away(reason.clone())));
                    }
                    return;
                }
                // One of them it cannot read: the others are read alone.
                Err(_) => (),
            },
        }
        for (name, answer) in some {
            let _ = answer.send(self.store.member(&name).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Secret, Timestamp, User};
    use crate::store;

    #[tokio::test]
    async fn many_who_ask_at_once_each_get_their_own() {
        let store = store::open("sqlite::memory:").await.unwrap();
        store.migrate().await.unwrap();
        for number in 0..150 {
            let name = format!("u{number}");
            store.add_user(&User::new(name.as_str(), Secret::new("x"), Timestamp::from_secs(0))).await.unwrap();
        }
        let asker = Asker::new(store);
        for _ in 0..3 {
            let mut asking = tokio::task::JoinSet::new();
            for number in 0..600 {
                let asker = Arc::clone(&asker);
                asking.spawn(async move {
                    let name = UserName::new(format!("u{}", number % 300));
                    let member = asker.member(&name).await.unwrap();
                    assert_eq!(member.map(|member| member.user.name), (number % 300 < 150).then_some(name));
                });
            }
            asking.join_all().await;
        }
        assert!(asker.asking.disperse().is_empty());
    }
}
