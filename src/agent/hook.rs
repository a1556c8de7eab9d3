//! The hooks' side of the Unix socket: what pppd told the script, sent to the agent, within two seconds whatever happens.
//!
//! Never fails pppd. When there is no agent, the interface is taken out of the permit sets right here, so that the next
//! session on it starts in the sandbox, and what pppd said is left in a file for the agent to find.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::{Process, forget_interface};
use super::moment::Uptime;
use super::notes::leave_note;
use super::radattr::{self, Radattr};
use crate::model::Timestamp;

/// How long the agent may take before the hook does without it.
const AGENT_PATIENCE: Duration = Duration::from_millis(600);
/// How long leaving a note may take.
const NOTE_PATIENCE: Duration = Duration::from_millis(400);
/// How long taking an interface out of the permit sets may take: pppd waits for it in ip-pre-up, and must not go on before.
const FORGET_PATIENCE: Duration = Duration::from_millis(1_000);

/// When a script of pppd runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// IPv4 is agreed on, the link is not up yet; pppd waits.
    IpPreUp,
    /// IPv4 is up, and Accounting-Start was answered.
    IpUp,
    /// IPv4 is down.
    IpDown,
    /// IPv6 is up.
    Ipv6Up,
    /// IPv6 is down.
    Ipv6Down,
}

/// What pppd says of a session, from the script's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// Which script.
    pub event: HookEvent,
    /// IFNAME.
    pub interface: String,
    /// PPPD_PID.
    pub pid: Option<u32>,
    /// UNIT, which is NAS-Port.
    pub unit: Option<u32>,
    /// DEVICE: the terminal.
    pub device: Option<String>,
    /// IPREMOTE.
    pub remote: Option<Ipv4Addr>,
    /// LLREMOTE.
    pub link_local_remote: Option<Ipv6Addr>,
    /// PEERNAME, which is User-Name.
    pub peer_name: Option<String>,
    /// PPP_IPPARAM: under pptpd the client's address, which is Calling-Station-Id.
    pub ip_param: Option<String>,
    /// RADIUS_FILTER_ID of the Access-Accept.
    pub filter_id: Option<String>,
    /// What else the Access-Accept said, from radattr.so's file: see [`HookCall::with_accept`].
    #[serde(default)]
    pub accept: Radattr,
    /// When radattr.so wrote that: seconds and nanoseconds. It tells one Access-Accept from the next.
    #[serde(default)]
    pub accepted_at: Option<(i64, i64)>,
    /// When the script ran, which tells one of its runs from the next. None when no script did.
    #[serde(default)]
    pub at: Option<Uptime>,
    /// Hooks that found no agent saw IPv4 of this Access-Accept come up twice, or go down before: as their notes say.
    #[serde(default)]
    pub again: bool,
}

/// One line from a client of the socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A script of pppd runs.
    Hook(HookCall),
    /// What is there?
    Status,
    /// Ban a network from the outer protocols for so many seconds; zero ends a ban.
    Ban {
        /// Who.
        network: ipnet::IpNet,
        /// How long.
        seconds: u64,
    },
}

impl HookCall {
    /// Reads the environment of a script; `None` without IFNAME: then pppd did not call it.
    pub fn from_environment(event: HookEvent, environment: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let interface = text("IFNAME").or_else(|| text("PPP_IFACE")).filter(|name| is_interface(name))?;
        let unit = text("UNIT").and_then(|unit| unit.parse().ok());
        Some(Self {
            event,
            unit: unit.or_else(|| interface.strip_prefix("ppp").and_then(|unit| unit.parse().ok())),
            interface,
            pid: text("PPPD_PID").and_then(|pid| pid.parse().ok()),
            device: text("DEVICE").or_else(|| text("PPP_TTY")),
            remote: text("IPREMOTE").and_then(|address| address.parse().ok()),
            link_local_remote: text("LLREMOTE").and_then(|address| address.parse().ok()),
            peer_name: text("PEERNAME"),
            ip_param: text("PPP_IPPARAM"),
            filter_id: text("RADIUS_FILTER_ID"),
            accept: Radattr::new(),
            accepted_at: None,
            at: None,
            again: false,
        })
    }

