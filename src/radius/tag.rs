//! Tagged attributes (RFC 2868 §3): one octet that groups the attributes of one tunnel.
//!
//! Knows nothing of tunnels.

use super::error::ValueError;

/// A tag, 1 to 31 (RFC 2868 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u8);

impl Tag {
    /// `None` outside 1 to 31.
    pub const fn new(tag: u8) -> Option<Self> {
        if matches!(tag, 1..=0x1f) { Some(Self(tag)) } else { None }
    }

    /// 1 to 31.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The octet on the wire: zero means no tag.
pub fn octet(tag: Option<Tag>) -> u8 {
    tag.map_or(0, Tag::get)
}

/// Splits a tagged string. A first octet above 31 is no tag but the string's first (RFC 2868 §3.3); a zero is an
/// unused tag.
pub fn split_string(value: &[u8]) -> (Option<Tag>, &[u8]) {
    match value.split_first() {
        Some((&first, rest)) if first <= 0x1f => (Tag::new(first), rest),
        _ => (None, value),
    }
}

/// Splits a tagged integer: one octet of tag, three of value (RFC 2868 §3.1). An octet above 31 is to be ignored.
///
/// # Errors
/// `WrongLength` when not of 4 octets.
pub fn split_integer(value: &[u8]) -> Result<(Option<Tag>, u32), ValueError> {
    let &[tag, a, b, c] = value else {
        return Err(ValueError::WrongLength {
            data_type: "tagged integer",
            expected: "4",
            octets: value.len(),
            rule: "RFC 2868 §3.1",
        });
    };
    Ok((Tag::new(tag), u32::from_be_bytes([0, a, b, c])))
}

/// The value of a tagged string. Always writes the tag octet, so that a string starting below 32 is not misread.
pub fn join_string(tag: Option<Tag>, value: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(1 + value.len());
    joined.push(octet(tag));
    joined.extend_from_slice(value);
    joined
}

/// The value of a tagged integer.
///
/// # Errors
/// `TooLong` when the value needs more than three octets.
pub fn join_integer(tag: Option<Tag>, value: u32) -> Result<[u8; 4], ValueError> {
    let [0, a, b, c] = value.to_be_bytes() else {
        return Err(ValueError::TooLong { octets: 4, limit: 3, rule: "RFC 2868 §3.1" });
    };
    Ok([octet(tag), a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2868_section_3_3_first_octet_above_31_is_text() {
        assert_eq!(split_string(b"\x01moon"), (Tag::new(1), &b"moon"[..]));
        assert_eq!(split_string(b"\x00moon"), (None, &b"moon"[..]));
        assert_eq!(split_string(b"\x1fmoon"), (Tag::new(31), &b"moon"[..]));
        assert_eq!(split_string(b" moon"), (None, &b" moon"[..]));
        assert_eq!(split_string(b""), (None, &b""[..]));
    }

    #[test]
    fn rfc2868_section_3_1_integers_have_three_octets() {
        assert_eq!(split_integer(&[2, 0, 1, 2]), Ok((Tag::new(2), 258)));
        assert_eq!(split_integer(&[0x20, 0, 0, 3]), Ok((None, 3)));
        assert_eq!(split_integer(&[0, 0, 3]).unwrap_err().reason(), "value-length");
        assert_eq!(join_integer(Tag::new(2), 258), Ok([2, 0, 1, 2]));
        assert_eq!(join_integer(None, 0x00ff_ffff), Ok([0, 255, 255, 255]));
        assert_eq!(join_integer(None, 0x0100_0000).unwrap_err().reason(), "value-too-long");
    }

    #[test]
    fn strings_split_as_they_were_joined() {
        for tag in [None, Tag::new(1), Tag::new(31)] {
            for value in [&b""[..], b"moon", b"\x01", b"\xff"] {
                assert_eq!(split_string(&join_string(tag, value)), (tag, value));
            }
        }
        assert_eq!((Tag::new(0), Tag::new(32)), (None, None));
    }
}
