//! The spool: what was acknowledged while the store was away, on this node's own disk until the store has it.
//!
//! A second SQLite file, written with a sync before [`Spool::put`] returns. Entries leave in the order they came, and only when
//! the store has kept them: an entry that is applied twice must change nothing, and that is the reader's business. Each entry
//! carries a checksum; one that does not match is set aside and never blocks the rest, and a file that is damaged as a whole is
//! moved aside with whatever could still be read carried over. Knows no store, no NAS and no session's state: packets and facts
//! lie here as they came.
//!
//! What follows if it is wrong: an entry that is reported kept but is not durable is an accounting record that was
//! acknowledged and lost (invariant 5).

mod entry;
mod file;
mod notes;
mod salvage;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool};

pub use entry::{AccountingPacket, Entry};

use crate::model::Timestamp;

/// Entries put down by one statement. Few sizes, so that few statements are prepared.
const AT_ONCE: [usize; 3] = [64, 8, 1];

/// Why the spool did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It has reached its bound, or the disk is full.
    #[error("the spool is full")]
    Full,
    /// The file is damaged as a whole: [`Spool::begin_anew`].
    #[error("the spool is damaged: {0}")]
    Damaged(String),
    /// The system refuses something else.
    #[error("the spool: {0}")]
    Failed(String),
}

/// An entry's number. Later entries have higher ones, and none is given twice.
pub type Number = i64;

/// What lies under a number: the entry, or why it cannot be understood.
pub type Taken = (Number, Result<Entry, String>);

/// How full it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Entries that wait for the store.
    pub waiting: u64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
    /// Entries set aside.
    pub set_aside: u64,
    /// Octets in use.
    pub used: u64,
    /// Octets there may be.
    pub limit: u64,
}

/// An entry that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its number.
    pub number: Number,
    /// When it came.
    pub at: Timestamp,
    /// Why it is here.
    pub reason: String,
    /// What is left of its description.
    pub about: String,
}

/// A spool file, open.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    limit: u64,
    pool: SqlitePool,
    waiting: AtomicU64,
    /// The file was replaced, and the new one could not be opened then.
    is_replaced: bool,
}

/// A damaged file that was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedAside {
    /// Where it lies now.
    pub to: PathBuf,
    /// What was wrong with it.
    pub damage: String,
    /// Entries that could still be read, and wait in the new file.
    pub saved: u64,
    /// Entries that could be read and make no sense: they are set aside in the new file.
    pub set_aside: u64,
    /// Entries that could be read and found no room in the new file: they are in the damaged one alone.
    pub no_room: u64,
    /// How many entries could not be read, at most; `None` when nothing tells.
    pub unreadable: Option<u64>,
}

/// A damaged file that lies beside the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where.
    pub file: PathBuf,
    /// How many of its entries can be read and found no room elsewhere; `None` when nobody knows.
    pub no_room: Option<u64>,
    /// How many of its entries could not be read, at most; `None` when nobody knows.
    pub unreadable: Option<u64>,
}

impl Spool {
    /// Opens the file, which is made when there is none, readable by its owner alone. It takes at most `limit` octets. One that
    /// is damaged is moved aside, under a name that tells `now`, and a new one is begun. Files that were moved aside, now or by
    /// somebody who died of it, are to be told of, and then [`Self::told`].
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be made or opened.
    pub async fn open(path: &Path, limit: u64, now: Timestamp) -> Result<(Self, Vec<MovedAside>), SpoolError> {
        if file::is_half_replaced(path) {
            file::resume(path, now).await?;
        }
        file::create(path).map_err(|error| SpoolError::Failed(format!("{}: {error}", path.display())))?;
        let spool = match Self::open_sound(path, limit).await {
            Err(SpoolError::Damaged(damage)) => {
                file::replace(path, limit, now, &damage).await?;
                Self::open_sound(path, limit).await?
            }
            sound => sound?,
        };
        let untold = spool.untold().await;
        Ok((spool, untold))
    }

