//! `[agent.front]`: the RADIUS server on loopback that pppd asks, and the servers it asks itself. Knows no packet and no rule
//! of the agent's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Surroundings;
use super::radsec::{RADSEC_PORT, TlsFiles, tls_files};
use super::reader::{Report, Section};
use super::values::{ACCOUNTING_PORT, AUTH_PORT, address_with_port};
use crate::model::{CertificateId, Secret};

/// pppd 2.4.9 cuts a longer secret, silently.
const PPPD_SECRET_MOST: usize = 48;

/// The local RADIUS front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// UDP addresses of loopback for pppd's Access-Requests.
    pub auth: Vec<SocketAddr>,
    /// UDP addresses of loopback for pppd's Accounting-Requests.
    pub accounting: Vec<SocketAddr>,
    /// The secret shared with pppd.
    pub secret: Secret,
    /// The NAS-Identifier servers see, in the place of pppd's own.
    pub nas_identifier: String,
    /// How long a server may be silent before the next one is asked too.
    pub fail_over_after: Duration,
    /// How long pppd waits in all: `radius_timeout` times `radius_retries`, or less.
    pub patience: Duration,
    /// How often a silent server is asked (Status-Server) whether it is back.
    pub probe_every: Duration,
    /// The servers, in the order they are asked. At least one.
    pub servers: Vec<FrontServer>,
    /// Certificate, key and roots for servers that are asked over TLS; `None` when none is.
    pub tls: Option<TlsFiles>,
}

/// A server behind the front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontServer {
    /// What it is called here.
    pub name: String,
    /// Where it takes Access-Requests.
    pub auth: SocketAddr,
    /// Where it takes Accounting-Requests.
    pub accounting: SocketAddr,
    /// The secret shared with it.
    pub secret: Secret,
    /// Ignore its replies to Access-Requests without Message-Authenticator (CVE-2024-3596).
    pub require_message_authenticator: bool,
    /// It is asked over TLS; the addresses and the secret count for nothing then.
    pub radsec: Option<FrontRadsec>,
}

/// A server that is asked over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontRadsec {
    /// Its name or address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// What its certificate must show, one of these.
    pub ids: Vec<CertificateId>,
}

/// `None` when there is no server to ask, when it is switched off, or beside a problem.
pub(super) fn front(report: &Report<'_>, mut section: Section<'_>, surroundings: &Surroundings) -> Option<Front> {
    let enabled = section.boolean("enabled").unwrap_or(true);
    let auth = loopback(&mut section, "auth", AUTH_PORT);
    let accounting = loopback(&mut section, "accounting", ACCOUNTING_PORT);
    let given = section.has("secret") || section.has("secret_file");
    let secret = section.secret("secret");
    let nas_identifier = section.text("nas_identifier").unwrap_or_else(|| surroundings.host_name.clone());
    let fail_over_after = section.duration("fail_over_after").unwrap_or(Duration::from_secs(3));
    let patience = section.duration("patience").unwrap_or(Duration::from_secs(11));
    let probe_every = section.duration("probe_every").unwrap_or(Duration::from_secs(10));
    let servers: Vec<_> = section.named("server").into_iter().map(|section| server(report, section)).collect();

    let over_tls = servers.iter().flatten().any(|server| server.radsec.is_some());
    let tls = tls_files(&mut section, "server_ca", over_tls && enabled);
    if !servers.is_empty() && enabled && !given {
        section.problem("secret", "is missing; pppd and the front share it (or secret_file)");
    }
    if secret.as_ref().is_some_and(|secret| secret.expose().len() > PPPD_SECRET_MOST) {
        section.problem("secret", format!("has more than {PPPD_SECRET_MOST} octets; pppd cuts a longer one"));
    }
    if !servers.is_empty() && (nas_identifier.is_empty() || nas_identifier.len() > 253) {
        section.problem("nas_identifier", "has not 1 to 253 octets (RFC 2865 §5.32)");
    }
    for (key, duration) in [("fail_over_after", fail_over_after), ("probe_every", probe_every)] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero");
        }
    }
    if fail_over_after >= patience {
        section.problem("fail_over_after", "is not shorter than patience, so no second server would ever be asked");
    }
    section.finish();
    let servers = servers.into_iter().collect::<Option<Vec<_>>>()?;
    if servers.is_empty() || !enabled {
        return None;
    }
    let secret = secret?;
    Some(Front { auth, accounting, secret, nas_identifier, fail_over_after, patience, probe_every, servers, tls })
}

