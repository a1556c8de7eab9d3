//! What a NAS with pppd needs, judged by its files and by what runs on it. Pure but for reading the files it is given.

use std::net::IpAddr;

use super::finding::Finding;
use super::input::{self, Lets};
use super::radiusclient;
use super::tree::Tree;
use crate::config::Front;

/// The scripts of pppd that must tell the agent, and what is lost when one does not.
const HOOKS: [(&str, &str, bool); 5] = [
    ("ip-pre-up", "Without it the rules are not in place when the first packet comes.", true),
    ("ip-up", "Without it the agent does not know that the session runs.", true),
    ("ip-down", "Without it the agent learns late that a session is over, and its address stays in the sets.", true),
    (
        "ipv6-up",
        "Without it the agent knows no IPv6 address of a session: a server that names one finds nobody, and a link of IPv6 alone \
         stays in the sandbox.",
        false,
    ),
    ("ipv6-down", "Without it a session goes on being known by an IPv6 address it has no more.", false),
];

/// Modules of the kernel, and why.
const MODULES: [(&str, &str); 5] = [
    ("ppp_generic", "It is PPP itself."),
    ("ppp_async", "pptpd and xl2tpd hand pppd a terminal, which needs it."),
    ("ppp_mppe", "Without it there is no MPPE: PPTP clients that want encryption hang up."),
    ("nf_tables", "The sandbox is made of it."),
    ("nft_fib_inet", "Without it nft refuses the sandbox: it holds IPv6 sources to their interface."),
];

/// Tunnels do not restart with the agent.
const AGENT_AGAIN: &str = "systemctl restart radhold-agent (sessions stay); journalctl -u radhold-agent -n 20";

/// Programs the agent runs beside nft.
pub(super) const TOOLS: [&str; 3] = ["conntrack", "tc", "ip"];

const INSTALL: &str = "./pppd/install.sh";

/// What can be seen without asking anything that runs.
pub(super) fn files(tree: &Tree, front: Option<&Front>) -> Vec<Finding> {
    let mut findings = vec![pppd(tree), device(tree), modules(tree), forwarding(tree)];
    findings.extend(ipv6_forwarding(tree));
    findings.extend(hooks(tree));
    findings.push(options(tree));
    findings.extend(pptpd(tree));
    findings.extend(radiusclient_files(tree, front));
    findings.extend(firewall_files(tree));
    findings.push(unit(tree));
    findings
}

fn pppd(tree: &Tree) -> Finding {
    let plugin = |name: &str| {
        let versions = tree.names("usr/lib/pppd").into_iter();
        versions.map(|version| format!("usr/lib/pppd/{version}/{name}")).find(|path| tree.exists(path))
    };
    let why = "It is pppd that the clients talk to, and radius.so that asks.";
    let missing: Vec<_> = ["radius.so", "radattr.so"].into_iter().filter(|name| plugin(name).is_none()).collect();
    if !tree.exists("usr/sbin/pppd") {
        Finding::fail("nas.pppd", "there is no /usr/sbin/pppd", why, "apt install ppp")
    } else if !missing.is_empty() {
        let says = format!("pppd has no {} in /usr/lib/pppd", missing.join(" and "));
        Finding::fail("nas.pppd", says, why, "apt install --reinstall ppp")
    } else {
        Finding::ok("nas.pppd", "pppd has radius.so and radattr.so")
    }
}

fn device(tree: &Tree) -> Finding {
    if tree.exists("dev/ppp") {
        return Finding::ok("nas.dev-ppp", "/dev/ppp is there");
    }
    let mend = if tree.word("proc/sys/kernel/osrelease").is_some_and(|release| release.contains("cloud")) {
        "apt install linux-image-amd64 && reboot   (this is a cloud kernel, which has no PPP)"
    } else {
        "modprobe ppp_generic; in a container: pass /dev/ppp in"
    };
    Finding::fail("nas.dev-ppp", "there is no /dev/ppp", "pppd cannot make an interface without it.", mend)
}

