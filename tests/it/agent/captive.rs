//! A captive network: a bridge of the NAS with two stations on it, and what their MAC addresses are let through for.

use std::io::Read as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bench::{Bench, INSIDE, INSIDE_V6, PORTAL, RESOLVER, echoes, ip};

/// The station in namespace `c0`.
const MAC: &str = "02:1a:2b:33:44:50";
const SECTION: &str = "[agent.captive]\ninterfaces = [\"br-guest\"]\npermit_limit = \"1h\"\n";

/// The clients are on `br-guest` instead of behind a pppd.
fn guests(toml: &str) -> Bench {
    let bench = Bench::without_agent(&format!("{SECTION}{toml}"));
    let nas = bench.namespace("nas");
    ip(&format!("-n {nas} link add br-guest type bridge"));
    for (old, port, which, host) in [("ppp0", "guest0", "c0", "50"), ("ppp1", "guest1", "c1", "51")] {
        let there = bench.namespace(which);
        ip(&format!("-n {nas} link del {old}"));
        ip(&format!("-n {nas} link add {port} type veth peer name up0 address 02:1a:2b:33:44:{host} netns {there}"));
        ip(&format!("-n {nas} link set {port} master br-guest up"));
        ip(&format!("-n {there} addr add 10.94.0.{host}/24 dev up0"));
        ip(&format!("-n {there} -6 addr add fd00:94::{host}/64 dev up0 nodad"));
        ip(&format!("-n {there} link set up0 up"));
        ip(&format!("-n {there} route add default via 10.94.0.1"));
        ip(&format!("-n {there} -6 route add default via fd00:94::1"));
    }
    ip(&format!("-n {nas} addr add 10.94.0.1/24 dev br-guest"));
    ip(&format!("-n {nas} -6 addr add fd00:94::1/64 dev br-guest nodad"));
    ip(&format!("-n {nas} link set br-guest up"));
    // A new bridge takes a second before it passes on what IPv6 needs.
    let refused = |which: &str| {
        let error = bench.connect(which, "[fd00:94::1]:9").err()?;
        (error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
    };
    bench.until(|| refused("c0").and(refused("c1")));
    let mut bench = bench;
    bench.start_agent();
    bench
}

fn permit(bench: &Bench, attributes: &str) {
    let answer = bench.radclient("coa", &format!("Calling-Station-Id=\"{MAC}\",{attributes}"));
    assert_eq!(answer, ("CoA-ACK".to_owned(), None), "{attributes}: {:#?}", bench.log());
}

/// Seconds the station is let through for in all, and from now; `None` when it is not in the set.
fn time(bench: &Bench, set: &str) -> Option<(u64, u64)> {
    let listed: Value = serde_json::from_str(&bench.nft(&["-j", "list", "set", "inet", "radhold", set])).unwrap();
    let items = listed["nftables"].as_array().unwrap();
    let elements = items.iter().find_map(|item| item["set"]["elem"].as_array())?;
    let element = elements.iter().map(|element| &element["elem"]).find(|element| element["val"] == MAC)?;
    Some((element["timeout"].as_u64().unwrap(), element["expires"].as_u64().unwrap()))
}

#[test]
fn a_station_is_sandboxed_until_its_address_is_permitted() {
    let bench = guests("");
    assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c0", INSIDE_V6));
    assert!(bench.reaches("c0", PORTAL));
    let redirected = || {
        let mut heard = String::new();
        bench.connect("c0", "198.51.100.1:80").ok()?.read_to_string(&mut heard).ok()?;
        Some(heard)
    };
    assert_eq!(redirected().as_deref(), Some("portal\n"));
    let server = bench.inside("nas", || UdpSocket::bind("0.0.0.0:67").unwrap());
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    bench.inside("c0", || {
        let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"discover", "255.255.255.255:67").unwrap();
        let names = UdpSocket::bind("0.0.0.0:0").unwrap();
        names.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        names.send_to(b"name?", RESOLVER).unwrap();
        assert_eq!(names.recv(&mut [0; 64]).unwrap(), 5, "DNS");
    });
    assert_eq!(server.recv(&mut [0; 64]).unwrap(), 8, "DHCP");
    permit(&bench, "User-Name=guest,Filter-Id=permit");
    let mut streams = [INSIDE, INSIDE_V6].map(|to| bench.connect("c0", to).unwrap());
    assert!(streams.iter_mut().all(echoes));
    assert_eq!(redirected(), None, "HTTP goes where it is meant for");
    assert!(!bench.reaches("c1", INSIDE), "nobody else is let through");
    let shown = String::from_utf8(bench.radhold(&["agent", "status"]).output().unwrap().stdout).unwrap();
    assert!(shown.contains("no sessions") && shown.contains("STATION") && shown.contains(MAC), "{shown}");
    let listed = bench.all_status()["stations"].clone();
    assert_eq!((&listed[0]["station"], &listed[0]["filter"]), (&MAC.into(), &"permit".into()), "{listed}");
    assert!(listed[0]["left_seconds"].as_u64().unwrap() <= 3600);
    permit(&bench, "Filter-Id=sandbox");
    assert!(!streams.iter_mut().any(echoes), "open flows are cut");
    assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c0", INSIDE_V6));
    permit(&bench, "Filter-Id=sandbox");
}

