//! Counters that only grow within a session, so that repeats and reorderings change nothing.

use crate::model::Counters;

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

#[cfg(test)]
mod tests {
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
}
