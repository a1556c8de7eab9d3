//! A packet as it came: borrowed from the datagram, checked once, then read without a copy.
//!
//! Never judges who sent it (see `authenticator`) and never gives meaning to an attribute.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::attribute::{Attribute, Attributes, VENDOR_SPECIFIC};
use super::code::Code;
use super::error::ParseError;
use super::vendor::{self, VendorAttribute};

/// Octets of the header, and of the smallest packet (RFC 2865 §3).
pub const MIN_PACKET: usize = 20;

/// Octets of the largest packet (RFC 2865 §3).
pub const MAX_PACKET: usize = 4096;

/// A well-formed packet, borrowed from the datagram it came in.
///
/// Well formed means: header, Length and every attribute's Length agree. Nothing is said about who sent it; ask
/// `verify_message_authenticator`, `verify_request_authenticator` or `verify_reply` for that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The packet without padding: exactly Length octets.
    bytes: &'a [u8],
    /// A bit for each kind of attribute that is there: most that are asked for are not.
    kinds: [u64; 4],
}

impl<'a> Packet<'a> {
    /// Reads one datagram. Octets beyond Length are padding and ignored (RFC 2865 §3).
    ///
    /// # Errors
    /// The first rule the octets break; the datagram is then to be silently discarded.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let octets = datagram.len();
        let Some(header) = datagram.first_chunk::<MIN_PACKET>() else {
            return Err(ParseError::HeaderTruncated { octets });
        };
        let length = u16::from_be_bytes([header[2], header[3]]);
        let whole = usize::from(length);
        if whole < MIN_PACKET {
            return Err(ParseError::LengthBelowMinimum { length });
        }
        if whole > MAX_PACKET {
            return Err(ParseError::LengthAboveMaximum { length });
        }
        let Some(bytes) = datagram.get(..whole) else {
            return Err(ParseError::Truncated { length, octets });
        };
        let kinds = check_attributes(bytes)?;
        Ok(Self { bytes, kinds })
    }

    /// The Code.
    pub fn code(&self) -> Code {
        Code::from(self.bytes[0])
    }

    /// The Identifier, which pairs a reply with its request.
    pub fn identifier(&self) -> u8 {
        self.bytes[1]
    }

    /// The Authenticator field: of a request the Request, of a reply the Response Authenticator (RFC 2865 §3).
    pub fn authenticator(&self) -> &'a [u8; 16] {
        self.bytes[4..].first_chunk().expect("parse checked the header")
    }

    /// Every attribute in the order it came.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::of_checked(&self.bytes[MIN_PACKET..])
    }

    /// The value of the first attribute of a kind.
    pub fn first(&self, kind: u8) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// The values of all attributes of a kind, in order.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let attributes = if self.has(kind) { self.attributes() } else { Attributes::of_checked(&[]) };
        attributes.filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Whether an attribute of a kind is there.
    pub fn has(&self, kind: u8) -> bool {
        self.kinds[usize::from(kind) / 64] & 1 << (kind % 64) != 0
    }

    /// The first attribute of a kind as `text` (RFC 8044 §3.4); `None` also when it is not UTF-8.
    pub fn text(&self, kind: u8) -> Option<&'a str> {
        std::str::from_utf8(self.first(kind)?).ok()
    }

    /// The first attribute of a kind as `integer` (RFC 8044 §3.1); `None` also when not of 4 octets.
    pub fn integer(&self, kind: u8) -> Option<u32> {
        self.first(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The first attribute of a kind as `ipv4addr` (RFC 8044 §3.8); `None` also when not of 4 octets.
    pub fn ipv4(&self, kind: u8) -> Option<Ipv4Addr> {
        self.integer(kind).map(Ipv4Addr::from)
    }

    /// The first attribute of a kind as `ipv6addr` (RFC 8044 §3.9); `None` also when not of 16 octets.
    pub fn ipv6(&self, kind: u8) -> Option<Ipv6Addr> {
        <[u8; 16]>::try_from(self.first(kind)?).ok().map(Ipv6Addr::from)
    }

    /// The values a vendor has under one of its types, across all Vendor-Specific attributes, in order
    /// (RFC 2865 §5.26). A Vendor-Specific whose inside does not add up is opaque and yields nothing.
    pub fn vendor(&self, vendor_id: u32, vendor_type: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.vendor_attributes()
            .filter(move |inner| inner.vendor == vendor_id && inner.kind == vendor_type)
            .map(|inner| inner.value)
    }

    /// The first of [`Packet::vendor`].
    pub fn vendor_first(&self, vendor_id: u32, vendor_type: u8) -> Option<&'a [u8]> {
        self.vendor(vendor_id, vendor_type).next()
    }

    /// Every sub-attribute of every Vendor-Specific that keeps to the form RFC 2865 §5.26 recommends.
    pub fn vendor_attributes(&self) -> impl Iterator<Item = VendorAttribute<'a>> + use<'a> {
        self.all(VENDOR_SPECIFIC).flat_map(vendor::sub_attributes)
    }

    /// The packet as it came, without padding.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl std::fmt::Debug for Packet<'_> {
    /// Code, Identifier and attribute numbers: values may be secret and stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet")
            .field("code", &format_args!("{}", self.code()))
            .field("identifier", &self.identifier())
            .field("length", &self.bytes.len())
            .field("kinds", &self.attributes().map(|Attribute { kind, .. }| kind).collect::<Vec<_>>())
            .finish()
    }
}

