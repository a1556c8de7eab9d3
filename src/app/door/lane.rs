//! A lane: one socket of a port, and the thread that serves it, with all it needs of its own, so that lanes wait for each other
//! nowhere, but for the moment in which one adds to the logins of users who are not remembered. What can be answered at once is; records go to the ledger, the rest to the tasks of the server.

use std::hash::RandomState;
use std::io::{self, PipeReader};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Door, Guard, Port, count_sent, status_code, unwritable};
use crate::app::access::{LongWay, Quick};
use crate::app::clock;
use crate::app::current::Reader;
use crate::app::settings::Settings;
use crate::net::{self, Arrival, Bounds, Flood, Outbox, RequestKey, Taker, UdpPort, WayBack};
use crate::radius::{Code, PacketBuilder, Signing, TOGETHER};
use crate::telemetry;

/// Accounting-Requests in numbers wait so long for each other, as they do in the ledger: a wake of the thread costs more than taking one.
const LULL: Duration = Duration::from_millis(1);

/// What one thread has for its own.
#[derive(Debug)]
pub(in crate::app) struct Lane {
    door: Arc<Door>,
    settings: Reader<Settings>,
    guard: Guard,
    /// Answers most logins at once; of a port that takes them.
    quick: Option<Quick>,
    /// What else is answered at once is written here.
    builder: PacketBuilder,
    /// Replies that are signed together, for less than it takes one by one,
    signing: Signing,
    /// and what each answers, and where it goes.
    asked: Vec<(RequestKey, WayBack)>,
}

impl Lane {
    /// A lane through a door that is no other lane's.
    pub(in crate::app) fn new(door: Arc<Door>, quick: Option<Quick>) -> Self {
        let (settings, guard) = (door.settings.reader(), Flood::new(Bounds::default(), RandomState::new()));
        let builder = PacketBuilder::request(Code::StatusServer, 0, [0; 16]);
        let (signing, asked) = (Signing::default(), Vec::with_capacity(TOGETHER));
        Self { door, settings, guard, quick, builder, signing, asked }
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
            if let Err(error) = self.run(&Arc::new(port), &stop) {
                tracing::error!(%error, "datagrams cannot be waited for");
            }
        })?;
        Ok(ended)
    }

    /// Serves a socket on this thread until the other end of `stop` is closed.
    fn run(&mut self, port: &Arc<UdpPort>, stop: &PipeReader) -> io::Result<()> {
        let lull = if self.door.port == Port::Accounting { LULL } else { Duration::ZERO };
        net::receive_on_this_thread(port, stop, lull, self, |reply, sent| count_sent(reply, &sent))
    }

    /// Signs what waits for it, and has it leave.
    fn sign(&mut self, port: &UdpPort, outbox: &mut Outbox) {
        let Self { door, signing, asked, .. } = self;
        for ((key, way_back), reply) in asked.drain(..).zip(signing.sign()) {
            door.duplicates().answered(&key, reply);
            outbox.reply(port, way_back, reply);
        }
    }

    /// Answers a datagram or hands it on to be worked on; else gives the label of its end.
    fn handle(&mut self, datagram: &[u8], arrival: Arrival<'_>, outbox: &mut Outbox) -> Result<(), &'static str> {
        let Self { door, settings, guard, quick, builder, signing, asked } = self;
        let (peer, received_at) = (arrival.peer(), clock::now());
        let settings = settings.get().0;
        let (packet, nas, secret) = door.know(guard, datagram, peer, settings, received_at)?;
        let key = RequestKey {
            source: peer,
            connection: 0,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        door.must_be_new(&key, received_at, |reply| arrival.reply(reply))?;
        door.must_be_within_bounds(&packet, nas, settings, &key, received_at)?;
        let from = (peer.ip().to_canonical(), received_at);
        let at_once = match (packet.code(), quick) {
            (Code::StatusServer, _) => {
                builder.restart_reply(&packet, status_code(door.port));
                let reply = builder.proxy_states_of(&packet);
                let left = reply.and_then(|reply| reply.sign_reply_together(secret, signing));
                left.map_err(|error| {
                    door.duplicates().forget(&key);
                    unwritable(nas, &error)
                })?;
                true
            }
            (Code::AccessRequest, Some(quick)) => match quick.answer(&packet, (nas, secret), from, signing) {
                Ok(()) => true,
                Err(LongWay::NotRemembered) => {
                    return door.begin_with_others(&packet, nas, key, arrival.replier(), received_at);
                }
                Err(LongWay::Other) => false,
            },
            _ => false,
        };
        if !at_once {
            return door.begin(&packet, nas, key, arrival.replier(), (settings, received_at));
        }
        asked.push((key, arrival.way_back()));
        if signing.is_full() {
            self.sign(arrival.port(), outbox);
        }
        Ok(())
    }
}

impl Taker for Lane {
    fn take(&mut self, datagram: &[u8], arrival: Arrival<'_>, outbox: &mut Outbox) {
        if let Err(label) = self.handle(datagram, arrival, outbox) {
            telemetry::count(label);
        }
    }

    fn taken(&mut self, port: &UdpPort, outbox: &mut Outbox) {
        self.sign(port, outbox);
    }
}

#[cfg(test)]
mod tests;
