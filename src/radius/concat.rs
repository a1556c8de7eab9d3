//! Values longer than one attribute, carried in several of one kind (RFC 8044 §3.6): EAP-Message and its like.
//!
//! Knows nothing of what the joined octets mean.

use super::attribute::MAX_VALUE;
use super::packet::Packet;

/// Cuts a value into the parts its attributes carry, at most 253 octets each. An empty value has no parts.
pub fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.chunks(MAX_VALUE)
}

impl Packet<'_> {
    /// Joins all attributes of a kind, in order; `None` when there is none.
    ///
    /// They are meant to be consecutive (RFC 3579 §3.1), and the order is all that matters for joining, so other
    /// attributes between them are passed over.
    pub fn concat(&self, kind: u8) -> Option<Vec<u8>> {
        self.has(kind).then(|| self.all(kind).flatten().copied().collect())
    }
}
