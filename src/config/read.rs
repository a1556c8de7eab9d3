//! The keys, their defaults and what must hold between them.
//!
//! One function per section, in the order of `config/radhold.toml`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::agent::agent;
use super::bans;
use super::codes;
use super::enrolment::enrolment;
use super::error::ConfigError;
use super::front::front;
use super::guards;
use super::layers::Layers;
use super::people;
use super::portal::portal;
use super::radsec::radsec;
use super::reader::{Report, Section};
use super::webhook::webhook;
use super::{
    Accounting, Config, Dynauth, Flags, Hold, Keys, Loaded, Log, LogFormat, Said, Server, Spool, Store, StoreUrl,
    Surroundings, Telegram, TelegramWebhook, WhileAway,
};
use crate::model::{
    ApproverKind, ApproverStep, CertificateId, DynauthPath, Nas, NasName, NodeName, OctetDirection, PreviousSecret,
    Secret,
};
use crate::policy::{Defaults, Guards, HoldTerms};
use crate::session::Timing;

/// RFC 2865 §3 wants a secret at least as long as a good password, and better 16 octets.
pub(crate) const SECRET_LEAST: usize = 16;

pub(super) const AUTH_PORT: u16 = 1812;
pub(super) const ACCOUNTING_PORT: u16 = 1813;
/// Where a webhook is listened for, unless its address says otherwise.
const WEBHOOK_PORT: u16 = 8443;

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

/// Which approvers have a section of their own.
#[derive(Debug, Clone, Copy)]
struct Configured {
    telegram: bool,
    webhook: bool,
}

/// The order of asking; each is asked once, and by something that is configured.
fn approvers(section: &mut Section<'_>, configured: Configured) -> Option<Vec<ApproverStep>> {
    let steps: Vec<ApproverStep> = section.list("approvers", "an approver", str::parse)?;
    if let Err(message) = ApproverStep::no_repeats(&steps) {
        section.problem("approvers", message);
    }
    let names = |kind| steps.iter().any(|step| step.kind == kind);
    if names(ApproverKind::Telegram) && !configured.telegram {
        section.problem("approvers", "names telegram, but there is no [telegram] section");
    }
    if names(ApproverKind::Webhook) && !configured.webhook {
        section.problem("approvers", "names webhook, but there is no [approver.webhook] section");
    }
    Some(steps)
}

fn hold(mut section: Section<'_>, configured: Configured, utc_offset: i32, guards: Guards) -> Hold {
    let usual = [configured.telegram.then_some(ApproverKind::Telegram), Some(ApproverKind::Operator)];
    let usual = usual.into_iter().flatten().map(ApproverStep::from).collect();
    let said = approvers(&mut section, configured);
    if said.as_ref().is_some_and(Vec::is_empty) {
        section.problem("approvers", "lists nobody, so every hold would run out; name telegram or operator");
    }
    let defaults = Defaults {
        sandbox_filter: section.text("sandbox_filter").unwrap_or_else(|| "sandbox".to_owned()),
        permit_filter: section.text("permit_filter").unwrap_or_else(|| "permit".to_owned()),
        hold: HoldTerms {
            window: section.duration("window").unwrap_or(Duration::from_secs(120)),
            grace: section.duration("grace").unwrap_or(Duration::from_secs(30)),
            approvers: said.unwrap_or(usual),
            when_unreachable: section.parsed("when_unreachable", "end or hold", str::parse).unwrap_or_default(),
            second_person: None,
            guards,
        },
    };
    let unreachable_after = section.duration("unreachable_after").unwrap_or(Duration::from_secs(45));
    let usual = Timing::default();
    let timing = Timing {
        start_within: section.duration("start_within").unwrap_or(usual.start_within),
        retry_first: section.duration("retry_first").unwrap_or(usual.retry_first),
        retry_most: section.duration("retry_most").unwrap_or(usual.retry_most),
        stop_patience: section.duration("stop_patience").unwrap_or(usual.stop_patience),
        stale_after: section.duration("stale_after").unwrap_or(usual.stale_after),
        stale_intervals: section.number("stale_intervals", 1).unwrap_or(usual.stale_intervals),
        abandon_after: section.duration("abandon_after").unwrap_or(usual.abandon_after),
        utc_offset,
        ..usual
    };
    for (key, duration) in [
        ("window", defaults.hold.window),
        ("unreachable_after", unreachable_after),
        ("start_within", timing.start_within),
        ("retry_first", timing.retry_first),
        ("stop_patience", timing.stop_patience),
        ("stale_after", timing.stale_after),
        ("abandon_after", timing.abandon_after),
    ] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero");
        }
    }
    if timing.retry_first > timing.retry_most {
        section.problem("retry_first", "is longer than retry_most");
    }
    if let Err(message) = filters_differ(&defaults.sandbox_filter, &defaults.permit_filter) {
        section.problem("permit_filter", message);
    }
    section.finish();
    Hold { defaults, timing, unreachable_after }
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

