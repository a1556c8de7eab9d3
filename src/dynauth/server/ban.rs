//! A request of our own form, about an address and no session: for this NAS, and in form?

use super::super::{BanOrder, ErrorCause};
use super::NAS_IDENTIFICATION_MISMATCH;
use super::facts::{NAS_IDENTIFICATION, NasNames};
use super::verify::Genuine;

/// Judges a genuine request that bans an address or ends a ban; `None` when it is about a session, as all others are.
pub fn judge_ban(request: &Genuine<'_>, nas: &NasNames) -> Option<Result<BanOrder, ErrorCause>> {
    let packet = request.packet();
    let order = BanOrder::read(packet)?;
    let mut named = packet.attributes().filter(|attribute| NAS_IDENTIFICATION.contains(&attribute.kind));
    let foreign = named.any(|attribute| !nas.include(&attribute));
    Some(if foreign { Err(NAS_IDENTIFICATION_MISMATCH) } else { order })
}
