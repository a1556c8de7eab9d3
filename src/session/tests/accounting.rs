//! What accounting makes of a session, whatever the network does to it: order, repetition, loss, silence and reuse.

use proptest::prelude::*;

use super::*;

/// A session's reports as its NAS sends them: a Start, Interim-Updates, a Stop; and what they must come to.
#[derive(Debug, Clone)]
struct Reported {
    events: Vec<Event>,
    counters: Counters,
    stop: End,
}

fn any_session() -> impl Strategy<Value = Reported> {
    let step = (60u64..900, 0u64..1 << 34, 0u64..1 << 34, 0u64..100_000);
    (prop::collection::vec(step, 1..8), prop::option::of(1u32..20), any::<bool>()).prop_map(
        |(steps, terminate_cause, timed)| {
            let (mut secs, mut counters) = (2, Counters::default());
            let mut events = vec![Event::Started(told(secs, counters))];
            for (index, (length, input, output, packets)) in steps.iter().enumerate() {
                secs += length;
                counters.input_octets += input;
                counters.output_octets += output;
                counters.input_packets += packets;
                // Some NASes leave Acct-Session-Time out: then only the Start says when it was.
                counters.session_time = if timed { secs - 2 } else { 0 };
                let report = told(secs, counters);
                events.push(match index + 1 == steps.len() {
                    true => Event::Stopped(Report { terminate_cause, ..report }),
                    false => Event::Interim(report),
                });
            }
            let stop = End { at: at(secs), cause: EndCause::Stop, terminate_cause };
            Reported { events, counters, stop }
        },
    )
}

fn told(secs: u64, counters: Counters) -> Report {
    let acct_session_id = Some("a1".to_owned());
    let framed_ip = (secs > 2).then(|| std::net::IpAddr::from([10, 0, 0, 1]));
    Report { counters, identity: Identity { acct_session_id, framed_ip, ..Identity::default() }, ..report(secs) }
}

fn observed() -> Session {
    let (id, nas_address) = (SessionId(Uuid::from_u128(1)), "192.0.2.1".parse().unwrap());
    Session::observe(id, "bob".into(), "edge".into(), nas_address, Identity::default(), at(0))
}

