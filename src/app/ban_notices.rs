//! Tells NASes of bans: those whose dialect says that their host can drop packets by address. By CoA-Request, from the store's list of
//! notices, until each has acknowledged.
//!
//! What is told is what the ban is at that moment, so that telling twice, late or out of order does no harm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::bans::Bans;
use super::clock;
use super::orders::Worker;
use super::radsec::TlsWays;
use crate::dynauth::{Answer, BanOrder, ErrorCause, Remedy};
use crate::model::{CallerLists, DynauthPath, Nas, NasName, Timestamp};
use crate::net::dynamic_authorization::SendError;
use crate::policy::{Ban, BanTarget};
use crate::store::{BanNotice, StoreError};
use crate::telemetry;

/// How often to look for notices.
const PERIOD: Duration = Duration::from_millis(500);
/// Notices worked on at once.
const AT_ONCE: u32 = 16;
/// The longest wait before a NAS that did not answer is told again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The end of a ban that had none is told so often; then the NAS's operator must see to it.
const MOST_TRIES: u32 = 1500;

/// Tells, for ever. Drop the future to stop.
pub(super) async fn run(worker: Arc<Worker>, bans: Arc<Bans>) {
    loop {
        match worker.store.claim_ban_notices(&worker.node, clock::now(), worker.lease, AT_ONCE).await {
            Ok(notices) => {
                let mut tasks = JoinSet::new();
                for notice in notices {
                    let (worker, bans) = (Arc::clone(&worker), Arc::clone(&bans));
                    tasks.spawn(async move {
                        if let Err(error) = tell_all(&worker, &bans, notice).await {
                            tracing::warn!(%error, "the store is away; NASes are told of a ban later, or again");
                        }
                    });
                }
                tasks.join_all().await;
            }
            Err(error) => {
                telemetry::count("store.failed");
                tracing::debug!(%error, "cannot see which bans NASes are to be told of; trying again");
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn tell_all(worker: &Arc<Worker>, bans: &Bans, mut notice: BanNotice) -> Result<(), StoreError> {
    bans.refresh().await?;
    let now = clock::now();
    let ban = bans.latest(&BanTarget::Network(notice.network)).await;
    let Some((ban, order)) = ban.and_then(|ban| order(&ban, &notice, now).map(|order| (ban, order))) else {
        return worker.store.settle_ban_notice(&notice, None).await;
    };
    let settings = worker.settings.current();
    let mut tasks = JoinSet::new();
    let mut elsewhere = 0;
    for nas in settings.nases.iter().filter(|nas| !notice.told.contains(&nas.name)) {
        let Some(dialect) = settings.dialects.get(&nas.dialect) else { continue };
        let Some(request) = dialect.ban(&order) else { continue };
        // A firewall knows no exceptions: who is allowed in a network that is banned would be locked out, against the ban's sense.
        let allows = |lists: &CallerLists| lists.allows_within(&order.network);
        if !ban.forced && order.time != Some(Duration::ZERO) && (allows(&nas.callers) || allows(&settings.callers)) {
            continue;
        }
        let link = match TlsWays::may_be_linked(nas) {
            true => {
                let is_its_own = |certificate: &_| settings.nases.is_its_own(nas, certificate);
                worker.tls.links.of(&nas.name, nas.network.addr(), is_its_own)
            }
            false => None,
        };
        if let Some(link) = link {
            let (worker, name) = (Arc::clone(worker), nas.name.clone());
            tasks.spawn(async move {
                let answer = worker.dynauth.send_over(&link, &request).await;
                (name.clone(), answer.unwrap_or_else(|error| unsent(&name, &error)))
            });
            continue;
        }
        if nas.radsec_only || nas.dynauth == DynauthPath::Radsec {
            // Whichever node it is connected to tells it, when it comes to look.
            match worker.store.linked_to(&nas.name).await?.is_empty() {
                true => tracing::warn!(nas = %nas.name, "not told of a ban: it has no TLS connection"),
                false => elsewhere += 1,
            }
            continue;
        }
        let Some(address) = listener(nas, dialect.coa_port()) else {
            tracing::warn!(nas = %nas.name, "not told of a ban: several hosts share this NAS's entry; give each its own");
            continue;
        };
        let (worker, nas) = (Arc::clone(worker), Arc::clone(nas));
        tasks.spawn(async move {
            let answer = worker.send_by_udp((&nas, address.ip()), address, &[request]).await;
            (nas.name.clone(), answer.unwrap_or_else(|error| unsent(&nas.name, &error)))
        });
    }
    let mut missing = elsewhere;
    for (name, answer) in tasks.join_all().await {
        match answer {
            Answer::Acked => {
                telemetry::count("ban.told");
                tracing::info!(nas = %name, network = %order.network, seconds = order.time.map(|time| time.as_secs()),
                    "the NAS's host has been told of the ban");
                notice.told.push(name);
            }
            // Resources Unavailable: its firewall could not be changed, which may pass.
            Answer::Naked(cause) if cause != Some(506) && ErrorCause::remedy(cause) != Remedy::Retry => {
                telemetry::count("ban.refused");
                tracing::error!(nas = %name, network = %order.network,
                    error_cause = cause.map(|cause| ErrorCause(cause).to_string()),
                    "the NAS refuses to be told of a ban; is its agent older than the server?");
                notice.told.push(name);
            }
            Answer::Naked(_) | Answer::Unanswered => missing += 1,
        }
    }
    let again = (missing > 0).then(|| {
        let pause = Duration::from_secs(1).saturating_mul(1 << notice.attempts.min(6)).min(LONGEST_PAUSE);
        clock::now() + pause
    });
    worker.store.settle_ban_notice(&notice, again).await
}

fn unsent(nas: &NasName, error: &SendError) -> Answer {
    tracing::error!(%nas, %error, "a CoA-Request was not sent; trying again");
    Answer::Unanswered
}

/// What is to be told; `None` when time has done it or too much was tried.
fn order(ban: &Ban, notice: &BanNotice, now: Timestamp) -> Option<BanOrder> {
    if ban.until.is_some_and(|until| until <= now) || (ban.lifted_at.is_some() && notice.attempts >= MOST_TRIES) {
        return None;
    }
    let time = match (ban.in_force(now), ban.until) {
        (false, _) => Some(Duration::ZERO),
        (true, Some(until)) => Some(until.since(now).max(Duration::from_secs(1))),
        (true, None) => None,
    };
    Some(BanOrder { network: notice.network, time })
}

/// Where a NAS listens that has no session at hand to tell.
fn listener(nas: &Nas, port: u16) -> Option<SocketAddr> {
    let host = (nas.network.prefix_len() == nas.network.max_prefix_len()).then(|| nas.network.addr());
    Some((nas.coa_address.or(host)?, nas.coa_port.unwrap_or(port)).into())
}
