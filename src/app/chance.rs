//! The one place that draws randomness.

use std::cell::RefCell;

use uuid::Builder;

use crate::model::{SessionId, Timestamp};

/// Random octets from the system.
///
/// # Panics
/// When the system has none to give: nothing safe can be done then.
#[expect(clippy::disallowed_methods, reason = "this is where randomness is drawn")]
pub fn octets<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("the system's source of randomness works");
    octets
}

/// The id of a new session: a UUID of version 7 (RFC 9562 §5.7) with the given time, so that ids sort by age.
pub fn session_id(now: Timestamp) -> SessionId {
    session_id_from(now, &few())
}

/// As [`octets`], for somebody who needs a few for each login: from a supply of this thread's, since a way through the system costs more than
/// they do.
///
/// # Panics
/// As [`octets`].
pub fn few<const N: usize>() -> [u8; N] {
    thread_local! {
        static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply::new()) };
    }
    SUPPLY.with_borrow_mut(Supply::octets)
}

fn session_id_from(now: Timestamp, chance: &[u8; 10]) -> SessionId {
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    SessionId(Builder::from_unix_timestamp_millis(millis, chance).into_uuid())
}

/// Randomness of the system's, fetched in advance: for somebody who needs a little for each packet.
pub struct Supply {
    octets: [u8; 4096],
    used: usize,
}

impl Supply {
    /// One that is empty.
    pub const fn new() -> Self {
        Self { octets: [0; 4096], used: 4096 }
    }

    /// As [`octets`].
    ///
    /// # Panics
    /// As [`octets`], and for more than it holds.
    pub fn octets<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.octets.len() {
            self.octets = octets();
            self.used = 0;
        }
        let next = &mut self.octets[self.used..self.used + N];
        self.used += N;
        let drawn = (&*next).try_into().expect("as long as it says");
        // Nobody finds out afterwards what was drawn.
        next.fill(0);
        drawn
    }

    /// As [`session_id`].
    pub fn session_id(&mut self, now: Timestamp) -> SessionId {
        session_id_from(now, &self.octets())
    }
}

impl Default for Supply {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Supply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supply").field("used", &self.used).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_time_and_differ() {
        let [early, late] = [1_795_000_000, 1_795_000_001].map(|secs| session_id(Timestamp::from_secs(secs)));
        assert!(early < late);
        assert_eq!(early.0.get_version_num(), 7);
        assert_eq!(early.0.get_timestamp().map(|time| time.to_unix().0), Some(1_795_000_000));
        assert_ne!(session_id(Timestamp::default()), session_id(Timestamp::default()));
        let mut supply = Supply::new();
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| supply.session_id(Timestamp::default())).collect();
        assert_eq!(ids.len(), 1000);
    }
}
