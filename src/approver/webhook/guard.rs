//! Which addresses a webhook never reaches: those of our own networks, unless the operator has listed them.
//!
//! Asked by the resolver of each connection, so that a name which leads elsewhere the second time (DNS rebinding) leads nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Lets through what is public or listed.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    allow: Arc<[IpNet]>,
}

impl Guard {
    pub(super) fn new(allow: &[IpNet]) -> Self {
        Self { allow: allow.into() }
    }

    /// Whether a connection may go there.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|net| net.contains(&address)) || is_public(address)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (admitted, refused): (Vec<SocketAddr>, Vec<_>) = found.partition(|found| guard.admits(found.ip()));
            if admitted.is_empty() {
                let refused: Vec<_> = refused.iter().map(|address| address.ip().to_string()).collect();
                return Err(format!("{} leads to {}, {REFUSED}", name.as_str(), refused.join(", ")).into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Why an address is refused, and what to do.
pub(super) const REFUSED: &str = "which is not a public address; list it in approver.webhook.allow if that is right";

/// Whether an address is one of the public Internet (IANA's registries of special-purpose addresses).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        // What was the nearest 6to4 relay, whosever that is (RFC 7526).
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        // NAT64 (RFC 6052) and 6to4 lead to the IPv4 address within.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Documentation, and what 2001::/23 keeps for protocols (Teredo, benchmarks).
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [0x2001, second, ..] if second < 0x0200 => false,
        // Global unicast is 2000::/3, and nothing else is.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_networks_are_refused_however_they_are_written() {
        let guard = Guard::new(&[]);
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "192.0.0.8",
            "192.88.99.1",
            "64:ff9b:1::a00:1",
            "fec0::1",
            "::ffff:0:10.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
        ] {
            assert!(!guard.admits(refused.parse().unwrap()), "{refused}");
        }
        for admitted in ["8.8.8.8", "1.1.1.1", "2606:4700::1", "2a00:1450::1", "64:ff9b::808:808", "::ffff:8.8.8.8"] {
            assert!(guard.admits(admitted.parse().unwrap()), "{admitted}");
        }
    }

    #[test]
    fn what_is_listed_is_reached() {
        let guard = Guard::new(&["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
        let admits = |address: &str| guard.admits(address.parse().unwrap());
        assert!(admits("10.1.2.3") && admits("::ffff:10.1.2.3") && admits("::1"));
        assert!(!admits("10.2.0.1") && !admits("127.0.0.1"));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_leads_nowhere() {
        let resolve = |guard: Guard| async move { guard.resolve("localhost".parse().unwrap()).await };
        let error = resolve(Guard::new(&[])).await.err().unwrap().to_string();
        assert!(error.contains("approver.webhook.allow"), "{error}");
        let allowed = Guard::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(resolve(allowed).await.unwrap().count() > 0);
    }
}
