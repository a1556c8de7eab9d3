//! Forgets the flows of an address by `conntrack -D`, so that nothing begun before goes on and no address translation is
//! inherited. The rules cut a flow even where this fails: see `rules`.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// Forgets every flow from and to an address.
///
/// # Errors
/// When conntrack cannot be run. That there was no flow is no error.
pub(in crate::agent) async fn cut_flows(address: Ipv4Addr) -> io::Result<()> {
    cut(address.into()).await
}

/// Forgets every flow of a station, at the addresses its MAC address is known to have now.
///
/// # Errors
/// When ip or conntrack cannot be run, or ip prints no JSON.
pub(in crate::agent) async fn cut_station(mac: &str) -> io::Result<()> {
    let listed = Command::new("ip").args(["-j", "neigh", "show"]).stdin(Stdio::null()).output().await?;
    let neighbours: Vec<Value> = serde_json::from_slice(&listed.stdout)?;
    for neighbour in neighbours.iter().filter(|neighbour| neighbour["lladdr"] == mac) {
        if let Some(address) = neighbour["dst"].as_str().and_then(|address| address.parse().ok()) {
            cut(address).await?;
        }
    }
    Ok(())
}

/// Each run walks the kernel's whole table: thousands of sessions that are found at once must not mean as many processes.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

async fn cut(address: IpAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let address = address.to_string();
    let _turn = AT_ONCE.acquire().await.map_err(io::Error::other)?;
    // From it, to it, and to it behind a translation.
    for side in ["--orig-src", "--orig-dst", "--reply-src"] {
        let mut conntrack = Command::new("conntrack");
        conntrack.args(["-D", "-f", family, side, &address]);
        conntrack.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        conntrack.status().await?;
    }
    Ok(())
}
