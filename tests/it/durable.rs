//! No Accounting-Response before its record is on disk (RFC 2866 §4.1), as the system sees it: Debian's strace says what was synced, and
//! what was sent, in the order in which it happened. `kill -9` cannot show this, for what a process has written outlives it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use radhold::app::clock;
use radhold::radius::{Code, Packet, attribute};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::das::SECRET;
use crate::loss::{Peer, until_drained};
use crate::radhold::{PATIENCE, Radhold, message};

/// Records, one after the other: a sync that another task makes may fall into one of them by chance.
const RECORDS: u32 = 5;
/// Longer than until what was written last is brought over from a WAL, which is synced for that too.
const REST: Duration = Duration::from_millis(1500);
const TRACE: &str = "trace";
/// The store, and its WAL.
const FILE: &str = "state/radhold.sqlite";
const WAL: &str = "state/radhold.sqlite-wal";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_synced_in_sqlite_before_it_is_answered() {
    synced_before_answered("", "/state/radhold.sqlite-wal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_synced_in_the_spool_before_it_is_answered_when_the_store_is_away() {
    // Nobody listens there; and a node that begins without its store must know its key.
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("cluster.key");
    std::fs::write(&key, "5a".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = "url = \"postgres://nobody:nothing@127.0.0.1:1/nowhere\"";
    let away = format!("{store}\n[keys]\ncluster_file = \"{}\"", key.display());
    synced_before_answered(&away, "/state/spool.sqlite-wal").await;
}

/// Sends records, and looks for a sync of that file between each and its answer.
async fn synced_before_answered(store: &str, wal: &str) {
    let toml = format!(
        "[store]\n{store}\n[spool]\nafter = \"20s\"\n[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n"
    );
    let radhold = block_in_place(|| Radhold::start_under(strace, "", &toml));
    let mut peer = Peer::new(radhold.accounting, SECRET).await;
    let mut exchanges = Vec::new();
    for nth in 0..RECORDS {
        tokio::time::sleep(REST).await;
        let sent_at = clock::now().as_micros() as f64 / 1e6;
        let reply = start_session(&mut peer, &format!("d{nth}")).await;
        exchanges.push((sent_at, reply));
    }
    // An answer may be here before strace has written that it left.
    let trace = radhold.path(TRACE);
    let trace = block_in_place(|| {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&trace).unwrap();
            if exchanges.iter().all(|(_, reply)| text.contains(&hex(reply))) {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "the trace lacks answers: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for (sent_at, reply) in exchanges {
        let before: Vec<&str> = trace.lines().take_while(|line| !line.contains(&hex(&reply))).collect();
        assert!(was_synced(&before, wal, sent_at), "answered at {sent_at} without a sync of {wal}: {before:#?}");
    }
}

/// The disk refuses all syncs of the SQLite file from some moment on, and nothing that was written to it since gets there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_of_the_sqlite_file_that_fails_ends_radhold_and_loses_nothing() {
    let mut radhold = block_in_place(|| Radhold::start(&nas()));
    let mut peer = Peer::new(radhold.accounting, SECRET).await;
    let (file, wal) = (radhold.path(FILE), radhold.path(WAL));
    let mut strace = block_in_place(|| failing(radhold.pid(), &file, "fdatasync,fsync", "EIO"));
    let on_disk = std::fs::read(&file).unwrap();
    let (begun, mut sent, mut answered) = (Instant::now(), 0, 0);
    let status = loop {
        if let Some(status) = radhold.ended() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it runs on: {:#?}", radhold.log());
        sent += 1;
        let request = start_of(&mut peer, &format!("f{sent}"));
        let reply = peer.send(&request, Duration::from_secs(1)).await;
        answered += usize::from(reply.is_some());
    };
    end(&mut strace);
    assert_eq!(status.code(), Some(1), "{status}: {:#?}", radhold.log());
    let why = |line: &Value| message(line).contains("a sync of SQLite's file");
    assert!(block_in_place(|| radhold.wait_for_log(0, why))["help"].as_str().unwrap().contains("is started again"));
    assert!(answered > 0 && std::fs::metadata(&wal).unwrap().len() > 0, "{answered}, and the WAL is left");

    std::fs::write(&file, on_disk).unwrap();
    block_in_place(|| radhold.restart());
    let sessions = block_in_place(|| radhold.sessions());
    // What is kept need not have been answered.
    assert!((answered..=sent).contains(&sessions.len()), "{answered} of {sent}: {sessions:#?}");
}

/// SQLite gives its transaction up by itself when there is no room for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_for_a_while_costs_nothing() {
    let radhold = block_in_place(|| Radhold::start(&nas()));
    let mut peer = Peer::new(radhold.accounting, SECRET).await;
    start_session(&mut peer, "before").await;
    let mut strace = block_in_place(|| failing(radhold.pid(), &radhold.path(WAL), "write,pwrite64", "ENOSPC"));
    start_session(&mut peer, "while").await;
    let is_full = |line: &Value| line["trouble"].as_str().is_some_and(|trouble| trouble.contains("full"));
    block_in_place(|| radhold.wait_for_log(0, is_full));
    end(&mut strace);
    until_drained(&radhold).await;
    start_session(&mut peer, "after").await;
    let sessions = block_in_place(|| radhold.sessions());
    assert_eq!(sessions.len(), 3, "{sessions:#?}");
    let quarantined = block_in_place(|| radhold.cli(&["quarantine", "list", "--json"], ""));
    assert_eq!(serde_json::from_str::<Value>(&quarantined.stdout).unwrap(), serde_json::json!([]), "{quarantined:?}");
}

fn nas() -> String {
    format!("[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n")
}

/// Has those calls fail for that file from now on, until it is killed.
fn failing(pid: u32, file: &Path, calls: &str, error: &str) -> Child {
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &pid.to_string(), "-P"])
        .arg(file)
        .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}"), "-e", "signal=none"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("strace: {error}; ./tests/run installs it"));
    let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("attached")) {
        said.push(lines.next().unwrap_or_else(|| panic!("it must be allowed to attach (root may): {said:?}")));
    }
    // It would end with its standard error.
    std::thread::spawn(move || lines.for_each(drop));
    strace
}

