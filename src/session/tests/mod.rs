//! Tests of the hold: each row that matters by itself, then random lives beside a simpler model.

mod accounting;
mod chain;
mod guards;
mod lives;
mod world;

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::accounting::Report;
use crate::auth::totp;
use crate::model::Nas;
use crate::model::{
    ApproverKind, Binding, Counters, Identity, SecondFactor, Secret, SessionId, Timestamp, User, UserName,
};
use crate::policy::{self, Defaults, Grant, Guards, HoldTerms};

const WINDOW: Duration = Duration::from_secs(120);

pub(super) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_795_000_000) + Duration::from_secs(secs)
}

pub(super) fn grant(second_factor: SecondFactor) -> Grant {
    let user = User { second_factor, ..User::new("alice", Secret::new(""), at(0)) };
    let nas = Nas::new("edge", "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("x"));
    let defaults = Defaults {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        hold: HoldTerms::new(WINDOW, Duration::from_secs(30), [ApproverKind::Telegram, ApproverKind::Operator]),
    };
    policy::decide(&user, &[], &nas, &defaults).unwrap()
}

pub(super) fn offer(second_factor: SecondFactor) -> Session {
    Session::offer(
        SessionId(Uuid::from_u128(1)),
        "alice".into(),
        "edge".into(),
        "192.0.2.1".parse().unwrap(),
        Identity::default(),
        grant(second_factor),
        at(0),
    )
}

pub(super) fn press(verdict: Verdict) -> Event {
    let key = ButtonKey::new(&Secret::new("cluster"));
    let place = Place { approver: ApproverKind::Telegram, chat: "7", presser: "7" };
    let data = key.seal(SessionId(Uuid::from_u128(1)), verdict, place);
    answer(key.redeem(&data, place).unwrap(), Voices::of_own(&[binding("alice", "7")], []))
}

pub(super) fn binding(user: &str, presser: &str) -> Binding {
    Binding {
        user: user.into(),
        approver: ApproverKind::Telegram,
        address: presser.to_owned(),
        presser: presser.to_owned(),
        bound_at: at(0),
    }
}

fn answer(press: Press, voices: Voices) -> Event {
    match press.into_proof(voices).unwrap() {
        Proof::Yes(approval) => Event::Approved(approval),
        Proof::No(denial) => Event::Denied(denial),
    }
}

pub(super) fn report(secs: u64) -> Report {
    Report { at: at(secs), ..Report::default() }
}

/// A session and all it has ordered so far.
struct Life {
    session: Session,
    effects: Vec<Effect>,
    timing: Timing,
}

impl Life {
    fn new(second_factor: SecondFactor) -> Self {
        let mut life = Self { session: offer(second_factor), effects: vec![], timing: Timing::default() };
        life.event(0, &Event::Accepted);
        life
    }

    fn held() -> Self {
        let mut life = Self::new(SecondFactor::Required);
        life.event(1, &Event::Started(report(1)));
        assert_eq!(life.session.state, State::Held);
        life.effects.clear();
        life
    }

    fn event(&mut self, secs: u64, event: &Event) -> Told {
        let step = step(&self.session, event, at(secs), &self.timing);
        self.session = step.session;
        self.effects.extend(step.effects);
        step.told
    }

    fn orders(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

#[test]
fn an_offer_asks_the_first_approver_and_only_once() {
    let mut life = Life::new(SecondFactor::Required);
    assert_eq!(life.orders(), [Effect::AskApprover { approver: ApproverKind::Telegram }]);
    assert_eq!(life.session.deadline, Some(at(120)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(60)));
}

#[test]
fn approve_then_ack_lifts_and_tells_the_prompt() {
    let mut life = Life::held();
    let reference = "7:1".to_owned();
    life.event(2, &Event::PromptSent { approver: ApproverKind::Telegram, reference: reference.clone() });
    assert_eq!(life.event(5, &press(Verdict::Approved)), Told::Done);
    assert_eq!(life.orders(), [Effect::SendCoa { attempt: 1 }]);
    assert_eq!(life.session.state, State::Permitting);
    life.event(6, &Event::CoaAcked { attempt: 1 });
    assert_eq!(life.session.state, State::Permitted);
    let approver = ApproverKind::Telegram;
    assert_eq!(life.orders(), [Effect::TellApprover { approver, reference, outcome: Outcome::Permitted }]);
    assert_eq!(life.session.wake_at(&life.timing), None);
}

#[test]
fn an_approval_before_start_is_executed_at_start() {
    let mut life = Life::new(SecondFactor::Required);
    assert_eq!(life.event(1, &press(Verdict::Approved)), Told::Done);
    assert_eq!(life.session.state, State::Offered);
    life.orders();
    life.event(2, &Event::Started(report(2)));
    assert_eq!(life.orders(), [Effect::SendCoa { attempt: 1 }]);
}

/// A code of alice's that is right, and was not used before.
fn code(emergency: bool) -> totp::Accepted {
    let user = UserName::from("alice");
    let key = totp::TotpKey::new(totp::Algorithm::Sha1, [1; totp::SECRET]);
    match totp::Code::read(&if emergency { "0".repeat(12) } else { key.code(totp::step_at(at(0))) }) {
        Some(totp::Code::Totp(code)) => key.matching(&code, at(0), 1).unwrap().unless_used(true, &user).unwrap(),
        Some(totp::Code::Emergency(code)) => code.used(Some("e1".into()), &user).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_code_at_login_asks_nobody_and_is_permitted_at_start_without_coa() {
    for emergency in [false, true] {
        let code = code(emergency);
        let approval = Approval::by_totp(&code, Voices::default());
        let mut record = offer(SecondFactor::Required).into_record();
        record.grant = record.grant.map(|grant| grant.proven(&code));
        record.deadline = None;
        let session = Session::restore(record).approved_at_login(&approval);
        let mut life = Life { session, effects: vec![], timing: Timing::default() };
        life.event(0, &Event::Accepted);
        let alert = Alert::EmergencyCode { who: "alice, by emergency code e1".into() };
        let told: &[Effect] = if emergency { &[Effect::AlertOperator { alert }] } else { &[] };
        assert_eq!(life.orders(), told, "the operator hears of an emergency, and nobody is asked");
        life.event(1, &Event::Started(report(1)));
        assert_eq!((life.session.state, life.orders()), (State::Permitted, vec![]));
        let by = &life.session.decision.as_ref().unwrap().by;
        assert_eq!(by.approver, if emergency { ApproverKind::Emergency } else { ApproverKind::Totp });
    }
}

#[test]
fn an_approval_on_record_is_no_waiver_where_the_grant_holds() {
    let session = offer(SecondFactor::Required).approved_at_login(&Approval::by_totp(&code(false), Voices::default()));
    let mut life = Life { session, effects: vec![], timing: Timing::default() };
    life.event(0, &Event::Accepted);
    life.event(1, &Event::Started(report(1)));
    assert_eq!(life.session.state, State::Permitting, "its Access-Accept carried the sandbox: a CoA-Request lifts it");
}

#[test]
fn a_denial_before_start_ends_the_session_at_start() {
    let mut life = Life::new(SecondFactor::Required);
    life.event(1, &press(Verdict::Denied));
    life.orders();
    life.event(2, &Event::Started(report(2)));
    assert_eq!(life.session.state, State::Evicting);
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }]);
}

#[test]
fn nobody_answers_and_the_deadline_evicts() {
    let mut life = Life::held();
    assert_eq!(life.session.wake_at(&life.timing), Some(at(120)));
    life.event(119, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Held, "a timer that comes early changes nothing");
    life.event(120, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Evicting);
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 1 }]);
    assert_eq!(life.event(121, &press(Verdict::Approved)), Told::AlreadyExpired);
}

