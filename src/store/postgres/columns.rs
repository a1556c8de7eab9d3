//! How PostgreSQL keeps things: in types of its own.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::{Day, SessionId, Timestamp};
use crate::store::StoreError;
use crate::store::row::{self, Cells, Columns};

impl Columns for Cells<'_, PgRow> {
    fn table(&self) -> &'static str {
        self.table
    }

    fn text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    fn integer(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    fn flag(&self, column: &'static str) -> Result<Option<bool>, StoreError> {
        self.get(column)
    }

    fn octets(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(column)
    }

    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        let time: Option<DateTime<Utc>> = self.get(column)?;
        Ok(time.map(|time| Timestamp::from_micros(time.timestamp_micros())))
    }

    fn day(&self, column: &'static str) -> Result<Option<Day>, StoreError> {
        Ok(self.get::<NaiveDate>(column)?.map(|date| Day::since_1970(date.to_epoch_days())))
    }

    fn span(&self, column: &'static str) -> Result<Option<Duration>, StoreError> {
        let Some(interval) = self.get::<PgInterval>(column)? else { return Ok(None) };
        let days = i64::from(interval.months) * 30 + i64::from(interval.days);
        let micros = days.checked_mul(86_400_000_000).and_then(|micros| micros.checked_add(interval.microseconds));
        let micros = micros.and_then(|micros| u64::try_from(micros).ok());
        micros.map(|micros| Some(Duration::from_micros(micros))).ok_or_else(|| self.bad(column, "out of range"))
    }

    fn session_id(&self, column: &'static str) -> Result<Option<SessionId>, StoreError> {
        Ok(self.get::<Uuid>(column)?.map(SessionId))
    }

    fn address(&self, column: &'static str) -> Result<Option<IpAddr>, StoreError> {
        self.get(column)
    }

    fn network(&self, column: &'static str) -> Result<Option<IpNet>, StoreError> {
        self.get(column)
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        Ok(self.get::<Json<T>>(column)?.map(|Json(value)| value))
    }
}

/// A time as it goes into a column.
pub(super) fn time(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(row::micros(at)).expect("the years 1 to 9999 are within chrono's range")
}

/// A day as it goes into a column.
pub(super) fn day(day: Day) -> NaiveDate {
    NaiveDate::from_epoch_days(day.as_days())
        .expect("days of times within the years 1 to 9999 are within chrono's range")
}

/// A span as it goes into a column.
pub(super) fn interval(span: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: row::span(span) }
}
