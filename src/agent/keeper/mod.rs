//! Keeps the sessions: what hooks, requests and time come to, carried out in one place and in one order.

mod hooks;
mod requests;
mod status;
mod time;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::AgentError;
use super::apply::{
    Flows, Links, NotSignalled, Place, Process, RuleSettings, Signal, Table, cut_flows, cut_station, serving,
};
use super::ban::Bans;
use super::hook::{HookEvent, Request};
use super::moment::Moment;
use super::notes::{Note, notes, read_note_of};
use super::radattr;
use super::session::{Ending, Newest, Reason, Session};
use super::state::{Changed, Kept, Loaded, NotWritten, State};
use crate::config::Agent;
use crate::dynauth::ErrorCause;
use crate::dynauth::server::{Facts, NasNames, SESSION_CONTEXT_NOT_FOUND, SESSION_CONTEXT_NOT_REMOVABLE};

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

    /// Writes the state down. Without it a restart puts sessions into the sandbox, and nothing worse.
    pub(super) fn save_all(&mut self) {
        let written = self.state.write_anew(kept!(self));
        self.is_saved(written);
    }

    /// Writes down what became of these interfaces.
    ///
    /// False when a restart would believe what was before.
    fn save(&mut self, interfaces: &[&str]) -> bool {
        self.note(Changed { interfaces, ..Changed::default() })
    }

    /// Writes down what changed. False when a restart would believe what was before.
    fn note(&mut self, changed: Changed<'_>) -> bool {
        let written = self.state.note(changed, kept!(self));
        self.is_saved(written)
    }

    fn is_saved(&self, written: Result<(), NotWritten>) -> bool {
        let Err(error) = written else { return true };
        error!(file = %self.config.state_file.display(), %error, "the state cannot be written");
        matches!(error, NotWritten::Removed(_))
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

    /// Takes a session out of the table and out of all sets.
    async fn forget(&mut self, interface: &str) {
        let session = self.sessions.remove(interface);
        self.put(interface).await;
        if let Some(session) = session {
            self.flush(interface, addresses(&session.facts), Flows::All);
        }
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

/// The process that pppd's file says serves an interface, when it is the one that logged in there: the file of one that was killed
/// may name a process that has its number by now.
fn server_of(interface: &str, config: &Agent, now: Moment) -> Option<Process> {
    let process = serving(interface, &config.run_dir).and_then(Process::of)?;
    radattr::accept(&config.run_dir, interface, Some(process), now.wall).map(|_| process)
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
