//! What the portal shows of sessions, as the store has them: any node may be asked about any session.
//!
//! Knows no HTTP. Shows a session to nobody but the address it has, and nothing at all where two sessions have one address; a code is
//! for the session of the page it was typed on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::clock;
use super::totp::{CodeOutcome, HeldCodes, waits_for_code};
use crate::accounting::same_nas;
use crate::auth::totp::Code;
use crate::http::{Given, Phase, Seen, Sessions, Shown, WaitsFor};
use crate::model::{ApproverKind, SessionId, Timestamp};
use crate::session::{AskState, ButtonKey, Outcome, Place, Session, State, Verdict};
use crate::store::{Store, StoreError};
use crate::telemetry::{self, OncePerWindow};

/// Somebody looks at a page meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);
/// An address that several sessions have is told of once in this time.
const COMPLAINT: Duration = Duration::from_secs(600);
/// So many such addresses are remembered.
const COMPLAINTS: usize = 1000;

/// Sessions for the portal.
#[derive(Debug)]
pub(super) struct PortalSessions {
    store: Arc<dyn Store>,
    codes: HeldCodes,
    buttons: ButtonKey,
    shared: OncePerWindow<IpAddr>,
}

/// Whose an address is.
enum Whose {
    Of(Session),
    Nobody,
    Several(Vec<Session>),
}

impl PortalSessions {
    pub(super) fn new(store: Arc<dyn Store>, codes: HeldCodes, buttons: ButtonKey) -> Self {
        Self { store, codes, buttons, shared: OncePerWindow::new(COMPLAINT, COMPLAINTS) }
    }

    async fn whose(&self, address: IpAddr) -> Result<Whose, StoreError> {
        let found = timeout(PATIENCE, self.store.sessions_framed(address)).await;
        let found = found.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {PATIENCE:?}"))))?;
        Ok(whose(found))
    }

    fn complain(&self, address: IpAddr, sessions: &[Session]) {
        telemetry::count("portal.address-shared");
        if let Some(kept_back) = self.shared.first(address, clock::now()) {
            let nases: Vec<String> =
                sessions.iter().map(|session| format!("{} on {}", session.id, session.nas)).collect();
            tracing::warn!(%address, sessions = nases.join(", "), kept_back,
                "several open sessions have this address; the portal shows none of them. Give each NAS a pool of its own, or end what is over");
        }
    }

    /// What a code for a session is given with. Made by us alone, for that address, and nothing that anybody could press.
    fn form(&self, session: SessionId, address: IpAddr) -> String {
        self.buttons.seal(session, Verdict::Approved, form_place(&address.to_string()))
    }

    fn shown(&self, session: &Session, address: IpAddr, now: Timestamp) -> Option<Shown> {
        let phase = phase(session)?;
        let waits = matches!(phase, Phase::Waits(_));
        let voted = session.votes.iter().any(|vote| vote.other.is_none());
        let form = (waits && !voted && waits_for_code(session, now)).then(|| self.form(session.id, address));
        // A login that only a code lets through is asked for one.
        let phase = match phase {
            Phase::Waits(WaitsFor::Operator) if form.is_some() => Phase::Waits(WaitsFor::Code),
            phase => phase,
        };
        let in_time = session.deadline.is_some_and(|deadline| now < deadline);
        let number = (waits && !voted && in_time && session.shows_numbers() && may_be_rung(session))
            .then(|| self.buttons.number(session.id));
        let until = match phase {
            Phase::Waits(_) | Phase::Confirmed => session.deadline,
            Phase::Through => {
                let timeout = session.grant.as_ref().and_then(|grant| grant.session_timeout);
                session.started_at.zip(timeout).map(|(started, timeout)| started + timeout)
            }
            _ => None,
        };
        Some(Shown { phase, left: until.map(|until| until.since(now)), number, form })
    }
}

#[async_trait]
impl Sessions for PortalSessions {
    async fn at(&self, address: IpAddr) -> Seen {
        match self.whose(address).await {
            Ok(Whose::Of(session)) => self.shown(&session, address, clock::now()).map_or(Seen::Nothing, Seen::Session),
            Ok(Whose::Nobody) => Seen::Nothing,
            Ok(Whose::Several(sessions)) => {
                self.complain(address, &sessions);
                Seen::Shared
            }
            Err(error) => {
                telemetry::count("portal.store-away");
                tracing::debug!(%address, %error, "the portal cannot see whose address this is");
                Seen::Away
            }
        }
    }

