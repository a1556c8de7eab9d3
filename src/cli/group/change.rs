//! `radhold group add` and `radhold group set`

use std::time::Duration;

use clap::Args;

use crate::app::clock;
use crate::model::{
    ApproverKind, ApproverStep, Group, GroupName, GroupSettings, SecondPerson, UserName, WhenUnreachable,
    parse_duration,
};
use crate::store::{Edit, Store};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::guards::GuardArgs;
use super::super::{audit, manual, output};
use super::find;
use super::show::facts;

/// Add a group.
///
/// What is not said here is left to the NAS and the server. With a second person, logins of the group's members are confirmed by
/// somebody else, in that person's own chat; docs/approvers.md has all of it.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold group add staff --approvers telegram:60s,operator --when-unreachable hold\n  radhold group add contractors --second-person boss,lead --second-person-needed 2\n  radhold group add guests --second-person-group hosts --second-person-own"
))]
pub(in crate::cli) struct AddArgs {
    /// Your name for it: letters, digits and any of - . _ and space.
    #[arg(value_parser = group_name)]
    name: GroupName,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Change what a group says: what is named, and nothing else.
///
/// `none` takes a setting back, so that the NAS or the server says it. Sessions that are open go on as they were granted. All nodes
/// know of the change within seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold group set staff --approvers telegram:30s,webhook:30s,operator\n  radhold group set staff --approvers none --trust-hours 12\n  radhold group set contractors --no-second-person"
))]
pub(in crate::cli) struct SetArgs {
    /// The group.
    name: String,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Nobody else must confirm any more.
    #[arg(long, conflicts_with_all = ["second_person", "second_person_group", "second_person_needed", "second_person_own"])]
    no_second_person: bool,
}

/// What may be said of a group.
#[derive(Debug, Args)]
struct SettingsArgs {
    /// Who is asked, in order and with patience, such as telegram:60s,operator; or none.
    #[arg(long, value_name = "APPROVERS", value_parser = approvers)]
    approvers: Option<Said<Vec<ApproverStep>>>,
    /// What becomes of a hold when nobody can be asked: end, hold until the deadline, or none.
    #[arg(long, value_name = "END|HOLD|NONE", value_parser = said::<WhenUnreachable>)]
    when_unreachable: Option<Said<WhenUnreachable>>,
    /// Users who may confirm members' logins, with commas between.
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    second_person: Vec<String>,
    /// A group whose members may.
    #[arg(long, value_name = "GROUP")]
    second_person_group: Option<String>,
    /// How many different people must [default: 1].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=9))]
    second_person_needed: Option<u32>,
    /// The person must confirm as well.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    second_person_own: Option<bool>,
    /// Filter that lets members' sessions through, or none.
    #[arg(long, value_name = "NAME", value_parser = said::<String>)]
    permit_filter: Option<Said<String>>,
    /// How long a permitted session may last, such as 8h, or none.
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    session_timeout: Option<Said<Duration>>,
    #[command(flatten)]
    guards: GuardArgs,
}

/// A setting, or that it is for others to say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said<T>(Option<T>);

pub(super) async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut group = Group { name: args.name, settings: GroupSettings::default(), created_at: clock::now() };
    args.settings.apply(&mut group.settings)?;
    check(&*store, context, &group.settings).await?;
    audit::edit(context, &*store, &[Edit::AddGroup(&group)], "group.add", &group.name, says(&group.settings)).await?;
    output::print(&format!("added group {}", group.name))
}

pub(super) async fn set(args: SetArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut group = find(&*store, &args.name).await?;
    let before = group.settings.clone();
    args.settings.apply(&mut group.settings)?;
    if args.no_second_person {
        group.settings.second_person = None;
    }
    if group.settings == before {
        return output::print(&format!("group {} says that already", group.name));
    }
    check(&*store, context, &group.settings).await?;
    audit::edit(context, &*store, &[Edit::ReplaceGroup(&group)], "group.set", &group.name, says(&group.settings))
        .await?;
    output::print(&format!("changed group {}", group.name))
}

