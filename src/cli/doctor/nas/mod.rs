//! What a NAS with pppd needs, judged by its files and by what runs on it. Pure but for reading the files it is given.

mod kernel;
mod pppd;
mod radius;
mod running;

pub(super) use running::{Asked, Running, TOOLS, clock, running};

use super::finding::Finding;
use super::tree::Tree;
use crate::config::Front;

const INSTALL: &str = "./pppd/install.sh";

/// What can be seen without asking anything that runs.
pub(super) fn files(tree: &Tree, front: Option<&Front>) -> Vec<Finding> {
    let mut findings =
        vec![pppd::packages(tree), kernel::device(tree), kernel::modules(tree), kernel::forwarding(tree)];
    findings.extend(kernel::ipv6_forwarding(tree));
    findings.extend(pppd::hooks(tree));
    findings.push(pppd::options(tree));
    findings.extend(pppd::pptpd(tree));
    findings.extend(radius::files(tree, front));
    findings.extend(firewall_files(tree));
    findings.push(unit(tree));
    findings
}

/// Who flushes all rules takes the sandbox away, and it is the running agent that puts it back.
fn firewall_files(tree: &Tree) -> Option<Finding> {
    let text = tree.text("etc/nftables.conf")?;
    if !text.lines().any(|line| line.trim() == "flush ruleset") {
        return None;
    }
    let unit = tree.text(&agent_unit(tree)?)?;
    let stops_first = |line: &str| line.starts_with("PartOf=") && line.contains("nftables.service");
    unit.lines().any(stops_first).then(|| {
        Finding::warn(
            "nas.flush-ruleset",
            "/etc/nftables.conf flushes all rules, and the agent is stopped with nftables (PartOf)",
            "While rules are flushed nobody is there to put the sandbox back: until the agent runs again everybody is through.",
            "./pppd/install.sh (its unit goes on running, and puts it back at once), or flush your own tables only",
        )
    })
}

/// The unit systemd would take.
fn agent_unit(tree: &Tree) -> Option<String> {
    let places = ["etc", "lib", "usr/lib"].into_iter();
    places.map(|place| format!("{place}/systemd/system/radhold-agent.service")).find(|path| tree.exists(path))
}

fn unit(tree: &Tree) -> Finding {
    let why = "Without the agent nobody is confined or put back after a flush, and nothing the server orders is done.";
    if agent_unit(tree).is_some() {
        Finding::ok("nas.unit", "radhold-agent.service is installed")
    } else {
        Finding::warn("nas.unit", "there is no radhold-agent.service", why, INSTALL)
    }
}
