//! Replies of tasks that are ready at about the same moment, as those to logins whose users were looked up together are: the first waits
//! until whoever else can go on has done so, and then those to one peer that are alike long leave together. Knows nothing of their content.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use tokio::time::{Instant, sleep};

use super::{LONGEST, PATIENCE, PAUSE, SEGMENTS, UdpPort};

/// A reply that is about to leave.
#[derive(Debug)]
pub(super) struct Departure {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    pub reply: Vec<u8>,
}

impl Departure {
    /// What those that leave together have in common.
    fn kind(&self) -> (SocketAddr, Option<IpAddr>, usize) {
        (self.to, self.from, self.reply.len())
    }
}

/// Replies that are about to leave by one socket.
#[derive(Debug, Default)]
pub(super) struct Departures(Mutex<Vec<Departure>>);

impl Departures {
    /// Has a reply leave. Whoever comes first sends all when others have had their turn, and whoever makes them many sends them at once;
    /// these come back when that is done.
    pub(super) async fn send(
        &self,
        port: &UdpPort,
        (to, from): (SocketAddr, Option<IpAddr>),
        reply: Vec<u8>,
        settled: fn(SocketAddr, &[u8], io::Result<()>),
    ) {
        let waiting = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(Departure { to, from, reply });
            waiting.len()
        };
        match waiting {
            1 => {
                let mut first = First { departures: self, port, settled, waits: true };
                give_way().await;
                first.waits = false;
                Leaving::new(port, self.take(), settled).leave(Instant::now() + PATIENCE).await;
            }
            SEGMENTS => Leaving::new(port, self.take(), settled).leave(Instant::now() + PATIENCE).await,
            _ => (),
        }
    }

    fn take(&self) -> Vec<Departure> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lets those go on that can. Tokio's own way of that waits until this worker has nothing else to do.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whoever came first. Were it stopped while it waits, nobody would send anything any more.
struct First<'a> {
    departures: &'a Departures,
    port: &'a UdpPort,
    settled: fn(SocketAddr, &[u8], io::Result<()>),
    waits: bool,
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        if self.waits {
            drop(Leaving::new(self.port, self.departures.take(), self.settled));
        }
    }
}

/// Replies that leave now. Those that have not when this is dropped are tried once.
pub(super) struct Leaving<'a> {
    port: &'a UdpPort,
    settled: fn(SocketAddr, &[u8], io::Result<()>),
    rest: Vec<Departure>,
}

impl<'a> Leaving<'a> {
    pub(super) fn new(port: &'a UdpPort, rest: Vec<Departure>, settled: fn(SocketAddr, &[u8], io::Result<()>)) -> Self {
        Self { port, settled, rest }
    }

    /// Has them leave. The system may have no room until then, for all of them: whoever comes last would wait the longest.
    pub(super) async fn leave(mut self, until: Instant) {
        self.rest.sort_unstable_by_key(Departure::kind);
        while let Some(kind) = self.rest.last().map(Departure::kind) {
            let alike = self.rest.iter().rev().take(SEGMENTS).take_while(|departure| departure.kind() == kind).count();
            if !self.together(alike, until).await {
                for _ in 0..alike {
                    let Some(Departure { to, from, reply }) = self.rest.last() else { return };
                    let sent = in_time(until, || self.port.transmit(reply, *to, *from)).await;
                    (self.settled)(*to, reply, sent);
                    self.rest.pop();
                }
            }
        }
    }

    /// Has the last so many leave, which are alike in all but what they say; `false` when they must go one by one.
    async fn together(&mut self, alike: usize, until: Instant) -> bool {
        let some = &self.rest[self.rest.len() - alike..];
        let [Departure { to, from, reply: first }, _, ..] = some else { return false };
        if first.is_empty() || first.len() > LONGEST || self.port.state.max_gso_segments() == 1 {
            return false;
        }
        let contents = some.iter().map(|departure| &departure.reply[..]).collect::<Vec<_>>().concat();
        let send = || self.port.transmit_segments(&contents, first.len(), *to, *from);
        if in_time(until, send).await.is_err() {
            return false;
        }
        for departure in self.rest.drain(self.rest.len() - alike..) {
            (self.settled)(departure.to, &departure.reply, Ok(()));
        }
        true
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        for Departure { to, from, reply } in self.rest.drain(..) {
            (self.settled)(to, &reply, self.port.transmit(&reply, to, from));
        }
    }
}

/// Tries until then at least once. No waiting for the system's word that there is room: whoever wants that word gets it for every datagram
/// that left.
pub(super) async fn in_time(until: Instant, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => sleep(PAUSE).await,
            sent => return sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::net::UdpSocket;
    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::super::bind;
    use super::*;

    static SETTLED: AtomicUsize = AtomicUsize::new(0);

    fn settled(_: SocketAddr, _: &[u8], sent: io::Result<()>) {
        sent.unwrap();
        SETTLED.fetch_add(1, Ordering::Relaxed);
    }

    async fn next(client: &UdpSocket) -> Vec<u8> {
        let mut octets = [0; 5000];
        let came = timeout(Duration::from_secs(30), client.recv(&mut octets)).await.unwrap().unwrap();
        octets[..came].to_vec()
    }

    /// Replies of many tasks, of lengths that can and cannot leave together, to several peers and from the address that was asked: each
    /// arrives as it was, and once; also where whoever was to send them all is stopped.
    #[tokio::test]
    async fn replies_of_many_tasks_arrive_one_by_one() {
        let before = SETTLED.load(Ordering::Relaxed);
        let mut sent = 0;
        for (any, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.9.8.7"), ("[::]:0", "::1")] {
            let port = Arc::new(bind(any.parse().unwrap()).unwrap());
            let asked: IpAddr = asked.parse().unwrap();
            for stopped in [false, true] {
                let (mut clients, mut expected) = (Vec::new(), Vec::new());
                for _ in 0..3 {
                    clients.push(UdpSocket::bind((asked, 0)).await.unwrap());
                    expected.push(Vec::new());
                }
                let (departures, mut tasks, mut first) = (Arc::new(Departures::default()), JoinSet::new(), None);
                for number in 0_u8..200 {
                    let length = [20, 110, 110, 4096, 1200, 1201, 0][usize::from(number) % 7];
                    let (client, reply) = (usize::from(number) % 3, vec![number; length]);
                    expected[client].push(reply.clone());
                    let way = (clients[client].local_addr().unwrap(), port.any_address.then_some(asked));
                    let (departures, port) = (Arc::clone(&departures), Arc::clone(&port));
                    let task = tasks.spawn(async move { departures.send(&port, way, reply, settled).await });
                    first.get_or_insert(task);
                    if stopped && number == 100 {
                        // Each has been as far as it goes: the first waits, and the others lie with it.
                        yield_now().await;
                        first.take().unwrap().abort();
                        first = Some(tasks.spawn(async {}));
                    }
                }
                while tasks.join_next().await.is_some() {}
                for (client, mut expected) in clients.iter().zip(expected) {
                    sent += expected.len();
                    let mut came = Vec::new();
                    for _ in 0..expected.len() {
                        came.push(next(client).await);
                    }
                    expected.sort();
                    came.sort();
                    assert_eq!(came, expected, "{any}");
                }
            }
        }
        assert_eq!(SETTLED.load(Ordering::Relaxed) - before, sent, "each was settled");
    }
}
