//! What can still be read of a damaged file, copied into a new one. Rows are taken in whatever order they come, and no number is
//! believed: one that cannot be right, or that another has, is replaced. Only room can be missing.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::Path;
use std::slice;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::file::{MAGIC, PAGE, PATIENCE, failure, text};
use super::{Number, SpoolError, entry, file};

/// Entries that are saved in one transaction.
const CHUNK: usize = 512;
/// A higher number was given by nobody. SQLite takes the highest there can be for a full disk.
pub(super) const ABSURD: Number = 1 << 62;
/// Above what was given, where the file does not tell what was.
const UNKNOWN: Number = 1 << 40;
/// No entry takes fewer octets of a page.
const SMALLEST: u64 = 64;

/// What was found, and where it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// Entries that wait in the new file.
    pub(super) saved: u64,
    /// Those that could be read and make no sense: they are set aside in the new file. Those that were set aside before are no news.
    pub(super) set_aside: u64,
    /// Those that could be read, and found no room.
    pub(super) no_room: u64,
    /// Those that could not be read: no more than these, since numbers between may have been struck off. `None` when nothing tells.
    pub(super) unreadable: Option<u64>,
}

/// A table of the damaged file.
struct Table {
    upwards: &'static str,
    downwards: &'static str,
    check: &'static str,
    was_aside: bool,
}

const TABLES: [Table; 2] = [
    Table {
        upwards: "SELECT * FROM entries WHERE seq >= ?1 ORDER BY seq",
        downwards: "SELECT * FROM entries WHERE seq <= ?1 ORDER BY seq DESC",
        check: "PRAGMA quick_check('entries')",
        was_aside: false,
    },
    Table {
        upwards: "SELECT * FROM set_aside WHERE seq >= ?1 ORDER BY seq",
        downwards: "SELECT * FROM set_aside WHERE seq <= ?1 ORDER BY seq DESC",
        check: "PRAGMA quick_check('set_aside')",
        was_aside: true,
    },
];

/// Copies what can be read of a damaged file.
pub(super) async fn salvage(from: &Path, copy: &SqlitePool, limit: u64) -> Result<Salvaged, SpoolError> {
    // A file that is shorter than it says is read too, as far as it goes.
    let options = SqliteConnectOptions::new().filename(from).busy_timeout(PATIENCE).pragma("writable_schema", "ON");
    let most = pages(from, limit).map(|pages| pages.saturating_mul(PAGE / SMALLEST));
    // Nothing of the file is read for that.
    let damaged = file::pool().connect_with(options).await.map_err(failure)?;
    let salvaged = copy_all(&damaged, copy, most).await;
    damaged.close().await;
    salvaged
}

async fn copy_all(damaged: &SqlitePool, copy: &SqlitePool, most: Option<u64>) -> Result<Salvaged, SpoolError> {
    let given =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetch_optional(damaged).await;
    let given: Option<Number> = given.ok().flatten().filter(|given| (1..=ABSURD).contains(given));
    // Here already, so that it is there when there is no room left.
    sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('entries', ?1)")
        .bind(given.unwrap_or_default())
        .execute(copy)
        .await
        .map_err(failure)?;
    let highest = given.unwrap_or(UNKNOWN);
    let mut salvage =
        Salvage { copy, most, highest, found: Found { next: highest + 1, ..Found::default() }, full: false };
    let mut missing_from = None;
    for table in &TABLES {
        if let Some(from) = salvage.take(damaged, table).await? {
            missing_from = Some(from.min(missing_from.unwrap_or(from)));
        }
    }
    // What SQLite gives next is above all of these.
    let last = if given.is_some() || salvage.found.next > highest + 1 { salvage.found.next - 1 } else { 0 };
    sqlx::query("UPDATE sqlite_sequence SET seq = max(seq, ?1, (SELECT coalesce(max(seq), 0) FROM set_aside)) WHERE name = 'entries'")
        .bind(last)
        .execute(copy)
        .await
        .map_err(failure)?;
    let Found { saved, set_aside, no_room, .. } = salvage.found;
    let unreadable = match missing_from {
        Some(from) => salvage.missing(from, given).await?,
        None => Some(0),
    };
    Ok(Salvaged { saved, set_aside, no_room, unreadable })
}

struct Salvage<'a> {
    copy: &'a SqlitePool,
    /// Entries the damaged file can have held.
    most: Option<u64>,
    /// A higher number is wrong.
    highest: Number,
    found: Found,
    full: bool,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    rows: u64,
    saved: u64,
    set_aside: u64,
    no_room: u64,
    /// Rows above the highest number there should be.
    above: u64,
    /// What the next is called that cannot keep its number.
    next: Number,
    /// What is not in the copy under the number it had, so that it is known when it is seen again.
    apart: HashMap<Number, Vec<u64>>,
    /// Numbers that found no room.
    left: HashSet<Number>,
}

/// How far the rows of a statement could be read.
struct Reached {
    end: bool,
    last: Option<Number>,
    highest: Option<Number>,
}

