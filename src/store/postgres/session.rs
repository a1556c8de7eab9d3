//! Sessions: written in bulk, locked by id, found by id, by query and by wake time.
//!
//! A batch goes in as one JSON document of which PostgreSQL makes rows (`jsonb_populate_recordset`), in the types of the
//! table itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::model::{SessionId, Timestamp};
use crate::session::Session;
use crate::store::row::{self, Cells};
use crate::store::{Change, SessionQuery, StoreError, records};

macro_rules! columns {
    () => {
        "id, version, user_name, nas, nas_address, nas_port, nas_port_id, nas_ip_address, nas_identifier, \
         calling_station_id, called_station_id, acct_session_id, framed_ip, framed_ipv6_prefix, granted, state, \
         accepted_at, started_at, heard_at, deadline, permitted_at, evicting_since, disconnect_acked_at, asks, decision, \
         decided_via, decided_by, decided_at, outcome, attempt, tries, retry_at, identify_fully, input_octets, \
         output_octets, input_packets, output_packets, session_time, ended_at, end_cause, terminate_cause, wake_at, \
         interim_interval"
    };
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM sessions");
const INSERT: &str = concat!(
    "INSERT INTO sessions (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM jsonb_populate_recordset(NULL::sessions, $1) ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id"
);
const UPDATE: &str = concat!(
    "UPDATE sessions SET (",
    columns!(),
    ") = (SELECT new.*) FROM (SELECT ",
    columns!(),
    " FROM jsonb_populate_recordset(NULL::sessions, $1)) AS new WHERE sessions.id = new.id"
);

/// Adds those that are not there yet, and says which.
pub(super) async fn insert<'c>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = &'c Change>,
) -> Result<BTreeSet<SessionId>, sqlx::Error> {
    let rows: Vec<Written<'_>> = changes.map(written).collect();
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let added = sqlx::query_scalar::<_, Uuid>(INSERT).bind(Json(rows)).fetch_all(connection).await?;
    Ok(added.into_iter().map(SessionId).collect())
}

/// Locks those that are there until the transaction ends, in the order of their ids, and gives their versions.
pub(super) async fn lock(
    connection: &mut PgConnection,
    ids: impl Iterator<Item = SessionId>,
) -> Result<BTreeMap<SessionId, u64>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query("SELECT id, version FROM sessions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE")
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| Ok((SessionId(row.try_get("id")?), row.try_get::<i64, _>("version")?.cast_unsigned())))
        .collect()
}

