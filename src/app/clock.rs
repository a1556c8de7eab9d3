//! The one place that asks the machine what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// Now. A clock before 1970 reads 1970.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
