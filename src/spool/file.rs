//! The spool's file: how it is opened, checked, moved aside and read when it is damaged. Knows nothing of what entries mean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqlitePool};

use super::entry::{self, Entry};
use super::{Number, SpoolError};
use crate::model::Timestamp;

/// How long to wait for another's transaction: the command line looks at the file too.
const PATIENCE: Duration = Duration::from_secs(5);
const PAGE: u64 = 4096;
/// An empty file of more pages gives its room back.
const LARGE: i64 = 4096;

const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS entries (
         seq      INTEGER PRIMARY KEY AUTOINCREMENT,
         at       INTEGER NOT NULL,
         about    TEXT NOT NULL,
         packet   BLOB NOT NULL,
         checksum BLOB NOT NULL
     ) STRICT",
    "CREATE TABLE IF NOT EXISTS set_aside (
         seq      INTEGER PRIMARY KEY,
         at       INTEGER NOT NULL,
         about    TEXT NOT NULL,
         packet   BLOB NOT NULL,
         checksum BLOB NOT NULL,
         reason   TEXT NOT NULL
     ) STRICT",
];

pub(super) async fn open(path: &Path, limit: u64) -> Result<SqlitePool, SpoolError> {
    create(path).map_err(|error| SpoolError::Failed(format!("{}: {error}", path.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .page_size(4096)
        .auto_vacuum(SqliteAutoVacuum::None)
        .journal_mode(SqliteJournalMode::Wal)
        // A transaction that is reported done has reached the disk.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .pragma("max_page_count", (limit / PAGE).max(16).to_string());
    let pool = pool().connect_with(options).await.map_err(failure)?;
    let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&pool).await.map_err(failure)?;
    if sound != "ok" {
        pool.close().await;
        return Err(SpoolError::Damaged(sound));
    }
    for statement in SCHEMA {
        sqlx::query(statement).execute(&pool).await.map_err(failure)?;
    }
    Ok(pool)
}

/// Gives the room of a file back that has become empty.
pub(super) async fn shrink(pool: &SqlitePool) -> Result<(), SpoolError> {
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(pool).await.map_err(failure)?;
    if pages > LARGE {
        sqlx::query("VACUUM").execute(pool).await.map_err(failure)?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await.map_err(failure)?;
    }
    Ok(())
}

/// Renames a file, and what SQLite keeps beside it, so that a new one can be begun.
pub(super) fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, SpoolError> {
    let beside = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let to = beside(path, &format!(".damaged-{}", now.as_micros()));
    for suffix in ["", "-wal", "-shm"] {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::Failed(format!("{} cannot be moved aside: {error}", path.display())));
            }
            _ => (),
        }
    }
    Ok(to)
}

/// Whatever can still be read of a damaged file: from its beginning up to the damage, and from its end back to it.
pub(super) async fn salvage(path: &Path) -> Vec<Entry> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
    let Ok(pool) = pool().connect_with(options).await else { return Vec::new() };
    const FORWARDS: &str =
        "SELECT seq, at, about, packet, checksum FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
    const BACKWARDS: &str =
        "SELECT seq, at, about, packet, checksum FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    let (mut first, mut last): (Number, Number) = (Number::MIN, Number::MAX);
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    while let Ok(Some(row)) = sqlx::query(FORWARDS).bind(first).bind(last).fetch_optional(&pool).await {
        let Ok(number) = row.try_get("seq") else { break };
        first = number;
        head.extend(entry::read(&row).ok());
    }
    while let Ok(Some(row)) = sqlx::query(BACKWARDS).bind(first).bind(last).fetch_optional(&pool).await {
        let Ok(number) = row.try_get("seq") else { break };
        last = number;
        tail.extend(entry::read(&row).ok());
    }
    pool.close().await;
    head.extend(tail.into_iter().rev());
    head
}

pub(super) fn failure(error: sqlx::Error) -> SpoolError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_FULL
        Some(13) => SpoolError::Full,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        Some(11 | 26) => SpoolError::Damaged(error.to_string()),
        _ => SpoolError::Failed(error.to_string()),
    }
}

fn pool() -> SqlitePoolOptions {
    // One connection, and one writer: order is the point.
    SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes the file, with the rights it shall have, unless it is there; its name is on disk afterwards.
fn create(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => File::open(directory)?.sync_all(),
    }
}