/// Overwrites those that are locked.
pub(super) async fn update<'c>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = &'c Change>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<Written<'_>> = changes.map(written).collect();
    if !rows.is_empty() {
        sqlx::query(UPDATE).bind(Json(rows)).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn by_id(pool: &PgPool, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let mut sql = QueryBuilder::<Postgres>::new(SELECT);
    sql.push(" WHERE id = ANY(").push_bind(ids).push(")");
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn matching(pool: &PgPool, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
    let mut sql = QueryBuilder::<Postgres>::new(SELECT);
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
    sql.push(" ORDER BY accepted_at DESC, id DESC");
    if query.limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::from(query.limit));
    }
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn due(pool: &PgPool, now: Timestamp, limit: u32) -> Result<Vec<Session>, StoreError> {
    let mut sql = QueryBuilder::<Postgres>::new(SELECT);
    sql.push(" WHERE state NOT IN ('dropped', 'closed') AND wake_at <= ").push_bind(time(now));
    sql.push(" ORDER BY wake_at, id LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(pool).await.map_err(failure)?;
    Ok(rows.iter().filter_map(|row| records::or_skip(session(row))).collect())
}

fn session(row: &PgRow) -> Result<Session, StoreError> {
    records::session(&Cells { table: "sessions", row })
}

/// A session as its row: a field for each column.
#[derive(Serialize)]
struct Written<'s> {
    id: Uuid,
    version: i64,
    user_name: Text<'s>,
    nas: Text<'s>,
    nas_address: IpAddr,
    nas_port: Option<u32>,
    nas_port_id: Option<Text<'s>>,
    nas_ip_address: Option<IpAddr>,
    nas_identifier: Option<Text<'s>>,
    calling_station_id: Option<Text<'s>>,
    called_station_id: Option<Text<'s>>,
    acct_session_id: Option<Text<'s>>,
    framed_ip: Option<IpAddr>,
    framed_ipv6_prefix: Option<ipnet::Ipv6Net>,
    granted: Option<serde_json::Value>,
    state: &'static str,
    accepted_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    heard_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    permitted_at: Option<DateTime<Utc>>,
    evicting_since: Option<DateTime<Utc>>,
    disconnect_acked_at: Option<DateTime<Utc>>,
    asks: serde_json::Value,
    decision: Option<&'static str>,
    decided_via: Option<&'static str>,
    decided_by: Option<Text<'s>>,
    decided_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    attempt: u32,
    tries: u32,
    retry_at: Option<DateTime<Utc>>,
    identify_fully: bool,
    input_octets: i64,
    output_octets: i64,
    input_packets: i64,
    output_packets: i64,
    session_time: i64,
    ended_at: Option<DateTime<Utc>>,
    end_cause: Option<&'static str>,
    terminate_cause: Option<u32>,
    wake_at: Option<DateTime<Utc>>,
    interim_interval: Option<i64>,
}

type Text<'s> = std::borrow::Cow<'s, str>;

fn written(change: &Change) -> Written<'_> {
    let session = &change.session;
    let decision = session.decision.as_ref();
    Written {
        id: session.id.0,
        version: row::counter(session.version),
        user_name: row::text(session.user.as_str()),
        nas: row::text(session.nas.as_str()),
        nas_address: session.nas_address,
        nas_port: session.identity.nas_port,
        nas_port_id: row::text_or_none(&session.identity.nas_port_id),
        nas_ip_address: session.identity.nas_ip_address,
        nas_identifier: row::text_or_none(&session.identity.nas_identifier),
        calling_station_id: row::text_or_none(&session.identity.calling_station_id),
        called_station_id: row::text_or_none(&session.identity.called_station_id),
        acct_session_id: row::text_or_none(&session.identity.acct_session_id),
        framed_ip: session.identity.framed_ip,
        framed_ipv6_prefix: session.identity.framed_ipv6_prefix,
        granted: session.grant.as_ref().map(row::json),
        state: session.state.as_str(),
        accepted_at: time(session.accepted_at),
        started_at: session.started_at.map(time),
        heard_at: time(session.heard_at),
        deadline: session.deadline.map(time),
        permitted_at: session.permitted_at.map(time),
        evicting_since: session.evicting_since.map(time),
        disconnect_acked_at: session.disconnect_acked_at.map(time),
        asks: row::json(&session.asks),
        decision: decision.map(|decision| decision.verdict.as_str()),
        decided_via: decision.map(|decision| decision.by.approver.as_str()),
        decided_by: decision.map(|decision| row::text(&decision.by.who)),
        decided_at: decision.map(|decision| time(decision.at)),
        outcome: session.outcome.as_ref().map(row::word),
        attempt: session.attempt,
        tries: session.tries,
        retry_at: session.retry_at.map(time),
        identify_fully: session.identify_fully,
        input_octets: row::counter(session.counters.input_octets),
        output_octets: row::counter(session.counters.output_octets),
        input_packets: row::counter(session.counters.input_packets),
        output_packets: row::counter(session.counters.output_packets),
        session_time: row::counter(session.counters.session_time),
        ended_at: session.end.map(|end| time(end.at)),
        end_cause: session.end.map(|end| end.cause.as_str()),
        terminate_cause: session.end.and_then(|end| end.terminate_cause),
        wake_at: change.wake_at.map(time),
        interim_interval: session.interim_interval.map(|interval| row::counter(interval.as_secs())),
    }
}