#[test]
fn a_press_at_the_deadline_is_too_late_even_before_the_timer() {
    let mut life = Life::held();
    assert_eq!(life.event(120, &press(Verdict::Approved)), Told::AlreadyExpired);
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn the_second_press_learns_of_the_first() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Denied));
    assert_eq!(life.event(3, &press(Verdict::Approved)), Told::AlreadyDecided(Verdict::Denied));
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn a_nak_that_says_gone_closes() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    life.event(3, &Event::CoaNaked { attempt: 1, error_cause: Some(503) });
    assert_eq!(life.session.state, State::Closed);
    assert_eq!(life.session.end.unwrap().cause, EndCause::SessionGone);
}

#[test]
fn a_nak_for_more_identifiers_gets_them_once() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    life.orders();
    life.event(3, &Event::CoaNaked { attempt: 1, error_cause: Some(508) });
    assert!(life.session.identify_fully);
    assert_eq!(life.orders(), [Effect::SendCoa { attempt: 2 }]);
    life.event(4, &Event::CoaNaked { attempt: 2, error_cause: Some(508) });
    assert_eq!(life.session.state, State::Held);
    assert_eq!(life.orders(), [Effect::AlertOperator { alert: Alert::CoaRefused { error_cause: Some(508) } }]);
}

#[test]
fn an_unanswered_coa_is_tried_again_until_the_deadline_then_the_session_ends() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    let mut now = 3;
    let mut tries = 1;
    while life.session.state == State::Permitting {
        life.event(now, &Event::CoaUnanswered { attempt: life.session.attempt });
        assert_eq!(life.session.state, State::Held);
        let wake = life.session.wake_at(&life.timing).unwrap();
        now = u64::try_from(wake.as_secs() - at(0).as_secs()).unwrap();
        life.event(now, &Event::TimerPassed);
        tries += 1;
    }
    assert_eq!((life.session.state, now), (State::Evicting, 120));
    assert!((6..=9).contains(&tries), "{tries} tries with a doubling backoff");
    assert_eq!(life.session.outcome, Some(Outcome::NotLifted));
}

