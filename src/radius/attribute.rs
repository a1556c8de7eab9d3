//! Attributes as kind and octets (RFC 2865 §5), and the numbers the RFCs gave them.
//!
//! Knows no types and no names to print: dictionaries do.

use std::iter::FusedIterator;

/// The longest value of one attribute, octets (RFC 2865 §5: Length is one octet and counts itself and the Type).
pub const MAX_VALUE: usize = 253;

/// One attribute, borrowed from its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The Type; named constants are in this module.
    pub kind: u8,
    /// The value, 0 to 253 octets.
    pub value: &'a [u8],
}

/// The attributes of a packet in the order they came.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// `rest` has been walked before and is known to be whole; anything else would end the iteration early.
    pub(super) fn of_checked(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The octets not yet read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (&[kind, length], _) = self.rest.split_first_chunk()?;
        let (attribute, rest) = self.rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(Attribute { kind, value: attribute.get(2..)? })
    }
}

impl FusedIterator for Attributes<'_> {}

// User and access (RFC 2865).

/// User-Name (RFC 2865 §5.1).
pub const USER_NAME: u8 = 1;
/// User-Password (RFC 2865 §5.2).
pub const USER_PASSWORD: u8 = 2;
/// CHAP-Password (RFC 2865 §5.3).
pub const CHAP_PASSWORD: u8 = 3;
/// NAS-IP-Address (RFC 2865 §5.4).
pub const NAS_IP_ADDRESS: u8 = 4;
/// NAS-Port (RFC 2865 §5.5).
pub const NAS_PORT: u8 = 5;
/// Service-Type (RFC 2865 §5.6).
pub const SERVICE_TYPE: u8 = 6;
/// Framed-Protocol (RFC 2865 §5.7).
pub const FRAMED_PROTOCOL: u8 = 7;
/// Framed-IP-Address (RFC 2865 §5.8).
pub const FRAMED_IP_ADDRESS: u8 = 8;
/// Framed-IP-Netmask (RFC 2865 §5.9).
pub const FRAMED_IP_NETMASK: u8 = 9;
/// Framed-Routing (RFC 2865 §5.10).
pub const FRAMED_ROUTING: u8 = 10;
/// Filter-Id (RFC 2865 §5.11).
pub const FILTER_ID: u8 = 11;
/// Framed-MTU (RFC 2865 §5.12).
pub const FRAMED_MTU: u8 = 12;
/// Framed-Compression (RFC 2865 §5.13).
pub const FRAMED_COMPRESSION: u8 = 13;
/// Login-IP-Host (RFC 2865 §5.14).
pub const LOGIN_IP_HOST: u8 = 14;
/// Login-Service (RFC 2865 §5.15).
pub const LOGIN_SERVICE: u8 = 15;
/// Login-TCP-Port (RFC 2865 §5.16).
pub const LOGIN_TCP_PORT: u8 = 16;
/// Reply-Message (RFC 2865 §5.18).
pub const REPLY_MESSAGE: u8 = 18;
/// Callback-Number (RFC 2865 §5.19).
pub const CALLBACK_NUMBER: u8 = 19;
/// Callback-Id (RFC 2865 §5.20).
pub const CALLBACK_ID: u8 = 20;
/// Framed-Route (RFC 2865 §5.22).
pub const FRAMED_ROUTE: u8 = 22;
/// Framed-IPX-Network (RFC 2865 §5.23).
pub const FRAMED_IPX_NETWORK: u8 = 23;
/// State (RFC 2865 §5.24).
pub const STATE: u8 = 24;
/// Class (RFC 2865 §5.25).
pub const CLASS: u8 = 25;
/// Vendor-Specific (RFC 2865 §5.26).
pub const VENDOR_SPECIFIC: u8 = 26;
/// Session-Timeout (RFC 2865 §5.27).
pub const SESSION_TIMEOUT: u8 = 27;
/// Idle-Timeout (RFC 2865 §5.28).
pub const IDLE_TIMEOUT: u8 = 28;
/// Termination-Action (RFC 2865 §5.29).
pub const TERMINATION_ACTION: u8 = 29;
/// Called-Station-Id (RFC 2865 §5.30).
pub const CALLED_STATION_ID: u8 = 30;
/// Calling-Station-Id (RFC 2865 §5.31).
pub const CALLING_STATION_ID: u8 = 31;
/// NAS-Identifier (RFC 2865 §5.32).
pub const NAS_IDENTIFIER: u8 = 32;
/// Proxy-State (RFC 2865 §5.33).
pub const PROXY_STATE: u8 = 33;
/// Login-LAT-Service (RFC 2865 §5.34).
pub const LOGIN_LAT_SERVICE: u8 = 34;
/// Login-LAT-Node (RFC 2865 §5.35).
pub const LOGIN_LAT_NODE: u8 = 35;
/// Login-LAT-Group (RFC 2865 §5.36).
pub const LOGIN_LAT_GROUP: u8 = 36;
/// Framed-AppleTalk-Link (RFC 2865 §5.37).
pub const FRAMED_APPLETALK_LINK: u8 = 37;
/// Framed-AppleTalk-Network (RFC 2865 §5.38).
pub const FRAMED_APPLETALK_NETWORK: u8 = 38;
/// Framed-AppleTalk-Zone (RFC 2865 §5.39).
pub const FRAMED_APPLETALK_ZONE: u8 = 39;
/// CHAP-Challenge (RFC 2865 §5.40).
pub const CHAP_CHALLENGE: u8 = 60;
/// NAS-Port-Type (RFC 2865 §5.41).
pub const NAS_PORT_TYPE: u8 = 61;
/// Port-Limit (RFC 2865 §5.42).
pub const PORT_LIMIT: u8 = 62;
/// Login-LAT-Port (RFC 2865 §5.43).
pub const LOGIN_LAT_PORT: u8 = 63;

