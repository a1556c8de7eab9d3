//! Why a login is refused, and what of it the person, the operator and the record are told. Decides nothing.

use crate::auth::{MsChapErrorCode, Why};
use crate::messages::Value;
use crate::model::Timestamp;
use crate::policy::{Fatigue, Refusal};

/// Why nobody is let in.
#[derive(Debug)]
pub(super) enum No {
    /// The password is wrong, or there is no such user, or the two do not go together.
    Credentials(Why),
    /// The policy says no.
    Policy(Refusal),
    /// The request offers nothing we check.
    Unusable(&'static str),
    /// Nobody can say, since the store is away.
    StoreAway,
    /// The password is right, but its Access-Accept cannot be written: a reply item or dialect is wrong.
    Unwritable,
    /// The caller's network is not to log in from.
    DeniedCaller,
    /// The caller is banned until then, or until the ban is lifted.
    BannedCaller(Option<Timestamp>),
    /// The account is. Told only after the right password.
    BannedAccount(Option<Timestamp>),
    /// Too many wrong passwords; this one was not looked at.
    LockedOut,
    /// The password is right, but nobody is asked about it now.
    Fatigue(Fatigue),
    /// The password is right, and the code is not, or not any more.
    Code(&'static str),
    /// A State of ours that is not to be answered, or not any more.
    State(&'static str),
    /// Nobody can say whether a code is right or was used before, since the store is away.
    CodesAway,
    /// This NAS takes nobody without a code, and there was none.
    WithoutCode,
}

impl No {
    /// The outcome, in the record of attempts.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Credentials(why) => why.label(),
            Self::Policy(refusal) => refusal.as_str(),
            Self::Unusable(label) => label,
            Self::StoreAway => "store-away",
            Self::Unwritable => "accept-unwritable",
            Self::DeniedCaller => "caller-denied",
            Self::BannedCaller(_) => "caller-banned",
            Self::BannedAccount(_) => "account-banned",
            Self::LockedOut => "locked-out",
            Self::Fatigue(Fatigue::TooMany) => "prompts-exceeded",
            Self::Fatigue(Fatigue::CoolDown(_)) => "cool-down",
            Self::Fatigue(Fatigue::Waiting(_)) => "prompt-open",
            Self::Code(label) | Self::State(label) => label,
            Self::CodesAway => "codes-store-away",
            Self::WithoutCode => "no-code-to-ask-for",
        }
    }

    /// The counter, for what an operator watches.
    pub(super) fn counter(&self) -> Option<&'static str> {
        match self {
            Self::DeniedCaller => Some("access.caller-denied"),
            Self::BannedCaller(_) => Some("access.caller-banned"),
            Self::BannedAccount(_) => Some("access.account-banned"),
            Self::LockedOut => Some("access.locked-out"),
            Self::Fatigue(Fatigue::TooMany) => Some("access.prompts-exceeded"),
            Self::Fatigue(Fatigue::CoolDown(_)) => Some("access.cool-down"),
            Self::Fatigue(Fatigue::Waiting(_)) => Some("access.prompt-open"),
            Self::State(_) => Some("access.state-refused"),
            Self::Credentials(_)
            | Self::Policy(_)
            | Self::Unusable(_)
            | Self::StoreAway
            | Self::Unwritable
            | Self::Code(_)
            | Self::CodesAway
            | Self::WithoutCode => None,
        }
    }

