//! A PostgreSQL for tests, and a database of its own for each.
//!
//! Found in this order: the server at `RADHOLD_TEST_POSTGRES_URL` (its role must be allowed to create databases); Docker,
//! when an engine answers; a throw-away cluster of the binaries installed here. None of them is a failure, not a skip.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Executor as _};
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use crate::port::own_address;

const URL: &str = "RADHOLD_TEST_POSTGRES_URL";

/// A database of one test, dropped with this.
pub(crate) struct Database {
    url: String,
    name: String,
}

impl Database {
    /// A new, empty database.
    pub(crate) async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = server();
        let name = format!("radhold_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(server.url()).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        let mut url = url::Url::parse(server.url()).unwrap();
        url.set_path(&name);
        Self { url: url.into(), name }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A pool for looking at it as an analyst would.
    pub(crate) async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // On a thread with a runtime of its own: the test's own may be the one that is unwinding.
        let drop = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let dropped = block_on(async move {
            let mut connection = PgConnection::connect(server().url()).await?;
            connection.execute(drop).await?;
            connection.close().await
        });
        if let Err(error) = dropped {
            eprintln!("{} stays behind: {error}", self.name);
        }
    }
}

// -- the server

enum Server {
    Given { url: String },
    Docker { url: String, _container: Box<ContainerAsync<GenericImage>>, _remover: Child },
    Cluster { url: String, _keeper: Child },
}

impl Server {
    fn url(&self) -> &str {
        match self {
            Self::Given { url } | Self::Docker { url, .. } | Self::Cluster { url, .. } => url,
        }
    }
}

/// The one server all tests of this binary share.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        if let Ok(url) = std::env::var(URL) {
            return Server::Given { url };
        }
        match block_on(docker()) {
            Ok(server) => server,
            Err(why) => cluster().unwrap_or_else(|error| {
                panic!(
                    "no PostgreSQL to test with: {URL} is not set; Docker: {why}; local binaries: {error}. \
                     Set {URL}, start Docker, or apt-get install postgresql"
                )
            }),
        }
    })
}

fn block_on<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send,
{
    std::thread::scope(|scope| {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        scope.spawn(move || runtime().block_on(future)).join().unwrap()
    })
}

/// A process that holds something of ours until its input ends. It ends when this process does, however that comes about,
/// which no destructor of ours could promise (statics are not dropped, and a test binary may be killed).
pub(crate) fn keeper(script: &str, arguments: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", script, "keeper"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh is everywhere")
}

async fn docker() -> Result<Server, String> {
    const PASSWORD: &str = "only-for-tests";
    let container = GenericImage::new("postgres", "17-alpine")
        .with_exposed_port(5432.tcp())
        // The image starts the server twice: the first time without TCP, to set itself up.
        .with_wait_for(WaitFor::message_on_stdout("PostgreSQL init process complete"))
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .with_cmd(["-c", "max_connections=300"])
        .start()
        .await
        .map_err(|error| error.to_string())?;
    let host = container.get_host().await.map_err(|error| error.to_string())?;
    let port = container.get_host_port_ipv4(5432).await.map_err(|error| error.to_string())?;
    let url = format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres");
    answers(&url).await?;
    let remover = keeper("trap '' INT TERM; read -r _; docker rm -f -v \"$1\" >/dev/null 2>&1", &[container.id()]);
    Ok(Server::Docker { url, _container: Box::new(container), _remover: remover })
}

// -- a throw-away cluster

fn cluster() -> Result<Server, String> {
    let binaries = binaries().ok_or("initdb is neither on PATH nor under /usr/lib/postgresql")?;
    let account = account()?;
    let home = tempfile::Builder::new().prefix("radhold-pg-").tempdir().map_err(|error| error.to_string())?;
    prepare(home.path(), &binaries, account.as_ref())?;
    let at = own_address();
    let url = format!("postgres://radhold:{}@{at}/postgres", password(home.path()));
    let mut keeper = run(&home.keep(), &binaries, account.as_ref(), at);
    let started = block_on(async {
        tokio::select! {
            answer = answers(&url) => answer,
            () = ended(&mut keeper) => Err("postgres ended at once".to_owned()),
        }
    });
    match started {
        Ok(()) => Ok(Server::Cluster { url, _keeper: keeper }),
        Err(error) => {
            drop(keeper.stdin.take());
            let log = keeper.wait_with_output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            Err(format!("{error}: {}", log.unwrap_or_default()))
        }
    }
}

