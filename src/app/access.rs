//! Access-Request to Access-Accept or Access-Reject: reads the offer, has it checked, and offers a session.
//!
//! Waits for nobody but the store (bounded), for a place among the password checks where they are argon2id's, and for logins of the same
//! account (bounded). Never for a person.

mod code;
mod plan;
mod quick;
mod record;
mod remembered;
#[cfg(test)]
pub(super) mod scene;
#[cfg(test)]
mod tests;

pub(super) use quick::{LongWay, Quick};
use record::Notes;
pub(super) use record::Recorder;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::bans::Bans;
use super::current::Current;
use super::ledger::{Job, Ledger};
use super::lockouts::Lockouts;
use super::prompts::KnownPrompts;
use super::refusal::No;
use super::settings::{Settings, SettingsHandle};
use super::totp::Codes;
use super::trusts::Trusts;
use super::users::Users;
use super::{chance, clock};
use remembered::RememberedPasswords;

use crate::accounting::identity_of;
use crate::auth::challenge::ChallengeKey;
use crate::auth::totp::Accepted;
use crate::auth::wire::{Offer, write_proof, write_refusal};
use crate::auth::{
    Credential, CredentialForm, Decoy, Method, MethodKind, PasswordCost, Proof, SealingKey, StoredCredential, Verdict,
    Why, needs_slow_hash, verify,
};
use crate::config::WhileAway;
use crate::eap;
use crate::messages::{Messages, Value};
use crate::model::{Language, Member, Nas, NasName, SecondFactor, SessionId, Timestamp, User, UserName};
use crate::policy::{self, Ban, Caller, Fatigue, KeptOut, Standing, Terms};
use crate::radius::hiding::Salt;
use crate::radius::{Code, EncodeError, Packet, PacketBuilder, attribute};
use crate::session::{Approval, ButtonKey, Class, Event, Session, Voices};
use crate::store::{AuthAttempt, StoreError};
use crate::telemetry::{self, OncePerWindow};

/// Logins that may wait for each password check that runs: about the two seconds a NAS waits for its answer.
const QUEUE_PER_CHECK: usize = 64;

/// How often the log says the same of what keeps being so for login after login, and of how many NASes and users.
const SAID_EVERY: Duration = Duration::from_secs(10);
const MOST_SAID: usize = 256;

/// No NAS waits longer for its answer.
pub(super) const LONGEST_REJECT_DELAY: Duration = Duration::from_secs(60);

/// A login that is locked out is answered no sooner than this, right password or wrong; and so is a wrong password that was looked at
/// between two locks.
const LOCKED_OUT_DELAY: Duration = Duration::from_secs(2);

/// What becomes of an Access-Request.
#[derive(Debug)]
pub(super) enum Fate {
    /// This goes back.
    Reply(Vec<u8>),
    /// This goes back, but not before then.
    ReplyLater(Vec<u8>, Timestamp),
    /// Nothing goes back, and this label says why.
    Drop(&'static str),
}

/// What keeps many logins from being answered as they should.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Trouble {
    StoreAway,
    /// The store is there, and does not tell of somebody.
    NotTold,
    CodesAway,
}

/// The part that answers Access-Requests.
#[derive(Debug)]
pub(super) struct Access {
    settings: SettingsHandle,
    users: Arc<Users>,
    ledger: Ledger,
    /// Where logins are left that nobody is asked about.
    notes: Arc<Notes>,
    refusals: record::Refusals,
    sealing_key: SealingKey,
    decoy: Decoy,
    checks: Arc<Semaphore>,
    /// Those who may wait for a check; whoever finds no place here is not answered.
    queue: Semaphore,
    guards: Guards,
    /// Whether anybody met so far has an argon2id password: then a name nobody has must cost as much.
    slow_users: AtomicBool,
    said: OncePerWindow<Trouble>,
    /// That the stored passwords of these cannot be read, and Access-Accepts for these not be written.
    said_of_users: OncePerWindow<UserName>,
    said_of_nases: OncePerWindow<NasName>,
    remembered: RememberedPasswords,
    /// NASes that have begun sessions without bringing Class.
    without_class: Current<BTreeSet<NasName>>,
}

/// What stands between a password and a hold, all in memory.
#[derive(Debug)]
pub(super) struct Guards {
    pub bans: Arc<Bans>,
    pub lockouts: Arc<Lockouts>,
    pub prompts: Arc<KnownPrompts>,
    pub trusts: Arc<Trusts>,
    /// For the number on the screen.
    pub buttons: ButtonKey,
    pub messages: Arc<Messages>,
    /// Of the installation: at a login nobody says theirs.
    pub language: Language,
    pub codes: Arc<Codes>,
    pub challenges: ChallengeKey,
}

