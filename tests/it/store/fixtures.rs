//! What the tests keep: users, NASes and sessions, plain, rich and arbitrary, and changes of them.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use radhold::model::{
    ApproverKind, Counters, Day, Identity, Medium, Nas, NasName, ReplyItem, SecondFactor, Secret, SessionId, Timestamp,
    User, UserName,
};
use radhold::policy::{Defaults, Grant, HoldTerms, Terms, decide};
use radhold::session::{
    Ask, AskState, DecidedBy, Decision, Effect, End, EndCause, Event, Outcome, Record, Session, State, Step, Timing,
    Verdict, Vote, step,
};
use radhold::store::{Change, Committed, Extent, Store, Usage};
use uuid::Uuid;

pub(super) const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);

pub(super) fn user(name: &str) -> User {
    User::new(name, Secret::new("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"), NOON)
}

pub(super) fn rich_user(name: &str) -> User {
    User {
        disabled: true,
        second_factor: SecondFactor::None,
        approvers: vec![ApproverKind::Operator.into(), ApproverKind::Telegram.into()],
        when_unreachable: Some(radhold::model::WhenUnreachable::Hold),
        permit_filter: Some("gold".into()),
        session_timeout: Some(Duration::from_secs(3 * 86_400)),
        reject_delay: Some(Duration::from_micros(1_500_001)),
        monthly_quota: Some(50_000_000_000),
        guards: radhold::model::GuardSettings { trust_hours: Some(8), ..Default::default() },
        totp_in_password: Some(true),
        reply: vec![ReplyItem { name: "Framed-IP-Address".into(), value: "10.0.0.7".into() }],
        created_at: NOON + Duration::from_micros(1),
        ..user(name)
    }
}

pub(super) fn nas(name: &str, network: &str) -> Nas {
    Nas::new(name, network.parse::<ipnet::IpNet>().unwrap(), Secret::new([0, 159, 146, 150, 255]))
}

pub(super) fn id(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

pub(super) fn grant() -> Grant {
    Grant {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        terms: Terms::Hold(hold_terms()),
        session_timeout: None,
        reply: vec![],
    }
}

fn hold_terms() -> HoldTerms {
    let approvers = [ApproverKind::Telegram, ApproverKind::Operator];
    HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), approvers)
}

pub(super) fn offer(number: u128, at: Timestamp) -> Session {
    let address = IpAddr::from([192, 0, 2, 1]);
    Session::offer(id(number), "alice".into(), "edge".into(), address, Identity::default(), grant(), at)
}

/// What a login leaves that nobody is asked about: a session, and nothing that comes with it.
pub(super) fn waived(number: u128, at: Timestamp) -> Session {
    let (who, nas) = (User { second_factor: SecondFactor::None, ..user("alice") }, nas("edge", "192.0.2.1/32"));
    let defaults = Defaults { sandbox_filter: "sandbox".into(), permit_filter: "permit".into(), hold: hold_terms() };
    let grant = decide(&who, &[], &nas, &defaults).unwrap();
    Session::offer(id(number), who.name, nas.name, [192, 0, 2, 1].into(), Identity::default(), grant, at)
}

