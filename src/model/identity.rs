//! What a NAS tells about a session: who and where it is, and how much it has carried.

use std::net::IpAddr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::Medium;

/// The attributes by which a session is known to its NAS (RFC 5176 §3).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// NAS-Port-Id.
    pub nas_port_id: Option<String>,
    /// NAS-IP-Address or NAS-IPv6-Address, as the NAS states it (its packets may come from another).
    pub nas_ip_address: Option<IpAddr>,
    /// NAS-Identifier.
    pub nas_identifier: Option<String>,
    /// Calling-Station-Id: where the caller is.
    pub calling_station_id: Option<String>,
    /// Called-Station-Id.
    pub called_station_id: Option<String>,
    /// Acct-Session-Id. Never a key by itself: NASes repeat it.
    pub acct_session_id: Option<String>,
    /// Framed-IP-Address.
    pub framed_ip: Option<IpAddr>,
    /// Framed-IPv6-Prefix.
    pub framed_ipv6_prefix: Option<Ipv6Net>,
    /// What the caller comes by.
    pub medium: Option<Medium>,
}

impl Identity {
    /// Takes over what `newer` states and keeps what it does not mention.
    pub fn absorb(&mut self, newer: &Self) {
        fn take<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        take(&mut self.nas_port, &newer.nas_port);
        take(&mut self.nas_port_id, &newer.nas_port_id);
        take(&mut self.nas_ip_address, &newer.nas_ip_address);
        take(&mut self.nas_identifier, &newer.nas_identifier);
        take(&mut self.calling_station_id, &newer.calling_station_id);
        take(&mut self.called_station_id, &newer.called_station_id);
        take(&mut self.acct_session_id, &newer.acct_session_id);
        take(&mut self.framed_ip, &newer.framed_ip);
        take(&mut self.framed_ipv6_prefix, &newer.framed_ipv6_prefix);
        take(&mut self.medium, &newer.medium);
    }
}

/// What a session has carried so far, as seen from the user (input is what the user sent, RFC 2866 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Acct-Input-Octets with Acct-Input-Gigawords.
    pub input_octets: u64,
    /// Acct-Output-Octets with Acct-Output-Gigawords.
    pub output_octets: u64,
    /// Acct-Input-Packets.
    pub input_packets: u64,
    /// Acct-Output-Packets.
    pub output_packets: u64,
    /// Acct-Session-Time, seconds.
    pub session_time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absorb_keeps_what_is_not_mentioned() {
        let mut known =
            Identity { nas_port: Some(3), calling_station_id: Some("10.0.0.9".into()), ..Identity::default() };
        known.absorb(&Identity { nas_port: Some(4), acct_session_id: Some("a1".into()), ..Identity::default() });
        assert_eq!(
            known,
            Identity {
                nas_port: Some(4),
                calling_station_id: Some("10.0.0.9".into()),
                acct_session_id: Some("a1".into()),
                ..Identity::default()
            }
        );
    }
}
