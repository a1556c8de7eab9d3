//! `radhold emergency`: a code for everybody, for the day nobody can be asked.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::{chance, clock};
use crate::auth::totp::SpareCode;
use crate::config::parse_duration;
use crate::store::EmergencyCode;

use super::context::Context;
use super::failure::Failure;
use super::{audit, manual, output};

/// No emergency lasts longer; make another code then.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Emergency codes: one stands for the second factor of any user who knows their password.
///
/// For the day Telegram is away. There is none unless you make one. Each use is in the audit record, and the operator chat is told of
/// it.
#[derive(Debug, Subcommand)]
pub(super) enum EmergencyCommand {
    New(NewArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make an emergency code, and print it once.
///
/// Users put it behind their PAP password (password,CODE), or enter it where they are asked for a code. Where passwords travel as
/// MS-CHAP it cannot be entered: approve those logins with `radhold session approve`.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold emergency new --valid 1h\n  radhold emergency new --valid 4h --uses 50"))]
pub(super) struct NewArgs {
    /// How long it may be used, at most 7d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    valid: Duration,
    /// How many logins it is good for.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// Who makes it, for the record [default: $SUDO_USER, else $USER].
    #[arg(long = "as", value_name = "OPERATOR", value_parser = audit::operator_name)]
    operator: Option<String>,
}

/// List emergency codes by their names, and what is left of each; not the codes.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold emergency list\n  radhold emergency list --json | jq"))]
pub(super) struct ListArgs {
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Take an emergency code back.
///
/// Sessions it let in go on; `radhold session kick` ends them.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold emergency revoke e7f3"))]
pub(super) struct RevokeArgs {
    /// Its name, as `list` shows it.
    name: String,
}

/// A code, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    made_at: String,
    made_by: String,
    valid_until: String,
    uses_left: u32,
    in_force: bool,
}

pub(super) async fn run(command: EmergencyCommand, context: &Context) -> Result<(), Failure> {
    match command {
        EmergencyCommand::New(args) => new(&args, context).await,
        EmergencyCommand::List(args) => list(&args, context).await,
        EmergencyCommand::Revoke(args) => revoke(&args, context).await,
    }
}

async fn new(args: &NewArgs, context: &Context) -> Result<(), Failure> {
    if args.valid.is_zero() || args.valid > LONGEST {
        return Err(Failure::usage("--valid wants more than nothing and at most 7d"));
    }
    let store = context.store().await?;
    let code = SpareCode::emergency(chance::octets());
    let now = clock::now();
    let who = audit::operator(args.operator.as_deref());
    let kept = EmergencyCode {
        name: format!("e{}", hex::encode(chance::octets::<3>())),
        hash: code.emergency_hash(&context.sealing_key()?),
        made_at: now,
        made_by: who.clone(),
        valid_until: now + args.valid,
        uses_left: args.uses,
    };
    let detail = format!("until {}, {} uses", kept.valid_until, kept.uses_left);
    store.add_emergency(&kept, &audit::entry(context, who, "emergency.new", &kept.name, detail)).await?;
    output::print(&format!(
        "{}\n\nEmergency code {}: good until {} for {} logins of anybody who knows their password. It is not shown again.\n\
         Behind a PAP password: password,{}",
        code.to_text(),
        kept.name,
        kept.valid_until,
        kept.uses_left,
        code.to_text()
    ))
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let now = clock::now();
    let shown = context.store().await?.emergencies().await?.into_iter().map(|code| Shown {
        in_force: code.is_valid(now),
        name: code.name,
        made_at: code.made_at.to_string(),
        made_by: code.made_by,
        valid_until: code.valid_until.to_string(),
        uses_left: code.uses_left,
    });
    if args.json {
        return output::print_json(&shown.collect::<Vec<_>>());
    }
    let rows = shown.map(|code| {
        let state = if code.in_force { "in force" } else { "over" };
        [code.name, state.to_owned(), code.uses_left.to_string(), code.valid_until, code.made_at, code.made_by]
    });
    let head = ["CODE", "STATE", "USES LEFT", "UNTIL", "MADE", "BY"];
    output::print_table(head, rows.collect(), "no emergency codes")
}

async fn revoke(args: &RevokeArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let act = audit::entry(context, audit::operator(None), "emergency.revoke", &args.name, "");
    if !store.revoke_emergency(&args.name, &act).await? {
        return Err(Failure::not_found(format!(
            "there is no emergency code {:?}; see `radhold emergency list`",
            args.name
        )));
    }
    output::print(&format!("emergency code {} is worth nothing any more", args.name))
}
