//! One source port: 256 Identifiers, so at most that many requests on their way, and the sessions that speak through it.
//!
//! A request is sent again, octet for octet, at fixed times until it is answered or given up. The next request of a session
//! waits for the answer to the one before, as on a NAS.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::life::{Draw, Life, Plan, Step, What};
use super::tally::Tally;
use crate::app::chance;
use crate::radius::{Code, MAX_PACKET, Packet, PacketBuilder, attribute};

/// How a lane sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many requests on their way at all times.
    Closed(usize),
    /// One request each so long, whatever comes back. Its latency counts from when it was due.
    Open(Duration),
}

/// What every lane is told.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) plan: Plan,
    /// Where Access-Requests and Status-Server go.
    pub(super) auth: SocketAddr,
    /// Where Accounting-Requests go.
    pub(super) accounting: SocketAddr,
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

pub(super) struct Lane {
    task: Arc<Task>,
    pace: Pace,
    socket: UdpSocket,
    ready: VecDeque<Life>,
    slots: Vec<Option<Slot>>,
    /// Identifiers not in use; the one longest so goes first.
    free: VecDeque<u8>,
    /// When to look at which Identifier; its serial number tells whether it is still the same request.
    timers: VecDeque<(Instant, u8, u64)>,
    serial: u64,
    due: Instant,
    builder: PacketBuilder,
    tally: Tally,
}

/// A request on its way.
struct Slot {
    serial: u64,
    life: Life,
    step: Step,
    to: SocketAddr,
    octets: Vec<u8>,
    authenticator: [u8; 16],
    since: Instant,
    sent: u32,
}

