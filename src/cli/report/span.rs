//! Spans of time as people name them. Reads no clock: now is given.

use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveDateTime, Utc};

use crate::config::parse_duration;
use crate::model::Timestamp;
use crate::store::reports::Lately;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A point in time, given as such or as so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Itself.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.before(ago),
        }
    }
}

/// `2026-11-01`, `2026-11-01T08:00` (both UTC), RFC 3339 with any offset, `now`, or a duration: so long ago.
pub(super) fn parse(text: &str) -> Result<Moment, String> {
    if text == "now" {
        return Ok(Moment::Ago(Duration::ZERO));
    }
    if let Ok(day) = NaiveDate::from_str(text) {
        return Ok(Moment::At(timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc())));
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Moment::At(timestamp(at.to_utc())));
    }
    for form in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), form) {
            return Ok(Moment::At(timestamp(at.and_utc())));
        }
    }
    // A bare number would be seconds elsewhere; here it is more likely half of a date.
    if text.chars().all(|c| c.is_ascii_digit()) {
        return Err("write a day as 2026-11-01, a time as 2026-11-01T08:00Z, or so long ago as 24h or 7d".to_owned());
    }
    parse_duration(text)
        .map(Moment::Ago)
        .map_err(|_| "write a day as 2026-11-01, a time as 2026-11-01T08:00Z, or so long ago as 24h or 7d".to_owned())
}

/// The full hour that a time is in.
pub(super) fn hour(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.as_secs() - at.as_secs().rem_euclid(HOUR))
}

/// The beginning of that span up to `to`.
pub(super) fn lately(lately: Lately, to: Timestamp) -> Timestamp {
    match lately {
        Lately::Hours(hours) => hour(to.before(Duration::from_secs(u64::from(hours) * HOUR.unsigned_abs()))),
        Lately::Days(days) => {
            let from = to.before(Duration::from_secs(u64::from(days) * DAY.unsigned_abs()));
            Timestamp::from_secs(from.as_secs() - from.as_secs().rem_euclid(DAY))
        }
        Lately::Months(months) => {
            let day = DateTime::from_timestamp_micros(to.as_micros()).unwrap_or_default().date_naive();
            let first = day.with_day(1).and_then(|first| first.checked_sub_months(Months::new(months)));
            timestamp(first.unwrap_or(day).and_time(chrono::NaiveTime::MIN).and_utc())
        }
    }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from_micros(at.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = Timestamp::from_secs(1_795_166_709);
        for (text, at) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:30Z", "2026-11-01T08:30:00Z"),
            ("2026-11-01T08:30", "2026-11-01T08:30:00Z"),
            ("2026-11-01T08:30:05Z", "2026-11-01T08:30:05Z"),
            ("2026-11-01T08:30:05+02:00", "2026-11-01T06:30:05Z"),
            ("1h30m", "2026-11-20T07:55:09Z"),
            ("7d", "2026-11-13T09:25:09Z"),
            ("now", "2026-11-20T09:25:09Z"),
        ] {
            assert_eq!(parse(text).unwrap().at(now).to_string(), at, "{text}");
        }
        for wrong in ["", "2026", "yesterday", "2026-13-01", "2026-11-01 08:00"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
