//! The NAS's own table of sessions: which filter is in force, how much was carried, how each ended.
//!
//! Opens no socket and reads no clock.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use crate::radius::{Packet, attribute};

/// A session as its NAS knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// NAS-Port, by which the NAS tells its sessions apart.
    pub port: u32,
    /// User-Name.
    pub user: String,
    /// Calling-Station-Id.
    pub calling_station_id: String,
    /// Acct-Session-Id. Like pppd, the NAS names it in accounting only.
    pub acct_session_id: String,
    /// Framed-IP-Address.
    pub framed_ip: Ipv4Addr,
    /// Every Class of the Access-Accept, echoed in accounting (RFC 2865 §5.25).
    pub classes: Vec<Vec<u8>>,
    /// The filter in force; of a session that has ended, the last one.
    pub filter: Option<String>,
    /// Whether its last CoA-Request has been acknowledged.
    pub acknowledged: bool,
    /// Since when it is on.
    pub since: Instant,
    /// When Session-Timeout ends it (RFC 2865 §5.27).
    pub ends_at: Option<Instant>,
    /// Octets from the user, and to the user.
    pub octets: (u64, u64),
    /// Acct-Terminate-Cause, once it has ended.
    pub ended: Option<u32>,
    /// When it ended.
    pub ended_at: Option<Instant>,
    /// Whether its Stop has been answered.
    pub stop_answered: bool,
}

impl Session {
    /// Whether it is on the NAS.
    pub fn is_up(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether an identification attribute of a CoA-Request or Disconnect-Request is this session's (RFC 5176 §3).
    fn matches(&self, kind: u8, value: &[u8]) -> bool {
        match kind {
            attribute::USER_NAME => self.user.as_bytes() == value,
            attribute::NAS_PORT => self.port.to_be_bytes() == value,
            attribute::CALLING_STATION_ID => self.calling_station_id.as_bytes() == value,
            attribute::ACCT_SESSION_ID => self.acct_session_id.as_bytes() == value,
            attribute::FRAMED_IP_ADDRESS => self.framed_ip.octets() == value,
            _ => false,
        }
    }
}

/// The attributes by which the NAS finds a session.
pub(super) const IDENTIFICATION: [u8; 5] = [
    attribute::USER_NAME,
    attribute::NAS_PORT,
    attribute::CALLING_STATION_ID,
    attribute::ACCT_SESSION_ID,
    attribute::FRAMED_IP_ADDRESS,
];

/// All sessions, those that have ended too, by NAS-Port.
#[derive(Debug, Default)]
pub(super) struct Table(pub(super) BTreeMap<u32, Session>);

impl Table {
    /// The sessions on the NAS that everything in the packet agrees with.
    pub(super) fn select(&self, packet: &Packet<'_>) -> Vec<&Session> {
        let fits = |session: &&Session| {
            packet
                .attributes()
                .filter(|attribute| IDENTIFICATION.contains(&attribute.kind))
                .all(|attribute| session.matches(attribute.kind, attribute.value))
        };
        self.0.values().filter(|session| session.is_up()).filter(fits).collect()
    }

    /// When Session-Timeout next ends a session.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.values().filter(|session| session.is_up()).filter_map(|session| session.ends_at).min()
    }

    /// The sessions whose Session-Timeout has come.
    pub(super) fn timed_out(&self, now: Instant) -> Vec<u32> {
        let over = |session: &&Session| session.is_up() && session.ends_at.is_some_and(|end| end <= now);
        self.0.values().filter(over).map(|session| session.port).collect()
    }
}

/// The time at which a Session-Timeout of so many seconds ends a session.
pub(super) fn after(now: Instant, seconds: u32) -> Instant {
    now + Duration::from_secs(u64::from(seconds))
}
