//! Sessions: written in bulk, locked by id, found by id, by query and by wake time.
//!
//! A batch goes in as one array for each column, of which PostgreSQL makes rows (`unnest`): a quarter of the work that a JSON
//! document is. What merely counts writes no other columns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::columns::time;
use super::failure;
use crate::model::{Medium, SessionId, Timestamp};
use crate::session::Session;
use crate::store::row::{self, Cells, Columns};
use crate::store::{Change, Due, Named, Port, Restart, SessionQuery, StoreError, Wake, prefixes_of, records};

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

/// All columns, as `columns!` has them, with their places and types in an array.
macro_rules! with_columns {
    ($with:ident) => {
        $with! {
            id "$1::uuid[]", version "$2::int8[]", user_name "$3::text[]", nas "$4::text[]", nas_address "$5::inet[]",
            nas_port "$6::int8[]", nas_port_id "$7::text[]", nas_ip_address "$8::inet[]", nas_identifier "$9::text[]",
            calling_station_id "$10::text[]", called_station_id "$11::text[]", acct_session_id "$12::text[]",
            framed_ip "$13::inet[]", framed_ipv6_prefix "$14::inet[]", granted "$15::jsonb[]", state "$16::text[]",
            accepted_at "$17::timestamptz[]", started_at "$18::timestamptz[]", heard_at "$19::timestamptz[]",
            deadline "$20::timestamptz[]", permitted_at "$21::timestamptz[]", evicting_since "$22::timestamptz[]",
            disconnect_acked_at "$23::timestamptz[]", asks "$24::jsonb[]", decision "$25::text[]",
            decided_via "$26::text[]", decided_by "$27::text[]", decided_at "$28::timestamptz[]", outcome "$29::text[]",
            attempt "$30::int8[]", tries "$31::int8[]", retry_at "$32::timestamptz[]", identify_fully "$33::bool[]",
            input_octets "$34::int8[]", output_octets "$35::int8[]", input_packets "$36::int8[]",
            output_packets "$37::int8[]", session_time "$38::int8[]", ended_at "$39::timestamptz[]",
            end_cause "$40::text[]", terminate_cause "$41::int8[]", wake_at "$42::timestamptz[]",
            interim_interval "$43::int8[]", medium "$44::text[]", votes "$45::jsonb[]"
        }
    };
}

macro_rules! arrays {
    ($name:ident $array:literal $(, $names:ident $arrays:literal)*) => { concat!($array $(, ", ", $arrays)*) };
}

macro_rules! new_values {
    ($name:ident $array:literal $(, $names:ident $arrays:literal)*) => {
        concat!("new.", stringify!($name) $(, ", new.", stringify!($names))*)
    };
}

/// A statement that writes sessions, and gives back in one row which: a row for each costs more than to write what most of them bring.
macro_rules! told {
    ($($part:expr),+ $(,)?) => {
        concat!("WITH written AS (", $($part,)+ " RETURNING sessions.id) SELECT coalesce(array_agg(id), '{}') FROM written")
    };
}

const SELECT: &str = concat!("SELECT ", columns!(), " FROM sessions");
const INSERT: &str = told!(
    "INSERT INTO sessions (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM unnest(",
    with_columns!(arrays),
    ") AS new (",
    columns!(),
    ") ORDER BY id ON CONFLICT (id) DO NOTHING"
);
const UPDATE: &str = concat!(
    "UPDATE sessions SET (",
    columns!(),
    ") = ROW(",
    with_columns!(new_values),
    ") FROM unnest(",
    with_columns!(arrays),
    ") AS new (",
    columns!(),
    ") WHERE sessions.id = new.id"
);
/// The same where the session is still at the version its change was made from.
const REPLACE: &str = told!(
    "UPDATE sessions SET (",
    columns!(),
    ") = ROW(",
    with_columns!(new_values),
    ") FROM unnest(",
    with_columns!(arrays),
    ", $46::int8[]) AS new (",
    columns!(),
    ", from_version) WHERE sessions.id = new.id AND sessions.version = new.from_version"
);
macro_rules! counted {
    () => {
        "UPDATE sessions SET version = new.version, heard_at = new.heard_at, input_octets = new.input_octets, \
         output_octets = new.output_octets, input_packets = new.input_packets, output_packets = new.output_packets, \
         session_time = new.session_time, interim_interval = new.interim_interval, "
    };
    (of) => {
        " FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], \
         $8::bigint[], $9::bigint[], $10::timestamptz[], $11::bigint[]"
    };
    (named) => {
        ") AS new (id, from_version, version, heard_at, input_octets, output_octets, input_packets, output_packets, session_time, \
         wake_at, interim_interval"
    };
    (where) => {
        ") WHERE sessions.id = new.id AND sessions.version = new.from_version"
    };
}

