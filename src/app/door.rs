//! A port's door: from which NAS, is it RADIUS, is it proven, is it a repeat. What passes is worked on; everything else ends
//! here, counted, and a stranger cannot fill the log.

mod lane;
mod newcomers;
mod records;
mod unwanted;
mod whose;

use std::fmt::{self, Display};
use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use self::lane::Lane;
use self::newcomers::{Newcomer, Newcomers};
use self::records::Answerable;
use self::whose::{Distrust, Proof, prove, whose};
use super::access::{Access, Fate, LONGEST_REJECT_DELAY};
use super::clock;
use super::ledger::Ledger;
use super::settings::{Known, Settings, SettingsHandle};
use crate::model::{Nas, NasName, Timestamp, UserName};
use crate::net::radsec::{End, Link};
use crate::net::{Admission, Duplicates, Flood, Replier, RequestKey, Source};
use crate::radius::{CheckedRequest, Code, EncodeError, Packet, PacketBuilder, ParseError, PreparedSecret, attribute};
use crate::telemetry::{self, OncePerWindow};

/// How long replies are kept for repeats: longer than any NAS goes on asking.
const REPEATS: Duration = Duration::from_secs(30);
/// What they may take of memory, with their requests, in octets and for each address that is listened on: some 200,000 logins.
const MOST_REPEATS: usize = 64 << 20;
/// What a lane has of them at least, however many there are: all that comes from one port of a NAS comes to one lane.
const LEAST_REPEATS: usize = 8 << 20;
/// Access-Rejects waiting for their time, at most, for each lane.
const MOST_HELD_BACK: usize = 16_384;
/// The same complaint about the same peer is logged once in so long.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// Peers and complaints told apart, at most; of NASes, and of strangers.
const MOST_COMPLAINTS: usize = 1024;
/// What is said of a stranger.
const UNKNOWN_NAS: &str = "packet.unknown-nas";
/// To whom replies could not be sent, and why, as far as that was said: of all doors, since replies of several leave together.
static UNSENT: LazyLock<OncePerWindow<(IpAddr, io::ErrorKind)>> =
    LazyLock::new(|| OncePerWindow::new(COMPLAINTS, MOST_COMPLAINTS));

/// A datagram as it is seen at a glance, before it is its turn to be judged: nothing is counted or charged for it.
#[derive(Debug)]
struct Glance<'d, 's> {
    datagram: &'d [u8],
    peer: SocketAddr,
    /// The NASes of its address.
    there: &'s [Arc<Known>],
    source: Source,
    /// What it is, where that is looked at already.
    read: Option<Result<Packet<'d>, ParseError>>,
}

/// What a lane knows of who sends bad packets.
type Guard = Flood<RandomState>;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Port {
    /// Access-Request (RFC 2865) and Status-Server.
    Access,
    /// Accounting-Request (RFC 2866) and Status-Server.
    Accounting,
    /// All of these, over TLS (RFC 6614 §2.1).
    Tls,
}

/// The door of one port, or of one lane of it.
#[derive(Debug)]
pub(super) struct Door {
    port: Port,
    settings: SettingsHandle,
    access: Arc<Access>,
    ledger: Ledger,
    /// Where requests are worked on that take long, and where those are answered that were kept: not on the thread that takes them in.
    runtime: Handle,
    duplicates: Mutex<Duplicates>,
    /// Those of logins, which are the first to be dropped, and those of everything else.
    places: [Arc<Semaphore>; 2],
    held_back: Semaphore,
    /// Logins of users who are not remembered, of all doors.
    newcomers: Arc<Newcomers>,
    /// Accounting-Requests that are kept.
    answerable: Answerable,
    /// What was said through this door; and through any, looked at only when it was not through this one.
    complaints: Complaints,
    said: Arc<Complaints>,
}

/// A request in work.
struct Work {
    datagram: Vec<u8>,
    nas: Arc<Nas>,
    key: RequestKey,
    replier: Replier,
    received_at: Timestamp,
    /// Until it is answered.
    place: OwnedSemaphorePermit,
}