fn end(strace: &mut Child) {
    strace.kill().unwrap();
    strace.wait().unwrap();
}

async fn start_session(peer: &mut Peer, acct_session_id: &str) -> Vec<u8> {
    let request = start_of(peer, acct_session_id);
    let reply = peer.send(&request, PATIENCE).await.expect("an answer");
    assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccountingResponse);
    reply
}

fn start_of(peer: &mut Peer, acct_session_id: &str) -> Vec<u8> {
    peer.request(Code::AccountingRequest, |request, _| {
        request.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap().text(attribute::USER_NAME, "bob").unwrap();
        request.text(attribute::ACCT_SESSION_ID, acct_session_id).unwrap();
    })
}

/// Runs what follows under strace: each sync and each datagram of any of its threads, with the time at which it began, and files by
/// their names. It ends with strace, which does not end with what it traces.
fn strace(home: &Path) -> Vec<String> {
    let calls = "trace=fdatasync,fsync,sendto,sendmsg,sendmmsg";
    let trace = home.join(TRACE).display().to_string();
    ["strace", "-f", "-y", "-x", "-ttt", "-s", "64", "-e", calls, "-e", "signal=none", "-o", &trace]
        .into_iter()
        .chain(["setpriv", "--pdeathsig", "KILL"])
        .map(str::to_owned)
        .collect()
}

/// The first octets of a packet as strace -x shows them.
fn hex(packet: &[u8]) -> String {
    packet[..20].iter().fold(String::new(), |mut text, octet| {
        write!(text, "\\x{octet:02x}").unwrap();
        text
    })
}

/// Whether a sync of that file began after `since`, and ended well, within these lines:
///
/// ```text
/// 812 1795000000.000100 fdatasync(9</d/x-wal>) = 0
/// 812 1795000000.000100 fdatasync(9</d/x-wal> <unfinished ...>
/// 812 1795000000.000900 <... fdatasync resumed>) = 0
/// ```
fn was_synced(lines: &[&str], file: &str, since: f64) -> bool {
    let mut begun = Vec::new();
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        let (Some(thread), Some(at)) = (words.next(), words.next().and_then(|at| at.parse::<f64>().ok())) else {
            continue;
        };
        let ended_well = line.ends_with("= 0");
        if line.contains("sync(") && line.contains(&format!("{file}>")) && at >= since {
            if ended_well {
                return true;
            }
            begun.push(thread);
        } else if line.contains("sync resumed>")
            && let Some(place) = begun.iter().position(|it| *it == thread)
        {
            begun.swap_remove(place);
            if ended_well {
                return true;
            }
        }
    }
    false
}

#[test]
fn a_sync_counts_when_it_began_in_time_and_ended() {
    let whole = "7 100.5 fdatasync(9</d/x-wal>) = 0";
    let halves = [
        "7 100.5 fdatasync(9</d/x-wal> <unfinished ...>",
        "8 100.6 <... fdatasync resumed>) = 0",
        "7 100.7 <... fdatasync resumed>) = 0",
    ];
    assert!(was_synced(&[whole], "/x-wal", 100.0) && was_synced(&halves, "/x-wal", 100.0));
    assert!(!was_synced(&halves[..2], "/x-wal", 100.0), "another thread's");
    assert!(!was_synced(&[whole], "/x-wal", 100.6) && !was_synced(&[whole], "/x", 100.0));
    assert!(!was_synced(&["7 100.5 fdatasync(9</d/x-wal>) = -1 EIO (Input/output error)"], "/x-wal", 100.0));
}
