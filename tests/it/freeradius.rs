//! FreeRADIUS 3.2 (Debian's package `freeradius`) with a configuration of a test's own, on free ports of loopback, in the foreground, as
//! whoever runs the tests. Knows no test.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::port::own_address;

/// What it shares with its one client, loopback.
pub(crate) const SECRET: &str = "testing123";

/// A FreeRADIUS, running.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) auth: SocketAddr,
    pub(crate) accounting: SocketAddr,
    _dir: TempDir,
}

impl Daemon {
    /// Starts one. `fill` puts into a directory of its own what it shall find there, and gives its modules and the sections of its
    /// virtual server.
    pub(crate) fn start(fill: impl FnOnce(&Path) -> (String, String)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (auth, accounting) = (own_address(), own_address());
        let (modules, sections) = fill(dir.path());
        let configuration = configuration(dir.path(), (auth, accounting), &modules, &sections);
        fs::write(dir.path().join("radiusd.conf"), configuration).unwrap();
        let child = Command::new("/usr/sbin/freeradius")
            .args(["-f", "-l", "stdout", "-n", "radiusd", "-d"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("FreeRADIUS is needed; ./tests/run installs it");
        let mut server = Self { child, auth, accounting, _dir: dir };
        let mut words = BufReader::new(server.child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = vec![];
        let ready =
            words.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("Ready to process"));
        assert!(ready, "FreeRADIUS did not start:\n{}", said.join("\n"));
        // Read on, or it would stop at a full pipe.
        std::thread::spawn(move || words.for_each(drop));
        server
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, ports: (SocketAddr, SocketAddr), modules: &str, sections: &str) -> String {
    let (dir, host) = (dir.display(), ports.0.ip());
    let (auth, accounting) = (ports.0.port(), ports.1.port());
    format!(
        r#"
name = radiusd
logdir = "{dir}"
run_dir = "{dir}"
raddbdir = "{dir}"
libdir = /usr/lib/freeradius
max_requests = 16384
security {{
    allow_vulnerable_openssl = yes
    reject_delay = 0
    status_server = yes
}}
client loopback {{
    ipaddr = 127.0.0.1
    secret = {SECRET}
}}
{modules}
server default {{
    listen {{
        type = auth
        ipaddr = {host}
        port = {auth}
    }}
    listen {{
        type = acct
        ipaddr = {host}
        port = {accounting}
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        Auth-Type MS-CHAP {{
            mschap
        }}
    }}
    {sections}
}}
"#
    )
}
