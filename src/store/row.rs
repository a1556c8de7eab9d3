//! Cells of a row, read by what they mean, and values as they go into cells: what both engines share.
//!
//! Knows no statement and no engine: how a time or an address looks in a column is the engine's own `columns.rs`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::StoreError;
use crate::model::{Day, SessionId, Timestamp, User};

/// A row, read by what its columns mean. Absence is `None`; [`Columns::need`] is for columns that are never absent.
pub(super) trait Columns: Sized {
    fn table(&self) -> &'static str;
    fn text(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    fn integer(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    fn flag(&self, column: &'static str) -> Result<Option<bool>, StoreError>;
    fn octets(&self, column: &'static str) -> Result<Option<Vec<u8>>, StoreError>;
    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError>;
    fn day(&self, column: &'static str) -> Result<Option<Day>, StoreError>;
    fn span(&self, column: &'static str) -> Result<Option<Duration>, StoreError>;
    fn session_id(&self, column: &'static str) -> Result<Option<SessionId>, StoreError>;
    fn address(&self, column: &'static str) -> Result<Option<IpAddr>, StoreError>;
    fn network(&self, column: &'static str) -> Result<Option<IpNet>, StoreError>;
    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError>;

    /// A column that is never absent.
    fn need<T>(
        &self,
        column: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<Option<T>, StoreError>,
    ) -> Result<T, StoreError> {
        read(self, column)?.ok_or_else(|| self.bad(column, "nothing, where there must be something"))
    }

    /// A number narrower than the column.
    fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let Some(wide) = self.integer(column)? else { return Ok(None) };
        T::try_from(wide).map(Some).map_err(|_| self.bad(column, format!("{wide} is out of range")))
    }

    /// One of the words of a vocabulary.
    fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        let word: StrDeserializer<'_, WordError> = text.as_str().into_deserializer();
        T::deserialize(word).map(Some).map_err(|error| self.bad(column, error))
    }

    fn bad(&self, column: &'static str, reason: impl ToString) -> StoreError {
        StoreError::BadRow { table: self.table(), column, reason: reason.to_string() }
    }
}

/// A row of a table.
pub(super) struct Cells<'r, R> {
    pub(super) table: &'static str,
    pub(super) row: &'r R,
}

impl<'r, R: Row> Cells<'r, R> {
    /// A cell as the engine decodes it.
    pub(super) fn get<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: Decode<'r, R::Database> + Type<R::Database>,
        &'static str: ColumnIndex<R>,
    {
        self.row.try_get(column).map_err(|error| {
            let reason = match error {
                sqlx::Error::ColumnDecode { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            StoreError::BadRow { table: self.table, column, reason }
        })
    }
}

/// Text as it goes into a column. NASes may send NUL, which PostgreSQL's text cannot hold, and one such packet must not
/// keep the others of its batch from being kept: it becomes U+FFFD, in both engines.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// The same, where there may be none.
pub(super) fn text_or_none(value: &Option<String>) -> Option<Cow<'_, str>> {
    value.as_deref().map(text)
}

/// The stored form of a password, which is text by its kind.
pub(super) fn credential(user: &User) -> Result<&str, StoreError> {
    std::str::from_utf8(user.credential.expose())
        .map_err(|_| StoreError::Refused(format!("the credential of {} is not text", user.name)))
}

/// A structure as it goes into a JSON column, its texts treated as by [`text`].
pub(super) fn json(value: &impl Serialize) -> serde_json::Value {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(string) if string.contains('\0') => *string = text(string).into_owned(),
            serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
            serde_json::Value::Object(members) => members.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).expect("our own structures have text for keys, and no failing parts");
    clean(&mut value);
    value
}

/// The word for a variant of a vocabulary: what [`Columns::word`] reads.
pub(super) fn word(variant: &impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("a variant without fields serializes as its name, not as {other:?}"),
    }
}

/// Microseconds since 1970 as they go into a column: within the years 1 to 9999, which every engine can hold and print.
pub(super) fn micros(at: Timestamp) -> i64 {
    const FIRST: i64 = -62_135_596_800_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    at.as_micros().clamp(FIRST, LAST)
}

/// A span in whole microseconds, as it goes into a column.
pub(super) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// A counter as it goes into a column of 63 bits. A NAS that lies beyond 8 EiB is recorded at the limit rather than
/// refused, since refusing would keep a whole batch from being kept.
pub(super) fn counter(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Outcome, State};

    #[test]
    fn nul_is_replaced_wherever_it_hides() {
        assert_eq!(text("a\0b"), "a\u{FFFD}b");
        assert_eq!(json(&[("k", "\\u0000\0")]), serde_json::json!([["k", "\\u0000\u{FFFD}"]]));
    }

    #[test]
    fn words_are_those_of_the_vocabulary() {
        for state in State::ALL {
            assert_eq!(word(&state), state.as_str());
        }
        assert_eq!(word(&Outcome::NasUnreachable), "nas-unreachable");
    }

    #[test]
    fn what_does_not_fit_is_kept_at_the_limit() {
        assert_eq!(counter(u64::MAX), i64::MAX);
        assert_eq!(span(Duration::MAX), i64::MAX);
        let last = Timestamp::from_micros(micros(Timestamp::from_micros(i64::MAX)));
        assert_eq!(last.to_string(), "9999-12-31T23:59:59Z");
        let first = Timestamp::from_micros(micros(Timestamp::from_micros(i64::MIN)));
        assert_eq!(first.to_string(), "0001-01-01T00:00:00Z");
    }
}
