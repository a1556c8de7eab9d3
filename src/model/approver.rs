//! Who is asked about a login, in which order, and for how long each alone.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{GroupName, UserName, format_duration, parse_duration};

/// A channel that can ask the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApproverKind {
    /// Two buttons in a Telegram chat.
    Telegram,
    /// `radhold session approve|deny`, by somebody with access to the store.
    Operator,
    /// A signed request to the operator's own system.
    Webhook,
    /// Somebody else than the person, asked in a Telegram chat of their own.
    Person,
    /// A code of the person's authenticator (RFC 6238), or one of their recovery codes.
    Totp,
    /// The operator's emergency code. Nobody is asked by it: it names who decided.
    Emergency,
}

impl ApproverKind {
    /// Whether asking by this channel disturbs a person: an operator's list, read when there is time, is not rung.
    pub const fn rings(self) -> bool {
        !matches!(self, Self::Operator | Self::Totp | Self::Emergency)
    }

    /// All that can be asked.
    pub const ALL: [Self; 5] = [Self::Telegram, Self::Operator, Self::Webhook, Self::Person, Self::Totp];

    /// The name in configuration, tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telegram => "telegram",
            Self::Operator => "operator",
            Self::Webhook => "webhook",
            Self::Person => "person",
            Self::Totp => "totp",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for ApproverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApproverKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.as_str() == text) {
            return Ok(kind);
        }
        let known = Self::ALL.map(Self::as_str);
        let alike = known
            .into_iter()
            .map(|word| (strsim::damerau_levenshtein(word, &text.to_lowercase()), word))
            .min()
            .filter(|(distance, word)| *distance <= word.len().div_ceil(3));
        let meant = alike.map_or_else(String::new, |(_, word)| format!("; did you mean {word}?"));
        Err(format!("no approver is called {text:?}; there are {}{meant}", known.join(", ")))
    }
}

/// One place in the order of asking. As text `telegram`, or `telegram:60s` with its patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ApproverStep {
    /// Who is asked.
    pub kind: ApproverKind,
    /// How long they are asked alone; then the next is asked too. `None`: the next is asked only when these cannot be.
    pub patience: Option<Duration>,
}

impl ApproverStep {
    /// Reads several between commas, as in `telegram:60s, operator`.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let steps = text.split(',').map(|step| step.trim().parse()).collect::<Result<Vec<Self>, _>>()?;
        Self::no_repeats(&steps)?;
        Ok(steps)
    }

    /// Each is asked once.
    ///
    /// # Errors
    /// Names the approver that stands there twice.
    pub fn no_repeats(steps: &[Self]) -> Result<(), String> {
        match steps.iter().enumerate().find(|(at, step)| steps[..*at].iter().any(|other| other.kind == step.kind)) {
            Some((_, step)) => Err(format!("{} stands there twice; each is asked once", step.kind)),
            None => Ok(()),
        }
    }
}

impl From<ApproverKind> for ApproverStep {
    fn from(kind: ApproverKind) -> Self {
        Self { kind, patience: None }
    }
}

impl fmt::Display for ApproverStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.patience {
            Some(patience) => write!(f, "{}:{}", self.kind, format_duration(patience)),
            None => self.kind.fmt(f),
        }
    }
}

impl From<ApproverStep> for String {
    fn from(step: ApproverStep) -> Self {
        step.to_string()
    }
}

impl TryFrom<String> for ApproverStep {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for ApproverStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((kind, patience)) = text.split_once(':') else {
            return Ok(Self::from(text.trim().parse::<ApproverKind>()?));
        };
        let kind = kind.trim().parse()?;
        match parse_duration(patience) {
            Ok(patience) if patience.is_zero() => Err(format!("{text:?} has no patience at all; leave the :0 out")),
            Ok(patience) => Ok(Self { kind, patience: Some(patience) }),
            Err(error) => Err(format!("the patience of {kind}: {error}")),
        }
    }
}

/// What becomes of a hold when nobody is left who can be asked. There is no third way: nothing is ever let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUnreachable {
    /// The session is ended at once.
    #[default]
    End,
    /// It stays in the sandbox until its deadline: an operator may still decide.
    Hold,
}

impl WhenUnreachable {
    /// The word in configuration and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Hold => "hold",
        }
    }
}

impl fmt::Display for WhenUnreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WhenUnreachable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "end" => Ok(Self::End),
            "hold" => Ok(Self::Hold),
            other => Err(format!("{other:?} is neither end nor hold")),
        }
    }
}

/// Somebody else must confirm the logins: so many different people, never the person themself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondPerson {
    /// Users who may confirm.
    #[serde(default)]
    pub approvers: Vec<UserName>,
    /// The members of this group may too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// How many of them must, at least one.
    pub needed: u32,
    /// The person must confirm as well, by their own approvers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_they_are_written() {
        for text in ["telegram", "telegram:1m", "webhook:1m30s", "person:5s", "operator"] {
            assert_eq!(text.parse::<ApproverStep>().unwrap().to_string(), text);
        }
        let steps = ApproverStep::list("telegram:60s, operator").unwrap();
        assert_eq!(steps[0].patience, Some(Duration::from_secs(60)));
        assert_eq!(serde_json::to_string(&steps).unwrap(), r#"["telegram:1m","operator"]"#);
        let kept: Vec<ApproverStep> = serde_json::from_str(r#"["telegram","operator"]"#).unwrap();
        assert_eq!(kept, [ApproverKind::Telegram, ApproverKind::Operator].map(ApproverStep::from));
    }

    #[test]
    fn what_is_wrong_with_a_step_is_said() {
        let error = |text: &str| ApproverStep::list(text).unwrap_err();
        assert!(error("telegrm:60s").ends_with("did you mean telegram?"), "{}", error("telegrm:60s"));
        assert!(!error("pigeon").contains("did you mean"));
        assert!(error("telegram:soon").starts_with("the patience of telegram: "));
        assert!(error("telegram:0").contains("no patience"));
        assert!(error("telegram:1m,operator,telegram").contains("telegram stands there twice"));
        assert!(error("").contains("no approver is called"));
    }
}
