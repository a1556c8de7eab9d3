//! What a permitted session has besides its permit: limits of speed by tc, and routes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bench::{ALICE, BOB, Bench, INSIDE, ip};

fn rates(bench: &Bench, attributes: &str) -> (String, Option<String>) {
    bench.radclient("coa", &format!("User-Name=alice,{attributes}"))
}

fn acknowledged(bench: &Bench, attributes: &str) {
    assert_eq!(rates(bench, attributes).0, "CoA-ACK", "{:#?}", bench.log());
}

/// What a program says in the NAS's namespace.
fn said(bench: &Bench, program: &str, arguments: &str) -> String {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &bench.namespace("nas"), program]).args(arguments.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Octets in three seconds, each way, of as much as goes.
fn throughput(bench: &Bench) -> (usize, usize) {
    let time = Duration::from_secs(3);
    // A port that is free: what another test is about to execute may hold the listener of the call before for a moment.
    let listener = bench.inside("lan", || TcpListener::bind("10.92.0.10:0").unwrap());
    let to: SocketAddr = listener.local_addr().unwrap();
    let one_way = |up: bool| {
        let client = bench.inside("c0", || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
        let host = listener.accept().unwrap().0;
        let (mut from, mut at) = if up { (client, host) } else { (host, client) };
        let begun = Instant::now();
        at.set_read_timeout(Some(time)).unwrap();
        let sender = std::thread::spawn(move || while from.write_all(&[7; 4096]).is_ok() {});
        let (mut octets, mut total) = ([0; 4096], 0);
        while begun.elapsed() < time {
            total += at.read(&mut octets).unwrap_or(0);
        }
        at.shutdown(std::net::Shutdown::Both).unwrap();
        drop(at);
        sender.join().unwrap();
        total
    };
    (one_way(true), one_way(false))
}

/// Whether this kernel polices at all: tests run on kernels of many makers, and those of small virtual machines lack the module.
fn can_police(bench: &Bench) -> bool {
    let nas = bench.namespace("nas");
    ip(&format!("-n {nas} link add probe0 type veth peer name probe1"));
    let tc =
        |line: &str| Command::new("tc").args(["-n", &nas]).args(line.split(' ')).output().unwrap().status.success();
    tc("qdisc add dev probe0 ingress")
        && tc("filter add dev probe0 ingress protocol all matchall action police rate 1mbit burst 32k drop")
}

#[test]
fn a_rate_to_the_user_is_kept_and_can_be_changed() {
    let mut bench = Bench::start("");
    bench.alice();
    bench.coa("permit");
    acknowledged(&bench, "WISPr-Bandwidth-Max-Down=800000");
    let (up, down) = throughput(&bench);
    // 100,000 octets a second.
    assert!((100_000..=400_000).contains(&down), "{down} octets in three seconds");
    assert!(up > 1_000_000, "the other way has no limit: {up} octets");
    acknowledged(&bench, "WISPr-Bandwidth-Max-Down=80000000");
    let faster = throughput(&bench).1;
    assert!(faster > 4 * down, "{faster} octets after {down}");
    acknowledged(&bench, "WISPr-Bandwidth-Max-Down=0");
    assert!(!said(&bench, "tc", "qdisc show").contains("7268:"), "zero takes the limit away");
    acknowledged(&bench, "WISPr-Bandwidth-Max-Down=800000");
    bench.coa("sandbox");
    assert!(!said(&bench, "tc", "qdisc show").contains("7268:"), "no limit is left behind");
}

/// Where the kernel cannot police, nothing is acknowledged that is not kept, and nobody is let through without their limits.
#[test]
fn a_rate_from_the_user_is_kept_or_the_request_refused() {
    let mut bench = Bench::start("");
    bench.alice();
    let permit = "Filter-Id=permit,WISPr-Bandwidth-Max-Up=800000";
    if can_police(&bench) {
        acknowledged(&bench, permit);
        let (up, down) = throughput(&bench);
        assert!((60_000..=450_000).contains(&up), "{up} octets in three seconds");
        assert!(down > 1_000_000, "the other way has no limit: {down} octets");
        acknowledged(&bench, "WISPr-Bandwidth-Max-Up=80000000");
        assert!(throughput(&bench).0 > 4 * up);
        bench.coa("sandbox");
        assert!(!said(&bench, "tc", "filter show dev ppp0 ingress").contains("police"), "no limit is left behind");
    } else {
        let refused = ("CoA-NAK".to_owned(), Some("Resources-Unavailable".to_owned()));
        assert_eq!(rates(&bench, permit), refused);
        assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
        assert!(!bench.reaches("c0", INSIDE));
        bench.coa("permit");
        assert_eq!(rates(&bench, "WISPr-Bandwidth-Max-Up=800000"), refused);
        assert!(bench.reaches("c0", INSIDE), "what was permitted without stays so");
    }
}

#[test]
fn limits_are_mended_outlive_the_agent_and_are_nobody_elses() {
    let mut bench = Bench::start("");
    let nas = bench.namespace("nas");
    // Of the operator's: an interface that is not ours, with the very handle we use.
    let theirs = "qdisc replace dev lan0 root handle 7268: tbf rate 90mbit burst 100k latency 100ms";
    assert!(Command::new("tc").args(["-n", &nas]).args(theirs.split(' ')).status().unwrap().success());
    let of_lan0 = said(&bench, "tc", "qdisc show dev lan0");
    bench.alice();
    acknowledged(&bench, "Filter-Id=permit,Ascend-Xmit-Rate=800000");
    let shown = || said(&bench, "tc", "qdisc show dev ppp0");
    let wanted = shown();
    assert!(wanted.contains("tbf 7268:") && wanted.contains("rate 800Kbit"), "{wanted}");
    for tampered in ["del dev ppp0 root", "replace dev ppp0 root handle 7268: tbf rate 90mbit burst 100k latency 1s"] {
        let line = format!("-n {nas} qdisc {tampered}");
        assert!(Command::new("tc").args(line.split(' ')).status().unwrap().success());
        bench.until(|| (shown() == wanted).then_some(()));
    }
    bench.kill_agent();
    assert_eq!(said(&bench, "tc", "qdisc show dev ppp0"), wanted, "the limit outlives the agent");
    // What an agent of before left on an interface whose session has ended.
    let stray = "qdisc replace dev ppp1 root handle 7268: tbf rate 1mbit burst 32k latency 100ms";
    assert!(Command::new("tc").args(["-n", &nas]).args(stray.split(' ')).status().unwrap().success());
    bench.start_agent();
    assert_eq!(said(&bench, "tc", "qdisc show dev ppp0"), wanted);
    assert!(!said(&bench, "tc", "qdisc show dev ppp1").contains("7268:"), "a stray is taken away");
    assert_eq!(said(&bench, "tc", "qdisc show dev lan0"), of_lan0, "others' limits are not touched");
}

#[test]
fn an_access_accept_s_rate_is_in_force_before_its_permit() {
    let mut bench = Bench::start("");
    let pid = bench.pppd("ppp0", "Filter-Id permit\nWISPr-Bandwidth-Max-Down 800000\n");
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"));
    assert!(said(&bench, "tc", "qdisc show dev ppp0").contains("rate 800Kbit"));
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert!(!said(&bench, "tc", "qdisc show dev ppp0").contains("7268:"));
}

#[test]
fn routes_of_the_accept_are_there_while_the_session_is_permitted() {
    let mut bench = Bench::start("");
    let nas = bench.namespace("nas");
    ip(&format!("-n {nas} route add 10.97.0.0/24 via 10.92.0.10"));
    ip(&format!("-n {} addr add 10.98.0.1/24 dev lo", bench.namespace("c0")));
    let accept = "Filter-Id sandbox\nFramed-Route 10.98.0.0/24 0.0.0.0 1\nFramed-Route 10.97.0.0/24 0.0.0.0 1\n\
                  Framed-Route 0.0.0.0/0 0.0.0.0 1\nFramed-Route 10.96.0.0/24 10.93.0.50 1\n\
                  Framed-IPv6-Route 2001:db8:98::/48 :: 1\n";
    let pid = bench.pppd("ppp0", accept);
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    let routes = |bench: &Bench| {
        let v4 = said(bench, "ip", "-4 route show proto 114");
        let v6 = said(bench, "ip", "-6 route show proto 114");
        let both =
            v4.lines().chain(v6.lines()).map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "));
        let mut both: Vec<String> = both.collect();
        both.sort();
        both
    };
    let none = Vec::<String>::new();
    assert_eq!(routes(&bench), none, "none in the sandbox");
    bench.coa("permit");
    let wanted = ["10.96.0.0/24 dev ppp0", "10.98.0.0/24 dev ppp0", "2001:db8:98::/48 dev ppp0"];
    assert_eq!(routes(&bench), wanted, "what is somebody else's, and what would be everything, is not taken");
    assert!(said(&bench, "ip", "route show exact 10.97.0.0/24").contains("via 10.92.0.10"));
    // There and back: a host behind the user.
    let host = bench.inside("lan", || UdpSocket::bind("10.92.0.10:9").unwrap());
    let user = bench.inside("c0", || UdpSocket::bind("10.98.0.1:9").unwrap());
    for socket in [&host, &user] {
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    let behind = || {
        let mut octets = [0; 8];
        // Where there is no way, the kernel may say so at once.
        user.send_to(b"there", "10.92.0.10:9").is_ok()
            && host.recv_from(&mut octets).is_ok_and(|(_, from)| host.send_to(b"back", from).is_ok())
            && user.recv(&mut octets).is_ok()
    };
    assert!(behind());
    ip(&format!("-n {nas} route del 10.98.0.0/24 dev ppp0"));
    bench.until(|| (routes(&bench) == wanted).then_some(()));
    bench.kill_agent();
    assert_eq!(routes(&bench), wanted);
    bench.start_agent();
    assert_eq!(routes(&bench), wanted);
    bench.coa("sandbox");
    assert_eq!(routes(&bench), none);
    assert!(!behind());
    bench.coa("permit");
    assert_eq!(routes(&bench), wanted);
    // Dialled in again before the first line's end is known: the network is where its user is.
    let again = bench.pppd("ppp1", &accept.replace("sandbox", "permit"));
    bench.hook("ip-pre-up", "ppp1", again, &BOB);
    let moved = wanted.map(|route| route.replace("ppp0", "ppp1"));
    // That of ppp0's user has its gateway there.
    assert_eq!(routes(&bench), [wanted[0].to_owned(), moved[1].clone(), moved[2].clone()]);
    bench.hook("ip-down", "ppp0", pid, &ALICE);
    assert_eq!(routes(&bench), moved[1..]);
    bench.hook("ip-down", "ppp1", again, &BOB);
    assert_eq!(routes(&bench), none);
}
