//! IPCP that is negotiated again: pppd has told the server that the session is over, so nothing passes, and pppd is ended.

use std::time::Duration;

use super::bench::{ALICE, Bench, INSIDE, INSIDE_V6, echoes};

/// Alice's link, let through by its Access-Accept, with IPv4 and IPv6 up.
fn permitted(bench: &mut Bench) -> u32 {
    let pid = bench.pppd("ppp0", "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    bench.hook("ip-up", "ppp0", pid, &ALICE);
    bench.hook("ipv6-up", "ppp0", pid, &[("LLREMOTE", "fe80::50"), ("PEERNAME", "alice")]);
    pid
}

fn until_ended(bench: &mut Bench, pid: u32) {
    let begun = std::time::Instant::now();
    while bench.runs(pid) {
        assert!(begun.elapsed() < super::bench::PATIENCE, "it runs still: {:#?}", bench.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let why = "IPCP was negotiated again; its accounting session is over";
    bench.until(|| bench.log().iter().any(|line| line["reason"] == why).then_some(()));
}

/// A later Access-Accept of the same pppd, as when LCP is negotiated again.
fn logs_in_again(bench: &Bench, accept: &str) {
    let file = bench.path("run/radattr.ppp0");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, accept).unwrap();
    let later = before + Duration::from_millis(1);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
}

#[test]
fn it_is_in_the_sandbox_at_once_and_ended_when_it_comes_again() {
    let mut bench = Bench::start("");
    let pid = permitted(&mut bench);
    assert!(bench.reaches("c0", INSIDE) && bench.reaches("c0", INSIDE_V6));
    let mut flow = bench.connect("c0", INSIDE_V6).unwrap();
    assert!(echoes(&mut flow));
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c0", INSIDE_V6), "by IPv6 too");
    assert!(!echoes(&mut flow));
    bench.hook("ipv6-up", "ppp0", pid, &[("LLREMOTE", "fe80::50"), ("PEERNAME", "alice")]);
    assert!(!bench.reaches("c0", INSIDE_V6), "IPv6 alone brings nothing back");
    let (_, cause) = bench.radclient("coa", "User-Name=alice,Filter-Id=permit");
    assert_eq!(cause.as_deref(), Some("Session-Context-Not-Found"));
    assert!(bench.runs(pid));
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE));
    until_ended(&mut bench, pid);
}

#[test]
fn a_link_that_went_down_can_be_ended_and_has_the_sandboxs_limit() {
    let mut bench = Bench::start("sandbox_limit = \"1s\"\n");
    let pid = permitted(&mut bench);
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut bench = Bench::start("");
    let pid = permitted(&mut bench);
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert_eq!(bench.radclient("disconnect", "User-Name=alice").0, "Disconnect-ACK");
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// pppd waits for ip-pre-up alone.
#[test]
fn its_ip_down_may_be_late_or_missing_and_so_may_ip_pre_up() {
    for words in [&["ip-pre-up", "ip-down", "ip-up"][..], &["ip-pre-up"], &["ip-up"], &["ip-down", "ip-up"]] {
        let mut bench = Bench::start("");
        let pid = permitted(&mut bench);
        for word in words {
            bench.hook(word, "ppp0", pid, &ALICE);
            assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c0", INSIDE_V6), "{word} of {words:?}");
        }
        until_ended(&mut bench, pid);
    }
}

#[test]
fn a_new_login_by_the_same_pppd_is_none_even_if_the_ip_down_before_is_late() {
    let mut bench = Bench::start("");
    let pid = permitted(&mut bench);
    logs_in_again(&bench, "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    assert!(bench.reaches("c0", INSIDE));
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE), "whose that is nobody can tell yet");
    bench.hook("ip-up", "ppp0", pid, &ALICE);
    assert!(bench.reaches("c0", INSIDE));
    logs_in_again(&bench, "Filter-Id sandbox\n");
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE));
    bench.hook("ip-up", "ppp0", pid, &ALICE);
    bench.coa("permit");
    assert!(bench.reaches("c0", INSIDE) && bench.runs(pid));
}

#[test]
fn what_happens_while_the_agent_is_away_counts_too() {
    for (words, ended) in [
        (&["ip-down"][..], false),
        (&["ip-down", "ip-pre-up"], true),
        (&["ip-down", "ip-pre-up", "ip-up"], true),
        (&["ip-pre-up", "ip-down", "ip-up"], true),
        (&["ip-pre-up"], true),
    ] {
        let mut bench = Bench::start("");
        let pid = permitted(&mut bench);
        bench.kill_agent();
        for word in words {
            bench.hook(word, "ppp0", pid, &ALICE);
        }
        bench.start_agent();
        assert!(!bench.reaches("c0", INSIDE) && !bench.reaches("c0", INSIDE_V6), "{words:?}");
        if !ended {
            assert!(bench.runs(pid));
            bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
        }
        until_ended(&mut bench, pid);
    }
}

#[test]
fn a_login_while_the_agent_is_away_is_known_with_all_that_came_of_it() {
    for (words, again) in
        [(&["ip-pre-up", "ip-up"][..], false), (&["ip-pre-up", "ip-up", "ip-down", "ip-pre-up", "ip-up"], true)]
    {
        let mut bench = Bench::start("");
        bench.kill_agent();
        let pid = bench.pppd("ppp0", "Filter-Id permit\n");
        for word in words {
            bench.hook(word, "ppp0", pid, &ALICE);
        }
        bench.start_agent();
        if again {
            assert!(!bench.reaches("c0", INSIDE));
            until_ended(&mut bench, pid);
        } else {
            assert!(bench.reaches("c0", INSIDE) && bench.runs(pid));
        }
    }
    // One that came and went, and comes again when somebody listens.
    let mut bench = Bench::start("");
    bench.kill_agent();
    let pid = bench.pppd("ppp0", "Filter-Id permit\n");
    for word in ["ip-pre-up", "ip-up", "ip-down"] {
        bench.hook(word, "ppp0", pid, &ALICE);
    }
    bench.start_agent();
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    assert!(!bench.reaches("c0", INSIDE));
    until_ended(&mut bench, pid);
}

/// A hook that was not answered in time leaves a note of what the agent heard all the same.
#[test]
fn a_word_that_is_heard_twice_is_one() {
    let mut bench = Bench::start("");
    bench.kill_agent();
    let pid = bench.pppd("ppp0", "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    let note = std::fs::read(bench.path("agent.missed/ppp0")).unwrap();
    bench.start_agent();
    assert!(bench.reaches("c0", INSIDE));
    bench.hook("ip-up", "ppp0", pid, &ALICE);
    std::fs::write(bench.path("agent.missed/ppp0"), note).unwrap();
    bench.until(|| (!bench.path("agent.missed/ppp0").exists()).then_some(()));
    assert!(bench.reaches("c0", INSIDE) && bench.runs(pid));
}
