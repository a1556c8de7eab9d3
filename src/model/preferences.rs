//! How one chat wants to be spoken to.

use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;

use super::Timestamp;

/// A language, by the first part of its tag (RFC 5646): `en`, `ru`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(String);

impl Language {
    /// English, which every text has.
    pub fn english() -> Self {
        Self("en".to_owned())
    }

    /// Its tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::english()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From any tag that begins with one: `ru`, `ru-RU`, `pt_BR`.
impl FromStr for Language {
    type Err = String;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        let is_one = matches!(primary.len(), 2..=3) && primary.bytes().all(|letter| letter.is_ascii_alphabetic());
        is_one
            .then(|| Self(primary.to_ascii_lowercase()))
            .ok_or_else(|| format!("{tag:?} is no language; en and ru are"))
    }
}

/// A time zone of the tz database: `Europe/Berlin`, `UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(Tz::UTC);

    /// Its name in the tz database.
    pub fn as_str(&self) -> &'static str {
        self.0.name()
    }

    /// `2026-11-20 12:25:09 MSK` there; for zones whose hours have no name `2026-11-20 09:25:09 +05`.
    pub fn moment(self, at: Timestamp) -> String {
        self.print(at, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// `12:25:09` there.
    pub fn clock(self, at: Timestamp) -> String {
        self.print(at, "%H:%M:%S")
    }

    fn print(self, at: Timestamp, format: &str) -> String {
        match chrono::DateTime::from_timestamp_micros(at.as_micros()) {
            Some(utc) => utc.with_timezone(&self.0).format(format).to_string(),
            None => at.to_string(),
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its name, in any case.
impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let wanted = name.trim();
        let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(wanted));
        found.map(|zone| Self(*zone)).ok_or_else(|| format!("{name:?} is no time zone; Europe/Berlin and UTC are"))
    }
}

/// How one chat wants to be spoken to. What it has not said is for the installation to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preferences {
    /// The language that was chosen.
    pub language: Option<Language>,
    /// The language of the person's device, as the channel last told it.
    pub heard: Option<Language>,
    /// The time zone.
    pub zone: Option<Zone>,
    /// Only questions may sound.
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_the_first_part_of_a_tag() {
        for (tag, language) in [("en", "en"), ("ru-RU", "ru"), ("PT_br", "pt"), (" en ", "en")] {
            assert_eq!(tag.parse::<Language>().unwrap().as_str(), language);
        }
        for tag in ["", "e", "english", "1n", "-ru", "../x"] {
            assert!(tag.parse::<Language>().is_err(), "{tag:?}");
        }
    }

    #[test]
    fn a_zone_tells_its_own_time_through_the_year() {
        let at = Timestamp::from_secs(1_795_166_709);
        let zone = |name: &str| name.parse::<Zone>().unwrap();
        assert_eq!(Zone::UTC.moment(at), "2026-11-20 09:25:09 UTC");
        assert_eq!(zone("europe/moscow").moment(at), "2026-11-20 12:25:09 MSK");
        assert_eq!(zone("Asia/Tashkent").moment(at), "2026-11-20 14:25:09 +05");
        assert_eq!(zone("Europe/Berlin").clock(at), "10:25:09");
        assert_eq!(zone("Europe/Berlin").clock(Timestamp::from_secs(1_782_000_000)), "02:00:00", "summer");
        assert_eq!(zone("europe/moscow").to_string(), "Europe/Moscow");
        assert!("Mars/Olympus".parse::<Zone>().is_err());
    }
}
