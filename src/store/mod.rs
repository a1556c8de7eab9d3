//! The store: what must survive. The only place where SQL is written.
//!
//! [`Store`] is one of our three doors. An implementation never decides who wins: it compares versions and says who came
//! second. What follows if it is wrong: a commit that is reported done but is not durable loses an order or an accounting
//! record (invariants 3 and 5); a version that is not compared lets a hold end twice (invariant 2).

mod audit;
mod ban;
mod code;
mod edit;
mod error;
pub mod freeradius;
mod guards;
mod news;
pub mod postgres;
mod records;
pub mod reports;
mod row;
pub mod sqlite;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::Ipv6Net;
use tokio::sync::mpsc;

pub use audit::{AuditEntry, AuditQuery};
pub use ban::BanNotice;
pub use code::{CodeTry, EmergencyCode, KeptTotp};
pub use edit::Edit;
pub use error::StoreError;
pub use news::{Cluster, News, NodeStatus, Options, Presence, Spooled, Turn};

use crate::model::{
    ApproverKind, Binding, Counters, Day, Enrolment, EnrolmentId, EnrolmentState, Group, GroupName, Language, Member,
    Nas, NasName, NodeName, Preferences, Secret, SessionId, Timestamp, User, UserName,
};
use crate::policy::{Ban, BanTarget, FailureCount, FailureKey, Prompt, Strike, Trust, TrustVoid};
use crate::session::{Effect, Lane, Session, State};
use reports::{Asked, Cell, Report};

/// Opens the store at an address, with the usual [`Options`]. See [`open_with`].
///
/// # Errors
/// As [`open_with`].
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    open_with(url, Options::default()).await
}

/// Opens the store at an address: `sqlite://PATH`, `sqlite::memory:`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, where
/// several hosts may stand with commas between: the first that can be written is used.
///
/// A PostgreSQL that is away is not an error here: the first call that needs it says so.
///
/// # Errors
/// [`StoreError::BadAddress`] when the address is not understood, and whatever keeps a file from being opened.
pub async fn open_with(url: &str, options: Options) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", ":memory:")) => Ok(Arc::new(sqlite::SqliteStore::in_memory().await?)),
        Some(("sqlite", path)) => {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(StoreError::BadAddress("sqlite:// wants the path of a file".to_owned()));
            }
            Ok(Arc::new(sqlite::SqliteStore::open(Path::new(path)).await?))
        }
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(postgres::PostgresStore::open(url, options)?)),
        _ => Err(StoreError::BadAddress(
            "a store is at sqlite://PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned(),
        )),
    }
}

/// Called when what is done is nearly done.
pub type Nearly<'n> = &'n (dyn Fn() + Send + Sync);

