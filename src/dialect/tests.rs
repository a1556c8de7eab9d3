//! Every dialect loads, and says what its family of NAS understands.

use std::net::IpAddr;

use super::*;
use crate::model::{ApproverKind, Identity, Nas, ReplyItem, SecondFactor, Secret, SessionId, Timestamp, User};
use crate::policy::{self, Defaults, HoldTerms};

const START: Timestamp = Timestamp::from_secs(1_795_000_000);

fn dictionary() -> &'static Dictionary {
    Dictionary::embedded()
}

fn dialects() -> Dialects {
    Dialects::embedded(dictionary()).unwrap()
}

fn dialect(name: &str) -> Dialect {
    dialects().get(name).unwrap().clone()
}

/// What the policy grants alice, with two minutes of window and thirty seconds of grace.
fn grant(second_factor: SecondFactor, session_timeout: Option<u64>, reply: &[(&str, &str)]) -> Grant {
    let item = |(name, value): &(&str, &str)| ReplyItem { name: (*name).to_owned(), value: (*value).to_owned() };
    let user = User {
        second_factor,
        session_timeout: session_timeout.map(Duration::from_secs),
        reply: reply.iter().map(item).collect(),
        ..User::new("alice", Secret::new(""), Timestamp::default())
    };
    let nas = Nas::new("edge", "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("x"));
    let defaults = Defaults {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        hold: HoldTerms {
            window: Duration::from_secs(120),
            grace: Duration::from_secs(30),
            approvers: vec![ApproverKind::Telegram],
        },
    };
    policy::decide(&user, &nas, &defaults).unwrap()
}

fn held(session_timeout: Option<u64>, reply: &[(&str, &str)]) -> Grant {
    grant(SecondFactor::Required, session_timeout, reply)
}

fn session(grant: Grant, identity: Identity) -> Session {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let id = SessionId(uuid::Uuid::from_u128(1));
    let offered = Session::offer(id, "alice".into(), "edge".into(), address, identity, grant, START);
    let mut record = offered.into_record();
    record.started_at = Some(START);
    Session::restore(record)
}

fn identity() -> Identity {
    Identity {
        nas_port: Some(7),
        nas_port_id: Some("ppp7".into()),
        nas_ip_address: Some("192.0.2.1".parse().unwrap()),
        nas_identifier: Some("edge-1".into()),
        calling_station_id: Some("198.51.100.9".into()),
        called_station_id: Some("192.0.2.1".into()),
        acct_session_id: Some("a1".into()),
        framed_ip: Some("10.0.0.7".parse().unwrap()),
        framed_ipv6_prefix: Some("2001:db8:1::/64".parse().unwrap()),
        medium: None,
    }
}

fn fully(session: Session) -> Session {
    let mut record = session.into_record();
    record.identify_fully = true;
    Session::restore(record)
}

/// Attributes as people read them, so that a wrong octet or a wrong name shows.
fn shown(attributes: &[Vec<u8>]) -> Vec<String> {
    let octets: Vec<u8> = attributes.concat();
    let mut rest = &octets[..];
    let mut split = vec![];
    while let [kind, length, ..] = *rest {
        split.push((kind, &rest[2..usize::from(length)]));
        rest = &rest[usize::from(length)..];
    }
    dictionary().describe_all(split).iter().map(ToString::to_string).collect()
}

fn accept(dialect: &Dialect, grant: &Grant) -> Vec<String> {
    shown(&dialect.accept(dictionary(), &"alice".into(), grant, b"\x01\x02").unwrap())
}

fn permit(dialect: &Dialect, session: &Session, after_secs: u64) -> Vec<Vec<String>> {
    let requests = dialect.permit(dictionary(), session, START + Duration::from_secs(after_secs)).unwrap();
    assert!(requests.iter().all(|request| request.kind == RequestKind::Coa));
    requests.iter().map(|request| shown(&request.attributes)).collect()
}

const CLASS: &str = "Class = 0x0102";
const USER: &str = r#"User-Name = "alice""#;
const ACCT: &str = r#"Acct-Session-Id = "a1""#;
const PORT: &str = "NAS-Port = 7";
const CALLING: &str = r#"Calling-Station-Id = "198.51.100.9""#;
const SANDBOX: &str = r#"Filter-Id = "sandbox""#;
const PERMIT: &str = r#"Filter-Id = "permit""#;
const INTERIM: &str = "Acct-Interim-Interval = 60";
const FOR_A_YEAR: &str = "Session-Timeout = 31536000";
const FOR_THE_HOLD: &str = "Session-Timeout = 150";

#[test]
fn all_seven_are_there() {
    let names: Vec<_> = dialects().iter().map(|dialect| dialect.name().to_owned()).collect();
    assert_eq!(names, ["accel-ppp", "cisco", "mikrotik", "pppd-agent", "standard", "strongswan", "uspot"]);
}

/// The directory and the list in the program say the same.
#[test]
fn every_file_of_the_directory_is_embedded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/dialects");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let embedded: Vec<_> = EMBEDDED.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(files, embedded);
}

