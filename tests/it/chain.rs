//! Who is asked after whom, end to end: the real server, radclient as the NAS, pyrad as its Dynamic Authorization Server, the Bot API
//! over real HTTP, and the receiver of the manual (docs/webhook_receiver.py) as the webhook.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::bot_api::{BotApi, Failure, Message, TOKEN};
use crate::das::{Das, SECRET};
use crate::port::own_address;
use crate::radhold::{PATIENCE, Radhold, radclient, received};

const BOB: i64 = 1002;
const BOSS: i64 = 1003;
const LEAD: i64 = 1004;
const PASSWORD: &str = "s3cret-pass";
const SIGNED_WITH: &str = "what both sides sign with";

struct Scene {
    api: BotApi,
    das: Das,
    radhold: Radhold,
}

impl Scene {
    /// Bob may log in, and he, the boss and the lead have a chat each. `toml` comes behind the rest.
    async fn new(hold: &str, toml: &str) -> Self {
        let (api, das) = (BotApi::start().await, Das::start(&["ack"]).await);
        let radhold = Radhold::start(&format!(
            "[server]\nreject_delay = \"0s\"\n[hold]\n{hold}\n[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\n\
             operator_chat = {LEAD}\n[nas.office]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\ncoa_port = {}\n{toml}",
            api.url(),
            das.address.port()
        ));
        for (name, chat) in [("bob", BOB), ("boss", BOSS), ("lead", LEAD)] {
            api.add_user(chat, name);
            radhold.add_user(name, PASSWORD, &["--store-as", "clear"]);
            let scene = radhold.cli(&["user", "bind", name, "--telegram", &chat.to_string()], "");
            assert_eq!(scene.code, 0, "{scene:?}");
        }
        Self { api, das, radhold }
    }

    fn cli(&self, arguments: &[&str]) {
        let ran = self.radhold.cli(arguments, "");
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    }

    /// Logs bob in and starts his session.
    fn log_in(&self) -> String {
        let attributes = format!(
            "User-Name = bob, User-Password = {PASSWORD}, NAS-Port = 7, Calling-Station-Id = \"203.0.113.7\", \
             Message-Authenticator = 0x00"
        );
        let ran = radclient(self.radhold.auth, "auth", SECRET, &attributes);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(received(&ran, "Filter-Id"), Some("sandbox"));
        let class = received(&ran, "Class").unwrap().to_owned();
        let attributes = format!(
            "User-Name = bob, Acct-Status-Type = Start, Acct-Session-Id = a1, NAS-Port = 7, Calling-Station-Id = \
             \"203.0.113.7\", Class = {class}"
        );
        assert_eq!(radclient(self.radhold.accounting, "acct", SECRET, &attributes).code, 0);
        class
    }

