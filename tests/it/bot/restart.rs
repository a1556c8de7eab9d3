//! What a crash between hearing and answering does: nothing is lost, and what was done is not done again.

use radhold::store::{self, Heard};

use super::*;
use crate::bot_api::Failure;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_before_a_crash_is_not_done_again() {
    let mut scene = Scene::new("", "").await;
    scene.api.until("a poll", |world| world.calls_of("getUpdates").next().map(drop)).await;
    // The poll that waits brings the update; none after it confirms it.
    scene.api.fail("getUpdates", Failure::Drop, usize::MAX);
    scene.api.write(ADMIN, ADMIN, "/enrol alice");
    let made = scene.api.until_sent(ADMIN, 0).await;
    assert!(made.text.contains("start="), "{made:?}");
    scene.radhold.kill();
    assert_eq!(scene.api.look(|world| world.updates.len()), 1, "Telegram does not know that it was done");
    scene.api.heal();
    scene.radhold.restart();
    scene.api.until_confirmed().await;
    // Whatever comes next comes after it.
    let next = scene.ask(ADMIN, ADMIN, "/stats").await;
    assert!(next.text.contains("Nodes alive"), "{next:?}");
    let sent = scene.api.sent(ADMIN);
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert_eq!(scene.audit("user.enrol").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_before_a_crash_is_done_after_it() {
    let mut scene = Scene::new("", "").await;
    scene.radhold.kill();
    scene.api.write(ADMIN, ADMIN, "/enrol alice");
    let number = scene.api.update()["update_id"].as_i64().unwrap();
    // As if it had been killed just after it began.
    let url = format!("sqlite://{}", scene.radhold.path("state/radhold.sqlite").display());
    let store = store::open(&url).await.unwrap();
    let line = TOKEN.split(':').next().unwrap();
    let now = radhold::app::clock::now();
    assert_eq!(store.begin_update(&format!("telegram:{line}"), number, now).await.unwrap(), Heard::Never);
    drop(store);
    scene.radhold.restart();
    let made = scene.api.until_sent(ADMIN, 0).await;
    assert!(made.text.contains("start="), "{made:?}");
    assert_eq!(scene.audit("user.enrol").len(), 1);
}

/// Killed at whatever moment: the order is always carried out, and its end is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_survives_a_kill_at_any_moment() {
    let mut scene = Scene::new("", "").await;
    scene.bind("alice", ALICE);
    for nth in 0..6 {
        scene.held("alice", 10 + nth, "203.0.113.7");
        let id = scene.radhold.until_state("held")["id"].as_str().unwrap().to_owned();
        scene.api.write(ADMIN, ADMIN, &format!("/kick {id}"));
        tokio::time::sleep(Duration::from_millis(u64::from(nth) * 7)).await;
        scene.radhold.kill();
        scene.radhold.restart();
        scene.api.until_confirmed().await;
        let evicting = scene.radhold.until_state("evicting");
        assert_eq!(evicting["id"], id.as_str());
    }
    // Cut off behind the act and before its mark, it is on record twice; never not at all.
    let kicks = scene.audit("session.kick").len();
    assert!((6..=12).contains(&kicks), "{kicks}");
}