impl Guards {
    /// A Reply-Message.
    pub(super) fn say(&self, id: &str, arguments: &[(&str, Value<'_>)]) -> String {
        self.messages.say(&self.language, id, arguments)
    }
}

/// An Access-Request on its way.
struct Request<'a> {
    packet: Packet<'a>,
    nas: &'a Nas,
    source: IpAddr,
    received_at: Timestamp,
    settings: Arc<Settings>,
    /// Calling-Station-Id, where the NAS says.
    caller: Option<Caller>,
    /// What the lists say of the caller.
    standing: Standing,
}

impl Request<'_> {
    /// What is recorded of it.
    fn attempt(&self, method: &'static str, outcome: &'static str, session: Option<SessionId>) -> AuthAttempt {
        let attempt = record::attempt(&self.packet, self.nas, self.source, self.received_at, method, outcome);
        AuthAttempt { session, ..attempt }
    }

    /// When a refusal goes out: so long after the request came, whatever the check took, so that the clock does not tell a
    /// wrong password from an unknown user.
    fn rejected_at(&self, user: Option<&User>) -> Timestamp {
        let delay = user.and_then(|user| user.reject_delay).or(self.nas.reject_delay);
        self.received_at + delay.unwrap_or(self.settings.reject_delay).min(LONGEST_REJECT_DELAY)
    }

    /// User-Name, as the store can keep it.
    fn account(&self) -> Option<String> {
        let name = self.packet.first(attribute::USER_NAME)?;
        Some(printable(&String::from_utf8_lossy(name)))
    }

    /// What wrong passwords of this caller are counted under; empty where the NAS does not say who calls.
    fn caller_key(&self) -> String {
        self.caller.as_ref().map(|caller| printable(&caller.key())).unwrap_or_default()
    }
}

impl Access {
    pub(super) fn new(
        settings: SettingsHandle,
        users: Arc<Users>,
        (ledger, notes): (Ledger, Arc<Notes>),
        sealing_key: SealingKey,
        password_checks: usize,
        guards: Guards,
    ) -> Self {
        let decoy = Decoy::new(PasswordCost::default());
        let checks = Arc::new(Semaphore::new(password_checks.max(1)));
        let queue = Semaphore::new(password_checks.max(1) * QUEUE_PER_CHECK);
        let slow_users = AtomicBool::new(false);
        let said = OncePerWindow::new(SAID_EVERY, MOST_SAID);
        let said_of_users = OncePerWindow::new(SAID_EVERY, MOST_SAID);
        let said_of_nases = OncePerWindow::new(SAID_EVERY, MOST_SAID);
        let (remembered, without_class) = (RememberedPasswords::new(), Current::new(BTreeSet::new()));
        Self {
            settings,
            users,
            ledger,
            notes,
            refusals: record::Refusals::default(),
            sealing_key,
            decoy,
            checks,
            queue,
            guards,
            slow_users,
            said,
            said_of_users,
            said_of_nases,
            remembered,
            without_class,
        }
    }

    /// A session has begun of which the NAS brings no Class.
    pub(super) fn heard_without_class(&self, nas: &NasName) {
        if !self.without_class.get().contains(nas) {
            self.without_class.update(|nases| nases.iter().chain([nas]).cloned().collect());
        }
    }

    /// Asks for the users of these names, so that they are remembered; gives the names that nobody has.
    pub(super) async fn meet(
        &self,
        names: impl IntoIterator<Item = UserName>,
        now: Timestamp,
    ) -> Result<HashSet<UserName>, StoreError> {
        self.users.meet(names, now).await
    }

