//! In which language, and by which clock, a chat is spoken to.
//!
//! Knows no store: whoever keeps what chats prefer is asked through [`Readers`], and answers soon, or not at all.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::messages::{Messages, Value};
use crate::model::{ApproverKind, Language, Preferences, Zone};

/// Knows how chats want to be spoken to.
#[async_trait]
pub trait Readers: Send + Sync {
    /// What a chat prefers; the default when that cannot be known now. Somebody waits for the answer: half a second at most.
    async fn preferences(&self, approver: ApproverKind, address: &str) -> Preferences;

    /// The person of a chat was heard in that language, and was not before.
    async fn heard(&self, approver: ApproverKind, address: &str, language: &Language);
}

/// All words, and whom to say them how.
#[derive(Clone)]
pub struct Voice {
    /// The words.
    pub messages: Arc<Messages>,
    /// The language of who has said nothing about it.
    pub language: Language,
    /// The time zone of who has said nothing about it.
    pub zone: Zone,
    /// Who knows better.
    pub readers: Arc<dyn Readers>,
}

/// How one chat is spoken to.
#[derive(Debug, Clone)]
pub struct Tone {
    messages: Arc<Messages>,
    language: Language,
    zone: Zone,
    quiet: bool,
}

impl Voice {
    /// How a chat is spoken to; `spoken` is the language its person's device speaks at this moment, where known, and is remembered.
    pub async fn tone(&self, approver: ApproverKind, address: &str, spoken: Option<&Language>) -> Tone {
        let known = self.readers.preferences(approver, address).await;
        if let Some(spoken) = spoken.filter(|spoken| known.heard.as_ref() != Some(spoken)) {
            self.readers.heard(approver, address, spoken).await;
        }
        self.tone_of(&known, spoken)
    }

    /// The same of what is known already.
    pub fn tone_of(&self, known: &Preferences, spoken: Option<&Language>) -> Tone {
        let wanted = [known.language.as_ref(), spoken, known.heard.as_ref()];
        let language = wanted.into_iter().flatten().find(|language| self.messages.speaks(language));
        Tone {
            messages: Arc::clone(&self.messages),
            language: language.unwrap_or(&self.language).clone(),
            zone: known.zone.unwrap_or(self.zone),
            quiet: known.quiet,
        }
    }
}

impl Tone {
    /// A message in the language of this chat. See [`Messages::say`].
    pub fn say(&self, id: &str, arguments: &[(&str, Value<'_>)]) -> String {
        self.messages.say(&self.language, id, arguments)
    }

    /// The words.
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// Its language.
    pub fn language(&self) -> &Language {
        &self.language
    }

    /// Its time zone.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Only questions may sound there.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

/// English and UTC, and nobody who knows better.
impl Default for Voice {
    fn default() -> Self {
        Self {
            messages: Arc::new(Messages::load(None).expect("a test has checked the embedded texts")),
            language: Language::english(),
            zone: Zone::UTC,
            readers: Arc::new(Nobody),
        }
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("language", &self.language).field("zone", &self.zone).finish_non_exhaustive()
    }
}

struct Nobody;

#[async_trait]
impl Readers for Nobody {
    async fn preferences(&self, _: ApproverKind, _: &str) -> Preferences {
        Preferences::default()
    }

    async fn heard(&self, _: ApproverKind, _: &str, _: &Language) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_counts_before_the_device_and_the_device_before_the_installation() {
        let voice = Voice { language: "ru".parse().unwrap(), ..Voice::default() };
        let language = |tag: &str| Some(tag.parse::<Language>().unwrap());
        let tone = |chosen, spoken: Option<Language>, heard| {
            let known = Preferences { language: chosen, heard, ..Preferences::default() };
            voice.tone_of(&known, spoken.as_ref()).language().to_string()
        };
        assert_eq!(tone(None, None, None), "ru");
        assert_eq!(tone(None, None, language("en")), "en");
        assert_eq!(tone(None, language("ru"), language("en")), "ru");
        assert_eq!(tone(language("en"), language("ru"), language("ru")), "en");
        assert_eq!(tone(None, language("fr"), language("en")), "en", "nobody speaks French here");
        assert_eq!(tone(language("fr"), None, None), "ru");
    }
}
