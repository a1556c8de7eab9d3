//! What came of a request, in words and as JSON. Passwords and keys are shown as hidden; dictionaries say which.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::request::Request;
use crate::net::client::{ClientError, Exchange, Ignored};
use crate::radius::dictionary::Dictionary;
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{Code, Packet};

/// How a request ended, the worst last: of several packets the worst is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Accept, ACK or Response.
    Accepted,
    /// Reject, Challenge, NAK or Protocol-Error.
    Refused,
    /// Nothing came.
    Unanswered,
    /// What came could not be verified.
    Unverified,
}

/// One request and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    request: PacketReport,
    transmissions: u32,
    elapsed_ms: f64,
    reply: Option<PacketReport>,
    /// What was right about the reply.
    verified: Vec<&'static str>,
    /// What was wrong, with advice.
    problem: Option<String>,
    ignored: IgnoredReport,
}

#[derive(Debug, Serialize)]
struct PacketReport {
    code: String,
    identifier: u8,
    attributes: Vec<AttributeReport>,
}

#[derive(Debug, Serialize)]
struct AttributeReport {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct IgnoredReport {
    malformed: u32,
    unasked: u32,
    forged: u32,
    unsigned: u32,
    misplaced: u32,
}

impl Outcome {
    /// For scripts.
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Refused => 1,
            Self::Unanswered => 3,
            Self::Unverified => 4,
        }
    }
}

impl Report {
    pub(super) fn new(dictionary: &Dictionary, request: &Request, exchange: Result<Exchange, ClientError>) -> Self {
        let asked = Packet::parse(&request.octets).expect("we made it");
        let mut report = Self {
            outcome: Outcome::Unanswered,
            request: PacketReport::new(dictionary, &asked),
            transmissions: 0,
            elapsed_ms: 0.0,
            reply: None,
            verified: vec![],
            problem: None,
            ignored: Ignored::default().into(),
        };
        match exchange {
            Ok(exchange) => report.judge(dictionary, request, &exchange),
            Err(error) => report.problem = Some(error.to_string()),
        }
        report
    }

    fn judge(&mut self, dictionary: &Dictionary, request: &Request, exchange: &Exchange) {
        self.transmissions = exchange.transmissions;
        self.elapsed_ms = millis(exchange.elapsed);
        self.ignored = exchange.ignored.into();
        let Some(reply) = &exchange.reply else {
            (self.outcome, self.problem) = no_reply(exchange);
            return;
        };
        let packet = reply.packet();
        self.reply = Some(PacketReport::new(dictionary, &packet));
        self.outcome = outcome(packet.code());
        self.verified.push("Response Authenticator");
        if reply.message_authenticator() {
            self.verified.push("Message-Authenticator");
        }
        let Some(expected) = request.success.filter(|_| packet.code() == Code::AccessAccept) else { return };
        // RFC 2759 §5: a peer ends the connection when the authenticator does not prove itself.
        match packet.vendor_first(MICROSOFT, microsoft::MS_CHAP2_SUCCESS) {
            Some(given) if given.get(..expected.len()) == Some(&expected[..]) => self.verified.push("MS-CHAP2-Success"),
            given => {
                let what =
                    if given.is_some() { "the MS-CHAP2-Success is wrong" } else { "there is no MS-CHAP2-Success" };
                self.outcome = Outcome::Unverified;
                self.problem = Some(format!("{what}: the server did not show that it knows the password"));
            }
        }
    }

    /// From the first transmission to the answer; `None` without one.
    pub(super) fn round_trip_ms(&self) -> Option<f64> {
        self.reply.as_ref().map(|_| self.elapsed_ms)
    }

    /// The exchange for people. What it shows of packets is what the dictionary wrote, with escapes.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.request.write(&mut out, "");
        let times =
            if self.transmissions == 1 { String::new() } else { format!(", sent {} times", self.transmissions) };
        match &self.reply {
            Some(reply) => {
                reply.write(&mut out, &format!(" after {}{times}", words(self.elapsed_ms)));
                let _ = write!(out, "  verified: {}", self.verified.join(", "));
            }
            None => {
                let _ = write!(out, "No answer after {}{times}", words(self.elapsed_ms));
            }
        }
        let ignored = self.ignored.words();
        if !ignored.is_empty() {
            let _ = write!(out, "\n  ignored: {}", ignored.join(", "));
        }
        if let Some(problem) = &self.problem {
            let _ = write!(out, "\n  {problem}");
        }
        out
    }
}

