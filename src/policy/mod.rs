//! Policy: who may log in, on which terms.
//!
//! Takes an identity and the request's NAS and gives a [`Grant`], or a [`Refusal`]. Never sees a password: that
//! verdict is `auth`'s. Never changes a session: that is `session`'s.

mod bans;
mod callers;
mod lockout;
mod strikes;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::totp::Accepted;
use crate::model::{ApproverKind, Nas, ReplyItem, SecondFactor, User};

pub use bans::{Ban, BanList, BanTarget};
pub use callers::{Caller, Standing, network_text, standing};
pub use lockout::{FailureCount, FailureKey, Lockout, LockoutLimits};
pub use strikes::{BY_ITSELF, Strike, StrikeLimits, StrikeReason, due};

/// What a correct password is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Filter-Id (or what the dialect makes of it) that confines the session.
    pub sandbox_filter: String,
    /// Filter-Id that lets it through.
    pub permit_filter: String,
    /// Held, or waved through.
    pub terms: Terms,
    /// How long a permitted session may last.
    pub session_timeout: Option<Duration>,
    /// Further attributes of the Access-Accept.
    pub reply: Vec<ReplyItem>,
}

/// Whether the session is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Terms {
    /// Held until an approver answers.
    Hold(HoldTerms),
    /// No hold: the policy says the password is enough.
    Waived(Waiver),
}

/// The terms of a hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HoldTerms {
    /// From Access-Accept to the deadline.
    pub window: Duration,
    /// Added to the window for the Session-Timeout by which the NAS itself ends a held session when we cannot.
    pub grace: Duration,
    /// Who is asked, in order; the next one when the one before cannot be reached.
    pub approvers: Vec<ApproverKind>,
}

impl Grant {
    /// The same when the second factor came with the password: a code is as good as somebody's yes, so nobody is asked, and the
    /// Access-Accept itself lets through. Needs no CoA, and Class remembers it like any waiver.
    pub fn proven(self, code: &Accepted) -> Self {
        let reason = format!("the second factor came with the password: {}", code.who());
        match self.terms {
            Terms::Hold(_) => Self { terms: Terms::Waived(Waiver { reason }), ..self },
            Terms::Waived(_) => self,
        }
    }
}

/// Whether a code may stand behind a PAP password (`password,123456`) of this user on this NAS: who is nearest says.
pub fn takes_code_in_password(user: &User, nas: &Nas, server: bool) -> bool {
    user.totp_in_password.or(nas.codes.in_password).unwrap_or(server)
}

/// Proof that a policy said "no hold". Only this module makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiver {
    reason: String,
}

impl Waiver {
    /// Which policy said so.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The server's settings where neither user nor NAS says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Filter that confines.
    pub sandbox_filter: String,
    /// Filter that lets through.
    pub permit_filter: String,
    /// Terms of a hold.
    pub hold: HoldTerms,
}

/// Why somebody with the right password is refused all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The operator has disabled the account.
    Disabled,
}

