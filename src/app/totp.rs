//! Codes at work: a code comes in by whatever door, the store says whether it was used before, and what comes out is a proof.
//!
//! Every door ends in [`Codes::check`], so that tries are counted in one place. Without the store no code is right: nobody could say
//! whether another node has seen it. Knows no packet and no messenger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::clock;
use super::ledger::Ledger;
use super::lockouts::Lockouts;
use super::settings::SettingsHandle;
use crate::auth::SealingKey;
use crate::auth::totp::{Accepted, Code, TotpCode, TotpKey};
use crate::model::{ApproverKind, Timestamp, UserName};
use crate::policy::{KeptOut, Terms};
use crate::session::{Approval, AskState, Event, Outcome, Session, State, Told};
use crate::store::{AuditEntry, SessionQuery, Store, StoreError};
use crate::telemetry;

/// Less than a NAS waits for its answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where a code came from, for the record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// With a login: its NAS and caller.
    Login(&'a str),
    /// Otherwise: a chat, or an address.
    Elsewhere(&'a str),
}

/// What becomes of a code.
#[derive(Debug)]
pub(super) enum Checked {
    /// It is right, and spent now.
    Right(Accepted),
    /// It is not, and this label says why: for the record, never for the person, who could learn from it.
    Wrong(&'static str),
    /// Nobody can say.
    Away,
}

/// The part that checks codes.
#[derive(Debug)]
pub(super) struct Codes {
    store: Arc<dyn Store>,
    settings: SettingsHandle,
    sealing_key: SealingKey,
    lockouts: Arc<Lockouts>,
}

impl Codes {
    pub(super) fn new(
        store: Arc<dyn Store>,
        settings: SettingsHandle,
        sealing_key: SealingKey,
        lockouts: Arc<Lockouts>,
    ) -> Self {
        Self { store, settings, sealing_key, lockouts }
    }

    /// Checks a code of a user and spends it.
    pub(super) async fn check(&self, user: &UserName, code: &Code, origin: Origin<'_>, now: Timestamp) -> Checked {
        // Whoever knows the password must not guess codes for ever, however many addresses they have: a user's codes are counted
        // as if they were an account with one caller, of names that no packet has. Nobody's password is locked by that.
        let key = format!("\u{1}code of {user}");
        let (account, caller) = (key.as_str(), key.as_str());
        let _checking = match self.lockouts.admit_at_once(account, caller, now) {
            Ok(checking) => checking,
            Err(KeptOut::LockedOut) => return Checked::Wrong("code-locked-out"),
            // One person does not give so many together, but one that is not looked at is not called wrong.
            Err(KeptOut::Full) => return Checked::Away,
        };
        let checked = timeout(PATIENCE, self.look_at(user, code, origin, now)).await;
        match checked.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {PATIENCE:?}")))) {
            Ok(Ok(accepted)) => {
                self.lockouts.succeeded(account, caller);
                telemetry::count("code.right");
                Checked::Right(accepted)
            }
            Ok(Err(label)) => {
                self.lockouts.failed(account, caller, now);
                telemetry::count("code.wrong");
                Checked::Wrong(label)
            }
            Err(error) => {
                telemetry::count("code.store-away");
                tracing::warn!(%user, %error, "a code cannot be checked without the store, and is refused");
                Checked::Away
            }
        }
    }

    /// Whether a user is to be asked for a code: they have one. Who has enrolled and not yet given a first code, and everybody while
    /// there is an emergency code, is asked only where there is no other way in.
    pub(super) async fn are_wanted_of(
        &self,
        user: &UserName,
        only_way: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let look = async {
            let totp = self.store.totp(user).await?;
            if totp.is_some_and(|totp| only_way || totp.confirmed_at.is_some()) {
                return Ok(true);
            }
            // Elsewhere an emergency code stands behind the password, and nobody is asked for one they do not have.
            Ok(only_way && self.store.emergencies().await?.iter().any(|code| code.is_valid(now)))
        };
        timeout(PATIENCE, look)
            .await
            .unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {PATIENCE:?}"))))
    }

    /// Notes that a challenge came back; `false` when it did before.
    pub(super) async fn spend_challenge(&self, id: &[u8], expires_at: Timestamp) -> Result<bool, StoreError> {
        timeout(PATIENCE, self.store.spend_challenge(&hex::encode(id), expires_at))
            .await
            .unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {PATIENCE:?}"))))
    }

    async fn look_at(
        &self,
        user: &UserName,
        code: &Code,
        origin: Origin<'_>,
        now: Timestamp,
    ) -> Result<Result<Accepted, &'static str>, StoreError> {
        let (Origin::Login(place) | Origin::Elsewhere(place)) = origin;
        let act = |act: &str, detail: &str| AuditEntry {
            at: now,
            who: user.to_string(),
            through: "server".to_owned(),
            origin: place.to_owned(),
            act: act.to_owned(),
            subject: user.to_string(),
            detail: detail.to_owned(),
        };
        match code {
            Code::Totp(code) => {
                // A login has an attempt on record, with where it came from; nothing else would say where this one did.
                let used = matches!(origin, Origin::Elsewhere(_)).then(|| act("totp.used", ""));
                self.look_at_totp(user, code, now, used.as_ref()).await
            }
            Code::Recovery(code) => {
                let hash = code.recovery_hash(&self.sealing_key, user);
                let spent = self.store.spend_recovery(user, &hash, &act("totp.recovery-used", "")).await?;
                Ok(code.clone().struck_off(spent, user).ok_or("recovery-code-wrong"))
            }
            Code::Emergency(code) => {
                let hash = code.emergency_hash(&self.sealing_key);
                let spent = self.store.spend_emergency(&hash, &act("emergency.used", "")).await?;
                if let Some(spent) = &spent {
                    telemetry::count("code.emergency");
                    tracing::error!(%user, origin = place, code = spent.name, left = spent.uses_left, "an emergency code was used");
                }
                Ok(code.clone().used(spent.map(|spent| spent.name), user).ok_or("emergency-code-wrong"))
            }
        }
    }

    async fn look_at_totp(
        &self,
        user: &UserName,
        code: &TotpCode,
        now: Timestamp,
        used: Option<&AuditEntry>,
    ) -> Result<Result<Accepted, &'static str>, StoreError> {
        let settings = self.settings.current();
        let Some(tried) = self.store.begin_code_try(user, now).await? else { return Ok(Err("no-totp")) };
        if tried.tries > settings.codes.tries_per_minute {
            return Ok(Err("code-tried-too-often"));
        }
        let key = match TotpKey::open(&tried.totp.secret, &self.sealing_key, user) {
            Ok(key) => key,
            Err(error) => {
                telemetry::count("user.credential-unreadable");
                tracing::error!(%user, %error, "the stored TOTP secret cannot be read");
                return Ok(Err("totp-unreadable"));
            }
        };
        let Some(matched) = key.matching(code, now, settings.codes.window) else { return Ok(Err("code-wrong")) };
        // Of two nodes that see a code at once, one sets its step.
        let was_set = match used {
            Some(act) => self.store.accept_step_with(&tried.totp, matched.step(), now, act).await?,
            None => self.store.accept_step(&tried.totp, matched.step(), now).await?,
        };
        Ok(matched.unless_used(was_set, user).ok_or("code-used"))
    }
}

