//! What a dictionary says about one attribute or one vendor. Holds no octets of any packet.

use std::fmt;
use std::str::FromStr;

use crate::radius::value::DataType;

use super::hash::Table;

/// Vendor-Specific (RFC 2865 §5.26); below an extended attribute the same number means Extended-Vendor-Specific
/// (RFC 6929 §2.4).
pub(super) const VENDOR_SPECIFIC: u32 = 26;

/// Where an attribute sits: the attribute type, then (for Vendor-Specific) the vendor's enterprise number and the
/// vendor's type, then the types of nested TLVs. `1` is User-Name, `26.9.1` Cisco-AVPair, `241.5.1` IP-Port-Type,
/// `245.26.11344.1` a vendor's attribute inside Extended-Vendor-Specific-5.
///
/// At most [`AttributePath::DEPTH`] numbers. A first number above 255 names an attribute that never travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributePath {
    parts: [u32; AttributePath::DEPTH],
    len: u8,
}

impl AttributePath {
    /// The most numbers a path holds.
    pub const DEPTH: usize = 10;

    /// A path of these numbers; `None` when there is none or more than [`Self::DEPTH`].
    pub fn new(numbers: &[u32]) -> Option<Self> {
        if numbers.is_empty() || numbers.len() > Self::DEPTH {
            return None;
        }
        let mut parts = [0; Self::DEPTH];
        parts[..numbers.len()].copy_from_slice(numbers);
        Some(Self { parts, len: numbers.len() as u8 })
    }

    /// The path of a plain attribute, RFC 2865 §5.
    pub fn plain(kind: u8) -> Self {
        let mut parts = [0; Self::DEPTH];
        parts[0] = kind.into();
        Self { parts, len: 1 }
    }

    /// The path of a vendor's attribute inside Vendor-Specific, RFC 2865 §5.26.
    pub fn vendor_specific(vendor: u32, vendor_type: u32) -> Self {
        let mut parts = [0; Self::DEPTH];
        parts[..3].copy_from_slice(&[VENDOR_SPECIFIC, vendor, vendor_type]);
        Self { parts, len: 3 }
    }

    /// All numbers, the attribute type first.
    pub fn numbers(&self) -> &[u32] {
        &self.parts[..usize::from(self.len)]
    }

    /// The attribute type on the wire; `None` for an attribute that never travels.
    pub fn kind(&self) -> Option<u8> {
        u8::try_from(self.parts[0]).ok()
    }

    /// The enterprise number of the vendor, for `26.vendor…` and `24x.26.vendor…`.
    pub fn vendor(&self) -> Option<u32> {
        match self.numbers() {
            [VENDOR_SPECIFIC, vendor, ..] => Some(*vendor),
            [241..=246, VENDOR_SPECIFIC, vendor, ..] => Some(*vendor),
            _ => None,
        }
    }

    /// One level deeper; `None` when [`Self::DEPTH`] is reached.
    pub fn child(&self, number: u32) -> Option<Self> {
        let mut deeper = *self;
        *deeper.parts.get_mut(usize::from(self.len))? = number;
        deeper.len += 1;
        Some(deeper)
    }

    /// One level up; `None` for an attribute type by itself.
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.numbers().split_last()?;
        Self::new(above)
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, number) in self.numbers().iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Dotted numbers, decimal or `0x` hexadecimal: `26.9.1`, `0x9001`.
impl FromStr for AttributePath {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = [0; Self::DEPTH];
        let mut len = 0;
        for part in text.split('.') {
            *numbers.get_mut(len).ok_or(())? = u32::try_from(number(part).ok_or(())?).map_err(|_| ())?;
            len += 1;
        }
        Self::new(&numbers[..len]).ok_or(())
    }
}

/// A decimal or `0x` hexadecimal number without sign.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

/// How the octets of an attribute are hidden on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// `encrypt=1`: as User-Password, RFC 2865 §5.2.
    UserPassword,
    /// `encrypt=2`: salted, as Tunnel-Password, RFC 2868 §3.5, and the MS-MPPE keys, RFC 2548 §2.4.2.
    TunnelPassword,
    /// `encrypt=3`: Ascend-Send-Secret.
    AscendSecret,
}

/// What the flags of an `ATTRIBUTE` line say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// Hidden on the wire (`encrypt=`).
    pub encryption: Option<Encryption>,
    /// Carries an RFC 2868 §3.1 tag (`has_tag`).
    pub tagged: bool,
    /// The attribute holds several values end to end (`array`).
    pub array: bool,
    /// A value longer than one attribute continues in the next ones (`concat`), as EAP-Message, RFC 2869 §5.13.
    pub concat: bool,
    /// Never travels (`virtual`).
    pub virtual_only: bool,
    /// Travels in clear but is not for logs (`secret`).
    pub secret: bool,
}

