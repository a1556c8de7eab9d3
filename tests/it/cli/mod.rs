//! The real binary, on an SQLite file of its own: what it prints, what it keeps, how it fails.

mod groups;
mod nases;
mod serve;
mod sessions;
mod settings;
mod users;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use radhold::app::keys;
use radhold::auth::SealingKey;
use radhold::store::{self, Store};
use serde_json::Value;
use tempfile::TempDir;

/// A state directory, and ways to use the binary on it.
struct House {
    dir: TempDir,
}

/// What a command came to.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl House {
    fn new() -> Self {
        Self::with("")
    }

    fn with(toml: &str) -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(house.path("radhold.toml"), format!("state_dir = \"state\"\n{toml}")).unwrap();
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_radhold"))
            .args(arguments)
            .env_clear()
            .env("RADHOLD_CONFIG", self.path("radhold.toml"))
            .env("USER", "tester")
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.spawn(arguments);
        // A command that fails early reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let dir = format!("{}/", self.dir.path().display());
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap().replace(&dir, "");
        Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs what must succeed, silently, and gives what it prints.
    fn done(&self, arguments: &[&str]) -> String {
        self.done_with(arguments, "")
    }

    fn done_with(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.run_with(arguments, input);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}\n{}", ran.stdout);
        ran.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs what must fail with this code, and gives the complaint.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
        ran.stderr
    }

    fn store(&self) -> Arc<dyn Store> {
        let url = format!("sqlite://{}", self.path("state/radhold.sqlite").display());
        wait(async {
            let store = store::open(&url).await.unwrap();
            store.migrate().await.unwrap();
            store
        })
    }

    fn sealing_key(&self) -> SealingKey {
        keys::sealing_key(&self.path("state/sealing.key")).unwrap()
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    // SQLx' connections live on a runtime of their own threads, so one runtime serves all tests.
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    RUNTIME.block_on(future)
}
