//! The file in which pppd's radattr.so leaves what an Access-Accept said. A pppd that was killed leaves it behind for the next
//! session of its interface, and it holds MPPE keys: so it counts only for the process that wrote it, by descriptors, and is
//! given to the agent's group alone. Knows no session and no rule.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Stat, fchmod, fchown, fstat, lstat, openat, stat};

use super::apply::Process;
use crate::model::Timestamp;

/// Attributes of the Access-Accept as radattr.so writes them, "Name value" a line; of those that repeat, the last. Routes add up:
/// all of them, a line each.
pub type Radattr = BTreeMap<String, String>;

/// Boot time is told in whole seconds, and the file's time is that of the last tick of a clock.
const TOLERANCE: Duration = Duration::from_secs(2);
/// Field 22 of /proc/PID/stat counts in these wherever Linux and Rust run: USER_HZ, whatever the kernel's own HZ is.
const TICK: Duration = Duration::from_millis(10);
/// A file of pppd's is small.
const MOST: u64 = 64 << 10;

/// What a file says, and when it was written: seconds and nanoseconds, which tell one Access-Accept from the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accept {
    pub(super) says: Radattr,
    pub(super) written_at: (i64, i64),
}

/// Where the file of an interface is.
fn path(run_dir: &Path, interface: &str) -> PathBuf {
    run_dir.join(format!("radattr.{interface}"))
}

/// What the Access-Accept of the session that `process` serves on an interface said. `None` when there is no file that can be
/// read, when it is older than the process, or when nobody knows the process: an earlier session's Access-Accept must permit
/// nobody.
pub(super) fn accept(run_dir: &Path, interface: &str, process: Option<Process>, now: Timestamp) -> Option<Accept> {
    let (file, found) = open(run_dir, interface)?;
    is_of(&found, process?, boot_time()?, now).then_some(())?;
    let mut octets = Vec::new();
    File::from(file).take(MOST).read_to_end(&mut octets).ok()?;
    Some(Accept { says: radattr(&String::from_utf8_lossy(&octets)), written_at: written_at(&found) })
}

/// When the file of an interface was written, whoever may read it.
pub(super) fn when_written(run_dir: &Path, interface: &str) -> Option<(i64, i64)> {
    let found = lstat(path(run_dir, interface)).ok()?;
    (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile).then(|| written_at(&found))
}

/// Takes the file from the eyes of others: it is written readable for everybody. Root's, it goes to the group of the directory
/// the agent's socket is in, for the agent need not be root.
pub(super) fn hide(run_dir: &Path, interface: &str, socket: &Path) {
    let Some((file, _)) = open(run_dir, interface) else { return };
    let beside = socket.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where that is not allowed nothing is worse than before. The group first: nobody else's is to read it meanwhile.
    if let Ok(group) = stat(beside).map(|beside| Gid::from_raw(beside.st_gid))
        && fchown(file.as_fd(), None, Some(group)).is_ok()
    {
        let _ = fchmod(&file, Mode::RUSR | Mode::WUSR | Mode::RGRP);
    } else {
        let _ = fchmod(&file, Mode::RUSR | Mode::WUSR);
    }
}

/// Without the vendor's that hold keys and challenges: nobody here needs them.
pub(super) fn radattr(text: &str) -> Radattr {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let mut accept = Radattr::new();
    for (name, value) in pairs.filter(|(name, _)| !name.starts_with("MS-")) {
        match accept.get_mut(name) {
            Some(before) if matches!(name, "Framed-Route" | "Framed-IPv6-Route") => *before += &format!("\n{value}"),
            _ => drop(accept.insert(name.into(), value.into())),
        }
    }
    accept
}

/// A file, and no link to one.
fn open(run_dir: &Path, interface: &str) -> Option<(std::os::fd::OwnedFd, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, path(run_dir, interface), flags, Mode::empty()).ok()?;
    let found = fstat(&file).ok()?;
    (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile).then_some((file, found))
}

