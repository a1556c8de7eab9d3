//! A batch of changes within one transaction: many rows to a statement, but for sessions that are changed
//! twice: those go one after the other.
//!
//! Each statement costs a visit to the connection's own thread, which is more than most of them cost SQLite, and so does each row that it
//! gives back. There is one writer: what can be put together before it is this one's turn is.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::rows::{self, pieces};
use super::session::{self, Ask, Writing};
use super::{audit as acts, decision, outbox, prompts, strike, trusts, usage};
use crate::model::SessionId;
use crate::store::{Change, Claim, Committed, Extent, Kept, StoreError, audit, guards};

/// Changes, with the statements that write them.
pub(super) struct Batch<'c> {
    changes: &'c [Change],
    ask: Ask,
    /// Those of sessions that are changed once.
    many: Vec<Writing>,
    /// The others' sessions.
    twice: HashSet<SessionId>,
    /// What comes with all changes. Where it is asked which conflict, some are not kept.
    with_all: Option<Vec<QueryBuilder<Sqlite>>>,
}

impl<'c> Batch<'c> {
    pub(super) fn prepare(changes: &'c [Change], ask: Ask) -> Self {
        let (mut seen, mut twice) = (HashSet::with_capacity(changes.len()), HashSet::new());
        twice.extend(changes.iter().map(|change| change.session.id).filter(|session| !seen.insert(*session)));
        let (mut adding, mut counting, mut ending, mut changing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for change in changes.iter().filter(|change| !twice.contains(&change.session.id)) {
            match (change.from_version, change.extent) {
                (None, _) => adding.push(change),
                (Some(version), Extent::Counters) => counting.push((version, change)),
                (Some(version), Extent::End) => ending.push((version, change)),
                (Some(version), Extent::Whole) => changing.push((version, change)),
            }
        }
        let adding = pieces(&adding).map(|some| session::add(some, ask));
        let counting = pieces(&counting).map(|some| session::count(some, ask));
        let ending = pieces(&ending).map(|some| session::end(some, ask));
        let changing = pieces(&changing).map(|some| session::update(some, ask));
        let many = adding.chain(counting).chain(ending).chain(changing).collect();
        let with_all = (ask == Ask::All).then(|| that_comes_with(changes.iter()));
        Self { changes, ask, many, twice, with_all }
    }

    /// `None` when some conflict and it was not asked which: then nothing of this may stay, and it is asked.
    pub(super) async fn keep(
        self,
        connection: &mut SqliteConnection,
        claim: Option<&Claim>,
    ) -> Result<Option<Kept>, StoreError> {
        let Self { changes, ask, many, twice, with_all } = self;
        let mut written = HashSet::with_capacity(changes.len());
        for some in many {
            let Some(ids) = some.run(connection).await? else { return Ok(None) };
            written.extend(ids);
        }
        // The comparison comes first, so that a conflict has written nothing.
        let mut committed = Vec::with_capacity(changes.len());
        for change in changes {
            let kept = match change.from_version {
                _ if !twice.contains(&change.session.id) => written.contains(&change.session.id),
                None => wrote(session::add(&[change], ask).run(connection).await?),
                Some(version) => wrote(session::update(&[(version, change)], ask).run(connection).await?),
            };
            committed.push(if kept { Committed::Done } else { Committed::Conflict });
        }
        let kept =
            || changes.iter().zip(&committed).filter(|(_, kept)| **kept == Committed::Done).map(|(change, _)| change);
        let mut claimed = Vec::new();
        for change in kept() {
            for effect in &change.orders {
                claimed.extend(outbox::add(&mut *connection, change.session.id, effect, change.at, claim).await?);
            }
            let votes: Vec<_> = audit::votes_of(change).collect();
            acts::add(&mut *connection, &votes).await?;
            if let (Extent::Whole, Some(decision)) = (change.extent, &change.session.decision) {
                // Where it has only gone on, the decision was kept with the version before.
                decision::add(&mut *connection, change.session.id, decision).await?;
            }
            if let Some(strike) = change.session.strike(change.at) {
                strike::add(&mut *connection, &strike).await?;
            }
            if let Some((void, at)) = guards::void_of(change) {
                trusts::void(&mut *connection, &void, guards::DENIED, at).await?;
            }
            if let Some((trust, at)) = guards::trust_of(change) {
                trusts::add(&mut *connection, &trust, at).await?;
            }
            if let Some(order) = change.settles {
                outbox::strike_off(&mut *connection, order).await?;
            }
        }
        let with_all = with_all.filter(|_| !committed.contains(&Committed::Conflict));
        for sql in with_all.unwrap_or_else(|| that_comes_with(kept())) {
            rows::run(connection, sql).await?;
        }
        Ok(Some(Kept { committed, claimed }))
    }
}

/// Statements that write prompts and usage.
fn that_comes_with<'c>(changes: impl Iterator<Item = &'c Change> + Clone) -> Vec<QueryBuilder<Sqlite>> {
    let asked: Vec<_> = changes.clone().filter_map(guards::prompt_of).collect();
    let used: Vec<_> =
        changes.flat_map(|change| change.usage.iter().map(|usage| (change.session.version, usage))).collect();
    pieces(&asked).map(prompts::keep).chain(pieces(&used).map(usage::add)).collect()
}

fn wrote(ids: Option<Vec<SessionId>>) -> bool {
    ids.is_some_and(|ids| !ids.is_empty())
}
