//! How often those are answered who are bound to nothing: seldom, so that nobody can make the bot talk all day.
//!
//! Remembers chats and times, and only so many of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How often one of them is greeted.
const EVERY: Duration = Duration::from_secs(30);
/// How many chats are remembered as greeted.
const MOST: usize = 1024;

/// Which chats were greeted lately.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    greeted: BTreeMap<String, Instant>,
}

impl Strangers {
    /// Whether that chat may be greeted now; it counts as greeted then.
    pub(super) fn may_be_greeted(&mut self, chat: &str, now: Instant) -> bool {
        self.greeted.retain(|_, at| now.saturating_duration_since(*at) < EVERY);
        if self.greeted.contains_key(chat) || self.greeted.len() >= MOST {
            return false;
        }
        self.greeted.insert(chat.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_greeted_once_in_a_while() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        assert!(strangers.may_be_greeted("1", start));
        assert!(!strangers.may_be_greeted("1", start + EVERY - Duration::from_millis(1)));
        assert!(strangers.may_be_greeted("2", start + Duration::from_secs(29)));
        assert!(strangers.may_be_greeted("1", start + EVERY));
    }

    #[test]
    fn a_crowd_of_strangers_is_not_remembered_without_end() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let greeted = (0..5000).filter(|id: &i32| strangers.may_be_greeted(&id.to_string(), start)).count();
        assert_eq!(greeted, MOST);
    }
}
