//! Rows into records: the columns have the same names in both engines, so this is written once.
//!
//! Knows no statement. Writing is each engine's own, in its own types.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::row::Columns;
use super::{AuthAttempt, Due, Order, OrderId, QuarantineId, Quarantined, Restart, StoreError, Usage, Wake};
use crate::model::{
    Binding, CallerLists, Counters, Enrolment, EnrolmentId, Group, GroupName, GroupSettings, Identity, Nas, NasName,
    Preferences, PreviousSecret, Secret, Taker, Timestamp, User, UserName,
};
use crate::session::{DecidedBy, Decision, End, Record, Session};
use crate::telemetry;

pub(super) fn user(row: &impl Columns) -> Result<User, StoreError> {
    Ok(User {
        name: UserName::new(row.need("name", Columns::text)?),
        credential: Secret::new(row.need("credential", Columns::text)?),
        disabled: row.need("disabled", Columns::flag)?,
        second_factor: row.need("second_factor", Columns::word)?,
        groups: row.need("groups", Columns::json)?,
        approvers: row.need("approvers", Columns::json)?,
        when_unreachable: row.word("when_unreachable")?,
        permit_filter: row.text("permit_filter")?,
        session_timeout: row.span("session_timeout")?,
        reject_delay: row.span("reject_delay")?,
        monthly_quota: row.number("monthly_quota")?,
        guards: row.need("guards", Columns::json)?,
        reply: row.need("reply", Columns::json)?,
        totp_in_password: row.flag("totp_in_password")?,
        created_at: row.need("created_at", Columns::time)?,
    })
}

pub(super) fn group(row: &impl Columns) -> Result<Group, StoreError> {
    Ok(Group {
        name: GroupName::new(row.need("name", Columns::text)?),
        settings: row.need("settings", Columns::json)?,
        created_at: row.need("created_at", Columns::time)?,
    })
}

/// The groups of a user, gathered in one cell.
pub(super) fn member_of(row: &impl Columns) -> Result<Vec<Group>, StoreError> {
    #[derive(serde::Deserialize)]
    struct Gathered {
        name: GroupName,
        settings: GroupSettings,
        created_at: Timestamp,
    }
    let groups: Vec<Gathered> = row.need("member_of", Columns::json)?;
    let group = |Gathered { name, settings, created_at }| Group { name, settings, created_at };
    Ok(groups.into_iter().map(group).collect())
}

pub(super) fn nas(row: &impl Columns) -> Result<Nas, StoreError> {
    let coa_source = match row.address("coa_source_address")? {
        Some(address) => Some(SocketAddr::new(address, row.need("coa_source_port", Columns::number)?)),
        None => None,
    };
    Ok(Nas {
        name: NasName::new(row.need("name", Columns::text)?),
        network: row.need("network", Columns::network)?,
        secret: Secret::new(row.need("secret", Columns::octets)?),
        dialect: row.need("dialect", Columns::text)?,
        require_message_authenticator: row.need("require_message_authenticator", Columns::flag)?,
        limit_proxy_state: row.need("limit_proxy_state", Columns::flag)?,
        allow_ms_chap_v1: row.need("allow_ms_chap_v1", Columns::flag)?,
        coa_address: row.address("coa_address")?,
        coa_port: row.number("coa_port")?,
        coa_source,
        reject_delay: row.span("reject_delay")?,
        octet_direction: row.need("octet_direction", Columns::word)?,
        octet_wrap: row.need("octet_wrap", Columns::flag)?,
        unique_ports: row.flag("unique_ports")?,
        sandbox_filter: row.text("sandbox_filter")?,
        permit_filter: row.text("permit_filter")?,
        approvers: row.need("approvers", Columns::json)?,
        when_unreachable: row.word("when_unreachable")?,
        guards: row.need("guards", Columns::json)?,
        callers: CallerLists {
            allow: row.need("allow_callers", Columns::json)?,
            deny: row.need("deny_callers", Columns::json)?,
        },
        nas_identifier: row.text("nas_identifier")?,
        radsec: row.need("radsec", Columns::json)?,
        radsec_only: row.need("radsec_only", Columns::flag)?,
        dynauth: row.need("dynauth", Columns::word)?,
        previous_secret: match row.octets("previous_secret")? {
            Some(octets) => {
                Some(PreviousSecret { secret: Secret::new(octets), until: row.time("previous_secret_until")? })
            }
            None => None,
        },
        codes: row.need("codes", Columns::json)?,
        // Of a NAS in the store, the server's setting is its own.
        max_requests_per_second: None,
    })
}

