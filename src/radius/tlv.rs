//! TLVs nested in an attribute (RFC 6929 §2.3), followed to a fixed depth.
//!
//! Knows no types and no names: which TLV holds others is for dictionaries to say.

use std::iter::FusedIterator;

use super::error::ValueError;

/// How deep TLVs are followed: the outermost are at depth 1. Nothing in use nests deeper than 4, and a value of 253
/// octets could nest to 126.
pub const MAX_DEPTH: usize = 8;

/// One TLV, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The TLV-Type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
    depth: usize,
}

/// TLVs side by side, checked whole.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// Reads the outermost TLVs of a value. Lengths are checked to the last octet before the first is given out.
///
/// # Errors
/// `NestedLength` when a Length is below 3 (a TLV holds at least one octet) or runs past the end.
pub fn parse(value: &[u8]) -> Result<Tlvs<'_>, ValueError> {
    at_depth(value, 1)
}

/// Appends one TLV.
///
/// # Errors
/// `TooLong` above 253 octets; nothing is appended then.
pub fn encode(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let Some(length) = value.len().checked_add(2).and_then(|length| u8::try_from(length).ok()) else {
        return Err(ValueError::TooLong { octets: value.len(), limit: 253, rule: "RFC 6929 §2.3" });
    };
    out.extend_from_slice(&[kind, length]);
    out.extend_from_slice(value);
    Ok(())
}

impl<'a> Tlv<'a> {
    /// The TLVs inside this one.
    ///
    /// # Errors
    /// As [`parse`], and `TooDeep` below [`MAX_DEPTH`].
    pub fn children(&self) -> Result<Tlvs<'a>, ValueError> {
        at_depth(self.value, self.depth + 1)
    }
}

fn at_depth(value: &[u8], depth: usize) -> Result<Tlvs<'_>, ValueError> {
    if depth > MAX_DEPTH {
        return Err(ValueError::TooDeep { limit: MAX_DEPTH });
    }
    let mut offset = 0;
    while offset < value.len() {
        let length = value.get(offset + 1).copied().map_or(0, usize::from);
        if length < 3 || offset + length > value.len() {
            return Err(ValueError::NestedLength { offset });
        }
        offset += length;
    }
    Ok(Tlvs { rest: value, depth })
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (&[kind, length], _) = self.rest.split_first_chunk()?;
        let (tlv, rest) = self.rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(Tlv { kind, value: tlv.get(2..)?, depth: self.depth })
    }
}

impl FusedIterator for Tlvs<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6929_section_2_3_lengths() {
        for bad in [&[1][..], &[1, 0], &[1, 1], &[1, 2], &[1, 4, 0], &[1, 3, 0, 2]] {
            assert_eq!(parse(bad).unwrap_err().reason(), "nested-length", "{bad:?}");
        }
        assert_eq!(parse(&[1, 3, 0, 2, 4]).unwrap_err(), ValueError::NestedLength { offset: 3 });
        assert_eq!(parse(&[]).unwrap().count(), 0);
    }

    #[test]
    fn a_bomb_is_followed_to_a_fixed_depth() {
        let mut bomb = vec![0xff];
        while bomb.len() + 2 <= 253 {
            let inner = std::mem::take(&mut bomb);
            encode(1, &inner, &mut bomb).unwrap();
        }
        let mut level = parse(&bomb).unwrap();
        for depth in 2.. {
            let tlv = level.next().expect("one in each");
            match tlv.children() {
                Ok(next) => level = next,
                Err(error) => {
                    assert_eq!((depth, error), (MAX_DEPTH + 1, ValueError::TooDeep { limit: MAX_DEPTH }));
                    break;
                }
            }
        }
    }

    #[test]
    fn encode_refuses_what_a_length_cannot_say() {
        let mut out = Vec::new();
        encode(1, &[0; 253], &mut out).unwrap();
        assert_eq!((out.len(), out[1]), (255, 255));
        assert_eq!(encode(1, &[0; 254], &mut out).unwrap_err().reason(), "value-too-long");
        assert_eq!(out.len(), 255);
    }
}