    /// Answers an Access-Request whose authenticity has been settled, and of which it may be known already that nobody is called that.
    pub(super) async fn answer(
        &self,
        datagram: &[u8],
        nas: &Nas,
        (source, received_at): (IpAddr, Timestamp),
        is_nobody: bool,
    ) -> Fate {
        let Ok(packet) = Packet::parse(datagram) else { return Fate::Drop("access.malformed") };
        let settings = self.settings.current();
        let caller = packet.first(attribute::CALLING_STATION_ID);
        let caller = caller.and_then(|octets| Caller::read(&String::from_utf8_lossy(octets)));
        let standing = policy::standing(&nas.callers, &settings.callers, caller.as_ref());
        let request = Request { packet, nas, source, received_at, settings, caller, standing };
        let name = match packet.first(attribute::USER_NAME) {
            Some(name) if !name.is_empty() => name,
            _ => return self.reject(&request, None, "none", None, &No::Unusable("no-user-name")),
        };
        match Offer::read(&packet, nas.secret.expose()) {
            Offer::Eap(octets) => self.refuse_eap(&request, &octets),
            Offer::Nothing => self.reject(&request, None, "none", None, &No::Unusable("no-password")),
            Offer::Password(offer) => match offer.method() {
                Ok(method) => self.check(&request, name, &method, is_nobody).await,
                Err(_) => self.reject(&request, None, "none", None, &No::Unusable("malformed-credentials")),
            },
        }
    }

    /// Why somebody is refused whatever their password is.
    fn shut_out(&self, request: &Request<'_>, now: Timestamp) -> Option<No> {
        let standing = request.standing;
        if standing == Standing::Denied {
            return Some(No::DeniedCaller);
        }
        let ban = request.caller.as_ref().and_then(|caller| self.guards.bans.against_caller(caller, standing, now));
        ban.map(|Ban { until, .. }| No::BannedCaller(until))
    }

    async fn check(&self, request: &Request<'_>, name: &[u8], method: &Method<'_>, is_nobody: bool) -> Fate {
        let label = method_label(method.kind());
        let account = request.account().unwrap_or_default();
        if let Some(no) = self.shut_out(request, request.received_at) {
            return self.reject(request, Some(method), label, None, &no);
        }
        // Kept until what came of the check is counted.
        let _checking = match self.guards.lockouts.admit(&account, &request.caller_key(), request.received_at).await {
            Ok(checking) => checking,
            Err(KeptOut::LockedOut) => return self.reject(request, Some(method), label, None, &No::LockedOut),
            Err(KeptOut::Full) => return Fate::Drop("access.volley"),
        };
        if !self.guards.bans.are_known() || !self.guards.lockouts.are_known() {
            let error = StoreError::Away("bans and lockouts have not been read since the start".to_owned());
            return self.without_store(request, method, label, &error);
        }
        // The caller may have been banned while this login waited.
        if let Some(no) = self.shut_out(request, clock::now()) {
            return self.reject(request, Some(method), label, None, &no);
        }
        if method.kind() == MethodKind::MsChapV1 && !request.nas.allow_ms_chap_v1 {
            let no = No::Unusable("ms-chap-v1-not-allowed");
            return self.reject(request, Some(method), label, None, &no);
        }
        // Not UTF-8, so not a name of ours; checked against the decoy like any unknown one.
        let known = match std::str::from_utf8(name) {
            _ if is_nobody => Ok(None),
            Ok(name) => self.users.get(&UserName::from(name), request.received_at).await,
            Err(_) => Ok(None),
        };
        let user = match known {
            Ok(user) => user,
            Err(error) => {
                return self.without_store(request, method, label, &error);
            }
        };
        if let Some(fate) = self.answer_to_challenge(request, user.as_deref(), name, method).await {
            return fate;
        }
        let verdict = match &user {
            Some(user) => self.verify_with_code(request, user, name, method).await,
            None => self.verify_nobody(name, method).await.map(|verdict| (verdict, None)),
        };
        let Some((verdict, code)) = verdict else { return Fate::Drop("access.checks-overload") };
        match &verdict {
            Verdict::Refused(Why::WrongPassword | Why::UnknownUser) => {
                self.guards.lockouts.failed(&account, &request.caller_key(), request.received_at);
            }
            // Nobody guesses like that; or it is right so far.
            Verdict::Refused(_) | Verdict::Accepted(_) => (),
        }
        match (user, verdict) {
            (Some(user), Verdict::Accepted(proof)) => {
                if method.kind() == MethodKind::Pap {
                    request.settings.nases.revealed_by(request.nas, request.source, request.received_at);
                }
                self.second_factor(request, &user, method, &proof, code).await
            }
            (user, Verdict::Refused(why)) => self.reject(
                request,
                Some(method),
                label,
                user.as_ref().map(|member| &member.user),
                &No::Credentials(why),
            ),
            // A proof for nobody cannot be: there was nothing to check it against.
            (None, Verdict::Accepted(_)) => Fate::Drop("access.impossible"),
        }
    }

