//! The table of RFC 5176: each Error-Cause, and each request that must not be answered, by Debian's radclient and by pyrad. What
//! one of the two cannot say, the other says.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use radhold::app::clock;

use super::bench::{BOB, Bench, SECRET, ip};
use super::requests::two_of_alice;

/// Error-Cause by number and by radclient's name (RFC 5176 §3.5), what is sent, and the attributes.
const CAUSES: [(u32, &str, &str, &str); 19] = [
    (401, "Unsupported-Attribute", "coa", "User-Name=alice,NAS-Port=0,Filter-Id=permit,Framed-Pool=x"),
    (401, "Unsupported-Attribute", "disconnect", "User-Name=alice,NAS-Port=0,Filter-Id=permit"),
    (401, "Unsupported-Attribute", "disconnect", "User-Name=alice,Session-Timeout=1"),
    (402, "Missing-Attribute", "coa", "Filter-Id=permit"),
    (402, "Missing-Attribute", "coa", "User-Name=alice,NAS-Port=0"),
    (402, "Missing-Attribute", "disconnect", "NAS-Identifier=nas-1"),
    (403, "NAS-Identification-Mismatch", "coa", "User-Name=alice,NAS-Port=0,NAS-Identifier=nas-2,Filter-Id=permit"),
    (403, "NAS-Identification-Mismatch", "disconnect", "User-Name=alice,NAS-Port=0,NAS-Identifier=nas-2"),
    (404, "Invalid-Request", "coa", "User-Name=alice,User-Name=bob,Filter-Id=permit"),
    (405, "Unsupported-Service", "coa", "User-Name=alice,NAS-Port=0,Service-Type=17,State=0x01"),
    (405, "Unsupported-Service", "disconnect", "User-Name=alice,NAS-Port=0,Service-Type=2"),
    (407, "Invalid-Attribute-Value", "coa", "User-Name=alice,NAS-Port=0,Filter-Id=platinum"),
    (503, "Session-Context-Not-Found", "coa", "User-Name=nobody,Filter-Id=permit"),
    (503, "Session-Context-Not-Found", "disconnect", "User-Name=alice,NAS-Port=7"),
    (503, "Session-Context-Not-Found", "disconnect", "User-Name=alice,Framed-IP-Address=10.93.0.99"),
    (504, "Session-Context-Not-Removable", "disconnect", "User-Name=carol"),
    (508, "Multiple-Session-Selection-Unsupported", "coa", "User-Name=alice,Filter-Id=permit"),
    (508, "Multiple-Session-Selection-Unsupported", "disconnect", "User-Name=alice"),
    // While nft is broken.
    (506, "Resources-Unavailable", "coa", "User-Name=alice,NAS-Port=0,Filter-Id=permit"),
];

#[test]
fn rfc5176_section_3_5_each_error_cause_as_radclient_and_pyrad_read_it() {
    let mut bench = Bench::without_agent("");
    let broken = bench.path("broken");
    let path = std::env::var("PATH").unwrap();
    let script = format!("#!/bin/sh\n[ -e {} ] && exit 1\nPATH={path} exec nft \"$@\"\n", broken.display());
    std::fs::create_dir(bench.path("bin")).unwrap();
    std::fs::write(bench.path("bin/nft"), script).unwrap();
    std::fs::set_permissions(bench.path("bin/nft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.start_agent_by(&["env", &format!("PATH={}:{path}", bench.path("bin").display())]);
    two_of_alice(&mut bench);
    // A session that no process is known of.
    let carol: Vec<_> = BOB.iter().map(|&(name, value)| (name, if value == "bob" { "carol" } else { value })).collect();
    // Its interface is there, or the agent would find it gone when it next looks around.
    ip(&format!("-n {} link add ppp2 type veth peer name up2", bench.namespace("nas")));
    bench.hook("ip-pre-up", "ppp2", 0, &carol);
    for (number, name, kind, attributes) in CAUSES {
        if number == 506 {
            std::fs::write(&broken, "").unwrap();
        }
        let (code, nak) = if kind == "coa" { (45, "CoA-NAK") } else { (42, "Disconnect-NAK") };
        let (reply, said) = bench.radclient(kind, attributes);
        assert_eq!((reply.as_str(), said.as_deref()), (nak, Some(name)), "{kind} {attributes}");
        let words: Vec<&str> = attributes.split(',').collect();
        assert_eq!(bench.pyrad(kind, &words), format!("{code} {number}"), "{kind} {attributes}");
    }
    std::fs::remove_file(&broken).unwrap();
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"), "nothing was done");
    assert_eq!(bench.pyrad("coa", &["User-Name=alice", "NAS-Port=0", "Filter-Id=permit"]), "44");
    assert_eq!(bench.pyrad("disconnect", &["Framed-IP-Address=10.93.0.50"]), "41");
}

/// One after another on one socket: what is dropped silently is overtaken by the answer to the next, a Disconnect-NAK (42).
#[test]
fn rfc5176_what_proves_nothing_of_pyrads_is_dropped_silently() {
    let mut bench = Bench::start("");
    bench.alice();
    let discarded = ["agent-request-stranger", "agent-request-malformed", "agent-request-discarded"];
    let count = || discarded.map(|name| bench.counter(name)).iter().sum::<u64>();
    let answers = bench.pyrad("drops", &["User-Name=alice", "Filter-Id=permit"]);
    let lines: Vec<_> = answers.lines().collect();
    for line in &lines {
        assert!(line.ends_with(": 42"), "an answer to {line:?}\n{answers}");
    }
    for way in [
        "bad secret",
        "unknown peer",
        "missing Message-Authenticator",
        "wrong Message-Authenticator",
        "Event-Timestamp of long ago",
        "Event-Timestamp to come",
        "no Event-Timestamp",
        "code 4",
        "Length beyond the datagram",
        "attribute of length 1",
    ] {
        assert!(lines.contains(&format!("{way}: 42").as_str()), "{way} was never sent:\n{answers}");
    }
    assert_eq!(count(), lines.len() as u64, "each is counted as what it is: {:#?}", bench.log());
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
}

#[test]
fn rfc5176_what_proves_nothing_of_radclients_is_dropped_silently() {
    let mut bench = Bench::start("");
    bench.alice();
    let at = |seconds: i64| clock::now().as_secs() + seconds;
    let signed = "User-Name=alice,Filter-Id=permit,Message-Authenticator=0x00";
    for (way, kind, secret, attributes) in [
        ("bad secret", "coa", "another secret, as long as it", format!("{signed},Event-Timestamp={}", at(0))),
        ("unknown peer", "coa", SECRET, format!("{signed},Event-Timestamp={},Packet-Src-IP-Address=127.0.0.3", at(0))),
        (
            "no Message-Authenticator",
            "coa",
            SECRET,
            format!("User-Name=alice,Filter-Id=permit,Event-Timestamp={}", at(0)),
        ),
        ("of long ago", "coa", SECRET, format!("{signed},Event-Timestamp={}", at(-3600))),
        (
            "to come",
            "disconnect",
            SECRET,
            format!("User-Name=alice,Message-Authenticator=0x00,Event-Timestamp={}", at(3600)),
        ),
        ("no Event-Timestamp", "coa", SECRET, signed.to_owned()),
        ("another port's", "acct", SECRET, "User-Name=alice,Acct-Status-Type=Start,Acct-Session-Id=x".to_owned()),
    ] {
        let (reply, _) = bench.radclient_in("nas", kind, secret, &attributes, Duration::from_secs(1));
        assert_eq!(reply, "", "{way} is answered");
    }
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    // Over the same way, with nothing wrong.
    bench.coa("permit");
}
