//! A session as the agent knows it: what identifies it, who serves it, what filter is in force, and when it ends. Touches
//! nothing.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::apply::{Place, Process};
use super::hook::HookCall;
use crate::config::Agent;
use crate::dynauth::server::Facts;
use crate::model::Timestamp;

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    /// Its interface.
    pub(super) interface: String,
    /// What requests know it by.
    pub(super) facts: Facts,
    /// Its pppd.
    pub(super) process: Option<Process>,
    /// The Filter-Id in force; none is the sandbox.
    pub(super) filter: Option<String>,
    /// Since when it is in the sandbox.
    pub(super) sandboxed_since: Option<Timestamp>,
    /// Session-Timeout of the Access-Accept or a CoA-Request, counted from the beginning.
    pub(super) session_timeout: Option<Duration>,
    /// Idle-Timeout of a CoA-Request. That of the Access-Accept is pppd's own business.
    pub(super) idle_timeout: Option<Duration>,
    /// Packets both ways when they last changed, and when that was.
    pub(super) last_traffic: Option<(u64, Timestamp)>,
    /// Since when it is being ended, and whether pppd was killed for it.
    pub(super) ending: Option<Ending>,
}

/// A session on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// SIGTERM went out then.
    pub(super) since: Timestamp,
    /// SIGKILL went out too.
    pub(super) killed: bool,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Disconnect-Request.
    Ordered,
    /// It was in the sandbox too long.
    SandboxLimit,
    /// Session-Timeout.
    SessionTimeout,
    /// Idle-Timeout.
    IdleTimeout,
}

impl Reason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "Disconnect-Request",
            Self::SandboxLimit => "sandbox_limit",
            Self::SessionTimeout => "Session-Timeout",
            Self::IdleTimeout => "Idle-Timeout",
        }
    }
}

/// Attributes of the Access-Accept as radattr.so writes them, "Name value" a line; of those that repeat, the last.
pub(super) type Radattr = BTreeMap<String, String>;

/// Reads a radattr file.
pub(super) fn radattr(text: &str) -> Radattr {
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.into(), value.into())).collect()
}

impl Session {
    /// A new session, in the sandbox unless its Access-Accept says otherwise.
    pub(super) fn begin(
        call: &HookCall,
        process: Option<Process>,
        accept: &Radattr,
        config: &Agent,
        now: Timestamp,
    ) -> Self {
        let accepted = |name: &str| accept.get(name).cloned();
        let seconds = |name: &str| accept.get(name).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let mut nas_port_ids = vec![call.interface.clone()];
        nas_port_ids.extend(call.device.clone());
        let facts = Facts {
            user_name: call.peer_name.clone(),
            nas_port: call.unit,
            nas_port_ids,
            framed_ip_address: call.remote,
            framed_ipv6_addresses: Vec::new(),
            ipv6_prefixes: ["Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"]
                .iter()
                .filter_map(|name| accept.get(*name)?.parse().ok())
                .collect(),
            framed_interface_id: None,
            calling_station_id: call.ip_param.clone(),
            acct_session_id: None,
            class: accepted("Class"),
            since: now,
            pid: call.pid,
            removable: process.is_some(),
        };
        let filter = call.filter_id.clone().or_else(|| accepted("Filter-Id"));
        let filter = filter.filter(|filter| config.filters.iter().any(|known| known.name == *filter));
        let mut session = Self {
            interface: call.interface.clone(),
            facts,
            process,
            sandboxed_since: filter.is_none().then_some(now),
            filter,
            session_timeout: seconds("Session-Timeout").filter(|timeout| !timeout.is_zero()),
            idle_timeout: None,
            last_traffic: None,
            ending: None,
        };
        session.hear_of_ipv6(call.link_local_remote);
        session
    }

    /// The peer's link-local address, from which its Framed-Interface-Id follows (RFC 5072 §5).
    pub(super) fn hear_of_ipv6(&mut self, link_local: Option<Ipv6Addr>) {
        if let Some(address) = link_local {
            self.facts.framed_ipv6_addresses = vec![address];
            self.facts.framed_interface_id = address.octets()[8..].try_into().ok();
        }
    }

    /// Where its packets may go; nowhere is the sandbox. A session that is being ended goes nowhere at once.
    pub(super) fn place(&self, config: &Agent) -> Option<Place> {
        let filter = self.filter.as_ref().filter(|_| self.ending.is_none())?;
        let filter = config.filters.iter().find(|known| known.name == *filter)?;
        Some(Place { set: filter.set.clone(), v4: self.facts.framed_ip_address })
    }

    /// Puts a filter in force; `None` is the sandbox.
    pub(super) fn set_filter(&mut self, filter: Option<String>, now: Timestamp) {
        self.sandboxed_since = match filter {
            Some(_) => None,
            // Said twice, it has been there since the first time.
            None => self.sandboxed_since.or(Some(now)),
        };
        self.filter = filter;
    }

    /// Whether its time is over, and why.
    pub(super) fn overdue(&self, config: &Agent, now: Timestamp) -> Option<Reason> {
        let longer = |since: Timestamp, limit: Duration| now >= since + limit;
        if self.ending.is_some() {
            return None;
        }
        if self.session_timeout.is_some_and(|limit| longer(self.facts.since, limit)) {
            return Some(Reason::SessionTimeout);
        }
        if self.sandboxed_since.is_some_and(|since| longer(since, config.sandbox_limit)) {
            return Some(Reason::SandboxLimit);
        }
        let quiet_since = self.last_traffic.map(|(_, since)| since);
        let idle = self.idle_timeout.zip(quiet_since).is_some_and(|(limit, since)| longer(since, limit));
        idle.then_some(Reason::IdleTimeout)
    }

    /// In one word.
    pub(super) fn state(&self) -> &'static str {
        match (&self.ending, &self.filter) {
            (Some(_), _) => "ending",
            (None, Some(_)) => "permitted",
            (None, None) => "sandboxed",
        }
    }
}
