//! A thread of the load generator: its lanes, one wait for all of them, and the pace.
//!
//! Sleeps until an answer is there, a request is due or one is to be repeated, and then does all there is to do.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::net::SocketAddrAny;

use super::lane::{Lane, Service, Tools};
use super::life::{Plan, Writer, shuffle};
use super::tally::Tally;
use super::wire::Receiver;
use crate::app::chance;
use crate::radius::Checking;

/// Ports with answers that one wait tells of.
const EVENTS: usize = 64;

/// Accounting in an open loop of more than one request in so long leaves, and its answers are taken, this often: to be woken by each would
/// cost more than all else here. Latencies are none the shorter for it.
const SLICE: Duration = Duration::from_micros(500);

/// How a thread sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Each lane has so many requests on their way at all times: this many, and one more on the first so many lanes.
    Closed(usize, usize),
    /// One request each so long, whatever comes back; the first so long after the start. Latency counts from when one was due.
    Open(Duration, Duration),
}

/// What every thread is told.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) plan: Plan,
    /// Where Access-Requests and Status-Server go.
    pub(super) auth: SocketAddr,
    /// Where Accounting-Requests go.
    pub(super) accounting: SocketAddr,
    /// The same two, as the system wants them.
    pub(super) destinations: [SocketAddrAny; 2],
    /// Where requests come from; `None` leaves it to the system.
    pub(super) source: Option<IpAddr>,
    pub(super) timeout: Duration,
    pub(super) repeats: u32,
    pub(super) start: Instant,
    /// What is answered from then on is measured,
    pub(super) measure: Instant,
    /// until then; nothing new is sent after it.
    pub(super) end: Instant,
    /// The next session's number.
    pub(super) numbers: AtomicU64,
}

impl Task {
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn address(&self, service: Service) -> SocketAddr {
        match service {
            Service::Auth => self.auth,
            Service::Accounting => self.accounting,
        }
    }

    pub(super) fn destination(&self, service: Service) -> &SocketAddrAny {
        &self.destinations[service as usize]
    }
}

/// Chance for authenticators: one seed of the system's for each thread, since what asks the system for each request measures that.
#[derive(Debug)]
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new() -> Self {
        Self(u64::from_ne_bytes(chance::octets()))
    }

    pub(super) fn octets(&mut self) -> [u8; 16] {
        let mut octets = [0; 16];
        for half in octets.chunks_mut(8) {
            half.copy_from_slice(&shuffle(self.0).to_ne_bytes());
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        }
        octets
    }
}

/// Sends until the end, waits for what is on its way, and says what came of it.
pub(super) fn run(task: &Task, pace: Pace, lanes: Vec<Lane>) -> io::Result<Tally> {
    wake_punctually();
    let ears = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (place, lane) in lanes.iter().enumerate() {
        epoll::add(&ears, lane.socket(), epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
    }
    let due = match pace {
        Pace::Open(_, offset) => task.start + offset,
        Pace::Closed(..) => task.start,
    };
    let worker = Worker { task, pace, lanes, ears, due, turn: 0, look_at_timers: task.start };
    worker.run()
}

/// Timers of a thread may be late by its slack, which is 50 µs unless it says otherwise: as long as an answer takes. Where that cannot be
/// had, latencies in an open loop are longer by it.
pub(super) fn wake_punctually() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

struct Worker<'a> {
    task: &'a Task,
    pace: Pace,
    lanes: Vec<Lane>,
    ears: OwnedFd,
    /// When the next request of an open loop is.
    due: Instant,
    /// The lane whose turn it is in an open loop.
    turn: usize,
    /// No timer is due before.
    look_at_timers: Instant,
}

impl Worker<'_> {
    fn run(mut self) -> io::Result<Tally> {
        let task = self.task;
        let (mut writer, mut draws, mut tally) = (Writer::new(), Draws::new(), Tally::new());
        let mut checking = Checking::default();
        let mut tools =
            Tools { task, writer: &mut writer, draws: &mut draws, checking: &mut checking, tally: &mut tally };
        let mut receiver = Receiver::new();
        let mut events = Vec::with_capacity(EVENTS);
        let mut every: Vec<usize> = (0..self.lanes.len()).collect();
        loop {
            let now = Instant::now();
            let over = now >= task.end;
            if over && self.lanes.iter().all(|lane| lane.on_their_way() == 0) {
                break;
            }
            if now >= self.look_at_timers {
                self.look_at_timers(&mut tools, now);
                // What was given up makes room.
                every.clear();
                every.extend(0..self.lanes.len());
            }
            if !over {
                match self.pace {
                    Pace::Closed(most, more) => every.drain(..).for_each(|place| {
                        let most = most + usize::from(place < more);
                        self.lanes[place].fill(&mut tools, most, now);
                    }),
                    Pace::Open(each, _) => self.send_what_is_due(&mut tools, each, now),
                }
            }
            self.wait(&mut events, now, over)?;
            for event in &events {
                let place = event.data.u64() as usize;
                self.lanes[place].receive(&mut tools, &mut receiver);
                every.push(place);
            }
        }
        for lane in self.lanes {
            lane.close(task, &mut tally);
        }
        Ok(tally)
    }

    fn look_at_timers(&mut self, tools: &mut Tools<'_>, now: Instant) {
        for lane in &mut self.lanes {
            lane.look_at_timers(tools, now);
        }
        let first = self.lanes.iter().filter_map(Lane::wakes_at).min();
        // Of what is sent from now on, no timer is due before that.
        self.look_at_timers = first.unwrap_or(now + self.task.timeout);
    }

    /// What is due at once leaves from one port after the other, as many from each as a call takes.
    fn send_what_is_due(&mut self, tools: &mut Tools<'_>, each: Duration, now: Instant) {
        for _ in 0..self.lanes.len() {
            if self.due > now {
                return;
            }
            let turn = self.turn;
            self.turn = (turn + 1) % self.lanes.len();
            let lane = &mut self.lanes[turn];
            for _ in 0..super::wire::AT_ONCE {
                if self.due > now || !lane.can_send() {
                    break;
                }
                lane.send(tools, self.due, now);
                self.due += each;
            }
            lane.flush(self.task);
        }
    }

    fn in_slices(&self) -> bool {
        matches!(self.pace, Pace::Open(each, _) if each < SLICE) && self.task.plan.what.alone().is_none()
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, now: Instant, over: bool) -> io::Result<()> {
        let mut until = if over { now + self.task.timeout } else { self.task.end };
        until = until.min(self.look_at_timers);
        // What is overdue, and nobody has room for, waits for an answer to make room.
        if matches!(self.pace, Pace::Open(..)) && !over && (self.due > now || self.lanes.iter().any(Lane::can_send)) {
            until = until.min(self.due);
        }
        let mut patience = until.saturating_duration_since(Instant::now());
        if self.in_slices() && !over {
            std::thread::sleep(SLICE);
            patience = Duration::ZERO;
        }
        let mut patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        events.clear();
        if matches!(self.pace, Pace::Open(..)) {
            // epoll's own patience is in whole milliseconds, rounded up: with a request each half of one, that would be the latency.
            match poll(&mut [PollFd::new(&self.ears, PollFlags::IN)], Some(&patience)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
                Ok(_) => patience = Timespec { tv_sec: 0, tv_nsec: 0 },
                Err(error) => return Err(error.into()),
            }
        }
        match epoll::wait(&self.ears, rustix::buffer::spare_capacity(events), Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
