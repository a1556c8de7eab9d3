//! How a command fails: one clear line and an exit code.

use std::io;

use crate::app::keys::KeyError;
use crate::app::{ServeError, WordsError};
use crate::auth::CredentialError;
use crate::config::ConfigError;
use crate::store::StoreError;
use crate::telemetry::LogError;

/// Why a command did not do it.
#[derive(Debug)]
pub(super) struct Failure {
    /// Which kind.
    pub(super) exit: Exit,
    /// What to print: what is wrong, and what to do.
    pub(super) message: String,
}

/// The kinds of failure scripts tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Anything else.
    Failed,
    /// The arguments contradict each other.
    Usage,
    /// Somebody or something was faster.
    TooLate,
    /// There is none of that name.
    NotFound,
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TooLate => 3,
            Self::NotFound => 4,
        }
    }
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let advice = match &error {
            StoreError::Away(_) => "; is it running, and is store.url right?",
            StoreError::Exists(_) => "; change it with `set`, or remove it first",
            StoreError::BadAddress(_) => "; see store.url",
            StoreError::Missing(_) | StoreError::Refused(_) | StoreError::BadRow { .. } | StoreError::Migration(_) => {
                ""
            }
        };
        let exit = if matches!(error, StoreError::Missing(_)) { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format!("{error}{advice}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<WordsError> for Failure {
    fn from(error: WordsError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let advice = match &error {
            ServeError::Bind { problem, .. } if problem.kind() == io::ErrorKind::AddrInUse => {
                "; another server is there: stop it, or choose other ports with --auth and --accounting"
            }
            ServeError::Bind { .. } => "; see server.auth and server.accounting",
            _ => "",
        };
        Self::failed(format!("{error}{advice}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
