//! Numbers and superseded logins: rows that matter, then any events in any order.

use proptest::prelude::*;

use super::*;
use crate::policy::{Prompt, PromptFate, StrikeReason, Terms};

const ID: SessionId = SessionId(Uuid::from_u128(1));
const PLACE: Place<'_> = Place { approver: ApproverKind::Telegram, chat: "7", presser: "7" };

fn key() -> ButtonKey {
    ButtonKey::new(&Secret::new("cluster"))
}

fn numbered(trust_for: Duration) -> Session {
    let guards = Guards { number_matching: true, trust_for, ..Guards::default() };
    let mut grant = grant(SecondFactor::Required);
    if let Terms::Hold(terms) = &mut grant.terms {
        terms.guards = guards;
    }
    let identity = Identity { calling_station_id: Some("203.0.113.7".into()), ..Identity::default() };
    Session::offer(ID, "alice".into(), "edge".into(), "192.0.2.1".parse().unwrap(), identity, grant, at(0))
}

fn life(session: Session) -> Life {
    let mut life = Life { session, effects: vec![], timing: Timing::default() };
    life.event(0, &Event::Accepted);
    life
}

fn asked(session: Session) -> Life {
    let mut life = life(session);
    life.event(1, &Event::Started(report(1)));
    life.event(2, &Event::PromptSent { approver: ApproverKind::Telegram, reference: "7:1".into() });
    life.effects.clear();
    life
}

/// A press of the right number, or of the first wrong one.
fn choose(right: bool) -> Event {
    let shown = key().choice(ID).numbers();
    let number = shown.into_iter().find(|number| (*number == key().number(ID)) == right).unwrap();
    let press = key().redeem(&key().seal_number(ID, number, PLACE), PLACE).unwrap();
    answer(press, Voices::of_own(&[binding("alice", "7")], []))
}

fn told(outcome: Outcome) -> Effect {
    Effect::TellApprover { approver: ApproverKind::Telegram, reference: "7:1".into(), outcome }
}

#[test]
fn the_right_number_lifts_and_a_wrong_one_denies_and_says_so() {
    let mut life = asked(numbered(Duration::ZERO));
    assert_eq!(life.event(5, &choose(true)), Told::Done);
    assert_eq!(life.orders(), [Effect::SendCoa { attempt: 1 }]);

    let mut life = asked(numbered(Duration::ZERO));
    assert_eq!(life.event(5, &choose(false)), Told::Done);
    assert_eq!(life.session.state, State::Evicting);
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }, told(Outcome::WrongNumber)]);
    assert_eq!(life.session.strike(at(5)).unwrap().why, StrikeReason::WrongNumber);
    assert_eq!(life.event(6, &choose(true)), Told::AlreadyDecided(Verdict::Denied), "there is one try");
}

#[test]
fn a_wrong_number_before_the_start_ends_the_session_in_the_same_words() {
    let mut life = life(numbered(Duration::ZERO));
    life.event(1, &Event::PromptSent { approver: ApproverKind::Telegram, reference: "7:1".into() });
    life.orders();
    life.event(2, &choose(false));
    assert_eq!(life.orders(), [told(Outcome::WrongNumber)]);
    life.event(3, &Event::Started(report(3)));
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }]);
    assert_eq!(life.session.outcome, Some(Outcome::WrongNumber));
}

#[test]
fn a_plain_yes_does_not_stand_for_a_number_but_an_operators_does_and_a_no_is_a_no() {
    let mut life = asked(numbered(Duration::ZERO));
    assert_eq!(life.event(5, &press(Verdict::Approved)), Told::Nothing);
    assert_eq!(life.session.state, State::Held);
    assert_eq!(life.event(6, &Event::Approved(Approval::by_operator("root"))), Told::Done);
    let mut life = asked(numbered(Duration::ZERO));
    life.event(5, &press(Verdict::Denied));
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }, told(Outcome::Denied)]);
}

#[test]
fn a_superseded_login_asks_nobody_hears_nobody_and_ends_at_its_deadline() {
    let mut life = asked(offer(SecondFactor::Required));
    life.event(10, &Event::Superseded);
    assert_eq!(life.orders(), [told(Outcome::Superseded)]);
    assert_eq!(life.session.state, State::Held, "a Disconnect-Request might hit the newer one");
    assert_eq!(life.session.strike(at(10)).unwrap().why, StrikeReason::GaveUp, "no way around strikes");
    assert_eq!(life.event(11, &press(Verdict::Approved)), Told::AlreadySuperseded);
    assert_eq!(life.event(12, &Event::Approved(Approval::by_operator("root"))), Told::AlreadySuperseded);
    life.event(
        13,
        &Event::PromptUndeliverable { approver: ApproverKind::Telegram, reason: "blocked".into(), strays: None },
    );
    assert_eq!(life.orders(), []);
    life.event(120, &Event::TimerPassed);
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }]);
    assert_eq!(life.session.outcome, Some(Outcome::Superseded));
    assert_eq!(life.event(121, &press(Verdict::Approved)), Told::AlreadySuperseded);

    let mut unasked = life_of_an_offer();
    unasked.event(1, &Event::Superseded);
    assert!(!unasked.session.wants(&Effect::AskApprover { approver: ApproverKind::Telegram }), "not asked any more");
    let mut decided = asked(offer(SecondFactor::Required));
    decided.event(5, &press(Verdict::Approved));
    let before = decided.session.clone();
    decided.event(6, &Event::Superseded);
    assert_eq!(decided.session, before, "it is answered");
}

