//! `[agent]`: what the process beside pppd is told. Knows no session, no socket and no rule of nftables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::reader::{Report, Section};
use super::values::{SECRET_LEAST, network};
use crate::model::Secret;

const COA_PORT: u16 = 3799;

/// The agent beside pppd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// UDP addresses for CoA-Request and Disconnect-Request.
    pub listen: Vec<SocketAddr>,
    /// Who may send them.
    pub peers: Vec<AgentPeer>,
    /// Names this NAS goes by, for NAS-Identifier. None: any passes.
    pub nas_identifiers: Vec<String>,
    /// Addresses this NAS goes by, for NAS-IP-Address and NAS-IPv6-Address. None: any passes.
    pub nas_addresses: Vec<IpAddr>,
    /// Names of interfaces that are sandboxed until told otherwise; a `*` at the end stands for anything.
    pub interfaces: Vec<String>,
    /// Where the sandbox may ask for names.
    pub resolvers: Vec<IpAddr>,
    /// What else the sandbox may reach by TCP, and where its HTTP is redirected to.
    pub portal: Option<SocketAddr>,
    /// The Filter-Id that means the sandbox.
    pub sandbox_filter: String,
    /// The Filter-Ids that let a session out of the sandbox.
    pub filters: Vec<AgentFilter>,
    /// How long a session may stay in the sandbox before it is ended.
    pub sandbox_limit: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Captive networks, where stations are let through by MAC address; `None` is off.
    pub captive: Option<Captive>,
    /// TCP ports of the outer protocol that a banned address is refused.
    pub ban_tcp: Vec<u16>,
    /// UDP ports of the outer protocol that a banned address is refused.
    pub ban_udp: Vec<u16>,
    /// The Unix socket hooks and `status` speak to.
    pub socket: PathBuf,
    /// What survives a restart.
    pub state_file: PathBuf,
    /// Where pppd leaves `pppN.pid` and `radattr.pppN`.
    pub run_dir: PathBuf,
}

/// A Dynamic Authorization Client (RFC 5176) the agent listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPeer {
    /// What it is called here.
    pub name: String,
    /// Where its requests come from.
    pub network: IpNet,
    /// The secret shared with it.
    pub secret: Secret,
    /// Drop requests without Message-Authenticator.
    pub require_message_authenticator: bool,
    /// Drop requests without Event-Timestamp. One that is there is checked in any case.
    pub require_event_timestamp: bool,
}

/// A Filter-Id that lets a session out of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFilter {
    /// The Filter-Id.
    pub name: String,
    /// The sets of table `inet radhold` its sessions are in: this and `_v4`, this and `_v6`.
    pub set: String,
    /// The packet mark its sessions' packets get, for rules and queues of the operator's own.
    pub mark: Option<u32>,
}

/// Captive networks: stations, known by MAC address, are sandboxed until a CoA-Request lets them through for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captive {
    /// Names of their interfaces; a `*` at the end stands for anything.
    pub interfaces: Vec<String>,
    /// How long a station is let through at most, and without Session-Timeout.
    pub permit_limit: Duration,
}

pub(super) fn agent(report: &Report<'_>, mut section: Section<'_>, state_dir: &Path) -> Option<Agent> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|error| error.to_string());
    let port = |text: &str| text.parse::<u16>().map_err(|error| error.to_string());
    let text = |text: &str| if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) };
    let listen = section.list("listen", "an address with port", |text| socket_address(text, COA_PORT));
    let peers: Vec<Option<AgentPeer>> =
        section.named("peer").into_iter().map(|section| peer(report, section)).collect();
    let nas_identifiers = section.list("nas_identifiers", "a name", text).unwrap_or_default();
    let nas_addresses = section.list("nas_addresses", "an address", address).unwrap_or_default();
    let interfaces = section.list("interfaces", "a name of interfaces", interface);
    if interfaces.as_ref().is_some_and(Vec::is_empty) {
        section.problem("interfaces", "lists none, so nothing would be sandboxed");
    }
    let resolvers = section.list("resolvers", "an address", address).unwrap_or_default();
    let portal = section.parsed("portal", "an address with port", |text| socket_address(text, 80));
    let sandbox_filter = section.text("sandbox_filter").unwrap_or_else(|| "sandbox".to_owned());
    let filters = filters(&mut section, &sandbox_filter);
    let captive = captive(section.section("captive"), interfaces.as_deref());
    let agent = Agent {
        listen: listen.unwrap_or_else(|| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, COA_PORT))]),
        peers: peers.into_iter().collect::<Option<Vec<_>>>()?,
        nas_identifiers,
        nas_addresses,
        interfaces: interfaces.unwrap_or_else(|| vec!["ppp*".to_owned()]),
        resolvers,
        portal,
        sandbox_filter,
        filters,
        sandbox_limit: section.duration("sandbox_limit").unwrap_or(Duration::from_secs(300)),
        kill_after: section.duration("kill_after").unwrap_or(Duration::from_secs(45)),
        captive,
        ban_tcp: section.list("ban_tcp", "a port", port).unwrap_or_else(|| vec![443, 1723]),
        ban_udp: section.list("ban_udp", "a port", port).unwrap_or_else(|| vec![500, 1701, 4500]),
        socket: section.path("socket").unwrap_or_else(|| PathBuf::from("/run/radhold/agent.sock")),
        state_file: section.path("state_file").unwrap_or_else(|| state_dir.join("agent.json")),
        run_dir: section.path("run_dir").unwrap_or_else(|| PathBuf::from("/run")),
    };
    if agent.sandbox_limit.is_zero() {
        section.problem("sandbox_limit", "cannot be zero");
    }
    section.finish();
    Some(agent)
}

