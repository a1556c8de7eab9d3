//! `radhold session …`, on sessions kept as the server would keep them.

use std::time::Duration;

use radhold::accounting::Report;
use radhold::app::{apply, chance, clock};
use radhold::model::{ApproverKind, Counters, Identity, Nas, NodeName, Secret, SessionId, Timestamp};
use radhold::policy::{self, Defaults, HoldTerms};
use radhold::session::{Effect, Event, Session, State, Timing, step};
use radhold::store::{Change, Committed};
use serde_json::json;

use super::{House, wait};

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn approving_keeps_the_decision_with_its_order_and_a_second_word_is_too_late() {
    let house = House::new();
    let id = keep_session(&house, true, LONG).to_string();
    assert_eq!(house.json(&["session", "show", &id])["state"], "held");

    assert_eq!(house.done(&["session", "approve", &id, "--as", "helpdesk"]), "approved; the NAS is being told\n");
    let shown = house.json(&["session", "show", &id]);
    assert_eq!(shown["state"], "permitting");
    assert_eq!(shown["decision"]["verdict"], "approved");
    assert_eq!((&shown["decision"]["approver"], &shown["decision"]["who"]), (&json!("operator"), &json!("helpdesk")));
    assert!(orders(&house).contains(&Effect::SendCoa { attempt: 1 }));

    let late = house.fails(3, &["session", "deny", &id]);
    assert!(late.starts_with("radhold: too late: the session was approved already by helpdesk at "), "{late}");
    assert_eq!(house.json(&["session", "show", &id])["state"], "permitting", "the second word changes nothing");
}

#[test]
fn denying_ends_and_a_part_of_the_id_is_enough() {
    let house = House::new();
    let id = keep_session(&house, true, LONG).to_string();
    assert_eq!(house.done(&["session", "deny", &id[24..]]), "denied; the NAS is being told to end it\n");
    let shown = house.json(&["session", "show", &id[..18]]);
    assert_eq!((&shown["state"], &shown["decision"]["who"]), (&json!("evicting"), &json!("tester")));
    assert!(orders(&house).contains(&Effect::SendDisconnect { attempt: 1 }));
    assert!(house.fails(3, &["session", "kick", &id]).contains("denied already by tester"));
}

#[test]
fn approving_before_the_start_is_remembered() {
    let house = House::new();
    let id = keep_session(&house, false, LONG);
    let said = house.done(&["session", "approve", &id.to_string()]);
    assert_eq!(said, "approved; it will be let through when it starts\n");
    let now = clock::now();
    assert_eq!(bring(&house, id, &Event::Started(Report { at: now, ..Report::default() })).state, State::Permitting);
}

/// Invariant 2: whoever comes second learns the truth, however close it was.
#[test]
fn of_many_operators_at_once_one_decides() {
    let house = House::new();
    let id = keep_session(&house, true, LONG).to_string();
    let words = ["approve", "deny", "approve", "deny", "kick"];
    let codes = std::thread::scope(|scope| {
        let runs = words.map(|word| scope.spawn(|| house.run(&["session", word, &id]).code));
        runs.map(|run| run.join().unwrap())
    });
    let shown = house.json(&["session", "show", &id]);
    let decided = orders(&house).iter().filter(|order| matches!(order, Effect::SendCoa { .. })).count();
    match shown["decision"]["verdict"].as_str() {
        // A kick may follow an approval; a second decision may not.
        Some("approved") => {
            assert_eq!((decided, codes.iter().filter(|code| **code == 0).count()), (1, 2), "{codes:?}");
            assert_eq!(shown["state"], "evicting");
        }
        _ => assert_eq!((decided, codes.iter().filter(|code| **code == 0).count()), (0, 1), "{codes:?}"),
    }
    assert!(codes.iter().all(|code| matches!(code, 0 | 3)), "{codes:?}");
}

#[test]
fn after_the_deadline_it_is_too_late() {
    let house = House::new();
    let id = keep_session(&house, true, Duration::ZERO).to_string();
    assert_eq!(house.fails(3, &["session", "approve", &id]), "radhold: too late: the deadline had passed\n");
    assert_eq!(house.json(&["session", "show", &id])["state"], "evicting");
}

