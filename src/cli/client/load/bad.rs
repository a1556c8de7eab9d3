//! A flood: packets no server answers, at a rate of their own. Nobody waits for anything; that an answer came is a finding.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::lane::Service;
use super::life::{Draw, Life, Step, Writer};
use super::wire::{self, AT_ONCE, Receiver};
use super::worker::{Draws, Task, wake_punctually};
use crate::radius::{Packet, PreparedSecret};

/// Packets are sent in bursts this far apart, as far as the rate asks for more than one.
const TICK: Duration = Duration::from_millis(1);

/// What is wrong with the packets of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Bad {
    /// Nothing but where they come from: say with --source an address that is no NAS's.
    Unknown,
    /// Made with a secret that is not the server's.
    Secret,
    /// No packets: a Length that is not the datagram's, attributes that do not fit, codes nobody knows.
    Malformed,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Sent {
    /// Datagrams the system took.
    pub(super) sent: u64,
    /// Those it had no room for.
    pub(super) refused: u64,
    /// Datagrams that came back, of those there was room for.
    pub(super) answered: u64,
}

impl Bad {
    /// The word on the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Secret => "secret",
            Self::Malformed => "malformed",
        }
    }

    /// As many datagrams as leave with one call.
    fn datagrams(self, task: &Task, draws: &mut Draws) -> Vec<Vec<u8>> {
        let another = PreparedSecret::new(&draws.octets());
        let secret = if self == Self::Secret { &another } else { &task.plan.secret };
        let mut writer = Writer::new();
        let one = |place: usize| {
            let life = Life::new(task.next_number(), 0);
            let draw = Draw { session_time: 0, authenticator: draws.octets(), peer_challenge: [0; 16] };
            let packet = life.write_with(&mut writer, &task.plan, secret, Step::Login, place as u8, &draw);
            let mut packet = packet.expect("what a session says fits into a packet").to_vec();
            if self == Self::Malformed {
                spoil(&mut packet, place);
            }
            packet
        };
        (0..AT_ONCE).map(one).collect()
    }
}

/// One of the ways in which octets are no packet (RFC 2865 §3, §5).
fn spoil(packet: &mut Vec<u8>, way: usize) {
    match way % 5 {
        // Less than a header.
        0 => packet.truncate(way % 20),
        // A Length beyond the datagram, and below the header.
        1 => packet[2..4].copy_from_slice(&4000_u16.to_be_bytes()),
        2 => packet[2..4].copy_from_slice(&19_u16.to_be_bytes()),
        // An attribute shorter than its own header, and one beyond the packet.
        3 => packet[21] = 1,
        _ => packet[21] = 255,
    }
    debug_assert!(Packet::parse(packet).is_err());
}

/// Sends one packet each so long, the first so long after the start, until the end.
pub(super) fn run(task: &Task, bad: Bad, each: Duration, offset: Duration, ports: Vec<UdpSocket>) -> io::Result<Sent> {
    wake_punctually();
    let mut draws = Draws::new();
    let mut datagrams = bad.datagrams(task, &mut draws);
    let (mut tally, mut due) = (Sent::default(), task.start + offset);
    let to = task.destination(Service::Auth);
    let mut turns = ports.iter().cycle();
    loop {
        let now = Instant::now();
        if now >= task.end {
            break;
        }
        while due <= now {
            let Some(port) = turns.next() else { break };
            let late = now.duration_since(due).as_nanos() / each.as_nanos().max(1) + 1;
            let count = usize::try_from(late).unwrap_or(AT_ONCE).min(AT_ONCE);
            // What is signed stays as it was signed: where nobody looks at it, nobody sees a repeat.
            if bad != Bad::Unknown {
                let fresh = draws.octets();
                for (datagram, octet) in datagrams[..count].iter_mut().zip(fresh.iter().cycle()) {
                    renew(datagram, *octet);
                }
            }
            let sent = wire::send(port, datagrams[..count].iter().map(|datagram| (datagram.as_slice(), Some(to))));
            tally.sent += sent as u64;
            tally.refused += (count - sent) as u64;
            due += each * count as u32;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()).max(TICK));
    }
    let mut receiver = Receiver::new();
    for port in &ports {
        loop {
            match receiver.receive(port) {
                0 => break,
                more => tally.answered += more as u64,
            }
        }
    }
    Ok(tally)
}

/// Another Identifier and another authenticator, so that none is a repeat. What is wrong with it stays as it is.
fn renew(datagram: &mut [u8], octet: u8) {
    if let Some(identifier) = datagram.get_mut(1) {
        *identifier = identifier.wrapping_add(1);
    }
    if let Some(authenticator) = datagram.get_mut(4..20) {
        authenticator.rotate_left(1);
        authenticator[15] ^= octet;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoilt_packets_are_none() {
        for way in 0..AT_ONCE {
            let mut packet = vec![0; 60];
            packet[..4].copy_from_slice(&[1, 7, 0, 60]);
            packet[20..22].copy_from_slice(&[79, 40]);
            assert!(Packet::parse(&packet).is_ok());
            spoil(&mut packet, way);
            renew(&mut packet, 1);
            assert!(Packet::parse(&packet).is_err(), "{way}");
        }
    }
}