/// Where radhold keeps what must survive.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Brings the schema up to date. Several nodes may call this at once; each returns when it is done. A schema that is newer
    /// than this node is left as it is: migrations are such that the code before them can go on.
    async fn migrate(&self) -> Result<(), StoreError>;
    /// Holds back all calls but [`Store::migrate`], or does so no more: what is held back fails as if the store were away, so that nothing
    /// meets a schema that may be older than this node. `false` when this store is never away, and nothing is held back.
    fn hold_back(&self, _held: bool) -> bool {
        false
    }

    /// Answers when the store can be reached and written.
    async fn ping(&self) -> Result<(), StoreError>;

    // -- what administrators change, and who did it

    /// Makes these changes in their order and adds the acts, in one transaction: all of it, or none. What the first change that does
    /// not suit says is what this says.
    async fn edit(&self, edits: &[Edit<'_>], acts: &[AuditEntry]) -> Result<(), StoreError>;

    // -- users

    /// The user of that name.
    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError>;
    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;
    /// Adds a user, to their groups too; [`StoreError::Exists`] when there is one of that name, [`StoreError::Missing`] when there is
    /// no group of a name among theirs.
    async fn add_user(&self, user: &User) -> Result<(), StoreError> {
        Edit::AddUser(user).alone(self).await
    }
    /// Replaces a user, and which groups they are in; [`StoreError::Missing`] when there is none of that name, or no such group.
    async fn replace_user(&self, user: &User) -> Result<(), StoreError> {
        Edit::ReplaceUser(user).alone(self).await
    }
    /// Removes a user and their bindings; [`StoreError::Missing`] when there is none. Sessions stay, as records.
    async fn remove_user(&self, name: &UserName) -> Result<(), StoreError> {
        Edit::RemoveUser(name).alone(self).await
    }

    // -- groups

    /// The user of that name with the groups they are in: all that decides a login, in one look.
    async fn member(&self, name: &UserName) -> Result<Option<Member>, StoreError>;
    /// Those of these users that there are, with their groups, each once.
    async fn members_named(&self, names: &[UserName]) -> Result<Vec<Member>, StoreError>;
    /// Who is in a group, by name.
    async fn members(&self, group: &GroupName) -> Result<Vec<UserName>, StoreError>;
    /// All groups, by name.
    async fn groups(&self) -> Result<Vec<Group>, StoreError>;
    /// Adds a group; [`StoreError::Exists`] when there is one of that name.
    async fn add_group(&self, group: &Group) -> Result<(), StoreError> {
        Edit::AddGroup(group).alone(self).await
    }
    /// Replaces a group; [`StoreError::Missing`] when there is none of that name.
    async fn replace_group(&self, group: &Group) -> Result<(), StoreError> {
        Edit::ReplaceGroup(group).alone(self).await
    }
    /// Removes a group; [`StoreError::Missing`] when there is none, [`StoreError::Refused`] while it has members.
    async fn remove_group(&self, name: &GroupName) -> Result<(), StoreError> {
        Edit::RemoveGroup(name).alone(self).await
    }

    // -- NASes

    /// All NASes, by name. Their secrets are as they were given to [`Store::add_nas`]: sealed by the caller.
    async fn nases(&self) -> Result<Vec<Nas>, StoreError>;
    /// Adds a NAS; [`StoreError::Exists`] when there is one of that name.
    async fn add_nas(&self, nas: &Nas) -> Result<(), StoreError> {
        Edit::AddNas(nas).alone(self).await
    }
    /// Removes a NAS; [`StoreError::Missing`] when there is none.
    async fn remove_nas(&self, name: &NasName) -> Result<(), StoreError> {
        Edit::RemoveNas(name).alone(self).await
    }
    /// Keeps the secrets of this NAS, and nothing else of it, in the place of those there are.
    async fn rekey_nas(&self, nas: &Nas) -> Result<(), StoreError> {
        Edit::RekeyNas(nas).alone(self).await
    }

    // -- where people can be asked

    /// The bindings of a user, oldest first.
    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError>;
    /// Adds a binding, or replaces the one with the same user, approver and address.
    async fn bind(&self, binding: &Binding) -> Result<(), StoreError> {
        Edit::Bind(binding).alone(self).await
    }
    /// Removes a binding; [`StoreError::Missing`] when there is none such.
    async fn unbind(&self, binding: &Binding) -> Result<(), StoreError> {
        Edit::Unbind(binding).alone(self).await
    }

    // -- how chats want to be spoken to

    /// What a chat has said about it; the default when it has said nothing.
    async fn preferences(&self, approver: ApproverKind, address: &str) -> Result<Preferences, StoreError>;
    /// Replaces what a chat has said about it.
    async fn set_preferences(
        &self,
        approver: ApproverKind,
        address: &str,
        preferences: &Preferences,
    ) -> Result<(), StoreError>;
    /// Remembers in which language a chat was heard, and leaves alone what was chosen there.
    async fn hear_language(&self, approver: ApproverKind, address: &str, heard: &Language) -> Result<(), StoreError>;

    // -- sessions and what they order

    /// The sessions of those ids; ids that are not known are left out.
    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError>;
    /// The sessions an Accounting-Request without Class may be about, newest Access-Accept first: for each name those with its
    /// Acct-Session-Id, and those of its user that are offered or dropped. At most some dozens of each kind.
    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError>;
    /// The open sessions on any of these ports, each once, newest Access-Accept first.
    async fn sessions_on_ports(&self, ports: &[Port]) -> Result<Vec<Session>, StoreError>;
    /// The open sessions that have started and have this address: as their Framed-IP-Address or Framed-IPv6-Address, or within their
    /// Framed-IPv6-Prefix. The latest start first, at most some dozens.
    async fn sessions_framed(&self, address: IpAddr) -> Result<Vec<Session>, StoreError>;
    /// The sessions that match, newest Access-Accept first.
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError>;
    /// When open sessions want waking, the earliest first, at most `limit`: where that is not after `until`; and behind `after`, when one
    /// is given. A row that cannot be read is logged and left out.
    async fn due(&self, until: Timestamp, after: Option<Wake>, limit: u32) -> Result<Due, StoreError>;
    /// Keeps changes, all in one transaction: each with its orders, usage and decision, or not at all. The
    /// answers stand in the order of the changes. `Err` means that nothing was kept, with one exception that no engine can
    /// spare us: what was given up while it was being kept, or whose connection broke then, may be kept all the same. To repeat the changes is safe either way; if they had
    /// been kept, the repetition is a conflict.
    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        Ok(self.commit_claiming(changes, None, &|| ()).await?.committed)
    }
    /// The same; and the orders of one lane, where a claim is given, are claimed as they are added, as [`Store::claim`] claims them the
    /// first time. After an `Err` they may be claimed, and nobody knows them: see [`Store::disclaim`].
    ///
    /// `nearly` is called when only the commit is left to be done, by a store that keeps no others meanwhile: then it is time to put the
    /// next changes together. Those that come sooner only wait longer for their turn, while others could still have joined them.
    async fn commit_claiming(
        &self,
        changes: &[Change],
        claim: Option<&Claim>,
        nearly: Nearly<'_>,
    ) -> Result<Kept, StoreError>;
    /// Whether changes are kept beside others, or one transaction after the other.
    fn keeps_side_by_side(&self) -> bool;
    /// Keeps one change as [`Store::commit`] does, and in its transaction the act it comes of; the act only when the change is kept.
    async fn commit_act(&self, change: &Change, act: &AuditEntry) -> Result<Committed, StoreError>;

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
    /// Gives free what was claimed so of the orders to these sessions, unless it was claimed again since. What a transaction adds that
    /// ends later is not found: it is to be called again.
    async fn disclaim(&self, claim: &Claim, sessions: &[SessionId]) -> Result<(), StoreError>;
    /// Gives free what a process of that name holds, and forgets that it is alive. For the start, before anything is claimed
    /// (what it held when it died), and for the end.
    async fn release(&self, node: &NodeName) -> Result<(), StoreError>;
    /// Strikes orders off that change no session.
    async fn finish(&self, orders: &[OrderId]) -> Result<(), StoreError>;
    /// Gives back the room of orders that are gone, when there is much of it. To be called every few seconds.
    async fn tidy_orders(&self) -> Result<(), StoreError>;
    /// Puts an order off until then, and gives it free; but only when it is still held by the claim it came with. Somebody else's
    /// claim on it is left alone.
    async fn postpone(&self, order: &Order, until: Timestamp, reason: &str) -> Result<(), StoreError>;
    /// Gives an order free for that node alone until then, and for all after that; as [`Store::postpone`] only when it is held by the
    /// claim it came with.
    async fn hand_over(&self, order: &Order, node: &NodeName, until: Timestamp) -> Result<(), StoreError>;
    /// Says which NASes have a TLS connection to this node now; [`Store::release`] forgets them.
    async fn keep_links(&self, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError>;
    /// The nodes alive to which this NAS has a TLS connection, by name.
    async fn linked_to(&self, nas: &NasName) -> Result<Vec<NodeName>, StoreError>;

    // -- nodes

    /// Shows that this node is alive, takes over from those that are not, and tells what others change, until `news` is
    /// closed. Survives outages by itself: it says when it hears nothing, and when it hears again.
    async fn attend(&self, me: &Presence, news: mpsc::Sender<News>);
    /// Tells all nodes that there are orders, for those who commit some and do not carry them out themselves.
    async fn announce_orders(&self) -> Result<(), StoreError>;
    /// The nodes, and what waits for any of them.
    async fn cluster(&self) -> Result<Cluster, StoreError>;

    // -- records

    /// Adds authentication attempts. Those that are there already are left out: whoever does not know what became of a call makes it
    /// again.
    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError>;
    /// The latest attempts, newest first.
    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError>;
    /// The usage records of a session that is kept, oldest first. They lie between its start and its last report, give or take a day.
    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError>;

    /// Makes ready to keep the usage of that month and the two after it. To be called now and then; usage is never refused
    /// for want of it.
    async fn prepare_usage(&self, now: Timestamp) -> Result<(), StoreError>;
    /// Gives up the intervals of one month, the oldest, that ended before then, and keeps their sums by day, user and NAS.
    /// Says whether there was any: call it until there is none.
    async fn retire_usage(&self, before: Timestamp) -> Result<bool, StoreError>;
    /// Removes some of the sessions that were over before then, the oldest first, with their decisions; their usage stays. Says whether
    /// there may be more.
    async fn forget_sessions(&self, before: Timestamp) -> Result<bool, StoreError>;

    // -- reports

    /// The rows of a report, each with a cell for each of its columns. May take minutes where there is much to add up.
    async fn report(&self, report: &Report, asked: &Asked) -> Result<Vec<Vec<Cell>>, StoreError>;

    // -- import

    /// Adds all these users and NASes, or none; those whose name is taken stay as they are. Groups these users are in and that are
    /// not there are added with them, with nothing to say yet. The act is kept with them when there were any. `done` is told of each as it goes.
    async fn import(
        &self,
        users: &[User],
        nases: &[Nas],
        act: &AuditEntry,
        done: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Imported, StoreError>;

    // -- what all nodes share

    /// A named secret of the cluster: the one kept, or `candidate` when there was none. All callers get the same.
    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError>;

    // -- restarts of NASes

    /// Keeps that a NAS has restarted, unless a later restart is kept.
    async fn note_restart(&self, restart: &Restart) -> Result<(), StoreError>;
    /// The last restarts of these NASes, of those at that time or later.
    async fn restarts_since(&self, nases: &[NasName], since: Timestamp) -> Result<Vec<Restart>, StoreError>;
    /// Restarts whose sessions are not all ended, the longest known first.
    async fn restarts_to_see_to(&self, limit: u32) -> Result<Vec<Restart>, StoreError>;
    /// All sessions of before are ended.
    async fn restart_seen_to(&self, restart: &Restart) -> Result<(), StoreError>;
    /// Forgets restarts of before then whose sessions are ended.
    async fn forget_restarts(&self, before: Timestamp) -> Result<(), StoreError>;
    /// Open sessions that were accepted before a restart of their NAS, which ended them, unless they were heard of later than that; at
    /// most so many.
    async fn sessions_before(
        &self,
        restart: &Restart,
        heard_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<SessionId>, StoreError>;

    // -- quarantine

    /// Keeps an Accounting-Request that fits nowhere.
    async fn quarantine(&self, misfit: &Quarantined) -> Result<(), StoreError>;
    /// What is in quarantine, the oldest first.
    async fn quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError>;
    /// Takes the oldest of those that shall be tried again. Nobody else gets them, and nobody tries them again unless asked
    /// anew: whoever took them and could not try says so by [`Store::retry_quarantined`].
    async fn claim_quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError>;
    /// Asks for these to be tried again, by whichever node sees it first, or takes that back; says how many there were.
    async fn retry_quarantined(&self, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError>;
    /// Removes these for good; says how many there were.
    async fn drop_quarantined(&self, ids: &[QuarantineId]) -> Result<u64, StoreError>;

    // -- bans, strikes (kept by [`Store::commit`] with the end of their hold), and wrong passwords

    /// The latest ban of each target, in force, over or lifted, of those that were set or lifted at that time or later.
    async fn bans(&self, changed_since: Timestamp) -> Result<Vec<Ban>, StoreError>;
    /// Sets a ban, in the place of one with the same target, and says so in the audit record and to the NASes. An automatic
    /// one does not take the place of one that is in force: `false`, and nothing was kept.
    async fn set_ban(&self, ban: &Ban, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Lifts a ban at the time of the act. `false` when none is in force, and nothing was kept.
    async fn lift_ban(&self, target: &BanTarget, act: &AuditEntry) -> Result<bool, StoreError>;
    /// The strikes since then, oldest first; of very many the latest.
    async fn strikes(&self, since: Timestamp) -> Result<Vec<Strike>, StoreError>;
    /// Takes addresses whose NASes are to be told of a ban or its end, for `lease`; as [`Store::claim`] takes orders.
    async fn claim_ban_notices(
        &self,
        node: &NodeName,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<BanNotice>, StoreError>;
    /// Strikes a notice off, or with a time puts it off with those it says were told. A change that came meanwhile stays due.
    async fn settle_ban_notice(&self, notice: &BanNotice, again: Option<Timestamp>) -> Result<(), StoreError>;
    /// Adds wrong passwords to what all nodes counted, after forgiving others. What was quiet for `forget` begins anew.
    async fn add_failures(
        &self,
        counts: &[FailureCount],
        forgiven: &[FailureKey],
        forget: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// What all nodes counted, where it changed at that time or later; of very much the latest.
    async fn failures(&self, changed_since: Timestamp) -> Result<Vec<FailureCount>, StoreError>;
    /// Accounts with the callers they were let through from since then, and the last time of each; the latest first. May take a
    /// minute where there are many.
    async fn known_places(&self, since: Timestamp, limit: u32) -> Result<Vec<(FailureKey, Timestamp)>, StoreError>;
    /// Forgets bans that ended before then, and strikes that are older.
    async fn forget_bans(&self, before: Timestamp) -> Result<(), StoreError>;
    /// Forgets some of the failures that were quiet since before then; says whether there may be more.
    async fn forget_failures(&self, before: Timestamp) -> Result<bool, StoreError>;

    // -- guards around a prompt (prompts and trust are kept by [`Store::commit`] with their session)

    /// The prompts that began or ended at that time or later; of very many the latest.
    async fn prompts(&self, changed_since: Timestamp) -> Result<Vec<Prompt>, StoreError>;
    /// Notes that somebody is asked too often, at the time of the act: `true`, and the act is kept, unless that was noted within the
    /// window before.
    async fn notice_prompts(&self, user: &UserName, window: Duration, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Forgets prompts that changed last before then.
    async fn forget_prompts(&self, before: Timestamp) -> Result<(), StoreError>;
    /// The approvals that were remembered or taken back at that time or later, and up to when approvals are void, where that changed.
    async fn trust_changes(&self, since: Timestamp) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError>;
    /// The approvals that count now, of one user or of all, by user, the oldest first.
    async fn trusted(&self, user: Option<&UserName>, now: Timestamp) -> Result<Vec<Trust>, StoreError>;
    /// Takes back the approval of that session, or all of the user's, at the time of the act, which is kept when there were any; says
    /// how many.
    async fn revoke_trust(&self, user: &UserName, only: Option<SessionId>, act: &AuditEntry)
    -> Result<u64, StoreError>;
    /// Forgets approvals whose time was over before then.
    async fn forget_trust(&self, before: Timestamp) -> Result<(), StoreError>;

    // -- the audit record

    /// Acts, the latest first. Each was kept with what it changed, by the method that changed it.
    async fn audited(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError>;
    /// Removes acts from before then, the only way to remove any; says how many.
    async fn prune_audit(&self, before: Timestamp) -> Result<u64, StoreError>;

    // -- codes: TOTP, recovery codes, emergency codes

    /// The TOTP of a user.
    async fn totp(&self, user: &UserName) -> Result<Option<KeptTotp>, StoreError>;
    /// Gives a user TOTP, in the place of what there was, with the hashes of recovery codes; [`KeptTotp::recovery_left`] is not looked
    /// at. [`StoreError::Refused`] when there is no such user.
    async fn enrol_totp(&self, totp: &KeptTotp, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError>;
    /// Takes a user's TOTP and recovery codes away. `false` when there were none, and nothing was kept.
    async fn remove_totp(&self, user: &UserName, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Gives a user other recovery codes; [`StoreError::Missing`] when they have no TOTP.
    async fn renew_recovery(&self, user: &UserName, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError>;
    /// Counts a try of a code, whatever it will come to, and gives what it is to be compared with. To be called before a code is
    /// looked at, so that not even a volley at all nodes has more tries than there may be. `None` when the user has no TOTP.
    async fn begin_code_try(&self, user: &UserName, now: Timestamp) -> Result<Option<CodeTry>, StoreError>;
    /// Sets the step of the last code accepted, and confirms the enrolment. `false` when a code of that step or a later one was
    /// accepted before, at whichever node, or the TOTP is another by now: the code is spent.
    async fn accept_step(&self, totp: &KeptTotp, step: u64, now: Timestamp) -> Result<bool, StoreError>;
    /// The same with an act that is kept with it.
    async fn accept_step_with(
        &self,
        totp: &KeptTotp,
        step: u64,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError>;
    /// Strikes a recovery code off. `false` when there is none such, or it was used; then nothing was kept.
    async fn spend_recovery(&self, user: &UserName, hash: &str, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Adds an emergency code.
    async fn add_emergency(&self, code: &EmergencyCode, act: &AuditEntry) -> Result<(), StoreError>;
    /// All emergency codes, oldest first; those that are over too, for a while.
    async fn emergencies(&self) -> Result<Vec<EmergencyCode>, StoreError>;
    /// Uses an emergency code at the time of the act, whose detail is completed. `None` when there is none such, or none any more;
    /// then nothing was kept.
    async fn spend_emergency(&self, hash: &str, act: &AuditEntry) -> Result<Option<EmergencyCode>, StoreError>;
    /// Removes an emergency code by its name. `false` when there is none.
    async fn revoke_emergency(&self, name: &str, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Notes that the State of an Access-Challenge came back. `false` when it did before.
    async fn spend_challenge(&self, id: &str, expires_at: Timestamp) -> Result<bool, StoreError>;
    /// Forgets answered challenges and emergency codes that were over before then.
    async fn forget_codes(&self, before: Timestamp) -> Result<(), StoreError>;
    // -- enrolment, and what a bot hears

    /// The bindings of a chat, by user.
    async fn bindings_at(&self, approver: ApproverKind, address: &str) -> Result<Vec<Binding>, StoreError>;
    /// Adds an enrolment; [`StoreError::Missing`] when there is no such user.
    async fn add_enrolment(&self, enrolment: &Enrolment, act: &AuditEntry) -> Result<(), StoreError>;
    /// The enrolment of that number.
    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<Enrolment>, StoreError>;
    /// The enrolment whose token has that hash.
    async fn enrolment_by_token(&self, hash: &[u8]) -> Result<Option<Enrolment>, StoreError>;
    /// Those that wait for an administrator at that time, the longest waiting first.
    async fn enrolments_waiting(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError>;
    /// Those that may bind a chat yet: whose link nobody has taken, and those that wait for an administrator. The oldest first.
    async fn enrolments_open(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError>;
    /// Refuses an enrolment that may bind a chat yet, at the time of the act. `false` when it may not (any more); then nothing was kept.
    async fn revoke_enrolment(&self, id: EnrolmentId, act: &AuditEntry) -> Result<bool, StoreError>;
    /// Moves an enrolment to its next state, with taker and expiry, but only from the state it was in and before it expired then;
    /// whoever comes second gets `false`, and nothing was kept. One that becomes bound is bound by this, the user's other chats
    /// unbound when it replaces them; the act goes with it. `false` too when the user is gone.
    async fn move_enrolment(
        &self,
        enrolment: &Enrolment,
        from: EnrolmentState,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError>;
    /// Takes enrolments that wait and of which administrators are to be told, for `lease`.
    async fn claim_enrolment_notices(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Enrolment>, StoreError>;
    /// Administrators know of it.
    async fn enrolment_told(&self, id: EnrolmentId) -> Result<(), StoreError>;
    /// Takes denied logins since then of which administrators are to be told, for `lease`.
    async fn claim_strike_notices(
        &self,
        since: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Strike>, StoreError>;
    /// Administrators know of it.
    async fn strike_told(&self, session: SessionId) -> Result<(), StoreError>;
    /// Writes down that something a channel brought is begun, and says how it stood before.
    async fn begin_update(&self, channel: &str, number: i64, now: Timestamp) -> Result<Heard, StoreError>;
    /// Writes down that it is done.
    async fn finish_update(&self, channel: &str, number: i64) -> Result<(), StoreError>;
    /// Forgets what was heard before then, and enrolments that ended before then.
    async fn forget_heard(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// Every prefix an address can be in, as NASes state them: bits beside the prefix are zero (RFC 3162 §2.3). None of IPv4.
fn prefixes_of(address: IpAddr) -> impl Iterator<Item = Ipv6Net> {
    let of_length = |address, length| Ipv6Net::new(address, length).ok().map(|prefix| prefix.trunc());
    let v6 = match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    };
    v6.into_iter().flat_map(move |address| (1..=128).filter_map(move |length| of_length(address, length)))
}

/// How something that a channel brought stood before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is new.
    Never,
    /// It was begun, and perhaps done in part: whoever began it may have died, or is at it.
    Begun,
    /// It is done.
    Done,
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
    /// Only those with this NAS-Port.
    pub nas_port: Option<u32>,
    /// Only those with this NAS-Port-Id.
    pub nas_port_id: Option<String>,
    /// Only those whose id begins or ends so: lower-case hexadecimal digits and dashes, or there is none.
    pub id_part: Option<String>,
    /// Only those listed behind the one that was accepted then and has this id.
    pub behind: Option<(Timestamp, SessionId)>,
    /// At most so many; zero is all.
    pub limit: u32,
}

impl SessionQuery {
    /// What the id is to be like, at its beginning or at its end.
    fn id_patterns(&self) -> Option<[String; 2]> {
        let part = self.id_part.as_ref()?;
        // Nothing in it may mean something to LIKE.
        let plain = part.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        Some(if plain { [format!("{part}%"), format!("%{part}")] } else { [String::new(), String::new()] })
    }
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

/// A port of a NAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// By its NAS-Port.
    Number(NasName, u32),
    /// By its NAS-Port-Id.
    Id(NasName, String),
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
    /// What its counters grew by, and from when to when: one for each day. That a report counts once is the doing of the
    /// version: these are kept with the change or not at all.
    pub usage: Vec<Usage>,
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
    /// Nothing but what an ordinary Interim-Update brings: version, heard_at, counters and the interval between them.
    Counters,
    /// Besides, what an ordinary Stop brings: state, end, and that nothing is retried.
    End,
}

/// Whether a change was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Kept.
    Done,
    /// Somebody else changed the session first (or added it, or removed it). Nothing of this change was kept.
    Conflict,
}

/// When a session wants waking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wake {
    /// The wake time that is kept.
    pub at: Timestamp,
    /// Whose.
    pub session: SessionId,
}

/// Sessions that want waking, a page of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The earliest first.
    pub wakes: Vec<Wake>,
    /// There may be more behind them.
    pub more: bool,
}

/// For whom orders are claimed as they are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who carries them out.
    pub node: NodeName,
    /// Which orders: those of one lane.
    pub lane: Lane,
    /// When the lease is over.
    pub until: Timestamp,
}

/// What became of changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// In the order of the changes.
    pub committed: Vec<Committed>,
    /// The orders that were claimed, in the order they were added.
    pub claimed: Vec<Order>,
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

/// What a session carried within an interval, of one day.
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
    /// When it ended: the report's own time, or the end of the day.
    pub to: Timestamp,
    /// The day it counts for.
    pub day: Day,
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
    /// `accepted`; `challenged`, when a code was asked for; or a label that says why not.
    pub outcome: String,
    /// The session that was offered.
    pub session: Option<SessionId>,
    /// Drawn when it was made: with its time, what it is known by when it is recorded again. Attempts of long ago have none.
    pub nonce: Option<i64>,
}

/// How many an import added; the others were there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Users.
    pub users: u64,
    /// NASes.
    pub nases: u64,
}

/// That a NAS has restarted: Accounting-On and Accounting-Off (RFC 2866 §5.1). What it had accepted before is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The NAS.
    pub nas: NasName,
    /// Where its packet came from.
    pub nas_address: IpAddr,
    /// NAS-IP-Address. Several devices may share an entry.
    pub nas_ip_address: Option<IpAddr>,
    /// NAS-Identifier.
    pub nas_identifier: Option<String>,
    /// When it restarted.
    pub at: Timestamp,
    /// Whether that is by the clock of the NAS, which may differ from ours.
    pub by_nas_clock: bool,
    /// When we heard of it.
    pub noted_at: Timestamp,
}

impl Restart {
    /// What tells it from others that share its entry.
    pub fn device(&self) -> String {
        let address = || self.nas_ip_address.unwrap_or(self.nas_address).to_string();
        self.nas_identifier.clone().unwrap_or_else(address)
    }
}

/// The number of an Accounting-Request in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuarantineId(pub i64);

/// An Accounting-Request that could not be recorded, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The NAS.
    pub nas: NasName,
    /// Where its packet came from.
    pub nas_address: IpAddr,
    /// When.
    pub received_at: Timestamp,
    /// The packet, as it was received.
    pub packet: Vec<u8>,
    /// Why it could not be recorded.
    pub reason: String,
    /// Since when it is here.
    pub at: Timestamp,
}
