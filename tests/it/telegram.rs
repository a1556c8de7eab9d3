//! The Telegram approver against the Bot API server: real HTTP, the published limits, and things going wrong.
//!
//! What is waited for is always a condition ([`BotApi::until`]); nothing is shown by the passing of time.

use std::sync::Arc;
use std::time::Duration;

use radhold::approver::telegram::{Telegram, TelegramOptions};
use radhold::approver::{Answer, Approver, AskError, Incoming, Notice, Question};
use radhold::model::{ApproverKind, Binding, Secret, SessionId, Timestamp, UserName, Whereabouts};
use radhold::session::{ButtonKey, Outcome, Place, Told, Verdict};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bot_api::{BotApi, Failure};

const ALICE: i64 = 1001;
const BOB: i64 = 1002;
const GROUP: i64 = -100_200_300;
const YES: &str = "It's me";
const NO: &str = "Not me";

// -- asking

#[tokio::test]
async fn a_prompt_says_who_where_from_and_when_with_two_buttons() {
    let scene = Scene::new().await;
    let reference = scene.ask(&[alice()]).await.unwrap();
    let prompt = scene.api.until_sent(ALICE, 0).await;
    assert_eq!(reference, format!("{ALICE}:{}", prompt.id));
    for part in ["alice", "office", "203.0.113.7", "2026-11-20 09:25:09 UTC", "118 s"] {
        assert!(prompt.text.contains(part), "{part:?} is missing in {:?}", prompt.text);
    }
    assert_eq!(prompt.buttons(), [YES, NO]);
}

#[tokio::test]
async fn text_from_the_network_cannot_break_or_pose_as_the_prompt() {
    let scene = Scene::new().await;
    let user = "<b>x</b>&amp;\n\u{202e}\u{0}".to_owned() + &"é".repeat(5000);
    let question = Question { user, ..question() };
    scene.telegram.ask(&question, &[alice()]).await.unwrap();
    let text = scene.api.until_sent(ALICE, 0).await.text;
    assert!(text.contains("User: <b>x</b>&amp;éé"), "{text}");
    assert!(text.chars().count() < 1000 && !text.contains('\u{202e}'), "{text}");
}

#[tokio::test]
async fn every_binding_is_asked_and_one_that_works_is_enough() {
    let scene = Scene::new().await;
    scene.api.add_group(GROUP, "Family");
    let bindings = [alice(), binding(404, 404), binding(GROUP, ALICE), alice()];
    let reference = scene.ask(&bindings).await.unwrap();
    let (private, group) = (scene.api.sent(ALICE), scene.api.sent(GROUP));
    assert_eq!((private.len(), group.len()), (1, 1), "the same binding twice is asked once");
    assert_eq!(reference, format!("{ALICE}:{},{GROUP}:{}", private[0].id, group[0].id));
}

