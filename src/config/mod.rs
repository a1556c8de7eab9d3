//! Configuration, parsed once, into types.
//!
//! Four layers, the later over the earlier: defaults, the TOML file, `RADHOLD_*` in the environment, flags. What is not
//! understood is an error that names its place; all errors come at once. `config/radhold.toml` explains every key.
//!
//! Reads files and the environment while it loads, and keeps nothing behind: loading again is how a reload works. Never
//! opens a store or a socket, makes no key, and knows no command.

mod agent;
mod bans;
mod codes;
mod enrolment;
mod error;
mod front;
pub(crate) mod guards;
mod hold;
mod layers;
mod nas;
mod nearest;
mod people;
mod portal;
mod radsec;
mod read;
mod reader;
mod said;
mod surroundings;
mod telegram;
pub(crate) mod values;
mod webhook;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::model::{DurationError, format_duration, parse_duration};
pub use agent::{Agent, AgentFilter, AgentPeer, Captive};
pub use bans::Audit;
pub use codes::Totp;
pub use enrolment::{Confirm, Enrolment};
pub use error::{ConfigError, Place, Problem};
pub use front::{Front, FrontRadsec, FrontServer};
pub use hold::Hold;
pub use people::{Messages, Places};
pub use portal::Portal;
pub use radsec::{Radsec, TlsFiles};
pub use said::Said;
pub use surroundings::Surroundings;
pub use telegram::{Telegram, TelegramWebhook};
pub use webhook::Webhook;

use crate::model::{CallerLists, Nas, NodeName};
use crate::policy::{LockoutLimits, StrikeLimits};

/// Where the configuration is looked for when nobody names a file.
pub const DEFAULT_FILE: &str = "/etc/radhold/radhold.toml";

