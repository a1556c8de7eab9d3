//! `radhold agent`

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use crate::agent::{self, HookCall, HookEvent, Request, RuleSettings};
use crate::app::{chance, clock};
use crate::config::{Config, Flags, Setting, parse_duration};
use crate::net::front::Machine;
use crate::telemetry;

use super::failure::Failure;
use super::manual;
use super::output::{or_dash, print_json, print_table};

/// The file its unit gives the agent. Whoever asks the agent must read the same, or looks for it at another socket.
const OWN_FILE: &str = "/etc/radhold/agent.toml";

/// How long `status` and `ban` wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Run the agent beside pppd.
///
/// Keeps every PPP session in a sandbox (table `inet radhold` of nftables) until a server lifts it by CoA-Request, and ends a
/// pppd when a server says so by Disconnect-Request (RFC 5176), or when it stays in the sandbox too long. Needs CAP_NET_ADMIN
/// and CAP_KILL and no more: its unit gives them to a user of its own; started by root, it gives up the rest. Everything about
/// it is in [agent] of the configuration; its subcommands read /etc/radhold/agent.toml, as the unit does, when that is there
/// and no other file is named. When it ends the rules stay: `nft delete table inet radhold` takes them away.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = manual!(
    "  radhold agent\n  radhold agent --print-rules\n  radhold agent status\n  radhold agent hook ip-pre-up   (in /etc/ppp/ip-pre-up)"
))]
pub(super) struct AgentArgs {
    /// Print the table as JSON for `nft -j -f -`, and change nothing.
    #[arg(long)]
    print_rules: bool,
    /// What to log: error, warn, info, debug, trace; by module too (log.filter).
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Option<AgentCommand>,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    Hook(HookArgs),
    Status(StatusArgs),
    Ban(BanArgs),
    Unban(UnbanArgs),
}

