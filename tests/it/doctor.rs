//! `pppd/install.sh` into a tree of its own, and `radhold doctor` on that tree and on a server that runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::radhold::{Radhold, without_ours};

/// A tree that stands for the root of a host.
struct Host(TempDir);

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn sources(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command, stdin: &str) -> Ran {
    use std::io::Write as _;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; ./tests/run installs it", command.get_program().display());
        });
    // It need not want what it is told.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Host {
    /// A bare Debian with ppp and pptpd, as far as files tell.
    fn bare() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        host.write("usr/sbin/pppd", "").write("dev/ppp", "");
        for name in ["radius.so", "radattr.so"] {
            host.write(&format!("usr/lib/pppd/2.4.9/{name}"), "");
        }
        for event in ["ip-pre-up", "ip-up", "ip-down", "ipv6-up", "ipv6-down"] {
            host.write(&format!("etc/ppp/{event}"), "#!/bin/sh\n");
        }
        host.write("etc/pptpd.conf", "# Debian's\noption /etc/ppp/pptpd-options\n");
        host.write("proc/sys/net/ipv4/ip_forward", "1\n").write("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n");
        host.write("proc/modules", "ppp_generic 1 0 - Live 0x0\nnf_tables 1 0 - Live 0x0\n");
        host.write(
            "lib/modules/6.1.0-1-amd64/modules.dep",
            "kernel/drivers/net/ppp/ppp_mppe.ko:\nkernel/drivers/net/ppp/ppp_async.ko:\nkernel/net/netfilter/nft_fib_inet.ko:\n",
        );
        host
    }

    /// The same, with our files and one server.
    fn installed() -> Self {
        let host = Self::bare();
        let ran = host.install(&["--yes", "--nas-identifier", "nas-7"], "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        host.add_to(
            "etc/radhold/agent.toml",
            "[agent.front.server.1]\naddress = \"192.0.2.10\"\nsecret = \"0123456789abcdef\"\n",
        );
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn add_to(&self, path: &str, text: &str) {
        self.write(path, &(self.text(path) + text));
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replace(from, to));
    }

    fn install(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = Command::new(sources("pppd/install.sh"));
        run(command.arg("--root").arg(self.0.path()).args(arguments), stdin)
    }

    fn doctor(&self) -> (i32, Vec<Value>) {
        let mut command = without_ours(Command::new(env!("CARGO_BIN_EXE_radhold")));
        command.args(["doctor", "nas", "--json", "--root"]).arg(self.0.path());
        let ran = run(&mut command, "");
        (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr)))
    }

    /// What is not ok: level, check and words.
    fn complaints(&self) -> Vec<String> {
        let (code, findings) = self.doctor();
        let fails = findings.iter().any(|finding| finding["level"] == "fail");
        assert_eq!(code, i32::from(fails), "{findings:#?}");
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let bad = findings.iter().filter(|finding| finding["level"] != "ok");
        bad.inspect(|finding| assert!(!text(finding, "why").is_empty() && !text(finding, "mend").is_empty()))
            .map(|finding| format!("{} {}: {}", text(finding, "level"), text(finding, "check"), text(finding, "says")))
            .collect()
    }

    /// All files below the root, with modes and contents.
    fn all(&self) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.0.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    let mode = entry.metadata().unwrap().permissions().mode();
                    found.push((entry.path(), mode, fs::read(entry.path()).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

// -- install.sh

#[test]
fn scripts_are_as_shellcheck_wants_them() {
    let mut command = Command::new("shellcheck");
    command.arg(sources("pppd/install.sh"));
    for event in ["ip-pre-up", "ip-up", "ip-down", "ipv6-up", "ipv6-down"] {
        command.arg(sources(&format!("pppd/files/etc/ppp/{event}.d/radhold")));
    }
    let ran = run(&mut command, "");
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

#[test]
fn a_second_installation_changes_nothing() {
    let host = Host::bare();
    let parts = ["--yes", "pptp", "l2tp", "pppoe", "server"];
    let first = host.install(&parts, "");
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stdout.contains("-option /etc/ppp/pptpd-options\n"), "the diff is shown: {}", first.stdout);
    let secret = host.text("etc/radhold/front.secret");
    assert!((16..=48).contains(&secret.trim().len()), "pppd cuts at 48");
    assert!(!first.stdout.contains(secret.trim()), "a secret is not shown");
    assert!(host.text("etc/radiusclient/servers").contains(secret.trim()));
    let mode = |path: &str| fs::metadata(host.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/radiusclient/servers"), mode("etc/ppp/ip-up.d/radhold")), (0o600, 0o755));

    let before = host.all();
    let second = host.install(&parts, "");
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert_eq!(second.stdout, "== 0 changed, 0 left as they were\n");
    assert_eq!(host.all(), before);
    // What was there before is kept.
    let kept = before.iter().find(|(path, ..)| path.ends_with("etc/pptpd.conf") && path.starts_with(host.path("var")));
    assert!(kept.is_some_and(|(_, _, text)| text.starts_with(b"# Debian's")), "{kept:?}");
}

#[test]
fn a_dry_run_and_a_no_change_nothing() {
    let host = Host::bare();
    let before = host.all();
    let dry = host.install(&["--dry-run"], "");
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains("nothing was changed"), "{}", dry.stdout);
    assert_eq!(host.all(), before);
    // Nobody there to say yes.
    let unanswered = host.install(&[], "");
    assert!(unanswered.stdout.contains("== 0 changed"), "{}", unanswered.stdout);
    assert_eq!(host.all(), before);
    // The first question alone is answered.
    let once = host.install(&[], "y\n");
    assert!(once.stdout.contains("== 1 changed"), "{}", once.stdout);
    assert_eq!(host.all().len(), before.len() + 1);
}

/// A restart of the agent, by itself too, ends no session; the agent does not stop with nftables, or it would miss the flush; and a
/// slip in the operator's own rules does not keep it away.
#[test]
fn units_outlive_each_other() {
    let host = Host::bare();
    assert_eq!(host.install(&["--yes", "pptp", "l2tp"], "").code, 0);
    let says = |unit: &str, line: &str| {
        host.text(&format!("etc/systemd/system/{unit}")).lines().any(|found| found.starts_with(line))
    };
    for tunnel in ["pptpd", "xl2tpd"] {
        let unit = format!("{tunnel}.service.d/radhold.conf");
        for ties in ["PartOf=", "Requires=", "BindsTo="] {
            assert!(!says(&unit, ties), "{tunnel}");
        }
        assert!(says(&unit, "ExecStartPre=/usr/sbin/nft list table inet radhold"), "{tunnel}");
    }
    assert!(!says("radhold-agent.service", "PartOf="));
    assert!(says("radhold-agent.service", "ExecStartPre=-+/usr/sbin/nft -f /etc/radhold/nas.nft"));
    assert!(says("nftables.service.d/radhold.conf", "ExecStartPost=-/usr/sbin/nft -f /etc/radhold/nas.nft"));
}

#[test]
fn the_installer_writes_through_links_that_stay_below_its_root() {
    let host = Host::bare();
    let kept = host.path("srv/dotfiles/radiusclient.conf");
    host.write("srv/dotfiles/radiusclient.conf", "# theirs\n").write("etc/radiusclient/dictionary", "");
    let conf = host.path("etc/radiusclient/radiusclient.conf");
    std::os::unix::fs::symlink("../../srv/dotfiles/radiusclient.conf", &conf).unwrap();
    fs::remove_file(host.path("etc/radiusclient/dictionary")).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(outside.path(), host.path("etc/radiusclient/dictionary")).unwrap();
    let ran = host.install(&["--yes"], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(fs::symlink_metadata(&conf).unwrap().is_symlink());
    assert!(fs::read_to_string(kept).unwrap().contains("authserver"));
    assert!(ran.stdout.contains("== /etc/radiusclient/dictionary is a link to "), "{}", ran.stdout);
    assert!(ran.stdout.contains(", 1 left as they were"), "{}", ran.stdout);
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
}

#[test]
fn whoever_answers_yes_gets_the_secrets_too() {
    let host = Host::bare();
    let ran = host.install(&[], &"y\n".repeat(200));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(" changed, 0 left as they were\n"), "{}", ran.stdout);
    let secret = host.text("etc/radhold/front.secret");
    assert_eq!(secret.trim().len(), 40);
    assert!(host.text("etc/radiusclient/servers").ends_with(&format!("\n127.0.0.1 {secret}")));
    assert!(!ran.stdout.contains(secret.trim()), "a secret is not shown");
    // A no to a secret is counted as any other no.
    let host = Host::bare();
    let unanswered = host.install(&[], "");
    assert!(unanswered.stdout.contains("Change /etc/radhold/front.secret?"), "{}", unanswered.stdout);
    let asked = unanswered.stdout.matches("[y/N]").count();
    assert!(unanswered.stdout.contains(&format!("== 0 changed, {asked} left")), "{}", unanswered.stdout);
}

#[test]
fn secrets_that_are_there_are_used_and_other_servers_stay() {
    // pppd's is there, the front's is not.
    let host = Host::bare();
    let servers = "# mine\n127.0.0.1 the-secret-pppd-has\n";
    host.write("etc/radiusclient/servers", servers);
    assert_eq!(host.install(&["--yes"], "").code, 0);
    assert_eq!(host.text("etc/radhold/front.secret"), "the-secret-pppd-has\n");
    assert_eq!(host.text("etc/radiusclient/servers"), servers);
    // A file of somebody else's, its last line without a newline.
    let host = Host::bare();
    host.write("etc/radiusclient/servers", "#127.0.0.1 testing123\n192.0.2.1 another-servers-secret");
    let ran = host.install(&["--yes"], "");
    assert!(ran.stdout.contains("/etc/radiusclient/servers has no line for 127.0.0.1"), "{}", ran.stdout);
    let secret = host.text("etc/radhold/front.secret");
    let expected = format!("#127.0.0.1 testing123\n192.0.2.1 another-servers-secret\n127.0.0.1 {secret}");
    assert_eq!(host.text("etc/radiusclient/servers"), expected);
    assert!(
        !ran.stdout.contains(secret.trim()) && !ran.stdout.contains("another-servers-secret"),
        "no secret is shown"
    );
    assert!(host.install(&["--yes"], "").stdout.starts_with("== 0 changed, 0 left"));
    // The front's is there, pppd's is not.
    let host = Host::bare();
    host.write("etc/radhold/front.secret", "the-secret-the-front-has\n");
    assert_eq!(host.install(&["--yes"], "").code, 0);
    assert!(host.text("etc/radiusclient/servers").ends_with("\n127.0.0.1 the-secret-the-front-has\n"));
}

#[test]
fn what_is_the_operators_stays_and_what_is_ours_follows() {
    let host = Host::installed();
    host.replace("etc/pptpd.conf", "localip 10.99.0.1", "localip 10.1.1.1");
    host.replace("etc/ppp/radhold.options", "require-mschap-v2", "require-chap");
    let secret = host.text("etc/radhold/front.secret");
    let ran = host.install(&["--yes"], "");
    assert!(ran.stdout.contains("== 1 changed"), "{}", ran.stdout);
    assert!(host.text("etc/pptpd.conf").contains("localip 10.1.1.1"));
    assert!(host.text("etc/ppp/radhold.options").contains("require-mschap-v2"));
    assert_eq!(host.text("etc/radhold/front.secret"), secret);
    assert!(host.text("etc/radiusclient/radiusclient.conf").contains("\nnas_identifier nas-7\n"), "the name stays");
}

#[test]
fn wrong_usage_is_said_before_anything_is_done() {
    let host = Host::bare();
    for arguments in [&["sstp"][..], &["--nas-identifier"], &["--nas-identifier", "a b"], &["--what"]] {
        let ran = host.install(arguments, "");
        assert_eq!(ran.code, 2, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    }
    assert!(!host.path("etc/radhold").exists());
}

// -- doctor on a NAS

#[test]
fn an_installed_nas_is_well() {
    assert_eq!(Host::installed().complaints(), Vec::<String>::new());
}

#[test]
fn a_bare_host_is_told_all_it_lacks() {
    let host = Host(tempfile::tempdir().unwrap());
    let complaints = host.complaints().join("\n");
    assert!(complaints.contains("warn nas.modules: "), "there are no lists to look into: {complaints}");
    for check in ["pppd", "dev-ppp", "forwarding", "hooks", "options", "radiusclient"] {
        assert!(complaints.contains(&format!("fail nas.{check}: ")), "{check}: {complaints}");
    }
}

/// One thing wrong at a time, each found and nothing else.
#[test]
fn each_defect_is_found_and_named() {
    type Harm = fn(&Host);
    let remove = |host: &Host, path: &str| fs::remove_file(host.path(path)).unwrap();
    let conf = "etc/radiusclient/radiusclient.conf";
    let cases: &[(Harm, &str)] = &[
        (|host| host.replace("proc/sys/net/ipv4/ip_forward", "1", "0"), "fail nas.forwarding: IPv4 is not forwarded"),
        (|host| host.add_to("etc/ppp/radhold.options", "+ipv6\n"), "warn nas.forwarding-ipv6: "),
        (|host| fs::remove_file(host.path("dev/ppp")).unwrap(), "fail nas.dev-ppp: "),
        (
            |host| fs::remove_file(host.path("usr/lib/pppd/2.4.9/radattr.so")).unwrap(),
            "fail nas.pppd: pppd has no radattr.so",
        ),
        (
            |host| host.replace("lib/modules/6.1.0-1-amd64/modules.dep", "ppp_mppe", "other"),
            "fail nas.modules: kernel 6.1.0-1-amd64 has no ppp_mppe",
        ),
        (
            |host| {
                fs::set_permissions(host.path("etc/ppp/ip-pre-up.d/radhold"), fs::Permissions::from_mode(0o644))
                    .unwrap()
            },
            "fail nas.hooks: no executable in /etc/ppp/ip-pre-up.d",
        ),
        (
            |host| fs::rename(host.path("etc/ppp/ip-up.d/radhold"), host.path("etc/ppp/ip-up.d/radhold.sh")).unwrap(),
            "fail nas.hooks: no executable in /etc/ppp/ip-up.d",
        ),
        (|host| fs::remove_file(host.path("etc/ppp/ipv6-up.d/radhold")).unwrap(), "warn nas.hooks: "),
        (
            |host| {
                host.write("etc/ppp/ip-down.local", "#!/bin/sh\n");
                fs::set_permissions(host.path("etc/ppp/ip-down.local"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            "fail nas.hooks: /etc/ppp/ip-down.local takes the place",
        ),
        (
            |host| host.replace("etc/ppp/radhold.options", "plugin radattr.so\n", ""),
            "fail nas.options: /etc/ppp/radhold.options does not load radattr.so",
        ),
        (|host| host.replace("etc/ppp/radhold.options", "\nrequire-mschap-v2", "\n"), "warn nas.options: "),
        (|host| host.add_to("etc/pptpd.conf", "noipparam\n"), "fail nas.pptpd: /etc/pptpd.conf says noipparam"),
        (
            |host| host.replace("etc/ppp/radhold-pptp.options", "\nrequire-mppe-128", "\n"),
            "warn nas.pptpd: /etc/ppp/radhold-pptp.options does not require MPPE",
        ),
        (|host| host.add_to("etc/radiusclient/radiusclient.conf", "bindaddr *"), "its last line has no newline"),
        (
            |host| fs::remove_file(host.path("etc/radiusclient/port-id-map")).unwrap(),
            "fail nas.radiusclient: the map, /etc/radiusclient/port-id-map, is not there",
        ),
        (
            |host| host.replace("etc/radiusclient/radiusclient.conf", "nas_identifier nas-7", ""),
            "warn nas.radiusclient: /etc/radiusclient/radiusclient.conf has no nas_identifier",
        ),
        (
            |host| host.replace("etc/radiusclient/radiusclient.conf", "radius_retries 4", "radius_retries 2"),
            "warn nas.radiusclient: pppd waits 6 s, the front 11 s",
        ),
        (
            |host| host.replace("etc/radiusclient/radiusclient.conf", "radius_timeout 3", "radius_timeout 10"),
            "warn nas.radiusclient: pppd waits 40 s",
        ),
        (
            |host| host.replace("etc/radiusclient/servers", "127.0.0.1 ", "127.0.0.1 x"),
            "the secret of 127.0.0.1 in /etc/radiusclient/servers is not the front's",
        ),
        (
            |host| host.replace("etc/radiusclient/servers", "127.0.0.1 ", "127.0.0.1 xxxxxxxxxxxx"),
            "has more than 48 characters",
        ),
        (
            |host| host.replace("etc/radiusclient/servers", "127.0.0.1 ", "192.0.2.1 "),
            "/etc/radiusclient/servers has no secret for 127.0.0.1",
        ),
        (
            |host| {
                fs::set_permissions(host.path("etc/radiusclient/servers"), fs::Permissions::from_mode(0o644)).unwrap()
            },
            "fail nas.radiusclient: others than root can read",
        ),
        (
            |host| host.replace("etc/radiusclient/dictionary", "ATTRIBUTE  MS-MPPE-Send-Key", "# "),
            "fail nas.radiusclient: /etc/radiusclient/dictionary: MS-MPPE-Send-Key missing",
        ),
        (
            |host| host.replace("etc/radhold/agent.toml", "\n[agent.front]\n", "\n[agent.front]\nenabled = false\n"),
            "warn nas.front: ",
        ),
    ];
    for (harm, expected) in cases {
        let host = Host::installed();
        harm(&host);
        let complaints = host.complaints();
        assert!(complaints.iter().any(|complaint| complaint.contains(expected)), "{expected}: {complaints:#?}");
        assert!(complaints.len() == 1, "{expected}, and nothing else: {complaints:#?}");
    }
    let host = Host::installed();
    host.add_to("etc/radhold/agent.toml", "nonsense = 1\n");
    assert!(host.complaints()[0].starts_with("fail nas.configuration: "), "{:?}", host.complaints());
    // A flush is a danger where the agent is stopped before it.
    let host = Host::installed();
    host.write("etc/nftables.conf", "#!/usr/sbin/nft -f\n\nflush ruleset\n");
    assert_eq!(host.complaints(), Vec::<String>::new());
    let unit = "etc/systemd/system/radhold-agent.service";
    host.replace(unit, "[Unit]\n", "[Unit]\nPartOf=nftables.service\n");
    let complaints = host.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].starts_with("warn nas.flush-ruleset: "), "{complaints:?}");
    remove(&host, unit);
    let complaints = host.complaints();
    assert_eq!(complaints, ["warn nas.unit: there is no radhold-agent.service"]);
    host.replace(conf, "servers /etc/radiusclient/servers\n", "");
    assert!(host.complaints().iter().any(|complaint| complaint.ends_with(": servers is missing")));
}

/// On this very host: where the agent is asked is what the configuration says.
#[test]
fn the_agent_is_looked_for_at_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("agent.toml"), folder.path().join("a.sock"));
    fs::write(&file, format!("[agent]\nsocket = \"{}\"\n", socket.display())).unwrap();
    let finding = || {
        let mut command = without_ours(Command::new(env!("CARGO_BIN_EXE_radhold")));
        command.args(["doctor", "nas", "--json", "--config"]).arg(&file);
        let ran = run(&mut command, "");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        let found = findings.into_iter().find(|finding| finding["check"] == "nas.agent").unwrap();
        format!("{} {}", found["level"].as_str().unwrap(), found["says"].as_str().unwrap())
    };
    assert!(finding().starts_with(&format!("fail the agent does not answer: {}: ", socket.display())), "{}", finding());
    let agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        for mut stream in agent.incoming().map_while(Result::ok) {
            let mut line = String::new();
            std::io::BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(b"{\"sessions\":[]}\n").unwrap();
        }
    });
    assert_eq!(finding(), format!("ok the agent answers at {}", socket.display()));
}

