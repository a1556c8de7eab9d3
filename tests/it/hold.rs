//! The hold, end to end, with peers that are not ours: Debian's radclient as the NAS, pyrad as its Dynamic Authorization
//! Server. With the person's button: `telegram_hold`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::das::{Das, SECRET};
use crate::radhold::{Radhold, Ran, message, radclient, received};

const PASSWORD: &str = "s3cret-pass";

/// Times short enough for a test; the window is long unless the test is about its end.
fn lab(das: SocketAddr, window: &str) -> String {
    format!(
        r#"
        [server]
        reject_delay = "0s"
        [hold]
        window = "{window}"
        retry_first = "300ms"
        retry_most = "1s"
        stop_patience = "700ms"
        [dynauth]
        initial_timeout = "200ms"
        retries = 1
        max_timeout = "200ms"
        total = "500ms"
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        dialect = "standard"
        allow_ms_chap_v1 = true
        coa_port = {}
        "#,
        das.port()
    )
}

/// A lab with alice in it, whose NAS answers as told.
async fn scene(window: &str, actions: &[&str]) -> (Radhold, Das) {
    let das = Das::start(actions).await;
    let radhold = Radhold::start(&lab(das.address, window));
    radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
    (radhold, das)
}

fn login(radhold: &Radhold, password: &str) -> Ran {
    let attributes = format!(
        "User-Name = alice, {password}, NAS-Port = 7, Calling-Station-Id = \"10.90.0.2\", Message-Authenticator = 0x00"
    );
    radclient(radhold.auth, "auth", SECRET, &attributes)
}

