//! One value as people write it, to octets and back. Knows no header, no tag and no other attribute.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, NaiveDateTime};

use crate::radius::value::DataType;

use super::attribute::{Attribute, number};

/// A text is not a value of its attribute's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not in the form the type has.
    #[error("\"{text}\" is not {expected}")]
    NotA {
        /// What was written.
        text: String,
        /// What the type wants, with an example.
        expected: &'static str,
    },
    /// Neither a `VALUE` name nor a number.
    #[error("\"{text}\" is neither a number of at most {most} nor one of its names{known}")]
    NotAName {
        /// What was written.
        text: String,
        /// The largest number the field holds.
        most: u64,
        /// Some of the names, for the reader.
        known: String,
    },
    /// A quotation mark without its partner, or text after it.
    #[error("a text that begins with a quotation mark must end with one")]
    Quote,
    /// A backslash before something it does not escape.
    #[error("unknown escape \\{0}; known are \\\" \\\\ \\n \\r \\t \\xNN and \\NNN in octal")]
    Escape(String),
    /// The dictionary fixes another length.
    #[error("has {got} octets, its length is {want}")]
    Length {
        /// Octets written.
        got: usize,
        /// Octets the dictionary fixes.
        want: usize,
    },
}

/// `text` between quotation marks, escaped so that [`super::Dictionary::encode`] reads back exactly these octets.
/// Wrap whatever comes from outside in this before it becomes part of a value's text.
pub fn quote(text: &str) -> String {
    quote_octets(text.as_bytes())
}

/// Characters that reach a terminal or a log file as themselves.
fn is_plain(c: char) -> bool {
    // Beside control characters: line separators, and marks that reorder what stands around them.
    !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

fn quote_octets(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len() + 2);
    out.push('"');
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_plain(c) => out.push(c),
                c => escape(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out.push('"');
    out
}

fn escape(out: &mut String, octets: &[u8]) {
    for octet in octets {
        let _ = write!(out, "\\x{octet:02x}");
    }
}

/// The octets of a text: without its quotation marks and escapes, or as it stands.
fn unquote(text: &str) -> Result<Vec<u8>, TextError> {
    let Some(rest) = text.strip_prefix('"') else {
        return Ok(text.as_bytes().to_vec());
    };
    let mut out = Vec::with_capacity(rest.len());
    let mut rest = rest.as_bytes();
    loop {
        match rest {
            [b'"'] => return Ok(out),
            [] | [b'"', ..] => return Err(TextError::Quote),
            [b'\\', after @ ..] => {
                let (octet, used) = unescape(after)?;
                out.push(octet);
                rest = &after[used..];
            }
            [octet, after @ ..] => {
                out.push(*octet);
                rest = after;
            }
        }
    }
}

/// The octet an escape stands for, and how long it is behind its backslash.
fn unescape(after: &[u8]) -> Result<(u8, usize), TextError> {
    let digits = |digits: &[u8], radix| {
        let digits = std::str::from_utf8(digits).ok()?;
        digits.chars().all(|c| c.is_digit(radix)).then(|| u8::from_str_radix(digits, radix).ok())?
    };
    let read = match after {
        [b'n', ..] => Some((b'\n', 1)),
        [b'r', ..] => Some((b'\r', 1)),
        [b't', ..] => Some((b'\t', 1)),
        [c @ (b'"' | b'\\'), ..] => Some((*c, 1)),
        [b'x', a, b, ..] => digits(&[*a, *b], 16).map(|octet| (octet, 3)),
        [a, b, c, ..] => digits(&[*a, *b, *c], 8).map(|octet| (octet, 3)),
        _ => None,
    };
    let shown = || String::from_utf8_lossy(&after[..after.len().min(3)]).into_owned();
    read.ok_or_else(|| TextError::Escape(shown()))
}

/// `0x` and pairs of hexadecimal digits.
pub(super) fn hex_octets(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?).ok()
}

/// Octets as `0x…`.
pub(super) fn hex_text(octets: &[u8]) -> String {
    let mut out = String::with_capacity(2 + octets.len() * 2);
    out.push_str("0x");
    for octet in octets {
        let _ = write!(out, "{octet:02x}");
    }
    out
}

