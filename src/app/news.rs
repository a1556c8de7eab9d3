//! Carries what other nodes change to whatever is remembered here, and shows them that this node is alive.
//!
//! Remembers nothing itself.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use super::bans::Bans;
use super::clock;
use super::orders::NewOrders;
use super::settings::SettingsHandle;
use super::trusts::Trusts;
use super::users::Users;
use crate::model::{NodeName, SessionId};
use crate::store::{News, Presence, Store, Turn};
use crate::telemetry;

/// News that may wait to be taken in.
const WAITING: usize = 1024;

/// This node's place among those that are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// Its place, from zero.
    pub place: u64,
    /// How many there are.
    pub of: u64,
}

impl Share {
    /// Whether a session is this node's to wake.
    pub(super) fn has(self, session: SessionId) -> bool {
        session.0.as_u128() % u128::from(self.of.max(1)) == u128::from(self.place)
    }
}

impl Default for Share {
    fn default() -> Self {
        Self { place: 0, of: 1 }
    }
}

/// Whatever wants to know.
pub(super) struct Hearers {
    pub users: Arc<Users>,
    pub bans: Arc<Bans>,
    pub trusts: Arc<Trusts>,
    /// NASes may have changed.
    pub nases: Arc<Notify>,
    pub new_orders: Arc<NewOrders>,
    pub share: watch::Sender<Share>,
    /// Whether it is this node's turn to poll Telegram.
    pub turn: watch::Sender<Turn>,
    pub settings: SettingsHandle,
}

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, me: Presence, hearers: Hearers) {
    let (news, mut heard) = mpsc::channel(WAITING);
    let take_in = async {
        while let Some(item) = heard.recv().await {
            hearers.take(&me.node, item);
        }
    };
    tokio::join!(store.attend(&me, news), take_in);
}

impl Hearers {
    fn take(&self, me: &NodeName, item: News) {
        match item {
            News::Hearing => {
                self.users.hear(clock::now());
                self.nases.notify_one();
                self.bans.hear();
                self.trusts.hear();
                self.new_orders.call_all();
            }
            News::Heard => self.users.heard(clock::now()),
            News::Deaf => self.users.deafen(),
            News::User(name) => {
                telemetry::count("news.user");
                self.users.forget(&name);
            }
            News::Users => self.users.forget_all(),
            News::Nases => self.nases.notify_one(),
            News::Bans => {
                telemetry::count("news.bans");
                self.bans.hear();
            }
            News::Trust => {
                telemetry::count("news.trust");
                self.trusts.hear();
            }
            News::Orders => self.new_orders.call_all(),
            // What it has not brought yet may be word of any session: none is silent for that long. Deadlines pass all the same.
            News::Draining => self.settings.listen_anew(clock::now()),
            News::Nodes(alive) => {
                let share = share(me, &alive);
                self.share.send_if_modified(|current| std::mem::replace(current, share) != share);
            }
            News::Turn(turn) => {
                self.turn.send_if_modified(|current| std::mem::replace(current, turn) != turn);
            }
        }
    }
}

fn share(me: &NodeName, alive: &[NodeName]) -> Share {
    let place = alive.iter().position(|name| name == me);
    match (place.and_then(|place| u64::try_from(place).ok()), u64::try_from(alive.len())) {
        (Some(place), Ok(of)) => Share { place, of },
        _ => Share::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_by_their_order() {
        let names = ["a", "b", "c"].map(NodeName::new);
        assert_eq!(share(&names[1], &names), Share { place: 1, of: 3 });
        assert_eq!(share(&NodeName::new("z"), &names), Share { place: 0, of: 1 }, "alone, until it is among them");
        for session in (0..30).map(|number| SessionId(uuid::Uuid::from_u128(number))) {
            assert_eq!(names.iter().filter(|name| share(name, &names).has(session)).count(), 1, "{session}");
        }
    }
}
