//! `[totp]`, and where on a NAS a code is entered.

use std::time::Duration;

use super::reader::Section;
use crate::model::CodeEntry;

/// No code is worth more than this many steps on either side: each is one more that a guess may hit.
const WINDOW_MOST: u8 = 5;
/// State is kept that long by those who strike it off.
const CHALLENGE_MOST: Duration = Duration::from_secs(600);

/// Codes as a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totp {
    /// What authenticators show beside the name.
    pub issuer: String,
    /// Steps of 30 seconds that a clock may be fast or slow by.
    pub window: u8,
    /// Codes one user may try within a minute.
    pub tries_per_minute: u32,
    /// Whether a code may stand behind a PAP password, where neither user nor NAS says otherwise.
    pub in_password: bool,
    /// How long an Access-Challenge may be answered.
    pub challenge_for: Duration,
    /// So many wrong codes in a row of challenges are an Access-Reject.
    pub challenge_tries: u8,
}

impl Default for Totp {
    fn default() -> Self {
        Self {
            issuer: "radhold".to_owned(),
            window: 1,
            tries_per_minute: 5,
            in_password: false,
            challenge_for: Duration::from_secs(60),
            challenge_tries: 3,
        }
    }
}

pub(super) fn totp(mut section: Section<'_>) -> Totp {
    let usual = Totp::default();
    let totp = Totp {
        issuer: section.text("issuer").unwrap_or(usual.issuer),
        window: section.number("window", 0).unwrap_or(usual.window),
        tries_per_minute: section.number("tries_per_minute", 1).unwrap_or(usual.tries_per_minute),
        in_password: section.boolean("in_password").unwrap_or(usual.in_password),
        challenge_for: section.duration("challenge_for").unwrap_or(usual.challenge_for),
        challenge_tries: section.number("challenge_tries", 1).unwrap_or(usual.challenge_tries),
    };
    if totp.issuer.is_empty() || totp.issuer.contains(':') {
        section.problem("issuer", "is empty or has a colon, which authenticators take for its end");
    }
    if totp.window > WINDOW_MOST {
        section.problem("window", format!("is more than {WINDOW_MOST} steps; set the clock of the phone instead"));
    }
    if totp.challenge_for.is_zero() || totp.challenge_for > CHALLENGE_MOST {
        section.problem("challenge_for", "must be more than zero and at most 10m");
    }
    section.finish();
    totp
}

/// The keys of a NAS.
pub(super) fn entry(section: &mut Section<'_>) -> CodeEntry {
    CodeEntry {
        in_password: section.boolean("totp_in_password"),
        challenge: section.boolean("challenge").unwrap_or(false),
        or_reject: section.boolean("code_or_reject").unwrap_or(false),
    }
}
