//! `radhold doctor`
//!
//! Gathers facts, has them judged, prints the findings. The judging is in files of its own and pure, so that it can be tried on
//! any tree of files.

mod finding;
mod input;
mod live;
mod nas;
mod radiusclient;
mod server;
mod tree;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::config::{Config, Flags, Loaded};

use super::failure::Failure;
use super::{manual, output};
use finding::{Finding, Level};
use tree::Tree;

/// The agent's configuration on a NAS that was set up with pppd/install.sh.
const AGENT_FILE: &str = "etc/radhold/agent.toml";

/// Is this host able to do the job?
///
/// Looks at what a NAS with pppd needs, or at what a server needs, or at both, and changes nothing. Each finding is ok, warn or
/// fail; the last two say why it matters and how to mend it. Run it as root: others may not see all of it.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold doctor\n  radhold doctor nas --config /etc/radhold/agent.toml\n  radhold doctor server --json | jq '.[] | select(.level == \"fail\")'"
))]
pub(super) struct DoctorArgs {
    /// What this host is to be; may be both [default: a NAS where there is pppd, a server where it was one or is no NAS].
    #[arg(value_enum)]
    roles: Vec<Role>,
    /// Look at the files below this directory only, as they would be below /; nothing that runs is asked.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the findings as JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Runs pppd and the agent.
    Nas,
    /// Runs `radhold serve`.
    Server,
}

pub(super) async fn run(args: &DoctorArgs, flags: &Flags) -> Result<(), Failure> {
    let tree = Tree::new(args.root.as_deref().unwrap_or(Path::new("/")));
    let is_this_host = args.root.is_none();
    let roles = if args.roles.is_empty() { likely_roles(&tree) } else { args.roles.clone() };
    let mut findings = Vec::new();
    for role in [Role::Nas, Role::Server].into_iter().filter(|role| roles.contains(role)) {
        let (name, flags) = match role {
            Role::Nas => ("nas.configuration", agent_flags(&tree, flags)),
            Role::Server => ("server.configuration", flags.clone()),
        };
        let loaded = Config::load(&flags);
        findings.push(configuration(name, &loaded));
        let config = loaded.ok().map(|loaded| loaded.config);
        match role {
            Role::Nas => {
                let front = config.as_ref().and_then(|config| config.front.as_ref());
                findings.extend(nas::files(&tree, front));
                if is_this_host {
                    findings.extend(nas::running(&live::nas(config.as_ref()).await, tree.exists("etc/pptpd.conf")));
                }
            }
            Role::Server => {
                if let Some(config) = &config {
                    findings.extend(server::files(config));
                    if is_this_host {
                        findings.extend(server::running(&live::server(config).await));
                    }
                }
            }
        }
    }
    if args.json {
        output::print_json(&findings)?;
    } else {
        output::print(&findings.iter().map(Finding::lines).collect::<Vec<_>>().join("\n"))?;
    }
    match findings.iter().filter(|finding| finding.level == Level::Fail).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 finding must be mended")),
        many => Err(Failure::failed(format!("{many} findings must be mended"))),
    }
}

fn likely_roles(tree: &Tree) -> Vec<Role> {
    let is_nas = tree.exists("usr/sbin/pppd") || tree.exists(AGENT_FILE);
    let is_server = tree.exists("etc/radhold/radhold.toml") || tree.exists("var/lib/radhold");
    let roles = [(Role::Nas, is_nas), (Role::Server, is_server || !is_nas)];
    roles.into_iter().filter_map(|(role, likely)| likely.then_some(role)).collect()
}

/// On a NAS the agent's own file is meant, unless another one is named.
fn agent_flags(tree: &Tree, flags: &Flags) -> Flags {
    let own = tree.path(AGENT_FILE);
    let config = flags.config.clone().or_else(|| own.exists().then_some(own));
    Flags { config, ..flags.clone() }
}

fn configuration(name: &'static str, loaded: &Result<Loaded, crate::config::ConfigError>) -> Finding {
    match loaded {
        Ok(loaded) => {
            let file = loaded.sources.file.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
            match loaded.warnings.as_slice() {
                [] => Finding::ok(name, format!("the configuration is understood ({file})")),
                warnings => Finding::warn(
                    name,
                    warnings.join("; "),
                    "It is allowed, but hardly meant.",
                    format!("edit {file}; radhold check"),
                ),
            }
        }
        Err(error) => Finding::fail(
            name,
            error.to_string(),
            "With a configuration that is not understood nothing starts.",
            "correct it; radhold check says when it is right".to_owned(),
        ),
    }
}
