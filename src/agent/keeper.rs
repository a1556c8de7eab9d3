//! Keeps the sessions: what hooks, requests and time come to, carried out in one place and in one order.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::apply::{
    Flows, Links, NftError, NotSignalled, Place, Process, RuleSettings, Signal, Table, cut_flows, cut_station, peers,
    serving,
};
use super::ban::Bans;
use super::hook::{HookCall, HookEvent, Request, is_interface};
use super::ipv4::Word;
use super::moment::Moment;
use super::notes::{Note, interfaces_of_notes, notes, read_note_of, set_aside};
use super::radattr::{self, Accept};
use super::route::routes;
use super::session::{Ending, Newest, Reason, Session};
use super::state::{Changed, Kept, Loaded, NotWritten, State};
use super::{AgentError, EVENT_WINDOW};
use crate::config::Agent;
use crate::dynauth::server::{
    Change, Facts, Genuine, INVALID_ATTRIBUTE_VALUE, Mac, NasNames, RESOURCES_UNAVAILABLE, SESSION_CONTEXT_NOT_FOUND,
    SESSION_CONTEXT_NOT_REMOVABLE, Verdict, judge, judge_ban, judge_station,
};
use crate::dynauth::{BanOrder, ErrorCause};
use crate::model::Timestamp;
use crate::telemetry::count;

/// The sessions of this NAS, and the rules they are under.
pub(super) struct Keeper {
    config: Agent,
    names: NasNames,
    sessions: BTreeMap<String, Session>,
    table: Table,
    links: Links,
    state: State,
    bans: Bans,
    /// Of stations of a captive network: their newest requests, until they are too old to be played again.
    stations: BTreeMap<String, Newest>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done.
    Done,
    /// Nothing is done, and the client is told why.
    Refused(ErrorCause),
    /// Nothing is done, and nobody is told: a later one was done before.
    Overtaken,
}

/// All that is kept, while the state is written.
macro_rules! kept {
    ($keeper:ident) => {
        Kept { sessions: &$keeper.sessions, bans: &$keeper.bans, stations: &$keeper.stations }
    };
}

impl Keeper {
    /// Takes up what was there before: sessions whose process still runs stay as they were; everything else is in the sandbox.
    pub(super) async fn start(config: Agent, through_front: bool, now: Moment) -> Result<Self, AgentError> {
        let state = State::new(config.state_file.clone());
        let Loaded { sessions: known, bans, stations } = state.load().unwrap_or_else(|error| {
            warn!(file = %config.state_file.display(), %error, "the state file cannot be read; all sessions start in the sandbox");
            <_>::default()
        });
        let sessions: BTreeMap<String, Session> = known
            .into_iter()
            .filter(|session| still_serves(session, &config) && exists(&session.interface))
            .map(|mut session| {
                if was_left_down(&session, &config) {
                    session.ipv4.hear_down();
                }
                (session.interface.clone(), session)
            })
            .collect();
        let places = sessions.values().filter_map(|session| Some((session.interface.clone(), session.place(&config)?)));
        let table = Table::establish(RuleSettings::from(&config), places.collect()).await?;
        let names = NasNames {
            identifiers: config.nas_identifiers.clone(),
            addresses: config.nas_addresses.clone(),
            through_front,
        };
        let mut keeper = Self { config, names, sessions, table, links: Links::default(), state, bans, stations };
        keeper.mend_bans(now).await;
        keeper.take_up_links().await;
        keeper.read_notes(now).await;
        keeper.find_strangers(now).await;
        keeper.save_all();
        info!(sessions = keeper.sessions.len(), "the rules are in force");
        Ok(keeper)
    }

    /// Answers a line from the socket.
    pub(super) async fn ask(&mut self, request: Request, now: Moment) -> Value {
        match request {
            Request::Hook(call) => {
                self.hook(&call, now).await;
                json!({})
            }
            Request::Status => self.status(now).await,
            Request::Ban { network, seconds } => match self.ban(network, Some(Duration::from_secs(seconds)), now).await
            {
                Ok(()) => json!({}),
                Err(error) => json!({"error": error.to_string()}),
            },
        }
    }

