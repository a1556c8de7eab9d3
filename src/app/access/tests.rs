//! Many logins of one account at once: as many are looked at together as may be wrong, and the others go the way of these.

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::scene::{HERE, PASSWORD, Scene, slow};
use super::*;

/// More than may be wrong.
const VOLLEY: u64 = 60;

/// One account, logging in from so many places at once, with the checks of passwords held. Where its NASes are patient, whoever gets no
/// answer comes again: on a slow machine.
async fn volley(scene: &mut Scene, password: &[u8], patient: bool) -> (JoinSet<Fate>, OwnedSemaphorePermit) {
    scene.add("guest", slow(), |_| ()).await;
    let (held, mut logins) = (scene.hold_checks().await, JoinSet::new());
    for n in 0..VOLLEY {
        let request = scene.pap_from("guest", password, &format!("192.0.2.{n}"));
        let (access, nas) = (Arc::clone(&scene.access), Arc::clone(&scene.nas));
        logins.spawn(async move {
            loop {
                let fate = access.answer(&request, &nas, HERE, clock::now()).await;
                if !(patient && matches!(fate, Fate::Drop("access.volley"))) {
                    return fate;
                }
            }
        });
    }
    // One queues for its check after the other.
    let free = Scene::most_waiting() - 4 * scene.settings().current().lockout.free as usize;
    while scene.access.queue.available_permits() != free {
        tokio::task::yield_now().await;
    }
    (logins, held)
}

async fn codes(logins: JoinSet<Fate>) -> Vec<Option<Code>> {
    let code = |fate| match fate {
        Fate::Reply(reply) | Fate::ReplyLater(reply, _) => Some(Packet::parse(&reply).unwrap().code()),
        Fate::Drop(label) => {
            assert_eq!(label, "access.volley");
            None
        }
    };
    logins.join_all().await.into_iter().map(code).collect()
}

fn count(codes: &[Option<Code>], code: Option<Code>) -> u64 {
    codes.iter().filter(|one| **one == code).count() as u64
}

#[tokio::test]
async fn all_who_come_at_once_with_the_right_password_are_let_in() {
    let mut scene = Scene::new("").await;
    let (logins, held) = volley(&mut scene, PASSWORD, true).await;
    drop(held);
    let codes = codes(logins).await;
    assert_eq!(count(&codes, Some(Code::AccessAccept)), VOLLEY, "{codes:?}");
}

#[tokio::test]
async fn of_many_wrong_passwords_only_the_free_ones_are_looked_at() {
    let mut scene = Scene::new("").await;
    let (logins, held) = volley(&mut scene, b"a guess", true).await;
    drop(held);
    let codes = codes(logins).await;
    assert_eq!(count(&codes, Some(Code::AccessReject)), VOLLEY, "{codes:?}");
    let limits = scene.settings().current().lockout;
    let failures = scene.access.guards.lockouts.failures_of("guest");
    assert_eq!(failures, 4 * limits.free, "whoever was locked out does not count as having been wrong");
}

#[tokio::test]
async fn who_waits_too_long_for_others_gets_no_answer_and_may_come_again() {
    let mut scene = Scene::new("").await;
    let (mut logins, held) = volley(&mut scene, PASSWORD, false).await;
    let free = 4 * u64::from(scene.settings().current().lockout.free);
    for _ in free..VOLLEY {
        let fate = logins.join_next().await.unwrap().unwrap();
        assert!(matches!(fate, Fate::Drop("access.volley")), "{fate:?}");
    }
    drop(held);
    assert_eq!(count(&codes(logins).await, Some(Code::AccessAccept)), free);
    let again = scene.pap_from("guest", PASSWORD, "192.0.2.59");
    let reply = scene.slowly(&again).await.unwrap();
    assert_eq!(Packet::parse(&reply).unwrap().code(), Code::AccessAccept);
}
