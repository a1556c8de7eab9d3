//! What people and administrators ask the bot, and what they may not.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_sees_and_ends_their_own_connections_and_nobody_elses() {
    let mut scene = Scene::new("", "").await;
    scene.bind("alice", ALICE);
    scene.bind("bob", BOB);
    assert!(scene.ask(ALICE, ALICE, "/sessions").await.text.starts_with("You have no open connection"));
    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(ALICE, 1).await;
    scene.api.press(ALICE, prompt.id, ALICE, prompt.buttons()[0]);
    assert_eq!(scene.das.next().await["code"], 43);
    scene.radhold.until_state("permitted");

    let bobs = scene.ask(BOB, BOB, "/sessions").await;
    assert!(bobs.text.starts_with("You have no open connection"), "{bobs:?}");
    let listed = scene.ask(ALICE, ALICE, "/sessions").await;
    assert!(listed.text.contains("office") && listed.text.contains("203.0.113.7"), "{listed:?}");
    let end = data_of(&listed, "End 1");
    for (chat, presser) in [(BOB, BOB), (ALICE, BOB), (BOB, ALICE)] {
        let refused = scene.api.until_answered(&scene.api.press_data(chat, listed.id, presser, &end)).await;
        assert!(refused.text.starts_with("Refused"), "{refused:?}");
    }
    // Under another message it is the same button.
    let press = scene.api.press_data(ALICE, prompt.id, ALICE, &end);
    assert_eq!(scene.das.next().await["code"], 40);
    assert_eq!(scene.api.until_answered(&press).await.text, "The connection is being ended.");
    let late = scene.api.until_answered(&scene.api.press_data(ALICE, listed.id, ALICE, &end)).await;
    assert!(late.text.starts_with("Too late"), "{late:?}");
    assert_eq!(scene.until_audit("session.end", 1), [by(ALICE)]);

    // A chat that was taken from her ends nothing any more.
    scene.held("alice", 8, "203.0.113.7");
    scene.api.until_sent(ALICE, 3).await;
    let listed = scene.ask(ALICE, ALICE, "/sessions").await;
    let unbound = scene.radhold.cli(&["user", "unbind", "alice", "--all"], "");
    assert_eq!(unbound.code, 0, "{unbound:?}");
    for button in listed.buttons() {
        let refused = scene.api.until_answered(&scene.api.press(ALICE, listed.id, ALICE, button)).await;
        assert_eq!(refused.text, "That is not yours to do.");
    }
    assert_eq!(scene.audit("session.end").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_preferences_and_help_in_the_persons_own_language() {
    let scene = Scene::new("", "").await;
    scene.bind("alice", ALICE);
    scene.bind("bob", BOB);
    assert!(scene.ask(ALICE, ALICE, "/history").await.text.starts_with("No logins"));
    scene.held("bob", 3, "198.51.100.3");
    scene.held("alice", 7, "203.0.113.7");
    scene.api.until_sent(ALICE, 1).await;
    let history = scene.ask(ALICE, ALICE, "/history").await;
    assert!(history.text.contains("203.0.113.7") && !history.text.contains("198.51.100.3"), "{history:?}");
    assert!(scene.ask(ALICE, ALICE, "/trusted").await.text.starts_with("There is no place"));

    let help = scene.ask(ALICE, ALICE, "/help").await;
    assert!(help.text.contains("/sessions") && !help.text.contains("/held"), "{help:?}");
    assert!(scene.ask(ALICE, ALICE, "/held").await.text.starts_with("I do not know that"), "no administrator");
    assert!(scene.ask(ALICE, ALICE, "/lang xx").await.text.starts_with("I do not speak that"));
    assert!(scene.ask(ALICE, ALICE, "/lang ru").await.text.starts_with("Здесь я говорю"));
    assert!(scene.ask(ALICE, ALICE, "/zone Mars/Olympus").await.text.starts_with("Такого часового пояса нет"));
    let zone = scene.ask(ALICE, ALICE, "/zone europe/moscow").await;
    assert!(zone.text.contains("Europe/Moscow") && zone.text.contains("MSK"), "{zone:?}");
    assert!(scene.ask(ALICE, ALICE, "/history").await.text.contains("MSK"));
    assert!(scene.ask(ALICE, ALICE, "/quiet on").await.text.contains("без звука"));
    assert!(scene.ask(ALICE, ALICE, "/quiet").await.text.contains("без звука"), "asking changes nothing");
    assert!(scene.ask(ALICE, ALICE, "/lang auto").await.text.starts_with("I speak en"));

    // A stranger is greeted once in a while, and told of nothing else.
    let greeting = scene.ask(MALLORY, MALLORY, "/sessions").await;
    assert!(greeting.text.contains("1066") && !greeting.text.contains("alice"), "{greeting:?}");
    for text in ["/history", "/held", "/online", "hello?"] {
        scene.tell(MALLORY, MALLORY, text).await;
    }
    assert_eq!(scene.api.sent(MALLORY).len(), 1);
    // In a group nobody's connections are listed.
    scene.api.write(GROUP, ALICE, "dinner at eight?");
    scene.tell(GROUP, ALICE, "/sessions").await;
    assert!(scene.api.sent(GROUP).is_empty());
    assert_eq!(scene.api.look(|world| world.floods), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_permits_kicks_and_counts() {
    let mut scene = Scene::new("", "").await;
    assert!(scene.ask(ADMIN, ADMIN, "/held").await.text.starts_with("Nothing waits"));
    scene.held("alice", 7, "203.0.113.7");
    let held = scene.ask(ADMIN, ADMIN, "/held").await;
    assert!(held.text.contains("alice") && held.text.contains("203.0.113.7"), "{held:?}");
    let permit = data_of(&held, "Permit 1");
    let refused = scene.api.until_answered(&scene.api.press_data(MALLORY, held.id, MALLORY, &permit)).await;
    assert!(refused.text.starts_with("Refused"), "{refused:?}");
    let press = scene.api.press(ADMIN, held.id, ADMIN, "Permit 1");
    assert_eq!(scene.das.next().await["code"], 43);
    assert!(scene.api.until_answered(&press).await.text.starts_with("Permitted."));
    let session = scene.radhold.until_state("permitted");
    assert_eq!(session["decision"]["who"], "telegram:1900", "{session:#}");
    assert_eq!(scene.until_audit("session.approved", 1), [by(ADMIN)]);

    let online = scene.ask(ADMIN, ADMIN, "/online").await;
    assert!(online.text.starts_with("Connected: 1") && online.text.contains("alice"), "{online:?}");
    let stats = scene.ask(ADMIN, ADMIN, "/stats").await;
    assert!(stats.text.contains("Connected: 1") && stats.text.contains("Nodes alive: 1"), "{stats:?}");
    let id = session["id"].as_str().unwrap();
    assert!(scene.ask(ADMIN, ADMIN, "/kick").await.text.contains("/kick ID"));
    assert!(scene.ask(ADMIN, ADMIN, "/kick ffffffff").await.text.contains("no such connection"));
    let kicked = scene.ask(ADMIN, ADMIN, &format!("/kick {}", &id[id.len() - 12..])).await;
    assert!(kicked.text.starts_with("The connection is being ended"), "{kicked:?}");
    assert_eq!(scene.das.next().await["code"], 40);
    assert_eq!(scene.until_audit("session.kick", 1), [by(ADMIN)]);
    let late = scene.ask(ADMIN, ADMIN, &format!("/permit {id}")).await;
    assert!(late.text.starts_with("Too late"), "{late:?}");

    // A link made in the chat works like any other.
    let made = scene.ask(ADMIN, ADMIN, "/enrol alice").await;
    let token = made.text.split("start=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    scene.ask(ALICE, ALICE, &format!("/start {token}")).await;
    scene.until_chats("alice", &[ALICE]);
    assert!(scene.ask(ADMIN, ADMIN, "/enrol nobody").await.text.starts_with("There is no user"));
    assert_eq!(scene.audit("user.enrol"), [by(ADMIN)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_login_is_told_with_buttons_to_ban() {
    let mut scene = Scene::new("", "[messages]\nzone = \"Asia/Tashkent\"").await;
    scene.bind("alice", ALICE);
    scene.held("alice", 7, "203.0.113.7");
    let prompt = scene.api.until_sent(ALICE, 0).await;
    scene.api.press(ALICE, prompt.id, ALICE, prompt.buttons()[1]);
    assert_eq!(scene.das.next().await["code"], 40);
    let notice = scene.api.until_sent(ADMIN, 0).await;
    assert!(notice.text.contains("alice") && notice.text.contains("203.0.113.7"), "{notice:?}");
    assert!(notice.text.contains("+05"), "by the installation's clock: {notice:?}");
    assert_eq!(notice.buttons(), ["Ban the caller", "Ban the account"]);
    let banned = scene.api.until_answered(&scene.api.press(ADMIN, notice.id, ADMIN, "Ban the caller")).await;
    assert!(banned.text.contains("203.0.113.7"), "{banned:?}");
    let again = scene.api.until_answered(&scene.api.press(ADMIN, notice.id, ADMIN, "Ban the caller")).await;
    assert_eq!(again.text, "That is banned already.");
    assert_eq!(scene.audit("ban.add"), [by(ADMIN)]);

    let bans = scene.ask(ADMIN, ADMIN, "/bans").await;
    assert!(bans.text.contains("203.0.113.7") && bans.text.contains("telegram:1900"), "{bans:?}");
    assert!(bans.text.contains("denied login of alice"), "{bans:?}");
    scene.ask(ADMIN, ADMIN, "/lang ru").await;
    assert!(scene.ask(ADMIN, ADMIN, "/bans").await.text.contains("отклонённый вход пользователя alice"));
    scene.ask(ADMIN, ADMIN, "/lang en").await;
    let lifted = scene.api.until_answered(&scene.api.press(ADMIN, bans.id, ADMIN, "Lift 1")).await;
    assert_eq!(lifted.text, "The ban is lifted.");
    let again = scene.api.until_answered(&scene.api.press(ADMIN, bans.id, ADMIN, "Lift 1")).await;
    assert!(again.text.contains("not in force"), "{again:?}");
    assert!(scene.ask(ADMIN, ADMIN, "/bans").await.text.starts_with("Nobody is refused"));
    assert_eq!(scene.audit("ban.lift"), [by(ADMIN)]);
    assert_eq!(scene.api.sent(ADMIN).len(), 6, "told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_offered_by_language_and_role_and_only_when_they_changed() {
    let mut scene = Scene::new("", "").await;
    let places: Vec<(i64, String)> =
        [0, ADMIN].into_iter().flat_map(|chat| ["", "ru"].map(|tag| (chat, tag.to_owned()))).collect();
    let offered = scene
        .api
        .until("all menus", |world| {
            places.iter().all(|place| world.commands.contains_key(place)).then(|| world.commands.clone())
        })
        .await;
    let names = |place: &(i64, String)| {
        let commands = offered[place].as_array().unwrap();
        commands.iter().map(|command| command["command"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!names(&places[0]).contains(&"held".to_owned()) && names(&places[0]).contains(&"sessions".to_owned()));
    assert!(names(&places[2]).contains(&"held".to_owned()) && names(&places[2]).contains(&"sessions".to_owned()));
    assert_ne!(offered[&places[0]], offered[&places[1]], "the Russian one is Russian");
    let sets = scene.api.count("setMyCommands");
    assert_eq!(sets, 4);
    scene.radhold.kill();
    scene.radhold.restart();
    scene.api.until("all looked at again", |world| (world.calls_of("getMyCommands").count() >= 8).then_some(())).await;
    assert_eq!(scene.api.count("setMyCommands"), sets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_becomes_or_ceases_to_be_administrator_is_offered_other_commands_at_the_reload() {
    let scene = Scene::new("", "").await;
    let offered = |chat: i64, held: bool| {
        scene.api.until("the menu", move |world| {
            let menu = world.commands.get(&(chat, String::new()))?.as_array()?;
            (menu.iter().any(|command| command["command"] == "held") == held).then_some(())
        })
    };
    offered(ADMIN, true).await;
    let path = scene.radhold.path("radhold.toml");
    let old = std::fs::read_to_string(&path).unwrap();
    let new = old.replace(&format!("administrators = [{ADMIN}]"), &format!("administrators = [{BOB}]"));
    assert_ne!(old, new);
    std::fs::write(&path, new).unwrap();
    scene.radhold.signal("HUP");
    offered(BOB, true).await;
    offered(ADMIN, false).await;
}