    /// The front has told the servers this Acct-Session-Id of the session on a port, and passed on this Class: from now on it is
    /// known by them, and one that was found by whom it is of, too.
    pub(super) fn hear_of_accounting(&mut self, heard: AccountingHeard) {
        let AccountingHeard { port, id, class, user, calling } = heard;
        let session = self.sessions.values_mut().find(|session| session.facts.nas_port == Some(port));
        let Some(Session { interface, facts, .. }) = session else { return };
        // radattr ends Class at the first zero octet; pppd itself does not.
        let class = class.map(|class| Facts::written(&class)).or_else(|| facts.class.clone());
        let (user, calling) = (facts.user_name.clone().or(user), facts.calling_station_id.clone().or(calling));
        let is_news = facts.acct_session_id.as_ref() != Some(&id)
            || (&facts.class, &facts.user_name, &facts.calling_station_id) != (&class, &user, &calling);
        if is_news {
            (facts.acct_session_id, facts.class) = (Some(id), class);
            (facts.user_name, facts.calling_station_id) = (user, calling);
            let interface = interface.clone();
            self.save(&[&interface]);
        }
    }

    /// Carries out a request that is genuine and new.
    ///
    /// A CoA-Request that is older than one of this session that was carried out, by their Event-Timestamps, is a recording or was
    /// overtaken on its way: it is not current, and so silently discarded (RFC 5176 §6.3). A client that means it asks again, by a
    /// later time. A Disconnect-Request is never too late: the worst a recording of one can do is to end a session, and a server
    /// whose clock is behind another's must be able to.
    pub(super) async fn obey(&mut self, request: &Genuine<'_>, peer: &str, now: Moment) -> Outcome {
        let known = |filter: &str| {
            filter == self.config.sandbox_filter || self.config.filters.iter().any(|known| known.name == filter)
        };
        let judged = |over: bool| {
            let sessions = self.sessions.iter().filter(|(_, session)| session.ipv4.is_over() == over);
            judge(request, &self.names, sessions.map(|(interface, session)| (interface, &session.facts)), known)
        };
        // One that went down must not stand in the way of the next; while its pppd lives it can be ended still.
        let verdict = match judged(false) {
            Verdict::Refuse(SESSION_CONTEXT_NOT_FOUND) => judged(true),
            verdict => verdict,
        };
        let refused = match verdict {
            _ if let Some(judged) = judge_ban(request, &self.names) => self.obey_ban(judged, peer, now).await,
            Verdict::Refuse(SESSION_CONTEXT_NOT_FOUND) if self.config.captive.is_some() => {
                let verdict = judge_station(request, &self.names, known);
                let station = match &verdict {
                    Verdict::Change(station, _) | Verdict::End(station) => Some(station.to_string()),
                    Verdict::Refuse(_) => None,
                };
                let newest = station.as_ref().and_then(|station| self.stations.get(station));
                if matches!(verdict, Verdict::Change(..)) && newest.is_some_and(|newest| newest.overtakes(request)) {
                    count("agent-request-overtaken");
                    return Outcome::Overtaken;
                }
                let refused = self.obey_for_station(verdict).await;
                if let Some(station) = station.filter(|_| refused.is_none()) {
                    self.carried_out_for(station, request, now);
                }
                refused
            }
            Verdict::Refuse(cause) => Some(cause),
            Verdict::Change(interface, change) => {
                let interface = interface.clone();
                if self.sessions.get(&interface).is_some_and(|session| session.is_overtaken(request)) {
                    count("agent-request-overtaken");
                    return Outcome::Overtaken;
                }
                self.change(&interface, &change, request, now).await
            }
            Verdict::End(interface) => {
                let interface = interface.clone();
                self.end(&interface, Reason::Ordered, now).await
            }
        };
        let code = request.packet().code();
        match refused {
            None => count("agent-request-acked"),
            Some(_) => count("agent-request-naked"),
        }
        match refused {
            None => info!(peer, request = %code, "done"),
            Some(cause) => warn!(peer, request = %code, %cause, packet = ?request.packet(), "refused"),
        }
        refused.map_or(Outcome::Done, Outcome::Refused)
    }