#[test]
fn every_spelling_of_an_address_permits_and_ends() {
    let bench = guests("");
    for spelling in ["02-1A-2B-33-44-50", MAC, "021A2B334450", "021a.2b33.4450", "02-1A-2B-33-44-50:guests"] {
        let station = format!("Calling-Station-Id=\"{spelling}\",NAS-Identifier=nas-1,Acct-Session-Id=x");
        assert_eq!(bench.radclient("coa", &format!("{station},Filter-Id=permit")).0, "CoA-ACK", "{spelling}");
        assert!(bench.reaches("c0", INSIDE), "{spelling}");
        assert_eq!(bench.radclient("disconnect", &station).0, "Disconnect-ACK", "{spelling}");
        assert!(!bench.reaches("c0", INSIDE), "{spelling}");
    }
}

#[test]
fn rfc5176_section_3_5_what_a_station_cannot_have() {
    let bench = guests("");
    let station = format!("Calling-Station-Id=\"{MAC}\"");
    for (kind, attributes, cause) in [
        ("disconnect", station.clone(), "Session-Context-Not-Found"),
        ("coa", format!("{station},Session-Timeout=60"), "Session-Context-Not-Found"),
        ("coa", "Calling-Station-Id=192.0.2.7,Filter-Id=permit".to_owned(), "Session-Context-Not-Found"),
        ("coa", "User-Name=guest,Filter-Id=permit".to_owned(), "Session-Context-Not-Found"),
        ("coa", format!("{station},NAS-Port=0,Filter-Id=permit"), "Session-Context-Not-Found"),
        ("coa", format!("{station},NAS-Port-Id=ppp0,Filter-Id=permit"), "Session-Context-Not-Found"),
        ("coa", format!("{station},Framed-IP-Address=10.94.0.50,Filter-Id=permit"), "Session-Context-Not-Found"),
        ("coa", format!("{station},Framed-IPv6-Prefix=fd00:94::/64,Filter-Id=permit"), "Session-Context-Not-Found"),
        ("coa", format!("{station},Framed-Interface-Id=0:0:0:50,Filter-Id=permit"), "Session-Context-Not-Found"),
        ("coa", format!("{station},Filter-Id=platinum"), "Invalid-Attribute-Value"),
        ("coa", format!("{station},Filter-Id=permit,Session-Timeout=0"), "Invalid-Attribute-Value"),
        ("coa", format!("{station},Filter-Id=permit,Idle-Timeout=60"), "Unsupported-Attribute"),
        ("coa", format!("{station},Filter-Id=permit,WISPr-Bandwidth-Max-Up=800000"), "Unsupported-Attribute"),
        ("coa", format!("{station},NAS-Identifier=nas-2,Filter-Id=permit"), "NAS-Identification-Mismatch"),
    ] {
        assert_eq!(bench.radclient(kind, &attributes).1.as_deref(), Some(cause), "{kind} {attributes}");
    }
    assert_eq!(time(&bench, "permit_mac"), None, "nothing was done");
}