impl fmt::Debug for Work {
    /// Without the datagram, which holds what proves the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A peer, and what is wrong with its packets.
type Complaint = (IpAddr, Port, &'static str);

/// What was said, and when. Strangers, of whom anybody makes as many as they like, take the room of no NAS.
#[derive(Debug)]
struct Complaints {
    of_nases: OncePerWindow<Complaint>,
    of_strangers: OncePerWindow<Complaint>,
}

impl Complaints {
    fn new() -> Self {
        let [of_nases, of_strangers] = [(); 2].map(|()| OncePerWindow::new(COMPLAINTS, MOST_COMPLAINTS));
        Self { of_nases, of_strangers }
    }

    /// `Some` when it is to be said now, with how often it was kept back.
    fn first(&self, complaint: Complaint, now: Timestamp) -> Option<u64> {
        let (_, _, label) = complaint;
        let said = if label == UNKNOWN_NAS { &self.of_strangers } else { &self.of_nases };
        said.first(complaint, now)
    }
}

/// What a door leads to.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    settings: SettingsHandle,
    access: Arc<Access>,
    newcomers: Arc<Newcomers>,
    ledger: Ledger,
    places: [Arc<Semaphore>; 2],
    said: Arc<Complaints>,
}

impl Behind {
    /// What doors lead to; of the places, the first are those of logins, the others of accounting and of what else is no login.
    pub(super) fn new(
        settings: SettingsHandle,
        access: Arc<Access>,
        ledger: Ledger,
        places: [Arc<Semaphore>; 2],
    ) -> Self {
        let newcomers = Arc::new(Newcomers::new(Arc::clone(&access)));
        Self { settings, access, newcomers, ledger, places, said: Arc::new(Complaints::new()) }
    }
}

impl Door {
    /// A door, which is one of so many lanes of its port. What it hands on is worked on in the runtime this is called in.
    pub(super) fn new(port: Port, lanes: usize, behind: Behind) -> Self {
        let Behind { settings, access, newcomers, ledger, places, said } = behind;
        Self {
            port,
            settings,
            access,
            ledger,
            runtime: Handle::current(),
            duplicates: Mutex::new(Duplicates::new(REPEATS, (MOST_REPEATS / lanes).max(LEAST_REPEATS))),
            places,
            held_back: Semaphore::new(MOST_HELD_BACK),
            newcomers,
            answerable: Answerable::default(),
            complaints: Complaints::new(),
            said,
        }
    }

    /// What a datagram is and whose, and by which secret, or the label of its end. What comes from where too much was bad is not looked at, and
    /// what was checked beforehand is not checked again.
    fn know<'d, 's>(
        &self,
        guard: &mut Guard,
        Glance { datagram, peer, there, source, read }: Glance<'d, 's>,
        checked: Option<&CheckedRequest<'_>>,
        received_at: Timestamp,
    ) -> Result<(Packet<'d>, &'s Arc<Nas>, &'s PreparedSecret), &'static str> {
        let address = peer.ip();
        if there.is_empty() {
            self.complain(address, UNKNOWN_NAS, received_at, &"not a NAS of ours (radhold nas add)");
            return Err(UNKNOWN_NAS);
        }
        let Some(visitor) = guard.admit(source, received_at) else {
            self.complain(address, "packet.flood", received_at, &"too many bad packets from one port");
            return Err("packet.flood");
        };
        let complain = |label: &'static str, error: &dyn Display| {
            self.complain(address, label, received_at, error);
            label
        };
        let packet = read.unwrap_or_else(|| Packet::parse(datagram)).map_err(|error| complain(error.reason(), &error));
        let judged = packet.and_then(|packet| {
            let whose = whose(self.port, &packet, (there, address), checked, received_at);
            whose.map(|whose| (packet, whose)).map_err(|error| complain(error.label(), &error))
        });
        match judged {
            Ok((packet, (nas, secret, proof))) => {
                if proof == Proof::Secret {
                    guard.proved(visitor, received_at);
                }
                Ok((packet, nas, secret))
            }
            Err(label) => {
                // A NAS that signs nothing proves nothing either: its own clients' odd packets would silence it.
                if there.iter().all(|known| known.nas.require_message_authenticator) {
                    guard.failed(visitor, received_at);
                }
                Err(label)
            }
        }
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
        let known = known.filter(|known| settings.nases.is_its_own(&known.nas, &link.certificate));
        let Some(known) = known else { return Err(End::Unbound("its certificate is no NAS's any more")) };
        let (nas, secret) = known.over_tls();
        let peer = replier.peer();
        match prove(self.port, packet, nas, secret, None) {
            Ok(_) => {
                let key = RequestKey {
                    source: peer,
                    connection: replier.connection(),
                    identifier: packet.identifier(),
                    authenticator: *packet.authenticator(),
                };
                let begun = self
                    .must_be_new(&key, received_at, |reply| replier.send_now(reply))
                    .and_then(|()| self.must_be_within_bounds(packet, nas, &settings, &key, received_at))
                    .and_then(|()| self.begin(packet, nas, key, replier.clone(), (&settings, received_at)));
                if let Err(label) = begun {
                    telemetry::count(label);
                }
                Ok(())
            }
            // What is merely not ours to answer is discarded.
            Err(error @ (Distrust::OutOfPlace { .. } | Distrust::UnsignedLogin | Distrust::UnsignedStatus)) => {
                self.complain(peer.ip(), error.label(), received_at, &error);
                telemetry::count(error.label());
                Ok(())
            }
            Err(error) => {
                telemetry::count(error.label());
                Err(End::Unbelievable(error.to_string()))
            }
        }
    }

