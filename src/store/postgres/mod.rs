//! The production store, and the only thing nodes share: any number of them against one PostgreSQL (14 or newer), or a
//! cluster that speaks its protocol and keeps its promises.
//!
//! Nodes are kept apart by row locks alone, taken in one order (see `commit.rs`); a deadlock or a failed serialization is
//! tried again here. Nothing is cached. Every call goes through `link.rs`: it finds the host that can be written, limits how long
//! a call may take, and fails at once while there is none.

mod address;
mod attempt;
mod audit;
mod ban;
mod binding;
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
mod link;
mod links;
mod nas;
mod nodes;
mod notify;
mod outbox;
mod preferences;
mod prompts;
mod quarantine;
mod report;
mod secret;
mod session;
mod strike;
mod trusts;
mod usage;
mod user;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use tokio::sync::mpsc;

use super::reports::{Asked, Cell, Report};
use super::{
    AuditEntry, AuditQuery, AuthAttempt, BanNotice, Change, Claim, Cluster, CodeTry, Committed, Due, Edit,
    EmergencyCode, Heard, Imported, Kept, KeptTotp, Named, News, Options, Order, OrderId, Port, Presence, QuarantineId,
    Quarantined, SessionQuery, Store, StoreError, Usage, Wake,
};
use crate::model::{
    ApproverKind, Binding, Enrolment, EnrolmentId, EnrolmentState, Group, GroupName, Language, Member, Nas, NasName,
    NodeName, Preferences, Secret, SessionId, Timestamp, User, UserName,
};
use crate::policy::{Ban, BanTarget, FailureCount, FailureKey, Prompt, Strike, Trust, TrustVoid};
use crate::session::{Lane, Session};

use link::Link;

/// A store in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    link: Link,
}

/// Makes a call on the pool there is, within the patience of the store.
macro_rules! on {
    ($store:ident, $pool:ident => $call:expr) => {{
        let $pool = &$store.link.pool().await?;
        $store.link.watch($call).await
    }};
}

/// The same for what commits: not while commits wait for a standby that is gone.
macro_rules! keep {
    ($store:ident, $pool:ident => $call:expr) => {{
        $store.link.may_commit()?;
        on!($store, $pool => $call)
    }};
}

/// The same for work that may take its time: each step of it says itself how long.
macro_rules! at_leisure {
    ($store:ident, $pool:ident => $call:expr) => {{
        let $pool = &$store.link.pool().await?;
        $call.await
    }};
}

