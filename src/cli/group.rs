//! `radhold group …`: what is the same for many users.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::clock;
use crate::config::format_duration;
use crate::model::{
    ApproverKind, ApproverStep, Group, GroupName, GroupSettings, SecondPerson, User, UserName, WhenUnreachable,
    parse_duration,
};
use crate::store::{Edit, Store};

use super::context::Context;
use super::failure::Failure;
use super::guards::{self, GuardArgs};
use super::{audit, manual, output};

/// Add, list, change and remove groups, and say who is in them.
///
/// What a group says counts for the logins of its members, unless the user says otherwise; of several groups, the first of the
/// user's that says anything. What no group says is for the NAS and then the server to say.
#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    List(ListArgs),
    Show(ShowArgs),
    Add(Box<AddArgs>),
    Set(Box<SetArgs>),
    Remove(RemoveArgs),
    #[command(subcommand)]
    Member(MemberCommand),
}

/// List all groups.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group list\n  radhold group list --json | jq -r '.[].name'"))]
pub(super) struct ListArgs {
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Show a group and who is in it.
///
/// As JSON `settings` has only what the group says; times are in seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group show contractors\n  radhold group show contractors --json"))]
pub(super) struct ShowArgs {
    /// The group.
    name: String,
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// Add a group.
///
/// What is not said here is left to the NAS and the server. With a second person, logins of the group's members are confirmed by
/// somebody else, in that person's own chat; docs/approvers.md has all of it.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold group add staff --approvers telegram:60s,operator --when-unreachable hold\n  radhold group add contractors --second-person boss,lead --second-person-needed 2\n  radhold group add guests --second-person-group hosts --second-person-own"
))]
pub(super) struct AddArgs {
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
pub(super) struct SetArgs {
    /// The group.
    name: String,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Nobody else must confirm any more.
    #[arg(long, conflicts_with_all = ["second_person", "second_person_group", "second_person_needed", "second_person_own"])]
    no_second_person: bool,
}

/// Remove a group that has no members.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group member remove contractors --all\n  radhold group remove contractors"))]
pub(super) struct RemoveArgs {
    /// The group.
    name: String,
}

/// Put users into a group, and take them out.
#[derive(Debug, Subcommand)]
pub(super) enum MemberCommand {
    Add(MemberAddArgs),
    Remove(MemberRemoveArgs),
}

/// Put users into a group.
///
/// It becomes the farthest of their groups, or with --nearest the nearest.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group member add contractors bob carol\n  radhold group member add vip alice --nearest"))]
pub(super) struct MemberAddArgs {
    /// The group.
    group: String,
    /// User-Names.
    #[arg(required = true)]
    users: Vec<String>,
    /// What it says counts for more than what their other groups say. Those who are in it already move it there.
    #[arg(long)]
    nearest: bool,
}

/// Take users out of a group.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group member remove contractors bob\n  radhold group member remove contractors --all"))]
pub(super) struct MemberRemoveArgs {
    /// The group.
    group: String,
    /// User-Names.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    users: Vec<String>,
    /// All its members.
    #[arg(long)]
    all: bool,
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

/// A group, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    settings: &'a GroupSettings,
    members: &'a [UserName],
    created_at: String,
}

pub(super) async fn run(command: GroupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        GroupCommand::List(args) => list(&args, context).await,
        GroupCommand::Show(args) => show(&args, context).await,
        GroupCommand::Add(args) => add(*args, context).await,
        GroupCommand::Set(args) => set(*args, context).await,
        GroupCommand::Remove(args) => remove(args, context).await,
        GroupCommand::Member(MemberCommand::Add(args)) => member_add(args, context).await,
        GroupCommand::Member(MemberCommand::Remove(args)) => member_remove(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
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

async fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
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

async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut group = Group { name: args.name, settings: GroupSettings::default(), created_at: clock::now() };
    args.settings.apply(&mut group.settings)?;
    check(&*store, context, &group.settings).await?;
    audit::edit(context, &*store, &[Edit::AddGroup(&group)], "group.add", &group.name, says(&group.settings)).await?;
    output::print(&format!("added group {}", group.name))
}

async fn set(args: SetArgs, context: &Context) -> Result<(), Failure> {
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

async fn remove(args: RemoveArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let group = find(&*store, &args.name).await?;
    let members = store.members(&group.name).await?.len();
    if members > 0 {
        return Err(Failure::failed(format!(
            "group {} has {members} members; take them out first: radhold group member remove '{}' --all",
            group.name, group.name
        )));
    }
    if let Some(other) = needing(&*store, &group.name).await? {
        return Err(Failure::failed(format!(
            "the logins of group {other} are confirmed by members of {}; change that first",
            group.name
        )));
    }
    audit::edit(context, &*store, &[Edit::RemoveGroup(&group.name)], "group.remove", &group.name, "").await?;
    output::print(&format!("removed group {}", group.name))
}

async fn member_add(args: MemberAddArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let group = find(&*store, &args.group).await?;
    let users = find_users(&*store, &args.users).await?;
    let mut changed = Vec::new();
    for mut user in users {
        let was_in = user.groups.contains(&group.name);
        if was_in && (!args.nearest || user.groups.first() == Some(&group.name)) {
            continue;
        }
        user.groups.retain(|name| *name != group.name);
        user.groups.insert(if args.nearest { 0 } else { user.groups.len() }, group.name.clone());
        changed.push(user);
    }
    replace(&*store, context, &changed, "group.member.add", &group.name).await?;
    output::print(&format!("in group {}: {}", group.name, args.users.join(", ")))
}

async fn member_remove(args: MemberRemoveArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let group = find(&*store, &args.group).await?;
    let names = match args.all {
        true => store.members(&group.name).await?.iter().map(ToString::to_string).collect(),
        false => args.users,
    };
    let users = find_users(&*store, &names).await?;
    if let Some(user) = users.iter().find(|user| !user.groups.contains(&group.name)) {
        return Err(Failure::not_found(format!("user {} is not in group {}", user.name, group.name)));
    }
    let leave = |mut user: User| {
        user.groups.retain(|name| *name != group.name);
        user
    };
    let changed: Vec<User> = users.into_iter().map(leave).collect();
    replace(&*store, context, &changed, "group.member.remove", &group.name).await?;
    output::print(&format!("no longer in group {}: {}", group.name, names.join(", ")))
}

/// Keeps users whose groups have changed: all of them, or none.
async fn replace(
    store: &dyn Store,
    context: &Context,
    users: &[User],
    act: &'static str,
    group: &GroupName,
) -> Result<(), Failure> {
    let edits: Vec<_> = users.iter().map(Edit::ReplaceUser).collect();
    let act = |user: &User| audit::entry(context, audit::operator(None), act, &user.name, group.as_str());
    Ok(store.edit(&edits, &users.iter().map(act).collect::<Vec<_>>()).await?)
}

async fn find(store: &dyn Store, name: &str) -> Result<Group, Failure> {
    let found = store.groups().await?.into_iter().find(|group| group.name.as_str() == name);
    found.ok_or_else(|| Failure::not_found(format!("there is no group {name:?}; see `radhold group list`")))
}

/// All of them, or none is touched.
async fn find_users(store: &dyn Store, names: &[String]) -> Result<Vec<User>, Failure> {
    let mut users = Vec::new();
    for name in names {
        let user = store.user(&UserName::new(name)).await?;
        users.push(
            user.ok_or_else(|| Failure::not_found(format!("there is no user {name:?}; see `radhold user list`")))?,
        );
    }
    Ok(users)
}

/// A group whose members' logins are confirmed by members of this one.
async fn needing(store: &dyn Store, name: &GroupName) -> Result<Option<GroupName>, Failure> {
    let groups = store.groups().await?;
    let needs = |group: &&Group| {
        let second = group.settings.second_person.as_ref();
        group.name != *name && second.is_some_and(|second| second.group.as_ref() == Some(name))
    };
    Ok(groups.iter().find(needs).map(|group| group.name.clone()))
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

/// What a group says, in the words of the options.
fn facts(settings: &GroupSettings) -> Vec<(&'static str, String)> {
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

fn says(settings: &GroupSettings) -> String {
    facts(settings).into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("; ")
}

fn joined(several: &[impl ToString]) -> String {
    several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn shown<'a>(group: &'a Group, members: &'a [UserName]) -> Shown<'a> {
    Shown { name: group.name.as_str(), settings: &group.settings, members, created_at: group.created_at.to_string() }
}

pub(super) fn group_name(text: &str) -> Result<GroupName, String> {
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
