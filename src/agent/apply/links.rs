//! What a permitted session has on its interface besides the permit: limits of speed and routes. Keeps a mirror of both, compares
//! it with the host, and mends what is otherwise. Knows no session, and never touches an interface that it was not told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ipnet::IpNet;
use tracing::{error, info, warn};

use super::routes::{self, Over};
use super::tc;
use super::tool::ToolError;
use crate::dynauth::server::Rates;

/// What is in force, and what could not be put in force yet.
#[derive(Debug, Default)]
pub(in crate::agent) struct Links {
    limits: BTreeMap<String, Limit>,
    routes: BTreeSet<Over>,
    unfinished: BTreeSet<String>,
}

#[derive(Debug)]
struct Limit {
    rates: Rates,
    /// What the kernel showed when they were put in force.
    shown: String,
}

impl Links {
    /// Takes up an agent's work: `wanted` is in force from now on, and what an earlier agent left on other interfaces, of those that
    /// are `ours`, goes.
    pub(in crate::agent) async fn take_up(&mut self, ours: impl Fn(&str) -> bool) {
        match tc::limited().await {
            Ok(found) => {
                let strays = found.iter().map(String::as_str);
                let strays: Vec<&str> =
                    strays.filter(|interface| ours(interface) && !self.limits.contains_key(*interface)).collect();
                if !strays.is_empty()
                    && let Err(error) = tc::lift(strays.into_iter()).await
                {
                    error!(%error, "limits of sessions that are over cannot be taken away");
                }
            }
            Err(error) => error!(%error, "limits of sessions that are over cannot be looked for"),
        }
        self.mend_routes().await;
    }

    /// Puts limits in force on an interface, in place of those that were.
    ///
    /// # Errors
    /// [`ToolError`]; then it is not known which limits are in force, and [`Self::unfinished`] names the interface.
    pub(in crate::agent) async fn limit(&mut self, interface: &str, rates: Rates) -> Result<(), ToolError> {
        let known = self.limits.get(interface);
        let before = known.map(|limit| limit.rates);
        if rates == before.unwrap_or_default() && !self.unfinished.contains(interface) {
            return Ok(());
        }
        self.limits.remove(interface);
        if rates == Rates::default() {
            return if exists(interface) { tc::lift([interface].into_iter()).await } else { Ok(()) };
        }
        match tc::limit(interface, before, rates).await {
            Ok(shown) => {
                self.limits.insert(interface.to_owned(), Limit { rates, shown });
                Ok(())
            }
            Err(error) => {
                self.unfinished.insert(interface.to_owned());
                Err(error)
            }
        }
    }

    /// Puts exactly these routes in force over an interface. One that cannot be is said, and tried again: a permit does not depend
    /// on it.
    pub(in crate::agent) async fn route(&mut self, interface: &str, to: &[IpNet]) {
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
                    // Before the link is up there can be none; ip-up brings it.
                    if is_up(interface) && self.unfinished.insert(interface.to_owned()) {
                        warn!(interface, to = %route.to, %error, "the route of a session cannot be added");
                    }
                }
            }
        }
    }

    /// Interfaces where something could not be put in force; they are to be tried again.
    pub(in crate::agent) fn unfinished(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.unfinished)
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
