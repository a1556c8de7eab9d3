//! What a user, a group or a NAS has of its own about how people are asked and how long their answer is remembered.
//!
//! Plain wishes: which of them counts, and what follows, is `policy`'s.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the guards around a prompt; `None` is as whoever is asked next says, in the end the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardSettings {
    /// The prompt shows three numbers, and the right one is on the screen of whoever logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_matching: Option<bool>,
    /// No second prompt on the same NAS while one is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_prompt: Option<bool>,
    /// How long nobody is asked again after a "not me"; zero is not at all.
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub cool_down: Option<Duration>,
    /// Prompts in an hour that nobody has confirmed, at most; zero is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_per_hour: Option<u32>,
    /// An approval counts for so many hours for the place it was given for; zero is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_hours: Option<u32>,
}

/// A span in seconds, for JSON that people and programs read.
mod seconds {
    use std::time::Duration;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_f64(span.as_secs_f64()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let span = Option::<f64>::deserialize(from)?.map(Duration::try_from_secs_f64).transpose();
        span.map_err(D::Error::custom)
    }
}

impl GuardSettings {
    /// Whether nothing is said.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_written_and_times_are_seconds() {
        let said = GuardSettings { cool_down: Some(Duration::from_millis(90_500)), ..GuardSettings::default() };
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(text, r#"{"cool_down":90.5}"#);
        assert_eq!(serde_json::from_str::<GuardSettings>(&text).unwrap(), said);
        assert_eq!(serde_json::from_str::<GuardSettings>("{}").unwrap(), GuardSettings::default());
        assert!(serde_json::from_str::<GuardSettings>(r#"{"cool_down":-1}"#).is_err());
    }
}
