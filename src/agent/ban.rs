//! Bans by CoA-Request: the servers' word that this host shall drop an address's outer protocols. Knows no reason.

use std::time::Duration;

use tracing::{error, info};

use super::apply::Table;
use crate::dynauth::server::RESOURCES_UNAVAILABLE;
use crate::dynauth::{BanOrder, ErrorCause};
use crate::telemetry::count;

/// For a ban without end. Longer than a host goes without a restart of its firewall, and within what nftables holds.
const WITHOUT_END: Duration = Duration::from_secs(365 * 86_400);

/// Carries out a ban, or its end, that was judged; gives the Error-Cause when it is refused.
pub(super) async fn carry_out(judged: Result<BanOrder, ErrorCause>, table: &Table, peer: &str) -> Option<ErrorCause> {
    let order = match judged {
        Ok(order) => order,
        Err(cause) => return Some(cause),
    };
    match table.ban(order.address, order.time.unwrap_or(WITHOUT_END)).await {
        Ok(()) => {
            count("agent-ban");
            info!(peer, address = %order.address, seconds = order.time.map(|time| time.as_secs()), "ban by a server");
            None
        }
        Err(error) => {
            error!(peer, address = %order.address, %error, "the ban cannot be put into the rules");
            Some(RESOURCES_UNAVAILABLE)
        }
    }
}
