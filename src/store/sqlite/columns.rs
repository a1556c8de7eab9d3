//! How SQLite keeps what has no type of its own there: times and spans are microseconds, ids and addresses are text.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;

use crate::model::{Day, SessionId, Timestamp};
use crate::store::StoreError;
use crate::store::row::{Cells, Columns};

impl Columns for Cells<'_, SqliteRow> {
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
        Ok(self.integer(column)?.map(Timestamp::from_micros))
    }

    fn day(&self, column: &'static str) -> Result<Option<Day>, StoreError> {
        parsed(self, column)
    }

    fn span(&self, column: &'static str) -> Result<Option<Duration>, StoreError> {
        Ok(self.number(column)?.map(Duration::from_micros))
    }

    fn session_id(&self, column: &'static str) -> Result<Option<SessionId>, StoreError> {
        parsed(self, column)
    }

    fn address(&self, column: &'static str) -> Result<Option<IpAddr>, StoreError> {
        parsed(self, column)
    }

    fn network(&self, column: &'static str) -> Result<Option<IpNet>, StoreError> {
        parsed(self, column)
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| self.bad(column, error))
    }
}

fn parsed<T>(row: &Cells<'_, SqliteRow>, column: &'static str) -> Result<Option<T>, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    let Some(text) = row.text(column)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| row.bad(column, format!("{text:?}: {error}")))
}
