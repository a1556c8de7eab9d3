//! What one Accounting-Request says.

use std::time::Duration;

use super::identity::identity_of;
use crate::model::{Counters, Identity, Nas, OctetDirection, Timestamp};
use crate::radius::{Packet, attribute};

/// Octets a session is believed to carry in one direction: 9 PB, a week at 100 Gbit/s. A NAS whose Gigawords are rubbish is recorded
/// at that, so that sums over many such sessions are numbers still.
const MOST_OCTETS: u64 = 1 << 53;

/// What an Accounting-Request says about a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// When it happened, by Event-Timestamp (RFC 2869 §5.3) or Acct-Delay-Time (RFC 2866 §5.2) as far as they are believed.
    pub at: Timestamp,
    /// Whether the NAS itself said when, so that a copy which comes late has the same time.
    pub dated: bool,
    /// Whether that is by the clock of the NAS, which may differ from ours.
    pub by_nas_clock: bool,
    /// How the NAS identifies it.
    pub identity: Identity,
    /// What it has carried.
    pub counters: Counters,
    /// Whether its octet counters are of 32 bits and wrap without a word, so that they must be read beside those before them.
    pub wraps: bool,
    /// Acct-Terminate-Cause (RFC 2866 §5.10).
    pub terminate_cause: Option<u32>,
    /// Filter-Id in force, where the NAS shows it.
    pub filter_id: Option<String>,
}

impl Report {
    /// When its session began, by what it says itself: without Acct-Session-Time no later than the report.
    pub fn began_at(&self) -> Timestamp {
        self.at.before(Duration::from_secs(self.counters.session_time))
    }
}

/// An Accounting-Request, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it is about.
    pub status: Status,
    /// User-Name.
    pub user: Option<String>,
    /// Every Class it echoes, in order (RFC 2865 §5.25).
    pub classes: Vec<Vec<u8>>,
    /// The rest.
    pub report: Report,
    /// What it says that is not believed, the first such thing.
    pub disbelieved: Option<Disbelieved>,
}

/// How the reports of a NAS are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which way it counts.
    pub octet_direction: OctetDirection,
    /// Whether its octet counters wrap without Gigawords.
    pub octet_wrap: bool,
    /// Which times are believed.
    pub clock: ClockBounds,
}

/// Which times of a NAS are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockBounds {
    /// How far its clock may be from ours.
    pub skew: Duration,
    /// How late a report may come.
    pub delay: Duration,
}

/// What is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disbelieved {
    /// Acct-Delay-Time: longer than any report may be late.
    DelayTime,
    /// Event-Timestamp: too far from our clock.
    EventTimestamp,
    /// Octets: more than 2⁵³, and recorded as that many.
    Octets,
}

impl Disbelieved {
    /// A short stable label to count by.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::DelayTime => "accounting.delay-time-disbelieved",
            Self::EventTimestamp => "accounting.event-timestamp-disbelieved",
            Self::Octets => "accounting.octets-disbelieved",
        }
    }
}

/// Acct-Status-Type (RFC 2866 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Start, 1.
    Start,
    /// Stop, 2.
    Stop,
    /// Interim-Update, 3.
    InterimUpdate,
    /// Accounting-On, 7: the NAS came up.
    AccountingOn,
    /// Accounting-Off, 8: the NAS goes down.
    AccountingOff,
    /// Any other, of tunnels (RFC 2867) or failures: nothing of ours to record.
    Other(u32),
}

/// Why an Accounting-Request says nothing usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No Acct-Status-Type, which every one must have.
    #[error("no Acct-Status-Type (RFC 2866 §5.13)")]
    NoStatusType,
    /// No Acct-Session-Id, which every one must have.
    #[error("no Acct-Session-Id (RFC 2866 §5.13)")]
    NoSessionId,
}

impl RequestError {
    /// A short stable label to count by.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoStatusType => "no-acct-status-type",
            Self::NoSessionId => "no-acct-session-id",
        }
    }
}

