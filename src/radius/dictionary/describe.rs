//! From the octets of a packet's attributes to names and texts people can read, and `encode` can read back.
//!
//! Never shows a value whose attribute is marked as a password or key.

use std::fmt;

use crate::radius::value::DataType;

use super::Dictionary;
use super::attribute::{Attribute, AttributePath, VENDOR_SPECIFIC};
use super::encode::{MORE, take_tag};
use super::text;

/// One attribute of a packet for people, or one of several inside a Vendor-Specific or TLV. Displayed as
/// `Filter-Id = "sandbox"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The dictionary's name, with `:tag` behind it where there is one; `Attr-26.9.250` for what the dictionary does
    /// not know or what does not fit its type.
    pub name: String,
    /// The value as text; `<hidden, 18 octets>` for passwords and keys.
    pub text: String,
    /// Where it sits.
    pub path: AttributePath,
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.text)
    }
}

impl Dictionary {
    /// Names and texts of one attribute of a packet: its type and the octets of its value, without the header. A
    /// Vendor-Specific gives one entry per attribute inside it, a TLV one per leaf; an empty Vec never comes back.
    pub fn describe(&self, kind: u8, value: &[u8]) -> Vec<Described> {
        let mut out = Vec::with_capacity(1);
        let path = AttributePath::plain(kind);
        let read = match kind {
            26 => self.describe_vendor_specific(value, &mut out),
            241..=244 => match value {
                [number, rest @ ..] => self.describe_extended(path, *number, rest, &mut out),
                [] => None,
            },
            245..=246 => match value {
                // A piece of a longer value cannot be read by itself.
                [number, flags, rest @ ..] if flags & MORE == 0 => {
                    self.describe_extended(path, *number, rest, &mut out)
                }
                _ => None,
            },
            _ => {
                self.describe_value(path, value, &mut out);
                Some(())
            }
        };
        if read.is_none() {
            out.clear();
            out.push(raw(path, value));
        }
        out
    }

    /// Names and texts of all attributes of a packet, in order. Values that go on in the next attribute (`concat`,
    /// long extended attributes, WiMAX) are put together first.
    pub fn describe_all<'a>(&self, attributes: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<Described> {
        let mut out = Vec::new();
        let mut open: Option<Joined> = None;
        for (kind, value) in attributes {
            if let Some(joined) = &mut open
                && joined.take(self, kind, value)
            {
                continue;
            }
            if let Some(joined) = open.take() {
                joined.finish(self, &mut out);
            }
            open = Some(Joined { kind, value: value.to_vec(), goes_on: self.goes_on(kind, value), pieces: 1 });
        }
        if let Some(joined) = open {
            joined.finish(self, &mut out);
        }
        out
    }

    /// How an attribute says that the next one continues it.
    fn goes_on(&self, kind: u8, value: &[u8]) -> Continues {
        match (kind, value) {
            (245..=246, [_, flags, ..]) if flags & MORE != 0 => Continues::Header(2),
            (26, [a, b, c, d, _, length, flags, ..]) => {
                let vendor = u32::from_be_bytes([*a, *b, *c, *d]);
                let alone = usize::from(*length) + 4 == value.len();
                match self.format_of(vendor).continuation && alone && flags & MORE != 0 {
                    true => Continues::Header(7),
                    false => Continues::No,
                }
            }
            _ if self.by_kind(kind).is_some_and(|a| a.flags.concat) => Continues::Concat,
            _ => Continues::No,
        }
    }

    fn describe_vendor_specific(&self, value: &[u8], out: &mut Vec<Described>) -> Option<()> {
        let (vendor, rest) = value.split_first_chunk()?;
        let vendor = u32::from_be_bytes(*vendor);
        let path = AttributePath::new(&[VENDOR_SPECIFIC, vendor])?;
        if self.describe_vendor(path, vendor, rest, out).is_none() {
            out.clear();
            out.push(raw(path, rest));
        }
        Some(())
    }

    /// The attributes inside a Vendor-Specific; `None` when its octets do not follow the vendor's format.
    fn describe_vendor(
        &self,
        path: AttributePath,
        vendor: u32,
        mut rest: &[u8],
        out: &mut Vec<Described>,
    ) -> Option<()> {
        let format = self.format_of(vendor);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let header = rest.get(..format.header())?;
            let (type_octets, after) = header.split_at(usize::from(format.type_octets));
            let vendor_type = big_endian(type_octets);
            let length = match format.length_octets {
                0 => rest.len(),
                octets => big_endian(&after[..usize::from(octets)]) as usize,
            };
            let value = rest.get(format.header()..length)?;
            if format.continuation && header.last().is_some_and(|flags| flags & MORE != 0) {
                return None;
            }
            self.describe_value(path.child(vendor_type)?, value, out);
            rest = &rest[length..];
        }
        Some(())
    }

    /// RFC 6929: below a type 241 to 246, `rest` without the flags of the long form.
    fn describe_extended(&self, path: AttributePath, number: u8, rest: &[u8], out: &mut Vec<Described>) -> Option<()> {
        let mut path = path.child(number.into())?;
        let mut rest = rest;
        if u32::from(number) == VENDOR_SPECIFIC
            && let Some((&[a, b, c, d, vendor_type], value)) = rest.split_first_chunk()
        {
            path = path.child(u32::from_be_bytes([a, b, c, d]))?.child(vendor_type.into())?;
            rest = value;
        }
        self.describe_value(path, rest, out);
        Some(())
    }

    fn describe_value(&self, path: AttributePath, octets: &[u8], out: &mut Vec<Described>) {
        let Some(attribute) = self.by_path(&path) else {
            out.push(raw(path, octets));
            return;
        };
        if attribute.data_type == DataType::Tlv {
            let before = out.len();
            if self.describe_tlvs(path, octets, out).is_none() {
                out.truncate(before);
                out.push(raw(path, octets));
            }
            return;
        }
        let width = text::width(attribute.data_type).filter(|_| attribute.flags.array && !attribute.is_hidden());
        match width {
            Some(width) if octets.len() > width && octets.len().is_multiple_of(width) => {
                out.extend(octets.chunks_exact(width).map(|one| describe_one(attribute, path, one)));
            }
            _ => out.push(describe_one(attribute, path, octets)),
        }
    }

    /// The attributes inside a TLV, RFC 6929 §2.3; `None` when a length lies or there is nothing inside.
    fn describe_tlvs(&self, path: AttributePath, mut rest: &[u8], out: &mut Vec<Described>) -> Option<()> {
        if rest.is_empty() {
            return None;
        }
        while let [number, length, ..] = *rest {
            let value = rest.get(2..usize::from(length))?;
            self.describe_value(path.child(number.into())?, value, out);
            rest = &rest[usize::from(length)..];
        }
        rest.is_empty().then_some(())
    }
}

