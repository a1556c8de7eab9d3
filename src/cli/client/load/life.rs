//! What one simulated session has to say: its login, Start, Interim-Updates and Stop, one after the other.
//!
//! Its counters follow from its number and step alone, so that whoever knows how far it was acknowledged knows what must be
//! on record. Draws no chance and sends nothing.

use std::fmt::Write as _;
use std::time::Instant;

use crate::auth::{NtHash, peer};
use crate::radius::hiding::hide_user_password;
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{Code, EncodeError, PacketBuilder, PreparedSecret, attribute};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum What {
    /// Start, Interim-Updates and Stop of many sessions that nobody logged in to: no Class.
    Accounting,
    /// Whole sessions: Access-Request (PAP), then Start, Interim-Updates and Stop with the Class of the Access-Accept.
    Sessions,
    /// Access-Request with User-Password.
    Pap,
    /// Access-Request with CHAP-Password.
    Chap,
    /// Access-Request with MS-CHAP2-Response.
    #[value(name = "mschapv2")]
    MsChapV2,
    /// Status-Server.
    Status,
    /// Access-Request with User-Password to a UDP echo, whose answer is the request itself: what the network and this generator cost.
    Echo,
}

impl What {
    /// The word on the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accounting => "accounting",
            Self::Sessions => "sessions",
            Self::Pap => "pap",
            Self::Chap => "chap",
            Self::MsChapV2 => "mschapv2",
            Self::Status => "status",
            Self::Echo => "echo",
        }
    }

    /// Whether it needs a password.
    pub(super) const fn logs_in(self) -> bool {
        matches!(self, Self::Sessions | Self::Pap | Self::Chap | Self::MsChapV2 | Self::Echo)
    }

    /// The one request of each life, where there is one: then no request depends on an answer, and all can be written ahead.
    pub(super) const fn alone(self) -> Option<Step> {
        match self {
            Self::Accounting | Self::Sessions => None,
            Self::Pap | Self::Chap | Self::MsChapV2 | Self::Echo => Some(Step::Login),
            Self::Status => Some(Step::Status),
        }
    }
}

/// What all sessions of a run have in common.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) what: What,
    pub(super) secret: PreparedSecret,
    /// Tells this run's Acct-Session-Ids from those of others.
    pub(super) run: u32,
    pub(super) user: String,
    /// So many users, with a number behind the name; one has the name itself.
    pub(super) users: u64,
    pub(super) password: Vec<u8>,
    /// The password as MS-CHAPv2 has it, where that is what logs in.
    pub(super) nt_hash: Option<NtHash>,
    /// Users come in no order, and not one after the other.
    pub(super) shuffled: bool,
    /// Interim-Updates of each session.
    pub(super) interims: u32,
}

/// What requests are written with, again and again.
#[derive(Debug)]
pub(super) struct Writer {
    builder: PacketBuilder,
    user: String,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { builder: PacketBuilder::request(Code::AccountingRequest, 0, [0; 16]), user: String::new() }
    }
}

/// A request of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Login,
    Start,
    Interim,
    Stop,
    Status,
}

/// A simulated session.
#[derive(Debug)]
pub(super) struct Life {
    number: u64,
    /// Counted from the login, if there is one.
    next: u32,
    interims: u32,
    class: Option<Vec<u8>>,
    started: Option<Instant>,
}

/// Chance for one request, and time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw {
    /// Since the Start was sent, in whole seconds: Acct-Session-Time as an honest NAS gives it. One that ran ahead of the clock would
    /// put the session's start further back with every report.
    pub(super) session_time: u32,
    pub(super) authenticator: [u8; 16],
    pub(super) peer_challenge: [u8; 16],
}

impl Life {
    /// The session of that number.
    pub(super) fn new(number: u64, interims: u32) -> Self {
        Self { number, next: 0, interims, class: None, started: None }
    }

    /// What it says next; `None` when it is over.
    pub(super) fn step(&self, what: What) -> Option<Step> {
        let report = |report: u32| match report {
            0 => Some(Step::Start),
            report if report <= self.interims => Some(Step::Interim),
            report if report == self.interims + 1 => Some(Step::Stop),
            _ => None,
        };
        match (what, self.next) {
            (What::Accounting, next) => report(next),
            (What::Sessions, 0) => Some(Step::Login),
            (What::Sessions, next) => report(next - 1),
            (what, 0) => what.alone(),
            _ => None,
        }
    }

    /// Whole seconds since it first sent a report.
    pub(super) fn session_time(&mut self, step: Step, now: Instant) -> u32 {
        match step {
            Step::Login | Step::Status => 0,
            Step::Start | Step::Interim | Step::Stop => {
                let lasted = now.duration_since(*self.started.get_or_insert(now));
                u32::try_from(lasted.as_secs()).unwrap_or(u32::MAX)
            }
        }
    }

