//! `radhold session list` and `radhold session show`

use clap::Args;
use serde::Serialize;

use crate::config::format_duration;
use crate::model::{Counters, Identity, NasName, UserName};
use crate::session::{AskState, Session, State, Verdict};
use crate::store::{SessionQuery, Usage};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{manual, output};

/// Sessions asked for at a time.
const PAGE: u32 = 10_000;

/// List sessions, the newest first; without --all or --state only those that may still be on their NAS.
///
/// As JSON each has the fields of `radhold session show --json` but its usage.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold session list\n  radhold session list --state held\n  radhold session list --all --user alice --limit 10\n  radhold session list --json | jq -r '.[] | select(.state == \"held\") | .id'"
))]
pub(in crate::cli) struct ListArgs {
    /// Those that are over too.
    #[arg(long)]
    all: bool,
    /// Only those in this state: offered, held, permitting, permitted, evicting, dropped, closed, observed.
    #[arg(long)]
    state: Option<State>,
    /// Only those of this User-Name.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those on this NAS.
    #[arg(long, value_name = "NAME")]
    nas: Option<String>,
    /// At most so many; 0 is all.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: u32,
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Show all that is known of a session.
///
/// As JSON: what the store keeps, times as RFC 3339 in UTC, session_time in seconds, and usage by interval.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold session show 01936f2e-7c1a-7d3e-9b51-3f2a9c04d7e1\n  radhold session show 3f2a9c04d7e1 --json"
))]
pub(in crate::cli) struct ShowArgs {
    /// The session's id, or enough of its beginning or end to be the only one.
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// A session, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: String,
    user: &'a str,
    nas: &'a str,
    nas_address: String,
    state: State,
    accepted_at: String,
    started_at: Option<String>,
    heard_at: String,
    deadline: Option<String>,
    permitted_at: Option<String>,
    evicting_since: Option<String>,
    disconnect_acked_at: Option<String>,
    sandbox_filter: Option<&'a str>,
    permit_filter: Option<&'a str>,
    asked: Vec<Asked<'a>>,
    /// User-Names of those who have said yes so far, where more than one must.
    confirmed_by: Vec<&'a str>,
    decision: Option<Decided<'a>>,
    identity: &'a Identity,
    counters: &'a Counters,
    end: Option<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Vec<Used>>,
}

#[derive(Debug, Serialize)]
struct Asked<'a> {
    approver: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Decided<'a> {
    verdict: Verdict,
    approver: &'static str,
    who: &'a str,
    at: String,
}

#[derive(Debug, Serialize)]
struct Ended {
    at: String,
    cause: &'static str,
    terminate_cause: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Used {
    from: String,
    to: String,
    added: Counters,
}

pub(super) async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let mut query = SessionQuery {
        open: !args.all && args.state.is_none(),
        state: args.state,
        user: args.user.as_deref().map(UserName::from),
        nas: args.nas.as_deref().map(NasName::from),
        ..SessionQuery::default()
    };
    let (store, mut sessions) = (context.store().await?, Vec::new());
    // Page by page: of a million all at once, the store would be asked for longer than it may take.
    loop {
        let left = args.limit.saturating_sub(u32::try_from(sessions.len()).unwrap_or(u32::MAX));
        query.limit = if args.limit == 0 { PAGE } else { left.min(PAGE) };
        let page = store.sessions(&query).await?;
        let is_last = page.len() < query.limit as usize;
        query.behind = page.last().map(|session| (session.accepted_at, session.id));
        sessions.extend(page);
        if is_last || sessions.len() == args.limit as usize {
            break;
        }
    }
    if args.json {
        return output::print_json(&sessions.iter().map(|session| shown(session, None)).collect::<Vec<_>>());
    }
    let rows = sessions.iter().map(|session| {
        [
            session.id.to_string(),
            session.user.to_string(),
            session.nas.to_string(),
            session.state.to_string(),
            session.accepted_at.to_string(),
            output::or_dash(session.deadline.filter(|_| session.state.is_open() && session.permitted_at.is_none())),
            output::or_dash(session.identity.calling_station_id.as_ref()),
            output::or_dash(session.identity.framed_ip),
        ]
    });
    let head = ["SESSION", "USER", "NAS", "STATE", "ACCEPTED", "DEADLINE", "CALLING FROM", "ADDRESS"];
    output::print_table(head, rows.collect(), "no such sessions")
}

