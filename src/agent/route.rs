//! Framed-Route and Framed-IPv6-Route in text: which network lies behind a user. Touches no routing table.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::radattr::Radattr;

/// Why a route is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoute {
    /// Not as RFC 2865 §5.22 or RFC 3162 §2.5 has it.
    #[error("it is not \"prefix/length gateway metric...\"")]
    Malformed,
    /// All there is, or what no host may be routed to.
    #[error("its prefix is not one that may lie behind a user")]
    Prefix,
    /// Over something else than the user's link.
    #[error("its gateway {0} is not the user")]
    Gateway(IpAddr),
}

/// Networks behind the user, as the Access-Accept has them; and what was not taken of it.
pub(super) fn routes(accept: &Radattr, user: Option<Ipv4Addr>) -> (Vec<IpNet>, Vec<(String, NoRoute)>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (name, v4) in [("Framed-Route", true), ("Framed-IPv6-Route", false)] {
        for text in accept.get(name).into_iter().flat_map(|all| all.lines()) {
            match route(text, v4, user) {
                Ok(to) => taken.push(to),
                Err(why) => refused.push((text.to_owned(), why)),
            }
        }
    }
    // Overlapping ones would not fit into one set.
    (IpNet::aggregate(&taken), refused)
}

/// One value. The gateway must be the user, or unspecified, which stands for the user; metrics say nothing here: a link to one user
/// is no choice between ways.
fn route(text: &str, v4: bool, user: Option<Ipv4Addr>) -> Result<IpNet, NoRoute> {
    let mut words = text.split_whitespace();
    let prefix = words.next().ok_or(NoRoute::Malformed)?;
    let to = match prefix.parse::<IpNet>() {
        Ok(to) => to.trunc(),
        Err(_) if prefix.contains('/') => return Err(NoRoute::Malformed),
        Err(_) => match prefix.parse().map_err(|_| NoRoute::Malformed)? {
            IpAddr::V4(address) => classful(address)?.into(),
            address @ IpAddr::V6(_) => address.into(),
        },
    };
    if to.addr().is_ipv4() != v4 {
        return Err(NoRoute::Malformed);
    }
    let of_hosts = !(to.addr().is_multicast() || to.addr().is_loopback() || to.addr().is_unspecified());
    let link_local = match to {
        IpNet::V4(to) => to.addr().is_link_local() || to.addr().is_broadcast(),
        IpNet::V6(to) => to.addr().is_unicast_link_local(),
    };
    if !of_hosts || link_local || to.prefix_len() == 0 {
        return Err(NoRoute::Prefix);
    }
    if let Some(gateway) = words.next() {
        let gateway: IpAddr = gateway.parse().map_err(|_| NoRoute::Malformed)?;
        let is_user = match gateway {
            IpAddr::V4(gateway) => Some(gateway) == user,
            // Of its own choice (RFC 4862), and not to be told from here.
            IpAddr::V6(gateway) => gateway.is_unicast_link_local(),
        };
        if gateway.is_ipv4() != v4 {
            return Err(NoRoute::Malformed);
        }
        if !gateway.is_unspecified() && !is_user {
            return Err(NoRoute::Gateway(gateway));
        }
    }
    if words.all(|metric| metric.parse::<i64>().is_ok()) { Ok(to) } else { Err(NoRoute::Malformed) }
}

/// RFC 2865 §5.22: without a length it is that of the old classes.
fn classful(address: Ipv4Addr) -> Result<Ipv4Net, NoRoute> {
    let length = match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192..224 => 24,
        _ => return Err(NoRoute::Prefix),
    };
    Ok(Ipv4Net::new(address, length).map_err(|_| NoRoute::Malformed)?.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Ipv4Addr = Ipv4Addr::new(10, 93, 0, 50);

    #[test]
    fn rfc2865_section_5_22_in_text() {
        for (text, to) in [
            ("192.168.1.0/24 192.168.1.1 1 2 -1 3 400", Err(NoRoute::Gateway([192, 168, 1, 1].into()))),
            ("192.168.1.0/24 0.0.0.0 1 2 -1 3 400", Ok("192.168.1.0/24")),
            ("192.168.1.0 10.93.0.50 1", Ok("192.168.1.0/24")),
            ("172.16.0.0", Ok("172.16.0.0/16")),
            ("10.0.0.0 0.0.0.0", Ok("10.0.0.0/8")),
            ("10.98.7.9/24", Ok("10.98.7.0/24")),
            ("10.98.7.9/32 0.0.0.0 1", Ok("10.98.7.9/32")),
            ("", Err(NoRoute::Malformed)),
            ("10.98.0.0/33 0.0.0.0 1", Err(NoRoute::Malformed)),
            ("10.98.0.0/24 0.0.0.0 dev eth0", Err(NoRoute::Malformed)),
            ("10.98.0.0/24 default", Err(NoRoute::Malformed)),
            ("-6 default", Err(NoRoute::Malformed)),
            ("2001:db8::/64 :: 1", Err(NoRoute::Malformed)),
            ("0.0.0.0/0 0.0.0.0 1", Err(NoRoute::Prefix)),
            ("127.0.0.0/8 0.0.0.0 1", Err(NoRoute::Prefix)),
            ("224.0.0.0/4", Err(NoRoute::Prefix)),
            ("169.254.0.0/16", Err(NoRoute::Prefix)),
        ] {
            assert_eq!(route(text, true, Some(USER)), to.map(|to| to.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn rfc3162_section_2_5_in_text() {
        for (text, to) in [
            ("2001:db8:98::/48 :: 1", Ok("2001:db8:98::/48")),
            ("2001:db8:98::1/48 fe80::1 1", Ok("2001:db8:98::/48")),
            ("2001:db8:98::/48 2001:db8::1 1", Err(NoRoute::Gateway("2001:db8::1".parse().unwrap()))),
            ("::/0 :: 1", Err(NoRoute::Prefix)),
            ("fe80::/64 :: 1", Err(NoRoute::Prefix)),
            ("10.98.0.0/24 0.0.0.0 1", Err(NoRoute::Malformed)),
        ] {
            assert_eq!(route(text, false, None), to.map(|to| to.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn all_of_an_access_accept_are_taken_and_overlaps_are_one() {
        let text = "10.98.0.0/24 0.0.0.0 1\n10.98.0.0/16 0.0.0.0 1\nodd\n10.97.0.0/24";
        let accept = Radattr::from([("Framed-Route".to_owned(), text.to_owned())]);
        let (taken, refused) = routes(&accept, None);
        let wanted: Vec<IpNet> = ["10.97.0.0/24", "10.98.0.0/16"].map(|to| to.parse().unwrap()).into();
        assert_eq!((taken, refused), (wanted, vec![("odd".to_owned(), NoRoute::Malformed)]));
    }
}