#[test]
fn a_permitted_session_can_be_kicked_and_usage_is_kept() {
    let house = House::new();
    let id = keep_session(&house, true, LONG);
    house.done(&["session", "approve", &id.to_string()]);
    bring(&house, id, &Event::CoaAcked { attempt: 1 });
    let at = clock::now() + Duration::from_secs(60);
    let counters = Counters { input_octets: 5_000_000_000, output_octets: 7, session_time: 60, ..Counters::default() };
    bring(&house, id, &Event::Interim(Report { at, counters, ..Report::default() }));
    let shown = house.json(&["session", "show", &id.to_string()]);
    assert_eq!(shown["state"], "permitted");
    // In two parts when midnight is between.
    let usage = shown["usage"].as_array().unwrap();
    let added: u64 = usage.iter().map(|part| part["added"]["input_octets"].as_u64().unwrap()).sum();
    assert_eq!(added, 5_000_000_000);
    assert!(usage.iter().any(|part| part["to"] == at.to_string()), "{usage:#?}");

    assert_eq!(house.done(&["session", "kick", &id.to_string()]), "the NAS is being told to end it\n");
    assert_eq!(house.json(&["session", "list"])[0]["state"], "evicting");
    bring(&house, id, &Event::Stopped(Report { at, counters, ..Report::default() }));
    assert_eq!(house.json(&["session", "list"]), json!([]));
    assert_eq!(house.json(&["session", "list", "--all"])[0]["end"]["cause"], "stop");
    assert!(house.fails(3, &["session", "kick", &id.to_string()]).contains("too late"));
}

#[test]
fn sessions_are_listed_by_what_is_asked() {
    let house = House::new();
    let held = keep_session(&house, true, LONG).to_string();
    let offered = keep_session(&house, false, LONG).to_string();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let list = house.json(&[&["session", "list"], arguments].concat());
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]), [offered.as_str(), held.as_str()]);
    assert_eq!(ids(&["--state", "held"]), [held.as_str()]);
    assert_eq!(ids(&["--limit", "1"]), [offered]);
    assert_eq!(ids(&["--nas", "core"]), [] as [&str; 0]);
    assert!(house.done(&["session", "list"]).contains("198.51.100.9"));
    assert!(house.done(&["session", "show", &held]).contains("Calling-Station-Id"));
    house.fails(2, &["session", "list", "--state", "asleep"]);
}

#[test]
fn sessions_that_are_not_there_are_not_found() {
    let house = House::new();
    let id = chance::session_id(Timestamp::from_secs(1)).to_string();
    for arguments in [["session", "approve", &id], ["session", "show", "01936f2e"]] {
        let said = house.fails(4, &arguments);
        assert!(said.starts_with("radhold: there is no session "), "{said}");
    }
    assert!(house.fails(2, &["session", "deny", "01"]).contains("too short"));
    keep_session(&house, true, LONG);
    let id = house.json(&["session", "list"])[0]["id"].as_str().unwrap().to_owned();
    keep_session(&house, true, LONG);
    let many = house.fails(2, &["session", "approve", &id[..6]]);
    assert!(many.contains("2 sessions are called"), "{many}");
}

/// A session as `serve` would keep it: offered, or started too.
fn keep_session(house: &House, started: bool, window: Duration) -> SessionId {
    house.done_with(&["user", "add", &format!("u{}", hex::encode(chance::octets::<4>())), "--password-stdin"], "a");
    let user = house.json(&["user", "list"])[0]["name"].as_str().unwrap().to_owned();
    let store = house.store();
    let defaults = Defaults {
        sandbox_filter: "sandbox".into(),
        permit_filter: "permit".into(),
        hold: HoldTerms::new(window, Duration::from_secs(30), [ApproverKind::Operator]),
    };
    let nas = Nas::new("edge", "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("x"));
    let grant =
        policy::decide(&wait(store.user(&user.as_str().into())).unwrap().unwrap(), &[], &nas, &defaults).unwrap();
    let identity = Identity { calling_station_id: Some("198.51.100.9".into()), ..Identity::default() };
    let now = clock::now();
    let id = chance::session_id(now);
    let offered =
        Session::offer(id, user.as_str().into(), nas.name, "192.0.2.1".parse().unwrap(), identity, grant, now);
    let accepted = step(&offered, &Event::Accepted, now, &Timing::default());
    let change = Change {
        wake_at: accepted.session.wake_at(&Timing::default()),
        session: accepted.session,
        from_version: None,
        extent: radhold::store::Extent::Whole,
        orders: accepted.effects,
        usage: vec![],
        settles: None,
        at: now,
    };
    assert_eq!(wait(store.commit(&[change])).unwrap(), [Committed::Done]);
    if started {
        bring(house, id, &Event::Started(Report { at: now, ..Report::default() }));
    }
    id
}

fn bring(house: &House, id: SessionId, event: &Event) -> Session {
    let store = house.store();
    let clock = clock::now;
    wait(apply(&*store, id, event, None, clock, &Timing::default())).unwrap().unwrap().0
}

fn orders(house: &House) -> Vec<Effect> {
    let store = house.store();
    let far = clock::now() + Duration::from_secs(3600);
    let claimed = wait(store.claim(&NodeName::new("test"), None, far, Duration::from_secs(1), 100)).unwrap();
    claimed.into_iter().map(|order| order.effect).collect()
}