pub(super) async fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let session = super::find(&*store, &args.id).await?;
    let usage = store.usage(session.id).await?;
    if args.json {
        return output::print_json(&shown(&session, Some(&usage)));
    }
    let identity = &session.identity;
    let counters = &session.counters;
    let mut facts = vec![
        ("session", Some(session.id.to_string())),
        ("user", Some(session.user.to_string())),
        ("nas", Some(format!("{} at {}", session.nas, session.nas_address))),
        ("state", Some(session.state.to_string())),
        ("accepted", Some(session.accepted_at.to_string())),
        ("started", session.started_at.map(|at| at.to_string())),
        ("last heard of", Some(session.heard_at.to_string())),
        ("deadline", session.deadline.map(|at| at.to_string())),
        ("permitted", session.permitted_at.map(|at| at.to_string())),
        ("being ended since", session.evicting_since.map(|at| at.to_string())),
        ("Acct-Session-Id", identity.acct_session_id.clone()),
        ("NAS-Port", identity.nas_port.map(|port| port.to_string())),
        ("NAS-Port-Id", identity.nas_port_id.clone()),
        ("Calling-Station-Id", identity.calling_station_id.clone()),
        ("Called-Station-Id", identity.called_station_id.clone()),
        ("Framed-IP-Address", identity.framed_ip.map(|address| address.to_string())),
        ("Framed-IPv6-Prefix", identity.framed_ipv6_prefix.map(|prefix| prefix.to_string())),
        ("comes by", identity.medium.map(|medium| medium.as_str().to_owned())),
        ("input", Some(format!("{} octets, {} packets", counters.input_octets, counters.input_packets))),
        ("output", Some(format!("{} octets, {} packets", counters.output_octets, counters.output_packets))),
        ("session time", Some(format_duration(std::time::Duration::from_secs(counters.session_time)))),
    ];
    if let Some(grant) = &session.grant {
        facts.push(("filters", Some(format!("{} held, {} permitted", grant.sandbox_filter, grant.permit_filter))));
    }
    for asked in asked(&session) {
        let reason = asked.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        facts.push(("asked", Some(format!("{}, {}{reason}", asked.approver, asked.state))));
    }
    for vote in &session.votes {
        let who = vote.other.as_ref().unwrap_or(&session.user);
        facts.push(("confirmed by", Some(format!("{who} ({} {}) at {}", vote.by.approver, vote.by.who, vote.at))));
    }
    if let Some(decision) = &session.decision {
        let by = &decision.by;
        facts.push((
            "decision",
            Some(format!("{} by {} ({}) at {}", decision.verdict, by.who, by.approver, decision.at)),
        ));
    }
    if let Some(end) = &session.end {
        let cause = end.terminate_cause.map(|cause| format!(", Acct-Terminate-Cause {cause}")).unwrap_or_default();
        facts.push(("ended", Some(format!("{} by {}{cause}", end.at, end.cause.as_str()))));
    }
    output::print_facts(&facts)
}

fn shown<'a>(session: &'a Session, usage: Option<&[Usage]>) -> Shown<'a> {
    let text = |at: crate::model::Timestamp| at.to_string();
    Shown {
        id: session.id.to_string(),
        user: session.user.as_str(),
        nas: session.nas.as_str(),
        nas_address: session.nas_address.to_string(),
        state: session.state,
        accepted_at: text(session.accepted_at),
        started_at: session.started_at.map(text),
        heard_at: text(session.heard_at),
        deadline: session.deadline.map(text),
        permitted_at: session.permitted_at.map(text),
        evicting_since: session.evicting_since.map(text),
        disconnect_acked_at: session.disconnect_acked_at.map(text),
        sandbox_filter: session.grant.as_ref().map(|grant| grant.sandbox_filter.as_str()),
        permit_filter: session.grant.as_ref().map(|grant| grant.permit_filter.as_str()),
        asked: asked(session),
        confirmed_by: session.votes.iter().map(|vote| vote.other.as_ref().unwrap_or(&session.user).as_str()).collect(),
        decision: session.decision.as_ref().map(|decision| Decided {
            verdict: decision.verdict,
            approver: decision.by.approver.as_str(),
            who: &decision.by.who,
            at: text(decision.at),
        }),
        identity: &session.identity,
        counters: &session.counters,
        end: session.end.as_ref().map(|end| Ended {
            at: text(end.at),
            cause: end.cause.as_str(),
            terminate_cause: end.terminate_cause,
        }),
        usage: usage.map(|usage| {
            usage.iter().map(|used| Used { from: text(used.from), to: text(used.to), added: used.added }).collect()
        }),
    }
}

fn asked(session: &Session) -> Vec<Asked<'_>> {
    let asked = session.asks.iter().map(|ask| {
        let (state, reason) = match &ask.state {
            AskState::Sending => ("sending", None),
            AskState::Sent(_) => ("sent", None),
            AskState::Undeliverable(reason) => ("undeliverable", Some(reason.as_str())),
        };
        Asked { approver: ask.approver.as_str(), state, reason }
    });
    asked.collect()
}
