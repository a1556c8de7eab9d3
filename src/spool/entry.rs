//! One entry: a packet or a fact as it came, its form in the file, and its checksum. Judges nothing of what it says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::model::{ApproverKind, NasName, SessionId, Timestamp};
use crate::session::Event;

const CHECKSUM: usize = 16;

/// What the spool keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An Accounting-Request, as it was received.
    Accounting(AccountingPacket),
    /// A press of a button, sealed again so that nobody else can put one here.
    Press {
        /// When.
        at: Timestamp,
        /// The sealed press.
        button: String,
        /// By which channel.
        approver: ApproverKind,
        /// In which chat; `None` when an older version kept it.
        chat: Option<String>,
        /// Who pressed.
        presser: String,
    },
    /// What became of an order: a CoA-Request, a Disconnect-Request or a prompt.
    Outcome {
        /// When.
        at: Timestamp,
        /// Whose order.
        session: SessionId,
        /// Its number in the outbox.
        order: i64,
        /// What became of it.
        event: Box<Event>,
    },
}

/// An Accounting-Request, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountingPacket {
    /// Our name for the NAS.
    pub nas: NasName,
    /// Where it came from.
    pub source: IpAddr,
    /// When.
    pub received_at: Timestamp,
    /// Its octets.
    pub packet: Vec<u8>,
}

/// An entry as it lies in the file.
pub(super) struct Row<'a> {
    pub(super) at: i64,
    pub(super) about: String,
    pub(super) packet: &'a [u8],
    pub(super) checksum: Vec<u8>,
}

/// What stands beside the octets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum About {
    Accounting {
        nas: NasName,
        source: IpAddr,
    },
    Press {
        button: String,
        approver: ApproverKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chat: Option<String>,
        presser: String,
    },
    Outcome {
        session: SessionId,
        order: i64,
        outcome: Outcome,
    },
}

/// The facts that come of orders. What somebody decided is no such fact: it needs proof.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Outcome {
    PromptSent {
        approver: ApproverKind,
        reference: String,
    },
    PromptUndeliverable {
        approver: ApproverKind,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        strays: Option<String>,
    },
    CoaAcked {
        attempt: u32,
    },
    CoaNaked {
        attempt: u32,
        error_cause: Option<u32>,
    },
    CoaUnanswered {
        attempt: u32,
    },
    DisconnectAcked {
        attempt: u32,
    },
    DisconnectNaked {
        attempt: u32,
        error_cause: Option<u32>,
    },
    DisconnectUnanswered {
        attempt: u32,
    },
}

impl Entry {
    /// The outcome of an order, when the event is one.
    pub fn outcome(at: Timestamp, session: SessionId, order: i64, event: &Event) -> Option<Self> {
        Outcome::of(event)?;
        Some(Self::Outcome { at, session, order, event: Box::new(event.clone()) })
    }

    /// Roughly what it takes in the file.
    pub fn octets(&self) -> u64 {
        const BESIDE: u64 = 128;
        match self {
            Self::Accounting(packet) => BESIDE + packet.packet.len() as u64,
            Self::Press { .. } | Self::Outcome { .. } => 2 * BESIDE,
        }
    }

    pub(super) fn to_row(&self) -> Row<'_> {
        let (at, packet, about) = match self {
            Self::Accounting(AccountingPacket { nas, source, received_at, packet }) => {
                (*received_at, packet.as_slice(), About::Accounting { nas: nas.clone(), source: *source })
            }
            Self::Press { at, button, approver, chat, presser } => {
                let (button, chat, presser) = (button.clone(), chat.clone(), presser.clone());
                let about = About::Press { button, approver: *approver, chat, presser };
                (*at, [].as_slice(), about)
            }
            Self::Outcome { at, session, order, event } => {
                let outcome = Outcome::of(event).expect("`Entry::outcome` makes entries of outcomes alone");
                (*at, [].as_slice(), About::Outcome { session: *session, order: *order, outcome })
            }
        };
        let at = at.as_micros();
        let about = serde_json::to_string(&about).expect("our own structures have text for keys, and no failing parts");
        let checksum = checksum(at, &about, packet).to_vec();
        Row { at, about, packet, checksum }
    }
}

/// Reads an entry from its number, time, description, packet and checksum, or says what is wrong with it.
pub(super) fn read(row: &SqliteRow) -> Result<Entry, String> {
    let at: i64 = cell(row, 1)?;
    let about: String = cell(row, 2)?;
    let packet: Vec<u8> = cell(row, 3)?;
    let kept: Vec<u8> = cell(row, 4)?;
    if kept != checksum(at, &about, &packet) {
        return Err("its checksum does not match".to_owned());
    }
    let at = Timestamp::from_micros(at);
    Ok(match serde_json::from_str(&about).map_err(|error| format!("not understood: {error}"))? {
        About::Accounting { nas, source } => {
            Entry::Accounting(AccountingPacket { nas, source, received_at: at, packet })
        }
        About::Press { button, approver, chat, presser } => Entry::Press { at, button, approver, chat, presser },
        About::Outcome { session, order, outcome } => {
            Entry::Outcome { at, session, order, event: Box::new(outcome.into_event()) }
        }
    })
}

fn cell<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, String>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(|error| error.to_string())
}

fn checksum(at: i64, about: &str, packet: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = Sha256::new();
    sum.update(at.to_be_bytes());
    sum.update((about.len() as u64).to_be_bytes());
    sum.update(about);
    sum.update(packet);
    let mut first = [0; CHECKSUM];
    first.copy_from_slice(&sum.finalize()[..CHECKSUM]);
    first
}

impl Outcome {
    fn of(event: &Event) -> Option<Self> {
        Some(match event.clone() {
            Event::PromptSent { approver, reference } => Self::PromptSent { approver, reference },
            Event::PromptUndeliverable { approver, reason, strays } => {
                Self::PromptUndeliverable { approver, reason, strays }
            }
            Event::CoaAcked { attempt } => Self::CoaAcked { attempt },
            Event::CoaNaked { attempt, error_cause } => Self::CoaNaked { attempt, error_cause },
            Event::CoaUnanswered { attempt } => Self::CoaUnanswered { attempt },
            Event::DisconnectAcked { attempt } => Self::DisconnectAcked { attempt },
            Event::DisconnectNaked { attempt, error_cause } => Self::DisconnectNaked { attempt, error_cause },
            Event::DisconnectUnanswered { attempt } => Self::DisconnectUnanswered { attempt },
            _ => return None,
        })
    }

    fn into_event(self) -> Event {
        match self {
            Self::PromptSent { approver, reference } => Event::PromptSent { approver, reference },
            Self::PromptUndeliverable { approver, reason, strays } => {
                Event::PromptUndeliverable { approver, reason, strays }
            }
            Self::CoaAcked { attempt } => Event::CoaAcked { attempt },
            Self::CoaNaked { attempt, error_cause } => Event::CoaNaked { attempt, error_cause },
            Self::CoaUnanswered { attempt } => Event::CoaUnanswered { attempt },
            Self::DisconnectAcked { attempt } => Event::DisconnectAcked { attempt },
            Self::DisconnectNaked { attempt, error_cause } => Event::DisconnectNaked { attempt, error_cause },
            Self::DisconnectUnanswered { attempt } => Event::DisconnectUnanswered { attempt },
        }
    }
}
