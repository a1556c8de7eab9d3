//! Secrets between NASes and the server: two at a time while one is changed, weak ones, long ones, and several NASes behind one
//! address. Debian's radclient is the NAS, pyrad its Dynamic Authorization Server.

use std::net::UdpSocket;
use std::time::Instant;

use radhold::radius::{Code, Packet, PacketBuilder};
use serde_json::Value;

use crate::das::{self, Das};
use crate::radhold::{PATIENCE, Radhold, Ran, message, radclient, received};

const PASSWORD: &str = "s3cret-pass";
const NEXT: &str = "the-next-secret-of-32-octets-xyz";

fn login(radhold: &Radhold, secret: &str, more: &str) -> Ran {
    let attributes = format!("User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 7{more}");
    radclient(radhold.auth, "auth", secret, &attributes)
}

const SIGNED: &str = ", Message-Authenticator = 0x00";

fn server(toml: &str) -> Radhold {
    let radhold = Radhold::start(&format!("[server]\nreject_delay = \"0s\"\n{toml}"));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    radhold
}

/// Adds a NAS to the store, and waits until the server knows it.
fn add(radhold: &Radhold, arguments: &[&str], secret: &str) -> Ran {
    let from = radhold.log().len();
    let ran = radhold.cli(&[&["nas", "add"], arguments, &["--secret-stdin"]].concat(), secret);
    assert_eq!(ran.code, 0, "{ran:?}");
    radhold.wait_for_log(from, |line| message(line) == "the store's list of NASes has changed");
    ran
}

fn rotate(radhold: &Radhold, arguments: &[&str], secret: &str) -> Ran {
    let from = radhold.log().len();
    let ran = radhold.cli(&[&["nas", "rotate"], arguments].concat(), secret);
    assert_eq!(ran.code, 0, "{ran:?}");
    radhold.wait_for_log(from, |line| message(line) == "the store's list of NASes has changed");
    ran
}

