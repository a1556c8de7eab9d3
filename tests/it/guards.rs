//! Number matching, guards against push fatigue, and trust, end to end: the real server, radclient as the NAS, and the Bot API over
//! real HTTP.
//!
//! The helpers here block, so each test has threads beside its own for the Bot API to run on.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bot_api::{BotApi, Message, TOKEN};
use crate::das::{Das, SECRET};
use crate::postgres;
use crate::radhold::{PATIENCE, Radhold, Ran, radclient, received};

const ALICE: i64 = 1001;
const PASSWORD: &str = "s3cret-pass";
const HOME: &str = "198.51.100.10";
const HOTEL: &str = "192.0.2.20";
const EVIL: &str = "203.0.113.66";
const YES: &str = "It's me";
const NO: &str = "Not me";

/// Alice, bound to her chat, and the nodes she meets.
struct Scene {
    api: BotApi,
    das: Das,
    nodes: Vec<Radhold>,
    // Dropped after the nodes that use them.
    _keys: tempfile::TempDir,
    _database: Option<postgres::Database>,
}

impl Scene {
    async fn new(sections: &str) -> Self {
        Self::of(None, 1, sections).await
    }

    async fn of_two_nodes(sections: &str) -> Self {
        Self::of(Some(postgres::Database::create().await), 2, sections).await
    }

    async fn of(database: Option<postgres::Database>, count: usize, sections: &str) -> Self {
        let (api, das) = (BotApi::start().await, Das::start(&["ack"]).await);
        api.add_user(ALICE, "Alice");
        let keys = tempfile::tempdir().unwrap();
        let shared = database.as_ref().map_or_else(String::new, |database| {
            let sealing = keys.path().join("sealing.key");
            format!("[store]\nurl = \"{}\"\n[keys]\nsealing_file = \"{}\"\n", database.url(), sealing.display())
        });
        let node = |number: usize| {
            let config = format!(
                r#"
                {shared}
                [server]
                reject_delay = "0s"
                [dynauth]
                initial_timeout = "200ms"
                [telegram]
                token = "{TOKEN}"
                api_url = "{}"
                [nas.office]
                address = "127.0.0.1"
                secret = "{SECRET}"
                coa_port = {}
                {sections}
                "#,
                api.url(),
                das.address.port()
            );
            Radhold::start_with(&format!("node = \"node-{number}\"\n"), &config)
        };
        let nodes: Vec<Radhold> = (0..count).map(node).collect();
        nodes[0].add_user("alice", PASSWORD, &["--store-as", "clear"]);
        done(&nodes[0].cli(&["user", "bind", "alice", "--telegram", &ALICE.to_string()], ""));
        Self { api, das, nodes, _keys: keys, _database: database }
    }

    fn login(&self, node: usize, caller: &str) -> Ran {
        let caller = if caller.is_empty() { String::new() } else { format!("Calling-Station-Id = \"{caller}\", ") };
        let attributes = format!(
            "User-Name = alice, User-Password = {PASSWORD}, NAS-Port = 7, {caller}Message-Authenticator = 0x00"
        );
        radclient(self.nodes[node].auth, "auth", SECRET, &attributes)
    }

    /// What a refused login is told.
    fn refused(&self, node: usize, caller: &str) -> String {
        let ran = self.login(node, caller);
        assert!(ran.stdout.contains("Received Access-Reject"), "{ran:?}");
        received(&ran, "Reply-Message").unwrap().to_owned()
    }

    fn accepted(&self, node: usize, caller: &str) -> Ran {
        let ran = self.login(node, caller);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    }

    fn account(&self, node: usize, status: &str, class: &str, caller: &str, number: usize) {
        let attributes = format!(
            "User-Name = alice, Acct-Status-Type = {status}, Acct-Session-Id = s{number}, NAS-Port = 7, \
             Calling-Station-Id = \"{caller}\", Class = {class}"
        );
        done(&radclient(self.nodes[node].accounting, "acct", SECRET, &attributes));
    }

    /// Logs alice in, starts her session, and waits until she is asked: the Accept, and the message.
    async fn asked(&self, node: usize, caller: &str, number: usize) -> (Ran, Message) {
        let before = self.api.sent(ALICE).len();
        let accept = self.accepted(node, caller);
        self.account(node, "Start", received(&accept, "Class").unwrap(), caller, number);
        (accept, self.api.until_sent(ALICE, before).await)
    }

