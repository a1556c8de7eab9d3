//! Durations as people write them: `90s`, `2m`, `1h30m`, `500ms`, or a number of seconds.

use std::fmt::Write as _;
use std::time::Duration;

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration; write 90s, 2m, 1h30m, 500ms or 7d")]
pub struct DurationError(String);

/// Longest first where one begins with another, for reading; and biggest first, for writing.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `90s`, `2m`, `1h30m`, `500ms`, `7d`; a bare whole number is seconds.
///
/// # Errors
/// [`DurationError`] when it is none of these.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(error)?;
        rest = rest[letters..].trim_start();
        millis = number.checked_mul(unit).and_then(|part| millis.checked_add(part)).ok_or_else(error)?;
    }
    Ok(Duration::from_millis(millis))
}

/// Writes what [`parse_duration`] reads, to the millisecond: `1h30m`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS {
        if millis >= unit {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{name}", millis / unit);
            millis %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("7d", 604_800_000),
            ("45", 45_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in
            ["", "soon", "5 parsecs", "-1s", "1.5s", "s", "1s2", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0s", "1h30m", "500ms", "1m30s250ms", "7d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
