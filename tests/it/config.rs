//! Configuration: the file we ship, what wins over what, and how mistakes are told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use radhold::config::{Config, Flags, Loaded, Place, Setting, Surroundings, WhileAway};
use radhold::model::{ApproverKind, ApproverStep};
use tempfile::TempDir;

/// The file we ship.
const SHIPPED: &str = include_str!("../../config/radhold.toml");

/// A directory with a configuration file in it, and surroundings that are no real host's.
struct Bench {
    dir: TempDir,
    surroundings: Surroundings,
    settings: Vec<Setting>,
}

impl Bench {
    fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("radhold.toml"), toml).unwrap();
        private(&dir.path().join("radhold.toml"));
        let surroundings = Surroundings {
            variables: BTreeMap::new(),
            default_file: None,
            state_dir: "/state".into(),
            host_name: "host".into(),
            cores: 4,
        };
        Self { dir, surroundings, settings: Vec::new() }
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), content).unwrap();
        private(&self.path(name));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.surroundings.variables.insert(name.into(), value.into());
        self
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push(Setting::new(format!("--set {key}"), key, value));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Vec<String>> {
        let flags = Flags { config: Some(self.path("radhold.toml")), settings: self.settings.clone() };
        Config::load_in(&flags, &self.surroundings).map_err(|error| {
            let dir = format!("{}/", self.dir.path().display());
            error.to_string().replace(&dir, "").lines().map(str::to_owned).collect()
        })
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }

    fn problems(&self) -> Vec<String> {
        self.load().expect_err("this configuration is wrong")
    }
}

fn private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

// -- the file we ship

#[test]
fn the_shipped_file_loads_and_changes_nothing() {
    let shipped = Bench::new(SHIPPED).load().unwrap();
    let nothing = Bench::new("").load().unwrap();
    assert_eq!(shipped.config, nothing.config);
    assert_eq!(shipped.warnings, Vec::<String>::new());
}

/// Takes the `#` from settings, but not from those whose key `leave` says.
fn uncommented(leave: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for line in SHIPPED.lines() {
        let setting =
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        let key = setting.and_then(|setting| setting.split(" = ").next()).unwrap_or_default();
        text += setting.filter(|_| !leave(key)).unwrap_or(line);
        text += "\n";
    }
    text
}

/// The `url` of a webhook, or of a portal behind a proxy, has nothing to stand in its place, unlike other keys of that name.
fn with_webhook_url(text: &str) -> String {
    text.replace("#url = \"https://ask.", "url = \"https://ask.")
        .replace("#url = \"https://radius", "url = \"https://radius")
        .replace("#url = \"https://portal", "url = \"https://portal")
}

#[test]
fn every_key_is_in_the_shipped_file() {
    let text = uncommented(|_| false);
    let table: toml::Table = text.parse().expect("each key is there once");
    for key in Config::keys() {
        let mut parts = key.split('.').map(|part| if part == "NAME" { "example" } else { part });
        let first = table.get(parts.next().unwrap());
        let found = parts.try_fold(first, |value, part| Some(value?.get(part)));
        assert!(found.flatten().is_some(), "{key} is not in config/radhold.toml");
    }
    assert!(Config::keys().len() > 40, "{:?}", Config::keys());
}

#[test]
fn every_setting_of_the_shipped_file_loads() {
    for in_files in [false, true] {
        let pairs = ["url", "direct_url", "token", "secret", "proxy", "previous_secret"];
        let text = uncommented(|key| match key.strip_suffix("_file") {
            Some(inline) => pairs.contains(&inline) && !in_files,
            None => pairs.contains(&key) && in_files,
        });
        let bench = Bench::new(&with_webhook_url(&text))
            .file("webhook-secret", "0123456789abcdef\n")
            .file("store-url", "postgres://db/radhold\n")
            .file("store-direct-url", "postgres://direct/radhold\n")
            .file("telegram-token", "123:abc\n")
            .file("telegram-proxy", "http://radhold:secret@proxy.example:3128\n")
            .file("telegram-webhook-secret", "0123456789abcdef\n")
            .file("nas-example.secret", "0123456789abcdef\n")
            .file("nas-example.previous", "fedcba9876543210\n")
            .file("peer-example.secret", "0123456789abcdef\n")
            .file("front.secret", "0123456789abcdef\n")
            .file("server-example.secret", "0123456789abcdef\n");
        fs::create_dir(bench.path("dictionaries")).unwrap();
        fs::create_dir(bench.path("dialects")).unwrap();
        fs::create_dir(bench.path("messages")).unwrap();
        let bench = bench.file("GeoLite2-City.mmdb", "").file("GeoLite2-ASN.mmdb", "");
        let config = bench.config();
        assert_eq!(config.nas.len(), 1);
        assert_eq!(config.front.as_ref().map(|front| front.servers.len()), Some(1));
        assert_eq!(config.portal.as_ref().map(|portal| portal.trusted_proxies.len()), Some(1));
        assert_eq!(config.dialects, Some(bench.path("dialects")));
        if in_files {
            assert_eq!(config.store.url.expose(), "postgres://db/radhold");
            let telegram = config.telegram.unwrap();
            assert_eq!(telegram.token.expose(), b"123:abc");
            assert_eq!(telegram.proxy.unwrap().expose(), b"http://radhold:secret@proxy.example:3128");
            assert_eq!(telegram.webhook.unwrap().secret.expose(), b"0123456789abcdef");
            assert_eq!(config.nas[0].secret.expose(), b"0123456789abcdef");
        }
    }
}