impl Lane {
    /// A lane with so many sessions; in an open loop its first request is due `offset` after the start.
    pub(super) async fn open(task: Arc<Task>, pace: Pace, sessions: usize, offset: Duration) -> io::Result<Self> {
        let any: SocketAddr = match task.auth {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        let interims = task.plan.interims;
        // The first generation is of different ages, so that Starts, Interim-Updates and Stops mix from then on.
        let first = |place: usize| Life::new(task.next_number(), (place % (interims as usize + 1)) as u32);
        let ready = (0..sessions).map(first).collect();
        Ok(Self {
            pace,
            socket,
            ready,
            slots: (0..=u8::MAX).map(|_| None).collect(),
            free: (0..=u8::MAX).collect(),
            timers: VecDeque::new(),
            serial: 0,
            due: task.start + offset,
            builder: PacketBuilder::request(Code::AccountingRequest, 0, [0; 16]),
            tally: Tally::new(),
            task,
        })
    }

    /// Sends until the end, waits for what is on its way, and says what came of it.
    pub(super) async fn run(mut self) -> io::Result<Tally> {
        let mut buffer = vec![0; MAX_PACKET + 1];
        // Until it was found writable once, it refuses to try.
        self.socket.writable().await?;
        loop {
            let now = Instant::now();
            let over = now >= self.task.end;
            if over && self.on_their_way() == 0 {
                break;
            }
            self.look_at_timers(now);
            if !over {
                self.send_what_is_due(now);
            }
            let mut wake = if over { now + self.task.timeout } else { self.task.end };
            wake = self.timers.front().map_or(wake, |(at, ..)| wake.min(*at));
            if matches!(self.pace, Pace::Open(_)) && !over && self.due > now {
                wake = wake.min(self.due);
            }
            tokio::select! {
                biased;
                readable = self.socket.readable() => readable?,
                () = sleep_until(wake) => (),
            }
            // An ICMP error of an earlier request ends the reading like an empty socket: the next round goes on.
            while let Ok((octets, from)) = self.socket.try_recv_from(&mut buffer) {
                self.take(&buffer[..octets], from);
            }
        }
        for life in std::mem::take(&mut self.ready) {
            self.tally.left(life.octets(self.task.plan.what));
        }
        Ok(self.tally)
    }

    fn on_their_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn send_what_is_due(&mut self, now: Instant) {
        loop {
            let since = match self.pace {
                Pace::Closed(most) if self.on_their_way() < most => Instant::now(),
                Pace::Open(_) if self.due <= now => self.due,
                _ => return,
            };
            if self.free.is_empty() {
                return;
            }
            let Some(life) = self.ready.pop_front() else { return };
            if let Pace::Open(each) = self.pace {
                self.due += each;
            }
            self.send(life, since);
        }
    }

    fn send(&mut self, mut life: Life, since: Instant) {
        let plan = &self.task.plan;
        let (Some(step), Some(identifier)) = (life.step(plan.what), self.free.pop_front()) else {
            unreachable!("a session that is over is not ready, and there was a free Identifier");
        };
        let login = step == Step::Login || step == Step::Status;
        let [authenticator, peer_challenge] = if login { [chance::octets(), chance::octets()] } else { [[0; 16]; 2] };
        let draw = Draw { session_time: life.session_time(step, Instant::now()), authenticator, peer_challenge };
        let octets = life
            .write(&mut self.builder, plan, step, identifier, &draw)
            .expect("what a session says fits into a packet")
            .to_vec();
        let to = if login { self.task.auth } else { self.task.accounting };
        let authenticator = *octets[4..].first_chunk().expect("a packet has 20 octets or more");
        // What the socket has no room for is sent when its time comes again.
        drop(self.socket.try_send_to(&octets, to));
        self.serial += 1;
        self.timers.push_back((Instant::now() + self.task.timeout, identifier, self.serial));
        let slot = Slot { serial: self.serial, life, step, to, octets, authenticator, since, sent: 1 };
        self.slots[usize::from(identifier)] = Some(slot);
        self.tally.counts.requests += 1;
    }

    fn take(&mut self, datagram: &[u8], from: SocketAddr) {
        let verified = Packet::parse(datagram).ok().and_then(|packet| {
            let slot = self.slots[usize::from(packet.identifier())].as_ref()?;
            let genuine = slot.to == from
                && match self.task.plan.what {
                    What::Echo => slot.octets == datagram,
                    _ => {
                        answers(slot.step, packet.code())
                            && packet.verify_reply(self.task.plan.secret.expose(), &slot.authenticator).is_ok()
                    }
                };
            genuine.then_some(packet)
        });
        let Some(packet) = verified else {
            self.tally.counts.unverified += 1;
            return;
        };
        let slot = self.slots[usize::from(packet.identifier())].take();
        let Slot { mut life, step, since, .. } = slot.expect("it was there a moment ago");
        self.free.push_back(packet.identifier());
        if step == Step::Login && !matches!(packet.code(), Code::AccessAccept | Code::AccessRequest) {
            self.tally.counts.answered += 1;
            self.tally.counts.rejected += 1;
            return self.begin_another();
        }
        let now = Instant::now();
        let measured = (self.task.measure..self.task.end).contains(&now);
        self.tally.answered(step, measured.then(|| now.duration_since(since)));
        life.acknowledged(packet.first(attribute::CLASS));
        if life.step(self.task.plan.what).is_some() {
            self.ready.push_back(life);
        } else {
            self.tally.left(life.octets(self.task.plan.what));
            self.begin_another();
        }
    }

    fn begin_another(&mut self) {
        self.ready.push_back(Life::new(self.task.next_number(), self.task.plan.interims));
    }

    fn look_at_timers(&mut self, now: Instant) {
        while let Some(&(at, identifier, serial)) = self.timers.front() {
            if at > now {
                return;
            }
            self.timers.pop_front();
            let place = &mut self.slots[usize::from(identifier)];
            let Some(slot) = place.as_mut().filter(|slot| slot.serial == serial) else { continue };
            if slot.sent <= self.task.repeats {
                slot.sent += 1;
                self.tally.counts.repeats += 1;
                drop(self.socket.try_send_to(&slot.octets, slot.to));
                self.timers.push_back((now + self.task.timeout, identifier, serial));
            } else if let Some(slot) = place.take() {
                self.tally.counts.lost += 1;
                self.tally.left(slot.life.octets(self.task.plan.what));
                self.free.push_back(identifier);
                self.begin_another();
            }
        }
    }
}

impl Task {
    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

fn answers(step: Step, code: Code) -> bool {
    match step {
        Step::Login => matches!(code, Code::AccessAccept | Code::AccessReject | Code::AccessChallenge),
        Step::Start | Step::Interim | Step::Stop => code == Code::AccountingResponse,
        // RFC 5997 §3: as the port it was sent to answers.
        Step::Status => matches!(code, Code::AccessAccept | Code::AccountingResponse),
    }
}
