//! Strikes: holds that were denied or left unanswered, and the bans that come of too many.
//!
//! Counts; never knows why a session ended (`session` does) and keeps nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bans::{Ban, BanReason, BanTarget};
use super::callers::Caller;
use crate::model::{NasName, SessionId, Timestamp, UserName};

/// Who sets the bans that come of strikes.
pub const BY_ITSELF: &str = "radhold";

/// A hold that ended as no owner's would: each session gives one at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// Whose hold it was.
    pub session: SessionId,
    /// When that was kept.
    pub at: Timestamp,
    /// User-Name: the account it counts against.
    pub user: UserName,
    /// The NAS.
    pub nas: NasName,
    /// The caller it counts against, when the NAS says.
    pub caller: Option<Caller>,
    /// What happened.
    pub why: StrikeReason,
}

/// What a strike was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrikeReason {
    /// Somebody entitled said no.
    Denied,
    /// Somebody entitled chose a number that is not on the screen of whoever logs in.
    WrongNumber,
    /// Somebody was asked, and nobody answered in time.
    Unanswered,
    /// Somebody was asked, and the caller was gone, or had dialled again, before anybody answered.
    GaveUp,
}

impl StrikeReason {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::WrongNumber => "wrong-number",
            Self::Unanswered => "unanswered",
            Self::GaveUp => "gave-up",
        }
    }
}

impl fmt::Display for StrikeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StrikeReason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Denied, Self::WrongNumber, Self::Unanswered, Self::GaveUp]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| format!("no strike is for {text:?}"))
    }
}

/// How many strikes, within what time, make which ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrikeLimits {
    /// So many; zero is never.
    pub limit: u32,
    /// Within this time.
    pub window: Duration,
    /// A ban for so long.
    pub ban: Duration,
}

impl Default for StrikeLimits {
    fn default() -> Self {
        Self { limit: 10, window: Duration::from_secs(1800), ban: Duration::from_secs(1800) }
    }
}

/// The bans that are due now, by target. `bans` are those there are, ended ones too: a strike that led to a ban, or was forgiven
/// with one that was lifted, counts no more. `allowed` says whether a strike came from an allowed network, against which no ban is
/// set by itself.
pub fn due<'a>(
    strikes: impl IntoIterator<Item = &'a Strike>,
    bans: &[Ban],
    limits: &StrikeLimits,
    allowed: impl Fn(&Strike) -> bool,
    now: Timestamp,
) -> Vec<Ban> {
    let settled: BTreeMap<&BanTarget, Timestamp> =
        bans.iter().map(|ban| (&ban.target, ban.since.max(ban.lifted_at.unwrap_or(ban.since)))).collect();
    let in_force = |target: &BanTarget| bans.iter().any(|ban| ban.target == *target && ban.in_force(now));
    let mut counts: BTreeMap<BanTarget, u32> = BTreeMap::new();
    for strike in strikes {
        let caller = strike.caller.as_ref().filter(|_| !allowed(strike)).map(BanTarget::of_caller);
        for target in caller.into_iter().chain([BanTarget::Account(strike.user.clone())]) {
            let old = settled.get(&target).is_some_and(|settled| strike.at <= *settled);
            if !old && now.since(strike.at) < limits.window {
                *counts.entry(target).or_default() += 1;
            }
        }
    }
    counts
        .into_iter()
        .filter(|(target, count)| limits.limit > 0 && *count >= limits.limit && !in_force(target))
        .map(|(target, count)| Ban {
            target,
            since: now,
            until: Some(now + limits.ban),
            lifted_at: None,
            reason: BanReason::Strikes(count).to_string(),
            by: BY_ITSELF.to_owned(),
            automatic: true,
            forced: false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn strike(number: u128, at: i64, user: &str, caller: &str) -> Strike {
        Strike {
            session: SessionId(Uuid::from_u128(number)),
            at: Timestamp::from_secs(at),
            user: user.into(),
            nas: "edge".into(),
            caller: Caller::read(caller),
            why: StrikeReason::Denied,
        }
    }

    fn limits() -> StrikeLimits {
        StrikeLimits { limit: 3, window: Duration::from_secs(100), ban: Duration::from_secs(50) }
    }

    fn targets(bans: &[Ban]) -> Vec<String> {
        bans.iter().map(|ban| ban.target.to_string()).collect()
    }

    #[test]
    fn account_and_caller_count_for_themselves() {
        let strikes =
            [strike(1, 10, "a", "192.0.2.7"), strike(2, 11, "b", "192.0.2.7"), strike(3, 12, "a", "192.0.2.7")];
        let now = Timestamp::from_secs(12);
        let bans = due(&strikes, &[], &limits(), |_| false, now);
        assert_eq!(targets(&bans), ["address 192.0.2.7"]);
        assert_eq!(bans[0].until, Some(now + Duration::from_secs(50)));
        assert_eq!(due(&strikes, &[], &StrikeLimits { limit: 0, ..limits() }, |_| false, now), []);
    }

    #[test]
    fn an_allowed_network_is_never_banned_by_itself() {
        let strikes = [1, 2, 3].map(|number| strike(number, 10, "a", "10.0.0.7"));
        let bans = due(&strikes, &[], &limits(), |_| true, Timestamp::from_secs(12));
        assert_eq!(targets(&bans), ["account a"]);
    }

    #[test]
    fn what_led_to_a_ban_or_was_forgiven_counts_no_more() {
        let strikes = [1, 2, 3].map(|number| strike(number, 10, "a", ""));
        let mut bans = due(&strikes, &[], &limits(), |_| false, Timestamp::from_secs(12));
        assert_eq!(targets(&bans), ["account a"]);
        assert_eq!(due(&strikes, &bans, &limits(), |_| false, Timestamp::from_secs(12)), [], "it is in force");
        assert_eq!(due(&strikes, &bans, &limits(), |_| false, Timestamp::from_secs(63)), [], "it is over");
        bans[0].lifted_at = Some(Timestamp::from_secs(20));
        let more = [strikes.to_vec(), vec![strike(4, 19, "a", ""), strike(5, 21, "a", "")]].concat();
        assert_eq!(due(&more, &bans, &limits(), |_| false, Timestamp::from_secs(22)), [], "forgiven");
    }

    proptest! {
        /// Beside the plainest count there is: whoever has `limit` strikes within the window is banned, and nobody else.
        #[test]
        fn bans_are_those_of_a_plain_count(
            events in prop::collection::vec((0_i64..300, 0_u8..3, 0_u8..4), 0..40),
            now in 0_i64..300,
        ) {
            let strikes: Vec<_> = events.iter().enumerate()
                .map(|(number, (at, user, caller))| {
                    strike(number as u128, *at, &format!("u{user}"), &format!("192.0.2.{caller}"))
                })
                .collect();
            let recent = |at: i64| now - at < 100;
            let mut expected = Vec::new();
            for caller in 0..4 {
                if events.iter().filter(|(at, _, c)| recent(*at) && *c == caller).count() >= 3 {
                    expected.push(format!("address 192.0.2.{caller}"));
                }
            }
            for user in 0..3 {
                if events.iter().filter(|(at, u, _)| recent(*at) && *u == user).count() >= 3 {
                    expected.push(format!("account u{user}"));
                }
            }
            let bans = due(&strikes, &[], &limits(), |_| false, Timestamp::from_secs(now));
            prop_assert_eq!(targets(&bans), expected);
            prop_assert_eq!(due(&strikes, &bans, &limits(), |_| false, Timestamp::from_secs(now)), vec![]);
        }
    }
}