    /// Opens the file to look at it: there must be one, and one that is damaged stays where it is.
    ///
    /// # Errors
    /// [`SpoolError`] when it cannot be opened, or is damaged.
    pub async fn look(path: &Path, limit: u64) -> Result<Self, SpoolError> {
        Self::open_sound(path, limit).await
    }

    /// Moves this file aside, since it is damaged, and begins a new one in its place. What came of it is to be told of, as by
    /// [`Self::open`].
    ///
    /// # Errors
    /// [`SpoolError`] when the system does not allow it. All else fails with [`SpoolError::Damaged`] then, until this is called
    /// again and succeeds.
    pub async fn begin_anew(&mut self, now: Timestamp, damage: String) -> Result<Vec<MovedAside>, SpoolError> {
        self.pool.close().await;
        let opened = match self.is_replaced {
            true => Self::open_sound(&self.path, self.limit).await,
            false => Err(SpoolError::Damaged(damage)),
        };
        *self = match opened {
            Err(SpoolError::Damaged(damage)) => {
                file::replace(&self.path, self.limit, now, &damage).await?;
                self.is_replaced = true;
                Self::open_sound(&self.path, self.limit).await?
            }
            opened => opened?,
        };
        Ok(self.untold().await)
    }

    /// Notes that people were told of what was moved aside. Where that fails they are told again at the next start.
    ///
    /// # Errors
    /// [`SpoolError`]; it counts as untold then.
    pub async fn told(&self) -> Result<(), SpoolError> {
        notes::told(&self.pool).await
    }

