//! How often strangers are answered, and how often a chat may be wrong about a link: seldom, so that nobody can make the bot talk
//! all day, or try links.
//!
//! Remembers chats and times, and only so many of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often a stranger is greeted.
const GREETED_EVERY: Duration = Duration::from_secs(30);
/// How often a chat may be wrong within an hour.
const GUESSES: u32 = 5;
/// For how long that counts.
const WINDOW: Duration = Duration::from_secs(3600);
/// How many chats are remembered for each.
const MOST: usize = 1024;

/// What strangers did lately.
#[derive(Debug, Default)]
pub(super) struct Patience {
    greeted: BTreeMap<String, Instant>,
    wrong: BTreeMap<String, (u32, Instant)>,
}

impl Patience {
    /// Whether that chat may be greeted now; it counts as greeted then.
    pub(super) fn may_be_greeted(&mut self, chat: &str, now: Instant) -> bool {
        self.greeted.retain(|_, at| now.saturating_duration_since(*at) < GREETED_EVERY);
        if self.greeted.contains_key(chat) || self.greeted.len() >= MOST {
            return false;
        }
        self.greeted.insert(chat.to_owned(), now);
        true
    }

    /// Whether that chat may try once more. A chat that was wrong too often is not listened to, whatever it has now.
    pub(super) fn may_guess(&mut self, chat: &str, now: Instant) -> bool {
        self.wrong.retain(|_, (_, since)| now.saturating_duration_since(*since) < WINDOW);
        self.wrong.get(chat).is_none_or(|(times, _)| *times < GUESSES)
    }

    /// That chat was wrong. Of too many, the one that has been so for the longest is forgotten: a crowd of strangers must not keep those
    /// out who have a link, and of 160 random bits no crowd guesses any.
    pub(super) fn was_wrong(&mut self, chat: &str, now: Instant) {
        if self.wrong.len() >= MOST && !self.wrong.contains_key(chat) {
            let oldest = self.wrong.iter().min_by_key(|(_, (_, since))| *since).map(|(chat, _)| chat.clone());
            if let Some(oldest) = oldest {
                self.wrong.remove(&oldest);
            }
        }
        self.wrong.entry(chat.to_owned()).or_insert((0, now)).0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_greeted_once_in_a_while() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert!(patience.may_be_greeted("1", start));
        assert!(!patience.may_be_greeted("1", start + GREETED_EVERY - Duration::from_millis(1)));
        assert!(patience.may_be_greeted("2", start + Duration::from_secs(29)));
        assert!(patience.may_be_greeted("1", start + GREETED_EVERY));
    }

    #[test]
    fn a_crowd_of_strangers_is_not_remembered_without_end() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let greeted = (0..5000).filter(|id: &i32| patience.may_be_greeted(&id.to_string(), start)).count();
        assert_eq!(greeted, MOST);
    }

    #[test]
    fn a_crowd_that_guesses_keeps_nobody_out() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        for id in 0..5000 {
            let (chat, now) = (id.to_string(), start + Duration::from_millis(id));
            assert!(patience.may_guess(&chat, now));
            patience.was_wrong(&chat, now);
        }
        assert_eq!(patience.wrong.len(), MOST);
        assert!(patience.wrong.contains_key("4999") && !patience.wrong.contains_key("0"));
        assert!(patience.may_guess("meant", start + Duration::from_secs(6)));
    }

    #[test]
    fn who_is_wrong_too_often_is_not_heard_for_a_while_and_others_are() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        for _ in 0..GUESSES {
            assert!(patience.may_guess("1", start));
            patience.was_wrong("1", start);
        }
        assert!(!patience.may_guess("1", start + WINDOW / 2) && patience.may_guess("2", start));
        assert!(patience.may_guess("1", start + WINDOW));
    }
}
