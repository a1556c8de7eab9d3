//! `radhold group member …`

use clap::{Args, Subcommand};

use crate::model::{GroupName, User, UserName};
use crate::store::{Edit, Store};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{audit, manual, output};
use super::find;

/// Put users into a group, and take them out.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MemberCommand {
    Add(MemberAddArgs),
    Remove(MemberRemoveArgs),
}

/// Put users into a group.
///
/// It becomes the farthest of their groups, or with --nearest the nearest.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold group member add contractors bob carol\n  radhold group member add vip alice --nearest"))]
pub(in crate::cli) struct MemberAddArgs {
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
pub(in crate::cli) struct MemberRemoveArgs {
    /// The group.
    group: String,
    /// User-Names.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    users: Vec<String>,
    /// All its members.
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(command: MemberCommand, context: &Context) -> Result<(), Failure> {
    match command {
        MemberCommand::Add(args) => add(args, context).await,
        MemberCommand::Remove(args) => remove(args, context).await,
    }
}

async fn add(args: MemberAddArgs, context: &Context) -> Result<(), Failure> {
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

async fn remove(args: MemberRemoveArgs, context: &Context) -> Result<(), Failure> {
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
