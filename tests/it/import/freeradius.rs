//! FreeRADIUS 3.2 with its SQL module on a PostgreSQL database of its own (Debian's packages `freeradius` and
//! `freeradius-postgresql`): their schema, their queries, their policy for Acct-Unique-Session-Id.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

use crate::postgres::Database;

const RADDB: &str = "/etc/freeradius/3.0";

/// A FreeRADIUS, running, and its database.
pub(crate) struct FreeRadius {
    child: Child,
    pub(crate) auth: SocketAddr,
    pub(crate) accounting: SocketAddr,
    database: Database,
    _dir: TempDir,
}

/// What it shares with radclient.
pub(crate) const SECRET: &str = "testing123";

impl FreeRadius {
    /// Starts one on an empty schema of its own, filled with these statements first.
    pub(crate) async fn start(fill: &'static str) -> Self {
        let mut database = Database::create().await;
        let pool = database.pool().await;
        let schema = fs::read_to_string(format!("{RADDB}/mods-config/sql/main/postgresql/schema.sql")).expect(
            "Debian's package freeradius-config is needed, and the right to read its files; ./tests/run installs it",
        );
        sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await.unwrap();
        sqlx::raw_sql(fill).execute(&pool).await.unwrap();
        pool.close().await;
        // Between our choice of ports and its use of them, somebody else may take one.
        for _ in 0..5 {
            match Self::try_start(database) {
                Ok(server) => return server,
                Err(back) => database = back,
            }
        }
        panic!("FreeRADIUS did not start; its words are above")
    }

    fn try_start(database: Database) -> Result<Self, Database> {
        let dir = tempfile::tempdir().unwrap();
        let free = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (auth, accounting) = (free(), free());
        let [auth, accounting] = [auth, accounting].map(|socket| socket.local_addr().unwrap());
        let configuration = configuration(dir.path().to_str().unwrap(), database.url(), auth, accounting);
        fs::write(dir.path().join("radiusd.conf"), configuration).unwrap();
        let mut child = Command::new("/usr/sbin/freeradius")
            .args(["-f", "-l", "stdout", "-n", "radiusd", "-d"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("FreeRADIUS is needed; ./tests/run installs it");
        let mut words = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = vec![];
        let ready =
            words.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("Ready to process"));
        if !ready {
            eprintln!("{}", said.join("\n"));
            child.wait().unwrap();
            return Err(database);
        }
        // Read on, or it would stop at a full pipe.
        std::thread::spawn(move || words.for_each(drop));
        Ok(Self { child, auth, accounting, database, _dir: dir })
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

impl Drop for FreeRadius {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(dir: &str, url: &str, auth: SocketAddr, accounting: SocketAddr) -> String {
    let url = url::Url::parse(url).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap_or(5432));
    let (user, password, database) = (url.username(), url.password().unwrap_or_default(), &url.path()[1..]);
    let (auth, accounting) = (auth.port(), accounting.port());
    format!(
        r#"
name = radiusd
logdir = "{dir}"
run_dir = "{dir}"
raddbdir = "{dir}"
libdir = /usr/lib/freeradius
max_requests = 16384
security {{
    allow_vulnerable_openssl = yes
    reject_delay = 0
    status_server = yes
}}
client loopback {{
    ipaddr = 127.0.0.1
    secret = {SECRET}
}}
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
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {auth}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {accounting}
    }}
    authorize {{
        sql
        chap
        mschap
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    preacct {{
        acct_unique
    }}
    accounting {{
        sql
    }}
}}
"#
    )
}
