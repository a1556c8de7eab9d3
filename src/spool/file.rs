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
/// Between the name of a damaged file and the time it was moved aside.
const DAMAGED: &str = ".damaged-";

const SCHEMA: [&str; 4] = [
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
    // What of which damaged file could not be read. Nothing is struck off here: a file that is gone is shown no more.
    "CREATE TABLE IF NOT EXISTS damage (
         file       TEXT NOT NULL PRIMARY KEY,
         unreadable INTEGER NOT NULL
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
/// its end back to it. Says where the damaged one lies now, and what was found in it; `None` when somebody else had looked, and died.
///
/// Until the new one is complete the damaged one stays in its place, and is found there by whoever starts next.
pub(super) async fn replace(
    path: &Path,
    limit: u64,
    now: Timestamp,
) -> Result<(PathBuf, Option<Salvaged>), SpoolError> {
    let new = beside(path, ".new");
    let mut salvaged = None;
    if path.exists() {
        for suffix in BESIDE {
            remove(&beside(&new, suffix)).map_err(|error| unmoved(path, &error))?;
        }
        salvaged = Some(salvage(path, &new, limit).await?);
    }
    let to = finish(path, now).map_err(|error| unmoved(path, &error))?;
    Ok((to, salvaged))
}

/// The damaged files that were moved aside and lie there still, the oldest first.
pub(super) fn damaged(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_one = |other: &str| {
        let at = other.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(DAMAGED));
        at.is_some_and(|at| !at.is_empty() && at.bytes().all(|octet| octet.is_ascii_digit()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory_of(path))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_one) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Entries of a damaged file that do not wait in the new one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Salvaged {
    /// Those that could be read and make no sense: they are set aside in the new file.
    pub(super) set_aside: u64,
    /// Those that could not be read, or found no room: no more than these, since numbers between may have been struck off. `None` when
    /// nothing tells.
    pub(super) unreadable: Option<u64>,
}

impl Salvaged {
    const NOTHING: Self = Self { set_aside: 0, unreadable: Some(0) };

    fn miss(&mut self, more: Option<u64>) {
        self.unreadable = self.unreadable.zip(more).map(|(known, more)| known.saturating_add(more));
    }
}

/// What a damaged file is kept under.
pub(super) fn name(damaged: &Path) -> String {
    damaged.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether somebody died between moving a damaged file aside and putting the new one, which is complete, in its place.
pub(super) fn is_half_replaced(path: &Path) -> bool {
    !path.exists() && beside(path, ".new").exists()
}

/// Moves the damaged file aside, itself first: as long as it is in its place nothing has happened.
fn finish(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let to = beside(path, &format!("{DAMAGED}{}", now.as_micros()));
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
async fn salvage(from: &Path, new: &Path, limit: u64) -> Result<Salvaged, SpoolError> {
    const FORWARDS: &str = "SELECT * FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
    const BACKWARDS: &str = "SELECT * FROM entries WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    const ASIDE_FORWARDS: &str = "SELECT * FROM set_aside WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT 1";
    const ASIDE_BACKWARDS: &str = "SELECT * FROM set_aside WHERE seq > ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1";
    let copy = open(new, limit).await?;
    let mut salvaged = Salvaged::NOTHING;
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(PATIENCE);
    if let Ok(damaged) = pool().connect_with(options).await {
        for (forwards, backwards) in [(FORWARDS, BACKWARDS), (ASIDE_FORWARDS, ASIDE_BACKWARDS)] {
            let (mut first, mut last): (Number, Number) = (Number::MIN, Number::MAX);
            let mut all = false;
            for (statement, ahead) in [(forwards, true), (backwards, false)] {
                loop {
                    let mut chunk = Vec::new();
                    while chunk.len() < CHUNK && !all {
                        let row = sqlx::query(statement).bind(first).bind(last).fetch_optional(&damaged).await;
                        all = matches!(row, Ok(None));
                        let Ok(Some(row)) = row else { break };
                        let Ok(number) = row.try_get("seq") else { break };
                        *(if ahead { &mut first } else { &mut last }) = number;
                        chunk.push(row);
                    }
                    if chunk.is_empty() {
                        break;
                    }
                    match keep(&copy, &chunk).await {
                        Ok(kept) => {
                            salvaged.set_aside += kept.set_aside;
                            salvaged.miss(kept.unreadable);
                        }
                        // What does not fit is left in the file that is moved aside.
                        Err(SpoolError::Full) => {
                            salvaged.miss(Some(chunk.len() as u64));
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            if !all {
                let end = if last == Number::MAX { highest(&damaged).await } else { Some(last) };
                salvaged.miss(end.map(|end| end.saturating_sub(first.max(0) + 1).max(0).unsigned_abs()));
            }
        }
        damaged.close().await;
    } else {
        salvaged.miss(None);
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
    Ok(salvaged)
}

/// The number above all that were given, where the file still tells.
async fn highest(damaged: &SqlitePool) -> Option<Number> {
    let given =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetch_optional(damaged).await;
    given.ok().flatten().map(|given: Number| given.saturating_add(1))
}

/// Keeps these rows: those that make no sense are set aside, and what cannot even be copied is counted.
async fn keep(copy: &SqlitePool, rows: &[SqliteRow]) -> Result<Salvaged, SpoolError> {
    const ENTRY: &str =
        "INSERT INTO entries (seq, at, about, packet, checksum) VALUES (?1, ?2, CAST(?3 AS TEXT), ?4, ?5)";
    const ASIDE: &str = "INSERT OR IGNORE INTO set_aside (seq, at, about, packet, checksum, reason) VALUES (?1, ?2, CAST(?3 AS TEXT), ?4, ?5, ?6)";
    let mut kept = Salvaged::NOTHING;
    let mut tx = copy.begin().await.map_err(failure)?;
    for row in rows {
        let was_aside = row.try_get_raw("reason").is_ok();
        let reason = if was_aside { Some(text(row, "reason").unwrap_or_default()) } else { entry::read(row).err() };
        let cells = || -> Result<_, sqlx::Error> {
            let (seq, at): (i64, i64) = (row.try_get("seq")?, row.try_get("at")?);
            // As octets: what is damaged may be no text.
            let (about, packet): (Vec<u8>, Vec<u8>) = (row.try_get("about")?, row.try_get("packet")?);
            Ok((seq, at, about, packet, row.try_get::<Vec<u8>, _>("checksum")?))
        };
        let Ok((seq, at, about, packet, checksum)) = cells() else {
            kept.miss(Some(1));
            continue;
        };
        kept.set_aside += u64::from(reason.is_some() && !was_aside);
        let insert = sqlx::query(if reason.is_some() { ASIDE } else { ENTRY });
        let insert = insert.bind(seq).bind(at).bind(about).bind(packet).bind(checksum);
        match reason {
            Some(reason) => insert.bind(reason).execute(&mut *tx).await,
            None => insert.execute(&mut *tx).await,
        }
        .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(kept)
}

/// What a column says, whatever is left of it.
pub(super) fn text(row: &SqliteRow, column: &str) -> Result<String, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(column).map(|octets| String::from_utf8_lossy(&octets).into_owned())
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
