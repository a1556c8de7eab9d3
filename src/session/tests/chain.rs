//! Who is asked after whom, and how many must agree: rows that matter, then any events in any order beside a model that only counts
//! whose yes was given, in time, by whom.

use proptest::prelude::*;

use super::*;
use crate::model::ApproverKind::{Operator, Person, Telegram, Webhook};
use crate::model::{ApproverStep, SecondPerson, UserName, WhenUnreachable};
use crate::policy::Terms;

const SECS: u64 = 1;

fn terms(steps: &str, when_unreachable: WhenUnreachable, second_person: Option<SecondPerson>) -> Grant {
    let approvers = ApproverStep::list(steps).unwrap();
    let hold = HoldTerms { approvers, when_unreachable, second_person, ..HoldTerms::new(WINDOW, WINDOW, []) };
    Grant { terms: Terms::Hold(hold), ..grant(SecondFactor::Required) }
}

fn boss_and_lead(needed: u32, own: bool) -> Option<SecondPerson> {
    Some(SecondPerson { approvers: vec!["boss".into(), "lead".into()], group: None, needed, own })
}

fn life(grant: Grant) -> Life {
    let session = Session::offer(
        SessionId(Uuid::from_u128(1)),
        "alice".into(),
        "edge".into(),
        "192.0.2.1".parse().unwrap(),
        Identity::default(),
        grant,
        at(0),
    );
    let mut life = Life { session, effects: vec![], timing: Timing::default() };
    life.event(0, &Event::Accepted);
    life
}

fn held(grant: Grant) -> Life {
    let mut life = life(grant);
    life.event(SECS, &Event::Started(report(SECS)));
    life
}

/// Those whose phones are bound: alice has 7, boss has 8, lead has 9; and who else is given.
fn voices(without: &[&str]) -> Voices {
    let bound = |all: &[(&str, &str)]| -> Vec<Binding> {
        all.iter().filter(|(_, phone)| !without.contains(phone)).map(|(user, phone)| binding(user, phone)).collect()
    };
    Voices::of_own(&bound(&[("alice", "7")]), []).with_others(&bound(&[("boss", "8"), ("lead", "9"), ("boss", "10")]))
}

fn press_of(phone: &str, verdict: Verdict) -> Press {
    let key = ButtonKey::new(&Secret::new("cluster"));
    let place = Place { approver: ApproverKind::Telegram, chat: phone, presser: phone };
    key.redeem(&key.seal(SessionId(Uuid::from_u128(1)), verdict, place), place).unwrap()
}

fn says(phone: &str, verdict: Verdict) -> Event {
    answer(press_of(phone, verdict), voices(&[]))
}

fn asked(life: &mut Life) -> Vec<ApproverKind> {
    let kind = |effect| if let Effect::AskApprover { approver } = effect { Some(approver) } else { None };
    life.orders().into_iter().filter_map(kind).collect()
}

fn lost(approver: ApproverKind) -> Event {
    Event::PromptUndeliverable { approver, reason: "blocked".into(), strays: None }
}

#[test]
fn whoever_does_not_answer_in_their_patience_is_joined_by_the_next() {
    let mut life = held(terms("telegram:30s,webhook:20s,operator", WhenUnreachable::End, None));
    assert_eq!(asked(&mut life), [Telegram]);
    assert_eq!(life.session.wake_at(&life.timing), Some(at(30)));
    life.event(29, &Event::TimerPassed);
    assert_eq!(asked(&mut life), []);
    life.event(30, &Event::TimerPassed);
    assert_eq!(asked(&mut life), [Webhook]);
    assert_eq!(life.session.wake_at(&life.timing), Some(at(50)));
    life.event(50, &Event::TimerPassed);
    assert_eq!(asked(&mut life), [Operator]);
    assert_eq!(life.session.wake_at(&life.timing), Some(at(120)), "nothing left but the deadline");
    // The first may still answer, and all who were asked hear of it.
    for (approver, reference) in [(Telegram, "7:1"), (Webhook, "w")] {
        life.event(51, &Event::PromptSent { approver, reference: reference.into() });
    }
    assert_eq!(life.event(60, &says("7", Verdict::Approved)), Told::Done);
    life.event(61, &Event::CoaAcked { attempt: 1 });
    let told = life.orders().into_iter().filter(|effect| matches!(effect, Effect::TellApprover { .. })).count();
    assert_eq!((life.session.state, told), (State::Permitted, 2));
}