async fn ended(process: &mut Child) {
    while let Ok(None) = process.try_wait() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An account without privileges: PostgreSQL refuses to run as root.
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) fn account() -> Result<Option<Account>, String> {
    if fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid() != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| {
            let fields: Vec<&str> =
                passwd.lines().map(|line| line.split(':').collect()).find(|f: &Vec<&str>| f[0] == name)?;
            Some(Account { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
        })
        .map(Some)
        .ok_or_else(|| "running as root, and there is neither an account postgres nor nobody".to_owned())
}

pub(crate) fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> = packaged.map(|version| version.path().join("bin")).collect();
    packaged.sort_by_key(|path| {
        let version = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_owned);
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let has_both = |directory: &PathBuf| directory.join("initdb").exists() && directory.join("postgres").exists();
    on_path.into_iter().flatten().chain(packaged).find(has_both)
}

pub(crate) fn run_as(account: Option<&Account>, program: &Path) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(Account { uid, gid }) = account {
        words.extend(["setpriv".into(), format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
    }
    words.push(program.display().to_string());
    words
}

/// The directory's random name is as good as any password, and only its owner can see into it.
pub(crate) fn password(home: &Path) -> String {
    home.file_name().unwrap().to_string_lossy().replace("radhold-pg-", "")
}

pub(crate) fn prepare(home: &Path, binaries: &Path, account: Option<&Account>) -> Result<(), String> {
    let password_file = home.join("password");
    fs::write(&password_file, password(home)).map_err(|error| error.to_string())?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).map_err(|error| error.to_string())?;
    if let Some(Account { uid, gid }) = account {
        for path in [home, &password_file] {
            chown(path, Some(*uid), Some(*gid)).map_err(|error| error.to_string())?;
        }
    }
    let words = run_as(account, &binaries.join("initdb"));
    let initdb = Command::new(&words[0])
        .args(&words[1..])
        .args(["--encoding=UTF8", "--locale=C.UTF-8", "--username=radhold", "--auth=scram-sha-256"])
        .arg(format!("--pwfile={}", password_file.display()))
        .arg("--pgdata")
        .arg(home.join("data"))
        .current_dir("/")
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if initdb.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&initdb.stderr).into_owned()) }
}

/// Runs the server under a keeper that stops it and removes its directory when we are gone. `fsync` stays on: what is
/// tested is durable commits.
fn run(home: &Path, binaries: &Path, account: Option<&Account>, at: SocketAddr) -> Child {
    const SCRIPT: &str = r#"
        trap '' INT TERM
        home=$1
        shift
        exec 3<&0
        "$@" >"$home/log" 2>&1 &
        server=$!
        (read -r _ <&3; kill -INT "$server") 2>/dev/null &
        watcher=$!
        wait "$server"
        kill -KILL "$watcher" 2>/dev/null
        tail -n 20 "$home/log"
        rm -rf "$home"
    "#;
    let home = home.display().to_string();
    let mut arguments = vec![home.clone()];
    arguments.extend(run_as(account, &binaries.join("postgres")));
    arguments.extend(["-D".into(), format!("{home}/data"), "-k".into(), home, "-p".into(), at.port().to_string()]);
    let listen = format!("listen_addresses={}", at.ip());
    for setting in [&*listen, "max_connections=300", "shared_buffers=32MB"] {
        arguments.extend(["-c".into(), setting.into()]);
    }
    keeper(SCRIPT, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until the server takes connections.
pub(crate) async fn answers(url: &str) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..300 {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection.close().await.map_err(|error| error.to_string()),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(last)
}