#[test]
fn a_wrong_template_alerts_and_waits_for_the_deadline() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    life.orders();
    life.event(3, &Event::CoaNaked { attempt: 1, error_cause: Some(401) });
    assert_eq!(life.orders(), [Effect::AlertOperator { alert: Alert::CoaRefused { error_cause: Some(401) } }]);
    assert_eq!(life.session.wake_at(&life.timing), Some(at(120)));
}

#[test]
fn a_disconnect_ack_is_believed_at_stop() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Denied));
    life.orders();
    life.event(3, &Event::DisconnectAcked { attempt: 1 });
    assert_eq!(life.session.state, State::Evicting, "an ACK is not proof");
    life.event(13, &Event::TimerPassed);
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 2 }], "no Stop: insist");
    life.event(14, &Event::Stopped(Report { terminate_cause: Some(6), ..report(14) }));
    assert_eq!(life.session.end, Some(End { at: at(14), cause: EndCause::Stop, terminate_cause: Some(6) }));
}

#[test]
fn a_disconnect_ack_and_silence_close_at_the_stale_limit() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Denied));
    let mut now = at(3);
    for _ in 0..200 {
        let attempt = life.session.attempt;
        life.session = step(&life.session, &Event::DisconnectAcked { attempt }, now, &life.timing).session;
        now = life.session.wake_at(&life.timing).unwrap();
        life.session = step(&life.session, &Event::TimerPassed, now, &life.timing).session;
        if life.session.state == State::Closed {
            break;
        }
    }
    assert_eq!(life.session.end.map(|end| end.cause), Some(EndCause::Stale));
    assert!(now >= at(2) + life.timing.stale_after, "{now}");
}

#[test]
fn an_interim_after_a_disconnect_ack_is_answered_with_another_disconnect() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Denied));
    life.event(3, &Event::DisconnectAcked { attempt: 1 });
    life.orders();
    life.event(4, &Event::Interim(report(4)));
    assert_eq!(life.orders(), [Effect::SendDisconnect { attempt: 2 }]);
}