#[test]
fn patience_runs_before_the_start_too() {
    let mut life = life(terms("telegram:30s,operator", WhenUnreachable::End, None));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(30)));
    life.event(30, &Event::TimerPassed);
    assert_eq!((life.session.state, asked(&mut life)), (State::Offered, vec![Telegram, Operator]));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(60)));
}

#[test]
fn whoever_cannot_be_reached_is_followed_at_once() {
    let mut life = held(terms("telegram:1m,webhook:1m,operator", WhenUnreachable::End, None));
    life.event(2, &lost(Telegram));
    assert_eq!(asked(&mut life), [Telegram, Webhook]);
    life.event(3, &lost(Telegram));
    assert_eq!(asked(&mut life), [], "said twice");
    life.event(63, &Event::TimerPassed);
    assert_eq!(asked(&mut life), [Operator], "two later");
}

#[test]
fn when_nobody_is_left_policy_says_what_follows() {
    for (policy, state) in [(WhenUnreachable::End, State::Evicting), (WhenUnreachable::Hold, State::Held)] {
        let mut life = held(terms("telegram,webhook", policy, None));
        life.event(2, &lost(Telegram));
        assert_eq!(life.session.state, State::Held);
        life.event(3, &lost(Webhook));
        assert_eq!(life.session.state, state, "{policy}");
        let alert = Alert::Undeliverable { reason: "blocked".into(), held: policy == WhenUnreachable::Hold };
        assert!(life.orders().contains(&Effect::AlertOperator { alert }));
    }
    let mut life = held(terms("telegram", WhenUnreachable::Hold, None));
    life.event(2, &lost(Telegram));
    assert_eq!(life.event(9, &Event::Approved(Approval::by_operator("root"))), Told::Done, "an operator may yet");
    let mut life = held(terms("telegram", WhenUnreachable::Hold, None));
    life.event(2, &lost(Telegram));
    life.event(120, &Event::TimerPassed);
    assert_eq!((life.session.state, life.session.outcome), (State::Evicting, Some(Outcome::Expired)));
}

