//! The agent on real nftables, in network namespaces of its own: what the sandbox lets through, what requests do, and what
//! outlives whom.

mod bench;
mod captive;
mod hostapd;
mod ipcp;
mod links;
mod portal;
mod requests;
mod restart;
mod table;

use std::io::Read as _;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use bench::{ALICE, BOB, Bench, INSIDE, INSIDE_V6, PORTAL, RESOLVER, echoes};

#[test]
fn the_sandbox_lets_dns_and_the_portal_through_and_rejects_the_rest_at_once() {
    let mut bench = Bench::start("");
    bench.alice();
    assert!(!bench.reaches("c0", INSIDE));
    assert!(!bench.reaches("c0", INSIDE_V6));
    assert!(!bench.reaches("c0", "10.93.0.1:3799"), "the NAS itself");
    assert!(bench.reaches("c0", PORTAL));
    let mut heard = String::new();
    bench.connect("c0", "198.51.100.1:80").unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "portal\n", "HTTP to anywhere goes to the portal");
    let ask = |to: &str| {
        bench.inside("c0", || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket.connect(to).unwrap();
            socket.send(b"name?").unwrap();
            let mut answer = [0; 64];
            socket.recv(&mut answer).map(|count| answer[..count].to_vec())
        })
    };
    assert_eq!(ask(RESOLVER).unwrap(), b"name?");
    let refused = ask("10.92.0.10:5353").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(113), "ICMP says no route at once: {refused}");
}

#[test]
fn a_permit_lets_through_and_the_sandbox_cuts_what_was_open() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    let mut streams = [INSIDE, INSIDE_V6].map(|to| bench.connect("c0", to).unwrap());
    assert!(streams.iter_mut().all(echoes));
    assert!(!bench.reaches("c1", INSIDE), "nobody else is let through");
    bench.coa("sandbox");
    assert!(!streams.iter_mut().any(echoes), "open flows are cut");
    assert!(!bench.reaches("c0", INSIDE));
    assert!(!bench.reaches("c0", INSIDE_V6));
    // And forgotten: nothing of them goes on, whoever has the address next.
    for (family, client) in [("ipv4", "10.93.0.50"), ("ipv6", "fd00:93:50::50")] {
        let flows = || {
            let listed = bench.within("nas", "conntrack").args(["-L", "-f", family, "--orig-src", client]).output();
            String::from_utf8(listed.unwrap().stdout).unwrap()
        };
        bench.until(|| (!flows().contains("dport=7 ")).then_some(()));
    }
}

