//! The spool's file: how it is opened, checked, and replaced when it is damaged. Knows nothing of what entries mean.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ColumnIndex, Row as _, SqlitePool};

use super::salvage::{ABSURD, salvage};
use super::{SpoolError, notes};
use crate::model::Timestamp;
use crate::sqlite;

/// How long to wait for another's transaction: the command line looks at the file too.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const PAGE: u64 = 4096;
/// An empty file of more pages gives its room back.
const LARGE: i64 = 4096;
/// What a database begins with.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
/// A file, and what SQLite keeps beside it.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];
/// Between the name of a damaged file and the time it was moved aside.
const DAMAGED: &str = ".damaged-";

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

/// They are called what they were made as: `quick_check` has no eye for that.
const COLUMNS: [&str; 2] = [
    "SELECT seq, at, about, packet, checksum FROM entries LIMIT 0",
    "SELECT seq, at, about, packet, checksum, reason FROM set_aside LIMIT 0",
];

/// Octets of a header of ours, and where: the magic, pages of 4096 octets, a WAL, nothing reserved, SQLite's fractions; the format of its schema;
/// UTF-8.
const HEADER: [(usize, &[u8]); 3] =
    [(0, b"SQLite format 3\0\x10\x00\x02\x02\x00\x40\x20\x20"), (44, &[0, 0, 0, 4]), (56, &[0, 0, 0, 1])];
/// A file that differs from these in more octets is none of ours.
const MOST_WRONG: usize = 4;

/// Opens the file, which is there.
pub(super) async fn open(path: &Path, limit: u64) -> Result<SqlitePool, SpoolError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .page_size(4096)
        .auto_vacuum(SqliteAutoVacuum::None)
        .journal_mode(SqliteJournalMode::Wal)
        // A transaction that is reported done has reached the disk.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .pragma("max_page_count", (limit / PAGE).max(16).to_string());
    if asks_for_another_sqlite(path) {
        return Err(SpoolError::Damaged("its header asks for a SQLite that there is not".to_owned()));
    }
    let pool = pool().connect_with(options).await.map_err(opening)?;
    match check(&pool).await {
        Ok(None) => Ok(pool),
        refused => {
            pool.close().await;
            Err(refused.map_or_else(opening, |damage| SpoolError::Damaged(damage.unwrap_or_default())))
        }
    }
}

/// Makes what is not there yet, and says what is wrong with the file.
async fn check(pool: &SqlitePool) -> Result<Option<String>, sqlx::Error> {
    let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await?;
    if sound != "ok" {
        return Ok(Some(sound));
    }
    for statement in SCHEMA.into_iter().chain(COLUMNS) {
        sqlx::query(statement).execute(pool).await?;
    }
    // The first would never leave, and after the second SQLite takes no other for want of numbers.
    let odd: bool = sqlx::query_scalar(
        "SELECT coalesce((SELECT min(seq) FROM entries) < 1, 0) OR coalesce((SELECT max(seq) FROM entries) > ?1, 0)
             OR coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries') > ?1, 0)",
    )
    .bind(ABSURD)
    .fetch_one(pool)
    .await?;
    Ok(odd.then(|| "it has numbers that nobody gave".to_owned()))
}

/// Whether its header says that none may write here: SQLite looks at that when it writes.
fn asks_for_another_sqlite(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_ok() && header.starts_with(MAGIC) && header[18..].iter().any(|version| *version > 2)
}

/// What SQLite does not understand as it opens a file is in the file: no statement of ours is wrong.
fn opening(error: sqlx::Error) -> SpoolError {
    let is_plain = error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "1");
    if is_plain { SpoolError::Damaged(error.to_string()) } else { failure(error) }
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

/// Replaces a damaged file by a new one with whatever could still be read of it. What was found is noted in the new one, as untold.
///
/// Until the new one is complete the damaged one stays in its place, and is found there by whoever starts next.
pub(super) async fn replace(path: &Path, limit: u64, now: Timestamp, damage: &str) -> Result<(), SpoolError> {
    if is_half_replaced(path) {
        return resume(path, now).await;
    }
    let damaged = format!("{}{DAMAGED}{}", name(path), now.as_micros());
    prepare(path, limit, &damaged, damage).await?;
    finish(path, &damaged)
}

