//! What people are told of a session: the question with all that is known of it, and notices to the operator.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::clock;
use super::Worker;
use crate::approver::{Ending, Notice, Question, Whose};
use crate::dynauth::ErrorCause;
use crate::model::{ApproverKind, Timestamp, Whereabouts};
use crate::policy::Caller;
use crate::session::{Alert, End, Session, State};

impl Worker {
    /// What is known of a session now, for whoever is asked or told about it.
    pub(super) async fn question(&self, session: &Session, approver: ApproverKind) -> Question {
        let caller = session.identity.calling_station_id.as_deref().and_then(Caller::read);
        let whereabouts = match caller {
            Some(Caller::Address(address)) => {
                let places = Arc::clone(&self.places.read().unwrap_or_else(PoisonError::into_inner));
                places.whereabouts(address).await
            }
            _ => Whereabouts::default(),
        };
        let ending = |end: End| Ending {
            at: end.at,
            lasted: lasted(session, end.at),
            input_octets: session.counters.input_octets,
            output_octets: session.counters.output_octets,
            cause: end.cause,
            terminate_cause: end.terminate_cause,
        };
        Question {
            about: if approver == ApproverKind::Person { Whose::Anothers } else { Whose::Own },
            session: session.id,
            user: session.user.to_string(),
            nas: session.nas.to_string(),
            calling_station_id: session.identity.calling_station_id.clone(),
            accepted_at: session.accepted_at,
            deadline: session.deadline.unwrap_or(session.accepted_at),
            now: clock::now(),
            medium: session.identity.medium,
            whereabouts,
            decided: session.decision.as_ref().map(|decision| decision.by.approver),
            ended: session.end.filter(|_| session.state == State::Closed).map(ending),
            numbers: None,
        }
    }
}

/// Acct-Session-Time, which pauses may be taken out of; else the time between start and end.
fn lasted(session: &Session, end: Timestamp) -> Duration {
    match session.counters.session_time {
        0 => end.since(session.started_at.unwrap_or(session.accepted_at)),
        seconds => Duration::from_secs(seconds),
    }
}

/// That a session waits for the operator.
pub(super) fn operator_is_asked(session: &Session, now: Timestamp) -> Notice {
    let deadline = session.deadline.unwrap_or(now);
    let caller = session.identity.calling_station_id.as_deref();
    about("alert-operator-asked", session)
        .with("caller", if caller.is_some() { "known" } else { "unknown" })
        .with("from", caller.unwrap_or_default())
        .with("left", deadline.since(now).as_secs())
        .with("until", deadline)
}

/// What the operator should know about a session.
pub(super) fn alert(session: &Session, alert: &Alert) -> Notice {
    let refused = |id, error_cause: &Option<u32>| {
        about(id, session)
            .with("given", if error_cause.is_some() { "yes" } else { "no" })
            .with("cause", error_cause.map(|cause| ErrorCause(cause).to_string()).unwrap_or_default())
    };
    match alert {
        Alert::Undeliverable { reason, held } => about("alert-undeliverable", session)
            .with("reason", reason.as_str())
            .with("then", if *held { "held" } else { "ended" }),
        Alert::CoaRefused { error_cause } => refused("alert-coa-refused", error_cause),
        Alert::DisconnectRefused { error_cause } => refused("alert-disconnect-refused", error_cause),
        Alert::AckWithoutEffect => about("alert-ack-without-effect", session),
        Alert::EvictionUnconfirmed => about("alert-eviction-unconfirmed", session),
        Alert::EmergencyCode { who } => about("alert-emergency-code", session).with("who", who.as_str()),
    }
}

fn about(id: &'static str, session: &Session) -> Notice {
    Notice::new(id)
        .with("user", session.user.as_str())
        .with("nas", session.nas.as_str())
        .with("session", session.id.to_string())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::messages::Messages;
    use crate::model::{Identity, Language, SessionId, Zone};

    fn session(caller: Option<&str>) -> Session {
        let identity = Identity { calling_station_id: caller.map(str::to_owned), ..Identity::default() };
        let (id, now) = (SessionId(Uuid::from_u128(7)), Timestamp::from_secs(1_795_166_709));
        Session::observe(id, "bob".into(), "edge".into(), [192, 0, 2, 1].into(), identity, now)
    }

    #[test]
    fn every_notice_is_whole_in_every_language() {
        let messages = Messages::load(None).unwrap();
        let reason = || "blocked".to_owned();
        let alerts = [
            Alert::Undeliverable { reason: reason(), held: false },
            Alert::Undeliverable { reason: reason(), held: true },
            Alert::CoaRefused { error_cause: Some(401) },
            Alert::CoaRefused { error_cause: None },
            Alert::DisconnectRefused { error_cause: Some(503) },
            Alert::AckWithoutEffect,
            Alert::EvictionUnconfirmed,
            Alert::EmergencyCode { who: "spare".to_owned() },
        ];
        let now = Timestamp::from_secs(1_795_166_700);
        let asked = [session(None), session(Some("203.0.113.7"))].map(|session| operator_is_asked(&session, now));
        let notices: Vec<_> = alerts.iter().map(|it| alert(&session(None), it)).chain(asked).collect();
        for language in &messages.languages() {
            let said: Vec<_> = notices.iter().map(|notice| notice.say(&messages, language, Zone::UTC)).collect();
            for text in &said {
                assert!(text.contains("bob") && text.contains("edge") && !text.contains(['{', '$']), "{text}");
            }
            let different: std::collections::BTreeSet<_> = said.iter().collect();
            assert_eq!(different.len(), said.len(), "{language}");
            assert!(said[2].contains("401") && said[9].contains("203.0.113.7"), "{said:#?}");
        }
        let english = alert(&session(None), &alerts[0]).say(&messages, &Language::english(), Zone::UTC);
        assert!(english.contains("nobody could be asked (blocked)"), "{english}");
    }
}
