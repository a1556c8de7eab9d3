//! A NAS in a network namespace of its own: veth pairs stand for ppp interfaces, `sleep` for pppd, and the agent is the real
//! one on real nftables. Nothing of the host's own network is touched.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use radhold::app::clock;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The secret of the one peer.
pub(crate) const SECRET: &str = "a secret of twenty-odd octets";
/// Where the agent listens, in its namespace.
pub(crate) const DAS: &str = "127.0.0.1:3799";
/// An inside host's service, that only the permitted reach.
pub(crate) const INSIDE: &str = "10.92.0.10:7";
/// The same by IPv6.
pub(crate) const INSIDE_V6: &str = "[fd00:92::10]:7";
/// The portal.
pub(crate) const PORTAL: &str = "10.92.0.10:8080";
/// A resolver.
pub(crate) const RESOLVER: &str = "10.92.0.10:53";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A NAS, a client behind `ppp0` (10.93.0.50), one behind `ppp1` (10.93.0.51), and an inside host (10.92.0.10).
pub(crate) struct Bench {
    dir: TempDir,
    name: String,
    toml: String,
    /// Where the sandbox's HTTP goes.
    portal: String,
    agent: Option<Child>,
    log: Arc<Mutex<Vec<Value>>>,
    pppds: Vec<Child>,
}

impl Bench {
    /// Namespaces and an agent, with this besides in its `[agent]`.
    pub(crate) fn start(toml: &str) -> Self {
        let mut bench = Self::without_agent(toml);
        bench.start_agent();
        bench
    }

