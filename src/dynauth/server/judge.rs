//! What a genuine request comes to: a change, an end, or a refusal with its Error-Cause (RFC 5176 §3.5).

use std::time::Duration;

use super::super::ErrorCause;
use super::facts::{self, Facts, IDENTIFICATION, Match, NAS_IDENTIFICATION, NasNames};
use super::rates::{NoRate, RateOrder};
use super::verify::Genuine;
use crate::radius::vendor::sub_attributes;
use crate::radius::{Attribute, Code, Packet, attribute};

/// An attribute we cannot honour is in the request.
pub const UNSUPPORTED_ATTRIBUTE: ErrorCause = ErrorCause(401);
/// Nothing says which session is meant, or what to change.
pub const MISSING_ATTRIBUTE: ErrorCause = ErrorCause(402);
/// The request is for another NAS.
pub const NAS_IDENTIFICATION_MISMATCH: ErrorCause = ErrorCause(403);
/// An attribute is not formed as its type demands, or is there twice.
pub const INVALID_REQUEST: ErrorCause = ErrorCause(404);
/// Service-Type, Authorize Only included, is not for us (RFC 5176 §3.2).
pub const UNSUPPORTED_SERVICE: ErrorCause = ErrorCause(405);
/// Orders of this kind are not for us at all.
pub const UNSUPPORTED_EXTENSION: ErrorCause = ErrorCause(406);
/// Well formed, but not a value we can honour.
pub const INVALID_ATTRIBUTE_VALUE: ErrorCause = ErrorCause(407);
/// No session is like this.
pub const SESSION_CONTEXT_NOT_FOUND: ErrorCause = ErrorCause(503);
/// The session is there, but we cannot end it.
pub const SESSION_CONTEXT_NOT_REMOVABLE: ErrorCause = ErrorCause(504);
/// It should have been done, and could not.
pub const RESOURCES_UNAVAILABLE: ErrorCause = ErrorCause(506);
/// Several sessions are like this.
pub const MULTIPLE_SESSION_SELECTION_UNSUPPORTED: ErrorCause = ErrorCause(508);

/// What a CoA-Request changes; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Filter-Id.
    pub filter_id: Option<String>,
    /// Session-Timeout, counted from the session's beginning; zero takes it away.
    pub session_timeout: Option<Duration>,
    /// Idle-Timeout; zero takes it away.
    pub idle_timeout: Option<Duration>,
    /// Rates, by a vendor's attributes.
    pub rates: Option<RateOrder>,
}

/// What is to be done. `K` names a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<K> {
    /// Change this session, then CoA-ACK.
    Change(K, Change),
    /// End this session, then Disconnect-ACK.
    End(K),
    /// Change nothing; NAK.
    Refuse(ErrorCause),
}

/// Attributes that change a session.
const CHANGES: &[u8] = &[attribute::FILTER_ID, attribute::SESSION_TIMEOUT, attribute::IDLE_TIMEOUT];

/// Attributes that serve the exchange itself.
const PASSING: &[u8] = &[attribute::EVENT_TIMESTAMP, attribute::MESSAGE_AUTHENTICATOR, attribute::PROXY_STATE];

/// Decides about a request, given all sessions. `known` says whether a Filter-Id is one we can put in force.
///
/// All identification that is given must match (RFC 5176 §3). What we never learnt of a session decides nothing, but then
/// something else must have matched.
pub fn judge<'a, K>(
    request: &Genuine<'_>,
    nas: &NasNames,
    sessions: impl IntoIterator<Item = (K, &'a Facts)>,
    known: impl Fn(&str) -> bool,
) -> Verdict<K> {
    match judged(request, nas, sessions, known) {
        Ok(verdict) => verdict,
        Err(cause) => Verdict::Refuse(cause),
    }
}

fn judged<'a, K>(
    request: &Genuine<'_>,
    nas: &NasNames,
    sessions: impl IntoIterator<Item = (K, &'a Facts)>,
    known: impl Fn(&str) -> bool,
) -> Result<Verdict<K>, ErrorCause> {
    let packet = request.packet();
    let Screened { disconnect, identification, rates } = screened(packet, nas)?;
    let mut meant = sessions.into_iter().filter(|(_, facts)| is_meant(nas, facts, &identification));
    let (session, facts) = meant.next().ok_or(SESSION_CONTEXT_NOT_FOUND)?;
    if meant.next().is_some() {
        return Err(MULTIPLE_SESSION_SELECTION_UNSUPPORTED);
    }
    if disconnect {
        return if facts.removable { Ok(Verdict::End(session)) } else { Err(SESSION_CONTEXT_NOT_REMOVABLE) };
    }
    let change = change(packet, rates, known)?;
    if change.session_timeout.is_some() && !facts.removable {
        // A limit nobody can enforce is not honoured.
        return Err(SESSION_CONTEXT_NOT_REMOVABLE);
    }
    Ok(Verdict::Change(session, change))
}

/// A request that is in form, for this NAS, and says whom it means.
pub(super) struct Screened<'p> {
    pub(super) disconnect: bool,
    pub(super) identification: Vec<Attribute<'p>>,
    pub(super) rates: Option<RateOrder>,
}