impl PostgresStore {
    /// The store at `postgres://USER:PASSWORD@HOST:PORT/DATABASE`. Connects when first used, so that a node can start, and
    /// answer from what it has, while PostgreSQL is away. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::BadAddress`] when the address is not understood.
    pub fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        Ok(Self { link: Link::new(url, options)? })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        // A connection of its own: SQLx takes an advisory lock for the session, and waiting for it may outlast any limit.
        // If something fails, the lock goes with the connection.
        let mut connection = self.link.direct().await?;
        sqlx::query("SET statement_timeout = 0").execute(&mut connection).await.map_err(failure)?;
        migrations().run_direct(None, &mut connection, false).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) => failure(error),
            other => StoreError::Migration(other.to_string()),
        })?;
        connection.close().await.map_err(failure)
    }

    fn hold_back(&self, held: bool) -> bool {
        self.link.hold_back(held);
        true
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let read_only: String = on!(self, pool => async {
            sqlx::query_scalar("SELECT current_setting('transaction_read_only')").fetch_one(pool).await.map_err(failure)
        })?;
        if read_only != "off" {
            return Err(StoreError::Away("PostgreSQL is read-only: a standby?".to_owned()));
        }
        // Where such a commit waits already, another would only take one more connection.
        on!(self, pool => self.link.look_for_stuck(pool))?;
        // A commit that goes to the disk and to whichever standby must have it, and leaves nothing: where those are missing, reading
        // works. What speaks PostgreSQL's protocol and does not know this is taken at its word.
        let written = on!(self, pool => async {
            sqlx::query("SELECT pg_logical_emit_message(true, 'radhold', '')").execute(pool).await.map_err(failure)
        });
        match written {
            Err(error @ StoreError::Away(_)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn edit(&self, edits: &[Edit<'_>], acts: &[AuditEntry]) -> Result<(), StoreError> {
        keep!(self, pool => async { edit::make(pool.begin().await.map_err(failure)?, edits, acts).await })
    }

    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        on!(self, pool => user::find(pool, name))
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        on!(self, pool => user::all(pool))
    }

    async fn member(&self, name: &UserName) -> Result<Option<Member>, StoreError> {
        on!(self, pool => group::member(pool, name))
    }

    async fn members_named(&self, names: &[UserName]) -> Result<Vec<Member>, StoreError> {
        on!(self, pool => group::members_named(pool, names))
    }

    async fn members(&self, group: &GroupName) -> Result<Vec<UserName>, StoreError> {
        on!(self, pool => group::members(pool, group))
    }

    async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        on!(self, pool => group::all(pool))
    }

    async fn nases(&self) -> Result<Vec<Nas>, StoreError> {
        on!(self, pool => nas::all(pool))
    }

    async fn hand_over(&self, order: &Order, node: &NodeName, until: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => links::hand_over(pool, order, node, until))
    }

    async fn keep_links(&self, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError> {
        keep!(self, pool => links::keep(pool, node, nases))
    }

    async fn linked_to(&self, nas: &NasName) -> Result<Vec<NodeName>, StoreError> {
        on!(self, pool => links::nodes_of(pool, nas))
    }

    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError> {
        on!(self, pool => binding::of(pool, user))
    }

    async fn preferences(&self, approver: ApproverKind, address: &str) -> Result<Preferences, StoreError> {
        on!(self, pool => preferences::of(pool, approver, address))
    }

    async fn set_preferences(
        &self,
        approver: ApproverKind,
        address: &str,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        keep!(self, pool => preferences::put(pool, approver, address, preferences))
    }

    async fn hear_language(&self, approver: ApproverKind, address: &str, heard: &Language) -> Result<(), StoreError> {
        keep!(self, pool => preferences::hear(pool, approver, address, heard))
    }

    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
        on!(self, pool => session::by_id(pool, ids))
    }

    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError> {
        on!(self, pool => session::named(pool, names))
    }

    async fn sessions_on_ports(&self, ports: &[Port]) -> Result<Vec<Session>, StoreError> {
        on!(self, pool => session::on_ports(pool, ports))
    }

    async fn sessions_framed(&self, address: IpAddr) -> Result<Vec<Session>, StoreError> {
        on!(self, pool => session::framed(pool, address))
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
        on!(self, pool => session::matching(pool, query))
    }

    async fn due(&self, until: Timestamp, after: Option<Wake>, limit: u32) -> Result<Due, StoreError> {
        on!(self, pool => session::due(pool, until, after, limit))
    }

    async fn commit_claiming(&self, changes: &[Change], claim: Option<&Claim>) -> Result<Kept, StoreError> {
        keep!(self, pool => commit::commit(pool, changes, None, claim))
    }

    async fn commit_act(&self, change: &Change, act: &AuditEntry) -> Result<Committed, StoreError> {
        let committed = keep!(self, pool => commit::commit(pool, std::slice::from_ref(change), Some(act), None))?;
        Ok(committed.committed.first().copied().unwrap_or(Committed::Conflict))
    }

    async fn claim(
        &self,
        node: &NodeName,
        lane: Option<Lane>,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError> {
        keep!(self, pool => outbox::claim(pool, node, lane, now, lease, limit))
    }

    async fn disclaim(&self, claim: &Claim, sessions: &[SessionId]) -> Result<(), StoreError> {
        keep!(self, pool => outbox::disclaim(pool, claim, sessions))
    }

    async fn release(&self, node: &NodeName) -> Result<(), StoreError> {
        keep!(self, pool => outbox::release(pool, node))?;
        keep!(self, pool => nodes::forget(pool, node))
    }

    async fn finish(&self, orders: &[OrderId]) -> Result<(), StoreError> {
        keep!(self, pool => async { outbox::strike_off(pool, orders).await.map_err(failure) })
    }

    async fn tidy_orders(&self) -> Result<(), StoreError> {
        keep!(self, pool => outbox::tidy(pool))
    }

    async fn postpone(&self, order: &Order, until: Timestamp, reason: &str) -> Result<(), StoreError> {
        keep!(self, pool => outbox::postpone(pool, order, until, reason))
    }

    async fn attend(&self, me: &Presence, news: mpsc::Sender<News>) {
        notify::attend(&self.link, me, &news).await;
    }

    async fn announce_orders(&self) -> Result<(), StoreError> {
        on!(self, pool => outbox::announce(pool))
    }

    async fn cluster(&self) -> Result<Cluster, StoreError> {
        on!(self, pool => nodes::cluster(pool))
    }

    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError> {
        keep!(self, pool => attempt::add(pool, attempts))
    }

    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
        on!(self, pool => attempt::latest(pool, limit))
    }

    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError> {
        on!(self, pool => usage::of(pool, session))
    }

    async fn prepare_usage(&self, now: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => usage::add_months(pool, now))
    }

    async fn retire_usage(&self, before: Timestamp) -> Result<bool, StoreError> {
        self.link.may_commit()?;
        at_leisure!(self, pool => usage::retire(pool, before))
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<bool, StoreError> {
        keep!(self, pool => session::forget(pool, before))
    }

    async fn report(&self, report: &Report, asked: &Asked) -> Result<Vec<Vec<Cell>>, StoreError> {
        at_leisure!(self, pool => report::run(pool, report, asked))
    }

    async fn import(
        &self,
        users: &[User],
        nases: &[Nas],
        act: &AuditEntry,
        done: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Imported, StoreError> {
        self.link.may_commit()?;
        at_leisure!(self, pool => import::all(pool, users, nases, act, done))
    }

    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
        on!(self, pool => secret::keep(pool, name, candidate))
    }

    async fn quarantine(&self, misfit: &Quarantined) -> Result<(), StoreError> {
        keep!(self, pool => quarantine::add(pool, misfit))
    }

    async fn quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        on!(self, pool => quarantine::list(pool, limit))
    }

    async fn claim_quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        keep!(self, pool => quarantine::claim(pool, limit))
    }

    async fn retry_quarantined(&self, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
        keep!(self, pool => quarantine::retry(pool, ids, retry))
    }

    async fn drop_quarantined(&self, ids: &[QuarantineId]) -> Result<u64, StoreError> {
        keep!(self, pool => quarantine::remove(pool, ids))
    }

    async fn bans(&self, changed_since: Timestamp) -> Result<Vec<Ban>, StoreError> {
        on!(self, pool => ban::changed(pool, changed_since))
    }

    async fn set_ban(&self, ban: &Ban, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { ban::set(pool.begin().await.map_err(failure)?, ban, act).await })
    }

    async fn lift_ban(&self, target: &BanTarget, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { ban::lift(pool.begin().await.map_err(failure)?, target, act).await })
    }

    async fn strikes(&self, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
        on!(self, pool => strike::since(pool, since))
    }

    async fn claim_ban_notices(
        &self,
        node: &NodeName,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<BanNotice>, StoreError> {
        keep!(self, pool => ban::claim_notices(pool, node, now, lease, limit))
    }

    async fn settle_ban_notice(&self, notice: &BanNotice, again: Option<Timestamp>) -> Result<(), StoreError> {
        keep!(self, pool => ban::settle_notice(pool, notice, again))
    }

    async fn add_failures(
        &self,
        counts: &[FailureCount],
        forgiven: &[FailureKey],
        forget: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        keep!(self, pool => async { failures::add(pool.begin().await.map_err(failure)?, counts, forgiven, forget, now).await })
    }

    async fn failures(&self, changed_since: Timestamp) -> Result<Vec<FailureCount>, StoreError> {
        on!(self, pool => failures::changed(pool, changed_since))
    }

    async fn known_places(&self, since: Timestamp, limit: u32) -> Result<Vec<(FailureKey, Timestamp)>, StoreError> {
        at_leisure!(self, pool => failures::known_places(pool, since, limit))
    }

    async fn forget_bans(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => async { ban::forget(pool.begin().await.map_err(failure)?, before).await })
    }

    async fn forget_failures(&self, before: Timestamp) -> Result<bool, StoreError> {
        keep!(self, pool => failures::forget(pool, before))
    }

    async fn prompts(&self, changed_since: Timestamp) -> Result<Vec<Prompt>, StoreError> {
        on!(self, pool => prompts::changed(pool, changed_since))
    }

    async fn notice_prompts(&self, user: &UserName, window: Duration, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { prompts::notice(pool.begin().await.map_err(failure)?, user, window, act).await })
    }

    async fn forget_prompts(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => prompts::forget(pool, before))
    }

    async fn trust_changes(&self, since: Timestamp) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError> {
        on!(self, pool => trusts::changed(pool, since))
    }

    async fn trusted(&self, user: Option<&UserName>, now: Timestamp) -> Result<Vec<Trust>, StoreError> {
        on!(self, pool => trusts::of(pool, user, now))
    }

    async fn revoke_trust(
        &self,
        user: &UserName,
        only: Option<SessionId>,
        act: &AuditEntry,
    ) -> Result<u64, StoreError> {
        keep!(self, pool => async { trusts::revoke(pool.begin().await.map_err(failure)?, user, only, act).await })
    }

    async fn forget_trust(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => trusts::forget(pool, before))
    }

    async fn audited(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        on!(self, pool => audit::matching(pool, query))
    }

    async fn prune_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        keep!(self, pool => async { audit::prune(pool.begin().await.map_err(failure)?, before).await })
    }

    async fn totp(&self, user: &UserName) -> Result<Option<KeptTotp>, StoreError> {
        on!(self, pool => code::totp(pool, user))
    }

    async fn enrol_totp(&self, totp: &KeptTotp, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, pool => async { code::enrol(pool.begin().await.map_err(failure)?, totp, recovery, act).await })
    }

    async fn remove_totp(&self, user: &UserName, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { code::remove(pool.begin().await.map_err(failure)?, user, act).await })
    }

    async fn renew_recovery(&self, user: &UserName, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, pool => async { code::renew_recovery(pool.begin().await.map_err(failure)?, user, recovery, act).await })
    }

    async fn begin_code_try(&self, user: &UserName, now: Timestamp) -> Result<Option<CodeTry>, StoreError> {
        keep!(self, pool => code::begin_try(pool, user, now))
    }

    async fn accept_step(&self, totp: &KeptTotp, step: u64, now: Timestamp) -> Result<bool, StoreError> {
        keep!(self, pool => async { code::accept_step(&mut *pool.acquire().await.map_err(failure)?, totp, step, now).await })
    }

    async fn accept_step_with(
        &self,
        totp: &KeptTotp,
        step: u64,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        keep!(self, pool => async { code::confirm(pool.begin().await.map_err(failure)?, totp, step, now, act).await })
    }

    async fn spend_recovery(&self, user: &UserName, hash: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { code::spend_recovery(pool.begin().await.map_err(failure)?, user, hash, act).await })
    }

    async fn add_emergency(&self, code: &EmergencyCode, act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, pool => async { code::add_emergency(pool.begin().await.map_err(failure)?, code, act).await })
    }

    async fn emergencies(&self) -> Result<Vec<EmergencyCode>, StoreError> {
        on!(self, pool => code::emergencies(pool))
    }

    async fn spend_emergency(&self, hash: &str, act: &AuditEntry) -> Result<Option<EmergencyCode>, StoreError> {
        keep!(self, pool => async { code::spend_emergency(pool.begin().await.map_err(failure)?, hash, act).await })
    }

    async fn revoke_emergency(&self, name: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { code::revoke_emergency(pool.begin().await.map_err(failure)?, name, act).await })
    }

    async fn spend_challenge(&self, id: &str, expires_at: Timestamp) -> Result<bool, StoreError> {
        keep!(self, pool => code::spend_challenge(pool, id, expires_at))
    }

    async fn forget_codes(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => code::forget(pool, before))
    }

    async fn bindings_at(&self, approver: ApproverKind, address: &str) -> Result<Vec<Binding>, StoreError> {
        on!(self, pool => binding::at(pool, approver, address))
    }

    async fn add_enrolment(&self, enrolment: &Enrolment, act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, pool => async { enrolment::add(pool.begin().await.map_err(failure)?, enrolment, act).await })
    }

    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<Enrolment>, StoreError> {
        on!(self, pool => enrolment::find(pool, id))
    }

    async fn enrolment_by_token(&self, hash: &[u8]) -> Result<Option<Enrolment>, StoreError> {
        on!(self, pool => enrolment::by_token(pool, hash))
    }

    async fn enrolments_waiting(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        on!(self, pool => enrolment::waiting(pool, now))
    }

    async fn enrolments_open(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        on!(self, pool => enrolment::open(pool, now))
    }

    async fn revoke_enrolment(&self, id: EnrolmentId, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, pool => async { enrolment::revoke(pool.begin().await.map_err(failure)?, id, act).await })
    }

    async fn move_enrolment(
        &self,
        enrolment: &Enrolment,
        from: EnrolmentState,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        keep!(self, pool => async { enrolment::advance(pool.begin().await.map_err(failure)?, enrolment, from, now, act).await })
    }

    async fn claim_enrolment_notices(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Enrolment>, StoreError> {
        keep!(self, pool => enrolment::claim_notices(pool, now, lease, limit))
    }

    async fn enrolment_told(&self, id: EnrolmentId) -> Result<(), StoreError> {
        keep!(self, pool => enrolment::told(pool, id))
    }

    async fn claim_strike_notices(
        &self,
        since: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Strike>, StoreError> {
        keep!(self, pool => strike::claim_notices(pool, since, now, lease, limit))
    }

    async fn strike_told(&self, session: SessionId) -> Result<(), StoreError> {
        keep!(self, pool => strike::told(pool, session))
    }

    async fn begin_update(&self, channel: &str, number: i64, now: Timestamp) -> Result<Heard, StoreError> {
        keep!(self, pool => heard::begin(pool, channel, number, now))
    }

    async fn finish_update(&self, channel: &str, number: i64) -> Result<(), StoreError> {
        keep!(self, pool => heard::finish(pool, channel, number))
    }

    async fn forget_heard(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, pool => async {
            heard::forget(pool, before).await?;
            enrolment::forget(pool, before).await
        })
    }
}

fn migrations() -> Migrator {
    let mut migrations = sqlx::migrate!("migrations/postgres");
    // A newer node has been here: that its schema suits this one is the rule for writing migrations.
    migrations.set_ignore_missing(true);
    migrations
}

fn failure(error: sqlx::Error) -> StoreError {
    StoreError::of(&error, is_away)
}

/// SQLSTATEs that say: not here, or not now (PostgreSQL, appendix A).
fn is_away(error: &dyn DatabaseError) -> bool {
    let code = error.code();
    match code.as_deref().unwrap_or_default() {
        // query_canceled is what statement_timeout says; read_only_sql_transaction comes from a standby;
        // too_many_connections; idle_in_transaction_session_timeout; lock_not_available.
        "57014" | "25006" | "53300" | "25P03" | "55P03" => true,
        // connection_exception, transaction_rollback, insufficient_resources (a full disk), the server starting or stopping
        // (57P01, 57P02, 57P03), and system_error.
        other => ["08", "40", "53", "57P", "58"].iter().any(|class| other.starts_with(class)),
    }
}