// Accounting (RFC 2866).

/// Acct-Status-Type (RFC 2866 §5.1).
pub const ACCT_STATUS_TYPE: u8 = 40;
/// Acct-Delay-Time (RFC 2866 §5.2).
pub const ACCT_DELAY_TIME: u8 = 41;
/// Acct-Input-Octets (RFC 2866 §5.3).
pub const ACCT_INPUT_OCTETS: u8 = 42;
/// Acct-Output-Octets (RFC 2866 §5.4).
pub const ACCT_OUTPUT_OCTETS: u8 = 43;
/// Acct-Session-Id (RFC 2866 §5.5).
pub const ACCT_SESSION_ID: u8 = 44;
/// Acct-Authentic (RFC 2866 §5.6).
pub const ACCT_AUTHENTIC: u8 = 45;
/// Acct-Session-Time (RFC 2866 §5.7).
pub const ACCT_SESSION_TIME: u8 = 46;
/// Acct-Input-Packets (RFC 2866 §5.8).
pub const ACCT_INPUT_PACKETS: u8 = 47;
/// Acct-Output-Packets (RFC 2866 §5.9).
pub const ACCT_OUTPUT_PACKETS: u8 = 48;
/// Acct-Terminate-Cause (RFC 2866 §5.10).
pub const ACCT_TERMINATE_CAUSE: u8 = 49;
/// Acct-Multi-Session-Id (RFC 2866 §5.11).
pub const ACCT_MULTI_SESSION_ID: u8 = 50;
/// Acct-Link-Count (RFC 2866 §5.12).
pub const ACCT_LINK_COUNT: u8 = 51;

// Tunnels (RFC 2868, RFC 2867).

