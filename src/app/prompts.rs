//! Prompts as this node knows them: asked at each login that would ring somebody's device, told to the store with the session, and
//! heard from it.
//!
//! A login never waits for the store here. What is too much is `policy`'s. Two nodes that are asked within the same second do not
//! know of each other: each may ask once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::alarms::Alarms;
use super::clock;
use super::look_back::LookBack;
use super::settings::SettingsHandle;
use crate::approver::Notice;
use crate::model::{SessionId, Timestamp, UserName};
use crate::policy::{BY_ITSELF, Fatigue, Guards, HOUR, Prompt, Prompts};
use crate::store::{AuditEntry, Store, StoreError};
use crate::telemetry;

/// How often it is heard what others asked, and what was answered.
const PERIOD: Duration = Duration::from_secs(1);
/// Read again each time: others' clocks may go wrong by this, and their transactions take this long.
const SLACK: Duration = Duration::from_secs(20);
/// How often what is old is forgotten.
const FORGETTING: Duration = Duration::from_secs(300);
/// Prompts remembered, at most.
const MOST: usize = 200_000;
/// People of whom the operator is to be told, at most; of more, the log.
const MOST_FLOODED: usize = 1000;

/// What a node knows of prompts.
#[derive(Debug)]
pub(super) struct KnownPrompts {
    store: Arc<dyn Store>,
    settings: SettingsHandle,
    alarms: Alarms,
    prompts: Mutex<Prompts>,
    /// Who was asked too often, and when that was met last.
    flooded: Mutex<BTreeMap<UserName, Timestamp>>,
}

impl KnownPrompts {
    /// Knows none yet; see [`KnownPrompts::run`].
    pub(super) fn new(store: Arc<dyn Store>, settings: SettingsHandle, alarms: Alarms) -> Self {
        Self { store, settings, alarms, prompts: Mutex::new(Prompts::new(MOST)), flooded: Mutex::default() }
    }

    /// Whether somebody may be asked, and whose prompts make way. See [`Prompts::admit`].
    pub(super) fn admit(
        &self,
        prompt: Prompt,
        unique_port: bool,
        guards: &Guards,
        known: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, Fatigue> {
        let user = prompt.user.clone();
        let admitted = self.prompts().admit(prompt, unique_port, guards, known, now);
        if admitted == Err(Fatigue::TooMany) {
            let mut flooded = self.flooded.lock().unwrap_or_else(PoisonError::into_inner);
            if flooded.len() < MOST_FLOODED {
                flooded.insert(user, now);
            }
        }
        admitted
    }

    /// A prompt that was admitted does not go out after all. See [`Prompts::withdraw`].
    pub(super) fn withdraw(&self, user: &UserName, session: SessionId, superseded: &[SessionId]) {
        self.prompts().withdraw(user, session, superseded);
    }

    /// Goes on hearing and telling, for ever. Drop the future to stop.
    pub(super) async fn run(self: Arc<Self>) {
        let (mut read, mut forgot_at) = (LookBack::default(), None);
        let mut complaint = String::new();
        loop {
            match self.turn(&mut read, &mut forgot_at).await {
                Ok(()) => complaint.clear(),
                Err(error) => {
                    telemetry::count("store.failed");
                    let error = error.to_string();
                    if error != complaint {
                        tracing::warn!(error, "prompts are counted by this node alone for now");
                        complaint = error;
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Hears what others asked and what was answered.
    pub(super) async fn hear(&self, read: &mut LookBack) -> Result<(), StoreError> {
        let now = clock::now();
        let since = read.since(SLACK, now).unwrap_or(now.before(HOUR));
        let prompts = self.store.prompts(since).await?;
        self.prompts().heard(prompts);
        read.done(now);
        Ok(())
    }

    async fn turn(&self, read: &mut LookBack, forgot_at: &mut Option<Timestamp>) -> Result<(), StoreError> {
        self.hear(read).await?;
        self.tell_of_floods().await?;
        let now = clock::now();
        if forgot_at.is_none_or(|at: Timestamp| now.since(at) >= FORGETTING) {
            *forgot_at = Some(now);
            self.prompts().forget(now);
            self.store.forget_prompts(now.before(HOUR * 2)).await?;
        }
        Ok(())
    }

    /// Tells the operator who is asked too often, once in an hour for each, whichever node sees it.
    async fn tell_of_floods(&self) -> Result<(), StoreError> {
        let flooded = || self.flooded.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((user, at)) = flooded().iter().next().map(|(user, at)| (user.clone(), *at)) else { return Ok(()) };
            let act = AuditEntry {
                at,
                who: BY_ITSELF.to_owned(),
                through: "server".to_owned(),
                origin: self.settings.current().node.to_string(),
                act: "prompts.exceeded".to_owned(),
                subject: user.to_string(),
                detail: "prompts that nobody confirmed; further logins are refused for up to an hour".to_owned(),
            };
            if self.store.notice_prompts(&user, HOUR, &act).await? {
                telemetry::count("prompts.exceeded");
                tracing::warn!(%user, "somebody who has the password asks and asks; further logins are refused without a prompt");
                self.alarms.raise(Notice::new("alert-prompts-exceeded").with("user", user.as_str()));
            }
            flooded().remove(&user);
        }
    }

    fn prompts(&self) -> MutexGuard<'_, Prompts> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
