//! A session as the agent knows it: what identifies it, who serves it, what filter is in force, and when it ends. Touches
//! nothing.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::apply::{Place, Process};
use super::hook::{HookCall, HookEvent};
use super::ipv4::{Ipv4, Word};
use super::moment::{Moment, Uptime};
use super::radattr::Radattr;
use super::route::routes;
use crate::config::Agent;
use crate::dynauth::server::{Facts, Genuine, RateOrder, Rates};
use crate::model::Timestamp;
use crate::radius::attribute;

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Session {
    /// Its interface.
    pub(super) interface: String,
    /// What requests know it by.
    pub(super) facts: Facts,
    /// Its pppd.
    pub(super) process: Option<Process>,
    /// The Filter-Id in force; none is the sandbox.
    pub(super) filter: Option<String>,
    /// When it began.
    pub(super) begun: Uptime,
    /// Since when it is in the sandbox.
    pub(super) sandboxed_since: Option<Uptime>,
    /// Session-Timeout of a CoA-Request, counted from the beginning.
    pub(super) session_timeout: Option<Duration>,
    /// Session-Timeout of the Access-Accept. pppd keeps it by itself, and tells the server the true cause; we only make sure.
    pub(super) accepted_timeout: Option<Duration>,
    /// Idle-Timeout of a CoA-Request. That of the Access-Accept is pppd's own business.
    pub(super) idle_timeout: Option<Duration>,
    /// How fast it may be.
    pub(super) rates: Rates,
    /// Networks behind the user, of its Access-Accept.
    #[serde(default)]
    pub(super) routes: Vec<IpNet>,
    /// Packets both ways when they last changed, and when that was.
    pub(super) last_traffic: Option<(u64, Uptime)>,
    /// Which Access-Accept it is of: [`HookCall::accepted_at`].
    pub(super) accepted_at: Option<(i64, i64)>,
    /// The newest of the CoA-Requests that were carried out.
    pub(super) newest: Option<Newest>,
    /// How far IPv4 has come. When it is down and its pppd lives, it is not to come again: see [`Ipv4`].
    pub(super) ipv4: Ipv4,
    /// Since when it is being ended, and whether pppd was killed for it.
    pub(super) ending: Option<Ending>,
    /// No hook told us of it: its interface was found, and nobody vouched for it yet.
    #[serde(default)]
    pub(super) found: bool,
}

/// The second that the newest CoA-Requests of a session are of (Event-Timestamp), and their Request Authenticators, which are
/// digests of all they say (RFC 5176 §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newest {
    event_timestamp: u32,
    authenticators: Vec<[u8; 16]>,
}

impl Newest {
    /// Whether a request is older than the newest, or one of them.
    pub(super) fn overtakes(&self, request: &Genuine<'_>) -> bool {
        let Some(at) = request.packet().integer(attribute::EVENT_TIMESTAMP) else { return false };
        let known = self.authenticators.contains(request.packet().authenticator());
        at < self.event_timestamp || at == self.event_timestamp && known
    }

    /// What is the newest when a request is carried out.
    pub(super) fn after(before: Option<Self>, request: &Genuine<'_>) -> Option<Self> {
        let Some(at) = request.packet().integer(attribute::EVENT_TIMESTAMP) else { return before };
        let same_second = before.filter(|newest| newest.event_timestamp == at);
        let mut authenticators = same_second.map(|newest| newest.authenticators).unwrap_or_default();
        authenticators.push(*request.packet().authenticator());
        Some(Self { event_timestamp: at, authenticators })
    }

    /// Whether a recording of any of them would be dropped for its age alone (RFC 5176 §6.3).
    pub(super) fn is_out_of_date(&self, now: Timestamp, window: Duration) -> bool {
        Timestamp::from_secs(self.event_timestamp.into()) + window + Duration::from_secs(1) < now
    }
}

/// How long pppd has for ending a session by itself at its own Session-Timeout.
const PPPD_FIRST: Duration = Duration::from_secs(5);

/// A session on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// Since when; once it is signalled, SIGTERM went out then.
    pub(super) since: Uptime,
    /// SIGTERM went out. Until it does, it is tried again.
    pub(super) signalled: bool,
    /// SIGKILL went out too.
    pub(super) killed: bool,
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Disconnect-Request.
    Ordered,
    /// It was in the sandbox too long.
    SandboxLimit,
    /// Session-Timeout.
    SessionTimeout,
    /// Idle-Timeout.
    IdleTimeout,
    /// IPv4 came up a second time.
    Renegotiated,
}

impl Reason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ordered => "Disconnect-Request",
            Self::SandboxLimit => "sandbox_limit",
            Self::SessionTimeout => "Session-Timeout",
            Self::IdleTimeout => "Idle-Timeout",
            Self::Renegotiated => "IPCP was negotiated again; its accounting session is over",
        }
    }
}

