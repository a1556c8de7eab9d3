//! A port's door: from which NAS, is it RADIUS, is it proven, is it a repeat. What passes is worked on; everything else ends
//! here, counted, and a stranger cannot fill the log.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::access::{Access, Fate};
use super::ledger::{Job, Ledger};
use super::settings::{Known, SettingsHandle};
use super::{accounting, clock};
use crate::model::{Nas, NasName, Timestamp};
use crate::net::radsec::{End, Link};
use crate::net::{Admission, Duplicates, Replier, RequestKey};
use crate::radius::{Code, MessageAuthenticatorError, Packet, PacketBuilder, attribute};
use crate::spool::AccountingPacket;
use crate::telemetry::{self, OncePerWindow};

/// How long replies are kept for repeats: longer than any NAS goes on asking.
const REPEATS: Duration = Duration::from_secs(30);
/// Requests remembered per port, at most.
const MOST_REPEATS: usize = 65_536;
/// Access-Rejects waiting for their time, at most.
const MOST_HELD_BACK: usize = 16_384;
/// The same complaint about the same peer is logged once in so long.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// Peers and complaints told apart, at most.
const MOST_COMPLAINTS: usize = 1024;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// Access-Request (RFC 2865) and Status-Server.
    Access,
    /// Accounting-Request (RFC 2866) and Status-Server.
    Accounting,
    /// All of these, over TLS (RFC 6614 §2.1).
    Tls,
}

/// The door of one port.
#[derive(Debug)]
pub(super) struct Door {
    port: Port,
    settings: SettingsHandle,
    access: Arc<Access>,
    ledger: Ledger,
    duplicates: Mutex<Duplicates>,
    places: [Arc<Semaphore>; 2],
    held_back: Semaphore,
    complaints: OncePerWindow<(IpAddr, &'static str)>,
}

impl Door {
    /// A door; of the places, the first are those of logins, the others of accounting.
    pub(super) fn new(
        port: Port,
        settings: SettingsHandle,
        access: Arc<Access>,
        ledger: Ledger,
        places: [Arc<Semaphore>; 2],
    ) -> Self {
        Self {
            port,
            settings,
            access,
            ledger,
            duplicates: Mutex::new(Duplicates::new(REPEATS, MOST_REPEATS)),
            places,
            held_back: Semaphore::new(MOST_HELD_BACK),
            complaints: OncePerWindow::new(COMPLAINTS, MOST_COMPLAINTS),
        }
    }

    /// Takes a datagram in.
    pub(super) fn take(self: &Arc<Self>, datagram: &[u8], replier: Replier) {
        if let Err(label) = self.admit(datagram, &replier) {
            telemetry::count(label);
        }
    }

    /// Admits a datagram to be worked on, or gives the label of its end.
    fn admit(self: &Arc<Self>, datagram: &[u8], replier: &Replier) -> Result<(), &'static str> {
        let received_at = clock::now();
        let peer = replier.peer();
        let settings = self.settings.current();
        let there = settings.nases.at(peer.ip());
        if there.is_empty() {
            self.complain(peer.ip(), "packet.unknown-nas", received_at, "not a NAS of ours (radhold nas add)");
            return Err("packet.unknown-nas");
        }
        let packet = Packet::parse(datagram).map_err(|error| {
            self.complain(peer.ip(), error.reason(), received_at, &error.to_string());
            error.reason()
        })?;
        let nas = self.whose(&packet, there, received_at).map_err(|(label, error)| {
            self.complain(peer.ip(), label, received_at, &error);
            label
        })?;
        self.begin(&packet, nas, replier, received_at)
    }

    /// Takes a request in that came over TLS, from the NAS the certificate is bound to.
    ///
    /// # Errors
    /// Why the connection is to be ended: RFC 6613 §2.6.4 wants that of one on which something cannot be believed.
    pub(super) fn take_over_tls(
        self: &Arc<Self>,
        nas: &NasName,
        packet: &Packet<'_>,
        link: &Arc<Link>,
        replier: &Replier,
    ) -> Result<(), End> {
        let received_at = clock::now();
        let settings = self.settings.current();
        // A NAS that was removed, or that goes by another certificate now, is heard no more.
        let known = settings.nases.known(nas);
        let known = known.filter(|known| known.nas.radsec.iter().any(|id| link.certificate.ids.contains(id)));
        let Some(known) = known else { return Err(End::Unbound("its certificate is no NAS's any more")) };
        let nas = known.over_tls();
        match self.prove(packet, nas) {
            Ok(_) => {
                if let Err(label) = self.begin(packet, nas, replier, received_at) {
                    telemetry::count(label);
                }
                Ok(())
            }
            // What is merely not ours to answer is discarded.
            Err((label @ ("packet.code-out-of-place" | "packet.message-authenticator-absent"), error)) => {
                self.complain(replier.peer().ip(), label, received_at, &error);
                telemetry::count(label);
                Ok(())
            }
            Err((label, error)) => {
                telemetry::count(label);
                Err(End::Unbelievable(error))
            }
        }
    }

