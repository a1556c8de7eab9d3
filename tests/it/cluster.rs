//! A PostgreSQL of a test's own, which it may stop, start and cut off. Knows nothing of what is kept there.
//!
//! As root it runs in a network namespace, behind a link that nftables cuts. Else behind a relay of ours that stops
//! relaying: connections stay, and nothing comes through.

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use sqlx::postgres::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::port::own_address;
use crate::postgres::{Account, account, answers, binaries, password, prepare, run_as};

/// A PostgreSQL of its own.
pub(crate) struct Cluster {
    home: TempDir,
    account: Option<Account>,
    link: Link,
    server: Option<Child>,
    at: SocketAddr,
}

/// What lies between us and it.
enum Link {
    Namespace { name: String, address: Ipv4Addr },
    Relay { address: SocketAddr, open: watch::Sender<bool>, task: JoinHandle<()> },
}

impl Cluster {
    /// A new one, running.
    pub(crate) async fn start() -> Self {
        let home = tempfile::Builder::new().prefix("radhold-pg-").tempdir().unwrap();
        let account = account().unwrap();
        prepare(home.path(), &binaries().expect("PostgreSQL is installed"), account.as_ref()).unwrap();
        let at = own_address();
        let link = Link::new(at).await;
        if let Link::Namespace { address, .. } = &link {
            let rules = home.path().join("data/pg_hba.conf");
            let all = fs::read_to_string(&rules).unwrap();
            fs::write(&rules, format!("{all}\nhost all all {address}/24 scram-sha-256\n")).unwrap();
        }
        let mut cluster = Self { home, account, link, server: None, at };
        cluster.resume().await;
        cluster
    }

    /// The database everything of this test is in.
    pub(crate) fn url(&self) -> String {
        let address = match &self.link {
            Link::Namespace { address, .. } => SocketAddr::from((*address, self.at.port())),
            Link::Relay { address, .. } => *address,
        };
        format!("postgres://radhold:{}@{address}/postgres", password(self.home.path()))
    }

    /// A pool for looking at it as an analyst would.
    pub(crate) async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url()).await.unwrap()
    }

    /// `pg_ctl stop -m immediate`: as if its power had been cut.
    pub(crate) fn stop_immediately(&mut self) {
        let mut server = self.server.take().expect("it runs");
        // The keeper below sends SIGQUIT when its input ends, and ends when the server has.
        drop(server.stdin.take());
        server.wait().unwrap();
    }

    /// Starts it (again), and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        const KEEPER: &str = r#"
            trap '' INT TERM
            log=$1
            shift
            exec 3<&0
            "$@" >>"$log" 2>&1 &
            server=$!
            (read -r _ <&3; kill -QUIT "$server") 2>/dev/null &
            watcher=$!
            wait "$server"
            kill -KILL "$watcher" 2>/dev/null
        "#;
        assert!(self.server.is_none(), "it runs already");
        let mut words: Vec<String> = Vec::new();
        if let Link::Namespace { name, .. } = &self.link {
            words.extend(["ip", "netns", "exec", name].map(str::to_owned));
        }
        words.extend(run_as(self.account.as_ref(), &binaries().unwrap().join("postgres")));
        let data = self.home.path().join("data").display().to_string();
        words.extend(["-D".into(), data, "-p".into(), self.at.port().to_string()]);
        words.extend(["-k".into(), self.home.path().display().to_string()]);
        let listen = match &self.link {
            Link::Namespace { .. } => "listen_addresses=*".to_owned(),
            Link::Relay { .. } => format!("listen_addresses={}", self.at.ip()),
        };
        for setting in [&*listen, "max_connections=100", "shared_buffers=64MB", "fsync=on"] {
            words.extend(["-c".into(), setting.into()]);
        }
        let log = self.home.path().join("log");
        OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let server = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&log)
            .args(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.server = Some(server);
        let url = self.url();
        answers(&url).await.unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(&log).unwrap()));
    }

    /// Cuts the link: packets vanish, and nobody is told.
    pub(crate) fn cut(&self) {
        match &self.link {
            Link::Namespace { name, .. } => {
                let rules = "add table inet cut; \
                             add chain inet cut incoming { type filter hook input priority 0; policy drop; }; \
                             add chain inet cut outgoing { type filter hook output priority 0; policy drop; }";
                in_namespace(name, &["nft", rules]);
            }
            Link::Relay { open, .. } => drop(open.send_replace(false)),
        }
    }

    /// Mends it.
    pub(crate) fn mend(&self) {
        match &self.link {
            Link::Namespace { name, .. } => in_namespace(name, &["nft", "delete table inet cut"]),
            Link::Relay { open, .. } => drop(open.send_replace(true)),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
        match &self.link {
            Link::Namespace { name, .. } => {
                // Its end of the pair goes with it, and with that ours.
                let _ = Command::new("ip").args(["netns", "delete", name]).status();
            }
            Link::Relay { task, .. } => task.abort(),
        }
    }
}

impl Link {
    async fn new(at: SocketAddr) -> Self {
        if fs::metadata("/proc/self").unwrap().uid() == 0
            && let Some(link) = Self::namespace()
        {
            return link;
        }
        Self::relay(at).await
    }

    fn namespace() -> Option<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let pid = std::process::id();
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("radhold-{pid}-{nth}");
        let (ours, theirs) = (format!("rh{pid}-{nth}a"), format!("rh{pid}-{nth}b"));
        // RFC 2544's test network: nobody routes it.
        let [.., high, low] = pid.wrapping_mul(8).wrapping_add(u32::from(nth)).to_be_bytes();
        let address = |host: u8| Ipv4Addr::new(198, 18 + (high & 1), low, host);
        let made = run(&["ip", "netns", "add", &name])
            && run(&["ip", "link", "add", &ours, "type", "veth", "peer", "name", &theirs, "netns", &name])
            && run(&["ip", "addr", "add", &format!("{}/24", address(1)), "dev", &ours])
            && run(&["ip", "link", "set", &ours, "up"])
            && run(&["ip", "-n", &name, "addr", "add", &format!("{}/24", address(2)), "dev", &theirs])
            && run(&["ip", "-n", &name, "link", "set", &theirs, "up"])
            && run(&["ip", "-n", &name, "link", "set", "lo", "up"])
            && run(&["ip", "netns", "exec", &name, "nft", "list", "ruleset"]);
        if made {
            return Some(Self::Namespace { name, address: address(2) });
        }
        run(&["ip", "netns", "delete", &name]);
        None
    }

    async fn relay(at: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let opened = opened.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(at).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    tokio::join!(pass(near_read, far_write, opened.clone()), pass(far_read, near_write, opened));
                });
            }
        });
        Self::Relay { address, open, task }
    }
}

/// Passes octets on while the link is open.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    let mut octets = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut octets).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&octets[..count]).await.is_err() {
            return;
        }
    }
}

fn in_namespace(name: &str, command: &[&str]) {
    let words = [&["ip", "netns", "exec", name], command].concat();
    assert!(run(&words), "{words:?}");
}

fn run(words: &[&str]) -> bool {
    let done = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