    /// The store is away and the user not remembered, or it has of them what cannot be read: nobody can say whether the password is right.
    fn without_store(
        &self,
        request: &Request<'_>,
        method: &Method<'_>,
        label: &'static str,
        error: &StoreError,
    ) -> Fate {
        let (trouble, who) = match error {
            StoreError::Away(_) => (Trouble::StoreAway, "users who are not remembered"),
            _ => (Trouble::NotTold, "a user whom the store does not tell of"),
        };
        if let Some(kept_back) = self.said.first(trouble, request.received_at) {
            tracing::warn!(%error, kept_back, "{who} cannot log in");
        }
        match request.settings.while_away {
            WhileAway::Silent => Fate::Drop("access.store-away"),
            WhileAway::Reject => self.reject(request, Some(method), label, None, &No::StoreAway),
        }
    }

    /// Spends what a check costs on a name that nobody has.
    async fn verify_nobody(&self, name: &[u8], method: &Method<'_>) -> Option<Verdict> {
        let form = match self.slow_users.load(Ordering::Relaxed) {
            true => CredentialForm::Argon2id,
            false => CredentialForm::NtHash,
        };
        let decoy = self.decoy.credential(form);
        match method {
            Method::Pap { password } if needs_slow_hash(decoy, method) => {
                let spent = self.verify_slowly(decoy.clone(), name, password).await?;
                drop(spent);
                Some(Verdict::Refused(Why::UnknownUser))
            }
            _ => Some(Verdict::Refused(self.decoy.refuse(CredentialForm::NtHash, name, method))),
        }
    }

    /// Checks a password, off the network threads when that is slow work. `None` when too many wait already.
    async fn verify(&self, request: &Request<'_>, user: &User, name: &[u8], method: &Method<'_>) -> Option<Verdict> {
        let stored = std::str::from_utf8(user.credential.expose())
            .map_err(|error| error.to_string())
            .and_then(|text| StoredCredential::parse(text).map_err(|error| error.to_string()))
            .and_then(|stored| stored.open(&self.sealing_key, user.name.as_str()).map_err(|error| error.to_string()));
        let credential = match stored {
            Ok(credential) => credential,
            Err(error) => {
                telemetry::count("user.credential-unreadable");
                if let Some(kept_back) = self.said_of_users.first(user.name.clone(), request.received_at) {
                    tracing::error!(user = %user.name, %error, kept_back, "the stored password cannot be read");
                }
                return Some(Verdict::Refused(self.decoy.refuse(CredentialForm::NtHash, name, method)));
            }
        };
        match method {
            Method::Pap { password } if needs_slow_hash(&credential, method) => {
                self.slow_users.store(true, Ordering::Relaxed);
                let remembered = self.remembered.of(&user.name, request.settings.remember_passwords);
                let known = |remembered| self.remembered.recognise(&remembered, user, password, request.received_at);
                if let Some(proof) = remembered.and_then(known) {
                    return Some(Verdict::Accepted(proof));
                }
                let Some(verdict) = self.verify_slowly(credential, name, password).await else {
                    // Not the one that is right: a guess. Where the password was set anew since, this one may be right.
                    let is_wrong =
                        |remembered| self.remembered.rules_out_others(&remembered, user, request.received_at);
                    if remembered.is_some_and(is_wrong) {
                        let account = request.account().unwrap_or_default();
                        self.guards.lockouts.failed(&account, &request.caller_key(), request.received_at);
                    }
                    return None;
                };
                if let Verdict::Accepted(proof) = &verdict {
                    let time = request.settings.remember_passwords;
                    self.remembered.remember(proof, user, password, request.received_at, time);
                }
                Some(verdict)
            }
            _ => Some(verify(&credential, name, method)),
        }
    }

    async fn verify_slowly(&self, credential: Credential, name: &[u8], password: &[u8]) -> Option<Verdict> {
        let _waiting = self.queue.try_acquire().ok()?;
        let place = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        let (name, password) = (name.to_vec(), Zeroizing::new(password.to_vec()));
        let check = move || {
            let verdict = verify(&credential, &name, &Method::Pap { password: &password });
            drop(place);
            verdict
        };
        Some(tokio::task::spawn_blocking(check).await.unwrap_or(Verdict::Refused(Why::HashDidNotRun)))
    }