#[tokio::test]
async fn what_cannot_be_delivered_says_why() {
    let scene = Scene::new().await;
    scene.api.add_group(GROUP, "Family");
    scene.api.migrate(GROUP, -100_999);
    scene.api.set_blocked(BOB, true);
    for (bindings, reason) in [
        (vec![], "bound to no Telegram chat"),
        (vec![binding(404, 404)], "no such chat"),
        (vec![binding(BOB, BOB)], "blocked the bot"),
        (vec![binding(GROUP, ALICE)], "bind chat -100999"),
        (vec![binding(GROUP, GROUP)], "not a Telegram user id"),
        (vec![binding(404, 404), binding(BOB, BOB)], "blocked the bot"),
    ] {
        match scene.ask(&bindings).await {
            Err(AskError::Undeliverable(why)) => assert!(why.contains(reason), "{why:?} lacks {reason:?}"),
            other => panic!("{bindings:?}: {other:?}"),
        }
    }
    let options = TelegramOptions { token: Secret::new("1:wrong"), ..scene.api.options() };
    let stranger = Telegram::new(options, key()).unwrap();
    let refused = stranger.ask(&question(), &[alice()]).await;
    assert!(matches!(&refused, Err(AskError::Undeliverable(why)) if why.contains("token")), "{refused:?}");
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_and_an_outage_is_for_later() {
    let scene = Scene::new().await;
    scene.api.fail("sendMessage", Failure::TooMany(1), 1);
    let limited = scene.ask(&[alice()]).await;
    assert!(matches!(limited, Err(AskError::Later { after: Some(wait), .. }) if wait.as_secs() == 1), "{limited:?}");

    scene.api.fail("sendMessage", Failure::Drop, 1);
    let dropped = scene.ask(&[alice()]).await;
    assert!(matches!(dropped, Err(AskError::Later { after: None, .. })), "{dropped:?}");

    // One binding may yet work: that is later, not never.
    scene.api.fail("sendMessage", Failure::TooMany(1), 1);
    let mixed = scene.ask(&[alice(), binding(404, 404)]).await;
    assert!(matches!(mixed, Err(AskError::Later { after: Some(_), .. })), "{mixed:?}");

    let hasty = TelegramOptions { request_timeout: Duration::from_millis(300), ..scene.api.options() };
    let hasty = Telegram::new(hasty, key()).unwrap();
    for failure in [Failure::Status(500), Failure::Delay(Duration::from_secs(60))] {
        scene.api.fail("sendMessage", failure.clone(), 1);
        let away = hasty.ask(&question(), &[alice()]).await;
        assert!(matches!(away, Err(AskError::Later { after: None, .. })), "{failure:?}: {away:?}");
    }
    scene.ask(&[alice()]).await.expect("all is well again");
}

#[tokio::test]
async fn no_error_shows_the_token() {
    let scene = Scene::new().await;
    // Port 1 on loopback: nobody is there.
    let nowhere = TelegramOptions { api_url: Some("http://127.0.0.1:1/base".parse().unwrap()), ..scene.api.options() };
    let error = Telegram::new(nowhere, key()).unwrap().ask(&question(), &[alice()]).await.unwrap_err();
    assert!(matches!(error, AskError::Later { after: None, .. }), "{error}");
    assert!(!error.to_string().contains("AAF-test_token"), "{error}");
}

// -- telling

#[tokio::test]
async fn each_outcome_is_written_over_the_prompt_and_takes_its_buttons() {
    let scene = Scene::new().await;
    for (outcome, words) in [
        (Outcome::Permitted, "The connection is open"),
        (Outcome::NasUnreachable, "has not reacted yet"),
        (Outcome::Denied, "change it now"),
        (Outcome::Expired, "Nobody answered in time"),
        (Outcome::NotLifted, "could not be told in time"),
        (Outcome::Disconnected, "ended before anybody answered"),
        (Outcome::Kicked, "ended by hand"),
    ] {
        let reference = scene.ask(&[alice(), binding(BOB, BOB)]).await.unwrap();
        scene.tell(&reference, outcome).await.unwrap();
        for chat in [ALICE, BOB] {
            let prompt = scene.api.sent(chat).pop().unwrap();
            assert!(prompt.text.contains(words) && prompt.text.contains("203.0.113.7"), "{outcome:?}: {prompt:?}");
            assert!(prompt.buttons().is_empty(), "{outcome:?}: {prompt:?}");
        }
    }
}

#[tokio::test]
async fn telling_again_or_about_a_deleted_prompt_is_done() {
    let scene = Scene::new().await;
    let reference = scene.ask(&[alice()]).await.unwrap();
    scene.tell(&reference, Outcome::Denied).await.unwrap();
    scene.tell(&reference, Outcome::Denied).await.expect("not modified is done");
    let prompt = scene.api.sent(ALICE).pop().unwrap();
    assert_eq!(prompt.edits, 1);
    scene.api.delete(ALICE, prompt.id);
    scene.tell(&reference, Outcome::Denied).await.expect("deleted is done");
    assert_eq!(scene.api.count("editMessageText"), 3);
}

#[tokio::test]
async fn telling_what_cannot_be_told_now_is_for_later_and_nonsense_is_never() {
    let scene = Scene::new().await;
    let reference = scene.ask(&[alice(), binding(BOB, BOB)]).await.unwrap();
    scene.api.fail("editMessageText", Failure::TooMany(1), 1);
    let limited = scene.tell(&reference, Outcome::Denied).await;
    assert!(matches!(limited, Err(AskError::Later { after: Some(wait), .. }) if wait.as_secs() == 1), "{limited:?}");
    assert_eq!(scene.api.sent(BOB)[0].edits, 1, "the other chat is told at once");
    scene.tell(&reference, Outcome::Denied).await.unwrap();
    assert_eq!(scene.api.sent(ALICE)[0].edits, 1);
    assert!(matches!(scene.tell("operator", Outcome::Denied).await, Err(AskError::Undeliverable(_))));
}

#[tokio::test]
async fn an_alert_goes_to_the_operators_chat() {
    let scene = Scene::new().await;
    let notice = Notice::new("alert-emergency-code")
        .with("user", "<alice>")
        .with("nas", "office & home")
        .with("session", "7")
        .with("who", "spare");
    scene.telegram.alert(&notice).await.expect("no chat is no failure");
    assert_eq!(scene.api.count("sendMessage"), 0);
    let options = TelegramOptions { operator_chat: Some(BOB), ..scene.api.options() };
    Telegram::new(options, key()).unwrap().alert(&notice).await.unwrap();
    assert!(scene.api.sent(BOB)[0].text.contains("<alice> on office & home"), "{:?}", scene.api.sent(BOB));
}

// -- presses

#[tokio::test]
async fn yes_and_no_reach_the_session_and_the_presser_hears_the_truth() {
    for (button, verdict, words) in [(YES, Verdict::Approved, "Confirmed."), (NO, Verdict::Denied, "Denied.")] {
        let mut scene = Scene::listening().await;
        let prompt = scene.prompt_alice().await;
        let query = scene.api.press(ALICE, prompt, ALICE, button);
        let Answer { press, reply } = scene.answer().await;
        assert_eq!((press.session(), press.verdict()), (question().session, verdict));
        assert_eq!((press.approver(), press.presser()), (ApproverKind::Telegram, "1001"));
        assert!(scene.api.look(|world| world.answers.is_empty()), "nothing is said before the session has spoken");
        reply.send(Told::Done).unwrap();
        let answered = scene.api.until_answered(&query).await;
        assert!(answered.text.starts_with(words), "{answered:?}");
        scene.api.until_confirmed().await;
        assert_eq!(scene.api.count("answerCallbackQuery"), 1);
        assert_eq!(scene.api.message(ALICE, prompt).buttons(), [YES, NO], "the outcome's edit takes the buttons");
    }
}

#[tokio::test]
async fn late_presses_hear_how_it_stands_and_lose_their_buttons() {
    for (button, told, words) in [
        (YES, Told::AlreadyDecided(Verdict::Approved), "Already confirmed"),
        (YES, Told::AlreadyDecided(Verdict::Denied), "Already denied"),
        (NO, Told::AlreadyDecided(Verdict::Approved), "came too late"),
        (YES, Told::AlreadyExpired, "Already expired"),
        (NO, Told::SessionOver, "is over"),
    ] {
        let mut scene = Scene::listening().await;
        let prompt = scene.prompt_alice().await;
        let query = scene.api.press(ALICE, prompt, ALICE, button);
        scene.answer().await.reply.send(told).unwrap();
        let answered = scene.api.until_answered(&query).await;
        assert!(answered.text.contains(words) && answered.alert, "{told:?}: {answered:?}");
        scene.api.until_confirmed().await;
        let prompt = scene.api.message(ALICE, prompt);
        assert!(prompt.buttons().is_empty(), "{told:?}: {prompt:?}");
        assert!(prompt.text.contains("Is this you?"), "how it ended is not the listener's to write: {prompt:?}");
    }
}

#[tokio::test]
async fn two_presses_are_two_answers_each_with_its_own_word() {
    let mut scene = Scene::listening().await;
    let prompt = scene.prompt_alice().await;
    let first = scene.api.press(ALICE, prompt, ALICE, YES);
    let second = scene.api.press(ALICE, prompt, ALICE, NO);
    // They may come side by side, so go by what was pressed.
    for _ in 0..2 {
        let Answer { press, reply } = scene.answer().await;
        let told = match press.verdict() {
            Verdict::Approved => Told::Done,
            Verdict::Denied => Told::AlreadyDecided(Verdict::Approved),
        };
        reply.send(told).unwrap();
    }
    assert!(scene.api.until_answered(&first).await.text.starts_with("Confirmed."));
    assert!(scene.api.until_answered(&second).await.text.contains("came too late"));
    scene.api.until_confirmed().await;
    assert_eq!(scene.api.count("answerCallbackQuery"), 2);
}

#[tokio::test]
async fn foreign_tampered_and_misplaced_presses_are_refused_with_the_reason() {
    let mut scene = Scene::listening().await;
    scene.api.add_group(GROUP, "Family");
    scene.ask(&[alice(), binding(GROUP, ALICE)]).await.unwrap();
    let in_group = scene.api.until_sent(GROUP, 0).await;
    let prompt = scene.api.sent(ALICE).pop().unwrap();
    let yes = prompt.keyboard[0][0].data.clone().unwrap();
    let no_as_yes = format!("y{}", &prompt.keyboard[0][1].data.clone().unwrap()[1..]);
    let another_key = ButtonKey::new(&Secret::new("another cluster"));
    let place = Place { approver: ApproverKind::Telegram, chat: "1001", presser: "1001" };
    let forged = another_key.seal(question().session, Verdict::Approved, place);
    for (what, query) in [
        ("somebody else in the group", scene.api.press(GROUP, in_group.id, BOB, YES)),
        ("another chat", scene.api.press_data(BOB, prompt.id, ALICE, &yes)),
        ("another person", scene.api.press_data(ALICE, prompt.id, BOB, &yes)),
        ("a no made a yes", scene.api.press_data(ALICE, prompt.id, ALICE, &no_as_yes)),
        ("another key", scene.api.press_data(ALICE, prompt.id, ALICE, &forged)),
        ("no data of ours", scene.api.press_data(ALICE, prompt.id, ALICE, "vote:7")),
    ] {
        let answered = scene.api.until_answered(&query).await;
        assert!(answered.text.starts_with("Refused:") && answered.alert, "{what}: {answered:?}");
    }
    scene.api.until_confirmed().await;
    assert!(scene.inbox.try_recv().is_err(), "none of them reached a session");
    assert_eq!(scene.api.count("answerCallbackQuery"), 6);

    // And the right person in that very group is heard.
    let query = scene.api.press(GROUP, in_group.id, ALICE, YES);
    scene.answer().await.reply.send(Told::Done).unwrap();
    assert!(scene.api.until_answered(&query).await.text.starts_with("Confirmed."));
}

#[tokio::test]
async fn a_press_on_a_message_that_is_gone_still_counts() {
    let mut scene = Scene::listening().await;
    let prompt = scene.prompt_alice().await;
    let data = scene.api.message(ALICE, prompt).keyboard[0][0].data.clone().unwrap();
    scene.api.delete(ALICE, prompt);
    let query = scene.api.press_data(ALICE, prompt, ALICE, &data);
    scene.answer().await.reply.send(Told::AlreadyExpired).unwrap();
    assert!(scene.api.until_answered(&query).await.text.contains("Already expired"));
    scene.api.until_confirmed().await;
}

#[tokio::test]
async fn a_session_that_does_not_speak_in_time_is_not_lied_about() {
    let mut scene = Scene::listening_with(|options| options.told_timeout = Duration::from_millis(100)).await;
    let prompt = scene.prompt_alice().await;
    let slow = scene.api.press(ALICE, prompt, ALICE, YES);
    let held_back = scene.answer().await;
    assert!(scene.api.until_answered(&slow).await.text.contains("not carried out yet"));
    drop(held_back);
    let lost = scene.api.press(ALICE, prompt, ALICE, YES);
    drop(scene.answer().await);
    assert!(scene.api.until_answered(&lost).await.text.contains("press again"));
}

#[tokio::test]
async fn one_slow_session_keeps_no_other_waiting() {
    let mut scene = Scene::new().await;
    scene.ask(&[alice(), binding(BOB, BOB)]).await.unwrap();
    let (alices, bobs) = (scene.api.sent(ALICE)[0].id, scene.api.sent(BOB)[0].id);
    // Both before the first poll, so that they come in one.
    let slow = scene.api.press(ALICE, alices, ALICE, YES);
    let quick = scene.api.press(BOB, bobs, BOB, YES);
    scene.listen();
    let mut waiting = None;
    for _ in 0..2 {
        let Answer { press, reply } = scene.answer().await;
        match press.presser() {
            "1001" => waiting = Some(reply),
            _ => reply.send(Told::Done).unwrap(),
        }
    }
    scene.api.until_answered(&quick).await;
    assert!(scene.api.look(|world| !world.answers.contains_key(&slow)));
    waiting.unwrap().send(Told::Done).unwrap();
    scene.api.until_answered(&slow).await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_and_one_that_is_too_old_holds_nothing_up() {
    let mut scene = Scene::listening().await;
    let prompt = scene.prompt_alice().await;
    scene.api.fail("answerCallbackQuery", Failure::Drop, 1);
    let query = scene.api.press(ALICE, prompt, ALICE, YES);
    scene.answer().await.reply.send(Told::Done).unwrap();
    scene.api.until_answered(&query).await;

    let data = scene.api.message(ALICE, prompt).keyboard[0][0].data.clone().unwrap();
    scene.api.press_too_old(ALICE, prompt, ALICE, &data);
    let Answer { press, reply } = scene.answer().await;
    assert_eq!(press.verdict(), Verdict::Approved, "old for Telegram is not late for the session");
    reply.send(Told::AlreadyDecided(Verdict::Approved)).unwrap();
    scene.api.until_confirmed().await;
    assert!(scene.api.message(ALICE, prompt).buttons().is_empty());
}

// -- polling

#[tokio::test]
async fn an_update_is_confirmed_only_when_it_was_handled() {
    let mut scene = Scene::listening().await;
    let prompt = scene.prompt_alice().await;
    let query = scene.api.press(ALICE, prompt, ALICE, YES);
    let unanswered = scene.answer().await;
    assert_eq!(scene.api.look(|world| world.updates.len()), 1, "in hand, not confirmed");

    // The process ends here. The next one finds the press again.
    scene.stop_abruptly();
    drop(unanswered);
    scene.listen();
    let Answer { press, reply } = scene.answer().await;
    assert_eq!(press.verdict(), Verdict::Approved);
    reply.send(Told::Done).unwrap();
    assert!(scene.api.until_answered(&query).await.text.starts_with("Confirmed."));
    scene.api.until_confirmed().await;
    assert_eq!(scene.api.count("answerCallbackQuery"), 1);
}

#[tokio::test]
async fn polling_survives_an_outage_without_haste() {
    for failure in [Failure::Drop, Failure::TooMany(0), Failure::Status(401)] {
        let mut scene = Scene::new().await;
        scene.api.fail("getUpdates", failure.clone(), usize::MAX);
        scene.listen();
        let what = format!("three polls in spite of {failure:?}");
        scene.api.until(&what, |world| (world.calls_of("getUpdates").count() >= 3).then_some(())).await;
        let prompt = scene.prompt_alice().await;
        let query = scene.api.press(ALICE, prompt, ALICE, YES);
        scene.api.heal();
        scene.answer().await.reply.send(Told::Done).unwrap();
        scene.api.until_answered(&query).await;
    }
}

#[tokio::test]
async fn another_poll_with_the_token_ends_ours() {
    let mut scene = Scene::new().await;
    scene.listen();
    let ours = scene.listening.take().unwrap();
    scene.api.until("a poll", |world| (world.calls_of("getUpdates").count() >= 1).then_some(())).await;
    scene.listen();
    tokio::time::timeout(Duration::from_secs(30), ours).await.expect("ours ends").unwrap();
    let prompt = scene.prompt_alice().await;
    let query = scene.api.press(ALICE, prompt, ALICE, YES);
    scene.answer().await.reply.send(Told::Done).unwrap();
    scene.api.until_answered(&query).await;
}

#[tokio::test]
async fn a_server_error_does_not_stop_polling() {
    let mut scene = Scene::new().await;
    scene.api.fail("getUpdates", Failure::Status(502), 1);
    scene.listen_with(|options| {
        options.poll_timeout = Duration::from_secs(1);
        options.request_timeout = Duration::from_millis(500);
    });
    let prompt = scene.prompt_alice().await;
    let query = scene.api.press(ALICE, prompt, ALICE, YES);
    scene.answer().await.reply.send(Told::Done).unwrap();
    scene.api.until_answered(&query).await;
}

#[tokio::test]
async fn failed_polls_grow_further_apart() {
    let mut scene = Scene::new().await;
    scene.api.fail("getUpdates", Failure::Drop, usize::MAX);
    scene.listen_with(|options| {
        options.backoff_first = Duration::from_millis(50);
        options.backoff_most = Duration::from_secs(3600);
    });
    let four = |polls: Vec<_>| (polls.len() >= 4).then_some(polls);
    let at =
        scene.api.until("four polls", |world| four(world.calls_of("getUpdates").map(|call| call.at).collect())).await;
    // A slow machine makes these longer, never shorter.
    for (nth, least) in [50, 100, 200].into_iter().enumerate() {
        let gap = at[nth + 1] - at[nth];
        assert!(gap >= Duration::from_millis(least), "{gap:?} between poll {nth} and the next");
    }
}

#[tokio::test]
async fn an_offset_is_given_once_so_that_update_ids_may_start_over() {
    let mut scene = Scene::listening_with(|options| options.poll_timeout = Duration::from_secs(1)).await;
    scene.api.add_group(GROUP, "Family");
    scene.api.write(GROUP, ALICE, "dinner at eight?");
    let offsets = scene
        .api
        .until("two polls after the update", |world| {
            let polls: Vec<_> = world.calls_of("getUpdates").map(|call| call.params.0.get("offset").cloned()).collect();
            let with_offset = polls.iter().position(Option::is_some)?;
            (polls.len() > with_offset + 1).then_some(polls)
        })
        .await;
    let given: Vec<_> = offsets.into_iter().flatten().collect();
    assert_eq!(given, [serde_json::json!(2)], "the first update's id is 1");
    scene.stop().await;
}

#[tokio::test]
async fn only_what_is_needed_is_asked_for() {
    let mut scene = Scene::listening().await;
    let call = scene.api.until("a poll", |world| world.calls_of("getUpdates").next().cloned()).await;
    assert_eq!(call.params.0["allowed_updates"], serde_json::json!(["message", "callback_query"]));
    assert_eq!(call.params.0["timeout"], 2);
    scene.stop().await;
}

#[tokio::test]
async fn listening_ends_when_nobody_takes_answers() {
    // In a long poll.
    let mut scene = Scene::listening_with(|options| options.poll_timeout = Duration::from_secs(50)).await;
    scene.api.until("a poll", |world| world.calls_of("getUpdates").next().map(drop)).await;
    scene.stop().await;

    // In a long wait.
    let mut scene = Scene::new().await;
    scene.api.fail("getUpdates", Failure::TooMany(3600), usize::MAX);
    scene.listen();
    scene.api.until("a refused poll", |world| world.calls_of("getUpdates").next()?.status.map(drop)).await;
    scene.stop().await;

    // With a press in hand, which stays for whoever listens next.
    let mut scene = Scene::listening().await;
    let prompt = scene.prompt_alice().await;
    scene.api.press(ALICE, prompt, ALICE, YES);
    let in_hand = scene.answer().await;
    let listening = scene.close();
    drop(in_hand);
    within("the end of listening", listening).await.unwrap();
    assert_eq!(scene.api.look(|world| (world.updates.len(), world.answers.len())), (1, 0));
}

// -- the scene

/// An approver, the server it talks to, and the end where its answers come out.
struct Scene {
    api: BotApi,
    telegram: Arc<Telegram>,
    answers: mpsc::Sender<Incoming>,
    inbox: mpsc::Receiver<Incoming>,
    listening: Option<JoinHandle<()>>,
}

impl Scene {
    async fn new() -> Self {
        let api = BotApi::start().await;
        api.add_user(ALICE, "Alice");
        api.add_user(BOB, "Bob");
        let telegram = Arc::new(Telegram::new(api.options(), key()).unwrap());
        let (answers, inbox) = mpsc::channel(8);
        Self { api, telegram, answers, inbox, listening: None }
    }

    async fn listening() -> Self {
        Self::listening_with(|_| {}).await
    }

    async fn listening_with(change: impl FnOnce(&mut TelegramOptions)) -> Self {
        let mut scene = Self::new().await;
        scene.listen_with(change);
        scene
    }

    fn listen(&mut self) {
        self.listen_with(|_| {});
    }

    fn listen_with(&mut self, change: impl FnOnce(&mut TelegramOptions)) {
        let mut options = self.api.options();
        change(&mut options);
        let telegram = Telegram::new(options, key()).unwrap();
        let answers = self.answers.clone();
        self.listening = Some(tokio::spawn(async move { telegram.listen(answers).await }));
    }

    /// Ends listening as a crash would: its future is dropped wherever it stands.
    fn stop_abruptly(&mut self) {
        self.listening.take().expect("listening").abort();
    }

    /// Closes the inbox; gives the listening that must end by that.
    fn close(&mut self) -> JoinHandle<()> {
        self.inbox.close();
        self.listening.take().expect("listening")
    }

    async fn stop(&mut self) {
        let listening = self.close();
        within("the end of listening", listening).await.unwrap();
    }

    async fn ask(&self, bindings: &[Binding]) -> Result<String, AskError> {
        self.telegram.ask(&question(), bindings).await
    }

    async fn tell(&self, reference: &str, outcome: Outcome) -> Result<(), AskError> {
        self.telegram.tell(reference, &question(), outcome).await
    }

    /// Asks Alice; gives the message's id.
    async fn prompt_alice(&self) -> i64 {
        self.ask(&[alice()]).await.unwrap();
        self.api.sent(ALICE).pop().unwrap().id
    }

    async fn answer(&mut self) -> Answer {
        match within("an answer", self.inbox.recv()).await.expect("the scene holds a sender") {
            Incoming::Press(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }
}

/// Far less than any wait that listening must be able to leave, far more than a busy machine needs.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(15), future).await {
        Ok(done) => done,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

fn key() -> ButtonKey {
    ButtonKey::new(&Secret::new("the cluster's key"))
}

fn question() -> Question {
    Question {
        about: radhold::approver::Whose::Own,
        medium: None,
        whereabouts: Whereabouts::default(),
        decided: None,
        ended: None,
        session: SessionId(Uuid::from_u128(0x77)),
        user: "alice".into(),
        nas: "office".into(),
        calling_station_id: Some("203.0.113.7".into()),
        accepted_at: Timestamp::from_secs(1_795_166_709),
        deadline: Timestamp::from_secs(1_795_166_829),
        now: Timestamp::from_secs(1_795_166_711),
        numbers: None,
    }
}

fn alice() -> Binding {
    binding(ALICE, ALICE)
}

fn binding(chat: i64, presser: i64) -> Binding {
    Binding {
        user: UserName::new("alice"),
        approver: ApproverKind::Telegram,
        address: chat.to_string(),
        presser: presser.to_string(),
        bound_at: Timestamp::from_secs(1_790_000_000),
    }
}
