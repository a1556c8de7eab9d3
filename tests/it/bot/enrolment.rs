//! Links, administrators' word, requests, groups, a new telephone.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_binds_the_chat_that_follows_it_once_and_then_that_chat_is_asked() {
    let mut scene = Scene::new("", "").await;
    let token = scene.link("alice", &["--for", "5m"]);
    let bound = scene.ask(ALICE, ALICE, &format!("/start {token}")).await;
    assert!(bound.text.starts_with("Connected.") && bound.text.contains("alice"), "{bound:?}");
    scene.until_chats("alice", &[ALICE]);

    // The same person again hears the same; anybody else hears nothing about it.
    let again = scene.ask(ALICE, ALICE, &format!("/start {token}")).await;
    assert!(again.text.starts_with("Connected."), "{again:?}");
    let other = scene.ask(MALLORY, MALLORY, &format!("/start {token}")).await;
    let guessed = scene.ask(MALLORY, MALLORY, "/start AAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(other.text, guessed.text);
    assert!(other.text.contains("not valid") && !other.text.contains("alice"), "{other:?}");
    scene.until_chats("alice", &[ALICE]);
    assert_eq!(scene.audit("enrolment"), [by(ALICE)], "bound once");
    assert_eq!(scene.audit("user.enrol").len(), 1);

    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(ALICE, 2).await;
    scene.api.press(ALICE, prompt.id, ALICE, prompt.buttons()[0]);
    assert_eq!(scene.das.next().await["code"], 43);
    scene.radhold.until_state("permitted");
    assert_eq!(scene.until_audit("session.approved", 1), [("1001".into(), "telegram".into(), "chat 1001".into())]);
    assert_eq!(scene.api.look(|world| world.floods), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_that_guesses_is_not_listened_to() {
    let scene = Scene::new("", "").await;
    for nth in 0..5 {
        let wrong = scene.ask(MALLORY, MALLORY, &format!("/start {nth}")).await;
        assert!(wrong.text.contains("not valid"), "{wrong:?}");
    }
    let token = scene.link("alice", &[]);
    scene.tell(MALLORY, MALLORY, &format!("/start {token}")).await;
    scene.tell(MALLORY, MALLORY, "/start 6").await;
    // Whoever is meant is not kept from it.
    scene.ask(ALICE, ALICE, &format!("/start {token}")).await;
    scene.until_chats("alice", &[ALICE]);
    assert_eq!(scene.api.sent(MALLORY).len(), 5, "silence");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_link_and_one_of_a_disabled_user_bind_nothing() {
    let scene = Scene::new("", "").await;
    let token = scene.link("alice", &["--for", "1ms"]);
    let disabled = scene.link("bob", &[]);
    assert_eq!(scene.radhold.cli(&["user", "set", "bob", "--disable"], "").code, 0);
    let texts = [
        scene.ask(ALICE, ALICE, &format!("/start {token}")).await.text,
        scene.ask(ALICE, ALICE, &format!("/start {disabled}")).await.text,
        scene.ask(ALICE, ALICE, "/start guessed").await.text,
    ];
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(scene.chats("alice").is_empty() && scene.chats("bob").is_empty());
    let none = scene.radhold.cli(&["user", "enrol", "nobody"], "");
    assert_eq!(none.code, 4, "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_was_lost_is_seen_and_taken_back() {
    let scene = Scene::new("", "").await;
    let (lost, kept) = (scene.link("alice", &["--replace"]), scene.link("bob", &[]));
    let listed = |arguments: &[&str]| {
        let ran = scene.radhold.cli(&[&["user", "enrolments"], arguments].concat(), "");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!ran.stdout.contains(&lost) && !ran.stdout.contains(&kept), "{ran:?}");
        ran.stdout
    };
    assert!(listed(&[]).contains("link, replaces"), "{}", listed(&[]));
    let shown: serde_json::Value = serde_json::from_str(&listed(&["alice", "--json"])).unwrap();
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["state"]), (1, &"open".into()), "{shown:#}");
    let id = shown[0]["id"].as_str().unwrap()[..8].to_owned();
    assert!(listed(&["--revoke", &id]).contains("alice"));
    let again = scene.radhold.cli(&["user", "enrolments", "--revoke", &id], "");
    assert_eq!(again.code, 4, "{again:?}");
    assert_eq!(scene.audit("enrolment.revoke").len(), 1);

    let refused = scene.ask(ALICE, ALICE, &format!("/start {lost}")).await;
    assert!(refused.text.contains("not valid"), "{refused:?}");
    assert!(scene.chats("alice").is_empty());
    scene.ask(BOB, BOB, &format!("/start {kept}")).await;
    scene.until_chats("bob", &[BOB]);
    assert!(listed(&[]).starts_with("no links"), "what is bound is listed no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_has_the_last_word_where_the_policy_says_so() {
    let scene = Scene::new("", "[enrolment]\nconfirm = \"administrator\"").await;
    scene.api.set_language(ALICE, "ru");
    let token = scene.link("alice", &[]);
    let waiting = scene.ask(ALICE, ALICE, &format!("/start {token}")).await;
    assert!(waiting.text.starts_with("Администратора"), "{waiting:?}");
    let question = scene.api.until_sent(ADMIN, 0).await;
    assert!(question.text.contains("alice") && question.text.contains("1001"), "{question:?}");
    assert_eq!(question.buttons(), ["Connect", "Refuse"]);
    assert!(scene.chats("alice").is_empty());

    // Not hers to press, in her own chat or in theirs.
    let yes = data_of(&question, "Connect");
    for (chat, presser) in [(ALICE, ALICE), (ADMIN, ALICE), (MALLORY, MALLORY)] {
        let refused = scene.api.until_answered(&scene.api.press_data(chat, question.id, presser, &yes)).await;
        let said = ["Refused", "Отказано"].iter().any(|word| refused.text.starts_with(word));
        assert!(refused.alert && said, "{chat} {presser}: {refused:?}");
    }
    let press = scene.api.press(ADMIN, question.id, ADMIN, "Connect");
    assert_eq!(scene.api.until_answered(&press).await.text, "Connected.");
    scene.until_chats("alice", &[ALICE]);
    let told = scene.api.until_sent(ALICE, 1).await;
    assert!(told.text.starts_with("Подключено."), "{told:?}");
    let settled = |message: &Message| message.buttons().is_empty() && message.text.contains("Connected.");
    scene
        .api
        .until("the question's end", |world| {
            world.messages.get(&(ADMIN, question.id)).filter(|message| settled(message)).map(drop)
        })
        .await;
    let late = scene.api.until_answered(&scene.api.press_data(ADMIN, question.id, ADMIN, &yes)).await;
    assert!(late.text.starts_with("Too late"), "{late:?}");
    assert_eq!(scene.audit("enrolment.take"), [by(ALICE)]);
    assert_eq!(scene.audit("enrolment.confirm"), [by(ADMIN)]);

    // And a no.
    let token = scene.link("bob", &[]);
    scene.ask(BOB, BOB, &format!("/start {token}")).await;
    let question = scene.api.until_sent(ADMIN, 1).await;
    scene.api.press(ADMIN, question.id, ADMIN, "Refuse");
    let told = scene.api.until_sent(BOB, 1).await;
    assert!(told.text.contains("not allowed"), "{told:?}");
    assert!(scene.chats("bob").is_empty());
    assert_eq!(scene.audit("enrolment.refuse"), [by(ADMIN)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_registers_by_themselves_unless_it_is_allowed_and_confirmed() {
    let scene = Scene::new("", "").await;
    let greeting = scene.ask(ALICE, ALICE, "/register alice").await;
    assert!(greeting.text.contains("follow the link") && !greeting.text.contains("/register"), "{greeting:?}");
    drop(scene);

    let scene = Scene::new("", "[enrolment]\nself_registration = true").await;
    let there = scene.ask(MALLORY, MALLORY, "/register alice").await;
    let not_there = scene.ask(BOB, BOB, "/register nobody").await;
    assert_eq!(there.text, not_there.text, "nobody learns which accounts there are");
    let question = scene.api.until_sent(ADMIN, 0).await;
    assert!(question.text.contains("<b>Mallory</b>") && question.text.contains("by themselves"), "{question:?}");
    scene.ask(MALLORY, MALLORY, "/register bob").await;
    assert_eq!(scene.audit("enrolment.ask"), [by(MALLORY)], "one request of a chat at a time");
    scene.api.press(ADMIN, question.id, ADMIN, "Connect");
    scene.until_chats("alice", &[MALLORY]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_bound_only_where_that_is_allowed() {
    let scene = Scene::new("", "").await;
    let token = scene.link("alice", &[]);
    let refused = scene.ask(GROUP, ALICE, &format!("/start@radhold_test_bot {token}")).await;
    assert!(refused.text.contains("private chat"), "{refused:?}");
    assert!(scene.chats("alice").is_empty());
    drop(scene);

    let mut scene = Scene::new("", "[enrolment]\ngroups = true").await;
    let token = scene.link("alice", &[]);
    scene.ask(GROUP, ALICE, &format!("/start@radhold_test_bot {token}")).await;
    scene.until_chats("alice", &[GROUP]);
    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(GROUP, 1).await;
    let yes = prompt.buttons()[0].to_owned();
    let refused = scene.api.until_answered(&scene.api.press(GROUP, prompt.id, BOB, &yes)).await;
    assert!(refused.text.starts_with("Refused"), "{refused:?}");
    scene.api.press(GROUP, prompt.id, ALICE, &yes);
    assert_eq!(scene.das.next().await["code"], 43);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_chats_of_one_user_and_a_new_telephone() {
    let scene = Scene::new("", "").await;
    scene.bind("alice", ALICE);
    let token = scene.link("alice", &[]);
    scene.ask(BOB, BOB, &format!("/start {token}")).await;
    let warned = scene.api.until_sent(ALICE, 0).await;
    assert!(warned.text.starts_with("Another chat was connected") && warned.text.contains("Bob"), "{warned:?}");
    scene.until_chats("alice", &[ALICE, BOB]);
    // And one chat of several users.
    let token = scene.link("bob", &[]);
    scene.ask(BOB, BOB, &format!("/start {token}")).await;
    scene.until_chats("bob", &[BOB]);

    let token = scene.link("alice", &["--replace"]);
    scene.until_chats("alice", &[ALICE, BOB]);
    scene.ask(MALLORY, MALLORY, &format!("/start {token}")).await;
    scene.until_chats("alice", &[MALLORY]);
    scene.until_chats("bob", &[BOB]);
    let moved = scene.api.until_sent(ALICE, 1).await;
    assert!(moved.text.starts_with("This chat was disconnected"), "{moved:?}");

    let unbound = scene.radhold.cli(&["user", "unbind", "alice", "--all"], "");
    assert_eq!(unbound.code, 0, "{unbound:?}");
    assert!(scene.chats("alice").is_empty());
}
