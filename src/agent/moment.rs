//! The two clocks of the agent: the wall's, for what it says and for what requests say, and the boot's, for limits. Somebody sets
//! the first, forwards and backwards; the second only goes on, while the host sleeps too (CLOCK_BOOTTIME).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// Microseconds since this boot. It means nothing to another boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uptime(u64);

/// Now, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) up: Uptime,
}

impl Uptime {
    /// So long after the boot.
    pub fn after_boot(by: Duration) -> Self {
        Self(u64::try_from(by.as_micros()).unwrap_or(u64::MAX))
    }

    /// So long after this.
    pub(super) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(Self::after_boot(time).0))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