fn modules(tree: &Tree) -> Finding {
    let release = tree.word("proc/sys/kernel/osrelease").unwrap_or_default();
    let loaded = tree.text("proc/modules").unwrap_or_default();
    let list = |name: &str| tree.text(&format!("lib/modules/{release}/{name}")).unwrap_or_default();
    let (built_in, available) = (list("modules.builtin"), list("modules.dep"));
    let is_there = |module: &str| {
        let file = format!("/{module}.ko");
        loaded.lines().any(|line| line.split(' ').next() == Some(module))
            || tree.exists(&format!("sys/module/{module}"))
            || built_in.contains(&file)
            || available.contains(&file)
    };
    let missing: Vec<_> = MODULES.iter().filter(|(module, _)| !is_there(module)).collect();
    match missing.as_slice() {
        [] => Finding::ok("nas.modules", "PPP, MPPE and nftables are in the kernel, or can be loaded"),
        [(_, why), ..] => {
            let names: Vec<_> = missing.iter().map(|(module, _)| *module).collect();
            let mend = if release.contains("cloud") {
                "apt install linux-image-amd64 && reboot   (this is a cloud kernel, which has no PPP)".to_owned()
            } else {
                format!("modprobe -a {}; if that fails, install the kernel's package of modules", names.join(" "))
            };
            // A kernel with everything in it brings no lists along.
            let make =
                if tree.exists(&format!("lib/modules/{release}/modules.dep")) { Finding::fail } else { Finding::warn };
            make("nas.modules", format!("kernel {release} has no {}", names.join(", ")), why, mend)
        }
    }
}

fn forwarding(tree: &Tree) -> Finding {
    match tree.word("proc/sys/net/ipv4/ip_forward").as_deref() {
        Some("1") => Finding::ok("nas.forwarding", "IPv4 is forwarded"),
        _ => Finding::fail(
            "nas.forwarding",
            "IPv4 is not forwarded",
            "Clients reach this host and nothing behind it.",
            "sysctl -w net.ipv4.ip_forward=1; for good: /etc/sysctl.d/60-radhold-nas.conf (pppd/install.sh)",
        ),
    }
}

/// Only where pppd is told to speak IPv6.
fn ipv6_forwarding(tree: &Tree) -> Option<Finding> {
    let wanted = option_files(tree).iter().any(|(_, text)| has_option(text, "+ipv6"));
    if !wanted {
        return None;
    }
    Some(match tree.word("proc/sys/net/ipv6/conf/all/forwarding").as_deref() {
        Some("1") => Finding::ok("nas.forwarding-ipv6", "IPv6 is forwarded"),
        _ => Finding::warn(
            "nas.forwarding-ipv6",
            "pppd speaks IPv6 (+ipv6), but IPv6 is not forwarded",
            "Clients get IPv6 addresses that lead nowhere.",
            "sysctl -w net.ipv6.conf.all.forwarding=1   (and accept_ra=2 where this host's own route comes from)",
        ),
    })
}

fn hooks(tree: &Tree) -> Vec<Finding> {
    let calls = |event: &str| {
        tree.names(&format!("etc/ppp/{event}.d")).into_iter().find(|name| {
            let path = format!("etc/ppp/{event}.d/{name}");
            tree.is_executable(&path)
                && run_parts_takes(name)
                && tree.text(&path).is_some_and(|text| text.contains(&format!("radhold agent hook {event}")))
        })
    };
    let mut findings = Vec::new();
    for (event, why, needed) in HOOKS {
        let local = format!("etc/ppp/{event}.local");
        let (says, mend) = if !tree.exists(&format!("etc/ppp/{event}")) {
            (
                format!("there is no /etc/ppp/{event}, which runs /etc/ppp/{event}.d"),
                "apt install --reinstall ppp".to_owned(),
            )
        } else if tree.is_executable(&local)
            && tree.text(&local).is_none_or(|text| !text.contains("radhold agent hook"))
        {
            let says = format!("/{local} takes the place of /etc/ppp/{event}.d, and does not call the agent");
            (says, format!("mv /{local} /etc/ppp/{event}.d/local"))
        } else if calls(event).is_none() {
            (format!("no executable in /etc/ppp/{event}.d calls radhold agent hook {event}"), INSTALL.to_owned())
        } else {
            continue;
        };
        let make = if needed { Finding::fail } else { Finding::warn };
        findings.push(make("nas.hooks", says, why, mend));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("nas.hooks", "pppd's scripts call the agent"));
    }
    findings
}