#[test]
fn an_address_that_is_used_again_starts_in_the_sandbox() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    bench.coa("permit");
    let mut stream = bench.connect("c0", INSIDE).unwrap();
    assert!(echoes(&mut stream));
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert_eq!(bench.state("ppp0"), None);
    assert!(!echoes(&mut stream));
    let next = bench.pppd("ppp0", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp0", next, &[("IPREMOTE", "10.93.0.50"), ("PEERNAME", "carol")]);
    assert!(!bench.reaches("c0", INSIDE) && !echoes(&mut stream));
    // Also when the agent never heard of the end of the first.
    bench.radclient("coa", "User-Name=carol,Filter-Id=permit");
    assert!(bench.reaches("c0", INSIDE));
    let third = bench.pppd("ppp0", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp0", third, &ALICE);
    assert!(!bench.reaches("c0", INSIDE));
}

#[test]
fn an_earlier_pppds_late_word_changes_nothing() {
    let mut bench = Bench::start("");
    let earlier = bench.alice();
    // pppd starts ip-down and does not wait for it; the next login may be quicker.
    let next = bench.pppd("ppp0", "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp0", next, &ALICE);
    for event in ["ip-up", "ipv6-up", "ipv6-down", "ip-down"] {
        bench.hook(event, "ppp0", earlier, &ALICE);
        assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"), "{event}");
    }
    bench.hook("ip-down", "ppp0", next, &ALICE);
    assert_eq!(bench.state("ppp0"), None);
}

#[test]
fn a_permitted_address_on_another_interface_is_not_permitted() {
    let mut bench = Bench::start("");
    let bob = bench.pppd("ppp1", "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    assert_eq!(bench.state("ppp1").as_deref(), Some("permitted"), "its Access-Accept said so");
    assert!(bench.reaches("c1", INSIDE));
    assert!(bench.nft(&["list", "set", "inet", "radhold", "permit_v4"]).contains("\"ppp1\" . 10.93.0.51"));
    bench.alice();
    // Alice's client takes bob's address, and the NAS's own check of sources is off.
    bench.inside("nas", || {
        for interface in ["all", "ppp0"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"), "0").unwrap();
        }
    });
    bench.inside("c0", || {
        let added = Command::new("ip").args(["addr", "add", "10.93.0.51/32", "dev", "up0"]).status().unwrap();
        assert!(added.success());
    });
    let heard = bench.inside("lan", || UdpSocket::bind("10.92.0.10:9").unwrap());
    heard.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let as_bob = |client: &str, word: &'static [u8]| {
        bench.inside(client, || {
            let socket = UdpSocket::bind("10.93.0.51:0").unwrap();
            socket.send_to(word, "10.92.0.10:9").unwrap();
        });
    };
    as_bob("c0", b"from alice's");
    as_bob("c1", b"from bob's");
    let mut octets = [0; 64];
    let count = heard.recv(&mut octets).unwrap();
    assert_eq!(&octets[..count], b"from bob's", "the set holds the interface too");
}

#[test]
fn ipv6_may_come_first_and_is_sandboxed_and_permitted_alike() {
    let mut bench = Bench::start("");
    let pid = bench.pppd("ppp0", "Filter-Id sandbox\n");
    bench.hook("ipv6-up", "ppp0", pid, &[("LLREMOTE", "fe80::50"), ("PEERNAME", "alice")]);
    assert!(!bench.reaches("c0", INSIDE_V6));
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    let by_address = "Framed-IPv6-Address=fe80::50,Framed-Interface-Id=0000:0000:0000:0050,Filter-Id=permit";
    assert_eq!(bench.radclient("coa", by_address).0, "CoA-ACK", "{:#?}", bench.log());
    assert!(bench.reaches("c0", INSIDE_V6));
    bench.hook("ip-down", "ppp0", pid, &[]);
    assert!(!bench.reaches("c0", INSIDE_V6));
}

#[test]
fn filters_have_sets_and_marks() {
    let mut bench = Bench::start("[agent.filter.permit]\n[agent.filter.gold]\nset = \"fast\"\nmark = 7\n");
    bench.alice();
    bench.coa("gold");
    assert!(bench.nft(&["list", "set", "inet", "radhold", "fast_v4"]).contains("10.93.0.50"));
    assert!(
        bench.nft(&["list", "chain", "inet", "radhold", "from_peer"]).contains("@fast_v4 meta mark set 0x00000007")
    );
    assert!(bench.reaches("c0", INSIDE));
    bench.coa("permit");
    assert!(!bench.nft(&["list", "set", "inet", "radhold", "fast_v4"]).contains("10.93.0.50"));
    assert!(bench.reaches("c0", INSIDE));
}

#[test]
fn a_banned_address_is_refused_the_outer_protocol_and_nothing_else() {
    let bench = Bench::start("ban_tcp = [1723]\n");
    let listener = bench.inside("nas", || std::net::TcpListener::bind("10.92.0.1:1723").unwrap());
    assert!(bench.reaches("lan", "10.92.0.1:1723"));
    let ban = |arguments: &[&str]| assert!(bench.radhold(arguments).status().unwrap().success());
    ban(&["agent", "ban", "10.92.0.10", "--for", "1h"]);
    ban(&["agent", "ban", "10.92.0.10", "--for", "2h"]);
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    assert!(bench.nft(&["list", "set", "inet", "radhold", "banned_v4"]).contains("timeout 2h"));
    ban(&["agent", "unban", "10.92.0.10"]);
    ban(&["agent", "unban", "10.92.0.10"]);
    assert!(bench.reaches("lan", "10.92.0.1:1723"));
    drop(listener);
}

/// What radattr cuts, pppd sends whole: with the front the agent knows all of Class, and whose Acct-Session-Id is whose.
#[test]
fn the_front_tells_the_agent_what_servers_know_a_session_by() {
    let mut bench = Bench::start(
        "[agent.front]\nsecret = \"0123456789abcdef\"\n[agent.front.server.1]\naddress = \"127.0.0.1\"\n\
         auth_port = 9\naccounting_port = 9\nsecret = \"0123456789abcdef\"\n",
    );
    let pid = bench.pppd("ppp0", "Filter-Id sandbox\nClass rh\\001\n");
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    let refused = |attributes: &str| {
        bench.radclient("coa", &format!("NAS-Port=0,{attributes},Filter-Id=sandbox")).1.as_deref()
            == Some("Session-Context-Not-Found")
    };
    let (own, other) = ("Class=0x7268010011", "Class=0x7268010022");
    assert!(!refused(own) && !refused(other), "as far as radattr tells");
    assert!(refused("Class=0x726802"));
    assert!(refused("Acct-Session-Id=x"), "neither pppd's nor the front's");
    let start = format!("Acct-Status-Type=Start,NAS-Port=0,User-Name=alice,Acct-Session-Id=\"%lX6b000862%hX\",{own}");
    let mut command = bench.within("nas", "radclient");
    command.args(["-r", "1", "-t", "1", "127.0.0.1:1813", "acct", "0123456789abcdef"]);
    // No server answers, so neither does the front.
    assert!(!bench::feed(command, &start).status.success());
    bench.until(|| refused(other).then_some(()));
    assert!(!refused(own));
    assert!(refused("Acct-Session-Id=6b000862-0123456789abcdef"), "the front's, but another's");
}

#[test]
fn the_doctor_says_how_far_a_servers_clock_is_off() {
    let mut bench = Bench::start("");
    bench.alice();
    let finding = || {
        let output = bench.radhold(&["doctor", "nas", "--json"]).output().unwrap();
        let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).cloned();
        assert_eq!(of("nas.agent").unwrap()["level"], "ok");
        Some(of("nas.clock-skew")?["level"].as_str().unwrap().to_owned())
    };
    assert_eq!(finding(), None, "nobody ordered anything");
    bench.coa("permit");
    assert_eq!(finding().as_deref(), Some("ok"));
    let late = radhold::app::clock::now().as_secs() - 400;
    let attributes = format!("User-Name=alice,Filter-Id=sandbox,Event-Timestamp={late},Message-Authenticator=0x00");
    assert_eq!(bench.radclient_in("nas", "coa", bench::SECRET, &attributes, Duration::from_secs(1)).0, "");
    bench.until(|| (finding()? == "fail").then_some(()));
}

