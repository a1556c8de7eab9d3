//! A link by which a chat is bound: drawn, described, printed. Kept is its hash alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::chance;
use crate::model::{ApproverKind, Enrolment, EnrolmentId, EnrolmentState, Secret, Timestamp, UserName};

/// Octets of a token: 160 bits, 27 characters of the 64 a deep link may have.
const TOKEN: usize = 20;

/// A link that was just made. Whoever has its token may bind their chat.
#[derive(Debug)]
pub struct Offer {
    /// What is kept.
    pub enrolment: Enrolment,
    token: Secret,
}

impl Offer {
    /// Draws a link for a user.
    pub fn new(
        user: &UserName,
        approver: ApproverKind,
        made_by: impl Into<String>,
        now: Timestamp,
        valid_for: Duration,
        replace: bool,
    ) -> Self {
        let token = URL_SAFE_NO_PAD.encode(chance::octets::<TOKEN>());
        let enrolment = Enrolment {
            id: EnrolmentId(Uuid::from_bytes(chance::octets())),
            user: user.clone(),
            approver,
            token_hash: Some(Sha256::digest(token.as_bytes()).to_vec()),
            replace,
            made_by: made_by.into(),
            made_at: now,
            expires_at: now + valid_for,
            state: EnrolmentState::Open,
            taker: None,
        };
        Self { enrolment, token: Secret::new(token) }
    }

    /// The link, for the bot of that name.
    pub fn link(&self, bot: &str) -> String {
        format!("https://t.me/{bot}?start={}", String::from_utf8_lossy(self.token.expose()))
    }

    /// For the record, without the token.
    pub fn described(&self) -> String {
        let how = if self.enrolment.replace { ", in the place of the others" } else { "" };
        format!("link to bind a {} chat until {}{how}", self.enrolment.approver, self.enrolment.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_drawn_anew_and_its_token_is_kept_nowhere() {
        let user = UserName::new("alice");
        let now = Timestamp::from_secs(0);
        let make = || Offer::new(&user, ApproverKind::Telegram, "root", now, Duration::from_secs(900), false);
        let (one, two) = (make(), make());
        assert_ne!(one.link("bot"), two.link("bot"));
        let token = one.link("some_bot").strip_prefix("https://t.me/some_bot?start=").unwrap().to_owned();
        assert_eq!(token.len(), 27, "Telegram takes 64 at most");
        assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        assert!(!format!("{one:?} {}", one.described()).contains(&token));
        assert_eq!(one.enrolment.token_hash, Some(Sha256::digest(token.as_bytes()).to_vec()));
        assert_eq!(one.enrolment.expires_at, Timestamp::from_secs(900));
    }
}