/// Rates of an Access-Accept, when radiusclient's dictionary knows the vendor's attributes.
fn rates(accept: &Radattr) -> Rates {
    let mut rates = RateOrder::default();
    for (name, value) in accept {
        rates.hear_text(name, value);
    }
    Rates::default().after(rates)
}

impl Session {
    /// A new session, in the sandbox unless its Access-Accept says otherwise.
    pub(super) fn begin(call: &HookCall, process: Option<Process>, config: &Agent, now: Moment) -> Self {
        let accept = &call.accept;
        let accepted = |name: &str| accept.get(name).cloned();
        let seconds = |name: &str| accept.get(name).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let mut nas_port_ids = vec![call.interface.clone()];
        nas_port_ids.extend(call.device.clone());
        let facts = Facts {
            user_name: call.peer_name.clone(),
            nas_port: call.unit,
            nas_port_ids,
            framed_ip_address: call.remote,
            framed_ipv6_addresses: Vec::new(),
            ipv6_prefixes: ["Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"]
                .iter()
                .filter_map(|name| accept.get(*name)?.parse::<Ipv6Net>().ok())
                .map(|net| net.trunc())
                .collect(),
            framed_interface_id: None,
            calling_station_id: call.ip_param.clone(),
            acct_session_id: None,
            class: accepted("Class"),
            since: now.wall,
            pid: call.pid,
            removable: process.is_some(),
        };
        let filter = call.filter_id.clone().or_else(|| accepted("Filter-Id"));
        let filter = filter.filter(|filter| config.filters.iter().any(|known| known.name == *filter));
        let mut session = Self {
            interface: call.interface.clone(),
            facts,
            process,
            begun: now.up,
            sandboxed_since: filter.is_none().then_some(now.up),
            filter,
            session_timeout: None,
            // As for pppd, zero is none.
            accepted_timeout: seconds("Session-Timeout").filter(|timeout| !timeout.is_zero()),
            idle_timeout: None,
            rates: rates(accept),
            routes: routes(accept, call.remote).0,
            last_traffic: None,
            accepted_at: call.accepted_at,
            newest: None,
            ipv4: Ipv4::default(),
            ending: None,
            found: false,
        };
        session.hear_of_ipv6(call.link_local_remote);
        session
    }

    /// Whether a call is by the process that serves it.
    pub(super) fn is_by(&self, call: &HookCall) -> bool {
        self.process.is_some_and(|process| Some(process.pid) == call.pid && process.runs())
    }

    /// Whether a call is of this very login: the same process, of the same Access-Accept. One process may log in several times, by
    /// LCP negotiated again or by pppd's `persist`.
    pub(super) fn goes_on(&self, call: &HookCall) -> bool {
        let same_user =
            call.peer_name.is_none() || self.facts.user_name.is_none() || call.peer_name == self.facts.user_name;
        self.is_by(call) && same_user && call.accepted_at == self.accepted_at
    }

    /// A script says that IPv4 comes up or is up, of this very login.
    pub(super) fn hear_of_ipv4(&mut self, call: &HookCall) -> Word {
        let word = match call.event {
            HookEvent::IpPreUp => self.ipv4.hear_pre_up(call.at),
            HookEvent::IpUp => self.ipv4.hear_up(call.at),
            HookEvent::IpDown | HookEvent::Ipv6Up | HookEvent::Ipv6Down => Word::Known,
        };
        if call.again { Word::Again } else { word }
    }

    /// IPv4 joins IPv6 that was there before, or says more of itself.
    pub(super) fn join(&mut self, call: &HookCall) {
        self.facts.framed_ip_address = call.remote.or(self.facts.framed_ip_address);
        self.facts.user_name = call.peer_name.clone().or_else(|| self.facts.user_name.take());
        self.facts.calling_station_id = call.ip_param.clone().or_else(|| self.facts.calling_station_id.take());
        if let Some(device) = call.device.as_ref().filter(|device| !self.facts.nas_port_ids.contains(device)) {
            self.facts.nas_port_ids.push(device.clone());
        }
        self.hear_of_ipv6(call.link_local_remote);
    }

    /// The peer's link-local address, from which its Framed-Interface-Id follows (RFC 5072 §5).
    pub(super) fn hear_of_ipv6(&mut self, link_local: Option<Ipv6Addr>) {
        if let Some(address) = link_local {
            self.facts.framed_ipv6_addresses = vec![address];
            self.facts.framed_interface_id = address.octets()[8..].try_into().ok();
        }
    }

