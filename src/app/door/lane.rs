//! A lane: one socket of a port, and the thread that serves it, with all it needs of its own, so that lanes wait for each other
//! nowhere, but for the moment in which one adds to the logins of users who are not remembered. What can be answered at once is; records go to the ledger, the rest to the tasks of the server.

use std::hash::RandomState;
use std::io::{self, PipeReader};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::whose::first_asked;
use super::{Door, Glance, Guard, Port, count_sent, glance, status_code, unwritable};
use crate::app::access::{LongWay, Quick};
use crate::app::clock;
use crate::app::current::Reader;
use crate::app::settings::Settings;
use crate::model::{Nas, Timestamp};
use crate::net::{self, Arrival, Bounds, Flood, Outbox, RequestKey, Taker, UdpPort, WayBack};
use crate::radius::{Code, Packet, PacketBuilder, PreparedSecret, RequestChecking, Signing, TOGETHER};
use crate::telemetry;

/// Accounting-Requests in numbers wait so long for each other, as they do in the ledger: a wake of the thread costs more than taking one.
const LULL: Duration = Duration::from_millis(1);

/// What one thread has for its own.
#[derive(Debug)]
pub(in crate::app) struct Lane {
    door: Arc<Door>,
    settings: Reader<Settings>,
    guard: Guard,
    /// Requests of sources that have proven the secret are checked together when they come so, where that takes less than one by one.
    checking: RequestChecking,
    replies: Replies,
}

/// What is answered at once.
#[derive(Debug)]
struct Replies {
    /// Answers most logins; of a port that takes them.
    quick: Option<Quick>,
    /// What else is answered at once is written here.
    builder: PacketBuilder,
    /// Replies that are signed together, where that takes less than one by one,
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
        let replies = Replies { quick, builder, signing, asked };
        Self { door, settings, guard, checking: RequestChecking::default(), replies }
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

    /// Takes what came together, each in its turn.
    fn take_together<'d>(&mut self, datagrams: [Option<(&'d [u8], Arrival<'d>)>; TOGETHER], outbox: &mut Outbox) {
        let Self { door, settings, guard, checking, replies } = self;
        let (received_at, settings) = (clock::now(), settings.get().0);
        let glances = datagrams.map(|datagram| {
            let (datagram, arrival) = datagram?;
            Some(glance(guard, (datagram, arrival.peer()), settings, received_at))
        });
        let asked = glances.each_ref().map(|glance| {
            let Glance { peer, there, read: Some(Ok(packet)), .. } = glance.as_ref()? else { return None };
            Some((packet, first_asked(door.port, packet, (there, peer.ip()), received_at)?))
        });
        let checked = checking.check(asked);
        for ((datagram, glance), checked) in datagrams.into_iter().zip(glances).zip(&checked) {
            let (Some((_, arrival)), Some(glance)) = (datagram, glance) else { continue };
            let known = door.know(guard, glance, checked.as_ref(), received_at);
            let taken = known.and_then(|(packet, nas, secret)| {
                replies.take(door, (&packet, nas, secret), arrival, (settings, received_at))
            });
            if let Err(label) = taken {
                telemetry::count(label);
            }
            if replies.signing.is_full() {
                replies.sign(door, arrival.port(), outbox);
            }
        }
    }
}

impl Replies {
    /// Answers a request or hands it on to be worked on; else gives the label of its end.
    fn take(
        &mut self,
        door: &Arc<Door>,
        (packet, nas, secret): (&Packet<'_>, &Arc<Nas>, &PreparedSecret),
        arrival: Arrival<'_>,
        (settings, received_at): (&Settings, Timestamp),
    ) -> Result<(), &'static str> {
        let Self { quick, builder, signing, asked } = self;
        let peer = arrival.peer();
        let key = RequestKey {
            source: peer,
            connection: 0,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        door.must_be_new(&key, received_at, |reply| arrival.reply(reply))?;
        door.must_be_within_bounds(packet, nas, settings, &key, received_at)?;
        let from = (peer.ip().to_canonical(), received_at);
        let at_once = match (packet.code(), quick) {
            (Code::StatusServer, _) => {
                builder.restart_reply(packet, status_code(door.port));
                let reply = builder.proxy_states_of(packet);
                let left = reply.and_then(|reply| reply.sign_reply_together(secret, signing));
                left.map_err(|error| {
                    door.duplicates().forget(&key);
                    let label = unwritable(nas, &error);
                    door.say_unanswered(peer.ip(), label, received_at);
                    label
                })?;
                true
            }
            (Code::AccessRequest, Some(quick)) => match quick.answer(packet, (nas, secret), from, signing) {
                Ok(()) => true,
                Err(LongWay::NotRemembered) => {
                    return door.begin_with_others(packet, nas, key, arrival.replier(), received_at);
                }
                Err(LongWay::Other) => false,
            },
            _ => false,
        };
        if !at_once {
            return door.begin(packet, nas, key, arrival.replier(), (settings, received_at));
        }
        asked.push((key, arrival.way_back()));
        Ok(())
    }

    /// Signs what waits for it, and has it leave.
    fn sign(&mut self, door: &Door, port: &UdpPort, outbox: &mut Outbox) {
        for ((key, way_back), reply) in self.asked.drain(..).zip(self.signing.sign()) {
            door.duplicates().answered(&key, reply);
            outbox.reply(port, way_back, reply);
        }
    }
}

impl Taker for Lane {
    fn take<'d>(&mut self, datagrams: impl Iterator<Item = (&'d [u8], Arrival<'d>)>, outbox: &mut Outbox) {
        let (mut datagrams, mut port) = (datagrams.fuse(), None);
        while let Some(first) = datagrams.next() {
            let mut together = [const { None }; TOGETHER];
            port = Some(first.1.port());
            together[0] = Some(first);
            together[1..].fill_with(|| datagrams.next());
            self.take_together(together, outbox);
        }
        if let Some(port) = port {
            self.replies.sign(&self.door, port, outbox);
        }
    }
}

#[cfg(test)]
mod tests;
