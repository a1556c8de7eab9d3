//! What is wrong with messages, by file and line.

use std::fmt;

/// Messages that cannot be used. All that is wrong is named at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(problems))]
pub struct MessagesError {
    /// In the order of the files.
    pub problems: Vec<MessageProblem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageProblem {
    /// The file, or directory.
    pub file: String,
    /// The line, counted from 1; `None` when it is about the whole.
    pub line: Option<usize>,
    /// What.
    pub what: String,
}

impl fmt::Display for MessageProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

fn lines(problems: &[MessageProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
