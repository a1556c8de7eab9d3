//! The audit record: who did what, through what, from where, when. Only ever added to.
//!
//! Knows no statement. That nothing is changed is the schema's: triggers refuse it.

use serde::Serialize;

use super::StoreError;
use super::row::Columns;
use crate::model::Timestamp;

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who, in the channel's own terms: an operator's login, a Telegram user id, `radhold` for what it did by itself.
    pub who: String,
    /// By which channel: `command-line`, `telegram`, `operator`, `server`.
    pub through: String,
    /// From where, as far as the channel knows: a host, an address; empty when it does not.
    pub origin: String,
    /// What, as `thing.verb`: `ban.add`, `user.remove`, `session.approved`.
    pub act: String,
    /// To whom or what.
    pub subject: String,
    /// The rest, for people.
    pub detail: String,
}

/// Which acts to list. Every field narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Not before then.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// Only by them.
    pub who: Option<String>,
    /// Only to them.
    pub subject: Option<String>,
    /// Only acts that begin so: `ban`, or `ban.add`.
    pub act: Option<String>,
    /// At most so many, the latest; zero is all.
    pub limit: u32,
}

pub(super) fn entry(row: &impl Columns) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at: row.need("at", Columns::time)?,
        who: row.need("who", Columns::text)?,
        through: row.need("through", Columns::text)?,
        origin: row.need("origin", Columns::text)?,
        act: row.need("act", Columns::text)?,
        subject: row.need("subject", Columns::text)?,
        detail: row.need("detail", Columns::text)?,
    })
}
