//! A batch of changes in one transaction, in a handful of round trips however long the batch is.
//!
//! Locks are taken in one order by every node, so that batches wait for each other and do not lock each other out: new
//! sessions by id, then existing sessions by id, then orders by number. The versions are compared here, under those locks.
//!
//! To lock what only counts in a pass of its own would cost more than a tenth of it, so at first it is counted at once, and what
//! is locked after it is not waited for. When somebody holds one of those, all begins anew, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use super::{decision, failure, outbox, prompts, session, strike, trusts, usage};
use crate::model::SessionId;
use crate::store::{Change, Committed, Extent, StoreError, guards};

/// What keeps two nodes that do meet from meeting again at once.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(80)];

/// In what order existing sessions are locked.
#[derive(Clone, Copy)]
enum Locks {
    /// What only counts first. Others are not waited for.
    Counted,
    /// All by id.
    All,
}

pub(super) async fn commit(pool: &PgPool, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
    let mut locks = Locks::Counted;
    for pause in PAUSES {
        match attempt(pool, changes, locks).await {
            Err(error) if is_held(&error) => locks = Locks::All,
            Err(error) if is_passing(&error) => tokio::time::sleep(pause).await,
            result => return result.map_err(failure),
        }
    }
    attempt(pool, changes, Locks::All).await.map_err(failure)
}

async fn attempt(pool: &PgPool, changes: &[Change], locks: Locks) -> Result<Vec<Committed>, sqlx::Error> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = pool.begin().await?;
    let committed = keep(&mut tx, changes, locks).await?;
    tx.commit().await?;
    Ok(committed)
}

async fn keep(connection: &mut PgConnection, changes: &[Change], locks: Locks) -> Result<Vec<Committed>, sqlx::Error> {
    // The first that adds a session is the one that may.
    let mut adding = BTreeMap::new();
    for (index, change) in changes.iter().enumerate().filter(|(_, change)| change.from_version.is_none()) {
        adding.entry(change.session.id).or_insert(index);
    }
    let added = session::insert(connection, adding.values().map(|index| &changes[*index])).await?;
    let light = counting(changes);
    let ahead = match locks {
        Locks::All if !light.is_empty() => existing(changes, &BTreeSet::new()),
        _ => BTreeSet::new(),
    };
    session::lock(connection, ahead.into_iter(), true).await?;
    let counted = session::count(connection, light.values().copied()).await?;
    let wait = counted.is_empty() || matches!(locks, Locks::All);
    let mut versions = session::lock(connection, existing(changes, &counted).into_iter(), wait).await?;

    // Compare and set, in the order given; a session may be changed more than once.
    let mut last = BTreeMap::new();
    let mut committed = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let id = change.session.id;
        let kept = match change.from_version {
            None => adding.get(&id) == Some(&index) && added.contains(&id),
            Some(_) if counted.contains(&id) => true,
            Some(version) => versions.get(&id) == Some(&version) && !comes_too_early(&adding, &added, id, index),
        };
        if kept {
            versions.insert(id, change.session.version);
            if change.from_version.is_some() && !counted.contains(&id) {
                last.insert(id, change);
            }
        }
        committed.push(if kept { Committed::Done } else { Committed::Conflict });
    }

    let kept: Vec<&Change> = changes
        .iter()
        .zip(&committed)
        .filter(|(_, committed)| **committed == Committed::Done)
        .map(|(c, _)| c)
        .collect();
    session::update(connection, last.into_values()).await?;
    outbox::add(connection, &kept).await?;
    usage::add(connection, &kept).await?;
    // Where nothing but counters differs, the decision was kept with the version before.
    let may_be_decided = kept.iter().filter(|change| change.extent == Extent::Whole);
    decision::add(connection, may_be_decided.map(|change| &change.session)).await?;
    strike::add(connection, kept.iter().filter_map(|change| change.session.strike(change.at))).await?;
    prompts::keep(connection, kept.iter().filter_map(|change| guards::prompt_of(change))).await?;
    trusts::void(connection, kept.iter().filter_map(|change| guards::void_of(change)), guards::DENIED).await?;
    trusts::add(connection, kept.iter().filter_map(|change| guards::trust_of(change))).await?;
    let settled: Vec<_> = kept.iter().filter_map(|change| change.settles).collect();
    if !settled.is_empty() {
        outbox::strike_off(connection, &settled).await?;
    }
    Ok(committed)
}

/// Sessions that are changed and were there before, in order, but for some.
fn existing(changes: &[Change], but: &BTreeSet<SessionId>) -> BTreeSet<SessionId> {
    let existing = changes.iter().filter(|change| change.from_version.is_some());
    existing.map(|change| change.session.id).filter(|id| !but.contains(id)).collect()
}

/// Changes that write no more than counters, with the versions they were made from, in the order of ids. Not those of sessions
/// that are changed twice.
fn counting(changes: &[Change]) -> BTreeMap<SessionId, (u64, &Change)> {
    let mut times: BTreeMap<SessionId, u32> = BTreeMap::new();
    changes.iter().for_each(|change| *times.entry(change.session.id).or_default() += 1);
    let light = changes.iter().filter(|change| change.extent == Extent::Counters && times[&change.session.id] == 1);
    light.filter_map(|change| Some((change.session.id, (change.from_version?, change)))).collect()
}

/// Whether a change stands before the one in the same batch that adds its session.
fn comes_too_early(
    adding: &BTreeMap<SessionId, usize>,
    added: &BTreeSet<SessionId>,
    id: SessionId,
    index: usize,
) -> bool {
    added.contains(&id) && adding.get(&id).is_some_and(|adder| *adder > index)
}

/// lock_not_available.
fn is_held(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03")
}

/// serialization_failure and deadlock_detected: the transaction is gone, and may work the next time.
fn is_passing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
