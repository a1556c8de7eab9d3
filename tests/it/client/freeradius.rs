//! `radhold client` against FreeRADIUS 3.2 (Debian's package `freeradius`), with a configuration of our own on free ports
//! of loopback, in the foreground, as whoever runs the tests.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::process::Process;

/// A FreeRADIUS, running.
struct FreeRadius {
    child: Child,
    auth: String,
    acct: String,
    _dir: TempDir,
}

/// alice's answers carry a Message-Authenticator, old's do not: before CVE-2024-3596, that was the rule.
const USERS: &str = "\
alice Cleartext-Password := \"wonderland\"
\tFilter-Id := \"sandbox\"
old Cleartext-Password := \"wonderland\"
";

impl FreeRadius {
    fn start() -> Self {
        // Between our choice of ports and its use of them, somebody else may take one.
        (0..5).find_map(|_| Self::try_start()).expect("FreeRADIUS did not start; its words are above")
    }

    fn try_start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let free = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (auth, acct) = (free(), free());
        let [auth, acct] = [auth, acct].map(|socket| socket.local_addr().unwrap().port());
        fs::write(dir.path().join("users"), USERS).unwrap();
        fs::write(dir.path().join("radiusd.conf"), configuration(dir.path().to_str().unwrap(), auth, acct)).unwrap();
        let program = ["/usr/sbin/freeradius", "/usr/sbin/radiusd"].into_iter().find(|path| fs::exists(path).unwrap());
        let program = program.expect("FreeRADIUS is needed: install Debian's package freeradius");
        let mut child = Command::new(program)
            .args(["-f", "-l", "stdout", "-n", "radiusd", "-d"])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = vec![];
        let ready =
            words.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("Ready to process"));
        let server = Self { child, auth: format!("127.0.0.1:{auth}"), acct: format!("127.0.0.1:{acct}"), _dir: dir };
        if !ready {
            eprintln!("{}", said.join("\n"));
            return None;
        }
        // Read on, or it would stop at a full pipe.
        std::thread::spawn(move || words.for_each(drop));
        Some(server)
    }
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(dir: &str, auth: u16, acct: u16) -> String {
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
    secret = testing123
}}
modules {{
    always ok {{
        rcode = ok
    }}
    pap {{
    }}
    chap {{
    }}
    mschap {{
    }}
    files {{
        usersfile = "{dir}/users"
    }}
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {auth}
    }}
    listen {{
        type = acct
        ipaddr = 127.0.0.1
        port = {acct}
    }}
    authorize {{
        if (&User-Name != "old") {{
            update reply {{
                &Message-Authenticator := 0x00
            }}
        }}
        files
        chap
        mschap
        pap
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
    accounting {{
        ok
    }}
}}
"#
    )
}

#[test]
fn freeradius_takes_every_method_and_proves_itself() {
    let server = FreeRadius::start();
    let process = Process::new();
    let (right, wrong) = (process.file("right", "wonderland"), process.file("wrong", "wanderland"));
    for method in ["pap", "chap", "mschapv1", "mschapv2"] {
        let run = |password| {
            let login = ["auth", &server.auth, "--user", "alice", "--password-file", password, "--method", method];
            process.client(&login, "")
        };
        let accepted = run(&right);
        assert_eq!(accepted.code, 0, "{method}: {}", accepted.all());
        assert!(accepted.stdout.contains("Filter-Id = \"sandbox\""), "{}", accepted.stdout);
        assert!(accepted.stdout.contains("verified: Response Authenticator, Message-Authenticator"));
        let version_2 = method == "mschapv2";
        assert_eq!(accepted.stdout.contains("Message-Authenticator, MS-CHAP2-Success"), version_2);
        assert_eq!(accepted.stdout.contains("MS-MPPE-Recv-Key = <hidden, 34 octets>"), version_2);
        let refused = run(&wrong);
        assert_eq!(refused.code, 1, "{method}: {}", refused.all());
        assert_eq!(refused.stdout.contains("E=691"), method.starts_with("mschap"), "{}", refused.stdout);
    }
    let packets = "User-Name = alice, User-Password = wonderland\n\nUser-Name = alice, CHAP-Password = wonderland\n\n\
                   User-Name = alice, MS-CHAP-Password = wonderland\n\nUser-Name = alice, MS-CHAP2-Password = wonderland";
    let ran = process.client(&["auth", &server.auth, "--count", "5", "--parallel", "3"], packets);
    assert!(ran.code == 0 && ran.stdout.contains(": 20 accepted"), "{}", ran.all());
}

#[test]
fn freeradius_answers_accounting_and_status() {
    let server = FreeRadius::start();
    let process = Process::new();
    let record = "User-Name = alice\nAcct-Status-Type = Start\nAcct-Session-Id = 4D2\nNAS-Port = 7";
    let ran = process.client(&["acct", &server.acct], record);
    assert!(ran.code == 0 && ran.stdout.contains("Accounting-Response"), "{}", ran.all());
    for address in [&server.auth, &server.acct] {
        let ran = process.client(&["status", address], "");
        assert_eq!(ran.code, 0, "{}", ran.all());
    }
}

#[test]
fn freeradius_without_message_authenticator_or_with_another_secret_is_not_believed() {
    let server = FreeRadius::start();
    let process = Process::new();
    let password = process.file("password", "wonderland");
    let login = ["auth", &server.auth, "--user", "old", "--password-file", &password, "-t", "1", "-r", "0"];
    let ran = process.client(&login, "");
    assert!(ran.code == 4 && ran.stdout.contains("CVE-2024-3596"), "{}", ran.all());
    let ran = process.client(&[&login[..], &["--accept-unsigned"]].concat(), "");
    assert!(ran.code == 0 && ran.stdout.contains("verified: Response Authenticator\n"), "{}", ran.all());
    // A request signed with another secret gets no answer; one that cannot be checked gets one we do not believe.
    let arguments = [&["client"], &login[..], &["--secret-stdin"]].concat();
    let ran = process.run(&arguments, "another secret", None);
    assert_eq!(ran.code, 3, "{}", ran.all());
    let ran = process.run(&[&arguments[..], &["--no-message-authenticator"]].concat(), "another secret", None);
    assert!(ran.code == 4 && ran.stdout.contains("is the secret right"), "{}", ran.all());
}
