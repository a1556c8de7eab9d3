//! How a NAS shows over TLS who it is, and which way it is reached for dynamic authorization. Knows no certificate: only names
//! and digests as they were read from one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something in a certificate that tells whose it is (RFC 6614 §2.3): a name of its subjectAltName, or the digest of the whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CertificateId {
    /// A dNSName, in lower case. Compared as a whole: no wildcard matches.
    Dns(String),
    /// An iPAddress.
    Ip(IpAddr),
    /// SHA-256 of the certificate in DER.
    Sha256([u8; 32]),
}

/// The text names nothing in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write dns:nas.example.org, ip:192.0.2.1 or sha256: and 64 hexadecimal digits")]
pub struct CertificateIdError;

impl FromStr for CertificateId {
    type Err = CertificateIdError;

    fn from_str(text: &str) -> Result<Self, CertificateIdError> {
        let (kind, rest) = text.split_once(':').ok_or(CertificateIdError)?;
        match kind.to_ascii_lowercase().as_str() {
            "dns" => {
                let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                let name = rest.trim_end_matches('.');
                let right = !name.is_empty() && name.len() <= 253 && name.chars().all(fine);
                if right { Ok(Self::Dns(name.to_ascii_lowercase())) } else { Err(CertificateIdError) }
            }
            "ip" => rest.parse::<IpAddr>().map(|ip| Self::Ip(ip.to_canonical())).map_err(|_| CertificateIdError),
            "sha256" => {
                // As openssl prints it, with colons, or without.
                let digits: String = rest.chars().filter(|c| *c != ':').collect();
                let mut digest = [0; 32];
                hex::decode_to_slice(digits, &mut digest).map_err(|_| CertificateIdError)?;
                Ok(Self::Sha256(digest))
            }
            _ => Err(CertificateIdError),
        }
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Ip(address) => write!(f, "ip:{address}"),
            Self::Sha256(digest) => write!(f, "sha256:{}", hex::encode(digest)),
        }
    }
}

impl TryFrom<String> for CertificateId {
    type Error = CertificateIdError;

    fn try_from(text: String) -> Result<Self, CertificateIdError> {
        text.parse()
    }
}

impl From<CertificateId> for String {
    fn from(id: CertificateId) -> Self {
        id.to_string()
    }
}

/// Which way CoA-Request and Disconnect-Request reach a NAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynauthPath {
    /// To its `coa_address` by UDP when it has one; else down its own TLS connection when it can have one; else by UDP to where its
    /// packets come from.
    #[default]
    Auto,
    /// By UDP.
    Udp,
    /// Down the TLS connection it has opened to us (reverse CoA).
    Radsec,
    /// By a TLS connection that we open to it.
    Tls,
}

impl FromStr for DynauthPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "udp" => Ok(Self::Udp),
            "radsec" => Ok(Self::Radsec),
            "tls" => Ok(Self::Tls),
            _ => Err("there are auto, udp, radsec (its own connection) and tls (we connect to it)".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_people_and_openssl_write_them() {
        for (text, shown) in [
            ("dns:NAS1.Example.org.", "dns:nas1.example.org"),
            ("ip:192.0.2.1", "ip:192.0.2.1"),
            ("ip:::ffff:192.0.2.1", "ip:192.0.2.1"),
            ("ip:2001:db8::1", "ip:2001:db8::1"),
        ] {
            let id: CertificateId = text.parse().unwrap();
            assert_eq!(id.to_string(), shown);
            assert_eq!(serde_json::from_str::<CertificateId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        }
        let plain = format!("sha256:{}", "0a".repeat(32));
        let colons = format!("SHA256:{}", ["0A"; 32].join(":"));
        assert_eq!(plain.parse::<CertificateId>(), colons.parse::<CertificateId>());
        assert_eq!(plain.parse::<CertificateId>().unwrap().to_string(), plain);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "nas1", "dns:", "dns:*.example.org", "dns:a b", "ip:nas1", "sha256:00", "sha1:00", "cn:nas1"] {
            assert_eq!(text.parse::<CertificateId>(), Err(CertificateIdError), "{text}");
        }
    }
}
