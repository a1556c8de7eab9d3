//! The bans this host keeps: networks whose outer protocols are dropped, and until when. Knows no reason and no firewall.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::apply::Banned;
use super::moment::Uptime;

/// Bans by network, and when each ends; `None` is not before it is lifted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bans(BTreeMap<IpNet, Option<Uptime>>);

impl Bans {
    /// Bans a network until then, in place of what was before.
    pub(super) fn set(&mut self, network: IpNet, until: Option<Uptime>) {
        self.0.insert(network, until);
    }

    /// Ends the ban of this very network. Others that contain it, or are within it, stay.
    pub(super) fn lift(&mut self, network: IpNet) {
        self.0.remove(&network);
    }

    /// Forgets what time has ended.
    pub(super) fn forget_over(&mut self, now: Uptime) {
        self.0.retain(|_, until| until.is_none_or(|until| until > now));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When this network's ban ends; `None` when there is none.
    pub(super) fn until(&self, network: IpNet) -> Option<Option<Uptime>> {
        self.0.get(&network).copied()
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpNet, Option<Uptime>)> + '_ {
        self.0.iter().map(|(network, until)| (*network, *until))
    }

    /// As a set of intervals takes them: none overlaps another, and each address is banned for as long as the longest ban of it.
    pub(super) fn in_force(&self, now: Uptime) -> Vec<Banned> {
        let mut bans: Vec<_> = self.iter().filter(|(_, until)| until.is_none_or(|until| until > now)).collect();
        bans.sort_by_key(|(network, until)| (until.is_some(), Reverse(*until), *network));
        // By family and first address, the last one.
        let mut taken: BTreeMap<(bool, u128), u128> = BTreeMap::new();
        let mut banned = Vec::new();
        for (network, until) in bans {
            let v4 = network.addr().is_ipv4();
            let (mut next, last) = (Some(number(network.network())), number(network.broadcast()));
            let mut free = Vec::new();
            let before =
                taken.range(..(v4, number(network.network()))).next_back().filter(|((of_v4, _), _)| *of_v4 == v4);
            let within = taken.range((v4, number(network.network()))..=(v4, last));
            for ((_, start), end) in before.into_iter().chain(within) {
                let Some(from) = next else { break };
                if *end < from {
                    continue;
                }
                if *start > from {
                    free.push((from, start - 1));
                }
                next = end.checked_add(1);
            }
            free.extend(next.filter(|from| *from <= last).map(|from| (from, last)));
            let left = until.map(|until| until.since(now));
            for (first, last) in free {
                taken.insert((v4, first), last);
                banned.push(Banned { first: address(v4, first), last: address(v4, last), left });
            }
        }
        banned.sort_unstable_by_key(|banned| banned.first);
        banned
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(v4: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => Ipv4Addr::from(number).into(),
        _ => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Uptime {
        Uptime::after_boot(Duration::from_secs(secs))
    }

    /// What is in force at zero, "first last seconds" each; zero is without end.
    fn in_force(bans: &[(&str, u64)]) -> Vec<String> {
        let mut list = Bans::default();
        for (network, until) in bans {
            list.set(network.parse().unwrap(), (*until > 0).then(|| at(*until)));
        }
        let shown = |banned: Banned| {
            format!("{} {} {}", banned.first, banned.last, banned.left.map_or(0, |left| left.as_secs()))
        };
        list.in_force(at(0)).into_iter().map(shown).collect()
    }

    #[test]
    fn each_address_is_banned_for_as_long_as_the_longest_ban_of_it() {
        assert_eq!(in_force(&[("10.0.0.0/24", 60), ("10.0.0.7/32", 60)]), ["10.0.0.0 10.0.0.255 60"]);
        assert_eq!(in_force(&[("10.0.0.0/24", 0), ("10.0.0.7/32", 60)]), ["10.0.0.0 10.0.0.255 0"]);
        assert_eq!(
            in_force(&[("10.0.0.0/24", 60), ("10.0.0.7/32", 90), ("10.0.0.0/25", 70)]),
            ["10.0.0.0 10.0.0.6 70", "10.0.0.7 10.0.0.7 90", "10.0.0.8 10.0.0.127 70", "10.0.0.128 10.0.0.255 60"]
        );
        assert_eq!(
            in_force(&[("0.0.0.0/0", 9), ("255.255.255.255/32", 10)]),
            ["0.0.0.0 255.255.255.254 9", "255.255.255.255 255.255.255.255 10"]
        );
        assert_eq!(
            in_force(&[("::/0", 9), ("0.0.0.0/0", 8), ("2001:db8::/64", 7)]),
            ["0.0.0.0 255.255.255.255 8", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 9"]
        );
        assert_eq!(
            in_force(&[("2001:db8::/32", 9), ("2001:db8:ffff:ffff::/64", 0)]),
            [
                "2001:db8:: 2001:db8:ffff:fffe:ffff:ffff:ffff:ffff 9",
                "2001:db8:ffff:ffff:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 0"
            ]
        );
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut bans = Bans::default();
        bans.set("10.0.0.0/24".parse().unwrap(), Some(at(9)));
        bans.set("10.0.1.0/24".parse().unwrap(), None);
        assert_eq!(bans.in_force(at(9)).len(), 1);
        bans.forget_over(at(9));
        assert_eq!(bans.len(), 1);
        bans.lift("10.0.1.0/24".parse().unwrap());
        assert_eq!(bans, Bans::default());
    }
}
