//! The one place that draws randomness.

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
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    SessionId(Builder::from_unix_timestamp_millis(millis, &octets()).into_uuid())
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
    }
}
