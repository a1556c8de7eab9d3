//! Taking datagrams in. Knows nothing of their content, and holds no more than the system's batch of them.

use std::io::{self, IoSliceMut, PipeReader};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::io::Interest;

use super::{Outbox, Replier, UdpPort};
use crate::telemetry;

/// Calls' worth of datagrams taken at once.
const AT_ONCE: usize = BATCH_SIZE;
/// Full calls before stopping is looked for.
const FULL_AT_ONCE: usize = 64;
/// The system may put datagrams of one sender together, up to what a datagram can be. Some more, so that the beginnings of buffers
/// do not all fall into the same few places of the processor's caches.
const BUFFER: usize = (1 << 16) + 256;

/// Where a datagram came from and what it was sent to; so its reply goes back from the one to the other.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    pub(super) port: &'a Arc<UdpPort>,
    pub(super) peer: SocketAddr,
    pub(super) asked: Option<IpAddr>,
}

/// Where the reply to a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayBack {
    pub(super) to: SocketAddr,
    /// The address it leaves from, where there are several.
    pub(super) from: Option<IpAddr>,
}

impl<'a> Arrival<'a> {
    /// The port it came to.
    pub fn port(&self) -> &'a UdpPort {
        self.port
    }

    /// Who sent it.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The way back, for the [`Outbox`].
    pub fn way_back(&self) -> WayBack {
        WayBack { to: self.peer, from: self.asked }
    }

    /// Sends a reply if that can be done without waiting. One of many is cheaper by the [`Outbox`].
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when it has no room now.
    pub fn reply(&self, reply: &[u8]) -> io::Result<()> {
        self.port.transmit(reply, self.peer, self.asked)
    }

    /// The way back, for whoever replies later.
    pub fn replier(&self) -> Replier {
        Replier::datagram(self.port, self.peer, self.asked)
    }
}

