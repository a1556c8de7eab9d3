//! Many logins of one account at once: as many are looked at together as may be wrong, and the others go the way of these.

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::scene::{HERE, PASSWORD, Scene, slow, slow_of};
use super::*;

/// More than may be wrong.
const VOLLEY: u32 = 60;
/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(600);

/// One account, logging in from so many places at once, with the checks of passwords held: as many as may be wrong wait for one, and how many
/// these are.
async fn volley(scene: &mut Scene, password: &[u8]) -> (JoinSet<Fate>, OwnedSemaphorePermit, u32) {
    scene.add("guest", slow(), |_| ()).await;
    scene.access.users.get(&"guest".into(), clock::now()).await.unwrap();
    let (held, mut logins) = (scene.hold_checks().await, JoinSet::new());
    for n in 0..VOLLEY {
        let request = scene.pap_from("guest", password, &format!("192.0.2.{n}"));
        let (access, nas) = (Arc::clone(&scene.access), Arc::clone(&scene.nas));
        logins.spawn(async move { access.answer(&request, &nas, (HERE, clock::now()), false).await });
    }
    for _ in 0..2 * VOLLEY {
        tokio::task::yield_now().await;
    }
    let may_be_wrong = 4 * scene.settings().current().lockout.free;
    assert_eq!(scene.access.queue.available_permits(), Scene::most_waiting() - may_be_wrong as usize);
    (logins, held, may_be_wrong)
}

async fn codes(logins: JoinSet<Fate>) -> Vec<Code> {
    let code = |fate| match fate {
        Fate::Reply(reply) | Fate::ReplyLater(reply, _) => Packet::parse(&reply).unwrap().code(),
        Fate::Drop(label) => panic!("no answer: {label}"),
    };
    logins.join_all().await.into_iter().map(code).collect()
}

#[tokio::test]
async fn all_who_come_at_once_with_the_right_password_are_let_in() {
    let mut scene = Scene::with_patience("", LONG).await;
    let (logins, held, _) = volley(&mut scene, PASSWORD).await;
    drop(held);
    assert_eq!(codes(logins).await, [Code::AccessAccept; VOLLEY as usize]);
}

#[tokio::test]
async fn of_many_wrong_passwords_only_the_free_ones_are_looked_at() {
    let mut scene = Scene::with_patience("[lockout]\ndelay_first = \"30s\"", LONG).await;
    let (logins, held, may_be_wrong) = volley(&mut scene, b"a guess").await;
    drop(held);
    assert_eq!(codes(logins).await, [Code::AccessReject; VOLLEY as usize]);
    scene.access.guards.lockouts.exchange().await.unwrap();
    let failures = scene.store.failures(Timestamp::default()).await.unwrap();
    let of_guest = failures.iter().find(|count| count.key.account == "guest" && count.key.caller.is_empty());
    assert_eq!(of_guest.unwrap().failures, may_be_wrong, "whoever was locked out does not count as having been wrong");
}

#[tokio::test]
async fn who_waits_too_long_for_others_gets_no_answer_and_may_come_again() {
    let mut scene = Scene::new("").await;
    let (mut logins, held, may_be_wrong) = volley(&mut scene, PASSWORD).await;
    for _ in may_be_wrong..VOLLEY {
        let fate = logins.join_next().await.unwrap().unwrap();
        assert!(matches!(fate, Fate::Drop("access.volley")), "{fate:?}");
    }
    drop(held);
    assert_eq!(codes(logins).await, vec![Code::AccessAccept; may_be_wrong as usize]);
    let again = scene.pap_from("guest", PASSWORD, "192.0.2.59");
    let reply = scene.slowly(&again).await.unwrap();
    assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccessAccept);
}

/// Where there is no room for the check of a password: one that is not the remembered one counts as wrong, but for one that was set since.
#[tokio::test]
async fn a_new_password_that_cannot_be_checked_is_no_wrong_one() {
    for is_new in [false, true] {
        let mut scene = Scene::new("").await;
        scene.add("guest", slow(), |_| ()).await;
        scene.meet("guest").await;
        if is_new {
            let mut guest = scene.store.user(&"guest".into()).await.unwrap().unwrap();
            guest.credential = scene.sealed("guest", &slow_of(b"set anew"));
            scene.store.replace_user(&guest).await.unwrap();
            scene.access.users.forget(&"guest".into());
        }
        let access = Arc::clone(&scene.access);
        let all = access.queue.try_acquire_many(Scene::most_waiting() as u32).unwrap();
        let login = scene.pap("guest", b"set anew");
        assert_eq!(scene.slowly(&login).await, None);
        drop(all);
        scene.access.guards.lockouts.exchange().await.unwrap();
        let failures = scene.store.failures(Timestamp::default()).await.unwrap();
        assert_eq!(failures.iter().any(|count| count.key.account == "guest"), !is_new, "{failures:?}");
    }
}
