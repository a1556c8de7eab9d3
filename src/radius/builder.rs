//! A packet on its way out: attributes are gathered, then one call signs the whole.
//!
//! Draws no randomness: identifiers and Request Authenticators arrive as arguments. Decides nothing: which attributes
//! belong in a packet is for others to say.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::{MAX_VALUE, MESSAGE_AUTHENTICATOR, PROXY_STATE, VENDOR_SPECIFIC};
use super::authenticator::{self, LENGTH, PreparedSecret, Signing};
use super::code::{Code, RequestKind};
use super::concat;
use super::error::EncodeError;
use super::extended;
use super::packet::{MAX_PACKET, MIN_PACKET, Packet};

/// Octets of a Message-Authenticator with its Type and Length.
const MESSAGE_AUTHENTICATOR_OCTETS: usize = 2 + LENGTH;

/// Where the value of a Message-Authenticator starts in a packet that has one.
const MESSAGE_AUTHENTICATOR_VALUE: usize = MIN_PACKET + 2;

/// Where the attributes start in the buffer: behind the header and a place kept for Message-Authenticator, so that it
/// can stand first without moving the others.
const ATTRIBUTES: usize = MIN_PACKET + MESSAGE_AUTHENTICATOR_OCTETS;

/// A packet being built. Adding attributes keeps their order; `sign_*` seals what was added so far and may be called
/// again after more was added, or after [`PacketBuilder::restart_request`] and [`PacketBuilder::restart_reply`] on the
/// same buffer.
#[derive(Clone)]
pub struct PacketBuilder {
    buffer: Vec<u8>,
    code: Code,
    identifier: u8,
    /// Of a request, its own; of a reply, the one of the request it answers.
    request_authenticator: [u8; LENGTH],
    /// Of a reply, the code it answers.
    answers: Option<Code>,
    message_authenticator: bool,
}

impl PacketBuilder {
    /// Starts a request.
    ///
    /// `request_authenticator` is the unpredictable nonce of an Access-Request or Status-Server (RFC 2865 §3); for
    /// Accounting-, CoA- and Disconnect-Request signing computes it and the argument is not used.
    /// Message-Authenticator is on, except for Accounting-Request.
    pub fn request(code: Code, identifier: u8, request_authenticator: [u8; LENGTH]) -> Self {
        let mut builder = Self::empty(code);
        builder.restart_request(code, identifier, request_authenticator);
        builder
    }

    /// Starts the reply to `request`, with its Identifier and for its Request Authenticator.
    ///
    /// Message-Authenticator is always on in a reply to an Access-Request or Status-Server (CVE-2024-3596,
    /// RFC 5997 §3); in a reply to another request it follows the request.
    pub fn reply(request: &Packet<'_>, code: Code) -> Self {
        let mut builder = Self::empty(code);
        builder.restart_reply(request, code);
        builder
    }

    /// [`PacketBuilder::request`] on this builder's buffer.
    pub fn restart_request(&mut self, code: Code, identifier: u8, request_authenticator: [u8; LENGTH]) {
        self.restart(code, identifier, request_authenticator);
        self.answers = None;
        self.message_authenticator = code != Code::AccountingRequest;
    }

    /// [`PacketBuilder::reply`] on this builder's buffer.
    pub fn restart_reply(&mut self, request: &Packet<'_>, code: Code) {
        self.restart(code, request.identifier(), *request.authenticator());
        self.answers = Some(request.code());
        self.message_authenticator = self.must_have_message_authenticator() || request.has_message_authenticator();
    }

    /// Chooses whether signing writes a Message-Authenticator. Has no effect where the protocol leaves no choice:
    /// Status-Server (RFC 5997 §3) and replies to Access-Request and Status-Server.
    pub fn with_message_authenticator(&mut self, wanted: bool) -> &mut Self {
        self.message_authenticator = wanted || self.must_have_message_authenticator();
        self
    }

    /// Adds an attribute with these octets, 0 to 253.
    ///
    /// # Errors
    /// `AttributeTooLong`, `PacketTooLong`, or `MessageAuthenticatorIsSigned`; the packet is then unchanged.
    pub fn attribute(&mut self, kind: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        self.append(kind, &[value])
    }

