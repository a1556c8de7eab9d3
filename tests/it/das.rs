//! A Dynamic Authorization Server that is not ours: Python's pyrad, in `pyrad_das.py`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The secret it shares with us.
pub(crate) const SECRET: &str = "coa-secret";
/// Longer than anything takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// pyrad, running.
pub(crate) struct Das {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Das {
    pub(crate) async fn start(actions: &[&str]) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python =
            std::env::var_os("RADHOLD_TEST_PYTHON").map_or_else(|| root.join("target/venv/bin/python"), PathBuf::from);
        let help = "a Python with pyrad is needed: `python3 -m venv target/venv && target/venv/bin/pip install pyrad`, \
                    or name one in RADHOLD_TEST_PYTHON";
        let mut child = Command::new(&python)
            .arg(root.join("tests/it/pyrad_das.py"))
            .args(["--secret", SECRET])
            .args(actions)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; {help}", python.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let first = first.unwrap_or_else(|| panic!("{} cannot run pyrad; {help}", python.display()));
        let first: Value = serde_json::from_str(&first).unwrap();
        let port = u16::try_from(first["listening"].as_u64().unwrap()).unwrap();
        Self { _child: child, lines, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// The next datagram it got. Whatever we send must be found genuine by pyrad and by the script's own sums.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
        let request: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&request["authenticator"], &request["pyrad"]), (&Value::Bool(true), &Value::Bool(true)), "{line}");
        request
    }
}
