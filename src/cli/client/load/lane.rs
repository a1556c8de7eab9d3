//! One source port: 256 Identifiers, so at most that many requests on their way, and the sessions that speak through it.
//!
//! A request is sent again, octet for octet, at fixed times until it is answered or given up. The next request of a session
//! waits for the answer to the one before, as on a NAS. Requests were encoded ahead, or are written into places that stay, and leave
//! many to a call.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use super::ahead::Ahead;
use super::life::{Draw, Life, Step, What, Writer};
use super::tally::Tally;
use super::wire::{self, AT_ONCE, Receiver};
use super::worker::{Draws, Task};
use crate::radius::{Checking, Code, Packet, TOGETHER, attribute};

/// Identifiers of a source port.
pub(super) const IDENTIFIERS: usize = 256;

pub(super) struct Lane {
    socket: UdpSocket,
    /// Sessions that may go on; where each request stands alone there are none, and always another one.
    ready: VecDeque<Life>,
    alone: bool,
    ahead: Ahead,
    slots: Box<[Option<Slot>]>,
    /// Octets of the request of each Identifier that was not encoded ahead, the last one's where it is free.
    requests: Box<[Vec<u8>]>,
    on_their_way: usize,
    /// The Identifier whose turn it is.
    next: u8,
    /// When to look at which Identifier; its serial number tells whether it is still the same request.
    timers: VecDeque<(Instant, u8, u64)>,
    serial: u64,
    /// Identifiers whose request is to leave with the next call.
    leaving: Vec<u8>,
}

/// A request on its way.
struct Slot {
    serial: u64,
    life: Life,
    step: Step,
    to: Service,
    /// Where it lies among those that were encoded ahead.
    ahead: Option<usize>,
    since: Instant,
    first_sent: Instant,
    sent: u32,
}

impl Slot {
    fn request<'a>(&self, ahead: &'a Ahead, written: &'a [u8]) -> &'a [u8] {
        self.ahead.map_or(written, |at| ahead.at(at))
    }
}

/// Which port of the server's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Service {
    Auth,
    Accounting,
}

/// What a lane works with, of the thread it is on.
pub(super) struct Tools<'a> {
    pub(super) task: &'a Task,
    pub(super) writer: &'a mut Writer,
    pub(super) draws: &'a mut Draws,
    pub(super) checking: &'a mut Checking,
    pub(super) tally: &'a mut Tally,
}

impl Lane {
    /// A lane with so many sessions.
    pub(super) fn open(task: &Task, sessions: usize) -> io::Result<Self> {
        let (interims, alone) = (task.plan.interims, task.plan.what.alone().is_some());
        let sessions = if alone { 0 } else { sessions };
        // The first generation is of different ages, so that Starts, Interim-Updates and Stops mix from then on.
        let first = |place: usize| Life::new(task.next_number(), (place % (interims as usize + 1)) as u32);
        Ok(Self {
            // Where all goes to one address the system need not look for the way each time.
            socket: wire::open(task.auth, task.source, alone)?,
            ready: (0..sessions).map(first).collect(),
            slots: (0..IDENTIFIERS).map(|_| None).collect(),
            alone,
            ahead: Ahead::default(),
            requests: vec![Vec::new(); IDENTIFIERS].into_boxed_slice(),
            on_their_way: 0,
            next: 0,
            timers: VecDeque::new(),
            serial: 0,
            leaving: Vec::with_capacity(AT_ONCE),
        })
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Requests without an answer yet.
    pub(super) fn on_their_way(&self) -> usize {
        self.on_their_way
    }

    /// Whether it has something to say, and an Identifier to say it with.
    pub(super) fn can_send(&self) -> bool {
        self.on_their_way < IDENTIFIERS && (self.alone || !self.ready.is_empty())
    }

    /// Its requests that were encoded before the start.
    pub(super) fn ahead(&mut self) -> &mut Ahead {
        &mut self.ahead
    }

    /// When to look at its timers next.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.timers.front().map(|(at, ..)| *at)
    }

