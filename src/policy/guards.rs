//! The guards around a prompt, resolved: which settings count for a login.
//!
//! Counts nothing (`prompts` does) and remembers nothing (`trust` does).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::GuardSettings;

/// An hour: the window of [`Guards::prompts_per_hour`], and the longest cool-down.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The settings in force for one login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guards {
    /// The prompt shows three numbers, and a wrong choice denies.
    pub number_matching: bool,
    /// No second prompt on the same NAS while one is open.
    pub one_prompt: bool,
    /// How long nobody is asked again after a "not me"; an hour at most.
    pub cool_down: Duration,
    /// Prompts in an hour that nobody has confirmed, at most; zero is without limit.
    pub prompts_per_hour: u32,
    /// An approval counts for so long for the place it was given for; zero is not at all.
    pub trust_for: Duration,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            number_matching: false,
            one_prompt: true,
            cool_down: Duration::from_secs(60),
            prompts_per_hour: 10,
            trust_for: Duration::ZERO,
        }
    }
}

impl Guards {
    /// These, but for what is said nearer to the login: the first that says anything counts.
    pub fn nearer<'a>(self, nearest_first: impl IntoIterator<Item = &'a GuardSettings>) -> Self {
        let said = nearest_first.into_iter().fold(GuardSettings::default(), |said, next| GuardSettings {
            number_matching: said.number_matching.or(next.number_matching),
            one_prompt: said.one_prompt.or(next.one_prompt),
            cool_down: said.cool_down.or(next.cool_down),
            prompts_per_hour: said.prompts_per_hour.or(next.prompts_per_hour),
            trust_hours: said.trust_hours.or(next.trust_hours),
        });
        Self {
            number_matching: said.number_matching.unwrap_or(self.number_matching),
            one_prompt: said.one_prompt.unwrap_or(self.one_prompt),
            cool_down: said.cool_down.unwrap_or(self.cool_down).min(HOUR),
            prompts_per_hour: said.prompts_per_hour.unwrap_or(self.prompts_per_hour),
            trust_for: said.trust_hours.map_or(self.trust_for, |hours| HOUR.saturating_mul(hours)),
        }
    }

    /// Whether they are the ones nobody has changed, which a kept grant need not spell out.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_counts() {
        let user = GuardSettings { trust_hours: Some(0), cool_down: Some(HOUR * 5), ..GuardSettings::default() };
        let nas = GuardSettings { trust_hours: Some(8), number_matching: Some(true), ..GuardSettings::default() };
        let server = Guards { trust_for: HOUR, prompts_per_hour: 3, ..Guards::default() };
        let guards = server.nearer([&user, &nas]);
        assert_eq!((guards.trust_for, guards.number_matching), (Duration::ZERO, true));
        assert_eq!((guards.cool_down, guards.prompts_per_hour, guards.one_prompt), (HOUR, 3, true));
        assert_eq!(server.nearer([]), server);
    }
}
