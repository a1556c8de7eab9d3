//! What is said to a NAS: its turn, the way to it, CoA-Requests and Disconnect-Requests, and what its answers mean.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::clock;
use super::super::nas_queue::NasPlace;
use super::super::radsec::{self, Path, TlsWays};
use super::Worker;
use crate::dynauth::{Answer, ErrorCause, Request};
use crate::model::{Nas, Secret};
use crate::net::dynamic_authorization::{SendError, Target};
use crate::session::{Event, Session};
use crate::store::{Order, StoreError};
use crate::telemetry;

/// How long an order waits for the node its NAS is connected to; longer than that takes to notice that the NAS is gone.
const HANDED_OVER: Duration = Duration::from_secs(5);
/// An order that has been passed around so often is carried out where it is.
const MOST_HANDOVERS: u32 = 2;

impl Worker {
    /// Leaves an order to the node its NAS is connected to over TLS, when that is another. `true` when it did.
    pub(super) async fn hand_over(&self, order: &Order, session: &Session) -> Result<bool, StoreError> {
        let settings = self.settings.current();
        let Some(nas) = settings.nases.named(session.nas.as_str()).filter(|nas| TlsWays::may_be_linked(nas)) else {
            return Ok(false);
        };
        let is_its_own = |certificate: &_| settings.nases.is_its_own(nas, certificate);
        if self.tls.links.of(&nas.name, session.nas_address, is_its_own).is_some() || order.attempts >= MOST_HANDOVERS {
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
    pub(super) async fn turn(
        &self,
        order: &Order,
        session: Session,
    ) -> Result<Option<(Session, NasPlace)>, StoreError> {
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
            None => self.done.strike_off(order.id).await.map(|()| None),
        }
    }

    /// Sends what lifts the session.
    pub(super) async fn permit(&self, session: &Session) -> Answer {
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

    /// Sends what ends the session.
    pub(super) async fn disconnect(&self, session: &Session) -> Answer {
        let settings = self.settings.current();
        let Some(nas) = settings.nases.named(session.nas.as_str()) else { return gone(session) };
        let Some(dialect) = settings.dialects.get(&nas.dialect) else { return gone(session) };
        self.send(session, nas, dialect.coa_port(), &[dialect.disconnect(session)]).await
    }

    /// Sends requests one after the other; all of them must be acknowledged.
    async fn send(&self, session: &Session, nas: &Nas, port: u16, requests: &[Request]) -> Answer {
        let sent = match self.tls.path(&self.settings.current().nases, nas, session) {
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
                self.send_by_udp((nas, session.nas_address), address, requests).await
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

    /// With the NAS's secret, and while the one before counts with that, too, when nothing answers. A NAS may be several hosts; this
    /// is the one whose packets come from there.
    pub(in crate::app) async fn send_by_udp(
        &self,
        (nas, host): (&Nas, IpAddr),
        address: SocketAddr,
        requests: &[Request],
    ) -> Result<Answer, SendError> {
        let source = nas.coa_source.or(self.dynauth_source);
        let with = |secret: &Secret| Target { address, source, secret: secret.clone() };
        let previous = nas.previous_secret.as_ref().filter(|previous| previous.counts(clock::now()));
        let Some(previous) = previous else { return self.dynauth.send_each(&with(&nas.secret), requests).await };
        // The one its own requests were last proven with goes first.
        let lags = self.settings.current().nases.lags(&nas.name, host);
        let (first, second) = if lags { (&previous.secret, &nas.secret) } else { (&nas.secret, &previous.secret) };
        match self.dynauth.send_each(&with(first), requests).await? {
            Answer::Unanswered => self.dynauth.send_each(&with(second), requests).await,
            answer => Ok(answer),
        }
    }

    /// Hands an answer to the ledger, with the order it is to.
    pub(super) async fn settle(
        &self,
        order: &Order,
        session: &Session,
        event: Event,
        answer: Answer,
    ) -> Result<(), StoreError> {
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
}

/// The NAS was removed from the configuration: nobody to send to, as if it did not answer.
fn gone(session: &Session) -> Answer {
    tracing::error!(session = %session.id, nas = %session.nas, "its NAS or the NAS's dialect is not configured any more");
    Answer::Unanswered
}
