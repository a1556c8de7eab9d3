//! What pppd's scripts say, at the socket or in a note while nobody listened: sessions begin, go on and go down. Knows no server.

use std::path::Path;

use tracing::{info, warn};

use super::{Keeper, addresses, exists, is_one_of};
use crate::agent::apply::{Flows, Process, serving};
use crate::agent::hook::{HookCall, HookEvent, is_interface};
use crate::agent::ipv4::Word;
use crate::agent::moment::Moment;
use crate::agent::notes::{Note, interfaces_of_notes, notes, read_note_of, set_aside};
use crate::agent::route::routes;
use crate::agent::session::{Reason, Session};

impl Keeper {
    /// A script of pppd runs. What its scripts before left in a note while nobody listened comes first; then there is no need of it.
    pub(super) async fn hook(&mut self, call: &HookCall, now: Moment) {
        if !is_interface(&call.interface) {
            warn!(interface = ?call.interface, "a hook names what is no interface");
            return;
        }
        let directory = notes(&self.config.socket);
        let note = match read_note_of(&directory, &call.interface) {
            // Of another process it may be the next one's.
            Note::Of(note) if note.pid == call.pid && note.at <= call.at => Some(note),
            Note::Of(_) | Note::Away | Note::Odd(_) => None,
        };
        if let Some(note) = note.as_ref().filter(|note| note.at < call.at) {
            self.work_off(note, now).await;
        }
        self.work_off(call, now).await;
        if note.is_some() {
            remove_note(&directory, &call.interface);
        }
    }

    /// What hooks wanted to say while nobody listened. A note is kept until it is used, or its process has ended.
    pub(super) async fn read_notes(&mut self, now: Moment) {
        let directory = notes(&self.config.socket);
        for interface in interfaces_of_notes(&directory) {
            let call = match read_note_of(&directory, &interface) {
                Note::Of(call) => call,
                Note::Away => continue,
                Note::Odd(problem) => {
                    let kept = set_aside(&directory, &interface);
                    warn!(interface, problem, ?kept, "a note that cannot be understood is set aside");
                    continue;
                }
            };
            let lives = call.pid.is_some_and(|pid| Process::of(pid).is_some());
            if lives && (serving(&interface, &self.config.run_dir) != call.pid || !exists(&interface)) {
                continue;
            }
            if lives {
                info!(interface, "a hook left a note");
                self.work_off(&call, now).await;
            }
            remove_note(&directory, &interface);
        }
    }

    async fn work_off(&mut self, call: &HookCall, now: Moment) {
        let interface = call.interface.as_str();
        if !is_one_of(interface, &self.config.interfaces) {
            // Such as the host's own uplink by PPPoE: none of ours to confine, and none to end.
            return;
        }
        if self.is_late(call) {
            info!(interface, pid = call.pid, event = ?call.event, "a late word of an earlier session is ignored");
            return;
        }
        match call.event {
            HookEvent::IpPreUp | HookEvent::IpUp => self.ipv4_up(call, now).await,
            HookEvent::Ipv6Up => {
                if !self.sessions.get(interface).is_some_and(|session| session.goes_on(call)) {
                    self.begin(call, now).await;
                }
                if let Some(session) = self.sessions.get_mut(interface) {
                    session.hear_of_ipv6(call.link_local_remote);
                }
                self.put(interface).await;
            }
            HookEvent::IpDown => {
                self.take_down(call, now).await;
                info!(interface, user = call.peer_name, "session is down");
            }
            HookEvent::Ipv6Down => {
                let gone = self.sessions.get_mut(interface).and_then(|session| {
                    session.facts.framed_ipv6_addresses.clear();
                    session.facts.framed_interface_id = None;
                    session.process.filter(|process| !process.runs())
                });
                if gone.is_some() {
                    self.forget(interface).await;
                }
            }
        }
        self.save(&[interface]);
    }

    /// Whether it is of a pppd that has lost the interface to another: ip-down runs beside the next login.
    fn is_late(&self, call: &HookCall) -> bool {
        let Some(pid) = call.pid else { return false };
        match call.event {
            HookEvent::IpPreUp | HookEvent::IpUp | HookEvent::Ipv6Up => {
                let other = serving(&call.interface, &self.config.run_dir).filter(|serving| *serving != pid);
                other.is_some_and(|other| Process::of(other).is_some())
            }
            HookEvent::IpDown | HookEvent::Ipv6Down => {
                let session = self.sessions.get(&call.interface);
                session.and_then(|session| session.facts.pid).is_some_and(|owner| owner != pid)
            }
        }
    }