    /// What the person may read, said by `say` from a message and its arguments. It tells nobody which users exist: only after the right
    /// password is it more precise. Short: pppd 2.4.9 has room for some 1000 octets and does not check.
    pub(super) fn message(&self, now: Timestamp, say: impl Fn(&str, &[(&str, Value<'_>)]) -> String) -> String {
        let seconds = |id, until: Timestamp| say(id, &[("seconds", (until.since(now).as_secs() + 1).into())]);
        let banned = |(for_ever, for_a_while): (&str, &str), until: Option<Timestamp>| match until {
            Some(until) => {
                let minutes = until.since(now).as_secs().div_ceil(60).max(1);
                say(for_a_while, &[("minutes", minutes.into())])
            }
            None => say(for_ever, &[]),
        };
        match self {
            Self::Policy(Refusal::Disabled) => say("reply-disabled", &[]),
            // Locked out or not, the password may have been right.
            Self::Credentials(_) | Self::Unusable(_) | Self::LockedOut | Self::Code(_) => say("reply-failed", &[]),
            // To somebody who has had so many prompts already, no more than that.
            Self::StoreAway | Self::Fatigue(Fatigue::TooMany) => say("reply-not-now", &[]),
            Self::Fatigue(Fatigue::CoolDown(until)) => seconds("reply-cool-down", *until),
            Self::Fatigue(Fatigue::Waiting(until)) => seconds("reply-waiting", *until),
            Self::Unwritable => say("reply-set-up-wrongly", &[]),
            Self::State(_) => say("reply-state", &[]),
            Self::CodesAway => say("reply-codes-away", &[]),
            Self::WithoutCode => say("reply-without-code", &[]),
            Self::DeniedCaller => say("reply-caller-denied", &[]),
            Self::BannedCaller(until) => banned(("reply-caller-banned", "reply-caller-banned-for"), *until),
            Self::BannedAccount(until) => banned(("reply-account-banned", "reply-account-banned-for"), *until),
        }
    }

    /// What MS-CHAP-Error says.
    pub(super) fn ms_chap_code(&self) -> MsChapErrorCode {
        match self {
            Self::Policy(Refusal::Disabled) => MsChapErrorCode::AccountDisabled,
            Self::Credentials(_)
            | Self::Unusable(_)
            | Self::StoreAway
            | Self::Unwritable
            | Self::DeniedCaller
            | Self::BannedCaller(_)
            | Self::BannedAccount(_)
            | Self::LockedOut
            | Self::Fatigue(_)
            | Self::Code(_)
            | Self::State(_)
            | Self::CodesAway
            | Self::WithoutCode => MsChapErrorCode::AuthenticationFailure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn said(no: &No, language: &str) -> String {
        let messages = Messages::load(None).unwrap();
        let language = language.parse().unwrap();
        no.message(NOW, |id, arguments| messages.say(&language, id, arguments))
    }

    #[test]
    fn the_end_of_a_ban_is_told_in_minutes_that_are_never_too_few() {
        let told = |secs| said(&No::BannedCaller(Some(Timestamp::from_secs(secs))), "en");
        assert_eq!(told(1_001), "Logins from your address are banned for 1 more minute.");
        assert_eq!(told(1_061), "Logins from your address are banned for 2 more minutes.");
        assert_eq!(said(&No::BannedAccount(None), "en"), "This account is banned. Ask your administrator.");
    }

    #[test]
    fn a_wait_is_told_in_seconds_that_are_never_too_few() {
        let rest = No::Fatigue(Fatigue::CoolDown(Timestamp::from_secs(1_059)));
        assert_eq!(said(&rest, "en"), "A login was denied a moment ago. Try again in 60 s.");
    }

    #[test]
    fn rfc_2865_section_5_18_every_message_fits_its_attribute() {
        let far = Some(Timestamp::from_micros(i64::MAX));
        for no in [
            No::Credentials(Why::WrongPassword),
            No::Policy(Refusal::Disabled),
            No::StoreAway,
            No::Unwritable,
            No::DeniedCaller,
            No::BannedCaller(far),
            No::BannedAccount(far),
            No::LockedOut,
            No::Fatigue(Fatigue::TooMany),
            No::Fatigue(Fatigue::CoolDown(Timestamp::from_secs(4_600))),
            No::Fatigue(Fatigue::Waiting(Timestamp::from_secs(4_600))),
            No::Code("code-wrong"),
            No::State("state-used"),
            No::CodesAway,
            No::WithoutCode,
        ] {
            for language in ["en", "ru"] {
                let said = said(&no, language);
                assert!(said.len() <= 253 && !said.starts_with("reply-"), "{no:?}: {said}");
            }
        }
    }

    #[test]
    fn locked_out_reads_like_a_wrong_password() {
        let wrong = No::Credentials(Why::WrongPassword);
        assert_eq!(said(&No::LockedOut, "en"), said(&wrong, "en"));
        assert_eq!(No::LockedOut.ms_chap_code(), wrong.ms_chap_code());
        assert_eq!(
            said(&No::Code("code-wrong"), "en"),
            said(&wrong, "en"),
            "else guesses of the password could be told apart"
        );
    }
}
