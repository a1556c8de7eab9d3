//! The log: to standard error, for people or as JSON.

use std::io::{self, BufWriter, IsTerminal as _};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _};

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
}

/// Lines that wait to be written, at most: of more, the latest are lost.
const MOST_WAITING: usize = 16_384;
/// How often it is looked whether lines were lost.
const LOOK: Duration = Duration::from_secs(5);

/// What counts the lines that were lost.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// The thread that writes the log. When this is dropped, what was logged is written, as far as it is read within a second
/// or so.
#[derive(Debug)]
#[must_use = "the log ends with it"]
pub struct LogThread(#[expect(dead_code, reason = "held until it is dropped")] WorkerGuard);

/// Sets the process's log up, for a command: whoever logs writes. Once.
///
/// # Errors
/// [`LogError`] when the filter is not understood or it was done before.
pub fn init(log: &Log) -> Result<(), LogError> {
    set_up(log, io::stderr)
}

/// Sets the process's log up, for a server: a thread of its own writes, and whoever logs never waits for whoever reads. Once. Lines that
/// find no place to wait are lost and counted; see [`watch_log`].
///
/// # Errors
/// As [`init`].
pub fn init_beside(log: &Log) -> Result<LogThread, LogError> {
    // Lines that wait together are written together.
    let (writer, thread) = NonBlockingBuilder::default()
        .buffered_lines_limit(MOST_WAITING)
        .thread_name("log")
        .finish(BufWriter::new(io::stderr()));
    let lost = writer.error_counter();
    set_up(log, writer)?;
    // Set up once, it is also set once.
    let _ = LOST.set(lost);
    Ok(LogThread(thread))
}

fn set_up(log: &Log, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?)
}

/// Counts and tells, for ever, how many lines were lost. Drop the future to stop.
pub async fn watch_log() {
    let mut told = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let lost = LOST.get().map_or(0, ErrorCounter::dropped_lines) as u64;
        if lost > told {
            super::add("log.line-lost", lost - told);
            tracing::warn!(lost = lost - told, "lines of the log were lost: they came faster than they were read");
            told = lost;
        }
    }
}
