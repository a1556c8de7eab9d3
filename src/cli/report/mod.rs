//! `radhold report …`: what the store tells, as a table, a chart, CSV or JSON. Knows no SQL.

mod chart;
mod print;
mod span;

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::app::clock;
use crate::config::Flags;
use crate::model::Timestamp;
use crate::store::reports::{Asked, Cell, Lately, Narrowing, REPORTS, Report};

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};
use span::Moment;

/// The word that asks what there is.
const LIST: &str = "list";

/// Print a report: who is online, who used how much, what goes wrong.
///
/// `radhold report list` says which reports there are. Times are UTC. Without --json or --csv, sizes and times are written for
/// people, and at most so many rows as the report finds useful; --limit 0 is all. The views behind them are documented in
/// docs/reporting.md, for questions of your own.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold report list\n  radhold report online --nas edge\n  radhold report top --from 7d\n  radhold report usage --from 2026-11-01 --to 2026-12-01 --user alice --chart\n  radhold report rejects --json | jq '.[].source'"
))]
pub(super) struct ReportArgs {
    /// Which: `list` tells all.
    #[arg(value_parser = PossibleValuesParser::new(REPORTS.iter().map(|report| report.name).chain([LIST])))]
    report: String,
    /// From when on: a day as 2026-11-01, a time as 2026-11-01T08:00Z, or so long ago as 24h or 7d [default: by report].
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    from: Option<Moment>,
    /// Until when, itself excluded [default: now].
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    to: Option<Moment>,
    /// Only this User-Name.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only this NAS.
    #[arg(long, value_name = "NAME")]
    nas: Option<String>,
    /// At most so many rows; 0 is all [default: by report].
    #[arg(long, value_name = "ROWS")]
    limit: Option<u32>,
    /// Print JSON: a list of objects. Octets and seconds are plain numbers, times RFC 3339.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV (RFC 4180) with a head; values as in JSON.
    #[arg(long)]
    csv: bool,
    /// Draw a chart of it: usage, hours, concurrent.
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    chart: bool,
}

pub(super) async fn run(args: &ReportArgs, flags: &Flags) -> Result<(), Failure> {
    if args.report == LIST {
        return list(args);
    }
    let report = Report::named(&args.report).expect("clap lets no other word through");
    let asked = asked(args, report, clock::now())?;
    let chart = if args.chart { Some(chart::of(report)?) } else { None };
    let context = Context::load(flags)?;
    let store = context.store().await?;
    let working = working();
    let rows = store.report(report, &one_more(&asked)).await;
    working.finish_and_clear();
    let mut rows = rows?;
    let more = asked.limit > 0 && rows.len() > asked.limit as usize;
    if more {
        rows.truncate(asked.limit as usize);
    }
    if args.json {
        print::json(report, &rows)?;
    } else if args.csv {
        print::csv(report, &rows)?;
    } else {
        output::print(&caption(report, &asked))?;
        match chart {
            Some(chart) => chart.print(&rows, &asked)?,
            None => print::table(report, &rows)?,
        }
    }
    if more {
        eprintln!("radhold: these are the first {}; --limit 0 gives all", asked.limit);
    }
    Ok(())
}

fn list(args: &ReportArgs) -> Result<(), Failure> {
    if args.json {
        let all: Vec<_> = REPORTS.iter().map(|report| (report.name, report.about)).collect();
        let all: Vec<_> = all.iter().map(|(name, about)| serde_json::json!({ "name": name, "about": about })).collect();
        return output::print_json(&all);
    }
    let rows = REPORTS.iter().map(|report| {
        let lately = match report.lately {
            None => "now".to_owned(),
            Some(Lately::Hours(hours)) => format!("{hours} hours"),
            Some(Lately::Days(days)) => format!("{days} days"),
            Some(Lately::Months(0)) => "this month".to_owned(),
            Some(Lately::Months(months)) => format!("{} months", months + 1),
        };
        let narrowed = report.narrowed_by.iter().map(|narrowing| match narrowing {
            Narrowing::Span => "--from --to",
            Narrowing::User => "--user",
            Narrowing::Nas => "--nas",
        });
        [report.name.to_owned(), report.about.to_owned(), lately, narrowed.collect::<Vec<_>>().join(" ")]
    });
    output::print_table(["REPORT", "TELLS", "BY DEFAULT", "NARROWED BY"], rows.collect(), "")
}