fn listed(radhold: &Radhold, name: &str) -> Value {
    let ran = radhold.cli(&["nas", "list", "--json"], "");
    let all: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    all.into_iter().find(|nas| nas["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_count_for_a_while_and_replies_are_made_with_the_one_that_was_used() {
    // It knows the old secret alone.
    let das = Das::start(&["ack"]).await;
    tokio::task::block_in_place(|| {
        let radhold = server(
            "[hold]\nretry_first = \"300ms\"\n[dynauth]\ninitial_timeout = \"200ms\"\nretries = 1\nmax_timeout = \"200ms\"\ntotal = \"500ms\"\n\
             [nas.other]\naddress = \"192.0.2.1\"\nsecret = \"of-no-use-here-thirty-two-octets\"\n",
        );
        let port = das.address.port().to_string();
        let unsigned = ["lab", "--address", "127.0.0.1", "--coa-port", &port, "--no-require-message-authenticator"];
        let ran = add(&radhold, &unsigned, das::SECRET);
        assert!(ran.stderr.contains("12 octets or fewer"), "{ran:?}");
        assert_eq!(login(&radhold, das::SECRET, SIGNED).code, 0);
        assert_ne!(login(&radhold, NEXT, SIGNED).code, 0);

        let ran = rotate(&radhold, &["lab", "--secret-stdin", "--for", "1h"], NEXT);
        assert!(ran.stdout.contains("the old one counts until"), "{ran:?}");
        assert!(listed(&radhold, "lab")["previous_secret_until"].is_string());
        // Signed or not.
        assert_eq!(login(&radhold, das::SECRET, "").code, 0);
        assert_eq!(login(&radhold, NEXT, SIGNED).code, 0);
        assert_eq!(login(&radhold, NEXT, "").code, 0);
        let ran = login(&radhold, das::SECRET, SIGNED);
        assert_eq!(ran.code, 0, "{ran:?}");
        let class = received(&ran, "Class").unwrap();
        for secret in [das::SECRET, NEXT] {
            let start = format!(
                "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7, \
                 Framed-IP-Address = 10.93.0.50, Class = {class}"
            );
            assert_eq!(radclient(radhold.accounting, "acct", secret, &start).code, 0, "{secret}");
        }
        assert_ne!(login(&radhold, "neither-of-them-thirty-two-octet", SIGNED).code, 0);

        // The CoA-Request is made with the new one, and then with the old one, which is answered.
        let session = radhold.until_state("held");
        let ran = radhold.cli(&["session", "approve", session["id"].as_str().unwrap(), "--as", "night-shift"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        radhold.until_state("permitted");

        rotate(&radhold, &["lab", "--finish"], "");
        assert_ne!(login(&radhold, das::SECRET, SIGNED).code, 0);
        assert_eq!(login(&radhold, NEXT, SIGNED).code, 0);
        assert_eq!(listed(&radhold, "lab")["previous_secret_until"], Value::Null);
    });
}

const FIRST: &str = "the-first-secret-of-32-octets-xy";

/// A network of hosts that sign nothing but their accounting, while their secret is changed, and users who log in there.
fn network_in_between() -> Radhold {
    let radhold = server(&format!(
        "[nas.lab]\naddress = \"127.0.0.0/24\"\nsecret = \"{NEXT}\"\nprevious_secret = \"{FIRST}\"\n\
         require_message_authenticator = false\n"
    ));
    radhold.add_user("bob", PASSWORD, &["--store-as", "clear", "--no-second-factor"]);
    radhold
}

/// Logs in from one of the hosts.
fn login_at(radhold: &Radhold, host: &str, secret: &str, user: &str, password: &str) -> Ran {
    let attributes = format!("Packet-Src-IP-Address = {host}, User-Name = {user}, {password}, NAS-Port = 7");
    radclient(radhold.auth, "auth", secret, &attributes)
}

#[test]
fn hosts_of_one_entry_change_their_secret_each_by_itself() {
    let radhold = network_in_between();
    let hosts = [("127.0.0.2", FIRST), ("127.0.0.3", NEXT)];
    let all_log_in = |when: &str| {
        for (host, secret) in hosts {
            // The secret has no part in CHAP, so only what was heard of a host says which it uses.
            let ran = login_at(&radhold, host, secret, "bob", &format!("CHAP-Password = {PASSWORD}"));
            assert_eq!(ran.code, 0, "{when}, {host}: {ran:?}");
        }
    };
    for (host, secret) in hosts.into_iter().chain(hosts.into_iter().rev()) {
        let on = format!("Packet-Src-IP-Address = {host}, Acct-Status-Type = Accounting-On, Acct-Session-Id = a1");
        let ran = radclient(radhold.accounting, "acct", secret, &on);
        assert_eq!(ran.code, 0, "{host}: {ran:?}");
        if host == "127.0.0.3" {
            all_log_in("after its accounting");
        }
    }
    all_log_in("after the other's accounting");
    add(&radhold, &["other", "--address", "192.0.2.1"], "of-no-use-here-thirty-two-octets");
    all_log_in("another NAS in the store");
    radhold.signal("HUP");
    radhold.wait_for_log(0, |line| message(line) == "configuration reloaded");
    all_log_in("reloaded");
}

/// It hides a password in clear by its secret, and so shows which one that is; then that is known for logins that do not show it.
#[test]
fn a_host_that_signs_nothing_changes_its_secret_between_two_logins() {
    let radhold = network_in_between();
    // Alice is asked for, and bob is let in at once, by the short cut when he is remembered.
    for (host, user) in [("127.0.0.2", "alice"), ("127.0.0.3", "bob"), ("127.0.0.4", "bob")] {
        for secret in [FIRST, NEXT, FIRST] {
            for password in ["User-Password", "CHAP-Password"] {
                let ran = login_at(&radhold, host, secret, user, &format!("{password} = {PASSWORD}"));
                assert_eq!(ran.code, 0, "{host}, {secret}, {password}: {ran:?}");
            }
        }
    }
    for secret in [FIRST, NEXT] {
        let ran = login_at(&radhold, "127.0.0.5", secret, "bob", "User-Password = wrong");
        assert!(ran.code == 1 && ran.stdout.contains("Received Access-Reject"), "{secret}: {ran:?}");
    }
}

/// Two hosts that listen for orders on the same port, each at an address of its own.
fn listening_hosts() -> [UdpSocket; 2] {
    let begun = Instant::now();
    loop {
        let first = UdpSocket::bind("127.0.0.2:0").unwrap();
        if let Ok(second) = UdpSocket::bind(("127.0.0.3", first.local_addr().unwrap().port())) {
            return [first, second];
        }
        assert!(begun.elapsed() < PATIENCE, "no port is free at both");
    }
}

/// Whether the next order to a host is made with that secret; then it is acknowledged.
fn takes_order(host: &UdpSocket, secret: &str) -> bool {
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut octets = [0; 4096];
    let (length, server) = host.recv_from(&mut octets).unwrap();
    let order = Packet::parse(&octets[..length]).unwrap();
    assert_eq!(order.code(), Code::CoaRequest);
    let genuine = order.verify_request_authenticator(secret.as_bytes()).is_ok();
    if genuine {
        let mut ack = PacketBuilder::reply(&order, Code::CoaAck);
        host.send_to(ack.sign_reply(secret.as_bytes()).unwrap(), server).unwrap();
    }
    genuine
}

/// The first order is made with the secret the host's own packets were; the other one is for a host that has changed it since.
#[test]
fn an_order_to_a_host_is_made_with_the_secret_of_that_host() {
    let hosts = listening_hosts();
    let radhold = server(&format!(
        "[hold]\nretry_first = \"300ms\"\n\
         [dynauth]\ninitial_timeout = \"1s\"\nretries = 1\nmax_timeout = \"1s\"\ntotal = \"2s\"\n\
         [nas.lab]\naddress = \"127.0.0.0/24\"\nsecret = \"{NEXT}\"\nprevious_secret = \"{FIRST}\"\ncoa_port = {}\n",
        hosts[0].local_addr().unwrap().port()
    ));
    radhold.add_user("bob", PASSWORD, &["--store-as", "clear"]);
    // Who logs in at which host, by which secret, and which one orders find there.
    let lives = [("alice", FIRST, FIRST), ("bob", NEXT, NEXT), ("alice", FIRST, NEXT), ("bob", NEXT, FIRST)];
    for (host, (user, used, knows)) in hosts.iter().cycle().zip(lives) {
        let address = host.local_addr().unwrap().ip().to_string();
        let ran = login_at(&radhold, &address, used, user, &format!("User-Password = {PASSWORD}{SIGNED}"));
        assert_eq!(ran.code, 0, "{user}: {ran:?}");
        let class = received(&ran, "Class").unwrap();
        let start = format!(
            "Packet-Src-IP-Address = {address}, User-Name = {user}, Acct-Status-Type = Start, Acct-Session-Id = {user}-{knows}, \
             NAS-Port = 7, Class = {class}"
        );
        assert_eq!(radclient(radhold.accounting, "acct", used, &start).code, 0, "{user}");
        let session = radhold.until_state("held");
        let ran = radhold.cli(&["session", "approve", session["id"].as_str().unwrap(), "--as", "night-shift"], "");
        assert_eq!(ran.code, 0, "{ran:?}");
        let at_once = takes_order(host, knows);
        assert_eq!(at_once, used == knows, "{user} at {address}, {used} and {knows}");
        if !at_once {
            // With its own repeats before it.
            while !takes_order(host, knows) {}
        }
        let permitted = radhold.until_state("permitted");
        assert_eq!(permitted["id"], session["id"]);
        // What was sent again before the answer was read.
        host.set_nonblocking(true).unwrap();
        while host.recv(&mut [0; 4096]).is_ok() {}
        host.set_nonblocking(false).unwrap();
    }
}

#[test]
fn the_old_secret_ends_by_itself() {
    let radhold = server("[nas.other]\naddress = \"192.0.2.1\"\nsecret = \"of-no-use-here-thirty-two-octets\"\n");
    add(&radhold, &["lab", "--address", "127.0.0.1"], FIRST);
    rotate(&radhold, &["lab", "--secret-stdin", "--for", "2s"], NEXT);
    let begun = Instant::now();
    while login(&radhold, FIRST, SIGNED).code == 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(login(&radhold, NEXT, SIGNED).code, 0);
    let table = radhold.cli(&["nas", "list"], "");
    assert!(table.stdout.lines().any(|line| line.contains("lab") && line.contains("over")), "{table:?}");
}

#[test]
fn a_secret_may_have_128_octets() {
    let long = "x7".repeat(64);
    let radhold = server(&format!("[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{long}\"\n"));
    assert_eq!(login(&radhold, &long, SIGNED).code, 0);
}

#[test]
fn weak_secrets_are_warned_of_at_the_check() {
    let radhold = server("[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"testing123\"\n");
    let ran = radhold.cli(&["check"], "");
    assert!(ran.stdout.contains("nas.lab: the secret is one that everybody tries first"), "{ran:?}");
}

#[test]
fn nases_behind_one_address_are_told_apart_by_nas_identifier_and_secret() {
    let [east, west, rest] = ["east", "west", "rest"].map(|name| format!("{name}-secret-of-thirty-two-octets-"));
    let radhold = server(&format!(
        "[nas.east]\naddress = \"127.0.0.1\"\nnas_identifier = \"east\"\nsecret = \"{east}\"\nrequire_message_authenticator = false\n\
         [nas.west]\naddress = \"127.0.0.1\"\nnas_identifier = \"west\"\nsecret = \"{west}\"\n\
         [nas.rest]\naddress = \"127.0.0.1\"\nsecret = \"{rest}\"\n"
    ));
    let as_ = |name: &str| format!(", NAS-Identifier = {name}");
    for (secret, identifier, nas) in [
        (&east, as_("east"), "east"),
        (&west, as_("west"), "west"),
        (&rest, as_("south"), "rest"),
        (&rest, String::new(), "rest"),
        (&rest, as_("east"), "rest"),
    ] {
        let from = radhold.log().len();
        let ran = login(&radhold, secret, &format!("{SIGNED}{identifier}"));
        assert_eq!(ran.code, 0, "{nas}: {ran:?} {:#?}", radhold.log());
        let line = radhold.wait_for_log(from, |line| message(line) == "Access-Request answered");
        assert_eq!(line["nas"], nas);
    }
    // Another's secret, or no proof at all: whoever may write a NAS-Identifier has shown nothing.
    assert_ne!(login(&radhold, &west, &format!("{SIGNED}{}", as_("east"))).code, 0);
    assert_ne!(login(&radhold, &east, &as_("east")).code, 0);
    let line = radhold.wait_for_log(0, |line| line["reason"] == "packet.message-authenticator-absent");
    assert!(message(&line).contains("several NASes have this address"), "{line:#}");
}
