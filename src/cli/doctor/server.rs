//! What a server needs, judged by its configuration and by what was seen of the host. Pure but for reading the files named in
//! the configuration.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::finding::Finding;
use super::nas::clock;
use crate::auth::SealingKey;
use crate::config::Config;

/// Below this, free room is too little to go on; below the other, soon.
const ROOM_LEAST: u64 = 100 << 20;
const ROOM_SOON: u64 = 1 << 30;

/// What the files tell.
pub(super) fn files(config: &Config) -> Vec<Finding> {
    let database = config.store.url.expose().strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
    let has_database = database.is_none_or(|path| Path::new(path).exists());
    let mut findings = vec![
        key("server.sealing-key", &config.keys.sealing_file, has_database),
        key("server.cluster-key", &config.keys.cluster_file, false),
    ];
    for nas in config.nas.iter().filter(|nas| !nas.require_message_authenticator) {
        if !nas.network.addr().is_loopback() {
            findings.push(Finding::warn(
                "server.nas",
                format!("nas.{} need not sign its Access-Requests", nas.name),
                "Whoever sits between can turn a Reject into an Accept (CVE-2024-3596).",
                format!(
                    "use the agent's front on that host, then remove require_message_authenticator from nas.{}",
                    nas.name
                ),
            ));
        }
    }
    findings
}

/// `needed`: something was sealed with it, so a new one is of no use.
fn key(check: &'static str, path: &Path, needed: bool) -> Finding {
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else {
        if needed {
            return Finding::fail(
                check,
                format!("{shown} is not there, and there is a store"),
                "What was sealed with it cannot be opened: nobody can log in. A new key is made at the next start, and mends nothing.",
                format!("put the copy of {shown} back before radhold starts"),
            );
        }
        return Finding::ok(check, format!("{shown} is not there yet"));
    };
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Finding::fail(
            check,
            format!("{shown} has mode {:o}", mode & 0o777),
            "Whoever reads it can open passwords, or make buttons and Classes of their own.",
            format!("chmod 600 {shown}; if others may have read it, make new keys and passwords"),
        );
    }
    match fs::read_to_string(path) {
        Ok(text) if SealingKey::parse(&text).is_err() => Finding::fail(
            check,
            format!("{shown} is no key"),
            "radhold does not start with it.",
            format!("put the copy of {shown} back"),
        ),
        Ok(_) => Finding::ok(check, format!("{shown} is a key, and private")),
        Err(error) => Finding::warn(
            check,
            format!("{shown} cannot be read: {error}"),
            "It may be anything.",
            "run radhold doctor as root or as radhold's user",
        ),
    }
}

/// What was seen of a server's host.
#[derive(Debug, Clone, Default)]
pub(super) struct Running {
    /// Where the store is, without its password.
    pub(super) store_address: String,
    /// How the store is.
    pub(super) store: StoreState,
    /// Where there must be room, and how much there is, octets.
    pub(super) room: Option<(String, u64)>,
    /// Each port, and what came of binding it.
    pub(super) ports: Vec<(SocketAddr, Port)>,
    /// How many NASes there are, in configuration and store.
    pub(super) nases: Option<usize>,
    /// Whether the clock is kept right.
    pub(super) clock_synchronized: Option<bool>,
    /// Whether the Bot API takes a connection; `None` when it is not configured.
    pub(super) telegram: Option<Result<String, String>>,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum StoreState {
    /// There, with our schema.
    #[default]
    Ready,
    /// An SQLite file that is yet to be made.
    NotMade,
    /// It cannot be reached.
    Away(String),
    /// It is there, without our schema or with an old one.
    NotMigrated(String),
}

/// What came of binding a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Port {
    /// It is free.
    Free,
    /// radhold has it.
    Ours,
    /// Somebody else has it, or nobody knows who.
    Taken(String),
    /// It cannot be had.
    Refused(String),
}

/// Judges what was seen.
pub(super) fn running(seen: &Running) -> Vec<Finding> {
    let mut findings = vec![store(&seen.store_address, &seen.store)];
    if let Some((place, octets)) = &seen.room {
        findings.push(room(place, *octets));
    }
    findings.extend(seen.ports.iter().map(|(address, port)| port_finding(*address, port)));
    if let Some(nases) = seen.nases {
        findings.push(if nases > 0 {
            Finding::ok("server.nases", format!("{nases} NASes are known"))
        } else {
            Finding::warn(
                "server.nases",
                "no NAS is known",
                "Packets of unknown NASes are dropped without an answer.",
                "radhold nas add NAME --address ADDRESS --generate-secret",
            )
        });
    }
    findings.push(clock(seen.clock_synchronized));
    match &seen.telegram {
        Some(Ok(host)) => findings.push(Finding::ok("server.telegram", format!("{host} takes connections"))),
        Some(Err(problem)) => findings.push(Finding::fail(
            "server.telegram",
            format!("the Bot API cannot be reached: {problem}"),
            "Nobody can be asked by Telegram; held sessions go to the next approver, or end.",
            "curl -sS https://api.telegram.org; allow HTTPS out, or set HTTPS_PROXY for radhold",
        )),
        None => {}
    }
    findings
}