#[test]
fn a_server_bans_an_address_by_coa_request() {
    let bench = Bench::start("ban_tcp = [1723]\n");
    let listener = bench.inside("nas", || std::net::TcpListener::bind("10.92.0.1:1723").unwrap());
    let coa = |attributes: &str| bench.radclient("coa", attributes);
    let ban = "Filter-Id=\"radhold:ban\",Calling-Station-Id=10.92.0.10";
    assert_eq!(coa(&format!("{ban},Session-Timeout=7200")).0, "CoA-ACK", "{:#?}", bench.log());
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    assert!(bench.nft(&["list", "set", "inet", "radhold", "banned_v4"]).contains("timeout 2h"));
    for (attributes, cause) in [
        (format!("{ban},NAS-Identifier=nas-2"), "NAS-Identification-Mismatch"),
        (format!("{ban},User-Name=alice"), "Unsupported-Attribute"),
        ("Filter-Id=\"radhold:ban\",Calling-Station-Id=\"10.92.0.10/24\"".to_owned(), "Invalid-Attribute-Value"),
        ("Filter-Id=\"radhold:lift-ban\"".to_owned(), "Missing-Attribute"),
    ] {
        assert_eq!(coa(&attributes), ("CoA-NAK".to_owned(), Some(cause.to_owned())), "{attributes}");
    }
    let lift = "Filter-Id=\"radhold:lift-ban\",Calling-Station-Id=10.92.0.10";
    assert_eq!(coa(lift).0, "CoA-ACK");
    assert_eq!(coa(lift).0, "CoA-ACK", "what is not banned is not banned");
    assert!(bench.reaches("lan", "10.92.0.1:1723"));
    assert_eq!(coa(ban).0, "CoA-ACK", "without end");
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    // A network that overlaps it, and outlasts it.
    let network = |word: &str| format!("Filter-Id=\"radhold:{word}\",Calling-Station-Id=\"10.92.0.0/24\"");
    assert_eq!(coa(&network("ban")).0, "CoA-ACK", "{:#?}", bench.log());
    assert_eq!(coa(lift).0, "CoA-ACK");
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    assert_eq!(coa(&network("lift-ban")).0, "CoA-ACK");
    assert!(bench.reaches("lan", "10.92.0.1:1723"));
    drop(listener);
}

#[test]
fn tables_of_others_are_not_touched_and_ours_can_be_printed() {
    let bench = Bench::without_agent("");
    bench.nft(&["add", "table", "inet", "theirs"]);
    bench.nft(&["add", "chain", "inet", "theirs", "forward", "{ type filter hook forward priority 0; }"]);
    bench.nft(&["add", "rule", "inet", "theirs", "forward", "tcp", "dport", "25", "drop"]);
    let before = bench.nft(&["list", "ruleset"]);
    let mut bench = bench;
    bench.start_agent();
    assert_eq!(bench.nft(&["list", "table", "inet", "theirs"]).trim(), before.trim());
    let in_force = bench.nft(&["list", "table", "inet", "radhold"]);
    bench.kill_agent();
    let printed = bench.radhold(&["agent", "--print-rules"]).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    std::fs::write(bench.path("rules.json"), printed.stdout).unwrap();
    bench.nft(&["delete", "table", "inet", "radhold"]);
    assert_eq!(bench.nft(&["list", "ruleset"]).trim(), before.trim());
    bench.nft(&["-j", "-f", bench.path("rules.json").to_str().unwrap()]);
    assert_eq!(bench.nft(&["list", "table", "inet", "radhold"]), in_force);
}

