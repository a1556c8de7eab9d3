//! Extended and long extended attributes (RFC 6929 §2): a second Type, and values longer than one attribute.
//!
//! Knows no types and no names: dictionaries do.

use std::borrow::Cow;

use super::attribute::{Attribute, Attributes, VENDOR_SPECIFIC};
use super::error::ValueError;
use super::packet::Packet;

/// The Extended-Type that makes a value an Extended-Vendor-Specific (RFC 6929 §2.4).
pub const EXTENDED_VENDOR_SPECIFIC: u8 = VENDOR_SPECIFIC;

/// The "More" flag: the next attribute carries the next fragment (RFC 6929 §2.2).
const MORE: u8 = 0x80;

/// Octets of value in one fragment: 253 less Extended-Type and flags.
const MAX_FRAGMENT: usize = 251;

/// Whether a Type is of the extended space, 241 to 244 (RFC 6929 §3).
pub const fn is_extended(kind: u8) -> bool {
    matches!(kind, 241..=244)
}

/// Whether a Type is of the long extended space, 245 and 246 (RFC 6929 §3).
pub const fn is_long_extended(kind: u8) -> bool {
    matches!(kind, 245 | 246)
}

/// An extended attribute, its fragments joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended<'a> {
    /// The Type, 241 to 246.
    pub kind: u8,
    /// The Extended-Type.
    pub extended_type: u8,
    /// The value; owned only when it came in more than one fragment.
    pub value: Cow<'a, [u8]>,
}

/// An Extended-Vendor-Specific (RFC 6929 §2.4), borrowed from the extended attribute around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedVendor<'a> {
    /// The vendor's enterprise number.
    pub vendor: u32,
    /// The vendor's own type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
}

impl Extended<'_> {
    /// The Extended-Vendor-Specific inside; `None` when it is none, or too short to be one and therefore opaque.
    pub fn vendor(&self) -> Option<ExtendedVendor<'_>> {
        if self.extended_type != EXTENDED_VENDOR_SPECIFIC {
            return None;
        }
        let (vendor, rest) = self.value.split_first_chunk()?;
        let (&kind, value) = rest.split_first()?;
        Some(ExtendedVendor { vendor: u32::from_be_bytes(*vendor), kind, value })
    }
}

impl<'a> Packet<'a> {
    /// Every extended attribute in order, fragments joined. A malformed one comes as an error and ends nothing.
    pub fn extended(&self) -> impl Iterator<Item = Result<Extended<'a>, ValueError>> + use<'a> {
        ExtendedAttributes { attributes: self.attributes() }
    }
}

/// Flags and octets of the fragments a value is sent in; an empty value has none.
pub(super) fn fragments(value: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let last = value.len().div_ceil(MAX_FRAGMENT).saturating_sub(1);
    value.chunks(MAX_FRAGMENT).enumerate().map(move |(index, part)| (if index < last { MORE } else { 0 }, part))
}

struct ExtendedAttributes<'a> {
    attributes: Attributes<'a>,
}

impl<'a> Iterator for ExtendedAttributes<'a> {
    type Item = Result<Extended<'a>, ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Attribute { kind, value } = self.attributes.next()?;
            if is_extended(kind) {
                return Some(short(kind, value));
            }
            if is_long_extended(kind) {
                return Some(self.long(kind, value));
            }
        }
    }
}

/// Extended-Type and at least one octet (RFC 6929 §2.1: Length is 4 or more).
fn short(kind: u8, value: &[u8]) -> Result<Extended<'_>, ValueError> {
    match value {
        [extended_type, value @ ..] if !value.is_empty() => {
            Ok(Extended { kind, extended_type: *extended_type, value: Cow::Borrowed(value) })
        }
        _ => Err(ValueError::ExtendedTruncated { octets: value.len() }),
    }
}

