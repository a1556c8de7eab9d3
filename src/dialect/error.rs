//! What is wrong with a dialect file, or with what one was asked to say.

use std::fmt;

use crate::radius::dictionary::EncodeError;

/// A dialect file that cannot be used. Displayed as `file:line: problem`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct DialectError {
    /// The file, as it was named to us.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line of a dialect file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not TOML.
    #[error("{0}")]
    Toml(String),
    /// A name that means nothing there.
    #[error("unknown {what} \"{name}\"{}; known are {}", Nearest(.name, .known), .known.join(", "))]
    Unknown {
        /// Kind of name: key, placeholder, identification attribute.
        what: &'static str,
        /// What was written.
        name: String,
        /// What could have been.
        known: &'static [&'static str],
    },
    /// A value of another type.
    #[error("{key} must be {wanted}")]
    Type {
        /// The key.
        key: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A key that every dialect must have.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A brace without its partner.
    #[error("{0}: a brace must enclose a placeholder; write {{{{ or }}}} for a brace itself")]
    Brace(String),
    /// An attribute that the dictionary cannot make.
    #[error(transparent)]
    Attribute(#[from] EncodeError),
    /// An attribute that radhold itself puts into packets.
    #[error("{0} is written by radhold itself and cannot be set here")]
    Ours(String),
    /// Keys that contradict each other, and what follows.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// A session or grant that cannot be put into attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An attribute of the dialect or of the user's reply, with a value that does not fit.
    #[error("dialect {dialect}: {source}")]
    Attribute {
        /// The dialect's name.
        dialect: String,
        /// What does not fit.
        source: EncodeError,
    },
    /// A reply item that radhold itself puts into packets.
    #[error("{0} is written by radhold itself and cannot be a reply item")]
    Ours(String),
    /// A session that was never granted anything cannot be permitted anything.
    #[error("the session is only observed: there is nothing to permit")]
    NoGrant,
}

/// The known name that is spelled most like a wrong one.
struct Nearest<'a>(&'a str, &'a [&'a str]);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let likeness = |known: &&&str| strsim::jaro_winkler(self.0, known);
        match self.1.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
            Some(nearest) if likeness(&nearest) > 0.8 => write!(f, "; did you mean \"{nearest}\"?"),
            _ => Ok(()),
        }
    }
}
