//! `[hold]`: its terms, its times, and who is asked.

use std::time::Duration;

use super::reader::Section;
use crate::model::{ApproverKind, ApproverStep};
use crate::policy::{Defaults, Guards, HoldTerms};
use crate::session::Timing;

/// The hold: its terms and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// What applies where neither user nor NAS says otherwise.
    pub defaults: Defaults,
    /// How long a session waits for what.
    pub timing: Timing,
    /// How long an approver's service may be away before the next approver is asked in its place.
    pub unreachable_after: Duration,
}

/// Which approvers have a section of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Configured {
    pub(super) telegram: bool,
    pub(super) webhook: bool,
}

pub(super) fn hold(mut section: Section<'_>, configured: Configured, utc_offset: i32, guards: Guards) -> Hold {
    let usual = [configured.telegram.then_some(ApproverKind::Telegram), Some(ApproverKind::Operator)];
    let usual = usual.into_iter().flatten().map(ApproverStep::from).collect();
    let said = approvers(&mut section, configured);
    if said.as_ref().is_some_and(Vec::is_empty) {
        section.problem("approvers", "lists nobody, so every hold would run out; name telegram or operator");
    }
    let defaults = Defaults {
        sandbox_filter: section.text("sandbox_filter").unwrap_or_else(|| "sandbox".to_owned()),
        permit_filter: section.text("permit_filter").unwrap_or_else(|| "permit".to_owned()),
        hold: HoldTerms {
            window: section.duration("window").unwrap_or(Duration::from_secs(120)),
            grace: section.duration("grace").unwrap_or(Duration::from_secs(30)),
            approvers: said.unwrap_or(usual),
            when_unreachable: section.parsed("when_unreachable", "end or hold", str::parse).unwrap_or_default(),
            second_person: None,
            guards,
        },
    };
    let unreachable_after = section.duration("unreachable_after").unwrap_or(Duration::from_secs(45));
    let usual = Timing::default();
    let timing = Timing {
        start_within: section.duration("start_within").unwrap_or(usual.start_within),
        retry_first: section.duration("retry_first").unwrap_or(usual.retry_first),
        retry_most: section.duration("retry_most").unwrap_or(usual.retry_most),
        stop_patience: section.duration("stop_patience").unwrap_or(usual.stop_patience),
        stale_after: section.duration("stale_after").unwrap_or(usual.stale_after),
        stale_intervals: section.number("stale_intervals", 1).unwrap_or(usual.stale_intervals),
        abandon_after: section.duration("abandon_after").unwrap_or(usual.abandon_after),
        utc_offset,
        ..usual
    };
    for (key, duration) in [
        ("window", defaults.hold.window),
        ("unreachable_after", unreachable_after),
        ("start_within", timing.start_within),
        ("retry_first", timing.retry_first),
        ("stop_patience", timing.stop_patience),
        ("stale_after", timing.stale_after),
        ("abandon_after", timing.abandon_after),
    ] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero");
        }
    }
    if timing.retry_first > timing.retry_most {
        section.problem("retry_first", "is longer than retry_most");
    }
    if let Err(message) = filters_differ(&defaults.sandbox_filter, &defaults.permit_filter) {
        section.problem("permit_filter", message);
    }
    section.finish();
    Hold { defaults, timing, unreachable_after }
}

/// The order of asking; each is asked once, and by something that is configured.
pub(super) fn approvers(section: &mut Section<'_>, configured: Configured) -> Option<Vec<ApproverStep>> {
    let steps: Vec<ApproverStep> = section.list("approvers", "an approver", str::parse)?;
    if let Err(message) = ApproverStep::no_repeats(&steps) {
        section.problem("approvers", message);
    }
    let names = |kind| steps.iter().any(|step| step.kind == kind);
    if names(ApproverKind::Telegram) && !configured.telegram {
        section.problem("approvers", "names telegram, but there is no [telegram] section");
    }
    if names(ApproverKind::Webhook) && !configured.webhook {
        section.problem("approvers", "names webhook, but there is no [approver.webhook] section");
    }
    Some(steps)
}

/// A held session must not have the filter of one that is let through.
pub(super) fn filters_differ(sandbox: &str, permit: &str) -> Result<(), String> {
    if sandbox.is_empty() || permit.is_empty() {
        return Err("a filter's name is empty".to_owned());
    }
    if sandbox == permit {
        return Err(format!("is {permit:?} like the sandbox filter; a held session would be let through at once"));
    }
    Ok(())
}
