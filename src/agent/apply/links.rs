//! What a permitted session has on its interface besides the permit: limits of speed and routes. Keeps a mirror of both, compares
//! it with the host, and mends what is otherwise. Knows no session, and never touches an interface that it was not told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ipnet::IpNet;
use tracing::{error, info};

use super::routes::{self, Over};
use super::tc;
use super::tool::ToolError;
use crate::dynauth::server::Rates;

/// What is in force, and what could not be put in force yet.
#[derive(Debug, Default)]
pub(in crate::agent) struct Links {
    limits: BTreeMap<String, Limit>,
    routes: BTreeSet<Over>,
    /// Interfaces where something could not be put in force, and why, so that it is said once.
    unfinished: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Limit {
    rates: Rates,
    /// What the kernel showed when they were put in force.
    shown: String,
}

impl Links {
    /// Takes up an earlier agent's work: these rates are in force from now on, and what it left on other interfaces goes, of those
    /// that are `ours`. Routes are mended with the next comparison.
    pub(in crate::agent) async fn take_up(&mut self, rates: &[(&str, Rates)], ours: impl Fn(&str) -> bool) {
        let limited: Vec<(&str, Rates)> =
            rates.iter().copied().filter(|(_, rates)| *rates != Rates::default()).collect();
        if !limited.is_empty()
            // When one of them cannot be limited, each is tried by itself later.
            && let Ok(shown) = tc::limit_all(&limited).await
        {
            let limits = limited.iter().zip(shown);
            let limits = limits.map(|(&(interface, rates), shown)| (interface.to_owned(), Limit { rates, shown }));
            self.limits.extend(limits);
        }
        match tc::limited().await {
            Ok(found) => {
                let strays = found.iter().map(String::as_str);
                let known = |interface: &str| limited.iter().any(|(known, _)| *known == interface);
                let strays: Vec<&str> = strays.filter(|interface| ours(interface) && !known(interface)).collect();
                if !strays.is_empty()
                    && let Err(error) = tc::lift(strays.into_iter()).await
                {
                    error!(%error, "limits of sessions that are over cannot be taken away");
                }
            }
            Err(error) => error!(%error, "limits of sessions that are over cannot be looked for"),
        }
    }

    /// Puts limits in force on an interface, in place of those that were. False when it is not known which are in force now; why is
    /// said, and [`Self::unfinished`] names the interface.
    pub(in crate::agent) async fn limit(&mut self, interface: &str, rates: Rates) -> bool {
        match self.try_limit(interface, rates).await {
            Ok(()) => true,
            Err(error) => {
                self.trouble(interface, "its limits cannot be put in force", &error);
                false
            }
        }
    }

    async fn try_limit(&mut self, interface: &str, rates: Rates) -> Result<(), ToolError> {
        let known = self.limits.get(interface);
        let before = known.map(|limit| limit.rates);
        if rates == before.unwrap_or_default() && !self.unfinished.contains_key(interface) {
            return Ok(());
        }
        self.limits.remove(interface);
        if rates == Rates::default() {
            return if exists(interface) { tc::lift([interface].into_iter()).await } else { Ok(()) };
        }
        let shown = tc::limit(interface, before, rates).await?;
        self.limits.insert(interface.to_owned(), Limit { rates, shown });
        Ok(())
    }

    /// Puts exactly these routes in force over an interface. False when one cannot be; that is said, and does not touch the permit.
    pub(in crate::agent) async fn route(&mut self, interface: &str, to: &[IpNet]) -> bool {
        let mut done = true;
        let (mine, others): (BTreeSet<Over>, BTreeSet<Over>) =
            std::mem::take(&mut self.routes).into_iter().partition(|route| route.interface == interface);
        self.routes = others;
        let wanted: BTreeSet<Over> = to.iter().map(|to| Over { to: *to, interface: interface.to_owned() }).collect();
        for route in mine.difference(&wanted).filter(|_| exists(interface)) {
            if let Err(error) = routes::delete(route).await {
                error!(interface, to = %route.to, %error, "the route of a session cannot be taken away");
            }
        }
        for route in wanted {
            if mine.contains(&route) {
                self.routes.insert(route);
                continue;
            }
            match routes::add(&route).await {
                Ok(()) => {
                    info!(interface, to = %route.to, "route");
                    // The newest login has it.
                    self.routes.retain(|other| other.to != route.to);
                    self.routes.insert(route);
                }
                Err(error) => {
                    done = false;
                    // Before the link is up there can be none; ip-up brings it.
                    if is_up(interface) {
                        self.trouble(interface, "a route of it cannot be added", &error);
                    }
                }
            }
        }
        done
    }

    /// Interfaces where something could not be put in force; they are to be tried again.
    pub(in crate::agent) fn unfinished(&self) -> Vec<String> {
        self.unfinished.keys().cloned().collect()
    }

    /// All that an interface should have it has now.
    pub(in crate::agent) fn finished(&mut self, interface: &str) {
        self.unfinished.remove(interface);
    }

    fn trouble(&mut self, interface: &str, what: &str, error: &ToolError) {
        let error = error.to_string();
        if self.unfinished.get(interface) != Some(&error) {
            error!(interface, error, "{what}; it is tried again");
            self.unfinished.insert(interface.to_owned(), error);
        }
    }

    /// Compares limits and routes with what they should be. Says whether there was something to mend.
    ///
    /// # Errors
    /// [`ToolError`] when they cannot be compared.
    pub(in crate::agent) async fn reconcile(&mut self) -> Result<bool, ToolError> {
        let mut mended = false;
        self.limits.retain(|interface, _| exists(interface));
        if !self.limits.is_empty() {
            let expected: String = self.limits.values().map(|limit| limit.shown.as_str()).collect();
            if tc::shown(self.limits.keys().map(String::as_str)).await.is_ok_and(|shown| shown == expected) {
                return Ok(self.mend_routes().await);
            }
            for (interface, limit) in &mut self.limits {
                if let Ok(shown) = tc::shown([interface.as_str()].into_iter()).await
                    && shown == limit.shown
                {
                    continue;
                }
                limit.shown = tc::limit(interface, None, limit.rates).await?;
                mended = true;
            }
        }
        Ok(self.mend_routes().await || mended)
    }

    /// Deletes routes of ours that should not be there; adds those that should.
    async fn mend_routes(&mut self) -> bool {
        self.routes.retain(|route| exists(&route.interface));
        let there = match routes::ours().await {
            Ok(there) => there,
            Err(error) => {
                error!(%error, "the routes of sessions cannot be listed");
                return false;
            }
        };
        let mut mended = false;
        for stray in there.difference(&self.routes) {
            mended |= routes::delete(stray).await.is_ok();
        }
        for missing in self.routes.difference(&there) {
            // One whose link is down comes back with it, in a moment.
            mended |= routes::add(missing).await.is_ok();
        }
        mended
    }
}

fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

/// IFF_UP, in the flags the kernel shows.
fn is_up(interface: &str) -> bool {
    let flags = std::fs::read_to_string(Path::new("/sys/class/net").join(interface).join("flags")).unwrap_or_default();
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 == 1)
}
