//! The second factor within a login: a code behind a PAP password, or asked for by Access-Challenge.
//!
//! With the right code the Access-Accept itself carries the permit filter, and Class says "waived": a NAS without CoA can be
//! served so, and a restart before the offer is kept neither loses the approval nor lets anybody else through, since Class is
//! signed. Without the right code this part lets nobody in who would not be held.

use super::super::refusal::No;
use super::super::totp::{Checked, Origin};
use super::*;
use crate::auth::challenge::{Challenge, ChallengeError};
use crate::auth::totp::{self, Code as Given};

impl Access {
    /// Checks a password, and tells a code behind it apart. `None` when too many wait already.
    ///
    /// The whole is tried too: it may be a password that only looks as if there were a code behind it.
    pub(super) async fn verify_with_code(
        &self,
        request: &Request<'_>,
        user: &User,
        name: &[u8],
        method: &Method<'_>,
    ) -> Option<(Verdict, Option<Given>)> {
        if let Method::Pap { password } = method
            && let Some((before, code)) = totp::split(password)
            // An emergency code is off unless made, and looks like nothing else.
            && (matches!(code, Given::Emergency(_))
                || policy::takes_code_in_password(user, request.nas, request.settings.codes.in_password))
        {
            let verdict = self.verify(request, user, name, &Method::Pap { password: before }).await?;
            if matches!(verdict, Verdict::Accepted(_)) {
                return Some((verdict, Some(code)));
            }
        }
        Some((self.verify(request, user, name, method).await?, None))
    }

    /// The password is right: what its grant and a code beside it come to.
    pub(super) async fn second_factor(
        &self,
        request: &Request<'_>,
        user: &Member,
        method: &Method<'_>,
        proof: &Proof,
        code: Option<Given>,
    ) -> Fate {
        let label = method_label(method.kind());
        let grant = match self.grant(request, user) {
            Ok(grant) => grant,
            Err(no) => return self.reject(request, Some(method), label, Some(user), &no),
        };
        if matches!(grant.terms, Terms::Waived(_)) {
            self.guards.lockouts.succeeded(user.name.as_str(), &request.caller_key());
            return self.accept(request, user, method, proof, grant, None);
        }
        let Some(code) = code else {
            self.guards.lockouts.succeeded(user.name.as_str(), &request.caller_key());
            return self.challenge_or_hold(request, user, method, proof, grant).await;
        };
        match self.check_code(request, user, &code).await {
            Ok(accepted) => self.accept(request, user, method, proof, grant, Some(&accepted)),
            Err(no) => self.reject(request, Some(method), label, Some(user), &no),
        }
    }

    /// The second Access-Request of a challenge: State says that the password was right, and User-Password is the code. `None`
    /// when the State is not ours, so that the request is one like any other.
    pub(super) async fn answer_to_challenge(
        &self,
        request: &Request<'_>,
        user: Option<&Member>,
        name: &[u8],
        method: &Method<'_>,
    ) -> Option<Fate> {
        let (Method::Pap { password }, Some(state)) = (method, request.packet.first(attribute::STATE)) else {
            return None;
        };
        let label = method_label(method.kind());
        let reject = |no: &No| Some(self.reject(request, Some(method), label, user.map(|member| &member.user), no));
        let now = request.received_at;
        let (challenge, proof) = match self.guards.challenges.open(state, &request.nas.name, name, now) {
            Err(ChallengeError::Foreign) => return None,
            Err(error) => return reject(&No::State(error.as_str())),
            Ok(opened) => opened,
        };
        let Some(user) = user else { return reject(&No::State("state-of-nobody")) };
        let grant = match self.grant(request, user) {
            Ok(grant) => grant,
            Err(no) => return reject(&no),
        };
        match self.guards.codes.spend_challenge(&challenge.id, challenge.expires_at).await {
            Ok(true) => (),
            Ok(false) => return reject(&No::State("state-used")),
            Err(error) => {
                if let Some(kept_back) = self.said.first(Trouble::CodesAway, request.received_at) {
                    tracing::warn!(%error, kept_back, "a challenge cannot be answered without the store");
                }
                return reject(&No::CodesAway);
            }
        }
        let code = std::str::from_utf8(password).ok().and_then(Given::read);
        let checked = match &code {
            Some(code) => self.check_code(request, user, code).await,
            // An empty line is no guess.
            None => Err(No::Code("no-code")),
        };
        Some(match checked {
            Ok(accepted) => self.accept(request, user, method, &proof, grant, Some(&accepted)),
            Err(No::Code(_)) if challenge.wrong + 1 < request.settings.codes.challenge_tries => {
                self.challenge(request, user, &proof, challenge.wrong + 1)
            }
            Err(no) => self.reject(request, Some(method), label, Some(user), &no),
        })
    }