#[test]
fn standard_says_it_with_filter_id() {
    let standard = dialect("standard");
    assert_eq!(accept(&standard, &held(None, &[])), [SANDBOX, FOR_THE_HOLD, INTERIM, CLASS]);
    let session = session(held(None, &[]), identity());
    assert_eq!(permit(&standard, &session, 20), [[USER, ACCT, CALLING, FOR_A_YEAR, PERMIT]]);
    let disconnect = standard.disconnect(&session);
    assert_eq!(shown(&disconnect.attributes), [USER, ACCT, CALLING]);
    assert_eq!(disconnect.kind, RequestKind::Disconnect);
    assert!(disconnect.message_authenticator && disconnect.event_timestamp && !disconnect.fresh_port);
}

#[test]
fn rfc5176_section_3_508_gets_all_we_know() {
    let session = fully(session(held(None, &[]), identity()));
    let all = [
        USER,
        ACCT,
        PORT,
        r#"NAS-Port-Id = "ppp7""#,
        CALLING,
        r#"Called-Station-Id = "192.0.2.1""#,
        "Framed-IP-Address = 10.0.0.7",
        "Framed-IPv6-Prefix = 2001:db8:1::/64",
        "NAS-IP-Address = 192.0.2.1",
        r#"NAS-Identifier = "edge-1""#,
    ];
    assert_eq!(shown(&dialect("standard").disconnect(&session).attributes), all);
}

#[test]
fn pppd_keeps_the_timeout_of_its_login() {
    let pppd = dialect("pppd-agent");
    assert_eq!(accept(&pppd, &held(Some(3600), &[])), [SANDBOX, "Session-Timeout = 3600", INTERIM, CLASS]);
    assert_eq!(accept(&pppd, &held(None, &[])), [SANDBOX, INTERIM, CLASS]);
    let session = session(held(Some(3600), &[]), identity());
    assert_eq!(permit(&pppd, &session, 20), [[USER, PORT, ACCT, PERMIT]]);
    assert!(!pppd.accounting_shows_filter());
    assert!(pppd.unique_ports() && !dialect("standard").unique_ports());
}

#[test]
fn mikrotik_switches_chains_and_never_address_lists() {
    let mikrotik = dialect("mikrotik");
    let grant = held(Some(3600), &[("Mikrotik-Group", "\"gold\""), ("Mikrotik-Rate-Limit", "\"10M\"")]);
    let rate = r#"Mikrotik-Rate-Limit = "10M""#;
    assert_eq!(accept(&mikrotik, &grant), [SANDBOX, FOR_THE_HOLD, INTERIM, rate, CLASS]);
    let framed = "Framed-IP-Address = 10.0.0.7";
    let group = r#"Mikrotik-Group = "gold""#;
    let limit = "Session-Timeout = 3600";
    assert_eq!(permit(&mikrotik, &session(grant, identity()), 20), [[USER, ACCT, framed, limit, PERMIT, group]]);
}

#[test]
fn accel_ppp_gets_one_attribute_per_coa_and_the_lifting_one_last() {
    let session = session(held(None, &[]), identity());
    let requests = permit(&dialect("accel-ppp"), &session, 20);
    assert_eq!(requests, [[USER, ACCT, FOR_A_YEAR], [USER, ACCT, PERMIT]]);
}

#[test]
fn cisco_switches_service_templates() {
    let cisco = dialect("cisco");
    let pair = |text: &str| format!("Cisco-AVPair = \"subscriber:{text}\"");
    let own = [("Cisco-AVPair", "\"ip:addr-pool=gold\"")];
    let accepted = accept(&cisco, &held(None, &own));
    assert_eq!(accepted, [&pair("service-name=sandbox"), INTERIM, CLASS]);
    let lifted = permit(&cisco, &session(held(None, &own), identity()), 20);
    let own = r#"Cisco-AVPair = "ip:addr-pool=gold""#;
    let [command, service] = [pair("command=activate-service"), pair("service-name=permit")];
    assert_eq!(lifted, [[ACCT, &command, &service, &pair("activation-mode=replace-all"), own]]);
    assert_eq!(cisco.coa_port(), 1700);
}

