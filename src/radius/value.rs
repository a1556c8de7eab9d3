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
    /// `integer64` (RFC 8044 §3.12).
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
    /// `vsa`, Vendor-Specific (RFC 8044 §3.14).
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

impl DataType {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Text,
        Self::Octets,
        Self::Integer,
        Self::Integer64,
        Self::Byte,
        Self::Short,
        Self::Signed,
        Self::Date,
        Self::Ipv4Addr,
        Self::Ipv6Addr,
        Self::Ipv4Prefix,
        Self::Ipv6Prefix,
        Self::ComboIp,
        Self::InterfaceId,
        Self::Ether,
        Self::Abinary,
        Self::Tlv,
        Self::Vsa,
        Self::Extended,
        Self::LongExtended,
        Self::Evs,
        Self::Struct,
    ];
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
                Self::Integer64(u64::from_be_bytes(fixed(octets, "integer64", "8", "RFC 8044 §3.12")?))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes, checks the value, and checks that it encodes to the same octets.
    fn both_ways(data_type: DataType, octets: &[u8], value: Value) {
        assert_eq!(Value::decode(data_type, octets), Ok(value.clone()), "{data_type:?}");
        let mut out = Vec::new();
        value.encode(&mut out);
        assert_eq!(out, octets, "{data_type:?}");
    }

    fn reason(data_type: DataType, octets: &[u8]) -> &'static str {
        Value::decode(data_type, octets).expect_err("does not fit").reason()
    }

    #[test]
    fn rfc8044_section_3_every_type_both_ways() {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        both_ways(DataType::Text, "grüß".as_bytes(), Value::Text("grüß".into()));
        both_ways(DataType::Octets, &[0, 255], Value::Octets(vec![0, 255]));
        both_ways(DataType::Integer, &[0, 0, 1, 2], Value::Integer(258));
        both_ways(DataType::Integer64, &[0, 0, 0, 1, 0, 0, 0, 2], Value::Integer64((1 << 32) + 2));
        both_ways(DataType::Byte, &[9], Value::Byte(9));
        both_ways(DataType::Short, &[1, 2], Value::Short(258));
        both_ways(DataType::Signed, &[255, 255, 255, 254], Value::Signed(-2));
        both_ways(DataType::Date, &[0x80, 0, 0, 0], Value::Date(1 << 31));
        both_ways(DataType::Ipv4Addr, &[192, 168, 1, 16], Value::Ipv4Addr(Ipv4Addr::new(192, 168, 1, 16)));
        both_ways(DataType::Ipv6Addr, &v6.octets(), Value::Ipv6Addr(v6));
        both_ways(DataType::ComboIp, &[10, 0, 0, 1], Value::Ipv4Addr(Ipv4Addr::new(10, 0, 0, 1)));
        both_ways(DataType::ComboIp, &v6.octets(), Value::Ipv6Addr(v6));
        both_ways(DataType::InterfaceId, &[1, 2, 3, 4, 5, 6, 7, 8], Value::InterfaceId([1, 2, 3, 4, 5, 6, 7, 8]));
        both_ways(DataType::Ether, &[1, 2, 3, 4, 5, 6], Value::Ether([1, 2, 3, 4, 5, 6]));
        for structure in [
            DataType::Abinary,
            DataType::Tlv,
            DataType::Vsa,
            DataType::Extended,
            DataType::LongExtended,
            DataType::Evs,
            DataType::Struct,
        ] {
            both_ways(structure, &[1, 0], Value::Octets(vec![1, 0]));
        }
    }

    #[test]
    fn fixed_sizes_are_kept() {
        use DataType::{
            Byte, ComboIp, Date, Ether, Integer, Integer64, InterfaceId, Ipv4Addr, Ipv6Addr, Short, Signed,
        };
        let sized = [Byte, Short, Integer, Signed, Date, Ipv4Addr, Ether, Integer64, InterfaceId, Ipv6Addr, ComboIp];
        for data_type in sized {
            assert_eq!(reason(data_type, &[]), "value-length", "{data_type:?}");
            assert_eq!(reason(data_type, &[0; 17]), "value-length", "{data_type:?}");
        }
        assert_eq!(reason(DataType::Text, &[0xff]), "value-not-utf8");
        assert_eq!(Value::decode_or_octets(Integer, &[1]), Value::Octets(vec![1]));
        assert_eq!(Value::decode_or_octets(Byte, &[1]), Value::Byte(1));
    }

    #[test]
    fn rfc8044_section_3_11_ipv4_prefix() {
        both_ways(DataType::Ipv4Prefix, &[0, 9, 10, 128, 0, 0], Value::Ipv4Prefix(Ipv4Addr::new(10, 128, 0, 0), 9));
        both_ways(DataType::Ipv4Prefix, &[0, 0, 0, 0, 0, 0], Value::Ipv4Prefix(Ipv4Addr::UNSPECIFIED, 0));
        both_ways(DataType::Ipv4Prefix, &[0, 32, 1, 2, 3, 4], Value::Ipv4Prefix(Ipv4Addr::new(1, 2, 3, 4), 32));
        assert_eq!(reason(DataType::Ipv4Prefix, &[0, 33, 1, 2, 3, 4]), "prefix-length");
        assert_eq!(reason(DataType::Ipv4Prefix, &[0, 9, 10, 64, 0, 0]), "prefix-bits");
        assert_eq!(reason(DataType::Ipv4Prefix, &[0, 8, 10]), "value-length");
    }

    #[test]
    fn rfc8044_section_3_10_ipv6_prefix() {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        both_ways(DataType::Ipv6Prefix, &[0, 8, 0x3a], Value::Ipv6Prefix(v6("3a00::"), 8));
        both_ways(DataType::Ipv6Prefix, &[0, 5, 0x38], Value::Ipv6Prefix(v6("3800::"), 5));
        both_ways(DataType::Ipv6Prefix, &[0, 0], Value::Ipv6Prefix(v6("::"), 0));
        let long = [&[0, 32][..], &v6("2001:db8::").octets()].concat();
        assert_eq!(Value::decode(DataType::Ipv6Prefix, &long), Ok(Value::Ipv6Prefix(v6("2001:db8::"), 32)));
        assert_eq!(reason(DataType::Ipv6Prefix, &[0, 129]), "prefix-length");
        assert_eq!(reason(DataType::Ipv6Prefix, &[0, 4, 0x38]), "prefix-bits");
        assert_eq!(reason(DataType::Ipv6Prefix, &[0, 9, 0x38]), "value-length");
        assert_eq!(reason(DataType::Ipv6Prefix, &[0; 19]), "value-length");
        assert_eq!(reason(DataType::Ipv6Prefix, &[0]), "value-length");
    }

    #[test]
    fn what_is_sent_is_valid_whatever_the_value_says() {
        let mut out = Vec::new();
        Value::Ipv4Prefix(Ipv4Addr::BROADCAST, 9).encode(&mut out);
        assert_eq!(out, [0, 9, 255, 128, 0, 0]);
        out.clear();
        Value::Ipv6Prefix(Ipv6Addr::from([255; 16]), 200).encode(&mut out);
        assert_eq!(out, [&[0, 128][..], &[255; 16]].concat());
    }
}
