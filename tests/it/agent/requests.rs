//! CoA-Request and Disconnect-Request: which session they find, what comes of them, repeats and recordings. The table of errors and
//! silence is `table`'s.

use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use radhold::app::clock;
use radhold::radius::{Code, Packet, PacketBuilder, attribute};

use super::bench::{BOB, Bench, DAS, INSIDE, SECRET};

/// Alice twice, on ppp0 and (as bob's interface) ppp1.
pub(super) fn two_of_alice(bench: &mut Bench) -> [u32; 2] {
    let first = bench.alice();
    let second = bench.pppd("ppp1", "Filter-Id sandbox\nClass c1\n");
    bench.hook(
        "ip-pre-up",
        "ppp1",
        second,
        &[("IPREMOTE", "10.93.0.51"), ("PEERNAME", "alice"), ("PPP_IPPARAM", "192.0.2.8")],
    );
    [first, second]
}

#[test]
fn each_identification_finds_its_session() {
    let mut bench = Bench::start("");
    two_of_alice(&mut bench);
    for identification in [
        "NAS-Port=1",
        "NAS-Port-Id=ppp1",
        "Framed-IP-Address=10.93.0.51",
        "Calling-Station-Id=192.0.2.8",
        "Class=0x6331",
        "User-Name=alice,NAS-Port=1,Framed-IP-Address=10.93.0.51,Class=0x6331,NAS-Identifier=nas-1,Acct-Session-Id=x",
    ] {
        for (filter, state) in [("permit", "permitted"), ("sandbox", "sandboxed")] {
            let answer = bench.radclient("coa", &format!("{identification},Filter-Id={filter}"));
            assert_eq!(answer.0, "CoA-ACK", "{identification}: {answer:?}");
            assert_eq!(bench.state("ppp1").as_deref(), Some(state), "{identification}");
            assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"), "{identification}");
        }
    }
}

/// A socket of the server's, in the NAS's namespace.
fn client(bench: &Bench) -> UdpSocket {
    bench.inside("nas", || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(DAS).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    })
}

fn coa(identifier: u8, filter: &str) -> PacketBuilder {
    coa_at(identifier, filter, now())
}

fn coa_at(identifier: u8, filter: &str, event_timestamp: u32) -> PacketBuilder {
    let mut request = PacketBuilder::request(Code::CoaRequest, identifier, [0; 16]);
    request.text(attribute::USER_NAME, "alice").unwrap().text(attribute::FILTER_ID, filter).unwrap();
    request.integer(attribute::EVENT_TIMESTAMP, event_timestamp).unwrap();
    request
}

fn now() -> u32 {
    clock::now().as_secs().try_into().unwrap()
}

/// Sends without waiting for an answer.
fn send(socket: &UdpSocket, mut request: PacketBuilder) {
    socket.send(request.sign_request(SECRET.as_bytes()).unwrap()).unwrap();
}

/// The next answer's code and Identifier.
fn next(socket: &UdpSocket) -> (Code, u8) {
    let octets = answer(socket);
    let packet = Packet::parse(&octets).unwrap();
    (packet.code(), packet.identifier())
}

fn answer(socket: &UdpSocket) -> Vec<u8> {
    let mut octets = [0; 4096];
    let count = socket.recv(&mut octets).expect("an answer");
    octets[..count].to_vec()
}

#[test]
fn rfc5080_section_2_2_2_a_repeat_is_answered_again_and_not_done_again() {
    let mut bench = Bench::start("");
    bench.alice();
    let socket = client(&bench);
    let permit = coa(1, "permit").sign_request(SECRET.as_bytes()).unwrap().to_vec();
    socket.send(&permit).unwrap();
    let first = answer(&socket);
    assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"));
    socket.send(coa(2, "sandbox").sign_request(SECRET.as_bytes()).unwrap()).unwrap();
    answer(&socket);
    socket.send(&permit).unwrap();
    assert_eq!(answer(&socket), first, "the same octets");
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"), "but nothing is done");
}

#[test]
fn a_recording_from_another_port_is_answered_and_not_done_again() {
    let mut bench = Bench::start("");
    bench.alice();
    let (server, elsewhere) = (client(&bench), client(&bench));
    let permit = coa(1, "permit").sign_request(SECRET.as_bytes()).unwrap().to_vec();
    server.send(&permit).unwrap();
    let first = answer(&server);
    send(&server, coa(2, "sandbox"));
    assert_eq!(next(&server), (Code::CoaAck, 2));
    elsewhere.send(&permit).unwrap();
    assert_eq!(answer(&elsewhere), first, "the same octets");
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"), "but nothing is done");
    // Once more to an agent that remembers no reply: its sessions remember the newest request.
    bench.kill_agent();
    bench.start_agent();
    let server = client(&bench);
    server.send(&permit).unwrap();
    send(&server, coa(3, "sandbox"));
    assert_eq!(next(&server), (Code::CoaAck, 3), "the recording was dropped silently");
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
}