    /// Begins to work on a request of this NAS's, unless it is a repeat or there is too much to do.
    fn begin(
        self: &Arc<Self>,
        packet: &Packet<'_>,
        nas: &Arc<Nas>,
        replier: &Replier,
        received_at: Timestamp,
    ) -> Result<(), &'static str> {
        let key = RequestKey {
            source: replier.peer(),
            connection: replier.connection(),
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        match self.duplicates().admit(&key, received_at) {
            Admission::New => (),
            Admission::InWork => return Err("packet.repeat-in-work"),
            Admission::Answered(reply) => {
                replier.send_now(&reply);
                return Err("packet.repeat-answered");
            }
        }
        let is_accounting = packet.code() == Code::AccountingRequest;
        let places = &self.places[usize::from(is_accounting)];
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            self.duplicates().forget(&key);
            return Err("packet.overload");
        };
        let (door, nas, replier, datagram) =
            (Arc::clone(self), Arc::clone(nas), replier.clone(), packet.as_bytes().to_vec());
        tokio::spawn(async move {
            let room = is_accounting || door.ledger.room().await.is_ok();
            let fate = if room {
                door.work(&datagram, &nas, &replier, received_at).await
            } else {
                Fate::Drop("packet.overload")
            };
            match fate {
                Fate::ReplyLater(reply, at) => {
                    // What waits only for its time keeps nobody else out.
                    drop(place);
                    let fate = door.hold_back(reply, at).await;
                    door.conclude(&key, fate, &replier).await;
                }
                fate => {
                    door.conclude(&key, fate, &replier).await;
                    drop(place);
                }
            }
        });
        Ok(())
    }

    /// Keeps a refusal back until its time. Of these there are at most so many; a flood of wrong passwords beyond that gets no
    /// answer.
    async fn hold_back(&self, reply: Vec<u8>, at: Timestamp) -> Fate {
        let Ok(_parked) = self.held_back.try_acquire() else { return Fate::Drop("access.reject-overload") };
        tokio::time::sleep(at.since(clock::now())).await;
        Fate::Reply(reply)
    }

    async fn conclude(&self, key: &RequestKey, fate: Fate, replier: &Replier) {
        let reply: Arc<[u8]> = match fate {
            Fate::Reply(reply) | Fate::ReplyLater(reply, _) => reply.into(),
            Fate::Drop(label) => {
                self.duplicates().forget(key);
                telemetry::count(label);
                return;
            }
        };
        self.duplicates().answered(key, Arc::clone(&reply));
        match replier.send(&reply).await {
            Ok(()) => telemetry::count(sent_label(Code::from(reply[0]))),
            Err(error) => {
                telemetry::count("packet.unsent");
                tracing::warn!(peer = %replier.peer(), %error, "a reply could not be sent");
            }
        }
    }

    /// Of the NASes at an address, the one whose packet this is, by the secret it was made with. At most two are asked, with two
    /// secrets each: the one that goes by the packet's NAS-Identifier, and the one that goes by none.
    fn whose<'a>(
        &self,
        packet: &Packet<'_>,
        there: &'a [Arc<Known>],
        now: Timestamp,
    ) -> Result<&'a Arc<Nas>, (&'static str, String)> {
        let identifier = packet.first(attribute::NAS_IDENTIFIER);
        let meant = |known: &&Arc<Known>| {
            known.nas.nas_identifier.as_ref().is_none_or(|name| identifier == Some(name.as_bytes()))
        };
        let mut wrong = None;
        for known in there.iter().filter(meant) {
            for (nas, previous) in known.by_secret(now) {
                match self.prove(packet, nas) {
                    // Anybody can write a NAS-Identifier.
                    Ok(Proof::None) if there.len() > 1 => {
                        let advice = "several NASes have this address, so each must send a Message-Authenticator";
                        return Err(("packet.message-authenticator-absent", advice.to_owned()));
                    }
                    Ok(Proof::None) => return Ok(nas),
                    Ok(Proof::Secret) => {
                        known.proved_by(previous);
                        return Ok(nas);
                    }
                    Err(error) => wrong = wrong.or(Some(error)),
                }
            }
        }
        Err(wrong.unwrap_or_else(|| {
            let identifier = identifier.map_or("none".into(), String::from_utf8_lossy);
            let names = format!("NAS-Identifier is {identifier:?}, and no NAS at this address goes by that");
            ("packet.unknown-nas-identifier", names)
        }))
    }

    /// Whether the packet belongs on this port and is the NAS's own.
    fn prove(&self, packet: &Packet<'_>, nas: &Nas) -> Result<Proof, (&'static str, String)> {
        let secret = nas.secret.expose();
        let message_authenticator = || match packet.verify_message_authenticator(secret) {
            Ok(_) => Ok(true),
            Err(MessageAuthenticatorError::Absent) => Ok(false),
            Err(error) => Err((error.reason(), format!("{error}; is the secret the same on both sides?"))),
        };
        match (self.port, packet.code()) {
            (Port::Access | Port::Tls, Code::AccessRequest) => {
                let present = message_authenticator()?;
                // RFC 3579 §3.2: EAP must come with it.
                let eap = packet.has(attribute::EAP_MESSAGE);
                let proxied = nas.limit_proxy_state && packet.has(attribute::PROXY_STATE);
                if !present && (nas.require_message_authenticator || eap || proxied) {
                    let advice = "Access-Request without Message-Authenticator (CVE-2024-3596); a NAS that cannot send it \
                                  needs require_message_authenticator = false";
                    return Err(("packet.message-authenticator-absent", advice.to_owned()));
                }
                Ok(if present { Proof::Secret } else { Proof::None })
            }
            (Port::Accounting | Port::Tls, Code::AccountingRequest) => {
                message_authenticator()?;
                packet
                    .verify_request_authenticator(secret)
                    .map(|_| Proof::Secret)
                    .map_err(|error| (error.reason(), format!("{error}; is the secret the same on both sides?")))
            }
            // RFC 5997 §3: Status-Server must carry Message-Authenticator.
            (_, Code::StatusServer) if message_authenticator()? => Ok(Proof::Secret),
            (_, Code::StatusServer) => {
                Err(("packet.message-authenticator-absent", "Status-Server without Message-Authenticator".to_owned()))
            }
            (port, code) => Err(("packet.code-out-of-place", format!("{code} does not belong on the {port:?} port"))),
        }
    }

    async fn work(&self, datagram: &[u8], nas: &Arc<Nas>, replier: &Replier, received_at: Timestamp) -> Fate {
        let Ok(packet) = Packet::parse(datagram) else { return Fate::Drop("packet.malformed") };
        let source = replier.peer().ip().to_canonical();
        match packet.code() {
            Code::AccessRequest => self.access.answer(datagram, nas, source, received_at).await,
            Code::AccountingRequest => {
                let request = match accounting::read(&self.settings.current(), nas, &packet, received_at) {
                    Ok(request) => Box::new(request),
                    Err(error) => {
                        self.complain(source, error.reason(), received_at, &error.to_string());
                        return Fate::Drop(error.reason());
                    }
                };
                let (kept, is_kept) = oneshot::channel();
                let received =
                    AccountingPacket { nas: nas.name.clone(), source, received_at, packet: datagram.to_vec() };
                let job = Job::Accounting { nas: Arc::clone(nas), packet: Box::new(received), request, kept };
                if self.ledger.try_send(job).is_err() {
                    return Fate::Drop("accounting.overload");
                }
                // RFC 2866 §4.1: no response before the record is kept.
                match is_kept.await {
                    Ok(()) => reply(&packet, nas, Code::AccountingResponse),
                    Err(_) => Fate::Drop("accounting.not-kept"),
                }
            }
            // RFC 5997 §4.2: the answer says which service is up.
            Code::StatusServer if self.port != Port::Accounting => reply(&packet, nas, Code::AccessAccept),
            Code::StatusServer => reply(&packet, nas, Code::AccountingResponse),
            _ => Fate::Drop("packet.code-out-of-place"),
        }
    }

    fn complain(&self, peer: IpAddr, label: &'static str, now: Timestamp, what: &str) {
        if let Some(kept_back) = self.complaints.first((peer, label), now) {
            tracing::warn!(%peer, port = ?self.port, reason = label, kept_back, "packet dropped: {what}");
        }
    }

    fn duplicates(&self) -> std::sync::MutexGuard<'_, Duplicates> {
        self.duplicates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a packet its NAS's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Its source address, which anybody may write.
    None,
    /// It was made with the secret.
    Secret,
}

fn reply(request: &Packet<'_>, nas: &Nas, code: Code) -> Fate {
    let mut builder = PacketBuilder::reply(request, code);
    let signed = builder
        .proxy_states_of(request)
        .and_then(|builder| builder.sign_reply(nas.secret.expose()).map(<[u8]>::to_vec));
    match signed {
        Ok(reply) => Fate::Reply(reply),
        Err(error) => {
            tracing::error!(nas = %nas.name, %error, "a reply cannot be written");
            Fate::Drop("packet.unwritable")
        }
    }
}

const fn sent_label(code: Code) -> &'static str {
    match code {
        Code::AccessAccept => "sent.access-accept",
        Code::AccessReject => "sent.access-reject",
        Code::AccessChallenge => "sent.access-challenge",
        Code::AccountingResponse => "sent.accounting-response",
        _ => "sent.other",
    }
}