/// What the file calls a default is one.
#[test]
fn the_shipped_file_tells_the_truth_about_defaults() {
    let depend_on_the_host = [
        "state_dir",
        "node",
        "password_checks",
        "sockets",
        "url",
        "url_file",
        "direct_url",
        "direct_url_file",
        "cluster_file",
        "sealing_file",
        "state_file",
        "file",
    ];
    let examples = [
        "token_file",
        "secret_file",
        "coa_address",
        "coa_source",
        "source",
        "directory",
        "operator_chat",
        "administrators",
        "bot_name",
        "proxy",
        "proxy_file",
        "nas_identifiers",
        "nas_addresses",
        "resolvers",
        "portal",
        "mark",
        "unique_ports",
        "keep_intervals",
        "keep_sessions",
        "previous_secret",
        "previous_secret_file",
        "max_requests_per_second",
        "files",
    ];
    let text = uncommented(|key| depend_on_the_host.contains(&key) || examples.contains(&key));
    let all = Bench::new(&with_webhook_url(&text)).config();
    let bare = Bench::new(
        "[approver.webhook]\nurl = \"https://ask.example/radhold\"\nsecret = \"replace-me-by-32-random-octets-in-hex\"\n\
         [telegram]\ntoken = \"123456789:replace-me-by-your-own-token\"\n\
         [telegram.webhook]\nurl = \"https://radius.example/telegram\"\nlisten = \"127.0.0.1\"\n\
         secret = \"replace-me-by-64-hexadecimal-digits\"\n\
         [nas.example]\naddress = \"192.0.2.1\"\nsecret = \"replace-me-by-32-random-octets\"\n\
         [agent.peer.example]\naddress = \"192.0.2.200\"\nsecret = \"replace-me-by-32-random-octets\"\n\
         [radsec]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\n\
         [agent.filter.example]\n[agent.captive]\ninterfaces = [\"br-guest\"]\n",
    )
    .config();
    // Each stands beside its own file.
    let radsec = |config: &Config| {
        let radsec = config.radsec.as_ref().unwrap();
        let most = (radsec.max_connections, radsec.max_connections_per_nas, radsec.max_handshakes);
        (radsec.listen.clone(), most, radsec.handshake_time, radsec.idle, radsec.write_patience)
    };
    assert_eq!(radsec(&all), radsec(&bare));
    assert_eq!(all.server, bare.server);
    assert_eq!(all.store, bare.store);
    assert_eq!(all.agent, bare.agent);
    assert_eq!(all.hold, bare.hold);
    assert_eq!(all.accounting, bare.accounting);
    assert_eq!(all.telegram, bare.telegram);
    assert_eq!(all.enrolment, bare.enrolment);
    let timeout = |config: &Config| config.webhook.as_ref().map(|webhook| webhook.timeout);
    assert_eq!(timeout(&all), timeout(&bare));
    assert_eq!(all.dynauth, bare.dynauth);
    assert_eq!((all.callers, all.strikes), (bare.callers, bare.strikes));
    assert_eq!((all.lockout, all.audit), (bare.lockout, bare.audit));
    assert_eq!(all.log, bare.log);
    assert_eq!((all.messages, all.places), (bare.messages, bare.places));
    assert_eq!((all.store.gather, all.store.batch), (bare.store.gather, bare.store.batch));
    assert_eq!(all.spool, bare.spool);
    let (all, bare) = (&all.nas[0], &bare.nas[0]);
    assert_eq!(all.dialect, bare.dialect);
    assert_eq!(all.require_message_authenticator, bare.require_message_authenticator);
    assert_eq!(all.limit_proxy_state, bare.limit_proxy_state);
    assert_eq!(all.allow_ms_chap_v1, bare.allow_ms_chap_v1);
    assert_eq!(all.octet_direction, bare.octet_direction);
    assert_eq!(all.octet_wrap, bare.octet_wrap);
    assert_eq!((all.radsec_only, all.dynauth), (bare.radsec_only, bare.dynauth));
}