/// Goes on where somebody died who had the new file complete: it tells what the damaged one is called.
pub(super) async fn resume(path: &Path, now: Timestamp) -> Result<(), SpoolError> {
    let damaged = notes::latest(&beside(path, ".new")).await;
    finish(path, &damaged.unwrap_or_else(|| format!("{}{DAMAGED}{}", name(path), now.as_micros())))
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

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether somebody died between moving a damaged file aside and putting the new one, which is complete, in its place.
pub(super) fn is_half_replaced(path: &Path) -> bool {
    !path.exists() && beside(path, ".new").exists()
}

/// Moves the damaged file aside, itself first: as long as it is in its place nothing has happened.
fn finish(path: &Path, damaged: &str) -> Result<(), SpoolError> {
    let to = directory_of(path).join(damaged);
    let moved = || {
        for suffix in BESIDE {
            match fs::rename(beside(path, suffix), beside(&to, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => sync_directory(path)?,
            }
        }
        fs::rename(beside(path, ".new"), path)?;
        sync_directory(path)
    };
    moved().map_err(|error| unmoved(path, &error))
}

/// Makes the new file beside the damaged one: what can be read of it, and the note of what could not, on disk.
async fn prepare(path: &Path, limit: u64, damaged: &str, damage: &str) -> Result<(), SpoolError> {
    let (new, making) = (beside(path, ".new"), beside(path, ".making"));
    for suffix in BESIDE {
        remove(&beside(&making, suffix)).map_err(|error| unmoved(path, &error))?;
    }
    mend_header(path).map_err(|error| unmoved(path, &error))?;
    create(&making).map_err(|error| unmoved(path, &error))?;
    // What waited fits, however its pages come to be filled.
    let copy = open(&making, limit.saturating_mul(2)).await?;
    let note = notes::begin(&copy, path, damaged, damage).await?;
    let salvaged = salvage(path, &copy, limit).await?;
    notes::finish(&copy, note, &salvaged).await?;
    let busy: i64 = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&copy)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failure)?;
    copy.close().await;
    if busy != 0 {
        return Err(SpoolError::Failed(format!("{} is in use", making.display())));
    }
    for suffix in ["-wal", "-shm"] {
        remove(&beside(&making, suffix)).map_err(|error| unmoved(path, &error))?;
    }
    // It has its name once it is complete.
    fs::rename(making, new).and_then(|()| sync_directory(path)).map_err(|error| unmoved(path, &error))
}

/// Puts right what is the same in each header of ours: one wrong octet there, and SQLite reads nothing.
fn mend_header(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut header = [0; 60];
    if file.read_exact(&mut header).is_err() {
        return Ok(());
    }
    let mut right = header;
    for (at, octets) in HEADER {
        right[at..at + octets.len()].copy_from_slice(octets);
    }
    let wrong = header.iter().zip(&right).filter(|(is, should)| is != should).count();
    if (1..=MOST_WRONG).contains(&wrong) {
        file.rewind()?;
        file.write_all(&right)?;
        file.sync_data()?;
    }
    Ok(())
}

/// What a column says, whatever is left of it.
pub(super) fn text<I>(row: &SqliteRow, column: I) -> Result<String, sqlx::Error>
where
    I: ColumnIndex<SqliteRow>,
{
    row.try_get::<Vec<u8>, _>(column).map(|octets| String::from_utf8_lossy(&octets).into_owned())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
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

pub(super) fn directory_of(path: &Path) -> &Path {
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

pub(super) fn pool() -> SqlitePoolOptions {
    // One connection, and one writer: order is the point.
    sqlite::pool(1, PATIENCE)
}

/// Makes the file, with the rights it shall have, unless it is there; its name is on disk afterwards.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => File::open(directory)?.sync_all(),
    }
}
