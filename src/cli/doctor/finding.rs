//! What the doctor says of one thing. Knows nothing of what was looked at.

use serde::Serialize;

use super::super::output::printable;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, with a danger in it; or it could not be seen.
    Warn,
    /// It cannot work, or is open where it must be closed.
    Fail,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: role and a word.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) level: Level,
    /// What was seen.
    pub(super) says: String,
    /// Why it matters; of what is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<&'static str>,
    /// How to mend it: the command, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), why: None, mend: None }
    }

    pub(super) fn warn(
        check: &'static str,
        says: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Warn, says: says.into(), why: Some(why), mend: Some(mend.into()) }
    }

    pub(super) fn fail(
        check: &'static str,
        says: impl Into<String>,
        why: &'static str,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Fail, says: says.into(), why: Some(why), mend: Some(mend.into()) }
    }

    /// For people: one line, and two more when something is to be done.
    pub(super) fn lines(&self) -> String {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        let mut lines = format!("{level:<5} {:<22} {}", self.check, printable(&self.says));
        for (word, text) in [("why", self.why), ("mend", self.mend.as_deref())] {
            if let Some(text) = text {
                lines += &format!("\n      {word:<5} {}", printable(text));
            }
        }
        lines
    }
}
