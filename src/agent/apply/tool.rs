//! Runs a program of the host with an argument vector and perhaps lines on its standard input: no shell, nothing to quote.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Why a program did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum ToolError {
    /// It cannot be run.
    #[error("{0} cannot be run: {1}; install iproute2")]
    Run(&'static str, io::Error),
    /// It refused.
    #[error("{0} refused: {1}")]
    Refused(&'static str, String),
}

/// Runs it to its end; gives what it said on its standard output.
///
/// # Errors
/// [`ToolError`]: all that it said on its standard error, in one line.
pub(super) async fn run(program: &'static str, arguments: &[&str], lines: &str) -> Result<String, ToolError> {
    let failed = |error| ToolError::Run(program, error);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async {
        match stdin {
            // Dropped at the end, which is the end of its input.
            Some(mut stdin) => stdin.write_all(lines.as_bytes()).await,
            None => Ok(()),
        }
    };
    // Side by side: it may say more than a pipe holds before it has read everything.
    let (written, output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        return Err(ToolError::Refused(program, said));
    }
    written.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
