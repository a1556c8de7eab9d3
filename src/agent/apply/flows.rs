//! Forgets the flows of an address by `conntrack -D`, so that nothing begun before goes on and no address translation is
//! inherited. The rules cut a flow even where this fails: see `rules`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Stdio;

use ipnet::{IpNet, Ipv6Net};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::tool::PATIENCE;

/// The kernel's IPv6 routes.
const ROUTES: &str = "/proc/net/ipv6_route";
/// Of a route: the address is this host's own.
const RTF_LOCAL: u32 = 0x8000_0000;

/// Which flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Flows {
    /// Every one.
    All,
    /// Those whose destination is translated, as the sandbox does towards the portal: who is let through must not stay there with
    /// connections that are kept alive.
    Redirected,
}

/// Forgets flows from and to these addresses and networks, and those routed to an interface by IPv6 now: a peer chooses its
/// addresses itself there (RFC 4862), so only its network is known.
///
/// # Errors
/// When conntrack cannot be run, or does not end in time. That there was no flow is no error.
pub(in crate::agent) async fn cut_flows(interface: &str, mut networks: Vec<IpNet>, which: Flows) -> io::Result<()> {
    let routes = tokio::fs::read_to_string(ROUTES).await.unwrap_or_default();
    networks.extend(routed_to(interface, &routes));
    networks.sort_unstable();
    networks.dedup();
    for network in networks {
        cut(network, which).await?;
    }
    Ok(())
}

/// The IPv6 networks behind an interface; none when it is gone, or there is no IPv6 here.
fn routed_to(interface: &str, routes: &str) -> Vec<IpNet> {
    let networks = routes.lines().filter_map(|line| {
        // Destination, its length, source, its length, next hop, metric, two counts, flags, interface; all but the last in hex.
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[destination, length, .., flags, of] = words.as_slice() else { return None };
        let is_local = u32::from_str_radix(flags, 16).ok()? & RTF_LOCAL != 0;
        let address = Ipv6Addr::from(u128::from_str_radix(destination, 16).ok()?);
        let length = u8::from_str_radix(length, 16).ok()?;
        // The way out, and what is the same on every link, are nobody's.
        let shared = length == 0 || address.is_unicast_link_local() || address.is_multicast();
        (of == interface && !is_local && !shared).then(|| Ipv6Net::new(address, length).ok()).flatten()
    });
    networks.map(IpNet::from).collect()
}

/// Forgets flows of a station, at the addresses its MAC address is known to have now.
///
/// # Errors
/// When ip or conntrack cannot be run or does not end in time, or ip prints no JSON.
pub(in crate::agent) async fn cut_station(mac: &str, which: Flows) -> io::Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["-j", "neigh", "show"]).stdin(Stdio::null()).kill_on_drop(true);
    let listed = timeout(PATIENCE, ip.output()).await??;
    let neighbours: Vec<Value> = serde_json::from_slice(&listed.stdout)?;
    for neighbour in neighbours.iter().filter(|neighbour| neighbour["lladdr"] == mac) {
        if let Some(address) = neighbour["dst"].as_str().and_then(|address| address.parse::<IpAddr>().ok()) {
            cut(address.into(), which).await?;
        }
    }
    Ok(())
}

/// Each run walks the kernel's whole table: thousands of sessions that are found at once must not mean as many processes.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

async fn cut(network: IpNet, which: Flows) -> io::Result<()> {
    let family = if network.addr().is_ipv4() { "ipv4" } else { "ipv6" };
    let network = network.to_string();
    let _turn = AT_ONCE.acquire().await.map_err(io::Error::other)?;
    // From it, and whatever it answers: what was for it without translation, and what was by one.
    let sides: &[&[&str]] = match which {
        Flows::All => &[&["--orig-src"], &["--reply-src"]],
        Flows::Redirected => &[&["--dst-nat", "--orig-src"]],
    };
    for side in sides {
        let mut conntrack = Command::new("conntrack");
        conntrack.args(["-D", "-f", family]).args(*side).arg(&network);
        conntrack.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        timeout(PATIENCE, conntrack.status()).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kernel shows it: a network and our address on ppp0, the way out, what is of every link, and another's.
    #[test]
    fn what_is_routed_to_an_interface_is_read() {
        let none = "00000000000000000000000000000000";
        let line = |to: &str, length: &str, flags: &str, of: &str| {
            format!("{to} {length} {none} 00 {none} 00000100 00000001 00000000 {flags} {of:>8}\n")
        };
        let routes = [
            line("fd000093005000000000000000000000", "40", "00000001", "ppp0"),
            line("fd000093005000000000000000000001", "80", "80200001", "ppp0"),
            line(none, "00", "00000003", "ppp0"),
            line("fe800000000000000000000000000000", "40", "00000001", "ppp0"),
            line("ff000000000000000000000000000000", "08", "00000001", "ppp0"),
            line("20010db8000100000000000000000000", "38", "00000003", "ppp0"),
            line("20010db8000200000000000000000000", "38", "00000003", "ppp1"),
            "odd\n".to_owned(),
        ];
        let expected: Vec<IpNet> = ["fd00:93:50::/64", "2001:db8:1::/56"].map(|net| net.parse().unwrap()).into();
        assert_eq!(routed_to("ppp0", &routes.concat()), expected);
    }
}