    /// The last step was acknowledged, by an Access-Accept with this Class if it was a login.
    pub(super) fn acknowledged(&mut self, class: Option<&[u8]>) {
        self.next += 1;
        self.class = class.map(<[u8]>::to_vec).or(self.class.take());
    }

    /// Acct-Input-Octets and Acct-Output-Octets as acknowledged so far.
    pub(super) fn octets(&self, what: What) -> (u64, u64) {
        let reports = self.next.saturating_sub(u32::from(what == What::Sessions));
        // The Start carries none.
        self.octets_at(reports.saturating_sub(1))
    }

    fn octets_at(&self, report: u32) -> (u64, u64) {
        let report = u64::from(report);
        (report * (100_000_000 + self.number % 1009), report * (700_000_000 + self.number % 4001))
    }

    /// Writes the request for `step`, signed.
    pub(super) fn write<'b>(
        &self,
        writer: &'b mut Writer,
        plan: &Plan,
        step: Step,
        identifier: u8,
        draw: &Draw,
    ) -> Result<&'b [u8], EncodeError> {
        self.write_with(writer, plan, &plan.secret, step, identifier, draw)
    }

    /// The same with another secret.
    pub(super) fn write_with<'b>(
        &self,
        writer: &'b mut Writer,
        plan: &Plan,
        secret: &PreparedSecret,
        step: Step,
        identifier: u8,
        draw: &Draw,
    ) -> Result<&'b [u8], EncodeError> {
        let Writer { builder, user } = writer;
        self.name(plan, user);
        let code = match step {
            Step::Login => Code::AccessRequest,
            Step::Start | Step::Interim | Step::Stop => Code::AccountingRequest,
            Step::Status => Code::StatusServer,
        };
        builder.restart_request(code, identifier, draw.authenticator);
        if step != Step::Status {
            self.identity(builder, user)?;
        }
        match step {
            Step::Status => (),
            Step::Login => self.login(builder, plan, user, draw)?,
            Step::Start | Step::Interim | Step::Stop => self.report(builder, plan, step, draw.session_time)?,
        }
        builder.sign_request_by(secret)
    }

    fn identity(&self, builder: &mut PacketBuilder, user: &str) -> Result<(), EncodeError> {
        let [.., a, b, c] = self.number.to_be_bytes();
        let mut station = *b"02-00-00-00-00-00";
        for (place, octet) in [(9, a), (12, b), (15, c)] {
            station[place..place + 2].copy_from_slice(&hexadecimal(octet));
        }
        builder.text(attribute::USER_NAME, user)?;
        builder.integer(attribute::NAS_PORT, u32::from_be_bytes([0, a, b, c]))?;
        builder.text(attribute::NAS_IDENTIFIER, "load")?;
        builder.text(attribute::CALLED_STATION_ID, "00-00-5E-00-53-01")?;
        builder.attribute(attribute::CALLING_STATION_ID, &station)?;
        Ok(())
    }

    /// Its user's name, in the place of what stands there.
    fn name(&self, plan: &Plan, name: &mut String) {
        let drawn = if plan.shuffled { shuffle(self.number) } else { self.number };
        name.clear();
        name.push_str(&plan.user);
        if plan.users > 1 {
            // Writing to a String does not fail.
            let _ = write!(name, "{}", drawn % plan.users);
        }
    }

    fn login(&self, builder: &mut PacketBuilder, plan: &Plan, user: &str, draw: &Draw) -> Result<(), EncodeError> {
        let Draw { authenticator, peer_challenge, .. } = draw;
        match plan.what {
            What::Chap => {
                let mut value = [0; 17];
                value[1..].copy_from_slice(&peer::chap(0, &plan.password, authenticator));
                builder.attribute(attribute::CHAP_PASSWORD, &value)?;
            }
            What::MsChapV2 => {
                let hash = plan.nt_hash.as_ref().expect("who logs in so has a hash");
                let mut value = [0; 50];
                value[2..18].copy_from_slice(peer_challenge);
                value[26..].copy_from_slice(&peer::ms_chap_v2(hash, authenticator, peer_challenge, user.as_bytes()));
                builder.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, authenticator)?;
                builder.vendor(MICROSOFT, microsoft::MS_CHAP2_RESPONSE, &value)?;
            }
            _ => {
                let hidden = hide_user_password(&plan.password, plan.secret.expose(), authenticator);
                builder.attribute(attribute::USER_PASSWORD, &hidden.expect("the password's length was checked"))?;
            }
        }
        Ok(())
    }

    fn report(
        &self,
        builder: &mut PacketBuilder,
        plan: &Plan,
        step: Step,
        session_time: u32,
    ) -> Result<(), EncodeError> {
        let status = match step {
            Step::Stop => 2,
            Step::Interim => 3,
            _ => 1,
        };
        let [.., a, b, c] = self.number.to_be_bytes();
        builder.integer(attribute::ACCT_STATUS_TYPE, status)?;
        builder.text(attribute::ACCT_SESSION_ID, &format!("{:08X}{:08X}", plan.run, self.number))?;
        builder.attribute(attribute::FRAMED_IP_ADDRESS, &[10, a, b, c])?;
        builder.integer(attribute::NAS_PORT_TYPE, 5)?;
        builder.integer(attribute::SERVICE_TYPE, 2)?;
        builder.integer(attribute::FRAMED_PROTOCOL, 1)?;
        builder.integer(attribute::ACCT_DELAY_TIME, 0)?;
        if let Some(class) = &self.class {
            builder.attribute(attribute::CLASS, class)?;
        }
        if step == Step::Start {
            return Ok(());
        }
        let report = self.next - u32::from(plan.what == What::Sessions);
        let (input, output) = self.octets_at(report);
        let halves = |octets: u64| ((octets >> 32) as u32, octets as u32);
        for (octets, low, high, packets) in [
            (input, attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS, attribute::ACCT_INPUT_PACKETS),
            (output, attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS, attribute::ACCT_OUTPUT_PACKETS),
        ] {
            let (gigawords, octets) = halves(octets);
            builder.integer(low, octets)?;
            builder.integer(high, gigawords)?;
            builder.integer(packets, report * 1000)?;
        }
        builder.integer(attribute::ACCT_SESSION_TIME, session_time)?;
        if step == Step::Stop {
            // User Request
            builder.integer(attribute::ACCT_TERMINATE_CAUSE, 1)?;
        }
        Ok(())
    }
}

