//! The outbox at work: claims orders, carries them out, and hands their outcome to the ledger, which strikes them off in the same
//! transaction that keeps the outcome. An order that was claimed by a process that died is claimed again when its lease
//! is over, or sooner, when the other nodes miss that process; done twice, it is harmless.
//!
//! | file | what it is |
//! |---|---|
//! | `ask.rs` | asking: an approver, somebody else, the operator |
//! | `done.rs` | orders that are done |
//! | `hands.rs` | orders that are taken with the change that demands them |
//! | `nas.rs` | what is said to a NAS, and what its answers mean |
//! | `words.rs` | what people are told of a session |

mod ask;
mod done;
pub(super) mod hands;
mod nas;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

pub(super) use self::done::Done;
use self::hands::{Hands, Taken};
use super::clock;
use super::ledger::Ledger;
use super::nas_queue::{self, NasQueues};
use super::radsec::TlsWays;
use super::settings::SettingsHandle;
use crate::approver::{Approver, AskError, Voice};
use crate::dynauth::Answer;
use crate::model::{ApproverKind, Language, NodeName, SessionId, Zone};
use crate::net::dynamic_authorization::{self, DynamicAuthorizationClient};
use crate::places::Places;
use crate::session::{Alert, ButtonKey, Effect, Event, Lane, Session};
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
pub(super) const AT_ONCE: (usize, usize) = (16_384, 256);
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
    /// Where orders come from that were claimed with their change.
    pub hands: Hands,
    /// Where orders go that are done.
    pub done: Done,
    pub queues: NasQueues,
    pub tls: TlsWays,
    /// For the numbers a person chooses from.
    pub buttons: ButtonKey,
    pub places: RwLock<Arc<Places>>,
    /// For what the log says of alerts.
    pub voice: Voice,
}

impl Worker {
    /// How long an order may take at the worst: to send, to a NAS that takes one attribute at a time, and to be kept.
    pub(super) fn lease(dynauth: &dynamic_authorization::Settings) -> Duration {
        // With the secret before, too, while both count.
        let request = (dynauth.patience + dynauth.timers.mrd) * 2;
        let slowest = (nas_queue::PATIENCE + request * MOST_REQUESTS).max(APPROVER_PATIENCE);
        slowest + OUTCOME_PATIENCE + Duration::from_secs(10)
    }

    /// Works in one lane until told to stop, and then until what it has begun is done.
    pub(super) async fn run(self: Arc<Self>, lane: Lane, new_orders: Arc<NewOrders>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let places = match lane {
            hands::LANE => self.hands.places(),
            _ => Arc::new(Semaphore::new(AT_ONCE.1)),
        };
        while !*stop.borrow() {
            while tasks.try_join_next().is_some() {}
            // Claims no more than it can begin: a lease is for work, not for waiting.
            let Ok(mut held) = Arc::clone(&places).acquire_owned().await else { return };
            let others = u32::try_from(places.available_permits().min(CLAIM - 1)).unwrap_or(0);
            if let Ok(others) = Arc::clone(&places).try_acquire_many_owned(others) {
                held.merge(others);
            }
            let free = u32::try_from(held.num_permits()).unwrap_or(1);
            let orders = match self.store.claim(&self.node, Some(lane), clock::now(), self.lease, free).await {
                Ok(orders) => orders,
                Err(error) => {
                    telemetry::count("store.failed");
                    tracing::warn!(%error, "cannot see which orders are due; trying again");
                    Vec::new()
                }
            };
            if orders.is_empty() {
                drop(held);
                tokio::select! {
                    () = new_orders.of(lane).notified() => (),
                    () = tokio::time::sleep(PERIOD) => (),
                    _ = stop.changed() => (),
                }
                continue;
            }
            // One look for all of them; what changes after it, the outcome meets.
            let ids: Vec<_> = orders.iter().map(|order| order.session).collect();
            let sessions: HashMap<SessionId, Session> = match self.store.sessions_by_id(&ids).await {
                Ok(sessions) => sessions.into_iter().map(|session| (session.id, session)).collect(),
                Err(error) => {
                    telemetry::count("store.failed");
                    tracing::warn!(%error, "cannot see what orders are about; they are carried out when their lease is over");
                    continue;
                }
            };
            for order in orders {
                let Some(place) = held.split(1) else { break };
                let session = sessions.get(&order.session).cloned();
                tasks.spawn(Arc::clone(&self).work_on(order, session, place));
            }
        }
        tasks.join_all().await;
    }