/// Hands every datagram to `take`, for ever. Drop the future to stop. It ends only when the system does not let it wait for
/// datagrams, and says so in the log.
pub async fn receive(port: Arc<UdpPort>, mut take: impl FnMut(&[u8], Arrival<'_>)) {
    let waiting = port.socket.try_clone().and_then(tokio::net::UdpSocket::from_std);
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(error) => return tracing::error!(%error, "datagrams cannot be waited for"),
    };
    let mut batch = Batch::new();
    loop {
        // An ICMP error of an earlier reply shows up here; it says nothing about the next datagram.
        match waiting.async_io(Interest::READABLE, || batch.fill(&port)).await {
            Ok(received) => batch.datagrams(received, &port).for_each(|(datagram, arrival)| take(datagram, arrival)),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// What a thread does that takes datagrams in.
pub trait Taker {
    /// Takes all that came together.
    fn take<'d>(&mut self, datagrams: impl Iterator<Item = (&'d [u8], Arrival<'d>)>, outbox: &mut Outbox);
}

/// As [`receive`], on this thread and without a runtime, until the other end of `stop` is closed or written to. For a thread that
/// does nothing else: it sleeps in the system, and is woken by datagrams alone, not by the room that each reply leaves behind. What
/// `taker` puts into the outbox leaves before the next call for datagrams, and `settled` hears what became of it. Datagrams that come
/// sooner after the last ones than `lull` wait until it is over, and cost one wake together; zero keeps none waiting.
///
/// # Errors
/// What the system says when it does not let it wait for datagrams.
pub fn receive_on_this_thread(
    port: &Arc<UdpPort>,
    stop: &PipeReader,
    lull: Duration,
    taker: &mut impl Taker,
    settled: fn(&[u8], io::Result<()>),
) -> io::Result<()> {
    let (mut batch, mut outbox) = (Batch::new(), Outbox::new(settled));
    let mut lull_ends = Instant::now();
    loop {
        let mut awaited = [PollFd::new(&port.socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut awaited, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let [socket, stop] = awaited.map(|one| one.revents());
        if !stop.is_empty() {
            return Ok(());
        }
        if socket.is_empty() {
            continue;
        }
        if !lull.is_zero() {
            std::thread::sleep(lull_ends.saturating_duration_since(Instant::now()));
            lull_ends = Instant::now() + lull;
        }
        // While calls come back full there is more, up to the point where stopping must be looked for again.
        for _ in 0..FULL_AT_ONCE {
            match batch.fill(port) {
                Ok(received) => {
                    taker.take(batch.datagrams(received, port), &mut outbox);
                    outbox.flush(port);
                    if received < AT_ONCE {
                        break;
                    }
                }
                // Nothing more, or an ICMP error of an earlier reply, which says nothing about the next datagram.
                Err(_) => break,
            }
        }
    }
}

/// What one call of the system brings.
struct Batch {
    memory: Vec<u8>,
    metas: [RecvMeta; AT_ONCE],
}

impl Batch {
    fn new() -> Self {
        Self { memory: vec![0; BUFFER * AT_ONCE], metas: [RecvMeta::default(); AT_ONCE] }
    }

    /// How many places were filled.
    fn fill(&mut self, port: &UdpPort) -> io::Result<usize> {
        let mut rest = self.memory.chunks_mut(BUFFER);
        let mut buffers: [IoSliceMut<'_>; AT_ONCE] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        port.state.recv(UdpSockRef::from(&port.socket), &mut buffers, &mut self.metas)
    }

    /// What is in the places that were filled.
    fn datagrams<'b>(&'b self, filled: usize, port: &'b Arc<UdpPort>) -> impl Iterator<Item = (&'b [u8], Arrival<'b>)> {
        let filled = self.metas[..filled].iter().zip(self.memory.chunks(BUFFER));
        filled.filter(|(meta, _)| is_answerable(meta)).flat_map(move |(meta, octets)| {
            let arrival = Arrival { port, peer: meta.addr, asked: meta.dst_ip.filter(|_| port.any_address) };
            let (empty, datagrams) = match meta.stride {
                0 => (Some(&[][..]), [].chunks(1)),
                stride => (None, octets[..meta.len].chunks(stride)),
            };
            empty.into_iter().chain(datagrams).map(move |datagram| (datagram, arrival))
        })
    }
}

/// Nothing can be sent to port 0, and who tries is told so in a way that looks like a socket that can send nothing together any more.
fn is_answerable(meta: &RecvMeta) -> bool {
    let has_port = meta.addr.port() != 0;
    if !has_port {
        telemetry::add("packet.port-zero", meta.len.div_ceil(meta.stride.max(1)).max(1) as u64);
    }
    has_port
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::super::{RECEIVE_BUFFER, bind, bind_shared};
    use super::*;

    #[test]
    fn what_comes_from_port_0_is_not_taken() {
        let port = Arc::new(bind("127.0.0.1:0".parse().unwrap()).unwrap());
        let mut batch = Batch::new();
        for (meta, from) in batch.metas.iter_mut().zip([1812, 0, 1813]) {
            *meta = RecvMeta { addr: SocketAddr::from(([127, 0, 0, 1], from)), len: 20, stride: 20, ..*meta };
        }
        let peers: Vec<u16> = batch.datagrams(3, &port).map(|(_, arrival)| arrival.peer().port()).collect();
        assert_eq!(peers, [1812, 1813]);
    }

    async fn answer(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 5000];
        let answer = tokio::time::timeout(Duration::from_secs(30), client.recv_from(&mut buffer)).await;
        let (octets, from) = answer.unwrap().unwrap();
        (buffer[..octets].to_vec(), from)
    }

    /// What is sent to each address is answered from there, in the order it came, large or small or empty.
    #[tokio::test]
    async fn replies_leave_from_the_address_that_was_asked() {
        for (any, asked) in [("0.0.0.0:0", ["127.0.0.1", "127.9.8.7"]), ("[::]:0", ["::1", "::1"])] {
            let port = Arc::new(bind(any.parse().unwrap()).unwrap());
            let number = port.local_addr().unwrap().port();
            let serving =
                tokio::spawn(receive(Arc::clone(&port), |datagram, arrival| arrival.reply(datagram).unwrap()));
            for asked in asked {
                let to = SocketAddr::new(asked.parse().unwrap(), number);
                let client = UdpSocket::bind(any).await.unwrap();
                let sent = [vec![1; 20], vec![2; 4096], vec![], vec![3; 20], vec![4; 20]];
                for datagram in &sent {
                    client.send_to(datagram, to).await.unwrap();
                }
                for datagram in &sent {
                    assert_eq!(answer(&client).await, (datagram.clone(), to));
                }
            }
            serving.abort();
        }
    }

    /// Answers with its number, every other datagram at once and the rest when it has seen all that came together.
    struct Numbered(u8, bool);

    impl Taker for Numbered {
        fn take<'d>(&mut self, datagrams: impl Iterator<Item = (&'d [u8], Arrival<'d>)>, outbox: &mut Outbox) {
            let mut later = Vec::new();
            for (_, arrival) in datagrams {
                self.1 = !self.1;
                match self.1 {
                    true => later.push(arrival),
                    false => outbox.reply(arrival.port, arrival.way_back(), &[self.0]),
                }
            }
            later.iter().for_each(|arrival| outbox.reply(arrival.port, arrival.way_back(), &[self.0]));
        }
    }

    /// Sockets that share a port, each served by a thread: each sender always meets the same one, all of them are met, and replies
    /// leave from the address that was asked.
    #[test]
    fn several_sockets_share_what_comes_by_sender() {
        for (any, asked, lull) in [("0.0.0.0:0", "127.9.8.7", 0), ("127.0.0.1:0", "127.0.0.1", 2), ("[::]:0", "::1", 0)]
        {
            let any: SocketAddr = any.parse().unwrap();
            let ports = bind_shared(any, 3, RECEIVE_BUFFER).unwrap();
            let to = SocketAddr::new(asked.parse().unwrap(), ports[0].local_addr().unwrap().port());
            let serving: Vec<_> = (0_u8..)
                .zip(ports)
                .map(|(number, port)| {
                    let (stop, keep) = io::pipe().unwrap();
                    let serve = move || {
                        let (mut taker, lull) = (Numbered(number, false), Duration::from_millis(lull));
                        receive_on_this_thread(&Arc::new(port), &stop, lull, &mut taker, |_, sent| sent.unwrap())
                    };
                    (std::thread::spawn(serve), keep)
                })
                .collect();
            let mut met = [false; 3];
            // One in 3⁶⁴ that a socket is missed by chance, were the system to draw it anew for each sender.
            for _ in 0..64 {
                let client = std::net::UdpSocket::bind((any.ip(), 0)).unwrap();
                client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut by = None;
                for _ in 0..4 {
                    client.send_to(b"x", to).unwrap();
                    let mut number = [0];
                    assert_eq!(client.recv_from(&mut number).unwrap(), (1, to));
                    assert_eq!(*by.get_or_insert(number[0]), number[0]);
                    met[usize::from(number[0])] = true;
                }
            }
            assert_eq!(met, [true; 3]);
            for (thread, keep) in serving {
                drop(keep);
                thread.join().unwrap().unwrap();
            }
        }
    }
}
