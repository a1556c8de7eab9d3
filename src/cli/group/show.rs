//! `radhold group list` and `radhold group show`

use clap::Args;
use serde::Serialize;

use crate::config::format_duration;
use crate::model::{Group, GroupSettings, UserName};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{guards, manual, output};
use super::find;

/// List all groups.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group list\n  radhold group list --json | jq -r '.[].name'"))]
pub(in crate::cli) struct ListArgs {
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Show a group and who is in it.
///
/// As JSON `settings` has only what the group says; times are in seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group show contractors\n  radhold group show contractors --json"))]
pub(in crate::cli) struct ShowArgs {
    /// The group.
    name: String,
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// A group, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    settings: &'a GroupSettings,
    members: &'a [UserName],
    created_at: String,
}

pub(super) async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut rows = Vec::new();
    for group in store.groups().await? {
        let members = store.members(&group.name).await?;
        rows.push((group, members));
    }
    if args.json {
        let shown = rows.iter().map(|(group, members)| shown(group, members));
        return output::print_json(&shown.collect::<Vec<_>>());
    }
    let rows = rows.iter().map(|(group, members)| {
        let says = facts(&group.settings).into_iter().map(|(name, value)| format!("{name} {value}"));
        [group.name.to_string(), members.len().to_string(), says.collect::<Vec<_>>().join("; ")]
    });
    output::print_table(
        ["GROUP", "MEMBERS", "SAYS"],
        rows.collect(),
        "no groups; add one with `radhold group add NAME`",
    )
}

pub(super) async fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let group = find(&*store, &args.name).await?;
    let members = store.members(&group.name).await?;
    if args.json {
        return output::print_json(&shown(&group, &members));
    }
    let mut all = vec![("group", Some(group.name.to_string()))];
    all.extend(facts(&group.settings).into_iter().map(|(name, value)| (name, Some(value))));
    all.push(("added", Some(group.created_at.to_string())));
    all.push(("members", Some(joined(&members)).filter(|members| !members.is_empty())));
    output::print_facts(&all)
}

/// What a group says, in the words of the options.
pub(super) fn facts(settings: &GroupSettings) -> Vec<(&'static str, String)> {
    let GroupSettings {
        approvers,
        when_unreachable,
        second_person,
        permit_filter,
        session_timeout,
        // Told in one line.
        number_matching: _,
        one_prompt: _,
        cool_down: _,
        prompts_per_hour: _,
        trust_hours: _,
    } = settings;
    let second = second_person.as_ref().map(|second| {
        let mut who: Vec<String> = second.approvers.iter().map(ToString::to_string).collect();
        who.extend(second.group.as_ref().map(|group| format!("members of {group}")));
        let own = if second.own { ", and the person" } else { "" };
        format!("{} of {}{own}", second.needed, who.join(", "))
    });
    let facts = [
        ("approvers", approvers.as_ref().map(|steps| joined(steps))),
        ("when unreachable", when_unreachable.map(|policy| policy.to_string())),
        ("second person", second),
        ("guards", guards::words(&settings.guards())),
        ("permit filter", permit_filter.clone()),
        ("session timeout", session_timeout.map(format_duration)),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn joined(several: &[impl ToString]) -> String {
    several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn shown<'a>(group: &'a Group, members: &'a [UserName]) -> Shown<'a> {
    Shown { name: group.name.as_str(), settings: &group.settings, members, created_at: group.created_at.to_string() }
}