fn hexadecimal(octet: u8) -> [u8; 2] {
    [octet >> 4, octet & 15].map(|digit| b"0123456789ABCDEF"[usize::from(digit)])
}

/// Another number for each number, neighbours far from each other (the finalizer of SplitMix64).
pub(super) const fn shuffle(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::Packet;

    fn plan(what: What) -> Plan {
        Plan {
            what,
            secret: PreparedSecret::new(b"x"),
            nt_hash: None,
            run: 7,
            user: "u".into(),
            users: 10,
            shuffled: false,
            password: b"pw".to_vec(),
            interims: 2,
        }
    }

    fn steps(what: What) -> Vec<Step> {
        let mut life = Life::new(1, 2);
        std::iter::from_fn(|| {
            let step = life.step(what)?;
            life.acknowledged(None);
            Some(step)
        })
        .collect()
    }

    #[test]
    fn a_life_has_its_steps_in_order() {
        use Step::*;
        assert_eq!(steps(What::Accounting), [Start, Interim, Interim, Stop]);
        assert_eq!(steps(What::Sessions), [Login, Start, Interim, Interim, Stop]);
        assert_eq!(steps(What::Chap), [Login]);
        assert_eq!(steps(What::Status), [Status]);
        assert_eq!(steps(What::Echo), [Login]);
    }

    #[test]
    fn what_was_acknowledged_is_what_the_last_report_said() {
        let plan = plan(What::Sessions);
        let mut life = Life::new(123_456, 20);
        let mut writer = Writer::new();
        let draw = Draw { session_time: 7, authenticator: [1; 16], peer_challenge: [2; 16] };
        while let Some(step) = life.step(plan.what) {
            let packet = life.write(&mut writer, &plan, step, 9, &draw).unwrap().to_vec();
            life.acknowledged((step == Step::Login).then_some(&b"class"[..]));
            let packet = Packet::parse(&packet).unwrap();
            let wide = |low, high| {
                u64::from(packet.integer(high).unwrap_or(0)) << 32 | u64::from(packet.integer(low).unwrap_or(0))
            };
            let said = (
                wide(attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS),
                wide(attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS),
            );
            assert_eq!(life.octets(plan.what), said, "{step:?}");
            assert_eq!(packet.first(attribute::CLASS), (step != Step::Login).then_some(&b"class"[..]));
            assert_eq!(packet.text(attribute::USER_NAME), Some("u6"));
            assert_eq!(packet.text(attribute::CALLING_STATION_ID), Some("02-00-00-01-E2-40"));
        }
        assert!(life.octets(plan.what).1 > u64::from(u32::MAX), "long lives need gigawords");
    }

    #[test]
    fn users_are_everybody_once_or_drawn() {
        let mut plan = Plan { users: 1000, ..plan(What::Pap) };
        let mut names = |shuffled| {
            plan.shuffled = shuffled;
            let mut name = String::new();
            let mut of = |number| {
                Life::new(number, 0).name(&plan, &mut name);
                name.clone()
            };
            (0..1000).map(&mut of).collect::<Vec<_>>()
        };
        let (ordered, drawn) = (names(false), names(true));
        assert_eq!((ordered[0].as_str(), ordered[999].as_str()), ("u0", "u999"));
        let different = drawn.iter().collect::<std::collections::HashSet<_>>().len();
        // Of a thousand draws of a thousand, two thirds are different.
        assert!((580..680).contains(&different), "{different}");
    }
}
