//! What is noted in a file of the damaged one that it took the place of. The table is made when there is something to note: a file
//! that is full has no room for it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Row as _, SqlitePool};

use super::file::{self, PATIENCE, failure, text};
use super::salvage::Salvaged;
use super::{MovedAside, SpoolError};

// Nothing is struck off here: a file that is gone is shown no more.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS moved_aside (
     note       INTEGER PRIMARY KEY,
     file       TEXT NOT NULL,
     damage     TEXT NOT NULL,
     saved      INTEGER NOT NULL,
     set_aside  INTEGER NOT NULL,
     no_room    INTEGER NOT NULL,
     unreadable INTEGER,
     told       INTEGER NOT NULL
 ) STRICT";
const ALL: &str = "SELECT * FROM moved_aside ORDER BY note";

/// A damaged file's note, and whether it was told.
pub(super) type Note = (MovedAside, bool);

/// Makes the note of a file that is about to be moved aside, so that it has its place, below those of before; its number.
pub(super) async fn begin(copy: &SqlitePool, path: &Path, damaged: &str, damage: &str) -> Result<i64, SpoolError> {
    sqlx::query(SCHEMA).execute(copy).await.map_err(failure)?;
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).pragma("writable_schema", "ON");
    if let Ok(before) = file::pool().connect_with(options).await {
        // Where they cannot be read, those files are shown without their numbers.
        let notes = all(&before, path).await.unwrap_or_default();
        before.close().await;
        for (moved, told) in notes {
            let salvaged = Salvaged {
                saved: moved.saved,
                set_aside: moved.set_aside,
                no_room: moved.no_room,
                unreadable: moved.unreadable,
            };
            let note = insert(copy, &file::name(&moved.to), &moved.damage, told).await?;
            finish(copy, note, &salvaged).await?;
        }
    }
    insert(copy, damaged, damage, false).await
}

async fn insert(copy: &SqlitePool, damaged: &str, damage: &str, told: bool) -> Result<i64, SpoolError> {
    let inserted = sqlx::query(
        "INSERT INTO moved_aside (file, damage, saved, set_aside, no_room, told) VALUES (?1, ?2, 0, 0, 0, ?3)",
    )
    .bind(damaged)
    .bind(damage)
    .bind(told)
    .execute(copy)
    .await;
    Ok(inserted.map_err(failure)?.last_insert_rowid())
}

/// Notes what was found.
pub(super) async fn finish(copy: &SqlitePool, note: i64, salvaged: &Salvaged) -> Result<(), SpoolError> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query("UPDATE moved_aside SET saved = ?2, set_aside = ?3, no_room = ?4, unreadable = ?5 WHERE note = ?1")
        .bind(note)
        .bind(number(salvaged.saved))
        .bind(number(salvaged.set_aside))
        .bind(number(salvaged.no_room))
        .bind(salvaged.unreadable.map(number))
        .execute(copy)
        .await
        .map_err(failure)?;
    Ok(())
}

/// What the file is called that was to be moved aside when this one was made; `None` when nothing tells.
pub(super) async fn latest(new: &Path) -> Option<String> {
    // It is complete, and nothing shall come to lie beside it.
    let options = SqliteConnectOptions::new().filename(new).immutable(true);
    let pool = file::pool().connect_with(options).await.ok()?;
    let notes = all(&pool, new).await;
    pool.close().await;
    notes.ok()?.pop().filter(|(_, told)| !told).map(|(moved, _)| file::name(&moved.to))
}

/// All notes of a spool, the oldest first.
pub(super) async fn all(pool: &SqlitePool, path: &Path) -> Result<Vec<Note>, SpoolError> {
    const THERE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'moved_aside'";
    let there: i64 = sqlx::query_scalar(THERE).fetch_one(pool).await.map_err(failure)?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(ALL).fetch_all(pool).await.map_err(failure)?;
    rows.iter().map(|row| read(row, path).map_err(failure)).collect()
}

/// Everything is told now.
pub(super) async fn told(pool: &SqlitePool) -> Result<(), SpoolError> {
    sqlx::query("UPDATE moved_aside SET told = 1 WHERE told = 0").execute(pool).await.map_err(failure)?;
    Ok(())
}

fn read(row: &SqliteRow, path: &Path) -> Result<Note, sqlx::Error> {
    let number = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    let moved = MovedAside {
        to: file::directory_of(path).join(file::name(Path::new(&text(row, "file")?))),
        damage: text(row, "damage")?,
        saved: number("saved")?,
        set_aside: number("set_aside")?,
        no_room: number("no_room")?,
        unreadable: row.try_get::<Option<i64>, _>("unreadable")?.map(i64::unsigned_abs),
    };
    Ok((moved, row.try_get("told")?))
}
