//! The table `inet radhold` as commands for `nft -j`: who is in the sandbox, what the sandbox reaches, and who is banned.
//!
//! The shape that matters: a packet from or to one of our interfaces passes only when interface and address are in a permit
//! set. No rule accepts an established flow for its own sake, so a session that leaves its set is cut in the middle of its
//! flows. What returns from our chains goes on to the operator's own tables, which are not touched.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::stations::{station_redirect, station_rules, station_sets};
use crate::config::Agent;

/// The family and name of our one table.
pub(super) const FAMILY: &str = "inet";
/// See [`FAMILY`].
pub(super) const TABLE: &str = "radhold";

/// Before the usual `filter` (0) and `dstnat` (-100) of others.
const FILTER_PRIORITY: i32 = -10;
const REDIRECT_PRIORITY: i32 = -110;

/// What the rules are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSettings {
    /// Interface names, `*` at the end for anything.
    pub interfaces: Vec<String>,
    /// The same for captive networks, where a MAC address is asked for. None: there are no such networks.
    pub captive: Vec<String>,
    /// Where the sandbox may ask for names.
    pub resolvers: Vec<IpAddr>,
    /// Where the sandbox's HTTP goes.
    pub portal: Option<SocketAddr>,
    /// Permit sets and their marks.
    pub permits: Vec<(String, Option<u32>)>,
    /// TCP ports of outer protocols.
    pub ban_tcp: Vec<u16>,
    /// UDP ports of outer protocols.
    pub ban_udp: Vec<u16>,
}

impl From<&Agent> for RuleSettings {
    fn from(agent: &Agent) -> Self {
        Self {
            interfaces: agent.interfaces.clone(),
            captive: agent.captive.as_ref().map_or_else(Vec::new, |captive| captive.interfaces.clone()),
            resolvers: agent.resolvers.clone(),
            portal: agent.portal,
            permits: agent.filters.iter().map(|filter| (filter.set.clone(), filter.mark)).collect(),
            ban_tcp: agent.ban_tcp.clone(),
            ban_udp: agent.ban_udp.clone(),
        }
    }
}

/// The whole table, in place of one there may be, as one transaction; `elements` are added in the same transaction.
pub fn ruleset(settings: &RuleSettings, elements: &[Value]) -> Value {
    // Adding first makes deleting succeed whether or not it was there.
    let mut commands = vec![table("add"), table("delete"), table("add")];
    commands.extend(sets(settings));
    commands.extend(station_sets(settings));
    for (chain, hook, priority) in [
        ("outer", "input", FILTER_PRIORITY - 1),
        ("input", "input", FILTER_PRIORITY),
        ("forward", "forward", FILTER_PRIORITY),
    ] {
        commands.push(base_chain(chain, "filter", hook, priority));
    }
    let of_stations = ["from_station", "to_station"].into_iter().filter(|_| !settings.captive.is_empty());
    for chain in ["from_peer", "to_peer", "sandbox", "reject"].into_iter().chain(of_stations) {
        commands.push(json!({"add": {"chain": {"family": FAMILY, "table": TABLE, "name": chain}}}));
    }
    commands.extend(bans(settings));
    let ours = || interfaces("iifname", settings);
    commands.push(rule("input", vec![ours(), jump("from_peer")]));
    commands.push(rule("forward", vec![ours(), jump("from_peer")]));
    commands.push(rule("forward", vec![interfaces("oifname", settings), jump("to_peer")]));
    commands.extend(station_rules(settings));
    commands.extend(from_peer(settings));
    commands.extend(to_peer(settings));
    commands.extend(sandbox(settings));
    commands.push(rule("reject", vec![equals(meta("l4proto"), json!("tcp")), reject("tcp reset", None)]));
    commands.push(rule("reject", vec![reject("icmpx", Some("admin-prohibited"))]));
    commands.extend(redirect(settings));
    commands.extend(station_redirect(settings));
    commands.extend_from_slice(elements);
    json!({"nftables": commands})
}

/// Adds or deletes an element of a set.
pub(super) fn element(verb: &str, set: &str, element: Value) -> Value {
    json!({verb: {"element": {"family": FAMILY, "table": TABLE, "name": set, "elem": [element]}}})
}

/// The set of interface and IPv4 address that a permit set's name stands for.
pub(super) fn v4(set: &str) -> String {
    format!("{set}_v4")
}

/// The set of interfaces and the IPv4 networks behind their peers. Beside [`v4`], as prefixes cost more to look up and to change.
pub(super) fn routed(set: &str) -> String {
    format!("{set}_routed")
}

/// The set of interfaces whose IPv6 passes. By interface alone: a peer chooses its addresses itself (RFC 4862).
pub(super) fn v6(set: &str) -> String {
    format!("{set}_v6")
}