fn outcome(code: Code) -> Outcome {
    match code {
        Code::AccessAccept | Code::AccountingResponse | Code::CoaAck | Code::DisconnectAck => Outcome::Accepted,
        _ => Outcome::Refused,
    }
}

fn no_reply(exchange: &Exchange) -> (Outcome, Option<String>) {
    let Ignored { forged, unsigned, .. } = exchange.ignored;
    if forged > 0 {
        let why = "an answer came that was not made with this secret; is the secret right on both sides?";
        return (Outcome::Unverified, Some(why.to_owned()));
    }
    if unsigned > 0 {
        let why = "an answer came without Message-Authenticator, so anybody on the way may have made it (CVE-2024-3596); \
                   update the server, or accept it with --accept-unsigned";
        return (Outcome::Unverified, Some(why.to_owned()));
    }
    let why = if exchange.port_closed {
        "the host says that nobody listens on that port"
    } else {
        "a server does not answer whom it does not know, nor a request made with another secret: see its log"
    };
    (Outcome::Unanswered, Some(why.to_owned()))
}

impl PacketReport {
    fn new(dictionary: &Dictionary, packet: &Packet<'_>) -> Self {
        let described = dictionary.describe_all(packet.attributes().map(|attribute| (attribute.kind, attribute.value)));
        Self {
            code: packet.code().to_string(),
            identifier: packet.identifier(),
            attributes: described.into_iter().map(|one| AttributeReport { name: one.name, value: one.text }).collect(),
        }
    }

    fn write(&self, out: &mut String, after: &str) {
        let _ = writeln!(out, "{} {}{after}", self.code, self.identifier);
        for AttributeReport { name, value } in &self.attributes {
            let _ = writeln!(out, "  {name} = {value}");
        }
    }
}

impl From<Ignored> for IgnoredReport {
    fn from(ignored: Ignored) -> Self {
        let Ignored { malformed, unasked, forged, unsigned, misplaced } = ignored;
        Self { malformed, unasked, forged, unsigned, misplaced }
    }
}

impl IgnoredReport {
    fn words(&self) -> Vec<String> {
        let counts = [
            (self.malformed, "malformed"),
            (self.unasked, "late or unasked"),
            (self.forged, "with a wrong authenticator"),
            (self.unsigned, "without Message-Authenticator"),
            (self.misplaced, "with a code that answers something else"),
        ];
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

/// Several requests in one line.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    packets: usize,
    accepted: usize,
    refused: usize,
    unanswered: usize,
    unverified: usize,
    elapsed_ms: f64,
    /// Of those that were answered, from the first transmission: shortest, median, longest.
    round_trip_ms: Option<[f64; 3]>,
    #[serde(skip)]
    round_trips: Vec<f64>,
    #[serde(skip)]
    worst: Option<Outcome>,
}

impl Summary {
    pub(super) fn add(&mut self, report: &Report) {
        self.packets += 1;
        *match report.outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::Refused => &mut self.refused,
            Outcome::Unanswered => &mut self.unanswered,
            Outcome::Unverified => &mut self.unverified,
        } += 1;
        self.round_trips.extend(report.round_trip_ms());
        self.worst = self.worst.max(Some(report.outcome));
    }

    /// When all have been added.
    pub(super) fn finish(&mut self, elapsed: Duration) {
        self.elapsed_ms = millis(elapsed);
        self.round_trips.sort_by(f64::total_cmp);
        if let [first, .., last] | [first @ last] = self.round_trips[..] {
            self.round_trip_ms = Some([first, self.round_trips[self.round_trips.len() / 2], last]);
        }
    }

    /// Of all outcomes the worst.
    pub(super) fn worst(&self) -> Outcome {
        self.worst.unwrap_or(Outcome::Unanswered)
    }

    pub(super) fn text(&self) -> String {
        let Self { packets, accepted, refused, unanswered, unverified, elapsed_ms, .. } = self;
        let mut out = format!(
            "{packets} packets in {:.2} s: {accepted} accepted, {refused} refused, {unanswered} unanswered, \
             {unverified} unverified",
            elapsed_ms / 1000.0
        );
        if let Some([shortest, median, longest]) = self.round_trip_ms {
            let [shortest, median, longest] = [shortest, median, longest].map(words);
            let _ = write!(out, "; answered after {shortest} to {longest}, median {median}");
        }
        out
    }
}

fn millis(duration: Duration) -> f64 {
    // Microseconds are as fine as anybody can measure here.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A time with as many digits as are of use.
fn words(millis: f64) -> String {
    match millis {
        ..10.0 => format!("{millis:.3} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}