/// What would lock everybody out, or do nothing, is told now and not at the first login.
async fn check(store: &dyn Store, context: &Context, settings: &GroupSettings) -> Result<(), Failure> {
    let asks = |kind| settings.approvers.iter().flatten().any(|step| step.kind == kind);
    if asks(ApproverKind::Telegram) && context.config.telegram.is_none() {
        return Err(Failure::usage("--approvers names telegram, but the configuration has no [telegram] section"));
    }
    if asks(ApproverKind::Webhook) && context.config.webhook.is_none() {
        return Err(Failure::usage(
            "--approvers names webhook, but the configuration has no [approver.webhook] section",
        ));
    }
    let Some(second) = &settings.second_person else {
        if asks(ApproverKind::Person) {
            return Err(Failure::usage(
                "--approvers names person, but nobody is named who could confirm; see --second-person",
            ));
        }
        return Ok(());
    };
    for name in &second.approvers {
        if store.user(name).await?.is_none() {
            return Err(Failure::not_found(format!("--second-person: there is no user {name}")));
        }
    }
    if let Some(group) = &second.group {
        find(store, group.as_str()).await?;
    }
    if second.group.is_none() && second.approvers.len() < second.needed as usize {
        return Err(Failure::usage(format!(
            "{} must confirm, but only {} may; name more with --second-person, or fewer with --second-person-needed",
            second.needed,
            second.approvers.len()
        )));
    }
    Ok(())
}

impl SettingsArgs {
    fn apply(self, settings: &mut GroupSettings) -> Result<(), Failure> {
        fn put<T>(setting: &mut Option<T>, said: Option<Said<T>>) {
            if let Some(Said(value)) = said {
                *setting = value;
            }
        }
        put(&mut settings.approvers, self.approvers);
        put(&mut settings.when_unreachable, self.when_unreachable);
        *settings = settings.clone().with_guards(self.guards.over(settings.guards()));
        put(&mut settings.permit_filter, self.permit_filter);
        put(&mut settings.session_timeout, self.session_timeout);
        let names_somebody = !self.second_person.is_empty() || self.second_person_group.is_some();
        if !names_somebody && self.second_person_needed.is_none() && self.second_person_own.is_none() {
            return Ok(());
        }
        let before = settings.second_person.take();
        if before.is_none() && !names_somebody {
            return Err(Failure::usage("who may confirm? name users with --second-person, or --second-person-group"));
        }
        let mut second = before.unwrap_or(SecondPerson { approvers: vec![], group: None, needed: 1, own: false });
        if names_somebody {
            second.approvers = self.second_person.iter().map(|name| UserName::new(name.trim())).collect();
            second.approvers.sort();
            second.approvers.dedup();
            second.group = self.second_person_group.map(GroupName::new);
        }
        second.needed = self.second_person_needed.unwrap_or(second.needed);
        second.own = self.second_person_own.unwrap_or(second.own);
        settings.second_person = Some(second);
        Ok(())
    }
}

fn says(settings: &GroupSettings) -> String {
    facts(settings).into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("; ")
}

pub(in crate::cli) fn group_name(text: &str) -> Result<GroupName, String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if text.trim() != text || text.is_empty() || text.len() > 64 || !text.chars().all(fine) {
        return Err(format!("{text:?} cannot name a group; use up to 64 of letters, digits, - _ . and space"));
    }
    Ok(GroupName::new(text))
}

fn said<T>(text: &str) -> Result<Said<T>, String>
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    match text {
        "none" => Ok(Said(None)),
        "" => Err("write none to take it back".to_owned()),
        _ => text.parse().map(|value| Said(Some(value))).map_err(|error: T::Err| error.to_string()),
    }
}

fn approvers(text: &str) -> Result<Said<Vec<ApproverStep>>, String> {
    if text == "none" { Ok(Said(None)) } else { ApproverStep::list(text).map(|steps| Said(Some(steps))) }
}

fn timeout(text: &str) -> Result<Said<Duration>, String> {
    if text == "none" {
        return Ok(Said(None));
    }
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() || duration.subsec_nanos() != 0 => {
            Err("must be whole seconds, and more than none".to_owned())
        }
        parsed => parsed.map(|duration| Said(Some(duration))).map_err(|error| error.to_string()),
    }
}