    /// Notes a request down as being in work. A repeat ends here, with a label; one of an answered request gets its reply.
    fn must_be_new(
        &self,
        key: &RequestKey,
        received_at: Timestamp,
        send: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> Result<(), &'static str> {
        match self.duplicates().admit(key, received_at) {
            Admission::New => Ok(()),
            Admission::InWork => Err("packet.repeat-in-work"),
            Admission::Answered(reply) => Err(send(reply).map_or("packet.unsent", |()| "packet.repeat-answered")),
        }
    }

    /// Counts a new Access-Request of a NAS that may send so many; one too many is forgotten, so that its repeat is tried anew.
    fn must_be_within_bounds(
        &self,
        packet: &Packet<'_>,
        nas: &Nas,
        settings: &Settings,
        key: &RequestKey,
        received_at: Timestamp,
    ) -> Result<(), &'static str> {
        if packet.code() != Code::AccessRequest || nas.max_requests_per_second.is_none() {
            return Ok(());
        }
        if settings.nases.known(&nas.name).is_none_or(|known| known.may_request(received_at)) {
            return Ok(());
        }
        self.duplicates().forget(key);
        let what = format_args!("more than max_requests_per_second of {}", nas.name);
        self.complain(key.source.ip(), "packet.nas-overload", received_at, &what);
        Err("packet.nas-overload")
    }

