//! Looks at what runs on this host: rules, sockets, ports, servers, the clock. Judges nothing, and changes nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::time::timeout;

use super::nas::{self, Asked};
use super::server::{self, Port, StoreState};
use crate::agent::{self, Request};
use crate::app::{chance, clock};
use crate::config::{Config, Front, FrontServer};
use crate::dynauth::Timers;
use crate::net::client::{Client, Demand};
use crate::net::radsec::{Credentials, Dialer, Limits, Peer, SECRET};
use crate::radius::{Code, PacketBuilder};
use crate::store;

/// Where the agent listens when nobody can say what its configuration is.
const AGENT_SOCKET: &str = "/run/radhold/agent.sock";

/// One where the kernel gives helpers to flows by itself.
const ASSIGNS_HELPERS: &str = "/proc/sys/net/netfilter/nf_conntrack_helper";

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two packets and three seconds for a server.
const STATUS_TIMERS: Timers =
    Timers { irt: Duration::from_secs(1), mrc: 2, mrt: Duration::from_secs(2), mrd: Duration::from_secs(3) };

pub(super) async fn nas(config: Option<&Config>) -> nas::Running {
    let socket = config.map_or(Path::new(AGENT_SOCKET), |config| &config.agent.socket);
    let mut seen = nas::Running {
        ruleset: output("nft", &["list", "ruleset"]).await,
        clock_synchronized: clock_synchronized().await,
        modules: std::fs::read_to_string("/proc/modules").unwrap_or_default(),
        assigns_helpers: std::fs::read_to_string(ASSIGNS_HELPERS).is_ok_and(|word| word.trim() == "1"),
        ..nas::Running::default()
    };
    for tool in nas::TOOLS {
        if !is_installed(tool) {
            seen.missing_tools.push(tool);
        }
    }
    let mut fronts = (Vec::new(), Vec::new());
    match agent(socket).await {
        Ok(said) => {
            seen.agent = Some(Ok(socket.display().to_string()));
            (seen.clocks, fronts) = (said.clocks, (said.front_ports, said.front_servers));
        }
        Err(problem) => seen.agent = Some(Err(problem)),
    }
    let Some(front) = config.and_then(|config| config.front.as_ref()) else { return seen };
    // That somebody has a port says nothing of whose it is: the agent knows which are its front's.
    for address in front.auth.iter().chain(&front.accounting) {
        seen.front_ports.push((format!("UDP {address}"), fronts.0.contains(address)));
    }
    for server in &front.servers {
        if server.radsec.is_some() {
            seen.servers.push(status_over_tls(front, server).await);
            continue;
        }
        for address in [server.auth, server.accounting] {
            if matches!(seen.agent, Some(Ok(_))) && !fronts.1.contains(&address) {
                seen.not_asked.push(format!("server {} ({address})", server.name));
            }
            seen.servers.push(status(server, address).await);
        }
    }
    seen
}

pub(super) async fn server(config: &Config) -> server::Running {
    let (store, stored) = store_state(config).await;
    let mut ports = Vec::new();
    for &address in config.server.auth.iter().chain(&config.server.accounting) {
        ports.push((address, port(address).await));
    }
    server::Running {
        store_address: config.store.url.to_string(),
        store,
        room: room(&config.state_dir).await,
        ports,
        nases: stored.map(|stored| stored + config.nas.len()),
        clock_synchronized: clock_synchronized().await,
        telegram: match &config.telegram {
            Some(telegram) => {
                // Through a proxy, what this host must reach is the proxy.
                let proxy = telegram.proxy.as_ref().map(|proxy| String::from_utf8_lossy(proxy.expose()).into_owned());
                let proxy = proxy.and_then(|proxy| url::Url::parse(proxy.trim()).ok());
                Some(reach(proxy.as_ref().unwrap_or(&telegram.api_url)).await)
            }
            None => None,
        },
    }
}