    fn accept(
        &self,
        request: &Request<'_>,
        user: &User,
        method: &Method<'_>,
        proof: &Proof,
        grant: policy::Grant,
        code: Option<&Accepted>,
    ) -> Fate {
        let now = clock::now();
        let grant = match code {
            Some(code) => grant.proven(code),
            None => grant,
        };
        // Where others must agree too, a code alone opens nothing: they are asked.
        let code = code.filter(|_| matches!(grant.terms, Terms::Waived(_)));
        // A host that lets in whoever gets an Access-Accept, whatever its filter, holds nobody.
        if request.nas.codes.or_reject && matches!(grant.terms, Terms::Hold(_)) {
            return self.reject(request, Some(method), method_label(method.kind()), Some(user), &No::WithoutCode);
        }
        let account = request.account().unwrap_or_default();
        let is_plain = user.second_factor == SecondFactor::None
            && self.guards.lockouts.none_failed(&account, &request.caller_key());
        let id = chance::session_id(now);
        let identity = identity_of(&request.packet);
        let offer =
            Session::offer(id, user.name.clone(), request.nas.name.clone(), request.source, identity, grant, now);
        let offer = match code {
            Some(code) => offer.approved_at_login(&Approval::by_totp(code, Voices::default())),
            None => offer,
        };
        let superseded = match self.may_ask(request, &offer, now) {
            Ok(superseded) => superseded,
            Err(fatigue) => {
                let no = No::Fatigue(fatigue);
                return self.reject(request, Some(method), method_label(method.kind()), Some(user), &no);
            }
        };
        let reply = match accept_reply(request, user, proof, &offer, &self.guards) {
            Ok(reply) => reply,
            Err(error) => {
                self.guards.prompts.withdraw(&user.name, id, &superseded);
                if let Some(kept_back) = self.said_of_nases.first(request.nas.name.clone(), request.received_at) {
                    let (user, nas) = (&user.name, &request.nas.name);
                    tracing::error!(%user, %nas, error, kept_back, "the Access-Accept cannot be written");
                }
                return self.reject(request, Some(method), method_label(method.kind()), Some(user), &No::Unwritable);
            }
        };
        // As in the short cut. Whom a trust or a code lets in, and who comes where somebody has failed, is on record in any case; and where a
        // Start looks for the offer, that must be kept first.
        if is_plain && !self.without_class.get().contains(&request.nas.name) {
            let attempt = request.attempt(method_label(method.kind()), "accepted", Some(id));
            if !self.notes.leave_read(offer, attempt) {
                self.notes.lose();
            }
            return Fate::Reply(reply);
        }
        // The offer is on its way to the store before the NAS can speak of the session.
        if self.ledger.try_send(Job::Offer(offer)).is_err() {
            self.guards.prompts.withdraw(&user.name, id, &superseded);
            return Fate::Drop("access.overload");
        }
        for older in superseded {
            self.supersede(older);
        }
        self.record(request, method_label(method.kind()), "accepted", Some(id));
        Fate::Reply(reply)
    }

    /// Whether somebody's own device may ring for this login, and which of theirs it makes way for.
    fn may_ask(&self, request: &Request<'_>, offer: &Session, now: Timestamp) -> Result<Vec<SessionId>, Fatigue> {
        let Some((prompt, guards)) = offer.prompt(now).zip(offer.guards()) else { return Ok(Vec::new()) };
        let usual =
            || request.settings.dialects.get(&request.nas.dialect).is_some_and(|dialect| dialect.unique_ports());
        let unique_port = request.nas.unique_ports.unwrap_or_else(usual);
        let known = |caller: &str| self.guards.lockouts.knows(offer.user.as_str(), caller, now);
        self.guards.prompts.admit(prompt, unique_port, &guards, known, now)
    }

    /// An older login is asked about no more. Should there be no room for that, it waits in vain until its deadline.
    fn supersede(&self, older: SessionId) {
        telemetry::count("access.superseded");
        let (told, _) = tokio::sync::oneshot::channel();
        let job = Job::Fact { session: older, event: Box::new(Event::Superseded), settles: None, told };
        if self.ledger.try_send(job).is_err() {
            telemetry::count("access.superseded-not-told");
        }
    }

    fn refuse_eap(&self, request: &Request<'_>, octets: &[u8]) -> Fate {
        match eap::refuse(octets) {
            Ok(failure) => {
                self.record(request, "eap", "eap-not-supported", None);
                // RFC 3579 §2.6.3: an Access-Reject to EAP carries EAP-Failure, and no Reply-Message.
                let reply = build(request, Code::AccessReject, |reply| {
                    reply.attribute(attribute::EAP_MESSAGE, &failure).map(drop)
                });
                later_or_drop(reply, request.rejected_at(None))
            }
            Err(_) => Fate::Drop("access.eap-malformed"),
        }
    }

