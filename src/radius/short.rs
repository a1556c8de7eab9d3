//! The value of one attribute, without the heap: what is hidden or revealed at every login. Knows no attribute.

use std::ops::{Deref, DerefMut};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

use super::attribute::MAX_VALUE;

/// Up to 253 octets. May be secret: prints nothing, and is wiped when dropped, though not where it was moved from.
#[derive(Clone)]
pub struct Short {
    octets: [u8; MAX_VALUE],
    length: usize,
}

impl Short {
    /// These octets, of which there are no more than there is room for.
    #[inline]
    pub(super) fn of(octets: &[u8]) -> Self {
        let mut short = Self { octets: [0; MAX_VALUE], length: octets.len() };
        short.octets[..octets.len()].copy_from_slice(octets);
        short
    }

    /// Adds these, for which there is room.
    #[inline]
    pub(super) fn extend(&mut self, octets: &[u8]) {
        let end = self.length + octets.len();
        self.octets[self.length..end].copy_from_slice(octets);
        self.length = end;
    }

    /// Keeps the first so many, or adds zeroes up to so many.
    ///
    /// # Panics
    /// Beyond 253.
    #[inline]
    pub fn resize(&mut self, length: usize) {
        assert!(length <= MAX_VALUE);
        self.octets[length.min(self.length)..].zeroize();
        self.length = length;
    }
}

impl Deref for Short {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

impl DerefMut for Short {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.octets[..self.length]
    }
}

impl Drop for Short {
    #[inline]
    fn drop(&mut self) {
        self.octets[..self.length].zeroize();
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Short {
    fn eq(&self, other: &T) -> bool {
        bool::from(self.ct_eq(other.as_ref()))
    }
}

impl AsRef<[u8]> for Short {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Short({} octets)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_shrinks_and_shows_nothing() {
        let mut short = Short::of(b"abc");
        short.extend(b"de");
        assert_eq!(short, b"abcde");
        short.resize(2);
        short.resize(4);
        assert_eq!(short, b"ab\0\0", "what was cut off is gone");
        assert_eq!(format!("{short:?}"), "Short(4 octets)");
        short.resize(MAX_VALUE);
        assert_eq!(short.len(), MAX_VALUE);
    }
}
