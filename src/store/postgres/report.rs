//! Reports: runs a statement of `store::reports` and reads its cells.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::columns::time;
use super::failure;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::reports::{ASKED_POSTGRES, Asked, Cell, Column, Kind, Report};

pub(super) async fn run(
    connection: &mut PgConnection,
    report: &Report,
    asked: &Asked,
) -> Result<Vec<Vec<Cell>>, StoreError> {
    let mut tx = connection.begin().await.map_err(failure)?;
    // People wait longer for a report than NASes for an answer, and it may read whole tables.
    for setting in [
        "SET TRANSACTION READ ONLY",
        "SET LOCAL statement_timeout = '15min'",
        "SET LOCAL enable_seqscan = on",
        "SET LOCAL plan_cache_mode = auto",
        // Where it is not off already. What is asked once is not worth compiling.
        "SET LOCAL jit = off",
    ] {
        sqlx::query(setting).execute(&mut *tx).await.map_err(failure)?;
    }
    // Both halves are constants of ours.
    let statement = AssertSqlSafe(format!("{ASKED_POSTGRES} {}", report.statement.for_postgres()));
    let rows = sqlx::query(statement)
        .bind(time(asked.from))
        .bind(time(asked.to))
        .bind(asked.user.as_deref())
        .bind(asked.nas.as_deref())
        .bind((asked.limit > 0).then_some(i64::from(asked.limit)))
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
    tx.rollback().await.map_err(failure)?;
    rows.iter().map(|row| report.columns.iter().map(|column| cell(row, column)).collect()).collect()
}

fn cell(row: &PgRow, column: &Column) -> Result<Cell, StoreError> {
    let cell = match column.kind {
        Kind::Text => row.try_get::<Option<String>, _>(column.name).map(|text| text.map(Cell::Text)),
        Kind::Count | Kind::Octets | Kind::Seconds => {
            row.try_get::<Option<i64>, _>(column.name).map(|number| number.map(Cell::Integer))
        }
        Kind::Wait | Kind::Percent => row.try_get::<Option<f64>, _>(column.name).map(|number| number.map(Cell::Real)),
        Kind::Time => row
            .try_get::<Option<DateTime<Utc>>, _>(column.name)
            .map(|at| at.map(|at| Cell::Text(Timestamp::from_micros(at.timestamp_micros()).to_string()))),
        Kind::Day => {
            row.try_get::<Option<NaiveDate>, _>(column.name).map(|day| day.map(|day| Cell::Text(day.to_string())))
        }
    };
    cell.map(|cell| cell.unwrap_or(Cell::Nothing)).map_err(failure)
}