impl Refusal {
    /// The label in logs and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "user-disabled",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What this user gets on this NAS.
///
/// # Errors
/// [`Refusal`] when no terms at all are offered.
pub fn decide(user: &User, nas: &Nas, defaults: &Defaults) -> Result<Grant, Refusal> {
    if user.disabled {
        return Err(Refusal::Disabled);
    }
    let terms = match user.second_factor {
        SecondFactor::Required => Terms::Hold(hold_terms(user, defaults)),
        SecondFactor::None => Terms::Waived(Waiver { reason: "user needs no second factor".to_owned() }),
    };
    let first = |choices: [&Option<String>; 2], default: &String| {
        choices.into_iter().flatten().next().unwrap_or(default).clone()
    };
    Ok(Grant {
        sandbox_filter: first([&None, &nas.sandbox_filter], &defaults.sandbox_filter),
        permit_filter: first([&user.permit_filter, &nas.permit_filter], &defaults.permit_filter),
        terms,
        session_timeout: user.session_timeout,
        reply: user.reply.clone(),
    })
}

/// The grant of an Access-Accept that only its Class remembers: what [`decide`] would say, but held or not as it was then.
///
/// `waived` comes from a verified Class. A user who is gone or disabled meanwhile leaves a hold on the server's terms, which
/// somebody must still approve.
pub fn recall(user: Option<&User>, nas: &Nas, defaults: &Defaults, waived: bool) -> Grant {
    let decided = user.and_then(|user| decide(user, nas, defaults).ok());
    let was_waived = || Terms::Waived(Waiver { reason: "no second factor was needed when it was accepted".to_owned() });
    match decided {
        Some(grant) if waived => Grant { terms: was_waived(), ..grant },
        Some(grant) => match grant.terms {
            Terms::Hold(_) => grant,
            Terms::Waived(_) => Grant { terms: Terms::Hold(defaults.hold.clone()), ..grant },
        },
        None => Grant {
            sandbox_filter: nas.sandbox_filter.clone().unwrap_or_else(|| defaults.sandbox_filter.clone()),
            permit_filter: nas.permit_filter.clone().unwrap_or_else(|| defaults.permit_filter.clone()),
            terms: Terms::Hold(defaults.hold.clone()),
            session_timeout: None,
            reply: Vec::new(),
        },
    }
}

fn hold_terms(user: &User, defaults: &Defaults) -> HoldTerms {
    let mut terms = defaults.hold.clone();
    if !user.approvers.is_empty() {
        terms.approvers.clone_from(&user.approvers);
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CodeEntry, Secret, Timestamp};

    fn user() -> User {
        User::new("alice", Secret::new(""), Timestamp::default())
    }

    fn nas() -> Nas {
        Nas {
            permit_filter: Some("nas-permit".into()),
            ..Nas::new("edge", "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("x"))
        }
    }

    fn defaults() -> Defaults {
        Defaults {
            sandbox_filter: "sandbox".into(),
            permit_filter: "permit".into(),
            hold: HoldTerms {
                window: Duration::from_secs(120),
                grace: Duration::from_secs(30),
                approvers: vec![ApproverKind::Telegram, ApproverKind::Operator],
            },
        }
    }

    #[test]
    fn a_hold_is_the_rule() {
        let grant = decide(&user(), &nas(), &defaults()).unwrap();
        assert_eq!(grant.terms, Terms::Hold(defaults().hold));
        assert_eq!((grant.sandbox_filter.as_str(), grant.permit_filter.as_str()), ("sandbox", "nas-permit"));
    }

    #[test]
    fn the_user_is_nearer_than_the_nas() {
        let user = User { permit_filter: Some("gold".into()), approvers: vec![ApproverKind::Operator], ..user() };
        let grant = decide(&user, &nas(), &defaults()).unwrap();
        assert_eq!(grant.permit_filter, "gold");
        assert!(
            matches!(grant.terms, Terms::Hold(HoldTerms { approvers, .. }) if approvers == [ApproverKind::Operator])
        );
    }

    #[test]
    fn a_waiver_needs_the_operators_word() {
        let user = User { second_factor: SecondFactor::None, ..user() };
        assert!(matches!(decide(&user, &nas(), &defaults()).unwrap().terms, Terms::Waived(_)));
    }

    #[test]
    fn what_class_remembers_decides_whether_it_was_held() {
        let free = User { second_factor: SecondFactor::None, ..user() };
        let held = |grant: Grant| matches!(grant.terms, Terms::Hold(_));
        assert!(held(recall(Some(&free), &nas(), &defaults(), false)), "its Accept carried the sandbox");
        assert!(!held(recall(Some(&user()), &nas(), &defaults(), true)), "its Accept carried the permit filter");
        assert!(held(recall(None, &nas(), &defaults(), true)), "a user who is gone is not waved through");
    }

    #[test]
    fn whether_a_code_stands_behind_the_password_is_said_by_the_nearest() {
        let takes = |user_says, nas_says, server| {
            let user = User { totp_in_password: user_says, ..user() };
            let nas = Nas { codes: CodeEntry { in_password: nas_says, ..CodeEntry::default() }, ..nas() };
            takes_code_in_password(&user, &nas, server)
        };
        assert!(!takes(None, None, false) && takes(None, None, true));
        assert!(takes(None, Some(true), false) && !takes(None, Some(false), true));
        assert!(takes(Some(true), Some(false), false) && !takes(Some(false), Some(true), true));
    }

    #[test]
    fn a_disabled_user_is_refused() {
        assert_eq!(decide(&User { disabled: true, ..user() }, &nas(), &defaults()), Err(Refusal::Disabled));
    }
}