fn sets(settings: &RuleSettings) -> Vec<Value> {
    let mut sets = Vec::new();
    for (permit, _) in &settings.permits {
        sets.push(set(&v4(permit), json!(["ifname", "ipv4_addr"]), &[], vec![]));
        sets.push(set(&routed(permit), json!(["ifname", "ipv4_addr"]), &["interval"], vec![]));
        sets.push(set(&v6(permit), json!("ifname"), &[], vec![]));
    }
    let of_family = |want_v4: bool| {
        let resolvers = settings.resolvers.iter().filter(move |address| address.is_ipv4() == want_v4);
        resolvers.map(|address| json!(address.to_string())).collect()
    };
    sets.push(set("resolvers_v4", json!("ipv4_addr"), &[], of_family(true)));
    sets.push(set("resolvers_v6", json!("ipv6_addr"), &[], of_family(false)));
    sets.push(set("banned_v4", json!("ipv4_addr"), &["interval", "timeout"], vec![]));
    sets.push(set("banned_v6", json!("ipv6_addr"), &["interval", "timeout"], vec![]));
    sets
}

/// What a banned address gets of the outer protocols. It has the daemons' ports closed and may still be told so.
fn bans(settings: &RuleSettings) -> Vec<Value> {
    let mut rules = Vec::new();
    for (protocol, banned) in [("ip", "@banned_v4"), ("ip6", "@banned_v6")] {
        let from = || equals(payload(protocol, "saddr"), json!(banned));
        if !settings.ban_tcp.is_empty() {
            let ports = equals(payload("tcp", "dport"), json!({"set": settings.ban_tcp}));
            rules.push(rule("outer", vec![from(), ports, reject("tcp reset", None)]));
        }
        if !settings.ban_udp.is_empty() {
            let ports = equals(payload("udp", "dport"), json!({"set": settings.ban_udp}));
            rules.push(rule("outer", vec![from(), ports, json!({"drop": null})]));
        }
        for transport in ["gre", "esp"] {
            let carried = equals(meta("l4proto"), json!(transport));
            rules.push(rule("outer", vec![from(), carried, json!({"drop": null})]));
        }
    }
    rules
}

/// The permitted go on; everybody else to the sandbox.
fn from_peer(settings: &RuleSettings) -> Vec<Value> {
    let mut rules = Vec::new();
    for (permit, mark) in &settings.permits {
        for set in [v4(permit), routed(permit)] {
            rules.push(rule("from_peer", permitted(vec![on("iifname", "saddr", &set)], *mark)));
        }
        // An interface's permit is not for addresses of others: the way back to it must be this interface (RFC 3704 §2.2).
        let mut own_source = on_v6("iifname", permit);
        own_source.push(equals(json!({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}), json!(true)));
        rules.push(rule("from_peer", permitted(own_source, *mark)));
    }
    rules.push(rule("from_peer", vec![jump("sandbox")]));
    rules
}

fn to_peer(settings: &RuleSettings) -> Vec<Value> {
    let mut rules = Vec::new();
    for (permit, mark) in &settings.permits {
        for set in [v4(permit), routed(permit)] {
            rules.push(rule("to_peer", permitted(vec![on("oifname", "daddr", &set)], *mark)));
        }
        rules.push(rule("to_peer", permitted(on_v6("oifname", permit), *mark)));
    }
    // Answers to what the sandbox may ask, and to nothing else.
    let answer = || json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "established"}});
    for (protocol, set) in [("ip", "@resolvers_v4"), ("ip6", "@resolvers_v6")] {
        let from = equals(payload(protocol, "saddr"), json!(set));
        let mut accept = vec![answer(), from];
        accept.extend(dns("sport"));
        rules.push(rule("to_peer", accept));
    }
    if let Some(portal) = settings.portal {
        let from = equals(payload(family_of(portal), "saddr"), json!(portal.ip().to_string()));
        let port = equals(payload("tcp", "sport"), json!(portal.port()));
        rules.push(rule("to_peer", vec![answer(), from, port, accept()]));
    }
    rules.push(rule("to_peer", vec![jump("reject")]));
    rules
}

fn sandbox(settings: &RuleSettings) -> Vec<Value> {
    let mut rules = Vec::new();
    for (protocol, set) in [("ip", "@resolvers_v4"), ("ip6", "@resolvers_v6")] {
        let mut allow = vec![equals(payload(protocol, "daddr"), json!(set))];
        allow.extend(dns("dport"));
        rules.push(rule("sandbox", allow));
    }
    if let Some(portal) = settings.portal {
        let to = equals(payload(family_of(portal), "daddr"), json!(portal.ip().to_string()));
        let port = equals(payload("tcp", "dport"), json!(portal.port()));
        rules.push(rule("sandbox", vec![to, port, accept()]));
    }
    // Without these a peer gets no IPv6 address (RFC 4861, RFC 8415). They do not cross a router: hop limit, scope.
    let discovery = ["nd-router-solicit", "nd-neighbor-solicit", "nd-neighbor-advert"];
    let neighbours = equals(payload("icmpv6", "type"), json!({"set": discovery}));
    let on_link = equals(payload("ip6", "hoplimit"), json!(255));
    rules.push(rule("sandbox", vec![on_link, neighbours, accept()]));
    let relay = equals(payload("ip6", "daddr"), json!("ff02::1:2"));
    rules.push(rule("sandbox", vec![relay, equals(payload("udp", "dport"), json!(547)), accept()]));
    rules.push(rule("sandbox", vec![jump("reject")]));
    rules
}

