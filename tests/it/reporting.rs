//! Reports: every query of docs/reporting.md and of the dashboard, every `radhold report`, and the `radacct` view beside
//! FreeRADIUS's own rows.

mod command;
mod dashboard;
mod data;
mod document;
mod radacct;

use radhold::store;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Column as _, PgPool, Row as _, SqlitePool, TypeInfo as _, ValueRef as _};
use tempfile::TempDir;

use crate::postgres::Database;

/// A store with the known data in it, and a connection to ask it as an analyst would.
struct Stage {
    url: String,
    dir: TempDir,
    _database: Option<Database>,
}

impl Stage {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/radhold.sqlite", dir.path().display());
        Self::filled(url, dir, None).await
    }

    async fn postgres() -> Self {
        let database = Database::create().await;
        Self::filled(database.url().to_owned(), tempfile::tempdir().unwrap(), Some(database)).await
    }

    async fn filled(url: String, dir: TempDir, database: Option<Database>) -> Self {
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        data::fill(store.as_ref()).await;
        Self { url, dir, _database: database }
    }

    /// The rows of a query, each an object; times to the second and whole numbers as such, whatever the engine.
    async fn rows(&self, query: &str) -> Vec<Value> {
        let query = query.trim().trim_end_matches(';');
        let rows = if self.url.starts_with("sqlite") {
            let path = self.url.strip_prefix("sqlite://").unwrap();
            let pool =
                SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).read_only(true)).await.unwrap();
            let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(&pool).await;
            rows.unwrap_or_else(|error| panic!("{query}\n{error}")).iter().map(sqlite_row).collect()
        } else {
            let pool = PgPool::connect(&self.url).await.unwrap();
            postgres_rows(&pool, query).await
        };
        rows.into_iter().map(plain).collect()
    }
}

async fn postgres_rows(pool: &PgPool, query: &str) -> Vec<Value> {
    let whole = format!("SELECT to_jsonb(answer) FROM ({query}) AS answer");
    let rows: Result<Vec<Value>, _> = sqlx::query_scalar(AssertSqlSafe(whole)).fetch_all(pool).await;
    rows.unwrap_or_else(|error| panic!("{query}\n{error}"))
}

fn sqlite_row(row: &sqlx::sqlite::SqliteRow) -> Value {
    let cell = |index: usize| {
        let raw = row.try_get_raw(index).unwrap();
        match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" => row.get::<i64, _>(index).into(),
            "REAL" => row.get::<f64, _>(index).into(),
            _ => row.get::<String, _>(index).into(),
        }
    };
    let object: Map<String, Value> =
        row.columns().iter().map(|column| (column.name().to_owned(), cell(column.ordinal()))).collect();
    Value::Object(object)
}

/// The same value in the same words.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
            if number.fract() == 0.0 && number.abs() < 1e15 { (number as i64).into() } else { number.into() }
        }
        Value::String(text) => match text.strip_suffix("+00:00").or_else(|| text.strip_suffix(".000Z")) {
            Some(time) => format!("{time}Z").into(),
            None => text.into(),
        },
        other => other,
    }
}

/// Takes a number of seconds out that depends on when the test runs, having looked at it.
fn take_age(row: &mut Value, name: &str, at_least: i64) {
    let age = row.as_object_mut().unwrap().remove(name).unwrap();
    let secs = age.as_i64().unwrap_or_else(|| panic!("{name}: {age}"));
    assert!((at_least..at_least + 3600).contains(&secs), "{name}: {secs}");
}

/// Each test on each engine.
macro_rules! on_both {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::reporting::Stage::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&crate::reporting::Stage::postgres().await).await;
            })+
        }
    };
}
use on_both;
