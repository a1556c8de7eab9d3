//! Tests of what people read, and all of it on one page: `tests/snapshots/telegram.txt`.

use std::fmt::Write as _;
use std::time::Duration;

use teloxide::types::InlineKeyboardButtonKind;
use uuid::Uuid;

use super::*;
use crate::approver::Voice;
use crate::model::{Language, Names, Preferences, Secret, SessionId, Timestamp};
use crate::session::ButtonKey;

const OUTCOMES: [Outcome; 9] = [
    Outcome::Permitted,
    Outcome::NasUnreachable,
    Outcome::Denied,
    Outcome::Expired,
    Outcome::NotLifted,
    Outcome::Disconnected,
    Outcome::Kicked,
    Outcome::WrongNumber,
    Outcome::Superseded,
];

fn tone(language: &str, zone: &str, quiet: bool) -> Tone {
    let language = Some(language.parse().unwrap());
    Voice::default().tone_of(&Preferences { language, zone: Some(zone.parse().unwrap()), quiet, heard: None }, None)
}

fn english() -> Tone {
    tone("en", "UTC", false)
}

fn question(user: &str, from: Option<&str>) -> Question {
    Question {
        about: Whose::Own,
        session: SessionId(Uuid::from_u128(1)),
        user: user.into(),
        nas: "office".into(),
        calling_station_id: from.map(Into::into),
        accepted_at: Timestamp::from_secs(1_795_166_709),
        deadline: Timestamp::from_secs(1_795_166_829),
        now: Timestamp::from_secs(1_795_166_711),
        medium: None,
        whereabouts: Whereabouts::default(),
        decided: None,
        ended: None,
        numbers: None,
    }
}

fn choice() -> NumberChoice {
    ButtonKey::new(&Secret::new("cluster")).choice(SessionId(Uuid::from_u128(1)))
}

/// One with all that can be known.
fn informed() -> Question {
    let names = |english: &str, russian: &str| {
        let names =
            [("en", english), ("ru", russian)].map(|(tag, name)| (tag.parse::<Language>().unwrap(), name.into()));
        Names(names.into())
    };
    Question {
        medium: Some(Medium::L2tp),
        whereabouts: Whereabouts {
            country: names("Germany", "Германия"),
            city: names("Berlin", "Берлин"),
            system: Some(64_500),
            network: Some("Example Net".into()),
            host: Some("dsl-7.example.net".into()),
        },
        ..question("alice", Some("203.0.113.7"))
    }
}

fn ending() -> Ending {
    Ending {
        at: Timestamp::from_secs(1_795_166_709 + 3 * 3600),
        lasted: Duration::from_secs(2 * 3600 + 59 * 60 + 41),
        input_octets: 86_400_000,
        output_octets: 1_400_000_000,
        cause: EndCause::Stop,
        terminate_cause: Some(1),
    }
}

fn told_all() -> Vec<(Verdict, Told)> {
    let words = [
        Told::Done,
        Told::Nothing,
        Told::AlreadyDecided(Verdict::Approved),
        Told::AlreadyDecided(Verdict::Denied),
        Told::AlreadyExpired,
        Told::AlreadySuperseded,
        Told::Counted { more: 1 },
        Told::SessionOver,
        Told::NotHeld,
        Told::NotEntitled,
        Told::Noted,
    ];
    [Verdict::Approved, Verdict::Denied].into_iter().flat_map(|verdict| words.map(|told| (verdict, told))).collect()
}

