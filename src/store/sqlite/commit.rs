//! A batch of changes within one transaction: many rows to a statement, but for sessions that are changed
//! twice: those go one after the other.
//!
//! Each statement costs a visit to the connection's own thread, which is more than most of them cost SQLite, and so does each row that it
//! gives back.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;

use super::session::Ask;
use super::{audit as acts, decision, outbox, prompts, session, strike, trusts, usage};
use crate::model::SessionId;
use crate::store::{Change, Claim, Committed, Extent, Kept, StoreError, audit, guards};

/// Rows of one statement: few pieces make any number of them, and each size is one more statement that is kept prepared.
pub(super) const ROWS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// `None` when some conflict and it was not asked which: then nothing of this may stay, and it is asked.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    changes: &[Change],
    claim: Option<&Claim>,
    ask: Ask,
) -> Result<Option<Kept>, StoreError> {
    let mut times: HashMap<SessionId, u32> = HashMap::new();
    changes.iter().for_each(|change| *times.entry(change.session.id).or_default() += 1);
    let is_only = |change: &&Change| times[&change.session.id] == 1;
    let (mut adding, mut counting, mut ending, mut changing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for change in changes.iter().filter(is_only) {
        match (change.from_version, change.extent) {
            (None, _) => adding.push(change),
            (Some(version), Extent::Counters) => counting.push((version, change)),
            (Some(version), Extent::End) => ending.push((version, change)),
            (Some(version), Extent::Whole) => changing.push((version, change)),
        }
    }
    let mut written = HashSet::new();
    for some in chunks(&adding) {
        let Some(ids) = session::add(connection, some, ask).await? else { return Ok(None) };
        written.extend(ids);
    }
    for some in chunks(&counting) {
        let Some(ids) = session::count(connection, some, ask).await? else { return Ok(None) };
        written.extend(ids);
    }
    for some in chunks(&ending) {
        let Some(ids) = session::end(connection, some, ask).await? else { return Ok(None) };
        written.extend(ids);
    }
    for some in chunks(&changing) {
        let Some(ids) = session::update(connection, some, ask).await? else { return Ok(None) };
        written.extend(ids);
    }
    // The comparison comes first, so that a conflict has written nothing.
    let mut committed = Vec::with_capacity(changes.len());
    for change in changes {
        let kept = match change.from_version {
            _ if is_only(&change) => written.contains(&change.session.id),
            None => session::add(connection, &[change], ask).await?.is_some_and(|ids| !ids.is_empty()),
            Some(version) => {
                session::update(connection, &[(version, change)], ask).await?.is_some_and(|ids| !ids.is_empty())
            }
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
    let asked: Vec<_> = kept().filter_map(guards::prompt_of).collect();
    for some in chunks(&asked) {
        prompts::keep(connection, some).await?;
    }
    let added: Vec<_> =
        kept().flat_map(|change| change.usage.iter().map(|usage| (change.session.version, usage))).collect();
    for some in chunks(&added) {
        usage::add(connection, some).await?;
    }
    Ok(Some(Kept { committed, claimed }))
}

/// All items, in pieces of the sizes of [`ROWS`].
fn chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS.into_iter().find(|size| *size <= items.len())?;
        let (some, rest) = items.split_at(size);
        items = rest;
        Some(some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_piece_of_a_known_size() {
        for length in [0, 1, 7, 8, 63, 64, 65, 150, 255, 256, 257, 1024] {
            let items: Vec<usize> = (0..length).collect();
            let pieces: Vec<_> = chunks(&items).collect();
            assert!(pieces.iter().all(|piece| ROWS.contains(&piece.len())));
            assert_eq!(pieces.concat(), items);
        }
    }
}
