//! What a peer's certificate shows (RFC 6614 §2.3). Believes nothing: whether it may be believed is settled in the handshake.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;

use crate::model::{CertificateId, Timestamp};

/// What is read from a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The dNSNames and iPAddresses of its subjectAltName, then its fingerprint.
    pub ids: Vec<CertificateId>,
    /// Its subject, for people. Nobody is known by it.
    pub subject: String,
    /// Not valid before.
    pub from: Timestamp,
    /// Not valid after.
    pub until: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER; `None` when it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
        let mut ids: Vec<_> = names.filter_map(id).collect();
        ids.push(fingerprint(der));
        Some(Self {
            ids,
            subject: certificate.subject().to_string(),
            from: Timestamp::from_secs(certificate.validity().not_before.timestamp()),
            until: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
        })
    }

    /// What it shows, for people.
    pub fn shown(&self) -> String {
        self.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Whether it is valid at that time.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.from <= now && now <= self.until
    }
}

/// The SHA-256 fingerprint of a certificate in DER.
pub(super) fn fingerprint(der: &[u8]) -> CertificateId {
    CertificateId::Sha256(Sha256::digest(der).into())
}

fn id(name: &GeneralName<'_>) -> Option<CertificateId> {
    match name {
        GeneralName::DNSName(name) => format!("dns:{name}").parse().ok(),
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)).ok()?;
            Some(CertificateId::Ip(address.to_canonical()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_names_and_its_fingerprint() {
        let names = ["NAS1.example.org", "192.0.2.1", "2001:db8::1", "*.example.org"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let read = Certificate::read(made.cert.der()).unwrap();
        let shown = ["dns:nas1.example.org", "ip:192.0.2.1", "ip:2001:db8::1"];
        assert_eq!(read.ids[..3].iter().map(ToString::to_string).collect::<Vec<_>>(), shown);
        assert_eq!(read.ids[3..], [fingerprint(made.cert.der())], "a wildcard names nobody");
        assert!(read.from < read.until && !read.is_in_time(Timestamp::from_secs(0)));
        assert_eq!(Certificate::read(b"no certificate"), None);
    }
}
