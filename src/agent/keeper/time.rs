//! What time brings and what looking around finds: limits, sessions that are gone, interfaces nobody told us of, rules that
//! somebody changed. Asked by nobody.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tracing::{error, info, warn};

use super::{Keeper, exists, flush_station, interfaces, is_one_of, packets, server_of};
use crate::agent::apply::{Flows, Process, Signal, peers, serving};
use crate::agent::hook::{HookCall, HookEvent};
use crate::agent::moment::Moment;
use crate::agent::radattr::{self, Accept};
use crate::agent::session::Ending;
use crate::model::Timestamp;
use crate::telemetry::count;

impl Keeper {
    /// What time brings: ends those whose time is over, insists where pppd does not end.
    pub(in crate::agent) async fn tick(&mut self, now: Moment) {
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
    pub(in crate::agent) async fn look_around(&mut self, now: Moment) {
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
    pub(in crate::agent) async fn mend_rules(&mut self, now: Moment) {
        match self.table.reconcile().await {
            Ok(false) => (),
            Ok(true) => warn!("somebody changed table inet radhold; it is as it should be again"),
            Err(error) => error!(%error, "the rules cannot be compared"),
        }
        self.mend_bans(now).await;
    }

    /// Puts in force the bans that should be.
    pub(super) async fn mend_bans(&mut self, now: Moment) {
        self.bans.forget_over(now.up);
        if let Err(error) = self.table.reconcile_bans(&self.bans.in_force(now.up)).await {
            error!(%error, "the bans cannot be put into the rules");
        }
    }

    /// Limits and routes of the sessions that were there before; limits in few runs of tc.
    pub(super) async fn take_up_links(&mut self) {
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

    /// Interfaces we were not told of. A note says who they are; without one, what pppd left behind says which process
    /// serves them, and they are in the sandbox until their limit.
    pub(super) async fn find_strangers(&mut self, now: Moment) {
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
}
