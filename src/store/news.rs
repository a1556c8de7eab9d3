//! What one node hears of the others, and what it shows of itself. Plain words; carries nothing anywhere.

use std::time::Duration;

use tokio::sync::watch;

use crate::model::{NodeName, Timestamp, UserName};

/// Something that others changed, or a change in how much can be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// From now on changes are heard. What was changed before may have been missed: whatever is remembered may be old.
    Hearing,
    /// Still hearing: nothing that was said before this moment has been missed.
    Heard,
    /// Nothing is heard any more, until [`News::Hearing`].
    Deaf,
    /// This user was added, changed or removed.
    User(UserName),
    /// Many users were.
    Users,
    /// NASes were added, changed or removed.
    Nases,
    /// Bans were set or lifted.
    Bans,
    /// Approvals that were remembered count no more.
    Trust,
    /// There are orders in the outbox that nobody may be at.
    Orders,
    /// Which nodes are alive, this one among them, by name.
    Nodes(Vec<NodeName>),
    /// Whose turn it is to poll Telegram.
    Turn(Turn),
    /// Another node that is alive brings records from its spool: what the store says of sessions is not all that was reported of them.
    Draining,
}

/// Whose turn something is that one node does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Another node's, or nobody's yet.
    Others,
    /// This node's.
    Ours,
    /// This node's, unless another has taken it since: the store cannot be reached, so nobody can say. While it is away
    /// for all, somebody must go on; when only this node is cut off, it finds another at work and stops.
    Unsure,
}

/// What lies in the spool of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spooled {
    /// Records that wait for the store.
    pub waiting: u64,
    /// Since when some do.
    pub since: Option<Timestamp>,
    /// Whether they are on their way: the store has taken some of them lately.
    pub draining: bool,
}

/// What a node shows of itself.
#[derive(Debug, Clone)]
pub struct Presence {
    /// Its name.
    pub node: NodeName,
    /// Its version of radhold.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The number of the turn it wants: that of its Telegram token. `None` when it polls nothing.
    pub wants_turn: Option<i64>,
    /// What lies in its spool.
    pub spooled: watch::Receiver<Spooled>,
}

/// The nodes of a store, and the work that waits for any of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// By name.
    pub nodes: Vec<NodeStatus>,
    /// Orders that are due and that nobody holds.
    pub waiting_orders: u64,
    /// For how long the oldest of them has been.
    pub oldest_waiting_s: f64,
    /// Open sessions whose wake time has passed.
    pub overdue_sessions: u64,
    /// For how long that of the most overdue has.
    pub most_overdue_s: f64,
}

/// How one node is.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Its name.
    pub name: NodeName,
    /// Whether it has given a sign of life lately.
    pub alive: bool,
    /// Its version of radhold.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago the store last heard of it, by the store's clock; in seconds.
    pub seen_s: f64,
    /// How long its last sign of life took to be kept; in seconds.
    pub lag_s: f64,
    /// Orders it holds.
    pub leases: u64,
    /// When the last of these leases ends.
    pub leased_until: Option<Timestamp>,
    /// Whether it is the one that polls Telegram.
    pub polls_telegram: bool,
    /// Records in its spool when it was last heard of.
    pub spooled: u64,
    /// Since when some were there.
    pub spooled_since: Option<Timestamp>,
}

/// How a store is reached, beyond its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the one connection goes that must not be shared out by a pooler (LISTEN, advisory locks); `None` is the same
    /// address. PostgreSQL only.
    pub direct_url: Option<String>,
    /// How many connections at most. PostgreSQL only.
    pub connections: u32,
    /// How long a call may take, waiting for a connection included. PostgreSQL only.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { direct_url: None, connections: 10, patience: Duration::from_secs(5) }
    }
}
