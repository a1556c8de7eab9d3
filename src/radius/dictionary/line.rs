//! The small words of a dictionary line: types, flags and formats. Knows no file and no other line.

use crate::radius::value::DataType;

use super::attribute::{Encryption, Flags, VendorFormat, number};
use super::error::Problem;

/// A type word, with the length it fixes. Both generations of FreeRADIUS' names, whatever their case.
pub(super) fn data_type(word: &str) -> Result<(DataType, Option<u16>), Problem> {
    let unknown = || Problem::Type(word.to_owned());
    let (name, length) = match word.split_once('[') {
        None => (word, None),
        Some((name, rest)) => {
            let length: u16 = rest.strip_suffix(']').and_then(|n| n.parse().ok()).ok_or_else(unknown)?;
            (name, Some(length))
        }
    };
    let kind = match name.to_ascii_lowercase().as_str() {
        "string" | "text" => DataType::Text,
        "octets" => DataType::Octets,
        _ if length.is_some() => return Err(unknown()),
        "integer" | "uint32" | "time_delta" => DataType::Integer,
        "integer64" | "uint64" | "size" => DataType::Integer64,
        "byte" | "uint8" | "bool" => DataType::Byte,
        "short" | "uint16" => DataType::Short,
        "signed" | "int32" => DataType::Signed,
        "date" | "time" => DataType::Date,
        "ipaddr" | "ipv4addr" => DataType::Ipv4Addr,
        "ipv6addr" => DataType::Ipv6Addr,
        "ipv4prefix" => DataType::Ipv4Prefix,
        "ipv6prefix" => DataType::Ipv6Prefix,
        "combo-ip" | "comboip" => DataType::ComboIp,
        "ifid" => DataType::InterfaceId,
        "ether" | "ethernet" => DataType::Ether,
        "abinary" => DataType::Abinary,
        "tlv" => DataType::Tlv,
        "vsa" => DataType::Vsa,
        "extended" => DataType::Extended,
        "long-extended" => DataType::LongExtended,
        "evs" => DataType::Evs,
        "struct" => DataType::Struct,
        // Words of the newer format for which there is no reading of ours: their octets stay octets.
        "int8" => return Ok((DataType::Octets, Some(1))),
        "int16" => return Ok((DataType::Octets, Some(2))),
        "float32" => return Ok((DataType::Octets, Some(4))),
        "int64" | "float64" => return Ok((DataType::Octets, Some(8))),
        "group" | "union" | "combo-ipaddr" | "combo-prefix" | "combo-ip-prefix" => DataType::Octets,
        _ => return Err(unknown()),
    };
    Ok((kind, length))
}

/// What the flag words of an `ATTRIBUTE` said beyond [`Flags`].
#[derive(Debug, Default)]
pub(super) struct FlagWords<'a> {
    pub(super) flags: Flags,
    /// `long` or `extended` on an `octets` attribute of the newer format: the container it really is.
    pub(super) container: Option<DataType>,
    /// `enum=name`: the `ENUM` whose names it uses.
    pub(super) names_of: Option<&'a str>,
    /// A word that is no flag: in files of old it is the name of a vendor.
    pub(super) other: Option<&'a str>,
}

/// Reads flag words, separated by commas or blanks.
pub(super) fn flags<'a>(words: &[&'a str]) -> Result<FlagWords<'a>, Problem> {
    let mut read = FlagWords::default();
    let all = words.iter().flat_map(|w| w.split(',')).filter(|w| !w.is_empty());
    for word in all {
        let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
        match (key, value) {
            ("encrypt", Some("1" | "User-Password")) => read.flags.encryption = Some(Encryption::UserPassword),
            ("encrypt", Some("2" | "Tunnel-Password")) => read.flags.encryption = Some(Encryption::TunnelPassword),
            ("encrypt", Some("3" | "Ascend-Secret")) => read.flags.encryption = Some(Encryption::AscendSecret),
            ("encrypt", Some("0")) => {}
            ("has_tag", None) => read.flags.tagged = true,
            ("array", None) => read.flags.array = true,
            ("concat", None) => read.flags.concat = true,
            ("virtual" | "internal", None) => read.flags.virtual_only = true,
            ("secret", None) => read.flags.secret = true,
            ("long", None) => read.container = Some(DataType::LongExtended),
            ("extended", None) if read.container.is_none() => read.container = Some(DataType::Extended),
            ("extended", None) => {}
            ("enum", Some(name)) => read.names_of = Some(name),
            // Words of the newer format about things we keep as octets or do not need.
            ("clone" | "ref" | "key" | "length" | "offset" | "subtype" | "precision", Some(_)) => {}
            ("abinary" | "counter" | "unsafe" | "short" | "bgp_prefix" | "no_fail", None) => {}
            ("seconds" | "milliseconds" | "microseconds" | "nanoseconds", None) => {}
            (_, None) if read.other.is_none() => read.other = Some(word),
            _ => return Err(Problem::Flag(word.to_owned())),
        }
    }
    if read.flags.encryption.is_some() && read.flags.concat {
        return Err(Problem::FlagClash("encrypt and concat exclude each other"));
    }
    if read.flags.tagged && (read.flags.concat || read.flags.array) {
        return Err(Problem::FlagClash("has_tag excludes concat and array"));
    }
    Ok(read)
}

/// The word `format=t,l[,c]`.
pub(super) fn vendor_format(word: &str) -> Result<VendorFormat, Problem> {
    let wrong = || Problem::Format(word.to_owned());
    let mut parts = word.strip_prefix("format=").ok_or_else(wrong)?.split(',');
    let type_octets = match parts.next() {
        Some("1") => 1,
        Some("2") => 2,
        Some("4") => 4,
        _ => return Err(wrong()),
    };
    let length_octets = match parts.next() {
        Some("0") => 0,
        Some("1") => 1,
        Some("2") => 2,
        _ => return Err(wrong()),
    };
    let continuation = match parts.next() {
        None => false,
        // The octet that says "more" stands behind a length of one octet (WiMAX forum); nothing else is in use.
        Some("c") if (type_octets, length_octets) == (1, 1) => true,
        Some(_) => return Err(wrong()),
    };
    match parts.next() {
        None => Ok(VendorFormat { type_octets, length_octets, continuation }),
        Some(_) => Err(wrong()),
    }
}

/// The number of a `VALUE` for this type: decimal, hexadecimal, or negative for a signed type.
pub(super) fn value_number(word: &str, data_type: DataType) -> Result<u64, Problem> {
    let most = match data_type {
        DataType::Byte => 0xff,
        DataType::Short => 0xffff,
        DataType::Integer64 => u64::MAX,
        _ => u32::MAX.into(),
    };
    if data_type == DataType::Signed
        && let Ok(signed) = word.parse::<i32>()
    {
        return Ok((signed as u32).into());
    }
    number(word).filter(|n| *n <= most).ok_or_else(|| Problem::Number(word.to_owned(), format!(" of at most {most}")))
}