    /// Adds attributes that are encoded already, headers and all, one or several end to end.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`]; `NotAttributes` when the octets do not end where an attribute ends.
    pub fn encoded(&mut self, octets: &[u8]) -> Result<&mut Self, EncodeError> {
        let mut rest = octets;
        while let Some((&[kind, length], _)) = rest.split_first_chunk() {
            let attribute = rest.split_at_checked(usize::from(length)).filter(|_| length >= 2);
            let (attribute, behind) = attribute.ok_or(EncodeError::NotAttributes)?;
            self.attribute(kind, &attribute[2..])?;
            rest = behind;
        }
        if rest.is_empty() { Ok(self) } else { Err(EncodeError::NotAttributes) }
    }

    /// Adds `text` (RFC 8044 §3.4). Empty text is not sent: RFC 2865 §5 has the whole attribute omitted instead.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`].
    pub fn text(&mut self, kind: u8, value: &str) -> Result<&mut Self, EncodeError> {
        if value.is_empty() { Ok(self) } else { self.attribute(kind, value.as_bytes()) }
    }

    /// Adds an `integer` (RFC 8044 §3.1).
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`].
    pub fn integer(&mut self, kind: u8, value: u32) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Adds an `ipv4addr` (RFC 8044 §3.8).
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`].
    pub fn ipv4(&mut self, kind: u8, value: Ipv4Addr) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, &value.octets())
    }

    /// Adds an `ipv6addr` (RFC 8044 §3.9).
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`].
    pub fn ipv6(&mut self, kind: u8, value: Ipv6Addr) -> Result<&mut Self, EncodeError> {
        self.attribute(kind, &value.octets())
    }

    /// Adds a Vendor-Specific with one sub-attribute in the recommended form (RFC 2865 §5.26), at most 247 octets.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`].
    pub fn vendor(&mut self, vendor_id: u32, vendor_type: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        // A sub-attribute longer than its Length can say is longer than the attribute around it, too.
        let length = u8::try_from(value.len() + 2).unwrap_or(u8::MAX);
        self.append(VENDOR_SPECIFIC, &[&vendor_id.to_be_bytes(), &[vendor_type, length], value])
    }

    /// Adds a value of any length as consecutive attributes of one kind (RFC 8044 §3.6 `concat`, EAP-Message of
    /// RFC 3579 §3.1). An empty value adds nothing.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`]; the packet is then unchanged.
    pub fn concat(&mut self, kind: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        self.all_or_nothing(|builder| concat::split(value).try_for_each(|part| builder.attribute(kind, part).map(drop)))
    }

    /// Adds an extended attribute (RFC 6929 §2.1), kind 241 to 244, at most 252 octets. An empty value adds nothing:
    /// an extended attribute without one is invalid.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`], and `WrongSpace` for another kind.
    pub fn extended(&mut self, kind: u8, extended_type: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        if !extended::is_extended(kind) {
            return Err(EncodeError::WrongSpace { kind, family: "extended" });
        }
        if value.is_empty() { Ok(self) } else { self.append(kind, &[&[extended_type], value]) }
    }

    /// Adds a long extended attribute (RFC 6929 §2.2), kind 245 or 246, in as many fragments as it takes. An
    /// empty value adds nothing: an extended attribute without one is invalid.
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`], and `WrongSpace` for another kind; the packet is then unchanged.
    pub fn long_extended(&mut self, kind: u8, extended_type: u8, value: &[u8]) -> Result<&mut Self, EncodeError> {
        if !extended::is_long_extended(kind) {
            return Err(EncodeError::WrongSpace { kind, family: "long-extended" });
        }
        self.all_or_nothing(|builder| {
            extended::fragments(value)
                .try_for_each(|(flags, part)| builder.append(kind, &[&[extended_type, flags], part]).map(drop))
        })
    }

    /// Adds the Proxy-State attributes of a request, unchanged and in order (RFC 2865 §5.33).
    ///
    /// # Errors
    /// As [`PacketBuilder::attribute`]; the packet is then unchanged.
    pub fn proxy_states_of(&mut self, request: &Packet<'_>) -> Result<&mut Self, EncodeError> {
        self.all_or_nothing(|builder| {
            request.all(PROXY_STATE).try_for_each(|state| builder.attribute(PROXY_STATE, state).map(drop))
        })
    }

    /// Signs a reply: Message-Authenticator first, then the Response Authenticator over all (RFC 2865 §3).
    /// The octets stay valid until the builder changes.
    ///
    /// # Errors
    /// `PacketTooLong`, or `WrongDirection` when this was started as a request.
    pub fn sign_reply(&mut self, secret: &[u8]) -> Result<&[u8], EncodeError> {
        self.sign_reply_by(&PreparedSecret::new(secret))
    }

    /// The same by a secret that serves more than once.
    ///
    /// # Errors
    /// As [`PacketBuilder::sign_reply`].
    pub fn sign_reply_by(&mut self, secret: &PreparedSecret) -> Result<&[u8], EncodeError> {
        self.must_be_a_reply()?;
        let request_authenticator = self.request_authenticator;
        let packet = self.lay_out(&request_authenticator, secret)?;
        let response_authenticator = authenticator::checksum_in_place(packet, secret.expose());
        packet[4..MIN_PACKET].copy_from_slice(&response_authenticator);
        Ok(packet)
    }

    /// Leaves a reply to be signed with others.
    ///
    /// # Errors
    /// As [`PacketBuilder::sign_reply`].
    ///
    /// # Panics
    /// When there is no room among these.
    pub fn sign_reply_together(&mut self, secret: &PreparedSecret, others: &mut Signing) -> Result<(), EncodeError> {
        self.must_be_a_reply()?;
        let (request_authenticator, signed) = (self.request_authenticator, self.message_authenticator);
        let packet = self.write_header(&request_authenticator)?;
        others.add(packet, signed.then_some(MESSAGE_AUTHENTICATOR_VALUE), secret);
        Ok(())
    }

    /// Signs a request. An Access-Request or Status-Server keeps its Request Authenticator; Accounting-, CoA- and
    /// Disconnect-Request get theirs computed (RFC 2866 §3, RFC 5176 §2.3) after a Message-Authenticator made over a
    /// zeroed one (RFC 5176 §3.4). The octets stay valid until the builder changes; the authenticator a reply is to be
    /// checked against is octets 4 to 20 of them.
    ///
    /// # Errors
    /// `PacketTooLong`, or `WrongDirection` when this is no request.
    pub fn sign_request(&mut self, secret: &[u8]) -> Result<&[u8], EncodeError> {
        self.sign_request_by(&PreparedSecret::new(secret))
    }

    /// The same by a secret that serves more than once.
    ///
    /// # Errors
    /// As [`PacketBuilder::sign_request`].
    pub fn sign_request_by(&mut self, secret: &PreparedSecret) -> Result<&[u8], EncodeError> {
        let wrong = EncodeError::WrongDirection { code: self.code.as_u8(), wanted: "request" };
        let kind = if self.answers.is_none() { self.code.request_kind() } else { None };
        match kind.ok_or(wrong)? {
            RequestKind::Nonce => {
                let request_authenticator = self.request_authenticator;
                Ok(self.lay_out(&request_authenticator, secret)?)
            }
            RequestKind::Checksum => {
                let zero = [0; LENGTH];
                let packet = self.lay_out(&zero, secret)?;
                let request_authenticator = authenticator::checksum_in_place(packet, secret.expose());
                packet[4..MIN_PACKET].copy_from_slice(&request_authenticator);
                Ok(packet)
            }
        }
    }

    fn empty(code: Code) -> Self {
        Self {
            buffer: Vec::with_capacity(MAX_PACKET / 8),
            code,
            identifier: 0,
            request_authenticator: [0; LENGTH],
            answers: None,
            message_authenticator: true,
        }
    }

    fn restart(&mut self, code: Code, identifier: u8, request_authenticator: [u8; LENGTH]) {
        self.buffer.clear();
        self.buffer.resize(ATTRIBUTES, 0);
        (self.code, self.identifier, self.request_authenticator) = (code, identifier, request_authenticator);
    }

    fn must_have_message_authenticator(&self) -> bool {
        match self.answers {
            Some(request) => matches!(request, Code::AccessRequest | Code::StatusServer),
            None => self.code == Code::StatusServer,
        }
    }

    /// Octets at the head of the buffer that are not sent.
    fn unused(&self) -> usize {
        if self.message_authenticator { 0 } else { MESSAGE_AUTHENTICATOR_OCTETS }
    }

    /// Adds one attribute made of parts, or leaves the packet as it was.
    fn append(&mut self, kind: u8, parts: &[&[u8]]) -> Result<&mut Self, EncodeError> {
        if kind == MESSAGE_AUTHENTICATOR {
            return Err(EncodeError::MessageAuthenticatorIsSigned);
        }
        let octets = parts.iter().map(|part| part.len()).sum::<usize>();
        if octets > MAX_VALUE {
            return Err(EncodeError::AttributeTooLong { kind, octets, limit: MAX_VALUE });
        }
        let whole = self.buffer.len() - self.unused() + 2 + octets;
        if whole > MAX_PACKET {
            return Err(EncodeError::PacketTooLong { octets: whole });
        }
        let length = u8::try_from(octets + 2).expect("at most 255, checked above");
        self.buffer.extend_from_slice(&[kind, length]);
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        Ok(self)
    }

    fn all_or_nothing(
        &mut self,
        add: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<&mut Self, EncodeError> {
        let before = self.buffer.len();
        match add(self) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.buffer.truncate(before);
                Err(error)
            }
        }
    }

    fn must_be_a_reply(&self) -> Result<(), EncodeError> {
        match self.answers {
            Some(_) => Ok(()),
            None => Err(EncodeError::WrongDirection { code: self.code.as_u8(), wanted: "reply" }),
        }
    }

    /// Writes header and Message-Authenticator in front of the attributes and returns the packet, whose Authenticator
    /// field is `authenticator`.
    fn lay_out(&mut self, authenticator: &[u8; LENGTH], secret: &PreparedSecret) -> Result<&mut [u8], EncodeError> {
        let signed = self.message_authenticator;
        let packet = self.write_header(authenticator)?;
        if signed {
            let mac = authenticator::message_authenticator_in_place(packet, secret);
            packet[MESSAGE_AUTHENTICATOR_VALUE..][..LENGTH].copy_from_slice(&mac);
        }
        Ok(packet)
    }

    /// The same with zeroes for the value of Message-Authenticator.
    fn write_header(&mut self, authenticator: &[u8; LENGTH]) -> Result<&mut [u8], EncodeError> {
        let start = self.unused();
        let signed = self.message_authenticator;
        let (code, identifier) = (self.code.as_u8(), self.identifier);
        let packet = &mut self.buffer[start..];
        let octets = packet.len();
        if octets > MAX_PACKET {
            return Err(EncodeError::PacketTooLong { octets });
        }
        let [high, low] = u16::try_from(octets).expect("at most 4096, checked above").to_be_bytes();
        packet[..4].copy_from_slice(&[code, identifier, high, low]);
        packet[4..MIN_PACKET].copy_from_slice(authenticator);
        if signed {
            packet[MIN_PACKET..MESSAGE_AUTHENTICATOR_VALUE]
                .copy_from_slice(&[MESSAGE_AUTHENTICATOR, MESSAGE_AUTHENTICATOR_OCTETS as u8]);
            packet[MESSAGE_AUTHENTICATOR_VALUE..][..LENGTH].fill(0);
        }
        Ok(packet)
    }
}

impl std::fmt::Debug for PacketBuilder {
    /// Code, Identifier and size: values may be secret and stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketBuilder")
            .field("code", &format_args!("{}", self.code))
            .field("identifier", &self.identifier)
            .field("length", &(self.buffer.len() - self.unused()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::{Attribute, CLASS, FILTER_ID, REPLY_MESSAGE, USER_NAME};
    use super::*;

    const SECRET: &[u8] = b"xyzzy5461";
    const NONCE: [u8; 16] = [7; 16];

    fn kinds(packet: &[u8]) -> Vec<u8> {
        Packet::parse(packet).unwrap().attributes().map(|Attribute { kind, .. }| kind).collect()
    }

    /// A signed request of a code, with or without Message-Authenticator.
    fn request(code: Code, message_authenticator: bool) -> Vec<u8> {
        let mut builder = PacketBuilder::request(code, 9, NONCE);
        builder.with_message_authenticator(message_authenticator).sign_request(SECRET).unwrap().to_vec()
    }

    #[test]
    fn cve_2024_3596_message_authenticator_is_first_in_every_access_reply() {
        for asked in [Code::AccessRequest, Code::StatusServer] {
            for had in [true, false] {
                let request = request(asked, had);
                for code in [Code::AccessAccept, Code::AccessReject, Code::AccessChallenge] {
                    let mut reply = PacketBuilder::reply(&Packet::parse(&request).unwrap(), code);
                    reply.text(REPLY_MESSAGE, "hello").unwrap().with_message_authenticator(false);
                    let reply = reply.sign_reply(SECRET).unwrap();
                    assert_eq!(kinds(reply), [MESSAGE_AUTHENTICATOR, REPLY_MESSAGE], "{asked} {code}");
                    let proof = Packet::parse(reply).unwrap().verify_reply(SECRET, &NONCE).unwrap();
                    assert!(proof.message_authenticator());
                }
            }
        }
    }

    #[test]
    fn replies_to_other_requests_follow_the_request_or_the_dialect() {
        for asked in [Code::AccountingRequest, Code::CoaRequest, Code::DisconnectRequest] {
            for had in [true, false] {
                let request = request(asked, had);
                let request = Packet::parse(&request).unwrap();
                let mut reply = PacketBuilder::reply(&request, Code::CoaAck);
                for (choice, wanted) in [(None, had), (Some(true), true), (Some(false), false)] {
                    choice.map(|choice| reply.with_message_authenticator(choice));
                    let reply = Packet::parse(reply.sign_reply(SECRET).unwrap()).unwrap();
                    let proof = reply.verify_reply(SECRET, request.authenticator()).unwrap();
                    assert_eq!(proof.message_authenticator(), wanted, "{asked} {choice:?}");
                    assert_eq!(reply.identifier(), 9);
                }
            }
        }
    }

    #[test]
    fn rfc5176_section_3_4_both_authenticators_of_a_request() {
        for code in [Code::AccountingRequest, Code::CoaRequest, Code::DisconnectRequest] {
            let signed = request(code, true);
            let packet = Packet::parse(&signed).unwrap();
            assert!(packet.verify_message_authenticator(SECRET).is_ok(), "{code}");
            assert!(packet.verify_request_authenticator(SECRET).is_ok(), "{code}");
            assert_ne!(packet.authenticator(), &NONCE);
            assert!(!Packet::parse(&request(code, false)).unwrap().has_message_authenticator());
        }
        assert!(Packet::parse(&request(Code::StatusServer, false)).unwrap().has_message_authenticator());
    }

    #[test]
    fn rfc2865_section_5_33_proxy_states_come_back_in_order() {
        let mut asked = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        for state in [&b"2"[..], b"1", b"", b"3"] {
            asked.attribute(PROXY_STATE, state).unwrap().text(USER_NAME, "between").unwrap();
        }
        let asked = asked.sign_request(SECRET).unwrap();
        let asked = Packet::parse(asked).unwrap();
        let mut reply = PacketBuilder::reply(&asked, Code::AccessAccept);
        let reply = reply.proxy_states_of(&asked).unwrap().sign_reply(SECRET).unwrap();
        let states: Vec<_> = Packet::parse(reply).unwrap().all(PROXY_STATE).map(<[u8]>::to_vec).collect();
        assert_eq!(states, [&b"2"[..], b"1", b"", b"3"]);
    }

    #[test]
    fn limits_are_errors_that_change_nothing() {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        assert_eq!(builder.attribute(CLASS, &[0; 254]).unwrap_err().reason(), "attribute-too-long");
        assert_eq!(builder.vendor(311, 1, &[0; 248]).unwrap_err().reason(), "attribute-too-long");
        assert_eq!(builder.vendor(311, 1, &[0; 300]).unwrap_err().reason(), "attribute-too-long");
        assert_eq!(builder.extended(241, 1, &[0; 253]).unwrap_err().reason(), "attribute-too-long");
        assert_eq!(builder.extended(245, 1, &[0]).unwrap_err().reason(), "wrong-space");
        assert_eq!(builder.long_extended(244, 1, &[0]).unwrap_err().reason(), "wrong-space");
        let own = builder.attribute(MESSAGE_AUTHENTICATOR, &[0; 16]).unwrap_err();
        assert_eq!(own, EncodeError::MessageAuthenticatorIsSigned);
        assert_eq!(builder.concat(CLASS, &[0; 4096]).unwrap_err().reason(), "packet-too-long");
        assert_eq!(builder.long_extended(245, 1, &[0; 4096]).unwrap_err().reason(), "packet-too-long");
        assert_eq!(builder.sign_request(SECRET).unwrap().len(), 38);
        builder.vendor(311, 1, &[0; 247]).unwrap().extended(241, 1, &[0; 252]).unwrap();
        assert_eq!(builder.sign_request(SECRET).unwrap().len(), 38 + 255 + 255);
    }

    #[test]
    fn rfc2865_section_3_exactly_4096_octets_fit() {
        for message_authenticator in [true, false] {
            let mut builder = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
            builder.with_message_authenticator(message_authenticator);
            while builder.attribute(CLASS, &[0; 8]).is_ok() {}
            let rest = MAX_PACKET - builder.sign_request(SECRET).unwrap().len();
            assert_eq!(builder.attribute(CLASS, &vec![0; rest - 1]).unwrap_err().reason(), "packet-too-long");
            builder.attribute(CLASS, &vec![0; rest - 2]).unwrap();
            let packet = builder.sign_request(SECRET).unwrap();
            assert_eq!((packet.len(), Packet::parse(packet).is_ok()), (MAX_PACKET, true));
        }
    }

    #[test]
    fn a_message_authenticator_wanted_too_late_does_not_overflow() {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        builder.with_message_authenticator(false);
        while builder.attribute(CLASS, &[0; 8]).is_ok() {}
        builder.with_message_authenticator(true);
        assert_eq!(builder.sign_request(SECRET).unwrap_err().reason(), "packet-too-long");
    }

    #[test]
    fn signing_again_after_more_was_added() {
        let mut builder = PacketBuilder::request(Code::CoaRequest, 9, NONCE);
        for message_authenticator in [false, true, false] {
            builder.with_message_authenticator(message_authenticator).text(FILTER_ID, "permit").unwrap();
            let packet = Packet::parse(builder.sign_request(SECRET).unwrap()).unwrap();
            assert!(packet.verify_request_authenticator(SECRET).is_ok());
            assert_eq!(packet.verify_message_authenticator(SECRET).is_ok(), message_authenticator);
        }
        builder.restart_request(Code::DisconnectRequest, 10, NONCE);
        let packet = Packet::parse(builder.sign_request(SECRET).unwrap()).unwrap();
        assert_eq!((packet.code(), packet.identifier(), packet.has(FILTER_ID)), (Code::DisconnectRequest, 10, false));
    }

    #[test]
    fn a_request_is_not_signed_as_a_reply_nor_the_other_way_round() {
        let asked = request(Code::AccessRequest, true);
        let mut reply = PacketBuilder::reply(&Packet::parse(&asked).unwrap(), Code::AccessAccept);
        assert_eq!(reply.sign_request(SECRET).unwrap_err().reason(), "wrong-direction");
        let mut asked = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        assert_eq!(asked.sign_reply(SECRET).unwrap_err().reason(), "wrong-direction");
        let together = asked.sign_reply_together(&PreparedSecret::new(SECRET), &mut Signing::default());
        assert_eq!(together.unwrap_err().reason(), "wrong-direction");
        let mut unknown = PacketBuilder::request(Code::Other(200), 9, NONCE);
        assert_eq!(unknown.sign_request(SECRET).unwrap_err().reason(), "wrong-direction");
    }

    #[test]
    fn rfc2865_section_5_empty_text_is_omitted() {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        builder.text(REPLY_MESSAGE, "").unwrap().text(USER_NAME, "x").unwrap();
        assert_eq!(kinds(builder.sign_request(SECRET).unwrap()), [MESSAGE_AUTHENTICATOR, USER_NAME]);
    }

    #[test]
    fn debug_shows_no_values() {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 9, NONCE);
        builder.text(USER_NAME, "secret").unwrap();
        let shown = format!("{builder:?}");
        assert_eq!(shown, "PacketBuilder { code: Access-Request, identifier: 9, length: 46, .. }");
    }
}
