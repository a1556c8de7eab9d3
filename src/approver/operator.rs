//! The operator as approver: `radhold session approve|deny`, by somebody with access to the store.
//!
//! Sends nothing and hears nothing: the question stands in `radhold session list`, and the answer reaches the session
//! through the store. Never makes a [`crate::session::Press`].

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Approver, AskError, Incoming, Notice, Question};
use crate::model::{ApproverKind, Binding};
use crate::session::Outcome;

/// The reference of every question to the operator: there is no prompt to find again.
pub const REFERENCE: &str = "operator";

/// The operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operator;

#[async_trait]
impl Approver for Operator {
    fn kind(&self) -> ApproverKind {
        ApproverKind::Operator
    }

    async fn ask(&self, _: &Question, _: &[Binding]) -> Result<String, AskError> {
        Ok(REFERENCE.to_owned())
    }

    async fn tell(&self, _: &str, _: &Question, _: Outcome) -> Result<(), AskError> {
        Ok(())
    }

    async fn alert(&self, _: &Notice) -> Result<(), AskError> {
        Ok(())
    }

    async fn listen(&self, incoming: mpsc::Sender<Incoming>) {
        incoming.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{SessionId, Timestamp, Whereabouts};

    #[tokio::test]
    async fn is_asked_without_any_binding_and_listens_until_closed() {
        let question = Question {
            about: crate::approver::Whose::Own,
            session: SessionId(Uuid::from_u128(1)),
            user: "alice".into(),
            nas: "office".into(),
            calling_station_id: None,
            accepted_at: Timestamp::from_secs(0),
            deadline: Timestamp::from_secs(60),
            now: Timestamp::from_secs(0),
            numbers: None,
            medium: None,
            whereabouts: Whereabouts::default(),
            decided: None,
            ended: None,
        };
        assert_eq!(Operator.kind(), ApproverKind::Operator);
        assert_eq!(Operator.ask(&question, &[]).await, Ok(REFERENCE.to_owned()));
        assert_eq!(Operator.tell(REFERENCE, &question, Outcome::Denied).await, Ok(()));
        let (answers, inbox) = mpsc::channel(1);
        let listening = tokio::spawn(async move { Operator.listen(answers).await });
        drop(inbox);
        listening.await.unwrap();
    }
}