fn telegram(mut section: Section<'_>) -> Option<Telegram> {
    let missing = !section.has("token") && !section.has("token_file");
    let token = section.secret("token");
    if missing {
        section.problem("token", "is missing; take it from @BotFather and put it here or in token_file");
    }
    let shaped = |token: &Secret| {
        let (id, rest) = std::str::from_utf8(token.expose()).ok()?.split_once(':')?;
        (id.bytes().all(|octet| octet.is_ascii_digit()) && !id.is_empty() && !rest.is_empty()).then_some(())
    };
    if token.as_ref().is_some_and(|token| shaped(token).is_none()) {
        section.problem("token", "is no bot token; it looks like 123456789:AbCdEf…");
    }
    let api_url = section.parsed("api_url", "an http or https URL", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("another scheme".to_owned()) }
    });
    let operator_chat = section.number("operator_chat", i64::MIN);
    let administrators =
        section.list("administrators", "a chat id", |text| text.parse::<i64>().map_err(|error| error.to_string()));
    let strike_notices = section.boolean("strike_notices").unwrap_or(true);
    let bot_name = section.parsed("bot_name", "the bot's user name, without the @", |text| {
        let fine = text.len() >= 5 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if fine { Ok(text.to_owned()) } else { Err("letters, digits and _, five or more".to_owned()) }
    });
    let proxy = section.secret("proxy");
    if proxy.as_ref().is_some_and(|proxy| !is_proxy(proxy)) {
        section.problem("proxy", "is no proxy; write socks5://HOST:PORT or http://USER:PASSWORD@HOST:PORT");
    }
    let messages_per_second = section.number("messages_per_second", 1).unwrap_or(30);
    let webhook_section = section.section("webhook");
    let has_webhook = webhook_section.is_present();
    let webhook = if has_webhook { telegram_webhook(webhook_section) } else { None };
    section.finish();
    let api_url = api_url.unwrap_or_else(|| Url::parse("https://api.telegram.org").expect("a constant"));
    Some(Telegram {
        token: token?,
        api_url,
        operator_chat,
        administrators: administrators.unwrap_or_default(),
        strike_notices,
        bot_name,
        proxy,
        messages_per_second,
        webhook,
    })
}

fn is_proxy(proxy: &Secret) -> bool {
    let url = std::str::from_utf8(proxy.expose()).ok().and_then(|text| Url::parse(text.trim()).ok());
    url.is_some_and(|url| matches!(url.scheme(), "socks5" | "socks5h" | "http" | "https") && url.has_host())
}