/// HTTP of the sandbox goes to the portal, whatever it asked for.
fn redirect(settings: &RuleSettings) -> Vec<Value> {
    let Some(portal) = settings.portal else { return Vec::new() };
    let mut commands = vec![base_chain("redirect", "nat", "prerouting", REDIRECT_PRIORITY)];
    let ours = || interfaces("iifname", settings);
    for (permit, _) in &settings.permits {
        let go_on = || json!({"return": null});
        let mut of_v6 = vec![ours()];
        of_v6.extend(on_v6("iifname", permit));
        of_v6.push(go_on());
        for set in [v4(permit), routed(permit)] {
            commands.push(rule("redirect", vec![ours(), on("iifname", "saddr", &set), go_on()]));
        }
        commands.push(rule("redirect", of_v6));
    }
    commands.push(http_to_portal(ours(), portal));
    commands
}

pub(super) fn http_to_portal(from: Value, portal: SocketAddr) -> Value {
    let family = family_of(portal);
    let of_family = equals(meta("nfproto"), json!(if portal.is_ipv4() { "ipv4" } else { "ipv6" }));
    let http = equals(payload("tcp", "dport"), json!(80));
    let to = json!({"dnat": {"family": family, "addr": portal.ip().to_string(), "port": portal.port()}});
    rule("redirect", vec![from, of_family, http, to])
}

// -- expressions

fn table(verb: &str) -> Value {
    json!({verb: {"table": {"family": FAMILY, "name": TABLE}}})
}

pub(super) fn set(name: &str, kind: Value, flags: &[&str], elements: Vec<Value>) -> Value {
    let mut set = json!({"family": FAMILY, "table": TABLE, "name": name, "type": kind});
    if !flags.is_empty() {
        set["flags"] = json!(flags);
    }
    if !elements.is_empty() {
        set["elem"] = Value::Array(elements);
    }
    json!({"add": {"set": set}})
}

fn base_chain(name: &str, kind: &str, hook: &str, priority: i32) -> Value {
    json!({"add": {"chain": {
        "family": FAMILY, "table": TABLE, "name": name, "type": kind, "hook": hook, "prio": priority, "policy": "accept",
    }}})
}

pub(super) fn rule(chain: &str, expressions: Vec<Value>) -> Value {
    json!({"add": {"rule": {"family": FAMILY, "table": TABLE, "chain": chain, "expr": expressions}}})
}

pub(super) fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

pub(super) fn payload(protocol: &str, field: &str) -> Value {
    json!({"payload": {"protocol": protocol, "field": field}})
}

pub(super) fn equals(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn interfaces(key: &str, settings: &RuleSettings) -> Value {
    equals(meta(key), names(&settings.interfaces))
}

pub(super) fn names(interfaces: &[String]) -> Value {
    match interfaces {
        [one] => json!(one),
        several => json!({"set": several}),
    }
}

/// Interface and address together: nobody borrows a permitted address on another interface.
fn on(interface: &str, address: &str, set: &str) -> Value {
    equals(json!({"concat": [meta(interface), payload("ip", address)]}), json!(format!("@{set}")))
}

fn on_v6(interface: &str, permit: &str) -> Vec<Value> {
    vec![equals(meta("nfproto"), json!("ipv6")), equals(meta(interface), json!(format!("@{}", v6(permit))))]
}

pub(super) fn permitted(mut matches: Vec<Value>, mark: Option<u32>) -> Vec<Value> {
    matches.extend(mark.map(|mark| json!({"mangle": {"key": meta("mark"), "value": mark}})));
    matches.push(json!({"return": null}));
    matches
}

fn dns(port: &str) -> [Value; 3] {
    let transport = equals(meta("l4proto"), json!({"set": ["tcp", "udp"]}));
    [transport, equals(payload("th", port), json!(53)), accept()]
}

fn family_of(address: SocketAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

pub(super) fn accept() -> Value {
    json!({"accept": null})
}

pub(super) fn jump(chain: &str) -> Value {
    json!({"jump": {"target": chain}})
}

fn reject(kind: &str, with: Option<&str>) -> Value {
    match with {
        Some(with) => json!({"reject": {"type": kind, "expr": with}}),
        None => json!({"reject": {"type": kind}}),
    }
}