    /// What the policy grants, unless the account is banned.
    fn grant(&self, request: &Request<'_>, user: &Member) -> Result<policy::Grant, No> {
        let ban = self.guards.bans.against_account(&user.name, request.standing, request.received_at);
        if let Some(Ban { until, .. }) = ban {
            return Err(No::BannedAccount(until));
        }
        let grant = policy::decide(user, &user.groups, request.nas, &request.settings.defaults).map_err(No::Policy)?;
        let (nas, caller) = (&request.nas.name, request.caller.as_ref());
        Ok(self.guards.trusts.consider(grant, &user.name, nas, caller, request.received_at))
    }

    /// A wrong code counts like a wrong password: from outside the two are one.
    async fn check_code(&self, request: &Request<'_>, user: &User, code: &Given) -> Result<totp::Accepted, No> {
        let (account, caller) = (user.name.as_str(), request.caller_key());
        let origin = format!("{} {caller}", request.nas.name);
        match self.guards.codes.check(&user.name, code, Origin::Login(origin.trim_end()), request.received_at).await {
            Checked::Right(accepted) => {
                self.guards.lockouts.succeeded(account, &caller);
                Ok(accepted)
            }
            Checked::Wrong(label) => {
                self.guards.lockouts.failed(account, &caller, request.received_at);
                Err(No::Code(label))
            }
            Checked::Away => Err(No::CodesAway),
        }
    }

    async fn challenge_or_hold(
        &self,
        request: &Request<'_>,
        user: &Member,
        method: &Method<'_>,
        proof: &Proof,
        grant: policy::Grant,
    ) -> Fate {
        let entry = request.nas.codes;
        let reject = |no: &No| self.reject(request, Some(method), method_label(method.kind()), Some(user), no);
        // Only User-Password can carry the answer.
        if entry.challenge && method.kind() == MethodKind::Pap {
            match self.guards.codes.are_wanted_of(&user.name, entry.or_reject, request.received_at).await {
                Ok(true) => return self.challenge(request, user, proof, 0),
                Ok(false) => (),
                Err(_) if entry.or_reject => return reject(&No::CodesAway),
                // Held, as without any code.
                Err(error) => {
                    if let Some(kept_back) = self.said.first(Trouble::CodesAway, request.received_at) {
                        tracing::warn!(%error, kept_back, "nobody can be asked for a code without the store");
                    }
                }
            }
        }
        if entry.or_reject {
            return reject(&No::WithoutCode);
        }
        self.accept(request, user, method, proof, grant, None)
    }

    fn challenge(&self, request: &Request<'_>, user: &User, proof: &Proof, wrong: u8) -> Fate {
        let lasts = request.settings.codes.challenge_for;
        let challenge = Challenge { id: chance::octets(), expires_at: clock::now() + lasts, wrong };
        let name = request.packet.first(attribute::USER_NAME).unwrap_or_default();
        let state = self.guards.challenges.seal(&challenge, &request.nas.name, name, proof);
        let (message, outcome) = match wrong {
            0 => ("reply-code", "challenged"),
            _ => ("reply-code-again", "challenged-again"),
        };
        let message = self.guards.say(message, &[]);
        self.record(request, "pap", outcome, None);
        let reply = build(request, Code::AccessChallenge, |reply| {
            reply.text(attribute::REPLY_MESSAGE, &message)?.attribute(attribute::STATE, &state)?;
            // RFC 2865 §5.27: here, how long the prompt is worth answering.
            let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX).max(1);
            reply.integer(attribute::SESSION_TIMEOUT, seconds).map(drop)
        });
        match reply {
            Ok(reply) if wrong == 0 => Fate::Reply(reply),
            reply => later_or_drop(reply, request.rejected_at(Some(user))),
        }
    }
}
