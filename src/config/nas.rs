//! `[nas.NAME]`: the NASes of the file, and whether they can be told apart and heard.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::hold::{Configured, approvers, filters_differ};
use super::reader::{Report, Section};
use super::values::{nas_name, network, nowhere, octet_direction, source};
use super::{Hold, Server, bans, codes, guards};
use crate::model::{CertificateId, DynauthPath, Nas, NasName, PreviousSecret, Secret};

pub(super) fn nas(report: &Report<'_>, mut section: Section<'_>, hold: &Hold, configured: Configured) -> Option<Nas> {
    let name = section.name().to_owned();
    if let Err(message) = nas_name(&name) {
        section.problem("address", message);
    }
    let radsec = section.list("radsec", "a name in its certificate", |text| {
        text.parse::<CertificateId>().map_err(|error| error.to_string())
    });
    let radsec = radsec.unwrap_or_default();
    let radsec_only = section.boolean("radsec_only").unwrap_or(false);
    if radsec_only && radsec.is_empty() {
        section.problem("radsec_only", "says that it comes by TLS alone, but radsec names nothing in its certificate");
    }
    for (key, other) in [("address", "address"), ("secret", "secret_file")] {
        if !radsec_only && !section.has(key) && !section.has(other) {
            let or = if key == other { String::new() } else { format!(" (or {other})") };
            section.problem(key, format!("is missing; a NAS needs it{or}"));
        }
    }
    let network = section.parsed("address", "an address or network", network);
    let network = network.or(radsec_only.then(nowhere));
    let secret = section.secret("secret");
    if let Some(weakness) = secret.as_ref().and_then(Secret::weakness) {
        report.warn(format!("nas.{name}: the secret {weakness}"));
    }
    // Over TLS the secret is a constant (RFC 6614 §2.3), and there is nothing else to use one for.
    let secret = secret.or(radsec_only.then(|| Secret::new("radsec")));
    let previous_secret = section.secret("previous_secret").map(|secret| PreviousSecret { secret, until: None });
    if previous_secret.is_some() {
        report.warn(format!("nas.{name}: previous_secret counts until you take it out"));
    }
    let nas_identifier = section.text("nas_identifier");
    let dynauth = section.parsed("dynauth", "auto, udp, radsec or tls", str::parse::<DynauthPath>);
    if dynauth == Some(DynauthPath::Radsec) && radsec.is_empty() {
        section.problem("dynauth", "is radsec, but radsec names nothing in its certificate");
    }
    let direction = section.parsed("octet_direction", "standard or swapped", octet_direction);
    let dialect = section.text("dialect").unwrap_or_else(|| "standard".to_owned());
    let require_message_authenticator = section.boolean("require_message_authenticator").unwrap_or(true);
    let limit_proxy_state = section.boolean("limit_proxy_state").unwrap_or(false);
    let allow_ms_chap_v1 = section.boolean("allow_ms_chap_v1").unwrap_or(false);
    let coa_address =
        section.parsed("coa_address", "an address", |text| text.parse::<IpAddr>().map_err(|error| error.to_string()));
    let coa_port = section.number("coa_port", 1);
    let coa_source = section.parsed("coa_source", "an address, with or without port", source);
    let reject_delay = section.duration("reject_delay");
    let max_requests_per_second = section.number("max_requests_per_second", 1);
    let octet_wrap = section.boolean("octet_wrap").unwrap_or(false);
    let unique_ports = section.boolean("unique_ports");
    let sandbox_filter = section.text("sandbox_filter");
    let permit_filter = section.text("permit_filter");
    let approvers = approvers(&mut section, configured).unwrap_or_default();
    let when_unreachable = section.parsed("when_unreachable", "end or hold", str::parse);
    let guards = guards::settings(&mut section);
    let callers = bans::lists(&mut section, "allow_callers", "deny_callers");
    let codes = codes::entry(&mut section);
    let sandbox = sandbox_filter.as_ref().unwrap_or(&hold.defaults.sandbox_filter);
    let permit = permit_filter.as_ref().unwrap_or(&hold.defaults.permit_filter);
    if let Err(message) = filters_differ(sandbox, permit) {
        section.problem("permit_filter", message);
    }
    section.finish();
    Some(Nas {
        name: NasName::new(name),
        network: network?,
        secret: secret?,
        dialect,
        require_message_authenticator,
        limit_proxy_state,
        allow_ms_chap_v1,
        coa_address,
        coa_port,
        coa_source,
        reject_delay,
        max_requests_per_second,
        octet_direction: direction.unwrap_or_default(),
        octet_wrap,
        unique_ports,
        sandbox_filter,
        permit_filter,
        approvers,
        when_unreachable,
        guards,
        callers,
        nas_identifier,
        radsec,
        radsec_only,
        dynauth: dynauth.unwrap_or_default(),
        previous_secret,
        codes,
    })
}

/// Two NASes on one network, or by one certificate, could not be told apart; and who listens on loopback alone hears no other host.
pub(super) fn judge_listeners(report: &Report<'_>, server: &Server, nases: &[Nas], has_radsec: bool) {
    for nas in nases.iter().filter(|nas| !has_radsec && (!nas.radsec.is_empty() || nas.dynauth == DynauthPath::Tls)) {
        let section = report.top().section("nas").section(nas.name.as_str());
        section.problem(
            "radsec",
            "is for RADIUS over TLS, which needs a [radsec] section with certificate, key and client_ca",
        );
    }
    let mut ids: BTreeMap<&CertificateId, &NasName> = BTreeMap::new();
    for nas in nases {
        for id in &nas.radsec {
            if let Some(other) = ids.insert(id, &nas.name).filter(|other| **other != nas.name) {
                let section = report.top().section("nas").section(nas.name.as_str());
                section.problem("radsec", format!("names {id}, as nas.{other} does; each certificate is one NAS's"));
            }
        }
    }
    let mut seen: BTreeMap<(IpNet, Option<&str>), &NasName> = BTreeMap::new();
    let datagrams = || nases.iter().filter(|nas| !nas.radsec_only);
    for nas in datagrams() {
        if let Some(other) = seen.insert((nas.network, nas.nas_identifier.as_deref()), &nas.name) {
            let section = report.top().section("nas").section(nas.name.as_str());
            section.problem("address", format!("is the address of nas.{other} too; they could not be told apart unless each has its own nas_identifier"));
        }
    }
    let deaf = server.auth.iter().all(|address| address.ip().is_loopback());
    for nas in datagrams().filter(|nas| deaf && !nas.network.addr().is_loopback()) {
        report.warn(format!(
            "nas.{} is at {}, but server.auth listens on loopback only; add \"0.0.0.0:1812\" or \"[::]:1812\"",
            nas.name, nas.network
        ));
    }
}