/// A session with something other than the default in every field.
pub(super) fn rich_record(number: u128) -> Record {
    let at = |secs| NOON + Duration::from_secs(secs) + Duration::from_micros(7);
    Record {
        version: 41,
        user: "Zoë".into(),
        nas: "core".into(),
        nas_address: "2001:db8::2".parse().unwrap(),
        identity: Identity {
            nas_port: Some(u32::MAX),
            nas_port_id: Some("ether1".into()),
            nas_ip_address: Some("10.1.2.3".parse().unwrap()),
            nas_identifier: Some("gw".into()),
            calling_station_id: Some("203.0.113.9".into()),
            called_station_id: Some("vpn.example".into()),
            acct_session_id: Some("81d00a3f".into()),
            framed_ip: Some("10.8.0.2".parse().unwrap()),
            framed_ipv6_prefix: Some("2001:db8:1::1/64".parse().unwrap()),
            medium: Some(Medium::SslVpn),
        },
        grant: Some(Grant {
            session_timeout: Some(Duration::new(5, 9)),
            reply: vec![ReplyItem { name: "Filter-Id".into(), value: "\"quoted\" \\u0000".into() }],
            ..grant()
        }),
        state: State::Evicting,
        accepted_at: at(0),
        started_at: Some(at(1)),
        heard_at: at(2),
        deadline: Some(at(3)),
        permitted_at: Some(at(4)),
        evicting_since: Some(at(5)),
        disconnect_acked_at: Some(at(6)),
        asks: vec![
            Ask {
                approver: ApproverKind::Telegram,
                state: AskState::Sent("-100/5".into()),
                next_at: None,
                strays: None,
            },
            Ask {
                approver: ApproverKind::Operator,
                state: AskState::Undeliverable("nobody there".into()),
                next_at: Some(at(9)),
                strays: Some("-100/6,-100/7".into()),
            },
        ],
        votes: vec![
            Vote {
                by: DecidedBy { approver: ApproverKind::Person, who: "78".into() },
                other: Some("boss".into()),
                chat: Some("-100".into()),
                at: at(4),
            },
            Vote {
                by: DecidedBy { approver: ApproverKind::Telegram, who: "77".into() },
                other: None,
                chat: None,
                at: at(5),
            },
        ],
        decision: Some(Decision {
            verdict: Verdict::Approved,
            by: DecidedBy { approver: ApproverKind::Telegram, who: "77".into() },
            at: at(4),
        }),
        outcome: Some(Outcome::NotLifted),
        attempt: u32::MAX,
        tries: 3,
        retry_at: Some(at(7)),
        identify_fully: true,
        counters: Counters {
            input_octets: i64::MAX as u64,
            output_octets: 5_000_000_000,
            input_packets: 3,
            output_packets: 4,
            session_time: 86_400,
        },
        interim_interval: Some(Duration::from_secs(300)),
        end: Some(End { at: at(8), cause: EndCause::NasRestart, terminate_cause: Some(10) }),
        ..offer(number, NOON).into_record()
    }
}

/// The change that makes a session what it is now, with nothing around it.
pub(super) fn change(session: &Session, from_version: Option<u64>) -> Change {
    Change {
        session: session.clone(),
        from_version,
        extent: Extent::Whole,
        wake_at: session.wake_at(&Timing::default()),
        orders: vec![],
        usage: vec![],
        settles: None,
        at: NOON,
    }
}

pub(super) fn added(session: &Session) -> Change {
    change(session, None)
}

pub(super) fn stepped(before: &Session, event: &Event, now: Timestamp) -> (Session, Change) {
    let Step { session, effects, .. } = step(before, event, now, &Timing::default());
    let change = Change { orders: effects, at: now, ..change(&session, Some(before.version)) };
    (session, change)
}

pub(super) async fn read(store: &dyn Store, id: SessionId) -> Option<Session> {
    store.sessions_by_id(&[id]).await.unwrap().pop()
}

pub(super) async fn keep(store: &dyn Store, change: Change) {
    assert_eq!(store.commit(&[change]).await.unwrap(), [Committed::Done]);
}