    /// IPv4 comes up, or is up. When it was so before under the same Access-Accept, its pppd is ended: that has told the server that
    /// the session is over, and the server will order nothing of what comes now.
    async fn ipv4_up(&mut self, call: &HookCall, now: Moment) {
        let interface = call.interface.as_str();
        // Of one we found pppd waits to hear that it may begin; what its own script says of it is better than what we saw.
        let begins = |session: &Session| session.found && call.event == HookEvent::IpPreUp;
        let session = self.sessions.get_mut(interface);
        let word = match session.filter(|session| session.goes_on(call) && !begins(session)) {
            Some(session) => {
                let word = session.hear_of_ipv4(call);
                if word == Word::News {
                    session.join(call);
                }
                word
            }
            None => {
                self.begin(call, now).await;
                self.sessions.get_mut(interface).map_or(Word::Known, |session| session.hear_of_ipv4(call))
            }
        };
        if word == Word::Again {
            warn!(interface, user = call.peer_name, pid = call.pid, "IPCP was negotiated again; pppd is to end");
            self.end(interface, Reason::Renegotiated, now).await;
        } else {
            self.put(interface).await;
        }
    }

    /// A session begins: whatever was on its interface or address before is over.
    pub(super) async fn begin(&mut self, call: &HookCall, now: Moment) {
        let interface = call.interface.as_str();
        let (ipv6, process) = (self.ipv6_of(call), call.pid.and_then(Process::of));
        let before = self.sessions.get(interface).filter(|before| process.is_some() && before.process == process);
        // A process that is being ended is so under any Access-Accept.
        let ending = before.and_then(|before| before.ending);
        let ipv4 = before.map(|before| before.ipv4.of_next_login()).unwrap_or_default();
        self.forget(interface).await;
        let mut session = Session::begin(call, process, &self.config, now);
        session.hear_of_ipv6(ipv6);
        self.flush(interface, addresses(&session.facts), Flows::All);
        (session.ending, session.ipv4) = (ending, ipv4);
        for (route, why) in routes(&call.accept, call.remote).1 {
            warn!(interface, route, %why, "a route of the Access-Accept is not taken");
        }
        if process.is_none() {
            warn!(interface, pid = call.pid, "no such process, so this session cannot be ended");
        }
        info!(
            interface,
            user = session.facts.user_name,
            address = session.facts.framed_ip_address.map(tracing::field::display),
            state = session.state(),
            filter = session.filter,
            "session begins"
        );
        self.sessions.insert(interface.to_owned(), session);
        self.put(interface).await;
    }

    /// IPv6 may be up before IPv4 of the same login.
    fn ipv6_of(&self, call: &HookCall) -> Option<std::net::Ipv6Addr> {
        let session = self.sessions.get(&call.interface)?;
        session.facts.framed_ipv6_addresses.first().copied().filter(|_| session.goes_on(call))
    }

    /// IPv4 is down: nothing passes any more. While its process lives the session is remembered, as it is not to come again.
    async fn take_down(&mut self, call: &HookCall, now: Moment) {
        let interface = call.interface.as_str();
        let serves = |pid: &u32| serving(interface, &self.config.run_dir) == Some(*pid) && Process::of(*pid).is_some();
        if !self.sessions.contains_key(interface) && call.pid.as_ref().is_some_and(serves) {
            // It came and went while nobody listened.
            let confined = HookCall { filter_id: Some(self.config.sandbox_filter.clone()), ..call.clone() };
            self.begin(&confined, now).await;
        }
        let session = self.sessions.get_mut(interface);
        let Some(session) = session.filter(|session| session.process.is_some_and(|process| process.runs())) else {
            return self.forget(interface).await;
        };
        session.ipv4.hear_down();
        if session.ipv4.is_over() {
            session.set_filter(None, now.up);
        }
        let addresses = addresses(&session.facts);
        self.put(interface).await;
        self.flush(interface, addresses, Flows::All);
    }
}

fn remove_note(directory: &Path, interface: &str) {
    let file = directory.join(interface);
    if let Err(error) = std::fs::remove_file(&file) {
        warn!(file = %file.display(), %error, "a note that was read cannot be removed");
    }
}
