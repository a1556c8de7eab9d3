//! The timeline: what the NAS saw and what people did, printed as it happens and kept for the end.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::radius::dictionary::{Described, Dictionary};
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{Code, Packet, attribute};

use super::nas::{Seen, What};
use super::play::Outcome;

/// How often to look what the NAS saw: often enough to seem at once.
const GLANCE: Duration = Duration::from_millis(20);

/// How the timeline is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// For people.
    Plain,
    /// For people at a terminal.
    Coloured,
    /// One object a line.
    Json,
}

/// Something on the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// At the NAS.
    Nas(Seen),
    /// Something a person did, or did not do.
    Note {
        /// When.
        at: Instant,
        /// Who it is about.
        user: Option<String>,
        /// What.
        text: String,
    },
}

/// The timeline, growing.
pub(super) struct Timeline {
    kept: Arc<Mutex<Kept>>,
    printer: JoinHandle<()>,
}

struct Kept {
    style: Style,
    begun: Instant,
    seen: mpsc::UnboundedReceiver<Seen>,
    entries: Vec<Entry>,
}

impl Style {
    /// Colours are for terminals, and for those who want them (`NO_COLOR`).
    pub(super) fn for_output(json: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match json {
            true => Self::Json,
            false if io::stdout().is_terminal() && !unwanted => Self::Coloured,
            false => Self::Plain,
        }
    }
}

impl Entry {
    /// When it happened.
    pub(super) fn at(&self) -> Instant {
        match self {
            Self::Nas(seen) => seen.at,
            Self::Note { at, .. } => *at,
        }
    }

    /// Who it is about.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Nas(seen) => seen.user.as_deref(),
            Self::Note { user, .. } => user.as_deref(),
        }
    }
}

impl Timeline {
    /// Starts with what the NAS sees from now on.
    pub(super) fn start(style: Style, seen: mpsc::UnboundedReceiver<Seen>) -> Self {
        let kept = Arc::new(Mutex::new(Kept { style, begun: Instant::now(), seen, entries: Vec::new() }));
        let printed = Arc::clone(&kept);
        let printer = tokio::spawn(async move {
            loop {
                tokio::time::sleep(GLANCE).await;
                lock(&printed).catch_up();
            }
        });
        Self { kept, printer }
    }

    /// Adds what a person did or did not do.
    pub(super) fn note(&self, user: Option<&str>, text: &str) {
        let mut kept = lock(&self.kept);
        // What the NAS saw before comes before.
        kept.catch_up();
        kept.add(Entry::Note { at: Instant::now(), user: user.map(str::to_owned), text: text.to_owned() });
    }

    /// Everything, in the order it happened.
    pub(super) fn end(self) -> Vec<Entry> {
        self.printer.abort();
        let mut kept = lock(&self.kept);
        kept.catch_up();
        let mut entries = std::mem::take(&mut kept.entries);
        entries.sort_by_key(Entry::at);
        entries
    }
}

impl Kept {
    fn catch_up(&mut self) {
        while let Ok(seen) = self.seen.try_recv() {
            self.add(Entry::Nas(seen));
        }
    }

