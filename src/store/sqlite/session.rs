//! Sessions: compared by version, found by id, by query and by wake time.
//!
//! What writes many rows says `OR FAIL`: what a statement has done before it fails need not be undone then, since whoever runs it gives the
//! transaction up, and SQLite need not note down each page beforehand.

use std::net::IpAddr;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::failure;
use super::rows::{self, Values};
use crate::model::{Medium, SessionId, Timestamp};
use crate::session::Session;
use crate::store::row::{self, Cells, Columns};
use crate::store::{Change, Due, Named, Port, Restart, SessionQuery, StoreError, Wake, prefixes_of, records};

/// Columns of a session.
const COLUMNS: usize = 45;
/// Columns of what an Interim-Update brings.
const COUNTED: usize = 11;
/// Sessions removed in one transaction.
const FORGOTTEN: i64 = 500;

macro_rules! columns {
    () => {
        "id, version, user_name, nas, nas_address, nas_port, nas_port_id, nas_ip_address, nas_identifier, \
         calling_station_id, called_station_id, acct_session_id, framed_ip, framed_ipv6_prefix, granted, state, \
         accepted_at, started_at, heard_at, deadline, permitted_at, evicting_since, disconnect_acked_at, asks, decision, \
         decided_via, decided_by, decided_at, outcome, attempt, tries, retry_at, identify_fully, input_octets, \
         output_octets, input_packets, output_packets, session_time, ended_at, end_cause, terminate_cause, wake_at, \
         interim_interval, medium, votes"
    };
}

macro_rules! with_columns {
    ($with:ident) => {
        $with! {
            id version user_name nas nas_address nas_port nas_port_id nas_ip_address nas_identifier calling_station_id
            called_station_id acct_session_id framed_ip framed_ipv6_prefix granted state accepted_at started_at heard_at
            deadline permitted_at evicting_since disconnect_acked_at asks decision decided_via decided_by decided_at
            outcome attempt tries retry_at identify_fully input_octets output_octets input_packets output_packets
            session_time ended_at end_cause terminate_cause wake_at interim_interval medium votes
        }
    };
}

