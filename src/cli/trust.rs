//! `radhold trust`: approvals that are remembered, and taking them back.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::clock;
use crate::model::SessionId;
use crate::policy::Trust;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::user::user_name;
use super::{audit, manual, output};

/// List approvals that are remembered, and take them back.
///
/// Where trust is on (trust_hours), somebody who was let through from an address, or with a device at a NAS, is not asked again there for
/// so many hours. A "not me", a new password, or a chat that is unbound makes all of a user's void.
#[derive(Debug, Subcommand)]
pub(super) enum TrustCommand {
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// List the approvals that count now.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold trust list\n  radhold trust list alice --json | jq -r '.[].place'"))]
pub(super) struct ListArgs {
    /// Only this user's.
    user: Option<String>,
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Take approvals back: all of a user's, or one.
///
/// Counts on all nodes at once, for the next login: sessions that are open go on.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold trust revoke alice\n  radhold trust revoke alice --session 019a0c5e-8a3b-7000-8000-0123456789ab"
))]
pub(super) struct RevokeArgs {
    /// The User-Name.
    user: String,
    /// Only the one that came of this session, as the list shows it.
    #[arg(long, value_name = "ID")]
    session: Option<uuid::Uuid>,
    /// Who does it, for the record [default: $SUDO_USER, else $USER].
    #[arg(long = "as", value_name = "OPERATOR", value_parser = audit::operator_name)]
    operator: Option<String>,
}

/// An approval, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    user: String,
    place: String,
    since: String,
    until: String,
    through: String,
    who: String,
    session: String,
}

pub(super) async fn run(command: TrustCommand, context: &Context) -> Result<(), Failure> {
    match command {
        TrustCommand::List(args) => list(args, context).await,
        TrustCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let user = args.user.as_deref().map(user_name).transpose()?;
    let trusted = context.store().await?.trusted(user.as_ref(), clock::now()).await?;
    if args.json {
        return output::print_json(&trusted.iter().map(shown).collect::<Vec<_>>());
    }
    let rows = trusted.iter().map(|trust| {
        let Shown { user, place, since, until, through, who, session } = shown(trust);
        [user, place, since, until, format!("{through} {who}"), session]
    });
    output::print_table(
        ["USER", "PLACE", "SINCE", "UNTIL", "APPROVED BY", "SESSION"],
        rows.collect(),
        "nobody is trusted anywhere",
    )
}

async fn revoke(args: RevokeArgs, context: &Context) -> Result<(), Failure> {
    let user = user_name(&args.user)?;
    let only = args.session.map(SessionId);
    let what = only.map_or_else(|| "all".to_owned(), |session| format!("that of session {session}"));
    let act = audit::entry(context, audit::operator(args.operator.as_deref()), "trust.revoke", &user, what);
    match context.store().await?.revoke_trust(&user, only, &act).await? {
        0 => Err(Failure::new(Exit::NotFound, format!("nothing of {user} to take back; see `radhold trust list`"))),
        1 => output::print(&format!("took back one approval of {user}")),
        many => output::print(&format!("took back {many} approvals of {user}")),
    }
}

fn shown(trust: &Trust) -> Shown {
    Shown {
        user: trust.user.to_string(),
        place: trust.place.to_string(),
        since: trust.since.to_string(),
        until: trust.until.to_string(),
        through: trust.through.to_string(),
        who: trust.who.clone(),
        session: trust.session.to_string(),
    }
}
