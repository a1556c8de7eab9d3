//! The real server as a process of its own, and Debian's radclient as its NAS.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::port::own_address;

/// Longer than anything takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running `radhold serve`, its files, and its log.
pub(crate) struct Radhold {
    dir: TempDir,
    child: Option<Child>,
    log: Arc<Log>,
    /// A program that runs it, and its arguments.
    under: Vec<String>,
    pub(crate) auth: SocketAddr,
    pub(crate) accounting: SocketAddr,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    more: Condvar,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Radhold {
    /// Starts a server on ports of its own, with this configuration besides.
    pub(crate) fn start(toml: &str) -> Self {
        Self::start_with("", toml)
    }

    /// The same with keys that stand before all sections.
    pub(crate) fn start_with(keys: &str, toml: &str) -> Self {
        Self::start_under(|_| Vec::new(), keys, toml)
    }

    /// The same under another program, which is told the server's directory.
    pub(crate) fn start_under(under: impl FnOnce(&Path) -> Vec<String>, keys: &str, toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let under = under(dir.path());
        let head = format!("state_dir = \"state\"\n{keys}[log]\nformat = \"json\"\n");
        fs::write(dir.path().join("radhold.toml"), format!("{head}{toml}")).unwrap();
        let (auth, accounting) = (own_address(), own_address());
        let mut radhold = Self { dir, child: None, log: Arc::default(), under, auth, accounting };
        radhold.restart();
        radhold
    }

    /// Starts it again after [`Radhold::kill`], on the same ports.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let seen = self.log.lines.lock().unwrap().len();
        let (auth, accounting) =
            (format!("server.auth={}", self.auth), format!("server.accounting={}", self.accounting));
        let mut serve = self.command(&["serve", "--set", &auth, "--set", &accounting]);
        if let [program, arguments @ ..] = &self.under[..] {
            let mut under = Command::new(program);
            under.args(arguments).arg(serve.get_program()).args(serve.get_args()).current_dir(self.dir.path());
            serve = without_ours(under);
        }
        let child = serve.stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
        let program = serve.get_program().display();
        let mut child = child.unwrap_or_else(|error| panic!("{program}: {error}; ./tests/run installs it"));
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::clone(&self.log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                log.lines.lock().unwrap().push(line);
                log.more.notify_all();
            }
        });
        self.child = Some(child);
        let ready = self.wait_for_log(seen, |line| message(line) == "radhold is ready");
        let bound = |field: &str| {
            let text = ready[field].as_str().unwrap();
            text.trim_matches(['[', ']']).parse().unwrap()
        };
        (self.auth, self.accounting) = (bound("auth"), bound("accounting"));
    }

    /// `kill -9`: no goodbye.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// How it has ended by itself, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut().expect("it runs").try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let status = self.child.take().expect("it runs").wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.log());
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Runs a command on the same files.
    pub(crate) fn cli(&self, arguments: &[&str], stdin: &str) -> Ran {
        run(self.command(arguments), stdin)
    }

    /// Adds a user.
    pub(crate) fn add_user(&self, name: &str, password: &str, options: &[&str]) {
        let arguments = [&["user", "add", name, "--password-stdin"], options].concat();
        let ran = self.cli(&arguments, &format!("{password}\n"));
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// The sessions, as `session list --all --json` tells them, the newest first.
    pub(crate) fn sessions(&self) -> Vec<Value> {
        let ran = self.cli(&["session", "list", "--all", "--json"], "");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Waits until the newest session is in that state, and gives it.
    pub(crate) fn until_state(&self, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let newest = self.sessions().into_iter().next().unwrap_or_default();
            if newest["state"] == state {
                return newest;
            }
            assert!(begun.elapsed() < PATIENCE, "never {state}: {newest:#} {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All counters that are not zero, as SIGUSR1 makes it log them.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let from = self.log().len();
        self.signal("USR1");
        self.wait_for_log(from, |line| message(line) == "all counters logged");
        let read = |line: &Value| Some((line["name"].as_str()?.to_owned(), line["count"].as_u64()?));
        self.log()[from..].iter().filter(|line| message(line) == "counted").filter_map(read).collect()
    }

    /// The path of a file of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that was logged so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lines.lock().unwrap().clone()
    }

    /// Does something while nobody reads the log.
    pub(crate) fn while_its_log_is_not_read(&self, act: impl FnOnce()) {
        let _unread = self.log.lines.lock().unwrap();
        act();
    }

    /// The first line of the log, from the given one on, that is so; waits for it.
    pub(crate) fn wait_for_log(&self, from: usize, so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| so(line)) {
                return line.clone();
            }
            let left = PATIENCE.checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("this was never logged: {lines:#?}"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_radhold"));
        command.args(arguments).arg("--config").arg(self.path("radhold.toml")).current_dir(self.dir.path());
        without_ours(command)
    }
}

/// Without what the surroundings of this process say of configuration and state.
pub(crate) fn without_ours(mut command: Command) -> Command {
    // What is for these tests alone would be a setting nobody knows.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RADHOLD_")) {
        command.env_remove(name);
    }
    command.env_remove("STATE_DIRECTORY");
    command
}

impl Drop for Radhold {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killed on the way out of a test; it may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a line of the log says.
pub(crate) fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

/// Runs Debian's radclient: `kind` is `auth`, `acct`, `status`, ….
pub(crate) fn radclient(server: SocketAddr, kind: &str, secret: &str, attributes: &str) -> Ran {
    let mut command = Command::new("radclient");
    command.args(["-x", "-r", "1", "-t", "5", &server.to_string(), kind, secret]);
    run(command, attributes)
}

/// An attribute's value in what radclient says it received; `None` when it is not there.
pub(crate) fn received<'a>(ran: &'a Ran, name: &str) -> Option<&'a str> {
    let (_, received) = ran.stdout.split_once("Received ")?;
    let line = received.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "))?;
    Some(line.trim_matches('"'))
}

fn run(mut command: Command, stdin: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; ./tests/run installs it"));
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