#[test]
fn strongswan_knows_user_name_and_session_timeout_only() {
    let strongswan = dialect("strongswan");
    assert_eq!(accept(&strongswan, &held(None, &[])), [INTERIM, CLASS]);
    let session = session(held(None, &[]), identity());
    assert_eq!(permit(&strongswan, &session, 20), [[USER, FOR_A_YEAR]]);
    assert_eq!(shown(&strongswan.disconnect(&fully(session)).attributes), [USER]);
    assert!(strongswan.disconnect(&self::session(held(None, &[]), identity())).fresh_port && !strongswan.confines());
}

#[test]
fn uspot_gets_nothing_it_refuses() {
    let uspot = dialect("uspot");
    assert_eq!(accept(&uspot, &held(None, &[])), [FOR_THE_HOLD, INTERIM, CLASS]);
    let unlimited = session(held(None, &[]), identity());
    assert_eq!(permit(&uspot, &unlimited, 20), [[USER, ACCT, "Session-Timeout = 0"]]);
    // It counts from the start of the session: what was spent in the hold is added.
    let limited = session(held(Some(3600), &[]), identity());
    assert_eq!(permit(&uspot, &limited, 20), [[USER, ACCT, "Session-Timeout = 3620"]]);
    for session in [unlimited, fully(limited)] {
        let request = uspot.disconnect(&session);
        assert!(!request.message_authenticator && !request.event_timestamp && !uspot.confines());
        let refused = ["Framed", "NAS-Port"];
        let attributes = shown(&request.attributes);
        assert!(!attributes.iter().any(|line| refused.iter().any(|name| line.starts_with(name))), "{attributes:?}");
    }
}