#[test]
fn a_prompt_says_who_where_from_and_until_when() {
    let text = prompt(&english(), &question("alice", Some("203.0.113.7")));
    for part in [
        "<code>alice</code>",
        "<code>office</code>",
        "<code>203.0.113.7</code>",
        "2026-11-20 09:25:09 UTC",
        "within 118 seconds",
        "by 09:27:09",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(prompt(&english(), &question("alice", None)).contains("From: unknown"));
    let russian = prompt(&tone("ru", "Europe/Moscow", false), &question("alice", None));
    assert!(russian.contains("2026-11-20 12:25:09 MSK") && russian.contains("до 12:27:09"), "{russian}");
}

#[test]
fn a_hardware_address_is_a_device_and_no_place() {
    let text = prompt(&english(), &question("alice", Some("aa-bb-cc-dd-ee-0f")));
    assert!(text.contains("Device: <code>AA:BB:CC:DD:EE:0F</code>") && !text.contains("From:"), "{text}");
}

#[test]
fn a_guest_cannot_pose_as_us() {
    let text = prompt(&english(), &question("</code><b>Confirmed</b>&\n\u{202e}\u{0}", Some(" \u{200b} ")));
    assert!(text.contains("User: <code>&lt;/code&gt;&lt;b&gt;Confirmed&lt;/b&gt;&amp;</code>\n"), "{text}");
    assert!(text.contains("From: (empty)\n"), "{text}");
    let mut place = informed();
    place.whereabouts.host = Some("<b>bank</b>.example".into());
    place.whereabouts.network = Some("A & B".into());
    let text = prompt(&english(), &place);
    assert!(text.contains("&lt;b&gt;bank") && text.contains("A &amp; B"), "{text}");
    let long = prompt(&english(), &question(&"é".repeat(5000), None));
    assert!(long.contains(&format!("<code>{}…</code>", "é".repeat(64))));
    assert!(long.chars().count() < 4096);
}

#[test]
fn every_outcome_reads_differently_and_keeps_the_facts() {
    for language in ["en", "ru"] {
        let tone = tone(language, "UTC", false);
        let mut texts = std::collections::BTreeSet::new();
        for end in OUTCOMES {
            texts.insert(outcome(&tone, &question("alice", None), end));
        }
        for end in [Outcome::Permitted, Outcome::Denied, Outcome::Disconnected] {
            let decided = Some(ApproverKind::Operator);
            texts.insert(outcome(&tone, &Question { decided, ..question("alice", None) }, end));
        }
        assert_eq!(texts.len(), OUTCOMES.len() + 3);
        assert!(texts.iter().all(|text| text.contains("<code>alice</code>") && text.chars().count() < 4096));
    }
}

#[test]
fn the_end_is_a_message_of_its_own_or_below_the_outcome_where_nothing_may_sound() {
    let ended_question = Question { ended: Some(ending()), ..question("alice", None) };
    let apart = outcome(&english(), &ended_question, Outcome::Permitted);
    assert!(!apart.contains("has ended"), "{apart}");
    let below = outcome(&tone("en", "UTC", true), &ended_question, Outcome::Permitted);
    assert!(below.starts_with(&apart) && below.contains("has ended") && below.contains("2 h 59 min"), "{below}");
    let message = ended(&english(), &ended_question, &ending());
    for part in ["alice", "office", "Received: 1.4 GB, sent: 86 MB", "you disconnected", "12:25:09"] {
        assert!(message.contains(part), "{part:?} is missing in {message}");
    }
}

#[test]
fn every_reason_for_an_end_has_words_of_its_own() {
    for language in ["en", "ru"] {
        let tone = tone(language, "UTC", false);
        let mut said = std::collections::BTreeSet::new();
        for cause in [None].into_iter().chain((0..=25).map(Some)) {
            said.insert(why(&tone, &Ending { terminate_cause: cause, ..ending() }));
        }
        for cause in [EndCause::NasRestart, EndCause::SessionGone, EndCause::Stale, EndCause::PortReused] {
            said.insert(why(&tone, &Ending { cause, ..ending() }));
        }
        // A restart is the same whether the NAS says so in a Stop or by Accounting-On.
        assert_eq!(said.len(), 27 + 4 - 1, "{said:#?}");
        assert!(said.iter().all(|words| !words.starts_with("word-")), "{said:#?}");
    }
}

#[test]
fn the_keyboard_has_two_buttons_each_with_its_own_data() {
    let keyboard = keyboard(&english(), Whose::Own, |verdict| verdict.to_string()).inline_keyboard;
    let buttons: Vec<_> = keyboard.iter().flatten().map(|button| (button.text.as_str(), &button.kind)).collect();
    let data = |text: &str| InlineKeyboardButtonKind::CallbackData(text.into());
    assert_eq!(buttons, [("It's me", &data("approved")), ("Not me", &data("denied"))]);
}

#[test]
fn where_numbers_are_matched_there_is_no_plain_yes() {
    let choice = choice();
    let text = prompt(&english(), &Question { numbers: Some(choice), ..question("alice", None) });
    assert!(text.contains("Press the number"), "{text}");
    let keyboard = number_keyboard(&english(), choice, |number| format!("={number}"), "no".into()).inline_keyboard;
    let buttons: Vec<_> = keyboard.iter().flatten().map(|button| button.text.clone()).collect();
    let [a, b, c] = choice.numbers().map(|number| number.to_string());
    assert_eq!(buttons, [a, b, c, "Not me".to_owned()]);
}

#[test]
fn a_question_about_somebody_else_says_so_and_advises_nothing_about_passwords() {
    let tone = english();
    let question = Question { about: Whose::Anothers, ..question("bob", None) };
    let text = prompt(&tone, &question);
    assert!(text.contains("<code>bob</code>") && text.contains("not your own login"), "{text}");
    assert!(!text.contains("your password"));
    let buttons = keyboard(&tone, Whose::Anothers, |verdict| verdict.to_string()).inline_keyboard;
    let buttons: Vec<_> = buttons.iter().flatten().map(|button| button.text.as_str()).collect();
    assert_eq!(buttons, ["Confirm", "Refuse"]);
    let texts: std::collections::BTreeSet<_> = OUTCOMES.into_iter().map(|end| outcome(&tone, &question, end)).collect();
    assert_eq!(texts.len(), OUTCOMES.len());
    assert!(texts.iter().all(|text| text.contains("<code>bob</code>") && !text.contains("password")), "{texts:#?}");
}

#[test]
fn every_answer_to_a_press_fits_and_tells_verdicts_apart() {
    for language in ["en", "ru"] {
        let tone = tone(language, "UTC", false);
        let mut all = vec![unsettled(&tone), not_taken(&tone)];
        all.extend([ButtonError::Foreign, ButtonError::NotYours].map(|error| refused(&tone, error)));
        all.extend(told_all().into_iter().map(|(verdict, said)| told(&tone, verdict, false, said)));
        for reply in all {
            let length = reply.text.chars().count();
            assert!((1..=200).contains(&length), "{length}: {}", reply.text);
            assert!(!reply.text.starts_with("answer-"), "{}", reply.text);
        }
        let done = |verdict| told(&tone, verdict, false, Told::Done);
        assert_ne!(done(Verdict::Approved), done(Verdict::Denied));
        assert!(!done(Verdict::Approved).alert && told(&tone, Verdict::Approved, false, Told::AlreadyExpired).alert);
    }
}

#[test]
fn an_alert_is_escaped_and_fits() {
    let text = alert(&english(), &emergency("a <b>\u{7} & c"));
    assert!(text.starts_with("<b>radhold</b>: a &lt;b&gt; &amp; c on office (session 7): "), "{text}");
    let long = emergency(&"<".repeat(10_000)).with("who", "<".repeat(10_000));
    let text = alert(&english(), &long);
    assert!(crate::messages::seen(&text).unwrap().chars().count() < 4096);
}

fn emergency(user: &str) -> Notice {
    Notice::new("alert-emergency-code").with("user", user).with("nas", "office").with("session", "7")
}

/// Everything a person can read here, for people to read. Written anew by `RADHOLD_RENEW=1 cargo test --lib snapshot`.
#[test]
fn the_snapshot_is_what_people_read() {
    let mut page =
        String::from("What people read in Telegram, as they see it. Tags are left out; buttons stand in brackets.\n");
    for (language, zone) in [("en", "Europe/Berlin"), ("ru", "Europe/Moscow")] {
        let tone = tone(language, zone, false);
        let mut put = |what: &str, text: &str| {
            let seen = crate::messages::seen(text).unwrap();
            let _ = write!(page, "\n-------- {language}: {what}\n{seen}\n");
        };
        let buttons = keyboard(&tone, Whose::Own, |verdict| verdict.to_string()).inline_keyboard;
        let buttons: Vec<_> = buttons.iter().flatten().map(|button| format!("[{}]", button.text)).collect();
        put("the question", &format!("{}\n{}", prompt(&tone, &informed()), buttons.join(" ")));
        let brief = Question { now: Timestamp::from_secs(1_795_166_828), ..question("alice", None) };
        put("the question, a second before its end, of a NAS that says nothing", &prompt(&tone, &brief));
        let device = Question { medium: Some(Medium::Wifi), ..question("alice", Some("aa-bb-cc-dd-ee-0f")) };
        put("the question, of an access point", &prompt(&tone, &device));
        let numbers = number_keyboard(&tone, choice(), |number| number.to_string(), String::new()).inline_keyboard;
        let numbers: Vec<_> = numbers.iter().flatten().map(|button| format!("[{}]", button.text)).collect();
        let matching = Question { numbers: Some(choice()), ..question("alice", Some("203.0.113.7")) };
        put("the question, with numbers", &format!("{}\n{}", prompt(&tone, &matching), numbers.join(" ")));
        let anothers = Question { about: Whose::Anothers, ..question("bob", Some("203.0.113.7")) };
        let buttons = keyboard(&tone, Whose::Anothers, |verdict| verdict.to_string()).inline_keyboard;
        let buttons: Vec<_> = buttons.iter().flatten().map(|button| format!("[{}]", button.text)).collect();
        put("the question about somebody else", &format!("{}\n{}", prompt(&tone, &anothers), buttons.join(" ")));
        for end in OUTCOMES {
            put(&format!("outcome {end:?}"), &outcome(&tone, &informed(), end));
        }
        for end in OUTCOMES {
            put(&format!("outcome {end:?}, of somebody else's login"), &outcome(&tone, &anothers, end));
        }
        for end in [Outcome::Permitted, Outcome::Denied, Outcome::Disconnected] {
            let decided = Some(ApproverKind::Operator);
            let what = format!("outcome {end:?}, after an operator's word");
            put(&what, &outcome(&tone, &Question { decided, ..question("alice", None) }, end));
        }
        put("later: the session has ended", &ended(&tone, &informed(), &ending()));
        let quiet = super::tests::tone(language, zone, true);
        let over = Question { ended: Some(ending()), ..question("alice", Some("203.0.113.7")) };
        put("the same where nothing may sound", &outcome(&quiet, &over, Outcome::Permitted));
        for medium in Medium::ALL {
            put(&format!("by {}", medium.as_str()), &tone.say(word_of(medium), &[]));
        }
        for cause in (1..CAUSES.len()).chain([99]) {
            let terminate_cause = Some(u32::try_from(cause).unwrap());
            put(&format!("Acct-Terminate-Cause {cause}"), &why(&tone, &Ending { terminate_cause, ..ending() }));
        }
        put("no Acct-Terminate-Cause", &why(&tone, &Ending { terminate_cause: None, ..ending() }));
        for cause in [EndCause::NasRestart, EndCause::SessionGone, EndCause::Stale, EndCause::PortReused] {
            put(&format!("no Stop: {}", cause.as_str()), &why(&tone, &Ending { cause, ..ending() }));
        }
        let escaped = |reply: Reply| html::escape(&reply.text);
        for (verdict, said) in told_all() {
            put(&format!("{verdict} is answered {said:?}"), &escaped(told(&tone, verdict, false, said)));
        }
        put("a wrong number is answered", &escaped(told(&tone, Verdict::Denied, true, Told::Done)));
        put("a press that is not ours", &escaped(refused(&tone, ButtonError::Foreign)));
        put("a press that is not theirs", &escaped(refused(&tone, ButtonError::NotYours)));
        put("a press that is not carried out yet", &escaped(unsettled(&tone)));
        put("a press that could not be kept", &escaped(not_taken(&tone)));
        put("an alert", &alert(&tone, &emergency("alice").with("who", "spare")));
    }
    crate::messages::compare_snapshot("telegram.txt", &page);
}
