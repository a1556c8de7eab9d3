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

/// Flags and octets of the fragments a value is sent in; an empty value still takes one.
pub(super) fn fragments(value: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let last = value.len().saturating_sub(1) / MAX_FRAGMENT;
    (0..=last).map(move |index| {
        let part = &value[index * MAX_FRAGMENT..value.len().min((index + 1) * MAX_FRAGMENT)];
        (if index < last { MORE } else { 0 }, part)
    })
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

fn short(kind: u8, value: &[u8]) -> Result<Extended<'_>, ValueError> {
    let (&extended_type, value) = value.split_first().ok_or(ValueError::ExtendedTruncated { octets: value.len() })?;
    Ok(Extended { kind, extended_type, value: Cow::Borrowed(value) })
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

/// Extended-Type, whether more follows, and the octets.
fn fragment(value: &[u8]) -> Result<(u8, bool, &[u8]), ValueError> {
    let (&[extended_type, flags], part) =
        value.split_first_chunk().ok_or(ValueError::ExtendedTruncated { octets: value.len() })?;
    Ok((extended_type, flags & MORE != 0, part))
}