macro_rules! new_values {
    ($name:ident $($names:ident)*) => { concat!("new.", stringify!($name) $(, ", new.", stringify!($names))*) };
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM sessions");

/// Adds those that are not there yet.
pub(super) fn add(sql: &mut QueryBuilder<Sqlite>, changes: &[&Change]) {
    sql.push(concat!("WITH new (", columns!(), ") AS ("));
    rows::push(sql, COLUMNS, changes, |values, change| push_row(values, change));
    sql.push(concat!(
        ") INSERT OR FAIL INTO sessions (",
        columns!(),
        ") SELECT ",
        columns!(),
        " FROM new WHERE id IS NOT NULL ON CONFLICT (id) DO NOTHING"
    ));
}

/// Writes sessions whole where they are still at the versions the changes were made from.
pub(super) fn update(sql: &mut QueryBuilder<Sqlite>, changes: &[&Change]) {
    const UPDATE: &str = concat!(
        ") UPDATE OR FAIL sessions SET (",
        columns!(),
        ") = (",
        with_columns!(new_values),
        ") FROM new WHERE sessions.id = new.id AND sessions.version = new.from_version"
    );
    sql.push(concat!("WITH new (from_version, ", columns!(), ") AS ("));
    rows::push(sql, 1 + COLUMNS, changes, |values, change| {
        values.push_bind(change.from_version.map(row::counter));
        push_row(values, change);
    });
    sql.push(UPDATE);
}

/// The columns, in their order.
fn push_row(values: &mut Values<'_, '_>, change: &Change) {
    let session = &change.session;
    let decision = session.decision.as_ref();
    values
        .push_bind(session.id.to_string())
        .push_bind(row::counter(session.version))
        .push_bind(row::text(session.user.as_str()))
        .push_bind(row::text(session.nas.as_str()))
        .push_bind(session.nas_address.to_string())
        .push_bind(session.identity.nas_port)
        .push_bind(row::text_or_none(&session.identity.nas_port_id))
        .push_bind(session.identity.nas_ip_address.map(|address| address.to_string()))
        .push_bind(row::text_or_none(&session.identity.nas_identifier))
        .push_bind(row::text_or_none(&session.identity.calling_station_id))
        .push_bind(row::text_or_none(&session.identity.called_station_id))
        .push_bind(row::text_or_none(&session.identity.acct_session_id))
        .push_bind(session.identity.framed_ip.map(|address| address.to_string()))
        .push_bind(session.identity.framed_ipv6_prefix.map(|prefix| prefix.to_string()))
        .push_bind(session.grant.as_ref().map(row::json))
        .push_bind(session.state.as_str())
        .push_bind(row::micros(session.accepted_at))
        .push_bind(session.started_at.map(row::micros))
        .push_bind(row::micros(session.heard_at))
        .push_bind(session.deadline.map(row::micros))
        .push_bind(session.permitted_at.map(row::micros))
        .push_bind(session.evicting_since.map(row::micros))
        .push_bind(session.disconnect_acked_at.map(row::micros))
        .push_bind(row::json(&session.asks))
        .push_bind(decision.map(|decision| decision.verdict.as_str()))
        .push_bind(decision.map(|decision| decision.by.approver.as_str()))
        .push_bind(decision.map(|decision| row::text(&decision.by.who)))
        .push_bind(decision.map(|decision| row::micros(decision.at)))
        .push_bind(session.outcome.as_ref().map(row::word))
        .push_bind(session.attempt)
        .push_bind(session.tries)
        .push_bind(session.retry_at.map(row::micros))
        .push_bind(session.identify_fully)
        .push_bind(row::counter(session.counters.input_octets))
        .push_bind(row::counter(session.counters.output_octets))
        .push_bind(row::counter(session.counters.input_packets))
        .push_bind(row::counter(session.counters.output_packets))
        .push_bind(row::counter(session.counters.session_time))
        .push_bind(session.end.map(|end| row::micros(end.at)))
        .push_bind(session.end.map(|end| end.cause.as_str()))
        .push_bind(session.end.and_then(|end| end.terminate_cause))
        .push_bind(change.wake_at.map(row::micros))
        .push_bind(session.interim_interval.map(|interval| row::counter(interval.as_secs())))
        .push_bind(session.identity.medium.map(Medium::as_str))
        .push_bind(row::json(&session.votes));
}

/// Writes what an Interim-Update brings, where the session is still at the version the change was made from.
pub(super) fn count(sql: &mut QueryBuilder<Sqlite>, changes: &[&Change]) {
    // As few wake times as can be are moved: each is in an index. Woken early, a session is given its time anew.
    sql.push(
        "WITH new (id, from_version, version, heard_at, input_octets, output_octets, input_packets, output_packets, session_time, \
         wake_at, interim_interval) AS (",
    );
    rows::push(sql, COUNTED, changes, |values, change| push_counted(values, change));
    sql.push(
        ") UPDATE OR FAIL sessions SET version = new.version, heard_at = new.heard_at, input_octets = new.input_octets, \
         output_octets = new.output_octets, input_packets = new.input_packets, output_packets = new.output_packets, \
         session_time = new.session_time, interim_interval = new.interim_interval, \
         wake_at = CASE WHEN sessions.wake_at < new.wake_at THEN sessions.wake_at ELSE new.wake_at END \
         FROM new WHERE sessions.id = new.id AND sessions.version = new.from_version",
    );
}

/// Writes what a Stop brings, in the same way. Indexes of what it leaves as it was are not looked at.
pub(super) fn end(sql: &mut QueryBuilder<Sqlite>, changes: &[&Change]) {
    sql.push(
        "WITH new (id, from_version, version, heard_at, input_octets, output_octets, input_packets, output_packets, session_time, \
         wake_at, interim_interval, state, retry_at, ended_at, end_cause, terminate_cause) AS (",
    );
    rows::push(sql, COUNTED + 5, changes, |values, change| {
        push_counted(values, change);
        let session = &change.session;
        values.push_bind(session.state.as_str()).push_bind(session.retry_at.map(row::micros));
        values.push_bind(session.end.map(|end| row::micros(end.at)));
        values.push_bind(session.end.map(|end| end.cause.as_str()));
        values.push_bind(session.end.and_then(|end| end.terminate_cause));
    });
    sql.push(
        ") UPDATE OR FAIL sessions SET version = new.version, heard_at = new.heard_at, input_octets = new.input_octets, \
         output_octets = new.output_octets, input_packets = new.input_packets, output_packets = new.output_packets, \
         session_time = new.session_time, interim_interval = new.interim_interval, wake_at = new.wake_at, state = new.state, \
         retry_at = new.retry_at, ended_at = new.ended_at, end_cause = new.end_cause, terminate_cause = new.terminate_cause \
         FROM new WHERE sessions.id = new.id AND sessions.version = new.from_version",
    );
}

/// What both bring.
fn push_counted(values: &mut Values<'_, '_>, change: &Change) {
    let session = &change.session;
    values.push_bind(session.id.to_string()).push_bind(change.from_version.map(row::counter));
    values.push_bind(row::counter(session.version)).push_bind(row::micros(session.heard_at));
    values.push_bind(row::counter(session.counters.input_octets));
    values.push_bind(row::counter(session.counters.output_octets));
    values.push_bind(row::counter(session.counters.input_packets));
    values.push_bind(row::counter(session.counters.output_packets));
    values.push_bind(row::counter(session.counters.session_time));
    values.push_bind(change.wake_at.map(row::micros));
    values.push_bind(session.interim_interval.map(|interval| row::counter(interval.as_secs())));
}

pub(super) async fn named(pool: &SqlitePool, names: &[Named]) -> Result<Vec<Session>, StoreError> {
    // A plus keeps SQLite from an index that is in the wanted order: it would go through all sessions of the user, for each name.
    const NAMED: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM sessions WHERE rowid IN (SELECT found.rowid FROM json_each(?1) AS named CROSS JOIN sessions AS found \
         ON found.rowid IN (SELECT rowid FROM sessions WHERE acct_session_id = named.value ->> 2 \
         AND +user_name = named.value ->> 1 AND +nas = named.value ->> 0 ORDER BY +accepted_at DESC, +id DESC LIMIT 64) \
         UNION SELECT found.rowid FROM json_each(?1) AS named CROSS JOIN sessions AS found \
         ON found.rowid IN (SELECT rowid FROM sessions WHERE user_name = named.value ->> 1 AND nas = named.value ->> 0 \
         AND state IN ('offered', 'dropped') ORDER BY +accepted_at DESC, +id DESC LIMIT 64)) \
         ORDER BY accepted_at DESC, id DESC"
    );
    let names: Vec<_> = names
        .iter()
        .map(|name| [name.nas.as_str(), name.user.as_str(), &name.acct_session_id].map(row::text))
        .collect();
    let rows = sqlx::query(NAMED).bind(row::json(&names)).fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn on_ports(pool: &SqlitePool, ports: &[Port]) -> Result<Vec<Session>, StoreError> {
    const ON_PORTS: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM sessions WHERE rowid IN (SELECT sessions.rowid FROM json_each(?1) AS port CROSS JOIN sessions \
         ON nas = port.value ->> 0 AND nas_port = port.value ->> 1 WHERE state NOT IN ('dropped', 'closed') \
         UNION SELECT sessions.rowid FROM json_each(?2) AS port CROSS JOIN sessions \
         ON nas = port.value ->> 0 AND nas_port_id = port.value ->> 1 WHERE state NOT IN ('dropped', 'closed')) \
         ORDER BY accepted_at DESC, id DESC"
    );
    let (mut numbers, mut ids) = (Vec::new(), Vec::new());
    for port in ports {
        match port {
            Port::Number(nas, number) => numbers.push((row::text(nas.as_str()), number)),
            Port::Id(nas, id) => ids.push((row::text(nas.as_str()), row::text(id))),
        }
    }
    let query = sqlx::query(ON_PORTS).bind(row::json(&numbers)).bind(row::json(&ids));
    let rows = query.fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn framed(pool: &SqlitePool, address: IpAddr) -> Result<Vec<Session>, StoreError> {
    const FRAMED: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM sessions WHERE rowid IN (SELECT rowid FROM sessions \
         WHERE framed_ip = ?1 AND state NOT IN ('dropped', 'closed') \
         UNION SELECT sessions.rowid FROM json_each(?2) AS prefix CROSS JOIN sessions \
         ON framed_ipv6_prefix = prefix.value WHERE state NOT IN ('dropped', 'closed')) \
         AND started_at IS NOT NULL ORDER BY started_at DESC, id DESC LIMIT 64"
    );
    let prefixes: Vec<String> = prefixes_of(address).map(|prefix| prefix.to_string()).collect();
    let query = sqlx::query(FRAMED).bind(address.to_string()).bind(row::json(&prefixes));
    let rows = query.fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn by_id(pool: &SqlitePool, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut sql = QueryBuilder::<Sqlite>::new(SELECT);
    sql.push(" WHERE id IN (SELECT value FROM json_each(").push_bind(row::json(&ids)).push("))");
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn matching(pool: &SqlitePool, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new(SELECT);
    sql.push(" WHERE true");
    if query.open {
        sql.push(" AND state NOT IN ('dropped', 'closed')");
    }
    if let Some(state) = query.state {
        sql.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(user) = &query.user {
        sql.push(" AND user_name = ").push_bind(row::text(user.as_str()));
    }
    if let Some(nas) = &query.nas {
        sql.push(" AND nas = ").push_bind(row::text(nas.as_str()));
    }
    if let Some(acct_session_id) = &query.acct_session_id {
        sql.push(" AND acct_session_id = ").push_bind(row::text(acct_session_id));
    }
    if let Some(nas_port) = query.nas_port {
        sql.push(" AND nas_port = ").push_bind(i64::from(nas_port));
    }
    if let Some(nas_port_id) = &query.nas_port_id {
        sql.push(" AND nas_port_id = ").push_bind(row::text(nas_port_id));
    }
    if let Some([begins, ends]) = query.id_patterns() {
        sql.push(" AND (id LIKE ").push_bind(begins).push(" OR id LIKE ").push_bind(ends).push(")");
    }
    if let Some((accepted_at, id)) = query.behind {
        sql.push(" AND (accepted_at, id) < (")
            .push_bind(row::micros(accepted_at))
            .push(", ")
            .push_bind(id.to_string())
            .push(")");
    }
    sql.push(" ORDER BY accepted_at DESC, id DESC");
    if query.limit > 0 {
        sql.push(" LIMIT ").push_bind(query.limit);
    }
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

/// Those that a restart of their NAS ended, and that are open; at most so many.
pub(super) async fn before_restart(
    pool: &SqlitePool,
    restart: &Restart,
    heard_until: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<SessionId>, StoreError> {
    // As `accounting::same_nas` tells devices apart.
    let sql = "SELECT id FROM sessions WHERE nas = ?1 AND state NOT IN ('dropped', 'closed') AND accepted_at <= ?2
           AND CASE
               WHEN nas_identifier IS NOT NULL AND ?3 IS NOT NULL THEN nas_identifier = ?3
               WHEN nas_ip_address IS NOT NULL AND ?4 IS NOT NULL THEN nas_ip_address = ?4
               ELSE nas_address = ?5
           END
           AND (?7 IS NULL OR heard_at <= ?7)
         LIMIT ?6";
    let rows = sqlx::query(sql)
        .bind(row::text(restart.nas.as_str()))
        .bind(row::micros(restart.at))
        .bind(row::text_or_none(&restart.nas_identifier))
        .bind(restart.nas_ip_address.map(|address| address.to_string()))
        .bind(restart.nas_address.to_string())
        .bind(limit)
        .bind(heard_until.map(row::micros))
        .fetch_all(pool)
        .await
        .map_err(failure)?;
    let id = |row| Cells { table: "sessions", row }.need("id", Columns::session_id);
    rows.iter().map(id).collect()
}

pub(super) async fn due(
    pool: &SqlitePool,
    until: Timestamp,
    after: Option<Wake>,
    limit: u32,
) -> Result<Due, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT wake_at, id FROM sessions WHERE ");
    sql.push("state NOT IN ('dropped', 'closed') AND wake_at <= ").push_bind(row::micros(until));
    if let Some(Wake { at, session }) = after {
        sql.push(" AND (wake_at, id) > (")
            .push_bind(row::micros(at))
            .push(", ")
            .push_bind(session.to_string())
            .push(")");
    }
    sql.push(" ORDER BY wake_at, id LIMIT ").push_bind(limit);
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    Ok(records::due(rows.iter().map(|row| Cells { table: "sessions", row }), limit))
}

/// Sessions are looked for by when they were accepted, which is indexed, and go by when they ended.
pub(super) async fn forget(connection: &mut SqliteConnection, before: Timestamp) -> Result<bool, StoreError> {
    let forgotten = sqlx::query(
        "DELETE FROM sessions WHERE rowid IN (
             SELECT rowid FROM sessions
             WHERE accepted_at < ?1 AND state IN ('closed', 'dropped') AND coalesce(ended_at, heard_at) < ?1
             ORDER BY accepted_at LIMIT ?2
         )",
    )
    .bind(row::micros(before))
    .bind(FORGOTTEN)
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(forgotten.rows_affected() >= FORGOTTEN.unsigned_abs())
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    records::session(&Cells { table: "sessions", row })
}
