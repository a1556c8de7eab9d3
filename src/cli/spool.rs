//! `radhold spool …`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::spool::{Damaged, Number, SetAside, Spool, SpoolError};

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};

/// Entries set aside that are shown, at most.
const MOST: u32 = 1000;

/// Show what waits on this node until the store is back.
///
/// As JSON: file, waiting, oldest, used and limit (octets), nearly_full; set_aside, a list of the entries that could not be brought to
/// the store, with their reasons, the oldest thousand at most, and set_aside_count, how many there are; and damaged, a list of files
/// that were moved aside, with how many of their entries found no room in the new one (no_room) and how many could not be read
/// (unreadable, at most); null when nobody knows.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold spool\n  radhold spool --json | jq .waiting\n  radhold spool retry --all"
))]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SpoolArgs {
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<SpoolCommand>,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    Retry(RetryArgs),
    Drop(DropArgs),
}

/// Put entries that were set aside back in their places.
///
/// The server brings them to the store, a running one within seconds; what still cannot be brought there is set aside again.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold spool retry --all\n  radhold spool retry 17 18"))]
struct RetryArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// Remove entries that were set aside, for good, and show what they were.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold spool drop 17\n  radhold spool drop --all"))]
struct DropArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
}

#[derive(Debug, Args)]
struct ChosenArgs {
    /// Numbers, as `radhold spool` shows them.
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    numbers: Vec<Number>,
    /// All that were set aside.
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// The spool, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    waiting: u64,
    oldest: Option<String>,
    used: u64,
    limit: u64,
    nearly_full: bool,
    set_aside: Vec<Aside>,
    set_aside_count: u64,
    damaged: Vec<Moved>,
}

#[derive(Debug, Serialize)]
struct Moved {
    file: String,
    no_room: Option<u64>,
    unreadable: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Aside {
    number: i64,
    at: String,
    reason: String,
    about: String,
}

pub(super) async fn run(args: &SpoolArgs, context: &Context) -> Result<(), Failure> {
    let config = &context.config.spool;
    if !config.file.exists() {
        return Err(Failure::not_found(format!(
            "there is no spool at {}; `radhold serve` makes it",
            config.file.display()
        )));
    }
    let limit = config.max_mebibytes.saturating_mul(1 << 20);
    let spool = Spool::look(&config.file, limit).await.map_err(failed)?;
    match &args.command {
        None => show(args, config.file.display().to_string(), &spool).await,
        Some(SpoolCommand::Retry(RetryArgs { chosen })) => {
            let chosen = choose(&spool, chosen).await?;
            let put_back = spool.put_back(&numbers(&chosen)).await.map_err(failed)?;
            output::print(&format!("{put_back} put back; the server brings them to the store; see `radhold spool`"))
        }
        Some(SpoolCommand::Drop(DropArgs { chosen })) => {
            let chosen = choose(&spool, chosen).await?;
            let dropped = spool.drop_set_aside(&numbers(&chosen)).await.map_err(failed)?;
            print_aside(chosen.into_iter().map(Aside::from))?;
            output::print(&format!("{dropped} dropped"))
        }
    }
}

/// The entries meant, each of which there must be.
async fn choose(spool: &Spool, chosen: &ChosenArgs) -> Result<Vec<SetAside>, Failure> {
    let mut aside = spool.list_set_aside(u32::MAX).await.map_err(failed)?;
    if chosen.all {
        return Ok(aside);
    }
    if let Some(missing) = chosen.numbers.iter().find(|number| aside.iter().all(|it| it.number != **number)) {
        return Err(Failure::not_found(format!("no entry {missing} is set aside; see `radhold spool`")));
    }
    aside.retain(|it| chosen.numbers.contains(&it.number));
    Ok(aside)
}

fn numbers(aside: &[SetAside]) -> Vec<Number> {
    aside.iter().map(|it| it.number).collect()
}

fn failed(error: SpoolError) -> Failure {
    Failure::failed(error.to_string())
}

async fn show(args: &SpoolArgs, file: String, spool: &Spool) -> Result<(), Failure> {
    let fill = spool.fill().await.map_err(failed)?;
    let aside = spool.list_set_aside(MOST).await.map_err(failed)?;
    let shown = Shown {
        file,
        waiting: fill.waiting,
        oldest: fill.oldest.map(|oldest| oldest.to_string()),
        used: fill.used,
        limit: fill.limit,
        nearly_full: fill.is_alarming(),
        set_aside: aside.into_iter().map(Aside::from).collect(),
        set_aside_count: fill.set_aside,
        damaged: spool.damaged().await.map_err(failed)?.into_iter().map(Moved::from).collect(),
    };
    if args.json {
        return output::print_json(&shown);
    }
    let percent = shown.used.saturating_mul(100) / shown.limit.max(1);
    let mut facts = vec![
        ("file", Some(shown.file)),
        ("waiting", Some(shown.waiting.to_string())),
        ("oldest", shown.oldest),
        ("used", Some(format!("{} of {} octets ({percent} %)", shown.used, shown.limit))),
        ("alarm", shown.nearly_full.then(|| "nearly full: accounting will not be acknowledged any more".to_owned())),
        ("set aside", Some(shown.set_aside_count.to_string())),
    ];
    let damaged = shown.damaged.into_iter().map(|it| {
        let unreadable = match it.unreadable {
            Some(most) => format!("at most {most} of its entries could not be read"),
            None => "how many of its entries could not be read is not known".to_owned(),
        };
        let left = it.no_room.filter(|left| *left > 0);
        let left = left.map(|left| format!("; {left} can be read, and found no room in the new one"));
        format!("{}: {unreadable}{}", it.file, left.unwrap_or_default())
    });
    facts.extend(damaged.map(|line| ("damaged", Some(line))));
    output::print_facts(&facts)?;
    let listed = shown.set_aside.len() as u64;
    if listed == 0 {
        return Ok(());
    }
    print_aside(shown.set_aside.into_iter())?;
    if listed < shown.set_aside_count {
        eprintln!("radhold: these are the oldest {listed} of {}", shown.set_aside_count);
    }
    Ok(())
}

fn print_aside(aside: impl Iterator<Item = Aside>) -> Result<(), Failure> {
    let row = |it: Aside| [it.number.to_string(), it.at, it.reason, it.about];
    output::print_table(["NUMBER", "AT", "REASON", "WHAT"], aside.map(row).collect(), "nothing is set aside")
}

impl From<Damaged> for Moved {
    fn from(it: Damaged) -> Self {
        Self { file: it.file.display().to_string(), no_room: it.no_room, unreadable: it.unreadable }
    }
}

impl From<SetAside> for Aside {
    fn from(it: SetAside) -> Self {
        Self { number: it.number, at: it.at.to_string(), reason: it.reason, about: it.about }
    }
}
