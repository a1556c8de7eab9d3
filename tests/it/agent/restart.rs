//! What outlives the agent: permits of sessions it can account for, and nothing else.

use super::bench::{ALICE, BOB, Bench, INSIDE};

#[test]
fn what_is_permitted_stays_so_and_what_is_held_stays_held() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    let bob = bench.pppd("ppp1", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    bench.kill_agent();
    assert!(bench.reaches("c0", INSIDE) && !bench.reaches("c1", INSIDE), "the rules outlive the agent");
    bench.start_agent();
    assert!(bench.reaches("c0", INSIDE) && !bench.reaches("c1", INSIDE));
    assert_eq!(bench.radclient("coa", "User-Name=bob,Filter-Id=permit").0, "CoA-ACK");
    assert!(bench.reaches("c1", INSIDE));
    assert_eq!(bench.radclient("disconnect", "User-Name=alice").0, "Disconnect-ACK");
}

#[test]
fn a_permit_whose_pppd_has_gone_is_taken_back() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    bench.crash(pid);
    bench.nft(&["add", "element", "inet", "radhold", "permit_v4", "{ \"ppp1\" . 10.93.0.51 }"]);
    bench.start_agent();
    assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c1", INSIDE), "nobody can account for these");
    assert_eq!(bench.state("ppp0"), None);
}

#[test]
fn who_comes_while_the_agent_is_away_inherits_nothing_and_is_known_afterwards() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    bench.crash(pid);
    let next = bench.pppd("ppp0", "Filter-Id sandbox\nClass c9\n");
    bench.hook("ip-pre-up", "ppp0", next, &[("IPREMOTE", "10.93.0.50"), ("PEERNAME", "carol")]);
    assert!(!bench.reaches("c0", INSIDE), "the hook itself took the permit away");
    bench.start_agent();
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    assert_eq!(bench.radclient("coa", "User-Name=carol,NAS-Port=0,Filter-Id=permit").0, "CoA-ACK");
    assert!(bench.reaches("c0", INSIDE));
}

#[test]
fn who_hangs_up_while_the_agent_is_away_leaves_no_permit() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE));
}

