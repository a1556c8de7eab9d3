//! What one Accounting-Request says about one session.

use crate::model::{Counters, Identity, Timestamp};

/// What an Accounting-Request says about a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// When it happened, by the NAS's own account.
    pub at: Timestamp,
    /// How the NAS identifies it.
    pub identity: Identity,
    /// What it has carried.
    pub counters: Counters,
    /// Acct-Terminate-Cause (RFC 2866 §5.10).
    pub terminate_cause: Option<u32>,
    /// Filter-Id in force, where the NAS shows it.
    pub filter_id: Option<String>,
}
