//! The process that serves an interface, and ending it: only the very process that was meant, never a later one with its number.

use std::fs;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal, test_kill_process};
use serde::{Deserialize, Serialize};

/// A process, told from later ones with the same id by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agent) struct Process {
    /// Its id.
    pub(in crate::agent) pid: u32,
    /// Clock ticks from boot to its start: field 22 of /proc/PID/stat.
    pub(in crate::agent) started: u64,
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Signal {
    /// End the session properly: Accounting-Stop, ip-down. Sent once: a second one would kill ip-down.
    Terminate,
    /// End at once, without Accounting-Stop.
    Kill,
}

/// Why it was not signalled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::agent) enum NotSignalled {
    /// It has ended.
    #[error("process {0} has ended")]
    Gone(u32),
    /// It does not serve the interface any more.
    #[error("{interface} is served by process {other}, not by {pid}")]
    NotIts {
        /// The interface.
        interface: String,
        /// Who was meant.
        pid: u32,
        /// Who serves it.
        other: u32,
    },
    /// The system will not.
    #[error("process {pid} cannot be signalled: {error}")]
    Refused {
        /// Who was meant.
        pid: u32,
        /// Why.
        error: Errno,
    },
}

impl Process {
    /// The process that has this id now.
    pub(in crate::agent) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may hold blanks and brackets; field 3 follows the last bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let dead = matches!(fields.first(), Some(&"Z" | &"X"));
        if dead { None } else { Some(Self { pid, started: fields.get(19)?.parse().ok()? }) }
    }

    /// Whether it runs still.
    pub(in crate::agent) fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Whether nobody has its id any more. Costs next to nothing, so that it can be asked of thousands many times a second; one that
    /// ended and was not waited for yet, or whose id is another's already, [`Process::runs`] tells.
    pub(in crate::agent) fn is_gone(&self) -> bool {
        let raw = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        raw.is_none_or(|raw| test_kill_process(raw) == Err(Errno::SRCH))
    }

    /// Signals it, when it is still the one that was meant and, by pppd's own `pppN.pid`, still serves the interface.
    pub(in crate::agent) fn signal(&self, signal: Signal, interface: &str, run_dir: &Path) -> Result<(), NotSignalled> {
        let pid = self.pid;
        let refused = |error| match error {
            Errno::SRCH => NotSignalled::Gone(pid),
            error => NotSignalled::Refused { pid, error },
        };
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(NotSignalled::Gone(pid))?;
        // The descriptor holds on to one process: what is checked after this is checked of the one that is signalled.
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).map_err(refused)?;
        if !self.runs() {
            return Err(NotSignalled::Gone(pid));
        }
        if let Some(other) = serving(interface, run_dir).filter(|other| *other != pid) {
            return Err(NotSignalled::NotIts { interface: interface.to_owned(), pid, other });
        }
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        pidfd_send_signal(&descriptor, signal).map_err(refused)
    }
}

/// The process that pppd's file says serves an interface.
pub(in crate::agent) fn serving(interface: &str, run_dir: &Path) -> Option<u32> {
    fs::read_to_string(run_dir.join(format!("{interface}.pid"))).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    use super::*;

    fn child() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    #[test]
    fn the_one_that_was_meant_is_ended() {
        for (signal, number) in [(Signal::Terminate, 15), (Signal::Kill, 9)] {
            let dir = tempfile::tempdir().unwrap();
            let (mut child, process) = child();
            fs::write(dir.path().join("ppp7.pid"), format!("{}\n", child.id())).unwrap();
            assert!(!process.is_gone());
            assert_eq!(process.signal(signal, "ppp7", dir.path()), Ok(()));
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            assert!(process.is_gone());
            assert_eq!(process.signal(signal, "ppp7", dir.path()), Err(NotSignalled::Gone(process.pid)));
        }
    }

    #[test]
    fn another_with_its_number_or_on_another_interface_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, process) = child();
        let earlier = Process { started: process.started - 1, ..process };
        let sent = earlier.signal(Signal::Kill, "ppp7", dir.path());
        assert_eq!(sent, Err(NotSignalled::Gone(process.pid)));
        fs::write(dir.path().join("ppp7.pid"), "1\n").unwrap();
        let sent = process.signal(Signal::Kill, "ppp7", dir.path());
        assert!(matches!(sent, Err(NotSignalled::NotIts { other: 1, .. })), "{sent:?}");
        assert!(process.runs() && child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
