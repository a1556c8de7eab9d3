//! `radhold group …`: what is the same for many users.

mod change;
mod member;
mod show;

use clap::{Args, Subcommand};

use crate::model::{Group, GroupName};
use crate::store::{Edit, Store};

use super::context::Context;
use super::failure::Failure;
use super::{audit, manual, output};
pub(super) use change::group_name;
use change::{AddArgs, SetArgs};
use member::MemberCommand;
use show::{ListArgs, ShowArgs};

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

/// Remove a group that has no members.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group member remove contractors --all\n  radhold group remove contractors"))]
pub(super) struct RemoveArgs {
    /// The group.
    name: String,
}

pub(super) async fn run(command: GroupCommand, context: &Context) -> Result<(), Failure> {
    match command {
        GroupCommand::List(args) => show::list(&args, context).await,
        GroupCommand::Show(args) => show::show(&args, context).await,
        GroupCommand::Add(args) => change::add(*args, context).await,
        GroupCommand::Set(args) => change::set(*args, context).await,
        GroupCommand::Remove(args) => remove(args, context).await,
        GroupCommand::Member(command) => member::run(command, context).await,
    }
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

async fn find(store: &dyn Store, name: &str) -> Result<Group, Failure> {
    let found = store.groups().await?.into_iter().find(|group| group.name.as_str() == name);
    found.ok_or_else(|| Failure::not_found(format!("there is no group {name:?}; see `radhold group list`")))
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