// LEAST: a wake time that moves with every report would change an index each time. Woken early, a session is given its time anew.
const COUNT: &str = told!(
    counted!(),
    "wake_at = CASE WHEN new.wake_at IS NULL THEN NULL ELSE least(sessions.wake_at, new.wake_at) END",
    counted!(of),
    counted!(named),
    counted!(where)
);
const END: &str = told!(
    counted!(),
    "wake_at = new.wake_at, state = new.state, retry_at = new.retry_at, ended_at = new.ended_at, end_cause = new.end_cause, \
     terminate_cause = new.terminate_cause",
    counted!(of),
    ", $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[], $16::bigint[]",
    counted!(named),
    ", state, retry_at, ended_at, end_cause, terminate_cause",
    counted!(where)
);
// Names with nothing behind them, so that the index of Acct-Session-Ids is taken: where most users have one session, that of users looks as
// good, and somebody with thousands would be read through for each report.
const NAMED: &str = concat!(
    "SELECT DISTINCT ON (accepted_at, id) ",
    columns!(),
    " FROM (SELECT found.* FROM unnest($1::text[], $2::text[], $3::text[]) AS named (of_nas, of_user, of_id) CROSS JOIN LATERAL \
     (SELECT * FROM sessions WHERE acct_session_id = of_id AND user_name || '' = of_user AND nas || '' = of_nas \
     ORDER BY accepted_at DESC, id DESC LIMIT 64) AS found UNION ALL \
     SELECT found.* FROM (SELECT DISTINCT of_nas, of_user FROM unnest($1::text[], $2::text[]) AS named (of_nas, of_user)) AS named \
     CROSS JOIN LATERAL (SELECT * FROM sessions WHERE user_name = of_user AND nas = of_nas AND state IN ('offered', 'dropped') \
     ORDER BY accepted_at DESC, id DESC LIMIT 64) AS found) AS sessions ORDER BY accepted_at DESC, id DESC"
);

const ON_PORTS: &str = concat!(
    "SELECT DISTINCT ON (accepted_at, id) ",
    columns!(),
    " FROM (SELECT sessions.* FROM unnest($1::text[], $2::int8[]) AS port (of_nas, of_number) JOIN sessions \
     ON nas = of_nas AND nas_port = of_number AND state NOT IN ('dropped', 'closed') UNION ALL \
     SELECT sessions.* FROM unnest($3::text[], $4::text[]) AS port (of_nas, of_id) JOIN sessions \
     ON nas = of_nas AND nas_port_id = of_id AND state NOT IN ('dropped', 'closed')) AS sessions \
     ORDER BY accepted_at DESC, id DESC"
);

/// Adds those that are not there yet, and says which.
pub(super) async fn insert<'c>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = &'c Change>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let rows: Vec<Written<'_>> = changes.map(written).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    ids(&bound(sqlx::query(INSERT), &rows).fetch_one(connection).await?)
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
        bound(sqlx::query(UPDATE), &rows).execute(connection).await?;
    }
    Ok(())
}

/// Overwrites those that are still at the versions the changes were made from; says which.
pub(super) async fn replace(
    connection: &mut PgConnection,
    changes: &[(u64, &Change)],
) -> Result<Vec<SessionId>, sqlx::Error> {
    let rows: Vec<Written<'_>> = changes.iter().map(|(_, change)| written(change)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let versions: Vec<i64> = changes.iter().map(|(version, _)| row::counter(*version)).collect();
    ids(&bound(sqlx::query(REPLACE), &rows).bind(versions).fetch_one(connection).await?)
}

/// Writes what an Interim-Update brings, where the session is still at the version the change was made from; says where.
pub(super) async fn count<'c>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = (u64, &'c Change)>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let (versions, changes): (Vec<u64>, Vec<&Change>) = changes.unzip();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    ids(&with_counted(sqlx::query(COUNT), versions, &changes).fetch_one(connection).await?)
}

