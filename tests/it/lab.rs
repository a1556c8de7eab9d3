//! The lab with the binary of this build: real pptpd, pppd and PPTP clients. Knows no scene: tests/lab has them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Minutes long, and some steps have a second to happen in: tests/run gives it the machine to itself.
#[test]
fn real_clients_are_held_let_through_and_ended() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(root.join("tests/lab/run"))
        .env("RADHOLD", env!("CARGO_BIN_EXE_radhold"))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let summary = fs::read_to_string(root.join("target/lab/summary.md")).unwrap_or_default();
    assert!(status.success(), "{status}\n{summary}");
    assert!(summary.contains("scenes passed"), "the lab passed without a summary");
}
