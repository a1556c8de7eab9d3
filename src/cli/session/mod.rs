//! `radhold session …`

mod decide;
mod show;

use clap::Subcommand;

use crate::model::SessionId;
use crate::session::Session;
use crate::store::{SessionQuery, Store};

use super::context::Context;
use super::failure::Failure;
use decide::{ApproveArgs, DenyArgs, KickArgs};
use show::{ListArgs, ShowArgs};

/// List sessions, approve or deny held ones, and end any.
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    List(ListArgs),
    Show(ShowArgs),
    Approve(ApproveArgs),
    Deny(DenyArgs),
    Kick(KickArgs),
}

/// Ids are found among so many sessions that are over, the newest.
const RECENT: u32 = 10_000;

/// More than so many are called the same only by somebody who says next to nothing.
const MATCHING: u32 = 100;

/// Fewer characters than this are a slip of the finger.
const PART_LEAST: usize = 4;

pub(super) async fn run(command: SessionCommand, context: &Context) -> Result<(), Failure> {
    match command {
        SessionCommand::List(args) => show::list(&args, context).await,
        SessionCommand::Show(args) => show::show(&args, context).await,
        SessionCommand::Approve(args) => decide::approve(&args, context).await,
        SessionCommand::Deny(args) => decide::deny(&args, context).await,
        SessionCommand::Kick(args) => decide::kick(&args, context).await,
    }
}

/// The session meant by an id, or by a part of one.
///
/// Ids begin with the time, or with what the NAS counts, so sessions of one minute share their first characters; the last ones tell them
/// apart, and serve as well.
async fn find(store: &dyn Store, part: &str) -> Result<Session, Failure> {
    let not_found = || Failure::not_found(format!("there is no session {part}; see `radhold session list --all`"));
    if let Ok(id) = part.parse::<SessionId>() {
        return store.sessions_by_id(&[id]).await?.pop().ok_or_else(not_found);
    }
    if part.len() < PART_LEAST {
        return Err(Failure::usage(format!("{part:?} is too short; give at least {PART_LEAST} characters of the id")));
    }
    let part = part.to_lowercase();
    for query in [
        SessionQuery { open: true, id_part: Some(part.clone()), limit: MATCHING, ..SessionQuery::default() },
        SessionQuery { limit: RECENT, ..SessionQuery::default() },
    ] {
        let mut matching = store.sessions(&query).await?;
        matching.retain(|session| {
            let id = session.id.to_string();
            id.starts_with(&part) || id.ends_with(&part)
        });
        match matching.len() {
            0 => {}
            1 => return matching.pop().ok_or_else(not_found),
            many => {
                let least = if many == MATCHING as usize { "at least " } else { "" };
                return Err(Failure::usage(format!("{least}{many} sessions are called {part}…; give more of the id")));
            }
        }
    }
    Err(not_found())
}
