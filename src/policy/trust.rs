//! Trust: an approval that counts again for the place it was given for, for some hours.
//!
//! A place is an address, or a device (a MAC address) at one NAS; a caller the NAS does not state is none. A denial, a new password or a
//! binding that is taken away makes all earlier approvals of that user void. Keeps nothing: what the store says is merged in from
//! outside, and who may not be sure that it is fresh must not ask.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::callers::{Caller, network_text};
use super::{Grant, Terms, Waiver};
use crate::model::{ApproverKind, NasName, SessionId, Timestamp, UserName};

/// What an approval is remembered for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustPlace {
    /// A caller's address (of IPv6 the /64), on whatever NAS.
    Address(IpNet),
    /// A device by its MAC address, at one NAS: whoever is on another one's wire could claim it.
    Device {
        /// The NAS.
        nas: NasName,
        /// Twelve hexadecimal digits.
        mac: String,
    },
}

impl TrustPlace {
    /// The place a caller is at. `None` for a caller that is neither an address nor a MAC address.
    pub fn of(caller: &Caller, nas: &NasName) -> Option<Self> {
        match (caller.household(), caller) {
            (Some(network), _) => Some(Self::Address(network)),
            (None, Caller::Station(station)) => mac(station).map(|mac| Self::Device { nas: nas.clone(), mac }),
            (None, Caller::Address(_)) => None,
        }
    }
}

/// Twelve hexadecimal digits in one of the usual ways to set them apart.
fn mac(station: &str) -> Option<String> {
    let digits: String = station.chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect();
    let is_mac = digits.len() == 12 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    is_mac.then(|| digits.to_ascii_lowercase())
}

/// The form in tables and lists, which [`TrustPlace::from_str`] reads.
impl fmt::Display for TrustPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(network) => write!(f, "address {}", network_text(network)),
            Self::Device { nas, mac } => write!(f, "device {mac} at {nas}"),
        }
    }
}

impl FromStr for TrustPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no place; write \"address 192.0.2.7\" or \"device 001b638445e6 at NAS\"");
        if let Some(address) = text.strip_prefix("address ") {
            let network =
                address.parse::<IpNet>().or_else(|_| address.parse().map(|address: std::net::IpAddr| address.into()));
            return network.map(Self::Address).map_err(|_| wrong());
        }
        let (device, nas) = text.strip_prefix("device ").and_then(|rest| rest.split_once(" at ")).ok_or_else(wrong)?;
        Ok(Self::Device { nas: nas.into(), mac: mac(device).ok_or_else(wrong)? })
    }
}

/// An approval that is remembered. Each user has one at most for a place; a later one takes the earlier one's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The session that was approved: what tells one from another.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserName,
    /// Where it counts.
    pub place: TrustPlace,
    /// When somebody said yes.
    pub since: Timestamp,
    /// Until when it counts at most.
    pub until: Timestamp,
    /// By which channel somebody said yes.
    pub through: ApproverKind,
    /// Who, in the channel's terms.
    pub who: String,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// All approvals of a user up to a time count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustVoid {
    /// Whose.
    pub user: UserName,
    /// Up to when.
    pub up_to: Timestamp,
}

/// An approval that counts now. Only [`TrustBook::find`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted {
    until: Timestamp,
}

impl Trusted {
    /// Until when.
    pub fn until(self) -> Timestamp {
        self.until
    }
}

/// What one node knows of approvals that are remembered.
#[derive(Debug, Default)]
pub struct TrustBook {
    trusts: BTreeMap<(UserName, TrustPlace), Trust>,
    voids: BTreeMap<UserName, Timestamp>,
}

impl TrustBook {
    /// Takes over what the store says.
    pub fn heard(&mut self, trusts: impl IntoIterator<Item = Trust>, voids: impl IntoIterator<Item = TrustVoid>) {
        for TrustVoid { user, up_to } in voids {
            let known = self.voids.entry(user).or_insert(up_to);
            *known = (*known).max(up_to);
        }
        for trust in trusts {
            self.trusts.insert((trust.user.clone(), trust.place.clone()), trust);
        }
    }

    /// The approval that counts for this user at this place now, where one counts for so long.
    pub fn find(&self, user: &UserName, place: &TrustPlace, trust_for: Duration, now: Timestamp) -> Option<Trusted> {
        let trust = self.trusts.get(&(user.clone(), place.clone()))?;
        let void = self.voids.get(user).is_some_and(|up_to| trust.since <= *up_to);
        // Neither longer than it was meant to when it was given, nor longer than it would be now.
        let until = trust.until.min(trust.since + trust_for);
        let counts = trust.revoked_at.is_none() && !void && trust.since <= now && now < until;
        counts.then_some(Trusted { until })
    }

    /// Forgets what is over. A void counts for as long as what it is about can come late.
    pub fn forget(&mut self, now: Timestamp, voids_for: Duration) {
        self.trusts.retain(|_, trust| now < trust.until);
        self.voids.retain(|_, up_to| now.since(*up_to) < voids_for);
    }
}

