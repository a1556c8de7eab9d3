//! The authenticators of several packets, made or checked side by side: a third of MD5's time, where there are eight.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::side_by_side::{self, Message, State};
use super::{
    LENGTH, MessageAuthenticatorVerified, PreparedSecret, ReplyVerified, ZERO, authenticator_covered,
    find_message_authenticator,
};
use crate::radius::error::{AuthenticatorError, MessageAuthenticatorError};
use crate::radius::packet::{MIN_PACKET, Packet};

/// Where a packet has its authenticator.
const AUTHENTICATOR: usize = MIN_PACKET - LENGTH;

/// Packets signed, or checked, together.
pub const TOGETHER: usize = side_by_side::WIDTH;

/// Octets of a request, at most, that is checked with others: of one that is longer these would have next to nothing.
const LONGEST_REQUEST: usize = 512;

/// A packet, with the Request Authenticator of the request it is or answers in its Authenticator field and zeroes for a Message-Authenticator.
#[derive(Default)]
struct Blank {
    /// Behind a reply its secret, as the Response Authenticator is made (RFC 2865 §3).
    octets: Zeroizing<Vec<u8>>,
    /// Of the packet alone.
    length: usize,
    hmac: Zeroizing<[State; 2]>,
}

impl Blank {
    fn write_reply(&mut self, reply: &[u8], secret: &PreparedSecret) {
        self.write(reply, secret.expose(), secret);
    }

    fn write_request(&mut self, request: &Packet<'_>, message_authenticator: usize, secret: &PreparedSecret) {
        self.write(request.as_bytes(), &[], secret);
        self.put(AUTHENTICATOR, authenticator_covered(request));
        self.put(message_authenticator, &ZERO);
    }

    fn write(&mut self, packet: &[u8], behind: &[u8], secret: &PreparedSecret) {
        self.octets.clear();
        // Nothing is moved, and left where it was, with the secret in it.
        self.octets.reserve(packet.len() + behind.len());
        self.octets.extend_from_slice(packet);
        self.octets.extend_from_slice(behind);
        self.length = packet.len();
        self.hmac.clone_from(&secret.hmac);
    }

    fn packet(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// Only the packet itself stays.
    fn forget_secret(&mut self) {
        self.octets[self.length..].zeroize();
        self.hmac.zeroize();
    }

    fn put(&mut self, offset: usize, octets: &[u8; LENGTH]) {
        self.octets[offset..offset + LENGTH].copy_from_slice(octets);
    }
}

/// The digest of a message of each blank; behind them nobody's.
fn digests<'a>(blanks: &'a [Blank], message: impl Fn(usize, &'a Blank) -> Message<'a>) -> [[u8; LENGTH]; TOGETHER] {
    let messages = std::array::from_fn(|place| match blanks.get(place) {
        Some(blank) => message(place, blank),
        None => Message::whole(&[]),
    });
    let there = &messages[..blanks.len()];
    if side_by_side::is_shorter(there) {
        return side_by_side::digests(messages).map(side_by_side::octets);
    }
    let mut digests = [ZERO; TOGETHER];
    digests.iter_mut().zip(there).for_each(|(digest, one)| *digest = side_by_side::octets(side_by_side::digest(*one)));
    digests
}

/// HMAC-MD5 of each packet as it is (RFC 2104 §2).
fn message_authenticators(blanks: &[Blank]) -> [[u8; LENGTH]; TOGETHER] {
    let inner = digests(blanks, |_, blank| Message::behind(blank.hmac[0], blank.packet()));
    digests(blanks, |place, blank| Message::behind(blank.hmac[1], &inner[place]))
}

/// The Response Authenticator of each as it is (RFC 2865 §3).
fn response_authenticators(blanks: &[Blank]) -> [[u8; LENGTH]; TOGETHER] {
    digests(blanks, |_, blank| Message::whole(&blank.octets))
}

/// Replies that wait for each other to be signed. Its memory stays for the next ones.
#[derive(Default)]
pub struct Signing {
    blanks: [Blank; TOGETHER],
    /// Where its Message-Authenticator is, of each that has one.
    offsets: [Option<usize>; TOGETHER],
    count: usize,
}

impl Signing {
    /// Whether there is no room for another one.
    pub fn is_full(&self) -> bool {
        self.count == TOGETHER
    }

