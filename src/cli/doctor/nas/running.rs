//! What runs on a NAS: rules in force, agent, front, servers, clock. Judges what others saw, and looks at nothing itself.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::input::{self, Lets};

/// Programs the agent runs beside nft.
pub(in crate::cli::doctor) const TOOLS: [&str; 3] = ["conntrack", "tc", "ip"];

/// Tunnels do not restart with the agent.
const AGENT_AGAIN: &str = "systemctl restart radhold-agent (sessions stay); journalctl -u radhold-agent -n 20";

/// What runs on a NAS.
#[derive(Debug, Clone, Default)]
pub(in crate::cli::doctor) struct Running {
    /// All rules of nftables; `None` when they could not be seen.
    pub(in crate::cli::doctor) ruleset: Option<String>,
    /// Whether the agent answers at its socket, and where that is.
    pub(in crate::cli::doctor) agent: Option<Result<String, String>>,
    /// Servers that ordered something since the agent was started, and their clocks less ours in seconds, as their requests said.
    pub(in crate::cli::doctor) clocks: Vec<(String, i64)>,
    /// `/proc/modules`.
    pub(in crate::cli::doctor) modules: String,
    /// Whether the kernel gives helpers to flows by itself, as kernels before 6.0 could (`nf_conntrack_helper`).
    pub(in crate::cli::doctor) assigns_helpers: bool,
    /// The front's ports, and whether the agent says that they are its front's.
    pub(in crate::cli::doctor) front_ports: Vec<(String, bool)>,
    /// Servers of the file that the front of the running agent does not ask.
    pub(in crate::cli::doctor) not_asked: Vec<String>,
    /// Each server's port, and what came of a Status-Server.
    pub(in crate::cli::doctor) servers: Vec<Asked>,
    /// Those of [`TOOLS`] that are not installed.
    pub(in crate::cli::doctor) missing_tools: Vec<&'static str>,
    /// Whether the clock is kept right; `None` when nobody could say.
    pub(in crate::cli::doctor) clock_synchronized: Option<bool>,
}

/// What came of a Status-Server.
#[derive(Debug, Clone)]
pub(in crate::cli::doctor) struct Asked {
    /// Name and address.
    pub(in crate::cli::doctor) server: String,
    /// Whether it answered.
    pub(in crate::cli::doctor) answered: bool,
    /// Whether something came that was not made with the secret.
    pub(in crate::cli::doctor) forged: bool,
}

/// Judges what runs.
pub(in crate::cli::doctor) fn running(seen: &Running, has_pptpd: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &seen.ruleset {
        Some(rules) => {
            findings.extend(rules_findings(rules, has_pptpd));
            findings.extend(has_pptpd.then(|| pptp_helper(rules, seen)));
        }
        None => findings.push(Finding::warn(
            "nas.rules",
            "the rules of nftables cannot be seen",
            "Sandbox, translation and clamping cannot be judged.",
            "apt install nftables; run radhold doctor as root",
        )),
    }
    findings.push(tools(&seen.missing_tools));
    match &seen.agent {
        Some(Ok(socket)) => findings.push(Finding::ok("nas.agent", format!("the agent answers at {socket}"))),
        Some(Err(problem)) => findings.push(Finding::fail(
            "nas.agent",
            format!("the agent does not answer: {problem}"),
            "Sessions stay in the sandbox, and no CoA or Disconnect is obeyed.",
            AGENT_AGAIN,
        )),
        None => {}
    }
    for (port, taken) in &seen.front_ports {
        findings.push(if *taken {
            Finding::ok("nas.front", format!("the front has {port}"))
        } else {
            Finding::fail(
                "nas.front",
                format!("the agent has no front on {port}"),
                "pppd asks there; nobody answers, or somebody who is not the front.",
                AGENT_AGAIN,
            )
        });
    }
    findings.extend(seen.not_asked.iter().map(|server| {
        Finding::warn(
            "nas.front",
            format!("the front of the running agent does not ask {server}"),
            "The file names it; the agent read an earlier one.",
            AGENT_AGAIN,
        )
    }));
    findings.extend(seen.servers.iter().map(server_finding));
    findings.extend(seen.clocks.iter().map(|(server, skew)| skew_finding(server, *skew)));
    findings.push(clock(seen.clock_synchronized));
    findings
}

fn tools(missing: &[&str]) -> Finding {
    match missing {
        [] => Finding::ok("nas.tools", "conntrack, tc and ip are installed"),
        missing => Finding::fail(
            "nas.tools",
            format!("{} cannot be found", missing.join(" and ")),
            "Without conntrack old flows are cut by the rules alone, without tc nobody with a rate is let through, without ip there \
             are no routes.",
            "apt install conntrack iproute2",
        ),
    }
}

fn server_finding(asked: &Asked) -> Finding {
    let server = &asked.server;
    if asked.answered {
        return Finding::ok("nas.server", format!("{server} answers"));
    }
    let (says, mend) = if asked.forged {
        (format!("{server} answers with another secret"), "radhold nas add … on the server, and the same secret here")
    } else {
        (
            format!("{server} does not answer"),
            "there: is it running, does it listen beyond loopback (server.auth), is this NAS added? here: routes, firewall",
        )
    };
    Finding::fail("nas.server", says, "When no server answers, nobody logs in.", mend)
}

