//! The battery every store passes: nothing in it tells the engines apart.
//!
//! Each test gets a [`Stage`]: a fresh store of its own. What one engine alone promises is in `engines.rs`.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use radhold::store::{self, Store};
use sqlx::{Column as _, ColumnIndex, Decode, Row, Type};

use crate::postgres;

/// Runs each test against each engine. `migrated` stages have their schema, `created` ones have nothing yet.
macro_rules! battery {
    (@engine $stage:ident $($schema:ident { $($name:ident,)+ })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let this_test = concat!(module_path!(), "::", stringify!($name));
                let stage = super::Stage::$stage(this_test).await.$schema().await;
                super::$name(&stage).await;
            }
        )+)+
    };
    ($($tests:tt)+) => {
        mod sqlite {
            battery!(@engine sqlite $($tests)+);
        }
        mod postgres {
            battery!(@engine postgres $($tests)+);
        }
    };
}

mod acts;
mod bans;
mod codes;
mod commit;
mod engines;
mod enrolments;
mod fixtures;
mod guards;
mod outbox;
mod people;
mod records;
mod sessions;
mod trouble;
mod usage;

/// A store of a test's own, and the way to open it again as another node would.
struct Stage {
    store: Arc<dyn Store>,
    url: String,
    this_test: &'static str,
    home: Home,
}

/// What is removed with the stage.
#[expect(dead_code, reason = "held for its Drop")]
enum Home {
    Directory(tempfile::TempDir),
    Database(postgres::Database),
    /// Of the process that started this one.
    Elsewhere,
}

/// Set for a further process of a test: the store of the process that started it.
const SHARED_URL: &str = "RADHOLD_TEST_SHARED_STORE";

impl Stage {
    async fn sqlite(this_test: &'static str) -> Self {
        if let Ok(url) = std::env::var(SHARED_URL) {
            return Self::at(url, Home::Elsewhere, this_test).await;
        }
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/new/radhold.db", directory.path().display());
        Self::at(url, Home::Directory(directory), this_test).await
    }

    async fn postgres(this_test: &'static str) -> Self {
        if let Ok(url) = std::env::var(SHARED_URL) {
            return Self::at(url, Home::Elsewhere, this_test).await;
        }
        let database = postgres::Database::create().await;
        Self::at(database.url().to_owned(), Home::Database(database), this_test).await
    }

    async fn at(url: String, home: Home, this_test: &'static str) -> Self {
        Self { store: store::open(&url).await.unwrap(), url, this_test, home }
    }

    async fn created(self) -> Self {
        self
    }

    async fn migrated(self) -> Self {
        self.store.migrate().await.unwrap();
        self
    }

    /// The same store, opened once more.
    async fn another(&self) -> Arc<dyn Store> {
        store::open(&self.url).await.unwrap()
    }

    /// Runs this very test in another process, on this store; there, [`Stage::is_further_process`].
    fn further_process(&self) -> Child {
        let (_, name) = self.this_test.split_once("::").unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(SHARED_URL, &self.url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn is_further_process(&self) -> bool {
        matches!(self.home, Home::Elsewhere)
    }

    /// What no `Store` does: looks at it, or damages it. Columns must be text.
    async fn sql(&self, statement: &'static str) -> Vec<Vec<Option<String>>> {
        if self.url.starts_with("sqlite") {
            let pool = self.sqlite_pool().await;
            texts(sqlx::query(statement).fetch_all(&pool).await.unwrap())
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            texts(sqlx::query(statement).fetch_all(&pool).await.unwrap())
        }
    }

    /// Whether the engine itself refuses a statement.
    async fn refuses(&self, statement: &'static str) -> bool {
        if self.url.starts_with("sqlite") {
            sqlx::query(statement).execute(&self.sqlite_pool().await).await.is_err()
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&pool).await.is_err()
        }
    }

    /// The names of the columns of what is found.
    async fn columns(&self, statement: &'static str) -> Vec<String> {
        if self.url.starts_with("sqlite") {
            names(&sqlx::query(statement).fetch_one(&self.sqlite_pool().await).await.unwrap())
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            names(&sqlx::query(statement).fetch_one(&pool).await.unwrap())
        }
    }

    async fn sqlite_pool(&self) -> sqlx::SqlitePool {
        let path = self.url.strip_prefix("sqlite://").unwrap();
        sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap()
    }
}

fn texts<R: Row>(rows: Vec<R>) -> Vec<Vec<Option<String>>>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
{
    rows.iter().map(|row| (0..row.len()).map(|column| row.get(column)).collect()).collect()
}

fn names<R: Row>(row: &R) -> Vec<String> {
    row.columns().iter().map(|column| column.name().to_owned()).collect()
}
