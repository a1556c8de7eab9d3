//! Logins that nobody is asked about, of users who are remembered and do nothing wrong: answered on the spot, on the core whose socket
//! they came to, without a lock that cores share and without a piece of memory that is not there already. Of users who are not remembered,
//! the same beside the cores as soon as they are (`app/door/newcomers.rs`).
//!
//! Lets nobody in whom [`Access::answer`] would refuse: it takes the short cut only where everything it leaves out comes to nothing. All
//! else, and every refusal, is left to that.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::chance::Supply;
use super::super::current::Reader;
use super::super::settings::Settings;
use super::plan::{Plan, Planned, Plans};
use super::record::{Note, Notes};
use super::*;
use crate::auth::verify_ms_chap_v2;
use crate::policy::BanList;
use crate::radius::{PreparedSecret, Signing};

/// Users of whom cores together remember what their logins get; twice as many at most. What is kept for MS-CHAPv2 is 400 octets of each who
/// has logged in so: 105 MB in all.
const MOST: usize = 131_072;

/// Users of whom the same is remembered beside the cores: where they log in next, they come to a core.
const MOST_NEW: usize = 64;

/// Why a request is left to [`Access::answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum LongWay {
    /// The user is not remembered. Once they were asked for this may be answered at once.
    NotRemembered,
    /// For whatever else.
    Other,
}

/// The short cut of one core, or of one who answers beside them.
#[derive(Debug)]
pub(in crate::app) struct Quick {
    access: Arc<Access>,
    settings: Reader<Settings>,
    bans: Reader<BanList>,
    without_class: Reader<BTreeSet<NasName>>,
    plans: Plans,
    chance: Supply,
    notes: Arc<Notes>,
    reply: PacketBuilder,
    /// What failures of the caller at hand are counted under.
    caller: String,
}

impl Quick {
    /// One of so many.
    pub(in crate::app) fn new(access: Arc<Access>, notes: Arc<Notes>, cores: usize) -> Self {
        Self::remembering(MOST / cores.max(1), access, notes)
    }

    /// Of no core: for those who had to be asked for.
    pub(in crate::app) fn for_those_met(access: Arc<Access>) -> Self {
        let notes = Arc::clone(&access.notes);
        Self::remembering(MOST_NEW, access, notes)
    }

    fn remembering(most: usize, access: Arc<Access>, notes: Arc<Notes>) -> Self {
        let (settings, bans) = (access.settings.reader(), access.guards.bans.reader());
        let without_class = access.without_class.reader();
        // Any code: each reply begins anew.
        let reply = PacketBuilder::request(Code::AccessRequest, 0, [0; 16]);
        let (plans, chance) = (Plans::new(most), Supply::new());
        Self { access, settings, bans, without_class, plans, chance, notes, reply, caller: String::new() }
    }

    /// Leaves the Access-Accept for an Access-Request, whose authenticity has been settled by this secret, to be signed; or says why it is left
    /// to [`Access::answer`].
    pub(in crate::app) fn answer(
        &mut self,
        packet: &Packet<'_>,
        (nas, secret): (&Arc<Nas>, &PreparedSecret),
        (source, received_at): (IpAddr, Timestamp),
        signing: &mut Signing,
    ) -> Result<(), LongWay> {
        let name = self.is_plain(packet, nas, received_at).ok_or(LongWay::Other)?;
        let offer = Offer::read(packet, secret.expose());
        let Offer::Password(offer) = &offer else { return Err(LongWay::Other) };
        let method = offer.method().map_err(|_| LongWay::Other)?;
        if method.kind() == MethodKind::MsChapV1 && !nas.allow_ms_chap_v1 {
            return Err(LongWay::Other);
        }
        let Self { access, settings, plans, .. } = self;
        let (settings, version) = settings.get();
        let (users, key) = ((&*access.users, received_at), &access.sealing_key);
        let Some(planned) = plans.get(name, nas, (settings, version), users, key) else {
            return Err(if access.users.would_be_met(name) { LongWay::NotRemembered } else { LongWay::Other });
        };
        let Some(plan) = planned.plan.clone() else { return Err(LongWay::Other) };
        let Some(proof) = prove(access, settings, planned, &plan, &method, received_at) else {
            // Whatever else comes now is looked at closely, from this moment on.
            access.guards.lockouts.suspect(name, &self.caller);
            return Err(LongWay::Other);
        };
        if method.kind() == MethodKind::Pap {
            settings.nases.revealed_by(nas, source, received_at);
        }
        self.accept(packet, plan, &proof, secret, (source, received_at), signing).ok_or(LongWay::Other)
    }

