//! The outbox at work: claims orders, carries them out, and hands their outcome to the ledger, which strikes them off in the same
//! transaction that keeps the outcome. An order that was claimed by a process that died is claimed again when its lease
//! is over, or sooner, when the other nodes miss that process; done twice, it is harmless.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::clock;
use super::ledger::Ledger;
use super::nas_queue::{self, NasPlace, NasQueues};
use super::settings::SettingsHandle;
use crate::approver::{Approver, AskError, Question};
use crate::dynauth::{Answer, ErrorCause, Request};
use crate::model::{ApproverKind, Nas, NodeName, SessionId};
use crate::net::dynamic_authorization::{self, DynamicAuthorizationClient, Target};
use crate::session::{Alert, Effect, Event, Lane, Session};
use crate::store::{Order, Store, StoreError};
use crate::telemetry;

/// How long an outcome is offered to a ledger that cannot keep it.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for an approver's service before the order is put off.
const APPROVER_PATIENCE: Duration = Duration::from_secs(30);
/// How often to look for orders when nobody calls: those put off, and those of others (another node, the command line) of which no
/// news came.
const PERIOD: Duration = Duration::from_millis(500);
/// Attributes of a permit that a NAS may want one by one.
const MOST_REQUESTS: u32 = 4;
/// Orders in hand at once in each lane: to NASes, as many as several that have fallen silent can hold up for a while.
const AT_ONCE: (usize, usize) = (16_384, 256);
/// Orders claimed at a time.
const CLAIM: usize = 512;
/// The longest wait before an approver's service is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A prompt's last word is not worth more tries than this.
const TELL_TRIES: u32 = 20;

/// Says that there are new orders, to each lane.
#[derive(Debug, Default)]
pub(super) struct NewOrders {
    nas: Notify,
    people: Notify,
    notices: Notify,
}

impl NewOrders {
    /// Calls the lanes of these orders.
    pub(super) fn call<'a>(&self, orders: impl IntoIterator<Item = &'a Effect>) {
        for order in orders {
            self.of(order.lane()).notify_one();
        }
    }

    /// Calls all lanes.
    pub(super) fn call_all(&self) {
        self.nas.notify_one();
        self.people.notify_one();
        self.notices.notify_one();
    }

    fn of(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Nas => &self.nas,
            Lane::People => &self.people,
            Lane::Notices => &self.notices,
        }
    }
}

/// The part that carries orders out.
pub(super) struct Worker {
    pub node: NodeName,
    pub store: Arc<dyn Store>,
    pub ledger: Ledger,
    pub settings: SettingsHandle,
    pub approvers: BTreeMap<ApproverKind, Arc<dyn Approver>>,
    pub dynauth: DynamicAuthorizationClient,
    /// Where its requests leave from, unless the NAS says otherwise.
    pub dynauth_source: Option<SocketAddr>,
    /// How long an order is ours: longer than the slowest takes.
    pub lease: Duration,
    pub queues: NasQueues,
}

impl Worker {
    /// How long an order may take at the worst: to send, to a NAS that takes one attribute at a time, and to be kept.
    pub(super) fn lease(dynauth: &dynamic_authorization::Settings) -> Duration {
        let request = dynauth.patience + dynauth.timers.mrd;
        let slowest = (nas_queue::PATIENCE + request * MOST_REQUESTS).max(APPROVER_PATIENCE);
        slowest + OUTCOME_PATIENCE + Duration::from_secs(10)
    }