/// Tunnel-Type (RFC 2868 §3.1).
pub const TUNNEL_TYPE: u8 = 64;
/// Tunnel-Medium-Type (RFC 2868 §3.2).
pub const TUNNEL_MEDIUM_TYPE: u8 = 65;
/// Tunnel-Client-Endpoint (RFC 2868 §3.3).
pub const TUNNEL_CLIENT_ENDPOINT: u8 = 66;
/// Tunnel-Server-Endpoint (RFC 2868 §3.4).
pub const TUNNEL_SERVER_ENDPOINT: u8 = 67;
/// Acct-Tunnel-Connection (RFC 2867 §4.1).
pub const ACCT_TUNNEL_CONNECTION: u8 = 68;
/// Tunnel-Password (RFC 2868 §3.5).
pub const TUNNEL_PASSWORD: u8 = 69;
/// Tunnel-Private-Group-ID (RFC 2868 §3.6).
pub const TUNNEL_PRIVATE_GROUP_ID: u8 = 81;
/// Tunnel-Assignment-ID (RFC 2868 §3.7).
pub const TUNNEL_ASSIGNMENT_ID: u8 = 82;
/// Tunnel-Preference (RFC 2868 §3.8).
pub const TUNNEL_PREFERENCE: u8 = 83;
/// Acct-Tunnel-Packets-Lost (RFC 2867 §4.2).
pub const ACCT_TUNNEL_PACKETS_LOST: u8 = 86;
/// Tunnel-Client-Auth-ID (RFC 2868 §3.9).
pub const TUNNEL_CLIENT_AUTH_ID: u8 = 90;
/// Tunnel-Server-Auth-ID (RFC 2868 §3.10).
pub const TUNNEL_SERVER_AUTH_ID: u8 = 91;

// Extensions (RFC 2869).

/// Acct-Input-Gigawords (RFC 2869 §5.1).
pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
/// Acct-Output-Gigawords (RFC 2869 §5.2).
pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
/// Event-Timestamp (RFC 2869 §5.3).
pub const EVENT_TIMESTAMP: u8 = 55;
/// ARAP-Password (RFC 2869 §5.4).
pub const ARAP_PASSWORD: u8 = 70;
/// ARAP-Features (RFC 2869 §5.5).
pub const ARAP_FEATURES: u8 = 71;
/// ARAP-Zone-Access (RFC 2869 §5.6).
pub const ARAP_ZONE_ACCESS: u8 = 72;
/// ARAP-Security (RFC 2869 §5.7).
pub const ARAP_SECURITY: u8 = 73;
/// ARAP-Security-Data (RFC 2869 §5.8).
pub const ARAP_SECURITY_DATA: u8 = 74;
/// Password-Retry (RFC 2869 §5.9).
pub const PASSWORD_RETRY: u8 = 75;
/// Prompt (RFC 2869 §5.10).
pub const PROMPT: u8 = 76;
/// Connect-Info (RFC 2869 §5.11).
pub const CONNECT_INFO: u8 = 77;
/// Configuration-Token (RFC 2869 §5.12).
pub const CONFIGURATION_TOKEN: u8 = 78;
/// EAP-Message (RFC 3579 §3.1).
pub const EAP_MESSAGE: u8 = 79;
/// Message-Authenticator (RFC 3579 §3.2).
pub const MESSAGE_AUTHENTICATOR: u8 = 80;
/// ARAP-Challenge-Response (RFC 2869 §5.15).
pub const ARAP_CHALLENGE_RESPONSE: u8 = 84;
/// Acct-Interim-Interval (RFC 2869 §5.16).
pub const ACCT_INTERIM_INTERVAL: u8 = 85;
/// NAS-Port-Id (RFC 2869 §5.17).
pub const NAS_PORT_ID: u8 = 87;
/// Framed-Pool (RFC 2869 §5.18).
pub const FRAMED_POOL: u8 = 88;

// IPv6 (RFC 3162, RFC 4818, RFC 6911).

