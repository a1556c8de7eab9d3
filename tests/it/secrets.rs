//! Secrets between NASes and the server: two at a time while one is changed, weak ones, long ones, and several NASes behind one
//! address. Debian's radclient is the NAS, pyrad its Dynamic Authorization Server.

use std::time::Instant;

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