    fn reject(
        &self,
        request: &Request<'_>,
        method: Option<&Method<'_>>,
        label: &'static str,
        user: Option<&User>,
        no: &No,
    ) -> Fate {
        self.record(request, label, no.label(), None);
        if let Some(counter) = no.counter() {
            telemetry::count(counter);
        }
        let message = no.message(request.received_at, |id, arguments| self.guards.say(id, arguments));
        let reply = build(request, Code::AccessReject, |reply| {
            reply.text(attribute::REPLY_MESSAGE, &message)?;
            method.map_or(Ok(()), |method| write_refusal(reply, method, no.ms_chap_code(), &chance::octets(), &message))
        });
        let account = request.account().unwrap_or_default();
        let slow = match no {
            No::LockedOut => true,
            No::Credentials(_) | No::Code(_) => {
                self.guards.lockouts.slows(&account, &request.caller_key(), request.received_at)
            }
            _ => false,
        };
        let at = match slow {
            true => request.rejected_at(user).max(request.received_at + LOCKED_OUT_DELAY),
            false => request.rejected_at(user),
        };
        later_or_drop(reply, at)
    }

    fn record(&self, request: &Request<'_>, method: &'static str, outcome: &'static str, session: Option<SessionId>) {
        if session.is_none() && !self.refusals.have_room(&request.nas.name, request.received_at) {
            return;
        }
        let attempt = request.attempt(method, outcome, session);
        record::say(&attempt);
        if self.ledger.try_send(Job::Attempt(Box::new(attempt))).is_err() {
            telemetry::count("attempt.not-recorded");
        }
    }
}

fn accept_reply(
    request: &Request<'_>,
    user: &User,
    proof: &Proof,
    offer: &Session,
    guards: &Guards,
) -> Result<Vec<u8>, String> {
    let grant = offer.grant.as_ref().ok_or("nothing was granted")?;
    let Settings { dialects, dictionary, class_key, .. } = &*request.settings;
    let dialect = &request.nas.dialect;
    let dialect = dialects.get(dialect).ok_or_else(|| format!("there is no dialect {dialect:?}; see radhold check"))?;
    let class =
        Class { session: offer.id, accepted_at: offer.accepted_at, waived: matches!(grant.terms, Terms::Waived(_)) };
    let class = class_key.seal(&class, &request.nas.name);
    let attributes = dialect.accept(dictionary, &user.name, grant, &class).map_err(|error| error.to_string())?;
    build(request, Code::AccessAccept, |reply| {
        for octets in &attributes {
            reply.encoded(octets)?;
        }
        if offer.shows_numbers() {
            let number = guards.buttons.number(offer.id).to_string();
            let said = guards.say("reply-number", &[("value", number.into())]);
            reply.text(attribute::REPLY_MESSAGE, &said)?;
        }
        write_proof(reply, proof, &request.packet, request.nas.secret.expose(), salts())
    })
    .map_err(|error| error.to_string())
}

fn build(
    request: &Request<'_>,
    code: Code,
    fill: impl FnOnce(&mut PacketBuilder) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut reply = PacketBuilder::reply(&request.packet, code);
    fill(&mut reply)?;
    reply.proxy_states_of(&request.packet)?;
    reply.sign_reply(request.nas.secret.expose()).map(<[u8]>::to_vec)
}

/// No name from a packet may be one of those that wrong codes are counted under, which begin with a control character.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn later_or_drop(reply: Result<Vec<u8>, EncodeError>, at: Timestamp) -> Fate {
    match reply {
        Ok(reply) => Fate::ReplyLater(reply, at),
        Err(error) => {
            // Whoever sends as many Proxy-States as fit into a packet has this said once a minute, by the door.
            tracing::debug!(%error, "a reply cannot be written");
            Fate::Drop("access.unwritable")
        }
    }
}

/// Two salts that differ (RFC 2548 §2.4.2).
fn salts() -> [Salt; 2] {
    let [a, b] = chance::few();
    [Salt::new([a, b]), Salt::new([a, b ^ 1])]
}

fn method_label(kind: MethodKind) -> &'static str {
    match kind {
        MethodKind::Pap => "pap",
        MethodKind::Chap => "chap",
        MethodKind::MsChapV1 => "ms-chap-v1",
        MethodKind::MsChapV2 => "ms-chap-v2",
    }
}