// -- what wins

#[test]
fn later_layers_win() {
    let bench = Bench::new("[hold]\nwindow = \"10s\"\ngrace = \"11s\"\nstart_within = 12\nstale_after = \"13s\"\n")
        .variable("RADHOLD_HOLD__GRACE", "21s")
        .variable("RADHOLD_HOLD__START_WITHIN", "22")
        .set("hold.start_within", "32s");
    let loaded = bench.load().unwrap();
    let hold = loaded.config.hold;
    assert_eq!(hold.defaults.hold.window, Duration::from_secs(10));
    assert_eq!(hold.defaults.hold.grace, Duration::from_secs(21));
    assert_eq!(hold.timing.start_within, Duration::from_secs(32));
    assert_eq!(hold.timing.stale_after, Duration::from_secs(13));
    assert_eq!(hold.timing.stop_patience, Duration::from_secs(10));
    assert_eq!(loaded.sources.file, Some(bench.path("radhold.toml")));
    assert_eq!(loaded.sources.variables, ["RADHOLD_HOLD__GRACE", "RADHOLD_HOLD__START_WITHIN"]);
    assert_eq!(loaded.sources.flags, ["--set hold.start_within"]);
}

#[test]
fn accounting_says_whom_to_believe_and_what_to_keep() {
    let config = Bench::new(
        "[hold]\nstale_intervals = 4\n\
         [accounting]\nclock_skew = \"10s\"\nmax_delay = \"2h\"\nutc_offset = \"-03:30\"\nkeep_intervals = \"90d\"\nkeep_sessions = \"60d\"\n\
         [nas.edge]\naddress = \"192.0.2.1\"\nsecret = \"0001112223334445\"\noctet_wrap = true\nunique_ports = true\n",
    )
    .config();
    assert_eq!((config.hold.timing.stale_intervals, config.hold.timing.utc_offset), (4, -12_600));
    let accounting = config.accounting;
    assert_eq!((accounting.clock_skew, accounting.max_delay), (Duration::from_secs(10), Duration::from_secs(7200)));
    assert_eq!(accounting.keep_intervals, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(accounting.keep_sessions, Some(Duration::from_secs(60 * 86_400)));
    assert_eq!((config.nas[0].octet_wrap, config.nas[0].unique_ports), (true, Some(true)));
    for (text, key) in [
        ("utc_offset = \"3h\"", "accounting.utc_offset"),
        ("utc_offset = \"+15:00\"", "accounting.utc_offset"),
        ("keep_intervals = \"7d\"", "accounting.keep_intervals"),
        ("keep_sessions = \"34d\"", "accounting.keep_sessions"),
    ] {
        let error = Bench::new(&format!("[accounting]\n{text}\n")).load().unwrap_err().join("\n");
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn words_and_places_name_what_is_wrong_with_them() {
    let bench = Bench::new(
        "[messages]\ndirectory = \"words\"\nlanguage = \"ru-RU\"\nzone = \"europe/moscow\"\n\
         [places]\nfiles = [\"a.mmdb\"]\nhost_names = true\npatience = \"500ms\"\n",
    )
    .file("a.mmdb", "");
    fs::create_dir(bench.path("words")).unwrap();
    let config = bench.config();
    assert_eq!(config.messages.directory, Some(bench.path("words")));
    assert_eq!((config.messages.language.as_str(), config.messages.zone.as_str()), ("ru", "Europe/Moscow"));
    assert_eq!(config.places.files, [bench.path("a.mmdb")]);
    assert_eq!((config.places.host_names, config.places.patience), (true, Duration::from_millis(500)));
    for (text, key) in [
        ("[messages]\ndirectory = \"nowhere\"", "messages.directory: "),
        ("[messages]\nlanguage = \"English please\"", "messages.language: "),
        ("[messages]\nzone = \"Mars/Olympus\"", "messages.zone: "),
        ("[places]\nfiles = [\"nowhere.mmdb\"]", "places.files: "),
        ("[places]\npatience = \"1m\"", "places.patience: "),
    ] {
        let error = Bench::new(&format!("{text}\n")).problems().join("\n");
        assert!(error.starts_with(&format!("radhold.toml:2: {key}")), "{error}");
    }
}

#[test]
fn the_environment_says_all_types() {
    let config = Bench::new("")
        .variable("RADHOLD_SERVER__AUTH", "127.0.0.1:11812,[::1]:11812")
        .variable("RADHOLD_SERVER__ACCOUNTING", "[::1]:11813")
        .variable("RADHOLD_SERVER__PASSWORD_CHECKS", "3")
        .variable("RADHOLD_TELEGRAM__TOKEN", "0123:45")
        .variable("RADHOLD_NAS__EDGE__ADDRESS", "10.1.0.0/16")
        .variable("RADHOLD_NAS__EDGE__SECRET", "0001112223334445")
        .variable("RADHOLD_NAS__EDGE__REQUIRE_MESSAGE_AUTHENTICATOR", "false")
        .config();
    assert_eq!(config.server.auth, ["127.0.0.1:11812".parse().unwrap(), "[::1]:11812".parse().unwrap()]);
    assert_eq!(config.server.accounting, ["[::1]:11813".parse().unwrap()]);
    assert_eq!(config.server.password_checks, 3);
    assert_eq!(config.telegram.unwrap().token.expose(), b"0123:45");
    assert_eq!(
        config.hold.defaults.hold.approvers,
        [ApproverKind::Telegram, ApproverKind::Operator].map(ApproverStep::from)
    );
    assert_eq!(config.nas[0].name.as_str(), "edge");
    assert_eq!(config.nas[0].secret.expose(), b"0001112223334445");
    assert!(!config.nas[0].require_message_authenticator);
}

#[test]
fn with_nothing_configured_it_stays_on_loopback() {
    let loaded = Config::load_in(&Flags::default(), &Bench::new("").surroundings).unwrap();
    let config = loaded.config;
    assert_eq!(loaded.sources.file, None);
    assert!(config.server.auth.iter().chain(&config.server.accounting).all(|address| address.ip().is_loopback()));
    assert_eq!(config.store.url.expose(), "sqlite:///state/radhold.sqlite");
    assert_eq!(config.keys.sealing_file, Path::new("/state/sealing.key"));
    assert_eq!(config.node.as_str(), "host");
    assert_eq!((config.telegram, config.nas.len()), (None, 0));
    assert_eq!(config.hold.defaults.hold.approvers, [ApproverKind::Operator.into()] as [ApproverStep; 1]);
}

#[test]
fn the_file_is_named_by_flag_then_variable_then_default() {
    let bench =
        Bench::new("node = \"flag\"").file("env.toml", "node = \"env\"").file("default.toml", "node = \"default\"");
    let node = |flag: bool, variable: bool| {
        let mut surroundings = bench.surroundings.clone();
        surroundings.default_file = Some(bench.path("default.toml"));
        if variable {
            let path = bench.path("env.toml").display().to_string();
            surroundings.variables.insert("RADHOLD_CONFIG".into(), path);
        }
        let flags = Flags { config: flag.then(|| bench.path("radhold.toml")), settings: Vec::new() };
        Config::load_in(&flags, &surroundings).unwrap().config.node
    };
    assert_eq!(node(true, true).as_str(), "flag");
    assert_eq!(node(false, true).as_str(), "env");
    assert_eq!(node(false, false).as_str(), "default");
}

// -- secrets

#[test]
fn a_secret_file_lies_beside_the_configuration_and_loses_one_newline() {
    for (content, secret) in
        [("0123456789abcdef\n", "0123456789abcdef"), (" spaces count \r\n", " spaces count "), ("a\n\n", "a\n")]
    {
        let bench = Bench::new("[nas.edge]\naddress = \"10.0.0.1\"\nsecret_file = \"s\"\n").file("s", content);
        assert_eq!(bench.config().nas[0].secret.expose(), secret.as_bytes());
    }
}

#[test]
fn a_secret_of_a_later_layer_replaces_one_from_a_file() {
    let toml = "[telegram]\ntoken_file = \"not-there\"\n";
    let bench = Bench::new(toml).variable("RADHOLD_TELEGRAM__TOKEN", "1:b");
    assert_eq!(bench.config().telegram.unwrap().token.expose(), b"1:b");

    let both = Bench::new("[telegram]\ntoken = \"1:a\"\ntoken_file = \"t\"\n").file("t", "1:b");
    assert_eq!(both.problems(), ["radhold.toml:2: telegram.token: is given beside token_file; keep one of them"]);
}

#[test]
fn secrets_everybody_can_read_are_warned_of() {
    let bench = Bench::new("[nas.edge]\naddress = \"127.0.0.1\"\nsecret_file = \"s\"\n").file("s", "0123456789abcdef");
    assert_eq!(bench.load().unwrap().warnings, Vec::<String>::new());
    fs::set_permissions(bench.path("s"), fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = bench.load().unwrap().warnings;
    assert!(matches!(&warnings[..], [one] if one.contains("chmod o-r")), "{warnings:?}");
}

#[test]
fn secrets_of_several_lines_are_warned_of_and_kept() {
    let warnings = |content: &[u8]| {
        let bench = Bench::new("[nas.edge]\naddress = \"127.0.0.1\"\nsecret_file = \"s\"\n").file("s", content);
        assert_eq!(bench.config().nas[0].secret.expose(), content.strip_suffix(b"\n").unwrap());
        bench.load().unwrap().warnings
    };
    let text = warnings(b"0123456789abcdef\nsince 2026\n");
    assert!(matches!(&text[..], [one] if one.contains("several lines")), "{text:?}");
    assert_eq!(warnings(b"0123456789abcdef\xff\n9876543210\n"), Vec::<String>::new());
}

#[test]
fn nothing_that_prints_a_configuration_prints_a_secret() {
    let bench = Bench::new(
        "[store]\nurl = \"postgres://r:hunter2@db/r\"\n[telegram]\ntoken = \"1:hunter2\"\n\
         [nas.edge]\naddress = \"10.0.0.1\"\nsecret = \"hunter2-hunter2-hunter2\"\n",
    );
    assert!(!format!("{:?}", bench.load().unwrap()).contains("hunter2"));
    let wrong =
        Bench::new("[telegram]\ntoken = [\"hunter2\"]\n[nas.edge]\nsecret = { hunter2 = 1 }\naddress = \"10.0.0.1\"");
    assert!(!wrong.problems().concat().contains("hunter2"));
}

// -- the store

#[test]
fn the_store_is_reached_as_it_says_and_patience_has_a_least() {
    let bench = Bench::new(
        "[store]\nurl = \"postgres://r:hunter2@db1:1,db2:2/r\"\ndirect_url = \"postgres://r:hunter2@db/r\"\nconnections = 4\n\
         patience = \"2s\"\nusers_while_away = \"1h\"\nwhile_away = \"reject\"\n",
    );
    let store = bench.config().store;
    assert_eq!(store.direct_url.as_ref().unwrap().expose(), "postgres://r:hunter2@db/r");
    assert_eq!((store.connections, store.patience), (4, Duration::from_secs(2)));
    assert_eq!((store.users_while_away, store.while_away), (Duration::from_secs(3600), WhileAway::Reject));
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
    let usual = Bench::new("").config().store;
    assert_eq!((usual.connections, usual.patience, usual.while_away), (10, Duration::from_secs(5), WhileAway::Silent));

    let wrong = Bench::new("[store]\npatience = \"1ms\"\nwhile_away = \"panic\"\nconnections = 1\n").problems();
    let named = |key: &str| wrong.iter().any(|problem| problem.contains(&format!("store.{key}: ")));
    assert!(named("patience") && named("while_away") && named("connections"), "{wrong:#?}");
}

// -- mistakes

#[test]
fn an_unknown_key_names_file_line_and_the_nearest_key() {
    let problems = Bench::new(
        "# a comment\n[hold]\nwindov = \"10s\"\n[sever]\nauth = []\n[telegram]\ntoken = \"1:a\"\n\
         window = 3\n[nas.edge]\naddress = \"10.0.0.1\"\nsecret = \"0123456789abcdef\"\nsecrt = \"a\"\nzzz = 1\n",
    )
    .problems();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert_eq!(problems[0], "radhold.toml:3: hold.windov: there is no such key; did you mean hold.window?");
    assert_eq!(problems[1], "radhold.toml:4: sever: there is no such key; did you mean server?");
    assert_eq!(problems[2], "radhold.toml:8: telegram.window: there is no such key; did you mean hold.window?");
    assert_eq!(problems[3], "radhold.toml:12: nas.edge.secrt: there is no such key; did you mean nas.NAME.secret?");
    assert!(problems[4].starts_with("radhold.toml:13: nas.edge.zzz: there is no such key; there are address, "));
}

#[test]
fn wrong_types_and_values_are_all_told_at_once() {
    let problems = Bench::new(
        "node = 3\n[server]\nauth = \"127.0.0.1\"\naccounting = [\"nowhere\"]\npassword_checks = 0\nmax_pending = -1\n\
         [hold]\nwindow = true\ngrace = \"soon\"\napprovers = [\"carrier-pigeon\"]\n[log]\nformat = \"xml\"\n\
         [nas.edge]\naddress = \"10.0.0.300\"\nsecret_file = \"not-there\"\nallow_ms_chap_v1 = \"no\"\n\
         max_requests_per_second = 0\n",
    )
    .problems();
    let expected = [
        "radhold.toml:1: node: expected text in quotes, found a whole number",
        "radhold.toml:3: server.auth: expected a list, each an address with port, found text",
        "radhold.toml:4: server.accounting: \"nowhere\" is not an address with port: write 127.0.0.1:1812 or [::1]:1812",
        "radhold.toml:5: server.password_checks: 0 is too small; at least 1",
        "radhold.toml:6: server.max_pending: -1 is out of range",
        "radhold.toml:8: hold.window: expected a duration such as \"90s\" or \"2m\", or a number of seconds, found true or false",
        "radhold.toml:9: hold.grace: \"soon\" is no duration; write 90s, 2m, 1h30m, 500ms or 7d",
        "radhold.toml:10: hold.approvers: \"carrier-pigeon\" is not an approver: no approver is called \"carrier-pigeon\"; there are telegram, operator, webhook, person, totp",
        "radhold.toml:12: log.format: \"xml\" is not text or json: there are only these two",
        "radhold.toml:14: nas.edge.address: \"10.0.0.300\" is not an address or network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32",
        "radhold.toml:15: nas.edge.secret_file: not-there cannot be read: No such file or directory (os error 2)",
        "radhold.toml:16: nas.edge.allow_ms_chap_v1: expected true or false, found text",
        "radhold.toml:17: nas.edge.max_requests_per_second: 0 is too small; at least 1",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn broken_toml_names_its_line() {
    let problems = Bench::new("[hold]\nwindow = \n[server\n").problems();
    assert!(problems.iter().any(|problem| problem.starts_with("radhold.toml:2: ")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with("radhold.toml:3: ")), "{problems:?}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let flags = Flags { config: Some("/nowhere/radhold.toml".into()), settings: Vec::new() };
    let error = Config::load_in(&flags, &Surroundings::default()).unwrap_err();
    assert_eq!(error.problems[0].place, Place::File("/nowhere/radhold.toml".into(), None));
}

#[test]
fn mistakes_in_the_environment_and_on_the_command_line_name_their_place() {
    let problems = Bench::new("")
        .variable("RADHOLD_HOLD__WINDOV", "1s")
        .variable("RADHOLD_NOED", "n")
        .variable("RADHOLD_HOLD__GRACE", "soon")
        .set("log.format", "xml")
        .problems();
    assert_eq!(
        problems,
        [
            "environment variable RADHOLD_HOLD__GRACE: hold.grace: \"soon\" is no duration; write 90s, 2m, 1h30m, 500ms or 7d",
            "environment variable RADHOLD_HOLD__WINDOV: hold.windov: there is no such key; did you mean hold.window?",
            "environment variable RADHOLD_NOED: noed: there is no such key; did you mean node?",
            "flag --set log.format: log.format: \"xml\" is not text or json: there are only these two",
        ]
    );
}

#[test]
fn variables_an_orchestrator_sets_for_itself_are_warned_of_only() {
    let bench = Bench::new("").variable("RADHOLD_SERVICE_HOST", "10.96.0.7");
    let warnings = bench.load().unwrap().warnings;
    assert_eq!(warnings, ["environment variable RADHOLD_SERVICE_HOST is none of our settings and is ignored"]);
}

#[test]
fn what_cannot_hold_together_is_refused() {
    let nas = "[nas.a]\naddress = \"10.0.0.1\"\nsecret = \"0123456789abcdef\"\n";
    let webhook = "[approver.webhook]\nurl = \"https://ask.example/\"\n";
    for (toml, message) in [
        ("[hold]\npermit_filter = \"sandbox\"", "radhold.toml:2: hold.permit_filter: is \"sandbox\" like"),
        ("[hold]\napprovers = []", "radhold.toml:2: hold.approvers: lists nobody"),
        ("[hold]\napprovers = [\"telegram\"]", "radhold.toml:2: hold.approvers: names telegram, but there is no"),
        (
            "[hold]\napprovers = [\"operatro:1m\"]",
            "radhold.toml:2: hold.approvers: \"operatro:1m\" is not an approver: no approver is called \"operatro\"; there are \
             telegram, operator, webhook, person, totp; did you mean operator?",
        ),
        (
            "[hold]\napprovers = [\"operator:x\"]",
            "radhold.toml:2: hold.approvers: \"operator:x\" is not an approver: the patience of",
        ),
        (
            "[hold]\napprovers = [\"operator\", \"operator:1m\"]",
            "radhold.toml:2: hold.approvers: operator stands there twice",
        ),
        ("[hold]\napprovers = [\"webhook\"]", "radhold.toml:2: hold.approvers: names webhook, but there is no"),
        ("[hold]\nwhen_unreachable = \"open\"", "radhold.toml:2: hold.when_unreachable: \"open\" is not end or hold"),
        ("[hold]\nunreachable_after = \"0s\"", "radhold.toml:2: hold.unreachable_after: cannot be zero"),
        (&format!("{nas}approvers = [\"webhook\"]"), "radhold.toml:4: nas.a.approvers: names webhook, but there is no"),
        ("[approver.webhook]", "radhold.toml:1: approver.webhook.url: is missing"),
        (
            "[approver.webhook]\nurl = \"ftp://x/\"",
            "radhold.toml:2: approver.webhook.url: \"ftp://x/\" is not an http or https URL",
        ),
        (&format!("{webhook}secret = \"short\""), "radhold.toml:3: approver.webhook.secret: is shorter than 16"),
        (&format!("{webhook}timeout = \"1m\""), "radhold.toml:3: approver.webhook.timeout: is not between"),
        (
            &format!("{webhook}allow = [\"home\"]"),
            "radhold.toml:3: approver.webhook.allow: \"home\" is not an address or network",
        ),
        (
            &format!("{webhook}callback_url = \"https://x/\""),
            "radhold.toml:3: approver.webhook.callback_url: is of no use without",
        ),
        (
            &format!("{webhook}listen = \"0.0.0.0:80\""),
            "radhold.toml:1: approver.webhook.callback_url: is missing: listen is all",
        ),
        ("[hold]\nretry_first = \"2m\"", "radhold.toml:2: hold.retry_first: is longer than retry_most"),
        ("[telegram]", "radhold.toml:1: telegram.token: is missing"),
        ("[server]\nauth = []", "radhold.toml:2: server.auth: lists no address"),
        ("[nas.a]", "radhold.toml:1: nas.a.address: is missing"),
        (
            &format!("{nas}[nas.b]\naddress = \"10.0.0.1/32\"\nsecret = \"fedcba9876543210\""),
            "radhold.toml:5: nas.b.address: is the address of nas.a too",
        ),
        (
            &format!("{nas}radsec = [\"dns:x\"]\n[nas.b]\nradsec = [\"dns:y\", \"dns:x\"]\nradsec_only = true"),
            "radhold.toml:6: nas.b.radsec: names dns:x, as nas.a does",
        ),
        (&format!("{nas}sandbox_filter = \"permit\""), "radhold.toml:1: nas.a.permit_filter: is \"permit\" like"),
    ] {
        let problems = Bench::new(toml).problems();
        assert!(problems.iter().any(|problem| problem.starts_with(message)), "{toml}\n{problems:#?}");
    }
}

#[test]
fn a_server_on_loopback_is_told_that_its_nas_is_elsewhere() {
    let bench = Bench::new("[nas.a]\naddress = \"10.0.0.1\"\nsecret = \"0123456789abcdef\"\n");
    let warnings = bench.load().unwrap().warnings;
    assert!(matches!(&warnings[..], [one] if one.contains("loopback only")), "{warnings:?}");
}

#[test]
fn a_captive_network_is_on_interfaces_of_its_own() {
    for (agent, captive, problem) in [
        ("", "", "agent.captive.interfaces: are missing; a captive network is on one"),
        ("", "interfaces = [\"ppp7\"]", "agent.captive.interfaces: ppp7 is of agent.interfaces too"),
        (
            "interfaces = [\"br-*\"]",
            "interfaces = [\"br-g*\"]",
            "agent.captive.interfaces: br-g* is of agent.interfaces too",
        ),
        ("", "interfaces = [\"br-g\"]\npermit_limit = 0", "agent.captive.permit_limit: is between 1s and 366d"),
    ] {
        let problems = Bench::new(&format!("[agent]\n{agent}\n[agent.captive]\n{captive}\n")).problems();
        assert!(problems.len() == 1 && problems[0].contains(problem), "{problems:?}");
    }
    let agent = Bench::new("[agent]\ninterfaces = [\"ppp*\"]\n").config().agent;
    assert_eq!(agent.captive, None, "off without its section");
}

// -- the spool

#[test]
fn the_spool_says_what_cannot_be() {
    let config =
        Bench::new("[spool]\nfile = \"own.sqlite\"\nafter = \"500ms\"\nmax_mebibytes = 64\ndrain_rate = 10\n").config();
    assert_eq!((config.spool.after, config.spool.max_mebibytes), (Duration::from_millis(500), 64));
    assert_eq!((config.spool.file.file_name().unwrap().to_str(), config.spool.drain_rate), (Some("own.sqlite"), 10));
    assert_eq!(Bench::new("").config().spool.file, Path::new("/state/spool.sqlite"));
    let problems =
        Bench::new("[store]\ngather = \"2s\"\nbatch = 0\n[spool]\nafter = \"1ms\"\nmax_mebibytes = 0\n").problems();
    for key in ["store.gather", "store.batch", "spool.after", "spool.max_mebibytes"] {
        assert!(problems.iter().any(|problem| problem.contains(key)), "{key}: {problems:?}");
    }
}

// -- strikes, lockout, lists of callers

#[test]
fn lists_of_callers_are_networks_for_all_and_for_one_nas() {
    let config = Bench::new(
        "[callers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"0.0.0.0/0\", \"2001:db8::9/32\"]\n[strikes]\nlimit = 3\n\
         [nas.edge]\naddress = \"192.0.2.1\"\nsecret = \"0123456789abcdef\"\ndeny_callers = [\"192.0.2.7\"]\n",
    )
    .config();
    let texts = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&config.callers.allow), ["10.0.0.0/8"]);
    assert_eq!(texts(&config.callers.deny), ["0.0.0.0/0", "2001:db8::/32"]);
    assert_eq!(texts(&config.nas[0].callers.deny), ["192.0.2.7/32"]);
    assert_eq!((config.strikes.limit, config.strikes.ban), (3, Duration::from_secs(1800)));
}

#[test]
fn what_is_wrong_with_bans_names_its_key() {
    let problems = Bench::new(
        "[callers]\nallow = [\"office\"]\n[strikes]\nwindow = 0\n[lockout]\ndelay_first = \"1h\"\nforget = \"1m\"\n\
         [audit]\nkeep = \"long\"\n",
    )
    .problems();
    let named = |key: &str| problems.iter().any(|problem| problem.contains(&format!(" {key}: ")));
    for key in ["callers.allow", "strikes.window", "lockout.delay_first", "lockout.forget", "audit.keep"] {
        assert!(named(key), "{key}: {problems:#?}");
    }
}

#[test]
fn what_is_wrong_with_the_bot_names_its_key_and_shows_no_secret() {
    let problems = Bench::new(
        "[telegram]\ntoken = \"1:a\"\nadministrators = [\"root\"]\nbot_name = \"@bot\"\nmessages_per_second = 0\n\
         proxy = \"ftp://radhold:hunter2@proxy\"\n\
         [telegram.webhook]\nurl = \"http://radius.example/\"\nlisten = \"everywhere\"\nsecret = \"short!\"\n\
         [enrolment]\nconfirm = \"perhaps\"\nvalid_for = 0\n",
    )
    .problems();
    let named = |key: &str| problems.iter().any(|problem| problem.contains(&format!(" {key}: ")));
    for key in [
        "telegram.administrators",
        "telegram.bot_name",
        "telegram.messages_per_second",
        "telegram.proxy",
        "telegram.webhook.url",
        "telegram.webhook.listen",
        "telegram.webhook.secret",
        "enrolment.confirm",
        "enrolment.valid_for",
    ] {
        assert!(named(key), "{key}: {problems:#?}");
    }
    assert!(!problems.iter().any(|problem| problem.contains("hunter2") || problem.contains("short!")), "{problems:#?}");
    // Somebody must be there to have the last word.
    for setting in ["confirm = \"administrator\"", "self_registration = true"] {
        let config = format!("[telegram]\ntoken = \"1:a\"\n[enrolment]\n{setting}\n");
        let problems = Bench::new(&config).problems();
        assert!(problems.len() == 1 && problems[0].contains("telegram.administrators"), "{problems:#?}");
    }
}

#[test]
fn sockets_and_their_buffers_have_bounds() {
    let server = Bench::new("[server]\nsockets = 64\nreceive_buffer = 1048576\n").config().server;
    assert_eq!((server.sockets, server.receive_buffer), (64, 1 << 20));
    assert_eq!(
        Bench::new("[server]\nsockets = 65\nreceive_buffer = 1000\n").problems(),
        [
            "radhold.toml:2: server.sockets: is too large; at most 64",
            "radhold.toml:3: server.receive_buffer: 1000 is too small; at least 131072",
        ]
    );
    let problems = Bench::new("[server]\nsockets = 0\n").problems();
    assert_eq!(problems, ["radhold.toml:2: server.sockets: 0 is too small; at least 1"]);
}