/// pppd signs no Access-Request, so nobody but this host may send one.
fn loopback(section: &mut Section<'_>, key: &str, port: u16) -> Vec<SocketAddr> {
    let listed = section.list(key, "an address of loopback with port", |text| {
        let address = address_with_port(text, port)?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        Err("other hosts could reach it, and pppd does not sign what it asks".to_owned())
    });
    if listed.as_ref().is_some_and(Vec::is_empty) {
        section.problem(key, "lists no address; leave the key out for loopback");
    }
    listed.unwrap_or_else(|| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
}

fn server(report: &Report<'_>, mut section: Section<'_>) -> Option<FrontServer> {
    let name = section.name().to_owned();
    let has_address = section.has("address");
    let radsec =
        section.parsed("address", "an address, or radsec://HOST:PORT", |text| match text.strip_prefix(RADSEC) {
            Some(place) => radsec(place).map(Place::Radsec),
            None => text.parse::<IpAddr>().map(Place::Udp).map_err(|error| error.to_string()),
        });
    let over_tls = matches!(radsec, Some(Place::Radsec(_)));
    let needs_secret = !over_tls && !section.has("secret") && !section.has("secret_file");
    for (key, missing) in [("address", !has_address), ("secret", needs_secret)] {
        if missing {
            section.problem(key, "is missing; a server needs it");
        }
    }
    let certificate = section.list("certificate_names", "a name in its certificate", |text| {
        text.parse::<CertificateId>().map_err(|error| error.to_string())
    });
    let auth_port = section.number("auth_port", 1).unwrap_or(AUTH_PORT);
    let accounting_port = section.number("accounting_port", 1).unwrap_or(ACCOUNTING_PORT);
    let secret = section.secret("secret");
    if let Some(weakness) = secret.as_ref().and_then(Secret::weakness) {
        report.warn(format!("agent.front.server.{name}: the secret {weakness}"));
    }
    let require_message_authenticator = section.boolean("require_message_authenticator").unwrap_or(true);
    section.finish();
    let (address, radsec, secret) = match radsec? {
        Place::Udp(address) => (address, None, secret?),
        Place::Radsec(place) => {
            let radsec = FrontRadsec { ids: certificate.unwrap_or(place.ids), ..place };
            (IpAddr::from(Ipv4Addr::UNSPECIFIED), Some(radsec), Secret::new("radsec"))
        }
    };
    Some(FrontServer {
        name,
        auth: (address, auth_port).into(),
        accounting: (address, accounting_port).into(),
        secret,
        require_message_authenticator,
        radsec,
    })
}

const RADSEC: &str = "radsec://";

/// Where a server is.
enum Place {
    Udp(IpAddr),
    Radsec(FrontRadsec),
}

/// `HOST`, `HOST:PORT`, `ADDRESS` or `[ADDRESS]:PORT`; its certificate must show the host.
fn radsec(place: &str) -> Result<FrontRadsec, String> {
    let place = place.trim_end_matches('/');
    let address = address_with_port(place, RADSEC_PORT).map(|address| (address.ip().to_string(), address.port()));
    let (host, port) = match address {
        Ok(address) => address,
        Err(_) => match place.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().map_err(|_| format!("{port:?} is no port"))?),
            None => (place.to_owned(), RADSEC_PORT),
        },
    };
    let id = match host.parse::<IpAddr>() {
        Ok(address) => CertificateId::Ip(address.to_canonical()),
        Err(_) => format!("dns:{host}").parse().map_err(|_| format!("{host:?} is neither a name nor an address"))?,
    };
    Ok(FrontRadsec { host, port, ids: vec![id] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_over_tls_are_named_or_numbered() {
        for (place, host, port, id) in [
            ("radius.example.org", "radius.example.org", 2083, "dns:radius.example.org"),
            ("radius.example.org:4000", "radius.example.org", 4000, "dns:radius.example.org"),
            ("192.0.2.1:4000/", "192.0.2.1", 4000, "ip:192.0.2.1"),
            ("[2001:db8::1]:4000", "2001:db8::1", 4000, "ip:2001:db8::1"),
            ("2001:db8::1", "2001:db8::1", 2083, "ip:2001:db8::1"),
        ] {
            let ids = vec![id.parse().unwrap()];
            assert_eq!(radsec(place), Ok(FrontRadsec { host: host.to_owned(), port, ids }), "{place}");
        }
        for place in ["", ":2083", "a b", "host:port", "*.example.org"] {
            assert!(radsec(place).is_err(), "{place}");
        }
    }
}
