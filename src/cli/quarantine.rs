//! `radhold quarantine …`

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::accounting::{ClockBounds, Reading, Request};
use crate::model::OctetDirection;
use crate::radius::Packet;
use crate::store::{QuarantineId, Quarantined};

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};

/// List, retry and drop Accounting-Requests that could not be recorded.
///
/// Each was acknowledged, so that its NAS does not send it for ever, and is kept whole with the reason.
#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    List(ListArgs),
    Retry(ChosenArgs),
    Drop(ChosenArgs),
}

/// List what is in quarantine, the oldest first.
///
/// As JSON each has id, quarantined_at, received_at, nas, nas_address, status, user, acct_session_id, reason and packet (the whole
/// Accounting-Request, hexadecimal).
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold quarantine list\n  radhold quarantine list --json | jq -r '.[].reason' | sort | uniq -c"
))]
pub(super) struct ListArgs {
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: u32,
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Choose by id, or take all.
///
/// `retry` asks the server to record them again: what fits now leaves quarantine, what does not comes back with its new reason.
/// `drop` removes them for good.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold quarantine retry --all\n  radhold quarantine retry 17 18\n  radhold quarantine drop 17"
))]
pub(super) struct ChosenArgs {
    /// Ids, as `radhold quarantine list` shows them.
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<i64>,
    /// All there are.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// One in quarantine, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    id: i64,
    quarantined_at: String,
    received_at: String,
    nas: String,
    nas_address: String,
    status: Option<String>,
    user: Option<String>,
    acct_session_id: Option<String>,
    reason: String,
    packet: String,
}

pub(super) async fn run(command: QuarantineCommand, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    match command {
        QuarantineCommand::List(args) => {
            let misfits = store.quarantined(args.limit).await?;
            let shown: Vec<Shown> = misfits.into_iter().map(|(id, misfit)| Shown::of(id, misfit)).collect();
            if args.json {
                return output::print_json(&shown);
            }
            let row = |it: Shown| {
                [
                    it.id.to_string(),
                    it.received_at,
                    it.nas,
                    output::or_dash(it.status),
                    output::or_dash(it.user),
                    output::or_dash(it.acct_session_id),
                    it.reason,
                ]
            };
            let head = ["ID", "RECEIVED", "NAS", "STATUS", "USER", "ACCT-SESSION-ID", "REASON"];
            output::print_table(head, shown.into_iter().map(row).collect(), "quarantine is empty")
        }
        QuarantineCommand::Retry(args) => {
            let asked = store.retry_quarantined(&chosen(&args, context).await?, true).await?;
            found(asked, &args)?;
            output::print(&format!("the server tries {asked} again; see `radhold quarantine list`"))
        }
        QuarantineCommand::Drop(args) => {
            let dropped = store.drop_quarantined(&chosen(&args, context).await?).await?;
            found(dropped, &args)?;
            output::print(&format!("{dropped} dropped"))
        }
    }
}

async fn chosen(args: &ChosenArgs, context: &Context) -> Result<Vec<QuarantineId>, Failure> {
    if !args.all {
        return Ok(args.ids.iter().copied().map(QuarantineId).collect());
    }
    let all = context.store().await?.quarantined(u32::MAX).await?;
    Ok(all.into_iter().map(|(id, _)| id).collect())
}

fn found(count: u64, args: &ChosenArgs) -> Result<(), Failure> {
    if count == 0 && !args.all {
        return Err(Failure::not_found("there is none of that id in quarantine"));
    }
    Ok(())
}

/// Only who and what is shown: neither direction nor clock matters for that.
const AS_STATED: Reading = Reading {
    octet_direction: OctetDirection::Standard,
    octet_wrap: false,
    clock: ClockBounds { skew: Duration::ZERO, delay: Duration::ZERO },
};

impl Shown {
    fn of(id: QuarantineId, misfit: Quarantined) -> Self {
        let parsed = Packet::parse(&misfit.packet).ok();
        let said = parsed.and_then(|it| Request::read(&it, misfit.received_at, &AS_STATED).ok());
        Self {
            id: id.0,
            quarantined_at: misfit.at.to_string(),
            received_at: misfit.received_at.to_string(),
            nas: misfit.nas.to_string(),
            nas_address: misfit.nas_address.to_string(),
            status: said.as_ref().map(|said| format!("{:?}", said.status)),
            user: said.as_ref().and_then(|said| said.user.clone()),
            acct_session_id: said.and_then(|said| said.report.identity.acct_session_id),
            reason: misfit.reason,
            packet: hex::encode(misfit.packet),
        }
    }
}