    /// Takes in a reply as it is before it is signed.
    ///
    /// # Panics
    /// When full.
    pub(in crate::radius) fn add(
        &mut self,
        reply: &[u8],
        message_authenticator: Option<usize>,
        secret: &PreparedSecret,
    ) {
        self.blanks[self.count].write_reply(reply, secret);
        self.offsets[self.count] = message_authenticator;
        self.count += 1;
    }

    /// Signs each, and gives them in the order they came in. There is none here then.
    pub fn sign(&mut self) -> impl Iterator<Item = &[u8]> {
        let blanks = &mut self.blanks[..std::mem::take(&mut self.count)];
        let values = message_authenticators(blanks);
        for ((blank, offset), value) in blanks.iter_mut().zip(self.offsets).zip(values) {
            if let Some(offset) = offset {
                blank.put(offset, &value);
            }
        }
        let values = response_authenticators(blanks);
        for (blank, value) in blanks.iter_mut().zip(values) {
            blank.put(AUTHENTICATOR, &value);
            blank.forget_secret();
        }
        blanks.iter().map(Blank::packet)
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Replies that wait for each other to be checked. Its memory stays for the next ones.
#[derive(Default)]
pub struct Checking {
    blanks: [Blank; TOGETHER],
    claims: [Option<Claim>; TOGETHER],
    count: usize,
}

/// What a reply says of itself.
struct Claim {
    authenticator: [u8; LENGTH],
    /// Where, and what.
    message_authenticator: Result<(usize, [u8; LENGTH]), MessageAuthenticatorError>,
}

impl Checking {
    /// Takes in a reply to a request with that authenticator.
    ///
    /// # Panics
    /// When full.
    pub fn add(&mut self, reply: &Packet<'_>, secret: &PreparedSecret, request_authenticator: &[u8; LENGTH]) {
        let blank = &mut self.blanks[self.count];
        blank.write_reply(reply.as_bytes(), secret);
        blank.put(AUTHENTICATOR, request_authenticator);
        let message_authenticator = find_message_authenticator(reply).map(|(offset, value)| (offset, *value));
        self.claims[self.count] = Some(Claim { authenticator: *reply.authenticator(), message_authenticator });
        self.count += 1;
    }

    /// Checks each, and says of each in the order they came in what [`Packet::verify_reply`] says. There is none here then.
    pub fn check(&mut self) -> impl Iterator<Item = Result<ReplyVerified, AuthenticatorError>> {
        let Self { blanks, claims, count } = self;
        let blanks = &mut blanks[..std::mem::take(count)];
        let responses = response_authenticators(blanks);
        for (blank, claim) in blanks.iter_mut().zip(claims.iter()) {
            if let Some(Claim { message_authenticator: Ok((offset, _)), .. }) = claim {
                blank.put(*offset, &ZERO);
            }
        }
        let macs = message_authenticators(blanks);
        blanks.iter_mut().for_each(Blank::forget_secret);
        let claims = claims[..blanks.len()].iter().flatten();
        claims.zip(responses).zip(macs).map(|((claim, response), mac)| claim.holds(&response, &mac))
    }
}

impl Claim {
    /// Whether it is so, when these are the right values.
    fn holds(&self, response: &[u8; LENGTH], mac: &[u8; LENGTH]) -> Result<ReplyVerified, AuthenticatorError> {
        if !bool::from(response.ct_eq(&self.authenticator)) {
            return Err(AuthenticatorError::ResponseMismatch);
        }
        match self.message_authenticator {
            Ok((_, value)) if bool::from(mac.ct_eq(&value)) => Ok(ReplyVerified { message_authenticator: true }),
            Ok(_) => Err(MessageAuthenticatorError::Mismatch.into()),
            Err(MessageAuthenticatorError::Absent) => Ok(ReplyVerified { message_authenticator: false }),
            Err(error) => Err(error.into()),
        }
    }
}

impl std::fmt::Debug for Checking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checking").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Where requests lie whose Message-Authenticators are checked together.
pub struct RequestChecking {
    /// With room for any request that is.
    blanks: [Blank; TOGETHER],
}

impl Default for RequestChecking {
    fn default() -> Self {
        let mut blanks = <[Blank; TOGETHER]>::default();
        blanks.iter_mut().for_each(|blank| blank.octets.reserve(LONGEST_REQUEST));
        Self { blanks }
    }
}

/// What [`Packet::verify_message_authenticator_by`] says of one request and one secret, found beforehand.
#[derive(Debug)]
pub struct CheckedRequest<'a> {
    request: Packet<'a>,
    secret: &'a PreparedSecret,
    holds: bool,
}

impl RequestChecking {
    /// Checks the Message-Authenticator of each request by its secret. Nothing is said of one that has none, or none that could be right,
    /// nor of a long one.
    pub fn check<'a>(
        &mut self,
        requests: [Option<(&Packet<'a>, &'a PreparedSecret)>; TOGETHER],
    ) -> [Option<CheckedRequest<'a>>; TOGETHER] {
        let mut count = 0;
        let claims = requests.map(|request| {
            let (packet, secret) = request.filter(|(packet, _)| packet.as_bytes().len() <= LONGEST_REQUEST)?;
            let (offset, value) = find_message_authenticator(packet).ok()?;
            self.blanks[count].write_request(packet, offset, secret);
            count += 1;
            Some((packet, secret, value))
        });
        let blanks = &mut self.blanks[..count];
        let mut values = message_authenticators(blanks).into_iter();
        blanks.iter_mut().for_each(Blank::forget_secret);
        claims.map(|claim| {
            let (packet, secret, value) = claim?;
            let holds = bool::from(values.next()?.ct_eq(value));
            Some(CheckedRequest { request: *packet, secret, holds })
        })
    }
}

impl CheckedRequest<'_> {
    /// What was found, if it was this very request, where it lies, and this very secret.
    pub fn verdict(
        &self,
        request: &Packet<'_>,
        secret: &PreparedSecret,
    ) -> Option<Result<MessageAuthenticatorVerified, MessageAuthenticatorError>> {
        let is_it = std::ptr::eq(self.request.as_bytes(), request.as_bytes()) && std::ptr::eq(self.secret, secret);
        match (is_it, self.holds) {
            (false, _) => None,
            (true, true) => Some(Ok(MessageAuthenticatorVerified(()))),
            (true, false) => Some(Err(MessageAuthenticatorError::Mismatch)),
        }
    }
}

