//! The tables of a FreeRADIUS on PostgreSQL, read for the import. Reads only, and knows nothing of what they mean to us.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::{IpNet, Ipv6Net};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::StoreError;
use crate::model::Timestamp;

/// How long to wait for the first connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the tables held, all at one moment.
#[derive(Debug, Default)]
pub struct Tables {
    /// `radcheck`, by id.
    pub check: Vec<Item>,
    /// `radreply`, by id.
    pub reply: Vec<Item>,
    /// `radgroupcheck`, by id.
    pub group_check: Vec<Item>,
    /// `radgroupreply`, by id.
    pub group_reply: Vec<Item>,
    /// `radusergroup`, by priority.
    pub memberships: Vec<Membership>,
    /// `nas`, by id.
    pub clients: Vec<Client>,
}

/// A row of one of the four tables of attributes. Its value may be a password and is not printed by `Debug`.
#[derive(Clone)]
pub struct Item {
    /// `id`.
    pub id: i64,
    /// `username` or `groupname`.
    pub owner: String,
    /// `attribute`.
    pub attribute: String,
    /// `op`.
    pub op: String,
    /// `value`.
    pub value: String,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {} {} …", self.id, self.owner, self.attribute, self.op)
    }
}

/// A row of `radusergroup`.
#[derive(Debug, Clone)]
pub struct Membership {
    /// `username`.
    pub user: String,
    /// `groupname`.
    pub group: String,
}

/// A row of `nas`. Its secret is not printed by `Debug`.
#[derive(Clone)]
pub struct Client {
    /// `id`.
    pub id: i64,
    /// `nasname`: an address, a network, or a host's name.
    pub address: String,
    /// `shortname`.
    pub name: String,
    /// `type`.
    pub kind: String,
    /// `secret`.
    pub secret: String,
    /// `server`: the virtual server, empty when there is none.
    pub server: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {} …", self.id, self.name, self.address)
    }
}

/// A row of `radacct`.
#[derive(Debug, Clone)]
pub struct AcctRow {
    /// `radacctid`.
    pub id: i64,
    /// `acctuniqueid`: FreeRADIUS's own key.
    pub unique_id: String,
    /// `acctsessionid`.
    pub acct_session_id: String,
    /// `username`.
    pub user: String,
    /// `nasipaddress`.
    pub nas: IpAddr,
    /// `nasportid`: NAS-Port-Id, else NAS-Port.
    pub port: String,
    /// `acctstarttime`.
    pub started_at: Option<Timestamp>,
    /// `acctupdatetime`.
    pub updated_at: Option<Timestamp>,
    /// `acctstoptime`; `None` while the session goes on.
    pub stopped_at: Option<Timestamp>,
    /// `acctsessiontime`, seconds.
    pub session_time: u64,
    /// `acctinputoctets`.
    pub input_octets: u64,
    /// `acctoutputoctets`.
    pub output_octets: u64,
    /// `calledstationid`.
    pub called_station_id: String,
    /// `callingstationid`.
    pub calling_station_id: String,
    /// `acctterminatecause`: a name.
    pub terminate_cause: String,
    /// `framedipaddress`.
    pub framed_ip: Option<IpAddr>,
    /// `framedipv6prefix`.
    pub framed_ipv6_prefix: Option<Ipv6Net>,
}

/// `radacct`, read some rows at a time: there may be many millions.
#[derive(Debug)]
pub struct AcctReader {
    connection: PgConnection,
}

impl AcctReader {
    /// Connects to `postgres://…`.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self { connection: connect(url).await? })
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn count(&mut self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM radacct")
            .fetch_one(&mut self.connection)
            .await
            .map_err(failure)?;
        Ok(count.unsigned_abs())
    }

    /// The rows above that `radacctid`, in order, at most so many.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn next(&mut self, after: i64, limit: u32) -> Result<Vec<AcctRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT radacctid::bigint AS radacctid, acctuniqueid, acctsessionid, username, nasipaddress, nasportid, acctstarttime,
                    acctupdatetime, acctstoptime, acctsessiontime::bigint AS acctsessiontime, acctinputoctets::bigint AS acctinputoctets,
                    acctoutputoctets::bigint AS acctoutputoctets, calledstationid, callingstationid, acctterminatecause,
                    framedipaddress, framedipv6prefix
             FROM radacct WHERE radacctid > $1 ORDER BY radacctid LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut self.connection)
        .await
        .map_err(failure)?;
        rows.iter().map(acct_row).collect()
    }
}