fn life_of_an_offer() -> Life {
    life(offer(SecondFactor::Required))
}

#[test]
fn a_prompt_is_kept_when_it_begins_and_when_it_ends() {
    let fate = |prompt: Option<Prompt>| prompt.and_then(|prompt| prompt.end).map(|end| end.fate);
    let mut life = life(numbered(Duration::ZERO));
    let prompt = life.session.prompt_news(true, at(0)).unwrap();
    assert_eq!((prompt.caller.as_str(), prompt.deadline, prompt.end), ("203.0.113.7", at(120), None));
    life.event(1, &Event::Started(report(1)));
    assert_eq!(life.session.prompt_news(false, at(1)), None, "it waits");
    life.event(5, &choose(true));
    assert_eq!(fate(life.session.prompt_news(false, at(5))), Some(PromptFate::Confirmed));
    life.event(6, &Event::CoaAcked { attempt: 1 });
    assert_eq!(life.session.prompt_news(false, at(6)), None, "that is kept already");
    let mut left = asked(numbered(Duration::ZERO));
    left.event(9, &Event::Stopped(report(9)));
    assert_eq!(fate(left.session.prompt_news(false, at(9))), Some(PromptFate::Over));
    let mut kicked = asked(numbered(Duration::ZERO));
    kicked.event(9, &Event::Kicked(Denial::by_operator("root")));
    assert_eq!(fate(kicked.session.prompt_news(false, at(9))), Some(PromptFate::Over), "nobody said \"not me\"");
    assert_eq!(kicked.session.denied_at(), None);
    assert_eq!(offer(SecondFactor::None).prompt(at(0)), None);
}

#[test]
fn trust_comes_of_a_lifted_session_that_its_owner_confirmed_from_somewhere() {
    let lifted = |session: Session, approval: &Event| {
        let mut life = asked(session);
        life.event(5, approval);
        life.event(6, &Event::CoaAcked { attempt: 1 });
        assert_eq!(life.session.state, State::Permitted);
        life.session
    };
    let hour = Duration::from_secs(3600);
    let trust = lifted(numbered(hour), &choose(true)).trust().unwrap();
    assert_eq!(
        (trust.place.to_string(), trust.since, trust.until),
        ("address 203.0.113.7".into(), at(5), at(5) + hour)
    );
    assert_eq!(trust.who, "7");
    assert_eq!(lifted(numbered(Duration::ZERO), &choose(true)).trust(), None, "it is off");
    let by_operator = Event::Approved(Approval::by_operator("root"));
    assert_eq!(lifted(numbered(hour), &by_operator).trust(), None, "an operator speaks for once");
    let mut nowhere = numbered(hour).into_record();
    nowhere.identity.calling_station_id = None;
    assert_eq!(lifted(Session::restore(nowhere), &choose(true)).trust(), None, "the NAS does not say who calls");
    let mut waiting = asked(numbered(hour));
    waiting.event(5, &choose(true));
    assert_eq!(waiting.session.trust(), None, "not lifted yet");
    let mut denied = asked(numbered(hour));
    denied.event(5, &choose(false));
    assert_eq!((denied.session.trust(), denied.session.denied_at()), (None, Some(at(5))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever else happens, only the right number leads out.
    #[test]
    fn a_wrong_number_never_permits(
        id in any::<u128>(),
        events in prop::collection::vec((0_u8..10, 0_u64..25), 1..40),
    ) {
        let session = SessionId(Uuid::from_u128(id));
        let shown = key().choice(session).numbers();
        let mut record = numbered(Duration::ZERO).into_record();
        record.id = session;
        let timing = Timing::default();
        let mut life = Session::restore(record);
        let mut now = 0;
        let (mut right, mut wrong) = (false, false);
        for (what, later) in events {
            now += later;
            let event = match what {
                0 => Event::Accepted,
                1 => Event::Started(report(now)),
                2 => Event::CoaAcked { attempt: life.attempt },
                3 => Event::CoaUnanswered { attempt: life.attempt },
                4 => Event::TimerPassed,
                5 => Event::Superseded,
                6 => press(Verdict::Approved),
                nth => {
                    let number = shown[usize::from(nth) - 7];
                    let pressed = key().redeem(&key().seal_number(session, number, PLACE), PLACE).unwrap();
                    answer(pressed, Voices::of_own(&[binding("alice", "7")], []))
                }
            };
            let turn = step(&life, &event, at(now), &timing);
            if turn.told == Told::Done {
                match &event {
                    Event::Approved(approval) => right |= approval.is_by_number(),
                    Event::Denied(denial) => wrong |= denial.is_wrong_number(),
                    _ => (),
                }
            }
            life = turn.session;
            prop_assert!(!(right && wrong), "one choice counts");
            if life.state == State::Permitted {
                prop_assert!(right && !wrong);
            }
            if turn.effects.iter().any(|effect| matches!(effect, Effect::SendCoa { .. })) {
                prop_assert!(right);
            }
        }
    }
}
