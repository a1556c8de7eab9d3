//! What operators are told: which message, and what it is about. It is put into words where it is known who reads it.

use crate::messages::{Messages, Value};
use crate::model::{Language, Timestamp, Zone};

/// Something to be told, in whatever language and by whatever clock it is read. Plain text: the ids of its messages begin with
/// `alert-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    id: &'static str,
    facts: Vec<(&'static str, Fact)>,
}

/// An argument of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Text, or the word that chooses a variant.
    Text(String),
    /// A number, which chooses plural forms.
    Number(u64),
    /// A time, told by the reader's clock.
    Moment(Timestamp),
}

/// Text from elsewhere is cut to so many characters.
const TEXT: usize = 400;

impl Notice {
    /// The message of that id, without arguments.
    pub fn new(id: &'static str) -> Self {
        Self { id, facts: Vec::new() }
    }

    /// The same with an argument more.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.facts.push((name, fact.into()));
        self
    }

    /// In words.
    pub fn say(&self, messages: &Messages, language: &Language, zone: Zone) -> String {
        let value = |fact: &Fact| match fact {
            Fact::Text(text) => Value::from(text.chars().take(TEXT).collect::<String>()),
            Fact::Number(number) => Value::from(*number),
            Fact::Moment(at) => Value::from(zone.moment(*at)),
        };
        let arguments: Vec<_> = self.facts.iter().map(|(name, fact)| (*name, value(fact))).collect();
        messages.say(language, self.id, &arguments)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Timestamp> for Fact {
    fn from(at: Timestamp) -> Self {
        Self::Moment(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_in_the_readers_language_and_by_their_clock() {
        let messages = Messages::load(None).unwrap();
        let notice = Notice::new("alert-operator-asked")
            .with("user", "bob")
            .with("nas", "edge")
            .with("session", "01936f2e")
            .with("caller", "unknown")
            .with("from", "")
            .with("left", 30)
            .with("until", Timestamp::from_secs(1_795_166_709));
        let said =
            |language: &str, zone: &str| notice.say(&messages, &language.parse().unwrap(), zone.parse().unwrap());
        let english = said("en", "UTC");
        assert!(english.contains("bob on edge") && english.contains("09:25:09 UTC"), "{english}");
        let russian = said("ru", "Europe/Moscow");
        assert!(russian.contains("bob") && russian.contains("12:25:09 MSK"), "{russian}");
        assert!(!russian.contains("waits"), "{russian}");
    }

    #[test]
    fn what_comes_from_elsewhere_is_cut() {
        let messages = Messages::load(None).unwrap();
        let notice = Notice::new("alert-emergency-code").with("user", "x".repeat(5000));
        assert!(notice.say(&messages, &Language::english(), Zone::UTC).len() < 1000);
    }
}