fn accepted(radhold: &Radhold) -> String {
    let ran = login(radhold, &format!("User-Password = {PASSWORD}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    received(&ran, "Class").unwrap().to_owned()
}

fn account(radhold: &Radhold, status: &str, class: &str, more: &str) -> Ran {
    let attributes = format!(
        "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = a1, NAS-Port = 7, \
         Calling-Station-Id = \"10.90.0.2\", Framed-IP-Address = 10.93.0.50, Class = {class}{more}"
    );
    radclient(radhold.accounting, "acct", SECRET, &attributes)
}

/// Logs alice in and starts her session.
fn held(radhold: &Radhold) -> (String, String) {
    let class = accepted(radhold);
    let start = account(radhold, "Start", &class, "");
    assert_eq!(start.code, 0, "{start:?}");
    let session = radhold.until_state("held");
    (class, session["id"].as_str().unwrap().to_owned())
}

fn decide(radhold: &Radhold, verb: &str, session: &str) {
    let ran = radhold.cli(&["session", verb, session, "--as", "night-shift"], "");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn an_accept_confines_and_carries_what_brings_the_session_back() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let ran = login(&radhold, &format!("User-Password = {PASSWORD}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(received(&ran, "Filter-Id"), Some("sandbox"));
    assert_eq!(received(&ran, "Session-Timeout"), Some("150"), "window and grace: the NAS ends it when we cannot");
    assert!(received(&ran, "Class").unwrap().starts_with("0x7268"), "{ran:?}");
    let (_, answer) = ran.stdout.split_once("Received Access-Accept").unwrap();
    let first = answer.lines().nth(1).unwrap().trim();
    assert!(first.starts_with("Message-Authenticator = "), "CVE-2024-3596: it comes first, not {first}");
}

#[tokio::test]
async fn every_method_radclient_has_is_checked() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    for (method, right, wrong) in [
        ("PAP", format!("User-Password = {PASSWORD}"), "User-Password = wrong".to_owned()),
        ("CHAP", format!("CHAP-Password = {PASSWORD}"), "CHAP-Password = wrong".to_owned()),
        ("MS-CHAPv1", format!("MS-CHAP-Password = {PASSWORD}"), "MS-CHAP-Password = wrong".to_owned()),
    ] {
        let (yes, no) = (login(&radhold, &right), login(&radhold, &wrong));
        assert_eq!((yes.code, no.code), (0, 1), "{method}: {yes:?} {no:?}");
        assert_eq!(received(&yes, "Filter-Id"), Some("sandbox"), "{method}");
        assert!(no.stdout.contains("Received Access-Reject"), "{method}: {no:?}");
        let error = received(&no, "MS-CHAP-Error");
        assert_eq!(
            error.is_some_and(|error| error.contains("E=691 R=0")),
            method == "MS-CHAPv1",
            "{method}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_user_is_answered_like_a_wrong_password() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let answer = |user: &str| {
        let attributes = format!("User-Name = {user}, User-Password = wrong, Message-Authenticator = 0x00");
        let ran = radclient(radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(ran.code, 1, "{ran:?}");
        let (_, answer) = ran.stdout.split_once("Received ").unwrap();
        answer.lines().skip(1).filter(|line| !line.contains("Authenticator")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(answer("nobody"), answer("alice"));
}

#[tokio::test]
async fn a_wrong_secret_gets_no_answer_and_one_line_in_the_log() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let attributes = format!("User-Name = alice, User-Password = {PASSWORD}, Message-Authenticator = 0x00");
    for _ in 0..3 {
        let ran = radclient(radhold.auth, "auth", "not-the-secret", &attributes);
        assert!(ran.code == 1 && !ran.stdout.contains("Received"), "{ran:?}");
    }
    // What comes behind it is answered, so all before it has been seen.
    accepted(&radhold);
    let lines = radhold.log().into_iter().filter(|line| message(line).contains("packet dropped")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(message(&lines[0]).contains("is the secret the same on both sides?"), "{lines:#?}");
    assert_eq!(lines[0]["peer"], "127.0.0.1");
}

#[tokio::test]
async fn a_request_without_message_authenticator_gets_no_answer() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let ran = radclient(radhold.auth, "auth", SECRET, &format!("User-Name = alice, User-Password = {PASSWORD}"));
    assert!(ran.code == 1 && !ran.stdout.contains("Received"), "{ran:?}");
    let line = radhold.wait_for_log(0, |line| message(line).contains("CVE-2024-3596"));
    assert!(message(&line).contains("require_message_authenticator = false"), "{line:#}");
}

/// CVE-2024-3596: the attack hides what it needs in Proxy-State, and a Message-Authenticator ends it.
#[test]
fn limit_proxy_state_drops_what_is_proxied_and_not_signed() {
    let of = |limit: bool| {
        let radhold = Radhold::start(&format!(
            "[server]\nreject_delay = \"0s\"\n[nas.lab]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n\
             require_message_authenticator = false\nlimit_proxy_state = {limit}\n"
        ));
        radhold.add_user("alice", PASSWORD, &["--store-as", "clear"]);
        radhold
    };
    let login = |radhold: &Radhold, more: &str| {
        radclient(radhold.auth, "auth", SECRET, &format!("User-Name = alice, User-Password = {PASSWORD}{more}"))
    };
    let (proxied, signed) = (", Proxy-State = 0x0102", ", Message-Authenticator = 0x00");
    let radhold = of(true);
    let ran = login(&radhold, proxied);
    assert!(ran.code == 1 && !ran.stdout.contains("Received"), "{ran:?}");
    let line = radhold.wait_for_log(0, |line| line["reason"] == "packet.message-authenticator-absent");
    assert!(message(&line).contains("CVE-2024-3596"), "{line:#}");
    for more in ["".to_owned(), signed.to_owned(), format!("{proxied}{signed}")] {
        let ran = login(&radhold, &more);
        assert_eq!(ran.code, 0, "{more}: {ran:?}");
        assert_eq!(received(&ran, "Proxy-State").is_some(), more.contains("Proxy-State"), "{more}: {ran:?}");
    }
    drop(radhold);
    let radhold = of(false);
    let ran = login(&radhold, proxied);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn an_unknown_nas_gets_no_answer() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let attributes = format!(
        "Packet-Src-IP-Address = 127.0.0.9, User-Name = alice, User-Password = {PASSWORD}, Message-Authenticator = 0x00"
    );
    let ran = radclient(radhold.auth, "auth", SECRET, &attributes);
    assert!(ran.code == 1 && !ran.stdout.contains("Received"), "{ran:?}");
    let line = radhold.wait_for_log(0, |line| message(line).contains("not a NAS of ours"));
    assert_eq!(line["peer"], "127.0.0.9");
}

#[tokio::test]
async fn rfc5997_status_server_is_answered_on_both_ports() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    for (port, answer) in [(radhold.auth, "Access-Accept"), (radhold.accounting, "Accounting-Response")] {
        let ran = radclient(port, "status", SECRET, "Message-Authenticator = 0x00");
        assert!(ran.code == 0 && ran.stdout.contains(&format!("Received {answer}")), "{ran:?}");
    }
}

#[tokio::test]
async fn an_eap_login_gets_an_eap_failure() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    // EAP-Response/Identity "alice", Identifier 9 (RFC 3748 §5.1).
    let attributes = "User-Name = alice, EAP-Message = 0x0209000a01616c696365, Message-Authenticator = 0x00";
    let ran = radclient(radhold.auth, "auth", SECRET, attributes);
    assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
    assert_eq!(received(&ran, "EAP-Message"), Some("0x04090004"), "EAP-Failure with that Identifier");
}

#[tokio::test]
async fn approved_means_a_coa_request_with_the_permit_filter() {
    let (radhold, mut das) = scene("120s", &["ack-signed"]).await;
    let (class, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    let request = das.next().await;
    assert_eq!(request["code"], 43, "{request:#}");
    assert_eq!(request["signature"], "valid");
    assert_eq!(request["attributes"]["Filter-Id"][0], "permit");
    assert_eq!(request["attributes"]["User-Name"][0], "alice");
    assert_eq!(request["attributes"]["Acct-Session-Id"][0], "a1");
    let permitted = radhold.until_state("permitted");
    assert_eq!(permitted["decision"]["verdict"], "approved");
    assert_eq!(permitted["decision"]["who"], "night-shift");

    let octets = ", Acct-Input-Octets = 5, Acct-Input-Gigawords = 1, Acct-Output-Octets = 9, Acct-Session-Time = 60";
    for _ in 0..2 {
        assert_eq!(account(&radhold, "Interim-Update", &class, octets).code, 0);
    }
    assert_eq!(account(&radhold, "Stop", &class, &format!("{octets}, Acct-Terminate-Cause = User-Request")).code, 0);
    let closed = radhold.until_state("closed");
    assert_eq!(closed["end"]["cause"], "stop");
    assert_eq!(closed["counters"]["input_octets"], (1u64 << 32) + 5);
    // What was reported three times is counted once.
    let shown = radhold.cli(&["session", "show", &session, "--json"], "");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let used: u64 =
        shown["usage"].as_array().unwrap().iter().map(|row| row["added"]["input_octets"].as_u64().unwrap()).sum();
    assert_eq!(used, (1u64 << 32) + 5, "{shown:#}");
    let again = radhold.cli(&["session", "approve", &session], "");
    assert_eq!(again.code, 3, "too late: {again:?}");
}

#[tokio::test]
async fn an_approval_before_start_is_executed_at_start() {
    let (radhold, mut das) = scene("120s", &["ack"]).await;
    let class = accepted(&radhold);
    let offered = radhold.until_state("offered");
    decide(&radhold, "approve", offered["id"].as_str().unwrap());
    assert_eq!(account(&radhold, "Start", &class, "").code, 0);
    assert_eq!(das.next().await["code"], 43);
    radhold.until_state("permitted");
}

#[tokio::test]
async fn denied_means_a_disconnect_request_until_the_stop() {
    let (radhold, mut das) = scene("120s", &["ack"]).await;
    let (class, session) = held(&radhold);
    decide(&radhold, "deny", &session);
    assert_eq!(das.next().await["code"], 40);
    // The ACK is not believed: without a Stop it is asked again, as a new request.
    let again = das.next().await;
    assert_eq!(again["code"], 40);
    assert_eq!(radhold.until_state("evicting")["decision"]["verdict"], "denied");
    assert_eq!(account(&radhold, "Stop", &class, ", Acct-Terminate-Cause = Admin-Reset").code, 0);
    assert_eq!(radhold.until_state("closed")["end"]["cause"], "stop");
}

#[tokio::test]
async fn a_nak_that_the_session_is_gone_closes_it() {
    let (radhold, mut das) = scene("120s", &["nak:503"]).await;
    let (_, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    assert_eq!(das.next().await["code"], 43);
    assert_eq!(radhold.until_state("closed")["end"]["cause"], "session-gone");
}

#[tokio::test]
async fn a_nas_that_found_several_gets_all_we_know() {
    let (radhold, mut das) = scene("120s", &["nak:508", "ack"]).await;
    let (_, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    assert_eq!(das.next().await["attributes"]["NAS-Port"], Value::Null);
    let again = das.next().await;
    assert_eq!((&again["code"], &again["attributes"]["NAS-Port"][0]), (&Value::from(43), &Value::from(7)), "{again:#}");
    radhold.until_state("permitted");
}

#[tokio::test]
async fn a_nas_that_finds_our_attributes_wrong_is_reported_and_not_asked_again() {
    let (radhold, mut das) = scene("120s", &["nak:401"]).await;
    let (_, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    assert_eq!(das.next().await["code"], 43);
    let alert = radhold.wait_for_log(0, |line| message(line).contains("refuses the CoA-Request"));
    assert!(message(&alert).contains("401 Unsupported Attribute"), "{alert:#}");
    assert_eq!(radhold.until_state("held")["decision"]["verdict"], "approved");
}

#[tokio::test]
async fn ms_chap_v1_is_answered_only_where_it_is_allowed() {
    let das = Das::start(&["ack"]).await;
    let radhold = Radhold::start(&lab(das.address, "120s").replace("allow_ms_chap_v1 = true", ""));
    radhold.add_user("alice", PASSWORD, &["--store-as", "nt"]);
    let ran = login(&radhold, &format!("MS-CHAP-Password = {PASSWORD}"));
    assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
    radhold.wait_for_log(0, |line| line["outcome"] == "ms-chap-v1-not-allowed");
}

#[tokio::test]
async fn a_refusal_is_held_back_and_holds_nobody_up() {
    let das = Das::start(&["ack"]).await;
    let slow =
        lab(das.address, "120s").replace("dialect = \"standard\"", "dialect = \"standard\"\nreject_delay = \"3s\"");
    let radhold = Radhold::start(&slow);
    radhold.add_user("alice", PASSWORD, &["--store-as", "argon2id"]);
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            let begun = std::time::Instant::now();
            let ran = login(&radhold, "User-Password = wrong");
            (ran, begun.elapsed())
        });
        radhold.wait_for_log(0, |line| line["outcome"] == "wrong-password");
        accepted(&radhold);
        assert!(!refused.is_finished(), "who comes later is answered before the refusal is out");
        let (ran, took) = refused.join().unwrap();
        assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
        assert!(took >= Duration::from_secs(3), "{took:?}");
    });
}

#[tokio::test]
async fn accounting_is_answered_only_when_it_is_kept() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let class = accepted(&radhold);
    radhold.until_state("offered");
    // Somebody else holds the write locks of the database and of the spool: nothing can be kept.
    let lock = async |file: &str| {
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", radhold.path(file).display())).await.unwrap();
        let lock = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        (pool, lock)
    };
    let (store, store_lock) = lock("state/radhold.sqlite").await;
    let (spool, spool_lock) = lock("state/spool.sqlite").await;
    let unanswered = account(&radhold, "Start", &class, "");
    assert!(unanswered.code == 1 && !unanswered.stdout.contains("Received"), "{unanswered:?}");
    // With the spool it is kept, and answered.
    spool_lock.rollback().await.unwrap();
    spool.close().await;
    assert_eq!(account(&radhold, "Start", &class, "").code, 0);
    assert!(radhold.counters().get("spool.kept").is_some_and(|kept| *kept >= 1));
    store_lock.rollback().await.unwrap();
    store.close().await;
    radhold.until_state("held");
}

#[tokio::test]
async fn a_session_goes_on_at_another_node() {
    let mut das = Das::start(&["ack"]).await;
    let database = crate::postgres::Database::create().await;
    let keys = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        let sealing = keys.path().join("sealing.key");
        let head = format!(
            "node = \"{name}\"\nstore.url = \"{}\"\nkeys.sealing_file = \"{}\"\n",
            database.url(),
            sealing.display()
        );
        Radhold::start_with(&head, &lab(das.address, "120s"))
    };
    let (first, second) = (node("first"), node("second"));
    first.add_user("alice", PASSWORD, &[]);
    let class = accepted(&first);
    // The NAS turns to the other node with its accounting; the Class is all they share beside the store.
    assert_eq!(account(&second, "Start", &class, "").code, 0);
    let session = first.until_state("held");
    decide(&second, "approve", session["id"].as_str().unwrap());
    assert_eq!(das.next().await["code"], 43);
    second.until_state("permitted");
    assert_eq!(account(&first, "Stop", &class, "").code, 0);
    second.until_state("closed");
    assert_eq!(second.sessions().len(), 1);
}

#[tokio::test]
async fn a_silent_nas_is_asked_again_until_the_deadline_then_told_to_disconnect_until_stop() {
    let (radhold, mut das) = scene("10s", &["silent"]).await;
    let (class, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    // Each order goes out twice (RFC 5080 §2.2.1), the same octets; the next order is another request.
    let (first, repeat, second) = (das.next().await, das.next().await, das.next().await);
    assert_eq!(first["raw"], repeat["raw"]);
    assert_ne!(first["raw"], second["raw"]);
    assert_eq!((&first["code"], &second["code"]), (&Value::from(43), &Value::from(43)));
    let disconnect = loop {
        let request = das.next().await;
        if request["code"] == 40 {
            break request;
        }
    };
    assert_eq!(disconnect["attributes"]["User-Name"][0], "alice");
    for _ in 0..4 {
        assert_eq!(das.next().await["code"], 40, "retried until Stop");
    }
    assert_eq!(account(&radhold, "Stop", &class, "").code, 0);
    let closed = radhold.until_state("closed");
    assert_eq!(closed["end"]["cause"], "stop");
    assert_eq!(closed["permitted_at"], Value::Null);
}

#[tokio::test]
async fn nobody_answers_and_the_deadline_disconnects() {
    let (radhold, mut das) = scene("2s", &["ack"]).await;
    let class = accepted(&radhold);
    assert_eq!(account(&radhold, "Start", &class, "").code, 0);
    assert_eq!(das.next().await["code"], 40);
    let session = radhold.until_state("evicting")["id"].as_str().unwrap().to_owned();
    let late = radhold.cli(&["session", "approve", &session], "");
    assert_eq!(late.code, 3, "{late:?}");
    assert_eq!(account(&radhold, "Stop", &class, "").code, 0);
    radhold.until_state("closed");
}

#[tokio::test]
async fn accounting_on_closes_what_the_nas_has_lost() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    held(&radhold);
    let ran = radclient(radhold.accounting, "acct", SECRET, "Acct-Status-Type = Accounting-On, Acct-Session-Id = 0");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(radhold.until_state("closed")["end"]["cause"], "nas-restart");
}

#[tokio::test]
async fn a_nas_that_echoes_no_class_finds_its_session_all_the_same() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    accepted(&radhold);
    let start = "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = a9, NAS-Port = 7, \
                 Calling-Station-Id = \"10.90.0.2\"";
    assert_eq!(radclient(radhold.accounting, "acct", SECRET, start).code, 0);
    assert_eq!(radhold.until_state("held")["identity"]["acct_session_id"], "a9");
    assert_eq!(radhold.sessions().len(), 1);
    // Another port, another session: not ours, so only observed.
    let stranger = start.replace("NAS-Port = 7", "NAS-Port = 8");
    assert_eq!(radclient(radhold.accounting, "acct", SECRET, &stranger).code, 0);
    radhold.until_state("observed");
}

#[tokio::test]
async fn a_start_whose_offer_was_never_kept_is_held_again_by_its_class() {
    let (mut radhold, _das) = scene("120s", &["ack"]).await;
    let class = accepted(&radhold);
    radhold.until_state("offered");
    radhold.kill();
    // As if the process had died before the offer reached the store.
    let database = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let pool = sqlx::SqlitePool::connect(&database).await.unwrap();
    sqlx::query("DELETE FROM outbox").execute(&pool).await.unwrap();
    sqlx::query("DELETE FROM sessions").execute(&pool).await.unwrap();
    pool.close().await;
    radhold.restart();
    assert_eq!(account(&radhold, "Start", &class, "").code, 0);
    let session = radhold.until_state("held");
    assert_eq!(session["user"], "alice");
    // And its Class cannot be bent: one octet off is a stranger's.
    let forged = format!("{}00", &class[..class.len() - 2]);
    let other = account(&radhold, "Start", &forged, "");
    assert_eq!(other.code, 0, "{other:?}");
    assert!(radhold.sessions().iter().all(|session| session["state"] != "permitted"));
}

#[tokio::test]
async fn a_restart_keeps_deadline_and_orders() {
    let (mut radhold, mut das) = scene("60s", &["silent", "silent", "ack"]).await;
    let (_, session) = held(&radhold);
    decide(&radhold, "approve", &session);
    assert_eq!(das.next().await["code"], 43);
    radhold.kill();
    radhold.restart();
    // The order that was under way goes out again.
    assert_eq!(das.next().await["code"], 43);
    radhold.until_state("permitted");
}

#[tokio::test]
async fn the_same_packet_twice_is_one_login() {
    let (radhold, _das) = scene("120s", &["ack"]).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let request = access_request();
    let mut replies = Vec::new();
    for _ in 0..3 {
        socket.send_to(&request, radhold.auth).await.unwrap();
        let mut buffer = [0; 4096];
        let received = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.unwrap().unwrap();
        replies.push(buffer[..received].to_vec());
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "RFC 5080 §2.2.2: the stored reply goes out again");
    radhold.until_state("offered");
    assert_eq!(radhold.sessions().len(), 1);
}

/// A PAP login of alice.
fn access_request() -> Vec<u8> {
    use radhold::radius::{Code, PacketBuilder, attribute, hiding};
    let authenticator = [7; 16];
    let mut builder = PacketBuilder::request(Code::AccessRequest, 1, authenticator);
    builder.text(attribute::USER_NAME, "alice").unwrap();
    let hidden = hiding::hide_user_password(PASSWORD.as_bytes(), SECRET.as_bytes(), &authenticator).unwrap();
    builder.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
    builder.sign_request(SECRET.as_bytes()).unwrap().to_vec()
}