/// NAS-IPv6-Address (RFC 3162 §2.1).
pub const NAS_IPV6_ADDRESS: u8 = 95;
/// Framed-Interface-Id (RFC 3162 §2.2).
pub const FRAMED_INTERFACE_ID: u8 = 96;
/// Framed-IPv6-Prefix (RFC 3162 §2.3).
pub const FRAMED_IPV6_PREFIX: u8 = 97;
/// Login-IPv6-Host (RFC 3162 §2.4).
pub const LOGIN_IPV6_HOST: u8 = 98;
/// Framed-IPv6-Route (RFC 3162 §2.5).
pub const FRAMED_IPV6_ROUTE: u8 = 99;
/// Framed-IPv6-Pool (RFC 3162 §2.6).
pub const FRAMED_IPV6_POOL: u8 = 100;
/// Delegated-IPv6-Prefix (RFC 4818 §3).
pub const DELEGATED_IPV6_PREFIX: u8 = 123;
/// Framed-IPv6-Address (RFC 6911 §3.1).
pub const FRAMED_IPV6_ADDRESS: u8 = 168;
/// DNS-Server-IPv6-Address (RFC 6911 §3.2).
pub const DNS_SERVER_IPV6_ADDRESS: u8 = 169;
/// Route-IPv6-Information (RFC 6911 §3.3).
pub const ROUTE_IPV6_INFORMATION: u8 = 170;
/// Delegated-IPv6-Prefix-Pool (RFC 6911 §3.4).
pub const DELEGATED_IPV6_PREFIX_POOL: u8 = 171;
/// Stateful-IPv6-Address-Pool (RFC 6911 §3.5).
pub const STATEFUL_IPV6_ADDRESS_POOL: u8 = 172;

// VLANs and filters (RFC 4675, RFC 4849).

/// Egress-VLANID (RFC 4675 §2.1).
pub const EGRESS_VLANID: u8 = 56;
/// Ingress-Filters (RFC 4675 §2.2).
pub const INGRESS_FILTERS: u8 = 57;
/// Egress-VLAN-Name (RFC 4675 §2.3).
pub const EGRESS_VLAN_NAME: u8 = 58;
/// User-Priority-Table (RFC 4675 §2.4).
pub const USER_PRIORITY_TABLE: u8 = 59;
/// NAS-Filter-Rule (RFC 4849 §2).
pub const NAS_FILTER_RULE: u8 = 92;

// Dynamic authorization and identity (RFC 4372, RFC 5176).

/// Chargeable-User-Identity (RFC 4372 §2.2).
pub const CHARGEABLE_USER_IDENTITY: u8 = 89;
/// Error-Cause (RFC 5176 §3.5).
pub const ERROR_CAUSE: u8 = 101;

// Extended spaces (RFC 6929 §3).

/// Extended-Type-1 (RFC 6929 §3.1).
pub const EXTENDED_TYPE_1: u8 = 241;
/// Extended-Type-2 (RFC 6929 §3.2).
pub const EXTENDED_TYPE_2: u8 = 242;
/// Extended-Type-3 (RFC 6929 §3.3).
pub const EXTENDED_TYPE_3: u8 = 243;
/// Extended-Type-4 (RFC 6929 §3.4).
pub const EXTENDED_TYPE_4: u8 = 244;
/// Long-Extended-Type-1 (RFC 6929 §3.5).
pub const LONG_EXTENDED_TYPE_1: u8 = 245;
/// Long-Extended-Type-2 (RFC 6929 §3.6).
pub const LONG_EXTENDED_TYPE_2: u8 = 246;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_in_order_with_their_values() {
        let octets = [USER_NAME, 3, b'x', PROXY_STATE, 2, USER_NAME, 3, b'y'];
        let found: Vec<_> =
            Attributes::of_checked(&octets).map(|attribute| (attribute.kind, attribute.value)).collect();
        assert_eq!(found, [(USER_NAME, &b"x"[..]), (PROXY_STATE, b""), (USER_NAME, b"y")]);
    }
}