fn telegram_webhook(mut section: Section<'_>) -> Option<TelegramWebhook> {
    for key in ["url", "listen"] {
        if !section.has(key) {
            section.problem(key, "is missing; a webhook needs it");
        }
    }
    let no_secret = !section.has("secret") && !section.has("secret_file");
    let url = section.parsed("url", "an https URL", |text| {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if url.scheme() == "https" { Ok(url) } else { Err("Telegram brings updates to https alone".to_owned()) }
    });
    let listen = section.parsed("listen", "an address with port", |text| address_with_port(text, WEBHOOK_PORT));
    if no_secret {
        section.problem("secret", "is missing; draw one with `openssl rand -hex 32`");
    }
    let secret = section.secret("secret");
    let fits = |secret: &Secret| {
        let octets = secret.expose();
        (16..=256).contains(&octets.len())
            && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    if secret.as_ref().is_some_and(|secret| !fits(secret)) {
        section.problem("secret", "is none Telegram takes: 16 to 256 of letters, digits, - and _");
    }
    section.finish();
    Some(TelegramWebhook { url: url?, listen: listen?, secret: secret? })
}

fn nas(report: &Report<'_>, mut section: Section<'_>, hold: &Hold, configured: Configured) -> Option<Nas> {
    let name = section.name().to_owned();
    if let Err(message) = nas_name(&name) {
        section.problem("address", message);
    }
    let radsec = section.list("radsec", "a name in its certificate", |text| {
        text.parse::<CertificateId>().map_err(|error| error.to_string())
    });
    let radsec = radsec.unwrap_or_default();
    let radsec_only = section.boolean("radsec_only").unwrap_or(false);
    if radsec_only && radsec.is_empty() {
        section.problem("radsec_only", "says that it comes by TLS alone, but radsec names nothing in its certificate");
    }
    for (key, other) in [("address", "address"), ("secret", "secret_file")] {
        if !radsec_only && !section.has(key) && !section.has(other) {
            let or = if key == other { String::new() } else { format!(" (or {other})") };
            section.problem(key, format!("is missing; a NAS needs it{or}"));
        }
    }
    let network = section.parsed("address", "an address or network", network);
    let network = network.or(radsec_only.then(nowhere));
    let secret = section.secret("secret");
    if let Some(weakness) = secret.as_ref().and_then(Secret::weakness) {
        report.warn(format!("nas.{name}: the secret {weakness}"));
    }
    // Over TLS the secret is a constant (RFC 6614 §2.3), and there is nothing else to use one for.
    let secret = secret.or(radsec_only.then(|| Secret::new("radsec")));
    let previous_secret = section.secret("previous_secret").map(|secret| PreviousSecret { secret, until: None });
    if previous_secret.is_some() {
        report.warn(format!("nas.{name}: previous_secret counts until you take it out"));
    }
    let nas_identifier = section.text("nas_identifier");
    let dynauth = section.parsed("dynauth", "auto, udp, radsec or tls", str::parse::<DynauthPath>);
    if dynauth == Some(DynauthPath::Radsec) && radsec.is_empty() {
        section.problem("dynauth", "is radsec, but radsec names nothing in its certificate");
    }
    let direction = section.parsed("octet_direction", "standard or swapped", octet_direction);
    let dialect = section.text("dialect").unwrap_or_else(|| "standard".to_owned());
    let require_message_authenticator = section.boolean("require_message_authenticator").unwrap_or(true);
    let limit_proxy_state = section.boolean("limit_proxy_state").unwrap_or(false);
    let allow_ms_chap_v1 = section.boolean("allow_ms_chap_v1").unwrap_or(false);
    let coa_address =
        section.parsed("coa_address", "an address", |text| text.parse::<IpAddr>().map_err(|error| error.to_string()));
    let coa_port = section.number("coa_port", 1);
    let coa_source = section.parsed("coa_source", "an address, with or without port", source);
    let reject_delay = section.duration("reject_delay");
    let max_requests_per_second = section.number("max_requests_per_second", 1);
    let octet_wrap = section.boolean("octet_wrap").unwrap_or(false);
    let unique_ports = section.boolean("unique_ports");
    let sandbox_filter = section.text("sandbox_filter");
    let permit_filter = section.text("permit_filter");
    let approvers = approvers(&mut section, configured).unwrap_or_default();
    let when_unreachable = section.parsed("when_unreachable", "end or hold", str::parse);
    let guards = guards::settings(&mut section);
    let callers = bans::lists(&mut section, "allow_callers", "deny_callers");
    let codes = codes::entry(&mut section);
    let sandbox = sandbox_filter.as_ref().unwrap_or(&hold.defaults.sandbox_filter);
    let permit = permit_filter.as_ref().unwrap_or(&hold.defaults.permit_filter);
    if let Err(message) = filters_differ(sandbox, permit) {
        section.problem("permit_filter", message);
    }
    section.finish();
    Some(Nas {
        name: NasName::new(name),
        network: network?,
        secret: secret?,
        dialect,
        require_message_authenticator,
        limit_proxy_state,
        allow_ms_chap_v1,
        coa_address,
        coa_port,
        coa_source,
        reject_delay,
        max_requests_per_second,
        octet_direction: direction.unwrap_or_default(),
        octet_wrap,
        unique_ports,
        sandbox_filter,
        permit_filter,
        approvers,
        when_unreachable,
        guards,
        callers,
        nas_identifier,
        radsec,
        radsec_only,
        dynauth: dynauth.unwrap_or_default(),
        previous_secret,
        codes,
    })
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

/// Two NASes on one network, or by one certificate, could not be told apart; and who listens on loopback alone hears no other host.
fn judge_listeners(report: &Report<'_>, server: &Server, nases: &[Nas], has_radsec: bool) {
    for nas in nases.iter().filter(|nas| !has_radsec && (!nas.radsec.is_empty() || nas.dynauth == DynauthPath::Tls)) {
        let section = report.top().section("nas").section(nas.name.as_str());
        section.problem(
            "radsec",
            "is for RADIUS over TLS, which needs a [radsec] section with certificate, key and client_ca",
        );
    }
    let mut ids: BTreeMap<&CertificateId, &NasName> = BTreeMap::new();
    for nas in nases {
        for id in &nas.radsec {
            if let Some(other) = ids.insert(id, &nas.name).filter(|other| **other != nas.name) {
                let section = report.top().section("nas").section(nas.name.as_str());
                section.problem("radsec", format!("names {id}, as nas.{other} does; each certificate is one NAS's"));
            }
        }
    }
    let mut seen: BTreeMap<(IpNet, Option<&str>), &NasName> = BTreeMap::new();
    let datagrams = || nases.iter().filter(|nas| !nas.radsec_only);
    for nas in datagrams() {
        if let Some(other) = seen.insert((nas.network, nas.nas_identifier.as_deref()), &nas.name) {
            let section = report.top().section("nas").section(nas.name.as_str());
            section.problem("address", format!("is the address of nas.{other} too; they could not be told apart unless each has its own nas_identifier"));
        }
    }
    let deaf = server.auth.iter().all(|address| address.ip().is_loopback());
    for nas in datagrams().filter(|nas| deaf && !nas.network.addr().is_loopback()) {
        report.warn(format!(
            "nas.{} is at {}, but server.auth listens on loopback only; add \"0.0.0.0:1812\" or \"[::]:1812\"",
            nas.name, nas.network
        ));
    }
}

// -- values, also for the command line

/// Whether `name` can name a NAS: it stands in tables, logs and environment variables.
pub(crate) fn nas_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        return Err(format!("{name:?} cannot name a NAS; use up to 64 of letters, digits, - _ ."));
    }
    Ok(())
}