    /// Carries out what was claimed with its change until told to stop, and then what has come until then.
    pub(super) async fn run_taken(
        self: Arc<Self>,
        mut taken: mpsc::UnboundedReceiver<Taken>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        loop {
            let next = tokio::select! {
                next = taken.recv() => next,
                _ = stop.wait_for(|stop| *stop), if !taken.is_closed() => {
                    taken.close();
                    continue;
                }
            };
            let Some(Taken { order, session, place }) = next else { break };
            while tasks.try_join_next().is_some() {}
            tasks.spawn(Arc::clone(&self).work_on(order, Some(session), place));
        }
        tasks.join_all().await;
    }

    async fn work_on(self: Arc<Self>, order: Order, session: Option<Session>, place: OwnedSemaphorePermit) {
        if let Err(error) = self.carry_out(&order, session).await {
            telemetry::count("store.failed");
            tracing::warn!(session = %order.session, order = order.effect.as_str(), %error,
                "the store is away; the order stays and is carried out again");
        }
        drop(place);
    }

    async fn carry_out(&self, order: &Order, session: Option<Session>) -> Result<(), StoreError> {
        // Overtaken by events, like a question about a session that is over.
        let Some(session) = session.filter(|session| session.wants(&order.effect)) else {
            return self.done.strike_off(order.id).await;
        };
        match &order.effect {
            Effect::AskApprover { approver } => self.ask(order, &session, *approver).await,
            Effect::TellApprover { approver, reference, outcome } => {
                let Some(channel) = self.channel(*approver) else { return self.done.strike_off(order.id).await };
                let question = self.question(&session, *approver).await;
                let told = channel.tell(reference, &question, *outcome);
                match tokio::time::timeout(APPROVER_PATIENCE, told).await.unwrap_or_else(|_| Err(timed_out())) {
                    Err(AskError::Later { after, reason }) if order.attempts < TELL_TRIES => {
                        self.put_off(order, after, &reason).await
                    }
                    Ok(()) => self.done.strike_off(order.id).await,
                    Err(error) => {
                        tracing::info!(session = %session.id, %error, "a prompt keeps its old words");
                        self.done.strike_off(order.id).await
                    }
                }
            }
            Effect::TellEnd { approver, reference } => {
                let Some((channel, outcome)) = self.channel(*approver).zip(session.outcome) else {
                    return self.done.strike_off(order.id).await;
                };
                let question = self.question(&session, *approver).await;
                let told = channel.tell_end(reference, &question, outcome);
                match tokio::time::timeout(APPROVER_PATIENCE, told).await.unwrap_or_else(|_| Err(timed_out())) {
                    Err(AskError::Later { after, reason }) if order.attempts < TELL_TRIES => {
                        self.put_off(order, after, &reason).await
                    }
                    Ok(()) => self.done.strike_off(order.id).await,
                    Err(error) => {
                        tracing::info!(session = %session.id, %error, "nobody hears of the end of a session");
                        self.done.strike_off(order.id).await
                    }
                }
            }
            Effect::SendCoa { attempt } => {
                if self.hand_over(order, &session).await? {
                    return Ok(());
                }
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
                if self.hand_over(order, &session).await? {
                    return Ok(());
                }
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

    /// What reaches an approver. A second person is asked as anybody is, but elsewhere.
    pub(super) fn channel(&self, approver: ApproverKind) -> Option<&Arc<dyn Approver>> {
        self.approvers.get(&match approver {
            ApproverKind::Person => ApproverKind::Telegram,
            other => other,
        })
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
        self.store.postpone(order, clock::now() + after.unwrap_or_else(|| pause(order)), reason).await
    }

    async fn alert(&self, order: &Order, session: &Session, alert: &Alert) -> Result<(), StoreError> {
        let notice = words::alert(session, alert);
        let text = notice.say(&self.voice.messages, &Language::english(), Zone::UTC);
        tracing::error!(session = %session.id, user = %session.user, nas = %session.nas, "{text}");
        telemetry::count("alert");
        let mut later = None;
        for channel in self.approvers.values() {
            let sent = tokio::time::timeout(APPROVER_PATIENCE, channel.alert(&notice)).await;
            if let Err(AskError::Later { after, reason }) = sent.unwrap_or_else(|_| Err(timed_out())) {
                later = Some((after, reason));
            }
        }
        match later {
            Some((after, reason)) if order.attempts < TELL_TRIES => self.put_off(order, after, &reason).await,
            _ => self.done.strike_off(order.id).await,
        }
    }
}

/// The wait before a service is tried again that does not say when.
fn pause(order: &Order) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << order.attempts.min(6)).min(LONGEST_PAUSE)
}

fn timed_out() -> AskError {
    AskError::Later { after: None, reason: "no answer from the approver's service in time".to_owned() }
}