/// What can be judged of a request before its session is looked for.
pub(super) fn screened<'p>(packet: &Packet<'p>, nas: &NasNames) -> Result<Screened<'p>, ErrorCause> {
    let disconnect = packet.code() == Code::DisconnectRequest;
    if packet.has(attribute::SERVICE_TYPE) {
        return Err(UNSUPPORTED_SERVICE);
    }
    let mut identification = Vec::new();
    for attribute in packet.attributes() {
        let kind = attribute.kind;
        // RFC 5176 §3.6: a Disconnect-Request carries nothing that changes a session.
        let changes = CHANGES.contains(&kind) && !disconnect;
        if kind == attribute::VENDOR_SPECIFIC && !disconnect {
            // Judged below, all of one vendor's together.
            continue;
        }
        let identifies = IDENTIFICATION.contains(&kind);
        if !identifies && !changes && !NAS_IDENTIFICATION.contains(&kind) && !PASSING.contains(&kind) {
            return Err(UNSUPPORTED_ATTRIBUTE);
        }
        if !well_formed(&attribute) {
            return Err(INVALID_REQUEST);
        }
        let may_repeat = kind == attribute::PROXY_STATE || kind == attribute::CLASS;
        if !may_repeat && packet.all(kind).count() > 1 {
            return Err(INVALID_REQUEST);
        }
        if identifies {
            identification.push(attribute);
        }
    }
    let rates = if disconnect { None } else { rates(packet)? };
    let foreign = |attribute: &Attribute<'_>| NAS_IDENTIFICATION.contains(&attribute.kind) && !nas.include(attribute);
    if packet.attributes().any(|attribute| foreign(&attribute)) {
        return Err(NAS_IDENTIFICATION_MISMATCH);
    }
    if identification.is_empty() || !disconnect && rates.is_none() && !CHANGES.iter().any(|&kind| packet.has(kind)) {
        return Err(MISSING_ATTRIBUTE);
    }
    Ok(Screened { disconnect, identification, rates })
}

/// What a CoA-Request changes. `known` says whether a Filter-Id is one we can put in force.
pub(super) fn change(
    packet: &Packet<'_>,
    rates: Option<RateOrder>,
    known: impl Fn(&str) -> bool,
) -> Result<Change, ErrorCause> {
    let filter_id = packet.text(attribute::FILTER_ID).map(str::to_owned);
    if filter_id.as_deref().is_some_and(|filter| !known(filter)) {
        return Err(INVALID_ATTRIBUTE_VALUE);
    }
    let seconds = |kind| packet.integer(kind).map(|seconds| Duration::from_secs(seconds.into()));
    let (session_timeout, idle_timeout) = (seconds(attribute::SESSION_TIMEOUT), seconds(attribute::IDLE_TIMEOUT));
    Ok(Change { filter_id, session_timeout, idle_timeout, rates })
}

/// What the Vendor-Specific attributes say of rates; each must be understood.
fn rates(packet: &Packet<'_>) -> Result<Option<RateOrder>, ErrorCause> {
    let mut rates = None;
    for value in packet.all(attribute::VENDOR_SPECIFIC) {
        let mut understood = false;
        for inner in sub_attributes(value) {
            understood = true;
            rates.get_or_insert_with(RateOrder::default).hear(&inner).map_err(|why| match why {
                NoRate::Foreign => UNSUPPORTED_ATTRIBUTE,
                NoRate::Malformed => INVALID_ATTRIBUTE_VALUE,
            })?;
        }
        if !understood {
            return Err(UNSUPPORTED_ATTRIBUTE);
        }
    }
    Ok(rates)
}

fn is_meant(nas: &NasNames, facts: &Facts, identification: &[Attribute<'_>]) -> bool {
    let mut matched = false;
    for attribute in identification {
        match facts.matches(nas, attribute) {
            Match::Yes => matched = true,
            Match::No => return false,
            Match::Unknown => (),
        }
    }
    matched
}

/// Whether a value has the form of its type (RFC 8044 §3).
fn well_formed(attribute: &Attribute<'_>) -> bool {
    let octets = attribute.value.len();
    match attribute.kind {
        attribute::NAS_PORT
        | attribute::FRAMED_IP_ADDRESS
        | attribute::NAS_IP_ADDRESS
        | attribute::SESSION_TIMEOUT
        | attribute::IDLE_TIMEOUT => octets == 4,
        attribute::FRAMED_IPV6_ADDRESS | attribute::NAS_IPV6_ADDRESS => octets == 16,
        attribute::FRAMED_INTERFACE_ID => octets == 8,
        attribute::FRAMED_IPV6_PREFIX | attribute::DELEGATED_IPV6_PREFIX => facts::prefix(attribute.value).is_some(),
        attribute::FILTER_ID => octets > 0 && std::str::from_utf8(attribute.value).is_ok(),
        attribute::USER_NAME
        | attribute::NAS_PORT_ID
        | attribute::NAS_IDENTIFIER
        | attribute::CALLING_STATION_ID
        | attribute::ACCT_SESSION_ID => octets > 0,
        _ => true,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
