//! `radhold audit`: who did what; and how commands say what they did.

use clap::Args;
use serde::Serialize;

use crate::app::clock;
use crate::config::parse_duration;
use crate::model::{ApproverKind, Timestamp};
use crate::store::{AuditEntry, AuditQuery, Edit, Store};

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};

/// List or export the audit record: decisions, enrolments, bans, and what administrators did, oldest first.
///
/// The record is only ever added to; acts older than audit.keep are removed by the server.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold audit --since 7d\n  radhold audit --act ban --json | jq\n  radhold audit --since 2026-01-01T00:00:00Z --all --csv > audit.csv"
))]
pub(super) struct AuditArgs {
    /// Only acts since then: how long ago (7d), or a time (2026-01-31T00:00:00Z).
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<When>,
    /// Only acts before then.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// Only acts of this operator or chat.
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    /// Only acts whose name begins so: session, ban, user, nas, or one such as user.remove.
    #[arg(long, value_name = "ACT")]
    act: Option<String>,
    /// Only acts on this user, NAS or ban.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// The latest so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, conflicts_with = "all")]
    limit: u32,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
    /// Print CSV (RFC 4180), with a head.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Debug, Clone, Copy)]
enum When {
    Ago(std::time::Duration),
    At(Timestamp),
}

/// An act, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    at: String,
    who: &'a str,
    through: &'a str,
    origin: &'a str,
    act: &'a str,
    subject: &'a str,
    detail: &'a str,
}

pub(super) async fn run(args: AuditArgs, context: &Context) -> Result<(), Failure> {
    let now = clock::now();
    let at = |when: Option<When>| {
        when.map(|when| match when {
            When::Ago(ago) => now.before(ago),
            When::At(at) => at,
        })
    };
    let query = AuditQuery {
        since: at(args.since),
        until: at(args.until),
        who: args.who,
        subject: args.subject,
        act: args.act,
        limit: if args.all { 0 } else { args.limit },
    };
    let mut acts = context.store().await?.audited(&query).await?;
    acts.reverse();
    let head = ["AT", "WHO", "THROUGH", "FROM", "ACT", "SUBJECT", "DETAIL"];
    if args.json {
        let shown: Vec<_> = acts.iter().map(shown).collect();
        return output::print_json(&shown);
    }
    let rows: Vec<[String; 7]> = acts.iter().map(cells).collect();
    if args.csv {
        let line = |cells: &[String; 7]| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r";
        let names = ["at", "who", "through", "origin", "act", "subject", "detail"].map(str::to_owned);
        return output::print(&std::iter::once(&names).chain(&rows).map(line).collect::<Vec<_>>().join("\n"));
    }
    output::print_table(head, rows, "nothing on record")
}

/// Makes the changes of a command, and writes them down with them.
pub(super) async fn edit(
    context: &Context,
    store: &dyn Store,
    edits: &[Edit<'_>],
    act: &'static str,
    subject: impl ToString,
    detail: impl Into<String>,
) -> Result<(), Failure> {
    let act = entry(context, operator(None), act, subject, detail);
    Ok(store.edit(edits, &[act]).await?)
}

/// An act of this command, now.
pub(super) fn entry(
    context: &Context,
    who: String,
    act: &'static str,
    subject: impl ToString,
    detail: impl Into<String>,
) -> AuditEntry {
    let node = &context.config.node;
    let far = std::env::var("SSH_CONNECTION").ok();
    let far = far.as_deref().and_then(|connection| connection.split_whitespace().next());
    AuditEntry {
        at: clock::now(),
        who,
        through: "command-line".to_owned(),
        origin: far.map_or_else(|| node.to_string(), |far| format!("{node}, ssh from {far}")),
        act: act.to_owned(),
        subject: subject.to_string(),
        detail: detail.into(),
    }
}

/// Who is at it: as they say, or as the system knows them.
pub(super) fn operator(given: Option<&str>) -> String {
    let from = |name: &str| std::env::var(name).ok().filter(|value| operator_name(value).is_ok());
    given
        .map(str::to_owned)
        .or_else(|| from("SUDO_USER"))
        .or_else(|| from("USER"))
        .unwrap_or_else(|| "operator".to_owned())
}

/// The name an operator gives themselves. What the record calls an administrator who spoke in a chat is nobody's name here.
pub(super) fn operator_name(name: &str) -> Result<String, String> {
    let chats = format!("{}:", ApproverKind::Telegram);
    match name {
        "" => Err("say who".to_owned()),
        _ if name.get(..chats.len()).is_some_and(|start| start.eq_ignore_ascii_case(&chats)) => {
            Err(format!("{chats} is for administrators who speak in a chat; give another name"))
        }
        _ => Ok(name.to_owned()),
    }
}

fn shown(act: &AuditEntry) -> Shown<'_> {
    let AuditEntry { at, who, through, origin, act, subject, detail } = act;
    Shown { at: at.to_string(), who, through, origin, act, subject, detail }
}

fn cells(act: &AuditEntry) -> [String; 7] {
    let AuditEntry { at, who, through, origin, act, subject, detail } = act.clone();
    [at.to_string(), who, through, origin, act, subject, detail]
}

/// A cell of CSV (RFC 4180 §2).
fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

fn when(text: &str) -> Result<When, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(When::Ago(ago));
    }
    let at = chrono::DateTime::parse_from_rfc3339(text);
    at.map(|at| When::At(Timestamp::from_micros(at.timestamp_micros())))
        .map_err(|_| "write how long ago (7d, 12h) or a time such as 2026-01-31T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_leave_its_column() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
    }

    #[test]
    fn no_operator_has_the_name_of_an_administrator_in_a_chat() {
        for posing in ["telegram:42", "telegram:42@-200", "TeleGram:", ""] {
            assert!(operator_name(posing).is_err(), "{posing:?}");
        }
        for name in ["telegram", "night-shift", "my-telegram:42", "дежурный"] {
            assert_eq!(operator_name(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn times_are_given_either_way() {
        assert!(matches!(when("7d"), Ok(When::Ago(ago)) if ago.as_secs() == 7 * 86_400));
        assert!(matches!(when("1970-01-01T00:01:00Z"), Ok(When::At(at)) if at.as_secs() == 60));
        assert!(when("yesterday").is_err());
    }
}
