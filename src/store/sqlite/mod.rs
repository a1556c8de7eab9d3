//! The embedded store: one SQLite file, one writer, several readers.
//!
//! A transaction that is reported done has reached the disk (`synchronous=FULL`). Several processes may use the file at
//! once (`serve` and the command line): SQLite's own locks keep them apart, for some seconds. Not for network
//! file systems, where those locks do not hold; nodes on several hosts share PostgreSQL.

mod attempt;
mod audit;
mod ban;
mod binding;
mod checkpoints;
mod code;
mod columns;
mod commit;
mod decision;
mod edit;
mod enrolment;
mod failures;
mod group;
mod heard;
mod import;
mod links;
mod nas;
mod nodes;
mod outbox;
mod preferences;
mod prompts;
mod quarantine;
mod report;
mod restarts;
mod rows;
mod secret;
mod session;
mod strike;
mod trusts;
mod usage;
mod user;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{mpsc, watch};

use super::reports::{Asked, Cell, Report};
use super::{
    AuditEntry, AuditQuery, AuthAttempt, BanNotice, Change, Claim, Cluster, CodeTry, Committed, Due, Edit,
    EmergencyCode, Heard, Imported, Kept, KeptTotp, Named, Nearly, News, Order, OrderId, Port, Presence, QuarantineId,
    Quarantined, Restart, SessionQuery, Store, StoreError, Usage, Wake,
};
use crate::model::{
    ApproverKind, Binding, Enrolment, EnrolmentId, EnrolmentState, Group, GroupName, Language, Member, Nas, NasName,
    NodeName, Preferences, Secret, SessionId, Timestamp, User, UserName,
};
use crate::policy::{Ban, BanTarget, FailureCount, FailureKey, Prompt, Strike, Trust, TrustVoid};
use crate::session::{Lane, Session};
use crate::sqlite::pool;

use commit::Ask;

/// How long to wait for another's transaction.
const PATIENCE: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 150;
/// What the writer keeps of the file in memory, as `PRAGMA cache_size` has it (KiB, negated): the sessions that report, and the upper floors of
/// indexes.
const CACHE: &str = "-16384";
/// Rows of an answer that a connection's thread leaves before it waits until they are fetched.
const ROWS_ON_THEIR_WAY: usize = 1024;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    /// One connection: SQLite has one writer at a time, and a queue of our own is fairer than its busy handler.
    writer: SqlitePool,
    /// How often that was opened: a pool opens another when one may not be lent any more.
    opened: Arc<AtomicU64>,
    readers: SqlitePool,
    /// Tells who looks after the WAL that there is something in it. Nobody does for a store in memory.
    written: watch::Sender<()>,
}

