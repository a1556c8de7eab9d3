//! Users, sessions, usage and logins whose sums are known: in March 2026, and around now.

use std::net::IpAddr;
use std::time::Duration;

use radhold::app::clock;
use radhold::model::{ApproverKind, Counters, Day, Identity, Nas, Secret, SessionId, Timestamp, User};
use radhold::policy::{Grant, HoldTerms, Terms};
use radhold::session::{DecidedBy, Decision, Effect, End, EndCause, Outcome, Record, Session, State, Verdict};
use radhold::store::{AuthAttempt, Change, Committed, Store, Usage};
use uuid::Uuid;

/// 2026-03-01T00:00:00Z
const MARCH: u64 = 1_772_323_200;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(i64::try_from(secs).unwrap())
}

/// A time in March: day, hour, minute.
fn march(day: u64, hour: u64, minute: u64) -> u64 {
    MARCH + (day - 1) * DAY + hour * HOUR + minute * MINUTE
}

fn session(number: u128, user: &str, nas: &str, started: u64) -> Record {
    let hold = HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), [ApproverKind::Operator]);
    let grant = Grant {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        terms: Terms::Hold(hold),
        session_timeout: None,
        reply: vec![],
    };
    let identity = Identity {
        acct_session_id: Some(format!("A{number}")),
        framed_ip: Some("10.0.0.7".parse().unwrap()),
        calling_station_id: Some("203.0.113.9".into()),
        nas_port: Some(7),
        ..Identity::default()
    };
    let address = IpAddr::from([192, 0, 2, 1]);
    let id = SessionId(Uuid::from_u128(number));
    let session = Session::offer(id, user.into(), nas.into(), address, identity, grant, at(started - 2));
    Record {
        version: 1,
        state: State::Closed,
        started_at: Some(at(started)),
        heard_at: at(started),
        ..session.into_record()
    }
}

fn decided(record: Record, after: u64, verdict: Verdict) -> Record {
    let begun = u64::try_from(record.started_at.unwrap().as_secs()).unwrap();
    let by = DecidedBy { approver: ApproverKind::Operator, who: "op".into() };
    let outcome = if verdict == Verdict::Approved { Outcome::Permitted } else { Outcome::Denied };
    Record { decision: Some(Decision { verdict, by, at: at(begun + after) }), outcome: Some(outcome), ..record }
}

fn ended(record: Record, heard: u64, end: u64, cause: EndCause, input: u64, output: u64) -> Record {
    let begun = u64::try_from(record.started_at.unwrap().as_secs()).unwrap();
    let terminate_cause = (cause == EndCause::Stop).then_some(1);
    Record {
        heard_at: at(heard),
        end: Some(End { at: at(end), cause, terminate_cause }),
        counters: Counters {
            input_octets: input,
            output_octets: output,
            session_time: heard - begun,
            ..Counters::default()
        },
        ..record
    }
}

fn carried(record: &Record, from: u64, to: u64, input: u64, output: u64) -> Usage {
    Usage {
        session: record.id,
        user: record.user.clone(),
        nas: record.nas.clone(),
        from: at(from),
        to: at(to),
        day: Day::since_1970(i32::try_from((to - 1) / DAY).unwrap()),
        added: Counters { input_octets: input, output_octets: output, session_time: to - from, ..Counters::default() },
    }
}

fn attempt(secs: u64, user: &str, from: Option<&str>, outcome: &str) -> AuthAttempt {
    AuthAttempt {
        at: at(secs),
        user: user.into(),
        nas: "edge".into(),
        nas_address: "192.0.2.1".parse().unwrap(),
        calling_station_id: from.map(str::to_owned),
        method: "pap".into(),
        outcome: outcome.into(),
        session: None,
        nonce: None,
    }
}

