//! Policy: who may log in, on which terms.
//!
//! Takes an identity and the request's NAS and gives a [`Grant`], or a [`Refusal`]. Never sees a password: that
//! verdict is `auth`'s. Never changes a session: that is `session`'s.

mod bans;
mod callers;
mod guards;
mod lockout;
mod prompts;
mod strikes;
mod trust;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::totp::{Accepted, Means};
use crate::model::{
    ApproverKind, ApproverStep, Group, GroupSettings, Member, Nas, ReplyItem, SecondFactor, SecondPerson, User,
    WhenUnreachable,
};

pub use bans::{Ban, BanList, BanReason, BanTarget};
pub use callers::{Caller, Standing, network_text, standing};
pub use guards::{Guards, HOUR};
pub use lockout::{FailureCount, FailureKey, KeptOut, Lockout, LockoutLimits};
pub use prompts::{Fatigue, Prompt, PromptEnd, PromptFate, Prompts};
pub use strikes::{BY_ITSELF, Strike, StrikeLimits, StrikeReason, due};
pub use trust::{Trust, TrustBook, TrustPlace, TrustVoid, Trusted, with_trust};

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
    /// Who is asked, in order; the next one when the one before cannot be reached, or has not answered within its patience.
    pub approvers: Vec<ApproverStep>,
    /// What becomes of the hold when nobody is left who can be asked.
    #[serde(default)]
    pub when_unreachable: WhenUnreachable,
    /// Others who must confirm. A node that does not know of it does not know [`ApproverKind::Person`] either, and takes its hands
    /// off the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_person: Option<SecondPerson>,
    /// How they are asked.
    #[serde(default, skip_serializing_if = "Guards::are_usual")]
    pub guards: Guards,
}

impl HoldTerms {
    /// A hold in which these are asked one after the other, each when the one before cannot be.
    pub fn new(window: Duration, grace: Duration, approvers: impl IntoIterator<Item = ApproverKind>) -> Self {
        let approvers = approvers.into_iter().map(ApproverStep::from).collect();
        let (when_unreachable, guards) = (WhenUnreachable::default(), Guards::default());
        Self { window, grace, approvers, when_unreachable, second_person: None, guards }
    }
}

impl HoldTerms {
    /// Whether an approval may count again: where it is on, and nobody else must agree each time.
    pub fn may_be_trusted(&self) -> bool {
        !self.guards.trust_for.is_zero() && self.second_person.is_none()
    }

    /// Whether a person's own device may be asked.
    pub fn ring(&self) -> bool {
        self.approvers.iter().any(|step| step.kind.rings())
    }
}

impl Grant {
    /// The same when the second factor came with the password: a code is as good as somebody's yes, so nobody is asked, and the
    /// Access-Accept itself lets through. Needs no CoA, and Class remembers it like any waiver. Where others must agree too, only an
    /// emergency code, which is the operator's word, is enough.
    pub fn proven(self, code: &Accepted) -> Self {
        let reason = format!("the second factor came with the password: {}", code.who());
        match self.terms {
            Terms::Hold(ref terms) if terms.second_person.is_some() && !matches!(code.means(), Means::Emergency(_)) => {
                self
            }
            Terms::Hold(_) => Self { terms: Terms::Waived(Waiver { reason }), ..self },
            Terms::Waived(_) => self,
        }
    }
}

/// Whether a code may stand behind a PAP password (`password,123456`) of this user on this NAS: who is nearest says.
pub fn takes_code_in_password(user: &User, nas: &Nas, server: bool) -> bool {
    user.totp_in_password.or(nas.codes.in_password).unwrap_or(server)
}

/// Proof that a policy said "no hold". Only this part makes one.
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

/// What this user gets on this NAS. What is nearest to the person counts: the user, then their groups in order, then the NAS, then
/// the server.
///
/// # Errors
/// [`Refusal`] when no terms at all are offered.
pub fn decide(user: &User, groups: &[Group], nas: &Nas, defaults: &Defaults) -> Result<Grant, Refusal> {
    if user.disabled {
        return Err(Refusal::Disabled);
    }
    let terms = match user.second_factor {
        SecondFactor::Required => Terms::Hold(hold_terms(user, groups, nas, defaults)),
        SecondFactor::None => Terms::Waived(Waiver { reason: "user needs no second factor".to_owned() }),
    };
    let permit_filter = user.permit_filter.as_ref();
    let permit_filter = permit_filter.or_else(|| nearest(groups, |group| group.permit_filter.as_ref()));
    Ok(Grant {
        sandbox_filter: nas.sandbox_filter.as_ref().unwrap_or(&defaults.sandbox_filter).clone(),
        permit_filter: permit_filter.or(nas.permit_filter.as_ref()).unwrap_or(&defaults.permit_filter).clone(),
        terms,
        session_timeout: user.session_timeout.or_else(|| nearest(groups, |group| group.session_timeout)),
        reply: user.reply.clone(),
    })
}