/// What a command prints; `None` when it is not there, fails, or takes too long.
async fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the agent says of itself.
struct AgentSaid {
    /// The clocks of those who ordered something.
    clocks: Vec<(String, i64)>,
    /// Where its front listens.
    front_ports: Vec<SocketAddr>,
    /// Whom its front asks.
    front_servers: Vec<SocketAddr>,
}

/// Where programs of the system are, whatever PATH the operator has.
fn is_installed(tool: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|place| Path::new(place).join(tool).exists())
}

async fn agent(socket: &Path) -> Result<AgentSaid, String> {
    let (path, shown) = (socket.to_owned(), socket.display());
    let asked = tokio::task::spawn_blocking(move || agent::ask(&path, &Request::Status, PATIENCE)).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(format!("{shown}: {error}")),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    let peers = answer["peers"].as_array().into_iter().flatten();
    let clocks =
        peers.filter_map(|peer| Some((peer["name"].as_str()?.to_owned(), peer["clock_skew_seconds"].as_i64()?)));
    let addresses = |key: &str| {
        let listed = answer["front"][key].as_array().into_iter().flatten();
        listed.filter_map(|address| address.as_str()?.parse().ok()).collect()
    };
    Ok(AgentSaid { clocks: clocks.collect(), front_ports: addresses("ports"), front_servers: addresses("servers") })
}

