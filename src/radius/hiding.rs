//! Values hidden with the shared secret: User-Password (RFC 2865 §5.2), Tunnel-Password (RFC 2868 §3.5), the MPPE keys
//! (RFC 2548 §2.4.2, §2.4.3) and Ascend's secret.
//!
//! Draws no salt: it arrives as an argument. None of this is encryption by today's measure; it keeps a value from
//! whoever does not know the secret and does not try hard.

use md5::{Digest, Md5};
use zeroize::Zeroize;

use super::attribute::MAX_VALUE;
use super::error::HidingError;
use super::short::Short;
use super::tag::{self, Tag};

/// The longest User-Password, octets (RFC 2865 §5.2).
pub const MAX_USER_PASSWORD: usize = 128;

/// The longest Tunnel-Password, octets: 253 less tag and salt, in blocks of 16, less the length octet.
pub const MAX_TUNNEL_PASSWORD: usize = 239;

/// The longest MPPE key, octets: 247 less the salt, in blocks of 16, less the length octet.
pub const MAX_MPPE_KEY: usize = 239;

/// The longest value of Ascend's `encrypt=3`, octets.
pub const MAX_ASCEND_SECRET: usize = 16;

const BLOCK: usize = 16;

const USER_PASSWORD_RULE: &str = "RFC 2865 §5.2";
const SALT_RULE: &str = "RFC 2868 §3.5, RFC 2548 §2.4.2";
const ASCEND_RULE: &str = "Ascend-Send-Secret";

/// The two octets that make one hidden value unlike the next in the same packet. The leftmost bit is always set
/// (RFC 2868 §3.5); uniqueness within the packet is for the caller to see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 2]);

impl Salt {
    /// Takes any two octets and sets the leftmost bit.
    pub const fn new([first, second]: [u8; 2]) -> Self {
        Self([first | 0x80, second])
    }

    /// The octets on the wire.
    pub const fn octets(self) -> [u8; 2] {
        self.0
    }
}

/// Hides a User-Password (RFC 2865 §5.2). `authenticator` is the packet's Request Authenticator.
///
/// # Errors
/// `PlainTooLong` above 128 octets.
#[inline]
pub fn hide_user_password(password: &[u8], secret: &[u8], authenticator: &[u8; 16]) -> Result<Short, HidingError> {
    if password.len() > MAX_USER_PASSWORD {
        let (octets, limit) = (password.len(), MAX_USER_PASSWORD);
        return Err(HidingError::PlainTooLong { octets, limit, rule: USER_PASSWORD_RULE });
    }
    // An empty password still fills one block: the attribute carries 16 to 128 octets.
    let mut octets = Short::of(password);
    octets.resize(password.len().next_multiple_of(BLOCK).max(BLOCK));
    hide_blocks(&mut octets, secret, &[authenticator]);
    Ok(octets)
}

/// Reveals a User-Password (RFC 2865 §5.2); the padding, all NULs at the end, is taken off. With the wrong secret the
/// result is noise, not an error.
///
/// # Errors
/// `HiddenLength` when not of 16 to 128 octets in blocks of 16.
#[inline]
pub fn reveal_user_password(hidden: &[u8], secret: &[u8], authenticator: &[u8; 16]) -> Result<Short, HidingError> {
    if hidden.is_empty() || hidden.len() > MAX_USER_PASSWORD || !hidden.len().is_multiple_of(BLOCK) {
        return Err(HidingError::HiddenLength { octets: hidden.len(), rule: USER_PASSWORD_RULE });
    }
    let mut plain = Short::of(hidden);
    reveal_blocks(&mut plain, secret, &[authenticator]);
    let end = plain.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    plain.resize(end);
    Ok(plain)
}

/// Hides a Tunnel-Password and gives the whole value: tag, salt, hidden octets (RFC 2868 §3.5). `authenticator` is the
/// Request Authenticator of the packet answered.
///
/// # Errors
/// `PlainTooLong` above 239 octets.
pub fn hide_tunnel_password(
    tag: Option<Tag>,
    password: &[u8],
    secret: &[u8],
    authenticator: &[u8; 16],
    salt: Salt,
) -> Result<Short, HidingError> {
    let mut value = Short::of(&[tag::octet(tag)]);
    salted(&mut value, password, secret, authenticator, salt)?;
    Ok(value)
}

/// Reveals a Tunnel-Password from the whole value: tag, salt, hidden octets (RFC 2868 §3.5).
///
/// # Errors
/// `HiddenLength`, or `RevealedLength` when the secret differs (most times; the rest is noise).
pub fn reveal_tunnel_password(
    value: &[u8],
    secret: &[u8],
    authenticator: &[u8; 16],
) -> Result<(Option<Tag>, Short), HidingError> {
    // The tag octet is always there; above 31 it is to be ignored (RFC 2868 §3.5), not read as part of the salt.
    let (&tag, rest) = value.split_first().ok_or(HidingError::HiddenLength { octets: value.len(), rule: SALT_RULE })?;
    Ok((Tag::new(tag), unsalted(rest, secret, authenticator)?))
}