/// What a code came to that was given for a session, and not with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOutcome {
    /// The session is approved; its NAS is being told.
    Approved,
    /// It counts as the person's yes; somebody else must agree too.
    Counted,
    /// None of these people's logins waits for a code.
    NothingWaits,
    /// Several do: a code must not lift the one that somebody else began.
    SeveralWait,
    /// Wrong, used before, or one too many.
    Wrong,
    /// It was right, but the session was decided or over by then. The code is spent.
    TooLate,
    /// Nobody can say at the moment.
    Away,
}

impl CodeOutcome {
    /// The message that says so.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Approved => "totp-approved",
            Self::NothingWaits => "totp-nothing-waits",
            Self::SeveralWait => "totp-several-wait",
            Self::Wrong => "totp-wrong",
            Self::TooLate => "totp-too-late",
            Self::Counted => "totp-counted",
            Self::Away => "totp-away",
        }
    }
}

/// Codes for sessions that are held, by chat or on the portal.
#[derive(Debug)]
pub(super) struct HeldCodes {
    codes: Arc<Codes>,
    store: Arc<dyn Store>,
    ledger: Ledger,
}

impl HeldCodes {
    pub(super) fn new(codes: Arc<Codes>, store: Arc<dyn Store>, ledger: Ledger) -> Self {
        Self { codes, store, ledger }
    }