    /// Adds when this is, and what radattr.so left in `run_dir` for this very pppd, keys excepted; takes that file from the eyes of
    /// others but the agent, whose socket this is. The hook is root, as pppd is; the agent need not be.
    pub fn with_accept(mut self, run_dir: &Path, socket: &Path, wall: Timestamp, up: Uptime) -> Self {
        self.at = Some(up);
        let accept = radattr::accept(run_dir, &self.interface, self.pid.and_then(Process::of), wall);
        self.accepted_at = accept.as_ref().map(|accept| accept.written_at);
        self.accept = accept.map(|accept| accept.says).unwrap_or_default();
        radattr::hide(run_dir, &self.interface, socket);
        self
    }
}

/// Carries a hook out: tells the agent, or does without. Returns within about two seconds; what went wrong is said, and is no
/// failure.
pub fn call_hook(socket: &Path, call: HookCall) -> Result<(), String> {
    let (path, request) = (socket.to_owned(), Request::Hook(call.clone()));
    let error = match within(AGENT_PATIENCE, move || ask(&path, &request, AGENT_PATIENCE)) {
        Some(Ok(answer)) if answer["error"].is_null() => return Ok(()),
        Some(Ok(answer)) => answer["error"].to_string(),
        Some(Err(error)) => format!("{}: {error}", socket.display()),
        None => format!("{}: no answer in time", socket.display()),
    };
    let mut troubles = vec![format!("the agent cannot be told ({error}), so the session stays in the sandbox")];
    // First: an agent that comes back believes its state file unless a note says otherwise.
    let (path, noted) = (socket.to_owned(), call.clone());
    match within(NOTE_PATIENCE, move || leave_note(&path, &noted)) {
        Some(Ok(())) => (),
        Some(Err(error)) => troubles.push(format!("no note can be left: {error}")),
        None => troubles.push("no note can be left in time".to_owned()),
    }
    // Before the link is up, and after it is down: nobody inherits a permit.
    // IPv6 may be all there is, of a process that is not the one that was permitted.
    if call.event != HookEvent::IpUp {
        match within(FORGET_PATIENCE, move || forget_interface(&call.interface)) {
            Some(Ok(())) => (),
            Some(Err(error)) => troubles.push(error.to_string()),
            None => troubles.push("nft does not end; who was permitted on this interface may be so still".to_owned()),
        }
    }
    Err(troubles.join("; "))
}

/// What work gives, when it is done in time.
fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = done.send(work());
    });
    wait.recv_timeout(patience).ok()
}

/// Asks the agent something by its socket.
///
/// # Errors
/// When it cannot be reached, or does not answer within the time.
pub fn ask(socket: &Path, request: &Request, patience: Duration) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}

/// A name the kernel would take, and no path.
pub(super) fn is_interface(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 15 && name.chars().all(fine) && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// As Debian's pppd 2.4.9 under pptpd sets it.
    #[test]
    fn pppds_environment_is_read() {
        let said = environment(&[
            ("DEVICE", "/dev/pts/1"),
            ("IFNAME", "ppp0"),
            ("IPLOCAL", "10.93.0.1"),
            ("IPREMOTE", "10.93.0.50"),
            ("PEERNAME", "alice"),
            ("PPPD_PID", "297"),
            ("PPP_IPPARAM", "10.90.0.2"),
            ("RADIUS_FILTER_ID", "gold"),
            ("UNIT", "0"),
        ]);
        let call = HookCall::from_environment(HookEvent::IpUp, &said).unwrap();
        assert_eq!((call.interface.as_str(), call.pid, call.unit), ("ppp0", Some(297), Some(0)));
        assert_eq!(call.remote, Some(Ipv4Addr::new(10, 93, 0, 50)));
        assert_eq!((call.peer_name.as_deref(), call.ip_param.as_deref()), (Some("alice"), Some("10.90.0.2")));
        assert_eq!((call.filter_id.as_deref(), call.device.as_deref()), (Some("gold"), Some("/dev/pts/1")));
    }

    #[test]
    fn an_interface_is_no_path() {
        for name in ["", "../etc", "ppp0/x", "averyverylongname", ".."] {
            assert!(HookCall::from_environment(HookEvent::IpUp, &environment(&[("IFNAME", name)])).is_none(), "{name}");
        }
        assert!(HookCall::from_environment(HookEvent::IpUp, &BTreeMap::new()).is_none());
    }
}