#[test]
fn rules_that_somebody_changed_are_mended() {
    let mut bench = Bench::start("");
    bench.alice();
    let permitted = || bench.nft(&["list", "set", "inet", "radhold", "permit_v4"]);
    bench.nft(&["add", "element", "inet", "radhold", "permit_v4", "{ \"ppp0\" . 10.93.0.50 }"]);
    bench.until(|| (!permitted().contains("10.93.0.50")).then_some(()));
    assert!(!bench.reaches("c0", INSIDE));
    // As a restart of nftables.service does. The agent hears of it, and does not wait for the next comparison: most often there
    // is none in between.
    let heard_of = (0..20).any(|_| {
        let looks = bench.counter("agent-looked-around");
        bench.nft(&["flush", "ruleset"]);
        bench.until(|| bench.nft(&["list", "tables"]).contains("inet radhold").then_some(()));
        assert!(!bench.reaches("c0", INSIDE));
        bench.counter("agent-looked-around") == looks
    });
    assert!(heard_of);
    bench.nft(&["flush", "chain", "inet", "radhold", "forward"]);
    bench.until(|| bench.nft(&["list", "chain", "inet", "radhold", "forward"]).contains("from_peer").then_some(()));
    assert!(!bench.reaches("c0", INSIDE));
}

#[test]
fn a_rule_that_was_changed_or_a_chain_that_was_unhooked_is_mended() {
    let mut bench = Bench::start("");
    bench.alice();
    let last_of = |chain: &str| {
        let listed = bench.nft(&["-a", "list", "chain", "inet", "radhold", chain]);
        let last = listed.lines().rev().find(|line| line.contains("jump")).unwrap().to_owned();
        last.rsplit_once("# handle ").unwrap().1.trim().to_owned()
    };
    // As many rules as before.
    bench.nft(&["replace", "rule", "inet", "radhold", "from_peer", "handle", &last_of("from_peer"), "return"]);
    let from_peer = || bench.nft(&["list", "chain", "inet", "radhold", "from_peer"]);
    bench.until(|| from_peer().contains("jump sandbox").then_some(()));
    assert!(!bench.reaches("c0", INSIDE));
    // The same number, in another order.
    bench.nft(&["delete", "rule", "inet", "radhold", "from_peer", "handle", &last_of("from_peer")]);
    bench.nft(&["insert", "rule", "inet", "radhold", "from_peer", "jump", "sandbox"]);
    bench.until(|| from_peer().trim_end_matches(['}', '\n', '\t']).trim_end().ends_with("jump sandbox").then_some(()));
    // A session that comes and goes is no change.
    bench.coa("permit");
    bench.coa("sandbox");
    let made = bench.nft(&["-a", "-t", "list", "table", "inet", "radhold"]);
    let looks = bench.counter("agent-looked-around");
    bench.until(|| (bench.counter("agent-looked-around") >= looks + 2).then_some(()));
    assert_eq!(bench.nft(&["-a", "-t", "list", "table", "inet", "radhold"]), made, "not made anew without need");
}

/// A peer chooses its IPv6 addresses itself, but only those that are routed to it.
#[test]
fn an_ipv6_source_that_is_not_behind_the_interface_is_not_permitted() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    assert!(bench.reaches("c0", INSIDE_V6));
    bench.inside("c0", || {
        let added =
            Command::new("ip").args(["-6", "addr", "add", "fd00:93:51::51/128", "dev", "up0", "nodad"]).status();
        assert!(added.unwrap().success());
    });
    let heard = bench.inside("lan", || UdpSocket::bind("[fd00:92::10]:9").unwrap());
    heard.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let says = |from: &str, word: &'static [u8]| {
        let from = format!("[{from}]:0");
        bench.inside("c0", || UdpSocket::bind(from).unwrap().send_to(word, "[fd00:92::10]:9").unwrap());
    };
    says("fd00:93:51::51", b"as bob");
    says("fd00:93:50::50", b"as herself");
    let mut octets = [0; 64];
    let count = heard.recv(&mut octets).unwrap();
    assert_eq!(&octets[..count], b"as herself");
}

#[test]
fn a_hook_is_quick_and_succeeds_when_the_agent_is_stuck() {
    let mut bench = Bench::without_agent("");
    std::fs::write(bench.path("radhold.toml"), "[agent]\nsocket = \"agent.sock\"\n").unwrap();
    let stuck = UnixListener::bind(bench.path("agent.sock")).unwrap();
    let pid = bench.pppd("ppp0", "");
    for event in ["ip-pre-up", "ip-up", "ip-down", "ipv6-up", "ipv6-down"] {
        let took = bench.hook(event, "ppp0", pid, &ALICE);
        assert!(took < Duration::from_secs(3), "{event}: {took:?}");
    }
    drop(stuck);
}
