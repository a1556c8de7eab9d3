//! The value types of RADIUS attributes (RFC 8044), between bytes and Rust.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::ValueError;

/// How the octets of an attribute are to be read (RFC 8044 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// `text`, UTF-8 (RFC 8044 §3.4).
    Text,
    /// `string`, any octets (RFC 8044 §3.5).
    Octets,
    /// `integer`, 32 bits unsigned (RFC 8044 §3.1); `enum` (§3.2) is the same with names in the dictionary.
    Integer,
    /// `integer64` (RFC 8044 §3.14).
    Integer64,
    /// One octet, unsigned (dictionaries of vendors).
    Byte,
    /// Two octets, unsigned (dictionaries of vendors).
    Short,
    /// 32 bits, two's complement (dictionaries of vendors).
    Signed,
    /// `time`, seconds since 1970 (RFC 8044 §3.3).
    Date,
    /// `ipv4addr` (RFC 8044 §3.8).
    Ipv4Addr,
    /// `ipv6addr` (RFC 8044 §3.9).
    Ipv6Addr,
    /// `ipv4prefix` (RFC 8044 §3.11).
    Ipv4Prefix,
    /// `ipv6prefix` (RFC 8044 §3.10).
    Ipv6Prefix,
    /// An IPv4 or IPv6 address, told apart by length (FreeRADIUS `combo-ip`).
    ComboIp,
    /// `ifid` (RFC 8044 §3.7).
    InterfaceId,
    /// Six octets of an Ethernet address.
    Ether,
    /// Ascend's binary filter; kept as octets.
    Abinary,
    /// `tlv` (RFC 8044 §3.13).
    Tlv,
    /// `vsa`, Vendor-Specific (RFC 8044 §3.12).
    Vsa,
    /// `extended` (RFC 6929 §2.1).
    Extended,
    /// `long-extended` (RFC 6929 §2.2).
    LongExtended,
    /// `evs`, Extended-Vendor-Specific (RFC 6929 §2.4).
    Evs,
    /// A fixed sequence of members (FreeRADIUS `struct`); kept as octets.
    Struct,
}

/// A value read from, or to be written to, an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// [`DataType::Text`].
    Text(String),
    /// [`DataType::Octets`], [`DataType::Abinary`], [`DataType::Struct`], and whatever did not fit its type.
    Octets(Vec<u8>),
    /// [`DataType::Integer`].
    Integer(u32),
    /// [`DataType::Integer64`].
    Integer64(u64),
    /// [`DataType::Byte`].
    Byte(u8),
    /// [`DataType::Short`].
    Short(u16),
    /// [`DataType::Signed`].
    Signed(i32),
    /// [`DataType::Date`], seconds since 1970 (unsigned, good until 2106).
    Date(u32),
    /// [`DataType::Ipv4Addr`].
    Ipv4Addr(Ipv4Addr),
    /// [`DataType::Ipv6Addr`].
    Ipv6Addr(Ipv6Addr),
    /// [`DataType::Ipv4Prefix`], address and prefix length.
    Ipv4Prefix(Ipv4Addr, u8),
    /// [`DataType::Ipv6Prefix`], address and prefix length.
    Ipv6Prefix(Ipv6Addr, u8),
    /// [`DataType::InterfaceId`].
    InterfaceId([u8; 8]),
    /// [`DataType::Ether`].
    Ether([u8; 6]),
}

impl Value {
    /// Reads the octets of an attribute as a type.
    ///
    /// Types that are a structure of their own (`tlv`, `vsa`, `extended`, `long-extended`, `evs`, struct) come as
    /// [`Value::Octets`]; [`tlv`](super::tlv), [`vendor`](super::vendor) and [`extended`](super::extended) read their
    /// insides. `abinary` is octets, too.
    ///
    /// # Errors
    /// The rule of the type the octets break. RFC 8044 §2 then has the attribute kept as octets: see
    /// [`Value::decode_or_octets`].
    pub fn decode(data_type: DataType, octets: &[u8]) -> Result<Self, ValueError> {
        Ok(match data_type {
            DataType::Text => Self::Text(std::str::from_utf8(octets).map_err(|_| ValueError::NotUtf8)?.to_owned()),
            DataType::Integer => Self::Integer(u32::from_be_bytes(fixed(octets, "integer", "4", "RFC 8044 §3.1")?)),
            DataType::Integer64 => {
                Self::Integer64(u64::from_be_bytes(fixed(octets, "integer64", "8", "RFC 8044 §3.14")?))
            }
            DataType::Byte => Self::Byte(u8::from_be_bytes(fixed(octets, "byte", "1", "dictionary")?)),
            DataType::Short => Self::Short(u16::from_be_bytes(fixed(octets, "short", "2", "dictionary")?)),
            DataType::Signed => Self::Signed(i32::from_be_bytes(fixed(octets, "signed", "4", "dictionary")?)),
            DataType::Date => Self::Date(u32::from_be_bytes(fixed(octets, "time", "4", "RFC 8044 §3.3")?)),
            DataType::Ipv4Addr => Self::Ipv4Addr(ipv4(octets)?),
            DataType::Ipv6Addr => Self::Ipv6Addr(ipv6(octets)?),
            DataType::ComboIp if octets.len() == 4 => Self::Ipv4Addr(ipv4(octets)?),
            DataType::ComboIp if octets.len() == 16 => Self::Ipv6Addr(ipv6(octets)?),
            DataType::ComboIp => return Err(wrong_length(octets, "combo-ip", "4 or 16", "dictionary")),
            DataType::Ipv4Prefix => ipv4_prefix(octets)?,
            DataType::Ipv6Prefix => ipv6_prefix(octets)?,
            DataType::InterfaceId => Self::InterfaceId(fixed(octets, "ifid", "8", "RFC 8044 §3.7")?),
            DataType::Ether => Self::Ether(fixed(octets, "ether", "6", "dictionary")?),
            DataType::Octets
            | DataType::Abinary
            | DataType::Tlv
            | DataType::Vsa
            | DataType::Extended
            | DataType::LongExtended
            | DataType::Evs
            | DataType::Struct => Self::Octets(octets.to_vec()),
        })
    }