impl Salvage<'_> {
    /// Keeps a table's rows: from its beginning up to the damage, from its end back to it, and what lies between damage and damage.
    /// From which number on some may be missing.
    async fn take(&mut self, damaged: &SqlitePool, table: &Table) -> Result<Option<Number>, SpoolError> {
        let mut lowest = Number::MAX;
        let up = self.read(damaged, table, table.upwards, Number::MIN, None, &mut lowest).await?;
        if up.end {
            // Without an error a page may still have fewer rows than it had.
            let sound = sqlx::query_scalar::<_, String>(table.check).fetch_one(damaged).await;
            let from = if lowest == Number::MAX { 1 } else { lowest };
            return Ok((!sound.is_ok_and(|sound| sound == "ok")).then_some(from));
        }
        let down = self.read(damaged, table, table.downwards, Number::MAX, None, &mut lowest).await?;
        let most = self.most.and_then(|most| Number::try_from(most).ok()).unwrap_or_default();
        let from = up.last.unwrap_or_default();
        let end = down.last.unwrap_or(if self.highest == UNKNOWN { from.saturating_add(most) } else { self.highest });
        // What waits are the last numbers that were given, and the larger the gap, the longer the steps.
        let (mut at, mut failed) = (from.max(end.saturating_sub(most)), 0);
        while !down.end && at < end {
            at += 1 + failed / 16;
            let between = self.read(damaged, table, table.upwards, at, Some(end), &mut lowest).await?;
            match between.highest {
                _ if between.end => break,
                Some(reached) if reached >= at => (at, failed) = (reached, 0),
                _ => failed += 1,
            }
        }
        Ok(Some(if up.last.is_some() { lowest } else { 1 }))
    }

    /// Keeps what a statement gives, until it fails, or comes to a row that is known.
    async fn read(
        &mut self,
        damaged: &SqlitePool,
        table: &Table,
        statement: &'static str,
        at: Number,
        until: Option<Number>,
        lowest: &mut Number,
    ) -> Result<Reached, SpoolError> {
        let mut reached = Reached { end: false, last: None, highest: None };
        let mut rows = sqlx::query(statement).bind(at).fetch(damaged);
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let row = match rows.try_next().await {
                Ok(Some(row)) => Row::of(&row, table.was_aside),
                Ok(None) => {
                    reached.end = true;
                    break;
                }
                Err(error) if is_damage(&error) => break,
                Err(error) => return Err(failure(error)),
            };
            if until == Some(row.number) {
                reached.end = true;
                break;
            }
            if (1..=self.highest).contains(&row.number) {
                reached.last = Some(row.number);
                *lowest = row.number.min(*lowest);
                if until.is_none_or(|until| row.number < until) {
                    reached.highest = reached.highest.max(Some(row.number));
                }
            }
            chunk.push(row);
            if chunk.len() == CHUNK {
                self.keep(&mut chunk).await?;
                chunk.clear();
            }
        }
        self.keep(&mut chunk).await?;
        Ok(reached)
    }

    /// Keeps these rows, as many as there is room for.
    async fn keep(&mut self, rows: &mut [Row]) -> Result<(), SpoolError> {
        if rows.is_empty() {
            return Ok(());
        }
        // SQLite leaves each page half empty where rows come backwards.
        rows.sort_by_key(|row| row.number);
        match self.put(rows).await {
            Err(SpoolError::Full) => (),
            done => return done,
        }
        for row in rows {
            match self.put(slice::from_ref(row)).await {
                Err(SpoolError::Full) => {
                    self.full = true;
                    self.leave(row).await?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Puts these rows into the copy, all or none; those that make no sense are set aside in it.
    async fn put(&mut self, rows: &[Row]) -> Result<(), SpoolError> {
        if self.full {
            return Err(SpoolError::Full);
        }
        let mut new = Found { next: self.found.next, ..Found::default() };
        let mut tx = self.copy.begin().await.map_err(failure)?;
        for row in rows {
            let has_sense = (1..=self.highest).contains(&row.number);
            if !(has_sense && row.insert(row.number, &mut tx).await?) {
                if row.is_in(&mut tx).await? == Some(true) || self.found.knows(row) || new.knows(row) {
                    continue;
                }
                row.insert(new.next, &mut tx).await?;
                new.next += 1;
                new.above += u64::from(row.number > self.highest);
                new.apart.entry(row.number).or_default().push(row.digest());
            }
            new.rows += 1;
            new.saved += u64::from(row.reason.is_none());
            new.set_aside += u64::from(row.reason.is_some() && !row.was_aside);
        }
        tx.commit().await.map_err(failure)?;
        self.found.add(new);
        Ok(())
    }

    /// Counts a row that there is no room for: it stays in the file that is moved aside.
    async fn leave(&mut self, row: &Row) -> Result<(), SpoolError> {
        let there = row.is_in(&mut *self.copy.acquire().await.map_err(failure)?).await?;
        if there == Some(true) || self.found.knows(row) {
            return Ok(());
        }
        if there.is_none() && (1..=self.highest).contains(&row.number) {
            self.found.left.insert(row.number);
        }
        self.found.rows += 1;
        self.found.above += u64::from(row.number > self.highest);
        self.found.no_room += 1;
        self.found.apart.entry(row.number).or_default().push(row.digest());
        Ok(())
    }

    /// How many numbers from this one on are nowhere: no more than the file can have held.
    async fn missing(&self, from: Number, given: Option<Number>) -> Result<Option<u64>, SpoolError> {
        const THERE: &str = "SELECT (SELECT count(*) FROM entries WHERE seq BETWEEN ?1 AND ?2)
             + (SELECT count(*) FROM set_aside WHERE seq BETWEEN ?1 AND ?2)";
        let most = self.most.map(|most| most.saturating_sub(self.found.rows));
        // Of two rows above it, one may be right.
        let Some(given) = given.filter(|_| self.found.above < 2) else { return Ok(most) };
        let there: i64 =
            sqlx::query_scalar(THERE).bind(from).bind(given).fetch_one(self.copy).await.map_err(failure)?;
        let left = self.found.left.iter().filter(|number| (from..=given).contains(*number)).count() as u64;
        let missing = (given - from + 1).max(0).unsigned_abs().saturating_sub(there.unsigned_abs() + left);
        Ok(Some(most.map_or(missing, |most| most.min(missing))))
    }
}

impl Found {
    fn knows(&self, row: &Row) -> bool {
        self.apart.get(&row.number).is_some_and(|known| known.contains(&row.digest()))
    }

    fn add(&mut self, new: Self) {
        self.rows += new.rows;
        self.saved += new.saved;
        self.set_aside += new.set_aside;
        self.above += new.above;
        self.next = new.next;
        for (number, digests) in new.apart {
            self.apart.entry(number).or_default().extend(digests);
        }
    }
}

/// A row, as far as it could be read.
#[derive(Hash)]
struct Row {
    number: Number,
    at: i64,
    /// As octets: what is damaged may be no text.
    about: Vec<u8>,
    packet: Vec<u8>,
    checksum: Vec<u8>,
    was_aside: bool,
    /// Why it waits for nobody.
    reason: Option<String>,
}

impl Row {
    fn of(row: &SqliteRow, was_aside: bool) -> Self {
        // By their places: what a column is called may be what is damaged.
        let octets = |column: usize| row.try_get::<Vec<u8>, _>(column).unwrap_or_default();
        Self {
            number: row.try_get(0).unwrap_or_default(),
            at: row.try_get(1).unwrap_or_default(),
            about: octets(2),
            packet: octets(3),
            checksum: octets(4),
            was_aside,
            reason: if was_aside { Some(text(row, 5).unwrap_or_default()) } else { entry::read(row).err() },
        }
    }

    /// Puts it into the copy, unless the number is another's.
    async fn insert(&self, number: Number, copy: &mut SqliteConnection) -> Result<bool, SpoolError> {
        const ENTRY: &str = "INSERT OR IGNORE INTO entries (seq, at, about, packet, checksum)
             SELECT ?1, ?2, CAST(?3 AS TEXT), ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM set_aside WHERE seq = ?1)";
        const ASIDE: &str = "INSERT OR IGNORE INTO set_aside (seq, at, about, packet, checksum, reason)
             SELECT ?1, ?2, CAST(?3 AS TEXT), ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM entries WHERE seq = ?1)";
        let insert = sqlx::query(if self.reason.is_some() { ASIDE } else { ENTRY });
        let insert = insert.bind(number).bind(self.at).bind(&self.about).bind(&self.packet).bind(&self.checksum);
        let insert = if let Some(reason) = &self.reason { insert.bind(reason) } else { insert };
        Ok(insert.execute(copy).await.map_err(failure)?.rows_affected() > 0)
    }

    /// Whether the copy has this very row under its number; `None` when it has nothing there.
    async fn is_in(&self, copy: &mut SqliteConnection) -> Result<Option<bool>, SpoolError> {
        sqlx::query_scalar(
            "SELECT at = ?2 AND about = CAST(?3 AS TEXT) AND packet = ?4 AND checksum = ?5 FROM entries WHERE seq = ?1
             UNION ALL
             SELECT at = ?2 AND about = CAST(?3 AS TEXT) AND packet = ?4 AND checksum = ?5 FROM set_aside WHERE seq = ?1",
        )
        .bind(self.number)
        .bind(self.at)
        .bind(&self.about)
        .bind(&self.packet)
        .bind(&self.checksum)
        .fetch_optional(copy)
        .await
        .map_err(failure)
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Whether this is the file's fault, and not that of the moment (SQLite's ERROR, IOERR, CORRUPT, TOOBIG, NOTADB).
fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 1 | 10 | 11 | 18 | 26))
}

/// How many pages a file has, or says it had; `None` when it is no database any more.
fn pages(path: &Path, limit: u64) -> Option<u64> {
    let mut header = [0; 32];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let said = header.strip_prefix(MAGIC)?.last_chunk().map(|said| u64::from(u32::from_be_bytes(*said)))?;
    let size = |suffix| fs::metadata(file::beside(path, suffix)).map_or(0, |file| file.len() / PAGE);
    Some(said.min(limit / PAGE).max(size("") + size("-wal")))
}