/// Whether a process may have written a file: not before it was started, and not in the future, where a clock that was set
/// back leaves old files.
fn is_of(found: &Stat, process: Process, boot: Timestamp, now: Timestamp) -> bool {
    let started = boot + TICK.saturating_mul(u32::try_from(process.started).unwrap_or(u32::MAX));
    let (seconds, nanoseconds) = written_at(found);
    let written = Timestamp::from_secs(seconds) + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    written + TOLERANCE >= started && written <= now + TOLERANCE
}

#[expect(clippy::useless_conversion, reason = "the fields' types differ from platform to platform")]
fn written_at(found: &Stat) -> (i64, i64) {
    (i64::from(found.st_mtime), i64::try_from(found.st_mtime_nsec).unwrap_or(0))
}

/// When this host was booted, as its clock says now.
fn boot_time() -> Option<Timestamp> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Timestamp::from_secs(seconds.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::time::SystemTime;

    use super::*;

    /// This test's own process may have written a file that is there now.
    fn me() -> Option<Process> {
        Process::of(std::process::id())
    }

    fn written(age: Duration) -> (tempfile::TempDir, Timestamp) {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path(), "ppp0");
        fs::write(&file, "Class lab\nFilter-Id a\nFilter-Id b c\nMS-MPPE-Send-Key secret\nodd\n").unwrap();
        let now = fs::metadata(&file).unwrap().modified().unwrap();
        File::options().write(true).open(&file).unwrap().set_modified(now - age).unwrap();
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        (dir, Timestamp::from_secs(0) + now)
    }

    #[test]
    fn an_access_accept_is_handed_on_without_its_keys() {
        let (dir, now) = written(Duration::ZERO);
        let read = accept(dir.path(), "ppp0", me(), now).unwrap();
        let says = [("Class", "lab"), ("Filter-Id", "b c")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read.says, Radattr::from(says));
        assert_eq!(accept(dir.path(), "ppp1", me(), now), None);
        assert_eq!(accept(dir.path(), "ppp0", None, now), None, "nobody knows whose it is");
    }

    #[test]
    fn a_file_that_is_older_than_its_process_or_from_the_future_says_nothing() {
        let ago = fs::read_to_string("/proc/uptime").unwrap();
        let ago: f64 = ago.split(' ').next().unwrap().parse().unwrap();
        let (dir, now) = written(Duration::from_secs_f64(ago) + Duration::from_secs(10));
        assert_eq!(accept(dir.path(), "ppp0", me(), now), None, "of before this boot, and so of before any process");
        let (dir, now) = written(Duration::ZERO);
        assert_eq!(accept(dir.path(), "ppp0", me(), now.before(Duration::from_secs(60))), None);
        let (_, found) = open(dir.path(), "ppp0").unwrap();
        let boot = now.before(Duration::from_secs(1000));
        let process = |started| Process { pid: 1, started };
        assert!(is_of(&found, process(100_100), boot, now), "a second of tolerance is needed");
        assert!(!is_of(&found, process(100_300), boot, now));
    }

    #[test]
    fn it_is_hidden_and_links_are_not_followed() {
        let (dir, now) = written(Duration::ZERO);
        hide(dir.path(), "ppp0", &dir.path().join("agent.sock"));
        let found = fs::metadata(path(dir.path(), "ppp0")).unwrap();
        assert_eq!((found.mode() & 0o777, found.gid()), (0o640, fs::metadata(dir.path()).unwrap().gid()));
        let precious = dir.path().join("precious");
        fs::write(&precious, "Filter-Id permit\n").unwrap();
        fs::set_permissions(&precious, fs::Permissions::from_mode(0o604)).unwrap();
        symlink(&precious, path(dir.path(), "ppp1")).unwrap();
        hide(dir.path(), "ppp1", &dir.path().join("agent.sock"));
        assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o604);
        assert_eq!(accept(dir.path(), "ppp1", me(), now), None);
    }
}
