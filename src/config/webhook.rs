//! `[approver.webhook]`: a system of the operator's that asks people in its own way.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::reader::{Report, Section};
use super::values::{address_with_port, network};
use crate::model::Secret;

/// A secret shorter than this can be guessed from one signature.
const SECRET_LEAST: usize = 16;
/// Beyond this an order is put off anyway.
const TIMEOUT_MOST: Duration = Duration::from_secs(25);

/// How that system is reached, and reaches us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where questions and outcomes go.
    pub url: Url,
    /// What both sides sign with.
    pub secret: Secret,
    /// How long one request may take.
    pub timeout: Duration,
    /// Addresses that may be reached though they are not public.
    pub allow: Vec<IpNet>,
    /// Where answers are taken in that come later.
    pub listen: Option<SocketAddr>,
    /// The address of that for the other side.
    pub callback_url: Option<Url>,
}

pub(super) fn webhook(report: &Report<'_>, mut section: Section<'_>) -> Option<Webhook> {
    for (key, or) in [("url", ""), ("secret", " (or secret_file)")] {
        let in_a_file = key == "secret" && section.has("secret_file");
        if !section.has(key) && !in_a_file {
            section.problem(key, format!("is missing; a webhook needs it{or}"));
        }
    }
    let url = section.parsed("url", "an http or https URL", http);
    let secret = section.secret("secret");
    if secret.as_ref().is_some_and(|secret| secret.expose().len() < SECRET_LEAST) {
        section.problem("secret", format!("is shorter than {SECRET_LEAST} octets"));
    }
    let timeout = section.duration("timeout").unwrap_or(Duration::from_secs(10));
    if timeout.is_zero() || timeout > TIMEOUT_MOST {
        section.problem("timeout", "is not between 1ms and 25s");
    }
    let allow = section.list("allow", "an address or network", network).unwrap_or_default();
    let listen = section.parsed("listen", "an address with port", |text| address_with_port(text, 0));
    let callback_url = section.parsed("callback_url", "an http or https URL", http);
    if callback_url.is_some() && listen.is_none() {
        section.problem("callback_url", "is of no use without listen");
    }
    if callback_url.is_none() && listen.is_some_and(|address| address.ip().is_unspecified()) {
        section.problem("callback_url", "is missing: listen is all addresses, so the other side must be told which");
    }
    section.finish();
    if url.as_ref().is_some_and(|url| url.scheme() == "http" && allow.is_empty()) {
        report.warn("approver.webhook.url: http shows who logs in to whoever is on the way; use https".to_owned());
    }
    Some(Webhook { url: url?, secret: secret?, timeout, allow, listen, callback_url })
}

fn http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("another scheme".to_owned()),
    }
}