/// The grant of an Access-Accept that only its Class remembers: what [`decide`] would say, but held or not as it was then.
///
/// `waived` comes from a verified Class. A user who is gone or disabled meanwhile leaves a hold on the server's terms, which
/// somebody must still approve.
pub fn recall(member: Option<&Member>, nas: &Nas, defaults: &Defaults, waived: bool) -> Grant {
    let decided = member.and_then(|member| decide(&member.user, &member.groups, nas, defaults).ok());
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

fn hold_terms(user: &User, groups: &[Group], nas: &Nas, defaults: &Defaults) -> HoldTerms {
    let said = |steps: &Vec<ApproverStep>| (!steps.is_empty()).then(|| steps.clone());
    let steps = said(&user.approvers)
        .or_else(|| nearest(groups, |group| group.approvers.as_ref().and_then(said)))
        .or_else(|| said(&nas.approvers))
        .unwrap_or_else(|| defaults.hold.approvers.clone());
    let when_unreachable = user.when_unreachable.or_else(|| nearest(groups, |group| group.when_unreachable));
    let second_person = second_person(groups).cloned();
    let of_groups = groups.iter().map(|group| group.settings.guards());
    let settings: Vec<_> = [user.guards].into_iter().chain(of_groups).chain([nas.guards]).collect();
    HoldTerms {
        approvers: asked(steps, second_person.as_ref()),
        when_unreachable: when_unreachable.or(nas.when_unreachable).unwrap_or(defaults.hold.when_unreachable),
        second_person,
        guards: defaults.hold.guards.nearer(settings.iter()),
        ..defaults.hold.clone()
    }
}

/// Who else must confirm the logins of a member of these groups, as the nearest says. Only groups say so, at the login and whenever it
/// is asked again whose word counts.
pub fn second_person(groups: &[Group]) -> Option<&SecondPerson> {
    nearest(groups, |group| group.second_person.as_ref())
}

/// The order of asking where others must confirm: these first, unless the order says when; then nobody who speaks for the person
/// alone, unless the person must confirm as well. Where nobody else must, nobody else is asked.
fn asked(mut steps: Vec<ApproverStep>, second_person: Option<&SecondPerson>) -> Vec<ApproverStep> {
    let Some(second_person) = second_person else {
        steps.retain(|step| step.kind != ApproverKind::Person);
        return steps;
    };
    if !second_person.own {
        steps.retain(|step| matches!(step.kind, ApproverKind::Person | ApproverKind::Operator));
    }
    if !steps.iter().any(|step| step.kind == ApproverKind::Person) {
        steps.insert(0, ApproverKind::Person.into());
    }
    steps
}

/// What the first group says that says anything.
fn nearest<'g, T>(groups: &'g [Group], said: impl Fn(&'g GroupSettings) -> Option<T>) -> Option<T> {
    groups.iter().find_map(|group| said(&group.settings))
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
            hold: HoldTerms::new(
                Duration::from_secs(120),
                Duration::from_secs(30),
                [ApproverKind::Telegram, ApproverKind::Operator],
            ),
        }
    }

    fn member(user: User) -> Member {
        Member { user, groups: vec![] }
    }

    fn group(name: &str, settings: GroupSettings) -> Group {
        Group { name: name.into(), settings, created_at: Timestamp::default() }
    }

    fn steps(text: &str) -> Vec<ApproverStep> {
        ApproverStep::list(text).unwrap()
    }

    fn hold(grant: Grant) -> HoldTerms {
        match grant.terms {
            Terms::Hold(hold) => hold,
            Terms::Waived(waiver) => panic!("waived: {}", waiver.reason()),
        }
    }

    #[test]
    fn the_nearest_that_says_anything_counts() {
        let near =
            group("near", GroupSettings { permit_filter: Some("near-permit".into()), ..GroupSettings::default() });
        let far = group(
            "far",
            GroupSettings {
                approvers: Some(steps("telegram:30s,operator")),
                when_unreachable: Some(WhenUnreachable::Hold),
                permit_filter: Some("far-permit".into()),
                session_timeout: Some(Duration::from_secs(3600)),
                ..GroupSettings::default()
            },
        );
        let nas = Nas { approvers: steps("operator"), when_unreachable: Some(WhenUnreachable::End), ..nas() };
        let grant = |user: &User, groups: &[Group]| decide(user, groups, &nas, &defaults()).unwrap();

        let said = grant(&user(), &[near.clone(), far.clone()]);
        assert_eq!(
            (said.permit_filter.as_str(), said.session_timeout),
            ("near-permit", Some(Duration::from_secs(3600)))
        );
        let terms = hold(said);
        assert_eq!((terms.approvers, terms.when_unreachable), (steps("telegram:30s,operator"), WhenUnreachable::Hold));
        assert_eq!(hold(grant(&user(), &[near])).approvers, steps("operator"), "then the NAS");

        let own = User { approvers: steps("webhook"), when_unreachable: Some(WhenUnreachable::End), ..user() };
        let terms = hold(grant(&own, &[far]));
        assert_eq!((terms.approvers, terms.when_unreachable), (steps("webhook"), WhenUnreachable::End));
    }

    #[test]
    fn where_others_must_confirm_they_are_asked_and_the_person_only_when_that_is_wanted_too() {
        let with = |second_person: SecondPerson, order: &str| {
            let settings = GroupSettings {
                second_person: Some(second_person),
                approvers: Some(steps(order)),
                ..GroupSettings::default()
            };
            hold(decide(&user(), &[group("contractors", settings)], &nas(), &defaults()).unwrap()).approvers
        };
        let boss = SecondPerson { approvers: vec!["boss".into()], group: None, needed: 1, own: false };
        let both = SecondPerson { own: true, ..boss.clone() };
        assert_eq!(with(boss.clone(), "telegram:30s,operator"), steps("person,operator"));
        assert_eq!(with(boss, "telegram,person:1m,operator"), steps("person:1m,operator"));
        assert_eq!(with(both, "telegram:30s,operator"), steps("person,telegram:30s,operator"));
        let server = Defaults {
            hold: HoldTerms {
                second_person: Some(SecondPerson {
                    approvers: vec!["boss".into()],
                    group: None,
                    needed: 1,
                    own: false,
                }),
                ..defaults().hold
            },
            ..defaults()
        };
        assert_eq!(hold(decide(&user(), &[], &nas(), &server).unwrap()).second_person, None, "groups alone say so");
        let alone = GroupSettings { approvers: Some(steps("person,telegram")), ..GroupSettings::default() };
        let terms = hold(decide(&user(), &[group("g", alone)], &nas(), &defaults()).unwrap());
        assert_eq!(terms.approvers, steps("telegram"), "nobody else must confirm");
    }

    #[test]
    fn a_hold_is_the_rule() {
        let grant = decide(&user(), &[], &nas(), &defaults()).unwrap();
        assert_eq!(grant.terms, Terms::Hold(defaults().hold));
        assert_eq!((grant.sandbox_filter.as_str(), grant.permit_filter.as_str()), ("sandbox", "nas-permit"));
    }

    #[test]
    fn the_user_is_nearer_than_the_nas() {
        let user =
            User { permit_filter: Some("gold".into()), approvers: vec![ApproverKind::Operator.into()], ..user() };
        let grant = decide(&user, &[], &nas(), &defaults()).unwrap();
        assert_eq!(grant.permit_filter, "gold");
        assert!(
            matches!(grant.terms, Terms::Hold(HoldTerms { approvers, .. }) if approvers == [ApproverKind::Operator.into()])
        );
    }

    #[test]
    fn a_waiver_needs_the_operators_word() {
        let user = User { second_factor: SecondFactor::None, ..user() };
        assert!(matches!(decide(&user, &[], &nas(), &defaults()).unwrap().terms, Terms::Waived(_)));
    }

    #[test]
    fn what_class_remembers_decides_whether_it_was_held() {
        let free = member(User { second_factor: SecondFactor::None, ..user() });
        let held = |grant: Grant| matches!(grant.terms, Terms::Hold(_));
        assert!(held(recall(Some(&free), &nas(), &defaults(), false)), "its Accept carried the sandbox");
        assert!(
            !held(recall(Some(&member(user())), &nas(), &defaults(), true)),
            "its Accept carried the permit filter"
        );
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
        assert_eq!(decide(&User { disabled: true, ..user() }, &[], &nas(), &defaults()), Err(Refusal::Disabled));
    }
}