// -- doctor on a server

#[test]
fn a_server_is_seen_as_it_is() {
    let mut radhold = Radhold::start("[nas.far]\naddress = \"192.0.2.1\"\nsecret = \"0123456789abcdef\"\n");
    let doctor = |radhold: &Radhold| -> Vec<(String, String, String)> {
        let ports = [format!("server.auth={}", radhold.auth), format!("server.accounting={}", radhold.accounting)];
        let arguments = ["doctor", "server", "--json", "--set", &ports[0], "--set", &ports[1]];
        let ran = radhold.cli(&arguments, "");
        let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        findings.iter().map(|it| (text(it, "check"), text(it, "level"), text(it, "says"))).collect()
    };
    let of = |findings: &[(String, String, String)], check: &str| -> Vec<String> {
        findings.iter().filter(|(name, ..)| name == check).map(|(_, level, says)| format!("{level} {says}")).collect()
    };
    radhold.kill();
    let findings = doctor(&radhold);
    assert!(of(&findings, "server.port").iter().all(|says| says.ends_with("is free")), "{findings:#?}");
    assert!(of(&findings, "server.store")[0].starts_with("ok "), "{findings:#?}");
    assert!(of(&findings, "server.sealing-key")[0].starts_with("ok "), "{findings:#?}");
    assert_eq!(of(&findings, "server.nases").len(), 1);
    assert!(of(&findings, "server.nases")[0].starts_with("ok "), "{findings:#?}");
    assert_eq!(of(&findings, "server.room").len(), 1);

    let somebody = std::net::UdpSocket::bind(radhold.auth).unwrap();
    let key = radhold.path("state/sealing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let findings = doctor(&radhold);
    assert!(of(&findings, "server.port")[0].starts_with("fail "), "{findings:#?}");
    assert!(of(&findings, "server.sealing-key")[0].contains("has mode 644"), "{findings:#?}");
    drop(somebody);
    fs::remove_file(&key).unwrap();
    assert!(of(&doctor(&radhold), "server.sealing-key")[0].starts_with("fail "));
}

#[test]
fn it_says_in_words_what_to_do() {
    let host = Host::installed();
    host.write("proc/sys/net/ipv4/ip_forward", "0\n");
    let mut command = without_ours(Command::new(env!("CARGO_BIN_EXE_radhold")));
    command.args(["doctor", "--root"]).arg(host.0.path());
    let ran = run(&mut command, "");
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("FAIL  nas.forwarding         IPv4 is not forwarded\n      why "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n      mend  sysctl -w net.ipv4.ip_forward=1"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "radhold: 1 finding must be mended\n");
}
