//! Reports by name: what `radhold report` prints, asked of the `report_*` views.
//!
//! The statements are written once and run on both engines, in each engine's own file: a view hides what differs between them.
//! Each begins where `ASKED_POSTGRES` or `ASKED_SQLITE` ends, whose one row holds what was asked for. Knows nothing of printing.

mod statements;

use crate::model::Timestamp;

pub use statements::REPORTS;

/// A report that can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// What it tells, in one line.
    pub about: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// What may narrow it.
    pub narrowed_by: &'static [Narrowing],
    /// The span up to now when none is given; `None` for a report of this moment, which knows no span.
    pub lately: Option<Lately>,
    /// How many rows when no limit is given; zero is all.
    pub limit: u32,
    pub(super) statement: Statement,
}

impl Report {
    /// The report of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        REPORTS.iter().find(|report| report.name == name)
    }
}

/// A column of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the views have it where it comes from one.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
}

/// What a column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A plain number.
    Count,
    /// Octets.
    Octets,
    /// Whole seconds.
    Seconds,
    /// Seconds and parts of one.
    Wait,
    /// A percentage.
    Percent,
    /// A point in time, RFC 3339 to the second.
    Time,
    /// A day, or the first day of a month: `2026-11-01`.
    Day,
}

/// What may narrow a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowing {
    /// A span.
    Span,
    /// A user.
    User,
    /// A NAS.
    Nas,
}

/// A span up to now, from a full hour, midnight or the first of a month (UTC) on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lately {
    /// So many hours.
    Hours(u32),
    /// So many days, and what there is of today.
    Days(u32),
    /// So many months, and what there is of this one.
    Months(u32),
}

/// What is asked of a report. What the report is not narrowed by is passed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// From when on.
    pub from: Timestamp,
    /// Until when, itself excluded.
    pub to: Timestamp,
    /// Only this User-Name.
    pub user: Option<String>,
    /// Only this NAS.
    pub nas: Option<String>,
    /// At most so many rows; zero is all.
    pub limit: u32,
}

/// One value of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Nothing,
    /// Text, and times and days as text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
}

/// Where the two engines' words differ.
#[derive(Debug, Clone, Copy)]
pub(super) enum Statement {
    /// Nowhere.
    Both(&'static str),
    /// Here.
    Each {
        /// For PostgreSQL.
        postgres: &'static str,
        /// For SQLite.
        sqlite: &'static str,
    },
}

impl Statement {
    pub(super) fn for_postgres(self) -> &'static str {
        match self {
            Self::Both(statement) => statement,
            Self::Each { postgres, .. } => postgres,
        }
    }

    pub(super) fn for_sqlite(self) -> &'static str {
        match self {
            Self::Both(statement) => statement,
            Self::Each { sqlite, .. } => sqlite,
        }
    }
}

/// How every PostgreSQL statement begins. Parameters: from, to, user, NAS, limit.
pub(super) const ASKED_POSTGRES: &str = "WITH RECURSIVE asked (from_at, to_at, user_name, nas, most) AS (
    SELECT $1::timestamptz, $2::timestamptz, $3::text, $4::text, $5::bigint
)";

/// The same for SQLite; times as the views write them. A limit below zero is none there.
pub(super) const ASKED_SQLITE: &str = "WITH RECURSIVE asked (from_at, to_at, user_name, nas, most) AS (
    SELECT ?1, ?2, ?3, ?4, coalesce(?5, -1)
)";
