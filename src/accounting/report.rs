//! What one Accounting-Request says.

use std::time::Duration;

use super::identity::identity_of;
use crate::model::{Counters, Identity, OctetDirection, Timestamp};
use crate::radius::{Packet, attribute};

/// What an Accounting-Request says about a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// When it happened: the time of receipt less Acct-Delay-Time (RFC 2866 §5.2).
    pub at: Timestamp,
    /// How the NAS identifies it.
    pub identity: Identity,
    /// What it has carried.
    pub counters: Counters,
    /// Acct-Terminate-Cause (RFC 2866 §5.10).
    pub terminate_cause: Option<u32>,
    /// Filter-Id in force, where the NAS shows it.
    pub filter_id: Option<String>,
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
    pub fn read(packet: &Packet<'_>, received_at: Timestamp, octets: OctetDirection) -> Result<Self, RequestError> {
        let status = Status::from(packet.integer(attribute::ACCT_STATUS_TYPE).ok_or(RequestError::NoStatusType)?);
        let identity = identity_of(packet);
        if identity.acct_session_id.is_none() && !matches!(status, Status::AccountingOn | Status::AccountingOff) {
            return Err(RequestError::NoSessionId);
        }
        let delay = packet.integer(attribute::ACCT_DELAY_TIME).unwrap_or(0);
        let text = |kind| packet.first(kind).map(|it| String::from_utf8_lossy(it).into_owned());
        Ok(Self {
            status,
            user: text(attribute::USER_NAME),
            classes: packet.all(attribute::CLASS).map(<[u8]>::to_vec).collect(),
            report: Report {
                at: received_at.before(Duration::from_secs(u64::from(delay))),
                identity,
                counters: counters(packet, octets),
                terminate_cause: packet.integer(attribute::ACCT_TERMINATE_CAUSE),
                filter_id: text(attribute::FILTER_ID),
            },
        })
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

    fn read(octets: OctetDirection, fill: impl FnOnce(&mut PacketBuilder)) -> Result<Request, RequestError> {
        let mut builder = PacketBuilder::request(Code::AccountingRequest, 1, [0; 16]);
        fill(&mut builder);
        let bytes = builder.sign_request(b"x").unwrap().to_vec();
        Request::read(&Packet::parse(&bytes).unwrap(), Timestamp::from_secs(1000), octets)
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
    fn rfc_2866_section_5_2_delay_moves_the_event_back() {
        assert_eq!(read(OctetDirection::Standard, stop).unwrap().report.at, Timestamp::from_secs(993));
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
