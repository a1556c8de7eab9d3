//! `[callers]`, `[strikes]`, `[lockout]` and `[audit]`, and a NAS's own lists of callers.

use std::time::Duration;

use super::reader::Section;
use super::values::network;
use crate::model::CallerLists;
use crate::policy::{LockoutLimits, StrikeLimits};

/// The audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// How long acts are kept; zero is for ever.
    pub keep: Duration,
}

pub(super) fn callers(mut section: Section<'_>) -> CallerLists {
    let lists = lists(&mut section, "allow", "deny");
    section.finish();
    lists
}

/// Two lists of networks under these keys.
pub(super) fn lists(section: &mut Section<'_>, allow: &str, deny: &str) -> CallerLists {
    let mut list = |key| section.list(key, "an address or network", network).unwrap_or_default();
    CallerLists { allow: list(allow), deny: list(deny) }
}

pub(super) fn strikes(mut section: Section<'_>) -> StrikeLimits {
    let usual = StrikeLimits::default();
    let limits = StrikeLimits {
        limit: section.number("limit", 0).unwrap_or(usual.limit),
        window: section.duration("window").unwrap_or(usual.window),
        ban: section.duration("ban").unwrap_or(usual.ban),
    };
    for (key, duration) in [("window", limits.window), ("ban", limits.ban)] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero; limit = 0 turns bans by strikes off");
        }
    }
    section.finish();
    limits
}

pub(super) fn lockout(mut section: Section<'_>) -> LockoutLimits {
    let usual = LockoutLimits::default();
    let limits = LockoutLimits {
        free: section.number("free", 0).unwrap_or(usual.free),
        delay_first: section.duration("delay_first").unwrap_or(usual.delay_first),
        delay_most: section.duration("delay_most").unwrap_or(usual.delay_most),
        forget: section.duration("forget").unwrap_or(usual.forget),
        known_for: section.duration("known_for").unwrap_or(usual.known_for),
    };
    if limits.delay_first.is_zero() {
        section.problem("delay_first", "cannot be zero; free = 0 turns lockout off");
    }
    if limits.delay_first > limits.delay_most {
        section.problem("delay_first", "is longer than delay_most");
    }
    if limits.forget < limits.delay_most {
        section.problem("forget", "is shorter than delay_most; a delay would be forgotten while it lasts");
    }
    section.finish();
    limits
}

pub(super) fn audit(mut section: Section<'_>) -> Audit {
    let audit = Audit { keep: section.duration("keep").unwrap_or(Duration::from_secs(400 * 86_400)) };
    section.finish();
    audit
}
