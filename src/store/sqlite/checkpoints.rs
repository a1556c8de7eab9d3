//! Brings what is in the WAL into the file, beside the writer. SQLite does that by itself within the commit that finds a thousand pages in the
//! WAL, and whoever waits for that commit waits for two syncs and all those pages besides.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// From a change until what was changed is brought over: pages that are changed again meanwhile are written once.
const PAUSE: Duration = Duration::from_millis(250);
/// Pages of the WAL from which on it is begun anew rather than let grow.
const LONG: i64 = 16_384;
/// Pages of the WAL from which on SQLite does it within a commit all the same, should nobody else. For `wal_autocheckpoint`.
pub(super) const TOO_LONG: &str = "65536";

/// Works until the store is gone. `written` is told of each transaction in the file at `path`.
pub(super) async fn run(mut written: watch::Receiver<()>, path: PathBuf, own: SqlitePool, writer: SqlitePool) {
    let mut file = None;
    while written.changed().await.is_ok() {
        tokio::select! {
            () = sleep(PAUSE) => (),
            () = gone(written.clone()) => return,
        }
        // While others write, the end of the WAL is never reached; on the writer's own connection it is, and little is left for that:
        // neither pages nor, since SQLite syncs the file only where it reaches the end, what was written to it before.
        if bring_over(&own).await.is_some_and(|pages| pages >= LONG) {
            if let Err(error) = sync(&mut file, &path).await {
                tracing::debug!(%error, "the writer syncs the file");
            }
            bring_over(&writer).await;
        }
    }
}

/// Has what was written to the file reach the disk.
async fn sync(file: &mut Option<&'static File>, path: &Path) -> io::Result<()> {
    let file = match *file {
        Some(file) => file,
        // Never closed: with any descriptor of a file that a process closes go all locks it has on the file, SQLite's too.
        None => *file.insert(Box::leak(Box::new(File::open(path)?))),
    };
    spawn_blocking(|| file.sync_data()).await?
}

async fn gone(mut written: watch::Receiver<()>) {
    while written.changed().await.is_ok() {}
}

/// Waits for nobody. How many pages are in the WAL; `None` when it did not work this time.
async fn bring_over(pool: &SqlitePool) -> Option<i64> {
    // Whether somebody else was at it, pages in the WAL, pages brought over.
    let checkpoint = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(pool).await;
    match checkpoint {
        Ok((busy, pages, _)) => (busy == 0).then_some(pages),
        Err(error) => {
            // What it is about shows at the next write.
            tracing::debug!(%error, "the WAL stays as it is for now");
            None
        }
    }
}