/// Hides the key of an MS-MPPE-Send-Key or MS-MPPE-Recv-Key and gives the whole value: salt, hidden octets
/// (RFC 2548 §2.4.2, §2.4.3). `authenticator` is the Request Authenticator of the packet answered. The salts of one
/// packet must differ.
///
/// # Errors
/// `PlainTooLong` above 239 octets.
pub fn hide_mppe_key(key: &[u8], secret: &[u8], authenticator: &[u8; 16], salt: Salt) -> Result<Short, HidingError> {
    let mut value = Short::of(&[]);
    salted(&mut value, key, secret, authenticator, salt)?;
    Ok(value)
}

/// Reveals the key of an MS-MPPE-Send-Key or MS-MPPE-Recv-Key (RFC 2548 §2.4.2, §2.4.3).
///
/// # Errors
/// `HiddenLength`, or `RevealedLength` when the secret differs (most times; the rest is noise).
pub fn reveal_mppe_key(value: &[u8], secret: &[u8], authenticator: &[u8; 16]) -> Result<Short, HidingError> {
    unsalted(value, secret, authenticator)
}

/// Hides or reveals Ascend's secret (`encrypt=3` in dictionaries): one block, XORed with MD5 of the Request
/// Authenticator and the secret. The operation is its own inverse; shorter values are filled with NULs.
///
/// # Errors
/// `PlainTooLong` above 16 octets.
pub fn ascend_secret(value: &[u8], secret: &[u8], authenticator: &[u8; 16]) -> Result<[u8; 16], HidingError> {
    if value.len() > MAX_ASCEND_SECRET {
        let (octets, limit) = (value.len(), MAX_ASCEND_SECRET);
        return Err(HidingError::PlainTooLong { octets, limit, rule: ASCEND_RULE });
    }
    let mut block: [u8; BLOCK] = Md5::new().chain_update(authenticator).chain_update(secret).finalize().into();
    block.iter_mut().zip(value).for_each(|(octet, value)| *octet ^= value);
    Ok(block)
}

/// Appends salt and hidden octets. The plain octets are their number, themselves, and zeroes to a whole block.
fn salted(
    out: &mut Short,
    plain: &[u8],
    secret: &[u8],
    authenticator: &[u8; 16],
    salt: Salt,
) -> Result<(), HidingError> {
    let limit = MAX_TUNNEL_PASSWORD;
    let length = u8::try_from(plain.len()).ok().filter(|&length| usize::from(length) <= limit);
    let length = length.ok_or(HidingError::PlainTooLong { octets: plain.len(), limit, rule: SALT_RULE })?;
    out.extend(&salt.octets());
    let start = out.len();
    out.extend(&[length]);
    out.extend(plain);
    out.resize(start + (1 + plain.len()).next_multiple_of(BLOCK));
    hide_blocks(&mut out[start..], secret, &[authenticator, &salt.octets()]);
    Ok(())
}

fn unsalted(value: &[u8], secret: &[u8], authenticator: &[u8; 16]) -> Result<Short, HidingError> {
    let wrong = HidingError::HiddenLength { octets: value.len(), rule: SALT_RULE };
    // The leftmost bit of the salt is the sender's to set; a sender that forgot it is understood all the same.
    let (salt, hidden) = value.split_first_chunk::<2>().ok_or(wrong)?;
    if hidden.is_empty() || hidden.len() > MAX_VALUE || !hidden.len().is_multiple_of(BLOCK) {
        return Err(wrong);
    }
    let mut plain = Short::of(hidden);
    reveal_blocks(&mut plain, secret, &[authenticator, salt]);
    let (length, octets) = (plain[0], plain.len() - 1);
    if usize::from(length) > octets {
        return Err(HidingError::RevealedLength { length, octets, rule: SALT_RULE });
    }
    plain.copy_within(1.., 0);
    plain.resize(usize::from(length));
    Ok(plain)
}

/// `c(i) = p(i) xor MD5(secret + c(i-1))`, with `first` in the place of `c(0)`.
fn hide_blocks(octets: &mut [u8], secret: &[u8], first: &[&[u8]]) {
    let mut pad = pad(secret, first);
    let mut blocks = octets.chunks_mut(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        block.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
        if blocks.peek().is_some() {
            pad = self::pad(secret, &[block]);
        }
    }
    pad.zeroize();
}

/// The inverse of [`hide_blocks`]: the pad comes from the hidden block, so it is taken before that is revealed.
fn reveal_blocks(octets: &mut [u8], secret: &[u8], first: &[&[u8]]) {
    let mut pad = pad(secret, first);
    let mut blocks = octets.chunks_mut(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let mut next = if blocks.peek().is_some() { self::pad(secret, &[block]) } else { pad };
        block.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
        std::mem::swap(&mut pad, &mut next);
        next.zeroize();
    }
    pad.zeroize();
}

