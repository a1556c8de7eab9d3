//! PostgreSQL that goes away, comes back, is cut off, or is another host from now on: logins go on, and nothing acknowledged is lost.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use radhold::radius::Code;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::fleet::Fleet;
use crate::loss::{self, JUDGE_POSTGRESQL, Load, Nases, Row, judge, until_drained};
use crate::port::own_address;
use crate::postgres::{self, Account};
use crate::radhold::{PATIENCE, Radhold, message};

const PASSWORD: &str = "s3cret-pass";
/// Less than any NAS waits for its answer.
const QUICK: Duration = Duration::from_secs(4);
/// So long a NAS waits for one login, its repetitions and all: pppd's radius.so with three tries, and most access servers.
const NAS_PATIENCE: Duration = Duration::from_secs(10);
/// `long` is a load of its own, and more of it.
const FORM: &str = "RADHOLD_TEST_FAILOVER";

/// A PostgreSQL of a test's own, which it may stop.
pub(crate) struct Engine {
    home: TempDir,
    pub(crate) at: SocketAddr,
    account: Option<Account>,
    binaries: PathBuf,
    child: Option<Child>,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let engine = Self::bare();
        postgres::prepare(engine.home.path(), &engine.binaries, engine.account.as_ref()).unwrap();
        let access = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";
        fs::write(engine.home.path().join("data/pg_hba.conf"), access).unwrap();
        engine.running().await
    }

    /// A standby of this one, streaming.
    async fn standby(&self) -> Self {
        let standby = Self::bare();
        if let Some(Account { uid, gid }) = standby.account {
            std::os::unix::fs::chown(standby.home.path(), Some(uid), Some(gid)).unwrap();
        }
        let copied = standby
            .command("pg_basebackup")
            .args([
                "-h",
                &self.at.ip().to_string(),
                "-U",
                "radhold",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
                "-p",
                &self.at.port().to_string(),
            ])
            .arg("-D")
            .arg(standby.home.path().join("data"))
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.running().await
    }

    fn bare() -> Self {
        // Where they really are: what stands on PATH may be links to some of them.
        let binaries = postgres::binaries().expect("PostgreSQL's own binaries are needed; ./tests/run installs them");
        let binaries = binaries.join("initdb").canonicalize().unwrap().parent().unwrap().to_owned();
        let home = tempfile::Builder::new().prefix("radhold-pg-").tempdir().unwrap();
        Self { home, at: own_address(), account: postgres::account().unwrap(), binaries, child: None }
    }

    async fn running(mut self) -> Self {
        self.run().await;
        self
    }

    /// Starts it, or starts it again, and waits until it answers.
    async fn run(&mut self) {
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let home = self.home.path();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(home.join("data"))
            .arg("-k")
            .arg(home)
            .args(["-p", &self.at.port().to_string(), "-c", "shared_buffers=32MB"])
            .args(["-c", &format!("listen_addresses={}", self.at.ip())])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        postgres::answers(&self.address("postgres")).await.unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let words = postgres::run_as(self.account.as_ref(), &self.binaries.join(program));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir("/");
        command
    }

    /// `pg_ctl stop -m immediate`: as a crash.
    fn crash(&mut self) {
        let mut child = self.child.take().unwrap();
        assert!(Command::new("kill").args(["-s", "QUIT", &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// Waits until its standby has all that is committed, and commits wait for it.
    async fn until_followed(&self) {
        let mut connection = PgConnection::connect(&self.address("postgres")).await.unwrap();
        let begun = Instant::now();
        let followed =
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync')";
        while !sqlx::query_scalar::<_, bool>(followed).fetch_one(&mut connection).await.unwrap() {
            assert!(begun.elapsed() < PATIENCE * 2, "no standby follows");
            sleep(Duration::from_millis(100)).await;
        }
        connection.close().await.unwrap();
    }

    fn host(&self) -> String {
        self.at.to_string()
    }

    pub(crate) fn address(&self, database: &str) -> String {
        format!("postgres://radhold@{}/{database}", self.host())
    }

    async fn sql(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.address("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
        }
    }
}

/// A node, the fleet that asks it, and alice, who is known.
async fn scene(url: &str, more: &str) -> (Radhold, Fleet) {
    let (socket, address) = Fleet::place().await;
    let head = format!("store.url = \"{url}\"\n{more}");
    let toml = format!("[server]\nreject_delay = \"0s\"\n{}", Fleet::section(address));
    let radhold = block_in_place(|| Radhold::start_with(&head, &toml));
    block_in_place(|| {
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        // Whoever logged in before that is heard is nobody known after it. A node that heard nothing yet, when she was added, never will.
        let begun = Instant::now();
        while !radhold.counters().contains_key("news.user") && begun.elapsed() < QUICK {}
    });
    let fleet = Fleet::start(socket, vec![radhold.auth], vec![radhold.accounting]);
    (radhold, fleet)
}

/// Logs in at once, however often; how long the slowest took.
async fn logins(fleet: &Fleet, from: u32, count: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for nth in from..from + count {
        let begun = Instant::now();
        let code = fleet.try_login(nth, "alice", PASSWORD, 0, QUICK).await;
        assert_eq!(code, Some(Code::AccessAccept), "login {nth} after {:?}", begun.elapsed());
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

async fn until_login(fleet: &Fleet, user: &str, so: Option<Code>) {
    let begun = Instant::now();
    while fleet.try_login(1, user, PASSWORD, 0, QUICK).await != so {
        assert!(begun.elapsed() < PATIENCE * 2, "{user} never got {so:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_down_who_is_known_goes_on_and_the_others_are_not_answered() {
    let mut engine = Engine::start().await;
    let (radhold, fleet) = scene(&engine.address("postgres"), "").await;
    logins(&fleet, 1, 3).await;
    assert_eq!(fleet.try_login(9, "bob", PASSWORD, 0, QUICK).await, Some(Code::AccessReject), "nobody of that name");
    engine.crash();
    let slowest = logins(&fleet, 10, 20).await;
    assert!(slowest < QUICK / 2, "{slowest:?}");
    radhold.wait_for_log(0, |line| message(line).contains("PostgreSQL is away"));
    assert_eq!(fleet.try_login(9, "bob", PASSWORD, 0, QUICK).await, None, "so that the NAS tries its next server");
    assert!(logins(&fleet, 40, 5).await < QUICK / 2);
    assert!(radhold.counters()["access.store-away"] >= 1);
    engine.run().await;
    until_login(&fleet, "bob", Some(Code::AccessReject)).await;
    radhold.wait_for_log(0, |line| message(line).contains("PostgreSQL is back"));
    assert_eq!(fleet.login(60, "alice", PASSWORD, 0).await, Code::AccessAccept);
    fleet.account(60, 1, 0, 0).await;
    radhold.until_state("held");
}

/// A table that somebody has locked, as ALTER TABLE does: who is known goes on, and so does everything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_users_are_locked_only_those_wait_who_are_not_known() {
    const OTHERS: u32 = 30;
    let engine = Engine::start().await;
    // Statements that hang leave some. A sync that takes long is not what is looked for.
    let settings = "store.connections = 6\nspool.after = \"3s\"\n";
    let (radhold, fleet) = scene(&engine.address("postgres"), settings).await;
    block_in_place(|| {
        radhold.add_user("carol", PASSWORD, &["--store-as", "clear"]);
        let begun = Instant::now();
        while radhold.counters()["news.user"] < 2 && begun.elapsed() < QUICK {}
    });
    logins(&fleet, 1, 3).await;
    let mut lock = PgConnection::connect(&engine.address("postgres")).await.unwrap();
    lock.execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let known = async {
        // While others come and come.
        sleep(Duration::from_millis(1500)).await;
        let slowest = logins(&fleet, 10, 20).await;
        fleet.login(31, "alice", PASSWORD, 0).await;
        fleet.account(31, 1, 0, 0).await;
        lock.close().await.unwrap();
        slowest
    };
    let others = async {
        let mut others = JoinSet::new();
        for nth in 0..OTHERS {
            let (fleet, user) = (fleet.clone(), if nth == 0 { "carol".to_owned() } else { format!("nobody{nth}") });
            others.spawn(async move { (nth, fleet.try_login(100 + nth, &user, PASSWORD, 0, QUICK).await) });
            sleep(Duration::from_millis(50)).await;
        }
        others.join_all().await
    };
    let (slowest, others) = tokio::join!(known, others);
    for (nth, code) in others {
        assert_eq!(code, Some(if nth == 0 { Code::AccessAccept } else { Code::AccessReject }), "{nth}");
    }
    assert!(slowest < QUICK / 2, "{slowest:?}");
    let counters = radhold.counters();
    assert!(counters["access.slow-look"] >= 1, "each was asked for alone: {counters:#?}");
    let away = ["spool.kept", "store.breaker-opened", "access.store-away"];
    assert!(away.iter().all(|label| !counters.contains_key(*label)), "{counters:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_rejects_those_who_are_not_known_and_bounds_those_who_are() {
    let mut engine = Engine::start().await;
    let settings = "store.while_away = \"reject\"\nstore.users_while_away = \"3s\"\n";
    let (radhold, fleet) = scene(&engine.address("postgres"), settings).await;
    logins(&fleet, 1, 1).await;
    engine.crash();
    radhold.wait_for_log(0, |line| message(line).contains("PostgreSQL is away"));
    until_login(&fleet, "bob", Some(Code::AccessReject)).await;
    // Her time runs out as well.
    until_login(&fleet, "alice", Some(Code::AccessReject)).await;
    radhold.wait_for_log(0, |line| line["outcome"] == "store-away");
}

/// A wire between a node and PostgreSQL that can be cut: nothing comes through then, and nobody is told.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    pub(crate) cut: watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, to, is_cut.clone()));
            }
        });
        Self { address, cut }
    }
}

/// Carries a connection until it ends; one that lived through a cut never comes to life again.
async fn carry(mut near: TcpStream, to: SocketAddr, mut cut: watch::Receiver<bool>) {
    let carried = async {
        let dead = *cut.borrow();
        if dead {
            return std::future::pending::<()>().await;
        }
        let Ok(mut far) = TcpStream::connect(to).await else { return };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => (),
            _ = async { cut.wait_for(|cut| *cut).await.map(drop) } => {
                // Both ends stay open, and hear nothing.
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 10, carried).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_between_one_node_and_postgresql_is_survived() {
    let engine = Engine::start().await;
    let wire = Wire::to(engine.at).await;
    let (radhold, fleet) = scene(&format!("postgres://radhold@{}/postgres", wire.address), "").await;
    logins(&fleet, 1, 3).await;
    wire.cut.send_replace(true);
    // From the very moment on, while no connection has yet been found dead.
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(8) {
        slowest = slowest.max(logins(&fleet, 10, 5).await);
        sleep(Duration::from_millis(50)).await;
    }
    println!("the slowest login while the wire was cut: {slowest:?}");
    assert!(slowest < QUICK / 2, "{slowest:?}");
    radhold.wait_for_log(0, |line| message(line).contains("PostgreSQL is away"));
    assert_eq!(fleet.try_login(9, "bob", PASSWORD, 0, QUICK).await, None);
    wire.cut.send_replace(false);
    until_login(&fleet, "bob", Some(Code::AccessReject)).await;
    assert_eq!(fleet.login(60, "alice", PASSWORD, 0).await, Code::AccessAccept);
    fleet.account(60, 1, 0, 0).await;
    radhold.until_state("held");
    assert!(radhold.counters()["store.breaker-opened"] >= 1);
}

/// What others say while a node is cut off is said to nobody there; and she is remembered, so that nobody would ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_a_node_was_cut_off_counts_when_it_is_back() {
    let engine = Engine::start().await;
    let wire = Wire::to(engine.at).await;
    let (radhold, fleet) = scene(&format!("postgres://radhold@{}/postgres", wire.address), "").await;
    logins(&fleet, 1, 2).await;
    wire.cut.send_replace(true);
    radhold.wait_for_log(0, |line| message(line).contains("PostgreSQL is away"));
    let beside = format!("store.url={}", engine.address("postgres"));
    let from_elsewhere = |arguments: &[&str], stdin: &str| {
        let ran = block_in_place(|| radhold.cli(&[arguments, &["--set", &beside]].concat(), stdin));
        assert_eq!(ran.code, 0, "{arguments:?} {ran:?}");
    };
    from_elsewhere(&["user", "set", "alice", "--disable"], "");
    from_elsewhere(&["nas", "add", "edge", "--address", "127.0.0.9", "--secret-stdin"], "edge-secret-edge\n");
    logins(&fleet, 10, 1).await;
    let from = radhold.log().len();
    wire.cut.send_replace(false);
    until_login(&fleet, "alice", Some(Code::AccessReject)).await;
    radhold.wait_for_log(from, |line| message(line).contains("list of NASes has changed"));
}

/// A firewall that was restarted has forgotten all connections, and tells nobody; PostgreSQL was there all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_network_has_lost_keep_nobody_from_the_store() {
    let engine = Engine::start().await;
    let wire = Wire::to(engine.at).await;
    let url = format!("postgres://radhold@{}/postgres", wire.address);
    // Few, so that all are lost; and a long wait for new ones, so that the breaker has no reason to open.
    let (radhold, fleet) = scene(&url, "store.connections = 2\nstore.patience = \"8s\"\n").await;
    logins(&fleet, 1, 2).await;
    fleet.login(2, "alice", PASSWORD, 0).await;
    fleet.account(2, 1, 0, 0).await;
    wire.cut.send_replace(true);
    // Whatever would use a connection finds it dead, and the spool takes this.
    fleet.account(2, 3, 7, 0).await;
    wire.cut.send_replace(false);
    until_drained(&radhold).await;
    until_login(&fleet, "bob", Some(Code::AccessReject)).await;
    fleet.account(2, 2, 9, 0).await;
    let session = block_in_place(|| radhold.until_state("closed"));
    assert_eq!(session["counters"]["input_octets"], 9);
}

/// A host that stands still for a moment: PostgreSQL begins a transaction that nobody waits for any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_begins_when_it_was_given_up_is_ended() {
    let engine = Engine::start().await;
    let (radhold, fleet) = scene(&engine.address("postgres"), "").await;
    fleet.login(1, "alice", PASSWORD, 0).await;
    fleet.account(1, 1, 0, 0).await;
    let mut watch = PgConnection::connect(&engine.address("postgres")).await.unwrap();
    let backends: Vec<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )
    .fetch_all(&mut watch)
    .await
    .unwrap();
    let signal = |name: &str| {
        let pids = backends.iter().map(ToString::to_string);
        assert!(Command::new("kill").args(["-s", name]).args(pids).status().unwrap().success());
    };
    signal("STOP");
    // The session is remembered, so that the batch begins with BEGIN; and what is given up goes to the spool.
    fleet.account(1, 3, 7, 0).await;
    assert!(radhold.counters()["spool.kept"] >= 1);
    signal("CONT");
    until_drained(&radhold).await;
    for _ in 0..30 {
        let left: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 second'",
        )
        .fetch_one(&mut watch)
        .await
        .unwrap();
        assert_eq!(left, 0, "whoever gets that connection commits nothing");
        sleep(Duration::from_millis(100)).await;
    }
    fleet.account(1, 2, 9, 0).await;
    let session = block_in_place(|| radhold.until_state("closed"));
    assert_eq!(session["counters"]["input_octets"], 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_promoted_under_load_goes_on_and_nothing_acknowledged_is_lost() {
    let mut primary = Engine::start().await;
    let mut standby = primary.standby().await;
    // Acknowledged means: at the standby too. Without this PostgreSQL itself may lose what it acknowledged.
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    primary.sql("SELECT pg_reload_conf()").await;
    let url =
        format!("postgres://radhold@{},{}/postgres?target_session_attrs=read-write", primary.host(), standby.host());
    let (radhold, fleet) = scene(&url, "").await;
    logins(&fleet, 1, 1).await;

    let going = Arc::new(AtomicBool::new(true));
    let mut load = JoinSet::new();
    for worker in 0..8_u32 {
        let (fleet, going) = (fleet.clone(), Arc::clone(&going));
        load.spawn(async move {
            let mut acknowledged = Vec::new();
            for nth in (0..).map(|round| 1000 + worker * 100_000 + round) {
                if !going.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(fleet.login(nth, "alice", PASSWORD, 0).await, Code::AccessAccept);
                fleet.account(nth, 1, 0, 0).await;
                fleet.account(nth, 3, 500 + nth % 7, 0).await;
                acknowledged.push(nth);
            }
            acknowledged
        });
    }
    sleep(Duration::from_secs(3)).await;
    block_in_place(|| primary.crash());
    let crashed = Instant::now();
    sleep(Duration::from_millis(500)).await;
    standby.sql("SELECT pg_promote()").await;
    radhold.wait_for_log(0, |line| message(line).contains("written at another host"));
    println!("another host {:?} after the crash", crashed.elapsed());
    sleep(Duration::from_secs(3)).await;
    going.store(false, Ordering::Relaxed);
    let acknowledged: Vec<u32> = load.join_all().await.into_iter().flatten().collect();
    println!("{} sessions, each with Start and Interim-Update acknowledged", acknowledged.len());
    // What was acknowledged meanwhile may lie in the spool still.
    until_drained(&radhold).await;

    let mut connection = PgConnection::connect(&standby.address("postgres")).await.unwrap();
    let kept: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT nas_port, input_octets, (SELECT sum(input_octets)::bigint FROM usage WHERE session_id = sessions.id)
         FROM sessions WHERE started_at IS NOT NULL AND input_octets > 0",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let kept: std::collections::BTreeMap<i64, (i64, i64)> =
        kept.into_iter().map(|(port, a, b)| (port, (a, b))).collect();
    for nth in &acknowledged {
        let octets = i64::from(500 + nth % 7);
        assert_eq!(kept.get(&i64::from(*nth)), Some(&(octets, octets)), "session {nth}");
    }
    standby.crash();
}

/// A PostgreSQL that freezes, crashes, comes back, crashes for good and is followed by its standby, beside NASes that never stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_login_hangs_and_nothing_acknowledged_is_lost_whatever_becomes_of_postgresql() {
    let (load, rounds) = match std::env::var(FORM).as_deref() {
        Ok("long") => (Load::LONG, 5),
        _ => (Load::SHORT, 1),
    };
    let mut chance = Chance::seeded("failover");
    let mut primary = Engine::start().await;
    let mut standby = primary.standby().await;
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    primary.sql("SELECT pg_reload_conf()").await;
    let wire = Wire::to(primary.at).await;
    let url =
        format!("postgres://radhold@{},{}/postgres?target_session_attrs=read-write", wire.address, standby.host());
    let radhold = block_in_place(|| loss::serve(&format!("[store]\nurl = \"{url}\"")));
    Nases::meet(&radhold, &mut chance).await;
    let nases = Nases::start(&radhold, load, &mut chance);
    for _ in 0..rounds {
        nases.traffic(&mut chance).await;
        // Connections stay, and nothing comes through: as when its host freezes.
        let from = radhold.log().len();
        wire.cut.send_replace(true);
        nases.traffic(&mut chance).await;
        block_in_place(|| radhold.wait_for_log(from, |line| message(line).contains("PostgreSQL is away")));
        wire.cut.send_replace(false);
        block_in_place(|| radhold.wait_for_log(from, |line| message(line).contains("PostgreSQL is back")));
        nases.traffic(&mut chance).await;
        let from = radhold.log().len();
        block_in_place(|| primary.crash());
        nases.traffic(&mut chance).await;
        block_in_place(|| radhold.wait_for_log(from, |line| message(line).contains("PostgreSQL is away")));
        primary.run().await;
        nases.traffic(&mut chance).await;
    }
    // A standby that lags is not promoted by anybody who must lose nothing.
    primary.until_followed().await;
    nases.traffic(&mut chance).await;
    block_in_place(|| primary.crash());
    nases.traffic(&mut chance).await;
    let crashed = Instant::now();
    standby.sql("SELECT pg_promote()").await;
    block_in_place(|| radhold.wait_for_log(0, |line| message(line).contains("written at another host")));
    println!("another host {:?} after the promotion", crashed.elapsed());
    nases.traffic(&mut chance).await;
    let sent = nases.finish().await;
    // What was acknowledged meanwhile may lie in the spool still.
    until_drained(&radhold).await;
    let mut connection = PgConnection::connect(&standby.address("postgres")).await.unwrap();
    let kept: Vec<Row> = sqlx::query_as(JUDGE_POSTGRESQL).fetch_all(&mut connection).await.unwrap();
    let quarantined: i64 =
        sqlx::query_scalar("SELECT count(*) FROM quarantine").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    judge(&sent, kept, quarantined);
    assert!(sent.slowest_login < NAS_PATIENCE, "a login hung: {sent}");
    let counters = radhold.counters();
    assert!(counters["store.breaker-opened"] >= 2 && counters["spool.kept"] > 0, "{counters:#?}");
    standby.crash();
}