impl Request {
    /// Reads an Accounting-Request that came in at `received_at`.
    ///
    /// # Errors
    /// [`RequestError`] when it lacks what RFC 2866 §5.13 demands. Acct-Session-Id is not demanded of Accounting-On and
    /// Accounting-Off: some NASes leave it out there, and nothing depends on it.
    pub fn read(packet: &Packet<'_>, received_at: Timestamp, reading: &Reading) -> Result<Self, RequestError> {
        let status = Status::from(packet.integer(attribute::ACCT_STATUS_TYPE).ok_or(RequestError::NoStatusType)?);
        let identity = identity_of(packet);
        if identity.acct_session_id.is_none() && !matches!(status, Status::AccountingOn | Status::AccountingOff) {
            return Err(RequestError::NoSessionId);
        }
        let on_or_off = matches!(status, Status::AccountingOn | Status::AccountingOff);
        let EventTime { at, dated, by_nas_clock, disbelieved } =
            event_time(packet, received_at, reading.clock, on_or_off);
        let counters = counters(packet, reading.octet_direction);
        let bounded = Counters {
            input_octets: counters.input_octets.min(MOST_OCTETS),
            output_octets: counters.output_octets.min(MOST_OCTETS),
            ..counters
        };
        let disbelieved = disbelieved.or((bounded != counters).then_some(Disbelieved::Octets));
        let counts_wide = packet.has(attribute::ACCT_INPUT_GIGAWORDS) || packet.has(attribute::ACCT_OUTPUT_GIGAWORDS);
        let text = |kind| packet.first(kind).map(|it| String::from_utf8_lossy(it).into_owned());
        Ok(Self {
            status,
            user: text(attribute::USER_NAME),
            classes: packet.all(attribute::CLASS).map(<[u8]>::to_vec).collect(),
            report: Report {
                at,
                dated,
                by_nas_clock,
                identity,
                counters: bounded,
                wraps: reading.octet_wrap && !counts_wide,
                terminate_cause: packet.integer(attribute::ACCT_TERMINATE_CAUSE),
                filter_id: text(attribute::FILTER_ID),
            },
            disbelieved,
        })
    }
}

impl Reading {
    /// For the reports of this NAS.
    pub const fn of(nas: &Nas, clock: ClockBounds) -> Self {
        Self { octet_direction: nas.octet_direction, octet_wrap: nas.octet_wrap, clock }
    }
}

impl Default for ClockBounds {
    fn default() -> Self {
        Self { skew: Duration::from_secs(300), delay: Duration::from_secs(7 * 86_400) }
    }
}

/// When a report happened, and how that is known.
struct EventTime {
    at: Timestamp,
    dated: bool,
    by_nas_clock: bool,
    disbelieved: Option<Disbelieved>,
}

/// When it happened. Event-Timestamp is the same in every retransmission, so it goes first where it is plausible; where the
/// NAS says how long it has been trying (even zero), the two must agree but for the clocks. A clock is wrong most of all at
/// boot, so of Accounting-On and -Off only that much is believed.
fn event_time(packet: &Packet<'_>, received_at: Timestamp, clock: ClockBounds, on_or_off: bool) -> EventTime {
    let delay = packet.integer(attribute::ACCT_DELAY_TIME).map(|secs| Duration::from_secs(u64::from(secs)));
    let (by_delay, disbelieved) = match delay {
        Some(delay) if delay > clock.delay => (received_at, Some(Disbelieved::DelayTime)),
        delay => (received_at.before(delay.unwrap_or_default()), None),
    };
    // Some NASes say 0 in every copy.
    let by_delay_alone =
        |disbelieved| EventTime { at: by_delay, dated: by_delay < received_at, by_nas_clock: false, disbelieved };
    let Some(secs) = packet.integer(attribute::EVENT_TIMESTAMP) else { return by_delay_alone(disbelieved) };
    let stated = Timestamp::from_secs(i64::from(secs));
    let late = if delay.is_some() || on_or_off { clock.skew } else { clock.delay.max(clock.skew) };
    // The second it states has begun up to a second before.
    if by_delay.since(stated) <= late + Duration::from_secs(1) && stated.since(by_delay) <= clock.skew {
        // A clock that is ahead must not end sessions that began after the boot.
        let at = if on_or_off { stated.min(by_delay) } else { stated };
        EventTime { at, dated: true, by_nas_clock: at == stated, disbelieved: None }
    } else {
        by_delay_alone(Some(Disbelieved::EventTimestamp))
    }
}

impl From<u32> for Status {
    fn from(number: u32) -> Self {
        match number {
            1 => Self::Start,
            2 => Self::Stop,
            3 => Self::InterimUpdate,
            7 => Self::AccountingOn,
            8 => Self::AccountingOff,
            other => Self::Other(other),
        }
    }
}