/// Tell the agent what pppd says: for the scripts of pppd.
///
/// Reads the environment pppd gives its scripts. Takes two seconds at most and always succeeds, so that pppd is never held up;
/// when there is no agent, the session stays in the sandbox.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold agent hook ip-pre-up   (in /etc/ppp/ip-pre-up)\n  radhold agent hook ip-down     (in /etc/ppp/ip-down)"
))]
struct HookArgs {
    /// Which script this is.
    event: HookEvent,
    /// The agent's socket (agent.socket).
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Show the sessions of this NAS, and the stations of captive networks that are let through.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold agent status\n  radhold agent status --json"))]
struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Ban an address from the outer protocols (PPTP, L2TP, ...) of this NAS.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold agent ban 192.0.2.7 --for 1h"))]
struct BanArgs {
    /// An address, or a network such as 192.0.2.0/24.
    #[arg(value_name = "ADDRESS", value_parser = network)]
    network: IpNet,
    /// How long.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    time: Duration,
}

/// End a ban.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold agent unban 192.0.2.7"))]
struct UnbanArgs {
    /// Whose, as it was banned.
    #[arg(value_name = "ADDRESS", value_parser = network)]
    network: IpNet,
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    network
        .map(|network| network.trunc())
        .map_err(|_| "neither an address nor a network such as 192.0.2.0/24".to_owned())
}

pub(super) fn run(args: AgentArgs, flags: &mut Flags) -> Result<(), Failure> {
    if args.command.is_some() {
        let is_named = flags.config.is_some() || std::env::var_os("RADHOLD_CONFIG").is_some();
        flags.config = flags.config.take().or_else(|| own_file(is_named, Path::new(OWN_FILE)));
    }
    match args.command {
        Some(AgentCommand::Hook(args)) => {
            hook(args, flags);
            Ok(())
        }
        Some(AgentCommand::Status(args)) => status(&args, flags),
        Some(AgentCommand::Ban(args)) => {
            ask(&Request::Ban { network: args.network, seconds: args.time.as_secs().max(1) }, flags).map(drop)
        }
        Some(AgentCommand::Unban(args)) => ask(&Request::Ban { network: args.network, seconds: 0 }, flags).map(drop),
        None => {
            flags.settings.splice(0..0, args.log.iter().map(|filter| Setting::new("--log", "log.filter", filter)));
            let config = Config::load(flags)?.config;
            if args.print_rules {
                return print_json(&agent::ruleset(&RuleSettings::from(&config.agent), &[]));
            }
            telemetry::init(&config.log)?;
            // Rights are a thread's own: before there is a second thread.
            agent::drop_privileges().map_err(|error| Failure::failed(error.to_string()))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let machine = Machine { now: clock::now, chance: chance::octets };
            let ran = runtime.block_on(agent::run(config.agent, config.front, machine, clock::since_boot));
            ran.map_err(|error| Failure::failed(error.to_string()))
        }
    }
}

/// The agent's own file, when it is there and no other is named.
fn own_file(is_named: bool, own: &Path) -> Option<PathBuf> {
    (!is_named && own.exists()).then(|| own.to_owned())
}

/// Whatever is wrong here is said, and pppd goes on.
fn hook(args: HookArgs, flags: &Flags) {
    let (configured, run_dir) = match Config::load(flags) {
        Ok(loaded) => (loaded.config.agent.socket, loaded.config.agent.run_dir),
        Err(error) => {
            eprintln!("radhold: {error}");
            (PathBuf::from("/run/radhold/agent.sock"), PathBuf::from("/run"))
        }
    };
    let socket = args.socket.unwrap_or(configured);
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    match HookCall::from_environment(args.event, &environment) {
        Some(call) => {
            let up = agent::Uptime::after_boot(clock::since_boot());
            if let Err(trouble) = agent::call_hook(&socket, call.with_accept(&run_dir, &socket, clock::now(), up)) {
                eprintln!("radhold: {trouble}");
            }
        }
        None => eprintln!("radhold: IFNAME is not set: this is for the scripts of pppd"),
    }
}

fn status(args: &StatusArgs, flags: &Flags) -> Result<(), Failure> {
    let answer = ask(&Request::Status, flags)?;
    if args.json {
        return print_json(&answer);
    }
    let rows = answer["sessions"].as_array().into_iter().flatten().map(|session| {
        let text = |key: &str| or_dash(session[key].as_str());
        let seconds = |key: &str| or_dash(session[key].as_u64().map(|seconds| format!("{seconds}s")));
        [
            text("interface"),
            text("state"),
            text("filter"),
            text("user"),
            text("address"),
            text("calling"),
            or_dash(session["pid"].as_u64()),
            seconds("age_seconds"),
        ]
    });
    let head = ["INTERFACE", "STATE", "FILTER", "USER", "ADDRESS", "CALLING", "PID", "AGE"];
    print_table(head, rows.collect(), "no sessions")?;
    let stations = answer["stations"].as_array().into_iter().flatten().map(|station| {
        let left = station["left_seconds"].as_u64().map(|seconds| format!("{seconds}s"));
        [or_dash(station["station"].as_str()), or_dash(station["filter"].as_str()), or_dash(left)]
    });
    match stations.collect::<Vec<_>>() {
        none if none.is_empty() => Ok(()),
        stations => print_table(["STATION", "FILTER", "LEFT"], stations, "no stations"),
    }
}

fn ask(request: &Request, flags: &Flags) -> Result<serde_json::Value, Failure> {
    let socket = Config::load(flags)?.config.agent.socket;
    let answer = agent::ask(&socket, request, PATIENCE).map_err(|error| {
        Failure::failed(format!("{}: {error}; is the agent running, and are you root?", socket.display()))
    })?;
    match answer["error"].as_str() {
        Some(error) => Err(Failure::failed(error)),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_file_is_meant_when_it_is_there_and_no_other_is_named() {
        let own = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(own_file(false, own.path()), Some(own.path().to_owned()));
        assert_eq!(own_file(true, own.path()), None);
        assert_eq!(own_file(false, Path::new("/nonexistent/agent.toml")), None);
    }
}
