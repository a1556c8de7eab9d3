//! Replies that leave together: those in a row that go to one peer and are alike long are handed to the system in one call
//! (UDP_SEGMENT, udp(7)), which costs little more than one of them alone. On the wire each is a datagram of its own. Knows nothing of
//! their content, and waits for nothing: what is here leaves when whoever fills it has no more at hand.

use std::io;

use super::{LONGEST, SEGMENTS, UdpPort, WayBack};

/// Replies of one socket that are about to leave.
#[derive(Debug)]
pub struct Outbox {
    octets: Vec<u8>,
    /// Where all of them go, and where from.
    way: Option<WayBack>,
    /// Octets of each but the last, which may be shorter.
    each: usize,
    /// Told of every reply what became of it.
    settled: fn(&[u8], io::Result<()>),
}

impl Outbox {
    /// An empty one. `settled` hears of every reply whether the system took it.
    pub(super) fn new(settled: fn(&[u8], io::Result<()>)) -> Self {
        Self { octets: Vec::with_capacity(LONGEST * SEGMENTS), way: None, each: 0, settled }
    }

    /// Has a reply leave, with those to the same peer that came before and come behind it.
    pub fn reply(&mut self, port: &UdpPort, way: WayBack, reply: &[u8]) {
        if !self.goes_with_the_others(way, reply) {
            self.flush(port);
        }
        if reply.is_empty() || reply.len() > LONGEST || port.state.max_gso_segments() == 1 {
            return (self.settled)(reply, port.transmit(reply, way.to, way.from));
        }
        if self.octets.is_empty() {
            (self.way, self.each) = (Some(way), reply.len());
        }
        self.octets.extend_from_slice(reply);
    }

    fn goes_with_the_others(&self, way: WayBack, reply: &[u8]) -> bool {
        self.way == Some(way)
            && (1..=self.each).contains(&reply.len())
            // One that is shorter is the last.
            && self.octets.len().is_multiple_of(self.each)
            && self.octets.len() < self.each * SEGMENTS
    }

    /// Sends what is here.
    pub(super) fn flush(&mut self, port: &UdpPort) {
        let Some(WayBack { to, from }) = self.way.take() else { return };
        let sent = match self.octets.len() > self.each {
            false => port.transmit(&self.octets, to, from),
            true => port.transmit_segments(&self.octets, self.each, to, from),
        };
        for reply in self.octets.chunks(self.each) {
            let sent = match &sent {
                Ok(()) => Ok(()),
                // There is no room for any.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
                // Together it cannot be done: the state has noted that, and has what follows leave one by one.
                Err(_) => port.transmit(reply, to, from),
            };
            (self.settled)(reply, sent);
        }
        self.octets.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::bind;
    use super::*;

    static SENT: AtomicUsize = AtomicUsize::new(0);

    fn settled(_: &[u8], sent: io::Result<()>) {
        sent.unwrap();
        SENT.fetch_add(1, Ordering::Relaxed);
    }

    /// Each comes as a datagram of its own, whole and in order, from the address that was asked, whatever could leave together.
    #[test]
    fn replies_that_leave_together_arrive_one_by_one() {
        let lengths = [20, 110, 110, 110, 20, 110, 110, 150, 0, 1, 4096, 1200, 1200, 1201, 30];
        let long: Vec<usize> = lengths.into_iter().chain([64; 100]).collect();
        let before = SENT.load(Ordering::Relaxed);
        let mut replies = 0;
        for (any, asked) in
            [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.9.8.7"), ("[::1]:0", "::1"), ("[::]:0", "::1")]
        {
            let port = Arc::new(bind(any.parse().unwrap()).unwrap());
            let asked: IpAddr = asked.parse().unwrap();
            let clients = [(); 2].map(|()| UdpSocket::bind((asked, 0)).unwrap());
            let mut outbox = Outbox::new(settled);
            // In runs, and in turns.
            let orders = [vec![0; long.len()], (0..long.len()).map(|place| place / 3 % 2).collect::<Vec<_>>()];
            for order in &orders {
                for (place, (client, length)) in order.iter().zip(&long).enumerate() {
                    let peer = clients[*client].local_addr().unwrap();
                    let asked = port.any_address.then_some(asked);
                    outbox.reply(&port, WayBack { to: peer, from: asked }, &vec![place as u8; *length]);
                }
                outbox.flush(&port);
                replies += long.len();
                for (place, (client, length)) in order.iter().zip(&long).enumerate() {
                    let client = &clients[*client];
                    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    let mut octets = [0; 5000];
                    let (came, from) = client.recv_from(&mut octets).unwrap();
                    assert_eq!(octets[..came], vec![place as u8; *length], "{any} {place}");
                    assert_eq!(from, SocketAddr::new(asked, port.local_addr().unwrap().port()));
                }
            }
        }
        assert_eq!(SENT.load(Ordering::Relaxed) - before, replies, "each was settled");
    }
}
