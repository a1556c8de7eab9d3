//! Vendor-Specific attributes (RFC 2865 §5.26): the recommended form inside, and the numbers of the vendors this
//! server speaks to by itself.
//!
//! Knows no types and no names to print: dictionaries do.

use std::iter::FusedIterator;

/// Microsoft's enterprise number.
pub const MICROSOFT: u32 = 311;
/// Cisco's enterprise number.
pub const CISCO: u32 = 9;
/// Ascend's enterprise number.
pub const ASCEND: u32 = 529;
/// Roaring Penguin's enterprise number (pppd's `RP-*`).
pub const ROARING_PENGUIN: u32 = 10055;
/// MikroTik's enterprise number.
pub const MIKROTIK: u32 = 14988;
/// WISPr's enterprise number (Wi-Fi Alliance).
pub const WISPR: u32 = 14122;

/// Microsoft's types (RFC 2548).
pub mod microsoft {
    /// MS-CHAP-Response (RFC 2548 §2.1.3).
    pub const MS_CHAP_RESPONSE: u8 = 1;
    /// MS-CHAP-Error (RFC 2548 §2.1.5).
    pub const MS_CHAP_ERROR: u8 = 2;
    /// MS-CHAP-CPW-1 (RFC 2548 §2.1.6).
    pub const MS_CHAP_CPW_1: u8 = 3;
    /// MS-CHAP-CPW-2 (RFC 2548 §2.1.7).
    pub const MS_CHAP_CPW_2: u8 = 4;
    /// MS-CHAP-LM-Enc-PW (RFC 2548 §2.1.8).
    pub const MS_CHAP_LM_ENC_PW: u8 = 5;
    /// MS-CHAP-NT-Enc-PW (RFC 2548 §2.1.9).
    pub const MS_CHAP_NT_ENC_PW: u8 = 6;
    /// MS-MPPE-Encryption-Policy (RFC 2548 §2.4.4).
    pub const MS_MPPE_ENCRYPTION_POLICY: u8 = 7;
    /// MS-MPPE-Encryption-Types (RFC 2548 §2.4.5).
    pub const MS_MPPE_ENCRYPTION_TYPES: u8 = 8;
    /// MS-CHAP-Domain (RFC 2548 §2.1.4).
    pub const MS_CHAP_DOMAIN: u8 = 10;
    /// MS-CHAP-Challenge (RFC 2548 §2.1.2).
    pub const MS_CHAP_CHALLENGE: u8 = 11;
    /// MS-CHAP-MPPE-Keys (RFC 2548 §2.4.1).
    pub const MS_CHAP_MPPE_KEYS: u8 = 12;
    /// MS-MPPE-Send-Key (RFC 2548 §2.4.2).
    pub const MS_MPPE_SEND_KEY: u8 = 16;
    /// MS-MPPE-Recv-Key (RFC 2548 §2.4.3).
    pub const MS_MPPE_RECV_KEY: u8 = 17;
    /// MS-CHAP2-Response (RFC 2548 §2.3.2).
    pub const MS_CHAP2_RESPONSE: u8 = 25;
    /// MS-CHAP2-Success (RFC 2548 §2.3.3).
    pub const MS_CHAP2_SUCCESS: u8 = 26;
    /// MS-CHAP2-CPW (RFC 2548 §2.3.4).
    pub const MS_CHAP2_CPW: u8 = 27;
    /// MS-Primary-DNS-Server (RFC 2548 §2.7.6).
    pub const MS_PRIMARY_DNS_SERVER: u8 = 28;
    /// MS-Secondary-DNS-Server (RFC 2548 §2.7.7).
    pub const MS_SECONDARY_DNS_SERVER: u8 = 29;
    /// MS-Primary-NBNS-Server (RFC 2548 §2.7.8).
    pub const MS_PRIMARY_NBNS_SERVER: u8 = 30;
    /// MS-Secondary-NBNS-Server (RFC 2548 §2.7.9).
    pub const MS_SECONDARY_NBNS_SERVER: u8 = 31;
}

/// One sub-attribute of a Vendor-Specific attribute, borrowed from its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorAttribute<'a> {
    /// The vendor's enterprise number.
    pub vendor: u32,
    /// The vendor's own type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
}

/// The sub-attributes of one Vendor-Specific value, when its inside keeps to the recommended form to the last octet;
/// otherwise nothing, for a form we do not know is opaque and half of it would be a guess.
pub fn sub_attributes(vendor_specific: &[u8]) -> SubAttributes<'_> {
    let opaque = SubAttributes { vendor: 0, rest: &[] };
    let Some((vendor, rest)) = vendor_specific.split_first_chunk() else { return opaque };
    let whole = SubAttributes { vendor: u32::from_be_bytes(*vendor), rest };
    let mut walk = whole.clone();
    while walk.next().is_some() {}
    if walk.rest.is_empty() { whole } else { opaque }
}

/// See [`sub_attributes`].
#[derive(Debug, Clone)]
pub struct SubAttributes<'a> {
    vendor: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for SubAttributes<'a> {
    type Item = VendorAttribute<'a>;

    fn next(&mut self) -> Option<VendorAttribute<'a>> {
        let (&[kind, length], _) = self.rest.split_first_chunk()?;
        let (attribute, rest) = self.rest.split_at_checked(usize::from(length))?;
        let value = attribute.get(2..)?;
        self.rest = rest;
        Some(VendorAttribute { vendor: self.vendor, kind, value })
    }
}

impl FusedIterator for SubAttributes<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(octets: &[u8]) -> Vec<u8> {
        sub_attributes(octets).map(|inner| inner.kind).collect()
    }

    #[test]
    fn rfc2865_section_5_26_several_in_one() {
        let octets = [0, 0, 1, 0x37, 7, 6, 0, 0, 0, 2, 8, 6, 0, 0, 0, 4, 9, 2];
        let found: Vec<_> = sub_attributes(&octets).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], VendorAttribute { vendor: MICROSOFT, kind: 8, value: &[0, 0, 0, 4] });
        assert!(found[2].value.is_empty());
    }

    #[test]
    fn an_inside_that_does_not_add_up_is_opaque_from_its_first_octet() {
        let good = [0, 0, 1, 0x37, 7, 3, 1];
        assert_eq!(kinds(&good), [7]);
        for bad in [&[8][..], &[8, 0], &[8, 1], &[8, 4, 0], &[8, 255]] {
            assert!(kinds(&[&good[..], bad].concat()).is_empty(), "{bad:?}");
        }
        assert!(kinds(&[0, 0, 1]).is_empty());
        assert!(kinds(&[0, 0, 1, 0x37]).is_empty());
    }
}