/// The octets of a value; `most` is the largest number an integer may have here.
pub(super) fn to_octets(attribute: &Attribute, text: &str, most: u64) -> Result<Vec<u8>, TextError> {
    let not_a = |expected| TextError::NotA { text: text.to_owned(), expected };
    // Only text keeps its quotation marks' meaning; everything else may be quoted and means the same.
    let bare = match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) if !matches!(attribute.data_type, DataType::Text | DataType::Octets) => inner,
        _ => text,
    };
    let octets = match attribute.data_type {
        DataType::Text => unquote(text)?,
        DataType::Octets => match hex_octets(text) {
            Some(octets) => octets,
            None if text.starts_with("0x") || text.starts_with("0X") => {
                return Err(not_a("pairs of hexadecimal digits after 0x, such as 0x00ff"));
            }
            None => unquote(text)?,
        },
        DataType::Integer => (integer(attribute, bare, most)? as u32).to_be_bytes().to_vec(),
        DataType::Integer64 => integer(attribute, bare, u64::MAX)?.to_be_bytes().to_vec(),
        DataType::Short => (integer(attribute, bare, 0xffff)? as u16).to_be_bytes().to_vec(),
        DataType::Byte => vec![integer(attribute, bare, 0xff)? as u8],
        DataType::Signed => match bare.parse::<i32>() {
            Ok(signed) => signed.to_be_bytes().to_vec(),
            Err(_) => (integer(attribute, bare, u32::MAX.into())? as u32).to_be_bytes().to_vec(),
        },
        DataType::Date => date(bare)
            .ok_or_else(|| not_a("a time, such as 2026-01-31T12:00:00Z or seconds since 1970"))?
            .to_be_bytes()
            .to_vec(),
        DataType::Ipv4Addr => {
            bare.parse::<Ipv4Addr>().map_err(|_| not_a("an IPv4 address, such as 192.0.2.1"))?.octets().to_vec()
        }
        DataType::Ipv6Addr => {
            bare.parse::<Ipv6Addr>().map_err(|_| not_a("an IPv6 address, such as 2001:db8::1"))?.octets().to_vec()
        }
        DataType::ComboIp => match (bare.parse::<Ipv4Addr>(), bare.parse::<Ipv6Addr>()) {
            (Ok(v4), _) => v4.octets().to_vec(),
            (_, Ok(v6)) => v6.octets().to_vec(),
            _ => return Err(not_a("an IP address, such as 192.0.2.1 or 2001:db8::1")),
        },
        DataType::Ipv4Prefix => ipv4_prefix(bare).ok_or_else(|| not_a("an IPv4 prefix, such as 192.0.2.0/24"))?,
        DataType::Ipv6Prefix => ipv6_prefix(bare).ok_or_else(|| not_a("an IPv6 prefix, such as 2001:db8::/32"))?,
        DataType::InterfaceId => {
            groups(bare, &[':'], 4, 4).ok_or_else(|| not_a("an interface id, such as 200:5eff:fe00:5301"))?
        }
        DataType::Ether => {
            groups(bare, &[':', '-'], 6, 2).ok_or_else(|| not_a("an Ethernet address, such as 00:00:5e:00:53:01"))?
        }
        DataType::Abinary
        | DataType::Struct
        | DataType::Tlv
        | DataType::Vsa
        | DataType::Extended
        | DataType::LongExtended
        | DataType::Evs => hex_octets(bare).ok_or_else(|| not_a("octets in hexadecimal, such as 0x0102"))?,
    };
    match attribute.fixed_length {
        Some(want) if octets.len() != usize::from(want) => {
            Err(TextError::Length { got: octets.len(), want: want.into() })
        }
        _ => Ok(octets),
    }
}

/// A number by its name or its digits.
fn integer(attribute: &Attribute, text: &str, most: u64) -> Result<u64, TextError> {
    let found = attribute.value_number(text).or_else(|| number(text)).filter(|n| *n <= most);
    found.ok_or_else(|| {
        let mut names = attribute.values().map(|(name, _)| name);
        let mut known = names.by_ref().take(8).collect::<Vec<_>>().join(", ");
        if !known.is_empty() {
            known = format!(" ({known}{})", if names.next().is_some() { ", …" } else { "" });
        }
        TextError::NotAName { text: text.to_owned(), most, known }
    })
}

/// Seconds since 1970, from RFC 3339, from the form FreeRADIUS prints, or from digits.
fn date(text: &str) -> Option<u32> {
    let seconds = if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        time.timestamp()
    } else if let Ok(time) = NaiveDateTime::parse_from_str(text, "%b %e %Y %H:%M:%S UTC") {
        time.and_utc().timestamp()
    } else {
        return u32::try_from(number(text)?).ok();
    };
    u32::try_from(seconds).ok()
}

/// RFC 8044 §3.11: reserved, prefix length, four octets of which the host's bits are zero.
fn ipv4_prefix(text: &str) -> Option<Vec<u8>> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let length = length.parse().ok().filter(|n: &u32| *n <= 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let network = address.parse::<Ipv4Addr>().ok()?.to_bits() & mask;
    let mut out = vec![0, length as u8];
    out.extend(network.to_be_bytes());
    Some(out)
}