/// An attribute and what already was put behind it.
struct Joined {
    kind: u8,
    value: Vec<u8>,
    goes_on: Continues,
    pieces: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continues {
    No,
    /// The next of the same type goes on.
    Concat,
    /// The next goes on behind this many octets, which begin as ours do.
    Header(usize),
}

impl Joined {
    /// Appends the next attribute; `false` when it is not a continuation of this one.
    fn take(&mut self, dictionary: &Dictionary, kind: u8, value: &[u8]) -> bool {
        if kind != self.kind {
            return false;
        }
        match self.goes_on {
            Continues::No => return false,
            Continues::Concat => self.value.extend(value),
            Continues::Header(octets) => {
                // Vendor and type (and, in a long extended attribute, the extended type) are the same; length and
                // flags are each piece's own.
                let same = if kind == VENDOR_SPECIFIC as u8 { 5 } else { 1 };
                if value.len() < octets || value[..same] != self.value[..same] {
                    return false;
                }
                self.value.extend(&value[octets..]);
                self.goes_on = dictionary.goes_on(kind, value);
            }
        }
        self.pieces += 1;
        true
    }

    fn finish(mut self, dictionary: &Dictionary, out: &mut Vec<Described>) {
        if self.pieces > 1 && self.goes_on == Continues::No {
            // The whole is there: read it without its "more".
            match self.kind {
                26 => {
                    let path = AttributePath::vendor_specific(big_endian(&self.value[..4]), u32::from(self.value[4]));
                    dictionary.describe_value(path, &self.value[7..], out);
                    return;
                }
                _ => self.value[1] &= !MORE,
            }
        }
        out.extend(dictionary.describe(self.kind, &self.value));
    }
}

fn describe_one(attribute: &Attribute, path: AttributePath, octets: &[u8]) -> Described {
    let (tag, value) = match attribute.flags.tagged {
        true => take_tag(attribute, octets),
        false => (None, octets.into()),
    };
    let shown = match attribute.is_hidden() {
        true => Some(format!("<hidden, {} octets>", value.len())),
        false => text::of_octets(attribute, &value),
    };
    match (shown, tag) {
        (Some(text), None) => Described { name: attribute.name.to_string(), text, path },
        (Some(text), Some(tag)) => Described { name: format!("{}:{tag}", attribute.name), text, path },
        (None, _) => raw(path, octets),
    }
}

/// What the dictionary cannot read.
fn raw(path: AttributePath, octets: &[u8]) -> Described {
    Described { name: format!("Attr-{path}"), text: text::hex_text(octets), path }
}

fn big_endian(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |n, octet| n << 8 | u32::from(*octet))
}
