//! `radhold` as a process of its own, away from this host's configuration.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory for its files.
pub(super) struct Process {
    dir: TempDir,
    secret: String,
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Process {
    pub(super) fn new() -> Self {
        let mut process = Self { dir: tempfile::tempdir().unwrap(), secret: String::new() };
        process.file("radhold.toml", "state_dir = \"state\"\n");
        process.secret = process.file("secret", "testing123\n");
        process
    }

    /// Writes a file; gives its path.
    pub(super) fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs `radhold client` with the secret in a file, unless the arguments say otherwise.
    pub(super) fn client(&self, arguments: &[&str], input: &str) -> Ran {
        let secret: &[&str] =
            if arguments.contains(&"--secret-stdin") { &[] } else { &["--secret-file", &self.secret] };
        self.run(&[&["client"], arguments, secret].concat(), input, None)
    }

    /// Runs `radhold`; `secret` becomes the environment variable of the client.
    pub(super) fn run(&self, arguments: &[&str], input: &str, secret: Option<&str>) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_radhold"))
            .args(arguments)
            .env_clear()
            .env("RADHOLD_CONFIG", self.dir.path().join("radhold.toml"))
            .envs(secret.map(|secret| ("RADHOLD_SECRET", secret)))
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that fails early reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Everything that was printed.
    pub(super) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