fn pad(secret: &[u8], parts: &[&[u8]]) -> [u8; BLOCK] {
    let mut digest = Md5::new().chain_update(secret);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"xyzzy5461";
    const AUTHENTICATOR: [u8; 16] = *b"0123456789abcdef";
    const SALT: Salt = Salt::new([0x01, 0x02]);

    #[test]
    fn rfc2865_section_5_2_lengths() {
        for (plain, hidden) in [(0, 16), (1, 16), (16, 16), (17, 32), (128, 128)] {
            let password = vec![b'x'; plain];
            let octets = hide_user_password(&password, SECRET, &AUTHENTICATOR).unwrap();
            assert_eq!(octets.len(), hidden);
            assert_eq!(*reveal_user_password(&octets, SECRET, &AUTHENTICATOR).unwrap(), password);
        }
        let too_long = hide_user_password(&[b'x'; 129], SECRET, &AUTHENTICATOR).unwrap_err();
        assert_eq!((too_long.reason(), too_long.fault()), ("hiding-plain-too-long", super::super::Fault::Ours));
        for octets in [0, 15, 17, 144] {
            let error = reveal_user_password(&vec![0; octets], SECRET, &AUTHENTICATOR).unwrap_err();
            assert_eq!(error.reason(), "hiding-length");
        }
    }

    #[test]
    fn rfc2868_section_3_5_leftmost_bit_of_the_salt_is_set() {
        assert_eq!(Salt::new([0x01, 0x02]).octets(), [0x81, 0x02]);
        assert_eq!(Salt::new([0xff, 0x00]).octets(), [0xff, 0x00]);
    }

    #[test]
    fn rfc2868_section_3_5_tag_and_lengths() {
        for (plain, value) in [(0, 19), (15, 19), (16, 35), (239, 243)] {
            let password = vec![b'x'; plain];
            let octets = hide_tunnel_password(Tag::new(3), &password, SECRET, &AUTHENTICATOR, SALT).unwrap();
            assert_eq!((octets.len(), &octets[..3]), (value, &[3, 0x81, 0x02][..]));
            let (tag, revealed) = reveal_tunnel_password(&octets, SECRET, &AUTHENTICATOR).unwrap();
            assert_eq!((tag, &*revealed), (Tag::new(3), &password[..]));
        }
        let too_long = hide_tunnel_password(None, &[0; 240], SECRET, &AUTHENTICATOR, SALT).unwrap_err();
        assert_eq!(too_long.reason(), "hiding-plain-too-long");
        for octets in [0, 1, 3, 18, 20] {
            let error = reveal_tunnel_password(&vec![0; octets], SECRET, &AUTHENTICATOR).unwrap_err();
            assert_eq!(error.reason(), "hiding-length", "{octets}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_told_from_a_value() {
        let octets = hide_mppe_key(&[7; 16], SECRET, &AUTHENTICATOR, SALT).unwrap();
        assert_eq!(*reveal_mppe_key(&octets, SECRET, &AUTHENTICATOR).unwrap(), [7; 16]);
        // The length octet is the first hidden one: flipping its top bit makes 144 of 16.
        let mut lie = octets;
        lie[2] ^= 0x80;
        let error = reveal_mppe_key(&lie, SECRET, &AUTHENTICATOR).unwrap_err();
        assert_eq!((error.reason(), error.fault()), ("hiding-revealed-length", super::super::Fault::Unproven));
    }

    #[test]
    fn salt_makes_equal_keys_unlike() {
        let first = hide_mppe_key(&[7; 16], SECRET, &AUTHENTICATOR, SALT).unwrap();
        let second = hide_mppe_key(&[7; 16], SECRET, &AUTHENTICATOR, Salt::new([0x01, 0x03])).unwrap();
        assert_ne!(first[2..], second[2..]);
    }

    #[test]
    fn ascend_secret_is_its_own_inverse() {
        let hidden = ascend_secret(b"sixteen octets!!", SECRET, &AUTHENTICATOR).unwrap();
        assert_ne!(&hidden, b"sixteen octets!!");
        assert_eq!(&ascend_secret(&hidden, SECRET, &AUTHENTICATOR).unwrap(), b"sixteen octets!!");
        let short = ascend_secret(b"abc", SECRET, &AUTHENTICATOR).unwrap();
        assert_eq!(&ascend_secret(&short, SECRET, &AUTHENTICATOR).unwrap()[..4], b"abc\0");
        assert_eq!(ascend_secret(&[0; 17], SECRET, &AUTHENTICATOR).unwrap_err().reason(), "hiding-plain-too-long");
    }
}