    /// Where its packets may go; nowhere is the sandbox. A session that is being ended goes nowhere at once.
    pub(super) fn place(&self, config: &Agent) -> Option<Place> {
        let filter = self.filter.as_ref().filter(|_| self.ending.is_none() && !self.ipv4.is_down())?;
        let filter = config.filters.iter().find(|known| known.name == *filter)?;
        let routed = self.routes.iter().filter_map(|to| if let IpNet::V4(to) = to { Some(*to) } else { None });
        Some(Place { set: filter.set.clone(), v4: self.facts.framed_ip_address, routed: routed.collect() })
    }

    /// Puts a filter in force; `None` is the sandbox.
    pub(super) fn set_filter(&mut self, filter: Option<String>, now: Uptime) {
        self.sandboxed_since = match filter {
            Some(_) => None,
            // Said twice, it has been there since the first time.
            None => self.sandboxed_since.or(Some(now)),
        };
        self.filter = filter;
    }

    /// Sets Session-Timeout anew; zero takes it away, as in an Access-Accept (pppd, RFC 2865 §5.27). False when this is later
    /// than pppd will end the session by itself: it read the Access-Accept's when the session began, and cannot be told another.
    pub(super) fn set_timeout(&mut self, timeout: Duration) -> bool {
        let timeout = (!timeout.is_zero()).then_some(timeout);
        let is_later = |accepted: Duration| timeout.is_none_or(|timeout| timeout > accepted);
        if self.accepted_timeout.is_some_and(is_later) {
            return false;
        }
        self.session_timeout = timeout;
        true
    }

