//! Reports: runs a statement of `store::reports` and reads its cells.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};

use super::failure;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::reports::{ASKED_SQLITE, Asked, Cell, Column, Kind, Report};

pub(super) async fn run(pool: &SqlitePool, report: &Report, asked: &Asked) -> Result<Vec<Vec<Cell>>, StoreError> {
    // Both halves are constants of ours.
    let statement = AssertSqlSafe(format!("{ASKED_SQLITE} {}", report.statement.for_sqlite()));
    let rows = sqlx::query(statement)
        .bind(time(asked.from))
        .bind(time(asked.to))
        .bind(asked.user.as_deref())
        .bind(asked.nas.as_deref())
        .bind((asked.limit > 0).then_some(i64::from(asked.limit)))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    rows.iter().map(|row| report.columns.iter().map(|column| cell(row, column)).collect()).collect()
}

fn cell(row: &SqliteRow, column: &Column) -> Result<Cell, StoreError> {
    let cell = match column.kind {
        Kind::Text | Kind::Day => row.try_get::<Option<String>, _>(column.name).map(|text| text.map(Cell::Text)),
        Kind::Count | Kind::Octets | Kind::Seconds => {
            row.try_get::<Option<i64>, _>(column.name).map(|number| number.map(Cell::Integer))
        }
        Kind::Wait | Kind::Percent => row.try_get::<Option<f64>, _>(column.name).map(|number| number.map(Cell::Real)),
        // The views write milliseconds; people read seconds.
        Kind::Time => row
            .try_get::<Option<String>, _>(column.name)
            .map(|at| at.map(|at| Cell::Text(format!("{}Z", at.split('.').next().unwrap_or_default())))),
    };
    cell.map(|cell| cell.unwrap_or(Cell::Nothing)).map_err(failure)
}

/// A time as the views write it, so that text compares as times do.
fn time(at: Timestamp) -> String {
    let millis = at.as_micros().rem_euclid(1_000_000) / 1000;
    format!("{}.{millis:03}Z", at.to_string().trim_end_matches('Z'))
}
