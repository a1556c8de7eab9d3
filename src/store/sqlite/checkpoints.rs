//! Brings what is in the WAL into the file, beside the writer. SQLite does that by itself within the commit that finds a thousand pages in the
//! WAL, and whoever waits for that commit waits for two syncs and all those pages besides.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// From a change until what was changed is brought over: pages that are changed again meanwhile are written once.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of the WAL from which on it is begun anew rather than let grow.
const LONG: i64 = 32_768;
/// Pages of the WAL from which on SQLite does it within a commit all the same, should nobody else. For `wal_autocheckpoint`.
pub(super) const TOO_LONG: &str = "65536";

/// A descriptor of the file to sync it by. It is never closed: with any descriptor of a file that a process closes go all locks it has on the
/// file, SQLite's too.
pub(super) fn own_descriptor(path: &Path) -> io::Result<&'static File> {
    Ok(Box::leak(Box::new(File::open(path)?)))
}

/// Until the log is written and this process ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// SQLITE_IOERR_FSYNC, as sqlx spells it.
const FSYNC_FAILED: &str = "1034";

/// Works until the store is gone. `written` is told of each transaction.
pub(super) async fn run(mut written: watch::Receiver<()>, file: &'static File, own: SqlitePool, writer: SqlitePool) {
    while written.changed().await.is_ok() {
        tokio::select! {
            () = sleep(PAUSE) => (),
            () = gone(written.clone()) => return,
        }
        let Some(Reached { pages, brought_over }) = bring_over(&own).await else { continue };
        // Where somebody has been reading for long, the WAL cannot be begun anew.
        if pages < LONG || brought_over < pages - pages / 8 {
            continue;
        }
        // While others write, the end of the WAL is never reached; on the writer's own connection it is, and little is left for that:
        // neither pages nor, since SQLite syncs the file only where it reaches the end, what was written to it before. The first sync
        // takes long, and what comes meanwhile is some thousand pages: they are brought over before too.
        if sync(file).await && bring_over(&own).await.is_some() && sync(file).await {
            bring_over(&writer).await;
        }
    }
}

/// Whether all that was written to the file has reached the disk. Ends this process where it has not, or may not have.
async fn sync(file: &'static File) -> bool {
    match spawn_blocking(|| file.sync_data()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => end(&error).await,
        // The runtime ends.
        Err(_) => false,
    }
}

/// Ends this process as `kill -9` does. A sync that has failed is not made good by the next one: the system says once that pages did not
/// reach the disk, and then takes them for clean (PostgreSQL ends itself for this too). They are in the WAL still, and SQLite, which notes down
/// how much of that it has brought over, begins with its first page again only when it is opened while nobody else has it open; a store that
/// is closed brings over the rest and deletes it.
async fn end(error: &(dyn std::error::Error + Sync)) -> ! {
    let help = "nothing is lost: start radhold again, and all of the WAL is brought over; look at the disk first (dmesg, smartctl)";
    tracing::error!(%error, help, "what was written to the SQLite file may not have reached the disk: radhold ends");
    // By a thread of its own, as a rule.
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

/// Waits for nobody. `None` when it did not work this time. Ends this process where the file could not be synced.
async fn bring_over(pool: &SqlitePool) -> Option<Reached> {
    // Whether somebody else was at it, pages in the WAL, pages brought over.
    let checkpoint = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(pool).await;
    match checkpoint {
        Ok((busy, pages, brought_over)) => (busy == 0).then_some(Reached { pages, brought_over }),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(FSYNC_FAILED) => end(&error).await,
        Err(error) => {
            // What is in the WAL stays there. Whoever writes need not meet the same, and the WAL would grow without a word.
            tracing::warn!(%error, "what is in the WAL could not be brought over; it stays there for now");
            None
        }
    }
}