fn captive(mut section: Section<'_>, of_ppp: Option<&[String]>) -> Option<Captive> {
    let is_present = section.is_present();
    let interfaces = section.list("interfaces", "a name of interfaces", interface).unwrap_or_default();
    let permit_limit = section.duration("permit_limit").unwrap_or(Duration::from_secs(12 * 3600));
    if is_present {
        if interfaces.is_empty() {
            section.problem("interfaces", "are missing; a captive network is on one");
        }
        let ppp = ["ppp*".to_owned()];
        let meet = |one: &String| of_ppp.unwrap_or(&ppp).iter().any(|other| overlap(one, other));
        if let Some(both) = interfaces.iter().find(|name| meet(name)) {
            section
                .problem("interfaces", format!("{both} is of agent.interfaces too; an interface is one or the other"));
        }
        // nftables keeps milliseconds in 64 bits, and nobody is let through for ever.
        if permit_limit < Duration::from_secs(1) || permit_limit > Duration::from_secs(366 * 86_400) {
            section.problem("permit_limit", "is between 1s and 366d");
        }
    }
    section.finish();
    is_present.then_some(Captive { interfaces, permit_limit })
}

/// Whether two patterns may mean one interface.
fn overlap(one: &str, other: &str) -> bool {
    match (one.strip_suffix('*'), other.strip_suffix('*')) {
        (Some(one), Some(other)) => one.starts_with(other) || other.starts_with(one),
        (Some(stem), None) => other.starts_with(stem),
        (None, Some(stem)) => one.starts_with(stem),
        (None, None) => one == other,
    }
}

fn filters(section: &mut Section<'_>, sandbox_filter: &str) -> Vec<AgentFilter> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut filters = Vec::new();
    for mut section in section.named("filter") {
        let name = section.name().to_owned();
        if name == sandbox_filter {
            section.problem("set", "is of the sandbox filter; a held session would be let through at once");
        }
        let set = section.parsed("set", "a name for nftables", set_name).unwrap_or_else(|| name.clone());
        if let Err(message) = set_name(&set) {
            section.problem("set", format!("{message}; give one"));
        }
        if let Some(other) = owners.insert(set.clone(), name.clone()) {
            section.problem("set", format!("is the set of filter {other} too; each has its own"));
        }
        filters.push(AgentFilter { name, set, mark: section.number("mark", 1) });
        section.finish();
    }
    if filters.is_empty() {
        filters.push(AgentFilter { name: "permit".to_owned(), set: "permit".to_owned(), mark: None });
    }
    filters
}

fn peer(report: &Report<'_>, mut section: Section<'_>) -> Option<AgentPeer> {
    let name = section.name().to_owned();
    if !section.has("address") {
        section.problem("address", "is missing; a peer needs it");
    }
    if !section.has("secret") && !section.has("secret_file") {
        section.problem("secret", "is missing; a peer needs it (or secret_file)");
    }
    let network = section.parsed("address", "an address or network", network);
    let secret = section.secret("secret");
    if secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_LEAST) {
        report.warn(format!("agent.peer.{name}: the secret is shorter than {SECRET_LEAST} octets (RFC 2865 §3)"));
    }
    let require_message_authenticator = section.boolean("require_message_authenticator").unwrap_or(true);
    let require_event_timestamp = section.boolean("require_event_timestamp").unwrap_or(true);
    section.finish();
    Some(AgentPeer { name, network: network?, secret: secret?, require_message_authenticator, require_event_timestamp })
}

fn socket_address(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)))
        .map_err(|_| format!("write 192.0.2.1:{port} or [2001:db8::1]:{port}"))
}

/// IFNAMSIZ is 16 with the zero at the end.
fn interface(text: &str) -> Result<String, String> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if stem.is_empty() || stem.len() > 15 || !stem.chars().all(fine) {
        return Err("write ppp0 or ppp*".to_owned());
    }
    Ok(text.to_owned())
}

fn set_name(text: &str) -> Result<String, String> {
    let fine = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let ours = ["banned", "resolvers"];
    match (fine, ours.contains(&text)) {
        (true, false) => Ok(text.to_owned()),
        (true, true) => Err(format!("{text} is a set of the agent's own")),
        (false, _) => Err(format!("{text:?} is not made of letters, digits and _, a letter first")),
    }
}
