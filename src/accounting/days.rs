//! What an interval carried, shared out over the days it lies in.
//!
//! The cut is proportional in time: nobody knows when within an interval the octets flowed, and a session without
//! Interim-Updates is one interval of days. Shares add up to the whole exactly. Knows no calendar but days of 24 hours at a
//! fixed distance from UTC.

use crate::model::{Counters, Day, Timestamp};

/// Days one interval is shared out over, at most; what lies before counts for the first of them. A NAS that reports an
/// Acct-Session-Time of a century makes no rows for a century.
const MOST: i64 = 400;

const DAY: i64 = 86_400_000_000;

/// What of an interval lies in one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The day.
    pub day: Day,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends; a share that goes on the next day ends a microsecond before midnight, so that it ends on its own day.
    pub to: Timestamp,
    /// What was carried.
    pub added: Counters,
}

/// Shares `added` out over the days from `from` to `to`, the first day first. Days begin at midnight of the zone that is
/// `utc_offset` seconds ahead of UTC. An interval that ends at midnight belongs to the day before.
pub fn by_day(from: Timestamp, to: Timestamp, added: &Counters, utc_offset: i32) -> Vec<Share> {
    let offset = i64::from(utc_offset) * 1_000_000;
    let day_of = |micros: i64| micros.saturating_add(offset).div_euclid(DAY);
    let midnight = |day: i64| day.saturating_mul(DAY).saturating_sub(offset);
    let (start, end) = (from.as_micros().min(to.as_micros()), to.as_micros());
    let last = if end > start { day_of(end - 1) } else { day_of(end) };
    let first = day_of(start).max(last.saturating_sub(MOST - 1));
    let length = end.saturating_sub(start);
    let mut shares = Vec::with_capacity(usize::try_from(last - first).unwrap_or(0) + 1);
    let mut shared = Counters::default();
    for day in first..=last {
        let begins = if day == first { start } else { midnight(day) };
        let next = midnight(day.saturating_add(1));
        let ends = if day == last { end } else { next };
        // Shares of the whole up to here, rounded down, less what was shared out: no octet is lost or made.
        let so_far = portion(added, ends.saturating_sub(start), length);
        shares.push(Share {
            day: Day::since_1970(i32::try_from(day).unwrap_or(i32::MAX)),
            from: Timestamp::from_micros(begins),
            to: Timestamp::from_micros(if ends == next && ends > begins { ends - 1 } else { ends }),
            added: less(&so_far, &shared),
        });
        shared = so_far;
    }
    shares.retain(|share| share.added != Counters::default());
    shares
}

fn portion(whole: &Counters, part: i64, of: i64) -> Counters {
    let scale = |count: u64| match (u128::try_from(part), u128::try_from(of)) {
        (Ok(part), Ok(of)) if of > 0 && part < of => u64::try_from(u128::from(count) * part / of).unwrap_or(count),
        _ => count,
    };
    Counters {
        input_octets: scale(whole.input_octets),
        output_octets: scale(whole.output_octets),
        input_packets: scale(whole.input_packets),
        output_packets: scale(whole.output_packets),
        session_time: scale(whole.session_time),
    }
}