    /// Has the next request leave with [`Lane::flush`]. Its latency counts from `since`. Only when it can.
    pub(super) fn send(&mut self, tools: &mut Tools<'_>, since: Instant, now: Instant) {
        let Some((identifier, life, step, ahead)) = self.take_ahead(tools).or_else(|| self.write(tools, now)) else {
            return;
        };
        self.serial += 1;
        self.timers.push_back((now + tools.task.timeout, identifier, self.serial));
        let to = if step == Step::Login || step == Step::Status { Service::Auth } else { Service::Accounting };
        let slot = Slot { serial: self.serial, life, step, to, ahead, since, first_sent: now, sent: 1 };
        self.slots[usize::from(identifier)] = Some(slot);
        self.on_their_way += 1;
        tools.tally.counts.requests += 1;
        self.leave(identifier, tools.task);
    }

    /// The next of those that were encoded ahead, which have their Identifiers. One whose Identifier is not free is left out.
    fn take_ahead(&mut self, tools: &mut Tools<'_>) -> Option<(u8, Life, Step, Option<usize>)> {
        let step = tools.task.plan.what.alone()?;
        while let Some(at) = self.ahead.take() {
            let identifier = self.ahead.at(at)[1];
            if self.slots[usize::from(identifier)].is_none() {
                tools.tally.encoded_ahead += 1;
                self.next = identifier.wrapping_add(1);
                return Some((identifier, Life::new(0, 0), step, Some(at)));
            }
        }
        None
    }

    /// Writes the next request into its place.
    fn write(&mut self, tools: &mut Tools<'_>, now: Instant) -> Option<(u8, Life, Step, Option<usize>)> {
        let plan = &tools.task.plan;
        // The one longest free, or nearly.
        let free = (0..=u8::MAX).map(|more| self.next.wrapping_add(more));
        let identifier = free.into_iter().find(|identifier| self.slots[usize::from(*identifier)].is_none())?;
        let mut life = match self.alone {
            true => Life::new(tools.task.next_number(), 0),
            false => self.ready.pop_front()?,
        };
        self.next = identifier.wrapping_add(1);
        let step = life.step(plan.what).expect("a session that is over is not ready");
        let login = step == Step::Login || step == Step::Status;
        let [authenticator, peer_challenge] =
            if login { [tools.draws.octets(), tools.draws.octets()] } else { [[0; 16]; 2] };
        let draw = Draw { session_time: life.session_time(step, now), authenticator, peer_challenge };
        let octets =
            life.write(tools.writer, plan, step, identifier, &draw).expect("what a session says fits into a packet");
        let request = &mut self.requests[usize::from(identifier)];
        request.clear();
        request.extend_from_slice(octets);
        Some((identifier, life, step, None))
    }

    /// Has so many on their way, as long as there is something to say.
    pub(super) fn fill(&mut self, tools: &mut Tools<'_>, most: usize, now: Instant) {
        while self.on_their_way() < most && self.can_send() {
            self.send(tools, now, now);
        }
        self.flush(tools.task);
    }

    fn leave(&mut self, identifier: u8, task: &Task) {
        self.leaving.push(identifier);
        if self.leaving.len() == AT_ONCE {
            self.flush(task);
        }
    }

    /// Sends what was written. What the system has no room for is sent when its time comes again.
    pub(super) fn flush(&mut self, task: &Task) {
        if self.leaving.is_empty() {
            return;
        }
        let datagrams = self.leaving.iter().filter_map(|identifier| {
            let place = usize::from(*identifier);
            let slot = self.slots[place].as_ref()?;
            let to = (!self.alone).then(|| task.destination(slot.to));
            Some((slot.request(&self.ahead, &self.requests[place]), to))
        });
        wire::send(&self.socket, datagrams);
        self.leaving.clear();
    }

    /// Takes what came; the clock is asked once for all of it, behind it.
    pub(super) fn receive(&mut self, tools: &mut Tools<'_>, receiver: &mut Receiver) {
        let count = receiver.receive(&self.socket);
        let now = Instant::now();
        // Those at hand are checked together.
        let mut expected = Vec::with_capacity(TOGETHER);
        for place in 0..count {
            let (datagram, from) = receiver.datagram(place);
            match self.expected(tools, datagram, from) {
                Some(packet) => expected.push(packet),
                None => tools.tally.counts.unverified += 1,
            }
            if expected.len() == TOGETHER || place + 1 == count {
                self.take_genuine(tools, &mut expected, now);
            }
        }
    }

