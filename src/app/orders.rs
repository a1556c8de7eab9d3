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
use super::radsec::{self, Path, TlsWays};
use super::settings::SettingsHandle;
use super::voices;
use crate::approver::{Approver, AskError, Ending, Question, Whose};
use crate::dynauth::{Answer, ErrorCause, Request};
use crate::model::{ApproverKind, Binding, Nas, NodeName, Secret, SessionId, Timestamp, UserName, Whereabouts};
use crate::net::dynamic_authorization::{self, DynamicAuthorizationClient, SendError, Target};
use crate::places::Places;
use crate::policy::{Caller, Terms};
use crate::session::{Alert, ButtonKey, Effect, End, Event, Lane, NumberChoice, Session, State};
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

/// How long an order waits for the node its NAS is connected to; longer than that takes to notice that the NAS is gone.
const HANDED_OVER: Duration = Duration::from_secs(5);
/// An order that has been passed around so often is carried out where it is.
const MOST_HANDOVERS: u32 = 2;

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
    pub tls: TlsWays,
    /// For the numbers a person chooses from.
    pub buttons: ButtonKey,
    pub places: Arc<Places>,
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
                let Some(channel) = self.channel(*approver) else { return self.store.finish(order.id).await };
                let question = self.question(&session, *approver).await;
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
            Effect::TellEnd { approver, reference } => {
                let Some((channel, outcome)) = self.channel(*approver).zip(session.outcome) else {
                    return self.store.finish(order.id).await;
                };
                let question = self.question(&session, *approver).await;
                let told = channel.tell_end(reference, &question, outcome);
                match tokio::time::timeout(APPROVER_PATIENCE, told).await.unwrap_or_else(|_| Err(timed_out())) {
                    Err(AskError::Later { after, reason }) if order.attempts < TELL_TRIES => {
                        self.put_off(order, after, &reason).await
                    }
                    Ok(()) => self.store.finish(order.id).await,
                    Err(error) => {
                        tracing::info!(session = %session.id, %error, "nobody hears of the end of a session");
                        self.store.finish(order.id).await
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
    fn channel(&self, approver: ApproverKind) -> Option<&Arc<dyn Approver>> {
        self.approvers.get(&match approver {
            ApproverKind::Person => ApproverKind::Telegram,
            other => other,
        })
    }

    async fn ask(&self, order: &Order, session: &Session, approver: ApproverKind) -> Result<(), StoreError> {
        let asked = match self.channel(approver) {
            Some(_) if approver == ApproverKind::Totp && !self.has_totp(session).await? => {
                Err(AskError::Undeliverable(format!("{} has no TOTP", session.user)))
            }
            Some(channel) => {
                let question = self.question(session, approver).await;
                let question = Question { numbers: self.numbers(session, approver), ..question };
                let asked = async {
                    match approver {
                        ApproverKind::Person => self.ask_others(channel, session, &question).await,
                        _ => {
                            let mut bindings = self.store.bindings(&session.user).await?;
                            bindings.retain(|binding| binding.approver == approver);
                            Ok(channel.ask(&question, &bindings).await)
                        }
                    }
                };
                tokio::time::timeout(APPROVER_PATIENCE, asked).await.unwrap_or_else(|_| Ok(Err(timed_out())))?
            }
            None => Err(AskError::Undeliverable(format!("{approver} is not configured on this server"))),
        };
        // A service that is down for long is as good as none: somebody else may be reached.
        let waited = clock::now().since(order.ordered_at);
        let asked = match asked {
            Err(AskError::Later { reason, .. }) if waited >= self.settings.current().unreachable_after => {
                Err(AskError::Undeliverable(format!("{reason}; given up after {} s", waited.as_secs())))
            }
            asked => asked,
        };
        let event = match asked {
            Ok(reference) => {
                if approver == ApproverKind::Operator {
                    self.call_operator(session).await;
                }
                Event::PromptSent { approver, reference }
            }
            Err(AskError::Later { after, reason }) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "not asked yet");
                let left = self.settings.current().unreachable_after.saturating_sub(waited);
                let pause = after.unwrap_or_else(|| pause(order)).min(left.max(Duration::from_millis(100)));
                return self.put_off(order, Some(pause), &reason).await;
            }
            Err(AskError::Undeliverable(reason)) => {
                tracing::warn!(session = %session.id, user = %session.user, %approver, reason, "cannot ask");
                Event::PromptUndeliverable { approver, reason }
            }
        };
        self.conclude(order, event).await
    }

    /// The numbers to choose from, where the session's hold is lifted by one. Somebody else does not see the screen.
    fn numbers(&self, session: &Session, approver: ApproverKind) -> Option<NumberChoice> {
        match &session.grant.as_ref()?.terms {
            Terms::Hold(terms) if terms.guards.number_matching && approver == ApproverKind::Telegram => {
                Some(self.buttons.choice(session.id))
            }
            _ => None,
        }
    }

    /// Asks those who may confirm somebody else's login, each in their own chats. As many people as must agree have to be reached.
    async fn ask_others(
        &self,
        channel: &Arc<dyn Approver>,
        session: &Session,
        question: &Question,
    ) -> Result<Result<String, AskError>, StoreError> {
        let (bindings, needed) = voices::confirmers(&*self.store, session).await?;
        let mut by_user: BTreeMap<UserName, Vec<Binding>> = BTreeMap::new();
        for binding in bindings {
            by_user.entry(binding.user.clone()).or_default().push(binding);
        }
        let needed = (needed as usize).max(1);
        let too_few = |reachable: usize, reason: &str| {
            AskError::Undeliverable(format!("{needed} other people must confirm, and {reachable} can be asked{reason}"))
        };
        if by_user.len() < needed {
            return Ok(Err(too_few(by_user.len(), "")));
        }
        // Nobody's chat takes the time of the others.
        let patience = APPROVER_PATIENCE / u32::try_from(by_user.len() + 1).unwrap_or(u32::MAX);
        let (mut references, mut failures) = (Vec::new(), Vec::new());
        for bindings in by_user.values() {
            let asked = tokio::time::timeout(patience, channel.ask(question, bindings)).await;
            match asked.unwrap_or_else(|_| Err(timed_out())) {
                Ok(reference) => references.push(reference),
                Err(error) => failures.push(error),
            }
        }
        let never = |error: &&AskError| matches!(error, AskError::Undeliverable(_));
        let reachable = by_user.len() - failures.iter().filter(never).count();
        if reachable < needed {
            let reason = failures.iter().find(never).map_or_else(String::new, |error| format!(" ({error})"));
            return Ok(Err(too_few(reachable, &reason)));
        }
        if references.is_empty() {
            let later = failures.into_iter().find(|error| !never(&error));
            return Ok(Err(later.unwrap_or_else(timed_out)));
        }
        // Who has been asked is not asked again for the sake of who could not be: they would be rung at each try, and their first
        // question never told how it ended.
        for error in failures {
            tracing::warn!(session = %session.id, %error, "one of those who may confirm was not asked");
        }
        Ok(Ok(references.join(",")))
    }

    /// Tells the operator that a session waits for them. The question stands in `radhold session list` whether this arrives or not.
    async fn call_operator(&self, session: &Session) {
        let text = operator_text(session);
        for channel in self.approvers.values() {
            let sent = tokio::time::timeout(APPROVER_PATIENCE, channel.alert(&text)).await;
            if let Err(error) = sent.unwrap_or_else(|_| Err(timed_out())) {
                tracing::warn!(session = %session.id, approver = %channel.kind(), %error, "the operator was not told");
            }
        }
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
        self.store.postpone(order, clock::now() + after.unwrap_or_else(|| pause(order)), reason).await
    }

    /// Leaves an order to the node its NAS is connected to over TLS, when that is another. `true` when it did.
    async fn hand_over(&self, order: &Order, session: &Session) -> Result<bool, StoreError> {
        let settings = self.settings.current();
        let Some(nas) = settings.nases.named(session.nas.as_str()).filter(|nas| TlsWays::may_be_linked(nas)) else {
            return Ok(false);
        };
        if self.tls.links.of(&nas.name, session.nas_address, &nas.radsec).is_some() || order.attempts >= MOST_HANDOVERS
        {
            return Ok(false);
        }
        let linked = self.store.linked_to(&nas.name).await?;
        let Some(node) = linked.iter().find(|node| **node != self.node) else { return Ok(false) };
        telemetry::count("orders.handed-over");
        tracing::debug!(session = %session.id, nas = %nas.name, %node, "its NAS is connected to another node");
        self.store.hand_over(order, node, clock::now() + HANDED_OVER).await?;
        Ok(true)
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
        let sent = match self.tls.path(nas, session) {
            Path::Link(link) => self.dynauth.send_each_over(&link, requests).await,
            Path::Dial(dialer) => match dialer.link().await {
                Ok(link) => self.dynauth.send_each_over(&link, requests).await,
                Err(error) => {
                    radsec::not_dialled(nas, &error);
                    return Answer::Unanswered;
                }
            },
            Path::Udp => {
                let address = (nas.coa_address.unwrap_or(session.nas_address), nas.coa_port.unwrap_or(port)).into();
                self.send_by_udp(nas, address, requests).await
            }
            Path::NotConnected => {
                telemetry::count("radsec.not-connected");
                tracing::warn!(session = %session.id, nas = %nas.name,
                    "the NAS has no TLS connection to any node now, so it cannot be told; trying again");
                return Answer::Unanswered;
            }
        };
        match sent {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(session = %session.id, nas = %nas.name, %error, "a request was not sent; trying again");
                Answer::Unanswered
            }
        }
    }

    /// With the NAS's secret, and while the one before counts with that, too, when nothing answers.
    pub(super) async fn send_by_udp(
        &self,
        nas: &Nas,
        address: SocketAddr,
        requests: &[Request],
    ) -> Result<Answer, SendError> {
        let source = nas.coa_source.or(self.dynauth_source);
        let with = |secret: &Secret| Target { address, source, secret: secret.clone() };
        let previous = nas.previous_secret.as_ref().filter(|previous| previous.counts(clock::now()));
        let Some(previous) = previous else { return self.dynauth.send_each(&with(&nas.secret), requests).await };
        // The one its own requests were last proven with goes first.
        let lags = self.settings.current().nases.lags(&nas.name);
        let (first, second) = if lags { (&previous.secret, &nas.secret) } else { (&nas.secret, &previous.secret) };
        match self.dynauth.send_each(&with(first), requests).await? {
            Answer::Unanswered => self.dynauth.send_each(&with(second), requests).await,
            answer => Ok(answer),
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

    async fn question(&self, session: &Session, approver: ApproverKind) -> Question {
        let caller = session.identity.calling_station_id.as_deref().and_then(Caller::read);
        let whereabouts = match caller {
            Some(Caller::Address(address)) => self.places.whereabouts(address).await,
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

/// The wait before a service is tried again that does not say when.
fn pause(order: &Order) -> Duration {
    Duration::from_secs(1).saturating_mul(1 << order.attempts.min(6)).min(LONGEST_PAUSE)
}

/// Acct-Session-Time, which pauses may be taken out of; else the time between start and end.
fn lasted(session: &Session, end: Timestamp) -> Duration {
    match session.counters.session_time {
        0 => end.since(session.started_at.unwrap_or(session.accepted_at)),
        seconds => Duration::from_secs(seconds),
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

fn operator_text(session: &Session) -> String {
    let left = session.deadline.map_or(0, |deadline| deadline.since(clock::now()).as_secs());
    let caller = session.identity.calling_station_id.as_deref().unwrap_or("an unknown address");
    format!(
        "{} on {}, from {caller}, waits for an operator, {left} s at most: radhold session approve {id} (or deny {id}).",
        session.user,
        session.nas,
        id = session.id
    )
}

fn alert_text(session: &Session, alert: &Alert) -> String {
    let cause = |cause: &Option<u32>| cause.map_or("no Error-Cause".to_owned(), |cause| ErrorCause(cause).to_string());
    let what = match alert {
        Alert::Undeliverable { reason, held: false } => {
            format!("nobody could be asked ({reason}); the session is being ended")
        }
        Alert::Undeliverable { reason, held: true } => format!(
            "nobody could be asked ({reason}); the session stays confined until its deadline, unless an operator decides: \
             radhold session approve {}",
            session.id
        ),
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