impl SqliteStore {
    /// Opens the file, which is created when there is none, readable by its owner alone, with its directory. While it is open, a failed sync of it
    /// ends the process.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the file cannot be created or opened, [`StoreError::Away`] when others keep it locked.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create(path).map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))?;
        let options = options().filename(path);
        // That is done by `checkpoints`.
        let options = options.pragma("wal_autocheckpoint", "0");
        let writing = options.clone().journal_mode(SqliteJournalMode::Wal).pragma("cache_size", CACHE);
        let opened = Arc::default();
        let writer = first_connection(writing, &opened).await?;
        let file = checkpoints::own_descriptor(path)
            .map_err(|error| StoreError::Refused(format!("{}: {error}", path.display())))?;
        let written = watch::Sender::new(());
        let own = pool(1, PATIENCE).connect_lazy_with(options.clone());
        tokio::spawn(checkpoints::run(written.subscribe(), file, own, writer.clone()));
        let readers = pool(READERS, PATIENCE).connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self { writer, opened, readers, written })
    }

    /// A store in memory, gone when dropped.
    ///
    /// # Errors
    /// [`StoreError`] when SQLite cannot open it.
    pub async fn in_memory() -> Result<Self, StoreError> {
        // Each connection in memory is a store of its own, so that reader and writer must be the same one.
        let opened = Arc::default();
        let only = first_connection(options().in_memory(true), &opened).await?;
        Ok(Self { writer: only.clone(), opened, readers: only, written: watch::Sender::new(()) })
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // IMMEDIATE: a transaction that begins as a reader cannot wait for the lock when it comes to write.
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
        self.written.send_replace(());
        Ok(transaction)
    }

    /// Keeps changes, unless some conflict and it is not asked which.
    async fn keep(
        &self,
        changes: &[Change],
        claim: Option<&Claim>,
        ask: Ask,
        nearly: Nearly<'_>,
    ) -> Result<Option<Kept>, StoreError> {
        // Put together while others may still be writing, and not when it is this one's turn.
        let batch = commit::Batch::prepare(changes, ask);
        let mut tx = self.write().await?;
        let kept = batch.keep(&mut tx, claim).await?;
        // To write the pages down and to wait for the disk takes about as long as to put the next batch together.
        if kept.is_some() {
            nearly();
        }
        if kept.is_some() { tx.commit().await } else { tx.rollback().await }.map_err(failure)?;
        Ok(kept)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        // SQLx takes no lock for SQLite; the transaction around all of it is the lock. (`run` is the same, but its future
        // is not `Send` enough for an async trait.)
        migrations()
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| StoreError::Migration(error.to_string()))?;
        tx.commit().await.map_err(failure)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // To begin a transaction takes a lock and no disk. A disk that is full or read-only shows when something is written: here
        // a number that is SQLite's to keep and nobody's to read.
        sqlx::query("PRAGMA user_version = 1").execute(&self.writer).await.map(drop).map_err(failure)
    }

    async fn edit(&self, edits: &[Edit<'_>], acts: &[AuditEntry]) -> Result<(), StoreError> {
        edit::make(self.write().await?, edits, acts).await
    }

    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        user::find(&self.readers, name).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        user::all(&self.readers).await
    }

    async fn member(&self, name: &UserName) -> Result<Option<Member>, StoreError> {
        group::member(&self.readers, name).await
    }

    async fn members_named(&self, names: &[UserName]) -> Result<Vec<Member>, StoreError> {
        let names: BTreeSet<&UserName> = names.iter().collect();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            found.extend(self.member(name).await?);
        }
        Ok(found)
    }

    async fn members(&self, group: &GroupName) -> Result<Vec<UserName>, StoreError> {
        group::members(&self.readers, group).await
    }

    async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        group::all(&self.readers).await
    }

    async fn nases(&self) -> Result<Vec<Nas>, StoreError> {
        nas::all(&self.readers).await
    }

    async fn hand_over(&self, order: &Order, node: &NodeName, until: Timestamp) -> Result<(), StoreError> {
        links::hand_over(&self.writer, order, node, until).await
    }

    async fn keep_links(&self, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError> {
        links::keep(&self.writer, node, nases).await
    }

    async fn linked_to(&self, nas: &NasName) -> Result<Vec<NodeName>, StoreError> {
        links::nodes_of(&self.readers, nas).await
    }

    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError> {
        binding::of(&self.readers, user).await
    }

    async fn preferences(&self, approver: ApproverKind, address: &str) -> Result<Preferences, StoreError> {
        preferences::of(&self.readers, approver, address).await
    }

    async fn set_preferences(
        &self,
        approver: ApproverKind,
        address: &str,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        preferences::put(&self.writer, approver, address, preferences).await
    }

    async fn hear_language(&self, approver: ApproverKind, address: &str, heard: &Language) -> Result<(), StoreError> {
        preferences::hear(&self.writer, approver, address, heard).await
    }

    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
        session::by_id(&self.readers, ids).await
    }

    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError> {
        session::named(&self.readers, names).await
    }

    async fn sessions_on_ports(&self, ports: &[Port]) -> Result<Vec<Session>, StoreError> {
        session::on_ports(&self.readers, ports).await
    }

    async fn sessions_framed(&self, address: IpAddr) -> Result<Vec<Session>, StoreError> {
        session::framed(&self.readers, address).await
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
        session::matching(&self.readers, query).await
    }

    async fn due(&self, until: Timestamp, after: Option<Wake>, limit: u32) -> Result<Due, StoreError> {
        session::due(&self.readers, until, after, limit).await
    }

    async fn commit_claiming(
        &self,
        changes: &[Change],
        claim: Option<&Claim>,
        nearly: Nearly<'_>,
    ) -> Result<Kept, StoreError> {
        // Conflicts are rare: which changes they are about is asked when there are some.
        if let Some(kept) = self.keep(changes, claim, Ask::All, nearly).await? {
            return Ok(kept);
        }
        let told = || StoreError::Refused("SQLite did not tell which rows it wrote".to_owned());
        self.keep(changes, claim, Ask::Each, nearly).await?.ok_or_else(told)
    }

    fn keeps_side_by_side(&self) -> bool {
        false
    }

    async fn commit_act(&self, change: &Change, act: &AuditEntry) -> Result<Committed, StoreError> {
        let batch = commit::Batch::prepare(std::slice::from_ref(change), Ask::Each);
        let mut tx = self.write().await?;
        let committed = batch.keep(&mut tx, None).await?;
        let kept = committed.and_then(|kept| kept.committed.first().copied()).unwrap_or(Committed::Conflict);
        if kept == Committed::Done {
            audit::add(&mut tx, std::slice::from_ref(act)).await?;
        }
        tx.commit().await.map_err(failure)?;
        Ok(kept)
    }

    async fn claim(
        &self,
        node: &NodeName,
        lane: Option<Lane>,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError> {
        outbox::claim(&self.writer, node, lane, now, lease, limit).await
    }

    async fn disclaim(&self, claim: &Claim, sessions: &[SessionId]) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for session in sessions {
            outbox::disclaim(&mut *tx, claim, *session).await?;
        }
        tx.commit().await.map_err(failure)
    }

    async fn release(&self, node: &NodeName) -> Result<(), StoreError> {
        outbox::release(&self.writer, node).await?;
        nodes::forget(&self.writer, node).await
    }

    async fn finish(&self, orders: &[OrderId]) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for order in orders {
            outbox::strike_off(&mut *tx, *order).await?;
        }
        tx.commit().await.map_err(failure)
    }

    async fn tidy_orders(&self) -> Result<(), StoreError> {
        // Room is used again at once here.
        Ok(())
    }

    async fn postpone(&self, order: &Order, until: Timestamp, reason: &str) -> Result<(), StoreError> {
        outbox::postpone(&self.writer, order, until, reason).await
    }

    async fn attend(&self, me: &Presence, news: mpsc::Sender<News>) {
        nodes::attend(&self.writer, &self.opened, me, &news).await;
    }

    /// The server sees by itself that another process has written.
    async fn announce_orders(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn cluster(&self) -> Result<Cluster, StoreError> {
        nodes::cluster(&self.readers).await
    }

    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError> {
        let statements: Vec<_> = rows::statements(attempts, attempt::add).collect();
        let mut tx = self.write().await?;
        for statement in statements {
            rows::run(&mut tx, statement).await?;
        }
        tx.commit().await.map_err(failure)
    }

    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
        attempt::latest(&self.readers, limit).await
    }

    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError> {
        usage::of(&self.readers, session).await
    }

    async fn prepare_usage(&self, _: Timestamp) -> Result<(), StoreError> {
        // There are no partitions here.
        Ok(())
    }

    async fn retire_usage(&self, before: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let some = usage::retire(&mut tx, before).await?;
        tx.commit().await.map_err(failure)?;
        Ok(some)
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let more = session::forget(&mut tx, before).await?;
        tx.commit().await.map_err(failure)?;
        Ok(more)
    }

    async fn report(&self, report: &Report, asked: &Asked) -> Result<Vec<Vec<Cell>>, StoreError> {
        report::run(&self.readers, report, asked).await
    }

    async fn import(
        &self,
        users: &[User],
        nases: &[Nas],
        act: &AuditEntry,
        done: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Imported, StoreError> {
        import::all(self.write().await?, users, nases, act, done).await
    }

    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
        secret::keep(&self.writer, name, candidate).await
    }

    async fn note_restart(&self, restart: &Restart) -> Result<(), StoreError> {
        restarts::note(&self.writer, restart).await
    }

    async fn restarts_since(&self, nases: &[NasName], since: Timestamp) -> Result<Vec<Restart>, StoreError> {
        restarts::since(&self.readers, nases, since).await
    }

    async fn restarts_to_see_to(&self, limit: u32) -> Result<Vec<Restart>, StoreError> {
        restarts::to_see_to(&self.readers, limit).await
    }

    async fn restart_seen_to(&self, restart: &Restart) -> Result<(), StoreError> {
        restarts::seen_to(&self.writer, restart).await
    }

    async fn forget_restarts(&self, before: Timestamp) -> Result<(), StoreError> {
        restarts::forget(&self.writer, before).await
    }

    async fn sessions_before(
        &self,
        restart: &Restart,
        heard_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<SessionId>, StoreError> {
        session::before_restart(&self.readers, restart, heard_until, limit).await
    }

    async fn quarantine(&self, misfit: &Quarantined) -> Result<(), StoreError> {
        quarantine::add(&self.writer, misfit).await
    }

    async fn quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        quarantine::list(&self.readers, limit).await
    }

    async fn claim_quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        quarantine::claim(&self.writer, limit).await
    }

    async fn retry_quarantined(&self, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
        quarantine::retry(&self.writer, ids, retry).await
    }

    async fn drop_quarantined(&self, ids: &[QuarantineId]) -> Result<u64, StoreError> {
        quarantine::remove(&self.writer, ids).await
    }

    async fn bans(&self, changed_since: Timestamp) -> Result<Vec<Ban>, StoreError> {
        ban::changed(&self.readers, changed_since).await
    }

    async fn set_ban(&self, ban: &Ban, act: &AuditEntry) -> Result<bool, StoreError> {
        ban::set(self.write().await?, ban, act).await
    }

    async fn lift_ban(&self, target: &BanTarget, act: &AuditEntry) -> Result<bool, StoreError> {
        ban::lift(self.write().await?, target, act).await
    }

    async fn strikes(&self, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
        strike::since(&self.readers, since).await
    }

    async fn claim_ban_notices(
        &self,
        node: &NodeName,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<BanNotice>, StoreError> {
        ban::claim_notices(&self.writer, node, now, lease, limit).await
    }

    async fn settle_ban_notice(&self, notice: &BanNotice, again: Option<Timestamp>) -> Result<(), StoreError> {
        ban::settle_notice(&self.writer, notice, again).await
    }

    async fn add_failures(
        &self,
        counts: &[FailureCount],
        forgiven: &[FailureKey],
        forget: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        failures::add(self.write().await?, counts, forgiven, forget, now).await
    }

    async fn failures(&self, changed_since: Timestamp) -> Result<Vec<FailureCount>, StoreError> {
        failures::changed(&self.readers, changed_since).await
    }

    async fn known_places(&self, since: Timestamp, limit: u32) -> Result<Vec<(FailureKey, Timestamp)>, StoreError> {
        failures::known_places(&self.readers, since, limit).await
    }

    async fn forget_bans(&self, before: Timestamp) -> Result<(), StoreError> {
        ban::forget(self.write().await?, before).await
    }

    async fn forget_failures(&self, before: Timestamp) -> Result<bool, StoreError> {
        failures::forget(self.write().await?, before).await
    }

    async fn prompts(&self, changed_since: Timestamp) -> Result<Vec<Prompt>, StoreError> {
        prompts::changed(&self.readers, changed_since).await
    }

    async fn notice_prompts(&self, user: &UserName, window: Duration, act: &AuditEntry) -> Result<bool, StoreError> {
        prompts::notice(self.write().await?, user, window, act).await
    }

    async fn forget_prompts(&self, before: Timestamp) -> Result<(), StoreError> {
        prompts::forget(self.write().await?, before).await
    }

    async fn trust_changes(&self, since: Timestamp) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError> {
        trusts::changed(&self.readers, since).await
    }

    async fn trusted(&self, user: Option<&UserName>, now: Timestamp) -> Result<Vec<Trust>, StoreError> {
        trusts::of(&self.readers, user, now).await
    }

    async fn revoke_trust(
        &self,
        user: &UserName,
        only: Option<SessionId>,
        act: &AuditEntry,
    ) -> Result<u64, StoreError> {
        trusts::revoke(self.write().await?, user, only, act).await
    }

    async fn forget_trust(&self, before: Timestamp) -> Result<(), StoreError> {
        trusts::forget(self.write().await?, before).await
    }

    async fn audited(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        audit::matching(&self.readers, query).await
    }

    async fn prune_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        audit::prune(self.write().await?, before).await
    }

    async fn totp(&self, user: &UserName) -> Result<Option<KeptTotp>, StoreError> {
        code::totp(&self.readers, user).await
    }

    async fn enrol_totp(&self, totp: &KeptTotp, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        code::enrol(self.write().await?, totp, recovery, act).await
    }

    async fn remove_totp(&self, user: &UserName, act: &AuditEntry) -> Result<bool, StoreError> {
        code::remove(self.write().await?, user, act).await
    }

    async fn renew_recovery(&self, user: &UserName, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        code::renew_recovery(self.write().await?, user, recovery, act).await
    }

    async fn begin_code_try(&self, user: &UserName, now: Timestamp) -> Result<Option<CodeTry>, StoreError> {
        code::begin_try(&self.writer, user, now).await
    }

    async fn accept_step(&self, totp: &KeptTotp, step: u64, now: Timestamp) -> Result<bool, StoreError> {
        code::accept_step(&mut *self.writer.acquire().await.map_err(failure)?, totp, step, now).await
    }

    async fn accept_step_with(
        &self,
        totp: &KeptTotp,
        step: u64,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        code::confirm(self.write().await?, totp, step, now, act).await
    }

    async fn spend_recovery(&self, user: &UserName, hash: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        code::spend_recovery(self.write().await?, user, hash, act).await
    }

    async fn add_emergency(&self, code: &EmergencyCode, act: &AuditEntry) -> Result<(), StoreError> {
        code::add_emergency(self.write().await?, code, act).await
    }

    async fn emergencies(&self) -> Result<Vec<EmergencyCode>, StoreError> {
        code::emergencies(&self.readers).await
    }

    async fn spend_emergency(&self, hash: &str, act: &AuditEntry) -> Result<Option<EmergencyCode>, StoreError> {
        code::spend_emergency(self.write().await?, hash, act).await
    }

    async fn revoke_emergency(&self, name: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        code::revoke_emergency(self.write().await?, name, act).await
    }

    async fn spend_challenge(&self, id: &str, expires_at: Timestamp) -> Result<bool, StoreError> {
        code::spend_challenge(&self.writer, id, expires_at).await
    }

    async fn forget_codes(&self, before: Timestamp) -> Result<(), StoreError> {
        code::forget(&self.writer, before).await
    }

    async fn bindings_at(&self, approver: ApproverKind, address: &str) -> Result<Vec<Binding>, StoreError> {
        binding::at(&self.readers, approver, address).await
    }

    async fn add_enrolment(&self, enrolment: &Enrolment, act: &AuditEntry) -> Result<(), StoreError> {
        enrolment::add(self.write().await?, enrolment, act).await
    }

    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<Enrolment>, StoreError> {
        enrolment::find(&self.readers, id).await
    }

    async fn enrolment_by_token(&self, hash: &[u8]) -> Result<Option<Enrolment>, StoreError> {
        enrolment::by_token(&self.readers, hash).await
    }

    async fn enrolments_waiting(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        enrolment::waiting(&self.readers, now).await
    }

    async fn enrolments_open(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        enrolment::open(&self.readers, now).await
    }

    async fn revoke_enrolment(&self, id: EnrolmentId, act: &AuditEntry) -> Result<bool, StoreError> {
        enrolment::revoke(self.write().await?, id, act).await
    }

    async fn move_enrolment(
        &self,
        enrolment: &Enrolment,
        from: EnrolmentState,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        enrolment::advance(self.write().await?, enrolment, from, now, act).await
    }

    async fn claim_enrolment_notices(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Enrolment>, StoreError> {
        enrolment::claim_notices(&self.writer, now, lease, limit).await
    }

    async fn enrolment_told(&self, id: EnrolmentId) -> Result<(), StoreError> {
        enrolment::told(&self.writer, id).await
    }

    async fn claim_strike_notices(
        &self,
        since: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Strike>, StoreError> {
        strike::claim_notices(&self.writer, since, now, lease, limit).await
    }

    async fn strike_told(&self, session: SessionId) -> Result<(), StoreError> {
        strike::told(&self.writer, session).await
    }

    async fn begin_update(&self, channel: &str, number: i64, now: Timestamp) -> Result<Heard, StoreError> {
        heard::begin(&self.writer, channel, number, now).await
    }

    async fn finish_update(&self, channel: &str, number: i64) -> Result<(), StoreError> {
        heard::finish(&self.writer, channel, number).await
    }

    async fn forget_heard(&self, before: Timestamp) -> Result<(), StoreError> {
        heard::forget(&self.writer, before).await?;
        enrolment::forget(&self.writer, before).await
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        // A writer has each of its larger statements in several sizes, and those of small batches in several sets of them.
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS_ON_THEIR_WAY)
}

/// The writer. SQLite does not wait when two turn the same new file to WAL at once, so that this must.
async fn first_connection(options: SqliteConnectOptions, opened: &Arc<AtomicU64>) -> Result<SqlitePool, StoreError> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let opened = Arc::clone(opened);
        let pool = pool(1, PATIENCE).after_connect(move |_, _| {
            opened.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Ok(())))
        });
        match pool.connect_with(options.clone()).await.map_err(|error| StoreError::of(&error, is_busy)) {
            Err(StoreError::Away(_)) if waited < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
                waited += PAUSE;
            }
            other => return other,
        }
    }
}

