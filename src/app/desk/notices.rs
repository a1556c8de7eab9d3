//! What administrators are told unasked: chats that wait for their word, and denied logins. What one node has taken to tell, no
//! other tells meanwhile; what it could not tell, another does.

use std::sync::Arc;
use std::time::Duration;

use super::Desk;
use crate::app::clock;
use crate::approver::{AskError, Post, Tone};
use crate::model::ApproverKind;
use crate::store::StoreError;
use crate::telemetry;

/// How often to look when nobody calls.
const PERIOD: Duration = Duration::from_secs(5);
/// How long telling may take before another node tells again.
const LEASE: Duration = Duration::from_secs(120);
/// How many at a time.
const LIMIT: u32 = 20;
/// Denied logins that are older are no news.
const NEWS: Duration = Duration::from_secs(3600);
/// How often what was heard long ago is forgotten.
const PRUNING: Duration = Duration::from_secs(3600);
/// Telegram keeps what it could not bring for a day; nothing that old can come again.
const HEARD_FOR: Duration = Duration::from_secs(3 * 86_400);
/// How often one chat is tried.
const TRIES: u32 = 5;

/// Tells them, for ever. Drop the future to stop.
pub(in crate::app) async fn run(desk: Arc<Desk>) {
    let mut complaint = String::new();
    let mut pruned_at = None;
    loop {
        match desk.tell_administrators().await {
            Ok(()) => complaint.clear(),
            Err(error) => {
                telemetry::count("store.failed");
                let error = error.to_string();
                if error != complaint {
                    tracing::warn!(error, "cannot see what administrators are to be told; trying again");
                    complaint = error;
                }
            }
        }
        let now = clock::now();
        if pruned_at.is_none_or(|at| now.since(at) >= PRUNING)
            && desk.parts.store.forget_heard(now.before(HEARD_FOR)).await.is_ok()
        {
            pruned_at = Some(now);
        }
        let _ = tokio::time::timeout(PERIOD, desk.notices.notified()).await;
    }
}

impl Desk {
    async fn tell_administrators(&self) -> Result<(), StoreError> {
        let rules = self.rules();
        if rules.administrators.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        for enrolment in self.parts.store.claim_enrolment_notices(now, LEASE, LIMIT).await? {
            if self.tell_each(|tone| self.question_about(&enrolment, tone.language())).await {
                self.parts.store.enrolment_told(enrolment.id).await?;
            }
        }
        if !rules.strike_notices {
            return Ok(());
        }
        for strike in self.parts.store.claim_strike_notices(now.before(NEWS), now, LEASE, LIMIT).await? {
            if self.tell_each(|tone| self.strike_notice(&strike, tone)).await {
                self.parts.store.strike_told(strike.session).await?;
            }
        }
        Ok(())
    }

    /// Tells all administrators; `false` when none could be told now, and it is worth trying again.
    async fn tell_each(&self, post: impl Fn(&Tone) -> Post) -> bool {
        let Some(channel) = self.parts.approvers.get(&ApproverKind::Telegram) else { return true };
        let (mut told, mut later) = (false, false);
        for chat in &self.rules().administrators {
            let post = post(&self.tone_at(chat, None).await);
            let mut pause = Duration::from_millis(500);
            for tries_left in (0..TRIES).rev() {
                match channel.post(chat, &post).await {
                    Ok(()) => {
                        told = true;
                        break;
                    }
                    Err(AskError::Undeliverable(reason)) => {
                        tracing::warn!(chat, reason, "an administrator cannot be told");
                        break;
                    }
                    Err(AskError::Later { after, reason }) if tries_left == 0 => {
                        tracing::warn!(chat, reason, wait_s = after.map(|after| after.as_secs()), "not told yet");
                        later = true;
                    }
                    Err(AskError::Later { after, .. }) => {
                        tokio::time::sleep(after.unwrap_or(pause).min(Duration::from_secs(10))).await;
                        pause *= 2;
                    }
                }
            }
        }
        told || !later
    }
}