fn counters(packet: &Packet<'_>, octets: OctetDirection) -> Counters {
    let low = |kind| u64::from(packet.integer(kind).unwrap_or(0));
    // RFC 2869 §5.1, §5.2: Gigawords count how often the 32-bit counter wrapped.
    let wide = |kind, gigawords| low(gigawords) << 32 | low(kind);
    let input =
        (wide(attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS), low(attribute::ACCT_INPUT_PACKETS));
    let output =
        (wide(attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS), low(attribute::ACCT_OUTPUT_PACKETS));
    let ((input_octets, input_packets), (output_octets, output_packets)) = match octets {
        OctetDirection::Standard => (input, output),
        OctetDirection::Swapped => (output, input),
    };
    let session_time = low(attribute::ACCT_SESSION_TIME);
    Counters { input_octets, output_octets, input_packets, output_packets, session_time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Code, PacketBuilder};

    const RECEIVED: i64 = 1_795_000_000;

    fn read(octet_direction: OctetDirection, fill: impl FnOnce(&mut PacketBuilder)) -> Result<Request, RequestError> {
        read_as(Reading { octet_direction, octet_wrap: false, clock: ClockBounds::default() }, fill)
    }

    fn read_as(reading: Reading, fill: impl FnOnce(&mut PacketBuilder)) -> Result<Request, RequestError> {
        let mut builder = PacketBuilder::request(Code::AccountingRequest, 1, [0; 16]);
        fill(&mut builder);
        let bytes = builder.sign_request(b"x").unwrap().to_vec();
        Request::read(&Packet::parse(&bytes).unwrap(), Timestamp::from_secs(RECEIVED), &reading)
    }

    fn stop(builder: &mut PacketBuilder) {
        builder.integer(attribute::ACCT_STATUS_TYPE, 2).unwrap();
        builder.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
        builder.integer(attribute::ACCT_DELAY_TIME, 7).unwrap();
        builder.integer(attribute::ACCT_INPUT_OCTETS, 5).unwrap();
        builder.integer(attribute::ACCT_INPUT_GIGAWORDS, 2).unwrap();
        builder.integer(attribute::ACCT_OUTPUT_OCTETS, 9).unwrap();
        builder.integer(attribute::ACCT_TERMINATE_CAUSE, 1).unwrap();
    }

    #[test]
    fn rfc_2869_section_5_1_gigawords_are_the_high_half() {
        let request = read(OctetDirection::Standard, stop).unwrap();
        assert_eq!(request.report.counters.input_octets, (2 << 32) + 5);
        assert_eq!(request.report.counters.output_octets, 9);
        assert_eq!(request.status, Status::Stop);
        assert_eq!(request.report.terminate_cause, Some(1));
    }

    #[test]
    fn gigawords_that_are_rubbish_are_recorded_at_the_limit() {
        let request = read(OctetDirection::Standard, |builder| {
            builder.integer(attribute::ACCT_STATUS_TYPE, 3).unwrap();
            builder.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
            builder.integer(attribute::ACCT_INPUT_GIGAWORDS, u32::MAX).unwrap();
            builder.integer(attribute::ACCT_OUTPUT_OCTETS, 9).unwrap();
        })
        .unwrap();
        assert_eq!((request.report.counters.input_octets, request.report.counters.output_octets), (MOST_OCTETS, 9));
        assert_eq!(request.disbelieved, Some(Disbelieved::Octets));
    }

    #[test]
    fn rfc_2866_section_5_2_delay_moves_the_event_back() {
        assert_eq!(read(OctetDirection::Standard, stop).unwrap().report.at, Timestamp::from_secs(RECEIVED - 7));
    }

    /// When a report happened whose Acct-Delay-Time and Event-Timestamp (before receipt) are these, and what was not believed.
    fn timed(status: u32, delay: Option<u32>, stated: Option<i64>) -> (i64, Option<Disbelieved>) {
        let request = read(OctetDirection::Standard, |builder| {
            builder.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
            builder.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
            if let Some(delay) = delay {
                builder.integer(attribute::ACCT_DELAY_TIME, delay).unwrap();
            }
            if let Some(ago) = stated {
                builder.integer(attribute::EVENT_TIMESTAMP, u32::try_from(RECEIVED - ago).unwrap()).unwrap();
            }
        })
        .unwrap();
        (RECEIVED - request.report.at.as_secs(), request.disbelieved)
    }

    #[test]
    fn rfc_2869_section_5_3_an_event_timestamp_is_believed_within_bounds() {
        let disbelieved = Some(Disbelieved::EventTimestamp);
        assert_eq!(timed(3, None, Some(86_400)), (86_400, None), "a report that waited for a day");
        assert_eq!(timed(3, Some(86_400), Some(86_390)), (86_390, None), "and one that says so");
        assert_eq!(timed(3, Some(0), Some(86_400)), (0, disbelieved), "no delay, so it is the clock that is wrong");
        assert_eq!(timed(3, Some(60), Some(1_000)), (60, disbelieved));
        assert_eq!(timed(3, None, Some(8 * 86_400)), (0, disbelieved));
        assert_eq!(timed(3, None, Some(RECEIVED)), (0, disbelieved), "1970");
        assert_eq!(timed(3, None, Some(-299)), (-299, None), "a clock that is ahead a little");
        assert_eq!(timed(3, None, Some(-301)), (0, disbelieved));
        assert_eq!(timed(7, None, Some(3600)), (0, disbelieved), "a clock that was not set yet at boot");
        assert_eq!(timed(7, None, Some(20)), (20, None));
        assert_eq!(timed(7, None, Some(-200)), (0, None), "a boot is not after its report");
        assert_eq!(timed(8, Some(30), Some(-100)), (30, None));
    }

    #[test]
    fn what_the_nas_says_of_the_time_is_the_same_in_every_copy() {
        let dated = |delay: Option<u32>, ago: Option<i64>| {
            let request = read(OctetDirection::Standard, |builder| {
                builder.integer(attribute::ACCT_STATUS_TYPE, 2).unwrap();
                builder.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
                for (kind, secs) in [
                    (attribute::ACCT_DELAY_TIME, delay),
                    (attribute::EVENT_TIMESTAMP, ago.map(|ago| u32::try_from(RECEIVED - ago).unwrap())),
                ] {
                    if let Some(secs) = secs {
                        builder.integer(kind, secs).unwrap();
                    }
                }
            });
            request.unwrap().report.dated
        };
        assert!(dated(None, Some(86_400)) && dated(Some(0), Some(20)) && dated(Some(7), None));
        assert!(!dated(None, None) && !dated(Some(u32::MAX), None) && !dated(None, Some(RECEIVED)));
        assert!(!dated(Some(0), None), "some NASes say so in every copy");
    }

    #[test]
    fn a_delay_beyond_all_bounds_is_not_believed() {
        assert_eq!(timed(2, Some(u32::MAX), None), (0, Some(Disbelieved::DelayTime)));
        assert_eq!(timed(2, Some(604_800), None), (604_800, None));
    }

    #[test]
    fn who_sends_gigawords_does_not_wrap() {
        let wraps = |octet_wrap, fill: fn(&mut PacketBuilder)| {
            let clock = ClockBounds::default();
            let reading = Reading { octet_direction: OctetDirection::Standard, octet_wrap, clock };
            read_as(reading, fill).unwrap().report.wraps
        };
        assert!(!wraps(true, stop), "it carries Gigawords");
        let narrow = |builder: &mut PacketBuilder| {
            builder.integer(attribute::ACCT_STATUS_TYPE, 2).unwrap();
            builder.text(attribute::ACCT_SESSION_ID, "a1").unwrap();
            builder.integer(attribute::ACCT_INPUT_OCTETS, 5).unwrap();
        };
        assert!(wraps(true, narrow));
        assert!(!wraps(false, narrow));
    }

    #[test]
    fn a_nas_may_count_the_other_way() {
        let request = read(OctetDirection::Swapped, stop).unwrap();
        assert_eq!((request.report.counters.output_octets >> 32, request.report.counters.input_octets), (2, 9));
    }

    #[test]
    fn what_rfc_2866_demands_is_demanded() {
        assert_eq!(read(OctetDirection::Standard, |_| ()), Err(RequestError::NoStatusType));
        let start = |builder: &mut PacketBuilder| {
            builder.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap();
        };
        assert_eq!(read(OctetDirection::Standard, start), Err(RequestError::NoSessionId));
        let on = |builder: &mut PacketBuilder| {
            builder.integer(attribute::ACCT_STATUS_TYPE, 7).unwrap();
        };
        assert_eq!(read(OctetDirection::Standard, on).unwrap().status, Status::AccountingOn);
    }
}
