//! Brings what is in the WAL into the file, beside the writer; nobody else does. SQLite by itself would do it within the commit that finds a
//! thousand pages in the WAL: whoever waits for that commit waits for two syncs and all those pages besides, and it says nothing of a sync that
//! fails. Here that ends the process.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{SqliteConnection, SqliteExecutor, SqlitePool};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// From a change until what was changed is brought over: pages that are changed again meanwhile are written once.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of the WAL from which on it is begun anew rather than let grow: 512 MiB. While others write each time costs 30 to 50 ms in which commits
/// are slow, and at 24,000 records a second it takes six seconds to come so far.
const LONG: i64 = 131_072;
/// What was not told of, or took longer than [`PAUSE`] to commit, is brought over after so long.
const SELDOM: Duration = Duration::from_secs(10);
/// Until the log is written and this process ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// SQLITE_IOERR_FSYNC, as sqlx spells it.
const FSYNC_FAILED: &str = "1034";

/// A descriptor of the file to sync it by: for writing, since some file systems sync no other. It is never closed: with any descriptor of a file
/// that a process closes go all locks it has on the file, SQLite's too.
pub(super) fn own_descriptor(path: &Path) -> io::Result<&'static File> {
    Ok(Box::leak(Box::new(File::options().read(true).write(true).open(path)?)))
}

/// Works until the store is gone. `written` is told as transactions begin.
pub(super) async fn run(mut written: watch::Receiver<()>, file: &'static File, own: SqlitePool, writer: SqlitePool) {
    while !matches!(timeout(SELDOM, written.changed()).await, Ok(Err(_))) {
        tokio::select! {
            () = sleep(PAUSE) => (),
            () = gone(written.clone()) => return,
        }
        let Ok(mut own) = own.acquire().await else { continue };
        if let Err(error) = look_after(file, &mut own, &writer).await {
            // Should this process be ending already, it is not the last to close the file.
            std::mem::forget(own);
            end(&error).await;
        }
    }
}

/// Brings over what there is, and has the WAL begun anew where it is long. Fails when a sync has.
async fn look_after(file: &'static File, own: &mut SqliteConnection, writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let Some(Reached { pages, brought_over }) = bring_over(&mut *own).await? else { return Ok(()) };
    // Where somebody has been reading for long, the WAL cannot be begun anew.
    if pages < LONG || brought_over < pages - pages / 8 {
        return Ok(());
    }
    // While others write, the end of the WAL is never reached; on the writer's own connection it is, and little is left for that:
    // neither pages nor, since SQLite syncs the file only where it reaches the end, what was written to it before. The first sync
    // takes long, and what comes meanwhile is some thousand pages: they are brought over before too.
    if sync(file).await? && bring_over(&mut *own).await?.is_some() && sync(file).await? {
        bring_over(writer).await?;
    }
    Ok(())
}

/// Sees to it that all that was written to the file is on the disk; whether there was time for that.
async fn sync(file: &'static File) -> Result<bool, sqlx::Error> {
    match spawn_blocking(|| file.sync_data()).await {
        Ok(synced) => Ok(synced.map(|()| true)?),
        // The runtime ends.
        Err(_) => Ok(false),
    }
}

/// Ends this process without closing the file. A sync that has failed is not made good by the next one: the system says once, to each
/// descriptor, that pages did not reach the disk, and then takes them for clean (PostgreSQL ends itself for this too). They are in the WAL still, and
/// SQLite, which notes down how much of that it has brought over, begins with its first page again only when the file is opened while nobody
/// else has it open; whoever closes it last brings over the rest, and deletes it.
async fn end(error: &sqlx::Error) -> ! {
    let help = "look at the disk (dmesg, smartctl); what was acknowledged is in the WAL, and all of that is brought over once every \
        radhold command that has the file open has ended, and one is started again";
    tracing::error!(%error, help, "a sync of SQLite's file, or of its WAL, has failed: this process ends");
    // The log is written by a thread of its own, as a rule.
    sleep(FAREWELL).await;
    std::process::exit(1);
}

async fn gone(mut written: watch::Receiver<()>) {
    while written.changed().await.is_ok() {}
}

/// How far it went, in pages of the WAL.
struct Reached {
    pages: i64,
    brought_over: i64,
}

/// Waits for nobody. `None` when it did not work this time; fails when a sync has.
async fn bring_over(by: impl SqliteExecutor<'_>) -> Result<Option<Reached>, sqlx::Error> {
    // Whether somebody else was at it, pages in the WAL, pages brought over.
    let checkpoint = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(by).await;
    match checkpoint {
        Ok((busy, pages, brought_over)) => Ok((busy == 0).then_some(Reached { pages, brought_over })),
        Err(error) if code(&error).as_deref() == Some(FSYNC_FAILED) => Err(error),
        Err(error) => {
            // What is in the WAL stays there. Whoever writes need not meet the same, and the WAL would grow without a word.
            tracing::warn!(%error, "what is in the WAL could not be brought over; it stays there for now");
            Ok(None)
        }
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}