/// Makes the file, with the rights it shall have (its WAL inherits them), unless it is there.
fn create(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("migrations/sqlite");
    // A newer node has been here: that its schema suits this one is the rule for writing migrations.
    migrations.set_ignore_missing(true);
    migrations
}

fn failure(error: sqlx::Error) -> StoreError {
    StoreError::of(&error, is_away)
}

/// At opening, where a file that is no file is a mistake in the address.
fn is_busy(error: &dyn DatabaseError) -> bool {
    is_away(error) && !matches!(plain_code(error), Some(8 | 14))
}

/// SQLITE_BUSY, SQLITE_LOCKED, SQLITE_NOMEM, SQLITE_READONLY (its file system was mounted anew, as after an error of the disk),
/// SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN (no more file descriptors) and SQLITE_PROTOCOL (the low octet of an extended code is
/// the plain one): not now, and nothing is wrong with what was to be kept.
fn is_away(error: &dyn DatabaseError) -> bool {
    matches!(plain_code(error), Some(5..=8 | 10 | 13..=15))
}

fn plain_code(error: &dyn DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_away_and_not_at_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("radhold.sqlite");
        SqliteStore::open(&path).await.unwrap().migrate().await.unwrap();
        let options = options().filename(&path).create_if_missing(false);
        let read_only = pool(1, PATIENCE).connect_with(options.clone().read_only(true)).await.unwrap();
        let nowhere = options.filename(directory.path());
        let store = |writer: SqlitePool| SqliteStore {
            writer: writer.clone(),
            readers: writer,
            opened: Arc::default(),
            written: watch::Sender::new(()),
        };
        for store in [store(read_only), store(pool(1, PATIENCE).connect_lazy_with(nowhere))] {
            for error in
                [store.ping().await.unwrap_err(), store.cluster_secret("key", &Secret::new("x")).await.unwrap_err()]
            {
                assert!(matches!(error, StoreError::Away(_)), "{error}");
            }
        }
    }
}