fn acct_row(row: &PgRow) -> Result<AcctRow, StoreError> {
    let time = |column: &str| -> Result<Option<Timestamp>, StoreError> {
        let time: Option<DateTime<Utc>> = row.try_get(column).map_err(failure)?;
        Ok(time.map(|time| Timestamp::from_micros(time.timestamp_micros())))
    };
    // Some NASes make FreeRADIUS write less than nothing.
    let count = |column: &str| -> Result<u64, StoreError> {
        let count: Option<i64> = row.try_get(column).map_err(failure)?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    };
    let network = |column: &str| row.try_get::<Option<IpNet>, _>(column).map_err(failure);
    let nas = network("nasipaddress")?
        .ok_or_else(|| StoreError::Refused("FreeRADIUS's database: radacct.nasipaddress is null".to_owned()))?;
    Ok(AcctRow {
        id: row.try_get("radacctid").map_err(failure)?,
        unique_id: text(row, "acctuniqueid")?,
        acct_session_id: text(row, "acctsessionid")?,
        user: text(row, "username")?,
        nas: nas.addr(),
        port: text(row, "nasportid")?,
        started_at: time("acctstarttime")?,
        updated_at: time("acctupdatetime")?,
        stopped_at: time("acctstoptime")?,
        session_time: count("acctsessiontime")?,
        input_octets: count("acctinputoctets")?,
        output_octets: count("acctoutputoctets")?,
        called_station_id: text(row, "calledstationid")?,
        calling_station_id: text(row, "callingstationid")?,
        terminate_cause: text(row, "acctterminatecause")?,
        framed_ip: network("framedipaddress")?.map(|address| address.addr()),
        framed_ipv6_prefix: match network("framedipv6prefix")? {
            Some(IpNet::V6(prefix)) => Some(prefix),
            _ => None,
        },
    })
}

async fn connect(url: &str) -> Result<PgConnection, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::BadAddress(format!("the address of FreeRADIUS's PostgreSQL: {error}")))?
        .application_name("radhold import");
    tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| StoreError::Away("no connection in time".to_owned()))?
        .map_err(failure)
}

/// Reads the tables at `postgres://…`: of users, of NASes, or both, in one read-only snapshot.
///
/// # Errors
/// [`StoreError::BadAddress`] when the address is not understood, [`StoreError::Away`] when nobody answers there, and
/// [`StoreError::Refused`] when a table or column is missing or may not be read.
pub async fn read(url: &str, users: bool, nases: bool) -> Result<Tables, StoreError> {
    let mut connection = connect(url).await?;
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(failure)?;
    let mut tables = Tables::default();
    if users {
        tables.check = items(&mut tx, "radcheck", "username").await?;
        tables.reply = items(&mut tx, "radreply", "username").await?;
        tables.group_check = items(&mut tx, "radgroupcheck", "groupname").await?;
        tables.group_reply = items(&mut tx, "radgroupreply", "groupname").await?;
        tables.memberships =
            sqlx::query("SELECT username, groupname FROM radusergroup ORDER BY priority, username, groupname")
                .fetch_all(&mut *tx)
                .await
                .map_err(failure)?
                .iter()
                .map(|row| Ok(Membership { user: text(row, "username")?, group: text(row, "groupname")? }))
                .collect::<Result<_, StoreError>>()?;
    }
    if nases {
        tables.clients = sqlx::query(
            "SELECT id::bigint AS id, nasname, shortname, type, secret, coalesce(server, '') AS server FROM nas ORDER BY id",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?
        .iter()
        .map(client)
        .collect::<Result<_, StoreError>>()?;
    }
    tx.rollback().await.map_err(failure)?;
    connection.close().await.map_err(failure)?;
    Ok(tables)
}

async fn items(
    connection: &mut PgConnection,
    table: &'static str,
    owner: &'static str,
) -> Result<Vec<Item>, StoreError> {
    // Both names are constants of ours.
    let statement = AssertSqlSafe(format!(
        "SELECT id::bigint AS id, {owner} AS owner, attribute, op::text AS op, value FROM {table} ORDER BY id"
    ));
    let rows = sqlx::query(statement).fetch_all(connection).await.map_err(failure)?;
    let item = |row: &PgRow| {
        Ok(Item {
            id: row.try_get("id").map_err(failure)?,
            owner: text(row, "owner")?,
            attribute: text(row, "attribute")?,
            op: text(row, "op")?.trim().to_owned(),
            value: text(row, "value")?,
        })
    };
    rows.iter().map(item).collect()
}

fn client(row: &PgRow) -> Result<Client, StoreError> {
    Ok(Client {
        id: row.try_get("id").map_err(failure)?,
        address: text(row, "nasname")?,
        name: text(row, "shortname")?,
        kind: text(row, "type")?,
        secret: text(row, "secret")?,
        server: text(row, "server")?,
    })
}

/// Text, empty where there is null: older schemas allow it.
fn text(row: &PgRow, column: &str) -> Result<String, StoreError> {
    row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default).map_err(failure)
}

fn failure(error: sqlx::Error) -> StoreError {
    match StoreError::of(&error, |_| false) {
        StoreError::Away(error) => StoreError::Away(format!("FreeRADIUS's database: {error}")),
        StoreError::Refused(error) => StoreError::Refused(format!("FreeRADIUS's database: {error}")),
        other => other,
    }
}
