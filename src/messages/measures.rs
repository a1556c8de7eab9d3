//! How long and how much, in the words of a language. Pure.

use std::time::Duration;

use super::{Language, Messages, Value};

/// Units of a thousand each, above bytes.
const UNITS: [&str; 4] = ["word-kilobytes", "word-megabytes", "word-gigabytes", "word-terabytes"];

impl Messages {
    /// A duration in its two largest units: `2 days 3 h`, `40 s`.
    pub fn duration(&self, language: &Language, duration: Duration) -> String {
        let seconds = duration.as_secs();
        let parts = [
            ("word-days", "days", seconds / 86_400),
            ("word-hours", "hours", seconds / 3600 % 24),
            ("word-minutes", "minutes", seconds / 60 % 60),
            ("word-seconds", "seconds", seconds % 60),
        ];
        let first = parts.iter().position(|(_, _, count)| *count > 0).unwrap_or(parts.len() - 1);
        let shown =
            parts[first..].iter().take(2).enumerate().filter(|(place, (_, _, count))| *place == 0 || *count > 0);
        let said = shown.map(|(_, (id, name, count))| self.say(language, id, &[(name, Value::from(*count))]));
        said.collect::<Vec<_>>().join(" ")
    }

    /// An amount of data, to two or three digits: `512 bytes`, `1.4 GB`, `86 MB`.
    pub fn size(&self, language: &Language, bytes: u64) -> String {
        if bytes < 1000 {
            return self.say(language, "word-bytes", &[("bytes", bytes.into())]);
        }
        // What rounds up to a thousand is one of the next unit.
        let (mut unit, mut size) = (0, 1000_u64);
        while rounded(bytes, size) >= 1000 && unit + 1 < UNITS.len() {
            size *= 1000;
            unit += 1;
        }
        let mark = self.say(language, "word-decimal-mark", &[]);
        let size = match rounded(bytes, size / 10) {
            tenths @ 0..100 => format!("{}{mark}{}", tenths / 10, tenths % 10),
            _ => rounded(bytes, size).to_string(),
        };
        self.say(language, UNITS[unit], &[("size", size.into())])
    }
}

fn rounded(count: u64, by: u64) -> u64 {
    count.saturating_add(by / 2) / by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_their_two_largest_units() {
        let messages = Messages::load(None).unwrap();
        let said = |tag: &str, seconds| messages.duration(&tag.parse().unwrap(), Duration::from_secs(seconds));
        assert_eq!(said("en", 0), "0 s");
        assert_eq!(said("en", 59), "59 s");
        assert_eq!(said("en", 60), "1 min");
        assert_eq!(said("en", 3 * 3600 + 61), "3 h 1 min");
        assert_eq!(said("en", 86_400 + 59), "1 day");
        assert_eq!(said("en", 5 * 86_400 + 7200), "5 days 2 h");
        for (days, word) in
            [(1, "1 день"), (2, "2 дня"), (5, "5 дней"), (11, "11 дней"), (21, "21 день"), (22, "22 дня")]
        {
            assert_eq!(said("ru", days * 86_400), word);
        }
        assert_eq!(said("ru", 3661), "1 ч 1 мин");
    }

    #[test]
    fn sizes_have_two_or_three_digits_and_round_into_the_next_unit() {
        let messages = Messages::load(None).unwrap();
        let said = |tag: &str, bytes| messages.size(&tag.parse().unwrap(), bytes);
        for (bytes, words) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (86_400_000, "86 MB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_400_000_000, "1.4 GB"),
            (123_456_000_000_000, "123 TB"),
        ] {
            assert_eq!(said("en", bytes), words);
        }
        assert_eq!(said("ru", 1_400_000_000), "1,4 ГБ");
        assert_eq!(said("ru", 2), "2 байта");
        assert!(said("en", u64::MAX).ends_with(" TB"));
    }
}
