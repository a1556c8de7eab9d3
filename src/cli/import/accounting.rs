//! From FreeRADIUS's table `radacct` to sessions that were observed, and what they carried. Knows no SQL.
//!
//! A row has the same id here every time it is read, so that nothing is imported twice; one that has gone on there since the last
//! time goes on here too, unless more is known of it here.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Builder;

use crate::accounting::by_day;
use crate::app::clock;
use crate::cli::failure::Failure;
use crate::model::{Counters, Identity, Nas, NasName, OctetDirection, SessionId, Timestamp, UserName};
use crate::radius::dictionary::Dictionary;
use crate::session::{End, EndCause, Record, Session, State, Timing};
use crate::store::freeradius::{AcctReader, AcctRow};
use crate::store::{Change, Committed, Extent, Store, Usage};

/// Rows read at a time, and kept in one transaction.
const ROWS: u32 = 500;
/// A session without an end of which there was no word for longer is taken for over: a Stop was lost, or the NAS is gone. A later
/// report opens it again.
const SILENCE: Duration = Duration::from_secs(86_400);

/// What came of the rows.
#[derive(Debug, Serialize, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AccountingCounts {
    /// Rows that are no session here yet.
    pub(super) added: u64,
    /// Sessions that went on there.
    pub(super) continued: u64,
    /// Rows of which all is known here.
    pub(super) there: u64,
    /// Of those added: may still be online.
    pub(super) open: u64,
}

/// What is needed to make sessions of rows.
pub(super) struct Rules<'r> {
    pub(super) nases: &'r [Nas],
    pub(super) dictionary: &'r Dictionary,
    pub(super) timing: Timing,
    pub(super) dry_run: bool,
}

/// Brings all rows over, some at a time: what was brought when it is broken off stays, and is not brought again.
pub(super) async fn import(
    reader: &mut AcctReader,
    store: &dyn Store,
    rules: &Rules<'_>,
    bar: &ProgressBar,
) -> Result<AccountingCounts, Failure> {
    let mut counts = AccountingCounts::default();
    let mut last = i64::MIN;
    loop {
        let rows = reader.next(last, ROWS).await?;
        let Some(end) = rows.last() else { return Ok(counts) };
        last = end.id;
        let mut seen = HashSet::new();
        let sessions: Vec<Session> = rows
            .iter()
            .map(|row| session(row, rules, clock::now()))
            .filter(|session| seen.insert(session.id))
            .collect();
        keep(store, sessions, rules, &mut counts).await?;
        bar.inc(rows.len() as u64);
    }
}

async fn keep(
    store: &dyn Store,
    sessions: Vec<Session>,
    rules: &Rules<'_>,
    counts: &mut AccountingCounts,
) -> Result<(), Failure> {
    let ids: Vec<SessionId> = sessions.iter().map(|session| session.id).collect();
    let known: HashMap<SessionId, Session> =
        store.sessions_by_id(&ids).await?.into_iter().map(|session| (session.id, session)).collect();
    let mut changes = Vec::new();
    for session in sessions {
        match known.get(&session.id) {
            None => changes.push(change(session, None, rules)),
            Some(known) if session.heard_at > known.heard_at && known.grant.is_none() => {
                changes.push(change(gone_on(known, session), Some(known), rules));
            }
            Some(_) => counts.there += 1,
        }
    }
    let kept = match rules.dry_run {
        true => vec![Committed::Done; changes.len()],
        false => store.commit(&changes).await?,
    };
    for (change, kept) in changes.iter().zip(kept) {
        match (kept, change.from_version) {
            (Committed::Done, None) => {
                counts.added += 1;
                counts.open += u64::from(change.session.state.is_open());
            }
            (Committed::Done, Some(_)) => counts.continued += 1,
            // Somebody else was faster, or its NAS has just reported it here.
            (Committed::Conflict, _) => counts.there += 1,
        }
    }
    Ok(())
}

fn session(row: &AcctRow, rules: &Rules<'_>, now: Timestamp) -> Session {
    let length = Duration::from_secs(row.session_time);
    let heard_at = [row.started_at, row.updated_at, row.stopped_at].into_iter().flatten().max().unwrap_or(now);
    let started_at = row.started_at.unwrap_or_else(|| heard_at.before(length));
    let nas =
        rules.nases.iter().filter(|nas| nas.network.contains(&row.nas)).max_by_key(|nas| nas.network.prefix_len());
    let (input_octets, output_octets) = match nas.map(|nas| nas.octet_direction) {
        Some(OctetDirection::Swapped) => (row.output_octets, row.input_octets),
        _ => (row.input_octets, row.output_octets),
    };
    let name = nas.map_or_else(|| NasName::new(row.nas.to_string().replace(':', "-")), |nas| nas.name.clone());
    let port = row.port.parse::<u32>().ok();
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let identity = Identity {
        nas_port: port,
        nas_port_id: if port.is_some() { None } else { text(&row.port) },
        nas_ip_address: Some(row.nas),
        calling_station_id: text(&row.calling_station_id),
        called_station_id: text(&row.called_station_id),
        acct_session_id: text(&row.acct_session_id),
        framed_ip: row.framed_ip,
        framed_ipv6_prefix: row.framed_ipv6_prefix,
        ..Identity::default()
    };
    let silent = now.since(heard_at) > SILENCE;
    let end = match row.stopped_at {
        Some(at) => Some(End { at, cause: EndCause::Stop, terminate_cause: terminate_cause(row, rules.dictionary) }),
        None if silent => Some(End { at: heard_at, cause: EndCause::Stale, terminate_cause: None }),
        None => None,
    };
    let id = id_of(&row.unique_id, row.nas);
    let user = UserName::new(row.user.clone());
    let mut record = Session::observe(id, user, name, row.nas, identity, started_at).into_record();
    record.version = 1;
    record.state = if end.is_some() { State::Closed } else { State::Observed };
    (record.started_at, record.heard_at, record.end) = (Some(started_at), heard_at, end);
    record.counters = Counters { input_octets, output_octets, session_time: row.session_time, ..Counters::default() };
    Session::restore(record)
}