impl<'a> ExtendedAttributes<'a> {
    /// Joins fragments as long as they stand side by side with one Type and Extended-Type (RFC 6929 §2.2). The
    /// attribute that breaks the row is left for the next call, whatever it is.
    fn long(&mut self, kind: u8, value: &'a [u8]) -> Result<Extended<'a>, ValueError> {
        let (extended_type, mut more, first) = fragment(value)?;
        let mut joined = Cow::Borrowed(first);
        while more {
            let mut ahead = self.attributes.clone();
            let next = ahead.next().filter(|next| next.kind == kind).and_then(|next| fragment(next.value).ok());
            let Some((_, next_more, part)) = next.filter(|(next_type, ..)| *next_type == extended_type) else {
                return Err(ValueError::FragmentMissing { kind, extended_type });
            };
            joined.to_mut().extend_from_slice(part);
            self.attributes = ahead;
            more = next_more;
        }
        Ok(Extended { kind, extended_type, value: joined })
    }
}

/// Extended-Type, whether more follows, and at least one octet (RFC 6929 §2.2: Length is 5 or more).
fn fragment(value: &[u8]) -> Result<(u8, bool, &[u8]), ValueError> {
    match value {
        [extended_type, flags, part @ ..] if !part.is_empty() => Ok((*extended_type, flags & MORE != 0, part)),
        _ => Err(ValueError::ExtendedTruncated { octets: value.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Code, PacketBuilder};
    use super::*;

    /// Builds an Access-Request, signs it, and gives its octets.
    fn packet(build: impl FnOnce(&mut PacketBuilder)) -> Vec<u8> {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 0, [0; 16]);
        build(&mut builder);
        builder.sign_request(b"secret").unwrap().to_vec()
    }

    #[test]
    fn long_values_are_cut_and_joined() {
        for octets in [1_usize, 250, 251, 252, 502, 503, 3000] {
            let value: Vec<u8> = (0..octets).map(|index| index as u8).collect();
            let bytes = packet(|builder| {
                builder.long_extended(245, 7, &value).unwrap().text(1, "bob").unwrap();
            });
            let packet = Packet::parse(&bytes).unwrap();
            let found: Vec<_> = packet.extended().collect();
            assert_eq!(found, [Ok(Extended { kind: 245, extended_type: 7, value: Cow::Borrowed(&value) })]);
            assert_eq!(packet.all(245).count(), octets.div_ceil(MAX_FRAGMENT));
        }
    }

    #[test]
    fn one_fragment_is_borrowed() {
        let bytes = packet(|builder| {
            builder.extended(241, 1, b"short").unwrap().long_extended(246, 2, b"long").unwrap();
        });
        let found: Vec<_> = Packet::parse(&bytes).unwrap().extended().map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|extended| matches!(extended.value, Cow::Borrowed(_))));
    }

    #[test]
    fn a_broken_row_of_fragments_is_one_error_and_spoils_no_other() {
        let breakers: [(u8, &[u8]); 3] = [(1, b"bob"), (246, &[7, 0, b'y']), (245, &[8, 0, b'y'])];
        for (kind, value) in breakers {
            let bytes = packet(|builder| {
                builder.attribute(245, &[7, MORE, b'x']).unwrap().attribute(kind, value).unwrap();
            });
            let found: Vec<_> = Packet::parse(&bytes).unwrap().extended().collect();
            assert_eq!(found[0], Err(ValueError::FragmentMissing { kind: 245, extended_type: 7 }));
            assert_eq!(found.len(), if kind == 1 { 1 } else { 2 });
            assert!(found[1..].iter().all(Result::is_ok));
        }
    }

    #[test]
    fn vendor_inside_needs_vendor_and_type() {
        let vendor = |value: &'static [u8]| Extended { kind: 241, extended_type: 26, value: Cow::Borrowed(value) };
        let whole = vendor(&[0, 0, 0, 9, 4, b'x']);
        assert_eq!(whole.vendor(), Some(ExtendedVendor { vendor: 9, kind: 4, value: b"x" }));
        assert_eq!(vendor(&[0, 0, 0, 9]).vendor(), None);
        assert_eq!(Extended { extended_type: 1, ..whole }.vendor(), None);
    }
}