    /// The answer that a datagram is, if it is one to a request on its way; whether it is genuine is left to be checked.
    fn expected<'a>(&self, tools: &mut Tools<'_>, datagram: &'a [u8], from: Option<SocketAddr>) -> Option<Packet<'a>> {
        let plan = &tools.task.plan;
        let packet = Packet::parse(datagram).ok()?;
        let place = usize::from(packet.identifier());
        let slot = self.slots[place].as_ref().filter(|slot| from == Some(tools.task.address(slot.to)))?;
        let request = slot.request(&self.ahead, &self.requests[place]);
        if plan.what == What::Echo {
            return (request == datagram).then_some(packet);
        }
        let authenticator = request[4..].first_chunk().expect("a packet has 20 octets or more");
        answers(slot.step, packet.code()).then(|| {
            tools.checking.add(&packet, &plan.secret, authenticator);
            packet
        })
    }

    /// Takes those of the expected answers that are genuine.
    fn take_genuine(&mut self, tools: &mut Tools<'_>, expected: &mut Vec<Packet<'_>>, now: Instant) {
        let echoes = tools.task.plan.what == What::Echo;
        let mut genuine = [echoes; TOGETHER];
        genuine.iter_mut().zip(tools.checking.check()).for_each(|(genuine, checked)| *genuine = checked.is_ok());
        for (packet, genuine) in expected.drain(..).zip(genuine) {
            // Of two answers to one request the second is none.
            let slot = self.slots[usize::from(packet.identifier())].take_if(|_| genuine);
            match slot {
                Some(slot) => self.take(tools, &packet, slot, now),
                None => tools.tally.counts.unverified += 1,
            }
        }
    }

    fn take(&mut self, tools: &mut Tools<'_>, packet: &Packet<'_>, slot: Slot, now: Instant) {
        let task = tools.task;
        let Slot { mut life, step, since, first_sent, .. } = slot;
        self.on_their_way -= 1;
        self.forget_timers();
        if step == Step::Login && !matches!(packet.code(), Code::AccessAccept | Code::AccessRequest) {
            tools.tally.counts.answered += 1;
            tools.tally.counts.rejected += 1;
            return self.begin_another(task);
        }
        let measured = (task.measure..task.end).contains(&now);
        let latency = |since: Instant| measured.then(|| now.saturating_duration_since(since));
        tools.tally.answered(step, latency(since), latency(first_sent));
        if self.alone {
            return;
        }
        life.acknowledged(packet.first(attribute::CLASS));
        if life.step(task.plan.what).is_some() {
            self.ready.push_back(life);
        } else {
            tools.tally.left(life.octets(task.plan.what));
            self.begin_another(task);
        }
    }

    fn begin_another(&mut self, task: &Task) {
        if !self.alone {
            self.ready.push_back(Life::new(task.next_number(), task.plan.interims));
        }
    }

    /// Sends again, or gives up, what is due.
    pub(super) fn look_at_timers(&mut self, tools: &mut Tools<'_>, now: Instant) {
        while let Some(&(at, identifier, serial)) = self.timers.front() {
            if at > now {
                break;
            }
            self.timers.pop_front();
            let place = &mut self.slots[usize::from(identifier)];
            let Some(slot) = place.as_mut().filter(|slot| slot.serial == serial) else { continue };
            if slot.sent <= tools.task.repeats {
                slot.sent += 1;
                tools.tally.counts.repeats += 1;
                self.timers.push_back((now + tools.task.timeout, identifier, serial));
                self.leave(identifier, tools.task);
            } else if let Some(slot) = place.take() {
                tools.tally.counts.lost += 1;
                tools.tally.left(slot.life.octets(tools.task.plan.what));
                self.on_their_way -= 1;
                self.begin_another(tools.task);
            }
        }
        self.flush(tools.task);
    }

    /// Timers of what was answered are not waited for, so that their list is no longer than what is on its way.
    fn forget_timers(&mut self) {
        while let Some(&(_, identifier, serial)) = self.timers.front() {
            if self.slots[usize::from(identifier)].as_ref().is_some_and(|slot| slot.serial == serial) {
                return;
            }
            self.timers.pop_front();
        }
    }

    /// The run is over: what its sessions had acknowledged.
    pub(super) fn close(self, task: &Task, tally: &mut Tally) {
        for life in self.ready {
            tally.left(life.octets(task.plan.what));
        }
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