    /// Keeps entries, all or none. When this returns `Ok` they are on disk.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing was kept then.
    pub async fn put<'a>(&self, entries: impl IntoIterator<Item = &'a Entry> + Send) -> Result<(), SpoolError> {
        let rows: Vec<_> = entries.into_iter().map(Entry::to_row).collect();
        let count = rows.len() as u64;
        let mut tx = self.pool.begin().await.map_err(file::failure)?;
        let mut rest = rows.as_slice();
        // Each statement costs a visit to the connection's own thread, which is more than a row costs SQLite.
        while let Some(size) = AT_ONCE.into_iter().find(|size| *size <= rest.len()) {
            let (some, others) = rest.split_at(size);
            rest = others;
            let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO entries (at, about, packet, checksum) ");
            sql.push_values(some, |mut values, row| {
                values.push_bind(row.at).push_bind(&row.about).push_bind(row.packet).push_bind(&row.checksum);
            });
            sql.build().persistent(true).execute(&mut *tx).await.map_err(file::failure)?;
        }
        tx.commit().await.map_err(file::failure)?;
        self.waiting.fetch_add(count, Ordering::AcqRel);
        Ok(())
    }

    /// The oldest entries with numbers above `after`, at most so many, in the order they came. They stay.
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be read.
    pub async fn oldest(&self, after: Number, limit: u32) -> Result<Vec<Taken>, SpoolError> {
        const ALL: &str = "SELECT seq, at, about, packet, checksum FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        self.take(ALL, after, limit).await
    }

    /// The same of presses and outcomes alone: sessions that wait for them have deadlines.
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be read.
    pub async fn urgent(&self, after: Number, limit: u32) -> Result<Vec<Taken>, SpoolError> {
        const URGENT: &str = "SELECT seq, at, about, packet, checksum FROM entries
             WHERE length(packet) = 0 AND seq > ?1 ORDER BY seq LIMIT ?2";
        self.take(URGENT, after, limit).await
    }

    async fn take(&self, statement: &'static str, after: Number, limit: u32) -> Result<Vec<Taken>, SpoolError> {
        let rows = sqlx::query(statement).bind(after).bind(limit).fetch_all(&self.pool).await.map_err(file::failure)?;
        rows.iter().map(|row| Ok((row.try_get("seq").map_err(file::failure)?, entry::read(row)))).collect()
    }

    /// Strikes entries off that the store has kept.
    ///
    /// # Errors
    /// [`SpoolError`]; they stay then, and are brought again.
    pub async fn strike_off(&self, numbers: &[Number]) -> Result<(), SpoolError> {
        let deleted = sqlx::query("DELETE FROM entries WHERE seq IN (SELECT value FROM json_each(?1))")
            .bind(serde_json::json!(numbers))
            .execute(&self.pool)
            .await;
        if self.fewer(deleted.map_err(file::failure)?.rows_affected()) == 0 {
            file::shrink(&self.pool).await?;
        }
        Ok(())
    }

    /// Sets an entry aside, with the reason: it is reported, and waits no longer.
    ///
    /// # Errors
    /// [`SpoolError`]; it stays where it was then.
    pub async fn set_aside(&self, number: Number, reason: &str) -> Result<(), SpoolError> {
        // A damaged file may have brought a number twice, and an entry that cannot be set aside would be tried for ever.
        const ANOTHER: &str = "UPDATE sqlite_sequence SET seq = seq + 1
             WHERE name = 'entries' AND EXISTS (SELECT 1 FROM set_aside WHERE seq = ?1)";
        const ASIDE: &str = "INSERT INTO set_aside (seq, at, about, packet, checksum, reason)
             SELECT CASE WHEN EXISTS (SELECT 1 FROM set_aside WHERE seq = ?1)
                    THEN (SELECT seq FROM sqlite_sequence WHERE name = 'entries') ELSE seq END,
                    at, about, packet, checksum, ?2 FROM entries WHERE seq = ?1";
        let mut tx = self.pool.begin().await.map_err(file::failure)?;
        sqlx::query(ANOTHER).bind(number).execute(&mut *tx).await.map_err(file::failure)?;
        sqlx::query(ASIDE).bind(number).bind(reason).execute(&mut *tx).await.map_err(file::failure)?;
        let deleted = sqlx::query("DELETE FROM entries WHERE seq = ?1").bind(number).execute(&mut *tx).await;
        let gone = deleted.map_err(file::failure)?.rows_affected();
        tx.commit().await.map_err(file::failure)?;
        self.fewer(gone);
        Ok(())
    }

    /// Puts entries that were set aside back in their places; how many there were.
    ///
    /// # Errors
    /// [`SpoolError`]; they stay set aside then.
    pub async fn put_back(&self, numbers: &[Number]) -> Result<u64, SpoolError> {
        const BACK: &str = "INSERT INTO entries (seq, at, about, packet, checksum)
             SELECT CASE WHEN EXISTS (SELECT 1 FROM entries WHERE seq = ?1) THEN NULL ELSE seq END,
                    at, about, packet, checksum FROM set_aside WHERE seq = ?1";
        let count = self.take_from_aside(Some(BACK), numbers).await?;
        self.waiting.fetch_add(count, Ordering::AcqRel);
        Ok(count)
    }

    /// Removes entries that were set aside for good; how many there were.
    ///
    /// # Errors
    /// [`SpoolError`]; all of them stay then.
    pub async fn drop_set_aside(&self, numbers: &[Number]) -> Result<u64, SpoolError> {
        self.take_from_aside(None, numbers).await
    }

    async fn take_from_aside(&self, first: Option<&'static str>, numbers: &[Number]) -> Result<u64, SpoolError> {
        let mut tx = self.pool.begin().await.map_err(file::failure)?;
        let mut count = 0;
        for number in numbers {
            if let Some(statement) = first {
                sqlx::query(statement).bind(number).execute(&mut *tx).await.map_err(file::failure)?;
            }
            let deleted = sqlx::query("DELETE FROM set_aside WHERE seq = ?1").bind(number).execute(&mut *tx).await;
            count += deleted.map_err(file::failure)?.rows_affected();
        }
        tx.commit().await.map_err(file::failure)?;
        Ok(count)
    }

    /// What was set aside, the oldest first, at most so many.
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be read.
    pub async fn list_set_aside(&self, limit: u32) -> Result<Vec<SetAside>, SpoolError> {
        let rows = sqlx::query("SELECT seq, at, about, reason FROM set_aside ORDER BY seq LIMIT ?1")
            .bind(limit)
            .fetch_all(&self.pool)
            .await
            .map_err(file::failure)?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok(SetAside {
                number: row.try_get("seq")?,
                at: Timestamp::from_micros(row.try_get("at")?),
                reason: file::text(row, "reason")?,
                about: file::text(row, "about")?,
            })
        };
        rows.iter().map(|row| read(row).map_err(file::failure)).collect()
    }

    /// Damaged files that were moved aside, the oldest first, until somebody takes them away.
    ///
    /// # Errors
    /// [`SpoolError`] when the directory or the file cannot be read.
    pub async fn damaged(&self) -> Result<Vec<Damaged>, SpoolError> {
        let files = file::damaged(&self.path).map_err(|error| SpoolError::Failed(error.to_string()))?;
        let notes = notes::all(&self.pool, &self.path).await?;
        let known = |file: PathBuf| {
            let note = notes.iter().rev().map(|(moved, _)| moved).find(|moved| moved.to == file);
            Damaged { no_room: note.map(|it| it.no_room), unreadable: note.and_then(|it| it.unreadable), file }
        };
        Ok(files.into_iter().map(known).collect())
    }

    /// How many entries wait for the store.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Counts anew how many entries wait: `radhold spool retry` puts some back.
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be read.
    pub async fn recount(&self) -> Result<u64, SpoolError> {
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM entries").fetch_one(&self.pool).await.map_err(file::failure)?;
        self.waiting.store(waiting.unsigned_abs(), Ordering::Release);
        Ok(waiting.unsigned_abs())
    }

    /// How full it is.
    ///
    /// # Errors
    /// [`SpoolError`] when the file cannot be read.
    pub async fn fill(&self) -> Result<Fill, SpoolError> {
        let row = sqlx::query(
            "SELECT (SELECT page_count FROM pragma_page_count()) - (SELECT freelist_count FROM pragma_freelist_count())
                 AS pages,
                 (SELECT page_size FROM pragma_page_size()) AS page_size,
                 (SELECT min(at) FROM (SELECT at FROM entries ORDER BY seq LIMIT 1)) AS oldest,
                 (SELECT count(*) FROM set_aside) AS set_aside",
        )
        .fetch_one(&self.pool)
        .await
        .map_err(file::failure)?;
        let number = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs).map_err(file::failure);
        let oldest: Option<i64> = row.try_get("oldest").map_err(file::failure)?;
        Ok(Fill {
            waiting: self.waiting(),
            oldest: oldest.map(Timestamp::from_micros),
            set_aside: number("set_aside")?,
            used: number("pages")? * number("page_size")?,
            limit: self.limit,
        })
    }

    /// How large its file may grow, in octets.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Some wait no longer; how many are left. What another process put back was not counted.
    fn fewer(&self, gone: u64) -> u64 {
        let left = |waiting: u64| waiting.saturating_sub(gone);
        left(self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |it| Some(left(it))).unwrap_or_default())
    }

    async fn open_sound(path: &Path, limit: u64) -> Result<Self, SpoolError> {
        let pool = file::open(path, limit).await?;
        let spool = Self { path: path.to_owned(), limit, pool, waiting: AtomicU64::new(0), is_replaced: false };
        spool.recount().await?;
        Ok(spool)
    }

    /// What nobody was told of yet. A note that cannot be read keeps no spool from being opened.
    async fn untold(&self) -> Vec<MovedAside> {
        let notes = notes::all(&self.pool, &self.path).await.unwrap_or_default();
        notes.into_iter().filter(|(_, told)| !told).map(|(moved, _)| moved).collect()
    }
}

impl Fill {
    /// Whether it is time to do something about it: 80 % are in use.
    pub const fn is_alarming(&self) -> bool {
        self.used >= self.limit / 10 * 8
    }

    /// Whether there is room again: less than half is in use, since what is drained and filled at the same time goes up and down.
    pub const fn has_room(&self) -> bool {
        self.used < self.limit / 2
    }
}

#[cfg(test)]
mod tests;
