//! Captive networks in the table: sets of MAC addresses that the kernel empties by time, and the chains that ask them.
//!
//! Towards a station only what belongs to a flow it began passes: its MAC address is not known yet where packets are forwarded.
//! So whoever takes a station out must have its flows forgotten too.

use serde_json::{Value, json};

use super::rules::{RuleSettings, accept, equals, http_to_portal, jump, meta, names, payload, permitted, rule, set};

/// The set of MAC addresses that a permit set's name stands for.
pub(super) fn mac(set: &str) -> String {
    format!("{set}_mac")
}

pub(super) fn station_sets(settings: &RuleSettings) -> Vec<Value> {
    let permits = settings.permits.iter().filter(|_| !settings.captive.is_empty());
    permits.map(|(permit, _)| set(&mac(permit), json!("ether_addr"), &["timeout"], vec![])).collect()
}

/// Rules for chains there are already: `input`, `forward`, `from_station`, `to_station`.
pub(super) fn station_rules(settings: &RuleSettings) -> Vec<Value> {
    if settings.captive.is_empty() {
        return Vec::new();
    }
    let stations = |key: &str| equals(meta(key), names(&settings.captive));
    // Unlike a PPP peer, a station has no address before it asks (RFC 2131 §4.1).
    let dhcp = equals(payload("udp", "dport"), json!(67));
    let mut rules = vec![
        rule("input", vec![stations("iifname"), equals(meta("nfproto"), json!("ipv4")), dhcp, accept()]),
        rule("input", vec![stations("iifname"), jump("from_station")]),
        rule("forward", vec![stations("iifname"), jump("from_station")]),
        rule("forward", vec![stations("oifname"), jump("to_station")]),
    ];
    for (permit, mark) in &settings.permits {
        rules.push(rule("from_station", permitted(vec![is_in(permit)], *mark)));
    }
    rules.push(rule("from_station", vec![jump("sandbox")]));
    let flows = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}});
    rules.push(rule("to_station", vec![flows, json!({"return": null})]));
    rules.push(rule("to_station", vec![jump("reject")]));
    rules
}

/// Rules for chain `redirect`, which is there when there is a portal.
pub(super) fn station_redirect(settings: &RuleSettings) -> Vec<Value> {
    let Some(portal) = settings.portal.filter(|_| !settings.captive.is_empty()) else { return Vec::new() };
    let stations = || equals(meta("iifname"), names(&settings.captive));
    let mut rules = Vec::new();
    for (permit, _) in &settings.permits {
        rules.push(rule("redirect", vec![stations(), is_in(permit), json!({"return": null})]));
    }
    rules.push(http_to_portal(stations(), portal));
    rules
}

fn is_in(permit: &str) -> Value {
    equals(payload("ether", "saddr"), json!(format!("@{}", mac(permit))))
}
