//! The spool's file: how it is opened, checked, and replaced when it is damaged. Knows nothing of what entries mean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row as _, SqlitePool};

use super::entry;
use super::{Number, SpoolError};
use crate::model::Timestamp;

/// How long to wait for another's transaction: the command line looks at the file too.
const PATIENCE: Duration = Duration::from_secs(5);
const PAGE: u64 = 4096;
/// An empty file of more pages gives its room back.
const LARGE: i64 = 4096;
/// Entries of a damaged file that are saved in one transaction.
const CHUNK: usize = 512;
/// A file, and what SQLite keeps beside it.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

const SCHEMA: [&str; 3] = [
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
    // Presses and outcomes: what brings no packet.
    "CREATE INDEX IF NOT EXISTS urgent ON entries (seq) WHERE length(packet) = 0",
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

/// Replaces a damaged file by a new one with whatever could still be read of it: from its beginning up to the damage, and from
/// its end back to it. Says where the damaged one lies now.
///
/// Until the new one is complete the damaged one stays in its place, and is found there by whoever starts next.
pub(super) async fn replace(path: &Path, limit: u64, now: Timestamp) -> Result<PathBuf, SpoolError> {
    let new = beside(path, ".new");
    if path.exists() {
        for suffix in BESIDE {
            remove(&beside(&new, suffix)).map_err(|error| unmoved(path, &error))?;
        }
        salvage(path, &new, limit).await?;
    }
    finish(path, now).map_err(|error| unmoved(path, &error))
}

/// Whether somebody died between moving a damaged file aside and putting the new one, which is complete, in its place.
pub(super) fn is_half_replaced(path: &Path) -> bool {
    !path.exists() && beside(path, ".new").exists()
}

/// Moves the damaged file aside, itself first: as long as it is in its place nothing has happened.
fn finish(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let to = beside(path, &format!(".damaged-{}", now.as_micros()));
    for suffix in BESIDE {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => sync_directory(path)?,
        }
    }
    fs::rename(beside(path, ".new"), path)?;
    sync_directory(path)?;
    Ok(to)
}

/// Copies what can be read into a new file, under the numbers it had, and brings that to disk.
async fn salvage(from: &Path, new: &Path, limit: u64) -> Result<(), SpoolError> {
    const FORWARDS: &str = "SELECT * FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
    const BACKWARDS: &str = "SELECT * FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    const ASIDE_FORWARDS: &str = "SELECT * FROM set_aside WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
    const ASIDE_BACKWARDS: &str = "SELECT * FROM set_aside WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    let copy = open(new, limit).await?;
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(PATIENCE);
    if let Ok(damaged) = pool().connect_with(options).await {
        for (forwards, backwards) in [(FORWARDS, BACKWARDS), (ASIDE_FORWARDS, ASIDE_BACKWARDS)] {
            let (mut first, mut last): (Number, Number) = (Number::MIN, Number::MAX);
            for (statement, ahead) in [(forwards, true), (backwards, false)] {
                loop {
                    let mut chunk = Vec::new();
                    while chunk.len() < CHUNK
                        && let Ok(Some(row)) =
                            sqlx::query(statement).bind(first).bind(last).fetch_optional(&damaged).await
                        && let Ok(number) = row.try_get("seq")
                    {
                        *(if ahead { &mut first } else { &mut last }) = number;
                        chunk.push(row);
                    }
                    if chunk.is_empty() {
                        break;
                    }
                    match keep(&copy, &chunk).await {
                        Ok(()) => (),
                        // What does not fit is left in the file that is moved aside.
                        Err(SpoolError::Full) => break,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        damaged.close().await;
    }
    let busy: i64 = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&copy)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failure)?;
    copy.close().await;
    if busy != 0 {
        return Err(SpoolError::Failed(format!("{} is in use", new.display())));
    }
    for suffix in [".new-wal", ".new-shm"] {
        remove(&beside(from, suffix)).map_err(|error| unmoved(from, &error))?;
    }
    sync_directory(from).map_err(|error| unmoved(from, &error))?;
    Ok(())
}

/// Keeps the sound ones of these rows.
async fn keep(copy: &SqlitePool, rows: &[SqliteRow]) -> Result<(), SpoolError> {
    const ENTRY: &str = "INSERT INTO entries (seq, at, about, packet, checksum) VALUES (?1, ?2, ?3, ?4, ?5)";
    const ASIDE: &str =
        "INSERT OR IGNORE INTO set_aside (seq, at, about, packet, checksum, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut tx = copy.begin().await.map_err(failure)?;
    for row in rows {
        let reason: Option<String> = row.try_get("reason").ok();
        if reason.is_none() && entry::read(row).is_err() {
            continue;
        }
        let cells = || -> Result<_, sqlx::Error> {
            let (seq, at): (i64, i64) = (row.try_get("seq")?, row.try_get("at")?);
            let (about, packet): (String, Vec<u8>) = (row.try_get("about")?, row.try_get("packet")?);
            Ok((seq, at, about, packet, row.try_get::<Vec<u8>, _>("checksum")?))
        };
        let Ok((seq, at, about, packet, checksum)) = cells() else { continue };
        let insert = sqlx::query(if reason.is_some() { ASIDE } else { ENTRY });
        let insert = insert.bind(seq).bind(at).bind(about).bind(packet).bind(checksum);
        match reason {
            Some(reason) => insert.bind(reason).execute(&mut *tx).await,
            None => insert.execute(&mut *tx).await,
        }
        .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unmoved(path: &Path, error: &io::Error) -> SpoolError {
    SpoolError::Failed(format!("{} cannot be replaced: {error}", path.display()))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn failure(error: sqlx::Error) -> SpoolError {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_FULL
        Some(13) => SpoolError::Full,
        // SQLITE_CORRUPT, SQLITE_NOTADB
        Some(11 | 26) => SpoolError::Damaged(error.to_string()),
        // It was closed to be replaced, and could not be: that is tried again.
        _ if matches!(error, sqlx::Error::PoolClosed) => SpoolError::Damaged("it could not be replaced".to_owned()),
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
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => File::open(directory)?.sync_all(),
    }
}