    /// Logs alice in, and out again once she is let through.
    async fn confirmed(&mut self, node: usize, caller: &str, number: usize) {
        let (accept, prompt) = self.asked(node, caller, number).await;
        let press = self.api.press(ALICE, prompt.id, ALICE, YES);
        assert!(self.api.until_answered(&press).await.text.starts_with("Confirmed."));
        self.until_outcome(prompt.id, "The connection is open").await;
        self.account(node, "Stop", received(&accept, "Class").unwrap(), caller, number);
    }

    async fn until_outcome(&self, message: i64, text: &str) -> Message {
        let what = format!("{text:?} in message {message}");
        let outcome = |message: &&Message| message.edits > 0 && message.text.contains(text);
        self.api.until(&what, |world| world.messages.get(&(ALICE, message)).filter(outcome).cloned()).await
    }

    fn trust(&self, node: usize, arguments: &[&str]) -> Ran {
        self.nodes[node].cli(&[&["trust"], arguments].concat(), "")
    }

    fn places(&self) -> Vec<String> {
        let ran = self.trust(0, &["list", "alice", "--json"]);
        done(&ran);
        let trusted: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
        trusted.iter().map(|trust| trust["place"].as_str().unwrap().to_owned()).collect()
    }
}

fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn until<T>(mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = so() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came to this");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The number that the Accept's Reply-Message shows.
fn on_screen(accept: &Ran) -> String {
    let said = received(accept, "Reply-Message").unwrap();
    let number = said.strip_prefix("Confirm number ").and_then(|rest| rest.strip_suffix(" on your phone."));
    number.unwrap_or_else(|| panic!("{said:?}")).to_owned()
}

fn filter(accept: &Ran) -> &str {
    received(accept, "Filter-Id").unwrap()
}

// -- numbers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_on_the_screen_lifts_also_after_kill_9() {
    let mut scene = Scene::new("[guards]\nnumber_matching = true\n").await;
    let (accept, prompt) = scene.asked(0, HOTEL, 1).await;
    let number = on_screen(&accept);
    let [one, two, three, no] = prompt.buttons()[..] else { panic!("{prompt:?}") };
    assert_eq!([one, two, three].iter().filter(|shown| **shown == number).count(), 1, "{prompt:?}");
    assert!(no == NO && one != two && two != three && one != three, "{prompt:?}");
    assert!(prompt.text.contains("Press the number"), "{}", prompt.text);
    let data: Vec<&str> = prompt.keyboard.iter().flatten().filter_map(|button| button.data.as_deref()).collect();
    // They differ in what their buttons say, and in a code that nobody can check without the key.
    let (shapes, session): (Vec<_>, Vec<_>) = data[..3].iter().map(|data| (data.len(), &data[3..25])).unzip();
    assert!(shapes.iter().all(|length| *length == shapes[0] && *length <= 64), "{data:?}");
    assert!(session.iter().all(|id| *id == session[0]), "{data:?}");

    // Else she would be asked once more after the restart.
    until(|| (scene.nodes[0].until_state("held")["asked"][0]["state"] == "sent").then_some(()));
    scene.nodes[0].kill();
    scene.nodes[0].restart();
    let press = scene.api.press(ALICE, prompt.id, ALICE, &number);
    assert_eq!(scene.api.until_answered(&press).await.text, "Confirmed. Your connection is being opened.");
    assert_eq!(scene.das.next().await["code"], 43);
    scene.until_outcome(prompt.id, "Confirmed. The connection is open.").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_number_denies_on_any_node_and_is_a_strike_of_its_own() {
    let mut scene = Scene::of_two_nodes("number_matching = true\n").await;
    let (accept, prompt) = scene.asked(1, HOTEL, 1).await;
    let number = on_screen(&accept);
    let wrong = prompt.buttons().into_iter().find(|shown| *shown != number).unwrap().to_owned();
    let press = scene.api.press(ALICE, prompt.id, ALICE, &wrong);
    let answer = scene.api.until_answered(&press).await;
    assert!(answer.alert && answer.text.starts_with("Wrong number: denied."), "{answer:?}");
    assert_eq!(scene.das.next().await["code"], 40);
    let outcome = scene.until_outcome(prompt.id, "Wrong number: denied.").await;
    assert!(outcome.buttons().is_empty(), "{outcome:?}");
    let session = scene.nodes[0].until_state("evicting");
    assert_eq!(session["decision"]["verdict"], "denied");
    // For the other node too, once it has heard.
    let said = until(|| {
        let ran = scene.login(0, EVIL);
        (ran.code != 0).then(|| received(&ran, "Reply-Message").unwrap().to_owned())
    });
    assert!(said.starts_with("A login was denied a moment ago.") || said.starts_with("Another login"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_has_numbers_and_the_others_their_two_buttons() {
    let scene = Scene::new("prompts_per_hour = 0\n").await;
    let (accept, prompt) = scene.asked(0, HOTEL, 1).await;
    assert_eq!((received(&accept, "Reply-Message"), prompt.buttons()), (None, vec![YES, NO]));
    done(&scene.nodes[0].cli(&["user", "set", "alice", "--number-matching", "on"], ""));
    until(|| {
        let accept = scene.login(0, HOTEL);
        received(&accept, "Reply-Message").filter(|said| said.starts_with("Confirm number")).map(drop)
    });
}

// -- fatigue

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_login_waits_at_a_time_and_dialling_again_takes_its_own_place() {
    let mut scene = Scene::new("[guards]\ncool_down = \"3s\"\n").await;
    let (_, first) = scene.asked(0, HOTEL, 1).await;
    let said = scene.refused(0, EVIL);
    assert!(said.starts_with("Another login of yours waits for your answer."), "{said}");
    assert!(scene.refused(0, "").starts_with("Another login"), "nobody knows who that is");
    let (_, second) = scene.asked(0, HOTEL, 2).await;
    assert_ne!(first.id, second.id);
    let gone = scene.until_outcome(first.id, "A newer login has taken its place").await;
    assert!(gone.buttons().is_empty(), "{gone:?}");
    let late = first.keyboard.iter().flatten().find(|button| button.text == YES).and_then(|button| button.data.clone());
    let answer = scene.api.until_answered(&scene.api.press_data(ALICE, first.id, ALICE, &late.unwrap())).await;
    assert!(answer.text.contains("a newer login has taken its place"), "{answer:?}");

    scene.api.press(ALICE, second.id, ALICE, NO);
    assert_eq!(scene.das.next().await["code"], 40);
    let said = until(|| Some(scene.refused(0, EVIL)).filter(|said| said.starts_with("A login was denied")));
    assert!(said.contains("Try again in "), "{said}");
    until(|| (scene.login(0, EVIL).code == 0).then_some(()));
    let counted = scene.nodes[0].counters();
    assert!(counted["access.prompt-open"] >= 2 && counted["access.cool-down"] >= 1, "{counted:?}");
    assert_eq!(counted["access.superseded"], 1, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_prompts_are_refused_silently_told_once_and_never_keep_the_owner_out() {
    let operator = 1900;
    let guards = "[guards]\nprompts_per_hour = 3\ncool_down = \"0s\"\n[strikes]\nlimit = 0\n";
    let mut scene = Scene::new(guards).await;
    scene.confirmed(0, HOME, 1).await;
    // What was let through is known from the start on.
    scene.nodes[0].stop();
    scene.nodes[0].restart();
    for number in 2..=4 {
        let (_, prompt) = scene.asked(0, EVIL, number).await;
        let press = scene.api.press(ALICE, prompt.id, ALICE, NO);
        assert!(scene.api.until_answered(&press).await.text.starts_with("Denied."));
    }
    let sent = scene.api.sent(ALICE).len();
    for caller in [EVIL, HOTEL, ""] {
        assert_eq!(scene.refused(0, caller), "Login is not possible at the moment. Try again later.", "{caller}");
    }
    let told = |radhold: &Radhold| {
        let acts = radhold.cli(&["audit", "--act", "prompts.exceeded", "--json"], "");
        serde_json::from_str::<Vec<Value>>(&acts.stdout).unwrap()
    };
    let noticed = until(|| Some(told(&scene.nodes[0])).filter(|acts| !acts.is_empty()));
    assert_eq!((noticed.len(), &noticed[0]["subject"]), (1, &"alice".into()), "{noticed:#?} {operator}");
    // Not even kill -9 forgives it.
    scene.nodes[0].kill();
    scene.nodes[0].restart();
    assert_eq!(scene.refused(0, EVIL), "Login is not possible at the moment. Try again later.");
    assert_eq!(scene.api.sent(ALICE).len(), sent, "her phone is quiet");
    let (accept, prompt) = until_known(&scene).await;
    assert_eq!(filter(&accept), "sandbox");
    scene.api.press(ALICE, prompt.id, ALICE, YES);
    scene.until_outcome(prompt.id, "The connection is open").await;
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(told(&scene.nodes[0]).len(), 1, "once in an hour");
}

/// From home, as soon as the server remembers that it is one.
async fn until_known(scene: &Scene) -> (Ran, Message) {
    let before = scene.api.sent(ALICE).len();
    let accept = until(|| Some(scene.login(0, HOME)).filter(|ran| ran.code == 0));
    scene.account(0, "Start", received(&accept, "Class").unwrap(), HOME, 90);
    (accept, scene.api.until_sent(ALICE, before).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_asked_counts_on_the_other() {
    let scene = Scene::of_two_nodes("one_prompt = true\n").await;
    let (_, _) = scene.asked(0, HOTEL, 1).await;
    let said = until(|| {
        let ran = scene.login(1, EVIL);
        (ran.code != 0).then(|| received(&ran, "Reply-Message").unwrap().to_owned())
    });
    assert!(said.starts_with("Another login of yours waits"), "{said}");
}

// -- trust

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_counts_again_at_its_place_until_it_is_taken_back() {
    // A node that has not heard of the trust yet asks once more, and that question is in nobody's way.
    let mut scene = Scene::of_two_nodes("trust_hours = 8\none_prompt = false\n").await;
    scene.confirmed(0, HOME, 1).await;
    let trusted =
        |scene: &Scene, node: usize| until(|| Some(scene.accepted(node, HOME)).filter(|ran| filter(ran) == "permit"));
    trusted(&scene, 0);
    trusted(&scene, 1);
    assert_eq!(scene.places(), [format!("address {HOME}")]);
    let sessions = scene.nodes[0].cli(&["session", "list", "--json"], "").stdout;
    assert!(sessions.contains("trusted until ") || !sessions.contains("waived"), "{sessions}");
    assert_eq!(filter(&scene.accepted(0, HOTEL)), "sandbox", "elsewhere she is asked");

    done(&scene.trust(1, &["revoke", "alice", "--as", "night-shift"]));
    for node in [0, 1] {
        until(|| Some(scene.login(node, HOME)).filter(|ran| ran.code == 0 && filter(ran) == "sandbox"));
    }
    assert_eq!(scene.trust(0, &["revoke", "alice"]).code, 4, "nothing is left");
    let acts = scene.nodes[0].cli(&["audit", "--json"], "").stdout;
    assert!(acts.contains("trust.add") && acts.contains("trust.revoke") && acts.contains("night-shift"), "{acts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_anywhere_ends_trust_everywhere() {
    let mut scene = Scene::new("trust_hours = 8\n").await;
    scene.confirmed(0, HOME, 1).await;
    until(|| Some(scene.accepted(0, HOME)).filter(|ran| filter(ran) == "permit"));
    let (_, prompt) = scene.asked(0, EVIL, 2).await;
    scene.api.press(ALICE, prompt.id, ALICE, NO);
    until(|| Some(scene.login(0, HOME)).filter(|ran| ran.code == 0 && filter(ran) == "sandbox"));
    assert_eq!(scene.places(), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_person_sees_and_takes_back_where_they_are_not_asked() {
    let mut scene = Scene::new("trust_hours = 8\n").await;
    let ask = async |scene: &Scene, text: &str| {
        let mut before = scene.api.sent(ALICE).len();
        scene.api.write(ALICE, ALICE, text);
        loop {
            let said = scene.api.until_sent(ALICE, before).await;
            // That a connection has ended is told when that is known.
            if !said.text.starts_with("The connection has ended") {
                return said;
            }
            before += 1;
        }
    };
    assert_eq!(ask(&scene, "/trusted").await.text, "There is no place where you are not asked.");
    scene.confirmed(0, HOME, 1).await;
    until(|| Some(scene.places()).filter(|places| !places.is_empty()));
    let list = ask(&scene, "/trusted").await;
    assert!(list.text.contains(HOME) && list.text.contains("until"), "{list:?}");
    let press = scene.api.press(ALICE, list.id, ALICE, "Ask me again at 1");
    assert_eq!(scene.api.until_answered(&press).await.text, "Done. You are asked there from now on.");
    assert_eq!(scene.places(), [] as [String; 0]);
    until(|| Some(scene.login(0, HOME)).filter(|ran| ran.code == 0 && filter(ran) == "sandbox"));
    let again = scene.api.press(ALICE, list.id, ALICE, "Ask me again at 1");
    assert_eq!(scene.api.until_answered(&again).await.text, "You are asked there already.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_and_a_caller_nobody_states_are_never_trusted() {
    let mut scene = Scene::new("trust_hours = 8\n").await;
    scene.confirmed(0, HOME, 1).await;
    until(|| Some(scene.places()).filter(|places| !places.is_empty()));
    let ran = scene.login(0, "");
    assert!(ran.code != 0 || filter(&ran) == "sandbox", "{ran:?}");
    let set = scene.nodes[0].cli(&["user", "set", "alice", "--password-stdin"], &format!("{PASSWORD}\n"));
    done(&set);
    assert_eq!(scene.places(), [] as [String; 0], "the same one, sealed anew, is new enough");
}
