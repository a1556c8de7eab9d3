//! `radhold ban`: bans, by hand.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::clock;
use crate::config::{format_duration, parse_duration};
use crate::model::Timestamp;
use crate::policy::{Ban, BanTarget};
use crate::store::Store;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::{audit, manual, output};

/// List, set and lift bans.
///
/// Bans are kept in the store, count on all nodes within seconds, and survive restarts. Those of addresses and networks are told to the
/// NASes whose host can drop them (radhold agent).
#[derive(Debug, Subcommand)]
pub(super) enum BanCommand {
    List(ListArgs),
    Add(AddArgs),
    Lift(LiftArgs),
}

/// List the bans in force.
///
/// Those set by "radhold" came of strikes: logins that were denied or not confirmed (see [strikes] in the configuration).
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold ban list\n  radhold ban list --all --json | jq"))]
pub(super) struct ListArgs {
    /// Those that are over or were lifted too.
    #[arg(long)]
    all: bool,
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Ban an address, a network, an account, or a station.
///
/// A ban takes the place of one with the same target. A network that is allowed ([callers], or a NAS's own) is banned with --force
/// only; without it, such callers are spared by bans of larger networks too.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold ban add 192.0.2.7 --for 2h --reason 'guessing passwords'\n  radhold ban add 2001:db8::/48\n  radhold ban add --account alice --for 30m"
))]
pub(super) struct AddArgs {
    #[command(flatten)]
    target: Target,
    /// For how long [default: until it is lifted].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    reason: String,
    /// Ban an allowed network all the same.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    who: Who,
}

/// Lift a ban.
///
/// Strikes before count no more.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold ban lift 192.0.2.7\n  radhold ban lift --account alice"))]
pub(super) struct LiftArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// An address, or a network as 192.0.2.0/24.
    #[arg(value_name = "ADDRESS", value_parser = |text: &str| BanTarget::read("address", text))]
    address: Option<BanTarget>,
    /// A User-Name.
    #[arg(long, value_name = "NAME", value_parser = |text: &str| BanTarget::read("account", text))]
    account: Option<BanTarget>,
    /// A Calling-Station-Id that is no address, such as a MAC address, as the NAS writes it.
    #[arg(long, value_name = "ID", value_parser = |text: &str| BanTarget::read("station", text))]
    station: Option<BanTarget>,
}

#[derive(Debug, Args)]
struct Who {
    /// Who does it, for the record [default: $SUDO_USER, else $USER].
    #[arg(long = "as", value_name = "OPERATOR", value_parser = audit::operator_name)]
    operator: Option<String>,
}

/// A ban, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    kind: &'static str,
    value: String,
    since: String,
    until: Option<String>,
    seconds_left: Option<u64>,
    lifted_at: Option<String>,
    in_force: bool,
    reason: String,
    by: String,
    automatic: bool,
    forced: bool,
}

pub(super) async fn run(command: BanCommand, context: &Context) -> Result<(), Failure> {
    match command {
        BanCommand::List(args) => list(&args, context).await,
        BanCommand::Add(args) => add(args, context).await,
        BanCommand::Lift(args) => lift(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let now = clock::now();
    let mut bans = context.store().await?.bans(Timestamp::default()).await?;
    bans.retain(|ban| args.all || ban.in_force(now));
    bans.sort_by(|a, b| a.target.cmp(&b.target));
    if args.json {
        return output::print_json(&bans.into_iter().map(|ban| shown(ban, now)).collect::<Vec<_>>());
    }
    let rows = bans.into_iter().map(|ban| {
        let left = match (ban.lifted_at, ban.until) {
            (Some(_), _) => "lifted".to_owned(),
            (None, None) => "until lifted".to_owned(),
            (None, Some(until)) if until <= now => "over".to_owned(),
            (None, Some(until)) => format_duration(Duration::from_secs(until.since(now).as_secs().max(1))),
        };
        let until = output::or_dash(ban.until);
        [ban.target.kind().to_owned(), ban.target.value(), left, until, ban.by, ban.reason]
    });
    output::print_table(["KIND", "WHO", "LEFT", "UNTIL", "SET BY", "REASON"], rows.collect(), "no bans")
}

async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    if args.time.is_some_and(|time| time.is_zero()) {
        return Err(Failure::usage("a ban for no time is none; see `radhold ban lift`"));
    }
    let store = context.store().await?;
    let target = args.target.one()?;
    let forced = match allowed_by(&target, context, &*store).await? {
        Some(whose) if !args.force => {
            return Err(Failure::failed(format!(
                "{} is in a network that {whose} allows; --force bans it all the same",
                target.value()
            )));
        }
        whose => whose.is_some(),
    };
    let who = audit::operator(args.who.operator.as_deref());
    let now = clock::now();
    let until = args.time.map(|time| now + time);
    let till = until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until}"));
    let act = audit::entry(context, who.clone(), "ban.add", &target, format!("{}; {till}", args.reason));
    let ban =
        Ban { target, since: now, until, lifted_at: None, reason: args.reason, by: who, automatic: false, forced };
    store.set_ban(&ban, &act).await?;
    output::print(&format!("banned {} {till}", ban.target))
}

async fn lift(args: LiftArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let target = args.target.one()?;
    let who = audit::operator(args.who.operator.as_deref());
    let act = audit::entry(context, who, "ban.lift", &target, "");
    if !store.lift_ban(&target, &act).await? {
        return Err(Failure::new(Exit::NotFound, format!("no ban of {target} is in force; see `radhold ban list`")));
    }
    output::print(&format!("lifted the ban of {target}"))
}

impl Target {
    fn one(self) -> Result<BanTarget, Failure> {
        let given = self.address.or(self.account).or(self.station);
        given.ok_or_else(|| Failure::usage("say whom: an address, --account or --station"))
    }
}

/// Whose lists allow any address of the target.
async fn allowed_by(target: &BanTarget, context: &Context, store: &dyn Store) -> Result<Option<String>, Failure> {
    let BanTarget::Network(network) = target else { return Ok(None) };
    if context.config.callers.allows_within(network) {
        return Ok(Some("[callers]".to_owned()));
    }
    let stored = store.nases().await?;
    let allowing = context.config.nas.iter().chain(&stored).find(|nas| nas.callers.allows_within(network));
    Ok(allowing.map(|nas| format!("NAS {}", nas.name)))
}

fn shown(ban: Ban, now: Timestamp) -> Shown {
    let in_force = ban.in_force(now);
    Shown {
        kind: ban.target.kind(),
        value: ban.target.value(),
        since: ban.since.to_string(),
        until: ban.until.map(|until| until.to_string()),
        seconds_left: ban.until.filter(|_| in_force).map(|until| until.since(now).as_secs()),
        lifted_at: ban.lifted_at.map(|at| at.to_string()),
        in_force,
        reason: ban.reason,
        by: ban.by,
        automatic: ban.automatic,
        forced: ban.forced,
    }
}