/// By what its last CoA-Request or Disconnect-Request said. A reply to Status-Server may carry no Event-Timestamp (RFC 2869
/// §5.19), so who ordered nothing yet is not known.
fn skew_finding(server: &str, skew: i64) -> Finding {
    const WINDOW: u64 = 300;
    const MUCH: u64 = 60;
    let why = "CoA and Disconnect more than 300 s off are dropped as replays (RFC 5176 §6.3).";
    let off = skew.unsigned_abs();
    if off <= MUCH {
        return Finding::ok("nas.clock-skew", format!("the clock of agent.peer.{server} differs by {skew} s at most"));
    }
    let make = if off <= WINDOW { Finding::warn } else { Finding::fail };
    let says = format!("the last order of agent.peer.{server} was dated {skew} s from this host's clock");
    make("nas.clock-skew", says, why, "timedatectl set-ntp true   (on both)")
}

pub(in crate::cli::doctor) fn clock(synchronized: Option<bool>) -> Finding {
    let why = "CoA and Disconnect more than 300 s off are dropped as replays, and records are dated wrong.";
    match synchronized {
        Some(true) => Finding::ok("clock", "the clock is kept right"),
        Some(false) => Finding::warn("clock", "the clock is not synchronised", why, "timedatectl set-ntp true"),
        None => Finding::warn(
            "clock",
            "whether the clock is right nobody could say",
            why,
            "timedatectl; apt install systemd-timesyncd",
        ),
    }
}

fn rules_findings(rules: &str, has_pptpd: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if rules.contains("table inet radhold {") {
        Finding::ok("nas.sandbox", "the sandbox stands (table inet radhold)")
    } else {
        Finding::fail(
            "nas.sandbox",
            "there is no table inet radhold",
            "Nobody is confined: a held session is through.",
            AGENT_AGAIN,
        )
    });
    findings.push(if rules.contains("masquerade") || rules.contains("snat ") {
        Finding::ok("nas.nat", "clients' addresses are translated")
    } else {
        Finding::warn(
            "nas.nat",
            "no rule translates clients' addresses",
            "Unless your routers know the way back to them, nothing comes back.",
            "nft -f /etc/radhold/nas.nft",
        )
    });
    findings.push(if rules.contains("maxseg size set") {
        Finding::ok("nas.mss-clamp", "segments are made to fit the link")
    } else {
        Finding::warn(
            "nas.mss-clamp",
            "no rule clamps the size of TCP segments",
            "Where ICMP is lost, large pages hang while small ones work.",
            "nft -f /etc/radhold/nas.nft",
        )
    });
    if has_pptpd {
        findings.push(gre(rules));
    }
    findings
}

/// pptpd on this host needs none. Who dials PPTP servers elsewhere through this host's translation does, in both halves: the
/// one reads TCP 1723 to know their GRE, the other translates its call ids.
fn pptp_helper(rules: &str, seen: &Running) -> Finding {
    let is_loaded = |module: &str| seen.modules.lines().any(|line| line.split(' ').next() == Some(module));
    let is_given = seen.assigns_helpers || rules.contains("ct helper set \"pptp\"");
    let missing: Vec<_> =
        ["nf_conntrack_pptp", "nf_nat_pptp"].into_iter().filter(|module| !is_loaded(module)).collect();
    match (is_given, missing.is_empty()) {
        (true, true) => Finding::ok("nas.pptp-helper", "PPTP calls through this host are followed and translated"),
        (true, false) => Finding::warn(
            "nas.pptp-helper",
            format!("conntrack is to follow PPTP calls through this host, but {} is not loaded", missing.join(" and ")),
            "Two people who dial one PPTP server elsewhere through this host's translation get in each other's way.",
            format!(
                "modprobe -a {}; for good: the same lines in /etc/modules-load.d; without such people: take \"ct helper set\" out \
                 of /etc/radhold/nas.nft",
                missing.join(" ")
            ),
        ),
        (false, _) => Finding::ok(
            "nas.pptp-helper",
            "PPTP calls through this host to elsewhere are not followed; pptpd here needs it not (nas.nft says how)",
        ),
    }
}

