//! The keys, their defaults and what must hold between them.
//!
//! One function per section, in the order of `config/radhold.toml`; sections with types of their own have a file of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::agent::agent;
use super::bans;
use super::codes;
use super::enrolment::enrolment;
use super::error::ConfigError;
use super::front::front;
use super::guards;
use super::hold::{Configured, hold};
use super::layers::Layers;
use super::nas::{judge_listeners, nas};
use super::people;
use super::portal::portal;
use super::radsec::radsec;
use super::reader::{Report, Section};
use super::telegram::telegram;
use super::values::{ACCOUNTING_PORT, AUTH_PORT, address_with_port, source, utc_offset};
use super::webhook::webhook;
use super::{
    Accounting, Config, Dynauth, Flags, Keys, Loaded, Log, LogFormat, Said, Server, Spool, Store, StoreUrl,
    Surroundings, WhileAway,
};
use crate::model::{Nas, NodeName, Secret};

pub(super) fn load(flags: &Flags, surroundings: &Surroundings) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let layers = Layers::read(flags, surroundings, &mut problems);
    let report = Report::new(&layers, problems, keys());
    let config = config(&report, surroundings);
    let (problems, warnings) = report.finish();
    match config {
        Some(config) if problems.is_empty() => {
            let said = Said::new(&layers.values);
            Ok(Loaded { config, sources: layers.sources, said, warnings })
        }
        _ => Err(ConfigError { problems }),
    }
}

pub(super) fn keys() -> Vec<String> {
    let surroundings = Surroundings::default();
    // Sections that may be missing are only read when something is said in them.
    let settings = [
        "telegram.token",
        "telegram.webhook.secret",
        "portal.listen",
        "nas.NAME.secret",
        "radsec.certificate",
        "agent.peer.NAME.secret",
        "agent.filter.NAME.set",
        "agent.captive.permit_limit",
        "agent.front.server.NAME.secret",
        "approver.webhook.url",
    ]
    .map(|key| super::Setting::new("", key, "x"));
    let flags = Flags { config: None, settings: settings.into() };
    let layers = Layers::read(&flags, &surroundings, &mut Vec::new());
    let report = Report::new(&layers, Vec::new(), Vec::new());
    let _ = config(&report, &surroundings);
    report.known()
}

/// `None` only beside a problem in the report.
fn config(report: &Report<'_>, surroundings: &Surroundings) -> Option<Config> {
    let mut top = report.top();
    let state_dir = top.path("state_dir").unwrap_or_else(|| surroundings.state_dir.clone());
    let node = top.text("node").unwrap_or_else(|| surroundings.host_name.clone());
    let server = server(top.section("server"), surroundings);
    let store = store(top.section("store"), &state_dir);
    let keys = key_files(top.section("keys"), &state_dir);
    let spool = spool(top.section("spool"), &state_dir);
    let telegram_section = top.section("telegram");
    let has_telegram = telegram_section.is_present();
    let (accounting, utc_offset) = accounting(top.section("accounting"));
    let mut approver_section = top.section("approver");
    let webhook_section = approver_section.section("webhook");
    let configured = Configured { telegram: has_telegram, webhook: webhook_section.is_present() };
    approver_section.finish();
    let webhook = if configured.webhook { webhook(report, webhook_section) } else { None };
    let portal_section = top.section("portal");
    let has_portal = portal_section.is_present();
    let portal = if has_portal { portal(portal_section) } else { None };
    let guards = guards::guards(top.section("guards"));
    let hold = hold(top.section("hold"), configured, utc_offset, guards);
    let telegram = if has_telegram { telegram(telegram_section) } else { None };
    let radsec_section = top.section("radsec");
    let has_radsec = radsec_section.is_present();
    let radsec = radsec(radsec_section);
    let administrators = telegram.as_ref().is_some_and(|telegram| !telegram.administrators.is_empty());
    let enrolment = enrolment(top.section("enrolment"), administrators);
    let nas: Vec<Option<Nas>> =
        top.named("nas").into_iter().map(|section| nas(report, section, &hold, configured)).collect();
    let dynauth = dynauth(top.section("dynauth"));
    let callers = bans::callers(top.section("callers"));
    let strikes = bans::strikes(top.section("strikes"));
    let lockout = bans::lockout(top.section("lockout"));
    let audit = bans::audit(top.section("audit"));
    let totp = codes::totp(top.section("totp"));
    let mut agent_section = top.section("agent");
    let front = front(report, agent_section.section("front"), surroundings);
    let agent = agent(report, agent_section, &state_dir);
    let dictionary = directory(top.section("dictionary"));
    let dialects = directory(top.section("dialects"));
    let messages = people::messages(top.section("messages"));
    let places = people::places(top.section("places"));
    let log = log(top.section("log"));
    top.finish();

    if (has_telegram && telegram.is_none()) || (configured.webhook && webhook.is_none()) {
        return None;
    }
    if (has_radsec && radsec.is_none()) || (has_portal && portal.is_none()) {
        return None;
    }
    let nas = nas.into_iter().collect::<Option<Vec<Nas>>>()?;
    judge_listeners(report, &server, &nas, has_radsec);
    Some(Config {
        state_dir,
        node: NodeName::new(node),
        server,
        store,
        keys,
        spool,
        hold,
        accounting,
        telegram,
        enrolment,
        webhook,
        portal,
        nas,
        radsec,
        dynauth,
        callers,
        strikes,
        lockout,
        audit,
        totp,
        agent: agent?,
        front,
        dictionary,
        dialects,
        messages,
        places,
        log,
    })
}