fn store(address: &str, state: &StoreState) -> Finding {
    let why = "Without its store radhold does not start.";
    match state {
        StoreState::Ready => Finding::ok("server.store", format!("{address} is there, its schema is ours")),
        StoreState::NotMade => Finding::ok("server.store", format!("{address} is made at the first start")),
        StoreState::Away(problem) => Finding::fail(
            "server.store",
            format!("{address}: {problem}"),
            why,
            "is the database running, are store.url and its password right, may this host connect (pg_hba.conf)?",
        ),
        StoreState::NotMigrated(problem) => Finding::warn(
            "server.store",
            format!("{address} has not our schema: {problem}"),
            "radhold serve brings it up to date, if its role may.",
            "radhold migrate",
        ),
    }
}

fn room(place: &str, octets: u64) -> Finding {
    let why = "When the disk is full no record is kept, so no Accounting-Request is answered.";
    let mebibytes = octets >> 20;
    let says = format!("{mebibytes} MiB are free in {place}");
    if octets < ROOM_LEAST {
        Finding::fail("server.room", says, why, format!("make room: du -xh {place} | sort -h | tail"))
    } else if octets < ROOM_SOON {
        Finding::warn("server.room", says, why, format!("make room: du -xh {place} | sort -h | tail"))
    } else {
        Finding::ok("server.room", says)
    }
}

fn port_finding(address: SocketAddr, port: &Port) -> Finding {
    let why = "radhold cannot listen there.";
    match port {
        Port::Free => Finding::ok("server.port", format!("UDP {address} is free")),
        Port::Ours => Finding::ok("server.port", format!("radhold listens on UDP {address}")),
        Port::Taken(who) => Finding::fail(
            "server.port",
            format!("UDP {address} is taken by {who}"),
            why,
            format!("ss -lunp sport = :{}; stop it, or choose other ports in [server]", address.port()),
        ),
        Port::Refused(problem) => Finding::fail(
            "server.port",
            format!("UDP {address}: {problem}"),
            why,
            "ip address: server.auth and server.accounting must name addresses of this host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level::{self, Fail, Ok, Warn};
    use super::*;

    fn levels(seen: &Running) -> Vec<(&'static str, Level)> {
        running(seen).into_iter().map(|finding| (finding.check, finding.level)).collect()
    }

    #[test]
    fn what_was_seen_is_judged() {
        let address = "127.0.0.1:1812".parse().unwrap();
        let good = Running {
            room: Some(("/var/lib/radhold".to_owned(), 2 << 30)),
            ports: vec![(address, Port::Free), (address, Port::Ours)],
            nases: Some(1),
            clock_synchronized: Some(true),
            telegram: Some(Result::Ok("api.telegram.org".to_owned())),
            ..Running::default()
        };
        assert!(levels(&good).iter().all(|(_, level)| *level == Ok), "{:?}", levels(&good));
        assert_eq!(levels(&good).len(), 7);
        let bad = Running {
            store: StoreState::Away("no".to_owned()),
            room: Some((String::new(), 1 << 20)),
            ports: vec![(address, Port::Taken("freeradius".to_owned())), (address, Port::Refused("no".to_owned()))],
            nases: Some(0),
            clock_synchronized: Some(false),
            telegram: Some(Err("no".to_owned())),
            ..Running::default()
        };
        let judged: Vec<_> = levels(&bad).into_iter().map(|(_, level)| level).collect();
        assert_eq!(judged, [Fail, Fail, Fail, Fail, Warn, Warn, Fail]);
        assert_eq!(room("/", 500 << 20).level, Warn);
        assert_eq!(store("x", &StoreState::NotMigrated("no".to_owned())).level, Warn);
    }

    #[test]
    fn keys_are_judged_by_mode_and_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        assert_eq!(key("k", &path, false).level, Ok);
        assert_eq!(key("k", &path, true).level, Fail);
        fs::write(&path, "0".repeat(64)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(key("k", &path, true).level, Ok);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(key("k", &path, true).level, Fail);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "no key").unwrap();
        assert_eq!(key("k", &path, true).level, Fail);
    }
}
