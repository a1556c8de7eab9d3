//! Slow passwords that were right lately (`auth::Remembered`), by user.

use std::time::Duration;

use dashmap::DashMap;

use super::super::chance;
use crate::auth::{Proof, RememberKey, Remembered};
use crate::model::{Timestamp, User, UserName};

/// Users remembered, at most.
const MOST: usize = 100_000;

/// The passwords a server remembers.
#[derive(Debug)]
pub(super) struct RememberedPasswords {
    key: RememberKey,
    users: DashMap<UserName, Remembered>,
}

impl RememberedPasswords {
    pub(super) fn new() -> Self {
        Self { key: RememberKey::new(chance::octets()), users: DashMap::new() }
    }

    /// Remembers a password that was just proven, for so long; not at all when that is no time.
    pub(super) fn remember(&self, proof: &Proof, user: &User, password: &[u8], now: Timestamp, time: Duration) {
        if time.is_zero() {
            return;
        }
        if self.users.len() >= MOST {
            self.users.retain(|_, remembered| remembered.counts(now));
            if self.users.len() >= MOST {
                self.users.clear();
            }
        }
        let remembered = self.key.remember(proof, user.credential.expose(), password, now + time);
        self.users.insert(user.name.clone(), remembered);
    }

    /// What is remembered of a user; nothing where passwords are to be remembered for no time.
    pub(super) fn of(&self, user: &UserName, time: Duration) -> Option<Remembered> {
        if time.is_zero() {
            return None;
        }
        self.users.get(user).map(|remembered| *remembered)
    }

    /// The proof of a password that is remembered.
    pub(super) fn recognise(
        &self,
        remembered: &Remembered,
        user: &User,
        password: &[u8],
        now: Timestamp,
    ) -> Option<Proof> {
        self.key.recognise(remembered, user.credential.expose(), password, now)
    }

    /// Whether whatever else this user gives is wrong.
    pub(super) fn rules_out_others(&self, remembered: &Remembered, user: &User, now: Timestamp) -> bool {
        self.key.rules_out_others(remembered, user.credential.expose(), now)
    }
}