    /// A request for a station is carried out: nothing older is, not after a restart either.
    fn carried_out_for(&mut self, station: String, request: &Genuine<'_>, now: Moment) {
        self.stations.retain(|_, newest| !newest.is_out_of_date(now.wall, EVENT_WINDOW));
        let before = self.stations.remove(&station);
        if let Some(newest) = Newest::after(before, request) {
            self.stations.insert(station.clone(), newest);
            let written = self.state.note(Changed { stations: &[&station], ..Changed::default() }, kept!(self));
            self.is_saved(written);
        }
    }

    /// Lets a station of a captive network through, or no longer.
    async fn obey_for_station(&mut self, verdict: Verdict<Mac>) -> Option<ErrorCause> {
        let limit = self.config.captive.as_ref().map_or(Duration::ZERO, |captive| captive.permit_limit);
        let (station, done) = match verdict {
            Verdict::Refuse(cause) => return Some(cause),
            Verdict::Change(station, change) if change.filter_id.as_ref() != Some(&self.config.sandbox_filter) => {
                let set = self.config.filters.iter().find(|known| change.filter_id.as_ref() == Some(&known.name));
                let time = change.session_timeout.map_or(limit, |time| time.min(limit));
                let done = self.table.permit_station(station, set.map(|known| known.set.as_str()), time).await;
                info!(%station, filter = change.filter_id, seconds = time.as_secs(), "station is to be let through");
                (station, done)
            }
            // Saying that it is in the sandbox is true of one that is there already; ending what is not there is not.
            Verdict::Change(station, _) => (station, self.table.forget_station(station).await.map(|_| true)),
            Verdict::End(station) => (station, self.table.forget_station(station).await),
        };
        match done {
            Ok(true) => {
                let which = if self.table.confines(station) { Flows::All } else { Flows::Redirected };
                flush_station(station.to_string(), which);
                None
            }
            Ok(false) => Some(SESSION_CONTEXT_NOT_FOUND),
            Err(error) => {
                error!(%station, %error, "the rules cannot be changed");
                Some(RESOURCES_UNAVAILABLE)
            }
        }
    }