async fn clock_synchronized() -> Option<bool> {
    let said = output("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await?;
    match said.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Status-Server (RFC 5997).
async fn status(server: &FrontServer, address: SocketAddr) -> Asked {
    let mut asked = Asked { server: format!("server {} ({address})", server.name), answered: false, forged: false };
    let mut builder = PacketBuilder::request(Code::StatusServer, chance::octets::<1>()[0], chance::octets());
    let Ok(request) = builder.sign_request(server.secret.expose()) else { return asked };
    let demand = Demand { timers: STATUS_TIMERS, message_authenticator: false };
    let Ok(mut client) = Client::connect(address, None, server.secret.clone()).await else { return asked };
    let chance = || u32::from_be_bytes(chance::octets());
    let Ok(exchange) = client.exchange(request, &demand, chance).await else { return asked };
    asked.forged = exchange.ignored.unverified() > 0;
    asked.answered = exchange.reply.is_some();
    asked
}

/// Status-Server over TLS (RFC 6614), with the certificate the front shows.
async fn status_over_tls(front: &Front, server: &FrontServer) -> Asked {
    let mut asked = Asked { server: format!("server {}", server.name), answered: false, forged: false };
    let (Some(radsec), Some(files)) = (&server.radsec, &front.tls) else { return asked };
    asked.server = format!("server {} (radsec://{}:{})", server.name, radsec.host, radsec.port);
    let credentials = match Credentials::load(files, Arc::new(|_| false)) {
        Ok(credentials) => Arc::new(credentials),
        Err(error) => {
            asked.server = format!("{}: {error}", asked.server);
            return asked;
        }
    };
    let peer = Peer { host: radsec.host.clone(), port: radsec.port, ids: radsec.ids.clone() };
    let limits = Limits::new(PATIENCE, PATIENCE);
    let dialer = Dialer::new(peer, credentials, limits, Arc::new(|_, _| ()), clock::now);
    match dialer.link().await {
        Ok(link) => {
            let authenticator = chance::octets();
            let write = |identifier| {
                let mut builder = PacketBuilder::request(Code::StatusServer, identifier, authenticator);
                builder.sign_request(SECRET.as_bytes()).ok().map(<[u8]>::to_vec)
            };
            asked.answered = matches!(link.ask(PATIENCE, write).await, Ok(Some(_)));
        }
        Err(error) => asked.server = format!("{}: {}", asked.server, error.problem),
    }
    asked
}

/// How the store is, and how many NASes it knows.
async fn store_state(config: &Config) -> (StoreState, Option<usize>) {
    let url = config.store.url.expose();
    // Opening an SQLite file that is not there would make it.
    if let Some(path) = url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"))
        && path != ":memory:"
        && !Path::new(path).exists()
    {
        return (StoreState::NotMade, Some(0));
    }
    let look = async {
        let store = store::open(url).await.map_err(|error| StoreState::Away(error.to_string()))?;
        store.ping().await.map_err(|error| StoreState::Away(error.to_string()))?;
        let nases = store.nases().await.map_err(|error| StoreState::NotMigrated(error.to_string()))?;
        Ok(nases.len())
    };
    match timeout(PATIENCE, look).await {
        Ok(Ok(nases)) => (StoreState::Ready, Some(nases)),
        Ok(Err(state)) => (state, None),
        Err(_) => (StoreState::Away("it takes too long".to_owned()), None),
    }
}

/// The free octets where the state is kept, or will be.
async fn room(state_dir: &Path) -> Option<(String, u64)> {
    let place = state_dir.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let shown = if place.as_os_str().is_empty() { ".".to_owned() } else { place.display().to_string() };
    let table = output("df", &["-Pk", "--", &shown]).await?;
    let kibibytes: u64 = table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some((shown, kibibytes << 10))
}

async fn port(address: SocketAddr) -> Port {
    match UdpSocket::bind(address).await {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let filter = format!("sport = :{}", address.port());
            let listed = output("ss", &["-H", "-lunp", &filter]).await.unwrap_or_default();
            match holder(&listed, address) {
                Some("radhold") => Port::Ours,
                who => Port::Taken(who.unwrap_or("somebody").to_owned()),
            }
        }
        Err(error) => Port::Refused(error.to_string()),
    }
}

/// Who has an address, of those `ss -H -lunp` lists with its port: another may have the same port of another address.
fn holder(listed: &str, address: SocketAddr) -> Option<&str> {
    let everywhere =
        [format!("0.0.0.0:{}", address.port()), format!("*:{}", address.port()), format!("[::]:{}", address.port())];
    let is_in_the_way = |local: &str| {
        address.ip().is_unspecified() || local == address.to_string() || everywhere.iter().any(|every| every == local)
    };
    let line = listed.lines().find(|line| line.split_whitespace().nth(3).is_some_and(is_in_the_way))?;
    line.split('"').nth(1)
}

/// Whether a connection to the Bot API can be made; its token is not tried.
async fn reach(url: &url::Url) -> Result<String, String> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let usual = if url.scheme().starts_with("socks") { 1080 } else { 443 };
    let port = url.port_or_known_default().unwrap_or(usual);
    let host = host.trim_matches(['[', ']']).to_owned();
    match timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Ok(format!("{host}:{port}")),
        Ok(Err(error)) => Err(format!("{host}:{port}: {error}")),
        Err(_) => Err(format!("{host}:{port}: it takes too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_port_of_another_address_is_not_in_the_way() {
        let listed = "UNCONN 0 0 127.0.0.2:1812 0.0.0.0:* users:((\"radhold\",pid=7,fd=9))\n\
                      UNCONN 0 0 127.0.0.1:1812 0.0.0.0:* users:((\"freeradius\",pid=8,fd=9))\n";
        let of = |listed, address: &str| holder(listed, address.parse().unwrap());
        assert_eq!(of(listed, "127.0.0.1:1812"), Some("freeradius"));
        assert_eq!(of(listed, "127.0.0.2:1812"), Some("radhold"));
        assert_eq!(of(listed, "127.0.0.3:1812"), None);
        assert_eq!(of(listed, "0.0.0.0:1812"), Some("radhold"), "any is in the way of all");
        let every = "UNCONN 0 0 *:1812 *:* users:((\"radiusd\",pid=7,fd=9))\n";
        assert_eq!(of(every, "127.0.0.1:1812"), Some("radiusd"));
    }
}