/// Writes what a Stop brings, in the same way.
pub(super) async fn end<'c>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = (u64, &'c Change)>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let (versions, changes): (Vec<u64>, Vec<&Change>) = changes.unzip();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let sessions = || changes.iter().map(|change| &change.session);
    let ends = || sessions().map(|session| session.end);
    let ended = with_counted(sqlx::query(END), versions, &changes)
        .bind(sessions().map(|session| session.state.as_str()).collect::<Vec<_>>())
        .bind(sessions().map(|session| session.retry_at.map(time)).collect::<Vec<_>>())
        .bind(ends().map(|end| end.map(|end| time(end.at))).collect::<Vec<_>>())
        .bind(ends().map(|end| end.map(|end| end.cause.as_str())).collect::<Vec<_>>())
        .bind(ends().map(|end| end.and_then(|end| end.terminate_cause).map(i64::from)).collect::<Vec<_>>())
        .fetch_one(connection)
        .await?;
    ids(&ended)
}

/// Which sessions a statement of [`told!`] wrote.
fn ids(row: &PgRow) -> Result<Vec<SessionId>, sqlx::Error> {
    Ok(row.try_get::<Vec<Uuid>, _>(0)?.into_iter().map(SessionId).collect())
}

/// The statement with what both bring, from these versions.
fn with_counted<'q>(statement: Statement<'q>, versions: Vec<u64>, changes: &[&Change]) -> Statement<'q> {
    let each = |count: fn(&Session) -> u64| -> Vec<i64> {
        changes.iter().map(|change| row::counter(count(&change.session))).collect()
    };
    statement
        .bind(changes.iter().map(|change| change.session.id.0).collect::<Vec<_>>())
        .bind(versions.into_iter().map(row::counter).collect::<Vec<_>>())
        .bind(each(|session| session.version))
        .bind(changes.iter().map(|change| time(change.session.heard_at)).collect::<Vec<_>>())
        .bind(each(|session| session.counters.input_octets))
        .bind(each(|session| session.counters.output_octets))
        .bind(each(|session| session.counters.input_packets))
        .bind(each(|session| session.counters.output_packets))
        .bind(each(|session| session.counters.session_time))
        .bind(changes.iter().map(|change| change.wake_at.map(time)).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| interim_interval(&change.session)).collect::<Vec<_>>())
}