/// Whether the input chains let PPTP in.
fn gre(rules: &str) -> Finding {
    let why = "PPTP carries its data in GRE: clients connect, and hang at \"verifying user name\".";
    match input::pptp(rules) {
        Lets::In => Finding::ok("nas.gre", "PPTP (TCP 1723 and GRE) may come in"),
        Lets::Unclear => Finding::warn(
            "nas.gre",
            "the firewall drops by default; whether it accepts TCP 1723 and GRE this cannot tell",
            why,
            "nft list ruleset; if they are not accepted: tcp dport 1723 accept; meta l4proto gre accept",
        ),
        Lets::Out => Finding::fail(
            "nas.gre",
            "the firewall drops by default, and does not accept both TCP 1723 and GRE",
            why,
            "add to your input chain: tcp dport 1723 accept; meta l4proto gre accept",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    const OPEN: &str =
        "table inet radhold {\n}\ntable inet radhold_nas {\n\tmasquerade\n\ttcp option maxseg size set rt mtu\n}\n";

    fn levels(findings: &[Finding]) -> Vec<(&'static str, Level)> {
        findings.iter().map(|finding| (finding.check, finding.level)).collect()
    }

    #[test]
    fn rules_are_judged_by_what_they_do() {
        use Level::{Fail, Ok, Warn};
        let judged = |rules: &str| levels(&rules_findings(rules, true));
        let names = ["nas.sandbox", "nas.nat", "nas.mss-clamp", "nas.gre"];
        let expect = |levels: [Level; 4]| names.into_iter().zip(levels).collect::<Vec<_>>();
        assert_eq!(judged(OPEN), expect([Ok, Ok, Ok, Ok]));
        assert_eq!(judged("table inet radhold_nas {\n}\n"), expect([Fail, Warn, Warn, Ok]));
        let dropping = format!(
            "{OPEN}table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority 0; policy drop;\n\
             \t\ttcp dport {{ 22, 1723 }} accept\n\t}}\n\tchain other {{\n\t\tmeta l4proto gre accept\n\t}}\n}}\n"
        );
        assert_eq!(judged(&dropping), expect([Ok, Ok, Ok, Fail]), "GRE is accepted in another chain only");
        let open = dropping.replace("accept\n\t}\n\tchain", "accept\n\t\tmeta l4proto gre accept\n\t}\n\tchain");
        assert_eq!(judged(&open), expect([Ok, Ok, Ok, Ok]));
    }

    #[test]
    fn the_helper_for_pptp_is_judged_where_it_is_asked_for() {
        let judged = |rules: &str, modules: &str, assigns_helpers| {
            let seen = Running { modules: modules.to_owned(), assigns_helpers, ..Running::default() };
            pptp_helper(rules, &seen).level
        };
        let given = "tcp dport 1723 ct helper set \"pptp\"\n";
        let both = "nf_nat_pptp 16384 0 - Live 0x0\nnf_conntrack_pptp 20480 1 nf_nat_pptp, Live 0x0\n";
        assert_eq!(judged(OPEN, "", false), Level::Ok);
        assert_eq!(judged(given, both, false), Level::Ok);
        assert_eq!(judged(given, "nf_conntrack_pptp 20480 0 - Live 0x0\n", false), Level::Warn);
        assert_eq!(judged(OPEN, "", true), Level::Warn);
        let seen = Running { ruleset: Some(OPEN.to_owned()), ..Running::default() };
        let is_judged = |has_pptpd| running(&seen, has_pptpd).iter().any(|finding| finding.check == "nas.pptp-helper");
        assert!(is_judged(true) && !is_judged(false));
    }

    #[test]
    fn a_front_that_reads_another_file_and_tools_that_are_missing_are_said() {
        let seen = Running {
            ruleset: Some(OPEN.to_owned()),
            agent: Some(Ok("/run/radhold/agent.sock".to_owned())),
            front_ports: vec![("UDP 127.0.0.1:1812".to_owned(), false)],
            not_asked: vec!["server 1 (192.0.2.10:1812)".to_owned()],
            missing_tools: vec!["conntrack", "tc"],
            clock_synchronized: Some(true),
            ..Running::default()
        };
        let bad: Vec<_> = running(&seen, false).into_iter().filter(|finding| finding.level != Level::Ok).collect();
        assert_eq!(levels(&bad), [("nas.tools", Level::Fail), ("nas.front", Level::Fail), ("nas.front", Level::Warn)]);
        assert_eq!(bad[0].says, "conntrack and tc cannot be found");
        assert_eq!(bad[0].mend.as_deref(), Some("apt install conntrack iproute2"));
        assert_eq!(bad[1].says, "the agent has no front on UDP 127.0.0.1:1812");
    }

    #[test]
    fn what_runs_is_judged() {
        let asked = |answered, forged| Asked { server: "1".to_owned(), answered, forged };
        let seen = Running {
            ruleset: None,
            agent: Some(Err("no".to_owned())),
            front_ports: vec![("127.0.0.1:1812".to_owned(), true), ("127.0.0.1:1813".to_owned(), false)],
            servers: vec![asked(true, false), asked(false, true), asked(false, false)],
            clocks: [0, -61, 300, -301].map(|skew| ("1".to_owned(), skew)).into(),
            clock_synchronized: Some(true),
            ..Running::default()
        };
        use Level::{Fail, Ok, Warn};
        let levels: Vec<_> = running(&seen, true).into_iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Warn, Ok, Fail, Ok, Fail, Ok, Fail, Fail, Ok, Warn, Warn, Fail, Ok]);
        let good = Running {
            ruleset: Some(OPEN.to_owned()),
            agent: Some(Result::Ok("/run/radhold/agent.sock".to_owned())),
            ..Running::default()
        };
        let levels: Vec<_> = running(&good, false).into_iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Ok, Ok, Ok, Ok, Ok, Warn]);
    }
}
