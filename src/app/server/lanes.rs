//! The threads that take requests by UDP.

use std::io::{self, PipeWriter};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::ServeError;
use crate::app::access::Quick;
use crate::app::door::{Behind, Door, Lane, Port};
use crate::net::UdpPort;

/// All of them, each with a door of its own.
pub(super) struct Lanes {
    behind: Behind,
    /// Each waits for the end of a thread.
    running: JoinSet<()>,
    /// Closing these ends the threads.
    stop: Vec<PipeWriter>,
}

impl Lanes {
    /// None yet.
    pub(super) fn new(behind: Behind) -> Self {
        Self { behind, running: JoinSet::new(), stop: Vec::new() }
    }

    /// Serves the sockets of a port, each on a thread, which has one of `quick` as long as there are any; gives the addresses.
    ///
    /// # Errors
    /// [`ServeError::System`] when the system gives no thread.
    pub(super) fn open(
        &mut self,
        port: Port,
        name: &str,
        sockets: Vec<(SocketAddr, Vec<UdpPort>)>,
        mut quick: impl Iterator<Item = Quick>,
    ) -> Result<Vec<SocketAddr>, ServeError> {
        let mut bound = Vec::new();
        for (address, sockets) in sockets {
            let count = sockets.len();
            for (number, socket) in sockets.into_iter().enumerate() {
                let lane = Lane::new(Arc::new(Door::new(port, count, self.behind.clone())), quick.next());
                let (stop, keep) = io::pipe()?;
                let ended = lane.serve(format!("{name}-{number}"), socket, stop)?;
                self.stop.push(keep);
                // It says nothing, and is gone with its thread.
                self.running.spawn(async move { drop(ended.await) });
            }
            bound.push(address);
        }
        Ok(bound)
    }

    /// Has them end, and returns when all have.
    pub(super) async fn end(&mut self) {
        self.stop.clear();
        while self.running.join_next().await.is_some() {}
    }

    /// Returns when one has ended, which none should before [`Self::end`].
    pub(super) async fn one_ended(&mut self) {
        self.running.join_next().await;
    }
}
