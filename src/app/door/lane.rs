//! A lane: one socket of a port, and the thread that serves it, with all it needs of its own, so that lanes wait for each other
//! nowhere. What can be answered at once is; the rest is handed to the tasks of the server.

use std::hash::RandomState;
use std::io::{self, PipeReader};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Door, Guard, sent_label, status_reply};
use crate::app::clock;
use crate::net::{self, Arrival, Bounds, Flood, RequestKey, UdpPort};
use crate::radius::{Code, PacketBuilder};
use crate::telemetry;

/// What one thread has for its own.
#[derive(Debug)]
pub(in crate::app) struct Lane {
    door: Arc<Door>,
    guard: Guard,
    /// What is answered at once is written here.
    builder: PacketBuilder,
}

impl Lane {
    /// A lane through a door that is no other lane's.
    pub(in crate::app) fn new(door: Arc<Door>) -> Self {
        let guard = Flood::new(Bounds::default(), RandomState::new());
        Self { door, guard, builder: PacketBuilder::request(Code::StatusServer, 0, [0; 16]) }
    }

    /// Serves a socket on a thread of its own until the other end of `stop` is closed. The receiver finds its sender gone when the
    /// thread has ended.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(in crate::app) fn serve(
        mut self,
        name: String,
        port: UdpPort,
        stop: PipeReader,
    ) -> io::Result<oneshot::Receiver<()>> {
        let (serving, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name).spawn(move || {
            let _serving = serving;
            let take = |datagram: &[u8], arrival: Arrival<'_>| self.take(datagram, arrival);
            if let Err(error) = net::receive_on_this_thread(&Arc::new(port), &stop, take) {
                tracing::error!(%error, "datagrams cannot be waited for");
            }
        })?;
        Ok(ended)
    }

    fn take(&mut self, datagram: &[u8], arrival: Arrival<'_>) {
        if let Err(label) = self.handle(datagram, arrival) {
            telemetry::count(label);
        }
    }

    /// Answers a datagram or hands it on to be worked on; else gives the label of its end.
    fn handle(&mut self, datagram: &[u8], arrival: Arrival<'_>) -> Result<(), &'static str> {
        let Self { door, guard, builder } = self;
        let (peer, received_at) = (arrival.peer(), clock::now());
        let settings = door.settings.current();
        let (packet, nas) = door.know(guard, datagram, peer, &settings, received_at)?;
        let key = RequestKey {
            source: peer,
            connection: 0,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        door.must_be_new(&key, received_at, |reply| arrival.reply(reply))?;
        door.must_be_within_bounds(&packet, nas, &settings, &key, received_at)?;
        let at_once = match packet.code() {
            // RFC 5997 §4.2: the answer says which service is up.
            Code::StatusServer => Some(status_reply(builder, door.port, &packet, nas)),
            _ => None,
        };
        match at_once {
            Some(Ok(reply)) => {
                door.duplicates().answered(&key, reply);
                telemetry::count(arrival.reply(reply).map_or("packet.unsent", |()| sent_label(reply)));
                Ok(())
            }
            Some(Err(label)) => {
                door.duplicates().forget(&key);
                Err(label)
            }
            None => door.begin(&packet, nas, key, arrival.replier(), received_at),
        }
    }
}
