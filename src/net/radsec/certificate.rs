//! What a peer's certificate shows (RFC 6614 §2.3). Believes nothing: whether it may be believed is settled in the handshake.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::server::danger::ClientCertVerified;
use x509_parser::extensions::GeneralName;

use crate::model::{CertificateId, Timestamp};

/// What is read from a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What its holder was proven to be, and nothing else: names that nobody vouches for are somebody else's as likely as not.
    ids: Vec<CertificateId>,
    fingerprint: [u8; 32],
    /// What stands in its subjectAltName, until somebody vouches for it.
    claims: Vec<CertificateId>,
    /// Its subject, for people. Nobody is known by it.
    pub subject: String,
    /// Not valid before.
    pub from: Timestamp,
    /// Not valid after.
    pub until: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER; `None` when it is none. Whoever holds its key is known by its fingerprint alone.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.into_iter().flat_map(|extension| &extension.value.general_names);
        let fingerprint = fingerprint(der);
        Some(Self {
            ids: vec![CertificateId::Sha256(fingerprint)],
            fingerprint,
            claims: names.filter_map(id).collect(),
            subject: certificate.subject().to_string(),
            from: Timestamp::from_secs(certificate.validity().not_before.timestamp()),
            until: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
        })
    }

    /// The same when a root of ours vouches for it, which only whoever has asked the roots can say: known by its names too.
    pub(super) fn vouched_for(mut self, _proof: &ClientCertVerified) -> Self {
        self.ids.splice(..0, self.claims.drain(..));
        self
    }

    /// The same without asking anybody.
    #[cfg(test)]
    pub fn vouched_for_in_test(self) -> Self {
        self.vouched_for(&ClientCertVerified::assertion())
    }

    /// What its holder was proven to be: dNSNames and iPAddresses of its subjectAltName where a root of ours vouches for them, then
    /// its fingerprint.
    pub fn ids(&self) -> &[CertificateId] {
        &self.ids
    }

    /// The SHA-256 fingerprint of it in DER.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Whether its holder was proven to be one of these.
    pub fn is_one_of(&self, ids: &[CertificateId]) -> bool {
        ids.iter().any(|id| self.ids.contains(id))
    }

    /// What it shows that was proven, for people.
    pub fn shown(&self) -> String {
        self.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Whether it is valid at that time.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.from <= now && now <= self.until
    }
}

/// The SHA-256 fingerprint of a certificate in DER.
pub(super) fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

fn id(name: &GeneralName<'_>) -> Option<CertificateId> {
    match name {
        GeneralName::DNSName(name) => format!("dns:{name}").parse().ok(),
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)).ok()?;
            // An IPv4 address in 16 octets is none (RFC 5280 §4.2.1.6): what a CA may say of IPv4 was not asked for it.
            (address == address.to_canonical()).then_some(CertificateId::Ip(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_names_and_its_fingerprint() {
        let names = ["NAS1.example.org", "192.0.2.1", "2001:db8::1", "*.example.org", "::ffff:192.0.2.2"];
        let made = rcgen::generate_simple_self_signed(names.map(str::to_owned)).unwrap();
        let read = Certificate::read(made.cert.der()).unwrap();
        let own = format!("sha256:{}", hex::encode(fingerprint(made.cert.der())));
        assert_eq!(read.shown(), own, "nobody vouches for its names");
        let vouched = read.clone().vouched_for(&ClientCertVerified::assertion());
        let shown = ["dns:nas1.example.org", "ip:192.0.2.1", "ip:2001:db8::1", &own];
        assert_eq!(vouched.shown(), shown.join(", "), "a wildcard names nobody, and no IPv4 address has 16 octets");
        let name = ["dns:nas1.example.org".parse().unwrap()];
        assert!(vouched.is_one_of(&name) && !read.is_one_of(&name) && !vouched.is_one_of(&[]));
        assert!(read.from < read.until && !read.is_in_time(Timestamp::from_secs(0)));
        assert_eq!(Certificate::read(b"no certificate"), None);
    }
}
