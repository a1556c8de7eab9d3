//! How far IPv4 of a login has come, by the words of pppd's scripts, in whatever order they arrive. Knows no link and no clock.
//!
//! pppd runs ip-pre-up whenever IPCP comes up, and waits for it. ip-up and ip-down it starts and does not wait for, but strictly
//! in turn, each when the one before has finished; when IPCP goes down and up while ip-up still runs, neither runs for that. So a
//! second ip-pre-up under one Access-Accept is a renegotiation with or without an ip-down; a late ip-down may come after it; and an
//! ip-up is of the IPCP that came up after every ip-down before it.
//!
//! At IPCP's end pppd sends Accounting-Stop, by which the server closes the session, and at its next beginning a Start with the same
//! Class, which opens none: nobody is accountable for what passes then.

use serde::{Deserialize, Serialize};

use super::moment::Uptime;

/// What was heard of IPv4 under one Access-Accept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ipv4 {
    /// When the script ran that said it comes up.
    agreed: Option<Uptime>,
    /// When the script ran that said it is up.
    up: Option<Uptime>,
    /// An ip-down was heard since.
    down: bool,
    /// The login before, by the same pppd, was up, and its ip-down was not heard yet: the next one may be its.
    late_down: bool,
}

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// IPv4 comes up, as it should.
    News,
    /// It was heard before: a hook that was not answered in time left it in a note as well.
    Known,
    /// IPv4 was up before: IPCP was negotiated again.
    Again,
}

impl Ipv4 {
    /// Of the next login by the same pppd.
    pub(super) fn of_next_login(&self) -> Self {
        let was_up = self.agreed.is_some() || self.up.is_some();
        let late_down = if self.down { self.late_down && was_up } else { self.late_down || was_up };
        Self { late_down, ..Self::default() }
    }

    /// ip-pre-up ran, then.
    pub(super) fn hear_pre_up(&mut self, at: Option<Uptime>) -> Word {
        let latest = self.agreed.max(self.up);
        if at.is_some() && at <= latest {
            return Word::Known;
        }
        if latest.is_some() || self.is_over() {
            return Word::Again;
        }
        self.late_down &= !self.down;
        (self.agreed, self.down) = (at, false);
        Word::News
    }

    /// ip-up ran, then.
    pub(super) fn hear_up(&mut self, at: Option<Uptime>) -> Word {
        if at.is_some() && at <= self.up {
            return Word::Known;
        }
        if self.up.is_some() || self.is_over() {
            return Word::Again;
        }
        (self.up, self.down, self.late_down) = (at, false, false);
        Word::News
    }

    /// ip-down ran.
    pub(super) fn hear_down(&mut self) {
        self.late_down &= !self.down;
        self.down = true;
    }

    /// It is up, though no script told us.
    pub(super) fn was_missed(&mut self, at: Uptime) {
        self.up = self.up.or(Some(at));
    }

    /// Nothing is to pass: it went down, or the login before did, which only an ip-up can tell.
    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    /// It went down for good.
    pub(super) fn is_over(&self) -> bool {
        self.down && !self.late_down
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Option<Uptime> {
        Some(Uptime::after_boot(Duration::from_secs(secs)))
    }

    #[test]
    fn a_login_comes_up_once() {
        let mut ipv4 = Ipv4::default();
        assert_eq!((ipv4.hear_pre_up(at(1)), ipv4.hear_up(at(2))), (Word::News, Word::News));
        assert!(!ipv4.is_down());
        ipv4.hear_down();
        assert!(ipv4.is_over());
        // ip-pre-up may be missed.
        let mut ipv4 = Ipv4::default();
        assert_eq!(ipv4.hear_up(at(2)), Word::News);
        assert_eq!(ipv4.hear_pre_up(at(1)), Word::Known, "a note of it is read later");
    }

    #[test]
    fn what_was_heard_before_is_no_renegotiation() {
        let mut ipv4 = Ipv4::default();
        assert_eq!((ipv4.hear_pre_up(at(1)), ipv4.hear_pre_up(at(1))), (Word::News, Word::Known));
        assert_eq!(
            (ipv4.hear_up(at(2)), ipv4.hear_up(at(2)), ipv4.hear_pre_up(at(1))),
            (Word::News, Word::Known, Word::Known)
        );
    }

    /// All orders in which the scripts of two IPCPs under one Access-Accept may be heard: pppd waits for ip-pre-up, so the second of
    /// them comes after the first; the others come late, or never.
    #[test]
    fn a_second_ipcp_is_told_by_any_of_its_scripts() {
        for (heard, last) in [
            ("pre up down", "pre"),
            ("pre up down", "up"),
            ("pre up", "pre"),
            ("pre up", "up"),
            ("pre", "pre"),
            ("pre down", "up"),
            ("pre down", "pre"),
            ("up", "pre"),
            ("up down", "up"),
            ("down", "pre"),
            ("down", "up"),
        ] {
            let mut ipv4 = Ipv4::default();
            for (second, word) in heard.split(' ').enumerate() {
                let second = at(u64::try_from(second).unwrap());
                match word {
                    "pre" => assert_eq!(ipv4.hear_pre_up(second), Word::News),
                    "up" => assert_eq!(ipv4.hear_up(second), Word::News),
                    _ => ipv4.hear_down(),
                }
            }
            let word = if last == "pre" { ipv4.hear_pre_up(at(9)) } else { ipv4.hear_up(at(9)) };
            assert_eq!(word, Word::Again, "{last} after {heard}");
        }
    }

    #[test]
    fn a_late_ip_down_of_the_login_before_ends_nothing() {
        let mut first = Ipv4::default();
        first.hear_pre_up(at(1));
        first.hear_up(at(2));
        let mut next = first.of_next_login();
        assert_eq!(next.hear_pre_up(at(3)), Word::News);
        next.hear_down();
        assert!(next.is_down() && !next.is_over(), "nothing passes until it is known whose that was");
        assert_eq!(next.hear_up(at(5)), Word::News);
        assert!(!next.is_down());
        next.hear_down();
        assert!(next.is_over(), "and this is its own");
        assert_eq!(next.hear_pre_up(at(9)), Word::Again);
    }

    #[test]
    fn one_ip_down_is_late_at_most() {
        let mut first = Ipv4::default();
        first.hear_up(at(2));
        let mut next = first.of_next_login();
        next.hear_pre_up(at(3));
        next.hear_down();
        next.hear_down();
        assert!(next.is_over());
        let mut first = Ipv4::default();
        first.hear_up(at(2));
        first.hear_down();
        let mut next = first.of_next_login();
        next.hear_pre_up(at(3));
        next.hear_down();
        assert!(next.is_over(), "that of the first was heard");
        // An ip-down that was not late, but is taken for it, is made up for by what comes next.
        let mut next = Ipv4 { late_down: true, ..Ipv4::default() };
        next.hear_pre_up(at(3));
        next.hear_down();
        assert_eq!(next.hear_pre_up(at(9)), Word::Again);
    }

    #[test]
    fn one_that_was_found_up_is_up() {
        let mut found = Ipv4::default();
        found.was_missed(Uptime::after_boot(Duration::from_secs(1)));
        assert_eq!(found.hear_pre_up(at(9)), Word::Again);
    }
}