fn less(a: &Counters, b: &Counters) -> Counters {
    Counters {
        input_octets: a.input_octets - b.input_octets,
        output_octets: a.output_octets - b.output_octets,
        input_packets: a.input_packets - b.input_packets,
        output_packets: a.output_packets - b.output_packets,
        session_time: a.session_time - b.session_time,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-30T00:00:00Z.
    const MONDAY: i64 = 1_795_996_800;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(MONDAY + secs)
    }

    fn octets(input_octets: u64) -> Counters {
        Counters { input_octets, ..Counters::default() }
    }

    fn told(shares: &[Share]) -> Vec<(String, u64)> {
        shares.iter().map(|share| (share.day.to_string(), share.added.input_octets)).collect()
    }

    #[test]
    fn an_interval_within_a_day_is_left_alone() {
        let shares = by_day(at(60), at(120), &octets(7), 0);
        let day = "2026-11-30".parse().unwrap();
        assert_eq!(shares, [Share { day, from: at(60), to: at(120), added: octets(7) }]);
    }

    #[test]
    fn midnight_and_month_cut_in_proportion_to_time() {
        // From 23:50 of November 30th to 00:20 of December 1st: a third, and two.
        let shares = by_day(at(86_400 - 600), at(86_400 + 1200), &octets(10), 0);
        assert_eq!(told(&shares), [("2026-11-30".to_owned(), 3), ("2026-12-01".to_owned(), 7)]);
        assert_eq!(shares[0].to, Timestamp::from_micros(at(86_400).as_micros() - 1), "it ends within its month");
        assert_eq!(shares[1].from, at(86_400));
    }

    #[test]
    fn what_ends_at_midnight_belongs_to_the_day_before() {
        let shares = by_day(at(86_400 - 60), at(86_400), &octets(5), 0);
        assert_eq!(told(&shares), [("2026-11-30".to_owned(), 5)]);
        let shares = by_day(at(86_400), at(86_400), &octets(5), 0);
        assert_eq!(told(&shares), [("2026-12-01".to_owned(), 5)], "a moment is of the day it begins");
    }

    #[test]
    fn days_begin_where_the_offset_says() {
        // 21:30 to 22:30 UTC is 23:30 to 00:30 at +02:00.
        let interval = (at(77_400), at(81_000));
        let shares = by_day(interval.0, interval.1, &octets(8), 2 * 3600);
        assert_eq!(told(&shares), [("2026-11-30".to_owned(), 4), ("2026-12-01".to_owned(), 4)]);
        assert_eq!(told(&by_day(interval.0, interval.1, &octets(8), -2 * 3600)), [("2026-11-30".to_owned(), 8)]);
    }

    #[test]
    fn a_session_of_a_century_makes_few_rows() {
        let shares = by_day(Timestamp::from_secs(0), at(0), &octets(u64::MAX), 0);
        assert_eq!(i64::try_from(shares.len()), Ok(MOST));
        assert_eq!(shares.iter().map(|share| share.added.input_octets).sum::<u64>(), u64::MAX);
        let backwards = by_day(at(60), at(0), &octets(3), 0);
        assert_eq!(told(&backwards), [("2026-11-30".to_owned(), 3)], "a clock that went back loses nothing");
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_whole(
            start in -200_000i64..200_000, length in 0i64..2_000_000, micros in 0i64..1_000_000,
            counts in any::<[u64; 5]>(), offset in -14 * 3600i32..14 * 3600,
        ) {
            let (from, to) = (at(start), Timestamp::from_micros(at(start + length).as_micros() + micros));
            let [input_octets, output_octets, input_packets, output_packets, session_time] = counts;
            let whole = Counters { input_octets, output_octets, input_packets, output_packets, session_time };
            let shares = by_day(from, to, &whole, offset);
            let sum = |count: fn(&Counters) -> u64| shares.iter().map(|share| u128::from(count(&share.added))).sum::<u128>();
            prop_assert_eq!(sum(|it| it.input_octets), u128::from(input_octets));
            prop_assert_eq!(sum(|it| it.output_octets), u128::from(output_octets));
            prop_assert_eq!(sum(|it| it.input_packets), u128::from(input_packets));
            prop_assert_eq!(sum(|it| it.output_packets), u128::from(output_packets));
            prop_assert_eq!(sum(|it| it.session_time), u128::from(session_time));
            for share in &shares {
                prop_assert!(share.from <= share.to);
                let local = |at: Timestamp| (at.as_micros() + i64::from(offset) * 1_000_000).div_euclid(DAY);
                prop_assert_eq!(local(share.from), i64::from(share.day.as_days()));
                prop_assert_eq!(local(share.to), i64::from(share.day.as_days()));
            }
            prop_assert!(shares.windows(2).all(|pair| pair[0].day < pair[1].day));
        }
    }
}
