//! What servers and operators ask for: requests of RFC 5176 that are genuine and new, and bans. Knows no hook and no timer.

use std::time::Duration;

use ipnet::IpNet;
use tracing::{error, info, warn};

use super::{Keeper, Outcome, addresses, flush_station, packets};
use crate::agent::EVENT_WINDOW;
use crate::agent::apply::{Flows, NftError, peers};
use crate::agent::moment::Moment;
use crate::agent::radattr;
use crate::agent::session::{Newest, Reason};
use crate::agent::state::Changed;
use crate::dynauth::server::{
    Change, Genuine, INVALID_ATTRIBUTE_VALUE, Mac, RESOURCES_UNAVAILABLE, SESSION_CONTEXT_NOT_FOUND, Verdict, judge,
    judge_ban, judge_station,
};
use crate::dynauth::{BanOrder, ErrorCause};
use crate::telemetry::count;

impl Keeper {
    /// Carries out a request that is genuine and new.
    ///
    /// A CoA-Request that is older than one of this session that was carried out, by their Event-Timestamps, is a recording or was
    /// overtaken on its way: it is not current, and so silently discarded (RFC 5176 §6.3). A client that means it asks again, by a
    /// later time. A Disconnect-Request is never too late: the worst a recording of one can do is to end a session, and a server
    /// whose clock is behind another's must be able to.
    pub(in crate::agent) async fn obey(&mut self, request: &Genuine<'_>, peer: &str, now: Moment) -> Outcome {
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
            self.note(Changed { stations: &[&station], ..Changed::default() });
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

    /// Bans a network for so long, or until it is lifted, which no time at all does.
    pub(super) async fn ban(&mut self, network: IpNet, time: Option<Duration>, now: Moment) -> Result<(), NftError> {
        let before = self.bans.clone();
        match time {
            Some(Duration::ZERO) => self.bans.lift(network),
            time => self.bans.set(network, time.map(|time| now.up.after(time))),
        }
        if let Err(error) = self.table.ban(&self.bans.in_force(now.up)).await {
            self.bans = before;
            return Err(error);
        }
        self.note(Changed { networks: &[network], ..Changed::default() });
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
}