/// An address, or a network as `address/length`; host bits are cut.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .map_err(|_| "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32".to_owned())
}

/// The network of a NAS that sends no datagrams: no packet comes from there.
pub(crate) fn nowhere() -> IpNet {
    IpNet::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// An address to send from: with port, or any port.
pub(crate) fn source(text: &str) -> Result<SocketAddr, String> {
    address_with_port(text, 0)
}

/// How far days are ahead of UTC, in seconds.
fn utc_offset(text: &str) -> Result<i32, String> {
    let offset = || {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let two = |digits: &str| if digits.len() == 2 { digits.parse::<u8>().ok() } else { None };
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        (hours <= 14 && minutes < 60).then(|| sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
    };
    offset().ok_or_else(|| "write +00:00, +05:30 or -03:00".to_owned())
}

/// Which way octets count.
pub(crate) fn octet_direction(text: &str) -> Result<OctetDirection, String> {
    match text {
        "standard" => Ok(OctetDirection::Standard),
        "swapped" => Ok(OctetDirection::Swapped),
        _ => Err("there are only these two".to_owned()),
    }
}

fn filters_differ(sandbox: &str, permit: &str) -> Result<(), String> {
    if sandbox.is_empty() || permit.is_empty() {
        return Err("a filter's name is empty".to_owned());
    }
    if sandbox == permit {
        return Err(format!("is {permit:?} like the sandbox filter; a held session would be let through at once"));
    }
    Ok(())
}

pub(super) fn address_with_port(text: &str, port: u16) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)))
        .map_err(|_| "write 127.0.0.1:1812 or [::1]:1812".to_owned())
}
