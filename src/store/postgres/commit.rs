//! A batch of changes in one transaction, in a handful of round trips however long the batch is.
//!
//! At first each change is written where its session is still at the version it was made from: that compares and locks at once. What
//! is locked so has an order within a statement, by id, as a rule and not by promise, and none between statements; so nobody is waited for
//! longer than a moment ([`AT_ONCE`]), which ends whatever went in a circle. Then, and where a session is changed twice in one batch, all
//! begins anew with locks taken in one order by every node: new sessions by id, then existing sessions by id, then orders by
//! number; and versions are compared here, under those locks.
//!
//! Where there is nothing but new sessions, as of logins that nobody is asked about, the batch is one statement, and that its own transaction:
//! of a small batch the round trips are the larger part.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{audit as acts, decision, failure, outbox, prompts, session, strike, trusts, usage};
use crate::model::SessionId;
use crate::store::{AuditEntry, Change, Claim, Committed, Extent, Kept, Order, StoreError, audit, guards};

/// What keeps two nodes that do meet from meeting again at once.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(80)];

/// How a transaction begins. Plans that are made once are right for batches: each row by its id; what is made for the arrays at hand may
/// come to read a whole table.
const AT_ONCE: &str = "BEGIN; SET LOCAL lock_timeout = '50ms'; SET LOCAL plan_cache_mode = force_generic_plan";
const IN_ORDER: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan";

/// How existing sessions are locked.
#[derive(Clone, Copy, PartialEq)]
enum Locks {
    /// With the writing. Others are not waited for longer than a moment.
    AtOnce,
    /// All by id, before anything is written.
    InOrder,
}

/// Keeps changes, and claims orders of theirs; an act, where there is one, when all of them are kept.
pub(super) async fn commit(
    connection: &mut PgConnection,
    changes: &[Change],
    act: Option<&AuditEntry>,
    claim: Option<&Claim>,
) -> Result<Kept, StoreError> {
    let mut locks = if are_of_different_sessions(changes) { Locks::AtOnce } else { Locks::InOrder };
    for pause in PAUSES {
        match attempt(connection, changes, (act, claim), locks).await {
            Err(error) if is_held(&error) => locks = Locks::InOrder,
            Err(error) if is_passing(&error) => tokio::time::sleep(pause).await,
            result => return result.map_err(failure),
        }
    }
    attempt(connection, changes, (act, claim), Locks::InOrder).await.map_err(failure)
}

async fn attempt(
    connection: &mut PgConnection,
    changes: &[Change],
    (act, claim): (Option<&AuditEntry>, Option<&Claim>),
    locks: Locks,
) -> Result<Kept, sqlx::Error> {
    if changes.is_empty() {
        return Ok(Kept::default());
    }
    if locks == Locks::AtOnce && act.is_none() && changes.iter().all(is_a_session_alone) {
        // While its rows are held, none but those who write the very same sessions can be waited for.
        return Ok(Kept { committed: write_at_once(connection, changes).await?, claimed: Vec::new() });
    }
    let mut tx = connection.begin_with(if locks == Locks::AtOnce { AT_ONCE } else { IN_ORDER }).await?;
    let committed = match locks {
        Locks::AtOnce => write_at_once(&mut tx, changes).await?,
        Locks::InOrder => write_in_order(&mut tx, changes).await?,
    };
    let kept: Vec<&Change> =
        changes.iter().zip(&committed).filter(|(_, it)| **it == Committed::Done).map(|(change, _)| change).collect();
    let claimed = keep_the_rest(&mut tx, &kept, claim).await?;
    if let Some(act) = act.filter(|_| kept.len() == changes.len()) {
        acts::insert(&mut tx, act).await?;
    }
    tx.commit().await?;
    Ok(Kept { committed, claimed })
}

/// For changes of sessions that are all different: the store compares.
async fn write_at_once(connection: &mut PgConnection, changes: &[Change]) -> Result<Vec<Committed>, sqlx::Error> {
    let mut in_order: Vec<&Change> = changes.iter().collect();
    in_order.sort_unstable_by_key(|change| change.session.id);
    let (mut new, mut light, mut ending, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in in_order {
        match (change.from_version, change.extent) {
            (None, _) => new.push(change),
            (Some(version), Extent::Counters) => light.push((version, change)),
            (Some(version), Extent::End) => ending.push((version, change)),
            (Some(version), Extent::Whole) => whole.push((version, change)),
        }
    }
    let mut written = session::insert(connection, new.into_iter()).await?;
    written.extend(session::count(connection, light.into_iter()).await?);
    written.extend(session::end(connection, ending.into_iter()).await?);
    written.extend(session::replace(connection, &whole).await?);
    if written.len() == changes.len() {
        return Ok(vec![Committed::Done; changes.len()]);
    }
    let written: HashSet<SessionId> = written.into_iter().collect();
    let done = |change: &Change| written.contains(&change.session.id);
    Ok(changes.iter().map(|change| if done(change) { Committed::Done } else { Committed::Conflict }).collect())
}

async fn write_in_order(connection: &mut PgConnection, changes: &[Change]) -> Result<Vec<Committed>, sqlx::Error> {
    // The first that adds a session is the one that may.
    let mut adding = BTreeMap::new();
    for (index, change) in changes.iter().enumerate().filter(|(_, change)| change.from_version.is_none()) {
        adding.entry(change.session.id).or_insert(index);
    }
    let added: BTreeSet<SessionId> =
        session::insert(connection, adding.values().map(|index| &changes[*index])).await?.into_iter().collect();
    let mut versions = session::lock(connection, existing(changes).into_iter()).await?;

    // Compare and set, in the order given; a session may be changed more than once.
    let mut last = BTreeMap::new();
    let mut committed = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let id = change.session.id;
        let kept = match change.from_version {
            None => adding.get(&id) == Some(&index) && added.contains(&id),
            Some(version) => versions.get(&id) == Some(&version) && !comes_too_early(&adding, &added, id, index),
        };
        if kept {
            versions.insert(id, change.session.version);
            if change.from_version.is_some() {
                last.insert(id, change);
            }
        }
        committed.push(if kept { Committed::Done } else { Committed::Conflict });
    }
    session::update(connection, last.into_values()).await?;
    Ok(committed)
}