/// PostgreSQL can be read and not written while a standby that must have every commit is gone. Nobody waits for each of them to fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_standby_takes_commits_the_store_counts_as_away() {
    let engine = Engine::start().await;
    let (radhold, fleet) = scene(&engine.address("postgres"), "").await;
    fleet.login(1, "alice", PASSWORD, 0).await;
    fleet.account(1, 1, 0, 0).await;
    engine.sql("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    engine.sql("SELECT pg_reload_conf()").await;
    let is_back = |line: &serde_json::Value| message(line).starts_with("the store is back");
    let from = radhold.log().len();
    // A command whose commit waits gives up, and says what it leaves behind.
    let arguments = ["user", "add", "carol", "--password-stdin"];
    let ran = block_in_place(|| radhold.cli(&arguments, "correct horse battery\n"));
    assert!(ran.code != 0 && ran.stderr.contains("standby that is not there"), "{ran:?}");
    let left = ran.stderr.contains("is done already");
    let begun = Instant::now();
    let (mut octets, mut most) = (0, 0);
    let mut watch = PgConnection::connect(&engine.address("postgres")).await.unwrap();
    // Longer than it takes to look twice whether it is back, and to give up the connections there are.
    while begun.elapsed() < Duration::from_secs(30) {
        octets += 1;
        fleet.account(1, 3, octets, 0).await;
        sleep(Duration::from_millis(50)).await;
        // A commit that waits for a standby does not hear that nobody waits for it any more. The ten of `store.connections` may all be
        // such, and be given up; those that read come on top, and then no more.
        let backends: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut watch)
        .await
        .unwrap();
        most = most.max(backends);
    }
    assert!(most <= 10 + 6, "{most} connections: commits that are given up pile up");
    assert!(radhold.log()[from..].iter().any(|line| message(line).starts_with("the store is away")));
    assert!(!radhold.log()[from..].iter().any(is_back), "it can be read, and that is all: {:#?}", radhold.log());
    engine.sql("ALTER SYSTEM RESET synchronous_standby_names").await;
    engine.sql("SELECT pg_reload_conf()").await;
    block_in_place(|| radhold.wait_for_log(from, is_back));
    until_drained(&radhold).await;
    if left {
        let ran = block_in_place(|| radhold.cli(&["user", "show", "carol"], ""));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    fleet.account(1, 2, octets + 1, 0).await;
    let session = block_in_place(|| radhold.until_state("closed"));
    assert_eq!(session["counters"]["input_octets"], octets + 1);
}