    /// Works in one lane until told to stop, and then until what it has begun is done.
    pub(super) async fn run(self: Arc<Self>, lane: Lane, new_orders: Arc<NewOrders>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let places = Arc::new(Semaphore::new(match lane {
            Lane::Nas => AT_ONCE.0,
            Lane::People | Lane::Notices => AT_ONCE.1,
        }));
        while !*stop.borrow() {
            while tasks.try_join_next().is_some() {}
            // Claims no more than it can begin: a lease is for work, not for waiting.
            let Ok(first) = Arc::clone(&places).acquire_owned().await else { return };
            let free = u32::try_from((places.available_permits() + 1).min(CLAIM)).unwrap_or(1);
            drop(first);
            let orders = match self.store.claim(&self.node, Some(lane), clock::now(), self.lease, free).await {
                Ok(orders) => orders,
                Err(error) => {
                    telemetry::count("store.failed");
                    tracing::warn!(%error, "cannot see which orders are due; trying again");
                    Vec::new()
                }
            };
            if orders.is_empty() {
                tokio::select! {
                    () = new_orders.of(lane).notified() => (),
                    () = tokio::time::sleep(PERIOD) => (),
                    _ = stop.changed() => (),
                }
            }
            // One look for all of them; what changes after it, the outcome meets.
            let ids: Vec<_> = orders.iter().map(|order| order.session).collect();
            let sessions = match orders.is_empty() {
                true => Ok(Vec::new()),
                false => self.store.sessions_by_id(&ids).await,
            };
            let sessions: HashMap<SessionId, Session> = match sessions {
                Ok(sessions) => sessions.into_iter().map(|session| (session.id, session)).collect(),
                Err(error) => {
                    telemetry::count("store.failed");
                    tracing::warn!(%error, "cannot see what orders are about; they are carried out when their lease is over");
                    continue;
                }
            };
            for order in orders {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let worker = Arc::clone(&self);
                let session = sessions.get(&order.session).cloned();
                tasks.spawn(async move {
                    if let Err(error) = worker.carry_out(&order, session).await {
                        telemetry::count("store.failed");
                        tracing::warn!(session = %order.session, order = order.effect.as_str(), %error,
                            "the store is away; the order stays and is carried out again");
                    }
                    drop(place);
                });
            }
        }
        tasks.join_all().await;
    }

    async fn carry_out(&self, order: &Order, session: Option<Session>) -> Result<(), StoreError> {
        // Overtaken by events, like a question about a session that is over.
        let Some(session) = session.filter(|session| session.wants(&order.effect)) else {
            return self.store.finish(order.id).await;
        };
        match &order.effect {
            Effect::AskApprover { approver } => self.ask(order, &session, *approver).await,
            Effect::TellApprover { approver, reference, outcome } => {
                let Some(channel) = self.approvers.get(approver) else { return self.store.finish(order.id).await };
                let question = question(&session);
                let told = channel.tell(reference, &question, *outcome);
                match tokio::time::timeout(APPROVER_PATIENCE, told).await.unwrap_or_else(|_| Err(timed_out())) {
                    Err(AskError::Later { after, reason }) if order.attempts < TELL_TRIES => {
                        self.put_off(order, after, &reason).await
                    }
                    Ok(()) => self.store.finish(order.id).await,
                    Err(error) => {
                        tracing::info!(session = %session.id, %error, "a prompt keeps its old words");
                        self.store.finish(order.id).await
                    }
                }
            }
            Effect::SendCoa { attempt } => {
                let Some((session, place)) = self.turn(order, session).await? else { return Ok(()) };
                let (attempt, answer) = (*attempt, self.permit(&session).await);
                place.leave(answer != Answer::Unanswered);
                let event = match answer {
                    Answer::Acked => Event::CoaAcked { attempt },
                    Answer::Naked(error_cause) => Event::CoaNaked { attempt, error_cause },
                    Answer::Unanswered => Event::CoaUnanswered { attempt },
                };
                self.settle(order, &session, event, answer).await
            }
            Effect::SendDisconnect { attempt } => {
                let Some((session, place)) = self.turn(order, session).await? else { return Ok(()) };
                let (attempt, answer) = (*attempt, self.disconnect(&session).await);
                place.leave(answer != Answer::Unanswered);
                let event = match answer {
                    Answer::Acked => Event::DisconnectAcked { attempt },
                    Answer::Naked(error_cause) => Event::DisconnectNaked { attempt, error_cause },
                    Answer::Unanswered => Event::DisconnectUnanswered { attempt },
                };
                self.settle(order, &session, event, answer).await
            }
            Effect::AlertOperator { alert } => self.alert(order, &session, alert).await,
        }
    }

