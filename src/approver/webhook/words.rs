//! The bodies, in JSON: what we ask and tell, and what is answered.
//!
//! Fields are only ever added; `version` would change otherwise. Knows no signature.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::approver::Question;
use crate::model::SessionId;
use crate::session::{Outcome, Told, Verdict};

/// The version of what is written here.
const VERSION: u32 = 1;
/// How long the name of whoever answered may be, in characters.
const BY: usize = 64;

#[derive(Serialize)]
struct Asked<'a> {
    version: u32,
    event: &'static str,
    session: SessionId,
    user: &'a str,
    nas: &'a str,
    calling_station_id: Option<&'a str>,
    accepted_at: String,
    deadline: String,
    seconds_left: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback: Option<&'a Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// A question.
pub(super) fn question(question: &Question, nonce: &str, callback: Option<&Url>) -> Vec<u8> {
    bytes(&Asked { nonce: Some(nonce), callback, ..asked("question", question) })
}

/// How a question ended.
pub(super) fn outcome(question: &Question, outcome: Outcome) -> Vec<u8> {
    bytes(&Asked { outcome: Some(outcome), ..asked("outcome", question) })
}

fn asked<'a>(event: &'static str, question: &'a Question) -> Asked<'a> {
    Asked {
        version: VERSION,
        event,
        session: question.session,
        user: &question.user,
        nas: &question.nas,
        calling_station_id: question.calling_station_id.as_deref(),
        accepted_at: question.accepted_at.to_string(),
        deadline: question.deadline.to_string(),
        seconds_left: question.deadline.since(question.now).as_secs(),
        nonce: None,
        callback: None,
        outcome: None,
    }
}

fn bytes(asked: &Asked<'_>) -> Vec<u8> {
    serde_json::to_vec(asked).expect("our own structure has no failing parts")
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The session, where it is named too.
    pub(super) session: Option<SessionId>,
    /// What the question was sent with.
    pub(super) nonce: String,
    /// Yes or no.
    pub(super) verdict: Verdict,
    /// Who, for the record.
    pub(super) by: String,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    answer: Option<Word>,
    #[serde(default)]
    by: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Deny,
}

/// Reads an answer. `Ok(None)`: there is none yet; an empty body, or an object without `answer`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Option<Said>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let raw: Raw = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Some(answer) = raw.answer else { return Ok(None) };
    let nonce = raw.nonce.ok_or("an answer needs the nonce of its question")?;
    let clean: String = raw.by.unwrap_or_default().chars().filter(|c| !c.is_control()).take(BY).collect();
    let by = if clean.trim().is_empty() { "webhook".to_owned() } else { clean.trim().to_owned() };
    let verdict = match answer {
        Word::Approve => Verdict::Approved,
        Word::Deny => Verdict::Denied,
    };
    Ok(Some(Said { session: raw.session, nonce, verdict, by }))
}

/// What the other side is told of its answer.
pub(super) const fn told(told: Told) -> &'static str {
    match told {
        Told::Done => "done",
        Told::Counted { .. } => "counted",
        Told::Nothing => "nothing",
        Told::AlreadyDecided(Verdict::Approved) => "already-approved",
        Told::AlreadyDecided(Verdict::Denied) => "already-denied",
        Told::AlreadyExpired => "already-expired",
        Told::AlreadySuperseded => "already-superseded",
        Told::SessionOver => "session-over",
        Told::NotHeld => "not-held",
        Told::NotEntitled => "not-entitled",
        Told::Noted => "noted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_or_it_is_said_why_not() {
        let said = |text: &str| read(text.as_bytes());
        assert_eq!(said(""), Ok(None));
        assert_eq!(said("{\"status\": \"asked\"}"), Ok(None));
        let yes = said("{\"answer\": \"approve\", \"nonce\": \"n\", \"by\": \"ali\\u0007ce \"}").unwrap().unwrap();
        assert_eq!((yes.verdict, yes.by.as_str(), yes.session), (Verdict::Approved, "alice", None));
        let no = said("{\"answer\": \"deny\", \"nonce\": \"n\"}").unwrap().unwrap();
        assert_eq!((no.verdict, no.by.as_str()), (Verdict::Denied, "webhook"));
        for wrong in ["approve", "{\"answer\": \"yes\", \"nonce\": \"n\"}", "{\"answer\": \"approve\"}", "[1]"] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
    }
}
