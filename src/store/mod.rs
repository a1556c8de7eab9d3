//! The store: what must survive. The only place where SQL is written.
//!
//! [`Store`] is one of our three doors. An implementation never decides who wins: it compares versions and says who came
//! second. What follows if it is wrong: a commit that is reported done but is not durable loses an order or an accounting
//! record (invariants 3 and 5); a version that is not compared lets a hold end twice (invariant 2).

mod error;
pub mod postgres;
mod records;
mod row;
pub mod sqlite;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use error::StoreError;

use crate::model::{Binding, Counters, Nas, NasName, NodeName, Secret, SessionId, Timestamp, User, UserName};
use crate::session::{Effect, Lane, Session, State};

/// Opens the store at an address: `sqlite://PATH`, `sqlite::memory:`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
///
/// A PostgreSQL that is away is not an error here: the first call that needs it says so.
///
/// # Errors
/// [`StoreError::BadAddress`] when the address is not understood, and whatever keeps a file from being opened.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", ":memory:")) => Ok(Arc::new(sqlite::SqliteStore::in_memory().await?)),
        Some(("sqlite", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(StoreError::BadAddress("sqlite:// wants the path of a file".to_owned()));
            }
            Ok(Arc::new(sqlite::SqliteStore::open(Path::new(path)).await?))
        }
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(postgres::PostgresStore::open(url)?)),
        _ => Err(StoreError::BadAddress(
            "a store is at sqlite://PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
        )),
    }
}

/// Where radhold keeps what must survive.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Brings the schema up to date. Several nodes may call this at once; each returns when it is done. A schema that is newer
    /// than this node is left as it is: migrations are such that the code before them can go on.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Answers when the store can be reached and written.
    async fn ping(&self) -> Result<(), StoreError>;

    // -- users

    /// The user of that name.
    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
    /// Adds a user; [`StoreError::Exists`] when there is one of that name.
    async fn add_user(&self, user: &User) -> Result<(), StoreError>;
    /// Replaces a user; [`StoreError::Missing`] when there is none of that name.
    async fn replace_user(&self, user: &User) -> Result<(), StoreError>;
    /// Removes a user and their bindings; [`StoreError::Missing`] when there is none. Sessions stay, as records.
    async fn remove_user(&self, name: &UserName) -> Result<(), StoreError>;

    // -- NASes

    /// All NASes, by name. Their secrets are as they were given to [`Store::add_nas`]: sealed by the caller.
    async fn nases(&self) -> Result<Vec<Nas>, StoreError>;
    /// Adds a NAS; [`StoreError::Exists`] when there is one of that name.
    async fn add_nas(&self, nas: &Nas) -> Result<(), StoreError>;
    /// Removes a NAS; [`StoreError::Missing`] when there is none.
    async fn remove_nas(&self, name: &NasName) -> Result<(), StoreError>;

    // -- where people can be asked

    /// The bindings of a user, oldest first.
    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError>;
    /// Adds a binding, or replaces the one with the same user, approver and address.
    async fn bind(&self, binding: &Binding) -> Result<(), StoreError>;
    /// Removes a binding; [`StoreError::Missing`] when there is none such.
    async fn unbind(&self, binding: &Binding) -> Result<(), StoreError>;

    // -- sessions and what they order

    /// The sessions of those ids; ids that are not known are left out.
    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError>;
    /// The sessions an Accounting-Request without Class may be about, newest Access-Accept first: for each name those with its
    /// Acct-Session-Id, and those of its user that are offered or dropped. At most some dozens of each kind.
    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError>;
    /// The sessions that match, newest Access-Accept first.
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError>;
    /// Open sessions whose wake time is not after `now`, the most overdue first. A row that makes no sense is logged and
    /// passed over: it must not keep the deadlines of all others from passing.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, StoreError>;
    /// Keeps changes, all in one transaction: each with its orders, usage and decision, or not at all. The
    /// answers stand in the order of the changes. `Err` means that nothing was kept, with one exception that no engine can
    /// spare us: a connection that broke amid COMMIT leaves it open. To repeat the changes is safe either way; if they had
    /// been kept, the repetition is a conflict.
    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError>;

    /// Takes up to `limit` orders that are due and that nobody holds, for `lease`; the oldest due first. Only those
    /// of one lane when one is given. An order that makes
    /// no sense to this node is logged and left to its lease: a newer node may understand it.
    async fn claim(
        &self,
        node: &NodeName,
        lane: Option<Lane>,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError>;
    /// Gives free what a process of that name held when it died. For the start, before anything is claimed.
    async fn release(&self, node: &NodeName) -> Result<(), StoreError>;
    /// Strikes an order off that changes no session.
    async fn finish(&self, order: OrderId) -> Result<(), StoreError>;
    /// Puts an order off until then, and gives it free.
    async fn postpone(&self, order: OrderId, until: Timestamp, reason: &str) -> Result<(), StoreError>;

    // -- records

    /// Adds authentication attempts.
    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError>;
    /// The latest attempts, newest first.
    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError>;
    /// The usage records of a session, oldest first.
    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError>;

    // -- what all nodes share

    /// A named secret of the cluster: the one kept, or `candidate` when there was none. All callers get the same.
    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError>;
}