    async fn ask(&self, order: &Order, session: &Session, approver: ApproverKind) -> Result<(), StoreError> {
        let asked = match self.approvers.get(&approver) {
            Some(_) if approver == ApproverKind::Totp && !self.has_totp(session).await? => {
                Err(AskError::Undeliverable(format!("{} has no TOTP", session.user)))
            }
            Some(channel) => {
                let bindings = self.store.bindings(&session.user).await?;
                let bindings: Vec<_> = bindings.into_iter().filter(|binding| binding.approver == approver).collect();
                let question = question(session);
                let asked = channel.ask(&question, &bindings);
                tokio::time::timeout(APPROVER_PATIENCE, asked).await.unwrap_or_else(|_| Err(timed_out()))
            }
            None => Err(AskError::Undeliverable(format!("{approver} is not configured on this server"))),
        };
        let event = match asked {
            Ok(reference) => Event::PromptSent { approver, reference },
            Err(AskError::Later { after, reason }) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "not asked yet");
                return self.put_off(order, after, &reason).await;
            }
            Err(AskError::Undeliverable(reason)) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "cannot ask");
                Event::PromptUndeliverable { approver, reason }
            }
        };
        self.conclude(order, event).await
    }

    async fn has_totp(&self, session: &Session) -> Result<bool, StoreError> {
        Ok(self.store.totp(&session.user).await?.is_some())
    }

    /// Hands the outcome of an order to the ledger. What was done once should not be done again only because the store is away for
    /// a moment.
    async fn conclude(&self, order: &Order, event: Event) -> Result<(), StoreError> {
        let begun = clock::now();
        let mut pause = Duration::from_millis(250);
        while self.ledger.fact(order.session, event.clone(), Some(order.id)).await.is_none() {
            if clock::now().since(begun) > OUTCOME_PATIENCE {
                return self.store.postpone(order, clock::now() + pause, "its outcome could not be kept").await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        Ok(())
    }

    async fn put_off(&self, order: &Order, after: Option<Duration>, reason: &str) -> Result<(), StoreError> {
        let pause = Duration::from_secs(1).saturating_mul(1 << order.attempts.min(6)).min(LONGEST_PAUSE);
        self.store.postpone(order, clock::now() + after.unwrap_or(pause), reason).await
    }

    /// Waits until the session's NAS may be sent something more. `None` when that takes too long, or the order was overtaken
    /// meanwhile: it is put off or struck off then.
    async fn turn(&self, order: &Order, session: Session) -> Result<Option<(Session, NasPlace)>, StoreError> {
        let queue = self.queues.of(&session.nas);
        if let Some(place) = queue.place_now() {
            return Ok(Some((session, place)));
        }
        let Some(place) = queue.place().await else {
            telemetry::count("orders.nas-busy");
            self.put_off(order, None, "its NAS is slow to answer others").await?;
            return Ok(None);
        };
        let now = self.store.sessions_by_id(&[session.id]).await?.pop();
        match now.filter(|session| session.wants(&order.effect)) {
            Some(session) => Ok(Some((session, place))),
            None => self.store.finish(order.id).await.map(|()| None),
        }
    }

    /// Sends what lifts the session.
    async fn permit(&self, session: &Session) -> Answer {
        let settings = self.settings.current();
        let Some(nas) = settings.nases.named(session.nas.as_str()) else { return gone(session) };
        let Some(dialect) = settings.dialects.get(&nas.dialect) else { return gone(session) };
        let requests = match dialect.permit(&settings.dictionary, session, clock::now()) {
            Ok(requests) => requests,
            Err(error) => {
                tracing::error!(session = %session.id, nas = %nas.name, %error, "the CoA-Request cannot be written");
                return Answer::Naked(Some(404));
            }
        };
        let sent = self.send(session, nas, dialect.coa_port(), &requests);
        match session.deadline {
            // At the deadline the session is ended; no retransmission may come behind the Disconnect-Request.
            Some(deadline) => {
                tokio::time::timeout(deadline.since(clock::now()), sent).await.unwrap_or(Answer::Unanswered)
            }
            None => sent.await,
        }
    }

    async fn disconnect(&self, session: &Session) -> Answer {
        let settings = self.settings.current();
        let Some(nas) = settings.nases.named(session.nas.as_str()) else { return gone(session) };
        let Some(dialect) = settings.dialects.get(&nas.dialect) else { return gone(session) };
        self.send(session, nas, dialect.coa_port(), &[dialect.disconnect(session)]).await
    }

    /// Sends requests one after the other; all of them must be acknowledged.
    async fn send(&self, session: &Session, nas: &Nas, port: u16, requests: &[Request]) -> Answer {
        let address = (nas.coa_address.unwrap_or(session.nas_address), nas.coa_port.unwrap_or(port)).into();
        let source = nas.coa_source.or(self.dynauth_source);
        let target = Target { address, source, secret: nas.secret.clone() };
        match self.dynauth.send_each(&target, requests).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(session = %session.id, nas = %nas.name, %error, "a request was not sent; trying again");
                Answer::Unanswered
            }
        }
    }

    async fn settle(&self, order: &Order, session: &Session, event: Event, answer: Answer) -> Result<(), StoreError> {
        let (label, cause) = match answer {
            Answer::Acked => ("dynauth.ack", None),
            Answer::Naked(cause) => ("dynauth.nak", cause),
            Answer::Unanswered => ("dynauth.unanswered", None),
        };
        telemetry::count(label);
        tracing::info!(session = %session.id, nas = %session.nas, order = order.effect.as_str(), answer = label,
            error_cause = cause.map(|cause| ErrorCause(cause).to_string()), "order carried out");
        self.conclude(order, event).await
    }

    async fn alert(&self, order: &Order, session: &Session, alert: &Alert) -> Result<(), StoreError> {
        let text = alert_text(session, alert);
        tracing::error!(session = %session.id, user = %session.user, nas = %session.nas, "{text}");
        telemetry::count("alert");
        let mut later = None;
        for channel in self.approvers.values() {
            let sent = tokio::time::timeout(APPROVER_PATIENCE, channel.alert(&text)).await;
            if let Err(AskError::Later { after, reason }) = sent.unwrap_or_else(|_| Err(timed_out())) {
                later = Some((after, reason));
            }
        }
        match later {
            Some((after, reason)) if order.attempts < TELL_TRIES => self.put_off(order, after, &reason).await,
            _ => self.store.finish(order.id).await,
        }
    }
}

