//! Connections to SQLite files, as the store and the spool use them. Knows no statement of theirs.

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqlitePoolOptions};

/// A pool of connections that are opened when they are first needed, and waited for so long.
///
/// A connection to a file does not wear out, and one to memory holds what is in it.
pub fn pool(connections: u32, patience: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(may_be_lent(connection)))))
}

/// Whether a connection may be lent; one that may not is closed, and another opened.
///
/// On a full disk and some other errors SQLite rolls the whole transaction back by itself (<https://sqlite.org/lang_transaction.html>,
/// section 3). SQLx's own ROLLBACK then fails, and it goes on counting that transaction: `BEGIN IMMEDIATE` is refused for ever, and what
/// else begins is a savepoint, whose release need not commit anything. One that was dropped is rolled back before its connection waits here.
fn may_be_lent(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{query, query_scalar};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A row that fills a page.
    const ROW: &str = "INSERT INTO rows VALUES (randomblob(4000))";

    async fn file(directory: &tempfile::TempDir) -> sqlx::SqlitePool {
        let options = SqliteConnectOptions::new().filename(directory.path().join("file")).create_if_missing(true);
        let pool = pool(1, PATIENCE).connect_with(options.pragma("max_page_count", "16")).await.unwrap();
        query("CREATE TABLE rows (row BLOB)").execute(&pool).await.unwrap();
        pool
    }

    #[tokio::test]
    async fn what_is_committed_after_the_disk_was_full_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let pool = file(&directory).await;
        let full = loop {
            let mut tx = pool.begin().await.unwrap();
            match query(ROW).execute(&mut *tx).await {
                Ok(_) => tx.commit().await.unwrap(),
                Err(error) => break error,
            }
        };
        assert!(full.to_string().contains("full"), "{full}");
        let mut other = SqliteConnection::connect(directory.path().join("file").to_str().unwrap()).await.unwrap();
        query("DELETE FROM rows").execute(&mut other).await.unwrap();

        // One is given up, and the next is kept all the same.
        drop(pool.begin_with("BEGIN IMMEDIATE").await.expect("SQLx knows that there is none any more"));
        let mut tx = pool.begin().await.unwrap();
        query(ROW).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let kept: i64 = query_scalar("SELECT count(*) FROM rows").fetch_one(&mut other).await.unwrap();
        assert_eq!(kept, 1);
    }

    #[tokio::test]
    async fn a_connection_whose_transaction_is_dropped_stays() {
        let directory = tempfile::tempdir().unwrap();
        let pool = file(&directory).await;
        query("CREATE TEMP TABLE mine (row BLOB)").execute(&pool).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        query(ROW).execute(&mut *tx).await.unwrap();
        drop(tx);
        let rows: i64 = query_scalar("SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM mine)")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(rows, 0, "it is the same, and what was dropped is rolled back");
    }
}
