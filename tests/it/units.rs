//! The systemd units an operator copies: systemd itself reads them, and says how much they leave exposed. Starts none: that wants
//! systemd as process 1, which scene 14 of tests/lab has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The units with their drop-ins, with this build's binary in the place of the installed one; systemd's own are found too.
fn units() -> (TempDir, PathBuf) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to);
            } else {
                let text = fs::read_to_string(entry.path()).unwrap();
                fs::write(to, text.replace("/usr/local/bin/radhold", env!("CARGO_BIN_EXE_radhold"))).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("system");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pppd/files/etc/systemd/system"), &here);
    (dir, here)
}

fn analyze(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    // The empty last entry stands for systemd's own directories.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display())).arg("--no-pager").args(arguments);
    command.output().expect("systemd-analyze; ./tests/run installs systemd")
}

#[test]
fn systemd_understands_every_line() {
    let (_dir, here) = units();
    let verify = |unit: &str| analyze(&here, &["verify", "--man=no", "--recursive-errors=one", unit]);
    // With their drop-ins, those of others too.
    for unit in ["radhold.service", "radhold-agent.service", "pptpd.service", "nftables.service"] {
        let output = verify(unit);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{unit}: {said}");
        let of_ours: Vec<&str> = said.lines().filter(|line| line.contains(here.to_str().unwrap())).collect();
        assert!(of_ours.is_empty(), "{unit}: {of_ours:#?}");
    }
    let unit = here.join("radhold.service");
    let wrong = fs::read_to_string(&unit).unwrap().replace("ProtectHome=", "ProtectHomes=");
    fs::write(&unit, wrong).unwrap();
    assert!(!verify("radhold.service").status.success(), "a misspelt line would be seen");
}

#[test]
fn the_units_leave_little_exposed() {
    let (_dir, here) = units();
    // Tenths of systemd's exposure level, 0 to 100: the agent needs CAP_NET_ADMIN and CAP_KILL, the server nothing.
    for (unit, most) in [("radhold.service", "15"), ("radhold-agent.service", "22")] {
        let path = here.join(unit);
        let threshold = format!("--threshold={most}");
        let output = analyze(&here, &["security", "--offline=true", &threshold, path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Overall exposure level"), "{unit}: {output:?}");
        assert!(output.status.success(), "{unit}: {said}");
    }
}