    /// Reads the octets as a type, or keeps them as they are when they do not fit it (RFC 6929 §2.8: a malformed
    /// attribute is treated as one of unknown type, not as the end of the packet).
    pub fn decode_or_octets(data_type: DataType, octets: &[u8]) -> Self {
        Self::decode(data_type, octets).unwrap_or_else(|_| Self::Octets(octets.to_vec()))
    }

    /// Appends the octets of the value. Bits beyond a prefix are written as zero and a prefix length beyond the
    /// address as the whole address, so that what is sent is always valid.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Octets(octets) => out.extend_from_slice(octets),
            Self::Integer(value) | Self::Date(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Integer64(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Byte(value) => out.push(*value),
            Self::Short(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Signed(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Ipv4Addr(address) => out.extend_from_slice(&address.octets()),
            Self::Ipv6Addr(address) => out.extend_from_slice(&address.octets()),
            Self::Ipv4Prefix(address, length) => {
                let length = (*length).min(32);
                out.extend_from_slice(&[0, length]);
                out.extend_from_slice(&(address.to_bits() & mask_v4(length)).to_be_bytes());
            }
            Self::Ipv6Prefix(address, length) => {
                let length = (*length).min(128);
                let prefix = (address.to_bits() & mask_v6(length)).to_be_bytes();
                out.extend_from_slice(&[0, length]);
                out.extend_from_slice(&prefix[..usize::from(length).div_ceil(8)]);
            }
            Self::InterfaceId(octets) => out.extend_from_slice(octets),
            Self::Ether(octets) => out.extend_from_slice(octets),
        }
    }
}

fn wrong_length(octets: &[u8], data_type: &'static str, expected: &'static str, rule: &'static str) -> ValueError {
    ValueError::WrongLength { data_type, expected, octets: octets.len(), rule }
}

fn fixed<const N: usize>(
    octets: &[u8],
    data_type: &'static str,
    expected: &'static str,
    rule: &'static str,
) -> Result<[u8; N], ValueError> {
    octets.try_into().map_err(|_| wrong_length(octets, data_type, expected, rule))
}

fn ipv4(octets: &[u8]) -> Result<Ipv4Addr, ValueError> {
    fixed::<4>(octets, "ipv4addr", "4", "RFC 8044 §3.8").map(Ipv4Addr::from)
}

fn ipv6(octets: &[u8]) -> Result<Ipv6Addr, ValueError> {
    fixed::<16>(octets, "ipv6addr", "16", "RFC 8044 §3.9").map(Ipv6Addr::from)
}

/// Reserved, Prefix-Length, four octets of address.
fn ipv4_prefix(octets: &[u8]) -> Result<Value, ValueError> {
    let [_reserved, length, a, b, c, d] = fixed(octets, "ipv4prefix", "6", "RFC 8044 §3.11")?;
    if length > 32 {
        return Err(ValueError::PrefixLength { length, limit: 32 });
    }
    let address = Ipv4Addr::new(a, b, c, d);
    if address.to_bits() & !mask_v4(length) != 0 {
        return Err(ValueError::PrefixBits { length });
    }
    Ok(Value::Ipv4Prefix(address, length))
}

/// Reserved, Prefix-Length, up to sixteen octets of address: at least those the length asks for, the rest zero.
fn ipv6_prefix(octets: &[u8]) -> Result<Value, ValueError> {
    let wrong = wrong_length(octets, "ipv6prefix", "2 to 18, enough for its Prefix-Length", "RFC 8044 §3.10");
    let (&[_reserved, length], prefix) = octets.split_first_chunk().ok_or(wrong)?;
    if length > 128 {
        return Err(ValueError::PrefixLength { length, limit: 128 });
    }
    if prefix.len() > 16 || prefix.len() < usize::from(length).div_ceil(8) {
        return Err(wrong);
    }
    let mut whole = [0; 16];
    whole[..prefix.len()].copy_from_slice(prefix);
    let address = Ipv6Addr::from(whole);
    if address.to_bits() & !mask_v6(length) != 0 {
        return Err(ValueError::PrefixBits { length });
    }
    Ok(Value::Ipv6Prefix(address, length))
}

fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}
