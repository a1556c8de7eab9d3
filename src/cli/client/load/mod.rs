//! `radhold client load`: many requests, in a closed or open loop, every answer checked, and what came of it.
//!
//! Unlike its sister commands it makes its requests itself, knows no dictionary and no runtime: a few threads, each with ports of its own,
//! that send and receive many datagrams to a call. What it costs must not be what is measured, so that logins are encoded and signed
//! before the clock starts.

mod ahead;
mod bad;
mod lane;
mod life;
mod tally;
mod wire;
mod worker;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use self::ahead::Bounds;
use self::bad::{Bad, Sent};
use self::lane::{IDENTIFIERS, Lane};
use self::life::{Plan, What};
use self::tally::{Acknowledged, Counts, Latency, Tally};
use self::worker::{Pace, Task};
use super::{Keys, resolve, seconds};
use crate::app::chance;
use crate::auth::NtHash;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::radius::PreparedSecret;

/// Encoding ahead takes no longer than this, nor than the run.
const ENCODING: Duration = Duration::from_secs(30);
/// In a closed loop nobody knows how many requests there will be: so many a second are encoded ahead, at most.
const MOST_PER_SECOND: u64 = 500_000;

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
    /// Open loop instead: send so many a second, whatever comes back. Latencies count from when a request was due. Accounting of more than
    /// 2,000 a second leaves in slices of half a millisecond, and its answers are taken so.
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
    /// Encode and sign logins and Status-Server before the start, up to so many MiB of them: what the generator costs while it
    /// measures is then little more than sending and checking. What does not fit (256 MiB are some 1.8 million logins), and accounting,
    /// whose Class comes with an answer, is encoded as it is sent. No request is sent twice, but for want of an answer.
    #[arg(long, default_value_t = 256, value_name = "MIB", value_parser = clap::value_parser!(u32).range(0..=65_536))]
    encode_ahead: u32,
    /// Use so many threads, each with its share of the ports.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Send from this address of this host.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// Send a flood of packets that deserve no answer instead, at --rate, and say how many left.
    #[arg(long, value_name = "KIND", requires = "rate", conflicts_with = "what")]
    bad: Option<Bad>,
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
    /// Draw users by chance; otherwise they come one after the other, everybody once before anybody twice.
    #[arg(long)]
    shuffle: bool,
    /// Read the password of all of them from this file: one line.
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
    /// Of answers within the measured time, milliseconds. In an open loop from when the request was due.
    latency_ms: Latency,
    /// The same from when it was really sent: without what this process was late.
    latency_from_sending_ms: Latency,
    /// Of the whole run.
    counts: Counts,
    /// Of the whole run: what must be on record now.
    acknowledged: Acknowledged,
    /// Begins every Acct-Session-Id of this run.
    acct_session_id_prefix: String,
    measured_seconds: f64,
    generator: Cost,
}

/// What the generator itself took.
#[derive(Debug, Serialize)]
struct Cost {
    /// CPU, the system's part included, from the start of the run to its end.
    cpu_seconds: f64,
    /// The same for 10,000 answers.
    cpu_per_10k: f64,
    /// Requests that were encoded and signed before the start.
    encoded_ahead: u64,
}

/// What came of a flood.
#[derive(Debug, Serialize)]
struct FloodReport {
    bad: &'static str,
    per_second: f64,
    counts: Sent,
}

/// Sends, waits and reports.
pub(super) async fn run(args: LoadArgs) -> Result<ExitCode, Failure> {
    if args.warm_up >= args.duration {
        return Err(Failure::usage("--warm-up leaves nothing of --duration"));
    }
    let mut task = args.task().await?;
    let threads = args.threads.min(args.ports);
    // All that is opened is opened before the start.
    let work = move || match args.bad {
        Some(bad) => args.flood(&mut task, bad, threads),
        None => args.measure(&mut task, threads),
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::failed(error.to_string()))?
}

