//! Number matching: the number on the screen of whoever logs in, and the three on the phone.
//!
//! Nothing is drawn and kept: number, decoys and their order come of the session's id, which holds the chance, by a MAC with the
//! cluster's key. So they are the same after a restart and on every node, and whoever has all but that key (the session's
//! id is in the button's data, in Class, in the store) learns from it no more than that there are ninety numbers. The three are equal in
//! every respect but one that is never written down outside the Access-Accept: which of them is right.

use hmac::Mac as _;

use super::button::{ButtonKey, hmac};
use crate::model::SessionId;

/// The least and the number of two-digit numbers.
const FIRST: u8 = 10;
const MANY: u32 = 90;

/// Three numbers that differ, in the order they are shown. Does not say which is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberChoice([u8; 3]);

impl NumberChoice {
    /// The numbers, in their order.
    pub fn numbers(self) -> [u8; 3] {
        self.0
    }
}

impl ButtonKey {
    /// The number that belongs on the screen of whoever logs in (a Reply-Message, a portal's page), from 10 to 99, and nowhere else.
    pub fn number(&self, session: SessionId) -> u8 {
        let [right, ..] = self.draw(session);
        right
    }

    /// The numbers to show to whoever is asked.
    pub fn choice(&self, session: SessionId) -> NumberChoice {
        let [right, one, other, place] = self.draw(session);
        NumberChoice(match place % 3 {
            0 => [right, one, other],
            1 => [one, right, other],
            _ => [one, other, right],
        })
    }

    /// The right number, two others, and chance for the place of the right one.
    fn draw(&self, session: SessionId) -> [u8; 4] {
        let mut mac = hmac(self.secret());
        mac.update(b"radhold number v1");
        mac.update(session.0.as_bytes());
        let octets = mac.finalize().into_bytes();
        let chance = |place: usize| {
            let four = octets[4 * place..4 * place + 4].try_into().expect("four octets of thirty-two");
            u32::from_be_bytes(four)
        };
        // Each is drawn from those that are left, so that no pair is likelier than another.
        let mut left: Vec<u8> = (FIRST..=99).collect();
        let mut take = |place: usize, many: u32| left.remove((chance(place) % many) as usize);
        let (right, one, other) = (take(0, MANY), take(1, MANY - 1), take(2, MANY - 2));
        [right, one, other, (chance(3) % 3) as u8]
    }
}

/// What marks the data of a number's button.
pub(super) fn label(number: u8) -> String {
    format!("#{number:02}")
}

/// The number of a button's data, when it is one.
pub(super) fn read(data: &str) -> Option<u8> {
    let digits = data.strip_prefix('#')?.get(..2)?;
    if digits.bytes().all(|octet| octet.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::{ButtonError, Place, Verdict};
    use super::*;
    use crate::model::{ApproverKind, Secret};

    const HOME: Place<'_> = Place { approver: ApproverKind::Telegram, chat: "-100200300400", presser: "5123456789" };

    fn key() -> ButtonKey {
        ButtonKey::new(&Secret::new("cluster"))
    }

    proptest! {
        #[test]
        fn of_three_numbers_one_is_right(id in any::<u128>()) {
            let session = SessionId(Uuid::from_u128(id));
            let (right, shown) = (key().number(session), key().choice(session).numbers());
            prop_assert_eq!(shown.iter().filter(|number| **number == right).count(), 1);
            prop_assert!(shown[0] != shown[1] && shown[1] != shown[2] && shown[0] != shown[2]);
            prop_assert!(shown.iter().all(|number| (10..=99).contains(number)));
            for number in shown {
                let data = key().seal_number(session, number, HOME);
                prop_assert!(data.len() <= 64, "{} octets", data.len());
                let press = key().redeem(&data, HOME).unwrap();
                let verdict = if number == right { Verdict::Approved } else { Verdict::Denied };
                prop_assert_eq!((press.session(), press.verdict(), press.number()), (session, verdict, Some(number)));
                prop_assert_eq!(key().redeem(&data, Place { presser: "5", ..HOME }), Err(ButtonError::NotYours));
                // A number that was not offered cannot be made of one that was.
                let turned = format!("{}{}", label(if number == 10 { 11 } else { number - 1 }), &data[3..]);
                prop_assert_eq!(key().redeem(&turned, HOME), Err(ButtonError::NotYours));
                let yes = format!("y{}", &data[3..]);
                prop_assert_eq!(key().redeem(&yes, HOME), Err(ButtonError::NotYours));
            }
        }
    }

    #[test]
    fn every_number_and_every_place_comes_up() {
        let (mut numbers, mut places) = (BTreeMap::new(), [0_u32; 3]);
        for id in 0..9_000 {
            let session = SessionId(Uuid::from_u128(id));
            let right = key().number(session);
            *numbers.entry(right).or_insert(0_u32) += 1;
            places[key().choice(session).numbers().iter().position(|number| *number == right).unwrap()] += 1;
        }
        // A hundred of each, and three thousand, give or take far more than chance would.
        assert!(numbers.len() == 90 && numbers.values().all(|count| (40..200).contains(count)), "{numbers:?}");
        assert!(places.iter().all(|count| (2_700..3_300).contains(count)), "{places:?}");
    }

    #[test]
    fn another_cluster_shows_other_numbers() {
        let other = ButtonKey::new(&Secret::new("another"));
        let same = |id: &u128| {
            let session = SessionId(Uuid::from_u128(*id));
            other.number(session) == key().number(session)
        };
        assert!((0..1000).filter(same).count() < 60);
    }

    #[test]
    fn what_is_no_number_of_ours_is_refused() {
        for junk in ["#", "#4", "#42", "#ab", "#é2", "#+1", "#042"] {
            assert!(key().redeem(junk, HOME).is_err(), "{junk:?}");
        }
    }
}