    /// The User-Name of a request of which a plan says all, if nothing stands against it.
    fn is_plain<'p>(&mut self, packet: &Packet<'p>, nas: &Nas, received_at: Timestamp) -> Option<&'p str> {
        // Its Start looks for the offer, which therefore must be kept first.
        if self.without_class.get().0.contains(&nas.name) {
            return None;
        }
        let special = packet.has(attribute::EAP_MESSAGE) || packet.has(attribute::STATE);
        if special || packet.as_bytes().len() > Note::MOST {
            return None;
        }
        let name = packet.text(attribute::USER_NAME)?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return None;
        }
        self.may_come(packet, nas, name, received_at).map(|()| name)
    }

    /// Whether nothing stands against this account and caller.
    fn may_come(&mut self, packet: &Packet<'_>, nas: &Nas, name: &str, now: Timestamp) -> Option<()> {
        let guards = &self.access.guards;
        // Before the list is looked at.
        if !guards.bans.are_known() {
            return None;
        }
        let (settings, _) = self.settings.get();
        let (bans, _) = self.bans.get();
        let station = packet.first(attribute::CALLING_STATION_ID).map(std::str::from_utf8).transpose().ok()?;
        let address = Caller::read_key(station.unwrap_or_default(), &mut self.caller);
        if self.caller.chars().any(char::is_control) {
            return None;
        }
        // A caller that is no address is on no list.
        let caller = address.map(Caller::Address);
        let standing = policy::standing(&nas.callers, &settings.callers, caller.as_ref());
        if standing == Standing::Denied {
            return None;
        }
        if !bans.is_empty() {
            let allowed = standing == Standing::Allowed;
            let caller = caller.or_else(|| Caller::read(station.unwrap_or_default()));
            let caller = caller.and_then(|caller| bans.against_caller(&caller, allowed, now));
            if caller.is_some() || bans.against_account(&UserName::from(name), allowed, now).is_some() {
                return None;
            }
        }
        guards.lockouts.none_failed(name, &self.caller).then_some(())
    }

    fn accept(
        &mut self,
        packet: &Packet<'_>,
        plan: Arc<Plan>,
        proof: &Proof,
        secret: &PreparedSecret,
        (source, received_at): (IpAddr, Timestamp),
        signing: &mut Signing,
    ) -> Option<()> {
        let now = received_at;
        let session = self.chance.session_id(now);
        let class = Class { session, accepted_at: now, waived: true };
        let (settings, _) = self.settings.get();
        let class = settings.class_key.seal(&class, &plan.nas.name);
        let [a, b] = self.chance.octets();
        let salts = [Salt::new([a, b]), Salt::new([a, b ^ 1])];
        let reply = &mut self.reply;
        reply.restart_reply(packet, Code::AccessAccept);
        reply.encoded(&plan.attributes).ok()?.attribute(attribute::CLASS, &class).ok()?;
        write_proof(reply, proof, packet, secret.expose(), salts).ok()?;
        reply.proxy_states_of(packet).ok()?;
        reply.sign_reply_together(secret, signing).ok()?;
        // Only where there is room is a note made: when many log in, most find none.
        let note = || Note::new(plan, session, proof.method(), packet.as_bytes(), source, received_at, now);
        if !self.notes.has_room() || !self.notes.leave(note()) {
            // The session is made known by the Class that its Start brings.
            self.notes.lose();
        }
        Some(())
    }
}

/// Whether the password is right; `None` also when that takes longer.
fn prove(
    access: &Access,
    settings: &Settings,
    planned: &mut Planned,
    plan: &Plan,
    method: &Method<'_>,
    now: Timestamp,
) -> Option<Proof> {
    let user = &plan.member.user;
    let name = user.name.as_str().as_bytes();
    let verdict = match (&plan.credential, method) {
        (Credential::Argon2id(_), Method::Pap { password }) => {
            if planned.remembered.is_none_or(|remembered| !remembered.counts(now)) {
                planned.remembered = access.remembered.of(&user.name, settings.remember_passwords);
            }
            return access.remembered.recognise(planned.remembered.as_ref()?, user, password, now);
        }
        (_, Method::MsChapV2 { challenge, response }) => {
            verify_ms_chap_v2(plan.prepared_nt_hash()?, name, challenge, response)
        }
        (credential, method) => verify(credential, name, method),
    };
    match verdict {
        Verdict::Accepted(proof) => Some(proof),
        Verdict::Refused(_) => None,
    }
}

#[cfg(test)]
mod tests;