    async fn code(&self, address: IpAddr, form: &str, code: &str) -> Given {
        let text = address.to_string();
        let Ok(meant) = self.buttons.redeem(form, form_place(&text)) else { return Given::NothingWaits };
        let session = match self.whose(address).await {
            Ok(Whose::Of(session)) if session.id == meant.session() => session,
            Ok(_) => return Given::NothingWaits,
            Err(error) => {
                tracing::warn!(%address, %error, "a code of the portal cannot be checked without the store");
                return Given::Away;
            }
        };
        // What looks like no code is none, and costs no try.
        let Some(code) = Code::read(code) else { return Given::Wrong };
        match self.codes.code_from_page(&session, &code, &format!("portal {address}")).await {
            Ok(CodeOutcome::Approved) => Given::Approved,
            Ok(CodeOutcome::Counted) => Given::Counted,
            Ok(CodeOutcome::Wrong) => Given::Wrong,
            Ok(CodeOutcome::TooLate) => Given::TooLate,
            Ok(CodeOutcome::NothingWaits | CodeOutcome::SeveralWait) => Given::NothingWaits,
            Ok(CodeOutcome::Away) => Given::Away,
            Err(error) => {
                tracing::warn!(%address, session = %session.id, %error, "a code of the portal cannot be checked");
                Given::Away
            }
        }
    }
}

/// A place that no approver has.
fn form_place(address: &str) -> Place<'_> {
    Place { approver: ApproverKind::Totp, chat: address, presser: "portal form" }
}

/// On one device an address is one session's at a time: the latest start has it, and what was there before is over, though nobody has
/// said so yet. Of several devices nobody can say which one whoever asks came through.
fn whose(latest_first: Vec<Session>) -> Whose {
    let mut owners: Vec<Session> = Vec::new();
    for session in latest_first.into_iter().filter(|session| session.state != State::Offered) {
        let device = |other: &Session| {
            other.nas == session.nas
                && same_nas((&other.identity, other.nas_address), (&session.identity, session.nas_address))
        };
        if !owners.iter().any(device) {
            owners.push(session);
        }
    }
    match owners.len() {
        0 => Whose::Nobody,
        1 => owners.pop().map_or(Whose::Nobody, Whose::Of),
        _ => Whose::Several(owners),
    }
}

/// How far a session is; `None` for one that is no business of the portal.
fn phase(session: &Session) -> Option<Phase> {
    match session.state {
        State::Held if session.outcome == Some(Outcome::Superseded) => Some(Phase::Replaced),
        // Approved; the NAS was not reached yet.
        State::Held if session.decision.is_some() => Some(Phase::Confirmed),
        State::Held => Some(Phase::Waits(waits_for(session))),
        State::Permitting => Some(Phase::Confirmed),
        State::Permitted => Some(Phase::Through),
        State::Evicting => Some(match session.outcome {
            Some(Outcome::Denied | Outcome::WrongNumber) => Phase::Denied,
            Some(Outcome::Expired) => Phase::TimeUp,
            Some(Outcome::Superseded) => Phase::Replaced,
            _ => Phase::Ended,
        }),
        State::Offered | State::Dropped | State::Closed | State::Observed => None,
    }
}

/// Who is asked, and could be reached.
fn waits_for(session: &Session) -> WaitsFor {
    let asked = |kind: ApproverKind| {
        session.asks.iter().any(|ask| ask.approver == kind && !matches!(ask.state, AskState::Undeliverable(_)))
    };
    let voted = session.votes.iter().any(|vote| vote.other.is_none());
    if !voted && (asked(ApproverKind::Telegram) || asked(ApproverKind::Webhook)) {
        WaitsFor::Person
    } else if asked(ApproverKind::Person) {
        WaitsFor::Others
    } else {
        WaitsFor::Operator
    }
}

