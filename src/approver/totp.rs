//! TOTP as a step of an approver order: while it is this step's turn, a code lifts the session.
//!
//! Sends nothing and hears nothing: the code comes by a message to the bot, and `app::totp` checks it. Never makes a
//! [`crate::session::Press`].

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Approver, AskError, Incoming, Notice, Question};
use crate::model::{ApproverKind, Binding};
use crate::session::Outcome;

/// The reference of every question: there is no prompt to find again.
const REFERENCE: &str = "totp";

/// The person's authenticator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authenticator;

#[async_trait]
impl Approver for Authenticator {
    fn kind(&self) -> ApproverKind {
        ApproverKind::Totp
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