/// Puts all of it into an empty store.
pub(super) async fn fill(store: &dyn Store) {
    let now = u64::try_from(clock::now().as_secs()).unwrap();
    for (name, quota) in [("alice", Some(10_000)), ("bob", None), ("frank", Some(500))] {
        let mut user = User::new(name, Secret::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"), at(MARCH));
        user.monthly_quota = quota;
        store.add_user(&user).await.unwrap();
    }
    for (name, network) in [("edge", "192.0.2.1/32"), ("core", "192.0.2.2/32"), ("silent", "192.0.2.3/32")] {
        let nas = Nas::new(name, network.parse::<ipnet::IpNet>().unwrap(), Secret::new("sealed"));
        store.add_nas(&nas).await.unwrap();
    }

    let mut changes: Vec<(Record, Vec<Usage>, Vec<Effect>)> = vec![];
    // alice, two hours over three clock hours; bob beside her.
    let one = decided(session(1, "alice", "edge", march(1, 10, 30)), 10, Verdict::Approved);
    let one = ended(one, march(1, 12, 30), march(1, 12, 30), EndCause::Stop, 1000, 3000);
    let usage = vec![carried(&one, march(1, 10, 30), march(1, 12, 30), 1000, 3000)];
    changes.push((one, usage, vec![]));
    let two = decided(session(2, "bob", "edge", march(1, 11, 0)), 20, Verdict::Approved);
    let two = ended(two, march(1, 11, 30), march(1, 11, 30), EndCause::Stop, 7, 100);
    let usage = vec![carried(&two, march(1, 11, 0), march(1, 11, 30), 7, 100)];
    changes.push((two, usage, vec![]));
    // alice over midnight; never stopped.
    let three = decided(session(3, "alice", "core", march(2, 23, 30)), 60, Verdict::Approved);
    let three = ended(three, march(3, 0, 30), march(3, 1, 0), EndCause::Stale, 16, 14);
    let usage = vec![
        carried(&three, march(2, 23, 30), march(3, 0, 0), 11, 10),
        carried(&three, march(3, 0, 0), march(3, 0, 30), 5, 4),
    ];
    changes.push((three, usage, vec![]));
    // carol: nobody answered and the NAS restarted; then somebody said no.
    let four = Record { outcome: Some(Outcome::Expired), ..session(4, "carol", "core", march(4, 9, 0)) };
    changes.push((ended(four, march(4, 9, 5), march(4, 9, 10), EndCause::NasRestart, 0, 0), vec![], vec![]));
    let five = decided(session(5, "carol", "edge", march(5, 10, 0)), 5, Verdict::Denied);
    changes.push((ended(five, march(5, 10, 1), march(5, 10, 1), EndCause::Stop, 0, 0), vec![], vec![]));
    // dave, whom we never accepted, over the end of the month.
    let six = Record { grant: None, ..session(6, "dave", "core", march(31, 23, 59)) };
    let six = ended(six, march(32, 0, 1), march(32, 0, 1), EndCause::Stop, 100, 0);
    let usage = vec![
        carried(&six, march(31, 23, 59), march(32, 0, 0), 50, 0),
        carried(&six, march(32, 0, 0), march(32, 0, 1), 50, 0),
    ];
    changes.push((six, usage, vec![]));
    // erin, held at this moment, with a CoA-Request under way.
    let seven = session(7, "erin", "edge", now - 100);
    let seven = Record { state: State::Held, heard_at: at(now - 40), deadline: Some(at(now + 20)), ..seven };
    changes.push((seven, vec![], vec![Effect::SendCoa { attempt: 1 }]));

    let changes: Vec<Change> = changes
        .into_iter()
        .map(|(record, usage, orders)| Change {
            extent: radhold::store::Extent::Whole,
            session: Session::restore(record),
            from_version: None,
            wake_at: None,
            orders,
            usage,
            settles: None,
            at: at(now - 30),
        })
        .collect();
    assert!(store.commit(&changes).await.unwrap().iter().all(|committed| *committed == Committed::Done));

    let source = Some("203.0.113.9");
    store
        .record_attempts(&[
            attempt(march(6, 8, 0), "alice", source, "wrong-password"),
            attempt(march(6, 8, 1), "alice", source, "wrong-password"),
            attempt(march(6, 8, 2), "bob", source, "wrong-password"),
            attempt(march(6, 8, 3), "mallory", source, "unknown-user"),
            attempt(march(6, 8, 4), "mallory", None, "unknown-user"),
            attempt(march(6, 8, 5), "alice", source, "accepted"),
            // bob is asked for a code, mistypes it, and is let in; alice never answers.
            attempt(march(6, 8, 6), "bob", source, "challenged"),
            attempt(march(6, 8, 7), "bob", source, "challenged-again"),
            attempt(march(6, 8, 8), "bob", source, "accepted"),
            attempt(march(6, 8, 9), "alice", source, "challenged"),
            attempt(now - 60, "erin", source, "wrong-password"),
            attempt(now - 58, "erin", source, "challenged"),
            attempt(now - 54, "erin", source, "challenged-again"),
            attempt(now - 50, "erin", source, "accepted"),
        ])
        .await
        .unwrap();
}