/// Walks the attributes once, so that [`Attributes`] never has to doubt, and notes their kinds.
fn check_attributes(bytes: &[u8]) -> Result<[u64; 4], ParseError> {
    let mut offset = MIN_PACKET;
    let mut kinds = [0; 4];
    while offset < bytes.len() {
        let remaining = bytes.len() - offset;
        if remaining < 2 {
            return Err(ParseError::AttributeHeaderTruncated { offset });
        }
        let (kind, length) = (bytes[offset], bytes[offset + 1]);
        if length < 2 {
            return Err(ParseError::AttributeLengthBelowMinimum { offset, kind, length });
        }
        if usize::from(length) > remaining {
            return Err(ParseError::AttributeOverrun { offset, kind, length, remaining });
        }
        kinds[usize::from(kind) / 64] |= 1 << (kind % 64);
        offset += usize::from(length);
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::super::attribute::{NAS_IP_ADDRESS, NAS_PORT, USER_NAME};
    use super::*;

    /// An Access-Request with the given Length field and attributes.
    fn datagram(length: u16, attributes: &[u8]) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut octets = vec![1, 7, high, low];
        octets.extend_from_slice(&[0xaa; 16]);
        octets.extend_from_slice(attributes);
        octets
    }

    fn reason(octets: &[u8]) -> &'static str {
        Packet::parse(octets).expect_err("is malformed").reason()
    }

    #[test]
    fn rfc2865_section_3_length() {
        assert_eq!(reason(&[]), "header-truncated");
        assert_eq!(reason(&datagram(20, &[])[..19]), "header-truncated");
        assert_eq!(reason(&datagram(19, &[])), "length-below-minimum");
        assert_eq!(reason(&datagram(0, &[])), "length-below-minimum");
        assert_eq!(reason(&datagram(21, &[])), "truncated");
        assert_eq!(reason(&datagram(4097, &[0; 4077])), "length-above-maximum");
        assert_eq!(reason(&datagram(u16::MAX, &[])), "length-above-maximum");
    }

    #[test]
    fn rfc2865_section_3_octets_beyond_length_are_padding() {
        let whole = datagram(26, &[USER_NAME, 6, b'n', b'e', b'm', b'o', 0xff, 0xff]);
        let packet = Packet::parse(&whole).unwrap();
        assert_eq!(packet.as_bytes(), &whole[..26]);
        assert_eq!(packet.text(USER_NAME), Some("nemo"));
    }

    #[test]
    fn reading_a_packet_takes_nothing_of_the_heap() {
        let twelve = [USER_NAME, 6, b'n', b'e', b'm', b'o'].repeat(12);
        let octets = datagram(20 + 72, &twelve);
        let mut read = 0;
        let taken = allocation_counter::measure(|| {
            let packet = Packet::parse(&octets).unwrap();
            read = packet.attributes().filter(|attribute| attribute.value == b"nemo").count();
            assert_eq!((packet.text(USER_NAME), packet.all(USER_NAME).count()), (Some("nemo"), 12));
        });
        assert_eq!((read, taken.count_total), (12, 0));
    }

    #[test]
    fn rfc2865_section_5_attribute_lengths() {
        assert_eq!(reason(&datagram(21, &[1])), "attribute-header-truncated");
        assert_eq!(reason(&datagram(22, &[1, 0])), "attribute-length-below-minimum");
        assert_eq!(reason(&datagram(22, &[1, 1])), "attribute-length-below-minimum");
        assert_eq!(reason(&datagram(22, &[1, 3])), "attribute-overrun");
        // Octets behind Length do not rescue an attribute that runs past it.
        assert_eq!(reason(&datagram(22, &[1, 3, 0])), "attribute-overrun");
        assert_eq!(Packet::parse(&datagram(22, &[1, 2])).unwrap().first(1), Some(&[][..]));
    }

    #[test]
    fn every_kind_is_there_or_not() {
        for kind in 0..=u8::MAX {
            let octets = datagram(24, &[kind, 4, 7, 7]);
            let packet = Packet::parse(&octets).unwrap();
            let there: Vec<u8> = (0..=u8::MAX).filter(|kind| packet.has(*kind)).collect();
            assert_eq!((there, packet.first(kind)), (vec![kind], Some(&[7, 7][..])));
            assert_eq!((0..=u8::MAX).filter(|kind| packet.first(*kind).is_some()).count(), 1);
        }
    }

    #[test]
    fn values_of_the_wrong_size_are_absent() {
        let octets = datagram(33, &[NAS_PORT, 5, 0, 0, 1, USER_NAME, 3, 0xff, NAS_IP_ADDRESS, 5, 1, 2, 3]);
        let packet = Packet::parse(&octets).unwrap();
        assert_eq!(packet.integer(NAS_PORT), None);
        assert_eq!(packet.text(USER_NAME), None);
        assert_eq!(packet.ipv4(NAS_IP_ADDRESS), None);
        assert_eq!(packet.ipv6(95), None);
    }

    #[test]
    fn debug_shows_no_values() {
        let octets = datagram(28, &[USER_NAME, 8, b's', b'e', b'c', b'r', b'e', b't']);
        let shown = format!("{:?}", Packet::parse(&octets).unwrap());
        assert_eq!(shown, "Packet { code: Access-Request, identifier: 7, length: 28, kinds: [1] }");
    }
}