/// The place of a definition: an index into the dictionary's files, and a line counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) file: u32,
    pub(super) line: u32,
}

/// One `ATTRIBUTE`, with the `VALUE`s that belong to it.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// The name as the dictionary spells it.
    pub name: Box<str>,
    /// Where it sits.
    pub path: AttributePath,
    /// How its octets are read.
    pub data_type: DataType,
    /// The length the dictionary fixes, in octets (`octets[16]`).
    pub fixed_length: Option<u16>,
    /// Its flags.
    pub flags: Flags,
    pub(super) values: Values,
    pub(super) origin: Origin,
}

impl Attribute {
    /// The number a `VALUE` name stands for, whatever its case. Two's complement of 32 bits for
    /// [`DataType::Signed`].
    pub fn value_number(&self, name: &str) -> Option<u64> {
        self.values.number_of(name)
    }

    /// The `VALUE` name of a number: the last one defined.
    pub fn value_name(&self, number: u64) -> Option<&str> {
        self.values.name_of(number)
    }

    /// All `VALUE`s in the order of their definition.
    pub fn values(&self) -> impl Iterator<Item = (&str, u64)> {
        self.values.list.iter().map(|v| (&*v.name, v.number))
    }

    /// Whether it can be in a packet at all.
    pub fn travels(&self) -> bool {
        !self.flags.virtual_only && self.path.kind().is_some()
    }

    /// Whether its octets must not be shown to people.
    pub fn is_hidden(&self) -> bool {
        self.flags.encryption.is_some() || self.flags.secret
    }
}

/// The names of numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    list: Vec<NamedValue>,
    by_name: Table<Box<str>>,
    by_number: Table<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct NamedValue {
    pub(super) name: Box<str>,
    pub(super) number: u64,
    pub(super) origin: Origin,
}

impl Values {
    /// Adds a name. The same name twice with one number is harmless; with another number the earlier definition
    /// comes back as the error. Of two names for a number the later is the one printed.
    pub(super) fn add(&mut self, name: &str, number: u64, origin: Origin) -> Result<(), NamedValue> {
        if let Some(known) = self.get(name) {
            return if known.number == number { Ok(()) } else { Err(known.clone()) };
        }
        let index = self.list.len() as u32;
        self.by_name.insert(name.to_ascii_lowercase().into(), index);
        self.by_number.insert(number, index);
        self.list.push(NamedValue { name: name.into(), number, origin });
        Ok(())
    }

    /// Adds all of `other`.
    pub(super) fn add_all(&mut self, other: &Values) -> Result<(), NamedValue> {
        other.list.iter().try_for_each(|v| self.add(&v.name, v.number, v.origin))
    }

    fn get(&self, name: &str) -> Option<&NamedValue> {
        let index = super::with_lowercase(name, |lower| self.by_name.get(lower).copied())?;
        self.list.get(index as usize)
    }

    fn number_of(&self, name: &str) -> Option<u64> {
        self.get(name).map(|v| v.number)
    }

    fn name_of(&self, number: u64) -> Option<&str> {
        let index = *self.by_number.get(&number)?;
        self.list.get(index as usize).map(|v| &*v.name)
    }
}

/// The widths of the type and length fields inside a vendor's Vendor-Specific (`format=t,l[,c]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorFormat {
    /// Octets of the vendor type: 1, 2 or 4.
    pub type_octets: u8,
    /// Octets of the vendor length: 0, 1 or 2. With 0 the value fills the attribute.
    pub length_octets: u8,
    /// A continuation octet follows the length (WiMAX); its top bit says "more".
    pub continuation: bool,
}

impl VendorFormat {
    /// One octet each, as RFC 2865 §5.26 recommends.
    pub const RECOMMENDED: Self = Self { type_octets: 1, length_octets: 1, continuation: false };

    /// Octets before the value.
    pub(super) fn header(&self) -> usize {
        usize::from(self.type_octets) + usize::from(self.length_octets) + usize::from(self.continuation)
    }

    /// The largest vendor type that fits.
    pub(super) fn largest_type(&self) -> u32 {
        match self.type_octets {
            1 => 0xff,
            2 => 0xffff,
            _ => u32::MAX,
        }
    }
}

/// One `VENDOR`.
#[derive(Debug, Clone)]
pub struct Vendor {
    /// The name as the dictionary spells it.
    pub name: Box<str>,
    /// The private enterprise number (IANA).
    pub number: u32,
    /// How its attributes are framed.
    pub format: VendorFormat,
    pub(super) origin: Origin,
}