pub(super) fn binding(row: &impl Columns) -> Result<Binding, StoreError> {
    Ok(Binding {
        user: UserName::new(row.need("user_name", Columns::text)?),
        approver: row.need("approver", Columns::word)?,
        address: row.need("address", Columns::text)?,
        presser: row.need("presser", Columns::text)?,
        bound_at: row.need("bound_at", Columns::time)?,
    })
}

pub(super) fn preferences(row: &impl Columns) -> Result<Preferences, StoreError> {
    fn parsed<T: FromStr<Err = String>>(row: &impl Columns, column: &'static str) -> Result<Option<T>, StoreError> {
        row.text(column)?.map(|text| text.parse().map_err(|reason: String| row.bad(column, reason))).transpose()
    }
    Ok(Preferences {
        language: parsed(row, "language")?,
        heard: parsed(row, "heard")?,
        zone: parsed(row, "zone")?,
        quiet: row.need("quiet", Columns::flag)?,
    })
}

pub(super) fn session(row: &impl Columns) -> Result<Session, StoreError> {
    Ok(Session::restore(Record {
        id: row.need("id", Columns::session_id)?,
        version: row.need("version", Columns::number)?,
        user: UserName::new(row.need("user_name", Columns::text)?),
        nas: NasName::new(row.need("nas", Columns::text)?),
        nas_address: row.need("nas_address", Columns::address)?,
        identity: identity(row)?,
        grant: row.json("granted")?,
        state: row.need("state", Columns::word)?,
        accepted_at: row.need("accepted_at", Columns::time)?,
        started_at: row.time("started_at")?,
        heard_at: row.need("heard_at", Columns::time)?,
        deadline: row.time("deadline")?,
        permitted_at: row.time("permitted_at")?,
        evicting_since: row.time("evicting_since")?,
        disconnect_acked_at: row.time("disconnect_acked_at")?,
        asks: row.need("asks", Columns::json)?,
        votes: row.need("votes", Columns::json)?,
        decision: decision(row)?,
        outcome: row.word("outcome")?,
        attempt: row.need("attempt", Columns::number)?,
        tries: row.need("tries", Columns::number)?,
        retry_at: row.time("retry_at")?,
        identify_fully: row.need("identify_fully", Columns::flag)?,
        counters: counters(row)?,
        interim_interval: row.number("interim_interval")?.map(Duration::from_secs),
        end: end(row)?,
    }))
}

/// One row that nobody can read stops no other deadline.
pub(super) fn due<C: Columns>(rows: impl ExactSizeIterator<Item = C>, limit: u32) -> Due {
    let more = rows.len() >= limit as usize;
    let wakes = rows.filter_map(|row| {
        wake(&row)
            .inspect_err(|error| {
                telemetry::count("store.unreadable");
                tracing::error!(%error, "a session's deadline cannot be read");
            })
            .ok()
    });
    let wakes: Vec<Wake> = wakes.collect();
    // Who goes on behind the last one would meet the same page again.
    Due { more: more && !wakes.is_empty(), wakes }
}

fn wake(row: &impl Columns) -> Result<Wake, StoreError> {
    Ok(Wake { at: row.need("wake_at", Columns::time)?, session: row.need("id", Columns::session_id)? })
}

pub(super) fn order(row: &impl Columns) -> Result<Order, StoreError> {
    Ok(Order {
        id: OrderId(row.need("id", Columns::integer)?),
        session: row.need("session_id", Columns::session_id)?,
        effect: row.need("effect", Columns::json)?,
        attempts: row.need("attempts_before", Columns::number)?,
        ordered_at: row.need("ordered_at", Columns::time)?,
    })
}

pub(super) fn attempt(row: &impl Columns) -> Result<AuthAttempt, StoreError> {
    Ok(AuthAttempt {
        at: row.need("at", Columns::time)?,
        user: row.need("user_name", Columns::text)?,
        nas: NasName::new(row.need("nas", Columns::text)?),
        nas_address: row.need("nas_address", Columns::address)?,
        calling_station_id: row.text("calling_station_id")?,
        method: row.need("method", Columns::text)?,
        outcome: row.need("outcome", Columns::text)?,
        session: row.session_id("session_id")?,
        nonce: row.integer("nonce")?,
    })
}

pub(super) fn usage(row: &impl Columns) -> Result<Usage, StoreError> {
    Ok(Usage {
        session: row.need("session_id", Columns::session_id)?,
        user: UserName::new(row.need("user_name", Columns::text)?),
        nas: NasName::new(row.need("nas", Columns::text)?),
        from: row.need("from_at", Columns::time)?,
        to: row.need("to_at", Columns::time)?,
        day: row.need("day", Columns::day)?,
        added: counters(row)?,
    })
}