fn sum(a: &Counters, b: &Counters) -> Counters {
    Counters {
        input_octets: a.input_octets + b.input_octets,
        output_octets: a.output_octets + b.output_octets,
        input_packets: a.input_packets + b.input_packets,
        output_packets: a.output_packets + b.output_packets,
        session_time: a.session_time + b.session_time,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_order_and_repetition_comes_to_the_same(
        told in any_session(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        order in any::<u64>(),
        kind in 0..3u8,
        minutes_between in 0u64..20,
    ) {
        let mut events = told.events.clone();
        events.extend(again.iter().map(|index| index.get(&told.events).clone()));
        // Any order, from a seed: whichever has the least hash goes first.
        events.sort_by_cached_key(|event| {
            use std::hash::{DefaultHasher, Hash as _, Hasher as _};
            let mut hasher = DefaultHasher::new();
            (order, format!("{event:?}")).hash(&mut hasher);
            hasher.finish()
        });
        let session = match kind {
            0 => observed(),
            1 => offer(SecondFactor::None),
            _ => offer(SecondFactor::Required),
        };
        let (mut session, mut usage, timing) = (session, Counters::default(), Timing::default());
        let mut now = 10_000;
        for event in &events {
            // Timers pass in between, whenever they are due.
            while let Some(wake) = session.wake_at(&timing).filter(|wake| *wake <= at(now)) {
                let turn = step(&session, &Event::TimerPassed, at(now), &timing);
                prop_assert_eq!(turn.usage, Counters::default());
                let stuck = turn.session == session;
                session = turn.session;
                if stuck {
                    prop_assert!(wake <= at(now));
                    break;
                }
            }
            let turn = step(&session, event, at(now), &timing);
            usage = sum(&usage, &turn.usage);
            session = turn.session;
            let again = step(&session, event, at(now), &timing);
            prop_assert_eq!(again.usage, Counters::default());
            prop_assert_eq!(again.session.counters, session.counters);
            now += minutes_between * 60;
        }
        prop_assert_eq!(session.counters, told.counters);
        prop_assert_eq!(usage, told.counters);
        prop_assert_eq!(session.state, State::Closed);
        prop_assert_eq!(session.end, Some(told.stop));
        prop_assert_eq!(session.started_at, Some(at(2)));
        prop_assert_eq!(session.identity.framed_ip, Some([10, 0, 0, 1].into()));
        // All of it once more changes nothing at all.
        for event in &events {
            let turn = step(&session, event, at(now), &timing);
            prop_assert!(!turn.changes(&session), "{:?} again", event);
        }
    }
}

#[test]
fn a_lost_start_is_rebuilt_from_the_first_interim() {
    let mut life = Life::new(SecondFactor::None);
    let counters = Counters { session_time: 55, input_octets: 9, ..Counters::default() };
    life.event(60, &Event::Interim(told(60, counters)));
    assert_eq!((life.session.state, life.session.started_at), (State::Permitted, Some(at(5))));
    // The Start comes after all, and is no news.
    life.event(61, &Event::Started(told(5, Counters::default())));
    assert_eq!((life.session.counters.input_octets, life.session.started_at), (9, Some(at(5))));
}

#[test]
fn a_session_is_stale_after_some_of_its_own_intervals() {
    let mut life = Life::new(SecondFactor::None);
    life.event(1, &Event::Started(report(1)));
    life.event(1801, &Event::Interim(report(1801)));
    assert_eq!(life.session.interim_interval, Some(Duration::from_secs(1800)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(1801 + 3 * 1800)), "three intervals, not ten minutes");
    // A report out of turn does not make the next one late.
    life.event(1900, &Event::Interim(report(1900)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(1900 + 3 * 900)));
    life.event(3601, &Event::Interim(report(3601)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(3601 + 3 * 1701)));
    life.event(8703, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Permitted);
    life.event(8704, &Event::TimerPassed);
    assert_eq!(life.session.end, Some(End { at: at(3601), cause: EndCause::Stale, terminate_cause: None }));
}

#[test]
fn an_interval_that_was_asked_for_counts_before_any_came() {
    let mut asked = grant(SecondFactor::None);
    asked.reply.push(crate::model::ReplyItem { name: "Acct-Interim-Interval".into(), value: "900".into() });
    let (id, address) = (SessionId(Uuid::from_u128(1)), "192.0.2.1".parse().unwrap());
    let session = Session::offer(id, "alice".into(), "edge".into(), address, Identity::default(), asked, at(0));
    let mut life = Life { session, effects: vec![], timing: Timing::default() };
    life.event(1, &Event::Started(report(1)));
    assert_eq!(life.session.wake_at(&life.timing), Some(at(1 + 2700)));
    life.event(601, &Event::Interim(report(601)));
    assert_eq!(life.session.interim_interval, Some(Duration::from_secs(900)), "not less than was asked for");
}

#[test]
fn silence_before_we_listened_says_nothing() {
    let mut life = Life::new(SecondFactor::None);
    life.event(1, &Event::Started(report(1)));
    life.event(61, &Event::Interim(report(61)));
    // We were away for a day.
    life.timing.listening_since = Some(at(86_400));
    life.event(86_401, &Event::TimerPassed);
    assert_eq!(life.session.state, State::Permitted);
    assert_eq!(life.session.wake_at(&life.timing), Some(at(87_000)));
    life.event(87_000, &Event::TimerPassed);
    assert_eq!(life.session.end.unwrap().at, at(61), "its end is when it was last heard of");
}

#[test]
fn a_late_stop_corrects_a_presumed_end_and_its_counters() {
    let mut life = Life::new(SecondFactor::None);
    life.event(1, &Event::Started(report(1)));
    life.event(61, &Event::Interim(report(61)));
    life.event(661, &Event::TimerPassed);
    assert_eq!(life.session.end.unwrap().cause, EndCause::Stale);
    let counters = Counters { input_octets: 77, session_time: 99, ..Counters::default() };
    life.event(5000, &Event::Stopped(Report { terminate_cause: Some(2), counters, ..report(100) }));
    assert_eq!(life.session.end, Some(End { at: at(100), cause: EndCause::Stop, terminate_cause: Some(2) }));
    assert_eq!(life.session.counters, counters);
    // A second Stop, as of a NAS that forgot to say how late it is, moves nothing.
    life.event(6000, &Event::Stopped(Report { counters, ..report(6000) }));
    assert_eq!(life.session.end.unwrap().at, at(100));
}

#[test]
fn a_nas_restart_ends_sessions_at_its_boot_and_an_interim_after_it_contradicts() {
    let mut life = Life::new(SecondFactor::None);
    life.event(1, &Event::Started(report(1)));
    // Told a minute late.
    life.event(120, &Event::NasRestarted { at: at(60) });
    assert_eq!(life.session.end, Some(End { at: at(60), cause: EndCause::NasRestart, terminate_cause: None }));
    life.event(121, &Event::Interim(report(59)));
    assert_eq!(life.session.state, State::Closed, "that was before");
    life.event(180, &Event::Interim(report(180)));
    assert_eq!(life.session.state, State::Permitted);
}

#[test]
fn a_start_after_a_presumed_end_finds_the_hold_as_it_was() {
    let mut life = Life::new(SecondFactor::Required);
    life.event(2, &Event::NasRestarted { at: at(2) });
    assert_eq!(life.session.state, State::Closed);
    life.orders();
    // The Accounting-On was that of the boot, answered late; the login came after it.
    life.event(5, &Event::Started(report(5)));
    assert_eq!(life.session.state, State::Held, "nobody is let through, nobody is thrown out");
    assert_eq!(life.orders(), [Effect::AskApprover { approver: ApproverKind::Telegram }]);
}

#[test]
fn the_next_session_on_the_port_ends_the_one_before() {
    for held in [SecondFactor::Required, SecondFactor::None] {
        let mut life = Life::new(held);
        assert_eq!(life.event(1, &Event::PortReused { at: at(1) }), Told::Nothing, "it is on no port yet");
        life.event(2, &Event::Started(report(2)));
        life.event(3, &Event::PortReused { at: at(1) });
        assert!(life.session.state.is_open(), "it is the younger one");
        life.event(50, &Event::Interim(report(50)));
        life.event(51, &Event::PortReused { at: at(40) });
        assert!(life.session.state.is_open(), "it was heard of since");
        life.event(61, &Event::PortReused { at: at(60) });
        assert_eq!(life.session.end, Some(End { at: at(60), cause: EndCause::PortReused, terminate_cause: None }));
        let closed = life.session.clone();
        assert!(!step(&closed, &Event::PortReused { at: at(60) }, at(62), &life.timing).changes(&closed));
        // It was alive after all, and its Stop says more than we do.
        life.event(90, &Event::Stopped(report(58)));
        assert_eq!(life.session.end.unwrap().cause, EndCause::Stop);
    }
}

#[test]
fn counters_of_32_bits_go_on_where_they_wrap() {
    let mut life = Life::new(SecondFactor::None);
    let narrow = |secs, octets| {
        let counters = Counters { input_octets: octets, session_time: secs, ..Counters::default() };
        Event::Interim(Report { counters, wraps: true, ..report(secs) })
    };
    life.event(1, &Event::Started(report(1)));
    for (secs, octets) in [(60, 2_000_000_000), (120, 4_000_000_000), (180, 1_000_000_000), (240, 3_000_000_000)] {
        life.event(secs, &narrow(secs, octets));
    }
    assert_eq!(life.session.counters.input_octets, (1 << 32) + 3_000_000_000);
    for (secs, octets) in [(120, 4_000_000_000), (60, 2_000_000_000), (180, 1_000_000_000)] {
        let late = step(&life.session, &narrow(secs, octets), at(300), &life.timing);
        assert!(!late.changes(&life.session), "a late one is no wrap: {secs}");
    }
}
