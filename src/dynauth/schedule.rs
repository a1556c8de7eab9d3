//! When a request is sent again, and when we stop (RFC 5080 §2.2.1). Keeps no packet and reads no clock.

use std::time::Duration;

/// The parameters of RFC 5080 §2.2.1. A zero means "no bound" for all but `irt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// IRT: the first wait.
    pub irt: Duration,
    /// MRC: how often the packet is transmitted in all.
    pub mrc: u32,
    /// MRT: the longest wait.
    pub mrt: Duration,
    /// MRD: how long after the first transmission we stop.
    pub mrd: Duration,
}

/// Three transmissions, at about 0, 2 and 6 seconds, and an end at about 14: a person who pressed a button sees an
/// outcome, and a hold of two minutes leaves room for several orders. RFC 5080's own defaults (MRT 16 s, MRD 30 s) are
/// for a client that has nothing else to try; here the session machine orders again.
impl Default for Timers {
    fn default() -> Self {
        Self { irt: Duration::from_secs(2), mrc: 3, mrt: Duration::from_secs(8), mrd: Duration::from_secs(15) }
    }
}

/// The retransmissions of one packet.
#[derive(Debug, Clone)]
pub struct Schedule {
    timers: Timers,
    transmissions: u32,
    previous: Option<Duration>,
    elapsed: Duration,
}

/// What comes after a transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait so long for an answer, then transmit again.
    Retransmit(Duration),
    /// Wait so long for an answer, then give up.
    GiveUp(Duration),
}

impl Schedule {
    /// A packet not yet transmitted.
    pub fn new(timers: Timers) -> Self {
        Self { timers, transmissions: 0, previous: None, elapsed: Duration::ZERO }
    }

    /// Takes note of a transmission. `chance` is uniform over all its values and makes RAND of RFC 5080 §2.2.1, which
    /// is uniform between -0.1 and +0.1: it keeps many clients from retransmitting in step.
    pub fn transmitted(&mut self, chance: u32) -> Next {
        let Timers { irt, mrc, mrt, mrd } = self.timers;
        self.transmissions = self.transmissions.saturating_add(1);
        let mut wait = match self.previous {
            // RT = IRT + RAND*IRT
            None => vary(irt, irt, chance),
            // RT = 2*RTprev + RAND*RTprev
            Some(previous) => vary(previous.saturating_mul(2), previous, chance),
        };
        if !mrt.is_zero() && wait > mrt {
            // RT = MRT + RAND*MRT
            wait = vary(mrt, mrt, chance);
        }
        self.previous = Some(wait);
        let left = if mrd.is_zero() { Duration::MAX } else { mrd.saturating_sub(self.elapsed) };
        let last = mrc != 0 && self.transmissions >= mrc;
        if last || wait >= left {
            return Next::GiveUp(wait.min(left));
        }
        self.elapsed += wait;
        Next::Retransmit(wait)
    }
}

/// `base` plus RAND times `of`.
fn vary(base: Duration, of: Duration, chance: u32) -> Duration {
    // RAND is ±0.1: a fifth of `of`, moved down by a tenth.
    let share = Duration::from_nanos((of.as_nanos() / 5).try_into().unwrap_or(u64::MAX));
    let part = share.mul_f64(f64::from(chance) / f64::from(u32::MAX));
    base.saturating_sub(of / 10).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All waits, each with whether it is the last.
    fn run(timers: Timers, chances: &[u32]) -> Vec<Duration> {
        let mut schedule = Schedule::new(timers);
        let mut waits = vec![];
        for chance in chances.iter().cycle().take(10_000) {
            match schedule.transmitted(*chance) {
                Next::Retransmit(wait) => waits.push(wait),
                Next::GiveUp(wait) => {
                    waits.push(wait);
                    return waits;
                }
            }
        }
        panic!("never gives up");
    }

    #[test]
    fn the_default_ends_well_within_a_hold() {
        let waits = run(Timers::default(), &[1 << 31]);
        let secs: Vec<_> = waits.iter().map(|wait| wait.as_secs_f64().round()).collect();
        assert_eq!(secs, [2.0, 4.0, 8.0]);
    }

    #[test]
    fn rfc5080_section_2_2_1_mrd_cuts_the_last_wait() {
        let timers = Timers { mrc: 0, ..Timers::default() };
        let total: Duration = run(timers, &[u32::MAX]).iter().sum();
        assert_eq!(total, timers.mrd);
    }

    proptest! {
        #[test]
        fn rfc5080_section_2_2_1_bounds(
            chances in prop::collection::vec(any::<u32>(), 1..20),
            irt in 1u64..10_000, mrc in 0u32..10, mrt in 0u64..20_000, mrd in 1u64..60_000,
        ) {
            let ms = Duration::from_millis;
            let timers = Timers { irt: ms(irt), mrc, mrt: ms(mrt), mrd: ms(mrd) };
            let waits = run(timers, &chances);
            prop_assert!(mrc == 0 || waits.len() <= mrc as usize);
            prop_assert!(waits.iter().sum::<Duration>() <= timers.mrd);
            let slack = Duration::from_micros(1);
            let (last, full) = waits.split_last().unwrap();
            prop_assert!(mrt == 0 || *last <= timers.mrt.mul_f64(1.1) + slack);
            for (i, wait) in full.iter().enumerate() {
                let (low, high) = match i {
                    0 => (timers.irt.mul_f64(0.9), timers.irt.mul_f64(1.1)),
                    _ => (full[i - 1].mul_f64(1.9), full[i - 1].mul_f64(2.1)),
                };
                let grown = low <= *wait + slack && *wait <= high + slack;
                let (least, most) = (timers.mrt.mul_f64(0.9), timers.mrt.mul_f64(1.1));
                let capped = mrt != 0 && high + slack >= timers.mrt && least <= *wait + slack && *wait <= most + slack;
                prop_assert!(grown || capped);
                prop_assert!(mrt == 0 || *wait <= most + slack);
            }
        }
    }
}