#[test]
fn a_nas_that_acks_and_does_nothing_is_asked_again_and_reported() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    life.event(3, &Event::CoaAcked { attempt: 1 });
    life.orders();
    life.event(60, &Event::Interim(Report { filter_id: Some("permit".into()), ..report(60) }));
    assert_eq!(life.orders(), []);
    life.event(120, &Event::Interim(Report { filter_id: Some("sandbox".into()), ..report(120) }));
    assert_eq!(
        life.orders(),
        [Effect::AlertOperator { alert: Alert::AckWithoutEffect }, Effect::SendCoa { attempt: 2 }]
    );
    assert_eq!(life.session.state, State::Permitting);
}

#[test]
fn an_undeliverable_prompt_goes_to_the_next_approver_then_evicts_and_alerts() {
    let mut life = Life::held();
    let lost = |approver| Event::PromptUndeliverable { approver, reason: "blocked".into(), strays: None };
    life.event(2, &lost(ApproverKind::Telegram));
    assert_eq!(life.orders(), [Effect::AskApprover { approver: ApproverKind::Operator }]);
    assert_eq!(life.session.state, State::Held);
    life.event(3, &lost(ApproverKind::Operator));
    assert_eq!(life.session.state, State::Evicting);
    assert!(
        life.orders()
            .contains(&Effect::AlertOperator { alert: Alert::Undeliverable { reason: "blocked".into(), held: false } })
    );
}

#[test]
fn a_prompt_delivered_after_the_decision_is_told_at_once() {
    let mut life = Life::held();
    let denial = Denial::by_operator("root");
    life.event(2, &Event::Denied(denial));
    life.orders();
    let approver = ApproverKind::Telegram;
    life.event(3, &Event::PromptSent { approver, reference: "7:1".into() });
    let reference = "7:1".to_owned();
    assert_eq!(life.orders(), [Effect::TellApprover { approver, reference, outcome: Outcome::Denied }]);
}

#[test]
fn an_offer_without_start_is_dropped_and_a_late_start_is_held_again() {
    let mut life = Life::new(SecondFactor::Required);
    life.event(60, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Dropped);
    life.event(70, &Event::Started(report(70)));
    assert_eq!(life.session.state, State::Held);
    assert_eq!(life.session.end, None);
}

