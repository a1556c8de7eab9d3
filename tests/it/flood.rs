//! Many prompts at once: within Telegram's published limits, and none forgotten.
//!
//! The long form, 10,000 prompts, takes some six minutes (30 messages a second, all the while): `RADHOLD_FLOOD=10000`.

use std::time::{Duration, Instant};

use radhold::app::clock;
use radhold::model::{ApproverKind, Binding, Identity, Secret, SessionId, User, UserName};
use radhold::policy::{Grant, HoldTerms, Terms};
use radhold::session::{Event, Session, Timing, step};
use radhold::store::{self, Change, Committed, Extent, Store};
use uuid::Uuid;

use crate::bot_api::{BotApi, TOKEN};
use crate::radhold::Radhold;

const FIRST: i64 = 5_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_prompts_stay_within_the_limits_and_none_is_forgotten() {
    let many: i64 = std::env::var("RADHOLD_FLOOD").ok().map_or(200, |many| many.parse().unwrap());
    let api = BotApi::start().await;
    api.enforce_limits();
    let mut radhold = Radhold::start(&format!("[telegram]\ntoken = \"{TOKEN}\"\napi_url = \"{}\"\n", api.url()));
    let url = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let store = store::open(&url).await.unwrap();
    for chat in FIRST..FIRST + many {
        api.add_user(chat, "Somebody");
    }
    let begun = Instant::now();
    for chunk in (0..many).collect::<Vec<_>>().chunks(250) {
        log_in(&*store, chunk).await;
    }
    let ordered = begun.elapsed();
    assert!(ordered < Duration::from_secs(60) || many > 10_000, "not within a minute: {ordered:?}");

    // While they wait, one who asks is answered by the same bot, and it is killed once on the way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    radhold.kill();
    radhold.restart();

    let patience = Duration::from_secs(60) + Duration::from_millis(50) * u32::try_from(many).unwrap();
    loop {
        let sent = api.look(|world| world.messages.values().filter(|message| message.by_bot).count());
        if sent >= usize::try_from(many).unwrap() {
            break;
        }
        assert!(begun.elapsed() < patience, "{sent} of {many} after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = begun.elapsed();
    let (floods, asked, twice) = api.look(|world| {
        let mut chats = std::collections::BTreeMap::<i64, usize>::new();
        for message in world.messages.values().filter(|message| message.by_bot) {
            *chats.entry(message.chat).or_default() += 1;
        }
        (world.floods, chats.len(), chats.values().filter(|count| **count > 1).count())
    });
    assert_eq!(asked, usize::try_from(many).unwrap(), "each was asked");
    // What was sent and not on record when it was killed is asked again, as a prompt that may not have arrived must be.
    assert!(twice <= 64, "{twice} were asked twice");
    // A process that is killed cannot know what it sent in its last second: the next one may go over the limit for that long.
    assert!(floods <= 64, "{floods} came too fast");
    println!("{many} prompts in {took:?}, ordered within {ordered:?}; {floods} refused, {twice} twice");
}

/// Sessions whose Access-Accept was just sent, all at once.
async fn log_in(store: &dyn Store, numbers: &[i64]) {
    let mut changes = Vec::new();
    for number in numbers {
        let name = UserName::new(format!("user{number}"));
        let now = clock::now();
        store
            .add_user(&User::new(name.clone(), Secret::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA"), now))
            .await
            .unwrap();
        let chat = (FIRST + number).to_string();
        let binding = Binding {
            user: name.clone(),
            approver: ApproverKind::Telegram,
            address: chat.clone(),
            presser: chat,
            bound_at: now,
        };
        store.bind(&binding).await.unwrap();
        let grant = Grant {
            sandbox_filter: "sandbox".into(),
            permit_filter: "permit".into(),
            terms: Terms::Hold(HoldTerms::new(
                Duration::from_secs(3600),
                Duration::from_secs(30),
                [ApproverKind::Telegram],
            )),
            session_timeout: None,
            reply: vec![],
        };
        let id = SessionId(Uuid::from_u128(0x7000_0000 + u128::from(number.unsigned_abs())));
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        let offered = Session::offer(id, name, "localhost".into(), address, Identity::default(), grant, now);
        // Long enough for the test: an offer that is not taken up is dropped.
        let timing = Timing { start_within: Duration::from_secs(3600), ..Timing::default() };
        let taken = step(&offered, &Event::Accepted, now, &timing);
        changes.push(Change {
            wake_at: taken.session.wake_at(&timing),
            orders: taken.effects,
            session: taken.session,
            from_version: None,
            extent: Extent::Whole,
            usage: vec![],
            settles: None,
            at: now,
        });
    }
    assert!(store.commit(&changes).await.unwrap().iter().all(|kept| *kept == Committed::Done));
    store.announce_orders().await.unwrap();
}
