//! The hold: one whole life (accept, start, prompt, approve, ACK, interim, stop), and its dearest single steps.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use radhold::accounting::Report;
use radhold::model::{ApproverKind, Identity, Nas, Secret, SessionId, Timestamp, User};
use radhold::policy::{self, Defaults, HoldTerms};
use radhold::session::{Approval, Class, ClassKey, Event, Session, State, Timing, step};
use uuid::Uuid;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_795_000_000) + Duration::from_secs(secs)
}

fn offered() -> Session {
    let user = User::new("alice", Secret::new(""), at(0));
    let nas = Nas::new("edge", "192.0.2.1/32".parse::<IpNet>().unwrap(), Secret::new("x"));
    let defaults = Defaults {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        hold: HoldTerms::new(
            Duration::from_secs(120),
            Duration::from_secs(30),
            [ApproverKind::Telegram, ApproverKind::Operator],
        ),
    };
    let grant = policy::decide(&user, &[], &nas, &defaults).unwrap();
    let address = "192.0.2.1".parse().unwrap();
    Session::offer(SessionId(Uuid::from_u128(1)), user.name, nas.name, address, Identity::default(), grant, at(0))
}

fn life() -> Vec<Event> {
    let report = |secs| Report { at: at(secs), ..Report::default() };
    vec![
        Event::Accepted,
        Event::Started(report(1)),
        Event::PromptSent { approver: ApproverKind::Telegram, reference: "7:1".into() },
        Event::Approved(Approval::by_operator("night-shift")),
        Event::CoaAcked { attempt: 1 },
        Event::Interim(report(60)),
        Event::Stopped(report(90)),
    ]
}

fn benches(criterion: &mut Criterion) {
    let timing = Timing::default();
    let events = life();
    criterion.bench_function("session/whole life, 7 events", |bench| {
        bench.iter(|| {
            let mut session = offered();
            for (secs, event) in events.iter().enumerate() {
                session = step(&session, event, at(secs as u64), &timing).session;
            }
            assert_eq!(session.state, State::Closed);
            session
        });
    });
    let mut permitted = offered();
    for event in &events[..5] {
        permitted = step(&permitted, event, at(5), &timing).session;
    }
    criterion.bench_function("session/interim update", |bench| {
        bench.iter(|| step(black_box(&permitted), &events[5], at(60), &timing));
    });
    let key = ClassKey::new(&Secret::new("cluster"));
    let nas = "edge".into();
    let class = Class { session: SessionId(Uuid::from_u128(1)), accepted_at: at(0), waived: false };
    let sealed = key.seal(&class, &nas);
    criterion.bench_function("session/class seal", |bench| bench.iter(|| key.seal(black_box(&class), &nas)));
    criterion.bench_function("session/class open", |bench| bench.iter(|| key.open(black_box(&sealed), &nas).unwrap()));
}

criterion_group!(session, benches);
criterion_main!(session);