/// `all` shared out to so many places: what the one at `place` has.
fn share(all: u32, places: u32, place: u32) -> u32 {
    all / places + u32::from(place < all % places)
}

fn cannot_open(error: io::Error) -> Failure {
    Failure::usage(format!("cannot open a port: {error}"))
}

/// Runs `each` on a thread for each of `parts`.
fn on_threads<P: Send, T: Send>(parts: Vec<P>, each: impl Fn(P) -> io::Result<T> + Sync) -> Result<Vec<T>, Failure> {
    thread::scope(|scope| {
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(|| each(part))).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result.map_err(|error| Failure::failed(format!("a port failed: {error}"))),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    })
}

impl LoadArgs {
    fn measure(&self, task: &mut Task, threads: u32) -> Result<ExitCode, Failure> {
        let sessions = self.sessions.max(self.ports);
        let mut port = 0;
        let mut parts = Vec::new();
        for place in 0..threads {
            let ports = share(self.ports, threads, place);
            let open = |_| {
                port += 1;
                Lane::open(task, share(sessions, self.ports, port - 1) as usize).map_err(cannot_open)
            };
            let lanes = (0..ports).map(open).collect::<Result<Vec<_>, _>>()?;
            let pace = match self.rate {
                Some(rate) => {
                    Pace::Open(Duration::from_secs(1) * threads / rate, Duration::from_secs(1) * place / rate)
                }
                None => {
                    let in_flight = share(self.in_flight, threads, place);
                    Pace::Closed((in_flight / ports) as usize, (in_flight % ports) as usize)
                }
            };
            parts.push((pace, lanes));
        }
        self.encode_ahead(task, &mut parts);
        self.begin(task);
        let (task, before) = (&*task, cpu_time());
        let mut all = Tally::new();
        for tally in on_threads(parts, |(pace, lanes)| worker::run(task, pace, lanes))? {
            all.add(&tally);
        }
        let report = self.report(task, &all, cpu_time().saturating_sub(before));
        if self.json {
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

    /// Encodes what can be before the start, on as many threads as will send it.
    fn encode_ahead(&self, task: &Task, parts: &mut [(Pace, Vec<Lane>)]) {
        if task.plan.what.alone().is_none() || self.encode_ahead == 0 {
            return;
        }
        let per_second = self.rate.map_or(MOST_PER_SECOND, u64::from);
        let bounds = Bounds {
            requests: (per_second as f64 * self.duration.as_secs_f64()).ceil() as u64,
            octets: ((self.encode_ahead as usize) << 20) / self.ports as usize,
            time: self.duration.min(ENCODING),
        };
        let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| ahead::show(bounds, &done, || over.load(Ordering::Relaxed)));
            thread::scope(|encoders| {
                for (_, lanes) in parts {
                    encoders.spawn(|| ahead::encode(task, bounds, lanes, &done));
                }
            });
            over.store(true, Ordering::Relaxed);
        });
    }

    /// A flood; the exit code is 1 when something of it was answered.
    fn flood(&self, task: &mut Task, bad: Bad, threads: u32) -> Result<ExitCode, Failure> {
        let rate = self.rate.ok_or_else(|| Failure::usage("--bad needs --rate"))?;
        let mut parts = Vec::new();
        for place in 0..threads {
            let open = |_| wire::open(task.auth, task.source, false).map_err(cannot_open);
            let ports = (0..share(self.ports, threads, place)).map(open).collect::<Result<Vec<_>, _>>()?;
            parts.push((Duration::from_secs(1) * place / rate, ports));
        }
        let each = Duration::from_secs(1) * threads / rate;
        self.begin(task);
        let task = &*task;
        let mut counts = Sent::default();
        for more in on_threads(parts, |(offset, ports)| bad::run(task, bad, each, offset, ports))? {
            counts.sent += more.sent;
            counts.refused += more.refused;
            counts.answered += more.answered;
        }
        let per_second = counts.sent as f64 / self.duration.as_secs_f64();
        let report = FloodReport { bad: bad.as_str(), per_second, counts };
        if self.json {
            output::print_json(&report)?
        } else {
            output::print(&report.text())?
        }
        Ok(ExitCode::from(u8::from(counts.answered > 0)))
    }

    /// What took long to open does not count.
    fn begin(&self, task: &mut Task) {
        task.start = Instant::now();
        (task.measure, task.end) = (task.start + self.warm_up, task.start + self.duration);
    }

    async fn task(&self) -> Result<Task, Failure> {
        let most = self.ports * IDENTIFIERS as u32;
        if self.rate.is_none() && self.in_flight > most {
            return Err(Failure::usage(format!(
                "--in-flight {}: {} ports have {most} Identifiers; raise --ports",
                self.in_flight, self.ports
            )));
        }
        let password = match &self.password_file {
            Some(path) => super::from_file("password", path)?.to_vec(),
            None if self.what.logs_in() && self.bad.is_none() => {
                return Err(Failure::usage("logins need --password-file"));
            }
            None => Vec::new(),
        };
        if password.len() > 128 || std::str::from_utf8(&password).is_err() {
            return Err(Failure::usage("the password must be UTF-8, at most 128 octets (RFC 2865 §5.2)"));
        }
        let nt_hash = if self.what == What::MsChapV2 { NtHash::of_password(&password) } else { None };
        let auth = resolve(&self.server, 1812).await?;
        let mut accounting = auth;
        accounting.set_port(self.accounting_port);
        let start = Instant::now();
        Ok(Task {
            plan: Plan {
                what: if self.bad.is_some() { What::Pap } else { self.what },
                secret: PreparedSecret::new(self.keys.secret()?.expose()),
                nt_hash,
                run: u32::from_be_bytes(chance::octets()),
                user: self.user.clone(),
                users: self.users,
                shuffled: self.shuffle,
                password,
                interims: self.interims,
            },
            auth,
            accounting,
            destinations: [auth.into(), accounting.into()],
            source: self.source,
            timeout: self.timeout,
            repeats: self.retries,
            start,
            measure: start + self.warm_up,
            end: start + self.duration,
            numbers: AtomicU64::new(0),
        })
    }

    fn report(&self, task: &Task, all: &Tally, cpu: Duration) -> Report {
        let measured_seconds = (self.duration - self.warm_up).as_secs_f64();
        Report {
            what: self.what.as_str(),
            per_second: all.measured() as f64 / measured_seconds,
            latency_ms: all.latency(),
            latency_from_sending_ms: all.latency_from_sending(),
            counts: all.counts,
            acknowledged: all.acknowledged,
            acct_session_id_prefix: format!("{:08X}", task.plan.run),
            measured_seconds,
            generator: Cost {
                cpu_seconds: cpu.as_secs_f64(),
                cpu_per_10k: cpu.as_secs_f64() * 10_000.0 / all.counts.answered.max(1) as f64,
                encoded_ahead: all.encoded_ahead,
            },
        }
    }
}

/// CPU this process took so far, the system's part included.
fn cpu_time() -> Duration {
    let at = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}

impl FloodReport {
    fn text(&self) -> String {
        let Sent { sent, refused, answered } = self.counts;
        format!(
            "{} packets a second of the kind {}: {sent} sent, {refused} refused by this host, {answered} answered",
            self.per_second.round(),
            self.bad
        )
    }
}

impl Report {
    fn text(&self) -> String {
        let Counts { requests, answered, repeats, lost, unverified, rejected } = self.counts;
        format!(
            "{} answers a second over {:.1} s: {}\n\
             {requests} requests, {answered} answered ({rejected} rejected), {repeats} sent again, {lost} lost, {unverified} \
             datagrams that were no answer\n\
             this generator took {:.3} CPU seconds for 10,000 answers; {} requests were encoded before the start",
            self.per_second.round(),
            self.measured_seconds,
            self.latency_ms.text(),
            self.generator.cpu_per_10k,
            self.generator.encoded_ahead,
        )
    }
}
