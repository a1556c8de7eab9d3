//! Asks the store for users, as many at a time as ask at once: a crowd of strangers costs a statement for some dozens of them instead of
//! one each. Nobody waits for others to come: who asks while nothing is under way is asked for alone. Remembers nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::{Member, UserName};
use crate::store::{Store, StoreError};

/// Users in one statement, at most.
const BATCH: usize = 64;
/// Statements under way: one is read while PostgreSQL looks for another's. More would be smaller ones.
const AT_ONCE: usize = 2;

type Answer = Result<Option<Member>, StoreError>;

/// Asks.
#[derive(Debug)]
pub(super) struct Asker {
    store: Arc<dyn Store>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(UserName, oneshot::Sender<Answer>)>,
    under_way: usize,
}

impl Asker {
    pub(super) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, queue: Mutex::default() })
    }

    /// The user of that name with their groups, as they are in the store at some moment after this call.
    pub(super) async fn member(self: &Arc<Self>, name: &UserName) -> Answer {
        let (answer, answered) = oneshot::channel();
        let begin = {
            let mut queue = self.queue();
            queue.waiting.push((name.clone(), answer));
            let begin = queue.under_way < AT_ONCE;
            queue.under_way += usize::from(begin);
            begin
        };
        if begin {
            // Of its own, since whoever asked first may not wait to the end.
            tokio::spawn(Arc::clone(self).work());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Away("whoever asked for users ended".to_owned())))
    }

    async fn work(self: Arc<Self>) {
        let _place = Place(&self);
        loop {
            let mut some = {
                let mut queue = self.queue();
                let most = queue.waiting.len().min(BATCH);
                queue.waiting.drain(..most).collect::<Vec<_>>()
            };
            // Who waits no more is not asked for.
            some.retain(|(_, answer)| !answer.is_closed());
            if some.is_empty() && self.queue().waiting.is_empty() {
                return;
            }
            self.ask(some).await;
        }
    }

    async fn ask(&self, some: Vec<(UserName, oneshot::Sender<Answer>)>) {
        let names: Vec<UserName> = some.iter().map(|(name, _)| name.clone()).collect();
        match &*names {
            [] => return,
            [_] => (),
            _ => match self.store.members_named(&names).await {
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

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those under way; given back also by one that panics. Whoever came too late to be seen by it begins anew.
struct Place<'a>(&'a Arc<Asker>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.under_way -= 1;
        if queue.under_way == 0 && !queue.waiting.is_empty() {
            queue.under_way = 1;
            drop(queue);
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(Arc::clone(self.0).work());
            }
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
        // The last one's place is given back by a task of its own.
        while asker.queue().under_way > 0 {
            tokio::task::yield_now().await;
        }
        assert!(asker.queue().waiting.is_empty());
    }
}