/// PostgreSQL carries an INSERT out that was given up: no answer in time, a connection that was cut when all was sent, a commit that
/// waits for a standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_on_record_once_whatever_becomes_of_its_insert() {
    let engine = Engine::start().await;
    let wire = Wire::to(engine.at).await;
    let url = format!("postgres://radhold@{}/postgres", wire.address);
    // PostgreSQL ends a statement itself after the patience of the store: that must not be so soon as to hide what was given up.
    let (radhold, fleet) = scene(&url, "store.patience = \"8s\"\n").await;
    let mut watch = PgConnection::connect(&engine.address("postgres")).await.unwrap();
    let recorded = "SELECT count(*) FROM auth_attempts WHERE user_name = $1";
    for trouble in ["locked", "cut", "standby"] {
        // What was prepared on its connection is carried out with no further word from us.
        for nth in 0..4 {
            let before = format!("before-{trouble}-{nth}");
            until_login(&fleet, &before, Some(Code::AccessReject)).await;
            while sqlx::query_scalar::<_, i64>(recorded).bind(&before).fetch_one(&mut watch).await.unwrap() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        let from = radhold.log().len();
        let mut lock = PgConnection::connect(&engine.address("postgres")).await.unwrap();
        if trouble == "standby" {
            engine.sql("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
            engine.sql("SELECT pg_reload_conf()").await;
        } else {
            lock.execute("BEGIN; LOCK TABLE auth_attempts IN SHARE MODE").await.unwrap();
        }
        assert_eq!(fleet.try_login(1, trouble, PASSWORD, 0, QUICK).await, Some(Code::AccessReject));
        let begun = Instant::now();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO auth_attempts%' AND (wait_event_type = 'Lock' OR wait_event = 'SyncRep')";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watch).await.unwrap() == 0 {
            assert!(begun.elapsed() < PATIENCE, "no INSERT waits");
            sleep(Duration::from_millis(10)).await;
        }
        wire.cut.send_replace(trouble == "cut");
        block_in_place(|| radhold.wait_for_log(from, |line| message(line).starts_with("the store is away")));
        sleep(Duration::from_secs(2)).await;
        lock.close().await.unwrap();
        engine.sql("ALTER SYSTEM RESET synchronous_standby_names").await;
        engine.sql("SELECT pg_reload_conf()").await;
        wire.cut.send_replace(false);
        block_in_place(|| radhold.wait_for_log(from, |line| message(line).starts_with("the store is back")));
        // Those behind it are on record when it is.
        let later = format!("after-{trouble}");
        until_login(&fleet, &later, Some(Code::AccessReject)).await;
        while sqlx::query_scalar::<_, i64>(recorded).bind(&later).fetch_one(&mut watch).await.unwrap() == 0 {
            assert!(begun.elapsed() < PATIENCE * 2, "{trouble}: nothing is recorded any more");
            sleep(Duration::from_millis(50)).await;
        }
        let rows: i64 = sqlx::query_scalar(recorded).bind(trouble).fetch_one(&mut watch).await.unwrap();
        assert_eq!(rows, 1, "{trouble}");
    }
}

