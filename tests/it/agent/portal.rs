//! From a browser in the sandbox to the inside: the agent on real nftables, and a real server with its portal on the same host.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use totp_rs::Totp;

use super::bench::{ALICE, Bench, INSIDE, PATIENCE, SECRET, feed};

/// Where the portal is, on the NAS itself.
const PORTAL: &str = "10.92.0.1:8080";
const PASSWORD: &str = "s3cret-pass";

/// `radhold serve` in the NAS's namespace; killed when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// radhold on the server's files, in the NAS's namespace.
fn radhold(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.within("nas", env!("CARGO_BIN_EXE_radhold"));
    command.args(arguments).arg("--config").arg(bench.path("server.toml"));
    command.env_remove("RADHOLD_CONFIG").env_remove("STATE_DIRECTORY");
    command
}

fn serve(bench: &Bench) -> Server {
    let config = format!(
        r#"
        state_dir = "server"
        [log]
        format = "json"
        [server]
        auth = ["127.0.0.1:1812"]
        accounting = ["127.0.0.1:1813"]
        [totp]
        window = 5
        [hold]
        window = "10m"
        approvers = ["totp", "operator"]
        [portal]
        listen = ["{PORTAL}"]
        [nas.nas-1]
        address = "127.0.0.1"
        secret = "{SECRET}"
        dialect = "pppd-agent"
        "#
    );
    fs::write(bench.path("server.toml"), config).unwrap();
    let mut child = radhold(bench, &["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let server = Server(child);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("radhold is ready") {
                // Whoever waited may have given up.
                let _ = tell.send(());
            }
        }
    });
    told.recv_timeout(PATIENCE).expect("the server is never ready");
    server
}

/// Debian's radclient beside pppd; what it received.
fn radclient(bench: &Bench, port: &str, kind: &str, attributes: &str) -> String {
    let mut command = bench.within("nas", "radclient");
    command.args(["-x", "-r", "1", "-t", "10", &format!("127.0.0.1:{port}"), kind, SECRET]);
    let output = feed(command, attributes);
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_once("Received ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

fn value<'a>(received: &'a str, name: &str) -> &'a str {
    let line = received.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {name}: {received}")).trim_matches('"')
}

/// What a browser behind `ppp0` is answered; empty when it is cut off.
fn browse(bench: &Bench, to: &str, head: &str, body: &str) -> String {
    let mut stream = bench.connect("c0", to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let length = body.len();
    write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    // Once it is let through, what the sandbox had translated is cut.
    drop(stream.read_to_string(&mut answer));
    answer
}

#[test]
fn a_code_on_the_portal_lets_a_browser_out_of_the_sandbox() {
    let mut bench = Bench::without_agent("");
    bench.send_http_to(PORTAL);
    bench.start_agent();
    let server = serve(&bench);
    let add = radhold(&bench, &["user", "add", "alice", "--password-stdin"]);
    let added = feed(add, &format!("{PASSWORD}\n"));
    assert!(added.status.success(), "{added:?}");
    let enrolled = radhold(&bench, &["user", "totp", "alice", "enrol", "--json"]).output().unwrap();
    let enrolled: Value = serde_json::from_slice(&enrolled.stdout).unwrap();
    let totp = Totp::from_url(enrolled["uri"].as_str().unwrap()).unwrap();

    let who = "User-Name = alice, NAS-Identifier = nas-1, NAS-Port = 0, Calling-Station-Id = 192.0.2.7";
    let login = format!("{who}, User-Password = {PASSWORD}, Message-Authenticator = 0x00");
    let accept = radclient(&bench, "1812", "auth", &login);
    let class = value(&accept, "Class").trim_start_matches("0x").to_owned();
    assert_eq!(value(&accept, "Filter-Id"), "sandbox", "{accept}");
    let pid = bench.pppd("ppp0", &format!("Service-Type Framed-User\nFilter-Id sandbox\nClass {class}\n"));
    bench.hook("ip-pre-up", "ppp0", pid, &ALICE);
    let start = format!(
        "{who}, Acct-Status-Type = Start, Acct-Session-Id = a1, Framed-IP-Address = 10.93.0.50, Class = 0x{class}"
    );
    radclient(&bench, "1813", "acct", &start);
    assert!(!bench.reaches("c0", INSIDE));

    // A telephone looks whether it is captive: any address, any name.
    let sent =
        browse(&bench, "198.51.100.1:80", "GET /generate_204 HTTP/1.1\r\nHost: connectivitycheck.gstatic.com", "");
    assert!(sent.starts_with("HTTP/1.1 302 Found"), "{sent}");
    let home = sent.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert_eq!(home, format!("http://{PORTAL}/"));
    let page = bench.until(|| {
        let page = browse(&bench, PORTAL, &format!("GET / HTTP/1.1\r\nHost: {PORTAL}"), "");
        page.contains("<h1>Enter your code</h1>").then_some(page)
    });
    let form = page.split_once("name=\"form\" value=\"").unwrap().1.split_once('"').unwrap().0;
    let code = totp.generate(u64::try_from(radhold::app::clock::now().as_secs()).unwrap()).to_string();
    let post = format!(
        "POST / HTTP/1.1\r\nHost: {PORTAL}\r\nOrigin: http://{PORTAL}\r\nContent-Type: application/x-www-form-urlencoded"
    );
    let wrong = browse(&bench, PORTAL, &post, &format!("code=1&form={form}"));
    assert!(wrong.contains("location: /?said=wrong"), "{wrong}");
    assert!(!bench.reaches("c0", INSIDE));
    browse(&bench, PORTAL, &post, &format!("code={code}&form={form}"));
    bench.until(|| bench.reaches("c0", INSIDE).then_some(()));
    assert_eq!(bench.state("ppp0").as_deref(), Some("permitted"));
    bench.until(|| {
        let page = browse(&bench, PORTAL, &format!("GET / HTTP/1.1\r\nHost: {PORTAL}"), "");
        page.contains("<h1>You are through</h1>").then_some(())
    });
    drop(server);
}
