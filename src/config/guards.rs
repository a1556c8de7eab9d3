//! `[guards]`, and the same keys of a NAS: how people are asked, and how long their answer is remembered.

use std::time::Duration;

use super::reader::Section;
use crate::model::GuardSettings;
use crate::policy::{Guards, HOUR};

/// No approval is remembered for longer than this: a year.
pub(crate) const MOST_TRUST_HOURS: u32 = 366 * 24;

pub(super) fn guards(mut section: Section<'_>) -> Guards {
    let said = settings(&mut section);
    section.finish();
    Guards::default().nearer([&said])
}

/// The keys, wherever they stand.
pub(super) fn settings(section: &mut Section<'_>) -> GuardSettings {
    let said = GuardSettings {
        number_matching: section.boolean("number_matching"),
        one_prompt: section.boolean("one_prompt"),
        cool_down: section.duration("cool_down"),
        prompts_per_hour: section.number("prompts_per_hour", 0),
        trust_hours: section.number("trust_hours", 0),
    };
    if let Err(message) = cool_down(said.cool_down) {
        section.problem("cool_down", message);
    }
    if let Err(message) = trust_hours(said.trust_hours) {
        section.problem("trust_hours", message);
    }
    said
}

/// Whether a cool-down can be kept.
pub(crate) fn cool_down(said: Option<Duration>) -> Result<(), String> {
    match said {
        Some(cool_down) if cool_down > HOUR => {
            Err("is longer than an hour; prompts_per_hour limits what comes after".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether trust can last so long.
pub(crate) fn trust_hours(said: Option<u32>) -> Result<(), String> {
    match said {
        Some(hours) if hours > MOST_TRUST_HOURS => Err("is longer than a year".to_owned()),
        _ => Ok(()),
    }
}
