//! Reads Accounting-Requests as their NAS means them: the same way at the door, from the spool and from quarantine.

use super::settings::Settings;
use crate::accounting::{Reading, Request, RequestError};
use crate::model::{Nas, Timestamp};
use crate::radius::Packet;
use crate::telemetry;

/// What a packet says that came from this NAS at that time.
///
/// # Errors
/// [`RequestError`] when it lacks what RFC 2866 demands.
pub(super) fn read(
    settings: &Settings,
    nas: &Nas,
    packet: &Packet<'_>,
    received_at: Timestamp,
) -> Result<Request, RequestError> {
    let mut request = Request::read(packet, received_at, &Reading::of(nas, settings.clock))?;
    if let Some(disbelieved) = request.disbelieved {
        telemetry::count(disbelieved.reason());
    }
    // On most NASes the Filter-Id in accounting is the one of the Access-Accept, whatever came later.
    if !settings.dialects.get(&nas.dialect).is_some_and(|dialect| dialect.accounting_shows_filter()) {
        request.report.filter_id = None;
    }
    Ok(request)
}