#[test]
fn an_interface_nobody_told_of_is_found_sandboxed_and_ended() {
    let mut bench = Bench::without_agent("sandbox_limit = \"2s\"\n");
    let accept = "Filter-Id permit\nFramed-IP-Address 10.93.0.50\nClass c0\n";
    let pid = bench.pppd("ppp0", accept);
    bench.start_agent();
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"), "nobody vouches for it");
    assert!(!bench.reaches("c0", INSIDE));
    while bench.runs(pid) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn one_that_was_found_is_let_through_and_ended_as_any_other() {
    let mut bench = Bench::without_agent("");
    let pid = bench.pppd("ppp0", "Filter-Id permit\nClass c0\n");
    bench.start_agent();
    // Its name nobody knows, its address the interface says.
    let known = "NAS-Port=0,User-Name=alice,Framed-IP-Address=10.93.0.50";
    assert_eq!(bench.radclient("coa", &format!("{known},Filter-Id=permit")).0, "CoA-ACK", "{:#?}", bench.log());
    assert!(bench.reaches("c0", INSIDE));
    assert_eq!(bench.radclient("disconnect", known).0, "Disconnect-ACK");
    assert!(!bench.reaches("c0", INSIDE));
    while bench.runs(pid) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// One process may log in again while the agent is away, and none of its scripts be heard.
#[test]
fn a_permit_is_of_one_access_accept() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    let file = std::fs::File::options().write(true).open(bench.path("run/radattr.ppp0")).unwrap();
    file.set_modified(file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_millis(1)).unwrap();
    bench.start_agent();
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    assert!(!bench.reaches("c0", INSIDE));
}

#[test]
fn links_that_are_not_ours_are_left_alone() {
    let mut bench = Bench::start("interfaces = [\"ppp1\"]\nsandbox_limit = \"1s\"\n");
    let uplink = bench.alice();
    let bob = bench.pppd("ppp1", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    while bench.runs(bob) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(bench.runs(uplink) && bench.state("ppp0").is_none());
}

#[test]
fn a_state_file_that_cannot_be_read_lets_nobody_through() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    std::fs::write(bench.path("state/agent.json"), "{").unwrap();
    bench.start_agent();
    assert!(!bench.reaches("c0", INSIDE));
}

#[test]
fn files_are_for_root_and_the_agent_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let mut bench = Bench::without_agent("");
    // As RuntimeDirectory of the unit: the agent's, who is not root.
    std::os::unix::fs::chown(bench.path(""), None, Some(NOBODY)).unwrap();
    bench.start_agent();
    bench.alice();
    for (file, mode) in [("agent.sock", 0o600), ("state/agent.json", 0o600), ("run/radattr.ppp0", 0o640)] {
        let found = std::fs::metadata(bench.path(file)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
    }
    let radattr = std::fs::metadata(bench.path("run/radattr.ppp0")).unwrap();
    assert_eq!((radattr.uid(), radattr.gid()), (0, NOBODY));
}

#[test]
fn what_a_killed_pppd_left_permits_nobody() {
    let mut bench = Bench::start("");
    let first = bench.pppd("ppp0", "Filter-Id permit\nClass c0\n");
    bench.hook("ip-pre-up", "ppp0", first, &ALICE);
    assert!(bench.reaches("c0", INSIDE));
    bench.crash(first);
    let left = bench.path("run/radattr.ppp0");
    let ago = std::fs::metadata(&left).unwrap().modified().unwrap() - std::time::Duration::from_secs(10);
    // The next one serves without RADIUS, or its radattr.so cannot write: the file stays as it was.
    let next = bench.pppd("ppp0", "Filter-Id permit\nClass c0\n");
    std::fs::File::options().write(true).open(&left).unwrap().set_modified(ago).unwrap();
    bench.hook("ip-pre-up", "ppp0", next, &[("IPREMOTE", "10.93.0.50"), ("PEERNAME", "carol")]);
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    assert!(!bench.reaches("c0", INSIDE));
    // And it does not make a link of RADIUS's of one that is none.
    bench.kill_agent();
    std::fs::remove_file(bench.path("state/agent.json")).unwrap();
    bench.start_agent();
    assert_eq!(bench.state("ppp0"), None);
}

#[test]
fn a_note_that_nobody_understands_is_set_aside_and_said() {
    let mut bench = Bench::without_agent("");
    std::fs::create_dir(bench.path("agent.missed")).unwrap();
    std::fs::write(bench.path("agent.missed/ppp1"), "{\"event\":").unwrap();
    bench.start_agent();
    bench.until(|| (!bench.path("agent.missed/ppp1").exists()).then_some(()));
    assert!(bench.path("agent.missed-odd/ppp1").exists());
    assert!(bench.log().iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("set aside"))));
}

/// A user who is not root.
const NOBODY: u32 = 65_534;

