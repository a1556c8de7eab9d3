//! Counters that only grow within a session, so that repeats and reorderings change nothing.

use crate::model::Counters;

/// How far a counter of 32 bits counts.
const WRAP: u64 = 1 << 32;

/// Raises each counter of `known` to `reported` where that is more, and gives what was added.
pub fn grow(known: &mut Counters, reported: &Counters) -> Counters {
    fn raise(known: &mut u64, reported: u64) -> u64 {
        let added = reported.saturating_sub(*known);
        *known += added;
        added
    }
    Counters {
        input_octets: raise(&mut known.input_octets, reported.input_octets),
        output_octets: raise(&mut known.output_octets, reported.output_octets),
        input_packets: raise(&mut known.input_packets, reported.input_packets),
        output_packets: raise(&mut known.output_packets, reported.output_packets),
        session_time: raise(&mut known.session_time, reported.session_time),
    }
}

/// What octet counters of 32 bits stand for that wrap without a word (no Gigawords, RFC 2869 §5.1): a fall by more than half
/// of what they can count is a wrap, so that no interval may carry 2 GiB or more. `later` says that the report is not older
/// than what is known; an older one never counts as a wrap of its own, but may show one that was missed. The other counters
/// pass as they are.
pub fn unwrapped(known: &Counters, reported: &Counters, later: bool) -> Counters {
    let octets = |known: u64, reported: u64| {
        let (epoch, known_low, low) = (known - known % WRAP, known % WRAP, reported % WRAP);
        let fell_far = known_low.saturating_sub(low) > WRAP / 2;
        let rose_far = low.saturating_sub(known_low) > WRAP / 2;
        match later {
            true if fell_far => epoch + WRAP + low,
            true => epoch + low,
            // It was counted before the wrap that is known of.
            false if epoch > 0 => known,
            // A counter that stood so high before and is low now has wrapped in between.
            false if rose_far && known > 0 => known + WRAP,
            false => low,
        }
    };
    Counters {
        input_octets: octets(known.input_octets, reported.input_octets),
        output_octets: octets(known.output_octets, reported.output_octets),
        ..*reported
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeat_or_an_older_report_adds_nothing() {
        let reported = Counters { input_octets: 10, output_octets: 7, session_time: 60, ..Counters::default() };
        let mut known = Counters::default();
        assert_eq!(grow(&mut known, &reported), reported);
        assert_eq!(grow(&mut known, &reported), Counters::default());
        assert_eq!(grow(&mut known, &Counters { input_octets: 3, ..reported }), Counters::default());
        assert_eq!(known, reported);
    }

    fn octets(input_octets: u64) -> Counters {
        Counters { input_octets, output_octets: input_octets, ..Counters::default() }
    }

    fn seen(known: u64, reported: u64, later: bool) -> u64 {
        let unwrapped = unwrapped(&octets(known), &octets(reported), later);
        assert_eq!(unwrapped.input_octets, unwrapped.output_octets);
        unwrapped.input_octets
    }

    #[test]
    fn a_fall_from_near_the_top_is_a_wrap_and_a_small_one_is_not() {
        assert_eq!(seen(4_200_000_000, 50, true), WRAP + 50);
        assert_eq!(seen(WRAP + 4_200_000_000, 50, true), 2 * WRAP + 50);
        assert_eq!(
            seen(1_000_000, 50, true),
            50,
            "a NAS that counts anew; what is known stays, since counters only grow"
        );
        assert_eq!(seen(0, 4_200_000_000, true), 4_200_000_000, "the first report may be of much");
    }

    #[test]
    fn a_late_report_is_no_wrap() {
        assert_eq!(seen(WRAP + 50, 4_200_000_000, false), WRAP + 50);
        assert_eq!(seen(4_200_000_000, 50, false), 50);
        assert_eq!(seen(50, 4_200_000_000, false), WRAP + 50, "it shows that what came before it had wrapped");
        assert_eq!(seen(50, 70, false), 70);
    }

    proptest! {
        #[test]
        fn whatever_is_carried_is_counted_when_reports_come_in_order(
            steps in prop::collection::vec((0..WRAP / 2, any::<bool>(), any::<prop::sample::Index>()), 1..40),
        ) {
            let (mut truth, mut known) = (0, Counters::default());
            let mut sent = Vec::new();
            for (carried, repeats, which) in steps {
                truth += carried;
                sent.push(truth % WRAP);
                let reported = unwrapped(&known, &octets(truth % WRAP), true);
                grow(&mut known, &reported);
                prop_assert_eq!(known.input_octets, truth);
                if repeats && truth >= WRAP {
                    let late = unwrapped(&known, &octets(*which.get(&sent)), false);
                    grow(&mut known, &late);
                    prop_assert_eq!(known.input_octets, truth, "a repeat counted");
                }
            }
        }
    }
}