/// An Accounting-Response says that its record is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_need_not_wait_for_the_disk_is_overruled_and_a_server_that_never_does_is_reported() {
    let engine = Engine::start().await;
    engine.sql("ALTER ROLE radhold SET synchronous_commit = off").await;
    let (radhold, fleet) = scene(&engine.address("postgres"), "").await;
    assert!(!radhold.counters().contains_key("store.not-durable"), "this one writes through");
    // Nobody can read another's setting; a trigger is in its transaction.
    for statement in [
        "CREATE TABLE seen (setting text)",
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$",
        "CREATE TRIGGER see AFTER INSERT OR UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION see()",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_reload_conf()",
    ] {
        engine.sql(statement).await;
    }
    logins(&fleet, 1, 1).await;
    fleet.login(2, "alice", PASSWORD, 0).await;
    fleet.account(2, 1, 0, 0).await;
    let mut connection = PgConnection::connect(&engine.address("postgres")).await.unwrap();
    let own: String = sqlx::query_scalar("SHOW synchronous_commit").fetch_one(&mut connection).await.unwrap();
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT setting FROM seen").fetch_all(&mut connection).await.unwrap();
    assert_eq!((own.as_str(), seen), ("off", vec!["on".to_owned()]));
    // It looks when it connects.
    let from = radhold.log().len();
    engine.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()").await;
    fleet.account(2, 3, 5, 0).await;
    radhold.wait_for_log(from, |line| message(line).contains("has this setting off") && line["setting"] == "fsync");
    assert!(radhold.counters()["store.not-durable"] >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_pgbouncer_hears_by_its_direct_address() {
    let engine = Engine::start().await;
    let at = own_address();
    let home = engine.home.path();
    let settings = format!(
        "[databases]\npostgres = host={} port={} user=radhold\n\
         [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = session\ndefault_pool_size = 20\nignore_startup_parameters = extra_float_digits,options\n",
        engine.at.ip(),
        engine.at.port(),
        at.ip(),
        at.port()
    );
    fs::write(home.join("pgbouncer.ini"), settings).unwrap();
    let words = postgres::run_as(engine.account.as_ref(), "/usr/sbin/pgbouncer".as_ref());
    let mut pgbouncer = Command::new(&words[0])
        .args(&words[1..])
        .arg(home.join("pgbouncer.ini"))
        .stderr(fs::File::create(home.join("pgbouncer.log")).unwrap())
        .spawn()
        .unwrap();
    let pooled = format!("postgres://radhold@{at}/postgres");
    postgres::answers(&pooled).await.unwrap();
    let direct = format!("store.direct_url = \"{}\"\n", engine.address("postgres"));
    let (radhold, fleet) = scene(&pooled, &direct).await;
    logins(&fleet, 1, 2).await;
    engine.sql("UPDATE users SET disabled = true").await;
    until_login(&fleet, "alice", Some(Code::AccessReject)).await;
    assert!(radhold.counters()["news.user"] >= 1, "{:?}", radhold.counters());
    let through: i64 = {
        let mut connection = PgConnection::connect(&engine.address("postgres")).await.unwrap();
        sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query LIKE 'WITH me AS%'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap()
    };
    assert_eq!(through, 1, "one connection that hears and shows");
    drop(radhold);
    pgbouncer.kill().unwrap();
    pgbouncer.wait().unwrap();
}