    /// The Session-Timeout that ends it.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.session_timeout.into_iter().chain(self.accepted_timeout).min()
    }

    /// Whether a CoA-Request is older than one that was carried out, or that very one, by its Event-Timestamp: a recording, or a
    /// retransmission that was overtaken. Of those without one nobody can tell.
    pub(super) fn is_overtaken(&self, request: &Genuine<'_>) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.overtakes(request))
    }

    /// A CoA-Request is carried out.
    pub(super) fn carried_out(&mut self, request: &Genuine<'_>) {
        self.newest = Newest::after(self.newest.take(), request);
    }

    /// Whether its time is over, and why.
    pub(super) fn overdue(&self, config: &Agent, now: Uptime) -> Option<Reason> {
        if self.ending.is_some() {
            return None;
        }
        let age = now.since(self.begun);
        let accepted = self.accepted_timeout.map(|limit| limit.saturating_add(PPPD_FIRST));
        if accepted.into_iter().chain(self.session_timeout).any(|limit| age >= limit) {
            return Some(Reason::SessionTimeout);
        }
        if self.sandboxed_since.is_some_and(|since| now.since(since) >= config.sandbox_limit) {
            return Some(Reason::SandboxLimit);
        }
        let quiet_since = self.last_traffic.map(|(_, since)| since);
        let idle = self.idle_timeout.zip(quiet_since).is_some_and(|(limit, since)| now.since(since) >= limit);
        idle.then_some(Reason::IdleTimeout)
    }

    /// In one word.
    pub(super) fn state(&self) -> &'static str {
        match (&self.ending, &self.filter) {
            (Some(_), _) => "ending",
            (None, Some(_)) => "permitted",
            (None, None) => "sandboxed",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::hook::HookEvent;
    use super::super::radattr::radattr;
    use super::*;
    use crate::config::{Config, Flags, Surroundings};
    use crate::dynauth::server::{Rules, verify};
    use crate::radius::{Code, Packet, PacketBuilder};

    fn config() -> Agent {
        Config::load_in(&Flags::default(), &Surroundings::default()).unwrap().config.agent
    }

    pub(in crate::agent) fn begun(accept: &str) -> Session {
        let said = [("IFNAME", "ppp0"), ("IPREMOTE", "10.93.0.50"), ("PEERNAME", "alice")];
        let said = said.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let call = HookCall::from_environment(HookEvent::IpPreUp, &said).unwrap();
        let now = Moment { wall: Timestamp::from_secs(1_795_000_000), up: at(0) };
        Session::begin(&HookCall { accept: radattr(accept), ..call }, None, &config(), now)
    }

    fn at(secs: u64) -> Uptime {
        Uptime::after_boot(Duration::from_secs(secs))
    }

    #[test]
    fn an_access_accept_is_read_as_radattr_writes_it() {
        let session =
            begun("Service-Type Framed-User\nFilter-Id other\nFilter-Id permit\nClass a b\nSession-Timeout 600\n");
        assert_eq!(session.filter.as_deref(), Some("permit"), "the last one counts, as for pppd");
        assert_eq!(session.facts.class.as_deref(), Some("a b"));
        assert_eq!(session.accepted_timeout, Some(Duration::from_secs(600)));
        let place = session.place(&config()).unwrap();
        assert_eq!((place.set.as_str(), place.v4), ("permit", Some([10, 93, 0, 50].into())));
    }

    #[test]
    fn what_is_not_a_permit_is_the_sandbox() {
        for accept in ["", "Filter-Id sandbox\n", "Filter-Id unheard-of\n", "Filter-Id \n", "Filter-Id\n"] {
            let session = begun(accept);
            assert_eq!((session.state(), session.place(&config())), ("sandboxed", None), "{accept:?}");
        }
    }

    #[test]
    fn the_sandbox_limit_counts_from_the_first_moment_in_the_sandbox() {
        let (mut session, config) = (begun(""), config());
        let limit = config.sandbox_limit.as_secs();
        session.set_filter(None, at(limit - 1));
        assert_eq!(session.overdue(&config, at(limit - 1)), None);
        assert_eq!(session.overdue(&config, at(limit)), Some(Reason::SandboxLimit), "saying it twice wins no time");
        session.set_filter(Some("permit".to_owned()), at(limit));
        assert_eq!(session.overdue(&config, at(limit * 9)), None);
        session.set_filter(None, at(limit * 9));
        assert_eq!(session.overdue(&config, at(limit * 10)), Some(Reason::SandboxLimit));
    }

    #[test]
    fn pppd_ends_at_its_own_session_timeout_and_we_at_ours() {
        let (mut session, config) = (begun("Filter-Id permit\nSession-Timeout 100\n"), config());
        assert_eq!(session.overdue(&config, at(104)), None);
        assert_eq!(session.overdue(&config, at(105)), Some(Reason::SessionTimeout));
        assert!(session.set_timeout(Duration::from_secs(50)));
        assert_eq!(session.overdue(&config, at(49)), None);
        assert_eq!(session.overdue(&config, at(50)), Some(Reason::SessionTimeout));
        session.ending = Some(Ending { since: at(50), signalled: true, killed: false });
        assert_eq!((session.overdue(&config, at(60)), session.place(&config)), (None, None));
    }

    #[test]
    fn a_timeout_of_zero_is_none_and_none_is_longer_than_pppds() {
        let (mut session, config) = (begun("Filter-Id permit\nSession-Timeout 0\n"), config());
        assert!(session.set_timeout(Duration::from_secs(50)) && session.set_timeout(Duration::from_secs(70)));
        assert_eq!(session.overdue(&config, at(70)), Some(Reason::SessionTimeout));
        assert!(session.set_timeout(Duration::ZERO));
        assert_eq!(session.overdue(&config, at(1_000_000)), None);
        let mut session = begun("Filter-Id permit\nSession-Timeout 100\n");
        assert!(!session.set_timeout(Duration::from_secs(101)) && !session.set_timeout(Duration::ZERO));
        assert!(session.set_timeout(Duration::from_secs(100)));
    }

    #[test]
    fn rfc5176_section_6_3_an_older_request_is_overtaken() {
        let mut session = begun("");
        let octets = |identifier, at: Option<u32>| {
            let mut request = PacketBuilder::request(Code::CoaRequest, identifier, [0; 16]);
            if let Some(at) = at {
                request.integer(attribute::EVENT_TIMESTAMP, at).unwrap();
            }
            request.sign_request(b"secret").unwrap().to_vec()
        };
        let rules = Rules { message_authenticator: true, event_timestamp: false, window: Duration::from_secs(300) };
        let now = Timestamp::from_secs(1_795_000_000);
        let mut is_overtaken = |octets: &[u8], carry_out| {
            let request = verify(Packet::parse(octets).unwrap(), b"secret", &rules, now).unwrap();
            let overtaken = session.is_overtaken(&request);
            if carry_out {
                session.carried_out(&request);
            }
            overtaken
        };
        let (first, second) = (octets(1, Some(1_795_000_000)), octets(2, Some(1_795_000_000)));
        assert!(!is_overtaken(&first, true) && !is_overtaken(&second, true));
        assert!(is_overtaken(&first, false) && is_overtaken(&second, false), "both are done");
        assert!(!is_overtaken(&octets(3, Some(1_795_000_000)), false), "another one of this second");
        assert!(is_overtaken(&octets(3, Some(1_794_999_999)), false));
        assert!(!is_overtaken(&octets(4, Some(1_795_000_001)), true));
        assert!(is_overtaken(&first, false) && is_overtaken(&octets(3, Some(1_795_000_000)), false));
        assert!(!is_overtaken(&octets(5, None), true), "nobody can tell");
        assert!(is_overtaken(&first, false));
    }

    #[test]
    fn idleness_counts_from_the_last_packet() {
        let (mut session, config) = (begun("Filter-Id permit\n"), config());
        session.idle_timeout = Some(Duration::from_secs(60));
        session.last_traffic = Some((7, at(100)));
        assert_eq!(session.overdue(&config, at(159)), None);
        assert_eq!(session.overdue(&config, at(160)), Some(Reason::IdleTimeout));
    }
}
