//! FreeRADIUS with its SQL module on a PostgreSQL database of its own (Debian's package `freeradius-postgresql` too): their schema,
//! their queries, their policy for Acct-Unique-Session-Id.

use std::fs;
use std::net::SocketAddr;

use sqlx::{AssertSqlSafe, PgPool};

use crate::freeradius::Daemon;
pub(crate) use crate::freeradius::SECRET;
use crate::postgres::Database;

const RADDB: &str = "/etc/freeradius/3.0";

/// A FreeRADIUS, running, and its database.
pub(crate) struct FreeRadius {
    _daemon: Daemon,
    pub(crate) auth: SocketAddr,
    pub(crate) accounting: SocketAddr,
    database: Database,
}

const SECTIONS: &str = r"
    authorize {
        sql
        chap
        mschap
        pap
    }
    preacct {
        acct_unique
    }
    accounting {
        sql
    }
";

impl FreeRadius {
    /// Starts one on an empty schema of its own, filled with these statements first.
    pub(crate) async fn start(fill: &'static str) -> Self {
        let database = Database::create().await;
        let pool = database.pool().await;
        let schema = fs::read_to_string(format!("{RADDB}/mods-config/sql/main/postgresql/schema.sql")).expect(
            "Debian's package freeradius-config is needed, and the right to read its files; ./tests/run installs it",
        );
        sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await.unwrap();
        sqlx::raw_sql(fill).execute(&pool).await.unwrap();
        pool.close().await;
        let daemon = Daemon::start(|_| (modules(database.url()), SECTIONS.to_owned()));
        Self { auth: daemon.auth, accounting: daemon.accounting, _daemon: daemon, database }
    }

    /// Where its database is.
    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    /// A pool for looking at it.
    pub(crate) async fn pool(&self) -> PgPool {
        self.database.pool().await
    }
}

fn modules(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap_or(5432));
    let (user, password, database) = (url.username(), url.password().unwrap_or_default(), &url.path()[1..]);
    format!(
        r#"
modules {{
    expr {{
        safe_characters = "@abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_: /"
    }}
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    sql {{
        dialect = "postgresql"
        driver = "rlm_sql_postgresql"
        radius_db = "host={host} port={port} dbname={database} user={user} password={password}"
        acct_table1 = "radacct"
        acct_table2 = "radacct"
        postauth_table = "radpostauth"
        authcheck_table = "radcheck"
        groupcheck_table = "radgroupcheck"
        authreply_table = "radreply"
        groupreply_table = "radgroupreply"
        usergroup_table = "radusergroup"
        client_table = "nas"
        read_groups = yes
        read_clients = no
        group_attribute = "SQL-Group"
        pool {{
            start = 1
            min = 1
            max = 4
            spare = 1
            uses = 0
            lifetime = 0
            idle_timeout = 60
        }}
        $INCLUDE {RADDB}/mods-config/sql/main/postgresql/queries.conf
    }}
}}
policy {{
    $INCLUDE {RADDB}/policy.d/accounting
}}
"#
    )
}
