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
mod pool;
mod preferences;
mod prompts;
mod quarantine;
mod report;
mod restarts;
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
    EmergencyCode, Heard, Imported, Kept, KeptTotp, Named, Nearly, News, Options, Order, OrderId, Port, Presence,
    QuarantineId, Quarantined, Restart, SessionQuery, Store, StoreError, Usage, Wake,
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

/// Makes a call on a connection of the pool there is, within the patience of the store.
macro_rules! on {
    ($store:ident, $connection:ident => $call:expr) => {{
        let pool = $store.link.pool().await?;
        $store.link.watch(lent!(pool, $connection => $call)).await
    }};
}

/// The same for what commits: not while commits wait for a standby that is gone.
macro_rules! keep {
    ($store:ident, $connection:ident => $call:expr) => {{
        $store.link.may_commit()?;
        on!($store, $connection => $call)
    }};
}

/// The same for work that may take its time: each step of it says itself how long.
macro_rules! at_leisure {
    ($store:ident, $connection:ident => $call:expr) => {{
        let pool = $store.link.pool().await?;
        lent!(pool, $connection => $call).await
    }};
}

/// A call on a connection that is lent to it.
macro_rules! lent {
    ($pool:ident, $connection:ident => $call:expr) => {
        async {
            let mut lent = $pool.lend().await?;
            let $connection = &mut *lent;
            let result = $call.await;
            lent.settle(&result);
            result
        }
    };
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
        let read_only: String = on!(self, connection => async {
            let asked = "SELECT current_setting('transaction_read_only')";
            sqlx::query_scalar(asked).fetch_one(&mut *connection).await.map_err(failure)
        })?;
        if read_only != "off" {
            return Err(StoreError::Away("PostgreSQL is read-only: a standby?".to_owned()));
        }
        // Where such a commit waits already, another would only take one more connection.
        on!(self, connection => self.link.look_for_stuck(connection))?;
        // A commit that goes to the disk and to whichever standby must have it, and leaves nothing: where those are missing, reading
        // works. What speaks PostgreSQL's protocol and does not know this is taken at its word.
        let written = on!(self, connection => async {
            sqlx::query("SELECT pg_logical_emit_message(true, 'radhold', '')").execute(connection).await.map_err(failure)
        });
        match written {
            Err(error @ StoreError::Away(_)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn edit(&self, edits: &[Edit<'_>], acts: &[AuditEntry]) -> Result<(), StoreError> {
        keep!(self, connection => async { edit::make(connection.begin().await.map_err(failure)?, edits, acts).await })
    }

    async fn user(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        on!(self, connection => user::find(connection, name))
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        on!(self, connection => user::all(connection))
    }

    async fn member(&self, name: &UserName) -> Result<Option<Member>, StoreError> {
        on!(self, connection => group::member(connection, name))
    }

    async fn members_named(&self, names: &[UserName]) -> Result<Vec<Member>, StoreError> {
        on!(self, connection => group::members_named(connection, names))
    }

    async fn members(&self, group: &GroupName) -> Result<Vec<UserName>, StoreError> {
        on!(self, connection => group::members(connection, group))
    }

    async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        on!(self, connection => group::all(connection))
    }

    async fn nases(&self) -> Result<Vec<Nas>, StoreError> {
        on!(self, connection => nas::all(connection))
    }

    async fn hand_over(&self, order: &Order, node: &NodeName, until: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => links::hand_over(connection, order, node, until))
    }

    async fn keep_links(&self, node: &NodeName, nases: &[NasName]) -> Result<(), StoreError> {
        keep!(self, connection => links::keep(connection, node, nases))
    }

    async fn linked_to(&self, nas: &NasName) -> Result<Vec<NodeName>, StoreError> {
        on!(self, connection => links::nodes_of(connection, nas))
    }

    async fn bindings(&self, user: &UserName) -> Result<Vec<Binding>, StoreError> {
        on!(self, connection => binding::of(connection, user))
    }

    async fn preferences(&self, approver: ApproverKind, address: &str) -> Result<Preferences, StoreError> {
        on!(self, connection => preferences::of(connection, approver, address))
    }

    async fn set_preferences(
        &self,
        approver: ApproverKind,
        address: &str,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        keep!(self, connection => preferences::put(connection, approver, address, preferences))
    }

    async fn hear_language(&self, approver: ApproverKind, address: &str, heard: &Language) -> Result<(), StoreError> {
        keep!(self, connection => preferences::hear(connection, approver, address, heard))
    }

    async fn sessions_by_id(&self, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
        on!(self, connection => session::by_id(connection, ids))
    }

    async fn sessions_named(&self, names: &[Named]) -> Result<Vec<Session>, StoreError> {
        on!(self, connection => session::named(connection, names))
    }

    async fn sessions_on_ports(&self, ports: &[Port]) -> Result<Vec<Session>, StoreError> {
        on!(self, connection => session::on_ports(connection, ports))
    }

    async fn sessions_framed(&self, address: IpAddr) -> Result<Vec<Session>, StoreError> {
        on!(self, connection => session::framed(connection, address))
    }

    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
        on!(self, connection => session::matching(connection, query))
    }

    async fn due(&self, until: Timestamp, after: Option<Wake>, limit: u32) -> Result<Due, StoreError> {
        on!(self, connection => session::due(connection, until, after, limit))
    }

    async fn commit_claiming(
        &self,
        changes: &[Change],
        claim: Option<&Claim>,
        _nearly: Nearly<'_>,
    ) -> Result<Kept, StoreError> {
        keep!(self, connection => commit::commit(connection, changes, None, claim))
    }

    fn keeps_side_by_side(&self) -> bool {
        true
    }

    async fn commit_act(&self, change: &Change, act: &AuditEntry) -> Result<Committed, StoreError> {
        let committed =
            keep!(self, connection => commit::commit(connection, std::slice::from_ref(change), Some(act), None))?;
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
        keep!(self, connection => outbox::claim(connection, node, lane, now, lease, limit))
    }

    async fn disclaim(&self, claim: &Claim, sessions: &[SessionId]) -> Result<(), StoreError> {
        keep!(self, connection => outbox::disclaim(connection, claim, sessions))
    }

    async fn release(&self, node: &NodeName) -> Result<(), StoreError> {
        keep!(self, connection => outbox::release(connection, node))?;
        keep!(self, connection => nodes::forget(connection, node))
    }

    async fn finish(&self, orders: &[OrderId]) -> Result<(), StoreError> {
        keep!(self, connection => async { outbox::strike_off(connection, orders).await.map_err(failure) })
    }

    async fn tidy_orders(&self) -> Result<(), StoreError> {
        keep!(self, connection => outbox::tidy(connection))
    }

    async fn postpone(&self, order: &Order, until: Timestamp, reason: &str) -> Result<(), StoreError> {
        keep!(self, connection => outbox::postpone(connection, order, until, reason))
    }

    async fn attend(&self, me: &Presence, news: mpsc::Sender<News>) {
        notify::attend(&self.link, me, &news).await;
    }

    async fn announce_orders(&self) -> Result<(), StoreError> {
        on!(self, connection => outbox::announce(connection))
    }

    async fn cluster(&self) -> Result<Cluster, StoreError> {
        on!(self, connection => nodes::cluster(connection))
    }

    async fn record_attempts(&self, attempts: &[AuthAttempt]) -> Result<(), StoreError> {
        keep!(self, connection => attempt::add(connection, attempts))
    }

    async fn attempts(&self, limit: u32) -> Result<Vec<AuthAttempt>, StoreError> {
        on!(self, connection => attempt::latest(connection, limit))
    }

    async fn usage(&self, session: SessionId) -> Result<Vec<Usage>, StoreError> {
        on!(self, connection => usage::of(connection, session))
    }

    async fn prepare_usage(&self, now: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => usage::add_months(connection, now))
    }

    async fn retire_usage(&self, before: Timestamp) -> Result<bool, StoreError> {
        self.link.may_commit()?;
        at_leisure!(self, connection => usage::retire(connection, before))
    }

    async fn forget_sessions(&self, before: Timestamp) -> Result<bool, StoreError> {
        keep!(self, connection => session::forget(connection, before))
    }

    async fn report(&self, report: &Report, asked: &Asked) -> Result<Vec<Vec<Cell>>, StoreError> {
        at_leisure!(self, connection => report::run(connection, report, asked))
    }

    async fn import(
        &self,
        users: &[User],
        nases: &[Nas],
        act: &AuditEntry,
        done: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Imported, StoreError> {
        self.link.may_commit()?;
        at_leisure!(self, connection => import::all(connection, users, nases, act, done))
    }

    async fn cluster_secret(&self, name: &str, candidate: &Secret) -> Result<Secret, StoreError> {
        on!(self, connection => secret::keep(connection, name, candidate))
    }

    async fn note_restart(&self, restart: &Restart) -> Result<(), StoreError> {
        keep!(self, connection => restarts::note(connection, restart))
    }

    async fn restarts_since(&self, nases: &[NasName], since: Timestamp) -> Result<Vec<Restart>, StoreError> {
        on!(self, connection => restarts::since(connection, nases, since))
    }

    async fn restarts_to_see_to(&self, limit: u32) -> Result<Vec<Restart>, StoreError> {
        on!(self, connection => restarts::to_see_to(connection, limit))
    }

    async fn restart_seen_to(&self, restart: &Restart) -> Result<(), StoreError> {
        keep!(self, connection => restarts::seen_to(connection, restart))
    }

    async fn forget_restarts(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => restarts::forget(connection, before))
    }

    async fn sessions_before(
        &self,
        restart: &Restart,
        heard_until: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<SessionId>, StoreError> {
        on!(self, connection => session::before_restart(connection, restart, heard_until, limit))
    }

    async fn quarantine(&self, misfit: &Quarantined) -> Result<(), StoreError> {
        keep!(self, connection => quarantine::add(connection, misfit))
    }

    async fn quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        on!(self, connection => quarantine::list(connection, limit))
    }

    async fn claim_quarantined(&self, limit: u32) -> Result<Vec<(QuarantineId, Quarantined)>, StoreError> {
        keep!(self, connection => quarantine::claim(connection, limit))
    }

    async fn retry_quarantined(&self, ids: &[QuarantineId], retry: bool) -> Result<u64, StoreError> {
        keep!(self, connection => quarantine::retry(connection, ids, retry))
    }

    async fn drop_quarantined(&self, ids: &[QuarantineId]) -> Result<u64, StoreError> {
        keep!(self, connection => quarantine::remove(connection, ids))
    }

    async fn bans(&self, changed_since: Timestamp) -> Result<Vec<Ban>, StoreError> {
        on!(self, connection => ban::changed(connection, changed_since))
    }

    async fn set_ban(&self, ban: &Ban, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { ban::set(connection.begin().await.map_err(failure)?, ban, act).await })
    }

    async fn lift_ban(&self, target: &BanTarget, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { ban::lift(connection.begin().await.map_err(failure)?, target, act).await })
    }

    async fn strikes(&self, since: Timestamp) -> Result<Vec<Strike>, StoreError> {
        on!(self, connection => strike::since(connection, since))
    }

    async fn claim_ban_notices(
        &self,
        node: &NodeName,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<BanNotice>, StoreError> {
        keep!(self, connection => ban::claim_notices(connection, node, now, lease, limit))
    }

    async fn settle_ban_notice(&self, notice: &BanNotice, again: Option<Timestamp>) -> Result<(), StoreError> {
        keep!(self, connection => ban::settle_notice(connection, notice, again))
    }

    async fn add_failures(
        &self,
        counts: &[FailureCount],
        forgiven: &[FailureKey],
        forget: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        keep!(self, connection => async { failures::add(connection.begin().await.map_err(failure)?, counts, forgiven, forget, now).await })
    }

    async fn failures(&self, changed_since: Timestamp) -> Result<Vec<FailureCount>, StoreError> {
        on!(self, connection => failures::changed(connection, changed_since))
    }

    async fn known_places(&self, since: Timestamp, limit: u32) -> Result<Vec<(FailureKey, Timestamp)>, StoreError> {
        at_leisure!(self, connection => failures::known_places(connection, since, limit))
    }

    async fn forget_bans(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => async { ban::forget(connection.begin().await.map_err(failure)?, before).await })
    }

    async fn forget_failures(&self, before: Timestamp) -> Result<bool, StoreError> {
        keep!(self, connection => failures::forget(connection, before))
    }

    async fn prompts(&self, changed_since: Timestamp) -> Result<Vec<Prompt>, StoreError> {
        on!(self, connection => prompts::changed(connection, changed_since))
    }

    async fn notice_prompts(&self, user: &UserName, window: Duration, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { prompts::notice(connection.begin().await.map_err(failure)?, user, window, act).await })
    }

    async fn forget_prompts(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => prompts::forget(connection, before))
    }

    async fn trust_changes(&self, since: Timestamp) -> Result<(Vec<Trust>, Vec<TrustVoid>), StoreError> {
        on!(self, connection => trusts::changed(connection, since))
    }

    async fn trusted(&self, user: Option<&UserName>, now: Timestamp) -> Result<Vec<Trust>, StoreError> {
        on!(self, connection => trusts::of(connection, user, now))
    }

    async fn revoke_trust(
        &self,
        user: &UserName,
        only: Option<SessionId>,
        act: &AuditEntry,
    ) -> Result<u64, StoreError> {
        keep!(self, connection => async { trusts::revoke(connection.begin().await.map_err(failure)?, user, only, act).await })
    }

    async fn forget_trust(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => trusts::forget(connection, before))
    }

    async fn audited(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StoreError> {
        on!(self, connection => audit::matching(connection, query))
    }

    async fn prune_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        keep!(self, connection => async { audit::prune(connection.begin().await.map_err(failure)?, before).await })
    }

    async fn totp(&self, user: &UserName) -> Result<Option<KeptTotp>, StoreError> {
        on!(self, connection => code::totp(connection, user))
    }

    async fn enrol_totp(&self, totp: &KeptTotp, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, connection => async { code::enrol(connection.begin().await.map_err(failure)?, totp, recovery, act).await })
    }

    async fn remove_totp(&self, user: &UserName, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { code::remove(connection.begin().await.map_err(failure)?, user, act).await })
    }

    async fn renew_recovery(&self, user: &UserName, recovery: &[String], act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, connection => async { code::renew_recovery(connection.begin().await.map_err(failure)?, user, recovery, act).await })
    }

    async fn begin_code_try(&self, user: &UserName, now: Timestamp) -> Result<Option<CodeTry>, StoreError> {
        keep!(self, connection => code::begin_try(connection, user, now))
    }

    async fn accept_step(&self, totp: &KeptTotp, step: u64, now: Timestamp) -> Result<bool, StoreError> {
        keep!(self, connection => async { code::accept_step(connection, totp, step, now).await })
    }

    async fn accept_step_with(
        &self,
        totp: &KeptTotp,
        step: u64,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        keep!(self, connection => async { code::confirm(connection.begin().await.map_err(failure)?, totp, step, now, act).await })
    }

    async fn spend_recovery(&self, user: &UserName, hash: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { code::spend_recovery(connection.begin().await.map_err(failure)?, user, hash, act).await })
    }

    async fn add_emergency(&self, code: &EmergencyCode, act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, connection => async { code::add_emergency(connection.begin().await.map_err(failure)?, code, act).await })
    }

    async fn emergencies(&self) -> Result<Vec<EmergencyCode>, StoreError> {
        on!(self, connection => code::emergencies(connection))
    }

    async fn spend_emergency(&self, hash: &str, act: &AuditEntry) -> Result<Option<EmergencyCode>, StoreError> {
        keep!(self, connection => async { code::spend_emergency(connection.begin().await.map_err(failure)?, hash, act).await })
    }

    async fn revoke_emergency(&self, name: &str, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { code::revoke_emergency(connection.begin().await.map_err(failure)?, name, act).await })
    }

    async fn spend_challenge(&self, id: &str, expires_at: Timestamp) -> Result<bool, StoreError> {
        keep!(self, connection => code::spend_challenge(connection, id, expires_at))
    }

    async fn forget_codes(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => code::forget(connection, before))
    }

    async fn bindings_at(&self, approver: ApproverKind, address: &str) -> Result<Vec<Binding>, StoreError> {
        on!(self, connection => binding::at(connection, approver, address))
    }

    async fn add_enrolment(&self, enrolment: &Enrolment, act: &AuditEntry) -> Result<(), StoreError> {
        keep!(self, connection => async { enrolment::add(connection.begin().await.map_err(failure)?, enrolment, act).await })
    }

    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<Enrolment>, StoreError> {
        on!(self, connection => enrolment::find(connection, id))
    }

    async fn enrolment_by_token(&self, hash: &[u8]) -> Result<Option<Enrolment>, StoreError> {
        on!(self, connection => enrolment::by_token(connection, hash))
    }

    async fn enrolments_waiting(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        on!(self, connection => enrolment::waiting(connection, now))
    }

    async fn enrolments_open(&self, now: Timestamp) -> Result<Vec<Enrolment>, StoreError> {
        on!(self, connection => enrolment::open(connection, now))
    }

    async fn revoke_enrolment(&self, id: EnrolmentId, act: &AuditEntry) -> Result<bool, StoreError> {
        keep!(self, connection => async { enrolment::revoke(connection.begin().await.map_err(failure)?, id, act).await })
    }

    async fn move_enrolment(
        &self,
        enrolment: &Enrolment,
        from: EnrolmentState,
        now: Timestamp,
        act: &AuditEntry,
    ) -> Result<bool, StoreError> {
        keep!(self, connection => async { enrolment::advance(connection.begin().await.map_err(failure)?, enrolment, from, now, act).await })
    }

    async fn claim_enrolment_notices(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Enrolment>, StoreError> {
        keep!(self, connection => enrolment::claim_notices(connection, now, lease, limit))
    }

    async fn enrolment_told(&self, id: EnrolmentId) -> Result<(), StoreError> {
        keep!(self, connection => enrolment::told(connection, id))
    }

    async fn claim_strike_notices(
        &self,
        since: Timestamp,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Strike>, StoreError> {
        keep!(self, connection => strike::claim_notices(connection, since, now, lease, limit))
    }

    async fn strike_told(&self, session: SessionId) -> Result<(), StoreError> {
        keep!(self, connection => strike::told(connection, session))
    }

    async fn begin_update(&self, channel: &str, number: i64, now: Timestamp) -> Result<Heard, StoreError> {
        keep!(self, connection => heard::begin(connection, channel, number, now))
    }

    async fn finish_update(&self, channel: &str, number: i64) -> Result<(), StoreError> {
        keep!(self, connection => heard::finish(connection, channel, number))
    }

    async fn forget_heard(&self, before: Timestamp) -> Result<(), StoreError> {
        keep!(self, connection => async {
            heard::forget(connection, before).await?;
            enrolment::forget(connection, before).await
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
