//! Requests that are encoded and signed before the clock starts, so that a run costs what sending and checking cost, and no more.
//!
//! Each is different and is sent once, so no server takes one for a repeat of another. Knows no socket and no answer.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::lane::Lane;
use super::life::{Draw, Life, Writer};
use super::worker::{Draws, Task};
use crate::radius::MAX_PACKET;

/// Looked at the clock, and at the bound, once in so many requests of each port.
const AT_ONCE: usize = 256;

/// Requests of one port, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    octets: Vec<u8>,
    next: usize,
}

impl Ahead {
    /// Adds one behind the others, a whole packet.
    pub(super) fn push(&mut self, request: &[u8]) {
        self.octets.extend_from_slice(request);
    }

    /// Where the next one lies.
    pub(super) fn take(&mut self) -> Option<usize> {
        let at = self.next;
        let length = self.octets.get(at + 2..at + 4)?;
        self.next += usize::from(u16::from_be_bytes([length[0], length[1]]));
        Some(at)
    }

    /// The one that lies there.
    pub(super) fn at(&self, at: usize) -> &[u8] {
        let rest = &self.octets[at..];
        &rest[..usize::from(u16::from_be_bytes([rest[2], rest[3]]))]
    }
}

/// How many are encoded: the first bound that is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Requests of all ports.
    pub(super) requests: u64,
    /// Octets of one port.
    pub(super) octets: usize,
    /// For so long.
    pub(super) time: Duration,
}

/// Encodes requests for the ports of one thread, in turns, so that users come in their order whatever port they come from. `done` counts
/// those of all threads.
pub(super) fn encode(task: &Task, bounds: Bounds, lanes: &mut [Lane], done: &AtomicU64) {
    let Some(step) = task.plan.what.alone() else { return };
    let (mut writer, mut draws, begun) = (Writer::new(), Draws::new(), Instant::now());
    while begun.elapsed() < bounds.time {
        for place in 0..AT_ONCE {
            for lane in &mut *lanes {
                let full = lane.ahead().octets.len() + MAX_PACKET > bounds.octets;
                if full || done.fetch_add(1, Ordering::Relaxed) >= bounds.requests {
                    return;
                }
                let draw = Draw { session_time: 0, authenticator: draws.octets(), peer_challenge: draws.octets() };
                let life = Life::new(task.next_number(), 0);
                let request = life.write(&mut writer, &task.plan, step, (place % 256) as u8, &draw);
                lane.ahead().push(request.expect("what a session says fits into a packet"));
            }
        }
    }
}

/// Shows people how far the encoding is, until it is over.
pub(super) fn show(bounds: Bounds, done: &AtomicU64, is_over: impl Fn() -> bool) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::new(bounds.requests);
    let style = ProgressStyle::with_template("encoding and signing requests  {bar:40}  {human_pos}");
    bar.set_style(style.expect("the template is sound"));
    while !is_over() {
        bar.set_position(done.load(Ordering::Relaxed).min(bounds.requests));
        std::thread::sleep(Duration::from_millis(50));
    }
    bar.finish_and_clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Code, PacketBuilder};

    #[test]
    fn requests_come_out_one_by_one_as_they_went_in() {
        let requests: Vec<Vec<u8>> = (0..5_u8)
            .map(|place| {
                let mut builder = PacketBuilder::request(Code::AccessRequest, place, [place; 16]);
                builder.attribute(1, &vec![b'u'; usize::from(place)]).unwrap().sign_request(b"x").unwrap().to_vec()
            })
            .collect();
        let mut ahead = Ahead::default();
        assert!(ahead.take().is_none());
        requests.iter().for_each(|request| ahead.push(request));
        let out: Vec<Vec<u8>> = std::iter::from_fn(|| ahead.take().map(|at| ahead.at(at).to_vec())).collect();
        assert_eq!(out, requests);
        assert!(ahead.take().is_none());
    }
}