pub(super) fn quarantined(row: &impl Columns) -> Result<(QuarantineId, Quarantined), StoreError> {
    let misfit = Quarantined {
        nas: NasName::new(row.need("nas", Columns::text)?),
        nas_address: row.need("nas_address", Columns::address)?,
        received_at: row.need("received_at", Columns::time)?,
        packet: row.need("packet", Columns::octets)?,
        reason: row.need("reason", Columns::text)?,
        at: row.need("quarantined_at", Columns::time)?,
    };
    Ok((QuarantineId(row.need("id", Columns::integer)?), misfit))
}

pub(super) fn restart(row: &impl Columns) -> Result<Restart, StoreError> {
    Ok(Restart {
        nas: NasName::new(row.need("nas", Columns::text)?),
        nas_address: row.need("nas_address", Columns::address)?,
        nas_ip_address: row.address("nas_ip_address")?,
        nas_identifier: row.text("nas_identifier")?,
        at: row.need("restarted_at", Columns::time)?,
        by_nas_clock: row.need("by_nas_clock", Columns::flag)?,
        noted_at: row.need("noted_at", Columns::time)?,
    })
}

fn identity(row: &impl Columns) -> Result<Identity, StoreError> {
    let framed_ipv6_prefix = match row.network("framed_ipv6_prefix")? {
        Some(ipnet::IpNet::V6(prefix)) => Some(prefix),
        Some(ipnet::IpNet::V4(other)) => return Err(row.bad("framed_ipv6_prefix", format!("{other} is not IPv6"))),
        None => None,
    };
    Ok(Identity {
        nas_port: row.number("nas_port")?,
        nas_port_id: row.text("nas_port_id")?,
        nas_ip_address: row.address("nas_ip_address")?,
        nas_identifier: row.text("nas_identifier")?,
        calling_station_id: row.text("calling_station_id")?,
        called_station_id: row.text("called_station_id")?,
        acct_session_id: row.text("acct_session_id")?,
        framed_ip: row.address("framed_ip")?,
        framed_ipv6_prefix,
        medium: row.word("medium")?,
    })
}

fn decision(row: &impl Columns) -> Result<Option<Decision>, StoreError> {
    let Some(verdict) = row.word("decision")? else { return Ok(None) };
    let by =
        DecidedBy { approver: row.need("decided_via", Columns::word)?, who: row.need("decided_by", Columns::text)? };
    Ok(Some(Decision { verdict, by, at: row.need("decided_at", Columns::time)? }))
}

fn counters(row: &impl Columns) -> Result<Counters, StoreError> {
    Ok(Counters {
        input_octets: row.need("input_octets", Columns::number)?,
        output_octets: row.need("output_octets", Columns::number)?,
        input_packets: row.need("input_packets", Columns::number)?,
        output_packets: row.need("output_packets", Columns::number)?,
        session_time: row.need("session_time", Columns::number)?,
    })
}

fn end(row: &impl Columns) -> Result<Option<End>, StoreError> {
    let Some(cause) = row.word("end_cause")? else { return Ok(None) };
    Ok(Some(End { at: row.need("ended_at", Columns::time)?, cause, terminate_cause: row.number("terminate_cause")? }))
}

pub(super) fn enrolment(row: &impl Columns) -> Result<Enrolment, StoreError> {
    let taker = match row.text("address")? {
        Some(address) => Some(Taker {
            address,
            presser: row.need("presser", Columns::text)?,
            person: row.text("person")?.unwrap_or_default(),
            language: row.text("language")?,
            at: row.need("taken_at", Columns::time)?,
        }),
        None => None,
    };
    Ok(Enrolment {
        id: EnrolmentId(row.need("id", Columns::session_id)?.0),
        user: UserName::new(row.need("user_name", Columns::text)?),
        approver: row.need("approver", Columns::word)?,
        token_hash: row.octets("token_hash")?,
        replace: row.need("replace", Columns::flag)?,
        made_by: row.need("made_by", Columns::text)?,
        made_at: row.need("made_at", Columns::time)?,
        expires_at: row.need("expires_at", Columns::time)?,
        state: row.need("state", Columns::word)?,
        taker,
    })
}

pub(super) fn no_such_binding(binding: &Binding) -> StoreError {
    StoreError::Missing(format!("binding of {} to {} {}", binding.user, binding.approver, binding.address))
}

/// A record, or a complaint in the log: where one row that makes no sense must not keep all others waiting (deadlines that
/// pass, orders that are due). A newer node's row may make sense to that node.
pub(super) fn or_skip<T>(record: Result<T, StoreError>) -> Option<T> {
    record.inspect_err(|error| tracing::error!(%error, "row passed over")).ok()
}