/// run-parts passes over names with dots and other signs (`radhold.dpkg-old`).
fn run_parts_takes(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// pppd's files of options that may be meant, with their texts.
fn option_files(tree: &Tree) -> Vec<(String, String)> {
    let names = tree.names("etc/ppp").into_iter();
    let named = names.filter(|name| name.contains("options")).map(|name| format!("etc/ppp/{name}"));
    named.filter_map(|path| tree.text(&path).map(|text| (path, text))).collect()
}

fn has_option(text: &str, option: &str) -> bool {
    position(text, option).is_some()
}

fn position(text: &str, option: &str) -> Option<usize> {
    let words: Vec<_> = option.split(' ').collect();
    text.lines().position(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()))
}

fn options(tree: &Tree) -> Finding {
    let files = option_files(tree);
    let why = "radius.so asks the server; radattr.so, loaded after it, tells the agent what the server said.";
    let with_radius = files.iter().find(|(_, text)| text.contains("radius.so"));
    let Some((path, text)) = with_radius else {
        return Finding::fail("nas.options", "no file of options in /etc/ppp loads radius.so", why, INSTALL);
    };
    let [radius, radattr] = ["plugin radius.so", "plugin radattr.so"].map(|option| position(text, option));
    if radattr.is_none() || radattr < radius {
        return Finding::fail(
            "nas.options",
            format!("/{path} does not load radattr.so after radius.so"),
            why,
            format!("add \"plugin radattr.so\" below \"plugin radius.so\" in /{path}"),
        );
    }
    if !has_option(text, "require-mschap-v2") {
        return Finding::warn(
            "nas.options",
            format!("/{path} does not say require-mschap-v2"),
            "Other methods make no keys for MPPE, or show the password.",
            format!("add \"require-mschap-v2\" to /{path}"),
        );
    }
    Finding::ok("nas.options", format!("/{path} asks RADIUS, and keeps what it says"))
}

fn pptpd(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text("etc/pptpd.conf") else { return Vec::new() };
    if has_option(&text, "noipparam") {
        return vec![Finding::fail(
            "nas.pptpd",
            "/etc/pptpd.conf says noipparam",
            "Then there is no Calling-Station-Id: no address to ban, and none to show who is asked.",
            "sed -i /^noipparam/d /etc/pptpd.conf && systemctl restart pptpd",
        )];
    }
    let option = text.lines().filter_map(|line| line.strip_prefix("option")).map(str::trim).next_back();
    let file = option.unwrap_or("/etc/ppp/options");
    let Some(options) = tree.text(file) else {
        return vec![Finding::fail(
            "nas.pptpd",
            format!("pptpd's file of options, {file}, is not there"),
            "Every call ends before it begins.",
            INSTALL,
        )];
    };
    let included: Vec<_> = options.lines().filter_map(|line| line.strip_prefix("file ")).map(str::trim).collect();
    let texts = included.iter().filter_map(|path| tree.text(path)).chain([options.clone()]);
    if !texts.into_iter().any(|text| text.contains("radius.so")) {
        return vec![Finding::fail(
            "nas.pptpd",
            format!("pptpd's file of options, {file}, does not load radius.so"),
            "pppd would look into /etc/ppp/chap-secrets, and nobody would be asked.",
            INSTALL,
        )];
    }
    if !["require-mppe-128", "require-mppe"].iter().any(|option| has_option(&options, option)) {
        return vec![Finding::warn(
            "nas.pptpd",
            format!("{file} does not require MPPE"),
            "PPTP without MPPE is plain text.",
            format!("add \"require-mppe-128\" to {file}"),
        )];
    }
    vec![Finding::ok("nas.pptpd", format!("pptpd calls pppd with {file}"))]
}

