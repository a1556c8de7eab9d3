//! The audit record: who did what, through what, from where, when. Only ever added to.
//!
//! Knows no statement. That nothing is changed is the schema's: triggers refuse it.

use serde::Serialize;

use super::row::Columns;
use super::{Change, Extent, StoreError};
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

/// The acts that a change is: each yes that it added and that others must join. What is decided in the end is added with the decision.
pub(super) fn votes_of(change: &Change) -> impl Iterator<Item = AuditEntry> {
    let session = &change.session;
    let voted = session.votes.iter().filter(|vote| change.extent == Extent::Whole && vote.at == change.at);
    voted.map(|vote| {
        let as_whom = vote.other.as_ref().unwrap_or(&session.user);
        AuditEntry {
            at: vote.at,
            who: vote.by.who.clone(),
            through: vote.by.approver.to_string(),
            origin: vote.chat.as_ref().map_or_else(String::new, |chat| format!("chat {chat}")),
            act: "session.vote".to_owned(),
            subject: session.user.to_string(),
            detail: format!("a yes as {as_whom}; session {} on {}", session.id, session.nas),
        }
    })
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
