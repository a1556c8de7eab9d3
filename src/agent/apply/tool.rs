//! Runs a program of the host with an argument vector and perhaps lines on its standard input: no shell, nothing to quote.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a program may take: the agent waits for it, and nothing else is done meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// And how much longer for each octet that it is given: thousands of sessions at once take their time.
const PATIENCE_PER_OCTET: Duration = Duration::from_micros(50);

/// Why a program did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum ToolError {
    /// It cannot be run.
    #[error("{0} cannot be run: {1}; install iproute2")]
    Run(&'static str, io::Error),
    /// It refused.
    #[error("{0} refused: {1}")]
    Refused(&'static str, String),
    /// It did not end in time, and was killed.
    #[error("{0} did not end in time")]
    Late(&'static str),
}

/// Runs it to its end, which must come in time; gives what it said on its standard output.
///
/// # Errors
/// [`ToolError`]: all that it said on its standard error, in one line.
pub(super) async fn run(program: &'static str, arguments: &[&str], lines: &str) -> Result<String, ToolError> {
    let longer = PATIENCE_PER_OCTET.saturating_mul(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    run_within(PATIENCE + longer, program, arguments, lines).await
}

async fn run_within(
    patience: Duration,
    program: &'static str,
    arguments: &[&str],
    lines: &str,
) -> Result<String, ToolError> {
    let failed = |error| ToolError::Run(program, error);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
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
    let both = async { tokio::join!(write, child.wait_with_output()) };
    let (written, output) = timeout(patience, both).await.map_err(|_| ToolError::Late(program))?;
    let output = output.map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        return Err(ToolError::Refused(program, said));
    }
    written.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_says_is_given_and_what_it_complains_of_too() {
        assert_eq!(run("cat", &[], "one\ntwo\n").await.unwrap(), "one\ntwo\n");
        assert!(matches!(run("ls", &["/nonexistent"], "").await, Err(ToolError::Refused("ls", _))));
        assert!(matches!(run("radhold-has-no-such-tool", &[], "").await, Err(ToolError::Run(..))));
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_given_up() {
        let ran = run_within(Duration::from_millis(50), "sleep", &["600"], "").await;
        assert!(matches!(ran, Err(ToolError::Late("sleep"))), "{ran:?}");
    }
}