fn radiusclient_files(tree: &Tree, front: Option<&Front>) -> Vec<Finding> {
    let named = option_files(tree).into_iter().find_map(|(_, text)| {
        text.lines().find_map(|line| Some(line.strip_prefix("radius-config-file")?.trim().to_owned()))
    });
    let path = named.unwrap_or_else(|| "/etc/radiusclient/radiusclient.conf".to_owned());
    let Some(text) = tree.text(&path) else {
        let why = "Without it radius.so does not start, and every login fails.";
        return vec![Finding::fail("nas.radiusclient", format!("there is no {path}"), why, INSTALL)];
    };
    let settings = radiusclient::settings(&text);
    let mut findings = Vec::new();
    for problem in &settings.problems {
        let why = "radius.so reads it otherwise than it looks, or not at all.";
        findings.push(Finding::fail("nas.radiusclient", format!("{path}: {problem}"), why, format!("edit {path}")));
    }
    for (key, word) in [("mapfile", "map"), ("dictionary", "dictionary"), ("servers", "file of servers")] {
        if let Some(file) = settings.get(key).filter(|file| !tree.exists(file)) {
            let mend = if key == "mapfile" { format!("touch {file}") } else { INSTALL.to_owned() };
            let why = "radius.so opens it in any case; without it every login fails.";
            findings.push(Finding::fail("nas.radiusclient", format!("the {word}, {file}, is not there"), why, mend));
        }
    }
    if settings.get("nas_identifier").is_none() {
        findings.push(Finding::warn(
            "nas.radiusclient",
            format!("{path} has no nas_identifier"),
            "Then the name of this host must resolve to its address, or nothing is ever sent.",
            format!("echo 'nas_identifier nas-1' >> {path}"),
        ));
    }
    let asks_this_host = |host: &&str| host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if front.is_none() && settings.hosts("authserver").iter().any(asks_this_host) {
        findings.push(Finding::warn(
            "nas.front",
            "pppd asks this host, but no server is named in [agent.front]",
            "Without a front there must be a server on this very port, and its NAS must do without Message-Authenticator.",
            "editor /etc/radhold/agent.toml   ([agent.front.server.1]); systemctl restart radhold-agent",
        ));
    }
    findings.extend(patience(&settings, front, &path));
    findings.extend(settings.get("servers").and_then(|file| secrets(tree, &settings, file, front)));
    if let Some((file, text)) = settings.get("dictionary").and_then(|file| Some((file, tree.text(file)?))) {
        for problem in radiusclient::dictionary(&text) {
            findings.push(Finding::fail(
                "nas.radiusclient",
                format!("{file}: {problem}"),
                "Attributes it does not know are lost: without the keys pppd hangs up, without Filter-Id nothing is held.",
                INSTALL,
            ));
        }
    }
    if findings.is_empty() {
        let hosts = settings.hosts("authserver").into_iter().collect::<Vec<_>>().join(", ");
        findings.push(Finding::ok("nas.radiusclient", format!("{path} is sound; pppd asks {hosts}")));
    }
    findings
}

/// pppd must not give up before the front does, nor wait longer than its client.
fn patience(settings: &radiusclient::Settings, front: Option<&Front>, path: &str) -> Option<Finding> {
    const CLIENT: u64 = 30;
    let seconds = settings.patience()?;
    if seconds > CLIENT {
        return Some(Finding::warn(
            "nas.radiusclient",
            format!("pppd waits {seconds} s for an answer (radius_timeout times radius_retries)"),
            "Its client gives up sooner, and pppd stands still meanwhile.",
            format!("set radius_timeout 3 and radius_retries 4 in {path}"),
        ));
    }
    let front = front?;
    (seconds <= front.patience.as_secs()).then(|| {
        Finding::warn(
            "nas.radiusclient",
            format!("pppd waits {seconds} s, the front {} s", front.patience.as_secs()),
            "pppd gives up while the front still asks another server.",
            format!("raise radius_retries in {path}, or lower agent.front.patience"),
        )
    })
}