fn question(session: &Session) -> Question {
    Question {
        session: session.id,
        user: session.user.to_string(),
        nas: session.nas.to_string(),
        calling_station_id: session.identity.calling_station_id.clone(),
        accepted_at: session.accepted_at,
        deadline: session.deadline.unwrap_or(session.accepted_at),
        now: clock::now(),
    }
}

/// The NAS was removed from the configuration: nobody to send to, as if it did not answer.
fn gone(session: &Session) -> Answer {
    tracing::error!(session = %session.id, nas = %session.nas, "its NAS or the NAS's dialect is not configured any more");
    Answer::Unanswered
}

fn timed_out() -> AskError {
    AskError::Later { after: None, reason: "no answer from the approver's service in time".to_owned() }
}

fn alert_text(session: &Session, alert: &Alert) -> String {
    let cause = |cause: &Option<u32>| cause.map_or("no Error-Cause".to_owned(), |cause| ErrorCause(cause).to_string());
    let what = match alert {
        Alert::Undeliverable { reason } => format!("nobody could be asked ({reason}); the session is being ended"),
        Alert::CoaRefused { error_cause } => format!(
            "the NAS refuses the CoA-Request ({}); the session stays confined until its deadline. Check the NAS's dialect",
            cause(error_cause)
        ),
        Alert::DisconnectRefused { error_cause } => {
            format!("the NAS refuses the Disconnect-Request ({}); end the session there by hand", cause(error_cause))
        }
        Alert::AckWithoutEffect => {
            "the NAS acknowledged the CoA-Request, but its accounting still shows the sandbox filter; trying again"
                .to_owned()
        }
        Alert::EvictionUnconfirmed => {
            "the NAS never confirmed the end of the session; giving up. See to it there".to_owned()
        }
        Alert::EmergencyCode { who } => {
            format!("let in without being asked ({who}). `radhold emergency list` shows what is left of the code")
        }
    };
    format!("{} on {} (session {}): {what}.", session.user, session.nas, session.id)
}
