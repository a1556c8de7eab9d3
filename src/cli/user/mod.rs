//! `radhold user …`

mod change;
mod enrol;
mod enrolments;
mod show;
mod totp;

use clap::{Args, Subcommand};

use crate::app::clock;
use crate::model::{ApproverKind, Binding, User, UserName};
use crate::store::{Edit, Store};

use super::context::Context;
use super::failure::Failure;
use super::{audit, manual, output};
pub(super) use change::user_name;
use change::{AddArgs, SetArgs};
use enrol::EnrolArgs;
use enrolments::EnrolmentsArgs;
use show::{ListArgs, ShowArgs};
use totp::TotpArgs;

/// Add, list, change and remove users, and bind the chats where they are asked.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    Add(AddArgs),
    List(ListArgs),
    Show(ShowArgs),
    Set(Box<SetArgs>),
    Remove(RemoveArgs),
    Bind(BindArgs),
    Unbind(UnbindArgs),
    Totp(TotpArgs),
    Enrol(EnrolArgs),
    Enrolments(EnrolmentsArgs),
}

/// Remove a user and their bindings.
///
/// Their sessions stay, as records; one that is open goes on until it ends (`radhold session kick` ends it).
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user remove alice"))]
pub(super) struct RemoveArgs {
    /// The User-Name.
    name: String,
}

/// Bind a chat to a user: the place where they are asked whether it is they.
///
/// The chat's number is the one Telegram gives; the bot tells it to whoever writes /start to it. In a private chat the person has
/// the same number as the chat; a group has a negative number, and wants --presser: whose press counts. Binding the same chat
/// again replaces its presser.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user bind alice --telegram 123456789\n  radhold user bind alice --telegram -1001234567890 --presser 123456789"
))]
pub(super) struct BindArgs {
    /// The User-Name.
    name: String,
    /// The chat's number.
    #[arg(long, value_name = "CHAT_ID", allow_negative_numbers = true)]
    telegram: i64,
    /// The number of the person whose press counts [default: the chat's, which must be private].
    #[arg(long, value_name = "USER_ID", value_parser = clap::value_parser!(i64).range(1..))]
    presser: Option<i64>,
}

/// Take a chat from a user, or all of them.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user unbind alice --telegram 123456789\n  radhold user unbind alice --all"))]
pub(super) struct UnbindArgs {
    /// The User-Name.
    name: String,
    /// The chat's number.
    #[arg(long, value_name = "CHAT_ID", allow_negative_numbers = true, required_unless_present = "all")]
    telegram: Option<i64>,
    /// All chats, as when a telephone is lost.
    #[arg(long, conflicts_with = "telegram")]
    all: bool,
}

pub(super) async fn run(command: UserCommand, context: &Context) -> Result<(), Failure> {
    match command {
        UserCommand::Add(args) => change::add(args, context).await,
        UserCommand::List(args) => show::list(&args, context).await,
        UserCommand::Show(args) => show::show(&args, context).await,
        UserCommand::Set(args) => change::set(*args, context).await,
        UserCommand::Remove(args) => remove(args, context).await,
        UserCommand::Bind(args) => bind(args, context).await,
        UserCommand::Unbind(args) => unbind(args, context).await,
        UserCommand::Totp(args) => totp::run(args, context).await,
        UserCommand::Enrol(args) => enrol::run(args, context).await,
        UserCommand::Enrolments(args) => enrolments::run(&args, context).await,
    }
}

async fn remove(args: RemoveArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let user = find(&*store, &args.name).await?;
    audit::edit(context, &*store, &[Edit::RemoveUser(&user.name)], "user.remove", &user.name, "").await?;
    output::print(&format!("removed user {}", user.name))
}

async fn bind(args: BindArgs, context: &Context) -> Result<(), Failure> {
    let presser = match args.presser {
        Some(presser) => presser,
        None if args.telegram > 0 => args.telegram,
        None => return Err(Failure::usage("a group's chat wants --presser USER_ID: whose press counts")),
    };
    let store = context.store().await?;
    let user = find(&*store, &args.name).await?;
    let binding = binding(&user.name, args.telegram, presser);
    let detail = format!("Telegram chat {}, presser {}", binding.address, binding.presser);
    audit::edit(context, &*store, &[Edit::Bind(&binding)], "user.bind", &user.name, detail).await?;
    output::print(&format!("user {} is asked in Telegram chat {}", user.name, binding.address))
}

async fn unbind(args: UnbindArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let user = find(&*store, &args.name).await?;
    let address = args.telegram.map(|chat| chat.to_string());
    let mut bound = store.bindings(&user.name).await?;
    bound.retain(|binding| {
        binding.approver == ApproverKind::Telegram && address.as_ref().is_none_or(|address| binding.address == *address)
    });
    if bound.is_empty() {
        let which = address.map_or_else(String::new, |address| format!(" {address}"));
        return Err(Failure::not_found(format!("user {} has no Telegram chat{which}", user.name)));
    }
    let edits: Vec<_> = bound.iter().map(Edit::Unbind).collect();
    let act = |binding: &Binding| {
        let detail = format!("Telegram chat {}", binding.address);
        audit::entry(context, audit::operator(None), "user.unbind", &user.name, detail)
    };
    store.edit(&edits, &bound.iter().map(act).collect::<Vec<_>>()).await?;
    let chats = bound.iter().map(|binding| binding.address.as_str()).collect::<Vec<_>>().join(", ");
    output::print(&format!("user {} is no longer asked in Telegram chat {chats}", user.name))
}

fn binding(user: &UserName, chat: i64, presser: i64) -> Binding {
    Binding {
        user: user.clone(),
        approver: ApproverKind::Telegram,
        address: chat.to_string(),
        presser: presser.to_string(),
        bound_at: clock::now(),
    }
}

async fn find(store: &dyn Store, name: &str) -> Result<User, Failure> {
    let found = store.user(&UserName::new(name)).await?;
    found.ok_or_else(|| Failure::not_found(format!("there is no user {name:?}; see `radhold user list`")))
}
