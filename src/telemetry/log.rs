//! The log: to standard error, for people or as JSON.

use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use crate::config::{Log, LogFormat};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("log.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody did it before.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
    /// The subscriber is gone.
    #[error("the log's filter cannot be changed: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes the filter of a running log, for a reload.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// Sets the process's log up. Once.
///
/// # Errors
/// [`LogError`] when the filter is not understood or it was done before.
pub fn init(log: &Log) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.filter)?);
    let plain = tracing_subscriber::fmt::layer::<Filtered>().with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Text => plain.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => plain.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    Ok(LogHandle(handle))
}

impl LogHandle {
    /// Puts another filter in force. The format stays until the next start.
    ///
    /// # Errors
    /// [`LogError`] when the filter is not understood; the old one stays.
    pub fn apply(&self, log: &Log) -> Result<(), LogError> {
        Ok(self.0.reload(EnvFilter::try_new(&log.filter)?)?)
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}