    /// A code that somebody wrote in a chat where they speak for these users; `from` is who, for the record.
    pub(super) async fn code_from_chat(
        &self,
        users: &[UserName],
        code: &Code,
        from: &str,
    ) -> Result<CodeOutcome, StoreError> {
        Ok(match self.waiting(users).await?.as_slice() {
            [] => CodeOutcome::NothingWaits,
            [session] => self.code_for(session, code, from).await,
            _ => CodeOutcome::SeveralWait,
        })
    }

    /// A code that somebody typed on the page that shows this session; `from` is where that was, for the record.
    pub(super) async fn code_from_page(
        &self,
        session: &Session,
        code: &Code,
        from: &str,
    ) -> Result<CodeOutcome, StoreError> {
        let waits = waits_for_code(session, clock::now())
            && self.store.user(&session.user).await?.is_some_and(|user| !user.disabled);
        Ok(if waits { self.code_for(session, code, from).await } else { CodeOutcome::NothingWaits })
    }

    /// A code for one session that waits for one.
    async fn code_for(&self, session: &Session, code: &Code, origin: &str) -> CodeOutcome {
        let given = Origin::Elsewhere(origin);
        let accepted = match self.codes.check(&session.user, code, given, clock::now()).await {
            Checked::Right(accepted) => accepted,
            Checked::Wrong(label) => {
                tracing::info!(session = %session.id, user = %session.user, origin, label, "a code was refused");
                return CodeOutcome::Wrong;
            }
            Checked::Away => return CodeOutcome::Away,
        };
        let voices = match super::voices::voices(&*self.store, session).await {
            Ok(voices) => voices,
            Err(error) => {
                tracing::warn!(session = %session.id, %error, "a code was right, but nobody can see whether it counts");
                return CodeOutcome::Away;
            }
        };
        match self.ledger.fact(session.id, Event::Approved(Approval::by_totp(&accepted, voices)), None).await {
            Some(Told::Done) => CodeOutcome::Approved,
            Some(Told::Counted { .. }) => CodeOutcome::Counted,
            Some(_) => CodeOutcome::TooLate,
            None => CodeOutcome::Away,
        }
    }

    /// The sessions of these users that wait for a code now.
    async fn waiting(&self, users: &[UserName]) -> Result<Vec<Session>, StoreError> {
        let now = clock::now();
        let mut waiting = Vec::new();
        for user in users {
            // A chat may confirm for somebody who is not to log in any more.
            if self.store.user(user).await?.is_none_or(|user| user.disabled) {
                continue;
            }
            let query = SessionQuery { open: true, user: Some(user.clone()), ..SessionQuery::default() };
            let sessions = self.store.sessions(&query).await?;
            waiting.extend(sessions.into_iter().filter(|session| waits_for_code(session, now)));
        }
        Ok(waiting)
    }
}

/// Whether a code would lift a session: its order of approvers has come to TOTP, and nobody has decided.
pub(super) fn waits_for_code(session: &Session, now: Timestamp) -> bool {
    let asked = |ask: &crate::session::Ask| {
        ask.approver == ApproverKind::Totp && !matches!(ask.state, AskState::Undeliverable(_))
    };
    matches!(session.state, State::Offered | State::Held)
        && session.decision.is_none()
        && session.outcome != Some(Outcome::Superseded)
        && session.deadline.is_some_and(|deadline| now < deadline)
        && session.grant.as_ref().is_some_and(|grant| matches!(grant.terms, Terms::Hold(_)))
        && session.asks.iter().any(asked)
}