/// Keeps what comes with changes that are kept, and gives the orders that are claimed with it. What is kept here,
/// [`is_a_session_alone`] must know of.
async fn keep_the_rest(
    connection: &mut PgConnection,
    kept: &[&Change],
    claim: Option<&Claim>,
) -> Result<Vec<Order>, sqlx::Error> {
    let claimed = outbox::add(connection, kept, claim).await?;
    usage::add(connection, kept).await?;
    let votes: Vec<_> = kept.iter().flat_map(|change| audit::votes_of(change)).collect();
    acts::keep(connection, &votes).await?;
    // Where it has only gone on, the decision was kept with the version before.
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
    Ok(claimed)
}

/// Whether it adds a session, and [`keep_the_rest`] has nothing to do for it.
fn is_a_session_alone(change: &Change) -> bool {
    let Change { session, from_version: None, extent: _, wake_at: _, orders, usage, settles: None, at } = change else {
        return false;
    };
    orders.is_empty()
        && usage.is_empty()
        && session.decision.is_none()
        && session.strike(*at).is_none()
        && audit::votes_of(change).next().is_none()
        && guards::prompt_of(change).is_none()
        && guards::void_of(change).is_none()
        && guards::trust_of(change).is_none()
}

/// Sessions that are changed and were there before, in order.
fn existing(changes: &[Change]) -> BTreeSet<SessionId> {
    changes.iter().filter(|change| change.from_version.is_some()).map(|change| change.session.id).collect()
}

fn are_of_different_sessions(changes: &[Change]) -> bool {
    let mut seen = HashSet::with_capacity(changes.len());
    changes.iter().all(|change| seen.insert(change.session.id))
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::{ApproverKind, Counters, Day, Identity, Nas, SecondFactor, Secret, Timestamp, User};
    use crate::policy::{Defaults, HoldTerms, decide};
    use crate::session::{Denial, Effect, Event, Session, Step, Timing, step};
    use crate::store::{OrderId, Usage};

    const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);

    fn offer(second_factor: SecondFactor) -> Session {
        let who = User { second_factor, ..User::new("alice", Secret::new("x"), NOON) };
        let nas = Nas::new("edge", "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("s"));
        let hold = HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), [ApproverKind::Telegram]);
        let defaults = Defaults { sandbox_filter: "sandbox".into(), permit_filter: "permit".into(), hold };
        let grant = decide(&who, &[], &nas, &defaults).unwrap();
        let id = SessionId(uuid::Uuid::from_u128(1));
        Session::offer(id, who.name, nas.name, IpAddr::from([192, 0, 2, 1]), Identity::default(), grant, NOON)
    }

    fn added(session: Session) -> Change {
        Change {
            session,
            from_version: None,
            extent: Extent::Whole,
            wake_at: Some(NOON),
            orders: Vec::new(),
            usage: Vec::new(),
            settles: None,
            at: NOON,
        }
    }

    #[test]
    fn what_comes_with_anything_is_no_session_alone() {
        let alone = || added(offer(SecondFactor::None));
        assert!(is_a_session_alone(&alone()));
        let held = offer(SecondFactor::Required);
        let Step { session: denied, .. } =
            step(&held, &Event::Denied(Denial::by_operator("no")), NOON, &Timing::default());
        let usage = Usage {
            session: held.id,
            user: held.user.clone(),
            nas: held.nas.clone(),
            from: NOON,
            to: NOON,
            day: Day::since_1970(0),
            added: Counters::default(),
        };
        for (with, change) in [
            ("a prompt", added(held)),
            ("a decision, and trust that ends", added(denied)),
            ("an order", Change { orders: vec![Effect::SendCoa { attempt: 1 }], ..alone() }),
            ("usage", Change { usage: vec![usage], ..alone() }),
            ("an outcome", Change { settles: Some(OrderId(1)), ..alone() }),
            ("a version before", Change { from_version: Some(0), ..alone() }),
        ] {
            assert!(!is_a_session_alone(&change), "{with}");
        }
    }
}