pub(super) async fn named(connection: &mut PgConnection, names: &[Named]) -> Result<Vec<Session>, StoreError> {
    let each = |text: fn(&Named) -> &str| -> Vec<String> {
        names.iter().map(|name| row::text(text(name)).into_owned()).collect()
    };
    let rows = sqlx::query(NAMED)
        .bind(each(|name| name.nas.as_str()))
        .bind(each(|name| name.user.as_str()))
        .bind(each(|name| &name.acct_session_id))
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn on_ports(connection: &mut PgConnection, ports: &[Port]) -> Result<Vec<Session>, StoreError> {
    let (mut numbers, mut ids) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for port in ports {
        match port {
            Port::Number(nas, number) => {
                numbers.0.push(row::text(nas.as_str()).into_owned());
                numbers.1.push(i64::from(*number));
            }
            Port::Id(nas, id) => {
                ids.0.push(row::text(nas.as_str()).into_owned());
                ids.1.push(row::text(id).into_owned());
            }
        }
    }
    let rows = sqlx::query(ON_PORTS)
        .bind(numbers.0)
        .bind(numbers.1)
        .bind(ids.0)
        .bind(ids.1)
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn framed(connection: &mut PgConnection, address: IpAddr) -> Result<Vec<Session>, StoreError> {
    const FRAMED: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM (SELECT * FROM sessions WHERE framed_ip = $1 AND state NOT IN ('dropped', 'closed') \
         UNION ALL SELECT * FROM sessions WHERE framed_ipv6_prefix = ANY ($2) AND state NOT IN ('dropped', 'closed') \
         AND framed_ip IS DISTINCT FROM $1) AS sessions \
         WHERE started_at IS NOT NULL ORDER BY started_at DESC, id DESC LIMIT 64"
    );
    let prefixes: Vec<IpNet> = prefixes_of(address).map(IpNet::V6).collect();
    let rows = sqlx::query(FRAMED).bind(address).bind(prefixes).fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn by_id(connection: &mut PgConnection, ids: &[SessionId]) -> Result<Vec<Session>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let mut sql = QueryBuilder::<Postgres>::new(SELECT);
    sql.push(" WHERE id = ANY(").push_bind(ids).push(")");
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

pub(super) async fn matching(connection: &mut PgConnection, query: &SessionQuery) -> Result<Vec<Session>, StoreError> {
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
    if let Some([begins, ends]) = query.id_patterns() {
        sql.push(" AND (id::text LIKE ").push_bind(begins).push(" OR id::text LIKE ").push_bind(ends).push(")");
    }
    if let Some((accepted_at, id)) = query.behind {
        sql.push(" AND (accepted_at, id) < (").push_bind(time(accepted_at)).push(", ").push_bind(id.0).push(")");
    }
    sql.push(" ORDER BY accepted_at DESC, id DESC");
    if query.limit > 0 {
        sql.push(" LIMIT ").push_bind(i64::from(query.limit));
    }
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(failure)?;
    rows.iter().map(session).collect()
}

/// Those that a restart of their NAS ended, and that are open; at most so many.
pub(super) async fn before_restart(
    connection: &mut PgConnection,
    restart: &Restart,
    heard_until: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<SessionId>, StoreError> {
    // As `accounting::same_nas` tells devices apart.
    let sql = "SELECT id FROM sessions WHERE nas = $1 AND state NOT IN ('dropped', 'closed') AND accepted_at <= $2
           AND CASE
               WHEN nas_identifier IS NOT NULL AND $3::text IS NOT NULL THEN nas_identifier = $3
               WHEN nas_ip_address IS NOT NULL AND $4::inet IS NOT NULL THEN nas_ip_address = $4
               ELSE nas_address = $5
           END
           AND ($7::timestamptz IS NULL OR heard_at <= $7)
         LIMIT $6";
    let rows = sqlx::query(sql)
        .bind(row::text(restart.nas.as_str()))
        .bind(time(restart.at))
        .bind(row::text_or_none(&restart.nas_identifier))
        .bind(restart.nas_ip_address)
        .bind(restart.nas_address)
        .bind(i64::from(limit))
        .bind(heard_until.map(time))
        .fetch_all(connection)
        .await
        .map_err(failure)?;
    let id = |row| Cells { table: "sessions", row }.need("id", Columns::session_id);
    rows.iter().map(id).collect()
}

pub(super) async fn due(
    connection: &mut PgConnection,
    until: Timestamp,
    after: Option<Wake>,
    limit: u32,
) -> Result<Due, StoreError> {
    let mut sql = QueryBuilder::<Postgres>::new("SELECT wake_at, id FROM sessions WHERE ");
    sql.push("state NOT IN ('dropped', 'closed') AND wake_at <= ").push_bind(time(until));
    if let Some(Wake { at, session }) = after {
        sql.push(" AND (wake_at, id) > (").push_bind(time(at)).push(", ").push_bind(session.0).push(")");
    }
    sql.push(" ORDER BY wake_at, id LIMIT ").push_bind(i64::from(limit));
    let rows = sql.build().fetch_all(&mut *connection).await.map_err(failure)?;
    Ok(records::due(rows.iter().map(|row| Cells { table: "sessions", row }), limit))
}

/// Sessions are looked for by when they were accepted, which is indexed, and go by when they ended.
pub(super) async fn forget(connection: &mut PgConnection, before: Timestamp) -> Result<bool, StoreError> {
    let forgotten = sqlx::query(
        "DELETE FROM sessions WHERE id = ANY (ARRAY(
             SELECT id FROM sessions
             WHERE accepted_at < $1 AND state IN ('closed', 'dropped') AND coalesce(ended_at, heard_at) < $1
             ORDER BY accepted_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
    )
    .bind(time(before))
    .bind(FORGOTTEN)
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    Ok(forgotten.rows_affected() >= FORGOTTEN.unsigned_abs())
}

fn session(row: &PgRow) -> Result<Session, StoreError> {
    records::session(&Cells { table: "sessions", row })
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// The statement with an array for each column.
fn bound<'q>(statement: Statement<'q>, rows: &[Written<'_>]) -> Statement<'q> {
    macro_rules! bind_all {
        ($($name:ident $array:literal),*) => {
            statement$(.bind(rows.iter().map(|row| row.$name.clone()).collect::<Vec<_>>()))*
        };
    }
    with_columns!(bind_all)
}

/// A session as its row: a field for each column.
struct Written<'c> {
    id: Uuid,
    version: i64,
    user_name: Cow<'c, str>,
    nas: Cow<'c, str>,
    nas_address: IpAddr,
    nas_port: Option<i64>,
    nas_port_id: Option<Cow<'c, str>>,
    nas_ip_address: Option<IpAddr>,
    nas_identifier: Option<Cow<'c, str>>,
    calling_station_id: Option<Cow<'c, str>>,
    called_station_id: Option<Cow<'c, str>>,
    acct_session_id: Option<Cow<'c, str>>,
    framed_ip: Option<IpAddr>,
    framed_ipv6_prefix: Option<IpNet>,
    granted: Option<Json<serde_json::Value>>,
    state: &'static str,
    accepted_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    heard_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    permitted_at: Option<DateTime<Utc>>,
    evicting_since: Option<DateTime<Utc>>,
    disconnect_acked_at: Option<DateTime<Utc>>,
    asks: Json<serde_json::Value>,
    decision: Option<&'static str>,
    decided_via: Option<&'static str>,
    decided_by: Option<Cow<'c, str>>,
    decided_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    attempt: i64,
    tries: i64,
    retry_at: Option<DateTime<Utc>>,
    identify_fully: bool,
    input_octets: i64,
    output_octets: i64,
    input_packets: i64,
    output_packets: i64,
    session_time: i64,
    ended_at: Option<DateTime<Utc>>,
    end_cause: Option<&'static str>,
    terminate_cause: Option<i64>,
    wake_at: Option<DateTime<Utc>>,
    interim_interval: Option<i64>,
    medium: Option<&'static str>,
    votes: Json<serde_json::Value>,
}

fn written(change: &Change) -> Written<'_> {
    let session = &change.session;
    let decision = session.decision.as_ref();
    Written {
        id: session.id.0,
        version: row::counter(session.version),
        user_name: row::text(session.user.as_str()),
        nas: row::text(session.nas.as_str()),
        nas_address: session.nas_address,
        nas_port: session.identity.nas_port.map(i64::from),
        nas_port_id: row::text_or_none(&session.identity.nas_port_id),
        nas_ip_address: session.identity.nas_ip_address,
        nas_identifier: row::text_or_none(&session.identity.nas_identifier),
        calling_station_id: row::text_or_none(&session.identity.calling_station_id),
        called_station_id: row::text_or_none(&session.identity.called_station_id),
        acct_session_id: row::text_or_none(&session.identity.acct_session_id),
        framed_ip: session.identity.framed_ip,
        framed_ipv6_prefix: session.identity.framed_ipv6_prefix.map(IpNet::V6),
        granted: session.grant.as_ref().map(|grant| Json(row::json(grant))),
        state: session.state.as_str(),
        accepted_at: time(session.accepted_at),
        started_at: session.started_at.map(time),
        heard_at: time(session.heard_at),
        deadline: session.deadline.map(time),
        permitted_at: session.permitted_at.map(time),
        evicting_since: session.evicting_since.map(time),
        disconnect_acked_at: session.disconnect_acked_at.map(time),
        asks: Json(row::json(&session.asks)),
        decision: decision.map(|decision| decision.verdict.as_str()),
        decided_via: decision.map(|decision| decision.by.approver.as_str()),
        decided_by: decision.map(|decision| row::text(&decision.by.who)),
        decided_at: decision.map(|decision| time(decision.at)),
        outcome: session.outcome.as_ref().map(row::word),
        attempt: session.attempt.into(),
        tries: session.tries.into(),
        retry_at: session.retry_at.map(time),
        identify_fully: session.identify_fully,
        input_octets: row::counter(session.counters.input_octets),
        output_octets: row::counter(session.counters.output_octets),
        input_packets: row::counter(session.counters.input_packets),
        output_packets: row::counter(session.counters.output_packets),
        session_time: row::counter(session.counters.session_time),
        ended_at: session.end.map(|end| time(end.at)),
        end_cause: session.end.map(|end| end.cause.as_str()),
        terminate_cause: session.end.and_then(|end| end.terminate_cause).map(i64::from),
        wake_at: change.wake_at.map(time),
        interim_interval: interim_interval(session),
        medium: session.identity.medium.map(Medium::as_str),
        votes: Json(row::json(&session.votes)),
    }
}

fn interim_interval(session: &Session) -> Option<i64> {
    session.interim_interval.map(|interval| row::counter(interval.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_a_change_was_made_from_is_the_array_after_all_columns() {
        let columns = columns!().split(',').count();
        assert!(INSERT.contains(&format!("${columns}::")) && !INSERT.contains(&format!("${}::", columns + 1)));
        assert!(REPLACE.contains(&format!(", ${}::int8[]) AS new (", columns + 1)), "{REPLACE}");
    }
}
