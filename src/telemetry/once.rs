//! So that a stranger's packets cannot fill the log. Knows no clock: the time is given.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;

/// Says of each key whether its window's first time has come: a thing is logged once per window and key, however often it
/// happens.
///
/// Remembers a bounded number of keys. While it is full, further keys are not let through: a sender of many forged
/// addresses gets as many lines per window as there is room, and no more; and each of its packets costs a lookup, not a search for room.
#[derive(Debug)]
pub struct OncePerWindow<K> {
    window: Duration,
    room: usize,
    seen: Mutex<Keys<K>>,
}

#[derive(Debug)]
struct Keys<K> {
    seen: HashMap<K, Seen>,
    /// There is no room before, however often it is looked for.
    full_until: Option<Timestamp>,
}

#[derive(Debug)]
struct Seen {
    since: Timestamp,
    kept_back: u64,
}

impl<K: Eq + Hash> OncePerWindow<K> {
    /// Lets each key through once per `window`, with room for so many keys.
    pub fn new(window: Duration, room: usize) -> Self {
        Self { window, room, seen: Mutex::new(Keys { seen: HashMap::new(), full_until: None }) }
    }

    /// `Some` when it should be logged now, with how many times it was kept back since it last was.
    pub fn first(&self, key: K, now: Timestamp) -> Option<u64> {
        let mut keys = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Keys { seen, full_until } = &mut *keys;
        if let Some(known) = seen.get_mut(&key) {
            if now.since(known.since) < self.window {
                known.kept_back += 1;
                return None;
            }
            let kept_back = known.kept_back;
            *known = Seen { since: now, kept_back: 0 };
            return Some(kept_back);
        }
        if seen.len() >= self.room {
            if full_until.is_some_and(|until| now < until) {
                return None;
            }
            seen.retain(|_, known| now.since(known.since) < self.window);
            if seen.len() >= self.room {
                *full_until = seen.values().map(|known| known.since + self.window).min();
                return None;
            }
        }
        seen.insert(key, Seen { since: now, kept_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn once_per_window_and_key_with_what_was_kept_back() {
        let once = OncePerWindow::new(Duration::from_secs(60), 10);
        assert_eq!(once.first("a", at(0)), Some(0));
        assert_eq!(once.first("a", at(1)), None);
        assert_eq!(once.first("b", at(1)), Some(0));
        assert_eq!(once.first("a", at(59)), None);
        assert_eq!(once.first("a", at(60)), Some(2));
        assert_eq!(once.first("a", at(61)), None);
    }

    #[test]
    fn many_keys_are_bounded_and_room_returns() {
        let once = OncePerWindow::new(Duration::from_secs(60), 3);
        let lines = (0..1000).filter(|key| once.first(*key, at(0)).is_some()).count();
        assert_eq!(lines, 3);
        let lines = (0..1000).filter(|key| once.first(*key, at(59)).is_some()).count();
        assert_eq!(lines, 0);
        let lines = (0..1000).filter(|key| once.first(*key, at(60)).is_some()).count();
        assert_eq!(lines, 3);
    }
}