prop_compose! {
    pub(super) fn any_record()(
        number in 1..u128::MAX,
        version in 0..i64::MAX as u64,
        texts in proptest::collection::vec(proptest::option::of("[^\0]{0,40}"), 6),
        state in proptest::sample::select(&State::ALL[..]),
        cause in proptest::option::of(proptest::sample::select(&EndCause::ALL[..])),
        times in proptest::collection::vec(proptest::option::of(-1_000_000_000_000_000i64..9_000_000_000_000_000), 9),
        numbers in any::<[u32; 4]>(),
        octets in proptest::collection::vec(0..=i64::MAX as u64, 5),
        address in any::<IpAddr>(),
        framed in proptest::option::of(any::<IpAddr>()),
        prefix in (any::<std::net::Ipv6Addr>(), 0u8..=128),
        outcome in proptest::option::of(proptest::sample::select(&[
            Outcome::WrongNumber, Outcome::Superseded, Outcome::Permitted, Outcome::NasUnreachable, Outcome::Denied, Outcome::Expired, Outcome::NotLifted,
            Outcome::Disconnected, Outcome::Kicked,
        ][..])),
        decided in proptest::option::of((any::<bool>(), any::<bool>())),
    ) -> Record {
        let time = |index: usize| times[index].map(Timestamp::from_micros);
        let text = |index: usize| texts[index].clone();
        Record {
            id: id(number),
            version,
            user: UserName::new(text(0).unwrap_or_default()),
            nas: NasName::new(text(1).unwrap_or_default()),
            nas_address: address,
            identity: Identity {
                nas_port: text(3).map(|_| numbers[0]),
                nas_port_id: text(2),
                nas_identifier: text(3),
                calling_station_id: text(4),
                acct_session_id: text(5),
                framed_ip: framed,
                framed_ipv6_prefix: framed.map(|_| ipnet::Ipv6Net::new(prefix.0, prefix.1).unwrap()),
                ..Identity::default()
            },
            grant: text(2).map(|filter| Grant { permit_filter: filter, ..grant() }),
            state,
            accepted_at: time(0).unwrap_or_default(),
            started_at: time(1),
            heard_at: time(2).unwrap_or_default(),
            deadline: time(3),
            permitted_at: time(4),
            evicting_since: time(5),
            disconnect_acked_at: time(6),
            asks: texts.iter().flatten().map(|reference| Ask {
                approver: ApproverKind::Telegram, state: AskState::Sent(reference.clone()), next_at: time(1), strays: text(0),
            }).collect(),
            votes: texts.iter().flatten().map(|who| Vote {
                by: DecidedBy { approver: ApproverKind::Person, who: who.clone() },
                other: text(1).map(UserName::new), chat: text(0),
                at: time(3).unwrap_or_default(),
            }).collect(),
            decision: decided.map(|(yes, telegram)| Decision {
                verdict: if yes { Verdict::Approved } else { Verdict::Denied },
                by: DecidedBy {
                    approver: if telegram { ApproverKind::Telegram } else { ApproverKind::Operator },
                    who: text(0).unwrap_or_default(),
                },
                at: time(7).unwrap_or_default(),
            }),
            outcome,
            attempt: numbers[1],
            tries: numbers[2],
            retry_at: time(8),
            identify_fully: numbers[3] % 2 == 0,
            counters: Counters {
                input_octets: octets[0],
                output_octets: octets[1],
                input_packets: octets[2],
                output_packets: octets[3],
                session_time: octets[4],
            },
            interim_interval: text(1).map(|_| Duration::from_secs(numbers[2].into())),
            end: cause.map(|cause| End {
                at: time(8).unwrap_or_default(), cause, terminate_cause: text(4).map(|_| numbers[3]),
            }),
        }
    }
}

/// The day of so many seconds after [`NOON`].
fn day_of(secs: u64) -> Day {
    Day::since_1970(i32::try_from((NOON + Duration::from_secs(secs)).as_secs() / 86_400).unwrap())
}

pub(super) fn usage(session: &Session, from: u64, to: u64, octets: u64) -> Usage {
    Usage {
        session: session.id,
        user: session.user.clone(),
        nas: session.nas.clone(),
        from: NOON + Duration::from_secs(from),
        to: NOON + Duration::from_secs(to),
        day: day_of(to),
        added: Counters { input_octets: octets, output_octets: octets * 2, ..Counters::default() },
    }
}

pub(super) async fn order(store: &dyn Store, number: u128, secs: u64) {
    let at = NOON + Duration::from_secs(secs);
    let orders = vec![Effect::SendCoa { attempt: u32::try_from(number).unwrap() }];
    keep(store, Change { orders, at, ..added(&offer(number, NOON)) }).await;
}