    /// The same before the agent is started.
    pub(crate) fn without_agent(toml: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make network namespaces: run them as root (`sudo ./tests/run`), or in a container with CAP_SYS_ADMIN"
        );
        let name = format!("radhold-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            name,
            toml: toml.to_owned(),
            portal: PORTAL.to_owned(),
            agent: None,
            log: Arc::default(),
            pppds: Vec::new(),
        };
        fs::create_dir(bench.path("run")).unwrap();
        bench.build_network();
        bench.serve_inside();
        bench
    }

    /// Has the sandbox's HTTP go elsewhere; before the agent is started.
    pub(crate) fn send_http_to(&mut self, portal: &str) {
        self.portal = portal.to_owned();
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start_agent(&mut self) {
        self.start_agent_by(&[]);
    }

    /// The same by another program, which gets the agent's command line.
    pub(crate) fn start_agent_by(&mut self, wrapper: &[&str]) {
        assert!(self.agent.is_none(), "it runs already");
        let text = format!(
            "state_dir = \"state\"\n[log]\nformat = \"json\"\n[agent]\nsocket = \"agent.sock\"\nrun_dir = \"run\"\n\
             resolvers = [\"10.92.0.10\"]\nportal = \"{}\"\nnas_identifiers = [\"nas-1\"]\n{}\n\
             [agent.peer.local]\naddress = \"127.0.0.1\"\nsecret = \"{SECRET}\"\n",
            self.portal, self.toml
        );
        fs::write(self.path("radhold.toml"), text).unwrap();
        let seen = self.log().len();
        let mut command = self.radhold(&["agent"]);
        if let Some((program, arguments)) = wrapper.split_first() {
            command = self.within("nas", program);
            command.args(arguments).arg(env!("CARGO_BIN_EXE_radhold")).args(["agent", "--config"]);
            command.arg(self.path("radhold.toml")).env_remove("RADHOLD_CONFIG").env_remove("STATE_DIRECTORY");
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("ip netns exec");
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::clone(&self.log));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        self.agent = Some(child);
        self.until(|| self.log().iter().skip(seen).any(|line| line["message"] == "the agent is ready").then_some(()));
    }

    /// `kill -9`.
    pub(crate) fn kill_agent(&mut self) {
        let mut child = self.agent.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What the agent logged.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// A path of its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A process that stands for the pppd of an interface, with its pid file and radattr file.
    pub(crate) fn pppd(&mut self, interface: &str, accept: &str) -> u32 {
        self.pppd_as(Command::new("sleep").arg("600"), interface, accept)
    }

    /// The same with a program of the test's choice.
    pub(crate) fn pppd_as(&mut self, command: &mut Command, interface: &str, accept: &str) -> u32 {
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.pppds.push(child);
        fs::write(self.path(&format!("run/{interface}.pid")), format!("{pid}\n")).unwrap();
        fs::write(self.path(&format!("run/radattr.{interface}")), accept).unwrap();
        pid
    }

    /// Whether that pppd runs still; one that has ended is collected.
    pub(crate) fn runs(&mut self, pid: u32) -> bool {
        let child = self.pppds.iter_mut().find(|child| child.id() == pid).expect("one of ours");
        child.try_wait().unwrap().is_none()
    }

    /// Ends a pppd as if it crashed.
    pub(crate) fn crash(&mut self, pid: u32) {
        let child = self.pppds.iter_mut().find(|child| child.id() == pid).expect("one of ours");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs a hook as pppd does, and gives how long it took. It always succeeds.
    pub(crate) fn hook(&self, event: &str, interface: &str, pid: u32, facts: &[(&str, &str)]) -> Duration {
        let begun = Instant::now();
        let unit = interface.trim_start_matches("ppp");
        let mut command = self.radhold(&["agent", "hook", event]);
        command.env("IFNAME", interface).env("PPPD_PID", pid.to_string()).env("UNIT", unit);
        command.envs(facts.iter().copied()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        begun.elapsed()
    }

    /// A login on `ppp0` by alice that is in the sandbox; its pppd.
    pub(crate) fn alice(&mut self) -> u32 {
        let pid = self.pppd("ppp0", "Service-Type Framed-User\nFilter-Id sandbox\nClass c0\n");
        self.hook("ip-pre-up", "ppp0", pid, &ALICE);
        pid
    }

    /// `agent status --json`.
    pub(crate) fn all_status(&self) -> Value {
        let output = self.radhold(&["agent", "status", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The sessions of it.
    pub(crate) fn status(&self) -> Vec<Value> {
        self.all_status()["sessions"].as_array().unwrap().clone()
    }

    /// A counter of it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.all_status()["counters"][name].as_u64().unwrap_or(0)
    }

    /// The state of the session on an interface; `None` when there is none.
    pub(crate) fn state(&self, interface: &str) -> Option<String> {
        let sessions = self.status();
        let session = sessions.iter().find(|session| session["interface"] == interface)?;
        Some(session["state"].as_str().unwrap().to_owned())
    }

    /// Debian's radclient in the NAS's namespace: the reply's name and its Error-Cause. Each request is one of its own, also beside
    /// another of the same second.
    pub(crate) fn radclient(&self, kind: &str, attributes: &str) -> (String, Option<String>) {
        let (now, number) = (clock::now().as_secs(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let proof = format!("Event-Timestamp={now},Proxy-State=0x{number:08x},Message-Authenticator=0x00");
        self.radclient_in("nas", kind, SECRET, &format!("{attributes},{proof}"), PATIENCE)
    }

    /// The same in a namespace of choice, with another secret, attributes as they are, and whole seconds to wait. Without an answer
    /// the name is empty.
    pub(crate) fn radclient_in(
        &self,
        which: &str,
        kind: &str,
        secret: &str,
        attributes: &str,
        wait: Duration,
    ) -> (String, Option<String>) {
        let mut command = self.within(which, "radclient");
        command.args(["-x", "-r", "1", "-t", &wait.as_secs().to_string(), DAS, kind, secret]);
        let output = feed(command, attributes);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some((_, received)) = text.split_once("Received ") else { return (String::new(), None) };
        let name = received.split(' ').next().unwrap().to_owned();
        let cause = received.lines().find_map(|line| line.trim().strip_prefix("Error-Cause = "));
        (name, cause.map(str::to_owned))
    }

    /// pyrad in the NAS's namespace: the reply's code, and its Error-Cause behind it.
    pub(crate) fn pyrad(&self, kind: &str, attributes: &[&str]) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("RADHOLD_TEST_PYTHON");
        let python = python.map_or_else(|| root.join("target/venv/bin/python"), PathBuf::from);
        let mut command = self.within("nas", python.to_str().unwrap());
        command.arg(root.join("tests/it/agent/pyrad_dac.py")).args([SECRET, kind]).args(attributes);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}; ./tests/run --tools installs pyrad");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Orders a filter for alice, and expects CoA-ACK.
    pub(crate) fn coa(&self, filter: &str) {
        let answer = self.radclient("coa", &format!("User-Name=alice,NAS-Port=0,Filter-Id={filter}"));
        assert_eq!(answer, ("CoA-ACK".to_owned(), None), "{:#?}", self.log());
    }

    /// `nft` in the NAS's namespace; what it printed.
    pub(crate) fn nft(&self, arguments: &[&str]) -> String {
        let output = self.within("nas", "nft").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something in a namespace: sockets made there belong there.
    pub(crate) fn inside<T: Send>(&self, namespace: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(self.namespace(namespace));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(path).unwrap();
                move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A TCP connection from a client; the error when there is none within a second.
    pub(crate) fn connect(&self, client: &str, to: &str) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self.inside(client, || TcpStream::connect_timeout(&to, Duration::from_secs(1)))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(stream)
    }

    /// Whether a client reaches a service; being refused at once counts as no, silence fails the test.
    pub(crate) fn reaches(&self, client: &str, to: &str) -> bool {
        match self.connect(client, to) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => false,
            Err(error) => panic!("{to} is neither reached nor refused: {error}"),
        }
    }

    /// Waits until there is something.
    pub(crate) fn until<T>(&self, there: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = there() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "this never came: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// radhold in the NAS's namespace, on this bench's files.
    pub(crate) fn radhold(&self, arguments: &[&str]) -> Command {
        let mut command = self.within("nas", env!("CARGO_BIN_EXE_radhold"));
        command.args(arguments).arg("--config").arg(self.path("radhold.toml"));
        command.env_remove("RADHOLD_CONFIG").env_remove("STATE_DIRECTORY");
        command
    }

    /// What a namespace of ours is called.
    pub(crate) fn namespace(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    /// A program in a namespace of ours.
    pub(crate) fn within(&self, which: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(which), program]);
        command
    }

    fn build_network(&self) {
        let [nas, c0, c1, lan] = ["nas", "c0", "c1", "lan"].map(|which| self.namespace(which));
        let mut lines = Vec::new();
        for namespace in [&nas, &c0, &c1, &lan] {
            lines.push(format!("netns add {namespace}"));
        }
        for line in lines.drain(..) {
            ip(&line);
        }
        for which in ["nas", "c0", "c1", "lan"] {
            // Nobody else has these addresses, and finding that out takes seconds.
            self.inside(which, || fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        }
        ip(&format!("-n {nas} link set lo up"));
        for (here, there, peer) in [("ppp0", &c0, "50"), ("ppp1", &c1, "51")] {
            ip(&format!("-n {nas} link add {here} type veth peer name up0 netns {there}"));
            ip(&format!("-n {nas} addr add 10.93.0.1 peer 10.93.0.{peer} dev {here}"));
            ip(&format!("-n {nas} link set {here} up"));
            ip(&format!("-n {there} addr add 10.93.0.{peer} peer 10.93.0.1 dev up0"));
            ip(&format!("-n {there} link set up0 up"));
            ip(&format!("-n {there} route add default via 10.93.0.1"));
            ip(&format!("-n {nas} -6 addr add fd00:93:{peer}::1/64 dev {here} nodad"));
            ip(&format!("-n {there} -6 addr add fd00:93:{peer}::{peer}/64 dev up0 nodad"));
            ip(&format!("-n {there} -6 route add default via fd00:93:{peer}::1"));
        }
        ip(&format!("-n {nas} link add lan0 type veth peer name up0 netns {lan}"));
        ip(&format!("-n {nas} addr add 10.92.0.1/24 dev lan0"));
        ip(&format!("-n {nas} -6 addr add fd00:92::1/64 dev lan0 nodad"));
        ip(&format!("-n {nas} link set lan0 up"));
        ip(&format!("-n {lan} addr add 10.92.0.10/24 dev up0"));
        ip(&format!("-n {lan} -6 addr add fd00:92::10/64 dev up0 nodad"));
        ip(&format!("-n {lan} link set up0 up"));
        ip(&format!("-n {lan} route add default via 10.92.0.1"));
        ip(&format!("-n {lan} -6 route add default via fd00:92::1"));
        self.inside("nas", || {
            for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(Path::new("/proc/sys/net").join(switch), "1").unwrap();
            }
        });
    }

    /// The inside host: an echo, a resolver (of anything at all), and a portal that says so.
    fn serve_inside(&self) {
        let (echoes, portal, resolver) = self.inside("lan", || {
            let bind = |to: &str| TcpListener::bind(to).unwrap();
            ([bind("10.92.0.10:7"), bind("[fd00:92::10]:7")], bind(PORTAL), UdpSocket::bind(RESOLVER).unwrap())
        });
        for echo in echoes {
            std::thread::spawn(move || {
                for mut stream in echo.incoming().map_while(Result::ok) {
                    std::thread::spawn(move || {
                        let mut octets = [0; 64];
                        while let Ok(count @ 1..) = stream.read(&mut octets) {
                            if stream.write_all(&octets[..count]).is_err() {
                                break;
                            }
                        }
                    });
                }
            });
        }
        std::thread::spawn(move || {
            for mut stream in portal.incoming().map_while(Result::ok) {
                // A client that is gone already is no concern.
                let _ = stream.write_all(b"portal\n");
            }
        });
        std::thread::spawn(move || {
            let mut octets = [0; 64];
            while let Ok((count, from)) = resolver.recv_from(&mut octets) {
                let _ = resolver.send_to(&octets[..count], from);
            }
        });
    }
}

/// What pppd says of alice.
pub(crate) const ALICE: [(&str, &str); 4] =
    [("IPREMOTE", "10.93.0.50"), ("PEERNAME", "alice"), ("PPP_IPPARAM", "192.0.2.7"), ("DEVICE", "/dev/pts/1")];

/// What pppd says of bob, who comes by `ppp1`.
pub(crate) const BOB: [(&str, &str); 3] =
    [("IPREMOTE", "10.93.0.51"), ("PEERNAME", "bob"), ("PPP_IPPARAM", "192.0.2.8")];

/// Sends a word and expects it back; false when the flow is cut.
pub(crate) fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"hello"
}

impl Drop for Bench {
    fn drop(&mut self) {
        // On the way out of a test, which may have ended them already.
        for mut child in self.agent.take().into_iter().chain(self.pppds.drain(..)) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The monitor of an agent that was killed ends when it has something to say and nobody to say it to.
        let table = ["table", "inet", "radhold"];
        for verb in ["add", "delete"] {
            let _ = self.within("nas", "nft").arg(verb).args(table).status();
        }
        for which in ["nas", "c0", "c1", "lan"] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(which)]).stderr(Stdio::null()).status();
        }
    }
}

/// `ip` with these words.
pub(crate) fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().expect("ip; ./tests/run installs iproute2");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command with this on its standard input.
pub(crate) fn feed(mut command: Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ip netns exec");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
