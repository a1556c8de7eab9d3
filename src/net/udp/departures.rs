//! Replies of tasks that are ready at about the same moment, as those to all records of a commit are: the first waits until whoever else
//! can go on has done so, and then those to one peer that are alike long leave together. Knows nothing of their content.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use tokio::task::yield_now;
use tokio::time::sleep;

use super::{LONGEST, PAUSE, SEGMENTS, TRIES, UdpPort};

/// A reply that is about to leave.
#[derive(Debug)]
struct Departure {
    to: SocketAddr,
    from: Option<IpAddr>,
    reply: Vec<u8>,
}

/// Replies that are about to leave by one socket.
#[derive(Debug, Default)]
pub(super) struct Departures(Mutex<Vec<Departure>>);

impl Departures {
    /// Has a reply leave. Whoever comes first sends all, and comes back when that is done.
    pub(super) async fn send(
        &self,
        port: &UdpPort,
        (to, from): (SocketAddr, Option<IpAddr>),
        reply: Vec<u8>,
        settled: fn(SocketAddr, &[u8], io::Result<()>),
    ) {
        let is_first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(Departure { to, from, reply });
            waiting.len() == 1
        };
        if !is_first {
            return;
        }
        let first = First { departures: self, port, settled };
        yield_now().await;
        let mut leaving = self.take();
        drop(first);
        leaving.sort_unstable_by_key(|departure| (departure.to, departure.from, departure.reply.len()));
        let alike = |a: &Departure, b: &Departure| (a.to, a.from, a.reply.len()) == (b.to, b.from, b.reply.len());
        for some in leaving.chunk_by(alike).flat_map(|alike| alike.chunks(SEGMENTS)) {
            if !together(port, some).await {
                for Departure { to, from, reply } in some {
                    settled(*to, reply, in_time(|| port.transmit(reply, *to, *from)).await);
                }
            } else {
                some.iter().for_each(|departure| settled(departure.to, &departure.reply, Ok(())));
            }
        }
    }

    fn take(&self) -> Vec<Departure> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whoever came first. Were it stopped while it waits, nobody would send anything any more.
struct First<'a> {
    departures: &'a Departures,
    port: &'a UdpPort,
    settled: fn(SocketAddr, &[u8], io::Result<()>),
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        for Departure { to, from, reply } in self.departures.take() {
            (self.settled)(to, &reply, self.port.transmit(&reply, to, from));
        }
    }
}

/// Has replies leave that are alike in all but what they say; `false` when they must go one by one.
async fn together(port: &UdpPort, some: &[Departure]) -> bool {
    let [Departure { to, from, reply: first }, _, ..] = some else { return false };
    if first.is_empty() || first.len() > LONGEST || port.state.max_gso_segments() == 1 {
        return false;
    }
    let contents = some.iter().map(|departure| &departure.reply[..]).collect::<Vec<_>>().concat();
    in_time(|| port.transmit_segments(&contents, first.len(), *to, *from)).await.is_ok()
}

/// No waiting for the system's word that there is room: whoever wants that word gets it for every datagram that left.
pub(super) async fn in_time(send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    for _ in 0..TRIES {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            sent => return sent,
        }
    }
    send()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;
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