/// RFC 8044 §3.10: reserved, prefix length, the address with its host's bits zero. All sixteen octets are written:
/// some NASes read no shorter form.
fn ipv6_prefix(text: &str) -> Option<Vec<u8>> {
    let (address, length) = text.split_once('/').unwrap_or((text, "128"));
    let length = length.parse().ok().filter(|n: &u32| *n <= 128)?;
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let network = address.parse::<Ipv6Addr>().ok()?.to_bits() & mask;
    let mut out = vec![0, length as u8];
    out.extend(network.to_be_bytes());
    Some(out)
}

/// `count` groups of at most `digits` (two or four) hexadecimal digits.
fn groups(text: &str, separators: &[char], count: usize, digits: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(8);
    let mut seen = 0;
    for group in text.split(separators) {
        if group.is_empty() || group.len() > digits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u16::from_str_radix(group, 16).ok()?;
        let octets = value.to_be_bytes();
        out.extend(&octets[2 - digits / 2..]);
        seen += 1;
    }
    (seen == count).then_some(out)
}

/// The text of a value; `None` when the octets are not a value of the attribute's type.
pub(super) fn of_octets(attribute: &Attribute, octets: &[u8]) -> Option<String> {
    if attribute.fixed_length.is_some_and(|want| usize::from(want) != octets.len()) {
        return None;
    }
    let named = |number: u64| attribute.value_name(number).map(str::to_owned).unwrap_or_else(|| number.to_string());
    Some(match attribute.data_type {
        DataType::Text => quote_octets(octets),
        DataType::Octets | DataType::Abinary | DataType::Struct => hex_text(octets),
        DataType::Integer => named(u32::from_be_bytes(octets.try_into().ok()?).into()),
        DataType::Integer64 => named(u64::from_be_bytes(octets.try_into().ok()?)),
        DataType::Short => named(u16::from_be_bytes(octets.try_into().ok()?).into()),
        DataType::Byte => named(u8::from_be_bytes(octets.try_into().ok()?).into()),
        DataType::Signed => {
            let signed = i32::from_be_bytes(octets.try_into().ok()?);
            attribute.value_name((signed as u32).into()).map_or_else(|| signed.to_string(), str::to_owned)
        }
        DataType::Date => {
            let seconds = u32::from_be_bytes(octets.try_into().ok()?);
            DateTime::from_timestamp(seconds.into(), 0)?.format("%Y-%m-%dT%H:%M:%SZ").to_string()
        }
        DataType::Ipv4Addr => ipv4(octets)?.to_string(),
        DataType::Ipv6Addr => ipv6(octets)?.to_string(),
        DataType::ComboIp => match ipv4(octets) {
            Some(v4) => v4.to_string(),
            None => ipv6(octets)?.to_string(),
        },
        DataType::Ipv4Prefix => {
            let &[_, length, ref address @ ..] = octets else { return None };
            (length <= 32).then_some(())?;
            format!("{}/{length}", ipv4(address)?)
        }
        DataType::Ipv6Prefix => {
            // RFC 3162 §2.3: as many octets of the prefix as the sender cared to send.
            let &[_, length, ref address @ ..] = octets else { return None };
            (length <= 128 && address.len() <= 16 && address.len() * 8 >= usize::from(length)).then_some(())?;
            let mut full = [0; 16];
            full[..address.len()].copy_from_slice(address);
            format!("{}/{length}", Ipv6Addr::from(full))
        }
        DataType::InterfaceId => {
            let [a, b, c, d, e, f, g, h]: [u8; 8] = octets.try_into().ok()?;
            let pair = |x, y| u16::from_be_bytes([x, y]);
            format!("{:x}:{:x}:{:x}:{:x}", pair(a, b), pair(c, d), pair(e, f), pair(g, h))
        }
        DataType::Ether => {
            let [a, b, c, d, e, f]: [u8; 6] = octets.try_into().ok()?;
            format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
        }
        DataType::Tlv | DataType::Vsa | DataType::Extended | DataType::LongExtended | DataType::Evs => return None,
    })
}

fn ipv4(octets: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))
}

fn ipv6(octets: &[u8]) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?))
}

/// Octets of a value of this type, where every value has the same number of them.
pub(super) fn width(data_type: DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Byte => 1,
        DataType::Short => 2,
        DataType::Integer | DataType::Signed | DataType::Date | DataType::Ipv4Addr => 4,
        DataType::Integer64 | DataType::InterfaceId => 8,
        DataType::Ether | DataType::Ipv4Prefix => 6,
        DataType::Ipv6Addr => 16,
        _ => return None,
    })
}
