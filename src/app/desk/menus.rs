//! The commands that are offered, by language and by who somebody is.

use std::sync::PoisonError;

use super::Desk;
use crate::approver::Menu;
use crate::model::Language;

/// For people.
const PEOPLE: [(&str, &str); 7] = [
    ("sessions", "command-sessions"),
    ("history", "command-history"),
    ("trusted", "command-trusted"),
    ("lang", "command-lang"),
    ("zone", "command-zone"),
    ("quiet", "command-quiet"),
    ("help", "command-help"),
];

/// For administrators, before the others.
const ADMINISTRATORS: [(&str, &str); 7] = [
    ("held", "command-held"),
    ("online", "command-online"),
    ("bans", "command-bans"),
    ("permit", "command-permit"),
    ("kick", "command-kick"),
    ("stats", "command-stats"),
    ("enrol", "command-enrol"),
];

impl Desk {
    /// What is offered where. English is for those whose language we do not speak, too.
    pub(in crate::app) fn menus(&self) -> Vec<Menu> {
        let english = Language::english();
        let spoken = self.parts.voice.messages.languages();
        let languages = spoken.iter().filter(|language| **language != english);
        let languages: Vec<_> = std::iter::once((None, &english))
            .chain(languages.map(|language| (Some(language.as_str().to_owned()), language)))
            .collect();
        let say = |language: &Language, commands: &mut dyn Iterator<Item = (&str, &str)>| {
            commands.map(|(name, what)| (name.to_owned(), self.say(language, what, &[]))).collect::<Vec<_>>()
        };
        let (rules, mut menus) = (self.rules(), Vec::new());
        let dismissed = self.dismissed.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (tag, language) in &languages {
            let commands = say(language, &mut PEOPLE.into_iter());
            menus.push(Menu { chat: None, language: tag.clone(), commands: commands.clone() });
            // A menu of one's own stays until it is written over.
            for chat in &dismissed {
                menus.push(Menu { chat: Some(chat.clone()), language: tag.clone(), commands: commands.clone() });
            }
            for chat in &rules.administrators {
                let commands = say(language, &mut ADMINISTRATORS.into_iter().chain(PEOPLE));
                menus.push(Menu { chat: Some(chat.clone()), language: tag.clone(), commands });
            }
        }
        menus
    }
}