/// Everything that can be configured. Fields are named as the keys of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where files of ours live: the SQLite database, generated keys, the spool.
    pub state_dir: PathBuf,
    /// The name of this process among those that share a store.
    pub node: NodeName,
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[keys]`
    pub keys: Keys,
    /// `[spool]`
    pub spool: Spool,
    /// `[hold]`
    pub hold: Hold,
    /// `[accounting]`
    pub accounting: Accounting,
    /// `[telegram]`; `None` when there is no such section.
    pub telegram: Option<Telegram>,
    /// `[enrolment]`
    pub enrolment: Enrolment,
    /// `[approver.webhook]`; `None` when there is no such section.
    pub webhook: Option<Webhook>,
    /// `[portal]`; `None` when there is no such section.
    pub portal: Option<Portal>,
    /// `[nas.NAME]`, by name. More may be in the store.
    pub nas: Vec<Nas>,
    /// `[radsec]`; `None` when there is no such section.
    pub radsec: Option<Radsec>,
    /// `[dynauth]`
    pub dynauth: Dynauth,
    /// `[callers]`
    pub callers: CallerLists,
    /// `[strikes]`
    pub strikes: StrikeLimits,
    /// `[lockout]`
    pub lockout: LockoutLimits,
    /// `[audit]`
    pub audit: Audit,
    /// `[totp]`
    pub totp: Totp,
    /// `[agent]`
    pub agent: Agent,
    /// `[agent.front]`; `None` when it has no server to ask.
    pub front: Option<Front>,
    /// `[dictionary]`: a directory whose files named `dictionary*` extend the embedded ones.
    pub dictionary: Option<PathBuf>,
    /// `[dialects]`: a directory whose `*.toml` files extend the embedded ones.
    pub dialects: Option<PathBuf>,
    /// `[messages]`
    pub messages: Messages,
    /// `[places]`
    pub places: Places,
    /// `[log]`
    pub log: Log,
}

/// The listening side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// UDP addresses for Access-Request.
    pub auth: Vec<SocketAddr>,
    /// UDP addresses for Accounting-Request.
    pub accounting: Vec<SocketAddr>,
    /// How long an Access-Reject is kept back where neither user nor NAS says otherwise.
    pub reject_delay: Duration,
    /// How many argon2id checks run at once.
    pub password_checks: usize,
    /// How long a password that is slow to check is remembered once it was right; zero is not at all.
    pub remember_passwords: Duration,
    /// How many logins that nobody is asked about are recorded in a second, at most, when they come faster for long.
    pub login_records_per_second: u32,
    /// How many requests may be in work or waiting; beyond that new Access-Requests are dropped.
    pub max_pending: usize,
    /// New Access-Requests a second of a NAS, at most, where the NAS says nothing else; `None` is without bound.
    pub max_requests_per_second: Option<u32>,
    /// Sockets, and threads, for each UDP address.
    pub sockets: usize,
    /// The receive buffer of each, in octets.
    pub receive_buffer: usize,
}

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Address of the store.
    pub url: StoreUrl,
    /// How long the first record of a batch waits for others.
    pub gather: Duration,
    /// Records in one transaction, at most.
    pub batch: u32,
    /// Where connections go that no pooler may share out; `None` is the same address.
    pub direct_url: Option<StoreUrl>,
    /// How many connections at most.
    pub connections: u32,
    /// How long a call may take.
    pub patience: Duration,
    /// How long users that are remembered may log in while the store is away.
    pub users_while_away: Duration,
    /// What becomes of the logins of others.
    pub while_away: WhileAway,
}

/// What becomes of a login that would need a store that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhileAway {
    /// No answer, so that the NAS tries its next server.
    #[default]
    Silent,
    /// Access-Reject.
    Reject,
}

/// Where records go while the store is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// Its file.
    pub file: PathBuf,
    /// How long the store may take for a batch.
    pub after: Duration,
    /// How large the file may grow, in MiB.
    pub max_mebibytes: u64,
    /// Records a second that leave it when the store is back, at most.
    pub drain_rate: u32,
}

/// The address of a store, which may hold a password: prints without it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

/// Files of the two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key shared by all nodes (Class, buttons). Without such a file the store keeps one for all.
    pub cluster_file: PathBuf,
    /// The key passwords and NAS secrets in the store are sealed with. Made when there is no such file.
    pub sealing_file: PathBuf,
}

/// How reports of NASes are read, and how long what they say is kept. Where days begin is part of [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accounting {
    /// How far the clock of a NAS may be from ours.
    pub clock_skew: Duration,
    /// How late a report may come.
    pub max_delay: Duration,
    /// How long usage is kept by interval, and not by day alone; `None` is for ever.
    pub keep_intervals: Option<Duration>,
    /// How long sessions that are over are kept; `None` is for ever.
    pub keep_sessions: Option<Duration>,
}

/// Retransmission of CoA-Request and Disconnect-Request (RFC 5080 §2.2.1) and where they leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dynauth {
    /// IRT: the first wait.
    pub initial_timeout: Duration,
    /// MRC: how many requests at most go out after the first.
    pub retries: u32,
    /// MRT: the longest wait.
    pub max_timeout: Duration,
    /// MRD: when to give up, whatever the count.
    pub total: Duration,
    /// Source address and port; `None` leaves it to the system.
    pub source: Option<SocketAddr>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Directives as `tracing-subscriber` reads them: `info`, `radhold=debug,warn`.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `--config`: the file; goes before `RADHOLD_CONFIG` and [`DEFAULT_FILE`].
    pub config: Option<PathBuf>,
    /// Settings that override everything else, the later the earlier.
    pub settings: Vec<Setting>,
}

/// One setting from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The flag, as it is named in errors: `--store`.
    pub flag: String,
    /// The key: `store.url`.
    pub key: String,
    /// The value, as in an environment variable.
    pub value: String,
}

/// A configuration, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What was said.
    pub config: Config,
    /// Where.
    pub sources: Sources,
    /// Which settings were said.
    pub said: Said,
    /// What is allowed but hardly meant, one line each.
    pub warnings: Vec<String>,
}

/// The layers that said anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The file.
    pub file: Option<PathBuf>,
    /// Names of variables of the environment.
    pub variables: Vec<String>,
    /// Flags.
    pub flags: Vec<String>,
}

impl Config {
    /// Loads the configuration as this process sees it.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
        Self::load_in(flags, &Surroundings::of_this_process())
    }

    /// Loads the configuration in given surroundings; only files are read.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load_in(flags: &Flags, surroundings: &Surroundings) -> Result<Loaded, ConfigError> {
        read::load(flags, surroundings)
    }

    /// Every key there is, as `section.key`; a NAS's keys as `nas.NAME.key`.
    pub fn keys() -> Vec<String> {
        read::keys()
    }
}

impl StoreUrl {
    /// An address as given.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole address, password included, for the one place that opens it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not parsed as a URL: one with several hosts is none.
        let (address, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        // Passwords in the query (`?password=`) are legal too.
        let query = match query {
            "" => String::new(),
            query if query.contains("password=") => "?…".to_owned(),
            query => format!("?{query}"),
        };
        let password = address.split_once("://").and_then(|(scheme, rest)| {
            let (person, place) = rest.rsplit_once('@')?;
            Some((scheme, person.split_once(':')?.0, place))
        });
        match password {
            Some((scheme, name, place)) => write!(f, "{scheme}://{name}:…@{place}{query}"),
            None => write!(f, "{address}{query}"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

impl Setting {
    /// A setting by a flag.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { flag: flag.into(), key: key.into(), value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_url_prints_no_password() {
        for (url, printed) in [
            ("postgres://radhold:hunter2@db/radhold", "postgres://radhold:…@db/radhold"),
            ("postgres://db/radhold?user=r&password=hunter2", "postgres://db/radhold?…"),
            ("postgres://r:hunter2@db1:1,db2:2/r?sslmode=require", "postgres://r:…@db1:1,db2:2/r?sslmode=require"),
            ("postgres://r:hunter2/hunter2@hunter2@db1,db2/r", "postgres://r:…@db1,db2/r"),
            ("postgres://r@db/r", "postgres://r@db/r"),
            ("sqlite:///var/lib/radhold/radhold.sqlite", "sqlite:///var/lib/radhold/radhold.sqlite"),
        ] {
            assert_eq!(StoreUrl::new(url).to_string(), printed);
        }
    }
}