/// More sockets for one address than any host of ours has cores.
const SOCKETS_MOST: usize = 64;
/// Room for one datagram of any size, with what the system needs beside it.
const RECEIVE_BUFFER_LEAST: usize = 128 << 10;

fn server(mut section: Section<'_>, surroundings: &Surroundings) -> Server {
    let loopback = |port| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    let addresses = |section: &mut Section<'_>, key: &str, port: u16| {
        let listed = section.list(key, "an address with port", |text| address_with_port(text, port));
        if listed.as_ref().is_some_and(Vec::is_empty) {
            section.problem(key, "lists no address; leave the key out for loopback");
        }
        listed.unwrap_or_else(|| loopback(port))
    };
    let server = Server {
        auth: addresses(&mut section, "auth", AUTH_PORT),
        accounting: addresses(&mut section, "accounting", ACCOUNTING_PORT),
        reject_delay: section.duration("reject_delay").unwrap_or(Duration::from_secs(1)),
        password_checks: section.number("password_checks", 1).unwrap_or(surroundings.cores.max(1)),
        remember_passwords: section.duration("remember_passwords").unwrap_or(Duration::from_secs(300)),
        login_records_per_second: section.number("login_records_per_second", 1).unwrap_or(2000),
        max_pending: section.number("max_pending", 1).unwrap_or(4096),
        max_requests_per_second: section.number("max_requests_per_second", 1),
        sockets: section.number("sockets", 1).unwrap_or(surroundings.cores.clamp(1, SOCKETS_MOST)),
        receive_buffer: section.number("receive_buffer", RECEIVE_BUFFER_LEAST).unwrap_or(4 << 20),
    };
    if server.sockets > SOCKETS_MOST {
        section.problem("sockets", format!("is too large; at most {SOCKETS_MOST}"));
    }
    section.finish();
    server
}

fn store(mut section: Section<'_>, state_dir: &Path) -> Store {
    let text = |url: Secret| String::from_utf8_lossy(url.expose()).into_owned();
    let given = section.secret("url").map(text);
    let direct_url = section.secret("direct_url").map(text).map(StoreUrl::new);
    let connections = section.number("connections", 2).unwrap_or(10);
    let patience = section.duration("patience").unwrap_or(Duration::from_secs(5));
    if patience < Duration::from_millis(100) {
        section.problem("patience", "is too short for any store; give it some seconds");
    }
    let users_while_away = section.duration("users_while_away").unwrap_or(Duration::from_secs(600));
    let while_away = section.parsed("while_away", "silent or reject", |text| match text {
        "silent" => Ok(WhileAway::Silent),
        "reject" => Ok(WhileAway::Reject),
        _ => Err("there are no others".to_owned()),
    });
    let gather = section.duration("gather").unwrap_or(Duration::from_millis(2));
    if gather > Duration::from_secs(1) {
        section.problem("gather", "is longer than a second; every record would wait that long for its answer");
    }
    let batch = section.number("batch", 1).unwrap_or(1024);
    section.finish();
    let url = given.unwrap_or_else(|| format!("sqlite://{}", state_dir.join("radhold.sqlite").display()));
    Store {
        url: StoreUrl::new(url),
        gather,
        batch,
        direct_url,
        connections,
        patience,
        users_while_away,
        while_away: while_away.unwrap_or_default(),
    }
}

