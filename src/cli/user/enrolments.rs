//! `radhold user enrolments`: links that may bind a chat yet, and chats that wait for an administrator; and taking one back.
//!
//! Never shows what a link holds: it is kept nowhere.

use clap::Args;
use serde::Serialize;

use crate::app::clock;
use crate::model::Enrolment;
use crate::store::Store;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{audit, manual, output};

/// How many characters of an id are shown, and how few are enough to name one.
const SHOWN: usize = 8;
const LEAST: usize = 4;

/// List the links and requests by which a chat may be bound yet, or take one back.
///
/// A link is shown by its id, never by what it holds. Whoever follows one that was taken back hears what everybody hears whose link is
/// not valid.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user enrolments\n  radhold user enrolments alice --json\n  radhold user enrolments --revoke 3f2a9c04"
))]
pub(in crate::cli) struct EnrolmentsArgs {
    /// Only those of this User-Name.
    #[arg(conflicts_with = "revoke")]
    name: Option<String>,
    /// Take the one with this id back; its first characters are enough.
    #[arg(long, value_name = "ID")]
    revoke: Option<String>,
    /// Print JSON: a list of objects.
    #[arg(long, conflicts_with = "revoke")]
    json: bool,
}

/// A link or request, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    user: String,
    state: &'static str,
    kind: &'static str,
    replace: bool,
    made_by: String,
    made_at: String,
    expires_at: String,
    chat: Option<String>,
    person: Option<String>,
}

pub(super) async fn run(args: &EnrolmentsArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    if let Some(id) = &args.revoke {
        return revoke(id, context, &*store).await;
    }
    let mut open = store.enrolments_open(clock::now()).await?;
    if let Some(name) = &args.name {
        let user = super::find(&*store, name).await?;
        open.retain(|enrolment| enrolment.user == user.name);
    }
    if args.json {
        return output::print_json(&open.into_iter().map(shown).collect::<Vec<_>>());
    }
    let rows = open.into_iter().map(shown).map(|it| {
        let what = match (it.state, it.replace) {
            ("open", true) => "link, replaces".to_owned(),
            ("open", false) => "link".to_owned(),
            _ => format!("{}, waits for an administrator", it.kind),
        };
        let chat = it.chat.map(|chat| format!("{chat} ({})", it.person.unwrap_or_default()));
        [it.id[..SHOWN].to_owned(), it.user, what, output::or_dash(chat), it.expires_at, it.made_by]
    });
    let head = ["ID", "USER", "WHAT", "CHAT", "UNTIL", "MADE BY"];
    output::print_table(head, rows.collect(), "no links that are valid; make one with `radhold user enrol NAME`")
}

async fn revoke(part: &str, context: &Context, store: &dyn Store) -> Result<(), Failure> {
    let part = part.to_lowercase();
    let mut found = store.enrolments_open(clock::now()).await?;
    found.retain(|enrolment| part.len() >= LEAST && enrolment.id.0.to_string().starts_with(&part));
    let (Some(enrolment), true) = (found.pop(), found.is_empty()) else {
        // Not what was typed: it may be the link itself, and errors are kept in logs.
        let why = "no valid link has an id that begins so, or several have";
        return Err(Failure::not_found(format!("{why}; see `radhold user enrolments`")));
    };
    let detail = format!("made by {}, would have been valid until {}", enrolment.made_by, enrolment.expires_at);
    let act = audit::entry(context, audit::operator(None), "enrolment.revoke", &enrolment.user, detail);
    if !store.revoke_enrolment(enrolment.id, &act).await? {
        return Err(Failure::failed("it was taken or settled a moment ago; see `radhold user show`"));
    }
    output::print(&format!("the link of {} binds no chat any more", enrolment.user))
}

fn shown(enrolment: Enrolment) -> Shown {
    let Enrolment { id, user, token_hash, replace, made_by, made_at, expires_at, state, taker, .. } = enrolment;
    let (chat, person) = taker.map(|taker| (taker.address, taker.person)).unzip();
    Shown {
        id: id.0.to_string(),
        user: user.to_string(),
        state: state.as_str(),
        kind: if token_hash.is_some() { "link" } else { "request" },
        replace,
        made_by,
        made_at: made_at.to_string(),
        expires_at: expires_at.to_string(),
        chat,
        person,
    }
}