    fn add(&mut self, entry: Entry) {
        let seconds = entry.at().saturating_duration_since(self.begun).as_secs_f64();
        let line = match self.style {
            Style::Json => json_line(seconds, &entry).to_string(),
            Style::Plain => plain_line(seconds, &entry),
            Style::Coloured => format!("\u{1b}[{}m{}\u{1b}[0m", colour(&entry), plain_line(seconds, &entry)),
        };
        // A reader that has gone away does not end the play.
        let _ = output::print(&line);
        self.entries.push(entry);
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints what became of everybody.
pub(super) fn conclude(outcomes: &[Outcome], missing: &[String], checked: bool, style: Style) -> Result<(), Failure> {
    if style == Style::Json {
        let seen = checked.then_some(missing.is_empty());
        return output::print(&json!({ "logins": outcomes, "all_seen": seen, "missing": missing }).to_string());
    }
    output::print("")?;
    let head = ["LOGIN", "METHOD", "ANSWER", "FILTER AT THE END", "HOW IT ENDED"];
    let rows = outcomes.iter().map(|outcome| {
        let ended = match (outcome.terminate_cause, outcome.stop_answered) {
            (None, _) => "still on".to_owned(),
            (Some(cause), true) => format!("Stop, {}", terminate_cause(cause)),
            (Some(cause), false) => format!("Stop, {}, not answered", terminate_cause(cause)),
        };
        let filter = output::or_dash(outcome.filter_id.as_ref());
        [outcome.login.to_owned(), outcome.method.to_owned(), outcome.answer.to_owned(), filter, ended]
    });
    output::print_table(head, rows.collect(), "Nobody logged in.")?;
    if checked && missing.is_empty() {
        output::print("\nEvery step was seen on the wire.")?;
    }
    Ok(())
}

// -- for people

/// `  0.013  NAS ──▶ radhold  Access-Request       #23  alice  Filter-Id  what else tells`
fn plain_line(seconds: f64, entry: &Entry) -> String {
    let text = match entry {
        Entry::Note { text, .. } => format!("● {text}"),
        Entry::Nas(seen) => nas_text(seen),
    };
    format!("{seconds:>7.3}  {}", output::printable(text.trim_end()))
}

fn nas_text(seen: &Seen) -> String {
    let user = seen.user.as_deref().unwrap_or("-");
    match &seen.what {
        What::Sent { repeat, .. } => packet_text("NAS ──▶ radhold", seen, user, *repeat > 0),
        What::Received { repeat, .. } => packet_text("NAS ◀── radhold", seen, user, *repeat),
        What::Dropped { octets, why } => {
            let code = Packet::parse(octets).map_or_else(|_| "datagram".to_owned(), |packet| packet.code().to_string());
            format!("NAS ✕── radhold  {code} dropped: {why}")
        }
        What::Filter { from: None, to } => {
            format!("NAS              {user} is on, with the filter {}", output::or_dash(to.as_ref()))
        }
        What::Filter { from: Some(from), to } => {
            format!("NAS              {user}'s filter changes from {from} to {}", output::or_dash(to.as_ref()))
        }
        What::Ended { cause } => format!("NAS              {user}'s session ends: {}", terminate_cause(*cause)),
        What::Unanswered => format!("NAS              nobody answers for {user}"),
    }
}

fn packet_text(arrow: &str, seen: &Seen, user: &str, repeat: bool) -> String {
    let Some(packet) = seen.packet() else { return arrow.to_owned() };
    let filter = packet.text(attribute::FILTER_ID).unwrap_or("");
    let again = if repeat { "again, " } else { "" };
    let telling = telling(&packet).join(", ");
    format!("{arrow}  {:<20} #{:<3}  {user:<6}  {filter:<8}  {again}{telling}", packet.code(), packet.identifier())
}

/// Attributes that tell something to somebody who looks on. Filter-Id has a column of its own.
fn telling(packet: &Packet<'_>) -> Vec<String> {
    const KINDS: [u8; 9] = [
        attribute::NAS_PORT,
        attribute::CALLING_STATION_ID,
        attribute::SESSION_TIMEOUT,
        attribute::ACCT_SESSION_TIME,
        attribute::ACCT_INPUT_OCTETS,
        attribute::ACCT_OUTPUT_OCTETS,
        attribute::ACCT_TERMINATE_CAUSE,
        attribute::ERROR_CAUSE,
        attribute::REPLY_MESSAGE,
    ];
    let accounting = packet.code() == Code::AccountingRequest;
    let mut out: Vec<String> = method(packet).map(str::to_owned).into_iter().collect();
    let described = described(packet);
    let text_of = |kind: u8| {
        let name = Dictionary::embedded().describe(kind, &[0; 4]).pop()?.name;
        described.iter().find(|attribute| attribute.name == name).map(|attribute| (name, attribute.text.clone()))
    };
    out.extend(text_of(attribute::ACCT_STATUS_TYPE).map(|(_, status)| status));
    for kind in KINDS.into_iter().filter(|&kind| packet.has(kind)) {
        // Accounting repeats what the login said, and counts nothing at first.
        let said = matches!(kind, attribute::NAS_PORT | attribute::CALLING_STATION_ID);
        let silent = accounting && (said || packet.integer(kind) == Some(0));
        if let Some((name, text)) = text_of(kind).filter(|_| !silent) {
            out.push(format!("{name} {text}"));
        }
    }
    if packet.has(attribute::CLASS) {
        out.push("Class".to_owned());
    }
    // Where it must stand first; elsewhere it goes without saying.
    let answers_access_request = matches!(packet.code(), Code::AccessAccept | Code::AccessReject);
    let first = packet.attributes().next().map(|attribute| attribute.kind);
    if answers_access_request && first == Some(attribute::MESSAGE_AUTHENTICATOR) {
        out.push("Message-Authenticator first".to_owned());
    }
    out
}

fn method(packet: &Packet<'_>) -> Option<&'static str> {
    let microsoft = |kind| packet.vendor_first(MICROSOFT, kind).is_some();
    if packet.has(attribute::USER_PASSWORD) {
        Some("PAP")
    } else if packet.has(attribute::CHAP_PASSWORD) {
        Some("CHAP")
    } else if microsoft(microsoft::MS_CHAP2_RESPONSE) {
        Some("MS-CHAPv2")
    } else if microsoft(microsoft::MS_CHAP2_SUCCESS) {
        Some("MS-CHAP2-Success")
    } else {
        None
    }
}

fn described(packet: &Packet<'_>) -> Vec<Described> {
    Dictionary::embedded().describe_all(packet.attributes().map(|attribute| (attribute.kind, attribute.value)))
}

fn terminate_cause(cause: u32) -> String {
    let described = Dictionary::embedded().describe(attribute::ACCT_TERMINATE_CAUSE, &cause.to_be_bytes()).pop();
    described.map_or_else(|| cause.to_string(), |described| described.text)
}

const fn colour(entry: &Entry) -> &'static str {
    match entry {
        Entry::Note { .. } => "1;33",
        Entry::Nas(seen) => match seen.what {
            What::Sent { .. } => "36",
            What::Received { .. } => "32",
            What::Dropped { .. } | What::Unanswered => "31",
            What::Filter { .. } | What::Ended { .. } => "1",
        },
    }
}

// -- for programs

fn json_line(seconds: f64, entry: &Entry) -> Value {
    let mut line = match entry {
        Entry::Note { text, .. } => json!({ "event": "note", "text": text }),
        Entry::Nas(seen) => match &seen.what {
            What::Sent { repeat, .. } => packet_json("nas", "radhold", seen, *repeat > 0),
            What::Received { repeat, .. } => packet_json("radhold", "nas", seen, *repeat),
            What::Dropped { octets, why } => json!({ "event": "dropped", "why": why, "octets": hex::encode(octets) }),
            What::Filter { from, to } => json!({ "event": "filter", "before": from, "filter_id": to }),
            What::Ended { cause } => json!({ "event": "ended", "terminate_cause": cause }),
            What::Unanswered => json!({ "event": "unanswered" }),
        },
    };
    // To the microsecond; the rest is noise.
    line["at"] = json!((seconds * 1e6).round() / 1e6);
    line["user"] = json!(entry.user());
    line
}

fn packet_json(from: &str, to: &str, seen: &Seen, repeat: bool) -> Value {
    let Some(packet) = seen.packet() else { return json!({ "event": "packet", "from": from, "to": to }) };
    let attributes: Vec<Value> = described(&packet)
        .into_iter()
        .map(|described| json!({ "name": described.name, "value": described.text }))
        .collect();
    json!({
        "event": "packet",
        "from": from,
        "to": to,
        "code": packet.code().to_string(),
        "identifier": packet.identifier(),
        "repeat": repeat,
        "filter_id": packet.text(attribute::FILTER_ID),
        "attributes": attributes,
    })
}