fn secrets(tree: &Tree, settings: &radiusclient::Settings, file: &str, front: Option<&Front>) -> Option<Finding> {
    let text = tree.text(file)?;
    let (secrets, problems) = radiusclient::secrets(&text);
    let why = "With another secret than the server's every login fails, and every record is dropped.";
    if let Some(problem) = problems.first() {
        let mend = "openssl rand -hex 20   (and the same in agent.front.secret)";
        return Some(Finding::fail("nas.radiusclient", format!("{file}: {problem}"), why, mend));
    }
    let asked = settings.hosts("authserver").into_iter().chain(settings.hosts("acctserver"));
    for host in asked {
        let Some(secret) = secrets.get(host) else {
            let mend = format!("add a line \"{host} SECRET\" to {file}");
            return Some(Finding::fail("nas.radiusclient", format!("{file} has no secret for {host}"), why, mend));
        };
        let fronts = front.filter(|front| front.auth.iter().any(|address| address.ip().to_string() == host));
        if fronts.is_some_and(|front| front.secret.expose() != secret.as_bytes()) {
            let mend = format!("make agent.front.secret_file and the line of {host} in {file} the same");
            let says = format!("the secret of {host} in {file} is not the front's");
            return Some(Finding::fail("nas.radiusclient", says, why, mend));
        }
        if secret.len() < crate::config::read::SECRET_LEAST {
            return Some(Finding::warn(
                "nas.radiusclient",
                format!("the secret of {host} in {file} has {} characters", secret.len()),
                "A short secret can be guessed from one recorded packet (RFC 2865 §3 wants 16 octets).",
                "openssl rand -hex 20   (and the same in agent.front.secret)",
            ));
        }
    }
    if tree.mode(file).is_some_and(|mode| mode & 0o077 != 0) {
        let why = "Whoever reads it can answer in the server's name.";
        return Some(Finding::fail(
            "nas.radiusclient",
            format!("others than root can read {file}"),
            why,
            format!("chmod 600 {file}"),
        ));
    }
    None
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

/// What runs on a NAS.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    /// All rules of nftables; `None` when they could not be seen.
    pub(super) ruleset: Option<String>,
    /// Whether the agent answers at its socket, and where that is.
    pub(super) agent: Option<Result<String, String>>,
    /// Servers that ordered something since the agent was started, and their clocks less ours in seconds, as their requests said.
    pub(super) clocks: Vec<(String, i64)>,
    /// `/proc/modules`.
    pub(super) modules: String,
    /// Whether the kernel gives helpers to flows by itself, as kernels before 6.0 could (`nf_conntrack_helper`).
    pub(super) assigns_helpers: bool,
    /// The front's ports, and whether the agent says that they are its front's.
    pub(super) front_ports: Vec<(String, bool)>,
    /// Servers of the file that the front of the running agent does not ask.
    pub(super) not_asked: Vec<String>,
    /// Each server's port, and what came of a Status-Server.
    pub(super) servers: Vec<Asked>,
    /// Those of [`TOOLS`] that are not installed.
    pub(super) missing_tools: Vec<&'static str>,
    /// Whether the clock is kept right; `None` when nobody could say.
    pub(super) clock_synchronized: Option<bool>,
}

/// What came of a Status-Server.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Name and address.
    pub(super) server: String,
    /// Whether it answered.
    pub(super) answered: bool,
    /// Whether something came that was not made with the secret.
    pub(super) forged: bool,
}

/// Judges what runs.
pub(super) fn running(seen: &Running, has_pptpd: bool) -> Vec<Finding> {
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

pub(super) fn clock(synchronized: Option<bool>) -> Finding {
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
    use super::super::finding::Level;
    use super::*;

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
