//! What the simulated NAS saw and did, as it happened.

use tokio::time::Instant;

use crate::radius::Packet;

/// Something that happened at the NAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// NAS-Port of the session it is about, when it is about one.
    pub port: Option<u32>,
    /// Whose session that is.
    pub user: Option<String>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A packet left the NAS.
    Sent {
        /// The packet as it left.
        octets: Vec<u8>,
        /// How often the same packet left before.
        repeat: u32,
    },
    /// A packet came in, and its authenticators proved who sent it.
    Received {
        /// The packet as it came.
        octets: Vec<u8>,
        /// Whether the same packet came before.
        repeat: bool,
    },
    /// A packet came in and was dropped.
    Dropped {
        /// The datagram as it came.
        octets: Vec<u8>,
        /// Which rule it broke, or which fault made the NAS deaf.
        why: String,
    },
    /// Another filter is in force.
    Filter {
        /// The one before.
        from: Option<String>,
        /// The one from now on.
        to: Option<String>,
    },
    /// The session ended.
    Ended {
        /// Acct-Terminate-Cause (RFC 2866 §5.10).
        cause: u32,
    },
    /// Nobody answered an Access-Request, however often it was sent.
    Unanswered,
}

impl Seen {
    /// The packet that was sent or received, unless it was dropped.
    pub fn packet(&self) -> Option<Packet<'_>> {
        match &self.what {
            What::Sent { octets, .. } | What::Received { octets, .. } => Packet::parse(octets).ok(),
            _ => None,
        }
    }
}