/// As the systemd unit runs it: another user than root, with two capabilities.
#[test]
fn the_agent_need_not_be_root() {
    use std::os::unix::fs::chown;
    let as_nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all,+net_admin,+kill",
        "--inh-caps=-all,+net_admin,+kill",
        "--ambient-caps=-all,+net_admin,+kill",
        "--no-new-privs",
    ];
    let mut bench = Bench::without_agent("");
    chown(bench.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    bench.start_agent_by(&as_nobody);
    bench.alice();
    assert!(!bench.reaches("c0", INSIDE));
    assert_eq!(bench.radclient("coa", "User-Name=alice,Class=0x6330,Filter-Id=permit").0, "CoA-ACK");
    assert!(bench.reaches("c0", INSIDE));
    bench.kill_agent();
    let bob = bench.pppd("ppp1", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    bench.start_agent_by(&as_nobody);
    assert!(bench.reaches("c0", INSIDE), "it reads its own state");
    assert_eq!(bench.radclient("disconnect", "User-Name=bob").0, "Disconnect-ACK", "and the hook's note");
    while bench.runs(bob) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Without a state it finds alice by what radattr.so left, which the hook made readable for it and for nobody else.
    bench.kill_agent();
    std::fs::remove_file(bench.path("state/agent.json")).unwrap();
    bench.start_agent_by(&as_nobody);
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    assert_eq!(bench.radclient("coa", "NAS-Port=0,Class=0x6330,Filter-Id=permit").0, "CoA-ACK", "it read Class");
    assert_eq!(bench.radclient("coa", "NAS-Port=0,Class=0x6331,Filter-Id=permit").0, "CoA-NAK");
}

/// The earlier pppd hangs still when the next has its interface.
#[test]
fn a_state_whose_interface_is_anothers_by_now_permits_nobody() {
    let mut bench = Bench::start("");
    let earlier = bench.alice();
    bench.coa("permit");
    bench.kill_agent();
    let next = bench.pppd("ppp0", "Filter-Id sandbox\n");
    bench.hook("ip-pre-up", "ppp0", next, &[("IPREMOTE", "10.93.0.50"), ("PEERNAME", "carol")]);
    bench.start_agent();
    assert!(bench.runs(earlier));
    assert!(!bench.reaches("c0", INSIDE));
    assert_eq!(bench.radclient("coa", "User-Name=carol,Filter-Id=permit").0, "CoA-ACK");
}

#[test]
fn bans_outlive_the_agent_and_its_table() {
    let mut bench = Bench::start("ban_tcp = [1723]\n");
    let listener = bench.inside("nas", || std::net::TcpListener::bind("10.92.0.1:1723").unwrap());
    let ban = |bench: &Bench, arguments: &[&str]| assert!(bench.radhold(arguments).status().unwrap().success());
    ban(&bench, &["agent", "ban", "10.92.0.0/24", "--for", "1h"]);
    ban(&bench, &["agent", "ban", "10.92.0.7", "--for", "2h"]);
    ban(&bench, &["agent", "ban", "2001:db8:0:1::/64", "--for", "2h"]);
    ban(&bench, &["agent", "ban", "203.0.113.7", "--for", "2h"]);
    ban(&bench, &["agent", "unban", "203.0.113.7"]);
    let endless = "Filter-Id=\"radhold:ban\",Calling-Station-Id=\"2001:db8:0:2::/64\"";
    assert_eq!(bench.radclient("coa", endless).0, "CoA-ACK");
    let in_force = |bench: &Bench| {
        let sets = ["banned_v4", "banned_v6"].map(|set| bench.nft(&["list", "set", "inet", "radhold", set]));
        let sets = sets.concat();
        ["10.92.0.8", "10.92.0.7 timeout", "2001:db8:0:1::/64 timeout", "2001:db8:0:2::/64"]
            .iter()
            .all(|banned| sets.contains(banned))
            && !sets.contains("203.0.113.7")
    };
    assert!(in_force(&bench) && !bench.reaches("lan", "10.92.0.1:1723"));
    bench.kill_agent();
    bench.nft(&["flush", "ruleset"]);
    bench.start_agent();
    assert!(in_force(&bench) && !bench.reaches("lan", "10.92.0.1:1723"));
    // Nobody accepts there, so nothing is to connect again and again meanwhile.
    bench.nft(&["flush", "ruleset"]);
    bench.until(|| bench.nft(&["list", "tables"]).contains("inet radhold").then_some(()));
    bench.until(|| in_force(&bench).then_some(()));
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    bench.nft(&["flush", "set", "inet", "radhold", "banned_v4"]);
    bench.until(|| in_force(&bench).then_some(()));
    assert!(!bench.reaches("lan", "10.92.0.1:1723"));
    ban(&bench, &["agent", "unban", "10.92.0.0/24"]);
    assert!(bench.reaches("lan", "10.92.0.1:1723"));
    drop(listener);
}