#[test]
fn a_waived_session_gets_all_at_once() {
    let reply = [("Framed-IP-Address", "10.0.0.9"), ("Filter-Id", "\"gold\"")];
    let grant = grant(SecondFactor::None, Some(60), &reply);
    assert_eq!(
        accept(&dialect("standard"), &grant),
        ["Session-Timeout = 60", INTERIM, "Framed-IP-Address = 10.0.0.9", r#"Filter-Id = "gold""#, CLASS]
    );
}

/// Invariant 1: whatever a user's reply items say, a held session is confined, in every dialect that can.
#[test]
fn reply_items_do_not_lift_a_hold() {
    let own = [("Filter-Id", "\"gold\""), ("NAS-Filter-Rule", "\"permit ip from any\""), ("Session-Timeout", "9999")];
    let standard = dialect("standard");
    assert_eq!(accept(&standard, &held(None, &own)), [SANDBOX, FOR_THE_HOLD, INTERIM, CLASS]);
    let [gold, rule] = [r#"Filter-Id = "gold""#, r#"NAS-Filter-Rule = "permit ip from any""#];
    let lifted = permit(&standard, &session(held(None, &own), identity()), 20);
    assert_eq!(lifted, [[USER, ACCT, CALLING, gold, rule, "Session-Timeout = 9999"]]);
    for dialect in dialects().iter().filter(|dialect| dialect.confines()) {
        let accepted = accept(dialect, &held(None, &own));
        assert!(!accepted.iter().any(|line| line.contains("gold")), "{}: {accepted:?}", dialect.name());
        assert!(accepted.iter().any(|line| line.contains("sandbox")), "{}: {accepted:?}", dialect.name());
    }
}

/// uspot would take the first client it has for a request that names none.
#[test]
fn no_request_without_a_session() {
    let session = session(held(None, &[]), Identity { nas_port: Some(7), ..Identity::default() });
    assert_eq!(shown(&dialect("cisco").disconnect(&session).attributes), [USER]);
}

#[test]
fn names_from_outside_are_text_and_nothing_else() {
    let mut grant = held(None, &[]);
    grant.sandbox_filter = r#"x" {filter} \n"#.into();
    assert_eq!(accept(&dialect("standard"), &grant)[0], r#"Filter-Id = "x\" {filter} \\n""#);
    grant.sandbox_filter = "x".repeat(254);
    let error = dialect("standard").accept(dictionary(), &"alice".into(), &grant, b"").unwrap_err();
    assert!(error.to_string().starts_with("dialect standard: Filter-Id"), "{error}");
}

#[test]
fn what_is_ours_cannot_be_a_reply_item() {
    let items = [ReplyItem { name: "Class".into(), value: "0x00".into() }];
    let error = dialect("standard").check_reply(dictionary(), &items).unwrap_err();
    assert_eq!(error, RenderError::Ours("Class".into()));
    let items = [ReplyItem { name: "Filter-Idd".into(), value: "x".into() }];
    let error = dialect("standard").check_reply(dictionary(), &items).unwrap_err().to_string();
    assert_eq!(error, r#"dialect standard: unknown attribute "Filter-Idd"; did you mean Filter-Id?"#);
}

#[test]
fn an_observed_session_is_never_permitted() {
    let id = SessionId(uuid::Uuid::from_u128(2));
    let address = "192.0.2.1".parse().unwrap();
    let observed = Session::observe(id, "alice".into(), "edge".into(), address, identity(), START);
    assert_eq!(dialect("standard").permit(dictionary(), &observed, START), Err(RenderError::NoGrant));
}

/// The standard dialect with one thing changed, and what is said about it.
#[test]
fn a_mistake_is_named_with_its_line() {
    let text = include_str!("../../config/dialects/standard.toml");
    let line_of = |needle: &str| text.lines().position(|line| line.starts_with(needle)).unwrap() + 1;
    for (from, to, at, wanted) in [
        (
            "fresh_port = false",
            "fresh_prt = false",
            "fresh_port",
            "unknown key \"fresh_prt\"; did you mean \"fresh_port\"?; known are coa_port",
        ),
        ("fresh_port = false", "fresh_port = 1", "fresh_port", "fresh_port must be true or false"),
        ("fresh_port = false", "", "#", "fresh_port is missing"),
        ("coa_port = 3799", "coa_port = 70000", "coa_port", "coa_port must be a whole number"),
        ("coa_port = 3799", "coa_port = 0x10", "coa_port", "coa_port must be a whole number"),
        ("\"request\"", "\"now\"", "session_timeout_counts_from", "unknown value \"now\"; known are request, start"),
        (
            "[\"User-Name\", ",
            "[\"Class\", ",
            "identify = ",
            "unknown identification attribute \"Class\"; known are User-Name",
        ),
        (
            "[\"NAS-Filter-Rule\"]",
            "[\"NAS-Filter-Rul\"]",
            "withhold",
            "unknown attribute \"NAS-Filter-Rul\"; did you mean NAS-Filter-Rule?",
        ),
        (
            "Acct-Interim-Interval = 60\n\n[w",
            "Acct-Interim-Interva = 60\n\n[w",
            "Acct-Interim",
            "unknown attribute \"Acct-Interim-Interva\"; did you mean Acct-Interim-Interval?",
        ),
        (
            "Acct-Interim-Interval = 60\n\n[w",
            "Acct-Interim-Interval = \"{filter}\"\n\n[w",
            "Acct-Interim",
            "Acct-Interim-Interval: \"sample\" is neither a number",
        ),
        (
            "Acct-Interim-Interval = 60\n\n[w",
            "Class = \"x\"\n\n[w",
            "Acct-Interim",
            "Class is written by radhold itself",
        ),
        (
            "Acct-Interim-Interval = 60\n\n[w",
            "Reply-Message = \"{fliter}\"\n\n[w",
            "Acct-Interim",
            "unknown placeholder \"fliter\"; did you mean \"filter\"?; known are filter",
        ),
        (
            "Acct-Interim-Interval = 60\n\n[w",
            "Reply-Message = \"{filter\"\n\n[w",
            "Acct-Interim",
            "Reply-Message: a brace must enclose",
        ),
        (
            "unlimited_session_timeout = 31536000",
            "",
            "[permit]",
            "session_timeout_can_be_raised is true, so permit needs",
        ),
        ("confines = true", "confines true", "confines", "key with no value"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Dialect::parse("d/own.toml", &text.replacen(from, to, 1), dictionary()).unwrap_err();
        // What is missing has no line of its own.
        let line = if at == "#" { 1 } else { line_of(at) };
        assert!(error.to_string().starts_with(&format!("d/own.toml:{line}: ")), "{error}, not line {line}");
        assert!(error.problem.to_string().starts_with(wanted), "{}", error.problem);
    }
}

#[test]
fn an_own_file_adds_or_replaces() {
    let mut dialects = dialects();
    let text = include_str!("../../config/dialects/uspot.toml").replace("coa_port = 3799", "coa_port = 1234");
    dialects.add("/etc/radhold/dialects/uspot.toml", &text, dictionary()).unwrap();
    dialects.add("gate.toml", &text.replace("= 60", "= \"6{{0\""), dictionary()).unwrap_err();
    dialects.add("gate.toml", &text, dictionary()).unwrap();
    assert_eq!(dialects.get("uspot").unwrap().coa_port(), 1234);
    assert_eq!(dialects.get("gate").unwrap().name(), "gate");
}

proptest::proptest! {
    /// An operator's file may be anything.
    #[test]
    fn no_text_makes_it_panic(at in 0usize..4_000, cut in 0usize..20, put in "[\\PC\n]{0,8}") {
        let text = include_str!("../../config/dialects/standard.toml");
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len())).max(at);
        let text = [&text[..at], &put, &text[end..]].concat();
        if let Err(error) = Dialect::parse("own.toml", &text, dictionary()) {
            proptest::prop_assert!(error.line <= text.matches('\n').count() + 1);
        }
    }
}