    /// What time brings: ends those whose time is over, insists where pppd does not end.
    pub(super) async fn tick(&mut self, now: Moment) {
        let (mut over, mut changed, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for (interface, session) in &mut self.sessions {
            if session.filter.is_some() && session.process.is_some_and(|process| process.is_gone()) {
                gone.push(interface.clone());
                continue;
            }
            if session.idle_timeout.is_some() {
                let packets = packets(interface);
                if session.last_traffic.is_none_or(|(before, _)| before != packets) {
                    session.last_traffic = Some((packets, now.up));
                }
            }
            if let Some(reason) = session.overdue(&self.config, now.up) {
                over.push((interface.clone(), reason));
            }
            if let Some(Ending { signalled: false, .. }) = session.ending {
                session.process = session.process.or_else(|| server_of(interface, &self.config, now));
            }
            if let (Some(ending @ Ending { signalled: false, .. }), Some(process)) = (session.ending, session.process)
                && process.signal(Signal::Terminate, interface, &self.config.run_dir).is_ok()
            {
                info!(interface, pid = process.pid, "session is ended at last");
                session.ending = Some(Ending { since: now.up, signalled: true, ..ending });
                changed.push(interface.clone());
            }
            let insist = session.ending.filter(|ending| ending.signalled && !ending.killed);
            let insist = insist.filter(|ending| now.up.since(ending.since) >= self.config.kill_after);
            if let (Some(ending), Some(process)) = (insist, session.process) {
                let sent = process.signal(Signal::Kill, interface, &self.config.run_dir);
                warn!(
                    interface,
                    pid = process.pid,
                    ?sent,
                    "pppd did not end by itself; killed, so there is no Accounting-Stop"
                );
                session.ending = Some(Ending { killed: true, ..ending });
                changed.push(interface.clone());
            }
        }
        for interface in gone {
            info!(interface, "pppd has ended without ip-down");
            self.forget(&interface).await;
            changed.push(interface);
        }
        if !changed.is_empty() {
            self.save(&changed.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for (interface, reason) in over {
            self.end(&interface, reason, now).await;
        }
    }

    /// Looks at the host: sessions that are gone without a word, interfaces nobody told us of, rules somebody changed.
    pub(super) async fn look_around(&mut self, now: Moment) {
        let gone: Vec<String> = self
            .sessions
            .values()
            .filter(|session| match session.process {
                Some(process) => !process.runs(),
                None => !exists(&session.interface),
            })
            .map(|session| session.interface.clone())
            .collect();
        for interface in &gone {
            info!(interface, "pppd has ended without ip-down");
            self.forget(interface).await;
        }
        self.read_notes(now).await;
        self.find_strangers(now).await;
        if !gone.is_empty() {
            self.save(&gone.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.mend_rules(now).await;
        self.compare_links().await;
        match self.table.stations_over().await {
            Ok(over) => over.into_iter().for_each(|station| flush_station(station, Flows::All)),
            Err(error) => error!(%error, "the stations that are let through cannot be listed"),
        }
        count("agent-looked-around");
    }

    /// Compares the rules in force with what they should be.
    pub(super) async fn mend_rules(&mut self, now: Moment) {
        match self.table.reconcile().await {
            Ok(false) => (),
            Ok(true) => warn!("somebody changed table inet radhold; it is as it should be again"),
            Err(error) => error!(%error, "the rules cannot be compared"),
        }
        self.mend_bans(now).await;
    }

    /// Puts in force the bans that should be.
    async fn mend_bans(&mut self, now: Moment) {
        self.bans.forget_over(now.up);
        if let Err(error) = self.table.reconcile_bans(&self.bans.in_force(now.up)).await {
            error!(%error, "the bans cannot be put into the rules");
        }
    }

    /// Bans a network for so long, or until it is lifted, which no time at all does.
    async fn ban(&mut self, network: IpNet, time: Option<Duration>, now: Moment) -> Result<(), NftError> {
        let before = self.bans.clone();
        match time {
            Some(Duration::ZERO) => self.bans.lift(network),
            time => self.bans.set(network, time.map(|time| now.up.after(time))),
        }
        if let Err(error) = self.table.ban(&self.bans.in_force(now.up)).await {
            self.bans = before;
            return Err(error);
        }
        let written = self.state.note(Changed { networks: &[network], ..Changed::default() }, kept!(self));
        self.is_saved(written);
        Ok(())
    }

    /// Carries out a server's ban, or its end, that was judged.
    async fn obey_ban(&mut self, judged: Result<BanOrder, ErrorCause>, peer: &str, now: Moment) -> Option<ErrorCause> {
        let order = match judged {
            Ok(order) => order,
            Err(cause) => return Some(cause),
        };
        match self.ban(order.network, order.time, now).await {
            Ok(()) => {
                count("agent-ban");
                info!(peer, network = %order.network, seconds = order.time.map(|time| time.as_secs()), "ban by a server");
                None
            }
            Err(error) => {
                error!(peer, network = %order.network, %error, "the ban cannot be put into the rules");
                Some(RESOURCES_UNAVAILABLE)
            }
        }
    }

    /// Writes the state down. Without it a restart puts sessions into the sandbox, and nothing worse.
    pub(super) fn save_all(&mut self) {
        let written = self.state.write_anew(kept!(self));
        self.is_saved(written);
    }

    /// Writes down what became of these interfaces.
    ///
    /// False when a restart would believe what was before.
    fn save(&mut self, interfaces: &[&str]) -> bool {
        let written = self.state.note(Changed { interfaces, ..Changed::default() }, kept!(self));
        self.is_saved(written)
    }

    fn is_saved(&self, written: Result<(), NotWritten>) -> bool {
        let Err(error) = written else { return true };
        error!(file = %self.config.state_file.display(), %error, "the state cannot be written");
        matches!(error, NotWritten::Removed(_))
    }

    /// A script of pppd runs. What its scripts before left in a note while nobody listened comes first; then there is no need of it.
    async fn hook(&mut self, call: &HookCall, now: Moment) {
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
    async fn begin(&mut self, call: &HookCall, now: Moment) {
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

    /// Takes a session out of the table and out of all sets.
    async fn forget(&mut self, interface: &str) {
        let session = self.sessions.remove(interface);
        self.put(interface).await;
        if let Some(session) = session {
            self.flush(interface, addresses(&session.facts), Flows::All);
        }
    }

    /// Puts in force what a session is under: the permit comes after its limits, and goes before them. Without a session it is the
    /// sandbox.
    async fn put(&mut self, interface: &str) -> bool {
        let session = self.sessions.get(interface);
        let place: Option<Place> = session.and_then(|session| session.place(&self.config));
        let permitted = session.filter(|_| place.is_some());
        let (rates, routes) = permitted.map(|session| (session.rates, session.routes.clone())).unwrap_or_default();
        let confined = place.is_none();
        // What it had before it keeps; it gets nothing more.
        if !confined && !self.links.limit(interface, rates).await {
            return false;
        }
        if let Err(error) = self.table.place(interface, place).await {
            error!(interface, %error, "the rules cannot be changed");
            return false;
        }
        let routed = self.links.route(interface, &routes).await;
        let limited = !confined || self.links.limit(interface, rates).await;
        if routed && limited {
            self.links.finished(interface);
        }
        true
    }

    /// Limits and routes of the sessions that were there before; limits in few runs of tc.
    async fn take_up_links(&mut self) {
        let permitted = self.sessions.values().filter(|session| session.place(&self.config).is_some());
        let rates: Vec<_> = permitted.map(|session| (session.interface.as_str(), session.rates)).collect();
        self.links.take_up(&rates, |interface| is_one_of(interface, &self.config.interfaces)).await;
        let interfaces: Vec<String> = self.sessions.keys().cloned().collect();
        for interface in &interfaces {
            self.put(interface).await;
        }
        self.compare_links().await;
    }

    /// Compares limits and routes with what they should be.
    async fn compare_links(&mut self) {
        for interface in self.links.unfinished() {
            self.put(&interface).await;
        }
        match self.links.reconcile().await {
            Ok(false) => (),
            Ok(true) => warn!("limits or routes were not as they should be; now they are"),
            Err(error) => error!(%error, "limits and routes cannot be compared"),
        }
    }

    async fn change(
        &mut self,
        interface: &str,
        change: &Change,
        request: &Genuine<'_>,
        now: Moment,
    ) -> Option<ErrorCause> {
        let session = self.sessions.get_mut(interface);
        let session = session.filter(|session| session.ending.is_none() && !session.ipv4.is_over());
        let Some(session) = session else { return Some(SESSION_CONTEXT_NOT_FOUND) };
        if session.found && radattr::when_written(&self.config.run_dir, interface) != session.accepted_at {
            // Another login has its interface by now; soon we find that one.
            return Some(SESSION_CONTEXT_NOT_FOUND);
        }
        let before = session.clone();
        let permits = change.filter_id.as_ref().is_some_and(|filter| *filter != self.config.sandbox_filter);
        if permits && session.found && session.facts.framed_ip_address.is_none() {
            // Its IPv4 came up since, or has to be permitted by a hook that comes still.
            match peers().await {
                Ok(addresses) => session.facts.framed_ip_address = addresses.get(interface).copied(),
                Err(error) => {
                    error!(interface, %error, "its address cannot be read, so it cannot be let through");
                    return Some(RESOURCES_UNAVAILABLE);
                }
            }
        }
        if change.session_timeout.is_some_and(|timeout| !session.set_timeout(timeout)) {
            return Some(INVALID_ATTRIBUTE_VALUE);
        }
        if let Some(filter) = &change.filter_id {
            let permit = (*filter != self.config.sandbox_filter).then(|| filter.clone());
            session.set_filter(permit, now.up);
        }
        session.rates = session.rates.after(change.rates.unwrap_or_default());
        if let Some(idle) = change.idle_timeout {
            session.idle_timeout = (!idle.is_zero()).then_some(idle);
            session.last_traffic = Some((packets(interface), now.up));
        }
        session.carried_out(request);
        let (state, addresses) = (session.state(), addresses(&session.facts));
        let confined = session.filter.is_none() && before.filter.is_some();
        let permitted = session.filter.is_some() && before.filter.is_none();
        let (user, filter) = (session.facts.user_name.clone(), session.filter.clone());
        if !self.put(interface).await {
            // The server was told no: it must not come to pass when the rules are mended.
            self.table.take_back(interface, before.place(&self.config));
            self.sessions.insert(interface.to_owned(), before);
            return Some(RESOURCES_UNAVAILABLE);
        }
        if confined {
            self.flush(interface, addresses, Flows::All);
        } else if permitted {
            self.flush(interface, addresses, Flows::Redirected);
        }
        if let Some(session) = self.sessions.get_mut(interface).filter(|session| session.found) {
            // From now on somebody vouches for it, who has heard of its Start.
            session.found = false;
            session.ipv4.was_missed(now.up);
        }
        info!(interface, user, state, filter, "session changes");
        let saved = self.save(&[interface]);
        // It is confined, but a restart would believe the permit of before: that is not to be acknowledged.
        (confined && !saved).then_some(RESOURCES_UNAVAILABLE)
    }

    /// Ends a session: out of its set at once, then its pppd is asked to end. Never waits for it.
    async fn end(&mut self, interface: &str, reason: Reason, now: Moment) -> Option<ErrorCause> {
        let session = self.sessions.get_mut(interface)?;
        if session.ending.is_some_and(|ending| ending.signalled) {
            // A second SIGTERM would kill ip-down.
            return None;
        }
        let (user, addresses, process) = (session.facts.user_name.clone(), addresses(&session.facts), session.process);
        session.ending = Some(Ending { since: now.up, signalled: false, killed: false });
        self.put(interface).await;
        self.flush(interface, addresses, Flows::All);
        let process = process.or_else(|| server_of(interface, &self.config, now));
        let sent = process.map(|process| process.signal(Signal::Terminate, interface, &self.config.run_dir));
        let refused = match sent {
            None => {
                error!(
                    interface,
                    user, "nobody knows the process of this session; it stays without network until one is known"
                );
                Some(SESSION_CONTEXT_NOT_REMOVABLE)
            }
            Some(Ok(())) => {
                if let Some(session) = self.sessions.get_mut(interface) {
                    session.process = process;
                    session.ending = Some(Ending { since: now.up, signalled: true, killed: false });
                }
                info!(interface, user, reason = reason.name(), "session is ended");
                None
            }
            Some(Err(NotSignalled::Gone(_))) => {
                self.forget(interface).await;
                Some(SESSION_CONTEXT_NOT_FOUND)
            }
            Some(Err(error)) => {
                error!(interface, user, %error, "session cannot be ended; it stays without network");
                Some(SESSION_CONTEXT_NOT_REMOVABLE)
            }
        };
        self.save(&[interface]);
        refused
    }

    /// Cuts flows of addresses and of what is routed to an interface, beside the work in hand: the rules have cut them
    /// already.
    fn flush(&self, interface: &str, addresses: impl IntoIterator<Item = IpNet>, which: Flows) {
        let (interface, addresses) = (interface.to_owned(), addresses.into_iter().collect());
        tokio::spawn(async move {
            if let Err(error) = cut_flows(&interface, addresses, which).await {
                warn!(%error, "conntrack cannot be run; old flows are cut by the rules alone");
            }
        });
    }

    /// Interfaces we were not told of. A note says who they are; without one, what pppd left behind says which process
    /// serves them, and they are in the sandbox until their limit.
    async fn find_strangers(&mut self, now: Moment) {
        let (mut found, mut addresses) = (false, None);
        for interface in interfaces() {
            if !is_one_of(&interface, &self.config.interfaces) {
                continue;
            }
            if let Some(session) = self.sessions.get(&interface) {
                let written = radattr::when_written(&self.config.run_dir, &interface);
                if !session.found || written == session.accepted_at {
                    continue;
                }
                // Another login has its interface by now.
                self.forget(&interface).await;
                found = true;
            }
            // A pppd that was killed leaves its files behind.
            let pid = serving(&interface, &self.config.run_dir).filter(|pid| Process::of(*pid).is_some());
            // Nobody's radattr, nobody's note: this link is none of RADIUS's, such as the host's own uplink.
            let process = pid.and_then(Process::of);
            let Some(accept) = radattr::accept(&self.config.run_dir, &interface, process, now.wall) else { continue };
            let mut call = self.stranger(&interface, pid, accept);
            if call.remote.is_none() {
                if addresses.is_none() {
                    let listed = peers().await;
                    addresses = Some(listed.unwrap_or_else(|error| {
                        error!(%error, "the addresses of interfaces cannot be listed");
                        BTreeMap::new()
                    }));
                }
                call.remote = addresses.as_ref().and_then(|addresses| addresses.get(&interface)).copied();
            }
            info!(interface, "found an interface nobody told us of");
            self.begin(&call, now).await;
            if let Some(session) = self.sessions.get_mut(&interface) {
                session.found = true;
                // By this second pppd's Acct-Session-Id is known.
                session.facts.since = call.accepted_at.map_or(now.wall, |(seconds, _)| Timestamp::from_secs(seconds));
            }
            found = true;
        }
        if found {
            self.save_all();
        }
    }

    /// What hooks wanted to say while nobody listened. A note is kept until it is used, or its process has ended.
    async fn read_notes(&mut self, now: Moment) {
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

    fn stranger(&self, interface: &str, pid: Option<u32>, accept: Accept) -> HookCall {
        let Accept { says: accept, written_at } = accept;
        let fixed = accept.get("Framed-IP-Address").and_then(|address| address.parse().ok());
        HookCall {
            event: HookEvent::IpUp,
            interface: interface.to_owned(),
            pid,
            unit: interface.strip_prefix("ppp").and_then(|unit| unit.parse().ok()),
            device: None,
            // These two leave the choice to the NAS or the user (RFC 2865 §5.8).
            remote: fixed.filter(|address: &Ipv4Addr| !matches!(address.octets(), [255, 255, 255, 254 | 255])),
            link_local_remote: None,
            peer_name: None,
            ip_param: None,
            // Nobody vouches for it, so it starts in the sandbox whatever its Access-Accept said.
            filter_id: Some(self.config.sandbox_filter.clone()),
            accept,
            accepted_at: Some(written_at),
            at: None,
            again: false,
        }
    }

    async fn status(&self, now: Moment) -> Value {
        let sessions: Vec<Value> = self
            .sessions
            .values()
            .filter(|session| session.ending.is_some() || !session.ipv4.is_over())
            .map(|session| {
                let Facts { user_name, framed_ip_address, calling_station_id, since, .. } = &session.facts;
                json!({
                    "interface": session.interface,
                    "state": session.state(),
                    "filter": session.filter,
                    "user": user_name,
                    "address": framed_ip_address,
                    "calling": calling_station_id,
                    "pid": session.process.map(|process| process.pid),
                    "up_bits_per_second": session.rates.up,
                    "down_bits_per_second": session.rates.down,
                    "since": since.to_string(),
                    "age_seconds": now.up.since(session.begun).as_secs(),
                    "sandboxed_seconds": session.sandboxed_since.map(|since| now.up.since(since).as_secs()),
                    "session_timeout_seconds": session.timeout().map(|timeout| timeout.as_secs()),
                    "idle_timeout_seconds": session.idle_timeout.map(|timeout| timeout.as_secs()),
                })
            })
            .collect();
        let stations = self.table.stations().await.unwrap_or_else(|error| {
            error!(%error, "the stations that are let through cannot be listed");
            Vec::new()
        });
        let filter_of = |set: &str| self.config.filters.iter().find(|known| known.set == set).map(|known| &known.name);
        let stations: Vec<Value> = stations
            .iter()
            .map(|station| {
                json!({"station": station.mac, "filter": filter_of(&station.set), "left_seconds": station.left.as_secs()})
            })
            .collect();
        json!({"sessions": sessions, "stations": stations, "counters": crate::telemetry::snapshot()})
    }
}

/// What the front passed on in accounting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AccountingHeard {
    /// NAS-Port.
    pub(super) port: u32,
    /// The Acct-Session-Id the servers see.
    pub(super) id: String,
    /// Class, all of it.
    pub(super) class: Option<Vec<u8>>,
    /// User-Name.
    pub(super) user: Option<String>,
    /// Calling-Station-Id.
    pub(super) calling: Option<String>,
}

fn host(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::from(address))
}

/// The addresses of a session. By IPv6 there is the peer's link-local one too, which no router passes on.
fn addresses(facts: &Facts) -> Vec<IpNet> {
    let v4 = facts.framed_ip_address.map(host);
    v4.into_iter().chain(facts.ipv6_prefixes.iter().copied().map(IpNet::from)).collect()
}

/// Cuts a station's flows, beside the work in hand: what others send it goes by the flow alone.
fn flush_station(station: String, which: Flows) {
    tokio::spawn(async move {
        if which == Flows::All {
            info!(station, "station is in the sandbox");
        }
        if let Err(error) = cut_station(&station, which).await {
            warn!(station, %error, "ip or conntrack cannot be run; what others send it in open flows still arrives");
        }
    });
}

fn remove_note(directory: &Path, interface: &str) {
    let file = directory.join(interface);
    if let Err(error) = std::fs::remove_file(&file) {
        warn!(file = %file.display(), %error, "a note that was read cannot be removed");
    }
}

/// The process that pppd's file says serves an interface, when it is the one that logged in there: the file of one that was killed
/// may name a process that has its number by now.
fn server_of(interface: &str, config: &Agent, now: Moment) -> Option<Process> {
    let process = serving(interface, &config.run_dir).and_then(Process::of)?;
    radattr::accept(&config.run_dir, interface, Some(process), now.wall).map(|_| process)
}

/// Whether a session of the state file is still the one on its interface, as far as pppd's file and a hook's note say.
fn still_serves(session: &Session, config: &Agent) -> bool {
    let Some(process) = session.process.filter(Process::runs) else { return false };
    let other = |pid: &u32| *pid != process.pid;
    let noted = match read_note_of(&notes(&config.socket), &session.interface) {
        Note::Of(call) => Some(call).filter(|call| call.pid.is_some_and(|pid| Process::of(pid).is_some())),
        Note::Away | Note::Odd(_) => None,
    };
    // One process may log in several times: what was permitted is the session of one Access-Accept.
    let same_login = |at: Option<(i64, i64)>| session.accepted_at.is_none() || at == session.accepted_at;
    serving(&session.interface, &config.run_dir).filter(other).is_none()
        && noted.is_none_or(|call| call.pid == Some(process.pid) && same_login(call.accepted_at))
        && same_login(radattr::when_written(&config.run_dir, &session.interface))
}

/// Whether a session of the state file went down while nobody listened: then its permit is not put in force even until the note of
/// that is taken up.
fn was_left_down(session: &Session, config: &Agent) -> bool {
    match read_note_of(&notes(&config.socket), &session.interface) {
        Note::Of(call) => session.goes_on(&call) && (call.again || call.event == HookEvent::IpDown),
        Note::Away | Note::Odd(_) => false,
    }
}

fn interfaces() -> Vec<String> {
    names_in(Path::new("/sys/class/net")).unwrap_or_default()
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

fn is_one_of(interface: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(stem) => interface.starts_with(stem),
        None => interface == pattern,
    })
}

/// Packets both ways.
fn packets(interface: &str) -> u64 {
    let counter = |name: &str| -> Option<u64> {
        let path = format!("/sys/class/net/{interface}/statistics/{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    counter("rx_packets").unwrap_or(0).wrapping_add(counter("tx_packets").unwrap_or(0))
}
