//! Any events in any order, beside a model too simple to be wrong: it knows who answered first and in time.

use proptest::prelude::*;

use super::*;

/// The reference: one answer, before the deadline, while the session lives.
#[derive(Debug, Default)]
struct Model {
    answer: Option<Verdict>,
}

fn any_event() -> impl Strategy<Value = Event> {
    let secs = 0u64..400;
    let attempt = 0u32..5;
    let cause = prop::option::of(prop::sample::select(vec![401, 403, 404, 407, 503, 504, 506, 508]));
    let filter = prop::option::of(prop::sample::select(vec!["sandbox".to_owned(), "permit".to_owned()]));
    prop_oneof![
        Just(Event::Accepted),
        secs.clone().prop_map(|secs| Event::Started(report(secs))),
        (secs.clone(), filter, 0u64..1000).prop_map(|(secs, filter_id, octets)| {
            let counters = Counters { input_octets: octets, ..Counters::default() };
            Event::Interim(Report { filter_id, counters, ..report(secs) })
        }),
        secs.clone().prop_map(|secs| Event::Stopped(report(secs))),
        secs.prop_map(|secs| Event::NasRestarted { at: at(secs) }),
        (0u64..400).prop_map(|secs| Event::PortReused { at: at(secs) }),
        Just(Event::PromptSent { approver: ApproverKind::Telegram, reference: "7:1".into() }),
        Just(Event::PromptUndeliverable { approver: ApproverKind::Telegram, reason: "blocked".into(), strays: None }),
        Just(Event::PromptUndeliverable { approver: ApproverKind::Operator, reason: "none".into(), strays: None }),
        Just(press(Verdict::Approved)),
        Just(press(Verdict::Denied)),
        Just(Event::Kicked(Denial::by_operator("root"))),
        Just(Event::Superseded),
        Just(Event::TimerPassed),
        attempt.clone().prop_map(|attempt| Event::CoaAcked { attempt }),
        (attempt.clone(), cause.clone()).prop_map(|(attempt, error_cause)| Event::CoaNaked { attempt, error_cause }),
        attempt.clone().prop_map(|attempt| Event::CoaUnanswered { attempt }),
        attempt.clone().prop_map(|attempt| Event::DisconnectAcked { attempt }),
        (attempt.clone(), cause).prop_map(|(attempt, error_cause)| Event::DisconnectNaked { attempt, error_cause }),
        attempt.prop_map(|attempt| Event::DisconnectUnanswered { attempt }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_the_invariants_hold(
        held in prop::bool::weighted(0.8),
        events in prop::collection::vec((any_event(), 0u64..30), 1..60),
    ) {
        let timing = Timing::default();
        let mut session = offer(if held { SecondFactor::Required } else { SecondFactor::None });
        let mut kicked = false;
        let mut model = Model::default();
        let mut now = 0;
        for (event, later) in events {
            now += later;
            let before = session.clone();
            kicked |= matches!(event, Event::Kicked(_)) && before.state != State::Dropped && before.state != State::Closed;
            let turn = step(&before, &event, at(now), &timing);

            // The version tells whether there is anything to keep.
            prop_assert_eq!(turn.session.version, before.version + u64::from(turn.changes(&before)));
            prop_assert!(turn.changes(&before) || turn.effects.is_empty());

            // An answer counts once, the first one, before the deadline (invariants 2 and 6).
            if let Event::Approved(_) | Event::Denied(_) = &event {
                let verdict = if matches!(event, Event::Approved(_)) { Verdict::Approved } else { Verdict::Denied };
                if turn.told == Told::Done {
                    prop_assert_eq!(model.answer, None);
                    prop_assert!(at(now) < before.deadline.unwrap());
                    let late_no = before.state == State::Dropped && verdict == Verdict::Denied;
                    prop_assert!(late_no || matches!(before.state, State::Offered | State::Held));
                    model.answer = Some(verdict);
                } else if let Some(answer) = model.answer {
                    let truth = before.decision.as_ref().map_or(answer, |decision| decision.verdict);
                    prop_assert_eq!(turn.told, Told::AlreadyDecided(truth));
                }
            }

            // Fail closed (invariant 1): only a yes leads out of the sandbox, or a policy that asks for none.
            if turn.session.state == State::Permitted {
                prop_assert!(!kicked, "a kicked session was permitted");
            }
            if held && turn.session.state == State::Permitted {
                prop_assert_eq!(model.answer, Some(Verdict::Approved));
                prop_assert_eq!(turn.session.decision.as_ref().unwrap().verdict, Verdict::Approved);
            }
            if turn.effects.iter().any(|effect| matches!(effect, Effect::SendCoa { .. })) {
                prop_assert_eq!(model.answer, Some(Verdict::Approved));
            }
            // What is being ended is never lifted.
            if before.state == State::Evicting {
                prop_assert!(matches!(turn.session.state, State::Evicting | State::Closed));
            }
            // A hold that is open has a time at which it ends.
            if matches!(turn.session.state, State::Offered | State::Held | State::Permitting | State::Evicting) {
                prop_assert!(turn.session.wake_at(&timing).is_some());
            }
            // The end of what was open is told wherever its question was put, when it ends and not before; of nothing else.
            let told_end = turn.effects.iter().filter(|effect| matches!(effect, Effect::TellEnd { .. })).count();
            let sent = turn.session.asks.iter().filter(|ask| matches!(ask.state, AskState::Sent(_))).count();
            let closes = before.state != State::Closed && turn.session.state == State::Closed;
            let was_open = turn.session.permitted_at.is_some();
            if closes {
                let open_till_now = was_open && matches!(before.state, State::Permitted | State::Evicting);
                prop_assert_eq!(told_end, if open_till_now { sent } else { 0 });
            } else if told_end > 0 {
                let told_late = before.state == State::Closed && matches!(event, Event::PromptSent { .. });
                prop_assert!(was_open && told_late, "an end was told that is none");
            }
            // Counters never go back.
            prop_assert!(turn.session.counters.input_octets >= before.counters.input_octets);
            // Each order ordered now is wanted now.
            for effect in &turn.effects {
                prop_assert!(turn.session.wants(effect), "{:?} in {:?}", effect, turn.session.state);
            }
            session = turn.session;
        }

        // Left alone, it ends by itself or is permitted.
        for _ in 0..5000 {
            let Some(wake) = session.wake_at(&timing) else { break };
            let attempt = session.attempt;
            session = step(&session, &Event::TimerPassed, wake, &timing).session;
            session = match session.state {
                State::Permitting => step(&session, &Event::CoaUnanswered { attempt: session.attempt }, wake, &timing).session,
                State::Evicting if session.attempt != attempt || session.retry_at.is_none() =>
                    step(&session, &Event::DisconnectUnanswered { attempt: session.attempt }, wake, &timing).session,
                _ => session,
            };
        }
        prop_assert!(
            matches!(session.state, State::Permitted | State::Dropped | State::Closed),
            "stuck in {}", session.state
        );
    }
}
