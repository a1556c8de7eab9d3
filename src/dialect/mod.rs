//! Dialects: how one family of NAS expresses sandbox, permit and identification. Data, in `config/dialects/`.
//!
//! Turns a grant into the attributes of its Access-Accept, and a session into the CoA-Requests that lift it or the
//! Disconnect-Request that ends it. Never knows in which state a session is, why it is lifted, or how a request
//! travels; opens no file.
//!
//! One of our three doors: an operator's directory may add files and replace ours, see [`Dialects::add`].

mod error;
mod identify;
mod parse;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::dynauth::{BanOrder, Request, RequestKind};
use crate::model::{ReplyItem, Timestamp, UserName};
use crate::policy::{Grant, Terms};
use crate::radius::attribute;
use crate::radius::dictionary::{AttributePath, Dictionary, EncodeError};
use crate::session::Session;

pub use error::{DialectError, Problem, RenderError};
use identify::Key;
use template::{Item, Values};

macro_rules! embedded {
    ($($name:literal)*) => {
        &[$((concat!("config/dialects/", $name), include_str!(concat!("../../config/dialects/", $name)))),*]
    };
}

const EMBEDDED: &[(&str, &str)] = embedded![
    "accel-ppp.toml" "cisco.toml" "mikrotik.toml" "pppd-agent.toml" "standard.toml" "strongswan.toml" "uspot.toml"
];

/// The dialects that can be spoken, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialects(BTreeMap<String, Dialect>);

impl Dialects {
    /// The dialects built into this program.
    ///
    /// # Errors
    /// Only with a dictionary in which an attribute they use is missing or has another type.
    pub fn embedded(dictionary: &Dictionary) -> Result<Self, DialectError> {
        let mut dialects = Self(BTreeMap::new());
        for (file_name, text) in EMBEDDED {
            dialects.add(file_name, text, dictionary)?;
        }
        Ok(dialects)
    }

    /// Adds a dialect file, see [`Dialect::parse`]; one of the same name is replaced.
    ///
    /// # Errors
    /// As [`Dialect::parse`]; nothing has changed then.
    pub fn add(&mut self, file_name: &str, text: &str, dictionary: &Dictionary) -> Result<(), DialectError> {
        let dialect = Dialect::parse(file_name, text, dictionary)?;
        self.0.insert(dialect.name.clone(), dialect);
        Ok(())
    }

    /// The dialect of this name.
    pub fn get(&self, name: &str) -> Option<&Dialect> {
        self.0.get(name)
    }

    /// All dialects, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Dialect> {
        self.0.values()
    }
}

/// How one family of NAS is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialect {
    name: String,
    coa_port: u16,
    confines: bool,
    message_authenticator: bool,
    event_timestamp: bool,
    one_attribute_per_coa: bool,
    fresh_port: bool,
    session_timeout_can_be_raised: bool,
    session_timeout_counts_from: CountsFrom,
    unlimited_session_timeout: Option<u32>,
    accounting_shows_filter: bool,
    unique_ports: bool,
    bans: bool,
    identify: Vec<Key>,
    identify_fully: Vec<Key>,
    /// Reply items with these attributes wait for the CoA-Request.
    withheld: BTreeSet<AttributePath>,
    held: Vec<Item>,
    waived: Vec<Item>,
    permit: Vec<Item>,
}

/// From when a NAS counts the Session-Timeout of a CoA-Request. RFC 5176 leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CountsFrom {
    /// From the arrival of the CoA-Request.
    Request,
    /// From the start of the session.
    Start,
}

impl Dialect {
    /// Its name: the file's, without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where such a NAS listens when nothing else is said.
    pub fn coa_port(&self) -> u16 {
        self.coa_port
    }

    /// Whether a held session is kept from the network. When not, a hold on such a NAS only means that the session
    /// is ended when nobody says yes; the operator must have been told.
    pub fn confines(&self) -> bool {
        self.confines
    }

    /// Whether the Filter-Id in accounting is the one in force, so that it may be checked after a CoA-ACK. When not,
    /// it must not be looked at.
    pub fn accounting_shows_filter(&self) -> bool {
        self.accounting_shows_filter
    }

