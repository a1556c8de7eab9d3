//! How chats want to be spoken to, asked of the store; soon, or not at all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::approver::Readers;
use crate::model::{ApproverKind, Language, Preferences};
use crate::store::Store;
use crate::telemetry;

/// How long a word may wait for the store to say in which language.
const PATIENCE: Duration = Duration::from_millis(500);

/// Chats, as the store knows them.
#[derive(Debug)]
pub(super) struct StoreReaders(pub(super) Arc<dyn Store>);

#[async_trait]
impl Readers for StoreReaders {
    async fn preferences(&self, approver: ApproverKind, address: &str) -> Preferences {
        match tokio::time::timeout(PATIENCE, self.0.preferences(approver, address)).await {
            Ok(Ok(preferences)) => preferences,
            Ok(Err(error)) => {
                telemetry::count("preferences.unknown");
                tracing::debug!(%error, "it is not known how a chat wants to be spoken to");
                Preferences::default()
            }
            Err(_) => {
                telemetry::count("preferences.unknown");
                Preferences::default()
            }
        }
    }

    async fn heard(&self, approver: ApproverKind, address: &str, language: &Language) {
        // Not worth waiting for: it is heard again with the next press.
        drop(tokio::time::timeout(PATIENCE, self.0.hear_language(approver, address, language)).await);
    }
}
