//! `radhold spool`

use clap::Args;
use serde::Serialize;

use crate::spool::Spool;

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};

/// Entries set aside that are shown, at most.
const MOST: u32 = 1000;

/// Show what waits on this node until the store is back.
///
/// As JSON: file, waiting, oldest, used and limit (octets), nearly_full, and set_aside, a list of the entries that could not be
/// brought to the store, with their reasons.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold spool\n  radhold spool --json | jq .waiting"
))]
pub(super) struct SpoolArgs {
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
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
    let failed = |error: crate::spool::SpoolError| Failure::failed(error.to_string());
    let limit = config.max_mebibytes.saturating_mul(1 << 20);
    let spool = Spool::look(&config.file, limit).await.map_err(failed)?;
    let fill = spool.fill().await.map_err(failed)?;
    let aside = spool.list_set_aside(MOST).await.map_err(failed)?;
    let shown = Shown {
        file: config.file.display().to_string(),
        waiting: fill.waiting,
        oldest: fill.oldest.map(|oldest| oldest.to_string()),
        used: fill.used,
        limit: fill.limit,
        nearly_full: fill.is_alarming(),
        set_aside: aside
            .into_iter()
            .map(|it| Aside { number: it.number, at: it.at.to_string(), reason: it.reason, about: it.about })
            .collect(),
    };
    if args.json {
        return output::print_json(&shown);
    }
    let percent = shown.used.saturating_mul(100) / shown.limit.max(1);
    output::print_facts(&[
        ("file", Some(shown.file)),
        ("waiting", Some(shown.waiting.to_string())),
        ("oldest", shown.oldest),
        ("used", Some(format!("{} of {} octets ({percent} %)", shown.used, shown.limit))),
        ("alarm", shown.nearly_full.then(|| "nearly full: accounting will not be acknowledged any more".to_owned())),
        ("set aside", Some(shown.set_aside.len().to_string())),
    ])?;
    if shown.set_aside.is_empty() {
        return Ok(());
    }
    let row = |it: Aside| [it.number.to_string(), it.at, it.reason, it.about];
    output::print_table(["NUMBER", "AT", "REASON", "WHAT"], shown.set_aside.into_iter().map(row).collect(), "")
}
