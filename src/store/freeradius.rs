//! The tables of a FreeRADIUS on PostgreSQL, read for the import. Reads only, and knows nothing of what they mean to us.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::StoreError;

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

/// Reads the tables at `postgres://…`: of users, of NASes, or both, in one read-only snapshot.
///
/// # Errors
/// [`StoreError::BadAddress`] when the address is not understood, [`StoreError::Away`] when nobody answers there, and
/// [`StoreError::Refused`] when a table or column is missing or may not be read.
pub async fn read(url: &str, users: bool, nases: bool) -> Result<Tables, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::BadAddress(format!("the address of FreeRADIUS's PostgreSQL: {error}")))?
        .application_name("radhold import");
    let mut connection = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| StoreError::Away("no connection in time".to_owned()))?
        .map_err(failure)?;
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