/// What the arguments ask, with the report's own defaults.
fn asked(args: &ReportArgs, report: &Report, now: Timestamp) -> Result<Asked, Failure> {
    let given = [
        (Narrowing::Span, args.from.is_some() || args.to.is_some(), "--from and --to"),
        (Narrowing::User, args.user.is_some(), "--user"),
        (Narrowing::Nas, args.nas.is_some(), "--nas"),
    ];
    for (narrowing, given, flag) in given {
        if given && !report.narrowed_by.contains(&narrowing) {
            return Err(Failure::usage(format!("report {} cannot be narrowed by {flag}", report.name)));
        }
    }
    let to = args.to.map_or(now, |moment| moment.at(now));
    let from = match (args.from, report.lately) {
        (Some(moment), Some(Lately::Hours(_) | Lately::Days(_) | Lately::Months(_))) => span::hour(moment.at(now)),
        (None, Some(lately)) => span::lately(lately, to),
        (_, None) => to,
    };
    if report.lately.is_some() && from >= to {
        return Err(Failure::usage(format!("the span ends before it begins: from {from} to {to}")));
    }
    Ok(Asked {
        from,
        to,
        user: args.user.clone(),
        nas: args.nas.clone(),
        limit: args.limit.unwrap_or(if args.chart { 0 } else { report.limit }),
    })
}

/// One row more than is wanted tells whether there are more.
fn one_more(asked: &Asked) -> Asked {
    let limit = if asked.limit == 0 { 0 } else { asked.limit.saturating_add(1) };
    Asked { limit, ..asked.clone() }
}

/// A sign of life on the terminal, and nothing where there is none.
fn working() -> ProgressBar {
    let working = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} adding up, {elapsed}").expect("this template is well formed"),
    );
    working.enable_steady_tick(Duration::from_millis(250));
    working
}

fn caption(report: &Report, asked: &Asked) -> String {
    let mut caption = format!("{}: {}", report.name, report.about);
    if report.lately.is_some() {
        caption += &format!("\nfrom {} to {}", asked.from, asked.to);
    }
    for (what, name) in [("user", &asked.user), ("NAS", &asked.nas)] {
        if let Some(name) = name {
            caption += &format!(", {what} {}", output::printable(name));
        }
    }
    caption + "\n"
}

/// A number, where there is one.
fn number(cell: &Cell) -> Option<i64> {
    if let Cell::Integer(number) = cell { Some(*number) } else { None }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReportArgs,
    }

    fn ask(words: &[&str]) -> Result<Asked, String> {
        let words = [&["report"], words].concat();
        let matches = Line::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        let args = Line::from_arg_matches(&matches).unwrap().args;
        let now = Timestamp::from_secs(1_795_166_709);
        asked(&args, Report::named(&args.report).unwrap(), now).map_err(|failure| failure.message)
    }

    #[test]
    fn a_span_has_defaults_and_full_hours() {
        let span = |words: &[&str]| ask(words).map(|asked| format!("{} {}", asked.from, asked.to));
        let now = "2026-11-20T09:25:09Z";
        assert_eq!(span(&["usage"]).unwrap(), format!("2026-10-21T00:00:00Z {now}"));
        assert_eq!(span(&["months"]).unwrap(), format!("2025-12-01T00:00:00Z {now}"));
        assert_eq!(span(&["quota"]).unwrap(), format!("2026-11-01T00:00:00Z {now}"));
        assert_eq!(span(&["concurrent"]).unwrap(), format!("2026-11-19T09:00:00Z {now}"));
        assert_eq!(span(&["top", "--from", "90m"]).unwrap(), format!("2026-11-20T07:00:00Z {now}"));
        let november = "2026-11-01T00:00:00Z 2026-12-01T00:00:00Z";
        assert_eq!(span(&["usage", "--from", "2026-11-01", "--to", "2026-12-01"]).unwrap(), november);
        assert!(span(&["usage", "--from", "2026-12-01", "--to", "2026-11-01"]).unwrap_err().contains("ends before"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(ask(&["online", "--from", "7d"]).unwrap_err().contains("cannot be narrowed by --from"));
        assert!(ask(&["nas", "--user", "alice"]).unwrap_err().contains("--user"));
        assert!(ask(&["onlin"]).unwrap_err().contains("online"));
        assert!(ask(&["usage", "--json", "--csv"]).is_err());
        assert_eq!(ask(&["top"]).unwrap().limit, 20);
        assert_eq!(ask(&["top", "--limit", "0"]).unwrap().limit, 0);
    }
}
