//! Groups of users: what is the same for all of their members.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ApproverStep, GroupName, GuardSettings, SecondPerson, Timestamp, User, WhenUnreachable};

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// What it says about its members' logins.
    pub settings: GroupSettings,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What a group says; `None` leaves it to whatever is less near: the user's next group, the NAS, the server.
///
/// Kept as JSON. A setting that this node does not know makes the group unreadable and refuses its members' logins: what it demands
/// must not be passed over. So update all nodes before the first group has a new setting.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupSettings {
    /// Who is asked, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<Vec<ApproverStep>>,
    /// What becomes of a hold when nobody can be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_unreachable: Option<WhenUnreachable>,
    /// Others must confirm the logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_person: Option<SecondPerson>,
    /// The prompt shows numbers, and the person picks the one on their screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_matching: Option<bool>,
    /// For so many hours after a confirmed login another from the same place needs no confirmation; zero is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_hours: Option<u32>,
    /// No second prompt on the same NAS while one is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_prompt: Option<bool>,
    /// How long nobody is asked again after a "not me"; zero is not at all.
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub cool_down: Option<Duration>,
    /// How often one is asked an hour without a yes, at most; zero is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_per_hour: Option<u32>,
    /// Filter that lets members' sessions through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_filter: Option<String>,
    /// How long a permitted session may last; kept in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub session_timeout: Option<Duration>,
}

impl GroupSettings {
    /// What it says about how its members are asked.
    pub fn guards(&self) -> GuardSettings {
        let Self { number_matching, one_prompt, cool_down, prompts_per_hour, trust_hours, .. } = *self;
        GuardSettings { number_matching, one_prompt, cool_down, prompts_per_hour, trust_hours }
    }

    /// The same with this said about how its members are asked.
    pub fn with_guards(self, guards: GuardSettings) -> Self {
        let GuardSettings { number_matching, one_prompt, cool_down, prompts_per_hour, trust_hours } = guards;
        Self { number_matching, one_prompt, cool_down, prompts_per_hour, trust_hours, ..self }
    }
}

/// A span in whole seconds, for a JSON column that people read.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_u64(span.as_secs()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}

/// A user with the groups they are in, nearest first: all that decides a login.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The user.
    pub user: User,
    /// The groups of [`User::groups`], in that order.
    pub groups: Vec<Group>,
}

impl std::ops::Deref for Member {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_as_they_were_said_and_what_is_not_known_is_not_passed_over() {
        let kept = r#"{"approvers":["telegram:1m","operator"],"when_unreachable":"hold","session_timeout":28800}"#;
        let settings: GroupSettings = serde_json::from_str(kept).unwrap();
        assert_eq!(settings.session_timeout, Some(Duration::from_secs(28_800)));
        assert_eq!(serde_json::to_string(&settings).unwrap(), kept);
        assert_eq!(serde_json::from_str::<GroupSettings>("{}").unwrap(), GroupSettings::default());
        let newer = serde_json::from_str::<GroupSettings>(r#"{"third_person":true}"#);
        assert!(newer.unwrap_err().to_string().contains("third_person"));
    }
}