impl std::fmt::Debug for RequestChecking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestChecking").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::radius::attribute::{CLASS, MESSAGE_AUTHENTICATOR, PROXY_STATE, USER_NAME};
    use crate::radius::{Code, PacketBuilder};

    fn request(code: Code, number: u8, message_authenticator: bool) -> Vec<u8> {
        let mut request = PacketBuilder::request(code, number, [number; LENGTH]);
        request.text(USER_NAME, "nemo").unwrap().with_message_authenticator(message_authenticator);
        request.sign_request(b"x").unwrap().to_vec()
    }

    /// A reply with so many octets of attributes.
    fn reply(request: &[u8], octets: usize) -> PacketBuilder {
        let mut reply = PacketBuilder::reply(&Packet::parse(request).unwrap(), Code::AccessAccept);
        let octets: Vec<u8> = (0..octets).map(|octet| octet as u8).collect();
        for octets in octets.chunks(200) {
            reply.attribute(CLASS, octets).unwrap();
        }
        reply
    }

    proptest! {
        /// However many there are, of whatever lengths, secrets and requests: each is signed as it is alone, and so it is checked.
        #[test]
        fn each_is_what_it_is_alone(
            replies in prop::collection::vec((0_usize..600, "[a-z]{1,100}", any::<bool>(), any::<bool>()), 1..=TOGETHER),
        ) {
            let (mut signing, mut checking, mut alone, mut requests) = (Signing::default(), Checking::default(), vec![], vec![]);
            for (number, (octets, secret, login, message_authenticator)) in (0..).zip(&replies) {
                let code = if *login { Code::AccessRequest } else { Code::AccountingRequest };
                let request = request(code, number, *message_authenticator);
                let secret = PreparedSecret::new(secret.as_bytes());
                let mut reply = reply(&request, *octets);
                prop_assert!(!signing.is_full());
                reply.sign_reply_together(&secret, &mut signing).unwrap();
                alone.push(reply.sign_reply_by(&secret).unwrap().to_vec());
                requests.push((request, secret));
            }
            let together: Vec<Vec<u8>> = signing.sign().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&together, &alone);
            prop_assert_eq!(signing.sign().count(), 0);
            for (reply, (request, secret)) in together.iter().zip(&requests) {
                let authenticator = request[4..].first_chunk().unwrap();
                checking.add(&Packet::parse(reply).unwrap(), secret, authenticator);
            }
            for (checked, (reply, (request, secret))) in checking.check().zip(together.iter().zip(&requests)) {
                let authenticator = request[4..].first_chunk().unwrap();
                let alone = Packet::parse(reply).unwrap().verify_reply_by(secret, authenticator).unwrap();
                prop_assert_eq!(checked.unwrap().message_authenticator(), alone.message_authenticator());
            }
            prop_assert_eq!(checking.check().count(), 0);
        }
    }

    /// A key of HMAC is one block, or hashed to be none longer (RFC 2104 §2).
    #[test]
    fn secrets_of_about_a_block_and_replies_as_long_as_they_may_be() {
        let request = request(Code::AccessRequest, 7, true);
        let authenticator = request[4..].first_chunk().unwrap();
        let (mut signing, mut checking) = (Signing::default(), Checking::default());
        for octets in [1, 63, 64, 65, 200] {
            let secret = PreparedSecret::new(&vec![b'x'; octets]);
            let mut longest = PacketBuilder::reply(&Packet::parse(&request).unwrap(), Code::AccessAccept);
            while longest.attribute(CLASS, &[7; 12]).is_ok() {}
            for reply in [&mut reply(&request, 0), &mut longest] {
                reply.sign_reply_together(&secret, &mut signing).unwrap();
                let alone = reply.sign_reply_by(&secret).unwrap();
                assert!(signing.sign().eq([alone]), "{octets}");
                checking.add(&Packet::parse(alone).unwrap(), &secret, authenticator);
                assert!(checking.check().all(|checked| checked.unwrap().message_authenticator()));
            }
        }
    }

    /// A request to be checked: right, or wrong in one way or other.
    fn claimed(code: Code, octets: usize, secret: &[u8], fault: u8) -> Vec<u8> {
        let mut request = PacketBuilder::request(code, 7, [octets as u8; LENGTH]);
        (0..octets).for_each(|_| request.attribute(CLASS, &[7; 58]).map(drop).unwrap());
        request.with_message_authenticator(![1, 6].contains(&fault));
        let mut request = request.sign_request(secret).unwrap().to_vec();
        let end = request.len();
        match fault {
            2 => request.extend([MESSAGE_AUTHENTICATOR, 18].into_iter().chain([0; LENGTH])),
            3 | 6 => request.extend([MESSAGE_AUTHENTICATOR, 3, 0]),
            4 => request[7] ^= 1,
            5 => request[end - 1] ^= 0x80,
            _ => (),
        }
        let [high, low] = u16::try_from(request.len()).unwrap().to_be_bytes();
        request[2..4].copy_from_slice(&[high, low]);
        // Padding.
        request.extend([7; 3]);
        request
    }

    proptest! {
        /// Whatever stands beside it, and wherever it stands: what is found of a request is what is found of it alone, and is of no other
        /// request, and of no other secret.
        #[test]
        fn a_request_is_what_it_is_alone(
            requests in prop::collection::vec(
                prop::option::weighted(0.9, (0_usize..3, 0_usize..9, prop_oneof![2 => Just(0), 1 => 1_u8..7], any::<bool>(), "[a-z]{1,100}")), TOGETHER),
        ) {
            const CODES: [Code; 3] = [Code::AccessRequest, Code::StatusServer, Code::AccountingRequest];
            let requests: Vec<_> = requests.iter().map(|request| {
                let (code, octets, fault, right, secret) = request.as_ref()?;
                let by = if *right { secret.as_bytes() } else { b"another" };
                Some((claimed(CODES[*code], *octets, by, *fault), PreparedSecret::new(secret.as_bytes())))
            }).collect();
            let mut packets: [_; TOGETHER] = std::array::from_fn(|place| {
                requests[place].as_ref().map(|(request, secret)| (Packet::parse(request).unwrap(), secret))
            });
            let mut checking = RequestChecking::default();
            // What others left in its place does no harm.
            for _ in 0..TOGETHER {
                packets.rotate_left(1);
                packets[0] = packets[0].filter(|_| packets[1].is_some());
                let asked = packets.each_ref().map(|request| request.as_ref().map(|(packet, secret)| (packet, *secret)));
                let checked = checking.check(asked);
                for (request, checked) in packets.iter().zip(&checked) {
                    let Some((packet, secret)) = request else {
                        prop_assert!(checked.is_none());
                        continue;
                    };
                    let alone = packet.verify_message_authenticator_by(secret).map(drop);
                    let Some(checked) = checked else {
                        let long = packet.as_bytes().len() > LONGEST_REQUEST;
                        prop_assert!(long || !matches!(alone, Ok(()) | Err(MessageAuthenticatorError::Mismatch)));
                        continue;
                    };
                    prop_assert_eq!(checked.verdict(packet, secret).map(|verdict| verdict.map(drop)), Some(alone));
                    let elsewhere = packet.as_bytes().to_vec();
                    prop_assert!(checked.verdict(&Packet::parse(&elsewhere).unwrap(), secret).is_none());
                    prop_assert!(checked.verdict(packet, &(*secret).clone()).is_none());
                }
                let blanks = checking.blanks.iter();
                prop_assert!(blanks.clone().all(|blank| *blank.hmac == [[0; 4]; 2] && blank.octets.len() == blank.length));
            }
        }
    }

    #[test]
    fn a_secret_is_kept_no_longer_than_it_is_needed() {
        let request = request(Code::AccessRequest, 7, true);
        let secret = PreparedSecret::new(b"xyzzy5461");
        let (mut signing, mut checking) = (Signing::default(), Checking::default());
        reply(&request, 40).sign_reply_together(&secret, &mut signing).unwrap();
        let signed = signing.sign().next().unwrap().to_vec();
        checking.add(&Packet::parse(&signed).unwrap(), &secret, request[4..].first_chunk().unwrap());
        assert_eq!(checking.check().count(), 1);
        for blank in [&signing.blanks[0], &checking.blanks[0]] {
            assert_eq!((&blank.octets[blank.length..], *blank.hmac), (&[0; 9][..], [[0; 4]; 2]));
        }
    }

    #[test]
    fn what_is_wrong_with_one_is_its_own() {
        let secret = PreparedSecret::new(b"xyzzy5461");
        let request = request(Code::AccessRequest, 7, true);
        let authenticator = request[4..].first_chunk().unwrap();
        let good = reply(&request, 40).sign_reply_by(&secret).unwrap().to_vec();
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut forged = good.clone();
            change(&mut forged);
            let [high, low] = u16::try_from(forged.len()).unwrap().to_be_bytes();
            forged[2..4].copy_from_slice(&[high, low]);
            let response = super::super::checksum(&forged, authenticator, secret.expose());
            forged[4..20].copy_from_slice(&response);
            forged
        };
        let replies = [
            good.clone(),
            forged(|reply| reply[30] ^= 1),
            forged(|reply| reply.extend([MESSAGE_AUTHENTICATOR, 3, 0])),
            forged(|reply| reply[20] = PROXY_STATE),
            [&good[..4], &[0; 16], &good[20..]].concat(),
        ];
        let alone = replies.each_ref().map(|reply| {
            let checked = Packet::parse(reply).unwrap().verify_reply_by(&secret, authenticator);
            checked.map(|verified| verified.message_authenticator()).map_err(|error| error.reason())
        });
        let wrong =
            ["message-authenticator-mismatch", "message-authenticator-repeated", "response-authenticator-mismatch"];
        assert_eq!(alone, [Ok(true), Err(wrong[0]), Err(wrong[1]), Ok(false), Err(wrong[2])]);
        for turn in 0..replies.len() {
            let mut checking = Checking::default();
            let places = (0..TOGETHER).map(|place| (place + turn) % replies.len());
            for place in places.clone() {
                checking.add(&Packet::parse(&replies[place]).unwrap(), &secret, authenticator);
            }
            let checked = checking.check().map(|checked| {
                checked.map(|verified| verified.message_authenticator()).map_err(|error| error.reason())
            });
            assert!(checked.eq(places.map(|place| alone[place])), "from {turn}");
        }
    }
}