/// A grant for somebody whose approval counts again: no hold.
pub fn with_trust(grant: Grant, trusted: Option<Trusted>) -> Grant {
    match (&grant.terms, trusted) {
        (Terms::Hold(terms), Some(Trusted { until })) if terms.may_be_trusted() => {
            Grant { terms: Terms::Waived(Waiver { reason: format!("trusted until {until}") }), ..grant }
        }
        _ => grant,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn place(text: &str) -> Option<TrustPlace> {
        TrustPlace::of(&Caller::read(text)?, &"edge".into())
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_795_000_000) + Duration::from_secs(secs)
    }

    fn trust(since: u64, hours: u32) -> Trust {
        Trust {
            session: SessionId(Uuid::from_u128(1)),
            user: "alice".into(),
            place: place("192.0.2.7").unwrap(),
            since: at(since),
            until: at(since) + HOUR * hours,
            through: ApproverKind::Telegram,
            who: "1001".into(),
            revoked_at: None,
        }
    }

    #[test]
    fn a_place_is_an_address_or_a_device_at_its_nas() {
        assert_eq!(place("192.0.2.7[4500]").unwrap().to_string(), "address 192.0.2.7");
        assert_eq!(place("2001:db8::7").unwrap().to_string(), "address 2001:db8::/64");
        for mac in ["00-1B-63-84-45-E6", "00:1b:63:84:45:e6", "001b.6384.45e6"] {
            assert_eq!(place(mac).unwrap().to_string(), "device 001b638445e6 at edge");
        }
        for none in ["", "  ", "+49 30 1234567", "00-1B-63-84-45", "anonymous"] {
            assert_eq!(place(none), None, "{none:?}");
        }
        for text in ["address 192.0.2.7", "address 2001:db8::/64", "device 001b638445e6 at edge"] {
            assert_eq!(text.parse::<TrustPlace>().unwrap().to_string(), text);
        }
        assert!("somewhere".parse::<TrustPlace>().is_err());
    }

    #[test]
    fn the_shorter_of_two_settings_counts() {
        let mut book = TrustBook::default();
        book.heard([trust(0, 8)], []);
        let found = |hours, secs| {
            let place = place("192.0.2.7").unwrap();
            book.find(&"alice".into(), &place, HOUR * hours, at(secs)).map(|found| found.until())
        };
        assert_eq!(found(8, 10), Some(at(8 * 3600)));
        assert_eq!(found(1, 10), Some(at(3600)), "the operator has shortened it");
        assert_eq!((found(1, 3600), found(0, 10)), (None, None));
        assert_eq!(found(24, 8 * 3600), None, "it was given for eight hours");
    }

    #[test]
    fn trust_lifts_a_hold_and_says_until_when() {
        let mut book = TrustBook::default();
        book.heard([trust(0, 1)], []);
        let trusted = book.find(&"alice".into(), &place("192.0.2.7").unwrap(), HOUR, at(1));
        let held = Grant {
            sandbox_filter: "sandbox".into(),
            permit_filter: "permit".into(),
            terms: Terms::Hold(super::super::HoldTerms {
                guards: super::super::Guards { trust_for: HOUR, ..Default::default() },
                ..super::super::HoldTerms::new(HOUR, HOUR, [])
            }),
            session_timeout: None,
            reply: vec![],
        };
        assert_eq!(with_trust(held.clone(), None), held);
        let Terms::Waived(waiver) = with_trust(held, trusted).terms else { panic!("still held") };
        assert_eq!(waiver.reason(), format!("trusted until {}", at(3600)));
    }

    /// What befalls the trust of one user.
    #[derive(Debug, Clone)]
    enum Happening {
        Approved { hours: u32 },
        Void,
        Revoked,
    }

    proptest! {
        #[test]
        fn trust_never_outlives_its_hours_nor_a_revocation(
            happenings in prop::collection::vec(
                (
                    prop_oneof![
                        (0_u32..4).prop_map(|hours| Happening::Approved { hours }),
                        Just(Happening::Void),
                        Just(Happening::Revoked),
                    ],
                    1_u64..7200,
                ),
                1..30,
            ),
            hours_now in 0_u32..4,
            heard_twice in any::<bool>(),
        ) {
            let place = place("192.0.2.7").unwrap();
            let mut book = TrustBook::default();
            let mut now = 0;
            let mut last: Option<Trust> = None;
            let mut taken_back = 0;
            for (happening, later) in happenings {
                now += later;
                let (mut trusts, mut voids) = (vec![], vec![]);
                match happening {
                    Happening::Approved { hours } => {
                        last = Some(trust(now, hours));
                        trusts.extend(last.clone());
                    }
                    Happening::Void => {
                        taken_back = now;
                        voids.push(TrustVoid { user: "alice".into(), up_to: at(now) });
                    }
                    Happening::Revoked => {
                        if let Some(last) = &mut last {
                            taken_back = now;
                            last.revoked_at = Some(at(now));
                            trusts.push(last.clone());
                        }
                    }
                }
                book.heard(trusts.clone(), voids.clone());
                if heard_twice {
                    book.heard(trusts, voids);
                }
                for ahead in [0, 1, 3599, 3600, 7199, 7200, 10_800, 14_400] {
                    let found = book.find(&"alice".into(), &place, HOUR * hours_now, at(now + ahead));
                    if let Some(found) = found {
                        let last = last.as_ref().unwrap();
                        prop_assert!(last.since > at(taken_back), "taken back since");
                        prop_assert!(found.until() <= last.until && found.until() <= last.since + HOUR * hours_now);
                        prop_assert!(at(now + ahead) < found.until());
                    }
                    let other = TrustPlace::Address("192.0.2.8".parse::<std::net::IpAddr>().unwrap().into());
                    prop_assert_eq!(book.find(&"alice".into(), &other, HOUR * 9, at(now + ahead)), None);
                    prop_assert_eq!(book.find(&"bob".into(), &place, HOUR * 9, at(now + ahead)), None);
                }
            }
        }
    }
}
