//! Routes of sessions by `ip`, one argument vector each, marked by a protocol number of our own. Replaces no route of anybody
//! else and deletes none. Knows no session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::tool::{ToolError, run};

/// The `proto` of our routes: a number that no routing daemon registered in iproute2's rt_protos has.
const PROTOCOL: &str = "114";
/// Of every protocol: what the kernel made itself and what an operator wrote.
const ALL: &str = "all";

/// A route over an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Over {
    /// Where to.
    pub(super) to: IpNet,
    /// The interface.
    pub(super) interface: String,
}

/// Adds a route, or moves it to this interface from another of ours.
///
/// # Errors
/// [`ToolError`]; among others when somebody else's route to there exists, or the interface is not up yet.
pub(super) async fn add(route: &Over) -> Result<(), ToolError> {
    let to = route.to.to_string();
    let there = list(&["show", "exact", &to, "proto", ALL], route.to.addr().is_ipv4()).await?;
    let foreign = |one: &&Value| one["protocol"].as_str() != Some(PROTOCOL);
    if let Some(theirs) = there.iter().find(foreign) {
        let by = theirs["dev"].as_str().unwrap_or("another way");
        return Err(ToolError::Refused("ip", format!("{to} is routed by {by} already, and not by us")));
    }
    let family = family(route.to.addr().is_ipv4());
    run("ip", &[family, "route", "replace", &to, "dev", &route.interface, "proto", PROTOCOL], "").await.map(drop)
}

/// Deletes a route of ours. That it is not there, or went with its interface, is no error.
///
/// # Errors
/// [`ToolError`] when ip cannot be run at all.
pub(super) async fn delete(route: &Over) -> Result<(), ToolError> {
    let (to, family) = (route.to.to_string(), family(route.to.addr().is_ipv4()));
    match run("ip", &[family, "route", "del", &to, "dev", &route.interface, "proto", PROTOCOL], "").await {
        Ok(_) | Err(ToolError::Refused(..)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// All routes of ours.
///
/// # Errors
/// [`ToolError`].
pub(super) async fn ours() -> Result<BTreeSet<Over>, ToolError> {
    let mut found = BTreeSet::new();
    for v4 in [true, false] {
        for route in list(&["show", "proto", PROTOCOL], v4).await? {
            let (Some(to), Some(interface)) = (route["dst"].as_str(), route["dev"].as_str()) else { continue };
            // ip prints a host's route without a length.
            let to = to.parse().or_else(|_| to.parse::<IpAddr>().map(IpNet::from));
            found.extend(to.ok().map(|to| Over { to, interface: interface.to_owned() }));
        }
    }
    Ok(found)
}

/// The IPv4 address at the other end of each interface that has one.
///
/// # Errors
/// [`ToolError`].
pub(in crate::agent) async fn peers() -> Result<BTreeMap<String, Ipv4Addr>, ToolError> {
    let interfaces = ask(&[family(true), "-j", "address", "show"]).await?;
    let peer = |interface: &Value| {
        let addresses = interface["addr_info"].as_array()?;
        // Of one without another end it is the "local" alone.
        let address = addresses.iter().find_map(|address| address["address"].as_str()?.parse().ok())?;
        Some((interface["ifname"].as_str()?.to_owned(), address))
    };
    Ok(interfaces.iter().filter_map(peer).collect())
}

async fn list(what: &[&str], v4: bool) -> Result<Vec<Value>, ToolError> {
    ask(&[&[family(v4), "-j", "route"], what].concat()).await
}

async fn ask(arguments: &[&str]) -> Result<Vec<Value>, ToolError> {
    let said = run("ip", arguments, "").await?;
    // Nothing at all: an empty list, or nothing.
    if said.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&said).map_err(|error| ToolError::Refused("ip", format!("to print JSON: {error}")))
}

const fn family(v4: bool) -> &'static str {
    if v4 { "-4" } else { "-6" }
}
