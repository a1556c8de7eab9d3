//! How far back to read what others write, each time it is read. Others' clocks may be slow, and what they write may be kept late: so the
//! same is read again and again. Where much is written that is much to read; most times a little of it will do.

use std::time::Duration;

use crate::model::Timestamp;

/// How far back it is read each time.
const A_LITTLE: Duration = Duration::from_secs(5);
/// How often it is read as far back as anything may come late.
const SELDOM: Duration = Duration::from_secs(60);

/// When something was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LookBack {
    read_at: Option<Timestamp>,
    /// The same, as far back as anything may come late.
    far_read_at: Option<Timestamp>,
}

impl LookBack {
    /// Since when to read now, when things come as late as `late`; `None` for all there is, the first time.
    pub(super) fn since(&self, late: Duration, now: Timestamp) -> Option<Timestamp> {
        let near = self.read_at?.before(A_LITTLE);
        Some(if self.is_far(now) { self.far_read_at?.before(late).min(near) } else { near })
    }

    /// When it was read.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.read_at
    }

    /// It was read, since what was said for this moment.
    pub(super) fn done(&mut self, now: Timestamp) {
        if self.is_far(now) {
            self.far_read_at = Some(now);
        }
        self.read_at = Some(now);
    }

    /// Whether it is time to read as far back as anything may come late.
    pub(super) fn is_far(&self, now: Timestamp) -> bool {
        self.far_read_at.is_none_or(|at| now.since(at) >= SELDOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_times_a_little_and_now_and_then_as_far_as_need_be() {
        let (at, late) = (Timestamp::from_secs, Duration::from_secs(60));
        let mut look_back = LookBack::default();
        assert_eq!(look_back.since(late, at(1000)), None);
        look_back.done(at(1000));
        for now in 1001..1060 {
            assert_eq!(look_back.since(late, at(now)), Some(at(now - 6)));
            look_back.done(at(now));
        }
        // Not at the last far look, but as far before it as anything may be late: nothing falls between two of them.
        assert_eq!(look_back.since(late, at(1060)), Some(at(940)));
        // A look that failed is made up for.
        assert_eq!(look_back.since(late, at(1070)), Some(at(940)));
        look_back.done(at(1070));
        assert_eq!(look_back.since(late, at(1071)), Some(at(1065)));
    }
}