    /// Begins to work on a new request of this NAS's, unless there is too much to do.
    fn begin(
        self: &Arc<Self>,
        packet: &Packet<'_>,
        nas: &Arc<Nas>,
        key: RequestKey,
        replier: Replier,
        (settings, received_at): (&Settings, Timestamp),
    ) -> Result<(), &'static str> {
        let place = self.place(packet.code(), &key, received_at)?;
        if packet.code() == Code::AccountingRequest {
            return self.record(packet, nas, key, (replier, place), (settings, received_at)).inspect_err(|label| {
                self.duplicates().forget(&key);
                self.say_unanswered(key.source.ip(), label, received_at);
            });
        }
        let (nas, datagram) = (Arc::clone(nas), packet.as_bytes().to_vec());
        self.work_alone(Work { datagram, nas, key, replier, received_at, place }, false);
        Ok(())
    }

    /// The same with a login of a user who is not remembered.
    fn begin_with_others(
        self: &Arc<Self>,
        packet: &Packet<'_>,
        nas: &Arc<Nas>,
        key: RequestKey,
        replier: Replier,
        received_at: Timestamp,
    ) -> Result<(), &'static str> {
        let place = self.place(packet.code(), &key, received_at)?;
        let name = UserName::from(packet.text(attribute::USER_NAME).unwrap_or_default());
        let (nas, datagram) = (Arc::clone(nas), packet.as_bytes().to_vec());
        let work = Work { datagram, nas, key, replier, received_at, place };
        self.newcomers.add(Newcomer::new(Arc::clone(self), name, work));
        Ok(())
    }

    /// A place for a request in work, unless there is too much to do. A flood of logins keeps nothing else out.
    fn place(
        &self,
        code: Code,
        key: &RequestKey,
        received_at: Timestamp,
    ) -> Result<OwnedSemaphorePermit, &'static str> {
        let is_login = code == Code::AccessRequest;
        let places = Arc::clone(&self.places[usize::from(!is_login)]);
        places.try_acquire_owned().map_err(|_| {
            self.duplicates().forget(key);
            let label = if is_login { "packet.overload" } else { "accounting.overload" };
            self.say_unanswered(key.source.ip(), label, received_at);
            label
        })
    }

    /// Works on a request in a task of its own; of a login it may be known that nobody is called that.
    fn work_alone(self: &Arc<Self>, work: Work, is_nobody: bool) {
        let door = Arc::clone(self);
        self.runtime.spawn(async move {
            let Work { datagram, nas, key, replier, received_at, place } = work;
            let is_login = datagram.first() == Some(&u8::from(Code::AccessRequest));
            let room = !is_login || door.ledger.room().await.is_ok();
            let fate = if room {
                door.work(&datagram, &nas, &replier, (received_at, is_nobody)).await
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
    }

    /// Keeps a refusal back until its time. Of these there are at most so many; a flood of wrong passwords beyond that gets no
    /// answer.
    async fn hold_back(&self, reply: Vec<u8>, at: Timestamp) -> Fate {
        let Ok(_parked) = self.held_back.try_acquire() else { return Fate::Drop("access.reject-overload") };
        // However far the clock was set back since.
        tokio::time::sleep(at.since(clock::now()).min(LONGEST_REJECT_DELAY)).await;
        Fate::Reply(reply)
    }

    async fn conclude(&self, key: &RequestKey, fate: Fate, replier: &Replier) {
        let reply = match fate {
            Fate::Reply(reply) | Fate::ReplyLater(reply, _) => reply,
            Fate::Drop(label) => {
                self.duplicates().forget(key);
                self.say_unanswered(key.source.ip(), label, clock::now());
                telemetry::count(label);
                return;
            }
        };
        self.duplicates().answered(key, &reply);
        replier.send_with_others(reply, settled).await;
    }

    async fn work(
        &self,
        datagram: &[u8],
        nas: &Arc<Nas>,
        replier: &Replier,
        (received_at, is_nobody): (Timestamp, bool),
    ) -> Fate {
        let Ok(packet) = Packet::parse(datagram) else { return Fate::Drop("packet.malformed") };
        let source = replier.peer().ip().to_canonical();
        match packet.code() {
            Code::AccessRequest => self.access.answer(datagram, nas, (source, received_at), is_nobody).await,
            Code::StatusServer => {
                let mut builder = PacketBuilder::reply(&packet, Code::AccessAccept);
                let secret = PreparedSecret::new(nas.secret.expose());
                fate(write_reply(&mut builder, status_code(self.port), &packet, nas, &secret))
            }
            Code::CoaRequest | Code::DisconnectRequest => unwanted::refuse_order(packet, nas, received_at),
            _ => Fate::Drop("packet.code-out-of-place"),
        }
    }

    /// Says why a request gets no answer, where the log is to tell.
    fn say_unanswered(&self, peer: IpAddr, label: &'static str, now: Timestamp) {
        if let Some(what) = why_unanswered(label) {
            self.complain(peer, label, now, &what);
        }
    }

    fn complain(&self, peer: IpAddr, label: &'static str, now: Timestamp, what: &dyn Display) {
        let key = (peer, self.port, label);
        // A flood comes no further than to what is this door's own, so that lanes do not wait for each other. How often it was kept
        // back at another one is not known here.
        if let Some(kept_back) = self.complaints.first(key, now)
            && self.said.first(key, now).is_some()
        {
            tracing::warn!(%peer, port = ?self.port, reason = label, kept_back, "packet dropped: {what}");
        }
    }

    fn duplicates(&self) -> MutexGuard<'_, Duplicates> {
        self.duplicates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a datagram of a source that is heard whatever else comes: any other's is read in its turn, if at all.
fn glance<'d, 's>(
    guard: &Guard,
    (datagram, peer): (&'d [u8], SocketAddr),
    settings: &'s Settings,
    received_at: Timestamp,
) -> Glance<'d, 's> {
    let (there, source) = (settings.nases.at(peer.ip()), guard.source(peer));
    let is_heard = !there.is_empty() && guard.has_proven(source, received_at);
    Glance { datagram, peer, there, source, read: is_heard.then(|| Packet::parse(datagram)) }
}

/// What the log tells of a request that gets no answer for this.
fn why_unanswered(label: &str) -> Option<&'static str> {
    Some(match label {
        "packet.overload" => {
            "more logins are in work than may be (server.max_pending), or the store takes no more of them"
        }
        "access.overload" => "the store takes no more logins",
        "access.given-up" => "the store takes so long to find users that logins have waited for three seconds",
        "access.checks-overload" => "too many logins wait for the check of a password (server.password_checks)",
        "access.volley" => "more logins of one account, or from one caller, come at once than may be wrong ([lockout])",
        "access.unwritable" | "packet.unwritable" => {
            "its reply, with all the Proxy-States that came, is longer than a packet may be"
        }
        "access.reject-overload" => "too many Access-Rejects wait for their time",
        "accounting.overload" => {
            "more than may be is in work beside logins (server.max_pending); its NAS sends it again"
        }
        _ => return None,
    })
}

/// What answers Status-Server: it says which service is up (RFC 5997 §4.2).
fn status_code(port: Port) -> Code {
    if port == Port::Accounting { Code::AccountingResponse } else { Code::AccessAccept }
}

/// A reply that says no more than its code.
fn write_reply<'b>(
    builder: &'b mut PacketBuilder,
    code: Code,
    request: &Packet<'_>,
    nas: &Nas,
    secret: &PreparedSecret,
) -> Result<&'b [u8], &'static str> {
    builder.restart_reply(request, code);
    let signed = builder.proxy_states_of(request).and_then(|builder| builder.sign_reply_by(secret));
    signed.map_err(|error| unwritable(nas, &error))
}

/// The label of there being no reply.
fn unwritable(nas: &Nas, error: &EncodeError) -> &'static str {
    tracing::debug!(nas = %nas.name, %error, "a reply cannot be written");
    "packet.unwritable"
}

fn fate(reply: Result<&[u8], &'static str>) -> Fate {
    reply.map_or_else(Fate::Drop, |reply| Fate::Reply(reply.to_vec()))
}

/// What became of a reply.
fn settled(peer: SocketAddr, reply: &[u8], sent: io::Result<()>) {
    count_sent(reply, &sent);
    if let Err(error) = sent
        && let Some(kept_back) = UNSENT.first((peer.ip(), error.kind()), clock::now())
    {
        tracing::warn!(%peer, %error, kept_back, "a reply could not be sent");
    }
}

/// The same, of so many that none is worth a line.
fn count_sent(reply: &[u8], sent: &io::Result<()>) {
    telemetry::count(if sent.is_ok() { sent_label(reply) } else { "packet.unsent" });
}

/// The label a reply that was sent is counted by.
fn sent_label(reply: &[u8]) -> &'static str {
    match reply.first().map(|code| Code::from(*code)) {
        Some(Code::AccessAccept) => "sent.access-accept",
        Some(Code::AccessReject) => "sent.access-reject",
        Some(Code::AccessChallenge) => "sent.access-challenge",
        Some(Code::AccountingResponse) => "sent.accounting-response",
        Some(Code::CoaNak) => "sent.coa-nak",
        Some(Code::DisconnectNak) => "sent.disconnect-nak",
        _ => "sent.other",
    }
}