#[test]
fn terms_that_name_nobody_are_unreachable_from_the_start() {
    let nobody = || {
        let mut grant = terms("telegram", WhenUnreachable::End, None);
        if let Terms::Hold(hold) = &mut grant.terms {
            hold.approvers.clear();
        }
        grant
    };
    let life = held(nobody());
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn two_of_n_are_two_people() {
    let mut life = held(terms("person,operator", WhenUnreachable::End, boss_and_lead(2, false)));
    assert_eq!(asked(&mut life), [Person]);
    assert_eq!(life.event(2, &says("8", Verdict::Approved)), Told::Counted { more: 1 });
    assert_eq!(life.event(3, &says("8", Verdict::Approved)), Told::Counted { more: 1 }, "twice is once");
    assert_eq!(life.event(4, &says("10", Verdict::Approved)), Told::Counted { more: 1 }, "the boss's other phone");
    assert_eq!(life.event(5, &says("7", Verdict::Approved)), Told::NotEntitled, "one's own word is not asked for");
    assert_eq!(life.session.state, State::Held);
    assert_eq!(life.event(6, &says("9", Verdict::Approved)), Told::Done);
    assert_eq!(life.session.state, State::Permitting);
    let decision = life.session.decision.clone().unwrap();
    assert_eq!((decision.by.approver, decision.by.who.as_str()), (Person, "boss (8), lead (9)"));
}

#[test]
fn one_no_ends_it() {
    let mut life = held(terms("person", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &says("8", Verdict::Approved));
    assert_eq!(life.event(3, &says("9", Verdict::Denied)), Told::Done);
    assert_eq!(life.session.state, State::Evicting);
    assert_eq!(life.event(4, &says("9", Verdict::Approved)), Told::AlreadyDecided(Verdict::Denied));
}

#[test]
fn a_yes_whose_hand_was_taken_away_counts_no_more() {
    let mut life = held(terms("person", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &says("8", Verdict::Approved));
    // The boss's phone is lost before the lead agrees.
    let late = answer(press_of("9", Verdict::Approved), voices(&["8"]));
    assert_eq!(life.event(3, &late), Told::Counted { more: 1 });
    assert_eq!(press_of("8", Verdict::Approved).into_proof(voices(&["8"])), Err(NotEntitled));
    assert_eq!(life.event(4, &says("10", Verdict::Approved)), Told::Done, "from the other phone it does");
}

#[test]
fn where_both_must_agree_both_are_asked_and_neither_is_enough() {
    for first in ["7", "8"] {
        let mut life =
            held(terms("person:40s,telegram:30s,webhook,operator", WhenUnreachable::End, boss_and_lead(1, true)));
        assert_eq!(asked(&mut life), [Person, Telegram]);
        assert_eq!(life.event(2, &says(first, Verdict::Approved)), Told::Counted { more: 1 });
        assert_eq!(life.session.state, State::Held);
        let second = if first == "7" { "8" } else { "7" };
        life.event(30, &Event::TimerPassed);
        let next = if first == "7" { Operator } else { Webhook };
        assert_eq!(asked(&mut life), [next], "who has answered is not asked elsewhere");
        assert_eq!(life.event(31, &says(second, Verdict::Approved)), Told::Done);
    }
}

#[test]
fn when_the_others_cannot_be_reached_ones_own_yes_leads_nowhere() {
    let mut life = held(terms("person,telegram,webhook", WhenUnreachable::End, boss_and_lead(1, true)));
    life.event(2, &Event::PromptSent { approver: Telegram, reference: "7:1".into() });
    life.event(3, &lost(Person));
    assert_eq!(life.session.state, State::Evicting);
}

#[test]
fn who_was_asked_though_too_few_could_be_hears_how_it_ended() {
    let stray = |reference: &str| Event::PromptUndeliverable {
        approver: Person,
        reason: "one of two".into(),
        strays: Some(reference.into()),
    };
    let told = |life: &mut Life| {
        let reference = |effect| match effect {
            Effect::TellApprover { approver: Person, reference, outcome } => Some((reference, outcome)),
            _ => None,
        };
        life.orders().into_iter().filter_map(reference).collect::<Vec<_>>()
    };
    let mut life = held(terms("person,operator", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &stray("8:1"));
    assert_eq!((asked(&mut life), told(&mut life)), (vec![Person, Operator], vec![]));
    // Said twice, and later otherwise: what was noted first is not forgotten.
    life.event(3, &stray("8:2"));
    life.event(120, &Event::TimerPassed);
    assert_eq!(told(&mut life), [("8:1".to_owned(), Outcome::Expired)]);

    // Where that ends it, and where it is heard when it is over already.
    let mut life = held(terms("person", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &stray("8:1"));
    assert_eq!(told(&mut life), [("8:1".to_owned(), Outcome::Expired)]);
    let mut life = held(terms("person", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &Event::Kicked(Denial::by_operator("root")));
    life.event(3, &stray("8:1"));
    assert_eq!(told(&mut life), [("8:1".to_owned(), Outcome::Kicked)]);
}

#[test]
fn a_yes_says_from_which_chat_it_came() {
    let mut life = held(terms("person", WhenUnreachable::End, boss_and_lead(2, false)));
    life.event(2, &says("8", Verdict::Approved));
    let vote = life.session.votes[0].clone();
    assert_eq!((vote.other, vote.chat.as_deref(), vote.at), (Some("boss".into()), Some("8"), at(2)));
}

#[test]
fn what_was_kept_before_there_was_patience_is_read() {
    let ask: Ask = serde_json::from_str(r#"{"approver":"telegram","state":{"sent":"7:1"}}"#).unwrap();
    assert_eq!(ask, Ask { approver: Telegram, state: AskState::Sent("7:1".into()), next_at: None, strays: None });
    let old = r#"{"hold":{"window":{"secs":120,"nanos":0},"grace":{"secs":30,"nanos":0},"approvers":["telegram","operator"]}}"#;
    let terms: Terms = serde_json::from_str(old).unwrap();
    let expected = HoldTerms::new(WINDOW, Duration::from_secs(30), [Telegram, Operator]);
    assert_eq!(terms, Terms::Hold(expected.clone()));
    // And what is kept of plain terms, older nodes can read.
    let kept = serde_json::to_value(Terms::Hold(expected)).unwrap();
    assert_eq!(kept["hold"]["approvers"], serde_json::json!(["telegram", "operator"]));
}

/// What may happen around approvers; the NAS behaves.
#[derive(Debug, Clone)]
enum Fate {
    Press { phone: &'static str, verdict: Verdict },
    Webhook(Verdict),
    Unbind(&'static str),
    Bind(&'static str),
    Sent(ApproverKind),
    Lost(ApproverKind),
    Timer,
    Start,
    CoaAcked,
    CoaUnanswered,
    Kick,
}

fn any_fate() -> impl Strategy<Value = Fate> {
    let phone = || prop::sample::select(vec!["7", "8", "9", "10", "66"]);
    let kind = || prop::sample::select(ApproverKind::ALL.to_vec());
    let verdict = || prop_oneof![8 => Just(Verdict::Approved), 1 => Just(Verdict::Denied)];
    prop_oneof![
        8 => (phone(), verdict()).prop_map(|(phone, verdict)| Fate::Press { phone, verdict }),
        1 => verdict().prop_map(Fate::Webhook),
        2 => phone().prop_map(Fate::Unbind),
        1 => phone().prop_map(Fate::Bind),
        2 => kind().prop_map(Fate::Sent),
        2 => kind().prop_map(Fate::Lost),
        3 => Just(Fate::Timer),
        3 => Just(Fate::Start),
        4 => Just(Fate::CoaAcked),
        1 => Just(Fate::CoaUnanswered),
        1 => prop::bool::weighted(0.1).prop_map(|kick| if kick { Fate::Kick } else { Fate::Timer }),
    ]
}

fn any_terms() -> impl Strategy<Value = Grant> {
    let steps = prop::sample::select(vec![
        "telegram",
        "telegram:10s,operator",
        "telegram:10s,webhook:10s,operator",
        "person:20s,operator",
        "person,telegram:10s,webhook",
    ]);
    let policy = prop::sample::select(vec![WhenUnreachable::End, WhenUnreachable::Hold]);
    let second = prop::option::of((1u32..=2, prop::bool::ANY));
    (steps, policy, second).prop_map(|(steps, policy, second)| {
        terms(steps, policy, second.and_then(|(needed, own)| boss_and_lead(needed, own)))
    })
}

/// Who owns which phone: 66 is a stranger's.
fn owner(phone: &str) -> Option<&'static str> {
    match phone {
        "7" => Some("alice"),
        "8" | "10" => Some("boss"),
        "9" => Some("lead"),
        _ => None,
    }
}

/// All it knows is which yes was given in time, by whom, and which of these hands are still bound.
#[derive(Default)]
struct Model {
    yes: Vec<(&'static str, UserName)>,
    unbound: Vec<&'static str>,
}

impl Model {
    /// With each yes that may count, those whose hands are not bound any more are struck out.
    fn forget_lost_hands(&mut self, user: &str, hold: &HoldTerms) {
        if user != "alice" || hold.second_person.as_ref().is_none_or(|second| second.own) {
            self.yes.retain(|(phone, _)| !self.unbound.contains(phone));
        }
    }

    /// Whether those who said yes are enough, by the plainest reading of the terms.
    fn is_enough(&self, hold: &HoldTerms) -> bool {
        let bound = |phone: &&str| !self.unbound.contains(phone);
        let said = |user: &str| self.yes.iter().any(|(phone, whose)| whose.as_str() == user && bound(phone));
        match &hold.second_person {
            None => said("alice"),
            Some(second) => {
                let others = u32::from(said("boss")) + u32::from(said("lead"));
                others >= second.needed && (!second.own || said("alice"))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// No sequence of what approvers do, other than a yes of enough people who are bound, before the deadline, leads out of the
    /// sandbox.
    #[test]
    fn nothing_but_enough_bound_people_in_time_lets_anybody_through(
        grant in any_terms(),
        fates in prop::collection::vec((any_fate(), 0u64..12), 1..50),
    ) {
        let Terms::Hold(hold) = grant.terms.clone() else { unreachable!("these are all holds") };
        let mut life = life(grant);
        let (mut model, mut now, mut enough, mut denied) = (Model::default(), 0, false, false);
        for (fate, later) in fates {
            now += later;
            let open = at(now) < at(0) + WINDOW && !enough && !denied;
            let event = match fate {
                Fate::Press { phone, verdict } => {
                    let Ok(proof) = press_of(phone, verdict).into_proof(voices(&model.unbound)) else {
                        prop_assert!(owner(phone).is_none() || model.unbound.contains(&phone), "{phone} is bound");
                        continue;
                    };
                    let user = owner(phone).expect("a stranger has no voice");
                    match proof {
                        Proof::Yes(approval) => {
                            if open {
                                model.forget_lost_hands(user, &hold);
                                model.yes.push((phone, user.into()));
                                enough = model.is_enough(&hold);
                            }
                            Event::Approved(approval)
                        }
                        Proof::No(denial) => {
                            denied |= open;
                            Event::Denied(denial)
                        }
                    }
                }
                Fate::Webhook(verdict) => {
                    // It was not asked by these terms, so nobody gives it a voice.
                    let key = ButtonKey::new(&Secret::new("cluster"));
                    let place = Place { approver: Webhook, chat: "w", presser: "7" };
                    let press = key.redeem(&key.seal(SessionId(Uuid::from_u128(1)), verdict, place), place).unwrap();
                    prop_assert_eq!(press.into_proof(voices(&model.unbound)), Err(NotEntitled));
                    continue;
                }
                Fate::Unbind(phone) => {
                    model.unbound.push(phone);
                    continue;
                }
                Fate::Bind(phone) => {
                    model.unbound.retain(|other| *other != phone);
                    // Whoever is bound anew has to say it anew.
                    continue;
                }
                Fate::Sent(approver) => Event::PromptSent { approver, reference: "7:1".into() },
                Fate::Lost(approver) => lost(approver),
                Fate::Timer => Event::TimerPassed,
                Fate::Start => Event::Started(report(now)),
                Fate::CoaAcked => Event::CoaAcked { attempt: life.session.attempt },
                Fate::CoaUnanswered => Event::CoaUnanswered { attempt: life.session.attempt },
                Fate::Kick => Event::Kicked(Denial::by_operator("root")),
            };
            life.event(now, &event);
            let ordered = life.orders().iter().any(|effect| matches!(effect, Effect::SendCoa { .. }));
            let state = life.session.state;
            prop_assert!(
                enough || !(ordered || matches!(state, State::Permitting | State::Permitted)),
                "{state} after {event:?}, though only {:?} have said yes", model.yes
            );
            if let Some(decision) = &life.session.decision && decision.verdict == Verdict::Approved {
                prop_assert!(enough && decision.at < at(0) + WINDOW);
            }
            if matches!(state, State::Offered | State::Held | State::Permitting | State::Evicting) {
                prop_assert!(life.session.wake_at(&life.timing).is_some(), "{state} and nothing to wait for");
            }
        }
    }

    /// Whoever is asked is asked once, in order; and a wake time that has come does not come again.
    #[test]
    fn timers_run_down(grant in any_terms(), losses in prop::collection::vec(any_fate(), 0..6)) {
        let mut life = held(grant);
        for fate in losses {
            if let Fate::Lost(approver) = fate {
                life.event(2, &lost(approver));
            }
        }
        let mut asked = asked(&mut life);
        let mut last = at(2);
        while matches!(life.session.state, State::Held) {
            let wake = life.session.wake_at(&life.timing).unwrap();
            prop_assert!(wake > last, "woken at {wake} again");
            last = wake;
            let step = step(&life.session, &Event::TimerPassed, wake, &life.timing);
            life.session = step.session;
            life.effects = step.effects;
            asked.extend(super::chain::asked(&mut life));
        }
        let mut once = asked.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), asked.len());
        prop_assert_eq!(life.session.state, State::Evicting);
        prop_assert!(last <= at(0) + WINDOW);
    }
}