/// What is known, and what its row says since.
fn gone_on(known: &Session, row: Session) -> Session {
    let mut record: Record = row.into_record();
    let (more, less) = (record.counters, known.counters);
    record.counters = Counters {
        input_octets: more.input_octets.max(less.input_octets),
        output_octets: more.output_octets.max(less.output_octets),
        input_packets: less.input_packets,
        output_packets: less.output_packets,
        session_time: more.session_time.max(less.session_time),
    };
    record.version = known.version + 1;
    record.accepted_at = known.accepted_at;
    record.interim_interval = known.interim_interval;
    Session::restore(record)
}

fn change(session: Session, known: Option<&Session>, rules: &Rules<'_>) -> Change {
    let before = known.map_or(Counters::default(), |known| known.counters);
    let from = known.map_or(session.accepted_at, |known| known.heard_at);
    let added = Counters {
        input_octets: session.counters.input_octets - before.input_octets,
        output_octets: session.counters.output_octets - before.output_octets,
        input_packets: session.counters.input_packets - before.input_packets,
        output_packets: session.counters.output_packets - before.output_packets,
        session_time: session.counters.session_time - before.session_time,
    };
    let shares = by_day(from, session.heard_at, &added, rules.timing.utc_offset);
    let usage = shares.into_iter().map(|share| Usage {
        session: session.id,
        user: session.user.clone(),
        nas: session.nas.clone(),
        from: share.from,
        to: share.to,
        day: share.day,
        added: share.added,
    });
    Change {
        usage: if added == Counters::default() { Vec::new() } else { usage.collect() },
        from_version: known.map(|known| known.version),
        extent: Extent::Whole,
        wake_at: session.wake_at(&rules.timing),
        orders: Vec::new(),
        settles: None,
        at: session.heard_at,
        session,
    }
}

fn terminate_cause(row: &AcctRow, dictionary: &Dictionary) -> Option<u32> {
    let named = || dictionary.attribute("Acct-Terminate-Cause")?.value_number(&row.terminate_cause);
    row.terminate_cause.parse().ok().or_else(|| u32::try_from(named()?).ok())
}

/// FreeRADIUS makes its own digest of what tells sessions apart.
fn id_of(unique_id: &str, nas: IpAddr) -> SessionId {
    let sum = Sha256::new()
        .chain_update("radacct\0")
        .chain_update(unique_id)
        .chain_update("\0")
        .chain_update(nas.to_string());
    let mut octets = [0; 16];
    octets.copy_from_slice(&sum.finalize()[..16]);
    SessionId(Builder::from_random_bytes(octets).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> AcctRow {
        AcctRow {
            id: 1,
            unique_id: "u".to_owned(),
            acct_session_id: "a1".to_owned(),
            user: "alice".to_owned(),
            nas: IpAddr::from([192, 0, 2, 7]),
            port: "5".to_owned(),
            started_at: Some(Timestamp::from_secs(1_795_000_000)),
            updated_at: None,
            stopped_at: None,
            session_time: 60,
            input_octets: 1,
            output_octets: 2,
            called_station_id: String::new(),
            calling_station_id: "here".to_owned(),
            terminate_cause: String::new(),
            framed_ip: None,
            framed_ipv6_prefix: None,
        }
    }

    #[test]
    fn a_session_without_an_end_is_open_for_a_day() {
        let mut nas = Nas::new("edge", "192.0.2.0/24".parse::<ipnet::IpNet>().unwrap(), crate::model::Secret::new("x"));
        nas.octet_direction = OctetDirection::Swapped;
        let nases = [nas];
        let rules =
            Rules { nases: &nases, dictionary: Dictionary::embedded(), timing: Timing::default(), dry_run: false };
        let at = |secs: u64| Timestamp::from_secs(1_795_000_000) + Duration::from_secs(secs);
        let lately = session(&row(), &rules, at(86_400));
        assert_eq!((lately.state, lately.nas.as_str(), lately.end), (State::Observed, "edge", None));
        assert_eq!((lately.counters.input_octets, lately.identity.nas_port), (2, Some(5)));
        let silent = session(&row(), &rules, at(86_401));
        assert_eq!(silent.end.map(|end| (end.cause, end.at)), Some((EndCause::Stale, at(0))));
        let stopped = AcctRow {
            stopped_at: Some(at(90)),
            input_octets: 10,
            terminate_cause: "User-Request".to_owned(),
            port: "ether1".to_owned(),
            nas: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            ..row()
        };
        let over = session(&stopped, &rules, at(100));
        assert_eq!(over.end, Some(End { at: at(90), cause: EndCause::Stop, terminate_cause: Some(1) }));
        assert_eq!((over.nas.as_str(), over.identity.nas_port_id.as_deref()), ("2001-db8--1", Some("ether1")));

        // It goes on from what is known: the rest is added, and no octet twice.
        let on = change(
            gone_on(&lately, session(&AcctRow { nas: row().nas, ..stopped }, &rules, at(100))),
            Some(&lately),
            &rules,
        );
        assert_eq!((on.from_version, on.session.version, on.session.state), (Some(1), 2, State::Closed));
        let added: u64 = on.usage.iter().map(|usage| usage.added.output_octets).sum();
        assert_eq!((added, on.session.counters.output_octets), (9, 10));
    }
}
