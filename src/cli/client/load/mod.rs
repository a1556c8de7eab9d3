//! `radhold client load`: many requests, in a closed or open loop, every answer checked, and what came of it.
//!
//! Unlike its sister commands it makes its requests itself and knows no dictionary: what it costs must not be what is measured.

mod lane;
mod life;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::lane::{Lane, Pace, Task};
use self::life::{Plan, What};
use self::tally::{Acknowledged, Counts, Latency, Tally};
use super::{Keys, resolve, seconds};
use crate::app::chance;
use crate::cli::failure::Failure;
use crate::cli::output;

/// Identifiers of a source port.
const IDENTIFIERS: u32 = 256;

#[derive(Debug, Args)]
pub(in crate::cli) struct LoadArgs {
    /// Name or address, and the port of Access-Requests if it is not 1812.
    #[arg(value_name = "SERVER[:PORT]")]
    server: String,
    /// The port of Accounting-Requests.
    #[arg(long, default_value_t = 1813, value_name = "PORT")]
    accounting_port: u16,
    #[command(flatten)]
    keys: Keys,
    /// What to send.
    #[arg(long, default_value = "accounting", value_name = "WHAT")]
    what: What,
    /// Closed loop: have so many requests on their way at all times.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    in_flight: u32,
    /// Open loop instead: send so many a second, whatever comes back. Latencies count from when a request was due.
    #[arg(long, value_name = "N", conflicts_with = "in_flight", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Send for so many seconds, the warm-up included; then wait for what is on its way.
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    duration: Duration,
    /// Leave so many seconds at the beginning out of rate and latencies.
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds)]
    warm_up: Duration,
    /// Send from so many ports, with 256 Identifiers each.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    ports: u32,
    /// Sessions that live at the same time. The next request of a session waits for the answer to the one before.
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    sessions: u32,
    /// Interim-Updates of each session.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    interims: u32,
    /// User-Name; with --users a number from 0 is put behind it.
    #[arg(long, default_value = "user", value_name = "NAME")]
    user: String,
    /// How many users there are.
    #[arg(long, default_value_t = 1, value_name = "N")]
    users: u64,
    /// Read the password of all of them from this file; one newline at the end is cut.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Wait so many seconds before a request is sent again.
    #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = seconds)]
    timeout: Duration,
    /// Send a request again so many times.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    what: &'static str,
    /// Answers in a second of the measured time.
    per_second: f64,
    /// Of answers within the measured time, milliseconds.
    latency_ms: Latency,
    /// Of the whole run.
    counts: Counts,
    /// Of the whole run: what must be on record now.
    acknowledged: Acknowledged,
    /// Begins every Acct-Session-Id of this run.
    acct_session_id_prefix: String,
    measured_seconds: f64,
}

/// Sends, waits and reports.
pub(super) async fn run(args: LoadArgs) -> Result<ExitCode, Failure> {
    if args.warm_up >= args.duration {
        return Err(Failure::usage("--warm-up leaves nothing of --duration"));
    }
    let task = Arc::new(args.task().await?);
    let mut lanes = JoinSet::new();
    for place in 0..args.ports {
        let share = |all: u32| (all / args.ports + u32::from(place < all % args.ports)) as usize;
        let pace = match args.rate {
            Some(rate) => Pace::Open(Duration::from_secs(1) * args.ports / rate),
            None => Pace::Closed(share(args.in_flight)),
        };
        let offset = args.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) * place / rate);
        let sessions = share(args.sessions.max(args.ports)).max(1);
        let lane = Lane::open(Arc::clone(&task), pace, sessions, offset).await;
        lanes.spawn(lane.map_err(|error| Failure::usage(format!("cannot open a port: {error}")))?.run());
    }
    let mut all = Tally::new();
    while let Some(lane) = lanes.join_next().await {
        let tally = lane.map_err(|error| Failure::failed(error.to_string()))?;
        all.add(&tally.map_err(|error| Failure::failed(format!("a port failed: {error}")))?);
    }
    let report = args.report(&task, &all);
    if args.json {
        output::print_json(&report)?
    } else {
        output::print(&report.text())?
    }
    // As those of the other client commands: refused, no answer, not verified.
    Ok(ExitCode::from(match all.counts {
        Counts { unverified: 1.., answered: 0, .. } => 4,
        Counts { lost: 1.., .. } => 3,
        Counts { rejected: 1.., .. } => 1,
        _ => 0,
    }))
}

impl LoadArgs {
    async fn task(&self) -> Result<Task, Failure> {
        let most = self.ports * IDENTIFIERS;
        if self.rate.is_none() && self.in_flight > most {
            return Err(Failure::usage(format!(
                "--in-flight {}: {} ports have {most} Identifiers; raise --ports",
                self.in_flight, self.ports
            )));
        }
        let password = match &self.password_file {
            Some(path) => super::from_file("password", path)?.to_vec(),
            None if self.what.logs_in() => return Err(Failure::usage("logins need --password-file")),
            None => Vec::new(),
        };
        if password.len() > 128 || std::str::from_utf8(&password).is_err() {
            return Err(Failure::usage("the password must be UTF-8, at most 128 octets (RFC 2865 §5.2)"));
        }
        let auth = resolve(&self.server, 1812).await?;
        let mut accounting = auth;
        accounting.set_port(self.accounting_port);
        let start = Instant::now();
        Ok(Task {
            plan: Plan {
                what: self.what,
                secret: self.keys.secret()?,
                run: u32::from_be_bytes(chance::octets()),
                user: self.user.clone(),
                users: self.users,
                password,
                interims: self.interims,
            },
            auth,
            accounting,
            timeout: self.timeout,
            repeats: self.retries,
            start,
            measure: start + self.warm_up,
            end: start + self.duration,
            numbers: AtomicU64::new(0),
        })
    }

    fn report(&self, task: &Task, all: &Tally) -> Report {
        let measured_seconds = (self.duration - self.warm_up).as_secs_f64();
        Report {
            what: self.what.as_str(),
            per_second: all.measured() as f64 / measured_seconds,
            latency_ms: all.latency(),
            counts: all.counts,
            acknowledged: all.acknowledged,
            acct_session_id_prefix: format!("{:08X}", task.plan.run),
            measured_seconds,
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let Counts { requests, answered, repeats, lost, unverified, rejected } = self.counts;
        format!(
            "{} answers a second over {:.1} s: {}\n\
             {requests} requests, {answered} answered ({rejected} rejected), {repeats} sent again, {lost} lost, {unverified} \
             datagrams that were no answer",
            self.per_second.round(),
            self.measured_seconds,
            self.latency_ms.text(),
        )
    }
}
