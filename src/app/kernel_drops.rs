//! Datagrams that the system dropped because our sockets were full: counted, and told once in a while. Nothing else shows them; to
//! the NAS they look like a network that loses packets.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use crate::net::KernelDrops;
use crate::telemetry::{self, OncePerWindow};

/// How often the system is asked.
const PERIOD: Duration = Duration::from_secs(5);
/// How often it is said.
const SAID: Duration = Duration::from_secs(60);

/// The sockets that are watched.
#[derive(Debug)]
pub(super) struct DropWatch {
    drops: Mutex<KernelDrops>,
    said: OncePerWindow<()>,
}

impl DropWatch {
    pub(super) fn new(drops: KernelDrops) -> Self {
        Self { drops: Mutex::new(drops), said: OncePerWindow::new(SAID, 1) }
    }

    /// Counts what was dropped since the last look.
    pub(super) fn look(&self) {
        let dropped = match self.drops.lock().unwrap_or_else(PoisonError::into_inner).since_last() {
            Ok(dropped) => dropped,
            Err(error) => return tracing::debug!(%error, "what the system drops cannot be read"),
        };
        telemetry::add("packet.kernel-drop", dropped);
        if dropped > 0 && self.said.first((), clock::now()).is_some() {
            tracing::warn!(
                dropped,
                "the system dropped datagrams because our sockets were full (server.receive_buffer, server.sockets)"
            );
        }
    }

    /// Looks again and again, for ever.
    pub(super) async fn run(&self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            self.look();
        }
    }
}
