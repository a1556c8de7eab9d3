//! Settings of the guards around a prompt, as arguments of `radhold user` and `radhold nas`. Decides nothing: `policy` resolves them.

use std::time::Duration;

use clap::Args;

use crate::config::{format_duration, guards, parse_duration};
use crate::model::GuardSettings;

/// What is said, or that somebody else shall say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said<T>(Option<T>);

#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Guards")]
pub(super) struct GuardArgs {
    /// Show three numbers instead of "It's me"; the right one is on the screen of whoever logs in: on, off, or default.
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    number_matching: Option<Said<bool>>,
    /// One open prompt at a time on each NAS: on, off, or default.
    #[arg(long, value_name = "SWITCH", value_parser = switch)]
    one_prompt: Option<Said<bool>>,
    /// How long nobody is asked again after a "not me", an hour at most, or default.
    #[arg(long, value_name = "DURATION", value_parser = cool_down)]
    cool_down: Option<Said<Duration>>,
    /// Prompts in an hour that nobody confirmed, at most; 0 is without limit; or default.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    prompts_per_hour: Option<Said<u32>>,
    /// For how many hours an approval counts again from the same address (or device at the same NAS); 0 is not at all; or default.
    #[arg(long, value_name = "HOURS", value_parser = trust_hours)]
    trust_hours: Option<Said<u32>>,
}

impl GuardArgs {
    /// Whether nothing is said.
    pub(super) fn is_silent(&self) -> bool {
        self.number_matching.is_none()
            && self.one_prompt.is_none()
            && self.cool_down.is_none()
            && self.prompts_per_hour.is_none()
            && self.trust_hours.is_none()
    }

    /// The settings with what is said here.
    pub(super) fn over(&self, before: GuardSettings) -> GuardSettings {
        fn or<T>(said: Option<Said<T>>, before: Option<T>) -> Option<T> {
            said.map_or(before, |Said(said)| said)
        }
        GuardSettings {
            number_matching: or(self.number_matching, before.number_matching),
            one_prompt: or(self.one_prompt, before.one_prompt),
            cool_down: or(self.cool_down, before.cool_down),
            prompts_per_hour: or(self.prompts_per_hour, before.prompts_per_hour),
            trust_hours: or(self.trust_hours, before.trust_hours),
        }
    }
}

/// The settings as people read them; nothing where nothing is said.
pub(super) fn words(guards: &GuardSettings) -> Option<String> {
    let switch = |on: bool| if on { "on" } else { "off" };
    let words = [
        guards.number_matching.map(|on| format!("number matching {}", switch(on))),
        guards.one_prompt.map(|on| format!("one prompt {}", switch(on))),
        guards.cool_down.map(|time| format!("cool-down {}", format_duration(time))),
        guards.prompts_per_hour.map(|count| format!("{count} prompts an hour")),
        guards.trust_hours.map(|hours| format!("trust for {hours} h")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn or_default<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Said<T>, String> {
    if matches!(text, "default" | "none") { Ok(Said(None)) } else { read(text).map(|said| Said(Some(said))) }
}

fn switch(text: &str) -> Result<Said<bool>, String> {
    or_default(text, |text| match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("write on, off or default".to_owned()),
    })
}

fn cool_down(text: &str) -> Result<Said<Duration>, String> {
    or_default(text, |text| {
        let time = parse_duration(text).map_err(|error| error.to_string())?;
        guards::cool_down(Some(time)).map(|()| time)
    })
}

fn number(text: &str) -> Result<Said<u32>, String> {
    or_default(text, |text| text.parse().map_err(|_| "write a number or default".to_owned()))
}

fn trust_hours(text: &str) -> Result<Said<u32>, String> {
    or_default(text, |text| {
        let hours = text.parse().map_err(|_| "write a number of hours or default".to_owned())?;
        guards::trust_hours(Some(hours)).map(|()| hours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_and_default_takes_back() {
        let before = GuardSettings { trust_hours: Some(8), number_matching: Some(true), ..GuardSettings::default() };
        let args =
            GuardArgs { number_matching: Some(Said(None)), cool_down: cool_down("90s").ok(), ..GuardArgs::default() };
        let after = args.over(before);
        assert_eq!((after.trust_hours, after.number_matching), (Some(8), None));
        assert_eq!(words(&after).as_deref(), Some("cool-down 1m30s, trust for 8 h"));
        assert_eq!(words(&GuardSettings::default()), None);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(cool_down("2h").is_err() && trust_hours("9000").is_err() && switch("yes").is_err());
        assert_eq!(trust_hours("default"), Ok(Said(None)));
        assert_eq!(number("0"), Ok(Said(Some(0))));
    }
}