#[test]
fn a_start_after_the_deadline_is_evicted() {
    let mut life = Life::new(SecondFactor::Required);
    life.event(60, &Event::TimerPassed);
    life.event(121, &Event::Started(report(121)));
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn a_waived_session_is_permitted_at_start_and_asks_nobody() {
    let mut life = Life::new(SecondFactor::None);
    assert_eq!(life.orders(), []);
    life.event(1, &Event::Started(report(1)));
    assert_eq!(life.session.state, State::Permitted);
    assert_eq!(life.event(2, &press(Verdict::Approved)), Told::NotHeld);
}

#[test]
fn a_kick_before_start_ends_even_a_session_that_needs_no_yes() {
    let mut life = Life::new(SecondFactor::None);
    assert_eq!(life.event(1, &Event::Kicked(Denial::by_operator("root"))), Told::Done);
    life.event(2, &Event::Started(report(2)));
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn a_permitted_session_whose_stop_is_lost_closes_and_comes_back_when_heard_of() {
    let mut life = Life::new(SecondFactor::None);
    life.event(1, &Event::Started(report(1)));
    assert_eq!(life.session.wake_at(&life.timing), None, "a NAS without Interim-Updates is silent by nature");
    life.event(61, &Event::Interim(report(61)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(661)));
    life.event(660, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Permitted);
    life.event(661, &Event::TimerPassed);
    assert_eq!(life.session.end, Some(End { at: at(61), cause: EndCause::Stale, terminate_cause: None }));
    life.event(700, &Event::Interim(report(700)));
    assert_eq!(life.session.state, State::Permitted);
}

#[test]
fn a_late_start_asks_anew_and_keeps_a_late_no() {
    let mut life = Life::new(SecondFactor::Required);
    life.event(60, &Event::TimerPassed);
    life.orders();
    life.event(70, &Event::Started(report(70)));
    assert_eq!(life.orders(), [Effect::AskApprover { approver: ApproverKind::Telegram }]);

    let mut life = Life::new(SecondFactor::Required);
    life.event(60, &Event::TimerPassed);
    assert_eq!(life.event(65, &press(Verdict::Denied)), Told::Done);
    life.event(70, &Event::Started(report(70)));
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn an_observed_session_cannot_be_approved() {
    let observed = Session::observe(
        SessionId(Uuid::from_u128(1)),
        "bob".into(),
        "edge".into(),
        "192.0.2.1".parse().unwrap(),
        Identity::default(),
        at(0),
    );
    let mut life = Life { session: observed, effects: vec![], timing: Timing::default() };
    life.event(0, &Event::Started(report(0)));
    assert_eq!(life.event(1, &press(Verdict::Approved)), Told::NotHeld);
    assert_eq!(life.session.state, State::Observed);
}

#[test]
fn a_nas_restart_closes_what_is_older_than_it() {
    let mut life = Life::held();
    life.event(5, &Event::NasRestarted { at: Timestamp::from_secs(0) });
    assert_eq!(life.session.state, State::Held);
    life.event(6, &Event::NasRestarted { at: at(6) });
    assert_eq!(life.session.end.unwrap().cause, EndCause::NasRestart);
}

#[test]
fn repeats_and_reorderings_of_accounting_change_nothing() {
    let mut life = Life::held();
    let counters = Counters { input_octets: 100, ..Counters::default() };
    life.event(60, &Event::Interim(Report { counters, ..report(60) }));
    let before = life.session.clone();
    let again = step(&before, &Event::Interim(Report { counters, ..report(60) }), at(61), &life.timing);
    assert!(!again.changes(&before));
    assert_eq!(again.usage, Counters::default());
    life.event(62, &Event::Stopped(report(62)));
    let closed = life.session.clone();
    assert!(!step(&closed, &Event::Started(report(1)), at(63), &life.timing).changes(&closed));
    assert!(!step(&closed, &Event::Interim(report(61)), at(63), &life.timing).changes(&closed));
}

#[test]
fn a_kick_ends_a_permitted_session() {
    let mut life = Life::held();
    life.event(2, &press(Verdict::Approved));
    life.event(3, &Event::CoaAcked { attempt: 1 });
    life.orders();
    assert_eq!(life.event(9, &Event::Kicked(Denial::by_operator("root"))), Told::Done);
    assert_eq!(life.session.state, State::Evicting);
    assert_eq!(life.orders()[0], Effect::SendDisconnect { attempt: 2 });
}

#[test]
fn the_end_of_an_open_session_is_told_and_that_of_a_hold_is_not() {
    let asked = |life: &mut Life| {
        life.event(2, &Event::PromptSent { approver: ApproverKind::Telegram, reference: "7:1".into() })
    };
    let told = Effect::TellEnd { approver: ApproverKind::Telegram, reference: "7:1".into() };

    let mut life = Life::held();
    asked(&mut life);
    life.event(3, &press(Verdict::Approved));
    life.event(4, &Event::CoaAcked { attempt: 1 });
    life.orders();
    life.event(90, &Event::Stopped(report(90)));
    assert_eq!(life.orders(), std::slice::from_ref(&told));
    assert!(life.session.wants(&told));
    life.event(91, &Event::Stopped(report(91)));
    assert_eq!(life.orders(), [], "a repeated Stop is no second end");

    let mut life = Life::held();
    asked(&mut life);
    life.event(3, &press(Verdict::Denied));
    life.event(4, &Event::Stopped(report(4)));
    assert!(!life.orders().contains(&told));
    assert!(!life.session.wants(&told));
}

#[test]
fn every_pair_of_state_and_event_has_its_action() {
    for state in State::ALL {
        for kind in table::Kind::ALL {
            let action = table::action(state, kind);
            if !state.is_open() {
                assert!(
                    !matches!(action, table::Action::Lift | table::Action::Decide),
                    "{state} × {kind:?} must not revive a hold"
                );
            }
        }
    }
}
