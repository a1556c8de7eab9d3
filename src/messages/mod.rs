//! Every word people read: Fluent messages, by language.
//!
//! | file | what it is |
//! |---|---|
//! | `config/messages/LANGUAGE/*.ftl` | the texts, read into the binary by `build.rs` |
//! | `load.rs` | the embedded texts and the operator's over them; checks all of them |
//! | `arguments.rs` | which arguments a message has, and samples of them; pure |
//! | `measures.rs` | how long and how much; pure |
//! | `form.rs` | what Telegram takes: length and tags; pure |
//! | `error.rs` | what is wrong, by file and line |
//!
//! What begins with `alert-`, `answer-`, `button-`, `command-`, `portal-` or `reply-` is plain text with a limit of its own; all else is HTML.
//! Text from the network is a guest: the caller escapes it before it becomes an argument, and says so by which [`Value`]
//! it makes of it. Never knows whom a text is for, or what becomes of it.

mod arguments;
mod error;
mod form;
mod load;
mod measures;
#[cfg(test)]
mod snapshot;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

pub use self::error::{MessageProblem, MessagesError};
#[cfg(test)]
pub(crate) use self::form::seen;
#[cfg(test)]
pub(crate) use self::snapshot::compare_snapshot;
pub use crate::model::Language;

/// All texts in all languages, checked. Others can take their place while they are in use.
pub struct Messages(RwLock<Arc<Said>>);

/// The texts in force.
struct Said {
    languages: BTreeMap<Language, FluentBundle<FluentResource>>,
    arguments: BTreeMap<String, arguments::Arguments>,
}

/// An argument of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text, put in as it is: escaped by the caller where the message is HTML.
    Text(Cow<'a, str>),
    /// A number, which chooses plural forms.
    Number(i64),
}

impl Messages {
    /// What a message says in a language, else in English.
    ///
    /// An id that does not exist is our own mistake, and no reason to ask nobody: it stands for itself then. A test
    /// looks at every id in the sources.
    pub fn say(&self, language: &Language, id: &str, arguments: &[(&str, Value<'_>)]) -> String {
        let arguments: FluentArgs<'_> =
            arguments.iter().map(|(name, value)| (*name, FluentValue::from(value.clone()))).collect();
        let (english, said) = (Language::english(), self.said());
        let in_language = |language: &Language| {
            let bundle = said.languages.get(language)?;
            let pattern = bundle.get_message(id)?.value()?;
            let mut errors = Vec::new();
            let text = bundle.format_pattern(pattern, Some(&arguments), &mut errors).into_owned();
            Some((text, errors.is_empty()))
        };
        match in_language(language) {
            Some((text, true)) => text,
            flawed => in_language(&english).or(flawed).map_or_else(|| id.to_owned(), |(text, _)| text),
        }
    }

    /// Whether there is anything in that language.
    pub fn speaks(&self, language: &Language) -> bool {
        self.said().languages.contains_key(language)
    }

    /// All languages, by tag.
    pub fn languages(&self) -> Vec<Language> {
        self.said().languages.keys().cloned().collect()
    }

    /// All ids, in order.
    pub fn ids(&self) -> Vec<String> {
        self.said().arguments.keys().cloned().collect()
    }

    /// Whether a language says that message in its own words.
    pub fn says(&self, language: &Language, id: &str) -> bool {
        self.said().languages.get(language).is_some_and(|bundle| bundle.get_message(id).is_some())
    }

    /// Says from now on what those say.
    pub fn replace(&self, others: &Self) {
        let others = others.said();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = others;
    }

    fn said(&self) -> Arc<Said> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("languages", &self.languages()).finish_non_exhaustive()
    }
}

impl<'a> From<Value<'a>> for FluentValue<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Text(text) => FluentValue::String(text),
            Value::Number(number) => FluentValue::from(number),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
