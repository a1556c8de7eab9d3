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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<Duration>,
    /// Prompts in an hour that nobody has confirmed, at most; zero is without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts_per_hour: Option<u32>,
    /// An approval counts for so many hours for the place it was given for; zero is not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_hours: Option<u32>,
}

impl GuardSettings {
    /// Whether nothing is said.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}