    /// Waits until so many were asked: who, and how far that went.
    fn until_asked(&self, state: &str, wanted: &[(&str, &str)]) -> Value {
        let begun = Instant::now();
        loop {
            let session = self.radhold.until_state(state);
            let asked: Vec<_> = session["asked"].as_array().unwrap().clone();
            let seen = asked.iter().map(|ask| (ask["approver"].as_str().unwrap(), ask["state"].as_str().unwrap()));
            if seen.eq(wanted.iter().copied()) {
                return session;
            }
            assert!(begun.elapsed() < PATIENCE, "never {wanted:?}: {session:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    async fn press(&self, prompt: &Message, who: i64, button: &str) -> String {
        let press = self.api.press(who, prompt.id, who, button);
        self.api.until_answered(&press).await.text
    }

    async fn until_says(&self, chat: i64, message: i64, text: &str) {
        let what = format!("{text:?} in message {message}");
        self.api
            .until(&what, |world| {
                world.messages.get(&(chat, message)).filter(|message| message.text.contains(text)).map(drop)
            })
            .await;
    }
}

/// The receiver of the manual.
struct Receiver {
    child: Child,
    terminal: ChildStdin,
    says: mpsc::Receiver<String>,
    /// What it said so far: what is waited for may have come before what was waited for first, since it answers by several threads.
    said: Vec<String>,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Receiver {
    fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, format!("{SIGNED_WITH}\n")).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/webhook_receiver.py");
        let mut command = Command::new("python3");
        command.args([script, "--port", "0", "--secret-file"]).arg(&secret).args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (terminal, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (lines, says) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let first = says.recv_timeout(PATIENCE).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, terminal, says, said: Vec::new(), address, _directory: directory }
    }

    fn until_has_said(&mut self, part: &str) {
        while !self.said.iter().any(|line| line.contains(part)) {
            let line = self.says.recv_timeout(PATIENCE);
            self.said.push(line.unwrap_or_else(|_| panic!("never said {part:?}, but {:?}", self.said)));
        }
    }

    fn section(&self, more: &str) -> String {
        format!(
            "[approver.webhook]\nurl = \"http://{}/\"\nsecret = \"{SIGNED_WITH}\"\nallow = [\"127.0.0.1\"]\n{more}\n",
            self.address
        )
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signed(body: &str, at: i64, secret: &str) -> (String, String) {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    (at.to_string(), format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}

fn now() -> i64 {
    radhold::app::clock::now().as_secs()
}

// -- patience, and what follows when somebody cannot be reached

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_bot_is_followed_by_the_webhook_which_answers_in_its_response() {
    let mut receiver = Receiver::start(&["--approve", "bob"]);
    let mut scene =
        Scene::new("approvers = [\"telegram:1h\", \"webhook:1h\", \"operator\"]", &receiver.section("")).await;
    scene.api.set_blocked(BOB, true);
    scene.log_in();
    let request = scene.das.next().await;
    assert_eq!((&request["code"], &request["attributes"]["Filter-Id"][0]), (&43.into(), &"permit".into()));
    let session = scene.until_asked("permitted", &[("telegram", "undeliverable"), ("webhook", "sent")]);
    assert_eq!((&session["decision"]["approver"], &session["decision"]["who"]), (&json!("webhook"), &json!("rule")));
    receiver.until_has_said("bob on office: permitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_patience_is_over_the_next_is_asked_too_and_answers_by_callback() {
    let mut receiver = Receiver::start(&[]);
    let listen = own_address();
    let mut scene = Scene::new(
        "approvers = [\"telegram:2s\", \"webhook:1h\", \"operator\"]",
        &receiver.section(&format!("listen = \"{listen}\"")),
    )
    .await;
    scene.log_in();
    let prompt = scene.api.until_sent(BOB, 0).await;
    receiver.until_has_said("bob on office from 203.0.113.7");
    scene.until_asked("held", &[("telegram", "sent"), ("webhook", "sent")]);
    receiver.terminal.write_all(b"n\n").unwrap();
    assert_eq!(scene.das.next().await["code"], 40);
    receiver.until_has_said("told: {'told': 'done'}");
    // All who were asked hear of it.
    receiver.until_has_said("bob on office: denied");
    scene.until_says(BOB, prompt.id, "Denied.").await;
    let session = scene.radhold.until_state("evicting");
    assert_eq!(session["decision"]["who"], "terminal", "{session:#}");
    // The message has lost its buttons, but an old client may still show them.
    let press = scene.api.press_data(BOB, prompt.id, BOB, prompt.keyboard[0][0].data.as_ref().unwrap());
    let late = scene.api.until_answered(&press).await.text;
    assert!(late.starts_with("Already denied"), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_waited_for_in_vain_may_still_answer_and_the_operator_is_called() {
    let mut scene = Scene::new("approvers = [\"telegram:1s\", \"operator\"]", "").await;
    scene.log_in();
    let prompt = scene.api.until_sent(BOB, 0).await;
    let call = scene.api.until_sent(LEAD, 0).await;
    assert!(call.text.contains("waits for an operator") && call.text.contains("radhold session approve"), "{call:?}");
    assert!(scene.press(&prompt, BOB, "It's me").await.starts_with("Confirmed."));
    assert_eq!(scene.das.next().await["code"], 43);
    let session = scene.until_asked("permitted", &[("telegram", "sent"), ("operator", "sent")]);
    assert_eq!(session["decision"]["approver"], "telegram");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_is_left_the_session_ends_or_is_held_as_policy_says() {
    let mut scene = Scene::new("approvers = [\"telegram\"]", "").await;
    scene.api.set_blocked(BOB, true);
    scene.log_in();
    assert_eq!(scene.das.next().await["code"], 40);
    scene.until_asked("evicting", &[("telegram", "undeliverable")]);
    let alert = scene.api.until_sent(LEAD, 0).await;
    assert!(alert.text.contains("nobody could be asked") && alert.text.contains("is being ended"), "{alert:?}");

    let mut scene = Scene::new("approvers = [\"telegram\"]", "").await;
    scene.cli(&["group", "add", "patient", "--when-unreachable", "hold"]);
    scene.cli(&["group", "member", "add", "patient", "bob"]);
    scene.api.set_blocked(BOB, true);
    scene.log_in();
    let session = scene.until_asked("held", &[("telegram", "undeliverable")]);
    let alert = scene.api.until_sent(LEAD, 0).await;
    assert!(alert.text.contains("stays confined until its deadline"), "{alert:?}");
    scene.cli(&["session", "approve", session["id"].as_str().unwrap()]);
    assert_eq!(scene.das.next().await["code"], 43);
}

// -- the webhook's doors

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_signed_now_and_to_a_question_of_ours_is_an_answer() {
    let (questions, listen) = (TcpListener::bind("127.0.0.1:0").unwrap(), own_address());
    let url = questions.local_addr().unwrap();
    let section = format!(
        "[approver.webhook]\nurl = \"http://{url}/ask\"\nsecret = \"{SIGNED_WITH}\"\nallow = [\"127.0.0.0/8\"]\nlisten = \"{listen}\"\n"
    );
    let mut scene = Scene::new("approvers = [\"webhook\", \"operator\"]", &section).await;
    let asked = std::thread::spawn(move || take_question(&questions));
    scene.log_in();
    let (headers, question) = asked.join().unwrap();
    let body: Value = serde_json::from_str(&question).unwrap();
    let header = |name: &str| {
        let line = headers.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(str::to_owned));
        line.unwrap().trim_start_matches(':').trim().to_owned()
    };
    let at: i64 = header("x-radhold-timestamp").parse().unwrap();
    assert_eq!(header("x-radhold-signature"), signed(&question, at, SIGNED_WITH).1, "as the manual says");
    assert_eq!((&body["event"], &body["user"], &body["nas"]), (&json!("question"), &json!("bob"), &json!("office")));
    let callback = body["callback"].as_str().unwrap().to_owned();
    assert_eq!(callback, format!("http://{listen}/answer"));

    let nonce = body["nonce"].as_str().unwrap();
    let yes = json!({"session": body["session"], "nonce": nonce, "answer": "approve"}).to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |body: &str, headers: Option<(String, String)>| {
        let mut request = client.post(&callback).body(body.to_owned());
        if let Some((timestamp, signature)) = headers {
            request = request.header("X-Radhold-Timestamp", timestamp).header("X-Radhold-Signature", signature);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let mine = |body: &str| Some(signed(body, now(), SIGNED_WITH));
    let other = json!({"nonce": "y".repeat(45), "answer": "approve"}).to_string();
    let wrong =
        json!({"session": "00000000-0000-7000-8000-000000000001", "nonce": nonce, "answer": "approve"}).to_string();
    for (what, body, headers, status) in [
        ("unsigned", &yes, None, 401),
        ("signed with another secret", &yes, Some(signed(&yes, now(), "another secret of theirs")), 401),
        ("signed for another body", &yes, mine(&other), 401),
        ("stale", &yes, Some(signed(&yes, now() - 400, SIGNED_WITH)), 401),
        ("from the future", &yes, Some(signed(&yes, now() + 400, SIGNED_WITH)), 401),
        ("to another question", &other, mine(&other), 404),
        ("about another session", &wrong, mine(&wrong), 404),
        ("our own question sent back", &question, Some(signed(&question, at, SIGNED_WITH)), 400),
        ("too long", &"x".repeat(20_000), mine(&"x".repeat(20_000)), 413),
    ] {
        let (answered, text) = post(body, headers).await;
        assert_eq!(answered, status, "{what}: {text}");
    }
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);

    let headers = mine(&yes);
    assert_eq!(post(&yes, headers.clone()).await, (200, "{\"told\":\"done\"}".to_owned()));
    assert_eq!(scene.das.next().await["code"], 43);
    assert_eq!(post(&yes, headers).await.0, 409, "the same once more");
    let no = json!({"nonce": nonce, "answer": "deny"}).to_string();
    assert_eq!(post(&no, mine(&no)).await, (409, "{\"told\":\"already-approved\"}".to_owned()));
    assert_eq!(scene.radhold.until_state("permitted")["decision"]["approver"], "webhook");
}

/// Takes one request in and answers it with nothing: its lines of headers, and its body.
fn take_question(listener: &TcpListener) -> (Vec<String>, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        headers.push(line.trim().to_owned());
    }
    let length =
        headers.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap()];
    std::io::Read::read_exact(&mut reader, &mut body).unwrap();
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    (headers, String::from_utf8(body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_at_home_is_not_called_unless_it_is_listed_and_no_redirect_is_followed() {
    // Nobody may connect here.
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let section = format!("[approver.webhook]\nurl = \"http://{host}:{port}/\"\nsecret = \"{SIGNED_WITH}\"\n");
        let scene = Scene::new("approvers = [\"webhook\", \"operator\"]\nunreachable_after = \"1s\"", &section).await;
        scene.log_in();
        let session = scene.until_asked("held", &[("webhook", "undeliverable"), ("operator", "sent")]);
        let reason = session["asked"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("approver.webhook.allow"), "{host}: {reason}");
        assert!(trap.accept().is_err(), "{host}: somebody connected");
    }

    let redirecting = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = redirecting.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = redirecting.accept().unwrap();
        // An answer to what was not asked yet would be none.
        std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        // Kept open until the other side is done: octets that nobody reads would turn its end into a reset.
        while std::io::Read::read(&mut stream, &mut [0; 4096]).is_ok_and(|read| read > 0) {}
    });
    let section =
        format!("[approver.webhook]\nurl = \"http://{url}/\"\nsecret = \"{SIGNED_WITH}\"\nallow = [\"127.0.0.1\"]\n");
    let scene = Scene::new("approvers = [\"webhook\", \"operator\"]", &section).await;
    scene.log_in();
    let session = scene.until_asked("held", &[("webhook", "undeliverable"), ("operator", "sent")]);
    assert!(session["asked"][0]["reason"].as_str().unwrap().contains("307"), "{session:#}");
    assert!(trap.accept().is_err(), "it was followed");
}

// -- a second person

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_must_confirm_in_their_own_chats_and_whoever_was_unbound_does_not_count() {
    let mut scene = Scene::new("approvers = [\"telegram\", \"operator\"]", "").await;
    scene.cli(&["group", "add", "bosses"]);
    scene.cli(&["group", "member", "add", "bosses", "boss", "lead"]);
    scene.cli(&[
        "group",
        "add",
        "contractors",
        "--second-person-group",
        "bosses",
        "--second-person-needed",
        "2",
        "--approvers",
        "person:1h,operator",
    ]);
    scene.cli(&["group", "member", "add", "contractors", "bob"]);
    scene.log_in();
    let (to_boss, to_lead) = (scene.api.until_sent(BOSS, 0).await, scene.api.until_sent(LEAD, 0).await);
    for prompt in [&to_boss, &to_lead] {
        assert!(prompt.text.contains("somebody else") && prompt.text.contains("bob"), "{prompt:?}");
        assert_eq!(prompt.buttons(), ["Confirm", "Refuse"]);
    }
    scene.until_asked("held", &[("person", "sent")]);
    assert!(scene.api.sent(BOB).is_empty(), "it is not for bob to say");
    // Bob cannot press what was made for the boss.
    let data = to_boss.keyboard[0][0].data.clone().unwrap();
    let stolen = scene.api.until_answered(&scene.api.press_data(BOB, to_boss.id, BOB, &data)).await;
    assert!(stolen.text.contains("not yours"), "{stolen:?}");

    assert!(scene.press(&to_boss, BOSS, "Confirm").await.contains("Somebody else must agree too"));
    assert!(scene.press(&to_boss, BOSS, "Confirm").await.contains("Somebody else must agree too"), "twice is once");
    // The boss's phone is lost: his yes counts no more.
    scene.cli(&["user", "unbind", "boss", "--telegram", &BOSS.to_string()]);
    assert!(scene.press(&to_lead, LEAD, "Confirm").await.contains("Somebody else must agree too"));
    assert!(scene.press(&to_boss, BOSS, "Confirm").await.contains("not bound"));
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);

    scene.cli(&["user", "bind", "boss", "--telegram", &BOSS.to_string()]);
    // The message has lost its buttons by now, but an old client may still show them.
    let press = scene.api.press_data(BOSS, to_boss.id, BOSS, &data);
    assert!(scene.api.until_answered(&press).await.text.starts_with("Confirmed."));
    assert_eq!(scene.das.next().await["code"], 43);
    let session = scene.radhold.until_state("permitted");
    let who = session["decision"]["who"].as_str().unwrap();
    assert!(who.contains(&format!("boss ({BOSS})")) && who.contains(&format!("lead ({LEAD})")), "{session:#}");
    for (chat, prompt) in [(BOSS, &to_boss), (LEAD, &to_lead)] {
        scene.until_says(chat, prompt.id, "The connection is open.").await;
    }
    // Each yes that counted is on record, and what they came to; a repetition and one of nobody are none.
    let ran = scene.radhold.cli(&["audit", "--act", "session", "--json"], "");
    let acts: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let said = |act: &Value| ["act", "who", "origin", "subject"].map(|key| act[key].as_str().unwrap().to_owned());
    let said: Vec<_> = acts.iter().map(said).collect();
    let vote = |chat: i64| ["session.vote".to_owned(), chat.to_string(), format!("chat {chat}"), "bob".to_owned()];
    assert_eq!(said[..3], [vote(BOSS), vote(LEAD), vote(BOSS)], "the first was given back with the telephone");
    assert_eq!((said.len(), said[3][0].as_str()), (4, "session.approved"), "{acts:#?}");
    let id = session["id"].as_str().unwrap();
    assert!(acts[0]["detail"].as_str().unwrap().contains(id) && acts[0]["detail"].as_str().unwrap().contains("boss"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refusal_ends_it_and_nobody_confirms_themselves() {
    let mut scene = Scene::new("approvers = [\"telegram\", \"operator\"]", "").await;
    scene.cli(&["group", "add", "contractors", "--second-person", "boss,bob,lead", "--second-person-needed", "2"]);
    scene.cli(&["group", "member", "add", "contractors", "bob"]);
    // Bob has a second account with the same phone, and named it as one that may confirm.
    scene.log_in();
    let (to_boss, to_lead) = (scene.api.until_sent(BOSS, 0).await, scene.api.until_sent(LEAD, 0).await);
    assert!(scene.press(&to_boss, BOSS, "Confirm").await.contains("Somebody else must agree too"));
    assert!(scene.press(&to_lead, LEAD, "Refuse").await.starts_with("Denied."));
    assert_eq!(scene.das.next().await["code"], 40);
    let ran = scene.radhold.cli(&["audit", "--act", "session.denied", "--json"], "");
    let acts: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&acts[0]["who"], &acts[0]["through"], &acts[0]["origin"]),
        (&json!(LEAD.to_string()), &json!("person"), &json!(format!("chat {LEAD}")))
    );
    assert!(scene.api.sent(BOB).is_empty(), "bob is not asked about himself");
    let press = scene.api.press_data(BOSS, to_boss.id, BOSS, to_boss.keyboard[0][0].data.as_ref().unwrap());
    assert!(scene.api.until_answered(&press).await.text.starts_with("Already denied"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_too_few_can_be_reached_the_operator_is_asked_and_who_was_asked_is_not_asked_again() {
    let scene = Scene::new("approvers = [\"telegram\", \"operator\"]", "").await;
    scene.api.set_blocked(LEAD, true);
    scene.cli(&["group", "add", "contractors", "--second-person", "boss,lead", "--second-person-needed", "2"]);
    scene.cli(&["group", "member", "add", "contractors", "bob"]);
    scene.log_in();
    let session = scene.until_asked("held", &[("person", "undeliverable"), ("operator", "sent")]);
    let reason = session["asked"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2 other people must confirm, and 1 can be asked"), "{reason}");
    let prompts = scene.api.sent(BOSS);
    assert_eq!((prompts.len(), prompts[0].buttons()), (1, vec!["Confirm", "Refuse"]));
    // His buttons do not stay for ever.
    scene.cli(&["session", "deny", session["id"].as_str().unwrap()]);
    scene.until_says(BOSS, prompts[0].id, "An operator has denied it.").await;
    assert!(scene.api.message(BOSS, prompts[0].id).buttons().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_of_two_could_not_be_asked_in_time_nobody_waits_for_their_word() {
    let scene = Scene::new("approvers = [\"telegram\", \"operator\"]", "").await;
    // The boss's question is the first; the lead's arrives.
    scene.api.fail("sendMessage", Failure::Status(502), 1);
    scene.cli(&["group", "add", "contractors", "--second-person", "boss,lead", "--second-person-needed", "2"]);
    scene.cli(&["group", "member", "add", "contractors", "bob"]);
    scene.log_in();
    let session = scene.until_asked("held", &[("person", "undeliverable"), ("operator", "sent")]);
    let reason = session["asked"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("2 other people must confirm, and 1 can be asked"), "{reason}");
    let asked: Vec<_> = scene.api.sent(LEAD).into_iter().filter(|sent| !sent.buttons().is_empty()).collect();
    assert_eq!((asked.len(), scene.api.sent(BOSS).len()), (1, 0));
    scene.cli(&["session", "deny", session["id"].as_str().unwrap()]);
    scene.until_says(LEAD, asked[0].id, "An operator has denied it.").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_anybody_who_could_confirm_goes_on_to_the_operator() {
    let scene = Scene::new("approvers = [\"telegram\", \"operator\"]", "").await;
    scene.cli(&["group", "add", "nobody"]);
    scene.cli(&["group", "add", "contractors", "--second-person-group", "nobody", "--second-person-own"]);
    scene.cli(&["group", "member", "add", "contractors", "bob"]);
    scene.log_in();
    let session = scene.until_asked("held", &[("person", "undeliverable"), ("telegram", "sent"), ("operator", "sent")]);
    let reason = session["asked"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("1 other people must confirm, and 0 can be asked"), "{reason}");
    let prompt = scene.api.until_sent(BOB, 0).await;
    assert!(scene.press(&prompt, BOB, "It's me").await.contains("Somebody else must agree too"));
    assert_eq!(scene.radhold.until_state("held")["decision"], Value::Null);
}
