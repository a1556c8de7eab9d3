//! A NAS as the operator describes it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ApproverStep, CertificateId, DynauthPath, GuardSettings, NasName, Secret, Timestamp, WhenUnreachable};

/// A NAS: who may send us packets, with which secret, and how it is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Nas {
    /// Our name for it.
    pub name: NasName,
    /// Source addresses it may send from; the longest matching network wins.
    pub network: IpNet,
    /// The secret shared with it.
    pub secret: Secret,
    /// The dialect it speaks: a file of `config/dialects` or of the operator's directory.
    pub dialect: String,
    /// Drop its Access-Requests without Message-Authenticator (CVE-2024-3596). Off only where a NAS cannot send it.
    pub require_message_authenticator: bool,
    /// Drop its Access-Requests that carry Proxy-State but no Message-Authenticator (CVE-2024-3596).
    pub limit_proxy_state: bool,
    /// Answer MS-CHAPv1, which is broken, for this NAS.
    pub allow_ms_chap_v1: bool,
    /// Where CoA-Request and Disconnect-Request go; `None` is the source of its packets.
    pub coa_address: Option<IpAddr>,
    /// The UDP port for CoA-Request and Disconnect-Request; `None` is the dialect's.
    pub coa_port: Option<u16>,
    /// Source address and port of those requests; `None` leaves it to the system.
    pub coa_source: Option<SocketAddr>,
    /// How long an Access-Reject is kept back; `None` is the server's setting.
    pub reject_delay: Option<Duration>,
    /// Which way Acct-Input-Octets counts.
    pub octet_direction: OctetDirection,
    /// Its octet counters wrap at 32 bits, and it sends no Gigawords (RFC 2869 §5.1): a fall by more than half of that is a wrap.
    pub octet_wrap: bool,
    /// No two of its sessions have one NAS-Port (or NAS-Port-Id) at a time, so that a Start ends the session before it there;
    /// `None` is as its dialect says.
    pub unique_ports: Option<bool>,
    /// Name of the filter that confines; `None` is the server's setting.
    pub sandbox_filter: Option<String>,
    /// Name of the filter that lets through; `None` is the server's setting.
    pub permit_filter: Option<String>,
    /// Who is asked about its logins, in order; empty is the server's setting. Users and their groups are nearer.
    pub approvers: Vec<ApproverStep>,
    /// What becomes of a hold when nobody can be asked; `None` is the server's setting. Users and their groups are nearer.
    pub when_unreachable: Option<WhenUnreachable>,
    /// How people are asked about logins on it; what is not said is the server's.
    pub guards: GuardSettings,
    /// Where its callers may come from, and may not; these go before the server's own lists.
    pub callers: CallerLists,
    /// The NAS-Identifier that tells it from others at the same address; `None` when none does.
    pub nas_identifier: Option<String>,
    /// What its certificate must show over TLS, one of these; empty when it does not come by TLS.
    pub radsec: Vec<CertificateId>,
    /// It comes by TLS alone: no datagram is its own, whatever its source.
    pub radsec_only: bool,
    /// Which way CoA-Request and Disconnect-Request go.
    pub dynauth: DynauthPath,
    /// Where on it a code is entered.
    pub codes: CodeEntry,
    /// The secret before this one, while both count.
    pub previous_secret: Option<PreviousSecret>,
    /// New Access-Requests a second, at most; `None` is the server's setting. Repeats, accounting and Status-Server do not count.
    pub max_requests_per_second: Option<u32>,
}

/// A secret that has been replaced and still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: Secret,
    /// Until when; `None` is until somebody removes it.
    pub until: Option<Timestamp>,
}

impl PreviousSecret {
    /// Whether it counts now.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Where on a NAS a code (TOTP, RFC 6238) is entered beside the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CodeEntry {
    /// Behind a PAP password (`password,123456`); `None` is the server's setting.
    pub in_password: Option<bool>,
    /// It understands Access-Challenge (RFC 2865 §4.4): whoever has TOTP is asked for a code by it. pppd does not.
    pub challenge: bool,
    /// Refuse a login that would be held: for a NAS that has neither a sandbox nor CoA, such as pam_radius.
    pub or_reject: bool,
}

/// Networks logins may come from, and may not; what follows is `policy`'s.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallerLists {
    /// From here logins are welcome whatever the deny list says, and no ban is set by itself.
    pub allow: Vec<IpNet>,
    /// From here logins are refused. A list with all addresses of a family (`0.0.0.0/0`) refuses callers without address too.
    pub deny: Vec<IpNet>,
}

impl Nas {
    /// A NAS of the standard dialect, of which nothing is known but who it is.
    pub fn new(name: impl Into<NasName>, network: impl Into<IpNet>, secret: Secret) -> Self {
        Self {
            name: name.into(),
            network: network.into(),
            secret,
            dialect: "standard".to_owned(),
            require_message_authenticator: true,
            limit_proxy_state: false,
            allow_ms_chap_v1: false,
            coa_address: None,
            coa_port: None,
            coa_source: None,
            reject_delay: None,
            octet_direction: OctetDirection::Standard,
            octet_wrap: false,
            unique_ports: None,
            sandbox_filter: None,
            permit_filter: None,
            approvers: Vec::new(),
            when_unreachable: None,
            guards: GuardSettings::default(),
            callers: CallerLists::default(),
            nas_identifier: None,
            radsec: Vec::new(),
            radsec_only: false,
            dynauth: DynauthPath::Auto,
            previous_secret: None,
            max_requests_per_second: None,
            codes: CodeEntry::default(),
        }
    }
}

/// Which way Acct-Input-Octets counts on a NAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OctetDirection {
    /// As RFC 2866 §5.3 says: input is what came from the user.
    #[default]
    Standard,
    /// The other way round, as some NASes count.
    Swapped,
}
