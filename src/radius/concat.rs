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

#[cfg(test)]
mod tests {
    use super::super::attribute::{EAP_MESSAGE, STATE};
    use super::super::{Code, PacketBuilder};
    use super::*;

    #[test]
    fn rfc3579_section_3_1_eap_message_of_several_attributes() {
        for octets in [1_usize, 253, 254, 506, 507, 1500] {
            let value: Vec<u8> = (0..octets).map(|index| index as u8).collect();
            let mut builder = PacketBuilder::request(Code::AccessRequest, 0, [0; 16]);
            builder.concat(EAP_MESSAGE, &value).unwrap().attribute(STATE, b"s").unwrap();
            let packet = builder.sign_request(b"secret").unwrap();
            let packet = Packet::parse(packet).unwrap();
            assert_eq!(packet.all(EAP_MESSAGE).count(), octets.div_ceil(253));
            assert_eq!(packet.concat(EAP_MESSAGE), Some(value));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 0, [0; 16]);
        let packet = builder.concat(EAP_MESSAGE, b"").unwrap().sign_request(b"secret").unwrap();
        assert_eq!(Packet::parse(packet).unwrap().concat(EAP_MESSAGE), None);
    }
}