    /// Whether no two sessions of such a NAS have one NAS-Port (or NAS-Port-Id) at a time, unless the NAS's own setting says
    /// otherwise. A key that may be left out: false.
    pub fn unique_ports(&self) -> bool {
        self.unique_ports
    }

    /// Whether the NAS ends a held session by itself: its Access-Accept carries window plus grace as Session-Timeout,
    /// which the CoA-Request raises. When not, a hold ends only while radhold (or the agent) is there.
    pub fn session_timeout_can_be_raised(&self) -> bool {
        self.session_timeout_can_be_raised
    }

    /// The attributes of the Access-Accept that come of the grant, each with its header, Class last. Those that come
    /// of the authentication (MPPE keys, MS-CHAP2-Success) and Message-Authenticator are not among them.
    ///
    /// While the session is held, reply items whose attributes belong to what the CoA-Request lifts are left out
    /// here: they come with the CoA-Request. Of a plain attribute that both have, the reply item replaces the
    /// dialect's; of a vendor's, both are sent.
    ///
    /// # Errors
    /// [`RenderError`] when a filter's name or a reply item cannot be sent. Refuse the login then: what would be left
    /// out might be what confines.
    pub fn accept(
        &self,
        dictionary: &Dictionary,
        user: &UserName,
        grant: &Grant,
        class: &[u8],
    ) -> Result<Vec<Vec<u8>>, RenderError> {
        let mut attributes = self.granted(dictionary, user, grant)?;
        attributes.push(class_attribute(class));
        Ok(attributes)
    }

    /// The same without Class: what is the same at each login of that user on the same terms.
    ///
    /// # Errors
    /// As [`Dialect::accept`].
    pub fn granted(
        &self,
        dictionary: &Dictionary,
        user: &UserName,
        grant: &Grant,
    ) -> Result<Vec<Vec<u8>>, RenderError> {
        let (items, filter, session_timeout) = match &grant.terms {
            Terms::Hold(terms) if self.session_timeout_can_be_raised => {
                let until_we_must_have_acted = terms.window.saturating_add(terms.grace);
                let shortest =
                    grant.session_timeout.map_or(until_we_must_have_acted, |own| own.min(until_we_must_have_acted));
                (&self.held, &grant.sandbox_filter, Some(secs(shortest)))
            }
            Terms::Hold(_) => (&self.held, &grant.sandbox_filter, grant.session_timeout.map(secs)),
            Terms::Waived(_) => (&self.waived, &grant.permit_filter, grant.session_timeout.map(secs)),
        };
        let held = matches!(grant.terms, Terms::Hold(_));
        let values = Values { filter, session_timeout, user: user.as_str() };
        let mut reply = self.reply(dictionary, &grant.reply)?;
        reply.retain(|(path, _)| !(held && self.withheld.contains(path)));
        self.merge(dictionary, items, values, reply)
    }

    /// The CoA-Requests that lift the session, to be sent one after the other, each when the one before was
    /// acknowledged; the session is lifted when all were. Never none. Harmless when sent again.
    ///
    /// # Errors
    /// [`RenderError`] when a filter's name or a reply item cannot be sent, or nothing was granted.
    pub fn permit(
        &self,
        dictionary: &Dictionary,
        session: &Session,
        now: Timestamp,
    ) -> Result<Vec<Request>, RenderError> {
        let grant = session.grant.as_ref().ok_or(RenderError::NoGrant)?;
        let session_timeout = match (grant.session_timeout, self.session_timeout_counts_from) {
            (Some(limit), CountsFrom::Request) => Some(secs(limit)),
            (Some(limit), CountsFrom::Start) => {
                let so_far = session.started_at.map_or(Duration::ZERO, |started| now.since(started));
                Some(secs(limit.saturating_add(so_far)))
            }
            (None, _) => self.unlimited_session_timeout,
        };
        let values = Values { filter: &grant.permit_filter, session_timeout, user: session.user.as_str() };
        let mut reply = self.reply(dictionary, &grant.reply)?;
        reply.retain(|(path, _)| matches!(grant.terms, Terms::Hold(_)) && self.withheld.contains(path));
        let changes = self.merge(dictionary, &self.permit, values, reply)?;
        let identification = identify::identify(session, &self.identify, &self.identify_fully);
        let request = |changes: &[Vec<u8>]| self.request(RequestKind::Coa, [&identification, changes].concat());
        Ok(match self.one_attribute_per_coa {
            true => changes.chunks(1).map(request).collect(),
            false => vec![request(&changes)],
        })
    }