/// Whether the question with the numbers is on its way, there, or yet to come.
fn may_be_rung(session: &Session) -> bool {
    let ask = session.asks.iter().find(|ask| ask.approver == ApproverKind::Telegram);
    ask.is_none_or(|ask| !matches!(ask.state, AskState::Undeliverable(_)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{Identity, UserName};
    use crate::policy::{Grant, HoldTerms, Terms};
    use crate::session::{Ask, DecidedBy, Decision, Record};

    const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);

    fn session(number: u128, nas: &str, state: State) -> Session {
        let started = NOON + Duration::from_secs(u64::try_from(number).unwrap());
        let hold = HoldTerms::new(Duration::from_secs(120), Duration::from_secs(30), [ApproverKind::Telegram]);
        let grant = Grant {
            sandbox_filter: "sandbox".into(),
            permit_filter: "permit".into(),
            terms: Terms::Hold(hold),
            session_timeout: None,
            reply: vec![],
        };
        let offer = Session::offer(
            SessionId(Uuid::from_u128(number)),
            UserName::new("alice"),
            nas.into(),
            [192, 0, 2, 1].into(),
            Identity::default(),
            grant,
            started,
        );
        Session::restore(Record { state, started_at: Some(started), ..offer.into_record() })
    }

    fn with(session: Session, change: impl FnOnce(&mut Record)) -> Session {
        let mut record = session.into_record();
        change(&mut record);
        Session::restore(record)
    }

    #[test]
    fn of_one_device_the_latest_start_has_the_address() {
        let of = |sessions: Vec<Session>| match whose(sessions) {
            Whose::Nobody => vec![],
            Whose::Of(session) => vec![session.id.0.as_u128()],
            Whose::Several(sessions) => sessions.iter().map(|session| session.id.0.as_u128()).collect(),
        };
        let held = |number| session(number, "edge", State::Held);
        assert_eq!(of(vec![]), []);
        assert_eq!(of(vec![held(2), held(1)]), [2]);
        assert_eq!(of(vec![held(2), session(1, "core", State::Permitted)]), [2, 1]);
        assert_eq!(of(vec![held(2), session(1, "core", State::Observed)]), [2, 1], "it has the address all the same");
        assert_eq!(of(vec![session(2, "core", State::Offered), held(1)]), [1], "it is not there yet");
        let elsewhere = with(held(1), |record| record.nas_address = [192, 0, 2, 9].into());
        assert_eq!(of(vec![held(2), elsewhere]), [2, 1], "another device of the same entry");
    }

    #[test]
    fn every_state_has_its_page() {
        let denied = |outcome| with(session(1, "edge", State::Evicting), |record| record.outcome = outcome);
        let asked = |state| {
            with(session(1, "edge", State::Held), |record| {
                record.asks = vec![Ask { approver: ApproverKind::Telegram, state, next_at: None, strays: None }];
            })
        };
        let decided = with(session(1, "edge", State::Held), |record| {
            let by = DecidedBy { approver: ApproverKind::Telegram, who: "7".into() };
            record.decision = Some(Decision { verdict: Verdict::Approved, by, at: NOON });
        });
        for (session, expected) in [
            (session(1, "edge", State::Offered), None),
            (session(1, "edge", State::Observed), None),
            (session(1, "edge", State::Closed), None),
            (asked(AskState::Sending), Some(Phase::Waits(WaitsFor::Person))),
            (asked(AskState::Undeliverable("blocked".into())), Some(Phase::Waits(WaitsFor::Operator))),
            (decided, Some(Phase::Confirmed)),
            (with(session(1, "edge", State::Held), |it| it.outcome = Some(Outcome::Superseded)), Some(Phase::Replaced)),
            (session(1, "edge", State::Permitting), Some(Phase::Confirmed)),
            (session(1, "edge", State::Permitted), Some(Phase::Through)),
            (denied(Some(Outcome::Denied)), Some(Phase::Denied)),
            (denied(Some(Outcome::WrongNumber)), Some(Phase::Denied)),
            (denied(Some(Outcome::Expired)), Some(Phase::TimeUp)),
            (denied(Some(Outcome::Kicked)), Some(Phase::Ended)),
            (denied(Some(Outcome::NotLifted)), Some(Phase::Ended)),
            (denied(Some(Outcome::Permitted)), Some(Phase::Ended)),
        ] {
            assert_eq!(phase(&session), expected, "{:?} {:?}", session.state, session.outcome);
        }
    }
}
