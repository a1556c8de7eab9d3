//! Octets that print as nothing.

use std::fmt;

use zeroize::Zeroizing;

/// RFC 2865 §3 wants a secret at least as long as a good password, and better 16 octets.
const LEAST: usize = 16;

/// Secrets of manuals, examples and factories.
const KNOWN: &[&str] = &[
    "testing123",
    "testing123-1",
    "testing123testing123",
    "secret",
    "sharedsecret",
    "shared-secret",
    "mysecret",
    "radius",
    "radiussecret",
    "radius-secret",
    "radsec",
    "radius/dtls",
    "password",
    "changeme",
    "cisco",
    "mikrotik",
    "whatever",
    "admin",
    "default",
    "public",
    "xyzzy5461",
    "12345678",
    "1234567890",
];

/// A shared secret or key: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over.
    pub fn new(octets: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(octets.into()))
    }

    /// Why it is a bad secret for RADIUS, for people; `None` when nothing speaks against it.
    ///
    /// MD5 over a datagram lets anybody who sees one try millions of secrets a second, so one must be out of reach of trying.
    pub fn weakness(&self) -> Option<&'static str> {
        let lower = self.0.to_ascii_lowercase();
        if KNOWN.iter().any(|known| lower == known.as_bytes()) {
            return Some("is one that everybody tries first; make it 16 octets nobody knows, or more");
        }
        match self.0.len() {
            0..=12 => Some(
                "has 12 octets or fewer and can be guessed from one packet: it is shorter than 16 octets (RFC 2865 §3)",
            ),
            13..LEAST => Some("is shorter than 16 octets (RFC 2865 §3)"),
            _ => None,
        }
    }

    /// The octets, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_secret() {
        assert!(Secret::new("Testing123").weakness().unwrap().contains("tries first"));
        assert!(Secret::new("testing123testing123").weakness().unwrap().contains("tries first"));
        assert!(Secret::new("q7Gd0sLp3xZv").weakness().unwrap().contains("12 octets or fewer"));
        assert!(Secret::new("q7Gd0sLp3xZv1").weakness().unwrap().contains("shorter than 16"));
        assert_eq!(Secret::new("q7Gd0sLp3xZv18bW").weakness(), None);
        assert_eq!(Secret::new([b'x'; 64]).weakness(), None);
    }

    #[test]
    fn prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", Secret::new("testing123")), "Secret(…)");
    }
}