#[test]
fn rfc5176_section_6_3_what_was_overtaken_is_dropped_silently() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    let socket = client(&bench);
    let at = now();
    send(&socket, coa_at(1, "sandbox", at));
    assert_eq!(next(&socket), (Code::CoaAck, 1));
    send(&socket, coa_at(2, "permit", at - 1));
    send(&socket, coa_at(3, "sandbox", at));
    assert_eq!(next(&socket), (Code::CoaAck, 3), "nothing came for the one before");
    assert_eq!(bench.state("ppp0").as_deref(), Some("sandboxed"));
    // An end is never too late.
    let mut end = PacketBuilder::request(Code::DisconnectRequest, 4, [0; 16]);
    end.text(attribute::USER_NAME, "alice").unwrap().integer(attribute::EVENT_TIMESTAMP, at - 1).unwrap();
    send(&socket, end);
    assert_eq!(next(&socket), (Code::DisconnectAck, 4));
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_peer_that_sends_no_event_timestamp_can_be_excepted() {
    let mut bench = Bench::start(
        "[agent.peer.old]\naddress = \"127.0.0.2\"\nsecret = \"another secret, as long\"\nrequire_event_timestamp = false\n",
    );
    bench.alice();
    let from = |address: &str| {
        bench.inside("nas", || {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.connect(DAS).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket
        })
    };
    let mut timeless = PacketBuilder::request(Code::CoaRequest, 6, [0; 16]);
    timeless.text(attribute::USER_NAME, "alice").unwrap().text(attribute::FILTER_ID, "permit").unwrap();
    let old = from("127.0.0.2");
    old.send(timeless.sign_request(b"another secret, as long").unwrap()).unwrap();
    assert_eq!(next(&old), (Code::CoaAck, 6));
    // 127.0.0.3 is no peer: nothing it sends is answered, whatever its secret.
    let stranger = from("127.0.0.3");
    for secret in [SECRET.as_bytes(), b"another secret, as long"] {
        stranger.send(coa(7, "sandbox").sign_request(secret).unwrap()).unwrap();
    }
    // What was sent after it is answered, so it was read before.
    send(&client(&bench), coa(8, "permit"));
    bench.until(|| {
        let dropped = bench.counter("agent-request-stranger");
        (dropped == 2).then_some(())
    });
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(stranger.recv(&mut [0; 64]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"));
}

#[test]
fn a_session_timeout_of_zero_takes_it_away_and_none_is_longer_than_pppds() {
    let mut bench = Bench::start("");
    let alice = bench.alice();
    bench.coa("permit");
    assert_eq!(bench.radclient("coa", "User-Name=alice,Session-Timeout=3600").0, "CoA-ACK");
    assert_eq!(bench.radclient("coa", "User-Name=alice,Session-Timeout=0").0, "CoA-ACK");
    let timeout = |bench: &Bench| bench.status()[0]["session_timeout_seconds"].clone();
    assert_eq!(timeout(&bench), serde_json::Value::Null);
    assert!(bench.runs(alice));
    let bob = bench.pppd("ppp1", "Filter-Id permit\nSession-Timeout 600\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    for later in ["0", "601"] {
        let (_, cause) = bench.radclient("coa", &format!("User-Name=bob,Session-Timeout={later},Filter-Id=sandbox"));
        assert_eq!(cause.as_deref(), Some("Invalid-Attribute-Value"), "{later}: pppd will not wait");
    }
    assert_eq!(bench.state("ppp1").as_deref(), Some("permitted"), "and nothing else was done");
    assert_eq!(bench.radclient("coa", "User-Name=bob,Session-Timeout=1").0, "CoA-ACK");
    while bench.runs(bob) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_disconnect_ends_that_pppd_and_no_other() {
    let mut bench = Bench::start("");
    let [first, second] = two_of_alice(&mut bench);
    bench.radclient("coa", "NAS-Port=1,Filter-Id=permit");
    assert_eq!(bench.radclient("disconnect", "User-Name=alice,NAS-Port=1").0, "Disconnect-ACK");
    assert!(!bench.reaches("c1", INSIDE), "cut at once");
    while bench.runs(second) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(bench.runs(first));
    // Gone without ip-down.
    let (reply, cause) = bench.radclient("disconnect", "User-Name=alice,NAS-Port=1");
    assert!(reply == "Disconnect-ACK" || cause.as_deref() == Some("Session-Context-Not-Found"), "{reply} {cause:?}");
    bench.until(|| bench.state("ppp1").is_none().then_some(()));
    assert_eq!(bench.radclient("disconnect", "NAS-Port=1").1.as_deref(), Some("Session-Context-Not-Found"));
}

#[test]
fn an_interface_that_another_process_serves_is_not_ended() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    std::fs::write(bench.path("run/ppp0.pid"), "1\n").unwrap();
    let (reply, cause) = bench.radclient("disconnect", "User-Name=alice");
    assert_eq!((reply.as_str(), cause.as_deref()), ("Disconnect-NAK", Some("Session-Context-Not-Removable")));
    assert!(bench.runs(pid));
}

#[test]
fn a_pppd_that_does_not_end_is_killed() {
    let mut bench = Bench::start("kill_after = \"500ms\"\n");
    let mut deaf = Command::new("sh");
    // One process, so that nothing is left behind: exec keeps an ignored signal ignored.
    deaf.args(["-c", "trap '' TERM; exec sleep 600"]).process_group(0);
    let pid = bench.pppd_as(&mut deaf, "ppp0", "");
    let ignores = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == "sleep";
    while !ignores() {
        std::thread::sleep(Duration::from_millis(10));
    }
    bench.hook("ip-pre-up", "ppp0", pid, &super::ALICE);
    assert_eq!(bench.radclient("disconnect", "User-Name=alice").0, "Disconnect-ACK");
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
    bench.until(|| bench.state("ppp0").is_none().then_some(()));
}

#[test]
fn the_sandbox_has_a_limit_and_session_timeout_is_one() {
    let mut bench = Bench::start("sandbox_limit = \"1s\"\n");
    let pid = bench.alice();
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
    // A session that is let through stays, until its Session-Timeout.
    let bob = bench.pppd("ppp1", "Filter-Id permit\n");
    bench.hook("ip-pre-up", "ppp1", bob, &BOB);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(bench.runs(bob));
    assert_eq!(bench.radclient("coa", "User-Name=bob,Session-Timeout=1").0, "CoA-ACK");
    while bench.runs(bob) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_idle_timeout_ends_a_quiet_session() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    bench.coa("permit");
    assert_eq!(bench.radclient("coa", "User-Name=alice,Idle-Timeout=1").0, "CoA-ACK");
    while bench.runs(pid) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_answered_506_does_not_come_to_pass_later() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bench = Bench::without_agent("");
    let (bin, broken) = (bench.path("bin"), bench.path("broken"));
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = format!("#!/bin/sh\n[ -e {} ] && exit 1\nPATH={path} exec nft \"$@\"\n", broken.display());
    std::fs::write(bin.join("nft"), script).unwrap();
    std::fs::set_permissions(bin.join("nft"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.start_agent_by(&["env", &format!("PATH={}:{path}", bin.display())]);
    bench.alice();
    std::fs::write(&broken, "").unwrap();
    let refused = bench.radclient("coa", "User-Name=alice,Filter-Id=permit");
    assert_eq!(refused, ("CoA-NAK".to_owned(), Some("Resources-Unavailable".to_owned())));
    assert_eq!(bench.pyrad("coa", &["User-Name=alice", "Filter-Id=permit"]), "45 506");
    std::fs::remove_file(&broken).unwrap();
    bench.nft(&["delete", "table", "inet", "radhold"]);
    bench.until(|| bench.nft(&["list", "tables"]).contains("inet radhold").then_some(()));
    assert!(!bench.reaches("c0", INSIDE));
    bench.coa("permit");
    assert!(bench.reaches("c0", INSIDE));
}

#[test]
fn a_pppd_that_could_not_be_ended_is_not_said_to_be_and_is_ended_when_it_can() {
    let mut bench = Bench::start("");
    let pid = bench.alice();
    std::fs::write(bench.path("run/ppp0.pid"), "1\n").unwrap();
    for _ in 0..2 {
        assert_eq!(bench.radclient("disconnect", "User-Name=alice").0, "Disconnect-NAK");
    }
    assert!(bench.runs(pid));
    std::fs::write(bench.path("run/ppp0.pid"), format!("{pid}\n")).unwrap();
    while bench.runs(pid) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
