//! Prompts and approvals that are remembered, as they stand in the store, and their rows.
//!
//! Knows no statement.

use super::row::Columns;
use super::{Change, Extent, StoreError};
use crate::model::{NasName, Timestamp, UserName};
use crate::policy::{Prompt, PromptEnd, Trust, TrustVoid};

/// The prompt that a change begins or ends, if it does, and when.
pub(super) fn prompt_of(change: &Change) -> Option<(Prompt, Timestamp)> {
    let is_new = change.from_version.is_none();
    if !is_new && change.extent == Extent::Counters {
        return None;
    }
    Some((change.session.prompt_news(is_new, change.at)?, change.at))
}

/// The trust that a change earns, if it does. A session that stays lifted earns it once: the store compares times.
pub(super) fn trust_of(change: &Change) -> Option<(Trust, Timestamp)> {
    let whole = change.extent == Extent::Whole || change.from_version.is_none();
    Some((change.session.trust().filter(|_| whole)?, change.at))
}

/// The denial in a change that makes earlier approvals void.
pub(super) fn void_of(change: &Change) -> Option<(TrustVoid, Timestamp)> {
    let up_to = change.session.denied_at().filter(|at| *at == change.at)?;
    Some((TrustVoid { user: change.session.user.clone(), up_to }, change.at))
}

/// Why a denial makes approvals void, in the record.
pub(super) const DENIED: &str = "a login was denied";
/// Why a revocation does: it is on record as an act of its own.
pub(super) const REVOKED: &str = "revoked";

pub(super) fn prompt(row: &impl Columns) -> Result<Prompt, StoreError> {
    let end = match row.time("ended_at")? {
        Some(at) => {
            let fate = row.need("fate", Columns::text)?;
            Some(PromptEnd { at, fate: fate.parse().map_err(|error: String| row.bad("fate", error))? })
        }
        None => None,
    };
    Ok(Prompt {
        session: row.need("session_id", Columns::session_id)?,
        user: UserName::new(row.need("user_name", Columns::text)?),
        nas: NasName::new(row.need("nas", Columns::text)?),
        caller: row.need("caller", Columns::text)?,
        port: row.text("port")?,
        at: row.need("asked_at", Columns::time)?,
        deadline: row.need("deadline", Columns::time)?,
        end,
    })
}

pub(super) fn trust(row: &impl Columns) -> Result<Trust, StoreError> {
    let place = row.need("place", Columns::text)?;
    Ok(Trust {
        session: row.need("session_id", Columns::session_id)?,
        user: UserName::new(row.need("user_name", Columns::text)?),
        place: place.parse().map_err(|error: String| row.bad("place", error))?,
        since: row.need("since", Columns::time)?,
        until: row.need("until", Columns::time)?,
        through: row.need("through", Columns::word)?,
        who: row.need("who", Columns::text)?,
        revoked_at: row.time("revoked_at")?,
    })
}

pub(super) fn void(row: &impl Columns) -> Result<TrustVoid, StoreError> {
    Ok(TrustVoid {
        user: UserName::new(row.need("user_name", Columns::text)?),
        up_to: row.need("up_to", Columns::time)?,
    })
}