/// Which sessions to list. Every field narrows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionQuery {
    /// Only those that may still be on their NAS.
    pub open: bool,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only this User-Name.
    pub user: Option<UserName>,
    /// Only those on this NAS.
    pub nas: Option<NasName>,
    /// Only those with this Acct-Session-Id.
    pub acct_session_id: Option<String>,
    /// At most so many; zero is all.
    pub limit: u32,
}

/// How a NAS names a session when it echoes no Class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named {
    /// The NAS.
    pub nas: NasName,
    /// User-Name.
    pub user: UserName,
    /// Acct-Session-Id. NASes repeat it.
    pub acct_session_id: String,
}

/// A session to be kept, and all that must be kept with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The session afterwards.
    pub session: Session,
    /// The version it was made from; `None` for a session that is new.
    pub from_version: Option<u64>,
    /// What of it may differ from that version.
    pub extent: Extent,
    /// When it next wants waking. When nothing but counters has changed it may be woken earlier, at the time kept before.
    pub wake_at: Option<Timestamp>,
    /// Orders that this change demands, due at once.
    pub orders: Vec<Effect>,
    /// What its counters grew by, and from when to when. The same interval of the same session again adds nothing.
    pub usage: Option<Usage>,
    /// The order whose outcome this is; struck off with it.
    pub settles: Option<OrderId>,
    /// When the change was made.
    pub at: Timestamp,
}

/// How much of a session a change is about. It lets the store write less; [`Extent::Whole`] is always right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Anything may have changed.
    Whole,
    /// Nothing but what an ordinary Interim-Update brings: version, heard_at and counters.
    Counters,
}

/// Whether a change was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Kept.
    Done,
    /// Somebody else changed the session first (or added it, or removed it). Nothing of this change was kept.
    Conflict,
}

/// The number of an order in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub i64);

/// An order in the outbox, claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its number.
    pub id: OrderId,
    /// Whose it is.
    pub session: SessionId,
    /// What is to be done.
    pub effect: Effect,
    /// How often it was claimed before.
    pub attempts: u32,
    /// When it was ordered.
    pub ordered_at: Timestamp,
}

/// What a session carried within an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The session.
    pub session: SessionId,
    /// User-Name.
    pub user: UserName,
    /// The NAS.
    pub nas: NasName,
    /// When the interval began: the report before, or the start.
    pub from: Timestamp,
    /// When it ended: the report's own time.
    pub to: Timestamp,
    /// What was added within it.
    pub added: Counters,
}

/// An Access-Request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthAttempt {
    /// When.
    pub at: Timestamp,
    /// The User-Name given, whether we know it or not.
    pub user: String,
    /// The NAS.
    pub nas: NasName,
    /// Where its packet came from.
    pub nas_address: IpAddr,
    /// Calling-Station-Id.
    pub calling_station_id: Option<String>,
    /// The method: `pap`, `chap`, `ms-chap-v1`, `ms-chap-v2`, `eap`, `none`.
    pub method: String,
    /// `accepted`, or a label that says why not.
    pub outcome: String,
    /// The session that was offered.
    pub session: Option<SessionId>,
}