fn spool(mut section: Section<'_>, state_dir: &Path) -> Spool {
    let spool = Spool {
        file: section.path("file").unwrap_or_else(|| state_dir.join("spool.sqlite")),
        after: section.duration("after").unwrap_or(Duration::from_secs(1)),
        max_mebibytes: section.number("max_mebibytes", 1).unwrap_or(1024),
        drain_rate: section.number("drain_rate", 1).unwrap_or(5000),
    };
    if spool.after < Duration::from_millis(10) {
        section.problem("after", "is too short for any store; at least 10ms");
    }
    section.finish();
    spool
}

fn key_files(mut section: Section<'_>, state_dir: &Path) -> Keys {
    let keys = Keys {
        cluster_file: section.path("cluster_file").unwrap_or_else(|| state_dir.join("cluster.key")),
        sealing_file: section.path("sealing_file").unwrap_or_else(|| state_dir.join("sealing.key")),
    };
    if keys.cluster_file == keys.sealing_file {
        section.problem("sealing_file", "is the cluster key's file too; each key wants its own");
    }
    section.finish();
    keys
}

/// What is written down, and where days begin, which is the sessions' to know.
fn accounting(mut section: Section<'_>) -> (Accounting, i32) {
    const LEAST_KEPT: Duration = Duration::from_secs(35 * 86_400);
    let accounting = Accounting {
        clock_skew: section.duration("clock_skew").unwrap_or(Duration::from_secs(300)),
        max_delay: section.duration("max_delay").unwrap_or(Duration::from_secs(7 * 86_400)),
        keep_intervals: section.duration("keep_intervals"),
        keep_sessions: section.duration("keep_sessions"),
    };
    let offset = section.parsed("utc_offset", "a distance from UTC as +02:00", utc_offset);
    for (key, keep) in [("keep_intervals", accounting.keep_intervals), ("keep_sessions", accounting.keep_sessions)] {
        if keep.is_some_and(|keep| keep < LEAST_KEPT.max(accounting.max_delay)) {
            section.problem(key, "is shorter than 35 days, or than max_delay; leave it out to keep all");
        }
    }
    section.finish();
    (accounting, offset.unwrap_or(0))
}

/// An order is one node's for as long as this takes, so it must not take long.
const DYNAUTH_LONGEST: Duration = Duration::from_secs(60);

fn dynauth(mut section: Section<'_>) -> Dynauth {
    // RFC 5080 §2.2.1 suggests IRT 2 s, MRC 5, MRT 16 s, MRD 30 s.
    let dynauth = Dynauth {
        initial_timeout: section.duration("initial_timeout").unwrap_or(Duration::from_secs(2)),
        retries: section.number("retries", 0).unwrap_or(2),
        max_timeout: section.duration("max_timeout").unwrap_or(Duration::from_secs(8)),
        total: section.duration("total").unwrap_or(Duration::from_secs(15)),
        source: section.parsed("source", "an address, with or without port", source),
    };
    if dynauth.initial_timeout.is_zero() {
        section.problem("initial_timeout", "cannot be zero");
    }
    if dynauth.initial_timeout > dynauth.max_timeout {
        section.problem("initial_timeout", "is longer than max_timeout");
    }
    if dynauth.initial_timeout > dynauth.total {
        section.problem("total", "is shorter than initial_timeout");
    }
    if dynauth.total > DYNAUTH_LONGEST {
        section.problem("total", "is longer than a minute; after that the session orders again by itself");
    }
    section.finish();
    dynauth
}

fn directory(mut section: Section<'_>) -> Option<PathBuf> {
    let directory = section.path("directory");
    if let Some(path) = directory.as_ref().filter(|path| !path.is_dir()) {
        section.problem("directory", format!("{} is no directory", path.display()));
    }
    section.finish();
    directory
}

fn log(mut section: Section<'_>) -> Log {
    let filter =
        section.parsed("filter", "a list of log directives such as \"info\" or \"radhold=debug,warn\"", |text| {
            EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
        });
    let format = section.parsed("format", "text or json", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("there are only these two".to_owned()),
    });
    section.finish();
    Log { filter: filter.unwrap_or_else(|| "info".to_owned()), format: format.unwrap_or_default() }
}
