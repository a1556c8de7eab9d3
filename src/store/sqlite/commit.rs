//! A batch of changes within one transaction: many rows to a statement, and those statements of a small one that write sessions and usage in
//! one go, but for sessions that are changed twice: those go one after the other. What else comes with a change is rare, and goes alone.
//!
//! Each visit to the connection's own thread costs more than most statements cost SQLite, and so does each row that it gives back. There is
//! one writer: what can be put together before it is this one's turn is.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::rows::{self, pieces};
use super::{audit as acts, decision, failure, outbox, prompts, session, strike, trusts, usage};
use crate::model::SessionId;
use crate::store::row::{Cells, Columns};
use crate::store::{Change, Claim, Committed, Extent, Kept, StoreError, Usage, audit, guards};

/// Of so many changes, at most, the statements that write sessions go together, and with them those that write usage where it need not be
/// known whose sessions were written. With more a visit is little beside the work, and the numbers of rows that may come together are so many
/// that few of those statements would be found prepared.
const TOGETHER: usize = 128;

/// Whether it is to be known which of several rows were written, or whether all were. Each row that is told of wakes who waits for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Each,
    All,
}

/// Changes, with the statements that write them.
pub(super) struct Batch<'c> {
    changes: &'c [Change],
    ask: Ask,
    /// Those of sessions that are changed once.
    many: Many,
    /// The others' sessions.
    twice: HashSet<SessionId>,
    /// What comes with all changes and is not among the many. Where it is asked which conflict, some are not kept.
    with_all: Option<Vec<QueryBuilder<Sqlite>>>,
}

/// Statements for many changes.
struct Many {
    writings: Vec<Writing>,
    together: bool,
    ask: Ask,
}

impl Many {
    fn sessions(&mut self, changes: &[&Change], write: fn(&mut QueryBuilder<Sqlite>, &[&Change])) {
        pieces(changes).for_each(|some| self.place().sessions(some, write));
    }

    fn usage(&mut self, used: &[(u64, &Usage)]) {
        for some in pieces(used) {
            let writing = self.place();
            usage::add(&mut writing.sql, some);
            writing.sql.push("; ");
            writing.usage += some.len();
        }
    }

    /// Where the next statement goes.
    fn place(&mut self) -> &mut Writing {
        if self.writings.is_empty() || !self.together {
            self.writings.push(Writing::new(self.ask));
        }
        self.writings.last_mut().expect("there is one")
    }
}

/// Statements that go together.
struct Writing {
    sql: QueryBuilder<Sqlite>,
    /// Whose sessions they write.
    sessions: Vec<SessionId>,
    /// Rows of usage that come with them.
    usage: usize,
    ask: Ask,
}

impl Writing {
    fn new(ask: Ask) -> Self {
        Self { sql: QueryBuilder::default(), sessions: Vec::new(), usage: 0, ask }
    }

    fn sessions(&mut self, changes: &[&Change], write: fn(&mut QueryBuilder<Sqlite>, &[&Change])) {
        write(&mut self.sql, changes);
        self.sql.push(if self.ask == Ask::Each { " RETURNING id; " } else { "; " });
        self.sessions.extend(changes.iter().map(|change| change.session.id));
    }

    /// One change alone.
    fn of(change: &Change, ask: Ask) -> Self {
        let mut writing = Self::new(ask);
        writing.sessions(&[change], if change.from_version.is_some() { session::update } else { session::add });
        writing
    }

    /// Which sessions were written; `None` when only some were, and nobody asked which.
    async fn run(self, connection: &mut SqliteConnection) -> Result<Option<Vec<SessionId>>, StoreError> {
        let Self { mut sql, sessions, usage, ask } = self;
        if ask == Ask::Each {
            let rows = sql.build().persistent(true).fetch_all(connection).await.map_err(failure)?;
            let ids = rows.iter().map(|row| (Cells { table: "sessions", row }).need("id", Columns::session_id));
            return ids.collect::<Result<_, _>>().map(Some);
        }
        // No statement writes more than it should, so that the sum says it of each.
        Ok(match rows::run(connection, sql).await? {
            0 => Some(Vec::new()),
            all if all == (sessions.len() + usage) as u64 => Some(sessions),
            _ => None,
        })
    }
}

impl<'c> Batch<'c> {
    pub(super) fn prepare(changes: &'c [Change], ask: Ask) -> Self {
        let (mut seen, mut twice) = (HashSet::with_capacity(changes.len()), HashSet::new());
        twice.extend(changes.iter().map(|change| change.session.id).filter(|session| !seen.insert(*session)));
        let (mut adding, mut counting, mut ending, mut changing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for change in changes.iter().filter(|change| !twice.contains(&change.session.id)) {
            match (change.from_version, change.extent) {
                (None, _) => adding.push(change),
                (Some(_), Extent::Counters) => counting.push(change),
                (Some(_), Extent::End) => ending.push(change),
                (Some(_), Extent::Whole) => changing.push(change),
            }
        }
        let mut many = Many { writings: Vec::new(), together: changes.len() <= TOGETHER, ask };
        many.sessions(&adding, session::add);
        many.sessions(&counting, session::count);
        many.sessions(&ending, session::end);
        many.sessions(&changing, session::update);
        let with_all = match ask {
            Ask::Each => None,
            // In one go with the sessions alone: that one of them was not written is seen by the sum.
            Ask::All if many.together && twice.is_empty() => {
                many.usage(&usage_of(changes.iter()));
                Some(prompts_of(changes.iter()))
            }
            Ask::All => Some(that_comes_with(changes.iter())),
        };
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
        for some in many.writings {
            let Some(ids) = some.run(connection).await? else { return Ok(None) };
            written.extend(ids);
        }
        // The comparison comes first, so that a conflict has written nothing but what is undone.
        let mut committed = Vec::with_capacity(changes.len());
        for change in changes {
            let kept = match twice.contains(&change.session.id) {
                false => written.contains(&change.session.id),
                true => Writing::of(change, ask).run(connection).await?.is_some_and(|ids| !ids.is_empty()),
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
    let mut statements = prompts_of(changes.clone());
    statements.extend(rows::statements(&usage_of(changes), usage::add));
    statements
}

fn prompts_of<'c>(changes: impl Iterator<Item = &'c Change>) -> Vec<QueryBuilder<Sqlite>> {
    rows::statements(&changes.filter_map(guards::prompt_of).collect::<Vec<_>>(), prompts::keep).collect()
}

/// What the sessions have carried, with their versions.
fn usage_of<'c>(changes: impl Iterator<Item = &'c Change>) -> Vec<(u64, &'c Usage)> {
    changes.flat_map(|change| change.usage.iter().map(|usage| (change.session.version, usage))).collect()
}