#[test]
fn session_timeout_ends_a_permit_and_all_that_came_with_it() {
    let bench = guests("[agent.filter.permit]\n[agent.filter.gold]\nmark = 7\n");
    permit(&bench, "Filter-Id=gold");
    assert_eq!(time(&bench, "gold_mac").unwrap().0, 3600, "without Session-Timeout: permit_limit");
    permit(&bench, "Filter-Id=permit,Session-Timeout=7200");
    assert_eq!((time(&bench, "gold_mac"), time(&bench, "permit_mac").unwrap().0), (None, 3600), "at most that");
    let guest = bench.inside("c0", || UdpSocket::bind("10.94.0.50:9").unwrap());
    let host = bench.inside("lan", || UdpSocket::bind("10.92.0.10:9").unwrap());
    guest.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    guest.send_to(b"subscribe", "10.92.0.10:9").unwrap();
    host.recv(&mut [0; 64]).unwrap();
    // What comes without being asked for, as a stream of video does.
    let arrives = || {
        // Refused while there is no way.
        let _ = host.send_to(b"frame", "10.94.0.50:9");
        guest.recv(&mut [0; 64]).is_ok()
    };
    assert!(arrives());
    permit(&bench, "Session-Timeout=6");
    assert!(bench.reaches("c0", INSIDE), "it stays in its set");
    bench.until(|| (!bench.reaches("c0", INSIDE)).then_some(()));
    bench.until(|| (!arrives()).then_some(()));
    assert_eq!(bench.radclient("coa", &format!("Calling-Station-Id=\"{MAC}\",Session-Timeout=60")).0, "CoA-NAK");
}

#[test]
fn a_restart_and_mended_rules_take_no_time_away() {
    let mut bench = guests("");
    permit(&bench, "Filter-Id=permit,Session-Timeout=600");
    let (begun, before) = (Instant::now(), time(&bench, "permit_mac").unwrap());
    let fair = |bench: &Bench| {
        let (whole, left) = time(bench, "permit_mac").unwrap();
        assert_eq!(whole, 600);
        assert!(left + begun.elapsed().as_secs() + 1 >= before.1, "{left} of {before:?} after {:?}", begun.elapsed());
        assert!(left <= 600);
        assert!(bench.reaches("c0", INSIDE) && !bench.reaches("c1", INSIDE));
    };
    for _ in 0..5 {
        bench.kill_agent();
        assert!(bench.reaches("c0", INSIDE), "the set outlives the agent");
        bench.start_agent();
        fair(&bench);
    }
    bench.nft(&["flush", "chain", "inet", "radhold", "from_station"]);
    bench.until(|| bench.nft(&["list", "chain", "inet", "radhold", "from_station"]).contains("sandbox").then_some(()));
    fair(&bench);
}

/// A recording of a permit, played after the station was taken out, and after a restart.
#[test]
fn a_recorded_permit_is_not_carried_out_after_a_restart() {
    let mut bench = guests("");
    let station = format!("Calling-Station-Id=\"{MAC}\"");
    let at = |ago: i64| format!("Event-Timestamp={}", radhold::app::clock::now().as_secs() - ago);
    let earlier = format!("{station},Filter-Id=permit,{},Message-Authenticator=0x00", at(5));
    assert_eq!(bench.radclient("disconnect", &station).1.as_deref(), Some("Session-Context-Not-Found"));
    permit(&bench, "Filter-Id=permit");
    assert_eq!(bench.radclient("disconnect", &station).0, "Disconnect-ACK");
    bench.kill_agent();
    bench.start_agent();
    let answer = bench.radclient_in("nas", "coa", super::bench::SECRET, &earlier, Duration::from_secs(1));
    assert_eq!(answer.0, "", "it is older than what was carried out: {:#?}", bench.log());
    assert!(!bench.reaches("c0", INSIDE));
    permit(&bench, "Filter-Id=permit");
    assert!(bench.reaches("c0", INSIDE));
}

#[test]
fn pppds_sessions_come_first() {
    let mut bench = Bench::start(SECTION);
    let pid = bench.pppd("ppp0", "Filter-Id sandbox\n");
    // As PPPoE tells it.
    let of_pppoe = [("IPREMOTE", "10.93.0.50"), ("PEERNAME", "alice"), ("PPP_IPPARAM", MAC)];
    bench.hook("ip-pre-up", "ppp0", pid, &of_pppoe);
    permit(&bench, "Filter-Id=permit,Idle-Timeout=600");
    assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"));
    assert_eq!(time(&bench, "permit_mac"), None);
}
