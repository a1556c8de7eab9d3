//! `radhold serve`: start, reload, stop.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command};

use serde_json::{Value, json};

use super::House;

/// A server that is ended whatever the test comes to.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Serving {
    fn start(house: &House, arguments: &[&str]) -> Self {
        let ports = ["serve", "--auth", "127.0.0.1:0", "--accounting", "127.0.0.1:0"];
        let mut child = house.spawn(&[&ports, arguments].concat());
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next line of the log that contains this. Waits for it; a server that ends without has failed.
    fn line_with(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "{part:?} was never said:\n{seen}");
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_starts_with_nothing_reloads_and_stops() {
    let house = House::new();
    let mut serving = Serving::start(&house, &[]);
    let ready = serving.line_with("radhold is ready");
    assert!(ready.contains("127.0.0.1:") && !ready.contains('\u{1b}'), "{ready}");
    assert_eq!(house.json(&["nas", "list"])[0]["address"], "127.0.0.1/32", "a NAS on loopback was made");

    fs::write(house.path("radhold.toml"), "state_dir = \"state\"\n[hold]\nwindov = 1\n").unwrap();
    serving.signal("HUP");
    assert!(serving.line_with("not reloaded").contains("did you mean hold.window?"));
    fs::write(house.path("radhold.toml"), "state_dir = \"state\"\n[hold]\nwindow = 1\n").unwrap();
    serving.signal("HUP");
    serving.line_with("configuration reloaded");

    let text = "state_dir = \"state\"\n[hold]\nwindow = 2\n[spool]\ndrain_rate = 7\n[messages]\nlanguage = \"ru\"\n";
    fs::write(house.path("radhold.toml"), text).unwrap();
    for _ in 0..2 {
        serving.signal("HUP");
        let warning = serving.line_with("only after a restart");
        assert!(warning.contains(": messages.language, spool.drain_rate"), "{warning}");
        serving.line_with("configuration reloaded");
    }

    // Channels and TLS are set up at the start alone: whoever had to wait for them would wait for nobody.
    let telegram = "[telegram]\ntoken = \"700100:AAF-test_token\"\n";
    let by_operator = "[hold]\napprovers = [\"operator\"]\n";
    let radsec = "[radsec]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"\n";
    let nas = |more: &str| format!("[nas.office]\naddress = \"192.0.2.1\"\nsecret = \"what-both-know\"\n{more}\n");
    for (key, text) in [
        ("hold.approvers (said or not) names telegram", telegram.to_owned()),
        (
            "nas.office.approvers names telegram",
            format!("{by_operator}{telegram}") + &nas("approvers = [\"telegram\"]"),
        ),
        ("nas.office.dynauth names RADIUS over TLS", nas("dynauth = \"tls\"") + radsec),
    ] {
        fs::write(house.path("radhold.toml"), format!("state_dir = \"state\"\n{text}")).unwrap();
        serving.signal("HUP");
        let refused = serving.line_with("not reloaded");
        assert!(refused.contains(key) && refused.contains("restart radhold"), "{refused}");
    }

    serving.signal("TERM");
    serving.line_with("stopped");
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn serve_logs_json_when_asked() {
    let house = House::with("[log]\nformat = \"json\"\n");
    let mut serving = Serving::start(&house, &["--log", "info"]);
    let line: Value = serde_json::from_str(&serving.line_with("radhold is ready")).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&json!("INFO"), &json!("radhold is ready")));
    assert!(line["node"].is_string());
}

#[test]
fn serve_names_the_port_that_is_taken() {
    let house = House::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = house.fails(1, &["serve", "--auth", &address, "--accounting", "127.0.0.1:0"]);
    let complaint = said.lines().last().unwrap();
    assert!(complaint.starts_with(&format!("radhold: cannot listen on UDP {address}: ")), "{said}");
    assert!(complaint.contains("another server is there"), "{said}");
}