    /// The Disconnect-Request that ends the session: identification and nothing else (RFC 5176 §3.6).
    pub fn disconnect(&self, session: &Session) -> Request {
        self.request(RequestKind::Disconnect, identify::identify(session, &self.identify, &self.identify_fully))
    }

    /// The CoA-Request that tells such a NAS's host of a ban or its end; `None` for a NAS that has no such form.
    pub fn ban(&self, order: &BanOrder) -> Option<Request> {
        self.bans.then(|| self.request(RequestKind::Coa, order.attributes()))
    }

    /// Whether these reply items can be sent, for telling the operator when they are written down.
    ///
    /// # Errors
    /// [`RenderError`] with the first that cannot.
    pub fn check_reply(&self, dictionary: &Dictionary, items: &[ReplyItem]) -> Result<(), RenderError> {
        self.reply(dictionary, items).map(drop)
    }

    fn request(&self, kind: RequestKind, attributes: Vec<Vec<u8>>) -> Request {
        Request {
            kind,
            attributes,
            message_authenticator: self.message_authenticator,
            event_timestamp: self.event_timestamp,
            fresh_port: self.fresh_port,
        }
    }

    /// The user's own attributes, with where they sit.
    fn reply(
        &self,
        dictionary: &Dictionary,
        items: &[ReplyItem],
    ) -> Result<Vec<(AttributePath, Vec<u8>)>, RenderError> {
        let one = |item: &ReplyItem| {
            let octets = dictionary.encode(&item.name, &item.value).map_err(|source| self.error(source))?;
            // What is in the octets counts: `Attr-26 = 0x…` may hold any vendor's attribute.
            let path = match template::path_of(&octets) {
                path if path.vendor().is_some() => path,
                path => template::attribute(&item.name, dictionary).map_or(path, |attribute| attribute.path),
            };
            if is_ours(&path) { Err(RenderError::Ours(item.name.clone())) } else { Ok((path, octets)) }
        };
        items.iter().map(one).collect()
    }

    /// The dialect's items, then the user's.
    fn merge(
        &self,
        dictionary: &Dictionary,
        items: &[Item],
        values: Values<'_>,
        reply: Vec<(AttributePath, Vec<u8>)>,
    ) -> Result<Vec<Vec<u8>>, RenderError> {
        let mut attributes = Vec::with_capacity(items.len() + reply.len() + 1);
        for item in items {
            let replaced = item.path.numbers().len() == 1 && reply.iter().any(|(path, _)| *path == item.path);
            if !replaced {
                attributes.extend(item.render(values, dictionary).map_err(|source| self.error(source))?);
            }
        }
        attributes.extend(reply.into_iter().map(|(_, octets)| octets));
        Ok(attributes)
    }

    fn error(&self, source: EncodeError) -> RenderError {
        RenderError::Attribute { dialect: self.name.clone(), source }
    }
}

/// Attributes that other parts of radhold put into packets: set by a file or a user, they would break what relies on
/// them.
fn is_ours(path: &AttributePath) -> bool {
    const OURS: [u8; 6] = [
        attribute::STATE,
        attribute::CLASS,
        attribute::PROXY_STATE,
        attribute::EVENT_TIMESTAMP,
        attribute::EAP_MESSAGE,
        attribute::MESSAGE_AUTHENTICATOR,
    ];
    OURS.iter().any(|kind| *path == AttributePath::plain(*kind))
}

fn class_attribute(class: &[u8]) -> Vec<u8> {
    // RFC 2865 §5.25: at most 253 octets; ours has 46.
    let class = &class[..class.len().min(attribute::MAX_VALUE)];
    let length = u8::try_from(class.len() + 2).unwrap_or(u8::MAX);
    [&[attribute::CLASS, length], class].concat()
}

/// Whole seconds for a Session-Timeout, rounded up; never zero, which many NASes take for "no limit".
fn secs(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
